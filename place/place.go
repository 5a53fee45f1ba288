// Package place says where in a text file something stands, and shows it: line
// and column, the line itself as an excerpt with a mark under the place, and
// the word that was probably meant. The configuration and the rules are both
// TOML (toml.io, 1.0) and tell of their mistakes in this one way.
//
// It knows no keys, decides nothing and reads no TOML: the reader of a file
// asks it about octets. It cannot fail: offsets outside of a file are brought
// into it, and what is shown is escaped (package printable).
//
// Limits: an excerpt shows 120 octets of its line, a quoted piece 60
// characters; a word of more than 100 octets has no neighbour.
package place

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"garita/printable"
)

// ByteOrderMark may begin a file and belongs to no line.
const ByteOrderMark = "\ufeff"

// Text is one file with its lines.
type Text struct {
	Name   string // as it may be shown
	Octets []byte
	Starts []int // offsets of the lines
}

// New finds the lines of a file.
func New(name string, octets []byte) *Text {
	t := &Text{Name: printable.Line(name), Octets: octets, Starts: make([]int, 1, 2+bytes.Count(octets, []byte("\n")))}
	for at := 0; ; {
		i := bytes.IndexByte(octets[at:], '\n')
		if i < 0 {
			return t
		}
		at += i + 1
		t.Starts = append(t.Starts, at)
	}
}

// Line gives the number, from 1, of the line that holds the offset.
func (t *Text) Line(offset int) int {
	return max(1, sort.Search(len(t.Starts), func(i int) bool { return t.Starts[i] > offset }))
}

// Bounds gives the offsets of a line, without its end and a byte order mark.
func (t *Text) Bounds(line int) (start, end int) {
	start, end = t.Starts[line-1], len(t.Octets)
	if line < len(t.Starts) {
		end = t.Starts[line] - 1
	}
	if end > start && t.Octets[end-1] == '\r' {
		end--
	}
	if line == 1 && bytes.HasPrefix(t.Octets, []byte(ByteOrderMark)) {
		start = min(end, start+len(ByteOrderMark))
	}
	return start, end
}

// Position gives line and column, in characters, of an offset.
func (t *Text) Position(offset int) (line, column int) {
	line = t.Line(offset)
	start, end := t.Bounds(line)
	return line, utf8.RuneCount(t.Octets[start:min(max(offset, start), end)]) + 1
}

// Within brings a range of octets into the line where it begins, and gives
// that line's number and bounds.
func (t *Text) Within(from, to int) (line, start, end, inFrom, inTo int) {
	from = min(max(from, 0), len(t.Octets))
	line = t.Line(from)
	start, end = t.Bounds(line)
	from = min(max(from, start), end)
	return line, start, end, from, min(max(to, from), end)
}

// Excerpt is a line as it is shown, escaped, with the mark where the escaped
// text puts it.
type Excerpt struct {
	Text        string
	Mark, Width int  // characters before the mark, and under it
	Whole       bool // the end of the line is in it
}

// The window of a long line: what stands before the mark, and all together.
const before, window = 60, 120

// Show gives the line from start to end, a window of it when it is long, with
// the range from … to marked.
func (t *Text) Show(start, end, from, to int) Excerpt {
	first, last := start, end
	if from-start > before {
		for first = min(from-before, end); first > start && !utf8.RuneStart(t.Octets[first]); {
			first--
		}
	}
	if last-first > window {
		for last = first + window; last > first && !utf8.RuneStart(t.Octets[last]); {
			last--
		}
	}
	e := Excerpt{Whole: last == end}
	var b strings.Builder
	if first > start {
		b.WriteString("…")
	}
	piece := func(a, z int) {
		a, z = min(max(a, first), last), min(max(z, first), last)
		b.WriteString(printable.Line(strings.ReplaceAll(string(t.Octets[a:z]), "\t", " ")))
	}
	piece(start, from)
	e.Mark = utf8.RuneCountInString(b.String())
	piece(from, to)
	e.Width = max(1, utf8.RuneCountInString(b.String())-e.Mark)
	piece(to, end)
	if !e.Whole {
		b.WriteString("…")
	}
	e.Text = b.String()
	return e
}

// Under gives the excerpt for below a message: the line with its number and,
// where something is marked, the mark with a note behind it. It begins with a
// line feed, and is "" for no excerpt.
func (e Excerpt) Under(line int, note string) string {
	if e.Text == "" {
		return ""
	}
	n := strconv.Itoa(line)
	out := "\n" + n + "| " + e.Text
	if e.Width > 0 {
		out += fmt.Sprintf("\n%*s| %*s%s", len(n), "", e.Mark, "", strings.Repeat("~", e.Width))
		if note != "" {
			out += " " + note
		}
	}
	return out
}

// Head begins a message: "file:line:column: ", and "warning: " behind it. A
// line or column of 0 is left out.
func Head(file string, line, column int, warning bool) string {
	if line > 0 {
		file += ":" + strconv.Itoa(line)
		if column > 0 {
			file += ":" + strconv.Itoa(column)
		}
	}
	if warning {
		return file + ": warning: "
	}
	return file + ": "
}

// Message joins what is wrong with what to do about it.
func Message(text, suggestion string) string {
	if suggestion == "" {
		return text
	}
	return text + " (" + suggestion + ")"
}
