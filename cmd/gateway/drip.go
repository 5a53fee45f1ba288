package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"garita/hold"
)

// dripping releases what limits hold as windows free: of each user the oldest
// first, and one user after the other, so that who has a thousand waiting does
// not keep the others. One message at a time: it never competes with itself,
// and what another releases meanwhile is busy (hold.ErrBusy). What is to be
// released, and what the next hop said at the last try, stands in the holding
// place alone, so a restart changes nothing.
type dripping struct {
	mu     sync.Mutex
	busy   bool
	last   time.Time
	credit float64
	// turn is when each user who waits was looked at last, by a count.
	turn  map[string]uint64
	turns uint64
	care  limitsCare
}

const (
	// dripUsers bounds the users of one round, dripPages the held messages of
	// one user that it looks at, by dripPage.
	dripUsers = 1000
	dripPages = 5
	dripPage  = 50
	// dripLater is the wait after the next hop did not take a message for now.
	dripLater = 15 * time.Minute
	dripBy    = "limits"
)

// tick begins a round, unless one is under way.
func (p *dripping) tick(d *daemon, now time.Time) {
	g, k := d.now.Load(), d.parts.hold.keeper
	if g == nil || d.state.Load() != running {
		return
	}
	p.care.tick(d, g, now)
	if k == nil {
		return
	}
	rate := float64(g.helpers.Limits().DripRate())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || rate <= 0 {
		p.last = now
		return
	}
	p.earn(rate, now)
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

// earn adds what has come together since the last time. What was not used is
// not saved up: a burst is what limits are against. A clock that jumps a day
// ahead is a minute here, and one that is set back nothing.
func (p *dripping) earn(rate float64, now time.Time) {
	past := min(max(now.Sub(p.last), 0), time.Minute)
	p.last = now
	p.credit = min(p.credit+rate*past.Minutes(), max(rate/6, 1))
}

// waiting is one user's held mail in a round.
type waiting struct {
	user   string
	since  time.Time // what is older waits for a person
	page   []hold.Entry
	after  string
	pages  int
	served bool // there is nothing more to try for him now
}

// round releases what has room: one message of each user in turn.
func (p *dripping) round(ctx context.Context, d *daemon, g *generation, k *hold.Keeper, now time.Time) {
	list, err := k.ByUser(ctx, hold.Filter{Reason: "limits", Copies: "none"})
	if err != nil {
		return
	}
	users := p.order(list)
	for left := len(users); left > 0; {
		left = 0
		for _, u := range users {
			if u.served {
				continue
			}
			if !p.may(1) || ctx.Err() != nil || d.state.Load() != running {
				return
			}
			p.mu.Lock()
			p.turns++
			p.turn[u.user] = p.turns
			p.mu.Unlock()
			if since, err := d.parts.users.registry.Stopped(ctx, u.user); err != nil {
				u.served = true
				continue
			} else if u.since = since; !since.IsZero() {
				u.since = since.Add(time.Microsecond)
			}
			if e := u.next(ctx, k, now); e == nil || !p.one(ctx, d, g, k, e) {
				u.served = true // nobody overtakes himself
				continue
			}
			left++
		}
	}
}

// order puts who was looked at longest ago first, then who waits longest, and
// forgets those who wait no more.
func (p *dripping) order(list []hold.UserTotal) []*waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn := make(map[string]uint64, len(list))
	for _, u := range list { // the longest waiting first
		turn[u.User] = p.turn[u.User]
	}
	p.turn = turn
	slices.SortStableFunc(list, func(a, b hold.UserTotal) int { return cmp.Compare(turn[a.User], turn[b.User]) })
	out := make([]*waiting, 0, min(len(list), dripUsers))
	for _, u := range list[:min(len(list), dripUsers)] {
		out = append(out, &waiting{user: u.User})
	}
	return out
}

// next gives his oldest message that may be tried now; nil: none.
func (u *waiting) next(ctx context.Context, k *hold.Keeper, now time.Time) *hold.Entry {
	for {
		for len(u.page) > 0 {
			e := &u.page[0]
			u.page = u.page[1:]
			if !e.Unsure && !refusedBefore(e, now) {
				return e
			}
		}
		if u.pages == dripPages {
			return nil
		}
		page, _, _, err := k.List(ctx, hold.Filter{Reason: "limits", Copies: "none", User: u.user, Since: u.since, Oldest: true, Limit: dripPage, After: u.after})
		if err != nil || len(page) == 0 {
			return nil
		}
		u.page, u.after = page, page[len(page)-1].ID
		u.pages++
	}
}

// refusedBefore tells a message that dripping has tried: one that the next hop
// refused for good waits for a person, the others for dripLater. A clock that
// was set back waits for nothing.
func refusedBefore(e *hold.Entry, now time.Time) bool {
	if e.By != dripBy || e.At.IsZero() {
		return false
	}
	if past := now.Sub(e.At); past >= 0 && past < dripLater {
		return true
	}
	return permanent(e.Note)
}

// permanent reads the note of a release: a reply, perhaps behind the recipient
// whom it is about.
func permanent(note string) bool {
	if _, rest, ok := strings.Cut(note, ": "); ok && !digits(note) {
		note = rest
	}
	return digits(note) && note[0] == '5'
}

func digits(s string) bool {
	return len(s) >= 3 && strings.Trim(s[:3], "0123456789") == ""
}

func (p *dripping) may(n float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.credit >= n
}

// one releases a message if its user has room for it. It is false when he has
// none, or when there is no use in trying his next one.
func (p *dripping) one(ctx context.Context, d *daemon, g *generation, k *hold.Keeper, e *hold.Entry) bool {
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
	// Where the next hop has spoken of this message, others may be taken; where
	// it does not answer, or the disk takes no mark, there is no use.
	return err == nil && r.State == hold.Released || len(r.Refused) > 0 || permanent(r.Reply)
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
