package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"garita/store"
)

const (
	// listen is how long one read of the events waits for the next: the numbers
	// are compared at least that often, so what was missed is known within a
	// second.
	listen = 400 * time.Millisecond
	// eventsAtOnce of one read.
	eventsAtOnce = 256
	// readTime bounds the reading of all kept values.
	readTime = 5 * time.Second
)

// mirror brings the kept values of all gateways into the local engine, each
// change once and in the order of the numbers.
type mirror struct {
	mu    sync.Mutex
	epoch string
	last  int64
	// settled is the number up to which values may be here before their events.
	settled int64
	// ahead are our own changes that were taken over before their events came.
	ahead map[string]int64
}

// direct takes over a change of ours.
func (m *mirror) direct(local *store.Memory, v int64, key string, put bool, value []byte, ttl time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v <= m.last || v <= m.ahead[key] {
		return
	}
	if len(m.ahead) < maxEvents {
		m.ahead[key] = v
		m.apply(local, key, put, value, ttl)
	}
}

func (m *mirror) apply(local *store.Memory, key string, put bool, value []byte, ttl time.Duration) {
	// The local engine may be full or closed; then the others know more than
	// this gateway will when Redis is away.
	if put {
		_ = local.Keep(context.Background(), key, value, ttl)
	} else {
		_ = local.Delete(context.Background(), key)
	}
}

// event takes over one of the stream. false: one before it is missing.
func (m *mirror) event(local *store.Memory, x goredis.XMessage) bool {
	n, _, _ := strings.Cut(x.ID, "-")
	v, err := strconv.ParseInt(n, 10, 64)
	key, ok := x.Values["key"].(string)
	value, ok2 := x.Values["value"].(string)
	op, ok3 := x.Values["op"].(string)
	text, ok4 := x.Values["ttl"].(string)
	ms, terr := strconv.ParseInt(text, 10, 64)
	if err != nil || !ok || !ok2 || !ok3 || !ok4 || terr != nil || len(key) > maxKey {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case v <= m.last:
		return true
	case v != m.last+1:
		return false
	}
	m.last = v
	if a, ok := m.ahead[key]; ok {
		if a == v {
			delete(m.ahead, key)
		}
		if a >= v {
			return true
		}
	}
	if v <= m.settled && op == "put" {
		if have, ok, _ := local.Get(context.Background(), key); ok && string(have) == value {
			return true
		}
	}
	m.apply(local, key, op == "put", []byte(value), time.Duration(ms)*time.Millisecond)
	return true
}

// follow reads the events until the store ends.
func (s *Store) follow() {
	for s.ctx.Err() == nil {
		err := s.listen()
		if alien(err) {
			err = s.heal()
		}
		if err == nil {
			continue
		}
		if s.ctx.Err() == nil && !s.isAway.Load() {
			s.failed(keptTag, err)
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(firstRetry):
		}
	}
}

