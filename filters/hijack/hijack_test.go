package hijack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/hijack"
	"garita/identity"
	"garita/mail"
	"garita/message"
	"garita/store"
	"garita/users"
)

func TestCases(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		c.Mode = "enforce"
		for _, line := range config {
			filtertest.Set(t, &c, line)
		}
		check, _, err := New(c, Options{Store: store.NewMemory()})
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

// kit is a check with an engine, a store and a clock.
type kit struct {
	t      testing.TB
	k      *Check
	e      *filters.Engine
	users  *users.Registry
	mu     sync.Mutex
	now    time.Time
	events []string
	n      atomic.Int64
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func newKit(t testing.TB, s store.Store, change func(*Config)) *kit {
	t.Helper()
	k := &kit{t: t, now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	if s == nil {
		begin := k.now
		s = store.NewMemoryWith(store.Config{Now: k.clock, Steady: func() time.Duration { return k.clock().Sub(begin) + time.Hour }})
	}
	c := Default()
	c.Mode = "enforce"
	if change != nil {
		change(&c)
	}
	r, err := users.New(users.Options{Store: s, Now: k.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	k.users = r
	check, impl, err := New(c, Options{Store: s, Users: r, Names: identity.Names{Domain: "our.example"}, Domains: []string{"our.example"}, Now: k.clock,
		Event: func(kind string, c hijack.Case) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.events = append(k.events, kind+" "+c.User)
		}})
	if err != nil {
		t.Fatal(err)
	}
	k.k = impl
	if k.e, err = filters.New(filters.Config{Checks: []filters.Check{check}}); err != nil {
		t.Fatal(err)
	}
	return k
}

// msg is a letter to somebody.
type msg struct {
	user, source, id string
	to               string // "": a stranger whom nobody knows
	null             bool
	refused          int
	trusted          bool
	client           string
}

func (k *kit) send(m msg) mail.Verdict {
	n := k.n.Add(1)
	if m.source == "" {
		m.source = identity.SourceAuth
	}
	if m.client == "" {
		m.client = "192.0.2.1"
	}
	if m.to == "" {
		m.to = fmt.Sprintf("p%d@d%d.example", n, n)
	}
	tx := &mail.Transaction{ID: fmt.Sprint(n), Direction: mail.Out, Session: &mail.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(m.client), 1), Trusted: m.trusted},
		Identity: mail.Identity{User: m.user, Source: m.source}}
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
	local, domain, _ := strings.Cut(m.to, "@")
	to := mail.Recipient{Path: mail.Path{Local: local, Domain: domain}}
	k.e.Rcpt(ctx, tx, to)
	tx.ForwardPaths = append(tx.ForwardPaths, to)
	d := k.e.Message(ctx, tx)
	o := mail.Outcome{Kind: mail.Relayed}
	if d.Verdict == mail.Quarantine {
		o.Kind = mail.Held
	} else if d.Verdict != mail.Continue {
		o.Kind = mail.Refused
	}
	k.e.Finish(ctx, tx, o)
	return d.Verdict
}

// until gives how many equal letters pass, at most so many.
func (k *kit) until(most int, m msg) (n int) {
	for n < most && k.send(m) == mail.Continue {
		n++
		k.pass(3 * time.Second)
	}
	return n
}

// TestModes: enforce holds, observe tells and passes, off says nothing.
func TestModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]struct{ passed, events int }{"enforce": {100, 1}, "observe": {300, 1}, "off": {300, 0}} {
		k := newKit(t, nil, func(c *Config) { c.Mode = mode })
		if n := k.until(300, msg{user: "ana@our.example"}); (n == 300) != (want.passed == 300) || len(k.events) != want.events {
			t.Errorf("%s: %d pass, %q", mode, n, k.events)
		}
	}
}

