package resolver

import (
	"errors"
	"net/netip"
	"sync/atomic"
)

// Stats is what the resolver has done since it was made, for metrics.
type Stats struct {
	Hits, Misses uint64 // of the cache
	Joined       uint64 // look-ups that waited for another's question
	UDP, TCP     uint64 // questions sent
	Failures     Failures
	Skipped      uint64 // attempts that a breaker saved
	CacheEntries int
	InFlight     int
	Servers      []ServerStats
}

// Failures counts attempts that gave no answer, by kind; Busy counts look-ups.
type Failures struct {
	Silent    uint64 // no answer in time
	Rcode     uint64 // SERVFAIL, REFUSED and the like
	Malformed uint64 // unreadable, or a chain without end
	Network   uint64 // no way to the server
	Foreign   uint64 // too many packets that were no answer to the question
	Busy      uint64 // too many questions at the same time
}

// ServerStats is one server.
type ServerStats struct {
	Addr   netip.AddrPort
	State  BreakerState
	Failed int    // attempts in a row without an answer
	Trips  uint64 // times that its breaker opened
}

type counters struct {
	joined, udp, tcp, skipped                        atomic.Uint64
	silent, rcode, malformed, network, foreign, busy atomic.Uint64
}

// fault counts the error of an attempt and gives it back.
func (c *counters) fault(err error) error {
	var rc rcodeError
	switch {
	case errors.Is(err, errNoReply):
		c.silent.Add(1)
	case errors.As(err, &rc):
		c.rcode.Add(1)
	case errors.Is(err, errMalformed), errors.Is(err, errLoop), errors.Is(err, errTruncated):
		c.malformed.Add(1)
	case errors.Is(err, errForeign):
		c.foreign.Add(1)
	default:
		c.network.Add(1)
	}
	return err
}

// Stats gives a snapshot.
func (d *DNS) Stats() Stats {
	c := &d.count
	st := Stats{
		Joined: c.joined.Load(), UDP: c.udp.Load(), TCP: c.tcp.Load(), Skipped: c.skipped.Load(),
		Failures: Failures{
			Silent: c.silent.Load(), Rcode: c.rcode.Load(), Malformed: c.malformed.Load(),
			Network: c.network.Load(), Foreign: c.foreign.Load(), Busy: c.busy.Load(),
		},
		InFlight: len(d.slots),
	}
	for i := range d.cache.parts {
		s := &d.cache.parts[i]
		s.mu.Lock()
		st.Hits += s.hits
		st.Misses += s.misses
		st.CacheEntries += len(s.entries)
		s.mu.Unlock()
	}
	for _, s := range d.servers {
		state, failed, trips := s.breaker.snapshot()
		st.Servers = append(st.Servers, ServerStats{s.addr, state, failed, trips})
	}
	return st
}
