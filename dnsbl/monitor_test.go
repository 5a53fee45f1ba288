package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/resolver"
	"garita/store"
)

const (
	spammer = "198.51.100.9"
	good    = "198.51.100.20"
)

func listedName(a string) string { return strings.TrimSuffix(AddressName(addr(a), "x"), ".x") }

// well makes a kit with one list that is well and has the spammer.
func well(t *testing.T, o Options, more ...List) *kit {
	k := newKit(t, o, append([]List{v4("bl")}, more...)...)
	k.w.set("bl.example", honest(listedName(spammer)))
	for _, l := range more {
		k.w.set(l.Zone, honest(listedName(spammer)))
	}
	k.m.Probe(t.Context())
	k.want(0, Healthy, "")
	k.wantEvents(0)
	return k
}

func TestUnprovedDoesNotCount(t *testing.T) {
	k := newKit(t, Options{}, v4("bl"))
	k.w.set("bl.example", honest(listedName(spammer)))
	if a := k.ask(spammer)[0]; a.State != Skipped {
		t.Errorf("%+v", a)
	}
	k.m.ProbeDue(t.Context())
	if a := k.ask(spammer)[0]; a.State != Listed || a.Weight != 3 || a.Code != addr("127.0.0.2") {
		t.Errorf("%+v", a)
	}
	if a := k.ask(good)[0]; a.State != Clean {
		t.Errorf("%+v", a)
	}
}

// TestSick: D-01, D-02, D-03, and the ways in which lists have died. The first
// mail after the death, before any probe, is not believed either.
func TestSick(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(string) ([]netip.Addr, error)
		why    Reason
		mail   int // until it is suspended without a probe
		quick  bool
	}{
		{"ORDB 2008 D-02", always("127.0.0.2"), Everything, 1, false},
		{"SpamCop 2021 D-03", always("192.0.2.80"), Parked, 1, false},
		{"DSBL", silence, Silent, maxFailures, true},
		{"Spamhaus D-01", always("127.255.255.254"), Refuses, 1, true},
		{"mixed D-05", always("127.0.0.2", "127.255.255.255"), Refuses, 1, true},
		{"SORBS", nothing, Empty, -1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := well(t, Options{})
			k.w.set("bl.example", c.answer)
			for n := range max(c.mail, 1) {
				if a := k.ask(fmt.Sprintf("198.51.100.%d", 20+n))[0]; a.State == Listed {
					t.Fatalf("a good client is listed: %+v", a)
				}
			}
			if c.mail < 0 {
				k.want(0, Healthy, "")
				k.move(31 * time.Minute)
				k.m.ProbeDue(t.Context())
			}
			k.want(0, Suspended, c.why)
			k.wantEvents(1)
			before := k.w.count("")
			if a := k.ask(good)[0]; a.State != Skipped || k.w.count("") != before {
				t.Errorf("it is asked: %+v", a)
			}
			k.move(6 * time.Minute)
			k.m.ProbeDue(t.Context())
			k.want(0, Suspended, c.why)
			k.wantEvents(1) // told once
			// It heals.
			k.w.set("bl.example", honest(listedName(spammer)))
			k.move(6 * time.Minute)
			k.m.ProbeDue(t.Context())
			if c.quick {
				k.want(0, Healthy, "")
			} else {
				k.want(0, Suspended, c.why)
				k.move(6 * time.Minute)
				k.m.ProbeDue(t.Context())
				k.want(0, Probation, c.why)
				if a := k.ask(spammer)[0]; a.State != Skipped {
					t.Errorf("on probation it counts: %+v", a)
				}
				k.move(6 * time.Minute)
				k.m.ProbeDue(t.Context())
				k.want(0, Healthy, "")
			}
			k.wantEvents(2)
			if a := k.ask(spammer)[0]; a.State != Listed {
				t.Errorf("healed: %+v", a)
			}
		})
	}
}

