package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/store"
	"garita/store/redis"
	"garita/store/storetest"
)

// The shared store does what the engine memory does, on one server and on a
// cluster, and also on its own when there is no server.
func TestConformance(t *testing.T) {
	single, nodes := start(t), cluster(t)
	t.Run("single", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			single.do("FLUSHALL")
			return up(t, config(single))
		})
	})
	t.Run("cluster", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			for _, n := range nodes {
				n.do("FLUSHALL")
			}
			return up(t, clusterConfig(nodes))
		})
	})
	t.Run("away", func(t *testing.T) {
		c := redis.Default()
		c.URL, c.Timeout = fmt.Sprint("redis://127.0.0.1:", freePort(t)), 100*time.Millisecond
		storetest.Run(t, func(t *testing.T) store.Store { return durableHere{open(t, c)} })
	})
}

// durableHere takes what PutNow says while Redis is away for what it is.
type durableHere struct{ *redis.Store }

func here(err error) error {
	if err != nil && strings.Contains(err.Error(), "holds on this gateway") {
		return nil
	}
	return err
}

func (s durableHere) PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return here(s.Store.PutNow(ctx, key, value, ttl))
}

func (s durableHere) DeleteNow(ctx context.Context, key string) error {
	return here(s.Store.DeleteNow(ctx, key))
}

func limit(key string, most int64) store.Window {
	return store.Window{Key: key, Span: time.Hour, Max: most, Cost: 1, Buckets: 60}
}

func usedOf(t testing.TB, s store.Store, w store.Window) int64 {
	t.Helper()
	w.Cost = 0
	u, err := s.Peek(context.Background(), []store.Window{w})
	if err != nil {
		t.Fatal(err)
	}
	return u[0].Used
}

