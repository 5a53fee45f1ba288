package mail

import "strings"

const upperHex = "0123456789ABCDEF"

// EncodeXtext writes s as xtext (RFC 3461 section 4): printable ASCII without
// "+" and "=" stands for itself, every other octet is "+" and two upper-case
// digits. Whatever s holds, the result has no space, line end or sign that
// could begin another parameter; values of DSN, XCLIENT and XFORWARD go out
// in this form (S-100).
func EncodeXtext(s string) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if !isXchar(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; isXchar(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// DecodeXtext reads xtext strictly: upper-case digits only, and a decoded
// value of printable ASCII and space. "+0D+0A" is how a value becomes a
// command on the next wire (S-180), so controls are refused, never carried.
func DecodeXtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		for i := 0; i < len(s); i++ {
			if !isXchar(s[i]) {
				return "", false
			}
		}
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			if c = byte(hi<<4 | lo); c < ' ' || c > '~' {
				return "", false
			}
			i += 2
		} else if !isXchar(c) {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func isXchar(c byte) bool { return '!' <= c && c <= '~' && c != '+' && c != '=' }