// TestHeldUntilSomebodyDecides: a case holds letters to those whom he knows
// too; a person's word ends it, and is learned.
func TestHeldUntilSomebodyDecides(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, nil)
	ana, ctx := msg{user: "ana@our.example"}, context.Background()
	k.send(msg{user: ana.user, to: "friend@d.example"})
	if n := k.until(300, ana); n == 300 {
		t.Fatal("nobody stops her")
	}
	if v := k.send(msg{user: ana.user, to: "friend@d.example"}); v != mail.Quarantine {
		t.Errorf("a letter in a case: %v", v)
	}
	s, err := k.k.Standing(ctx, ana.user)
	if err != nil || s.Case == nil || !strings.Contains(hijack.Text(s.Case.Reasons), "recipients new in an hour") || !strings.Contains(hijack.Texto(s.Case.Reasons), "destinatarios nuevos") {
		t.Errorf("%+v %v", s, err)
	}
	if v := k.send(msg{user: "bob@our.example"}); v != mail.Continue {
		t.Errorf("bob: %v", v)
	}
	if _, err := k.k.Vouch(ctx, ana.user, "root", 8*time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := k.until(200, ana); n != 200 {
		t.Errorf("of a user who is trusted %d pass", n)
	}
	k.pass(9 * time.Hour)
	if n := k.until(300, ana); n == 300 || len(k.events) != 2 {
		t.Errorf("after it %d pass, %q", n, k.events)
	}
	// Her word alone: what came before does not count.
	if _, err := k.k.Vouch(ctx, ana.user, "root", 0); err != nil {
		t.Fatal(err)
	}
	if v := k.send(ana); v != mail.Continue {
		t.Errorf("after the case: %v", v)
	}
}

// TestKeys: each key does what it says.
func TestKeys(t *testing.T) {
	t.Parallel()
	early, late := newKit(t, nil, func(c *Config) { c.HoldAt = 4 }), newKit(t, nil, func(c *Config) { c.HoldAt = 12 })
	a, b := early.until(400, msg{user: "ana@our.example"}), late.until(400, msg{user: "ana@our.example"})
	if a >= b {
		t.Errorf("hold_at: %d pass with 4, %d with 12", a, b)
	}
	k := newKit(t, nil, func(c *Config) { c.HoldFor = time.Hour })
	k.until(400, msg{user: "ana@our.example"})
	k.pass(30 * time.Minute)
	if v := k.send(msg{user: "ana@our.example", to: "a@our.example"}); v != mail.Quarantine {
		t.Errorf("hold_for: half an hour later %v", v)
	}
	k.pass(26 * time.Hour)
	if v := k.send(msg{user: "ana@our.example", to: "a@our.example"}); v != mail.Continue {
		t.Errorf("hold_for: a day later %v", v)
	}
	k = newKit(t, nil, func(c *Config) { c.ExemptUsers = []string{"ana", "@machines.example"} })
	for _, user := range []string{"ana@our.example", "x@machines.example"} {
		if n := k.until(300, msg{user: user}); n != 300 {
			t.Errorf("exempt_users: of %s %d pass", user, n)
		}
	}
}

// TestValidate: each mistake names its key.
func TestValidate(t *testing.T) {
	t.Parallel()
	if errs := Default().Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	c := Config{Mode: "score", HoldAt: 1, SuspendAt: 0.5, HoldFor: time.Minute, ExemptUsers: []string{"@-"}}
	errs := c.Validate()
	for i, key := range []string{"mode", "hold_at", "suspend_at", "hold_for", "exempt_users[0]"} {
		if i >= len(errs) || !strings.HasPrefix(errs[i].Error(), key) {
			t.Errorf("%s: %v", key, errs)
		}
	}
}

// TestSuspends: far over, a user who has shown who he is is suspended; a claim
// suspends nobody.
func TestSuspends(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{identity.SourceAuth: true, identity.SourceReceived: true, identity.SourceSender: false} {
		k := newKit(t, nil, func(c *Config) { c.SuspendAt = 12 })
		for range 400 {
			k.send(msg{user: "ana@our.example", source: source, refused: 1})
		}
		if _, ok := k.users.Suspended("ana@our.example"); ok != want {
			t.Errorf("%s: suspended %v, %q", source, ok, k.events)
		}
	}
}

// TestAClaimHarmsNobody is Q-15: letters that merely claim ana have a past of
// their own.
func TestAClaimHarmsNobody(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, nil)
	if n := k.until(300, msg{user: "ana@our.example", source: identity.SourceSender}); n == 300 {
		t.Fatal("the claims pass")
	}
	if v := k.send(msg{user: "ana@our.example"}); v != mail.Continue {
		t.Errorf("ana herself: %v", v)
	}
}

