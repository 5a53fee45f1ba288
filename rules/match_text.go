package rules

import (
	"bytes"
	"encoding/binary"
	"sort"
	"unicode/utf8"

	"garita/rules/fold"
	"garita/rules/pattern"
)

// text tries the conditions about text on one text, which may be large.
//
// Most text is not folded: the rarest word of each phrase is looked for as it
// is, and the phrase is compared about it, blank by blank. Words that have more
// than plain ASCII in them are folded by themselves to a buffer and looked
// through there; what is found there, or about such a word, is compared with a
// folded piece of the text. Only text that is mostly of such words (Greek,
// Chinese), and text that makes us compare too often, is folded as a whole.
func (r *run) text(v *view, text []byte, p *spot) {
	w := &r.textRun
	*w = textRun{run: r, v: v, raw: text, p: p, seven: true}
	defer func() { *w = textRun{} }()
	if v.norm {
		w.zones()
	}
	r.epoch++
	if len(v.exists) > 0 && len(bytes.TrimSpace(text)) > 0 {
		for _, i := range v.exists {
			r.note(v, i, p, text, 0, min(len(text), excerptOctets))
		}
	}
	for _, i := range v.lists {
		if !r.idle(i) && r.s.atoms[i].listed(w.normal()) {
			r.note(v, i, p, text, 0, len(text))
		}
	}
	if v.set == nil {
		return
	}
	for _, k := range v.always {
		w.always(k)
	}
	if !w.whole {
		r.search(v, text, w.candidate)
		if len(r.zone) > 0 && !w.whole {
			r.search(v, r.zone, w.candidateZone)
		}
		if !w.whole {
			return
		}
	} else if v.plain {
		r.search(v, text, w.candidatePlain)
	}
	r.search(v, w.normal(), w.candidateFolded)
}

// zones folds the words that have more than plain ASCII in them, one behind
// another.
func (w *textRun) zones() {
	r, text := w.run, w.raw
	r.zone, r.zoneAt = r.zone[:0], r.zoneAt[:0]
	for i := odd(text, 0); i < len(text); {
		w.seven = false
		start, end := i, i+1
		for start > 0 && !blank(text[start-1]) {
			start--
		}
		for end < len(text) && !blank(text[end]) {
			end++
		}
		if w.spent += end - start; w.spent > len(text)/2+64 {
			w.whole = true
			return
		}
		r.zoneAt = append(r.zoneAt, pageRun{len(r.zone), start})
		if r.zone = append(fold.Word(r.zone, text[start:end]), ' '); len(r.zone) > foldTimes*len(text)+foldOctets {
			w.whole = true
			return
		}
		i = odd(text, end)
	}
	w.spent = 0
}

// odd is the next place of what folding does more to than change its case:
// what is not ASCII, and controls. The end if there is none.
func odd(text []byte, i int) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		if w&high == 0 {
			// With all high bits clear, adding to each octet carries nowhere.
			below20, below0E, below09 := ^(w + (0x80-0x20)*each), ^(w + (0x80-0x0E)*each), ^(w + (0x80-0x09)*each)
			if (below20&^(below0E&^below09)|(w+each))&high == 0 {
				continue
			}
		}
		for k := range 8 {
			if oddOctet(text[i+k]) {
				return i + k
			}
		}
	}
	for ; i < len(text); i++ {
		if oddOctet(text[i]) {
			return i
		}
	}
	return len(text)
}

func oddOctet(c byte) bool { return c >= 0x7f || c < ' ' && !blank(c) }

// textRun is the work on one text.
type textRun struct {
	*run
	v      *view
	raw    []byte
	norm   []byte
	p      *spot
	folded bool // norm is there
	seven  bool // raw is plain ASCII
	whole  bool // the whole text is folded and looked through
	spent  int  // octets that were folded to compare
}

// What folding may make of a text: no more than this many times its octets,
// and of a short one as much as it may be. There are letters that become eleven
// times as long, and text of nothing else is none of people (attack R-10).
const (
	foldTimes  = 3
	foldOctets = 1 << 20
	foldPiece  = 256 << 10
)

