package all

import (
	"context"
	"fmt"
	"time"

	"garita/failover"
	"garita/filters"
	"garita/filters/clamav"
	"garita/filters/dnsbl"
	"garita/filters/hijack"
	"garita/filters/limits"
	"garita/filters/rules"
	"garita/mail"
)

// Helpers are what some checks do in the background: looking whether the
// programs that they ask are well.
type Helpers struct {
	scanner *clamav.Scanner // nil: the check is off
	dnsbl   *dnsbl.Monitor  // nil: the check is off
	spam    []spamFilter
	hits    *rules.Hits
	gate    *rules.Gate
	atOnce  int // of the gate
	limits  *limits.Limits
	memory  *limits.Memory
	hijack  *hijack.Check
}

// What commands ask about limits.
type (
	Limits      = limits.Limits
	LimitsTable = limits.Table
	LimitsRow   = limits.Row
	UserHabit   = limits.Habit
	Standing    = limits.Standing
)

// ParseLimit reads a limit as [check.limits] writes it, and gives its one
// spelling.
func ParseLimit(s string) (string, error) {
	l, err := limits.ParseLimit(s)
	return l.String(), err
}

// ParseSpan reads a span such as 90m or 7d.
func ParseSpan(s string) (time.Duration, error) { return limits.ParseSpan(s) }

// Limits are those of users; never nil in a gateway.
func (h *Helpers) Limits() *Limits { return h.limits }

// limiting makes the check of limits; what it remembers in memory is kept over
// a reload.
func (h *Helpers) limiting(c limits.Config, site filters.Site, old *Helpers) (filters.Check, error) {
	if h.memory = limits.NewMemory(); old != nil && old.memory != nil {
		h.memory = old.memory
	}
	o := limits.Options{Store: site.Store, Users: site.Users, Names: site.Names, Domains: site.Domains, Log: site.Logger(limits.Name), Memory: h.memory}
	if site.Event != nil {
		o.Event = func(e limits.Event) { site.Event(limits.Name, string(e.Kind), e.Who, e.Text()+"\n"+e.Texto()) }
	}
	check, l, err := limits.New(c, o)
	h.limits = l
	return check, err
}

// slow gives the gate of slow patterns: one for all messages, as long as its
// size stays.
func (h *Helpers) slow(c rules.Config, old *Helpers) *rules.Gate {
	h.gate, h.atOnce = c.NewGate(), c.AtOnce
	if old != nil && old.gate != nil && old.atOnce == h.atOnce {
		h.gate = old.gate
	}
	return h.gate
}

// counting gives the counters of rules: one for the life of the process.
func (h *Helpers) counting(site filters.Site, old *Helpers) *rules.Hits {
	if old != nil && old.hits != nil {
		h.hits = old.hits
	} else {
		h.hits = rules.NewHits(site.Store, site.Logger(rules.Name))
	}
	return h.hits
}

// RuleHit is how often a rule hit, and when last.
type RuleHit = rules.HitCount

// RuleHits are the hits of all rules that ever hit, by id.
func (h *Helpers) RuleHits() []RuleHit {
	if h == nil {
		return nil
	}
	return h.hits.List()
}

// spamFilter is a check that asks a spam filter.
type spamFilter struct {
	name  string
	check interface{ Status() []failover.State }
}

// asks notes a check that asks a spam filter, if it is on.
func (h *Helpers) asks(c filters.Check, err error) (filters.Check, error) {
	if k, ok := c.Impl.(interface{ Status() []failover.State }); ok && err == nil && c.Mode != mail.Off {
		h.spam = append(h.spam, spamFilter{c.Name, k})
	}
	return c, err
}

// clamd makes the check of the antivirus and its scanner.
func (h *Helpers) clamd(c clamav.Config, site filters.Site, old *Helpers) (filters.Check, error) {
	o := clamav.Options{Log: site.Logger(clamav.Name)}
	if old != nil {
		o.Previous = old.scanner
	}
	check, scanner, err := clamav.New(c, o)
	if err == nil && c.Mode != "off" {
		h.scanner = scanner
	}
	return check, err
}

// listOptions are those of the check of DNS lists.
func (h *Helpers) listOptions(site filters.Site, old *Helpers) dnsbl.Options {
	o := dnsbl.Options{Log: site.Logger(dnsbl.Name)}
	if old != nil {
		o.Previous = old.dnsbl
	}
	return o
}

// lists notes the monitor of DNS lists.
func (h *Helpers) lists(c filters.Check, m *dnsbl.Monitor, err error) (filters.Check, error) {
	h.dnsbl = m
	return c, err
}

