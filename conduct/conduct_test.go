package conduct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/smtpproxy"
	"garita/store"
)

type clock struct{ n atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Unix(1_800_000_000, 0).UTC().Add(time.Duration(c.n.Load()))
}
func (c *clock) pass(d time.Duration) { c.n.Add(int64(d)) }

type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(text string, attrs []slog.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprint(text, attrs))
}
func (n *notes) Warn(_, text string, attrs ...slog.Attr) { n.add("warn "+text, attrs) }
func (n *notes) Info(_, text string, attrs ...slog.Attr) { n.add("info "+text, attrs) }
func (n *notes) count(part string) (found int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		if strings.Contains(l, part) {
			found++
		}
	}
	return found
}

type kit struct {
	*Conduct
	t     *testing.T
	clock *clock
	log   *notes
	store store.Store
}

func newKit(t *testing.T, change func(*Config)) *kit {
	c := &clock{}
	return kitOn(t, c, store.NewMemoryWith(store.Config{Now: c.now}), change)
}

func kitOn(t *testing.T, c *clock, st store.Store, change func(*Config)) *kit {
	t.Helper()
	k := Default()
	if change != nil {
		change(&k)
	}
	log := &notes{}
	cd, err := New(Options{Config: k, Store: st, Log: log, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return &kit{cd, t, c, log, st}
}

func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }
func net(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// notes makes n acts and says how many were refused.
func (k *kit) notes(a string, act smtpproxy.Act, n int) (refused int) {
	for range n {
		if k.Note(addr(a), act).Refuse {
			refused++
		}
	}
	return refused
}

func TestRates(t *testing.T) {
	for act := smtpproxy.ActConnection; act <= smtpproxy.ActJunk; act++ {
		t.Run(label(act), func(t *testing.T) {
			k := newKit(t, func(c *Config) {
				c.Connections, c.Handshakes, c.Messages, c.Recipients = 5, 5, 5, 5
				c.AuthFailures, c.UnknownRecipients, c.Junk = 5, 5, 5
				c.BanAfter = 0
			})
			if n := k.notes("192.0.2.1", act, 8); n != 3 {
				t.Errorf("%d of 8 refused, want 3", n)
			}
			r := k.Note(addr("192.0.2.1"), act)
			if !r.Refuse || r.Why != "rate of "+words(act)+": over 5 a minute" {
				t.Errorf("%+v", r)
			}
			// Another client, another act: not touched.
			if n := k.notes("192.0.2.2", act, 5); n != 0 {
				t.Errorf("another client: %d refused", n)
			}
			for other := smtpproxy.ActConnection; other <= smtpproxy.ActJunk; other++ {
				if other != act && k.Note(addr("192.0.2.1"), other).Refuse {
					t.Errorf("%s refused", label(other))
				}
			}
			k.clock.pass(minute + minute/8)
			if n := k.notes("192.0.2.1", act, 5); n != 0 {
				t.Errorf("a minute later %d refused", n)
			}
			s := k.Stats()
			if s.Refused[label(act)] != 4 || len(s.Refused) != 7 {
				t.Errorf("%+v", s)
			}
			// One line for the client and the act, not four.
			if n := k.log.count("rate of " + words(act) + " refused"); n != 1 {
				t.Errorf("%d lines", n)
			}
			if k.notes("192.0.2.1", smtpproxy.Act(200), 3)+k.notes("192.0.2.1", 0, 3) != 0 {
				t.Error("an act that is none was refused")
			}
		})
	}
}

func TestRateOff(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Connections = 0 })
	if n := k.notes("192.0.2.1", smtpproxy.ActConnection, 10_000); n != 0 {
		t.Errorf("0 is off, and %d were refused", n)
	}
}

