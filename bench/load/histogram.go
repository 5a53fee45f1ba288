package load

import (
	"math/bits"
	"time"
)

// octave is the power of two of the linear steps in each octave.
const octave = 6

// Histogram counts durations in microseconds: 64 linear steps for each power
// of two, so that any quantile is within 1.6 % of the true value.
type Histogram struct {
	count [64 << octave]uint64
	n     uint64
	max   time.Duration
}

func index(v uint64) int {
	if v < 1<<(octave+1) {
		return int(v)
	}
	e := bits.Len64(v) - 1 - octave
	return e<<octave + int(v>>uint(e))
}

// lowest is the smallest value that is counted at i.
func lowest(i int) uint64 {
	if i < 1<<(octave+1) {
		return uint64(i)
	}
	e := i>>octave - 1
	return uint64(i-e<<octave) << uint(e)
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.count[index(uint64(d/time.Microsecond))]++
	h.n++
	h.max = max(h.max, d)
}

// Merge adds what another has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, v := range o.count {
		h.count[i] += v
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// N is the number of durations.
func (h *Histogram) N() int64 { return int64(h.n) }

// Max is the longest.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile gives the q-quantile, q from 0 to 1; 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	want := uint64(q*float64(h.n-1)) + 1
	var seen uint64
	for i, v := range h.count {
		if seen += v; seen >= want {
			return min(time.Duration(lowest(i))*time.Microsecond, h.max)
		}
	}
	return h.max
}

// AtLeast tells how many durations were d or longer.
func (h *Histogram) AtLeast(d time.Duration) int64 {
	var n uint64
	for i := index(uint64(d / time.Microsecond)); i < len(h.count); i++ {
		n += h.count[i]
	}
	return int64(n)
}
