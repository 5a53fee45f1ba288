package fold

import (
	"bytes"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// tabled is the first character that is not looked up in the table: before
	// it is what letters are written with, beyond it little (attack R-03: a text
	// of nothing else must not cost more than others).
	tabled = 0x10000
	// whole says that an entry does not hold the answer, apart that it stands
	// behind the table: from the octet to[0..2], to[3] octets long.
	whole = 7
	apart = 8
)

// folded is what one character becomes.
type folded struct {
	n  uint8
	to [7]byte
}

// known is the table, and what was too long for it.
type known struct {
	of   [tabled]folded
	long []byte
}

// table is made when the first text beyond ASCII comes, and never changed.
var table = sync.OnceValue(makeTable)

func makeTable() *known {
	t := new(known)
	buf := make([]byte, 0, 64)
	for r := rune(utf8.RuneSelf); r < tabled; r++ {
		if r >= 0x4E00 && r < 0xA000 || r >= syllables && r < afterLast || r >= 0xD800 && r < 0xE000 {
			continue // runes takes them as they are; no text has surrogates
		}
		buf = long(buf[:0], r, 0)
		e := &t.of[r]
		switch {
		case bytes.ContainsFunc(buf, jamo) || len(buf) > 1 && (buf[0] == ' ' || buf[len(buf)-1] == ' '):
			e.n = whole
		case len(buf) < whole:
			e.n = uint8(copy(e.to[:], buf))
		default:
			at := len(t.long)
			e.n, e.to = apart, [7]byte{byte(at), byte(at >> 8), byte(at >> 16), byte(len(buf))}
			t.long = append(t.long, buf...)
		}
	}
	return t
}

// long folds one character by the tables of Unicode.
func long(dst []byte, r rune, from int) []byte {
	if to := keyboard(r); to != "" {
		return append(dst, to...)
	}
	if hangul(r) {
		return compose(dst, r, from)
	}
	var in [utf8.UTFMax]byte
	p := norm.NFKD.Properties(in[:utf8.EncodeRune(in[:], r)])
	parts := p.Decomposition()
	if parts == nil {
		return single(dst, r, p.CCC(), from)
	}
	for len(parts) > 0 {
		q := norm.NFKD.Properties(parts)
		c, size := utf8.DecodeRune(parts)
		if to := keyboard(c); to != "" {
			dst = append(dst, to...)
		} else {
			dst = single(dst, c, q.CCC(), from)
		}
		parts = parts[size:]
	}
	return dst
}

// single folds a character that is not composed of others; class is its
// canonical combining class. Marks with one are those that stand over, under
// or through a letter; since all of them go, their order needs no thought.
func single(dst []byte, r rune, class uint8, from int) []byte {
	switch {
	case r < utf8.RuneSelf:
		return octet(dst, byte(r))
	case r >= 0x4E00 && r < 0xA000:
		return utf8.AppendRune(dst, r)
	case hangul(r):
		return compose(dst, r, from)
	case unicode.Is(unicode.White_Space, r):
		return blank(dst)
	case class != 0 || unicode.Is(unicode.Me, r) || unseen(r):
		return dst
	}
	// By way of the upper case, as the final sigma and the long s need it.
	return utf8.AppendRune(dst, unicode.ToLower(unicode.ToUpper(r)))
}

// keyboard has what Unicode's decomposition leaves apart and a reader does not.
func keyboard(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss" // full case folding
	case 'ø', 'Ø':
		return "o"
	case 'ł', 'Ł':
		return "l"
	case 'đ', 'Đ', 'ð', 'Ð':
		return "d"
	case 'ħ', 'Ħ':
		return "h"
	case 'ŧ', 'Ŧ':
		return "t"
	case 'ı':
		return "i"
	case 'æ', 'Æ':
		return "ae"
	case 'œ', 'Œ':
		return "oe"
	case '‘', '’', '‚', '‛', '´', '\u1FFD', '′', 'ʹ', 'ʼ', '‹', '›':
		return "'"
	case '“', '”', '„', '‟', '″', '«', '»':
		return `"`
	case '‐', '‑', '‒', '–', '—', '―', '−', '⁃':
		return "-"
	}
	return ""
}

// unseen tells Default_Ignorable_Code_Point (DerivedCoreProperties.txt) and the
// controls that are no white space.
func unseen(r rune) bool {
	return unicode.Is(unicode.Cc, r) ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) ||
		unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// Hangul syllables are put together from their letters (Unicode 3.12), where
// a decomposition would make "가" a part of "각".
const (
	leadBase, leadCount   = 0x1100, 19
	vowelBase, vowelCount = 0x1161, 21
	tailBase, tailCount   = 0x11A7, 28
	syllables, afterLast  = 0xAC00, 0xAC00 + leadCount*vowelCount*tailCount
)

func jamo(r rune) bool { return r >= leadBase && r < 0x1200 }

func hangul(r rune) bool {
	return r >= syllables && r < afterLast || r >= leadBase && r < tailBase+tailCount && r != 0x115F && r != 0x1160
}

// compose appends a syllable or letter, or puts it into the syllable before.
func compose(dst []byte, r rune, from int) []byte {
	if r < syllables && len(dst) > from {
		last, size := utf8.DecodeLastRune(dst[from:])
		vowel, tail := r-vowelBase, r-tailBase
		switch {
		case last >= leadBase && last < leadBase+leadCount && vowel >= 0 && vowel < vowelCount:
			return utf8.AppendRune(dst[:len(dst)-size], syllables+((last-leadBase)*vowelCount+vowel)*tailCount)
		case last >= syllables && last < afterLast && (last-syllables)%tailCount == 0 && tail > 0 && tail < tailCount:
			return utf8.AppendRune(dst[:len(dst)-size], last+tail)
		}
	}
	return utf8.AppendRune(dst, r)
}
