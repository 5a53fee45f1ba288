package maillog

import (
	"strconv"
	"time"
)

// batch is what the writer took from the queue.
type batch struct {
	data []byte
	ends []int
}

// run is the writer goroutine: the only one that touches the destination.
func (l *Logger) run() {
	defer close(l.done)
	defer l.out.close()
	var (
		spare   batch
		broken  bool // the last write ended inside a line
		told    uint64
		checked time.Time
	)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		stopping := l.await(timer)
		if l.reopen.Swap(false) || l.movedSince(&checked) {
			l.reopenNow()
		}
		b := l.swap(spare)
		if len(b.ends) > 0 {
			if d := l.dropped.Load(); d != told {
				if note := l.droppedNote(nil, d-told); l.writeNote(note, &broken) {
					told = d
				}
			}
			l.writeBatch(b, &broken)
		}
		l.finish(len(b.ends))
		spare = b.reset()
		if stopping {
			return
		}
	}
}

// await waits for records, then a little for more of them. It tells that the
// logger was closed: what is queued then is the last.
func (l *Logger) await(timer *time.Timer) bool {
	select {
	case <-l.stop:
		return true
	case <-l.wake:
	}
	timer.Reset(batchDelay)
	select {
	case <-l.stop:
		return true
	case <-l.hurry:
	case <-timer.C:
	}
	return false
}

// swap takes the queue and leaves the spare buffers in its place.
func (l *Logger) swap(spare batch) batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := batch{l.pending, l.ends}
	l.pending, l.ends = spare.data, spare.ends
	return b
}

// reset empties a batch and gives up buffers that a burst has made large.
func (b batch) reset() batch {
	if cap(b.data) > keepBuffer {
		return batch{}
	}
	return batch{b.data[:0], b.ends[:0]}
}

func (l *Logger) finish(n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	l.written += uint64(n)
	l.mu.Unlock()
	l.flushed.Broadcast()
}

// movedSince looks, at most once a second, whether the file was renamed.
func (l *Logger) movedSince(last *time.Time) bool {
	now := l.now()
	if d := now.Sub(*last); d >= 0 && d < movedEvery {
		return false
	}
	*last = now
	return l.out.moved()
}

func (l *Logger) reopenNow() {
	if err := l.out.reopen(); err != nil {
		l.fail(err)
		return
	}
	l.reopens.Add(1)
}

func (l *Logger) fail(err error) {
	text := err.Error()
	l.errors.Add(1)
	l.lastError.Store(&text)
}

// writeBatch writes all records in one write. What was not written is lost
// and counted: to keep it would only make the queue overflow a little later.
func (l *Logger) writeBatch(b batch, broken *bool) {
	if *broken && l.writeNote([]byte{'\n'}, broken) {
		*broken = false
	}
	n, err := l.out.write(b.data)
	if err == nil && n == len(b.data) {
		l.records.Add(uint64(len(b.ends)))
		return
	}
	if err != nil {
		l.fail(err)
	}
	whole := 0
	for whole < len(b.ends) && b.ends[whole] <= n {
		whole++
	}
	if n > 0 {
		*broken = b.data[n-1] != '\n'
	}
	l.records.Add(uint64(whole))
	l.dropped.Add(uint64(len(b.ends) - whole))
}

// writeNote writes a line of the writer's own.
func (l *Logger) writeNote(p []byte, broken *bool) bool {
	if *broken && p[0] != '\n' {
		p = append([]byte{'\n'}, p...)
	}
	n, err := l.out.write(p)
	if err != nil {
		l.fail(err)
	}
	if n > 0 {
		*broken = p[n-1] != '\n'
	}
	return err == nil
}

func (l *Logger) droppedNote(b []byte, n uint64) []byte {
	if l.json {
		b = l.openJSON(b, "log", "warning")
		b = append(b, `,"message":"`...)
		b = strconv.AppendUint(b, n, 10)
		return append(b, " records dropped\"}\n"...)
	}
	b = l.openLine(b, "log")
	b = append(b, "warning: "...)
	b = strconv.AppendUint(b, n, 10)
	return append(b, " records dropped\n"...)
}
