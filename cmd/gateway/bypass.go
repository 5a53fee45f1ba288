package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"garita/admin"
	"garita/maillog"
)

// The longest bypass: one that is forgotten must end by itself.
const maxBypass = 24 * time.Hour

// bypassWords is how often a bypass reminds of itself in the log.
const bypassWords = 10 * time.Minute

// bypass lowers every check to observe for a while: what an operator reaches
// for at night when a check refuses good mail. What smtpproxy holds (relay
// permission, limits, protocol) and mandatory checks are out of its reach
// (design section 4.3).
type bypass struct {
	now func() time.Time // nil: time.Now

	mu sync.Mutex
	// until carries the monotonic reading: a clock that is set back while a
	// bypass is on must not make it last for years.
	until  time.Time
	reason string
	said   time.Time
}

// bypassState is what status, health and the command show.
type bypassState struct {
	Active bool      `json:"active"`
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

func (b *bypass) clock() time.Time {
	if b.now != nil {
		return b.now()
	}
	return time.Now()
}

// state tells whether checks are bypassed now.
func (b *bypass) state() bypassState {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over(b.clock()) {
		return bypassState{}
	}
	return bypassState{Active: true, Until: b.until.Truncate(time.Second), Reason: b.reason}
}

// over tells that it has ended, or was never on. One that is longer than any
// may be is the work of a clock, and has ended too.
func (b *bypass) over(now time.Time) bool {
	left := b.until.Sub(now)
	return left <= 0 || left > maxBypass
}

// set begins, changes or (with a zero time) ends it.
func (b *bypass) set(until time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until, b.reason, b.said = until, reason, b.clock()
}

// remind writes the line that keeps a bypass from being forgotten, and the one
// that says that it has ended. It is called every few seconds.
func (b *bypass) remind(log *maillog.Logger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return
	}
	now := b.clock()
	switch {
	case b.over(now):
		b.until, b.reason = time.Time{}, ""
		log.Warn("master", "the bypass has ended; checks decide again")
	case now.Sub(b.said) >= bypassWords:
		b.said = now
		log.Warn("master", bypassText, slog.String("until", b.until.Format(time.RFC3339)), slog.String("reason", b.reason))
	}
}

const bypassText = "bypass: checks are observed only and refuse nothing"

// bypassRequest is what the command asks for; For 0 ends the bypass.
type bypassRequest struct {
	For    time.Duration `json:"for"`
	Reason string        `json:"reason"`
}

// bypassKey is where the store keeps it over a restart.
const bypassKey = "gateway/bypass"

// setBypass is the verb. It is kept durably before it is answered: a restart
// in the night must not end it behind the operator's back.
func (d *daemon) setBypass(ctx context.Context, raw json.RawMessage) (any, error) {
	var q bypassRequest
	if err := json.Unmarshal(raw, &q); err != nil || q.For < 0 || q.For > maxBypass || len(q.Reason) > 200 {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf("a bypass lasts from 1s to %s, its reason has 200 characters at most", maxBypass)}
	}
	p := d.parts
	if q.For == 0 {
		was := p.bypass.state()
		p.bypass.set(time.Time{}, "")
		if err := p.forgetBypass(ctx); err != nil {
			return nil, err
		}
		if was.Active {
			p.log.Warn("master", "the bypass has been ended; checks decide again")
		}
		return p.bypass.state(), nil
	}
	until := p.bypass.clock().Add(q.For)
	if err := p.keepBypass(ctx, until, q.Reason); err != nil {
		return nil, err
	}
	p.bypass.set(until, q.Reason)
	p.log.Warn("master", bypassText, slog.String("until", until.Format(time.RFC3339)), slog.String("reason", q.Reason))
	return p.bypass.state(), nil
}

func (p *parts) keepBypass(ctx context.Context, until time.Time, reason string) error {
	if p.store == nil {
		return nil
	}
	raw, err := json.Marshal(bypassState{Active: true, Until: until.Truncate(time.Second), Reason: reason})
	if err != nil {
		return err
	}
	return p.store.PutNow(ctx, bypassKey, raw, until.Sub(p.bypass.clock()))
}

func (p *parts) forgetBypass(ctx context.Context) error {
	if p.store == nil {
		return nil
	}
	return p.store.DeleteNow(ctx, bypassKey)
}

// recallBypass takes up one that a restart has interrupted.
func (p *parts) recallBypass(ctx context.Context) {
	if p.store == nil {
		return
	}
	raw, ok, err := p.store.Get(ctx, bypassKey)
	var s bypassState
	if err != nil || !ok || json.Unmarshal(raw, &s) != nil {
		return
	}
	now := p.bypass.clock()
	if p.bypass.set(now.Add(s.Until.Sub(now)), s.Reason); p.bypass.state().Active {
		p.log.Warn("master", bypassText, slog.String("until", s.Until.Format(time.RFC3339)), slog.String("reason", s.Reason))
	}
}

type bypassCommand struct {
	socketFlag
	For    time.Duration `xor:"what" required:"" help:"How long, at most 24h: 30m, 1h."`
	Off    bool          `xor:"what" required:"" help:"End it now."`
	Reason string        `help:"Why; it stands in the log."`
	Output string        `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// Run is garita bypass.
func (c *bypassCommand) Run(t *terminal) error {
	if !c.Off && c.For <= 0 {
		return fail(exitUsage, "--for: say how long, as 30m or 1h")
	}
	var s bypassState
	if err := callWith(&c.socketFlag, "bypass", bypassRequest{For: c.For, Reason: c.Reason}, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	if !s.Active {
		fmt.Fprintln(t.out, "no bypass; checks decide")
		return nil
	}
	fmt.Fprintf(t.out, "checks are observed only until %s and refuse nothing\n", s.Until.Local().Format(time.DateTime))
	fmt.Fprintln(t.out, "relay permission, limits and the rules of the protocol hold as before\nend it: garita bypass --off")
	return nil
}
