package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // contains, X-Mailer, 10MB, 192.0.2.0/24
	tokenText             // "…", decoded
	tokenSymbol           // > >= < <= = and what is none
	tokenBroken           // reported
)

// token is a piece of a condition or action; start and end are offsets in it.
type token struct {
	kind       tokenKind
	text       string
	start, end int
}

// scanner reads a condition or an action.
type scanner struct {
	p      *parser
	v      *value // the TOML string
	s      string
	at     int
	ahead  *token
	last   token // the last one that next gave
	failed bool
}

// fail reports a token; only the first report of a condition counts, what comes
// behind would be guesses.
func (sc *scanner) fail(t token, text, suggestion string) {
	if sc.failed || t.kind == tokenBroken {
		sc.failed = true
		return
	}
	sc.failed = true
	sc.p.report(sc.place(t.start, t.end), text, suggestion)
}

// place gives a piece of the scanned text as a range of the file.
func (sc *scanner) place(start, end int) span {
	return span{sc.p.offset(sc.v, start), sc.p.offset(sc.v, end)}
}

func (sc *scanner) peek() token {
	if sc.ahead == nil {
		last := sc.last
		t := sc.next()
		sc.ahead, sc.last = &t, last
	}
	return *sc.ahead
}

func (sc *scanner) next() token {
	if t := sc.ahead; t != nil {
		sc.ahead = nil
		sc.last = *t
		return *t
	}
	sc.last = sc.scan()
	return sc.last
}

// takePhrase takes a word, or several, if they stand there.
func (sc *scanner) takePhrase(phrase string) bool {
	if first, _, _ := strings.Cut(phrase, " "); sc.peek().text != first {
		return false
	}
	at, last, ahead := sc.at, sc.last, sc.ahead
	for more := true; more; {
		var w string
		w, phrase, more = strings.Cut(phrase, " ")
		if t := sc.next(); t.kind != tokenWord || t.text != w {
			sc.at, sc.last, sc.ahead = at, last, ahead
			return false
		}
	}
	return true
}

func (sc *scanner) skipSpace() {
	for sc.at < len(sc.s) {
		r, n := utf8.DecodeRuneInString(sc.s[sc.at:])
		if !unicode.IsSpace(r) {
			return
		}
		sc.at += n
	}
}

func (sc *scanner) scan() token {
	sc.skipSpace()
	start := sc.at
	if start == len(sc.s) {
		return token{tokenEnd, "", start, start}
	}
	switch c := sc.s[start]; {
	case c == '"':
		return sc.quotedText()
	case strings.IndexByte("<>=!~", c) >= 0:
		for sc.at < len(sc.s) && sc.at-start < 3 && strings.IndexByte("<>=!~", sc.s[sc.at]) >= 0 {
			sc.at++
		}
		return token{tokenSymbol, sc.s[start:sc.at], start, sc.at}
	case c == ',':
		sc.at++
		return token{tokenSymbol, ",", start, sc.at}
	}
	for sc.at < len(sc.s) {
		r, n := utf8.DecodeRuneInString(sc.s[sc.at:])
		if unicode.IsSpace(r) || n == 1 && strings.IndexByte(`"<>=`, sc.s[sc.at]) >= 0 {
			break
		}
		sc.at += n
	}
	return token{tokenWord, sc.s[start:sc.at], start, sc.at}
}

// quotedText reads "…" with \" and \\.
func (sc *scanner) quotedText() token {
	start := sc.at
	var b strings.Builder
	for i := start + 1; i < len(sc.s); {
		n := strings.IndexAny(sc.s[i:], `"\`)
		if n < 0 {
			break
		}
		b.WriteString(sc.s[i : i+n])
		i += n
		if sc.s[i] == '"' {
			sc.at = i + 1
			return token{tokenText, b.String(), start, sc.at}
		}
		if i+1 == len(sc.s) || sc.s[i+1] != '"' && sc.s[i+1] != '\\' {
			sc.at = len(sc.s)
			sc.fail(token{tokenText, "", i, min(i+2, len(sc.s))}, `in a text in double quotes \ stands before " and \ alone`, `write \\ for a backslash`)
			return token{tokenBroken, "", start, sc.at}
		}
		b.WriteByte(sc.s[i+1])
		i += 2
	}
	sc.at = len(sc.s)
	sc.fail(token{tokenText, "", start, start + 1}, "the text has no closing double quote", "")
	return token{tokenBroken, "", start, sc.at}
}

// regexp reads /pattern/flags; in the pattern \/ is a slash.
func (sc *scanner) regexp() (pattern, flags token, ok bool) {
	t := sc.peek()
	if t.kind == tokenBroken || t.kind == tokenEnd || sc.s[t.start] != '/' {
		sc.fail(t, "here belongs a pattern between slashes", `write matches /pattern/ or matches /pattern/i`)
		return pattern, flags, false
	}
	sc.ahead = nil
	i := t.start + 1
	for ; i < len(sc.s) && sc.s[i] != '/'; i++ {
		if sc.s[i] == '\\' {
			i++
		}
	}
	if i >= len(sc.s) {
		sc.fail(token{tokenWord, "", t.start, t.start + 1}, "the pattern has no closing slash", "")
		return pattern, flags, false
	}
	pattern = token{tokenText, sc.s[t.start+1 : i], t.start + 1, i}
	sc.at = i + 1
	for sc.at < len(sc.s) {
		r, n := utf8.DecodeRuneInString(sc.s[sc.at:])
		if unicode.IsSpace(r) {
			break
		}
		sc.at += n
	}
	flags = token{tokenWord, sc.s[i+1 : sc.at], i + 1, sc.at}
	sc.last = flags
	return pattern, flags, true
}
