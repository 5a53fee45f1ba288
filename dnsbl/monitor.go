package dnsbl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"garita/resolver"
	"garita/store"
)

// Options are what a monitor is made of.
type Options struct {
	Lists    []List
	Resolver resolver.Resolver
	// Store keeps the health of lists over restarts; nil: nothing does.
	Store store.Store
	// Now is the wall clock; nil: the system's.
	Now func() time.Time
	// Log is told once of each change of a list's health; nil is silence.
	Log func(text string, err error)
	// Alert is told the same; nil: nobody.
	Alert func(Event)
	// Previous is the monitor before a reload: what it knows of lists that are
	// the same is taken over.
	Previous *Monitor
}

// Monitor asks lists and watches over them. It is safe for concurrent use.
type Monitor struct {
	o     Options
	lists []*Watched

	root context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

// Watched is a list under a monitor.
type Watched struct {
	List
	low, high float64 // bounds of what an answer adds
	allow     bool

	// lane is held by who asks for a stranger's name, for others too; see confirm.
	lane chan struct{}

	mu        sync.Mutex
	now       condition
	failures  int // in a row
	slow      int // in a row
	wires     wires
	confirmed names
	doubted   names
	counts    map[State]uint64
	probing   bool
	// turn numbers the questions about strangers' names, done the last one that
	// ended, clean whether it was denied.
	turn, done    uint64
	clean, unsure bool
}

// New makes a monitor; Start makes it probe. Lists are probed before they
// count, unless the store says that they were well an hour ago.
func New(o Options) (*Monitor, error) {
	if o.Resolver == nil {
		return nil, errors.New("dnsbl: there is no resolver")
	}
	if len(o.Lists) > MaxLists {
		return nil, fmt.Errorf("dnsbl: %d lists: at most %d", len(o.Lists), MaxLists)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Monitor{o: o}
	m.o.Previous = nil // or a chain of all there ever were
	m.root, m.stop = context.WithCancel(context.Background())
	for _, l := range o.Lists {
		if errs := l.Validate(); len(errs) > 0 {
			return nil, fmt.Errorf("dnsbl: list %q: %w", l.Name, errs[0])
		}
		if slices.ContainsFunc(m.lists, func(w *Watched) bool { return w.Name == l.Name }) {
			return nil, fmt.Errorf("dnsbl: list %q: stands there twice", l.Name)
		}
		w := &Watched{List: l, allow: l.allows(), counts: map[State]uint64{}, lane: make(chan struct{}, 1)}
		w.low, w.high = l.least()
		if !w.inherit(o.Previous) {
			w.now = m.recall(l.Name)
		}
		m.lists = append(m.lists, w)
	}
	return m, nil
}

// inherit takes over from a list of the same zone.
func (w *Watched) inherit(from *Monitor) bool {
	if from == nil {
		return false
	}
	for _, old := range from.lists {
		if old.Name != w.Name || old.zone() != w.zone() || old.Kinds != w.Kinds || old.Test != w.Test {
			continue
		}
		old.mu.Lock()
		defer old.mu.Unlock()
		w.now, w.failures, w.slow = old.now, old.failures, old.slow
		w.wires.usual, w.wires.learnt = old.wires.usual, old.wires.learnt
		for s, n := range old.counts {
			w.counts[s] = n
		}
		for k, t := range old.doubted.until {
			w.doubted.add(k, t, from.o.Now())
		}
		return true
	}
	return false
}

// Lists are those that are watched, in the order of the options.
func (m *Monitor) Lists() []*Watched { return m.lists }

const (
	healthKey  = "dnsbl/health/"
	storeWait  = time.Second
	keepHealth = 90 * 24 * time.Hour
)

func (m *Monitor) recall(name string) condition {
	now := m.o.Now()
	if m.o.Store == nil {
		return fresh(now)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	raw, ok, err := m.o.Store.Get(ctx, healthKey+name)
	if err != nil || !ok {
		return fresh(now)
	}
	return recall(raw, now)
}

// keep writes what is known of a list behind.
func (m *Monitor) keep(w *Watched, c condition) {
	if m.o.Store == nil {
		return
	}
	raw, err := json.Marshal(c)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), storeWait)
		defer cancel()
		err = m.o.Store.Keep(ctx, healthKey+w.Name, raw, keepHealth)
	}
	if err != nil && m.o.Log != nil {
		m.o.Log("the health of a DNS list could not be kept", fmt.Errorf("%s: %w", w.Name, err))
	}
}

