package pattern

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// modes are the letters of (?imsxnU).
type modes struct {
	fold, multi, dotAll, extended, extended2, noCapture, ungreedy bool
	duplicate                                                     bool
}

// parser reads the language of PCRE2 10.4x, as pcre2_compile does without
// PCRE2_UTF (Bytes) or with it.
type parser struct {
	src    []rune
	at     int
	bytes  bool
	top    rune
	modes  modes
	dollar bool // DOLLAR_ENDONLY
	groups int
	names  map[string]int
	// refs are back-references that were read before all groups were known.
	refs   []reference
	depth  int
	quoted bool
	// looking counts the look arounds that are open.
	looking int
}

type reference struct {
	node *node
	name string
}

const (
	maxDepth  = 250 // PCRE2's own limit on nested groups
	maxRepeat = 65535
)

// syntaxError is what is wrong with a pattern and where.
func (p *parser) fail(text string, args ...any) error {
	return fmt.Errorf("at character %d: %s", p.at+1, fmt.Sprintf(text, args...))
}

// unsupported is an error for what PCRE knows and we do not.
func (p *parser) unsupported(what string) error {
	return fmt.Errorf("at character %d: %s: %w", p.at+1, what, ErrUnsupported)
}

func (p *parser) more() bool { return p.at < len(p.src) }

func (p *parser) peek() rune {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return -1
}

