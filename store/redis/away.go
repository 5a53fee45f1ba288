package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"garita/store"
)

const (
	// firstRetry and lastRetry are between two attempts on a Redis that is
	// away, each with up to as much again by chance: the gateways must not all
	// come at once when it returns.
	firstRetry = 20 * time.Millisecond
	lastRetry  = 250 * time.Millisecond
	// batchSize is how many changes one pipeline brings back.
	batchSize = 200
	// attempts of one call, between which Redis went away and came back.
	attempts = 3
	// returnTime bounds one such pipeline.
	returnTime = 2 * time.Second
)

// journal is what happened in the local engine while Redis was away: sums for
// windows, the last change for values. It is bounded by room for each.
type journal struct {
	mu      sync.Mutex
	room    int
	counts  map[store.Window]int64 // by windows without Max and Cost
	changes map[string]change
	members map[member]time.Time // until when; zero is for ever
	refunds []call
	dropped uint64
}

// change of a value; until is when it ends, zero for never.
type change struct {
	value   []byte
	deleted bool
	kept    bool
	until   time.Time
}

type member struct{ set, name string }

// bare is the window alone.
func bare(w store.Window) store.Window {
	return store.Window{Key: w.Key, Span: w.Span, Buckets: w.Buckets}
}

func (j *journal) count(windows []store.Window, sign int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts == nil {
		j.counts = map[store.Window]int64{}
	}
	for _, w := range windows {
		if w.Cost == 0 {
			continue
		}
		id := bare(w)
		have, ok := j.counts[id]
		switch {
		case !ok && sign < 0:
			// Already brought to Redis: it stays counted.
		case !ok && len(j.counts) >= j.room:
			j.dropped++
		default:
			if have += sign * min(w.Cost, maxCost); have <= 0 {
				delete(j.counts, id)
			} else {
				j.counts[id] = min(have, maxCost)
			}
		}
	}
}

func (j *journal) change(key string, c change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changes == nil {
		j.changes = map[string]change{}
	}
	if _, ok := j.changes[key]; !ok && len(j.changes) >= j.room {
		j.dropped++
		return
	}
	j.changes[key] = c
}

func (j *journal) member(m member, until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.members == nil {
		j.members = map[member]time.Time{}
	}
	if len(j.members) >= j.room {
		j.dropped++
		return
	}
	j.members[m] = until
}

func (j *journal) refund(calls []call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.refunds)+len(calls) > j.room {
		j.dropped += uint64(len(calls))
		return
	}
	j.refunds = append(j.refunds, calls...)
}

func (j *journal) size() (pending int, dropped uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.counts) + len(j.changes) + len(j.members) + len(j.refunds), j.dropped
}

// here does the work in the local engine if Redis is away; otherwise false,
// and nothing was done. What do writes into the journal is in it before Redis
// is asked again.
func (s *Store) here(do func()) bool {
	if !s.isAway.Load() {
		return false
	}
	s.mode.RLock()
	defer s.mode.RUnlock()
	if !s.away {
		return false
	}
	s.fallbacks.Add(1)
	do()
	return true
}

// either asks Redis, or the local engine when it is away or has just gone. An
// error is the caller's own end, or what local gives.
func (s *Store) either(ctx context.Context, tag int, remote func() error, local func()) error {
	var last error
	for range attempts {
		if s.closed.Load() {
			return store.ErrClosed
		}
		if s.here(local) {
			return nil
		}
		err := remote()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.closed.Load() {
			return store.ErrClosed
		}
		s.failed(tag, err)
		last = err
	}
	// It answers when it is tried, and never when it is asked.
	return words(last)
}

// failed turns to the local engine.
func (s *Store) failed(tag int, err error) {
	s.failures.Add(1)
	s.mode.Lock()
	first := !s.away
	s.away = true
	s.isAway.Store(true)
	if first {
		s.probe = tag
	}
	s.mode.Unlock()
	if !first {
		return
	}
	s.outages.Add(1)
	err = words(err)
	s.faultMu.Lock()
	s.fault, s.since = err, time.Now()
	s.faultMu.Unlock()
	if s.options.Log != nil {
		s.options.Log("the shared store is away; this gateway counts and decides by itself", err)
	}
	select {
	case s.lost <- struct{}{}:
	default:
	}
}

// words is an error that can be shown: a server's text is not ours, so it is
// bounded and printable.
func words(err error) error {
	text := err.Error()
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return errors.New("store.redis: " + text[:min(len(text), 200)])
}

// try writes where the failed call would have: reading is not enough when
// there is no memory or it is a replica.
func (s *Store) try(tag int) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.options.Config.Timeout)
	defer cancel()
	return s.client.Set(ctx, s.name("p:"+braces(tag)), 1, time.Minute).Err()
}

