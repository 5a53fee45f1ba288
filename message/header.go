package message

import (
	"bytes"
	"fmt"
	"strings"
)

// Bounds of a header. Real mail stays far below them (Postfix keeps 100 KB of
// one field); they bound the work that a hostile header can cause.
const (
	MaxHeaderBytes  = 1 << 20  // octets of the header block
	MaxHeaderFields = 1000     // fields
	MaxFieldName    = 998      // octets of one name: the longest line of RFC 5322 2.1.1
	maxNames        = 64 << 10 // octets of all names together

	// maxLead is how much of a line decides what it is: the longest name and
	// some white space before the colon.
	maxLead = MaxFieldName + 8
)

// Header is the header of the message itself, found by offsets over the stored
// octets. The reading is Postfix's, because that is who reads it next:
//
//   - A field begins with a name of visible ASCII characters, then optional
//     white space, then a colon (RFC 5322 4.5 allows `Received :`).
//   - A line that begins with a space or a tab belongs to the field before it,
//     also when it holds nothing else.
//   - An empty line ends the header. So does a line that is none of the above,
//     including a continuation line at the very beginning: that line is then the
//     first line of the body.
//   - `From ` lines (mbox, also with `>` before) at the very beginning are
//     neither field nor body; Postfix renames them.
//   - A line ends with LF; one CR before it belongs to the line end.
//
// The Message must outlive its Header.
type Header struct {
	m        *Message
	fields   []Field
	start    int64
	end      int64
	blank    bool
	tooLarge bool
	openLine bool // the last line of the message lacks its line end
	err      error
}

// Field is one header field.
type Field struct {
	// Name as written, without the white space before the colon.
	Name string
	// Start and End are the offsets of the whole field in the message: from
	// its name to behind the line end of its last line. Deleting [Start, End)
	// removes the field without a trace.
	Start, End int64

	m     *Message
	colon int64
}

// Header gives the header, read on first use.
func (m *Message) Header() *Header {
	m.headerOnce.Do(func() {
		m.Retain()
		defer m.Release()
		m.header.m = m
		scanHeader(&m.header)
	})
	return &m.header
}

// HeaderEnd is the offset where the empty line between header and body begins;
// without an empty line, where the body begins: the first line that belongs to
// no field, or Size. If the header is too large it is where reading stopped.
func (m *Message) HeaderEnd() int64 { return m.Header().end }

// Fields gives all fields in order. Do not change the slice.
func (h *Header) Fields() []Field { return h.fields }

// TooLarge says that the header passes a bound (MaxHeaderBytes,
// MaxHeaderFields, MaxFieldName): Fields is not all of it. Such a message must
// be refused, not judged by its first part.
func (h *Header) TooLarge() bool { return h.tooLarge }

// Err says why Fields may not be all of the header: ErrHeaderTooLarge, an error
// of the spool file, or nil.
func (h *Header) Err() error {
	if h.err == nil && h.tooLarge {
		return ErrHeaderTooLarge
	}
	return h.err
}

// HasBlank says whether an empty line stands between header and body.
func (h *Header) HasBlank() bool { return h.blank }

// Start is the offset of the first field, behind any mbox `From ` line: where
// fields can be put in front of the others.
func (h *Header) Start() int64 { return h.start }

// Prepend gives the edit that puts complete fields (each line with its CR LF)
// before all others. A message that begins with its body gets an empty line
// too: else its first line could continue our field, or end the header there.
func (h *Header) Prepend(fields []byte) Edit {
	switch {
	case h.tooLarge || h.err != nil || len(h.fields) > 0 || h.blank:
	case h.end < h.m.size:
		fields = append(fields[:len(fields):len(fields)], "\r\n"...)
	case h.openLine: // nothing but an mbox line that lacks its line end
		fields = append([]byte("\r\n"), fields...)
	}
	return Edit{At: h.start, Insert: fields}
}

