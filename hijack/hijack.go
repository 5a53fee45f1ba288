// Package hijack tells when an account no longer sends like its owner: a
// stolen password is used by somebody else, who writes to strangers, in a
// hurry, from many places, the same text again and again (attacks Q-14).
//
// It compares each user with his own past alone. The past is a ring of the
// last Days days on which he sent, the people whom he has written to, the
// hours at which he writes and the networks from which he does. What is new
// gives points; their sum is the score, and each part of it is a Reason that a
// person can read.
//
// An attack does not teach itself: what is refused or held is not learned, a
// day on which a case was open is learned as an ordinary one at most, people
// written to in a case stay strangers, and any day may be half above the
// second largest so far and no more. A person who says that all is well (Trust)
// is believed: then all of it is learned.
//
// It knows nothing of SMTP and reads no message but by Digest. It fails
// towards passing mail: the error of a store comes back with no judgement.
//
// # Time
//
// Windows and times to live are those of the store, which no jump of the wall
// clock moves. Days and hours of habit are those of the wall clock; a jump
// closes a day early and that is all (attacks Q-05).
//
// # Limits
//
// A user's state has at most maxProfile, maxRecent and maxKnown octets, in
// values of the store that end after forgotten, and a dozen windows. Values may
// be evicted: who has lost his past is judged as a newcomer, which is milder to
// bursts. Two gateways that judge one user in the same millisecond may lose one
// of two additions to his past; windows, which the score rests on, lose none.
// Who writes slowly enough to stay within twice the habits of a quiet user is
// not found until a week has added up.
package hijack

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"

	"garita/store"
)

// Defaults of Options.
const (
	DefaultHoldAt = 10.0
	DefaultCase   = 24 * time.Hour
)

const (
	// forgotten is how long the past of a user is kept who sends nothing.
	forgotten = 180 * 24 * time.Hour
	// longest window, and so how long an epoch must be remembered.
	longest = 8 * 24 * time.Hour
	// again is how often an open case is written anew while it goes on.
	again = 10 * time.Minute
	// stripes of the locks of users.
	stripes = 64

	prefix        = "hijack/"
	prefixProfile = prefix + "p/"
	prefixKnown   = prefix + "k/"
	prefixRecent  = prefix + "r/"
	prefixCase    = prefix + "c/"
	prefixTrust   = prefix + "t/"
	prefixParked  = prefix + "q/" // strangers of an open case
	prefixWindow  = prefix + "w/"
)

// Options are what a Detector is made of.
type Options struct {
	Store  store.Store
	Now    func() time.Time // nil: time.Now
	HoldAt float64          // score at which a case begins; 0: DefaultHoldAt
	Case   time.Duration    // how long a case stays open after its last message; 0: DefaultCase
}

// Detector judges. It is safe for concurrent use.
type Detector struct {
	o     Options
	seed  maphash.Seed
	locks [stripes]sync.Mutex
}

// New makes a detector.
func New(o Options) *Detector {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.HoldAt <= 0 {
		o.HoldAt = DefaultHoldAt
	}
	if o.Case <= 0 {
		o.Case = DefaultCase
	}
	return &Detector{o: o, seed: maphash.MakeSeed()}
}

// Recipient is one of a letter.
type Recipient struct {
	Address, Domain string
	// Ours tells a domain of ours: a colleague counts a quarter of a stranger.
	Ours bool
}

// Letter is one message of a user.
type Letter struct {
	User       string // canonical
	Recipients []Recipient
	// From is the address of the user's own machine; invalid where it is not
	// known whose it is.
	From netip.Addr
	Text Digest
}

// Case is a suspicion that is open: until a person says that all is well, or
// nothing suspicious has come for a while.
type Case struct {
	User    string    `json:"user"`
	Since   time.Time `json:"since"`
	Last    time.Time `json:"last"`
	Score   float64   `json:"score"` // the highest
	Reasons []Reason  `json:"reasons"`
	Epoch   int64     `json:"epoch,omitempty"`
}

// Trust is a person's word that a user is himself.
type Trust struct {
	User  string    `json:"user"`
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	Epoch int64     `json:"epoch"` // windows and letters of before do not count
}

// Judgement is what is thought of a letter. Done ends it.
type Judgement struct {
	Score   float64
	Reasons []Reason
	// Suspect tells an open case; Opened that this letter has opened it.
	Suspect, Opened bool
	// Trusted tells that a person vouches for the user now.
	Trusted bool
	Case    Case // when Suspect

	user             string
	epoch            int64
	strangers        []uint32
	weight, alike, n int
	net              uint32
	from             bool
}

