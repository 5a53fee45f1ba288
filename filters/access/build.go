package access

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/mail"
	"garita/tables"
)

const (
	maxErrors  = 50        // mistakes, and as many warnings, that are told
	maxEntries = 1_000_000 // of all lists
)

// builder makes lists of a configuration.
type builder struct {
	c      Config
	ls     *lists
	now    int64
	room   int // entries that may still come
	rights map[right]*action

	errs, warnings     []error
	moreErrs, moreWarn int
}

// right is a right-hand side that was parsed.
type right struct {
	kind kind
	text string
}

// build gives the lists, what is wrong with them, and what is odd.
func build(c Config, now func() time.Time) (*lists, []error, []error) {
	b := &builder{
		c: c, now: now().Unix(), room: maxEntries, rights: map[right]*action{},
		ls: &lists{parents: c.ParentDomainMatches, delimiter: c.RecipientDelimiter, now: now},
	}
	b.settings()
	b.tables()
	files := [kindCount][]string{c.ClientFiles, c.NameFiles, c.HeloFiles, c.SenderFiles, c.RecipientFiles}
	inline := [kindCount][]string{c.Clients, c.Names, c.Helo, c.Senders, c.Recipients}
	for k, words := range kinds() {
		b.inline(kind(k), words.list, inline[k])
	}
	for k, words := range kinds() {
		for i, path := range files[k] {
			b.file(kind(k), fmt.Sprintf("%s[%d]", words.files, i), path)
		}
	}
	if b.moreErrs > 0 {
		b.errs = append(b.errs, fmt.Errorf("mode: %d mistakes more in the lists", b.moreErrs))
	}
	if b.moreWarn > 0 {
		b.warnings = append(b.warnings, fmt.Errorf("mode: %d findings more in the lists", b.moreWarn))
	}
	return b.ls, b.errs, b.warnings
}

func (b *builder) fail(format string, args ...any) {
	if len(b.errs) >= maxErrors {
		b.moreErrs++
		return
	}
	b.errs = append(b.errs, fmt.Errorf(format, args...))
}

func (b *builder) warn(format string, args ...any) {
	if len(b.warnings) >= maxErrors {
		b.moreWarn++
		return
	}
	b.warnings = append(b.warnings, fmt.Errorf(format, args...))
}

func (b *builder) settings() {
	if _, ok := mail.ParseMode(b.c.Mode); !ok {
		b.fail("mode: %q is not off, observe, score or enforce", b.c.Mode)
	}
	if a := b.c.SenderAccept; a != "trusted" && a != "any" {
		b.fail("sender_accept: %q is not trusted or any", a)
	}
	if d := b.c.RecipientDelimiter; len(d) > 8 || strings.Trim(d, "+-_=#.!$%&*/?^|~") != "" {
		b.fail("recipient_delimiter: %q is not one or a few of the characters that stand for it, as \"+\" or \"-\"", d)
	}
}

// spot is where an entry stands, for mistakes: "clients[0]: \"…\"" or
// "client_files[0]: /path:17".
type spot struct {
	key  string
	file string
	line int
	text string
}

func (s spot) String() string {
	if s.file != "" {
		return fmt.Sprintf("%s: %s:%d", s.key, s.file, s.line)
	}
	return s.key + ": " + strconv.Quote(s.text)
}

// inline takes an inline list.
func (b *builder) inline(k kind, key string, lines []string) {
	if len(lines) == 0 {
		return
	}
	l := newList("check.access."+key, false)
	l.entries = make([]entry, 0, len(lines))
	for i, line := range lines {
		at := spot{key: fmt.Sprintf("%s[%d]", key, i), text: line}
		what, rest, bad := tables.Split(strings.TrimLeft(line, " \t"))
		switch {
		case bad != "":
			b.fail("%s: %s", at, bad)
		case b.room == 0:
			b.fail("%s: there are more than %d entries in all lists", at, maxEntries)
			return
		default:
			b.line(k, l, nil, at, i, what, rest)
		}
	}
	b.add(k, key, l)
}

// file takes a file. The names of a file of clients become a list of names.
func (b *builder) file(k kind, key, path string) {
	if !filepath.IsAbs(path) {
		hint := ""
		if kind, rest, ok := strings.Cut(path, ":"); ok && filepath.IsAbs(rest) {
			hint = fmt.Sprintf(" (write %q, without %q)", rest, kind+":")
			if kind == "regexp" || kind == "pcre" {
				hint = " (regular expressions are for rules, not for lists)"
			}
		}
		b.fail("%s: %q does not begin with \"/\"%s", key, path, hint)
		return
	}
	if q := strconv.Quote(path); q != `"`+path+`"` {
		b.fail("%s: %s is no name for a file of lists", key, q)
		return
	}
	entries, problems := tables.Read(path, tables.Options{MaxEntries: max(b.room, 1), MaxProblems: maxErrors})
	for _, p := range problems {
		if p.Try != "" {
			p.Text += " (" + p.Try + ")"
		}
		b.fail("%s: %w", key, p)
	}
	l := newList(path, true)
	l.entries = make([]entry, 0, len(entries))
	var names *list
	if k == byClient {
		names = newList(path, true)
	}
	for i := range entries {
		e := &entries[i]
		b.line(k, l, names, spot{key: key, file: path, line: e.Line}, e.Line, e.Key, e.Value)
	}
	b.add(k, key, l)
	if names != nil {
		b.add(byName, key, names)
	}
}

