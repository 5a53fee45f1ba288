package postfix

import (
	"bytes"
	"strings"
)

// View is one of the four things that tables are asked about.
type View uint8

const (
	Header       View = iota // header_checks: the headers of the message
	MIMEHeader               // mime_header_checks: MIME headers anywhere, and all headers of a part
	NestedHeader             // nested_header_checks: headers of an attached message
	Body                     // body_checks: every other line
)

// String is the name of the view in commands.
func (v View) String() string {
	return [...]string{"header", "mime-header", "nested-header", "body"}[v]
}

// The limits of Postfix that its administrators rarely change.
const (
	headerLimit   = 102400 // header_size_limit
	lineLimit     = 2048   // line_length_limit
	boundaryLimit = 2048   // mime_boundary_length_limit
	nestingLimit  = 100    // mime_nesting_limit
	bodyLimit     = 51200  // body_checks_size_limit
)

type contentType uint8

const (
	typeOther contentType = iota
	typeText
	typeMessage // with headers of its own in the body
	typeClosed  // message/partial, external-body: without
	typeMultipart
)

// isMIME tells whether Postfix counts a header as MIME wherever it stands.
func isMIME(name string) bool {
	switch strings.ToLower(name) {
	case "content-description", "content-disposition", "content-id",
		"content-transfer-encoding", "content-type", "mime-version":
		return true
	}
	return false
}

// headerName is the length of the name that a header line begins with, 0 if
// the line is none: printable ASCII without blanks, blanks, a colon.
func headerName(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			return len(bytes.TrimRight(line[:i], " \t"))
		case c == ' ' || c == '\t':
			if i == 0 {
				return 0
			}
		case c < 0x20 || c >= 0x7f:
			return 0
		case i > 0 && (line[i-1] == ' ' || line[i-1] == '\t'):
			return 0
		}
	}
	return 0
}

type boundary struct {
	text   []byte
	digest bool
}

// splitter cuts a message as cleanup(8) does: a state machine over records,
// which are lines or pieces of long ones. It is as generous and as simple as
// Postfix's own, so that tables see what they saw there.
type splitter struct {
	head func(v View, text []byte, start, end, line int)
	body func(text []byte, start, end, offset int, goesOn bool)

	view       View // of the headers that are being read; Body for body
	kind       contentType
	stack      []boundary // the innermost last
	buffer     []byte     // the logical header that is being read
	continued  bool       // the last record was a piece and the line goes on
	bodyOffset int
	tooDeep    bool
	noMIME     bool

	pos, stop, line       int // of the record that is being read
	goesOn                bool
	noBlankAt             int // where a body begins without a blank line, or -1
	headStart, headAtLine int
	headEnd               int
}

func newSplitter() *splitter {
	return &splitter{kind: typeText, noBlankAt: -1}
}

// record takes one line without its end, or a piece of a line that goes on.
func (s *splitter) record(text []byte, start, end int, goesOn bool) {
	s.pos, s.stop, s.goesOn = start, end, goesOn
	if s.view != Body {
		if s.headerRecord(text, end) {
			s.continued = goesOn
			return
		}
		s.endHeaders(len(text) == 0)
	}
	s.bodyRecord(text)
	s.continued = goesOn
}

// headerRecord takes a record where headers may stand, and tells whether it
// was a header or part of one.
func (s *splitter) headerRecord(text []byte, end int) bool {
	if len(s.buffer) > 0 {
		folded := len(text) > 0 && (text[0] == ' ' || text[0] == '\t')
		if s.continued || folded {
			if len(s.buffer) < headerLimit {
				if !s.continued {
					s.buffer = append(s.buffer, '\n')
				}
				s.buffer = append(s.buffer, text...)
			}
			s.headEnd = end
			return true
		}
		s.flushHeader()
	}
	n := headerName(text)
	if n == 0 {
		return false
	}
	s.buffer = append(s.buffer[:0], text[:n]...)
	s.buffer = append(s.buffer, bytes.TrimLeft(text[n:], " \t")...)
	s.headStart, s.headEnd, s.headAtLine = s.pos, end, s.line
	return true
}

// flushHeader is the end of a logical header.
func (s *splitter) flushHeader() {
	if len(s.buffer) == 0 {
		return
	}
	name := string(s.buffer[:bytes.IndexByte(s.buffer, ':')])
	value := cString(s.buffer[len(name)+1:])
	if !s.noMIME && strings.EqualFold(name, "content-type") {
		s.contentType(value)
	}
	view := s.view
	if isMIME(name) {
		view = MIMEHeader
	}
	if s.head != nil {
		s.head(view, s.buffer, s.headStart, s.headEnd, s.headAtLine)
	}
	s.continued = false
	s.buffer = s.buffer[:0]
}

// endHeaders is a record that is no header: a blank line, or garbage.
func (s *splitter) endHeaders(blank bool) {
	if !blank {
		// Of the garbage in the main headers Postfix makes a body, with a
		// blank line before it.
		if s.view == Header {
			s.noBlankAt = s.pos
			s.emit(nil)
		}
		s.view, s.bodyOffset = Body, 0
		return
	}
	s.bodyOffset = 0
	switch s.kind {
	case typeMessage:
		s.view, s.kind = NestedHeader, typeText
	case typeMultipart:
		s.view, s.kind = Body, typeOther
	default:
		s.view = Body
	}
}

