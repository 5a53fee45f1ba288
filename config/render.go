package config

import (
	"encoding"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"garita/place"
	"garita/printable"
)

const hidden = "(secret)"

// format writes a value as TOML; "" for what has no value, as a nil pointer.
func format(v reflect.Value, f *field) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch f.class() {
	case classString:
		if len(f.enum) > 0 && v.Len() == 0 && !oneOf("", f.enum) {
			return "" // nothing was chosen, and nothing cannot be written
		}
		return place.String(v.String())
	case classBool:
		return strconv.FormatBool(v.Bool())
	case classInt:
		return strconv.FormatInt(integer(v), 10)
	case classSize:
		return place.String(formatSize(integer(v)))
	case classDuration:
		return place.String(formatDuration(durationOf(v)))
	case classFloat:
		s := strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return strings.ToLower(strings.Replace(s, "Inf", "inf", 1))
	case classText:
		return place.String(textOf(v))
	case classList, classTables:
		items := make([]string, v.Len())
		width := 0
		for i := range items {
			items[i] = format(v.Index(i), f.elem())
			width += len(items[i]) + 2
		}
		if width > 80 && len(items) > 1 {
			return "[\n\t" + strings.Join(filled(items), ",\n\t") + ",\n]"
		}
		return "[" + strings.Join(items, ", ") + "]"
	case classTable: // for comparing alone
		var b strings.Builder
		for _, k := range fieldsOf(v.Type()) {
			b.WriteString(k.name + "=" + format(v.FieldByIndex(k.index), k) + ";")
		}
		return "{" + b.String() + "}"
	case classMap:
		var b strings.Builder
		for _, name := range names(v) {
			b.WriteString(keyPart(name) + "=" + format(mapEntry(v, name), f.elem()) + ";")
		}
		return "{" + b.String() + "}"
	}
	return ""
}

// shortItem is the length of an item, its quotes too, that needs no line of its
// own: an extension, not an address.
const shortItem = 8

// filled puts short items of a long list side by side; a longer one begins a
// line, where it is easier to change.
func filled(items []string) (lines []string) {
	for _, item := range items {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+len(item) < 88 && len(item) <= shortItem {
			lines[last] += ", " + item
			continue
		}
		lines = append(lines, item)
	}
	return lines
}

func integer(v reflect.Value) int64 {
	if v.CanUint() {
		return int64(v.Uint())
	}
	return v.Int()
}

func textOf(v reflect.Value) string {
	if !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	m, ok := v.Addr().Interface().(encoding.TextMarshaler)
	if !ok {
		return ""
	}
	text, err := m.MarshalText()
	if err != nil {
		return ""
	}
	return string(text)
}

func names(m reflect.Value) []string {
	var out []string
	for _, k := range m.MapKeys() {
		out = append(out, k.String())
	}
	sort.Strings(out)
	return out
}

func mapEntry(m reflect.Value, name string) reflect.Value {
	if !m.IsValid() {
		return m
	}
	return m.MapIndex(reflect.ValueOf(name).Convert(m.Type().Key()))
}

// inside follows a pointer; an invalid value for nil.
func inside(v reflect.Value) reflect.Value {
	if v.IsValid() && v.Kind() == reflect.Pointer {
		return v.Elem()
	}
	return v
}

// isLeaf says whether a key is written as key = value.
func (f *field) isLeaf() bool {
	switch f.class() {
	case classTable, classMap, classTables:
		return false
	}
	return true
}

// renderer writes the effective configuration.
type renderer struct {
	b          strings.Builder
	doc        *Document
	nonDefault bool
	dependent  int // inside entries whose defaults depend on their own keys
}

// Show writes the configuration in effect as TOML that loads back to the same
// values, except for secrets, which read "(secret)" or keep the name of their
// file. With nonDefault it writes only what differs from the defaults.
func Show(doc *Document, into any, nonDefault bool) string {
	if doc == nil {
		doc = newDocument(Options{}, ".")
	}
	r := &renderer{doc: doc, nonDefault: nonDefault}
	v := rootStruct(into)
	r.table("", v, doc.defaults, "", false)
	return strings.TrimPrefix(r.b.String(), "\n")
}

// table writes the keys of a struct: plain ones first, as TOML demands.
func (r *renderer) table(path string, v, def reflect.Value, header string, always bool) {
	v, def = inside(v), inside(def)
	var lines []string
	for _, f := range fieldsOf(v.Type()) {
		value, d := v.FieldByIndex(f.index), reflect.Value{}
		if def.IsValid() {
			d = def.FieldByIndex(f.index)
		}
		if line := r.leaf(join(path, f.name), f, value, d); line != "" {
			lines = append(lines, line)
		}
	}
	if header != "" && (always || len(lines) > 0) {
		r.b.WriteString("\n" + header + "\n")
	}
	for _, line := range lines {
		r.b.WriteString(line + "\n")
	}
	for _, f := range fieldsOf(v.Type()) {
		d := reflect.Value{}
		if def.IsValid() {
			d = def.FieldByIndex(f.index)
		}
		if !f.isLeaf() {
			r.section(join(path, f.name), f, v.FieldByIndex(f.index), d)
		}
	}
}

