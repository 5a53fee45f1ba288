package conduct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"garita/smtpproxy"
	"garita/store"
)

const (
	banPrefix   = "ban/"
	maxAuto     = 20_000
	maxOperator = 10_000
	maxReason   = 200
	// historyFor is how long a ban makes the next one longer.
	historyFor = 30 * 24 * time.Hour
	listPage   = 1000
)

// Who makes bans.
const (
	byConduct  = "conduct"
	byOperator = "operator"
)

// Ban is one ban.
type Ban struct {
	Prefix netip.Prefix `json:"prefix"`
	Reason string       `json:"reason"`
	By     string       `json:"by"` // conduct or operator
	Since  time.Time    `json:"since"`
	Until  time.Time    `json:"until,omitzero"` // zero: until it is lifted
	Times  int          `json:"times,omitempty"`
}

func (b *Ban) why() string {
	if b.Until.IsZero() {
		return "banned (" + b.Reason + ")"
	}
	return "banned until " + b.Until.UTC().Format("2006-01-02 15:04 UTC") + " (" + b.Reason + ")"
}

// Errors of the operator's methods.
var (
	ErrNotBanned = errors.New("is not banned")
	ErrRefused   = errors.New("cannot be banned")
	// ErrNotDurable: the change holds, and a restart may undo it.
	ErrNotDurable = errors.New("it holds, but could not be written; a restart may undo it")
)

// history is what is known of a client that was banned.
type history struct {
	Bans int `json:"bans"` // ever; names the counter of points
	Grow int `json:"grow"` // since an operator has lifted one
}

func historyKey(client netip.Prefix) string { return key("ban-history", "", client) }

func (c *Conduct) history(client netip.Prefix) (h history, err error) {
	raw, ok, err := c.store.Get(context.Background(), historyKey(client))
	if err != nil || !ok {
		return h, err
	}
	if json.Unmarshal(raw, &h) != nil || h.Bans < 0 || h.Grow < 0 {
		return history{}, nil // nobody of us wrote that
	}
	return h, nil
}

func (c *Conduct) remember(client netip.Prefix, h history) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return c.store.Put(context.Background(), historyKey(client), raw, historyFor)
}

// load reads the bans from the store.
func (c *Conduct) load() error {
	after := ""
	for {
		items, err := c.store.List(context.Background(), banPrefix, after, listPage)
		if err != nil {
			return fmt.Errorf("conduct: %w", err)
		}
		for _, it := range items {
			if b, ok := decodeBan(it); ok {
				c.bans.add(b)
			}
			after = it.Key
		}
		if len(items) < listPage {
			return nil
		}
	}
}

// decodeBan reads a ban; its end is the store's, which no clock has moved.
func decodeBan(it store.Item) (*Ban, bool) {
	b := &Ban{}
	if json.Unmarshal(it.Value, b) != nil || !b.Prefix.IsValid() || it.Key != banPrefix+b.Prefix.String() {
		return nil, false
	}
	b.Prefix, b.Until = b.Prefix.Masked(), it.Expires
	return b, true
}

// find gives the ban of an address. The table says where to look and the store
// whether it still holds; without an answer, the ban's own time does.
func (c *Conduct) find(a netip.Addr) *Ban {
	if c.bans.empty() {
		return nil
	}
	for _, b := range c.bans.of(a) {
		_, ok, err := c.store.Get(context.Background(), banPrefix+b.Prefix.String())
		if err != nil {
			c.storeErrors.Add(1)
			ok = b.Until.IsZero() || b.Until.After(c.now())
		}
		if ok {
			return b
		}
		c.bans.remove(b)
	}
	return nil
}

