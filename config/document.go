package config

import (
	"reflect"
	"regexp"
	"sort"
	"strconv"

	"garita/printable"
)

// EntryDefaults gives the defaults of a new entry of a map of tables: a struct
// of the map's element type, or a pointer to one; nil means the zero struct.
// path is the entry's key (`listener.inbound`); raw holds what the files say
// about it, unchecked, so that a default can depend on another key.
type EntryDefaults func(path string, raw map[string]any) any

// Options change how configuration is read. The zero value is usable.
type Options struct {
	EntryDefaults EntryDefaults
	// Credentials is a folder that a relative KEY_file of a secret is looked
	// up in first ($CREDENTIALS_DIRECTORY of systemd). Otherwise such a path
	// starts at the folder of config.toml.
	Credentials string
	// NoDropIns leaves conf.d beside the file unread.
	NoDropIns bool
}

// Document is what was read: the positions of all keys, for problems that the
// caller finds and for Explain.
type Document struct {
	Files []string // in the order they were read; later ones win

	opts     Options
	sources  []*source
	root     *node
	nodes    map[string]*node         // by path
	entries  map[string]reflect.Value // defaults of map entries, by path
	defaults reflect.Value            // the prototype as it was handed in
	value    reflect.Value            // what was read
	secrets  map[string]bool
	meant    map[string]bool // keys that no file sets, with a misspelt one in their place
	hidden   *regexp.Regexp  // finds the names of secrets
	folder   string          // relative paths start here
	problems Problems
	warnings Problems
	dropped  int
	unread   bool // a file could not be read: nothing is called missing
	sealed   bool // the files of secrets are not opened
}

// Position is where a key is set.
type Position struct {
	File         string
	Line, Column int
}

// Position gives the place where a key was set, false when it was not.
func (d *Document) Position(key string) (Position, bool) {
	n := d.nodes[key]
	if n == nil {
		return Position{}, false
	}
	p := n.key.src.problem(n.key, key, "", "")
	return Position{p.File, p.Line, p.Column}, true
}

// IsSet says whether a file sets the key.
func (d *Document) IsSet(key string) bool { return d.nodes[key] != nil }

// Misspelt says whether an unknown key stands where this key, or one of its
// tables, was probably meant, so that a finding about it would be a consequence.
func (d *Document) Misspelt(key string) bool {
	for ; key != ""; key = parent(key) {
		if d.meant[key] {
			return true
		}
	}
	return false
}

// Add reports a problem with a key (`listener.inbound.next_hop`, `list[2]`). It
// shows the key's value, or its table when no file sets the key, or the
// beginning of the first file.
func (d *Document) Add(key, text, suggestion string) {
	if d.room() {
		d.put(d.at(key, text, suggestion))
	}
}

// room counts a problem that will not be kept, before work is done for it: a
// list of a million wrong values makes a million problems.
func (d *Document) room() bool {
	if len(d.problems) < maxProblems {
		return true
	}
	d.dropped++
	return false
}

func (d *Document) report(at span, key, text, suggestion string) {
	if d.room() {
		d.put(at.src.problem(at, key, text, suggestion))
	}
}

// Warn is Add for what may stay as it is.
func (d *Document) Warn(key, text, suggestion string) {
	if len(d.warnings) < maxProblems {
		p := d.at(key, text, suggestion)
		p.warning = true
		d.warnings = append(d.warnings, p)
	}
}

// AddOther keeps a problem, or a warning, of another file that a key names: it
// has its own place there. What it says is escaped here.
func (d *Document) AddOther(p Problem, warning bool) {
	p.Text, p.Suggestion, p.Source, p.File = printable.Line(p.Text), printable.Line(p.Suggestion), printable.Line(p.Source), printable.Line(p.File)
	p.order = otherFiles
	switch {
	case warning && len(d.warnings) < maxProblems:
		p.warning = true
		d.warnings = append(d.warnings, p)
	case !warning && d.room():
		d.put(p)
	}
}

// otherFiles come behind those of the configuration.
const otherFiles = 1 << 20

func (d *Document) at(key, text, suggestion string) Problem {
	if n := d.nodes[key]; n != nil {
		return n.val.src.problem(n.val, key, text, suggestion)
	}
	for path := parent(key); path != ""; path = parent(path) {
		if n := d.nodes[path]; n != nil {
			return n.key.src.problem(n.key, key, text, suggestion)
		}
	}
	p := Problem{Key: key, Text: printable.Line(text), Suggestion: printable.Line(suggestion)}
	if len(d.sources) > 0 {
		p.File, p.Line, p.Column = d.sources[0].Name, 1, 1
	}
	return p
}

// parent cuts the last part or the last index off a path.
func parent(path string) string {
	cut := 0
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '"':
			if q, err := strconv.QuotedPrefix(path[i:]); err == nil {
				i += len(q) - 1
			}
		case '.', '[':
			cut = i
		}
	}
	return path[:cut]
}

func (d *Document) put(ps ...Problem) {
	for _, p := range ps {
		if len(d.problems) >= maxProblems {
			d.dropped++
			continue
		}
		d.problems = append(d.problems, p)
	}
}

// Problems gives all problems in the order of their positions. More than 100
// are counted, not kept.
func (d *Document) Problems() Problems {
	out := sorted(d.problems)
	if d.dropped > 0 {
		out = append(out, Problem{File: out[0].File, Text: "and " + strconv.Itoa(d.dropped) + " more problems"})
	}
	return out
}

// Warnings gives what should be looked at and prevents nothing.
func (d *Document) Warnings() Problems { return sorted(d.warnings) }

func sorted(ps Problems) Problems {
	out := append(Problems(nil), ps...)
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.order != b.order {
			return a.order < b.order
		}
		if a.order == otherFiles && a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return out
}

// Decode reads one text into a struct that holds the defaults; file is its
// name in problems. Files of secrets are read from the current folder.
func Decode(file string, text []byte, into any, opts Options) (*Document, Problems) {
	d := newDocument(opts, ".")
	d.hidden = secretNames(rootStruct(into).Type())
	d.add(file, text, 0)
	d.assign(into)
	return d, d.Problems()
}

func newDocument(opts Options, folder string) *Document {
	return &Document{opts: opts, folder: folder, nodes: map[string]*node{}, secrets: map[string]bool{},
		meant: map[string]bool{}, entries: map[string]reflect.Value{}}
}

// add parses one file and lays it over the earlier ones.
func (d *Document) add(file string, text []byte, mode uint32) {
	src := newSource(file, len(d.sources), text)
	src.mode, src.secrets = mode, d.hidden
	d.sources = append(d.sources, src)
	d.Files = append(d.Files, file)
	if len(text) > maxFile {
		d.put(Problem{File: src.Name, order: src.order, Text: "is larger than 1 MB", Suggestion: "a configuration is never that large"})
		src.Octets, src.Starts, d.unread = nil, []int{0}, true
		return
	}
	root, problems := parse(src)
	d.put(problems...)
	d.unread = d.unread || len(problems) > 0 // what seems missing may stand in a broken line
	if d.root == nil {
		d.root = root
	} else {
		d.root.merge(root)
	}
}
