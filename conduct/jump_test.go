package conduct

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/smtpproxy"
	"garita/store"
)

// Jumps of the wall clock while it runs: a ban holds for its length, neither
// wiped nor immortal, and so do points and rates; nothing crashes. The steady
// clock is the store's (attacks L-30, Q-05).
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{-10 * year, 10 * year, -time.Hour, time.Hour} {
		c, steady := &clock{}, time.Duration(0)
		st := store.NewMemoryWith(store.Config{Now: c.now, Steady: func() time.Duration { return steady }})
		k := kitOn(t, c, st, func(k *Config) { k.Junk, k.BanAfter, k.Connections = 0, 4, 2 })
		pass := func(d time.Duration) { c.pass(d); steady += d }
		banned, eager := addr("192.0.2.1"), addr("192.0.2.2")
		refused := func() bool { return k.Note(banned, smtpproxy.ActMessage).Refuse }
		k.Note(banned, smtpproxy.ActJunk)
		c.pass(jump) // between the points that make the ban
		k.Note(banned, smtpproxy.ActJunk)
		if !refused() {
			t.Errorf("%v: the points of before are gone", jump)
		}
		if _, err := k.Ban(t.Context(), net("198.51.100.0/24"), time.Hour, ""); err != nil {
			t.Error(err)
		}
		for range 3 {
			k.Note(eager, smtpproxy.ActConnection)
		}
		c.pass(-jump)
		if !refused() || !k.Note(addr("198.51.100.9"), smtpproxy.ActMessage).Refuse {
			t.Errorf("%v and back: a ban is gone", jump)
		}
		if !k.Note(eager, smtpproxy.ActConnection).Refuse {
			t.Errorf("%v and back: the rate is gone", jump)
		}
		pass(2 * time.Minute)
		if k.Note(eager, smtpproxy.ActConnection).Refuse {
			t.Errorf("%v and back: the rate is immortal", jump)
		}
		c.pass(jump)
		pass(2 * time.Hour)
		if refused() || k.Note(addr("198.51.100.9"), smtpproxy.ActMessage).Refuse {
			t.Errorf("%v: a ban is immortal", jump)
		}
		k.List()
		k.Stats()
		if _, err := k.Check(banned); err != nil {
			t.Errorf("%v: %v", jump, err)
		}
		st.Close()
	}
}

// With the clock of the machine, the end of a ban has a monotonic reading,
// which List and the making of room go by: of one made now, and of one that a
// restart has read.
func TestBansAreMonotonic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for n, what := range []string{"made", "read"} {
		st, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{Config: Default(), Store: st})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			if _, err := c.Ban(t.Context(), net("192.0.2.0/24"), time.Hour, ""); err != nil {
				t.Fatal(err)
			}
			if err := c.banByPoints(c.config.Load(), net("198.51.100.1/32"), smtpproxy.ActJunk); err != nil {
				t.Fatal(err)
			}
		}
		all := c.List()
		if len(all) != 2 {
			t.Errorf("%s: %d bans", what, len(all))
		}
		for _, b := range all {
			if !strings.Contains(b.Until.String(), "m=") {
				t.Errorf("%s: the end of %s, %v, has no monotonic reading", what, b.Prefix, b.Until)
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
