package store

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// buckets are eight that cover the span and the one that is being filled:
// what falls in part out of the span still counts, so a limit is never
// exceeded.
const buckets = 9

// winKey tells windows apart: one key may have several spans (so many an hour
// and so many a day).
type winKey struct {
	key  string
	span time.Duration
}

// window is one counter. Its shard's lock guards it.
type window struct {
	id     winKey
	newest int64          // number of the newest bucket
	counts [buckets]int64 // bucket n is at n % buckets
	total  int64

	dirty, stored, dead bool
}

// width is that of one bucket in nanoseconds, rounded up: never too short.
func (k winKey) width() int64 { return (int64(k.span) + buckets - 2) / (buckets - 1) }

// advance drops the buckets that have left the window.
func (w *window) advance(now int64) {
	n := now / w.id.width()
	switch {
	case n <= w.newest:
	case n-w.newest >= buckets:
		w.counts, w.total, w.newest = [buckets]int64{}, 0, n
	default:
		for w.newest < n {
			w.newest++
			at := w.newest % buckets
			w.total -= w.counts[at]
			w.counts[at] = 0
		}
	}
}

// add counts; a sum that would not fit stays at the largest number.
func (w *window) add(cost int64) {
	cost = min(cost, math.MaxInt64-w.total)
	w.counts[w.newest%buckets] += cost
	w.total += cost
}

// take takes back what was counted in a bucket, if that still counts.
func (w *window) take(bucket, cost int64) {
	if bucket > w.newest || w.newest-bucket >= buckets {
		return
	}
	at := bucket % buckets
	cost = min(cost, w.counts[at])
	w.counts[at] -= cost
	w.total -= cost
}

// expires is when nothing of it counts any more.
func (w *window) expires() int64 {
	for n := w.newest; n > w.newest-buckets && n >= 0; n-- {
		if w.counts[n%buckets] > 0 {
			return (n + buckets) * w.id.width()
		}
	}
	return 0
}

// free is how long until total is at most room.
func (w *window) free(now, room int64) time.Duration {
	if room < 0 {
		return Never
	}
	left := w.total
	for n := max(w.newest-buckets+1, 0); n <= w.newest; n++ {
		if left -= w.counts[n%buckets]; left <= room {
			return time.Duration((n+buckets)*w.id.width() - now)
		}
	}
	return Never
}

// encode writes the counts from the newest to the oldest, without the zeros at
// the end.
func (w *window) encode() []byte {
	var b []byte
	used := 0
	for i := range int64(buckets) {
		if n := w.newest - i; n >= 0 {
			b = binary.AppendUvarint(b, uint64(w.counts[n%buckets]))
			if w.counts[n%buckets] > 0 {
				used = len(b)
			}
		}
	}
	return b[:used]
}

var errCounts = errors.New("store: a counter's row cannot be read")

// decodeWindow is the reverse of encode; a row that nobody of us wrote is an
// error.
func decodeWindow(id winKey, newest int64, raw []byte) (*window, error) {
	if id.span <= 0 || newest < 0 || newest > (math.MaxInt64/2)/id.width()-buckets {
		return nil, errCounts
	}
	w := &window{id: id, newest: newest}
	for i := int64(0); len(raw) > 0; i++ {
		v, n := binary.Uvarint(raw)
		if n <= 0 || i >= buckets || newest < i || v > uint64(math.MaxInt64-w.total) {
			return nil, errCounts
		}
		w.counts[(newest-i)%buckets] = int64(v)
		w.total += int64(v)
		raw = raw[n:]
	}
	return w, nil
}
