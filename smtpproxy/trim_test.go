package smtpproxy

import "testing"

func TestTrimmerArmsOnce(t *testing.T) {
	var tr trimmer
	for range trimAfter - 1 {
		tr.note()
	}
	if tr.armed.Load() {
		t.Error("too early")
	}
	tr.note()
	tr.note()
	if !tr.armed.Load() || tr.opened.Load() != trimAfter+1 {
		t.Errorf("armed %v, opened %d", tr.armed.Load(), tr.opened.Load())
	}
}

func TestTrimmerHeedsWhoIsThere(t *testing.T) {
	open := 0
	tr := trimmer{open: func() int { return open }}
	if tr.due() {
		t.Error("sessions that have gone hold nothing")
	}
	if open = trimAfter; !tr.due() {
		t.Error("many sessions are open")
	}
}
