// Package conduct remembers how clients behave across sessions: rates of what
// they do, points for what nobody of good will does, and bans. It is
// smtpproxy.Conduct.
//
// A client is an IPv4 address or an IPv6 /64 (a customer is given a /64: RFC
// 6177). Loopback and the exempt networks are never counted, refused or banned.
// Counters, points and bans live in a store.Store; a ban holds from the moment
// it is made, in memory, and is on the disk with the next batch; an operator's
// ban or unban is on the disk before the call returns.
//
// An act over its limit is refused and not counted: a client that keeps trying
// gets what its limit allows, minute by minute. A limit is never exceeded; the
// window may hold an act for an eighth of the minute too long (package store).
//
// It closes no connection and sends no reply: the wire does, always with 4xx.
// When the store cannot be asked, on_error says what follows; it is counted and
// logged once a minute.
//
// # Limits
//
// 20,000 bans of our own, then the one that ends soonest of a sample of 16
// makes room; 10,000 of the operator, then an error. A reason has 200 octets. Of
// all log lines, 200 a minute are written, the others counted. An attacker with
// a /48 of IPv6 has 65,536 clients: the operator can ban the /48.
package conduct

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"garita/smtpproxy"
	"garita/store"
)

// Logger is where refusals and bans are told; its methods escape what they
// are given.
type Logger interface {
	Warn(component, text string, attrs ...slog.Attr)
	Info(component, text string, attrs ...slog.Attr)
}

// Options are what New needs.
type Options struct {
	Config Config
	Store  store.Store
	Log    Logger           // nil: nowhere
	Now    func() time.Time // nil: time.Now
}

// Conduct counts and bans. It is safe for concurrent use, and outlives reloads:
// Update changes its configuration.
type Conduct struct {
	config atomic.Pointer[Config]
	store  store.Store
	now    func() time.Time
	log    diary
	bans   table

	counter counter // the store, if it is one

	operator sync.Mutex // one command at a time; it waits for the disk
	banMu    sync.Mutex // one change of bans in memory at a time; sessions take it

	refusals    [acts]atomic.Uint64
	observed    [acts]atomic.Uint64
	banned      atomic.Uint64 // acts of banned clients
	wouldBanned atomic.Uint64
	made        atomic.Uint64
	displaced   atomic.Uint64
	storeErrors atomic.Uint64
}

var _ smtpproxy.Conduct = (*Conduct)(nil)

