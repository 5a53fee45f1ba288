package rules

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"garita/place"
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
		if p.errors >= maxProblems {
			break
		}
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
	c.Line, c.Column = p.doc.Position(p.offset(v, 0))
	c.Not = sc.takePhrase("not")
	if !sc.subject(c) || !sc.operator(c) {
		return nil
	}
	if t := sc.next(); t.kind != tokenEnd {
		switch {
		case t.text == "and":
			sc.fail(t, "a condition says one thing", "write what follows as a second condition of match")
		case t.text == ",":
			sc.fail(t, "values are joined by the word or", "write or")
		case t.kind == tokenWord && len(c.Values)+len(c.Nets) > 0 && place.Nearest(t.text, []string{"or"}) != "":
			sc.fail(t, place.Quote(t.text)+" joins no values", "did you mean or?")
		default:
			sc.fail(t, "there is something after the end of the condition", "")
		}
		return nil
	}
	return c
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
		if op, ok = InNets, true; sc.takePhrase("list") {
			op = InList
		}
	case t.kind == tokenWord && t.text == "is" && sc.takePhrase("missing"):
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
			sc.fail(n, "what is turned around begins with not", "write not "+strings.TrimSpace(place.Shorten(sc.s[:n.start]))+" …")
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
	subject, fits := strings.TrimSpace(place.Shorten(sc.s[:t.start])), form.kind.operators()
	if t.kind == tokenEnd {
		sc.fail(t, "the condition ends before it says anything", "after "+form.words+" comes one of: "+fits)
		return
	}
	if t.kind == tokenText {
		sc.fail(t, "the operator is missing", "write "+subject+" contains "+place.Shorten(sc.s[t.start:t.end])+", or another of: "+fits)
		return
	}
	suggestion := ""
	switch strings.ToLower(t.text) {
	case "==", "equals", "equal", "es":
		suggestion = "did you mean is?"
		if form.kind >= aboutNumber {
			suggestion = "did you mean =?"
		}
	case "!=", "<>", "isnt", "isn't":
		suggestion = "write not " + subject + " is …"
	case "does", "doesn't", "not":
		suggestion = "write not " + subject + " contains …"
	case "=~", "~", "~=", "like", "match", "regex", "regexp", "coincide":
		suggestion = "did you mean matches?"
	case "startswith", "begins", "starts-with", "empieza", "comienza":
		suggestion = "did you mean starts?"
	case "endswith", "ends-with", "termina":
		suggestion = "did you mean ends?"
	case "has", "includes", "contain", "contiene":
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
		if suggestion = "one of: " + fits; place.Nearest(t.text, words) != "" {
			suggestion = "did you mean " + place.Nearest(t.text, words) + "?"
		}
	}
	sc.fail(t, place.Quote(t.text)+" is not an operator", suggestion)
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
	case form.kind == aboutAddress && (op == Is || op == Equals):
		suggestion = "write client in 192.0.2.1"
		if n := sc.peek(); n.kind == tokenWord || n.kind == tokenText {
			if net, _, err := parseNet(n.text); err == nil && (net.IsSingleIP() || strings.Contains(n.text, "/")) {
				suggestion = "write client in " + place.Shorten(n.text)
			}
		}
	case op == Equals && form.kind < aboutNumber:
		suggestion = "did you mean is?"
	}
	sc.fail(t, form.words+" cannot be compared with "+op.String(), suggestion)
}
