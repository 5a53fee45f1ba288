// Package store is the hot state of the gateway behind one small interface:
// windowed counters, sets, and small values with a time to live. It knows
// nothing of mail.
//
// The implementation memory answers from memory and writes behind into SQLite:
// counters and triplets may lose the last quarter of a second when the process
// is killed or the power goes; what must not be lost is written by PutNow and
// DeleteNow, which return only after it is on stable storage.
package store

import (
	"context"
	"time"
)

// Window is one limit that an act counts against.
type Window struct {
	Key  string        // "rate/connection/192.0.2.7"
	Span time.Duration // length of the sliding window
	Max  int64         // most cost within it; 0 counts without a limit
	Cost int64         // of this act
}

// Usage is how much of a window is used, with the act that was asked about
// when it fitted.
type Usage struct {
	Used int64
	Max  int64
	// Over tells that the act did not fit into this window.
	Over bool
	// Free is when as much as was asked would fit again; zero when it fits.
	Free time.Duration
}

// Reservation is an act that was counted. Exactly one of Commit and Refund
// ends it; a second call does nothing. One that is dropped stays counted.
type Reservation interface {
	Commit()
	Refund()
}

// Event is a change of a key, for Watch.
type Event struct {
	Key     string
	Value   []byte // nil when it was deleted or expired
	Deleted bool
}

// Store keeps the state. It is safe for concurrent use; its errors mean that
// the state could not be asked or kept, and the caller has a configured way to
// go on.
type Store interface {
	// Reserve counts an act against all windows or, when one of them is full,
	// against none; then the reservation is nil.
	Reserve(ctx context.Context, windows []Window) (Reservation, []Usage, error)
	// AddNew adds a member to a set for ttl and tells whether it is new.
	AddNew(ctx context.Context, set, member string, ttl time.Duration) (bool, error)
	// Get gives a value; ok is false when there is none or it has expired.
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)
	// Put keeps a value for ttl, 0 for ever. It may be lost in a crash.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, key string) error
	// PutNow and DeleteNow return after the change is durable.
	PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error
	DeleteNow(ctx context.Context, key string) error
	// List gives up to limit keys with that prefix in order, from after the
	// key that is named.
	List(ctx context.Context, prefix, after string, limit int) ([]Item, error)
	// Watch tells of changes below prefix until ctx ends. Slow readers lose
	// events rather than hold others up; the channel is closed at the end.
	Watch(ctx context.Context, prefix string) <-chan Event
	// Close writes what is pending.
	Close() error
}

// Item is one value of List.
type Item struct {
	Key     string
	Value   []byte
	Expires time.Time // zero for never
}
