package rules

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"garita/place"
)

// The bounds of a file's form; what is deeper is no rule.
const (
	maxNesting = 8
	maxItems   = 10_000 // of one list
)

// value is a value of the file with its place.
type value struct {
	kind  unstable.Kind
	at    span   // as it stands in the file, quotes included
	text  string // of strings, decoded; of other scalars, as written
	items []*value
	table *table // of {…}
}

// entry is one key of a table.
type entry struct {
	name string
	key  span
	val  *value
	end  int // of the whole expression
	used bool
}

// table is one [[rule]], [[rule.test]] or [[override]], or a {…}.
type table struct {
	name    string
	at      span // of its name in the header
	entries []*entry
	byName  map[string]*entry
	tests   []*table // of a rule
	broken  bool     // a line in it was no TOML, so what is missing may be there
}

func (t *table) get(name string) *entry {
	e := t.byName[name]
	if e != nil {
		e.used = true
	}
	return e
}

// reader takes a file to pieces and reports everything that is wrong with its
// form. After a mistake of TOML it goes on at the next line that looks like the
// start of something, so that one slip does not hide the others.
type reader struct {
	doc      *document
	p        unstable.Parser
	base     int // offset in the file of the piece being parsed
	tables   []*table
	rules    int
	current  *table // nil where the last header was wrong
	lastRule *table
	problems []Problem
	// Of warnings, which do not keep the file from being used, there may be as
	// many beside: they must not crowd out an error.
	errors, warnings int
	scrubbed         map[int]bool // lines with a byte that was reported
	syntax           bool         // the file is not TOML
	full             bool         // too many rules: the rest is not read
	headed           bool         // there was a header, good or bad
}

// readTOML gives the tables of a file in their order.
func readTOML(d *document) *reader {
	r := &reader{doc: d, scrubbed: map[int]bool{}}
	if len(d.Octets) > MaxFile {
		r.syntax = true
		r.add(Problem{File: d.Name, Text: fmt.Sprintf("is larger than %d MB", MaxFile>>20),
			Suggestion: "split it, or put long lists into files of their own and write: in list FILE"})
		return r
	}
	text, ok := r.scrub(d.Octets)
	if !ok {
		return r
	}
	for offset := 0; offset >= 0 && r.errors < maxProblems; {
		offset = r.run(text, offset)
	}
	return r
}

func (r *reader) report(at span, text, suggestion string) {
	if r.errors < maxProblems {
		r.add(r.doc.problem(at, text, suggestion))
	}
}

func (r *reader) add(p Problem) {
	if p.Warning {
		if r.warnings++; r.warnings > maxProblems {
			return
		}
	} else if r.errors++; r.errors > maxProblems {
		return
	}
	r.problems = append(r.problems, p)
}

// scrub reports octets that no TOML file may hold and gives a copy in which they
// are harmless and every offset is the same.
func (r *reader) scrub(text []byte) ([]byte, bool) {
	if place.UTF16(text) {
		r.syntax = true
		r.add(Problem{File: r.doc.Name, Text: "is UTF-16", Suggestion: "save it as UTF-8"})
		return nil, false
	}
	return place.Scrub(text, func(at int, bad string) bool {
		r.syntax = true
		if r.errors >= maxProblems {
			return false // a file of something else
		}
		if c := text[at]; c >= 0xa0 {
			bad += fmt.Sprintf("; as Latin-1 it would be %q", rune(c))
		}
		if line := r.doc.Line(at); !r.scrubbed[line] { // one report a line is enough
			r.scrubbed[line] = true
			r.report(span{at, at + 1}, bad, "save the file as UTF-8 text")
		}
		return true
	})
}

