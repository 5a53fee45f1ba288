package pattern

import (
	"slices"
	"strconv"
	"strings"
)

// Same tells whether two patterns are the same when it is only asked whether
// they match a text that does not end with a newline and has no NUL: which of
// several ways is preferred, whether $ also holds before a last newline, and
// whether a dot is a NUL too, makes no difference.
func Same(p, q *Pattern) bool { return p.bytes == q.bytes && same(p.tree, q.tree) }

func same(a, b *node) bool {
	a, b = bare(a), bare(b)
	if a.op != b.op || a.negative != b.negative || a.behind != b.behind || a.possess != b.possess || len(a.sub) != len(b.sub) {
		return false
	}
	switch a.op {
	case opSet:
		if !slices.Equal(withoutNUL(a.set), withoutNUL(b.set)) {
			return false
		}
	case opRepeat:
		if a.min != b.min || a.max != b.max {
			return false
		}
	case opBackref:
		if a.n != b.n || a.fold != b.fold {
			return false
		}
	case opAssert:
		end := func(at assertion) bool { return at == atEnd || at == atEndNL }
		return a.at == b.at || end(a.at) && end(b.at)
	case opCapture:
		if a.n != b.n {
			return false
		}
	}
	for i := range a.sub {
		if !same(a.sub[i], b.sub[i]) {
			return false
		}
	}
	return true
}

func withoutNUL(r ranges) ranges {
	if len(r) == 0 || r[0] != 0 {
		return r
	}
	if r[1] == 0 {
		return r[2:]
	}
	return append(ranges{1}, r[1:]...)
}

// bare takes brackets away that hold one thing.
func bare(n *node) *node {
	for n.op == opCat && len(n.sub) == 1 {
		n = n.sub[0]
	}
	return n
}

// PCRE writes the pattern in the language of PCRE, in ASCII, every case and
// class spelled out: with no flag it matches the same texts. Its groups have
// the numbers that they had.
func (p *Pattern) PCRE() string {
	var w portable
	w.node(p.tree)
	return w.b.String()
}

// FoldPCRE is PCRE, shorter where either case of all letters matches: then fold
// is true, and what it writes needs the flag i.
func (p *Pattern) FoldPCRE() (source string, fold bool) {
	// A class over Unicode would get letters by the flag that it has not.
	w := portable{fold: p.bytes}
	p.tree.walk(func(n *node) {
		if n.op == opSet && !slices.Equal(n.set.foldASCII(), n.set) {
			w.fold = false
		}
	})
	w.node(p.tree)
	return w.b.String(), w.fold
}

type portable struct {
	b    strings.Builder
	fold bool // every set has either case of its letters
}

func (w *portable) node(n *node) {
	switch n.op {
	case opEmpty:
		w.b.WriteString("(?:)")
	case opSet:
		w.set(n.set)
	case opCat:
		for i, s := range n.sub {
			// Beside a word character either edge is just an edge, which
			// needs no look around.
			if s.op == opAssert && (s.at == atWordStart && i+1 < len(n.sub) && wordy(n.sub[i+1]) || s.at == atWordEnd && i > 0 && wordy(n.sub[i-1])) {
				w.b.WriteString(`\b`)
				continue
			}
			w.group(s, s.op == opAlt)
		}
	case opAlt:
		for i, s := range n.sub {
			if i > 0 {
				w.b.WriteByte('|')
			}
			if s.op != opEmpty {
				w.node(s)
			}
		}
	case opCapture:
		w.b.WriteByte('(')
		w.node(n.sub[0])
		w.b.WriteByte(')')
	case opRepeat:
		w.repeat(n)
	case opAssert:
		w.assert(n.at)
	case opBackref:
		flag := "(?-i:"
		if n.fold {
			flag = "(?i:"
		}
		w.b.WriteString(flag + `\g{` + strconv.Itoa(n.n) + "})")
	case opLook:
		w.look(n)
	case opAtomic:
		w.b.WriteString("(?>")
		w.node(n.sub[0])
		w.b.WriteByte(')')
	}
}

