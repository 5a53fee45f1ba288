package e2e

import (
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// TestXClient: a named peer may say who its client is, and everything looks
// at that client then; a stranger may not, and nobody may twice (attacks
// S-194, S-195).
func TestXClient(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "check.access", Key: "clients", Value: `["203.0.113.66 reject Not you"]`},
		{Table: "check.access", Key: "names", Value: `["bad.example reject"]`},
		{Table: "conduct", Key: "messages", Value: "2"},
	}})
	harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, "inbound"), Key: "xclient_from", Value: `["127.0.0.1/32"]`})
	g.Start()
	mail := []string{"--from", "a@x.example", "--to", "b@our.example"}
	for _, c := range []struct {
		name, at, client, want string
		good                   bool
	}{
		{"a client", g.Inbound, "ADDR=203.0.113.9 NAME=mail.partner.example HELO=mail.partner.example PROTO=ESMTP", "250 2.0.0", true},
		{"an IPv6 client", g.Inbound, "ADDR=IPV6:2001:db8::9 NAME=[UNAVAILABLE]", "250 2.0.0", true},
		{"a listed client", g.Inbound, "ADDR=203.0.113.66 NAME=[UNAVAILABLE]", "554 5.7.1", false},
		{"a listed name", g.Inbound, "ADDR=203.0.113.10 NAME=mail.bad.example", "554 5.7.1", false},
		{"a listed name that is not confirmed", g.Inbound, "ADDR=203.0.113.10 REVERSE_NAME=mail.bad.example NAME=[UNAVAILABLE]", "250 2.0.0", true},
		{"nonsense", g.Inbound, "ADDR=203.0.113.999", "501 5.5.4", false},
		{"injection", g.Inbound, "ADDR=203.0.113.9 HELO=x+0D+0ARCPT", "501 5.5.4", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(hop.Accepted())
			out, code := harness.Swaks(t, c.at, append([]string{"--xclient", c.client}, mail...)...)
			if (code == 0) != c.good || !strings.Contains(out, c.want) {
				t.Errorf("swaks: exit status %d, want %q\n%s\n%s", code, c.want, out, g.Log())
			}
			if got := len(hop.Accepted()) - before; (got == 1) != c.good {
				t.Errorf("%d messages arrived", got)
			}
		})
	}
	g.WaitLog("mail.partner.example[203.0.113.9]")
	if strings.Contains(g.Log(), "\nRCPT") || strings.Contains(g.Log(), "\r") {
		t.Error("an attribute broke a line of the log (L-21)")
	}
	for _, m := range hop.Accepted() {
		if strings.Contains(string(m.Data), "[127.0.0.1]") {
			t.Errorf("the trace field names the peer:\n%.200s", m.Data)
		}
	}
	// Rates are the client's too.
	for i, want := range []int{250, 250, 450} {
		c := harness.Greeted(t, g.Inbound)
		c.Say("XCLIENT ADDR=203.0.113.77 NAME=[UNAVAILABLE]").Want(220)
		c.Say("EHLO client.example").Want(250)
		if r := c.Say("MAIL FROM:<a@x.example>").Reply(); r.Code != want {
			t.Errorf("message %d of one client: %s", i+1, r)
		}
		c.Close()
	}
	// Once.
	c := harness.Greeted(t, g.Inbound)
	c.Say("XCLIENT ADDR=203.0.113.9 NAME=[UNAVAILABLE]").Want(220)
	c.Say("EHLO client.example").Want(250)
	c.Say("XCLIENT ADDR=203.0.113.10 NAME=[UNAVAILABLE]").Want(550)
	// What comes early was said by one client and would run as another.
	early := harness.Greeted(t, g.Inbound)
	early.Say("XCLIENT ADDR=203.0.113.9 NAME=[UNAVAILABLE]", "MAIL FROM:<a@x.example>")
	if r := early.Reply(); r.Class() != 5 {
		t.Errorf("XCLIENT with a command behind it: %s", r)
	}
	// Not in a transaction, and it opens no relay.
	inside := harness.Greeted(t, g.Inbound)
	inside.Envelope("a@x.example")
	inside.Say("XCLIENT ADDR=203.0.113.9 NAME=[UNAVAILABLE]").Want(503)
	relay := harness.Greeted(t, g.Inbound)
	relay.Say("XCLIENT ADDR=192.0.2.1 NAME=gw.example LOGIN=ana").Want(220)
	relay.Say("EHLO client.example").Want(250)
	relay.Envelope("a@x.example")
	relay.Say("RCPT TO:<b@far.example>").Want(554)
}

