package access

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"garita/mail"
)

// parseNetwork reads the key of a client: an address, a CIDR, or the leading
// parts of an address as access(5) has them ("192.168", "2001:db8"). ok is
// false for what is none of these, which may be a host name.
func parseNetwork(s string) (p netip.Prefix, ok bool, err error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() {
			return p, true, fmt.Errorf("write %q as IPv4", s)
		}
		// Who writes 192.0.2.7/24 may have meant either.
		if p != p.Masked() {
			return p, true, fmt.Errorf("%q has bits beyond the prefix, did you mean %s?", s, p.Masked())
		}
		return p, true, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return p, true, fmt.Errorf("%q is not an address or CIDR", s)
		}
		if a.Is4In6() {
			return p, true, fmt.Errorf("write %q as IPv4", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), true, nil
	}
	if strings.Trim(s, "0123456789.") == "" {
		p, ok := octets(s)
		if !ok {
			return p, true, fmt.Errorf("%q is not an address or CIDR (a network is 192.0.2.0/24 or 192.0.2)", s)
		}
		return p, true, nil
	}
	if strings.Contains(s, ":") && strings.Trim(s, "0123456789abcdefABCDEF:") == "" {
		p, ok := groups(s)
		if !ok {
			return p, true, fmt.Errorf("%q is not an address or CIDR (a network is 2001:db8::/32 or 2001:db8)", s)
		}
		return p, true, nil
	}
	return p, !strings.HasPrefix(s, "/") && strings.ContainsAny(s, "/:[]%"), fmt.Errorf("%q is not an address or CIDR", s)
}

// octets reads one to three decimal octets.
func octets(s string) (netip.Prefix, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return netip.Prefix{}, false
	}
	var a [4]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		// A leading zero is octal to some, decimal to others.
		if err != nil || strconv.FormatUint(n, 10) != part {
			return netip.Prefix{}, false
		}
		a[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(a), 8*len(parts)), true
}

// groups reads two to seven groups of an IPv6 address.
func groups(s string) (netip.Prefix, bool) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 7 {
		return netip.Prefix{}, false
	}
	var a [16]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 16, 16)
		if err != nil || len(part) > 4 {
			return netip.Prefix{}, false
		}
		a[2*i], a[2*i+1] = byte(n>>8), byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), 16*len(parts)), true
}

// pattern is the key of a name, a sender or a recipient. Its letters are
// lower, its domain is A-labels.
type pattern struct {
	kind          patternKind
	local, domain string
}

type patternKind uint8

const (
	anyPath   patternKind = iota // of a condition that was not given
	nullPath                     // <>
	wholePath                    // user@domain
	localPart                    // user@
	oneDomain                    // domain; with the parents setting all below it too
	below                        // .domain, without the parents setting
)

// parseName reads a key of names or of HELO names.
func parseName(s string, k kind, parents bool) (pattern, error) {
	if k == byName && s == "unknown" {
		// Postfix's word. A list of confirmed names never sees such a client.
		return pattern{}, errors.New("\"unknown\" is no name (clients without a confirmed name are for a check of host names)")
	}
	if k == byName && (strings.HasPrefix(s, "[") || strings.HasPrefix(s, ".[")) {
		return pattern{}, fmt.Errorf("%q is an address, not a name", s)
	}
	if k == byHelo {
		// As good as a host name to whoever says it: "HELO 192.0.2.1".
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return pattern{kind: oneDomain, domain: a.String()}, nil
		}
	}
	if err := wildcard(s); err != nil {
		return pattern{}, err
	}
	if strings.Contains(s, "@") || s == "<>" {
		return pattern{}, notAnAddress(s)
	}
	return parseDomain(s, parents)
}

