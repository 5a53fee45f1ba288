package parity

import (
	"fmt"
	"strings"

	"garita/rules/postfix"
)

// rule is one line of a table, with its own number in the result.
func (g *generator) rule(kind postfix.Kind, n int) string {
	e := g.expression(kind)
	if kind == postfix.Regexp && g.chance(6) {
		e += g.pick("!", "!!", "! ") + g.expression(kind)
	}
	result := fmt.Sprintf("%sR%d", g.prefix, n)
	switch g.r.IntN(12) {
	case 0:
		result += " $1"
	case 1:
		result += " [$1] [${2}] $$"
	case 2:
		result += " $(1)x$$1"
	case 3:
		result += g.pick(" $0", " $1y", " ${1", " $", " ${}", " $9", " ${a}", " $(1))", " $$$1", " trailing  ")
	}
	if g.prefix == "" && g.chance(3) {
		result = ""
	}
	gap := g.pick(" ", "\t", "  ")
	return e + gap + result
}

// expression is a pattern between its delimiters, with sign and flags.
func (g *generator) expression(kind postfix.Kind) string {
	g.groups, g.depth = 0, 0
	flags := ""
	text := ""
	if kind == postfix.PCRE {
		for g.chance(18) {
			flags += g.pick("i", "m", "s", "x", "A", "E", "U")
		}
		text = g.pcre()
		if g.chance(3) {
			flags += g.pick("X", "q", "!")
		}
	} else {
		basic := false
		for g.chance(18) {
			f := g.pick("i", "m", "x")
			basic = basic != (f == "x")
			flags += f
		}
		text = g.posix(basic)
		if g.chance(2) {
			flags += g.pick("s", "q")
		}
	}
	text = strings.NewReplacer("/", "", "\n", "").Replace(text)
	d := "/"
	if g.chance(8) {
		for _, d = range []string{"~", ",", ";", "%", "'"} {
			if !strings.Contains(text, d) {
				break
			}
		}
	}
	e := d + text + d + flags
	if g.chance(12) {
		e = g.pick("!", "!!", "! ") + e
	}
	return e
}

// table is the text of a table of n rules.
func (g *generator) table(kind postfix.Kind, n int) string {
	var b strings.Builder
	open := 0
	for i := range n {
		if n > 1 {
			switch g.r.IntN(20) {
			case 0:
				b.WriteString(g.pick("if ", "IF ", "if", "If\t", "if !") + g.expression(kind) + g.pick("", "", "", " extra") + "\n")
				open++
				if g.chance(10) {
					b.WriteString(" " + g.rule(kind, 900+i) + "\n")
				}
			case 1:
				if open > 0 || g.chance(20) {
					b.WriteString(g.pick("endif", "ENDIF", "endif extra", "endif#") + "\n")
					open--
				}
			case 2:
				b.WriteString(g.pick("# comment\n", "\n", "   \n", " # indented\n", "word /a/ x\n", "if\n", "!\n", "/a\n", "iffy\n"))
			}
		}
		b.WriteString(g.rule(kind, i) + "\n")
		if g.chance(5) {
			b.WriteString(g.pick(" more text\n", "\tmore  \n", "# between\n and more\n", "\n  after blank\n", " #not more\n"))
		}
	}
	for open > 0 && g.chance(90) {
		b.WriteString("endif\n")
		open--
	}
	text := b.String()
	if g.chance(5) {
		text = " starts with blank\n" + text
	}
	return text
}
