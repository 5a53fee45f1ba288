package migrate

import (
	"bytes"
	"fmt"
	"strings"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// MailScanner imports a filename.rules.conf of MailScanner: lines of action,
// pattern, text for the log and text for the user, with tabs between. The first
// line that a name matches counts, so that an allow stands in the rules after it
// as (?!...): the rule passes by that name alone, not the whole message.
func MailScanner(text []byte, o Options) Result {
	m := &nameImport{options: o, sheet: sheet{file: o.File}}
	m.comment("Made of the filename rules of MailScanner, %s. Mode %s.", o.File, o.mode())
	m.tell(0, Note, "", "MailScanner takes the attachment out of a message that was accepted and delivers the rest; here the message is refused "+
		"while its sender waits")
	m.tell(0, Note, "", "filetype.rules.conf is not read: [check.attachment] looks at the octets of files by itself; see docs/attachments.md")
	for i, line := range bytes.Split(text, []byte("\n")) {
		if i >= MaxLines || len(text) > MaxFile {
			m.tell(i+1, Skipped, "", "the file is too large")
			break
		}
		l := strings.TrimRight(string(line), "\r \t")
		if l = strings.TrimLeft(l, " "); l == "" || l[0] == '#' || strings.TrimSpace(l) == "" {
			continue
		}
		m.one(i+1, l)
	}
	return m.done()
}

type nameImport struct {
	sheet
	options Options
	allowed []postfix.Expression
}

func (m *nameImport) one(n int, text string) {
	line := Line{Line: n, What: text}
	skip := func(why string) {
		line.Fate, line.Why = Skipped, why
		m.line(line)
	}
	var fields []string
	for _, f := range strings.Split(text, "\t") {
		if f = strings.TrimSpace(f); f != "" {
			fields = append(fields, f)
		}
	}
	if len(fields) < 2 {
		skip("the fields must have tabs between them, blanks are not enough: MailScanner does not understand this line either")
		return
	}
	action, source := strings.ToLower(strings.Join(strings.Fields(fields[0]), "")), fields[1]
	// MailScanner minds the case of no pattern.
	options := pattern.Options{Bytes: true, Fold: true}
	p, err := pattern.Compile(source, options)
	if err != nil {
		skip("the pattern: " + show(err.Error(), 200))
		return
	}
	e := postfix.Expression{Source: source, Options: options, Pattern: p}
	switch {
	case action == "allow":
		m.allowed = append(m.allowed, e)
		line.Fate, line.Why = Imported, "as an exception in the rules after it"
		m.line(line)
		return
	case strings.HasPrefix(action, "rename"):
		skip("attachments are not renamed here; a deny line for the same names refuses them, and disarm makes some harmless")
		return
	}
	line.Fate = Imported
	switch {
	case action == "deny":
	case action == "deny+delete":
		line.Fate, line.Why = Changed, "refused: there is nothing to delete"
	case strings.Contains(action, "@"):
		line.Fate, line.Why = Changed, "refused; nobody is sent a copy ([hold] notify tells people of held mail)"
	default:
		skip("an unknown action")
		return
	}
	m.write(n, text, fields, e, line)
}

func (m *nameImport) write(n int, text string, fields []string, e postfix.Expression, line Line) {
	c := clause{all: []postfix.Expression{e}}
	for _, a := range m.allowed {
		if !apart([]postfix.Expression{a}, c.all) {
			c.shields = append(c.shields, []postfix.Expression{a})
		}
	}
	if len(c.shields) > maxShields {
		line.Fate, line.Why = Skipped, fmt.Sprintf("more than %d allow lines before it", maxShields)
		m.line(line)
		return
	}
	re, flags, why := c.pattern(false)
	if why != "" {
		line.Fate, line.Why = Skipped, why
		m.line(line)
		return
	}
	r := rule{id: named(m.options.File, n), origin: fmt.Sprintf("%s line %d", show(m.options.File, 100), n), mode: m.options.mode(),
		actions: []string{"reject"}, comments: []string{fmt.Sprintf("%d: %s", n, text)}}
	condition := "attachment name matches /" + re + "/" + flags
	if len(c.shields) == 0 {
		if short, ok := simple(e); ok {
			condition = short
		}
	}
	r.match = []string{condition}
	if len(fields) > 2 && fields[2] != "-" {
		r.description = show(fields[2], 200)
	}
	if len(fields) > 3 && fields[3] != "-" {
		reply, odd := ascii(fields[3])
		r.reply = "5.7.1 " + strings.TrimSpace(reply[:min(len(reply), maxReply)])
		if odd {
			line.Fate = Changed
			line.Why = strings.TrimPrefix(line.Why+"; a reply is ASCII: accents and other signs are replaced", "; ")
		}
	}
	one := sheet{}
	r.toml(&one)
	if bad := check(one.toml.String()); len(bad) > 0 {
		line.Fate, line.Why = Skipped, "it cannot be said here: "+show(bad[0].Text, 300)
		m.line(line)
		return
	}
	m.toml.WriteString(one.toml.String())
	line.Rule = r.id
	m.line(line)
}

// simple gives "ends" for \.ext$, which is most of such files.
func simple(e postfix.Expression) (string, bool) {
	ext, ok := strings.CutPrefix(e.Source, `\.`)
	if ext, closed := strings.CutSuffix(ext, "$"); ok && closed && ext != "" && strings.Trim(ext, "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
		return "attachment extension is " + word(ext), true
	}
	return "", false
}
