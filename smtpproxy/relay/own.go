package relay

import (
	"net/netip"
	"sync"
)

// OwnSockets are the connections that our relays have open, by both of their
// ends: an accepted connection with the same two ends is ourselves, and its
// mail a loop. One end would not do: the system lends one local port to
// several connections with different far ends, and an honest client of the
// same machine would be taken for us. It is safe for concurrent use; nil is a
// valid empty set.
type OwnSockets struct {
	mu  sync.RWMutex
	set map[ends]struct{}
}

// ends are a connection as the side that dialled it sees it.
type ends struct{ near, far netip.AddrPort }

// NewOwnSockets makes an empty set. Its size is bounded by the connection
// limits of the next hops that share it.
func NewOwnSockets() *OwnSockets {
	return &OwnSockets{set: make(map[ends]struct{})}
}

func endsOf(near, far netip.AddrPort) ends {
	return ends{unmapped(near), unmapped(far)}
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// Add puts in a connection right after it was dialled.
func (o *OwnSockets) Add(near, far netip.AddrPort) {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.set[endsOf(near, far)] = struct{}{}
	o.mu.Unlock()
}

// Remove takes it out after the socket was closed.
func (o *OwnSockets) Remove(near, far netip.AddrPort) {
	if o == nil {
		return
	}
	o.mu.Lock()
	delete(o.set, endsOf(near, far))
	o.mu.Unlock()
}

// Contains tells whether the connection that a client opened from near to our
// listening socket far is one of ours.
func (o *OwnSockets) Contains(near, far netip.AddrPort) bool {
	if o == nil {
		return false
	}
	o.mu.RLock()
	_, ok := o.set[endsOf(near, far)]
	o.mu.RUnlock()
	return ok
}
