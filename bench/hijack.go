package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"garita/filters"
	"garita/filters/limits"
	"garita/hijack"
	"garita/mail"
	"garita/store"
)

// The detector of hijacked accounts beside fixed quotas: how many messages of
// a bot pass before it is stopped, and how often an honest user is. Everything
// is played over the real code, the store in memory, and a clock of its own.

// plan is the size of a run.
type plan struct {
	seed         uint64
	users, bots  int // of each kind
	learn, watch int // days
	kinds        []kind
	attacks      []botKind
	guards       []guard
}

func usualPlan(seed uint64) plan {
	return plan{seed: seed, users: 40, bots: 41, learn: 35, watch: 90, kinds: append(normals(), unseen()...), attacks: bots(), guards: guards()}
}

// guard is one of those who are compared.
type guard struct {
	name  string
	limit []string // of filters/limits; nil: the detector
}

func guards() []guard {
	return []guard{{"detector", nil},
		{"limits: default", []string{"60 messages / 1h", "300 messages / 24h", "150 recipients / 1h", "500 recipients / 24h", "100 new-recipients / 24h"}},
		{"limits: cert-strict", []string{"10 messages / 1h", "50 messages / 24h"}},
		{"1000 messages, 200 first-time a day", []string{"1000 messages / 24h", "200 new-recipients / 24h"}}}
}

// watched is an account with a guard.
type watched struct {
	now      time.Time
	start    time.Time
	detector *hijack.Detector
	limits   *limits.Limits
	user     string
	n        int
	trustAt  time.Time
	stops    int
	why      []string
}

func watch(g guard, user string, start time.Time) (*watched, error) {
	w := &watched{now: start, start: start, user: user}
	s := store.NewMemoryWith(store.Config{Entries: 100_000, Bytes: 64 << 20, Now: func() time.Time { return w.now },
		Steady: func() time.Duration { return w.now.Sub(w.start) + time.Hour }})
	if g.limit == nil {
		w.detector = hijack.New(hijack.Options{Store: s, Now: func() time.Time { return w.now }})
		return w, nil
	}
	c := limits.Default()
	c.Mode, c.User, c.Domain, c.SuspendAt = "enforce", g.limit, []string{}, 0
	_, l, err := limits.New(c, limits.Options{Store: s, Now: func() time.Time { return w.now }})
	w.limits = l
	return w, err
}

// sends gives whether the guard lets a letter pass.
func (w *watched) sends(p *played, learning bool) (bool, error) {
	ctx := context.Background()
	if !w.trustAt.IsZero() && !p.at.Before(w.trustAt) && w.detector != nil {
		// An hour after the alert a person has said that all is well.
		w.now, w.trustAt = w.trustAt, time.Time{}
		if _, err := w.detector.Trust(ctx, w.user, "operator", 8*time.Hour); err != nil {
			return false, err
		}
	}
	if p.at.After(w.now) {
		w.now = p.at
	}
	if w.detector == nil {
		return w.quota(ctx, p)
	}
	j, err := w.detector.Judge(ctx, &hijack.Letter{User: w.user, Recipients: p.to, From: p.from, Text: p.text})
	if err != nil {
		return false, err
	}
	if j.Opened {
		w.trustAt = w.now.Add(time.Hour)
		if !learning {
			w.stops++
			w.why = append(w.why, fmt.Sprintf("%.1f: %s", j.Score, hijack.Text(j.Reasons)))
		}
	}
	pass := learning || !j.Suspect
	return pass, w.detector.Done(ctx, j, pass, p.refused)
}

