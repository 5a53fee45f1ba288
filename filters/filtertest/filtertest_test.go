package filtertest

import (
	"context"
	"slices"
	"testing"

	"garita/filters"
	"garita/mail"
)

// loud finds something at two stages.
type loud struct{}

func (loud) CheckHelo(context.Context, *mail.Session) (filters.Result, error) {
	return filters.Found(mail.Finding{Symbol: "loud.helo"}), nil
}

func (loud) CheckMessage(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	if tx.Message.Size() != int64(len("Subject: x\r\n\r\nbody\r\n")) {
		return filters.Result{}, nil
	}
	return filters.Found(mail.Finding{Symbol: "loud.message", Verdict: mail.Quarantine}), nil
}

func TestCase(t *testing.T) {
	cases, err := Parse("# a comment\n\n== one\nclient 192.0.2.1\nhelo a\nfrom <a@b>\nrcpt <c@d>\nexpect x y\nanswer 550 no\nconfig a b\n\n== two\nhelo b\n\nSubject: x\n\nbody")
	if err != nil || len(cases) != 2 {
		t.Fatalf("%v, %v", cases, err)
	}
	c := cases[0]
	if c.Title != "one" || c.Session.Helo != "a" || c.From.Local != "a" || len(c.Rcpts) != 1 || c.Answer != "550 no" || c.Message != nil ||
		!slices.Equal(c.Expect, []string{"x y"}) || !slices.Equal(c.Config, []string{"a b"}) {
		t.Errorf("%+v", c)
	}
	check := filters.Check{Name: "loud", Impl: loud{}}
	if found, answer := c.play(t, check); !slices.Equal(found, []string{"loud.helo continue"}) || answer != "" {
		t.Errorf("%q, %q", found, answer)
	}
	if found, _ := cases[1].play(t, check); !slices.Equal(found, []string{"loud.helo continue", "loud.message quarantine"}) {
		t.Errorf("%q", found)
	}
	for _, bad := range []string{"client 192.0.2.1", "== x\nclint 192.0.2.1", "== x\nclient a", "== x\nfrom a@b", "== x\nrcpt <>", "== x\nrole king", "== x\ndns a A b"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
