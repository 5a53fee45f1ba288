package resolver

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// BreakerState is whether a server is asked.
type BreakerState uint8

// The states: Closed is asked; Probing is asked, and a question of our own is
// on its way to find out about it; Open is not asked; HalfOpen is not asked
// while our own question is on its way.
const (
	Closed BreakerState = iota
	Probing
	Open
	HalfOpen
)

// String gives the state in lower case.
func (s BreakerState) String() string {
	return [...]string{"closed", "probing", "open", "half-open"}[s&3]
}

// breaker keeps one server from being waited for while it is silent. What
// opens it is our own question about the root, never those of strangers: a
// zone that makes the server wait would else take the DNS from everybody.
type breaker struct {
	mu     sync.Mutex
	state  BreakerState
	fails  int           // in a row
	opened time.Duration // when it was opened or last tried
	trips  uint64
}

// allow tells whether to ask. probe says that the caller must start a probe.
func (b *breaker) allow(now, rest time.Duration) (ask, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case Open:
		if age := now - b.opened; age >= rest || age < 0 {
			b.state = HalfOpen
			return false, true
		}
		return false, false
	case HalfOpen:
		return false, false
	}
	return true, false
}

// note counts an attempt that was answered, or was not.
func (b *breaker) note(answered bool, limit int) (probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answered {
		b.fails = 0
		return false
	}
	b.fails++
	if b.state == Closed && b.fails >= limit {
		b.state = Probing
		return true
	}
	return false
}

// probed says how the probe went.
func (b *breaker) probed(answered bool, now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answered {
		b.state, b.fails = Closed, 0
		return
	}
	if b.state == Probing {
		b.trips++
	}
	b.state, b.opened = Open, now
}

func (b *breaker) snapshot() (BreakerState, int, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.fails, b.trips
}

// probe asks a server for the root's name servers, which every resolver knows.
// Any answer will do.
func (d *DNS) probe(s *server) {
	d.work.Go(func() {
		ctx, cancel := context.WithTimeout(d.root, d.cfg.Timeout)
		defer cancel()
		buf := d.buffers.Get().(*[]byte)
		defer d.buffers.Put(buf)
		_, err := s.sockets.udp(ctx, key{"", dns.TypeNS}, true, *buf)
		s.breaker.probed(err == nil, d.clock())
	})
}
