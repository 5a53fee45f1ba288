package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"garita/hold"
	"garita/smtpproxy/relay/fakehop"
)

// TestHijackedAccount is Q-14 through the whole program: a user who writes to
// one stranger after the other is held with the reasons, his colleague is not,
// nothing drips out, and a person's word ends it.
func TestHijackedAccount(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	(&gateway{t: t, dir: dir}).edit("\n[check.hijack]\n", "\n[check.hijack]\nmode = \"enforce\"\nhold_at = 5.0\n")
	g := submission(t, dir)
	ana, bob := login(t, g.address("submission"), "ana@example.org"), login(t, g.address("submission"), "bob@example.org")
	n := 0
	post := func(s *smtp, from string) bool {
		n++
		s.say(250, "MAIL FROM:<"+from+"@example.org>")
		s.say(250, fmt.Sprintf("RCPT TO:<p%d@d%d.example>", n, n))
		s.say(354, "DATA")
		return strings.Contains(s.say(250, "Subject: hello\r\n\r\ntext\r\n."), "held")
	}
	for !post(ana, "ana") {
		if n > 100 {
			t.Fatal("a hundred letters to strangers pass")
		}
	}
	if post(bob, "bob") {
		t.Error("bob is held")
	}
	if out := g.must("user", "show", "ANA"); !strings.Contains(out, "does not send like himself") || !strings.Contains(out, "recipients new in an hour") {
		t.Errorf("show:\n%s", out)
	}
	if out := g.must("hold", "list", "--reason", "hijack", "--user", "ana@example.org"); !strings.Contains(out, "hijack.suspect") {
		t.Errorf("held:\n%s", out)
	}
	if out := g.must("alert", "list"); !strings.Contains(out, "hijack/ana@example.org") {
		t.Errorf("alerts:\n%s", out)
	}
	if out := g.must("user", "trust", "ana", "--for", "2h"); !strings.Contains(out, "ana@example.org is trusted until") {
		t.Errorf("trust:\n%s", out)
	}
	if post(ana, "ana") {
		t.Error("a user who is trusted is held")
	}
	var s userState
	if err := json.Unmarshal([]byte(g.must("user", "show", "ana", "-o", "json")), &s); err != nil || s.Habits == nil || s.Habits.Trust == nil || s.Habits.Case != nil {
		t.Errorf("%+v %v", s.Habits, err)
	}
	g.must("user", "suspend", "ana")
	g.must("user", "resume", "ana")
	if out := g.must("user", "show", "ana"); strings.Contains(out, "does not send like himself") {
		t.Errorf("resumed:\n%s", out)
	}
	for _, wrong := range []string{"-1h", "40d", "soon"} {
		if code, _, _ := g.command("user", "trust", "ana", "--for="+wrong); code == 0 {
			t.Errorf("--for %s is taken", wrong)
		}
	}
}

// TestOnlyLimitsDripOut: what the detector holds waits for a person, with a
// limit or without.
func TestOnlyLimitsDripOut(t *testing.T) {
	for symbols, want := range map[string]bool{"limits.user": true, "hijack.suspect": false, "limits.user hijack.suspect": false} {
		var l hold.Letter
		for s := range strings.FieldsSeq(symbols) {
			l.Reasons = append(l.Reasons, hold.Reason{Symbol: s, Verdict: "quarantine"})
		}
		if onlyLimits(&l) != want {
			t.Errorf("%s: drips out: %v", symbols, !want)
		}
	}
}
