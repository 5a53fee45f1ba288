package rules

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"garita/message"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxCondition bounds a condition as written; a pattern is longer than any of
// its text should be.
const maxCondition = 256 << 10

// conditions reads match, any or not.
func (p *parser) conditions(t *table, key string) []*Condition {
	v := t.take(key)
	if v == nil {
		return nil
	}
	items := []*value{v}
	if v.kind == unstable.Array {
		items = v.items
		if len(items) == 0 {
			p.report(v.at, key+" is empty", "leave it out, or give it a condition")
		}
	}
	var out []*Condition
	for _, item := range items {
		s, ok := p.text(item, "a condition")
		if !ok {
			continue
		}
		if len(out) == MaxConditions {
			p.report(item.at, fmt.Sprintf("%s has more than %d conditions", key, MaxConditions), "put values into one condition with or, or into a file: in list FILE")
			break
		}
		if c := p.condition(item, s); c != nil {
			out = append(out, c)
		}
	}
	return out
}

// condition reads "[not] SUBJECT OPERATOR VALUE"; nil when it was reported.
func (p *parser) condition(v *value, s string) *Condition {
	if len(s) > maxCondition {
		p.report(v.at, fmt.Sprintf("the condition is longer than %d KB", maxCondition>>10), "")
		return nil
	}
	sc := &scanner{p: p, v: v, s: s}
	c := &Condition{Source: s}
	c.Line, c.Column = p.doc.position(p.offset(v, 0))
	c.Not = sc.takeWords("not")
	if !sc.subject(c) || !sc.operator(c) {
		return nil
	}
	if t := sc.next(); t.kind != tokenEnd {
		switch {
		case t.text == "and":
			sc.fail(t, "a condition says one thing", "write what follows as a second condition of match")
		case t.text == ",":
			sc.fail(t, "values are joined by the word or", "write or")
		default:
			sc.fail(t, "there is something after the end of the condition", "")
		}
		return nil
	}
	return c
}

// subjectForm is how a subject is written.
type subjectForm struct {
	words   string
	subject Subject
	kind    subjectKind
	name    bool // a name follows
}

type subjectKind uint8

const (
	aboutText        subjectKind = iota
	aboutField                   // text that may be missing
	aboutOctets                  // text as octets
	aboutOctetsField             // the same, may be missing
	aboutAddress                 // of a client
	aboutNumber
	aboutSize
)

// subjectForms are in an order in which the longer forms come first.
func subjectForms() []subjectForm {
	return []subjectForm{
		{"client", Client, aboutAddress, false},
		{"host", Host, aboutField, false},
		{"helo", Helo, aboutText, false},
		{"sender domain", SenderDomain, aboutText, false},
		{"sender", Sender, aboutField, false},
		{"recipient domain", RecipientDomain, aboutText, false},
		{"recipient", Recipient, aboutText, false},
		{"recipients", Recipients, aboutNumber, false},
		{"user", User, aboutField, false},
		{"listener", Listener, aboutText, false},
		{"size", Size, aboutSize, false},
		{"subject", SubjectText, aboutField, false},
		{"header", Header, aboutField, true},
		{"any header", AnyHeader, aboutText, false},
		{"mime header", MIMEHeader, aboutField, true},
		{"any mime header", AnyMIMEHeader, aboutText, false},
		{"nested header", NestedHeader, aboutField, true},
		{"any nested header", AnyNestedHeader, aboutText, false},
		{"raw header", RawHeader, aboutOctetsField, true},
		{"raw any header", RawAnyHeader, aboutOctets, false},
		{"body line", BodyLine, aboutOctets, false},
		{"text", Text, aboutText, false},
		{"html tag", Tag, aboutText, false},
		{"html attribute", Attribute, aboutField, true},
		{"attachment name", AttachmentName, aboutField, false},
		{"attachment extension", AttachmentExtension, aboutText, false},
		{"attachment type", AttachmentType, aboutText, false},
		{"attachment declared", AttachmentDeclared, aboutText, false},
		{"attachment size", AttachmentSize, aboutSize, false},
		{"attachments", Attachments, aboutNumber, false},
		{"defect", Defect, aboutText, false},
	}
}

// String gives the subject as a condition spells it, without a name.
func (s Subject) String() string {
	for _, f := range subjectForms() {
		if f.subject == s {
			return f.words
		}
	}
	return "unknown"
}

