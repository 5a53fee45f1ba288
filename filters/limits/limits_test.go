package limits

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/identity"
	"garita/mail"
	"garita/message"
	"garita/store"
	"garita/users"
)

func open(t testing.TB, path string) *store.Memory {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "state.db")
	}
	m, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// kit is a check with an engine over a store.
type kit struct {
	t      testing.TB
	l      *Limits
	e      *filters.Engine
	users  *users.Registry
	mu     sync.Mutex
	events []string
	n      atomic.Int64
}

func newKit(t testing.TB, s store.Store, change func(*Config)) *kit {
	t.Helper()
	k := &kit{t: t}
	c := Default()
	c.Mode = "enforce"
	if change != nil {
		change(&c)
	}
	r, err := users.New(users.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	k.users = r
	check, l, err := New(c, Options{Store: s, Users: r, Names: identity.Names{Domain: "our.example"}, Event: func(e Event) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.events = append(k.events, string(e.Kind)+" "+e.Who+" "+e.Limit.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	k.l = l
	if k.e, err = filters.New(filters.Config{Checks: []filters.Check{check}}); err != nil {
		t.Fatal(err)
	}
	return k
}

// message to n recipients of the user; null is a null reverse-path.
type msg struct {
	user, source string
	rcpts        []string
	null         bool
	end          mail.OutcomeKind // Relayed when it is not set and the message passes
	refused      int              // recipients that the next hop refuses
	id           string
	message      *message.Message
	client       string
	reply        string
}

func (k *kit) send(m msg) mail.Verdict {
	if m.source == "" {
		m.source = "auth"
	}
	if m.user == "" {
		m.source = ""
	}
	if m.client == "" {
		m.client = "192.0.2.1:1"
	}
	tx := &mail.Transaction{ID: fmt.Sprint(k.n.Add(1)), Direction: mail.Out, Message: m.message,
		Session: &mail.Session{Client: netip.MustParseAddrPort(m.client)}, Identity: mail.Identity{User: m.user, Source: m.source}}
	if !m.null {
		tx.ReversePath = mail.Path{Local: "x", Domain: "our.example"}
	}
	if m.id != "" {
		tx.Forwarded = &mail.Forwarded{Ident: m.id}
	}
	ctx := context.Background()
	k.e.Mail(ctx, tx)
	for range m.refused {
		k.e.Rcpt(ctx, tx, mail.Recipient{Path: mail.Path{Local: "no", Domain: "other.example"}})
	}
	if len(m.rcpts) == 0 && m.refused == 0 {
		m.rcpts = []string{"b"}
	}
	for _, r := range m.rcpts {
		to := mail.Recipient{Path: mail.Path{Local: r, Domain: "other.example"}}
		k.e.Rcpt(ctx, tx, to)
		tx.ForwardPaths = append(tx.ForwardPaths, to)
	}
	d := k.e.Message(ctx, tx)
	o := mail.Outcome{Kind: m.end, NextHopReply: m.reply}
	switch {
	case d.Verdict == mail.Quarantine:
		o.Kind = mail.Held
	case d.Verdict != mail.Continue:
		o.Kind = mail.Refused
	case m.end == 0:
		o.Kind = mail.Relayed
	}
	k.e.Finish(ctx, tx, o)
	return d.Verdict
}

// passes counts how many of n equal messages pass.
func (k *kit) passes(n int, m msg) (passed int) {
	for range n {
		if k.send(m) == mail.Continue {
			passed++
		}
	}
	return passed
}

func TestCases(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		c.Mode = "enforce"
		for _, line := range config {
			filtertest.Set(t, &c, line)
		}
		s := open(t, "")
		t.Cleanup(func() { s.Close() })
		check, _, err := New(c, Options{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

// TestDefaults: the profile of the issue, and cert-strict.
func TestDefaults(t *testing.T) {
	for profile, want := range map[string]int{"default": 60, "cert-strict": 10} {
		s := open(t, "")
		defer s.Close()
		k := newKit(t, s, func(c *Config) { c.Profile, c.SuspendAt = profile, 0 })
		if n := k.passes(want+5, msg{user: "ana"}); n != want {
			t.Errorf("%s: %d of %d pass", profile, n, want)
		}
		if n := k.passes(5, msg{user: "bob"}); n != 5 {
			t.Errorf("%s: bob is limited by ana", profile)
		}
	}
}

// TestQ10NeverOver is Q-10: 100 sessions at once, and not one message over.
func TestQ10NeverOver(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.SuspendAt = []string{"50 messages / 1h", "120 recipients / 1h"}, 0 })
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 3 {
				if k.send(msg{user: "ana", rcpts: []string{"a", "b", "c"}}) == mail.Continue {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 40 { // 120 recipients by threes
		t.Errorf("%d messages passed, 40 have room", n)
	}
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	if len(k.l.pending) != 0 {
		t.Errorf("%d messages are remembered for ever", len(k.l.pending))
	}
}

// TestQ10Restart is Q-10: what was counted is counted after a restart.
func TestQ10Restart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	set := func(c *Config) { c.User, c.SuspendAt = []string{"5 messages / 1h"}, 0 }
	newKit(t, s, set).passes(3, msg{user: "ana"})
	s.Close()
	s = open(t, path)
	defer s.Close()
	if n := newKit(t, s, set).passes(5, msg{user: "ana"}); n != 2 {
		t.Errorf("%d pass after the restart, 2 have room", n)
	}
}

// TestQ12Refunds is Q-12: what is not relayed does not count, and mail without a
// sender never counts against the user.
func TestQ12Refunds(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.SuspendAt = []string{"5 messages / 1h", "3 new-recipients / 1h"}, 0 })
	for _, end := range []mail.OutcomeKind{mail.Refused, mail.Held, mail.Discarded} {
		if n := k.passes(20, msg{user: "ana", end: end}); n != 20 {
			t.Errorf("%v: %d pass", end, n)
		}
	}
	for _, m := range []msg{{user: "ana", null: true, source: "sender"}, {null: true}} {
		if n := k.passes(100, m); n != 100 {
			t.Errorf("%+v: bounces are limited: %d", m, n)
		}
	}
	if n := k.passes(10, msg{user: "ana"}); n != 5 {
		t.Errorf("%d of his own pass, 5 have room", n)
	}
	// Who has logged in and sends without a sender has as much of it, apart.
	if n := k.passes(10, msg{user: "ana", null: true}); n != 5 {
		t.Errorf("%d bounces by hand pass", n)
	}
	if _, ok := k.users.Suspended("ana"); ok {
		t.Error("suspended for bounces")
	}
}

// TestQ14FarOver is Q-14: suspended at 2.5 times the limit, not before, by what
// was proven alone, and not while nothing is enforced.
func TestQ14FarOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		m      msg
		at     int // messages until he is suspended; 0 never
	}{
		{"messages", nil, msg{user: "ana"}, 25},
		{"received", nil, msg{user: "ana", source: "received"}, 25},
		{"recipients", func(c *Config) { c.User = []string{"10 recipients / 1h"} }, msg{user: "ana", rcpts: []string{"a", "b", "c", "d", "e"}}, 5},
		{"reject", func(c *Config) { c.Action = "reject" }, msg{user: "ana"}, 25},
		{"defer", func(c *Config) { c.Action = "defer" }, msg{user: "ana"}, 0},
		{"a claimed sender", nil, msg{user: "ana", source: "sender"}, 0},
		{"no sender", nil, msg{user: "ana", null: true}, 0},
		{"observe", func(c *Config) { c.Mode = "observe" }, msg{user: "ana"}, 0},
		{"never", func(c *Config) { c.SuspendAt = 0 }, msg{user: "ana"}, 0},
		{"twice", func(c *Config) { c.SuspendAt = 2 }, msg{user: "ana"}, 20},
	} {
		s := open(t, "")
		k := newKit(t, s, func(cfg *Config) {
			cfg.User = []string{"10 messages / 1h"}
			if c.change != nil {
				c.change(cfg)
			}
		})
		at := 0
		for i := 1; i <= 60 && at == 0; i++ {
			k.send(c.m)
			if _, ok := k.users.Suspended("ana"); ok {
				at = i
			}
		}
		if at != c.at {
			t.Errorf("%s: suspended at %d, want %d", c.name, at, c.at)
		}
		if got := strings.Contains(strings.Join(k.events, ","), "suspended ana"); got != (c.at > 0) {
			t.Errorf("%s: %v", c.name, k.events)
		}
		s.Close()
	}
}

// TestQ15OthersCannotUseItUp is Q-15: strangers, wrong passwords and claimed
// senders leave the user's own limit alone.
func TestQ15OthersCannotUseItUp(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User = []string{"5 messages / 1h"} })
	k.passes(100, msg{user: "ana", source: "sender"})
	k.passes(100, msg{}) // unknown
	if n := k.passes(5, msg{user: "ana"}); n != 5 {
		t.Errorf("%d of 5 pass", n)
	}
	if _, ok := k.users.Suspended("ana"); ok {
		t.Error("suspended by a forger")
	}
}

