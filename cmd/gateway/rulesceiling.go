package main

import (
	"fmt"
	"slices"

	"garita/mail"
	"garita/rules"
)

// rulesCeiling is the most that a rule may do, and why it is less than what its
// own mode says: the configuration that garita init writes observes, and a rule
// that was just enabled and refuses nothing is what nobody expects.
func rulesCeiling(s *Settings) (mail.Mode, string) {
	own, ok := mail.ParseMode(s.Check.Rules.Mode)
	if !ok {
		own = mail.Enforce
	}
	switch {
	case own == mail.Off:
		return own, `check.rules.mode = "off": no rule is looked at`
	case s.Mode == mail.Observe.String():
		return mail.Observe, `mode = "observe" in the configuration: whatever its own mode is, a rule only says in the log what it would have done`
	}
	return own, fmt.Sprintf("check.rules.mode = %q: no rule does more than that", own)
}

// noteCeiling says it beside an answer about rules, of which some would do more.
func noteCeiling(t *terminal, s *Settings, modes ...mail.Mode) {
	most, why := rulesCeiling(s)
	if slices.ContainsFunc(modes, func(m mail.Mode) bool { return m < most }) {
		fmt.Fprintln(t.err, t.foldError("note: "+why))
	}
}

func modesOf(list []*rules.Rule) (out []mail.Mode) {
	for _, r := range list {
		out = append(out, r.Mode)
	}
	return out
}

// refusals are the operator's own rules that are to refuse mail.
func refusals(set *rules.Set) (ids []string) {
	if set == nil {
		return nil
	}
	for _, r := range set.Rules() {
		if r.Mode == mail.Enforce && !isShipped(r) && slices.ContainsFunc(r.Actions, func(a rules.Action) bool {
			return a.Kind == rules.Reject || a.Kind == rules.Defer || a.Kind == rules.Quarantine
		}) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
