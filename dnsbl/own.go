package dnsbl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"garita/resolver"
	"garita/store"
)

// OwnConfig is the table [rbl].
type OwnConfig struct {
	Addresses []string      `toml:"addresses" doc:"The addresses that your mail leaves from, as others see them: behind NAT or a smart host not those of this machine. With these or domains the lists are asked regularly; without, garita rbl tells of a guess."`
	Domains   []string      `toml:"domains" doc:"Your domains, for the lists of domains."`
	Lists     []string      `toml:"lists" doc:"Names of lists (garita rbl lists). barracuda needs a registration first, see there."`
	Every     time.Duration `toml:"every" doc:"How often they are asked, 10m to 24h; lists of free use do not like more."`
}

// DefaultOwn asks the lists that the guide of the national CERT names, but for
// those that answer only who has registered.
func DefaultOwn() OwnConfig {
	c := OwnConfig{Addresses: []string{}, Domains: []string{}, Every: time.Hour}
	for _, name := range CERTLists() {
		if l, ok := FindShipped(name); ok && !l.Register {
			c.Lists = append(c.Lists, name)
		}
	}
	return c
}

// maxOwn bounds the addresses and domains of one round.
const maxOwn = 64

// Validate gives every mistake, each naming its key.
func (c OwnConfig) Validate() (errs []error) {
	for i, s := range c.Addresses {
		if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
			errs = append(errs, fmt.Errorf("addresses[%d] = %.60q: must be an address, as 203.0.113.5", i, s))
		} else if !public(a) {
			errs = append(errs, fmt.Errorf("addresses[%d] = %q: is not one that others see; put the public one there", i, s))
		}
	}
	for i, s := range c.Domains {
		if Domain(s) == "" {
			errs = append(errs, fmt.Errorf("domains[%d] = %.60q: must be a domain name, as example.org", i, s))
		}
	}
	if len(c.Addresses)+len(c.Domains) > maxOwn {
		errs = append(errs, fmt.Errorf("addresses: with domains at most %d", maxOwn))
	}
	for i, name := range c.Lists {
		if _, ok := FindShipped(name); !ok {
			errs = append(errs, fmt.Errorf("lists[%d] = %.40q: is no list that is known; garita rbl lists shows them", i, name))
		}
	}
	if len(c.Lists) > MaxLists {
		errs = append(errs, fmt.Errorf("lists: at most %d", MaxLists))
	}
	if c.Every < 10*time.Minute || c.Every > 24*time.Hour {
		errs = append(errs, fmt.Errorf("every = %s: must be from 10m to 24h", c.Every))
	}
	return errs
}

// public tells an address that others can see.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// Result is how one of ours stands on a list.
type Result string

// The results. Dead lists and errors say nothing about us.
const (
	OwnListed   Result = "listed"
	OwnClean    Result = "clean"
	OwnDead     Result = "dead"
	OwnError    Result = "error"
	OwnNotAsked Result = "not asked"
)

// Standing is how one of ours stands on one list.
type Standing struct {
	Subject string `json:"subject"`
	// Guessed says that the address was not configured but found by our name.
	Guessed bool      `json:"guessed,omitempty"`
	List    string    `json:"list"`
	Zone    string    `json:"zone"`
	Result  Result    `json:"result"`
	Detail  string    `json:"detail,omitempty"`
	Code    string    `json:"code,omitempty"`
	Text    string    `json:"text,omitempty"` // the list's own, one printable line
	Since   time.Time `json:"since,omitzero"` // of listed or clean
	Checked time.Time `json:"checked,omitzero"`
	Shared  bool      `json:"shared,omitempty"` // the list has whole networks
	// How to leave it; only where listed.
	Lookup  string   `json:"lookup,omitempty"`
	Cost    string   `json:"cost,omitempty"`
	From    string   `json:"ask_from,omitempty"`
	History []Change `json:"history,omitempty"`
}

