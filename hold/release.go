package hold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"garita/mail"
)

// Attempt is what one transaction with a next hop came to.
type Attempt struct {
	// Relayed: the next hop's own 250 was read, and Took have it.
	Relayed bool
	// Unsure: it had all of the message and its answer was lost.
	Unsure  bool
	Took    []mail.Recipient
	Refused []string // "address: reply" of those that it does not take
	// Left go in a transaction of their own.
	Left []mail.Recipient
	// Reply is what the next hop said at last, or why it could not be asked.
	Reply   string
	NextHop string
}

// Sender offers a message to a next hop in one transaction.
type Sender func(ctx context.Context, tx *mail.Transaction, to []mail.Recipient, m Body) Attempt

// Order is who wants a message released, and how.
type Order struct {
	By string
	// Again releases one that the next hop may have already, and one that was
	// released before.
	Again bool
	// To sends a copy to this address instead; the message stays held.
	To *mail.Recipient
}

// Report is what a release came to.
type Report struct {
	ID        string   `json:"id"`
	State     string   `json:"state"`
	Unsure    bool     `json:"unsure,omitempty"`
	Delivered []string `json:"delivered"` // now
	Refused   []string `json:"refused,omitempty"`
	Reply     string   `json:"reply,omitempty"`
	NextHop   string   `json:"next_hop,omitempty"`
}

// take makes sure that one goroutine alone is at work on a message.
func (k *Keeper) take(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.working[id] {
		return ErrBusy
	}
	k.working[id] = true
	return nil
}

func (k *Keeper) leave(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.working, id)
}

// Release delivers a held message through send, without another check. Its
// order makes a kill at any instant harmless:
//
//  1. the state "releasing" is on the disk before the next hop is asked;
//  2. after each 250, the recipients that have it are on the disk before the
//     next transaction begins;
//  3. "released" is written last, and the file stays for keep_for.
//
// A message that is found "releasing" at a start may have been delivered in
// the instant between the next hop's 250 and the mark: it is unsure, and never
// goes out again by itself. One that was refused, for now or for good, stays
// held with the reply as its note; recipients that have it get no second copy.
func (k *Keeper) Release(ctx context.Context, id string, o Order, send Sender) (Report, error) {
	r := Report{ID: id, Delivered: []string{}}
	if err := k.take(id); err != nil {
		return r, err
	}
	defer k.leave(id)
	day, err := k.disk.find(id)
	if err != nil {
		return r, err
	}
	f, err := k.disk.open(day, id)
	if err != nil {
		return r, err
	}
	defer f.Close()
	// A changed octet would be delivered as if it had been judged.
	if err := f.Verify(); err != nil {
		return r, err
	}
	s := k.stateOf(day, id)
	if o.To != nil {
		return k.sendCopy(ctx, f, day, s, o, send)
	}
	switch {
	case s.Unsure && !o.Again:
		return r, ErrUnsure
	case s.State == Released && !o.Again:
		return r, ErrReleased
	case s.State == Released:
		s.Done = nil
	}
	left := k.undone(f, s)
	s = State{State: releasing, At: k.now(), By: o.By, Done: s.Done}
	if err := k.mark(day, id, s); err != nil {
		return r, fmt.Errorf("hold: nothing was sent: %w", err)
	}
	tx := f.Transaction()
	var a Attempt
	for len(left) > 0 {
		a = send(ctx, tx, left, f.Relayed())
		r.Reply, r.NextHop = a.Reply, a.NextHop
		r.Refused = append(r.Refused, a.Refused...)
		if !a.Relayed {
			break
		}
		for _, to := range a.Took {
			s.Done = append(s.Done, octets(to.Key()))
			r.Delivered = append(r.Delivered, to.String())
		}
		left = a.Left
		if len(left) == 0 {
			break
		}
		if err := k.mark(day, id, s); err != nil {
			a.Reply = "the disk does not take what was done: " + err.Error()
			break
		}
	}
	s.At, s.Unsure = k.now(), a.Unsure
	if s.State = Held; len(k.undone(f, s)) == 0 {
		s.State = Released
	} else if s.Note = octets(cutText(a.Reply, longestTitle)); len(r.Refused) > 0 {
		s.Note = octets(cutText(r.Refused[0], longestTitle))
	}
	r.State, r.Unsure = s.State, s.Unsure
	err = k.mark(day, id, s)
	k.tell(&f.Letter, r, o.By)
	if err != nil {
		// It is known here until we end; after that the disk says "releasing",
		// which is unsure.
		k.mu.Lock()
		k.marks[id] = s
		k.mu.Unlock()
		k.indexed(k.index().put(&f.Letter, s))
		return r, fmt.Errorf("hold: it was sent as reported, and the disk does not take it: %w", err)
	}
	k.indexed(k.index().put(&f.Letter, s))
	return r, nil
}

// undone are the recipients that do not have it yet.
func (k *Keeper) undone(f *File, s State) (out []mail.Recipient) {
	for _, to := range f.To {
		if !slices.Contains(s.Done, octets(to.key())) {
			out = append(out, to.toMail())
		}
	}
	return out
}

