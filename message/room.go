package message

import (
	"context"
	"fmt"
	"sync"
)

// A fourth of a Room is for messages that need up to smallIndex octets alone,
// and an eighth for those up to mediumIndex: they never wait behind larger
// ones, which take longest to be scanned (attacks I10).
const (
	smallShare  = 4
	mediumShare = 8
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
	small, medium := octets/smallShare, octets/mediumShare
	return &Room{small: of(small), medium: of(medium), large: of(octets - small - medium)}
}

// stay is what one index has of a Room; the zero stay has nothing.
type stay struct {
	lane *lane
	n    int64
}

// enter takes room for need octets, all there is if it is more than that.
func (r *Room) enter(ctx context.Context, need int64) (stay, error) {
	if r == nil {
		return stay{}, nil
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
		return stay{l, need}, nil
	}
	w := &roomWaiter{need: need, ready: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.ready:
		return stay{l, need}, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.waiting {
		if l.waiting[i] == w {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			l.serve()
			return stay{}, fmt.Errorf("index: %w: %w", ErrNoMemory, ctx.Err())
		}
	}
	// It was served in the same instant.
	return stay{l, need}, nil
}

// settle changes what was taken into what is used. That may be more than there
// is: nobody enters then until it is given back.
func (s *stay) settle(used int64) {
	if s.lane == nil || used == s.n {
		return
	}
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	s.lane.free += s.n - used
	s.n = used
	s.lane.serve()
}

// leave gives everything back, once.
func (s *stay) leave() {
	s.settle(0)
	*s = stay{}
}

// serve lets in those at the front for whom there is room.
func (l *lane) serve() {
	for len(l.waiting) > 0 && l.free >= l.waiting[0].need {
		l.free -= l.waiting[0].need
		close(l.waiting[0].ready)
		l.waiting = l.waiting[1:]
	}
}
