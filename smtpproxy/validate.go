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
	for _, n := range c.TrustedNetworks {
		if n.Bits() == 0 || (n.Addr().Is4In6() && n.Bits() <= 96) {
			bad("trusted_networks", n.String()+" is everybody: that makes an open relay", "name your own networks")
		}
	}
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
