package hold

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"garita/mail"
)

// TestRelease: as it would have been relayed, once, by however many
// transactions the next hop wants.
func TestRelease(t *testing.T) {
	for _, one := range []bool{false, true} {
		k := newKit(t, t.TempDir(), nil)
		id := k.must("one", "a@s.example", "b@our.example", "c@our.example")
		h := &hop{one: one}
		r, err := k.Release(ctx, id, Order{By: "ana"}, h.send)
		if err != nil || r.State != Released || len(r.Delivered) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		if want := "b@our.example: " + relayed("one") + "\nc@our.example: " + relayed("one"); h.text() != want {
			t.Errorf("got %q", h.text())
		}
		for range 2 {
			if _, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, ErrReleased) {
				t.Errorf("a second release: %v", err)
			}
			k = k.again(nil)
		}
		if e := k.list(Filter{State: Released}); len(e) != 1 || e[0].By != "ana" {
			t.Errorf("%+v", e)
		}
		if len(h.got) != 2 {
			t.Errorf("%d deliveries", len(h.got))
		}
	}
}

// TestReleaseAtOnce: two administrators at the same time.
func TestReleaseAtOnce(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("one", "a@s.example", "b@our.example")
	h := &hop{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Release(ctx, id, Order{}, h.send); err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrReleased) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(h.got) != 1 {
		t.Errorf("delivered %d times", len(h.got))
	}
}

// TestReleaseRefused: it stays held with the reason; who has it gets no second
// copy.
func TestReleaseRefused(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("one", "a@s.example", "b@our.example", "c@our.example", "d@our.example")
	h := &hop{fail: func([]mail.Recipient) *Attempt { return &Attempt{Reply: "451 4.4.1 down\x1b[2J"} }}
	r, err := k.Release(ctx, id, Order{}, h.send)
	if err != nil || r.State != Held || r.Unsure || !strings.Contains(k.list(Filter{})[0].Note, "451 4.4.1 down") {
		t.Fatalf("4xx: %+v %v", r, err)
	}
	h.one, h.fail = true, func(to []mail.Recipient) *Attempt {
		if to[0].Local == "c" {
			return &Attempt{Reply: "550 5.1.1 no", Refused: []string{"c@our.example: 550 5.1.1 no"}}
		}
		return nil
	}
	if r, err = k.Release(ctx, id, Order{}, h.send); err != nil || r.State != Held || len(r.Delivered) != 1 || len(r.Refused) != 1 {
		t.Fatalf("in the middle: %+v %v", r, err)
	}
	k = k.again(nil)
	h.fail = nil
	if r, err = k.Release(ctx, id, Order{}, h.send); err != nil || r.State != Released {
		t.Fatalf("%+v %v", r, err)
	}
	if got := len(h.got); got != 3 || strings.Count(h.text(), "b@our.example") != 1 {
		t.Errorf("%d deliveries: %s", got, h.text())
	}
}

// TestReleaseUnsure: the answer was lost, so nothing goes out again by itself
// (B-40).
func TestReleaseUnsure(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("one", "a@s.example", "b@our.example")
	h := &hop{fail: func([]mail.Recipient) *Attempt { return &Attempt{Unsure: true, Reply: "lost"} }}
	if r, err := k.Release(ctx, id, Order{}, h.send); err != nil || !r.Unsure || r.State != Held {
		t.Fatalf("%+v %v", r, err)
	}
	h.fail = nil
	k = k.again(nil)
	if _, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, ErrUnsure) || len(h.got) != 0 {
		t.Fatal(err)
	}
	if e := k.list(Filter{}); len(e) != 1 || !e[0].Unsure {
		t.Errorf("%+v", e)
	}
	if r, err := k.Release(ctx, id, Order{Again: true}, h.send); err != nil || r.State != Released || len(h.got) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestReleaseDisk: without a mark nothing is sent; a mark that fails afterwards
// is known here, and unsure after a restart.
func TestReleaseDisk(t *testing.T) {
	left := -1 // writes until the disk is full
	k := newKit(t, t.TempDir(), func(o *Options) {
		o.hook = func(s string) error {
			if s != "write" || left < 0 {
				return nil
			}
			if left == 0 {
				return syscall.ENOSPC
			}
			left--
			return nil
		}
	})
	id := k.must("one", "a@s.example", "b@our.example")
	h := &hop{}
	left = 0
	if _, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, syscall.ENOSPC) || len(h.got) != 0 {
		t.Fatalf("sent without a mark: %v", err)
	}
	left = 1
	if r, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, syscall.ENOSPC) || len(r.Delivered) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, ErrReleased) {
		t.Errorf("%v", err)
	}
	left = -1
	k = k.again(nil)
	if _, err := k.Release(ctx, id, Order{}, h.send); !errors.Is(err, ErrUnsure) || len(h.got) != 1 {
		t.Errorf("%v", err)
	}
	if err := k.Delete(id, "me"); err != nil || len(files(t, k.dir)) != 0 {
		t.Error(err)
	}
}

// TestReleaseTo sends a copy elsewhere; the message waits on for its own.
func TestReleaseTo(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("one", "a@s.example", "b@our.example")
	h := &hop{}
	r, err := k.Release(ctx, id, Order{By: "ana", To: &mail.Recipient{Path: pathOf("boss@our.example")}}, h.send)
	if err != nil || r.State != Held || h.text() != "boss@our.example: "+relayed("one") {
		t.Fatalf("%+v %v %s", r, err, h.text())
	}
	if e := k.list(Filter{})[0]; e.Note != "a copy went to boss@our.example" {
		t.Errorf("%+v", e)
	}
	if r, err := k.Release(ctx, id, Order{}, h.send); err != nil || r.State != Released || len(h.got) != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestDeleteFault: a file that cannot be removed is held on.
func TestDeleteFault(t *testing.T) {
	broken := false
	k := newKit(t, t.TempDir(), func(o *Options) {
		o.hook = func(s string) error {
			if broken && s == "remove" {
				return syscall.EROFS
			}
			return nil
		}
	})
	id := k.must("one", "a@s.example", "b@our.example")
	broken = true
	if err := k.Delete(id, "me"); !errors.Is(err, syscall.EROFS) {
		t.Fatal(err)
	}
	if got := k.ids(Filter{}); got != id || k.Stats().Messages != 1 {
		t.Errorf("%q", got)
	}
}
