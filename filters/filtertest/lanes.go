package filtertest

import (
	"context"
	"errors"
	"testing"

	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// MessageCheck is a check of messages.
type MessageCheck interface {
	CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error)
}

// LargeBesideSmall tests a check that works behind lanes, of which there must
// be one: large messages wait for each other, small ones for none of them, and
// one that waits too long is put off (attack I10). Either message must have
// one finding.
func LargeBesideSmall(t *testing.T, k MessageCheck, lanes *filters.Lanes, large, small *mail.Transaction) {
	t.Helper()
	leave, err := lanes.Wait(t.Context(), large.Message.Size())
	if err != nil {
		t.Fatal(err)
	}
	if res, err := k.CheckMessage(resolver.FromCache(t.Context()), small); err != nil || len(res.Findings) != 1 {
		t.Errorf("small: %+v %v", res, err)
	}
	if _, err := k.CheckMessage(resolver.FromCache(t.Context()), large); !errors.Is(err, filters.ErrWouldWait) {
		t.Errorf("large at once: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.CheckMessage(ctx, large); !errors.Is(err, filters.ErrBusy) {
		t.Errorf("large: %v", err)
	}
	leave()
	if res, err := k.CheckMessage(t.Context(), large); err != nil || len(res.Findings) != 1 {
		t.Errorf("large: %+v %v", res, err)
	}
}
