package pattern

import (
	"slices"
	"unicode/utf8"
)

// Language is the set of texts in which a pattern matches, for questions about
// patterns: whether one can match at all, whether it matches wherever another
// does. A look around, a back-reference and an atomic group are left out of it:
// such a language holds more texts than the pattern matches, and is not exact.
type Language struct {
	prog  *program
	bytes bool
}

// maxLanguage bounds the steps of a pattern that is looked at so.
const maxLanguage = 12000

// NewLanguage is the language of a pattern. It fails for a pattern that is too
// large.
func NewLanguage(p *Pattern) (*Language, error) {
	prog, err := assemble(p.tree, p.groups, maxLanguage)
	if err != nil {
		return nil, err
	}
	return &Language{prog: prog, bytes: p.bytes}, nil
}

// Exact tells whether the language holds just the texts that match.
func (l *Language) Exact() bool { return l.prog.exact }

// Steps is how large the pattern is: what a match may cost for each octet.
func (l *Language) Steps() int { return len(l.prog.insts) }

// Heavy tells whether the pattern has so many steps for each byte that its
// matches are charged to the budget although they run in linear time.
func (p *Pattern) Heavy() bool { return p.heavy }

// Common looks for a text that is in each language of all and in none of none:
// the shortest, or one of them. If there is none, proved says that this is
// sure: the search was not given up after *work steps, and no language of none
// holds more than its pattern matches. What is left of work is left in it. All languages must be over bytes, or all
// over Unicode text.
func Common(work *int, all, none []*Language) (text []byte, found, proved bool) {
	s := &search{work: *work, all: len(all), exact: true}
	for _, l := range slices.Concat(all, none) {
		if len(s.progs) > 0 && s.bytes != l.bytes {
			return nil, false, false
		}
		s.progs, s.bytes = append(s.progs, l.prog), l.bytes
	}
	for _, l := range none {
		s.exact = s.exact && l.prog.exact
	}
	s.alphabet()
	text, found = s.run()
	*work = max(s.work, 0)
	return text, found, !found && s.work > 0 && s.exact
}

// search is a walk over the product of the automata of several patterns. Each
// automaton is made on the way, as a set of steps of its program; an assertion
// is judged when the characters on both sides of it are known.
type search struct {
	progs []*program
	all   int
	bytes bool
	exact bool
	work  int

	first []rune       // of each class of characters
	kinds []charKind   // of each class
	has   [][][]uint64 // program, step: the classes in its set

	states []state
	index  map[string]int32
	// Of the closure that is made.
	mark  []uint32
	epoch uint32
	list  []int32
	todo  []int32
	key   []byte
}

// state is where all automata are after a text. A thread is a step and what is
// still promised of the text: nothing, or that here it must end.
type state struct {
	prev    charKind
	parent  int32
	class   int32
	threads [][]int32
}

// A thread's number is four times its step and one of these.
const (
	promiseNone   = 0
	promiseLastNL = 1 // the next character is a newline, and the last
	promiseEnd    = 2 // this is the end of the text
)

// matched stands for the threads of an automaton that has matched, whatever
// follows.
const matched = -1