func (w *watched) quota(ctx context.Context, p *played) (bool, error) {
	w.n++
	tx := &mail.Transaction{ID: fmt.Sprint(w.n), Direction: mail.Out, Session: &mail.Session{Role: mail.Outbound, Login: w.user},
		Identity: mail.Identity{User: w.user, Source: "auth"}}
	tx.ReversePath = mail.Path{Local: "u", Domain: "our.example"}
	for i := range p.to {
		a := p.to[i].Address
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: a[:len(a)-len(p.to[i].Domain)-1], Domain: p.to[i].Domain}})
	}
	r, err := w.limits.CheckMessage(ctx, tx)
	if err != nil {
		return false, err
	}
	pass := !slices.ContainsFunc(r.Findings, func(f mail.Finding) bool { return f.Verdict != mail.Continue })
	end := mail.Outcome{Kind: mail.Relayed}
	if !pass {
		end.Kind = mail.Held
	}
	return pass, w.limits.Finish(ctx, tx, end)
}

var _ filters.MessageChecker = (*limits.Limits)(nil)

// HijackResult is the table; it is exported for the JSON file.
type HijackResult struct {
	Seed     uint64
	Days     int // of each user, watched
	Users    []HijackUsers
	Bots     []HijackBots
	Why      []string // reasons of some false stops
	Messages int
}

// HijackUsers are the false stops of a kind of user by each guard, as days with
// one for each 1,000 days.
type HijackUsers struct {
	Kind  string
	Days  int
	Stops []float64
}

// HijackBots are the messages of a bot that passed before it was stopped: the
// first time that something of it was held.
type HijackBots struct {
	Kind        string
	Median, P90 []int // -1: was not stopped in three weeks
}

func (p plan) start() time.Time { return time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) }

// honest plays a user, and gives the days on which he was stopped.
func (p plan) honest(k kind, g guard, n int) (stopped, sent int, why []string, err error) {
	l := newLife(k, p.seed, n)
	w, err := watch(g, l.name, p.start())
	if err != nil {
		return 0, 0, nil, err
	}
	for d := range p.learn + p.watch {
		learning, before, bad := d < p.learn, w.stops, false
		day := l.day(p.start().AddDate(0, 0, d))
		for i := range day {
			pass, err := w.sends(&day[i], learning)
			if err != nil {
				return 0, 0, nil, err
			}
			bad = bad || !pass && g.limit != nil && !learning
		}
		sent += len(day)
		if bad || w.stops > before {
			stopped++
		}
	}
	return stopped, sent, w.why, nil
}

// hijacked plays an office user whose account is taken, and gives how many
// messages of the bot passed, or -1.
func (p plan) hijacked(b *botKind, g guard, n int) (passed, sent int, err error) {
	l := newLife(normals()[0], p.seed+1000, n)
	w, err := watch(g, l.name, p.start())
	if err != nil {
		return 0, 0, err
	}
	history := p.learn + 14
	if b.newcomer {
		history = 0
	}
	for d := range history {
		day := l.day(p.start().AddDate(0, 0, d))
		for i := range day {
			if _, err := w.sends(&day[i], true); err != nil {
				return 0, 0, err
			}
		}
		sent += len(day)
	}
	w.trustAt = time.Time{}
	from := p.start().AddDate(0, 0, history).Add(time.Duration(l.r.Int64N(int64(24 * time.Hour))))
	bot := l.attack(b, from, 1200)
	all := bot
	for d := range 21 {
		own := l.day(p.start().AddDate(0, 0, history+d))
		all = append(all, slices.DeleteFunc(own, func(o played) bool { return o.at.Before(from) || o.at.After(bot[len(bot)-1].at) })...)
	}
	all = sorted(all)
	for i := range all {
		pass, err := w.sends(&all[i], false)
		sent++
		switch {
		case err != nil:
			return 0, 0, err
		case !pass && (all[i].bot || g.limit == nil):
			return passed, sent, nil
		case all[i].bot:
			passed++
		}
	}
	return -1, sent, nil
}

