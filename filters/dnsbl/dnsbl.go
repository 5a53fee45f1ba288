// Package dnsbl is the check of DNS lists (RFC 5782): the client's address and
// confirmed name, the domains of HELO and of the sender, and those of the links
// in a message, on block lists and allow lists. Which lists there are, what
// their answers mean and whether they are well is garita/dnsbl's.
//
// Each listing is a finding with points, those of an allow list below zero. In
// mode enforce the sum of them refuses, at RCPT, where the log has sender and
// recipient and exceptions work. All lists are asked at once under one
// deadline; answers that are in memory cost no goroutine.
//
// Trusted peers, users who logged in, listeners for them, and addresses that
// are not public are exempt: a dial-up list is no reason not to take a user's
// mail. Fields of Received are not looked at.
//
// It fails towards silence: a list without an answer says nothing, and is told
// in a finding that is only observed.
//
// # Limits
//
// Config.URLs domains of links are looked up of at most 1,000 that are
// collected. Text is searched as UTF-8; links that a page puts together by
// script or splits by tags are not seen, nor those in attached documents.
package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	lists "garita/dnsbl"
	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// Name of the check.
const Name = "dnsbl"

// The symbols; each list has one more, with its name behind the dot.
const (
	SymbolRefused   = "dnsbl.refused"
	SymbolDoubted   = "dnsbl.doubted"
	SymbolTemporary = "dnsbl.temporary"
)

// Monitor watches over the lists that the check asks.
type Monitor = lists.Monitor

// Status is how a list is.
type Status = lists.Status

// Event is a change of that.
type Event = lists.Event

// Options are what the check is made of beside configuration and site.
type Options struct {
	// Previous is the monitor of the configuration before.
	Previous *Monitor
	// Log is told what happens to lists, Alert the same.
	Log   func(text string, err error)
	Alert func(Event)
	// Now is the wall clock; nil: the system's.
	Now func() time.Time
}

// New makes the check and the monitor of its lists, which is nil when the check
// is off or there is no DNS. Somebody has to start and close it.
func New(c Config, site filters.Site, o Options) (filters.Check, *Monitor, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, nil, fmt.Errorf("dnsbl: %w", errs[0])
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	mode, _ := mail.ParseMode(c.Mode)
	k := &lookups{c: c, now: o.Now, store: site.Store, enforce: mode == mail.Enforce && c.RefuseAt > 0, own: map[string]bool{}}
	for _, d := range append([]string{site.Hostname}, site.Domains...) {
		k.own[mail.DomainKey(d)] = true
	}
	out := filters.Check{Name: Name, Impl: k, Mode: mode, IO: true, Cached: true, Timeout: c.Timeout + graceful}
	if site.Resolver == nil || mode == mail.Off {
		out.Mode = mail.Off
		return out, nil, nil
	}
	defined, _ := c.defined()
	m, err := lists.New(lists.Options{Lists: defined, Resolver: site.Resolver, Store: site.Store, Now: o.Now, Log: o.Log, Alert: o.Alert, Previous: o.Previous})
	if err != nil {
		return filters.Check{}, nil, err
	}
	k.m = m
	return out, m, nil
}

// graceful is what the engine waits beyond our own deadline.
const graceful = 2 * time.Second

type lookups struct {
	c       Config
	m       *Monitor // nil: off
	now     func() time.Time
	store   storer
	enforce bool
	own     map[string]bool // domains
}

// subject is what is asked about; kind is one bit.
type subject struct {
	kind lists.Kind
	addr netip.Addr
	name string // of Domain
	good bool
	// before are the kinds that it was asked for already.
	before lists.Kind
}

func (s subject) String() string {
	if s.addr.IsValid() {
		return s.addr.String()
	}
	return s.name
}

// applies tells that the client is a stranger with a public address, and gives
// it.
func (k *lookups) applies(s *mail.Session) (netip.Addr, bool) {
	a := s.Client.Addr().Unmap().WithZone("")
	return a, k.m != nil && filters.Stranger(s) && a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// shared is RFC 6598's space between providers and their customers.
var shared = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)