func (s Subject) form() subjectForm {
	for _, f := range subjectForms() {
		if f.subject == s {
			return f
		}
	}
	return subjectForm{}
}

// subject reads what the condition is about.
func (sc *scanner) subject(c *Condition) bool {
	first := sc.peek()
	for _, f := range subjectForms() {
		if !sc.takeWords(strings.Fields(f.words)...) {
			continue
		}
		c.Subject = f.subject
		if !f.name {
			return true
		}
		return sc.subjectName(c, f)
	}
	sc.unknownSubject(first)
	return false
}

// subjectName reads NAME, or NAME of TAG of html attribute.
func (sc *scanner) subjectName(c *Condition, f subjectForm) bool {
	t := sc.next()
	if t.kind != tokenWord {
		hint := "write " + f.words + " NAME …"
		if t.kind == tokenText && validField(t.text) {
			hint = "write it without quotes: " + f.words + " " + t.text
		}
		sc.fail(t, "here belongs the name of the "+f.words[strings.LastIndexByte(f.words, ' ')+1:], hint)
		return false
	}
	name := t.text
	if f.subject == Attribute {
		c.Name = strings.ToLower(name)
		if sc.takeWords("of") {
			tag := sc.next()
			if tag.kind != tokenWord {
				sc.fail(tag, "here belongs the name of a tag", "write html attribute "+name+" of meta …")
				return false
			}
			c.Of = strings.ToLower(tag.text)
		}
		return true
	}
	if isOperator(name) && f.subject == Header {
		if next := sc.peek(); next.kind == tokenText || next.kind == tokenEnd {
			sc.fail(t, "the name of the header field is missing", "write header Subject "+name+" …, or any header "+name+" …")
			return false
		}
	}
	name, ok := sc.fieldName(t)
	c.Name = strings.ToLower(name)
	return ok
}

func isOperator(word string) bool {
	return slices.Contains([]string{"is", "contains", "starts", "ends", "matches", "in", "exists"}, word)
}

// unknownSubject helps with a condition that begins with something else.
func (sc *scanner) unknownSubject(t token) {
	if t.kind != tokenWord {
		sc.fail(t, "here belongs what the condition is about", "for example: subject, sender, text, attachment name")
		return
	}
	alias := map[string]string{"from": "sender (of the envelope) or header From", "to": "recipient (of the envelope) or header To",
		"ip": "client", "address": "client", "rcpt": "recipient", "mail": "sender", "body": "text (decoded) or body line (raw)",
		"filename": "attachment name", "file": "attachment name", "extension": "attachment extension", "mime": "mime header NAME or any mime header",
		"any": "any header", "nested": "nested header NAME or any nested header", "raw": "raw header NAME or raw any header",
		"html": "html tag or html attribute NAME", "attachment": "attachment name, attachment extension, attachment type, attachment declared or attachment size",
		"reply-to": "header Reply-To", "hostname": "host", "ehlo": "helo", "tag": "html tag", "name": "attachment name"}
	rest := sc.s[t.start:]
	words := strings.Fields(rest[:min(len(rest), 200)])
	suggestion := ""
	if a := alias[strings.ToLower(t.text)]; a != "" {
		suggestion = "did you mean " + a + "?"
	}
	var forms []string
	for _, f := range subjectForms() {
		forms = append(forms, f.words)
	}
	// Two and three words first: "atachment name" is nearer to one form than
	// "atachment" to any.
	for n := min(3, len(words)); n > 0; n-- {
		if meant := nearest(strings.Join(words[:n], " "), forms); meant != "" && (n > 1 || suggestion == "") {
			suggestion = "did you mean " + meant + "?"
			break
		}
	}
	if t.text == "not" {
		suggestion = "write not once"
	}
	text := quoted(t.text) + " is not what a condition can be about"
	if suggestion == "" {
		suggestion = "one of: " + strings.Join(forms, ", ")
	}
	sc.fail(t, text, suggestion)
}

// operators gives the operators that fit, for messages.
func (k subjectKind) operators() string {
	const ofText = `is, contains, starts, ends, matches, in list`
	switch k {
	case aboutField, aboutOctetsField:
		return ofText + ", exists, is missing"
	case aboutAddress:
		return "in 192.0.2.0/24, in list"
	case aboutNumber, aboutSize:
		return ">, >=, <, <=, ="
	}
	return ofText
}

