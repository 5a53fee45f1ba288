package greylist

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

const (
	// shareOf is which part of the newcomers one network may have: who fills
	// the room alone would turn greylisting off for everybody.
	shareOf = 20
	// leastShare keeps small tables from taking a large sender for a flood.
	leastShare = 1000
	// shareSlots bounds the counters, 16 KB; networks that meet in one are
	// counted together.
	shareSlots = 4096
	// shareParts of the retry window, after each of which the counters are
	// halved.
	shareParts = 4
)

// shares counts newcomers by network.
type shares struct {
	mu   sync.Mutex
	most uint32
	part int64 // seconds
	at   int64
	seed maphash.Seed // nobody outside chooses whom he meets
	n    [shareSlots]uint32
}

func (s *shares) init(limit int, span int64) {
	s.most, s.part, s.seed = uint32(max(limit/shareOf, leastShare)), max(1, span/shareParts), maphash.MakeSeed()
}

func (s *shares) slot(a netip.Addr) *uint32 {
	b := a.As16()
	return &s.n[maphash.Bytes(s.seed, b[:])%shareSlots]
}

// over tells that a network has its share.
func (s *shares) over(a netip.Addr, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := now / s.part; at != s.at {
		for s.at < at && at-s.at <= 32 {
			s.at++
			for i := range s.n {
				s.n[i] /= 2
			}
		}
		if s.at != at { // the first time, or long ago
			s.at, s.n = at, [shareSlots]uint32{}
		}
	}
	return *s.slot(a) >= s.most
}

func (s *shares) add(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.slot(a)++
}

// wide is the first address of what one owner may have: far more than the
// network that stands for a client.
func wide(a netip.Addr) netip.Addr {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 16
	}
	p, _ := a.Prefix(bits) // of no address: none
	return p.Addr()
}

// crowd is the one triplet that stands for all further newcomers of a network:
// they wait, once, and take no more room. No recipient is empty, so that it is
// no other triplet.
func (t *Table) crowd(q *Request) *Request {
	return &Request{Client: wide(q.Client), Delay: q.Delay, crowd: true}
}
