// Package rules is the check of the rules: those that the operator writes
// (docs/rules.md) and the sets that we ship. Package garita/rules reads and
// matches them; here they are read with the configuration, their tests are run,
// and what a rule says becomes a finding with its score, verdict, reply, edits
// and envelope edits.
//
// What a rule changes counts in mode enforce alone. The reply to the client
// ends in the rule's id, so that who was refused can be helped.
//
// It fails towards the sender trying again: an error and a panic are 451, and a
// message that makes the check panic twice is held. Rules that were given up
// over their time are a finding with the configured verdict, never "no match"
// (attacks ); the text of the message is in no error.
//
// # Limits
//
// Those of garita/rules. maxFindings of a message are told one by one;
// Config.AtOnce messages are looked at at once, and a quarter more of small
// ones, which never wait for large ones (attacks I10).
package rules

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/filters"
	"garita/mail"
	language "garita/rules"
	"garita/rules/pattern"
)

// Name of the check.
const Name = "rules"

// Prefix begins its symbols; the rule's id follows.
const Prefix = Name + "."

// SymbolOverBudget is the finding about rules that were given up. No rule can
// have it: an id has no underscore.
const SymbolOverBudget = "rules.over_budget"

const (
	// maxFindings of rules that only tell are told of one message.
	maxFindings = 100
	// maxNamed rules are named where many were given up.
	maxNamed = 10
	// maxText bounds hostile text in a finding.
	maxText = 160
	// timeout is for waiting and matching together.
	timeout = time.Minute
)

// Options are what the check needs beside its configuration.
type Options struct {
	Hits *Hits // nil: hits are not counted
	Gate *Gate // nil: the check has its own
	// Now is the clock by which rules expire; nil: the real one.
	Now func() time.Time
}

// Check is the check, apart from the list of checks.
type Check struct {
	set    *language.Set
	time   time.Duration
	hits   *Hits
	gate   *Gate
	lanes  *filters.Lanes
	doubt  *filters.Doubt
	poison filters.Poison
	now    func() time.Time
	// match is that of the set; tests make it fail.
	match func(context.Context, language.Input, *pattern.Budget, language.MatchOptions) language.Result
}

// New makes the check of rules that c.Read has read; with nil it reads them.
func New(c Config, s *Set, site filters.Site, o Options) (filters.Check, error) {
	if s == nil {
		var errs []error
		if s, errs, _ = c.Read(site.NextHops); len(errs) > 0 {
			return filters.Check{}, fmt.Errorf("rules: %w", errs[0])
		}
	}
	doubt, err := filters.NewDoubt(c.OverBudget)
	if err != nil {
		return filters.Check{}, fmt.Errorf("rules: over_budget = %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Gate == nil {
		o.Gate = c.NewGate()
	}
	k := &Check{
		set: s.set, time: c.MessageTime, hits: o.Hits, gate: o.Gate, lanes: filters.NewLanes(runtime.GOMAXPROCS(0)), doubt: doubt,
		poison: filters.Poison{Check: Name}, now: o.Now, match: s.set.Match,
	}
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{
		Name: Name, Impl: k, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError,
		IO: true, Cached: true, Timeout: timeout,
	}, nil
}

// CheckMessage looks for rules that hold of the message. At the second look,
// over what edits have left of it, hits are not counted again.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (res filters.Result, err error) {
	if len(k.set.Rules()) == 0 || tx.Message == nil {
		return filters.Result{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			res, err = k.poison.Crashed(tx.Message, p)
		}
	}()
	x, err := tx.Message.Index(ctx)
	if err != nil {
		return filters.Result{}, fmt.Errorf("rules: %w", err)
	}
	leave, err := k.lanes.Enter(ctx, tx.Message.Size())
	if err != nil {
		return filters.Result{}, fmt.Errorf("rules: %w", err)
	}
	defer leave()
	in := language.Input{Tx: tx, Index: x, Raw: x.Parts[0].Source.Data}
	r := k.match(ctx, in, pattern.NewBudget(k.time, k.now).Through(k.gate), language.MatchOptions{Now: k.now()})
	if err := ctx.Err(); err != nil {
		return filters.Result{}, fmt.Errorf("rules: %w", err)
	}
	return k.result(tx, r)
}

