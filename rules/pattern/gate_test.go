package pattern

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func backtracking1(t testing.TB, source string) *Pattern {
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
	p := backtracking1(t, `(a)\1`)
	gate := NewGate(2)
	var mu sync.Mutex
	inside, most := 0, 0
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			b := NewBudget(time.Minute, time.Now).Through(gate)
			for range 20 {
				if err := p.bounded(b, func() error {
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
	if most > 2 || len(gate.room) != 0 {
		t.Errorf("%d at once, %d still inside", most, len(gate.room))
	}
	if n := cap(NewGate(0).room); n < 1 || n > 1 && n != runtime.GOMAXPROCS(0)-1 {
		t.Errorf("a gate of %d", n)
	}
}

// TestGateWait is that waiting is charged, ends with the budget, and is never
// "no match"; and that linear matches do not wait.
func TestGateWait(t *testing.T) {
	p := backtracking1(t, `(a)\1`)
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
		gate.room <- struct{}{}
		b := NewBudget(3*time.Second, time.Now).Through(gate)
		for _, q := range []*Pattern{linear, heavy} {
			if ok, err := q.Match([]byte("aa"), b); !ok || err != nil || b.Left() != 3*time.Second {
				t.Errorf("linear: %v %v, left %v", ok, err, b.Left())
			}
		}
		// Somebody leaves after two seconds.
		go func() {
			time.Sleep(2 * time.Second)
			<-gate.room
		}()
		ran := func() error { return nil }
		if err := p.bounded(b, ran); err != nil || b.Left() > time.Second {
			t.Errorf("%v, left %v", err, b.Left())
		}
		// Nobody leaves.
		gate.room <- struct{}{}
		began := time.Now()
		if err := p.bounded(b, ran); !errors.Is(err, ErrOverBudget) || b.Left() > 0 || b.Over() != 1 {
			t.Errorf("%v, left %v, over %d", err, b.Left(), b.Over())
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("waited %v", waited)
		}
		if _, err := p.Find(nil, []byte("aa"), b); !errors.Is(err, ErrOverBudget) || b.Over() != 2 {
			t.Error(err, b.Over())
		}
		if len(gate.room) != 1 {
			t.Errorf("%d in the gate", len(gate.room))
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
		_ = p.bounded(NewBudget(time.Minute, time.Now).Through(gate), func() error { panic("the engine") })
	}()
	if len(gate.room) != 0 {
		t.Error("the gate is not free")
	}
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1)
		gate.room <- struct{}{}
		now := time.Unix(0, 0)
		// A clock that jumps by an hour whenever it is asked.
		b := NewBudget(time.Minute, func() time.Time { now = now.Add(time.Hour); return now }).Through(gate)
		go func() { <-gate.room }()
		if err := p.bounded(b, func() error { return nil }); !errors.Is(err, ErrOverBudget) || len(gate.room) != 0 || b.Over() != 1 {
			t.Error(err, len(gate.room), b.Over())
		}
	})
}
