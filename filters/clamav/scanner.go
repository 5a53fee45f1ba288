package clamav

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Scanner is the check and the background health of its endpoints. It works
// without Start, too: an endpoint is proven before its first scan.
type Scanner struct {
	cfg   Config
	names []pattern
	pool  *pool

	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

// tick is how often the loop looks for what is due.
const tick = 5 * time.Second

// Start begins to look after the endpoints in the background: at once and
// every minute, and every few seconds at one that is down. It does nothing
// when the check is off or it was started before.
func (s *Scanner) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Mode == "off" || s.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			s.pool.round(ctx)
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// Close ends that and waits for it. Scans that run go on: they have their own
// context.
func (s *Scanner) Close() {
	s.mu.Lock()
	stop, done := s.stop, s.done
	s.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}

// round does what is due: limits, endpoints, what an operator must be told.
func (p *pool) round(ctx context.Context) {
	now := p.now()
	p.readLimits()
	var wg sync.WaitGroup
	for _, e := range p.endpoints {
		if e.due(now, p.outage.lasts(now) > 0) {
			wg.Go(func() {
				if err := p.prove(ctx, e); err != nil && ctx.Err() == nil {
					p.down(e, escape([]byte(err.Error()), maxName))
				}
			})
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	any := false
	for _, e := range p.endpoints {
		e.mu.Lock()
		any = any || e.proven
		signed := e.signed
		e.mu.Unlock()
		var old error
		// Days, so that the same warning is not told every minute.
		if age := now.Sub(signed); p.cfg.SignatureAge > 0 && !signed.IsZero() && age > p.cfg.SignatureAge {
			old = fmt.Errorf("%d days, from %s", int(age.Hours()/24), signed.Format(time.DateOnly))
		}
		p.tell("age "+e.String(), "clamav: the signatures of "+e.String()+" are old: does freshclam run?", old)
	}
	if !any && p.outage.fail(now) {
		p.log("clamav: messages are not scanned", fmt.Errorf("no server works"))
	}
	if d, again := p.outage.again(now); again {
		p.log("clamav: messages are still not scanned", fmt.Errorf("for %s", d.Round(time.Minute)))
	}
}

// due tells that the endpoint is to be looked at.
func (e *endpoint) due(now time.Time, outage bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.proven {
		return !now.Before(e.retry)
	}
	return outage || now.Sub(e.checked) >= healthEvery
}

// Status is the state of the check for `garita status` and the metrics.
type Status struct {
	Endpoints []EndpointStatus
	// Unscanned is how long messages have not been scanned; zero: they are.
	Unscanned time.Duration
	Limits    Limits
	// Scans that clamd answered, and those that it did not.
	Scans, Failures uint64
	CacheEntries    int
	CacheHits       uint64
	CacheMisses     uint64
}

// EndpointStatus is one clamd.
type EndpointStatus struct {
	Address string
	Up      bool
	Since   time.Time // it is up or down
	// Fault is why it is down, escaped; "" also before it was asked at all.
	Fault    string
	Version  string    // escaped
	Signed   time.Time // date of the signatures; zero: it does not say
	Running  int       // scans
	Waiting  int
	Scans    uint64
	Failures uint64
}

// Status gives the state.
func (s *Scanner) Status() Status {
	p := s.pool
	st := Status{Unscanned: p.outage.lasts(p.now()), Limits: *p.limits.Load(), Scans: p.done.Load(), Failures: p.failed.Load()}
	st.CacheEntries, st.CacheHits, st.CacheMisses = p.cache.stats()
	for _, e := range p.endpoints {
		e.mu.Lock()
		st.Endpoints = append(st.Endpoints, EndpointStatus{Address: e.String(), Up: e.proven, Since: e.since, Fault: e.fault,
			Version: e.version, Signed: e.signed, Running: len(e.places), Waiting: int(e.waiting.Load()), Scans: e.scans, Failures: e.failures})
		e.mu.Unlock()
	}
	return st
}
