package access

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

// lists are all lists, ready to be asked. They never change after build.
type lists struct {
	of        [kindCount][]*list // in the order in which they are asked
	parents   bool
	delimiter string
	now       func() time.Time
}

// list is one list of one kind: an inline list, a file, or the tables.
type list struct {
	source  string // "check.access.clients" or "/etc/garita/clients"
	file    bool
	labels  []string // of the tables: their names, by entry.line
	entries []entry
	nets    [2]networks // IPv4, IPv6
	domains map[string]int32
	below   map[string]int32
	locals  map[string]int32
	paths   map[mail.Path]int32
	null    int32
	// dotsMax is the number of dots in the longest domain: a suffix of a name
	// that has more need not be looked up.
	dotsMax int
}

// entry is one line of a list.
type entry struct {
	what string // the key as written
	act  *action
	also *conditions // of a table, nil for none
	line int32       // of the file, or index
	next int32       // the next entry with this key, none: -1
}

// match is an entry that was found; the zero value is nothing.
type match struct {
	list  *list
	entry *entry
}

func newList(source string, file bool) *list {
	return &list{source: source, file: file, null: none}
}

const none = -1

// rule says where an entry stands, as "file:line" or key.
func (l *list) rule(e *entry) string {
	switch {
	case l.file:
		return l.source + ":" + strconv.Itoa(int(e.line))
	case l.labels != nil:
		return l.source + "." + l.labels[e.line]
	}
	return l.source + "[" + strconv.Itoa(int(e.line)) + "]"
}

// query is what a look-up knows beside the key.
type query struct {
	s       *mail.Session
	tx      *mail.Transaction // nil before MAIL
	client  netip.Addr
	host    string // its confirmed name, empty for none
	helo    string
	trusted bool
	hearsay bool // client, host and helo are what a peer told of them
}

// conditions are what a table names beside the key of its entry.
type conditions struct {
	client       netip.Prefix
	name         pattern
	helo, sender pattern
	role         mail.Role
	direction    mail.Direction
}

// ofClient tells that the client is among the conditions.
func (c *conditions) ofClient() bool {
	return c != nil && (c.client.IsValid() || c.name.kind != anyPath)
}

func (c *conditions) hold(l *lists, q *query) bool {
	if c.role != 0 && c.role != q.s.Role || c.direction != 0 && (q.tx == nil || c.direction != q.tx.Direction) {
		return false
	}
	if c.client.IsValid() && !c.client.Contains(plain(q.client)) {
		return false
	}
	if c.name.kind != anyPath && !(q.host != "" && c.name.fitsName(nameKey(q.host), l.parents)) {
		return false
	}
	if c.helo.kind != anyPath && !c.helo.fitsName(nameKey(q.helo), l.parents) {
		return false
	}
	return c.sender.kind == anyPath || q.tx != nil && c.sender.fits(l.addressOf(q.tx.ReversePath), l.parents)
}

// pick gives the first entry of a key that counts here and now. An accept
// that does not count for this client is as if it were not there, so that it
// cannot hide a reject behind it.
func (ls *lists) pick(l *list, i int32, q *query) *entry {
	for ; i != none; i = l.entries[i].next {
		e := &l.entries[i]
		if e.act.verdict == mail.Accept && (e.act.needsTrust && !q.trusted || q.hearsay && e.also.ofClient()) {
			continue
		}
		if e.act.until != 0 && ls.now().Unix() >= e.act.until {
			continue
		}
		if e.also == nil || e.also.hold(ls, q) {
			return e
		}
	}
	return nil
}

// client looks an address up.
func (ls *lists) client(q *query, a netip.Addr) match {
	a = plain(a)
	if !a.IsValid() {
		return match{}
	}
	family, at := 1, number128(a)
	if a.Is4() {
		family = 0
	}
	for _, l := range ls.of[byClient] {
		nets := l.nets[family]
		for i := nets.last(at); i != none; i = nets[i].parent {
			if !nets[i].contains(at) {
				continue
			}
			if e := ls.pick(l, nets[i].entry, q); e != nil {
				if e.act.verdict != mail.Continue {
					return match{l, e}
				}
				break // DUNNO: this list says nothing, the next may
			}
		}
	}
	return match{}
}

// host looks a host name up.
func (ls *lists) host(q *query, s string) match { return ls.named(q, byName, s) }

// heloName looks a HELO name up.
func (ls *lists) heloName(q *query, s string) match { return ls.named(q, byHelo, s) }

func (ls *lists) named(q *query, k kind, s string) match {
	if len(ls.of[k]) == 0 || s == "" {
		return match{}
	}
	s = nameKey(s)
	if k == byHelo && strings.Contains(s, ":") {
		if a, err := netip.ParseAddr(s); err == nil {
			s = a.String()
		}
	}
	for _, l := range ls.of[k] {
		if e := ls.domain(l, q, s); e != nil && e.act.verdict != mail.Continue {
			return match{l, e}
		}
	}
	return match{}
}

