package config

import (
	"fmt"
	"reflect"
	"strings"

	"garita/place"
)

// assign carries the merged tree into the struct.
func (d *Document) assign(into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic("config: values are read into a pointer to a struct")
	}
	v = rootStruct(into)
	d.defaults = clone(v)
	d.value = v
	if d.root == nil {
		d.root = newTable(span{src: d.sources[0]})
	}
	d.hideSecrets(v.Type())
	d.table("", d.root, v)
}

// hideSecrets marks the places of all secrets before anything is reported, so
// that no problem shows a line that holds one.
func (d *Document) hideSecrets(t reflect.Type) {
	names := map[string]bool{}
	walkKeys(t, nil, func(_ []string, f *field) {
		if f.secret {
			names[f.name] = true
		}
	})
	var walk func(n *node, depth int)
	walk = func(n *node, depth int) {
		if depth > 4*maxKeyParts {
			return
		}
		for name, child := range n.sub {
			if names[name] {
				child.val.src.secret = append(child.val.src.secret, child.val)
			}
			walk(child, depth+1)
		}
		for _, item := range n.items {
			walk(item, depth+1)
		}
	}
	walk(d.root, 0)
}

// table sets the keys of a struct.
func (d *Document) table(path string, n *node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	known := map[string]bool{}
	for _, f := range fields {
		known[f.name] = true
		p := join(path, f.name)
		target := v.FieldByIndex(f.index)
		if f.secret && f.class() == classString {
			known[f.name+"_file"] = true
			d.secret(p, n, f, target)
		} else if child := n.sub[f.name]; child != nil {
			d.nodes[p] = child
			if d.set(p, child, target, f) && f.required && target.IsZero() {
				d.Add(p, "must not be empty", "")
			}
		} else if f.class() == classTable {
			d.missing(p, target, f)
		}
		if f.required && !d.unread && n.sub[f.name] == nil && d.nodes[p] == nil && target.IsZero() && !misspelt(n, f, fields) {
			d.Add(p, "is missing", d.needed(f))
		}
	}
	for _, name := range n.names {
		child := n.sub[name]
		if known[name] || strings.HasPrefix(name, "x-") && (child.kind == kindTable || child.kind == kindTables) {
			continue
		}
		if meant := d.unknown(path, name, child, fields); meant != "" && n.sub[meant] == nil {
			d.meant[join(path, meant)] = true
		}
	}
}

// misspelt says whether an unknown key of the table was probably meant to be
// this one: the report of that key is enough.
func misspelt(n *node, f *field, fields []*field) bool {
	var names []string
	for _, k := range fields {
		names = append(names, k.name)
	}
	for _, name := range n.names[:min(len(n.names), maxProblems)] {
		if !oneOf(name, names) && place.Nearest(name, names) == f.name {
			return true
		}
	}
	return false
}

// missing looks for required keys in a table that no file has.
func (d *Document) missing(path string, v reflect.Value, f *field) {
	if v.Kind() == reflect.Pointer {
		return // an optional table
	}
	d.table(path, newTable(d.root.key), v)
}

func (d *Document) needed(f *field) string {
	switch f.class() {
	case classMap, classTable:
		name := f.example
		if name == "" {
			name = "NAME"
		}
		return "write a table [" + f.name + "." + name + "]"
	}
	return "it needs a value: " + f.typeText()
}

// set gives one key its value; false means that a problem was reported and the
// default stays.
func (d *Document) set(path string, n *node, v reflect.Value, f *field) bool {
	if n.kind == kindBroken {
		return false
	}
	if f.secret {
		d.secrets[path] = true
	}
	if v.Kind() == reflect.Pointer {
		target := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			target.Elem().Set(v.Elem())
		}
		if !d.set(path, n, target.Elem(), f) {
			return false
		}
		v.Set(target)
		return true
	}
	switch f.class() {
	case classTable:
		if n.kind != kindTable {
			d.wrong(path, n, "a table", d.tableForm(path, n))
			return false
		}
		d.table(path, n, v)
		return true
	case classMap:
		return d.setMap(path, n, v, f)
	case classTables:
		if n.kind != kindTables && n.kind != kindArray {
			d.wrong(path, n, "a list of tables", "write [["+path+"]]")
			return false
		}
		return d.setList(path, n, v, f)
	case classList:
		if n.kind != kindArray {
			d.wrong(path, n, "a list", tryList(n))
			return false
		}
		return d.setList(path, n, v, f)
	}
	return d.scalar(path, n, v, f)
}

func (d *Document) tableForm(path string, n *node) string {
	if n.kind == kindTables {
		return "write [" + path + "], once"
	}
	return "write [" + path + "] and its keys below"
}

func tryList(n *node) string {
	switch n.kind {
	case kindString:
		return "try [" + place.String(cutText(n.text)) + "]"
	case kindInt, kindFloat, kindBool:
		return "try [" + cutText(n.text) + "]"
	}
	return ""
}

func (d *Document) wrong(path string, n *node, want, suggestion string) {
	if d.secrets[path] {
		d.Add(path, "is not "+want, "")
		return
	}
	at := n.val
	if n.kind == kindTable || n.kind == kindTables {
		at = n.key
	}
	d.report(at, path, n.describe()+", not "+want, suggestion)
}

