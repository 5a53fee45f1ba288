package routing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"garita/mail"
	"garita/tables"
)

// Bounds of an alias.
const (
	maxTargets = 100 // that it stands for in the end
	maxSteps   = 10  // from a line to the end, when the tables are read
	// deepest is the bound when mail comes. What was read with maxSteps cannot
	// reach it: lines for whole domains, lines for a user with an extension of
	// the client's, lines for exactly that extension come one after another.
	deepest = 3*maxSteps + 2
	// maxVisits bounds the work of one expansion, in aliases.
	maxVisits = 500
	// maxMapped is the longest domain of "@domain" as a target: a path has 254
	// octets (RFC 5321 section 4.5.3.1.3), 64 of them the local part's.
	maxMapped = 189
)

// alias is the right side of a line.
type alias struct {
	targets []mail.Path // without a local part: the same user there
	where
}

// alias takes a line of virtual(5).
func (k *compiler) alias(e tables.Entry) {
	name, kind := parseKey(e.Key)
	switch kind {
	case userKey, atKey:
	case domainKey, parentKey:
		try := "write user@domain, or @domain for everybody"
		user := !strings.Contains(e.Key, ".") // aliases(5) has such keys
		if user {
			try = "write " + clip(e.Key) + "@domain: a user without a domain is nobody here"
		}
		if user || strings.Contains(e.Value, "@") {
			k.bad(e, try, "%s is no address", strconv.Quote(clip(e.Key)))
			return
		}
		// "our.example anything" says in virtual(5) that the domain is a virtual
		// one, which relay_domains says here.
		k.bad(e, "remove the line: relay_domains says which domains are ours", "%s is no address", strconv.Quote(clip(e.Key)))
		return
	default:
		k.bad(e, "write user@domain, or @domain for everybody", "%s is no address", strconv.Quote(clip(e.Key)))
		return
	}
	targets, bad := parseTargets(e.Value)
	if bad != nil {
		k.bad(e, bad.try, "%s", bad.text)
		return
	}
	if have, ok := k.t.aliases[name]; ok {
		if !samePaths(have.targets, targets) {
			k.again(e, have.where)
		}
		return
	}
	for _, p := range targets {
		k.t.targets[p.Domain] = true
	}
	k.t.aliases[name] = alias{targets, k.line(e)}
}

func samePaths(a, b []mail.Path) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// parseTargets reads addresses parted by commas and white space.
func parseTargets(s string) ([]mail.Path, *wrong) {
	var out []mail.Path
	for s != "" {
		n, ok := wordLength(s)
		if !ok {
			return nil, &wrong{"a double quote is not closed", ""}
		}
		if word := s[:n]; word != "" {
			p, bad := parseTarget(word)
			if bad != nil {
				return nil, bad
			}
			if len(out) == maxTargets {
				return nil, &wrong{fmt.Sprintf("has more than %d targets", maxTargets), "make it a mailing list on the server behind"}
			}
			out = append(out, p)
		}
		s = strings.TrimLeft(s[min(n+1, len(s)):], ", \t")
	}
	if len(out) == 0 {
		return nil, &wrong{"has no target", "write the addresses that it stands for"}
	}
	return out, nil
}

// wordLength finds the first comma or white space outside quotes.
func wordLength(s string) (n int, ok bool) {
	quoted := false
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case c == '\\' && quoted:
			n++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ' ' || c == '\t'):
			return n, true
		}
	}
	return min(n, len(s)), !quoted
}

func parseTarget(s string) (mail.Path, *wrong) {
	if domain, ok := strings.CutPrefix(s, "@"); ok {
		if !mail.ValidDomain(domain, true) || domain[0] == '[' {
			return mail.Path{}, &wrong{strconv.Quote(clip(s)) + " is no domain", "write user@domain, or @domain for the same user there"}
		}
		domain = mail.DomainKey(domain)
		if len(domain) > maxMapped {
			return mail.Path{}, &wrong{fmt.Sprintf("a domain of more than %d octets leaves no room for the user", maxMapped), ""}
		}
		return mail.Path{Domain: domain}, nil
	}
	p, ok := parseAddress(s)
	if !ok {
		try := "write user@domain"
		if isHopName(s) {
			try = "write " + clip(s) + "@domain"
		}
		return mail.Path{}, &wrong{strconv.Quote(clip(s)) + " is no address", try}
	}
	if mail.Routable(p) != nil {
		return mail.Path{}, &wrong{strconv.Quote(clip(s)) + " is an address that servers read twice, or as a command", "name a plain address"}
	}
	p.Domain = mail.DomainKey(p.Domain)
	if !p.IsASCII() {
		// Mail without SMTPUTF8 could not go there (RFC 6531 section 3.3).
		return mail.Path{}, &wrong{strconv.Quote(clip(s)) + " is not ASCII", "name an address in ASCII"}
	}
	if p, ok = parseAddress(p.String()); !ok {
		return mail.Path{}, &wrong{strconv.Quote(clip(s)) + " is too long with its domain in ASCII", ""}
	}
	return p, nil
}

// findAlias looks an address up as virtual(5) does: the address, the address
// without its extension, the domain. extra tells that the line did not name
// the extension.
func (t *Tables) findAlias(k key) (a alias, extra, ok bool) {
	if t == nil || len(t.aliases) == 0 {
		return alias{}, false, false
	}
	if a, ok = t.aliases[string(k.full)]; ok {
		return a, false, true
	}
	if k.plus > 0 {
		var buf [maxKey]byte
		if a, ok = t.aliases[string(k.base(buf[:]))]; ok {
			return a, true, true
		}
	}
	a, ok = t.aliases[string(k.atDomain())]
	return a, false, ok
}

