package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"garita/maillog"
	"garita/smtpproxy"
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

	mu       sync.Mutex
	probing  bool
	last     time.Time // of the last probe's end
	lastFail error     // of the last probe; nil when it succeeded
}

// nextHopStatus is one next hop in the answer of status.
type nextHopStatus struct {
	Name      string                 `json:"name"`
	URL       string                 `json:"url"`
	Can       smtpproxy.Capabilities `json:"capabilities"`
	Probed    *time.Time             `json:"probed,omitempty"`
	LastError string                 `json:"last_error,omitempty"`
	Stats     relay.Stats            `json:"stats"`
}

func (h *hop) status() nextHopStatus {
	s := nextHopStatus{Name: h.Name(), URL: h.config.URL, Can: h.Capabilities(), Stats: h.Stats()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.last.IsZero() {
		t := h.last
		s.Probed = &t
	}
	if h.lastFail != nil {
		s.LastError = oneLine(h.lastFail.Error())
	}
	return s
}

// due tells whether it is time for a probe, and claims it.
func (h *hop) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := probeEvery
	if h.lastFail != nil {
		wait = probeAgain
	}
	if h.probing || !h.last.IsZero() && now.Sub(h.last) < wait {
		return false
	}
	h.probing = true
	return true
}

// probe asks once; it was claimed by due.
func (h *hop) probe(ctx context.Context, log *maillog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := h.Probe(ctx)
	h.mu.Lock()
	before := h.lastFail
	h.probing, h.last, h.lastFail = false, time.Now(), err
	h.mu.Unlock()
	// relay itself tells of the fault, and bounds how often.
	if err == nil && before != nil {
		log.Info("relay", "next hop answers again", slog.String("next_hop", h.Name()))
	}
}

// probeAll starts a probe of every next hop that is due and gives a channel
// that is closed when all of these have ended.
func probeAll(ctx context.Context, hops map[string]*hop, log *maillog.Logger) <-chan struct{} {
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(hops)) {
		h := hops[name]
		if !h.due(time.Now()) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			h.probe(ctx, log)
		}()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

// probeAndWait is probeAll that waits, but not longer than d.
func probeAndWait(ctx context.Context, hops map[string]*hop, log *maillog.Logger, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-probeAll(ctx, hops, log):
	case <-t.C:
	case <-ctx.Done():
	}
}
