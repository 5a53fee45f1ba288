package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9/logging"

	"garita/store"
	"garita/store/redis"
)

// StoreSettings is the [store] table.
type StoreSettings struct {
	Kind     string       `toml:"kind" enum:"memory,redis" doc:"memory: this gateway's own, kept in state_dir. redis: one state for several gateways; memory and state_dir then hold what goes on while Redis is away."`
	Counters int          `toml:"counters" doc:"Counters in memory, and values that must not be lost (bans, suspensions), each at most so many."`
	Values   int          `toml:"values" doc:"Values that may be dropped when there are too many, such as greylist triplets, at most."`
	Memory   int64        `toml:"memory" unit:"bytes" doc:"Memory that such values take at most."`
	Redis    redis.Config `toml:"redis" doc:"The server of kind = \"redis\"."`
}

func defaultStore() StoreSettings {
	return StoreSettings{Kind: "memory", Counters: store.DefaultEntries, Values: 1_000_000, Memory: 256 << 20, Redis: redis.Default()}
}

// Validate gives every mistake, each naming its key.
func (s StoreSettings) Validate() (errs []error) {
	for _, b := range []struct {
		key             string
		value, min, max int64
	}{
		{"counters", int64(s.Counters), 1000, 100_000_000},
		{"values", int64(s.Values), 1000, 100_000_000},
		{"memory", s.Memory, 1 << 20, 1 << 40},
	} {
		if b.value < b.min || b.value > b.max {
			errs = append(errs, fmt.Errorf("%s = %d: must be from %d to %d", b.key, b.value, b.min, b.max))
		}
	}
	return errs
}

// openStore opens the hot state. A database that cannot be read is put aside
// rather than keeping the gateway from its work: what is in it is counters,
// bans and session keys, no mail. A Redis that is away keeps nobody either.
func (p *parts) openStore(s *Settings) error {
	tell := func(text string, err error) {
		if err == nil {
			p.log.Info("store", text)
			return
		}
		p.log.Warn("store", text, slog.String("error", err.Error()))
	}
	m, err := store.Open(store.Config{
		Path: filepath.Join(s.StateDir, storeFile), RenameCorrupt: true, Log: tell,
		Entries: s.Store.Counters, Values: s.Store.Values, Bytes: int(s.Store.Memory),
		Steady: s.steady,
	})
	if err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	p.store, p.memory = m, m
	if s.Store.Kind != "redis" {
		return nil
	}
	// The client writes lines of its own to standard error; ours say the same.
	logging.Disable()
	shared, err := redis.Open(redis.Options{Config: s.Store.Redis, Local: m, Entries: s.Store.Counters, Log: tell})
	if err != nil {
		m.Close()
		return err
	}
	p.store, p.shared = shared, shared
	return nil
}

// storeFault is why the state is not as it should be: on the disk, and with
// the other gateways.
func (p *parts) storeFault() (faults []string) {
	if p.memory != nil && p.memory.Fault() != nil {
		faults = append(faults, "store: state is kept in memory only: "+p.memory.Fault().Error())
	}
	if p.shared != nil && p.shared.Fault() != nil {
		faults = append(faults, "store: the shared store is away, this gateway counts by itself: "+p.shared.Fault().Error())
	}
	return faults
}

// writeStore tells what the disk and the shared store do not take.
func (s *status) writeStore(b *strings.Builder, t *terminal) {
	if s.Store.Fault != "" {
		fmt.Fprintln(b, "store      "+t.paint('r', oneLine(s.Store.Fault)))
	}
	if sh := s.Shared; sh != nil && sh.Fault != "" {
		fmt.Fprintf(b, "store      %s; %d changes wait for its return\n", t.paint('r', oneLine(sh.Fault)), sh.Pending)
	}
}
