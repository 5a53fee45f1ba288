package smtpproxy

import (
	"cmp"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Under pressure, when clients from outside have most of the sessions that
// they may have, each of them gets less time, as Postfix's stress mode does;
// those that only wait make room for those that come. Trusted peers have
// their reserve and notice nothing. Pressure begins above 80 % and ends below
// 60 %, so that it does not come and go with each session.
const (
	pressureOn  = 80 // per cent
	pressureOff = 60

	stressCommand = 10 * time.Second // instead of command_timeout
	stressData    = 30 * time.Second // instead of data_timeout
	stressWrite   = 10 * time.Second // instead of writeTimeout

	// shedEvery bounds how often sessions are looked through: 10,000 of them
	// take a fraction of a millisecond.
	shedEvery = 250 * time.Millisecond
	// shedAfter is how long a session has waited at least before it makes
	// room, when there is none at all.
	shedAfter = 2 * time.Second
	// shedShare is the part of those that wait that makes room at once.
	shedShare = 16
)

// pressure is whether there is any, and what it led to.
type pressure struct {
	on    atomic.Bool
	times atomic.Int64
	shed  atomic.Int64
	last  atomic.Int64 // when sessions were last looked through
}

// weigh looks whether pressure begins or ends.
func (s *Server) weigh(l Limits) {
	p := &s.pressure
	n, open := s.slots.inUse(), l.open()
	switch on := p.on.Load(); {
	case !on && n*100 > open*pressureOn && p.on.CompareAndSwap(false, true):
		p.times.Add(1)
		s.alarm("under pressure: clients from outside get less time", slog.Int("sessions", n), slog.Int("of", open))
	case on && n*100 < open*pressureOff && p.on.CompareAndSwap(true, false):
		s.alarm("the pressure is over", slog.Int("sessions", n), slog.Int("of", open))
	}
}

// inUse is the number of sessions.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// shedMark stands in session.since of a session that is to end.
const shedMark = -1

// clock is the time since the server was made, from the monotonic clock: a
// jump of the wall clock sheds nobody. It is never 0.
func (s *Server) clock() int64 { return int64(time.Since(s.made)) + 1 }

// shed ends sessions that wait for a command of a client from outside: all
// that waited longer than a command may take under pressure, and when there
// is no room at all a part of the others, those first that wait longest.
func (s *Server) shed(full bool) {
	now, last := s.clock(), s.pressure.last.Load()
	if last != 0 && now-last < int64(shedEvery) || !s.pressure.last.CompareAndSwap(last, now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	type idle struct {
		ss    *session
		since int64
	}
	var wait []idle
	n := 0
	for ss := range s.sessions {
		since := ss.since.Load()
		switch {
		case since <= 0:
		case now-since >= int64(stressCommand):
			n += s.end(ss, since)
		case full && now-since >= int64(s.shedAfter):
			wait = append(wait, idle{ss, since})
		}
	}
	if n > 0 || len(wait) == 0 {
		return
	}
	slices.SortFunc(wait, func(a, b idle) int { return cmp.Compare(a.since, b.since) })
	for _, w := range wait[:(len(wait)+shedShare-1)/shedShare] {
		s.end(w.ss, w.since)
	}
}

// end wakes a session that still waits since then, to say goodbye. The
// deadline comes after the mark, and readCommand looks the other way round,
// so one of us always sees the other.
func (s *Server) end(ss *session, since int64) int {
	if !ss.since.CompareAndSwap(since, shedMark) {
		return 0
	}
	ss.raw.SetReadDeadline(time.Unix(1, 0))
	s.pressure.shed.Add(1)
	return 1
}

// stranger tells a client from outside of whom we know nothing.
func (s *session) stranger() bool { return !s.s.Trusted && !s.vouched && s.s.Login == "" }

// stressed tells that the session belongs to a client that gets less now.
func (s *session) stressed() bool { return s.stranger() && s.srv.pressure.on.Load() }

// within is a time limit, or the shorter one under pressure.
func (s *session) within(d, stress time.Duration) time.Duration {
	if s.stressed() {
		return min(d, stress)
	}
	return d
}
