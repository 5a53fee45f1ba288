package access

import (
	"net/netip"
	"testing"
	"time"

	"garita/filters"
	"garita/mail"
)

// An entry ends at a date, so the wall clock decides, now and not at the start:
// one that was read while the clock ran ahead counts when it has been set
// right, one that is set back counts until its date comes again, and a clock
// at the beginning of time crashes nothing (attacks L-30).
func TestExpiryAfterClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) // the day that until= names counts to its end
	for _, start := range []time.Time{end.Add(-time.Hour), end.Add(10 * year), end.Add(-30 * year), {}, time.Unix(0, 0)} {
		now := start
		c := Default()
		c.Clients = []string{"192.0.2.7 reject until=2026-12-31", "192.0.2.0/24 defer", "198.51.100.1 reject"}
		check, err := NewAt(c, func() time.Time { return now })
		if err != nil {
			t.Fatalf("read at %v: %v", start, err)
		}
		verdict := func(ip string) mail.Verdict {
			t.Helper()
			s := &mail.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(ip), 25), Role: mail.Inbound}
			r, err := check.Impl.(filters.ConnectChecker).CheckConnect(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			v := mail.Continue
			for _, f := range r.Findings {
				v = max(v, f.Verdict)
			}
			return v
		}
		for _, at := range []time.Time{end.Add(-time.Second), end, end.Add(-10 * year), end.Add(10 * year), {}, end.Add(-time.Second)} {
			now = at
			want := mail.Defer // the network's, which never ends
			if at.Before(end) {
				want = mail.Reject
			}
			if got := verdict("192.0.2.7"); got != want {
				t.Errorf("read at %v, asked at %v: %v, want %v", start, at, got, want)
			}
			if got := verdict("198.51.100.1"); got != mail.Reject {
				t.Errorf("an entry without an end at %v: %v", at, got)
			}
		}
	}
}
