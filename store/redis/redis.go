// Package redis is the store that several gateways share: the interface of
// package store on Redis 7 (or Valkey): one server, Sentinel, or a cluster. It
// speaks through github.com/redis/go-redis; the protocol is not ours.
//
// # What is atomic
//
// The windows of an act whose keys share a hash tag are asked and counted by
// one Lua script, and the scripts of an act go in one pipeline: one round trip
// for each node that is touched. When one scope refuses, the others are
// refunded at once; for that moment they show the act, so another act may be
// refused that would just have fitted. None passes that does not fit. The time
// of windows is the server's, never ours.
//
// # When Redis is away
//
// Every call has Config.Timeout. After the first that fails, whatever the
// reason (no connection, no answer, LOADING, OOM, READONLY, CLUSTERDOWN, a lost
// password), everything goes to a local engine, without asking Redis each time;
// one goroutine tries again, later and later up to half a second, and never two
// gateways in step. Fault says why. The local engine knows what this gateway
// has counted, what it saw others count in the same windows, and the kept
// values of all.
//
// On return, what was counted and changed meanwhile is brought to Redis, and
// only then does anybody ask it again. So while Redis is away each gateway
// enforces for itself: of a limit, as many times may pass as there are
// gateways. What is brought back counts from then on and not from when it
// happened. Of two gateways that changed one value, the later to return wins.
//
// Lost is: the part of a failed call, when Redis dies between counting and
// answering (the act then counts twice, never less); what was to be brought
// back, when the process ends before Redis returns, or beyond Options.Entries
// changes (Stats.Dropped); and all counters when Redis loses its data. Kept
// values survive even that: a gateway that finds an empty Redis brings its own.
//
// # Durability
//
// PutNow returns when the master has it. How soon the master has it on the
// disk, and on how many replicas, is the operator's decision: appendonly yes
// with appendfsync always or everysec, min-replicas-to-write. An asynchronous
// failover may lose the last writes, counters as well as values.
//
// # Watch
//
// Kept values and their changes lie under one hash tag, on one node: a change,
// its number and its event are one act. A gateway reads the events as they come
// and compares the numbers once a second at the latest; a gap, or a Redis that
// begins anew, makes it read all kept values. Values of Put tell only the
// watchers of the gateway that put them.
//
// # Limits
//
// Costs count up to 2^53. An evictable value lives 400 days at most. Lists and
// Counters scan the key space: they are for operators. Redis must be told
// maxmemory-policy noeviction or volatile-ttl; it is not told what is secret,
// so the network between is to be trusted or TLS (rediss://).
package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"garita/store"
)

const (
	// tags is the number of hash tags that keys are spread over.
	tags = 1024
	// keptTag is that of kept values, after all others.
	keptTag = tags
	// maxEvents in the stream; who is farther behind reads all kept values.
	maxEvents = 2048
	// longestTTL of what may be evicted.
	longestTTL = 400 * 24 * time.Hour
	// maxCost is what a double counts exactly.
	maxCost = 1 << 53
	// scanTime bounds what operators ask for.
	scanTime = 10 * time.Second
)

// Options are what Open needs.
type Options struct {
	Config Config
	// Local answers when Redis is away, and is closed with the store.
	Local *store.Memory
	// Entries bounds kept values, and what is remembered for the return of
	// Redis; 0 is store.DefaultEntries.
	Entries int
	// Log hears when Redis goes away and when it returns (err is nil). It must
	// not block. Nil: nobody.
	Log func(text string, err error)
}

// Store is the shared store. Make it by Open.
type Store struct {
	options Options
	client  goredis.UniversalClient
	local   *store.Memory
	scripts scripts
	start   time.Time
	// ahead of the server's clock of ours, by hash tag: in a cluster the nodes'
	// clocks differ. 0 is unknown.
	offsets [tags + 1]atomic.Int64

	// mode: who works in the local engine holds it for reading; it changes
	// hands under the lock.
	mode    sync.RWMutex
	away    bool
	isAway  atomic.Bool // the same, to look at without the lock
	faultMu sync.Mutex
	fault   error
	since   time.Time
	probe   int // hash tag that is tried
	journal journal

	mirror mirror

	lost    chan struct{} // wakes the prober
	ctx     context.Context
	end     context.CancelFunc
	ended   sync.WaitGroup
	closed  atomic.Bool
	closing sync.Once
	closeEr error

	calls, failures, fallbacks, outages atomic.Uint64
}

var _ store.Store = (*Store)(nil)

// Open makes the client. A Redis that is away is no error: the local engine
// answers until it comes. The errors are those of the configuration.
func Open(o Options) (*Store, error) {
	if o.Local == nil {
		return nil, errors.New("store.redis: there is no local engine")
	}
	if o.Entries <= 0 {
		o.Entries = store.DefaultEntries
	}
	u, err := o.Config.universal()
	if err != nil {
		return nil, err
	}
	s := &Store{options: o, client: goredis.NewUniversalClient(u), local: o.Local, scripts: newScripts(), start: time.Now(),
		lost: make(chan struct{}, 1)}
	s.journal.room = o.Entries
	s.mirror.ahead = map[string]int64{}
	s.ctx, s.end = context.WithCancel(context.Background())
	if err := s.try(0); err != nil {
		s.failed(0, err)
	}
	s.ended.Go(s.returns)
	s.ended.Go(s.follow)
	return s, nil
}

