package markup

import (
	"bytes"
	"html"
	"strings"
	"unicode/utf8"
)

// maxName is the longest name of a reference, without its semicolon.
const maxName = 31

// decodeText appends text with its character references decoded.
func decodeText(dst, text []byte) []byte { return decode(dst, text, false) }

// decodeValue does so with the value of an attribute, where a name without a
// semicolon is none if "=", a letter or a digit follows (13.2.5.73); NUL is
// U+FFFD.
func decodeValue(dst, value []byte) []byte {
	from := len(dst)
	dst = decode(dst, value, true)
	if bytes.IndexByte(dst[from:], 0) >= 0 {
		return append(dst[:from], bytes.ReplaceAll(dst[from:], []byte{0}, []byte("\uFFFD"))...)
	}
	return dst
}

func decode(dst, text []byte, attribute bool) []byte {
	for {
		n := bytes.IndexByte(text, '&')
		if n < 0 || n+1 >= len(text) {
			return append(dst, text...)
		}
		dst = append(dst, text[:n]...)
		text = text[n+1:]
		var used int
		if text[0] == '#' {
			dst, used = numeric(dst, text)
		} else {
			dst, used = named(dst, text, attribute)
		}
		if used == 0 {
			dst = append(dst, '&')
		}
		text = text[used:]
	}
}

// numeric decodes from "#" on (13.2.5.75 to 80). It returns how much was used.
func numeric(dst, text []byte) ([]byte, int) {
	at, base, n := 1, rune(10), rune(0)
	if at < len(text) && text[at]|0x20 == 'x' {
		at, base = 2, 16
	}
	from := at
	for ; at < len(text); at++ {
		c, d := text[at], rune(0)
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c|0x20 >= 'a' && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		default:
			d = -1
		}
		if d < 0 {
			break
		}
		if n = n*base + d; n > utf8.MaxRune {
			n = utf8.MaxRune + 1
		}
	}
	if at == from {
		return dst, 0
	}
	if at < len(text) && text[at] == ';' {
		at++
	}
	if n >= 0x80 && n < 0xA0 {
		n = windows[n-0x80]
	}
	if n == 0 {
		n = utf8.RuneError
	}
	return utf8.AppendRune(dst, n), at // what is no character is U+FFFD
}

// windows is what the numbers 0x80 to 0x9F mean: windows-1252 (13.2.5.80).
var windows = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
}

// named decodes a name, the longest that there is. It returns how much was
// used.
func named(dst, text []byte, attribute bool) ([]byte, int) {
	n := 0
	for n < len(text) && n < maxName && (letter(text[n]) || text[n] >= '0' && text[n] <= '9') {
		n++
	}
	if n == 0 {
		return dst, 0
	}
	name := text[:n]
	closed := n < len(text) && text[n] == ';'
	if closed {
		if to := common(name); to != "" {
			return append(dst, to...), n + 1
		}
		in := "&" + string(text[:n+1])
		// A name that it does not know keeps its semicolon.
		if out := html.UnescapeString(in); out != in && (!strings.HasSuffix(out, ";") || in == "&semi;") {
			return append(dst, out...), n + 1
		}
	}
	for m := min(n, maxOpen); m >= 2; m-- {
		to := open(name[:m])
		if to == "" {
			continue
		}
		if attribute && m < len(text) && (text[m] == '=' || letter(text[m]) || text[m] >= '0' && text[m] <= '9') {
			return dst, 0
		}
		if m < len(text) && text[m] == ';' {
			return append(dst, to...), m + 1
		}
		return append(dst, to...), m
	}
	return dst, 0
}

// common are the names that mail is full of.
func common(name []byte) string {
	switch string(name) {
	case "apos":
		return "'"
	case "zwnj":
		return "\u200C"
	case "zwj":
		return "\u200D"
	case "hellip":
		return "…"
	case "ndash":
		return "–"
	case "mdash":
		return "—"
	case "bull":
		return "•"
	case "lsquo":
		return "‘"
	case "rsquo":
		return "’"
	case "ldquo":
		return "“"
	case "rdquo":
		return "”"
	case "trade":
		return "™"
	case "euro":
		return "€"
	}
	return open(name)
}

// maxOpen is the longest name that needs no semicolon.
const maxOpen = 6

// open are the names that need no semicolon: those of HTML 2 and Latin-1.
func open(name []byte) string {
	switch string(name) {
	case "amp", "AMP":
		return "&"
	case "lt", "LT":
		return "<"
	case "gt", "GT":
		return ">"
	case "quot", "QUOT":
		return `"`
	case "COPY":
		return "©"
	case "REG":
		return "®"
	}
	return latin[string(name)]
}
