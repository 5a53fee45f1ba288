// Package pattern is the matcher that all rules share: patterns in the
// languages of PCRE2 and of POSIX (regcomp(3) of glibc, basic and extended),
// over bytes as Postfix sees them or over Unicode text.
//
// A pattern is parsed here and written out anew, with every class, case and
// place spelled out, for one of two engines: Go's regexp, which runs in
// linear time, wherever the pattern can be said in it; regexp2 for look
// around, back-references, atomic groups and possessive repeats. regexp2
// backtracks, so it runs under a time limit for each match and a Budget for
// each message. A match that is given up is ErrOverBudget, never "no match",
// and no error carries a word of the text. A Gate bounds how many slow matches
// run at once in the process.
//
// Set looks for many patterns in one text at once: a literal that any match
// must contain is taken out of each pattern, and a scan over the text finds
// those; only where one stands is a pattern run.
//
// What it does not do: subroutine calls and recursion, conditionals, branch
// reset, callouts, (*VERBS), \X and \N{U+} of PCRE2 (ErrUnsupported); the
// start of a match that \K moves; submatches by the rules of POSIX where a
// back-reference is in the pattern.
//
// Limits: source 64 KiB, a program of 20,000 steps in the linear engine, groups nested 250 deep, a lookbehind of 65,535
// characters; the backtracking engine holds 100,000 slots of stack for a
// match; its own clock ticks every 100 ms, so a match ends up to 200 ms
// after its limit.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Dialect is the language that a pattern is written in.
type Dialect uint8

const (
	PCRE     Dialect = iota // PCRE2 10.42
	Extended                // POSIX extended, leftmost-longest
	Basic                   // POSIX basic, leftmost-longest
)

// Options say how a source is read and matched.
type Options struct {
	Dialect       Dialect
	Bytes         bool // each byte is a character; else UTF-8. POSIX is always bytes
	Fold          bool // either case
	Multiline     bool // PCRE /m; REG_NEWLINE
	DotAll        bool // . is a newline too (PCRE)
	Extended      bool // PCRE /x
	Anchored      bool // PCRE /A
	DollarEndOnly bool // PCRE /E
	Ungreedy      bool // PCRE /U
	Captures      bool // POSIX: Find will be asked for groups, which changes what ^ and $ mean inside of a match

	// MatchLimit bounds one match of the backtracking engine; 0 is 50 ms.
	MatchLimit time.Duration

	// backtrack takes the backtracking engine at any rate: the tests compare.
	backtrack bool
}

// MaxSource is the longest pattern.
const MaxSource = 64 << 10

// A program's steps for each byte of text are at most its length. Beyond
// heavyProgram they are charged to the budget; beyond maxProgram even one
// match of a long header could hold a message up for many seconds.
const (
	heavyProgram = 500
	maxProgram   = 20000
)

const defaultMatchLimit = 50 * time.Millisecond

// ErrUnsupported says that a pattern may be right, and that we cannot say it.
var ErrUnsupported = errors.New("not supported")

// Pattern is a compiled pattern. It is safe for use by many at once.
type Pattern struct {
	linear *regexp.Regexp  // nil if the pattern needs backtracking
	back   *regexp2.Regexp // nil if it never does
	endsNL bool            // linear is wrong for texts that end with a newline
	heavy  bool            // linear, but of so many steps a byte that it is charged
	bytes  bool
	groups int
	need   Need
	tree   *node        // for Sample and its like
	slow   atomic.Int32 // above zero: its matches are slow, see Gate
}

// Compile reads a pattern.
func Compile(source string, o Options) (*Pattern, error) {
	if len(source) > MaxSource {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", MaxSource)
	}
	parse := parsePCRE
	if o.Dialect != PCRE {
		parse, o.Bytes = parsePOSIX, true
	} else if !o.Bytes && !utf8.ValidString(source) {
		return nil, errors.New("the pattern is not UTF-8")
	}
	n, groups, err := parse(source, o)
	if err != nil {
		return nil, err
	}
	p := &Pattern{bytes: o.Bytes, groups: groups, need: required(n, o.Bytes), tree: n}
	p.slow.Store(1) // until it was quick once
	if err := p.compileLinear(n, o); err != nil && !errors.Is(err, errNotLinear) {
		return nil, err
	}
	if p.linear != nil && !p.endsNL && !o.backtrack {
		return p, nil
	}
	return p, p.compileBack(n, o)
}

func (p *Pattern) compileLinear(n *node, o Options) error {
	text, endsNL, err := linear(n)
	if err != nil {
		return err
	}
	// What Go's regexp refuses for its size, the other may still take.
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return errNotLinear
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return fmt.Errorf("too large: %w", ErrUnsupported)
	}
	p.heavy = len(program.Inst) > heavyProgram
	re, err := regexp.Compile(text)
	if err != nil {
		return errNotLinear
	}
	if o.Dialect != PCRE {
		re.Longest()
	}
	if !o.backtrack {
		p.linear, p.endsNL = re, endsNL
	}
	return nil
}

func (p *Pattern) compileBack(n *node, o Options) error {
	re, err := regexp2.Compile(backtracking(n, o.Bytes))
	if err != nil {
		return fmt.Errorf("too large or too deep: %w", ErrUnsupported)
	}
	re.MatchTimeout = o.MatchLimit
	if o.MatchLimit <= 0 {
		re.MatchTimeout = defaultMatchLimit
	}
	p.back = re
	return nil
}

// Groups is the number of groups that capture.
func (p *Pattern) Groups() int { return p.groups }

// Linear tells whether matching takes time in proportion to the text,
// whatever the text.
func (p *Pattern) Linear() bool { return p.linear != nil && !p.endsNL }

