package migrate

import (
	"bytes"
	"fmt"
	"strings"

	"garita/rules/postfix"
)

// maxShields is how many earlier rules a pattern takes in.
const maxShields = 30

// Checks imports a header_checks, mime_header_checks, nested_header_checks or
// body_checks table.
func Checks(text []byte, o Options) Result {
	t := &tableImport{options: o, sheet: sheet{file: o.File}, lines: bytes.Split(text, []byte("\n"))}
	if len(text) > MaxFile {
		t.tell(0, Skipped, "", fmt.Sprintf("the file is larger than %d bytes", MaxFile))
		return t.done()
	}
	table, problems := postfix.Parse(string(text), o.Kind)
	t.table = table
	t.top()
	t.problems(problems)
	t.rules = table.Rules()
	for i, r := range t.rules {
		t.one(i, r)
	}
	return t.done()
}

type tableImport struct {
	sheet
	options Options
	table   *postfix.Table
	rules   []postfix.Rule
	lines   [][]byte
	before  []int // rules that keep later ones away, by index
}

func (t *tableImport) top() {
	o := t.options
	t.comment("Made of the %s table %s, used for %s.", o.Kind, o.File, viewName(o))
	t.comment("Mode %s: see what the rules say in the log before they decide.", o.mode())
	t.comment("The table as it is, with all its oddities: [check.postfix] %s = [%s]", keyOf(o.View), quote(o.Kind.String()+":"+o.File))
	switch {
	case o.View == postfix.Body:
		t.tell(0, Note, "", "body line looks at every raw line of the body, whole; Postfix looks at pieces of 2,048 octets and the first "+
			"51,200 octets of each part, and not at the headers of parts. Text in base64 is read decoded here and never by Postfix, "+
			`quoted-printable by neither: text contains "..." finds it`)
	case o.Everywhere:
		t.tell(0, Note, "", "Postfix looks header_checks up for headers of parts and of attached messages too, unless mime_header_checks and "+
			"nested_header_checks are set; so do these rules, and compare those decoded. --view header is for the message's own headers alone")
	}
}

func viewName(o Options) string {
	if o.Everywhere {
		return "header_checks, also for the headers of parts and attached messages"
	}
	return keyOf(o.View)
}

func keyOf(v postfix.View) string {
	return [...]string{"header_checks", "mime_header_checks", "nested_header_checks", "body_checks"}[v]
}

// problems tells what Postfix warns of.
func (t *tableImport) problems(list []postfix.Problem) {
	for _, p := range list {
		switch {
		case p.Unsupported:
			t.tell(p.Line, Skipped, t.source(p.Line), show(p.Text, 200)+": Postfix can do this, no engine here can; such a rule holds the whole table up in [check.postfix]")
		case p.Skipped:
			t.tell(p.Line, Skipped, t.source(p.Line), "Postfix skips it too: "+show(p.Text, 200))
		default:
			t.tell(p.Line, Note, t.source(p.Line), "Postfix warns: "+show(p.Text, 200))
		}
	}
}

// source is the first line of a rule.
func (t *tableImport) source(line int) string {
	if line < 1 || line > len(t.lines) {
		return ""
	}
	return strings.TrimSpace(string(t.lines[line-1]))
}

// one imports a rule.
func (t *tableImport) one(i int, r postfix.Rule) {
	l := Line{Line: r.Line, What: t.source(r.Line)}
	view := t.options.View
	if condition, ok := t.name(r); ok {
		t.nameRule(i, r, l, condition)
		return
	}
	if sample, why := t.dead(r); why != "" {
		l.Fate, l.Why, l.Sample = Dead, why, sample
		t.line(l)
		return
	}
	d := deedOf(view, r.Result, r.Groups, headerName(r.All))
	switch {
	case d.silent:
		t.before = append(t.before, i)
		l.Fate, l.Why = Imported, "as an exception in the rules after it"
		if i == len(t.rules)-1 {
			l.Fate, l.Why = Note, "it is the last rule: nothing comes after it that it keeps away"
		}
		t.line(l)
		return
	case d.skipped != "":
		t.before = append(t.before, i)
		l.Fate, l.Why = Skipped, d.skipped
		t.line(l)
		return
	}
	c := clause{all: r.All}
	why := t.shields(&c, i, r)
	t.before = append(t.before, i)
	re, flags := "", ""
	if why == "" {
		re, flags, why = c.pattern(view == postfix.Body)
	}
	if why != "" {
		l.Fate, l.Why = Skipped, why+"; keep the table as it is, in [check.postfix]"
		t.line(l)
		return
	}
	l.Fate, l.Why = Imported, strings.Join(t.remarks(r, c), "; ")
	if view == postfix.Header && !t.options.Everywhere && headerName(r.All) == "" {
		d.add("the MIME headers of the message, which Postfix looks up in mime_header_checks, are looked at too")
	}
	if d.changed != "" {
		l.Fate = Changed
		l.Why = strings.TrimSuffix(d.changed+"; "+l.Why, "; ")
	}
	t.write(r, l, d, t.conditions(r, "matches /"+re+"/"+flags))
}

