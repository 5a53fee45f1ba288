package pattern

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// Set is many patterns over one text. A scan over the text finds the
// literals that they need, at a cost that hardly grows with their number.
//
// The scan looks at three bytes at every second place (two bytes at every
// place for literals shorter than four), in small letters, and asks a bitmap
// of 64 Ki bits whether some literal has them there. Literals that pass are
// compared in full.
type Set struct {
	patterns []*Pattern
	always   []int // patterns without a literal
	long     index // literals of four bytes and more, stride 2
	short    index // literals of two and three bytes and those beside them, stride 1
	scratch  sync.Pool
}

// index finds literals by a window of theirs.
type index struct {
	bits  [1024]uint64
	start []uint32 // of the entries of a slot; nil if there are no literals
	slots []entry
}

type entry struct {
	value, mask uint64 // the first eight bytes of the literal, in small letters
	before      int32  // bytes of the literal before the window
	pattern     int32
	literal     string
}

// NewSet makes a set. Patterns are numbered as they stand; nil is skipped.
func NewSet(patterns []*Pattern) *Set {
	s := &Set{patterns: patterns}
	needs := make([]Need, len(patterns))
	var nobody []bool
	for i, p := range patterns {
		if p != nil {
			needs[i] = p.need
			continue
		}
		if nobody == nil {
			nobody = make([]bool, len(patterns))
		}
		nobody[i] = true
	}
	s.build(needs, nobody)
	s.scratch.New = func() any { return &seen{line: make([]int, len(patterns))} }
	return s
}

// NewSetOf makes a set of needs alone, for those who look themselves at what
// Candidates tells; Match and MatchLines are not for it. Strings have two bytes
// or more.
func NewSetOf(needs []Need) *Set {
	s := &Set{patterns: make([]*Pattern, len(needs))}
	s.build(needs, nil)
	return s
}

func (s *Set) build(needs []Need, nobody []bool) {
	var long, short []windowed
	for i, need := range needs {
		if nobody != nil && nobody[i] {
			continue
		}
		if len(need) == 0 {
			s.always = append(s.always, i)
			continue
		}
		// All literals of a pattern are found in one pass, so that the lines
		// that a pattern is called for come in order.
		brief := slices.ContainsFunc(need[0], func(lit string) bool { return len(lit) < 4 })
		for _, lit := range need[0] {
			if !brief {
				long = append(long, windows(lit, i)...)
			} else {
				short = append(short, windowed{hash: hash2(uint32(lit[0]) | uint32(lit[1])<<8), entry: newEntry(lit, 0, i)})
			}
		}
	}
	s.long.build(long)
	s.short.build(short)
}

type windowed struct {
	hash uint16
	entry
}

// windows is the two windows, one place apart, whose letters are the rarest:
// one of them stands at an even place.
func windows(lit string, pattern int) []windowed {
	best, at := -1, 0
	for i := 0; i+4 <= len(lit); i++ {
		if r := rarityOf(lit[i : i+4]); r > best {
			best, at = r, i
		}
	}
	var out []windowed
	for _, i := range []int{at, at + 1} {
		w := uint32(lit[i]) | uint32(lit[i+1])<<8 | uint32(lit[i+2])<<16
		out = append(out, windowed{hash: hash3(w | 0x202020), entry: newEntry(lit, i, pattern)})
	}
	return out
}

func newEntry(lit string, before, pattern int) entry {
	e := entry{before: int32(before), pattern: int32(pattern), literal: lit}
	for i := range min(len(lit), 8) {
		e.value |= uint64(lit[i]|0x20) << (8 * i)
		e.mask |= 0xFF << (8 * i)
	}
	return e
}

func hash3(w uint32) uint16 { return uint16(w * 0x9E3779B1 >> 16) }

func hash2(w uint32) uint16 { return uint16(w | 0x2020) }

func (x *index) build(ws []windowed) {
	if len(ws) == 0 {
		return
	}
	slices.SortStableFunc(ws, func(a, b windowed) int { return int(a.hash) - int(b.hash) })
	x.start = make([]uint32, 1<<16+1)
	x.slots = make([]entry, len(ws))
	for i, w := range ws {
		x.slots[i] = w.entry
		x.bits[w.hash>>6] |= 1 << (w.hash & 63)
		x.start[int(w.hash)+1]++
	}
	for i := range 1 << 16 {
		x.start[i+1] += x.start[i]
	}
}

// Always is the patterns that no literal can rule out: they must be tried on
// every text.
func (s *Set) Always() []int { return s.always }

// Len is the number of patterns.
func (s *Set) Len() int { return len(s.patterns) }

// Candidates calls hit wherever the rarest literal of a pattern is found in
// text, with the pattern's number and the place. A pattern with literals that
// is not called has no match that touches text; the order is by place only
// within each of two passes, and a pattern may be called more than once.
func (s *Set) Candidates(text []byte, hit func(pattern, at int)) {
	work := math.MaxInt
	s.CandidatesWithin(&work, text, hit)
}

// perHit is what a call of hit counts, beside a comparison's 1.
const perHit = 16

// CandidatesWithin is Candidates with a bound: work is lessened by 1 for each
// literal that is compared and by more for each that is there. Below zero the
// search ends and the answer is false. Thousands of literals may have the same
// beginning, and a text be made of nothing else.
func (s *Set) CandidatesWithin(work *int, text []byte, hit func(pattern, at int)) bool {
	if s.long.start != nil && !s.long.scanLong(work, text, hit) {
		return false
	}
	return s.short.start == nil || s.short.scanShort(work, text, hit)
}