// Start begins to probe, until Close.
func (m *Monitor) Start() {
	m.work.Go(func() {
		tick := time.NewTicker(tickEvery)
		defer tick.Stop()
		for {
			m.ProbeDue(m.root)
			select {
			case <-m.root.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// tickEvery is how often it is looked which probes are due.
const tickEvery = 5 * time.Second

// Close ends the probing and waits for it. Lists may still be asked.
func (m *Monitor) Close() {
	m.stop()
	m.work.Wait()
}

// change notes something about a list under its lock, keeps it and tells of it
// once.
func (m *Monitor) change(w *Watched, f func(c *condition, now time.Time) bool) {
	now := m.o.Now()
	w.mu.Lock()
	before := w.now
	news := f(&w.now, now)
	after := w.now
	if before.Health != Suspended && after.Health == Suspended {
		// Of a list that denied strangers and still lists the wrong ones, what
		// was believed until now is doubted, also where a cache has it when the
		// list is taken back. Else it was true when it was confirmed.
		for name, until := range w.confirmed.until {
			if now.Before(until) && (after.Reason == Jump || after.Reason == GoodPeers) {
				w.doubted.add(name, now.Add(doubtFor), now)
			}
		}
		w.confirmed = names{}
		w.wires.forget(now)
		w.failures, w.slow = 0, 0
	}
	w.mu.Unlock()
	if before != after {
		m.keep(w, after)
	}
	if !news {
		return
	}
	e := Event{List: w.Name, Zone: w.Zone, Health: after.Health, Reason: after.Reason, Detail: after.Detail, Since: after.Since}
	if m.o.Log != nil {
		if after.Health == Suspended {
			m.o.Log("a DNS list is suspended", fmt.Errorf("%s (%s) %s: %s", w.Name, w.Zone, after.Reason, after.Detail))
		} else {
			m.o.Log(fmt.Sprintf("the DNS list %s (%s) is well again", w.Name, w.Zone), nil)
		}
	}
	if m.o.Alert != nil {
		m.o.Alert(e)
	}
}

func (m *Monitor) suspend(w *Watched, why Reason, detail string) {
	m.change(w, func(c *condition, now time.Time) bool { return c.fail(why, detail, now) })
}

// health gives what counts now.
func (w *Watched) health() Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.Health
}

// Status is the picture of a list, for commands and metrics.
type Status struct {
	Name   string    `json:"name"`
	Title  string    `json:"title"`
	Zone   string    `json:"zone"`
	Kinds  string    `json:"kinds"`
	Health Health    `json:"health"`
	Reason Reason    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	Probed time.Time `json:"probed,omitzero"`
	// Answers are how many there were of each state, by its name.
	Answers map[string]uint64 `json:"answers"`
	// Share is the usual share of listings among fetched answers.
	Share float64 `json:"share"`
}

// Status gives all lists.
func (m *Monitor) Status() []Status {
	out := []Status{}
	if m == nil {
		return out
	}
	for _, w := range m.lists {
		w.mu.Lock()
		s := Status{Name: w.Name, Title: w.Public(), Zone: w.Zone, Kinds: w.Kinds.String(), Health: w.now.Health, Reason: w.now.Reason,
			Detail: w.now.Detail, Since: w.now.Since, Probed: w.now.Probed, Answers: map[string]uint64{}, Share: w.wires.usual}
		for k, n := range w.counts {
			s.Answers[k.String()] = n
		}
		w.mu.Unlock()
		out = append(out, s)
	}
	return out
}

// jitter spreads times by a tenth, so that not all gateways ask at once.
func jitter(d time.Duration) time.Duration { return d - d/20 + rand.N(d/10+1) }