// returns waits for Redis when it is away, brings it what it has missed, and
// gives the work back to it.
func (s *Store) returns() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.lost:
		}
		for wait := firstRetry; !s.back(); wait = min(2*wait, lastRetry) {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(wait + rand.N(wait)):
			}
		}
	}
}

func (s *Store) back() bool {
	s.mode.RLock()
	probe := s.probe
	s.mode.RUnlock()
	err := s.try(probe)
	for err == nil {
		if err = s.bring(); err != nil {
			break
		}
		s.mode.Lock()
		if left, _ := s.journal.size(); left == 0 {
			s.away = false
			s.isAway.Store(false)
			s.mode.Unlock()
			s.faultMu.Lock()
			s.fault = nil
			s.faultMu.Unlock()
			if s.options.Log != nil {
				s.options.Log("the shared store answers again; what was counted meanwhile is in it", nil)
			}
			return true
		}
		s.mode.Unlock()
	}
	s.failures.Add(1)
	s.faultMu.Lock()
	s.fault = words(err)
	s.faultMu.Unlock()
	return false
}

// bring sends the journal. What was not confirmed stays in it; what was
// executed without a confirmation counts twice.
func (s *Store) bring() error {
	for {
		calls, changes, members := s.portion()
		if len(calls)+len(changes)+len(members) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(s.ctx, returnTime)
		err := s.deliver(ctx, calls, changes, members)
		cancel()
		if err != nil {
			s.journal.giveBack(calls, changes, members)
			return err
		}
	}
}

// portion takes some of the journal out of it.
func (s *Store) portion() (calls []call, changes map[string]change, members map[member]time.Time) {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.refunds), batchSize)
	calls = append(calls, j.refunds[:n]...)
	j.refunds = j.refunds[n:]
	for w, cost := range j.counts {
		if len(calls) >= batchSize {
			break
		}
		w.Cost = cost
		c := s.windowCalls([]store.Window{w}, true)[0].call
		c.window = w
		calls = append(calls, c)
		delete(j.counts, bare(w))
	}
	changes, members = map[string]change{}, map[member]time.Time{}
	for key, c := range j.changes {
		if len(changes) >= batchSize {
			break
		}
		changes[key] = c
		delete(j.changes, key)
	}
	for m, until := range j.members {
		if len(members) >= batchSize {
			break
		}
		members[m] = until
		delete(j.members, m)
	}
	return calls, changes, members
}

func (j *journal) giveBack(calls []call, changes map[string]change, members map[member]time.Time) {
	var refunds []call
	for _, c := range calls {
		switch {
		case c.done && c.err == nil:
		case c.window.Key != "":
			j.count([]store.Window{c.window}, 1)
		default:
			c.done, c.err = false, nil
			refunds = append(refunds, c)
		}
	}
	j.refund(refunds)
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, c := range changes {
		if _, newer := j.changes[key]; !newer {
			j.changes[key] = c
		}
	}
	for m, until := range members {
		if _, newer := j.members[m]; !newer {
			j.members[m] = until
		}
	}
}

func (s *Store) deliver(ctx context.Context, calls []call, changes map[string]change, members map[member]time.Time) error {
	if len(calls) > 0 {
		// Each in its time: a portion may take longer than one call.
		s.send(ctx, calls, true)
		for i := range calls {
			if !calls[i].done {
				return errLate
			}
			if calls[i].err != nil {
				return calls[i].err
			}
		}
	}
	now := time.Now()
	var values []call
	pipe := s.client.Pipeline()
	for key, c := range changes {
		ttl := time.Duration(0)
		if !c.until.IsZero() {
			if ttl = c.until.Sub(now); ttl <= 0 {
				continue
			}
		}
		if c.deleted || !c.kept {
			values = append(values, s.keepCall("delete", key, nil, 0))
		} else {
			values = append(values, s.keepCall("put", key, c.value, ttl))
		}
		if c.deleted || c.kept {
			pipe.Del(ctx, s.valueName(key))
		} else {
			pipe.Set(ctx, s.valueName(key), c.value, bounded(ttl))
		}
	}
	for m, until := range members {
		ttl := time.Duration(0)
		if !until.IsZero() {
			if ttl = until.Sub(now); ttl <= 0 {
				continue
			}
		}
		pipe.SetNX(ctx, s.memberName(m.set, m.name), 1, bounded(ttl))
	}
	if len(values) > 0 {
		s.send(ctx, values, true)
		for i := range values {
			if values[i].err != nil || !values[i].done {
				return errors.Join(values[i].err, errReply)
			}
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
			return err
		}
	}
	return nil
}
