package field

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// value notes every reading of a value whose quotes are gone.
func (p *parser) value(name, v, how string) {
	if name == "" || name[0] == '*' {
		return
	}
	if star := strings.IndexByte(name, '*'); star >= 0 {
		p.extended(name[:star], name[star:], v)
		return
	}
	if len(v) > maxValue {
		p.odd("too-large-value", true)
		v = v[:maxValue]
	}
	u := unfold(v)
	p.text(name, u, how)
	if u != v {
		p.folded(name, v, u)
	}
	if strings.IndexAny(u, "\x00\r\v\f") >= 0 {
		p.control(name, u)
	}
	if name == "boundary" {
		if t := strings.TrimSpace(u); t != u {
			p.odd("space-in-boundary", true)
			p.text(name, t, "literal")
			p.text(name, strings.TrimRight(u, " \t"), "literal")
		}
	}
}

// folded gives what readers make of a fold inside a value: the standard keeps
// the white space, some drop it.
func (p *parser) folded(name, v, u string) {
	tight := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "", "\r\n", "", "\n", "").Replace(v)
	if nameLike(name) && extension(tight) == extension(u) {
		return
	}
	if strings.Contains(u, "=?") {
		return
	}
	p.odd("folded-value", differ(name, tight, u))
	p.text(name, tight, "literal")
	if strings.Contains(v, "\t") {
		p.text(name, strings.NewReplacer("\r\n", "", "\n", "").Replace(v), "literal")
	}
}

// control gives what readers make of a NUL and of other characters that end
// strings or lines.
func (p *parser) control(name, v string) {
	gone := strings.NewReplacer("\x00", "", "\r", "", "\v", "", "\f", "").Replace(v)
	cut := v[:strings.IndexAny(v, "\x00\r\v\f")]
	p.odd("control-character", differ(name, gone, cut))
	p.text(name, gone, "literal")
	p.text(name, cut, "literal")
}

// text notes a value as text: encoded words decoded and as they are, octets
// that are not ASCII in the charsets that they may be in.
func (p *parser) text(name, v, how string) {
	if strings.Contains(v, "=?") {
		if w := scanWords(v); w.any {
			p.words(name, v, &w)
			return
		}
	}
	p.eight(name, v, how)
}

// words notes the readings of a value with encoded words, which the standard
// forbids in parameters (RFC 2047 section 5) and much mail has in names.
func (p *parser) words(name, v string, w *wordsOf) {
	joined := w.joined()
	p.odd("encoded-word", differ(name, joined, v) && !nameLike(name))
	p.add(name, joined, "encoded-word")
	if apart := w.apart(); apart != joined {
		p.odd("encoded-word-split", differ(name, joined, apart))
		p.add(name, apart, "encoded-word")
	}
	if w.skips {
		skipping := w.skipping()
		p.odd("encoded-word-damaged", differ(name, joined, skipping))
		p.add(name, skipping, "encoded-word")
	}
	if w.damaged {
		p.odd("encoded-word-damaged", differ(name, joined, v))
	}
	p.eight(name, v, "literal")
}

// eight notes a value that may hold octets outside ASCII: UTF-8 if it is,
// else Windows-1252 and, if it can be, Shift-JIS (attacks E-51). A boundary is
// compared with octets and stays what it is.
func (p *parser) eight(name, v, how string) {
	if name == "boundary" {
		p.add(name, v, how)
		return
	}
	if utf8.ValidString(v) {
		p.add(name, strings.TrimPrefix(v, "\uFEFF"), how)
		p.sevenBit(name, v)
		return
	}
	first := through(charmap.Windows1252)([]byte(v))
	p.add(name, first, how)
	p.sevenBit(name, v)
	ambiguous := false
	also := func(s string) {
		ambiguous = ambiguous || nameLike(name) && extension(s) != extension(first)
		p.add(name, s, "literal")
	}
	if s := through(japanese.ShiftJIS)([]byte(v)); strings.IndexRune(s, utf8.RuneError) < 0 {
		also(s)
	}
	if s, ok := overlong(v); ok {
		also(s)
	}
	p.odd("octets", ambiguous)
}

// sevenBit gives the name of a file for readers who drop octets outside ASCII,
// when that makes another extension.
func (p *parser) sevenBit(name, v string) {
	if !nameLike(name) {
		return
	}
	ext := extension(v)
	for i := range len(ext) {
		if ext[i] < 0x80 {
			continue
		}
		kept := make([]byte, 0, len(v))
		for k := range len(v) {
			if v[k] < 0x80 {
				kept = append(kept, v[k])
			}
		}
		p.add(name, string(kept), "literal")
		return
	}
}

// overlong reads ASCII that is written as two or three octets of UTF-8, which
// careless decoders accept: C0 AE is a full stop.
func overlong(v string) (string, bool) {
	if strings.IndexAny(v, "\xC0\xC1") < 0 && !strings.Contains(v, "\xE0\x80") && !strings.Contains(v, "\xE0\x81") {
		found := false
		for i := range len(v) {
			if c := v[i]; c == 0xC0 || c == 0xC1 || c == 0xE0 && i+1 < len(v) && v[i+1] < 0xA0 {
				found = true
				break
			}
		}
		if !found {
			return "", false
		}
	}
	var b strings.Builder
	found := false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case (c == 0xC0 || c == 0xC1) && i+1 < len(v) && v[i+1]&0xC0 == 0x80:
			b.WriteByte(c&1<<6 | v[i+1]&0x3F)
			i, found = i+1, true
		case c == 0xE0 && i+2 < len(v) && (v[i+1] == 0x80 || v[i+1] == 0x81) && v[i+2]&0xC0 == 0x80:
			b.WriteByte(v[i+1]&1<<6 | v[i+2]&0x3F)
			i, found = i+2, true
		default:
			b.WriteByte(c)
		}
	}
	return validUTF8([]byte(b.String())), found
}