// normal is the folded text, made when it is asked for. Where it grows beyond
// the bound, what is asked of the text is unknown.
func (w *textRun) normal() []byte {
	if w.folded {
		return w.norm
	}
	w.folded = true
	most := foldTimes*len(w.raw) + foldOctets
	if w.seven || w.v.mode != folded || 11*len(w.raw) <= most {
		w.norm = w.v.mode.text(w.run.norm[:0], w.raw)
		w.run.norm = w.norm
		return w.norm
	}
	w.norm = w.run.norm[:0]
	for rest := w.raw; len(rest) > 0; {
		n := pieceEnd(rest, foldPiece)
		w.norm, rest = fold.Text(w.norm, rest[:n]), rest[n:]
		if len(w.norm) > most {
			w.doubt(w.v)
			break
		}
	}
	w.run.norm = w.norm
	w.norm = bytes.Trim(w.norm, " ")
	return w.norm
}

// pieceEnd is where a text can be cut, at or behind a place, so that its pieces
// fold as the whole does: not within a character, and not before a letter of
// Hangul, which goes to the syllable before it.
func pieceEnd(text []byte, at int) int {
	for ; at < len(text); at++ {
		if !utf8.RuneStart(text[at]) {
			continue
		}
		r, _ := utf8.DecodeRune(text[at:])
		if !(r >= 0x1100 && r < 0x1200 || r >= 0x3130 && r < 0x3190 || r >= 0xFFA0 && r < 0xFFE0) {
			break
		}
	}
	return min(at, len(text))
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

// candidate is told of words in the text as it is.
func (w *textRun) candidate(k, at int) {
	n := len(w.v.lits)
	if k >= n {
		w.about(w.v.regs[k-n], at)
		return
	}
	l := &w.v.lits[k]
	if w.idle(l.atom) || w.whole {
		return
	}
	from, to, t := phrase(w.raw, at, l)
	switch {
	case t == yes:
		w.note(w.v, l.atom, w.p, w.raw, from, to)
	case t == unknown:
		w.compare(l, at, at+len(l.word))
	}
}

// candidateZone is told of words in the folded ones.
func (w *textRun) candidateZone(k, at int) {
	n := len(w.v.lits)
	if k >= n {
		if i := w.v.regs[k-n]; w.s.atoms[i].over {
			w.pattern(i, false)
		}
		return
	}
	l := &w.v.lits[k]
	if w.idle(l.atom) || w.whole {
		return
	}
	z := sort.Search(len(w.zoneAt), func(i int) bool { return w.zoneAt[i].text > at }) - 1
	from := w.zoneAt[z].page
	to := from + 1
	for to < len(w.raw) && !blank(w.raw[to]) {
		to++
	}
	w.compare(l, from, to)
}

// compare looks for a phrase in a folded piece of the text about text[from:to],
// where its word is. The piece grows until it holds the phrase for sure, so that
// it is no matter how much white space, or what is not seen, stands in it.
func (w *textRun) compare(l *literal, from, to int) {
	if l.start || l.end {
		w.whole = true
		return
	}
	for grow := 2*len(l.key) + 32; ; grow *= 4 {
		a, b := max(0, from-grow), min(len(w.raw), to+grow)
		// A piece begins and ends beside ASCII: a letter may be of several
		// characters.
		for a > 0 && (w.raw[a] >= 0x80 || w.raw[a-1] >= 0x80) {
			a--
		}
		for b < len(w.raw) && (w.raw[b] >= 0x80 || w.raw[b-1] >= 0x80) {
			b++
		}
		if w.spent += b - a; w.spent > 4*len(w.raw)+4096 {
			w.whole = true
			return
		}
		buf := fold.Text(w.win[:0], w.raw[a:from])
		left := len(buf)
		buf = fold.Text(buf, w.raw[from:to])
		middle := len(buf)
		buf = fold.Text(buf, w.raw[to:b])
		w.win = buf
		if bytes.Contains(buf, []byte(l.key)) {
			w.note(w.v, l.atom, w.p, w.raw, from, to)
			return
		}
		if (a == 0 || left > len(l.key)) && (b == len(w.raw) || len(buf)-middle > len(l.key)) {
			return
		}
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

func (w *textRun) candidatePlain(k, at int) {
	if n := len(w.v.lits); k >= n && !w.s.atoms[w.v.regs[k-n]].over {
		w.about(w.v.regs[k-n], at)
	}
}

// about runs a pattern over as much of the text about its literal as a match
// can reach. Where it matches there by the grace of the cut (a ^ or \b at its
// ends), the whole text decides; and so it does when the pieces become more than
// the text.
func (w *textRun) about(i int32, at int) {
	a := w.s.atoms[i]
	if !a.near || w.raw == nil || w.mark[i] == w.epoch || w.idle(i) {
		w.pattern(i, false)
		return
	}
	from, to := w.piece(a, at)
	if w.nearEpoch[i] != w.epoch {
		w.nearEpoch[i], w.nearTo[i], w.nearSpent[i] = w.epoch, -1, 0
	}
	if to <= w.nearTo[i] {
		return // candidates come in order: the piece before had it
	}
	w.nearTo[i] = to
	if w.nearSpent[i] += to - from; w.nearSpent[i] > 2*len(w.raw) {
		w.pattern(i, false)
		return
	}
	ok, known := w.try(i, w.raw[from:to])
	switch {
	case known && !ok:
		return
	case !known || !a.reach.Alone:
		w.pattern(i, false)
		return
	}
	w.mark[i] = w.epoch
	f, t := w.span(i, w.raw[from:to])
	w.note(w.v, i, w.p, w.raw, from+f, from+t)
}

// piece is the line about a place, or as much as a match may have, and a little
// more.
func (w *textRun) piece(a *atom, at int) (from, to int) {
	const edge = 8
	if a.reach.Max >= 0 {
		from, to = max(0, at-a.reach.Max-edge), min(len(w.raw), at+a.reach.Max+edge)
		for from > 0 && !utf8.RuneStart(w.raw[from]) {
			from--
		}
		for to < len(w.raw) && !utf8.RuneStart(w.raw[to]) {
			to++
		}
		return from, to
	}
	from = max(0, bytes.LastIndexByte(w.raw[:at], '\n'))
	to = len(w.raw)
	if n := bytes.IndexByte(w.raw[at:], '\n'); n >= 0 {
		to = at + n + 1
	}
	return from, to
}

// noteFolded keeps a hit in folded text, whose place in the text is not known.
func (w *textRun) noteFolded(l *literal, at int) {
	p := *w.p
	p.lost = true
	w.note(w.v, l.atom, &p, w.norm, at, at+len(l.key))
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
		p.lost = a.over
		w.note(w.v, i, &p, text, from, to)
	}
}

// phrase compares a phrase with text, its word being at a place: letters
// without their case, a blank with any run of white space. It is unknown where
// more than ASCII stands in the way.
func phrase(text []byte, at int, l *literal) (from, to int, t truth) {
	to = at
	for k := l.at; k < len(l.key); k++ {
		start := to
		if l.key[k] == ' ' {
			for to < len(text) && blank(text[to]) {
				to++
			}
		} else if to < len(text) && small(text[to]) == l.key[k] {
			to++
		}
		if to == start {
			return 0, 0, stopped(text, to)
		}
	}
	from = at
	for k := l.at - 1; k >= 0; k-- {
		end := from
		if l.key[k] == ' ' {
			for from > 0 && blank(text[from-1]) {
				from--
			}
		} else if from > 0 && small(text[from-1]) == l.key[k] {
			from--
		}
		if from == end {
			return 0, 0, stopped(text, from-1)
		}
	}
	switch {
	case !l.start && !l.end:
		return from, to, yes
	case odd(text, 0) < len(text):
		return 0, 0, unknown
	case l.start && !blankOnly(text[:from]) || l.end && !blankOnly(text[to:]):
		return 0, 0, no
	}
	return from, to, yes
}

// stopped is what a comparison says that ended at a place.
func stopped(text []byte, at int) truth {
	if at >= 0 && at < len(text) && oddOctet(text[at]) {
		return unknown
	}
	return no
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