// banByPoints bans a client; many sessions may come to it at once, and one ban
// is made.
func (c *Conduct) banByPoints(k *Config, client netip.Prefix, act smtpproxy.Act) error {
	c.banMu.Lock()
	defer c.banMu.Unlock()
	if c.find(client.Addr()) != nil {
		return nil
	}
	h, err := c.history(client)
	if err != nil {
		return err
	}
	length := k.BanFor
	for range h.Grow {
		if length *= 2; length >= k.BanMax {
			length = k.BanMax
			break
		}
	}
	h.Bans, h.Grow = h.Bans+1, h.Grow+1
	b := &Ban{Prefix: client, Reason: words(act), By: byConduct, Since: c.now(), Until: c.now().Add(length), Times: h.Grow}
	if c.bans.count(byConduct) >= maxAuto {
		c.makeRoom()
	}
	if _, err := c.keep(b, length); err != nil {
		return err
	}
	c.made.Add(1)
	c.log.warn(c.now(), logKey{client, 0}, "client banned", slog.String("client", client.String()), slog.String("reason", b.Reason),
		slog.Duration("for", length), slog.Int("times", h.Grow))
	return c.remember(client, h)
}

// makeRoom drops what is over, else one that ends soon.
func (c *Conduct) makeRoom() {
	if c.bans.prune(c.now()) > 0 {
		return
	}
	if b := c.bans.soonest(); b != nil {
		c.bans.remove(b)
		c.displaced.Add(1)
		_ = c.store.Delete(context.Background(), banPrefix+b.Prefix.String())
	}
}

// keep puts a ban into store and table, without waiting for the disk.
func (c *Conduct) keep(b *Ban, length time.Duration) ([]byte, error) {
	raw, err := json.Marshal(b)
	if err == nil {
		err = c.store.Keep(context.Background(), banPrefix+b.Prefix.String(), raw, length)
	}
	if err == nil {
		c.bans.add(b)
	}
	return raw, err
}

// normal brings what an operator names to the form of a client: IPv4 as IPv4, an
// IPv6 address as its /64.
func normal(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Addr().Is6() && p.Bits() > 64 {
		p = netip.PrefixFrom(p.Addr(), 64)
	}
	return p.Masked()
}

