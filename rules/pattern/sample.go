package pattern

import (
	"slices"
	"unicode/utf8"
)

// maxSample bounds a sample; what needs more has none.
const maxSample = 64 << 10

// samples is how many texts are tried before a pattern is said to have none.
const samples = 48

// Sample makes a text that the pattern matches: what a report shows for a rule.
// It is put together from the parsed pattern and then asked of Match, so that
// true is never wrong. False says that none was found: look around and places
// that contradict each other are not reasoned about.
//
// It takes up to 48 matches of at most 64 KiB.
func Sample(p *Pattern) ([]byte, bool) {
	for turn := range samples {
		s := sampler{turn: turn, bytes: p.bytes, groups: map[int][]byte{}}
		// A word boundary at an end may want something, or nothing, outside.
		around := [...]string{"", " ", "a", "\n"}
		s.out = append(s.out, around[turn/12]...)
		s.node(p.tree)
		s.out = append(s.out, around[turn/12]...)
		if s.failed {
			continue
		}
		switch ok, err := p.Match(s.out, nil); {
		case err != nil:
			return nil, false
		case ok:
			return s.out, true
		}
	}
	return nil, false
}

type sampler struct {
	out    []byte
	turn   int
	bytes  bool
	failed bool
	groups map[int][]byte
	steps  int
}

func (s *sampler) node(n *node) {
	if s.steps++; s.failed || len(s.out) > maxSample || s.steps > maxSample {
		s.failed = true
		return
	}
	switch n.op {
	case opSet:
		s.char(n.set)
	case opCat:
		for _, sub := range n.sub {
			s.node(sub)
		}
	case opAlt:
		s.node(n.sub[s.turn%len(n.sub)])
	case opCapture:
		start := len(s.out)
		s.node(n.sub[0])
		s.groups[n.n] = slices.Clone(s.out[start:])
	case opAtomic:
		s.node(n.sub[0])
	case opBackref:
		s.out = append(s.out, s.groups[n.n]...)
	case opRepeat:
		times := n.min
		// A name before a dot reads better than none.
		if s.turn&1 == 0 && times == 0 && n.max == infinite {
			times = 1
		}
		if s.turn%3 == 2 && (n.max == infinite || times < n.max) {
			times++
		}
		for range times {
			if s.node(n.sub[0]); s.failed {
				return
			}
		}
	case opLook:
		// (?=.*a)(?=.*b): each may as well be there one after the other.
		if !n.negative && !n.behind && s.turn&2 == 0 {
			s.node(n.sub[0])
		}
	}
}

// char writes one of the set: a letter rather than a digit than a sign.
func (s *sampler) char(r ranges) {
	if len(r) == 0 {
		s.failed = true
		return
	}
	wish := [...]string{"axemnot0-. \t", "xyz019_.- ", "A0z !\n"}[s.turn%3]
	for _, c := range wish {
		if r.has(c) {
			s.out = append(s.out, byte(c))
			return
		}
	}
	c := r[0]
	for _, want := range []ranges{{'a', 'z'}, {'A', 'Z'}, {'0', '9'}, {'!', '~'}, {0xA1, 0xFF}} {
		for i := 0; i < len(r); i += 2 {
			if lo := max(r[i], want[0]); lo <= min(r[i+1], want[1]) {
				s.rune(lo)
				return
			}
		}
	}
	s.rune(c)
}

func (s *sampler) rune(c rune) {
	if s.bytes {
		s.out = append(s.out, byte(c))
		return
	}
	s.out = utf8.AppendRune(s.out, c)
}

// Octets is a set of octets.
type Octets [4]uint64

// Has tells whether c is in the set.
func (o *Octets) Has(c byte) bool { return o[c>>6]>>(c&63)&1 != 0 }

func octetsOf(r ranges) (o Octets) {
	for c := range 256 {
		if r.has(rune(c)) {
			o[c>>6] |= 1 << (c & 63)
		}
	}
	return o
}

// Empty tells whether nothing is in the set.
func (o *Octets) Empty() bool { return *o == Octets{} }

// Both is what is in both sets.
func (o Octets) Both(p Octets) Octets {
	for i := range o {
		o[i] &= p[i]
	}
	return o
}

