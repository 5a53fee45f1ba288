// Package store is the hot state of the gateway behind one small interface:
// windowed counters, sets, and small values with a time to live. It knows
// nothing of mail.
//
// The engine memory answers from memory and writes behind into SQLite (WAL,
// synchronous=FULL: each commit is on stable storage). Counters, sets and
// values of Put lose at most the last quarter of a second, and the commit that
// was under way, when the process is killed or the power goes. What Keep was
// given is written with the same batches and is never evicted; PutNow and
// DeleteNow return only after the commit.
//
// When the disk fails, memory goes on: nothing that counts or decides stops.
// Writes are tried again, Fault tells why, PutNow and DeleteNow give the error.
//
// It does not share state between gateways, and must not lie on a network file
// system.
//
// # Time
//
// Time to live runs on the steady clock of the process: a jump of the wall
// clock changes nothing while it runs. The database keeps expiries in that time
// of the store, and beside it the wall clock of the last write. At start, the
// time of the store goes on by what the wall clock says has passed, unless that
// is negative or more than a week: such a clock is doubted, and no time has
// passed. So a clock that begins in 1970 makes nothing immortal and one that is
// a year ahead wipes no ban.
//
// # Windows
//
// A sliding window is divided into Window.Buckets parts (eight when nothing is
// said, which is enough against floods; sixty for what a person is held to),
// and one more that is being filled. An act counts for at least the span and at
// most one part longer: a limit is never exceeded within any stretch of that
// length, and may refuse for one part of the span too long. Only the parts in
// which something happened take room, so many parts cost a quiet client
// nothing.
//
// History gives the parts one by one: a window of thirty days in thirty parts,
// with Max 0, is a total for each day (of 24 hours, not of the calendar) that
// is counted, and refunded, in the same act as the limits.
//
// # Limits
//
// Config.Entries bounds counters and kept values, each for itself, Config.Values
// evictable values with set members, and Config.Bytes their octets. A
// full table drops, of a sample of 16, what has expired, else a counter of a
// single act, else what expires soonest; kept values are never dropped, one too
// many is ErrFull. A key has at most 1 KiB, a value 16 KiB, an act 16 windows;
// a watcher that reads slowly has 256 events waiting.
package store

import (
	"context"
	"errors"
	"math"
	"time"
)

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// What a store can say of a call; errors.Is finds them.
var (
	ErrFull   = errors.New("store: no room for one more value that must be kept")
	ErrTooBig = errors.New("store: the key or value is too long")
	ErrClosed = errors.New("store: closed")
	errWindow = errors.New("store: a window needs a key, a span above zero, and no negative numbers")
	errMany   = errors.New("store: an act has at most 16 windows")
)

// Window is one limit that an act counts against.
type Window struct {
	Key  string        // "rate/connection/192.0.2.7"
	Span time.Duration // length of the sliding window
	Max  int64         // most cost within it; 0 counts without a limit
	Cost int64         // of this act; 0 only asks
	// Buckets is how many parts the span has: the error of the window is one
	// of them. 0 is eight; at most MaxBuckets. The same key and span with
	// another number is another window.
	Buckets int
}

// Usage is how much of a window is used, with the act that was asked about
// when it fitted.
type Usage struct {
	Used int64
	Max  int64
	// Over tells that the act did not fit into this window.
	Over bool
	// Free is how long until as much as was asked would fit again, if nothing
	// else comes; zero when it fits, Never when it is more than Max.
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
	// Peek tells what Reserve would say, and counts nothing.
	Peek(ctx context.Context, windows []Window) ([]Usage, error)
	// Counters gives up to limit windows whose key has that prefix and in which
	// something counts, the fullest first. It is for operators: it looks at
	// every counter.
	Counters(ctx context.Context, prefix string, limit int) ([]Counter, error)
	// History gives the counts of a window's parts, from the one that is being
	// filled to the oldest, Buckets and one; Max and Cost mean nothing here.
	History(ctx context.Context, w Window) ([]int64, error)
	// AddNew adds a member to a set for ttl and tells whether it is new. The
	// time of a member that is there already goes on.
	AddNew(ctx context.Context, set, member string, ttl time.Duration) (bool, error)
	// Get gives a value; ok is false when there is none or it has expired.
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)
	// Put keeps a value for ttl, 0 for ever. It may be lost in a crash, and
	// evicted when there are too many.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Keep is Put for what must not be evicted; it does not wait for the disk.
	// No room is ErrFull.
	Keep(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, key string) error
	// PutNow and DeleteNow return after the change is durable; PutNow keeps as
	// Keep does. An error other than ErrFull and ErrTooBig means that the change
	// holds in memory and will be written when the disk lets it.
	PutNow(ctx context.Context, key string, value []byte, ttl time.Duration) error
	DeleteNow(ctx context.Context, key string) error
	// List gives up to limit keys with that prefix in order, from after the
	// key that is named.
	List(ctx context.Context, prefix, after string, limit int) ([]Item, error)
	// Watch tells of changes below prefix until ctx ends, those by other
	// gateways on the same state too when the value was kept (Keep, PutNow). Slow readers lose
	// events rather than hold others up; the channel is closed at the end.
	Watch(ctx context.Context, prefix string) <-chan Event
	// Close writes what is pending.
	Close() error
}

// Counter is one window of Counters.
type Counter struct {
	Key     string
	Span    time.Duration
	Buckets int
	Used    int64
}

// Item is one value of List.
type Item struct {
	Key     string
	Value   []byte
	Expires time.Time // zero for never
}