// run parses from offset up to the end or the first mistake of TOML, and gives
// the offset where to go on, -1 for nowhere.
func (r *reader) run(text []byte, offset int) int {
	r.base = offset
	r.p.Reset(text[offset:len(text):len(text)])
	end := 0 // of the last good expression
	for r.p.NextExpression() {
		if r.errors >= maxProblems || r.full {
			return -1
		}
		e := r.p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			parts, where := r.key(e.Key())
			end = where[len(where)-1].end - r.base
			r.header(parts, span{where[0].start, where[len(where)-1].end}, e.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			end = int(e.Raw.Offset + e.Raw.Length)
			r.topValue(e)
		}
	}
	var perr *unstable.ParserError
	if err := r.p.Error(); err == nil {
		return -1
	} else if !errors.As(err, &perr) {
		r.syntax = true
		r.report(span{offset + end, offset + end}, err.Error(), "")
		return -1
	}
	h := r.p.Range(perr.Highlight)
	at := span{offset + int(h.Offset), offset + int(h.Offset+h.Length)}
	start := min(place.NextExpression(text, offset+end, end > 0), at.start)
	r.syntax = true
	return r.mistake(text, start, at, perr.Message)
}

// startsExpression tells a line that begins with a header or "key =".
func startsExpression(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) > 0 && line[0] == '[' {
		line = bytes.TrimLeft(bytes.TrimLeft(line, "["), " \t")
		return len(line) > 0 && place.BareKey(line[0])
	}
	i := 0
	for i < len(line) && (place.BareKey(line[i]) || line[i] == '.') {
		i++
	}
	rest := bytes.TrimLeft(line[i:], " \t")
	return i > 0 && len(rest) > 0 && rest[0] == '='
}

// mistake reports a mistake of TOML and finds where parsing can go on.
func (r *reader) mistake(text []byte, start int, at span, message string) int {
	where := at
	if strings.Contains(message, "terminated") || strings.Contains(message, "incomplete") {
		// Found at the end of the file; the mistake is where it began.
		where = span{start, start + 1}
		for where.end < len(text) && text[where.end] != '\n' {
			where.end++
		}
	}
	several := r.doc.Line(at.start) > r.doc.Line(start)
	from, to := place.Word(text, at.start)
	said, suggestion := wording(message, string(text[from:to]))
	if better, how := slip(text, at.start, message); better != "" {
		said, suggestion = better, how
	}
	if several && where.start >= at.start && startsExpression(text[bytes.LastIndexByte(text[:min(at.start, len(text))], '\n')+1:]) {
		said, suggestion = fmt.Sprintf("what begins in line %d has no end", r.doc.Line(start)), "close its quotes or its ]"
	}
	if !r.scrubbed[r.doc.Line(at.start)] {
		r.report(where, said, suggestion)
	}
	if r.current != nil {
		r.current.broken = true
	}
	if start < len(text) && text[start] == '[' {
		r.current = nil // what follows belongs to a table that has no name
	}
	if where.start < at.start && several {
		return -1 // the rest of the file is part of the open value
	}
	for line := max(r.doc.Line(start)+1, r.doc.Line(at.start)); line <= len(r.doc.Starts); line++ {
		o := r.doc.Starts[line-1]
		if o > start && startsExpression(text[o:]) {
			return o
		}
	}
	return -1
}

// wording says a parser's message in the words of an operator.
func wording(message, word string) (text, suggestion string) {
	switch {
	case strings.Contains(message, "at start of value"), strings.Contains(message, "expected keyword"),
		message == "strings must be quoted", strings.Contains(message, "expected value, not end"):
		switch strings.ToLower(word) {
		case "":
			return "the value is missing", ""
		case "yes", "on", "true":
			return place.Quote(word) + " is not a value", "write true"
		case "no", "off", "false":
			return place.Quote(word) + " is not a value", "write false, or \"off\" in quotes"
		}
		return place.Quote(word) + " is not a value", "texts stand in quotes: " + place.String(place.Shorten(word))
	case strings.Contains(message, "escape"):
		return "there is no such escape in a text in double quotes", `put it into single quotes: '…', where \ is only itself`
	case strings.Contains(message, "expected newline"), strings.Contains(message, "after"):
		return "there is something after the end of the value", "one key = value on a line; lists stand in [ ]"
	case strings.Contains(message, "terminated"), strings.Contains(message, "incomplete"), strings.Contains(message, "newline"), strings.Contains(message, "new line"):
		return "the text or list has no end", "close its quotes or its ]"
	case strings.Contains(message, "nested more"):
		return "there are lists inside of lists inside of lists", ""
	}
	return "this is not TOML: " + message, ""
}