// extension is what follows the user, with its delimiter, in the case that
// the client wrote.
func (t *Tables) extension(p mail.Path) string {
	return p.Local[1+strings.IndexByte(p.Local[1:], t.delimiter):]
}

// errTooMuch and errCircle are why an alias cannot be expanded.
var (
	errTooMuch = errors.New("stands for too much")
	errCircle  = errors.New("goes round in a circle")
)

// A mailbox is one address that an alias stands for in the end.
type mailbox struct {
	mail.Path
	// foreign: the local part is the client's, in a domain that is not the
	// client's word.
	foreign bool
	via     []where // the lines that led there, if they were asked for
}

// expansion is one run of expand.
type expansion struct {
	t       *Tables
	steps   int // bound of depth
	trace   bool
	chain   []string
	via     []where
	visited []string
	out     []mailbox
}

// expand gives what an address stands for in the end, each once. An address
// that stands for itself among others is kept and not looked up again.
func (t *Tables) expand(p mail.Path, steps int, trace bool) ([]mailbox, error) {
	x := expansion{t: t, steps: steps, trace: trace}
	err := x.walk(p, true)
	return x.out, err
}

// walk goes on from p, whose local part is the client's or a table's.
func (x *expansion) walk(p mail.Path, clients bool) error {
	var buf [maxKey]byte
	k := makeKey(buf[:], p, x.t.delimiter)
	a, extra, ok := x.t.findAlias(k)
	if !ok {
		return x.add(p, clients)
	}
	name := string(k.full)
	if slices.Contains(x.chain, name) {
		return errCircle
	}
	if slices.Contains(x.visited, name) {
		return nil
	}
	x.visited = append(x.visited, name)
	ext := ""
	if extra {
		ext = x.t.extension(p)
	}
	if len(x.chain) >= x.steps || len(x.visited) > maxVisits {
		return errTooMuch
	}
	x.chain, x.via = append(x.chain, name), append(x.via, a.where)
	for _, target := range a.targets {
		to := x.t.apply(target, p, ext)
		var own [maxKey]byte
		if string(makeKey(own[:], to, 0).full) == name {
			if err := x.add(p, clients); err != nil {
				return err
			}
			continue
		}
		if err := x.walk(to, clients && target.Local == ""); err != nil {
			return err
		}
	}
	x.chain, x.via = x.chain[:len(x.chain)-1], x.via[:len(x.via)-1]
	return nil
}

// add takes an address that is the end. Equal means equal in case too: two
// copies to one person are better than none.
func (x *expansion) add(p mail.Path, clients bool) error {
	for _, have := range x.out {
		if have.Equal(p) {
			return nil
		}
	}
	if len(x.out) >= maxTargets {
		return errTooMuch
	}
	box := mailbox{Path: p, foreign: clients}
	if x.trace {
		box.via = slices.Clone(x.via)
	}
	x.out = append(x.out, box)
	return nil
}

// plain tells that a line names one address that no line is for: most do, and
// need no expansion to tell what comes of them.
func (t *Tables) plain(a alias) bool {
	if len(a.targets) != 1 || a.targets[0].Local == "" {
		return false
	}
	var buf [maxKey]byte
	_, _, more := t.findAlias(makeKey(buf[:], a.targets[0], t.delimiter))
	return !more
}

// apply gives the address that a target means for p.
func (t *Tables) apply(target, p mail.Path, ext string) mail.Path {
	if target.Local == "" {
		return mail.Path{Local: p.Local, Domain: target.Domain}
	}
	// A second extension is none: it would grow with each step of a circle.
	if ext == "" || strings.IndexByte(target.Local[1:], t.delimiter) >= 0 {
		return target
	}
	to := mail.Path{Local: target.Local + ext, Domain: target.Domain}
	if !sound(to) {
		return target
	}
	return to
}

// sound tells that an address may leave us: the grammar gives it back as it
// was, and no server reads it twice.
func sound(p mail.Path) bool {
	back, ok := parseAddress(p.String())
	return ok && back == p && mail.Routable(p) == nil
}

// anybody is a local part that no line can name: what a line for a whole
// domain does to users who have none of their own.
const anybody = "\x00"

// circles tells the aliases that cannot be expanded. It expands every line:
// what begins at none of them begins at a client's address, and goes on with
// one of them.
func (k *compiler) circles() {
	var found []tables.Problem
	for _, name := range k.t.several {
		a := k.t.aliases[name]
		p := pathOf(name)
		if p.Local == "" {
			p.Local = anybody
		}
		_, err := k.t.expand(p, maxSteps, false)
		if err == nil {
			continue
		}
		l := k.t.at(a.where)
		text, try := "the alias "+strconv.Quote(clip(name))+" goes round in a circle", "let one of its targets be a mailbox"
		if errors.Is(err, errTooMuch) {
			text = fmt.Sprintf("the alias %s has more than %d targets or %d steps", strconv.Quote(clip(name)), maxTargets, maxSteps)
			try = "make it a mailing list on the server behind"
		}
		found = append(found, tables.Problem{File: l.File, Line: l.Line, Text: text, Try: try})
	}
	sortProblems(found)
	for _, p := range found {
		k.problem(p)
	}
}
