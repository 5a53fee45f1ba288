package rules

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	language "garita/rules"
	"garita/store"
)

// TestHitsSurvive: what was counted is there after a restart, and counting
// goes on from it.
func TestHitsSurvive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.db")
	open := func() store.Store {
		s, err := store.Open(store.Config{Path: file})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	h := NewHits(s, nil)
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	h.now = func() time.Time { return at }
	k := made(t, folder(t, "[[rule]]\nid = \"it\"\n"+bill), Options{Hits: h}).Impl.(*Check)
	for range 3 {
		if _, err := k.CheckMessage(t.Context(), letter(t, "Subject: factura\n\nx\n")); err != nil {
			t.Fatal(err)
		}
	}
	again := letter(t, "Subject: factura\n\nx\n")
	again.Rewritten = true // the second look counts nothing
	if _, err := k.CheckMessage(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	h.Note("other")
	h.Flush()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h.Note("late") // at the end of the process somebody still counts
	h.Flush()

	s = open()
	defer s.Close()
	h = NewHits(s, nil)
	h.Note("other")
	got := h.List()
	if len(got) != 2 || got[0].ID != "it" || got[0].Count != 3 || !got[0].Last.Equal(at) || got[1].ID != "other" || got[1].Count != 2 {
		t.Errorf("%+v", got)
	}
}

// TestHitsAreBounded: the one that has not hit for longest makes room.
func TestHitsAreBounded(t *testing.T) {
	h := NewHits(nil, nil)
	at := time.Unix(1_800_000_000, 0)
	h.now = func() time.Time { at = at.Add(time.Second); return at }
	for i := range language.MaxRules + 1 {
		h.Note("r" + strconv.Itoa(i))
	}
	if n := len(h.counts); n != language.MaxRules || h.counts["r0"] != nil || h.counts["r1"] == nil {
		t.Errorf("%d", n)
	}
}

// broken is a store that keeps nothing.
type broken struct {
	store.Store
	err error
}

func (b *broken) List(context.Context, string, string, int) ([]store.Item, error) { return nil, b.err }
func (b *broken) Keep(context.Context, string, []byte, time.Duration) error       { return b.err }

// TestHitsWithoutStore: a store that fails is told once, counting goes on, and
// what was not written is written when it is well again.
func TestHitsWithoutStore(t *testing.T) {
	b := &broken{err: errors.New("no disk")}
	told := 0
	h := NewHits(b, func(string, error) { told++ })
	h.every = time.Hour
	h.Note("it")
	h.Flush()
	h.Note("it")
	h.Flush()
	if told != 2 || h.List()[0].Count != 2 || !h.counts["it"].dirty { // reading, and writing once
		t.Errorf("told %d times, %+v", told, h.List())
	}
	b.err = nil
	h.Flush()
	if h.counts["it"].dirty {
		t.Error("not written")
	}
}
