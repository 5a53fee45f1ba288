package greylist

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/resolver"
	"garita/store"
)

func site() filters.Site {
	return filters.Site{Hostname: "mx.our.example", Store: store.NewMemory(), Resolver: &resolver.Mock{}}
}

func TestGreylist(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		check, err := New(filtertest.With(t, Default(), config), nil, site(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, nil, site(), Options{}); return err },
		"mode loud", "policy_mode loud", "who nobody", "policy_who nobody", "delay 0s", "policy_delay 48h", "retry_window 1m", "max_age 1h", "correspondents -1s",
		"auto_pass -1", "ipv4_prefix 33", "ipv6_prefix 0", "newcomers 1", "list_score 0", "client_files /nonexistent", "recipient_files /nonexistent")
	bad := Default()
	bad.Mode = "x"
	if _, err := New(bad, &Lists{}, site(), Options{}); err == nil {
		t.Error("with lists")
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolDelayed, SymbolPassed, SymbolFull)
}

// kit is the check in an engine, with a clock.
type kit struct {
	t      *testing.T
	now    time.Time
	engine *filters.Engine
	site   filters.Site
	faults []error
	n      int
}

func newKit(t *testing.T, s filters.Site, o Options, lines ...string) *kit {
	t.Helper()
	k := &kit{t: t, now: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC), site: s}
	o.Now = func() time.Time { return k.now }
	check, err := New(filtertest.With(t, Default(), append([]string{"mode enforce"}, lines...)), nil, s, o)
	if err != nil {
		t.Fatal(err)
	}
	k.engine, err = filters.New(filters.Config{Checks: []filters.Check{check}, Fault: func(_ string, _ mail.Stage, err error) { k.faults = append(k.faults, err) }})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// tx is a new transaction of a stranger.
func (k *kit) tx(from string) *mail.Transaction {
	k.n++
	p, _, err := mail.ParseReverse("<"+from+">", true)
	if err != nil {
		k.t.Fatal(err)
	}
	return &mail.Transaction{ID: "T" + strings.Repeat("I", k.n), Direction: mail.In, Envelope: mail.Envelope{ReversePath: p},
		Session: &mail.Session{Role: mail.Inbound, Client: netip.MustParseAddrPort("192.0.2.1:1")}}
}

func to(addr string) mail.Recipient {
	p, _, _ := mail.ParseForward("<"+addr+">", true)
	return mail.Recipient{Path: p}
}

func (k *kit) rcpt(tx *mail.Transaction, addr string) mail.Decision {
	return k.engine.Rcpt(context.Background(), tx, to(addr))
}

// TestComesBack: 450 with the seconds that are left, then in, with one field
// for all recipients.
func TestComesBack(t *testing.T) {
	k := newKit(t, site(), Options{})
	for _, want := range []string{"120", "90", "1"} {
		for _, u := range []string{"b@our.example", "c@our.example"} {
			if d := k.rcpt(k.tx("a@x.example"), u); d.Verdict != mail.Defer || d.Reply.String() != "450 4.2.0 Greylisted, try again in "+want+" seconds" {
				t.Errorf("%s: %+v", want, d)
			}
		}
		k.now = k.now.Add(map[string]time.Duration{"120": 30 * time.Second, "90": 89 * time.Second, "1": 10 * time.Second}[want])
	}
	tx := k.tx("a@x.example")
	for _, u := range []string{"b@our.example", "c@our.example"} {
		if d := k.rcpt(tx, u); d.Verdict != mail.Continue {
			t.Errorf("%+v", d)
		}
	}
	if len(tx.Edits) != 1 || string(tx.Edits[0].Insert) != "X-Greylist: delayed 129 seconds by garita at mx.our.example; Mon, 05 Jan 2026 10:02:09 +0000\r\n" {
		t.Errorf("%v", tx.Edits)
	}
	if tx = k.tx("a@x.example"); k.rcpt(tx, "b@our.example").Verdict != mail.Continue || len(tx.Edits) != 0 {
		t.Errorf("the next one: %v", tx.Edits)
	}
	// Without the field.
	k = newKit(t, site(), Options{}, "header false")
	k.rcpt(k.tx("a@x.example"), "b@our.example")
	k.now = k.now.Add(2 * time.Minute)
	if tx = k.tx("a@x.example"); k.rcpt(tx, "b@our.example").Verdict != mail.Continue || len(tx.Edits) != 0 {
		t.Errorf("%v", tx.Edits)
	}
}