func TestClients(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Messages = 2 })
	// A /64 is one client, and IPv4 in IPv6 form is IPv4.
	k.notes("2001:db8::1", smtpproxy.ActMessage, 1)
	k.notes("2001:db8::2", smtpproxy.ActMessage, 1)
	if n := k.notes("2001:db8::ffff:ffff:ffff:ffff", smtpproxy.ActMessage, 1); n != 1 {
		t.Error("another address of the /64 got another limit")
	}
	if n := k.notes("2001:db8:0:1::1", smtpproxy.ActMessage, 1); n != 0 {
		t.Error("the next /64 has the same limit")
	}
	k.notes("192.0.2.1", smtpproxy.ActMessage, 2)
	if n := k.notes("::ffff:192.0.2.1", smtpproxy.ActMessage, 1); n != 1 {
		t.Error("the IPv6 form of an IPv4 address is another client")
	}
	if n := k.notes("fe80::1%eth0", smtpproxy.ActMessage, 2) + k.notes("fe80::1%eth1", smtpproxy.ActMessage, 1); n != 1 {
		t.Error("a zone makes another client")
	}
	if n := k.Note(netip.Addr{}, smtpproxy.ActMessage); n.Refuse {
		t.Error("no address was refused")
	}
}

func TestExempt(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Junk, c.BanAfter = 1, 2
		c.Exempt = []netip.Prefix{net("192.0.2.0/25"), net("2001:db8::/32")}
	})
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "192.0.2.127", "::ffff:192.0.2.1", "2001:db8:9::1"} {
		if n := k.notes(a, smtpproxy.ActJunk, 50); n != 0 {
			t.Errorf("%s: %d refused", a, n)
		}
	}
	if n := k.notes("192.0.2.128", smtpproxy.ActJunk, 50); n == 0 {
		t.Error("one beside the network is not refused")
	}
	if len(k.List()) != 1 {
		t.Errorf("%v", k.List())
	}
}

