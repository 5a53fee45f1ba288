package relay

import (
	"net/netip"
	"sync"
)

// OwnSockets are the local addresses of the connections that our relays have
// open: a client whose address is among them is ourselves, and its mail a
// loop. It is safe for concurrent use; nil is a valid empty set.
type OwnSockets struct {
	mu  sync.RWMutex
	set map[netip.AddrPort]struct{}
}

// NewOwnSockets makes an empty set. Its size is bounded by the connection
// limits of the next hops that share it.
func NewOwnSockets() *OwnSockets {
	return &OwnSockets{set: make(map[netip.AddrPort]struct{})}
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// Add puts in the local address of a socket right after it was dialled.
func (o *OwnSockets) Add(a netip.AddrPort) {
	if o == nil || !a.IsValid() {
		return
	}
	o.mu.Lock()
	o.set[unmapped(a)] = struct{}{}
	o.mu.Unlock()
}

// Remove takes it out after the socket was closed.
func (o *OwnSockets) Remove(a netip.AddrPort) {
	if o == nil || !a.IsValid() {
		return
	}
	o.mu.Lock()
	delete(o.set, unmapped(a))
	o.mu.Unlock()
}

// Contains tells whether a client's address is a socket of ours.
func (o *OwnSockets) Contains(a netip.AddrPort) bool {
	if o == nil {
		return false
	}
	o.mu.RLock()
	_, ok := o.set[unmapped(a)]
	o.mu.RUnlock()
	return ok
}
