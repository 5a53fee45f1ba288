package rules

import (
	"bytes"
	"slices"
	"strings"

	"garita/message"
	"garita/rules/pattern"
)

// bodyRun is a run of octets of a source.
type bodyRun struct {
	src        *message.Source
	start, end int
	// decoded: what a base64 part of text decodes to; its offsets are of it.
	decoded []byte
	part    *message.Part
}

// body tries the conditions about lines: of the body as it stands in the
// message, and of messages inside that are encoded. The lines of base64 are
// left out; what they decode to is read in their place where it is text.
func (r *run) body(v *view) {
	r.header()
	r.spans = r.spans[:0]
	parts := r.parts()
	var own *message.Source
	if len(parts) > 0 {
		own = parts[0].Source
	}
	r.lines(own, r.in.Raw, r.bodyAt)
	var last *message.Source
	for _, p := range parts {
		// A message inside that was encoded is a source of its own.
		if s := p.Source; p.Origin == message.Enclosed && s != own && s != last {
			last = s
			r.lines(s, s.Data, p.Body)
		}
	}
	for i := range r.spans {
		if r.ctx.Err() != nil {
			return
		}
		s := &r.spans[i]
		if s.decoded != nil {
			r.scan(v, s.decoded, &spot{part: s.part, data: s.decoded, same: true, file: -1})
			continue
		}
		data := r.in.Raw
		if s.src != own {
			data = s.src.Data
		}
		r.scan(v, data[s.start:s.end], &spot{src: s.src, part: s.part, at: s.start, same: true, file: -1})
	}
}

// lines adds the octets of a source from the beginning of its body, without
// base64.
func (r *run) lines(src *message.Source, data []byte, from int) {
	var coded []*message.Part
	for _, p := range r.parts() {
		if p.Source == src && noise(p) {
			coded = append(coded, p)
		}
	}
	slices.SortStableFunc(coded, func(a, b *message.Part) int { return a.Body - b.Body })
	add := func(to int) {
		if to > from {
			r.spans = append(r.spans, bodyRun{src: src, start: from, end: to})
		}
	}
	for _, p := range coded {
		if p.Body < from {
			continue
		}
		add(min(p.Body, len(data)))
		from = min(p.End, len(data))
	}
	add(len(data))
	for _, p := range coded {
		if b := p.Bodies()[0]; textual(p) {
			r.spans = append(r.spans, bodyRun{decoded: b.Data, part: p})
		}
	}
}

// noise tells a part whose lines are base64 and nothing else, for every reader.
func noise(p *message.Part) bool {
	b := p.Bodies()
	return !p.Children && p.Origin != message.Rescued && len(p.Encodings) == 1 && p.Encodings[0] == "base64" &&
		len(b) == 1 && b[0].How == "base64" && len(b[0].Data) > 0
}

func textual(p *message.Part) bool {
	for _, t := range p.Types {
		if strings.HasPrefix(t, "text/") {
			return true
		}
	}
	return len(p.Types) == 0
}

// scan tries all lines of a text. Only lines in which the search finds
// something are looked at, unless a condition cannot be searched for.
func (r *run) scan(v *view, text []byte, p *spot) {
	if len(text) == 0 {
		return
	}
	r.epoch++
	for _, i := range v.exists {
		start, end, _ := lineAt(text, 0)
		r.note(v, i, p, text, start, end)
	}
	if len(v.lists) > 0 || len(v.always) > 0 {
		for start := 0; start < len(text); {
			_, end, next := lineAt(text, start)
			r.line(v, text, start, end, p)
			start = next
		}
	}
	if v.set == nil {
		return
	}
	n := len(v.lits)
	start, end := 0, -1
	r.search(v, text, func(k, at int) {
		var i int32
		if k < n {
			i = v.lits[k].atom
		} else {
			i = v.regs[k-n]
		}
		if r.idle(i) {
			return
		}
		if at < start || at > end {
			start, end, _ = lineAt(text, at)
		}
		if k < n {
			r.lineLiteral(v, &v.lits[k], text, at, start, end, p)
			return
		}
		if r.tried(i, start) {
			return
		}
		r.linePattern(v, i, text, start, end, p, r.s.atoms[i].rest)
	})
}

// tried tells that a pattern was run on the line that begins there, and notes
// that it will have been.
func (r *run) tried(i int32, start int) bool {
	if r.mark[i] == r.epoch && r.lastLine[i] == start {
		return true
	}
	r.mark[i], r.lastLine[i] = r.epoch, start
	return false
}

// line tries what must be tried on every line.
func (r *run) line(v *view, text []byte, start, end int, p *spot) {
	n := len(v.lits)
	for _, k := range v.always {
		if k >= n {
			if i := v.regs[k-n]; !r.idle(i) {
				r.linePattern(v, i, text, start, end, p, nil)
			}
			continue
		}
		l := &v.lits[k]
		if r.idle(l.atom) {
			continue
		}
		for at := start; at < end; at++ {
			if small(text[at]) == l.key[0] {
				r.lineLiteral(v, l, text, at, start, end, p)
			}
		}
	}
	for _, i := range v.lists {
		if r.idle(i) {
			continue
		}
		r.norm = v.mode.text(r.norm[:0], text[start:end])
		if r.s.atoms[i].listed(r.norm) {
			r.note(v, i, p, text, start, end)
		}
	}
}

func (r *run) lineLiteral(v *view, l *literal, text []byte, at, start, end int, p *spot) {
	to := at + len(l.key)
	if at < start || to > end || l.start && at != start || l.end && to != end {
		return
	}
	for k := range len(l.key) {
		if small(text[at+k]) != l.key[k] {
			return
		}
	}
	r.note(v, l.atom, p, text, at, to)
}

func (r *run) linePattern(v *view, i int32, text []byte, start, end int, p *spot, need pattern.Need) {
	line := text[start:end]
	if !need.In(line) {
		return
	}
	ok, known := r.try(i, line)
	switch {
	case !known:
		r.maybe(v, i, p)
	case ok:
		r.note(v, i, p, text, start, end)
	}
}

// lineAt is the line that holds place at: its start, its end without CR and LF,
// and the start of the next.
func lineAt(text []byte, at int) (start, end, next int) {
	start = bytes.LastIndexByte(text[:at], '\n') + 1
	next = len(text)
	end = next
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		end = at + i
		next = end + 1
	}
	if end > start && text[end-1] == '\r' {
		end--
	}
	return start, end, next
}
