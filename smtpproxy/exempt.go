package smtpproxy

import (
	"strings"

	"garita/mail"
)

// roleAddress tells abuse@ and postmaster@ of our domains: the addresses at
// which a person must be reachable also for those whom we refuse, who have no
// other way to tell us that we are wrong (RFC 5321 section 4.5.1, RFC 2142).
func (l *Listener) roleAddress(p mail.Path) bool {
	if l.role != mail.Inbound {
		return false
	}
	switch {
	case isRole(p.Local, "postmaster"):
		return p.Domain == "" || l.ours[p.DomainKey()]
	case isRole(p.Local, "abuse"):
		return l.ours[p.DomainKey()]
	}
	return false
}

// isRole compares without the case of ASCII alone: with SMTPUTF8 a local part
// may have a long s, which Unicode folds to an s and which is another mailbox.
func isRole(local, name string) bool {
	return len(local) == len(name) && strings.EqualFold(local, name)
}

// refuses tells that a decision ends the command at hand.
func (s *session) refuses(d mail.Decision) bool {
	return (d.Verdict == mail.Reject || d.Verdict == mail.Defer) && !s.setsAside(d)
}

// setsAside tells that a decision does not count, because all recipients are
// role addresses; the log is told. What a mandatory check found stands, and
// so does all that is not a check: size, loops, protocol, relaying, rates.
func (s *session) setsAside(d mail.Decision) bool {
	t := s.tx
	if !t.exempt || d.Verdict == mail.Continue || d.Verdict == mail.Accept || d.Mandatory {
		return false
	}
	t.Exempt = "postmaster"
	return true
}
