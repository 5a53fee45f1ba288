package rules

import (
	"fmt"
	"mime"
	"slices"
	"strings"

	"garita/mail"
	"garita/place"

	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	maxActions = 20
	maxField   = 998 // RFC 5322 section 2.1.1, without the line end
)

// verdict tells the actions of which a rule has at most one.
func (k ActionKind) verdict() bool { return k >= Reject && k <= Pass }

// changes tells the actions on header and envelope.
func (k ActionKind) changes() bool { return k >= Prepend && k <= Route }

// String gives the action as a rule file spells it.
func (k ActionKind) String() string {
	if int(k) > 0 && int(k) <= len(actionWords()) {
		return actionWords()[k-1]
	}
	return "unknown"
}

// actionWords are in the order of the kinds.
func actionWords() []string {
	return []string{"reject", "defer", "quarantine", "discard", "pass", "warn", "info", "score",
		"prepend", "replace header", "ignore header", "tag subject", "redirect", "bcc", "route"}
}

// actions reads action, a text or a list of them.
func (p *parser) actions(t *table, r *Rule, hasScore bool) {
	v := t.take("action")
	if v == nil {
		kind := Warn
		if hasScore {
			kind = Score
		}
		r.Actions = []Action{{Kind: kind}}
		return
	}
	items := []*value{v}
	if v.kind == unstable.Array {
		items = v.items
		if len(items) == 0 {
			p.report(v.at, "the list of actions is empty", `write action = "warn"`)
		}
	}
	if len(items) > maxActions {
		p.report(v.at, fmt.Sprintf("there are more than %d actions", maxActions), "")
		return
	}
	var where []span
	for _, item := range items {
		s, ok := p.text(item, "action")
		if !ok {
			continue
		}
		if a, ok := p.action(item, s, r); ok {
			r.Actions = append(r.Actions, a)
			where = append(where, item.at)
		}
	}
	p.together(r, where, hasScore)
}

// together looks at actions that do not go together.
func (p *parser) together(r *Rule, where []span, hasScore bool) {
	verdict := ActionKind(0)
	for i, a := range r.Actions {
		once := !a.Kind.changes() || a.Kind == Redirect || a.Kind == Route || a.Kind == TagSubject
		earlier := slices.ContainsFunc(r.Actions[:i], func(b Action) bool { return b.Kind == a.Kind })
		switch {
		case once && earlier:
			p.report(where[i], "the action "+a.Kind.String()+" is there twice", "remove one")
		case a.Kind.verdict() && verdict != 0:
			p.report(where[i], fmt.Sprintf("a rule does one thing with the message: %s or %s", verdict, a.Kind), "remove one of the two actions")
		case a.Kind.verdict():
			verdict = a.Kind
		case a.Kind == Score && !hasScore:
			p.report(where[i], `the action "score" needs a score`, "write score = 5.0")
		}
	}
	if verdict == Reject || verdict == Defer || verdict == Discard {
		for i, a := range r.Actions {
			if a.Kind.changes() {
				p.warn(where[i], fmt.Sprintf("a message that is to be %s goes nowhere, so %s does nothing", participle(verdict), a.Kind), "")
			}
		}
	}
}

func participle(k ActionKind) string {
	switch k {
	case Reject:
		return "rejected"
	case Defer:
		return "deferred"
	}
	return "discarded"
}

// action reads one action.
func (p *parser) action(v *value, s string, r *Rule) (Action, bool) {
	sc := &scanner{p: p, v: v, s: s}
	first := sc.next()
	word := first.text
	var a Action
	switch first.kind {
	case tokenEnd:
		p.report(v.at, "the action is empty", didYouMean("", actionWords()))
		return a, false
	case tokenWord:
	default:
		sc.fail(first, "an action begins with its name", didYouMean("", actionWords()))
		return a, false
	}
	switch word {
	case "replace", "ignore", "tag":
		word += " " + map[string]string{"replace": "header", "ignore": "header", "tag": "subject"}[word]
		second := sc.next()
		if second.kind != tokenWord || second.text != strings.Fields(word)[1] {
			sc.fail(second, "here belongs the word "+strings.Fields(word)[1], "write "+word+" …")
			return a, false
		}
	}
	i := slices.Index(actionWords(), word)
	if i < 0 {
		sc.fail(first, place.Quote(word)+" is not an action", actionHint(word))
		return a, false
	}
	a.Kind = ActionKind(i + 1)
	ok := true
	switch a.Kind {
	case Discard:
		if t := sc.peek(); t.kind == tokenWord && t.text == "final" {
			sc.next()
			a.Final = true
		}
	case Prepend:
		a.Text, ok = sc.argument(`prepend "X-Name: value"`)
		ok = ok && sc.checkField(a.Text)
	case ReplaceHeader, IgnoreHeader:
		a, ok = sc.headerAction(a, r)
	case TagSubject:
		a.Text, ok = sc.argument(`tag subject "[X] "`)
		ok = ok && sc.checkHeaderText(a.Text, "tag")
	case Redirect, Bcc:
		a.Text, ok = sc.argument(word + ` "name@example.org"`)
		ok = ok && sc.checkAddress(a.Text)
	case Route:
		a.Text, ok = sc.argument(`route "hop"`)
		if ok && p.o.NextHops != nil && !slices.Contains(p.o.NextHops, a.Text) {
			sc.fail(sc.last, "there is no next hop "+place.Quote(a.Text), didYouMean(a.Text, p.o.NextHops))
			ok = false
		} else if ok && a.Text == "" {
			sc.fail(sc.last, "the name of the next hop is empty", "")
			ok = false
		}
	}
	if !ok {
		return a, false
	}
	if t := sc.next(); t.kind != tokenEnd {
		hint := ""
		if a.Kind == Reject || a.Kind == Defer {
			hint = `what the client is told stands in reply = "…"`
		}
		sc.fail(t, "there is something after the action "+word, hint)
		return a, false
	}
	return a, true
}

