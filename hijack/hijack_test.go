package hijack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/store"
)

// kit is a detector with a clock.
type kit struct {
	t     testing.TB
	now   time.Time
	s     store.Store
	d     *Detector
	made  int
	steps time.Duration
}

func newKit(t testing.TB, s store.Store) *kit {
	k := &kit{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), s: s}
	if k.s == nil {
		// The wall clock may jump; the steady one follows step alone.
		k.s = store.NewMemoryWith(store.Config{Now: func() time.Time { return k.now }, Steady: func() time.Duration { return k.steps + time.Hour }})
	}
	k.d = New(Options{Store: k.s, Now: func() time.Time { return k.now }})
	return k
}

func (k *kit) step(d time.Duration) { k.now, k.steps = k.now.Add(d), k.steps+d }

func (k *kit) letter(user string, to ...string) *Judgement {
	k.t.Helper()
	l := &Letter{User: user}
	for _, a := range to {
		if a == "" {
			k.made++
			a = fmt.Sprintf("p%d@d%d.example", k.made, k.made)
		}
		_, domain, _ := strings.Cut(a, "@")
		l.Recipients = append(l.Recipients, Recipient{Address: a, Domain: domain, Ours: domain == "our.example"})
	}
	j, err := k.d.Judge(context.Background(), l)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := k.d.Done(context.Background(), j, !j.Suspect, 0); err != nil {
		k.t.Fatal(err)
	}
	return j
}

// habit makes a past of quiet workdays.
func (k *kit) habit(user string, days, letters int) {
	for range days {
		for range letters {
			k.letter(user, "friend@d.example")
			k.step(10 * time.Minute)
		}
		k.step(24*time.Hour - time.Duration(letters)*10*time.Minute)
	}
}

// until gives how many letters to strangers pass.
func (k *kit) until(user string, most int, every time.Duration) (n int) {
	for n < most && !k.letter(user, "").Suspect {
		n++
		k.step(every)
	}
	return n
}

// TestReasonsCanBeRead: numbers of his and of others, in two languages.
func TestReasonsCanBeRead(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.habit("ana", 15, 4)
	if n := k.until("ana", 100, 3*time.Second); n > 30 {
		t.Errorf("%d pass", n)
	}
	s, err := k.d.State(context.Background(), "ana")
	if err != nil || s.Case == nil {
		t.Fatal(s, err)
	}
	en, es := Text(s.Case.Reasons), Texto(s.Case.Reasons)
	if !strings.Contains(en, "recipients new in an hour, where his busiest hour had") || !strings.Contains(es, "destinatarios nuevos en una hora") {
		t.Errorf("%s\n%s", en, es)
	}
	for _, kind := range []string{NewHour, NewDay, NewWeek, Share, Alike, Domains, Volume, DayMail, Refusals, Networks, OddHour} {
		r := Reason{Kind: kind, N: 3, Of: 4, Usual: 1}
		if r.Text() == "" || r.Texto() == "" || r.Text() == r.Texto() {
			t.Errorf("%s: %q %q", kind, r.Text(), r.Texto())
		}
	}
	if (Reason{Kind: "other"}).Text() != "" {
		t.Error("a reason of a later version")
	}
}

// TestAnAttackDoesNotTeachItself: who raises the number of strangers by a
// third each day is found before he has reached what a bot is after, because a
// day teaches half more than the second largest before it and no more.
func TestAnAttackDoesNotTeachItself(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.habit("ana", 20, 5)
	total, n := 0, 4.0
	for day := range 20 {
		for range int(n) {
			if k.letter("ana", "").Suspect {
				t.Logf("found on day %d after %d letters", day, total)
				return
			}
			total++
			k.step(time.Minute)
		}
		k.step(24*time.Hour - time.Duration(n)*time.Minute)
		if n *= 1.33; total > 500 {
			break
		}
	}
	t.Errorf("not found after %d letters", total)
}

