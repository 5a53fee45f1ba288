package pattern

// posixClass is a [:name:] of the C locale.
func posixClass(name string) (ranges, bool) {
	switch name {
	case "alpha":
		return ranges{'A', 'Z', 'a', 'z'}, true
	case "lower":
		return ranges{'a', 'z'}, true
	case "upper":
		return ranges{'A', 'Z'}, true
	case "alnum":
		return ranges{'0', '9', 'A', 'Z', 'a', 'z'}, true
	case "ascii":
		return ranges{0, 127}, true
	case "blank":
		return ranges{'\t', '\t', ' ', ' '}, true
	case "cntrl":
		return ranges{0, 31, 127, 127}, true
	case "digit":
		return ranges{'0', '9'}, true
	case "graph":
		return ranges{33, 126}, true
	case "print":
		return ranges{32, 126}, true
	case "punct":
		return ranges{33, 47, 58, 64, 91, 96, 123, 126}, true
	case "space":
		return ranges{'\t', '\r', ' ', ' '}, true
	case "word":
		return ranges{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}, true
	case "xdigit":
		return ranges{'0', '9', 'A', 'F', 'a', 'f'}, true
	}
	return nil, false
}

// class reads [...] of PCRE.
func (p *parser) class() (*node, error) {
	p.at++
	negative := p.take("^")
	var set ranges
	first, last := true, rune(-1) // last is a character that may begin a range
	quoted := false
	for {
		if !p.more() {
			return nil, p.fail("a [ is not closed")
		}
		if quoted {
			if p.take(`\E`) {
				quoted = false
				continue
			}
		} else {
			if p.take(`\Q`) {
				quoted = true
				continue
			}
			if p.take(`\E`) {
				continue
			}
			c := p.peek()
			if p.modes.extended2 && (c == ' ' || c == '\t') {
				p.at++
				continue
			}
			if c == ']' && !first {
				p.at++
				break
			}
			if c == '-' && last >= 0 {
				joined, ok, err := p.rangeEnd(last)
				if err != nil {
					return nil, err
				}
				if ok {
					set, last = append(set, joined...), -1
					continue
				}
			}
		}
		first = false
		more, c, err := p.classItem(quoted)
		if err != nil {
			return nil, err
		}
		set, last = append(set, more...), c
	}
	set = set.tidy()
	if p.modes.fold {
		set = p.foldSet(set)
	}
	if negative {
		set = set.not(p.top)
	}
	return &node{op: opSet, set: set}, nil
}

// rangeEnd reads -z behind a. A hyphen before the closing bracket is itself.
func (p *parser) rangeEnd(from rune) (ranges, bool, error) {
	start := p.at
	p.at++
	for p.take(`\E`) {
	}
	if p.peek() == ']' {
		p.at = start
		return nil, false, nil
	}
	quoted := p.take(`\Q`)
	_, to, err := p.classItem(quoted)
	if err != nil {
		return nil, false, err
	}
	if to < 0 || to < from {
		return nil, false, p.fail("a range that is none")
	}
	if quoted && !p.take(`\E`) {
		return nil, false, p.unsupported(`\Q in a range`)
	}
	return ranges{from, to}, true, nil
}

// classItem reads one thing in a class: a set, and the character if it is one.
func (p *parser) classItem(quoted bool) (ranges, rune, error) {
	if !p.more() {
		return nil, -1, p.fail("a [ is not closed")
	}
	c := p.src[p.at]
	if quoted {
		p.at++
		return ranges{c, c}, c, nil
	}
	if c == '[' {
		if r, ok, err := p.namedClass(); ok || err != nil {
			return r, -1, p.noRange(err)
		}
	}
	if c != '\\' {
		p.at++
		return ranges{c, c}, c, nil
	}
	p.at++
	if !p.more() {
		return nil, -1, p.fail("a backslash at the end")
	}
	c = p.src[p.at]
	if r, ok, err := p.classEscape(c); ok || err != nil {
		return r, -1, p.noRange(err)
	}
	switch c {
	case 'b':
		p.at++
		return ranges{8, 8}, 8, nil
	case 'B', 'R', 'X', 'N', 'A', 'Z', 'z', 'G', 'K', 'k', 'g', 'C':
		return nil, -1, p.fail("this escape means nothing in a class")
	}
	c, err := p.charEscape(true)
	return ranges{c, c}, c, err
}

// noRange refuses [\d-x]: PCRE2 takes it for a mistake; [\d-] is none.
func (p *parser) noRange(err error) error {
	if err == nil && p.peek() == '-' && p.at+1 < len(p.src) && p.src[p.at+1] != ']' {
		return p.fail("a range that starts with a class")
	}
	return err
}

// namedClass reads [:alpha:] and [:^alpha:].
func (p *parser) namedClass() (ranges, bool, error) {
	if p.at+1 >= len(p.src) {
		return nil, false, nil
	}
	kind := p.src[p.at+1]
	if kind != ':' && kind != '.' && kind != '=' {
		return nil, false, nil
	}
	end := p.at + 2
	for ; end+1 < len(p.src); end++ {
		c := p.src[end]
		if c == kind && p.src[end+1] == ']' {
			break
		}
		if c == ']' || c == '\\' && (p.src[end+1] == ']' || p.src[end+1] == '\\') || c == '[' && p.src[end+1] == kind {
			return nil, false, nil
		}
	}
	if end+1 >= len(p.src) {
		return nil, false, nil
	}
	if kind != ':' {
		return nil, false, p.fail("collating elements are not known")
	}
	name := string(p.src[p.at+2 : end])
	negative := len(name) > 0 && name[0] == '^'
	if negative {
		name = name[1:]
	}
	r, ok := posixClass(name)
	if !ok {
		return nil, false, p.fail("an unknown class between [: and :]")
	}
	if p.modes.fold && (name == "upper" || name == "lower") {
		r, _ = posixClass("alpha")
	}
	if negative {
		r = r.not(p.top)
	}
	p.at = end + 2
	return r, true, nil
}
