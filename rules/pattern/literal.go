package pattern

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Need is what a text must contain for a pattern to match: of each clause at
// least one string, whatever the case of ASCII letters. Strings are in small
// letters. Without clauses nothing can be said, and the pattern must be
// tried on every text.
type Need [][]string

// Required is what a text must contain for p to match, the rarest clause
// first. It is sound and not complete: a text that lacks it cannot match.
func Required(p *Pattern) Need { return p.need }

// In tells whether text holds one string of every clause.
func (n Need) In(text []byte) bool {
	for _, clause := range n {
		if !slices.ContainsFunc(clause, func(s string) bool { return containsFold(text, s) }) {
			return false
		}
	}
	return true
}

// containsFold looks for s, which is in small letters.
func containsFold(text []byte, s string) bool {
	if len(s) == 0 {
		return true
	}
	if len(s) > len(text) {
		return false
	}
	starts := text[:len(text)-len(s)+1]
	lo, up := s[0], s[0]
	if lo >= 'a' && lo <= 'z' {
		up -= 32
	}
	// The next place of either case is kept, so that no stretch of the text
	// is searched twice.
	nextLo, nextUp := seek(starts, lo, 0), len(starts)
	if up != lo {
		nextUp = seek(starts, up, 0)
	}
	for {
		i := min(nextLo, nextUp)
		if i >= len(starts) {
			return false
		}
		if hasPrefixFold(text[i:], s) {
			return true
		}
		if i == nextLo {
			nextLo = seek(starts, lo, i+1)
		} else {
			nextUp = seek(starts, up, i+1)
		}
	}
}

// seek is the next place of c at or behind from, or the end.
func seek(text []byte, c byte, from int) int {
	if i := bytes.IndexByte(text[from:], c); i >= 0 {
		return from + i
	}
	return len(text)
}

