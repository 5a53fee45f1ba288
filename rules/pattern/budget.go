package pattern

import (
	"errors"
	"time"
)

// ErrOverBudget says that a match was given up: nobody knows whether the text
// matches. It carries no word of the text (attack R-04) and is never to be
// taken for "no match".
var ErrOverBudget = errors.New("pattern: given up, over budget")

// Budget is the time that backtracking patterns may spend on one message. Those
// that run in linear time are charged half of theirs, from freeOctets on: it is
// in proportion to the text, but Go's engine reads some of them at 2 MB/s, and a
// message of 25 MB can be made for a dozen such. A Budget belongs to one
// goroutine. Nil is a budget without end for tests and tools; each match is
// still bounded by itself (Options.MatchLimit).
type Budget struct {
	left  time.Duration
	spent time.Duration // on matching, without waiting
	now   func() time.Time
	over  int
	read  int   // octets that linear patterns were run over
	gate  *Gate // nil: none
}

const (
	// freeOctets are what linear patterns read of one message before they are
	// charged: more than ordinary mail has for them.
	freeOctets = 4 << 20
	// perMatch is what a match costs besides, as octets.
	perMatch = 64
)

// free tells that a linear match over so many octets is not charged.
func (b *Budget) free(octets int) bool {
	if b == nil {
		return true
	}
	b.read += octets + perMatch
	return b.read <= freeOctets
}

// NewBudget gives a message total time; now is the clock.
func NewBudget(total time.Duration, now func() time.Time) *Budget {
	return &Budget{left: total, now: now}
}

// Left is what remains; it is below zero after the match that overran.
func (b *Budget) Left() time.Duration { return b.left }

// Over counts the matches that were given up.
func (b *Budget) Over() int { return b.over }

// start tells the time, or that nothing may run any more.
func (b *Budget) start() (time.Time, bool) {
	if b == nil {
		return time.Time{}, true
	}
	if b.left <= 0 {
		b.over++
		return time.Time{}, false
	}
	return b.now(), true
}

// done charges what was spent since start, and tells it. A clock that went back is charged
// nothing: the match itself was bounded by a clock that cannot.
func (b *Budget) done(since time.Time, failed bool) time.Duration {
	if b == nil {
		return 0
	}
	spent := max(0, b.now().Sub(since))
	b.left -= spent
	b.spent += spent
	if failed {
		b.over++
	}
	return spent
}