// New takes the bans that the store has.
func New(o Options) (*Conduct, error) {
	if o.Store == nil {
		return nil, errors.New("conduct: no store")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Conduct{store: o.Store, now: o.Now}
	c.counter, _ = o.Store.(counter)
	c.log.to = o.Log
	if err := c.Update(o.Config); err != nil {
		return nil, err
	}
	return c, c.load()
}

// Update changes the configuration; a wrong one changes nothing. Counters and
// bans stay.
func (c *Conduct) Update(config Config) error {
	if err := errors.Join(config.Validate()...); err != nil {
		return err
	}
	config.Exempt = append([]netip.Prefix(nil), config.Exempt...)
	for i, p := range config.Exempt {
		config.Exempt[i] = p.Masked()
	}
	c.config.Store(&config)
	return nil
}

// Mode is the configured one.
func (c *Conduct) Mode() string { return c.config.Load().Mode }

// clientOf is who an address is counted as.
func clientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

func (c *Config) exempt(a netip.Addr) bool {
	if a.IsLoopback() || !a.IsValid() || a.IsUnspecified() {
		return true
	}
	for _, p := range c.Exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

const minute = time.Minute

// Note counts an act and says whether it is too much.
func (c *Conduct) Note(a netip.Addr, act smtpproxy.Act) smtpproxy.Ruling {
	k := c.config.Load()
	a = a.Unmap().WithZone("")
	bounce := act == smtpproxy.ActUnknownBounce
	if bounce {
		act = smtpproxy.ActUnknownRecipient // its rate, without points
	}
	if k.Mode == "off" || act == 0 || int(act) >= acts || k.exempt(a) {
		return smtpproxy.Ruling{}
	}
	enforce := k.Mode == "enforce"
	if b := c.find(a); b != nil {
		if enforce {
			c.banned.Add(1)
			return smtpproxy.Ruling{Refuse: true, Why: b.why()}
		}
		c.wouldBanned.Add(1)
		c.log.info(c.now(), logKey{b.Prefix, 0}, "observe: a banned client would be refused", slog.String("client", a.String()), slog.String("reason", b.Reason))
	}
	client := clientOf(a)
	over, err := c.over(k, client, act)
	if err == nil && !bounce {
		err = c.score(k, client, act, over)
	}
	if err != nil {
		return c.failed(k, err)
	}
	if !over {
		return smtpproxy.Ruling{}
	}
	limit := slog.Int("limit", k.limit(act))
	if !enforce {
		c.observed[act].Add(1)
		c.log.info(c.now(), logKey{client, act}, "observe: rate of "+words(act)+" would be refused", slog.String("client", client.String()), limit)
		return smtpproxy.Ruling{}
	}
	c.refusals[act].Add(1)
	c.log.info(c.now(), logKey{client, act}, "rate of "+words(act)+" refused", slog.String("client", client.String()), limit)
	return smtpproxy.Ruling{Refuse: true, Why: "rate of " + words(act) + ": over " + strconv.Itoa(k.limit(act)) + " a minute"}
}

// key makes the store's key of a client's counter, in one allocation.
func key(kind, name string, client netip.Prefix) string {
	var buf [96]byte
	b := append(buf[:0], kind...)
	b = append(b, name...)
	b = append(b, '/')
	return string(client.Addr().AppendTo(b))
}

// over counts the act against its rate.
func (c *Conduct) over(k *Config, client netip.Prefix, act smtpproxy.Act) (bool, error) {
	most := k.limit(act)
	if most == 0 {
		return false, nil
	}
	u, err := c.count(store.Window{Key: key("rate/", label(act), client), Span: minute, Max: int64(most), Cost: 1})
	return u.Over, err
}

// counter is a store that counts one act, which is never taken back, cheaper
// than by Reserve.
type counter interface {
	Count(store.Window) (store.Usage, error)
}

func (c *Conduct) count(w store.Window) (store.Usage, error) {
	if c.counter != nil {
		return c.counter.Count(w)
	}
	_, u, err := c.store.Reserve(context.Background(), []store.Window{w})
	if err != nil {
		return store.Usage{}, err
	}
	return u[0], nil
}

// points of an act; over says that it was more than its rate.
func points(act smtpproxy.Act, over bool) int64 {
	switch {
	case act == smtpproxy.ActJunk:
		return 2 // nobody abuses the protocol by a slip of the finger
	case act == smtpproxy.ActAuthFailure, act == smtpproxy.ActUnknownRecipient && over:
		return 1
	}
	return 0
}

// pointsKey holds the number of bans that the client has had: after a ban it
// begins with none.
func pointsKey(client netip.Prefix, h history) string {
	return key("points/", strconv.Itoa(h.Bans), client)
}

// score gives points, and a ban when there are enough.
func (c *Conduct) score(k *Config, client netip.Prefix, act smtpproxy.Act, over bool) error {
	n := points(act, over)
	if n == 0 || k.BanAfter == 0 {
		return nil
	}
	h, err := c.history(client)
	if err != nil {
		return err
	}
	u, err := c.count(store.Window{Key: pointsKey(client, h), Span: k.BanWindow, Cost: n})
	if err != nil || u.Used < int64(k.BanAfter) {
		return err
	}
	if k.Mode != "enforce" {
		c.log.info(c.now(), logKey{client, 0}, "observe: client would be banned", slog.String("client", client.String()), slog.String("reason", words(act)))
		return nil
	}
	return c.banByPoints(k, client, act)
}

// failed says what follows when the store cannot be asked.
func (c *Conduct) failed(k *Config, err error) smtpproxy.Ruling {
	c.storeErrors.Add(1)
	c.log.warn(c.now(), logKey{}, "the state of clients cannot be asked; on_error says what follows", slog.String("on_error", k.OnError), slog.String("error", err.Error()))
	if k.OnError == "defer" && k.Mode == "enforce" {
		return smtpproxy.Ruling{Refuse: true, Why: "state of clients cannot be asked"}
	}
	return smtpproxy.Ruling{}
}

// Stats are numbers for status and metrics; the keys of the maps are those of
// the configuration.
type Stats struct {
	Mode        string            `json:"mode"`
	Refused     map[string]uint64 `json:"refused"`      // acts over their rate
	WouldRefuse map[string]uint64 `json:"would_refuse"` // the same, in mode observe
	Banned      uint64            `json:"banned"`       // acts of banned clients that were refused
	WouldBanned uint64            `json:"would_banned"` // the same, in mode observe
	BansActive  int               `json:"bans_active"`  // now, ours and the operator's
	BansMade    uint64            `json:"bans_made"`    // by us
	Displaced   uint64            `json:"displaced"`    // bans that had to make room
	StoreErrors uint64            `json:"store_errors"` // acts that could not be counted
	Unlogged    uint64            `json:"unlogged"`     // lines over the bound of the log
}

// Stats counts.
func (c *Conduct) Stats() Stats {
	s := Stats{Mode: c.config.Load().Mode, Refused: map[string]uint64{}, WouldRefuse: map[string]uint64{},
		Banned: c.banned.Load(), WouldBanned: c.wouldBanned.Load(), BansActive: c.bans.active(c.now()),
		BansMade: c.made.Load(), Displaced: c.displaced.Load(), StoreErrors: c.storeErrors.Load(), Unlogged: c.log.unlogged.Load()}
	for a := 1; a < acts; a++ {
		name := label(smtpproxy.Act(a))
		s.Refused[name], s.WouldRefuse[name] = c.refusals[a].Load(), c.observed[a].Load()
	}
	return s
}
