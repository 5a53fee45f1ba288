package relay

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"garita/mail"
)

// XCLIENT (Postfix XCLIENT_README): the next hop takes us for the client, in
// its access rules and its log. What was said holds to the end of the
// connection, so the connection serves that client session alone, and only as
// long as all that was said is still true (a client may log in half-way).

// xclientAttrs are in the order in which they are sent. The address is the
// last: once it is another's, the server may have no more XCLIENT for us.
// DESTADDR and DESTPORT are not sent.
var xclientAttrs = [...]string{"HELO", "PROTO", "LOGIN", "REVERSE_NAME", "NAME", "PORT", "ADDR"}

// parseXClient reads the attributes that EHLO offered.
func parseXClient(words []string) (mask uint16) {
	for _, w := range words {
		for i, a := range xclientAttrs {
			if strings.EqualFold(w, a) {
				mask |= 1 << i
			}
		}
	}
	return mask
}

// xclientValues are the values to tell, empty where there is none. They come
// from the session, which has its client from PROXY, XCLIENT or the socket;
// what XFORWARD told us is for logs and gives nobody a right.
func xclientValues(s *mail.Session) [len(xclientAttrs)]string {
	var v [len(xclientAttrs)]string
	if s == nil {
		return v
	}
	v[0], v[2] = s.Helo, s.Login
	v[1] = "SMTP"
	if strings.HasPrefix(strings.ToUpper(s.Proto), "E") {
		v[1] = "ESMTP"
	}
	if soundHost(s.Host.Name) {
		v[3] = s.Host.Name
		if s.Host.Confirmed {
			v[4] = s.Host.Name
		}
	}
	if s.Client.IsValid() {
		if p := s.Client.Port(); p != 0 {
			v[5] = strconv.Itoa(int(p))
		}
		v[6] = xaddrOf(s.Client.Addr())
	}
	return v
}

// xclientLines are the commands, each within maxXForwardLine. The values are
// xtext: a HELO "a ADDR=127.0.0.1" must not become a second attribute (S-100).
func xclientLines(s *mail.Session, offered uint16) []string {
	var lines []string
	line := "XCLIENT"
	for i, v := range xclientValues(s) {
		if offered&(1<<i) == 0 {
			continue
		}
		x := cutXtext(mail.EncodeXtext(v))
		if x == "" || strings.EqualFold(v, unavailable) || strings.EqualFold(v, "[TEMPUNAVAIL]") {
			x = unavailable
		}
		if len(line)+1+len(xclientAttrs[i])+1+len(x)+2 > maxXForwardLine {
			lines = append(lines, line)
			line = "XCLIENT"
		}
		line += " " + xclientAttrs[i] + "=" + x
	}
	return append(lines, line)
}

// xclientOwner names the session with all that XCLIENT says of it; it is never
// shown.
func xclientOwner(s *mail.Session) string {
	if s == nil {
		return "\x00"
	}
	v := xclientValues(s)
	return s.ID + "\x00" + strings.Join(v[:], "\x00") + "\x00" + netip.AddrPort(s.Peer).String()
}

// introduce says XCLIENT on a fresh connection. After it the server is where
// it was at its greeting, so we greet again, and what it offers now counts. To
// Postfix that greeting is the client's, whatever HELO= said before: it has the
// client's name where that is a name at all (S-100), else ours.
func (c *conn) introduce(ctx context.Context, s *mail.Session) *fault {
	name := c.hop.hostname
	if s != nil && (soundHost(s.Helo) || isAddressLiteral(s.Helo)) {
		name = s.Helo
	}
	for _, line := range xclientLines(s, c.ext.xclient) {
		r, err := c.command(ctx, c.hop.cfg.CommandTimeout, line)
		if err != nil {
			return broken(c.name, "XCLIENT", err)
		}
		// A 5xx here may be the server's opinion of the client: its own
		// clients would have read it in the place of the greeting. It is
		// not about a message, and it may be about us.
		if r.code != 220 {
			return unexpected(c.name, "XCLIENT", r)
		}
		if f := c.stepDone("XCLIENT"); f != nil {
			return f
		}
		if f := c.hello(ctx, name); f != nil {
			return f
		}
	}
	c.owner = xclientOwner(s)
	return nil
}
