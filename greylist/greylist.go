// Package greylist is greylisting: who comes for the first time is asked to
// come back, and who does is let in and remembered (RFC 6647). The algorithm is
// that of postgrey 1.37, in its order and with its numbers, over a store.Store;
// a request may bring an authenticated domain, which then stands in the place
// of the client's network.
//
// It does not decide who is greylisted at all, and it answers nobody: the check
// filters/greylist does the one, the engine and the wire the other.
//
// It fails towards letting mail pass: a store that gives an error, or nothing
// within Options.Wait, makes the answer Pass with the reason Fault, and for
// Options.Rest after that the store is not asked at all. A table that has more
// newcomers than it may hold greylists no more newcomers until there is room;
// one network gets a share of that room alone.
//
// # Limits
//
// Times are seconds. They run on the steady clock of the process, so that a
// jump of the wall clock neither lets anybody in nor keeps anybody out; over a
// restart they go on by what the wall clock says has passed, unless that is
// negative or more than a week. Options.Newcomers bounds the triplets that may
// wait, Options.Pairs the correspondents that are learned in a day, and the
// store has a bound of its own for all of them; it drops those first that never
// came back. A key longer than a store may take is kept as its digest.
package greylist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"garita/store"
)

// Postgrey's own numbers, and ours for what it has not.
const (
	DefaultDelay       = 5 * time.Minute
	DefaultRetryWindow = 48 * time.Hour
	DefaultMaxAge      = 35 * 24 * time.Hour
	DefaultAutoPass    = 5
	DefaultNewcomers   = 100_000
	DefaultPairs       = 50_000
	DefaultPairAge     = 60 * 24 * time.Hour
	defaultWait        = 200 * time.Millisecond
	defaultRest        = 2 * time.Second
	// autoPassEvery is how often a client's success counts, in seconds.
	autoPassEvery = 3600
	// rewrite is how old the time of a triplet that passes may be, in seconds.
	rewrite = 60
)

// Options are what a Table is made of. Zero numbers are the defaults, but
// AutoPass, where zero is never.
type Options struct {
	Store       store.Store
	RetryWindow time.Duration
	MaxAge      time.Duration
	// AutoPass is how many times a client must have come back, an hour apart,
	// until all its mail passes.
	AutoPass int
	// IPv4 and IPv6 are the lengths of the networks that stand for a client.
	IPv4, IPv6 int
	// Newcomers bounds the triplets that wait.
	Newcomers int
	// Pairs bounds the correspondents that are learned in a day; PairAge is how
	// long they count.
	Pairs   int
	PairAge time.Duration
	// Wait is how long the store may take, Rest how long it is left alone after
	// a fault.
	Wait, Rest time.Duration
	// Now is the wall clock, nil for time.Now. Steady is the time since some
	// moment, which no setting of the wall clock moves; nil derives it from Now.
	Now    func() time.Time
	Steady func() time.Duration
	// Log hears of what an operator should know; nil: nobody.
	Log func(text string, err error)
}

// Request is one triplet.
type Request struct {
	Client netip.Addr
	// Domain is the sender's authenticated domain; empty: the client's network
	// stands for it.
	Domain string
	// Sender and Recipient are addresses as the client gave them.
	Sender, Recipient string
	// Delay is how long a newcomer waits; 0 is DefaultDelay.
	Delay time.Duration

	crowd bool // all newcomers of a network that has too many
}

// Reason is why an answer is what it is.
type Reason uint8

// The reasons, in the words of postgrey where it has one.
const (
	Newcomer  Reason = iota + 1 // delayed: never seen, or not within the retry window
	Early                       // delayed: back too soon
	Known                       // passes: has come back
	AutoPass                    // passes: the client has come back often enough
	Commanded                   // passes: by garita greylist pass
	Fault                       // passes: the store said nothing
	Full                        // passes: there is no room for more newcomers
)

// String gives the reason for logs.
func (r Reason) String() string {
	switch r {
	case Newcomer:
		return "new"
	case Early:
		return "early-retry"
	case Known:
		return "triplet found"
	case AutoPass:
		return "client AWL"
	case Commanded:
		return "passed by command"
	case Fault:
		return "store fault"
	case Full:
		return "no room for newcomers"
	}
	return "unknown"
}

