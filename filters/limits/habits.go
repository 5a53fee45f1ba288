package limits

import (
	"cmp"
	"context"
	"encoding/json"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

const (
	habitKey = "limits/habit/"
	sinceKey = "limits/watched-since"
	badKey   = "limits/last-bad"
	// habitFor is how long the habit of a user is kept who sends nothing.
	habitFor = 90 * 24 * time.Hour
	// recallWait bounds what a start waits for the store.
	recallWait = 5 * time.Second
)

// histogram is how many hours or days had how much.
type histogram [48]uint32

// habit is what a user sends in an hour and in a day: how many of his hours and
// days had how much, messages and recipients, and what those that run have.
type habit struct {
	hour, day   int64
	now, today  [2]int64
	hours, days [2]histogram
	dirty       bool
}

// step gives the place of a count in a histogram whose steps grow by about a
// fifth, and most the largest count of that place.
func step(n int64) int {
	if n < 4 {
		return int(max(n, 0))
	}
	b := bits.Len64(uint64(n)) - 1 // n in [2^b, 2^(b+1))
	return min(4*(b-1)+int(n>>(b-2))&3, len(histogram{})-1)
}

func most(step int) int64 {
	if step < 4 {
		return int64(step)
	}
	b, q := step/4+1, int64(step%4)
	return (4+q+1)<<(b-2) - 1
}

func (m *Memory) learn(user string, now time.Time, rcpts int64) {
	hour := now.Unix() / 3600
	h := m.habits[user]
	if h == nil {
		if len(m.habits) >= mostUsers {
			for u := range m.habits { // any: they are figures, not decisions
				delete(m.habits, u)
				break
			}
		}
		h = &habit{hour: hour, day: hour / 24}
		m.habits[user] = h
	}
	if m.since.IsZero() {
		m.since = now
	}
	h.close(hour)
	h.now[0]++
	h.now[1] += rcpts
	h.today[0]++
	h.today[1] += rcpts
	h.dirty = true
}

// close puts away an hour and a day that are over; -1 any.
func (h *habit) close(hour int64) {
	put := func(to *[2]histogram, n *[2]int64) {
		if n[0] > 0 {
			to[0][step(n[0])]++
			to[1][step(n[1])]++
		}
		*n = [2]int64{}
	}
	if h.hour != hour {
		put(&h.hours, &h.now)
		h.hour = hour
	}
	if day := hour / 24; h.day != day || hour < 0 {
		put(&h.days, &h.today)
		h.day = day
	}
}

// percentile of the hours in which he sent anything.
func (g *histogram) percentile(p float64) int64 {
	n := g.count()
	var seen int64
	for i, c := range g {
		if seen += int64(c); n > 0 && float64(seen) >= p*float64(n) {
			return most(i)
		}
	}
	return 0
}

func (g *histogram) count() (n int64) {
	for _, c := range g {
		n += int64(c)
	}
	return n
}

// Habit is what a user sends, and what would hold him never or rarely.
type Habit struct {
	User          string `json:"user"`
	Hours         int64  `json:"hours"` // in which he sent anything
	Messages      int64  `json:"messages_per_hour_p99"`
	Recipients    int64  `json:"recipients_per_hour_p99"`
	Days          int64  `json:"days"`
	DayMessages   int64  `json:"messages_per_day_p99"`
	DayRecipients int64  `json:"recipients_per_day_p99"`
}

// Habits gives every user's 99th percentile, the largest first, and since when
// they were watched.
func (l *Limits) Habits() (out []Habit, since time.Time) {
	m := l.o.Memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for u, h := range m.habits {
		c := *h
		c.close(-1)
		out = append(out, Habit{u, c.hours[0].count(), c.hours[0].percentile(0.99), c.hours[1].percentile(0.99),
			c.days[0].count(), c.days[0].percentile(0.99), c.days[1].percentile(0.99)})
	}
	slices.SortFunc(out, func(a, b Habit) int { return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.User, b.User)) })
	return out, m.since
}

// kept is a habit in the store: histograms as place and count in turn.
type kept struct {
	Hour   int64       `json:"h"`
	Now    [2]int64    `json:"n"`
	Today  [2]int64    `json:"t"`
	Counts [4][]uint32 `json:"c"`
}

func (h *habit) pack() []byte {
	k := kept{Hour: h.hour, Now: h.now, Today: h.today}
	for i, g := range [4]*histogram{&h.hours[0], &h.hours[1], &h.days[0], &h.days[1]} {
		for at, n := range g {
			if n > 0 {
				k.Counts[i] = append(k.Counts[i], uint32(at), n)
			}
		}
	}
	raw, _ := json.Marshal(k) // numbers alone: it cannot fail
	return raw
}

