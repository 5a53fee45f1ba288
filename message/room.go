package message

import (
	"context"
	"fmt"
	"sync"
)

// An eighth of a Room is for messages that need up to smallIndex octets alone,
// and another for those up to mediumIndex: they never wait behind larger ones,
// which take longest to be scanned (attacks I10).
const (
	smallShare  = 8
	smallIndex  = 256 << 10
	mediumIndex = 4 << 20
)

// Room bounds the memory of the indexes of all messages together. Who finds no
// room waits in line.
type Room struct {
	small, medium, large lane
}

// lane is a line of its own.
type lane struct {
	mu      sync.Mutex
	free    int64
	size    int64
	waiting []*roomWaiter
}

type roomWaiter struct {
	need  int64
	ready chan struct{}
}

// NewRoom makes a Room of so many octets.
func NewRoom(octets int64) *Room {
	of := func(n int64) lane { return lane{free: n, size: n} }
	part := octets / smallShare
	return &Room{small: of(part), medium: of(part), large: of(octets - 2*part)}
}

// enter takes room for need octets, all there is if it is more than that, and
// gives the function that gives it back.
func (r *Room) enter(ctx context.Context, need int64) (leave func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	l := &r.large
	switch {
	case need <= smallIndex:
		l = &r.small
	case need <= mediumIndex:
		l = &r.medium
	}
	need = min(need, l.size)
	l.mu.Lock()
	if len(l.waiting) == 0 && l.free >= need {
		l.free -= need
		l.mu.Unlock()
		return func() { l.leave(need) }, nil
	}
	w := &roomWaiter{need: need, ready: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.ready:
		return func() { l.leave(need) }, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.waiting {
		if l.waiting[i] == w {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			l.serve()
			return nil, fmt.Errorf("index: %w: %w", ErrNoMemory, ctx.Err())
		}
	}
	// It was served in the same instant.
	return func() { l.leave(need) }, nil
}

func (l *lane) leave(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free += n
	l.serve()
}

// serve lets in those at the front for whom there is room.
func (l *lane) serve() {
	for len(l.waiting) > 0 && l.free >= l.waiting[0].need {
		l.free -= l.waiting[0].need
		close(l.waiting[0].ready)
		l.waiting = l.waiting[1:]
	}
}
