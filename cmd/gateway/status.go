package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"garita/conduct"
	"garita/filters/all"
	"garita/hold"
	"garita/message"
	"garita/resolver"
	"garita/smtpproxy"
	"garita/store"
	"garita/store/redis"
)

type statusCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// status is the answer to the verb of that name.
type status struct {
	Version    string             `json:"version"`
	PID        int                `json:"pid"`
	State      string             `json:"state"`
	Mode       string             `json:"mode"`
	Hostname   string             `json:"hostname"`
	Config     string             `json:"config"`
	Loaded     time.Time          `json:"config_loaded"`
	LastReload string             `json:"last_reload_error,omitempty"`
	Bypass     bypassState        `json:"bypass"`
	Started    time.Time          `json:"started"`
	Uptime     float64            `json:"uptime_seconds"`
	Listeners  []listenerStatus   `json:"listeners"`
	NextHops   []nextHopStatus    `json:"next_hops"`
	Traffic    smtpproxy.Stats    `json:"traffic"`
	Budget     message.Usage      `json:"budget"`
	Conduct    conduct.Stats      `json:"conduct"`
	DNS        dnsStatus          `json:"dns"`
	Store      store.Stats        `json:"store"`
	Shared     *redis.Stats       `json:"shared_store,omitempty"`
	Hold       *hold.Room         `json:"hold,omitempty"`
	Milter     *milterStatus      `json:"milter,omitempty"`
	Policy     *policyStatus      `json:"policy,omitempty"`
	TLS        []certStatus       `json:"tls"`
	Helpers    []all.HelperStatus `json:"helpers"`
	Log        logStatus          `json:"log"`
}

type listenerStatus struct {
	Name      string           `json:"name"`
	Role      string           `json:"role"`
	Addresses []netip.AddrPort `json:"addresses"`
	NextHop   string           `json:"next_hop"`
	STARTTLS  bool             `json:"starttls"`
	TLS       string           `json:"tls"` // none, starttls, implicit
}

// dnsStatus is the resolver in the answer of status.
type dnsStatus struct {
	Servers int `json:"servers"` // 0: there is no DNS
	Asked   int `json:"asked"`   // of them; the others are silent
	Cached  int `json:"cached"`
}

func (g *generation) dnsStatus() (s dnsStatus) {
	if g.dns == nil {
		return s
	}
	st := g.dns.Stats()
	s.Servers, s.Cached = len(st.Servers), st.CacheEntries
	for _, one := range st.Servers {
		if one.State == resolver.Closed {
			s.Asked++
		}
	}
	return s
}

func tlsOf(l *smtpproxy.Listener) string {
	switch {
	case l.TLS == nil:
		return "none"
	case l.ImplicitTLS:
		return "implicit"
	}
	return "starttls"
}