// TestNewRecipients: the first time counts, and trying again while held does
// not make a recipient known.
func TestNewRecipients(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.SuspendAt = []string{"2 new-recipients / 24h"}, 0 })
	if k.send(msg{user: "ana", rcpts: []string{"a", "b"}}) != mail.Continue || k.passes(9, msg{user: "ana", rcpts: []string{"A", "b"}}) != 9 {
		t.Error("people he knows count")
	}
	if n := k.passes(3, msg{user: "ana", rcpts: []string{"c"}}); n != 0 {
		t.Errorf("%d pass to one more", n)
	}
	if n := k.passes(1, msg{user: "bob", rcpts: []string{"c"}}); n != 1 {
		t.Error("what ana may not is bob's")
	}
}

// TestRefusals: recipients that the next hop refuses.
func TestRefusals(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User = []string{"10 refusals / 1h"} })
	if k.send(msg{user: "ana", rcpts: []string{"a"}, refused: 8}) != mail.Continue || k.send(msg{user: "ana", end: mail.Refused, reply: "550 no", rcpts: []string{"a", "b"}}) != mail.Continue {
		t.Error("limited too soon")
	}
	if k.send(msg{user: "ana"}) != mail.Quarantine {
		t.Error("ten refused recipients, and he goes on")
	}
}