// play runs a plan on all processors.
func (p plan) play() (*HijackResult, error) {
	out := &HijackResult{Seed: p.seed, Days: p.watch}
	var mu sync.Mutex
	var fault error
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	run := func(f func() error) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(); err != nil {
				mu.Lock()
				fault = cmp.Or(fault, err)
				mu.Unlock()
			}
		})
	}
	gs := p.guards
	why := map[int]string{}
	users := make([][]int, len(p.kinds))
	for i, k := range p.kinds {
		users[i] = make([]int, len(gs))
		for at, g := range gs {
			for n := range p.users {
				run(func() error {
					days, sent, because, err := p.honest(k, g, i*10_000+n)
					mu.Lock()
					defer mu.Unlock()
					users[i][at] += days
					out.Messages += sent
					if len(because) > 0 {
						why[i*10_000+n] = k.Name + ": " + because[0]
					}
					return err
				})
			}
		}
	}
	passed := make([][][]int, len(p.attacks))
	for i := range p.attacks {
		passed[i] = make([][]int, len(gs))
		for at, g := range gs {
			passed[i][at] = make([]int, p.bots)
			for n := range p.bots {
				run(func() (err error) {
					var sent int
					passed[i][at][n], sent, err = p.hijacked(&p.attacks[i], g, 900_000+i*1000+n)
					mu.Lock()
					out.Messages += sent
					mu.Unlock()
					return err
				})
			}
		}
	}
	wg.Wait()
	for i, k := range p.kinds {
		row := HijackUsers{Kind: k.Name, Days: p.users * p.watch}
		for at := range gs {
			row.Stops = append(row.Stops, 1000*float64(users[i][at])/float64(max(row.Days, 1)))
		}
		out.Users = append(out.Users, row)
	}
	for i := range p.attacks {
		row := HijackBots{Kind: p.attacks[i].Name}
		for at := range gs {
			list := passed[i][at]
			slices.SortFunc(list, func(a, b int) int { return cmp.Compare(uint(a), uint(b)) }) // -1 is the most
			row.Median, row.P90 = append(row.Median, list[len(list)/2]), append(row.P90, list[len(list)*9/10])
		}
		out.Bots = append(out.Bots, row)
	}
	for _, n := range slices.Sorted(mapKeys(why)) {
		if len(out.Why) < 12 {
			out.Why = append(out.Why, why[n])
		}
	}
	return out, fault
}

func mapKeys(m map[int]string) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// write gives the table in Markdown.
func (r *HijackResult) write(w io.Writer) {
	fmt.Fprintf(w, "\n## Hijacked accounts, seed %d, %d messages\n\nMessages of the bot that passed before it was stopped, median / p90:\n\n| bot |", r.Seed, r.Messages)
	head := func() {
		for _, g := range guards() {
			fmt.Fprintf(w, " %s |", g.name)
		}
		fmt.Fprint(w, "\n|---|---:|---:|---:|---:|\n")
	}
	head()
	count := func(n int) string {
		if n < 0 {
			return "never"
		}
		return fmt.Sprint(n)
	}
	for _, b := range r.Bots {
		fmt.Fprintf(w, "| %s |", b.Kind)
		for i := range b.Median {
			fmt.Fprintf(w, " %s / %s |", count(b.Median[i]), count(b.P90[i]))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\nDays with a false stop, of 1,000 days of a user:\n\n| user |")
	head()
	for _, u := range r.Users {
		fmt.Fprintf(w, "| %s |", u.Kind)
		for _, s := range u.Stops {
			fmt.Fprintf(w, " %.2f |", s)
		}
		fmt.Fprintln(w)
	}
	if len(r.Why) > 0 {
		fmt.Fprint(w, "\nSome false stops of the detector:\n\n")
		for _, s := range r.Why {
			fmt.Fprintf(w, "- %s\n", s)
		}
	}
}

// hijackRun is the part of the command: nothing else needs to be started.
func (b *bench) hijackRun(context.Context) error {
	for _, seed := range []uint64{1, 2}[:min(b.rounds, 2)] {
		p := usualPlan(seed)
		if b.rounds == 1 {
			p.users, p.bots = 12, 11
		}
		r, err := p.play()
		if err != nil {
			return err
		}
		b.Hijack = append(b.Hijack, r)
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.out, "hijack.md"))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range b.Hijack {
		r.write(io.MultiWriter(os.Stdout, f))
	}
	return f.Close()
}
