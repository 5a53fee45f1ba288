package store

import (
	"bytes"
	"time"
)

const (
	// heartbeat writes the clocks when nothing else is written: what the wall
	// clock did while we were down is judged from there.
	heartbeat = time.Minute
	// purgeEvery is how often the disk drops rows that have expired.
	purgeEvery = time.Minute
	// maxBackoff is between two attempts on a disk that does not take writes.
	maxBackoff = 5 * time.Second
	logEvery   = time.Minute
)

// itemRow and windowRow are rows as they were when the batch was taken.
type itemRow struct {
	set, key, value []byte
	expires         int64
	keep            bool
}

func (r *itemRow) id() itemKey { return itemKey{string(r.set), string(r.key)} }

type windowRow struct {
	id              winKey
	newest, expires int64
	counts          []byte
}

// batch is what one transaction writes: first what is gone, then what is there.
type batch struct {
	wipe        bool // before all, every row goes
	purge       bool // rows that have expired go
	goneItems   []itemKey
	goneWindows []winKey
	items       []itemRow
	windows     []windowRow

	// To give back when it fails.
	fromWindows []*window
}

func (b *batch) size() int {
	return len(b.goneItems) + len(b.goneWindows) + len(b.items) + len(b.windows)
}

// dirtied is told of each row that the disk does not know.
func (m *Memory) dirtied() {
	if m.rows.Add(1) == flushRows {
		m.wake()
	}
}

func (m *Memory) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// write is the one goroutine that writes. It runs until Close.
func (m *Memory) write(every time.Duration) {
	defer close(m.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var next int
	var beat, purge, retry time.Duration
	backoff := every
	for last := false; !last; {
		select {
		case <-tick.C:
			m.sweepNext(&next)
		case <-m.kick:
		case <-m.done:
			last = true
		}
		m.waitMu.Lock()
		waiters := m.waiters
		m.waiters = nil
		m.waitMu.Unlock()
		now := m.steady()
		due := now-beat >= heartbeat
		if len(waiters) == 0 && !last && (now < retry || m.rows.Load() == 0 && !m.wipe.Load() && !due) {
			continue
		}
		b := m.takeBatch()
		b.purge = now-purge >= purgeEvery
		var err error
		if b.size() > 0 || b.wipe || due || last || m.Fault() != nil {
			err = m.disk.write(b, m.now(), m.config.Now())
		}
		m.report(err, now)
		if err != nil {
			m.giveBack(b)
			backoff = min(2*backoff, maxBackoff)
			retry = now + backoff
		} else {
			m.written.Add(uint64(b.size()))
			beat, backoff, retry = now, every, 0
			if b.purge {
				purge = now
			}
		}
		for _, w := range waiters {
			w <- err
		}
	}
	// Who asked between the last batch and the end.
	m.waitMu.Lock()
	defer m.waitMu.Unlock()
	for _, w := range m.waiters {
		w <- ErrClosed
	}
	m.waiters = nil
}

// sweepNext sweeps one shard at each tick: memory that nobody adds to shrinks
// too.
func (m *Memory) sweepNext(next *int) {
	s := &m.shards[*next%len(m.shards)]
	*next++
	s.mu.Lock()
	m.sweep(s, m.now())
	s.mu.Unlock()
}

// takeBatch takes everything that the disk does not know.
func (m *Memory) takeBatch() *batch {
	b := &batch{wipe: m.wipe.Swap(false)}
	m.rows.Store(0)
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		if b.wipe {
			s.everything()
		} else {
			b.goneItems = append(b.goneItems, s.goneItems...)
			b.goneWindows = append(b.goneWindows, s.goneWindows...)
		}
		s.goneItems, s.goneWindows = nil, nil
		for _, at := range s.items.dirty {
			r := s.items.at(at)
			if r.is(isDead) {
				continue
			}
			r.clear(isDirty)
			r.mark(isStored)
			c := record(bytes.Clone(r)) // which the next Put may write into
			b.items = append(b.items, itemRow{c.set(), c.key(), c.value(), c.expires(), false})
		}
		s.items.dirty = nil
		for _, i := range s.dirtyKept {
			i.dirty = false
			if !i.dead {
				i.stored = true
				b.items = append(b.items, itemRow{[]byte(i.id.set), []byte(i.id.key), i.value, i.expires, true})
			}
		}
		for _, w := range s.dirtyWindows {
			w.dirty = false
			if !w.dead {
				w.stored = true
				b.windows = append(b.windows, windowRow{w.id, w.newest, w.expires(), w.encode()})
				b.fromWindows = append(b.fromWindows, w)
			}
		}
		s.dirtyKept, s.dirtyWindows = nil, nil
		s.mu.Unlock()
	}
	return b
}

// everything makes all of the shard dirty.
func (s *shard) everything() {
	s.dirtyKept, s.dirtyWindows, s.items.dirty = nil, nil, nil
	for _, slot := range s.items.slots {
		if slot != 0 {
			s.items.at(place(slot)).mark(isDirty)
			s.items.dirty = append(s.items.dirty, place(slot))
		}
	}
	for _, i := range s.kept {
		i.dirty = true
		s.dirtyKept = append(s.dirtyKept, i)
	}
	for _, w := range s.windows {
		w.dirty = true
		s.dirtyWindows = append(s.dirtyWindows, w)
	}
}

// giveBack makes what could not be written pending again. What has changed
// since is pending already.
func (m *Memory) giveBack(b *batch) {
	if b.wipe {
		m.wipe.Store(true)
	}
	for i := range b.items {
		id := b.items[i].id()
		s, hash := m.home(id)
		s.mu.Lock()
		if n, r := s.items.find(hash, id); r != nil {
			if s.items.markDirty(n, r) {
				m.dirtied()
			}
		} else if have := s.kept[id]; have != nil {
			m.markKept(s, have)
		}
		s.mu.Unlock()
	}
	for _, w := range b.fromWindows {
		s := &m.shards[m.shardOf(w.id.key)]
		s.mu.Lock()
		if !w.dead {
			m.markWindow(s, w)
		}
		s.mu.Unlock()
	}
	for _, id := range b.goneItems {
		s, hash := m.home(id)
		s.mu.Lock()
		if _, r := s.items.find(hash, id); r == nil && s.kept[id] == nil {
			s.goneItems = append(s.goneItems, id)
			m.dirtied()
		}
		if len(s.goneItems) > m.maxGone {
			s.goneItems = nil
			m.wipe.Store(true)
		}
		s.mu.Unlock()
	}
	for _, id := range b.goneWindows {
		s := &m.shards[m.shardOf(id.key)]
		s.mu.Lock()
		if s.windows[id] == nil {
			s.goneWindows = append(s.goneWindows, id)
			m.dirtied()
		}
		if len(s.goneWindows) > m.maxGone {
			s.goneWindows = nil
			m.wipe.Store(true)
		}
		s.mu.Unlock()
	}
}

// report remembers and tells how the last attempt went.
func (m *Memory) report(err error, now time.Duration) {
	m.faultMu.Lock()
	before := m.fault
	m.fault = err
	if err != nil {
		m.retries++
	}
	tell := err != nil && (before == nil || now-m.faultAt >= logEvery) || err == nil && before != nil
	if tell {
		m.faultAt = now
	}
	m.faultMu.Unlock()
	if !tell || m.config.Log == nil {
		return
	}
	if err != nil {
		m.config.Log("state is kept in memory only; the disk does not take it", err)
	} else {
		m.config.Log("state is on the disk again", nil)
	}
}
