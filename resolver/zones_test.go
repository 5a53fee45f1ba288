package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestSlowZone: a domain whose servers take their time has not all questions
// to itself, on their way or waiting, and others are asked beside it.
func TestSlowZone(t *testing.T) {
	good := zone(t, "a.good.example. 600 IN A 192.0.2.1")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if !strings.HasSuffix(q.Question[0].Name, ".slow.example.") {
			good(w, q)
		}
	})
	d := start(t, func(o *Options) {
		o.MaxInFlight, o.Timeout, o.Budget, o.BreakAfter = 8, 30*time.Second, time.Minute, 1000
	}, f.addr)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 { // nobody waits for them, and they go on
		_, _ = d.A(gone, fmt.Sprintf("n%d.slow.example", i))
	}
	if n := d.waiting.Load(); n > waitFactor*8 {
		t.Errorf("%d wait", n)
	}
	if d.Stats().Failures.Busy == 0 {
		t.Error("none was turned away")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if a, err := d.A(ctx, "a.good.example"); err != nil || len(a) != 1 {
		t.Errorf("%v, %v", a, err)
	}
	if n := d.Stats().InFlight; n > 2 {
		t.Errorf("%d questions of one zone on their way", n)
	}
	if _, err := d.A(gone, "more.slow.example"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	d.Close()
	if n := len(d.zones.set); n != 0 {
		t.Errorf("%d zones are left", n)
	}
}

func TestZoneOf(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "org": "org", "example.org": "example.org", "a.b.example.org": "example.org",
		"a.example.com.mx": "example.com.mx", "com.mx": "com.mx", "x.unam.mx": "unam.mx", "a.b.gob.mx": "b.gob.mx",
		"1.2.0.192.zen.spamhaus.org": "spamhaus.org", "7.2.0.192.in-addr.arpa": "0.192.in-addr.arpa",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := zoneOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