// path looks an address up in the order of access(5): user+ext@domain,
// user@domain, the domain and those above it, user+ext@, user@.
func (ls *lists) path(q *query, k kind, p mail.Path) match {
	if len(ls.of[k]) == 0 {
		return match{}
	}
	a := ls.addressOf(p)
	for _, l := range ls.of[k] {
		if e := ls.address(l, q, &a); e != nil && e.act.verdict != mail.Continue {
			return match{l, e}
		}
	}
	return match{}
}

func (ls *lists) address(l *list, q *query, a *address) *entry {
	if a.null {
		return ls.pick(l, l.null, q)
	}
	if len(l.paths) > 0 {
		if e := at(ls, l, q, l.paths, mail.Path{Local: a.local, Domain: a.domain}); e != nil {
			return e
		}
		if a.plain != "" {
			if e := at(ls, l, q, l.paths, mail.Path{Local: a.plain, Domain: a.domain}); e != nil {
				return e
			}
		}
	}
	if a.domain != "" {
		if e := ls.domain(l, q, a.domain); e != nil {
			return e
		}
	}
	if len(l.locals) > 0 {
		if e := at(ls, l, q, l.locals, a.local); e != nil {
			return e
		}
		if a.plain != "" {
			return at(ls, l, q, l.locals, a.plain)
		}
	}
	return nil
}

// at looks in one map of a list.
func at[K comparable](ls *lists, l *list, q *query, m map[K]int32, key K) *entry {
	if i, ok := m[key]; ok {
		return ls.pick(l, i, q)
	}
	return nil
}

// maxName bounds the name that a look-up walks through, in octets: longer ones
// are only looked up by what is below it at their end. HELO may be anything.
const maxName = 255

// domain looks a name up, then those above it.
func (ls *lists) domain(l *list, q *query, name string) *entry {
	if len(l.domains)+len(l.below) == 0 {
		return nil
	}
	if len(name) <= maxName {
		if e := at(ls, l, q, l.domains, name); e != nil {
			return e
		}
	} else {
		name = name[len(name)-maxName:]
	}
	if name == "" || name[0] == '[' {
		return nil
	}
	// "notour.example" must not be found by "our.example": only what begins
	// behind a dot is a domain above (S-96).
	m := l.below
	if ls.parents {
		m = l.domains
	}
	// No entry is longer than dotsMax says, however many labels the name has.
	i := len(name)
	for range l.dotsMax + 1 {
		j := strings.LastIndexByte(name[:i], '.')
		if j < 0 {
			break
		}
		i = j
	}
	for ; i < len(name); i++ {
		if name[i] == '.' {
			if e := at(ls, l, q, m, name[i+1:]); e != nil {
				return e
			}
		}
	}
	return nil
}

// nameKey is a host or HELO name as it is looked up.
func nameKey(s string) string { return mail.DomainKey(strings.TrimSuffix(s, ".")) }

// plain is an address without what does not tell clients apart.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// bits128 is an address as a number; one of IPv4 stands in the upper 32 bits.
type bits128 struct{ hi, lo uint64 }

func number128(a netip.Addr) bits128 {
	if a.Is4() {
		b := a.As4()
		return bits128{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return bits128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a bits128) compare(b bits128) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

// network is one prefix. Prefixes hold each other or are apart, so each has at
// most one smallest prefix around it: its parent.
type network struct {
	start  bits128
	bits   uint8
	parent int32
	entry  int32
}

func (n *network) contains(a bits128) bool {
	if n.bits > 64 {
		return n.start.hi == a.hi && (n.start.lo^a.lo)>>(128-n.bits) == 0
	}
	return (n.start.hi^a.hi)>>(64-n.bits) == 0
}

// networks are ordered by start, the wider first.
type networks []network

// last gives the last network that does not begin behind a, or none.
func (ns networks) last(a bits128) int32 {
	low, high := 0, len(ns)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if ns[mid].start.compare(a) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return int32(low) - 1
}

// order sorts networks and finds their parents. same is asked what becomes of
// two entries with one prefix.
func (ns networks) order(same func(first, second int32) int32) networks {
	slices.SortFunc(ns, func(a, b network) int {
		if c := a.start.compare(b.start); c != 0 {
			return c
		}
		if c := cmp.Compare(a.bits, b.bits); c != 0 {
			return c
		}
		return cmp.Compare(a.entry, b.entry)
	})
	out := ns[:0]
	for _, n := range ns {
		if k := len(out); k > 0 && out[k-1].start == n.start && out[k-1].bits == n.bits {
			out[k-1].entry = same(out[k-1].entry, n.entry)
			continue
		}
		n.parent = int32(len(out)) - 1
		for n.parent != none && !out[n.parent].contains(n.start) {
			n.parent = out[n.parent].parent
		}
		out = append(out, n)
	}
	return slices.Clip(out)
}
