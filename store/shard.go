package store

import (
	"hash/maphash"
	"sync"
)

// itemKey is a value (set is empty) or a member of a set.
type itemKey struct{ set, key string }

// item is one value or member. Its shard's lock guards it; value is never
// changed in place.
type item struct {
	id      itemKey
	value   []byte
	expires int64 // time of the store; 0 is never
	keep    bool  // never evicted

	dirty, stored, dead bool
}

// overhead is about what an item costs beside its octets.
const overhead = 160

func (i *item) size() int { return len(i.id.set) + len(i.id.key) + len(i.value) + overhead }

func (i *item) gone(now int64) bool { return i.expires != 0 && i.expires <= now }

// shard is a part of everything, under a lock of its own.
type shard struct {
	mu      sync.Mutex
	windows map[winKey]*window
	items   map[itemKey]*item
	kept    map[itemKey]*item
	bytes   int // of items

	// What the disk does not know yet.
	dirtyItems   []*item
	dirtyWindows []*window
	goneItems    []itemKey
	goneWindows  []winKey
	added        int // since the last sweep

	_ [64]byte // locks of neighbours on cache lines of their own
}

func (m *Memory) shardOf(key string) int {
	if len(m.shards) == 1 {
		return 0
	}
	return int(maphash.String(m.seed, key) % uint64(len(m.shards)))
}

// lookup gives a live item.
func (s *shard) lookup(id itemKey, now int64) *item {
	i := s.items[id]
	if i == nil {
		if i = s.kept[id]; i == nil {
			return nil
		}
	}
	if i.gone(now) {
		return nil
	}
	return i
}

// set puts an item in place of what was there. The caller has found room.
func (m *Memory) set(s *shard, i *item, now int64) {
	if old := s.items[i.id]; old != nil {
		i.stored = old.stored
		s.bytes -= old.size()
		delete(s.items, i.id)
		old.dead = true
	} else if old := s.kept[i.id]; old != nil {
		i.stored = old.stored
		delete(s.kept, i.id)
		old.dead = true
		m.keptCount.Add(-1)
	}
	if i.keep {
		s.kept[i.id] = i
		m.keptCount.Add(1)
	} else {
		m.roomForItem(s, i.size(), now)
		s.items[i.id] = i
		s.bytes += i.size()
	}
	m.markItem(s, i)
	m.grown(s, now)
}

// remove takes an item out; the disk is told when it may have it.
func (m *Memory) remove(s *shard, i *item) {
	if i.keep {
		delete(s.kept, i.id)
		m.keptCount.Add(-1)
	} else {
		delete(s.items, i.id)
		s.bytes -= i.size()
	}
	i.dead = true
	if i.stored && m.disk != nil {
		if len(s.goneItems) >= m.maxGone {
			m.wipe.Store(true)
			s.goneItems = nil
		}
		s.goneItems = append(s.goneItems, i.id)
		m.dirtied()
	}
}

func (m *Memory) removeWindow(s *shard, w *window) {
	delete(s.windows, w.id)
	w.dead = true
	if w.stored && m.disk != nil {
		if len(s.goneWindows) >= m.maxGone {
			m.wipe.Store(true)
			s.goneWindows = nil
		}
		s.goneWindows = append(s.goneWindows, w.id)
		m.dirtied()
	}
}

func (m *Memory) markItem(s *shard, i *item) {
	if m.disk != nil && !i.dirty {
		i.dirty = true
		s.dirtyItems = append(s.dirtyItems, i)
		m.dirtied()
	}
}

func (m *Memory) markWindow(s *shard, w *window) {
	if m.disk != nil && !w.dirty {
		w.dirty = true
		s.dirtyWindows = append(s.dirtyWindows, w)
		m.dirtied()
	}
}

// sample is how many are looked at to find one to drop.
const sample = 16

// roomForItem evicts until an item of that size fits. Iteration of a map begins
// anywhere, which is the sample.
func (m *Memory) roomForItem(s *shard, size int, now int64) {
	for len(s.items) > 0 && (len(s.items) >= m.itemsPerShard || s.bytes+size > m.bytesPerShard) {
		var worst *item
		n := 0
		for _, i := range s.items {
			if worst == nil || soonest(i, worst) {
				worst = i
			}
			if n++; n >= sample || worst.gone(now) {
				break
			}
		}
		if !worst.gone(now) {
			m.evicted.Add(1)
		}
		m.remove(s, worst)
		m.tell(Event{Key: worst.id.key, Deleted: true}, worst.id.set)
	}
}

func soonest(a, b *item) bool {
	if a.expires == 0 || b.expires == 0 {
		return a.expires != 0
	}
	return a.expires < b.expires
}

// roomForWindow drops a counter when the shard is full. One who floods with
// keys brings counters of a single act: those go first, and the counters of
// busy clients stay.
func (m *Memory) roomForWindow(s *shard, now int64) {
	for len(s.windows) >= m.perShard {
		var worst *window
		var ends int64
		n := 0
		for _, w := range s.windows {
			e := w.expires()
			if worst == nil || e <= now || (w.total <= 1) != (worst.total <= 1) && w.total <= 1 ||
				(w.total <= 1) == (worst.total <= 1) && e < ends {
				worst, ends = w, e
			}
			if n++; n >= sample || ends <= now {
				break
			}
		}
		if ends > now {
			m.evicted.Add(1)
		}
		m.removeWindow(s, worst)
	}
}

// grown sweeps the shard once in so many additions that the cost of each stays
// constant.
func (m *Memory) grown(s *shard, now int64) {
	if s.added++; s.added > 64+(len(s.items)+len(s.kept)+len(s.windows))/2 {
		m.sweep(s, now)
	}
}

// sweep drops what has expired. The disk drops its rows itself, by their time,
// so they are not named to it.
func (m *Memory) sweep(s *shard, now int64) {
	s.added = 0
	for _, w := range s.windows {
		switch {
		case w.expires() > now:
		case w.dirty:
			// The row may say more than is true: it was refunded.
			m.removeWindow(s, w)
		default:
			delete(s.windows, w.id)
			w.dead = true
		}
	}
	for _, all := range []map[itemKey]*item{s.items, s.kept} {
		for id, i := range all {
			if !i.gone(now) {
				continue
			}
			switch {
			case i.dirty:
				// The row may be that of an older value with more time.
				m.remove(s, i)
			case i.keep:
				m.keptCount.Add(-1)
			default:
				s.bytes -= i.size()
			}
			delete(all, id)
			i.dead = true
			m.tell(Event{Key: id.key, Deleted: true}, id.set)
		}
	}
}
