package limits

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/identity"
	"garita/mail"
	"garita/message"
	"garita/store"
	"garita/users"
)

// clock is the time of a store: wall and steady go on apart.
type clock struct{ wall, steady atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.wall.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	c.steady.Store(int64(100 * 24 * time.Hour))
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.wall.Load()) }
func (c *clock) since() time.Duration { return time.Duration(c.steady.Load()) }
func (c *clock) pass(d time.Duration) { c.wall.Add(int64(d)); c.steady.Add(int64(d)) }
func (c *clock) set(d time.Duration)  { c.wall.Add(int64(d)) }
func (c *clock) store(t testing.TB, path string) *store.Memory {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "state.db")
	}
	m, err := store.Open(store.Config{Path: path, Now: c.now, Steady: c.since})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSixtyBuckets: whatever the span, what was counted counts for the span and
// at most one part of sixty longer, never shorter; also what goes over.
func TestSixtyBuckets(t *testing.T) {
	t.Parallel()
	for _, span := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 31 * 24 * time.Hour} {
		c := newClock()
		s := c.store(t, "")
		k := newKit(t, s, func(cfg *Config) {
			cfg.User, cfg.Domain, cfg.SuspendAt = []string{"3 messages / " + spanText(span)}, nil, 2.5
		})
		k.l.o.Now = c.now
		part := span / 60
		for _, into := range []time.Duration{0, part / 3, part - 1} { // wherever in a part it begins
			c.pass(2*span + into)
			if n := k.passes(4, msg{user: "ana"}); n != 3 {
				t.Fatalf("%v: %d pass", span, n)
			}
			c.pass(span - time.Nanosecond)
			if k.send(msg{user: "ana"}) == mail.Continue {
				t.Errorf("%v: it passes before the span is over", span)
			}
			c.pass(part + time.Nanosecond)
			if k.send(msg{user: "ana"}) != mail.Continue {
				t.Errorf("%v: it does not pass one part after the span", span)
			}
			list, err := s.Counters(t.Context(), "", 100)
			if err != nil || len(list) == 0 {
				t.Fatal(list, err)
			}
			for _, w := range list {
				if w.Buckets != 60 {
					t.Errorf("%s has %d parts", w.Key, w.Buckets)
				}
			}
		}
		s.Close()
	}
}

// TestQ05Clocks: a wall clock that jumps a day frees nothing and blocks nobody.
func TestQ05Clocks(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, -50 * 365 * 24 * time.Hour} {
		c := newClock()
		s := c.store(t, "")
		k := newKit(t, s, func(cfg *Config) { cfg.User, cfg.SuspendAt = []string{"3 messages / 1h"}, 0 })
		k.l.o.Now = c.now
		if n := k.passes(5, msg{user: "ana"}); n != 3 {
			t.Fatal(n)
		}
		c.set(jump)
		if n := k.passes(5, msg{user: "ana"}); n != 0 {
			t.Errorf("%v: %d pass by the jump", jump, n)
		}
		c.pass(time.Hour + time.Minute + time.Second)
		if n := k.passes(5, msg{user: "ana"}); n != 3 {
			t.Errorf("%v: %d pass an hour after", jump, n)
		}
		s.Close()
	}
}

// TestQ10Names: however a user spells his name, he has one limit.
func TestQ10Names(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.SuspendAt = []string{"6 messages / 1h"}, 0 })
	names := identity.Names{Domain: "our.example"}
	passed := 0
	for range 5 {
		for _, name := range []string{"ana", "ANA", "Ana@our.example", "ana@OUR.EXAMPLE", "ana+shop", "ana+a+b@our.example", "\uff41na", "ana\uff20our.example", " ana "} {
			user, ok := names.Canonical(name)
			if !ok {
				t.Fatalf("%q is no name", name)
			}
			for _, source := range []string{"auth", "received", "x-authenticated-user"} {
				if k.send(msg{user: user, source: source}) == mail.Continue {
					passed++
				}
			}
		}
	}
	if passed != 6 {
		t.Errorf("%d pass, 6 have room", passed)
	}
	// An accent makes another person, in whichever form it is written.
	a, _ := names.Canonical("an\u00e1")
	b, _ := names.Canonical("ana\u0301")
	if a != b || a == "ana@our.example" {
		t.Errorf("%q %q", a, b)
	}
}

