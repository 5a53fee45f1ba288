package rules

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"garita/place"
)

// unquoted helps with a value that is not in double quotes.
func (sc *scanner) unquoted(c *Condition, t token) {
	const said = "here belongs a text in double quotes"
	hint := "write " + c.Op.String() + ` "…"`
	if t.kind != tokenWord {
		sc.fail(t, said, hint)
		return
	}
	if t.text == "with" && (c.Op == Starts || c.Op == Ends) {
		sc.fail(t, place.Quote(t.text)+" is one word too many", hint)
		return
	}
	rest := sc.s[t.start:]
	if len(c.Values) > 0 && beginsSubject(rest) {
		sc.fail(t, "or joins the values of one condition", "put the conditions into a list: any = ['…', '…']")
		return
	}
	rest, _, _ = strings.Cut(rest, " or ")
	sc.fail(t, said, "write "+strconv.Quote(place.Shorten(strings.Trim(rest, " \t'\"\u00ab\u00bb\u2018\u2019\u201c\u201d"))))
}

// beginsSubject tells a text that begins as a condition does.
func beginsSubject(s string) bool {
	for _, f := range subjectForms() {
		if rest, ok := strings.CutPrefix(s, f.words); ok && (rest == "" || rest[0] == ' ') {
			return true
		}
	}
	return false
}

// unlikely warns of a value that is right and hits nothing: people who come from
// tables with wildcards, or with domains among the addresses, write such.
func (sc *scanner) unlikely(c *Condition, t token) {
	form := c.Subject.form()
	address := c.Subject == Sender || c.Subject == Recipient
	name := c.Subject == SenderDomain || c.Subject == RecipientDomain || c.Subject == Host
	file := c.Subject == AttachmentName || c.Subject == AttachmentExtension
	tail := strings.TrimPrefix(t.text, "*")
	text, hint := "", ""
	switch {
	case t.text == "":
		return
	case file && c.Op == Is && strings.HasPrefix(t.text, "*."):
		text, hint = "* stands for itself, not for any text", `did you mean attachment extension is `+strconv.Quote(place.Shorten(tail[1:]))+"?"
	case address && c.Op == Is && (strings.HasPrefix(t.text, "*@") || strings.HasPrefix(t.text, "@")) && len(tail) > 1:
		text, hint = "this is no whole address", "did you mean "+form.words+" domain is "+strconv.Quote(place.Shorten(tail[1:]))+"?"
	case address && c.Op == Is && !strings.Contains(t.text, "@") && strings.Contains(t.text, "."):
		text, hint = "this is no whole address", "did you mean "+form.words+" domain is "+strconv.Quote(place.Shorten(t.text))+"?"
	case name && c.Op == Is && strings.HasPrefix(tail, ".") && len(tail) > 1:
		text, hint = "no name begins so", "did you mean "+form.words+" ends "+strconv.Quote(place.Shorten(tail))+"?"
	case c.Subject == AttachmentExtension && c.Op != Matches && strings.Contains(t.text, "."):
		text, hint = "an extension is what follows the last dot, so this hits nothing", "did you mean attachment name ends "+strconv.Quote("."+place.Shorten(t.text))+"?"
	case c.Op == Is && strings.HasPrefix(t.text, "*") && strings.HasSuffix(t.text, "*") && strings.Trim(t.text, "*") != "":
		text, hint = "* stands for itself, not for any text", "did you mean "+strings.TrimSpace(place.Shorten(form.words+" "+c.Name))+" contains "+strconv.Quote(place.Shorten(strings.Trim(t.text, "*")))+"?"
	case c.Subject == Text && c.Op <= Ends && tagIn(t.text) != "":
		text, hint = "text is what is shown, without the tags", "did you mean html tag is "+strconv.Quote(tagIn(t.text))+"?"
	case c.Subject == AttachmentType && c.Op == Is && typeOf(t.text) != "":
		text, hint = "this is an extension; the type is what the octets are", "did you mean attachment type is "+strconv.Quote(typeOf(t.text))+", or attachment extension is "+strconv.Quote(t.text)+"?"
	}
	if text != "" {
		sc.p.warn(sc.place(t.start, t.end), text, hint)
	}
}