func unpack(raw []byte) *habit {
	var k kept
	if json.Unmarshal(raw, &k) != nil || k.Hour < 0 {
		return nil
	}
	h := &habit{hour: k.Hour, day: k.Hour / 24, now: k.Now, today: k.Today}
	for i, g := range [4]*histogram{&h.hours[0], &h.hours[1], &h.days[0], &h.days[1]} {
		for c := k.Counts[i]; len(c) >= 2; c = c[2:] {
			if c[0] < uint32(len(g)) {
				g[c[0]] = c[1]
			}
		}
	}
	return h
}

// recall reads what was kept before the start, once.
func (l *Limits) recall() {
	m := l.o.Memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read {
		return
	}
	m.read = true
	ctx, cancel := context.WithTimeout(context.Background(), recallWait)
	defer cancel()
	when := func(key string) (t time.Time) {
		if raw, ok, err := l.o.Store.Get(ctx, key); ok && err == nil {
			if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
				t = time.Unix(n, 0)
			}
		}
		return t
	}
	m.since, m.bad = when(sinceKey), when(badKey)
	m.sinceKept, m.badKept = m.since, m.bad
	if err := l.recallTop(ctx); err != nil {
		l.o.Log("who sent much before the start is not known", err)
	}
	for after := ""; len(m.habits) < mostUsers; {
		page, err := l.o.Store.List(ctx, habitKey, after, 500)
		if err != nil {
			l.o.Log("what users sent before the start is not known", err)
			return
		}
		for _, item := range page {
			if h := unpack(item.Value); h != nil && len(m.habits) < mostUsers {
				m.habits[strings.TrimPrefix(item.Key, habitKey)] = h
			}
		}
		if len(page) < 500 {
			return
		}
		after = page[len(page)-1].Key
	}
}

// Save gives the store what has changed since the last time; a restart goes on
// from there. It is called once a minute and at the end.
func (l *Limits) Save(ctx context.Context) error {
	if l == nil || l.o.Store == nil || l.cfg.Mode == "off" {
		return nil
	}
	m := l.o.Memory
	m.mu.Lock()
	list := map[string][]byte{}
	for u, h := range m.habits {
		if h.dirty {
			list[u] = h.pack()
			h.dirty = false
		}
	}
	since, bad := m.since, m.bad
	newSince, newBad := !since.Equal(m.sinceKept), !bad.Equal(m.badKept)
	m.sinceKept, m.badKept = since, bad
	m.mu.Unlock()
	var first error
	fail := func(err error) bool {
		if err != nil && first == nil {
			first = err
		}
		return err != nil
	}
	seconds := func(t time.Time) []byte { return strconv.AppendInt(nil, t.Unix(), 10) }
	if newSince {
		fail(l.o.Store.Keep(ctx, sinceKey, seconds(since), 0))
	}
	if newBad {
		fail(l.o.Store.Keep(ctx, badKey, seconds(bad), 0))
	}
	fail(l.saveTop(ctx))
	for u, raw := range list {
		if fail(l.o.Store.Put(ctx, habitKey+u, raw, habitFor)) {
			m.mu.Lock()
			if h := m.habits[u]; h != nil {
				h.dirty = true // the next time
			}
			m.mu.Unlock()
		}
	}
	return first
}

// signOfBad tells a message of a user of ours that a check found bad in what it
// says: what left before it may have been like it. One over a limit alone, or
// of a suspended user, is no sign of its own.
func signOfBad(tx *mail.Transaction, o mail.Outcome) bool {
	if tx.Direction != mail.Out || tx.Message == nil || o.NextHopReply != "" {
		return false
	}
	switch o.Kind {
	case mail.Held, mail.Discarded:
	case mail.Refused:
		if len(o.Replies) == 0 || o.Replies[0].Code < 500 {
			return false
		}
	default:
		return false
	}
	volume, other := false, false
	for i := range tx.Findings {
		if f := &tx.Findings[i]; f.Counted && f.Verdict > mail.Continue {
			if f.Filter == Name || f.Filter == "suspension" {
				volume = true
			} else {
				other = true
			}
		}
	}
	return other || !volume // else its score has decided
}

// Bad notes a sign that bad mail has left until then.
func (l *Limits) Bad(at time.Time) {
	m := l.o.Memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.After(m.bad) {
		m.bad = at
	}
}

// LastBad is when the last such sign was seen: a user was suspended, or a check
// stopped what one of ours sent. It is zero where there was none.
func (l *Limits) LastBad() time.Time {
	m := l.o.Memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bad
}