// TestQ10ParallelRcpt: many recipients in many messages at once, and the limit
// of recipients is reached to the last and never passed.
func TestQ10ParallelRcpt(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(c *Config) { c.User, c.SuspendAt = []string{"100 recipients / 1h", "1000 messages / 1h"}, 0 })
	var taken atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			rcpts := make([]string, 1+i%7)
			for n := range rcpts {
				rcpts[n] = fmt.Sprint("r", n)
			}
			if k.send(msg{user: "ana", rcpts: rcpts}) == mail.Continue {
				taken.Add(int64(len(rcpts)))
			}
		})
	}
	wg.Wait()
	for k.send(msg{user: "ana"}) == mail.Continue {
		taken.Add(1)
	}
	if n := taken.Load(); n != 100 {
		t.Errorf("%d recipients passed", n)
	}
}

// TestHabitsSurvive: what users send is there after a restart, kill -9 after
// the last Save included, and two weeks are enough.
func TestHabitsSurvive(t *testing.T) {
	t.Parallel()
	c := newClock()
	path := filepath.Join(t.TempDir(), "state.db")
	begin := c.now()
	for day := range 15 {
		s := c.store(t, path)
		k := newKit(t, s, func(cfg *Config) { cfg.Mode = "observe" })
		k.l.o.Now = c.now
		k.l.o.Memory = NewMemory()
		k.l.recall()
		for hour := range 10 {
			k.passes(4, msg{user: "ana@our.example", rcpts: []string{"a", "b"}})
			if hour == 5 {
				if err := k.l.Save(t.Context()); err != nil { // within an hour that goes on
					t.Fatal(err)
				}
				k.l.o.Memory = NewMemory()
				k.l.recall()
			}
			k.passes(3, msg{user: "ana@our.example"})
			c.pass(time.Hour)
		}
		if day == 14 {
			k.passes(100, msg{user: "bob@our.example"})
		}
		if err := k.l.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.pass(14 * time.Hour)
		s.Close()
	}
	s := c.store(t, path)
	defer s.Close()
	k := newKit(t, s, nil)
	k.l.o.Memory = NewMemory()
	k.l.recall()
	h, since := k.l.Habits()
	want := []Habit{{"bob@our.example", 1, 111, 111, 1, 111, 111}, {"ana@our.example", 150, 7, 11, 15, 79, 111}}
	if len(h) != 2 || h[0] != want[0] || h[1] != want[1] {
		t.Errorf("%+v, want %+v", h, want)
	}
	if since.Unix() != begin.Unix() {
		t.Errorf("watched since %v", since)
	}
	if h := unpack([]byte("{")); h != nil {
		t.Error("what is no habit is one")
	}
	if h := unpack([]byte(`{"h":1,"c":[[99,1,3],[],[],[]]}`)); h == nil || h.hours[0].count() != 0 {
		t.Errorf("%+v", h)
	}
}

// TestWait: for how long a held message has no room, and by which limit.
func TestWait(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := c.store(t, "")
	defer s.Close()
	k := newKit(t, s, func(cfg *Config) { cfg.User, cfg.SuspendAt = []string{"3 messages / 1h", "9 messages / 24h"}, 0 })
	wait := func(user string) (time.Duration, string) {
		d, limit, err := k.l.Wait(t.Context(), mail.Identity{User: user, Source: "auth"}, false, []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "o.example"}}}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return d, limit
	}
	k.passes(3, msg{user: "ana"})
	c.pass(20 * time.Minute)
	if d, limit := wait("ana"); d < 40*time.Minute || d > 41*time.Minute || limit != "3 messages / 1h" {
		t.Errorf("%v %q", d, limit)
	}
	if d, limit := wait("bob"); d != 0 || limit != "" {
		t.Errorf("%v %q", d, limit)
	}
	for range 2 {
		c.pass(62 * time.Minute)
		k.passes(3, msg{user: "ana"})
	}
	if d, limit := wait("ana"); d < 21*time.Hour || limit != "9 messages / 24h" {
		t.Errorf("%v %q", d, limit)
	}
	if st, _ := k.l.Standing(t.Context(), "ana"); st[0].Limits[1].Used != 9 {
		t.Errorf("asking counts: %+v", st)
	}
}

