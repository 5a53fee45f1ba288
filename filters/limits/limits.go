// Package limits is the check of how much a user sends: messages, recipients,
// octets, first-time recipients and refused ones, in any windows at once, for
// each user, each domain, each client address and everybody together.
//
// A message is counted once, when it is there whole, against all its limits or
// none, before the next hop is given it: however many sessions a user has and
// however he spells his name, not one message passes over a limit (attacks
// What is not relayed in the end is given back. Only users who
// have shown who they are count as themselves: a message that merely claims a
// sender has counters of its own, so nobody can use up another's limit.
// Mail without a sender (bounces, notes of absence) counts against nobody.
//
// The step after warning and holding is suspension: what a user was held or
// refused counts too, and at suspend_at times his limit he is stopped until
// somebody resumes him.
//
// It fails towards passing mail: a store that cannot be asked limits nobody,
// and the log says so.
//
// # Limits
//
// A message that an MTA hands over in several transactions counts as several.
// Windows have 60 parts: one frees up at most one of them late, never early. Recipients to whom
// a user has written are values of the store, which may be evicted: one too
// many then counts as new. What users send in an hour and a day (suggest) is
// kept in the store once a minute; gateways that share one store write over
// each other's figures.
package limits

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"garita/filters"
	"garita/identity"
	"garita/mail"
	"garita/store"
	"garita/users"
)

// Name of the check.
const Name = "limits"

// The symbols.
const (
	SymbolUser      = "limits.user"
	SymbolDomain    = "limits.domain"
	SymbolAddress   = "limits.address"
	SymbolEverybody = "limits.everybody"
	SymbolUnknown   = "limits.unknown" // never more than a word in the log
)

// EventKind is what an operator is told.
type EventKind string

const (
	Warned    EventKind = "warned"    // near a limit
	Over      EventKind = "over"      // over it
	Suspended EventKind = "suspended" // far over it
	Unknown   EventKind = "unknown"   // the ceiling of mail of nobody
)

// Event is one of them.
type Event struct {
	Kind  EventKind
	Who   string // user, domain, address or "everybody"
	Limit Limit
	Used  int64
	Mode  string
}

// Text says it in a line.
func (e Event) Text() string {
	would := ""
	if e.Mode != "enforce" {
		would = " (mode " + e.Mode + ": nothing is done)"
	}
	switch e.Kind {
	case Warned:
		return fmt.Sprintf("%s has used %d of %s%s", e.Who, e.Used, e.Limit, would)
	case Suspended:
		return fmt.Sprintf("%s was suspended: %d, far over %s; garita user show %s", e.Who, e.Used, e.Limit, e.Who)
	case Unknown:
		return fmt.Sprintf("mail of %s whose user nobody knows is over %s; garita user coverage", e.Who, e.Limit)
	}
	return fmt.Sprintf("%s is over %s%s; garita limits list %s", e.Who, e.Limit, would, e.Who)
}

// Texto says it in Spanish: who is woken by it must read which limit it is, and
// whether anything was done.
func (e Event) Texto() string {
	would := ""
	if e.Mode != "enforce" {
		would = " (modo " + e.Mode + ": no se hace nada)"
	}
	switch e.Kind {
	case Warned:
		return fmt.Sprintf("%s se acerca a su límite: lleva %d de %s%s", e.Who, e.Used, e.Limit.texto(), would)
	case Suspended:
		return fmt.Sprintf("%s queda suspendido: %d, muy por encima de %s; garita user show %s", e.Who, e.Used, e.Limit.texto(), e.Who)
	case Unknown:
		who := e.Who
		switch who {
		case Elsewhere:
			who = "otros dominios"
		case nullSender:
			who = "nadie (sin remitente)"
		}
		return fmt.Sprintf("el correo de %s cuyo usuario nadie conoce supera %s; garita user coverage", who, e.Limit.texto())
	}
	return fmt.Sprintf("%s supera su límite de %s%s; garita limits list %s", e.Who, e.Limit.texto(), would, e.Who)
}

// texto is the limit in Spanish words.
func (l Limit) texto() string {
	what := map[Kind]string{Messages: "mensajes", Recipients: "destinatarios", Bytes: "octetos", NewRecipients: "destinatarios nuevos", Refusals: "rechazos"}[l.Kind]
	if what == "" {
		what = l.Kind.String()
	}
	return strconv.FormatInt(l.Max, 10) + " " + what + " / " + spanText(l.Span)
}

// Options are what a check is made of beside its configuration.
type Options struct {
	Store store.Store
	Users *users.Registry // nil: nobody is suspended, nobody has his own limits
	Names identity.Names
	// Domains are ours; none: they are not known.
	Domains []string
	Now     func() time.Time // nil: time.Now
	// Event hears of each; it must not block. nil is nobody.
	Event func(Event)
	// Log is told of faults; nil is silence.
	Log func(text string, err error)
	// Memory survives a reload; nil makes a new one.
	Memory *Memory
}

