// Package disarm takes what is dangerous out of a message, as byte-range
// splices over the raw octets: an attachment is replaced by a note in the same
// place, an HTML part loses its scripts, frames, forms and objects. Everything
// else stays byte for byte.
//
// It decides nothing: which parts, and what becomes of the original, is the
// caller's. It is pure: no files, no network, no state.
//
// It is all or nothing. It refuses (ErrRefused) whatever it cannot do without
// doubt: messages whose structure is ambiguous, parts that are encoded inside
// another part, signed or encrypted ones, HTML in a charset that is not a
// superset of ASCII. And it looks at its own work: the result is indexed again,
// and if it is not the same message but for what was meant, there is no result.
// A DKIM signature over the body breaks; that is the price.
//
// # Limits
//
// The message is held in memory twice, and indexed once more; at most
// maxChanges parts are changed at a time.
package disarm

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"garita/message"
)

// ErrRefused is the error of whatever cannot be done without doubt.
var ErrRefused = errors.New("disarm: refused")

const (
	maxChanges = 100
	maxNote    = 64 << 10
)

// Change is what to do to one part.
type Change struct {
	Part *message.Part
	// Note replaces the part, header and body, by this plain text. Empty: the
	// part is HTML to be neutralised.
	Note string
}

// Replace gives the edits that put a note in place of a part.
func Replace(x *message.Index, p *message.Part, note string) ([]message.Edit, error) {
	if note == "" {
		return nil, refused("the note is empty")
	}
	return Splice(x, Change{Part: p, Note: note})
}

// HTML gives the edits that neutralise an HTML part; none when there is
// nothing to neutralise.
func HTML(x *message.Index, p *message.Part) ([]message.Edit, error) {
	return Splice(x, Change{Part: p})
}

// change is a Change at work.
type change struct {
	Change
	body []byte // what the part's content shall be, decoded
	edit message.Edit
}

// Splice gives the edits of several changes at once, or an error and none.
func Splice(x *message.Index, changes ...Change) ([]message.Edit, error) {
	if len(x.Parts) == 0 || len(changes) > maxChanges {
		return nil, refused("there is no message, or too many changes")
	}
	if x.Has(message.Ambiguous) {
		return nil, refused("the structure of the message is ambiguous")
	}
	var done []*change
	for _, c := range changes {
		if err := permitted(x, c.Part); err != nil {
			return nil, err
		}
		w, err := prepare(c)
		if err != nil {
			return nil, err
		}
		if w != nil {
			done = append(done, w)
		}
	}
	if len(done) == 0 {
		return nil, nil
	}
	slices.SortFunc(done, func(a, b *change) int { return int(a.edit.At - b.edit.At) })
	edits := make([]message.Edit, 0, len(done))
	end := int64(0)
	for _, w := range done {
		if w.edit.At < end {
			return nil, refused("one part is inside another")
		}
		end = w.edit.At + w.edit.Delete
		edits = append(edits, w.edit)
	}
	y := message.ReadIndex(apply(x.Parts[0].Source.Data, edits), message.DefaultIndexLimits())
	if err := same(x, y, done); err != nil {
		return nil, err
	}
	return edits, nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// permitted tells why a part must be left alone.
func permitted(x *message.Index, p *message.Part) error {
	if p == nil || !slices.Contains(x.Parts, p) {
		return refused("the part is not of this message")
	}
	if p.Source != x.Parts[0].Source {
		return refused("part %s is encoded inside another part", p.Number)
	}
	if len(p.Bodies()) != 1 {
		return refused("part %s has several readings", p.Number)
	}
	for q := p; q != nil; q = q.Parent {
		for _, t := range q.Types {
			// A change would make a forgery of what was signed (RFC 1847, RFC
			// 8551), and nothing of what was encrypted.
			if strings.HasPrefix(t, "multipart/signed") || strings.HasPrefix(t, "multipart/encrypted") || strings.Contains(t, "pkcs7") {
				return refused("part %s is signed or encrypted", p.Number)
			}
		}
	}
	return nil
}

// prepare makes the edit of one change; none when nothing is to be done.
func prepare(c Change) (*change, error) {
	p := c.Part
	if c.Note == "" {
		return prepareHTML(c)
	}
	if p.Origin != message.Child {
		return nil, refused("part %q is not one of several: nothing can stand in its place", p.Number)
	}
	if len(c.Note) > maxNote {
		return nil, refused("the note is longer than %d octets", maxNote)
	}
	note := strings.ReplaceAll(strings.ToValidUTF8(c.Note, "?"), "\r\n", "\n")
	note = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, note)
	body := []byte(strings.ReplaceAll(note, "\n", "\r\n"))
	// Base64, whatever the note says: no line of it can be a boundary.
	insert := append([]byte("Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n"), lines64(body)...)
	return &change{Change: c, body: body, edit: message.Edit{At: int64(p.Start), Delete: int64(p.End - p.Start), Insert: insert}}, nil
}