func (d *Detector) lock(user string) func() {
	m := &d.locks[maphash.String(d.seed, user)%stripes]
	m.Lock()
	return m.Unlock
}

// windows of a letter, in the order of act.
const (
	wLettersHour = iota
	wLettersDay
	wRcptHour
	wRcptDay
	wNewHour // in quarters of a stranger
	wNewDay
	wNewWeek
	wToNewHour // letters with a stranger
	wToNewDay
	wToNewWeek
	wRefusedDay
	windowCount
)

func keyOf(user string, epoch int64, what string) string {
	if epoch == 0 {
		return prefixWindow + user + "/" + what
	}
	return fmt.Sprintf("%s%s/%d/%s", prefixWindow, user, epoch, what)
}

// act are the windows that a letter counts in. Parts of five minutes, an hour
// and six hours: a window may be one part long-sighted.
func act(user string, epoch int64, letters, rcpts, weight, toNew, refused int64) []store.Window {
	const hour, day, week = time.Hour, 24 * time.Hour, 7 * 24 * time.Hour
	m, r, n, t := keyOf(user, epoch, "m"), keyOf(user, epoch, "r"), keyOf(user, epoch, "n"), keyOf(user, epoch, "t")
	return []store.Window{
		{Key: m, Span: hour, Cost: letters, Buckets: 12}, {Key: m, Span: day, Cost: letters, Buckets: 24},
		{Key: r, Span: hour, Cost: rcpts, Buckets: 12}, {Key: r, Span: day, Cost: rcpts, Buckets: 24},
		{Key: n, Span: hour, Cost: weight, Buckets: 12}, {Key: n, Span: day, Cost: weight, Buckets: 24}, {Key: n, Span: week, Cost: weight, Buckets: 28},
		{Key: t, Span: hour, Cost: toNew, Buckets: 12}, {Key: t, Span: day, Cost: toNew, Buckets: 24}, {Key: t, Span: week, Cost: toNew, Buckets: 28},
		{Key: keyOf(user, epoch, "f"), Span: day, Cost: refused, Buckets: 24},
	}
}

// Judge counts a letter and says what is to be thought of its sender. It must
// be ended by Done, once.
func (d *Detector) Judge(ctx context.Context, l *Letter) (*Judgement, error) {
	defer d.lock(l.User)()
	now := d.o.Now()
	j := &Judgement{user: l.User, n: len(l.Recipients)}
	t, err := d.trust(ctx, l.User)
	if err != nil {
		return nil, err
	}
	j.epoch, j.Trusted = t.Epoch, vouched(t, now)
	raw, _, err := d.o.Store.Get(ctx, prefixKnown+l.User)
	if err != nil {
		return nil, err
	}
	toNew, domains := j.strange(l, raw)
	var p profile
	if raw, _, err = d.o.Store.Get(ctx, prefixProfile+l.User); err != nil {
		return nil, err
	}
	p.read(raw)
	rkey := fmt.Sprintf("%s%s/%d", prefixRecent, l.User, j.epoch)
	if raw, _, err = d.o.Store.Get(ctx, rkey); err != nil {
		return nil, err
	}
	var rec recent
	rec.read(raw)
	f := rec.add(now, l.Text, toNew > 0, domains)
	if network, ok := networkOf(l.From); ok {
		j.net, j.from = network, true
		if !p.usual(network) {
			rec.from(now, network)
		}
	}
	f.networks = rec.networks(now)
	j.alike = f.alike
	_, used, err := d.o.Store.Reserve(ctx, act(l.User, j.epoch, 1, int64(j.n), int64(j.weight), int64(toNew), 0))
	if err != nil {
		return nil, err
	}
	if err := d.o.Store.Put(ctx, rkey, rec.bytes(), longest); err != nil {
		return nil, err
	}
	for i := range used {
		f.used[i] = used[i].Used
	}
	f.strangers, f.hour, f.trusted = toNew > 0, now.Hour(), j.Trusted
	j.Score, j.Reasons = score(&f, &p)
	return j, d.settle(ctx, j, now)
}

// strange notes who of the recipients is new; the domains are those of
// strangers.
func (j *Judgement) strange(l *Letter, raw []byte) (toNew int, domains []uint32) {
	known := knownOf(raw, len(l.Recipients))
	for i := range l.Recipients {
		r := &l.Recipients[i]
		h := fingerprint(l.User, r.Address)
		if known.has(h) {
			continue
		}
		j.strangers, toNew = append(j.strangers, h), 1
		if r.Ours {
			j.weight++
			continue
		}
		j.weight += 4
		if len(domains) < maxDomains {
			domains = append(domains, fingerprint("", r.Domain))
		}
	}
	return toNew, domains
}

