// Package lint finds rules that are right and yet not what their author meant:
// rules that never or always hit, that others hide or contradict, patterns that
// take too long, and what Postfix's tables have that does not do what it seems
// to. It changes nothing and its findings are warnings.
//
// # Limits
//
// Whether a pattern can match at all is tried with samples made from it: what
// is not found here may still be wrong.
package lint

import (
	"garita/rules"
	"garita/rules/postfix"
)

// Finding is something odd. Text may hold text of the rules, escaped.
type Finding struct {
	File string
	Line int
	Rule string // its ID; "" in a Postfix table
	// ID: "shadowed", "never", "always", "fold-off", "dollar-zero",
	// "escape", "backtracking", "contradiction", …
	ID      string
	Text    string
	Witness string // a sample that shows it, escaped; may be empty
}

// Rules looks at compiled rules.
func Rules(s *rules.Set) []Finding { panic("to be written") }

// Table looks at a table of Postfix that is used for a view.
func Table(file, text string, kind postfix.Kind, view postfix.View) []Finding { panic("to be written") }
