package dnsbl

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/resolver"
	"garita/store"
)

const ours = "203.0.113.5"

// ownKit is a watch over our own with a clock.
type ownKit struct {
	w      *world
	o      *Own
	now    time.Time
	events []OwnEvent
	logged []string
}

func newOwnKit(t *testing.T, c OwnConfig, change func(*OwnOptions)) *ownKit {
	t.Helper()
	k := &ownKit{w: newWorld(), now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	o := OwnOptions{Config: c, Hostname: "mx.our.example", Resolver: k.w, Store: store.NewMemory(), Now: func() time.Time { return k.now },
		Alert: func(e OwnEvent) { k.events = append(k.events, e) }, Log: func(text string, _ error) { k.logged = append(k.logged, text) }}
	if change != nil {
		change(&o)
	}
	var err error
	if k.o, err = NewOwn(o); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Lists {
		l, _ := FindShipped(name)
		k.w.set(l.Zone, k.zone(l))
	}
	return k
}

// zone is a shipped list that is well, with entries.
func (k *ownKit) zone(l List, entries ...string) func(string) ([]netip.Addr, error) {
	h := honest(append(entries, l.Test.ListedName)...)
	return func(name string) ([]netip.Addr, error) {
		a, err := h(name)
		if err == nil && l.Name == "spamhaus-dbl" {
			a = []netip.Addr{addr("127.0.1.2")}
		}
		return a, err
	}
}

func find(t *testing.T, all []Standing, subject, list string) Standing {
	t.Helper()
	i := slices.IndexFunc(all, func(s Standing) bool { return s.Subject == subject && s.List == list })
	if i < 0 {
		t.Fatalf("%s on %s is not there: %+v", subject, list, all)
	}
	return all[i]
}

func TestOwn(t *testing.T) {
	c := DefaultOwn()
	c.Addresses, c.Domains = []string{ours}, []string{"our.example"}
	bad := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	k := newOwnKit(t, c, func(o *OwnOptions) { o.LastBad = func() (time.Time, bool) { return bad, true } })
	ctx := t.Context()
	all := k.o.Round(ctx)
	for _, want := range []struct {
		subject, list string
		result        Result
	}{
		{ours, "spamhaus-zen", OwnClean}, {ours, "spamcop", OwnClean}, {ours, "uceprotect-3", OwnClean}, {"our.example", "spamhaus-dbl", OwnClean},
		{ours, "cbl.abuseat.org", OwnDead}, {ours, "dnsbl.sorbs.net", OwnDead}, {ours, "ubl.lashback.com", OwnDead}, {ours, "barracuda", OwnNotAsked},
	} {
		if s := find(t, all, want.subject, want.list); s.Result != want.result || want.result != OwnClean && s.Detail == "" {
			t.Errorf("%+v", s)
		}
	}
	if len(k.events)+len(k.logged) != 0 {
		t.Errorf("news that all is well: %+v", k.events)
	}
	if k.w.count("sorbs")+k.w.count("abuseat")+k.w.count("barracuda") > 0 {
		t.Error("a dead list was asked")
	}

	// Listed: told once, with where to go.
	spamcop, _ := FindShipped("spamcop")
	k.w.set(spamcop.Zone, k.zone(spamcop, listedName(ours)))
	k.w.texts = map[string][]string{spamcop.AddressNameOf(addr(ours)): {"see\r\nus"}}
	k.now = k.now.Add(time.Hour)
	s := find(t, k.o.Round(ctx), ours, "spamcop")
	if s.Result != OwnListed || s.Lookup == "" || s.Cost == "" || s.From == "" || s.Text != "see us" || !s.Since.Equal(k.now) || len(s.History) != 2 {
		t.Errorf("%+v", s)
	}
	k.now = k.now.Add(time.Hour)
	k.o.Round(ctx)
	if len(k.events) != 1 || k.events[0].Was != OwnClean || k.events[0].Result != OwnListed || k.events[0].SinceBad != 4*time.Hour || len(k.logged) != 1 {
		t.Fatalf("%+v %q", k.events, k.logged)
	}

	// An error changes nothing, and is no news.
	k.w.set(spamcop.Zone, silence)
	k.now = k.now.Add(time.Hour)
	if s := find(t, k.o.Round(ctx), ours, "spamcop"); s.Result != OwnError || len(k.events) != 1 {
		t.Errorf("%+v %+v", s, k.events)
	}
	k.w.set(spamcop.Zone, always("127.255.255.254"))
	if s := find(t, k.o.Round(ctx), ours, "spamcop"); s.Result != OwnError || !strings.Contains(s.Detail, "resolver") {
		t.Errorf("%+v", s)
	}

	// A list that lists everybody does not list us: it is dead.
	for _, sick := range []func(string) ([]netip.Addr, error){always("127.0.0.2"), always("192.0.2.1"), nothing} {
		k.w.set(spamcop.Zone, sick)
		if s := find(t, k.o.Round(ctx), ours, "spamcop"); s.Result != OwnDead || s.Detail == "" {
			t.Errorf("%+v", s)
		}
	}
	if len(k.events) != 2 || k.events[1].Result != OwnDead {
		t.Errorf("%+v", k.events)
	}
	k.w.set(spamcop.Zone, k.zone(spamcop))
	if s := find(t, k.o.Round(ctx), ours, "spamcop"); s.Result != OwnClean || len(k.events) != 3 {
		t.Errorf("%+v %+v", s, k.events)
	}

	last, err := k.o.Last(ctx)
	if err != nil || find(t, last, ours, "spamcop").Result != OwnClean || len(find(t, last, ours, "spamcop").History) != 4 || find(t, last, ours, "barracuda").Result != OwnNotAsked {
		t.Errorf("%+v, %v", last, err)
	}
}

// TestOwnAsk: addresses that are given, and the guess behind NAT.
func TestOwnAsk(t *testing.T) {
	k := newOwnKit(t, DefaultOwn(), nil)
	ctx := t.Context()
	all, err := k.o.Check(ctx, []string{"198.51.100.7"})
	if err != nil || find(t, all, "198.51.100.7", "spamhaus-zen").Result != OwnClean {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := k.o.Check(ctx, nil); err == nil {
		t.Error("nothing is known and no fault is told")
	}
	k.w.set("our.example", func(string) ([]netip.Addr, error) {
		return []netip.Addr{addr("192.168.1.2"), addr("100.64.0.1"), addr(ours)}, nil
	})
	all, err = k.o.Check(ctx, nil)
	if err != nil || !find(t, all, ours, "spamhaus-zen").Guessed || slices.ContainsFunc(all, func(s Standing) bool { return s.Subject != ours }) {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := k.o.Check(ctx, make([]string, maxOwn+1)); err == nil {
		t.Error("too many are taken")
	}
	if k.o.SinceBad() >= 0 {
		t.Error("bad mail that nobody knows of")
	}
	k.o.Start() // nothing is configured: nothing begins
	k.o.Close()
}

func TestOwnValidate(t *testing.T) {
	for key, change := range map[string]func(c *OwnConfig){
		"addresses[0]": func(c *OwnConfig) { c.Addresses = []string{"x"} }, "addresses[0] ": func(c *OwnConfig) { c.Addresses = []string{"10.0.0.1"} },
		"domains[0]": func(c *OwnConfig) { c.Domains = []string{"a b"} }, "lists[0]": func(c *OwnConfig) { c.Lists = []string{"nix"} },
		"every": func(c *OwnConfig) { c.Every = time.Second }, "addresses:": func(c *OwnConfig) {
			c.Addresses = slices.Repeat([]string{ours}, maxOwn+1)
		},
	} {
		c := DefaultOwn()
		change(&c)
		errs := c.Validate()
		if len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), strings.TrimSpace(key)) {
			t.Errorf("%s: %v", key, errs)
		}
	}
	if _, err := NewOwn(OwnOptions{Config: DefaultOwn()}); err == nil {
		t.Error("without a DNS")
	}
	if _, err := NewOwn(OwnOptions{Resolver: newWorld()}); err == nil {
		t.Error("an empty configuration is taken")
	}
}

var _ resolver.Resolver = (*world)(nil)

// TestOwnRounds: the next round is rbl.every after the last one, also over a
// restart; an old one is made up for soon after the start.
func TestOwnRounds(t *testing.T) {
	c := DefaultOwn()
	c.Addresses = []string{ours}
	k := newOwnKit(t, c, nil)
	soon := func(d time.Duration) bool { return d >= firstRound*9/10 && d <= firstRound*11/10 }
	if d := k.o.firstWait(); !soon(d) {
		t.Errorf("at first %s", d)
	}
	k.o.Round(t.Context())
	if d := k.o.firstWait(); d != time.Hour {
		t.Errorf("after a round %s", d)
	}
	k.o.o.Config.Every = 3 * time.Hour
	k.now = k.now.Add(time.Hour)
	if d := k.o.firstWait(); d != 2*time.Hour {
		t.Errorf("an hour later %s", d)
	}
	k.now = k.now.Add(5 * time.Hour)
	if d := k.o.firstWait(); !soon(d) {
		t.Errorf("late %s", d)
	}
	k.now = k.now.Add(-100 * time.Hour)
	if d := k.o.firstWait(); !soon(d) {
		t.Errorf("after the clock went back %s", d)
	}
	k.o.Start()
	k.o.Close()
}
