package field

import (
	"strings"
)

// Bounds of one field. What is over them is left out and named; the readings of
// a value are bounded too, so that the memory stays linear in the field.
const (
	maxParams   = 2000     // parameters of one field that are kept
	maxReadings = 4000     // readings of all parameters together
	maxSections = 500      // sections of all continuations together
	maxValue    = 64 << 10 // octets of one value
	maxLook     = 4096     // how far the other quote of a damaged value is looked for
)

// parser reads one field.
type parser struct {
	s        string
	out      Value
	seen     map[Param]bool
	params   int
	sections []section
	names    []seenName // of whole parameters, to find duplicates

	// literal: parentheses are ordinary characters.
	literal bool
	// paren: a comment stands where readers who know no comments read
	// something else.
	paren bool
	// noComments: a comment had no end, or there is no `)` any more.
	unclosed, noComments bool
	// noQuote: a quoted string had no end.
	noQuote bool
}

// seenName is one whole parameter, for the duplicates.
type seenName struct {
	name, value string
	extended    bool
}

// Parse reads a field's value: the octets behind the colon, folded or not.
func Parse(raw string) Value {
	p := &parser{s: raw, seen: map[Param]bool{}}
	p.scan()
	if p.paren {
		q := &parser{s: raw, seen: p.seen, out: p.out, literal: true, sections: nil}
		q.scan()
		q.join()
		p.out = q.out
	}
	p.join()
	p.duplicates()
	return p.out
}

// odd notes an oddity once; ambiguous counts if it was so anywhere.
func (p *parser) odd(id string, ambiguous bool) {
	for i := range p.out.Oddities {
		if o := &p.out.Oddities[i]; o.ID == id {
			o.Ambiguous = o.Ambiguous || ambiguous
			return
		}
	}
	p.out.Oddities = append(p.out.Oddities, Oddity{ID: id, Ambiguous: ambiguous})
}

// add notes a reading once.
func (p *parser) add(name, value, how string) {
	key := Param{Name: name, Value: value}
	if p.seen[key] {
		return
	}
	if len(p.out.Params) >= maxReadings {
		p.odd("too-many-parameters", true)
		return
	}
	p.seen[key] = true
	p.out.Params = append(p.out.Params, Param{Name: name, Value: value, How: how})
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isToken tells the characters of a token (RFC 2045 section 5.1).
func isToken(c byte) bool {
	return c > ' ' && c < 0x7F && strings.IndexByte("()<>@,;:\\\"/[]?=", c) < 0
}

func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

// comment gives the offset behind the comment at i, or i if there is none. It
// is linear over the whole field: a comment without an end is looked for once,
// and after that comments end at the first `)`.
func (p *parser) comment(i int) int {
	if p.literal || p.noComments || i >= len(p.s) || p.s[i] != '(' {
		return i
	}
	if !p.unclosed {
		depth := 0
		for k := i; k < len(p.s); k++ {
			switch p.s[k] {
			case '\\':
				k++
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					return k + 1
				}
			}
		}
		p.unclosed = true
		p.paren = true
		p.odd("unclosed-comment", true)
	}
	k := strings.IndexByte(p.s[i:], ')')
	if k < 0 {
		p.noComments = true
		return i
	}
	return i + k + 1
}

// skip passes white space and comments.
func (p *parser) skip(i int) int {
	for {
		k := p.comment(skipSpace(p.s, i))
		if k == i || k < len(p.s) && k == skipSpace(p.s, i) && p.s[k] != '(' {
			return k
		}
		if k >= len(p.s) || k == skipSpace(p.s, i) {
			return k
		}
		i = k
	}
}

// until reads from i to the first of the octets in ends, without comments. It
// gives the text, the offset of the end, and whether a comment was inside.
func (p *parser) until(i int, ends string) (text string, end int, commented bool) {
	from := i
	var b strings.Builder
	for i < len(p.s) && strings.IndexByte(ends, p.s[i]) < 0 {
		if k := p.comment(i); k > i {
			b.WriteString(p.s[from:i])
			i, from, commented = k, k, true
			continue
		}
		i++
	}
	if !commented {
		return p.s[from:i], i, false
	}
	b.WriteString(p.s[from:i])
	return b.String(), i, true
}

