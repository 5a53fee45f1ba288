package redis

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/store"
)

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) != 0 {
		t.Fatal(errs)
	}
	for key, change := range map[string]func(*Config){
		"server":    func(c *Config) { c.URL = "redis://user:geheim@[host:1" },
		"server: o": func(c *Config) { c.URL = "unix:///run/redis.sock" },
		"server: a": func(c *Config) { c.Mode, c.URL = "cluster", "redis://user:geheim@h:1/3" },
		"mode":      func(c *Config) { c.Mode = "many" },
		"master":    func(c *Config) { c.Mode = "sentinel" },
		"master: ":  func(c *Config) { c.Master = "mail" },
		"nodes":     func(c *Config) { c.Nodes = []string{"h:1"} },
		"nodes = ":  func(c *Config) { c.Mode, c.Nodes = "cluster", []string{"h"} },
		"nodes: m":  func(c *Config) { c.Mode, c.Nodes = "cluster", slices.Repeat([]string{"h:1"}, 65) },
		"prefix":    func(c *Config) { c.Prefix = "a{b}" },
		"prefix =":  func(c *Config) { c.Prefix = "" },
		"timeout":   func(c *Config) { c.Timeout = time.Minute },
	} {
		c := Default()
		change(&c)
		errs := c.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), key) || strings.Contains(errs[0].Error(), "geheim") {
			t.Errorf("%s: %v", key, errs)
		}
		if s, err := Open(Options{Config: c, Local: store.NewMemory()}); err == nil {
			s.Close()
			t.Errorf("%s: opened", key)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s shows the password", key)
		}
	}
	if _, err := Open(Options{Config: Default()}); err == nil {
		t.Error("no local engine")
	}
}

// What Redis says is not ours: one line, bounded.
func TestWords(t *testing.T) {
	got := words(errors.New("ERR \x1b[31m\r\nñ" + strings.Repeat("x", 1000))).Error()
	if len(got) > 250 || strings.ContainsAny(got, "\x1b\r\nñ") || !strings.HasPrefix(got, "store.redis: ERR ?") {
		t.Errorf("%q", got)
	}
}

func TestJournalIsBounded(t *testing.T) {
	j := journal{room: 3}
	for i := range 10 {
		key := string(rune('a' + i))
		j.count([]store.Window{{Key: key, Span: time.Hour, Cost: 2, Max: 5}}, 1)
		j.change(key, change{kept: true})
		j.member(member{"s", key}, time.Time{})
		j.refund([]call{{}})
	}
	if n, lost := j.size(); n != 12 || lost != 28 {
		t.Errorf("%d kept, %d lost", n, lost)
	}
	w := store.Window{Key: "a", Span: time.Hour, Cost: 2}
	j.count([]store.Window{w}, 1)
	j.count([]store.Window{w}, -1)
	if got := j.counts[bare(w)]; got != 2 {
		t.Errorf("%d of 2", got)
	}
	j.count([]store.Window{w}, -1)
	j.count([]store.Window{w}, -1)
	if _, ok := j.counts[bare(w)]; ok {
		t.Error("what was taken back is still there")
	}
}

// Every window's name can be read back, whatever its key is; and no pattern
// made of a key finds another.
func FuzzNames(f *testing.F) {
	f.Add("user/a", int64(time.Hour), 60)
	f.Add("}:{a:b:\x00*", int64(1), 0)
	s := &Store{options: Options{Config: Default()}}
	f.Fuzz(func(t *testing.T, key string, span int64, n int) {
		w := store.Window{Key: key, Span: time.Duration(span), Buckets: n}
		if store.Check([]store.Window{w}) != nil {
			return
		}
		name := s.windowName(tagOf(key), &w)
		w.Buckets = parts(&w)
		if got, ok := s.parse(name); !ok || got != w {
			t.Fatalf("%q is %+v %v", name, got, ok)
		}
		if width(&w) < 1 || width(&w)*int64(w.Buckets) < span/1000 {
			t.Fatalf("width %d of %+v", width(&w), w)
		}
		_, _ = s.parse(key)
		_, _ = history([]any{int64(1), []any{key, key, "t", key}}, &w)
	})
}
