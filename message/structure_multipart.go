package message

import (
	"bytes"
	"strings"
)

// multipart finds the parts of a multipart in all readings of its boundary.
func (r *reader) multipart(n *node) {
	p := n.p
	from := p.Body
	for _, e := range n.head.early {
		// A delimiter may stand where others still see the header.
		from = min(from, e)
	}
	r.boundaryDefects(n)
	n.sameBoundary(r)
	empty := len(bytes.TrimSpace(p.Source.Data[from:p.End])) == 0
	if empty {
		if n.kind.multi {
			r.defect(p, "empty-multipart", p.Body, "")
		}
		return
	}
	if r.split(n, from, p.End) {
		if n.encoded {
			r.decodedMultipart(n, true)
		}
		return
	}
	if n.encoded && r.decodedMultipart(n, false) {
		return
	}
	if n.kind.multi || n.kind.misspelt || n.kind.malformed {
		cands := r.guess(n, from, p.End)
		if n.kind.malformed && !n.kind.multi && !n.kind.misspelt {
			cands = withTypes(p.Source.Data[from:p.End], cands)
		}
		if n.blank || n.declared && n.kind.multi && len(n.strong) == 0 {
			cands = append(cands, candidate{})
		}
		if len(cands) > 0 {
			r.match(n, cands, from, p.End)
			if r.follow(n, cands, from, p.End, Rescued) {
				r.defect(p, "boundary-guessed", p.Body, cands[0].text)
				return
			}
		}
	}
	switch {
	case n.kind.multi:
		r.defect(p, "boundary-not-found", p.Body, strings.Join(n.strong, " "))
	case len(n.strong) > 0:
		r.defect(p, "unused-boundary", p.Body, n.strong[0])
	}
}

// boundaryDefects says what is wrong with the declared boundaries themselves.
func (r *reader) boundaryDefects(n *node) {
	if len(n.strong) > 1 {
		r.defect(n.p, "conflicting-boundary", n.p.Start, strings.Join(n.strong, " "))
	}
	for _, b := range n.strong {
		switch {
		case len(b) > longBoundary:
			r.defect(n.p, "boundary-too-long", n.p.Start, b)
		case len(b) > rfcBoundary:
			r.defect(n.p, "long-boundary", n.p.Start, b)
		}
	}
}

// sameBoundary compares the boundaries with those of the multiparts around.
func (n *node) sameBoundary(r *reader) {
	for a := n.parent; a != nil && a.p.Source == n.p.Source; a = a.parent {
		for _, out := range a.active {
			for _, in := range n.strong {
				switch {
				case in == out:
					r.defect(n.p, "nested-same-boundary", n.p.Start, in)
				case out != "" && (strings.HasPrefix(in, out) || strings.HasPrefix(out, in)):
					r.defect(n.p, "boundary-extends-another", n.p.Start, in)
				}
			}
		}
	}
}

// split cuts a multipart at the lines of its declared boundaries.
func (r *reader) split(n *node, from, end int) bool {
	cands := make([]candidate, 0, 4)
	plain := len(n.typeFields) == 1 && len(n.strong) == 1 && !n.oddType && !n.blank
	for _, b := range n.strong {
		cands = append(cands, candidate{text: b, strong: true})
		plain = plain && plainBoundary(b) && strings.Count(strings.ToLower(n.typeFields[0]), "boundary") == 1
	}
	if !plain {
		for _, b := range weakBoundaries(n.strong, n.typeFields) {
			if len(cands) >= maxCandidates {
				r.defect(n.p, "too-many-boundaries", n.p.Start, "")
				break
			}
			cands = append(cands, candidate{text: b})
		}
		if n.blank {
			cands = append(cands, candidate{text: ""})
		}
	}
	if len(cands) == 0 {
		return false
	}
	r.match(n, cands, from, end)
	return r.follow(n, cands, from, end, Child)
}

