package smtpproxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"garita/mail"
)

// handshakeTimeout bounds a TLS handshake as a whole.
const handshakeTimeout = 30 * time.Second

// starttls is STARTTLS (RFC 3207). What the client sent behind the command is
// dropped, not executed (CVE-2011-0411); after a failed handshake nothing is
// executed either (attacks M-15, S-32).
func (s *session) starttls(ctx context.Context, arg string) {
	switch {
	case arg != "":
		s.fail(mail.Permanent(501, "5.4", "Syntax: STARTTLS"))
		return
	case s.s.TLS != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: TLS is active already"))
		return
	case !s.canTLS():
		s.fail(mail.Permanent(502, "5.1", "Error: command not implemented"))
		return
	case !s.greeted:
		s.fail(mail.Permanent(503, "5.1", "Error: send EHLO first"))
		return
	}
	if s.over(ActHandshake) {
		s.refuseWith(replyHandshakes) // RFC 3207 section 4
		return
	}
	s.dropTransaction(ctx, "STARTTLS")
	if n := s.in.discard(); n > 0 {
		s.srv.log.ClientWarn(&s.s, "dropped octets that were injected before TLS", slog.Int("octets", n))
	}
	s.out.reply(mail.OK(220, "0.0", "Ready to start TLS"))
	if s.out.flush() != nil {
		s.close()
		return
	}
	s.handshake(ctx)
}

// handshake takes the connection under TLS. When that fails the session is
// over.
func (s *session) handshake(ctx context.Context) bool {
	tc := tls.Server(s.conn, s.ln.TLS)
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	s.conn.SetReadDeadline(time.Now().Add(handshakeTimeout)) // not that of an earlier read
	s.state.Store(waiting)                                   // Shutdown need not wait for a client that stalls here
	err := tc.HandshakeContext(hctx)
	s.state.Store(busy)
	if err != nil {
		s.srv.stats.tlsFailed.Add(1)
		s.srv.log.ClientWarn(&s.s, "TLS handshake failed; connection closed", slog.String("error", err.Error()))
		s.out.err = errReadFailed // a plain reply would be taken for a TLS record
		s.close()
		return false
	}
	s.secured(tc)
	return true
}

// secured begins anew under TLS: nothing said before counts (RFC 3207
// section 4.2).
func (s *session) secured(tc *tls.Conn) {
	cs := tc.ConnectionState()
	// The chain is of no use here and would stay in memory for the session.
	s.s.TLS = &tls.ConnectionState{Version: cs.Version, CipherSuite: cs.CipherSuite,
		HandshakeComplete: true, DidResume: cs.DidResume, ServerName: cs.ServerName}
	s.conn = tc
	s.in.discard()
	s.in.conn, s.out.conn = tc, tc
	s.greeted, s.esmtp, s.offer, s.forward = false, false, offer{}, nil
	s.s.Helo, s.s.Proto = "", ""
	s.forgetLogin()
	s.loginByCertificate(&cs)
	s.srv.log.TLS(&s.s)
}

// tlsName is "TLSv1.3 with cipher NAME", as Postfix says it.
func tlsName(cs *tls.ConnectionState) string {
	v := "TLSv1.2"
	if cs.Version == tls.VersionTLS13 {
		v = "TLSv1.3"
	}
	return v + " with cipher " + tls.CipherSuiteName(cs.CipherSuite)
}
