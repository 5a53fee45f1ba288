package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

type class int

const (
	classString class = iota
	classBool
	classInt
	classFloat
	classSize
	classDuration
	classText // reads and writes itself as text
	classList
	classTable  // a struct
	classMap    // names chosen by the operator
	classTables // a list of structs
)

// field is one key of a prototype.
type field struct {
	name, doc, example string
	unit               string
	enum               []string
	secret, required   bool
	multiline, brief   bool
	min, max           string
	index              []int
	typ                reflect.Type
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	readsText    = reflect.TypeFor[encoding.TextUnmarshaler]()
	writesText   = reflect.TypeFor[encoding.TextMarshaler]()
)

// classOf says how a type is written; pointers count as what they point to.
func classOf(t reflect.Type, unit string) class {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == durationType {
		return classDuration
	}
	if reflect.PointerTo(t).Implements(readsText) {
		return classText
	}
	switch t.Kind() {
	case reflect.String:
		return classString
	case reflect.Bool:
		return classBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if unit == "bytes" {
			return classSize
		}
		return classInt
	case reflect.Float32, reflect.Float64:
		return classFloat
	case reflect.Slice:
		if classOf(t.Elem(), unit) == classTable {
			return classTables
		}
		return classList
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return classMap
		}
	case reflect.Struct:
		return classTable
	}
	panic(fmt.Sprintf("config: the prototype uses %s, which cannot be configured", t))
}

// elem is the field description of a list's or map's elements.
func (f *field) elem() *field {
	e := *f
	e.typ = deref(f.typ).Elem()
	e.required = false
	return &e
}

func (f *field) class() class { return classOf(f.typ, f.unit) }

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// fieldsOf lists the keys of a struct in their order; embedded structs without
// a key of their own add theirs.
func fieldsOf(t reflect.Type) []*field {
	var fields []*field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, _, _ := strings.Cut(sf.Tag.Get("toml"), ",")
		if tag == "" && sf.Anonymous && deref(sf.Type).Kind() == reflect.Struct && sf.Type.Kind() == reflect.Struct {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				fields = append(fields, f)
			}
			continue
		}
		if tag == "" || tag == "-" || !sf.IsExported() {
			continue
		}
		f := &field{name: tag, doc: sf.Tag.Get("doc"), example: sf.Tag.Get("example"), unit: sf.Tag.Get("unit"),
			secret: sf.Tag.Get("secret") == "true", required: sf.Tag.Get("required") == "true",
			multiline: sf.Tag.Get("multiline") == "true", brief: sf.Tag.Get("brief") == "true", min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			index: []int{i}, typ: sf.Type}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

// rootStruct checks a prototype and gives its struct.
func rootStruct(into any) reflect.Value {
	v := reflect.ValueOf(into)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		panic("config: a prototype is a struct or a pointer to one")
	}
	if !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	checkType(v.Type(), 0)
	return v
}

// checkType panics for what cannot be configured, so that a wrong prototype
// shows at the first start and not with the first file that uses the key.
func checkType(t reflect.Type, depth int) {
	if depth > maxSchema {
		panic(fmt.Sprintf("config: the prototype nests more than %d tables", maxSchema))
	}
	for _, f := range fieldsOf(t) {
		for e := f; ; e = e.elem() {
			c := e.class()
			if e != f && (c == classMap || c == classTables || c == classTable && f.class() == classList) {
				panic(fmt.Sprintf("config: %s nests lists and tables deeper than TOML tables can", f.name))
			}
			if c == classTable {
				checkType(deref(e.typ), depth+1)
			}
			if c == classText && !deref(e.typ).Implements(writesText) && !reflect.PointerTo(deref(e.typ)).Implements(writesText) {
				panic(fmt.Sprintf("config: %s reads text but does not write it", e.typ))
			}
			if c != classList && c != classMap && c != classTables {
				break
			}
		}
	}
}

// typeText names the type of a key for people.
func (f *field) typeText() string {
	switch f.class() {
	case classBool:
		return "true or false"
	case classInt:
		return "whole number"
	case classFloat:
		return "number"
	case classSize:
		return `size, as "25MB"`
	case classDuration:
		return `duration, as "90s", "15m" or "2h30m"`
	case classText:
		if s, ok := knownText(deref(f.typ)); ok {
			return s
		}
		return "text"
	case classList:
		return "list of: " + f.elem().typeText()
	case classTable:
		return "table"
	case classMap:
		return "table of names"
	case classTables:
		return "list of tables"
	}
	if len(f.enum) > 0 {
		return "one of " + orList(f.enum)
	}
	return "text"
}

func orList(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	if len(q) < 2 {
		return strings.Join(q, "")
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

// bound reads a min or max tag in the unit of the field.
func (f *field) bound(tag string) float64 {
	var n float64
	var err error
	switch f.class() {
	case classSize:
		var s int64
		s, err = parseSize(tag)
		n = float64(s)
	case classDuration:
		var d time.Duration
		d, err = parseDuration(tag)
		n = float64(d)
	default:
		n, err = strconv.ParseFloat(tag, 64)
	}
	if err != nil || math.IsNaN(n) {
		panic(fmt.Sprintf("config: %s has the bound %q", f.name, tag))
	}
	return n
}

// walkKeys calls fn for each key of a prototype type; the elements of maps
// have the name "NAME".
func walkKeys(t reflect.Type, path []string, fn func(path []string, f *field)) {
	for _, f := range fieldsOf(t) {
		p := append(path[:len(path):len(path)], f.name)
		fn(p, f)
		switch f.class() {
		case classTable:
			walkKeys(deref(f.typ), p, fn)
		case classTables:
			walkKeys(deref(f.elem().typ), p, fn)
		case classMap:
			if e := f.elem(); e.class() == classTable {
				walkKeys(deref(e.typ), append(p[:len(p):len(p)], "NAME"), fn)
			}
		}
	}
}