// Get gives the first field of that name, whatever its case.
func (h *Header) Get(name string) (Field, bool) {
	for _, f := range h.fields {
		if strings.EqualFold(f.Name, name) {
			return f, true
		}
	}
	return Field{}, false
}

// All gives every field of that name, whatever its case, in order.
func (h *Header) All(name string) []Field {
	var out []Field
	for _, f := range h.fields {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f)
		}
	}
	return out
}

// CountFold counts the fields of that name, whatever its case (the loop guard
// counts Received).
func (h *Header) CountFold(name string) int {
	n := 0
	for _, f := range h.fields {
		if strings.EqualFold(f.Name, name) {
			n++
		}
	}
	return n
}

// Value gives what stands behind the colon, unfolded (RFC 5322 2.2.3: line ends
// are taken out, the white space of the next line stays) and without white
// space at both ends. Nothing is decoded; the text is hostile.
func (f Field) Value() string {
	m := f.m
	if m == nil {
		return ""
	}
	m.Retain()
	defer m.Release()
	var raw []byte
	if from := f.colon + 1; m.file == nil && from < f.End && from/chunkSize == (f.End-1)/chunkSize {
		raw = m.piece(from, f.End)
	} else {
		raw = make([]byte, f.End-from)
		if _, err := m.readAt(raw, from); err != nil && len(raw) > 0 {
			return ""
		}
	}
	return unfold(raw)
}

func unfold(raw []byte) string {
	raw = bytes.Trim(raw, " \t\r\n")
	if bytes.IndexByte(raw, '\n') < 0 {
		return string(raw)
	}
	var s strings.Builder
	s.Grow(len(raw))
	for {
		lf := bytes.IndexByte(raw, '\n')
		if lf < 0 {
			s.Write(raw)
			return s.String()
		}
		s.Write(bytes.TrimSuffix(raw[:lf], []byte{'\r'}))
		raw = raw[lf+1:]
	}
}

// scanHeader reads the header in one pass, piece by piece: what it holds at any
// time is one buffer and the beginning of one line.
func scanHeader(h *Header) {
	m := h.m
	// Room for a usual header: two allocations instead of a dozen.
	var names [512]byte
	var ends [32]int
	s := scanner{h: h, names: names[:0], ends: ends[:0]}
	end := min(m.size, MaxHeaderBytes)
	var buf *[fileBufferSize]byte
	if m.file != nil {
		buf = filePool.Get().(*[fileBufferSize]byte)
		defer filePool.Put(buf)
	}
	for off := int64(0); off < end && !s.done; {
		var p []byte
		if buf == nil {
			p = m.piece(off, end)
		} else {
			p = buf[:min(fileBufferSize, end-off)]
			if off == 0 {
				p = p[:min(len(p), 8<<10)] // most headers are small
			}
			if _, err := m.readAt(p, off); err != nil {
				h.err = fmt.Errorf("header: %w", err)
				break
			}
		}
		s.piece(p)
		off += int64(len(p))
	}
	s.finish(end)
}

// scanner is the state between two pieces.
type scanner struct {
	h      *Header
	names  []byte
	ends   []int // end of each field's name in names
	pos    int64 // offset of the next octet
	line   int64 // offset where the current line begins
	lead   []byte
	judged bool // the current line's kind is known
	done   bool
}

// piece takes the next octets.
func (s *scanner) piece(p []byte) {
	for len(p) > 0 && !s.done {
		lf := bytes.IndexByte(p, '\n')
		text := p
		if lf >= 0 {
			text = p[:lf]
		}
		if !s.judged {
			s.begin(text, lf >= 0)
			if s.done {
				return
			}
		}
		if lf < 0 {
			s.pos += int64(len(p))
			return
		}
		s.pos += int64(lf) + 1
		s.endLine()
		p = p[lf+1:]
	}
}

