package pattern

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func hard(t testing.TB, source string) *Pattern {
	t.Helper()
	p, err := Compile(source, Options{Bytes: true})
	if err != nil || p.Linear() {
		t.Fatal(source, err)
	}
	return p
}

// TestGate is R-03: no more matches than the gate lets run at once, all get
// through, and nothing is left in it.
func TestGate(t *testing.T) {
	p := hard(t, `(a)\1`)
	gate := NewGate(2)
	var mu sync.Mutex
	inside, most := 0, 0
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			b := NewBudget(time.Minute, time.Now).Through(gate)
			for range 20 {
				if err := p.bounded(b, longText, func() error {
					mu.Lock()
					inside++
					most = max(most, inside)
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					inside--
					mu.Unlock()
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most > 2 || gate.inside != 0 {
		t.Errorf("%d at once, %d still inside", most, gate.inside)
	}
	if n := NewGate(0).room; n < 1 || n > 1 && n != runtime.GOMAXPROCS(0)-1 {
		t.Errorf("a gate of %d", n)
	}
}

// TestGateWait is that waiting is charged, ends with the budget, and is never
// "no match"; and that linear matches do not wait.
func TestGateWait(t *testing.T) {
	p := hard(t, `(a)\1`)
	linear, err := Compile(`aa`, Options{Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	heavy, err := Compile(`(?:a.{0,400}b){2}x|aa`, Options{Bytes: true})
	if err != nil || !heavy.heavy {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1)
		gate.enter(0, 0)
		b := NewBudget(3*time.Second, time.Now).Through(gate)
		for _, q := range []*Pattern{linear, heavy} {
			if ok, err := q.Match([]byte("aa"), b); !ok || err != nil || b.Left() != 3*time.Second {
				t.Errorf("linear: %v %v, left %v", ok, err, b.Left())
			}
		}
		// Somebody leaves after two seconds.
		go func() {
			time.Sleep(2 * time.Second)
			gate.leave()
		}()
		ran := func() error { return nil }
		if err := p.bounded(b, longText, ran); err != nil || b.Left() > time.Second {
			t.Errorf("%v, left %v", err, b.Left())
		}
		// Nobody leaves.
		gate.enter(0, 0)
		began := time.Now()
		if err := p.bounded(b, longText, ran); !errors.Is(err, ErrOverBudget) || b.Left() > 0 || b.Over() != 1 {
			t.Errorf("%v, left %v, over %d", err, b.Left(), b.Over())
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("waited %v", waited)
		}
		if _, err := p.Find(nil, []byte("aa"), b); !errors.Is(err, ErrOverBudget) || b.Over() != 2 {
			t.Error(err, b.Over())
		}
		if gate.inside != 1 {
			t.Errorf("%d in the gate", gate.inside)
		}
	})
}

// TestGateAfterFailure is that a match that is given up gives its place back,
// as does one that is let in when its clock has run out.
func TestGateAfterFailure(t *testing.T) {
	gate := NewGate(1)
	p, err := Compile(`^(?:(a|aa)\1*)+b`, Options{Bytes: true, MatchLimit: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("a", 200))
	for range 2 {
		if ok, err := p.Match(text, NewBudget(time.Minute, time.Now).Through(gate)); ok || !errors.Is(err, ErrOverBudget) {
			t.Fatal(ok, err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = p.bounded(NewBudget(time.Minute, time.Now).Through(gate), longText, func() error { panic("the engine") })
	}()
	if gate.inside != 0 {
		t.Error("the gate is not free")
	}
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1)
		gate.enter(0, 0)
		now := time.Unix(0, 0)
		// A clock that jumps by an hour whenever it is asked.
		b := NewBudget(time.Minute, func() time.Time { now = now.Add(time.Hour); return now }).Through(gate)
		go gate.leave()
		if err := p.bounded(b, longText, func() error { return nil }); !errors.Is(err, ErrOverBudget) || gate.inside != 0 || b.Over() != 1 {
			t.Error(err, gate.inside, b.Over())
		}
	})
}

// TestGateLearns is that a pattern waits when it was slow, and no longer than
// that: matches that are quick pass by a gate that is full.
func TestGateLearns(t *testing.T) {
	p := hard(t, `(a)\1`)
	gate := NewGate(1)
	gate.enter(0, 0)
	text := []byte("aa")
	match := func() error {
		ok, err := p.Match(text, NewBudget(time.Millisecond, still).Through(gate))
		if err == nil && !ok {
			t.Fatal("no match")
		}
		return err
	}
	if err := match(); !errors.Is(err, ErrOverBudget) {
		t.Errorf("never tried, and passed by: %v", err)
	}
	if _, err := p.Match(text, NewBudget(time.Hour, still)); err != nil {
		t.Fatal(err)
	}
	if err := match(); err != nil {
		t.Errorf("quick: %v", err)
	}
	now := time.Unix(0, 0)
	if _, err := p.Match(text, NewBudget(time.Hour, func() time.Time { now = now.Add(slowMatch); return now })); err != nil {
		t.Fatal(err)
	}
	if err := match(); !errors.Is(err, ErrOverBudget) {
		t.Errorf("slow once, and passed by: %v", err)
	}
	for range quickToSlow {
		if _, err := p.Match(text, NewBudget(time.Hour, still)); err != nil {
			t.Fatal(err)
		}
	}
	if err := match(); err != nil {
		t.Errorf("quick again: %v", err)
	}
	text = append(make([]byte, longText), "aa"...)
	if err := match(); !errors.Is(err, ErrOverBudget) {
		t.Errorf("a long text passed by: %v", err)
	}
	if gate.inside != 1 || len(gate.waiting) != 0 {
		t.Errorf("%d inside, %d waiting", gate.inside, len(gate.waiting))
	}
}

// TestGateOrder is that who has matched longest waits longest.
func TestGateOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1)
		gate.enter(0, 0)
		var order []time.Duration
		for _, spent := range []time.Duration{30, 10, 11, 20, 0, 12} {
			go func() {
				if !gate.enter(spent/10, time.Hour) {
					t.Error("not let in")
				}
				order = append(order, spent)
				gate.leave()
			}()
			synctest.Wait() // it stands in the queue
		}
		gate.leave()
		synctest.Wait()
		if want := []time.Duration{0, 10, 11, 12, 20, 30}; !slices.Equal(order, want) || gate.inside != 0 || len(gate.waiting) != 0 {
			t.Errorf("%v, %d inside, %d waiting", order, gate.inside, len(gate.waiting))
		}
	})
}

// TestBuffersAreLetGo is R-10: the copy of a text as long as a large message
// is not kept for the next one.
func TestBuffersAreLetGo(t *testing.T) {
	for _, n := range []int{10, maxKept + 1} {
		w := new(wideText)
		w.runes(make([]byte, n), true)
		w.release()
		for range 100 {
			if v := wide.Get().(*wideText); cap(v.r) > maxKept || cap(v.u) > maxKept {
				t.Fatalf("a buffer of %d is kept", cap(v.r))
			}
		}
	}
}

func BenchmarkGate(b *testing.B) {
	p := hard(b, `(a)\1`)
	for _, gate := range []*Gate{nil, NewGate(0)} {
		b.Run(fmt.Sprintf("gate=%v", gate != nil), func(b *testing.B) {
			budget := NewBudget(time.Hour, still).Through(gate)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Match([]byte("xyz"), budget)
			}
		})
	}
}
