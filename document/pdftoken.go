package document

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// pdfScan goes through the tokens of a part of a PDF.
type pdfScan struct {
	b    []byte
	pos  int
	open bool // a string without an end was met: no more strings from here on
	// clean is true while nothing but white space stood before pos since the
	// last name.
	mark int // where the last name began
}

// nextName finds the next name outside strings and comments, #xx decoded.
func (s *pdfScan) nextName() (string, bool) {
	for s.pos < len(s.b) {
		i := bytes.IndexAny(s.b[s.pos:], "/(%")
		if i < 0 {
			s.pos = len(s.b)
			return "", false
		}
		s.pos += i
		switch s.b[s.pos] {
		case '(':
			s.skipString()
		case '%':
			end := bytes.IndexAny(s.b[s.pos:], "\r\n")
			if end < 0 {
				end = len(s.b) - s.pos
			}
			s.pos += end
		default:
			s.mark = s.pos
			s.pos++
			return s.readName(), true
		}
	}
	return "", false
}

// readName reads a name behind its slash; of a long one the first 127 octets.
func (s *pdfScan) readName() string {
	from := s.pos
	escaped := false
	for s.pos < len(s.b) && !pdfBreak(s.b[s.pos]) {
		escaped = escaped || s.b[s.pos] == '#'
		s.pos++
	}
	raw := s.b[from:min(s.pos, from+512)]
	if !escaped {
		return string(raw[:min(len(raw), 127)])
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '#' && i+2 < len(raw) {
			if v, err := strconv.ParseUint(string(raw[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out[:min(len(out), 127)])
}

// skipString passes over a literal string: brackets nest, backslash escapes.
func (s *pdfScan) skipString() {
	if _, end := s.literal(); end > 0 {
		s.pos = end
		return
	}
	s.open = true
	s.pos++
}

// literal finds the end of the string at pos. A string without an end is taken
// for octets, once for all, so that it hides nothing and costs once.
func (s *pdfScan) literal() ([]byte, int) {
	if s.open {
		return nil, 0
	}
	depth := 0
	for i := s.pos; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s.b[s.pos+1 : i], i + 1
			}
		}
	}
	return nil, 0
}

// space passes over white space.
func (s *pdfScan) space() {
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case 0, '\t', '\n', '\f', '\r', ' ':
			s.pos++
		default:
			return
		}
	}
}

// adjacent tells whether the next token is a name.
func (s *pdfScan) adjacent() bool {
	save := s.pos
	s.space()
	ok := s.pos < len(s.b) && s.b[s.pos] == '/'
	s.pos = save
	return ok
}

// value tells whether a dictionary or a reference follows.
func (s *pdfScan) value() bool {
	save := s.pos
	defer func() { s.pos = save }()
	s.space()
	if bytes.HasPrefix(s.b[s.pos:], []byte("<<")) {
		return true
	}
	return s.reference() >= 0
}

// reference reads "12 0 R" and gives 12, or -1; it moves behind it.
func (s *pdfScan) reference() int {
	s.space()
	rest := s.b[s.pos:min(len(s.b), s.pos+40)]
	n, i := 0, 0
	for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' && i < 10 {
		n = n*10 + int(rest[i]-'0')
		i++
	}
	if i == 0 {
		return -1
	}
	f := bytes.FieldsFunc(rest[i:], func(r rune) bool { return r <= ' ' })
	if len(f) < 2 || f[1][0] != 'R' {
		return -1
	}
	for _, c := range f[0] {
		if c < '0' || c > '9' {
			return -1
		}
	}
	s.pos += i
	return n
}

// dictionary gives the dictionary at pos, 4 KB at most, or the same room behind
// a reference or array: nothing then.
func (s *pdfScan) dictionary() []byte {
	s.space()
	if !bytes.HasPrefix(s.b[s.pos:], []byte("<<")) {
		return nil
	}
	b := s.b[s.pos:min(len(s.b), s.pos+4096)]
	depth := 0
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] == '<' && b[i+1] == '<':
			depth++
			i++
		case b[i] == '>' && b[i+1] == '>':
			i++
			if depth--; depth == 0 {
				return b[:i+1]
			}
		}
	}
	return b
}

// action reads the value of an action key: a reference, or the kinds of the
// dictionary in place.
func (s *pdfScan) action() (ref int, kinds uint16) {
	save := s.pos
	defer func() { s.pos = save }()
	if ref = s.reference(); ref >= 0 {
		return ref, 0
	}
	inner := pdfScan{b: s.dictionary()}
	prev := ""
	for range 256 {
		name, ok := inner.nextName()
		if !ok {
			break
		}
		if prev == "S" {
			kinds |= actionKind(name)
		}
		prev = name
	}
	return -1, kinds
}

// peekString gives the string that follows, its first part, as text.
func (s *pdfScan) peekString() string { return pdfText(s.peekBytes()) }

// peekBytes gives the octets of the string that follows, its first part.
func (s *pdfScan) peekBytes() []byte {
	save := s.pos
	defer func() { s.pos = save }()
	s.space()
	if s.pos >= len(s.b) {
		return nil
	}
	part := pdfScan{b: s.b[s.pos:min(len(s.b), s.pos+1024)]}
	switch part.b[0] {
	case '(':
		if body, end := part.literal(); end > 0 {
			return unescape(body)
		}
		return unescape(part.b[1:])
	case '<':
		if len(part.b) > 1 && part.b[1] == '<' {
			return nil
		}
		return hexDigits(part.b[1:])
	}
	return nil
}

// nearFile gives the file or address that belongs to an action: the string
// behind an F, Win or URL key in its neighbourhood.
func (s *pdfScan) nearFile() string {
	for _, n := range s.around("F", "UF", "URL", "FS") {
		return n
	}
	return ""
}

// around gives the strings behind such keys within 1 KB on both sides, which is
// the dictionary around the last name nearly always.
func (s *pdfScan) around(keys ...string) []string {
	from := max(0, s.mark-1024)
	if i := bytes.LastIndex(s.b[from:s.mark], []byte("endobj")); i >= 0 {
		from += i
	}
	near := pdfScan{b: s.b[from:min(len(s.b), s.pos+1024)]}
	var out []string
	for range 200 {
		name, ok := near.nextName()
		if !ok {
			break
		}
		for _, k := range keys {
			if name == k {
				if t := near.peekString(); t != "" && len(out) < 16 {
					out = appendNew(out, t)
				}
			}
		}
	}
	return out
}

// unescape resolves the escapes of a literal string (ISO 32000-1 7.3.4.2).
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch c := b[i]; {
		case c == 'n':
			out = append(out, '\n')
		case c == 'r':
			out = append(out, '\r')
		case c == 't':
			out = append(out, '\t')
		case c == '\n' || c == '\r':
		case c >= '0' && c <= '7':
			v := 0
			for n := 0; n < 3 && i < len(b) && b[i] >= '0' && b[i] <= '7'; n++ {
				v = v*8 + int(b[i]-'0')
				i++
			}
			i--
			out = append(out, byte(v))
		default:
			out = append(out, c)
		}
	}
	return out
}

// hexDigits decodes hexadecimal up to the sign >, passing over anything else.
func hexDigits(b []byte) []byte {
	digits := make([]byte, 0, len(b))
	for _, c := range b {
		if c == '>' {
			break
		}
		if hexValue(c) >= 0 {
			digits = append(digits, c)
		}
	}
	if len(digits)%2 == 1 {
		digits = append(digits, '0')
	}
	out := make([]byte, len(digits)/2)
	hex.Decode(out, digits)
	return out
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
