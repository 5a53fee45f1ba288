package store

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"
)

// coarse is how many parts a span has when nobody says: an eighth of the span
// is precise enough against floods.
const coarse = 8

// MaxBuckets bounds Window.Buckets: the hours of a month.
const MaxBuckets = 31 * 24

// winKey tells windows apart: one key may have several spans (so many an hour
// and so many a day).
type winKey struct {
	key   string
	span  time.Duration
	parts int64 // of the span; one more bucket is being filled
}

// id is the window's name, with the parts that it has when none are said.
func (w *Window) id() winKey {
	parts := int64(w.Buckets)
	if parts == 0 {
		parts = coarse
	}
	return winKey{w.Key, w.Span, parts}
}

// cell is a bucket in which something was counted.
type cell struct{ n, count int64 }

// window is one counter. Its shard's lock guards it. It holds only the buckets
// that are not empty: a client that comes once has one, whatever the number
// of parts is.
type window struct {
	id     winKey
	newest int64  // number of the newest bucket
	cells  []cell // in ascending order; begins in room
	room   [2]cell
	total  int64

	dirty, stored, dead bool
}

func newWindow(id winKey, newest int64) *window {
	w := &window{id: id, newest: newest}
	w.cells = w.room[:0]
	return w
}

// width is that of one bucket in nanoseconds, rounded up: never too short.
func (k winKey) width() int64 { return (int64(k.span) + k.parts - 1) / k.parts }

// buckets are those that cover the span and the one that is being filled: what
// falls in part out of the span still counts, so a limit is never exceeded.
func (k winKey) buckets() int64 { return k.parts + 1 }

// advance drops the buckets that have left the window.
func (w *window) advance(now int64) {
	w.newest = max(w.newest, now/w.id.width())
	gone := 0
	for gone < len(w.cells) && w.newest-w.cells[gone].n >= w.id.buckets() {
		w.total -= w.cells[gone].count
		gone++
	}
	if gone > 0 {
		w.cells = w.cells[:copy(w.cells, w.cells[gone:])]
	}
}

// add counts; a sum that would not fit stays at the largest number.
func (w *window) add(cost int64) {
	if cost = min(cost, math.MaxInt64-w.total); cost == 0 {
		return
	}
	w.total += cost
	if last := len(w.cells) - 1; last >= 0 && w.cells[last].n == w.newest {
		w.cells[last].count += cost
		return
	}
	w.cells = append(w.cells, cell{w.newest, cost})
}

// take takes back what was counted in a bucket, if that still counts.
func (w *window) take(bucket, cost int64) {
	for i := len(w.cells) - 1; i >= 0 && w.cells[i].n >= bucket; i-- {
		if c := &w.cells[i]; c.n == bucket {
			cost = min(cost, c.count)
			c.count -= cost
			w.total -= cost
			if c.count == 0 {
				w.cells = slices.Delete(w.cells, i, i+1)
			}
			return
		}
	}
}

// expires is when nothing of it counts any more.
func (w *window) expires() int64 {
	if len(w.cells) == 0 {
		return 0
	}
	return (w.cells[len(w.cells)-1].n + w.id.buckets()) * w.id.width()
}

// free is how long until total is at most room.
func (w *window) free(now, room int64) time.Duration {
	if room < 0 {
		return Never
	}
	left := w.total
	for _, c := range w.cells {
		if left -= c.count; left <= room {
			return time.Duration((c.n+w.id.buckets())*w.id.width() - now)
		}
	}
	return Never
}

// history are the counts from the newest bucket to the oldest.
func (w *window) history() []int64 {
	h := make([]int64, w.id.buckets())
	for _, c := range w.cells {
		h[w.newest-c.n] = c.count
	}
	return h
}

// encode writes the counts from the newest to the oldest, without the zeros at
// the end.
func (w *window) encode() []byte {
	b := []byte{} // never nil: the column has a value
	next := w.newest
	for i := len(w.cells) - 1; i >= 0; i-- {
		for ; next > w.cells[i].n; next-- {
			b = append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(w.cells[i].count))
		next--
	}
	return b
}

var errCounts = errors.New("store: a counter's row cannot be read")

// decodeWindow is the reverse of encode; a row that nobody of us wrote is an
// error.
func decodeWindow(id winKey, newest int64, raw []byte) (*window, error) {
	if id.span <= 0 || id.parts < 1 || id.parts > MaxBuckets || newest < 0 || newest > (math.MaxInt64/2)/id.width()-id.buckets() {
		return nil, errCounts
	}
	w := newWindow(id, newest)
	for i := int64(0); len(raw) > 0; i++ {
		v, n := binary.Uvarint(raw)
		if n <= 0 || i >= id.buckets() || newest < i || v > uint64(math.MaxInt64-w.total) {
			return nil, errCounts
		}
		if v > 0 {
			w.cells = append(w.cells, cell{newest - i, int64(v)})
			w.total += int64(v)
		}
		raw = raw[n:]
	}
	slices.Reverse(w.cells)
	return w, nil
}
