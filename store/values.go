package store

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"
)

// AddNew adds a member to a set.
func (m *Memory) AddNew(ctx context.Context, set, member string, ttl time.Duration) (bool, error) {
	switch {
	case m.closed.Load():
		return false, ErrClosed
	case len(set)+len(member) > maxKey || set == "":
		return false, ErrTooBig
	}
	id := itemKey{set, member}
	s := &m.shards[m.shardOf(member)]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	if s.lookup(id, now) != nil {
		return false, nil
	}
	m.set(s, &item{id: id, expires: until(now, ttl)}, now)
	return true, nil
}

// Get gives a copy of a value.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if m.closed.Load() {
		return nil, false, ErrClosed
	}
	s := &m.shards[m.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.lookup(itemKey{key: key}, m.now())
	if i == nil {
		return nil, false, nil
	}
	return bytes.Clone(i.value), true, nil
}

// Put keeps a value until it expires or is evicted.
func (m *Memory) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return m.put(key, value, ttl, false)
}

// Keep keeps a value until it expires.
func (m *Memory) Keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return m.put(key, value, ttl, true)
}

// PutNow is Keep, and durable.
func (m *Memory) PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := m.put(key, value, ttl, true); err != nil {
		return err
	}
	return m.Sync(ctx)
}

func (m *Memory) put(key string, value []byte, ttl time.Duration, keep bool) error {
	switch {
	case m.closed.Load():
		return ErrClosed
	case key == "" || len(key) > maxKey || len(value) > maxValue:
		return ErrTooBig
	}
	id := itemKey{key: key}
	// Never nil: that would be an event of something deleted.
	value = append(make([]byte, 0, len(value)), value...)
	s := &m.shards[m.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	if keep && s.kept[id] == nil && m.keptCount.Load() >= int64(m.config.Entries) {
		m.sweep(s, now)
		if m.keptCount.Load() >= int64(m.config.Entries) {
			return ErrFull
		}
	}
	m.set(s, &item{id: id, value: value, expires: until(now, ttl), keep: keep}, now)
	m.tell(Event{Key: key, Value: value}, "")
	return nil
}

// Delete removes a value; one that is not there is no error.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	s := &m.shards[m.shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	id := itemKey{key: key}
	i := s.items[id]
	if i == nil {
		i = s.kept[id]
	}
	if i != nil {
		m.remove(s, i)
		m.tell(Event{Key: key, Deleted: true}, "")
	}
	return nil
}

// DeleteNow is Delete, and durable.
func (m *Memory) DeleteNow(ctx context.Context, key string) error {
	if err := m.Delete(ctx, key); err != nil {
		return err
	}
	return m.Sync(ctx)
}

// List gives values in the order of their keys. It looks at every value: it is
// for operators and for starts, not for messages.
func (m *Memory) List(ctx context.Context, prefix, after string, limit int) ([]Item, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	wall := m.config.Now()
	var out []Item
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		now := m.now()
		for _, all := range []map[itemKey]*item{s.items, s.kept} {
			for id, i := range all {
				if id.set != "" || !strings.HasPrefix(id.key, prefix) || id.key <= after || i.gone(now) {
					continue
				}
				it := Item{Key: id.key, Value: i.value}
				if i.expires != 0 {
					it.Expires = wall.Add(time.Duration(i.expires - now))
				}
				out = append(out, it)
			}
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	out = out[:max(min(len(out), limit), 0)]
	for i := range out {
		out[i].Value = bytes.Clone(out[i].Value)
	}
	return out, nil
}

// Kept gives all values that are never evicted, in no order.
func (m *Memory) Kept() []Item {
	wall := m.config.Now()
	var out []Item
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		now := m.now()
		for _, i := range s.kept {
			if i.gone(now) {
				continue
			}
			it := Item{Key: i.id.key, Value: bytes.Clone(i.value)}
			if i.expires != 0 {
				it.Expires = wall.Add(time.Duration(i.expires - now))
			}
			out = append(out, it)
		}
		s.mu.Unlock()
	}
	return out
}