// Attacks: two gateways with a hundred sessions each enforce one
// limit of a user and one of his domain, to the last message.
func TestTwoGatewaysOneLimit(t *testing.T) {
	single, nodes := start(t), cluster(t)
	for name, c := range map[string]redis.Config{"single": config(single), "cluster": clusterConfig(nodes)} {
		t.Run(name, func(t *testing.T) {
			gateways := []*redis.Store{up(t, c), up(t, c)}
			user, domain := limit("user/a@example.org", 250), limit("domain/example.org", 400)
			var passed, refused, taken atomic.Int64
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					for n := range 5 {
						r, u, err := gateways[i%2].Reserve(context.Background(), []store.Window{user, domain})
						switch {
						case err != nil:
							t.Error(err)
						case r == nil:
							refused.Add(1)
							if !u[0].Over && !u[1].Over {
								t.Errorf("refused by nobody: %+v", u)
							}
						case n%4 == 3:
							r.Refund()
							taken.Add(1)
						default:
							r.Commit()
							passed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			got, all := usedOf(t, gateways[0], user), usedOf(t, gateways[1], domain)
			if got != passed.Load() || all != got || got > 250 {
				t.Errorf("%d passed, %d and %d are counted", passed.Load(), got, all)
			}
			if refused.Load() == 0 || passed.Load()+refused.Load()+taken.Load() != 1000 {
				t.Errorf("%d passed, %d refused, %d refunded", passed.Load(), refused.Load(), taken.Load())
			}
			for i, g := range gateways {
				if st := g.Stats(); st.Outages != 0 {
					t.Errorf("gateway %d was alone for a while: %+v", i, st)
				}
			}
			// What is left passes, and no more.
			for range 250 - got {
				if r, u, err := gateways[0].Reserve(t.Context(), []store.Window{user, domain}); r == nil || err != nil {
					t.Fatalf("there is room: %+v %v", u, err)
				}
			}
			if r, _, _ := gateways[1].Reserve(t.Context(), []store.Window{user, domain}); r != nil {
				t.Error("message 251 of 250 passed")
			}
		})
	}
}

// What one gateway keeps, the others know at once, and a third that comes
// later too; the events are in order and none is twice.
func TestChangesReachAllGateways(t *testing.T) {
	s := start(t)
	a, b := up(t, config(s)), up(t, config(s))
	ctx := t.Context()
	if err := a.Keep(ctx, "first", nil, 0); err != nil {
		t.Fatal(err)
	}
	await(t, "both to follow", func() bool { return known(a, "first") && known(b, "first") })
	events := b.Watch(t.Context(), "suspend/")
	for i := range 200 {
		if err := a.Keep(ctx, "suspend/u", fmt.Append(nil, i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.DeleteNow(ctx, "suspend/u"); err != nil {
		t.Fatal(err)
	}
	// A watcher may lose events when it is slow; what it sees is in order, and
	// the last it sees.
	last := -1
	for ended := false; !ended; {
		select {
		case e := <-events:
			if ended = e.Deleted; ended {
				break
			}
			var n int
			if fmt.Sscan(string(e.Value), &n); n <= last {
				t.Fatalf("%d after %d", n, last)
			}
			last = n
		case <-time.After(90 * time.Second):
			t.Fatalf("no event after %d", last)
		}
	}
	if err := b.PutNow(ctx, "suspend/v", []byte("why"), time.Hour); err != nil {
		t.Fatal(err)
	}
	c := up(t, config(s))
	for _, g := range []*redis.Store{a, c} {
		if v, ok, err := g.Get(ctx, "suspend/v"); !ok || string(v) != "why" || err != nil {
			t.Errorf("%q %v %v", v, ok, err)
		}
	}
	// With the server gone, every gateway still knows it.
	local := []*redis.Store{a, b, c}
	for _, g := range local {
		await(t, "the local engine", func() bool { return known(g, "suspend/v") })
	}
	s.kill()
	for i, g := range local {
		if v, ok, err := g.Get(ctx, "suspend/v"); !ok || string(v) != "why" || err != nil {
			t.Errorf("gateway %d alone: %q %v %v", i, v, ok, err)
		}
		if _, ok, _ := g.Get(ctx, "suspend/u"); ok {
			t.Errorf("gateway %d alone: what was lifted is back", i)
		}
	}
}

// known tells whether a gateway would know a kept value by itself.
func known(g *redis.Store, key string) bool {
	for _, it := range g.Local().Kept() {
		if it.Key == key {
			return true
		}
	}
	return false
}

// A gateway that missed events (the stream was cut while it was stopped) reads
// all, and one that finds an empty Redis brings what it knows (attack Q-10:
// "Redis flush" lifts no suspension).
func TestEventsLost(t *testing.T) {
	s := start(t)
	a, b := up(t, config(s)), up(t, config(s))
	ctx := t.Context()
	if err := errors.Join(a.Keep(ctx, "suspend/old", []byte("1"), 0), a.Keep(ctx, "suspend/u", []byte("1"), 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "b", func() bool { return known(b, "suspend/u") && known(b, "suspend/old") })
	// A change whose event is gone: as one who was cut off for long sees it.
	s.do("EVAL", `redis.call('DEL', 'garita:k:{kept}:v:suspend/old') redis.call('ZREM', 'garita:k:{kept}:index', 'suspend/old')
		redis.call('SET', 'garita:k:{kept}:v:suspend/new', '2') redis.call('ZADD', 'garita:k:{kept}:index', 0, 'suspend/new')
		redis.call('INCRBY', 'garita:k:{kept}:version', 5) redis.call('DEL', 'garita:k:{kept}:events') return 1`, 0)
	for _, g := range []*redis.Store{a, b} {
		await(t, "the lost change", func() bool { return known(g, "suspend/new") && !known(g, "suspend/old") })
	}
	s.do("FLUSHALL")
	await(t, "the flushed values to return", func() bool {
		n, err := s.try("ZCARD", "garita:k:{kept}:index")
		return err == nil && n == "2"
	})
	for _, g := range []*redis.Store{a, b} {
		await(t, "the values on every gateway", func() bool { return g.Fault() == nil && known(g, "suspend/new") && known(g, "suspend/u") })
		if v, ok, err := g.Get(ctx, "suspend/u"); !ok || string(v) != "1" || err != nil {
			t.Errorf("%q %v %v", v, ok, err)
		}
	}
	// And what is changed then comes through, once a has seen that the numbers
	// began anew: until then it would bring back what it knows.
	if err := b.Keep(ctx, "suspend/after", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	await(t, "a change after the loss", func() bool { return known(a, "suspend/after") })
	if err := b.DeleteNow(ctx, "suspend/u"); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of a suspension", func() bool { return !known(a, "suspend/u") })
}

// Kept values are bounded, and room is made by what expires.
func TestFull(t *testing.T) {
	s := start(t)
	g, err := redis.Open(redis.Options{Config: config(s), Local: store.NewMemory(), Entries: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx := t.Context()
	for i := range 3 {
		if err := g.Keep(ctx, fmt.Sprint(i), nil, 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "full, then room", func() bool {
		err := g.PutNow(ctx, "x", nil, 0)
		if err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// Everything but the four words about kept values has a time to live.
func TestEverythingExpires(t *testing.T) {
	s := start(t)
	g := up(t, config(s))
	ctx := t.Context()
	r, _, err := g.Reserve(ctx, []store.Window{limit("a", 5)})
	r2, _, err2 := g.Reserve(ctx, []store.Window{limit("b", 5)})
	_, aerr := g.AddNew(ctx, "s", "m", 0)
	if err := errors.Join(err, err2, aerr, g.Put(ctx, "p", nil, 0), g.Keep(ctx, "k", nil, time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.Refund()
	r2.Commit()
	got := s.do("EVAL", `local out = {} for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('PTTL', k) < 0 then out[#out + 1] = k end end
		table.sort(out) return table.concat(out, ' ')`, 0)
	if want := "garita:k:{kept}:epoch garita:k:{kept}:events garita:k:{kept}:index garita:k:{kept}:version"; got != want {
		t.Errorf("without an end: %s", got)
	}
}
