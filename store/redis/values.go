package redis

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"garita/store"
)

const (
	maxKey   = 1 << 10
	maxValue = 16 << 10
	// scanStep is how many keys one SCAN looks at: the server answers nobody
	// else meanwhile.
	scanStep = 1000
)

func (s *Store) valueName(key string) string { return s.name("v:" + braces(tagOf(key)) + ":" + key) }
func (s *Store) keptName(key string) string  { return s.name("k:{kept}:v:" + key) }
func (s *Store) listName(what string) string { return s.name("k:{kept}:" + what) }

// memberName has the length of the set's name, so that no two pairs are one.
func (s *Store) memberName(set, member string) string {
	return s.name("s:" + braces(tagOf(member)) + ":" + strconv.Itoa(len(set)) + ":" + set + ":" + member)
}

// bounded is the time to live of what may be evicted; it always has one.
func bounded(ttl time.Duration) time.Duration {
	if ttl <= 0 || ttl > longestTTL {
		return longestTTL
	}
	return max(ttl, time.Millisecond)
}

// endOf is when a ttl ends, zero for never.
func endOf(ttl time.Duration) time.Time {
	if ttl <= 0 || ttl > 100*longestTTL {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

func (s *Store) keepCall(op, key string, value []byte, ttl time.Duration) call {
	ms := int64(0)
	if ttl > 0 && ttl <= 100*longestTTL {
		ms = max(ttl.Milliseconds(), 1)
	}
	return call{script: s.scripts.keep, tag: keptTag,
		keys: []string{s.keptName(key), s.listName("index"), s.listName("version"), s.listName("events"), s.listName("epoch")},
		args: []any{op, key, value, ms, s.options.Entries, randomName(), maxEvents}}
}

// AddNew adds a member to a set.
func (s *Store) AddNew(ctx context.Context, set, name string, ttl time.Duration) (added bool, err error) {
	if len(set)+len(name) > maxKey || set == "" {
		return false, store.ErrTooBig
	}
	var lerr error
	id := s.memberName(set, name)
	err = s.either(ctx, tagOf(name), func() error {
		ctx, cancel := s.within(ctx)
		defer cancel()
		var err error
		if added, err = s.client.SetNX(ctx, id, 1, bounded(ttl)).Result(); err == nil {
			_, _ = s.local.AddNew(ctx, set, name, ttl)
		}
		return err
	}, func() {
		if added, lerr = s.local.AddNew(ctx, set, name, ttl); added {
			s.journal.member(member{set, name}, endOf(ttl))
		}
	})
	return added, errors.Join(err, lerr)
}

// within counts a call and bounds it.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	s.calls.Add(1)
	return context.WithTimeout(ctx, s.options.Config.Timeout)
}

// Get asks for the kept value and the other at once.
func (s *Store) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	if key == "" || len(key) > maxKey {
		return nil, false, nil
	}
	var lerr error
	id := s.valueName(key)
	err = s.either(ctx, tagOf(key), func() error {
		ctx, cancel := s.within(ctx)
		defer cancel()
		pipe := s.client.Pipeline()
		kept, other, ttl := pipe.Get(ctx, s.keptName(key)), pipe.Get(ctx, id), pipe.PTTL(ctx, id)
		_, _ = pipe.Exec(ctx) // each command has its own error
		for _, err := range []error{kept.Err(), other.Err(), ttl.Err()} {
			if err != nil && !errors.Is(err, goredis.Nil) && !alien(err) {
				return err
			}
		}
		if kept.Err() == nil {
			value, ok = []byte(kept.Val()), true
			return nil
		}
		if other.Err() == nil {
			value, ok = []byte(other.Val()), true
			// What passes through here is known when Redis is away.
			if have, is, _ := s.local.Get(ctx, key); !is || !bytes.Equal(have, value) {
				_ = s.local.Put(ctx, key, value, max(ttl.Val(), 0))
			}
		}
		return nil
	}, func() { value, ok, lerr = s.local.Get(ctx, key) })
	return value, ok, errors.Join(err, lerr)
}

