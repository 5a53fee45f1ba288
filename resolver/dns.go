package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Options are what a resolver is made of beside its configuration.
type Options struct {
	Config
	// Clock is the time since some start; it never goes back. nil: the
	// monotonic clock of the system, which no change of the date moves.
	Clock func() time.Duration
	// ResolvConf is the file to read where Servers is empty; "" is
	// /etc/resolv.conf.
	ResolvConf string
}

// DNS is the Resolver over the configured servers. It is safe for concurrent
// use.
type DNS struct {
	cfg     Config
	clock   func() time.Duration
	servers []*server
	cache   *cache
	buffers sync.Pool // *[]byte of maxPacket

	root    context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	slots   chan struct{} // one for each question on its way
	waiting atomic.Int64
	zones   *zones
	count   counters
}

type server struct {
	addr    netip.AddrPort
	sockets sockets
	breaker breaker
	noEDNS  atomic.Bool
}

// New makes a resolver. Nothing is asked before the first look-up.
func New(o Options) (*DNS, error) {
	if errs := o.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("dns: %w", errs[0])
	}
	file := o.ResolvConf
	if file == "" {
		file = "/etc/resolv.conf"
	}
	addrs, err := servers(o.Config, file)
	if err != nil {
		return nil, err
	}
	d := &DNS{cfg: o.Config, clock: o.Clock, cache: newCache(o.CacheEntries), slots: make(chan struct{}, o.MaxInFlight), zones: newZones(o.MaxInFlight)}
	if d.clock == nil {
		start := time.Now()
		d.clock = func() time.Duration { return time.Since(start) }
	}
	d.buffers.New = func() any { b := make([]byte, maxPacket); return &b }
	d.root, d.stop = context.WithCancel(context.Background())
	for _, a := range addrs {
		d.servers = append(d.servers, &server{addr: a, sockets: sockets{addr: a, want: o.Sockets}})
	}
	return d, nil
}

// Close ends what is on its way, waits for it and closes the sockets. Look-ups
// fail from now on, but for what is in the cache.
func (d *DNS) Close() {
	d.stop()
	for i := range d.cache.parts { // whoever did not see the end has begun
		d.cache.parts[i].mu.Lock()
		d.cache.parts[i].mu.Unlock() //nolint:staticcheck // a barrier
	}
	for _, s := range d.servers {
		s.sockets.close()
	}
	d.work.Wait()
}

// A gives the IPv4 addresses of a name.
func (d *DNS) A(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := d.lookup(ctx, name, dns.TypeA)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.addrs), nil
}

// Addresses gives all addresses of a name; the two questions go out together.
func (d *DNS) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	name, ok := canonical(name)
	if !ok {
		return nil, ErrNoName
	}
	k4, k6 := key{name, dns.TypeA}, key{name, dns.TypeAAAA}
	a4, f4 := d.begin(ctx, k4)
	a6, f6 := d.begin(ctx, k6)
	a4, a6 = f4.wait(ctx, k4, a4), f6.wait(ctx, k6, a6)
	if len(a4.addrs)+len(a6.addrs) > 0 {
		return slices.Concat(a4.addrs, a6.addrs), nil
	}
	// A failure of one leaves open whether there is an address; of "no such
	// record" and "no such name" the first is the surer (RFC 4074).
	if certainty(a6.err) < certainty(a4.err) {
		return nil, a6.err
	}
	return nil, a4.err
}

// certainty orders errors by how much they deny.
func certainty(err error) int {
	switch {
	case errors.Is(err, ErrNoName):
		return 2
	case errors.Is(err, ErrNotFound):
		return 1
	}
	return 0
}

// PTR gives the names of an address that a host can have.
func (d *DNS) PTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	if !addr.IsValid() {
		return nil, ErrNoName
	}
	a, err := d.lookup(ctx, reverseName(addr), dns.TypePTR)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.texts), nil
}

// MX gives the exchangers by rising preference. An empty Host is one that is
// no host name: nobody can be reached by it.
func (d *DNS) MX(ctx context.Context, name string) ([]MX, error) {
	a, err := d.lookup(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.mx), nil
}

// TXT gives the texts: raw octets of a stranger.
func (d *DNS) TXT(ctx context.Context, name string) ([]string, error) {
	a, err := d.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.texts), nil
}

func (d *DNS) lookup(ctx context.Context, name string, typ uint16) (*answer, error) {
	name, ok := canonical(name)
	if !ok {
		return nil, ErrNoName
	}
	k := key{name, typ}
	a, f := d.begin(ctx, k)
	if f != nil {
		a = f.wait(ctx, k, a)
	}
	return a, a.err
}

