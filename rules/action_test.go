package rules

import (
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/place"
)

func TestActions(t *testing.T) {
	tests := []struct {
		action string
		want   Action
	}{
		{"reject", Action{Kind: Reject}}, {"defer", Action{Kind: Defer}}, {"discard", Action{Kind: Discard}},
		{" discard  final ", Action{Kind: Discard, Final: true}}, {"quarantine", Action{Kind: Quarantine}}, {"pass", Action{Kind: Pass}},
		{"warn", Action{Kind: Warn}}, {"info", Action{Kind: Info}}, {"score", Action{Kind: Score}},
		{`prepend "X-A: \"b\""`, Action{Kind: Prepend, Text: `X-A: "b"`}},
		{`replace header Subject "x"`, Action{Kind: ReplaceHeader, Name: "Subject", Text: "x"}},
		{`replace header "x"`, Action{Kind: ReplaceHeader, Text: "x"}},
		{`ignore header X-Mailer`, Action{Kind: IgnoreHeader, Name: "X-Mailer"}},
		{`ignore header`, Action{Kind: IgnoreHeader}},
		{`tag subject "[X] "`, Action{Kind: TagSubject, Text: "[X] "}},
		{`redirect "a@example.org"`, Action{Kind: Redirect, Text: "a@example.org"}},
		{`bcc "a@example.org"`, Action{Kind: Bcc, Text: "a@example.org"}},
		{`route "hop"`, Action{Kind: Route, Text: "hop"}},
	}
	for _, c := range tests {
		r, problems := parseRule("score = 1\nmatch = ['header X exists']\naction = "+place.String(c.action), ParseOptions{NextHops: []string{"hop"}})
		if len(problems) > 0 || len(r.Actions) != 1 || r.Actions[0] != c.want {
			t.Errorf("%s: %+v %v", c.action, r.Actions, problems)
		}
		if k := c.want.Kind; !strings.HasPrefix(strings.TrimSpace(c.action), k.String()) {
			t.Errorf("%s is called %s", c.action, k)
		}
	}
	for body, want := range map[string]ActionKind{"": Warn, "score = 3": Score, "score = 0": Score} {
		if r, problems := parseRule("match = ['size > 1MB']\n"+body, ParseOptions{}); len(problems) > 0 || len(r.Actions) != 1 || r.Actions[0].Kind != want {
			t.Errorf("%q: %+v %v", body, r.Actions, problems)
		}
	}
}

func TestReplies(t *testing.T) {
	for body, want := range map[string]mail.Reply{
		"action = 'reject'\nreply = 'no'":          mail.Permanent(550, "7.1", "no"),
		"action = 'reject'\nreply = '5.1.8 no'":    mail.Permanent(550, "1.8", "no"),
		"action = 'reject'\nreply = '554 no'":      mail.Permanent(554, "7.1", "no"),
		"action = 'reject'\nreply = '554 5.6.0 n'": mail.Permanent(554, "6.0", "n"),
		"action = 'defer'\nreply = 'later'":        mail.Temporary(451, "7.1", "later"),
		"action = 'defer'\nreply = '450 4.2.1 l'":  mail.Temporary(450, "2.1", "l"),
		"action = 'reject'\nreply = '1.2.3.4 is'":  mail.Permanent(550, "7.1", "1.2.3.4 is"),
		"action = 'reject'\nreply = '12 monkeys'":  mail.Permanent(550, "7.1", "12 monkeys"),
	} {
		r, problems := parseRule("match = ['size > 1MB']\n"+body, ParseOptions{})
		if len(problems) > 0 || r.Reply == nil || *r.Reply != want {
			t.Errorf("%s: %+v %v", body, r.Reply, problems)
		}
	}
}

func TestDates(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2027-01-31":                time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
		"2027-01-31T10:00:00":       time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC),
		"2027-01-31T10:00:00-03:00": time.Date(2027, 1, 31, 13, 0, 0, 0, time.UTC),
	} {
		r, problems := parseRule("match = ['size > 1MB']\nexpires = "+text, ParseOptions{})
		if len(problems) > 0 || !r.Expires.Equal(want) {
			t.Errorf("%s: %v %v", text, r.Expires, problems)
		}
	}
}
