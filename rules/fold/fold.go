// Package fold makes text comparable as people compare it: without case,
// accents and compatibility forms (Unicode NFKD, marks dropped, full case
// folding), without characters that are not seen (soft hyphen, zero-width, bidi
// and other controls), and with every run of white space as one blank.
//
// Beyond Unicode's own tables, quotation marks and dashes are those of a
// keyboard, and letters that collation (UTS 10) tells apart from a plain one
// no more than it does accents are the plain ones: ø is o, æ is ae. Hangul is
// whole syllables, however it was written. Vowel signs of India's and Thailand's
// scripts stay: they are letters to their readers.
//
// It is not for security decisions between scripts: look-alike letters of other
// alphabets stay what they are. It fails never.
//
// # Limits
//
// Linear; ASCII is folded eight octets at a time. The folded text is at most
// eleven times as long as the text (U+FDFA), of Latin text about as long.
package fold

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// Text appends the folded form of UTF-8 text to dst. White space at both ends
// becomes one blank each, so that pieces can be joined: a blank at the end of dst
// and one at the start of text are one run. What is not UTF-8 is U+FFFD.
func Text(dst, text []byte) []byte {
	dst = slices.Grow(dst, len(text)+8)
	from := len(dst)
	for len(text) > 0 {
		var n int
		if dst, n = words(dst, text); n == len(text) {
			break
		}
		text = text[n:]
		switch c := text[0]; {
		case c < utf8.RuneSelf:
			dst = octet(dst, c)
			text = text[1:]
		default:
			dst, text = runes(dst, text, from)
		}
	}
	return dst
}

// latin1 is the folded letter of U+00C0 to U+00FF, 0 where it is not one letter.
const latin1 = "aaaaaa\x00ceeeeiiii\x00nooooo\x00\x00uuuuy\x00\x00aaaaaa\x00ceeeeiiii\x00nooooo\x00\x00uuuuy\x00y"

// Word is Text for a word without blanks. One of ASCII and accented letters of
// Western Europe, which most words are that have accents, is folded at the cost
// of a look into 64 octets.
func Word(dst, word []byte) []byte {
	from := len(dst)
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case c > ' ' && c < 0x7F:
			dst = append(dst, c)
		case c == 0xC3 && i+1 < len(word) && word[i+1]&0xC0 == 0x80 && latin1[word[i+1]&0x3F] != 0:
			i++
			dst = append(dst, latin1[word[i]&0x3F])
		default:
			return Text(dst[:from], word)
		}
	}
	return dst
}

// octet folds one ASCII character.
func octet(dst []byte, c byte) []byte {
	switch {
	case c == ' ' || c >= '\t' && c <= '\r':
		return blank(dst)
	case c < ' ' || c == 0x7F:
		return dst
	case c >= 'A' && c <= 'Z':
		c += 'a' - 'A'
	}
	return append(dst, c)
}

func blank(dst []byte) []byte {
	if len(dst) > 0 && dst[len(dst)-1] == ' ' {
		return dst
	}
	return append(dst, ' ')
}

const (
	each = 0x0101010101010101
	high = 0x8080808080808080
)

// words folds text eight octets at a time, as far as that goes: to the first
// eight with a control, two blanks in a row or more than ASCII in them.
func words(dst, text []byte) ([]byte, int) {
	at := 0
	spaced := len(dst) > 0 && dst[len(dst)-1] == ' '
	for len(text)-at >= 8 {
		w := binary.LittleEndian.Uint64(text[at:])
		// With all high bits clear, adding to each octet carries nowhere.
		if w&high != 0 {
			break
		}
		printed := (w + (0x80-0x20)*each) &^ ((w + each) & high) & high // 0x20..0x7E
		if printed != high {
			break
		}
		blanks := ^(w + (0x80-0x21)*each) & high // what is printed and below 0x21
		if blanks&(blanks<<8) != 0 || spaced && blanks&0x80 != 0 {
			break
		}
		upper := (w + (0x80-'A')*each) &^ (w + (0x80-'Z'-1)*each) & high
		dst = binary.LittleEndian.AppendUint64(dst, w|upper>>2)
		spaced = blanks>>63 != 0
		at += 8
	}
	return dst, at
}

// runes folds the run of characters beyond ASCII at the start of text, and
// returns the rest. Syllables are put together behind from only.
func runes(dst, text []byte, from int) ([]byte, []byte) {
	characters := table()
	for len(text) > 0 && text[0] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(text)
		if r >= 0x4E00 && r < 0xA000 || r >= syllables && r < afterLast {
			dst = append(dst, text[:size]...) // Han and Hangul are what they are
			text = text[size:]
			continue
		}
		if r < tabled {
			if e := &characters.of[r]; e.n < whole {
				if e.n == 1 && e.to[0] == ' ' {
					dst = blank(dst)
				} else {
					dst = append(dst, e.to[:e.n]...)
				}
				text = text[size:]
				continue
			} else if e.n == apart {
				at := int(e.to[0]) | int(e.to[1])<<8 | int(e.to[2])<<16
				dst = append(dst, characters.long[at:at+int(e.to[3])]...)
				text = text[size:]
				continue
			}
		}
		dst = long(dst, r, from)
		text = text[size:]
	}
	return dst, text
}

// Key is a phrase folded for a search in folded text, without blanks at its
// ends.
func Key(phrase string) string {
	return string(bytes.Trim(Text(nil, []byte(phrase)), " "))
}
