package smtpproxy

import (
	"log/slog"
	"net/netip"

	"garita/mail"
)

// String names the act for the log.
func (a Act) String() string {
	switch a {
	case ActConnection:
		return "connection"
	case ActHandshake:
		return "handshake"
	case ActMessage:
		return "message"
	case ActRecipient:
		return "recipient"
	case ActAuthFailure:
		return "auth-failure"
	case ActUnknownRecipient:
		return "unknown-recipient"
	case ActJunk:
		return "junk"
	case ActUnknownBounce:
		return "unknown-recipient of a bounce"
	}
	return "unknown"
}

// What a client is told that does too much. It is about now: never 5xx.
var (
	replyTooMany    = mail.Temporary(421, "7.0", "Error: too many connections")
	replyTooMuch    = mail.Temporary(421, "7.0", "Error: too much, try again later")
	replyMessages   = mail.Temporary(450, "7.1", "Error: too many messages, try again later")
	replyRecipients = mail.Temporary(450, "7.1", "Error: too many recipients, try again later")
	replyHandshakes = mail.Temporary(454, "7.0", "TLS not available now, try again later")
)

// tooMuch counts an act across sessions and tells whether it is one too many.
// Trusted peers are never asked about (design section 4.10), nor peers that
// may speak for others as long as they have named nobody.
func (s *session) tooMuch(act Act) (why string, yes bool) {
	if s.set.Conduct == nil || s.s.Trusted || s.vouched {
		return "", false
	}
	r := s.set.Conduct.Note(s.s.Client.Addr(), act)
	return r.Why, r.Refuse
}

// over is tooMuch with its line in the log.
func (s *session) over(act Act) bool {
	why, yes := s.tooMuch(act)
	if yes {
		s.srv.stats.overLimit.Add(1)
		s.srv.log.ClientWarn(&s.s, "client conduct: refused for now",
			slog.String("act", act.String()), slog.String("why", why))
	}
	return yes
}

// abuse counts an abuse of the protocol. The session is at its end anyway.
func (s *session) abuse() { s.tooMuch(ActJunk) }

// harvest counts an unknown recipient, and ends the session of a client that
// asks for too many of them (attacks S-106).
func (s *session) harvest(r mail.Reply) {
	if r.Code != 550 || r.Enhanced != "5.1.1" || s.closing {
		return
	}
	act := ActUnknownRecipient
	if s.tx != nil && s.tx.ReversePath.IsNull() {
		act = ActUnknownBounce
	}
	if !s.over(act) {
		return
	}
	s.out.reply(replyTooMuch)
	s.close()
}

// turnedAway counts and tells a client that was not let in. One line stands
// for many: a flood must not fill the disk.
func (s *Server) turnedAway(listener string, client netip.Addr, why string) {
	s.stats.turnedAway.Add(1)
	s.alarm("a client was turned away", slog.String("why", why),
		slog.String("listener", listener), slog.String("client", client.String()))
}
