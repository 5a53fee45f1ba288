package routing

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"garita/mail"
	"garita/smtpproxy"
)

// Options are what a router is made of.
type Options struct {
	Listener smtpproxy.ListenerConfig
	// Tables are compiled once for all listeners; nil is none.
	Tables *Tables
	// Default is the listener's next_hop.
	Default smtpproxy.NextHop
	// Hops are all next hops by name: those of [next_hop.NAME] and those of
	// Needed.
	Hops map[string]smtpproxy.NextHop
	// InboundHops are our own domains, which are the relay_domains of all
	// inbound listeners, with these listeners' next hops: mail of our users to
	// our users takes the inbound route.
	InboundHops map[string]smtpproxy.NextHop
	// Outward is where mail of our users to strangers goes, for what a rule of
	// an inbound listener redirects to a stranger; nil is Default.
	Outward smtpproxy.NextHop
	// Single are the names of next hops that take one recipient a message:
	// those over LMTP. The ones of Needed are known.
	Single map[string]bool
}

// Router is the smtpproxy.Router of one listener. It never changes and serves
// all sessions at once.
type Router struct {
	role  mail.Role
	t     *Tables
	relay map[string]bool // inbound: the relay domains, by DomainKey
	// own are the domains of ours, with the next hop for recipients that no
	// table names.
	own        map[string]smtpproxy.NextHop
	fallback   smtpproxy.NextHop
	outward    smtpproxy.NextHop
	named      map[string]smtpproxy.NextHop
	hops       []smtpproxy.NextHop // by index in Tables.names
	all        []smtpproxy.NextHop
	postmaster string // the key of where <postmaster> goes; may be empty
}

var _ smtpproxy.Router = (*Router)(nil)

// The refusals. Each text is fixed: no table's words reach a stranger.
var (
	replyRelay   = mail.Permanent(554, "7.1", "Relay access denied")
	replyUnknown = mail.Permanent(550, "1.1", "User unknown")
	// replyTables is a mistake of ours, so the sender keeps the mail.
	replyTables = mail.Temporary(451, "3.5", "Recipient cannot be resolved now, try again later")
	replyCircle = mail.Permanent(554, "4.6", "Mail would loop back to you")
	replyLater  = mail.Temporary(451, "4.6", "Mail would loop back to you")
)

// refuse gives a copy, since the caller may write on it.
func refuse(r mail.Reply) *mail.Reply { return &r }

// New makes the router of a listener. Its error names every line that cannot
// be on this listener.
func New(o Options) (*Router, error) {
	r := &Router{t: o.Tables, fallback: o.Default, outward: o.Outward, named: o.Hops, relay: map[string]bool{}, own: map[string]smtpproxy.NextHop{}}
	for _, role := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
		if role.String() == o.Listener.Role {
			r.role = role
		}
	}
	switch {
	case r.role == 0:
		return nil, fmt.Errorf("routing: %q is no role", o.Listener.Role)
	case o.Default == nil:
		return nil, errors.New("routing: the listener has no next hop")
	case r.role == mail.ContentFilter:
		r.outward, r.t, r.all = nil, nil, []smtpproxy.NextHop{o.Default}
		return r, nil
	}
	for d, hop := range o.InboundHops {
		if hop == nil {
			return nil, fmt.Errorf("routing: %q has no next hop", d)
		}
		r.own[mail.DomainKey(d)] = hop
	}
	if r.role == mail.Inbound {
		for _, d := range o.Listener.RelayDomains {
			r.relay[mail.DomainKey(d)] = true
			r.own[mail.DomainKey(d)] = o.Default
		}
	}
	if p, ok := parseAddress(o.Listener.Postmaster); ok {
		var buf [maxKey]byte
		r.postmaster = string(makeKey(buf[:], p, 0).full)
	}
	if r.t != nil {
		var errs []error
		for _, p := range r.t.Unknown(func(name string) bool { return o.Hops[name] != nil }) {
			errs = append(errs, p)
		}
		if len(errs) > 0 {
			return nil, several(errs)
		}
		for _, name := range r.t.names {
			hop := o.Hops[name]
			if hop == nil {
				return nil, fmt.Errorf("routing: the next hop %s was not made", name)
			}
			r.hops = append(r.hops, hop)
		}
	}
	r.all = r.reachable()
	if err := r.parted(o.Single); err != nil {
		return nil, err
	}
	return r, nil
}

