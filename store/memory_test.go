package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a wall clock and a steady one that tests turn.
type clock struct{ wall, steady atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.wall.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time            { return time.Unix(0, c.wall.Load()).UTC() }
func (c *clock) elapsed() time.Duration    { return time.Duration(c.steady.Load()) }
func (c *clock) jump(d time.Duration)      { c.wall.Add(int64(d)) }
func (c *clock) pass(d time.Duration)      { c.wall.Add(int64(d)); c.steady.Add(int64(d)) }
func (c *clock) config(path string) Config { return Config{Path: path, Now: c.now, Steady: c.elapsed} }
func memoryWith(c *clock, n int) *Memory   { k := c.config(""); k.Entries = n; return NewMemoryWith(k) }
func (m *Memory) used(t *testing.T, key string, span time.Duration) int64 {
	t.Helper()
	_, u, err := m.Reserve(t.Context(), []Window{{Key: key, Span: span}})
	if err != nil {
		t.Fatal(err)
	}
	return u[0].Used
}

func reserve(t *testing.T, m *Memory, w ...Window) (Reservation, []Usage) {
	t.Helper()
	r, u, err := m.Reserve(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return r, u
}

func TestReserveAllOrNothing(t *testing.T) {
	m := memoryWith(newClock(), 100_000)
	hour := Window{Key: "user/a", Span: time.Hour, Max: 3, Cost: 2}
	day := Window{Key: "user/a", Span: 24 * time.Hour, Max: 2, Cost: 1}
	r, u := reserve(t, m, hour, day)
	if r == nil || u[0].Used != 2 || u[1].Used != 1 || u[0].Max != 3 {
		t.Fatalf("%v %+v", r, u)
	}
	// The hour is full: the day is not counted.
	r, u = reserve(t, m, hour, day)
	if r != nil || !u[0].Over || u[1].Over || u[0].Used != 2 || u[1].Used != 1 {
		t.Fatalf("%v %+v", r, u)
	}
	// Two windows of one key and different spans are two windows.
	if got := m.used(t, "user/a", 24*time.Hour); got != 1 {
		t.Errorf("the day has %d", got)
	}
	// The same window twice in one act counts twice.
	two := Window{Key: "twice", Span: time.Hour, Max: 3, Cost: 2}
	if r, _ := reserve(t, m, two, two); r != nil {
		t.Error("4 of 3 were let through")
	}
	if got := m.used(t, "twice", time.Hour); got != 0 {
		t.Errorf("a refused act left %d", got)
	}
}

func TestReserveWrong(t *testing.T) {
	m := NewMemory()
	for _, w := range []Window{{Span: 1}, {Key: "a"}, {Key: "a", Span: -1}, {Key: "a", Span: 1, Cost: -1}, {Key: "a", Span: 1, Max: -1},
		{Key: "a", Span: 1, Buckets: -1}, {Key: "a", Span: 1, Buckets: MaxBuckets + 1}} {
		if _, _, err := m.Reserve(t.Context(), []Window{w}); err == nil {
			t.Errorf("%+v was taken", w)
		}
	}
	if _, _, err := m.Reserve(t.Context(), make([]Window, maxWindows+1)); err == nil {
		t.Error("17 windows were taken")
	}
	long := Window{Key: string(make([]byte, maxKey+1)), Span: 1}
	if _, _, err := m.Reserve(t.Context(), []Window{long}); !errors.Is(err, ErrTooBig) {
		t.Errorf("long key: %v", err)
	}
	huge := Window{Key: "h", Span: time.Hour, Cost: math.MaxInt64}
	reserve(t, m, huge)
	reserve(t, m, huge)
	if got := m.used(t, "h", time.Hour); got != math.MaxInt64 {
		t.Errorf("sum of huge costs: %d", got)
	}
	if r, u := reserve(t, m, Window{Key: "x", Span: time.Hour, Max: 1, Cost: 2}); r != nil || u[0].Free != Never {
		t.Errorf("more than Max: %v %+v", r, u)
	}
}

func TestRefund(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	w := Window{Key: "k", Span: time.Minute, Max: 2, Cost: 1}
	a, _ := reserve(t, m, w)
	b, _ := reserve(t, m, w)
	b.Commit()
	b.Refund() // ended: nothing
	a.Refund()
	a.Refund()
	if got := m.used(t, "k", time.Minute); got != 1 {
		t.Fatalf("after one refund of two: %d", got)
	}
	// A refund that comes after its act has left the window takes nothing from
	// what came later.
	x, _ := reserve(t, m, w)
	c.pass(2 * time.Minute)
	reserve(t, m, w)
	x.Refund()
	if got := m.used(t, "k", time.Minute); got != 1 {
		t.Errorf("late refund: %d", got)
	}
}

// The window against the truth: within any stretch of the span no more than Max
// pass, and an act is forgotten after nine eighths of it.
func TestWindowNeverExceeds(t *testing.T) {
	for i, span := range []time.Duration{time.Minute, 10 * time.Millisecond, 7, time.Hour, time.Hour, 7, 24 * time.Hour, time.Hour, 10} {
		parts := []int{0, 8, 0, 0, 60, 60, MaxBuckets, 1, 3}[i]
		longest := span + span/time.Duration(max(parts, 1)) + 2*MaxBuckets
		if parts == 0 {
			longest = span + span/8 + 18
		}
		c := newClock()
		m := memoryWith(c, 100_000)
		r := rand.New(rand.NewPCG(1, uint64(span)))
		const most = 20
		var passed []int64
		for range 20_000 {
			c.pass(time.Duration(r.Int64N(int64(span)/10 + 2)))
			now := c.steady.Load()
			res, u := reserve(t, m, Window{Key: "k", Span: span, Max: most, Cost: 1, Buckets: parts})
			if res != nil {
				passed = append(passed, now)
				if n := len(passed); n > most && now-passed[n-1-most] <= int64(span) {
					t.Fatalf("span %v: %d acts within %v", span, most+1, time.Duration(now-passed[n-1-most]))
				}
				continue
			}
			// Refused: then Max acts lie within the span and a part, rounded up.
			if old := passed[len(passed)-most]; now-old > int64(longest) {
				t.Fatalf("span %v: refused for an act of %v ago", span, time.Duration(now-old))
			}
			if u[0].Free <= 0 || u[0].Free > longest {
				t.Fatalf("span %v: free in %v", span, u[0].Free)
			}
			if r.IntN(4) == 0 { // what Free promises holds
				c.pass(u[0].Free)
				if res, _ := reserve(t, m, Window{Key: "k", Span: span, Max: most, Cost: 1, Buckets: parts}); res == nil {
					t.Fatalf("span %v: not free after Free", span)
				}
				passed = append(passed, c.steady.Load())
			}
		}
	}
}

// many at once never exceed the limit, not by one.
func TestReserveConcurrent(t *testing.T) {
	m := NewMemory()
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 500 {
				// In changing order of shards: a lock order would deadlock.
				a, b := Window{Key: "a", Span: time.Hour, Max: 1000, Cost: 1}, Window{Key: "b", Span: time.Hour, Max: 2000, Cost: 1}
				if rand.IntN(2) == 0 {
					a, b = b, a
				}
				r, _, err := m.Reserve(context.Background(), []Window{a, b})
				if err != nil {
					t.Error(err)
				}
				if r == nil {
					continue
				}
				if rand.IntN(3) == 0 {
					r.Refund()
				} else {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := m.used(t, "a", time.Hour); got != passed.Load() || got > 1000 {
		t.Errorf("%d counted, %d passed", got, passed.Load())
	}
}

func TestValues(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	ctx := t.Context()
	if _, ok, _ := m.Get(ctx, "a"); ok {
		t.Error("there is something")
	}
	raw := []byte("one")
	if err := m.Put(ctx, "a", raw, time.Minute); err != nil {
		t.Fatal(err)
	}
	raw[0] = 'X' // the store has its own copy
	got, ok, _ := m.Get(ctx, "a")
	if !ok || string(got) != "one" {
		t.Fatalf("%q %v", got, ok)
	}
	got[0] = 'X'
	if got, _, _ := m.Get(ctx, "a"); string(got) != "one" {
		t.Error("the reader changed the store")
	}
	c.pass(time.Minute)
	if _, ok, _ := m.Get(ctx, "a"); ok {
		t.Error("still there after its time")
	}
	m.Put(ctx, "for/ever", nil, 0)
	c.pass(20 * 365 * 24 * time.Hour)
	if v, ok, _ := m.Get(ctx, "for/ever"); !ok || len(v) != 0 {
		t.Error("0 is for ever")
	}
	m.Delete(ctx, "for/ever")
	if _, ok, _ := m.Get(ctx, "for/ever"); ok {
		t.Error("still there after Delete")
	}
	for _, err := range []error{m.Put(ctx, "", nil, 0), m.Put(ctx, string(make([]byte, maxKey+1)), nil, 0), m.Put(ctx, "k", make([]byte, maxValue+1), 0)} {
		if !errors.Is(err, ErrTooBig) {
			t.Errorf("want ErrTooBig, have %v", err)
		}
	}
}

func TestAddNew(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	add := func(set, member string) bool {
		isNew, err := m.AddNew(t.Context(), set, member, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return isNew
	}
	if !add("s", "x") || add("s", "x") || !add("s2", "x") || !add("s", "") {
		t.Error("wrong answers")
	}
	c.pass(30 * time.Minute)
	add("s", "x")
	c.pass(30 * time.Minute)
	if !add("s", "x") {
		t.Error("asking again prolonged the time")
	}
	if items, _ := m.List(t.Context(), "", "", 10); len(items) != 0 {
		t.Errorf("members stand in List: %v", items)
	}
	// Of many at once, one is new.
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if isNew, _ := m.AddNew(context.Background(), "s", "race", time.Hour); isNew {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d were new", n.Load())
	}
}

func TestList(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	for i := range 25 {
		put := m.Put
		if i%2 == 0 {
			put = m.Keep
		}
		put(t.Context(), fmt.Sprintf("ban/%02d", i), []byte{byte(i)}, time.Duration(i+1)*time.Hour)
	}
	m.Put(t.Context(), "other", nil, 0)
	c.pass(time.Hour) // the first is over
	var got []string
	after := ""
	for {
		page, err := m.List(t.Context(), "ban/", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			got = append(got, i.Key)
			if want := c.now().Add(time.Duration(i.Value[0]) * time.Hour); !i.Expires.Equal(want) {
				t.Errorf("%s expires %v, want %v", i.Key, i.Expires, want)
			}
		}
		after = page[len(page)-1].Key
	}
	if len(got) != 24 || got[0] != "ban/01" || got[23] != "ban/24" {
		t.Errorf("%q", got)
	}
}

func TestWatch(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	ch := m.Watch(ctx, "ban/")
	m.Put(ctx, "ban/1", []byte("x"), time.Minute)
	m.Put(ctx, "other", []byte("x"), 0)
	m.Delete(ctx, "ban/1")
	m.Put(ctx, "ban/2", nil, time.Minute)
	if e := <-ch; e.Key != "ban/1" || string(e.Value) != "x" || e.Deleted {
		t.Errorf("%+v", e)
	}
	if e := <-ch; e.Key != "ban/1" || !e.Deleted || e.Value != nil {
		t.Errorf("%+v", e)
	}
	if e := <-ch; e.Key != "ban/2" || e.Value == nil {
		t.Errorf("%+v", e)
	}
	c.pass(time.Hour)
	m.sweep(&m.shards[m.shardOf("ban/2")], m.now())
	if e := <-ch; e.Key != "ban/2" || !e.Deleted {
		t.Errorf("%+v", e)
	}
	// Nobody reads: writers go on, events are lost and counted.
	for i := range watchRoom + 50 {
		m.Put(ctx, fmt.Sprint("ban/", i), nil, 0)
	}
	if got := m.Stats().Lost; got != 50 {
		t.Errorf("%d lost", got)
	}
	cancel()
	for range ch { // is closed
	}
	closed := m.Watch(t.Context(), "")
	m.Close()
	if _, ok := <-closed; ok {
		t.Error("Close leaves a watch open")
	}
	if err := m.Put(ctx, "k", nil, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// One hostile network with a million keys: bans stay, memory is bounded, and
// counters of busy clients outlive those of a single act.
func TestFloodOfKeys(t *testing.T) {
	m := memoryWith(newClock(), 10_000)
	ctx := t.Context()
	for i := range 500 {
		if err := m.Keep(ctx, fmt.Sprint("ban/", i), []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		reserve(t, m, Window{Key: fmt.Sprint("busy/", i), Span: time.Minute, Max: 100, Cost: 50})
	}
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	for i := range n {
		key := fmt.Sprint("flood/", i)
		switch i % 3 {
		case 0:
			reserve(t, m, Window{Key: key, Span: time.Hour, Max: 100, Cost: 1})
		case 1:
			m.Put(ctx, key, []byte("a value of some length"), 0)
		case 2:
			m.AddNew(ctx, "seen", key, 24*time.Hour)
		}
	}
	st := m.Stats()
	if st.Counters > 10_000+shardCount || st.Values > 10_000+shardCount || st.Kept != 500 || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
	lost := 0
	for i := range 500 {
		if _, ok, _ := m.Get(ctx, fmt.Sprint("ban/", i)); !ok {
			t.Fatalf("ban %d was evicted", i)
		}
		if m.used(t, fmt.Sprint("busy/", i), time.Minute) != 50 {
			lost++
		}
	}
	if lost > 5 {
		t.Errorf("%d of 500 busy counters were evicted", lost)
	}
}

func TestBounds(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 10)
	ctx := t.Context()
	for i := range 10 {
		if err := m.Keep(ctx, fmt.Sprint(i), nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.PutNow(ctx, "one more", nil, 0); !errors.Is(err, ErrFull) {
		t.Errorf("an eleventh: %v", err)
	}
	if err := m.Keep(ctx, "3", []byte("new"), time.Hour); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	c.pass(2 * time.Minute)
	if err := m.Keep(ctx, "one more", nil, 0); err != nil {
		t.Errorf("after the others are over: %v", err)
	}
	// What expires soonest goes first.
	m = memoryWith(c, 10)
	for i := range 11 {
		m.Put(ctx, fmt.Sprint(i), nil, time.Duration(1+(i+5)%10)*time.Hour)
	}
	if _, ok, _ := m.Get(ctx, "5"); ok {
		t.Error("the one that would expire first is still there")
	}
	// Octets count too.
	k := c.config("")
	k.Bytes = 100_000
	m = NewMemoryWith(k)
	for i := range 10_000 {
		m.Put(ctx, fmt.Sprint(i), make([]byte, 8000), 0)
	}
	if st := m.Stats(); st.Values > 4*shardCount {
		t.Errorf("%d values of 8000 octets in a store of 100,000", st.Values)
	}
}

// Memory that has expired is freed by those who add, also without a writer.
func TestExpiredIsFreed(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 1_000_000)
	for i := range 20_000 {
		c.pass(time.Millisecond)
		m.Put(t.Context(), fmt.Sprint(i), nil, time.Second)
		reserve(t, m, Window{Key: fmt.Sprint(i), Span: time.Second, Cost: 1})
	}
	if st := m.Stats(); st.Values > 10_000 || st.Counters > 10_000 || st.Evicted != 0 {
		t.Errorf("%+v", st)
	}
}

// a wall clock that steps while the gateway runs changes nothing.
func TestClockJumpsWhileRunning(t *testing.T) {
	for _, jump := range []time.Duration{-10 * 365 * 24 * time.Hour, 365 * 24 * time.Hour, time.Hour, -time.Hour} {
		c := newClock()
		m := memoryWith(c, 1000)
		m.Keep(t.Context(), "ban", nil, time.Hour)
		w := Window{Key: "k", Span: time.Minute, Max: 1, Cost: 1}
		reserve(t, m, w)
		c.jump(jump)
		if _, ok, _ := m.Get(t.Context(), "ban"); !ok {
			t.Errorf("%v wiped the ban", jump)
		}
		if r, _ := reserve(t, m, w); r != nil {
			t.Errorf("%v wiped the counter", jump)
		}
		c.pass(time.Hour)
		if _, ok, _ := m.Get(t.Context(), "ban"); ok {
			t.Errorf("%v made the ban immortal", jump)
		}
		if r, _ := reserve(t, m, w); r == nil {
			t.Errorf("%v made the counter immortal", jump)
		}
	}
}

// A wall clock alone, without monotonic readings, may step back: that is
// standing still, not ten years of waiting.
func TestClockWithoutSteady(t *testing.T) {
	c := newClock()
	m := NewMemoryWith(Config{Now: c.now})
	m.Put(t.Context(), "k", nil, time.Hour)
	c.jump(-10 * 365 * 24 * time.Hour)
	if _, ok, _ := m.Get(t.Context(), "k"); !ok {
		t.Error("wiped")
	}
	c.jump(time.Hour)
	if _, ok, _ := m.Get(t.Context(), "k"); ok {
		t.Error("immortal")
	}
}

func FuzzWindowRow(f *testing.F) {
	f.Add("k", int64(time.Minute), int64(coarse), int64(100), []byte{1, 2, 3})
	f.Add("k", int64(time.Hour), int64(60), int64(100), []byte{1, 0, 0, 3})
	f.Add("k", int64(1), int64(1), int64(0), []byte{1})
	f.Add("k", int64(math.MaxInt64), int64(coarse), int64(8), []byte{255, 255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, key string, span, parts, newest int64, raw []byte) {
		w, err := decodeWindow(winKey{key, time.Duration(span), parts}, newest, raw)
		if err != nil {
			return
		}
		var sum int64
		for i, c := range w.cells {
			if c.count <= 0 || i > 0 && c.n <= w.cells[i-1].n {
				t.Fatalf("empty or out of order: %v", w.cells)
			}
			sum += c.count
		}
		if sum != w.total {
			t.Fatalf("total %d of %v", w.total, w.cells)
		}
		again, err := decodeWindow(w.id, w.newest, w.encode())
		if err != nil || !slices.Equal(again.cells, w.cells) || again.total != w.total {
			t.Fatalf("%v came back as %v: %v", w, again, err)
		}
		if e := w.expires(); (e == 0) != (w.total == 0) || e < 0 {
			t.Fatalf("expires %d of %v", e, w)
		}
		w.advance(w.expires())
		if w.total != 0 {
			t.Fatalf("something is left after its time: %v", w)
		}
	})
}

// Whatever one window is asked, Count and Reserve answer and count the same.
func TestCountIsReserveOfOneWindow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	a, b := NewMemoryWith(Config{Now: clock}), NewMemoryWith(Config{Now: clock})
	r := rand.New(rand.NewPCG(7, 7))
	over := 0
	for i := range 5000 {
		w := Window{Key: fmt.Sprint("k", r.IntN(3)), Span: time.Minute, Max: int64(r.IntN(40)), Cost: int64(r.IntN(5))}
		switch r.IntN(50) {
		case 0:
			w.Key = ""
		case 1:
			w.Key = strings.Repeat("k", maxKey+1)
		case 2:
			w.Cost = -1
		}
		got, err := a.Count(w)
		var want Usage
		_, us, errR := b.Reserve(context.Background(), []Window{w})
		if errR == nil {
			want = us[0]
		}
		if got != want || err != errR {
			t.Fatalf("turn %d, %v: %v, %v; Reserve: %v, %v", i, w, got, err, want, errR)
		}
		if got.Over {
			over++
		}
		now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
	}
	if over == 0 || over == 5000 {
		t.Errorf("%d of 5000 were over", over)
	}
	if x, y := a.Stats(), b.Stats(); x != y {
		t.Errorf("%v, by Reserve %v", x, y)
	}
	a.Close()
	if _, err := a.Count(Window{Key: "k", Span: time.Minute, Cost: 1}); err != ErrClosed {
		t.Errorf("closed: %v", err)
	}
}

func BenchmarkCount(b *testing.B) {
	m := NewMemory()
	b.ReportAllocs()
	for b.Loop() {
		m.Count(Window{Key: "rate/message/192.0.2.1", Span: time.Minute, Max: 1 << 40, Cost: 1})
	}
}

func BenchmarkReserve(b *testing.B) {
	m := NewMemory()
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprint("rate/connection/192.0.2.", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		i := rand.IntN(1000)
		w := make([]Window, 1)
		for p.Next() {
			i++
			w[0] = Window{Key: keys[i%len(keys)], Span: time.Minute, Max: 1 << 40, Cost: 1}
			m.Reserve(context.Background(), w)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	m := NewMemory()
	m.Put(context.Background(), "k", []byte("value"), 0)
	b.ReportAllocs()
	for b.Loop() {
		m.Get(context.Background(), "k")
	}
}
