package config

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"garita/place"
	"garita/printable"
)

// TemplateOptions say what a template holds beside the comments.
type TemplateOptions struct {
	// Header is the comment at the beginning, lines separated by line feeds.
	Header string
	// Set gives the keys that are active; all others are written as comments
	// with their defaults. Values are what TOML would hold ("25MB", true,
	// 12, []string{…}) or the Go values of the keys (time.Duration, …).
	Set map[string]any
	// EntryDefaults as in Options; raw holds what Set says.
	EntryDefaults EntryDefaults
}

// Template writes a complete configuration file: every key of the prototype
// with its comment. Keys that are not set stand there as `#key = default`, so
// that removing the # changes nothing; a comment of a sentence begins with
// "# ". The error says which of opts.Set does not fit.
func Template(proto any, opts TemplateOptions) (string, error) {
	v := clone(rootStruct(proto))
	d := newDocument(Options{EntryDefaults: opts.EntryDefaults}, ".")
	src := newSource("template", 0, nil)
	d.sources = []*source{src}
	d.root = newTable(span{src: src})
	d.unread = true // what is required may be missing from a template
	d.sealed = true // and the files of secrets need not exist yet
	d.defaults = clone(v)
	var keys []string
	for key := range opts.Set {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		if err := graft(d.root, splitPath(key), opts.Set[key]); err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
	}
	d.table("", d.root, v)
	if ps := d.Problems(); len(ps) > 0 {
		return "", fmt.Errorf("%s: %s", ps[0].Key, ps[0].message())
	}
	t := &template{doc: d}
	if opts.Header != "" {
		for _, line := range strings.Split(opts.Header, "\n") {
			t.b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
		}
	}
	t.table("", v, false)
	return strings.TrimLeft(t.b.String(), "\n"), nil
}

// graft puts a Go value into a tree of nodes.
func graft(root *node, parts []string, value any) error {
	t := root
	for _, name := range parts[:len(parts)-1] {
		next := t.sub[name]
		if next == nil {
			next = newTable(root.key)
			t.put(name, next)
		}
		if next.kind != kindTable {
			return fmt.Errorf("%s is not a table", name)
		}
		t = next
	}
	n, err := nodeOf(reflect.ValueOf(value), root.key)
	if err != nil {
		return err
	}
	t.put(parts[len(parts)-1], n)
	return nil
}

// nodeOf makes a node of a Go value.
func nodeOf(v reflect.Value, at span) (*node, error) {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil, fmt.Errorf("there is no value")
	}
	n := &node{key: at, val: at}
	if d, ok := v.Interface().(time.Duration); ok {
		n.text = formatDuration(d)
		return n, nil
	}
	if _, ok := v.Interface().(encoding.TextMarshaler); ok {
		n.text = textOf(v)
		return n, nil
	}
	switch v.Kind() {
	case reflect.String:
		n.text = v.String()
	case reflect.Bool:
		n.kind, n.text = kindBool, fmt.Sprint(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.kind, n.text = kindInt, fmt.Sprint(v.Interface())
	case reflect.Float32, reflect.Float64:
		n.kind, n.text = kindFloat, format(v, &field{typ: v.Type()})
	case reflect.Slice:
		n.kind = kindArray
		for i := range v.Len() {
			item, err := nodeOf(v.Index(i), at)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case reflect.Map:
		n = newTable(at)
		for _, name := range names(v) {
			item, err := nodeOf(mapEntry(v, name), at)
			if err != nil {
				return nil, err
			}
			n.put(name, item)
		}
	default:
		return nil, fmt.Errorf("a value of this kind cannot be set")
	}
	return n, nil
}

// template writes every key with its comment.
type template struct {
	b   strings.Builder
	doc *Document // what is set

	// terse leaves the comments out: from the second entry of a map on, and
	// where a key is brief, they would only repeat others.
	terse bool
}

// table writes plain keys, then the tables below. In an example everything,
// headers too, is a comment.
func (t *template) table(path string, v reflect.Value, example bool) {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		if f.isLeaf() {
			t.leaf(join(path, f.name), f, v.FieldByIndex(f.index), example)
		}
	}
	for _, f := range fields {
		if !f.isLeaf() {
			t.section(join(path, f.name), f, v.FieldByIndex(f.index), example)
		}
	}
}