// CheckConnect looks the address and the confirmed name up.
func (k *lookups) CheckConnect(ctx context.Context, s *mail.Session) (filters.Result, error) {
	a, ok := k.applies(s)
	if !ok {
		return filters.Result{}, nil
	}
	kind := lists.Address4
	if a.Is6() {
		kind = lists.Address6
	}
	about := append(make([]subject, 0, 2), subject{kind: kind, addr: a, good: k.knownGood(ctx, a)})
	if n := k.stranger(hostName(s)); n != "" {
		about = append(about, subject{kind: lists.Host, name: n})
	}
	return k.look(ctx, mail.StageConnect, a, about, 0)
}

func hostName(s *mail.Session) string {
	if !s.Host.Confirmed {
		return "" // a claim of whoever runs the reverse zone
	}
	return s.Host.Name
}

// stranger makes a domain of hostile text; empty: there is none, or it is ours.
func (k *lookups) stranger(text string) string {
	d := lists.Domain(text)
	if k.own[d] {
		return ""
	}
	return d
}

// CheckHelo looks the domain in HELO up.
func (k *lookups) CheckHelo(ctx context.Context, s *mail.Session) (filters.Result, error) {
	a, ok := k.applies(s)
	if !ok {
		return filters.Result{}, nil
	}
	n := k.stranger(s.Helo)
	if n == "" {
		return filters.Result{}, nil
	}
	return k.look(ctx, mail.StageHelo, a, []subject{{kind: lists.Helo, name: n, before: k.before(s, mail.StageHelo, n)}}, 0)
}

// CheckMail looks the domain of the sender up, and says what all listings until
// now come to.
func (k *lookups) CheckMail(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	if _, ok := k.applies(tx.Session); !ok {
		return filters.Result{}, nil
	}
	var about []subject
	if !tx.ReversePath.IsNull() && !tx.ReversePath.IsLiteral() {
		if n := k.stranger(tx.ReversePath.DomainKey()); n != "" {
			about = append(about, subject{kind: lists.Sender, name: n, before: k.before(tx.Session, mail.StageMail, n)})
		}
	}
	return k.decide(ctx, tx, mail.StageMail, about)
}

// CheckMessage looks the domains of links up.
func (k *lookups) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	if _, ok := k.applies(tx.Session); !ok || k.c.URLs == 0 || tx.Message == nil || !k.asks(lists.URL) {
		return filters.Result{}, nil
	}
	index, err := tx.Message.Index(ctx)
	if err != nil {
		return filters.Result{}, fmt.Errorf("dnsbl: %w", err)
	}
	found, err := k.links(ctx, index)
	if err != nil || len(found) == 0 {
		return filters.Result{}, err
	}
	return k.decide(ctx, tx, mail.StageMessage, found)
}

func (k *lookups) asks(kind lists.Kind) bool {
	for _, w := range k.m.Lists() {
		if w.Kinds&kind != 0 {
			return true
		}
	}
	return false
}

// decide looks up and adds what it all comes to.
func (k *lookups) decide(ctx context.Context, tx *mail.Transaction, stage mail.Stage, about []subject) (filters.Result, error) {
	source, _ := k.applies(tx.Session)
	sum := 0.0
	var heaviest *mail.Finding
	for i := range tx.Findings {
		f := &tx.Findings[i]
		if f.Filter != Name {
			continue
		}
		if f.Symbol == SymbolRefused { // said already, by a mode that lets mail pass
			return k.look(ctx, stage, source, about, 0)
		}
		sum += f.Score
		heaviest = heavier(heaviest, f)
	}
	res, err := k.look(ctx, stage, source, about, sum)
	if err != nil {
		return filters.Result{}, err
	}
	for i := range res.Findings {
		sum += res.Findings[i].Score
		heaviest = heavier(heaviest, &res.Findings[i])
	}
	if k.c.RefuseAt == 0 || sum < k.c.RefuseAt || heaviest == nil {
		return res, nil
	}
	reply, err := k.reply(ctx, heaviest)
	if err != nil {
		return filters.Result{}, err
	}
	f := mail.Finding{Symbol: SymbolRefused, Verdict: mail.Reject, Reply: reply, Detail: fmt.Sprintf("%.4g points", sum)}
	if reply.Temporary() {
		f.Verdict = mail.Defer
	}
	res.Findings = append(res.Findings, f)
	return res, nil
}

