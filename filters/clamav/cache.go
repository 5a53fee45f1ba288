package clamav

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// digest names octets: those of a whole message, or of one reading of a part.
type digest [sha256.Size]byte

// key of a verdict: the octets, and what judged them. Whenever the signatures
// or the limits of clamd change, no older verdict fits.
type key struct {
	octets digest
	epoch  string
}

// cache remembers what clamd said, bounded in number and age; who was asked
// for longest ago goes first. Nothing but answers about whole octets is kept:
// clean and found, never a fault.
type cache struct {
	mu      sync.Mutex
	most    int
	age     time.Duration
	entries map[key]*list.Element
	order   *list.List // front: used last
	hits    uint64
	misses  uint64
}

type cached struct {
	key   key
	reply reply
	until time.Time
}

func newCache(most int, age time.Duration) *cache {
	return &cache{most: most, age: age, entries: map[key]*list.Element{}, order: list.New()}
}

func (c *cache) get(k key, now time.Time) (reply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		c.misses++
		return reply{}, false
	}
	v := e.Value.(*cached)
	if now.After(v.until) {
		c.drop(e)
		c.misses++
		return reply{}, false
	}
	c.hits++
	c.order.MoveToFront(e)
	return v.reply, true
}

func (c *cache) put(k key, r reply, now time.Time) {
	if r.kind != clean && r.kind != found || c.most == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		e.Value = &cached{k, r, now.Add(c.age)}
		c.order.MoveToFront(e)
		return
	}
	for len(c.entries) >= c.most {
		c.drop(c.order.Back())
	}
	c.entries[k] = c.order.PushFront(&cached{k, r, now.Add(c.age)})
}

func (c *cache) drop(e *list.Element) {
	c.order.Remove(e)
	delete(c.entries, e.Value.(*cached).key)
}

func (c *cache) stats() (entries int, hits, misses uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.hits, c.misses
}
