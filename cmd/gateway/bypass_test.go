package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/maillog"
	"garita/smtpproxy/relay/fakehop"
)

// TestBypass: while it lasts, checks refuse nothing and relay permission
// holds; its end gives them their say back.
func TestBypass(t *testing.T) {
	dir := initialise(t, startHop(t, fakehop.Config{}).Addr())
	g := &gateway{t: t, dir: dir}
	g.edit("[check.access]", "[check.access]\nsenders = [\"blocked.example reject\"]")
	g = start(t, dir)
	attempt := func(code int, to string) {
		t.Helper()
		s := dial(t, g.address("inbound"))
		s.say(250, "EHLO client.example")
		s.say(250, "MAIL FROM:<x@blocked.example>")
		s.say(code, "RCPT TO:<"+to+">")
		s.say(221, "QUIT")
	}
	attempt(554, "ana@example.org")
	if code, out, text := g.command("bypass", "--for", "1h", "--reason", "false alarms"); code != 0 || !strings.Contains(out, "observed only until") {
		t.Fatalf("%d %s %s", code, out, text)
	}
	attempt(250, "ana@example.org")
	attempt(554, "ana@elsewhere.example")
	if st := g.status(); !st.Bypass.Active || st.Bypass.Reason != "false alarms" {
		t.Errorf("status: %+v", st.Bypass)
	}
	if _, out, _ := g.command("status"); !strings.Contains(out, "BYPASS until") {
		t.Errorf("status says %s", out)
	}
	if code, _, text := g.command("health", "--strict"); code == 0 || !strings.Contains(text, "bypass") {
		t.Errorf("health --strict: %d %s", code, text)
	}
	g.awaitLog(bypassText)
	if code, out, _ := g.command("bypass", "--off"); code != 0 || !strings.Contains(out, "checks decide") {
		t.Errorf("%d %s", code, out)
	}
	attempt(554, "ana@example.org")
	for _, args := range [][]string{{"bypass"}, {"bypass", "--for", "0s"}, {"bypass", "--for", "25h"}, {"bypass", "--for", "1h", "--off"}} {
		if code, _, _ := g.command(args...); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}

// TestBypassEnds: it ends by the clock, is told of every ten minutes, and once
// when it is over.
func TestBypassEnds(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	b := bypass{now: func() time.Time { return now }}
	file := filepath.Join(t.TempDir(), "log")
	c := maillog.Default()
	c.Output = file
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	lines := func() int {
		log.Flush()
		raw, _ := os.ReadFile(file)
		return bytes.Count(raw, []byte("\n"))
	}
	b.set(now.Add(25*time.Minute), "")
	said := []int{}
	for i := range 30 {
		before := lines()
		b.remind(log)
		if lines() > before {
			said = append(said, i)
		}
		now = now.Add(time.Minute)
	}
	raw, _ := json.Marshal(said)
	if string(raw) != "[10,20,25]" {
		t.Errorf("said at the minutes %s", raw)
	}
	if b.state().Active {
		t.Error("it has not ended")
	}
	// A clock that goes back does not bring it to life again.
	now = now.Add(-time.Hour)
	if b.state().Active {
		t.Error("it is active again")
	}
}
