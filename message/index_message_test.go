package message

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
)

// ownMessage gives a message that the test itself releases.
func ownMessage(t *testing.T, raw []byte, l Limits) *Message {
	t.Helper()
	m, err := Spool(context.Background(), bytes.NewReader(raw), l)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMessageIndex: the index is made once, from memory or from a file, dropped
// with the message, and usable by who still holds it.
func TestMessageIndex(t *testing.T) {
	raw := crlf(multi("Content-Type: multipart/mixed; boundary=A\n", "A"))
	for _, l := range []Limits{{}, {Memory: 1, Dir: t.TempDir()}} {
		m := ownMessage(t, raw, l)
		ctx := context.Background()
		var wait sync.WaitGroup
		got := make([]*Index, 4)
		for i := range got {
			wait.Add(1)
			go func() {
				defer wait.Done()
				x, err := m.Index(ctx)
				if err != nil {
					t.Error(err)
				}
				got[i] = x
				for _, p := range x.Parts {
					p.Bodies()
				}
			}()
		}
		wait.Wait()
		for _, x := range got {
			if x != got[0] {
				t.Error("made twice")
			}
		}
		m.DropIndex()
		if x, err := m.Index(ctx); err != nil || x == got[0] {
			t.Error("not dropped", err)
		}
		m.Release()
		checkIndex(t, raw, DefaultIndexLimits(), got[0])
		if !got[0].sees(marker) {
			t.Error("the index changed after the message ended")
		}
	}
}

// TestMessageIndexRoom: no room is an error in time, and room comes back.
func TestMessageIndexRoom(t *testing.T) {
	raw := crlf(multi("Content-Type: multipart/mixed; boundary=A\n", "A"))
	room := NewRoom(int64(len(raw)) * smallShare * 2)
	opt := IndexOptions{Limits: DefaultIndexLimits(), Room: room}
	a, b := ownMessage(t, raw, Limits{Index: opt}), ownMessage(t, raw, Limits{Index: opt})
	defer b.Release()
	if _, err := a.Index(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Index(ctx); !errors.Is(err, ErrNoMemory) {
		t.Fatal(err)
	}
	a.Release()
	if _, err := b.Index(ctx); err != nil {
		t.Fatal(err)
	}
}

// I10: a message whose reading panics, which its check survives, gives the room
// back: others still find it.
func TestMessageIndexPanics(t *testing.T) {
	raw := crlf(multi("Content-Type: multipart/mixed; boundary=A\n", "A"))
	room := NewRoom(int64(len(raw)) * smallShare * 2)
	opt := IndexOptions{Limits: DefaultIndexLimits(), Room: room}
	good := ownMessage(t, raw, Limits{Index: opt})
	defer good.Release()
	opt.read = func([]byte, IndexLimits) *Index { panic("a fault") }
	bad := ownMessage(t, raw, Limits{Index: opt})
	defer bad.Release()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		bad.Index(context.Background())
	}()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := good.Index(ctx); err != nil {
		t.Fatalf("the room is gone: %v", err)
	}
}
