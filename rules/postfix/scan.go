package postfix

import (
	"bytes"

	"garita/rules/pattern"
)

// Tables are what a message is asked about; several for one view are asked in
// order, and the first result counts.
type Tables struct {
	Header []*Table
	// MIMEHeader and Nested are those of Header if nil, as in Postfix; an
	// empty list that is not nil is none.
	MIMEHeader []*Table
	Nested     []*Table
	Body       []*Table
}

// Options are the parameters of Postfix that change what tables see. The zero
// value is Postfix's default.
type Options struct {
	// NoMIME is disable_mime_input_processing: everything behind the main
	// headers is body.
	NoMIME bool
	// KeepStray is cleanup_mask_stray_cr_lf = no, and Postfix before it had
	// that parameter (3.5.25, 3.6.15, 3.7.11, 3.8.6): a CR inside a line
	// stays one. Else it is a blank.
	KeepStray bool
	// WholeBody lifts body_checks_size_limit.
	WholeBody bool
	// MaxHits ends the scan at so many hits: a rule that fires on every line of
	// 25 MB must not take gigabytes. 0 is no bound, as in Postfix.
	MaxHits int
}

// Hit is a rule that fired.
type Hit struct {
	View  View
	Table int // which of the tables of the view
	Rule  int // line of the table where the rule begins
	Verdict
	// Name is the name of the header, or "".
	Name string
	// Line is the line of the message, from 1, where the text begins.
	Line int
	// Start and End are where the header, the line or the piece of one stand
	// in the message, with their line ends.
	Start, End int
	// GoesOn says that this is a piece of a line that goes on behind End.
	GoesOn bool
	// Subject is what was looked up. It is hostile, and its octets may be
	// those of the message.
	Subject []byte
}

// Result is what tables say of a message.
type Result struct {
	Hits []Hit
	// TooDeep says that boundaries are nested deeper than 100: Postfix
	// refuses such a message, 5.6.0, if it has header checks.
	TooDeep bool
	// TooMany says that the scan ended at MaxHits.
	TooMany bool
	// OverBudget counts the look-ups that were given up: nobody knows what
	// they would have said.
	OverBudget int
	// NoBlank is where the body begins without the blank line that Postfix
	// puts there, -1 if there is one.
	NoBlank int
}

// Scan asks tables about a message as cleanup(8) does. The message is as it
// was received, without the dots that DATA adds; lines end with CRLF or LF.
// Received headers are looked at as far as they are in raw: Postfix adds its
// own before it looks.
func Scan(raw []byte, t Tables, o Options, b *pattern.Budget) Result {
	if t.MIMEHeader == nil {
		t.MIMEHeader = t.Header
	}
	if t.Nested == nil {
		t.Nested = t.Header
	}
	s := &scan{raw: raw, options: o, budget: b, split: newSplitter()}
	for v, list := range [][]*Table{t.Header, t.MIMEHeader, t.Nested, t.Body} {
		for _, one := range list {
			s.views[v] = append(s.views[v], newFinder(one, raw))
		}
	}
	s.split.noMIME = o.NoMIME
	s.split.head = s.head
	s.split.body = s.body
	s.run()
	return s.result
}

// scan is one message on its way through tables.
type scan struct {
	raw     []byte
	options Options
	budget  *pattern.Budget
	views   [4][]*finder
	split   *splitter
	result  Result
	masked  []byte
	held    bool
	stopped bool
}

func (s *scan) run() {
	records(s.raw, func(text []byte, start, end, line int, goesOn bool) bool {
		if !s.options.KeepStray && bytes.IndexByte(text, '\r') >= 0 {
			s.masked = append(s.masked[:0], text...)
			for i, c := range s.masked {
				if c == '\r' {
					s.masked[i] = ' '
				}
			}
			text = s.masked
		}
		s.split.line = line
		s.split.record(text, start, end, goesOn)
		return !s.stopped
	})
	if !s.stopped {
		s.split.end()
	}
	s.result.TooDeep, s.result.NoBlank = s.split.tooDeep, s.split.noBlankAt
}

// records cuts a message into lines without their ends, and lines that are
// longer than Postfix reads at once into pieces.
func records(raw []byte, each func(text []byte, start, end, line int, goesOn bool) bool) {
	for pos, line := 0, 1; pos < len(raw); line++ {
		end := len(raw)
		if i := bytes.IndexByte(raw[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		// The dot that the sender put before a dot counts.
		room := lineLimit
		if raw[pos] == '.' {
			room--
		}
		for {
			piece := end - pos
			// A piece that ends inside CRLF takes the LF too.
			whole := piece <= room || piece == room+1 && raw[end-1] == '\n' && raw[end-2] == '\r'
			if !whole {
				if !each(raw[pos:pos+room], pos, pos+room, line, true) {
					return
				}
				pos += room
				room = lineLimit
				continue
			}
			text := raw[pos:end]
			if n := len(text); n > 0 && text[n-1] == '\n' {
				text = bytes.TrimRight(text[:n-1], "\r")
			}
			if !each(text, pos, end, line, false) {
				return
			}
			pos = end
			break
		}
	}
}

func (s *scan) head(v View, text []byte, start, end, line int) {
	if s.stopped {
		return
	}
	name := string(text[:bytes.IndexByte(text, ':')])
	s.ask(v, text, Hit{View: v, Name: name, Line: line, Start: start, End: end}, false)
}

func (s *scan) body(text []byte, start, end, offset int, goesOn bool) {
	if s.stopped || len(s.views[Body]) == 0 || !s.options.WholeBody && offset >= bodyLimit {
		return
	}
	// A text that is not where it stands in the message was masked.
	inPlace := len(s.masked) == 0 || len(text) == 0 || &text[0] != &s.masked[0]
	s.ask(Body, text, Hit{View: Body, Line: s.split.line, Start: start, End: end, GoesOn: goesOn}, inPlace)
}

// ask looks text up and tells what came of it.
func (s *scan) ask(v View, text []byte, h Hit, inPlace bool) {
	text = cString(text)
	if len(text) == 0 {
		return // an empty line is never looked up
	}
	for i, f := range s.views[v] {
		result, line, ok, err := f.lookup(text, h.Start, inPlace, s.budget)
		h.Table, h.Rule = i, line
		switch {
		case err != nil:
			s.result.OverBudget++
			h.Verdict = Verdict{Action: GivenUp}
		case !ok:
			continue
		default:
			h.Verdict = Judge(v, result)
		}
		s.told(h, text)
		return
	}
}

// told keeps a hit, and ends the checks where Postfix ends them.
func (s *scan) told(h Hit, text []byte) {
	if h.Action == Hold {
		// The second of them says nothing.
		if s.held {
			return
		}
		s.held = true
	}
	h.Subject = text
	if h.View != Body || len(s.masked) > 0 {
		h.Subject = bytes.Clone(text)
	}
	s.result.Hits = append(s.result.Hits, h)
	s.stopped = h.Action.Stops()
	if n := s.options.MaxHits; n > 0 && len(s.result.Hits) >= n && !s.stopped {
		s.stopped, s.result.TooMany = true, true
	}
}