// TestScopes: domain, address, everybody, and the ceiling of nobody's mail.
func TestScopes(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) {
		c.Domain, c.Address, c.Everybody, c.Unknown = []string{"5 messages / 1h"}, []string{"7 messages / 1h"}, []string{"9 messages / 1h"}, []string{"2 messages / 1h"}
		c.User = []string{"3 messages / 1h"}
	})
	for i, c := range []struct {
		m    msg
		pass int
	}{
		{msg{user: "a@x.example"}, 3}, {msg{user: "b@x.example"}, 2}, {msg{user: "c@y.example"}, 2},
		{msg{user: "d@y.example", client: "192.0.2.2:1"}, 2}, {msg{user: "e@z.example", client: "192.0.2.3:1"}, 0},
	} {
		if n := k.passes(4, c.m); n != c.pass {
			t.Errorf("%d: %d pass, want %d", i, n, c.pass)
		}
	}
	if n := k.passes(5, msg{}); n != 5 {
		t.Errorf("nobody's mail is held: %d", n)
	}
	if all := strings.Join(k.events, ","); strings.Count(all, "unknown our.example") != 1 || !strings.Contains(all, "over x.example") || !strings.Contains(all, "over everybody") {
		t.Error(all)
	}
}

// TestWarns once, at the share.
func TestWarns(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User = []string{"10 messages / 1h"} })
	k.passes(7, msg{user: "ana"})
	if len(k.events) != 0 {
		t.Error(k.events)
	}
	k.passes(3, msg{user: "ana"})
	if len(k.events) != 1 || k.events[0] != "warned ana 10 messages / 1h" {
		t.Error(k.events)
	}
}