func (k subjectKind) fits(op Op) bool {
	switch k {
	case aboutAddress:
		return op == InNets || op == InList
	case aboutNumber, aboutSize:
		return op >= More && op <= Equals
	case aboutField, aboutOctetsField:
		return op <= InList || op == Exists || op == Missing
	}
	return op <= InList
}

// String gives the operator as a condition spells it.
func (o Op) String() string {
	words := []string{"is", "contains", "starts", "ends", "matches", "in list", "in", "exists", "is missing", ">", ">=", "<", "<=", "="}
	if o == 0 || int(o) > len(words) {
		return "unknown"
	}
	return words[o-1]
}

// operator reads the operator and its values.
func (sc *scanner) operator(c *Condition) bool {
	form := c.Subject.form()
	t := sc.next()
	op, ok := Op(0), false
	switch {
	case t.kind == tokenWord && t.text == "in":
		if op, ok = InNets, true; sc.takeWords("list") {
			op = InList
		}
	case t.kind == tokenWord && t.text == "is" && sc.takeWords("missing"):
		op, ok = Missing, true
	case t.kind == tokenWord || t.kind == tokenSymbol:
		for o := Is; o <= Equals; o++ {
			if o.String() == t.text {
				op, ok = o, true
			}
		}
	}
	if t.text == "is" && op == Is {
		if n := sc.peek(); n.kind == tokenWord && n.text == "not" {
			sc.fail(n, "what is turned around begins with not", "write not "+strings.TrimSpace(shorten(sc.s[:n.start]))+" …")
			return false
		}
	}
	if !ok {
		sc.unknownOperator(t, form)
		return false
	}
	if !form.kind.fits(op) {
		sc.misfit(t, form, op)
		return false
	}
	c.Op = op
	switch {
	case op == Exists || op == Missing:
		return true
	case op == Matches:
		return sc.pattern(c)
	case op == InList:
		return sc.inList(c)
	case op == InNets:
		return sc.networks(c)
	case op >= More:
		return sc.number(c, form.kind == aboutSize)
	}
	return sc.values(c)
}

func (sc *scanner) unknownOperator(t token, form subjectForm) {
	subject, fits := strings.TrimSpace(shorten(sc.s[:t.start])), form.kind.operators()
	if t.kind == tokenEnd {
		sc.fail(t, "the condition ends before it says anything", "after "+form.words+" comes one of: "+fits)
		return
	}
	if t.kind == tokenText {
		sc.fail(t, "the operator is missing", "write "+subject+" contains "+shorten(sc.s[t.start:t.end])+", or another of: "+fits)
		return
	}
	suggestion := ""
	switch strings.ToLower(t.text) {
	case "==", "equals", "equal":
		suggestion = "did you mean is?"
		if form.kind >= aboutNumber {
			suggestion = "did you mean =?"
		}
	case "!=", "<>", "isnt", "isn't":
		suggestion = "write not " + subject + " is …"
	case "does", "doesn't", "not":
		suggestion = "write not " + subject + " contains …"
	case "=~", "~", "~=", "like", "match", "regex", "regexp":
		suggestion = "did you mean matches?"
	case "startswith", "begins", "starts-with":
		suggestion = "did you mean starts?"
	case "endswith", "ends-with":
		suggestion = "did you mean ends?"
	case "has", "includes", "contain":
		suggestion = "did you mean contains?"
	case "missing", "absent":
		suggestion = "did you mean is missing?"
	case "present", "exist":
		suggestion = "did you mean exists?"
	}
	if suggestion == "" {
		var words []string
		for o := Is; o <= Missing; o++ {
			if form.kind.fits(o) {
				words = append(words, o.String())
			}
		}
		if suggestion = "one of: " + fits; nearest(t.text, words) != "" {
			suggestion = "did you mean " + nearest(t.text, words) + "?"
		}
	}
	sc.fail(t, quoted(t.text)+" is not an operator", suggestion)
}

