package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/accounts"
	"garita/smtpproxy/relay/fakehop"
)

// submission adds a listener on which ana and bob log in, a gateway's own
// trusted relay that writes header fields, and a program that is run.
func submission(t *testing.T, dir string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: dir}
	var lines string
	for _, u := range []string{"ana@example.org", "bob@example.org"} {
		l, err := accounts.Line(u, "secret word", true)
		if err != nil {
			t.Fatal(err)
		}
		lines += l + "\n"
	}
	if err := os.WriteFile(g.file("users"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.file("lock"), []byte("#!/bin/sh\necho \"$@\" >> "+g.file("locked")+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.edit("\n[users]\n", "\n[users]\nfile = \""+g.file("users")+"\"\n")
	g.edit("\n[identity]\n", "\n[identity]\nhosts = [\"127.0.0.1/32\"]\ndefault_domain = \"example.org\"\n")
	g.edit("\n[check.suspension]\n", "\n[check.suspension]\ntext = \"Call 555\"\ncommand = [\""+g.file("lock")+"\", \"{action}\", \"{user}\"]\n")
	f, err := os.OpenFile(g.file("config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n[listener.submission]\nrole = \"outbound\"\nlisten = [\"127.0.0.1:0\"]\nnext_hop = \"smarthost\"\nauth = true\n"); err != nil {
		t.Fatal(err)
	}
	return start(t, dir)
}

// login dials and logs in.
func login(t *testing.T, addr, user string) *smtp {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(3 * patience))
	s := &smtp{t, textproto.NewConn(c)}
	t.Cleanup(func() { s.Close() })
	s.expect(220)
	s.say(250, "EHLO client.example")
	s.say(220, "STARTTLS")
	s.Conn = textproto.NewConn(tls.Client(c, &tls.Config{InsecureSkipVerify: true}))
	s.say(250, "EHLO client.example")
	s.say(334, "AUTH LOGIN")
	s.say(334, b64(user))
	s.say(235, b64("secret word"))
	return s
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func (g *gateway) must(args ...string) string {
	g.t.Helper()
	code, out, text := g.command(args...)
	if code != 0 {
		g.t.Fatalf("%v: %d %s", args, code, text)
	}
	return out
}

// TestSuspendOpenSessions: sessions that are open end, new ones end at MAIL,
// other users notice nothing, and it survives kill -9.
func TestSuspendOpenSessions(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	g := submission(t, dir)
	addr := g.address("submission")
	ana, busy, bob := login(t, addr, "ANA@example.org"), login(t, addr, "ana@example.org"), login(t, addr, "bob@example.org")
	busy.say(250, "MAIL FROM:<ana@example.org>")
	busy.say(250, "RCPT TO:<x@anywhere.example>")
	busy.say(354, "DATA") // in the middle of a message
	if out := g.must("user", "sessions", "ana"); strings.Count(out, "ana@example.org") != 2 || strings.Contains(out, "bob") {
		t.Errorf("sessions:\n%s", out)
	}

	begun := time.Now()
	out := g.must("user", "suspend", "Ana", "--reason", "hijacked\x1b[2J")
	ana.expect(421)
	t.Logf("from the command to 421 in an idle session: %s", time.Since(begun))
	for _, want := range []string{"ana@example.org is suspended", "2 open sessions", "zmprov ma ana@example.org zimbraAccountStatus locked", "garita user resume ana@example.org"} {
		if !strings.Contains(out, want) {
			t.Errorf("suspend does not say %q:\n%s", want, out)
		}
	}
	if text := busy.say(421, "Subject: x\r\n\r\ntext\r\n."); !strings.Contains(text, "Call 555") {
		t.Errorf("%q", text)
	}
	if s := login(t, addr, "ana@example.org"); !strings.Contains(s.say(421, "MAIL FROM:<ana@example.org>"), "Call 555") {
		t.Error("another text")
	}
	bob.say(250, "MAIL FROM:<bob@example.org>")
	bob.say(250, "RCPT TO:<x@anywhere.example>")
	bob.say(354, "DATA")
	bob.say(250, "Subject: x\r\n\r\ntext\r\n.")
	if n := len(hop.Accepted()); n != 1 {
		t.Errorf("the next hop has %d messages", n)
	}
	if out := g.must("user", "list"); !strings.Contains(out, `hijacked\x1b[2J`) || !strings.Contains(out, "ana@example.org") {
		t.Errorf("list: %q", out)
	}
	await(t, "the program", func() bool {
		raw, _ := os.ReadFile(g.file("locked"))
		return string(raw) == "suspend ana@example.org\n"
	})

	g.signal(syscall.SIGKILL)
	<-g.ended
	g = start(t, dir)
	if out := g.must("user", "show", "ana"); !strings.Contains(out, "ana@example.org is suspended") {
		t.Errorf("after kill -9: %s", out)
	}
	login(t, g.address("submission"), "ana@example.org").say(421, "MAIL FROM:<ana@example.org>")
	g.must("bypass", "--for", "1h")
	login(t, g.address("submission"), "ana@example.org").say(421, "MAIL FROM:<ana@example.org>") // no mode lifts it
	g.must("bypass", "--off")
	if out := g.must("user", "resume", "ana"); !strings.Contains(out, "may send again") {
		t.Error(out)
	}
	login(t, g.address("submission"), "ana@example.org").say(250, "MAIL FROM:<ana@example.org>")
	if out := g.must("user", "kick", "ana"); !strings.Contains(out, "sessions of ana@example.org end") {
		t.Error(out)
	}
	if code, _, _ := g.command("user", "suspend", "a b"); code != exitUsage {
		t.Errorf("a name that is none: %d", code)
	}
}

// received is what a host of ours wrote of a login.
func receivedFrom(user string) string {
	return "Received: from x (x [198.51.100.9])\r\n\t(Authenticated sender: " + user + ")\r\n\tby mta.example.org (Postfix) with ESMTPSA id A1; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
}

// TestSuspendOnARelay: one connection of a trusted relay carries 200 messages
// of others and some of the suspended user: his are held, theirs pass, and the
// connection stays.
func TestSuspendOnARelay(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	g := submission(t, initialise(t, hop.Addr()))
	c := dial(t, g.address("outbound"))
	c.say(250, "EHLO mta.example.org")
	post := func(user string) string {
		c.say(250, "MAIL FROM:<"+user+"@example.org>")
		c.say(250, "RCPT TO:<x@anywhere.example>")
		c.say(354, "DATA")
		return c.say(250, receivedFrom(user)+"Subject: x\r\n\r\ntext\r\n.")
	}
	if text := post("ana"); strings.Contains(text, "held") {
		t.Fatalf("held before: %s", text)
	}
	g.must("user", "suspend", "ana")
	for i := range 200 {
		if text := post(fmt.Sprintf("user%d", i)); strings.Contains(text, "held") {
			t.Fatalf("message %d of another: %s", i, text)
		}
		if i%50 == 25 {
			if text := post("Ana"); !strings.Contains(text, "held") {
				t.Errorf("his message passed: %s", text)
			}
		}
	}
	if n := len(hop.Accepted()); n != 201 {
		t.Errorf("the next hop has %d messages, want 201", n)
	}
	for _, m := range hop.Accepted()[:1] {
		if strings.Contains(string(m.Data), "Authenticated sender") {
			t.Error("the name of a login has left")
		}
	}
	if out := g.must("hold", "release", "--user", "ana", "--rate", "6000", "--yes"); strings.Count(out, "delivered to") != 4 {
		t.Errorf("release by user:\n%s", out)
	}
	if code, out, _ := g.command("hold", "release", "--user", "bob", "--dry-run"); code != 0 || !strings.Contains(out, "0 messages") {
		t.Errorf("of bob: %d %s", code, out)
	}
	if n := len(hop.Accepted()); n < 205 {
		t.Errorf("the next hop has %d messages after the release", n)
	}
	var page holdPage
	if err := json.Unmarshal([]byte(g.must("hold", "list", "--reason", "suspension", "--state", "released", "-o", "json")), &page); err != nil || page.Total != 4 || page.Messages[0].User != "ana@example.org" {
		t.Errorf("%d messages are held, %v", page.Total, err)
	}
	if out := g.must("user", "coverage"); !strings.Contains(out, "received") || !strings.Contains(out, "100.0 %") {
		t.Errorf("coverage:\n%s", out)
	}
}

// TestLimitAndDrip: a user is held at his limit while a colleague's mail on the
// same connection passes and a note of absence is not counted; the rest drips
// out once there is room. What was held before a suspension waits for a person,
// whatever room there is: it may be what he was suspended for.
func TestLimitAndDrip(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	(&gateway{t: t, dir: dir}).edit("\n[check.limits]\n", "\n[check.limits]\nmode = \"enforce\"\nuser = [\"3 messages / 1h\"]\ndrip_rate = 600\n")
	g := submission(t, dir)
	c := dial(t, g.address("outbound"))
	c.say(250, "EHLO mta.example.org")
	post := func(from, user, subject string) bool {
		c.say(250, "MAIL FROM:<"+from+">")
		c.say(250, "RCPT TO:<x@anywhere.example>")
		c.say(354, "DATA")
		trace := ""
		if user != "" {
			trace = receivedFrom(user)
		}
		return strings.Contains(c.say(250, trace+"Subject: "+subject+"\r\n\r\ntext\r\n."), "held")
	}
	held := 0
	for i := range 5 {
		if post("ana@example.org", "ana", fmt.Sprint("number ", i)) {
			held++
		}
		if post("bob"+fmt.Sprint(i)+"@example.org", "bob"+fmt.Sprint(i), "x") || post("", "", "away") {
			t.Error("somebody else is held")
		}
	}
	if held != 2 {
		t.Errorf("%d of ana are held, want 2", held)
	}
	if out := g.must("limits", "list", "ana"); !strings.Contains(out, "3 messages / 1h") {
		t.Errorf("list:\n%s", out)
	}
	if out := g.must("hold", "list", "--user", "ANA"); strings.Count(out, "limits.user") != 2 {
		t.Errorf("held of ana:\n%s", out)
	}
	if out := g.must("top", "users", "--out"); !strings.Contains(out, "ana@example.org") {
		t.Errorf("top:\n%s", out)
	}
	if out := g.must("limits", "suggest"); !strings.Contains(out, "ana@example.org") {
		t.Errorf("suggest:\n%s", out)
	}
	g.must("user", "suspend", "ana")
	// dripped is the order of what left since; notices of held mail are not it.
	dripped := func() (order string) {
		for _, m := range hop.Accepted() {
			for _, n := range []string{"3", "4", "6"} {
				if strings.Contains(string(m.Data), "\nSubject: number "+n) {
					order += n
				}
			}
		}
		return order
	}
	g.signal(syscall.SIGKILL)
	<-g.ended
	g = start(t, dir)
	g.must("user", "limit", "ana", "--messages-per-hour", "4", "--for", "7d")
	if out := g.must("user", "show", "ana"); !strings.Contains(out, "4 messages / 1h") || !strings.Contains(out, "is suspended") {
		t.Errorf("show:\n%s", out)
	}
	if got := dripped(); got != "" {
		t.Errorf("%s dripped out of a suspended user", got)
	}
	if out := g.must("user", "resume", "ana"); !strings.Contains(out, "garita hold list --parked --user ana@example.org\n") {
		t.Errorf("resume:\n%s", out)
	}
	c = dial(t, g.address("outbound"))
	c.say(250, "EHLO mta.example.org")
	if post("ana@example.org", "ana", "number 5") || !post("ana@example.org", "ana", "number 6") {
		t.Error("the fourth has room, the fifth has not")
	}
	g.must("user", "limit", "ana", "--messages-per-hour", "10", "--for", "7d")
	await(t, "what is held to drip out", func() bool { return dripped() != "" })
	if got := dripped(); got != "6" {
		t.Errorf("%s, want what came after the suspension alone", got)
	}
	g.must("hold", "release", "--parked", "--user", "ana", "--yes")
	if got := dripped(); got != "634" {
		t.Errorf("%s, want the oldest first and each once", got)
	}
	if out := g.must("limits", "list", "ana"); !strings.Contains(out, "10 messages / 1h") {
		t.Errorf("list:\n%s", out)
	}
	if out := g.must("limits", "reset", "ana"); !strings.Contains(out, "begin anew") {
		t.Error(out)
	}
	var l limitsList
	if err := json.Unmarshal([]byte(g.must("limits", "list", "ana", "-o", "json")), &l); err != nil || len(l.Users) != 1 || l.Users[0].Limits[0].Used != 0 {
		t.Errorf("after the reset: %+v %v", l, err)
	}
	if out := g.must("user", "limit", "ana", "--remove"); !strings.Contains(out, "general limits") {
		t.Error(out)
	}
}