func (t *template) leaf(path string, f *field, v reflect.Value, example bool) {
	if f.brief && !t.terse {
		t.terse = true
		defer func() { t.terse = false }()
	}
	if !t.terse {
		t.b.WriteString("\n")
	}
	doc := f.doc
	if f.secret && f.class() == classString {
		doc = strings.TrimSpace(doc + " " + f.name + "_file = \"FILE\" reads it from a file instead.")
	}
	t.comment(doc)
	text := format(v, f)
	switch {
	case text == "" && t.terse:
	case text == "": // a nil pointer: no value is the default
		t.comment(keyPart(f.name) + " is not set: " + f.typeText())
	case !example && t.doc.nodes[path+"_file"] != nil && f.secret:
		t.b.WriteString(keyPart(f.name+"_file") + " = " + place.String(t.doc.nodes[path+"_file"].text) + "\n")
	case !example && t.doc.nodes[path] != nil:
		t.b.WriteString(keyPart(f.name) + " = " + text + "\n")
	default:
		if f.secret && !v.IsZero() {
			text = place.String(hidden)
		}
		t.b.WriteString("#" + strings.ReplaceAll(keyPart(f.name)+" = "+text, "\n", "\n#") + "\n")
	}
}

func (t *template) header(path string, list, example bool) {
	text := "[" + unindexed(path) + "]"
	if list {
		text = "[" + text + "]"
	}
	if example {
		text = "#" + text
	}
	t.b.WriteString(text + "\n")
}

func (t *template) section(path string, f *field, v reflect.Value, example bool) {
	v = inside(v)
	optional := f.typ.Kind() == reflect.Pointer && !v.IsValid()
	if optional {
		v, example = reflect.New(f.typ.Elem()).Elem(), true
	}
	t.b.WriteString("\n")
	t.comment(f.doc)
	switch f.class() {
	case classTable:
		if hasLeaf(v.Type()) || optional {
			t.header(path, false, example)
		}
		terse := t.terse
		t.terse = terse || f.brief
		t.table(path, v, example)
		t.terse = terse
	case classTables:
		for i := range v.Len() {
			if i > 0 {
				t.b.WriteString("\n")
			}
			t.header(path, true, example)
			t.table(fmt.Sprintf("%s[%d]", path, i), inside(v.Index(i)), example)
		}
		if v.Len() == 0 {
			t.header(path, true, true)
			t.table(path+"[0]", reflect.New(deref(f.elem().typ)).Elem(), true)
		}
	case classMap:
		t.mapSection(path, f, v, example)
	}
}

func (t *template) mapSection(path string, f *field, v reflect.Value, example bool) {
	e := f.elem()
	if e.class() != classTable {
		t.header(path, false, example)
		for _, name := range names(v) {
			set := t.doc.nodes[join(path, name)] != nil && !example
			line := keyPart(name) + " = " + format(mapEntry(v, name), e)
			if !set {
				line = "#" + strings.ReplaceAll(line, "\n", "\n#")
			}
			t.b.WriteString(line + "\n")
		}
		return
	}
	for i, name := range names(v) {
		p, terse := join(path, name), t.terse
		if i > 0 {
			t.terse = terse
			t.b.WriteString("\n")
			t.comment("The keys of [" + join(path, names(v)[0]) + "] explain these too.")
			t.terse = true
		}
		t.header(p, false, example)
		t.table(p, inside(mapEntry(v, name)), example)
		t.terse = terse
	}
	if len(names(v)) == 0 {
		name := f.example
		if name == "" {
			name = "NAME"
		}
		entry := reflect.New(e.typ).Elem()
		p := join(path, name)
		if hook := t.doc.opts.EntryDefaults; hook != nil {
			applyEntry(hook(p, map[string]any{}), p, entry)
		}
		if entry.Kind() == reflect.Pointer && entry.IsNil() {
			entry.Set(reflect.New(e.typ.Elem()))
		}
		t.header(p, false, true)
		t.table(p, inside(entry), true)
	}
}

func hasLeaf(t reflect.Type) bool {
	for _, f := range fieldsOf(t) {
		if f.isLeaf() {
			return true
		}
	}
	return false
}

// comment writes a text as comment lines of at most 100 columns.
func (t *template) comment(text string) {
	if text == "" || t.terse {
		return
	}
	for _, line := range wrap(text, 98) {
		t.b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

// wrap breaks a text into lines of at most width characters; a longer word has
// a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	for _, paragraph := range strings.Split(cleanLines(text), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return lines
}

// cleanLines is clean for texts of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable.Line(lines[i])
	}
	return strings.Join(lines, "\n")
}
