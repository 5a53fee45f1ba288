package config

import (
	"math"
	"time"

	"github.com/pelletier/go-toml/v2"

	"garita/place"
	"garita/printable"
)

type nodeKind int

const (
	kindString nodeKind = iota
	kindInt
	kindFloat
	kindBool
	kindDate
	kindArray  // [a, b]
	kindTable  // [x], x.y = …, {…}
	kindTables // [[x]]
	kindBroken // reported already
)

// node is a value or a table of the merged files.
type node struct {
	kind nodeKind
	key  span // its name: where a problem with the key points
	val  span // its value: where a problem with the value points

	text  string // of strings, decoded; of other scalars, as written
	items []*node
	names []string
	sub   map[string]*node

	defined bool // by a [header] or as a value: may not be defined again
	dotted  bool // made by a.b = …: may not get a [header]
	closed  bool // {…}: complete as it stands
}

func newTable(key span) *node {
	return &node{kind: kindTable, key: key, val: key, sub: map[string]*node{}}
}

func (n *node) put(name string, child *node) {
	if _, ok := n.sub[name]; !ok {
		n.names = append(n.names, name)
	}
	n.sub[name] = child
}

// literal gives the value of a scalar that is not a string.
func (n *node) literal() (any, error) {
	var v struct{ V any }
	if err := toml.Unmarshal([]byte("V = "+n.text), &v); err != nil {
		return nil, err
	}
	return v.V, nil
}

// describe says what was written, for "is …, not …".
func (n *node) describe() string {
	switch n.kind {
	case kindString:
		return place.Quote(n.text) + " is text"
	case kindInt, kindFloat:
		return printable.Line(cutText(n.text)) + " is a number"
	case kindBool:
		return n.text + " is a truth value"
	case kindDate:
		return printable.Line(cutText(n.text)) + " is a date or time"
	case kindArray:
		return "is a list"
	case kindTables:
		return "is a list of tables"
	}
	return "is a table"
}

func cutText(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// raw gives the value as plain Go values: map[string]any, []any, string,
// int64, float64, bool, time.Time; what cannot be read is left out.
func (n *node) raw() any {
	switch n.kind {
	case kindString:
		return n.text
	case kindArray, kindTables:
		list := make([]any, 0, len(n.items))
		for _, item := range n.items {
			list = append(list, item.raw())
		}
		return list
	case kindTable:
		m := make(map[string]any, len(n.names))
		for _, name := range n.names {
			m[name] = n.sub[name].raw()
		}
		return m
	}
	if n.kind == kindBroken {
		return nil
	}
	v, err := n.literal()
	if err != nil {
		return nil
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil
	}
	return v
}

// merge lays a later file over an earlier one: tables are joined, anything
// else is replaced.
func (n *node) merge(later *node) {
	for _, name := range later.names {
		b := later.sub[name]
		if a := n.sub[name]; a != nil && a.kind == kindTable && b.kind == kindTable {
			a.merge(b)
			continue
		}
		n.put(name, b)
	}
}

// dateText gives a TOML date in the form that time.Time reads.
func dateText(n *node) string {
	v, err := n.literal()
	if err != nil {
		return n.text
	}
	switch v := v.(type) {
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case toml.LocalDate:
		return v.AsTime(time.UTC).Format(time.RFC3339Nano)
	case toml.LocalDateTime:
		return v.AsTime(time.UTC).Format(time.RFC3339Nano)
	}
	return n.text
}
