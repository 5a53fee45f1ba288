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
	bySite   map[netip.Prefix]int // of IPv6, bounded by total
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
	key = site(key)
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
	key = site(key)
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

// siteShare is the part of the sessions that clients from outside may have
// that one site of IPv6 may have: who has a /48 has 65,536 clients, and sixteen
// of them would else have every session of the others.
const siteShare = 4

// site is the network that a client belongs to: of IPv6 a /48, the largest that
// one customer is given (RFC 6177 section 2), else the client itself.
func site(client netip.Prefix) netip.Prefix {
	if client.Bits() <= 48 {
		return client // IPv4, or nobody
	}
	p, _ := client.Addr().Prefix(48)
	return p
}

// place is how a session counts: whose it is, whether it may have what is kept
// for our own, and whether it counts against the bound of each client. The
// peers that only speak for others (load balancers, those that may XCLIENT)
// count in all, and by client once it is known.
type place struct {
	key              netip.Prefix
	reserve, counted bool
}

// Why there is no slot.
const (
	whyFull   = "too many connections"
	whyClient = "too many connections from one client"
	whySite   = "too many connections from one IPv6 /48"
)

// take gives a slot, or tells why not.
func (s *slots) take(p place, l Limits) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked(p, l)
}

func (s *slots) takeLocked(p place, l Limits) (why string) {
	limit := l.MaxConnections
	if !p.reserve {
		limit = l.open()
	}
	if s.total >= limit {
		return whyFull
	}
	if p.counted {
		if s.byClient[p.key] >= l.MaxConnectionsPerClient {
			return whyClient
		}
		at := site(p.key)
		if at != p.key && s.bySite[at] >= max(l.open()/siteShare, l.MaxConnectionsPerClient) {
			return whySite
		}
		if s.byClient == nil {
			s.byClient, s.bySite = map[netip.Prefix]int{}, map[netip.Prefix]int{}
		}
		s.byClient[p.key]++
		if at != p.key {
			s.bySite[at]++
		}
	}
	s.total++
	return ""
}

// give takes a slot back.
func (s *slots) give(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked(p)
}

func (s *slots) giveLocked(p place) {
	s.total--
	if !p.counted {
		return
	}
	drop(s.byClient, p.key)
	drop(s.bySite, site(p.key))
}

// drop takes one from a count; what falls to nothing is forgotten.
func drop(counts map[netip.Prefix]int, key netip.Prefix) {
	if counts[key] > 1 {
		counts[key]--
		return
	}
	delete(counts, key)
}

// move makes one slot into another, when it is known who the client is. When
// there is none for him the old one stays, until the session gives it back.
func (s *slots) move(from, to place, l Limits) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	why = s.takeLocked(to, l)
	s.total++
	if why == "" {
		s.giveLocked(from)
	}
	return why
}

// open is the number of sessions that clients from outside may have.
func (l Limits) open() int { return l.MaxConnections - l.MaxConnections/5 }

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