// TestNoSenderNeverCounts: notes of absence, of a user who is known or not.
func TestNoSenderNeverCounts(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, nil)
	for range 300 {
		if v := k.send(msg{user: "ana@our.example", source: identity.SourceReceived, null: true, refused: 1}); v != mail.Continue {
			t.Fatal(v)
		}
	}
	if s, err := k.k.Standing(context.Background(), "ana@our.example"); err != nil || s.Days+s.Known != 0 || s.Case != nil {
		t.Errorf("%+v %v", s, err)
	}
	if v := k.send(msg{user: "ana@our.example"}); v != mail.Continue {
		t.Errorf("%v", v)
	}
}

// TestNoSenderIsNoHidingPlace: who has logged in and leaves the sender away is
// not a note of absence, nor does a letter by the MTA hide those sent here.
func TestNoSenderIsNoHidingPlace(t *testing.T) {
	t.Parallel()
	for _, source := range []string{identity.SourceAuth, identity.SourceMilter} {
		k := newKit(t, nil, nil)
		if n := k.until(300, msg{user: "ana@our.example", source: source, null: true}); n == 300 {
			t.Errorf("%s: all pass without a sender", source)
		}
	}
	with, without := newKit(t, nil, nil), newKit(t, nil, nil)
	plain := without.until(300, msg{user: "ana@our.example"})
	n := 0
	for ; n < 300; n++ {
		id := fmt.Sprint("Q", n)
		with.k.o.Store.Put(t.Context(), keyOf("ana@our.example", "q"+id), []byte{0, 1}, doorFor)
		if with.send(msg{user: "ana@our.example", id: id}) != mail.Continue {
			break
		}
		with.pass(3 * time.Second)
	}
	if n > plain {
		t.Errorf("%d letters of his own session pass with marks of a door, %d without", n, plain)
	}
}

// TestTwoDoors: Postfix asks the policy server and the milter about one
// message, and hands it to the wire: it is one letter.
func TestTwoDoors(t *testing.T) {
	t.Parallel()
	k, alone := newKit(t, nil, nil), newKit(t, nil, nil)
	one := alone.until(300, msg{user: "ana@our.example", source: identity.SourceMilter})
	n := 0
	for ; n < 300; n++ {
		m := msg{user: "ana@our.example", source: identity.SourcePolicy, id: fmt.Sprint("Q", n), to: fmt.Sprintf("a%d@d%d.example", n, n)}
		if k.send(m) != mail.Continue {
			break
		}
		for _, m.source = range []string{identity.SourceMilter, identity.SourceReceived} {
			if k.send(m) != mail.Continue {
				t.Fatalf("%s holds what the policy server has let pass", m.source)
			}
		}
		k.pass(3 * time.Second)
	}
	if n != one {
		t.Errorf("%d pass by three, %d by the milter alone", n, one)
	}
}

// TestCountedOnce: a door and the wire see the same letters.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	alone, both := newKit(t, nil, nil), newKit(t, nil, nil)
	one := alone.until(300, msg{user: "ana@our.example", source: identity.SourceMilter})
	n := 0
	for ; n < 300; n++ {
		m := msg{user: "ana@our.example", source: identity.SourceMilter, id: fmt.Sprint("Q", n), to: fmt.Sprintf("a%d@d%d.example", n, n)}
		if both.send(m) != mail.Continue {
			break
		}
		if m.source = identity.SourceReceived; both.send(m) != mail.Continue {
			t.Fatal("the wire holds what the door has let pass")
		}
		both.pass(3 * time.Second)
	}
	if n != one {
		t.Errorf("%d pass with both, %d with the door alone", n, one)
	}
	// Nobody hides behind the mark of one letter.
	k := newKit(t, nil, nil)
	k.send(msg{user: "ana@our.example", source: identity.SourceMilter, id: "Q"})
	if n := k.until(300, msg{user: "ana@our.example", id: "Q"}); n == 300 {
		t.Error("all letters with one queue id pass")
	}
}

