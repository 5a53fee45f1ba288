package conduct

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"garita/smtpproxy"
)

// maxLines is how many different lines are written in a minute: who makes us
// log must not fill the disk (attack L-22).
const maxLines = 200

// logKey is what a line is about; one line a minute of each is enough.
type logKey struct {
	client netip.Prefix
	act    smtpproxy.Act // 0: a ban
}

// diary writes each thing once a minute.
type diary struct {
	to       Logger
	unlogged atomic.Uint64

	mu    sync.Mutex
	begin time.Time
	seen  map[logKey]struct{}
	left  uint64 // not written since begin
}

func (d *diary) info(now time.Time, k logKey, text string, attrs ...slog.Attr) {
	if d.may(now, k) {
		d.to.Info("conduct", text, attrs...)
	}
}

func (d *diary) warn(now time.Time, k logKey, text string, attrs ...slog.Attr) {
	if d.may(now, k) {
		d.to.Warn("conduct", text, attrs...)
	}
}

func (d *diary) may(now time.Time, k logKey) bool {
	if d.to == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A clock that steps back begins a new minute too: silence must end.
	if past := now.Sub(d.begin); past < 0 || past >= minute || d.seen == nil {
		if d.left > 0 {
			d.to.Info("conduct", "lines that were not written, of clients that were told of already or too many", slog.Uint64("lines", d.left))
		}
		d.begin, d.left, d.seen = now, 0, map[logKey]struct{}{}
	}
	if _, ok := d.seen[k]; ok || len(d.seen) >= maxLines {
		d.left++
		d.unlogged.Add(1)
		return false
	}
	d.seen[k] = struct{}{}
	return true
}