// scan reads the whole field in one view.
func (p *parser) scan() {
	i := p.first()
	for i < len(p.s) {
		if p.params++; p.params > maxParams {
			p.odd("too-many-parameters", true)
			return
		}
		next := p.param(i)
		if next <= i {
			next = i + 1
		}
		i = next
	}
}

// first reads the main value.
func (p *parser) first() int {
	from := skipSpace(p.s, 0)
	i := p.skip(from)
	if i > from && i < len(p.s) {
		p.odd("comment-in-type", true)
	}
	if i < len(p.s) && p.s[i] == '"' {
		if body, end, ok := p.quotedEnd(i); ok {
			p.odd("quoted-type", true)
			p.token(body)
			return p.toSemicolon(end)
		}
	}
	text, end, commented := p.until(i, ";=")
	if commented && glued(p.s, i, end) {
		p.paren = true
		p.odd("comment-in-type", true)
	}
	if end == len(p.s) || p.s[end] == ';' {
		p.token(text)
		if strings.TrimSpace(text) == "" && end < len(p.s) {
			p.odd("missing-type", true)
		}
		return min(end+1, len(p.s))
	}
	if strings.HasPrefix(p.s[end:], "=?") {
		// An encoded word in the type.
		all, end, _ := p.until(i, ";")
		if w := scanWords(all); w.any {
			p.odd("encoded-type", true)
			p.token(w.joined())
			p.token(all)
			return min(end+1, len(p.s))
		}
	}
	// `text/plain charset=utf-8`, or no type at all.
	words := strings.Fields(text)
	if len(words) < 2 {
		p.odd("missing-type", true)
		return i
	}
	p.odd("missing-semicolon", true)
	p.token(strings.Join(words[:len(words)-1], " "))
	k := strings.LastIndex(p.s[i:end], words[len(words)-1])
	if k < 0 {
		return min(end+1, len(p.s))
	}
	return i + k
}

// glued tells that a comment touches a word, where one view has one word and
// another has two or another one.
func glued(s string, i, end int) bool {
	for k := i; k < end; k++ {
		if s[k] == '(' && k > 0 && !isSpace(s[k-1]) && s[k-1] != ')' && s[k-1] != ';' {
			return true
		}
		if s[k] == ')' && k+1 < len(s) && !isSpace(s[k+1]) && s[k+1] != ';' && s[k+1] != ')' && s[k+1] != '(' {
			return true
		}
	}
	return false
}

// toSemicolon gives the offset behind the next `;`.
func (p *parser) toSemicolon(i int) int {
	if k := strings.IndexByte(p.s[i:], ';'); k >= 0 {
		return i + k + 1
	}
	return len(p.s)
}

// token notes the readings of the main value.
func (p *parser) token(text string) {
	text = strings.ToLower(strings.TrimSpace(unfold(text)))
	if text == "" {
		return
	}
	note := func(t string) {
		t = strings.TrimSpace(t)
		for _, o := range p.out.Tokens {
			if o == t {
				return
			}
		}
		if t != "" && len(p.out.Tokens) < 16 {
			p.out.Tokens = append(p.out.Tokens, t)
		}
	}
	clean := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' || r == '"' || r == '\'' || r < ' ' || r == 0x7F || r == 0xFFFD {
			return -1
		}
		return r
	}, text)
	if strings.Contains(text, "\\") {
		p.odd("backslash-in-type", true)
		note(strings.ReplaceAll(clean, "\\", "/"))
		note(strings.ReplaceAll(clean, "\\", ""))
	}
	if strings.Contains(text, ",") {
		p.odd("several-types", true)
		for _, t := range strings.SplitN(text, ",", 8) {
			note(t)
		}
	}
	if clean != text {
		p.odd("junk-in-type", true)
		note(clean)
		note(strings.Fields(text)[0])
	}
	note(text)
}

// unfold takes out the folds (RFC 5322 section 2.2.3). A tab behind one was a
// space before an old writer folded there.
func unfold(s string) string {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n\t", " ")
	s = strings.ReplaceAll(s, "\n\t", " ")
	s = strings.ReplaceAll(s, "\r\n", "")
	return strings.ReplaceAll(s, "\n", "")
}