// flight is a question on its way; all who ask the same wait for it.
type flight struct {
	done   chan struct{}
	answer *answer // once done is closed
}

// wait gives the answer, or a failure at the end of ctx; the question goes on
// for the others and for the cache. A nil flight has its answer already.
func (f *flight) wait(ctx context.Context, k key, a *answer) *answer {
	if f == nil {
		return a
	}
	select {
	case <-f.done:
		return f.answer
	default:
	}
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
		return &answer{err: k.failure(ctx.Err())}
	}
}

func (k key) failure(err error) error {
	return fmt.Errorf("%w: %s %s: %w", ErrTemporary, dns.TypeToString[k.typ], k.name, err)
}

var (
	errBusy   = errors.New("too many questions are waiting")
	errClosed = errors.New("the resolver is closed")
)

// begin gives the cached answer, or the flight that will have it.
func (d *DNS) begin(ctx context.Context, k key) (*answer, *flight) {
	s := d.cache.shard(k)
	now := d.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.get(k, now); a != nil {
		s.hits++
		return a, nil
	}
	if onlyCached(ctx) {
		return &answer{err: ErrNotCached}, nil
	}
	s.misses++
	if f := s.flights[k]; f != nil {
		d.count.joined.Add(1)
		return nil, f
	}
	if d.root.Err() != nil {
		return &answer{err: k.failure(errClosed)}, nil
	}
	// Who waits for a slot is bounded too, since a waiter that gave up does
	// not end the question.
	if d.waiting.Load() >= int64(waitFactor*cap(d.slots)) {
		d.count.busy.Add(1)
		return &answer{err: k.failure(errBusy)}, nil
	}
	z := d.zones.enter(k.name)
	if z == nil {
		d.count.busy.Add(1)
		return &answer{err: k.failure(errBusy)}, nil
	}
	d.waiting.Add(1)
	f := &flight{done: make(chan struct{})}
	s.flights[k] = f
	d.work.Go(func() { d.fly(k, s, f, z) })
	return nil, f
}

// waitFactor is how many questions wait for each that may be on its way.
const waitFactor = 8

// fly asks the question and puts what it led to into the cache.
func (d *DNS) fly(k key, s *shard, f *flight, z *share) {
	defer d.zones.leave(z)
	var a *answer
	defer func() {
		if p := recover(); p != nil {
			// A packet that the library stumbles over must not end the
			// program (D-12).
			d.count.malformed.Add(1)
			a = &answer{err: k.failure(fmt.Errorf("%w: panic", errMalformed)), ttl: d.cfg.FailureTTL}
		}
		if a == nil {
			a = &answer{err: k.failure(errors.New("fault in the resolver"))}
		}
		f.answer = a
		s.mu.Lock()
		delete(s.flights, k)
		s.put(k, a, d.clock())
		s.mu.Unlock()
		close(f.done)
	}()
	ctx := ends{d.root, time.Now().Add(d.cfg.Budget)}
	// The zone's turn first: who waits for it keeps no slot from others.
	turn := take(ctx, z.turns)
	slot := turn && take(ctx, d.slots)
	d.waiting.Add(-1)
	if turn {
		defer func() { <-z.turns }()
	}
	if !slot {
		d.count.busy.Add(1)
		a = &answer{err: k.failure(errBusy)}
		return
	}
	defer func() { <-d.slots }()
	a = d.chase(ctx, k)
}

// take waits for a place in c until the end of ctx.
func take(ctx context.Context, c chan struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
	}
	if ends, ok := ctx.Deadline(); ok {
		timed, cancel := context.WithDeadline(ctx, ends)
		defer cancel()
		ctx = timed
	}
	select {
	case c <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// chase asks, and asks on where a chain of CNAME leaves an answer.
func (d *DNS) chase(ctx context.Context, k key) *answer {
	next, least := k, d.cfg.MaxTTL
	for range maxChain {
		a, again, err := d.ask(ctx, next)
		switch {
		case err != nil:
			ttl := d.cfg.FailureTTL
			if errors.Is(err, errAllOpen) || errors.Is(err, context.Canceled) {
				// Not the question's fault: what comes after the servers are
				// back is asked at once.
				ttl = 0
			}
			return &answer{err: k.failure(err), ttl: ttl}
		case again == "":
			if next != k {
				c := *a
				c.ttl = min(c.ttl, least)
				a = &c
			}
			return a
		}
		// What the first links allowed is not known here; the shortest time
		// that we keep anything is safe.
		next, least = key{again[:len(again)-1], k.typ}, d.cfg.MinTTL
	}
	return &answer{err: k.failure(errLoop), ttl: d.cfg.FailureTTL}
}
