package redis

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"garita/store"
)

// scope is a call with the windows that it asks; at says where they are in the
// act.
type scope struct {
	call
	at []int
}

// width of a bucket in microseconds, rounded up.
func width(w *store.Window) int64 {
	parts := int64(parts(w))
	ns := (int64(w.Span) + parts - 1) / parts
	return max((ns-1)/1000+1, 1)
}

// parts that a window has when none are said are those of package store.
func parts(w *store.Window) int {
	if w.Buckets == 0 {
		return 8
	}
	return w.Buckets
}

func (s *Store) windowName(tag int, w *store.Window) string {
	return s.name("w:" + braces(tag) + ":" + strconv.FormatInt(int64(w.Span), 10) + ":" + strconv.Itoa(parts(w)) + ":" + w.Key)
}

// windowCalls puts the windows of an act in scopes, one for each hash tag.
func (s *Store) windowCalls(windows []store.Window, count bool) []scope {
	word := "peek"
	if count {
		word = "count"
	}
	var out []scope
	for i := range windows {
		w := &windows[i]
		tag := tagOf(w.Key)
		n := 0
		for n < len(out) && out[n].tag != tag {
			n++
		}
		if n == len(out) {
			out = append(out, scope{call: call{script: s.scripts.windows, tag: tag, args: []any{word}}})
		}
		sc := &out[n]
		sc.at = append(sc.at, i)
		sc.keys = append(sc.keys, s.windowName(tag, w))
		sc.args = append(sc.args, width(w), parts(w)+1, min(w.Max, maxCost), min(w.Cost, maxCost))
	}
	return out
}

// answer of the script about a window.
type answer struct{ used, over, free, bucket int64 }

// read takes the reply apart.
func (sc *scope) read() (fits bool, answers []answer, err error) {
	if len(sc.reply) != 2+4*len(sc.at) {
		return false, nil, errReply
	}
	answers = make([]answer, len(sc.at))
	for i := range answers {
		var n [4]int64
		for j := range n {
			v, ok := sc.reply[2+4*i+j].(int64)
			if !ok {
				return false, nil, errReply
			}
			n[j] = v
		}
		answers[i] = answer{n[0], n[1], n[2], n[3]}
	}
	return sc.reply[1].(int64) == 1, answers, nil
}

// ask runs the scopes. fits is true when each of them fits; told says where
// it was counted.
func (s *Store) ask(ctx context.Context, windows []store.Window, count bool) (scopes []scope, usage []store.Usage, refunds []call, fits bool, err error) {
	scopes = s.windowCalls(windows, count)
	calls := make([]call, len(scopes))
	for i := range scopes {
		calls[i] = scopes[i].call
	}
	err = s.run(ctx, calls)
	usage, fits = make([]store.Usage, len(windows)), true
	for i := range scopes {
		sc := &scopes[i]
		sc.call = calls[i]
		if !sc.done || sc.call.err != nil {
			continue
		}
		ok, answers, rerr := sc.read()
		if rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		fits = fits && ok
		back := call{script: s.scripts.refund, tag: sc.tag, plain: true}
		for j, a := range answers {
			w := &windows[sc.at[j]]
			u := store.Usage{Used: a.used, Max: w.Max, Over: a.over == 1}
			if u.Over {
				u.Free = store.Never
				if a.free >= 0 && a.free < math.MaxInt64/1000 {
					u.Free = time.Duration(a.free) * time.Microsecond
				}
			}
			usage[sc.at[j]] = u
			if count && ok && w.Cost > 0 {
				back.keys = append(back.keys, sc.keys[j])
				back.args = append(back.args, strconv.FormatInt(a.bucket, 10), min(w.Cost, maxCost))
			}
		}
		if len(back.keys) > 0 {
			refunds = append(refunds, back)
		}
	}
	return scopes, usage, refunds, fits, err
}