// TestWhoseLimits: groups, a user's own, exempt ones, ends.
func TestWhoseLimits(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# people\nNews@our.example # the letter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := newKit(t, s, func(c *Config) {
		c.User = []string{"2 messages / 1h"}
		c.SuspendAt = 0
		c.Domain = nil
		c.ExemptUsers = []string{"boss", "@free.example"}
		c.Group = map[string]Group{"a": {File: file, Limits: []string{"4 messages / 1h"}}, "b": {Members: []string{"@big.example"}, Limits: []string{"unlimited messages / 1h", "6 messages / 2h"}},
			"c": {Members: []string{"late"}, Limits: []string{"9 messages / 1h"}, Until: "2020-01-01"}}
	})
	if _, err := k.users.Limit(k.t.Context(), users.Override{User: "own@our.example", Limits: []string{"5 messages / 1h"}}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{"ana@our.example": 2, "news@our.example": 4, "x@big.example": 6, "late@our.example": 2, "own@our.example": 5, "boss@our.example": 20, "y@free.example": 20} {
		if n := k.passes(20, msg{user: user}); n != want {
			t.Errorf("%s: %d pass, want %d", user, n, want)
		}
	}
	// Another epoch is as if nothing was counted.
	k.users.Limit(k.t.Context(), users.Override{User: "ana@our.example", Epoch: 1})
	if n := k.passes(20, msg{user: "ana@our.example"}); n != 2 {
		t.Errorf("after a reset %d pass", n)
	}
}

// TestCountedOnce: by the door or by the wire, never by both; and the same
// Message-ID again is another message.
func TestCountedOnce(t *testing.T) {
	spool := func(id string) *message.Message {
		m, err := message.Spool(t.Context(), strings.NewReader("Message-ID: <"+id+">\r\n\r\nx\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		return m
	}
	for _, at := range []string{"wire", "door"} {
		s := open(t, "")
		k := newKit(t, s, func(c *Config) { c.User, c.CountAt, c.SuspendAt = []string{"6 messages / 1h"}, at, 0 })
		for i := range 3 {
			m := spool(fmt.Sprint(i))
			if k.send(msg{user: "ana", source: "milter", message: m}) != mail.Continue || k.send(msg{user: "ana", source: "received", message: m}) != mail.Continue {
				t.Errorf("%s: held", at)
			}
		}
		k.send(msg{user: "ana", source: "policy", id: "Q1", rcpts: []string{"a", "b"}})
		for _, r := range []string{"a", "b"} { // the MTA hands it over in two
			k.send(msg{user: "ana", source: "received", id: "Q1", rcpts: []string{r}})
		}
		st, err := k.l.Standing(t.Context(), "ana")
		want := int64(5)
		if at == "door" {
			want = 4
		}
		if err != nil || st[0].Limits[0].Used != want {
			t.Errorf("%s: %+v %v, want %d", at, st, err, want)
		}
		m := spool("again")
		k.passes(10, msg{user: "ana", source: "auth", message: m})
		if st, _ := k.l.Standing(t.Context(), "ana"); st[0].Limits[0].Used != 6 {
			t.Errorf("%s: the same Message-ID passes for ever: %+v", at, st)
		}
		s.Close()
	}
}

// TestRoom: what drips out is counted, and a suspended user's does not.
func TestRoom(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User = []string{"3 messages / 1h"} })
	id := mail.Identity{User: "ana", Source: "auth"}
	to := []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "other.example"}}}
	room := func() bool {
		r, err := k.l.Room(t.Context(), id, false, to, 10)
		if err != nil {
			t.Fatal(err)
		}
		if r != nil {
			r.Commit()
		}
		return r != nil
	}
	k.passes(2, msg{user: "ana"})
	if !room() || room() {
		t.Error("not one place")
	}
	if r, _ := k.l.Room(t.Context(), mail.Identity{}, false, to, 10); r != nil {
		t.Error("nobody's mail drips")
	}
	id.User = "bob"
	if !room() {
		t.Error("no room for bob")
	}
	k.users.Suspend(t.Context(), users.Suspension{User: "bob"})
	if room() {
		t.Error("a suspended user's mail drips")
	}
}

// gone is a store that cannot be asked.
type gone struct{ *store.Memory }

