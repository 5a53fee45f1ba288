package filters

import (
	"context"
	"errors"
	"fmt"

	"garita/resolver"
)

const (
	// smallMessage goes by a line of its own: it never waits behind messages of
	// 25 MB (attacks I10).
	smallMessage = 256 << 10
	// inlineMessage is looked at in the session's own goroutine: it takes less
	// time than starting another one.
	inlineMessage = 64 << 10
)

// ErrBusy says that a check did not get to a message within its time.
var ErrBusy = errors.New("too many messages at once")

// Lanes bound how many messages a check works on at once where that takes the
// processor and nothing can interrupt it. A quarter more places are for small
// messages alone.
type Lanes struct{ small, large chan struct{} }

// NewLanes makes places for n messages at once, at least one.
func NewLanes(n int) *Lanes {
	n = max(1, n)
	return &Lanes{small: make(chan struct{}, max(1, n/4)), large: make(chan struct{}, n)}
}

// Now takes a place for a message that is small enough to be looked at in the
// session's own goroutine, if there is one.
func (l *Lanes) Now(size int64) (leave func(), ok bool) {
	if size > inlineMessage {
		return nil, false
	}
	select {
	case l.small <- struct{}{}:
		return l.leaveSmall, true
	default:
	}
	select {
	case l.large <- struct{}{}:
		return l.leaveLarge, true
	default:
		return nil, false
	}
}

// Wait waits for a place. The error is ErrBusy.
func (l *Lanes) Wait(ctx context.Context, size int64) (leave func(), err error) {
	small := l.small
	if size > smallMessage {
		small = nil // which nobody can send to
	}
	select {
	case small <- struct{}{}:
		return l.leaveSmall, nil
	default:
	}
	select {
	case small <- struct{}{}:
		return l.leaveSmall, nil
	case l.large <- struct{}{}:
		return l.leaveLarge, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// Enter takes a place in the way that ctx allows: at once, or with ErrWouldWait
// for a session's own goroutine (resolver.FromCache), else by waiting.
func (l *Lanes) Enter(ctx context.Context, size int64) (leave func(), err error) {
	if !resolver.CacheOnly(ctx) {
		return l.Wait(ctx, size)
	}
	leave, ok := l.Now(size)
	if !ok {
		return nil, ErrWouldWait
	}
	return leave, nil
}

func (l *Lanes) leaveSmall() { <-l.small }
func (l *Lanes) leaveLarge() { <-l.large }
