package smtpproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"garita/mail"
)

// Problem is a value that cannot be: the key, what is wrong, how to mend it.
type Problem struct{ Key, Text, Hint string }

// Error gives the problem in one line.
func (p Problem) Error() string {
	if p.Hint == "" {
		return p.Key + ": " + p.Text
	}
	return p.Key + ": " + p.Text + " (" + p.Hint + ")"
}

// Validate tells everything that is wrong with a listener.
func (c ListenerConfig) Validate() []error {
	var errs []error
	bad := func(key, text, hint string) { errs = append(errs, Problem{key, text, hint}) }
	role := roleOf(c.Role)
	if role == 0 {
		bad("role", fmt.Sprintf("%q is not a role", c.Role), "one of inbound, outbound, content-filter")
	}
	if len(c.Listen) == 0 {
		bad("listen", "no address to listen on", `for example ["0.0.0.0:25"]`)
	}
	if c.NextHop == "" {
		bad("next_hop", "is missing", "the name of a [next_hop.NAME] table")
	}
	for _, w := range []struct{ key, value string }{{"bare_lf", c.BareLF}, {"bare_cr", c.BareCR}, {"nul", c.NUL}} {
		if w.value != "normalise" && w.value != "reject" {
			bad(w.key, fmt.Sprintf("%q cannot be", w.value), "normalise or reject")
		}
	}
	if c.RejectAs != "reject" && c.RejectAs != "hold" {
		bad("reject_as", fmt.Sprintf("%q cannot be", c.RejectAs), "reject or hold")
	}
	if c.MaxMessageSize < 64<<10 || c.MaxMessageSize > maxChunk {
		bad("max_message_size", "must lie between 64KB (RFC 5321 section 4.5.3.1.7) and 2GB", "")
	}
	if c.ReplyTimeout < 10*time.Second || c.ReplyTimeout > 570*time.Second {
		bad("reply_timeout", "must lie between 10s and 570s", "senders give up after 10 minutes (RFC 5321 section 4.5.3.2.6)")
	}
	errs = append(errs, c.validateTrust(role)...)
	return errs
}

// validateTrust looks at who may use the listener and for what.
func (c ListenerConfig) validateTrust(role mail.Role) []error {
	var errs []error
	bad := func(key, text, hint string) { errs = append(errs, Problem{key, text, hint}) }
	errs = append(errs, networks("trusted_networks", c.TrustedNetworks, "that makes an open relay", "name your own networks")...)
	errs = append(errs, c.validatePeers(role)...)
	switch role {
	case mail.Inbound:
		if len(c.RelayDomains) == 0 {
			bad("relay_domains", "is empty: an inbound listener takes mail for these domains only", `for example ["example.org"]`)
		}
		if len(c.TrustedNetworks) > 0 {
			bad("trusted_networks", "an inbound listener trusts nobody", "use a listener with role outbound for your own networks")
		}
		if c.XForward {
			bad("xforward", "an inbound listener takes no XFORWARD", "")
		}
	case mail.Outbound, mail.ContentFilter:
		if len(c.TrustedNetworks) == 0 && !c.letsStrangersIn() {
			bad("trusted_networks", "is empty: nobody could use this listener", `for example ["10.0.0.5", "192.168.1.0/24"]`)
		}
		if len(c.RelayDomains) > 0 {
			bad("relay_domains", "has no meaning for role "+c.Role, "remove it")
		}
	}
	for _, d := range c.RelayDomains {
		if !mail.ValidDomain(d, true) || strings.HasPrefix(d, "[") {
			bad("relay_domains", fmt.Sprintf("%q is not a domain", d), "write it as in example.org, without @ and without a dot in front")
		}
	}
	errs = append(errs, c.validateAuth(role)...)
	return append(errs, c.validatePostmaster(role)...)
}

// maxGreetDelay: clients wait 5 minutes for the greeting (RFC 5321 section
// 4.5.3.2.1), but each that waits holds a session.
const maxGreetDelay = 30 * time.Second

// validatePeers looks at the peers that may say who their client is.
func (c ListenerConfig) validatePeers(role mail.Role) []error {
	errs := networks("proxy_from", c.ProxyFrom, "anybody could choose the address that he comes from", "name your load balancers")
	errs = append(errs, networks("xclient_from", c.XClientFrom, "anybody could choose the address that he comes from", "name the peers that send XCLIENT")...)
	bad := func(key, text, hint string) { errs = append(errs, Problem{key, text, hint}) }
	for _, p := range c.ProxyFrom {
		for _, n := range c.TrustedNetworks {
			if unmapPrefix(n).Overlaps(unmapPrefix(p)) {
				bad("proxy_from", p.String()+" is in trusted_networks ("+n.String()+"): a load balancer there would make everybody behind it one of us",
					"take it out of trusted_networks, or name the other hosts of that network one by one")
			}
		}
	}
	if role == mail.ContentFilter {
		if len(c.XClientFrom) > 0 {
			bad("xclient_from", "has no meaning for role content-filter", "an MTA tells a content filter by xforward who its client is")
		}
		if c.GreetDelay > 0 {
			bad("greet_delay", "has no meaning for role content-filter: its peers are trusted", "remove it")
		}
	}
	if c.GreetDelay < 0 || c.GreetDelay > maxGreetDelay {
		bad("greet_delay", "must lie between 0s and "+maxGreetDelay.String(), "6s is usual")
	}
	return errs
}