// Reserve counts against all windows or none.
func (s *Store) Reserve(ctx context.Context, windows []store.Window) (store.Reservation, []store.Usage, error) {
	if err := store.Check(windows); err != nil {
		return nil, nil, err
	}
	if len(windows) == 0 {
		return &reservation{s: s}, nil, nil
	}
	var r store.Reservation
	var usage []store.Usage
	var lerr error
	err := s.either(ctx, tagOf(windows[0].Key), func() error {
		_, u, refunds, fits, err := s.ask(ctx, windows, true)
		if err != nil {
			// Some nodes may have counted: the act is counted elsewhere now.
			if ctx.Err() != nil {
				s.refund(refunds)
			} else {
				s.journal.refund(refunds)
			}
			return err
		}
		usage = u
		if !fits {
			s.undo(windows, u, refunds)
			return nil
		}
		r = &reservation{s: s, refunds: refunds, local: s.echo(windows, u)}
		return nil
	}, func() {
		var local store.Reservation
		local, usage, lerr = s.local.Reserve(ctx, windows)
		if local != nil {
			s.journal.count(windows, 1)
			r = &reservation{s: s, windows: windows, local: local}
		}
	})
	if err = errors.Join(err, lerr); err != nil {
		return nil, nil, err
	}
	return r, usage, nil
}

// undo takes an act back from the scopes that had room for it.
func (s *Store) undo(windows []store.Window, u []store.Usage, refunds []call) {
	counted := map[string]bool{}
	for _, c := range refunds {
		for _, k := range c.keys {
			counted[k] = true
		}
	}
	for i := range windows {
		if w := &windows[i]; w.Cost > 0 && counted[s.windowName(tagOf(w.Key), w)] {
			u[i].Used = max(u[i].Used-w.Cost, 0)
		}
	}
	s.refund(refunds)
}

// refund waits for the server, since the caller may try again at once; what
// it does not confirm is done when it returns.
func (s *Store) refund(refunds []call) {
	if len(refunds) == 0 {
		return
	}
	if !s.isAway.Load() {
		err := s.run(context.Background(), refunds)
		if err == nil {
			return
		}
		s.failed(refunds[0].tag, err)
	}
	var left []call
	for _, c := range refunds {
		if !c.done || c.err != nil {
			c.done, c.err = false, nil
			left = append(left, c)
		}
	}
	s.mode.RLock()
	away := s.away
	if away {
		s.journal.refund(left)
	}
	s.mode.RUnlock()
	if !away && len(left) > 0 {
		_ = s.run(context.Background(), left) // it has just returned
	}
}

// echo counts an act in the local engine too, and what others have counted
// there since: it will know when Redis is away.
func (s *Store) echo(windows []store.Window, u []store.Usage) store.Reservation {
	free := make([]store.Window, len(windows))
	for i, w := range windows {
		w.Max = 0
		free[i] = w
	}
	r, have, err := s.local.Reserve(context.Background(), free)
	if err != nil {
		return nil // closed
	}
	for i := range free {
		if more := u[i].Used - have[i].Used; more > 0 && free[i].Cost > 0 {
			free[i].Cost = more
			_, _ = s.local.Count(free[i])
		}
	}
	return r
}

// reservation is an act that was counted: in Redis with refunds, or in the
// local engine alone with windows.
type reservation struct {
	s       *Store
	refunds []call
	windows []store.Window
	local   store.Reservation
	ended   atomic.Bool
}

// Commit ends it.
func (r *reservation) Commit() {
	if r.ended.CompareAndSwap(false, true) && r.local != nil {
		r.local.Commit()
	}
}

// Refund takes the act back.
func (r *reservation) Refund() {
	if !r.ended.CompareAndSwap(false, true) {
		return
	}
	if r.local != nil {
		r.local.Refund()
	}
	if len(r.windows) > 0 {
		r.s.journal.count(r.windows, -1)
	}
	r.s.refund(r.refunds)
}

// Count is Reserve of an act that is never taken back.
func (s *Store) Count(w store.Window) (store.Usage, error) {
	_, u, err := s.Reserve(context.Background(), []store.Window{w})
	if err != nil {
		return store.Usage{}, err
	}
	return u[0], nil
}

