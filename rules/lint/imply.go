package lint

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"garita/rules"
	"garita/rules/fold"
	"garita/rules/pattern"
)

// form is how a subject's texts are compared, as package rules does it.
type form uint8

const (
	folded form = iota
	lower
	octets
)

func formOf(s rules.Subject) form {
	switch s {
	case rules.RawHeader, rules.RawAnyHeader, rules.BodyLine:
		return octets
	case rules.Client, rules.Host, rules.Helo, rules.Sender, rules.SenderDomain, rules.Recipient, rules.RecipientDomain,
		rules.User, rules.Listener, rules.Defect, rules.Tag, rules.AttachmentType, rules.AttachmentDeclared:
		return lower
	}
	return folded
}

// key is a value as it is looked for.
func (f form) key(v string) string {
	switch f {
	case folded:
		return fold.Key(v)
	case lower:
		return strings.ToLower(strings.TrimSpace(v))
	}
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}, v)
}

// single tells a subject that a message has one text or number of.
func single(s rules.Subject) bool {
	switch s {
	case rules.Client, rules.Host, rules.Helo, rules.User, rules.Listener, rules.Size, rules.Recipients, rules.Attachments:
		return true
	}
	return false
}

// perFile tells the subjects whose conditions in one match hold of one
// attachment together.
func perFile(s rules.Subject) bool {
	return s >= rules.AttachmentName && s <= rules.AttachmentSize
}

func aboutSame(a, b *rules.Condition) bool {
	return a.Subject == b.Subject && a.Name == b.Name && a.Of == b.Of
}

func isText(op rules.Op) bool { return op >= rules.Is && op <= rules.Ends }

func isNumber(op rules.Op) bool { return op >= rules.More && op <= rules.Equals }

// overFolded tells a pattern that runs over folded text.
func overFolded(c *rules.Condition) bool {
	return c.Op == rules.Matches && strings.Contains(c.Flags, "a")
}

// implies proves that wherever a holds, without its "not", b does: of the same
// text, field or attachment.
func (l *linter) implies(a, b *rules.Condition) bool {
	if !aboutSame(a, b) {
		// What a field contains, some field contains.
		return a.Op == rules.Contains && b.Op == rules.Contains && b.Subject == rules.AnyHeader &&
			(a.Subject == rules.Header || a.Subject == rules.SubjectText) && l.texts(a, b)
	}
	switch {
	case b.Op == rules.Missing || a.Op == rules.Missing:
		return a.Op == b.Op
	case b.Op == rules.Exists:
		return a.Op == rules.Exists || isText(a.Op) && len(a.Values) > 0 && !slices.ContainsFunc(a.Values, func(v string) bool {
			return a.Op == rules.Is && formOf(a.Subject).key(v) == ""
		})
	case isNumber(a.Op) && isNumber(b.Op):
		return rangeOf(a).inside(rangeOf(b))
	case hasNets(a) && hasNets(b):
		return netsInside(a.Nets, b.Nets)
	case isText(a.Op) && isText(b.Op):
		return l.texts(a, b)
	case b.Op == rules.InList && !hasNets(b) && (a.Op == rules.Is || a.Op == rules.InList && !hasNets(a)):
		return l.listed(a, b)
	case a.Op == rules.Matches && b.Op == rules.Matches:
		if a.Regexp == b.Regexp && a.Flags == b.Flags {
			return true
		}
		return overFolded(a) == overFolded(b) && a.Pattern != nil && b.Pattern != nil && l.within(a.Pattern, b.Pattern)
	case isText(a.Op) && overFolded(b) && formOf(a.Subject) == folded:
		return l.literalsWithin(a, b)
	}
	return false
}

func hasNets(c *rules.Condition) bool {
	return c.Op == rules.InNets || c.Op == rules.InList && c.Subject == rules.Client
}

// texts proves that a text that a's values fit fits one of b's.
func (l *linter) texts(a, b *rules.Condition) bool {
	if l.pairs -= len(a.Values) * len(b.Values) / 64; l.pairs < 0 {
		return false
	}
	bKeys := l.keysOf(b)
	for _, k := range l.keysOf(a) {
		if !slices.ContainsFunc(bKeys, func(w string) bool { return fits(a.Op, k, b.Op, w) }) {
			return false
		}
	}
	return len(a.Values) > 0
}

