package smtpproxy

import (
	"sync/atomic"

	"garita/mail"
)

// counters count since the start of the process.
type counters struct {
	connections, turnedAway, refusals, noRoom, tlsFailed, panics, overLimit, misconduct, noHeader, astray atomic.Int64
	outcomes                                                                                              [mail.Ambiguous + 1]atomic.Int64
}

func (c *counters) count(k mail.OutcomeKind) {
	if int(k) < len(c.outcomes) {
		c.outcomes[k].Add(1)
	}
}

// Stats is a picture of the counters, for status and metrics.
type Stats struct {
	Sessions    int              `json:"sessions"`
	Connections int64            `json:"connections"`
	TurnedAway  int64            `json:"turned_away"` // connections; those of the next two among them
	Misconduct  int64            `json:"misconduct"`  // turned away by client conduct
	NoHeader    int64            `json:"no_header"`   // turned away for want of a PROXY header
	Refusals    int64            `json:"refusals"`    // of senders and recipients
	NoRoom      int64            `json:"no_room"`     // 452 before DATA
	TLSFailed   int64            `json:"tls_failed"`
	Panics      int64            `json:"panics"`
	OverLimit   int64            `json:"over_limit"`     // refused by client conduct
	Pressure    bool             `json:"pressure"`       // under pressure now
	Pressed     int64            `json:"pressure_times"` // how often it began
	Shed        int64            `json:"shed"`           // idle sessions that made room
	Astray      int64            `json:"astray"`         // redirects, routes and copies of rules that could not be made
	Outcomes    map[string]int64 `json:"outcomes"`       // of transactions
}

// Stats gives the present figures.
func (s *Server) Stats() Stats {
	s.slots.mu.Lock()
	n := s.slots.total
	s.slots.mu.Unlock()
	c := &s.stats
	st := Stats{Sessions: n, Connections: c.connections.Load(), TurnedAway: c.turnedAway.Load(),
		Misconduct: c.misconduct.Load(), NoHeader: c.noHeader.Load(),
		Refusals: c.refusals.Load(), NoRoom: c.noRoom.Load(), TLSFailed: c.tlsFailed.Load(),
		Panics: c.panics.Load(), OverLimit: c.overLimit.Load(), Astray: c.astray.Load(), Pressure: s.pressure.on.Load(),
		Pressed: s.pressure.times.Load(), Shed: s.pressure.shed.Load(), Outcomes: map[string]int64{}}
	for k := range c.outcomes {
		st.Outcomes[mail.OutcomeKind(k).String()] = c.outcomes[k].Load()
	}
	return st
}
