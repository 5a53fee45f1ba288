package resolver

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	shards = 16
	// entryOverhead is an entry's cost beside its texts: list, map, key.
	entryOverhead = 200
	// entryMean is what an entry may cost on average.
	entryMean = 512
)

// key is one question.
type key struct {
	name string // canonical
	typ  uint16
}

// answer is what a question led to. It is never changed once made.
type answer struct {
	addrs []netip.Addr
	texts []string // PTR, TXT
	mx    []MX
	err   error // wraps ErrNotFound or ErrTemporary
	ttl   time.Duration
}

func (a *answer) cost() int {
	n := entryOverhead + 32*len(a.addrs) + 16*len(a.texts) + 24*len(a.mx)
	for _, s := range a.texts {
		n += len(s)
	}
	for i := range a.mx {
		n += len(a.mx[i].Host)
	}
	return n
}

// entry lies in the list of its shard, the most recently used first.
type entry struct {
	key        key
	answer     *answer
	cost       int
	made       time.Duration
	prev, next *entry
}

// cache holds answers and the questions on their way, in parts with a lock
// each. Its seed is its own: nobody chooses names that fall into one part.
type cache struct {
	seed  maphash.Seed
	parts [shards]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[key]*entry
	flights map[key]*flight
	head    entry // of the ring
	cost    int
	max     int
	maxCost int
	hits    uint64
	misses  uint64
	_       [40]byte // two parts share no cache line
}

func newCache(entries int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.parts {
		s := &c.parts[i]
		s.entries, s.flights = map[key]*entry{}, map[key]*flight{}
		s.head.prev, s.head.next = &s.head, &s.head
		s.max = max(entries/shards, 1)
		s.maxCost = s.max * entryMean
	}
	return c
}

func (c *cache) shard(k key) *shard {
	return &c.parts[maphash.String(c.seed, k.name)%shards]
}

// get is the fresh answer or nil. An entry from the future is none: whatever
// the clock did, an answer lives no longer than its time (D-22).
func (s *shard) get(k key, now time.Duration) *answer {
	e := s.entries[k]
	if e == nil {
		return nil
	}
	if age := now - e.made; age < 0 || age >= e.answer.ttl {
		s.drop(e)
		return nil
	}
	if s.head.next != e {
		e.unlink()
		s.front(e)
	}
	return e.answer
}

func (s *shard) put(k key, a *answer, now time.Duration) {
	if old := s.entries[k]; old != nil {
		s.drop(old)
	}
	e := &entry{key: k, answer: a, cost: a.cost() + len(k.name), made: now}
	if a.ttl <= 0 || e.cost > s.maxCost {
		return
	}
	s.entries[k] = e
	s.front(e)
	s.cost += e.cost
	for len(s.entries) > s.max || s.cost > s.maxCost {
		s.drop(s.head.prev)
	}
}

func (s *shard) drop(e *entry) {
	e.unlink()
	delete(s.entries, e.key)
	s.cost -= e.cost
}

func (s *shard) front(e *entry) {
	e.prev, e.next = &s.head, s.head.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// Flush forgets every answer.
func (d *DNS) Flush() {
	for i := range d.cache.parts {
		s := &d.cache.parts[i]
		s.mu.Lock()
		for s.head.next != &s.head {
			s.drop(s.head.next)
		}
		s.mu.Unlock()
	}
}
