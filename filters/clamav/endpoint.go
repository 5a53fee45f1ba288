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

// Times of the health of endpoints.
const (
	healthEvery   = time.Minute // PING and VERSION
	selfTestEvery = time.Hour
	proofTimeout  = 10 * time.Second
	firstBackoff  = time.Second
	lastBackoff   = 30 * time.Second
	// badAnswers in a row, of any kind that is no answer, take an endpoint out.
	badAnswers = 3
)

// largeScan is a size from which on a scan leaves the last place at an
// endpoint to smaller ones: a few slow archives do not stop all mail (I10).
const largeScan = 1 << 20

// errBlind is of a clamd that does not know the test file.
var errBlind = errors.New("it does not find the EICAR test file: are its signatures loaded?")

// endpoint is one clamd, what we know of it, and its places.
type endpoint struct {
	address
	places  chan struct{}
	large   chan struct{}
	waiting atomic.Int32
	proving chan struct{} // one proof at a time

	mu sync.Mutex
	// proven: it answered PING and VERSION and found EICAR, and nothing has
	// spoken against it since. Only then an OK of it is worth anything (C-15).
	proven   bool
	fault    string // why not; empty before the first proof
	since    time.Time
	retry    time.Time
	backoff  time.Duration
	bad      int
	version  string
	signed   time.Time // of the signatures; zero: it does not say
	checked  time.Time
	tested   time.Time
	scans    uint64
	failures uint64
}

func newEndpoint(a address, most int, now time.Time) *endpoint {
	return &endpoint{address: a, places: make(chan struct{}, most), large: make(chan struct{}, max(1, most-1)),
		proving: make(chan struct{}, 1), since: now}
}

// usable tells that it may be asked: proven, or time to try it again.
func (e *endpoint) usable(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.proven || !now.Before(e.retry)
}

// down takes it out until its breaker lets somebody try again. It tells
// whether that is news.
func (e *endpoint) down(why string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.proven && now.Before(e.retry) {
		// Thirty sessions found it out at once: that is one failure, and not
		// the longest wait there is for a clamd that is back in a second.
		return false
	}
	news := e.proven || e.fault == ""
	if news {
		e.since = now
	}
	e.proven, e.fault, e.bad = false, why, 0
	e.tested = time.Time{} // it may come back as another, without signatures
	e.backoff = min(max(2*e.backoff, firstBackoff), lastBackoff)
	e.retry = now.Add(e.backoff)
	return news
}

// doubt asks for a new proof before the next scan.
func (e *endpoint) doubt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.proven = false
	e.tested = time.Time{}
	if e.fault == "" {
		e.fault = "it closed a connection"
	}
}

// note counts a try and takes the endpoint out after too many bad ones.
func (e *endpoint) note(good bool) (tooBad bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scans++
	if good {
		e.bad, e.backoff = 0, 0
		return false
	}
	e.failures++
	e.bad++
	return e.bad >= badAnswers
}

// enter takes a place for a scan of that size, within wait and ctx.
func (e *endpoint) enter(ctx context.Context, size int64, wait time.Duration) (leave func(), ok bool) {
	e.waiting.Add(1)
	defer e.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	isLarge := size >= largeScan
	if isLarge {
		select {
		case e.large <- struct{}{}:
		case <-ctx.Done():
			return nil, false
		}
	}
	select {
	case e.places <- struct{}{}:
	case <-ctx.Done():
		if isLarge {
			<-e.large
		}
		return nil, false
	}
	return func() {
		<-e.places
		if isLarge {
			<-e.large
		}
	}, true
}

// load is how many scans it has and how many wait.
func (e *endpoint) load() int { return len(e.places) + int(e.waiting.Load()) }

// eicar is the anti-virus test file, in pieces so that no scanner takes our
// program for it.
func eicar() octets {
	return octets(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)`, `7CC)7}$`, `EICAR-STANDARD-`, `ANTIVIRUS-TEST-`, `FILE!$H+H*`}, ""))
}

// prove asks PING and VERSION, and for the test file where that is due. The
// error says what is wrong with the clamd.
func (p *pool) prove(ctx context.Context, e *endpoint) error {
	select {
	case e.proving <- struct{}{}:
		defer func() { <-e.proving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := p.now()
	e.mu.Lock()
	proven, test, before := e.proven, p.selfTest && now.Sub(e.tested) >= selfTestEvery, e.version
	fresh := proven && !test && now.Sub(e.checked) < healthEvery
	early, fault := !proven && now.Before(e.retry), e.fault
	e.mu.Unlock()
	if early {
		return errors.New(fault) // somebody else tried while we waited
	}
	if fresh && p.outage.lasts(now) == 0 {
		return nil // somebody else did it while we waited
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	if pong, err := command(ctx, e.address, p.times, "PING"); err != nil {
		return err
	} else if pong != "PONG" {
		return fmt.Errorf("it answers %q to PING", pong)
	}
	version, err := command(ctx, e.address, p.times, "VERSION")
	if err != nil {
		return err
	}
	signed, ok := parseVersion(version)
	if !ok {
		return fmt.Errorf("it answers %q to VERSION", version)
	}
	if p.selfTest && (test || version != before || p.outage.lasts(now) > 0) {
		out, err := scan(ctx, e.address, p.times, eicar())
		switch {
		case err != nil:
			return err
		case out.kind == clean:
			return errBlind
		case out.kind != found:
			return fmt.Errorf("it answers %s to the EICAR test file: %s", out.kind, out.text)
		}
		test = true
	}
	e.mu.Lock()
	if !e.proven {
		e.since = now
	}
	wasDown := !e.proven && e.fault != "" && e.backoff > 0
	e.proven, e.fault, e.bad, e.backoff, e.retry = true, "", 0, 0, time.Time{}
	e.version, e.signed, e.checked = version, signed, now
	if test {
		e.tested = now
	}
	e.mu.Unlock()
	if wasDown {
		p.log(fmt.Sprintf("clamav: %s works again", e), nil)
	}
	p.worked()
	return nil
}

// maxVersion bounds what is kept of a version.
const maxVersion = 200

// parseVersion reads "ClamAV 1.4.6/27123/Sun Nov 22 08:00:00 2026"; without
// the official signatures there is no number and no date.
func parseVersion(s string) (signed time.Time, ok bool) {
	if !strings.HasPrefix(s, "ClamAV ") || len(s) > maxVersion {
		return time.Time{}, false
	}
	words := strings.SplitN(s, "/", 3)
	if len(words) == 3 {
		// A date that we cannot read is no age, and no fault.
		signed, _ = time.Parse(time.ANSIC, words[2])
	}
	return signed, true
}
