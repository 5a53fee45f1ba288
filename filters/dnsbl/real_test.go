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
	"garita/mail"
	"garita/resolver"
	servers "garita/test/dnsbl"
	"garita/test/harness"
)

// world is the check over two lists, of which one will fall ill.
type world struct {
	t       *testing.T
	sick    *servers.List
	dns     *resolver.DNS
	monitor *Monitor
	engine  *filters.Engine
	clock   atomic.Int64
	events  atomic.Int32
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, sick: servers.StartList(t, "sick.lists.test", servers.Healthy)}
	well := servers.StartList(t, "well.lists.test", servers.Healthy)
	w.dns = servers.NewResolver(t, servers.StartUnbound(t, w.sick, well))
	start := time.Now()
	c := Default()
	c.Mode, c.Lists, c.RefuseAt, c.Timeout = "enforce", []string{"sick", "well"}, 4, 1500*time.Millisecond
	for name, weight := range map[string]float64{"sick": 5, "well": 1} {
		c.List[name] = ListConfig{Zone: name + ".lists.test", Kinds: []string{"ipv4"}, Weight: weight}
	}
	check, m, err := New(c, filters.Site{Hostname: "mx.our.example", Resolver: w.dns}, Options{
		Now:   func() time.Time { return start.Add(time.Duration(w.clock.Load())) },
		Alert: func(Event) { w.events.Add(1) },
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
		dies func(l *servers.List)
		why  lists.Reason
		// mails until it is suspended; 0: the next probe finds it.
		mails int
	}{
		{"ORDB 2008 lists the world", func(l *servers.List) { l.Becomes(servers.ORDB) }, lists.Everything, 1},
		{"SpamCop 2021 is parked", func(l *servers.List) { l.Becomes(servers.SpamCop) }, lists.Parked, 1},
		{"DSBL is silent", func(l *servers.List) { l.Process.Signal(syscall.SIGSTOP) }, lists.Silent, 3},
		{"SORBS is emptied", func(l *servers.List) { l.Becomes(servers.SORBS) }, lists.Empty, 0},
		{"Spamhaus refuses a public resolver", func(l *servers.List) { l.Becomes(servers.Refused) }, lists.Refuses, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if v, why := w.mail(servers.Spammer); v != mail.Reject {
				t.Fatalf("a listed client: %v %s", v, why)
			}
			if v, why := w.mail(servers.Good); v != mail.Continue || why != "" {
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
			if v, why := w.mail(servers.Spammer); v != mail.Continue || !strings.Contains(why, "dnsbl.well") {
				t.Errorf("%v %s", v, why)
			}

			w.sick.Process.Signal(syscall.SIGCONT)
			if c.why != lists.Silent {
				w.sick.Becomes(servers.Healthy)
			}
			harness.Eventually(t, "the list is well", func() bool {
				w.later(6 * time.Minute)
				return w.monitor.Status()[0].Health == lists.Healthy
			})
			if v, why := w.mail(servers.Spammer); v != mail.Reject {
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
