package alert

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// oneLine escapes everything that is not printable, line ends too: controls,
// octets that are no UTF-8, and the bidirectional and invisible characters that
// make a line read differently from what it is (attack U-01).
func oneLine(s string) string { return escape(s, false) }

// manyLines is oneLine that lets line feeds stand.
func manyLines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) && !(lines && r == '\n') {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() <= maxEscaped; {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r), lines && r == '\n':
			b.WriteString(s[i : i+n])
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

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
