package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

func conductKey(key, value string) harness.Setting {
	return harness.Setting{Table: "conduct", Key: key, Value: value}
}

// bans are those that garita ban list shows, by network, with their reasons.
func bans(t *testing.T, g *harness.Gateway) map[string]string {
	t.Helper()
	out, code := g.Run("ban", "list", "-o", "json", "--config", g.Config)
	var all struct {
		Bans []struct{ Prefix, Reason, By string }
	}
	if code != 0 || json.Unmarshal([]byte(out), &all) != nil {
		t.Fatalf("garita ban list: exit status %d\n%s", code, out)
	}
	got := map[string]string{}
	for _, b := range all.Bans {
		got[b.Prefix] = b.By + ": " + b.Reason
	}
	return got
}

// TestRates: one client that does too much is told to come back, by the right
// reply, and another client never notices (attacks S-140 ff).
func TestRates(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	certs := harness.NewCerts(t, "gw.example")
	g := behindBalancer(t, hop.Addr(), append(certSettings(certs), conductKey("connections", "5"), conductKey("handshakes", "2"),
		conductKey("messages", "4"), conductKey("recipients", "6"), conductKey("ban_after", "0"))...)
	g.Start()
	t.Run("connections", func(t *testing.T) {
		for range 5 {
			harness.GreetedFrom(t, "198.51.100.1", g.Inbound).Close()
		}
		c := harness.From(t, "198.51.100.1", g.Inbound)
		c.Want(421)
		c.WantClosed()
		harness.GreetedFrom(t, "198.51.100.2", g.Inbound)
		// One IPv6 client is a /64.
		for i := range 5 {
			harness.GreetedFrom(t, fmt.Sprintf("2001:db8:1:1::%x", i+1), g.Inbound).Close()
		}
		harness.From(t, "2001:db8:1:1::ffff", g.Inbound).Want(421)
		harness.From(t, "2001:db8:1:2::1", g.Inbound).Want(220)
	})
	t.Run("messages", func(t *testing.T) {
		c := harness.GreetedFrom(t, "198.51.100.11", g.Inbound)
		for range 4 {
			if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
				t.Fatal(r)
			}
		}
		c.Say("MAIL FROM:<a@x.example>").Want(450)
		// It is about the client, not about the connection.
		harness.GreetedFrom(t, "198.51.100.11", g.Inbound).Say("MAIL FROM:<a@x.example>").Want(450)
		harness.GreetedFrom(t, "198.51.100.12", g.Inbound).Say("MAIL FROM:<a@x.example>").Want(250)
	})
	t.Run("recipients", func(t *testing.T) {
		c := harness.GreetedFrom(t, "198.51.100.21", g.Inbound)
		c.Envelope("a@x.example", "1@our.example", "2@our.example", "3@our.example", "4@our.example", "5@our.example", "6@our.example")
		c.Say("RCPT TO:<7@our.example>").Want(450)
		// Those before are not harmed.
		c.Say("DATA").Want(354)
		c.Raw(harness.Stuff(message)).Want(250)
	})
	t.Run("handshakes", func(t *testing.T) {
		for range 2 {
			c := harness.GreetedFrom(t, "198.51.100.31", g.Inbound)
			c.StartTLS(anyTLS())
			c.Close()
		}
		c := harness.GreetedFrom(t, "198.51.100.31", g.Inbound)
		c.Say("STARTTLS").Want(454)
		c.Say("MAIL FROM:<a@x.example>").Want(250) // in clear it may go on
	})
	// The machine's own clients and trusted peers are never counted.
	for range 8 {
		c := harness.Dial(t, g.Inbound).Raw("PROXY UNKNOWN\r\n")
		c.Want(220)
		c.Close()
	}
}

