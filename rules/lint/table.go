package lint

import (
	"regexp"
	"strings"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// Table looks at a table of Postfix that is used for a view. A table for Header
// is taken to be used for MIME headers and those of attached messages, too, as
// Postfix does where those have no table of their own.
func Table(file, text string, kind postfix.Kind, view postfix.View) []Finding {
	t := &tableLint{linter: newLinter(), file: file, kind: kind, view: view}
	table, problems := postfix.Parse(text, kind)
	for _, p := range problems {
		t.problem(p)
	}
	if !t.domains() {
		return t.sorted()
	}
	var before []*entry
	for _, r := range table.Rules() {
		e := &entry{Rule: r}
		t.flags(e)
		t.action(e)
		t.own(e)
		if !t.never(e) {
			t.hidden(e, before)
			before = append(before, e)
		}
	}
	return t.sorted()
}

type tableLint struct {
	*linter
	file    string
	kind    postfix.Kind
	view    postfix.View
	domain  []*pattern.Language // what all texts of the view are in
	outside []*pattern.Language // and what none is in
}

// entry is a rule, and a text that it can be asked for and holds of.
type entry struct {
	postfix.Rule
	all, none []*pattern.Language
	text      []byte
}

func (t *tableLint) tell(line int, id, text, witness string) {
	t.add(Finding{File: t.file, Line: line, ID: id, Text: text, Witness: witness})
}

var bytesOnly = pattern.Options{Bytes: true}

// mimeNames are the fields that Postfix counts as MIME wherever they stand.
const mimeNames = `(?:content-description|content-disposition|content-id|content-transfer-encoding|content-type|mime-version)`

// domains is the texts that a view can be asked for: a text ends before its
// first NUL, and an empty one is never looked up.
func (t *tableLint) domains() bool {
	source := `\A[!-9;-~]+:(?:[^\x00\n]|\n[ \t])*\z`
	if t.view == postfix.Body {
		source = `\A[^\x00\n]+\z`
	}
	t.domain = []*pattern.Language{t.language(t.compiled(source, bytesOnly))}
	if t.view == postfix.NestedHeader {
		t.outside = []*pattern.Language{t.language(t.compiled(`(?i)\A`+mimeNames+`:`, bytesOnly))}
	}
	return t.domain[0] != nil
}

// problem says a problem of the parser in better words.
func (t *tableLint) problem(p postfix.Problem) {
	id, text := "skipped", pattern.Printable(p.Text)
	has := func(s string) bool { return strings.Contains(p.Text, s) }
	switch {
	case p.Unsupported:
		id, text = "unsupported", "Postfix takes this rule and Garita cannot: "+text
	case has("bad replacement"):
		id, text = "dollar", "a $ in the action is followed by no number of a group: the rule is skipped. Write $$ for a dollar sign, $1 or ${1} for a group, and braces where a letter follows; there is no $0"
	case has("out of range replacement"):
		id, text = "dollar", "the action names a group that the pattern does not have: the rule is skipped ("+text+")"
	case has("found in negative match"):
		id, text = "dollar", "a rule with ! has no groups to put into its action: the rule is skipped"
	case has("unknown regexp option"):
		id, text = "flag", "a letter behind the pattern is no flag, and the rule is skipped. A slash inside of a pattern is written \\/ ("+text+")"
	case has("option \"X\""):
		id, text = "flag", "the flag X means nothing to PCRE2"
	case has("extra text after IF"):
		id, text = "if-blank", "what stands behind the if is lost: a rule after it must not begin with a blank, which makes it part of the if's own line"
	case has("extra text after ENDIF"):
		id, text = "if-blank", "what stands behind the endif is lost: the line after it must not begin with a blank"
	case has("no matching ENDIF"):
		id, text = "if-open", "the if has no endif: it holds to the end of the table"
	case has("without matching IF"):
		id, text = "if-open", "the endif has no if, and is ignored"
	case has("no replacement text"):
		id, text = "no-action", "the rule has no action: Postfix takes that for a mistake in its configuration, and mail that matches is deferred (451 4.3.0)"
	case has("must not start with a blank"):
		id, text = "skipped", "the table begins with a line that goes on from none, and it is ignored: take the blank away"
	case has("no closing regexp"):
		id, text = "skipped", "the pattern is not closed, and the rule is skipped ("+text+")"
	case has("error in regexp"):
		id, text = "escape", "the pattern is not valid, and the rule is skipped: "+strings.TrimSuffix(strings.TrimPrefix(text, "error in regexp: "), ": skipping this rule")
	case has("unrecognized request"):
		id, text = "skipped", "the line is no rule, if or endif, and is ignored: a pattern stands between two signs that are neither letters nor digits, as /pattern/"
	}
	if id == "dollar" && p.Skipped && has("bad replacement") {
		id = "dollar-zero"
	}
	t.tell(p.Line, id, text, "")
}

// flags looks for what a flag or an escape does that is not what it seems.
func (t *tableLint) flags(e *entry) {
	for _, x := range e.All[len(e.All)-e.Own:] {
		if strings.Contains(x.Flags, "i") && !x.Options.Fold {
			o := x.Options
			o.Fold = true
			if p, err := pattern.Compile(x.Source, o); err == nil && !pattern.Same(p, x.Pattern) {
				t.tell(e.Line, "fold-off", "the flag i makes this rule mind the case: without it capitals and small letters are the same here", "")
			}
		}
		if c := posixEscape(x); t.kind == postfix.Regexp && c != "" {
			text := c + " means nothing special in a regexp: table"
			switch c {
			case `\d`:
				text += ": write [0-9], or use a pcre: table"
			case `\n`, `\r`, `\t`:
				text += ": write [[:space:]], or use a pcre: table"
			default:
				text += ": a pcre: table may know it"
			}
			t.tell(e.Line, "escape", text, "")
		}
	}
}

// posixEscape is an escape of PCRE in a POSIX expression that GNU does not know.
func posixEscape(x postfix.Expression) string {
	s := x.Source
	for i := 0; i+1 < len(s); i++ {
		switch {
		case s[i] == '[':
			// In brackets a backslash is itself.
			j := i + 1
			if j < len(s) && s[j] == '^' {
				j++
			}
			if j < len(s) && s[j] == ']' {
				j++
			}
			for j < len(s) && s[j] != ']' {
				if j+1 < len(s) && s[j] == '[' && (s[j+1] == ':' || s[j+1] == '.' || s[j+1] == '=') {
					if k := strings.Index(s[j+2:], s[j+1:j+2]+"]"); k >= 0 {
						j += k + 4
						continue
					}
				}
				j++
			}
			i = j
		case s[i] == '\\':
			c := s[i+1]
			i++
			if (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') && !strings.ContainsRune("wWsSbB", rune(c)) {
				return `\` + string(rune(c))
			}
		}
	}
	return ""
}

var (
	replyCode = regexp.MustCompile(`^[245][0-9][0-9](?:[ \t]|$)`)
	comment   = regexp.MustCompile(`[ \t]#(?:[ \t]|$)`)
)

// action looks for actions that do not do what they seem to.
func (t *tableLint) action(e *entry) {
	if e.Result == "" {
		return // told by the parser
	}
	word, rest, _ := strings.Cut(strings.ReplaceAll(e.Result, "\t", " "), " ")
	rest = strings.TrimLeft(rest, " \t")
	first, _, _ := strings.Cut(rest, " ")
	dollar := e.Groups > 0 && strings.Contains(word+first, "$")
	v := postfix.Judge(t.view, e.Result)
	word = strings.ToUpper(word)
	if v.Problem != "" && !dollar {
		t.tell(e.Line, "action", actionText(word, v), "")
		if v.Problem == "unknown command" {
			return
		}
	}
	switch {
	case word == "OK":
		t.tell(e.Line, "ok", "OK is DUNNO: it ends the search in this table for this line alone. The other lines of the message are looked at all the same; for no more checks at all there is PASS", "")
	case word == "REJECT" && replyCode.MatchString(rest):
		t.tell(e.Line, "reject-code", "the number "+rest[:3]+" becomes part of the text: REJECT takes a status like 5.7.1 and makes the reply's number of it (5.x.x is 550, 4.x.x is 451)", "")
	}
	if comment.MatchString(e.Result) && word != "PREPEND" && word != "REPLACE" {
		t.tell(e.Line, "comment", "what follows # is part of the action: a comment stands in a line of its own", "")
	}
}

func actionText(word string, v postfix.Verdict) string {
	word = quote(word)
	switch v.Problem {
	case "unknown command":
		return word + " is no action: nothing is done with what matches"
	case "need 4.x.x or 5.x.x":
		return "a status that begins with 2 is turned into one with 4: the mail is not accepted but deferred, as " + v.Code
	case "need headername: headervalue":
		return word + " needs a whole header, as Name: value: nothing is done with what matches"
	case "need user@domain":
		return word + " needs an address with @: nothing is done with what matches"
	case "need transport:destination":
		return word + " needs transport:destination: nothing is done with what matches"
	case "no text":
		return word + " needs a text: nothing is done with what matches"
	}
	return word + ": " + v.Problem
}
