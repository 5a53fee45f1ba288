package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"garita/filters"
	"garita/metrics"
	"garita/policyd"
)

// This file joins the policy server to the engine and to its sockets.

// policyDoor is the policy server. It lives as long as the process: a reload
// gives it another engine and other sockets, and the connections of Postfix
// stay.
type policyDoor struct {
	mu     sync.Mutex
	server *policyd.Server
	open   map[string]net.Listener
	ended  bool
}

// policyChange is a set of sockets that is ready and not yet in use.
type policyChange struct {
	door  *policyDoor
	fresh map[string]net.Listener
	stop  []string
}

// policySockets are those that the settings ask for.
func policySockets(c policyd.Config) []string {
	if !c.Enabled {
		return nil
	}
	return c.Listen
}

// prepare opens what is new. On an error nothing has changed.
func (d *policyDoor) prepare(c policyd.Config) (*policyChange, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ch := &policyChange{door: d, fresh: map[string]net.Listener{}}
	want := policySockets(c)
	for address := range d.open {
		if !slices.Contains(want, address) {
			ch.stop = append(ch.stop, address)
		}
	}
	for _, address := range want {
		if d.open[address] != nil {
			continue
		}
		l, err := c.Open(address)
		if err != nil {
			ch.drop()
			return nil, fmt.Errorf("policyd.listen: %w", err)
		}
		ch.fresh[address] = l
	}
	return ch, nil
}

func (c *policyChange) drop() {
	for _, l := range c.fresh {
		l.Close()
	}
}

// commit puts sockets and engine into use.
func (c *policyChange) commit(p *parts, g *generation) {
	d := c.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		c.drop()
		return
	}
	config := g.settings.Policyd
	switch {
	case d.server != nil:
		d.server.Use(config, g.asked)
	case config.Enabled:
		d.server = policyd.New(policyd.Options{Config: config, Policy: g.asked, Log: p.log})
		d.open = map[string]net.Listener{}
	}
	for address, l := range c.fresh {
		d.open[address] = l
		go d.server.Serve(l)
		p.log.Info("policyd", "listening", slog.String("address", l.Addr().String()))
	}
	for _, address := range c.stop {
		d.open[address].Close()
		delete(d.open, address)
	}
}

// shutdown lets questions come to their answer.
func (d *policyDoor) shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.ended = true
	s := d.server
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Shutdown(ctx)
}

// addresses are those really bound.
func (d *policyDoor) addresses() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []string{}
	for _, l := range d.open {
		out = append(out, l.Addr().String())
	}
	slices.Sort(out)
	return out
}

// policyStatus is the policy server in the answer of status.
type policyStatus struct {
	Addresses []string `json:"addresses"`
	policyd.Stats
}

// status is nil where there is no policy server.
func (d *policyDoor) status() *policyStatus {
	d.mu.Lock()
	s := d.server
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	return &policyStatus{d.addresses(), s.Stats()}
}

// policyFigures are the policy server's, for metrics; all zero where there is
// none.
func (d *daemon) policyFigures() metrics.PolicyServer {
	out := metrics.PolicyServer{Durations: map[float64]uint64{}}
	s := d.parts.door.status()
	if s == nil {
		s = &policyStatus{}
	}
	out.Connections, out.Answers, out.Sum = s.Connections, s.Answers, s.Took.Seconds()
	for i, most := range policyd.DurationBounds() {
		if i < len(s.Durations) {
			out.Count += s.Durations[i]
		}
		out.Durations[most.Seconds()] = out.Count
	}
	if n := len(policyd.DurationBounds()); n < len(s.Durations) {
		out.Count += s.Durations[n]
	}
	return out
}

// asking makes the engine that the policy server asks: those of the checks that
// the configuration names, in the same mode as all others.
func asking(s *Settings, checks []filters.Check, c filters.Config) (*filters.Engine, error) {
	var err error
	if c.Checks, err = s.Check.ForPolicy(checks, s.Policyd.Checks); err != nil {
		return nil, fmt.Errorf("policyd.%w", err)
	}
	return filters.New(c)
}

// policyServer asks the policy server for the rules of its table.
func (f *faults) policyServer() {
	for _, err := range f.s.Policyd.Validate() {
		f.addError("policyd", err)
	}
}

// engines makes them, to see that they can be made.
func (f *faults) engines() {
	if _, _, err := (&parts{}).policy(f.s, nil, nil); err != nil && strings.HasPrefix(err.Error(), "policyd.") {
		f.addError("", err)
	} else if err != nil {
		f.add("check", "", "%s", strings.TrimPrefix(err.Error(), "check: "))
	}
}