func (x *index) scanLong(work *int, text []byte, hit func(pattern, at int)) bool {
	bits := &x.bits
	i := 0
	for ; i+8 <= len(text); i += 4 {
		v := binary.LittleEndian.Uint64(text[i:]) | 0x2020202020202020
		h := uint32(v) & 0xFFFFFF * 0x9E3779B1 >> 16
		g := uint32(v>>16) & 0xFFFFFF * 0x9E3779B1 >> 16
		if bits[h>>6&1023]>>(h&63)&1 != 0 && !x.verify(work, text, i, uint16(h), hit) {
			return false
		}
		if bits[g>>6&1023]>>(g&63)&1 != 0 && !x.verify(work, text, i+2, uint16(g), hit) {
			return false
		}
	}
	for ; i+3 <= len(text); i += 2 {
		w := uint32(text[i]) | uint32(text[i+1])<<8 | uint32(text[i+2])<<16
		h := hash3(w | 0x202020)
		if bits[h>>6]>>(h&63)&1 != 0 && !x.verify(work, text, i, h, hit) {
			return false
		}
	}
	return true
}

func (x *index) scanShort(work *int, text []byte, hit func(pattern, at int)) bool {
	for i := 0; i+2 <= len(text); i++ {
		h := hash2(uint32(text[i]) | uint32(text[i+1])<<8)
		if x.bits[h>>6]>>(h&63)&1 != 0 && !x.verify(work, text, i, h, hit) {
			return false
		}
	}
	return true
}

// verify compares the literals of a slot with the text around their window,
// while there is work left.
func (x *index) verify(work *int, text []byte, at int, h uint16, hit func(pattern, at int)) bool {
	slots := x.slots[x.start[h]:x.start[int(h)+1]]
	if *work -= len(slots); *work < 0 {
		return false
	}
	for i := range slots {
		e := &slots[i]
		begin := at - int(e.before)
		if begin < 0 {
			continue
		}
		if begin+8 <= len(text) {
			v := binary.LittleEndian.Uint64(text[begin:]) | 0x2020202020202020
			if v&e.mask != e.value {
				continue
			}
		}
		if hasPrefixFold(text[begin:], e.literal) {
			*work -= perHit
			hit(int(e.pattern), begin)
		}
	}
	return true
}

// seen is the line that each pattern was tried on last, plus one.
type seen struct {
	line []int
	hits []int
}

// Match appends to dst the numbers of the patterns that match text as one
// subject, in order. On ErrOverBudget the others are still told.
func (s *Set) Match(dst []int, text []byte, b *Budget) ([]int, error) {
	sc := s.scratch.Get().(*seen)
	defer s.scratch.Put(sc)
	clear(sc.line)
	sc.hits = append(sc.hits[:0], s.always...)
	s.Candidates(text, func(p, _ int) {
		if sc.line[p] == 0 {
			sc.line[p] = 1
			sc.hits = append(sc.hits, p)
		}
	})
	slices.Sort(sc.hits)
	var failed error
	for _, i := range sc.hits {
		p := s.patterns[i]
		if len(p.need) > 1 && !p.need[1:].In(text) {
			continue
		}
		ok, err := p.Match(text, b)
		if err != nil {
			failed = err
		} else if ok {
			dst = append(dst, i)
		}
	}
	return dst, failed
}

// MatchLines tries every pattern on every line of text, by itself and without
// its line end, and calls hit for each that matches, with the start and the
// end of the line in text. It stops when hit says false. A pattern that was
// given up on a line does not stop the others; the error says so at the end.
func (s *Set) MatchLines(text []byte, b *Budget, hit func(pattern, start, end int) bool) error {
	sc := s.scratch.Get().(*seen)
	defer s.scratch.Put(sc)
	clear(sc.line)
	var failed error
	stop := false
	try := func(i, start, end int) {
		p := s.patterns[i]
		line := text[start:end]
		if len(p.need) > 1 && !p.need[1:].In(line) {
			return
		}
		ok, err := p.Match(line, b)
		if err != nil {
			failed = err
		} else if ok && !hit(i, start, end) {
			stop = true
		}
	}
	if len(s.always) > 0 {
		for start := 0; start < len(text) && !stop; {
			_, end, next := lineAt(text, start)
			for _, i := range s.always {
				if !stop {
					try(i, start, end)
				}
			}
			start = next
		}
	}
	lineStart, lineEnd := 0, -1
	s.Candidates(text, func(i, at int) {
		if stop {
			return
		}
		if at < lineStart || at > lineEnd {
			lineStart, lineEnd, _ = lineAt(text, at)
		}
		// A line that was passed can only come again for a literal with a
		// line end in it, which no line holds.
		if sc.line[i] > lineStart {
			return
		}
		sc.line[i] = lineStart + 1
		try(i, lineStart, lineEnd)
	})
	return failed
}

// lineAt is the line that holds place at: its start, its end without CR and
// LF, and the start of the next.
func lineAt(text []byte, at int) (start, end, next int) {
	start = bytes.LastIndexByte(text[:at], '\n') + 1
	next = len(text)
	end = next
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		end = at + i
		next = end + 1
	}
	if end > start && text[end-1] == '\r' {
		end--
	}
	return start, end, next
}

// Rarity is how seldom a string is found in ordinary mail text: the higher the
// better for a search.
func Rarity(s string) int { return rarityOf(s) }
