package pattern

// The kinds of things between [ and ].
type setToken struct {
	kind  byte // 'c' character, '-' range, ']' end, '^', ':' class, '.' symbol, '=' equivalence, 0 end of source
	c     byte
	width int
}

func (p *posixParser) peekSet() setToken {
	c, ok := p.peekByte(0)
	if !ok {
		return setToken{}
	}
	t := setToken{kind: 'c', c: c, width: 1}
	switch c {
	case '[':
		if c2, ok := p.peekByte(1); ok && (c2 == '.' || c2 == '=' || c2 == ':') {
			return setToken{kind: c2, c: c2, width: 2}
		}
	case '-', ']', '^':
		t.kind = c
	}
	return t
}

// setElement is a character or a class.
type setElement struct {
	c     byte
	class ranges // nil for a character
}

// bracketSet reads [...]; p.tok is the opening bracket, and the closing one
// is read when it returns.
func (p *posixParser) bracketSet() (*node, error) {
	t := p.peekSet()
	negative := t.kind == '^'
	if negative {
		p.at += t.width
		t = p.peekSet()
	}
	if t.kind == 0 {
		return nil, p.fail("a [ is not closed")
	}
	if t.kind == ']' {
		t.kind = 'c'
	}
	var set ranges
	for first := true; ; first = false {
		start, err := p.setElement(t, first)
		if err != nil {
			return nil, err
		}
		if t = p.peekSet(); t.kind == 0 {
			return nil, p.fail("a [ is not closed")
		}
		end, isRange := start, false
		if start.class == nil && t.kind == '-' {
			p.at += t.width
			t2 := p.peekSet()
			switch t2.kind {
			case 0:
				return nil, p.fail("a [ is not closed")
			case ']':
				p.at -= t.width
				t.kind = 'c'
			default:
				isRange = true
				if end, err = p.setElement(t2, true); err != nil {
					return nil, err
				}
				if end.class != nil || end.c < start.c {
					return nil, p.fail("a range that is none")
				}
				if t = p.peekSet(); t.kind == 0 {
					return nil, p.fail("a [ is not closed")
				}
			}
		}
		switch {
		case start.class != nil:
			set = append(set, start.class...)
		case isRange:
			set = append(set, rune(start.c), rune(end.c))
		default:
			set = append(set, rune(start.c), rune(start.c))
		}
		if t.kind == ']' {
			p.at += t.width
			break
		}
	}
	set = set.tidy()
	if negative {
		if p.newline {
			set = append(set, '\n', '\n').tidy()
		}
		set = set.not(255)
	}
	return &node{op: opSet, set: p.folded(set)}, nil
}

// setElement reads the thing that t begins. hyphen says that a - may stand
// for itself here.
func (p *posixParser) setElement(t setToken, hyphen bool) (setElement, error) {
	p.at += t.width
	switch t.kind {
	case '.', '=', ':':
		return p.setSymbol(t.kind)
	case '-':
		if !hyphen && p.peekSet().kind != ']' {
			return setElement{}, p.fail("a range that is none")
		}
	}
	return setElement{c: t.c}, nil
}

func (p *posixParser) setSymbol(kind byte) (setElement, error) {
	start := p.at
	for ; ; p.at++ {
		if p.at+1 >= len(p.src) || p.at-start >= 32 {
			return setElement{}, p.fail("a [ is not closed")
		}
		if p.src[p.at] == kind && p.src[p.at+1] == ']' {
			break
		}
	}
	name := p.src[start:p.at]
	p.at += 2
	if kind != ':' {
		if len(name) != 1 {
			return setElement{}, p.fail("an unknown collating element")
		}
		c := p.upper(name[0])
		if kind == '=' {
			return setElement{class: ranges{rune(c), rune(c)}}, nil
		}
		return setElement{c: c}, nil
	}
	word := string(name)
	r, ok := posixClass(word)
	if !ok || word == "ascii" || word == "word" {
		return setElement{}, p.fail("an unknown class between [: and :]")
	}
	if p.fold && (word == "upper" || word == "lower") {
		r, _ = posixClass("alpha")
	}
	return setElement{class: r}, nil
}
