package lint

import (
	"fmt"
	"slices"

	"garita/rules"
)

// compare looks for rules that hide, repeat or contradict another.
func (l *linter) compare(live []*one) {
	var bits []uint64
	var done []*one
	for _, o := range live {
		mine := subjects(o)
		for i, before := range done {
			// Where the one before holds whenever this does, it asks for no
			// subject that this does not ask for; or the other way round.
			if bits[i]&^mine != 0 && mine&^bits[i] != 0 {
				continue
			}
			if l.pairs--; l.pairs < 0 {
				return
			}
			if l.pair(before, o) {
				break
			}
		}
		done, bits = append(done, o), append(bits, mine)
	}
}

// subjects is what a rule asks for, one bit each.
func subjects(o *one) uint64 {
	var b uint64
	for _, list := range [][]term{o.match, o.any, o.none} {
		for _, t := range list {
			s := t.Subject
			if s == rules.AnyHeader {
				s = rules.Header // what a field contains, some field contains
			}
			if s == rules.SubjectText {
				s = rules.Header
			}
			b |= 1 << s
		}
	}
	return b
}

// pair compares a rule with one behind it, and tells whether enough was said.
func (l *linter) pair(first, second *one) bool {
	if !meet(first.Rule, second.Rule) {
		return false
	}
	hidden := lasts(first.Rule, second.Rule) && l.ruleImplies(second, first)
	if hidden && ends(first.Rule) {
		l.tell(second, "shadowed", fmt.Sprintf("it is never looked at: %s (%s) comes first, holds of every message that this would hit, and ends the rules",
			first.ID, first.Place()), "")
		return true
	}
	if ends(first.Rule) {
		return false
	}
	if hidden && lasts(second.Rule, first.Rule) && l.ruleImplies(first, second) {
		v, w := verdictOf(first.Rule), verdictOf(second.Rule)
		if v != w && v != 0 && w != 0 && first.Mode.String() == enforce && second.Mode.String() == enforce {
			l.tell(second, "contradiction", fmt.Sprintf("it hits the same messages as %s (%s) and says %s where that says %s: %s wins",
				first.ID, first.Place(), nameOf(w), nameOf(v), nameOf(max(v, w))), "")
			return true
		}
		if v != w || v == 0 && !slices.Equal(first.Actions, second.Actions) {
			return false
		}
		l.tell(second, "duplicate", fmt.Sprintf("it hits the same messages as %s (%s)", first.ID, first.Place()), "")
		return true
	}
	if hidden && l.drowned(second, first) {
		return true
	}
	if lasts(second.Rule, first.Rule) && l.ruleImplies(first, second) {
		l.drowned(first, second)
	}
	return false
}

// drowned tells of a rule whose verdict never counts, since a wider one has a
// stronger.
func (l *linter) drowned(narrow, wide *one) bool {
	v, w := verdictOf(narrow.Rule), verdictOf(wide.Rule)
	if narrow.Mode.String() != enforce || wide.Mode.String() != enforce || v == 0 || w <= v {
		return false
	}
	l.tell(narrow, "contradiction", fmt.Sprintf("its %s never counts: %s (%s) hits whatever it hits, too, and says %s",
		nameOf(v), wide.ID, wide.Place(), nameOf(w)), "")
	return true
}

// enforce is how the mode is written in which a rule's verdict counts.
const enforce = "enforce"

// meet tells whether a message can be for both.
func meet(a, b *rules.Rule) bool {
	return a.Direction == 0 || b.Direction == 0 || a.Direction == b.Direction
}

// lasts tells whether wide is looked at for every message and at every time
// that narrow is.
func lasts(wide, narrow *rules.Rule) bool {
	if wide.Direction != 0 && wide.Direction != narrow.Direction {
		return false
	}
	return wide.Expires.IsZero() || !narrow.Expires.IsZero() && !wide.Expires.Before(narrow.Expires)
}

