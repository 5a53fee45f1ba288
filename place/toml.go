package place

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote shows a piece of a file: in quotes, escaped, and cut when it is long.
func Quote(s string) string { return strconv.Quote(Shorten(s)) }

// Shorten leaves what fits into a message.
func Shorten(s string) string {
	const longest = 60
	n := 0
	for i := range s {
		if n++; n > longest {
			return s[:i] + "…"
		}
	}
	return s
}

// String writes a basic string of TOML. Its escapes are those that TOML and Go
// share, so that strconv.Unquote reads it too.
func String(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// BareKey tells an octet that a key may have without quotes.
func BareKey(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// UTF16 tells a file whose byte order mark is that of UTF-16.
func UTF16(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))
}

// Scrub tells of octets that no TOML file may hold (toml.io, "Spec") and gives
// a copy in which they are harmless and every offset is the same. It stops
// where told says no; then it gives false.
func Scrub(text []byte, told func(at int, what string) bool) ([]byte, bool) {
	out := bytes.Clone(text)
	if bytes.HasPrefix(out, []byte(ByteOrderMark)) {
		copy(out, "   ")
	}
	for i := 0; i < len(out); {
		c, n := utf8.DecodeRune(out[i:])
		bad, instead := "", byte(' ')
		switch {
		case c == utf8.RuneError && n == 1:
			bad, instead = fmt.Sprintf("byte 0x%02x is not UTF-8", out[i]), '?'
		case c == 0:
			bad = "there is a NUL byte"
		case c == '\r' && (i+1 == len(out) || out[i+1] != '\n'):
			bad = "there is a carriage return without line feed"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f:
			bad = fmt.Sprintf("there is a control character (0x%02x)", c)
		}
		if bad != "" {
			out[i] = instead
			if !told(i, bad) {
				return nil, false
			}
		}
		i += n
	}
	return out, true
}

// NextExpression gives the start of the next line from an offset on that is
// neither blank nor a comment; skipLine leaves the rest of the first one out.
func NextExpression(text []byte, from int, skipLine bool) int {
	for {
		if skipLine {
			i := bytes.IndexByte(text[from:], '\n')
			if i < 0 {
				return len(text)
			}
			from += i + 1
		}
		line, _, _ := bytes.Cut(text[from:], []byte("\n"))
		if t := bytes.TrimLeft(line, " \t\r"); len(t) > 0 && t[0] != '#' {
			return from + len(line) - len(t)
		}
		skipLine = true
	}
}

// Word gives the bounds of the word around an offset, the same two when there
// is none. It looks at most 100 octets to each side: what is longer is no word
// that anybody would be told.
func Word(text []byte, at int) (from, to int) {
	const farthest = 100
	ends := func(c byte) bool { return c <= ' ' || strings.IndexByte(`=[]{},#"'`, c) >= 0 }
	at = min(at, len(text))
	from, to = at, at
	for from > 0 && at-from < farthest && !ends(text[from-1]) {
		from--
	}
	for to < len(text) && to-at < farthest && !ends(text[to]) {
		to++
	}
	return from, to
}