// TestACaseIsNotLearned: what was observed of a bot is no habit afterwards.
func TestACaseIsNotLearned(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.habit("ana", 15, 5)
	for range 3 { // in observe mode all of it passes
		for range 200 {
			k.made++
			l := &Letter{User: "ana", Recipients: []Recipient{{Address: fmt.Sprint(k.made, "@d.example"), Domain: "d.example"}}}
			j, err := k.d.Judge(context.Background(), l)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.d.Done(context.Background(), j, true, 0); err != nil {
				t.Fatal(err)
			}
			k.step(5 * time.Second)
		}
		k.step(24 * time.Hour)
	}
	k.step(9 * 24 * time.Hour)
	s, err := k.d.State(context.Background(), "ana")
	if err != nil || s.Case != nil || s.NewHour > 12 || s.BusiestDay > 40 || s.Known > 120 {
		t.Errorf("%+v %v", s, err)
	}
	if n := k.until("ana", 100, 5*time.Second); n > 40 {
		t.Errorf("the second time %d pass", n)
	}
}

// TestAPersonsWordIsLearned: a case that was none makes its people known.
func TestAPersonsWordIsLearned(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.habit("news", 15, 3)
	issue := func() (held int) {
		for i := range 300 {
			if k.letter("news", fmt.Sprintf("s%d@l%d.example", i, i%90)).Suspect {
				held++
			}
			k.step(time.Second)
		}
		return held
	}
	if held := issue(); held < 200 {
		t.Fatalf("the first issue: %d held", held)
	}
	if _, err := k.d.Trust(context.Background(), "news", "root", 8*time.Hour); err != nil {
		t.Fatal(err)
	}
	k.step(7 * 24 * time.Hour)
	if held := issue(); held > 0 {
		t.Errorf("the second: %d held", held)
	}
}

// TestRestart: the past and a case outlive the process.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	open := func() store.Store {
		s, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	k := newKit(t, open())
	k.habit("ana", 12, 3)
	k.until("ana", 100, 0)
	if err := k.s.Close(); err != nil {
		t.Fatal(err)
	}
	k2 := newKit(t, open())
	defer k2.s.Close()
	k2.now = k.now
	if s, err := k2.d.State(context.Background(), "ana"); err != nil || s.Days != 12 || s.Case == nil {
		t.Errorf("%+v %v", s, err)
	}
	if list, err := k2.d.Cases(context.Background(), 10); err != nil || len(list) != 1 || list[0].User != "ana" {
		t.Errorf("%v %v", list, err)
	}
	if !k2.letter("ana", "friend@d.example").Suspect {
		t.Error("the case is over after a restart")
	}
}

// TestTwoGateways is Q-06: two on one store count together.
func TestTwoGateways(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.habit("ana", 15, 4)
	other := New(Options{Store: k.s, Now: func() time.Time { return k.now }})
	own, n := k.d, 0
	for ; n < 100; n++ {
		if k.d = own; n%2 == 1 {
			k.d = other
		}
		if k.letter("ana", "").Suspect {
			break
		}
	}
	if n > 30 {
		t.Errorf("%d pass", n)
	}
	k.d = own
	if !k.letter("ana", "friend@d.example").Suspect {
		t.Error("the case of one is unknown to the other")
	}
	if _, err := other.Trust(context.Background(), "ana", "root", time.Hour); err != nil {
		t.Fatal(err)
	}
	if k.letter("ana", "friend@d.example").Suspect {
		t.Error("the word given to one is unknown to the other")
	}
}

// TestClockJumps is Q-05: a clock that jumps suspects nobody and forgets no
// case.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, -56 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		k := newKit(t, nil)
		k.habit("ana", 15, 4)
		k.now = k.now.Add(jump)
		for range 10 {
			if j := k.letter("ana", "friend@d.example"); j.Suspect || j.Score > 2 {
				t.Errorf("%v: %+v", jump, j)
			}
			k.step(time.Minute)
		}
		if n := k.until("ana", 100, time.Second); n > 30 {
			t.Errorf("%v: %d pass", jump, n)
		}
		k.now = k.now.Add(-jump)
		if !k.letter("ana", "friend@d.example").Suspect {
			t.Errorf("%v: the case is over", jump)
		}
	}
}