// settle opens a case, or finds one that is open.
func (d *Detector) settle(ctx context.Context, j *Judgement, now time.Time) error {
	if j.Trusted {
		return nil
	}
	c, open, err := d.caseOf(ctx, j.user, j.epoch)
	if err != nil {
		return err
	}
	over := j.Score >= d.o.HoldAt
	if !open && !over {
		return nil
	}
	if !open {
		c = Case{User: j.user, Since: now.UTC().Truncate(time.Second), Epoch: j.epoch}
	}
	write := !open
	if over {
		if past := now.Sub(c.Last); past < 0 || past >= again {
			write = true
		}
		if j.Score >= c.Score {
			write = write || j.Score >= c.Score+1
			c.Score, c.Reasons = j.Score, j.Reasons
		}
	}
	j.Suspect, j.Opened = true, !open
	if write {
		c.Last = now.UTC().Truncate(time.Second)
		raw, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := d.o.Store.Keep(ctx, prefixCase+j.user, raw, d.o.Case); err != nil {
			// No room for a case: this letter is judged all the same.
			j.Case = c
			return nil
		}
	}
	j.Case = c
	return nil
}

// Done says how a letter ended: what has passed is learned. refused are
// recipients that the next hop would not have.
func (d *Detector) Done(ctx context.Context, j *Judgement, passed bool, refused int) error {
	defer d.lock(j.user)()
	if refused > 0 {
		if err := d.refused(ctx, j.user, j.epoch, refused); err != nil {
			return err
		}
	}
	if j.Suspect && len(j.strangers) > 0 {
		// They are people he knows once somebody says that it was himself.
		raw, _, err := d.o.Store.Get(ctx, prefixParked+j.user)
		if err != nil {
			return err
		}
		if err := d.o.Store.Put(ctx, prefixParked+j.user, addKnown(raw, j.strangers), d.o.Case); err != nil {
			return err
		}
	}
	if !passed {
		return nil
	}
	now := d.o.Now()
	raw, _, err := d.o.Store.Get(ctx, prefixProfile+j.user)
	if err != nil {
		return err
	}
	var p profile
	p.read(raw)
	p.learn(now, j, refused)
	if err := d.o.Store.Put(ctx, prefixProfile+j.user, p.bytes(), forgotten); err != nil {
		return err
	}
	if len(j.strangers) == 0 || j.Suspect {
		return nil
	}
	if raw, _, err = d.o.Store.Get(ctx, prefixKnown+j.user); err != nil {
		return err
	}
	return d.o.Store.Put(ctx, prefixKnown+j.user, addKnown(raw, j.strangers), forgotten)
}

// Refused counts recipients of a user that the next hop would not have, in a
// transaction without a letter.
func (d *Detector) Refused(ctx context.Context, user string, n int) error {
	t, err := d.trust(ctx, user)
	if err != nil {
		return err
	}
	return d.refused(ctx, user, t.Epoch, n)
}

func (d *Detector) refused(ctx context.Context, user string, epoch int64, n int) error {
	_, _, err := d.o.Store.Reserve(ctx, act(user, epoch, 0, 0, 0, 0, int64(n))[wRefusedDay:])
	return err
}

func vouched(t Trust, now time.Time) bool {
	return now.Before(t.Until) && !now.Before(t.At.Add(-time.Hour))
}

func (d *Detector) trust(ctx context.Context, user string) (t Trust, err error) {
	raw, ok, err := d.o.Store.Get(ctx, prefixTrust+user)
	if err != nil || !ok {
		return t, err
	}
	if json.Unmarshal(raw, &t) != nil || t.User != user {
		return Trust{}, nil
	}
	return t, nil
}

func (d *Detector) caseOf(ctx context.Context, user string, epoch int64) (c Case, open bool, err error) {
	raw, ok, err := d.o.Store.Get(ctx, prefixCase+user)
	if err != nil || !ok {
		return c, false, err
	}
	if json.Unmarshal(raw, &c) != nil || c.User != user || c.Epoch != epoch {
		return Case{}, false, nil
	}
	return c, true, nil
}

