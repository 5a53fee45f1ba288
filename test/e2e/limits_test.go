package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// limited is a gateway behind a trusted relay that writes who has logged in.
func limited(t *testing.T, hop string, settings ...harness.Setting) *harness.Gateway {
	t.Helper()
	return harness.StartGateway(t, harness.Options{SmartHost: hop, NextHop: hop, Settings: append([]harness.Setting{
		{Table: "check.limits", Key: "mode", Value: `"enforce"`},
		{Table: "check.limits", Key: "drip_rate", Value: "0"},
		{Table: "check.limits", Key: "notify_users", Value: "false"},
		{Table: "check.limits", Key: "suspend_at", Value: "0.0"},
		{Table: "hold", Key: "notify", Value: "[]"},
		{Table: "identity", Key: "hosts", Value: `["127.0.0.1/32"]`},
		{Table: "identity", Key: "default_domain", Value: `"our.example"`},
	}, settings...)})
}

// by is a message of a user as the relay hands it on.
func by(user, subject string) string {
	trace := ""
	if user != "" {
		trace = "Received: from x (x [198.51.100.9])\r\n\t(Authenticated sender: " + user + ")\r\n\tby mta.our.example (Postfix) with ESMTPSA id A1; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	}
	return trace + "Subject: " + subject + "\r\n\r\ntext\r\n"
}

func isHeld(r harness.Reply) bool { return r.Code == 250 && strings.Contains(r.Text(), "held as ") }

// used is how much of each limit a user has used, as garita limits list says it.
func used(t *testing.T, g *harness.Gateway, user string) map[string]int {
	t.Helper()
	out, code := g.Run("limits", "list", user, "-o", "json", "--config", g.Config)
	var v struct {
		Users []struct {
			Limits []struct {
				Limit string
				Used  int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || len(v.Users) != 1 {
		t.Fatalf("garita limits list: %d %v\n%s", code, err, out)
	}
	n := map[string]int{}
	for _, l := range v.Users[0].Limits {
		n[l.Limit] = l.Used
	}
	return n
}

// TestLimitsOnARelay: two users over one connection of a trusted relay. Who is
// over his limit is held, his colleague passes, a note of absence and bounces
// count against nobody, and an exempt recipient exempts himself alone.
func TestLimitsOnARelay(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := limited(t, hop.Addr(), harness.Setting{Table: "check.limits", Key: "user", Value: `["3 messages / 1h", "6 recipients / 1h"]`},
		harness.Setting{Table: "check.limits", Key: "exempt_recipients", Value: `["archive@other.example"]`})
	c := harness.Greeted(t, g.Outbound)
	to := []string{"x@anywhere.example"}
	held := 0
	for i := range 6 {
		if isHeld(c.Send("ana@our.example", to, by("ana", fmt.Sprint("a", i)))) {
			held++
		}
		if r := c.Send("", []string{"x@anywhere.example"}, by("", "away")); r.Code != 250 || isHeld(r) {
			t.Errorf("a note of absence: %s", r)
		}
		if r := c.Send("", []string{"x@anywhere.example"}, by("ana", "away of ana")); i < 3 && isHeld(r) {
			t.Errorf("a note of absence in ana's name: %s", r)
		}
		if i < 3 && isHeld(c.Send("bob@our.example", to, by("bob", fmt.Sprint("b", i)))) {
			t.Error("the colleague is held")
		}
	}
	if held != 3 {
		t.Errorf("%d of ana are held, want 3 of 6", held)
	}
	if h := holds(t, g, "--user", "ana@our.example", "--reason", "limits"); h.Total < 3 || h.Messages[0].Symbols[0] != "limits.user" {
		t.Errorf("%+v", h)
	}
	if n := used(t, g, "ana"); n["3 messages / 1h"] != 3 || n["6 recipients / 1h"] != 3 {
		t.Errorf("ana has used %v", n)
	}
	// To the archive alone nothing counts; beside others they do.
	for range 10 {
		if r := c.Send("cleo@our.example", []string{"archive@other.example"}, by("cleo", "c")); r.Code != 250 || isHeld(r) {
			t.Fatalf("mail to an exempt recipient: %s", r)
		}
	}
	for range 2 {
		if r := c.Send("cleo@our.example", []string{"archive@other.example", "x@anywhere.example", "y@anywhere.example"}, by("cleo", "c")); r.Code != 250 || isHeld(r) {
			t.Errorf("too soon: %s", r)
		}
	}
	if n := used(t, g, "cleo"); n["3 messages / 1h"] != 2 || n["6 recipients / 1h"] != 4 {
		t.Errorf("cleo has used %v", n)
	}
	if r := c.Send("cleo@our.example", []string{"archive@other.example", "x@anywhere.example", "y@anywhere.example", "z@anywhere.example"}, by("cleo", "c")); !isHeld(r) {
		t.Errorf("the exempt recipient has taken the others with him: %s", r)
	}
}

// TestQ12Refund: what the next hop refuses is given back.
func TestQ12Refund(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{Script: map[string][]fakehop.Action{".": {{Reply: "554 5.7.1 no\r\n"}, {Reply: "451 4.3.0 later\r\n"}}}})
	g := limited(t, hop.Addr(), harness.Setting{Table: "check.limits", Key: "user", Value: `["2 messages / 1h"]`})
	c := harness.Greeted(t, g.Outbound)
	var got []string
	for i := range 5 {
		r := c.Send("ana@our.example", []string{"x@anywhere.example"}, by("ana", fmt.Sprint(i)))
		switch {
		case isHeld(r):
			got = append(got, "held")
		default:
			got = append(got, fmt.Sprint(r.Code))
		}
	}
	if s := strings.Join(got, " "); s != "554 451 250 250 held" {
		t.Errorf("answers %s", s)
	}
	if n := used(t, g, "ana"); n["2 messages / 1h"] != 2 {
		t.Errorf("used %v", n)
	}
}

// TestCountedOnce: Postfix asks the policy server and hands the message on by
// the wire: it counts once, wherever count_at says.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"wire", "door"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			hop := startHop(t, fakehop.Config{})
			policy := harness.Addr(t)
			g := limited(t, hop.Addr(), harness.Setting{Table: "check.limits", Key: "user", Value: `["3 messages / 1h"]`},
				harness.Setting{Table: "check.limits", Key: "count_at", Value: quoted(at)},
				harness.Setting{Table: "listener.outbound", Key: "xforward", Value: "true"},
				harness.Setting{Table: "policyd", Key: "enabled", Value: "true"},
				harness.Setting{Table: "policyd", Key: "listen", Value: "[" + quoted(policy) + "]"},
				harness.Setting{Table: "policyd", Key: "checks", Value: `["limits"]`})
			conn, err := net.Dial("tcp", policy)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
			answers := bufio.NewReader(conn)
			ask := func(id string) string {
				t.Helper()
				fmt.Fprintf(conn, "request=smtpd_access_policy\nprotocol_state=DATA\nprotocol_name=ESMTP\nclient_address=198.51.100.9\nclient_name=x\nhelo_name=x\n"+
					"sender=ana@our.example\nrecipient=x@anywhere.example\nrecipient_count=1\nqueue_id=%s\ninstance=%s.1\nsasl_method=plain\nsasl_username=ana\n\n", id, id)
				line, err := answers.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				answers.ReadString('\n')
				return strings.TrimSpace(line)
			}
			c := harness.Greeted(t, g.Outbound)
			for i := range 5 {
				id := fmt.Sprintf("4A%08d", i)
				answer := ask(id)
				if answer != "action=DUNNO" {
					t.Errorf("the policy server says %q: a limit's hold is the wire's", answer)
				}
				c.Say("XFORWARD NAME=x ADDR=198.51.100.9 IDENT=" + id)
				c.Want(250)
				if r := c.Send("ana@our.example", []string{"x@anywhere.example"}, by("ana", id+"\r\nMessage-ID: <"+id+"@x.example>")); r.Code != 250 || isHeld(r) != (i >= 3) {
					t.Errorf("message %d: %s", i, r)
				}
				if n := used(t, g, "ana")["3 messages / 1h"]; n != min(i+1, 3) {
					t.Errorf("after %d messages %d count", i+1, n)
				}
			}
		})
	}
}