// leaf gives the line of a plain key, "" for none.
func (r *renderer) leaf(path string, f *field, v, def reflect.Value) string {
	same := def.IsValid() && format(v, f) == format(def, f) || !def.IsValid() && v.IsZero()
	if r.nonDefault && same && (r.dependent == 0 || r.doc.nodes[path] == nil) {
		return ""
	}
	if f.class() == classTables {
		if inside(v).IsValid() && inside(v).Len() == 0 && !same {
			return keyPart(f.name) + " = []"
		}
		return ""
	}
	if !f.isLeaf() {
		return ""
	}
	if f.secret {
		if n := r.doc.nodes[path+"_file"]; n != nil && n.kind == kindString {
			return keyPart(f.name+"_file") + " = " + place.String(n.text)
		}
		if !v.IsZero() {
			return keyPart(f.name) + " = " + place.String(hidden)
		}
	}
	text := format(v, f)
	if text == "" {
		return ""
	}
	return keyPart(f.name) + " = " + text
}

// section writes a table, the tables of a map or the tables of a list.
func (r *renderer) section(path string, f *field, v, def reflect.Value) {
	v, def = inside(v), inside(def)
	if !v.IsValid() {
		return
	}
	switch f.class() {
	case classTable:
		r.table(path, v, def, "["+unindexed(path)+"]", deref(f.typ) != f.typ)
	case classTables:
		if r.nonDefault && def.IsValid() && format(v, f) == format(def, f) {
			return
		}
		for i := range v.Len() {
			r.table(path+"["+strconv.Itoa(i)+"]", v.Index(i), reflect.Value{}, "[["+unindexed(path)+"]]", true)
		}
	case classMap:
		e := f.elem()
		if e.class() != classTable {
			r.plainMap(path, e, v, def)
			return
		}
		for _, name := range names(v) {
			p := join(path, name)
			d, own := mapEntry(def, name), 0
			if !d.IsValid() {
				d, own = r.doc.entries[p], 1
			}
			r.dependent += own
			r.table(p, mapEntry(v, name), d, "["+unindexed(p)+"]", true)
			r.dependent -= own
		}
	}
}

// plainMap writes a map whose values are not tables.
func (r *renderer) plainMap(path string, e *field, v, def reflect.Value) {
	header := "\n[" + unindexed(path) + "]\n"
	for _, name := range names(v) {
		value, d := mapEntry(v, name), mapEntry(def, name)
		if r.nonDefault && d.IsValid() && format(value, e) == format(d, e) {
			continue
		}
		text := format(value, e)
		if e.secret && !value.IsZero() {
			text = place.String(hidden)
		}
		if text != "" {
			r.b.WriteString(header + keyPart(name) + " = " + text + "\n")
			header = ""
		}
	}
}

// Change is one key that differs. Old is empty for a key that was not there,
// New for one that is there no more.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// String gives `key: old -> new`.
func (c Change) String() string {
	old, now := c.Old, c.New
	if old == "" {
		old = "(none)"
	}
	if now == "" {
		now = "(none)"
	}
	return c.Key + ": " + old + " -> " + now
}

// Diff lists the keys that differ between two structs of one type, in their
// order. Values are written as TOML, secrets as "(secret)".
func Diff(a, b any) []Change {
	va, vb := rootStruct(a), rootStruct(b)
	if va.Type() != vb.Type() {
		panic("config: two configurations of different types are compared")
	}
	old, now := &flat{values: map[string]string{}, shown: map[string]string{}}, &flat{values: map[string]string{}, shown: map[string]string{}}
	old.table("", va)
	now.table("", vb)
	var out []Change
	add := func(key string) {
		if o, n := old.values[key], now.values[key]; o != n {
			out = append(out, Change{key, old.shown[key], now.shown[key]})
		}
	}
	for _, key := range now.keys {
		add(key)
	}
	for _, key := range old.keys {
		if _, ok := now.values[key]; !ok {
			add(key)
		}
	}
	return out
}

// flat is a configuration as a list of keys and values.
type flat struct {
	keys          []string
	values, shown map[string]string
}

func (fl *flat) table(path string, v reflect.Value) {
	if v = inside(v); !v.IsValid() {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		fl.key(join(path, f.name), f, v.FieldByIndex(f.index))
	}
}

func (fl *flat) key(path string, f *field, v reflect.Value) {
	v = inside(v)
	if !v.IsValid() {
		return
	}
	switch f.class() {
	case classTable:
		fl.table(path, v)
		return
	case classTables:
		for i := range v.Len() {
			fl.table(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
		return
	case classMap:
		for _, name := range names(v) {
			fl.key(join(path, name), f.elem(), mapEntry(v, name))
		}
		return
	}
	text := format(v, f)
	fl.keys = append(fl.keys, path)
	fl.values[path] = text
	if f.secret && !v.IsZero() {
		text = place.String(hidden)
	}
	fl.shown[path] = printable.Line(strings.ReplaceAll(strings.ReplaceAll(text, "\n\t", " "), "\n", ""))
}