// Trust says that a user is himself: an open case ends, what he sent before
// does not count any more, and for so long nothing of his is suspicious and all
// of it is learned. With 0 the case ends and that is all. It is durable when it
// returns without an error.
func (d *Detector) Trust(ctx context.Context, user, by string, span time.Duration) (Trust, error) {
	defer d.lock(user)()
	old, err := d.trust(ctx, user)
	if err != nil {
		return Trust{}, err
	}
	now := d.o.Now().UTC()
	t := Trust{User: user, By: cut(by), At: now.Truncate(time.Second), Until: now.Add(span), Epoch: max(old.Epoch+1, now.UnixMilli())}
	raw, err := json.Marshal(t)
	if err != nil {
		return t, err
	}
	if err := d.o.Store.PutNow(ctx, prefixTrust+user, raw, max(span, longest)); err != nil {
		return t, err
	}
	if span > 0 {
		if err := d.believe(ctx, user, old.Epoch); err != nil {
			return t, err
		}
	}
	if err := d.o.Store.Delete(ctx, prefixParked+user); err != nil {
		return t, err
	}
	return t, d.o.Store.DeleteNow(ctx, prefixCase+user)
}

// believe learns what was held back of a case that was none.
func (d *Detector) believe(ctx context.Context, user string, epoch int64) error {
	raw, _, err := d.o.Store.Get(ctx, prefixProfile+user)
	if err != nil {
		return err
	}
	var p profile
	p.read(raw)
	used, err := d.o.Store.Peek(ctx, act(user, epoch, 0, 0, 0, 0, 0))
	if err != nil {
		return err
	}
	c, _, err := d.caseOf(ctx, user, epoch)
	if err != nil {
		return err
	}
	if date, _ := dateOf(d.o.Now()); p.date != date {
		p.close()
		p.date = date
	}
	p.believe(used, c.Reasons)
	if err := d.o.Store.Put(ctx, prefixProfile+user, p.bytes(), forgotten); err != nil {
		return err
	}
	parked, ok, err := d.o.Store.Get(ctx, prefixParked+user)
	if err != nil || !ok {
		return err
	}
	if raw, _, err = d.o.Store.Get(ctx, prefixKnown+user); err != nil {
		return err
	}
	list := make([]uint32, len(parked)/4)
	for i := range list {
		list[i] = binary.LittleEndian.Uint32(parked[4*i:])
	}
	return d.o.Store.Put(ctx, prefixKnown+user, addKnown(raw, list), forgotten)
}

func cut(s string) string {
	const most = 200
	for len(s) > most || !utf8.ValidString(s) {
		if len(s) <= most {
			return ""
		}
		s = s[:most]
		for len(s) > 0 && !utf8.ValidString(s) && len(s) > most-utf8.UTFMax {
			s = s[:len(s)-1]
		}
	}
	return s
}

// State is all that is known of a user, for a person.
type State struct {
	User       string `json:"user"`
	Case       *Case  `json:"case,omitempty"`
	Trust      *Trust `json:"trust,omitempty"` // while it holds
	Days       int    `json:"days"`            // on which he sent, as far as remembered
	Known      int    `json:"known_recipients"`
	BusiestDay int    `json:"busiest_day"` // letters
	Busiest    int    `json:"busiest_hour"`
	NewDay     int    `json:"most_new_in_a_day"` // strangers
	NewHour    int    `json:"most_new_in_an_hour"`
}

// State tells it; it counts nothing.
func (d *Detector) State(ctx context.Context, user string) (State, error) {
	out := State{User: user}
	t, err := d.trust(ctx, user)
	if err != nil {
		return out, err
	}
	if vouched(t, d.o.Now()) {
		out.Trust = &t
	}
	c, open, err := d.caseOf(ctx, user, t.Epoch)
	if err != nil {
		return out, err
	}
	if open {
		out.Case = &c
	}
	raw, _, err := d.o.Store.Get(ctx, prefixProfile+user)
	if err != nil {
		return out, err
	}
	var p profile
	p.read(raw)
	out.Days = p.count
	out.BusiestDay, out.Busiest = p.most(dayLetters), p.most(hourLetters)
	out.NewDay, out.NewHour = (p.most(dayNew)+3)/4, (p.most(hourNew)+3)/4
	raw, _, err = d.o.Store.Get(ctx, prefixKnown+user)
	out.Known = len(raw) / 4
	return out, err
}

// Cases gives the open ones, by user, at most so many.
func (d *Detector) Cases(ctx context.Context, limit int) ([]Case, error) {
	items, err := d.o.Store.List(ctx, prefixCase, "", limit)
	if err != nil {
		return nil, err
	}
	out := make([]Case, 0, len(items))
	for _, it := range items {
		user := it.Key[len(prefixCase):]
		t, err := d.trust(ctx, user)
		if err != nil {
			return nil, err
		}
		if c, open, err := d.caseOf(ctx, user, t.Epoch); err != nil {
			return nil, err
		} else if open {
			out = append(out, c)
		}
	}
	return out, nil
}
