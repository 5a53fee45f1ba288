package smtpproxy

import (
	"runtime"
	"testing"

	"garita/mail"
)

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

// A stack that does not shrink doubles what idle clients hold of our memory.
func TestStackOfAnIdleSessionShrinksToTheSmallest(t *testing.T) {
	const sessions = 400
	for _, said := range []string{"", "EHLO client.example"} {
		k := newKit(t, "inbound", func(s *Settings, _ *Listener) {
			s.Policy = &fakePolicy{connect: func(*mail.Session) mail.Decision { deep(12); return mail.Decision{} }}
			s.Limits.MaxConnectionsPerClient, s.Limits.MaxConnections = sessions+10, 4*sessions
		})
		before := stacks()
		for range sessions {
			c := k.dial()
			c.want("220")
			if said != "" {
				c.do("250", said)
			}
		}
		eventually(t, "every session waits", func() bool {
			for _, s := range k.open() {
				if s.state.Load() != waiting {
					return false
				}
			}
			return true
		})
		if each := (stacks() - before) / sessions; each > smallStack {
			t.Errorf("after %q an idle session's stack takes %d octets: see what its frames hold while it waits", said, each)
		} else {
			t.Logf("after %q: %d octets", said, each)
		}
	}
}

// deep needs a kilobyte of stack for each turn, as real checks do.
//
//go:noinline
func deep(turns int) byte {
	var b [1024]byte
	if turns > 0 {
		b[turns] = deep(turns - 1)
	}
	return b[turns/2]
}

// stacks is the memory of all stacks after they have shrunk.
func stacks() int64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}