func heavier(a, b *mail.Finding) *mail.Finding {
	if b.Score <= 0 || a != nil && a.Score >= b.Score {
		return a
	}
	return b
}

// before gives the kinds that a name was asked for at earlier stages: one
// domain in the reverse DNS, HELO and sender is one listing.
func (k *lookups) before(s *mail.Session, stage mail.Stage, name string) (kinds lists.Kind) {
	if stage > mail.StageConnect && k.stranger(hostName(s)) == name {
		kinds |= lists.Host
	}
	if stage > mail.StageHelo && k.stranger(s.Helo) == name {
		kinds |= lists.Helo
	}
	return kinds
}

// look asks all lists about all subjects and makes findings of the answers.
// sum are points that count already.
func (k *lookups) look(ctx context.Context, stage mail.Stage, source netip.Addr, about []subject, sum float64) (filters.Result, error) {
	qs, of := k.questions(source, about)
	if len(qs) == 0 {
		return filters.Result{}, nil
	}
	if !resolver.CacheOnly(ctx) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, k.c.Timeout)
		defer cancel()
	}
	answers, err := k.m.Ask(ctx, qs, k.enough(qs, stage, sum))
	if errors.Is(err, resolver.ErrNotCached) {
		return filters.Result{}, filters.ErrWouldWait
	}
	if err != nil {
		return filters.Result{}, err
	}
	res := k.findings(qs, of, about, answers)
	for i := range res.Findings {
		res.Findings[i].Stage = stage // the engine says the same; the reply needs it
	}
	return res, nil
}

// questions gives what each list is asked, each name once, and about which
// subject.
func (k *lookups) questions(source netip.Addr, about []subject) (qs []lists.Question, of []int) {
	for _, w := range k.m.Lists() {
		first := len(qs)
		for i := range about {
			s := &about[i]
			if w.Kinds&s.kind == 0 || w.Kinds&s.before != 0 {
				continue
			}
			var name string
			switch {
			case s.kind == lists.URL && s.addr.IsValid():
				name = w.URLAddressName(s.addr)
			case s.addr.IsValid():
				name = w.AddressNameOf(s.addr)
			default:
				name = w.NameOf(s.name)
			}
			known := name == ""
			for j := first; j < len(qs); j++ {
				known = known || qs[j].Name == name
			}
			if !known {
				qs, of = append(qs, lists.Question{List: w, Name: name, Subject: s.String(), Source: source, Good: s.good}), append(of, i)
			}
		}
	}
	return qs, of
}

// enough tells when the answers that are missing cannot change the verdict any
// more: the listings that count refuse, and every allow list has answered.
// Points alone are never enough, since the sum with other checks decides. Only
// the stage that decides is cut short; what an earlier one would leave out
// could be what a later one needs.
func (k *lookups) enough(qs []lists.Question, stage mail.Stage, sum float64) func(lists.Answers, []bool) bool {
	if !k.enforce || stage != mail.StageMail {
		return nil
	}
	return func(have lists.Answers, asked []bool) bool {
		most := 0.0
		for i := range qs {
			low, _ := qs[i].List.Bounds()
			switch {
			case !asked[i] && low < 0:
				return false
			case asked[i] && have[i].State == lists.Listed && have[i].Weight < 0:
				sum := sum + have[i].Weight
				if sum < k.c.RefuseAt {
					return false
				}
			case asked[i] && have[i].State == lists.Listed:
				most = max(most, have[i].Weight)
			}
		}
		return sum+most >= k.c.RefuseAt
	}
}

