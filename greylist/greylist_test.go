package greylist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/store"
)

// kit is a table with a clock that the test sets.
type kit struct {
	t     testing.TB
	wall  time.Time
	since time.Duration
	store store.Store
	table *Table
	logs  []string
	mu    sync.Mutex
}

func newKit(t testing.TB, o Options) *kit {
	k := &kit{t: t, wall: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC), store: o.Store}
	if k.store == nil {
		k.store = store.NewMemoryWith(store.Config{Steady: func() time.Duration { return k.since }})
	}
	k.open(o)
	return k
}

func (k *kit) open(o Options) {
	k.t.Helper()
	o.Store, o.Now, o.Steady = k.store, func() time.Time { return k.wall }, func() time.Duration { return k.since }
	o.Log = func(text string, _ error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.logs = append(k.logs, text)
	}
	var err error
	if k.table, err = New(o); err != nil {
		k.t.Fatal(err)
	}
}

// pass lets time go by.
func (k *kit) pass(d time.Duration) { k.since += d; k.wall = k.wall.Add(d) }

func (k *kit) ask(client, sender, rcpt string) Answer {
	k.t.Helper()
	a, err := k.table.Check(context.Background(), &Request{Client: netip.MustParseAddr(client), Sender: sender, Recipient: rcpt})
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

func TestTriplet(t *testing.T) {
	k := newKit(t, Options{AutoPass: 5})
	if a := k.ask("192.0.2.1", "a@x.example", "b@our.example"); !a.Delay || a.Reason != Newcomer || a.Left != 300*time.Second {
		t.Errorf("%+v", a)
	}
	k.pass(299 * time.Second)
	// A neighbour of the /24, in another case.
	if a := k.ask("192.0.2.77", "A@X.example", "b@OUR.example"); !a.Delay || a.Reason != Early || a.Left != time.Second {
		t.Errorf("%+v", a)
	}
	k.pass(time.Second)
	if a := k.ask("192.0.2.1", "a@x.example", "b@our.example"); a.Delay || !a.Passed || a.Waited != 300*time.Second {
		t.Errorf("%+v", a)
	}
	if a := k.ask("192.0.2.1", "a@x.example", "b@our.example"); a.Delay || a.Passed {
		t.Errorf("%+v", a)
	}
	for _, other := range [][3]string{{"192.0.3.1", "a@x.example", "b@our.example"}, {"192.0.2.1", "a@y.example", "b@our.example"}, {"192.0.2.1", "a@x.example", "c@our.example"}} {
		if a := k.ask(other[0], other[1], other[2]); a.Reason != Newcomer {
			t.Errorf("%v: %+v", other, a)
		}
	}
	k.pass(49 * time.Hour)
	if a := k.ask("192.0.3.1", "a@x.example", "b@our.example"); a.Reason != Newcomer {
		t.Errorf("beyond the retry window: %+v", a)
	}
	k.pass(36 * 24 * time.Hour)
	if a := k.ask("192.0.2.1", "a@x.example", "b@our.example"); a.Reason != Newcomer {
		t.Errorf("beyond max age: %+v", a)
	}
}

func TestAutoPass(t *testing.T) {
	k := newKit(t, Options{AutoPass: 2})
	for i := range 4 {
		from := fmt.Sprintf("x%d@x.example", i)
		if a := k.ask("2001:db8::1", from, "b@our.example"); (a.Reason == AutoPass) != (i >= 3) {
			t.Fatalf("%d: %+v", i, a)
		}
		k.pass(20 * time.Minute)
		if a := k.ask("2001:db8::1", from, "b@our.example"); a.Delay {
			t.Fatalf("%d: %+v", i, a)
		}
		if i == 1 { // within the hour of the first, so it did not count
			k.pass(time.Hour)
		}
	}
	if a := k.ask("2001:db8::2", "new@x.example", "b@our.example"); !a.Delay {
		t.Errorf("a neighbour has not earned it: %+v", a)
	}
}

func TestAuthenticatedDomain(t *testing.T) {
	k := newKit(t, Options{})
	ask := func(client, domain string) Answer {
		a, err := k.table.Check(t.Context(), &Request{Client: netip.MustParseAddr(client), Domain: domain, Sender: "a@x.example", Recipient: "b@our.example"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ask("192.0.2.1", "x.example")
	k.pass(6 * time.Minute)
	if a := ask("2001:db8::1", "X.example"); a.Delay {
		t.Errorf("another machine of the same sender: %+v", a)
	}
	if a := ask("192.0.2.1", ""); !a.Delay {
		t.Errorf("not authenticated: %+v", a)
	}
}

// TestClockJumps: the wall clock is set, to and fro, in the process and over a
// restart.
func TestClockJumps(t *testing.T) {
	k := newKit(t, Options{})
	day := 24 * time.Hour
	for n, jump := range []time.Duration{day, -day, -50 * 365 * day, 50 * 365 * day, time.Hour, -time.Hour} {
		from := fmt.Sprintf("a%d@x.example", n)
		k.ask("192.0.2.1", from+"x", "old@our.example")
		k.pass(5 * time.Minute)
		k.ask("192.0.2.1", from+"x", "old@our.example")
		k.ask("192.0.2.1", from, "b@our.example")
		k.wall = k.wall.Add(jump)
		if a := k.ask("192.0.2.1", from, "b@our.example"); !a.Delay || a.Left != 300*time.Second {
			t.Errorf("%s: %+v", jump, a)
		}
		k.pass(5 * time.Minute)
		if a := k.ask("192.0.2.1", from, "b@our.example"); a.Delay {
			t.Errorf("%s: kept out: %+v", jump, a)
		}
		// A restart with the clock set meanwhile.
		k.pass(time.Minute)
		k.ask("192.0.2.1", from+"y", "b@our.example")
		k.wall = k.wall.Add(-jump)
		k.open(Options{})
		if a := k.ask("192.0.2.1", from+"x", "old@our.example"); a.Delay {
			t.Errorf("%s: forgotten at the restart: %+v", jump, a)
		}
		if a := k.ask("192.0.2.1", from+"y", "b@our.example"); a.Delay && a.Left > 300*time.Second {
			t.Errorf("%s: %+v", jump, a)
		}
		k.pass(5 * time.Minute)
		if a := k.ask("192.0.2.1", from+"y", "b@our.example"); a.Delay {
			t.Errorf("%s: kept out after a restart: %+v", jump, a)
		}
	}
}

// TestFlood: newcomers are bounded, and beyond the bound they pass.
func TestFlood(t *testing.T) {
	const most, flood = 20_000, 300_000
	m := store.NewMemory()
	k := newKit(t, Options{Store: m, Newcomers: most})
	k.ask("198.51.100.1", "good@x.example", "b@our.example")
	full := 0
	for n := range flood {
		q := Request{Client: netip.AddrFrom4([4]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}), Sender: fmt.Sprintf("s%xq@y.example", n), Recipient: "b@our.example"}
		a, err := k.table.Check(t.Context(), &q)
		if err != nil {
			t.Fatal(err)
		}
		if a.Reason == Full {
			full++
		}
	}
	if full != flood-most+1 {
		t.Errorf("%d passed for want of room", full)
	}
	if st := m.Stats(); st.Values > most+2 {
		t.Errorf("%d rows", st.Values)
	}
	if len(k.logs) != 1 {
		t.Errorf("logs: %q", k.logs)
	}
	k.pass(5 * time.Minute)
	if a := k.ask("198.51.100.1", "good@x.example", "b@our.example"); !a.Passed {
		t.Errorf("who waited before the flood: %+v", a)
	}
	k.pass(50 * time.Hour)
	if a := k.ask("198.51.100.9", "new@x.example", "b@our.example"); !a.Delay || len(k.logs) != 2 {
		t.Errorf("after the flood: %+v %q", a, k.logs)
	}
}

// broken is a store that gives errors, or nothing at all until its context ends.
type broken struct {
	store.Store
	hang  bool
	asked int
}

func (b *broken) Get(ctx context.Context, key string) ([]byte, bool, error) {
	b.asked++
	if b.hang {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return nil, false, errors.New("disk on fire")
}

// TestStoreFault: mail passes, at once or when the time is up; and the next one
// does not wait again.
func TestStoreFault(t *testing.T) {
	for _, hang := range []bool{false, true} {
		b := &broken{Store: store.NewMemory(), hang: hang}
		k := newKit(t, Options{Store: b, Wait: 300 * time.Millisecond})
		q := Request{Client: netip.MustParseAddr("192.0.2.1"), Sender: "a@x", Recipient: "b@our.example"}
		b.asked = 0
		if a, err := k.table.Check(t.Context(), &q); err == nil || a.Delay || a.Reason != Fault {
			t.Errorf("%v %v", a, err)
		}
		if a, err := k.table.Check(t.Context(), &q); err != nil || a.Reason != Fault || b.asked != 1 {
			t.Errorf("at rest: %v %v, asked %d times", a, err, b.asked)
		}
		if known, err := k.table.Corresponds(t.Context(), "b@our.example", "a@x"); known || err != nil {
			t.Error(known, err)
		}
		k.pass(3 * time.Second)
		if err := k.table.Wrote(t.Context(), "b@our.example", "a@x"); err == nil {
			t.Error("no error")
		}
		k.pass(3 * time.Second)
		if _, err := k.table.Corresponds(t.Context(), "b@our.example", "a@x"); err == nil {
			t.Error("no error")
		}
		// It heals by itself.
		k.pass(3 * time.Second)
		k.table.o.Store = b.Store
		if a := k.ask("192.0.2.1", "a@x", "b@our.example"); !a.Delay {
			t.Errorf("healed: %+v", a)
		}
	}
	if defaultWait > 200*time.Millisecond {
		t.Error("a message may wait 200 ms")
	}
	if _, err := New(Options{}); err == nil {
		t.Error("without a store")
	}
}

// TestRestart: what was learned is on the disk.
func TestRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.db")
	open := func() *store.Memory {
		m, err := store.Open(store.Config{Path: file})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	k := newKit(t, Options{Store: m})
	k.ask("192.0.2.1", "a@x.example", "b@our.example")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	k.store = open()
	defer k.store.Close()
	k.pass(10 * time.Minute)
	k.open(Options{})
	if a := k.ask("192.0.2.1", "a@x.example", "b@our.example"); a.Delay || a.Waited != 10*time.Minute {
		t.Errorf("%+v", a)
	}
}

func TestCorrespondents(t *testing.T) {
	k := newKit(t, Options{Pairs: 3})
	know := func(ours, them string) bool {
		ok, err := k.table.Corresponds(t.Context(), ours, them)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if err := k.table.Wrote(t.Context(), "Ana@our.example", "bob+news@x.example"); err != nil {
		t.Fatal(err)
	}
	if !know("ana@our.example", "BOB@x.example") || know("eva@our.example", "bob@x.example") || know("ana@our.example", "") {
		t.Error("who wrote to whom")
	}
	k.pass(61 * 24 * time.Hour)
	if know("ana@our.example", "bob@x.example") {
		t.Error("after 60 days")
	}
	for n := range 10 {
		k.table.Wrote(t.Context(), "ana@our.example", fmt.Sprintf("s%c@x.example", 'a'+n))
	}
	if !know("ana@our.example", "sc@x.example") || know("ana@our.example", "sd@x.example") {
		t.Error("a day's bound")
	}
}

func TestCommands(t *testing.T) {
	k := newKit(t, Options{AutoPass: 1})
	a := &Admin{Store: k.store, Now: func() time.Time { return k.wall }}
	k.ask("192.0.2.1", "a/b@x.example", "c/d@our.example")
	k.pass(time.Hour)
	k.ask("192.0.2.1", "a/b@x.example", "c/d@our.example")
	k.ask("198.51.100.1", "\xff\n@y.example", "e@our.example")
	k.table.Wrote(t.Context(), "ana@our.example", "bob@x.example")
	list := func(f Filter) []Entry {
		page, more, err := a.List(t.Context(), f)
		if err != nil || more {
			t.Fatal(err, more)
		}
		return page
	}
	all := list(Filter{})
	if len(all) != 4 {
		t.Fatalf("%+v", all)
	}
	for _, f := range []Filter{
		{Sender: "a/b@x.example"}, {Client: "198.51.100.77"}, {Client: "198.51.100.0/23"}, {Recipient: "E@our.example"}, {Waiting: true}, {Kind: KindClient}, {Kind: KindPair}, {Sender: "@y.example"},
	} {
		if got := list(f); len(got) != 1 {
			t.Errorf("%+v: %+v", f, got)
		}
	}
	if got := list(Filter{Recipient: "c/d@our.example"}); len(got) != 1 || got[0].Waiting || got[0].Last.Sub(got[0].First) != time.Hour || !got[0].Last.Equal(k.wall) {
		t.Errorf("%+v", got)
	}
	if _, _, err := a.List(t.Context(), Filter{Kind: "x"}); !errors.Is(err, ErrUnclear) {
		t.Error(err)
	}
	// The strange one is forgotten by the key that was shown.
	waiting := list(Filter{Waiting: true})
	if !strings.HasPrefix(waiting[0].Key, hexPrefix) {
		t.Errorf("%q", waiting[0].Key)
	}
	if err := a.Forget(t.Context(), []string{waiting[0].Key}); err != nil || len(list(Filter{})) != 3 {
		t.Error(err)
	}
	for _, bad := range []string{"conduct/ban/1", clockKey, "hex:zz", ""} {
		if err := a.Forget(t.Context(), []string{bad}); !errors.Is(err, ErrUnclear) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "x.example", "@", "@a b", "fe80::1%eth0"} {
		if _, err := a.Pass(t.Context(), bad, 0); !errors.Is(err, ErrUnclear) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if e, err := a.Pass(t.Context(), "203.0.113.9", time.Hour); err != nil || e.Client != "203.0.113.0" {
		t.Errorf("%+v %v", e, err)
	}
	if got := k.ask("203.0.113.200", "z@z", "y@y"); got.Reason != Commanded {
		t.Errorf("%+v", got)
	}
	// Pages.
	n, f := 0, Filter{Limit: 2}
	for {
		page, more, err := a.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if n += len(page); !more {
			break
		}
		f.After = page[len(page)-1].Key
	}
	if n != 4 {
		t.Errorf("%d in pages", n)
	}
}

// TestPlainSender are the rewritings that postgrey does.
func TestPlainSender(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a@b": "a@b", "nodomain+x": "nodomain+x", "a+b+c@d": "a@d", "+b@d": "@d", "a1-22_3-44@d": "a1-22_3-#@d", "12.x34.56@d": "#.x34.#@d",
		"prvs=0123456789=u@d": "u@d", "prvs=u=0123456789@d": "u@d", "prvs=u=v@d": "v@d", "prvs=x=@d": "prvs=x=@d", "prvs==x@d": "x@d", "prvs=a=b=c@d": "prvs=a=b=c@d",
		"PRVS=0123456789=u@d": "PRVS=#=u@d", "7@d": "#@d", "ü9@d": "ü#@d", "9@9@9": "#@9@9",
	} {
		if got := plainSender(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.WriteString(text)
		return f.Name()
	}
	c, problems := ReadClients(file("# x\n\n good.example # why\r\n/^mx\\d+\\./\n192.0.2.1\n198.51.100.0/25\n203.0.113\n10.11\n2001:db8::/32\n"), filepath.Join(dir, "none.local"))
	if len(problems) != 1 || !problems[0].Warning || problems[0].Line != 8 || c.Len() != 7 {
		t.Fatalf("%v, %d", problems, c.Len())
	}
	for in, want := range map[[2]string]bool{
		{"good.example", ""}: true, {"a.GOOD.example", ""}: true, {"notgood.example", ""}: false, {"good.example.org", ""}: false, {"MX7.x", ""}: true, {"", ""}: false,
		{"", "192.0.2.1"}: true, {"", "192.0.2.2"}: false, {"", "198.51.100.127"}: true, {"", "198.51.100.128"}: false, {"", "203.0.113.255"}: true, {"", "203.0.114.1"}: false,
		{"", "10.11.200.1"}: true, {"", "10.12.0.1"}: false, {"", "2001:db8:1::1"}: true, {"", "2001:db9::1"}: false, {"", "::ffff:192.0.2.1"}: true,
		{strings.Repeat("a.", 600) + "good.example", ""}: false,
	} {
		a, _ := netip.ParseAddr(in[1])
		if c.Match(in[0], a) != want {
			t.Errorf("%q: want %v", in, want)
		}
	}
	r, problems := ReadRecipients(file("postmaster@\nabuse@list.example\nopen.example\n/^info/\n"))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	for in, want := range map[string]bool{
		"Postmaster@any": true, "postmaster+x@any": true, "postmaster+@any": false, "postmaster": false, "abuse@list.example": true, "abuse+a+b@LIST.example": true,
		"abuse@x.list.example": false, "u@open.example": true, "u@sub.open.example": true, "u@notopen.example": false, "info-3@x": true, "u@open.example@x": false, "": false,
		"open.example": false, "x.open.example": true,
	} {
		if r.Match(in) != want {
			t.Errorf("%q: want %v", in, want)
		}
	}
	for _, bad := range []string{"a b", "/(?=x)/", "/a(/", "1.2.3.4.5", "300.1.1.1", "1.2.3.4/33", "::gg::", strings.Repeat("x", 5000)} {
		if _, problems := ReadClients(file("ok.example\n" + bad + "\n")); len(problems) != 1 || problems[0].Warning || problems[0].Line != 2 {
			t.Errorf("%.20q: %v", bad, problems)
		}
	}
	for _, bad := range []string{"a b@c", "/[/"} {
		if _, problems := ReadRecipients(file(bad)); len(problems) != 1 {
			t.Errorf("%q: %v", bad, problems)
		}
	}
	if _, problems := ReadClients(filepath.Join(dir, "none")); len(problems) != 1 || problems[0].Line != 0 {
		t.Error(problems)
	}
	var none *Clients
	var nobody *Recipients
	if none.Match("x", netip.Addr{}) || none.Len() != 0 || nobody.Match("x@y") {
		t.Error("nil lists")
	}
}

func FuzzLists(f *testing.F) {
	f.Add("good.example\n1.2\n1.2.3\n/x+/\n::1\n", "a.good.example", "u+x@good.example")
	f.Add("postmaster@\n/[/\n1.2.3.4/99\n#\n a b\n", "", "@")
	f.Fuzz(func(t *testing.T, text, name, addr string) {
		c := &Clients{names: map[string]bool{}, nets: map[netip.Prefix]bool{}}
		for _, p := range parseList("f", []byte(text), c.add) {
			if p.Line < 1 || p.Text == "" || strings.ContainsAny(p.Error(), "\n\x00\x1b") {
				t.Fatalf("%q", p.Error())
			}
		}
		c.Match(name, netip.AddrFrom4([4]byte{1, 2, 3, 4}))
		r := &Recipients{names: map[string]bool{}}
		parseList("f", []byte(text), r.add)
		r.Match(addr)
		if n := c.Len(); n > strings.Count(text, "\n")+1 {
			t.Fatalf("%d entries", n)
		}
	})
}

// FuzzKey: a triplet's key is bounded, never another table's, and the rewriting
// of a sender is stable but for signs that it uncovers.
func FuzzKey(f *testing.F) {
	f.Add("prvs=0123456789=u+x@d", "r@d")
	f.Add("9@\xff", "")
	f.Fuzz(func(t *testing.T, sender, rcpt string) {
		k := tripletKey("192.0.2.0", sender, rcpt)
		if len(k) > 1000 || !strings.HasPrefix(k, tripletPrefix) {
			t.Fatalf("%q", k)
		}
		if tripletKey("192.0.2.0", strings.ToUpper(lower(sender)), rcpt) == "" || len(plainSender(sender)) > len(sender) {
			t.Fatalf("%q becomes %q", sender, plainSender(sender))
		}
		if in, ok := inKey(outKey(k)); !ok || in != k {
			t.Fatalf("%q", k)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	k := newKit(b, Options{Store: store.NewMemory(), AutoPass: 5})
	q := Request{Client: netip.MustParseAddr("192.0.2.1"), Sender: "user@x.example", Recipient: "b@our.example"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.table.Check(context.Background(), &q); err != nil {
			b.Fatal(err)
		}
	}
}
