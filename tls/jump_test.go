package tls

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A reload of the whole configuration makes a new store: it takes no worse
// certificate from the same files either, and a better one, or other files, it
// does take (attacks S-44).
func TestNewStoreTakesNothingWorse(t *testing.T) {
	c := newClock(time.Now())
	dir := t.TempDir()
	cfg := writePair(t, dir, "mx.example.com", c.now())
	old, err := load(cfg, "mx.example.com", "", c.now)
	if err != nil {
		t.Fatal(err)
	}
	again := func(cfg Config) (*Store, error) {
		t.Helper()
		return New(Options{Config: cfg, Hostname: "mx.example.com", Now: c.now, Old: old})
	}
	if s, err := again(cfg); err != nil || !s.fallback().Equal(old.fallback()) {
		t.Errorf("the same files: %v", err)
	}
	writePair(t, dir, "mx.example.com", c.now().Add(-validity-day))
	stays := func(why string) {
		t.Helper()
		s, err := again(cfg)
		if err != nil || !s.fallback().Equal(old.fallback()) || s.Fault() == nil || !strings.Contains(s.Fault().Error(), why) {
			t.Errorf("%s: %v, %v", why, err, s.Fault())
		}
	}
	stays("expired already")
	writePair(t, dir, "mx.example.com", c.now().Add(2*day))
	stays("not valid before")
	writePair(t, dir, "mx.example.com", c.now().Add(time.Minute))
	if s, err := again(cfg); err != nil || s.fallback().Equal(old.fallback()) {
		t.Errorf("a renewed one: %v", err)
	}
	other := writePair(t, t.TempDir(), "mx.example.com", c.now().Add(-validity-day))
	if s, err := again(other); err != nil || s.fallback().Equal(old.fallback()) || s.Fault() != nil {
		t.Errorf("other files are the operator's word: %v", err)
	}
	// Unless they are none.
	other.KeyFile = cfg.KeyFile
	if s, err := again(other); err != nil || !s.fallback().Equal(old.fallback()) || s.Fault() == nil {
		t.Errorf("other files that do not match: %v", err)
	}
}

// Jumps of the clock: a certificate of the operator's stays and the operator
// hears of it; the self-signed one is made anew by the clock of now, and a
// clock that ran ahead leaves none that begins in ten years.
func TestPollAfterClockJumps(t *testing.T) {
	const year = 365 * day
	for _, jump := range []time.Duration{10 * year, -10 * year, 2 * time.Hour, -2 * time.Hour} {
		c := newClock(time.Now())
		cfg := writePair(t, t.TempDir(), "mx.example.com", c.now())
		files, err := load(cfg, "mx.example.com", "", c.now)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		own, err := load(Default(), "mx.example.com", dir, c.now)
		if err != nil {
			t.Fatal(err)
		}
		first, mine := files.fallback(), own.fallback()
		for _, d := range []time.Duration{jump, -jump} {
			c.add(d)
			if changed, err := files.Poll(); changed || err != nil || files.fallback() != first {
				t.Errorf("%v: the files' certificate: %v, %v", d, changed, err)
			}
			if _, err := own.Poll(); err != nil {
				t.Errorf("%v: %v", d, err)
			}
			now := own.fallback()
			if c.now().Before(now.NotBefore) || !c.now().Before(now.NotAfter) {
				t.Errorf("jump %v: the self-signed one is valid from %v to %v, and it is %v", d, now.NotBefore, now.NotAfter, c.now())
			}
			if w := own.Warnings(); len(w) > 0 {
				t.Errorf("jump %v: %q", d, w)
			}
			wrong := c.now().Before(first.NotBefore) || c.now().After(first.NotAfter.Add(-warnBefore))
			if got := len(files.Warnings()) > 0; got != wrong {
				t.Errorf("jump %v: warnings %q", d, files.Warnings())
			}
			files.Expiring(c.now())
		}
		if jump == 2*time.Hour && own.fallback() != mine {
			t.Error("two hours ahead and back have made a new certificate")
		}
		// What lies on the disk is what is in use: a restart finds it good.
		before, err := os.ReadFile(filepath.Join(dir, "tls", pairName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := load(Default(), "mx.example.com", dir, c.now); err != nil {
			t.Error(err)
		}
		if after, _ := os.ReadFile(filepath.Join(dir, "tls", pairName)); string(after) != string(before) {
			t.Errorf("after %v and back a restart makes another one", jump)
		}
	}
}
