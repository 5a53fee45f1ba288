package store

import (
	"hash/maphash"
	"sync"
)

// itemKey is a value (set is empty) or a member of a set.
type itemKey struct{ set, key string }

// item is one value that is never evicted; the others lie in a table. Its
// shard's lock guards it; value is never changed in place.
type item struct {
	id      itemKey
	value   []byte
	expires int64 // time of the store; 0 is never

	dirty, stored, dead bool
}

func (i *item) gone(now int64) bool { return i.expires != 0 && i.expires <= now }

// shard is a part of everything, under a lock of its own.
type shard struct {
	mu      sync.Mutex
	windows map[winKey]*window
	items   table
	kept    map[itemKey]*item

	// What the disk does not know yet, beside items.dirty.
	dirtyKept    []*item
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

// home gives the shard of a value or member, and its hash in the table there.
func (m *Memory) home(id itemKey) (*shard, uint32) {
	h := maphash.String(m.seed, id.key)
	hash := uint32(h >> 6) // the lowest six bits say which shard
	if id.set != "" {
		hash ^= uint32(maphash.String(m.seed, id.set)) * 0x9e3779b1
	}
	return &m.shards[h%uint64(len(m.shards))], hash
}

// lookup gives a live value; it is valid under the lock.
func (s *shard) lookup(hash uint32, id itemKey, now int64) (value []byte, ok bool) {
	if _, r := s.items.find(hash, id); r != nil {
		return r.value(), !r.gone(now)
	}
	if i := s.kept[id]; i != nil {
		return i.value, !i.gone(now)
	}
	return nil, false
}

// set puts a value that may be evicted in place of what was there.
func (m *Memory) set(s *shard, hash uint32, id itemKey, value []byte, expires, now int64) {
	flags := byte(0)
	if m.disk != nil {
		flags = isDirty
	}
	if i, r := s.items.find(hash, id); r != nil {
		if len(r.value()) == len(value) {
			copy(r.value(), value)
			r.setExpires(expires)
			if m.disk != nil && s.items.markDirty(i, r) {
				m.dirtied()
			}
			m.grown(s, now)
			return
		}
		flags |= r[atFlags] & isStored
		s.items.remove(i)
	} else if old := s.kept[id]; old != nil {
		if old.stored {
			flags |= isStored
		}
		m.dropKept(s, old)
	}
	m.roomForItem(s, recordSize(id, len(value)), now)
	s.items.insert(hash, id, value, expires, flags)
	s.items.tidy()
	if m.disk != nil {
		m.dirtied()
	}
	m.grown(s, now)
}

// keep puts a value that is never evicted in place of what was there.
func (m *Memory) keep(s *shard, hash uint32, i *item, now int64) {
	if n, r := s.items.find(hash, i.id); r != nil {
		i.stored = r.is(isStored)
		s.items.remove(n)
		s.items.tidy()
	} else if old := s.kept[i.id]; old != nil {
		i.stored = old.stored
		m.dropKept(s, old)
	}
	s.kept[i.id] = i
	m.keptCount.Add(1)
	m.markKept(s, i)
	m.grown(s, now)
}

func (m *Memory) dropKept(s *shard, i *item) {
	delete(s.kept, i.id)
	i.dead = true
	m.keptCount.Add(-1)
}

// remove takes out what the name has, and tells whether there was any; the
// disk is told when it may have it.
func (m *Memory) remove(s *shard, hash uint32, id itemKey) bool {
	if i, r := s.items.find(hash, id); r != nil {
		m.removeSlot(s, i)
		s.items.tidy()
		return true
	}
	i := s.kept[id]
	if i == nil {
		return false
	}
	m.dropKept(s, i)
	if i.stored {
		m.forget(s, id)
	}
	return true
}

// removeSlot takes a record out of the table, which may move others.
func (m *Memory) removeSlot(s *shard, i int) {
	if r := s.items.at(place(s.items.slots[i])); r.is(isStored) {
		m.forget(s, r.id())
	}
	s.items.remove(i)
}

// forget tells the disk that a row goes.
func (m *Memory) forget(s *shard, id itemKey) {
	if m.disk == nil {
		return
	}
	if len(s.goneItems) >= m.maxGone {
		m.wipe.Store(true)
		s.goneItems = nil
	}
	s.goneItems = append(s.goneItems, id)
	m.dirtied()
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

func (m *Memory) markKept(s *shard, i *item) {
	if m.disk != nil && !i.dirty {
		i.dirty = true
		s.dirtyKept = append(s.dirtyKept, i)
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

// roomForItem evicts until a record of that size fits.
func (m *Memory) roomForItem(s *shard, size int, now int64) {
	for s.items.n > 0 && (s.items.n >= m.itemsPerShard || s.items.bytes()+size+size/3+slotCost > m.bytesPerShard) {
		i := s.items.worst(now)
		r := s.items.at(place(s.items.slots[i]))
		if !r.gone(now) {
			m.evicted.Add(1)
		}
		m.tellGone(r)
		m.removeSlot(s, i)
	}
}

// tellGone tells watchers that a record goes.
func (m *Memory) tellGone(r record) {
	if m.watching.Load() > 0 && len(r.set()) == 0 {
		m.tell(Event{Key: string(r.key()), Deleted: true}, "")
	}
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
	if s.added++; s.added > 64+(s.items.n+len(s.kept)+len(s.windows))/2 {
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
	for i := 0; i < len(s.items.slots); {
		if s.items.slots[i] == 0 {
			i++
			continue
		}
		r := s.items.at(place(s.items.slots[i]))
		if !r.gone(now) {
			i++
			continue
		}
		m.tellGone(r)
		if r.is(isDirty) {
			// The row may be that of an older value with more time.
			m.removeSlot(s, i)
		} else {
			s.items.remove(i) // another one may stand here now
		}
	}
	s.items.tidy()
	for id, i := range s.kept {
		if !i.gone(now) {
			continue
		}
		m.dropKept(s, i)
		if i.dirty && i.stored {
			m.forget(s, id)
		}
		m.tell(Event{Key: id.key, Deleted: true}, id.set)
	}
}
