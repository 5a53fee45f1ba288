package filters

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"

	"garita/mail"
	"garita/message"
)

// SymbolLeftOut is the finding of the engine about edits that it did not make.
const SymbolLeftOut = "edits.left-out"

// places are the edits of a message by where they lie.
type places struct {
	header, body []message.Edit
	leftOut      int
}

// placed sorts what checks want to change out: what lies in the header is an
// edit of the header, what lies behind it one of the body, whatever list it
// came in, because a body that was changed is judged again. Nothing here is
// worth deferring mail for, since it would be deferred for ever: what cannot be
// made is left out and counted.
func placed(m *message.Message, header, body []message.Edit) (p places) {
	size, end := int64(math.MaxInt64), int64(math.MaxInt64)
	if m != nil {
		size, end = m.Size(), m.HeaderEnd()
	}
	p.header = slices.Grow(p.header, len(header))
	for i, list := range [2][]message.Edit{header, body} {
		for _, e := range list {
			insert := e.Delete == 0
			switch {
			case e.At < 0 || e.Delete < 0 || e.At > size || e.Delete > size-e.At || !wholeLines(e.Insert):
				p.leftOut++
			case e.At == end && insert && i == 0, e.At < end && e.Delete <= end-e.At:
				p.header = append(p.header, e)
			case e.At >= end:
				p.body = append(p.body, e)
			default: // begins in the one and ends in the other
				p.leftOut++
			}
		}
	}
	var a, b int
	p.header, a = settle(p.header)
	p.body, b = settle(p.body)
	p.leftOut += a + b
	return p
}

// wholeLines tells that p has no CR and no LF but in pairs: Render takes none.
func wholeLines(p []byte) bool {
	n := bytes.Count(p, []byte("\r\n"))
	return bytes.Count(p, []byte{'\r'}) == n && bytes.Count(p, []byte{'\n'}) == n
}

// settle sorts edits as Render wants them. Of two that want the same octets
// the earlier in the list is made; an edit that is in the list twice is made
// once, and is not counted among those that are left out. Several insertions
// at one place stay in the order of the list.
func settle(edits []message.Edit) (out []message.Edit, leftOut int) {
	if len(edits) < 2 {
		return edits, 0
	}
	type ranked struct {
		message.Edit
		rank int
	}
	all := make([]ranked, len(edits))
	for i, e := range edits {
		all[i] = ranked{e, i}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(min(a.Delete, 1), min(b.Delete, 1)))
	})
	kept := all[:0]
	for _, e := range all {
		if len(kept) == 0 || kept[len(kept)-1].At+kept[len(kept)-1].Delete <= e.At {
			kept = append(kept, e)
			continue
		}
		last := &kept[len(kept)-1]
		if last.At == e.At && last.Delete == e.Delete && bytes.Equal(last.Insert, e.Insert) {
			last.rank = min(last.rank, e.rank)
			continue
		}
		leftOut++
		if e.rank < last.rank {
			*last = e
		}
	}
	out = make([]message.Edit, len(kept))
	for i, e := range kept {
		out[i] = e.Edit
	}
	return out, leftOut
}

func leftOut(n int) mail.Finding {
	return mail.Finding{Symbol: SymbolLeftOut, Filter: "edits", Stage: mail.StageMessage, Counted: true,
		Detail: strconv.Itoa(n) + " edits were not made: earlier ones change the same octets, or they do not fit the message"}
}

// collide tells whether an edit of a wants octets that one of b wants too. Both
// are sorted and each is apart in itself. An insertion beside a deletion is
// apart from it: what is inserted before a line stays when the line goes. Two
// insertions at one place are not: their order would be by chance.
func collide(a, b []message.Edit) bool {
	for len(a) > 0 && len(b) > 0 {
		x, y := a[0], b[0]
		switch {
		case x.At+x.Delete <= y.At && x.At < y.At:
			a = a[1:]
		case y.At+y.Delete <= x.At && y.At < x.At:
			b = b[1:]
		case x.At == y.At && x.Delete == 0 && y.Delete > 0 && len(y.Insert) == 0:
			a = a[1:]
		case x.At == y.At && y.Delete == 0 && x.Delete > 0 && len(x.Insert) == 0:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}
