package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Peek asks all windows at one moment.
func (m *Memory) Peek(ctx context.Context, windows []Window) ([]Usage, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if err := Check(windows); err != nil {
		return nil, err
	}
	var at [maxWindows]int
	for i := range windows {
		at[i] = m.shardOf(windows[i].Key)
	}
	m.lock(at[:len(windows)])
	defer m.unlock(at[:len(windows)])
	now := m.now()
	usage := make([]Usage, len(windows))
	for i := range windows {
		usage[i] = m.ask(&m.shards[at[i]], windows, i, now)
	}
	return usage, nil
}

// Counters looks at every counter, one part of them after the other.
func (m *Memory) Counters(ctx context.Context, prefix string, limit int) ([]Counter, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	var out []Counter
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		now := m.now()
		for id, w := range s.windows {
			if !strings.HasPrefix(id.key, prefix) {
				continue
			}
			if w.advance(now); w.total > 0 {
				out = append(out, Counter{id.key, id.span, int(id.parts), w.total})
			}
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return Fullest(out, limit), nil
}

// Fullest puts counters in the order of Counters and cuts the list.
func Fullest(c []Counter, limit int) []Counter {
	slices.SortFunc(c, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), strings.Compare(a.Key, b.Key), cmp.Compare(a.Span, b.Span), cmp.Compare(a.Buckets, b.Buckets))
	})
	return c[:max(min(len(c), limit), 0)]
}

// History copies the parts of one window.
func (m *Memory) History(ctx context.Context, w Window) ([]int64, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if err := w.wrong(); err != nil {
		return nil, err
	}
	id := w.id()
	s := &m.shards[m.shardOf(w.Key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.windows[id]
	if have == nil {
		return make([]int64, id.buckets()), nil
	}
	have.advance(m.now())
	return have.history(), nil
}
