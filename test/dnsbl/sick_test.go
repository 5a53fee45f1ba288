package dnsbl

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	lists "garita/dnsbl"
	"garita/filters"
	"garita/filters/dnsbl"
	"garita/mail"
	"garita/resolver"
	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// world is the check over two lists, of which one will fall ill.
type world struct {
	t       *testing.T
	sick    *list
	dns     *resolver.DNS
	monitor *dnsbl.Monitor
	engine  *filters.Engine
	clock   atomic.Int64
	events  atomic.Int32
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, sick: startList(t, "sick.lists.test", healthy)}
	well := startList(t, "well.lists.test", healthy)
	w.dns = newResolver(t, startUnbound(t, w.sick, well))
	start := time.Now()
	c := dnsbl.Default()
	c.Mode, c.Lists, c.RefuseAt, c.Timeout = "enforce", []string{"sick", "well"}, 4, 1500*time.Millisecond
	for name, weight := range map[string]float64{"sick": 5, "well": 1} {
		c.List[name] = dnsbl.ListConfig{Zone: name + ".lists.test", Kinds: []string{"ipv4"}, Weight: weight}
	}
	check, m, err := dnsbl.New(c, filters.Site{Hostname: "mx.our.example", Resolver: w.dns}, dnsbl.Options{
		Now:   func() time.Time { return start.Add(time.Duration(w.clock.Load())) },
		Alert: func(dnsbl.Event) { w.events.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.monitor = m
	if w.engine, err = filters.New(filters.Config{Checks: []filters.Check{check}}); err != nil {
		t.Fatal(err)
	}
	m.Probe(t.Context())
	w.want(lists.Healthy, "")
	return w
}

func (w *world) want(h lists.Health, r lists.Reason) {
	w.t.Helper()
	if s := w.monitor.Status()[0]; s.Health != h || s.Reason != r {
		w.t.Fatalf("the list is %s (%s, %s), want %s (%s)", s.Health, s.Reason, s.Detail, h, r)
	}
}

// mail is what a mail of a client comes to, and its findings.
func (w *world) mail(client string) (mail.Verdict, string) {
	ctx := w.t.Context()
	a := netip.AddrPortFrom(netip.MustParseAddr(client), 4000)
	s := &mail.Session{ID: "S", Client: a, Peer: a, Role: mail.Inbound, Helo: "mail.sender.example"}
	w.engine.Connect(ctx, s)
	tx := &mail.Transaction{Session: s, ID: "T", Direction: mail.In}
	w.engine.Mail(ctx, tx)
	d := w.engine.Rcpt(ctx, tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "our.example"}})
	var b strings.Builder
	for _, f := range d.Because {
		fmt.Fprintf(&b, "%s(%s) ", f.Symbol, f.Detail)
	}
	return d.Verdict, b.String()
}

// later lets time pass and probes what is due.
func (w *world) later(by time.Duration) {
	w.clock.Add(int64(by))
	w.dns.Flush()
	w.monitor.ProbeDue(w.t.Context())
}

// TestSickLists: five ways in which lists have died, under the check while it
// runs. Not one good mail is refused, from the first on; a client that is
// really listed is refused before and after; each change is told once.
func TestSickLists(t *testing.T) {
	for _, c := range []struct {
		name string
		dies func(l *list)
		why  lists.Reason
		// mails until it is suspended; 0: the next probe finds it.
		mails int
	}{
		{"ORDB 2008 lists the world", func(l *list) { l.becomes(ordb) }, lists.Everything, 1},
		{"SpamCop 2021 is parked", func(l *list) { l.becomes(spamcop) }, lists.Parked, 1},
		{"DSBL is silent", func(l *list) { l.process.Signal(syscall.SIGSTOP) }, lists.Silent, 3},
		{"SORBS is emptied", func(l *list) { l.becomes(sorbs) }, lists.Empty, 0},
		{"Spamhaus refuses a public resolver", func(l *list) { l.becomes(refused) }, lists.Refuses, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if v, why := w.mail(spammer); v != mail.Reject {
				t.Fatalf("a listed client: %v %s", v, why)
			}
			if v, why := w.mail(good); v != mail.Continue || why != "" {
				t.Fatalf("a good client: %v %s", v, why)
			}
			c.dies(w.sick)
			w.dns.Flush()
			for i := range 20 {
				if v, why := w.mail(fmt.Sprintf("198.51.100.%d", 20+i)); v != mail.Continue {
					t.Fatalf("good mail %d: %v %s", i, v, why)
				}
				if c.mails > 0 && i+1 == c.mails {
					w.want(lists.Suspended, c.why)
				}
			}
			w.later(31 * time.Minute)
			w.want(lists.Suspended, c.why)
			if n := w.events.Load(); n != 1 {
				t.Errorf("told %d times", n)
			}
			// The other list still gives its points.
			if v, why := w.mail(spammer); v != mail.Continue || !strings.Contains(why, "dnsbl.well") {
				t.Errorf("%v %s", v, why)
			}

			w.sick.process.Signal(syscall.SIGCONT)
			if c.why != lists.Silent {
				w.sick.becomes(healthy)
			}
			harness.Eventually(t, "the list is well", func() bool {
				w.later(6 * time.Minute)
				return w.monitor.Status()[0].Health == lists.Healthy
			})
			if v, why := w.mail(spammer); v != mail.Reject {
				t.Errorf("a listed client of the healed list: %v %s", v, why)
			}
			for i := range 20 { // what a cache may have of the bad days does not count
				if v, why := w.mail(fmt.Sprintf("198.51.100.%d", 20+i)); v != mail.Continue {
					t.Errorf("good mail after it: %v %s", v, why)
				}
			}
			if n := w.events.Load(); n != 2 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// TestGateway: the same in the built program: a client that is listed is
// refused, and a list that begins to list the world refuses nobody.
func TestGateway(t *testing.T) {
	t.Parallel()
	hop, err := fakehop.Start(fakehop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hop.Close)
	sick := startList(t, "sick.lists.test", healthy)
	well := startList(t, "well.lists.test", healthy)
	server := startUnbound(t, sick, well)
	newResolver(t, server) // waits until it answers
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
	if r := rcpt(spammer); r.Code != 554 || !strings.Contains(r.Text(), "Client host ["+spammer+"] blocked using sick.lists.test") {
		t.Errorf("a listed client: %s\n%s", r, g.Log())
	}
	if r := rcpt(good); r.Code != 250 {
		t.Errorf("a good client: %s", r)
	}
	sick.becomes(ordb)
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
