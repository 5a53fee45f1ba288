package smtpproxy

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"garita/message"
)

// slots counts the sessions, in all and by client, and keeps one fifth of
// them for the peers of outbound and content-filter listeners: a flood from
// the Internet must not stop the mail of our own users.
type slots struct {
	mu       sync.Mutex
	total    int
	byClient map[netip.Prefix]int // bounded by total
	// room is what the messages of one client were promised before DATA.
	room map[netip.Prefix]int64
}

// clientShare is the part of messages_total that one client from outside may
// be promised: a few of them must not reserve all of it with large SIZEs.
const clientShare = 4

// reserve promises need octets to a client, unless it has too much already.
// What one message alone needs is always promised.
func (s *slots) reserve(key netip.Prefix, need, total int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.room[key]; have > 0 && have+need > total/clientShare {
		return false
	}
	if s.room == nil {
		s.room = map[netip.Prefix]int64{}
	}
	s.room[key] += need
	return true
}

// unreserve takes a promise back.
func (s *slots) unreserve(key netip.Prefix, need int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room[key] -= need; s.room[key] <= 0 {
		delete(s.room, key)
	}
}

// slotKey is what counts as one client: an IPv4 address, an IPv6 /64.
func slotKey(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// take gives a slot, or tells why not.
func (s *slots) take(key netip.Prefix, trusted bool, l Limits) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := l.MaxConnections
	if !trusted {
		limit -= limit / 5
	}
	if s.total >= limit {
		return "too many connections"
	}
	if !trusted {
		if s.byClient[key] >= l.MaxConnectionsPerClient {
			return "too many connections from one client"
		}
		if s.byClient == nil {
			s.byClient = map[netip.Prefix]int{}
		}
		s.byClient[key]++
	}
	s.total++
	return ""
}

// give takes a slot back.
func (s *slots) give(key netip.Prefix, trusted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if trusted {
		return
	}
	if s.byClient[key]--; s.byClient[key] <= 0 {
		delete(s.byClient, key)
	}
}

// diskWatch looks at the free space of the spool, at most once a second.
type diskWatch struct {
	dir  string
	mu   sync.Mutex
	at   time.Time
	free int64
	err  error
}

// spoolRoom tells an error when less than reserve octets are free.
func (s *Server) spoolRoom(reserve int64) error {
	d := &s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) >= time.Second {
		d.at = now
		d.free, d.err = message.FreeDisk(d.dir)
	}
	if d.err != nil {
		return fmt.Errorf("spool folder: %w", d.err)
	}
	if d.free < reserve {
		return fmt.Errorf("%d octets free, %d must stay free", d.free, reserve)
	}
	return nil
}