func TestModes(t *testing.T) {
	strict := func(c *Config) { c.Connections, c.Junk, c.BanAfter = 3, 3, 10 }
	k := newKit(t, func(c *Config) { strict(c); c.Mode = "observe" })
	if n := k.notes("192.0.2.1", smtpproxy.ActConnection, 10) + k.notes("192.0.2.1", smtpproxy.ActJunk, 20); n != 0 {
		t.Errorf("observe refused %d", n)
	}
	if s := k.Stats(); s.WouldRefuse["connections"] != 7 || s.WouldRefuse["junk"] != 17 || s.Refused["junk"] != 0 || s.BansMade != 0 {
		t.Errorf("%+v", s)
	}
	if k.log.count("observe: rate of connections would be refused") != 1 || k.log.count("observe: client would be banned") != 1 {
		t.Errorf("%q", k.log.lines)
	}
	if _, err := k.Ban(t.Context(), net("192.0.2.9/32"), time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	if n := k.notes("192.0.2.9", smtpproxy.ActConnection, 1); n != 0 || k.Stats().WouldBanned != 1 {
		t.Errorf("observe refused a banned client, or did not count it: %+v", k.Stats())
	}
	k = newKit(t, func(c *Config) { strict(c); c.Mode = "off" })
	if n := k.notes("192.0.2.1", smtpproxy.ActJunk, 50); n != 0 {
		t.Errorf("off refused %d", n)
	}
	if st, _ := k.Check(addr("192.0.2.1")); st.Points != 0 {
		t.Errorf("off has counted: %+v", st)
	}
	// A reload turns it on, and what was banned is banned.
	if err := k.Update(func() Config { c := Default(); strict(&c); return c }()); err != nil {
		t.Fatal(err)
	}
	if n := k.notes("192.0.2.1", smtpproxy.ActConnection, 4); n != 1 {
		t.Errorf("after the reload %d refused", n)
	}
	if err := k.Update(Config{}); err == nil || k.Mode() != "enforce" {
		t.Errorf("a wrong configuration: %v, mode %s", err, k.Mode())
	}
}

// Bounces to nobody are refused over the rate of unknown recipients, and ban
// nobody: who forges senders of ours must not get honest servers banned.
func TestBouncesBanNobody(t *testing.T) {
	k := newKit(t, func(c *Config) { c.BanAfter, c.UnknownRecipients = 10, 5 })
	if n := k.notes("192.0.2.1", smtpproxy.ActUnknownBounce, 200); n != 195 || len(k.List()) != 0 {
		t.Errorf("%d refused, %v", n, k.List())
	}
	if n := k.notes("192.0.2.1", smtpproxy.ActUnknownRecipient, 1); n != 1 || k.Stats().Refused["unknown_recipients"] != 196 {
		t.Errorf("it is another rate: %d, %v", n, k.Stats().Refused)
	}
}

func TestPoints(t *testing.T) {
	for _, tc := range []struct {
		act  smtpproxy.Act
		n    int // acts that ban, with ban_after 10 and limits of 5
		over string
	}{
		{smtpproxy.ActJunk, 5, "abuse of the protocol"},
		{smtpproxy.ActAuthFailure, 10, "wrong passwords"},
		{smtpproxy.ActUnknownRecipient, 15, "unknown recipients"}, // only over the limit
		{smtpproxy.ActConnection, 0, ""},
		{smtpproxy.ActMessage, 0, ""},
	} {
		k := newKit(t, func(c *Config) {
			c.BanAfter, c.Connections, c.Messages, c.UnknownRecipients, c.Junk, c.AuthFailures = 10, 5, 5, 5, 5, 5
		})
		n := tc.n
		if n == 0 {
			n = 101
		}
		k.notes("192.0.2.1", tc.act, n-1)
		if len(k.List()) != 0 {
			t.Fatalf("%s: banned too early", label(tc.act))
		}
		k.notes("192.0.2.1", tc.act, 1)
		list := k.List()
		if tc.n == 0 {
			if len(list) != 0 {
				t.Errorf("%s: banned", label(tc.act))
			}
			continue
		}
		if len(list) != 1 || list[0].Prefix != net("192.0.2.1/32") || list[0].Reason != tc.over || list[0].By != "conduct" || !list[0].Until.Equal(k.clock.now().Add(10*time.Minute)) {
			t.Fatalf("%s: %+v", label(tc.act), list)
		}
		r := k.Note(addr("192.0.2.1"), smtpproxy.ActConnection)
		if !r.Refuse || r.Why != "banned until 2027-01-15 08:10 UTC ("+tc.over+")" {
			t.Errorf("%+v", r)
		}
		if k.log.count("client banned") != 1 {
			t.Errorf("%q", k.log.lines)
		}
	}
	// Points are forgotten after the window.
	k := newKit(t, func(c *Config) { c.BanAfter = 10 })
	for range 20 {
		k.notes("192.0.2.1", smtpproxy.ActJunk, 4)
		k.clock.pass(12 * time.Minute)
	}
	if len(k.List()) != 0 {
		t.Error("points of hours ban")
	}
}

// A ban ends by itself, the next one is twice as long, up to ban_max; old
// points do not ban again at once.
func TestBansGrow(t *testing.T) {
	k := newKit(t, func(c *Config) { c.BanAfter, c.BanWindow, c.BanMax = 4, 24*time.Hour, time.Hour })
	for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		k.notes("192.0.2.1", smtpproxy.ActJunk, 1)
		if len(k.List()) != 0 {
			t.Fatalf("%d: the first point of another life bans", i)
		}
		k.notes("192.0.2.1", smtpproxy.ActJunk, 5)
		list := k.List()
		if len(list) != 1 || list[0].Until.Sub(k.clock.now()) != want || list[0].Times != i+1 {
			t.Fatalf("%d: %+v, want %v", i, list, want)
		}
		k.clock.pass(want - time.Second)
		if !k.Note(addr("192.0.2.1"), smtpproxy.ActConnection).Refuse {
			t.Fatal("the ban ended early")
		}
		k.clock.pass(time.Second)
		if k.Note(addr("192.0.2.1"), smtpproxy.ActConnection).Refuse {
			t.Fatal("the ban did not end")
		}
	}
	k.clock.pass(31 * 24 * time.Hour)
	k.notes("192.0.2.1", smtpproxy.ActJunk, 2)
	if list := k.List(); len(list) != 1 || list[0].Times != 1 {
		t.Errorf("a month later: %+v", list)
	}
}

