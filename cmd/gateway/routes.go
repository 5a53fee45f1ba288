package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/routing"
	"garita/tables"
)

// nextHopsOf are the next hops of a configuration: its tables, and those that
// routes name by their address, which have the defaults.
func nextHopsOf(s *Settings, t *routing.Tables) map[string]relay.Config {
	out := maps.Clone(s.NextHop)
	if out == nil {
		out = map[string]relay.Config{}
	}
	for _, d := range t.Needed() {
		c := relay.DefaultConfig()
		c.URL = d.URL()
		out[d.Name] = c
	}
	return out
}

// usedHops are the next hops that mail goes to; byRules are those that rules
// route to.
func usedHops(s *Settings, t *routing.Tables, byRules ...string) map[string]bool {
	used := map[string]bool{}
	for _, name := range byRules {
		used[name] = true
	}
	for _, l := range s.Listener {
		used[l.NextHop] = true
	}
	for _, name := range t.Names() {
		used[name] = true
	}
	return used
}

// makeHops makes the next hops of a generation. What of old is still the same
// is taken over, with its pooled connections.
func (p *parts) makeHops(g, old *generation, byRules ...string) error {
	s := g.settings
	used := usedHops(s, g.routes, byRules...)
	for name, c := range nextHopsOf(s, g.routes) {
		if !used[name] {
			continue // it would be probed, and might be called down, for nothing
		}
		if old != nil && old.settings.Hostname == s.Hostname && old.hops[name].serves(c) {
			g.hops[name] = old.hops[name]
			continue
		}
		h, err := relay.New(relay.Options{
			Name: name, Config: c, Hostname: s.Hostname, Log: p.log, Own: p.own,
			ListenAddrs: p.listening, Lookup: p.lookup,
		})
		if err != nil {
			return err
		}
		g.hops[name] = &hop{NextHop: h, config: c}
	}
	return nil
}

// router makes the router of a listener over the generation's next hops.
func (g *generation) router(c smtpproxy.ListenerConfig) (smtpproxy.Router, error) {
	hops := make(map[string]smtpproxy.NextHop, len(g.hops))
	for name, h := range g.hops {
		hops[name] = h.NextHop
	}
	return newRouter(g.settings, c, g.routes, hops)
}

// newRouter is for real next hops and for those that only look.
func newRouter(s *Settings, c smtpproxy.ListenerConfig, t *routing.Tables, hops map[string]smtpproxy.NextHop) (smtpproxy.Router, error) {
	if hops[c.NextHop] == nil {
		return nil, fmt.Errorf("there is no next hop %q", c.NextHop)
	}
	inbound := map[string]smtpproxy.NextHop{}
	for _, l := range s.Listener {
		if l.Role != "inbound" || hops[l.NextHop] == nil {
			continue
		}
		for _, d := range l.RelayDomains {
			inbound[d] = hops[l.NextHop]
		}
	}
	// What a rule of an inbound listener redirects to a stranger goes where mail
	// of our users goes.
	var outward smtpproxy.NextHop
	for _, name := range slices.Sorted(maps.Keys(s.Listener)) {
		if l := s.Listener[name]; l.Role == "outbound" && hops[l.NextHop] != nil && outward == nil {
			outward = hops[l.NextHop]
		}
	}
	// LMTP has an answer for each recipient, so each is a message of its own.
	single := map[string]bool{}
	for name, hop := range nextHopsOf(s, t) {
		single[name] = strings.HasPrefix(hop.URL, "lmtp")
	}
	return routing.New(routing.Options{Listener: c, Tables: t, Default: hops[c.NextHop], Hops: hops, InboundHops: inbound, Outward: outward, Single: single})
}

// sinkRouter is a router whose next hops all take everything and send it
// nowhere.
func sinkRouter(s *Settings, c smtpproxy.ListenerConfig) (smtpproxy.Router, error) {
	t, err := routesOf(s)
	if err != nil {
		return nil, err
	}
	hops := map[string]smtpproxy.NextHop{c.NextHop: sinkHop{c.NextHop}}
	for name := range nextHopsOf(s, t) {
		hops[name] = sinkHop{name}
	}
	return newRouter(s, c, t, hops)
}

// tableProblem is a problem of a table as a fault of the key that has the line
// or names its file.
func tableProblem(c routing.Config, p tables.Problem) fault {
	if strings.HasPrefix(p.File, "route.") {
		return fault{key: p.File, text: p.Text, try: p.Try}
	}
	f := fault{key: "route", text: p.Error(), try: p.Try}
	for key, files := range map[string][]string{
		"route.recipient_files": c.RecipientFiles, "route.sender_files": c.SenderFiles,
		"route.alias_files": c.AliasFiles, "route.recipient_list_files": c.RecipientListFiles,
	} {
		if slices.Contains(files, p.File) {
			f.key = key
		}
	}
	return f
}
