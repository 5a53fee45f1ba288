package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"garita/place"
	"garita/printable"
)

// Keys lists every key of a prototype in its order; NAME stands for the names
// that the operator chooses.
func Keys(proto any) []string {
	var keys []string
	walkKeys(rootStruct(proto).Type(), nil, func(path []string, f *field) {
		keys = append(keys, Path(path...))
	})
	return keys
}

// Explanation is what there is to know of one key. Its texts are safe to print.
type Explanation struct {
	Key      string `json:"key"`
	Text     string `json:"text"`
	Type     string `json:"type"`
	Min      string `json:"min,omitempty"`
	Max      string `json:"max,omitempty"`
	Required bool   `json:"required,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
	// Default and Value are as they would be written; "" for none, and for a
	// Value that no configuration was read for.
	Default string `json:"default,omitempty"`
	Value   string `json:"value,omitempty"`
	// SetIn is the place, "" for no file.
	SetIn string `json:"set_in,omitempty"`
	Keys  []Key  `json:"keys,omitempty"` // of a table

	read   bool // with a configuration
	leaf   bool
	values string // what the values of a table of names are
	name   string
}

// Key is one key of a table.
type Key struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Explain tells what a key means: its comment, type, default and, when doc is
// not nil, its value and where it is set. In the place of a name that the
// operator chooses any name will do. The error is for an unknown key and says
// which one was probably meant.
func Explain(proto any, opts Options, doc *Document, key string) (*Explanation, error) {
	root := rootStruct(proto)
	f, def := lookUp(root, opts, doc, splitPath(key))
	if f == nil {
		return nil, unknownKey(root, key)
	}
	e := &Explanation{Key: printable.Line(key), Text: f.doc, Type: f.typeText(), Min: f.min, Max: f.max, leaf: f.isLeaf(), name: f.name}
	if !e.leaf {
		e.table(f)
		return e, nil
	}
	e.Required, e.Secret, e.Default = f.required, f.secret, shown(def, f)
	if e.read = doc != nil && doc.value.IsValid(); e.read {
		_, now := lookUp(doc.value, opts, doc, splitPath(key))
		e.Value = shown(now, f)
		if p, ok := doc.Position(key); ok {
			e.SetIn = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
		}
	}
	return e, nil
}

// String gives the explanation as text for a terminal.
func (e *Explanation) String() string {
	var b strings.Builder
	b.WriteString(e.Key + "\n")
	for _, line := range wrap(e.Text, 76) {
		b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
	}
	kind := e.Type
	if e.Min != "" {
		kind += ", at least " + e.Min
	}
	if e.Max != "" {
		kind += ", at most " + e.Max
	}
	fmt.Fprintf(&b, "  type:    %s\n", kind)
	if !e.leaf {
		if e.values != "" {
			fmt.Fprintf(&b, "  values:  %s\n", e.values)
			return b.String()
		}
		b.WriteString("  keys:\n")
		for _, k := range e.Keys {
			fmt.Fprintf(&b, "    %-26s %s\n", k.Name, k.Text)
		}
		return b.String()
	}
	switch {
	case e.Required:
		b.WriteString("  default: none, it must be set\n")
	case e.Default == "":
		b.WriteString("  default: none\n")
	default:
		fmt.Fprintf(&b, "  default: %s\n", e.Default)
	}
	if e.Secret {
		fmt.Fprintf(&b, "  secret:  %s_file = \"FILE\" reads it from a file\n", e.name)
	}
	if !e.read {
		return b.String()
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "  value:   %s\n", e.Value)
	}
	if e.SetIn == "" {
		b.WriteString("  set in:  no file\n")
	} else {
		fmt.Fprintf(&b, "  set in:  %s\n", e.SetIn)
	}
	return b.String()
}

// table fills in what a table holds.
func (e *Explanation) table(f *field) {
	t := deref(f.typ)
	switch f.class() {
	case classTables:
		t = deref(f.elem().typ)
	case classMap:
		if of := f.elem(); of.class() != classTable {
			e.values = of.typeText()
			return
		}
		t = deref(f.elem().typ)
	}
	for _, k := range fieldsOf(t) {
		first, _, _ := strings.Cut(k.doc, ". ")
		e.Keys = append(e.Keys, Key{k.name, printable.Line(strings.TrimSuffix(first, "."))})
	}
}

// shown formats a value for a person.
func shown(v reflect.Value, f *field) string {
	if !v.IsValid() {
		return ""
	}
	if f.secret && !v.IsZero() {
		return place.String(hidden)
	}
	return printable.Line(strings.ReplaceAll(strings.ReplaceAll(format(v, f), "\n\t", " "), "\n", ""))
}

// lookUp finds a key and its value in a struct.
func lookUp(v reflect.Value, opts Options, doc *Document, parts []string) (*field, reflect.Value) {
	path := ""
	for len(parts) > 0 {
		if v = inside(v); !v.IsValid() {
			return nil, v
		}
		var f *field
		for _, k := range fieldsOf(v.Type()) {
			if k.name == parts[0] {
				f = k
			}
		}
		if f == nil {
			return nil, v
		}
		path = join(path, parts[0])
		parts = parts[1:]
		v = v.FieldByIndex(f.index)
		if v.Kind() == reflect.Pointer && v.IsNil() && f.class() == classTable {
			v = reflect.New(f.typ.Elem()).Elem()
		}
		if len(parts) == 0 {
			return f, v
		}
		switch f.class() {
		case classTable:
		case classTables:
			v = reflect.New(deref(f.elem().typ)).Elem()
		case classMap:
			e := f.elem()
			path = join(path, parts[0])
			v = entryOf(v, e, opts, doc, path, parts[0])
			parts = parts[1:]
			if len(parts) == 0 || e.class() != classTable {
				if len(parts) > 0 {
					return nil, v
				}
				named := *e
				return &named, v
			}
		default:
			return nil, v
		}
	}
	return nil, v
}

// entryOf gives an entry of a map, or what a new one would be.
func entryOf(m reflect.Value, e *field, opts Options, doc *Document, path, name string) reflect.Value {
	if v := mapEntry(m, name); v.IsValid() {
		return v
	}
	if doc != nil && doc.entries[path].IsValid() {
		return doc.entries[path]
	}
	entry := reflect.New(e.typ).Elem()
	if opts.EntryDefaults != nil && e.class() == classTable {
		applyEntry(opts.EntryDefaults(path, map[string]any{}), path, entry)
	}
	if entry.Kind() == reflect.Pointer && entry.IsNil() {
		entry.Set(reflect.New(e.typ.Elem()))
	}
	return entry
}

func unknownKey(root reflect.Value, key string) error {
	var paths, tails []string
	walkKeys(root.Type(), nil, func(path []string, f *field) {
		paths = append(paths, Path(path...))
		tails = append(tails, path[len(path)-1])
	})
	if meant := place.Nearest(key, paths); meant != "" {
		return fmt.Errorf("unknown key %s (did you mean %q?)", place.Quote(key), meant)
	}
	parts := splitPath(key)
	if tail := place.Nearest(parts[len(parts)-1], tails); tail != "" {
		for i, t := range tails {
			if t == tail {
				return fmt.Errorf("unknown key %s (did you mean %q?)", place.Quote(key), paths[i])
			}
		}
	}
	return fmt.Errorf("unknown key %s", place.Quote(key))
}

// Schema gives a JSON Schema (draft 2020-12) of the configuration, for the
// completion of editors. It describes form, not every rule that is checked.
func Schema(proto any) []byte {
	root := rootStruct(proto)
	s := schemaTable(root)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // maps, strings and numbers: cannot happen
		panic(err)
	}
	return append(b, '\n')
}

func schemaTable(v reflect.Value) map[string]any {
	properties := map[string]any{}
	required := []string{}
	for _, f := range fieldsOf(v.Type()) {
		p := schemaField(f, v.FieldByIndex(f.index))
		if f.doc != "" {
			p["description"] = f.doc
		}
		properties[f.name] = p
		if f.secret {
			properties[f.name+"_file"] = map[string]any{"type": "string", "description": "File that holds " + f.name + "."}
		} else if f.required {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false,
		"patternProperties": map[string]any{"^x-": map[string]any{}}}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func schemaField(f *field, v reflect.Value) map[string]any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.Value{}
		} else {
			v = v.Elem()
		}
	}
	s := map[string]any{}
	switch f.class() {
	case classBool:
		s["type"] = "boolean"
	case classInt:
		s["type"] = "integer"
	case classFloat:
		s["type"] = "number"
	case classSize:
		s["type"], s["pattern"] = "string", `^[0-9]+ ?([KMGTkmgt]([Ii]?[Bb])?|[Bb])$`
	case classDuration:
		s["type"], s["pattern"] = "string", `^([0-9]+d)?([0-9]+(\.[0-9]+)?(h|ms|us|ns|m|s))*$`
	case classList, classTables:
		s["type"] = "array"
		if e := f.elem(); e.class() == classTable {
			s["items"] = schemaTable(reflect.New(deref(e.typ)).Elem())
		} else {
			s["items"] = schemaField(e, reflect.Value{})
		}
	case classTable:
		if !v.IsValid() {
			v = reflect.New(deref(f.typ)).Elem()
		}
		return schemaTable(v)
	case classMap:
		s["type"] = "object"
		if e := f.elem(); e.class() == classTable {
			s["additionalProperties"] = schemaTable(reflect.New(deref(e.typ)).Elem())
		} else {
			s["additionalProperties"] = schemaField(e, reflect.Value{})
		}
		return s
	default:
		s["type"] = "string"
		if len(f.enum) > 0 {
			s["enum"] = f.enum
		}
	}
	if v.IsValid() && !f.secret && f.isLeaf() {
		if d := schemaDefault(f, v); d != nil {
			s["default"] = d
		}
	}
	return s
}

func schemaDefault(f *field, v reflect.Value) any {
	switch f.class() {
	case classBool:
		return v.Bool()
	case classInt:
		return integer(v)
	case classFloat:
		return v.Float()
	case classSize:
		return formatSize(integer(v))
	case classDuration:
		return formatDuration(durationOf(v))
	case classText:
		return textOf(v)
	case classString:
		return v.String()
	case classList:
		list := []any{}
		for i := range v.Len() {
			list = append(list, schemaDefault(f.elem(), inside(v.Index(i))))
		}
		return list
	}
	return nil
}