func hasPrefixFold(text []byte, s string) bool {
	if len(text) < len(s) {
		return false
	}
	for i := range len(s) {
		if lower(text[i]) != s[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 32
	}
	return c
}

const (
	maxStrings = 48 // strings in a clause
	maxLiteral = 24 // bytes of a string
	maxClauses = 3
)

// facts is what is known of all that a node can match.
type facts struct {
	// exact is every string that it matches, or nil if there are too many.
	exact []string
	need  Need
}

type extractor struct{ bytes bool }

func required(n *node, inBytes bool) Need {
	x := extractor{bytes: inBytes}
	f := x.node(n)
	need := f.need
	if clause := useful(f.exact); clause != nil {
		need = append(need, clause)
	}
	slices.SortStableFunc(need, func(a, b []string) int { return rarity(b) - rarity(a) })
	return need[:min(len(need), maxClauses)]
}

// useful is a clause that tells something, or nil.
func useful(exact []string) []string {
	if len(exact) == 0 {
		return nil
	}
	for _, s := range exact {
		if len(s) < 2 {
			return nil
		}
	}
	return exact
}

func (x extractor) node(n *node) facts {
	switch n.op {
	case opEmpty, opAssert:
		return facts{exact: []string{""}}
	case opSet:
		return facts{exact: x.set(n.set)}
	case opCapture, opAtomic:
		return x.node(n.sub[0])
	case opLook:
		f := facts{exact: []string{""}}
		if !n.negative {
			f.need = x.alone(n.sub[0])
		}
		return f
	case opCat:
		return x.cat(n)
	case opAlt:
		return x.alt(n)
	case opRepeat:
		return x.repeat(n)
	}
	return facts{} // a back-reference
}

// alone is the need of a node whose neighbours do not count.
func (x extractor) alone(n *node) Need {
	f := x.node(n)
	if clause := useful(f.exact); clause != nil {
		f.need = append(f.need, clause)
	}
	return f.need
}

// set is the characters of a small set, as strings.
func (x extractor) set(r ranges) []string {
	if r.size() > 12 || len(r) == 0 {
		return nil
	}
	var out []string
	for i := 0; i < len(r); i += 2 {
		for c := r[i]; c <= r[i+1]; c++ {
			switch {
			case c < 0x80:
				out = append(out, string(rune(lower(byte(c)))))
			case x.bytes:
				out = append(out, string([]byte{byte(c)}))
			case c == utf8.RuneError:
				return nil // it is any broken byte
			default:
				out = append(out, string(c))
			}
		}
	}
	return unique(out)
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func (x extractor) cat(n *node) facts {
	var f facts
	run := []string{""}
	whole := true
	cut := func() {
		if clause := useful(run); clause != nil {
			f.need = append(f.need, clause)
		}
	}
	for _, s := range n.sub {
		g := x.node(s)
		f.need = append(f.need, g.need...)
		next := product(run, g.exact)
		if next != nil {
			run = next
			continue
		}
		cut()
		whole = false
		run = []string{""}
		if g.exact != nil && product(run, g.exact) != nil {
			run = g.exact
		} else if g.exact != nil {
			run = g.exact
			cut()
			run = []string{""}
		}
	}
	if whole {
		f.exact = run
		return f
	}
	cut()
	return f
}

// product is each of a before each of b, or nil if that is too much.
func product(a, b []string) []string {
	if b == nil || len(a)*len(b) > maxStrings {
		return nil
	}
	out := make([]string, 0, len(a)*len(b))
	for _, s := range a {
		for _, t := range b {
			if len(s)+len(t) > maxLiteral {
				return nil
			}
			out = append(out, s+t)
		}
	}
	return unique(out)
}

func (x extractor) alt(n *node) facts {
	var all, rarest []string
	exact, useless := true, false
	for _, s := range n.sub {
		f := x.node(s)
		if f.exact == nil {
			exact = false
		}
		all = append(all, f.exact...)
		best := useful(f.exact)
		for _, clause := range f.need {
			if best == nil || rarity(clause) > rarity(best) {
				best = clause
			}
		}
		if best == nil {
			useless = true
		}
		rarest = append(rarest, best...)
	}
	if exact {
		if all = unique(all); len(all) <= maxStrings {
			return facts{exact: all}
		}
	}
	if useless {
		return facts{}
	}
	if rarest = unique(rarest); len(rarest) > 4*maxStrings {
		return facts{}
	}
	return facts{need: Need{rarest}}
}

func (x extractor) repeat(n *node) facts {
	if n.max == 0 {
		return facts{exact: []string{""}}
	}
	f := x.node(n.sub[0])
	if n.min == 0 {
		if n.max == 1 && f.exact != nil && len(f.exact) < maxStrings {
			return facts{exact: unique(append([]string{""}, f.exact...))}
		}
		return facts{}
	}
	if n.min == n.max {
		run := []string{""}
		for range n.min {
			if run = product(run, f.exact); run == nil {
				break
			}
		}
		if run != nil {
			return facts{exact: run, need: f.need}
		}
	}
	if clause := useful(f.exact); clause != nil {
		f.need = append(f.need, clause)
	}
	return facts{need: f.need}
}

// common is the letters of mail text, the most frequent first.
const common = " etaoinsrhldcumfpgwybvk.,:<>=/\"-"

// rarity is how seldom a clause is found in ordinary text: of its strings
// the most frequent one counts.
func rarity(clause []string) int {
	least := 1 << 20
	for _, s := range clause {
		least = min(least, rarityOf(s))
	}
	if len(clause) == 0 {
		return 0
	}
	// Many strings are found more often than one.
	return least*16 - len(clause)
}

func rarityOf(s string) int {
	sum := 0
	for i := range len(s) {
		at := strings.IndexByte(common, s[i])
		switch {
		case at < 0:
			sum += 9
		case at < 10:
			sum += 3
		case at < 20:
			sum += 5
		default:
			sum += 6
		}
	}
	return sum
}
