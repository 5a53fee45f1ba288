package rules

import (
	"bytes"
	"net/netip"
	"time"
	"unicode/utf8"

	"garita/message"
	"garita/rules/pattern"
)

// spot says where a text comes from that conditions look at.
type spot struct {
	part *message.Part
	// src and at are the source and the offset of the text; src nil: it has
	// none. same: offsets in the text are offsets in the source.
	src  *message.Source
	at   int
	same bool
	// data is the whole decoded text that at counts in where src is nil.
	data []byte
	lost bool // where in the text nobody knows
	file int  // number of the part, of conditions about attachments
	// there: an empty text exists, too (a header field).
	there bool
	text  []byte
}

// found is a place where a condition holds. What is dear to know of it is made
// when its rule hits.
type found struct {
	atom int32
	file int
	part *message.Part
	src  *message.Source
	at   int // offset in src; -1 for none
	// line and column in decoded text: it does not outlive its reading.
	line, column int
	excerpt      []byte
}

// note keeps that a condition holds of text[from:to].
func (r *run) note(v *view, i int32, p *spot, text []byte, from, to int) {
	if perFile(v.subject) {
		r.files[i].yes[p.file/64] |= 1 << (p.file % 64)
	} else {
		r.state[i] = yes
	}
	// Of fields all are kept: they may be changed.
	if r.placed[i] >= MaxPlaces && !fieldView(v.subject) {
		return
	}
	r.placed[i] = min(r.placed[i]+1, MaxPlaces)
	f := found{atom: i, file: p.file, part: p.part, src: p.src, at: -1}
	at := p.at
	if p.same {
		at += from
	}
	switch {
	case p.lost:
	case p.src != nil:
		f.at = at
	case p.data != nil:
		f.line, f.column = r.line0(p.data, at)
	}
	if n := len(r.found); n > 0 {
		// Two readings of one place, or two values.
		if last := &r.found[n-1]; last.atom == i && last.file == f.file && last.part == f.part && last.at == f.at && f.at >= 0 {
			return
		}
	}
	if text != nil {
		f.excerpt = excerpt(text, from, to)
	}
	r.found = append(r.found, f)
}

func fieldView(s Subject) bool { return s >= SubjectText && s <= RawAnyHeader }

// maybe keeps that a condition was given up.
func (r *run) maybe(v *view, i int32, p *spot) {
	if perFile(v.subject) {
		r.files[i].unknown[p.file/64] |= 1 << (p.file % 64)
	} else {
		r.doubtful(i)
	}
}

// feed tries the conditions of a view on one short text.
func (r *run) feed(v *view, text []byte, p *spot) {
	if len(text) > 0 || p.there {
		for _, i := range v.exists {
			r.note(v, i, p, text, 0, len(text))
		}
	}
	r.epoch++
	var norm []byte
	if v.norm {
		norm = v.mode.text(r.norm[:0], text)
		r.norm = norm
	}
	for _, i := range v.is[string(norm)] {
		r.note(v, i, p, text, 0, len(text))
	}
	for _, i := range v.lists {
		if r.s.atoms[i].listed(norm) {
			r.note(v, i, p, text, 0, len(text))
		}
	}
	if v.set == nil {
		for k := range v.lits {
			r.literal(v, &v.lits[k], norm, text, p)
		}
		for _, i := range v.regs {
			r.pattern(v, i, text, norm, p, true)
		}
		return
	}
	r.candidates(v, text, norm, p)
}

// candidates tries those conditions of a large view that the search tells.
func (r *run) candidates(v *view, text, norm []byte, p *spot) {
	n := len(v.lits)
	for _, k := range v.always {
		if k < n {
			r.literal(v, &v.lits[k], norm, text, p)
		} else {
			r.pattern(v, v.regs[k-n], text, norm, p, true)
		}
	}
	if v.norm {
		r.search(v, norm, func(k, at int) {
			switch {
			case k < n:
				r.literalAt(v, &v.lits[k], norm, text, at, p)
			case r.s.atoms[v.regs[k-n]].over:
				r.pattern(v, v.regs[k-n], text, norm, p, false)
			}
		})
	}
	if v.plain {
		r.search(v, text, func(k, _ int) {
			if k >= n && !r.s.atoms[v.regs[k-n]].over {
				r.pattern(v, v.regs[k-n], text, norm, p, false)
			}
		})
	}
}

// The work of all searches in one message: some comparisons for each octet,
// and what many small texts need.
const (
	searchWork      = 256 << 20
	searchWorkOctet = 16
)

// search looks for what the conditions of a view need. Where it takes too much
// work, as only a text does that was made of what thousands of rules begin
// with, what it was to find is unknown (attack R-02).
func (r *run) search(v *view, text []byte, hit func(k, at int)) {
	if !v.set.CandidatesWithin(&r.work, text, hit) {
		r.doubt(v)
	}
}