func (d *Document) setList(path string, n *node, v reflect.Value, f *field) bool {
	e := f.elem()
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	ok := true
	for i, item := range n.items {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.nodes[p] = item
		if !d.set(p, item, list.Index(i), e) {
			ok = false
		}
	}
	if ok {
		v.Set(list)
	}
	return ok
}

// setMap adds entries to those of the prototype.
func (d *Document) setMap(path string, n *node, v reflect.Value, f *field) bool {
	e := f.elem()
	if n.kind != kindTable {
		want, form := "a table", "write ["+path+"] and its keys below"
		if e.class() == classTable {
			form = "write [" + path + ".NAME], with a name of your choice"
		}
		d.wrong(path, n, want, form)
		return false
	}
	m := reflect.MakeMap(v.Type()) // never the prototype's own: it may be shared
	for it := v.MapRange(); it.Next(); {
		m.SetMapIndex(it.Key(), it.Value())
	}
	ok := true
	for _, name := range n.names {
		child := n.sub[name]
		p := join(path, name)
		key := reflect.ValueOf(name).Convert(v.Type().Key())
		if strings.HasPrefix(name, "x-") && child.kind == kindTable {
			continue
		}
		if bad := badText(name, false); bad != "" || name == "" || len(name) > 255 {
			d.report(child.key, p, "is not a usable name", "use letters, digits and hyphens")
			ok = false
			continue
		}
		if e.class() == classTable && child.kind != kindTable {
			suggestion := "write [" + p + "] and its keys below"
			for _, k := range fieldsOf(deref(e.typ)) {
				if k.name == name {
					suggestion = "give the table a name of your choice: [" + path + ".NAME]"
				}
			}
			d.wrong(p, child, "a table", suggestion)
			ok = false
			continue
		}
		d.nodes[p] = child
		entry := reflect.New(e.typ).Elem()
		if old := m.MapIndex(key); old.IsValid() {
			entry.Set(old)
		} else if e.class() == classTable {
			d.entryDefaults(p, child, entry)
		}
		if d.set(p, child, entry, e) {
			m.SetMapIndex(key, entry)
		} else {
			ok = false
		}
	}
	v.Set(m)
	return ok
}

// entryDefaults fills a new entry as the caller's hook says.
func (d *Document) entryDefaults(path string, n *node, entry reflect.Value) {
	if d.opts.EntryDefaults == nil {
		return
	}
	raw, _ := n.raw().(map[string]any)
	applyEntry(d.opts.EntryDefaults(path, raw), path, entry)
	d.entries[path] = clone(entry)
}

// applyEntry sets an entry, a struct or a pointer to one, to what a hook gave.
func applyEntry(given any, path string, entry reflect.Value) {
	if given == nil {
		return
	}
	def := reflect.ValueOf(given)
	for def.Kind() == reflect.Pointer {
		if def.IsNil() {
			return
		}
		def = def.Elem()
	}
	if def.Type() != deref(entry.Type()) {
		panic(fmt.Sprintf("config: the defaults of %s are %s instead of %s", path, def.Type(), entry.Type()))
	}
	if entry.Kind() == reflect.Pointer {
		entry.Set(reflect.New(entry.Type().Elem()))
		entry = entry.Elem()
	}
	entry.Set(clone(def))
}

// unknown reports a key that its table does not have, with the name that was
// probably meant, which it gives, or the table that it belongs to.
func (d *Document) unknown(path, name string, n *node, fields []*field) (meant string) {
	if !d.room() {
		return ""
	}
	word := "key"
	if n.kind == kindTable || n.kind == kindTables {
		word = "table"
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
		if f.secret {
			names = append(names, f.name+"_file")
		}
	}
	meant = place.Nearest(name, names)
	suggestion := d.elsewhere(name, word == "table")
	if meant != "" {
		suggestion = "did you mean " + place.Quote(meant) + "?"
	}
	for _, f := range fields {
		if f.secret && f.name == meant {
			n.val.src.secret = append(n.val.src.secret, n.val)
		}
	}
	d.report(n.key, join(path, name), "unknown "+word, suggestion)
	return meant
}

// elsewhere says where in the tree a key of that name exists.
func (d *Document) elsewhere(name string, table bool) string {
	found := ""
	walkKeys(d.defaults.Type(), nil, func(path []string, f *field) {
		c := f.class()
		isTable := c == classTable || c == classMap || c == classTables
		if f.name != name || found != "" || table != isTable {
			return
		}
		switch {
		case isTable && c == classMap:
			found = "write [" + Path(path...) + ".NAME]"
		case isTable:
			found = "write [" + Path(path...) + "]"
		case len(path) == 1:
			found = "it belongs above the first [table]"
		default:
			found = "it belongs in [" + Path(path[:len(path)-1]...) + "]"
		}
	})
	return found
}

// clone copies a value so that changes of one do not reach the other.
func clone(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(clone(v.Elem()))
			out.Set(p)
		}
	case reflect.Struct:
		for _, f := range copied(v.Type()) {
			out.FieldByIndex(f).Set(clone(v.FieldByIndex(f)))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(clone(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
			for it := v.MapRange(); it.Next(); {
				out.SetMapIndex(it.Key(), clone(it.Value()))
			}
		}
	}
	return out
}

// copied gives the places of a struct's keys; a struct without keys, as
// time.Time, is copied whole.
func copied(t reflect.Type) [][]int {
	if reflect.PointerTo(t).Implements(readsText) {
		return nil
	}
	var at [][]int
	for _, f := range fieldsOf(t) {
		at = append(at, f.index)
	}
	return at
}