// parsePath reads a key of senders or recipients.
func parsePath(s string, k kind, parents bool) (pattern, error) {
	if s == "<>" {
		if k == byRecipient {
			return pattern{}, errors.New("\"<>\" is a sender, no recipient")
		}
		return pattern{kind: nullPath}, nil
	}
	if err := wildcard(s); err != nil {
		return pattern{}, err
	}
	if local, ok := strings.CutSuffix(s, "@"); ok {
		p, rest, err := mail.ParseReverse("<"+local+"@x>", true)
		if err != nil || rest != "" || p.Domain != "x" {
			return pattern{}, notAnAddress(s)
		}
		return pattern{kind: localPart, local: strings.ToLower(p.Local)}, nil
	}
	if strings.Contains(s, "@") {
		p, rest, err := mail.ParseReverse("<"+s+">", true)
		if err != nil || rest != "" {
			return pattern{}, notAnAddress(s)
		}
		return pattern{kind: wholePath, local: strings.ToLower(p.Local), domain: p.DomainKey()}, nil
	}
	return parseDomain(s, parents)
}

func notAnAddress(s string) error {
	return fmt.Errorf("%q is not an address, a domain or a .domain", s)
}

func parseDomain(s string, parents bool) (pattern, error) {
	if err := wildcard(s); err != nil {
		return pattern{}, err
	}
	domain, dot := strings.CutPrefix(s, ".")
	if !mail.ValidDomain(domain, true) || dot && strings.HasPrefix(domain, "[") {
		hint := ""
		if strings.HasPrefix(s, "/") {
			hint = " (regular expressions are for rules, not for lists)"
		}
		return pattern{}, fmt.Errorf("%w%s", notAnAddress(s), hint)
	}
	p := pattern{kind: oneDomain, domain: mail.DomainKey(domain)}
	if dot && !parents {
		p.kind = below
	}
	return p, nil
}

// wildcard refuses what would be taken for an address that nobody has.
func wildcard(s string) error {
	plain := strings.TrimLeft(s, "*@.")
	if plain != s && strings.ContainsAny(s[:len(s)-len(plain)], "*@") || strings.Contains(s, "*") && !strings.Contains(s, "@") {
		return fmt.Errorf("there are no wildcards (try %q, or %q with all below it)", plain, "."+plain)
	}
	if strings.Contains(s, "*@") || strings.Contains(s, "@*") {
		return fmt.Errorf("there are no wildcards (try \"user@\" for a user in any domain, or the domain alone)")
	}
	return nil
}

// address is a path as it is looked up.
type address struct {
	null         bool
	local, plain string // plain is local without its extension; "" when it has none
	domain       string
	lit          bool
}

func (l *lists) addressOf(p mail.Path) address {
	if p.IsNull() {
		return address{null: true}
	}
	a := address{local: strings.ToLower(p.Local), domain: p.DomainKey(), lit: p.IsLiteral()}
	a.plain = withoutExtension(a.local, l.delimiter)
	return a
}

// withoutExtension cuts the extension off, or gives "" where there is none.
// Postfix never splits these names (split_addr.c).
func withoutExtension(local, delimiter string) string {
	if delimiter == "" || local == "mailer-daemon" || local == "postmaster" || local == "double-bounce" {
		return ""
	}
	if strings.Contains(delimiter, "-") && (strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request")) {
		return ""
	}
	if i := strings.IndexAny(local, delimiter); i > 0 {
		return local[:i]
	}
	return ""
}

// fits tells that an address is meant by a pattern.
func (p pattern) fits(a address, parents bool) bool {
	switch p.kind {
	case nullPath:
		return a.null
	case wholePath:
		return !a.null && (p.local == a.local || a.plain != "" && p.local == a.plain) && p.domain == a.domain
	case localPart:
		return !a.null && (p.local == a.local || a.plain != "" && p.local == a.plain)
	case oneDomain, below:
		return !a.null && p.fitsName(a.domain, parents)
	}
	return true
}

// fitsName tells that a name is meant by a pattern.
func (p pattern) fitsName(name string, parents bool) bool {
	switch p.kind {
	case anyPath:
		return true
	case oneDomain:
		if p.domain == name {
			return true
		}
		if !parents {
			return false
		}
	case below:
	default:
		return false
	}
	head, ok := strings.CutSuffix(name, p.domain)
	return ok && strings.HasSuffix(head, ".") && !strings.HasPrefix(name, "[")
}
