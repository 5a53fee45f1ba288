package message

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestRoomLanes (attacks I10): large messages that fill their line stop
// neither small nor ordinary ones, and whoever gives up leaves the line whole.
func TestRoomLanes(t *testing.T) {
	r := NewRoom(64 << 20)
	ctx := context.Background()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	leave, err := r.enter(ctx, 1<<30) // all there is
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.enter(gone, 5<<20); !errors.Is(err, ErrNoMemory) {
		t.Errorf("a large one: %v", err)
	}
	for _, need := range []int64{10, smallIndex, mediumIndex} {
		l, err := r.enter(gone, need)
		if err != nil {
			t.Errorf("%d octets wait behind a large one: %v", need, err)
			continue
		}
		l()
	}
	leave()
	if l, err := r.enter(gone, 48<<20); err != nil {
		t.Error(err)
	} else {
		l()
	}
}

// TestRoomStress: messages come, wait, give up and go at random; in the end all
// room is there again.
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
				if leave, err := r.enter(ctx, 1<<(10+rand.IntN(17))); err == nil {
					leave()
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

// TestIndexTakesItsRoom (attacks E-76): a message that decodes to many times its
// size has so much room, and the same index as without any bound.
func TestIndexTakesItsRoom(t *testing.T) {
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("some = text\r\n"), 20_000))
	raw := crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: quoted-printable\n\nQQ==\n" +
		strings.Repeat(text[:len(text)/4]+"=\n!!QUJD-_\n", 4))
	want := ReadIndex(raw, DefaultIndexLimits())
	room := NewRoom(64 << 20)
	m := ownMessage(t, raw, Limits{Memory: 1 << 20, Index: IndexOptions{Limits: DefaultIndexLimits(), Room: room}})
	x, err := m.Index(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got, all := x.describe()+x.defects(), want.describe()+want.defects(); got != all {
		t.Errorf("%s\nwithout a bound %s", got, all)
	}
	total := int64(len(raw))
	for _, b := range x.Parts[0].Bodies() {
		total += int64(len(b.Data))
	}
	taken := room.medium.size - room.medium.free + room.large.size - room.large.free
	if total < 4*int64(len(raw)) || taken < total {
		t.Errorf("%d octets of %d in room for %d", total, len(raw), taken)
	}
	m.Release()
	if room.medium.free != room.medium.size || room.large.free != room.large.size {
		t.Error("room is lost")
	}
	// A small room is all taken, and not waited for for ever.
	m = ownMessage(t, raw, Limits{Memory: 1 << 20, Index: IndexOptions{Limits: DefaultIndexLimits(), Room: NewRoom(1 << 20)}})
	defer m.Release()
	if _, err := m.Index(context.Background()); err != nil {
		t.Error(err)
	}
}
