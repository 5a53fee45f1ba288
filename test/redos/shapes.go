// Package redos holds the matcher of rules/pattern to its promise on patterns
// that make backtracking engines slow (attacks ): what
// can be said for the linear engine answers, however long the text; what cannot
// ends by its limits as pattern.ErrOverBudget; and neither ever says "no match"
// of a text that matches.
//
// The patterns are drawn from the classes that the literature on such attacks
// tells apart (nested repeats, alternatives that overlap exponentially or in
// rows, repeats that overlap side by side, repeats that a search may begin
// anywhere in, and those that hang on look around or back-references), each with
// several kinds of characters. Pattern, attack and answer come of one
// description, so that every answer is known without an engine.
package redos

import (
	"fmt"
	"regexp"
	"strings"
)

// Element is what a shape repeats: a class of characters, and texts about it.
type Element struct {
	// Class is the pattern of one character, and Pump a text of such.
	Class, Pump string
	// End and Spoil are characters beyond the class: the pattern asks for End,
	// the attack has Spoil in its place.
	End, Spoil string
}

// Elements are kinds of characters that rules are made of.
func Elements() []Element {
	return []Element{
		{"a", "a", "=", "!"},
		{`\w`, "word_7", "=", "-"},
		{`\s`, " \t", ":", "."},
		{`[^,!]`, "x y", ",", "!"},
		{`[a-z0-9]`, "q7", "@", "#"},
		{`(?:\d|[a-f])`, "4f", ";", "z"},
		{`[[:alpha:]]`, "Abc", "/", "\x00"},
		{`(?i:é|e)`, "eE", "<", "\n"},
	}
}

// Shape is a pattern with its attack.
type Shape struct {
	Name, Pattern string
	// Linear says that RE2 can express it.
	Linear bool
	// Prefix, many times Pump and Spoil do not match; with End they do.
	Prefix, Pump, End, Spoil string
}

// Attack does not match, Hit does; both are about n octets long.
func (s Shape) Attack(n int) []byte { return []byte(s.text(n) + s.Spoil) }

// Hit is the text that matches.
func (s Shape) Hit(n int) []byte { return []byte(s.text(n) + s.End) }

// text is the part that both share. Each pattern is happy with two pumps.
func (s Shape) text(n int) string {
	return s.Prefix + strings.Repeat(s.Pump, max(2, (n-len(s.Prefix))/len(s.Pump)))
}

// family writes a pattern over the class E and the end X.
type family struct {
	name, pattern string
	linear        bool
	// ends says that the pattern ends with the text and not with X.
	ends bool
}

// families are the classes of slow patterns: E is the class, X the end.
func families() []family {
	return []family{
		// Nested repeats.
		{"nested plus", `^(?:E+)+\z`, true, true},
		{"nested star", `^(?:E*)*X`, true, false},
		{"nested thrice", `^(?:(?:E+)+)+X`, true, false},
		{"nested lazy", `^(?:E+?)+?X`, true, false},
		{"nested counted", `^(?:E{1,3}){2,}X`, true, false},
		{"nested behind", `^(?:E?E+)*X`, true, false},
		{"nested with group", `^((E)+)+X`, true, false},
		// Alternatives that overlap.
		{"same twice", `^(?:E|E)+X`, true, false},
		{"one or two", `^(?:E|EE)+\z`, true, true},
		{"one or none", `^(?:E|E?)+X`, true, false},
		{"three ways", `^(?:E|EE|EEE)+X`, true, false},
		{"row of options", `^(?:E?){25}E*X`, true, false},
		// Repeats side by side.
		{"two in a row", `^E+E+X`, true, false},
		{"five in a row", `^E*E*E*E*E*\z`, true, true},
		{"separated", `^(?:E+,?)*(?:E+,?)*X`, true, false},
		// A search that may begin anywhere.
		{"anywhere", `E+X`, true, false},
		{"anywhere twice", `E+E*X`, true, false},
		{"anywhere to the end", `E+\z`, true, true},
		// The end of the line, which is two places when the text ends with one.
		{"to the line's end", `^(?:E+)+$`, false, true},

		// Look around, back-references, and what cuts backtracking off.
		{"nested, looks ahead", `^(?:E+)+(?=X)`, false, false},
		{"overlap, looks ahead", `^(?:E|EE)+(?=X)`, false, false},
		{"looks ahead nested", `^(?=(?:E+)+X)E`, false, false},
		{"looks twice", `^(?=(?:E|E)*X)(?=(?:E+)*X)E`, false, false},
		{"looks at each", `^(?:(?=E)E+)+X`, false, false},
		{"looks for none", `^(?:(?!X)E+)+X`, false, false},
		{"looks behind", `^(?:E+(?<=E))+X`, false, false},
		{"anywhere, looks ahead", `E+(?=X)`, false, false},
		{"again", `^(?:(E+)\1*)+X`, false, false},
		{"again, two groups", `^(E*)(E*)\1*\2*X`, false, false},
		{"again and again", `^(E+)+(?:\1|E)+X`, false, false},
		{"atomic", `^(?:(?>E+)|E)+X`, false, false},
		{"possessive", `E++X`, false, false},
	}
}

// Shapes are all of them.
func Shapes() []Shape {
	var out []Shape
	for i, e := range Elements() {
		for j, f := range families() {
			// The slow ones take their time: each with some elements.
			if !f.linear && (i+j)%4 != 0 {
				continue
			}
			source := strings.NewReplacer("E", e.Class, "X", regexp.QuoteMeta(e.End)).Replace(f.pattern)
			s := Shape{Name: fmt.Sprintf("%s of %s", f.name, e.Class), Pattern: source, Linear: f.linear, Pump: e.Pump, End: e.End, Spoil: e.Spoil}
			if f.ends {
				s.End = ""
			}
			if f.name == "to the line's end" {
				// "$" holds before a newline at the end, too: there the other
				// engine must run.
				s.Spoil, s.End = e.End+"\n", "\n"
			}
			out = append(out, s)
		}
	}
	return out
}
