package greylist

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"garita/mail"
	"garita/store"
)

// Kinds of entries.
const (
	KindTriplet = "triplet" // waits, or has come back
	KindClient  = "client"  // has come back often
	KindPass    = "pass"    // by command
	KindPair    = "pair"    // our user wrote to them
)

// Entry is one thing that the table knows, as commands show it.
type Entry struct {
	Key       string    `json:"key"` // names it for forget
	Kind      string    `json:"kind"`
	Client    string    `json:"client,omitempty"` // network, address or @domain
	Sender    string    `json:"sender,omitempty"`
	Recipient string    `json:"recipient,omitempty"`
	Count     int64     `json:"count,omitempty"` // of a client
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	// Waiting tells a triplet that has not come back after Delay.
	Waiting bool `json:"waiting,omitempty"`
}

// Filter picks entries; empty fields pick all.
type Filter struct {
	Kind      string `json:"kind,omitempty"`
	Client    string `json:"client,omitempty"`    // an address, network or @domain
	Sender    string `json:"sender,omitempty"`    // an address or @domain
	Recipient string `json:"recipient,omitempty"` // an address or @domain
	Waiting   bool   `json:"waiting,omitempty"`
	After     string `json:"after,omitempty"` // the key of the last entry before
	Limit     int    `json:"limit,omitempty"`
}

const (
	// maxPage and maxOctets bound one answer, as JSON.
	maxPage   = 1000
	maxOctets = 300 << 10
	// scan is how many rows the store is asked for at once: it looks at all
	// that it has each time.
	scan = 100_000
)

// Admin is the table as commands see it. Delay is by which Waiting is told,
// IPv4 and IPv6 the lengths of networks; zero is the default.
type Admin struct {
	Store      store.Store
	Delay      time.Duration
	IPv4, IPv6 int
	Now        func() time.Time
}

// ErrUnclear is a mistake in what an operator asks for.
var ErrUnclear = errors.New("not understood")

// List gives a page of entries, and whether more follow.
func (a *Admin) List(ctx context.Context, f Filter) (page []Entry, more bool, err error) {
	if f.Limit <= 0 || f.Limit > maxPage {
		f.Limit = maxPage
	}
	prefix, ok := map[string]string{"": "greylist/", KindTriplet: tripletPrefix, KindClient: clientPrefix, KindPass: passPrefix, KindPair: wrotePrefix}[f.Kind]
	if !ok {
		return nil, false, fmt.Errorf("%w: kind %.20q", ErrUnclear, f.Kind)
	}
	off, err := a.offset(ctx)
	if err != nil {
		return nil, false, err
	}
	page = []Entry{}
	octets := 0
	after, ok := inKey(f.After)
	if !ok {
		return nil, false, fmt.Errorf("%w: %.60q is no key", ErrUnclear, f.After)
	}
	for {
		// One look through the store for many rows: it sorts them each time.
		items, err := a.Store.List(ctx, prefix, after, scan)
		if err != nil {
			return nil, false, err
		}
		for i := range items {
			after = items[i].Key
			e, ok := a.entry(&items[i], off)
			if !ok || !a.fits(&f, &e) {
				continue
			}
			octets += e.weight()
			if len(page) == f.Limit || octets > maxOctets && len(page) > 0 {
				return page, true, nil
			}
			page = append(page, e)
		}
		if len(items) < scan {
			return page, false, nil
		}
	}
}

