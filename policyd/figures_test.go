package policyd

import (
	"testing"
	"time"
)

// TestFigures: every answer has its kind, and its time its bucket.
func TestFigures(t *testing.T) {
	var f figures
	for action, kind := range map[string]string{
		"DUNNO": "dunno", "PREPEND X-A: b": "prepend", "DISCARD by policy": "discard", "DEFER_IF_PERMIT 4.2.0 x": "defer", "450 4.2.0 x": "defer",
		"421 4.7.0 x": "defer", "554 5.7.1 x": "reject", "521 5.7.1 x": "reject",
	} {
		if got := answerNames[kindOf(action)]; got != kind {
			t.Errorf("%s: %s", action, got)
		}
	}
	f.answered("DUNNO", 10*time.Microsecond)
	f.answered("450 x", 50*time.Microsecond)
	f.answered("450 x", time.Hour)
	f.answered("450 x", -time.Second) // a clock that was set back
	st := Stats{Faults: 3}
	f.stats(&st)
	n := len(DurationBounds())
	if st.Answers["dunno"] != 1 || st.Answers["defer"] != 3 || st.Answers["closed"] != 3 || len(st.Durations) != n+1 ||
		st.Durations[0] != 2 || st.Durations[1] != 1 || st.Durations[n] != 1 || st.Took != time.Hour+60*time.Microsecond {
		t.Errorf("%+v", st)
	}
}
