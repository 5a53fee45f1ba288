package greylist

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"garita/store"
)

// TestOneNetworkTakesNotAllRoom is Q-01: who floods the table from one network
// turns greylisting off for nobody else, and waits himself.
func TestOneNetworkTakesNotAllRoom(t *testing.T) {
	t.Parallel()
	k := newKit(t, Options{Newcomers: 3 * leastShare, AutoPass: 5})
	for i := range 10 * leastShare {
		// Each from another /24 of the /16, and none comes back.
		if a := k.ask(fmt.Sprintf("203.0.%d.%d", i%256, i/256), fmt.Sprintf("s%d@x.example", i), "b@our.example"); !a.Delay {
			t.Fatalf("%d passes: %+v", i, a)
		}
	}
	for i := range leastShare { // and as many of an IPv6 /40
		if a := k.ask(fmt.Sprintf("2001:db8:%x::1", i), "s@x.example", "b@our.example"); !a.Delay {
			t.Fatalf("%d passes: %+v", i, a)
		}
	}
	if a := k.ask("2001:db8:ffff::1", "t@x.example", "b@our.example"); !a.Delay || a.Reason != Newcomer {
		t.Errorf("%+v", a)
	}
	if a := k.ask("198.51.100.1", "a@y.example", "b@our.example"); !a.Delay || a.Reason != Newcomer {
		t.Errorf("another network: %+v", a)
	}
	if n, _ := k.store.List(t.Context(), tripletPrefix, "", 1<<20); len(n) > 2*leastShare+3 {
		t.Errorf("%d triplets", len(n))
	}
	if len(k.logs) > 0 {
		t.Error(k.logs)
	}
	// A large sender of that network is let in when it has waited.
	k.pass(6 * time.Minute)
	if a := k.ask("203.0.9.9", "new@z.example", "c@our.example"); a.Delay {
		t.Errorf("after the delay: %+v", a)
	}
	// What the network had is forgotten with time.
	k.pass(5 * 48 * time.Hour)
	if a := k.ask("203.0.9.9", "newer@z.example", "c@our.example"); !a.Delay || a.Reason != Newcomer {
		t.Errorf("days later: %+v", a)
	}
}

// TestSharesAreBounded: any number of networks is counted in the same room.
func TestSharesAreBounded(t *testing.T) {
	t.Parallel()
	table, err := New(Options{Store: store.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1)
	for i := range 300_000 {
		a := wide(netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}))
		table.parts.over(a, now)
		table.parts.add(a)
		now += 60
	}
	if wide(netip.Addr{}).IsValid() || table.parts.over(netip.Addr{}, now) {
		t.Error("no address")
	}
	table.parts.over(netip.Addr{}, 0) // a clock that goes back
}
