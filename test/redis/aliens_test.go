package redis

import (
	"strings"
	"testing"
	"time"

	"garita/store"
	"garita/store/redis"
)

// TestAliens: what another program wrote under our names, of another type, is
// no outage: no act fails for it, nothing is left to be brought for ever, and
// what we write is there.
func TestAliens(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := config(s)
	g, other := up(t, c), up(t, c)
	ctx := t.Context()
	do := func() {
		t.Helper()
		if r, u, err := g.Reserve(ctx, []store.Window{limit("user/a", 10)}); r == nil || err != nil {
			t.Fatalf("%+v %v", u, err)
		}
		if _, err := g.History(ctx, limit("user/a", 10)); err != nil {
			t.Error(err)
		}
		for _, put := range []func() error{
			func() error { return g.Put(ctx, "greylist/x", []byte("1"), time.Hour) },
			func() error { return g.Keep(ctx, "suspend/a", []byte("1"), 0) },
		} {
			if err := put(); err != nil {
				t.Error(err)
			}
		}
	}
	do()
	names := strings.Fields(s.do("EVAL", "return table.concat(redis.call('KEYS', '*'), ' ')", 0))
	if len(names) < 7 {
		t.Fatal(names)
	}
	outages := func(g *redis.Store) uint64 { return g.Stats().Outages }
	before, others := outages(g), outages(other)
	// In one act, for the gateways may write the name again at any time.
	alien := func(name string) {
		kind := "redis.call('HSET', KEYS[1], 'alien', 1)"
		if strings.Contains(name, ":w:") {
			kind = "redis.call('SET', KEYS[1], 'alien')"
		}
		s.do("EVAL", "redis.call('DEL', KEYS[1]); "+kind+" return 1", 1, name)
	}
	for _, name := range names {
		alien(name)
	}
	for _, key := range []string{"greylist/x", "suspend/a"} {
		if _, _, err := g.Get(ctx, key); err != nil {
			t.Error(key, err)
		}
	}
	if _, err := g.List(ctx, "greylist/", "", 10); err != nil {
		t.Error(err)
	}
	do()
	await(t, "what is kept at the other gateway", func() bool {
		v, ok, err := other.Get(ctx, "suspend/a")
		return ok && err == nil && string(v) == "1"
	})
	if v, ok, err := g.Get(ctx, "greylist/x"); !ok || err != nil || string(v) != "1" {
		t.Errorf("%q %v %v", v, ok, err)
	}
	if a, b := outages(g)-before, outages(other)-others; a+b > 0 {
		t.Errorf("%d and %d outages: %+v", a, b, g.Stats())
	}
	// An empty gateway, and nothing but aliens.
	s.do("FLUSHALL")
	for _, name := range []string{"index", "version", "events", "epoch"} {
		for _, n := range names {
			if strings.HasSuffix(n, "{kept}:"+name) {
				alien(n)
			}
		}
	}
	third := up(t, c)
	await(t, "a beginning", func() bool {
		return third.Fault() == nil && strings.Contains(s.do("EVAL", "return table.concat(redis.call('KEYS', '*'), ' ')", 0), "version") &&
			third.Keep(ctx, "suspend/b", []byte("2"), 0) == nil
	})
	if err := third.Fault(); err != nil {
		t.Error(err)
	}
}