// Change is one entry of the history.
type Change struct {
	At     time.Time `json:"at"`
	Result Result    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

// maxHistory bounds it.
const maxHistory = 20

// OwnEvent is told when one of ours came onto a list, left it, or the list died.
type OwnEvent struct {
	Standing
	Was Result `json:"was,omitempty"`
	// SinceBad is how long ago the last bad mail left; below zero: unknown.
	SinceBad time.Duration `json:"since_bad"`
}

// OwnOptions are what the watch over our own is made of.
type OwnOptions struct {
	Config   OwnConfig
	Hostname string // to guess an address by; may be empty
	Resolver resolver.Resolver
	Store    store.Store // nil: no history
	Now      func() time.Time
	Log      func(text string, err error)
	Alert    func(OwnEvent)
	// LastBad gives when the last bad mail left; nil: that is unknown.
	LastBad func() (time.Time, bool)
}

// Own watches how we stand on lists. It is safe for concurrent use.
type Own struct {
	o     OwnOptions
	lists []List
	round sync.Mutex // one at a time

	root context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

// NewOwn makes it; Start begins the regular rounds.
func NewOwn(o OwnOptions) (*Own, error) {
	if errs := o.Config.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("rbl: %w", errs[0])
	}
	if o.Resolver == nil {
		return nil, errors.New("rbl: there is no DNS")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Own{o: o}
	for _, name := range o.Config.Lists {
		l, _ := FindShipped(name)
		w.lists = append(w.lists, l)
	}
	w.root, w.stop = context.WithCancel(context.Background())
	return w, nil
}

// Start begins the rounds over what is configured; there are none without. A
// nil watch has none.
func (w *Own) Start() {
	if w == nil || len(w.o.Config.Addresses)+len(w.o.Config.Domains) == 0 {
		return
	}
	w.work.Go(func() {
		wait := w.firstWait()
		for {
			t := time.NewTimer(wait)
			select {
			case <-w.root.Done():
				t.Stop()
				return
			case <-t.C:
			}
			w.Round(w.root)
			wait = jitter(w.o.Config.Every)
		}
	})
}

// firstWait is until the first round: what was asked before a restart or a
// reload is not asked again before its time.
func (w *Own) firstWait() time.Duration {
	wait := jitter(firstRound)
	last, err := w.Last(w.root)
	if err != nil {
		return wait
	}
	now := w.o.Now()
	for i := range last {
		if age := now.Sub(last[i].Checked); age >= 0 && age < w.o.Config.Every {
			wait = max(wait, w.o.Config.Every-age)
		}
	}
	return wait
}

// firstRound is after a start, when the DNS works and a restart for another
// reason is over.
const firstRound = 2 * time.Minute

// Close ends the rounds and waits for one under way.
func (w *Own) Close() {
	if w == nil {
		return
	}
	w.stop()
	w.work.Wait()
}

// SinceBad is how long ago the last bad mail left; below zero: unknown.
func (w *Own) SinceBad() time.Duration {
	if w.o.LastBad == nil {
		return -1
	}
	at, ok := w.o.LastBad()
	if !ok {
		return -1
	}
	return max(w.o.Now().Sub(at), 0)
}

// Round asks about everything that is configured, keeps it, and tells of what
// has changed.
func (w *Own) Round(ctx context.Context) []Standing {
	w.round.Lock()
	defer w.round.Unlock()
	out := w.ask(ctx, slices.Concat(w.o.Config.Addresses, w.o.Config.Domains))
	if ctx.Err() != nil {
		return out
	}
	for i := range out {
		w.note(ctx, &out[i])
	}
	return out
}

// Check asks about addresses and domains now; without any, about what is
// configured, else about the address that our name has.
func (w *Own) Check(ctx context.Context, subjects []string) ([]Standing, error) {
	if len(subjects) > maxOwn {
		return nil, fmt.Errorf("at most %d at once", maxOwn)
	}
	configured := slices.Concat(w.o.Config.Addresses, w.o.Config.Domains)
	if len(subjects) == 0 && len(configured) > 0 {
		return w.Round(ctx), nil
	}
	guessed := false
	if len(subjects) == 0 {
		subjects = w.guess(ctx)
		if guessed = true; len(subjects) == 0 {
			return nil, errors.New("nothing is configured in rbl.addresses, and the name of this gateway has no public address: give one with --ip")
		}
	}
	w.round.Lock()
	defer w.round.Unlock()
	out := w.ask(ctx, subjects)
	for i := range out {
		out[i].Guessed = guessed
	}
	return out, nil
}

// guess gives the public addresses of our own name.
func (w *Own) guess(ctx context.Context) (out []string) {
	if Domain(w.o.Hostname) == "" {
		return nil
	}
	addrs, err := w.o.Resolver.Addresses(ctx, w.o.Hostname)
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if public(a) && len(out) < 4 {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// ask asks all lists, a few at once, and adds what is not asked.
func (w *Own) ask(ctx context.Context, subjects []string) []Standing {
	per := make([][]Standing, len(w.lists))
	slots := make(chan struct{}, 4)
	var group sync.WaitGroup
	for i := range w.lists {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			per[i] = w.list(ctx, &w.lists[i], subjects)
		})
	}
	group.Wait()
	out := []Standing{}
	for _, s := range subjects {
		for i := range per {
			for _, st := range per[i] {
				if st.Subject == s {
					out = append(out, st)
				}
			}
		}
		out = append(out, w.notAsked(s)...)
	}
	return out
}

// notAsked are the lists of the CERT's guide that are dead, and those that
// answer only who has registered.
func (w *Own) notAsked(subject string) (out []Standing) {
	if _, err := netip.ParseAddr(subject); err != nil {
		return nil
	}
	for _, zone := range CERTDead() {
		if d, ok := FindDeadList(zone); ok {
			out = append(out, Standing{Subject: subject, List: zone, Zone: zone, Result: OwnDead, Detail: "since " + d.Since + ": " + d.Effect})
		}
	}
	for _, name := range CERTLists() {
		if l, ok := FindShipped(name); ok && l.Register && !slices.Contains(w.o.Config.Lists, name) {
			out = append(out, Standing{Subject: subject, List: name, Zone: l.Zone, Result: OwnNotAsked,
				Detail: "it answers only registered resolvers; register, then add it to rbl.lists", Lookup: l.Lookup})
		}
	}
	return out
}

// list asks one list about all subjects that it is for. It is probed after the
// answers, so that an answer of a dead list is not believed.
func (w *Own) list(ctx context.Context, l *List, subjects []string) (out []Standing) {
	now := w.o.Now()
	answers := []Answer{}
	names := []string{}
	for _, s := range subjects {
		name := ""
		if a, err := netip.ParseAddr(s); err == nil {
			name = l.AddressNameOf(a)
		} else if l.Kinds&Domains != 0 {
			name = l.NameOf(Domain(s))
		}
		if name == "" {
			continue
		}
		var a Answer
		if n := len(answers); n > 0 && answers[n-1].State == Failed {
			a = answers[n-1] // one time-out is enough
		} else {
			one, cancel := context.WithTimeout(ctx, probeTimeout)
			a = l.Classify(w.o.Resolver.A(one, name))
			cancel()
		}
		answers, names = append(answers, a), append(names, name)
		out = append(out, Standing{Subject: s, List: l.Name, Zone: l.Zone, Checked: now, Shared: l.Shared})
	}
	if len(out) == 0 {
		return nil
	}
	why, detail := probeList(ctx, w.o.Resolver, l)
	for i := range out {
		w.settle(ctx, l, &out[i], answers[i], names[i], why, detail)
	}
	return out
}

// settle makes a standing of an answer and what the probe showed.
func (w *Own) settle(ctx context.Context, l *List, st *Standing, a Answer, name string, why Reason, detail string) {
	switch {
	case why == Everything || why == Empty || why == Parked:
		st.Result, st.Detail = OwnDead, string(why)+": "+detail
	case why != "":
		st.Result, st.Detail = OwnError, string(why)+": "+detail
	case a.State == Listed:
		st.Result, st.Code, st.Detail = OwnListed, a.Code.String(), a.Meaning
		st.Lookup, st.Cost, st.From = l.Lookup, l.Cost, l.From
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if texts, err := w.o.Resolver.TXT(short, name); err == nil {
			st.Text = l.say(texts)
		}
	case a.State == Clean:
		st.Result = OwnClean
	default:
		st.Result, st.Detail = OwnError, a.Fault
	}
}

const (
	ownKey  = "dnsbl/own/"
	keepOwn = 400 * 24 * time.Hour
)

// record is what the store keeps of a standing.
type record struct {
	Known   Result    `json:"known,omitempty"` // the last but errors
	Since   time.Time `json:"since,omitzero"`
	History []Change  `json:"history,omitempty"`
	Last    Standing  `json:"last"`
}

// note keeps a standing, adds what was known, and tells of a change.
func (w *Own) note(ctx context.Context, st *Standing) {
	if st.Result == OwnNotAsked || st.Checked.IsZero() {
		return
	}
	var r record
	key := ownKey + st.Subject + "/" + st.List
	if w.o.Store != nil {
		if raw, ok, err := w.o.Store.Get(ctx, key); err == nil && ok {
			_ = json.Unmarshal(raw, &r) // what cannot be read is begun again
		}
	}
	was := r.Known
	if st.Result != OwnError && st.Result != was {
		r.Known, r.Since = st.Result, st.Checked
		r.History = append(r.History, Change{At: st.Checked, Result: st.Result, Detail: st.Detail})
		r.History = r.History[max(len(r.History)-maxHistory, 0):]
	}
	st.Since, st.History = r.Since, r.History
	r.Last = *st
	r.Last.History = nil
	if w.o.Store != nil {
		raw, err := json.Marshal(r)
		if err == nil {
			err = w.o.Store.Keep(ctx, key, raw, keepOwn)
		}
		if err != nil && w.o.Log != nil {
			w.o.Log("how we stand on a DNS list could not be kept", err)
		}
	}
	// That all is well at the first look is no news.
	if r.Known != was && (was != "" || r.Known == OwnListed) {
		w.tell(OwnEvent{Standing: *st, Was: was, SinceBad: w.SinceBad()})
	}
}

func (w *Own) tell(e OwnEvent) {
	if w.o.Log != nil {
		switch e.Result {
		case OwnListed:
			w.o.Log("one of our own is on a DNS list", fmt.Errorf("%s on %s (%s): %s; %s", e.Subject, e.List, e.Code, e.Detail, e.Lookup))
		case OwnDead:
			w.o.Log("a DNS list that our own are looked up in is dead", fmt.Errorf("%s: %s", e.List, e.Detail))
		default:
			w.o.Log(fmt.Sprintf("%s is no longer on the DNS list %s", e.Subject, e.List), nil)
		}
	}
	if w.o.Alert != nil {
		w.o.Alert(e)
	}
}

// Last gives how what is configured stood in the last round, from the store.
func (w *Own) Last(ctx context.Context) ([]Standing, error) {
	out := []Standing{}
	if w.o.Store == nil {
		return out, nil
	}
	for _, s := range slices.Concat(w.o.Config.Addresses, w.o.Config.Domains) {
		items, err := w.o.Store.List(ctx, ownKey+s+"/", "", MaxLists)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			var r record
			if json.Unmarshal(it.Value, &r) == nil && strings.HasPrefix(it.Key, ownKey) {
				r.Last.Since, r.Last.History = r.Since, r.History
				out = append(out, r.Last)
			}
		}
		out = append(out, w.notAsked(s)...)
	}
	return out, nil
}