func wrong(key string, value []byte) error {
	if key == "" || len(key) > maxKey || len(value) > maxValue {
		return store.ErrTooBig
	}
	return nil
}

// alien tells that something of another type has a name of ours: that is no
// value, and no fault of Redis. Who writes the value replaces it.
func alien(err error) bool { return goredis.HasErrorPrefix(err, "WRONGTYPE") }

// Put keeps a value until it expires or is evicted.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := wrong(key, value); err != nil {
		return err
	}
	var lerr error
	id := s.valueName(key)
	err := s.either(ctx, tagOf(key), func() error {
		if _, err := s.changed(ctx, "delete", key, nil, 0); err != nil {
			return err
		}
		ctx, cancel := s.within(ctx)
		defer cancel()
		if err := s.client.Set(ctx, id, value, bounded(ttl)).Err(); err != nil {
			return err
		}
		return s.local.Put(ctx, key, value, ttl)
	}, func() {
		if lerr = s.local.Put(ctx, key, value, ttl); lerr == nil {
			s.journal.change(key, change{value: bytes.Clone(value), until: endOf(ttl)})
		}
	})
	return errors.Join(err, lerr)
}

// changed runs the script of kept values and takes the change over.
func (s *Store) changed(ctx context.Context, op, key string, value []byte, ttl time.Duration) (version int64, err error) {
	calls := []call{s.keepCall(op, key, value, ttl)}
	if err := s.run(ctx, calls); err != nil {
		return 0, err
	}
	if version = calls[0].reply[1].(int64); version > 0 {
		s.mirror.direct(s.local, version, key, op == "put", value, ttl)
	}
	return version, nil
}

// errAway is what PutNow gives while Redis is away.
var errAway = errors.New("store.redis: it holds on this gateway and is brought to the shared store when that returns")

// Keep keeps a value until it expires.
func (s *Store) Keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := s.keep(ctx, key, value, ttl)
	return err
}

// PutNow is Keep; while Redis is away it is durable here, and an error says
// that it is only here.
func (s *Store) PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	here, err := s.keep(ctx, key, value, ttl)
	return s.settled(ctx, here, err)
}

// settled waits for our own disk when a change is only here. It does so after
// the change: nobody else may have to wait.
func (s *Store) settled(ctx context.Context, here bool, err error) error {
	if err == nil && here {
		return errors.Join(errAway, s.local.Sync(ctx))
	}
	return err
}

func (s *Store) keep(ctx context.Context, key string, value []byte, ttl time.Duration) (here bool, err error) {
	if err := wrong(key, value); err != nil {
		return false, err
	}
	full := false
	var lerr error
	err = s.either(ctx, keptTag, func() error {
		v, err := s.changed(ctx, "put", key, value, ttl)
		if err != nil {
			return err
		}
		if full = v == -2; full {
			return nil
		}
		ctx, cancel := s.within(ctx)
		defer cancel()
		return s.client.Del(ctx, s.valueName(key)).Err()
	}, func() {
		here = true
		if lerr = s.local.Keep(ctx, key, value, ttl); lerr == nil {
			s.journal.change(key, change{value: bytes.Clone(value), kept: true, until: endOf(ttl)})
		}
	})
	if full {
		lerr = store.ErrFull
	}
	return here, errors.Join(err, lerr)
}

// Delete removes a value, whichever it is.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.remove(ctx, key)
	return err
}

// DeleteNow is to Delete as PutNow to Keep.
func (s *Store) DeleteNow(ctx context.Context, key string) error {
	here, err := s.remove(ctx, key)
	return s.settled(ctx, here, err)
}

