package transfer

import "bytes"

// Marks in the table of hexadecimal digits: lower case, which RFC 2045 forbids
// and nearly all readers take, and no digit.
const (
	lowerHex = 0x10
	noHex    = 0xFF
)

var hexDigits = hexTable()

func hexTable() (t [256]byte) {
	for i := range t {
		t[i] = noHex
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['A'+i] = 10 + i
		t['a'+i] = 10 + i | lowerHex
	}
	return t
}

// hexValue gives the value of a hexadecimal digit, or noHex.
func hexValue(c byte) (v byte, lower bool) {
	v = hexDigits[c]
	if v == noHex {
		return v, false
	}
	return v &^ lowerHex, v&lowerHex != 0
}

// readerQP is one way to read damaged quoted-printable text.
type readerQP struct {
	how string
	// lower: lower-case digits count.
	lower bool
	// soft: white space between `=` and the line end, and a line end that is
	// a CR alone, are taken for a soft break.
	soft bool
	// keep: white space at the end of a line stays.
	keep bool
	bad  badQP
}

type badQP uint8

const (
	badKept    badQP = iota // `=XY` stays as it is
	badSign                 // the `=` is dropped
	badDropped              // all three are dropped
	badDigit                // one digit is enough
)

// readersQP are the ways to read damaged text, the most likely first.
func readersQP() []readerQP {
	return []readerQP{
		{how: "quoted-printable", lower: true, soft: true},
		{how: "quoted-printable, white space kept", lower: true, soft: true, keep: true},
		{how: "quoted-printable, strict", keep: true},
		{how: "quoted-printable, signs dropped", lower: true, soft: true, bad: badSign},
		{how: "quoted-printable, invalid dropped", lower: true, soft: true, bad: badDropped},
		{how: "quoted-printable, one digit enough", lower: true, soft: true, bad: badDigit},
	}
}

// QuotedPrintable gives the readings of quoted-printable text: one for sound
// text, more when it is damaged (attacks E-62). Text that holds nothing encoded
// is given as it is, not copied. Lines longer than 76 octets are read by all in
// the same way and are no fault.
func QuotedPrintable(text []byte, max int) ([]Reading, []Fault) {
	b := bound{left: max}
	out, s := soundQP(text, max)
	if s.faults == nil {
		b.add("quoted-printable", out)
		return b.readings, b.faultsAt(!s.cut, len(text))
	}
	for _, r := range readersQP() {
		if !b.over {
			b.add(r.how, r.read(text, b.left))
		}
	}
	for i := range s.faults {
		f := &s.faults[i]
		f.Ambiguous = len(b.readings) > 1 && f.ID != "qp-trailing-space" && f.ID != "qp-lower-case"
	}
	return b.readings, append(s.faults, b.faultsAt(true, len(text))...)
}

// stateQP is what soundQP found.
type stateQP struct {
	faults []Fault
	cut    bool
}

func (s *stateQP) fault(id string, at int) {
	for i := range s.faults {
		if s.faults[i].ID == id {
			return
		}
	}
	s.faults = append(s.faults, Fault{ID: id, At: at})
}

// soundQP decodes sound text and names what is not sound.
func soundQP(text []byte, max int) (out []byte, s stateQP) {
	copied := false
	from, i := 0, 0 // text[from:i] is not in out yet
	take := func(to int) {
		if !copied {
			out, copied = make([]byte, 0, min(len(text), max+1)), true
		}
		if len(out)+to-from > max {
			to, s.cut = from+max-len(out), true
		}
		out = append(out, text[from:to]...)
	}
	for i < len(text) && !s.cut {
		line := bytes.IndexByte(text[i:], '\n')
		end := i + line // the LF
		if line < 0 {
			end = len(text)
		}
		last := end
		if last > i && last < len(text) && text[last-1] == '\r' {
			last--
		}
		if last > i && (text[last-1] == ' ' || text[last-1] == '\t') {
			s.fault("qp-trailing-space", last-1)
		}
		for i < last {
			k := bytes.IndexByte(text[i:last], '=')
			if k < 0 {
				break
			}
			i += k
			if i+1 == last {
				// A soft break; at the very end, too, because the line end
				// behind belongs to the boundary.
				take(i)
				from = min(end+1, len(text))
				break
			}
			if !isPair(text, i, last) {
				s.badPair(text, i, last)
				i++
				continue
			}
			// Encoded octets stand in rows: a row is decoded without a search.
			take(i)
			for isPair(text, i, last) && len(out) < max {
				hi, lo := hexDigits[text[i+1]], hexDigits[text[i+2]]
				if (hi|lo)&lowerHex != 0 {
					s.fault("qp-lower-case", i)
				}
				out = append(out, hi<<4|lo&15)
				i += 3
			}
			s.cut = s.cut || isPair(text, i, last)
			if from = i; s.cut {
				break
			}
		}
		i = end + 1
	}
	if !copied && len(text) <= max {
		return text, s
	}
	if !s.cut && from < len(text) {
		take(len(text))
	}
	return out, s
}

// isPair tells that an `=` at i has two digits behind it; last is the end of the
// line.
func isPair(text []byte, i, last int) bool {
	return i+2 < last && text[i] == '=' && hexDigits[text[i+1]] != noHex && hexDigits[text[i+2]] != noHex
}

// badPair names what is wrong with the `=` at i.
func (s *stateQP) badPair(text []byte, i, last int) {
	if blank(text[i+1 : last]) {
		s.fault("qp-soft-break", i)
	} else {
		s.fault("qp-invalid", i)
	}
}

func blank(s []byte) bool {
	for _, c := range s {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// read decodes text in one way, until it has more than max octets.
func (r *readerQP) read(text []byte, max int) []byte {
	out := make([]byte, 0, min(len(text), max+8))
	for i := 0; i < len(text) && len(out) <= max; {
		end := bytes.IndexByte(text[i:], '\n')
		if end < 0 {
			end = len(text)
		} else {
			end += i + 1
		}
		out = r.line(out, text[i:end])
		i = end
	}
	return out
}

// line decodes one line with its line end.
func (r *readerQP) line(out, line []byte) []byte {
	body := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	eol := line[len(body):]
	if !r.keep {
		body = bytes.TrimRight(body, " \t\r")
	}
	for i := 0; i < len(body); {
		k := bytes.IndexByte(body[i:], '=')
		if k < 0 {
			out = append(out, body[i:]...)
			break
		}
		out = append(out, body[i:i+k]...)
		i += k
		rest := body[i+1:]
		if len(rest) == 0 || r.soft && blank(rest) {
			return out
		}
		if r.soft && rest[0] == '\r' {
			i += 2 // a CR alone as line end
			continue
		}
		var n int
		out, n = r.pair(out, rest)
		i += n
	}
	return append(out, eol...)
}

// pair decodes what stands behind an `=` and gives how many octets it took,
// the `=` with them.
func (r *readerQP) pair(out, rest []byte) ([]byte, int) {
	digit := func(i int) (byte, bool) {
		if i >= len(rest) {
			return 0, false
		}
		v, lower := hexValue(rest[i])
		return v, v < 16 && (r.lower || !lower)
	}
	hi, ok := digit(0)
	lo, ok2 := digit(1)
	switch {
	case ok && ok2:
		return append(out, hi<<4|lo), 3
	case r.bad == badSign:
		return out, 1
	case r.bad == badDropped:
		return out, min(3, len(rest)+1)
	case r.bad == badDigit && ok:
		return append(out, hi), 2
	}
	return append(out, '='), 1
}
