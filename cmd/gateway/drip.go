package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"garita/hold"
)

// dripping releases what limits hold, the oldest first, as windows free. One
// message at a time: it never competes with itself, and what another releases
// meanwhile is busy (hold.ErrBusy). What is to be released stands in the
// holding place alone, so a restart changes nothing.
type dripping struct {
	mu     sync.Mutex
	busy   bool
	last   time.Time
	credit float64
	// later are messages that the next hop did not take, with when to try
	// again.
	later map[string]time.Time
}

const (
	// dripPages bounds the held messages that one round looks at, by 200.
	dripPages = 25
	// dripLater is the wait after a message was not taken.
	dripLater = 15 * time.Minute
	// mostLater bounds what is remembered of them.
	mostLater = 10_000
	dripBy    = "limits"
)

// tick begins a round, unless one is under way.
func (p *dripping) tick(d *daemon, now time.Time) {
	g, k := d.now.Load(), d.parts.hold.keeper
	if g == nil || k == nil || d.state.Load() != running {
		return
	}
	rate := float64(g.helpers.Limits().DripRate())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || rate <= 0 {
		p.last = now
		return
	}
	// What was not used is not saved up: a burst is what limits are against.
	past := min(max(now.Sub(p.last), 0), time.Minute)
	p.last = now
	p.credit = min(p.credit+rate*past.Minutes(), max(rate/6, 1))
	if p.credit < 1 {
		return
	}
	ctx, done, ok := d.parts.hold.begin(context.Background())
	if !ok {
		return
	}
	p.busy = true
	go func() {
		defer done()
		defer func() {
			if v := recover(); v != nil { // at rest the message is unsure, as after a kill
				d.parts.log.Warn("hold", "a release ended by a fault of the gateway", slog.String("error", fmt.Sprint(v)))
			}
			p.mu.Lock()
			p.busy = false
			p.mu.Unlock()
		}()
		p.round(ctx, d, g, k, now)
	}()
}

// round releases what has room.
func (p *dripping) round(ctx context.Context, d *daemon, g *generation, k *hold.Keeper, now time.Time) {
	full := map[string]bool{} // users without room: nobody overtakes himself
	q := hold.Filter{Reason: "limits", Copies: "none", Oldest: true}
	for range dripPages {
		page, more, _, err := k.List(ctx, q)
		if err != nil {
			return
		}
		for i := range page {
			e := &page[i]
			if !p.may(1) || ctx.Err() != nil || d.state.Load() != running {
				return
			}
			if e.User == "" || e.Unsure || full[e.User] || p.waits(e.ID, now) {
				continue
			}
			full[e.User] = !p.one(ctx, d, g, k, e, now)
		}
		if !more || len(page) == 0 {
			return
		}
		q.After = page[len(page)-1].ID
	}
}

func (p *dripping) may(n float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.credit >= n
}

func (p *dripping) waits(id string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.later[id]
	return ok && now.Before(until)
}

// one releases a message if its user has room for it. It is false when he has
// none, or when there is no use in trying his next one.
func (p *dripping) one(ctx context.Context, d *daemon, g *generation, k *hold.Keeper, e *hold.Entry, now time.Time) bool {
	f, _, err := k.Open(e.ID)
	if err != nil {
		return true // damaged, or just released: no reason to stop the others
	}
	tx, plain := f.Transaction(), onlyLimits(&f.Letter)
	if q := g.settings.Score.thresholds()[tx.Direction].Quarantine; q > 0 && f.Score >= q {
		plain = false // its score alone would have held it
	}
	f.Close()
	if !plain {
		return true // held for something else too: somebody looks at it
	}
	room, err := g.helpers.Limits().Room(ctx, tx.Identity, tx.ReversePath.IsNull(), tx.ForwardPaths, tx.Params.Size)
	if err != nil || room == nil {
		return false
	}
	r, err := k.Release(ctx, e.ID, hold.Order{By: dripBy}, g.sender())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credit--
	if len(r.Delivered) > 0 || r.Unsure {
		room.Commit()
	} else {
		room.Refund()
	}
	if err == nil && r.State == hold.Released {
		delete(p.later, e.ID)
		return true
	}
	if p.later == nil || len(p.later) >= mostLater {
		p.later = map[string]time.Time{}
	}
	p.later[e.ID] = now.Add(dripLater)
	return len(r.Refused) > 0 // the next hop speaks; else it may be gone
}

// onlyLimits tells that nothing but limits holds a message.
func onlyLimits(l *hold.Letter) bool {
	n := 0
	for _, r := range l.Reasons {
		if r.Verdict == "continue" {
			continue
		}
		if !strings.HasPrefix(r.Symbol, "limits.") {
			return false
		}
		n++
	}
	return n > 0
}
