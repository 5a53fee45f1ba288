package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// connect makes a connection that is ready for MAIL, to the first server that
// gives one. The caller holds a slot. Servers that are set aside are tried when
// no other is left, all of them within the time for one, so that a message does
// not wait for each of several machines that are known to be dead.
func (h *NextHop) connect(ctx context.Context, first *host) (*conn, *fault) {
	h.connects.Add(1)
	well, aside := h.order(first)
	c, f := h.connectAny(ctx, well)
	if c == nil && len(aside) > 0 && ctx.Err() == nil {
		actx, cancel := context.WithTimeout(ctx, h.cfg.ConnectTimeout)
		defer cancel()
		var again *fault
		if c, again = h.connectAny(actx, aside); c == nil && f == nil {
			f = again
		}
	}
	if c != nil {
		h.answers()
		return c, nil
	}
	h.connectErrors.Add(1)
	if f.crowded {
		h.warn("crowded", "the next hop takes no more connections, mail waits for one of those it has: max_connections is above its limit", f.err)
		f.told = true
		return nil, f
	}
	h.down.Store(&f.err)
	if !f.told {
		h.warn("connect", "no usable connection to the next hop", f.err)
	}
	f.told = true
	return nil, f
}

// connectAny tries the servers in order. The fault is that of the last, unless
// one is only full of connections of ours: those can be waited for.
func (h *NextHop) connectAny(ctx context.Context, list []*host) (*conn, *fault) {
	var worst *fault
	for _, ho := range list {
		c, f := h.connectTo(ctx, ho)
		if f == nil {
			return c, nil
		}
		if f.crowded = f.crowded && ho.live.Load() > 0; worst == nil || !worst.crowded {
			worst = f
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, worst
}

// connectTo makes a connection to one server and keeps the books on its health.
func (h *NextHop) connectTo(ctx context.Context, ho *host) (*conn, *fault) {
	if f := ho.refusing(h.now()); f != nil {
		return nil, f
	}
	ho.connects.Add(1)
	c, f := h.open(ctx, ho, h.cfg.TLS != "none")
	if f != nil && errors.Is(f.err, errHandshake) && h.cfg.TLS == "may" && !ho.implicit {
		// Opportunistic: once more, in clear text, on a new socket; the old
		// one is never spoken to again.
		h.warn("handshake", "TLS handshake with the next hop failed, mail goes in clear text (tls = \"may\")", f.err)
		c, f = h.open(ctx, ho, false)
	}
	if f != nil {
		ho.connectErrors.Add(1)
		if ctx.Err() == nil { // a client that went away says nothing about the server
			ho.failed(h.now(), f)
			h.hostLost(ho, f)
		}
		return nil, f
	}
	h.hostBack(ho)
	ho.bare.Store(c.ext.xclient == 0)
	caps := c.ext.capabilities()
	if old := ho.caps.Load(); old == nil || *old != caps {
		ho.caps.Store(&caps)
		h.joinCapabilities()
	}
	return c, nil
}

// live counts the connections that were greeted and are open.
func (h *NextHop) live() int {
	n := 0
	for _, ho := range h.hosts {
		n += int(ho.live.Load())
	}
	return n
}

// open dials, reads the greeting and greets; wantTLS allows STARTTLS.
func (h *NextHop) open(ctx context.Context, ho *host, wantTLS bool) (*conn, *fault) {
	nc, f := h.dial(ctx, ho)
	if f != nil {
		return nil, f
	}
	c := &conn{hop: h, host: ho, nc: nc, raw: nc}
	c.tcp, _ = nc.(*net.TCPConn)
	c.rd.src = nc
	if ho.path != "" {
		c.name = ho.host + "[" + ho.path + "]"
	} else {
		c.near, c.far = addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())
		if c.far.IsValid() {
			h.own.Add(c.near, c.far)
		}
		c.name = ho.host + "[" + c.far.Addr().Unmap().String() + "]:" + strconv.Itoa(int(ho.port))
	}
	stop := c.watch(ctx)
	f = c.prepare(ctx, wantTLS && ho.path == "")
	stop()
	if f == nil && c.tainted {
		f = lost(fmt.Errorf("%s: %w", c.name, ctx.Err()))
	}
	if f != nil {
		c.close()
		return nil, f
	}
	return c, nil
}

// prepare reads the greeting, greets, starts TLS by the policy, and logs in.
func (c *conn) prepare(ctx context.Context, wantTLS bool) *fault {
	h := c.hop
	if c.near == c.far && c.near.IsValid() {
		// TCP can connect a socket to itself on an ephemeral port.
		return misconfigured(fmt.Errorf("%s: the connection came back to itself", c.name))
	}
	if c.host.implicit {
		if f := c.handshake(ctx, h.cfg.ConnectTimeout); f != nil {
			return f
		}
	}
	if err := c.within(ctx, h.cfg.ConnectTimeout); err != nil {
		return broken(c.name, "greeting", err)
	}
	r, err := c.rd.read()
	if err != nil {
		f := broken(c.name, "greeting", err)
		// A server out of processes leaves a connection in the queue of its
		// socket. With fallbacks it is no use to wait for that one.
		f.crowded = len(h.hosts) == 1 && ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded)
		return f
	}
	if r.code != 220 {
		f := unexpected(c.name, "the connection", r)
		f.crowded = r.class() == 4
		return f
	}
	c.greeted = true
	c.host.live.Add(1)
	if f := c.stepDone("the connection"); f != nil {
		return f
	}
	if f := c.hello(ctx, h.hostname); f != nil {
		return f
	}
	if wantTLS && !c.host.implicit {
		if f := c.startTLS(ctx); f != nil {
			return f
		}
	}
	return c.authenticate(ctx)
}

