package rules

import (
	"bytes"
	"mime"
	"slices"
	"strings"

	"garita/message"
)

// edits are the changes of the message's header that a rule asks for, sorted
// and apart. Of two that touch the same octets the first in the rule counts.
func (r *run) edits(p *program) []message.Edit {
	var out []message.Edit
	for i := range p.rule.Actions {
		a := &p.rule.Actions[i]
		switch a.Kind {
		case Prepend:
			out = append(out, r.prepend(wholeField(a.Text)))
		case TagSubject:
			out = append(out, r.tagSubject(a.Text)...)
		case ReplaceHeader, IgnoreHeader:
			out = append(out, r.change(p, a)...)
		}
	}
	return apart(out)
}

func apart(edits []message.Edit) []message.Edit {
	var out []message.Edit
	for _, e := range edits {
		clash := slices.ContainsFunc(out, func(o message.Edit) bool {
			return e.Delete > 0 && o.Delete > 0 && e.At < o.At+o.Delete && o.At < e.At+e.Delete ||
				e.Delete == 0 && o.Delete > 0 && e.At > o.At && e.At < o.At+o.Delete ||
				o.Delete == 0 && e.Delete > 0 && o.At > e.At && o.At < e.At+e.Delete
		})
		if !clash {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b message.Edit) int {
		switch {
		case a.At != b.At:
			return int(min(1, max(-1, a.At-b.At)))
		case (a.Delete > 0) != (b.Delete > 0):
			if a.Delete > 0 {
				return 1 // insertions come first (message.Render)
			}
			return -1
		}
		return 0
	})
	return out
}

// prepend puts fields before all others, behind any mbox line. A message that
// begins with its body gets an empty line, else its first line could go on our
// field.
func (r *run) prepend(fields string) message.Edit {
	raw := r.in.Raw
	at := 0
	if f := r.header(); len(f) > 0 {
		return message.Edit{At: int64(f[0].start), Insert: []byte(fields)}
	}
	for at < len(raw) && bytes.HasPrefix(bytes.TrimLeft(lineOf(raw[at:]), ">"), []byte("From ")) {
		i := bytes.IndexByte(raw[at:], '\n')
		if i < 0 {
			return message.Edit{At: int64(len(raw)), Insert: []byte("\r\n" + fields)}
		}
		at += i + 1
	}
	if at < len(raw) && len(lineOf(raw[at:])) > 0 {
		fields += "\r\n"
	}
	return message.Edit{At: int64(at), Insert: []byte(fields)}
}

// wholeField writes a field with its line end.
func wholeField(s string) string {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		return "X-Garita-Rule: " + word(s) + "\r\n"
	}
	return name + ": " + word(strings.TrimSpace(value)) + "\r\n"
}

// word is text for a header field on one line: ASCII as it is, else as encoded
// words (RFC 2047). Rule files cannot hold line ends here; that none gets out is
// not left to them.
func word(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == '\r' || c == '\n' || c == 0 {
			return ' '
		}
		return c
	}, s)
	if ascii([]byte(s)) {
		return s
	}
	// One word a line: a field's line has 998 octets at most.
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// tagSubject puts a tag behind "Subject:" of every such field, and leaves the
// rest byte for byte. What has the tag already is left alone.
func (r *run) tagSubject(tag string) []message.Edit {
	tag = strings.TrimSpace(tag)
	var out []message.Edit
	seen := false
	for _, f := range r.header() {
		if f.name != "subject" {
			continue
		}
		seen = true
		rest := r.in.Raw[f.colon+1 : f.end]
		value := bytes.TrimLeft(rest, " \t\r\n")
		insert := word(tag)
		if bytes.HasPrefix(value, []byte(insert)) {
			continue
		}
		if strings.HasSuffix(insert, "?=") && bytes.HasPrefix(value, []byte("=?")) {
			// White space between two encoded words is not shown (RFC 2047
			// section 6.2): it has to be in one of them.
			insert = word(tag + " ")
		}
		insert = " " + insert
		if len(rest) > 0 && !blank(rest[0]) {
			insert += " "
		}
		out = append(out, message.Edit{At: int64(f.colon + 1), Insert: []byte(insert)})
	}
	if !seen {
		return []message.Edit{r.prepend("Subject: " + word(tag) + "\r\n")}
	}
	return out
}

// change replaces or leaves out fields: those of a name, or those that the
// rule's conditions hold of.
func (r *run) change(p *program, a *Action) []message.Edit {
	var at []int
	if a.Name != "" {
		at = r.fieldsNamed(a.Name)
	} else {
		at = r.matchedFields(p)
	}
	var out []message.Edit
	for _, start := range at {
		name, _, end, ok := fieldAt(r.in.Raw, start)
		if !ok {
			continue
		}
		e := message.Edit{At: int64(start), Delete: int64(end - start)}
		if a.Kind == ReplaceHeader {
			e.Insert = []byte(string(name) + ": " + word(a.Text) + "\r\n")
		}
		out = append(out, e)
	}
	return out
}