func actionHint(word string) string {
	switch strings.ToLower(word) {
	case "hold", "cuarentena":
		return `did you mean quarantine?`
	case "dunno", "ok", "accept", "allow", "permit":
		return "did you mean pass? It only ends the looking at rules; an allow list lets mail past"
	case "deny", "refuse", "block", "rechazar", "bloquear":
		return "did you mean reject?"
	case "drop", "delete", "descartar", "borrar":
		return "did you mean discard?"
	case "log":
		return "did you mean info?"
	case "strip", "remove":
		return "did you mean ignore header?"
	case "tempfail":
		return "did you mean defer?"
	}
	return didYouMean(word, actionWords())
}

// argument reads one text in quotes.
func (sc *scanner) argument(form string) (string, bool) {
	t := sc.next()
	if t.kind != tokenText {
		sc.fail(t, "here belongs a text in double quotes", "write "+form)
		return "", false
	}
	return t.text, true
}

// structural are the fields that say how a message is read: what was looked at
// must be what goes on (attacks I3).
func structural(name string) bool {
	switch strings.ToLower(name) {
	case "content-type", "content-transfer-encoding", "mime-version":
		return true
	}
	return false
}

// headerAction reads the rest of replace header and ignore header.
func (sc *scanner) headerAction(a Action, r *Rule) (Action, bool) {
	if t := sc.peek(); t.kind == tokenWord {
		sc.next()
		name, ok := sc.fieldName(t)
		if !ok {
			return a, false
		}
		if structural(name) {
			sc.fail(t, name+" says how the message is read; after it was looked at that may not change", "")
			return a, false
		}
		a.Name = name
	} else if c := structuralCondition(r); c != nil {
		sc.fail(sc.last, "the field of "+place.Quote(c.Source)+" says how the message is read; after it was looked at that may not change", "")
		return a, false
	} else if !hasHeaderCondition(r) {
		sc.fail(sc.last, "without a name this is about the header fields that the conditions matched, and no condition is about a header field", "write "+a.Kind.String()+" NAME …")
		return a, false
	}
	if a.Kind == IgnoreHeader {
		return a, true
	}
	var ok bool
	a.Text, ok = sc.argument(`replace header NAME "value"`)
	return a, ok && sc.checkHeaderText(a.Text, "value")
}

func hasHeaderCondition(r *Rule) bool {
	for _, c := range slices.Concat(r.Match, r.Any) {
		if c.Subject >= SubjectText && c.Subject <= RawAnyHeader && !c.Not {
			return true
		}
	}
	return false
}

// structuralCondition finds one that is about a field that must stay.
func structuralCondition(r *Rule) *Condition {
	for _, c := range slices.Concat(r.Match, r.Any) {
		if structural(c.Name) && c.Subject != Attribute {
			return c
		}
	}
	return nil
}

// fieldName checks the name of a header field (RFC 5322 section 2.2).
func (sc *scanner) fieldName(t token) (string, bool) {
	name := t.text
	if strings.HasSuffix(name, ":") && len(name) > 1 {
		sc.fail(t, "the name of a header field is written without its colon", "write "+strings.TrimSuffix(name, ":"))
		return "", false
	}
	if !validField(name) {
		sc.fail(t, place.Quote(name)+" is not the name of a header field", "")
		return "", false
	}
	return name, true
}

func validField(name string) bool {
	if name == "" || len(name) > 100 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return true
}

// checkHeaderText checks what becomes part of a header field.
func (sc *scanner) checkHeaderText(s, what string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x80:
			sc.fail(sc.last, "header fields are ASCII", "write it as an encoded word: "+place.String(mime.QEncoding.Encode("utf-8", place.Shorten(s))))
			return false
		case c < ' ' && c != '\t' || c == 0x7f:
			sc.fail(sc.last, "the "+what+" holds a line break or another control character", "write it in one line")
			return false
		}
	}
	if len(s) > maxField-100 || strings.TrimSpace(s) == "" {
		sc.fail(sc.last, fmt.Sprintf("the %s is empty or longer than %d octets", what, maxField-100), "")
		return false
	}
	return true
}

// checkField checks a whole header field of one line.
func (sc *scanner) checkField(s string) bool {
	name, text, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		sc.fail(sc.last, "a header field has a name, a colon and a text", `write prepend "X-Name: text"`)
		return false
	case !validField(name):
		sc.fail(sc.last, place.Quote(name)+" is not the name of a header field", "letters, digits and dashes, as X-Name")
		return false
	case structural(name):
		sc.fail(sc.last, name+" says how the message is read; after it was looked at that may not change", "")
		return false
	}
	return sc.checkHeaderText(text, "text")
}

func (sc *scanner) checkAddress(s string) bool {
	path, rest, err := mail.ParseForward("<"+s+">", false)
	if err != nil || rest != "" || path.Domain == "" {
		suggestion := "write name@example.org"
		if trimmed := strings.Trim(s, "<> "); trimmed != s {
			suggestion = "write " + place.String(trimmed)
		}
		sc.fail(sc.last, place.Quote(s)+" is not an address", suggestion)
		return false
	}
	return true
}
