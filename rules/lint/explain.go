package lint

// Explain says what a finding means and how to mend it, in one or two
// sentences; "" for an ID that there is not. docs/lint.md says more.
func Explain(id string) string {
	for _, e := range explanations {
		if e.id == id {
			return e.text
		}
	}
	return ""
}

// IDs are all findings that there are.
func IDs() []string {
	var out []string
	for _, e := range explanations {
		out = append(out, e.id)
	}
	return out
}

var explanations = [...]struct{ id, text string }{
	{"never", "No message can make the rule hit. Correct the condition that the finding names, or delete the rule."},
	{"expired", "The date in expires is past, and the rule is not looked at. Delete it, or give it a later date."},
	{"always", "The rule hits every message, or a condition of it says nothing. Say what is meant, or leave the condition out."},
	{"not-only", "The rule has nothing but not: it hits all mail except what not names. Add a match for what it is about."},
	{"shadowed", "A rule before it takes every message or line that it would hit. Put it before that one, or delete it."},
	{"duplicate", "Another rule hits the same and does the same. Delete one."},
	{"contradiction", "Two rules hit the same mail and want different things; only one of them happens. Keep one, or give the exception stop = true and put it first."},
	{"backtracking", "There are texts on which the pattern takes so long that it is given up, and a sender can write one. Write the repeats so that they cannot share text: (a+)+ as a+, .*x.* as x; avoid look around and back-references."},
	{"cost", "The pattern is so large that each match is charged to the time of the message. Put the values into a list and say in list FILE."},
	{"fold-off", "In tables of Postfix a flag turns its default around, and case does not matter by default: i makes the rule mind it. Remove the i."},
	{"dollar-zero", "The replacement has a $ that is no group: $0, $1y, ${a}. Postfix skips the rule. Groups are $1 to $9, ${1}; a dollar sign is $$."},
	{"dollar", "The replacement names a group that the pattern does not have, or stands in a rule with !. Postfix skips the rule."},
	{"escape", "An escape or a construct means something else in this kind of table, or nothing. Write it in the table's own language, or use a pcre: table."},
	{"unsupported", "Postfix would take the rule, and Garita cannot run it: it is not in the table. Say it in other words."},
	{"flag", "A letter behind the pattern is no flag of this kind of table. A slash inside of a pattern is written \\/."},
	{"if-blank", "A rule behind if or endif begins with a blank, so that it is part of that line and lost. Take the blank away."},
	{"if-open", "An if has no endif, or an endif no if. Write the other."},
	{"no-action", "The rule has no action, which Postfix takes for a mistake in its configuration: mail that matches is deferred. Write DUNNO to do nothing."},
	{"skipped", "The line is not a rule as it stands, and is ignored. Write /pattern/flags ACTION from the start of the line."},
	{"action", "The action is not known or lacks something, so that nothing, or something else, is done. The finding says what is needed."},
	{"ok", "OK does not let the message through: it ends the search for one line. Write DUNNO for that, or PASS to end all checks."},
	{"reject-code", "A reply code in the text of REJECT is sent as text. Write a status like 5.7.1 there, or nothing."},
	{"comment", "A # behind an action is part of it. Put comments into lines of their own."},
	{"accents", "The pattern looks for octets of one charset in text that is mostly encoded. A rule of Garita's own (subject contains, text contains) sees the text as it is read."},
	{"part-header", "Headers of parts are not lines of the body. Move the rule to mime_header_checks."},
}
