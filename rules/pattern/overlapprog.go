package pattern

import (
	"errors"
)

// An inst is a step of a parsed pattern, for what looks at patterns rather than
// at mail: the search for texts that several patterns share (overlap.go), and
// the count of the steps of a backtracking engine (witness.go).
type inst struct {
	op       instOp
	set      ranges
	at       assertion
	x, y     int // instLook, instAtomic: x is behind them. instSplit: x is preferred
	n        int
	fold     bool
	negative bool
	behind   []behind
}

// behind is one alternative of a lookbehind.
type behind struct{ start, width int }

type instOp uint8

const (
	instSet instOp = iota
	instSplit
	instJump
	instAssert
	instSave     // register n is where we are
	instProgress // fails if nothing was read since register n was saved
	instBackref
	instLook
	instAtomic
	instSubEnd // end of what instLook and instAtomic hold
	instMatch
)

var errTooLarge = errors.New("the pattern is too large to be looked at")

// program is a pattern in steps.
type program struct {
	insts []inst
	regs  int
	// exact says that there is nothing in it but what a finite automaton can do.
	exact bool
	// anchored says that it can begin at the start of the text alone.
	anchored bool
	max      int
}

// assemble turns n into steps, at most max of them.
func assemble(n *node, groups, max int) (*program, error) {
	p := &program{regs: 2 * (groups + 1), exact: true, max: max}
	if err := p.node(n); err != nil {
		return nil, err
	}
	p.emit(inst{op: instMatch})
	p.anchored = anchoredNode(n)
	return p, nil
}

func anchoredNode(n *node) bool {
	switch n.op {
	case opAssert:
		return n.at == atBegin
	case opCapture, opAtomic:
		return anchoredNode(n.sub[0])
	case opAlt:
		for _, s := range n.sub {
			if !anchoredNode(s) {
				return false
			}
		}
		return true
	case opCat:
		for _, s := range n.sub {
			if anchoredNode(s) {
				return true
			}
			if w, fixed := s.width(); !fixed || w > 0 {
				return false
			}
		}
	case opRepeat:
		return n.min > 0 && anchoredNode(n.sub[0])
	}
	return false
}

func (p *program) emit(i inst) int {
	p.insts = append(p.insts, i)
	return len(p.insts) - 1
}

func (p *program) here() int { return len(p.insts) }

func (p *program) node(n *node) error {
	if len(p.insts) > p.max {
		return errTooLarge
	}
	switch n.op {
	case opSet:
		p.emit(inst{op: instSet, set: n.set})
	case opCat:
		for _, s := range n.sub {
			if err := p.node(s); err != nil {
				return err
			}
		}
	case opAlt:
		return p.alt(n)
	case opCapture:
		p.emit(inst{op: instSave, n: 2 * n.n})
		if err := p.node(n.sub[0]); err != nil {
			return err
		}
		p.emit(inst{op: instSave, n: 2*n.n + 1})
	case opRepeat:
		if !n.possess {
			return p.repeat(n)
		}
		return p.atomic(func() error { return p.repeat(n) })
	case opAtomic:
		return p.atomic(func() error { return p.node(n.sub[0]) })
	case opAssert:
		p.emit(inst{op: instAssert, at: n.at})
	case opBackref:
		p.exact = false
		p.emit(inst{op: instBackref, n: n.n, fold: n.fold})
	case opLook:
		return p.look(n)
	}
	return nil
}

func (p *program) alt(n *node) error {
	var ends []int
	for i, s := range n.sub {
		split := -1
		if i < len(n.sub)-1 {
			split = p.emit(inst{op: instSplit})
			p.insts[split].x = p.here()
		}
		if err := p.node(s); err != nil {
			return err
		}
		if split >= 0 {
			ends = append(ends, p.emit(inst{op: instJump}))
			p.insts[split].y = p.here()
		}
	}
	for _, e := range ends {
		p.insts[e].x = p.here()
	}
	return nil
}

func (p *program) atomic(inside func() error) error {
	p.exact = false
	at := p.emit(inst{op: instAtomic})
	if err := inside(); err != nil {
		return err
	}
	p.emit(inst{op: instSubEnd})
	p.insts[at].x = p.here()
	return nil
}

func (p *program) look(n *node) error {
	p.exact = false
	at := p.emit(inst{op: instLook, negative: n.negative})
	subs := []*node{n.sub[0]}
	if n.behind {
		subs = branchesOf(n.sub[0])
	}
	for _, s := range subs {
		w, _ := s.width()
		if n.behind {
			p.insts[at].behind = append(p.insts[at].behind, behind{start: p.here(), width: w})
		}
		if err := p.node(s); err != nil {
			return err
		}
		p.emit(inst{op: instSubEnd})
	}
	p.insts[at].x = p.here()
	return nil
}

// split emits a choice between going on and leaving; leave sets where to.
func (p *program) split(lazy bool) (leave func()) {
	at := p.emit(inst{op: instSplit})
	p.insts[at].x = p.here()
	return func() {
		p.insts[at].y = p.here()
		if lazy {
			p.insts[at].x, p.insts[at].y = p.insts[at].y, p.insts[at].x
		}
	}
}

func (p *program) repeat(n *node) error {
	sub := n.sub[0]
	for range n.min {
		before := len(p.insts)
		if err := p.node(sub); err != nil {
			return err
		}
		if len(p.insts) == before {
			break // of nothing there may be any number
		}
	}
	if n.max == infinite {
		top := p.here()
		leave := p.split(n.lazy)
		reg := -1
		if sub.nullable() {
			reg = p.regs
			p.regs++
			p.emit(inst{op: instSave, n: reg})
		}
		if err := p.node(sub); err != nil {
			return err
		}
		if reg >= 0 {
			p.emit(inst{op: instProgress, n: reg})
		}
		p.emit(inst{op: instJump, x: top})
		leave()
		return nil
	}
	var leaves []func()
	for range n.max - n.min {
		leaves = append(leaves, p.split(n.lazy))
		before := len(p.insts)
		if err := p.node(sub); err != nil {
			return err
		}
		if len(p.insts) == before {
			break
		}
	}
	for _, leave := range leaves {
		leave()
	}
	return nil
}

// charKind is the kind of a character, as far as assertions ask.
type charKind uint8

const (
	kindNone charKind = iota // there is none: start or end of the text
	kindNewline
	kindWord
	kindOther
)

func kindOf(c rune) charKind {
	switch {
	case c == '\n':
		return kindNewline
	case isWord(c):
		return kindWord
	}
	return kindOther
}

// holds tells whether an assertion holds between two characters. For atEndNL
// before a newline it is only half of the truth: that must be the last.
func (a assertion) holds(prev, next charKind) bool {
	before, after := prev == kindWord, next == kindWord
	switch a {
	case atBegin:
		return prev == kindNone
	case atEnd:
		return next == kindNone
	case atEndNL, atLineEnd:
		return next == kindNone || next == kindNewline
	case atLine:
		return prev == kindNone || prev == kindNewline && next != kindNone
	case atLinePOSIX:
		return prev == kindNone || prev == kindNewline
	case atWord:
		return before != after
	case atNotWord:
		return before == after
	case atWordStart:
		return !before && after
	case atWordEnd:
		return before && !after
	}
	return false
}
