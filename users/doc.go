// Package users keeps what is decided about users who send: who is suspended,
// and who has limits of his own. It knows nothing of SMTP.
//
// A decision is written to the store and is on the disk before the command
// that made it returns. It is read from memory: the registry watches the store,
// so that a decision made on another gateway holds here within a second too,
// and no message waits for a look-up. Names are canonical (package identity).
//
// It fails towards what it knew last: a store that cannot be asked changes
// nothing, neither lifts a suspension nor makes one.
//
// # Limits
//
// MaxRecords suspensions and as many sets of limits; one too many is ErrFull.
// A reason has at most 300 octets. Events that the store had to drop are found
// again by the look at all of it every five minutes.
package users

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"garita/store"
)

const (
	// MaxRecords bounds each kind of record.
	MaxRecords = 100_000
	maxReason  = 300
	maxLimits  = 16
	// relist is how often all records are read again.
	relist = 5 * time.Minute
	// rewatch is the wait before a watch that ended is begun again.
	rewatch = 200 * time.Millisecond
	// eventWait bounds the look at what an event is about.
	eventWait = 5 * time.Second

	prefix         = "users/"
	prefixSuspend  = prefix + "suspended/"
	prefixOverride = prefix + "limits/"
	// prefixStopped is outside of prefix: nobody watches it.
	prefixStopped = "users-stopped/"
	stoppedFor    = 90 * 24 * time.Hour
)

// What a command can be told; errors.Is finds them.
var (
	ErrFull = errors.New("users: too many records")
	// ErrNotDurable: it holds here, and neither disk nor shared store has it.
	ErrNotDurable = errors.New("users: done, and in effect on this gateway, but it could not be kept")
	ErrName       = errors.New("users: not the name of a user")
)

