package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxKey   = 1 << 10
	maxValue = 16 << 10
	// flushEvery leaves 50 ms of the quarter second for the commit.
	flushEvery = 200 * time.Millisecond
	// flushRows wakes the writer before its time, so that what it writes at once
	// takes it some 50 ms at most. A busy counter is one row, however often it
	// has counted: to write early is to write it more often.
	flushRows = 4000
	// shardCount is at most 64: Reserve keeps the set of them in a word.
	shardCount = 64
	// smallStore is the number of entries below which one shard is enough:
	// parts of a small table would be full at very different times.
	smallStore = 4096
)

// Config is what Open needs.
type Config struct {
	// Path of the database; beside it lie -wal, -shm and .lock. Its folder must
	// be there.
	Path string
	// Entries bounds counters and kept values, each for itself; 0 is
	// DefaultEntries.
	Entries int
	// Values bounds evictable values with set members; 0 is Entries.
	Values int
	// Bytes bounds what evictable values take; 0 is DefaultBytes.
	Bytes int
	// RenameCorrupt puts a database that cannot be read aside, as
	// PATH.corrupt-TIME, and begins a new one; Log is told.
	RenameCorrupt bool
	// Now is the wall clock, nil for time.Now.
	Now func() time.Time
	// Steady is the time since some moment, which no setting of the wall clock
	// moves; nil derives it from Now, whose values carry a monotonic reading.
	Steady func() time.Duration
	// Log hears of faults of the disk when they begin and end (err is nil), at
	// most once a minute while one goes on. It must not block. Nil: nobody.
	Log func(text string, err error)
}

// Defaults of Config.
const (
	DefaultEntries = 200_000
	DefaultBytes   = 64 << 20
)

// Memory is the engine memory. Make it by Open or NewMemory.
type Memory struct {
	config        Config
	shards        []shard
	seed          maphash.Seed
	perShard      int // counters
	itemsPerShard int
	bytesPerShard int
	maxGone       int
	base          int64 // time of the store when it was opened
	steady        func() time.Duration

	keptCount atomic.Int64
	evicted   atomic.Uint64
	lost      atomic.Uint64 // events of watchers
	closed    atomic.Bool
	closing   sync.Once
	closeErr  error

	watchMu  sync.RWMutex
	watchers map[*watcher]struct{}
	watching atomic.Int32

	// Of the writer; nil and unused without a disk.
	disk     *disk
	lockFile interface{ Close() error }
	rows     atomic.Int64 // that the disk does not know yet
	wipe     atomic.Bool  // the disk's rows are to be written anew, all of them
	kick     chan struct{}
	done     chan struct{}
	ended    chan struct{}
	waitMu   sync.Mutex
	waiters  []chan error
	faultMu  sync.Mutex
	fault    error
	faultAt  time.Duration // of the last line in the log
	retries  uint64
	written  atomic.Uint64
}

var _ Store = (*Memory)(nil)

// NewMemory is a store without a disk: its end is the end of the process.
// PutNow and DeleteNow return at once.
func NewMemory() *Memory { return newMemory(Config{}) }

// NewMemoryWith is NewMemory with bounds and clocks; Path is not used.
func NewMemoryWith(c Config) *Memory { return newMemory(c) }

func newMemory(c Config) *Memory {
	if c.Entries <= 0 {
		c.Entries = DefaultEntries
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	if c.Values <= 0 {
		c.Values = c.Entries
	}
	n := shardCount
	if min(c.Entries, c.Values) < smallStore {
		n = 1
	}
	m := &Memory{
		config: c, shards: make([]shard, n), seed: maphash.MakeSeed(),
		perShard: (c.Entries + n - 1) / n, itemsPerShard: (c.Values + n - 1) / n, bytesPerShard: max(c.Bytes/n, (maxKey+maxValue)*4/3+64),
		base:     int64(time.Hour), // zero is "never"
		steady:   c.Steady,
		watchers: map[*watcher]struct{}{},
		kick:     make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
	m.maxGone = 2*max(m.perShard, m.itemsPerShard) + 64
	if c.Now == nil {
		m.config.Now = time.Now
	}
	if m.steady == nil {
		m.steady = steadyOf(c.Now)
	}
	m.base -= int64(m.steady())
	for i := range m.shards {
		s := &m.shards[i]
		s.windows, s.kept = map[winKey]*window{}, map[itemKey]*item{}
	}
	return m
}

// steadyOf makes a steady clock of a wall clock. The values of time.Now carry
// the monotonic reading. Those of another clock may step back, which counts as
// standing still.
func steadyOf(now func() time.Time) func() time.Duration {
	if now == nil {
		start := time.Now()
		return func() time.Duration { return time.Since(start) }
	}
	var mu sync.Mutex
	last, sum := now(), time.Duration(0)
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		n := now()
		sum += max(n.Sub(last), 0)
		last = n
		return sum
	}
}

// now is the time of the store, in nanoseconds.
func (m *Memory) now() int64 { return m.base + int64(m.steady()) }

// until is the time of the store after ttl; 0 for ever.
func until(now int64, ttl time.Duration) int64 {
	if ttl <= 0 || int64(ttl) > int64(Never)-now {
		return 0
	}
	return now + int64(ttl)
}

// Stats are numbers for status and metrics.
type Stats struct {
	Counters int    `json:"counters"`
	Values   int    `json:"values"` // and set members
	Kept     int    `json:"kept"`
	Evicted  uint64 `json:"evicted"`
	Pending  int64  `json:"pending"` // rows that the disk does not know yet
	Written  uint64 `json:"written"` // rows
	Failed   uint64 `json:"failed"`  // attempts to write
	Lost     uint64 `json:"lost_events"`
	Fault    string `json:"fault,omitempty"`
}

// Stats counts; it locks each part for a moment.
func (m *Memory) Stats() Stats {
	st := Stats{Kept: int(m.keptCount.Load()), Evicted: m.evicted.Load(), Pending: m.rows.Load(),
		Written: m.written.Load(), Lost: m.lost.Load()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		st.Counters += len(s.windows)
		st.Values += s.items.n
		s.mu.Unlock()
	}
	m.faultMu.Lock()
	defer m.faultMu.Unlock()
	st.Failed = m.retries
	if m.fault != nil {
		st.Fault = m.fault.Error()
	}
	return st
}

// Fault is why the disk does not take what memory has; nil when it does.
func (m *Memory) Fault() error {
	m.faultMu.Lock()
	defer m.faultMu.Unlock()
	return m.fault
}

// Sync returns after everything that was changed before it is durable, or with
// the reason why it is not.
func (m *Memory) Sync(ctx context.Context) error {
	if m.disk == nil {
		return nil
	}
	answer := make(chan error, 1)
	m.waitMu.Lock()
	if m.closed.Load() {
		m.waitMu.Unlock()
		return ErrClosed
	}
	m.waiters = append(m.waiters, answer)
	m.waitMu.Unlock()
	m.wake()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("store: not yet on the disk: %w", ctx.Err())
	}
}

// Close writes what is pending and lets the database go.
func (m *Memory) Close() error {
	m.closing.Do(func() {
		m.waitMu.Lock()
		m.closed.Store(true)
		m.waitMu.Unlock()
		m.endWatches()
		if m.disk == nil {
			return
		}
		close(m.done)
		<-m.ended
		m.closeErr = errors.Join(m.Fault(), m.disk.close(), m.lockFile.Close())
	})
	return m.closeErr
}
