// Package storetest is what every engine of package store must do, as one
// suite of tests: the engine memory and the shared ones run the same. It needs
// no clock that can be turned, so it says nothing of how windows slide; each
// engine shows that by itself.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/store"
)

// Run runs the suite. open gives an empty store for each test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"AllOrNothing": allOrNothing, "Refund": refund, "Wrong": wrong, "Peek": peek, "Buckets": buckets,
		"Counters": counters, "History": history, "Race": race, "AddNew": addNew, "Values": values, "Sizes": sizes,
		"Expiry": expiry, "List": list, "Watch": watch, "Hostile": hostile, "Canceled": canceled, "Closed": closed,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func reserve(t *testing.T, s store.Store, w ...store.Window) (store.Reservation, []store.Usage) {
	t.Helper()
	r, u, err := s.Reserve(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return r, u
}

func used(t *testing.T, s store.Store, w store.Window) int64 {
	t.Helper()
	w.Cost = 0
	u, err := s.Peek(t.Context(), []store.Window{w})
	if err != nil {
		t.Fatal(err)
	}
	return u[0].Used
}

// many windows lie on every node of a cluster.
func many(n int, max int64) []store.Window {
	var w []store.Window
	for i := range n {
		w = append(w, store.Window{Key: fmt.Sprintf("scope/%d", i), Span: time.Hour, Max: max, Cost: 1, Buckets: 60})
	}
	return w
}

func allOrNothing(t *testing.T, s store.Store) {
	hour := store.Window{Key: "user/a", Span: time.Hour, Max: 3, Cost: 2, Buckets: 60}
	day := store.Window{Key: "user/a", Span: 24 * time.Hour, Max: 2, Cost: 1, Buckets: 60}
	r, u := reserve(t, s, hour, day)
	if r == nil || u[0].Used != 2 || u[1].Used != 1 || u[0].Max != 3 || u[0].Over || u[0].Free != 0 {
		t.Fatalf("%v %+v", r, u)
	}
	r, u = reserve(t, s, hour, day)
	if r != nil || !u[0].Over || u[1].Over || u[0].Used != 2 || u[1].Used != 1 {
		t.Fatalf("%v %+v", r, u)
	}
	if u[0].Free < time.Hour-time.Minute || u[0].Free > time.Hour+2*time.Minute {
		t.Errorf("free in %v", u[0].Free)
	}
	if got := used(t, s, day); got != 1 {
		t.Errorf("the day has %d", got)
	}
	two := store.Window{Key: "twice", Span: time.Hour, Max: 3, Cost: 2}
	if r, _ := reserve(t, s, two, two); r != nil {
		t.Error("4 of 3 were let through")
	}
	if r, u := reserve(t, s, store.Window{Key: "more", Span: time.Hour, Max: 1, Cost: 2}); r != nil || u[0].Free != store.Never {
		t.Errorf("more than Max: %v %+v", r, u)
	}
	// Of windows on many nodes one refuses: none counts, and it is named.
	all := many(16, 5)
	reserve(t, s, store.Window{Key: "scope/7", Span: time.Hour, Max: 5, Cost: 5, Buckets: 60})
	r, u = reserve(t, s, all...)
	for i := range all {
		want := int64(0)
		if i == 7 {
			want = 5
		}
		if got := used(t, s, all[i]); got != want || u[i].Over != (i == 7) || u[i].Used != want || r != nil {
			t.Errorf("scope %d: %d, %+v", i, got, u[i])
		}
	}
}

func refund(t *testing.T, s store.Store) {
	w := many(16, 2)
	a, _ := reserve(t, s, w...)
	b, _ := reserve(t, s, w...)
	b.Commit()
	b.Refund() // ended: nothing
	a.Refund()
	a.Refund()
	for i := range w {
		if got := used(t, s, w[i]); got != 1 {
			t.Fatalf("scope %d after one refund of two: %d", i, got)
		}
	}
	short := store.Window{Key: "short", Span: 100 * time.Millisecond, Max: 5, Cost: 1}
	x, _ := reserve(t, s, short)
	await(t, "the window to pass", func() bool { return used(t, s, short) == 0 })
	reserve(t, s, short)
	x.Refund()
	if got := used(t, s, short); got > 1 {
		t.Errorf("late refund: %d", got)
	}
}

func wrong(t *testing.T, s store.Store) {
	for _, w := range []store.Window{{Span: 1}, {Key: "a"}, {Key: "a", Span: -1}, {Key: "a", Span: 1, Cost: -1}, {Key: "a", Span: 1, Max: -1},
		{Key: "a", Span: 1, Buckets: store.MaxBuckets + 1}, {Key: strings.Repeat("a", 1025), Span: 1}} {
		if _, _, err := s.Reserve(t.Context(), []store.Window{w}); err == nil {
			t.Errorf("%.50v was counted", w)
		}
		if _, err := s.Peek(t.Context(), []store.Window{w}); err == nil {
			t.Errorf("%.50v was asked", w)
		}
	}
	if _, _, err := s.Reserve(t.Context(), many(17, 1)); err == nil {
		t.Error("17 windows were taken")
	}
	if r, u := reserve(t, s); r == nil || len(u) != 0 {
		t.Error("an act without windows is refused")
	}
}

func peek(t *testing.T, s store.Store) {
	w := store.Window{Key: "p", Span: time.Hour, Max: 3, Cost: 2}
	reserve(t, s, w)
	for range 2 {
		u, err := s.Peek(t.Context(), []store.Window{w, {Key: "never", Span: time.Hour, Max: 1, Cost: 1}})
		if err != nil || !u[0].Over || u[0].Used != 2 || u[1].Over || u[1].Used != 0 {
			t.Fatalf("%+v %v", u, err)
		}
	}
	// Somebody who asks is not refused.
	if r, u := reserve(t, s, store.Window{Key: "p", Span: time.Hour, Max: 1}); r == nil || u[0].Over || u[0].Used != 2 {
		t.Errorf("%+v", u)
	}
}

func buckets(t *testing.T, s store.Store) {
	for _, n := range []int{0, 1, 60, store.MaxBuckets} {
		w := store.Window{Key: "b", Span: time.Hour, Max: 10, Cost: 1, Buckets: n}
		for range 12 {
			reserve(t, s, w)
		}
		if got := used(t, s, w); got != 10 {
			t.Errorf("%d buckets: %d of 10", n, got)
		}
	}
	// A window slides: what is over passes again.
	w := store.Window{Key: "slides", Span: 200 * time.Millisecond, Max: 1, Cost: 1, Buckets: 4}
	reserve(t, s, w)
	await(t, "the window to slide", func() bool { r, _ := reserve(t, s, w); return r != nil })
}

func counters(t *testing.T, s store.Store) {
	for key, n := range map[string]int64{"out/a": 5, "out/b*": 9, "out/c": 1, "in/a": 100, "out": 7} {
		reserve(t, s, store.Window{Key: key, Span: time.Hour, Cost: n, Buckets: 60})
	}
	r, _ := reserve(t, s, store.Window{Key: "out/refunded", Span: time.Hour, Cost: 50})
	r.Refund()
	got, err := s.Counters(t.Context(), "out/", 2)
	want := []store.Counter{{Key: "out/b*", Span: time.Hour, Buckets: 60, Used: 9}, {Key: "out/a", Span: time.Hour, Buckets: 60, Used: 5}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := s.Counters(t.Context(), "out/b*", 10); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}

func history(t *testing.T, s store.Store) {
	day := store.Window{Key: "day/a", Span: 30 * 24 * time.Hour, Buckets: 30, Cost: 3}
	reserve(t, s, day)
	r, _ := reserve(t, s, day)
	r.Refund()
	h, err := s.History(t.Context(), day)
	sum := int64(0)
	for _, n := range h {
		sum += n
	}
	if err != nil || len(h) != 31 || h[0]+h[1] != 3 || sum != 3 {
		t.Errorf("%v %v", h, err)
	}
	if h, err := s.History(t.Context(), store.Window{Key: "nobody", Span: time.Hour}); err != nil || len(h) != 9 {
		t.Errorf("%v %v", h, err)
	}
}

// Attack Q-10: many at once never exceed the limit, not by one.
func race(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	var passed atomic.Int64
	w := []store.Window{{Key: "a", Span: time.Hour, Max: 300, Cost: 1, Buckets: 60}, {Key: "b", Span: time.Hour, Max: 1000, Cost: 1}}
	for range 8 {
		wg.Go(func() {
			for range 80 {
				both := slices.Clone(w)
				if rand.IntN(2) == 0 {
					slices.Reverse(both)
				}
				r, _, err := s.Reserve(context.Background(), both)
				switch {
				case err != nil:
					t.Error(err)
				case r == nil:
				case rand.IntN(3) == 0:
					r.Refund()
				default:
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	a, b := used(t, s, w[0]), used(t, s, w[1])
	if a != passed.Load() || a != b || a > 300 {
		t.Errorf("%d and %d counted, %d passed", a, b, passed.Load())
	}
}

func addNew(t *testing.T, s store.Store) {
	for i, c := range []struct {
		set, member string
		isNew       bool
	}{{"s", "m", true}, {"s", "m", false}, {"t", "m", true}, {"s", "", true}, {"s:m", "x", true}, {"s", "m:x", true}} {
		got, err := s.AddNew(t.Context(), c.set, c.member, time.Hour)
		if err != nil || got != c.isNew {
			t.Errorf("%d: %v %v", i, got, err)
		}
	}
	var wg sync.WaitGroup
	var firsts atomic.Int64
	for range 16 {
		wg.Go(func() {
			if first, err := s.AddNew(context.Background(), "race", "one", time.Hour); err == nil && first {
				firsts.Add(1)
			}
		})
	}
	wg.Wait()
	if firsts.Load() != 1 {
		t.Errorf("%d were the first", firsts.Load())
	}
}

func values(t *testing.T, s store.Store) {
	ctx := t.Context()
	type put = func(context.Context, string, []byte, time.Duration) error
	get := func(want string) {
		t.Helper()
		v, ok, err := s.Get(ctx, "k")
		if err != nil || ok != (want != "") || string(v) != want {
			t.Errorf("%q %v %v, not %q", v, ok, err, want)
		}
	}
	get("")
	// Each way of writing replaces what the others wrote.
	for i, write := range []put{s.Put, s.Keep, s.Put, s.PutNow, s.Keep, s.Put} {
		want := fmt.Sprint("value ", i)
		if err := write(ctx, "k", []byte(want), time.Hour); err != nil {
			t.Fatal(err)
		}
		get(want)
		if items, err := s.List(ctx, "k", "", 10); err != nil || len(items) != 1 || string(items[0].Value) != want {
			t.Errorf("listed: %v %v", items, err)
		}
	}
	for i, del := range []func(context.Context, string) error{s.Delete, s.DeleteNow} {
		if err := []put{s.Keep, s.Put}[i](ctx, "k", []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(del(ctx, "k"), del(ctx, "k")); err != nil {
			t.Error(err)
		}
		get("")
	}
	if err := s.Put(ctx, "empty", nil, 0); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := s.Get(ctx, "empty"); !ok || len(v) != 0 || err != nil {
		t.Errorf("an empty value: %q %v %v", v, ok, err)
	}
}

func sizes(t *testing.T, s store.Store) {
	ctx := t.Context()
	for i, err := range []error{s.Put(ctx, "", nil, 0), s.Keep(ctx, strings.Repeat("k", 1025), nil, 0), s.PutNow(ctx, "k", make([]byte, 16<<10+1), 0)} {
		if !errors.Is(err, store.ErrTooBig) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := s.AddNew(ctx, "", "m", 0); !errors.Is(err, store.ErrTooBig) {
		t.Errorf("a set without a name: %v", err)
	}
	big := make([]byte, 16<<10)
	if err := s.PutNow(ctx, strings.Repeat("k", 1024), big, time.Hour); err != nil {
		t.Error(err)
	}
}

func expiry(t *testing.T, s store.Store) {
	ctx := t.Context()
	err := errors.Join(s.Put(ctx, "a", []byte("1"), 50*time.Millisecond), s.Keep(ctx, "b", []byte("1"), 50*time.Millisecond), s.Keep(ctx, "c", nil, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := s.AddNew(ctx, "s", "m", 50*time.Millisecond); !first {
		t.Error("not new")
	}
	await(t, "values to expire", func() bool {
		_, a, _ := s.Get(ctx, "a")
		_, b, _ := s.Get(ctx, "b")
		return !a && !b
	})
	await(t, "a member to expire", func() bool { first, _ := s.AddNew(ctx, "s", "m", time.Hour); return first })
	items, err := s.List(ctx, "", "", 10)
	if err != nil || len(items) != 1 || items[0].Key != "c" {
		t.Errorf("%v %v", items, err)
	}
}

func list(t *testing.T, s store.Store) {
	ctx := t.Context()
	for i := range 30 {
		write := s.Put
		if i%2 == 0 {
			write = s.Keep
		}
		if err := write(ctx, fmt.Sprintf("p/%02d", i), []byte{byte(i)}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Put(ctx, "q", nil, 0)
	_ = s.Put(ctx, "p*", nil, 0)
	var got []string
	after := ""
	for {
		items, err := s.List(ctx, "p/", after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if left := time.Until(it.Expires); left < 50*time.Minute || left > time.Hour+time.Minute {
				t.Errorf("%s expires in %v", it.Key, left)
			}
			got = append(got, it.Key)
		}
		after = items[len(items)-1].Key
	}
	if len(got) != 30 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
	if items, err := s.List(ctx, "p*", "", 10); err != nil || len(items) != 1 {
		t.Errorf("a pattern: %v %v", items, err)
	}
}

func watch(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := s.Watch(ctx, "w/")
	next := func(key, value string, deleted bool) {
		t.Helper()
		select {
		case e := <-events:
			if e.Key != key || string(e.Value) != value || e.Deleted != deleted {
				t.Errorf("%+v, not %s %q %v", e, key, value, deleted)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("no event of %s", key)
		}
	}
	if err := errors.Join(s.Keep(ctx, "other", nil, 0), s.Keep(ctx, "w/a", []byte("1"), 0)); err != nil {
		t.Fatal(err)
	}
	next("w/a", "1", false)
	if err := errors.Join(s.PutNow(ctx, "w/a", []byte("2"), time.Hour), s.DeleteNow(ctx, "w/a"), s.Keep(ctx, "w/b", nil, time.Hour)); err != nil {
		t.Fatal(err)
	}
	next("w/a", "2", false)
	next("w/a", "", true)
	next("w/b", "", false)
	cancel()
	await(t, "the channel to close", func() bool {
		select {
		case _, open := <-events:
			return !open
		default:
			return false
		}
	})
}

// Names come from strangers.
func hostile(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, key := range []string{"}", "{", "{}", "a}b{c", "\x00", "\r\nFLUSHALL\r\n", "\xff\xfe", "*", "[a-z]", "x:y:z:{0}", `\`, "é", "end:"} {
		w := []store.Window{{Key: key, Span: time.Hour, Max: 1, Cost: 1}, {Key: key, Span: 24 * time.Hour, Max: 1, Cost: 1}}
		if r, _ := reserve(t, s, w...); r == nil {
			t.Errorf("%q was full", key)
		}
		if r, _ := reserve(t, s, w...); r != nil {
			t.Errorf("%q was not counted", key)
		}
		if got, err := s.Counters(ctx, key, 100); err != nil || !slices.ContainsFunc(got, func(c store.Counter) bool { return c.Key == key }) {
			t.Errorf("%q is not listed: %v %v", key, got, err)
		}
		if err := s.Keep(ctx, key, []byte(key), time.Hour); err != nil {
			t.Error(err)
		}
		if v, ok, err := s.Get(ctx, key); !ok || string(v) != key || err != nil {
			t.Errorf("%q: %q %v", key, v, err)
		}
		if err := s.Put(ctx, key, []byte(key), time.Hour); err != nil {
			t.Error(err)
		}
		items, err := s.List(ctx, key, "", 100)
		if err != nil || !slices.ContainsFunc(items, func(i store.Item) bool { return i.Key == key && string(i.Value) == key }) {
			t.Errorf("%q is not in %v %v", key, items, err)
		}
	}
}

func canceled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// An engine may or may not do what nobody waits for; it must stay whole.
	_, _, _ = s.Reserve(ctx, many(3, 1))
	_ = s.Put(ctx, "k", nil, 0)
	if err := s.Put(t.Context(), "k", []byte("v"), 0); err != nil {
		t.Error(err)
	}
	if v, _, err := s.Get(t.Context(), "k"); string(v) != "v" || err != nil {
		t.Errorf("%q %v", v, err)
	}
}

func closed(t *testing.T, s store.Store) {
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, _, err := s.Reserve(ctx, many(1, 1))
	_, perr := s.Peek(ctx, many(1, 1))
	_, _, gerr := s.Get(ctx, "k")
	for i, err := range []error{err, perr, gerr, s.Put(ctx, "k", nil, 0), s.PutNow(ctx, "k", nil, 0), s.Delete(ctx, "k")} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, open := <-s.Watch(ctx, ""); open {
		t.Error("an event after the end")
	}
}

// await gives something ten seconds to happen.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