// TestHarvestIsCut: who guesses addresses is cut early, banned, and the ban is
// seen, lifted and kept as promised (attacks S-106).
func TestHarvestIsCut(t *testing.T) {
	t.Parallel()
	b := harness.StartSandbox(t, harness.SandboxOptions{})
	g := behindBalancer(t, b.Addr, conductKey("unknown_recipients", "4"), conductKey("ban_after", "3"), conductKey("ban_for", `"1h"`),
		harness.Setting{Table: "route", Key: "known_recipients", Value: `["ana@our.example"]`})
	g.Start()
	guess := func(ip string) (asked int, last harness.Reply) {
		c := harness.From(t, ip, g.Inbound)
		defer c.Close()
		if r := c.Reply(); r.Code != 220 {
			return 0, r
		}
		c.Say("EHLO client.example").Want(250)
		c.Say("MAIL FROM:<a@x.example>").Want(250)
		for asked = range 100 {
			if last = c.Say(fmt.Sprintf("RCPT TO:<u%d@our.example>", asked)).Reply(); last.Code == 0 {
				return asked, last
			}
			if last.Code == 421 {
				c.WantClosed()
				return asked + 1, last
			}
		}
		return asked, last
	}
	if n, last := guess("198.51.100.1"); n > 6 || last.Code != 421 {
		t.Errorf("the first harvest had %d answers, the last %s", n, last)
	}
	for range 3 {
		guess("198.51.100.1")
	}
	if n, last := guess("198.51.100.1"); n != 0 || last.Code != 421 {
		t.Errorf("a banned client: %d answers, the last %s\n%s", n, last, g.Log())
	}
	g.WaitLog("client banned")
	if got := bans(t, g); !strings.HasPrefix(got["198.51.100.1/32"], "conduct: ") || len(got) != 1 {
		t.Errorf("garita ban list: %v", got)
	}
	// A neighbour is not harmed, and the next hop was never asked.
	if r := harness.GreetedFrom(t, "198.51.100.2", g.Inbound).Send("a@x.example", []string{"ana@our.example"}, message); r.Code != 250 {
		t.Errorf("a neighbour: %s", r)
	}
	// A session that was open when the ban came can send nothing.
	early := harness.GreetedFrom(t, "203.0.113.7", g.Inbound)
	if out, code := g.Run("ban", "add", "203.0.113.0/24", "--reason", "ticket \x1b[2J 1", "--config", g.Config); code != 0 || strings.Contains(out, "\x1b") {
		t.Fatalf("garita ban add: %d\n%q", code, out)
	}
	if r := early.Send("a@x.example", []string{"ana@our.example"}, message); r.Class() != 4 {
		t.Errorf("an open session of a banned client: %s", r)
	}
	if r := harness.From(t, "203.0.113.200", g.Inbound).Reply(); r.Code != 421 {
		t.Errorf("a client of a network that the operator has banned: %s", r)
	}
	// Bans are the disk's, not the process's.
	g.Kill()
	g.Start()
	if got := bans(t, g); len(got) != 2 {
		t.Errorf("after kill -9 and a start: %v", got)
	}
	for _, ip := range []string{"198.51.100.1", "203.0.113.1"} {
		if r := harness.From(t, ip, g.Inbound).Reply(); r.Code != 421 {
			t.Errorf("after kill -9 and a start, %s: %s", ip, r)
		}
	}
	if out, code := g.Run("ban", "remove", "198.51.100.1", "--config", g.Config); code != 0 {
		t.Fatalf("garita ban remove: %d\n%s", code, out)
	}
	harness.GreetedFrom(t, "198.51.100.1", g.Inbound)
	if out, code := g.Run("ban", "remove", "198.51.100.1", "--config", g.Config); code == 0 {
		t.Errorf("a second garita ban remove: %s", out)
	}
	g.Kill()
	g.Start()
	if got := bans(t, g); len(got) != 1 || got["203.0.113.0/24"] == "" {
		t.Errorf("a lifted ban after kill -9: %v", got)
	}
}

