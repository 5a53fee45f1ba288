package greylist

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	clockKey = "greylist/clock"
	// clockEvery is how often the clock is written, in seconds: a jump of the
	// wall clock less than that before a restart is taken for time that passed.
	clockEvery = 30
	maxGap     = 7 * 24 * 3600
)

// clock is the time of the table in seconds: the wall clock of its first start,
// and what has passed since on a clock that nobody sets.
type clock struct {
	steady  func() time.Duration
	base    int64         // seconds where steady is zero
	begin   time.Duration // steady at open
	written atomic.Int64
}

// open goes on where the table before has stopped.
func (c *clock) open(o *Options) error {
	if c.steady = o.Steady; c.steady == nil {
		start := o.Now()
		c.steady = func() time.Duration { return o.Now().Sub(start) }
	}
	c.begin = c.steady()
	wall := o.Now().Unix()
	c.base = max(wall, 0)
	ctx, cancel := context.WithTimeout(context.Background(), o.Wait)
	defer cancel()
	raw, found, err := o.Store.Get(ctx, clockKey)
	if err != nil {
		return err
	}
	if table, then, ok := decode(raw); found && ok {
		gap := wall - then
		if gap < 0 || gap > maxGap {
			gap = 0
		}
		c.base = table + gap
	}
	return nil
}

// now is the time of the table; it is written now and then.
func (c *clock) now(ctx context.Context, o *Options) int64 {
	now := c.base + int64((c.steady()-c.begin)/time.Second)
	if last := c.written.Load(); (now >= last+clockEvery || now < last) && c.written.CompareAndSwap(last, now) {
		// What cannot be written is written next time.
		_ = o.Store.Put(ctx, clockKey, encode(now, max(0, o.Now().Unix())), 0)
	}
	return now
}
