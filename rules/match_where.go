package rules

import (
	"bytes"
	"strings"
)

// where tells the places of a hit: those of its conditions that hold without a
// "not".
func (r *run) where(p *program) []Where {
	var out []Where
	for _, list := range [][]term{p.match, p.any, p.files} {
		for _, t := range list {
			if !t.not {
				out = r.places(out, p, t.atom)
			}
		}
	}
	return out
}

func (r *run) places(out []Where, p *program, atom int32) []Where {
	cond := r.s.atoms[atom].cond
	var together map[int]bool
	if perFile(cond.Subject) && len(p.files) > 0 {
		together = map[int]bool{}
		r.together(p, func(part int) { together[part] = true })
	}
	for i := range r.found {
		f := &r.found[i]
		if len(out) >= MaxPlaces {
			return out
		}
		if f.atom != atom || together != nil && !together[f.file] {
			continue
		}
		w := Where{What: cond.what(), Excerpt: string(f.excerpt)}
		if f.part != nil {
			w.Part = f.part.Number
		}
		switch {
		case f.at >= 0:
			w.Line, w.Column = r.line0(f.src.Data, f.at)
			w.Decoded = f.src.Of != nil
		case f.line > 0:
			w.Line, w.Column, w.Decoded = f.line, f.column, true
		}
		out = append(out, w)
	}
	return out
}

// what is the subject in the condition's words.
func (c *Condition) what() string {
	s := c.Subject.String()
	if c.Name != "" {
		s += " " + c.Name
	}
	if c.Of != "" {
		s += " of " + c.Of
	}
	return s
}

// lineTable has the number of lines before each stretch of a text, so that many
// places cost one pass.
type lineTable struct {
	data   []byte
	before []int
}

const stretch = 32 << 10

// line0 is the line and column of an offset, both from 1.
func (r *run) line0(data []byte, at int) (line, column int) {
	at = clamp(at, len(data))
	t := &r.table
	if len(t.data) != len(data) || len(data) > 0 && &t.data[0] != &data[0] {
		t.data, t.before = data, t.before[:0]
		n := 0
		for from := 0; from < len(data); from += stretch {
			t.before = append(t.before, n)
			n += bytes.Count(data[from:min(from+stretch, len(data))], []byte{'\n'})
		}
	}
	base := 0
	line = 1
	if k := at / stretch; k < len(t.before) {
		base = k * stretch
		line += t.before[k]
	} else if len(t.before) > 0 {
		base = (len(t.before) - 1) * stretch
		line += t.before[len(t.before)-1]
	}
	line += bytes.Count(data[base:at], []byte{'\n'})
	return line, at - bytes.LastIndexByte(data[:at], '\n')
}

// fieldAt is the field that begins at an offset of the message: its name and
// its end, behind its last line.
func fieldAt(data []byte, at int) (name []byte, colon, end int, ok bool) {
	if at < 0 || at >= len(data) {
		return nil, 0, 0, false
	}
	n, colon := nameOf(lineOf(data[at:]))
	if n == 0 {
		return nil, 0, 0, false
	}
	end = at
	for {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			return data[at : at+n], at + colon, len(data), true
		}
		end += i + 1
		if end == len(data) || data[end] != ' ' && data[end] != '\t' {
			return data[at : at+n], at + colon, end, true
		}
	}
}

func lineOf(data []byte) []byte {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		data = data[:i]
	}
	return bytes.TrimSuffix(data, []byte{'\r'})
}

// matchedFields are the fields of the message that a rule's conditions hold of,
// by their offset.
func (r *run) matchedFields(p *program) []int {
	var out []int
	seen := map[int]bool{}
	for _, list := range [][]term{p.match, p.any} {
		for _, t := range list {
			if t.not || !fieldView(r.s.atoms[t.atom].cond.Subject) {
				continue
			}
			for i := range r.found {
				f := &r.found[i]
				if f.atom == t.atom && f.src != nil && f.src.Of == nil && f.at >= 0 && !seen[f.at] {
					seen[f.at] = true
					out = append(out, f.at)
				}
			}
		}
	}
	return out
}

// fieldsNamed are the fields of the message's own header of a name.
func (r *run) fieldsNamed(name string) []int {
	var out []int
	for _, f := range r.header() {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.start)
		}
	}
	return out
}
