package pattern

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Gate bounds how many slow matches of the backtracking engine run at once, over
// all messages of the process, so that hostile mail leaves a core to the
// others and the copies of the text that such matches need stay few (attacks
// Linear matches never wait, nor do those of patterns that have
// been quick, on texts of ordinary length: they hold nobody up, and would wait
// the longest. Of those who wait, the message that has matched for the shortest
// time so far is let through first, and of equals who came first: a message
// made to be slow falls behind all that are not.
type Gate struct {
	room int

	mu      sync.Mutex
	inside  int
	waiting []*waiter
}

// waiter is a match before the gate.
type waiter struct {
	spent time.Duration
	in    chan struct{} // closed when it is let in
}

// NewGate lets n matches through at once; 0 is one less than there are cores,
// and at least one.
func NewGate(n int) *Gate {
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return &Gate{room: n}
}

// A match that takes slowMatch makes its pattern a slow one, for the gate, until
// it was quick so many times: a busy machine can be to blame, too. A pattern that
// was never tried, and a text of longText octets, are slow at any rate.
const (
	slowMatch   = 20 * time.Millisecond
	quickToSlow = 1000
	longText    = 256 << 10
)

// gauge learns how long a match took.
func (p *Pattern) gauge(took time.Duration) {
	if took >= slowMatch {
		p.slow.Store(quickToSlow)
	} else if p.slow.Load() > 0 {
		p.slow.Add(-1)
	}
}

// try takes a place if there is one.
func (g *Gate) try() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside >= g.room {
		return false
	}
	g.inside++ // then nobody waits
	return true
}

// enter waits for a place, no longer than most.
func (g *Gate) enter(spent, most time.Duration) bool {
	g.mu.Lock()
	if g.inside < g.room {
		g.inside++
		g.mu.Unlock()
		return true
	}
	w := &waiter{spent: spent, in: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	end := time.NewTimer(most)
	defer end.Stop()
	select {
	case <-w.in:
		return true
	case <-end.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		return false
	}
	return true // let in at the last moment
}

// leave gives a place to who is next.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.inside--
		return
	}
	next := 0
	for i, w := range g.waiting {
		if w.spent < g.waiting[next].spent {
			next = i
		}
	}
	close(g.waiting[next].in)
	g.waiting = slices.Delete(g.waiting, next, next+1)
}

// Through has the matches of the budget pass the gate. Waiting is charged as
// matching is, since the message waits either way; the message that has waited
// its budget away is given up (ErrOverBudget), not let past.
func (b *Budget) Through(g *Gate) *Budget {
	b.gate = g
	return b
}

// enter is start for a match of the backtracking engine. What is let in has
// the place of a gate to give back, or nil; a match that is quick passes by if
// there is no place. The time that it tells is that behind the gate.
func (b *Budget) enter(quick bool) (since time.Time, in *Gate, ok bool) {
	since, ok = b.start()
	if b == nil || b.gate == nil || !ok {
		return since, nil, ok
	}
	if quick {
		if b.gate.try() {
			in = b.gate
		}
		return since, in, true
	}
	if !b.gate.enter(b.spent, b.left) {
		b.left = 0
		b.over++
		return since, nil, false
	}
	now := b.now()
	if waited := now.Sub(since); waited > 0 {
		b.left -= waited
	}
	if b.left <= 0 {
		b.over++
		b.gate.leave()
		return now, nil, false
	}
	return now, b.gate, true
}

// through runs a match that was let in, and gives its place back: even if the
// engine panics, since the session outlives that (attack R-12).
func (g *Gate) through(match func() error) error {
	if g != nil {
		defer g.leave()
	}
	return match()
}
