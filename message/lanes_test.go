package message

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestRoomLanes (attacks I10): large messages that fill their line stop
// neither small nor ordinary ones, and whoever gives up leaves the line whole.
func TestRoomLanes(t *testing.T) {
	r := NewRoom(64 << 20)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	all, err := r.enter(t.Context(), 1<<30) // all there is
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.enter(gone, mediumIndex+1); !errors.Is(err, ErrNoMemory) {
		t.Errorf("a large one: %v", err)
	}
	for _, need := range []int64{10, smallIndex, mediumIndex} {
		one, err := r.enter(gone, need)
		if err != nil {
			t.Errorf("%d octets wait behind a large one: %v", need, err)
			continue
		}
		one.leave()
	}
	all.leave()
	if one, err := r.enter(gone, r.large.size); err != nil {
		t.Error(err)
	} else {
		one.leave()
	}
}

// TestRoomStress: messages come, wait, give up, take more than they said and
// go at random; in the end all room is there again.
func TestRoomStress(t *testing.T) {
	r := NewRoom(64 << 20)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(3) == 0 {
					go cancel()
				}
				if one, err := r.enter(ctx, 1<<(10+rand.IntN(17))); err == nil {
					one.settle(1 << (10 + rand.IntN(17)))
					one.leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for _, l := range []*lane{&r.small, &r.medium, &r.large} {
		if l.free != l.size || len(l.waiting) != 0 {
			t.Errorf("%d of %d are free, %d wait", l.free, l.size, len(l.waiting))
		}
	}
}
