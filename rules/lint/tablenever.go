package lint

import (
	"fmt"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// maxLine is line_length_limit: longer lines are looked up in pieces.
const maxLine = 2048

// own looks at each pattern of a rule by itself.
func (t *tableLint) own(e *entry) {
	accents := false
	for _, x := range e.All[len(e.All)-e.Own:] {
		longest := 100_000 // header_size_limit
		if t.view == postfix.Body {
			longest = maxLine
		}
		if f, ok := t.cost(x.Pattern, longest, false); ok {
			f.File, f.Line = t.file, e.Line
			f.Text = "the pattern " + f.Text
			t.add(f)
		}
		accents = accents || !x.Negated && t.octets(x.Pattern)
	}
	if !accents {
		return
	}
	text := "the pattern needs octets beyond ASCII: it sees one charset alone, and tells small accented letters from capital ones; "
	if t.view == postfix.Body {
		text += "and text in base64 or quoted-printable is not decoded"
	} else {
		text += "and headers write such letters as =?utf-8?...?=, which is not decoded"
	}
	t.tell(e.Line, "accents", text+": a rule of Garita's own sees the text as it is read", "")
}

// octets proves that what a pattern matches has an octet above ASCII.
func (t *tableLint) octets(p *pattern.Pattern) bool {
	if !pattern.Needs(p, func(c rune) bool { return c >= 0x80 }) {
		return false
	}
	_, _, proved := t.apart([]*pattern.Language{t.language(p)}, []*pattern.Language{t.language(t.compiled(`[\x80-\xff]`, bytesOnly))})
	return proved
}

// partHeader is what stands in the headers of parts, and is no line of a body
// but where somebody quotes it.
const partHeader = `(?i)\A(?:` + mimeNames + `[ \t]*:|\s*(?:file)?name\*?[0-9]*\*?[ \t]*=)`

// never proves that no text of the view matches a rule.
func (t *tableLint) never(e *entry) bool {
	for _, x := range e.All {
		if x.Negated {
			e.none = append(e.none, t.language(x.Pattern))
		} else {
			e.all = append(e.all, t.language(x.Pattern))
		}
	}
	if _, _, proved := t.apart(append(e.all, t.any()), e.none); proved {
		t.tell(e.Line, "never", "no text at all matches this rule: "+t.inside(e), "")
		return true
	}
	text, found, proved := t.apart(append(e.all, t.domain...), append(e.none, t.outside...))
	if proved {
		t.tell(e.Line, "never", "it can never match: "+t.why(e), t.sampleOf(e))
		return true
	}
	if found && t.holds(e, text) {
		e.text = text
	}
	if t.view != postfix.Body {
		return false
	}
	for _, x := range e.All {
		if !x.Negated && pattern.Length(x.Pattern) > maxLine {
			t.tell(e.Line, "never", fmt.Sprintf("it can never match: a match has %d octets and more, and lines are looked up in pieces of %d", pattern.Length(x.Pattern), maxLine), "")
			return true
		}
	}
	if e.text != nil && t.quoted(e) {
		t.tell(e.Line, "part-header", "the headers of parts are not lines of the body: mime_header_checks sees them, and body_checks only where somebody quotes them", quote(string(e.text)))
	}
	return false
}

// any is the language of all texts.
func (t *tableLint) any() *pattern.Language { return t.language(t.compiled(``, bytesOnly)) }

func (t *tableLint) quoted(e *entry) bool {
	head := t.compiled(partHeader, bytesOnly)
	if ok, err := head.Match(e.text, nil); err != nil || !ok {
		return false
	}
	_, _, proved := t.apart(append(e.all, t.domain...), append(e.none, t.language(head)))
	return proved
}

func (t *tableLint) inside(e *entry) string {
	for _, x := range e.All {
		if c := posixEscape(x); t.kind == postfix.Regexp && c != "" {
			return c + " is not known in a regexp: table, and matches nothing where case does not matter"
		}
	}
	if len(e.All) > e.Own {
		return "it contradicts itself, or the if around it"
	}
	return "it contradicts itself"
}

// why says what keeps a rule from the texts of its view.
func (t *tableLint) why(e *entry) string {
	with := func(source string) bool {
		_, _, proved := t.apart(append(e.all, t.language(t.compiled(source, bytesOnly))), e.none)
		return proved
	}
	switch {
	case with(`\A[^\x00]`):
		return "an empty line is never looked up"
	case with(`\A[^\x00]+\z`):
		return "a text ends before its first NUL"
	case t.view == postfix.Body:
		return "a line of the body is looked up alone, without a line break"
	case with(`\A[!-9;-~]`):
		return "a header begins with its name; a folded header is one text, and ^ is its start"
	case with(`\A[!-9;-~]+:`):
		return "a header is its name, a colon at once, and the value: blanks before the colon were left out"
	case t.view == postfix.NestedHeader && !proves(t, e):
		return "MIME headers of attached messages go to mime_header_checks"
	}
	return "a header's lines are joined by a line feed, and each but the first begins with a blank"
}

// proves tells whether the view without its exceptions is why.
func proves(t *tableLint, e *entry) bool {
	_, _, proved := t.apart(append(e.all, t.domain...), e.none)
	return proved
}

// sampleOf is a text that the pattern matches, and that cannot be there.
func (t *tableLint) sampleOf(e *entry) string {
	text, found, _ := t.apart(append(e.all, t.any()), e.none)
	if !found || !t.holds(e, text) {
		return ""
	}
	return quote(string(text))
}

// holds asks the patterns themselves.
func (t *tableLint) holds(e *entry, text []byte) bool {
	for _, x := range e.All {
		if ok, err := x.Pattern.Match(text, nil); err != nil || ok == x.Negated {
			return false
		}
	}
	return true
}

// hidden looks for a rule before that matches whatever this one does.
func (t *tableLint) hidden(e *entry, before []*entry) {
	if e.text == nil {
		return
	}
	for _, b := range before {
		if t.pairs--; t.pairs < 0 {
			return
		}
		if !t.holds(b, e.text) || !t.covered(e, b) {
			continue
		}
		switch v := postfix.Judge(t.view, b.Result); {
		case b.Result == e.Result && b.Groups == 0:
			t.tell(e.Line, "duplicate", fmt.Sprintf("it is never looked at: line %d matches whatever this would, and does the same", b.Line), quote(string(e.text)))
		case v.Action == postfix.None && v.Problem == "" && b.Result != "":
			t.tell(e.Line, "shadowed", fmt.Sprintf("it is never looked at: line %d matches whatever this would, and lets it through", b.Line), quote(string(e.text)))
		default:
			t.tell(e.Line, "shadowed", fmt.Sprintf("it is never looked at: line %d matches whatever this would", b.Line), quote(string(e.text)))
		}
		return
	}
}

// covered proves that b holds of every text of the view that e does.
func (t *tableLint) covered(e, b *entry) bool {
	for _, x := range b.All {
		all, none := append(append([]*pattern.Language{}, e.all...), t.domain...), append(append([]*pattern.Language{}, e.none...), t.outside...)
		if x.Negated {
			all = append(all, t.language(x.Pattern))
		} else {
			none = append(none, t.language(x.Pattern))
		}
		if sameAsOne(x, e) {
			continue
		}
		if _, _, proved := t.apart(all, none); !proved {
			return false
		}
	}
	return true
}

// sameAsOne spares the search where e has the same pattern itself.
func sameAsOne(x postfix.Expression, e *entry) bool {
	for _, y := range e.All {
		if x.Negated == y.Negated && x.Source == y.Source && x.Options == y.Options {
			return true
		}
	}
	return false
}