// Match tells whether the pattern is anywhere in the text.
func (p *Pattern) Match(text []byte, b *Budget) (bool, error) {
	if p.fast(text) {
		if !p.heavy && b.free(len(text)) {
			return p.matchLinear(text), nil
		}
		since, ok := b.start()
		if !ok {
			return false, ErrOverBudget
		}
		matched := p.matchLinear(text)
		if spent := b.done(since, false); !p.heavy {
			b.left += spent / 2 // nothing makes it worse than the text is long
		}
		return matched, nil
	}
	matched := false
	err := p.bounded(b, len(text), func() (err error) {
		buf := wide.Get().(*wideText)
		defer buf.release()
		matched, err = p.back.MatchRunes(buf.runes(text, p.bytes))
		return err
	})
	return matched && err == nil, err
}

// bounded runs a match of the backtracking engine and charges it. The clock of
// that engine is one goroutine for the whole process: on a busy machine it may
// jump and end a match that had no time at all. Such a match is run once more.
func (p *Pattern) bounded(b *Budget, size int, match func() error) error {
	for turn := 0; ; turn++ {
		since, gate, ok := b.enter(size < longText && p.slow.Load() <= 0)
		if !ok {
			return ErrOverBudget
		}
		err := gate.through(match)
		again := turn == 0 && b != nil && err != nil && !errors.Is(err, regexp2.ErrBacktrackingStackLimit) &&
			b.now().Sub(since) < p.back.MatchTimeout
		p.gauge(b.done(since, err != nil && !again))
		switch {
		case err == nil:
			return nil
		case !again:
			return ErrOverBudget // err holds the text
		}
	}
}

func (p *Pattern) matchLinear(text []byte) bool {
	if !p.bytes || ascii(text) {
		return p.linear.Match(text)
	}
	buf := wide.Get().(*wideText)
	defer buf.release()
	return p.linear.Match(buf.utf8(text))
}

func (p *Pattern) fast(text []byte) bool {
	return p.linear != nil && (!p.endsNL || len(text) == 0 || text[len(text)-1] != '\n')
}

// Find appends to dst the places in the text of the match and of its groups,
// two numbers each, -1 for a group that had no part in it. Nil is no match.
func (p *Pattern) Find(dst []int, text []byte, b *Budget) ([]int, error) {
	if p.fast(text) {
		return p.findLinear(dst, text), nil
	}
	var m *regexp2.Match
	err := p.bounded(b, len(text), func() (err error) {
		buf := wide.Get().(*wideText)
		defer buf.release()
		m, err = p.back.FindRunesMatch(buf.runes(text, p.bytes))
		return err // of m, places alone are asked: the text is gone
	})
	if err != nil || m == nil {
		return nil, err
	}
	for i := 0; i <= p.groups; i++ {
		g := m.GroupByNumber(i)
		if g == nil || len(g.Captures) == 0 {
			dst = append(dst, -1, -1)
			continue
		}
		dst = append(dst, g.RuneIndex, g.RuneIndex+g.RuneLength)
	}
	if !p.bytes {
		byteOffsets(dst[len(dst)-2*(p.groups+1):], text)
	}
	return dst, nil
}

func (p *Pattern) findLinear(dst []int, text []byte) []int {
	if !p.bytes || ascii(text) {
		at := p.linear.FindSubmatchIndex(text)
		if at == nil {
			return nil
		}
		return append(dst, at...)
	}
	buf := wide.Get().(*wideText)
	defer buf.release()
	w := buf.utf8(text)
	at := p.linear.FindSubmatchIndex(w)
	if at == nil {
		return nil
	}
	for _, i := range at {
		if i > 0 {
			i = utf8.RuneCount(w[:i])
		}
		dst = append(dst, i)
	}
	return dst
}

// byteOffsets turns places in runes into places in bytes.
func byteOffsets(at []int, text []byte) {
	for i, want := range at {
		pos := 0
		for n := 0; n < want; n++ {
			_, size := utf8.DecodeRune(text[pos:])
			pos += size
		}
		if want >= 0 {
			at[i] = pos
		}
	}
}

// wideText is the text as an engine wants it.
type wideText struct {
	u []byte
	r []rune
}

// wide keeps buffers between matches. It is no state: what is in a buffer is
// written before it is read.
var wide = sync.Pool{New: func() any { return new(wideText) }}

// maxKept is the most characters of a buffer that is kept: four bytes each, for
// each core, and not the largest message that ever came (attack R-10).
const maxKept = 1 << 20

func (w *wideText) release() {
	if cap(w.u) <= maxKept && cap(w.r) <= maxKept {
		wide.Put(w)
	}
}

// utf8 writes each byte as the character of that number.
func (w *wideText) utf8(text []byte) []byte {
	w.u = w.u[:0]
	for _, c := range text {
		if c < 0x80 {
			w.u = append(w.u, c)
		} else {
			w.u = append(w.u, 0xC0|c>>6, 0x80|c&0x3F)
		}
	}
	return w.u
}

func (w *wideText) runes(text []byte, bytes bool) []rune {
	w.r = w.r[:0]
	if !bytes {
		for len(text) > 0 {
			c, size := utf8.DecodeRune(text)
			w.r = append(w.r, c)
			text = text[size:]
		}
		return w.r
	}
	for _, c := range text {
		if c < 0x80 {
			w.r = append(w.r, rune(c))
		} else {
			w.r = append(w.r, private+rune(c))
		}
	}
	return w.r
}

func ascii(text []byte) bool {
	for len(text) >= 8 {
		if text[0]|text[1]|text[2]|text[3]|text[4]|text[5]|text[6]|text[7] >= 0x80 {
			return false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
