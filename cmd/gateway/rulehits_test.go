package main

import (
	"encoding/json"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
)

// TestRuleHits: what a rule hit is counted, told, and there after a restart.
func TestRuleHits(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	g := start(t, initialise(t, hop.Addr()))
	if code, out, errText := g.command("rules", "hits", "--never"); code != exitOK || !strings.Contains(out, "ext-script") {
		t.Fatalf("%d %s %s", code, out, errText)
	}
	for range 3 {
		s := dial(t, g.address("inbound"))
		s.envelope("b@example.org")
		if reply := s.say(550, "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; name=x.vbs\r\nContent-Disposition: attachment\r\n\r\nx\r\n."); !strings.Contains(reply, "[ext-script]") {
			t.Errorf("reply %q", reply)
		}
	}
	three := func() bool {
		_, out, _ := g.command("rules", "hits", "-o", "json")
		var all []ruleHits
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return false
		}
		return len(all) > 0 && all[0].ID == "ext-script" && all[0].Count == 3 && !all[0].Last.IsZero() && all[0].Mode == "enforce"
	}
	await(t, "three hits", three)
	if _, out, _ := g.command("rules", "show", "ext-script"); !strings.Contains(out, "hits      3, the last at ") {
		t.Errorf("show: %s", out)
	}
	g.signal(15)
	if code := g.exit(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	g = start(t, g.dir)
	await(t, "three hits after a restart", three)
}
