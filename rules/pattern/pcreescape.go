package pattern

import (
	"regexp/syntax"
	"strings"
)

// escape reads what starts with a backslash outside a class.
func (p *parser) escape() (*node, bool, error) {
	p.at++
	if !p.more() {
		return nil, false, p.fail("a backslash at the end")
	}
	c := p.src[p.at]
	switch c {
	case 'Q':
		p.at++
		p.quoted = true
		return nil, true, nil
	case 'A', 'G':
		return p.place(atBegin)
	case 'Z':
		return p.place(atEndNL)
	case 'z':
		return p.place(atEnd)
	case 'b':
		return p.place(atWord)
	case 'B':
		return p.place(atNotWord)
	case 'K':
		// It moves the start of the match as a whole, which nobody asks for.
		if p.looking > 0 {
			return nil, false, p.fail(`\K inside of a look ahead or behind`)
		}
		p.at++
		return empty(), false, nil
	case 'N':
		p.at++
		if p.has("{") {
			from := p.at
			if _, _, ok, err := p.braces(); err != nil || !ok {
				return nil, false, p.fail(`\N{...} is not known without Unicode`)
			}
			p.at = from
		}
		return &node{op: opSet, set: p.dot(false)}, true, nil
	case 'C':
		if !p.bytes {
			return nil, false, p.unsupported(`\C`)
		}
		p.at++
		return &node{op: opSet, set: p.dot(true)}, true, nil
	case 'R':
		p.at++
		return &node{op: opAtomic, sub: []*node{alt([]*node{
			cat([]*node{one('\r'), one('\n')}), {op: opSet, set: p.vertical()}})}}, true, nil
	case 'X':
		return nil, false, p.unsupported(`\X`)
	case 'g', 'k':
		p.at++
		n, err := p.namedReference(c)
		return n, true, err
	}
	if c >= '1' && c <= '9' {
		if n, ok := p.numberReference(); ok {
			return p.reference(n, ""), true, nil
		}
	}
	if set, ok, err := p.classEscape(c); err != nil || ok {
		return &node{op: opSet, set: set}, true, err
	}
	c, err := p.charEscape(false)
	if err != nil {
		return nil, false, err
	}
	return p.literal(c), true, nil
}

func (p *parser) place(at assertion) (*node, bool, error) {
	p.at++
	return &node{op: opAssert, at: at}, false, nil
}

// numberReference reads \1: a back-reference if it is one digit, begins with
// 8 or 9, or if so many groups were opened before it. Otherwise it is octal.
func (p *parser) numberReference() (int, bool) {
	v, i := 0, p.at
	for i < len(p.src) && p.src[i] >= '0' && p.src[i] <= '9' {
		v = min(v*10+int(p.src[i]-'0'), 1<<20)
		i++
	}
	if v < 10 || p.src[p.at] >= '8' || v <= p.groups {
		p.at = i
		return v, true
	}
	return 0, false
}

// namedReference reads \g{2} \g2 \g{-1} \g{name} \k<name> \k'name' \k{name}.
func (p *parser) namedReference(c rune) (*node, error) {
	open := p.peek()
	if c == 'g' && (open == '<' || open == '\'') {
		return nil, p.unsupported("a call of a group")
	}
	end := map[rune]rune{'{': '}', '<': '>', '\'': '\''}[open]
	if end != 0 {
		p.at++
	}
	if c == 'k' {
		if end == 0 {
			return nil, p.fail(`\k without a name`)
		}
		name, err := p.name(end)
		return p.reference(0, name), err
	}
	sign := p.peek()
	if sign == '-' || sign == '+' {
		p.at++
	}
	v, start := 0, p.at
	for p.more() && p.src[p.at] >= '0' && p.src[p.at] <= '9' {
		v = min(v*10+int(p.src[p.at]-'0'), 1<<20)
		p.at++
	}
	if p.at == start {
		if end == 0 || sign == '-' || sign == '+' {
			return nil, p.fail(`\g without a number`)
		}
		name, err := p.name(end)
		return p.reference(0, name), err
	}
	if end != 0 && !p.take("}") {
		return nil, p.fail(`\g{ is not closed`)
	}
	switch sign {
	case '-':
		v = p.groups + 1 - v
	case '+':
		v += p.groups
	}
	if v < 1 {
		return nil, p.fail(`\g refers to no group`)
	}
	return p.reference(v, ""), nil
}