// TestWhoseAddress: on a trusted relay the client's address is not the user's.
func TestWhoseAddress(t *testing.T) {
	t.Parallel()
	networks := func(m msg) (sum float64) {
		k := newKit(t, nil, func(c *Config) { c.HoldAt = 3 })
		for i := range 12 {
			m.client = fmt.Sprintf("%d.1.2.3", 20+i)
			k.send(m)
		}
		s, err := k.k.Standing(context.Background(), m.user)
		if err != nil {
			t.Fatal(err)
		}
		if s.Case != nil {
			for _, r := range s.Case.Reasons {
				if r.Kind == hijack.Networks {
					sum += r.Points
				}
			}
		}
		return sum
	}
	for _, c := range []struct {
		m    msg
		want bool
	}{
		{msg{source: identity.SourceAuth}, true}, {msg{source: identity.SourceMilter}, true}, {msg{source: identity.SourcePolicy}, true},
		{msg{source: identity.SourceAuth, trusted: true}, false}, {msg{source: identity.SourceReceived, trusted: true}, false}, {msg{source: identity.SourceHeader}, false},
	} {
		c.m.user = "ana@our.example"
		if got := networks(c.m); (got > 0) != c.want {
			t.Errorf("%+v: %v points", c.m, got)
		}
	}
}

// sick is a store that cannot be asked.
type sick struct {
	store.Store
	on atomic.Bool
}

var errSick = errors.New("no server")

func (s *sick) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if s.on.Load() {
		return nil, false, errSick
	}
	return s.Store.Get(ctx, key)
}

// TestStoreAway: mail passes, and each failure is told.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	s := &sick{Store: store.NewMemory()}
	s.on.Store(true)
	check, _, err := New(Config{Mode: "enforce", HoldAt: 10, HoldFor: time.Hour}, Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	var faults atomic.Int64
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}, Fault: func(string, mail.Stage, error) { faults.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		tx := &mail.Transaction{ID: fmt.Sprint(i), Direction: mail.Out, Session: &mail.Session{}, Identity: mail.Identity{User: "ana@our.example", Source: "auth"}}
		tx.ReversePath = mail.Path{Local: "a", Domain: "our.example"}
		tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: fmt.Sprint("x", i), Domain: "d.example"}}}
		if d := e.Message(context.Background(), tx); d.Verdict != mail.Continue {
			t.Fatal(d.Verdict)
		}
		e.Finish(context.Background(), tx, mail.Outcome{Kind: mail.Relayed})
	}
	if faults.Load() < 50 {
		t.Errorf("%d failures were told", faults.Load())
	}
}

// TestParallelSessions is Q-10: a hundred sessions at once are one user.
func TestParallelSessions(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil, nil)
	alone := newKit(t, nil, nil).until(300, msg{user: "ana@our.example"})
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 3 {
				if k.send(msg{user: "ana@our.example"}) == mail.Continue {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := int(passed.Load()); n > alone+5 || len(k.events) != 1 {
		t.Errorf("%d pass, one after the other %d; %q", n, alone, k.events)
	}
	if n := len(k.k.pending); n != 0 {
		t.Errorf("%d letters are remembered", n)
	}
}

// TestTexts: the first text counts, not what is attached; what cannot be read
// is like nothing.
func TestTexts(t *testing.T) {
	t.Parallel()
	body := "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
	read := func(raw string) hijack.Digest {
		m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{Max: 1 << 20, Memory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		return textOf(context.Background(), m)
	}
	plain := read("Subject: hello\r\n\r\n" + body + "\r\n")
	html := read("Subject: hello\r\nContent-Type: text/html\r\n\r\n<p>" + strings.ReplaceAll(body, " ", "</b> <b>") + "</p>\r\n")
	both := read("Subject: hello\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + body + "\r\n--b\r\nContent-Type: application/pdf\r\n\r\nx\r\n--b--\r\n")
	if !plain.Alike(html) || !plain.Alike(both) {
		t.Errorf("%x %x %x", plain, html, both)
	}
	if d := read("Subject: hello\r\n\r\nok\r\n"); d != (hijack.Digest{}) {
		t.Errorf("a short one: %x", d)
	}
	if textOf(context.Background(), nil) != (hijack.Digest{}) {
		t.Error("no message")
	}
}