// alphabet parts the characters into classes that no pattern tells apart.
func (s *search) alphabet() {
	top := rune(utf8.MaxRune)
	if s.bytes {
		top = 0xFF
	}
	cuts := []rune{0, '\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1}
	if !s.bytes {
		cuts = append(cuts, 0xD800, 0xE000)
	}
	for _, p := range s.progs {
		for _, in := range p.insts {
			for i := 0; i < len(in.set); i += 2 {
				cuts = append(cuts, in.set[i], in.set[i+1]+1)
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for _, c := range cuts {
		if c > top || !s.bytes && c == 0xD800 {
			continue
		}
		s.first = append(s.first, c)
		s.kinds = append(s.kinds, kindOf(c))
	}
	words := (len(s.first) + 63) / 64
	for _, p := range s.progs {
		sets := make([][]uint64, len(p.insts))
		for i, in := range p.insts {
			if in.op != instSet {
				continue
			}
			sets[i] = make([]uint64, words)
			for j := 0; j < len(in.set); j += 2 {
				at, _ := slices.BinarySearch(s.first, in.set[j])
				for ; at < len(s.first) && s.first[at] <= in.set[j+1]; at++ {
					sets[i][at>>6] |= 1 << (at & 63)
				}
				s.work -= words
			}
		}
		s.has = append(s.has, sets)
	}
}

func (s *search) run() ([]byte, bool) {
	s.index = map[string]int32{}
	longest := 0
	for _, p := range s.progs {
		longest = max(longest, len(p.insts))
	}
	s.mark = make([]uint32, 4*longest)
	s.add(state{parent: -1, threads: make([][]int32, len(s.progs))})
	for at := 0; at < len(s.states) && s.work > 0; at++ {
		if s.ends(at) {
			return s.text(at), true
		}
		s.expand(int32(at))
	}
	return nil, false
}

// ends tells whether the text up to here, as a whole, is one that is sought.
func (s *search) ends(at int) bool {
	st := &s.states[at]
	for i := range s.progs {
		hit := isMatched(st.threads[i]) || s.closure(i, st.threads[i], st.prev, kindNone)
		if hit != (i < s.all) {
			return false
		}
	}
	return true
}

func isMatched(threads []int32) bool { return len(threads) == 1 && threads[0] == matched }

// expand adds the states behind at. What follows the next character counts by
// its kind alone, so closures are made once for each kind.
func (s *search) expand(at int32) {
	for _, kind := range []charKind{kindNewline, kindWord, kindOther} {
		st := s.states[at]
		lists := make([][]int32, len(s.progs))
		dead := false
		for i := range s.progs {
			if isMatched(st.threads[i]) {
				lists[i] = st.threads[i]
			} else if s.closure(i, st.threads[i], st.prev, kind) {
				lists[i] = []int32{matched}
			} else {
				lists[i] = slices.Clone(s.list)
			}
			switch {
			case i >= s.all:
				dead = dead || isMatched(lists[i])
			case s.progs[i].anchored && len(lists[i]) == 0:
				dead = true
			}
		}
		if dead {
			continue
		}
		for class, k := range s.kinds {
			if k == kind {
				s.step(at, lists, int32(class), kind)
			}
		}
		if s.work <= 0 {
			return
		}
	}
}

// step reads a character of class.
func (s *search) step(at int32, lists [][]int32, class int32, kind charKind) {
	next := state{prev: kind, parent: at, class: class, threads: make([][]int32, len(s.progs))}
	for i, list := range lists {
		if isMatched(list) {
			next.threads[i] = list
			continue
		}
		var out []int32
		for _, t := range list {
			pc, promise := t>>2, t&3
			if promise == promiseLastNL {
				promise = promiseEnd
			}
			in := &s.progs[i].insts[pc]
			switch {
			case in.op == instSet && s.has[i][pc][class>>6]>>(class&63)&1 != 0:
				out = append(out, (pc+1)<<2|promise)
			case in.op == instBackref, in.op == instMatch:
				out = append(out, pc<<2|promise)
			}
		}
		s.work -= len(list) + 1
		if len(out) == 0 && i < s.all && s.progs[i].anchored {
			return
		}
		slices.Sort(out)
		next.threads[i] = slices.Compact(out)
	}
	s.add(next)
}

func (s *search) add(st state) {
	key := append(s.key[:0], byte(st.prev))
	for _, threads := range st.threads {
		for _, t := range threads {
			key = append(key, byte(t), byte(t>>8), byte(t>>16))
		}
		key = append(key, 0xFF, 0xFE, 0xFD)
	}
	s.key = key
	s.work -= len(key)/8 + 4
	if _, ok := s.index[string(key)]; ok {
		return
	}
	s.index[string(key)] = int32(len(s.states))
	s.states = append(s.states, st)
}

// closure follows threads, and a new one from the start, through what reads
// nothing, between two characters of such kinds. It tells whether the automaton
// has matched; else s.list is the threads that wait for a character.
func (s *search) closure(i int, threads []int32, prev, next charKind) bool {
	p := s.progs[i]
	s.epoch++
	s.list, s.todo = s.list[:0], append(s.todo[:0], threads...)
	if !p.anchored || prev == kindNone {
		s.todo = append(s.todo, 0)
	}
	for len(s.todo) > 0 {
		t := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		if s.mark[t] == s.epoch {
			continue
		}
		s.mark[t] = s.epoch
		s.work--
		if t&3 == promiseEnd && next != kindNone {
			continue
		}
		if s.follow(p, t, prev, next) {
			return true
		}
	}
	return false
}

func (s *search) follow(p *program, t int32, prev, next charKind) (hit bool) {
	pc, promise := t>>2, t&3
	in := &p.insts[pc]
	goTo := func(to int) { s.todo = append(s.todo, int32(to)<<2|promise) }
	switch in.op {
	case instSet:
		s.list = append(s.list, t)
	case instSplit:
		goTo(in.x)
		goTo(in.y)
	case instJump, instLook:
		goTo(in.x)
	case instAssert:
		if !in.at.holds(prev, next) {
			return false
		}
		if in.at == atEndNL && next == kindNewline {
			promise = promiseLastNL
		}
		goTo(int(pc) + 1)
	case instBackref:
		// Some text, or none.
		s.list = append(s.list, t)
		goTo(int(pc) + 1)
	case instMatch:
		if promise == promiseNone || next == kindNone {
			return true
		}
		s.list = append(s.list, t)
	default:
		goTo(int(pc) + 1)
	}
	return false
}

// text is what leads to a state.
func (s *search) text(at int) []byte {
	var classes []int32
	for i := int32(at); s.states[i].parent >= 0; i = s.states[i].parent {
		classes = append(classes, s.states[i].class)
	}
	var out []byte
	for i := len(classes) - 1; i >= 0; i-- {
		c := s.pick(classes[i])
		if s.bytes {
			out = append(out, byte(c))
		} else {
			out = utf8.AppendRune(out, c)
		}
	}
	return out
}

// pick is a character of a class, one that can be read if there is one.
func (s *search) pick(class int32) rune {
	lo := s.first[class]
	hi := rune(utf8.MaxRune)
	if s.bytes {
		hi = 0xFF
	}
	if int(class)+1 < len(s.first) {
		hi = s.first[class+1] - 1
	}
	for _, c := range "xa0X -." {
		if c >= lo && c <= hi {
			return c
		}
	}
	if lo < ' ' && hi > ' ' && hi >= '!' {
		return min(hi, '!')
	}
	return lo
}
