package maillog

import (
	"strconv"
	"unicode/utf8"
)

// MaxField bounds every value that comes from outside, in octets of input;
// what was cut shows as "...". Escaping makes at most four octets of one in
// lines and six in JSON, so a value takes at most 1,539 octets of a record.
const MaxField = 256

// class says what a value may contain besides letters, digits and UTF-8 that
// can be printed, as two bit masks over ASCII.
type class struct{ lo, hi uint64 }

const (
	alnumLo = uint64(0x03ff) << 48
	alnumHi = uint64(0x07fffffe)<<32 | uint64(0x07fffffe)
	// printable ASCII without the backslash, which begins every escape
	printLo = ^uint64(0xffffffff)
	printHi = ^(uint64(1) << 63) &^ (uint64(1) << ('\\' - 64))
	// what ends or parts a field in lines of the kind from=<a>, size=1; a
	// blank too, since ": " is what a line is parted by
	angleMeta = uint64(1)<<' ' | uint64(1)<<',' | uint64(1)<<';' | uint64(1)<<'<' | uint64(1)<<'>'
)

// hostClass has no '[': the first one of a line must be that of the address.
func hostClass() class {
	return class{alnumLo | 1<<'-' | 1<<'.' | 1<<':', alnumHi | 1<<('_'-64)}
}

// angleClass is for what stands between '<' and '>'.
func angleClass() class { return class{printLo &^ angleMeta, printHi} }

// wordClass is for values without delimiters: symbols, listener names, ids.
func wordClass() class {
	return class{printLo &^ (angleMeta | 1<<'(' | 1<<')' | 1<<'=' | 1<<'"' | 1<<':'), printHi &^ (1<<('['-64) | 1<<(']'-64))}
}

// textClass is for sentences; appendText adds the rules that need context.
func textClass() class { return class{printLo, printHi} }

// quotedClass is for what stands between two '"'.
func quotedClass() class { return class{printLo &^ (1 << '"'), printHi} }

func (k class) safe(c byte) bool {
	if c < 64 {
		return k.lo>>c&1 != 0
	}
	return c < 128 && k.hi>>(c-64)&1 != 0
}

// cut shortens s to MaxField octets, not inside a UTF-8 sequence.
func cut(s string) (string, bool) {
	if len(s) <= MaxField {
		return s, false
	}
	n := MaxField
	for n > MaxField-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}

// appendField appends s, cut, with everything escaped that k does not allow:
// \xHH for octets, \uHHHH for characters that cannot be printed (controls,
// line separators, the bidirectional controls that make a line read
// differently from what it is). A backslash becomes two.
func appendField(b []byte, s string, k class) []byte {
	s, more := cut(s)
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && k.safe(s[j]) {
			j++
		}
		b = append(b, s[i:j]...)
		if j == len(s) {
			break
		}
		var n int
		b, n = appendEscaped(b, s[j:], k)
		i = j + n
	}
	if more {
		b = append(b, "..."...)
	}
	return b
}

// appendEscaped appends the first character of s, which k does not hold, and
// tells its length.
func appendEscaped(b []byte, s string, k class) ([]byte, int) {
	c := s[0]
	if c == '\\' {
		return append(b, `\\`...), 1
	}
	if c < utf8.RuneSelf {
		return appendHex(b, c), 1
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && n == 1:
		return appendHex(b, c), 1
	case k == hostClass(): // a host name that DNS gave has no such octets
		for i := 0; i < n; i++ {
			b = appendHex(b, s[i])
		}
		return b, n
	case strconv.IsPrint(r):
		return append(b, s[:n]...), n
	}
	return appendRune(b, r), n
}

func appendHex(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'x', hex[c>>4], hex[c&15])
}

// appendRune writes \uHHHH, as a pair of surrogates beyond that, as JSON does.
func appendRune(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	if r > 0xffff {
		r -= 0x10000
		b = appendRune(b, 0xd800+r>>10)
		return appendRune(b, 0xdc00+r&0x3ff)
	}
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// appendText appends a sentence that may hold hostile text, with k being
// textClass or quotedClass. Readers of such lines search for marks anywhere in
// the line, so the marks themselves must not come from outside: "=<" (from=<,
// to=<), "client=" and "status=" (pflogsumm counts by them), and "]: " or
// "]:25: " and "reject: " (what fail2ban finds an address to ban by).
func appendText(b []byte, s string, k class) []byte {
	s, more := cut(s)
	start, base := 0, len(b)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '=' {
			// Looked at as written: an escape that ends in c makes a mark of
			// the "lient=" behind it.
			b = append(b, s[start:i]...)
			start = i
		}
		if k.safe(c) && (c != '=' || !isMark(b[base:], s[i:])) && (c != ':' || !isBanMark(s, i)) {
			continue
		}
		b = append(b, s[start:i]...)
		n := 1
		if k.safe(c) {
			b = appendHex(b, c)
		} else {
			b, n = appendEscaped(b, s[i:], k)
		}
		start = i + n
		i = start - 1
	}
	b = append(b, s[start:]...)
	if more {
		b = append(b, "..."...)
	}
	return b
}

// isMark tells that the '=' that rest begins with belongs to a mark of the
// lines' grammar; w is what was written before it.
func isMark(w []byte, rest string) bool {
	if len(rest) > 1 && rest[1] == '<' {
		return true
	}
	switch {
	case hasSuffixFold(w, "client"), hasSuffixFold(w, "status"), hasSuffixFold(w, "relay"):
		return true
	}
	return false
}

func hasSuffixFold(s []byte, suffix string) bool {
	if len(s) < len(suffix) {
		return false
	}
	s = s[len(s)-len(suffix):]
	for i := 0; i < len(s); i++ {
		if s[i]|0x20 != suffix[i] {
			return false
		}
	}
	return true
}

// isBanMark tells that the ':' at i ends the word "reject", or follows a ']'
// and leads, perhaps over a port, to ": ".
func isBanMark(s string, i int) bool {
	const word = "reject"
	if i >= len(word) && s[i-len(word):i] == word {
		return true
	}
	if i == 0 || s[i-1] != ']' {
		return false
	}
	j := i + 1
	for j < len(s) && s[j] >= '0' && s[j] <= '9' {
		j++
	}
	if j > i+1 {
		return j < len(s) && s[j] == ':'
	}
	return j == len(s) || s[j] == ' '
}

// appendJSON appends s as a JSON string, cut, valid whatever s holds: octets
// that are no UTF-8 become U+FFFD, what cannot be printed is escaped.
func appendJSON(b []byte, s string) []byte {
	s, more := cut(s)
	k := class{printLo &^ (1 << '"'), printHi}
	b = append(b, '"')
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && k.safe(s[j]) {
			j++
		}
		b = append(b, s[i:j]...)
		if j == len(s) {
			break
		}
		r, n := utf8.DecodeRuneInString(s[j:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r != utf8.RuneError && strconv.IsPrint(r):
			b = append(b, s[j:j+n]...)
		default:
			b = appendRune(b, r)
		}
		i = j + n
	}
	if more {
		b = append(b, "..."...)
	}
	return append(b, '"')
}
