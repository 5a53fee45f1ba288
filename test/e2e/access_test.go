package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// behindBalancer makes a gateway whose inbound clients come by PROXY headers,
// so that a test can be anybody.
func behindBalancer(t *testing.T, hop string, settings ...harness.Setting) *harness.Gateway {
	t.Helper()
	g := harness.NewGateway(t, harness.Options{NextHop: hop, Trust: strangers})
	harness.Configure(t, g.Config, harness.Strangers(harness.TableOf(t, g.Config, "inbound"))...)
	harness.Configure(t, g.Config, settings...)
	return g
}

// visit is one attempt of a client; empty fields are unsuspicious.
type visit struct{ ip, helo, from, to string }

// say gives the reply to the first command that was refused, or that to RCPT.
func (v visit) say(t *testing.T, g *harness.Gateway) harness.Reply {
	t.Helper()
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	c := harness.From(t, def(v.ip, "198.51.100.1"), g.Inbound)
	defer c.Close()
	r := c.Reply()
	for _, line := range []string{"EHLO " + def(v.helo, "mail.partner.example"), "MAIL FROM:<" + def(v.from, "a@partner.example") + ">", "RCPT TO:<" + def(v.to, "b@our.example") + ">"} {
		if r.Class() != 2 {
			return r
		}
		r = c.Say(line).Reply()
	}
	return r
}

// TestAccessFiles: the five kinds of lists, from files, as an administrator
// keeps them, with names that the DNS has confirmed and names that it has not.
func TestAccessFiles(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	zone := harness.StartDNS(t,
		"7.100.51.198.in-addr.arpa. 300 IN PTR mail.bad.example.", "mail.bad.example. 300 IN A 198.51.100.7",
		"8.100.51.198.in-addr.arpa. 300 IN PTR forged.bad.example.", "forged.bad.example. 300 IN A 198.51.100.99", // D-16, S-195
		"partner.example. 300 IN A 198.51.100.1", "mail.partner.example. 300 IN A 198.51.100.1", "friend.example. 300 IN A 198.51.100.1",
		"spam.example. 300 IN A 198.51.100.2", "sub.spam.example. 300 IN A 198.51.100.2", "old.example. 300 IN A 198.51.100.2")
	d := harness.Dir(t)
	file := func(name, text string) string { return "[" + quoted(writeFile(t, filepath.Join(d, name), text)) + "]" }
	soon, past := time.Now().UTC().Add(24*time.Hour).Format("2006-01-02"), "2020-01-01"
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(zone.Addr) + "]"},
		harness.Setting{Table: "check.access", Key: "client_files", Value: file("clients",
			"# cidr_table(5)\n203.0.113.0/24 REJECT Not from here\n203.0.113.77 OK\n198.51.100.66 450 4.7.1 Later\n2001:db8:66::/48 reject\n192.0.2.5 reject until="+past+" Over\n192.0.2.6 reject until="+soon+" Not over\n")},
		harness.Setting{Table: "check.access", Key: "name_files", Value: file("names", "bad.example REJECT\n")},
		harness.Setting{Table: "check.access", Key: "helo_files", Value: file("helo", "ylmf-pc REJECT\nbad-helo.example DEFER\n")},
		harness.Setting{Table: "check.access", Key: "sender_files", Value: file("senders", "spam.example 550 5.7.1 No\nfriend@ REJECT\n<> DEFER\nold.example reject until="+past+"\n")},
		harness.Setting{Table: "check.access", Key: "recipient_files", Value: file("recipients", "closed@our.example 550 5.2.1 Closed\nopen@our.example OK\n")})
	g.Start()
	for _, c := range []struct {
		name string
		visit
		want string
	}{
		{"nothing fits", visit{}, "250 "},
		{"network", visit{ip: "203.0.113.9"}, "554 5.7.1 "},
		{"an accept inside it", visit{ip: "203.0.113.77"}, "250 "},
		{"address, put off", visit{ip: "198.51.100.66"}, "450 4.7.1 Later"},
		{"IPv6 network", visit{ip: "2001:db8:66::1"}, "554 5.7.1 "},
		{"IPv6, next network", visit{ip: "2001:db8:67::1"}, "250 "},
		{"over", visit{ip: "192.0.2.5"}, "250 "},
		{"not over", visit{ip: "192.0.2.6"}, "554 5.7.1 "},
		{"confirmed name", visit{ip: "198.51.100.7"}, "554 5.7.1 "},
		{"name that is not confirmed", visit{ip: "198.51.100.8"}, "250 "},
		{"HELO", visit{helo: "YLMF-PC"}, "554 5.7.1 "},
		{"HELO, put off", visit{helo: "x.bad-helo.example"}, "450 4.7.1 "},
		{"sender's domain", visit{from: "a@SPAM.example"}, "550 5.7.1 No"},
		{"sender's sub-domain", visit{from: "a@sub.spam.example"}, "550 5.7.1 No"},
		{"sender's local part", visit{from: "friend@partner.example"}, "554 5.7.1 "},
		{"bounce", visit{from: "<>"}, "450 4.7.1 "},
		{"sender, over", visit{from: "a@old.example"}, "250 "},
		{"recipient", visit{to: "closed@our.example"}, "550 5.2.1 "},
		{"a recipient who takes all", visit{ip: "203.0.113.9", from: "a@spam.example", to: "open@our.example"}, "250 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.visit
			if v.from == "<>" {
				v.from = ""
				cl := harness.GreetedFrom(t, "198.51.100.1", g.Inbound)
				cl.Say("MAIL FROM:<>").Want(250)
				if r := cl.Say("RCPT TO:<b@our.example>").Reply(); !strings.HasPrefix(r.String(), c.want) {
					t.Errorf("%s, want %s", r, c.want)
				}
				return
			}
			if r := v.say(t, g); !strings.HasPrefix(r.String(), c.want) {
				t.Errorf("%s, want %s\n%s", r, c.want, g.Log())
			}
		})
	}
	g.WaitLog("mail.bad.example[198.51.100.7]")
	if strings.Contains(g.Log(), "forged.bad.example[198.51.100.8]") {
		t.Error("a name that the DNS does not confirm stands in the log as the client's (S-195)")
	}
	accessReloads(t, g, filepath.Join(d, "clients"))
}