// Limits is the check. It is safe for concurrent use.
type Limits struct {
	cfg Config
	compiled
	o       Options
	mu      sync.Mutex
	doorMu  sync.Mutex // held while the store is asked, so not mu
	pending map[string]*pending
	ours    map[string]bool // domains
}

// pending is a message between its checks and its end.
type pending struct {
	asked   int // recipients that RCPT named
	counted bool
	res     store.Reservation
	result  filters.Result
	who     who
	fresh   []string // keys of first-time recipients
	door    []string // keys of the marks of a door
	excess  []store.Window
	limits  []Limit // of excess
}

// New makes the check and what commands ask.
func New(c Config, o Options) (filters.Check, *Limits, error) {
	l := &Limits{cfg: c, o: o, pending: map[string]*pending{}, ours: map[string]bool{}}
	for _, d := range o.Domains[:min(len(o.Domains), mostNames)] {
		l.ours[mail.DomainKey(d)] = true
	}
	errs := c.Validate()
	if len(errs) == 0 {
		l.compiled, errs = c.compile(o.Names)
	}
	if len(errs) > 0 {
		return filters.Check{}, nil, fmt.Errorf("%s: %w", Name, errs[0])
	}
	if l.o.Now == nil {
		l.o.Now = time.Now
	}
	if l.o.Event == nil {
		l.o.Event = func(Event) {}
	}
	if l.o.Log == nil {
		l.o.Log = func(string, error) {}
	}
	if l.o.Memory == nil {
		l.o.Memory = NewMemory()
	}
	mode, _ := mail.ParseMode(c.Mode)
	if o.Store == nil {
		mode = mail.Off // offline tests count nothing
	} else if c.Mode != "off" {
		l.recall()
	}
	return filters.Check{Name: Name, Impl: l, Mode: mode, Class: filters.Policy, OnError: filters.ContinueOnError}, l, nil
}

// who is whom a message counts against.
type who struct {
	user   string
	key    string // of the user's windows
	proven bool
	// claimed: the envelope alone names him.
	claimed bool
	epoch   int
}

// whoOf tells it; not ok: nobody's.
func (l *Limits) whoOf(id mail.Identity, null bool) (who, bool) {
	if id.User == "" || null && !identity.Proven(id.Source) {
		return who{}, false
	}
	w := who{user: id.User, proven: identity.Proven(id.Source)}
	w.claimed = !w.proven
	switch {
	case null:
		// A note of absence is not the user's doing; but who has logged in and
		// sends without a sender is held to as much of it.
		w.key, w.proven = "limits/n/"+id.User, false
	case w.proven:
		w.key = "limits/u/" + id.User
	default:
		w.key = "limits/s/" + id.User
	}
	if o, ok := l.o.Users.Override(id.User); ok && o.Epoch > 0 {
		w.epoch = o.Epoch
		w.key += fmt.Sprintf("/%d", o.Epoch)
	}
	return w, true
}

// limitsOf are the limits of a user: his own, his group's, the general ones.
func (l *Limits) limitsOf(user string) []Limit {
	if l.exemptUser[user] || l.exemptUser["@"+identity.Domain(user)] {
		return nil
	}
	out := l.user
	if len(l.groups) > 0 {
		if g := l.groupOf(user); g != nil {
			out = instead(out, g.limits)
		}
	}
	if o, ok := l.o.Users.Override(user); ok && len(o.Limits) > 0 {
		own, errs := ParseLimits(o.Limits)
		if len(errs) == 0 {
			out = instead(out, own)
		}
	}
	return out
}

func (l *Limits) groupOf(user string) *group {
	now, domain := l.o.Now(), "@"+identity.Domain(user)
	for _, name := range [2]string{user, domain} {
		for i := range l.groups {
			if g := &l.groups[i]; g.members[name] && (g.until.IsZero() || now.Before(g.until)) {
				return g
			}
		}
	}
	return nil
}

// instead puts limits in the place of those of the same kind and span, or of
// the same kind where there is none of that span.
func instead(general, own []Limit) []Limit {
	out := append([]Limit(nil), general...)
	for _, o := range own {
		at := -1
		for i := range out {
			if out[i].Kind == o.Kind && out[i].Span == o.Span {
				at = i
			}
		}
		if at >= 0 {
			out[at] = o
		} else if len(out) < mostLimits {
			out = append(out, o)
		}
	}
	return out
}

// act is one message as limits see it.
type act struct {
	costs   [kinds]int64
	windows []store.Window
	of      []scope
	room    [8]store.Window
	roomOf  [8]scope
}

