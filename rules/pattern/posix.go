package pattern

import (
	"fmt"
)

// posixParser reads the basic and extended expressions of regcomp(3) in
// glibc and the C locale, with what GNU added to POSIX. Its oddities are
// meant: tables that work under Postfix must work the same here.
type posixParser struct {
	src     []byte
	at      int
	basic   bool // REG_EXTENDED is off
	fold    bool // REG_ICASE
	newline bool // REG_NEWLINE
	groups  int
	// closed are the groups that a back-reference may name at this place.
	closed uint32
	depth  int
	tok    token
	// caretHere says that the next ^ of a basic expression is an anchor.
	caretHere bool
	refers    bool // there is a back-reference
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokChar
	tokSet
	tokAlt
	tokOpen
	tokClose
	tokBracket
	tokStar
	tokPlus
	tokQuestion
	tokOpenDup
	tokCloseDup
	tokAnchor
	tokBackref
	tokBackslash
)

type token struct {
	kind  tokenKind
	c     byte
	set   ranges
	at    assertion
	ref   int
	width int
}

// dupMax is RE_DUP_MAX.
const dupMax = 0x7fff

func parsePOSIX(source string, o Options) (*node, int, error) {
	p := &posixParser{src: []byte(source), basic: o.Dialect == Basic, fold: o.Fold, newline: o.Multiline}
	p.caretHere = true
	p.fetch()
	n, err := p.expression(0)
	if err != nil {
		return nil, 0, err
	}
	if !p.newline && !p.refers {
		lineAnchors(n, o.Captures)
	}
	return n, p.groups, nil
}

func (p *posixParser) fail(text string) error {
	return fmt.Errorf("at character %d: %s", p.at+1, text)
}

// upper is what regcomp makes of the expression under REG_ICASE; the text is
// put in capitals too.
func (p *posixParser) upper(c byte) byte {
	if p.fold && c >= 'a' && c <= 'z' {
		return c - 32
	}
	return c
}

func (p *posixParser) peekByte(off int) (byte, bool) {
	if p.at+off < len(p.src) {
		return p.upper(p.src[p.at+off]), true
	}
	return 0, false
}

func (p *posixParser) fetch() {
	p.tok = p.peekToken()
	p.at += p.tok.width
	p.caretHere = false
}

func (p *posixParser) peekToken() token {
	c, ok := p.peekByte(0)
	if !ok {
		return token{kind: tokEnd}
	}
	if c == '\\' {
		return p.escaped()
	}
	t := token{kind: tokChar, c: c, width: 1}
	ext := func(k tokenKind) token {
		if !p.basic {
			t.kind = k
		}
		return t
	}
	switch c {
	case '\n':
		return t
	case '|':
		return ext(tokAlt)
	case '*':
		t.kind = tokStar
	case '+':
		return ext(tokPlus)
	case '?':
		return ext(tokQuestion)
	case '{':
		return ext(tokOpenDup)
	case '}':
		return ext(tokCloseDup)
	case '(':
		return ext(tokOpen)
	case ')':
		return ext(tokClose)
	case '[':
		t.kind = tokBracket
	case '.':
		t.kind, t.set = tokSet, ranges{1, 255}
		if p.newline {
			t.set = ranges{1, 9, 11, 255}
		}
	case '^':
		if !p.basic || p.caretHere || p.at == 0 {
			t.kind, t.at, t.ref = tokAnchor, atBegin, lineAnchor
			if p.newline {
				t.at = atLinePOSIX
			}
		}
	case '$':
		if !p.basic || p.dollarEnds() {
			t.kind, t.at, t.ref = tokAnchor, atEnd, lineAnchor
			if p.newline {
				t.at = atLineEnd
			}
		}
	}
	return t
}

// dollarEnds tells whether the $ of a basic expression stands at an end.
func (p *posixParser) dollarEnds() bool {
	if p.at+1 == len(p.src) {
		return true
	}
	p.at++
	next := p.peekToken()
	p.at--
	return next.kind == tokAlt || next.kind == tokClose
}

// escaped reads a backslash and what follows, which is not put in capitals:
// under REG_ICASE an escaped small letter matches nothing.
func (p *posixParser) escaped() token {
	if p.at+1 >= len(p.src) {
		return token{kind: tokBackslash, width: 1}
	}
	c := p.src[p.at+1]
	t := token{kind: tokChar, c: c, width: 2}
	basic := func(k tokenKind) token {
		if p.basic {
			t.kind = k
		}
		return t
	}
	place := func(at assertion) token {
		t.kind, t.at = tokAnchor, at
		return t
	}
	word, space := ranges{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}, ranges{'\t', '\r', ' ', ' '}
	switch c {
	case '|':
		return basic(tokAlt)
	case '(':
		return basic(tokOpen)
	case ')':
		return basic(tokClose)
	case '+':
		return basic(tokPlus)
	case '?':
		return basic(tokQuestion)
	case '{':
		return basic(tokOpenDup)
	case '}':
		return basic(tokCloseDup)
	case '<':
		return place(atWordStart)
	case '>':
		return place(atWordEnd)
	case 'b':
		return place(atWord)
	case 'B':
		return place(atNotWord)
	case '`':
		return place(atBegin)
	case '\'':
		return place(atEnd)
	case 'w', 'W', 's', 'S':
		t.kind, t.set = tokSet, word
		if c == 's' || c == 'S' {
			t.set = space
		}
		if c == 'W' || c == 'S' {
			t.set = t.set.not(255)
		}
	}
	if c >= '1' && c <= '9' {
		t.kind, t.ref = tokBackref, int(c-'0')
	}
	return t
}

