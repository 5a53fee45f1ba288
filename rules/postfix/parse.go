package postfix

import (
	"errors"
	"strconv"
	"strings"

	"garita/rules/pattern"
)

type tableParser struct {
	table    *Table
	problems []Problem
	open     []int // the rules of the ifs that are not closed
}

// lines cuts the text into logical lines: a line that begins with a blank
// goes on from the line before, and empty lines and comments do not come
// between.
func (p *tableParser) lines(text string) {
	number, first := 0, 0
	logical := ""
	flush := func() {
		switch {
		case logical == "":
		case isSpace(logical[0]):
			p.skip(number, "a logical line must not start with a blank")
		default:
			p.rule(first, logical)
		}
		logical = ""
	}
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		number++
		body := strings.TrimLeft(line, blanks)
		if body != "" && body[0] != '#' {
			if logical == "" {
				first = number
			}
			logical += line
		}
		// The logical line ends where the next does not go on from it.
		if logical != "" && (text == "" || text[0] != '#' && !isSpace(text[0])) {
			flush()
		}
	}
	flush()
}

// blanks is isspace(3) of the C locale.
const blanks = " \t\n\v\f\r"

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// rule reads a logical line.
func (p *tableParser) rule(line int, text string) {
	if i := strings.IndexByte(text, 0); i >= 0 {
		p.warn(line, "text behind a NUL is ignored")
		text = text[:i]
	}
	text = strings.TrimRight(text, blanks)
	if text == "" {
		return
	}
	switch {
	case !isAlnum(text[0]):
		p.match(line, text)
	case keyword(text, "IF"):
		p.condition(line, strings.TrimLeft(text[2:], blanks))
	case keyword(text, "ENDIF"):
		p.endif(line, strings.TrimLeft(text[5:], blanks))
	default:
		p.skip(line, "ignoring unrecognized request")
	}
}

func keyword(text, word string) bool {
	return len(text) >= len(word) && strings.EqualFold(text[:len(word)], word) &&
		(len(text) == len(word) || !isAlnum(text[len(word)]))
}

// source is a pattern before it is compiled.
type source struct {
	text    string
	flags   string
	want    bool
	options pattern.Options
}

// match reads /pattern/flags result.
func (p *tableParser) match(line int, text string) {
	first, rest, ok := p.pattern(line, text)
	if !ok {
		return
	}
	var second *source
	if p.table.kind == Regexp && strings.HasPrefix(rest, "!") {
		var s source
		if s, rest, ok = p.pattern(line, rest); !ok {
			return
		}
		second = &s
	}
	rest = strings.TrimLeft(rest, blanks)
	if rest == "" {
		p.warn(line, "no replacement text: using empty string")
	}
	result, groups, err := prescan(rest)
	if err != nil {
		p.skip(line, "%v: skipping this rule", err)
		return
	}
	if groups > 0 && !first.want {
		p.skip(line, "$number found in negative match replacement text: skipping this rule")
		return
	}
	r := rule{kind: ruleMatch, line: line, result: result, groups: groups, endif: -1}
	first.options.Captures = groups > 0
	if r.first, ok = p.compile(line, first); !ok {
		return
	}
	if groups > r.first.pattern.Groups() {
		p.skip(line, "out of range replacement index %q: skipping this rule", strconv.Itoa(groups))
		return
	}
	if second != nil {
		e, ok := p.compile(line, *second)
		if !ok {
			return
		}
		r.second = &e
	}
	p.table.rules = append(p.table.rules, r)
}

func (p *tableParser) condition(line int, text string) {
	s, rest, ok := p.pattern(line, text)
	if !ok {
		return
	}
	if rest = strings.TrimLeft(rest, blanks); rest != "" {
		p.warn(line, "ignoring extra text after IF statement: do not put blanks before the rules between IF and ENDIF")
	}
	e, ok := p.compile(line, s)
	if !ok {
		return
	}
	p.open = append(p.open, len(p.table.rules))
	p.table.rules = append(p.table.rules, rule{kind: ruleIf, line: line, first: e, endif: -1})
}

func (p *tableParser) endif(line int, extra string) {
	if len(p.open) == 0 {
		p.skip(line, "ignoring ENDIF without matching IF")
		return
	}
	if extra != "" {
		p.warn(line, "ignoring extra text after ENDIF")
	}
	last := len(p.open) - 1
	p.table.rules[p.open[last]].endif = len(p.table.rules)
	p.open = p.open[:last]
	p.table.rules = append(p.table.rules, rule{kind: ruleEndif, line: line, endif: -1})
}

