package filters

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/resolver"
)

// Faults of checks that the engine itself sees.
var (
	errPanic = errors.New("panic")
	errLate  = errors.New("too many earlier runs still hang")
	errScore = errors.New("score is not a number")
	errFree  = errors.New("accept from a check that may not give it")
)

// call is one stage to look at. For I/O it is detached from the wire's values.
type call struct {
	stage mail.Stage
	s     *mail.Session
	tx    *mail.Transaction
	rcpt  mail.Recipient
	end   *mail.Outcome // Finish
}

// detach copies what the wire goes on writing to, because a check may outlive
// its timeout. Slices are shared: the wire only appends to them.
func (c *call) detach() {
	s := *c.s
	s.Scratch = nil
	c.s = &s
	if c.tx != nil {
		tx := *c.tx
		tx.Session, tx.Scratch = &s, nil
		c.tx = &tx
	}
}

// ran is how one check went.
type ran struct {
	res  Result
	err  error
	took time.Duration
	mode mail.Mode
	ok   bool // it ran at all, or will
	// waits: it could not say anything at once.
	waits bool
}

// outcome is what a stage gave.
type outcome struct {
	findings []mail.Finding
	runs     []mail.CheckRun
}

func (u *check) mode(global mail.Mode) mail.Mode {
	if u.Class == Mandatory {
		return mail.Enforce
	}
	return max(u.Mode, global)
}

// run runs a stage of the session.
func (e *Engine) run(ctx context.Context, c call, acc acceptance) outcome {
	out := outcome{runs: make([]mail.CheckRun, 0, len(e.stages[c.stage]))}
	e.each(ctx, &c, acc, &out, nil)
	return out
}

// runTx runs a stage of a transaction; the list of runs lies in its state.
func (e *Engine) runTx(ctx context.Context, st *txState, c call, acc acceptance) outcome {
	if len(e.stages[c.stage]) == 0 {
		return outcome{}
	}
	// What the wire holds of earlier stages is cut off by its capacity and
	// never overwritten.
	if c.stage == mail.StageRcpt && len(st.runs) >= cap(st.room) {
		st.runs = nil // a thousand recipients: do not keep what was handed out
	}
	start := len(st.runs)
	out := outcome{runs: st.runs}
	st.call = c
	e.each(ctx, &st.call, acc, &out, st)
	st.runs = out.runs
	out.runs = slices.Clip(out.runs[start:])
	return out
}

func (e *Engine) each(ctx context.Context, c *call, acc acceptance, out *outcome, st *txState) {
	global := e.cfg.Mode()
	steps := e.stages[c.stage]
	if e.async[c.stage] {
		e.parallel(ctx, c, acc, global, out, st)
		return
	}
	start := e.cfg.Now()
	for i := range steps {
		u := steps[i].check
		r := ran{mode: u.mode(global)}
		if r.mode == mail.Off || acc.skipsCheck(u.Class, c.stage) {
			continue
		}
		r.res, r.err = u.guard(ctx, c)
		end := e.cfg.Now()
		r.took, start = end.Sub(start), end
		e.merge(u, c, &r, out, st)
	}
}

// few is the number of checks of a stage whose results need no allocation.
const few = 8

// parallel runs a stage in which a check declares I/O: first those that do
// not block, in list order, then the others side by side, each as soon as
// those that it needs are done. The order of arrival changes nothing.
func (e *Engine) parallel(ctx context.Context, c *call, acc acceptance, global mail.Mode, out *outcome, st *txState) {
	steps := e.stages[c.stage]
	var room [few]ran
	rs := room[:]
	if len(steps) > few {
		rs = make([]ran, len(steps))
	}
	rs = rs[:len(steps)]
	if e.atOnce(ctx, c, steps, acc, global, rs) {
		// What goroutines write to lies on the heap; mostly there are none.
		shared := append([]ran(nil), rs...)
		e.sideBySide(ctx, c, steps, shared)
		copy(rs, shared)
	}
	for i := range rs {
		if rs[i].ok {
			e.merge(steps[i].check, c, &rs[i], out, st)
		}
	}
}