// ends tells a rule after which, when it hits, no other is looked at.
func ends(r *rules.Rule) bool {
	if r.Stop && (r.Mode.String() == enforce || r.Mode.String() == "score") {
		return true
	}
	return r.Mode.String() == enforce && slices.ContainsFunc(r.Actions, func(a rules.Action) bool { return a.Kind == rules.Pass })
}

// verdictOf is the strength of a rule's verdict: of several the strongest
// counts (mail.Verdict). 0 is none.
func verdictOf(r *rules.Rule) int {
	for _, a := range r.Actions {
		switch a.Kind {
		case rules.Discard:
			if a.Final {
				return 3
			}
			return 1
		case rules.Quarantine:
			return 2
		case rules.Defer:
			return 4
		case rules.Reject:
			return 5
		}
	}
	return 0
}

func nameOf(strength int) string {
	return [...]string{"nothing", "discard", "quarantine", "discard final", "defer", "reject"}[strength]
}

// ruleImplies proves that b's conditions hold of every message that a's do.
func (l *linter) ruleImplies(a, b *one) bool {
	fileA, fileB := filesOf(a), filesOf(b)
	for _, t := range b.match {
		if !l.termImplied(a, fileA, t, fileB) {
			return false
		}
	}
	for _, t := range b.none {
		// It must be false: as in not, or turned around.
		if !l.falseWhen(a, fileA, t) {
			return false
		}
	}
	if len(b.any) == 0 {
		return len(b.match)+len(b.none) > 0
	}
	for _, t := range b.any {
		if l.trueWhen(a, fileA, t) {
			return true
		}
	}
	for _, s := range a.any {
		if !slices.ContainsFunc(b.any, func(t term) bool { return l.termThen(s, t) }) {
			return false
		}
	}
	return len(a.any) > 0
}

// files says what a rule's match asks of attachments.
type files struct{ some, onlyNot bool }

func filesOf(o *one) files {
	f := files{}
	positive := false
	for _, t := range o.match {
		if perFile(t.Subject) {
			f.some = true
			positive = positive || !t.not
		}
	}
	f.onlyNot = f.some && !positive
	return f
}

// termImplied proves one condition of b's match.
func (l *linter) termImplied(a *one, fa files, t term, fb files) bool {
	if !perFile(t.Subject) || fb.onlyNot {
		if t.not {
			return l.falseWhen(a, fa, term{t.Condition, false})
		}
		return l.trueWhen(a, fa, t)
	}
	// All about one attachment: the one that fits a's match.
	for _, s := range a.match {
		if perFile(s.Subject) && !fa.onlyNot && l.termThen(s, t) {
			return true
		}
	}
	return t.not && l.falseWhen(a, files{}, term{t.Condition, false})
}

// termThen proves t where s holds, both with their signs.
func (l *linter) termThen(s, t term) bool {
	switch {
	case s.not != t.not:
		return false
	case s.not:
		return l.implies(t.Condition, s.Condition)
	}
	return l.implies(s.Condition, t.Condition)
}

// trueWhen proves that t, on its own, holds wherever a does.
func (l *linter) trueWhen(a *one, fa files, t term) bool {
	if t.not {
		return l.falseWhen(a, fa, term{t.Condition, false})
	}
	for _, s := range a.match {
		if !s.not && l.implies(s.Condition, t.Condition) {
			return true
		}
	}
	return len(a.any) > 0 && !slices.ContainsFunc(a.any, func(s term) bool { return s.not || !l.implies(s.Condition, t.Condition) })
}

// falseWhen proves that t, on its own, does not hold wherever a does.
func (l *linter) falseWhen(a *one, fa files, t term) bool {
	if t.not {
		return l.trueWhen(a, fa, term{t.Condition, false})
	}
	for _, s := range a.none {
		if !s.not && l.implies(t.Condition, s.Condition) {
			return true
		}
	}
	for _, s := range a.match {
		if !s.not {
			continue
		}
		// "not attachment …" beside others is about one attachment.
		if perFile(s.Subject) && !fa.onlyNot {
			continue
		}
		if l.implies(t.Condition, s.Condition) {
			return true
		}
	}
	return false
}