// wordy tells whether n is one word character.
func wordy(n *node) bool {
	if n.op != opSet || len(n.set) == 0 || n.set.size() > 64 {
		return false
	}
	for i := 0; i < len(n.set); i += 2 {
		for c := n.set[i]; c <= n.set[i+1]; c++ {
			if !isWord(c) {
				return false
			}
		}
	}
	return true
}

func (w *portable) group(n *node, brackets bool) {
	if brackets {
		w.b.WriteString("(?:")
	}
	w.node(n)
	if brackets {
		w.b.WriteByte(')')
	}
}

func (w *portable) repeat(n *node) {
	s := n.sub[0]
	w.group(s, s.op != opSet && s.op != opCapture)
	switch {
	case n.min == 0 && n.max == infinite:
		w.b.WriteByte('*')
	case n.min == 1 && n.max == infinite:
		w.b.WriteByte('+')
	case n.min == 0 && n.max == 1:
		w.b.WriteByte('?')
	default:
		w.b.WriteString("{" + strconv.Itoa(n.min))
		if n.max != n.min {
			w.b.WriteByte(',')
			if n.max != infinite {
				w.b.WriteString(strconv.Itoa(n.max))
			}
		}
		w.b.WriteByte('}')
	}
	switch {
	case n.possess:
		w.b.WriteByte('+')
	case n.lazy:
		w.b.WriteByte('?')
	}
}

func (w *portable) assert(at assertion) {
	w.b.WriteString([...]string{
		atBegin: `\A`, atEnd: `\z`, atEndNL: `\Z`, atLine: `(?m:^)`, atLinePOSIX: `(?:\A|(?<=\n))`, atLineEnd: `(?m:$)`,
		atWord: `\b`, atNotWord: `\B`, atWordStart: `\b(?=\w)`, atWordEnd: `\b(?<=\w)`,
	}[at])
}

func (w *portable) look(n *node) {
	s := "(?"
	if n.behind {
		s += "<"
	}
	if n.negative {
		s += "!"
	} else {
		s += "="
	}
	w.b.WriteString(s)
	w.node(n.sub[0])
	w.b.WriteByte(')')
}

func (w *portable) set(r ranges) {
	switch {
	case len(r) == 0:
		w.b.WriteString("(*FAIL)")
		return
	case len(r) == 2 && r[0] == 0 && r[1] >= 0xFF:
		w.b.WriteString("(?s:.)")
		return
	case len(r) == 4 && r[0] == 0 && r[1] == '\n'-1 && r[2] == '\n'+1 && r[3] >= 0xFF:
		w.b.WriteString("(?-s:.)")
		return
	case len(r) == 2 && r[0] == r[1]:
		w.char(r[0])
		return
	case w.fold && len(r) == 4 && r[0] == r[1] && r[2] == r[3] && r[0]+32 == r[2] && r[0] >= 'A' && r[0] <= 'Z':
		w.char(r[2])
		return
	}
	w.b.WriteByte('[')
	for i := 0; i < len(r); i += 2 {
		w.char(r[i])
		if r[i+1] > r[i]+1 {
			w.b.WriteByte('-')
		}
		if r[i+1] != r[i] {
			w.char(r[i+1])
		}
	}
	w.b.WriteByte(']')
}

func (w *portable) char(c rune) {
	switch {
	case isWord(c) || c == ' ' || c == '"' || c == '<' || c == '>' || c == '=' || c == '@' || c == ',' || c == ';' || c == ':':
		w.b.WriteRune(c)
	case c > ' ' && c < 0x7f:
		w.b.WriteByte('\\')
		w.b.WriteRune(c)
	default:
		w.b.WriteString(`\x{` + strconv.FormatInt(int64(c), 16) + "}")
	}
}
