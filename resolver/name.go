package resolver

import (
	"net/netip"
	"strings"
)

const (
	maxName  = 253 // octets of a name in text, without the final dot
	maxLabel = 63
)

// canonical is the form of a name that is asked for and cached: lower case,
// no final dot. ok is false for what cannot be asked: names come from hostile
// text (D-15), and a library must not find escapes or dots of its own in them.
func canonical(name string) (string, bool) {
	if name != "" && name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	if name == "" || len(name) > maxName {
		return "", false
	}
	upper, label := false, 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		case c == '.' && label > 0:
			label = -1
		default:
			return "", false
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, true
}

// ValidHost tells a name that a host can have: labels of letters, digits,
// hyphen and underscore, the last of them no number, so that no address passes
// for a name. What the reverse DNS says is anything at all (D-16).
func ValidHost(name string) bool {
	c, ok := canonical(name)
	if !ok {
		return false
	}
	for l := range strings.SplitSeq(c, ".") {
		if l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return strings.Trim(c[strings.LastIndexByte(c, '.')+1:], "0123456789") != ""
}

// reverseName is the name under which an address has its PTR records.
func reverseName(a netip.Addr) string {
	const hex = "0123456789abcdef"
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String() + ".in-addr.arpa"
	}
	b := a.As16()
	out := make([]byte, 0, 72)
	for i := 15; i >= 0; i-- {
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4], '.')
	}
	return string(out) + "ip6.arpa"
}