// NextHops are the next hops that mail of this listener can go to, the
// listener's own first. A table's next hop that only other listeners can reach
// is none: it would take extensions from the announcement for nothing.
func (r *Router) NextHops() []smtpproxy.NextHop { return r.all }

// Route tells where a recipient goes, or why nowhere. All addresses that
// Rewrite gives for it go to that one next hop too, and are not asked here.
func (r *Router) Route(tx *mail.Transaction, to mail.Recipient) (smtpproxy.NextHop, *mail.Reply) {
	if !r.may(tx, to.Path) {
		return nil, refuse(replyRelay)
	}
	if r.role == mail.ContentFilter {
		return r.fallback, nil
	}
	hop, refused := r.resolve(tx.ReversePath, to.Path)
	if refused != nil {
		return nil, refused
	}
	if r.circle(hop, tx.Client.Addr()) {
		// What comes in is refused for good: it would go round for ever. What
		// goes out waits with its sender until our mistake is mended.
		if r.role == mail.Inbound {
			return nil, refuse(replyCircle)
		}
		return nil, refuse(replyLater)
	}
	return hop, nil
}

// Rewrite gives the addresses that a recipient of our own domains stands for;
// nil when it stands for itself, and when Route refuses it.
func (r *Router) Rewrite(tx *mail.Transaction, to mail.Recipient) []mail.Recipient {
	if !r.may(tx, to.Path) {
		return nil
	}
	boxes, err := r.boxes(to.Path, false)
	if err != nil || len(boxes) == 0 || len(boxes) == 1 && boxes[0].Path == to.Path {
		return nil
	}
	out := make([]mail.Recipient, 0, len(boxes))
	for _, b := range boxes {
		n := to
		n.Path = b.Path
		n.Notify = slices.Clone(to.Notify)
		// RFC 3461 section 5.2.7: the original recipient goes along with every
		// copy, so that a report names the address that the sender wrote. A
		// client without DSN is sent no parameters on account of us.
		if n.Orcpt == "" && b.Path != to.Path && usesDSN(tx, to) && to.IsASCII() {
			n.OrcptType, n.Orcpt = "rfc822", to.Path.String()
		}
		out = append(out, n)
	}
	return out
}

// Redirect is Route and Rewrite for an address that is the operator's word.
// Neither relay permission nor the guard against our own client is asked: mail
// of our users that a rule sends to one of our mailboxes goes back to the
// server that it came from, which knows that mailbox. If it does not, and sends
// it out again, the count of Received fields ends it.
func (r *Router) Redirect(tx *mail.Transaction, to mail.Path) (smtpproxy.NextHop, []mail.Path, *mail.Reply) {
	if r.role == mail.ContentFilter {
		return r.fallback, []mail.Path{to}, nil
	}
	hop, refused := r.resolve(tx.ReversePath, to)
	if refused != nil {
		return nil, nil, refused
	}
	if r.role == mail.Inbound && r.outward != nil {
		var buf [maxKey]byte
		k := makeKey(buf[:], to, r.t.sign())
		if _, ours := r.own[string(k.domain())]; !ours {
			if _, line := r.route(k, tx.ReversePath, nil); line == (where{}) {
				hop = r.outward
			}
		}
	}
	boxes, err := r.boxes(to, false)
	if err != nil {
		return nil, nil, replyFor(err)
	}
	if len(boxes) == 0 {
		return hop, []mail.Path{to}, nil
	}
	out := make([]mail.Path, len(boxes))
	for i, b := range boxes {
		out[i] = b.Path
	}
	return hop, out, nil
}

// Hop is the next hop with that name, whatever the tables name; nil for none.
func (r *Router) Hop(name string) smtpproxy.NextHop {
	if h, ok := r.named[name]; ok {
		return h
	}
	if r.fallback.Name() == name {
		return r.fallback
	}
	return nil
}

func usesDSN(tx *mail.Transaction, to mail.Recipient) bool {
	return len(to.Notify) > 0 || tx.Params.Ret != "" || tx.Params.EnvID != ""
}

// may is relay permission. It knows no table: a route or an alias for a
// stranger's domain does not make it ours.
func (r *Router) may(tx *mail.Transaction, to mail.Path) bool {
	switch r.role {
	case mail.Inbound:
		return to.Domain != "" && r.relay[to.DomainKey()]
	case mail.Outbound:
		return tx.Trusted || tx.Login != ""
	case mail.ContentFilter:
		return tx.Trusted
	}
	return false
}