type certStatus struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"not_after"`
	SelfMade bool      `json:"self_signed"`
}

type logStatus struct {
	Records   uint64 `json:"records"`
	Dropped   uint64 `json:"dropped"`
	LastError string `json:"last_error,omitempty"`
}

func (d *daemon) status() status {
	g := d.now.Load()
	s := status{
		Version: build().Version, PID: os.Getpid(), State: stateName(d.state.Load()), Config: d.file,
		Started: d.started, Uptime: time.Since(d.started).Seconds(),
		Traffic: d.parts.server.Stats(), Budget: d.parts.budget.Usage(),
		Listeners: []listenerStatus{}, NextHops: []nextHopStatus{}, TLS: []certStatus{}, Helpers: []all.HelperStatus{},
	}
	st := d.parts.log.Stats()
	s.Log = logStatus{Records: st.Records, Dropped: st.Dropped, LastError: st.LastError}
	if why := d.badReload.Load(); why != nil {
		s.LastReload = *why
	}
	s.Bypass = d.parts.bypass.state()
	if t := d.loaded.Load(); t != nil {
		s.Loaded = *t
	}
	if g == nil {
		return s
	}
	s.Conduct, s.DNS, s.Store = d.parts.conduct.Stats(), g.dnsStatus(), d.parts.memory.Stats()
	if d.parts.shared != nil {
		shared := d.parts.shared.Stats()
		s.Shared = &shared
	}
	s.Mode, s.Hostname = g.settings.Mode, g.settings.Hostname
	open := d.sockets.addresses()
	for _, name := range slices.Sorted(maps.Keys(g.settings.Listener)) {
		l := g.settings.Listener[name]
		s.Listeners = append(s.Listeners, listenerStatus{name, l.Role, open[name], l.NextHop,
			g.wire.Listeners[name].TLS != nil && !l.ImplicitTLS, tlsOf(g.wire.Listeners[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(g.hops)) {
		s.NextHops = append(s.NextHops, g.hops[name].status())
	}
	if k := d.parts.hold.keeper; k != nil {
		room := k.Room()
		s.Hold = &room
	}
	s.Milter = d.milterStatus()
	s.Policy = d.parts.door.status()
	s.TLS = g.certificates()
	s.Helpers = g.helpers.Status()
	return s
}

func (c *statusCommand) Run(t *terminal) error {
	var s status
	if err := call(&c.socketFlag, "status", &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	var b strings.Builder
	writeStatus(&b, t, &s)
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

// writeHelpers tells how the programs are that checks ask.
func writeHelpers(b *strings.Builder, t *terminal, list []all.HelperStatus) {
	for _, h := range list {
		line := fmt.Sprintf("\n%-10s %s", oneLine(h.Check), oneLine(h.Address))
		switch {
		case h.Up:
			line += ": " + oneLine(h.Version)
		case h.Since.IsZero():
			line += ": not asked yet"
		default:
			line = t.paint('r', line+": down since "+h.Since.Local().Format(time.DateTime)+": "+oneLine(h.Fault))
		}
		fmt.Fprintf(b, "%s, %d asked, %d failed\n", line, h.Asked, h.Failed)
	}
}

// writeHold tells how full the holding place is.
func writeHold(b *strings.Builder, t *terminal, h *hold.Room) {
	if h == nil {
		return
	}
	line := fmt.Sprintf("%d of %d messages, %s of %s, released copies included", h.Messages, h.MaxMessages, size(h.Octets), size(h.MaxSize))
	if h.Full() {
		line = t.paint('r', line)
	}
	fmt.Fprintf(b, "hold       %s\n", line)
}

// writeLog tells what the log could not keep.
func writeLog(b *strings.Builder, t *terminal, l *logStatus) {
	if l.Dropped > 0 || l.LastError != "" {
		fmt.Fprintf(b, "log        %s\n", t.paint('r', fmt.Sprintf("%d records lost; %s", l.Dropped, oneLine(l.LastError))))
	}
}

// writeStatus writes the table for people.
func writeStatus(b *strings.Builder, t *terminal, s *status) {
	state := map[string]byte{"running": 'g', "starting": 'y', "draining": 'y'}[s.State]
	if state == 0 {
		state = 'r'
	}
	fmt.Fprintf(b, "garita %s  %s  mode %s  up %s  pid %d\n", oneLine(s.Version), t.paint(state, oneLine(s.State)),
		oneLine(s.Mode), duration(s.Uptime), s.PID)
	fmt.Fprintf(b, "config %s, read %s\n", oneLine(s.Config), s.Loaded.Local().Format(time.DateTime))
	if s.LastReload != "" {
		fmt.Fprintf(b, "%s\n", t.paint('r', "the last reload failed: "+printable(s.LastReload)))
	}
	if s.Bypass.Active {
		fmt.Fprintf(b, "%s\n", t.paint('r', fmt.Sprintf("BYPASS until %s: checks refuse nothing (%s); end it: garita bypass --off",
			s.Bypass.Until.Local().Format(time.DateTime), printable(s.Bypass.Reason))))
	}
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nLISTENER\tROLE\tADDRESSES\tNEXT HOP\tTLS")
	for _, l := range s.Listeners {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(l.Name), oneLine(l.Role), join(l.Addresses), oneLine(l.NextHop), oneLine(l.TLS))
	}
	// Where it is and what it can do come below: with them the lines would be
	// wider than a terminal.
	fmt.Fprintln(w, "\nNEXT HOP\tSTATE\tBUSY\tIDLE\tRELAYED\tREFUSED\tAMBIGUOUS")
	for _, h := range s.NextHops {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", oneLine(h.Name), oneLine(h.State),
			h.Stats.Busy, h.Stats.Idle, h.Stats.Relayed, h.Stats.Refused, h.Stats.Ambiguous)
	}
	w.Flush()
	for _, h := range s.NextHops {
		fmt.Fprintf(b, "  %s: %s  %s\n", oneLine(h.Name), oneLine(h.URL), h.can())
		for _, one := range h.Hosts {
			text := fmt.Sprintf("  %s: %s %s, %d open", oneLine(h.Name), oneLine(one.URL), one.State, one.Open)
			if one.Until != nil {
				text = t.paint('r', text+" until "+one.Until.Local().Format(time.TimeOnly)+": "+oneLine(one.LastError))
			}
			fmt.Fprintln(b, text)
		}
		if h.LastError != "" {
			fmt.Fprintf(b, "  %s: %s\n", oneLine(h.Name), t.paint('r', oneLine(h.LastError)))
		}
	}
	writeHelpers(b, t, s.Helpers)
	tr := s.Traffic
	fmt.Fprintf(b, "\nsessions   %d now, %d since the start, %d turned away\n", tr.Sessions, tr.Connections, tr.TurnedAway)
	fmt.Fprintf(b, "messages   ")
	for i, k := range []string{"relayed", "held", "refused", "discarded", "ambiguous", "aborted"} {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "%d %s", tr.Outcomes[k], k)
	}
	fmt.Fprintf(b, "; %d senders and recipients refused\n", tr.Refusals)
	writeMilter(b, s.Milter)
	writeHold(b, t, s.Hold)
	u := s.Budget
	fmt.Fprintf(b, "budget     %s of %s in use (%s in memory) by %d messages; %d told to come back\n",
		size(u.Used), size(u.Total), size(u.UsedMemory), u.Messages, u.Refused)
	fmt.Fprintf(b, "clients    %d banned now, %d acts refused as too much\n", s.Conduct.BansActive, tr.OverLimit)
	switch d := s.DNS; {
	case d.Servers == 0:
		fmt.Fprintln(b, "dns        none: clients have no names, checks of names say nothing")
	case d.Asked < d.Servers:
		fmt.Fprintln(b, "dns        "+t.paint('r', fmt.Sprintf("%d of %d servers are silent", d.Servers-d.Asked, d.Servers)))
	}
	s.writeStore(b, t)
	for _, c := range s.TLS {
		what := ""
		if c.SelfMade {
			what = ", self-signed"
		}
		colour := byte('g')
		if time.Until(c.NotAfter) < 14*24*time.Hour {
			colour = 'r'
		}
		fmt.Fprintf(b, "tls        %s until %s%s\n", oneLine(c.Name), t.paint(colour, c.NotAfter.Local().Format(time.DateOnly)), what)
	}
	writeLog(b, t, &s.Log)
}

func (h *nextHopStatus) can() string {
	var out []string
	if h.Can.Size > 0 {
		out = append(out, "SIZE="+size(h.Can.Size))
	}
	for _, c := range []struct {
		name string
		has  bool
	}{{"8BITMIME", h.Can.EightBitMIME}, {"SMTPUTF8", h.Can.SMTPUTF8}, {"DSN", h.Can.DSN}} {
		if c.has {
			out = append(out, c.name)
		}
	}
	switch {
	case h.XClient == nil:
	case *h.XClient:
		out = append(out, "XCLIENT")
	default:
		out = append(out, "no XCLIENT")
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ",")
}

func join(list []netip.AddrPort) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return strings.Join(out, " ")
}

// size writes octets for people.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		n    int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}} {
		if n >= u.n {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.n)), ".0") + u.unit
		}
	}
	return fmt.Sprintf("%dB", n)
}

// duration writes seconds for people: 3d4h, 4h12m, 12m5s.
func duration(seconds float64) string {
	d := time.Duration(seconds) * time.Second
	day := 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