// pattern reads any number of ! and blanks, a pattern between two of one
// character, and its flags. rest begins at what ended the flags.
func (p *tableParser) pattern(line int, text string) (s source, rest string, ok bool) {
	s.want = true
	for text != "" && (text[0] == '!' || isSpace(text[0])) {
		if text[0] == '!' {
			s.want = !s.want
		}
		text = text[1:]
	}
	if text == "" {
		p.skip(line, "no regexp: skipping this rule")
		return s, "", false
	}
	delimiter := text[0]
	text = text[1:]
	end := 0
	for end < len(text) && text[end] != delimiter {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(text) {
		p.skip(line, "no closing regexp delimiter %q: skipping this rule", string(delimiter))
		return s, "", false
	}
	s.text, text = text[:end], text[end+1:]
	rest, ok = p.flags(line, text, &s.options)
	s.flags = text[:len(text)-len(rest)]
	return s, rest, ok
}

// flags reads the letters behind a pattern. Each turns its option to the
// other side of its default, and i is on by default: /x/i minds the case.
func (p *tableParser) flags(line int, text string, o *pattern.Options) (string, bool) {
	*o = pattern.Options{Bytes: true, Fold: true, DotAll: true}
	basic := false
	regexp := p.table.kind == Regexp
	for ; text != "" && !isSpace(text[0]); text = text[1:] {
		c := text[0]
		if regexp && c == '!' {
			break
		}
		switch {
		case c == 'i':
			o.Fold = !o.Fold
		case c == 'm':
			o.Multiline = !o.Multiline
		case c == 'x' && regexp:
			basic = !basic
		case regexp:
			p.skip(line, "unknown regexp option %q: skipping this rule", string(c))
			return "", false
		case c == 's':
			o.DotAll = !o.DotAll
		case c == 'x':
			o.Extended = !o.Extended
		case c == 'A':
			o.Anchored = !o.Anchored
		case c == 'E':
			o.DollarEndOnly = !o.DollarEndOnly
		case c == 'U':
			o.Ungreedy = !o.Ungreedy
		case c == 'X':
			p.warn(line, "ignoring obsolete regexp option \"X\"")
		default:
			p.skip(line, "unknown regexp option %q: skipping this rule", string(c))
			return "", false
		}
	}
	if regexp {
		o.Dialect = pattern.Extended
		if basic {
			o.Dialect = pattern.Basic
		}
	}
	return text, true
}

func (p *tableParser) compile(line int, s source) (expression, bool) {
	c, err := pattern.Compile(s.text, s.options)
	if err != nil {
		p.skip(line, "error in regexp: %v: skipping this rule", err)
		p.problems[len(p.problems)-1].Unsupported = errors.Is(err, pattern.ErrUnsupported)
		return expression{}, false
	}
	return expression{pattern: c, want: s.want, source: s.text, flags: s.flags, options: s.options}, true
}

var errMacro = errors.New("bad replacement syntax")

// prescan reads a result: its highest $n and, if it has none, its text with
// $$ made one.
func prescan(text string) (string, int, error) {
	highest := 0
	var literal strings.Builder
	err := macro(text, func(name string) error {
		for i := range len(name) {
			if name[i] < '0' || name[i] > '9' {
				return errMacro
			}
		}
		n, err := strconv.Atoi(name)
		if err != nil || n < 1 {
			return errMacro
		}
		highest = max(highest, n)
		return nil
	}, func(s string) { literal.WriteString(s) })
	if highest > 0 {
		return text, highest, err
	}
	return literal.String(), 0, err
}

// macro reads $name, ${name}, $(name) and $$ in a text.
func macro(text string, name func(string) error, literal func(string)) error {
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			literal(text)
			return nil
		}
		literal(text[:i])
		text = text[i+1:]
		if strings.HasPrefix(text, "$") {
			literal("$")
			text = text[1:]
			continue
		}
		var n string
		if text != "" && (text[0] == '(' || text[0] == '{') {
			end := closing(text)
			if end < 0 {
				return errMacro
			}
			n, text = text[1:end], text[end+1:]
		} else {
			end := 0
			for end < len(text) && (isAlnum(text[end]) || text[end] == '_') {
				end++
			}
			n, text = text[:end], text[end:]
		}
		if n == "" {
			return errMacro
		}
		if err := name(n); err != nil {
			return err
		}
	}
	return nil
}

// closing is the place of the bracket that closes the one at the start.
func closing(text string) int {
	open, shut := text[0], byte(')')
	if open == '{' {
		shut = '}'
	}
	level := 0
	for i := range len(text) {
		switch text[i] {
		case open:
			level++
		case shut:
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}