// tagIn is the tag of HTML that a text begins with, of those that people look
// for; "" for none.
func tagIn(s string) string {
	s = strings.ToLower(strings.TrimLeft(s, `\`))
	for _, tag := range []string{"iframe", "script", "object", "embed", "form", "applet", "meta", "img"} {
		if strings.HasPrefix(s, "<"+tag) {
			return tag
		}
	}
	return ""
}

// typeOf is what filetype calls the octets of files with a few extensions that
// are no names of types; "" for every other word.
func typeOf(extension string) string {
	switch strings.ToLower(extension) {
	case "exe", "dll", "scr", "com", "cpl", "sys", "pif", "program":
		return "executable"
	case "jpg", "jpe":
		return "jpeg"
	case "htm":
		return "html"
	case "tgz":
		return "gz"
	case "tif":
		return "tiff"
	}
	return ""
}

// fieldInPattern warns of a pattern as header_checks has them, with the name of
// the field in it: the subject is what stands behind the colon.
func (sc *scanner) fieldInPattern(c *Condition, at token) {
	name := c.Name
	switch c.Subject {
	case Text:
		if tag := tagIn(at.text); tag != "" {
			sc.p.warn(sc.place(at.start, at.end), "text is what is shown, without the tags", "did you mean html tag is "+strconv.Quote(tag)+"?")
		}
		return
	case SubjectText:
		name = "subject"
	case Header, MIMEHeader, NestedHeader, RawHeader:
	default:
		return
	}
	s := strings.TrimLeft(at.text, "^")
	if len(s) > len(name) && strings.EqualFold(s[:len(name)], name) && s[len(name)] == ':' {
		sc.p.warn(sc.place(at.start, at.end), "this runs over what stands behind the colon of the field", "leave "+s[:len(name)+1]+" out, or write any header matches")
	}
}

// otherWord is the word that is meant by another, of other programs or in
// Spanish; "" for none.
func otherWord(word string) string {
	switch word {
	case "inbound", "incoming", "entrante", "entrada":
		return "in"
	case "outbound", "outgoing", "saliente", "salida":
		return "out"
	case "any", "all", "ambas", "ambos", "todas":
		return "both"
	case "on", "true", "yes", "active", "enabled", "activa":
		return "enforce"
	case "false", "no", "disabled", "inactive", "inactiva":
		return "off"
	case "observar", "monitor", "log", "warn":
		return "observe"
	}
	return ""
}

// slip tells, of a mistake of TOML, those that are made again and again.
func slip(text []byte, at int, message string) (said, how string) {
	at = min(max(at, 0), len(text))
	from := at
	for from > 0 && text[from-1] != '\n' {
		from--
	}
	line, rest := string(text[from:at]), text[at:]
	switch {
	case strings.Contains(message, "at start of key") && len(rest) > 0 && rest[0] == ';',
		strings.Contains(message, "at start of key") && len(rest) > 1 && rest[0] == '/' && rest[1] == '/':
		return "this is neither a key nor a comment", "a comment begins with #"
	case strings.Contains(message, "at start of key") && len(rest) > 0 && rest[0] == '/':
		return "this is a line of a Postfix table", "garita import makes rules of one; garita rules lint looks at pcre:FILE or regexp:FILE"
	case !strings.Contains(message, "expected newline") && !strings.Contains(message, "after"):
		return "", ""
	}
	key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
	key = strings.TrimSpace(key)
	c, _ := utf8.DecodeRune(rest)
	switch {
	case key == "expires":
		return "this is not a date", "write expires = 2027-01-31: year, month, day"
	case key == "score" && c == ',':
		return "a number has no comma", "write a point: score = 5.0"
	case strings.HasSuffix(line, "'") && strings.Contains(line, "[") || strings.HasSuffix(line, `"`) && strings.Contains(line, "["):
		q := line[len(line)-1:]
		return fmt.Sprintf("the text ends at the %s before this", q), `a condition stands in single quotes and what it looks for in double ones: 'subject contains "…"'`
	}
	return "", ""
}