// expression reads alternatives, up to ) inside a group.
func (p *posixParser) expression(nest int) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("brackets are nested too deep")
	}
	defer func() { p.depth-- }()
	before, all := p.closed, p.closed
	var branches []*node
	for {
		p.closed = before
		n, err := p.branch(nest)
		if err != nil {
			return nil, err
		}
		branches = append(branches, n)
		all |= p.closed
		if p.tok.kind != tokAlt {
			p.closed = all
			return alt(branches), nil
		}
		p.caretHere = true
		p.fetch()
	}
}

func (p *posixParser) ends(nest int) bool {
	return p.tok.kind == tokAlt || p.tok.kind == tokEnd || nest > 0 && p.tok.kind == tokClose
}

func (p *posixParser) branch(nest int) (*node, error) {
	var items []*node
	for !p.ends(nest) {
		n, err := p.piece(nest)
		if err != nil {
			return nil, err
		}
		items = append(items, n)
	}
	return cat(items), nil
}

func (p *posixParser) piece(nest int) (*node, error) {
	var n *node
	var err error
	switch p.tok.kind {
	case tokAnchor:
		n = &node{op: opAssert, at: p.tok.at, n: p.tok.ref}
		// Nothing repeats an anchor: what follows stands by itself.
		p.caretHere = true
		p.fetch()
		return n, nil
	case tokChar:
		n = p.char(p.tok.c)
	case tokSet:
		n = &node{op: opSet, set: p.folded(p.tok.set)}
	case tokBracket:
		n, err = p.bracketSet()
	case tokOpen:
		n, err = p.group(nest + 1)
	case tokBackref:
		if p.closed&(1<<p.tok.ref) == 0 {
			return nil, p.fail("a back-reference to a group that is not closed")
		}
		p.refers = true
		n = &node{op: opBackref, n: p.tok.ref, fold: p.fold}
	case tokBackslash:
		return nil, p.fail("a backslash at the end")
	case tokOpenDup:
		return nil, p.fail("a repeat of nothing")
	case tokStar, tokPlus, tokQuestion:
		if !p.basic {
			return nil, p.fail("a repeat of nothing")
		}
		n = p.char(p.tok.c)
		if p.tok.kind == tokStar {
			n = p.char('*')
		}
	case tokClose:
		if p.basic {
			return nil, p.fail("unmatched )")
		}
		n = p.char(')')
	default: // tokCloseDup
		n = p.char('}')
	}
	if err != nil {
		return nil, err
	}
	p.fetch()
	return p.repeats(n)
}

func (p *posixParser) char(c byte) *node {
	return &node{op: opSet, set: p.folded(ranges{rune(c), rune(c)})}
}

// folded is the set of bytes whose capital is in r: text and expression are
// both in capitals when they are compared.
func (p *posixParser) folded(r ranges) ranges {
	if !p.fold {
		return r
	}
	var out ranges
	for c := rune(0); c < 256; c++ {
		if r.has(rune(p.upper(byte(c)))) {
			out = append(out, c, c)
		}
	}
	return out.tidy()
}

func (p *posixParser) group(nest int) (*node, error) {
	p.groups++
	g := &node{op: opCapture, n: p.groups}
	p.caretHere = true
	p.fetch()
	n := empty()
	if p.tok.kind != tokClose {
		var err error
		if n, err = p.expression(nest); err != nil {
			return nil, err
		}
		if p.tok.kind != tokClose {
			return nil, p.fail("a bracket is not closed")
		}
	}
	if g.n <= 9 {
		p.closed |= 1 << g.n
	}
	g.sub = []*node{n}
	return g, nil
}

// repeats reads the operators behind n.
func (p *posixParser) repeats(n *node) (*node, error) {
	for {
		lo, hi := 0, infinite
		switch p.tok.kind {
		case tokStar:
		case tokPlus:
			lo = 1
		case tokQuestion:
			hi = 1
		case tokOpenDup:
			var err error
			if lo, hi, err = p.interval(); err != nil {
				return nil, err
			}
		default:
			return n, nil
		}
		p.fetch()
		n = &node{op: opRepeat, sub: []*node{n}, min: lo, max: hi}
		if p.basic && (p.tok.kind == tokStar || p.tok.kind == tokOpenDup) {
			return nil, p.fail("a repeat of a repeat")
		}
	}
}

// interval reads the inside of {n,m}; p.tok is the closing brace after it.
func (p *posixParser) interval() (int, int, error) {
	const none, bad = -1, -2
	number := func() int {
		v := none
		for {
			p.fetch()
			t := p.tok
			switch {
			case t.kind == tokEnd:
				return bad
			case t.kind == tokCloseDup || t.c == ',':
				return v
			case t.kind != tokChar || t.c < '0' || t.c > '9' || v == bad:
				v = bad
			case v == none:
				v = int(t.c - '0')
			default:
				v = min(dupMax+1, v*10+int(t.c-'0'))
			}
		}
	}
	comma := func() bool { return p.tok.kind == tokChar && p.tok.c == ',' }
	lo := number()
	if lo == none {
		if !comma() {
			return 0, 0, p.fail("a repeat without a number")
		}
		lo = 0
	}
	hi := bad
	if lo != bad {
		switch {
		case p.tok.kind == tokCloseDup:
			hi = lo
		case comma():
			hi = number()
		}
	}
	if lo == bad || hi == bad || hi != none && lo > hi || p.tok.kind != tokCloseDup {
		return 0, 0, p.fail("a repeat that is not one")
	}
	if max(lo, hi) > dupMax {
		return 0, 0, p.fail("a repeat that is too large")
	}
	if hi == none {
		hi = infinite
	}
	return lo, hi, nil
}
