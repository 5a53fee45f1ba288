package rules

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxProblems are told of one file: more than that nobody reads at once.
const maxProblems = 100

// String gives the problem as "file:line:column: text (suggestion)", followed by
// the line and a mark under the place. It is safe to print.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
		if p.Column > 0 {
			b.WriteString(":" + strconv.Itoa(p.Column))
		}
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Rule != "" {
		b.WriteString("rule " + p.Rule + ": ")
	}
	b.WriteString(p.message())
	if p.Excerpt != "" {
		n := strconv.Itoa(p.Line)
		fmt.Fprintf(&b, "\n%s| %s", n, p.Excerpt)
		if p.width > 0 {
			fmt.Fprintf(&b, "\n%*s| %*s%s", len(n), "", p.mark, "", strings.Repeat("~", p.width))
		}
	}
	return b.String()
}

func (p Problem) message() string {
	if p.Suggestion == "" {
		return p.Text
	}
	return p.Text + " (" + p.Suggestion + ")"
}

// document is one file, with what it takes to tell about places in it.
type document struct {
	name  string
	text  []byte
	lines []int // offsets of line starts
}

// span is a range of octets of a document.
type span struct{ start, end int }

func newDocument(name string, text []byte) *document {
	d := &document{name: clean(name), text: text, lines: make([]int, 1, 2+bytes.Count(text, []byte("\n")))}
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return d
		}
		at += i + 1
		d.lines = append(d.lines, at)
	}
}

// line gives the number, from 1, of the line that holds the offset.
func (d *document) line(offset int) int {
	return sort.Search(len(d.lines), func(i int) bool { return d.lines[i] > offset })
}

// bounds gives the offsets of a line, without its end and a byte order mark.
func (d *document) bounds(line int) (int, int) {
	start, end := d.lines[line-1], len(d.text)
	if line < len(d.lines) {
		end = d.lines[line] - 1
	}
	if end > start && d.text[end-1] == '\r' {
		end--
	}
	if line == 1 && bytes.HasPrefix(d.text, []byte(byteOrderMark)) {
		start = min(end, start+len(byteOrderMark))
	}
	return start, end
}

// position gives line and column, in characters, of an offset.
func (d *document) position(offset int) (line, column int) {
	line = d.line(offset)
	start, end := d.bounds(line)
	return line, utf8.RuneCount(d.text[start:min(max(offset, start), end)]) + 1
}

const byteOrderMark = "\ufeff"

// problem describes a place of the document.
func (d *document) problem(at span, text, suggestion string) Problem {
	p := Problem{File: d.name, Text: clean(text), Suggestion: clean(suggestion)}
	at.start = min(max(at.start, 0), len(d.text))
	p.Line = d.line(at.start)
	start, end := d.bounds(p.Line)
	at.start = min(max(at.start, start), end)
	at.end = min(max(at.end, at.start), end)
	p.Column = utf8.RuneCount(d.text[start:at.start]) + 1
	d.show(&p, start, end, at)
	return p
}

// show fills the excerpt: a window of the line when it is long, escaped, with
// the mark where the escaped text puts it.
func (d *document) show(p *Problem, start, end int, at span) {
	const before, window = 60, 120
	from, to := start, end
	if at.start-start > before {
		for from = at.start - before; from > start && !utf8.RuneStart(d.text[from]); {
			from--
		}
	}
	if to-from > window {
		for to = from + window; to > from && !utf8.RuneStart(d.text[to]); {
			to--
		}
	}
	var b strings.Builder
	if from > start {
		b.WriteString("…")
	}
	piece := func(a, z int) {
		a, z = min(max(a, from), to), min(max(z, from), to)
		b.WriteString(clean(strings.ReplaceAll(string(d.text[a:z]), "\t", " ")))
	}
	piece(from, at.start)
	p.mark = utf8.RuneCountInString(b.String())
	piece(at.start, at.end)
	p.width = max(1, utf8.RuneCountInString(b.String())-p.mark)
	piece(at.end, to)
	if to < end {
		b.WriteString("…")
	}
	p.Excerpt = b.String()
}

// quoted shows a piece of a file: in quotes, escaped, and cut when it is long.
func quoted(s string) string { return strconv.Quote(shorten(s)) }

// shorten leaves what fits into a message.
func shorten(s string) string {
	const longest = 60
	n := 0
	for i := range s {
		if n++; n > longest {
			return s[:i] + "…"
		}
	}
	return s
}

// clean escapes what a terminal could act on: control characters, characters
// that change the writing direction, what is not UTF-8.
func clean(s string) string {
	safe := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// tomlString writes a basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
