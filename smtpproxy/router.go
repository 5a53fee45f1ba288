package smtpproxy

import (
	"net/netip"

	"garita/mail"
)

// roleRouter is relay permission and routing of one listener: inbound for the
// relay domains, outbound for trusted networks and for
// whoever has logged in, content filter for its peers. No mode, list or override is asked (design section 4.3).
type roleRouter struct {
	role    mail.Role
	domains map[string]bool // by DomainKey
	hop     NextHop
	hops    []NextHop
}

// NewRouter makes the router of a listener whose mail all goes to hop.
func NewRouter(c ListenerConfig, hop NextHop) Router {
	r := &roleRouter{role: roleOf(c.Role), domains: make(map[string]bool, len(c.RelayDomains)), hop: hop, hops: []NextHop{hop}}
	for _, d := range c.RelayDomains {
		r.domains[mail.DomainKey(d)] = true
	}
	return r
}

func (r *roleRouter) NextHops() []NextHop { return r.hops }

// Rewrite does nothing here: aliases are tables, see smtpproxy/routing.
func (r *roleRouter) Rewrite(*mail.Transaction, mail.Recipient) []mail.Recipient { return nil }

// Redirect knows one next hop alone.
func (r *roleRouter) Redirect(_ *mail.Transaction, to mail.Path) (NextHop, []mail.Path, *mail.Reply) {
	return r.hop, []mail.Path{to}, nil
}

// Hop gives that one, by its name.
func (r *roleRouter) Hop(name string) NextHop {
	if r.hop.Name() == name {
		return r.hop
	}
	return nil
}

// Route tells where a recipient goes, or why nowhere.
func (r *roleRouter) Route(tx *mail.Transaction, to mail.Recipient) (NextHop, *mail.Reply) {
	if !r.may(tx, to) {
		denied := replyRelay
		return nil, &denied
	}
	if r.circle(tx.Client.Addr()) {
		// What comes in is refused for good: it would go round for ever. What
		// goes out waits with its sender until our mistake is mended.
		back := mail.Permanent(554, "4.6", "Mail would loop back to you")
		if r.role == mail.Outbound {
			back = mail.Temporary(451, "4.6", "Mail would loop back to you")
		}
		return nil, &back
	}
	return r.hop, nil
}

// may is relay permission.
func (r *roleRouter) may(tx *mail.Transaction, to mail.Recipient) bool {
	switch r.role {
	case mail.Inbound:
		return to.Domain != "" && r.domains[to.DomainKey()]
	case mail.Outbound:
		return tx.Trusted || tx.Login != ""
	case mail.ContentFilter:
		return tx.Trusted
	}
	return false
}

// smtpPort is where a machine takes mail from anybody, and would send it back
// to us; a reinjection port of the same machine is what a relayhost's or
// content filter's mail is meant for.
const smtpPort = 25

// circle tells that the next hop is the very client: mail to our own domains
// that comes from the server behind us is mail that it does not know for its
// own, and would hand to us again.
func (r *roleRouter) circle(client netip.Addr) bool {
	port, yes := r.hop.LeadsTo(client)
	return yes && (r.role == mail.Inbound || r.role == mail.Outbound && port == smtpPort)
}

// roleOf reads a role; 0 for none.
func roleOf(s string) mail.Role {
	for _, r := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
		if r.String() == s {
			return r
		}
	}
	return 0
}

// contains tells whether a is in one of the networks. An IPv4-mapped IPv6
// address is the IPv4 address that it stands for (attacks S-194).
func contains(nets []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range nets {
		if unmapPrefix(n).Contains(a) {
			return true
		}
	}
	return false
}
