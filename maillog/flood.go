package maillog

import (
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"garita/mail"
)

const (
	// floodWindow is the span that lines_per_client counts over.
	floodWindow = time.Minute
	// maxClients bounds the clients that are counted in one window (about
	// 100 octets each); those beyond it are not limited.
	maxClients = 4096
)

// flood counts session records by client, so that one that connects a million
// times cannot fill the disk with it. It forgets everything each minute.
type flood struct {
	limit int
	mu    sync.Mutex
	until time.Time
	seen  map[netip.Addr]int
}

// suppressed tells that the record at hand shall not be written: its client
// has had its share of this minute. Transactions are not asked about (each
// carried a message), and neither are trusted clients: Zimbra is one client
// for all its users. What was suppressed is told when the minute is over.
func (l *Logger) suppressed(s *mail.Session) bool {
	f := &l.flood
	if f.limit <= 0 || s.Trusted {
		return false
	}
	key := clientKey(s.Client.Addr())
	now := l.now()
	f.mu.Lock()
	var old map[netip.Addr]int
	if !now.Before(f.until) || f.until.Sub(now) > floodWindow { // over, or the clock went back
		old, f.seen = f.seen, make(map[netip.Addr]int)
		f.until = now.Add(floodWindow)
	}
	n, known := f.seen[key]
	if known || len(f.seen) < maxClients {
		n++
		f.seen[key] = n
	}
	f.mu.Unlock()
	l.tellSuppressed(old)
	return n > f.limit
}

// tellSuppressed writes one record for each client that was over its share.
func (l *Logger) tellSuppressed(seen map[netip.Addr]int) {
	for a, n := range seen {
		if n > l.flood.limit {
			l.note("log", "warning", strconv.Itoa(n-l.flood.limit)+" records suppressed", []slog.Attr{slog.String("client", a.String())})
		}
	}
}

// endFlood tells what the running minute has suppressed.
func (l *Logger) endFlood() {
	l.flood.mu.Lock()
	old := l.flood.seen
	l.flood.seen, l.flood.until = nil, time.Time{}
	l.flood.mu.Unlock()
	l.tellSuppressed(old)
}

// clientKey is the address, or the /64 of an IPv6 one: who has one address
// there has them all.
func clientKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
