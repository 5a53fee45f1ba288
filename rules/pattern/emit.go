package pattern

import (
	"errors"
	"strconv"
	"strings"
)

// private is where bytes above ASCII stand for the backtracking engine: no
// case, no class and no word is there, so that only what we say is meant.
const private = 0xE000

var errNotLinear = errors.New("needs backtracking")

// emitter writes a parsed pattern in the language of one of the engines.
// Every class, fold and place is written out, so that nothing depends on
// what an engine takes for a word or a space.
type emitter struct {
	b     strings.Builder
	back  bool // for the backtracking engine
	bytes bool
	// endsNL is set when the linear form is only right for texts that do
	// not end with a newline.
	endsNL bool
	err    error
}

// linear writes n for Go's regexp.
func linear(n *node) (string, bool, error) {
	var e emitter
	e.node(n)
	return e.b.String(), e.endsNL, e.err
}

// backtracking writes n for regexp2.
func backtracking(n *node, bytes bool) string {
	e := emitter{back: true, bytes: bytes}
	e.node(n)
	return e.b.String()
}

func (e *emitter) node(n *node) {
	switch n.op {
	case opEmpty:
		e.b.WriteString("(?:)")
	case opSet:
		e.set(n.set)
	case opCat:
		for _, s := range n.sub {
			e.group(s, s.op == opAlt)
		}
	case opAlt:
		for i, s := range n.sub {
			if i > 0 {
				e.b.WriteByte('|')
			}
			if s.op != opEmpty {
				e.node(s)
			}
		}
	case opCapture:
		e.b.WriteByte('(')
		e.node(n.sub[0])
		e.b.WriteByte(')')
	case opRepeat:
		e.repeat(n)
	case opAssert:
		e.assert(n.at)
	case opBackref:
		e.backref(n)
	case opLook:
		e.look(n)
	case opAtomic:
		e.needBack("(?>")
		e.node(n.sub[0])
		e.b.WriteByte(')')
	}
}

func (e *emitter) needBack(s string) {
	if !e.back {
		e.err = errNotLinear
	}
	e.b.WriteString(s)
}

// group writes n, in brackets of its own where it must stand alone.
func (e *emitter) group(n *node, brackets bool) {
	if brackets {
		e.b.WriteString("(?:")
	}
	e.node(n)
	if brackets {
		e.b.WriteByte(')')
	}
}

func (e *emitter) repeat(n *node) {
	if n.possess {
		e.needBack("(?>")
	}
	s := n.sub[0]
	e.group(s, s.op != opSet && s.op != opCapture)
	switch {
	case n.min == 0 && n.max == infinite:
		e.b.WriteByte('*')
	case n.min == 1 && n.max == infinite:
		e.b.WriteByte('+')
	case n.min == 0 && n.max == 1:
		e.b.WriteByte('?')
	default:
		e.b.WriteByte('{')
		e.b.WriteString(strconv.Itoa(n.min))
		if n.max != n.min {
			e.b.WriteByte(',')
			if n.max != infinite {
				e.b.WriteString(strconv.Itoa(n.max))
			}
		}
		e.b.WriteByte('}')
	}
	if n.lazy {
		e.b.WriteByte('?')
	}
	if n.possess {
		e.b.WriteByte(')')
	}
}

// The word characters of C and of ASCII.
const wordClass = `[0-9A-Z_a-z]`

func (e *emitter) assert(at assertion) {
	if !e.back {
		e.assertLinear(at)
		return
	}
	const w = wordClass
	s := ""
	switch at {
	case atBegin:
		s = `\A`
	case atEnd:
		s = `\z`
	case atEndNL:
		s = `(?=\u000A?\z)`
	case atLine:
		s = `(?:\A|(?<=\u000A)(?!\z))`
	case atLinePOSIX:
		s = `(?:\A|(?<=\u000A))`
	case atLineEnd:
		s = `(?=\u000A|\z)`
	case atWord:
		s = `(?:(?<=` + w + `)(?!` + w + `)|(?<!` + w + `)(?=` + w + `))`
	case atNotWord:
		s = `(?:(?<=` + w + `)(?=` + w + `)|(?<!` + w + `)(?!` + w + `))`
	case atWordStart:
		s = `(?<!` + w + `)(?=` + w + `)`
	case atWordEnd:
		s = `(?<=` + w + `)(?!` + w + `)`
	}
	e.b.WriteString(s)
}

func (e *emitter) assertLinear(at assertion) {
	s := ""
	switch at {
	case atBegin:
		s = `\A`
	case atEnd:
		s = `\z`
	case atEndNL:
		e.endsNL = true
		s = `\z`
	case atLine:
		e.endsNL = true
		s = `(?m:^)`
	case atLinePOSIX:
		s = `(?m:^)`
	case atLineEnd:
		s = `(?m:$)`
	case atWord:
		s = `\b`
	case atNotWord:
		s = `\B`
	default:
		e.err = errNotLinear
	}
	e.b.WriteString(s)
}

func (e *emitter) backref(n *node) {
	flag := "(?-i:"
	if n.fold {
		flag = "(?i:"
	}
	e.needBack(flag + `\` + strconv.Itoa(n.n) + ")")
}

func (e *emitter) look(n *node) {
	s := "(?"
	if n.behind {
		s += "<"
	}
	if n.negative {
		s += "!"
	} else {
		s += "="
	}
	e.needBack(s)
	e.node(n.sub[0])
	e.b.WriteByte(')')
}

func (e *emitter) set(r ranges) {
	if !e.back {
		writeSet(&e.b, r)
		return
	}
	if len(r) == 0 {
		e.b.WriteString("(?!)")
		return
	}
	if len(r) == 2 && r[0] == r[1] {
		e.char(r[0])
		return
	}
	e.b.WriteByte('[')
	for i := 0; i < len(r); i += 2 {
		lo, hi := r[i], r[i+1]
		// Bytes above ASCII stand elsewhere; a range over the border is two.
		if e.bytes && lo < 0x80 && hi >= 0x80 {
			e.span(lo, 0x7f)
			lo = 0x80
		}
		e.span(lo, hi)
	}
	e.b.WriteByte(']')
}

func (e *emitter) span(lo, hi rune) {
	e.char(lo)
	if hi != lo {
		e.b.WriteByte('-')
		e.char(hi)
	}
}

func (e *emitter) char(c rune) {
	switch {
	case e.bytes && c >= 0x80:
		c += private
	case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
		e.b.WriteRune(c)
		return
	}
	if c > 0xFFFF {
		e.b.WriteRune(c)
		return
	}
	const hex = "0123456789ABCDEF"
	e.b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		e.b.WriteByte(hex[c>>shift&15])
	}
}

// writeSet writes a set for Go's regexp.
func writeSet(b *strings.Builder, r ranges) {
	if len(r) == 0 {
		b.WriteString(`[^\x00-\x{10FFFF}]`)
		return
	}
	char := func(c rune) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == ' ' {
			b.WriteRune(c)
			return
		}
		b.WriteString(`\x{`)
		b.WriteString(strconv.FormatInt(int64(c), 16))
		b.WriteByte('}')
	}
	if len(r) == 2 && r[0] == r[1] {
		char(r[0])
		return
	}
	b.WriteByte('[')
	for i := 0; i < len(r); i += 2 {
		char(r[i])
		if r[i+1] != r[i] {
			b.WriteByte('-')
			char(r[i+1])
		}
	}
	b.WriteByte(']')
}
