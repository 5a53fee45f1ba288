package e2e

import (
	"fmt"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// probe is one attempt to relay: MAIL and RCPT as sent.
type probe struct{ id, from, to string }

// probes is the open-relay catalogue: percent hacks, bang paths, source
// routes, quotes, literals, look-alike domains, truncation and injection. IP
// and gw stand for the gateway.
func probes() []probe {
	const spam, ours = "spam@victim.example", "spam@our.example"
	all := []probe{
		{"S-80", "", "user@victim.example"},
		{"S-81", spam, "user@victim.example"},
		{"S-82", ours, "user@victim.example"},
		{"S-82", "spam@gw.example", "user@victim.example"},
		{"S-82", "spam@[127.0.0.1]", "user@victim.example"},
		{"S-84", spam, "user%victim.example@our.example"},
		{"S-84", ours, "user%victim.example@our.example"},
		{"S-85", spam, "user%victim.example@[127.0.0.1]"},
		{"S-85", spam, "user%victim.example@gw.example"},
		{"S-86", spam, `"user@victim.example"`},
		{"S-87", spam, `"user%victim.example"`},
		{"S-88", spam, "user@victim.example@our.example"},
		{"S-88", spam, "user@victim.example@"},
		{"S-89", spam, `"user@victim.example"@our.example`},
		{"S-89", spam, `"user\@victim.example"@our.example`},
		{"S-90", spam, `"user@victim.example"@[127.0.0.1]`},
		{"S-90", spam, `"user@victim.example"@gw.example`},
		{"S-91", spam, "@our.example:user@victim.example"},
		{"S-91", ours, "@our.example:user@victim.example"},
		{"S-92", spam, "@[127.0.0.1]:user@victim.example"},
		{"S-92", spam, "@gw.example:user@victim.example"},
		{"S-92", spam, "@a.example,@b.example,@our.example:user@victim.example"},
		{"S-93", spam, "victim.example!user"},
		{"S-93", spam, "victim.example!user@our.example"},
		{"S-93", spam, "victim.example!user@[127.0.0.1]"},
		{"S-93", spam, "victim.example!user@gw.example"},
		{"S-94", spam, "our.example!victim.example!user@our.example"},
		{"S-94", spam, "user%victim.example%our.example@our.example"},
		{"S-94", spam, `"victim.example!user"@our.example`},
		{"S-94", spam, `"user%victim.example"@our.example`},
		{"S-95", spam, "user@victim.example."},
		{"S-95", spam, "user@VICTIM.example"},
		{"S-95", spam, "user@victim%2eexample"},
		{"S-95", spam, "user@[192.0.2.1]"},
		{"S-95", spam, "user@[IPv6:2001:db8::1]"},
		{"S-95", spam, "user@[IPv6:::ffff:127.0.0.1]"},
		{"S-96", spam, "user@our.example.victim.example"},
		{"S-96", spam, "user@notour.example"},
		{"S-96", spam, "user@sub.our.example"},
		{"S-96", spam, "user@our.example-victim.example"},
		{"S-97", spam, "user@our.example\x00.victim.example"},
		{"S-97", spam, "user@our.example\r.victim.example"},
		{"S-97", spam, "user@our.example\n.victim.example"},
		{"S-97", spam, "user@our.example(comment).victim.example"},
		{"S-97", spam, "user@victim.example(@our.example)"},
		{"S-97", spam, "user@victim.example @our.example"},
		{"S-97", spam, "user@our.example\t.victim.example"},
		{"S-98", spam, `"x> NOTIFY=NEVER "@our.example`},
		{"S-98", spam, `"a\"> ORCPT=rfc822;v@victim.example "@our.example`},
		{"S-98", spam, "x@our.example> ORCPT=rfc822;v@victim.example <user@victim.example"},
		{"S-98", spam, "x@our.example><user@victim.example"},
		{"S-98", `"x> AUTH=<> "@x.example`, "user@victim.example"},
		{"own", spam, "user@gw.example"},
		{"own", spam, "user@[127.0.0.1]"},
		{"own", spam, "user@localhost"},
		{"own", spam, "user"},
	}
	return all
}

// TestTableRelay: nobody relays, in either mode, on any listener, though the
// access lists accept client, HELO, sender and recipient.
func TestTableRelay(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	var rows [][]string
	for _, mode := range []string{"enforce", "observe"} {
		g := harness.StartGateway(t, harness.Options{
			NextHop: hop.Addr(), SmartHost: hop.Addr(), FilterTo: hop.Addr(), Trust: strangers, Mode: mode,
			Settings: []harness.Setting{
				{Table: "check.access", Key: "clients", Value: `["127.0.0.0/8 accept"]`},
				{Table: "check.access", Key: "helo", Value: `["client.example accept"]`},
				{Table: "check.access", Key: "senders", Value: `["victim.example accept", "our.example accept", "<> accept"]`},
				{Table: "check.access", Key: "recipients", Value: `["victim.example accept", "our.example accept"]`},
				{Table: "check.access", Key: "sender_accept", Value: `"any"`},
				{Table: "limits", Key: "hard_errors", Value: "1000"},
				{Table: "limits", Key: "soft_errors", Value: "1000"},
			},
		})
		for i, p := range probes() {
			at := map[string]string{}
			for name, addr := range map[string]string{"inbound": g.Inbound, "outbound": g.Outbound, "content-filter": g.Filter} {
				at[name] = attempt(t, addr, p)
				if !strings.HasPrefix(at[name], "5") && !strings.HasPrefix(at[name], "4") {
					t.Errorf("%s, %s, %s <%q> to <%q>: %s", mode, name, p.id, p.from, p.to, at[name])
				}
			}
			if mode == "enforce" {
				rows = append(rows, []string{p.id, fmt.Sprintf("<%s>", p.from), fmt.Sprintf("%q", "<"+p.to+">"), at["inbound"], "", at["outbound"]})
			} else {
				rows[i][4] = at["inbound"]
				if now := at["outbound"]; now != rows[i][5] {
					rows[i][5] += ", observe " + now
				}
			}
		}
		// That our own domain works shows that the probes could have.
		if r := harness.Greeted(t, g.Inbound).Send("spam@victim.example", []string{"user@our.example"}, message); r.Code != 250 {
			t.Errorf("%s: ordinary mail to our domain: %s", mode, r)
		}
	}
	for _, c := range hop.Conns() {
		for _, line := range c.Commands() {
			if strings.HasPrefix(line, "RCPT") && strings.Contains(strings.ToLower(line), "victim") {
				t.Errorf("the next hop was asked: %q", line)
			}
		}
	}
	if got := len(hop.Accepted()); got != 2 {
		t.Errorf("the next hop took %d messages, want the two ordinary ones", got)
	}
	if n := hop.Count("RCPT"); n != 2 {
		t.Errorf("the next hop saw RCPT %d times, want 2", n)
	}
	table(t, []string{"id", "MAIL FROM", "RCPT TO", "inbound enforce", "inbound observe", "outbound"}, rows)
}

// attempt tries one probe and gives the reply that ended it.
func attempt(t *testing.T, addr string, p probe) string {
	t.Helper()
	c := harness.Dial(t, addr)
	defer c.Close()
	last := func(r harness.Reply) string {
		words := strings.Fields(r.Text())
		if r.Code == 0 || len(words) == 0 {
			return "closed"
		}
		return fmt.Sprintf("%d %s", r.Code, words[0])
	}
	r := c.Reply()
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<" + p.from + ">", "RCPT TO:<" + p.to + ">"} {
		if r.Class() != 2 {
			return last(r)
		}
		r = c.Say(line).Reply()
	}
	if r.Class() == 2 {
		c.Say("DATA")
		if r = c.Reply(); r.Code == 354 {
			r = c.Raw("Subject: relayed\r\n\r\n.\r\n").Reply()
		}
	}
	return last(r)
}
