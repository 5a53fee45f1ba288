package pattern

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// op is the kind of a node of a parsed pattern.
type op uint8

const (
	opEmpty   op = iota // matches the empty string
	opSet               // one character out of set
	opCat               // all of sub, one after the other
	opAlt               // one of sub, the first is preferred
	opRepeat            // sub[0], min to max times
	opCapture           // sub[0], remembered as group n
	opAssert            // a place in the text
	opBackref           // the text of group n again
	opLook              // sub[0] must (not) match ahead or behind
	opAtomic            // sub[0] without second thoughts
)

// assertion is a place in the text, not a character of it.
type assertion uint8

const (
	atBegin     assertion = iota // start of the text
	atEnd                        // end of the text
	atEndNL                      // end of the text, or before a newline that ends it
	atLine                       // start of the text or after a newline that does not end it (PCRE /m)
	atLinePOSIX                  // start of the text or after any newline (REG_NEWLINE)
	atLineEnd                    // end of the text or before a newline
	atWord                       // between a word character and none
	atNotWord                    // not atWord
	atWordStart                  // \< of GNU
	atWordEnd                    // \> of GNU
)

// infinite is the max of a repeat without end.
const infinite = -1

type node struct {
	op       op
	at       assertion
	set      ranges
	sub      []*node
	min, max int
	n        int
	lazy     bool
	possess  bool
	fold     bool
	behind   bool
	negative bool
}

// ranges is a set of characters: pairs of first and last, sorted, apart.
type ranges []rune

func (r ranges) has(c rune) bool {
	for i := 0; i < len(r); i += 2 {
		if c >= r[i] && c <= r[i+1] {
			return true
		}
	}
	return false
}

// size is the number of characters in the set.
func (r ranges) size() int {
	n := 0
	for i := 0; i < len(r); i += 2 {
		n += int(r[i+1]-r[i]) + 1
	}
	return n
}

// tidy sorts the pairs and joins those that touch.
func (r ranges) tidy() ranges {
	if len(r) <= 2 {
		return r
	}
	type pair struct{ lo, hi rune }
	pairs := make([]pair, 0, len(r)/2)
	for i := 0; i < len(r); i += 2 {
		pairs = append(pairs, pair{r[i], r[i+1]})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return int(a.lo) - int(b.lo) })
	out := ranges{pairs[0].lo, pairs[0].hi}
	for _, p := range pairs[1:] {
		if last := len(out) - 1; p.lo <= out[last]+1 {
			out[last] = max(out[last], p.hi)
			continue
		}
		out = append(out, p.lo, p.hi)
	}
	return out
}

// not is every character up to top that is not in r, which is tidy.
func (r ranges) not(top rune) ranges {
	var out ranges
	next := rune(0)
	for i := 0; i < len(r); i += 2 {
		if r[i] > next {
			out = append(out, next, r[i]-1)
		}
		next = r[i+1] + 1
	}
	if next <= top {
		out = append(out, next, top)
	}
	return out
}

// upTo cuts the set at top.
func (r ranges) upTo(top rune) ranges {
	var out ranges
	for i := 0; i < len(r); i += 2 {
		if r[i] <= top {
			out = append(out, r[i], min(r[i+1], top))
		}
	}
	return out
}

// foldASCII adds the other case of ASCII letters: what PCRE and POSIX do in
// the C locale, where no other byte is a letter.
func (r ranges) foldASCII() ranges {
	out := slices.Clone(r)
	for i := 0; i < len(r); i += 2 {
		if lo, hi := max(r[i], 'A'), min(r[i+1], 'Z'); lo <= hi {
			out = append(out, lo+32, hi+32)
		}
		if lo, hi := max(r[i], 'a'), min(r[i+1], 'z'); lo <= hi {
			out = append(out, lo-32, hi-32)
		}
	}
	return out.tidy()
}

// foldUnicode adds every other case of every character, by the tables of
// Go's own regular expressions, so that both engines mean the same.
func (r ranges) foldUnicode() ranges {
	if len(r) == 2 && r[0] == r[1] {
		out := slices.Clone(r)
		for c := unicode.SimpleFold(r[0]); c != r[0]; c = unicode.SimpleFold(c) {
			out = append(out, c, c)
		}
		return out.tidy()
	}
	var b strings.Builder
	b.WriteString("(?i:")
	writeSet(&b, r)
	b.WriteString(")")
	re, err := syntax.Parse(b.String(), syntax.Perl)
	if err != nil || re.Op != syntax.OpCharClass {
		return r
	}
	return ranges(re.Rune).tidy()
}

func empty() *node { return &node{op: opEmpty} }

func one(c rune) *node { return &node{op: opSet, set: ranges{c, c}} }

func cat(sub []*node) *node {
	switch len(sub) {
	case 0:
		return empty()
	case 1:
		return sub[0]
	}
	return &node{op: opCat, sub: sub}
}

func alt(sub []*node) *node {
	if len(sub) == 1 {
		return sub[0]
	}
	return &node{op: opAlt, sub: sub}
}

// walk visits n and all below it.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, s := range n.sub {
		s.walk(visit)
	}
}

// nullable tells whether n can match the empty string.
func (n *node) nullable() bool {
	switch n.op {
	case opSet:
		return false
	case opCat:
		for _, s := range n.sub {
			if !s.nullable() {
				return false
			}
		}
		return true
	case opAlt:
		return slices.ContainsFunc(n.sub, (*node).nullable)
	case opRepeat:
		return n.min == 0 || n.sub[0].nullable()
	case opCapture, opAtomic:
		return n.sub[0].nullable()
	}
	return true
}

// width is the number of characters that n matches, and whether it always is.
func (n *node) width() (int, bool) {
	switch n.op {
	case opEmpty, opAssert, opLook:
		return 0, true
	case opSet:
		return 1, true
	case opCat:
		sum := 0
		for _, s := range n.sub {
			w, ok := s.width()
			if !ok || sum > maxWidth {
				return 0, false
			}
			sum += w
		}
		return sum, true
	case opAlt:
		first, ok := n.sub[0].width()
		for _, s := range n.sub[1:] {
			w, same := s.width()
			ok = ok && same && w == first
		}
		return first, ok
	case opRepeat:
		w, ok := n.sub[0].width()
		return w * n.min, ok && n.min == n.max && w*n.min <= maxWidth
	case opCapture, opAtomic:
		return n.sub[0].width()
	}
	return 0, false
}

// maxWidth is the longest text that a lookbehind may look back over, as PCRE
// has it.
const maxWidth = 65535