// failing fails at its nth call.
type failing struct {
	store.Store
	at, n int
}

var errAway = errors.New("away")

func (f *failing) fails() bool { f.n++; return f.n == f.at }

func (f *failing) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if f.fails() {
		return nil, false, errAway
	}
	return f.Store.Get(ctx, key)
}

func (f *failing) Put(ctx context.Context, key string, v []byte, ttl time.Duration) error {
	if f.fails() {
		return errAway
	}
	return f.Store.Put(ctx, key, v, ttl)
}

func (f *failing) Reserve(ctx context.Context, w []store.Window) (store.Reservation, []store.Usage, error) {
	if f.fails() {
		return nil, nil, errAway
	}
	return f.Store.Reserve(ctx, w)
}

// TestStoreFaults is Q-02: each call that can fail is an error that comes back,
// and the next letter is judged.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 12; at++ {
		f := &failing{Store: store.NewMemory(), at: at}
		d := New(Options{Store: f})
		l := &Letter{User: "ana", Recipients: []Recipient{{Address: "b@d.example", Domain: "d.example"}}}
		j, err := d.Judge(context.Background(), l)
		if err == nil {
			err = d.Done(context.Background(), j, true, 1)
		}
		if at <= 9 && !errors.Is(err, errAway) {
			t.Errorf("call %d: %v", at, err)
		}
		f.at = -1
		if j, err := d.Judge(context.Background(), l); err != nil || j.Suspect {
			t.Errorf("after call %d: %+v %v", at, j, err)
		}
	}
}

// TestBounded: a hostile user fills his bounds and no more, and claims of many
// users make what the store evicts.
func TestBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	ctx := context.Background()
	if _, err := k.d.Trust(ctx, "ana", "root", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		l := &Letter{User: "ana", From: netip.AddrFrom4([4]byte{byte(1 + i), 2, 3, 4}), Text: Digest{1, byte(i)}}
		for r := range 200 {
			l.Recipients = append(l.Recipients, Recipient{Address: fmt.Sprint(i, "-", r, "@d.example"), Domain: fmt.Sprint("d", i, r, ".example")})
		}
		j, err := k.d.Judge(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.d.Done(ctx, j, true, 3); err != nil {
			t.Fatal(err)
		}
	}
	items, err := k.s.List(ctx, prefix, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		most := maxKnown
		switch {
		case strings.HasPrefix(it.Key, prefixProfile):
			most = maxProfile
		case strings.HasPrefix(it.Key, prefixRecent):
			most = maxRecent
		case strings.HasPrefix(it.Key, prefixTrust):
			most = 1024
		}
		if len(it.Value) > most {
			t.Errorf("%s: %d octets, at most %d", it.Key, len(it.Value), most)
		}
	}
	small := store.NewMemoryWith(store.Config{Entries: 500, Values: 500, Bytes: 4 << 20})
	d := New(Options{Store: small})
	for i := range 4000 {
		l := &Letter{User: fmt.Sprint("claimed ", i), Recipients: []Recipient{{Address: "a@d.example", Domain: "d.example"}}}
		j, err := d.Judge(ctx, l)
		if err != nil || j.Suspect {
			t.Fatal(j, err)
		}
		if err := d.Done(ctx, j, true, 0); err != nil {
			t.Fatal(err)
		}
	}
	if items, err = small.List(ctx, prefix, "", 10_000); err != nil || len(items) > 600 {
		t.Errorf("%d values, %v", len(items), err)
	}
}

