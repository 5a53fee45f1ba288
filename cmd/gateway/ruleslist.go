package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"garita/admin"
	checks "garita/filters/all"
	"garita/mail"
	"garita/rules"
	"garita/rules/builtin"
)

// rulesPick picks rules by what they are.
type rulesPick struct {
	Tag  string `help:"With this tag."`
	Set  string `help:"Of this shipped set, or file."`
	Mode string `enum:"off,observe,score,enforce,all" default:"all" help:"In this mode: off, observe, score, enforce, all."`
	Own  bool   `help:"Only those of the configuration's own files."`
}

func (p *rulesPick) takes(r *rules.Rule) bool {
	set, shipped := strings.CutPrefix(r.File, "builtin:")
	return (p.Tag == "" || slices.Contains(r.Tags, p.Tag)) && (p.Set == "" || p.Set == set) &&
		(p.Mode == "all" || p.Mode == r.Mode.String()) && (!p.Own || !shipped)
}

type rulesListCommand struct {
	socketFlag
	rulesPick
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// listedRule is one rule of the answer. Its form is fixed: scripts read it.
type listedRule struct {
	ID          string   `json:"id"`
	Mode        string   `json:"mode"`
	Direction   string   `json:"direction"`
	Action      string   `json:"action"`
	Score       float64  `json:"score"`
	Description string   `json:"description"`
	Source      string   `json:"source,omitempty"`
	Tags        []string `json:"tags"`
	Expires     string   `json:"expires,omitempty"`
	Place       string   `json:"place"`
	Set         string   `json:"set,omitempty"`
	// Conditions as they are written.
	Match []string `json:"match"`
	Any   []string `json:"any,omitempty"`
	Not   []string `json:"not,omitempty"`
	Reply string   `json:"reply,omitempty"`
	Stop  bool     `json:"stop,omitempty"`
	Tests int      `json:"tests"`
}

func listed(r *rules.Rule) listedRule {
	l := listedRule{
		ID: r.ID, Mode: r.Mode.String(), Direction: "both", Action: actionsOf(r), Score: r.Score, Description: r.Description,
		Source: r.Origin, Tags: list(r.Tags), Place: r.Place(), Match: conditions(r.Match), Any: conditions(r.Any), Not: conditions(r.Not),
		Stop: r.Stop, Tests: len(r.Tests),
	}
	if r.Direction != 0 {
		l.Direction = r.Direction.String()
	}
	if !r.Expires.IsZero() {
		l.Expires = r.Expires.UTC().Format(time.RFC3339)
	}
	if set, ok := strings.CutPrefix(r.File, "builtin:"); ok {
		l.Set = set
	}
	if r.Reply != nil {
		l.Reply = r.Reply.String()
	}
	return l
}

func conditions(cs []*rules.Condition) []string {
	out := []string{}
	for _, c := range cs {
		out = append(out, c.Source)
	}
	return out
}

// actionsOf is what a rule does, in the words of its file.
func actionsOf(r *rules.Rule) string {
	var words []string
	for _, a := range r.Actions {
		words = append(words, actionText(a))
	}
	return strings.Join(words, ", ")
}

// actionText is one action.
func actionText(a rules.Action) string {
	text := a.Kind.String()
	if a.Final {
		text += " final"
	}
	if a.Name != "" {
		text += " " + a.Name
	}
	if a.Text != "" {
		text += " " + strconv.Quote(a.Text)
	}
	return text
}

func (c *rulesListCommand) Run(t *terminal) error {
	set, s, err := rulesOf(c.Config)
	if err != nil {
		return err
	}
	out, taken := []listedRule{}, []*rules.Rule{}
	for _, r := range set.Rules() {
		if c.takes(r) {
			out, taken = append(out, listed(r)), append(taken, r)
		}
	}
	if c.Output == "json" {
		return t.json(out)
	}
	if len(out) == 0 {
		fmt.Fprintln(t.out, "no rule")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tMODE\tDIR\tACTION\tSCORE\tWHERE")
	for _, r := range out {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%g\t%s\n", r.ID, r.Mode, r.Direction, short(oneLine(inShort(r.Action)), maxListedAction), r.Score, whereListed(r))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	noteCeiling(t, s, modesOf(taken)...)
	return nil
}

// The table fits a terminal of 100 columns, and one of 80 with the shipped
// rules: their longest id has 23 characters. rules show and -o json have all.
const (
	maxListedAction = 22
	maxListedPlace  = 26
)

// whereListed is the place of a rule for the table: a shipped set by its name,
// as --set takes it, a file by the end of its path.
func whereListed(r listedRule) string {
	at := []rune(oneLine(strings.TrimPrefix(r.Place, "builtin:")))
	if len(at) > maxListedPlace {
		return "…" + string(at[len(at)-maxListedPlace+1:])
	}
	return string(at)
}

// rulesOf gives the rules of a configuration, which must be good.
func rulesOf(file string) (*rules.Set, *Settings, error) {
	test := testCommand{configFlag: configFlag{Config: file}}
	s, err := test.settings(&terminal{out: io.Discard, err: io.Discard})
	if err != nil {
		return nil, nil, err
	}
	lists, err := checksOf(s)
	if err != nil {
		return nil, nil, fail(exitConfig, "%s", err)
	}
	return lists.Rules(), s, nil
}

// isShipped tells a rule that comes with the program.
func isShipped(r *rules.Rule) bool { return strings.HasPrefix(r.File, "builtin:") }

// ruleBy finds a rule by its ID.
func ruleBy(set *rules.Set, id string) (*rules.Rule, error) {
	var ids []string
	for _, r := range set.Rules() {
		if r.ID == id {
			return r, nil
		}
		if strings.Contains(r.ID, id) || strings.Contains(id, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	hint := "garita rules list shows them"
	if len(ids) > 0 {
		hint = "did you mean " + strings.Join(ids[:min(len(ids), 5)], ", ") + "?"
	}
	return nil, fail(exitFailed, "there is no rule %.60q; %s", id, hint)
}

type rulesShowCommand struct {
	socketFlag
	ID     string `arg:"" help:"Its id."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *rulesShowCommand) Run(t *terminal) error {
	set, s, err := rulesOf(c.Config)
	if err != nil {
		return err
	}
	r, err := ruleBy(set, c.ID)
	if err != nil {
		return err
	}
	l := listed(r)
	if c.Output == "json" {
		return t.json(l)
	}
	for _, line := range []struct{ word, text string }{
		{"rule", l.ID}, {"what", l.Description}, {"source", l.Source}, {"where", l.Place}, {"direction", l.Direction},
		{"mode", l.Mode}, {"match", strings.Join(l.Match, "\n")}, {"any", strings.Join(l.Any, "\n")}, {"not", strings.Join(l.Not, "\n")},
		{"action", l.Action}, {"score", fmt.Sprintf("%g", l.Score)}, {"reply", l.Reply}, {"tags", strings.Join(l.Tags, ", ")},
		{"expires", lastDay(r.Expires)}, {"tests", strconv.Itoa(l.Tests)},
	} {
		if line.text == "" {
			continue
		}
		for i, text := range strings.Split(line.text, "\n") {
			word := line.word
			if i > 0 {
				word = ""
			}
			fmt.Fprintln(t.out, t.fold(fmt.Sprintf("%-10s%s", word, oneLine(text))))
		}
	}
	if l.Stop {
		fmt.Fprintln(t.out, "stop      no rule after it is looked at when it hits")
	}
	if h, err := hitsOf(&c.socketFlag); err == nil {
		fmt.Fprintf(t.out, "%-10s%s\n", "hits", h[r.ID].String())
	}
	noteCeiling(t, s, r.Mode)
	return nil
}

// lastDay is the end of a rule as its file has it: a date lasts to its end, UTC.
func lastDay(end time.Time) string {
	if end = end.UTC(); end.IsZero() {
		return ""
	}
	if end.Equal(end.Truncate(24 * time.Hour)) {
		return end.AddDate(0, 0, -1).Format(time.DateOnly) + ", to its end (UTC)"
	}
	return end.Format(time.RFC3339)
}

type rulesHitsCommand struct {
	socketFlag
	rulesPick
	Never  bool   `help:"Only rules that have never hit."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// ruleHits is how often a rule has hit, of the answer.
type ruleHits struct {
	ID    string    `json:"id"`
	Count uint64    `json:"count"`
	Last  time.Time `json:"last,omitzero"`
	Mode  string    `json:"mode,omitempty"` // empty: the rule is there no more
	Place string    `json:"place,omitempty"`
}

func (h ruleHits) String() string {
	if h.Count == 0 {
		return "never"
	}
	return fmt.Sprintf("%d, the last at %s", h.Count, h.Last.Local().Format(time.DateTime))
}

// hitsPage is how many fit an answer of the socket with certainty.
const hitsPage = 1000

// hitsRequest holds the arguments of the verb.
type hitsRequest struct {
	After int `json:"after,omitempty"`
}

type hitsAnswer struct {
	Rules []ruleHits `json:"rules"`
	More  bool       `json:"more,omitempty"`
}

// ruleHits is the verb of the running gateway.
func (d *daemon) ruleHits(_ context.Context, raw json.RawMessage) (any, error) {
	var q hitsRequest
	if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of rules hits"}
	}
	g := d.now.Load()
	if g == nil {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is " + stateName(d.state.Load())}
	}
	all := g.helpers.RuleHits()
	slices.SortFunc(all, func(a, b checks.RuleHit) int { return cmp.Compare(a.ID, b.ID) })
	from := min(max(q.After, 0), len(all))
	to := min(from+hitsPage, len(all))
	out := hitsAnswer{Rules: []ruleHits{}, More: to < len(all)}
	for _, h := range all[from:to] {
		out.Rules = append(out.Rules, ruleHits{ID: h.ID, Count: h.Count, Last: h.Last})
	}
	return out, nil
}

// hitsOf asks the running gateway.
func hitsOf(f *socketFlag) (map[string]ruleHits, error) {
	out := map[string]ruleHits{}
	for after, more := 0, true; more; {
		var page hitsAnswer
		if err := callWith(f, "rules hits", hitsRequest{After: after}, &page); err != nil {
			return nil, err
		}
		for _, h := range page.Rules {
			out[h.ID] = h
		}
		after, more = after+len(page.Rules), page.More && len(page.Rules) > 0
	}
	return out, nil
}

// Run lists the rules of the configuration by their hits, the most frequent
// first, and those that have left it behind them.
func (c *rulesHitsCommand) Run(t *terminal) error {
	counts, err := hitsOf(&c.socketFlag)
	if err != nil {
		return err
	}
	set, _, err := rulesOf(c.Config)
	if err != nil {
		return err
	}
	out := []ruleHits{}
	for _, r := range set.Rules() {
		h := counts[r.ID]
		delete(counts, r.ID)
		h.ID, h.Mode, h.Place = r.ID, r.Mode.String(), r.Place()
		if c.takes(r) && (!c.Never || h.Count == 0 && r.Mode != mail.Off) {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b ruleHits) int { return cmp.Compare(b.Count, a.Count) })
	if !c.Never && c.rulesPick == (rulesPick{Mode: "all"}) {
		var gone []ruleHits
		for _, h := range counts {
			gone = append(gone, h)
		}
		slices.SortFunc(gone, func(a, b ruleHits) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID)) })
		out = append(out, gone...)
	}
	if c.Output == "json" {
		return t.json(out)
	}
	if len(out) == 0 {
		fmt.Fprintln(t.out, "no rule")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tHITS\tLAST\tMODE\tWHERE")
	for _, h := range out {
		last, mode := "never", cmp.Or(h.Mode, "gone")
		if h.Count > 0 {
			last = h.Last.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", oneLine(h.ID), h.Count, last, mode, oneLine(h.Place))
	}
	return w.Flush()
}

// shippedSets are the names of the sets that we ship, for messages.
func shippedSets() string { return strings.Join(builtin.Sets(), ", ") }
