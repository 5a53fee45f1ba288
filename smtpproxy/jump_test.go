package smtpproxy

import (
	"strings"
	"testing"
	"time"
)

// Who waits, and for how long, is told by the monotonic clock: a jump of the
// wall clock sheds nobody and makes no session immortal (attacks L-30). Alarms
// are bounded by it as well.
func TestPressureIsMonotonic(t *testing.T) {
	s := NewServer(ServerConfig{})
	if !strings.Contains(s.made.String(), "m=") {
		t.Errorf("the server was made at %v, which has no monotonic reading", s.made)
	}
	if _, yes := s.alarms.due("kind", time.Now()); !yes {
		t.Fatal("the first alarm is not due")
	}
	if at := s.alarms.last["kind"]; !strings.Contains(at.String(), "m=") {
		t.Errorf("the last alarm was at %v, which has no monotonic reading", at)
	}
}

// A clock that steps back silences no alarm for longer than they are apart.
func TestAlarmsAfterClockJumps(t *testing.T) {
	var a alarms
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(d time.Duration) bool {
		now = now.Add(d)
		_, yes := a.due("kind", now)
		return yes
	}
	if !step(0) || step(time.Second) || !step(alarmEvery) {
		t.Error("alarms are not bounded")
	}
	const year = 365 * 24 * time.Hour
	if !step(10 * year) {
		t.Error("a jump ahead silences alarms")
	}
	if !step(-10 * year) {
		t.Error("a jump back silences alarms for ten years")
	}
	if step(time.Second) {
		t.Error("after a jump back alarms are not bounded")
	}
}
