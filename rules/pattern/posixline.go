package pattern

// Without REG_NEWLINE the anchors ^ and $ should know nothing of lines, and at
// the two ends of a match they do not. Inside of one they do: glibc builds the
// moves of its automaton as if the flag were set, so that ^ holds behind a
// newline that the match has consumed, and $ before one that it goes on to
// consume: `.^b` matches "a\nb", `^b` does not. A folded header is such a text. Where it
// looks at the match again it throws such a match away: for a back-reference,
// and with $ also for groups that are asked for.

// reach is what a match may have consumed up to a place, or will from there.
type reach struct {
	nothing bool // it may be nothing
	newline bool // the character next to the place may be a newline
}

func (r reach) or(s reach) reach {
	return reach{r.nothing || s.nothing, r.newline || s.newline}
}

// lineAnchors gives each ^ and $ of a POSIX expression the meaning that it has
// in its place. Where both are possible the line's is taken: what comes before
// may then mostly begin at that newline.
func lineAnchors(n *node, captures bool) {
	anchors(n, reach{nothing: true}, false)
	if !captures {
		anchors(n, reach{nothing: true}, true)
	}
}

// anchors walks n from left to right, or back, and tells what lies behind it.
func anchors(n *node, r reach, back bool) reach {
	switch n.op {
	case opSet:
		return reach{newline: n.set.has('\n')}
	case opAssert:
		if n.n == lineAnchor && r.newline {
			switch {
			case n.at == atBegin && !back:
				n.at = atLinePOSIX
			case n.at == atEnd && back:
				n.at = atLineEnd
			}
		}
		return r
	case opCapture:
		return anchors(n.sub[0], r, back)
	case opCat:
		for i := range n.sub {
			if back {
				i = len(n.sub) - 1 - i
			}
			r = anchors(n.sub[i], r, back)
		}
		return r
	case opAlt:
		var out reach
		for _, s := range n.sub {
			out = out.or(anchors(s, r, back))
		}
		return out
	case opRepeat:
		if n.max == 0 {
			return r
		}
		out := anchors(n.sub[0], r, back)
		if n.max != 1 {
			out = out.or(anchors(n.sub[0], r.or(out), back))
		}
		if n.min == 0 {
			out = out.or(r)
		}
		return out
	case opBackref:
		return reach{nothing: r.nothing, newline: true}
	}
	return r
}

// lineAnchor marks ^ and $ among the assertions; \` and \' are others.
const lineAnchor = 1
