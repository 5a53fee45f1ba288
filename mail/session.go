package mail

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Role is what a listener is for; it decides who may use it and for what.
type Role uint8

const (
	// Inbound takes mail from the Internet for the configured relay domains.
	Inbound Role = iota + 1
	// Outbound takes mail from trusted networks to anywhere.
	Outbound
	// ContentFilter takes mail that an MTA hands over for inspection and
	// gives it back to one configured next hop, whatever the recipients.
	ContentFilter
	// PolicyServer answers an MTA that asks about its own client (Postfix's
	// policy delegation): no mail comes by it.
	PolicyServer
)

// String gives the role as the configuration spells it.
func (r Role) String() string {
	switch r {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	case ContentFilter:
		return "content-filter"
	case PolicyServer:
		return "policy"
	}
	return "unknown"
}

// Direction says which way a message travels, seen from our own domains.
type Direction uint8

const (
	// In is mail that comes to our domains.
	In Direction = iota + 1
	// Out is mail that our users send.
	Out
)

// String gives "in" or "out".
func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	}
	return "unknown"
}

// HostName is a client's name by reverse DNS. A name that was not confirmed by
// a forward look-up is a claim of whoever runs the reverse zone, never trust.
type HostName struct {
	Name      string // empty when there is none
	Confirmed bool
}

// Session is one connection from a client. The wire writes it; checks read it.
type Session struct {
	ID       string // unique, [0-9A-Z]+
	Listener string // the listener's name in the configuration
	Role     Role
	// Peer is who holds the other end of the socket.
	Peer netip.AddrPort
	// Client is who the mail comes from: Peer, unless a named one said
	// otherwise (PROXY, XCLIENT). Trust and reputation look here.
	Client netip.AddrPort
	Host   HostName
	Helo   string // as the client gave it: hostile text
	// Proto is SMTP, ESMTP or ESMTPS, in the words of RFC 3848.
	Proto string
	TLS   *tls.ConnectionState // nil in clear text
	Login string               // empty until the client has authenticated
	// LoginMethod is how: PLAIN, LOGIN or certificate.
	LoginMethod string
	Start       time.Time
	Trusted     bool // Peer is in the listener's trusted networks
	// ByMTA tells that an MTA asks about its own session (milter): it relays
	// the mail, not we.
	ByMTA bool
	// Scratch is the engine's memory of this session; nobody else touches it.
	Scratch any
}

// HostOrUnknown is the confirmed client name, or "unknown" as Postfix says.
func (s *Session) HostOrUnknown() string {
	if s.Host.Confirmed && s.Host.Name != "" {
		return s.Host.Name
	}
	return "unknown"
}