// Peek asks and counts nothing.
func (s *Store) Peek(ctx context.Context, windows []store.Window) ([]store.Usage, error) {
	if err := store.Check(windows); err != nil || len(windows) == 0 {
		return nil, err
	}
	var usage []store.Usage
	var lerr error
	err := s.either(ctx, tagOf(windows[0].Key), func() (err error) {
		_, usage, _, _, err = s.ask(ctx, windows, false)
		return err
	}, func() { usage, lerr = s.local.Peek(ctx, windows) })
	return usage, errors.Join(err, lerr)
}

// History reads the buckets of one window.
func (s *Store) History(ctx context.Context, w store.Window) ([]int64, error) {
	w.Cost, w.Max = 0, 0
	if err := store.Check([]store.Window{w}); err != nil {
		return nil, err
	}
	tag := tagOf(w.Key)
	var out []int64
	var lerr error
	err := s.either(ctx, tag, func() error {
		c := []call{{script: s.scripts.history, tag: tag, keys: []string{s.windowName(tag, &w)}, plain: true}}
		if err := s.run(ctx, c); err != nil {
			return err
		}
		var err error
		out, err = history(c[0].reply, &w)
		return err
	}, func() { out, lerr = s.local.History(ctx, w) })
	return out, errors.Join(err, lerr)
}

func history(reply []any, w *store.Window) ([]int64, error) {
	if len(reply) != 2 || !isInt(reply[0]) {
		return nil, errReply
	}
	fields, ok := reply[1].([]any)
	if !ok {
		return nil, errReply
	}
	newest := reply[0].(int64) / width(w)
	out := make([]int64, parts(w)+1)
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue // t and o
		}
		v, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, errReply
		}
		// A server whose clock was set back: what it counted before is new.
		if back := max(newest-n, 0); back < int64(len(out)) {
			out[back] += v
		}
	}
	return out, nil
}

// Counters scans all windows.
func (s *Store) Counters(ctx context.Context, prefix string, limit int) ([]store.Counter, error) {
	var out []store.Counter
	var lerr error
	err := s.either(ctx, 0, func() error {
		ctx, cancel := context.WithTimeout(ctx, scanTime)
		defer cancel()
		names, err := s.scan(ctx, "w:{*}:*:*:"+escape(prefix)+"*")
		if err != nil {
			return err
		}
		out, err = s.counters(ctx, names, prefix)
		return err
	}, func() { out, lerr = s.local.Counters(ctx, prefix, limit) })
	if err = errors.Join(err, lerr); err != nil {
		return nil, err
	}
	return store.Fullest(out, limit), nil
}

func (s *Store) counters(ctx context.Context, names []string, prefix string) ([]store.Counter, error) {
	var out []store.Counter
	for len(names) > 0 {
		n := min(len(names), batchSize)
		var windows []store.Window
		var calls []call
		for _, name := range names[:n] {
			if w, ok := s.parse(name); ok && strings.HasPrefix(w.Key, prefix) {
				windows = append(windows, w)
				calls = append(calls, s.windowCalls([]store.Window{w}, false)[0].call)
			}
		}
		names = names[n:]
		if err := s.run(ctx, calls); err != nil {
			return nil, err
		}
		for i := range calls {
			if len(calls[i].reply) < 3 || !isInt(calls[i].reply[2]) {
				return nil, errReply
			}
			if used := calls[i].reply[2].(int64); used > 0 {
				out = append(out, store.Counter{Key: windows[i].Key, Span: windows[i].Span, Buckets: windows[i].Buckets, Used: used})
			}
		}
	}
	return out, nil
}

// parse is the reverse of windowName.
func (s *Store) parse(name string) (w store.Window, ok bool) {
	rest, ok := strings.CutPrefix(name, s.name("w:{"))
	if !ok {
		return w, false
	}
	f := strings.SplitN(rest, ":", 4)
	if len(f) != 4 {
		return w, false
	}
	span, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return w, false
	}
	n, err := strconv.Atoi(f[2])
	w = store.Window{Key: f[3], Span: time.Duration(span), Buckets: n}
	return w, err == nil && store.Check([]store.Window{w}) == nil
}
