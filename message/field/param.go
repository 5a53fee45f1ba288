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
	from := skipSpace(p.s, i)
	i = p.skip(from)
	if i >= len(p.s) {
		return i
	}
	name, end, commented := p.until(i, "=;")
	if end >= len(p.s) || p.s[end] == ';' {
		p.valueless(name, skipSpace(p.s, min(end+1, len(p.s))) < len(p.s))
		return min(end+1, len(p.s))
	}
	if commented || i > from {
		p.paren = true
		p.odd("comment-in-name", true)
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

// valueless deals with what has no `=`; more tells that something follows.
func (p *parser) valueless(name string, more bool) {
	words := strings.Fields(name)
	if len(words) == 0 {
		return
	}
	p.odd("junk-parameter", more || len(words) > 1)
	if len(words) == 2 {
		p.value(strings.ToLower(words[0]), strings.Trim(words[1], "\""), "literal")
	}
	// filename=a;b.exe: for some the name goes on to the end of the line.
	if last := words[len(words)-1]; extension(last) != "" {
		p.value("filename", strings.Trim(last, "\""), "literal")
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
		return p.unclosedQuote(name, at, body)
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
	rest = strings.TrimSpace(rest)
	p.variant(name, "junk-after-quote", unescape(body), unescape(body)+strings.ReplaceAll(rest, "\"", ""))
	p.also(name, "\""+body+"\""+rest)
	return min(next+1, len(p.s))
}

// unclosedQuote gives what readers make of a quoted string without an end: all
// that follows, to the end of the line, to the semicolon, or no quoted string
// at all.
func (p *parser) unclosedQuote(name string, at int, body string) int {
	cut, next := body, len(p.s)
	if k := strings.IndexByte(cut, ';'); k >= 0 {
		cut, next = cut[:k], at+1+k+1
	}
	cut = strings.TrimSpace(cut)
	all := unescape(body)
	p.value(name, all, "literal")
	p.variant(name, "unclosed-quote", all, cut)
	if k := strings.IndexAny(body, "\r\n"); k >= 0 {
		p.variant(name, "unclosed-quote", all, body[:k])
	}
	p.variant(name, "unclosed-quote", all, "\""+cut)
	return next
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
	v := strings.Trim(text, " \t\r\n")
	if commented && (glued(p.s, at, end) || security(name)) {
		p.paren = true
		p.odd("comment-in-value", differ(name, v, p.s[at:end]))
	}
	if len(v) > 1 && v[0] == '\'' {
		p.single(name, v, at)
	}
	if strings.IndexAny(v, " \t\r\n") < 0 {
		p.whole(name, v, "token")
		p.inside(name, v, end)
		p.special(name, v)
		if strings.IndexByte(v, '\\') >= 0 {
			p.variant(name, "escaped-character", v, unescape(v))
		}
		return next
	}
	if w := scanWords(unfold(v)); w.any && len(w.pieces) == strings.Count(v, "=?") {
		// Nothing but encoded words with spaces between.
		p.whole(name, v, "token")
		return next
	}
	p.whole(name, v, "literal")
	words := strings.Fields(v)
	// A first word without an extension is a name that opens nothing, and many
	// careless programs write so.
	base, _, _ := strings.Cut(name, "*")
	p.odd("unquoted-space", differ(name, v, words[0]) && (!nameLike(base) || extension(words[0]) != ""))
	p.also(name, words[0])
	if joined := strings.Join(words, ""); nameLike(name) && strings.IndexByte(joined, '(') < 0 {
		p.also(name, joined) // readers that drop the white space
	}
	if k := strings.IndexAny(v, "\r\n"); k >= 0 {
		p.variant(name, "unquoted-space", v, strings.TrimSpace(v[:k]))
	}
	p.inside(name, v, end)
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
	if k := strings.IndexByte(p.s[at+1:min(len(p.s), at+1+maxLook)], '\''); k >= 0 && k < maxLook {
		body = p.s[at+1 : at+1+k]
	}
	p.variant(name, "single-quotes", v, body)
}

// special gives the name of a file for readers who end an unquoted value at the
// first character that cannot be in a token. A name that keeps its extension, or
// loses it, is no other: `scan[1].pdf`.
func (p *parser) special(name, v string) {
	if !nameLike(name) || strings.Contains(v, "=?") {
		return
	}
	if k := strings.IndexAny(v, "*'%"); k > 0 && extension(v[:k]) != "" {
		p.also(name, v[:k]) // these are in a token, but in none of RFC 2231
	}
	k := 0
	for k < len(v) && (isToken(v[k]) || v[k] >= 0x80) {
		k++
	}
	if k == 0 || k == len(v) || v[k] == '"' {
		return
	}
	p.also(name, v[:k])
	if extension(v[:k]) != "" {
		p.odd("unquoted-special", differ(name, v, v[:k]))
	}
}

// inside gives what readers make of quotes in the middle of a value that ends
// at end.
func (p *parser) inside(name, v string, end int) {
	k := strings.IndexByte(v, '"')
	if k < 0 {
		return
	}
	p.variant(name, "quote-inside", v, strings.ReplaceAll(v, "\"", ""))
	p.variant(name, "quote-inside", v, v[:k])
	if strings.Count(v, "\"")%2 == 0 || end >= len(p.s) {
		return
	}
	far := p.s[end:min(len(p.s), end+maxLook)]
	if q := strings.IndexByte(far, '"'); q >= 0 {
		p.variant(name, "quote-inside", v, strings.ReplaceAll(v, "\"", "")+far[:q])
	}
}

// security tells the parameters whose every reading counts.
func security(name string) bool {
	name, _, _ = strings.Cut(name, "*")
	return name == "boundary" || nameLike(name)
}

func nameLike(name string) bool { return name == "name" || name == "filename" || name == "file" }

// differ tells whether two readings of a parameter make a difference: of a
// boundary each octet does, of a file's name the extension does.
func differ(name, a, b string) bool {
	if a == b {
		return false
	}
	base, _, _ := strings.Cut(name, "*")
	switch {
	case base == "boundary":
		return true
	case nameLike(base):
		return extension(a) != extension(b)
	}
	return strings.Trim(a, " \t\r\n\"'") != strings.Trim(b, " \t\r\n\"'")
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
	p.also(name, second)
}

// also notes one more reading of a value; of one section of a continuation
// there is but one, since it would stand twice in what is put together.
func (p *parser) also(name, v string) {
	if star := strings.IndexByte(name, '*'); star >= 0 && name[star:] != "*" {
		return
	}
	p.value(name, v, "literal")
}

// whole notes the first reading of a whole parameter.
func (p *parser) whole(name, v, how string) {
	base, mark := name, ""
	if star := strings.IndexByte(name, '*'); star >= 0 {
		base, mark = name[:star], name[star:]
	}
	switch {
	case p.literal:
	case mark == "":
		p.names = append(p.names, seenName{name: base, value: v})
	case mark == "*":
		p.names = append(p.names, seenName{name: base, value: extendedText(v), extended: true})
	}
	p.value(name, v, how)
	if base == "boundary" && v == "" {
		p.odd("empty-boundary", true)
	}
}

// duplicates finds parameters that stand twice with different values. A plain
// value for readers who know no RFC 2231 next to an extended one is ordinary, as
// long as a file's extension is the same.
func (p *parser) duplicates() {
	type key struct {
		name     string
		extended bool
	}
	first := map[key]string{}
	for _, n := range p.names {
		k := key{n.name, n.extended}
		if v, ok := first[k]; !ok {
			first[k] = n.value
		} else {
			p.odd("duplicate-parameter", v != n.value)
		}
	}
	for k, plain := range first {
		extended, ok := first[key{k.name, true}]
		if k.extended || !ok {
			continue
		}
		plain = Words(plain)[0]
		if nameLike(k.name) && (extension(plain) == "" || extension(extended) == "") {
			continue
		}
		if differ(k.name, plain, extended) {
			p.odd("fallback-differs", nameLike(k.name) || k.name == "boundary")
		}
	}
}