// minDial is the least time that one address of several is given.
const minDial = 2 * time.Second

// dial opens a socket to the first address that answers; every address is
// tried. None of them may be ourselves.
func (h *NextHop) dial(ctx context.Context, ho *host) (net.Conn, *fault) {
	end := time.Now().Add(h.cfg.ConnectTimeout)
	dctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if ho.path != "" {
		nc, err := h.dialTCP(dctx, "unix", ho.path)
		if err != nil {
			return nil, unreachable(fmt.Errorf("%s: %w", ho.host, err))
		}
		return nc, nil
	}
	addrs := []netip.Addr{ho.literal}
	if !ho.literal.IsValid() {
		var err error
		if addrs, err = h.lookup(dctx, ho.host); err != nil || len(addrs) == 0 {
			return nil, unreachable(fmt.Errorf("%s: name not resolved: %w", ho.host, orNone(err)))
		}
		ho.known.Store(&addrs)
	}
	if err := h.refuseOwn(ho, addrs); err != nil {
		return nil, misconfigured(err)
	}
	var errs []error
	for i, a := range addrs {
		wait := max(minDial, time.Until(end)/time.Duration(len(addrs)-i))
		actx, cancel := context.WithTimeout(dctx, wait)
		nc, err := h.dialTCP(actx, "tcp", netip.AddrPortFrom(a, ho.port).String())
		cancel()
		if err == nil {
			return nc, nil
		}
		errs = append(errs, err)
	}
	return nil, unreachable(fmt.Errorf("%s:%d: %w", ho.host, ho.port, errors.Join(errs...)))
}

// LeadsTo tells the port of this next hop when one of its servers is the machine a, as far as
// its last look-up knows. On loopback every server of the machine has the same
// address, so nothing can be told; nor has a unix socket one.
func (h *NextHop) LeadsTo(a netip.Addr) (port uint16, yes bool) {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return 0, false
	}
	for _, ho := range h.hosts {
		if known := ho.known.Load(); known != nil {
			for _, k := range *known {
				if k.Unmap().WithZone("") == a {
					return ho.port, true
				}
			}
		}
	}
	return 0, false
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no address")
	}
	return err
}

// refuseOwn gives an error when one of the addresses is a listener of ours:
// mail would come round for ever.
func (h *NextHop) refuseOwn(ho *host, addrs []netip.Addr) error {
	if h.listenAddrs == nil {
		return nil
	}
	for _, l := range h.listenAddrs() {
		if l.Port() != ho.port {
			continue
		}
		for _, a := range addrs {
			a = a.Unmap().WithZone("")
			la := l.Addr().Unmap().WithZone("")
			if a == la || a.IsUnspecified() || la.IsUnspecified() && isLocal(a) {
				return fmt.Errorf("url = %q leads to our own listener %s: mail would go round in a circle; give the address of the server behind us", h.cfg.URL, l)
			}
		}
	}
	return nil
}

// isLocal tells whether an address is one of this machine.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range list {
		if n, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmapped(t.AddrPort())
	}
	return netip.AddrPort{}
}