// weight bounds the octets of an entry in JSON, where a strange one takes six.
func (e *Entry) weight() int {
	n := 300
	for _, s := range []string{e.Key, e.Client, e.Sender, e.Recipient} {
		for i := 0; i < len(s); i++ {
			if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\\<>&`, c) >= 0 {
				n += 5
			}
			n++
		}
	}
	return n
}

// offset is what must be added to a time of the table for one of the wall.
func (a *Admin) offset(ctx context.Context) (int64, error) {
	raw, _, err := a.Store.Get(ctx, clockKey)
	if err != nil {
		return 0, err
	}
	table, wall, ok := decode(raw)
	if !ok {
		return 0, nil
	}
	return wall - table, nil
}

func (a *Admin) entry(it *store.Item, off int64) (Entry, bool) {
	e := Entry{Key: outKey(it.Key), Expires: it.Expires}
	x, y, ok := decode(it.Value)
	at := func(n int64) time.Time { return time.Unix(n+off, 0).UTC() }
	switch {
	case strings.HasPrefix(it.Key, tripletPrefix) && ok:
		e.Kind = KindTriplet
		rest := it.Key[len(tripletPrefix):]
		var more string
		e.Client, more, _ = strings.Cut(rest, "/")
		// A slash may stand in an address: the recipient begins at the one
		// after the sender's domain.
		cut := strings.IndexByte(more, '/')
		if at := strings.IndexByte(more, '@'); at >= 0 && cut > 0 && cut < at {
			if i := strings.IndexByte(more[at:], '/'); i >= 0 {
				cut = at + i
			}
		}
		if cut >= 0 {
			e.Sender, e.Recipient = more[:cut], more[cut+1:]
		}
		e.First, e.Last = at(x), at(y)
		delay := a.Delay
		if delay <= 0 {
			delay = DefaultDelay
		}
		e.Waiting = y-x < seconds(delay)
	case strings.HasPrefix(it.Key, clientPrefix) && ok:
		e.Kind, e.Client, e.Count, e.Last = KindClient, it.Key[len(clientPrefix):], x, at(y)
	case strings.HasPrefix(it.Key, passPrefix):
		e.Kind, e.Client = KindPass, it.Key[len(passPrefix):]
	case strings.HasPrefix(it.Key, wrotePrefix) && ok:
		e.Kind, e.Last = KindPair, at(y)
		// Ours is the recipient of what comes back.
		e.Recipient, e.Sender, _ = strings.Cut(it.Key[len(wrotePrefix):], "/")
	default:
		return e, false
	}
	return e, true
}

func (a *Admin) fits(f *Filter, e *Entry) bool {
	if f.Waiting && !e.Waiting {
		return false
	}
	return fitsAddress(f.Sender, e.Sender) && fitsAddress(f.Recipient, e.Recipient) && a.fitsClient(f.Client, e.Client)
}

func fitsAddress(want, have string) bool {
	want = lower(want)
	switch {
	case want == "":
		return true
	case want == "<>":
		return have == ""
	case want[0] == '@':
		return strings.HasSuffix(have, want)
	}
	return have == want || have == lower(plainSender(want))
}

func (a *Admin) fitsClient(want, have string) bool {
	if want == "" {
		return true
	}
	if p, err := netip.ParsePrefix(want); err == nil {
		ip, err := netip.ParseAddr(have)
		return err == nil && p.Contains(ip)
	}
	if ip, err := netip.ParseAddr(want); err == nil {
		return have == ip.Unmap().String() || have == a.network(ip)
	}
	return have == lower(want)
}

func (a *Admin) network(ip netip.Addr) string {
	v4, v6 := a.IPv4, a.IPv6
	if v4 <= 0 {
		v4 = 24
	}
	if v6 <= 0 {
		v6 = 64
	}
	return network(ip, v4, v6)
}

// Pass lets all mail of a client's network, or of an authenticated domain
// ("@domain"), pass for that long; 0 is until forget. It is durable when it
// returns without an error.
func (a *Admin) Pass(ctx context.Context, who string, length time.Duration) (Entry, error) {
	key := ""
	if ip, err := netip.ParseAddr(who); err == nil && ip.Zone() == "" {
		key = a.network(ip)
	} else if name, ok := strings.CutPrefix(who, "@"); ok && mail.ValidDomain(name, false) {
		key = "@" + lower(name)
	} else {
		return Entry{}, fmt.Errorf("%w: %.60q is neither an address nor @domain", ErrUnclear, who)
	}
	e := Entry{Key: passPrefix + key, Kind: KindPass, Client: key}
	if length > 0 {
		e.Expires = a.now().Add(length).UTC()
	}
	return e, a.Store.PutNow(ctx, e.Key, []byte{1}, length)
}

func (a *Admin) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// Forget removes entries by their keys, durably.
func (a *Admin) Forget(ctx context.Context, keys []string) error {
	keys = slices.Clone(keys)
	for i, k := range keys {
		var ok bool
		if keys[i], ok = inKey(k); !ok {
			return fmt.Errorf("%w: %.60q is no key", ErrUnclear, k)
		}
		k = keys[i]
		if !strings.HasPrefix(k, "greylist/") || k == clockKey {
			return fmt.Errorf("%w: %.60q is no entry of the greylist", ErrUnclear, k)
		}
	}
	for i, k := range keys {
		del := a.Store.Delete
		if i == len(keys)-1 {
			del = a.Store.DeleteNow // the commit has those before in it
		}
		if err := del(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// hexPrefix begins a key that JSON could not carry: addresses are hostile text.
const hexPrefix = "hex:"

func outKey(k string) string {
	if utf8.ValidString(k) {
		return k
	}
	return hexPrefix + hex.EncodeToString([]byte(k))
}

func inKey(k string) (string, bool) {
	text, ok := strings.CutPrefix(k, hexPrefix)
	if !ok {
		return k, true
	}
	raw, err := hex.DecodeString(text)
	return string(raw), err == nil
}
