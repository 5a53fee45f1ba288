package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
	"unicode/utf8"

	"garita/rules/fold"
	"garita/rules/pattern"
)

// normal is how a view makes texts comparable.
type normal uint8

const (
	folded normal = iota // as readers read it: rules/fold
	lower                // names and addresses: small letters, all else counts
	octets               // ASCII letters alone have a case
)

func modeOf(s Subject) normal {
	switch s {
	case RawHeader, RawAnyHeader, BodyLine:
		return octets
	case Client, Host, Helo, Sender, SenderDomain, Recipient, RecipientDomain, User, Listener, Defect, Tag, AttachmentType, AttachmentDeclared:
		return lower
	}
	return folded
}

// atom is a condition, once for all rules that have it, without its "not".
type atom struct {
	cond *Condition
	op   Op
	// list is the entries of InList in the view's normal form.
	list map[string]struct{}
	nets *netSet
	// parents: an entry "example.org" fits what is below and addresses there.
	parents bool
	over    bool // the pattern runs over folded text (flag a)
	reach   pattern.Reach
	near    bool         // a match is about where its literal is, as reach says
	rest    pattern.Need // what the pattern needs besides what it is found by
}

// literal is one value of Is, Contains, Starts or Ends.
type literal struct {
	atom       int32
	key        string // in the view's normal form
	start, end bool   // only at the start, at the end
	word       string // what it is looked for by: a run of key without blanks
	at         int    // where that stands in key
}

// view is one thing that conditions look at, with all of those that do.
type view struct {
	subject  Subject
	name, of string
	mode     normal

	atoms   []int32
	exists  []int32
	missing []int32 // of attachments alone
	is      map[string][]int32
	lits    []literal
	lists   []int32
	regs    []int32
	nets    []int32
	numbers []int32
	// set finds candidates: lits first, regs behind them. nil: there are few.
	set    *pattern.Set
	always []int // of what the set cannot look for
	norm   bool  // something looks at the normal form
	plain  bool  // some pattern looks at the text as it is
}

// few conditions on short texts are tried one by one.
const few = 12

func newAtom(c *Condition, op Op) *atom {
	a := &atom{cond: c, op: op}
	switch c.Subject {
	case Host, Helo, Sender, SenderDomain, Recipient, RecipientDomain, User:
		a.parents = true
	}
	mode := modeOf(c.Subject)
	switch {
	case op == InNets || op == InList && c.Subject == Client:
		a.nets = newNetSet(c.Nets)
	case op == InList:
		a.list = make(map[string]struct{}, len(c.Values))
		for _, v := range c.Values {
			if k := mode.key(v); k != "" {
				a.list[k] = struct{}{}
			}
		}
	case op == Matches:
		a.over = strings.Contains(c.Flags, "a")
		if a.reach, a.near = pattern.ReachOf(c.Pattern); a.over {
			a.near = false
		}
	}
	return a
}

// key is a value in a normal form.
func (m normal) key(v string) string {
	switch m {
	case folded:
		return fold.Key(v)
	case lower:
		return strings.ToLower(strings.TrimSpace(v))
	}
	return string(appendLower(nil, v))
}

// text appends a text in a normal form, without blanks at its ends where they
// do not count.
func (m normal) text(dst []byte, text []byte) []byte {
	switch m {
	case folded:
		n := len(dst)
		dst = fold.Text(dst, text)
		if len(dst) > n && dst[len(dst)-1] == ' ' {
			dst = dst[:len(dst)-1]
		}
		if len(dst) > n && dst[n] == ' ' {
			dst = append(dst[:n], dst[n+1:]...)
		}
		return dst
	case lower:
		if !ascii(text) {
			return append(dst, bytes.ToLower(text)...)
		}
	}
	return appendLower(dst, text)
}

func appendLower[T string | []byte](dst []byte, s T) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func (v *view) add(i int32, a *atom) {
	v.atoms = append(v.atoms, i)
	switch a.op {
	case Exists:
		v.exists = append(v.exists, i)
	case Missing:
		v.missing = append(v.missing, i)
	case Is, Contains, Starts, Ends:
		for _, value := range a.cond.Values {
			key := v.mode.key(value)
			if a.op == Is && !v.long() {
				if v.is == nil {
					v.is = map[string][]int32{}
				}
				v.is[key] = append(v.is[key], i)
				v.norm = true
				continue
			}
			if key == "" {
				continue // nothing is looked for: that is in no text
			}
			v.lits = append(v.lits, newLiteral(i, key, a.op, v.mode))
			v.norm = true
		}
	case InList, InNets:
		if a.nets != nil {
			v.nets = append(v.nets, i)
		} else {
			v.lists = append(v.lists, i)
			v.norm = true
		}
	case Matches:
		v.regs = append(v.regs, i)
		if a.over {
			v.norm = true
		} else {
			v.plain = true
		}
	default:
		v.numbers = append(v.numbers, i)
	}
}