func TestOperator(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Exempt = []netip.Prefix{net("203.0.113.0/24")} })
	ctx := t.Context()
	for _, tc := range []struct{ p, as, in, out string }{
		{"192.0.2.7/32", "192.0.2.7/32", "192.0.2.7", "192.0.2.8"},
		{"198.51.100.9/24", "198.51.100.0/24", "198.51.100.255", "198.51.101.0"},
		{"2001:db8::7/128", "2001:db8::/64", "2001:db8::ffff", "2001:db8:0:1::"},
		{"2001:db8:7::/48", "2001:db8:7::/48", "2001:db8:7:ffff::1", "2001:db8:8::1"},
		{"::ffff:192.0.3.0/120", "192.0.3.0/24", "192.0.3.1", "192.0.4.1"},
	} {
		b, err := k.Ban(ctx, net(tc.p), time.Hour, "spam\x1b[31m")
		if err != nil || b.Prefix != net(tc.as) || b.By != "operator" {
			t.Fatalf("%s: %+v %v", tc.p, b, err)
		}
		if k.notes(tc.in, smtpproxy.ActMessage, 1) != 1 || k.notes(tc.out, smtpproxy.ActMessage, 1) != 0 {
			t.Errorf("%s: wrong clients refused", tc.p)
		}
		if _, err := k.Unban(ctx, net(tc.p)); err != nil {
			t.Errorf("%s: %v", tc.p, err)
		}
		if k.notes(tc.in, smtpproxy.ActMessage, 1) != 0 {
			t.Errorf("%s: still banned", tc.p)
		}
	}
	for _, tc := range []struct {
		p    netip.Prefix
		d    time.Duration
		why  string
		says string
	}{
		{net("0.0.0.0/0"), 0, "", "mistake"}, {net("::/0"), 0, "", "mistake"}, {net("10.0.0.0/7"), 0, "", "mistake"},
		{net("127.0.0.1/32"), 0, "", "this machine"}, {net("::1/128"), 0, "", "this machine"}, {net("::ffff:127.0.0.0/104"), 0, "", "this machine"},
		{net("203.0.113.5/32"), 0, "", "exempt"}, {netip.Prefix{}, 0, "", "not an address"},
		{net("192.0.2.1/32"), -1, "", "length"}, {net("192.0.2.1/32"), 0, strings.Repeat("x", 201), "200 octets"},
	} {
		if _, err := k.Ban(ctx, tc.p, tc.d, tc.why); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.p, err)
		}
	}
	// A ban that holds more than the exempt ones does not touch those.
	k.Ban(ctx, net("203.0.0.0/16"), 0, "")
	if k.notes("203.0.113.5", smtpproxy.ActMessage, 1) != 0 || k.notes("203.0.1.1", smtpproxy.ActMessage, 1) != 1 {
		t.Error("exempt and ban")
	}
	if _, err := k.Unban(ctx, net("203.0.1.1/32")); !errors.Is(err, ErrNotBanned) || !strings.Contains(err.Error(), "203.0.0.0/16") {
		t.Errorf("a part: %v", err)
	}
	if _, err := k.Unban(ctx, net("192.0.2.77/32")); !errors.Is(err, ErrNotBanned) {
		t.Errorf("none: %v", err)
	}
	// For ever.
	k.clock.pass(5 * 365 * 24 * time.Hour)
	if list := k.List(); len(list) != 1 || !list[0].Until.IsZero() || k.notes("203.0.1.1", smtpproxy.ActMessage, 1) != 1 {
		t.Errorf("for ever: %+v", list)
	}
}

