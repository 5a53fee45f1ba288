package accounts

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// budget says how failures turn into waiting.
type budget struct {
	free   float64       // failures that cost nothing
	step   time.Duration // for the first one beyond
	most   time.Duration
	double bool          // each further one doubles the time, else it adds a step
	forget time.Duration // one failure is forgotten each
}

// delay is the time between the try that made the level and the next one.
func (b budget) delay(level float64) time.Duration {
	over := int(math.Round(level - b.free)) // a little is always forgotten
	if over <= 0 {
		return 0
	}
	if !b.double {
		return min(time.Duration(min(over, 1<<20))*b.step, b.most)
	}
	return min(b.step<<min(over-1, 20), b.most)
}

// The four budgets. That of the pair is for one who guesses at one user; that
// of the client for one who tries many users, wide enough for an office behind
// one address; that of the user for many clients who guess at one user; that of
// the site for one who does so from the 65,536 clients of his IPv6 /48.
var (
	pairBudget   = budget{free: 2, step: time.Second, most: time.Minute, double: true, forget: 5 * time.Minute}
	clientBudget = budget{free: 20, step: time.Second, most: time.Minute, forget: time.Minute}
	userBudget   = budget{free: 10, step: 200 * time.Millisecond, most: 3 * time.Second, forget: time.Minute}
	siteBudget   = budget{free: 20, step: time.Second, most: time.Minute, forget: time.Minute}
)

const (
	// maxEntries bounds one generation of one memory: two generations of five
	// memories are 163,840 entries.
	maxEntries = 16 << 10
	// knownFor is how long a login makes its pair known.
	knownFor = 7 * 24 * time.Hour
	// knownFailures is when a known pair is treated as a stranger again.
	knownFailures = 3
)

// throttle remembers failures.
type throttle struct {
	now  func() time.Time
	seed maphash.Seed

	mu      sync.Mutex
	pairs   aged[*meter]
	clients aged[*meter]
	users   aged[*meter]
	sites   aged[*meter]    // of a site and a user
	known   aged[time.Time] // only a right password writes here
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, seed: maphash.MakeSeed()}
}

// meter is the failures of one key.
type meter struct {
	level float64
	at    time.Time // when level was right
	next  time.Time // no try before
}

// try is one attempt that was let in. It counts as a failure from its begin,
// so that a thousand at the same moment are not a thousand for free; a right
// password takes it back.
type try struct {
	pair, client, user *meter
	site               *meter // nil: it has no more clients than one
	key                uint64
	known              bool
	wait               time.Duration
}

// begin asks for an attempt: how long it must wait, or that it is too much.
func (t *throttle) begin(client netip.Addr, user string, most time.Duration) (try, bool) {
	now := t.now()
	c := clientKey(client)
	pairKey := maphash.Comparable(t.seed, struct {
		c netip.Prefix
		u string
	}{c, user})
	t.mu.Lock()
	defer t.mu.Unlock()
	y := try{
		pair:   meterOf(&t.pairs, pairKey, now, pairBudget),
		client: meterOf(&t.clients, maphash.Comparable(t.seed, c), now, clientBudget),
		user:   meterOf(&t.users, maphash.String(t.seed, user), now, userBudget),
		key:    pairKey,
	}
	if at, ok := t.known.get(pairKey); ok && now.Sub(at) < knownFor && y.pair.level < knownFailures {
		y.known = true
	}
	at := later(now, y.pair.next)
	if site := siteOf(c); site != c {
		y.site = meterOf(&t.sites, maphash.Comparable(t.seed, struct {
			c netip.Prefix
			u string
		}{site, user}), now, siteBudget)
	}
	if !y.known {
		at = later(at, y.client.next)
		if y.site != nil {
			at = later(at, y.site.next)
		}
	}
	if y.wait = at.Sub(now); y.wait > most {
		return try{}, false // it does not push the next one further away
	}
	y.pair.level++
	y.client.level++
	y.user.level++
	y.pair.next = at.Add(pairBudget.delay(y.pair.level))
	if !y.known {
		y.client.next = later(y.client.next, at.Add(clientBudget.delay(y.client.level)))
		if y.site != nil {
			y.site.level++
			y.site.next = later(y.site.next, at.Add(siteBudget.delay(y.site.level)))
		}
		// Others may have made this level: it delays, it never refuses.
		y.wait = max(y.wait, min(userBudget.delay(y.user.level), most))
	}
	return y, true
}

// right ends an attempt with the right password.
func (t *throttle) right(y try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*y.pair = meter{at: y.pair.at}
	t.takeBack(y)
	t.known.put(y.key, t.now())
}

// undone ends an attempt that was never judged.
func (t *throttle) undone(y try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if y.pair.level = max(y.pair.level-1, 0); y.pair.level <= pairBudget.free {
		y.pair.next = time.Time{}
	}
	t.takeBack(y)
}

func (t *throttle) takeBack(y try) {
	y.user.level = max(y.user.level-1, 0)
	if y.client.level = max(y.client.level-1, 0); y.client.level <= clientBudget.free {
		y.client.next = time.Time{}
	}
	if y.site != nil && !y.known {
		if y.site.level = max(y.site.level-1, 0); y.site.level <= siteBudget.free {
			y.site.next = time.Time{}
		}
	}
}

// siteOf is the /48 of an IPv6 client, the largest network that one customer is
// given (RFC 6177 section 2); else the client itself.
func siteOf(client netip.Prefix) netip.Prefix {
	if client.Bits() <= 48 {
		return client
	}
	p, _ := client.Addr().Prefix(48)
	return p
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// clientKey is what counts as one client: an IPv4 address, an IPv6 /64.
func clientKey(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all such are one
	}
	return p
}

// aged is a memory of bounded size: what was not looked at while maxEntries
// others were is forgotten.
type aged[V any] struct{ young, old map[uint64]V }

func (a *aged[V]) get(k uint64) (V, bool) {
	if v, ok := a.young[k]; ok {
		return v, true
	}
	v, ok := a.old[k]
	if ok {
		a.put(k, v)
	}
	return v, ok
}

func (a *aged[V]) put(k uint64, v V) {
	if _, ok := a.young[k]; !ok && len(a.young) >= maxEntries {
		a.old, a.young = a.young, nil
	}
	if a.young == nil {
		a.young = map[uint64]V{}
	}
	a.young[k] = v
}

// meterOf gives the meter of a key as it stands now.
func meterOf(a *aged[*meter], k uint64, now time.Time, b budget) *meter {
	m, ok := a.get(k)
	if !ok {
		m = &meter{at: now}
		a.put(k, m)
		return m
	}
	if past := now.Sub(m.at); past > 0 { // a clock that went back forgets nothing
		m.level = max(m.level-float64(past)/float64(b.forget), 0)
	}
	m.at = now
	if m.next.Sub(now) > b.most { // and makes nobody wait for it to come again
		m.next = now.Add(b.most)
	}
	return m
}
