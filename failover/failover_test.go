package failover

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// kit is a list of two servers with a clock of its own.
func kit(t *testing.T) (l *List, now *time.Time, said *[]string) {
	t.Helper()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	said = &[]string{}
	return New([]string{"a", "b"}, func() time.Time { return at }, func(text string, _ error) { *said = append(*said, text) }), &at, said
}

var errDown = errors.New("down \x1b[31m")

func TestSecondIsAskedWhenTheFirstFails(t *testing.T) {
	l, _, _ := kit(t)
	var asked []int
	err := l.Ask(t.Context(), func(_ context.Context, i int) error {
		asked = append(asked, i)
		if i == 0 {
			return errDown
		}
		return nil
	})
	if err != nil || len(asked) != 2 {
		t.Fatalf("asked %v, %v", asked, err)
	}
	s := l.States()
	if s[0].Failed != 1 || s[1].Failed != 0 || s[1].Asked != 1 || strings.ContainsRune(s[0].Last, 0x1b) {
		t.Errorf("%+v", s)
	}
}

func TestRestAndReturn(t *testing.T) {
	l, now, said := kit(t)
	down := func(context.Context, int) error { return errDown }
	for range TripAfter {
		if err := l.Ask(t.Context(), down); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
	}
	if err := l.Ask(t.Context(), func(context.Context, int) error { t.Error("asked at rest"); return nil }); !errors.Is(err, ErrResting) {
		t.Fatal(err)
	}
	if s := l.States(); s[0].Up || s[1].Up {
		t.Errorf("%+v", s)
	}
	*now = now.Add(RestFor)
	n := 0
	if err := l.Ask(t.Context(), func(context.Context, int) error { n++; return nil }); err != nil || n != 1 {
		t.Fatalf("%d asked, %v", n, err)
	}
	if len(*said) != 3 || !strings.Contains((*said)[2], "answers again") {
		t.Errorf("said %q", *said)
	}
}

// One message alone tries a server whose rest is over.
func TestOneGoesFirst(t *testing.T) {
	l, now, _ := kit(t)
	for range TripAfter {
		_ = l.Ask(t.Context(), func(context.Context, int) error { return errDown })
	}
	*now = now.Add(RestFor)
	_ = l.Ask(t.Context(), func(ctx context.Context, i int) error {
		if i == 0 {
			err := l.Ask(ctx, func(_ context.Context, j int) error {
				if j == 0 {
					t.Error("the one that is being tried was asked twice")
				}
				return errDown
			})
			return err
		}
		return nil
	})
}

// Who gives up says nothing about the server.
func TestCancelIsNoFailure(t *testing.T) {
	l, _, _ := kit(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Ask(ctx, func(ctx context.Context, _ int) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if s := l.States(); s[0].Failed != 0 || s[1].Asked != 0 {
		t.Errorf("%+v", s)
	}
}

// Each server has its share of the time.
func TestShare(t *testing.T) {
	l, _, _ := kit(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var ends []time.Duration
	_ = l.Ask(ctx, func(ctx context.Context, _ int) error {
		end, _ := ctx.Deadline()
		ends = append(ends, time.Until(end).Round(time.Minute))
		return errDown
	})
	if len(ends) != 2 || ends[0] != 30*time.Minute || ends[1] != time.Hour {
		t.Errorf("shares %v", ends)
	}
}