// TestSuspicion: lists, names, and a DNS that fails.
func TestSuspicion(t *testing.T) {
	for name, c := range map[string]struct {
		config   string
		findings []mail.Finding
		named    bool
		noDNS    bool
		want     mail.Verdict
	}{
		"no name":               {want: mail.Defer},
		"a name":                {named: true},
		"a name and a list":     {named: true, findings: []mail.Finding{{Symbol: "dnsbl.zen", Score: 1}}, want: mail.Defer},
		"two lists together":    {named: true, findings: []mail.Finding{{Symbol: "dnsbl.a", Score: 0.5}, {Symbol: "dnsbl.b", Score: 0.5}}, want: mail.Defer},
		"half a list":           {named: true, findings: []mail.Finding{{Symbol: "dnsbl.a", Score: 0.5}}},
		"an allow list with it": {named: true, findings: []mail.Finding{{Symbol: "dnsbl.a", Score: 2}, {Symbol: "dnsbl.wl", Score: -2}}},
		"another check's score": {named: true, findings: []mail.Finding{{Symbol: "helo.syntax", Score: 5}}},
		"a stricter sum":        {config: "list_score 3", named: true, findings: []mail.Finding{{Symbol: "dnsbl.a", Score: 2}}},
		"the DNS fails":         {findings: []mail.Finding{{Symbol: "client.temporary"}}},
		"there is no DNS":       {noDNS: true},
	} {
		s := site()
		if c.noDNS {
			s.Resolver = nil
		}
		config := c.config
		if config == "" {
			config = "who suspicious"
		}
		k := newKit(t, s, Options{}, config)
		tx := k.tx("a@x.example")
		tx.Findings = c.findings
		if c.named {
			tx.Host = mail.HostName{Name: "mail.x.example", Confirmed: true}
		}
		if d := k.rcpt(tx, "b@our.example"); d.Verdict != c.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestAuthenticatedDomain: the seam for SPF and DKIM, with a stand-in.
func TestAuthenticatedDomain(t *testing.T) {
	k := newKit(t, site(), Options{Authenticated: func(tx *mail.Transaction) string {
		if tx.ReversePath.Domain == "signed.example" {
			return "signed.example"
		}
		return ""
	}})
	for _, c := range []struct {
		from string
		want mail.Verdict
	}{{"a@signed.example", mail.Continue}, {"a@plain.example", mail.Defer}} {
		k.rcpt(k.tx(c.from), "b@our.example")
		k.now = k.now.Add(3 * time.Minute)
		tx := k.tx(c.from)
		tx.Client = netip.MustParseAddrPort("198.51.100.1:1") // of a pool
		if d := k.rcpt(tx, "b@our.example"); d.Verdict != c.want {
			t.Errorf("%s: %+v", c.from, d)
		}
	}
}

// TestCorrespondents: the answer to mail that was relayed is not delayed.
func TestCorrespondents(t *testing.T) {
	k := newKit(t, site(), Options{})
	out := func(kind mail.OutcomeKind, dir mail.Direction, from, rcpt string) {
		tx := k.tx(from)
		tx.Direction, tx.Role, tx.ForwardPaths = dir, mail.Outbound, []mail.Recipient{to(rcpt)}
		k.engine.Finish(context.Background(), tx, mail.Outcome{Kind: kind})
	}
	out(mail.Relayed, mail.Out, "ana@our.example", "friend@x.example")
	out(mail.Refused, mail.Out, "ana@our.example", "refused@x.example")
	out(mail.Relayed, mail.In, "ana@our.example", "inbound@x.example")
	out(mail.Relayed, mail.Out, "", "bounce@x.example")
	for from, want := range map[string]mail.Verdict{
		"friend@x.example": mail.Continue, "refused@x.example": mail.Defer, "inbound@x.example": mail.Defer, "bounce@x.example": mail.Defer, "": mail.Defer,
	} {
		if d := k.rcpt(k.tx(from), "ana@our.example"); d.Verdict != want {
			t.Errorf("%s: %+v", from, d)
		}
	}
	if d := k.rcpt(k.tx("friend@x.example"), "eva@our.example"); d.Verdict != mail.Defer {
		t.Errorf("to another: %+v", d)
	}
	k.now = k.now.Add(61 * 24 * time.Hour)
	if d := k.rcpt(k.tx("friend@x.example"), "ana@our.example"); d.Verdict != mail.Defer {
		t.Errorf("long ago: %+v", d)
	}
	k = newKit(t, site(), Options{}, "correspondents 0s")
	out(mail.Relayed, mail.Out, "ana@our.example", "friend@x.example")
	if d := k.rcpt(k.tx("friend@x.example"), "ana@our.example"); d.Verdict != mail.Defer {
		t.Errorf("turned off: %+v", d)
	}
}

// TestObserveLearns: what came back while nobody waited does not wait later.
func TestObserveLearns(t *testing.T) {
	s := site()
	k := newKit(t, s, Options{}, "mode observe")
	for range 2 {
		tx := k.tx("a@x.example")
		if d := k.rcpt(tx, "b@our.example"); d.Verdict != mail.Continue || len(tx.Edits) > 0 {
			t.Errorf("%+v %v", d, tx.Edits)
		}
		k.now = k.now.Add(time.Hour)
	}
	later := newKit(t, s, Options{}, "mode enforce")
	later.now = k.now
	if d := later.rcpt(later.tx("a@x.example"), "b@our.example"); d.Verdict != mail.Continue {
		t.Errorf("%+v", d)
	}
	if d := later.rcpt(later.tx("new@x.example"), "b@our.example"); d.Verdict != mail.Defer {
		t.Errorf("%+v", d)
	}
}

// TestPolicyRole: for an MTA that asks, everybody, 300 s, trusted or not by us.
func TestPolicyRole(t *testing.T) {
	k := newKit(t, site(), Options{})
	ask := func(set func(*mail.Transaction)) mail.Decision {
		tx := k.tx("a@x.example")
		tx.Role, tx.Host = mail.PolicyServer, mail.HostName{Name: "mail.x.example", Confirmed: true}
		set(tx)
		return k.rcpt(tx, "b@our.example")
	}
	if d := ask(func(*mail.Transaction) {}); d.Verdict != mail.Defer || !strings.Contains(d.Reply.Text, "300 seconds") {
		t.Errorf("%+v", d)
	}
	for _, set := range []func(*mail.Transaction){
		func(tx *mail.Transaction) { tx.Login = "ana" },
		func(tx *mail.Transaction) { tx.Identity = mail.Identity{User: "ana", Source: "policy"} },
		func(tx *mail.Transaction) { tx.Client = netip.AddrPort{} },
	} {
		if d := ask(set); d.Verdict != mail.Continue {
			t.Errorf("%+v", d)
		}
	}
	k = newKit(t, site(), Options{}, "policy_who suspicious", "policy_delay 1m")
	if d := ask(func(*mail.Transaction) {}); d.Verdict != mail.Continue {
		t.Errorf("%+v", d)
	}
	if d := ask(func(tx *mail.Transaction) { tx.Host = mail.HostName{} }); d.Verdict != mail.Defer || !strings.Contains(d.Reply.Text, "60 seconds") {
		t.Errorf("%+v", d)
	}
}

func TestLists(t *testing.T) {
	dir := t.TempDir()
	clients, rcpts := filepath.Join(dir, "clients"), filepath.Join(dir, "recipients")
	for file, text := range map[string]string{clients: "good.example\n198.51.100\n192.0\n", rcpts: "postmaster@\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := []string{"who everybody", "client_files " + clients, "recipient_files " + rcpts}
	k := newKit(t, site(), Options{}, lines...)
	tx := k.tx("a@x.example")
	if d := k.rcpt(tx, "b@our.example"); d.Verdict != mail.Continue {
		t.Errorf("by its /16: %+v", d)
	}
	tx.Client = netip.MustParseAddrPort("203.0.113.1:1")
	if d := k.rcpt(tx, "Postmaster@our.example"); d.Verdict != mail.Continue {
		t.Errorf("postmaster: %+v", d)
	}
	tx = k.tx("a@x.example")
	tx.Client, tx.Host = netip.MustParseAddrPort("203.0.113.1:1"), mail.HostName{Name: "a.good.example", Confirmed: true}
	if d := k.rcpt(tx, "b@our.example"); d.Verdict != mail.Continue {
		t.Errorf("by name: %+v", d)
	}
	tx = k.tx("a@x.example")
	tx.Client, tx.Host.Name = netip.MustParseAddrPort("203.0.113.1:1"), "a.good.example" // not confirmed
	if d := k.rcpt(tx, "b@our.example"); d.Verdict != mail.Defer {
		t.Errorf("by a claim: %+v", d)
	}
	if _, errs, warnings := filtertest.With(t, Default(), lines).Read(); len(errs) != 0 || len(warnings) != 1 || !strings.HasPrefix(warnings[0].Error(), "client_files: ") {
		t.Errorf("%v %v", errs, warnings)
	}
}

// TestNumbers: the keys that the table takes over.
func TestNumbers(t *testing.T) {
	come := func(k *kit, client, from string) mail.Verdict {
		tx := k.tx(from)
		tx.Client = netip.AddrPortFrom(netip.MustParseAddr(client), 1)
		return k.rcpt(tx, "b@our.example").Verdict
	}
	for name, c := range map[string]struct {
		config   string
		pause    time.Duration
		a, b     string
		then     mail.Verdict // with the default
		changed  mail.Verdict // with config
		before   time.Duration
		sameFrom bool
	}{
		"retry_window": {config: "retry_window 1h", pause: 2 * time.Hour, a: "192.0.2.1", b: "192.0.2.1", then: mail.Continue, changed: mail.Defer},
		"ipv4_prefix":  {config: "ipv4_prefix 32", pause: time.Hour, a: "192.0.2.1", b: "192.0.2.2", then: mail.Continue, changed: mail.Defer},
		"ipv6_prefix":  {config: "ipv6_prefix 128", pause: time.Hour, a: "2001:db8::1", b: "2001:db8::2", then: mail.Continue, changed: mail.Defer},
		"max_age":      {config: "max_age 48h", before: time.Hour, pause: 72 * time.Hour, a: "192.0.2.1", b: "192.0.2.1", then: mail.Continue, changed: mail.Defer},
	} {
		for _, config := range []string{"", c.config} {
			k := newKit(t, site(), Options{}, append([]string{"auto_pass 0"}, strings.Split(config, "\n")[:min(1, len(config))]...)...)
			come(k, c.a, "a@x.example")
			if c.before > 0 {
				k.now = k.now.Add(c.before)
				come(k, c.a, "a@x.example")
			}
			k.now = k.now.Add(c.pause)
			want := c.then
			if config != "" {
				want = c.changed
			}
			if got := come(k, c.b, "a@x.example"); got != want {
				t.Errorf("%s with %q: %s, want %s", name, config, got, want)
			}
		}
	}
	k := newKit(t, site(), Options{}, "auto_pass 1")
	come(k, "192.0.2.1", "a@x.example")
	k.now = k.now.Add(time.Hour)
	come(k, "192.0.2.1", "a@x.example")
	if come(k, "192.0.2.1", "new@x.example") != mail.Continue || come(k, "192.0.2.2", "new@x.example") != mail.Defer {
		t.Error("auto_pass")
	}
	k = newKit(t, site(), Options{}, "newcomers 100")
	for n := range 101 {
		v := come(k, "192.0.2.1", "u"+strings.Repeat("x", n%50)+string(rune('a'+n/50))+"@x.example")
		if (v == mail.Defer) != (n < 100) {
			t.Errorf("newcomer %d: %s", n, v)
		}
	}
}

// dead is a store that gives errors.
type dead struct{ store.Store }

func (dead) Get(context.Context, string) ([]byte, bool, error) { return nil, false, errors.New("no") }

// TestStoreFault: mail passes, and the operator is told.
func TestStoreFault(t *testing.T) {
	s := site()
	s.Store = dead{s.Store}
	k := newKit(t, s, Options{})
	if d := k.rcpt(k.tx("a@x.example"), "b@our.example"); d.Verdict != mail.Continue || len(k.faults) != 1 {
		t.Errorf("%+v %v", d, k.faults)
	}
	s.Store = nil
	k = newKit(t, s, Options{})
	if d := k.rcpt(k.tx("a@x.example"), "b@our.example"); d.Verdict != mail.Continue {
		t.Errorf("without a store: %+v", d)
	}
}