func (p *parser) take(s string) bool {
	if p.has(s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *parser) has(s string) bool {
	if p.at+len(s) > len(p.src) {
		return false
	}
	for i := range len(s) {
		if p.src[p.at+i] != rune(s[i]) {
			return false
		}
	}
	return true
}

// runesOf is the source as characters: bytes or runes.
func runesOf(source string, bytes bool) []rune {
	if !bytes {
		return []rune(source)
	}
	out := make([]rune, len(source))
	for i := range len(source) {
		out[i] = rune(source[i])
	}
	return out
}

func parsePCRE(source string, o Options) (*node, int, error) {
	p := &parser{src: runesOf(source, o.Bytes), bytes: o.Bytes, top: 0xFF, names: map[string]int{},
		modes: modes{fold: o.Fold, multi: o.Multiline, dotAll: o.DotAll, extended: o.Extended, ungreedy: o.Ungreedy}, dollar: o.DollarEndOnly}
	if !o.Bytes {
		p.top = utf8.MaxRune
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, 0, err
	}
	if p.more() {
		return nil, 0, p.fail("unmatched )")
	}
	if err := p.resolve(); err != nil {
		return nil, 0, err
	}
	if o.Anchored {
		n = cat([]*node{{op: opAssert, at: atBegin}, n})
	}
	return n, p.groups, nil
}

// resolve ties back-references to the groups that exist by now.
func (p *parser) resolve() error {
	for _, r := range p.refs {
		if r.name != "" {
			n, ok := p.names[r.name]
			if !ok {
				return p.fail("back-reference to a group that does not exist")
			}
			r.node.n = n
		}
		if r.node.n > p.groups {
			return p.fail("back-reference to group %d of %d", r.node.n, p.groups)
		}
	}
	return nil
}

// alternatives reads up to the end or a closing bracket.
func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("brackets are nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	var branches []*node
	for {
		n, err := p.branch()
		if err != nil {
			return nil, err
		}
		branches = append(branches, n)
		if p.peek() != '|' {
			return alt(branches), nil
		}
		p.at++
	}
}

// branch reads one alternative. Mode letters in it, (?i), stay for the
// alternatives that follow: the caller's group ends them.
func (p *parser) branch() (*node, error) {
	var items []*node
	last := false // the last item may be repeated
	for p.more() {
		if p.quoted {
			n := p.quotedChar()
			if n != nil {
				items, last = append(items, n), true
			}
			continue
		}
		c := p.peek()
		if c == '|' || c == ')' {
			break
		}
		if p.skip(c) {
			continue
		}
		if lo, hi, ok, err := p.quantifier(c); err != nil {
			return nil, err
		} else if ok {
			if !last {
				return nil, p.fail("a repeat of nothing")
			}
			items[len(items)-1] = p.repeated(items[len(items)-1], lo, hi)
			last = false
			continue
		}
		n, again, err := p.item(c)
		if err != nil {
			return nil, err
		}
		if n != nil {
			items, last = append(items, n), again
		} else if !again {
			last = false
		}
	}
	return cat(items), nil
}

// quotedChar is the next character inside \Q...\E.
func (p *parser) quotedChar() *node {
	if p.take(`\E`) {
		p.quoted = false
		return nil
	}
	c := p.src[p.at]
	p.at++
	return p.literal(c)
}

// skip passes over what means nothing: blanks and remarks in /x, (?#...),
// and \E without \Q.
func (p *parser) skip(c rune) bool {
	if p.modes.extended {
		if c == ' ' || c >= '\t' && c <= '\r' {
			p.at++
			return true
		}
		if c == '#' {
			for p.more() && p.src[p.at] != '\n' {
				p.at++
			}
			if p.more() {
				p.at++
			}
			return true
		}
	}
	if p.take(`\E`) {
		return true
	}
	if p.has("(?#") {
		for i := p.at; i < len(p.src); i++ {
			if p.src[i] == ')' {
				p.at = i + 1
				return true
			}
		}
	}
	return false
}

func (p *parser) literal(c rune) *node {
	n := one(c)
	if p.modes.fold {
		n.set = p.foldSet(n.set)
	}
	return n
}

func (p *parser) foldSet(r ranges) ranges {
	if p.bytes {
		return r.foldASCII()
	}
	return r.foldUnicode()
}

// quantifier reads * + ? {n} {n,} {n,m}.
func (p *parser) quantifier(c rune) (lo, hi int, ok bool, err error) {
	switch c {
	case '*':
		p.at++
		return 0, infinite, true, nil
	case '+':
		p.at++
		return 1, infinite, true, nil
	case '?':
		p.at++
		return 0, 1, true, nil
	case '{':
		return p.braces()
	}
	return 0, 0, false, nil
}

// braces reads {n}, {n,} and {n,m}; anything else that starts with { is a
// literal, as in PCRE2 up to 10.42.
func (p *parser) braces() (lo, hi int, ok bool, err error) {
	i := p.at + 1
	number := func() (int, bool) {
		v, start := 0, i
		for i < len(p.src) && p.src[i] >= '0' && p.src[i] <= '9' {
			v = min(v*10+int(p.src[i]-'0'), maxRepeat+1)
			i++
		}
		return v, i > start
	}
	lo, ok = number()
	if !ok {
		return 0, 0, false, nil
	}
	hi = lo
	if i < len(p.src) && p.src[i] == ',' {
		i++
		if hi, ok = number(); !ok {
			hi = infinite
		}
	}
	if i >= len(p.src) || p.src[i] != '}' {
		return 0, 0, false, nil
	}
	if lo > maxRepeat || hi > maxRepeat {
		return 0, 0, false, p.fail("a repeat of more than %d", maxRepeat)
	}
	if hi != infinite && hi < lo {
		return 0, 0, false, p.fail("a repeat whose numbers are out of order")
	}
	p.at = i + 1
	return lo, hi, true, nil
}

// repeated puts n under a repeat and reads the ? or + behind it.
func (p *parser) repeated(n *node, lo, hi int) *node {
	r := &node{op: opRepeat, sub: []*node{n}, min: lo, max: hi, lazy: p.modes.ungreedy}
	for p.more() && p.skip(p.src[p.at]) {
		// Blanks and remarks may stand between the two.
	}
	if p.peek() == '+' {
		p.at++
		r.possess, r.lazy = true, false
	} else if p.peek() == '?' {
		p.at++
		r.lazy = !r.lazy
	}
	// An assertion is looked at once or not at all.
	if n.op == opLook || n.op == opAssert {
		r.max = 1
		r.min = min(lo, 1)
		if hi == 0 {
			r.max = 0
		}
	}
	return r
}

// item reads one thing that is not a quantifier, and tells whether it may be
// repeated. A nil node with true leaves the item before it repeatable.
func (p *parser) item(c rune) (*node, bool, error) {
	switch c {
	case '^':
		p.at++
		if p.modes.multi {
			return &node{op: opAssert, at: atLine}, false, nil
		}
		return &node{op: opAssert, at: atBegin}, false, nil
	case '$':
		p.at++
		switch {
		case p.modes.multi:
			return &node{op: opAssert, at: atLineEnd}, false, nil
		case p.dollar:
			return &node{op: opAssert, at: atEnd}, false, nil
		}
		return &node{op: opAssert, at: atEndNL}, false, nil
	case '.':
		p.at++
		return &node{op: opSet, set: p.dot(p.modes.dotAll)}, true, nil
	case '[':
		if p.has("[[:<:]]") || p.has("[[:>:]]") {
			return p.wordEdge()
		}
		if _, ok, err := p.namedClass(); ok || err != nil {
			return nil, false, p.fail("a class between [: and :] outside of [...]")
		}
		n, err := p.class()
		return n, true, err
	case '(':
		return p.bracket()
	case '\\':
		return p.escape()
	}
	p.at++
	return p.literal(c), true, nil
}

// wordEdge reads [[:<:]] and [[:>:]], which PCRE2 takes for \b(?=\w) and
// \b(?<=\w): a repeat behind them holds for the second half alone.
func (p *parser) wordEdge() (*node, bool, error) {
	behind := p.has("[[:>:]]")
	p.at += len("[[:<:]]")
	half := &node{op: opLook, behind: behind, sub: []*node{{op: opSet, set: ranges{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}}}}
	if lo, hi, ok, err := p.quantifier(p.peek()); err != nil {
		return nil, false, err
	} else if ok {
		half = p.repeated(half, lo, hi)
	}
	return cat([]*node{{op: opAssert, at: atWord}, half}), false, nil
}

func (p *parser) dot(all bool) ranges {
	if all {
		return ranges{0, p.top}
	}
	return ranges{0, '\n' - 1, '\n' + 1, p.top}
}

// bracket reads what starts with a round bracket.
func (p *parser) bracket() (*node, bool, error) {
	if p.has("(*") {
		return p.verb()
	}
	p.at++
	saved := p.modes
	defer func() { p.modes = saved }()
	if !p.take("?") {
		if p.modes.noCapture {
			n, err := p.rest()
			return n, true, err
		}
		return p.capture("")
	}
	switch {
	case p.take(":"):
		n, err := p.rest()
		return n, true, err
	case p.take("|"):
		// Where no group captures, there are no numbers to set back.
		before := p.groups
		n, err := p.rest()
		if err == nil && p.groups != before {
			return nil, false, p.unsupported("(?|...) with groups that capture")
		}
		return n, true, err
	case p.take(">"):
		n, err := p.rest()
		return &node{op: opAtomic, sub: []*node{n}}, true, err
	case p.take("="):
		return p.look(false, false)
	case p.take("!"):
		return p.look(false, true)
	case p.take("<="):
		return p.look(true, false)
	case p.take("<!"):
		return p.look(true, true)
	case p.take("P<"), p.take("<"):
		return p.named('>')
	case p.take("'"):
		return p.named('\'')
	case p.take("P="):
		name, err := p.name(')')
		if err != nil {
			return nil, false, err
		}
		return p.reference(0, name), true, nil
	}
	c := p.peek()
	if c >= 'a' && c <= 'z' && !strings.ContainsRune("imsxn", c) {
		return nil, false, p.fail("an unknown letter in (?...)")
	}
	if c == '^' || c == '-' || strings.ContainsRune("imsxnJU:)", c) && c >= 0 {
		n, again, keep, err := p.modeLetters()
		if keep {
			saved = p.modes
		}
		return n, again, err
	}
	return nil, false, p.unsupported("this kind of group")
}

// verb reads (*FAIL) and refuses the other words.
func (p *parser) verb() (*node, bool, error) {
	if p.take("(*FAIL)") || p.take("(*F)") {
		return &node{op: opSet}, false, nil
	}
	return nil, false, p.unsupported("(*WORD)")
}

// rest reads the inside of a group and its closing bracket.
func (p *parser) rest() (*node, error) {
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.peek() != ')' {
		return nil, p.fail("a bracket is not closed")
	}
	p.at++
	if n.op == opCat || n.op == opAlt || n.op == opRepeat || n.op == opLook || n.op == opAssert {
		// A group of its own, so that a repeat behind it means all of it.
		return &node{op: opCat, sub: []*node{n}}, nil
	}
	return n, nil
}

func (p *parser) capture(name string) (*node, bool, error) {
	p.groups++
	c := &node{op: opCapture, n: p.groups}
	if name != "" {
		if _, twice := p.names[name]; twice {
			return nil, false, p.fail("two groups have one name")
		}
		p.names[name] = c.n
	}
	n, err := p.rest()
	c.sub = []*node{n}
	return c, true, err
}

func (p *parser) named(end rune) (*node, bool, error) {
	name, err := p.name(end)
	if err != nil {
		return nil, false, err
	}
	return p.capture(name)
}

// name reads the name of a group: a letter or _, then letters and digits.
func (p *parser) name(end rune) (string, error) {
	start := p.at
	for p.more() && isWord(p.src[p.at]) {
		p.at++
	}
	name := string(p.src[start:p.at])
	if name == "" || name[0] >= '0' && name[0] <= '9' || len(name) > 32 || p.peek() != end {
		return "", p.fail("the name of a group")
	}
	p.at++
	return name, nil
}

func isWord(c rune) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func (p *parser) look(behind, negative bool) (*node, bool, error) {
	p.looking++
	n, err := p.rest()
	p.looking--
	if err != nil {
		return nil, false, err
	}
	if behind {
		for _, branch := range branchesOf(n) {
			if _, ok := branch.width(); !ok {
				return nil, false, p.fail("a lookbehind that is not of fixed length")
			}
		}
	}
	return &node{op: opLook, sub: []*node{n}, behind: behind, negative: negative}, true, nil
}

// branchesOf is the alternatives at the top of a lookbehind: each has a
// length of its own.
func branchesOf(n *node) []*node {
	for n.op == opCat && len(n.sub) == 1 {
		n = n.sub[0]
	}
	if n.op == opAlt {
		return n.sub
	}
	return []*node{n}
}

// modeLetters reads (?i), (?i-s:...), (?^m). keep says that the letters hold
// for the rest of the group that they stand in.
func (p *parser) modeLetters() (n *node, again, keep bool, err error) {
	if p.take("^") {
		p.modes.fold, p.modes.multi, p.modes.dotAll = false, false, false
		p.modes.extended, p.modes.extended2, p.modes.noCapture = false, false, false
	}
	on := true
	for p.more() {
		c := p.src[p.at]
		p.at++
		switch c {
		case '-':
			if !on {
				return nil, false, false, p.fail("two minus signs in (?...)")
			}
			on = false
		case 'i':
			p.modes.fold = on
		case 'm':
			p.modes.multi = on
		case 's':
			p.modes.dotAll = on
		case 'x':
			p.modes.extended = on
			p.modes.extended2 = on && p.take("x")
		case 'n':
			p.modes.noCapture = on
		case 'U':
			p.modes.ungreedy = on
		case 'J':
			p.modes.duplicate = on
		case ')':
			return nil, false, true, nil
		case ':':
			n, err := p.rest()
			return n, true, false, err
		default:
			return nil, false, false, p.fail("an unknown letter in (?...)")
		}
	}
	return nil, false, false, p.fail("(?... is not closed")
}

func (p *parser) reference(n int, name string) *node {
	r := &node{op: opBackref, n: n, fold: p.modes.fold}
	p.refs = append(p.refs, reference{node: r, name: name})
	return r
}