// FuzzState: values of the store that somebody else wrote are a past or none,
// and what is read is written as it was.
func FuzzState(f *testing.F) {
	var p profile
	p.count, p.next = 2, 2
	p.nets = []net{{1, 2, 3}}
	f.Add(p.bytes())
	r := recent{letters: []sent{{1, Digest{1}}}, domains: []mark{{1, 2}}, nets: []mark{{3, 4}}}
	f.Add(r.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var p profile
		p.read(b)
		if out := p.bytes(); len(out) > maxProfile {
			t.Fatalf("%d octets", len(out))
		} else if len(b) > 5 && p.count > 0 {
			var q profile
			q.read(out)
			if !bytes.Equal(q.bytes(), out) {
				t.Fatal("not the same again")
			}
		}
		now := time.Unix(1_800_000_000, 0)
		p.learn(now, &Judgement{weight: 4, alike: 2, from: true, net: 7}, 1)
		p.learn(now.Add(24*time.Hour), &Judgement{Suspect: true}, 0)
		var fs facts
		if s, _ := score(&fs, &p); !(s >= 0 && s < 100) {
			t.Fatal(s)
		}
		var r recent
		r.read(b)
		r.add(now, Digest{1, 2}, true, []uint32{1, 2, 3})
		r.from(now, 9)
		if n := len(r.bytes()); n > maxRecent {
			t.Fatalf("%d octets", n)
		}
		k := addKnown(b, []uint32{1, 2, 3})
		if len(k) > maxKnown {
			t.Fatal(len(k))
		}
	})
}

// FuzzDigest: any text has a digest, and it is like itself or too short.
func FuzzDigest(f *testing.F) {
	f.Add("subject", []byte("a <b href=http://x.example/y>text</b> 12 ñandú"), true)
	f.Add("", []byte("https://x.example/?q see <"), false)
	f.Fuzz(func(t *testing.T, subject string, text []byte, html bool) {
		d := TextDigest(subject, text, html)
		if d != TextDigest(subject, text, html) {
			t.Fatal("not the same twice")
		}
		if d != (Digest{}) && len(subject)+len(text) < leastShingles {
			t.Fatal("a digest of next to nothing")
		}
	})
}

// TestDigest: a campaign with names, numbers and links of its own is one text;
// other texts are not.
func TestDigest(t *testing.T) {
	t.Parallel()
	body := func(name, n, link string) string {
		return "Dear " + name + ", your mailbox is almost full and will be closed on Friday, so please confirm your account " + n +
			" at https://evil.example/" + link + " before the end of the week or you will lose all of the messages that you have received so far. The help desk."
	}
	a, b := TextDigest("Mailbox 12", []byte(body("Ana", "4711", "a?x=1")), false), TextDigest("Mailbox 99", []byte(body("Bartolomé", "815", "zz/9")), false)
	if !a.Alike(b) {
		t.Errorf("%x %x", a, b)
	}
	html := TextDigest("Mailbox 1", []byte("<html><b>"+strings.ReplaceAll(body("Eva", "3", "q"), ", ", ",<br>")+"</b>"), true)
	if !a.Alike(html) {
		t.Errorf("as HTML: %x %x", a, html)
	}
	c := TextDigest("Minutes", []byte("Here are the minutes of the meeting of last Tuesday, in which we spoke about the new building and its cost, and decided to ask three companies for an offer until the end of May."), false)
	if a.Alike(c) || c.Alike(a) || !c.Alike(c) {
		t.Errorf("%x %x", a, c)
	}
	if d := TextDigest("", []byte("ok, thanks"), false); d.Alike(d) {
		t.Error("a short text is like others")
	}
}

func BenchmarkLetter(b *testing.B) {
	k := newKit(b, nil)
	k.habit("ana", 64, 5)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		k.letter("ana", "friend@d.example")
	}
}

func BenchmarkDigest(b *testing.B) {
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 90))
	b.SetBytes(int64(len(text)))
	for range b.N {
		TextDigest("subject", text, false)
	}
}
