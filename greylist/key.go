package greylist

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
)

// What lies in the store: triplets, clients that came back, what an operator
// let pass, correspondents.
const (
	tripletPrefix = "greylist/t/"
	clientPrefix  = "greylist/c/"
	passPrefix    = "greylist/p/"
	wrotePrefix   = "greylist/w/"
	// maxKey leaves room below the store's bound of 1 KiB.
	maxKey = 900
)

// who is the client's network, or the authenticated domain: a sender with many
// machines waits once (a domain has no address's form, so they never meet).
func (t *Table) who(q *Request) string {
	if q.Domain != "" {
		return "@" + lower(q.Domain)
	}
	return network(q.Client, t.o.IPv4, t.o.IPv6)
}

// network is the first address of the client's network.
func network(a netip.Addr, v4, v6 int) string {
	a = a.Unmap().WithZone("")
	bits := v6
	if a.Is4() {
		bits = v4
	}
	p, err := a.Prefix(min(bits, a.BitLen()))
	if err != nil {
		return "" // no address: all of them are one client
	}
	return p.Addr().String()
}

// tripletKey is the key of a triplet in the store.
func tripletKey(who, sender, recipient string) string {
	return bounded(tripletPrefix, who+"/"+lower(plainSender(sender))+"/"+lower(recipient))
}

// bounded keeps a key within what the store takes; what is longer is no address
// that anybody has (RFC 5321 section 4.5.3.1), and is told apart all the same.
func bounded(prefix, rest string) string {
	if len(rest) <= maxKey {
		return prefix + rest
	}
	sum := sha256.Sum256([]byte(rest))
	return prefix + "#" + hex.EncodeToString(sum[:])
}

// lower is lower case in ASCII alone, as Perl's lc of octets.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// plainSender takes out of an address what mailing lists change in it with each
// message: the tag of BATV, the extension, whole words of digits.
func plainSender(addr string) string {
	user, domain, ok := strings.Cut(addr, "@")
	if !ok {
		return addr
	}
	if rest, ok := strings.CutPrefix(user, "prvs="); ok {
		user = untagged(user, rest)
	}
	user, _, _ = strings.Cut(user, "+")
	return numbersOut(user) + "@" + domain
}

// untagged takes BATV's tag off: prvs=tag=user, and seen in the wild
// prvs=user=tag. rest is user without "prvs=".
func untagged(user, rest string) string {
	// Perl's split drops empty fields at the end.
	parts := strings.Split(strings.TrimRight(rest, "="), "=")
	if len(parts) != 2 {
		return user
	}
	if isTag(parts[1]) && !isTag(parts[0]) {
		return parts[0]
	}
	return parts[1]
}

// isTag tells ten digits or small letters at the beginning.
func isTag(s string) bool {
	if len(s) < 10 {
		return false
	}
	for i := range 10 {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// numbersOut makes each word of digits a "#": s/\b\d+\b/#/g.
func numbersOut(s string) string {
	var b []byte
	done := 0
	for i := 0; i < len(s); {
		if !isWord(s[i]) {
			i++
			continue
		}
		start, digits := i, true
		for ; i < len(s) && isWord(s[i]); i++ {
			digits = digits && s[i] >= '0' && s[i] <= '9'
		}
		if digits {
			b = append(append(b, s[done:start]...), '#')
			done = i
		}
	}
	if done == 0 {
		return s
	}
	return string(append(b, s[done:]...))
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}
