package clamav

import (
	"container/list"
	"sync"
	"time"
)

// Bounds of the memory of what clamd failed on.
const (
	maxStrikes  = 4096
	strikesKept = 24 * time.Hour
	// closedPoison: so many times the connection ended on the same octets.
	closedPoison = 2
	// failedPoison: so many times clamd failed on them in another way, and
	// scanned other things in between. A sender repeats for five days what is
	// answered 4xx; somebody has to look at it instead (C-03, C-09).
	failedPoison = 3
)

// strikes remembers octets that clamd failed on, since a sample that kills it
// comes back with every retry of its sender (I10).
type strikes struct {
	mu      sync.Mutex
	entries map[digest]*list.Element
	order   *list.List // front: latest
}

type strike struct {
	octets         digest
	closed, failed int
	// done is how many scans had worked when it failed last: a fault that
	// everything meets is not the fault of these octets.
	done uint64
	last time.Time
}

func newStrikes() *strikes {
	return &strikes{entries: map[digest]*list.Element{}, order: list.New()}
}

// hit counts a failure.
func (s *strikes) hit(d digest, k kind, done uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[d]
	if e == nil {
		for len(s.entries) >= maxStrikes {
			s.drop(s.order.Back())
		}
		e = s.order.PushFront(&strike{octets: d})
		s.entries[d] = e
	}
	s.order.MoveToFront(e)
	v := e.Value.(*strike)
	v.last = now
	switch {
	case k == closed:
		v.closed++
	case v.failed == 0 || done > v.done:
		v.failed++
		v.done = done
	}
}

// look tells whether there were failures, and whether they are enough.
func (s *strikes) look(d digest, now time.Time) (suspect, enough bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[d]
	if e == nil {
		return false, false
	}
	v := e.Value.(*strike)
	if now.Sub(v.last) > strikesKept {
		s.drop(e)
		return false, false
	}
	return true, v.closed >= closedPoison || v.failed >= failedPoison
}

// forget is for octets that clamd answered after all.
func (s *strikes) forget(d digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[d]; e != nil {
		s.drop(e)
	}
}

func (s *strikes) drop(e *list.Element) {
	s.order.Remove(e)
	delete(s.entries, e.Value.(*strike).octets)
}

// outage is since when nothing was scanned.
type outage struct {
	mu    sync.Mutex
	since time.Time // zero: clamd works
	told  time.Time
}

// fail begins an outage where there is none, and tells whether it did.
func (o *outage) fail(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		return false
	}
	o.since, o.told = now, now
	return true
}

// end ends it and gives how long it was, and whether there was one.
func (o *outage) end(now time.Time) (time.Duration, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0, false
	}
	d := now.Sub(o.since)
	o.since = time.Time{}
	return d, true
}

// lasts gives how long it has been; zero: clamd works.
func (o *outage) lasts(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0
	}
	return max(now.Sub(o.since), 1)
}

// again tells once an hour that it goes on.
func (o *outage) again(now time.Time) (time.Duration, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || now.Sub(o.told) < time.Hour {
		return 0, false
	}
	o.told = now
	return now.Sub(o.since), true
}
