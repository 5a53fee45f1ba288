package smtpproxy

import (
	"context"
	"net/netip"
	"strings"

	"garita/mail"
)

// maxAttribute bounds one XFORWARD value (Postfix's XFORWARD_README: 255).
const maxAttribute = 255

// xforward is Postfix's XFORWARD: a trusted peer tells whom it has the next
// message from. It is for the log; no right comes from it.
func (s *session) xforward(_ context.Context, arg string) {
	switch {
	case !s.ln.XForward || !s.s.Trusted:
		s.fail(mail.Permanent(550, "7.0", "Error: insufficient authorization"))
		return
	case s.tx != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: MAIL transaction in progress"))
		return
	}
	f := s.forward
	if f == nil {
		f = &mail.Forwarded{}
	}
	next := *f
	for _, word := range strings.Fields(arg) {
		name, raw, ok := strings.Cut(word, "=")
		value, good := mail.DecodeXtext(raw)
		if !ok || !good || len(value) > maxAttribute || !setForwarded(&next, strings.ToUpper(name), value) {
			s.fail(mail.Permanent(501, "5.4", "Error: bad XFORWARD attribute"))
			return
		}
	}
	s.forward = &next
	s.out.reply(replyOK)
}

// setForwarded sets one attribute; false for one that does not exist or
// whose value cannot be.
func setForwarded(f *mail.Forwarded, name, value string) bool {
	if strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]") {
		value = ""
	}
	switch name {
	case "NAME":
		f.Name = value
	case "ADDR":
		if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
			value = value[5:]
		}
		if value != "" {
			a, err := netip.ParseAddr(value)
			if err != nil {
				return false
			}
			value = a.Unmap().WithZone("").String()
		}
		f.Addr = value
	case "PORT":
		f.Port = value
	case "PROTO":
		f.Proto = value
	case "HELO":
		f.Helo = value
	case "IDENT":
		f.Ident = value
	case "SOURCE":
		value = strings.ToUpper(value)
		if value != "" && value != "LOCAL" && value != "REMOTE" {
			return false
		}
		f.Source = value
	default:
		return false
	}
	return true
}