// keysOf is the values of a condition as they are looked for, made once.
func (l *linter) keysOf(c *rules.Condition) []string {
	keys, ok := l.keys[c]
	if !ok {
		f := formOf(c.Subject)
		for _, v := range c.Values {
			keys = append(keys, f.key(v))
		}
		l.keys[c] = keys
	}
	return keys
}

// fits proves that a text that is, contains, … k also is, contains, … w.
func fits(a rules.Op, k string, b rules.Op, w string) bool {
	if w == "" {
		return b == rules.Is && a == rules.Is && k == ""
	}
	switch b {
	case rules.Is:
		return a == rules.Is && k == w
	case rules.Contains:
		return strings.Contains(k, w)
	case rules.Starts:
		return (a == rules.Is || a == rules.Starts) && strings.HasPrefix(k, w)
	case rules.Ends:
		return (a == rules.Is || a == rules.Ends) && strings.HasSuffix(k, w)
	}
	return false
}

// listed proves that each value of a is in b's list.
func (l *linter) listed(a, b *rules.Condition) bool {
	have, ok := l.lists[b]
	if !ok {
		have = make(map[string]bool, len(b.Values))
		for _, k := range l.keysOf(b) {
			have[k] = true
		}
		l.lists[b] = have
	}
	for _, k := range l.keysOf(a) {
		if k == "" || !have[k] {
			return false
		}
	}
	return len(a.Values) > 0
}

// literalsWithin proves that a pattern over folded text matches wherever a
// literal stands in it.
func (l *linter) literalsWithin(a, b *rules.Condition) bool {
	if b.Pattern == nil || len(a.Values) == 0 || len(a.Values) > 50 {
		return false
	}
	for _, v := range a.Values {
		p := l.compiled(literal(a.Op, folded.key(v)), pattern.Options{})
		if p == nil || !l.within(p, b.Pattern) {
			return false
		}
	}
	return true
}

// literal is a pattern for what an operator asks.
func literal(op rules.Op, key string) string {
	s := regexp.QuoteMeta(key)
	if op == rules.Is || op == rules.Starts {
		s = `\A` + s
	}
	if op == rules.Is || op == rules.Ends {
		s += `\z`
	}
	return s
}

// span is a range of whole numbers, both ends in it.
type span struct{ lo, hi int64 }

const unbounded = int64(1) << 62

func rangeOf(c *rules.Condition) span {
	s := span{leastOf(c.Subject), unbounded}
	switch c.Op {
	case rules.More:
		s.lo = max(s.lo, c.Number+1)
	case rules.AtLeast:
		s.lo = max(s.lo, c.Number)
	case rules.Less:
		s.hi = c.Number - 1
	case rules.AtMost:
		s.hi = c.Number
	case rules.Equals:
		s.lo, s.hi = max(s.lo, c.Number), c.Number
	}
	return s
}

// leastOf is the least number that there can be. A message has a recipient at
// the end of data.
func leastOf(s rules.Subject) int64 {
	if s == rules.Recipients {
		return 1
	}
	return 0
}

func (s span) empty() bool        { return s.lo > s.hi }
func (s span) inside(t span) bool { return s.empty() || s.lo >= t.lo && s.hi <= t.hi }

func netsInside(a, b []netip.Prefix) bool {
	for _, p := range a {
		if !slices.ContainsFunc(b, func(q netip.Prefix) bool { return covers(q, p) }) {
			return false
		}
	}
	return len(a) > 0
}

func covers(q, p netip.Prefix) bool {
	return q.IsValid() && p.IsValid() && q.Bits() <= p.Bits() && q.Masked().Contains(p.Addr())
}

func netsApart(a, b []netip.Prefix) bool {
	for _, p := range a {
		if slices.ContainsFunc(b, func(q netip.Prefix) bool { return p.Overlaps(q) }) {
			return false
		}
	}
	return true
}
