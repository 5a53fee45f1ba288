package message

import (
	"bytes"
	"fmt"
	"io"
)

// Edit replaces Delete octets at offset At of the original message by Insert.
// Header changes are a case of it: prepending is {0, 0, field}. Inserted lines
// end in CR LF.
type Edit struct {
	At, Delete int64
	Insert     []byte
}

// Rendering is a message with its edits applied. The Message must outlive it;
// several Renderings of one Message may be used at once, one Rendering by one
// goroutine at a time.
type Rendering struct {
	m     *Message
	parts []part
	size  int64

	// Position of Read.
	started bool
	next    int   // part that Read is in
	done    int64 // octets of that part already read
}

// part is a range of the original, or octets to insert.
type part struct {
	off, end int64
	insert   []byte
}

func (p part) size() int64 { return p.end - p.off + int64(len(p.insert)) }

// Render applies all edits or none. They must be sorted by At and must not
// overlap (several insertions at one place are made in the order given; a
// deletion there comes last); anything else is ErrEdits. The inserted slices
// are used, not copied: leave them alone while the Rendering lives.
func (m *Message) Render(edits []Edit) (*Rendering, error) {
	r := &Rendering{m: m, parts: make([]part, 0, 2*len(edits)+1)}
	pos := int64(0)
	for i, e := range edits {
		switch {
		case e.At < 0 || e.Delete < 0 || e.At > m.size || e.Delete > m.size-e.At:
			return nil, fmt.Errorf("%w: edit %d lies outside the %d octets", ErrEdits, i, m.size)
		case e.At < pos:
			return nil, fmt.Errorf("%w: edit %d is out of order or overlaps", ErrEdits, i)
		case !crlfOnly(e.Insert):
			// A bare CR or LF that we bring in ourselves would get past
			// the data reader, and next hops disagree about it.
			return nil, fmt.Errorf("%w: edit %d inserts a bare CR or LF", ErrEdits, i)
		}
		r.add(part{off: pos, end: e.At})
		r.add(part{insert: e.Insert})
		pos = e.At + e.Delete
	}
	r.add(part{off: pos, end: m.size})
	return r, nil
}

func (r *Rendering) add(p part) {
	if n := p.size(); n > 0 {
		r.parts = append(r.parts, p)
		r.size += n
	}
}

// crlfOnly reports whether p has no CR and no LF but in pairs.
func crlfOnly(p []byte) bool {
	for len(p) > 0 {
		lf := bytes.IndexByte(p, '\n')
		if lf < 0 {
			return bytes.IndexByte(p, '\r') < 0
		}
		if lf == 0 || bytes.IndexByte(p[:lf], '\r') != lf-1 {
			return false
		}
		p = p[lf+1:]
	}
	return true
}

// Size is the exact number of octets that WriteTo writes.
func (r *Rendering) Size() int64 { return r.size }

// Edits gives edits that make this rendering of its message: what a holding
// place stores beside the original octets. The slices are shared.
func (r *Rendering) Edits() []Edit {
	var out []Edit
	pos := int64(0)
	for _, p := range r.parts {
		if p.insert != nil {
			out = append(out, Edit{At: pos, Insert: p.insert})
			continue
		}
		if p.off > pos {
			out = append(out, Edit{At: pos, Delete: p.off - pos})
		}
		pos = p.end
	}
	if pos < r.m.size {
		out = append(out, Edit{At: pos, Delete: r.m.size - pos})
	}
	return out
}

// WriteTo writes the rendering: stored chunks and insertions are handed to w as
// they are, w must not keep or change them. A Rendering that was never Read
// from is written whole, each time; after a Read it goes on from there, so that
// io.Copy behind a bufio.Reader stays right.
func (r *Rendering) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	skip := r.done
	for _, p := range r.parts[r.next:] {
		var n int64
		var err error
		if p.insert != nil {
			n, err = writeAll(w, p.insert[skip:])
		} else {
			n, err = r.m.writeRange(w, p.off+skip, p.end)
		}
		total += n
		if err != nil {
			if r.started {
				r.advance(total)
			}
			return total, err
		}
		skip = 0
	}
	if r.started {
		r.next, r.done = len(r.parts), 0
	}
	return total, nil
}

func writeAll(w io.Writer, p []byte) (int64, error) {
	n, err := w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// Read reads on in the rendering.
func (r *Rendering) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	r.started = true
	if r.next == len(r.parts) {
		return 0, io.EOF
	}
	p := r.parts[r.next]
	var n int
	var err error
	if p.insert != nil {
		n = copy(buf, p.insert[r.done:])
	} else {
		if left := p.end - p.off - r.done; int64(len(buf)) > left {
			buf = buf[:left]
		}
		n, err = r.m.ReadAt(buf, p.off+r.done)
	}
	r.advance(int64(n))
	return n, err
}

// advance moves the position of Read by n octets.
func (r *Rendering) advance(n int64) {
	for n > 0 {
		left := r.parts[r.next].size() - r.done
		if n < left {
			r.done += n
			return
		}
		n -= left
		r.next, r.done = r.next+1, 0
	}
}