// long tells the views of text that may be large.
func (v *view) long() bool { return v.subject == Text || v.subject == BodyLine }

func newLiteral(i int32, key string, op Op, mode normal) literal {
	l := literal{atom: i, key: key, start: op == Starts || op == Is, end: op == Ends || op == Is}
	if mode != folded {
		l.word = cut(key)
		return l
	}
	best := -1
	for from := 0; from < len(key); {
		n := strings.IndexByte(key[from:], ' ')
		if n < 0 {
			n = len(key) - from
		}
		if w := cut(key[from : from+n]); len(w) >= 2 {
			if r := pattern.Rarity(w); r > best {
				best, l.word, l.at = r, w, from
			}
		}
		from += n + 1
	}
	return l
}

// cut bounds a word that is looked for.
func cut(w string) string {
	const most = 24
	if len(w) > most {
		w = w[:most]
	}
	return w
}

// build makes the search, when all conditions are there.
func (v *view) build(s *Set) {
	needs := make([]pattern.Need, 0, len(v.lits)+len(v.regs))
	for i := range v.lits {
		var need pattern.Need
		if w := v.lits[i].word; len(w) >= 2 {
			need = pattern.Need{{w}}
		}
		needs = append(needs, need)
	}
	for _, i := range v.regs {
		a := s.atoms[i]
		if a.cond.Pattern == nil {
			needs = append(needs, nil)
			continue
		}
		need := pattern.Required(a.cond.Pattern)
		if len(need) > 0 {
			a.rest = need[1:]
		}
		if a.over {
			// A blank of folded text is any white space of the text.
			a.rest, need = nil, words(need)
		}
		needs = append(needs, need)
	}
	if len(needs) == 0 || len(needs) <= few && !v.long() {
		return
	}
	v.set = pattern.NewSetOf(needs)
	v.always = v.set.Always()
}

// words are the longest words of a need's first clause.
func words(need pattern.Need) pattern.Need {
	if len(need) == 0 {
		return nil
	}
	var out []string
	for _, s := range need[0] {
		longest := ""
		for _, w := range strings.Fields(s) {
			if len(w) > len(longest) {
				longest = w
			}
		}
		if len(longest) < 2 || !utf8.ValidString(longest) {
			return nil
		}
		out = append(out, longest)
	}
	return pattern.Need{out}
}

// digest is of the values of a large list.
func digest(c *Condition) []byte {
	h := sha256.New()
	for _, v := range c.Values {
		h.Write([]byte(v))
		h.Write([]byte{0})
	}
	for _, n := range c.Nets {
		h.Write([]byte(n.String()))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

// netSet finds an address among many networks by one look-up for each length
// of prefix that there is.
type netSet struct {
	nets map[netip.Prefix]struct{}
	v4   []int // lengths
	v6   []int
}

func newNetSet(nets []netip.Prefix) *netSet {
	s := &netSet{nets: make(map[netip.Prefix]struct{}, len(nets))}
	var have4 [33]bool
	var have6 [129]bool
	for _, n := range nets {
		if n = n.Masked(); !n.IsValid() {
			continue
		}
		if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
		}
		s.nets[n] = struct{}{}
		if n.Addr().Is4() {
			have4[n.Bits()] = true
		} else {
			have6[n.Bits()] = true
		}
	}
	for i, ok := range have4 {
		if ok {
			s.v4 = append(s.v4, i)
		}
	}
	for i, ok := range have6 {
		if ok {
			s.v6 = append(s.v6, i)
		}
	}
	return s
}

func (s *netSet) has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	lengths := s.v6
	if a.Is4() {
		lengths = s.v4
	}
	for _, n := range lengths {
		if p, err := a.Prefix(n); err == nil {
			if _, ok := s.nets[p]; ok {
				return true
			}
		}
	}
	return false
}

// listed tells that a list has the text, or one that it lies below: of
// "user@mail.example.org" the address itself, "user@", "mail.example.org",
// "example.org", "org", and the same with a dot before.
func (a *atom) listed(text []byte) bool {
	if _, ok := a.list[string(text)]; ok || !a.parents {
		return ok
	}
	domain := text
	if i := bytes.LastIndexByte(text, '@'); i >= 0 {
		if _, ok := a.list[string(text[:i+1])]; ok {
			return true
		}
		if _, ok := a.list[string(text[i:])]; ok {
			return true
		}
		domain = text[i+1:]
		if _, ok := a.list[string(domain)]; ok {
			return true
		}
	}
	for {
		i := bytes.IndexByte(domain, '.')
		if i < 0 {
			return false
		}
		if _, ok := a.list[string(domain[i:])]; ok {
			return true
		}
		domain = domain[i+1:]
		if _, ok := a.list[string(domain)]; ok && len(domain) > 0 {
			return true
		}
	}
}

func ascii(text []byte) bool {
	for len(text) >= 32 {
		w := binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:]) |
			binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:])
		if w&0x8080808080808080 != 0 {
			return false
		}
		text = text[32:]
	}
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