// Suspension is why a user may not send. He still receives.
type Suspension struct {
	User   string    `json:"user"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody resumes him
}

// Override are limits of one user in place of those of the configuration.
type Override struct {
	User   string   `json:"user"`
	Limits []string `json:"limits"` // as [check.limits] writes them
	// Epoch names his counters: another number is as if nothing was counted.
	Epoch int       `json:"epoch,omitempty"`
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// Change is a suspension that began or ended, for OnChange.
type Change struct {
	Suspension
	Suspended bool
	// Here tells that this process decided it; else it came by the store.
	Here bool
}

// Options are what a Registry is made of.
type Options struct {
	Store store.Store
	Now   func() time.Time // nil: time.Now
	// Log is told what an operator should know; nil is silence.
	Log func(text string, err error)
	// OnChange hears of each suspension and its end, once; it must neither block
	// nor change the registry. nil is nobody. What is known at the start is not told.
	OnChange func(Change)
}

// Registry is safe for concurrent use.
type Registry struct {
	o      Options
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// mu is held by one writer at a time, to the end of its write: so memory
	// and store agree whenever an event is looked at.
	mu        sync.Mutex
	suspended atomic.Pointer[map[string]Suspension]
	overrides atomic.Pointer[map[string]Override]
}

// New reads what the store has and begins to watch it.
func New(o Options) (*Registry, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	if o.OnChange == nil {
		o.OnChange = func(Change) {}
	}
	r := &Registry{o: o}
	r.suspended.Store(&map[string]Suspension{})
	r.overrides.Store(&map[string]Override{})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	events := o.Store.Watch(ctx, prefix) // before the look: nothing falls between
	if err := r.readAll(ctx, false); err != nil {
		cancel()
		return nil, fmt.Errorf("users: %w", err)
	}
	r.wg.Go(func() { r.watch(ctx, events) })
	return r, nil
}

// Close ends the watch.
func (r *Registry) Close() {
	r.cancel()
	r.wg.Wait()
}

// Suspended tells whether a user may not send now, from memory.
func (r *Registry) Suspended(user string) (Suspension, bool) {
	if r == nil || user == "" {
		return Suspension{}, false
	}
	m := *r.suspended.Load()
	if len(m) == 0 {
		return Suspension{}, false
	}
	s, ok := m[user]
	if !ok || over(s.Until, r.o.Now()) {
		return Suspension{}, false
	}
	return s, true
}

// Override gives the limits of a user's own, from memory.
func (r *Registry) Override(user string) (Override, bool) {
	if r == nil || user == "" {
		return Override{}, false
	}
	m := *r.overrides.Load()
	if len(m) == 0 {
		return Override{}, false
	}
	o, ok := m[user]
	if !ok || over(o.Until, r.o.Now()) {
		return Override{}, false
	}
	return o, true
}

func over(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }

// List gives the suspensions that hold, by user.
func (r *Registry) List() []Suspension {
	m, now := *r.suspended.Load(), r.o.Now()
	out := make([]Suspension, 0, len(m))
	for _, u := range slices.Sorted(maps.Keys(m)) {
		if !over(m[u].Until, now) {
			out = append(out, m[u])
		}
	}
	return out
}

// Overrides gives the limits that hold, by user.
func (r *Registry) Overrides() []Override {
	m, now := *r.overrides.Load(), r.o.Now()
	out := make([]Override, 0, len(m))
	for _, u := range slices.Sorted(maps.Keys(m)) {
		if !over(m[u].Until, now) {
			out = append(out, m[u])
		}
	}
	return out
}

// wellNamed refuses what no canonical name can be: it becomes a key.
func wellNamed(user string) error {
	if user == "" || len(user) > 300 || !utf8.ValidString(user) || strings.IndexFunc(user, func(c rune) bool { return c <= ' ' || c == 0x7f }) >= 0 {
		return ErrName
	}
	return nil
}

// span gives the time to live; not ok when it is over already.
func (r *Registry) span(until time.Time) (ttl time.Duration, ok bool) {
	if until.IsZero() {
		return 0, true
	}
	ttl = until.Sub(r.o.Now())
	return ttl, ttl > 0
}

// Suspend stops a user from sending: here when it returns, elsewhere within a
// second. s.Since is filled in. ErrNotDurable comes with a suspension that
// holds.
func (r *Registry) Suspend(ctx context.Context, s Suspension) (Suspension, error) {
	if err := wellNamed(s.User); err != nil {
		return s, err
	}
	ttl, ok := r.span(s.Until)
	if !ok {
		return s, fmt.Errorf("users: the end of the suspension of %q has passed", s.User)
	}
	s.Reason, s.By, s.Since = cut(s.Reason), cut(s.By), r.o.Now().UTC().Truncate(time.Second)
	raw, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	r.mu.Lock()
	m := *r.suspended.Load()
	if _, have := m[s.User]; !have && len(m) >= MaxRecords {
		r.mu.Unlock()
		return s, ErrFull
	}
	told := r.set(s, true)
	told()
	err = errors.Join(r.o.Store.PutNow(ctx, prefixSuspend+s.User, raw, ttl), r.stop(ctx, s.User))
	r.mu.Unlock()
	return s, r.durable(err)
}

// Resume lets a user send again. It tells whether he was suspended.
func (r *Registry) Resume(ctx context.Context, user, by string) (was Suspension, ok bool, err error) {
	if err := wellNamed(user); err != nil {
		return was, false, err
	}
	was, ok = r.Suspended(user)
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.unset(user, by, true)
	told()
	if ok {
		err = r.stop(ctx, user)
	}
	return was, ok, r.durable(errors.Join(err, r.o.Store.DeleteNow(ctx, prefixSuspend+user)))
}

// stop notes that what a user has sent until now waits for a person.
func (r *Registry) stop(ctx context.Context, user string) error {
	return r.o.Store.PutNow(ctx, prefixStopped+user, strconv.AppendInt(nil, r.o.Now().UnixMicro(), 10), stoppedFor)
}

// Stopped is when a user was last suspended or resumed; zero: not for long.
// What is held of his from before then may be what he was suspended for, and
// never leaves by itself.
func (r *Registry) Stopped(ctx context.Context, user string) (time.Time, error) {
	if r == nil {
		return time.Time{}, nil
	}
	raw, ok, err := r.o.Store.Get(ctx, prefixStopped+user)
	if err != nil || !ok {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("users: when %q was suspended: %w", user, err)
	}
	return time.UnixMicro(n), nil
}

// Limit gives a user limits of his own; none, and no epoch, takes them away.
func (r *Registry) Limit(ctx context.Context, o Override) (Override, error) {
	if err := wellNamed(o.User); err != nil {
		return o, err
	}
	if len(o.Limits) > maxLimits {
		return o, fmt.Errorf("users: more than %d limits", maxLimits)
	}
	ttl, ok := r.span(o.Until)
	if !ok {
		return o, fmt.Errorf("users: the end of the limits of %q has passed", o.User)
	}
	o.By, o.Since = cut(o.By), r.o.Now().UTC().Truncate(time.Second)
	raw, err := json.Marshal(o)
	if err != nil {
		return o, err
	}
	r.mu.Lock()
	m := maps.Clone(*r.overrides.Load())
	if _, have := m[o.User]; !have && len(m) >= MaxRecords {
		r.mu.Unlock()
		return o, ErrFull
	}
	none := len(o.Limits) == 0 && o.Epoch == 0
	if m[o.User] = o; none {
		delete(m, o.User)
	}
	r.overrides.Store(&m)
	defer r.mu.Unlock()
	if none {
		return o, r.durable(r.o.Store.DeleteNow(ctx, prefixOverride+o.User))
	}
	return o, r.durable(r.o.Store.PutNow(ctx, prefixOverride+o.User, raw, ttl))
}

func (r *Registry) durable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrNotDurable, err)
}

// set notes a suspension; mu is held. The func tells of it.
func (r *Registry) set(s Suspension, here bool) func() {
	old := *r.suspended.Load()
	was, have := old[s.User]
	if have && was == s {
		return func() {}
	}
	m := make(map[string]Suspension, len(old)+1)
	maps.Copy(m, old)
	m[s.User] = s
	r.suspended.Store(&m)
	return func() { r.o.OnChange(Change{s, true, here}) }
}

// unset is the reverse.
func (r *Registry) unset(user, by string, here bool) func() {
	old := *r.suspended.Load()
	was, have := old[user]
	if !have {
		return func() {}
	}
	m := maps.Clone(old)
	delete(m, user)
	r.suspended.Store(&m)
	if by != "" {
		was.By = cut(by)
	}
	return func() { r.o.OnChange(Change{was, false, here}) }
}

// watch follows the store until ctx ends.
func (r *Registry) watch(ctx context.Context, events <-chan store.Event) {
	tick := time.NewTicker(relist)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.again(ctx)
		case e, ok := <-events:
			if ok {
				r.event(ctx, e.Key)
				continue
			}
			// The store closed it: it is at its end, or has lost its server.
			select {
			case <-ctx.Done():
				return
			case <-time.After(rewatch):
			}
			events = r.o.Store.Watch(ctx, prefix)
			r.again(ctx)
		}
	}
}

func (r *Registry) again(ctx context.Context) {
	if err := r.readAll(ctx, true); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		r.o.Log("the suspended users could not be read again; what is known stays", err)
	}
}

// event takes over one change: what the store says now, since an event may be
// the echo of what was changed again meanwhile.
func (r *Registry) event(ctx context.Context, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, eventWait)
	defer cancel()
	value, have, err := r.o.Store.Get(ctx, key)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			r.o.Log("a change of a user could not be read; it is found again later", err)
		}
		return
	}
	if user, ok := strings.CutPrefix(key, prefixSuspend); ok {
		var s Suspension
		if !have {
			r.unset(user, "", false)()
		} else if json.Unmarshal(value, &s) == nil && s.User == user {
			r.set(s, false)()
		}
	} else if user, ok := strings.CutPrefix(key, prefixOverride); ok {
		m := maps.Clone(*r.overrides.Load())
		var o Override
		if !have {
			delete(m, user)
		} else if json.Unmarshal(value, &o) == nil && o.User == user {
			m[user] = o
		}
		r.overrides.Store(&m)
	}
}

// page is how many records one look at the store gives.
const page = 1000

// readAll makes the registry what the store says.
func (r *Registry) readAll(ctx context.Context, tell bool) error {
	r.mu.Lock()
	var said []func()
	defer func() {
		r.mu.Unlock()
		for _, f := range said {
			f()
		}
	}()
	suspended, overrides := map[string]Suspension{}, map[string]Override{}
	for after := ""; ; {
		items, err := r.o.Store.List(ctx, prefix, after, page)
		if err != nil {
			return err
		}
		for _, it := range items {
			var s Suspension
			var o Override
			if user, ok := strings.CutPrefix(it.Key, prefixSuspend); ok && json.Unmarshal(it.Value, &s) == nil && s.User == user && len(suspended) < MaxRecords {
				suspended[user] = s
			} else if user, ok := strings.CutPrefix(it.Key, prefixOverride); ok && json.Unmarshal(it.Value, &o) == nil && o.User == user && len(overrides) < MaxRecords {
				overrides[user] = o
			}
		}
		if len(items) < page {
			break
		}
		after = items[len(items)-1].Key
	}
	old := *r.suspended.Load()
	for u, s := range suspended {
		if was, have := old[u]; tell && (!have || was != s) {
			said = append(said, func() { r.o.OnChange(Change{s, true, false}) })
		}
	}
	for u, s := range old {
		if _, have := suspended[u]; tell && !have {
			said = append(said, func() { r.o.OnChange(Change{s, false, false}) })
		}
	}
	r.suspended.Store(&suspended)
	r.overrides.Store(&overrides)
	return nil
}

func cut(s string) string {
	if len(s) > maxReason {
		for s = s[:maxReason]; len(s) > 0 && !utf8.ValidString(s); {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "?")
}
