package field

import (
	"strings"
)

// quotedEnd finds the end of the quoted string at i: the body without quotes,
// still escaped, and the offset behind it. ok is false for one without an end.
func (p *parser) quotedEnd(i int) (body string, end int, ok bool) {
	if p.noQuote {
		return "", i, false
	}
	for k := i + 1; k < len(p.s); k++ {
		n := strings.IndexAny(p.s[k:], "\"\\")
		if n < 0 {
			break
		}
		if k += n; p.s[k] == '"' {
			return p.s[i+1 : k], k + 1, true
		}
		k++
	}
	p.noQuote = true
	return p.s[i+1:], len(p.s), false
}

// param reads one parameter at i and gives where the next one begins.
func (p *parser) param(i int) int {
	i = p.skip(i)
	if i >= len(p.s) {
		return i
	}
	name, end, commented := p.until(i, "=;")
	if commented {
		p.paren = true
		p.odd("comment-in-name", true)
	}
	if end >= len(p.s) || p.s[end] == ';' {
		p.valueless(name)
		return min(end+1, len(p.s))
	}
	name = p.name(name, end+1 < len(p.s))
	at := p.skip(end + 1)
	if at > end+1 && strings.IndexByte(p.s[end+1:at], '(') >= 0 {
		p.paren = true
		p.odd("comment-in-value", true)
	}
	if at < len(p.s) && p.s[at] == '"' {
		if !p.noQuote {
			return p.quoted(name, at)
		}
	}
	return p.bare(name, at)
}

// valueless deals with what has no `=`.
func (p *parser) valueless(name string) {
	words := strings.Fields(name)
	if len(words) == 0 {
		return
	}
	p.odd("junk-parameter", len(words) > 1)
	if len(words) == 2 {
		p.value(strings.ToLower(words[0]), strings.Trim(words[1], "\""), "literal")
	}
}

// name cleans the name of a parameter: lower case, without quotes, control
// characters and what is junk before it.
func (p *parser) name(name string, more bool) string {
	clean := strings.ToLower(strings.TrimSpace(name))
	good := clean != ""
	for i := range len(clean) {
		if !isToken(clean[i]) {
			good = false
			break
		}
	}
	if good {
		return clean
	}
	p.odd("junk-parameter", more)
	if words := strings.Fields(clean); len(words) > 1 {
		clean = words[len(words)-1]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isToken(byte(r)) {
			return r
		}
		return -1
	}, clean)
}

// quoted reads a quoted value at at.
func (p *parser) quoted(name string, at int) int {
	body, end, ok := p.quotedEnd(at)
	if !ok {
		p.odd("unclosed-quote", true)
		p.value(name, unescape(body), "literal")
		line := body
		if k := strings.IndexAny(line, "\r\n"); k >= 0 {
			line = line[:k]
		}
		p.value(name, line, "literal")
		cut := body
		next := len(p.s)
		if k := strings.IndexByte(cut, ';'); k >= 0 {
			cut, next = cut[:k], at+1+k+1
		}
		p.value(name, strings.TrimSpace(cut), "literal")
		p.value(name, "\""+strings.TrimSpace(cut), "literal")
		return next
	}
	p.whole(name, unescape(body), "quoted")
	if strings.IndexByte(body, '\\') >= 0 && !onlyNeeded(body) {
		p.variant(name, "escaped-character", unescape(body), body)
	}
	i := p.skip(end)
	if i >= len(p.s) {
		return i
	}
	if p.s[i] == ';' {
		return i + 1
	}
	rest, next, _ := p.until(i, ";=")
	if next < len(p.s) && p.s[next] == '=' {
		p.odd("missing-semicolon", true)
		return i
	}
	p.odd("junk-after-quote", true)
	rest = strings.TrimSpace(rest)
	p.value(name, unescape(body)+strings.ReplaceAll(rest, "\"", ""), "literal")
	p.value(name, "\""+body+"\""+rest, "literal")
	return min(next+1, len(p.s))
}

// onlyNeeded tells that nothing but quotes and backslashes is escaped.
func onlyNeeded(body string) bool {
	for i := 0; i < len(body); i++ {
		if body[i] == '\\' {
			if i++; i >= len(body) || body[i] != '"' && body[i] != '\\' {
				return false
			}
		}
	}
	return true
}

