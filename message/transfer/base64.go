package transfer

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Values in the alphabet tables that are no digit.
const (
	octetJunk  = 0xFF
	octetSpace = 0xFE // white space and line ends
	octetPad   = 0xFD
)

// noDigit is set in the wide tables for what is no digit.
const noDigit = 1 << 31

const (
	standardAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	safeAlphabet     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// digits is the standard alphabet, safeDigits the one of RFC 4648 section 5
// together with the standard one.
var (
	digits     = alphabet(standardAlphabet)
	safeDigits = alphabet(standardAlphabet + safeAlphabet[62:])
	wide       = wideTables()
)

func alphabet(s string) (t [256]byte) {
	for i := range t {
		t[i] = octetJunk
	}
	for i := range len(s) {
		v := i
		if v >= 64 {
			v -= 2
		}
		t[s[i]] = byte(v)
	}
	for _, c := range " \t\r\n" {
		t[c] = octetSpace
	}
	t['='] = octetPad
	return t
}

// wideTables hold each digit at its four places in a quantum of 24 bits, so
// that a quantum is four look-ups and one test.
func wideTables() (t [4][256]uint32) {
	for i, v := range alphabet(standardAlphabet) {
		for place := range t {
			if v < 64 {
				t[place][i] = uint32(v) << (18 - 6*place)
			} else {
				t[place][i] = noDigit
			}
		}
	}
	return t
}

// quad decodes four characters; noDigit is set in the result if one is no
// digit.
func quad(s []byte) uint32 {
	_ = s[3]
	return wide[0][s[0]] | wide[1][s[1]] | wide[2][s[2]] | wide[3][s[3]]
}

// run decodes whole octuples of s into dst and gives how many characters it
// took. dst needs two octets more than the result.
func run(dst, s []byte) int {
	i, n := 0, 0
	for len(s)-i >= 8 && len(dst)-n >= 8 {
		c, d := s[i:i+8:i+8], dst[n:n+8:n+8]
		hi, lo := quad(c[:4]), quad(c[4:])
		if (hi|lo)&noDigit != 0 {
			break
		}
		binary.BigEndian.PutUint64(d, uint64(hi)<<40|uint64(lo)<<16)
		i, n = i+8, n+6
	}
	return i
}

// state64 is how far a decoder has come.
type state64 struct {
	n   int    // octets that were written
	at  int    // where it stands in the text
	acc uint32 // the bits of a quantum that has begun,
	q   int    // and the number of its digits
	// split: a quantum stands in two lines.
	split bool
}

// soundBase64 decodes text as long as it is sound: s.at is len(text) for sound
// text, however it ends. padded tells that padding completed the last quantum.
func soundBase64(dst, text []byte) (s state64, padded bool) {
	var acc uint32
	n, q, i := 0, 0, 0
	for i < len(text) {
		if q == 0 {
			k := run(dst[n:], text[i:])
			i, n = i+k, n+k/4*3
			for len(text)-i >= 4 {
				v := quad(text[i:])
				if v&noDigit != 0 {
					break
				}
				dst[n], dst[n+1], dst[n+2] = byte(v>>16), byte(v>>8), byte(v)
				i, n = i+4, n+3
			}
			if i == len(text) {
				break
			}
		}
		v := digits[text[i]]
		switch {
		case v < 64:
			acc = acc<<6 | uint32(v)
			if q++; q == 4 {
				dst[n], dst[n+1], dst[n+2] = byte(acc>>16), byte(acc>>8), byte(acc)
				n, q, acc = n+3, 0, 0
			}
		case v == octetSpace:
			s.split = s.split || q > 0 && text[i] == '\n'
		default:
			end, ok := soundPadding(text, i, q)
			if !ok {
				end = i
			}
			s.n, s.at, s.acc, s.q = n, end, acc, q
			return s, ok
		}
		i++
	}
	s.n, s.at, s.acc, s.q = n, i, acc, q
	return s, false
}

// soundPadding tells whether text from i on is the right padding for q digits
// and nothing behind it but white space.
func soundPadding(text []byte, i, q int) (int, bool) {
	pads := 0
	for ; i < len(text); i++ {
		switch digits[text[i]] {
		case octetPad:
			pads++
		case octetSpace:
		default:
			return i, false
		}
	}
	return i, q >= 2 && q+pads == 4
}

// tail writes the octets of an incomplete quantum.
func tail(dst []byte, acc uint32, q int) int {
	switch q {
	case 2:
		dst[0] = byte(acc >> 4)
		return 1
	case 3:
		dst[0], dst[1] = byte(acc>>10), byte(acc>>2)
		return 2
	}
	return 0
}

// Base64 gives the readings of base64 text: one for sound text, with line ends
// and white space between; more when junk, padding in the middle or a short end
// are read differently (attacks E-61). max bounds the octets of all readings
// together.
func Base64(text []byte, max int) ([]Reading, []Fault) {
	room := len(text)/4*3 + 16
	dst := make([]byte, min(room, (max/3+1)*3+16))
	in := text
	if room > len(dst) {
		// What cannot fit is not looked at: the result is cut anyhow.
		in = cutDigits(text, len(dst)/3*4-16)
	}
	st, padded := soundBase64(dst, in)
	whole := len(in) == len(text)
	if st.at < len(in) {
		return damagedBase64(dst, text, st, max)
	}
	if st.q > 0 && !padded && whole {
		return shortEnd(dst, st, max)
	}
	n := st.n + tail(dst[st.n:], st.acc, st.q)
	b := bound{left: max}
	b.add("base64", dst[:n])
	return b.readings, b.faultsAt(whole, len(in))
}

// cutDigits gives the beginning of text that holds about so many digits.
func cutDigits(text []byte, n int) []byte {
	n = max(n, 0)
	for i, c := range text {
		if digits[c] != octetSpace {
			if n--; n < 0 {
				return text[:i]
			}
		}
	}
	return text
}

// shortEnd gives the readings of text without its padding: most readers take
// the octets of the last quantum, strict ones do not. That is no ambiguity
// worth the name, and both are given.
func shortEnd(dst []byte, s state64, max int) ([]Reading, []Fault) {
	k := tail(dst[s.n:], s.acc, s.q)
	b := bound{left: max}
	b.add("base64", dst[:s.n+k])
	if k > 0 && s.n > 0 && !b.over {
		b.add("base64, without the short end", dst[:s.n:s.n])
	}
	return b.readings, append([]Fault{{ID: "base64-short", At: s.at}}, b.faultsAt(true, s.at)...)
}

// reader64 is one way to read damaged base64.
type reader64 struct {
	how   string
	table *[256]byte
	// stopJunk: the first character outside the alphabet is the end.
	stopJunk bool
	// lines: each line is read for itself.
	lines bool
	pad   padding
}

type padding uint8

const (
	padFlush     padding = iota // padding ends a quantum, the next one follows
	padComplete                 // the same, but only where a quantum is complete with it; skipped elsewhere
	padStop                     // the first padding is the end
	padEnd                      // the first padding that completes a quantum is the end; skipped elsewhere
	padSkip                     // padding is skipped like junk
	padZero                     // padding counts as a digit of value zero
	padDropStart                // padding drops what is left of the quantum
)

func readers64(safe bool) []reader64 {
	r := []reader64{
		{how: "base64", pad: padComplete},
		{how: "base64, again after padding", pad: padFlush},
		{how: "base64, to the first padding", pad: padStop},
		{how: "base64, to the first complete padding", pad: padEnd},
		{how: "base64, without padding", pad: padSkip},
		{how: "base64, padding as zero", pad: padZero},
		{how: "base64, padding drops the quantum", pad: padDropStart},
		{how: "base64, to the first junk", pad: padComplete, stopJunk: true},
		{how: "base64, line by line", pad: padFlush, lines: true},
	}
	for i := range r {
		r[i].table = tableOf(false)
	}
	if safe {
		r = append(r, reader64{how: "base64, url-safe", table: tableOf(true), pad: padComplete})
	}
	return r
}

func tableOf(safe bool) *[256]byte {
	t := digits
	if safe {
		t = safeDigits
	}
	return &t
}

// damagedBase64 gives every reading of text that is sound up to s: the octets
// up to there, which are in dst, are read once and shared by all readers.
func damagedBase64(dst, text []byte, s state64, max int) ([]Reading, []Fault) {
	b := bound{left: max}
	faults, harmless := faults64(text, s.at)
	safe := bytes.ContainsAny(text[s.at:], "-_")
	var rests [][]byte
	for _, r := range readers64(safe) {
		if b.over {
			break
		}
		if r.lines && s.split {
			b.add(r.how, r.read(text, state64{}, b.left))
			continue
		}
		rest := r.read(text[s.at:], s, b.left-s.n)
		if slices.ContainsFunc(rests, func(o []byte) bool { return bytes.Equal(o, rest) }) {
			continue
		}
		rests = append(rests, rest)
		b.add(r.how, append(dst[:s.n:s.n], rest...))
	}
	ambiguous := len(b.readings) > 1 && !harmless
	for i := range faults {
		faults[i].Ambiguous = ambiguous
	}
	return b.readings, append(faults, b.faultsAt(true, len(text))...)
}

// faults64 names what is wrong from at on, each kind once. harmless tells that
// nothing but the number of padding characters at the end is: readers disagree
// about the last octets at most.
func faults64(text []byte, at int) (faults []Fault, harmless bool) {
	add := func(id string, at int) {
		if !slices.ContainsFunc(faults, func(f Fault) bool { return f.ID == id }) {
			faults = append(faults, Fault{ID: id, At: at})
		}
	}
	padAt := -1
	for i := at; i < len(text) && len(faults) < 3; i++ {
		switch v := digits[text[i]]; {
		case v == octetPad:
			if padAt < 0 {
				padAt = i
			}
		case v == octetSpace:
		case v == octetJunk:
			add("base64-junk", i)
			if c := text[i]; c == '-' || c == '_' {
				add("base64-url-safe", i)
			}
		case padAt >= 0:
			add("base64-padding", padAt)
		}
	}
	if padAt >= 0 && len(faults) == 0 {
		return []Fault{{ID: "base64-padding", At: padAt}}, true
	}
	return faults, false
}

func clamp(n int) int { return max(n, 0) }

// withoutEnd cuts off what stands behind the last digit.
func withoutEnd(text []byte) []byte {
	i := len(text)
	for i > 0 && digits[text[i-1]] >= 64 {
		i--
	}
	return text[:i]
}

// read goes on in one way behind the sound beginning of a text; more than max
// octets are not needed.
func (r *reader64) read(text []byte, s state64, max int) []byte {
	dst := make([]byte, 0, min(len(text)/4*3+3, clamp(max)+4)+16)
	acc, q, pads := s.acc, s.q, 0
	if r.pad == padZero {
		text = withoutEnd(text)
	}
	flush := func() {
		var t [3]byte
		dst = append(dst, t[:tail(t[:], acc, q)]...)
		acc, q = 0, 0
	}
	for i := 0; i < len(text); {
		if q == 0 {
			k := run(dst[len(dst):cap(dst)], text[i:])
			if k > 0 {
				dst, pads = dst[:len(dst)+k/4*3], 0
				if i += k; i == len(text) || len(dst) > max {
					break
				}
			}
		}
		c := text[i]
		i++
		v := r.table[c]
		switch {
		case v < 64:
			pads = 0
		case v == octetSpace:
			if r.lines && c == '\n' {
				flush()
			}
			continue
		case v == octetPad:
			pads++
			var stop bool
			if v, stop = r.padding(q, pads, flush); stop {
				flush()
				return dst
			}
			if v == octetPad {
				if r.pad == padDropStart {
					acc, q = 0, 0
				}
				continue
			}
		case r.stopJunk:
			flush()
			return dst
		default:
			continue
		}
		acc = acc<<6 | uint32(v)
		if q++; q == 4 {
			dst = append(dst, byte(acc>>16), byte(acc>>8), byte(acc))
			if acc, q = 0, 0; len(dst) > max {
				return dst
			}
		}
	}
	flush()
	return dst
}

// padding does what the reader does with a padding character, the pads-th in a
// row behind q digits: it gives the digit that it counts as, if it counts, and
// whether reading stops.
func (r *reader64) padding(q, pads int, flush func()) (v byte, stop bool) {
	complete := q >= 2 && q+pads >= 4
	switch r.pad {
	case padFlush:
		flush()
	case padComplete:
		if complete {
			flush()
		}
	case padStop:
		return octetPad, true
	case padEnd:
		return octetPad, complete
	case padZero:
		if q >= 2 && q+1 == 4 && pads == q-1 {
			break
		}
		return 0, false
	}
	return octetPad, false
}
