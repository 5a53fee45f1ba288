package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/filters/all"
)

// TestSuggest: a proposal that holds nobody at what he does in 99 of 100 of his
// hours and days, as a table that can be pasted.
func TestSuggest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	v := limitsHabits{Mode: "observe", Since: now.Add(-15 * 24 * time.Hour)}
	for i := range 40 {
		v.Users = append(v.Users, all.UserHabit{User: fmt.Sprintf("u%d@example.org", i), Hours: 50, Messages: 8, Recipients: 30, Days: 10, DayMessages: 70, DayRecipients: 200})
	}
	v.Users = append(v.Users, all.UserHabit{User: "news@example.org", Messages: 900, Recipients: 5000, DayMessages: 900, DayRecipients: 5000},
		all.UserHabit{User: `o"q\x@example.org`, Messages: 60, Recipients: 60, DayMessages: 60, DayRecipients: 60})
	v.Proposal = propose(v.Users)
	if got := strings.Join(v.Proposal.User, ", "); got != "10 messages / 1h, 40 recipients / 1h, 100 messages / 24h, 250 recipients / 24h" {
		t.Errorf("in general %s", got)
	}
	if len(v.Proposal.Groups) != 2 {
		t.Errorf("%+v", v.Proposal.Groups)
	}
	var b strings.Builder
	v.toml(&b, now)
	for _, want := range []string{"# watched for 15 days", "[check.limits.group.suggested-1]", `members = ["news@example.org"]`, `"1200 messages / 1h"`, `"80 messages / 1h"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, b.String())
		}
	}
	// It is configuration: it loads.
	file := filepath.Join(t.TempDir(), "config.toml")
	text := strings.Replace(b.String(), `o\"q\\x@example.org`, "odd@example.org", 1)
	if text == b.String() {
		t.Error("a name with quotes is not quoted")
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, problems := load(file, nil)
	for _, p := range problems {
		if strings.Contains(p.Key, "limits") || strings.Contains(p.Text, "syntax") {
			t.Errorf("%+v", p)
		}
	}
	if s != nil && len(s.Check.Limits.Group) != 2 {
		t.Errorf("%+v", s.Check.Limits.Group)
	}
	b.Reset()
	v.table(&b, now, 3)
	if out := b.String(); strings.Count(out, "@example.org") != 3 || !strings.Contains(out, "and 39 users more") || !strings.Contains(out, "that is enough") || !strings.Contains(out, "-o toml") {
		t.Errorf("%s", out)
	}
	b.Reset()
	empty := limitsHabits{Proposal: propose(nil)}
	empty.table(&b, now, 3)
	empty.toml(&b, now)
	if out := b.String(); strings.Count(out, "no user has sent anything yet") != 2 {
		t.Error(out)
	}
	for n, want := range map[int64]int64{0: 10, 8: 10, 9: 12, 12: 15, 80: 100, 81: 120, 960: 1200, 1_000_000: 1_500_000} {
		if got := roundUp(n); got != want {
			t.Errorf("%d becomes %d, want %d", n, got, want)
		}
	}
	// However many, an answer of the socket has room for them.
	var many []all.UserHabit
	for i := range 20_000 {
		many = append(many, all.UserHabit{User: fmt.Sprintf("user%d@example.org", i), Messages: int64(i)})
	}
	n := 0
	for _, g := range propose(many).Groups {
		n += len(g.Members)
	}
	if n > mostProposed {
		t.Errorf("%d members", n)
	}
}