// Ban bans a network for a time, 0 for ever. It returns when the ban is
// durable; ErrNotDurable means that it holds all the same.
func (c *Conduct) Ban(ctx context.Context, p netip.Prefix, length time.Duration, reason string) (Ban, error) {
	if !p.IsValid() {
		return Ban{}, fmt.Errorf("%w: it is not an address or network", ErrRefused)
	}
	p = normal(p)
	k := c.config.Load()
	widest := 8
	if p.Addr().Is6() {
		widest = 16
	}
	switch {
	case p.Bits() < widest:
		return Ban{}, fmt.Errorf("%s %w: a network of that size is a mistake; the largest is a /%d", p, ErrRefused, widest)
	case p.Overlaps(netip.MustParsePrefix("127.0.0.0/8")) || p.Overlaps(netip.MustParsePrefix("::1/128")):
		return Ban{}, fmt.Errorf("%s %w: it holds this machine", p, ErrRefused)
	case length < 0 || length > 10*longest:
		return Ban{}, fmt.Errorf("%s %w: %s is not a length of time that can be meant", p, ErrRefused, length)
	case len(reason) > maxReason:
		return Ban{}, fmt.Errorf("%s %w: the reason has more than %d octets", p, ErrRefused, maxReason)
	}
	for _, e := range k.Exempt {
		if e.Bits() <= p.Bits() && e.Contains(p.Addr()) {
			return Ban{}, fmt.Errorf("%s %w: conduct.exempt has %s, which a ban does not overrule", p, ErrRefused, e)
		}
	}
	if reason == "" {
		reason = "by the operator"
	}
	c.operator.Lock()
	defer c.operator.Unlock()
	if c.bans.count(byOperator) >= maxOperator {
		c.bans.prune(c.now())
		if c.bans.count(byOperator) >= maxOperator {
			return Ban{}, fmt.Errorf("%s %w: there are %d bans of the operator already; a firewall does this better", p, ErrRefused, maxOperator)
		}
	}
	b := &Ban{Prefix: p, Reason: strings.ToValidUTF8(reason, "?"), By: byOperator, Since: c.now()}
	if length > 0 {
		b.Until = c.now().Add(length)
	}
	// First in memory, so that it holds and a ban of our own does not come in
	// between; then without the lock for the disk, since sessions take that lock.
	c.banMu.Lock()
	raw, err := c.keep(b, length)
	c.banMu.Unlock()
	if err != nil {
		return Ban{}, fmt.Errorf("conduct: %w", err)
	}
	if err := c.store.PutNow(ctx, banPrefix+p.String(), raw, length); err != nil {
		return *b, fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return *b, nil
}

// Unban lifts the ban of exactly that network. The client begins anew: neither
// points nor earlier bans count. It returns when that is durable.
func (c *Conduct) Unban(ctx context.Context, p netip.Prefix) (Ban, error) {
	if !p.IsValid() {
		return Ban{}, fmt.Errorf("it is not an address or network: it %w", ErrNotBanned)
	}
	p = normal(p)
	c.operator.Lock()
	defer c.operator.Unlock()
	b, err := c.lift(p)
	if err != nil {
		return Ban{}, err
	}
	if err := c.store.DeleteNow(ctx, banPrefix+p.String()); err != nil {
		return *b, fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return *b, nil
}

// lift lifts a ban in memory.
func (c *Conduct) lift(p netip.Prefix) (*Ban, error) {
	c.banMu.Lock()
	defer c.banMu.Unlock()
	b := c.bans.get(p)
	if b == nil || b.over(c.now()) {
		if wider := c.find(p.Addr()); wider != nil && wider.Prefix.Bits() < p.Bits() {
			return nil, fmt.Errorf("%s %w by itself, but as a part of %s", p, ErrNotBanned, wider.Prefix)
		}
		return nil, fmt.Errorf("%s %w", p, ErrNotBanned)
	}
	c.bans.remove(b)
	if p == clientOf(p.Addr()) {
		h, err := c.history(p)
		if err == nil {
			// The counter of points gets another name, so that old ones are
			// those of another life.
			err = c.remember(p, history{Bans: h.Bans + 1})
		}
		if err != nil {
			c.storeErrors.Add(1)
		}
	}
	return b, c.store.Delete(context.Background(), banPrefix+p.String())
}

// List gives the bans that hold, by network.
func (c *Conduct) List() []Ban {
	c.bans.prune(c.now())
	all := c.bans.all()
	slices.SortFunc(all, func(a, b Ban) int { return a.Prefix.Compare(b.Prefix) })
	return all
}

// Rate is how much of a limit a client has used.
type Rate struct {
	Act  string `json:"act"`
	Used int64  `json:"used"`
	Max  int    `json:"max"` // a minute; 0 is off
}

// Standing is all that is known of a client.
type Standing struct {
	Address  netip.Addr   `json:"address"`
	Client   netip.Prefix `json:"client"` // who it is counted as
	Mode     string       `json:"mode"`
	Exempt   bool         `json:"exempt"`
	Ban      *Ban         `json:"ban,omitempty"`
	Rates    []Rate       `json:"rates"`
	Points   int64        `json:"points"`
	BanAfter int          `json:"ban_after"`
	Bans     int          `json:"bans"` // earlier ones that make the next longer
}

// Check tells how a client stands and changes nothing.
func (c *Conduct) Check(a netip.Addr) (Standing, error) {
	k := c.config.Load()
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return Standing{}, errors.New("not an address")
	}
	client := clientOf(a)
	s := Standing{Address: a, Client: client, Mode: k.Mode, Exempt: k.exempt(a), Ban: c.find(a), BanAfter: k.BanAfter}
	h, err := c.history(client)
	if err != nil {
		return s, err
	}
	s.Bans = h.Grow
	var windows []store.Window
	for n := 1; n < acts; n++ {
		windows = append(windows, store.Window{Key: key("rate/", label(smtpproxy.Act(n)), client), Span: minute})
	}
	windows = append(windows, store.Window{Key: pointsKey(client, h), Span: k.BanWindow})
	_, u, err := c.store.Reserve(context.Background(), windows)
	if err != nil {
		return s, err
	}
	for n := 1; n < acts; n++ {
		s.Rates = append(s.Rates, Rate{label(smtpproxy.Act(n)), u[n-1].Used, k.limit(smtpproxy.Act(n))})
	}
	s.Points = u[acts-1].Used
	return s, nil
}
