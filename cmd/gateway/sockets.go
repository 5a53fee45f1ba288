package main

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// A bound is one address of one listener, as the configuration says it.
type bound struct {
	listener string
	addr     netip.AddrPort
}

// wanted are the sockets that the settings ask for.
func wanted(s *Settings) []bound {
	var out []bound
	for name, l := range s.Listener {
		addrs, _ := l.ListenAddresses()
		for _, a := range addrs {
			out = append(out, bound{name, a})
		}
	}
	slices.SortFunc(out, func(a, b bound) int {
		return cmp.Or(cmp.Compare(a.listener, b.listener), a.addr.Compare(b.addr))
	})
	return out
}

// sockets are the listening sockets that are open. An address that stays over
// a reload keeps its socket, so that no connection in its queue is lost.
type sockets struct {
	given *inherited // by systemd; nil: none
	serve func(name string, l net.Listener) error
	ended func(name string, err error) // a socket stopped by itself

	mu   sync.Mutex
	open map[bound]net.Listener
	wg   sync.WaitGroup
}

func newSockets(serve func(string, net.Listener) error, ended func(string, error)) *sockets {
	return &sockets{serve: serve, ended: ended, open: map[bound]net.Listener{}}
}

// A change is a set of sockets that is ready and not yet in use.
type change struct {
	start map[bound]net.Listener // opened, or taken over from another listener
	stop  []bound
	fresh []net.Listener // of start, those to close when nothing comes of it
}

// prepare opens what is new. On an error nothing has changed.
func (k *sockets) prepare(want []bound) (*change, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &change{start: map[bound]net.Listener{}}
	for b := range k.open {
		if !slices.Contains(want, b) {
			c.stop = append(c.stop, b)
		}
	}
	for _, b := range want {
		if _, ok := k.open[b]; ok {
			continue
		}
		l, err := k.take(b, c.stop)
		if l == nil && err == nil {
			l = k.given.take(b.addr)
		}
		if l == nil && err == nil {
			l, err = listen(b.addr, !slices.ContainsFunc(want, func(o bound) bool {
				return o.addr.Addr() == netip.IPv4Unspecified() && o.addr.Port() == b.addr.Port()
			}))
		}
		if err != nil {
			c.drop()
			return nil, fmt.Errorf("listener %q: %w", b.listener, err)
		}
		c.start[b] = l
		c.fresh = append(c.fresh, l)
	}
	return c, nil
}

// take gives a second handle of the socket of an address that another listener
// gives up; nil when there is none.
func (k *sockets) take(b bound, stop []bound) (net.Listener, error) {
	for _, old := range stop {
		if old.addr != b.addr || b.addr.Port() == 0 {
			continue
		}
		f, err := k.open[old].(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return net.FileListener(f)
	}
	return nil, nil
}

func (c *change) drop() {
	for _, l := range c.fresh {
		l.Close()
	}
}

// commit starts what is new and closes what is gone.
func (k *sockets) commit(c *change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for b, l := range c.start {
		k.open[b] = l
		k.wg.Add(1)
		go func() {
			defer k.wg.Done()
			err := k.serve(b.listener, l)
			k.mu.Lock()
			gone := k.open[b] != l
			k.mu.Unlock()
			if !gone && err != nil {
				k.ended(b.listener, err)
			}
		}()
	}
	for _, b := range c.stop {
		l := k.open[b]
		delete(k.open, b)
		l.Close()
	}
}

// close ends them all.
func (k *sockets) close() {
	k.mu.Lock()
	for b, l := range k.open {
		delete(k.open, b)
		l.Close()
	}
	k.mu.Unlock()
	k.wg.Wait()
}

// addresses are those really bound, by listener: port 0 has become a number.
func (k *sockets) addresses() map[string][]netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string][]netip.AddrPort{}
	for b, l := range k.open {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			out[b.listener] = append(out[b.listener], plain(a.AddrPort()))
		}
	}
	for _, list := range out {
		slices.SortFunc(list, netip.AddrPort.Compare)
	}
	return out
}

// all are the addresses without their listeners.
func (k *sockets) all() []netip.AddrPort {
	byName := k.addresses()
	var out []netip.AddrPort
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name]...)
	}
	return out
}
