package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"garita/smtpproxy/relay"
)

// How often next hops are asked what they can do, and how soon one that did
// not answer is asked again.
const (
	probeEvery   = 10 * time.Minute
	probeAgain   = 30 * time.Second
	probeTimeout = 30 * time.Second
	// firstProbe is how long the start waits for answers: mail that comes
	// before them is announced no extensions.
	firstProbe = 3 * time.Second
)

// hop is a next hop with what its probes said.
type hop struct {
	*relay.NextHop
	config relay.Config

	mu      sync.Mutex
	probing bool
	last    time.Time // of the last probe's end
}

// serves tells that a next hop is what the table asks for, its files of
// certificates too; h may be nil.
func (h *hop) serves(c relay.Config) bool {
	return h != nil && h.config.Equal(c) && h.Current()
}

// nextHopStatus is one next hop in the answer of status.
type nextHopStatus struct {
	Name      string       `json:"name"`
	URL       string       `json:"url"`
	State     string       `json:"state"` // up, down, unknown
	Can       capabilities `json:"capabilities"`
	XClient   *bool        `json:"xclient,omitempty"` // with xclient = true: it is offered
	Probed    *time.Time   `json:"probed,omitempty"`
	LastError string       `json:"last_error,omitempty"`
	Hosts     []hostStatus `json:"hosts,omitempty"` // with fallback_urls
	Stats     hopStats     `json:"stats"`
}

// hostStatus is one server of a next hop that has several.
type hostStatus struct {
	URL       string     `json:"url"`
	State     string     `json:"state"` // up, aside
	Until     *time.Time `json:"aside_until,omitempty"`
	Open      int        `json:"open"`
	LastError string     `json:"last_error,omitempty"`
}

// The names in JSON are ours to keep, whatever the parts call them.
type (
	capabilities struct {
		Known        bool  `json:"known"`
		Size         int64 `json:"size"`
		EightBitMIME bool  `json:"8bitmime"`
		SMTPUTF8     bool  `json:"smtputf8"`
		DSN          bool  `json:"dsn"`
	}
	hopStats struct {
		Busy          int    `json:"busy"`
		Idle          int    `json:"idle"`
		Waiting       int    `json:"waiting"`
		Connects      uint64 `json:"connects"`
		ConnectErrors uint64 `json:"connect_errors"`
		Relayed       uint64 `json:"relayed"`
		Refused       uint64 `json:"refused"`
		Ambiguous     uint64 `json:"ambiguous"`
	}
)

func (h *hop) status() nextHopStatus {
	s := nextHopStatus{Name: h.Name(), URL: h.config.URL, Can: capabilities(h.Capabilities()), Stats: hopStats(h.Stats()), State: "unknown"}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.last.IsZero() {
		t := h.last
		s.Probed = &t
	}
	if err := h.Fault(); err != nil {
		s.State, s.LastError = "down", oneLine(err.Error())
	} else if s.Can.Known {
		s.State = "up"
	}
	if h.config.XClient && s.Can.Known {
		offered := !h.XClientMissing()
		s.XClient = &offered
	}
	if len(h.config.FallbackURLs) == 0 {
		return s
	}
	for _, one := range h.Hosts() {
		hs := hostStatus{URL: one.URL, State: "up", Open: one.Open}
		if !one.SetAside.IsZero() {
			until := one.SetAside
			hs.State, hs.Until = "aside", &until
		}
		if one.Fault != nil {
			hs.LastError = oneLine(one.Fault.Error())
		}
		s.Hosts = append(s.Hosts, hs)
	}
	return s
}

// concerns are what health --strict has to say of a next hop.
func (h *hop) concerns() []string {
	s := h.status()
	name := "next hop " + s.Name
	switch {
	case s.LastError != "":
		return []string{name + " does not answer: " + s.LastError}
	case !s.Can.Known:
		return []string{name + " has not answered yet"}
	}
	var out []string
	if s.XClient != nil && !*s.XClient {
		out = append(out, name+" does not offer XCLIENT (smtpd_authorized_xclient_hosts?)")
	}
	for i, one := range s.Hosts {
		if one.LastError == "" || i > 0 && h.config.Balance != "round-robin" {
			continue
		}
		until := "until it answers again"
		if one.Until != nil {
			until = "until " + one.Until.Local().Format(time.DateTime)
		}
		out = append(out, name+": server "+one.URL+" is set aside "+until+": "+one.LastError)
	}
	return out
}

// due tells whether it is time for a probe, and claims it. Mail that could not
// get through makes it time as well as a probe that failed.
func (h *hop) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := probeEvery
	if h.Fault() != nil {
		wait = probeAgain
	}
	if h.probing || !h.last.IsZero() && now.Sub(h.last) < wait {
		return false
	}
	h.probing = true
	return true
}

// probe asks once; it was claimed by due. What came of it the relay remembers,
// and tells the operator.
func (h *hop) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_ = h.Probe(ctx)
	h.mu.Lock()
	h.probing, h.last = false, time.Now()
	h.mu.Unlock()
}

// probeAll starts a probe of every next hop that is due and gives a channel
// that is closed when all of these have ended.
func probeAll(ctx context.Context, hops map[string]*hop) <-chan struct{} {
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(hops)) {
		h := hops[name]
		if !h.due(time.Now()) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			h.probe(ctx)
		}()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

// probeAndWait is probeAll that waits, but not longer than d.
func probeAndWait(ctx context.Context, hops map[string]*hop, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-probeAll(ctx, hops):
	case <-t.C:
	case <-ctx.Done():
	}
}