// line puts one entry into its list, or a host name among clients into names.
func (b *builder) line(k kind, l, names *list, at spot, line int, what, rest string) {
	b.room--
	if k == byClient {
		p, ok, err := parseNetwork(what)
		if err == nil {
			if a := b.action(k, at, rest); a != nil {
				b.network(l, at, p, entry{what: what, act: a, line: int32(line), next: none})
			}
			return
		}
		if ok || names == nil {
			hint := ""
			if _, bad := parseName(what, byName, b.ls.parents); !ok && bad == nil {
				hint = " (host names belong to names)"
			}
			b.fail("%s: %w%s", at, err, hint)
			return
		}
		k, l = byName, names
	}
	var p pattern
	var err error
	if k == byName || k == byHelo {
		p, err = parseName(what, k, b.ls.parents)
	} else {
		p, err = parsePath(what, k, b.ls.parents)
	}
	if err != nil {
		b.fail("%s: %w", at, err)
		return
	}
	if a := b.action(k, at, rest); a != nil {
		b.pattern(l, at, p, entry{what: what, act: a, line: int32(line), next: none})
	}
}

// action reads a right-hand side once for all entries that have it.
func (b *builder) action(k kind, at spot, text string) *action {
	a := b.rights[right{k, text}]
	if a == nil {
		var err error
		if a, err = parseAction(k, text); err != nil {
			b.fail("%s: %w", at, err)
			return nil
		}
		a.needsTrust = k == byHelo || k == bySender && b.c.SenderAccept != "any"
		b.rights[right{k, text}] = a
	}
	b.expired(at, a)
	return a
}

func (b *builder) expired(at spot, a *action) {
	if a.until != 0 && b.now >= a.until {
		b.warn("%s: it expired at %s and does not count", at, time.Unix(a.until, 0).UTC().Format(time.RFC3339))
	}
}

// network puts an entry under a prefix; order finds those that come twice.
func (b *builder) network(l *list, at spot, p netip.Prefix, e entry) {
	if p.Bits() == 0 && e.act.verdict == mail.Accept && e.also == nil {
		b.warn("%s: it accepts every client of its family", at)
	}
	n := network{start: number128(p.Addr()), bits: uint8(p.Bits()), entry: int32(len(l.entries))}
	family := 1
	if p.Addr().Is4() {
		family = 0
	}
	l.entries = append(l.entries, e)
	if l.nets[family] == nil {
		l.nets[family] = make(networks, 0, cap(l.entries))
	}
	l.nets[family] = append(l.nets[family], n)
}

// pattern puts an entry under a name, an address or a part of one.
func (b *builder) pattern(l *list, at spot, p pattern, e entry) {
	i := int32(len(l.entries))
	l.entries = append(l.entries, e)
	same := func(first int32) int32 { return b.same(l, at, first, i) }
	switch p.kind {
	case nullPath:
		if l.null != none {
			i = same(l.null)
		}
		l.null = i
	case wholePath:
		put(&l.paths, mail.Path{Local: p.local, Domain: p.domain}, i, cap(l.entries), same)
	case localPart:
		put(&l.locals, p.local, i, 0, same)
	case oneDomain:
		put(&l.domains, p.domain, i, cap(l.entries), same)
		l.dotsMax = max(l.dotsMax, strings.Count(p.domain, "."))
	case below:
		put(&l.below, p.domain, i, 0, same)
		l.dotsMax = max(l.dotsMax, strings.Count(p.domain, "."))
	}
}

// put sets m[key] to i, or to what same makes of the one that is there.
func put[K comparable](m *map[K]int32, key K, i int32, size int, same func(int32) int32) {
	if *m == nil {
		*m = make(map[K]int32, size)
	}
	if first, ok := (*m)[key]; ok {
		i = same(first)
	}
	(*m)[key] = i
}

// same decides between two entries of one list with one key: tables are asked
// one after the other, since their conditions differ; else the first counts,
// as with postmap, unless it has expired.
func (b *builder) same(l *list, at spot, first, second int32) int32 {
	if l.labels != nil {
		last := first
		for l.entries[last].next != none {
			last = l.entries[last].next
		}
		l.entries[last].next = second
		return first
	}
	if e := &l.entries[first]; e.act.until != 0 && b.now >= e.act.until {
		return second
	}
	b.warn("%s: %s says it already, and counts", at, l.rule(&l.entries[first]))
	return first
}

// add puts a complete list behind those of its kind.
func (b *builder) add(k kind, key string, l *list) {
	if len(l.entries) == 0 {
		return
	}
	for family := range l.nets {
		l.nets[family] = l.nets[family].order(func(first, second int32) int32 {
			e := &l.entries[second]
			at := spot{key: key, text: e.what}
			if l.file {
				at.file, at.line = l.source, int(e.line)
			} else if l.labels == nil {
				at.key = fmt.Sprintf("%s[%d]", key, e.line)
			}
			return b.same(l, at, first, second)
		})
	}
	b.ls.of[k] = append(b.ls.of[k], l)
}

// tables takes [check.access.entry.NAME]: those with more conditions first,
// then by name.
func (b *builder) tables() {
	names := slices.SortedFunc(maps.Keys(b.c.Entry), func(x, y string) int {
		return cmp.Or(cmp.Compare(b.c.Entry[y].weight(), b.c.Entry[x].weight()), cmp.Compare(x, y))
	})
	var of [kindCount]*list
	for _, label := range names {
		t := b.c.Entry[label]
		k, ok := t.kind()
		key := "entry." + label
		if strings.ContainsAny(label, " \"/:=") {
			b.fail("entry: %q is no name for a table (letters, digits, _ and -)", label)
			continue
		}
		if !ok {
			b.fail("%s: names nothing (give client, name, helo, sender or recipient)", key)
			continue
		}
		if of[k] == nil {
			of[k] = newList("check.access.entry", false)
			of[k].labels = []string{}
		}
		b.table(of[k], k, key, label, t)
	}
	for k, l := range of {
		if l != nil {
			b.add(kind(k), "entry", l)
		}
	}
}
