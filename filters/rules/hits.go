package rules

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	language "garita/rules"
	"garita/store"
)

const (
	// hitsPrefix begins the keys of the counters in the store.
	hitsPrefix = "rules/hits/"
	// hitsKept is how long a rule is remembered that hits no more.
	hitsKept = 400 * 24 * time.Hour
	// hitsEvery is how long counters may be behind on the disk.
	hitsEvery = 5 * time.Second
	// hitsTime is for reading and for writing them.
	hitsTime = 10 * time.Second
)

// HitCount is how often a rule hit, and when last.
type HitCount struct {
	ID    string    `json:"id"`
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
}

// Hits counts the hits of rules. What it counts is written to the store a few
// seconds later and read from there at the start, so that it survives restarts
// but for the last seconds before a crash. It holds MaxRules rules; the one
// that has not hit for longest is forgotten for a new one.
type Hits struct {
	store store.Store // nil: they do not survive
	now   func() time.Time
	say   func(text string, err error)
	every time.Duration

	mu      sync.Mutex
	counts  map[string]*counter
	pending bool // a writing is ahead
	failing bool

	writing sync.Mutex // one at a time, in order
}

type counter struct {
	n     uint64
	last  time.Time
	dirty bool
}

// NewHits reads the counters of a store, which may be nil. A store that cannot
// be read is told; then counting begins anew.
func NewHits(s store.Store, say func(text string, err error)) *Hits {
	if say == nil {
		say = func(string, error) {}
	}
	h := &Hits{store: s, now: time.Now, say: say, every: hitsEvery, counts: map[string]*counter{}}
	if s == nil {
		return h
	}
	ctx, cancel := context.WithTimeout(context.Background(), hitsTime)
	defer cancel()
	for after := ""; len(h.counts) < language.MaxRules; {
		items, err := s.List(ctx, hitsPrefix, after, 1000)
		if err != nil {
			say("the hits of rules could not be read", err)
		}
		if len(items) == 0 {
			break
		}
		for _, item := range items {
			after = item.Key
			if c, ok := readCounter(item.Value); ok && len(h.counts) < language.MaxRules {
				h.counts[strings.TrimPrefix(item.Key, hitsPrefix)] = c
			}
		}
	}
	return h
}

// readCounter reads 8 octets of the count and 8 of the time, in seconds.
func readCounter(v []byte) (*counter, bool) {
	if len(v) != 16 {
		return nil, false
	}
	return &counter{n: binary.BigEndian.Uint64(v), last: time.Unix(int64(binary.BigEndian.Uint64(v[8:])), 0)}, true
}

func (c *counter) octets() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.n), uint64(c.last.Unix()))
}

// Note counts a hit.
func (h *Hits) Note(id string) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counts[id]
	if c == nil {
		if len(h.counts) >= language.MaxRules {
			h.forget()
		}
		c = &counter{}
		h.counts[id] = c
	}
	c.n++
	c.last, c.dirty = now, true
	if h.store != nil && !h.pending {
		h.pending = true
		time.AfterFunc(h.every, h.Flush)
	}
}

// forget drops the rule that has not hit for longest; its key in the store ends
// by itself.
func (h *Hits) forget() {
	oldest := ""
	for id, c := range h.counts {
		if oldest == "" || c.last.Before(h.counts[oldest].last) {
			oldest = id
		}
	}
	delete(h.counts, oldest)
}

// Flush writes what was counted since the last time.
func (h *Hits) Flush() {
	if h == nil || h.store == nil {
		return
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	type change struct {
		id    string
		value []byte
	}
	var changes []change
	h.mu.Lock()
	h.pending = false
	for id, c := range h.counts {
		if c.dirty {
			c.dirty = false
			changes = append(changes, change{id, c.octets()})
		}
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), hitsTime)
	defer cancel()
	var failed error
	for _, one := range changes {
		// Put may be evicted by others' values; these are few, and asked for.
		if err := h.store.Keep(ctx, hitsPrefix+one.id, one.value, hitsKept); err != nil {
			failed = err
			h.again(one.id)
		}
	}
	if errors.Is(failed, store.ErrClosed) {
		return // at the end of the process somebody still counted
	}
	h.mu.Lock()
	begun := failed != nil && !h.failing
	h.failing = failed != nil
	h.mu.Unlock()
	if begun {
		h.say("the hits of rules could not be kept", failed)
	}
}

// again has a counter written with the next ones.
func (h *Hits) again(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.counts[id]; c != nil {
		c.dirty = true
	}
}

// List gives all counters, by id.
func (h *Hits) List() []HitCount {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]HitCount, 0, len(h.counts))
	for id, c := range h.counts {
		out = append(out, HitCount{ID: id, Count: c.n, Last: c.last})
	}
	slices.SortFunc(out, func(a, b HitCount) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
