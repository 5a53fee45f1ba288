package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"garita/filters/all"
)

// garita limits suggest: what users really send, and limits that fit it.

// limitsHabits is the answer: what users send, and what is proposed for them.
type limitsHabits struct {
	Mode     string          `json:"mode"`
	Since    time.Time       `json:"since,omitzero"`
	Users    []all.UserHabit `json:"users"`
	More     int             `json:"more,omitempty"`
	Proposal limitsProposal  `json:"proposal"`
}

// limitsProposal is a general limit that holds nobody at what nearly all do,
// and groups for those who send more.
type limitsProposal struct {
	User   []string        `json:"user,omitempty"`
	Groups []proposedGroup `json:"groups,omitempty"`
	per    [4]int64        // messages and recipients an hour, and a day
}

type proposedGroup struct {
	Name    string   `json:"name"`
	Members []string `json:"members"`
	More    int      `json:"more,omitempty"` // members that an answer has no room for
	Limits  []string `json:"limits"`
}

const (
	// enough is how long to observe before the figures are worth something.
	enough = 14 * 24 * time.Hour
	// mostProposed bounds the members of the proposed groups.
	mostProposed = 500
)

// figures of a habit in the order of a proposal.
func figuresOf(h *all.UserHabit) [4]int64 {
	return [4]int64{h.Messages, h.Recipients, h.DayMessages, h.DayRecipients}
}

// propose works out limits: in general a quarter above what 95 of 100 users have
// in 99 of 100 of their hours and days, and for each of the others a quarter
// above his own, with those of like size in one group.
func propose(list []all.UserHabit) (p limitsProposal) {
	if len(list) == 0 {
		return p
	}
	least := [4]int64{10, 20, 40, 80} // who sent five mails in two weeks may send ten
	for i := range p.per {
		of := make([]int64, 0, len(list))
		for k := range list {
			of = append(of, figuresOf(&list[k])[i])
		}
		slices.Sort(of)
		p.per[i] = max(roundUp(of[(len(of)*95+99)/100-1]), least[i])
	}
	p.User = limitTexts(p.per)
	groups := map[string]*proposedGroup{}
	n := 0
	for k := range list {
		own, above := figuresOf(&list[k]), false
		for i := range own {
			above = above || own[i] > p.per[i]
			own[i] = max(roundUp(own[i]), p.per[i])
		}
		if !above {
			continue
		}
		limits := limitTexts(own)
		key := strings.Join(limits, ", ")
		g := groups[key]
		if g == nil {
			g = &proposedGroup{Limits: limits}
			groups[key] = g
		}
		if n++; n > mostProposed {
			g.More++
			continue
		}
		g.Members = append(g.Members, list[k].User)
	}
	for _, g := range groups {
		slices.Sort(g.Members)
		if len(g.Members) > 0 {
			p.Groups = append(p.Groups, *g)
		}
	}
	slices.SortFunc(p.Groups, func(a, b proposedGroup) int { return cmp.Compare(a.Members[0], b.Members[0]) })
	for i := range p.Groups {
		p.Groups[i].Name = fmt.Sprintf("suggested-%d", i+1)
	}
	return p
}

// roundUp gives a quarter more, as 10, 12, 15, 20, 25, 30, 40, 50, 60, 80 and
// ten times those.
func roundUp(n int64) int64 {
	n += (n + 3) / 4
	for unit := int64(1); ; unit *= 10 {
		for _, step := range [...]int64{10, 12, 15, 20, 25, 30, 40, 50, 60, 80} {
			if step*unit >= n || unit > 1<<50 {
				return step * unit
			}
		}
	}
}

func limitTexts(per [4]int64) []string {
	return []string{fmt.Sprintf("%d messages / 1h", per[0]), fmt.Sprintf("%d recipients / 1h", per[1]),
		fmt.Sprintf("%d messages / 24h", per[2]), fmt.Sprintf("%d recipients / 24h", per[3])}
}

func suggestLimits(_ context.Context, _ *parts, l *all.Limits, _ userRequest) (any, error) {
	h, since := l.Habits()
	n := min(len(h), userPage)
	return limitsHabits{Mode: l.Mode(), Since: since, Users: h[:n], More: len(h) - n, Proposal: propose(h)}, nil
}

// Run suggests.
func (c *limitsSuggestCommand) Run(t *terminal) error {
	var v limitsHabits
	if err := callWith(&c.socketFlag, "limits suggest", userRequest{}, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(v)
	}
	var b strings.Builder
	if c.Output == "toml" {
		v.toml(&b, time.Now())
	} else {
		v.table(&b, time.Now(), c.Limit)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (v *limitsHabits) table(b *strings.Builder, now time.Time, limit int) {
	if len(v.Users) == 0 {
		b.WriteString("no user has sent anything yet\n")
		return
	}
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tHOURS\tMESSAGES/HOUR p99\tRECIPIENTS/HOUR p99\tDAYS\tMESSAGES/DAY p99\tRECIPIENTS/DAY p99")
	shown := v.Users[:min(len(v.Users), max(limit, 0))]
	for _, h := range shown {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", oneLine(h.User), h.Hours, h.Messages, h.Recipients, h.Days, h.DayMessages, h.DayRecipients)
	}
	w.Flush()
	if n := v.More + len(v.Users) - len(shown); n > 0 {
		fmt.Fprintf(b, "and %d users more\n", n)
	}
	fmt.Fprintf(b, "%s\n", v.watched(now))
	fmt.Fprintf(b, "proposal for all: %s; %d groups for those who send more: -o toml shows it to paste\n", oneLine(strings.Join(v.Proposal.User, ", ")), len(v.Proposal.Groups))
}

// watched says what the figures are worth.
func (v *limitsHabits) watched(now time.Time) string {
	past := max(now.Sub(v.Since), 0)
	if past < enough {
		return fmt.Sprintf("watched for %.1f days; two weeks say more", past.Hours()/24)
	}
	return fmt.Sprintf("watched for %.0f days: that is enough for check.limits.mode = \"enforce\"", past.Hours()/24)
}

// toml writes the table to paste. Only names of users are not our own words, and
// a name that needs more than quotes is one that nobody has.
func (v *limitsHabits) toml(b *strings.Builder, now time.Time) {
	list := func(of []string) string {
		q := make([]string, len(of))
		for i, s := range of {
			q[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oneLine(s)) + `"`
		}
		return "[" + strings.Join(q, ", ") + "]"
	}
	if len(v.Users) == 0 {
		b.WriteString("# no user has sent anything yet\n")
		return
	}
	fmt.Fprintf(b, "# %s\n[check.limits]\nmode = \"enforce\"\nuser = %s\n", v.watched(now), list(append(slices.Clone(v.Proposal.User), "100 new-recipients / 24h")))
	for _, g := range v.Proposal.Groups {
		fmt.Fprintf(b, "\n[check.limits.group.%s]\nmembers = %s\nlimits = %s\n", g.Name, list(g.Members), list(g.Limits))
		if g.More > 0 {
			fmt.Fprintf(b, "# and %d users more\n", g.More)
		}
	}
}
