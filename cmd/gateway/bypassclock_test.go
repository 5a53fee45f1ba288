package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/maillog"
	"garita/store"
)

// bypassKit is a daemon that has a bypass, a store and a log, and nothing else.
func bypassKit(t *testing.T, now func() time.Time, st store.Store) *daemon {
	t.Helper()
	c := maillog.Default()
	c.Output = filepath.Join(t.TempDir(), "log")
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	d := &daemon{parts: &parts{log: log, store: st}}
	d.parts.bypass.now = now
	return d
}

func bypassFor(t *testing.T, d *daemon, length time.Duration) {
	t.Helper()
	raw, err := json.Marshal(bypassRequest{For: length, Reason: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.setBypass(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
}

// A clock that is set back, by whatever, makes no bypass immortal; one that is
// set ahead ends it, and it does not rise again (attacks L-30).
func TestBypassAfterClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{-10 * year, -25 * time.Hour, 25 * time.Hour, 10 * year} {
		now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
		st := store.NewMemory()
		d := bypassKit(t, func() time.Time { return now }, st)
		bypassFor(t, d, time.Hour)
		now = now.Add(jump)
		if s := d.parts.bypass.state(); s.Active {
			t.Errorf("%v: active until %v", jump, s.Until)
		}
		d.parts.bypass.remind(d.parts.log)
		now = now.Add(-jump)
		if d.parts.bypass.state().Active {
			t.Errorf("%v and back: it has risen again", jump)
		}
		// The same over a restart: what the store kept is looked at anew.
		bypassFor(t, d, time.Hour)
		now = now.Add(jump)
		again := bypassKit(t, func() time.Time { return now }, st)
		again.parts.recallBypass(context.Background())
		if s := again.parts.bypass.state(); s.Active {
			t.Errorf("%v over a restart: active until %v", jump, s.Until)
		}
		st.Close()
	}
}

// With the clock of the machine the end is kept with its monotonic reading,
// which no setting of the clock moves: when it was asked for, and when a
// restart has taken it up.
func TestBypassIsMonotonic(t *testing.T) {
	st := store.NewMemory()
	defer st.Close()
	d := bypassKit(t, nil, st)
	bypassFor(t, d, time.Hour)
	again := bypassKit(t, nil, st)
	again.parts.recallBypass(context.Background())
	for what, b := range map[string]*bypass{"asked for": &d.parts.bypass, "taken up": &again.parts.bypass} {
		if !strings.Contains(b.until.String(), "m=") {
			t.Errorf("%s: %v has no monotonic reading", what, b.until)
		}
		s := b.state()
		if left := time.Until(s.Until); !s.Active || left > time.Hour || left < 50*time.Minute {
			t.Errorf("%s: %+v", what, s)
		}
	}
}
