package postfix

import (
	"slices"

	"garita/rules/pattern"
)

// finder is a table over one message. It scans the message a window at a time
// for the literals of the table's patterns, so that most lines need no look
// at all.
type finder struct {
	table *Table
	raw   []byte
	// from and to are the window; hits are those that begin in it, in order,
	// and next is the first that may be behind the line that was last asked.
	from, to int
	hits     []hitAt
	next     int
	marks    marks
}

type hitAt struct{ at, pattern int }

// window is how much is scanned at once. It bounds the hits that are kept.
const window = 64 << 10

// overlap is the longest literal that may stand across the end of a window.
const overlap = 64

func newFinder(t *Table, raw []byte) *finder {
	return &finder{table: t, raw: raw, marks: newMarks(t)}
}

// lookup asks the table for text, which stands at start in the message if
// inPlace.
func (f *finder) lookup(text []byte, start int, inPlace bool, b *pattern.Budget) (string, int, bool, error) {
	if inPlace {
		f.place(start, start+len(text))
	} else {
		f.marks.scan(text)
	}
	if !f.table.every && len(f.marks.list) == 0 {
		return "", 0, false, nil
	}
	return f.table.lookup(text, b, &f.marks)
}

// place marks the patterns whose literals begin between start and end.
func (f *finder) place(start, end int) {
	f.marks.clear()
	for start < end {
		if start >= f.to || start < f.from {
			f.scan(start)
		}
		for f.next < len(f.hits) && f.hits[f.next].at < start {
			f.next++
		}
		for f.next < len(f.hits) && f.hits[f.next].at < end {
			f.marks.set(f.hits[f.next].pattern)
			f.next++
		}
		start = f.to
	}
}

// scan fills the window from start on.
func (f *finder) scan(start int) {
	f.from, f.to = start, min(start+window, len(f.raw))
	f.hits, f.next = f.hits[:0], 0
	f.table.set.Candidates(f.raw[start:min(f.to+overlap, len(f.raw))], func(p, at int) {
		if at += start; at < f.to {
			f.hits = append(f.hits, hitAt{at, p})
		}
	})
	slices.SortFunc(f.hits, func(a, b hitAt) int { return a.at - b.at })
}

// marks is the patterns that may match.
type marks struct {
	table *Table
	bits  []uint64
	list  []int
}

func newMarks(t *Table) marks {
	return marks{table: t, bits: make([]uint64, len(t.filtered)/64+1)}
}

func (m *marks) clear() {
	for _, i := range m.list {
		m.bits[i>>6] &^= 1 << (i & 63)
	}
	m.list = m.list[:0]
}

func (m *marks) set(i int) {
	if !m.has(i) {
		m.bits[i>>6] |= 1 << (i & 63)
		m.list = append(m.list, i)
	}
}

func (m *marks) has(i int) bool { return m.bits[i>>6]>>(i&63)&1 != 0 }

// scan marks the patterns whose literals are in text.
func (m *marks) scan(text []byte) {
	m.clear()
	m.table.set.Candidates(text, func(p, _ int) { m.set(p) })
}