// misfit names the operators that fit.
func (sc *scanner) misfit(t token, form subjectForm, op Op) {
	suggestion := "one of: " + form.kind.operators()
	switch {
	case form.subject == Recipients && op <= InList:
		suggestion = "this is their number; did you mean recipient " + op.String() + "?"
	case form.subject == Attachments && op <= InList:
		suggestion = "this is their number; did you mean attachment name " + op.String() + "?"
	case form.subject == Recipient && op >= More:
		suggestion = "did you mean recipients " + op.String() + " …, their number?"
	case form.subject == AttachmentName && op >= More:
		suggestion = "did you mean attachments " + op.String() + " …, their number?"
	case op == InNets && form.kind != aboutAddress && form.kind < aboutNumber:
		suggestion = "did you mean in list FILE, or is …? Networks are for client"
	case op == Equals && form.kind < aboutNumber:
		suggestion = "did you mean is?"
	case form.kind == aboutAddress && op == Is:
		suggestion = "write client in 192.0.2.1"
	}
	sc.fail(t, form.words+" cannot be compared with "+op.String(), suggestion)
}

// values reads "a" or "b" or ….
func (sc *scanner) values(c *Condition) bool {
	for {
		t := sc.next()
		if t.kind != tokenText {
			hint := "write " + c.Op.String() + ` "…"`
			if t.kind == tokenWord {
				hint = "write " + strconv.Quote(shorten(strings.Trim(t.text, `'"`)))
			}
			sc.fail(t, "here belongs a text in double quotes", hint)
			return false
		}
		if len(c.Values) == MaxValues {
			sc.fail(t, fmt.Sprintf("the condition has more than %d values", MaxValues), "put them into a file, one a line: in list FILE")
			return false
		}
		if !sc.fitting(c, t) {
			return false
		}
		c.Values = append(c.Values, t.text)
		n := sc.peek()
		if n.kind == tokenText {
			sc.fail(n, "values are joined by the word or", "write or before it")
			return false
		}
		if n.kind != tokenWord || n.text != "or" {
			return true
		}
		sc.next()
	}
}

// fitting looks at a value that can never be there.
func (sc *scanner) fitting(c *Condition, t token) bool {
	switch {
	case t.text == "" && (c.Op != Is || c.Subject.form().kind == aboutOctets):
		sc.fail(t, "every text "+c.Op.String()+" nothing", "write what it should be, or "+c.Subject.String()+` is ""`)
	case slices.Contains(c.Values, t.text):
		sc.fail(t, "the value "+quoted(t.text)+" is there twice", "remove one")
	case c.Subject == AttachmentExtension && (c.Op == Is || c.Op == Starts) && strings.HasPrefix(t.text, "."):
		sc.fail(t, "an extension has no dot here", "write "+strconv.Quote(strings.TrimLeft(shorten(t.text), ".")))
	case (c.Subject == SenderDomain || c.Subject == RecipientDomain) && strings.Contains(t.text, "@"):
		sc.fail(t, "a domain has no @", "write "+strconv.Quote(shorten(t.text[strings.LastIndexByte(t.text, '@')+1:])))
	case c.Subject == Tag && c.Op == Is && strings.ContainsAny(t.text, "<>/ "):
		sc.fail(t, "the name of a tag has no brackets", "write "+strconv.Quote(strings.Trim(shorten(t.text), "<>/ ")))
	case c.Subject == Defect && c.Op == Is && !knownDefect(t.text):
		sc.fail(t, quoted(t.text)+" is not a defect", didYouMean(t.text, defects())+"; docs/mime.md lists them")
	case c.Subject.form().kind == aboutOctets && strings.ContainsAny(t.text, "\r\n"):
		sc.fail(t, c.Subject.String()+" is one line; it holds no line break", "")
	default:
		return true
	}
	return false
}

func defects() []string {
	var ids []string
	for _, d := range message.KnownDefects() {
		ids = append(ids, d.ID)
	}
	return ids
}

func knownDefect(id string) bool {
	return message.Meaning(id) != ""
}

