package main

import (
	"os"
	"testing"
)

// TestHijackGoal is the goal of the detector with a seed that is its own: a
// small run of what `go run ./bench -only hijack` does at length.
func TestHijackGoal(t *testing.T) {
	t.Parallel()
	p := usualPlan(20261122)
	p.watch, p.users, p.bots, p.kinds, p.attacks, p.guards = 60, 4, 7, normals(), bots()[:4], guards()[:1]
	r, err := p.play()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		r.write(os.Stdout)
	}
	for _, b := range r.Bots {
		if m := b.Median[0]; m < 0 || m > 30 {
			t.Errorf("%s: the median of messages that pass is %d", b.Kind, m)
		}
	}
	stops := 0.0
	for _, u := range r.Users {
		stops += u.Stops[0]
	}
	if mean := stops / float64(len(r.Users)); mean > 1 {
		t.Errorf("%.2f false stops in 1,000 days of a user: %q", mean, r.Why)
	}
}
