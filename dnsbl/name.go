package dnsbl

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"garita/resolver"
)

// maxQuery is how long a name may be in text, without the final dot.
const maxQuery = 253

// AddressName is the name of an address in a zone: reversed octets (RFC 5782
// section 2.1), for IPv6 32 reversed nibbles (section 2.4, attacks D-14).
// Empty: it fits into no name.
func AddressName(a netip.Addr, zone string) string {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		b := a.As4()
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String() + "." + zone
	}
	return string(appendNibbles(make([]byte, 0, 64+len(zone)), a.As16())) + zone
}

func appendNibbles(out []byte, b [16]byte) []byte {
	const hex = "0123456789abcdef"
	for i := 15; i >= 0; i-- {
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4], '.')
	}
	return out
}

// Domain makes a name that can be asked for out of hostile text: lower case,
// A-labels, at least two labels that a host can have, no address. Empty:
// it is none (attacks D-15).
func Domain(s string) string {
	if s = strings.TrimSuffix(s, "."); len(s) > 1000 {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			a, err := idna.Lookup.ToASCII(s)
			if err != nil {
				return ""
			}
			s = a
			break
		}
	}
	if !resolver.ValidHost(s) || strings.IndexByte(s, '.') < 0 || s[len(s)-1] == '.' {
		return ""
	}
	return strings.ToLower(s)
}

// Organisational is the registered domain above a name that Domain gave, by the
// public suffix list; empty for a public suffix itself.
func Organisational(domain string) string {
	if !resolver.ValidHost(domain) { // an empty label makes that package panic
		return ""
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return ""
	}
	return d
}

// DomainName is the name of a domain in a zone; empty where it does not fit.
func DomainName(domain, zone string) string {
	if domain == "" || len(domain)+1+len(zone) > maxQuery {
		return ""
	}
	return domain + "." + zone
}

// NameOf is what a list is asked for a domain that Domain gave; empty: it is
// not asked.
func (l *List) NameOf(domain string) string {
	if l.Organisational {
		domain = Organisational(domain)
	}
	return DomainName(domain, l.zone())
}

// AddressNameOf is what a list is asked for an address; empty: it is not asked.
func (l *List) AddressNameOf(a netip.Addr) string {
	a = a.Unmap()
	if a.Is4() && l.Kinds&Address4 == 0 || a.Is6() && l.Kinds&Address6 == 0 {
		return ""
	}
	return AddressName(a, l.zone())
}

// URLAddressName is what a list is asked for an address in a link.
func (l *List) URLAddressName(a netip.Addr) string {
	if l.Kinds&URL == 0 || !l.URLAddresses || !a.Unmap().Is4() {
		return ""
	}
	return AddressName(a, l.zone())
}

// testName is the name of a test entry; empty: it is not of that kind.
func testName(entry string, kind Kind, zone string) string {
	if kind&Domains != 0 {
		if !resolver.ValidHost(entry) {
			return ""
		}
		return DomainName(strings.ToLower(entry), zone)
	}
	a, err := netip.ParseAddr(entry)
	if err != nil || a.Zone() != "" || a.Is4() != (kind == Address4) {
		return ""
	}
	if a.Is4In6() {
		// The IPv6 test entries of RFC 5782 section 5 are mapped addresses.
		return string(appendNibbles(nil, a.As16())) + zone
	}
	return AddressName(a, zone)
}