// literalAt tries a value whose word is at a place of a text in normal form.
func (r *run) literalAt(v *view, l *literal, norm, text []byte, at int, p *spot) {
	from := at - l.at
	switch {
	case r.mark[l.atom] == r.epoch, from < 0, !hasPrefix(norm[max(from, 0):], l.key):
		return
	case l.start && from != 0, l.end && from+len(l.key) != len(norm):
		return
	}
	r.mark[l.atom] = r.epoch
	r.note(v, l.atom, p, text, 0, len(text))
}

// literal tries one value on a text in normal form.
func (r *run) literal(v *view, l *literal, norm, text []byte, p *spot) {
	switch {
	case r.mark[l.atom] == r.epoch:
		return
	case l.start && !hasPrefix(norm, l.key), l.end && !hasSuffix(norm, l.key), l.start && l.end && len(norm) != len(l.key):
		return
	case !l.start && !l.end && bytes.Index(norm, []byte(l.key)) < 0:
		return
	}
	r.mark[l.atom] = r.epoch
	r.note(v, l.atom, p, text, 0, len(text))
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
func hasSuffix(b []byte, s string) bool { return len(b) >= len(s) && string(b[len(b)-len(s):]) == s }

// pattern runs one pattern over a text, once, if the text has what it needs.
func (r *run) pattern(v *view, i int32, text, norm []byte, p *spot, all bool) {
	if r.mark[i] == r.epoch {
		return
	}
	r.mark[i] = r.epoch
	a := r.s.atoms[i]
	where := text
	if a.over {
		where = norm
	}
	if all && a.cond.Pattern != nil && !pattern.Required(a.cond.Pattern).In(where) || !all && !a.over && !a.rest.In(text) {
		return
	}
	ok, known := r.try(i, where)
	switch {
	case !known:
		r.maybe(v, i, p)
	case ok:
		from, to := 0, len(text)
		if !a.over {
			from, to = r.span(i, text)
		}
		r.note(v, i, p, text, from, to)
	}
}

// maxBacktrack is the longest text that a pattern that backtracks is tried on:
// it takes four octets for each, and its time would not do (attack R-03).
const maxBacktrack = 4 << 20

// try runs a pattern. known is false when it was given up, over its budget, or
// because it panicked (attacks ).
func (r *run) try(i int32, text []byte) (ok, known bool) {
	defer func() {
		if recover() != nil {
			ok, known = false, false
		}
	}()
	pat := r.s.atoms[i].cond.Pattern
	if !pat.Linear() && len(text) > maxBacktrack || r.ctx.Err() != nil {
		return false, false
	}
	if r.o.Tell != nil {
		start := time.Now()
		defer func() { r.took[i] += time.Since(start) }()
	}
	ok, err := pat.Match(text, r.b)
	return ok, err == nil
}

// span is where a pattern that matches does, when that is cheap to know.
func (r *run) span(i int32, text []byte) (from, to int) {
	pat := r.s.atoms[i].cond.Pattern
	if !pat.Linear() || len(text) > keep {
		return 0, len(text)
	}
	at, err := pat.Find(nil, text, r.b)
	if err != nil || len(at) < 2 {
		return 0, len(text)
	}
	return clamp(at[0], len(text)), clamp(at[1], len(text))
}

func clamp(n, most int) int { return max(0, min(n, most)) }

// number tries the comparisons of a view.
func (r *run) number(v *view, n int64, p *spot) {
	for _, i := range v.numbers {
		a, ok := r.s.atoms[i], false
		switch a.op {
		case More:
			ok = n > a.cond.Number
		case AtLeast:
			ok = n >= a.cond.Number
		case Less:
			ok = n < a.cond.Number
		case AtMost:
			ok = n <= a.cond.Number
		case Equals:
			ok = n == a.cond.Number
		}
		if ok {
			r.note(v, i, p, nil, 0, 0)
		}
	}
	if n > 0 {
		for _, i := range v.exists {
			r.note(v, i, p, nil, 0, 0)
		}
	}
}

// address tries the networks of a view.
func (r *run) address(v *view, a netip.Addr, p *spot) {
	for _, i := range v.nets {
		if r.s.atoms[i].nets.has(a) {
			s := a.Unmap().String()
			r.note(v, i, p, []byte(s), 0, len(s))
		}
	}
}

// excerptOctets bounds an excerpt.
const excerptOctets = 120

// excerpt copies what is about text[from:to].
func excerpt(text []byte, from, to int) []byte {
	room := excerptOctets - (to - from)
	start, end := from, min(to, from+excerptOctets)
	if room > 0 {
		start = max(0, from-room/2)
		end = min(len(text), start+excerptOctets)
	}
	for start < from && !utf8.RuneStart(text[start]) {
		start++
	}
	for end < len(text) && end > start && !utf8.RuneStart(text[end]) {
		end--
	}
	return bytes.Clone(text[start:end])
}
