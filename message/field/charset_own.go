package field

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// This file has the decoders that the libraries lack.

// decodeUTF16 reads UTF-16 of either order: by its byte order mark; without
// one by where the zero octets are, since writers disagree with RFC 2781 4.3
// (big-endian) as often as not.
func decodeUTF16(data []byte) string {
	order := unicode.BigEndian
	if len(data) >= 2 && (data[0] != 0xFE || data[1] != 0xFF) {
		even, odd := 0, 0
		for i := 0; i+1 < len(data) && i < 4096; i += 2 {
			if data[i] == 0 {
				even++
			}
			if data[i+1] == 0 {
				odd++
			}
		}
		if odd > even {
			order = unicode.LittleEndian
		}
	}
	return through(unicode.UTF16(order, unicode.UseBOM))(data)
}

// decodeUTF7 reads UTF-7 (RFC 2152), tolerant: a missing `-`, a short end.
func decodeUTF7(data []byte) string {
	var b strings.Builder
	b.Grow(len(data))
	for i := 0; i < len(data); {
		c := data[i]
		i++
		switch {
		case c >= 0x80:
			b.WriteRune('\uFFFD')
			continue
		case c != '+':
			b.WriteByte(c)
			continue
		}
		end := i
		for end < len(data) && isBase64(data[end]) {
			end++
		}
		if end == i {
			b.WriteByte('+')
			if end < len(data) && data[end] == '-' {
				i++
			}
			continue
		}
		writeUTF7(&b, data[i:end])
		i = end
		if i < len(data) && data[i] == '-' {
			i++
		}
	}
	return b.String()
}

func isBase64(c byte) bool {
	return c-'A' < 26 || c-'a' < 26 || c-'0' < 10 || c == '+' || c == '/'
}

func writeUTF7(b *strings.Builder, digits []byte) {
	if len(digits)%4 == 1 {
		digits = digits[:len(digits)-1]
	}
	octets := make([]byte, base64.RawStdEncoding.DecodedLen(len(digits)))
	n, err := base64.RawStdEncoding.Decode(octets, digits)
	if err != nil {
		b.WriteRune('\uFFFD')
	}
	units := make([]uint16, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
	}
	b.WriteString(string(utf16.Decode(units)))
}

// decodeISO2022KR reads RFC 1557: between SO and SI two octets are a letter of
// KS X 1001, which is EUC-KR without the high bits.
func decodeISO2022KR(data []byte) string {
	return through(korean.EUCKR)(shiftOut(data))
}

// decodeISO2022CN reads the GB 2312 part of RFC 1922. What is designated as
// CNS 11643 comes out wrong; no client of today writes it.
func decodeISO2022CN(data []byte) string {
	return through(simplifiedchinese.GBK)(shiftOut(data))
}

// shiftOut sets the high bit of what stands between SO and SI, and drops those
// and the escape sequences that designate a set.
func shiftOut(data []byte) []byte {
	out := make([]byte, 0, len(data))
	shifted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == 0x0E:
			shifted = true
		case c == 0x0F:
			shifted = false
		case c == 0x1B && i+1 < len(data) && data[i+1] == '$':
			i += min(3, len(data)-i-1)
		case c == '\n':
			shifted = false // RFC 1557: each line begins in ASCII
			out = append(out, c)
		case shifted && c > 0x20 && c < 0x7F:
			out = append(out, c|0x80)
		default:
			out = append(out, c)
		}
	}
	return out
}

// decodeIBM500 reads the international EBCDIC, which is IBM037 with seven
// characters in other places.
func decodeIBM500(data []byte) string {
	var b strings.Builder
	b.Grow(len(data))
	for _, c := range data {
		switch c {
		case 0x4A:
			b.WriteByte('[')
		case 0x4F:
			b.WriteByte('!')
		case 0x5A:
			b.WriteByte(']')
		case 0x5F:
			b.WriteByte('^')
		case 0xB0:
			b.WriteRune('¢')
		case 0xBA:
			b.WriteRune('¬')
		case 0xBB:
			b.WriteByte('|')
		default:
			b.WriteRune(charmap.CodePage037.DecodeByte(c))
		}
	}
	return b.String()
}