func (g gone) Reserve(context.Context, []store.Window) (store.Reservation, []store.Usage, error) {
	return nil, nil, errors.New("gone")
}

// TestStoreFault: nobody is limited, and it is said.
func TestStoreFault(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, gone{s}, nil)
	if n := k.passes(100, msg{user: "ana"}); n != 100 {
		t.Errorf("%d pass", n)
	}
}

// TestMemory: the tables of top, and habits.
func TestMemory(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User = []string{"5 messages / 1h"} })
	now := time.Unix(1_700_000_000, 0)
	k.l.o.Now = func() time.Time { return now }
	k.passes(8, msg{user: "ana", rcpts: []string{"a", "b"}})
	k.passes(2, msg{user: "bob", client: "192.0.2.9:1"})
	top := k.l.Top(ByUser, mail.Out, time.Hour, 10)
	if len(top) != 2 || top[0] != (Row{Name: "ana", Messages: 8, Recipients: 16, Stopped: 3}) {
		t.Errorf("%+v", top)
	}
	if r := k.l.Top(ByRecipient, mail.Out, time.Hour, 1); len(r) != 1 || r[0].Name != "a@other.example" && r[0].Name != "b@other.example" {
		t.Errorf("%+v", r)
	}
	if r := k.l.Top(ByAddress, mail.Out, 24*time.Hour, 9); len(r) != 2 {
		t.Errorf("%+v", r)
	}
	if r := k.l.Top(BySender, mail.In, time.Hour, 9); len(r) != 0 {
		t.Errorf("%+v", r)
	}
	now = now.Add(2 * time.Hour)
	if r := k.l.Top(ByUser, mail.Out, time.Hour, 9); len(r) != 0 {
		t.Errorf("two hours later: %+v", r)
	}
	if r := k.l.Top(ByUser, mail.Out, 24*time.Hour, 9); len(r) != 2 {
		t.Errorf("of the day: %+v", r)
	}
	h, since := k.l.Habits()
	if len(h) != 2 || h[0] != (Habit{"ana", 1, 5, 11, 1, 5, 11}) || since.IsZero() {
		t.Errorf("%+v %v", h, since)
	}
	for i := range 2 * mostKeys {
		k.send(msg{user: fmt.Sprintf("u%d", i)})
	}
	if n := len(k.l.o.Memory.slots[slotKey{ByUser, mail.Out, false, now.UnixNano() / int64(fine)}]); n != mostKeys {
		t.Errorf("%d names in a slot", n)
	}
	for n := int64(1); n < 5000; n++ {
		if m := most(step(n)); m < n || m > n+n/3+1 {
			t.Fatalf("%d is in the step up to %d", n, m)
		}
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	c := Config{Mode: "x", Profile: "x", Action: "x", CountAt: "x", WarnAt: 2, SuspendAt: 1, DripRate: -1, User: []string{"x", "1 messages / 1h", "2 messages / 60m"},
		ExemptUsers: []string{"a b"}, Group: map[string]Group{"g": {Members: []string{"@"}, File: "/nowhere", Limits: []string{""}, Until: "x"}}}
	var keys []string
	for _, err := range c.Validate() {
		keys = append(keys, strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r == ':' })[0])
	}
	want := "mode profile action count_at warn_at suspend_at new_for drip_rate user[0] user[2] exempt_users[0] group.g.limits[0] group.g.members[0] group.g.file group.g.until"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"60 messages / 1h", "unlimited bytes / 7d", "20MB bytes / 24h", "1 x / 1h", "9999999999999999999 messages / 1h", "-1 messages / 1h", "1 messages / 90s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLimit(s)
		if err != nil {
			return
		}
		again, err := ParseLimit(l.String())
		if err != nil || again != l {
			t.Errorf("%q is %+v, written %q, read %+v %v", s, l, l, again, err)
		}
	})
}