// number reads 3 or 10MB.
func (sc *scanner) number(c *Condition, size bool) bool {
	t := sc.next()
	if t.kind != tokenWord {
		hint := "write 3"
		if size {
			hint = "write 10MB"
		}
		if t.kind == tokenText {
			hint = "write it without quotes"
		}
		sc.fail(t, "here belongs a number", hint)
		return false
	}
	digits := strings.TrimRight(t.text, "BKMGTbkmgtiI")
	unit := t.text[len(digits):]
	if n := sc.peek(); unit == "" && n.kind == tokenWord && sizeUnit(n.text) > 0 { // 10 MB
		unit = n.text
		t.end = n.end
		sc.next()
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	times := sizeUnit(unit)
	switch {
	case err != nil || digits[0] == '+' || digits[0] == '-' || times == 0:
		hint := "write a whole number"
		if size {
			hint = "write a whole number and a unit, as 10MB"
		}
		sc.fail(t, quoted(t.text)+" is not a number", hint)
		return false
	case !size && unit != "":
		sc.fail(t, c.Subject.String()+" are counted, they have no unit", "write "+digits)
		return false
	case size && unit == "" && n != 0:
		sc.fail(t, "the size has no unit", fmt.Sprintf("write %sMB, %sKB or %sB", digits, digits, digits))
		return false
	case n > math.MaxInt64/times:
		sc.fail(t, quoted(t.text)+" is too large a number", "")
		return false
	}
	c.Number = n * times
	if c.Number == 0 && (c.Op == Less || c.Op == AtLeast) {
		sc.fail(t, fmt.Sprintf("%s %s 0 is %s so", c.Subject, c.Op, map[Op]string{Less: "never", AtLeast: "always"}[c.Op]), "write > 0 or = 0")
		return false
	}
	return true
}

// sizeUnit gives the octets of a unit, 0 for none that is known.
func sizeUnit(unit string) int64 {
	switch strings.ToUpper(unit) {
	case "", "B":
		return 1
	case "K", "KB", "KIB":
		return 1 << 10
	case "M", "MB", "MIB":
		return 1 << 20
	case "G", "GB", "GIB":
		return 1 << 30
	case "T", "TB", "TIB":
		return 1 << 40
	}
	return 0
}

// networks reads 192.0.2.0/24 or 2001:db8::/32.
func (sc *scanner) networks(c *Condition) bool {
	for {
		t := sc.next()
		if t.kind != tokenWord && t.kind != tokenText {
			sc.fail(t, "here belongs an address or a network", "write in 192.0.2.0/24, or in list FILE")
			return false
		}
		n, odd, err := parseNet(t.text)
		switch {
		case err != nil && strings.HasSuffix(t.text, ","):
			sc.fail(t, "networks are joined by the word or", "write "+shorten(strings.TrimRight(t.text, ","))+" or …")
			return false
		case err != nil:
			sc.fail(t, err.Error(), "write in 192.0.2.0/24, or in list FILE")
			return false
		case odd != "":
			sc.p.warn(sc.place(t.start, t.end), quoted(t.text)+" has bits beside its network", "did you mean "+odd+"?")
		}
		if len(c.Nets) == MaxValues {
			sc.fail(t, fmt.Sprintf("the condition has more than %d networks", MaxValues), "put them into a file, one a line: in list FILE")
			return false
		}
		c.Nets = append(c.Nets, n)
		if n := sc.peek(); n.kind != tokenWord || n.text != "or" {
			return true
		}
		sc.next()
	}
}

// inList reads the name of a file, and the file.
func (sc *scanner) inList(c *Condition) bool {
	t := sc.next()
	if t.kind != tokenWord && t.kind != tokenText || t.text == "" || strings.ContainsRune(t.text, 0) {
		sc.fail(t, "here belongs the name of a file", "write in list names.txt")
		return false
	}
	c.List = t.text
	l := sc.p.readList(t.text)
	if l.err != nil {
		sc.fail(t, shorten(l.err.Error()), "")
		return false
	}
	if len(l.entries) == 0 {
		sc.p.warn(sc.place(t.start, t.end), "the list is empty, so nothing is in it", "")
	}
	if c.Subject != Client {
		c.Values = l.entries
		return true
	}
	nets, problems := l.networks()
	if len(problems) > 0 {
		sc.failed = true
		for _, bad := range problems {
			bad.Rule = sc.p.id
			if len(sc.p.problems) < maxProblems {
				sc.p.problems = append(sc.p.problems, bad)
			}
		}
		return false
	}
	c.Nets = nets
	return true
}

// validPattern tells text that a pattern over characters may have.
func validPattern(s string) bool { return utf8.ValidString(s) }
