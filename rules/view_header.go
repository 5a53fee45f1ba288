package rules

import (
	"bytes"
	"strings"

	"garita/message"
	"garita/message/field"
)

// readHeaders tries the conditions about header fields: of the message, of its
// parts, of messages inside, decoded in every reading; and those about the
// octets of the message's own header.
func (r *run) readHeaders() {
	s := r.s
	for n, p := range r.parts() {
		if r.ctx.Err() != nil {
			return
		}
		switch {
		case n == 0:
			r.fieldsOf(p, s.named, s.any, false)
			r.fieldsOf(p, s.mime, s.anyMIME, true)
		case p.Origin == message.Enclosed:
			r.fieldsOf(p, s.nested, s.anyNested, false)
			r.fieldsOf(p, s.mime, s.anyMIME, true)
		default:
			r.fieldsOf(p, s.mime, s.anyMIME, false)
		}
	}
	if len(s.raw) > 0 || s.anyRaw != nil {
		r.rawHeader()
	}
}

// fieldsOf tries the fields of one part; mime: only those that describe it.
func (r *run) fieldsOf(part *message.Part, named map[string]*view, any *view, mime bool) {
	if len(named) == 0 && any == nil {
		return
	}
	var lowered [64]byte
	for i := range part.Fields {
		f := &part.Fields[i]
		name := appendLower(lowered[:0], f.Name)
		if mime && !bytes.HasPrefix(name, []byte("content-")) && string(name) != "mime-version" {
			continue
		}
		v := named[string(name)]
		if v == nil && any == nil {
			continue
		}
		p := &spot{part: part, src: part.Source, at: f.At, file: -1, there: true}
		for _, value := range field.Words(f.Value) {
			if v != nil {
				r.feed(v, []byte(strings.TrimSpace(value)), p)
			}
			if any != nil {
				r.feed(any, []byte(f.Name+": "+strings.TrimSpace(value)), p)
			}
		}
	}
}

// rawField is a field of the message's own header as Postfix reads it.
type rawField struct {
	name              string
	start, colon, end int
}

// header is the fields of the message's own header and where its body begins:
// the reading of message.Header, which is Postfix's.
func (r *run) header() []rawField {
	if !r.readRaw {
		r.fields, r.bodyAt = rawHeader(r.fields[:0], r.in.Raw)
		r.readRaw = true
	}
	return r.fields
}

func rawHeader(dst []rawField, raw []byte) (fields []rawField, body int) {
	for pos := 0; pos < len(raw) && len(dst) < message.MaxHeaderFields; {
		next := len(raw)
		if i := bytes.IndexByte(raw[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		line := bytes.TrimRight(raw[pos:next], "\r\n")
		n := len(dst)
		switch {
		case len(line) == 0:
			return dst, next
		case n > 0 && (line[0] == ' ' || line[0] == '\t'):
			dst[n-1].end = next
		case n == 0 && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
		default:
			name, colon := nameOf(line)
			if name == 0 {
				return dst, pos
			}
			dst = append(dst, rawField{name: string(appendLower(nil, line[:name])), start: pos, colon: pos + colon, end: next})
		}
		pos = next
	}
	return dst, len(raw)
}

// nameOf is the length of a field's name and the place of its colon; 0 when the
// line is no field (RFC 5322 section 4.5 allows white space before the colon).
func nameOf(line []byte) (name, colon int) {
	colon = bytes.IndexByte(line, ':')
	if colon <= 0 {
		return 0, 0
	}
	trimmed := bytes.TrimRight(line[:colon], " \t")
	for _, c := range trimmed {
		if c < 0x21 || c > 0x7e {
			return 0, 0
		}
	}
	return len(trimmed), colon
}

// rawHeader tries the octets of the fields. Lines of a folded field stay apart
// by a line feed, as Postfix shows them to its tables.
func (r *run) rawHeader() {
	var buf []byte
	parts := r.parts()
	for _, f := range r.header() {
		v, any := r.s.raw[f.name], r.s.anyRaw
		if v == nil && any == nil {
			continue
		}
		p := &spot{file: -1, at: f.start, there: true}
		if len(parts) > 0 {
			p.part, p.src = parts[0], parts[0].Source
		}
		text := bytes.TrimRight(r.in.Raw[f.start:f.end], "\r\n")
		if bytes.IndexByte(text, '\n') >= 0 {
			buf = append(buf[:0], text...)
			text = bytes.ReplaceAll(buf, []byte("\r\n"), []byte("\n"))
		}
		if any != nil {
			r.feed(any, text, p)
		}
		if v != nil {
			r.feed(v, bytes.TrimLeft(text[f.colon-f.start+1:], " \t"), p)
		}
	}
}
