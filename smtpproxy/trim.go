package smtpproxy

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A session's stack grows while its greeting, its TLS handshake and its first
// commands are judged, to 8 KB or 32 KB, and is needed no more while it waits.
// The collector halves such a stack at each of its turns, but an idle gateway
// has next to none of those; thousands of idle clients would hold several
// times what they need.
const (
	trimEvery = 5 * time.Second // at most
	trimAfter = 256             // new sessions, and as many that are open
	trimDelay = 2 * time.Second // for the greeting to be over
)

// trimmer asks the collector for its turns after many sessions were opened.
type trimmer struct {
	opened atomic.Int64
	armed  atomic.Bool
	// open is the number of sessions now. A turn of the collector goes through
	// all of the heap, with its lists of a million entries: for sessions that
	// have come and gone it is not worth it.
	open func() int
}

// note counts a new session.
func (t *trimmer) note() {
	t.opened.Add(1)
	t.arm()
}

// arm begins a turn when enough sessions are new and none is under way.
func (t *trimmer) arm() {
	if t.opened.Load() < trimAfter || t.armed.Swap(true) {
		return
	}
	time.AfterFunc(trimDelay, func() {
		t.opened.Store(0)
		if t.due() {
			for range 3 {
				runtime.GC()
			}
		}
		time.AfterFunc(trimEvery, func() {
			t.armed.Store(false)
			t.arm() // a burst that went on meanwhile
		})
	})
}

// due tells that enough sessions are open to hold memory that matters.
func (t *trimmer) due() bool { return t.open == nil || t.open() >= trimAfter }
