package field

import (
	"slices"
	"strconv"
	"strings"
)

// section is one part of a continued parameter (RFC 2231 section 3).
type section struct {
	base     string
	index    int
	encoded  bool
	value    string
	appeared int
}

// extended notes a parameter whose name ends in `*`, or a section of one that
// is continued; mark is what follows the name.
func (p *parser) extended(base, mark, v string) {
	v = tight(v)
	if mark == "*" {
		p.charsetValue(base, v, "rfc2231")
		return
	}
	digits := strings.Trim(mark, "*")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || len(digits) > 1 && digits[0] == '0' || strings.Count(mark, "*") > 2 {
		p.odd("rfc2231-section", true)
		p.charsetValue(base, v, "rfc2231")
		if err != nil {
			return
		}
	}
	if len(p.sections) >= maxSections {
		p.odd("too-many-parameters", true)
		return
	}
	p.sections = append(p.sections, section{base: base, index: n, encoded: strings.HasSuffix(mark, "*"),
		value: v, appeared: len(p.sections)})
}

// tight takes folds with their white space out: an encoded value has none.
func tight(v string) string {
	if strings.IndexAny(v, "\r\n") < 0 {
		return v
	}
	return unfold(v)
}

// split cuts charset and language off an extended value. ok is false when they
// are not there.
func split(v string) (charset, rest string, ok bool) {
	a := strings.IndexByte(v, '\'')
	if a < 0 {
		return "", v, false
	}
	b := strings.IndexByte(v[a+1:], '\'')
	if b < 0 {
		return v[:a], v[a+1:], false
	}
	return v[:a], v[a+1+b+1:], true
}

// percent decodes `%XX`; what is none stays, and bad says that there was some.
func percent(v string) (out []byte, bad bool) {
	if strings.IndexByte(v, '%') < 0 {
		return []byte(v), false
	}
	out = make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' {
			if c, ok := hexPair(v, i+1); ok {
				out = append(out, c)
				i += 2
				continue
			}
			bad = true
		}
		out = append(out, v[i])
	}
	return out, bad
}

// extendedText gives the most likely reading of an extended value.
func extendedText(v string) string {
	charset, rest, ok := split(v)
	if !ok {
		rest = v
	}
	octets, _ := percent(rest)
	return octetsText(charset, octets)
}

// octetsText decodes with the charset that was declared, and with what clients
// guess if there was none or none that is known.
func octetsText(charset string, octets []byte) string {
	if text, _, known := Decode(charset, octets); known && charset != "" {
		return text
	}
	return plain(string(octets))
}

// charsetValue notes the readings of an extended value.
func (p *parser) charsetValue(base, v, how string) {
	charset, rest, ok := split(v)
	if !ok {
		// `name*=file.zip`, `name*=utf-8'file.zip`: some take all of it.
		octets, _ := percent(v)
		first := octetsText("", octets)
		p.add(base, first, how)
		second := first
		if charset != "" {
			octets, _ := percent(rest)
			second = octetsText(charset, octets)
			p.add(base, second, how)
		}
		p.odd("rfc2231-charset", differ(base, first, second))
		return
	}
	octets, bad := percent(rest)
	first := octetsText(charset, octets)
	p.add(base, first, how)
	if bad {
		p.odd("rfc2231-percent", false)
	}
	if charset != "" && !Known(charset) {
		p.odd("unknown-charset", false)
		p.eight(base, v, "literal")
	}
	if base == "boundary" && !ascii(string(octets)) {
		p.add(base, string(octets), "literal") // it is compared with octets
	}
	if raw := string(octets); raw != first && ascii(raw) && !strings.ContainsAny(raw, "\x00\x1b~+") {
		// Declared as UTF-16 or EBCDIC, and in plain ASCII.
		p.odd("charset-mismatch", differ(base, raw, first))
		p.add(base, raw, "literal")
	}
	if strings.Contains(first, "=?") {
		if w := scanWords(first); w.any {
			p.odd("encoded-word", differ(base, first, w.joined()))
			p.add(base, w.joined(), "encoded-word")
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// join notes the readings of all continued parameters.
func (p *parser) join() {
	for len(p.sections) > 0 {
		base := p.sections[0].base
		var of, others []section
		for _, s := range p.sections {
			if s.base == base {
				of = append(of, s)
			} else {
				others = append(others, s)
			}
		}
		p.joinOne(base, of)
		p.sections = others
	}
}

// joinOne notes the readings of one: a sound one has one reading.
func (p *parser) joinOne(base string, of []section) {
	ordered := slices.IsSortedFunc(of, byIndex)
	sorted := slices.Clone(of)
	slices.SortStableFunc(sorted, byIndex)
	sound := true
	for i, s := range sorted {
		sound = sound && s.index == i
	}
	first := p.joined(base, sorted, "rfc2231")
	if !p.literal {
		p.names = append(p.names, seenName{name: base, value: first, extended: true})
	}
	if ordered && sound {
		return
	}
	ambiguous := false
	also := func(of []section, how string) {
		if len(of) > 0 {
			ambiguous = differ(base, first, p.joined(base, of, how)) || ambiguous
		}
	}
	if !sound {
		also(upToGap(sorted), "rfc2231")
		also(firstOfEach(sorted), "rfc2231")
		slices.Reverse(sorted)
		last := firstOfEach(sorted)
		slices.Reverse(last)
		also(last, "rfc2231")
	}
	also(of, "rfc2231, unordered")
	for i := range of {
		also(of[i:i+1], "rfc2231, unordered")
	}
	if sound {
		p.odd("rfc2231-order", ambiguous)
	} else {
		p.odd("rfc2231-sections", ambiguous)
	}
}

func byIndex(a, b section) int { return a.index - b.index }

// upToGap gives the sections that follow each other from the first on.
func upToGap(sorted []section) []section {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].index > sorted[i-1].index+1 {
			return sorted[:i]
		}
	}
	return sorted
}

// firstOfEach gives the first section of each index.
func firstOfEach(sorted []section) []section {
	var out []section
	for _, s := range sorted {
		if len(out) == 0 || out[len(out)-1].index != s.index {
			out = append(out, s)
		}
	}
	return out
}

// joined notes the readings of some sections put together, and gives the first.
func (p *parser) joined(base string, of []section, how string) string {
	var charset string
	var octets, all []byte
	started, mixed := false, false
	for _, s := range of {
		v := s.value
		if s.encoded && !started {
			if c, rest, ok := split(v); ok {
				charset, v, started = c, rest, true
			}
		}
		decoded, _ := percent(v)
		all = append(all, decoded...)
		if s.encoded {
			octets = append(octets, decoded...)
		} else {
			mixed = mixed || len(decoded) != len(v)
			octets = append(octets, v...)
		}
	}
	if charset != "" && !Known(charset) {
		p.odd("unknown-charset", false)
	}
	first := octetsText(charset, octets)
	if !started && strings.Contains(first, "=?") {
		p.text(base, first, how)
	} else {
		p.add(base, first, how)
	}
	if mixed && started {
		second := octetsText(charset, all)
		p.odd("rfc2231-percent", differ(base, first, second))
		p.add(base, second, how)
	}
	return first
}