// follow makes the parts of all candidates that have lines.
func (r *reader) follow(n *node, cands []candidate, from, end int, o Origin) bool {
	p := n.p
	// Origin Child is for what the most likely reading of a real multipart
	// gives: the first declared boundary that has whole lines.
	var use []*candidate
	for i := range cands {
		c := &cands[i]
		if len(c.cuts) == 0 && len(c.loose) > 0 {
			// Lines that go on behind the boundary are all there is.
			c.cuts, c.loose = c.loose, nil
			r.defect(p, "delimiter-junk", c.cuts[0].at, c.text)
		}
		if len(c.cuts) == 0 {
			continue
		}
		same := false
		for _, u := range use {
			same = same || sameCuts(u.cuts, c.cuts)
		}
		if same {
			continue
		}
		if len(use) >= r.l.Boundaries {
			r.defect(p, "too-many-boundaries", p.Start, "")
			break
		}
		use = append(use, c)
	}
	if len(use) == 0 {
		return false
	}
	if !n.kind.multi {
		o = Rescued
		switch {
		case n.kind.misspelt:
			r.defect(p, "misspelt-multipart", p.Start, strings.Join(p.Types, " "))
		case n.kind.malformed:
			r.defect(p, "malformed-type", p.Start, strings.Join(p.Types, " "))
		default:
			r.defect(p, "boundary-on-leaf", p.Start, use[0].text)
		}
	}
	if use[0] != &cands[0] || !cands[0].strong && o == Child {
		r.defect(p, "boundary-variant", p.Start, use[0].text)
	}
	if len(use) > 1 {
		r.defect(p, "several-boundaries", p.Start, use[1].text)
	}
	for _, c := range use {
		n.active = append(n.active, c.text)
		p.boundaries = n.active
	}
	r.children(n, use[0], from, end, o)
	for i, c := range use {
		if i > 0 {
			if !r.view(p) {
				break
			}
			r.children(n, c, from, end, Rescued)
		}
		r.looseLines(n, c, from, end)
	}
	return true
}

// children makes the parts between the lines of one boundary.
func (r *reader) children(n *node, c *candidate, from, end int, o Origin) {
	p, data := n.p, n.p.Source.Data
	cuts := c.cuts
	if cuts[0].at > from {
		before := beforeCut(data, cuts[0].at, from)
		r.outside(n, from, before, Preamble)
		r.midLine(n, from, before, c.text)
	}
	ended, repeated := false, false
	for i := range cuts {
		start, stop, last := cuts[i].next, end, i == len(cuts)-1
		if !last {
			stop = max(start, beforeCut(data, cuts[i+1].at, start))
		}
		ended = ended || cuts[i].kind == closing
		if last && cuts[i].kind == closing && !repeated {
			r.outside(n, start, end, Epilogue)
			break
		}
		blank := ended && len(bytes.TrimSpace(data[start:stop])) == 0
		if blank || last && start >= end {
			repeated = repeated || ended && !last && cuts[i].kind == closing
			if ended && !last {
				r.defect(p, "repeated-end", cuts[i].at, "")
			}
			continue
		}
		origin := o
		if ended {
			repeated = true
			origin = Rescued
			if cuts[i].kind == closing && last {
				r.outside(n, start, end, Epilogue)
				break
			}
			r.defect(p, "parts-after-end", cuts[i].at, "")
		}
		if r.full() {
			r.rest(n, start, end)
			return
		}
		k := r.entity(n, p.Source, start, stop, origin, nil)
		if k != nil && !last {
			r.cutHeader(n, k, cuts, i, end)
		}
	}
	if c.full {
		r.rest(n, cuts[len(cuts)-1].next, end)
	}
	if !ended {
		r.defect(p, "no-closing-boundary", end, "")
		r.beyond(n, c, end)
	}
}

// rest makes one raw part of what is not taken apart.
func (r *reader) rest(n *node, start, end int) {
	r.defect(n.p, "too-many-parts", start, "")
	if start >= end || r.known(n.p.Source, start, end) {
		return
	}
	k := r.add(n, n.p.Source, start, end, Rescued)
	k.p.bodies = []Body{{How: "7bit", Data: k.p.Raw()}}
}

// cutHeader handles a part whose header is cut by the next delimiter: for some
// readers a line in a header is no delimiter (attacks E-24).
func (r *reader) cutHeader(n, k *node, cuts []cut, i, end int) {
	if k.head.ended || k.head.junk >= 0 || len(k.head.mime) == 0 {
		return
	}
	r.defect(n.p, "delimiter-in-header", cuts[i+1].at, "")
	if !r.view(n.p) {
		return
	}
	stop := end
	if i+2 < len(cuts) {
		stop = max(cuts[i+1].next, beforeCut(n.p.Source.Data, cuts[i+2].at, cuts[i+1].next))
	}
	r.entity(n, n.p.Source, k.p.Start, stop, Rescued, nil)
}

// outside handles what stands before the first and behind the last boundary.
func (r *reader) outside(n *node, start, stop int, o Origin) {
	data := n.p.Source.Data
	if start >= stop || len(bytes.TrimSpace(data[start:stop])) == 0 {
		return
	}
	first := bytes.TrimLeft(data[start:stop], "\r\n")
	if name, _, _ := mimeName(first[:min(len(first), 80)]); name != "" && name != "content-id" || fieldsWithin(data[start:stop]) {
		r.defect(n.p, "part-outside-boundaries", start, "")
		r.entity(n, n.p.Source, start, stop, Rescued, nil)
		return
	}
	if r.known(n.p.Source, start, stop) {
		return
	}
	if r.full() {
		r.rest(n, start, stop)
		return
	}
	k := r.add(n, n.p.Source, start, stop, o)
	r.leaf(k, true, true)
}