// atOnce runs the steps that do not block, and those that memory can answer.
// It tells whether others remain, which it has marked.
func (e *Engine) atOnce(ctx context.Context, c *call, steps []step, acc acceptance, global mail.Mode, rs []ran) (more bool) {
	var cached context.Context
	start := e.cfg.Now()
	for i := range steps {
		u, r := steps[i].check, &rs[i]
		r.mode = u.mode(global)
		if r.mode == mail.Off || acc.skipsCheck(u.Class, c.stage) {
			continue
		}
		r.ok = true
		switch {
		case !steps[i].async:
			v := c
			if facts(steps, rs[:i], nil) {
				v = e.view(c, steps, rs[:i], nil)
			}
			r.res, r.err = u.guard(ctx, v)
		case steps[i].fromMemory():
			if cached == nil {
				cached = resolver.FromCache(ctx)
			}
			// It needs neither a goroutine nor a copy of the transaction,
			// which are the larger part of its cost.
			if r.res, r.err = u.guard(cached, c); errors.Is(r.err, ErrWouldWait) {
				r.res, r.err, r.waits = Result{}, nil, true
			}
		default:
			r.waits = true
		}
		more = more || r.waits
		end := e.cfg.Now()
		r.took, start = end.Sub(start), end
	}
	return more
}

// fromMemory tells that the check can say at once what needs no waiting.
func (s *step) fromMemory() bool { return s.IO && s.Cached && len(s.needs) == 0 }

// sideBySide runs the steps that wait.
func (e *Engine) sideBySide(ctx context.Context, c *call, steps []step, rs []ran) {
	if one := slices.IndexFunc(rs, func(r ran) bool { return r.waits }); !slices.ContainsFunc(rs[one+1:], func(r ran) bool { return r.waits }) {
		e.waiting(ctx, c, steps, rs, one) // it has nobody to run beside
		return
	}
	done := make([]chan struct{}, len(steps))
	for i := range steps {
		if rs[i].waits {
			done[i] = make(chan struct{})
		}
	}
	for i := range steps {
		if done[i] == nil {
			continue
		}
		go func() {
			defer close(done[i])
			for _, n := range steps[i].needs {
				if done[n] != nil {
					<-done[n]
				}
			}
			e.waiting(ctx, c, steps, rs, i)
		}()
	}
	for i := range done {
		if done[i] != nil {
			<-done[i]
		}
	}
}

// waiting runs a step that waits, those that it needs being done.
func (e *Engine) waiting(ctx context.Context, c *call, steps []step, rs []ran, i int) {
	v := e.view(c, steps, rs[:i], steps[i].needs)
	start := e.cfg.Now()
	if steps[i].IO {
		rs[i].res, rs[i].err = steps[i].within(ctx, v)
	} else {
		rs[i].res, rs[i].err = steps[i].guard(ctx, v)
	}
	rs[i].took = e.cfg.Now().Sub(start)
}

// shows tells that what step j gave is shown to a later one with these needs.
func shows(steps []step, before []ran, j int, needs []int) bool {
	return before[j].ok && (!steps[j].async || slices.Contains(needs, j))
}

// facts tells that checks before have given any.
func facts(steps []step, before []ran, needs []int) bool {
	for j := range before {
		if len(before[j].res.Findings)+len(before[j].res.Auth) > 0 && shows(steps, before, j, needs) {
			return true
		}
	}
	return false
}

// view is the call as a check of a parallel stage sees it: detached, with the
// facts of the checks before it that did not block and of those it needs.
func (e *Engine) view(c *call, steps []step, before []ran, needs []int) *call {
	v := *c
	v.detach()
	if v.tx == nil {
		return &v
	}
	v.tx.Findings = slices.Clip(v.tx.Findings)
	v.tx.Auth = slices.Clip(v.tx.Auth)
	for j := range before {
		if !shows(steps, before, j, needs) {
			continue
		}
		for _, f := range before[j].res.Findings {
			v.tx.Findings = append(v.tx.Findings, dress(steps[j].check, c, before[j].mode, f))
		}
		v.tx.Auth = append(v.tx.Auth, before[j].res.Auth...)
	}
	return &v
}

