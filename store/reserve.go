package store

import (
	"context"
	"sync/atomic"
)

const maxWindows = 16

// hold is what a reservation has counted in one window.
type hold struct {
	s      *shard
	w      *window
	bucket int64
	cost   int64
}

// reservation has room in itself for what acts usually have, so that one is
// one allocation.
type reservation struct {
	m      *Memory
	ended  atomic.Bool
	holds  []hold
	hold2  [2]hold
	usage2 [2]Usage
}

func (r *reservation) Commit() { r.ended.Store(true) }

// Refund takes back what still counts. A counter that was evicted meanwhile has
// nothing to give back: its holder is changed and nobody looks at it.
func (r *reservation) Refund() {
	if !r.ended.CompareAndSwap(false, true) {
		return
	}
	now := r.m.now()
	for _, h := range r.holds {
		h.s.mu.Lock()
		h.w.advance(now)
		h.w.take(h.bucket, h.cost)
		if !h.w.dead {
			r.m.markWindow(h.s, h.w)
		}
		h.s.mu.Unlock()
	}
}

// wrong tells why nothing can be counted against the window.
func (w *Window) wrong() error {
	switch {
	case w.Key == "" || w.Span <= 0 || w.Max < 0 || w.Cost < 0 || w.Buckets < 0 || w.Buckets > MaxBuckets:
		return errWindow
	case len(w.Key) > maxKey:
		return ErrTooBig
	}
	return nil
}

// Check tells what is wrong with the windows of an act, before anything is
// counted.
func Check(windows []Window) error {
	if len(windows) > maxWindows {
		return errMany
	}
	for i := range windows {
		if err := windows[i].wrong(); err != nil {
			return err
		}
	}
	return nil
}

// Count is Reserve of an act that is never taken back, against one window. It
// spares the allocations of a reservation: some acts happen for each message.
func (m *Memory) Count(w Window) (Usage, error) {
	if m.closed.Load() {
		return Usage{}, ErrClosed
	}
	if err := w.wrong(); err != nil {
		return Usage{}, err
	}
	s := &m.shards[m.shardOf(w.Key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	one := [1]Window{w}
	u := m.ask(s, one[:], 0, now)
	if u.Over || w.Cost == 0 {
		return u, nil
	}
	have := m.windowFor(s, w.id(), now)
	have.add(w.Cost)
	m.markWindow(s, have)
	u.Used = have.total
	return u, nil
}

// Reserve counts against all windows or none. All their shards are locked, in
// order, while it decides: no two acts can both take the last place.
func (m *Memory) Reserve(ctx context.Context, windows []Window) (Reservation, []Usage, error) {
	if m.closed.Load() {
		return nil, nil, ErrClosed
	}
	if err := Check(windows); err != nil {
		return nil, nil, err
	}
	r := &reservation{m: m}
	r.holds = r.hold2[:0:len(r.hold2)]
	usage := r.usage2[:0:len(r.usage2)]

	var at [maxWindows]int
	for i := range windows {
		at[i] = m.shardOf(windows[i].Key)
	}
	m.lock(at[:len(windows)])
	defer m.unlock(at[:len(windows)])
	now := m.now()
	fits := true
	for i := range windows {
		u := m.ask(&m.shards[at[i]], windows, i, now)
		fits = fits && !u.Over
		usage = append(usage, u)
	}
	if !fits {
		return nil, usage, nil
	}
	for i := range windows {
		w := &windows[i]
		if w.Cost == 0 {
			continue
		}
		s := &m.shards[at[i]]
		have := m.windowFor(s, w.id(), now)
		have.add(w.Cost)
		m.markWindow(s, have)
		usage[i].Used = have.total
		r.holds = append(r.holds, hold{s, have, have.newest, w.Cost})
	}
	return r, usage, nil
}

// ask tells how full window i is; what the same act counts against the same
// window before i is in it.
func (m *Memory) ask(s *shard, windows []Window, i int, now int64) Usage {
	w := &windows[i]
	u := Usage{Max: w.Max}
	cost := w.Cost
	for j := range i {
		if windows[j].id() == w.id() {
			cost += min(windows[j].Cost, Never.Nanoseconds()-cost)
		}
	}
	have := s.windows[w.id()]
	if have != nil {
		have.advance(now)
		u.Used = have.total
	}
	if w.Max == 0 || cost <= w.Max && u.Used <= w.Max-cost {
		return u
	}
	u.Over, u.Free = true, Never
	if have != nil && w.Cost > 0 {
		u.Free = have.free(now, w.Max-cost)
	}
	if w.Cost == 0 {
		// Somebody who asks is not refused.
		u.Over, u.Free = false, 0
	}
	return u
}

func (m *Memory) windowFor(s *shard, id winKey, now int64) *window {
	if w := s.windows[id]; w != nil {
		return w
	}
	m.grown(s, now) // before there is a new one, which is empty
	m.roomForWindow(s, now)
	w := newWindow(id, now/id.width())
	s.windows[id] = w
	return w
}

// lock locks each of the shards once, in ascending order; at is put in order
// only in a copy, since it says which window is where.
func (m *Memory) lock(at []int) {
	if len(at) == 1 {
		m.shards[at[0]].mu.Lock()
		return
	}
	for mask, i := m.mask(at), 0; mask != 0; mask, i = mask>>1, i+1 {
		if mask&1 != 0 {
			m.shards[i].mu.Lock()
		}
	}
}

func (m *Memory) unlock(at []int) {
	if len(at) == 1 {
		m.shards[at[0]].mu.Unlock()
		return
	}
	for mask, i := m.mask(at), 0; mask != 0; mask, i = mask>>1, i+1 {
		if mask&1 != 0 {
			m.shards[i].mu.Unlock()
		}
	}
}

// mask has a bit for each shard: there are at most 64.
func (m *Memory) mask(at []int) uint64 {
	var mask uint64
	for _, i := range at {
		mask |= 1 << i
	}
	return mask
}