// scope is what a window is about.
type scope struct {
	symbol, who string
	limit       Limit
}

// buckets is how many parts every window has (the store's own eight are for
// floods): what a person is held to frees up after at most a sixtieth too long,
// a minute of an hour and 24 of a day, and never too soon.
const buckets = 60

func newAct() *act {
	a := &act{}
	a.windows, a.of = a.room[:0], a.roomOf[:0]
	return a
}

func (a *act) add(symbol, who, key string, list []Limit) {
	var keys [kinds]string // an hour and a day share theirs
	for _, lim := range list {
		if len(a.windows) == maxWindows {
			return
		}
		if keys[lim.Kind] == "" {
			keys[lim.Kind] = key + "/" + lim.Kind.String()
		}
		k := keys[lim.Kind]
		a.windows = append(a.windows, store.Window{Key: k, Span: lim.Span, Max: lim.Max, Cost: a.costs[lim.Kind], Buckets: buckets})
		a.of = append(a.of, scope{symbol, who, lim})
	}
}

// needs tells whether any limit counts a kind.
func needs(k Kind, lists ...[]Limit) bool {
	for _, list := range lists {
		for i := range list {
			if list[i].Kind == k {
				return true
			}
		}
	}
	return false
}

// counting gives the recipients who count.
func (l *Limits) counting(rcpts []mail.Recipient) int {
	if len(l.exemptRcpt) == 0 {
		return len(rcpts)
	}
	n := 0
	for i := range rcpts {
		if !l.exempt(&rcpts[i]) {
			n++
		}
	}
	return n
}

func (l *Limits) exempt(r *mail.Recipient) bool {
	p := r.Asked()
	if strings.ContainsAny(p.Local, "%!@") {
		return false // a route: an MTA may send a%there.example@here.example on to there.example
	}
	d := p.DomainKey()
	return l.exemptRcpt["@"+d] || l.exemptRcpt[strings.ToLower(p.Local)+"@"+d]
}

// fresh gives the keys of recipients to whom the user has not written lately.
// They are written down when the message is relayed, not before: who is held
// over this limit must not get past it by trying again.
func (l *Limits) fresh(ctx context.Context, w who, rcpts []mail.Recipient) (keys []string, err error) {
	for i := range rcpts {
		if len(l.exemptRcpt) > 0 && l.exempt(&rcpts[i]) {
			continue
		}
		p := rcpts[i].Asked()
		sum := sha256.Sum256([]byte(w.key + "\x00" + strings.ToLower(p.Local) + "@" + p.DomainKey()))
		key := "limits/known/" + base64.RawURLEncoding.EncodeToString(sum[:12])
		_, known, err := l.o.Store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if !known {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// prepare works out the windows of a message.
func (l *Limits) prepare(ctx context.Context, w who, client string, rcpts []mail.Recipient, size int64) (a *act, fresh []string, err error) {
	a = newAct()
	own := l.limitsOf(w.user)
	a.costs[Messages], a.costs[Recipients], a.costs[Bytes] = 1, int64(l.counting(rcpts)), size
	if a.costs[Recipients] == 0 || own == nil {
		return a, nil, nil // an exempt recipient exempts himself, all of them the message
	}
	if needs(NewRecipients, own, l.domain, l.address, l.everybody) {
		if fresh, err = l.fresh(ctx, w, rcpts); err != nil {
			return a, nil, err
		}
		a.costs[NewRecipients] = int64(len(fresh))
	}
	a.add(SymbolUser, w.user, w.key, own)
	// What a forger claims fills counters of its own here too: else a few
	// made-up names would have a whole domain held.
	of := ""
	if w.claimed {
		of = "s"
	}
	if d := identity.Domain(w.user); d != "" && len(l.domain) > 0 {
		a.add(SymbolDomain, d, "limits/d"+of+"/"+d, l.domain)
	}
	if len(l.address) > 0 && client != "" {
		a.add(SymbolAddress, client, "limits/a/"+client, l.address)
	}
	if len(l.everybody) > 0 {
		a.add(SymbolEverybody, "everybody", "limits/e"+of, l.everybody)
	}
	return a, fresh, nil
}

// full gives the first window that has no room, or -1. The store does not
// refuse somebody who only asks.
func full(a *act, used []store.Usage) int {
	for i := range used {
		if noRoom(a, used, i) || a.of[i].limit.Kind == Refusals && used[i].Max > 0 && used[i].Used >= used[i].Max {
			return i
		}
	}
	return -1
}

// noRoom tells that a window has no room for the message, also where it was
// only asked.
func noRoom(a *act, used []store.Usage, i int) bool {
	cost := a.costs[a.of[i].limit.Kind]
	return used[i].Over || a.windows[i].Cost == 0 && used[i].Max > 0 && cost > 0 && used[i].Used+cost > used[i].Max
}
