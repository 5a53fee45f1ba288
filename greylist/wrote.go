package greylist

import (
	"context"
	"fmt"
)

// Wrote remembers that one of our users wrote to somebody: the answer is not
// delayed. It is for mail that was relayed. A day has a bound: a user whose
// machine was taken over must not fill the store with strangers.
func (t *Table) Wrote(_ context.Context, ours, stranger string) error {
	if t.resting() {
		return nil
	}
	ctx := t.budget()
	now := t.clock.now(ctx, &t.o)
	key := pairKey(ours, stranger)
	_, known, err := t.o.Store.Get(ctx, key)
	if err == nil && !known {
		if t.pairs.count(now) >= t.o.Pairs {
			return nil
		}
		t.pairs.add(now)
	}
	if err == nil {
		err = t.o.Store.Put(ctx, key, encode(now, now), t.o.PairAge)
	}
	if err != nil {
		t.fault()
		return fmt.Errorf("greylist: %w", err)
	}
	return nil
}

// Corresponds tells that our user has written to that sender.
func (t *Table) Corresponds(_ context.Context, ours, stranger string) (bool, error) {
	if stranger == "" || t.resting() {
		return false, nil
	}
	ctx := t.budget()
	raw, known, err := t.o.Store.Get(ctx, pairKey(ours, stranger))
	if err != nil {
		t.fault()
		return false, fmt.Errorf("greylist: %w", err)
	}
	_, at, ok := decode(raw)
	return known && ok && t.clock.now(ctx, &t.o)-at <= seconds(t.o.PairAge), nil
}

// pairKey keeps what comes back: a sender is compared as in a triplet.
func pairKey(ours, stranger string) string {
	return bounded(wrotePrefix, lower(ours)+"/"+lower(plainSender(stranger)))
}
