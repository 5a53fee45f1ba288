package rules

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"garita/place"
	"garita/printable"
)

func (r *reader) span(raw unstable.Range) span {
	start := r.base + int(raw.Offset)
	return span{start, start + int(raw.Length)}
}

// key reads the parts of a dotted key and where each stands.
func (r *reader) key(it unstable.Iterator) (parts []string, where []span) {
	for it.Next() {
		n := it.Node()
		parts = append(parts, string(n.Data))
		where = append(where, r.span(n.Raw))
	}
	return parts, where
}

// header opens [[rule]], [[rule.test]] or [[override]].
func (r *reader) header(parts []string, at span, list bool) {
	name := strings.Join(parts, ".")
	r.current, r.headed = nil, true
	switch name {
	case "rule", "rule.test", "override":
	case "test":
		r.report(at, "tests belong to a rule", "write [[rule.test]]")
		return
	default:
		hint := "write [[rule]], [[rule.test]] or [[override]]"
		if meant := place.Nearest(name, []string{"rule", "rule.test", "override"}); meant != "" {
			hint = "write [[" + meant + "]]"
		}
		r.report(at, place.Quote(name)+" is not known here", hint)
		return
	}
	if !list {
		r.report(at, "there may be many of these, so it stands in double brackets", "write [["+name+"]]")
	}
	t := &table{name: name, at: at, byName: map[string]*entry{}}
	r.current = t
	if name != "rule.test" {
		if r.rules++; r.rules > MaxRules {
			r.full = true
			r.report(at, fmt.Sprintf("there are more than %d rules", MaxRules), "what is a long list of names belongs into a file: in list FILE")
			return
		}
		r.tables = append(r.tables, t)
		if name == "rule" {
			r.lastRule = t
		}
		return
	}
	if r.lastRule == nil {
		r.report(at, "a test stands below the rule that it tests", "move it below a [[rule]]")
		return
	}
	if e := r.lastRule.byName["test"]; e != nil {
		r.report(at, fmt.Sprintf("the rule has tests already (line %d)", r.doc.Line(e.key.start)), "write each as [[rule.test]]")
		return
	}
	r.lastRule.tests = append(r.lastRule.tests, t)
}

// topValue sets a key of the table that is open.
func (r *reader) topValue(e *unstable.Node) {
	if r.current == nil {
		if !r.headed {
			parts, where := r.key(e.Key())
			r.report(where[0], place.Quote(strings.Join(parts, "."))+" stands before the first [[rule]]", "begin each rule with a line [[rule]]")
		}
		return // of a table that was reported
	}
	r.keyValue(r.current, e, 0)
}

func (r *reader) keyValue(t *table, e *unstable.Node, depth int) {
	parts, where := r.key(e.Key())
	whole := span{where[0].start, where[len(where)-1].end}
	if len(parts) > 1 {
		r.report(whole, "keys have no dots here", "write "+parts[len(parts)-1]+" in its own [["+t.name+"]]")
		return
	}
	if old := t.byName[parts[0]]; old != nil {
		r.report(whole, fmt.Sprintf("%s is set twice (first in line %d)", printable.Line(place.Shorten(parts[0])), r.doc.Line(old.key.start)), "remove one")
		r.syntax = true
		return
	}
	// Arrays carry no range of their own: the value starts after the "=".
	at := whole.end
	for at < len(r.doc.Octets) && strings.IndexByte(" \t=", r.doc.Octets[at]) >= 0 {
		at++
	}
	end := r.base + int(e.Raw.Offset+e.Raw.Length)
	n := &entry{name: parts[0], key: whole, end: end, val: r.value(e.Value(), span{at, max(at, end)}, depth)}
	t.entries = append(t.entries, n)
	t.byName[n.name] = n
}

// value converts a value; at is its place as far as the caller knows it.
func (r *reader) value(n *unstable.Node, at span, depth int) *value {
	if n.Raw.Length > 0 && n.Kind != unstable.InlineTable {
		at = r.span(n.Raw)
	}
	v := &value{kind: n.Kind, at: at, text: string(n.Data)}
	if depth > maxNesting {
		r.report(at, "there are lists inside of lists inside of lists", "")
		v.kind = unstable.Invalid
		return v
	}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			if len(v.items) == maxItems {
				r.report(at, fmt.Sprintf("the list has more than %d entries", maxItems), "")
				break
			}
			v.items = append(v.items, r.value(it.Node(), at, depth+1))
		}
	case unstable.InlineTable:
		v.table = &table{name: "{…}", at: at, byName: map[string]*entry{}}
		for it := n.Children(); it.Next(); {
			r.keyValue(v.table, it.Node(), depth+1)
		}
	}
	return v
}

// describe says what was written, for "is …, not …".
func (v *value) describe() string {
	switch v.kind {
	case unstable.String:
		return place.Quote(v.text) + " is text"
	case unstable.Integer, unstable.Float:
		return printable.Line(place.Shorten(v.text)) + " is a number"
	case unstable.Bool:
		return v.text + " is a truth value"
	case unstable.Array:
		return "this is a list"
	case unstable.InlineTable:
		return "this is a table"
	}
	return printable.Line(place.Shorten(v.text)) + " is a date or time"
}

// offsets gives the place in the file of an offset in a decoded text.
func (r *reader) offset(v *value, want int) int {
	return v.at.start + rawOffset(r.doc.Octets[v.at.start:min(v.at.end, len(r.doc.Octets))], want)
}

// rawOffset finds, in a TOML string with its quotes, what stands at an offset of
// the decoded text.
func rawOffset(raw []byte, want int) int {
	i, literal := 1, len(raw) > 0 && raw[0] == '\''
	if len(raw) >= 6 && raw[1] == raw[0] && raw[2] == raw[0] {
		i = 3
		if i < len(raw) && raw[i] == '\r' {
			i++
		}
		if i < len(raw) && raw[i] == '\n' {
			i++
		}
	}
	if literal {
		return min(i+want, len(raw))
	}
	for decoded := 0; decoded < want && i < len(raw); {
		if raw[i] != '\\' || i+1 >= len(raw) {
			i++
			decoded++
			continue
		}
		digits := 0
		switch raw[i+1] {
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case ' ', '\t', '\r', '\n': // a line that goes on in the next
			for i++; i < len(raw) && strings.IndexByte(" \t\r\n", raw[i]) >= 0; {
				i++
			}
			continue
		}
		c := rune(0)
		for j := i + 2; j < min(i+2+digits, len(raw)); j++ {
			c = c<<4 | rune(unhex(raw[j]))
		}
		i += 2 + digits
		decoded += len(string(c))
	}
	return min(i, len(raw))
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0
}