// Close ends the store and its local engine.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.end()
		s.ended.Wait()
		s.closeEr = errors.Join(s.client.Close(), s.local.Close())
	})
	return s.closeEr
}

// Watch tells of changes; see "Watch" in the package comment.
func (s *Store) Watch(ctx context.Context, prefix string) <-chan store.Event {
	return s.local.Watch(ctx, prefix)
}

// Stats are numbers for status and metrics.
type Stats struct {
	Calls     uint64 `json:"calls"`     // of Redis
	Failures  uint64 `json:"failures"`  // of them
	Fallbacks uint64 `json:"fallbacks"` // calls that the local engine answered
	Outages   uint64 `json:"outages"`
	Pending   int    `json:"pending"` // to be brought to Redis
	Dropped   uint64 `json:"dropped"` // that could not be remembered for it
	// AwaySeconds is 0 while Redis answers.
	AwaySeconds float64 `json:"away_seconds,omitempty"`
	Fault       string  `json:"fault,omitempty"`
}

// Stats counts.
func (s *Store) Stats() Stats {
	st := Stats{Calls: s.calls.Load(), Failures: s.failures.Load(), Fallbacks: s.fallbacks.Load(), Outages: s.outages.Load()}
	st.Pending, st.Dropped = s.journal.size()
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if s.fault != nil {
		st.Fault, st.AwaySeconds = s.fault.Error(), time.Since(s.since).Seconds()
	}
	return st
}

// Fault is why Redis is not asked; nil when it is. The local engine has faults
// of its own.
func (s *Store) Fault() error {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.fault
}

// name is a key of ours in Redis.
func (s *Store) name(rest string) string { return s.options.Config.Prefix + rest }

// tagOf spreads keys over nodes; all of one key have one tag.
func tagOf(key string) int {
	h := fnv.New64a()
	h.Write([]byte(key))
	return int(h.Sum64() % tags)
}

func braces(tag int) string {
	if tag == keptTag {
		return "{kept}"
	}
	return "{" + strconv.Itoa(tag) + "}"
}

func randomName() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// call is one script with its keys, all of one tag.
type call struct {
	script script
	tag    int
	keys   []string
	args   []any // without the deadline
	plain  bool  // the script takes no deadline
	reply  []any
	err    error
	done   bool
	window store.Window // what it brings back; see journal
}

var (
	errLate  = errors.New("redis: the server's clock jumps")
	errReply = errors.New("redis: a script's reply has not the form that it must have")
)

// micros is our own steady clock.
func (s *Store) micros() int64 { return time.Since(s.start).Microseconds() }

// deadline is when the server must not begin the call any more, by its own
// clock.
func (s *Store) deadline(c *call) int64 {
	off := s.offsets[c.tag].Load()
	if off == 0 {
		return 0
	}
	return s.micros() + off + s.options.Config.Timeout.Microseconds()
}

// run sends the calls in one pipeline. What the server does not know by name
// or found late was not done, and is sent again, once each.
func (s *Store) run(ctx context.Context, calls []call) error {
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.options.Config.Timeout)
	defer cancel()
	whole := false
	for range 3 {
		again, unknown := s.send(ctx, calls, whole)
		if !again {
			break
		}
		whole = whole || unknown
	}
	for i := range calls {
		if !calls[i].done && calls[i].err == nil {
			calls[i].err = errLate
		}
		if calls[i].err != nil {
			return calls[i].err
		}
	}
	return nil
}

func (s *Store) send(ctx context.Context, calls []call, whole bool) (again, unknown bool) {
	pipe := s.client.Pipeline()
	cmds := make([]*goredis.Cmd, len(calls))
	for i := range calls {
		c := &calls[i]
		if c.done {
			continue
		}
		args := c.args
		if !c.plain {
			args = append(make([]any, 0, len(c.args)+1), s.deadline(c))
			args = append(args, c.args...)
		}
		if whole {
			cmds[i] = pipe.Eval(ctx, c.script.text, c.keys, args...)
		} else {
			cmds[i] = pipe.EvalSha(ctx, c.script.sha, c.keys, args...)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		c := &calls[i]
		raw, err := cmd.Result()
		c.err = err
		switch {
		case err != nil && goredis.HasErrorPrefix(err, "NOSCRIPT"):
			again, unknown, c.err = true, true, nil
			continue
		case err != nil || c.plain:
			c.done = true
			if list, ok := raw.([]any); ok {
				c.reply = list
			}
			continue
		}
		list, ok := raw.([]any)
		if !ok || len(list) < 2 || !isInt(list[0]) || !isInt(list[1]) {
			c.err, c.done = errReply, true
			continue
		}
		s.learn(c.tag, list[0].(int64))
		if list[1].(int64) == -1 {
			again = true
			continue
		}
		c.reply, c.done = list, true
	}
	return again, unknown
}

func isInt(v any) bool { _, ok := v.(int64); return ok }

// learn takes the server's clock from an answer. It is never found later than
// it is by more than the way back took.
func (s *Store) learn(tag int, now int64) {
	off := now - s.micros()
	if off == 0 {
		off = 1
	}
	s.offsets[tag].Store(off)
}

// Local is the engine that answers when Redis is away.
func (s *Store) Local() *store.Memory { return s.local }