// findings makes one finding for each list that lists something: of several
// entries, and of lists of one group, the one with the most points counts.
func (k *lookups) findings(qs []lists.Question, of []int, about []subject, answers lists.Answers) (res filters.Result) {
	type best struct {
		w  *lists.Watched
		i  int
		at int
	}
	var found []best
	var quiet []string
	for i := range answers {
		w, a := qs[i].List, &answers[i]
		switch a.State {
		case lists.Failed, lists.Refused, lists.Foreign:
			quiet = append(quiet, w.Name+": "+a.Fault)
		case lists.Doubted:
			res.Findings = append(res.Findings, mail.Finding{Symbol: SymbolDoubted, Mode: mail.Observe, Where: about[of[i]].String(),
				Detail: w.Name + " has " + about[of[i]].String() + ", which is not believed: " + a.Fault})
		case lists.Listed:
			f := mail.Finding{Symbol: Name + "." + w.Name, Score: a.Weight, Where: about[of[i]].String(),
				Detail: strings.TrimSpace(about[of[i]].String() + " " + a.Code.String() + " " + a.Meaning)}
			same := -1
			for j := range found {
				if b := found[j].w; b == w || b.Group != "" && b.Group == w.Group {
					same = j
				}
			}
			switch {
			case same < 0:
				found = append(found, best{w, i, len(res.Findings)})
				res.Findings = append(res.Findings, f)
			case more(f.Score, res.Findings[found[same].at].Score):
				res.Findings[found[same].at] = f
				found[same].w = w
			}
		}
	}
	if len(quiet) > 0 {
		res.Findings = append(res.Findings, mail.Finding{Symbol: SymbolTemporary, Mode: mail.Observe, Detail: strings.Join(quiet[:min(len(quiet), 5)], "; ")})
	}
	return res
}

// more tells which of two points of one list counts.
func more(a, b float64) bool {
	if a <= 0 && b <= 0 {
		return a < b
	}
	return a > b
}

// reply is the text of a refusal.
func (k *lookups) reply(ctx context.Context, f *mail.Finding) (*mail.Reply, error) {
	name := strings.TrimPrefix(f.Symbol, Name+".")
	var w *lists.Watched
	for _, one := range k.m.Lists() {
		if one.Name == name {
			w = one
		}
	}
	if w == nil { // of a configuration before
		r := k.build("Service unavailable; listed by " + name)
		return &r, nil
	}
	text := k.c.Text
	if strings.Contains(text, "{reason}") {
		reason, err := k.reason(ctx, w, f.Where)
		if err != nil {
			return nil, err
		}
		text = strings.ReplaceAll(text, "{reason}", reason)
	}
	text = strings.NewReplacer("{subject}", class(f)+" ["+filters.Printable(f.Where, 253)+"]", "{list}", w.Public(), "{lookup}", w.Lookup).Replace(text)
	r := k.build(strings.TrimRight(text, " ;,"))
	return &r, nil
}

func (k *lookups) build(text string) mail.Reply {
	if k.c.Reply == "defer" {
		return mail.Temporary(450, "7.1", text)
	}
	return mail.Permanent(554, "7.1", text)
}

// reason asks for the list's own text.
func (k *lookups) reason(ctx context.Context, w *lists.Watched, where string) (string, error) {
	if !w.TXT {
		return "", nil
	}
	if resolver.CacheOnly(ctx) {
		return "", filters.ErrWouldWait
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	name := ""
	if a, err := netip.ParseAddr(where); err == nil {
		name = w.AddressNameOf(a)
	} else {
		name = w.NameOf(where)
	}
	if name == "" {
		return "", nil
	}
	// What a stranger wrote must not fill in our own words.
	return strings.NewReplacer("{", "(", "}", ")").Replace(k.m.Reason(ctx, lists.Question{List: w, Name: name})), nil
}

// class is the word of Postfix's rbl_class, which fail2ban knows.
func class(f *mail.Finding) string {
	switch f.Stage {
	case mail.StageConnect:
		return "Client host"
	case mail.StageHelo:
		return "Helo command"
	case mail.StageMessage:
		return "Link"
	}
	return "Sender address"
}