var horizontalUnicode = ranges{'\t', '\t', ' ', ' ', 0xA0, 0xA0, 0x1680, 0x1680, 0x180E, 0x180E, 0x2000, 0x200A, 0x202F, 0x202F, 0x205F, 0x205F, 0x3000, 0x3000}

func (p *parser) vertical() ranges {
	if p.bytes {
		return ranges{'\n', '\r', 0x85, 0x85}
	}
	return ranges{'\n', '\r', 0x85, 0x85, 0x2028, 0x2029}
}

// classEscape reads \d \D \h \H \s \S \v \V \w \W \p \P, in a class or not.
func (p *parser) classEscape(c rune) (ranges, bool, error) {
	var r ranges
	switch c {
	case 'd', 'D':
		r = ranges{'0', '9'}
	case 'h', 'H':
		r = horizontalUnicode.upTo(p.top)
	case 's', 'S':
		r = ranges{'\t', '\r', ' ', ' '}
	case 'v', 'V':
		r = p.vertical()
	case 'w', 'W':
		r = ranges{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}
	case 'p', 'P':
		p.at++
		r, err := p.property(c == 'P')
		return r, err == nil, err
	default:
		return nil, false, nil
	}
	p.at++
	if c < 'a' {
		r = r.not(p.top)
	}
	return r, true, nil
}

// property reads the name behind \p and asks Go's tables for it.
func (p *parser) property(negative bool) (ranges, error) {
	name := ""
	if p.take("{") {
		start := p.at
		for p.more() && p.src[p.at] != '}' {
			p.at++
		}
		if !p.more() {
			return nil, p.fail(`\p{ is not closed`)
		}
		name = string(p.src[start:p.at])
		p.at++
	} else if p.more() {
		name = string(p.src[p.at])
		p.at++
	}
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, negative = rest, !negative
	}
	if name == "" || strings.ContainsAny(name, `\}`) {
		return nil, p.unsupported("this property")
	}
	re, err := syntax.Parse(`\p{`+name+`}`, syntax.Perl)
	if err != nil || re.Op != syntax.OpCharClass {
		return nil, p.unsupported("this property")
	}
	r := ranges(re.Rune).tidy().upTo(p.top)
	if negative {
		r = r.not(p.top)
	}
	return r, nil
}

// charEscape reads an escape that stands for one character. p.at is at the
// letter.
func (p *parser) charEscape(class bool) (rune, error) {
	c := p.src[p.at]
	p.at++
	switch c {
	case 'a':
		return 7, nil
	case 'e':
		return 27, nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'c':
		return p.control()
	case 'x':
		return p.hex()
	case 'o':
		if !p.take("{") {
			return 0, p.fail(`\o without {`)
		}
		return p.digits(8, 12, '}')
	case '8', '9':
		return c, nil
	}
	if c >= '0' && c <= '7' {
		p.at--
		return p.digits(8, 3, 0)
	}
	if c < 0x80 && isWord(c) && c != '_' {
		return 0, p.fail("an unknown letter behind a backslash")
	}
	return c, nil
}

func (p *parser) control() (rune, error) {
	if !p.more() || p.src[p.at] < 32 || p.src[p.at] > 126 {
		return 0, p.fail(`\c needs a printable character`)
	}
	c := p.src[p.at]
	p.at++
	if c >= 'a' && c <= 'z' {
		c -= 32
	}
	return c ^ 0x40, nil
}

func (p *parser) hex() (rune, error) {
	if p.take("{") {
		return p.digits(16, 8, '}')
	}
	return p.digits(16, 2, 0)
}

// digits reads up to most digits. With an end they must be there and the end
// behind them.
func (p *parser) digits(base rune, most int, end rune) (rune, error) {
	v, n := rune(0), 0
	for p.more() && n < most {
		d := digit(p.src[p.at])
		if d >= base {
			break
		}
		v = min(v*base+d, 1<<26)
		p.at++
		n++
	}
	if end != 0 {
		if n == 0 || p.peek() != end {
			return 0, p.fail("digits between braces")
		}
		p.at++
	}
	if v > p.top || !p.bytes && v >= 0xD800 && v <= 0xDFFF {
		return 0, p.fail("the number of a character is too large")
	}
	return v, nil
}

func digit(c rune) rune {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 99
}