// TestQ10Relay: forty sessions at once, each with his name in another spelling
// and a sender of another name: not one message over the limit.
func TestQ10Relay(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := limited(t, hop.Addr(), harness.Setting{Table: "check.limits", Key: "user", Value: `["25 recipients / 1h", "1000 messages / 1h"]`})
	names := []string{"ana", "ANA", "Ana@our.example", "ana+shop", "ana@OUR.example", "ana+a@our.example"}
	var passed, heldBack atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			c := harness.Greeted(t, g.Outbound)
			rcpts := []string{"x@anywhere.example", "y@anywhere.example"}[:1+i%2]
			for n := range 2 {
				if n == 1 { // neither RSET nor a new greeting begins anew
					c.Say("RSET")
					c.Reply()
				}
				r := c.Send(fmt.Sprintf("s%d@our.example", i), rcpts, by(names[(i+n)%len(names)], "x"))
				switch {
				case isHeld(r):
					heldBack.Add(1)
				case r.Code == 250:
					passed.Add(int64(len(rcpts)))
				default:
					t.Errorf("session %d: %s", i, r)
				}
			}
		})
	}
	wg.Wait()
	if p := passed.Load(); p > 25 || p < 24 || heldBack.Load() == 0 {
		t.Errorf("%d recipients passed of 25 that have room, %d messages are held", p, heldBack.Load())
	}
	if n := used(t, g, "ana"); n["25 recipients / 1h"] != int(passed.Load()) {
		t.Errorf("%v are counted, %d passed", n, passed.Load())
	}
}

