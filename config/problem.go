package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Line > 0 && p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.message())
	switch n := strconv.Itoa(p.Line); {
	case p.Source == "":
	case p.width == 0:
		fmt.Fprintf(&b, "\n%s| %s", n, p.Source)
	default:
		fmt.Fprintf(&b, "\n%s| %s\n%*s| %*s%s %s", n, p.Source, len(n), "", p.mark, "", strings.Repeat("~", p.width), p.message())
	}
	return b.String()
}

func (p Problem) message() string {
	if p.Suggestion == "" {
		return p.Text
	}
	return p.Text + " (" + p.Suggestion + ")"
}

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

// quote shows a piece of a file: in quotes, escaped, and cut when it is long.
func quote(s string) string {
	const longest = 60
	if utf8.RuneCountInString(s) > longest {
		r := []rune(s)
		s = string(r[:longest]) + "…"
	}
	return strconv.Quote(s)
}

// clean escapes what a terminal could act on: control characters, characters
// that change the writing direction, invalid UTF-8.
func clean(s string) string {
	safe := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
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
		if c := s[i]; !bare(c) {
			return tomlString(s)
		}
	}
	return s
}

func bare(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
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

// tomlString writes a basic string. Its escapes are those that TOML and Go
// share, so that strconv.Unquote reads it too.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
