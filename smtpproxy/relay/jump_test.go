package relay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// The ends of what a next hop remembers have a monotonic reading: a clock that
// is set back makes neither a dead server nor an unknown recipient immortal
// (attacks L-30).
func TestHealthIsMonotonic(t *testing.T) {
	h, _ := hop(t, testConfig("smtp://"+dead(t)))
	h.hosts[0].failed(h.now(), &fault{err: errors.New("dead")})
	h.unknown.add(mail.Path{Local: "b", Domain: "our.example"}, mail.Permanent(550, "1.1", "unknown"))
	if at := h.hosts[0].until; !strings.Contains(at.String(), "m=") {
		t.Errorf("a server's rest, %v, has no monotonic reading", at)
	}
	if len(h.unknown.set) != 1 {
		t.Fatalf("%d unknown recipients", len(h.unknown.set))
	}
	for key, e := range h.unknown.set {
		if !strings.Contains(e.until.String(), "m=") {
			t.Errorf("unknown recipient %s: %v has no monotonic reading", key, e.until)
		}
	}
}

// A jump ahead ends what would have ended: the recipient is asked for again,
// and the server is tried again in the background and taken when it answers.
// Jumps in either direction crash nothing and stop no mail.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{10 * year, -10 * year} {
		c := newClock()
		first, second := start(t, fakehop.Config{}), start(t, fakehop.Config{})
		cfg := testConfig(first.URL())
		cfg.FallbackURLs = []string{second.URL()}
		h, _ := hop(t, cfg, func(o *Options) { o.Now = c.now })
		h.unknown.now = c.now
		h.hosts[0].failed(c.now(), &fault{err: errors.New("dead")})
		b := mail.Path{Local: "b", Domain: "our.example"}
		h.unknown.add(b, mail.Permanent(550, "1.1", "unknown"))
		c.pass(jump)
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
			t.Errorf("%v: %+v", jump, o)
		}
		if _, known := h.unknown.get(b); jump > 0 && known {
			t.Errorf("%v: the recipient is unknown for ever", jump)
		}
		c.pass(-jump)
		c.pass(time.Hour)
		if _, known := h.unknown.get(b); known {
			t.Errorf("%v and back: the recipient is unknown for ever", jump)
		}
		h.revive()
		eventually(t, "the first server is not taken again", func() bool {
			if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
				t.Errorf("%v: %+v", jump, o)
			}
			return len(first.Accepted()) > 0
		})
	}
}