// TestNear: who is at his share or over it, by his limits of now.
func TestNear(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	defer s.Close()
	k := newKit(t, s, func(cfg *Config) {
		cfg.User, cfg.SuspendAt = []string{"10 messages / 1h", "1000 recipients / 1h"}, 0
		cfg.ExemptUsers = []string{"boss"}
	})
	for user, n := range map[string]int{"low@x.example": 7, "near@x.example": 8, "over@x.example": 10, "boss@our.example": 20, "was@x.example": 10, "claim@x.example": 0} {
		k.passes(n, msg{user: user})
	}
	k.passes(12, msg{user: "claim@x.example", source: "sender"})
	if _, err := k.users.Limit(t.Context(), users.Override{User: "was@x.example", Epoch: 7}); err != nil {
		t.Fatal(err)
	}
	k.passes(9, msg{user: "was@x.example"})
	near, err := k.l.Near(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range near {
		got = append(got, fmt.Sprint(f.User, " ", f.Used, " ", f.Over))
	}
	if want := "claim@x.example 10 true, near@x.example 8 false, over@x.example 10 true, was@x.example 9 false"; strings.Join(got, ", ") != want {
		t.Errorf("%s", got)
	}
}

// TestLastBad: content that a check stopped is a sign, and so is a suspension;
// being over a limit, a next hop's refusal and mail to us are not. It survives.
func TestLastBad(t *testing.T) {
	t.Parallel()
	m, err := message.Spool(t.Context(), strings.NewReader("Subject: x\r\n\r\nx\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	limit := mail.Finding{Filter: Name, Symbol: SymbolUser, Verdict: mail.Quarantine, Counted: true}
	virus := mail.Finding{Filter: "clamav", Symbol: "clamav.virus", Verdict: mail.Reject, Counted: true}
	refused := mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{{Code: 554}}}
	for i, c := range []struct {
		tx   mail.Transaction
		o    mail.Outcome
		want bool
	}{
		{mail.Transaction{Direction: mail.Out, Message: m, Findings: []mail.Finding{virus}}, refused, true},
		{mail.Transaction{Direction: mail.Out, Message: m, Findings: []mail.Finding{virus, limit}}, mail.Outcome{Kind: mail.Held}, true},
		{mail.Transaction{Direction: mail.Out, Message: m}, mail.Outcome{Kind: mail.Held}, true}, // by its score
		{mail.Transaction{Direction: mail.Out, Message: m, Findings: []mail.Finding{limit}}, mail.Outcome{Kind: mail.Held}, false},
		{mail.Transaction{Direction: mail.In, Message: m, Findings: []mail.Finding{virus}}, refused, false},
		{mail.Transaction{Direction: mail.Out, Findings: []mail.Finding{virus}}, refused, false}, // no message came
		{mail.Transaction{Direction: mail.Out, Message: m}, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{{Code: 451}}}, false},
		{mail.Transaction{Direction: mail.Out, Message: m}, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{{Code: 554}}, NextHopReply: "554 no"}, false},
		{mail.Transaction{Direction: mail.Out, Message: m}, mail.Outcome{Kind: mail.Relayed}, false},
	} {
		if got := signOfBad(&c.tx, c.o); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	k := newKit(t, s, func(c *Config) { c.User = []string{"2 messages / 1h"} })
	k.passes(4, msg{user: "ana"})
	if !k.l.LastBad().IsZero() {
		t.Error("over a limit is bad mail")
	}
	k.passes(4, msg{user: "ana"})
	at := k.l.LastBad()
	if at.IsZero() {
		t.Fatal("a suspension is none")
	}
	k.l.Bad(at.Add(-time.Hour))
	if err := k.l.Save(context.Background()); err != nil || !k.l.LastBad().Equal(at) {
		t.Error(err, k.l.LastBad())
	}
	s.Close()
	s = open(t, path)
	defer s.Close()
	if got := newKit(t, s, nil).l.LastBad(); got.Unix() != at.Unix() {
		t.Errorf("after a restart %v, want %v", got, at)
	}
}

// TestTexto: who reads the alert in Spanish learns as much as who reads it in
// English: the limit, what is used, and that observe does nothing.
func TestTexto(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		e := Event{Who: "ana@our.example", Limit: Limit{Kind: kind, Max: 60, Span: time.Hour}, Used: 48, Mode: "observe"}
		for _, e.Kind = range []EventKind{Warned, Over, Suspended, Unknown} {
			text := e.Texto()
			for _, want := range []string{e.Who, "60 ", " / 1h"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q has no %q", text, want)
				}
			}
			if strings.Contains(text, kind.String()) || strings.Contains(text, "%!") {
				t.Errorf("%q is not Spanish", text)
			}
			if told := strings.Contains(text, "no se hace nada"); told != strings.Contains(e.Text(), "nothing is done") {
				t.Errorf("%q and %q", text, e.Text())
			}
			if e.Kind == Warned && !strings.Contains(text, "48 de 60") {
				t.Errorf("%q", text)
			}
		}
	}
}