// Unban begins anew: neither old points nor old bans count.
func TestUnbanForgives(t *testing.T) {
	k := newKit(t, func(c *Config) { c.BanAfter, c.BanWindow = 4, time.Hour })
	k.notes("192.0.2.1", smtpproxy.ActJunk, 2)
	if _, err := k.Unban(t.Context(), net("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	k.notes("192.0.2.1", smtpproxy.ActJunk, 1)
	if len(k.List()) != 0 {
		t.Fatal("old points ban again")
	}
	k.notes("192.0.2.1", smtpproxy.ActJunk, 1)
	if list := k.List(); len(list) != 1 || list[0].Times != 1 {
		t.Errorf("%+v", list)
	}
}

func TestCheck(t *testing.T) {
	k := newKit(t, nil)
	k.notes("192.0.2.1", smtpproxy.ActMessage, 7)
	k.notes("192.0.2.1", smtpproxy.ActAuthFailure, 2)
	for range 2 { // asking changes nothing
		s, err := k.Check(addr("::ffff:192.0.2.1"))
		if err != nil || s.Client != net("192.0.2.1/32") || s.Exempt || s.Ban != nil || s.Points != 2 || s.BanAfter != 30 || len(s.Rates) != 7 {
			t.Fatalf("%+v %v", s, err)
		}
		for _, r := range s.Rates {
			want := map[string]Rate{"messages": {"messages", 7, 300}, "auth_failures": {"auth_failures", 2, 10}}[r.Act]
			if want.Act == "" {
				want = Rate{r.Act, 0, r.Max}
			}
			if r != want {
				t.Errorf("%+v, want %+v", r, want)
			}
		}
	}
	if s, _ := k.Check(addr("::1")); !s.Exempt {
		t.Error("loopback is not exempt")
	}
	if _, err := k.Check(netip.Addr{}); err == nil {
		t.Error("no address was checked")
	}
}

// Bans outlive the process; an operator's is on the disk when the call returns.
func TestBansComeBack(t *testing.T) {
	c := &clock{}
	path := filepath.Join(t.TempDir(), "hot.db")
	openStore := func() *store.Memory {
		m, err := store.Open(store.Config{Path: path, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := openStore()
	k := kitOn(t, c, m, nil)
	k.notes("192.0.2.1", smtpproxy.ActJunk, 20)
	if _, err := k.Ban(t.Context(), net("198.51.100.0/24"), 0, "by hand"); err != nil {
		t.Fatal(err)
	}
	before := k.List()
	m.Close()
	c.pass(time.Minute)
	m = openStore()
	defer m.Close()
	k = kitOn(t, c, m, nil)
	after := k.List()
	if len(after) != 2 || len(before) != 2 {
		t.Fatalf("%+v, before %+v", after, before)
	}
	for i := range after {
		if after[i] != before[i] {
			t.Errorf("%+v, before %+v", after[i], before[i])
		}
	}
	if k.notes("192.0.2.1", smtpproxy.ActMessage, 1)+k.notes("198.51.100.3", smtpproxy.ActMessage, 1) != 2 {
		t.Error("not refused")
	}
}

// badStore fails at what it is told to.
type badStore struct {
	store.Store
	reserve, now, all atomic.Bool
}

var errBad = errors.New("the disk is on fire")

func (b *badStore) Reserve(ctx context.Context, w []store.Window) (store.Reservation, []store.Usage, error) {
	if b.reserve.Load() || b.all.Load() {
		return nil, nil, errBad
	}
	return b.Store.Reserve(ctx, w)
}

func (b *badStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if b.all.Load() {
		return nil, false, errBad
	}
	return b.Store.Get(ctx, key)
}

func (b *badStore) PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if b.now.Load() {
		return errBad
	}
	return b.Store.PutNow(ctx, key, value, ttl)
}

func (b *badStore) List(ctx context.Context, prefix, after string, limit int) ([]store.Item, error) {
	if b.all.Load() {
		return nil, errBad
	}
	return b.Store.List(ctx, prefix, after, limit)
}

// a store that fails lets mail go on, or defers it, as is said; bans hold.
func TestStoreFaults(t *testing.T) {
	for mode, want := range map[string]int{"continue": 0, "defer": 100} {
		c := &clock{}
		bad := &badStore{Store: store.NewMemoryWith(store.Config{Now: c.now})}
		k := kitOn(t, c, bad, func(c *Config) { c.OnError = mode; c.Messages = 1 })
		if _, err := k.Ban(t.Context(), net("192.0.2.9/32"), time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		bad.all.Store(true)
		if n := k.notes("192.0.2.1", smtpproxy.ActMessage, 100); n != want {
			t.Errorf("%s: %d refused", mode, n)
		}
		if n := k.notes("192.0.2.9", smtpproxy.ActMessage, 10); n != 10 {
			t.Errorf("%s: the ban does not hold: %d", mode, n)
		}
		if s := k.Stats(); s.StoreErrors < 100 || k.log.count("cannot be asked") != 1 {
			t.Errorf("%s: %+v %q", mode, s, k.log.lines)
		}
		c.pass(2 * time.Hour)
		k.notes("192.0.2.1", smtpproxy.ActMessage, 5)
		if k.log.count("cannot be asked") != 2 {
			t.Errorf("%s: it is not said again: %q", mode, k.log.lines)
		}
		if n := k.notes("192.0.2.9", smtpproxy.ActMessage, 1); mode == "continue" && n != 0 {
			t.Error("a ban outlives its time while the store fails")
		}
		if _, err := New(Options{Config: Default(), Store: bad}); !errors.Is(err, errBad) {
			t.Errorf("New: %v", err)
		}
	}
	// The disk alone: the operator hears of it, and the ban holds.
	c := &clock{}
	bad := &badStore{Store: store.NewMemoryWith(store.Config{Now: c.now})}
	bad.now.Store(true)
	k := kitOn(t, c, bad, nil)
	if _, err := k.Ban(t.Context(), net("192.0.2.9/32"), time.Hour, ""); !errors.Is(err, errBad) || !errors.Is(err, ErrNotDurable) {
		t.Errorf("%v", err)
	}
	if k.notes("192.0.2.9", smtpproxy.ActMessage, 1) != 1 {
		t.Error("the ban does not hold")
	}
}

// slowStore blocks in PutNow until it is let go.
type slowStore struct {
	store.Store
	in, out chan struct{}
}

func (s *slowStore) PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	close(s.in)
	<-s.out
	return s.Store.PutNow(ctx, key, value, ttl)
}

// Sessions do not wait for the disk, also when an operator does.
func TestNoteDoesNotWait(t *testing.T) {
	c := &clock{}
	slow := &slowStore{store.NewMemoryWith(store.Config{Now: c.now}), make(chan struct{}), make(chan struct{})}
	k := kitOn(t, c, slow, nil)
	done := make(chan error)
	go func() {
		_, err := k.Ban(context.Background(), net("192.0.2.9/32"), time.Hour, "")
		done <- err
	}()
	<-slow.in
	if k.notes("192.0.2.9", smtpproxy.ActMessage, 1) != 1 {
		t.Error("the ban does not hold yet")
	}
	if k.notes("192.0.2.1", smtpproxy.ActJunk, 20); len(k.List()) != 2 {
		t.Error("no ban of our own meanwhile")
	}
	close(slow.out)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTooManyBans(t *testing.T) {
	k := newKit(t, func(c *Config) { c.BanAfter = 2 })
	k.Ban(t.Context(), net("203.0.113.0/24"), time.Second, "")
	for i := range maxAuto + 100 {
		k.Note(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), smtpproxy.ActJunk)
		if i%1000 == 0 {
			k.clock.pass(10 * time.Millisecond)
		}
	}
	s := k.Stats()
	if s.BansActive != maxAuto+1 || s.Displaced != 100 {
		t.Errorf("%+v", s)
	}
	if k.notes("203.0.113.1", smtpproxy.ActMessage, 1) != 1 {
		t.Error("the operator's ban had to make room")
	}
	if items, _ := k.store.List(t.Context(), banPrefix, "", 2*maxAuto); len(items) != maxAuto+1 {
		t.Errorf("the store has %d bans", len(items))
	}
	// The log is bounded.
	if len(k.log.lines) > maxLines+5 || s.Unlogged == 0 {
		t.Errorf("%d lines, %d unlogged", len(k.log.lines), s.Unlogged)
	}
	k.clock.pass(11 * time.Minute)
	if n := k.Stats().BansActive; n != 0 {
		t.Errorf("%d are active after their time", n)
	}
	k.notes("192.0.2.1", smtpproxy.ActJunk, 1)
	if k.log.count("lines that were not written") != 1 {
		t.Error("what was left out is not told")
	}
}

func TestConcurrent(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Messages = 100 })
	var wg sync.WaitGroup
	var passed atomic.Int64
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				if !k.Note(addr("192.0.2.1"), smtpproxy.ActMessage).Refuse {
					passed.Add(1)
				}
				k.Note(addr("192.0.2.2"), smtpproxy.ActJunk)
				switch i % 50 {
				case g:
					k.Ban(context.Background(), net("198.51.100.0/24"), time.Minute, "")
				case g + 10:
					k.Unban(context.Background(), net("198.51.100.0/24"))
				case g + 20:
					k.List()
					k.Stats()
					k.Check(addr("198.51.100.1"))
					k.Update(*k.config.Load())
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d messages passed a limit of 100", passed.Load())
	}
	if k.Stats().BansMade != 1 {
		t.Errorf("%d bans of one client", k.Stats().BansMade)
	}
}

func TestValidate(t *testing.T) {
	if bad := Default().Validate(); len(bad) != 0 {
		t.Errorf("the defaults: %v", bad)
	}
	for want, change := range map[string]func(*Config){
		`mode = "on": must be`:           func(c *Config) { c.Mode = "on" },
		`on_error = "reject"`:            func(c *Config) { c.OnError = "reject" },
		`connections = -1`:               func(c *Config) { c.Connections = -1 },
		`ban_after = -1`:                 func(c *Config) { c.BanAfter = -1 },
		`ban_window = 0s`:                func(c *Config) { c.BanWindow = 0 },
		`ban_max = 9000h0m0s`:            func(c *Config) { c.BanMax = 9000 * time.Hour },
		`ban_for = 48h0m0s: is longer`:   func(c *Config) { c.BanFor = 48 * time.Hour },
		`exempt[0] = 0.0.0.0/0`:          func(c *Config) { c.Exempt = []netip.Prefix{net("0.0.0.0/0")} },
		`exempt[0] = ::ffff:1.2.3.0/120`: func(c *Config) { c.Exempt = []netip.Prefix{net("::ffff:1.2.3.0/120")} },
		`exempt[0]: is not`:              func(c *Config) { c.Exempt = []netip.Prefix{{}} },
	} {
		c := Default()
		change(&c)
		bad := c.Validate()
		if len(bad) != 1 || !strings.HasPrefix(bad[0].Error(), want) {
			t.Errorf("%s: %v", want, bad)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	cd, err := New(Options{Config: func() Config { c := Default(); c.Messages = 1 << 30; return c }(), Store: store.NewMemory()})
	if err != nil {
		b.Fatal(err)
	}
	cd.Ban(context.Background(), net("203.0.113.0/24"), 0, "")
	b.ReportAllocs()
	a := addr("192.0.2.1")
	for b.Loop() {
		cd.Note(a, smtpproxy.ActMessage)
	}
}
