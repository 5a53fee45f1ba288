package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"garita/place"
)

// parser turns one file into a tree and reports everything that is wrong with
// its form. After a syntax error it goes on at the next line that looks like
// TOML, so that one slip does not hide the others.
type parser struct {
	src      *source
	p        unstable.Parser
	base     int // offset in the file of the piece being parsed
	root     *node
	table    *node // of the last [header]; nil when that header was wrong
	problems Problems
	scrubbed map[int]bool // lines with a byte that was reported
}

func parse(src *source) (*node, Problems) {
	ps := &parser{src: src, root: newTable(span{src: src}), scrubbed: map[int]bool{}}
	ps.root.defined = true
	ps.table = ps.root
	text, ok := ps.scrub(src.Octets)
	if !ok {
		return ps.root, ps.problems
	}
	for offset := 0; offset >= 0 && len(ps.problems) < maxProblems; {
		offset = ps.run(text, offset)
	}
	return ps.root, ps.problems
}

func (ps *parser) report(at span, key, text, suggestion string) {
	if len(ps.problems) < maxProblems {
		ps.problems = append(ps.problems, ps.src.problem(at, key, text, suggestion))
	}
}

// scrub reports bytes that no TOML file may hold and gives a copy in which
// they are harmless and every offset is the same.
func (ps *parser) scrub(text []byte) ([]byte, bool) {
	if place.UTF16(text) {
		ps.problems = append(ps.problems, Problem{File: ps.src.Name, order: ps.src.order,
			Text: "is UTF-16", Suggestion: "save it as UTF-8"})
		return nil, false
	}
	return place.Scrub(text, func(at int, bad string) bool {
		line := ps.src.Line(at)
		if !ps.scrubbed[line] {
			ps.report(span{ps.src, at, at + 1}, "", bad, "")
		}
		ps.scrubbed[line] = true // one report a line is enough
		return true
	})
}

// run parses from offset up to the end or the first syntax error, and gives
// the offset where to go on, -1 for nowhere.
func (ps *parser) run(text []byte, offset int) int {
	piece := text[offset:len(text):len(text)]
	ps.base = offset
	ps.p.Reset(piece)
	end := 0 // of the last good expression
	for ps.p.NextExpression() {
		if len(ps.problems) >= maxProblems {
			return -1
		}
		e := ps.p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			parts, where := ps.key(e.Key())
			end = where[len(where)-1].end - ps.base
			ps.header(parts, where, e.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			end = int(e.Raw.Offset + e.Raw.Length)
			if ps.table != nil {
				ps.keyValue(ps.table, e)
			}
		}
	}
	var perr *unstable.ParserError
	if err := ps.p.Error(); err == nil {
		return -1
	} else if !errors.As(err, &perr) {
		ps.report(span{ps.src, offset + end, offset + end}, "", err.Error(), "")
		return -1
	}
	r := ps.p.Range(perr.Highlight)
	at := span{ps.src, offset + int(r.Offset), offset + int(r.Offset+r.Length)}
	start := place.NextExpression(text, offset+end, end > 0)
	if start > at.start {
		start = at.start
	}
	return ps.syntax(text, start, at, perr.Message)
}

var expressionStart = regexp.MustCompile(`^[ \t]*(?:\[\[?[ \t]*["'A-Za-z0-9_-]|(?:[A-Za-z0-9_.-]+|"[^"\n]*"|'[^'\n]*')[ \t]*=)`)

// syntax reports a syntax error and finds where parsing can go on.
func (ps *parser) syntax(text []byte, start int, at span, message string) int {
	where := at
	if strings.Contains(message, "terminated") || strings.Contains(message, "incomplete") {
		// Found at the end of the file; the mistake is where it began.
		where = span{ps.src, start, start + 1}
		for where.end < len(text) && text[where.end] != '\n' {
			where.end++
		}
	}
	several := ps.src.Line(at.start) > ps.src.Line(start)
	leak, word := false, ""
	from, to := place.Word(text, at.start)
	if i := ps.src.secretAt(text[start:max(start, min(len(text), at.end))]); i >= 0 {
		// Somewhere in a value that spans lines: none of them may be shown.
		ps.src.secret = append(ps.src.secret, span{ps.src, start + i, at.end})
		leak = several
	} else {
		word = string(text[from:to])
	}
	if (strings.Contains(message, "start of value") || message == "strings must be quoted") && to > from {
		where = span{ps.src, from, to}
	}
	said, suggestion := wording(message, word, to == from)
	if o := lineStart(text, at.start); several && where.start >= at.start && expressionStart.Match(text[o:]) {
		said, suggestion = fmt.Sprintf("what begins in line %d has no end", ps.src.Line(start)), ""
	}
	if !ps.scrubbed[ps.src.Line(at.start)] {
		ps.report(where, "", said, suggestion)
	}

	header := start < len(text) && text[start] == '['
	if header {
		ps.table = nil // what follows belongs to a table that has no name
	}
	if where.start < at.start && several || leak {
		return -1 // the rest of the file is part of the open value
	}
	for line := max(ps.src.Line(start)+1, ps.src.Line(at.start)); line <= len(ps.src.Starts); line++ {
		o := ps.src.Starts[line-1]
		if ps.table == nil && !bytes.HasPrefix(bytes.TrimLeft(text[o:], " \t"), []byte("[")) {
			continue
		}
		if expressionStart.Match(text[o:]) {
			return o
		}
	}
	return -1
}

func lineStart(text []byte, at int) int {
	return bytes.LastIndexByte(text[:min(at, len(text))], '\n') + 1
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@._:/-]{1,60}$`)

// wording says a parser's message in the words of an operator.
func wording(message, word string, empty bool) (text, suggestion string) {
	switch {
	case strings.Contains(message, "at start of value"), strings.Contains(message, "expected keyword"),
		message == "strings must be quoted":
		switch strings.ToLower(word) {
		case "yes", "on", "true":
			return "this is not a value", "try true"
		case "no", "off", "false":
			return "this is not a value", "try false"
		}
		if empty {
			return "the value is missing", ""
		}
		if plainWord.MatchString(word) && userInfo.FindStringIndex(word) == nil {
			return "texts, sizes and durations stand in double quotes", "try " + place.String(word)
		}
		return "this is not a value", "texts, sizes and durations stand in double quotes"
	case strings.Contains(message, "expected value, not end"), strings.Contains(message, "at start of value U+000A"):
		return "the value is missing", ""
	case strings.Contains(message, "cannot have new lines"), strings.Contains(message, "unterminated"):
		return "the closing quote is missing", ""
	case strings.Contains(message, "not terminated by"):
		return "the text has no end", "close it with the three quotes that opened it"
	case strings.Contains(message, "array is incomplete"):
		return "the list has no end", "close it with ]"
	case strings.Contains(message, "inline table is incomplete"):
		return "the table has no end", "close it with }"
	case strings.Contains(message, "after array value"):
		return "there is no comma between two values of the list", ""
	case strings.Contains(message, "expected '=' after key"):
		return "there is no = after the key", "write key = value"
	case strings.Contains(message, "to close table name"), strings.Contains(message, "to close array table name"):
		return "the name of the table is not closed", "write [name], or [[name]] for a list of tables"
	case strings.Contains(message, "invalid escape character"), strings.Contains(message, "need a character after"):
		return "a backslash in double quotes starts an escape and this is none", `write \\ for a backslash, or use single quotes`
	case strings.Contains(message, "expected newline but got"):
		return "there is something after the end of the value", "one key = value on a line; lists stand in [ ]"
	}
	return "syntax: " + message, ""
}
