package rules

import (
	"garita/place"
	"garita/printable"
)

// maxProblems are told of one file: more than that nobody reads at once.
const maxProblems = 100

// String gives the problem as "file:line:column: text (suggestion)", followed by
// the line and a mark under the place. It is safe to print.
func (p Problem) String() string {
	rule := ""
	if p.Rule != "" {
		rule = "rule " + p.Rule + ": "
	}
	return place.Head(p.File, p.Line, p.Column, p.Warning) + rule + p.message() +
		place.Excerpt{Text: p.Excerpt, Mark: p.mark, Width: p.width}.Under(p.Line, "")
}

func (p Problem) message() string { return place.Message(p.Text, p.Suggestion) }

// document is one file, with what it takes to tell about places in it.
type document struct{ *place.Text }

// span is a range of octets of a document.
type span struct{ start, end int }

func newDocument(name string, text []byte) *document { return &document{place.New(name, text)} }

// problem describes a place of the document.
func (d *document) problem(at span, text, suggestion string) Problem {
	line, start, end, from, to := d.Within(at.start, at.end)
	e := d.Show(start, end, from, to)
	_, column := d.Position(from)
	return Problem{File: d.Name, Line: line, Column: column, Text: printable.Line(text), Suggestion: printable.Line(suggestion),
		Excerpt: e.Text, mark: e.Mark, width: e.Width}
}