// Answer is what the table says of a triplet.
type Answer struct {
	Delay  bool
	Reason Reason
	Left   time.Duration // until it would pass, of a Delay
	// Waited is how long the triplet had to wait, and Passed that it has passed
	// for the first time.
	Waited time.Duration
	Passed bool
}

// Table is the memory of triplets. Make it by New; it is safe for concurrent
// use.
type Table struct {
	o     Options
	clock clock
	lease atomic.Pointer[lease]
	rest  atomic.Int64 // unix nanoseconds until which the store is left alone
	told  atomic.Bool  // that there is no room
	fresh ring         // newcomers
	parts shares       // of them, that networks have
	pairs ring         // correspondents

	retry, age int64 // seconds
}

// errStore is a store that there is none of.
var errStore = errors.New("greylist: there is no store")

// New makes a table.
func New(o Options) (*Table, error) {
	if o.Store == nil {
		return nil, errStore
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.RetryWindow, DefaultRetryWindow}, {&o.MaxAge, DefaultMaxAge}, {&o.PairAge, DefaultPairAge}, {&o.Wait, defaultWait}, {&o.Rest, defaultRest}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	for _, n := range []struct {
		v   *int
		def int
	}{{&o.IPv4, 24}, {&o.IPv6, 64}, {&o.Newcomers, DefaultNewcomers}, {&o.Pairs, DefaultPairs}} {
		if *n.v <= 0 {
			*n.v = n.def
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	t := &Table{o: o, retry: seconds(o.RetryWindow), age: seconds(o.MaxAge)}
	t.fresh.init(o.Newcomers, t.retry)
	t.pairs.init(o.Pairs, 24*3600)
	t.parts.init(o.Newcomers, t.retry)
	if err := t.clock.open(&t.o); err != nil {
		o.Log("the greylist could not read its clock", err)
	}
	return t, nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// Check judges a triplet and remembers it. An error comes with the answer Pass.
func (t *Table) Check(_ context.Context, q *Request) (Answer, error) {
	if t.resting() {
		return Answer{Reason: Fault}, nil
	}
	a, err := t.check(t.budget(), q)
	if err != nil {
		t.fault()
		return Answer{Reason: Fault}, fmt.Errorf("greylist: %w", err)
	}
	return a, nil
}

// lease is a deadline that calls of the same moment share: a timer for each
// would be a good part of what a call costs.
type lease struct {
	ctx    context.Context
	cancel context.CancelFunc // never called: its time ends it
	fresh  time.Time          // until which it is given out
}

// budget is a context that ends within Wait, and not before half of it.
func (t *Table) budget() context.Context {
	now := time.Now()
	l := t.lease.Load()
	if l == nil || !now.Before(l.fresh) {
		l = &lease{fresh: now.Add(t.o.Wait / 2)}
		l.ctx, l.cancel = context.WithDeadline(context.Background(), now.Add(t.o.Wait))
		t.lease.Store(l)
	}
	return l.ctx
}

// resting tells that the store had a fault a moment ago: a message must not
// wait for it each time.
func (t *Table) resting() bool {
	until := t.rest.Load()
	return until != 0 && t.clock.steady().Nanoseconds() < until
}

func (t *Table) fault() { t.rest.Store(max(1, (t.clock.steady() + t.o.Rest).Nanoseconds())) }

// check is smtpd_access_policy of postgrey, from its look at clients that came back often on.
func (t *Table) check(ctx context.Context, q *Request) (Answer, error) {
	delay := seconds(q.Delay)
	if delay <= 0 {
		delay = seconds(DefaultDelay)
	}
	now := t.clock.now(ctx, &t.o)
	who := t.who(q)
	client, err := t.client(ctx, q, who, now)
	if err != nil || client.pass != 0 {
		return Answer{Reason: client.pass}, err
	}
	key := tripletKey(who, q.Sender, q.Recipient)
	raw, found, err := t.o.Store.Get(ctx, key)
	if err != nil {
		return Answer{}, err
	}
	first, last, ok := decode(raw)
	// A row that the store has kept longer than it was told is as good as gone.
	found = found && ok && now-last <= t.age
	before := false
	if found {
		if last-first >= delay {
			before = true
		} else if now-first > t.retry {
			first = now
		}
		// A time to come: the clock was set back over a restart.
		first = min(first, now)
	} else {
		first = now
	}
	if !found {
		if !q.crowd && t.parts.over(wide(q.Client), now) {
			return t.check(ctx, t.crowd(q))
		}
		if !t.room(now) {
			return Answer{Reason: Full}, nil
		}
		t.fresh.add(now)
		t.parts.add(wide(q.Client))
	}
	life := t.o.RetryWindow
	if now-first >= delay || before {
		life = t.o.MaxAge
	}
	// Who mails all day is not written each time: a minute in 35 days is none.
	if !found || now-last >= rewrite || !before && (now != last || first == now) {
		if err := t.o.Store.Put(ctx, key, encode(first, now), life); err != nil {
			return Answer{}, err
		}
	}
	left := delay - (now - first)
	switch {
	case left > 0 && first == now:
		return Answer{Delay: true, Reason: Newcomer, Left: time.Duration(left) * time.Second}, nil
	case left > 0:
		return Answer{Delay: true, Reason: Early, Left: time.Duration(left) * time.Second}, nil
	}
	a := Answer{Reason: Known, Passed: !before, Waited: time.Duration(now-first) * time.Second}
	if !before && !q.crowd && t.o.AutoPass > 0 && (client.last == 0 || now >= client.last+autoPassEvery) {
		err = t.o.Store.Put(ctx, client.key, encode(client.count+1, now), t.o.MaxAge)
	}
	return a, err
}

// room tells that one more newcomer may wait, and tells the operator when that
// changes.
func (t *Table) room(now int64) bool {
	if t.fresh.count(now) < t.o.Newcomers {
		if t.told.Load() && t.fresh.count(now) < t.o.Newcomers-t.o.Newcomers/10 && t.told.CompareAndSwap(true, false) {
			t.o.Log("there is room for newcomers again: greylisting goes on", nil)
		}
		return true
	}
	if t.told.CompareAndSwap(false, true) {
		t.o.Log("no room for more newcomers: they pass without a delay", fmt.Errorf("%d wait already", t.o.Newcomers))
	}
	return false
}

// standing is what is known of a client.
type standing struct {
	key         string
	count, last int64
	pass        Reason // 0: it is greylisted
}

// client tells whether all mail of a client passes, and counts it.
func (t *Table) client(ctx context.Context, q *Request, who string, now int64) (standing, error) {
	raw, found, err := t.o.Store.Get(ctx, passPrefix+who)
	if err != nil {
		return standing{}, err
	}
	if found && len(raw) > 0 {
		return standing{pass: Commanded}, nil
	}
	if t.o.AutoPass <= 0 {
		return standing{}, nil
	}
	c := standing{key: clientPrefix + q.Client.String()}
	if raw, found, err = t.o.Store.Get(ctx, c.key); err != nil || !found {
		return c, err
	}
	var ok bool
	if c.count, c.last, ok = decode(raw); !ok || now-c.last > t.age {
		c.count, c.last = 0, 0
		return c, nil
	}
	if c.count >= int64(t.o.AutoPass) {
		c.pass = AutoPass
		if now >= c.last+autoPassEvery || c.last > now {
			err = t.o.Store.Put(ctx, c.key, encode(c.count+1, now), t.o.MaxAge)
		}
	}
	return c, err
}

// encode writes two numbers.
func encode(a, b int64) []byte {
	return binary.AppendVarint(binary.AppendVarint(make([]byte, 0, 12), a), b)
}

// decode reads them.
func decode(p []byte) (a, b int64, ok bool) {
	a, n := binary.Varint(p)
	if n <= 0 {
		return 0, 0, false
	}
	b, m := binary.Varint(p[n:])
	return a, b, m > 0 && n+m == len(p) && a >= 0 && b >= 0
}

// ring counts what came within a span, in ringParts parts of it.
type ring struct {
	mu    sync.Mutex
	max   int
	part  int64 // seconds
	at    int64 // the part that counts now
	n     [ringParts]int
	total int
}

const ringParts = 32

func (r *ring) init(limit int, span int64) { r.max, r.part = limit, max(1, span/ringParts) }

// turn forgets what is older than the span.
func (r *ring) turn(now int64) {
	at := now / r.part
	if at < r.at || at >= r.at+ringParts {
		r.at, r.total, r.n = at, 0, [ringParts]int{}
		return
	}
	for r.at < at {
		r.at++
		r.total -= r.n[r.at%ringParts]
		r.n[r.at%ringParts] = 0
	}
}

func (r *ring) add(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.n[r.at%ringParts]++
	r.total++
}

func (r *ring) count(now int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	return r.total
}