// mark writes a state, and forgets one that the disk did not take before.
func (k *Keeper) mark(day, id string, s State) error {
	err := k.disk.mark(day, id, s)
	if err == nil {
		k.mu.Lock()
		delete(k.marks, id)
		k.mu.Unlock()
	}
	return err
}

// sendCopy sends it to somebody else. Nothing of its state changes but the
// note: those whom it was for do not have it.
func (k *Keeper) sendCopy(ctx context.Context, f *File, day string, s State, o Order, send Sender) (Report, error) {
	r := Report{ID: f.ID, State: s.State, Unsure: s.Unsure, Delivered: []string{}}
	tx := f.Transaction()
	tx.ForwardPaths = []mail.Recipient{*o.To}
	a := send(ctx, tx, tx.ForwardPaths, f.Relayed())
	r.Reply, r.NextHop, r.Refused = a.Reply, a.NextHop, a.Refused
	if !a.Relayed {
		k.tell(&f.Letter, r, o.By)
		return r, nil
	}
	r.Delivered = append(r.Delivered, o.To.String())
	k.tell(&f.Letter, r, o.By)
	s.At, s.By, s.Note = k.now(), o.By, octets(cutText("a copy went to "+o.To.String(), longestTitle))
	err := k.mark(day, f.ID, s)
	k.indexed(k.index().put(&f.Letter, s))
	if err != nil {
		return r, fmt.Errorf("hold: it was sent, and the disk does not take the note: %w", err)
	}
	return r, nil
}

// tell writes what a release came to into the log.
func (k *Keeper) tell(l *Letter, r Report, by string) {
	for _, to := range r.Delivered {
		k.log.Info("hold", "released", slog.String("id", l.ID), slog.String("from", l.From.String()), slog.String("to", to),
			slog.String("relay", r.NextHop), slog.String("reply", r.Reply), slog.String("by", by))
	}
	if r.State != Released {
		k.log.Warn("hold", "a release did not reach everybody", slog.String("id", l.ID), slog.String("reply", r.Reply), slog.Bool("unsure", r.Unsure), slog.String("by", by))
	}
}

// Delete removes a message for good. The row of the index says so first: after
// a kill between the two the file is there, and held again.
func (k *Keeper) Delete(id, by string) error {
	if err := k.take(id); err != nil {
		return err
	}
	defer k.leave(id)
	day, err := k.disk.find(id)
	if err != nil {
		return err
	}
	info, err := k.disk.root.Lstat(day + "/" + id + endMessage)
	if err != nil {
		return err
	}
	k.indexed(k.index().change(id, State{State: Deleted, At: k.now(), By: by}))
	err = k.disk.remove(day, id)
	if _, ferr := k.disk.find(id); errors.Is(ferr, ErrNotFound) {
		k.give(info.Size())
		k.mu.Lock()
		delete(k.marks, id)
		k.mu.Unlock()
		k.log.Info("hold", "deleted", slog.String("id", id), slog.String("by", by))
	} else if x := k.index(); x != nil {
		k.indexed(k.enter(x, day, id)) // it is still there
	}
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	return nil
}

// Open opens a message for reading and sees that it is whole.
func (k *Keeper) Open(id string) (*File, State, error) {
	day, err := k.disk.find(id)
	if err != nil {
		return nil, State{}, err
	}
	f, err := k.disk.open(day, id)
	if err != nil {
		return nil, State{}, err
	}
	return f, k.stateOf(day, id), nil
}

// wait lets the first look at the files end.
func (k *Keeper) wait(ctx context.Context) error {
	select {
	case <-k.ready:
		return nil
	case <-ctx.Done():
		return ErrIndexing
	}
}

// List gives a page of messages, newest first, and how many the filter picks.
func (k *Keeper) List(ctx context.Context, f Filter) (page []Entry, more bool, total int, err error) {
	if err := k.wait(ctx); err != nil {
		return nil, false, 0, err
	}
	if len(f.IDs) > maxIDs {
		return nil, false, 0, fmt.Errorf("more than %d ids", maxIDs)
	}
	page, more, err = k.index().list(ctx, f)
	if err == nil {
		total, err = k.index().total(ctx, f)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrIndexing) {
		k.indexed(err)
		err = fmt.Errorf("%w: %w", ErrIndexing, err)
	}
	return page, more, total, err
}

// ByUser gives the users of ours whose held mail a filter picks, at most ten
// thousand, who waits longest first.
func (k *Keeper) ByUser(ctx context.Context, f Filter) ([]UserTotal, error) {
	if err := k.wait(ctx); err != nil {
		return nil, err
	}
	out, err := k.index().byUser(ctx, f)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrIndexing) {
		k.indexed(err)
		err = fmt.Errorf("%w: %w", ErrIndexing, err)
	}
	return out, err
}

// Resolve gives the id that begins so.
func (k *Keeper) Resolve(ctx context.Context, prefix string) (string, error) {
	if ValidID(prefix) {
		return prefix, nil
	}
	if prefix == "" {
		return "", ErrNotFound
	}
	page, _, _, err := k.List(ctx, Filter{IDs: []string{prefix}, State: "all", Limit: 2})
	switch {
	case err != nil:
		return "", err
	case len(page) == 0:
		return "", ErrNotFound
	case len(page) > 1:
		return "", ErrSeveral
	}
	return page[0].ID, nil
}
