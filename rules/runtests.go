package rules

import (
	"context"
	"time"

	"garita/mail"
	"garita/message"
	"garita/printable"
	"garita/rules/pattern"
)

// testBudget is the time that the backtracking patterns of one test may take.
const testBudget = 2 * time.Second

const outOfTime = "there was no time for the tests of this rule and those behind it"

// RunTests runs the tests of rules, each against its own rule alone, whatever
// its mode, direction and date. The problems are those that came out otherwise.
// limits are those of the message index.
func RunTests(ctx context.Context, s *Set, limits message.IndexLimits) []Problem {
	var problems []Problem
	for _, r := range s.Rules() {
		if len(r.Tests) == 0 {
			continue
		}
		if ctx.Err() != nil {
			return append(problems, Problem{File: printable.Line(r.File), Line: r.Line, Rule: r.ID,
				Text: outOfTime})
		}
		problems = append(problems, runRule(ctx, r, limits)...)
	}
	return problems
}

// runRule runs the tests of one rule.
func runRule(ctx context.Context, r *Rule, limits message.IndexLimits) (problems []Problem) {
	alone := *r
	alone.Mode, alone.Direction, alone.Expires = mail.Enforce, 0, time.Time{}
	set, wrong := Compile([]*File{{Name: r.File, Rules: []*Rule{&alone}}})
	for _, p := range wrong {
		if !p.Warning {
			return []Problem{p}
		}
	}
	for i := range r.Tests {
		t := &r.Tests[i]
		tx, raw := t.Build()
		in := Input{Tx: tx, Index: message.ReadIndex(raw, limits), Raw: raw}
		got := set.Match(ctx, in, pattern.NewBudget(testBudget, time.Now), MatchOptions{All: true})
		p := Problem{File: printable.Line(r.File), Line: t.Line, Rule: r.ID}
		switch hit := len(got.Hits) > 0; {
		case ctx.Err() != nil:
			p.Line, p.Text = r.Line, outOfTime
			return append(problems, p)
		case len(got.GivenUp) > 0:
			p.Text = "the test was given up: a pattern takes too long"
		case hit && t.Miss:
			p.Text, p.Suggestion = "the rule should not hit this and does", "mend the rule, or write hit = true"
		case !hit && !t.Miss:
			p.Text, p.Suggestion = "the rule should hit this and does not", "mend the rule, or write hit = false"
		default:
			continue
		}
		problems = append(problems, p)
	}
	return problems
}
