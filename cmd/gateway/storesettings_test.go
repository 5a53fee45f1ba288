package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"garita/maillog"
	"garita/store"
)

// opened is a store as the gateway opens it with these settings.
func opened(t *testing.T, change func(*StoreSettings)) *parts {
	t.Helper()
	s := defaults()
	s.StateDir = t.TempDir()
	change(&s.Store)
	c := maillog.Default()
	c.Output = s.StateDir + "/mail.log"
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.example"})
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{log: log}
	if err := p.openStore(&s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close(); log.Close() })
	return p
}

// What store.counters, store.values and store.memory bound.
func TestStoreBounds(t *testing.T) {
	fill := func(p *parts) store.Stats {
		for i := range 3000 {
			key := fmt.Sprint("k", i)
			if _, err := p.memory.Count(store.Window{Key: key, Span: time.Hour, Cost: 1}); err != nil {
				t.Fatal(err)
			}
			if err := p.store.Put(t.Context(), key, make([]byte, 1000), 0); err != nil {
				t.Fatal(err)
			}
		}
		return p.memory.Stats()
	}
	if st := fill(opened(t, func(*StoreSettings) {})); st.Counters != 3000 || st.Values != 3000 {
		t.Errorf("by default: %+v", st)
	}
	if st := fill(opened(t, func(s *StoreSettings) { s.Counters = 1000 })); st.Counters > 1100 || st.Values != 3000 {
		t.Errorf("counters = 1000: %+v", st)
	}
	if st := fill(opened(t, func(s *StoreSettings) { s.Values = 1000 })); st.Values > 1100 || st.Counters != 3000 {
		t.Errorf("values = 1000: %+v", st)
	}
	if st := fill(opened(t, func(s *StoreSettings) { s.Memory = 1 << 20 })); st.Values > 1100 || st.Counters != 3000 {
		t.Errorf("memory = 1MB: %+v", st)
	}
}

// With kind = "redis" and no server the gateway starts, works, and says so; the
// password is in no text.
func TestStoreOfRedisAway(t *testing.T) {
	p := opened(t, func(s *StoreSettings) {
		s.Kind, s.Redis.URL = "redis", "redis://user:geheim@127.0.0.1:1/0"
	})
	if p.shared == nil || p.store != store.Store(p.shared) {
		t.Fatal("the store is not the shared one")
	}
	if _, _, err := p.store.Reserve(t.Context(), []store.Window{{Key: "k", Span: time.Hour, Max: 1, Cost: 1}}); err != nil {
		t.Error(err)
	}
	faults := strings.Join(p.storeFault(), " ")
	if !strings.Contains(faults, "shared store is away") || strings.Contains(faults, "geheim") {
		t.Errorf("%q", faults)
	}
	if p := opened(t, func(*StoreSettings) {}); p.shared != nil || len(p.storeFault()) != 0 {
		t.Error("kind = memory asks Redis")
	}
}

func TestStoreSettingsValidate(t *testing.T) {
	if errs := defaultStore().Validate(); len(errs) != 0 {
		t.Error(errs)
	}
	bad := StoreSettings{}
	if errs := bad.Validate(); len(errs) != 3 {
		t.Error(errs)
	}
}