// smtpPort is where a machine takes mail from anybody, and would send it back
// to us; another port of the same machine is what a smart host's mail is meant
// for.
const smtpPort = 25

// circle tells that the next hop is the very client: mail to our own domains
// that comes from the server behind us is mail that it does not know for its
// own, and would hand to us again.
func (r *Router) circle(hop smtpproxy.NextHop, client netip.Addr) bool {
	port, yes := hop.LeadsTo(client)
	return yes && (r.role == mail.Inbound || port == smtpPort)
}

// resolve is aliases, lists and routes together.
func (r *Router) resolve(from, to mail.Path) (smtpproxy.NextHop, *mail.Reply) {
	var buf [maxKey]byte
	k := makeKey(buf[:], to, r.t.sign())
	home, ours := r.own[string(k.domain())]
	if !ours {
		hop, _ := r.route(k, from, nil)
		return hop, nil
	}
	if _, _, alias := r.t.findAlias(k); !alias {
		if ok, _, _ := r.t.exists(k); !ok && string(k.full) != r.postmaster {
			return nil, refuse(replyUnknown)
		}
		hop, _ := r.route(k, from, home)
		return hop, nil
	}
	boxes, err := r.boxes(to, false)
	if err != nil {
		return nil, replyFor(err)
	}
	var hop smtpproxy.NextHop
	for _, b := range boxes {
		h, _ := r.boxRoute(b.Path, home)
		if hop != nil && hop.Name() != h.Name() {
			return nil, refuse(replyTables) // one transaction has one next hop
		}
		hop = h
	}
	return hop, nil
}

// errUnsound is an address of a client that has no form in the domain that
// its own domain stands for, errNobody one that is not in that domain's list.
var (
	errUnsound = errors.New("leads to an address that may not be sent")
	errNobody  = errors.New("leads to a recipient that its domain's list does not have")
)

func replyFor(err error) *mail.Reply {
	if errors.Is(err, errUnsound) || errors.Is(err, errNobody) {
		return refuse(replyUnknown)
	}
	return refuse(replyTables)
}

// boxes expands a recipient of our own domains; none for a stranger's and for
// one that no line names.
func (r *Router) boxes(to mail.Path, trace bool) ([]mailbox, error) {
	var buf [maxKey]byte
	k := makeKey(buf[:], to, r.t.sign())
	if _, ours := r.own[string(k.domain())]; !ours {
		return nil, nil
	}
	if _, _, alias := r.t.findAlias(k); !alias {
		return nil, nil
	}
	boxes, err := r.t.expand(to, deepest, trace)
	if err != nil {
		return nil, err
	}
	for _, b := range boxes {
		// The client's local part has come into another domain: what was sound
		// in ours must be sound there (S-84 to S-94).
		if !b.foreign || b.Path == to {
			continue
		}
		if !sound(b.Path) {
			return nil, errUnsound
		}
		// A line for a whole domain makes nobody exist in the other one, or it
		// would be the way round the list for a harvest (S-106).
		var own [maxKey]byte
		k := makeKey(own[:], b.Path, r.t.sign())
		if ok, _, _ := r.t.exists(k); !ok && r.own[string(k.domain())] != nil && string(k.full) != r.postmaster {
			return nil, errNobody
		}
	}
	return boxes, nil
}

// route is where an address goes: its own route; our domain's; for a
// stranger's the sender's; the listener's next hop. home is the next hop of
// our own domain, nil for a stranger's.
func (r *Router) route(k key, from mail.Path, home smtpproxy.NextHop) (smtpproxy.NextHop, where) {
	if r.t != nil {
		if row, ok := find(r.t.recipients, k); ok && row.hop != noRoute {
			return r.hops[row.hop], row.where
		}
		if home == nil && r.role == mail.Outbound {
			if row, ok := r.sender(from); ok && row.hop != noRoute {
				return r.hops[row.hop], row.where
			}
		}
	}
	if home != nil {
		return home, where{}
	}
	return r.fallback, where{}
}

func (r *Router) sender(from mail.Path) (route, bool) {
	if len(r.t.senders) == 0 {
		return route{}, false
	}
	if from.IsNull() {
		row, ok := r.t.senders["<>"]
		return row, ok
	}
	var buf [maxKey]byte
	return find(r.t.senders, makeKey(buf[:], from, r.t.sign()))
}