// BenchmarkCheck is one message of one user with the limits of the default.
func BenchmarkCheck(b *testing.B) {
	s := open(b, "")
	defer s.Close()
	k := newKit(b, s, func(c *Config) {
		c.User = []string{"1000000000 messages / 1h", "1000000000 messages / 24h", "1000000000 recipients / 1h", "1000000000 recipients / 24h", "1000000000 new-recipients / 24h"}
		c.Domain = []string{"1000000000 messages / 1h"}
	})
	tx := &mail.Transaction{ID: "X", Direction: mail.Out, Session: &mail.Session{Client: netip.MustParseAddrPort("192.0.2.1:1")}, Identity: mail.Identity{User: "ana@our.example", Source: "auth"}}
	tx.ReversePath = mail.Path{Local: "ana", Domain: "our.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "other.example"}}}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := k.l.CheckMessage(ctx, tx); err != nil || len(r.Findings) > 0 {
			b.Fatal(r, err)
		}
		k.l.Finish(ctx, tx, mail.Outcome{Kind: mail.Relayed})
	}
}

// TestKeys: what the other keys do.
func TestKeys(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.WarnAt, c.DripRate = []string{"10 messages / 1h"}, 0.2, 7 })
	k.passes(2, msg{user: "ana"})
	if len(k.events) != 1 {
		t.Errorf("warn_at: %v", k.events)
	}
	if k.l.DripRate() != 7 {
		t.Error("drip_rate")
	}
	if newKit(t, s, func(c *Config) { c.Action = "defer" }).l.DripRate() != 0 {
		t.Error("what is deferred drips")
	}
	now := time.Now()
	s, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "state.db"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k = newKit(t, s, func(c *Config) { c.User, c.NewFor = []string{"1 new-recipients / 1h"}, time.Hour })
	k.passes(1, msg{user: "ana"})
	items, err := s.List(t.Context(), "limits/known/", "", 9)
	if err != nil || len(items) != 1 || items[0].Expires.Sub(now).Round(time.Minute) != time.Hour {
		t.Errorf("new_for: %+v %v", items, err)
	}
}

// BenchmarkCount is the check alone, without the end of the message.
func BenchmarkCount(b *testing.B) {
	s := open(b, "")
	defer s.Close()
	k := newKit(b, s, func(c *Config) {
		c.User = []string{"1000000000 messages / 1h", "1000000000 messages / 24h", "1000000000 recipients / 1h", "1000000000 recipients / 24h", "1000000000 new-recipients / 24h"}
		c.Domain = []string{"1000000000 messages / 1h"}
	})
	tx := &mail.Transaction{ID: "X", Direction: mail.Out, Session: &mail.Session{Client: netip.MustParseAddrPort("192.0.2.1:1")}, Identity: mail.Identity{User: "ana@our.example", Source: "auth"}}
	tx.ReversePath = mail.Path{Local: "ana", Domain: "our.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "other.example"}}}
	ctx := b.Context()
	k.l.CheckMessage(ctx, tx)
	k.l.Finish(ctx, tx, mail.Outcome{Kind: mail.Relayed}) // the recipient is known
	b.ReportAllocs()
	for b.Loop() {
		k.l.pending["X"] = &pending{}
		if r, err := k.l.CheckMessage(ctx, tx); err != nil || len(r.Findings) > 0 {
			b.Fatal(r, err)
		}
	}
}

// TestDoorAsks: a door that does not count tells the user all the same, at DATA
// where it sees no message.
func TestDoorAsks(t *testing.T) {
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.Action = []string{"2 messages / 1h"}, "reject" })
	tx := &mail.Transaction{ID: "D", Direction: mail.Out, Session: &mail.Session{}, Identity: mail.Identity{User: "ana", Source: "policy"}}
	tx.ReversePath = mail.Path{Local: "ana", Domain: "our.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "other.example"}}}
	if d := k.e.Data(t.Context(), tx); d.Verdict != mail.Continue {
		t.Errorf("%+v", d)
	}
	k.e.Finish(t.Context(), tx, mail.Outcome{})
	if n := k.passes(5, msg{user: "ana", source: "received"}); n != 2 {
		t.Errorf("%d pass on the wire: the door has counted", n)
	}
	tx.ID = "E"
	if d := k.e.Data(t.Context(), tx); d.Verdict != mail.Reject || d.Reply.Code != 554 {
		t.Errorf("over the limit: %+v", d)
	}
}
