package smtpproxy

import (
	"log/slog"
	"sync"
	"time"
)

// alarmEvery is how often one kind of warning is written that any client can
// cause as often as it likes: the log must not fill the disk (attacks L-22).
const alarmEvery = 10 * time.Second

// alarms bounds such warnings by kind; the kinds are constants of ours.
type alarms struct {
	mu   sync.Mutex
	last map[string]time.Time
	kept map[string]int64
}

// due tells whether to write now, and how many were not written since.
func (a *alarms) due(kind string, now time.Time) (kept int64, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A clock that steps back ends the silence too.
	if past := now.Sub(a.last[kind]); past >= 0 && past < alarmEvery {
		a.kept[kind]++
		return 0, false
	}
	if a.last == nil {
		a.last, a.kept = map[string]time.Time{}, map[string]int64{}
	}
	kept = a.kept[kind]
	a.last[kind], a.kept[kind] = now, 0
	return kept, true
}

// alarm warns of something that concerns the machine, at a bounded rate.
func (s *Server) alarm(text string, attrs ...slog.Attr) {
	kept, yes := s.alarms.due(text, time.Now())
	if !yes {
		return
	}
	if kept > 0 {
		attrs = append(attrs, slog.Int64("not_logged", kept))
	}
	s.log.Warn("smtpd", text, attrs...)
}
