package postfix

import (
	"garita/rules/pattern"
)

// Expression is a pattern of a table, as its file has it.
type Expression struct {
	// Source is what stands between the delimiters, Flags what follows them.
	Source, Flags string
	// Negated says that the rule asks for lines that do not match.
	Negated bool
	Options pattern.Options
	Pattern *pattern.Pattern
}

// Rule is a rule of a table, for who wants to write it otherwise.
type Rule struct {
	Line int
	// All must hold of one line: the ifs around the rule, from the outside
	// in, then the rule's own one or two.
	All []Expression
	// Own is how many of All are the rule's own.
	Own int
	// Result is the text on the right; Groups the highest $n in it. Without
	// one, $$ in it was made one.
	Result string
	Groups int
}

// Rules gives the rules that can give a result, in order. Those that were
// skipped are in the problems of Parse.
func (t *Table) Rules() []Rule {
	var out []Rule
	var around []Expression
	var ends []int // where the ifs in around end
	for i := range t.rules {
		for len(ends) > 0 && ends[len(ends)-1] == i {
			ends, around = ends[:len(ends)-1], around[:len(around)-1]
		}
		r := &t.rules[i]
		switch r.kind {
		case ruleIf:
			// An if without endif holds to the end of the table.
			ends, around = append(ends, r.endif), append(around, r.first.told())
		case ruleMatch:
			one := Rule{Line: r.line, Own: 1, Result: r.result, Groups: r.groups}
			one.All = append(append(one.All, around...), r.first.told())
			if r.second != nil {
				one.All, one.Own = append(one.All, r.second.told()), 2
			}
			out = append(out, one)
		}
	}
	return out
}

func (e expression) told() Expression {
	return Expression{Source: e.source, Flags: e.flags, Negated: !e.want, Options: e.options, Pattern: e.pattern}
}
