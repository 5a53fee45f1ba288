// Package hold is the durable holding place: where a message goes that was
// judged to be neither delivered nor refused, until somebody decides.
//
// One file for each message has all of it: the octets as they came, the edits
// with which they would have been relayed, the envelope, who sent it and why
// it is here (docs/hold.md describes the form). Hold returns after the file
// and its folder are on stable storage, and not before: the 250 that follows
// is a promise (attacks I1, Q-20). What happened to it since, a release for
// instance, stands in a small file beside it, which is replaced as a whole. An
// index in SQLite makes lists quick; it can be lost at any time and is made
// again from the files, which are the truth.
//
// It relays nothing itself: Release is given a function that offers the
// message to a next hop, and keeps the books round it so that a kill at any
// instant loses nothing and repeats nothing by itself. In the one window that
// no program can close, after the next hop's 250 and before our mark (B-40), a
// message is left "unsure": it stays here, is marked, and is released again
// only when somebody says so.
//
// It fails by error: no room, no disk, a folder that is read-only. The wire
// then answers 451 and the sender keeps the message. A broken index is no
// error: messages are held all the same.
//
// # Limits
//
// max_messages and max_size bound the folder, min_free the file system. A file
// has at most 8 MB of envelope and findings. A preview reads messages of up to
// 64 MB, one at a time, and gives 16 KB of text, 200 fields and 200 parts. An
// answer to List has at most 200 rows. An entry of the index is below 4 KB.
package hold

import (
	"errors"
	"fmt"
	"io"
	"net/mail"
	"time"
)

// What can be wrong; errors.Is finds them.
var (
	// ErrFull: a bound of the holding place is reached.
	ErrFull = errors.New("the holding place is full")
	// ErrInUse: another process has it.
	ErrInUse = errors.New("another process has the holding place")
	// ErrNotFound: no message has that id.
	ErrNotFound = errors.New("no such message is held")
	// ErrSeveral: more than one id begins so.
	ErrSeveral = errors.New("more than one message has an id that begins so")
	// ErrBusy: somebody else releases or deletes it just now.
	ErrBusy = errors.New("somebody is at work on this message")
	// ErrReleased: it was delivered already.
	ErrReleased = errors.New("it was released before")
	// ErrUnsure: the next hop may have it.
	ErrUnsure = errors.New("the next hop may have it already: a release was cut short; release it with --again if a second copy does no harm")
	// ErrDamaged: the file is not what was written.
	ErrDamaged = errors.New("the file is damaged")
	// ErrIndexing: the index is being made again.
	ErrIndexing = errors.New("the index of held messages is being made again; try in a moment")
)

// Body is a message as it would be relayed.
type Body interface {
	Size() int64
	io.WriterTo
}

// Config is the [hold] table.
type Config struct {
	Enabled     bool          `toml:"enabled" doc:"Keep what checks quarantine in state_dir/hold. Without it such mail is answered 451 and stays with its sender."`
	MaxSize     int64         `toml:"max_size" unit:"bytes" doc:"Octets that held messages may take together. Over it a message to be held is answered 451."`
	MaxMessages int           `toml:"max_messages" doc:"How many messages may be held. Over it a message to be held is answered 451."`
	MinFree     int64         `toml:"min_free" unit:"bytes" doc:"Free space that must stay in the file system; below it a message to be held is answered 451."`
	WarnAfter   time.Duration `toml:"warn_after" doc:"A message that waits longer than this is told of daily."`
	KeepFor     time.Duration `toml:"keep_for" doc:"How long a message that was released stays as a copy, and with expire = true one that nobody decided about."`
	Expire      bool          `toml:"expire" doc:"Delete after keep_for what nobody has released or deleted. Without it held messages stay until somebody decides."`
	Notify      []string      `toml:"notify" doc:"Addresses that are told by mail of the first message that is held, and daily while there are new ones. Empty: the log alone."`
}

// Default is on: a quarantine verdict works as it comes.
func Default() Config {
	return Config{Enabled: true, MaxSize: 5 << 30, MaxMessages: 100_000, MinFree: 256 << 20,
		WarnAfter: 7 * 24 * time.Hour, KeepFor: 30 * 24 * time.Hour}
}

const (
	day = 24 * time.Hour
	// mostMessages bounds what a start has to look at.
	mostMessages = 1_000_000
	longest      = 10 * 366 * day
	mostNotified = 20
)

// Validate gives every mistake at once.
func (c Config) Validate() []error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if c.MaxSize < 1<<20 {
		add("max_size = %d: one message may be larger; at least 1MB", c.MaxSize)
	}
	if c.MaxMessages < 1 || c.MaxMessages > mostMessages {
		add("max_messages = %d: must be 1 to %d", c.MaxMessages, mostMessages)
	}
	if c.MinFree < 0 {
		add("min_free = %d: cannot be below 0", c.MinFree)
	}
	if c.WarnAfter < time.Hour || c.WarnAfter > longest {
		add("warn_after = %s: must be an hour to ten years", c.WarnAfter)
	}
	if c.KeepFor < day || c.KeepFor > longest {
		add("keep_for = %s: must be a day to ten years", c.KeepFor)
	}
	if len(c.Notify) > mostNotified {
		add("notify: has %d addresses; %d are enough, use a list of your mail server", len(c.Notify), mostNotified)
	}
	for _, a := range c.Notify {
		if p, err := mail.ParseAddress(a); err != nil || p.Address != a {
			add("notify: %.100q is not an address such as admin@example.org", a)
		}
	}
	return bad
}