// begin judges the current line by its beginning, as soon as there is enough
// of it. whole means that text reaches the end of the line.
func (s *scanner) begin(text []byte, whole bool) {
	if whole && len(s.lead) == 0 && len(text) < maxLead {
		s.judge(text, true)
		return
	}
	room := maxLead - len(s.lead)
	if len(text) >= room {
		text, whole = text[:room], false
	}
	s.lead = append(s.lead, text...)
	if whole || len(s.lead) == maxLead {
		s.judge(s.lead, whole)
	}
}

func (s *scanner) endLine() {
	h := s.h
	s.line, s.judged, s.lead = s.pos, false, s.lead[:0]
	if n := len(h.fields); n > 0 && !h.tooLarge {
		h.fields[n-1].End = s.pos
	} else if n == 0 {
		h.start = s.pos // behind a From_ line
	}
}

// judge decides what the current line is.
func (s *scanner) judge(text []byte, whole bool) {
	h := s.h
	s.judged = true
	if whole {
		text = bytes.TrimSuffix(text, []byte{'\r'})
		if len(text) == 0 {
			h.blank = true
			s.stop()
			return
		}
	}
	if len(h.fields) > 0 && (text[0] == ' ' || text[0] == '\t') {
		return
	}
	if len(h.fields) == 0 && isMboxLine(text) {
		return
	}
	name, colon, unsure := fieldName(text)
	switch {
	case name > MaxFieldName || unsure && !whole:
		// Others may see a field here, and fields behind it.
		h.tooLarge = true
		s.stop()
	case name == 0:
		s.stop()
	case len(h.fields) == MaxHeaderFields || len(s.names)+name > maxNames:
		h.tooLarge = true
		s.stop()
	default:
		s.names = append(s.names, text[:name]...)
		s.ends = append(s.ends, len(s.names))
		if h.fields == nil {
			h.fields = make([]Field, 0, 24)
		}
		h.fields = append(h.fields, Field{m: h.m, Start: s.line, colon: s.line + int64(colon)})
	}
}

// stop ends the header before the current line.
func (s *scanner) stop() {
	s.done = true
	s.h.end = s.line
}

// finish sets what is known only at the end. end is where the octets ended that
// the scanner was given.
func (s *scanner) finish(end int64) {
	h := s.h
	if h.err != nil {
		h.fields = nil
		return
	}
	if !s.done && !s.judged && len(s.lead) > 0 {
		s.judge(s.lead, end == h.m.size) // last line without a line end
	}
	if !s.done {
		s.exhausted(end)
	}
	names, from := string(s.names), 0
	for i := range h.fields {
		h.fields[i].Name = names[from:s.ends[i]]
		from = s.ends[i]
	}
}

// exhausted ends a header that goes on to the end of the octets given.
func (s *scanner) exhausted(end int64) {
	h := s.h
	if end == h.m.size {
		h.openLine = s.line < end
		s.line = end
	} else {
		h.tooLarge = true
	}
	s.stop()
	n := len(h.fields)
	switch {
	case n == 0:
		h.start = s.line
	case s.line > h.fields[n-1].Start:
		h.fields[n-1].End = s.line
	default: // cut inside its first line
		h.fields = h.fields[:n-1]
	}
}

// isMboxLine knows the first line of an mbox entry as Postfix's smtpd does.
func isMboxLine(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, ">"), []byte("From "))
}

// fieldName gives the length of the name that text begins with and the place
// of its colon; 0 if text is not the beginning of a field. unsure means that
// text ended before that was clear.
func fieldName(text []byte) (name, colon int, unsure bool) {
	for i, c := range text {
		switch {
		case c == ':':
			return name, i, false
		case c == ' ' || c == '\t':
			if i == 0 {
				return 0, 0, false
			}
		case c < 0x21 || c > 0x7e:
			return 0, 0, false
		case name < i: // text behind white space
			return 0, 0, false
		default:
			name++
		}
	}
	return 0, 0, true
}
