package clamav

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pool is all endpoints together.
type pool struct {
	cfg       Config
	endpoints []*endpoint
	times     times
	now       func() time.Time
	logTo     func(text string, err error)
	selfTest  bool
	wait      time.Duration

	cache   *cache
	strikes *strikes
	outage  *outage
	// alone lets octets that clamd failed on once in one by one, so that what
	// dies with the sample that kills clamd is not taken for it.
	alone chan struct{}

	done   atomic.Uint64 // scans that worked
	failed atomic.Uint64
	limits atomic.Pointer[Limits]

	mu    sync.Mutex
	epoch string
	told  map[string]string // warnings in force, by what they are about
}

func newPool(c Config, o Options) *pool {
	p := &pool{cfg: c, times: times{c.ConnectTimeout, c.WriteTimeout}, now: o.Now, logTo: o.Log, selfTest: c.SelfTest,
		wait: c.Wait, alone: make(chan struct{}, 1), told: map[string]string{}}
	if p.now == nil {
		p.now = time.Now
	}
	if prev := o.Previous; prev != nil {
		// A new configuration does not make us forget that clamd is down, or
		// which sample kills it.
		p.strikes, p.outage = prev.pool.strikes, prev.pool.outage
		if old := prev.pool.cache; old.most == c.CacheEntries && old.age == c.CacheFor {
			p.cache = old
		}
	}
	if p.cache == nil {
		p.cache = newCache(c.CacheEntries, c.CacheFor)
	}
	if p.strikes == nil {
		p.strikes, p.outage = newStrikes(), &outage{}
	}
	for _, s := range c.Servers {
		a, _ := parseServer(s) // Validate has read it
		p.endpoints = append(p.endpoints, newEndpoint(a, c.MaxScans, p.now()))
	}
	p.readLimits()
	return p
}

func (p *pool) log(text string, err error) {
	if p.logTo != nil {
		p.logTo(text, err)
	}
}

// readLimits reads clamd's limits anew: it may have been restarted with
// others.
func (p *pool) readLimits() {
	l, err := p.cfg.limits()
	p.limits.Store(&l)
	if p.cfg.Mode == "off" {
		return // and there need be no clamd here at all
	}
	p.tell("limits", "clamav: the limits of clamd are assumed", err)
}

// tell logs a fault when it begins and when it is another one.
func (p *pool) tell(about, text string, err error) {
	p.mu.Lock()
	before := p.told[about]
	if err == nil {
		delete(p.told, about)
	} else {
		p.told[about] = err.Error()
	}
	p.mu.Unlock()
	if err != nil && err.Error() != before {
		p.log(text, err)
	}
}

// epochNow names what judges: the versions of all endpoints and the limits. A
// verdict of another epoch is not used.
func (p *pool) epochNow() string {
	var b strings.Builder
	for _, e := range p.endpoints {
		e.mu.Lock()
		b.WriteString(e.version)
		e.mu.Unlock()
		b.WriteByte(0)
	}
	l := p.limits.Load()
	fmt.Fprintf(&b, "%d %d %d %d %d", l.StreamMax, l.MaxFile, l.MaxScan, l.Recursion, l.MaxFiles)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := b.String(); s != p.epoch {
		p.epoch = s
	}
	return p.epoch // one string for all keys of an epoch
}

// verdict is what there is to say of some octets.
type verdict struct {
	reply
	by     string // the endpoint; empty when nobody was asked
	cached bool
}

// cacheFrom is the size from which on verdicts of parts are kept: smaller
// ones cost clamd less than they would cost the cache.
const cacheFrom = 4 << 10

// judge gives the verdict on content with that digest: from the cache, or
// clamd's. keep says that it may be kept.
func (p *pool) judge(ctx context.Context, c content, d digest, keep bool) (verdict, error) {
	now := p.now()
	size := c.Size()
	if l := p.limits.Load(); !l.takes(size) {
		return verdict{reply: reply{kind: oversize, text: fmt.Sprintf("%d octets, and StreamMaxLength is %d", size, l.StreamMax)}}, nil
	}
	keep = keep && p.cache.most > 0
	if keep {
		if r, ok := p.cache.get(key{d, p.epochNow()}, now); ok {
			return p.weigh(verdict{reply: r, cached: true}, size), nil
		}
	}
	v, epoch, err := p.ask(ctx, c, d)
	if err != nil {
		return verdict{}, err
	}
	if keep {
		p.cache.put(key{d, epoch}, v.reply, p.now())
	}
	return p.weigh(v, size), nil
}

// weigh takes no OK for more than what clamd looked at (C-05): beyond its
// limits it says OK to what it did not read, too.
func (p *pool) weigh(v verdict, size int64) verdict {
	if l := p.limits.Load(); v.kind == clean && !l.whole(size) {
		v.reply = reply{kind: oversize, text: fmt.Sprintf("%d octets, and clamd scans %d of a file and %d in all", size, l.MaxFile, l.MaxScan)}
	}
	return v
}