// TestUnknownCeiling: mail that a relay hands on and of which nobody knows the
// sender is never held nor counted against anybody; over the ceiling of its
// domain there is one alert, that names the command to run. Whoever makes up a
// domain for each message meets a ceiling too.
func TestUnknownCeiling(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := limited(t, hop.Addr(), harness.Setting{Table: "check.limits", Key: "unknown", Value: `["3 messages / 1h"]`},
		harness.Setting{Table: "check.limits", Key: "user", Value: `["1 messages / 1h"]`},
		harness.Setting{Table: "identity", Key: "sources", Value: `["received"]`})
	c := harness.Greeted(t, g.Outbound)
	type entry struct {
		Key     string
		Command []string
		Subject struct{ EN, ES string }
	}
	alerts := func() map[string]entry {
		t.Helper()
		out, code := g.Run("alert", "list", "-o", "json", "--config", g.Config)
		var v struct{ Alerts []entry }
		if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil {
			t.Fatalf("garita alert list: %d %v\n%s", code, err, out)
		}
		m := map[string]entry{}
		for _, a := range v.Alerts {
			if strings.HasPrefix(a.Key, "limit/") {
				m[a.Key] = a
			}
		}
		return m
	}
	post := func(from, subject string) {
		t.Helper()
		if r := c.Send(from, []string{"x@anywhere.example"}, by("", subject)); r.Code != 250 || isHeld(r) {
			t.Errorf("mail of nobody (%s): %s", from, r)
		}
	}
	for i := range 3 {
		post("cron@our.example", fmt.Sprint("system ", i))
		post("", fmt.Sprint("bounce ", i))
		post(fmt.Sprintf("x@made-up-%d.example", i), "forged")
	}
	if m := alerts(); len(m) != 0 {
		t.Errorf("within the ceiling: %v", m)
	}
	for i := range 3 {
		post("cron@our.example", fmt.Sprint("more ", i))
		post("", fmt.Sprint("more ", i))
		post(fmt.Sprintf("x@another-%d.example", i), "forged")
	}
	var m map[string]entry
	harness.Eventually(t, "there are no alerts", func() bool { m = alerts(); return len(m) >= 3 })
	for _, key := range []string{"limit/unknown/our.example", "limit/unknown/<>", "limit/unknown/other_domains"} {
		a := m[key]
		if strings.Join(a.Command, " ") != "garita user coverage" || a.Subject.EN == "" || a.Subject.ES == "" || a.Subject.EN == a.Subject.ES {
			t.Errorf("%s: %+v of %v", key, a, m)
		}
	}
	if len(m) != 3 || len(hop.Accepted()) != 18 {
		t.Errorf("%d alerts, %d of 18 left", len(m), len(hop.Accepted()))
	}
	if out, _ := g.Run("user", "coverage", "--config", g.Config); !strings.Contains(out, "unknown") || !strings.Contains(out, "100.0 %") {
		t.Errorf("coverage:\n%s", out)
	}
	if r := c.Send("ana@our.example", []string{"x@anywhere.example"}, by("ana", "her first")); r.Code != 250 || isHeld(r) {
		t.Errorf("a user pays for nobody's mail: %s", r)
	}
}
