package main

import (
	"strings"
	"testing"
)

// TestHiddenByRules: who eases check.attachment is told which rules stand
// before it; the defaults are no reason for a word.
func TestHiddenByRules(t *testing.T) {
	said := func(change func(*Settings)) string {
		s := defaults()
		change(&s)
		l, errs, warnings := s.checks()
		if l == nil || len(errs) > 0 {
			t.Fatal(errs)
		}
		var b strings.Builder
		for _, w := range warnings {
			b.WriteString(w.Error() + "\n")
		}
		return b.String()
	}
	if out := said(func(*Settings) {}); strings.Contains(out, "attachment") {
		t.Errorf("the defaults: %s", out)
	}
	out := said(func(s *Settings) {
		s.Check.Attachment.Executable, s.Check.Attachment.Allow = "disarm", []string{"js", "py"}
	})
	for _, want := range []string{"check.attachment.executable: ", "ext-program, ext-com", "rule ext-script refuses .js"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
	out = said(func(s *Settings) {
		s.Check.Attachment.Executable, s.Check.Rules.Builtin = "disarm", nil
	})
	if strings.Contains(out, "attachment") {
		t.Errorf("without the sets: %s", out)
	}
	// Every rule that is named there is a shipped one.
	s := defaults()
	l, _, _ := s.checks()
	for _, o := range overlaps() {
		for _, id := range o.rules {
			if _, err := ruleBy(l.Rules(), id); err != nil {
				t.Error(err)
			}
		}
	}
}
