// Package printable makes text of a stranger safe to show: what a terminal
// would obey, what is no UTF-8, and the bidirectional and invisible characters
// that make a line read differently from what it is (attack U-01) are written
// as escapes. Names, replies, keys of files and excerpts all pass here.
//
// It does not quote, does not cut, and is no protocol's own form: what goes
// into a header field, a log line or a reply has rules of its own where it is
// written. It cannot fail. Text that is safe comes back as it is, without a
// copy.
//
// Limits: the result has at most ten times the octets of the text; who takes
// text without a bound cuts it first.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line escapes everything that is not printable, the ends of lines too.
func Line(s string) string { return escape(s, false) }

// Lines is Line that lets line feeds stand.
func Lines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) && !(lines && r == '\n') {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r), lines && r == '\n':
			b.WriteString(s[i : i+n])
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// JSON escapes inside JSON what encoding/json leaves as it is: DEL, C1 and
// everything that cannot be printed. Such runes only stand in strings, so the
// value stays what it was.
func JSON(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r == '\n', strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff: // a surrogate pair (RFC 8259 section 7)
			r -= 0x10000
			writeUnit(&b, 0xd800+r>>10)
			writeUnit(&b, 0xdc00+r&0x3ff)
		default:
			writeUnit(&b, r)
		}
	}
	return b.String()
}

func writeUnit(b *strings.Builder, r rune) {
	b.WriteString(`\u`)
	b.WriteString(strconv.FormatUint(uint64(r)|0x10000, 16)[1:])
}