// networks tells what is wrong with a list of networks: everybody, and
// addresses in a form in which a reader does not know them again.
func networks(key string, list []netip.Prefix, why, hint string) []error {
	var errs []error
	for _, n := range list {
		switch u := unmapPrefix(n); {
		case u.Bits() <= 0:
			errs = append(errs, Problem{key, n.String() + " is everybody: " + why, hint})
		case u != n:
			errs = append(errs, Problem{key, n.String() + " is an IPv4 network in IPv6 form", "write " + u.String()})
		}
	}
	return errs
}

// unmapPrefix is the IPv4 network that an IPv4-mapped IPv6 one stands for;
// others as they are.
func unmapPrefix(n netip.Prefix) netip.Prefix {
	if !n.Addr().Is4In6() {
		return n
	}
	return netip.PrefixFrom(n.Addr().Unmap(), max(n.Bits()-96, 0))
}

func (c ListenerConfig) validatePostmaster(role mail.Role) []error {
	if c.Postmaster == "" {
		return nil
	}
	p, rest, err := mail.ParseForward("<"+c.Postmaster+">", false)
	if err != nil || rest != "" || p.Domain == "" {
		return []error{Problem{"postmaster", fmt.Sprintf("%q is not an address", c.Postmaster), "for example postmaster@example.org"}}
	}
	if role != mail.Inbound {
		return nil
	}
	for _, d := range c.RelayDomains {
		if mail.DomainKey(d) == p.DomainKey() {
			return nil
		}
	}
	return []error{Problem{"postmaster", p.Domain + " is not one of the relay_domains, so its mail would be refused", ""}}
}

// postmasterAddress is where <postmaster> goes.
func (c ListenerConfig) postmasterAddress(hostname string) string {
	switch {
	case c.Postmaster != "":
		return c.Postmaster
	case len(c.RelayDomains) > 0:
		return "postmaster@" + mail.DomainKey(c.RelayDomains[0]) // in ASCII
	}
	return "postmaster@" + hostname
}

// Validate tells everything that is wrong with the limits.
func (l Limits) Validate() []error {
	var errs []error
	atLeast := func(key string, v, min int64, hint string) {
		if v < min {
			errs = append(errs, Problem{key, fmt.Sprintf("must be at least %d", min), hint})
		}
	}
	atLeast("max_connections", int64(l.MaxConnections), 5, "")
	atLeast("max_connections_per_client", int64(l.MaxConnectionsPerClient), 1, "")
	atLeast("command_length", int64(l.CommandLength), 1024, "RFC 5321 section 4.5.3.1.4 with the parameters of RFC 3461 needs more than 512")
	if l.CommandLength > 32<<10 {
		errs = append(errs, Problem{"command_length", "must be at most 32768", ""})
	}
	atLeast("max_recipients", int64(l.MaxRecipients), 100, "RFC 5321 section 4.5.3.1.8")
	atLeast("soft_errors", int64(l.SoftErrors), 1, "")
	atLeast("hard_errors", int64(l.HardErrors), 1, "")
	atLeast("junk_commands", int64(l.JunkCommands), 1, "")
	atLeast("message_memory", l.MessageMemory, 32<<10, "")
	atLeast("messages_memory", l.MessagesMemory, 1<<20, "")
	atLeast("messages_total", l.MessagesTotal, 1<<20, "")
	atLeast("max_hops", int64(l.MaxHops), 10, "RFC 5321 section 6.3")
	for key, d := range map[string]time.Duration{"command_timeout": l.CommandTimeout, "data_timeout": l.DataTimeout} {
		if d < time.Second {
			errs = append(errs, Problem{key, "must be at least 1s", ""})
		}
	}
	if l.FreeDisk < 0 || l.MinDataRate < 0 {
		errs = append(errs, Problem{"free_disk", "sizes cannot be negative", ""})
	}
	return errs
}

// ListenAddresses are the listener's addresses as the system takes them.
func (c ListenerConfig) ListenAddresses() ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, a := range c.Listen {
		text := a
		if strings.HasPrefix(a, ":") {
			text = "[::]" + a
		}
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, Problem{"listen", fmt.Sprintf("%q is not an address and port", a), `for example "0.0.0.0:25"`}
		}
		out = append(out, ap)
	}
	return out, nil
}