// midLine looks for a delimiter inside a line before the first one: a reader
// that searches for the first delimiter does not mind where it stands.
func (r *reader) midLine(n *node, from, stop int, boundary string) {
	if boundary == "" || from >= stop {
		return
	}
	i := bytes.Index(n.p.Source.Data[from:stop], []byte("--"+boundary))
	if i < 0 || i == 0 || isLineEnd(n.p.Source.Data[from+i-1]) {
		return // those at the beginning of a line are loose lines
	}
	r.defect(n.p, "delimiter-junk", from+i, boundary)
	if r.view(n.p) {
		r.entity(n, n.p.Source, from+i+2+len(boundary), stop, Rescued, nil)
	}
}

func isLineEnd(c byte) bool { return c == '\n' || c == '\r' }

// looseLines follows the reading in which lines that only begin with the
// boundary count too (RFC 2046 5.1.1 allows it), unless they belong to a longer
// boundary inside.
func (r *reader) looseLines(n *node, c *candidate, from, end int) {
	if len(c.loose) == 0 {
		return
	}
	data := n.p.Source.Data
	foreign := false
	longer := r.longerBoundaries(n, c.text)
	for _, l := range c.loose {
		known := false
		for _, b := range longer {
			k, ok := matchCut(data, l.at, end, b)
			known = known || ok && k.kind != loose
		}
		foreign = foreign || !known
	}
	if !foreign {
		r.defect(n.p, "boundary-extends-another", c.loose[0].at, c.text)
		return
	}
	r.defect(n.p, "delimiter-junk", c.loose[0].at, c.text)
	if !r.view(n.p) {
		return
	}
	both := candidate{text: c.text, cuts: make([]cut, 0, len(c.cuts)+len(c.loose))}
	i, j := 0, 0
	for i < len(c.cuts) || j < len(c.loose) {
		if j == len(c.loose) || i < len(c.cuts) && c.cuts[i].at < c.loose[j].at {
			both.cuts = append(both.cuts, c.cuts[i])
			i++
		} else {
			both.cuts = append(both.cuts, c.loose[j])
			j++
		}
	}
	r.children(n, &both, from, end, Rescued)
}

// longerBoundaries gives the boundaries in use inside a part that begin with
// the given one.
func (r *reader) longerBoundaries(n *node, b string) []string {
	var out []string
	for i := len(r.x.Parts) - 1; i >= 0 && len(out) < maxCandidates; i-- {
		p := r.x.Parts[i]
		if p == n.p {
			break
		}
		for _, t := range p.boundaries {
			if len(t) > len(b) && strings.HasPrefix(t, b) {
				out = addUnbounded(out, t)
			}
		}
	}
	return out
}

// beyond follows an unclosed inner multipart behind the end that the outer
// boundary gives it (attacks E-24: the outer boundary inside a base64 body).
func (r *reader) beyond(n *node, c *candidate, end int) {
	limit := len(n.p.Source.Data)
	if end >= limit || n.parent == nil || n.parent.p.Source != n.p.Source {
		return
	}
	behind := []candidate{{text: c.text, strong: false}}
	r.match(n, behind, end, limit)
	cuts := behind[0].cuts
	// Lines of a multipart around with the same boundary are its own.
	for a := n.parent; a != nil && a.p.Source == n.p.Source; a = a.parent {
		for _, out := range a.active {
			if out == c.text {
				return
			}
		}
	}
	if len(cuts) == 0 {
		return
	}
	r.defect(n.p, "inner-beyond-outer", cuts[0].at, c.text)
	if !r.view(n.p) {
		return
	}
	start := c.cuts[len(c.cuts)-1].next
	for _, k := range cuts {
		stop := max(start, beforeCut(n.p.Source.Data, k.at, start))
		if r.full() {
			r.rest(n, start, stop)
			return
		}
		r.entity(n, n.p.Source, start, stop, Rescued, nil)
		if start = k.next; k.kind == closing {
			return
		}
	}
}

// withTypes keeps the guesses whose first line is followed by a MIME field:
// for a part without a usable type, dashes alone say nothing.
func withTypes(body []byte, cands []candidate) []candidate {
	kept := cands[:0]
	for _, c := range cands {
		i := bytes.Index(body, []byte("--"+c.text))
		if i < 0 {
			continue
		}
		rest := body[i:]
		lf := bytes.IndexByte(rest, '\n')
		if lf < 0 {
			continue
		}
		rest = rest[lf+1:]
		if name, _, _ := mimeName(rest[:min(len(rest), 80)]); name != "" {
			kept = append(kept, c)
		}
	}
	return kept
}
