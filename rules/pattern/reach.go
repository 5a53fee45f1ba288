package pattern

import (
	"regexp/syntax"
	"unicode/utf8"
)

// Reach is how far a match stretches, for those who look for it only about a
// literal that Candidates told of.
type Reach struct {
	// Max is the longest match in octets of UTF-8; -1 if there is no bound.
	Max int
	// Line says that no match goes over a line feed.
	Line bool
	// Alone says that nothing outside of a match decides about it: no ^, $, \b.
	Alone bool
}

// maxReach is the longest match whose surroundings are worth cutting out.
const maxReach = 2048

// ReachOf tells the reach of a pattern of Unicode that is linear whatever the
// text; ok is false for others, and for those whose matches may be anywhere.
func ReachOf(p *Pattern) (r Reach, ok bool) {
	if p == nil || !p.Linear() || p.bytes || p.endsNL {
		return r, false
	}
	tree, err := syntax.Parse(p.linear.String(), syntax.Perl)
	if err != nil {
		return r, false
	}
	r = stretch(tree)
	if r.Max > maxReach {
		r.Max = -1
	}
	return r, r.Max >= 0 || r.Line
}

func stretch(n *syntax.Regexp) Reach {
	switch n.Op {
	case syntax.OpNoMatch, syntax.OpEmptyMatch:
		return Reach{Line: true, Alone: true}
	case syntax.OpLiteral:
		r := Reach{Line: true, Alone: true}
		for _, c := range n.Rune {
			r.Line = r.Line && c != '\n'
			if n.Flags&syntax.FoldCase != 0 {
				r.Max += utf8.UTFMax // the Kelvin sign is a k
			} else {
				r.Max += utf8.RuneLen(c)
			}
		}
		return r
	case syntax.OpCharClass:
		r := Reach{Line: true, Alone: true}
		for i := 0; i+1 < len(n.Rune); i += 2 {
			if n.Rune[i] <= '\n' && '\n' <= n.Rune[i+1] {
				r.Line = false
			}
			if n.Rune[i+1] < utf8.RuneSelf {
				r.Max = max(r.Max, 1)
			} else {
				r.Max = utf8.UTFMax
			}
		}
		return r
	case syntax.OpAnyCharNotNL:
		return Reach{Max: utf8.UTFMax, Line: true, Alone: true}
	case syntax.OpAnyChar:
		return Reach{Max: utf8.UTFMax, Alone: true}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return Reach{Line: true}
	case syntax.OpCapture:
		return stretch(n.Sub[0])
	case syntax.OpConcat, syntax.OpAlternate:
		return several(n)
	}
	return repeated(n)
}

func several(n *syntax.Regexp) Reach {
	out := Reach{Line: true, Alone: true}
	for _, sub := range n.Sub {
		r := stretch(sub)
		out.Line, out.Alone = out.Line && r.Line, out.Alone && r.Alone
		switch {
		case r.Max < 0 || out.Max < 0:
			out.Max = -1
		case n.Op == syntax.OpConcat:
			out.Max += r.Max
		default:
			out.Max = max(out.Max, r.Max)
		}
		if out.Max > maxReach {
			out.Max = -1
		}
	}
	return out
}

func repeated(n *syntax.Regexp) Reach {
	r := stretch(n.Sub[0])
	switch {
	case r.Max == 0, n.Op == syntax.OpQuest:
	case n.Op == syntax.OpRepeat && n.Max >= 0 && r.Max > 0 && r.Max*n.Max <= maxReach:
		r.Max *= n.Max
	default:
		r.Max = -1
	}
	return r
}