// shields adds the rules before i that would have kept a line from it.
func (t *tableImport) shields(c *clause, i int, r postfix.Rule) string {
	mine := strings.ToUpper(strings.Fields(r.Result + " ?")[0])
	for _, k := range t.before {
		b := t.rules[k]
		word := strings.ToUpper(strings.Fields(b.Result + " ?")[0])
		if word == "REJECT" || word == mine || apart(b.All, r.All) {
			continue
		}
		if c.shields = append(c.shields, b.All); len(c.shields) > maxShields {
			return fmt.Sprintf("more than %d rules before it may take its lines (the first match counts)", maxShields)
		}
	}
	return ""
}

// conditions are what a rule asks of a message.
func (t *tableImport) conditions(r postfix.Rule, matches string) []string {
	switch t.options.View {
	case postfix.Body:
		return []string{"body line " + matches}
	case postfix.MIMEHeader:
		return []string{"any mime header " + matches}
	case postfix.NestedHeader:
		return []string{"any nested header " + matches}
	}
	if !t.options.Everywhere {
		return []string{"raw any header " + matches}
	}
	list := []string{"raw any header " + matches}
	name := headerName(r.All)
	if name == "" || isMIME(name) {
		list = append(list, "any mime header "+matches)
	}
	if !isMIME(name) {
		list = append(list, "any nested header "+matches)
	}
	return list
}

// remarks is what is worth knowing of a rule that is taken as it is.
func (t *tableImport) remarks(r postfix.Rule, c clause) (out []string) {
	for _, e := range r.All {
		if strings.Contains(e.Flags, "i") && !e.Options.Fold {
			out = append(out, "the letter i after the pattern makes Postfix mind the case, and so does the rule; leave it out to ignore the case")
		}
		if e.Options.Dialect != 0 {
			if re, _ := expression(e); re != slashes(e.Source) {
				out = append(out, "written in the language of PCRE")
			}
		}
		if t.options.View == postfix.Body && strings.IndexFunc(e.Source, func(r rune) bool { return r >= 0x80 }) >= 0 {
			out = append(out, "its accents are those of one charset, not encoded and not capital; a condition with text contains sees all of them")
		}
	}
	if len(c.shields) > 0 {
		out = append(out, fmt.Sprintf("rules before it that take such lines first stand in it as (?!...): %d", len(c.shields)))
	}
	view := t.options.View
	if view == postfix.MIMEHeader || view == postfix.NestedHeader {
		out = append(out, "the decoded header is compared")
	}
	switch name := headerName(r.All); name {
	case "subject", "from", "to", "cc", "reply-to", "sender", "comments":
		if view != postfix.Body {
			out = append(out, "encoded words (=?utf-8?...) are not decoded, here as there; a condition with "+shortName(name)+" sees both")
		}
	}
	return out
}

func shortName(name string) string {
	if name == "subject" {
		return "subject contains"
	}
	return "header " + name + " contains"
}

// write prints a rule and its line of the report.
func (t *tableImport) write(r postfix.Rule, l Line, d deed, conditions []string) {
	out := rule{id: named(t.options.File, r.Line), origin: fmt.Sprintf("%s line %d", show(t.options.File, 100), r.Line),
		mode: t.options.mode(), actions: d.actions, reply: d.reply}
	out.comments = []string{fmt.Sprintf("%d: %s", r.Line, t.source(r.Line))}
	if l.Why != "" {
		out.comments = append(out.comments, l.Fate.String()+": "+l.Why)
	}
	if len(conditions) == 1 {
		out.match = conditions
	} else {
		out.any = conditions
	}
	one := sheet{}
	out.toml(&one)
	if bad := check(one.toml.String()); len(bad) > 0 {
		l.Fate, l.Why = Skipped, "it cannot be said here: "+show(bad[0].Text, 300)
		t.line(l)
		return
	}
	t.toml.WriteString(one.toml.String())
	l.Rule = out.id
	t.line(l)
}

// name gives the condition on names of attachments that a rule stands for.
func (t *tableImport) name(r postfix.Rule) (string, bool) {
	if len(r.All) != 1 || r.All[0].Negated || t.options.View == postfix.NestedHeader {
		return "", false
	}
	return aboutName(r.All[0])
}

// nameRule imports a rule about the name of an attachment.
func (t *tableImport) nameRule(i int, r postfix.Rule, l Line, condition string) {
	t.before = append(t.before, i)
	d := deedOf(t.options.View, r.Result, r.Groups, "")
	if d.skipped != "" || d.silent {
		l.Fate, l.Why = Skipped, d.skipped
		if d.silent {
			l.Why = "an exception for names of attachments: write a rule with action \"pass\", or exceptions in [check.attachment]"
		}
		t.line(l)
		return
	}
	l.Fate = Changed
	l.Why = "looks at every name of every attachment, encoded and folded ones too, and not at the lines of headers"
	if sample, why := t.deadName(r); why != "" {
		l.Fate, l.Sample = Dead, sample
		l.Why = why + "; the rule " + l.Why
	}
	if d.changed != "" {
		l.Why += "; " + d.changed
	}
	t.write(r, l, d, []string{condition})
}