// boxRoute is where a target of an alias goes: its route, or where its own
// domain goes, or else where the alias's domain goes. The sender has no say:
// mail to an alias goes one way, whoever wrote it.
func (r *Router) boxRoute(p mail.Path, home smtpproxy.NextHop) (smtpproxy.NextHop, where) {
	var buf [maxKey]byte
	k := makeKey(buf[:], p, r.t.sign())
	if h, ours := r.own[string(k.domain())]; ours {
		home = h
	}
	return r.route(k, mail.Path{}, home)
}

// sign is the delimiter of extensions; 0 is none.
func (t *Tables) sign() byte {
	if t == nil {
		return 0
	}
	return t.delimiter
}

// reachable works NextHops out.
func (r *Router) reachable() []smtpproxy.NextHop {
	out := []smtpproxy.NextHop{r.fallback}
	seen := map[string]bool{r.fallback.Name(): true}
	add := func(h smtpproxy.NextHop) {
		if !seen[h.Name()] {
			seen[h.Name()] = true
			out = append(out, h)
		}
	}
	used := make([]bool, len(r.hops))
	if r.role == mail.Outbound {
		for _, d := range slices.Sorted(maps.Keys(r.own)) {
			add(r.own[d])
		}
		for i := range used {
			used[i] = true
		}
	} else if r.t != nil {
		domains := r.reachableDomains()
		for _, d := range slices.Sorted(maps.Keys(domains)) {
			if h := r.own[d]; h != nil {
				add(h)
			}
		}
		for name, row := range r.t.recipients {
			if row.hop != noRoute && !used[row.hop] && domains[name[strings.LastIndexByte(name, '@')+1:]] {
				used[row.hop] = true
			}
		}
	}
	for i, yes := range used {
		if yes {
			add(r.hops[i])
		}
	}
	return out
}

// reachableDomains are the domains that mail of an inbound listener can go to,
// and the ".domain" above each of them.
func (r *Router) reachableDomains() map[string]bool {
	out := map[string]bool{}
	add := func(d string) {
		if out[d] {
			return
		}
		out[d] = true
		for i := 1; i < len(d) && d[0] != '['; i++ {
			if d[i] == '.' {
				out[d[i:]] = true
			}
		}
	}
	for d := range r.relay {
		add(d)
	}
	for d := range r.t.targets {
		add(d)
	}
	return out
}

// parted tells the aliases that no mail could reach: those whose targets lead
// to more than one next hop, since one message has one, and those with several
// targets on a next hop that takes one recipient a message.
func (r *Router) parted(single map[string]bool) error {
	if r.t == nil {
		return nil
	}
	var errs []error
	for _, name := range r.t.several {
		p := pathOf(name)
		home, ours := r.own[p.DomainKey()]
		if !ours {
			continue
		}
		if p.Local == "" {
			p.Local = anybody
		}
		boxes, err := r.t.expand(p, deepest, false)
		if err != nil {
			return fmt.Errorf("routing: tables with problems: %w", err)
		}
		if why := r.partedBoxes(boxes, home, single); why != "" {
			errs = append(errs, fmt.Errorf("%s: the alias %q %s", r.t.at(r.t.aliases[name].where), clip(name), why))
		}
		if len(errs) >= maxProblems {
			break
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return several(errs)
}

// several are faults of one listener, each with its line. In one text they are
// on one line, since that is where a caller puts them who does not unwrap.
type several []error

func (s several) Error() string {
	texts := make([]string, len(s))
	for i, err := range s {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (s several) Unwrap() []error { return s }

func (r *Router) partedBoxes(boxes []mailbox, home smtpproxy.NextHop, single map[string]bool) string {
	for i := 1; i < len(boxes); i++ {
		a, _ := r.boxRoute(boxes[0].Path, home)
		b, _ := r.boxRoute(boxes[i].Path, home)
		if a.Name() != b.Name() {
			return fmt.Sprintf("leads to two next hops, %s and %s: let the server behind one of them send the copies to the other", a.Name(), b.Name())
		}
		if single[a.Name()] || strings.HasPrefix(a.Name(), "lmtp:") {
			return fmt.Sprintf("has %d targets, and %s speaks LMTP, which takes one recipient a message: give it one target, and make the list on the server behind", len(boxes), a.Name())
		}
	}
	return ""
}
