package pattern

import "unicode"

// machine runs a program as a backtracking engine does, and counts its steps.
// It stands in for the engine where only the growth of the cost is asked: its
// count is the same on every machine.
type machine struct {
	prog  *program
	text  []rune
	regs  []int
	stack []frame
	steps int
	limit int
	depth int
	// skips is the step of a loop that the pattern begins with, or -1. What it
	// has read needs no second look: the next start is behind it, as in the
	// engine.
	skips  int
	reach  int
	loopIn bool
}

// frame is a way not taken, or the value that a register had.
type frame struct {
	pc, pos int
	reg     int // with pc < 0: pos is its old value
}

// newMachine gives limit steps to each text.
func newMachine(p *program, limit int) *machine {
	m := &machine{prog: p, regs: make([]int, p.regs), limit: limit, skips: leadingLoop(p)}
	return m
}

// leadingLoop finds a set under a star at the start of the program.
func leadingLoop(p *program) int {
	for pc := 0; pc < len(p.insts); pc++ {
		in := p.insts[pc]
		switch in.op {
		case instAtomic:
			continue
		case instSet:
			// x+ is x x*.
			next := p.insts[pc+1:]
			if len(next) > 2 && isLoop(next[0], next[1], next[2], pc+1) && sameSet(next[1].set, in.set) {
				return pc + 2
			}
		case instSplit:
			if pc+2 < len(p.insts) && isLoop(in, p.insts[pc+1], p.insts[pc+2], pc) {
				return pc + 1
			}
		}
		break
	}
	return -1
}

func isLoop(split, set, jump inst, at int) bool {
	return split.op == instSplit && set.op == instSet && jump.op == instJump && jump.x == at
}

func sameSet(a, b ranges) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// cost is the steps that the text takes, and whether they were enough. A text
// that matches takes as many as the match does.
func (m *machine) cost(text []rune) (steps int, whole bool) {
	m.text, m.steps, m.depth = text, 0, 0
	for start := 0; start <= len(text); start++ {
		m.stack, m.reach = m.stack[:0], start
		for i := range m.regs {
			m.regs[i] = -1
		}
		if _, ok := m.run(0, start); ok || m.steps > m.limit {
			break
		}
		if m.prog.anchored {
			break
		}
		if m.skips >= 0 {
			start = max(start, m.reach-1)
		}
	}
	return m.steps, m.steps <= m.limit
}

const maxMachineStack = 1 << 18

// run goes from a step and a place to instMatch or instSubEnd, and tells where
// it came to.
func (m *machine) run(pc, pos int) (int, bool) {
	base := len(m.stack)
	for {
		m.steps++
		if m.steps > m.limit || len(m.stack) > maxMachineStack || m.depth > maxDepth+1 {
			m.steps = max(m.steps, m.limit+1)
			return 0, false
		}
		in := &m.prog.insts[pc]
		ok := true
		switch in.op {
		case instSet:
			if ok = pos < len(m.text) && in.set.has(m.text[pos]); ok {
				pos++
				if pc == m.skips {
					m.reach = max(m.reach, pos)
				}
			}
			pc++
		case instSplit:
			m.stack = append(m.stack, frame{pc: in.y, pos: pos})
			pc = in.x
		case instJump:
			pc = in.x
		case instAssert:
			ok = m.assert(in.at, pos)
			pc++
		case instSave:
			m.stack = append(m.stack, frame{pc: -1, pos: m.regs[in.n], reg: in.n})
			m.regs[in.n] = pos
			pc++
		case instProgress:
			ok = m.regs[in.n] != pos
			pc++
		case instBackref:
			pos, ok = m.backref(in, pos)
			pc++
		case instLook:
			ok = m.look(in, pc, pos)
			pc = in.x
		case instAtomic:
			pos, ok = m.sub(pc+1, pos, true)
			pc = in.x
		case instSubEnd, instMatch:
			return pos, true
		}
		if !ok {
			if pc, pos, ok = m.back(base); !ok {
				return 0, false
			}
		}
	}
}

// back takes the last way not taken.
func (m *machine) back(base int) (pc, pos int, ok bool) {
	for len(m.stack) > base {
		f := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if f.pc >= 0 {
			return f.pc, f.pos, true
		}
		m.regs[f.reg] = f.pos
	}
	return 0, 0, false
}

// sub runs a part without second thoughts. What it saved stays if keep.
func (m *machine) sub(pc, pos int, keep bool) (int, bool) {
	base := len(m.stack)
	m.depth++
	end, ok := m.run(pc, pos)
	m.depth--
	if !ok {
		return 0, false
	}
	if !keep {
		for len(m.stack) > base {
			if _, _, more := m.back(base); !more {
				break
			}
		}
		return end, true
	}
	kept := base
	for _, f := range m.stack[base:] {
		if f.pc < 0 {
			m.stack[kept] = f
			kept++
		}
	}
	m.stack = m.stack[:kept]
	return end, true
}

func (m *machine) look(in *inst, pc, pos int) bool {
	held := false
	if in.behind == nil {
		_, held = m.sub(pc+1, pos, !in.negative)
	}
	for _, b := range in.behind {
		if held || b.width > pos {
			continue
		}
		end, ok := m.sub(b.start, pos-b.width, !in.negative)
		held = ok && end == pos
	}
	return held != in.negative
}

func (m *machine) backref(in *inst, pos int) (int, bool) {
	from, to := m.regs[2*in.n], m.regs[2*in.n+1]
	if from < 0 || to < from || to-from > len(m.text)-pos {
		return pos, false
	}
	for i := from; i < to; i++ {
		a, b := m.text[i], m.text[pos]
		m.steps++
		if a != b && (!in.fold || unicode.ToLower(a) != unicode.ToLower(b)) {
			return pos, false
		}
		pos++
	}
	return pos, true
}

func (m *machine) assert(at assertion, pos int) bool {
	prev, next := kindNone, kindNone
	if pos > 0 {
		prev = kindOf(m.text[pos-1])
	}
	if pos < len(m.text) {
		next = kindOf(m.text[pos])
	}
	if at == atEndNL && next == kindNewline {
		return pos == len(m.text)-1
	}
	return at.holds(prev, next)
}