func (s *splitter) bodyRecord(text []byte) {
	if len(s.stack) > 0 && !s.continued && len(text) > 2 && text[0] == '-' && text[1] == '-' {
		s.boundary(text[2:])
	}
	s.emit(text)
}

// boundary looks for the innermost boundary that the line begins with.
func (s *splitter) boundary(text []byte) {
	for i := len(s.stack) - 1; i >= 0; i-- {
		b := s.stack[i]
		if !bytes.HasPrefix(text, b.text) {
			continue
		}
		s.stack = s.stack[:i+1]
		if bytes.HasPrefix(text[len(b.text):], []byte("--")) {
			s.stack = s.stack[:i]
			s.view, s.kind, s.bodyOffset = Body, typeOther, 0
			return
		}
		s.view, s.kind = MIMEHeader, typeText
		if b.digest {
			s.kind = typeMessage
		}
		return
	}
}

func (s *splitter) emit(text []byte) {
	if s.body != nil {
		s.body(text, s.pos, s.stop, s.bodyOffset, s.goesOn)
	}
	s.bodyOffset += len(text) + 1
}

// end is the end of the message.
func (s *splitter) end() {
	if s.continued {
		s.record(nil, s.pos, s.pos, false)
	}
	if s.view != Body {
		s.flushHeader()
	}
}

// contentType reads the value of a Content-Type header.
func (s *splitter) contentType(value []byte) {
	var t tokens
	n, rest := t.read(value)
	if n <= 0 {
		s.kind = typeOther
		return
	}
	sub := ""
	if n >= 3 && t.tok[1].kind == '/' && t.tok[2].kind == 'a' {
		sub = strings.ToLower(string(t.tok[2].text))
	}
	switch {
	case t.is(0, "text"):
		s.kind = typeText
	case t.is(0, "message"):
		s.kind = typeClosed
		if sub == "rfc822" || sub == "global" {
			s.kind = typeMessage
		}
	case t.is(0, "multipart"):
		s.kind = typeMultipart
		for {
			n, rest = t.read(rest)
			if n < 0 {
				return
			}
			// Each boundary counts, should there be several, and a quoted
			// one as much as any other token.
			if n >= 3 && t.is(0, "boundary") && t.tok[1].kind == '=' {
				s.push(t.tok[2].text, sub == "digest")
			}
		}
	default:
		// As in Postfix: an unknown type leaves what was known before.
	}
}

func (s *splitter) push(text []byte, digest bool) {
	if len(s.stack)-1 > nestingLimit {
		s.tooDeep = true
		return
	}
	text = bytes.Clone(cString(text))
	s.stack = append(s.stack, boundary{text: text[:min(len(text), boundaryLimit)], digest: digest})
}

// tokens is up to three tokens of a structured header.
type tokens struct {
	tok [3]struct {
		kind byte // 'a' atom, '"' quoted, else the special itself
		text []byte
	}
}

func (t *tokens) is(i int, word string) bool {
	return t.tok[i].kind == 'a' && strings.EqualFold(string(t.tok[i].text), word)
}

const tspecials = `()<>@,;:\"/[]?=`

// read reads tokens up to a semicolon and keeps the first three; n is -1 at
// the end of the value.
func (t *tokens) read(v []byte) (n int, rest []byte) {
	add := func(kind byte, text []byte) {
		if n < len(t.tok) {
			t.tok[n].kind, t.tok[n].text = kind, text
			n++
		}
	}
	i, ended := 0, true
	for i < len(v) {
		c := v[i]
		i++
		if c == ';' {
			ended = false
			break
		}
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '(':
			i = skipComment(v, i)
		case c == '"':
			var text []byte
			text, i = quoted(v, i)
			add('"', text)
		case c < 0x20 || c == 0x7f || strings.IndexByte(tspecials, c) >= 0:
			add(c, []byte{c})
		default:
			start := i - 1
			for i < len(v) && v[i] > 0x20 && v[i] != 0x7f && strings.IndexByte(tspecials, v[i]) < 0 {
				i++
			}
			add('a', v[start:i])
		}
	}
	if n == 0 && ended {
		return -1, nil
	}
	return n, v[i:]
}

func skipComment(v []byte, i int) int {
	for level := 1; i < len(v) && level > 0; {
		c := v[i]
		i++
		switch c {
		case '(':
			level++
		case ')':
			level--
		case '\\':
			i = min(i+1, len(v))
		}
	}
	return i
}

func quoted(v []byte, i int) ([]byte, int) {
	var text []byte
	for i < len(v) {
		c := v[i]
		i++
		switch c {
		case '"':
			return text, i
		case '\n':
			text = bytes.TrimRight(text, " \t\r\n")
			continue
		case '\\':
			if i >= len(v) {
				return text, i
			}
			c = v[i]
			i++
		}
		text = append(text, c)
	}
	return text, i
}