// result makes of hits what the engine knows.
func (k *Check) result(tx *mail.Transaction, r language.Result) (res filters.Result, err error) {
	more := 0
	for i := range r.Hits {
		h := &r.Hits[i]
		if k.hits != nil && !tx.Rewritten {
			k.hits.Note(h.Rule.ID)
		}
		f := finding(h)
		if f.Verdict == mail.Continue && f.Score == 0 && len(res.Findings) >= maxFindings && !changes(h.Rule) {
			more++
			continue
		}
		res.Findings = append(res.Findings, f)
		if h.Rule.Mode == mail.Enforce {
			k.changes(tx, h, &res)
		}
	}
	if more > 0 {
		res.Findings = append(res.Findings, mail.Finding{Symbol: Prefix + "more", Mode: mail.Observe, Detail: fmt.Sprintf("%d rules more hit", more)})
	}
	if len(r.GivenUp) == 0 {
		return res, nil
	}
	f := mail.Finding{Symbol: SymbolOverBudget, Mode: mail.Observe, Detail: givenUp(r.GivenUp), Rule: r.GivenUp[0].Place()}
	for _, rule := range r.GivenUp {
		if rule.Mode != mail.Observe {
			f.Mode = mail.Enforce
		}
	}
	if f.Mode == mail.Enforce {
		f.Verdict, f.Reply, err = k.doubt.About(tx.Message)
	}
	res.Findings = append(res.Findings, f)
	return res, err
}

// givenUp names the rules of which nobody knows whether they hold.
func givenUp(rules []*language.Rule) string {
	ids := make([]string, 0, maxNamed)
	for _, r := range rules[:min(len(rules), maxNamed)] {
		ids = append(ids, r.ID)
	}
	text := "given up over their time: " + strings.Join(ids, ", ")
	if n := len(rules) - maxNamed; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// changes tells a rule that does something to the message or its envelope.
func changes(r *language.Rule) bool {
	return slices.ContainsFunc(r.Actions, func(a language.Action) bool { return a.Kind >= language.Prepend })
}

// finding is what a hit says: where it holds, the rule's mode, score, verdict
// and reply.
func finding(h *language.Hit) mail.Finding {
	r := h.Rule
	f := mail.Finding{Symbol: Prefix + r.ID, Rule: r.Place(), Mode: r.Mode, Score: r.Score, Detail: detail(h), Where: where(h)}
	for _, a := range r.Actions {
		switch a.Kind {
		case language.Reject:
			f.Verdict, f.Reply = mail.Reject, answer(r, mail.Permanent(550, "7.1", "Refused by rule"))
		case language.Defer:
			f.Verdict, f.Reply = mail.Defer, answer(r, mail.Temporary(451, "7.1", "Put off by rule, try again later"))
		case language.Quarantine:
			f.Verdict = mail.Quarantine
		case language.Discard:
			f.Verdict, f.Final = mail.Discard, a.Final
		}
	}
	return f
}

// answer is the rule's reply with its id, which the sender can tell the
// postmaster.
func answer(r *language.Rule, reply mail.Reply) *mail.Reply {
	if r.Reply != nil && r.Reply.Permanent() == reply.Permanent() {
		reply = *r.Reply
	}
	reply.Text += " [" + r.ID + "]"
	return &reply
}

// detail says what was found, with the first place's text.
func detail(h *language.Hit) string {
	if len(h.Where) == 0 {
		return h.Rule.Description
	}
	w := h.Where[0]
	text := w.What
	if w.Excerpt != "" {
		text += ": " + strconv.QuoteToGraphic(w.Excerpt[:min(len(w.Excerpt), maxText)])
	}
	if n := len(h.Where) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// where is the first place.
func where(h *language.Hit) string {
	if len(h.Where) == 0 {
		return ""
	}
	w := h.Where[0]
	var parts []string
	if w.Part != "" {
		parts = append(parts, "part "+w.Part)
	}
	if w.Line > 0 {
		text := "line " + strconv.Itoa(w.Line)
		if w.Decoded {
			text += " decoded"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// changes takes over what a rule does to the message and its envelope.
func (k *Check) changes(tx *mail.Transaction, h *language.Hit, res *filters.Result) {
	header := tx.Message.HeaderEnd()
	for _, e := range h.Edits {
		// Fields of parts stand in the body.
		if e.At+e.Delete <= header {
			res.Edits = append(res.Edits, e)
		} else {
			res.Rewrite = append(res.Rewrite, e)
		}
	}
	for _, a := range h.Rule.Actions {
		e := mail.EnvelopeEdit{Rule: h.Rule.Place()}
		switch a.Kind {
		case language.Redirect:
			e.Kind = mail.EditRedirect
		case language.Bcc:
			e.Kind = mail.EditBCC
		case language.Route:
			e.Kind, e.Hop = mail.EditRoute, a.Text
		default:
			continue
		}
		if e.Kind != mail.EditRoute {
			to, rest, err := mail.ParseForward("<"+a.Text+">", false)
			if err != nil || rest != "" {
				continue // Parse has refused it
			}
			e.To.Path = to
		}
		if !slices.ContainsFunc(res.Envelope, func(o mail.EnvelopeEdit) bool {
			return o.Kind == mail.EditBCC && e.Kind == o.Kind && o.To.Equal(e.To.Path)
		}) {
			res.Envelope = append(res.Envelope, e)
		}
	}
}
