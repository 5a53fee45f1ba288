package policyd

import (
	"sync/atomic"
	"time"
)

// answerNames are the kinds of answers; closed is none, after a fault.
var answerNames = [...]string{"dunno", "prepend", "discard", "defer", "reject", "closed"}

// bounds are the upper bounds of buckets.
var bounds = [...]time.Duration{20 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, time.Millisecond,
	5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second}

// DurationBounds are the upper bounds of Stats.Durations.
func DurationBounds() []time.Duration { return append([]time.Duration(nil), bounds[:]...) }

// figures count answers, and how long each took.
type figures struct {
	answers [len(answerNames)]atomic.Uint64
	buckets [len(bounds) + 1]atomic.Uint64 // the last one has no bound
	nanos   atomic.Uint64
}

// answered notes an answer.
func (f *figures) answered(action string, took time.Duration) {
	f.answers[kindOf(action)].Add(1)
	i := 0
	for _, most := range bounds {
		if took <= most {
			break
		}
		i++
	}
	f.buckets[i].Add(1)
	f.nanos.Add(uint64(max(took, 0)))
}

// kindOf is the place of an action in answerNames.
func kindOf(action string) int {
	switch {
	case action == "":
		return 5
	case action[0] == '5':
		return 4
	case action[0] == '4' || len(action) > 4 && action[:4] == "DEFE":
		return 3
	case action[0] == 'P':
		return 1
	case len(action) > 2 && action[:3] == "DIS":
		return 2
	}
	return 0
}

// stats adds them.
func (f *figures) stats(s *Stats) {
	s.Answers = map[string]uint64{}
	for i, name := range answerNames {
		s.Answers[name] = f.answers[i].Load()
	}
	s.Answers["closed"] = s.Faults
	s.Durations = make([]uint64, len(f.buckets))
	for i := range f.buckets {
		s.Durations[i] = f.buckets[i].Load()
	}
	s.Took = time.Duration(f.nanos.Load())
}
