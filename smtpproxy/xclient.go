package smtpproxy

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"garita/mail"
)

// mayXClient tells that the one at the other end may say who its client is.
// As in Postfix it is looked up for the client that the session has now: who
// has named another one by ADDR speaks as that other one, and has no right to
// a second change. So a client behind a proxy that lets commands through
// cannot choose its own address.
func (s *session) mayXClient() bool {
	return !s.named && s.s.Role != mail.ContentFilter && contains(s.ln.XClientFrom, s.s.Client.Addr())
}

// identity is what XCLIENT says of a client; nil pointers were not said. HELO
// and PROTO overrule the EHLO that follows: that one is the peer's own.
type identity struct {
	host             *mail.HostName
	addr             *netip.Addr // the zero Addr: unavailable
	port             uint16
	dst              netip.Addr
	dstPort          uint16
	helo, proto, log *string
}

// xclient is Postfix's XCLIENT (XCLIENT_README): the peer says who its client
// is, and access control looks at that client from then on. Its success is
// 220 and the session begins anew (all but TLS); a refusal that the client
// would have met at its connection is met here.
func (s *session) xclient(ctx context.Context, arg string) {
	switch {
	case !s.mayXClient():
		s.fail(mail.Permanent(550, "7.0", "Error: insufficient authorization"))
		return
	case s.tx != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: MAIL transaction in progress"))
		return
	}
	id, ok := parseXClient(arg)
	if !ok {
		s.fail(mail.Permanent(501, "5.4", "Error: bad XCLIENT attribute"))
		return
	}
	if s.in.buffered() > 0 {
		// What comes early was said by one client and would run as another.
		s.inStep()
		return
	}
	if s.junk++; s.junk > s.set.Limits.JunkCommands {
		s.out.reply(replyTooMuch)
		s.close()
		return
	}
	s.greeted, s.esmtp, s.offer, s.forward = false, false, offer{}, nil
	s.s.Helo, s.s.Proto = "", "SMTP"
	if why := s.identify(id); why != "" {
		s.srv.turnedAway(s.ln.Name, s.s.Client.Addr(), why)
		s.out.reply(replyTooMany)
		s.close()
		return
	}
	if id.addr != nil && s.said.host == nil {
		s.lookUp(ctx)
	}
	s.srv.log.Info("smtpd", "XCLIENT", slog.String("session", s.s.ID), slog.String("peer", s.s.Peer.Addr().String()),
		slog.String("client", s.s.Client.Addr().String()), slog.String("name", s.s.HostOrUnknown()))
	if !s.greet(ctx) && !s.closing {
		s.close()
	}
}

// identify takes over what was said, in one command or several: a peer whose
// lines are short says ADDR last, since after it there is no other.
func (s *session) identify(id identity) (why string) {
	if s.said == nil {
		s.said = &identity{}
	}
	s.said.add(id)
	switch {
	case id.addr == nil:
	case id.addr.IsValid():
		s.named = true
		if why = s.become(netip.AddrPortFrom(*id.addr, s.said.port)); why != "" {
			return why
		}
	default:
		// Nobody knows the client. The peer's address stays, so that nothing
		// is counted against it, and none of the peer's rights.
		s.named = true
		s.s.Trusted, s.s.Host = false, mail.HostName{}
		s.forgetLogin()
	}
	if h := s.said.host; h != nil {
		s.s.Host = *h
	}
	if user := s.said.log; user != nil {
		if s.forgetLogin(); *user != "" {
			s.s.Login, s.s.LoginMethod, s.login.done = *user, "XCLIENT", true
			s.loggedIn()
		}
	}
	if s.said.dst.IsValid() {
		s.dst = netip.AddrPortFrom(s.said.dst, s.said.dstPort)
	}
	return ""
}

// add takes over what the next command says.
func (id *identity) add(next identity) {
	if next.host != nil {
		id.host = next.host
	}
	if next.port != 0 {
		id.port = next.port
	}
	if next.dst.IsValid() {
		id.dst = next.dst
	}
	if next.dstPort != 0 {
		id.dstPort = next.dstPort
	}
	for _, v := range []struct{ to, from **string }{{&id.helo, &next.helo}, {&id.proto, &next.proto}, {&id.log, &next.log}} {
		if *v.from != nil {
			*v.to = *v.from
		}
	}
}

// parseXClient reads the attributes. All must be good: half an identity is
// the wrong one.
func parseXClient(arg string) (id identity, ok bool) {
	words := strings.Fields(arg)
	var seen []string
	for _, word := range words {
		name, raw, eq := strings.Cut(word, "=")
		value, good := mail.DecodeXtext(raw)
		name = strings.ToUpper(name)
		if !eq || !good || len(value) > maxAttribute || slices.Contains(seen, name) {
			return identity{}, false
		}
		seen = append(seen, name) // at most nine: a tenth name is not known
		if strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]") {
			value = ""
		} else if value == "" {
			return identity{}, false
		}
		if !id.set(name, value) {
			return identity{}, false
		}
	}
	return id, len(words) > 0
}

// set takes one attribute; an empty value is one that is not available.
func (id *identity) set(name, value string) (ok bool) {
	switch name {
	case "NAME", "REVERSE_NAME":
		return id.setName(value, name == "NAME")
	case "ADDR":
		a, ok := saidAddr(value)
		id.addr = &a
		return ok
	case "DESTADDR":
		id.dst, ok = saidAddr(value)
		return ok
	case "PORT":
		id.port, ok = saidPort(value)
		return ok
	case "DESTPORT":
		id.dstPort, ok = saidPort(value)
		return ok
	case "PROTO":
		value = strings.ToUpper(value)
		id.proto = &value
		return value == "SMTP" || value == "ESMTP" || value == ""
	case "HELO":
		id.helo = &value
		return true
	case "LOGIN":
		id.log = &value
		return true
	}
	return false
}

// setName takes NAME, which the peer has confirmed, or REVERSE_NAME, which
// nobody has (attacks S-195).
func (id *identity) setName(value string, confirmed bool) bool {
	if value != "" && (!mail.ValidDomain(value, false) || strings.HasPrefix(value, "[")) {
		return false
	}
	if id.host != nil && (id.host.Confirmed || value == "") {
		return true // NAME has come before REVERSE_NAME, or says more
	}
	id.host = &mail.HostName{Name: value, Confirmed: confirmed && value != ""}
	return true
}

// saidAddr reads an address as XCLIENT writes it; the zero Addr is none.
func saidAddr(v string) (netip.Addr, bool) {
	if v == "" {
		return netip.Addr{}, true
	}
	v6 := len(v) > 5 && strings.EqualFold(v[:5], "IPV6:")
	if v6 {
		v = v[5:]
	}
	a, err := netip.ParseAddr(v)
	if err != nil || a.Is4() == v6 || a.Zone() != "" {
		return netip.Addr{}, false
	}
	if a = a.Unmap(); a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, false
	}
	return a, true
}

func saidPort(v string) (uint16, bool) {
	if v == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(v, 10, 16)
	return uint16(n), err == nil && n > 0 && v[0] != '0'
}
