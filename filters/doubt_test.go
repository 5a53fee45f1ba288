package filters

import (
	"strconv"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

func spooled(t *testing.T, raw string) *message.Message {
	t.Helper()
	m, err := message.Spool(t.Context(), strings.NewReader(raw), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// TestDoubtsAreBounded: the oldest message is forgotten, the others are not.
func TestDoubtsAreBounded(t *testing.T) {
	d, err := NewDoubt(DeferThenQuarantine)
	if err != nil {
		t.Fatal(err)
	}
	about := func(n int) mail.Verdict {
		v, reply, err := d.About(spooled(t, "A: "+strconv.Itoa(n)+"\r\n\r\n"))
		if err != nil || (v == mail.Defer) != (reply != nil && reply.Temporary()) {
			t.Fatalf("%v %v %v", v, reply, err)
		}
		return v
	}
	for n := range maxDoubts + 1 {
		if v := about(n); v != mail.Defer {
			t.Fatalf("%d: %v", n, v)
		}
	}
	if v := about(1); v != mail.Quarantine {
		t.Errorf("the second: %v", v)
	}
	if v := about(0); v != mail.Defer {
		t.Errorf("the oldest: %v", v)
	}
	if len(d.seen.known) != maxDoubts || len(d.seen.order) != maxDoubts {
		t.Errorf("%d, %d", len(d.seen.known), len(d.seen.order))
	}
	if _, err := NewDoubt("maybe"); err == nil {
		t.Error("maybe is no word")
	}
}