// maxLead is how many characters Lead tells of.
const maxLead = 64

// Lead says of a pattern over bytes with what texts that match begin: one set
// for each of the first octets, as far as their places are fixed. ok is false
// for a pattern that may match anywhere in a text.
func Lead(p *Pattern) (sets []Octets, ok bool) {
	if !p.bytes || !begins(p.tree) {
		return nil, false
	}
	sets, _ = lead(p.tree)
	return sets, true
}

// begins tells whether n matches at the start of the text alone.
func begins(n *node) bool {
	switch n.op {
	case opAssert:
		return n.at == atBegin
	case opCapture, opAtomic:
		return begins(n.sub[0])
	case opRepeat:
		return n.min > 0 && begins(n.sub[0])
	case opAlt:
		return !slices.ContainsFunc(n.sub, func(s *node) bool { return !begins(s) })
	case opCat:
		for _, s := range n.sub {
			if begins(s) {
				return true
			}
			if s.op != opAssert && s.op != opLook && s.op != opEmpty {
				return false
			}
		}
	}
	return false
}

// lead gives the sets, and whether they are all of n.
func lead(n *node) (sets []Octets, whole bool) {
	switch n.op {
	case opEmpty, opAssert, opLook:
		return nil, true
	case opSet:
		return []Octets{octetsOf(n.set)}, true
	case opCapture, opAtomic:
		return lead(n.sub[0])
	case opCat:
		for _, s := range n.sub {
			more, all := lead(s)
			sets = append(sets, more...)
			if !all || len(sets) > maxLead {
				return sets[:min(len(sets), maxLead)], false
			}
		}
		return sets, true
	case opAlt:
		return leadOfAny(n.sub)
	case opRepeat:
		more, all := lead(n.sub[0])
		for range n.min {
			sets = append(sets, more...)
			if !all || len(sets) > maxLead || len(more) == 0 {
				break
			}
		}
		return sets[:min(len(sets), maxLead)], all && n.min == n.max && len(sets) <= maxLead
	}
	return nil, false
}

func leadOfAny(list []*node) (sets []Octets, whole bool) {
	whole = true
	for i, s := range list {
		more, all := lead(s)
		whole = whole && all && (i == 0 || len(more) == len(sets))
		if i == 0 {
			sets = slices.Clone(more)
			continue
		}
		sets = sets[:min(len(sets), len(more))]
		for j := range sets {
			for k := range sets[j] {
				sets[j][k] |= more[j][k]
			}
		}
	}
	return sets, whole
}

// Needs tells whether whatever the pattern matches has a character for which
// is holds.
func Needs(p *Pattern, is func(rune) bool) bool { return needs(p.tree, is) }

func needs(n *node, is func(rune) bool) bool {
	switch n.op {
	case opSet:
		if n.set.size() > 64 {
			return false
		}
		for i := 0; i < len(n.set); i += 2 {
			for c := n.set[i]; c <= n.set[i+1]; c++ {
				if !is(c) {
					return false
				}
			}
		}
		return len(n.set) > 0
	case opCapture, opAtomic:
		return needs(n.sub[0], is)
	case opRepeat:
		return n.min > 0 && needs(n.sub[0], is)
	case opCat:
		return slices.ContainsFunc(n.sub, func(s *node) bool { return needs(s, is) })
	case opAlt:
		return !slices.ContainsFunc(n.sub, func(s *node) bool { return !needs(s, is) })
	}
	return false
}

// Length is the least number of characters that a match has.
func Length(p *Pattern) int { return least(p.tree) }

func least(n *node) int {
	const enough = 1 << 20
	sum := 0
	switch n.op {
	case opSet:
		return 1
	case opCapture, opAtomic:
		return least(n.sub[0])
	case opRepeat:
		return min(enough, n.min*least(n.sub[0]))
	case opCat:
		for _, s := range n.sub {
			sum = min(enough, sum+least(s))
		}
	case opAlt:
		sum = least(n.sub[0])
		for _, s := range n.sub[1:] {
			sum = min(sum, least(s))
		}
	}
	return sum
}

// Refers tells whether there is a back-reference in the pattern.
func Refers(p *Pattern) bool {
	found := false
	p.tree.walk(func(n *node) { found = found || n.op == opBackref })
	return found
}
