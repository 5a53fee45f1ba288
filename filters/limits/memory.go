package limits

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"sync"
	"time"

	"garita/mail"
)

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

const (
	// mostTold bounds the events that are remembered, mostUsers the users whose
	// habits are, mostKeys the names of one table in one slot.
	mostTold  = 4096
	mostUsers = 20_000
	mostKeys  = 512
	quiet     = 10 * time.Minute
	// slots of five minutes for the last hour, of an hour for the last day.
	fine, coarse = 5 * time.Minute, time.Hour
)

// Table is what `garita top` counts.
type Table string

// The tables.
const (
	ByUser      Table = "users"
	BySender    Table = "senders"
	ByRecipient Table = "recipients"
	ByAddress   Table = "ips"
)

// Memory is what the check remembers in memory: who sent how much of late, and
// what users send in an hour and a day. It outlives a reload and is bounded;
// both outlive a restart too (Save).
type Memory struct {
	mu    sync.Mutex
	told  map[string]time.Time
	slots map[slotKey]map[string]*Row
	// changed are the slots that the store does not have as they are.
	changed map[slotKey]bool
	habits  map[string]*habit
	since   time.Time
	// bad is when the last sign of bad outbound mail was seen.
	bad time.Time
	// read, sinceKept and badKept tell what the store has.
	read      bool
	sinceKept time.Time
	badKept   time.Time
}

type slotKey struct {
	table Table
	dir   mail.Direction
	wide  bool
	at    int64
}

// Row is one line of `garita top`.
type Row struct {
	Name       string `json:"name"`
	Messages   int64  `json:"messages"`
	Recipients int64  `json:"recipients"`
	Bytes      int64  `json:"bytes"`
	Stopped    int64  `json:"stopped"` // held, refused or discarded
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{told: map[string]time.Time{}, slots: map[slotKey]map[string]*Row{}, changed: map[slotKey]bool{}, habits: map[string]*habit{}}
}

// due tells whether something may be said again.
func (m *Memory) due(what string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.told[what]; ok && now.Sub(last) >= 0 && now.Sub(last) < quiet {
		return false
	}
	if len(m.told) >= mostTold {
		maps.DeleteFunc(m.told, func(_ string, t time.Time) bool { return now.Sub(t) >= quiet || now.Before(t) })
		if len(m.told) >= mostTold {
			clear(m.told)
		}
	}
	m.told[what] = now
	return true
}

// note counts the end of a message.
func (l *Limits) note(tx *mail.Transaction, o mail.Outcome) {
	if len(tx.ForwardPaths) == 0 || o.Kind == mail.Aborted {
		return
	}
	m, now := l.o.Memory, l.o.Now()
	r := Row{Messages: 1, Recipients: int64(len(tx.ForwardPaths))}
	if tx.Message != nil {
		r.Bytes = tx.Message.Size()
	}
	if o.Kind != mail.Relayed && o.Kind != mail.Ambiguous {
		r.Stopped = 1
	}
	from := "<>"
	if !tx.ReversePath.IsNull() {
		from = tx.ReversePath.Key()
	}
	bad := signOfBad(tx, o)
	m.mu.Lock()
	defer m.mu.Unlock()
	if bad {
		m.bad = now
	}
	m.add(ByUser, tx.Direction, tx.Identity.User, r, now)
	m.add(BySender, tx.Direction, from, r, now)
	m.add(ByAddress, tx.Direction, address(tx), r, now)
	one := r
	one.Recipients = 1
	for i := range tx.ForwardPaths[:min(len(tx.ForwardPaths), 50)] {
		m.add(ByRecipient, tx.Direction, tx.ForwardPaths[i].Key(), one, now)
	}
	if tx.Identity.User != "" && !tx.ReversePath.IsNull() && r.Stopped == 0 {
		m.learn(tx.Identity.User, now, r.Recipients)
	}
}

func (m *Memory) add(t Table, d mail.Direction, name string, r Row, now time.Time) {
	if name == "" {
		return
	}
	for _, wide := range [2]bool{false, true} {
		step := fine
		if wide {
			step = coarse
		}
		key := slotKey{t, d, wide, now.UnixNano() / int64(step)}
		s := m.slots[key]
		if s == nil {
			m.forget(now)
			s = map[string]*Row{}
			m.slots[key] = s
		}
		m.changed[key] = true
		have := s[name]
		if have == nil {
			if len(s) >= mostKeys {
				// The least of some makes room: who sends much stays.
				var least *Row
				n := 0
				for _, c := range s {
					if least == nil || c.Messages < least.Messages {
						least = c
					}
					if n++; n == 16 {
						break
					}
				}
				delete(s, least.Name)
			}
			have = &Row{Name: name}
			s[name] = have
		}
		have.Messages += r.Messages
		have.Recipients += r.Recipients
		have.Bytes += r.Bytes
		have.Stopped += r.Stopped
	}
}

// forget drops slots that are too old, and those of a clock that has jumped.
func (m *Memory) forget(now time.Time) {
	f, c := now.UnixNano()/int64(fine), now.UnixNano()/int64(coarse)
	maps.DeleteFunc(m.slots, func(k slotKey, _ map[string]*Row) bool {
		if k.wide {
			return k.at < c-24 || k.at > c
		}
		return k.at < f-12 || k.at > f
	})
}

// Top gives the largest of a table since a span of at most a day.
func (l *Limits) Top(t Table, d mail.Direction, since time.Duration, n int) []Row {
	m, now := l.o.Memory, l.o.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	wide, step := since > time.Hour, fine
	if wide {
		step = coarse
	}
	from := now.Add(-min(since, 24*time.Hour)).UnixNano() / int64(step)
	sum := map[string]*Row{}
	for k, s := range m.slots {
		if k.table != t || k.dir != d || k.wide != wide || k.at < from {
			continue
		}
		for name, r := range s {
			have := sum[name]
			if have == nil {
				have = &Row{Name: name}
				sum[name] = have
			}
			have.Messages += r.Messages
			have.Recipients += r.Recipients
			have.Bytes += r.Bytes
			have.Stopped += r.Stopped
		}
	}
	out := make([]Row, 0, len(sum))
	for _, r := range sum {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Row) int { return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Name, b.Name)) })
	return out[:min(n, len(out))]
}

// Standing is how much of his limits a user has used.
type Standing struct {
	User   string         `json:"user"`
	Limits []StandingLine `json:"limits"`
}

// StandingLine is one limit.
type StandingLine struct {
	Limit string `json:"limit"`
	Used  int64  `json:"used"`
	Max   int64  `json:"max"` // 0: none
}

// Standing asks the store; it counts nothing.
func (l *Limits) Standing(ctx context.Context, user string) (Standing, error) {
	out := Standing{User: user, Limits: []StandingLine{}}
	w, _ := l.whoOf(mail.Identity{User: user, Source: "auth"}, false)
	a := newAct()
	a.add(SymbolUser, user, w.key, l.limitsOf(user))
	if len(a.windows) == 0 || l.o.Store == nil {
		return out, nil
	}
	_, used, err := l.o.Store.Reserve(ctx, a.windows)
	for i := range used {
		out.Limits = append(out.Limits, StandingLine{a.of[i].limit.String(), used[i].Used, used[i].Max})
	}
	return out, err
}

// Active are the users seen since the start, the largest senders first.
func (l *Limits) Active() []string {
	hs, _ := l.Habits()
	out := make([]string, len(hs))
	for i := range hs {
		out[i] = hs[i].User
	}
	return out
}

// Mode is that of the check.
func (l *Limits) Mode() string { return l.cfg.Mode }