// ask asks clamd: one endpoint, and once more, there or elsewhere, where that
// may help. The epoch is that of the answer.
func (p *pool) ask(ctx context.Context, c content, d digest) (v verdict, epoch string, err error) {
	suspect, enough := p.strikes.look(d, p.now())
	leave := func() {}
	defer func() { leave() }()
	if suspect && !enough {
		if leave, err = p.enterAlone(ctx); err != nil {
			return verdict{reply: reply{kind: busy, text: "waits for others that clamd failed on"}}, "", nil
		}
		_, enough = p.strikes.look(d, p.now())
	}
	if enough {
		return verdict{reply: reply{kind: poison, text: "clamd failed on it again and again"}}, "", nil
	}
	avoid := map[*endpoint]bool{}
	for tries := 0; ; {
		if err := ctx.Err(); errors.Is(err, context.Canceled) {
			return verdict{}, "", err
		} else if err != nil {
			return verdict{reply: reply{kind: busy, text: "no time left"}}, "", nil
		}
		e, free, r := p.enter(ctx, c.Size(), avoid)
		if e == nil {
			if v.kind == nonsense && v.text == "" || r.kind == busy {
				v = verdict{reply: r}
			}
			return p.failure(v, d), "", nil
		}
		epoch = p.epochNow()
		out, err := scan(ctx, e.address, p.times, c)
		free()
		if err != nil {
			return verdict{}, "", err
		}
		if err := ctx.Err(); errors.Is(err, context.Canceled) {
			return verdict{}, "", err // nobody waits for it, and nothing failed
		}
		v = verdict{reply: out.reply, by: e.String()}
		if p.settle(e, out, d) {
			return v, epoch, nil
		}
		if !out.refused {
			tries++
		}
		if tries > 1 || out.kind == timedOut || ctx.Err() != nil {
			return p.failure(v, d), "", nil
		}
		if out.kind != closed && out.kind != reloading || len(p.endpoints) > 1 {
			avoid[e] = true
		}
		if out.kind == closed && !suspect {
			suspect = true
			if leave, err = p.enterAlone(ctx); err != nil {
				leave = func() {}
				return p.failure(v, d), "", nil
			}
		}
	}
}

func (p *pool) enterAlone(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	select {
	case p.alone <- struct{}{}:
		return func() { <-p.alone }, nil
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
}

// settle notes what a try says about the endpoint and the octets, and tells
// whether it is the last word.
func (p *pool) settle(e *endpoint, out outcome, d digest) bool {
	switch out.kind {
	case clean, found, oversize:
		e.note(true)
		p.done.Add(1)
		p.strikes.forget(d)
		p.worked()
		return true
	}
	if out.kind == busy {
		return false // our time was over: nothing about clamd
	}
	tooBad := e.note(false)
	switch {
	case out.refused:
		p.down(e, out.text)
	case out.kind == closed:
		// It may be another clamd when it is back, without signatures.
		e.doubt()
		p.strikes.hit(d, closed, p.done.Load(), p.now())
	case tooBad:
		p.down(e, out.kind.String()+": "+out.text)
	}
	return false
}

// failure is the end of a scan that nobody did.
func (p *pool) failure(v verdict, d digest) verdict {
	p.failed.Add(1)
	now := p.now()
	switch v.kind {
	case failed, timedOut, nonsense:
		p.strikes.hit(d, v.kind, p.done.Load(), now)
	}
	if v.kind != busy && p.outage.fail(now) {
		p.log("clamav: messages are not scanned", errors.New(v.kind.String()+": "+v.text))
	}
	if _, enough := p.strikes.look(d, now); enough {
		v.reply = reply{kind: poison, text: "clamd failed on it again and again, now: " + v.kind.String()}
	}
	return v
}

// worked ends an outage.
func (p *pool) worked() {
	if d, was := p.outage.end(p.now()); was {
		p.log(fmt.Sprintf("clamav: messages are scanned again, after %s", d.Round(time.Second)), nil)
	}
}

func (p *pool) down(e *endpoint, why string) {
	if e.down(why, p.now()) {
		p.log("clamav: "+e.String()+" is not used", errors.New(why))
	}
}

// enter picks the endpoint with the least to do, proves it where that is due,
// and takes a place there.
func (p *pool) enter(ctx context.Context, size int64, avoid map[*endpoint]bool) (*endpoint, func(), reply) {
	gone := reply{kind: unavailable, text: "no clamd answers"}
	for range len(p.endpoints) + 1 {
		e := p.pick(avoid)
		if e == nil {
			return nil, nil, gone
		}
		e.mu.Lock()
		proven := e.proven
		e.mu.Unlock()
		if !proven {
			if err := p.prove(ctx, e); err != nil {
				gone.text = escape([]byte(e.String()+": "+err.Error()), maxName)
				if ctx.Err() == nil {
					p.down(e, gone.text)
				}
				avoid[e] = true
				continue
			}
		}
		leave, ok := e.enter(ctx, size, p.wait)
		if !ok {
			return nil, nil, reply{kind: busy, text: "no place at " + e.String()}
		}
		return e, leave, reply{}
	}
	return nil, nil, gone
}

// pick gives the usable endpoint with the least to do, the first of equals.
func (p *pool) pick(avoid map[*endpoint]bool) (best *endpoint) {
	now := p.now()
	for _, e := range p.endpoints {
		if avoid[e] || !e.usable(now) {
			continue
		}
		if best == nil || e.load() < best.load() {
			best = e
		}
	}
	return best
}