// guard calls the check's method of the stage and turns a panic into an error.
func (u *check) guard(ctx context.Context, c *call) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			res, err = Result{}, fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	if c.end != nil {
		return Result{}, u.Impl.(Finisher).Finish(ctx, c.tx, *c.end)
	}
	switch c.stage {
	case mail.StageConnect:
		return u.Impl.(ConnectChecker).CheckConnect(ctx, c.s)
	case mail.StageHelo:
		return u.Impl.(HeloChecker).CheckHelo(ctx, c.s)
	case mail.StageMail:
		return u.Impl.(MailChecker).CheckMail(ctx, c.tx)
	case mail.StageRcpt:
		return u.Impl.(RcptChecker).CheckRcpt(ctx, c.tx, c.rcpt)
	case mail.StageData:
		return u.Impl.(DataChecker).CheckData(ctx, c.tx)
	case mail.StageMessage:
		return u.Impl.(MessageChecker).CheckMessage(ctx, c.tx)
	}
	return Result{}, fmt.Errorf("no stage %d", c.stage)
}

// Who was first, the check or its timeout.
const (
	stateRunning int32 = iota
	stateDone
	stateLeft
)

// within runs the check for at most its timeout. A check that does not heed
// its context is left behind: it keeps the message until it ends, and counts
// as late.
func (u *check) within(ctx context.Context, c *call) (Result, error) {
	if u.late.Load() >= maxLate {
		return Result{}, errLate
	}
	ctx, cancel := context.WithTimeout(ctx, u.Timeout)
	if c.tx != nil && c.tx.Message != nil {
		c.tx.Message.Retain()
	}
	type answer struct {
		res Result
		err error
	}
	ch := make(chan answer, 1)
	var state atomic.Int32
	go func() {
		defer func() {
			if c.tx != nil && c.tx.Message != nil {
				c.tx.Message.Release()
			}
			cancel()
			if !state.CompareAndSwap(stateRunning, stateDone) {
				u.late.Add(-1)
			}
		}()
		res, err := u.guard(ctx, c)
		ch <- answer{res, err}
	}()
	select {
	case a := <-ch:
		return a.res, a.err
	case <-ctx.Done():
	}
	u.late.Add(1)
	if !state.CompareAndSwap(stateRunning, stateLeft) {
		u.late.Add(-1)
	}
	select {
	case a := <-ch: // it did heed, and says so
		return a.res, a.err
	default:
		return Result{}, ctx.Err()
	}
}

// merge takes over what a check gave; it is called in list order.
func (e *Engine) merge(u *check, c *call, r *ran, out *outcome, st *txState) {
	for _, f := range r.res.Findings {
		switch {
		case f.Verdict == mail.Accept && u.Class != Policy:
			f.Verdict = mail.Continue
			r.err = errors.Join(r.err, errFree)
		case math.IsNaN(f.Score) || math.IsInf(f.Score, 0):
			// A sum that is not a number lies below every threshold.
			f.Score = 0
			r.err = errors.Join(r.err, errScore)
		}
		out.findings = append(out.findings, dress(u, c, r.mode, f))
	}
	if r.err != nil {
		e.cfg.Fault(u.Name, c.stage, r.err)
		f := mail.Finding{Symbol: symbolError(u.Name), Detail: r.err.Error()}
		if u.OnError == DeferOnError {
			f.Verdict = mail.Defer
		}
		out.findings = append(out.findings, dress(u, c, r.mode, f))
	}
	if c.tx != nil {
		c.tx.Auth = append(c.tx.Auth, r.res.Auth...)
		if r.mode == mail.Enforce {
			c.tx.Edits = append(c.tx.Edits, r.res.Edits...)
			st.envelope = append(st.envelope, r.res.Envelope...)
			if c.stage == mail.StageMessage {
				st.disarm = append(st.disarm, r.res.Disarm...)
				st.rewrite = append(st.rewrite, r.res.Rewrite...)
			}
		}
	}
	out.runs = append(out.runs, mail.CheckRun{Check: u.Name, Stage: c.stage, Took: r.took, Err: r.err})
}

// dress fills in what the engine knows about a finding.
func dress(u *check, c *call, mode mail.Mode, f mail.Finding) mail.Finding {
	if u.Class != Mandatory {
		mode = max(mode, f.Mode) // a part of a check may do less than the whole
	}
	f.Filter, f.Stage, f.Mode = u.Name, c.stage, mode
	f.Counted = mode == mail.Enforce || mode == mail.Score
	f.Rcpt = nil
	if c.stage == mail.StageRcpt {
		f.Rcpt = ptr(c.rcpt)
	}
	return f
}
