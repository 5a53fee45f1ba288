// Package parity compares rules/postfix with the Postfix that is installed:
// generated tables and lines are given to both, line by line to postmap,
// whole messages to postmap -h and -b, and whole messages to a private
// Postfix whose cleanup(8) says what its checks did.
//
// The generator makes what administrators write, what is almost right, and
// corners of the two pattern languages; every part of it is drawn from a seed
// that a failure names.
package parity

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator draws patterns, tables and lines.
type generator struct {
	r      *rand.Rand
	groups int
	depth  int
	// prefix stands before every result; with one, no result is empty.
	prefix string
}

func newGenerator(seed uint64) *generator {
	return &generator{r: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *generator) pick(from ...string) string { return from[g.r.IntN(len(from))] }

// alphabet is small, so that random texts meet random patterns.
const alphabet = "aabbcABC01 .-_<=\":@\xe9\xc9"

func (g *generator) char() byte { return alphabet[g.r.IntN(len(alphabet))] }

// escapedChar is a character as itself in a pattern.
func (g *generator) escapedChar() string {
	c := g.char()
	if strings.IndexByte(`.-"<=:@`, c) >= 0 && (c == '.' || g.chance(10)) && c != '<' {
		return `\` + string(c)
	}
	return string([]byte{c})
}

func (g *generator) pcreAtom() string {
	switch g.r.IntN(24) {
	case 0, 1:
		return "."
	case 2:
		return g.pick(`\d`, `\w`, `\s`, `\D`, `\W`, `\S`, `\h`, `\v`, `\H`, `\V`, `\N`, `\R`)
	case 3, 4:
		return g.class(true)
	case 5, 6, 7:
		g.groups++
		return "(" + g.pcre() + ")"
	case 8:
		return "(?:" + g.pcre() + ")"
	case 9:
		return g.pick("^", "$", `\b`, `\B`, `\A`, `\z`, `\Z`, `\G`)
	case 10:
		return "(?" + g.pick("=", "!") + g.pcre() + ")"
	case 11:
		return "(?<" + g.pick("=", "!") + g.pick("a", "b", "ab", `\w`, `\.`, "a|bc", "[ab]", "^", "") + ")"
	case 12:
		if g.groups > 0 {
			return `\` + fmt.Sprint(1+g.r.IntN(g.groups+1)%9)
		}
		return g.escapedChar()
	case 13:
		return "(?>" + g.pcre() + ")"
	case 14:
		return "(?" + g.pick("i", "-i", "s", "-s", "m", "x", "-x", "i-s", "U", "^", "n", "xx", "-") + g.pick(")", ":"+g.pcre()+")")
	case 15:
		return g.pick(`\x41`, `\x{e9}`, `\101`, `\141`, `\t`, `\n`, `\e`, `\cA`, `\x`, `\o{101}`, `\Qa.b\E`, `\Q`, `\E`, `\8`, `\K`, `\g{-1}`, `\g1`, `\pL`, `\p{Lu}`, `\PN`)
	case 16:
		return g.pick("(?#a)", "(?<n>a)", "(?P<m>b)", `\k<n>`, "(?|a|b)", "#", "{", "}", "]", "a{,2}", "[[:<:]]", "[[:>:]]")
	}
	return g.escapedChar()
}

func (g *generator) quantifier() string {
	q := g.pick("*", "+", "?", "{2}", "{1,2}", "{0,1}", "{0}", "{2,}", "{1,3}")
	if g.chance(25) {
		q += g.pick("?", "+")
	}
	return q
}

// pcre is a pattern for PCRE.
func (g *generator) pcre() string {
	if g.depth++; g.depth > 4 {
		g.depth--
		return g.escapedChar()
	}
	defer func() { g.depth-- }()
	var b strings.Builder
	for i := range 1 + g.r.IntN(3) {
		if i > 0 {
			b.WriteByte('|')
			if g.chance(10) {
				continue
			}
		}
		for range 1 + g.r.IntN(4) {
			atom := g.pcreAtom()
			b.WriteString(atom)
			if !g.chance(22) {
				continue
			}
			q := g.quantifier()
			// PCRE2 10.42 takes (?:.*){0}a to be anchored: its mistake.
			if strings.HasPrefix(q, "{0}") && strings.Contains(atom, "(") {
				q = "*"
			}
			b.WriteString(q)
		}
		if g.chance(50) {
			break
		}
	}
	return b.String()
}

func (g *generator) class(pcre bool) string {
	var b strings.Builder
	b.WriteByte('[')
	if g.chance(25) {
		b.WriteByte('^')
	}
	if g.chance(5) {
		b.WriteByte(']')
	}
	for range 1 + g.r.IntN(3) {
		switch g.r.IntN(10) {
		case 0:
			b.WriteString(g.pick("a-c", "A-C", "0-9", "a-z", "A-Z", " -~", "A-z", "_-z", "Z-a", "+--", "---", "a-c-e", "\xe0-\xef"))
		case 1:
			b.WriteString("[:" + g.pick("alpha", "digit", "alnum", "space", "upper", "lower", "punct", "xdigit", "blank", "cntrl", "graph", "print", "word", "ascii", "nono") + ":]")
		case 2:
			if pcre {
				b.WriteString(g.pick(`\d`, `\w`, `\s`, `\W`, `\b`, `\n`, `\x41`, `\]`, `\\`, `\-`, `\.`, `[:^alpha:]`, `\Qa]\E`, `\101`, `\8`))
			} else {
				b.WriteString(g.pick(`\d`, `\`, "[.a.]", "[=b=]", "[.-.]", "[.nono.]", "[", `\w`))
			}
		default:
			b.WriteByte(g.char())
		}
	}
	if g.chance(98) {
		b.WriteByte(']')
	}
	return b.String()
}

func (g *generator) posixAtom(basic bool) string {
	open, shut := "(", ")"
	if basic {
		open, shut = `\(`, `\)`
	}
	switch g.r.IntN(18) {
	case 0, 1:
		return "."
	case 2:
		return g.pick(`\w`, `\W`, `\s`, `\S`, `\d`, `\a`, `\A`, `\.`, `\-`, `\t`, `\"`)
	case 3, 4:
		return g.class(false)
	case 5, 6, 7:
		g.groups++
		return open + g.posix(basic) + shut
	case 8, 9:
		return g.pick("^", "$", `\b`, `\B`, `\<`, `\>`, "\\`", `\'`)
	case 11:
		if g.groups > 0 {
			return `\` + fmt.Sprint(1+g.r.IntN(g.groups)%9)
		}
		return g.escapedChar()
	case 10:
		return g.pick(")", "}", "{", "{1", "(", `\)`, `\{`, `\(`, "*", "+", "?", "|", `\|`, `\+`, `\?`, "()", `\`)
	}
	return g.escapedChar()
}

// posix is a pattern for regcomp.
func (g *generator) posix(basic bool) string {
	if g.depth++; g.depth > 4 {
		g.depth--
		return g.escapedChar()
	}
	defer func() { g.depth-- }()
	bar := "|"
	if basic {
		bar = `\|`
	}
	var b strings.Builder
	for i := range 1 + g.r.IntN(3) {
		if i > 0 {
			b.WriteString(bar)
			if g.chance(10) {
				continue
			}
		}
		for range 1 + g.r.IntN(4) {
			b.WriteString(g.posixAtom(basic))
			if !g.chance(20) {
				continue
			}
			if basic {
				b.WriteString(g.pick("*", `\+`, `\?`, `\{2\}`, `\{1,2\}`, `\{,1\}`, `\{2,\}`))
			} else {
				b.WriteString(g.pick("*", "+", "?", "{2}", "{1,2}", "{,1}", "{2,}", "**", "{0}", "{,}", "*?"))
			}
		}
		if g.chance(50) {
			break
		}
	}
	return b.String()
}

// line is a text to look up.
func (g *generator) line() string {
	var b strings.Builder
	for range g.r.IntN(14) {
		b.WriteByte(g.char())
	}
	if g.chance(10) {
		b.WriteString(g.pick("Subject: ", "filename=\"a.exe\"", "<iframe src=x>", "abc abc", "aaaaaaaa", "\t", "\r", "caf\xc3\xa9", "{2}", "a\\b", "$1"))
	}
	return b.String()
}
