package rules

import (
	"bytes"

	"garita/rules/pattern"
)

// text tries the conditions about text on one text, which may be large.
//
// ASCII text is not folded: the rarest word of each phrase is looked for as it
// is, and the phrase is compared about it, blank by blank. Other text is folded
// once, to a buffer that is kept.
func (r *run) text(v *view, text []byte, p *spot) {
	w := &textRun{run: r, v: v, raw: text, p: p}
	if seven := ascii(text); !seven && v.norm {
		w.norm = v.mode.text(r.norm[:0], text)
		r.norm = w.norm
		w.folded = true
	} else {
		w.seven = seven
	}
	r.epoch++
	if len(v.exists) > 0 && len(bytes.TrimSpace(text)) > 0 {
		for _, i := range v.exists {
			r.note(v, i, p, text, 0, min(len(text), excerptOctets))
		}
	}
	for _, i := range v.lists {
		if r.s.atoms[i].listed(w.normal()) {
			r.note(v, i, p, text, 0, len(text))
		}
	}
	if v.set == nil {
		return
	}
	for _, k := range v.always {
		w.always(k)
	}
	if w.seven {
		v.set.Candidates(text, w.candidate)
	} else {
		if v.norm {
			v.set.Candidates(w.norm, w.candidateFolded)
		}
		if v.plain {
			v.set.Candidates(text, w.candidatePlain)
		}
	}
}

// textRun is the work on one text.
type textRun struct {
	*run
	v      *view
	raw    []byte
	norm   []byte
	p      *spot
	folded bool // norm is there
	seven  bool // raw is ASCII
}

// normal is the folded text, made when it is asked for.
func (w *textRun) normal() []byte {
	if !w.folded {
		w.norm = w.v.mode.text(w.run.norm[:0], w.raw)
		w.run.norm, w.folded = w.norm, true
	}
	return w.norm
}

// idle tells that a condition need not be tried: it holds already, or no rule
// waits for it.
func (r *run) idle(i int32) bool { return r.state[i] == yes || !r.wanted[i] }

func (w *textRun) always(k int) {
	if n := len(w.v.lits); k >= n {
		w.pattern(w.v.regs[k-n], true)
		return
	}
	if l := &w.v.lits[k]; !w.idle(l.atom) {
		w.verbatim(l)
	}
}

// verbatim looks for a phrase in the whole folded text.
func (w *textRun) verbatim(l *literal) {
	norm := w.normal()
	at := bytes.Index(norm, []byte(l.key))
	switch {
	case l.start && !hasPrefix(norm, l.key), l.end && !hasSuffix(norm, l.key), l.start && l.end && len(norm) != len(l.key), at < 0:
		return
	case l.end && !l.start:
		at = len(norm) - len(l.key)
	}
	w.noteFolded(l, at)
}

// candidate is told of words in ASCII text.
func (w *textRun) candidate(k, at int) {
	n := len(w.v.lits)
	if k >= n {
		w.pattern(w.v.regs[k-n], false)
		return
	}
	l := &w.v.lits[k]
	if w.idle(l.atom) {
		return
	}
	from, to, ok := phrase(w.raw, at, l)
	if ok {
		w.note(w.v, l.atom, w.p, w.raw, from, to)
	}
}

// candidateFolded is told of words in folded text.
func (w *textRun) candidateFolded(k, at int) {
	n := len(w.v.lits)
	if k >= n {
		if i := w.v.regs[k-n]; w.s.atoms[i].over {
			w.pattern(i, false)
		}
		return
	}
	l := &w.v.lits[k]
	from := at - l.at
	if w.idle(l.atom) || from < 0 || !hasPrefix(w.norm[from:], l.key) || l.start && from != 0 || l.end && from+len(l.key) != len(w.norm) {
		return
	}
	w.noteFolded(l, from)
}

func (w *textRun) candidatePlain(k, _ int) {
	if n := len(w.v.lits); k >= n && !w.s.atoms[w.v.regs[k-n]].over {
		w.pattern(w.v.regs[k-n], false)
	}
}

// noteFolded keeps a hit in folded text, whose place in the text is not known.
func (w *textRun) noteFolded(l *literal, at int) {
	p := *w.p
	p.same = false
	w.note(w.v, l.atom, &p, w.norm, at, at+len(l.key))
	if last := len(w.found) - 1; last >= 0 && w.found[last].atom == l.atom {
		w.found[last].at = -1
	}
}

// pattern runs a pattern over the text, once.
func (w *textRun) pattern(i int32, all bool) {
	if w.mark[i] == w.epoch || w.idle(i) {
		return
	}
	w.mark[i] = w.epoch
	a := w.s.atoms[i]
	text := w.raw
	if a.over {
		text = w.normal()
	} else if all && a.cond.Pattern != nil && !pattern.Required(a.cond.Pattern).In(text) || !all && !a.rest.In(text) {
		return
	}
	ok, known := w.try(i, text)
	switch {
	case !known:
		w.maybe(w.v, i, w.p)
	case ok:
		from, to := w.span(i, text)
		p := *w.p
		p.same = p.same && !a.over
		w.note(w.v, i, &p, text, from, to)
	}
}

// phrase compares a phrase with ASCII text, its word being at a place: letters
// without their case, a blank with any run of white space.
func phrase(text []byte, at int, l *literal) (from, to int, ok bool) {
	to = at
	for k := l.at; k < len(l.key); k++ {
		if l.key[k] == ' ' {
			start := to
			for to < len(text) && blank(text[to]) {
				to++
			}
			if to == start {
				return 0, 0, false
			}
			continue
		}
		if to == len(text) || small(text[to]) != l.key[k] {
			return 0, 0, false
		}
		to++
	}
	from = at
	for k := l.at - 1; k >= 0; k-- {
		if l.key[k] == ' ' {
			start := from
			for from > 0 && blank(text[from-1]) {
				from--
			}
			if from == start {
				return 0, 0, false
			}
			continue
		}
		if from == 0 || small(text[from-1]) != l.key[k] {
			return 0, 0, false
		}
		from--
	}
	if l.start && !blankOnly(text[:from]) || l.end && !blankOnly(text[to:]) {
		return 0, 0, false
	}
	return from, to, true
}

func small(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func blankOnly(text []byte) bool {
	for _, c := range text {
		if !blank(c) {
			return false
		}
	}
	return true
}