// lines64 is base64 in lines of 76 (RFC 2045 section 6.8), without a last line
// end.
func lines64(data []byte) []byte {
	const in, out = 57, 76
	text := make([]byte, 0, (len(data)/in+1)*(out+2))
	for chunk := range slices.Chunk(data, in) {
		if len(text) > 0 {
			text = append(text, "\r\n"...)
		}
		text = base64.StdEncoding.AppendEncode(text, chunk)
	}
	return text
}

// apply makes the new message in memory.
func apply(raw []byte, edits []message.Edit) []byte {
	size := len(raw)
	for _, e := range edits {
		size += len(e.Insert)
	}
	out := make([]byte, 0, size)
	pos := int64(0)
	for _, e := range edits {
		out = append(append(out, raw[pos:e.At]...), e.Insert...)
		pos = e.At + e.Delete
	}
	return append(out, raw[pos:]...)
}

// same tells that y is x with these changes and no others.
func same(x, y *message.Index, done []*change) error {
	if y.Has(message.Ambiguous) {
		return refused("the result would be ambiguous")
	}
	by := map[*message.Part]*change{}
	around := map[*message.Part]bool{}
	for _, w := range done {
		by[w.Part] = w
		for q := w.Part.Parent; q != nil; q = q.Parent {
			around[q] = true
		}
	}
	var kept []*message.Part
	for _, p := range x.Parts {
		if !gone(p, by) {
			kept = append(kept, p)
		}
	}
	if len(kept) != len(y.Parts) {
		return refused("the result would have %d parts, not %d", len(y.Parts), len(kept))
	}
	for i, a := range kept {
		b := y.Parts[i]
		ok := a.Number == b.Number && a.Origin == b.Origin
		w := by[a]
		switch {
		case !ok:
		case w != nil && w.Note != "":
			ok = slices.Equal(b.Types, []string{"text/plain"}) && len(b.Names) == 0 && !b.Children && content(b, w.body)
		case w != nil:
			ok = bytes.Equal(header(a), header(b)) && !b.Children && content(b, w.body)
		case around[a]:
			ok = bytes.Equal(header(a), header(b)) && slices.Equal(a.Types, b.Types)
		default:
			ok = bytes.Equal(a.Source.Data[a.Start:a.End], b.Source.Data[b.Start:b.End])
		}
		if !ok {
			return refused("part %q would not be what was meant", a.Number)
		}
	}
	return nil
}

// gone tells a part inside one that a note stands for.
func gone(p *message.Part, by map[*message.Part]*change) bool {
	for q := p.Parent; q != nil; q = q.Parent {
		if w := by[q]; w != nil && w.Note != "" {
			return true
		}
	}
	return false
}

func header(p *message.Part) []byte { return p.Source.Data[p.Start:p.Body] }

func content(p *message.Part, want []byte) bool {
	b := p.Bodies()
	return len(b) == 1 && bytes.Equal(b[0].Data, want)
}