// listen is one look at the numbers and one read of the events. While Redis is
// away it does nothing: the journal comes first, so that what was decided here
// meanwhile is not undone by what was decided before.
func (s *Store) listen() error {
	if s.isAway.Load() {
		return errAway
	}
	ctx, cancel := s.within(s.ctx)
	got, err := s.client.MGet(ctx, s.listName("epoch"), s.listName("version")).Result()
	cancel()
	if err != nil {
		return err
	}
	epoch, _ := got[0].(string)
	text, _ := got[1].(string)
	version, _ := strconv.ParseInt(text, 10, 64)
	s.mirror.mu.Lock()
	same, last := epoch == s.mirror.epoch && version >= s.mirror.last, s.mirror.last
	s.mirror.mu.Unlock()
	if epoch == "" || text == "" {
		return s.begin()
	}
	if !same {
		return s.readAll(epoch)
	}
	ctx, cancel = context.WithTimeout(s.ctx, listen+s.options.Config.Timeout)
	defer cancel()
	streams, err := s.client.XRead(ctx, &goredis.XReadArgs{
		Streams: []string{s.listName("events"), strconv.FormatInt(last, 10) + "-1"}, Count: eventsAtOnce, Block: listen,
	}).Result()
	if goredis.HasErrorPrefix(err, "UNBLOCKED") {
		return nil // it has become a replica: the next call says what follows
	}
	if errors.Is(err, goredis.Nil) {
		if version > last {
			// The numbers went on and the events are gone.
			return s.readAll(epoch)
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, st := range streams {
		for _, x := range st.Messages {
			if !s.mirror.event(s.local, x) {
				return s.readAll(epoch)
			}
		}
	}
	return nil
}

// heal makes a change that changes nothing: it takes away what stands under our
// names and is not ours.
func (s *Store) heal() error { return s.run(s.ctx, []call{s.keepCall("delete", "", nil, 0)}) }

// begin gives an empty Redis what this gateway knows to be kept: the first use
// of it, or the loss of its data, lifts no ban.
func (s *Store) begin() error {
	ctx, cancel := context.WithTimeout(s.ctx, readTime)
	defer cancel()
	for _, it := range append(s.local.Kept(), store.Item{Key: "", Value: nil}) {
		op, ttl := "put", time.Duration(0)
		if it.Key == "" {
			if err := s.heal(); err != nil { // or it would begin for ever
				return err
			}
			// Without any value: a change that leaves nothing begins the epoch.
			if _, err := s.client.SetNX(ctx, s.listName("epoch"), randomName(), 0).Result(); err != nil {
				return err
			}
			return s.client.SetNX(ctx, s.listName("version"), 0, 0).Err()
		}
		if !it.Expires.IsZero() {
			if ttl = time.Until(it.Expires); ttl <= 0 {
				continue
			}
		}
		calls := []call{s.keepCall(op, it.Key, it.Value, ttl)}
		if err := s.run(ctx, calls); err != nil {
			return err
		}
	}
	return nil
}

// readAll makes the local engine's kept values those of Redis.
func (s *Store) readAll(epoch string) error {
	ctx, cancel := context.WithTimeout(s.ctx, readTime)
	defer cancel()
	// The number first: what comes after it is read again from the events.
	version, err := s.client.Get(ctx, s.listName("version")).Int64()
	if err != nil {
		return err
	}
	keys, err := s.client.ZRange(ctx, s.listName("index"), 0, -1).Result()
	if err != nil {
		return err
	}
	items, err := s.items(ctx, keys, len(keys))
	if err != nil {
		return err
	}
	settled, err := s.client.Get(ctx, s.listName("version")).Int64()
	if err != nil {
		return err
	}
	have := map[string]store.Item{}
	for _, it := range s.local.Kept() {
		have[it.Key] = it
	}
	m := &s.mirror
	m.mu.Lock()
	defer m.mu.Unlock()
	// What Redis does not have was deleted while we did not look; or Redis lost
	// it, and all who run know better.
	lost := m.epoch != "" && (epoch != m.epoch || version < m.last)
	if lost {
		clear(m.ahead) // numbers that mean nothing now
	}
	for key, v := range m.ahead {
		if v <= version {
			delete(m.ahead, key)
			continue
		}
		delete(have, key)
	}
	for _, it := range items {
		old, ok := have[it.Key]
		delete(have, it.Key)
		if m.ahead[it.Key] > 0 {
			continue // ours is newer; if another's is newer still, its event comes
		}
		if ok && string(old.Value) == string(it.Value) && near(old.Expires, it.Expires) {
			continue // no news to watchers
		}
		ttl := time.Duration(0)
		if !it.Expires.IsZero() {
			ttl = max(time.Until(it.Expires), time.Millisecond)
		}
		m.apply(s.local, it.Key, true, it.Value, ttl)
	}
	for key, it := range have {
		if !lost {
			m.apply(s.local, key, false, nil, 0)
			continue
		}
		s.journal.change(key, change{value: it.Value, kept: true, until: it.Expires})
	}
	m.epoch, m.last, m.settled = epoch, version, settled
	if lost && len(have) > 0 {
		return errLost
	}
	return nil
}

// errLost makes the store bring what Redis has lost, as after any outage.
var errLost = errors.New("redis: it has lost values that it had confirmed; they are brought again")

// near tells whether two expiries are one, as far as two clocks can tell.
func near(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < 2*time.Second
}