// ListStatus is how a DNS list is.
type ListStatus = dnsbl.Status

// DNSLists are the lists that the check asks, in its order.
func (h *Helpers) DNSLists() []ListStatus {
	if h == nil {
		return []ListStatus{}
	}
	return h.dnsbl.Status()
}

// ProbeLists probes the DNS lists now, besides their own times.
func (h *Helpers) ProbeLists(ctx context.Context) {
	if h != nil && h.dnsbl != nil {
		h.dnsbl.Probe(ctx)
	}
}

// Start begins their work, until Close.
func (h *Helpers) Start() {
	if h == nil {
		return
	}
	if h.scanner != nil {
		h.scanner.Start()
	}
	if h.dnsbl != nil {
		h.dnsbl.Start()
	}
}

// Close ends it. Checks of a session that goes on may still ask.
func (h *Helpers) Close() {
	if h == nil {
		return
	}
	if h.scanner != nil {
		h.scanner.Close()
	}
	if h.dnsbl != nil {
		h.dnsbl.Close()
	}
	h.hits.Flush()
	if h.limits != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = h.limits.Save(ctx) // figures: the last minute of them is no fault
	}
}

// HelperStatus is one program that a check asks, for garita status.
type HelperStatus struct {
	Check   string `json:"check"`
	Address string `json:"address"`
	Up      bool   `json:"up"`
	// Since is when the antivirus went up or down, or the last failure of a
	// spam filter.
	Since time.Time `json:"since,omitzero"`
	Fault string    `json:"fault,omitempty"` // hostile text
	// Version is what it says of itself, Signatures the date of what it knows.
	Version    string    `json:"version,omitempty"`
	Signatures time.Time `json:"signatures,omitzero"`
	Asked      uint64    `json:"asked"`
	Failed     uint64    `json:"failed"`
}

// Antivirus is the picture of the antivirus as a whole.
type Antivirus struct {
	On          bool
	Servers, Up int
	// Unscanned is how long nothing has been scanned; zero: it is.
	Unscanned              time.Duration
	Asked, Failed          uint64
	CacheHits, CacheMisses uint64
	OldestSignatures       time.Time
}

// Status is every helper, in the order of the configuration.
func (h *Helpers) Status() []HelperStatus {
	out := []HelperStatus{}
	if h == nil {
		return out
	}
	if h.scanner != nil {
		for _, e := range h.scanner.Status().Endpoints {
			out = append(out, HelperStatus{Check: clamav.Name, Address: e.Address, Up: e.Up, Since: e.Since, Fault: e.Fault,
				Version: e.Version, Signatures: e.Signed, Asked: e.Scans, Failed: e.Failures})
		}
	}
	for _, one := range h.spam {
		for _, e := range one.check.Status() {
			out = append(out, HelperStatus{Check: one.name, Address: e.Server, Up: e.Up, Since: e.LastAt, Fault: e.Last, Asked: e.Asked, Failed: e.Failed})
		}
	}
	return out
}

// Antivirus is what the metrics tell of it.
func (h *Helpers) Antivirus() (a Antivirus) {
	if h == nil || h.scanner == nil {
		return a
	}
	s := h.scanner.Status()
	a = Antivirus{On: true, Servers: len(s.Endpoints), Unscanned: s.Unscanned, Asked: s.Scans, Failed: s.Failures, CacheHits: s.CacheHits, CacheMisses: s.CacheMisses}
	for _, e := range s.Endpoints {
		if e.Up {
			a.Up++
		}
		if !e.Signed.IsZero() && (a.OldestSignatures.IsZero() || e.Signed.Before(a.OldestSignatures)) {
			a.OldestSignatures = e.Signed
		}
	}
	return a
}

// Concerns are what an operator should look at, for health.
func (h *Helpers) Concerns() []string {
	var out []string
	if a := h.Antivirus(); a.On && a.Unscanned > 0 {
		out = append(out, fmt.Sprintf("clamav: nothing has been scanned for %s", a.Unscanned.Round(time.Second)))
	}
	for _, l := range h.DNSLists() {
		if l.Health == "suspended" {
			out = append(out, fmt.Sprintf("dnsbl: %s is suspended since %s: it %s", l.Name, l.Since.Local().Format(time.DateTime), l.Reason))
		}
	}
	for _, one := range h.Status() {
		if !one.Up && !one.Since.IsZero() {
			out = append(out, fmt.Sprintf("%s: %s does not work since %s", one.Check, one.Address, one.Since.Local().Format(time.DateTime)))
		}
	}
	return out
}
