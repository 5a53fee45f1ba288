package pattern

import (
	"runtime"
	"time"
)

// Gate bounds how many matches of the backtracking engine run at once, over
// all messages of the process, so that hostile mail leaves a core to the
// others and the copies of the text that such matches need stay few (attacks
// Who waits is let through in turn: a message with many slow
// rules is not before one with a single rule. Linear matches never wait.
type Gate struct{ room chan struct{} }

// NewGate lets n matches through at once; 0 is one less than there are cores,
// and at least one.
func NewGate(n int) *Gate {
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return &Gate{room: make(chan struct{}, n)}
}

// Through has the matches of the budget pass the gate. Waiting is charged as
// matching is, since the message waits either way; the message that has waited
// its budget away is given up (ErrOverBudget), not let past.
func (b *Budget) Through(g *Gate) *Budget {
	b.gate = g
	return b
}

// enter is start for a match of the backtracking engine: what is let in must
// go on by inside. The time that it tells is that behind the gate.
func (b *Budget) enter() (time.Time, bool) {
	since, ok := b.start()
	if b == nil || b.gate == nil || !ok {
		return since, ok
	}
	select {
	case b.gate.room <- struct{}{}:
		return since, true // nobody waited
	default:
	}
	end := time.NewTimer(b.left)
	defer end.Stop()
	select {
	case b.gate.room <- struct{}{}:
	case <-end.C:
		b.left = 0
		b.over++
		return time.Time{}, false
	}
	now := b.now()
	if waited := now.Sub(since); waited > 0 {
		b.left -= waited
	}
	if b.left <= 0 {
		b.over++
		<-b.gate.room
		return time.Time{}, false
	}
	return now, true
}

// inside runs a match that was let in, and gives its place back: even if the
// engine panics, since the session outlives that (attack R-12).
func (b *Budget) inside(match func() error) error {
	if b != nil && b.gate != nil {
		defer func() { <-b.gate.room }()
	}
	return match()
}
