package dnsbl

import (
	"fmt"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// TestGateway: the same in the built program: a client that is listed is
// Refused, and a list that begins to list the world refuses nobody.
func TestGateway(t *testing.T) {
	t.Parallel()
	hop, err := fakehop.Start(fakehop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hop.Close)
	sick := StartList(t, "sick.lists.test", Healthy)
	well := StartList(t, "well.lists.test", Healthy)
	server := StartUnbound(t, sick, well)
	NewResolver(t, server) // waits until it answers
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), Trust: "192.0.2.0/24", Settings: []harness.Setting{
		{Table: "dns", Key: "servers", Value: fmt.Sprintf("[%q]", server)}, {Table: "dns", Key: "max_ttl", Value: `"1s"`}, {Table: "dns", Key: "min_ttl", Value: `"0s"`},
		{Table: "check.dnsbl", Key: "mode", Value: `"enforce"`}, {Table: "check.dnsbl", Key: "lists", Value: `["sick", "well"]`}, {Table: "check.dnsbl", Key: "refuse_at", Value: "4"},
		{Table: "check.sender", Key: "mode", Value: `"off"`},
	}})
	harness.Append(t, g.Config, "\n[check.dnsbl.list.sick]\nzone = \"sick.lists.test\"\nkinds = [\"ipv4\"]\nweight = 5\n[check.dnsbl.list.well]\nzone = \"well.lists.test\"\nkinds = [\"ipv4\"]\nweight = 1\n")
	harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, "inbound"), Key: "proxy_from", Value: `["127.0.0.1/32"]`})
	g.Start()
	harness.Eventually(t, "both lists are well", func() bool {
		out, code := g.Run("rbl", "lists", "--config", g.Config)
		return code == 0 && strings.Count(out, "  healthy  ") == 2
	})
	rcpt := func(client string) harness.Reply {
		t.Helper()
		c := harness.Dial(t, g.Inbound)
		c.Say("PROXY TCP4 " + client + " 192.0.2.1 4000 25").Want(220)
		c.Say("EHLO mail.sender.example").Want(250)
		c.Say("MAIL FROM:<a@sender.example>").Want(250)
		r := c.Say("RCPT TO:<b@our.example>").Reply()
		c.Say("QUIT")
		return r
	}
	if r := rcpt(Spammer); r.Code != 554 || !strings.Contains(r.Text(), "Client host ["+Spammer+"] blocked using sick.lists.test") {
		t.Errorf("a listed client: %s\n%s", r, g.Log())
	}
	if r := rcpt(Good); r.Code != 250 {
		t.Errorf("a good client: %s", r)
	}
	sick.Becomes(ORDB)
	for i := range 10 {
		if r := rcpt(fmt.Sprintf("198.51.100.%d", 30+i)); r.Code != 250 {
			t.Errorf("good mail %d: %s", i, r)
		}
	}
	g.WaitLog("a DNS list is suspended")
	if out, code := g.Run("rbl", "lists", "--config", g.Config); code != 0 || !strings.Contains(out, "lists everything") {
		t.Errorf("%d\n%s", code, out)
	}
	if out, code := g.Run("health", "--strict", "--config", g.Config); code == 0 || !strings.Contains(out, "dnsbl: sick is suspended") {
		t.Errorf("%d\n%s", code, out)
	}
}