// unescape takes the backslashes out of a quoted string.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// bare reads a value without quotes at at.
func (p *parser) bare(name string, at int) int {
	text, end, commented := p.until(at, ";")
	next := min(end+1, len(p.s))
	if commented && (glued(p.s, at, end) || security(name)) {
		p.paren = true
		p.odd("comment-in-value", true)
	}
	v := strings.Trim(text, " \t\r\n")
	if len(v) > 1 && v[0] == '\'' {
		p.single(name, v, at)
	}
	if strings.IndexAny(v, " \t\r\n") < 0 {
		p.whole(name, v, "token")
		p.inside(name, v)
		return next
	}
	if w := scanWords(unfold(v)); w.any && len(w.pieces) == strings.Count(v, "=?") {
		// Nothing but encoded words with spaces between.
		p.whole(name, v, "token")
		return next
	}
	p.whole(name, v, "literal")
	words := strings.Fields(v)
	p.variant(name, "unquoted-space", v, words[0])
	if k := strings.IndexAny(v, "\r\n"); k >= 0 {
		p.variant(name, "unquoted-space", v, strings.TrimSpace(v[:k]))
	}
	p.inside(name, v)
	// A parameter behind a missing semicolon.
	for k := range words[1:] {
		if w := words[k+1]; strings.IndexByte(w, '=') > 0 && !strings.HasPrefix(w, "=?") {
			eq := strings.IndexByte(w, '=')
			p.odd("missing-semicolon", true)
			p.value(p.name(w[:eq], true), strings.Trim(w[eq+1:], "\""), "literal")
		}
	}
	return next
}

// single reads a value in single quotes, which are nothing special by the
// standard and quotes to some readers.
func (p *parser) single(name, v string, at int) {
	if strings.HasSuffix(name, "*") {
		return // a charset and a language that are empty (RFC 2231 section 4)
	}
	body := v[1:]
	if k := strings.IndexByte(p.s[at+1:], '\''); k >= 0 && k < 4096 {
		body = p.s[at+1 : at+1+k]
	}
	p.variant(name, "single-quotes", v, body)
}

// inside gives what readers make of quotes in the middle of a value.
func (p *parser) inside(name, v string) {
	k := strings.IndexByte(v, '"')
	if k < 0 {
		return
	}
	p.odd("quote-inside", true)
	p.value(name, strings.ReplaceAll(v, "\"", ""), "literal")
	p.value(name, v[:k], "literal")
}

// security tells the parameters whose every reading counts.
func security(name string) bool {
	name, _, _ = strings.Cut(name, "*")
	return name == "boundary" || nameLike(name)
}

func nameLike(name string) bool { return name == "name" || name == "filename" || name == "file" }

// differ tells whether two readings of a parameter make a difference: of a
// file's name its extension does.
func differ(name, a, b string) bool {
	if a == b {
		return false
	}
	if base, _, _ := strings.Cut(name, "*"); !nameLike(base) {
		return true
	}
	return extension(a) != extension(b)
}

func extension(s string) string {
	s = strings.ToLower(strings.TrimRight(s, " \t\r\n.\"'"))
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[i+1:]
	}
	return ""
}

// variant notes a second reading of a value, and the oddity that made it.
func (p *parser) variant(name, id, first, second string) {
	p.odd(id, differ(name, first, second))
	p.value(name, second, "literal")
}

// whole notes the first reading of a whole parameter.
func (p *parser) whole(name, v, how string) {
	base, star := name, strings.IndexByte(name, '*')
	if star >= 0 {
		base = name[:star]
	}
	if !p.literal {
		if star < 0 || strings.IndexByte(name[star+1:], '*') < 0 && name[star+1:] == "" {
			p.names = append(p.names, seenName{name: base, value: v, extended: star >= 0})
		}
	}
	p.value(name, v, how)
	if base == "boundary" && v == "" {
		p.odd("empty-boundary", true)
	}
}

// duplicates finds parameters that stand twice with different values.
func (p *parser) duplicates() {
	first := map[seenName]string{}
	for _, n := range p.names {
		key := seenName{name: n.name, extended: n.extended}
		v, ok := first[key]
		if !ok {
			first[key] = n.value
			continue
		}
		p.odd("duplicate-parameter", v != n.value)
	}
	for key, plain := range first {
		extended, ok := first[seenName{name: key.name, extended: true}]
		if key.extended || !ok || !nameLike(key.name) {
			continue
		}
		a, b := extension(Words(plain)[0]), extension(extendedText(extended))
		if a != "" && b != "" && a != b {
			p.odd("fallback-differs", true)
		}
	}
}
