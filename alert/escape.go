package alert

import (
	"strings"
	"unicode/utf8"

	"garita/printable"
)

// oneLine escapes what is not printable, line ends too (attack U-01).
func oneLine(s string) string { return printable.Line(cut(s, maxEscaped)) }

// manyLines is oneLine that lets line feeds stand.
func manyLines(s string) string { return printable.Lines(cut(s, maxEscaped)) }

// maxEscaped bounds the work on one text: more than any text may have.
const maxEscaped = 4 << 10

// cut gives at most n octets of whole characters.
func cut(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// Shell writes a command so that a POSIX shell takes each argument as it is:
// what an operator copies must not run what a sender's name says.
func Shell(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if a = oneLine(a); plainWord(a) {
			b.WriteString(a)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(a, "'", `'\''`) + "'")
	}
	return b.String()
}

// plainWord tells that no shell sees anything in a word.
func plainWord(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_./:@+,%=", c) >= 0:
		default:
			return false
		}
	}
	return s != "" && s[0] != '='
}
