package milterd

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"garita/mail"
	"garita/message"
)

// op is one change of the header, by the protocol's terms.
type op struct {
	act   byte   // actAddHeader, actInsertHeader, actChangeHeader
	index uint32 // of an insertion: place; of a change: which of that name, from 1
	name  string
	value string // what stands behind the colon, CR LF within; empty in a change: the field goes
	gone  bool
}

const actAddHeader = 'h'

// send writes the change. Within a value the MTA wants LF. Where it has not
// agreed on leading space it puts one behind the colon itself.
func (o op) send(w *wire, leading bool) {
	value := strings.ReplaceAll(o.value, "\r\n", "\n")
	if !leading {
		value = strings.TrimPrefix(value, " ")
	}
	switch o.act {
	case actAddHeader:
		w.send(o.act, o.name, "\x00", value, "\x00")
	case actChangeHeader:
		if o.gone {
			value = "" // which deletes
		}
		w.send(o.act, number(o.index), o.name, "\x00", value, "\x00")
	default:
		w.send(o.act, number(o.index), o.name, "\x00", value, "\x00")
	}
}

// needs tells what the MTA must allow for them.
func needs(ops []op) (n uint32) {
	for _, o := range ops {
		if o.act == actChangeHeader {
			n |= mayChangeHeader
		} else {
			n |= mayAddHeader
		}
	}
	return n
}

var (
	errNotHeader = errors.New("the edit is not of whole header fields")
	errMismatch  = errors.New("the MTA and we do not see the same header fields")
)

// edits are those of a decision and our own: forged fields of our namespace
// are taken out (design section 4.9).
func (x *session) edits(more []message.Edit) []message.Edit {
	var own []message.Edit
	for _, f := range x.tx.Message.Header().Fields() {
		if mail.Reserved(f, x.set.Hostname) {
			own = append(own, message.Edit{At: f.Start, Delete: f.End - f.Start})
		}
	}
	if len(own) == 0 {
		return inOrder(slices.Clone(more))
	}
	out := own
	for _, e := range more {
		// The first of ours that ends behind its beginning.
		i, _ := slices.BinarySearchFunc(own, e.At, func(o message.Edit, at int64) int { return cmp.Compare(o.At+o.Delete, at+1) })
		if i == len(own) || own[i].At >= e.At+max(e.Delete, 1) || own[i].At == e.At && e.Delete == 0 {
			out = append(out, e)
		}
	}
	return inOrder(out)
}

// inOrder sorts edits as Render wants them; what two of us take out is taken
// out once.
func inOrder(edits []message.Edit) []message.Edit {
	slices.SortStableFunc(edits, func(a, b message.Edit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Delete, b.Delete))
	})
	return slices.CompactFunc(edits, func(a, b message.Edit) bool {
		return a.At == b.At && a.Delete == b.Delete && a.Delete > 0 && len(a.Insert)+len(b.Insert) == 0
	})
}

// headerEdits turns edits of octets into changes of fields.
func (x *session) headerEdits(more []message.Edit) ([]op, error) {
	edits := x.edits(more)
	if len(edits) == 0 {
		return nil, nil
	}
	if len(x.tx.Message.Header().Fields()) != x.tx.fields {
		return nil, errMismatch
	}
	return fieldEdits(x.tx.Message, edits)
}

// below is where Postfix inserts a field that is to stand before the first
// that the milter was shown: it counts its own Received, which it does not
// show, and 0 is the place above it.
const below = 1