// TestXClientFromAStranger: it is offered to nobody else, and refused.
func TestXClientFromAStranger(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr(), Trust: "192.0.2.0/24"})
	for _, role := range []string{"inbound", "outbound"} {
		harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, role), Key: "xclient_from", Value: `["127.0.0.7/32"]`})
	}
	g.Start()
	for _, at := range []string{g.Inbound, g.Outbound} {
		c := harness.Dial(t, at)
		c.Want(220)
		if r := c.Say("EHLO client.example").Want(250); strings.Contains(r.Text(), "XCLIENT") {
			t.Errorf("XCLIENT is offered to a stranger:\n%s", r.Text())
		}
		c.Say("XCLIENT ADDR=192.0.2.1 NAME=trusted.example LOGIN=ana").Want(550)
		c.Say("EHLO client.example").Want(250)
		c.Say("MAIL FROM:<a@x.example>")
		c.Reply()
		if r := c.Say("RCPT TO:<b@far.example>").Reply(); r.Class() != 5 {
			t.Errorf("a stranger relays after XCLIENT: %s", r)
		}
		// The named peer is heard, and trust follows the client that it names.
		p := greetedFrom(t, "127.0.0.7", at)
		p.Say("XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE]").Want(220)
		p.Say("EHLO client.example").Want(250)
		p.Say("MAIL FROM:<a@our.example>").Want(250)
		want := map[bool]int{true: 250, false: 554}[at == g.Outbound]
		p.Say("RCPT TO:<b@far.example>").Want(want)
	}
	out, code := harness.Swaks(t, g.Inbound, "--xclient", "ADDR=192.0.2.1", "--from", "a@x.example", "--to", "b@our.example")
	if code == 0 {
		t.Errorf("swaks --xclient from a stranger:\n%s", out)
	}
}

// TestPostmasterIsReached: abuse@ and postmaster@ of our domains reach the
// next hop whatever the checks say of client and sender (RFC 5321 section
// 4.5.1, RFC 2142), and nothing else gets through with them.
func TestPostmasterIsReached(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "check.access", Key: "clients", Value: `["127.0.0.0/8 reject Not from here"]`},
		{Table: "check.access", Key: "senders", Value: `["x.example reject"]`},
		{Table: "check.access", Key: "recipients", Value: `["abuse@our.example reject Closed"]`},
		{Table: "route", Key: "known_recipients", Value: `["ana@our.example"]`},
	}})
	for _, to := range []string{"postmaster@our.example", "PostMaster@OUR.example", "abuse@our.example", "postmaster"} {
		if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{to}, message); r.Code != 250 {
			t.Errorf("<%s>: %s\n%s", to, r, g.Log())
		}
	}
	for _, to := range []string{"ana@our.example", "postmaster@far.example", "abuse@sub.our.example", "postmaster2@our.example"} {
		if r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{to}, message); r.Class() != 5 {
			t.Errorf("<%s>: %s", to, r)
		}
	}
	if got := len(hop.Accepted()); got != 4 {
		t.Errorf("%d messages arrived, want the four for a person", got)
	}
	c := harness.Greeted(t, g.Inbound)
	c.Envelope("a@x.example", "postmaster@our.example", "abuse@our.example")
	c.Say("RCPT TO:<ana@our.example>").Want(452)
	c.Say("DATA").Want(354)
	c.Raw(harness.Stuff(message)).Want(250)
	// The mandatory rules hold for them too.
	big := harness.Greeted(t, g.Inbound)
	big.Say("MAIL FROM:<a@x.example> SIZE=999999999").Want(552)
	smuggle := harness.Greeted(t, g.Inbound)
	smuggle.Envelope("a@x.example", "postmaster@our.example")
	smuggle.Say("DATA").Want(354)
	smuggle.Raw("Subject: x\r\n\r\na\rb\r\n.\r\n").WantClass(5)
	g.WaitLog("exempt=postmaster")
}
