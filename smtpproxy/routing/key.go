package routing

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"garita/mail"
)

// maxKey is the longest address of a key: 64 octets of local part and 255 of
// domain; an A-label form that is longer falls on the heap, and works.
const maxKey = 64 + 1 + 255

// A key is an address in the form in which the tables have it: the local part
// unquoted and folded, the domain as DomainKey. The last @ parts them, since
// no domain holds one.
type key struct {
	full []byte // "user+ext@domain"
	at   int    // of the last @
	plus int    // of the delimiter in the local part; 0: there is none
}

// makeKey writes the key of a path into buf. delimiter 0 is none.
func makeKey(buf []byte, p mail.Path, delimiter byte) key {
	k := key{full: fold(buf[:0], p.Local)}
	k.at = len(k.full)
	if delimiter != 0 {
		for i := 1; i < k.at; i++ {
			if k.full[i] == delimiter {
				k.plus = i
				break
			}
		}
	}
	k.full = append(append(k.full, '@'), p.DomainKey()...)
	return k
}

// domain is the domain alone.
func (k key) domain() []byte { return k.full[k.at+1:] }

// atDomain is "@domain".
func (k key) atDomain() []byte { return k.full[k.at:] }

// base writes "user@domain" into buf, without the extension.
func (k key) base(buf []byte) []byte {
	return append(append(buf[:0], k.full[:k.plus]...), k.full[k.at:]...)
}

// fold appends s in lower case. RFC 5321 section 2.4 leaves the case of a local
// part to its own domain; tables follow Postfix, which compares it case-blind.
// A sign outside ASCII never becomes one of ASCII (the Kelvin sign is no k).
func fold(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if low := unicode.ToLower(r); low >= utf8.RuneSelf && r != utf8.RuneError {
			dst = utf8.AppendRune(dst, low)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// parseAddress reads an address by mail's own strict grammar.
func parseAddress(s string) (mail.Path, bool) {
	p, rest, err := mail.ParseForward("<"+s+">", true)
	return p, err == nil && rest == "" && p.Domain != ""
}

// keyKind is what a key of a table looks like.
type keyKind uint8

const (
	badKey     keyKind = iota
	userKey            // user@domain
	domainKey          // domain
	parentKey          // .domain
	atKey              // @domain
	nullSender         // <>
)

// parseKey reads a key and gives it in the form of key.
func parseKey(s string) (string, keyKind) {
	name := func(d string) bool { return mail.ValidDomain(d, true) }
	switch {
	case s == "<>":
		return s, nullSender
	case strings.HasPrefix(s, "@"):
		return "@" + mail.DomainKey(s[1:]), kindIf(name(s[1:]), atKey)
	case strings.HasPrefix(s, "."):
		return "." + mail.DomainKey(s[1:]), kindIf(name(s[1:]) && s[1] != '[', parentKey)
	case strings.Contains(s, "@"):
		p, ok := parseAddress(s)
		if !ok {
			return "", badKey
		}
		var buf [maxKey]byte
		return string(makeKey(buf[:], p, 0).full), userKey
	}
	return mail.DomainKey(s), kindIf(name(s), domainKey)
}

func kindIf(ok bool, k keyKind) keyKind {
	if !ok {
		return badKey
	}
	return k
}