// fieldEdits gives the changes in an order in which none moves the place of
// another: from the last field to the first, then what is added behind all.
func fieldEdits(m *message.Message, edits []message.Edit) ([]op, error) {
	if _, err := m.Render(edits); err != nil {
		return nil, err
	}
	fields := m.Header().Fields()
	end := m.HeaderEnd()
	before := make([][]parsed, len(fields)) // what goes in front of a field
	changed := make(map[int][]message.Edit)
	var tail []parsed
	i := 0
	for _, e := range edits {
		if e.At+e.Delete > end || e.At < m.Header().Start() {
			return nil, errNotHeader
		}
		for i < len(fields) && fields[i].End <= e.At {
			i++
		}
		if e.Delete == 0 && (i == len(fields) || e.At == fields[i].Start) {
			list, ok := parse(e.Insert)
			if !ok {
				return nil, errNotHeader
			}
			if i == len(fields) {
				tail = append(tail, list...)
			} else {
				before[i] = append(before[i], list...)
			}
			continue
		}
		for k := i; e.Delete > 0 || len(e.Insert) > 0; k++ { // an edit over several fields is one of each
			if k == len(fields) {
				return nil, errNotHeader
			}
			here := e
			here.Delete = min(e.Delete, fields[k].End-e.At)
			changed[k] = append(changed[k], here)
			e = message.Edit{At: fields[k].End, Delete: e.Delete - here.Delete}
		}
	}
	return inTurn(m, fields, before, changed, tail)
}

// inTurn puts the changes into their order.
func inTurn(m *message.Message, fields []message.Field, before [][]parsed, changed map[int][]message.Edit, tail []parsed) ([]op, error) {
	nth := make([]uint32, len(fields))
	seen := map[string]uint32{}
	for i := range fields {
		key := strings.ToLower(fields[i].Name)
		seen[key]++
		nth[i] = seen[key]
	}
	var ops []op
	insert := func(at int, list []parsed) {
		index := uint32(0)
		if at > 0 {
			index = uint32(at) + below
		}
		for _, p := range slices.Backward(list) {
			ops = append(ops, op{act: actInsertHeader, index: index, name: p.name, value: p.value})
		}
	}
	for i := len(fields) - 1; i >= 0; i-- {
		f := &fields[i]
		if list, ok := changed[i]; ok {
			raw, err := applied(m, f, list)
			if err != nil {
				return nil, err
			}
			now, ok := parse(raw)
			switch {
			case !ok:
				return nil, errNotHeader
			case len(now) > 0 && strings.EqualFold(now[0].name, f.Name) && strings.TrimSpace(now[0].value) != "":
				insert(i+1, now[1:])
				ops = append(ops, op{act: actChangeHeader, index: nth[i], name: f.Name, value: now[0].value})
			default:
				ops = append(ops, op{act: actChangeHeader, index: nth[i], name: f.Name, gone: true})
				insert(i, now)
			}
		}
		insert(i, before[i])
	}
	for _, p := range tail {
		ops = append(ops, op{act: actAddHeader, name: p.name, value: p.value})
	}
	return ops, nil
}

// applied is a field with its edits made. Fields are bounded by
// message.MaxHeaderBytes.
func applied(m *message.Message, f *message.Field, edits []message.Edit) ([]byte, error) {
	raw := make([]byte, f.End-f.Start)
	if _, err := m.ReadAt(raw, f.Start); err != nil {
		return nil, err
	}
	var out []byte
	pos := int64(0)
	for _, e := range edits {
		at := e.At - f.Start
		out = append(append(out, raw[pos:at]...), e.Insert...)
		pos = at + e.Delete
	}
	return append(out, raw[pos:]...), nil
}

// parsed is one field: its name, and what stands behind the colon without the
// last line end.
type parsed struct{ name, value string }

// parse reads whole fields, each line with its end.
func parse(raw []byte) (out []parsed, ok bool) {
	for len(raw) > 0 {
		end := 0
		for {
			lf := bytes.IndexByte(raw[end:], '\n')
			if lf < 0 {
				return nil, false
			}
			end += lf + 1
			if end == len(raw) || raw[end] != ' ' && raw[end] != '\t' {
				break
			}
		}
		name, value, found := strings.Cut(string(raw[:end]), ":")
		name = strings.TrimRight(name, " \t")
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n\x00") || strings.Contains(value, "\x00") {
			return nil, false
		}
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
		out = append(out, parsed{name, value})
		raw = raw[end:]
	}
	return out, true
}