func (s *Store) remove(ctx context.Context, key string) (here bool, err error) {
	if key == "" || len(key) > maxKey {
		return false, nil
	}
	var lerr error
	err = s.either(ctx, keptTag, func() error {
		if _, err := s.changed(ctx, "delete", key, nil, 0); err != nil {
			return err
		}
		ctx, cancel := s.within(ctx)
		defer cancel()
		if err := s.client.Del(ctx, s.valueName(key)).Err(); err != nil {
			return err
		}
		return s.local.Delete(ctx, key)
	}, func() {
		here = true
		lerr = s.local.Delete(ctx, key)
		s.journal.change(key, change{deleted: true})
	})
	return here, errors.Join(err, lerr)
}

// List scans the values and reads those that are asked for.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]store.Item, error) {
	var out []store.Item
	var lerr error
	err := s.either(ctx, 0, func() error {
		ctx, cancel := context.WithTimeout(ctx, scanTime)
		defer cancel()
		names, err := s.scan(ctx, "v:{*}:"+escape(prefix)+"*")
		if err != nil {
			return err
		}
		var keys []string
		for _, n := range names {
			if i := strings.Index(n, "}:"); i >= 0 {
				keys = append(keys, n[i+2:])
			}
		}
		s.calls.Add(1)
		kept, err := s.client.ZRange(ctx, s.listName("index"), 0, -1).Result()
		if err != nil && !alien(err) {
			return err
		}
		keys = slices.DeleteFunc(append(keys, kept...), func(k string) bool { return k <= after || !strings.HasPrefix(k, prefix) })
		slices.Sort(keys)
		out, err = s.items(ctx, slices.Compact(keys), limit)
		return err
	}, func() { out, lerr = s.local.List(ctx, prefix, after, limit) })
	return out, errors.Join(err, lerr)
}

// items reads values by their keys, in order, until there are enough.
func (s *Store) items(ctx context.Context, keys []string, limit int) ([]store.Item, error) {
	var out []store.Item
	for len(keys) > 0 && len(out) < limit {
		n := min(len(keys), batchSize)
		pipe := s.client.Pipeline()
		var gets [][2]*goredis.StringCmd
		var ttls [][2]*goredis.DurationCmd
		for _, k := range keys[:n] {
			a, b := s.keptName(k), s.valueName(k)
			gets = append(gets, [2]*goredis.StringCmd{pipe.Get(ctx, a), pipe.Get(ctx, b)})
			ttls = append(ttls, [2]*goredis.DurationCmd{pipe.PTTL(ctx, a), pipe.PTTL(ctx, b)})
		}
		s.calls.Add(1)
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) && !alien(err) {
			return nil, err
		}
		now := time.Now()
		for i, k := range keys[:n] {
			for j, get := range gets[i] {
				if get.Err() != nil || len(out) >= limit {
					continue
				}
				it := store.Item{Key: k, Value: []byte(get.Val())}
				if ttl := ttls[i][j].Val(); ttl > 0 {
					it.Expires = now.Add(ttl)
				}
				out = append(out, it)
				break
			}
		}
		keys = keys[n:]
	}
	return out, nil
}

// scan gives all keys that fit a pattern, from every node.
func (s *Store) scan(ctx context.Context, pattern string) ([]string, error) {
	var mu sync.Mutex
	seen := map[string]struct{}{}
	one := func(ctx context.Context, c *goredis.Client) error {
		for cursor := uint64(0); ; {
			s.calls.Add(1)
			keys, next, err := c.Scan(ctx, cursor, s.name(pattern), scanStep).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			for _, k := range keys {
				seen[k] = struct{}{}
			}
			mu.Unlock()
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	var err error
	switch c := s.client.(type) {
	case *goredis.ClusterClient:
		err = c.ForEachMaster(ctx, one)
	case *goredis.Client:
		err = one(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	return out, nil
}

// escape makes a text fit only itself in a pattern (redis.io/commands/keys).
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `-`, `\-`).Replace(s)
}
