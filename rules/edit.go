package rules

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"garita/mail"
	"garita/place"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// ErrNoRule says that the file has no rule of that ID.
var ErrNoRule = errors.New("there is no such rule in the file")

// errEdit refuses an edit whose result would not be what was meant: the file is
// then left to its owner.
var errEdit = errors.New("the file is written in a way that cannot be edited safely: edit it by hand")

// splice replaces a range of octets.
type splice struct {
	span
	text string
}

// SetMode changes the mode of one rule of a file and keeps every other octet.
// Where the rule has no mode, a line is put behind that of its id. The file must
// be right in its form; the result is read again and refused when anything but
// that mode differs.
func SetMode(text []byte, id string, mode string) ([]byte, error) {
	if _, ok := mail.ParseMode(mode); !ok {
		return nil, fmt.Errorf("%s is not a mode: off, observe, score or enforce", place.Quote(mode))
	}
	r, err := readForEdit(text)
	if err != nil {
		return nil, err
	}
	var found *table
	index, n := 0, 0
	for _, t := range r.tables {
		if t.name != "rule" {
			continue
		}
		if e := t.byName["id"]; e != nil && e.val.kind == unstable.String && e.val.text == id {
			if found != nil {
				return nil, fmt.Errorf("the id %s is there twice, in lines %d and %d", place.Quote(id), r.doc.Line(found.at.start), r.doc.Line(t.at.start))
			}
			found, index = t, n
		}
		n++
	}
	if found == nil {
		return nil, ErrNoRule
	}
	edits := r.set(found, "id", []setting{{"mode", mode}})
	return r.finish(edits, func(doc map[string]any) bool {
		return patch(doc, "rule", index, []setting{{"mode", mode}})
	})
}

// AddOverride puts an [[override]] at the end of a file, or changes the one
// there is for the same rule, tag or set, and keeps every other octet. Mode or
// Score that is nil is left as it is.
func AddOverride(text []byte, o Override) ([]byte, error) {
	var key, name string
	for _, k := range [][2]string{{"rule", o.Rule}, {"tag", o.Tag}, {"set", o.Set}} {
		if k[1] == "" {
			continue
		}
		if key != "" {
			return nil, errors.New("an override is about a rule, a tag or a set, one of them")
		}
		key, name = k[0], k[1]
	}
	if !validName(name) {
		return nil, fmt.Errorf("%s is not the name of a rule, tag or set", place.Quote(name))
	}
	var settings []setting
	if o.Mode != nil {
		if o.Mode.String() == "unknown" {
			return nil, errors.New("there is no such mode")
		}
		settings = append(settings, setting{"mode", o.Mode.String()})
	}
	if o.Score != nil {
		if math.IsNaN(*o.Score) || math.Abs(*o.Score) > maxScore {
			return nil, fmt.Errorf("a score is between -%d and %d", maxScore, maxScore)
		}
		settings = append(settings, setting{"score", *o.Score})
	}
	if len(settings) == 0 {
		return nil, errors.New("the override changes nothing: give it a mode or a score")
	}
	r, err := readForEdit(text)
	if err != nil {
		return nil, err
	}
	var found *table
	index, n := 0, 0
	for _, t := range r.tables {
		if t.name != "override" {
			continue
		}
		if t.isFor(key, name) { // the last one counts
			found, index = t, n
		}
		n++
	}
	if found != nil {
		return r.finish(r.set(found, key, settings), func(doc map[string]any) bool {
			return patch(doc, "override", index, settings)
		})
	}
	edit := splice{span{len(text), len(text)}, r.newOverride(key, name, settings)}
	return r.finish([]splice{edit}, func(doc map[string]any) bool {
		list, ok := doc["override"].([]any)
		if !ok && doc["override"] != nil {
			return false
		}
		doc["override"] = append(list, map[string]any{key: name})
		return patch(doc, "override", len(list), settings)
	})
}

// isFor tells an override of that target and no other.
func (t *table) isFor(key, name string) bool {
	for _, k := range []string{"rule", "tag", "set"} {
		e := t.byName[k]
		if (e != nil) != (k == key) || e != nil && (e.val.kind != unstable.String || e.val.text != name) {
			return false
		}
	}
	return true
}

// setting is a key with the text or number that it shall have.
type setting struct {
	key   string
	value any
}

