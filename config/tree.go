package config

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"garita/place"
)

// key reads the parts of a dotted key and where each stands.
func (ps *parser) key(it unstable.Iterator) (parts []string, where []span) {
	for it.Next() {
		n := it.Node()
		parts = append(parts, string(n.Data))
		where = append(where, ps.span(n.Raw))
	}
	return parts, where
}

func (ps *parser) span(r unstable.Range) span {
	start := ps.base + int(r.Offset)
	return span{ps.src, start, start + int(r.Length)}
}

func (ps *parser) lineOf(s span) int { return ps.src.Line(s.start) }

// header opens [a.b] or [[a.b]].
func (ps *parser) header(parts []string, where []span, list bool) {
	ps.table = nil
	whole := span{ps.src, where[0].start, where[len(where)-1].end}
	path := Path(parts...)
	if len(parts) > maxKeyParts {
		ps.report(whole, "", fmt.Sprintf("the name has more than %d parts", maxKeyParts), "")
		return
	}
	t := ps.root
	for i, name := range parts[:len(parts)-1] {
		next := t.sub[name]
		if next == nil {
			next = newTable(where[i])
			t.put(name, next)
		}
		if next.kind == kindTables {
			next = next.items[len(next.items)-1]
		}
		if next.kind != kindTable || next.closed {
			ps.report(where[i], path, fmt.Sprintf("%s has a value already (line %d) and cannot be opened as a table",
				Path(parts[:i+1]...), ps.lineOf(next.key)), "")
			return
		}
		t = next
	}
	last := parts[len(parts)-1]
	old := t.sub[last]
	if list {
		if old == nil {
			old = &node{kind: kindTables, key: whole, val: whole, defined: true}
			t.put(last, old)
		}
		if old.kind != kindTables {
			ps.report(whole, path, fmt.Sprintf("is defined in line %d as something else than a list of tables", ps.lineOf(old.key)), "")
			return
		}
		table := newTable(whole)
		table.defined = true
		old.items = append(old.items, table)
		ps.table = table
		return
	}
	switch {
	case old == nil:
		old = newTable(whole)
		t.put(last, old)
	case old.kind == kindTables:
		ps.report(whole, path, fmt.Sprintf("is a list of tables since line %d", ps.lineOf(old.key)), "write [["+path+"]]")
		return
	case old.kind != kindTable || old.closed:
		ps.report(whole, path, fmt.Sprintf("has a value already (line %d) and cannot be opened as a table", ps.lineOf(old.key)), "")
		return
	case old.defined || old.dotted:
		ps.report(whole, path, fmt.Sprintf("this table exists already (line %d)", ps.lineOf(old.key)), "write its keys into that one, or put them into a file in conf.d")
		// Its keys are still looked at: duplicates among them are worth a report.
		ps.table = old
		return
	}
	old.defined = true
	old.key, old.val = whole, whole
	ps.table = old
}

// keyValue sets a.b = value below a table.
func (ps *parser) keyValue(t *node, e *unstable.Node) {
	parts, where := ps.key(e.Key())
	whole := span{ps.src, where[0].start, where[len(where)-1].end}
	if len(parts) > maxKeyParts {
		ps.report(whole, "", fmt.Sprintf("the key has more than %d parts", maxKeyParts), "")
		return
	}
	for i, name := range parts[:len(parts)-1] {
		next := t.sub[name]
		if next == nil {
			next = newTable(where[i])
			next.dotted = true
			t.put(name, next)
		}
		if next.kind != kindTable || next.closed || !next.dotted {
			ps.report(whole, "", fmt.Sprintf("%s is defined already (line %d)", place.Quote(name), ps.lineOf(next.key)), "")
			return
		}
		t = next
	}
	last := parts[len(parts)-1]
	if old := t.sub[last]; old != nil {
		ps.report(whole, "", fmt.Sprintf("%s is set twice (first in line %d)", Path(parts...), ps.lineOf(old.key)), "remove one")
		return
	}
	// Arrays carry no range of their own: the value starts after the "=".
	at := whole.end
	for at < len(ps.src.Octets) && strings.IndexByte(" \t=", ps.src.Octets[at]) >= 0 {
		at++
	}
	end := ps.base + int(e.Raw.Offset+e.Raw.Length)
	v := ps.value(e.Value(), span{ps.src, at, max(at, end)})
	v.key = whole
	t.put(last, v)
}

// value converts a value; at is its place as far as the caller knows it.
func (ps *parser) value(n *unstable.Node, at span) *node {
	if n.Raw.Length > 0 && n.Kind != unstable.InlineTable {
		at = ps.span(n.Raw)
	}
	v := &node{key: at, val: at, defined: true}
	switch n.Kind {
	case unstable.String:
		v.kind, v.text = kindString, string(n.Data)
	case unstable.Integer:
		v.kind, v.text = kindInt, string(n.Data)
	case unstable.Float:
		v.kind, v.text = kindFloat, string(n.Data)
	case unstable.Bool:
		v.kind, v.text = kindBool, string(n.Data)
	case unstable.Array:
		v.kind = kindArray
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, ps.value(it.Node(), at))
		}
	case unstable.InlineTable:
		t := newTable(at)
		t.defined = true
		for it := n.Children(); it.Next(); {
			ps.keyValue(t, it.Node())
		}
		t.closed = true
		return t
	default:
		v.kind, v.text = kindDate, string(n.Data)
		if _, err := v.literal(); err != nil {
			ps.report(at, "", place.Quote(v.text)+" is not a date or time", "")
			v.kind = kindBroken
		}
	}
	return v
}
