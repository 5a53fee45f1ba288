package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// connect makes a connection that is ready for MAIL. The caller holds a slot.
func (h *NextHop) connect(ctx context.Context) (*conn, *fault) {
	h.connects.Add(1)
	c, f := h.open(ctx, h.cfg.TLS != "none")
	if f != nil && errors.Is(f.err, errHandshake) && h.cfg.TLS == "may" {
		// Opportunistic: once more, in clear text, on a new socket; the old
		// one is never spoken to again.
		h.warn("handshake", "TLS handshake with the next hop failed, mail goes in clear text (tls = \"may\")", f.err)
		c, f = h.open(ctx, false)
	}
	if f != nil {
		h.connectErrors.Add(1)
		h.down.Store(&f.err)
		h.warn("connect", "no usable connection to the next hop", f.err)
		f.told = true
		return nil, f
	}
	h.answers()
	caps := c.ext.capabilities()
	if *h.caps.Load() != caps {
		h.caps.Store(&caps)
	}
	return c, nil
}

// open dials, reads the greeting and greets; wantTLS allows STARTTLS.
func (h *NextHop) open(ctx context.Context, wantTLS bool) (*conn, *fault) {
	nc, f := h.dial(ctx)
	if f != nil {
		return nil, f
	}
	c := &conn{hop: h, nc: nc, raw: nc}
	c.tcp, _ = nc.(*net.TCPConn)
	c.rd.src = nc
	c.near, c.far = addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())
	h.own.Add(c.near, c.far)
	c.name = h.host + "[" + c.far.Addr().Unmap().String() + "]:" + strconv.Itoa(int(h.port))
	stop := c.watch(ctx)
	f = c.prepare(ctx, wantTLS)
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

// prepare reads the greeting, greets, and starts TLS by the policy.
func (c *conn) prepare(ctx context.Context, wantTLS bool) *fault {
	h := c.hop
	if c.near == addrPort(c.raw.RemoteAddr()) && c.near.IsValid() {
		// TCP can connect a socket to itself on an ephemeral port.
		return misconfigured(fmt.Errorf("%s: the connection came back to itself", c.name))
	}
	if err := c.within(ctx, h.cfg.ConnectTimeout); err != nil {
		return broken(c.name, "greeting", err)
	}
	r, err := c.rd.read()
	if err != nil {
		return broken(c.name, "greeting", err)
	}
	if r.code != 220 {
		return unexpected(c.name, "the connection", r)
	}
	if f := c.stepDone("the connection"); f != nil {
		return f
	}
	if f := c.hello(ctx); f != nil {
		return f
	}
	if !wantTLS {
		return nil
	}
	return c.startTLS(ctx)
}

// minDial is the least time that one address of several is given.
const minDial = 2 * time.Second

// dial opens a socket to the first address that answers; every address is
// tried. None of them may be ourselves.
func (h *NextHop) dial(ctx context.Context) (net.Conn, *fault) {
	end := time.Now().Add(h.cfg.ConnectTimeout)
	dctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	addrs := []netip.Addr{h.literal}
	if !h.literal.IsValid() {
		var err error
		if addrs, err = h.lookup(dctx, h.host); err != nil || len(addrs) == 0 {
			return nil, unreachable(fmt.Errorf("%s: name not resolved: %w", h.host, orNone(err)))
		}
	}
	if !h.literal.IsValid() {
		h.known.Store(&addrs)
	}
	if err := h.refuseOwn(addrs); err != nil {
		return nil, misconfigured(err)
	}
	var errs []error
	for i, a := range addrs {
		wait := max(minDial, time.Until(end)/time.Duration(len(addrs)-i))
		actx, cancel := context.WithTimeout(dctx, wait)
		nc, err := h.dialTCP(actx, "tcp", netip.AddrPortFrom(a, h.port).String())
		cancel()
		if err == nil {
			return nc, nil
		}
		errs = append(errs, err)
	}
	return nil, unreachable(fmt.Errorf("%s:%d: %w", h.host, h.port, errors.Join(errs...)))
}

// LeadsTo tells the port of this next hop when it is the machine a, as far as
// its last look-up knows. On loopback every server of the machine has the same
// address, so nothing can be told.
func (h *NextHop) LeadsTo(a netip.Addr) (port uint16, yes bool) {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return 0, false
	}
	if known := h.known.Load(); known != nil {
		for _, k := range *known {
			if k.Unmap().WithZone("") == a {
				return h.port, true
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
func (h *NextHop) refuseOwn(addrs []netip.Addr) error {
	if h.listenAddrs == nil {
		return nil
	}
	for _, l := range h.listenAddrs() {
		if l.Port() != h.port {
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

var errHandshake = errors.New("TLS handshake failed")

// startTLS obeys the policy (RFC 3207). encrypt and verify never go on in
// clear text; may does, when STARTTLS is not offered or refused.
func (c *conn) startTLS(ctx context.Context) *fault {
	h := c.hop
	must := h.cfg.TLS != "may"
	if !c.ext.starttls {
		if must {
			return noTLS(fmt.Errorf("%s: STARTTLS is not offered and tls = %q", c.name, h.cfg.TLS))
		}
		return nil
	}
	r, err := c.command(ctx, h.cfg.CommandTimeout, "STARTTLS")
	if err != nil {
		return broken(c.name, "STARTTLS", err)
	}
	if r.code != 220 {
		if must {
			return noTLS(fmt.Errorf("%s: answered STARTTLS with %q and tls = %q", c.name, r.line(), h.cfg.TLS))
		}
		if r.code == 421 || r.class() != 4 && r.class() != 5 {
			return unexpected(c.name, "STARTTLS", r)
		}
		h.warn("starttls", "the next hop refused STARTTLS, mail goes in clear text (tls = \"may\")", fmt.Errorf("%s: %s", c.name, r.line()))
		return c.stepDone("STARTTLS")
	}
	if c.rd.buffered() > 0 {
		// Response injection: what came in clear text after the 220 would be
		// read as if it had come through TLS.
		return noTLS(fmt.Errorf("%s: octets after the reply to STARTTLS, before TLS", c.name))
	}
	if err := c.within(ctx, h.cfg.CommandTimeout); err != nil {
		return broken(c.name, "TLS handshake", err)
	}
	tc := tls.Client(c.raw, h.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		return noTLS(fmt.Errorf("%s: %w: %w", c.name, errHandshake, err))
	}
	c.nc, c.tcp, c.rd.src = tc, nil, tc
	c.tls = h.describeTLS(tc.ConnectionState())
	// RFC 3207 section 4.2: everything learnt before TLS is forgotten.
	return c.hello(ctx)
}