func (s setting) toml() string {
	if f, ok := s.value.(float64); ok {
		text := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	return place.String(s.value.(string))
}

func readForEdit(text []byte) (*reader, error) {
	r := readTOML(newDocument("the file", bytes.Clone(text)))
	if len(r.problems) > 0 {
		p := r.problems[0]
		return nil, fmt.Errorf("line %d: %s", p.Line, p.message())
	}
	return r, nil
}

// eol is the line end that the file has.
func (r *reader) eol() string {
	if i := bytes.IndexByte(r.doc.Octets, '\n'); i > 0 && r.doc.Octets[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// set makes the splices that give a table its settings; new lines go behind that
// of the key first, written as it is.
func (r *reader) set(t *table, first string, settings []setting) (edits []splice) {
	for _, s := range settings {
		e := t.byName[s.key]
		if e == nil {
			edits = append(edits, r.insert(t.byName[first], s))
			continue
		}
		if f, err := strconv.ParseFloat(e.val.text, 64); e.val.text == s.value || err == nil && f == s.value && e.val.kind != unstable.String {
			continue // as it is
		}
		text := s.toml()
		if r.doc.Octets[e.val.at.start] == '\'' { // what the author likes
			text = "'" + strings.Trim(text, `"`) + "'"
		}
		edits = append(edits, splice{e.val.at, text})
	}
	return edits
}

// insert makes a line behind that of an entry, indented and spaced as it is.
func (r *reader) insert(e *entry, s setting) splice {
	text := r.doc.Octets
	from := bytes.LastIndexByte(text[:e.key.start], '\n') + 1
	indent := strings.TrimPrefix(string(text[from:e.key.start]), place.ByteOrderMark)
	between := string(text[e.key.end:e.val.at.start])
	if more := len(s.key) - (e.key.end - e.key.start); more > 0 {
		for ; more > 0 && strings.HasPrefix(between, "  "); more-- { // columns stay columns
			between = between[1:]
		}
	}
	line := indent + s.key + between + s.toml()
	i := bytes.IndexByte(text[e.end:], '\n')
	if i < 0 {
		return splice{span{len(text), len(text)}, r.eol() + line}
	}
	at, eol := e.end+i+1, "\n"
	if text[at-2] == '\r' {
		eol = "\r\n"
	}
	return splice{span{at, at}, line + eol}
}

func (r *reader) newOverride(key, name string, settings []setting) string {
	text, eol := r.doc.Octets, r.eol()
	var b strings.Builder
	if len(text) > 0 && text[len(text)-1] != '\n' && len(text) != len(place.ByteOrderMark) {
		b.WriteString(eol)
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(text, []byte(place.ByteOrderMark)))) > 0 {
		b.WriteString(eol)
	}
	b.WriteString("[[override]]" + eol + key + " = " + place.String(name) + eol)
	for _, s := range settings {
		b.WriteString(s.key + " = " + s.toml() + eol)
	}
	return b.String()
}

// finish makes the edits and looks whether they did what change does, by a
// reader that is not ours.
func (r *reader) finish(edits []splice, change func(doc map[string]any) bool) ([]byte, error) {
	before := r.doc.Octets
	slices.SortStableFunc(edits, func(a, b splice) int { return a.start - b.start })
	var out []byte
	at := 0
	for _, e := range edits {
		if e.start < at {
			return nil, errEdit
		}
		out = append(append(out, before[at:e.start]...), e.text...)
		at = e.end
	}
	out = append(out, before[at:]...)
	if _, err := readForEdit(out); err != nil {
		return nil, errEdit
	}
	want, err1 := decode(before)
	got, err2 := decode(out)
	if err1 != nil || err2 != nil || !change(want) || !reflect.DeepEqual(want, got) {
		return nil, errEdit
	}
	return out, nil
}

func decode(text []byte) (doc map[string]any, err error) {
	doc = map[string]any{}
	err = toml.Unmarshal(bytes.TrimPrefix(text, []byte(place.ByteOrderMark)), &doc)
	return doc, err
}

// patch sets keys of one table of a list of tables.
func patch(doc map[string]any, list string, index int, settings []setting) bool {
	tables, _ := doc[list].([]any)
	if index >= len(tables) {
		return false
	}
	t, ok := tables[index].(map[string]any)
	if !ok {
		return false
	}
	for _, s := range settings {
		if i, ok := t[s.key].(int64); ok && s.key == "score" && float64(i) == s.value {
			continue // 5 may stay where 5.0 is meant
		}
		t[s.key] = s.value
	}
	return true
}
