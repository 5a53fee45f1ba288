// Package failover asks one of several servers that do the same: in the order
// of the configuration, each within its share of the time, those that failed
// lately not at all for a while.
//
// It knows no protocol: the caller does the asking. It fails when no server
// answered: with each one's error, or with ErrResting.
//
// # Limits
//
// A server rests for RestFor after TripAfter failures in a row; then one
// message goes first. A failure's text is kept up to maxReason octets.
package failover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const (
	// After TripAfter failures in a row a server rests, so that a dead one does not
	// cost every message its share of the time.
	TripAfter = 3
	// RestFor is how long it rests.
	RestFor = 30 * time.Second
	// maxReason bounds what Status keeps of an error.
	maxReason = 200
)

// ErrResting: every server has failed lately.
var ErrResting = errors.New("all servers rest after failures")

// State is how one server does.
type State struct {
	Server string
	Up     bool // it is asked
	Asked  uint64
	Failed uint64
	// Last is the last failure, printable ASCII; empty when there was none.
	Last   string
	LastAt time.Time
}

// server is one of those in the configuration, with its breaker.
type server struct {
	name string

	mu      sync.Mutex
	status  State
	row     int // failures in a row
	until   time.Time
	probing bool
}

// allow tells whether to ask. When its rest is over one message goes first.
func (s *server) allow(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.row >= TripAfter {
		if s.probing || now.Before(s.until) {
			return false
		}
		s.probing = true
	}
	s.status.Asked++
	return true
}

// answered notes a success; cameBack says that it had been resting.
func (s *server) answered() (cameBack bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cameBack = s.row >= TripAfter
	s.row, s.probing = 0, false
	return cameBack
}

// failed notes a failure; tripped says that the server rests from now on.
func (s *server) failed(now time.Time, err error) (tripped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row++
	s.probing = false
	if s.row >= TripAfter {
		s.until = now.Add(RestFor)
	}
	s.status.Failed++
	s.status.Last, s.status.LastAt = printable(err.Error(), maxReason), now
	return s.row == TripAfter
}

// released takes an attempt back that the caller gave up: it says nothing
// about the server.
func (s *server) released() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
}

// List is servers that are asked in the order of the configuration: the first that answers
// counts.
type List struct {
	list []*server
	now  func() time.Time
	log  func(text string, err error)
}

// New makes the list; log hears when a server begins to rest, with the reason,
// and when it answers again.
func New(names []string, now func() time.Time, log func(text string, err error)) *List {
	l := &List{now: now, log: log}
	for _, name := range names {
		l.list = append(l.list, &server{name: name})
	}
	return l
}

// Ask gives each server that does not rest its share of the time that ctx has.
func (l *List) Ask(ctx context.Context, call func(ctx context.Context, i int) error) error {
	var errs []error
	for i, s := range l.list {
		if !s.allow(l.now()) {
			continue
		}
		try, cancel := share(ctx, len(l.list)-i)
		err := call(try, i)
		cancel()
		switch {
		case err == nil:
			if s.answered() {
				l.log("server "+s.name+" answers again", nil)
			}
			return nil
		case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
			s.released()
			return ctx.Err()
		}
		if s.failed(l.now(), err) {
			l.log("server "+s.name+" rests for "+RestFor.String(), err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return ErrResting
	}
	return errors.Join(errs...)
}

// share is the time of one of n servers that are left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// States gives how each server does.
func (l *List) States() []State {
	out := make([]State, 0, len(l.list))
	now := l.now()
	for _, s := range l.list {
		s.mu.Lock()
		st := s.status
		st.Server, st.Up = s.name, s.row < TripAfter || !now.Before(s.until)
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// printable makes text of a stranger printable and short.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
