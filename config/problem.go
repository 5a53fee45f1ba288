package config

import (
	"encoding/json"
	"strconv"
	"strings"

	"garita/place"
)

// Problem is one mistake in a configuration file. Its texts are safe to print:
// whatever came from the file is escaped.
type Problem struct {
	File       string `json:"file"`
	Line       int    `json:"line,omitempty"`   // from 1; 0 when the whole file is meant
	Column     int    `json:"column,omitempty"` // in characters, from 1
	Key        string `json:"key,omitempty"`    // full path: listener.inbound.role
	Text       string `json:"text"`
	Suggestion string `json:"suggestion,omitempty"` // "did you mean …?", "try …"
	Source     string `json:"source,omitempty"`     // the line, escaped, without secrets

	warning     bool
	mark, width int // characters of Source before the mark, and under it
	order       int // of the file
}

// String gives the problem as `file:line:column: key: text (suggestion)`,
// followed by the line and a mark under the place.
func (p Problem) String() string {
	said := p.message()
	key := ""
	if p.Key != "" {
		key = p.Key + ": "
	}
	return place.Head(p.File, p.Line, p.Column, p.warning) + key + said +
		place.Excerpt{Text: p.Source, Mark: p.mark, Width: p.width}.Under(p.Line, said)
}

func (p Problem) message() string { return place.Message(p.Text, p.Suggestion) }

// Problems are in the order of their positions.
type Problems []Problem

// String gives one problem after the other, each ended by a line feed.
func (ps Problems) String() string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Error makes Problems an error; use Err to get nil for none.
func (ps Problems) Error() string { return strings.TrimSuffix(ps.String(), "\n") }

// Err is nil when there are no problems.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// JSON is an array of objects, [] when there are none.
func (ps Problems) JSON() []byte {
	if len(ps) == 0 {
		return []byte("[]\n")
	}
	b, err := json.MarshalIndent([]Problem(ps), "", "  ")
	if err != nil { // strings and numbers alone: cannot happen
		panic(err)
	}
	return append(b, '\n')
}

// Path joins key parts as TOML writes them: parts that are not bare are quoted.
func Path(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(keyPart(p))
	}
	return b.String()
}

func join(path, part string) string {
	if path == "" {
		return keyPart(part)
	}
	return path + "." + keyPart(part)
}

func keyPart(s string) string {
	if s == "" {
		return `""`
	}
	for i := 0; i < len(s); i++ {
		if !place.BareKey(s[i]) {
			return place.String(s)
		}
	}
	return s
}

// splitPath is the reverse of Path; list indices are left where they stand.
func splitPath(path string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '.':
			parts = append(parts, b.String())
			b.Reset()
		case '"':
			if q, err := strconv.QuotedPrefix(path[i:]); err == nil {
				if s, err := strconv.Unquote(q); err == nil {
					b.WriteString(s)
					i += len(q) - 1
					continue
				}
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return append(parts, b.String())
}

// unindexed gives the name of the table that a path stands for: without the
// [2] of list elements.
func unindexed(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '"':
			if q, err := strconv.QuotedPrefix(path[i:]); err == nil {
				b.WriteString(q)
				i += len(q) - 1
				continue
			}
		case '[':
			if j := strings.IndexByte(path[i:], ']'); j > 0 {
				i += j
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
