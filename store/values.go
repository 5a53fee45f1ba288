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
	s, hash := m.home(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	if _, ok := s.lookup(hash, id, now); ok {
		return false, nil
	}
	m.set(s, hash, id, nil, until(now, ttl), now)
	return true, nil
}

// Get gives a copy of a value.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if m.closed.Load() {
		return nil, false, ErrClosed
	}
	id := itemKey{key: key}
	s, hash := m.home(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.lookup(hash, id, m.now())
	if !ok {
		return nil, false, nil
	}
	return append(make([]byte, 0, len(value)), value...), true, nil
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
	s, hash := m.home(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	if keep && s.kept[id] == nil && m.keptCount.Load() >= int64(m.config.Entries) {
		m.sweep(s, now)
		if m.keptCount.Load() >= int64(m.config.Entries) {
			return ErrFull
		}
	}
	if keep {
		// Never nil: that would be an event of something deleted.
		value = append(make([]byte, 0, len(value)), value...)
		m.keep(s, hash, &item{id: id, value: value, expires: until(now, ttl)}, now)
	} else {
		m.set(s, hash, id, value, until(now, ttl), now)
	}
	m.tell(Event{Key: key, Value: value}, "")
	return nil
}

// Delete removes a value; one that is not there is no error.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	id := itemKey{key: key}
	s, hash := m.home(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.remove(s, hash, id) {
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
	limit = max(limit, 0)
	var out []Item
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		now := m.now()
		add := func(key string, value []byte, expires int64) {
			it := Item{Key: key, Value: append(make([]byte, 0, len(value)), value...)}
			if expires != 0 {
				it.Expires = wall.Add(time.Duration(expires - now))
			}
			out = append(out, it)
		}
		for _, slot := range s.items.slots {
			if slot == 0 {
				continue
			}
			r := s.items.at(place(slot))
			if key := r.key(); len(r.set()) == 0 && len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix && string(key) > after && !r.gone(now) {
				add(string(key), r.value(), r.expires())
			}
		}
		for id, i := range s.kept {
			if strings.HasPrefix(id.key, prefix) && id.key > after && !i.gone(now) {
				add(id.key, i.value, i.expires)
			}
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(out) > 2*limit { // a copy of all that there is may not fit
			out = first(out, limit)
		}
	}
	return first(out, limit), nil
}

func first(out []Item, limit int) []Item {
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), limit)]
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