// accessReloads: an edited list counts after the reload, a broken one never.
func accessReloads(t *testing.T, g *harness.Gateway, clients string) {
	t.Helper()
	for i, broken := range []string{"203.0.113.0/24 NONSENSE\n", "203.0.113.0/33 reject\n", "192.0.2.5 reject until=tomorrow\n", "\x1b[2J reject\n"} {
		writeFile(t, clients, "198.51.100.50 OK\n"+broken)
		said := reload(t, g, 78)
		if !strings.Contains(said, clients+":2") {
			t.Errorf("broken list %d: the reload does not name file and line:\n%s", i, said)
		}
		if strings.Contains(said, "\x1b") {
			t.Errorf("broken list %d: its text reached the terminal", i)
		}
		if r := (visit{ip: "203.0.113.9"}).say(t, g); r.Code != 554 {
			t.Errorf("broken list %d: the old one does not go on: %s", i, r)
		}
	}
	writeFile(t, clients, "198.51.100.50 REJECT\n")
	reload(t, g, 0)
	if r := (visit{ip: "203.0.113.9"}).say(t, g); r.Code != 250 {
		t.Errorf("a client that is no longer listed: %s", r)
	}
	if r := (visit{ip: "198.51.100.50"}).say(t, g); r.Code != 554 {
		t.Errorf("a client that is newly listed: %s", r)
	}
}

