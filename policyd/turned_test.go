package policyd

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/maillog"
)

// TestScanDoesNotFillTheLog: those who may not ask are logged now and then, with
// how many were not.
func TestScanDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := maillog.Default()
	c.Output = "stderr"
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.example", Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	s := New(Options{Config: Default(), Log: log, Now: func() time.Time { return now }})
	for range 1000 {
		s.turnAway(netip.MustParseAddr("192.0.2.1"))
	}
	now = now.Add(tellEvery)
	s.turnAway(netip.MustParseAddr("192.0.2.2"))
	log.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "192.0.2.1") || !strings.Contains(lines[1], "999") {
		t.Errorf("%q", lines)
	}
}
