package migrate

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"garita/rules"
)

// show makes text fit to be shown: what is not printable is escaped, and it is
// cut at n characters.
func show(s string, n int) string {
	var b strings.Builder
	count := 0
	for len(s) > 0 {
		c, size := utf8.DecodeRuneInString(s)
		if count >= n {
			b.WriteString("...")
			break
		}
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case !unicode.IsPrint(c) && c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		case !unicode.IsPrint(c):
			fmt.Fprintf(&b, `\u{%x}`, c)
		default:
			b.WriteRune(c)
		}
		s = s[size:]
		count++
	}
	return b.String()
}

// wrap cuts text into lines of about n characters.
func wrap(s string, n int) (lines []string) {
	for utf8.RuneCountInString(s) > n {
		cut := strings.LastIndexByte(s[:min(n, len(s))], ' ')
		if cut < n/2 {
			break
		}
		lines, s = append(lines, s[:cut]), s[cut+1:]
	}
	return append(lines, s)
}

// quote writes a TOML string: a literal one where that can be. Octets that are
// not UTF-8 become U+FFFD.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	plain := true
	for _, c := range s {
		if c == '\'' || !unicode.IsPrint(c) {
			plain = false
		}
	}
	if plain && strings.ContainsAny(s, `"\`) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			fmt.Fprintf(&b, `\U%08X`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// list writes a TOML list, one value a line if it is long.
func list(values []string) string {
	if len(values) == 0 {
		return "[]"
	}
	quoted := make([]string, len(values))
	length := 0
	for i, v := range values {
		quoted[i] = quote(v)
		length += len(quoted[i]) + 2
	}
	if length <= 100 {
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return "[\n    " + strings.Join(quoted, ",\n    ") + ",\n]"
}

// word writes a value of a condition.
func word(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// words joins values of a condition.
func words(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = word(v)
	}
	return strings.Join(out, " or ")
}

// named makes an ID out of the name of a file and a line.
func named(file string, line int) string {
	var b strings.Builder
	base := strings.ToLower(filepath.Base(file))
	for i := 0; i < len(base) && b.Len() < 40; i++ {
		switch c := base[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	name := strings.Trim(b.String(), "-")
	if name == "" {
		name = "rule"
	}
	return fmt.Sprintf("%s-%d", name, line)
}

// rule is a [[rule]] that is being written.
type rule struct {
	comments    []string
	id          string
	description string
	origin      string
	mode        string
	match, any  []string
	actions     []string
	reply       string
}

// toml writes it.
func (r rule) toml(s *sheet) {
	s.toml.WriteByte('\n')
	for _, c := range r.comments {
		s.comment("%s", c)
	}
	w := func(key, value string) { s.toml.WriteString(key + " = " + value + "\n") }
	s.toml.WriteString("[[rule]]\n")
	w("id", quote(r.id))
	if r.description != "" {
		w("description", quote(r.description))
	}
	w("source", quote(r.origin))
	w("mode", quote(r.mode))
	if len(r.match) > 0 {
		w("match", list(r.match))
	}
	if len(r.any) > 0 {
		w("any", list(r.any))
	}
	if len(r.actions) == 1 {
		w("action", quote(r.actions[0]))
	} else {
		w("action", list(r.actions))
	}
	if r.reply != "" {
		w("reply", quote(r.reply))
	}
}

// check reads rules as the gateway will: what it would refuse must not be
// printed.
func check(text string) []rules.Problem {
	_, problems := rules.Parse(rules.Source{Name: "import", Text: []byte(text)}, rules.ParseOptions{})
	var bad []rules.Problem
	for _, p := range problems {
		if !p.Warning {
			bad = append(bad, p)
		}
	}
	return bad
}

// ascii makes text that may stand in a reply, and tells whether it differs.
// Accents go, other letters become question marks.
func ascii(s string) (string, bool) {
	const from = "áàâäãåéèêëíìîïóòôöõúùûüñçÁÀÂÄÃÅÉÈÊËÍÌÎÏÓÒÔÖÕÚÙÛÜÑÇ¿¡ßªº«»"
	const to = "aaaaaaeeeeiiiiooooouuuuncAAAAAAEEEEIIIIOOOOOUUUUNC  sao\"\""
	var b strings.Builder
	changed := false
	for _, c := range s {
		if c >= ' ' && c < 0x7f {
			b.WriteRune(c)
			continue
		}
		changed = true
		if i := strings.IndexRune(from, c); c != utf8.RuneError && i >= 0 {
			if a := to[utf8.RuneCountInString(from[:i])]; a != ' ' {
				b.WriteByte(a)
			}
			continue
		}
		b.WriteByte('?')
	}
	return b.String(), changed
}
