package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"garita/mail"
	"garita/tables"
)

// Bounds of all tables together.
const (
	maxEntries  = 1_000_000 // of one table, with all its files
	maxProblems = 100       // told one by one
)

// where is a line; the zero value is none.
type where struct {
	file uint16 // index in Tables.files, from 1
	line int32
}

// route is the value of a route: an index in Tables.names, or noRoute.
type route struct {
	hop int32
	where
}

// noRoute is ":": the search ends as if there were no line.
const noRoute = -1

// Tables are the lines of a Config, read and made fit for look-ups. They never
// change and serve all listeners at once. A nil *Tables is empty.
type Tables struct {
	delimiter byte
	files     []string
	names     []string // of next hops, as the lines name them
	implicit  []Destination

	recipients, senders map[string]route
	aliases             map[string]alias
	several             []string             // aliases that are not plain, sorted
	targets             map[string]bool      // domains that aliases lead to
	known               map[string]where     // user@domain
	knownDomains        map[string]knownInfo // domains with entries
}

type knownInfo struct {
	all bool // "@domain": everybody exists
	where
}

// Compile reads all lines and files. The tables may be used only when there
// are no problems.
func Compile(c Config) (*Tables, []tables.Problem) {
	k := compiler{
		t: &Tables{
			recipients: map[string]route{}, senders: map[string]route{}, aliases: map[string]alias{}, targets: map[string]bool{},
			known: map[string]where{}, knownDomains: map[string]knownInfo{},
		},
		hops: map[string]int32{},
	}
	if len(c.RecipientDelimiter) == 1 {
		k.t.delimiter = c.RecipientDelimiter[0]
	}
	add := [4]func(tables.Entry){recipientTable: k.recipient, senderTable: k.sender, aliasTable: k.alias, knownTable: k.knows}
	for kind, s := range c.sources() {
		k.source(s, add[kind])
	}
	if len(k.problems) == 0 {
		for name, a := range k.t.aliases {
			if !k.t.plain(a) {
				k.t.several = append(k.t.several, name)
			}
		}
		slices.Sort(k.t.several)
		k.circles()
	}
	if k.unsaid > 0 {
		k.problems = append(k.problems, tables.Problem{File: "route", Text: strconv.Itoa(k.unsaid) + " problems more"})
	}
	return k.t, k.problems
}

// Needed gives the next hops that the tables name by address, for whoever
// makes next hops; each has a name that Options.Hops must know.
func Needed(c Config) ([]Destination, []tables.Problem) {
	t, problems := Compile(c)
	return t.Needed(), problems
}

// Needed is the package's Needed for tables that are compiled.
func (t *Tables) Needed() []Destination {
	if t == nil {
		return nil
	}
	return t.implicit
}

// Names are the next hops that the lines name, Needed's too.
func (t *Tables) Names() []string {
	if t == nil {
		return nil
	}
	return t.names
}

// Unknown tells the lines that name a next hop which is neither known nor one
// of Needed.
func (t *Tables) Unknown(known func(name string) bool) []tables.Problem {
	if t == nil {
		return nil
	}
	missing := map[int32]bool{}
	for i, name := range t.names {
		missing[int32(i)] = !strings.Contains(name, ":") && !known(name)
	}
	var out []tables.Problem
	for _, rows := range []map[string]route{t.recipients, t.senders} {
		for _, r := range rows {
			if r.hop != noRoute && missing[r.hop] {
				missing[r.hop] = false // one line for each name
				l := t.at(r.where)
				out = append(out, tables.Problem{
					File: l.File, Line: l.Line, Text: "there is no table [next_hop." + t.names[r.hop] + "]",
					Try: "add it, or write smtp:[host]:port",
				})
			}
		}
	}
	sortProblems(out)
	return out
}