// TestDNSChecks: what the DNS knows of senders, HELO names and recipients.
func TestDNSChecks(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	zone := harness.StartDNS(t, "partner.example. 300 IN MX 10 mail.partner.example.", "mail.partner.example. 300 IN A 198.51.100.1",
		"silent.example. 300 IN MX 0 .", "far.example. 300 IN A 192.0.2.80", "client.example. 300 IN A 198.51.100.1",
		"inside.example. 300 IN MX 10 mx.inside.example.", "mx.inside.example. 300 IN A 127.0.0.1")
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(zone.Addr) + "]"},
		harness.Setting{Table: "check.helo", Key: "resolves", Value: `"enforce"`},
		harness.Setting{Table: "check.sender", Key: "bad_mx", Value: `"enforce"`},
		harness.Setting{Table: "check.recipient", Key: "unknown_domain", Value: `"enforce"`})
	harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, "outbound"), Key: "trusted_networks", Value: `["127.0.0.0/8"]`},
		harness.Setting{Table: "next_hop." + harness.Value(t, g.Config, harness.TableOf(t, g.Config, "outbound"), "next_hop"), Key: "url", Value: quoted("smtp://" + hop.Addr())})
	g.Start()
	for _, c := range []struct {
		name string
		visit
		want string
	}{
		{"all is well", visit{}, "250 "},
		{"unknown sender domain", visit{from: "a@nowhere.example"}, "450 4.1.8"},
		{"null MX", visit{from: "a@silent.example"}, "550 5.7.27"},
		{"MX on loopback (D-17)", visit{from: "a@inside.example"}, "450 4.1.8"},
		{"our name", visit{helo: "gw.example"}, "550 5.7.1"},
		{"our name in capitals", visit{helo: "GW.example."}, "550 5.7.1"},
		{"our domain", visit{helo: "our.example"}, "550 5.7.1"},
		{"no host name", visit{helo: "a_b!c"}, "550 5.7.1"},
		{"HELO without address", visit{helo: "nowhere.example"}, "450 4.7.1"},
		{"postmaster is reached anyhow", visit{from: "a@nowhere.example", helo: "gw.example", to: "postmaster@our.example"}, "250 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := c.visit.say(t, g); !strings.HasPrefix(r.String(), c.want) {
				t.Errorf("%s, want %s\n%s", r, c.want, g.Log())
			}
		})
	}
	// Our own users: HELO and sender are not looked at, recipients are.
	own := harness.Dial(t, g.Outbound)
	own.Want(220)
	own.Say("EHLO gw.example").Want(250)
	own.Say("MAIL FROM:<a@nowhere.example>").Want(250)
	own.Say("RCPT TO:<b@nowhere.example>").Want(450)
	own.Say("RCPT TO:<b@silent.example>").Want(556)
	own.Say("RCPT TO:<b@far.example>").Want(250)
}

// TestDNSIsDead: servers that are silent, that refuse and that are not there
// cost no mail, and time only once (attacks D-06, D-07).
func TestDNSIsDead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(*harness.DNS) string
	}{
		{"silent", func(d *harness.DNS) string { d.Silent.Store(true); return d.Addr }},
		{"SERVFAIL", func(d *harness.DNS) string { d.Broken.Store(true); return d.Addr }},
		{"nobody there", func(d *harness.DNS) string { return harness.Addr(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hop := startHop(t, fakehop.Config{})
			zone := harness.StartDNS(t)
			g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(c.spoil(zone)) + "]"},
				harness.Setting{Table: "dns", Key: "timeout", Value: `"200ms"`}, harness.Setting{Table: "dns", Key: "budget", Value: `"600ms"`},
				harness.Setting{Table: "dns", Key: "break_after", Value: "3"}, harness.Setting{Table: "dns", Key: "break_for", Value: `"1m"`})
			g.Start()
			const many = 30
			for i := range many {
				// Every one has another name, so that no cache answers.
				cl := harness.GreetedFrom(t, fmt.Sprintf("198.51.100.%d", i+1), g.Inbound)
				if r := cl.Send(fmt.Sprintf("a@d%d.example", i), []string{"b@our.example"}, message); r.Code != 250 {
					t.Fatalf("message %d: %s\n%s", i, r, g.Log())
				}
			}
			if c.name == "silent" && zone.Asked() > many*2 {
				t.Errorf("a silent server was asked %d times for %d messages: nothing broke the circuit", zone.Asked(), many)
			}
			if len(hop.Accepted()) != many {
				t.Errorf("%d messages arrived", len(hop.Accepted()))
			}
		})
	}
}

// TestDNSComesBack: a resolver that answers again is used again.
func TestDNSComesBack(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	zone := harness.StartDNS(t, "partner.example. 300 IN A 198.51.100.1")
	zone.Broken.Store(true)
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(zone.Addr) + "]"},
		harness.Setting{Table: "dns", Key: "failure_ttl", Value: `"1s"`}, harness.Setting{Table: "dns", Key: "break_for", Value: `"1s"`})
	g.Start()
	if r := (visit{from: "a@nowhere.example"}).say(t, g); r.Code != 250 {
		t.Errorf("while the resolver fails: %s", r)
	}
	zone.Broken.Store(false)
	harness.Eventually(t, "the resolver is not used again", func() bool {
		return visit{from: "a@nowhere.example"}.say(t, g).Code == 450
	})
}
