package smtpproxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"garita/mail"
)

// namesTimeout bounds the look-up of a client's name, whatever the resolver's
// own bounds are.
const namesTimeout = 5 * time.Second

// trusts tells that a peer may use the listener by its address.
func (l *Listener) trusts(peer netip.Addr) bool {
	return l.role != mail.Inbound && contains(l.TrustedNetworks, peer)
}

// trustsSaid tells the same of a client whom a peer has named. A balancer's
// own address is never one of ours, or all behind it would be trusted; and a
// loopback address that another machine speaks of is that machine's (S-194).
func (l *Listener) trustsSaid(client, peer netip.Addr) bool {
	return l.trusts(client) && !contains(l.ProxyFrom, client) && (!client.IsLoopback() || peer.IsLoopback())
}

// arrive finds out who the client is, and greets it. Everything that may
// take time happens here and not in the accept loop.
func (s *session) arrive(ctx context.Context) bool {
	if len(s.ln.ProxyFrom) > 0 && !s.introduced() {
		return false
	}
	s.lookUp(ctx)
	s.srv.log.Connect(&s.s)
	s.opened = true
	if s.ln.ImplicitTLS && !s.implicitTLS(ctx) {
		return false
	}
	return s.greet(ctx)
}

// introduced reads the balancer's header. Without one the connection is
// closed without a word: what speaks there is not the balancer that we know.
func (s *session) introduced() bool {
	h, err := s.readProxy()
	switch {
	case errors.Is(err, errDraining):
		return false
	case err != nil:
		s.srv.stats.turnedAway.Add(1)
		s.srv.stats.noHeader.Add(1)
		s.srv.alarm("a load balancer's connection did not begin with a PROXY header that we take; it was closed",
			slog.String("listener", s.ln.Name), slog.String("peer", s.s.Peer.Addr().String()), slog.String("error", err.Error()))
		return false
	case h.local:
		return true // it speaks for itself, and is never trusted
	}
	s.dst = h.dst
	if why := s.become(h.src); why != "" {
		s.srv.turnedAway(s.ln.Name, s.s.Client.Addr(), why)
		if !s.ln.ImplicitTLS {
			s.out.reply(replyTooMany)
		}
		return false
	}
	return true
}

// become makes the session that of a client whom the peer named. What the
// peer itself might do is gone: trust, limits and conduct are the client's.
func (s *session) become(client netip.AddrPort) (why string) {
	trusted := s.ln.trustsSaid(client.Addr(), s.s.Peer.Addr())
	s.s.Client, s.s.Trusted, s.s.Host = client, trusted, mail.HostName{}
	s.forgetLogin()
	s.vouched = false
	to := place{key: slotKey(client.Addr()), reserve: trusted, counted: !trusted}
	if why = s.srv.slots.move(s.place, to, s.set.Limits); why != "" {
		return why
	}
	s.place = to
	if why, yes := s.tooMuch(ActConnection); yes {
		return why
	}
	return ""
}

// lookUp finds the client's name. In the content-filter role the client is
// the MTA before us, and names are its business.
func (s *session) lookUp(ctx context.Context) {
	a := s.s.Client.Addr()
	if s.set.Names == nil || s.s.Role == mail.ContentFilter || s.vouched || !a.IsValid() || a.IsLoopback() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	s.s.Host = s.set.Names.HostName(ctx, a)
}

// implicitTLS is TLS from the first octet (RFC 8314 section 3.3). Whatever
// fails, no word goes out in clear.
func (s *session) implicitTLS(ctx context.Context) bool {
	if s.over(ActHandshake) {
		return false
	}
	if n := s.in.buffered(); n > 0 { // came with the PROXY header
		early := bytes.Clone(s.in.buf[s.in.r:s.in.w])
		s.in.discard()
		s.conn = &replayed{Conn: s.conn, early: early}
	}
	return s.handshake(ctx)
}

// replayed is a connection whose first octets were read already.
type replayed struct {
	net.Conn
	early []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// greet sends the first line, or what stands in for it.
func (s *session) greet(ctx context.Context) bool {
	health := s.vouched && len(s.ln.ProxyFrom) > 0 // nothing is relayed for it
	if s.s.Role == mail.ContentFilter && !s.s.Trusted && !health {
		s.out.reply(replyNotYou)
		s.srv.log.Reject(&s.s, nil, "CONNECT", "", replyNotYou)
		return false
	}
	if d := s.set.Policy.Connect(ctx, &s.s); d.Verdict == mail.Reject || d.Verdict == mail.Defer {
		r := decisionReply(d)
		if d.Verdict == mail.Defer {
			r.Code, r.Enhanced = 421, "4.7.0"
		}
		s.srv.log.Reject(&s.s, nil, "CONNECT", "", r)
		s.out.bare = false
		s.out.reply(r)
		return false
	}
	if !s.patient() {
		return false
	}
	s.out.bare = true
	s.out.reply(mail.OK(220, "", s.set.Hostname+" ESMTP Garita"))
	s.out.bare = false
	return true
}

// patient lets a client without a confirmed name wait for its greeting. Who
// speaks meanwhile does not listen, as programs that only send do (RFC 5321
// section 3.1; attacks S-50). Behind XCLIENT it is the peer who waits.
func (s *session) patient() bool {
	d := s.ln.GreetDelay
	if d <= 0 || s.s.Trusted || s.vouched || s.named || s.s.Host.Confirmed || s.srv.pressure.on.Load() {
		return true
	}
	s.state.Store(waiting)
	defer s.state.Store(busy)
	s.conn.SetReadDeadline(time.Now().Add(d))
	var err error
	if s.in.buffered() == 0 && !s.srv.draining.Load() {
		err = s.in.fill()
	}
	switch {
	case s.srv.draining.Load():
		s.out.reply(replyShutdown)
		return false
	case s.in.buffered() > 0:
		s.out.reply(replyOutOfStep)
		s.srv.log.Pipelining(&s.s, s.phase())
		s.abuse()
		s.close()
		return false
	case isTimeout(err):
		return true
	}
	s.srv.log.Lost(&s.s, s.phase(), 0)
	s.in.kill()
	return false
}