// sortProblems brings what came out of a map into the order of the files.
func sortProblems(list []tables.Problem) {
	slices.SortFunc(list, func(a, b tables.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
}

// Entries is how many lines there are.
func (t *Tables) Entries() int {
	if t == nil {
		return 0
	}
	n := len(t.recipients) + len(t.senders) + len(t.aliases) + len(t.known)
	for _, d := range t.knownDomains {
		if d.all {
			n++
		}
	}
	return n
}

// Line is a line of a table. The zero value is none.
type Line struct {
	File string // or the key, for lines of the configuration: route.aliases
	Line int
}

func (l Line) String() string { return l.File + ":" + strconv.Itoa(l.Line) }

func (t *Tables) at(w where) Line {
	if w.file == 0 {
		return Line{}
	}
	return Line{t.files[w.file-1], int(w.line)}
}

// compiler is one run of Compile.
type compiler struct {
	t        *Tables
	hops     map[string]int32 // index in names
	problems []tables.Problem
	unsaid   int
	inFile   where // the file that is being read
}

func (k *compiler) problem(p tables.Problem) {
	if len(k.problems) >= maxProblems {
		k.unsaid++
		return
	}
	k.problems = append(k.problems, p)
}

func (k *compiler) bad(e tables.Entry, try, format string, args ...any) {
	k.problem(tables.Problem{File: e.File, Line: e.Line, Text: fmt.Sprintf(format, args...), Try: try})
}

// source reads the lines of one table and hands them to add.
func (k *compiler) source(s source, add func(tables.Entry)) {
	total := 0
	take := func(file string, entries []tables.Entry) {
		k.t.files = append(k.t.files, file)
		k.inFile.file = uint16(len(k.t.files)) // at most 4*(maxFiles+1)
		if total += len(entries); total > maxEntries {
			k.problem(tables.Problem{File: file, Text: fmt.Sprintf("with this file there are more than %d entries", maxEntries)})
			return
		}
		for _, e := range entries {
			add(e)
		}
	}
	name := "route." + s.lineKey
	var lines []tables.Entry
	for i, text := range s.lines {
		e, problems := tables.Parse(name, []byte(text), tables.Options{})
		for _, p := range problems {
			p.Line = i + 1
			k.problem(p)
		}
		if len(e) != 1 && len(problems) == 0 {
			k.problem(tables.Problem{File: name, Line: i + 1, Text: "must be one line"})
		}
		for j := range e {
			e[j].Line = i + 1
		}
		lines = append(lines, e...)
	}
	if len(lines) > 0 {
		take(name, lines)
	}
	for i, file := range s.files {
		if i >= maxFiles {
			break // Validate has said so
		}
		entries, problems := tables.Read(file, tables.Options{})
		for _, p := range problems {
			k.problem(p)
		}
		if len(entries) == 0 && len(problems) == 0 {
			k.problem(tables.Problem{File: file, Text: "has no entries", Try: "if that is meant, take it out of route." + s.fileKey})
		}
		take(file, entries)
	}
}

// again refuses a key that came before with another meaning. Postfix takes
// whichever postmap met first, or last.
func (k *compiler) again(e tables.Entry, before where) {
	k.bad(e, "remove one of the two", "%s has another value at %s", strconv.Quote(clip(e.Key)), k.t.at(before))
}

func (k *compiler) line(e tables.Entry) where {
	return where{k.inFile.file, int32(min(e.Line, 1<<31-1))}
}

func (k *compiler) recipient(e tables.Entry) {
	name, kind := parseKey(e.Key)
	switch kind {
	case userKey, domainKey, parentKey:
		k.route(k.t.recipients, e, name)
	case atKey:
		k.bad(e, "write "+clip(e.Key[1:]), "%s: a domain stands without @ here, as in transport(5)", strconv.Quote(clip(e.Key)))
	default:
		try := "write a domain, .domain or user@domain"
		if e.Key == "*" {
			try = "the listener's next_hop is for everything else"
		}
		k.bad(e, try, "%s is no recipient", strconv.Quote(clip(e.Key)))
	}
}

func (k *compiler) sender(e tables.Entry) {
	name, kind := parseKey(e.Key)
	switch kind {
	case atKey:
		name = name[1:] // sender_dependent_relayhost_maps has @domain
		fallthrough
	case userKey, domainKey, parentKey, nullSender:
		if strings.EqualFold(e.Value, "DUNNO") {
			e.Value = ":"
		}
		k.route(k.t.senders, e, name)
	default:
		k.bad(e, "write a domain, .domain, user@domain or <>", "%s is no sender", strconv.Quote(clip(e.Key)))
	}
}

func (k *compiler) route(rows map[string]route, e tables.Entry, key string) {
	hop, dest, bad := parseValue(e.Value)
	if bad != nil {
		k.bad(e, bad.try, "%s", bad.text)
		return
	}
	r := route{noRoute, k.line(e)}
	if dest != nil {
		hop = dest.Name
	}
	if hop != "" {
		n, ok := k.hops[hop]
		if !ok {
			n = int32(len(k.t.names))
			k.hops[hop] = n
			k.t.names = append(k.t.names, hop)
			if dest != nil {
				dest.File, dest.Line = e.File, e.Line
				k.t.implicit = append(k.t.implicit, *dest)
			}
		}
		r.hop = n
	}
	if have, ok := rows[key]; ok {
		if have.hop != r.hop {
			k.again(e, have.where)
		}
		return
	}
	rows[key] = r
}

func (k *compiler) knows(e tables.Entry) {
	name, kind := parseKey(e.Key)
	switch kind {
	case userKey:
		at := strings.LastIndexByte(name, '@')
		if _, ok := k.t.known[name]; !ok {
			k.t.known[name] = k.line(e)
		}
		if _, ok := k.t.knownDomains[name[at+1:]]; !ok {
			k.t.knownDomains[name[at+1:]] = knownInfo{where: k.line(e)}
		}
	case atKey:
		if !k.t.knownDomains[name[1:]].all {
			k.t.knownDomains[name[1:]] = knownInfo{all: true, where: k.line(e)}
		}
	default:
		k.bad(e, "write user@domain, or @domain for everybody", "%s is no recipient", strconv.Quote(clip(e.Key)))
	}
}

// find looks a recipient or sender up as transport(5) does: the address, the
// address without extension, the domain, the domains above.
func find(rows map[string]route, k key) (route, bool) {
	if len(rows) == 0 {
		return route{}, false
	}
	if r, ok := rows[string(k.full)]; ok {
		return r, true
	}
	if k.plus > 0 {
		var buf [maxKey]byte
		if r, ok := rows[string(k.base(buf[:]))]; ok {
			return r, true
		}
	}
	d := k.domain()
	if r, ok := rows[string(d)]; ok {
		return r, true
	}
	if len(d) > 0 && d[0] == '[' {
		return route{}, false // an address has no parents
	}
	// At most 127 steps: a domain of 255 octets has no more labels.
	for i := 1; i < len(d); i++ {
		if d[i] == '.' {
			if r, ok := rows[string(d[i:])]; ok {
				return r, true
			}
		}
	}
	return route{}, false
}

// exists tells whether the lists let a recipient be, and the line that said
// so; listed is false for a domain without entries.
func (t *Tables) exists(k key) (ok, listed bool, at where) {
	if t == nil || len(t.knownDomains) == 0 {
		return true, false, where{}
	}
	d, listed := t.knownDomains[string(k.domain())]
	if !listed || d.all {
		return true, listed, d.where
	}
	if w, ok := t.known[string(k.full)]; ok {
		return true, true, w
	}
	user := k.full[:k.at]
	if k.plus > 0 {
		var buf [maxKey]byte
		if w, ok := t.known[string(k.base(buf[:]))]; ok {
			return true, true, w
		}
		user = k.full[:k.plus]
	}
	// RFC 5321 section 4.5.1 and RFC 2142: whoever has a complaint finds one
	// to hear it.
	return string(user) == "postmaster" || string(user) == "abuse", true, d.where
}

// pathOf is the path of a key of the tables.
func pathOf(key string) mail.Path {
	at := strings.LastIndexByte(key, '@')
	return mail.Path{Local: key[:at], Domain: key[at+1:]}
}