// TestProbeFinds: what the probe finds by itself, at the start too.
func TestProbeFinds(t *testing.T) {
	neg := func(name string) ([]netip.Addr, error) { // lists loopback
		if strings.HasSuffix(name, ".127") {
			return []netip.Addr{addr("127.0.0.2")}, nil
		}
		return nil, resolver.ErrNoName
	}
	for name, c := range map[string]struct {
		answer func(string) ([]netip.Addr, error)
		why    Reason
	}{
		"everything": {always("127.0.0.2"), Everything}, "loopback": {neg, Everything}, "parked": {always("192.0.2.1"), Parked},
		"silent": {silence, Silent}, "empty": {nothing, Empty}, "refuses": {always("127.255.255.255"), Refuses},
		"everything with another code": {always("127.0.9.9"), Everything},
	} {
		k := newKit(t, Options{}, v4("bl"))
		k.w.set("bl.example", c.answer)
		k.m.Probe(t.Context())
		if s := k.m.Status()[0]; s.Health != Suspended || s.Reason != c.why || s.Detail == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestKindsAreProbed: IPv6 and domain lists by their own entries, and those
// that a list has instead.
func TestKindsAreProbed(t *testing.T) {
	six := List{Name: "six", Zone: "six.example", Kinds: Address4 | Address6, Weight: 1}
	dom := List{Name: "dom", Zone: "dom.example", Kinds: Helo | URL, Weight: 1}
	own := List{Name: "own", Zone: "own.example", Kinds: URL, Weight: 1, Test: Test{ListedName: "test.here.example", CleanName: None}}
	bare := List{Name: "bare", Zone: "bare.example", Kinds: Address4, Weight: 1, Test: Test{Listed4: None, Clean4: None, NoStranger: true}}
	k := newKit(t, Options{}, six, dom, own, bare)
	k.w.set("six.example", honest())
	k.w.set("dom.example", honest())
	k.w.set("own.example", honest("test.here.example"))
	k.w.set("bare.example", silence)
	k.m.Probe(t.Context())
	for i := range 4 {
		k.want(i, Healthy, "")
	}
	for name, n := range map[string]int{"test.dom.example": 1, "invalid.dom.example": 2, "test.here.example.own.example": 1, "f.f.f.f.0": 2, "bare.example": 0} {
		if got := k.w.count(name); got != n {
			t.Errorf("%s was asked %d times, want %d", name, got, n)
		}
	}
	k.w.set("six.example", honest("1.0.0.0.0.0.f.7.f.f.f.f"+strings.Repeat(".0", 20))) // ::ffff:127.0.0.1
	k.w.set("dom.example", honest("invalid"))
	k.move(time.Hour)
	k.m.ProbeDue(t.Context())
	k.want(0, Suspended, Everything)
	k.want(1, Suspended, Everything)
}

// TestStaleListing: what was listed while the list was sick is not believed
// from a cache after it healed.
func TestStaleListing(t *testing.T) {
	k := well(t, Options{})
	k.w.set("bl.example", always("127.0.0.2"))
	name := k.m.Lists()[0].AddressNameOf(addr(good))
	k.w.remember(t.Context(), name)
	if a := k.ask(good)[0]; a.State != Doubted {
		t.Fatalf("%+v", a)
	}
	k.w.set("bl.example", honest(listedName(spammer)))
	for range 3 {
		k.move(6 * time.Minute)
		k.m.ProbeDue(t.Context())
	}
	k.want(0, Healthy, "")
	if a := k.ask(good)[0]; a.State != Doubted {
		t.Errorf("%+v", a)
	}
	if a := k.ask(spammer)[0]; a.State != Listed {
		t.Errorf("%+v", a)
	}
}

// TestHysteresis: who falls ill again soon has to be well for longer.
func TestHysteresis(t *testing.T) {
	k := well(t, Options{})
	next := 0
	rounds := func() (n int) {
		k.w.set("bl.example", always("127.0.0.2"))
		next++ // what was doubted once is not asked about again
		k.ask(fmt.Sprintf("203.0.113.%d", next))
		k.want(0, Suspended, Everything)
		k.w.set("bl.example", honest())
		for k.m.Status()[0].Health != Healthy {
			if n++; n > 20 {
				t.Fatal("never healed")
			}
			k.move(6 * time.Minute)
			k.m.ProbeDue(t.Context())
		}
		return n
	}
	if a, b, c := rounds(), rounds(), rounds(); a != 3 || b != 5 || c != 9 {
		t.Errorf("%d, %d, %d rounds", a, b, c)
	}
	k.move(25 * time.Hour)
	k.m.ProbeDue(t.Context())
	if n := rounds(); n != 3 {
		t.Errorf("after a day %d rounds", n)
	}
}

// TestConfirmedOnce: one question about a stranger's name serves a confirmed
// listing for as long as it is remembered.
func TestConfirmedOnce(t *testing.T) {
	k := well(t, Options{})
	n := k.w.count("")
	k.ask(spammer)
	if got := k.w.count("") - n; got != 2 {
		t.Errorf("%d questions", got)
	}
	name := k.m.Lists()[0].AddressNameOf(addr(spammer))
	k.w.remember(t.Context(), name)
	q := []Question{{List: k.m.Lists()[0], Name: name, Subject: spammer}}
	n = k.w.count("")
	if a, err := k.m.Ask(resolver.FromCache(t.Context()), q, nil); err != nil || a[0].State != Listed || k.w.count("") != n {
		t.Errorf("%+v, %v", a, err)
	}
	k.move(2 * time.Hour)
	if _, err := k.m.Ask(resolver.FromCache(t.Context()), q, nil); !errors.Is(err, resolver.ErrNotCached) {
		t.Errorf("unconfirmed: %v", err)
	}
}

// TestConfirmShared: many at once need few questions, and a list that lists
// everything deceives none of them.
func TestConfirmShared(t *testing.T) {
	k := well(t, Options{})
	k.w.set("bl.example", always("127.0.0.2"))
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			w := k.m.Lists()[0]
			a := fmt.Sprintf("203.0.113.%d", i)
			out, err := k.m.Ask(context.Background(), []Question{{List: w, Name: w.AddressNameOf(addr(a)), Subject: a}}, nil)
			if err != nil || out[0].State == Listed {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	group.Wait()
	k.want(0, Suspended, Everything)
	k.wantEvents(1)
}

// TestDeadline: one list that hangs costs one deadline, not one for each list,
// and the client's going is no fault of a list.
func TestDeadline(t *testing.T) {
	k := well(t, Options{}, v4("b2"))
	k.w.waited = func(ctx context.Context, name string) {
		if name == listedName(spammer) {
			<-ctx.Done()
		}
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := k.m.Lists()[0]
		out, err := k.m.Ask(ctx, []Question{{List: w, Name: w.AddressNameOf(addr(spammer))}}, nil)
		if err != nil || out[0].State != Failed {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	k.want(0, Healthy, "")
	for range maxFailures {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		w := k.m.Lists()[0]
		_, _ = k.m.Ask(ctx, []Question{{List: w, Name: w.AddressNameOf(addr(spammer))}, {List: k.m.Lists()[1], Name: k.m.Lists()[1].AddressNameOf(addr(good))}}, nil)
		cancel()
	}
	k.want(0, Suspended, Silent)
	k.want(1, Healthy, "")
}

// TestBrownOut is D-19: a list that answers rightly and slowly is suspended.
func TestBrownOut(t *testing.T) {
	k := well(t, Options{})
	w := k.m.Lists()[0]
	for range maxSlow - 1 {
		k.m.answered(w, 2500*time.Millisecond)
	}
	k.m.answered(w, time.Millisecond)
	for range maxSlow - 1 {
		k.m.answered(w, 2500*time.Millisecond)
	}
	k.want(0, Healthy, "")
	k.m.answered(w, 2500*time.Millisecond)
	k.want(0, Suspended, Silent)
	k.move(time.Minute + 10*time.Second)
	k.m.ProbeDue(t.Context())
	k.want(0, Healthy, "")
}

// TestJump: a list that denies strangers but lists nearly all clients.
func TestJump(t *testing.T) {
	broad := func(name string) ([]netip.Addr, error) {
		if strings.HasSuffix(name, ".113.0.203") {
			return []netip.Addr{addr("127.0.0.2")}, nil
		}
		return honest()(name)
	}
	k := well(t, Options{}, v4("b2"))
	for i := range 4 * windowMin {
		k.ask(fmt.Sprintf("198.18.%d.%d", i/200, i%200))
	}
	k.w.set("bl.example", broad)
	for i := range windowMin {
		k.ask(fmt.Sprintf("203.0.113.%d", i))
	}
	k.move(11 * time.Minute) // the window with the old answers ends
	for i := range windowMin {
		k.ask(fmt.Sprintf("203.0.113.%d", 100+i))
	}
	k.want(0, Suspended, Jump)
	k.want(1, Healthy, "")

	// A wave of bots that another list sees as well is no fault.
	k = well(t, Options{}, v4("b2"))
	k.w.set("bl.example", broad)
	k.w.set("b2.example", broad)
	for i := range 2 * windowMin {
		k.ask(fmt.Sprintf("203.0.113.%d", i))
	}
	k.want(0, Healthy, "")
	k.want(1, Healthy, "")
	if s := k.m.Status()[0]; s.Answers["listed"] != 2*windowMin {
		t.Errorf("%+v", s)
	}
}

// TestGoodPeers: a peer known for good mail is not given up for one list, and
// two of them suspend it; what two lists say is believed.
func TestGoodPeers(t *testing.T) {
	k := well(t, Options{}, v4("b2"), List{Name: "wl", Zone: "wl.example", Kinds: Address4, Weight: -2})
	ask := func(a string) Answers {
		var qs []Question
		for _, w := range k.m.Lists() {
			qs = append(qs, Question{List: w, Name: w.AddressNameOf(addr(a)), Subject: a, Good: true})
		}
		out, err := k.m.Ask(t.Context(), qs, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	k.w.set("wl.example", honest())
	if a := ask(spammer); a[0].State != Listed || a[1].State != Listed {
		t.Errorf("%+v", a)
	}
	k.w.set("bl.example", honest(listedName("203.0.113.1"), listedName("203.0.113.2"), listedName("203.0.113.3")))
	if a := ask("203.0.113.1"); a[0].State != Doubted {
		t.Errorf("%+v", a)
	}
	k.want(0, Healthy, "")
	if a := ask("203.0.113.2"); a[0].State != Doubted {
		t.Errorf("%+v", a)
	}
	k.want(0, Suspended, GoodPeers)

	// One on an allow list is such a peer.
	k = well(t, Options{}, List{Name: "wl", Zone: "wl.example", Kinds: Address4, Weight: -2})
	if a := k.ask(spammer); a[0].State != Doubted || a[1].State != Listed || a[1].Weight != -2 {
		t.Errorf("%+v", a)
	}
}

// TestGroup: lists of the same data do not confirm each other.
func TestGroup(t *testing.T) {
	a, b := v4("ga"), v4("gb")
	a.Group, b.Group = "g", "g"
	k := newKit(t, Options{}, a, b)
	k.w.set("ga.example", honest(listedName(spammer)))
	k.w.set("gb.example", honest(listedName(spammer)))
	k.m.Probe(t.Context())
	var qs []Question
	for _, w := range k.m.Lists() {
		qs = append(qs, Question{List: w, Name: w.AddressNameOf(addr(spammer)), Subject: spammer, Good: true})
	}
	if out, err := k.m.Ask(t.Context(), qs, nil); err != nil || out[0].State != Doubted || out[1].State != Doubted {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestEnough(t *testing.T) {
	k := well(t, Options{}, v4("b2"))
	hold := make(chan struct{})
	k.w.waited = func(ctx context.Context, name string) {
		if name == listedName("203.0.113.7") {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
	}
	qs := []Question{{List: k.m.Lists()[0], Name: k.m.Lists()[0].AddressNameOf(addr(spammer)), Subject: "s"},
		{List: k.m.Lists()[1], Name: k.m.Lists()[1].AddressNameOf(addr("203.0.113.7")), Subject: "s"}}
	out, err := k.m.Ask(t.Context(), qs, func(have Answers, asked []bool) bool { return asked[0] && have[0].State == Listed })
	close(hold)
	if err != nil || out[0].State != Listed || out[1].State != Unknown {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestRestart: health is kept, a sick list does not count after a restart
// either, and one that was well an hour ago is believed at once.
func TestRestart(t *testing.T) {
	s, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := well(t, Options{Store: s}, v4("b2"))
	k.w.set("b2.example", always("127.0.0.2"))
	k.ask(good)
	k.want(1, Suspended, Everything)
	k.make(Options{Store: s}, v4("bl"), v4("b2"))
	k.want(0, Healthy, "")
	k.want(1, Suspended, Everything)
	k.wantEvents(1)
	k.m.ProbeDue(t.Context()) // at the start all are due
	if k.m.Status()[0].Probed.IsZero() || k.m.Status()[1].Probed.IsZero() {
		t.Error("not probed at the start")
	}
	k.move(2 * time.Hour)
	k.make(Options{Store: s}, v4("bl"), v4("b2"))
	k.want(0, Probation, Unproved)
	k.want(1, Suspended, Everything)
	// A clock that goes back makes nothing of it true.
	k.move(-100 * time.Hour)
	k.make(Options{Store: s}, v4("bl"), v4("b2"))
	k.want(0, Probation, Unproved)
}

func TestReload(t *testing.T) {
	k := well(t, Options{}, v4("b2"))
	k.w.set("b2.example", always("192.0.2.1"))
	k.ask(spammer)
	old := k.m
	changed := v4("bl")
	changed.Zone = "other.example"
	k.make(Options{Previous: old}, changed, v4("b2"))
	k.want(0, Probation, Unproved)
	k.want(1, Suspended, Parked)
	if k.m.Status()[1].Answers["foreign"] != 1 {
		t.Errorf("%+v", k.m.Status()[1])
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no DNS": {Lists: []List{v4("a")}}, "twice": {Resolver: newWorld(), Lists: []List{v4("a"), v4("a")}},
		"bad": {Resolver: newWorld(), Lists: []List{{Name: "a"}}}, "many": {Resolver: newWorld(), Lists: make([]List, MaxLists+1)},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	var none *Monitor
	if len(none.Status()) != 0 {
		t.Error("a status of nothing")
	}
}

// TestStart: the probes begin by themselves, and Close ends them.
func TestStart(t *testing.T) {
	k := newKit(t, Options{}, v4("bl"))
	probed := make(chan struct{}, 10)
	k.w.set("bl.example", func(name string) ([]netip.Addr, error) {
		probed <- struct{}{}
		return honest()(name)
	})
	k.m.Start()
	<-probed
	k.m.Close()
}

// TestNoKey: nothing that is shown or kept has the key.
func TestNoKey(t *testing.T) {
	s := store.NewMemory()
	l := v4("bl")
	l.Key, l.TXT = "s3cretkey", true
	k := newKit(t, Options{Store: s}, l)
	name := k.m.Lists()[0].AddressNameOf(addr(spammer))
	if !strings.Contains(name, "s3cretkey") {
		t.Fatal(name)
	}
	k.w.texts = map[string][]string{name: {"see " + name + "\r\n250 ok"}}
	if got := k.m.Reason(t.Context(), Question{List: k.m.Lists()[0], Name: name}); got != "see 9.100.51.198.***.bl.example 250 ok" {
		t.Error(got)
	}
	for _, f := range []func(string) ([]netip.Addr, error){silence, always("192.0.2.1"), always("127.255.255.252")} {
		k.w.set("bl.example", f)
		k.m.Probe(t.Context())
		k.ask(good)
	}
	items, _ := s.List(t.Context(), "", "", 10)
	if text := fmt.Sprintf("%+v %q %+v %s", k.events, k.logged, k.m.Status(), items); strings.Contains(text, "s3cretkey") {
		t.Error(text)
	}
}

// TestNamesAreBounded: the memory of names does not grow beyond its bound.
func TestNamesAreBounded(t *testing.T) {
	var n names
	now := time.Now()
	for i := range 3 * maxNames {
		n.add(fmt.Sprint(i), now.Add(time.Hour), now)
	}
	if len(n.until) > maxNames {
		t.Error(len(n.until))
	}
	var w wires
	for i := range 10 * maxPeers {
		w.peer(fmt.Sprint(i), now)
	}
	if len(w.peers) > maxPeers {
		t.Error(len(w.peers))
	}
	if !slices.Equal(strings.Fields(Kind(0x3f).String()), kindNames()) {
		t.Error(Kind(0x3f))
	}
}
