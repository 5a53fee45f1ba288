package dnsbl

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Pattern matches answers: for each octet the set of its values.
type Pattern struct{ octets [4][4]uint64 }

// ParsePattern reads the form of Postfix's filters, "127.0.0.[2..11]" and
// "127.0.[0;1].4", where an octet may also be "*", or "&8" for all values with
// that bit. Only 127.0.0.0/8 can be meant.
func ParsePattern(s string) (Pattern, error) {
	var p Pattern
	rest := s
	for i := range 4 {
		text := rest
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return Pattern{}, fmt.Errorf("%.60q: a \"[\" without its \"]\"", s)
			}
			text, rest = rest[:end+1], rest[end+1:]
		} else if dot := strings.IndexByte(rest, '.'); dot >= 0 {
			text, rest = rest[:dot], rest[dot:]
		} else {
			rest = ""
		}
		if i < 3 {
			var dot bool
			if rest, dot = strings.CutPrefix(rest, "."); !dot {
				return Pattern{}, fmt.Errorf("%.60q: is not of four octets, as 127.0.0.[2..11]", s)
			}
		}
		if err := p.octet(i, text); err != nil {
			return Pattern{}, fmt.Errorf("%.60q: %w", s, err)
		}
	}
	if rest != "" {
		return Pattern{}, fmt.Errorf("%.60q: is not of four octets, as 127.0.0.[2..11]", s)
	}
	if p.octets[0] != (Pattern{}).with(0, 127).octets[0] {
		return Pattern{}, fmt.Errorf("%.60q: must begin with 127: nothing else is a listing (RFC 5782 section 2.1)", s)
	}
	return p, nil
}

func (p Pattern) with(i, v int) Pattern {
	p.octets[i][v>>6] |= 1 << (v & 63)
	return p
}

// octet reads one of the four.
func (p *Pattern) octet(i int, s string) error {
	add := func(from, to int) {
		for v := from; v <= to; v++ {
			p.octets[i][v>>6] |= 1 << (v & 63)
		}
	}
	switch {
	case s == "*":
		add(0, 255)
		return nil
	case strings.HasPrefix(s, "&"):
		mask, err := octetValue(s[1:])
		if err != nil || mask == 0 {
			return fmt.Errorf("after & stands a mask from 1 to 255")
		}
		for v := range 256 {
			if v&mask != 0 {
				add(v, v)
			}
		}
		return nil
	case strings.HasPrefix(s, "["):
		for one := range strings.FieldsFuncSeq(s[1:len(s)-1], func(r rune) bool { return r == ';' || r == ',' }) {
			low, high, ranged := strings.Cut(one, "..")
			from, err := octetValue(low)
			to := from
			if err == nil && ranged {
				to, err = octetValue(high)
			}
			if err != nil || to < from {
				return fmt.Errorf("%.20q is no range of 0 to 255", one)
			}
			add(from, to)
		}
		if p.octets[i] == [4]uint64{} {
			return fmt.Errorf("nothing stands between the brackets")
		}
		return nil
	}
	v, err := octetValue(s)
	if err != nil {
		return fmt.Errorf("%.20q is no octet", s)
	}
	add(v, v)
	return nil
}

func octetValue(s string) (int, error) {
	if len(s) == 0 || len(s) > 3 || strings.Trim(s, "0123456789") != "" || len(s) > 1 && s[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.Atoi(s)
	if err == nil && v > 255 {
		err = strconv.ErrRange
	}
	return v, err
}

// Match tells that an answer is one of those.
func (p *Pattern) Match(a netip.Addr) bool {
	a = a.Unmap()
	if !a.Is4() {
		return false
	}
	for i, v := range a.As4() {
		if p.octets[i][v>>6]&(1<<(v&63)) == 0 {
			return false
		}
	}
	return true
}

// Code is what some answers of a list mean.
type Code struct {
	Pattern Pattern
	Meaning string
	// Weight is in points; below zero in allow lists.
	Weight float64
	// Error says that such an answer is no listing: who asks may not.
	Error bool
}

// ParseCode reads "PATTERN WEIGHT MEANING", or "PATTERN error MEANING".
func ParseCode(s string) (Code, error) {
	pattern, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	weight, meaning, _ := strings.Cut(strings.TrimSpace(rest), " ")
	c := Code{Meaning: strings.TrimSpace(meaning), Error: weight == "error"}
	var err error
	if c.Pattern, err = ParsePattern(pattern); err != nil {
		return Code{}, err
	}
	if !c.Error {
		if c.Weight, err = strconv.ParseFloat(weight, 64); err != nil || !(c.Weight >= -maxWeight && c.Weight <= maxWeight) {
			return Code{}, fmt.Errorf("%.60q: after the pattern stands a weight from %d to %d, or error", s, -maxWeight, maxWeight)
		}
	}
	return c, nil
}

// maxWeight bounds a weight: far beyond any threshold.
const maxWeight = 100

// code makes one of the shipped table; a mistake there is found by the tests.
func code(pattern string, weight float64, meaning string) Code {
	p, err := ParsePattern(pattern)
	if err != nil {
		panic("dnsbl: " + err.Error())
	}
	return Code{Pattern: p, Meaning: meaning, Weight: weight}
}

func fault(pattern, meaning string) Code {
	c := code(pattern, 0, meaning)
	c.Error = true
	return c
}