// TestJunkIsBanned: another protocol, talking out of turn and too many errors
// are points; enough of them are a ban (attacks S-50, S-62).
func TestJunkIsBanned(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := behindBalancer(t, hop.Addr(), conductKey("ban_after", "6"))
	g.Start()
	for _, junk := range []string{"GET / HTTP/1.1\r\n", "EHLO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@our.example>\r\n", "\x16\x03\x01\x02\x00\x01\x00"} {
		c := harness.From(t, "198.51.100.1", g.Inbound)
		c.Want(220)
		c.Raw(junk)
		c.WantClosed()
	}
	harness.From(t, "198.51.100.1", g.Inbound).Want(421)
	if got := bans(t, g); len(got) != 1 {
		t.Errorf("garita ban list: %v", got)
	}
	out, code := g.Run("ban", "check", "198.51.100.1", "--config", g.Config)
	if code != 0 || !strings.Contains(out, "198.51.100.1") {
		t.Errorf("garita ban check: %d\n%s", code, out)
	}
	harness.GreetedFrom(t, "198.51.100.2", g.Inbound)
}

// TestConductObserves: in mode observe everything is counted and told, and
// nobody is refused; a ban of the operator does not hold either.
func TestConductObserves(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := behindBalancer(t, hop.Addr(), conductKey("mode", `"observe"`), conductKey("connections", "2"), conductKey("messages", "2"),
		conductKey("unknown_recipients", "1"), conductKey("ban_after", "2"))
	g.Start()
	for range 6 {
		c := harness.GreetedFrom(t, "198.51.100.1", g.Inbound)
		if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
			t.Errorf("in mode observe: %s", r)
		}
		c.Close()
	}
	for range 3 {
		c := harness.From(t, "198.51.100.1", g.Inbound)
		c.Want(220)
		c.Raw("GET / HTTP/1.1\r\n")
		c.WantClosed()
	}
	g.WaitLog("would be refused")
	g.WaitLog("would be banned")
	if got := bans(t, g); len(got) != 0 {
		t.Errorf("bans in mode observe: %v", got)
	}
	if out, code := g.Run("ban", "add", "198.51.100.9", "--config", g.Config); code != 0 || !strings.Contains(out, "observe") {
		t.Errorf("garita ban add does not say that it has no effect: %d\n%s", code, out)
	}
	harness.GreetedFrom(t, "198.51.100.9", g.Inbound)
	// The mode is a reload away, and then what was counted counts.
	harness.Configure(t, g.Config, conductKey("mode", `"enforce"`))
	reload(t, g, 0)
	harness.From(t, "198.51.100.9", g.Inbound).Want(421)
}

// TestManyTriesOfPasswords: wrong passwords ban a client, and the right user
// from elsewhere is not harmed (attacks S-156).
func TestManyTriesOfPasswords(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example")
	hop := startHop(t, fakehop.Config{})
	g, _ := submission(t, certs, hop.Addr(), conductKey("ban_after", "4"), conductKey("auth_failures", "0"),
		harness.Setting{Table: "users", Key: "max_delay", Value: `"20s"`},
		harness.Setting{Table: "outbound", Key: "proxy_from", Value: `["127.0.0.1/32"]`})
	login := func(ip, user, response string) harness.Reply {
		c := harness.From(t, ip, g.Outbound)
		defer c.Close()
		if r := c.Reply(); r.Code != 220 {
			return r
		}
		c.Say("EHLO client.example").Want(250)
		c.StartTLS(anyTLS())
		return c.Say("AUTH PLAIN " + response).Reply()
	}
	for range 4 {
		if r := login("198.51.100.1", "ana", "AGFuYQB3cm9uZw=="); r.Code != 535 {
			t.Fatalf("a wrong password: %s", r)
		}
	}
	harness.From(t, "198.51.100.1", g.Outbound).Want(421)
	if r := login("198.51.100.2", "luis", "AGx1aXNAb3VyLmV4YW1wbGUAYSBob3JzZSB0aGF0IHJlYWRzIG1hcHM="); r.Code != 235 {
		t.Errorf("another user from elsewhere: %s\n%s", r, g.Log())
	}
}
