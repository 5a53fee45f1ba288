package relay

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var errClosed = errors.New("next hop is closed")

// pool bounds the connections to one next hop and keeps the idle ones. Every
// connection that is busy, idle, being made or being closed holds a slot. One
// fifth of the slots is never given to inbound mail, so that a flood from
// outside cannot keep our own users' mail back.
type pool struct {
	max, reserve int
	idleTimeout  time.Duration
	// bye ends idle connections; it runs outside the lock.
	bye func(*conn)

	mu      sync.Mutex
	total   int // slots in use
	inbound int // busy slots of inbound mail
	busy    int
	idle    []*conn   // the last used is the last; LIFO keeps few warm
	waiting list.List // of *waiter, first come first served
	timer   *time.Timer
	armed   bool
	closed  bool
	ending  int       // closings and RSETs under way
	quiet   sync.Cond // signalled when ending falls to nothing
}

type waiter struct {
	priority bool
	granted  chan grant // of capacity 1: a grant is never blocked
}

// grant is a slot: with an idle connection, or nil to make a new one.
type grant struct {
	c   *conn
	err error
}

// acquire takes a slot, waiting at most budget and no longer than ctx.
func (p *pool) acquire(ctx context.Context, priority bool, budget time.Duration) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	// Whoever waits is not eligible at this moment, or it would have been
	// granted: nobody is overtaken here by one of the same class.
	if p.eligible(priority) {
		c := p.take(priority)
		p.mu.Unlock()
		return c, nil
	}
	w := &waiter{priority: priority, granted: make(chan grant, 1)}
	e := p.waiting.PushBack(w)
	p.mu.Unlock()

	timer := time.NewTimer(budget)
	defer timer.Stop()
	var why error
	select {
	case g := <-w.granted:
		return g.c, g.err
	case <-timer.C:
		why = fmt.Errorf("no free connection within %s", budget)
	case <-ctx.Done():
		why = fmt.Errorf("no free connection: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case g := <-w.granted: // it came at the last moment: it is ours
		return g.c, g.err
	default:
	}
	p.waiting.Remove(e)
	return nil, why
}

func (p *pool) eligible(priority bool) bool {
	if !priority && p.inbound >= p.max-p.reserve {
		return false
	}
	return len(p.idle) > 0 || p.total < p.max
}

// take gives a slot under the lock.
func (p *pool) take(priority bool) *conn {
	p.busy++
	if !priority {
		p.inbound++
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		return c
	}
	p.total++
	return nil
}

// serve gives what is free to those who wait, first come first served.
func (p *pool) serve() {
	for e := p.waiting.Front(); e != nil; {
		next := e.Next()
		w := e.Value.(*waiter)
		switch {
		case p.closed:
			p.waiting.Remove(e)
			w.granted <- grant{err: errClosed}
		case p.eligible(w.priority):
			p.waiting.Remove(e)
			w.granted <- grant{c: p.take(w.priority)}
		case w.priority: // nothing is free at all
			return
		}
		e = next
	}
}

// put gives a slot back with its connection, which must be between two
// transactions, or with nil when that was closed.
func (p *pool) put(c *conn, priority bool) {
	p.mu.Lock()
	p.busy--
	if !priority {
		p.inbound--
	}
	if c == nil {
		p.total--
	} else if p.closed {
		p.farewell(c)
	} else {
		c.idle = time.Now()
		p.idle = append(p.idle, c)
		p.arm(p.idleTimeout)
	}
	p.serve()
	p.mu.Unlock()
}

// retire gives the slot back after a healthy connection has said QUIT.
func (p *pool) retire(c *conn, priority bool) {
	p.mu.Lock()
	p.busy--
	if !priority {
		p.inbound--
	}
	p.farewell(c)
	p.mu.Unlock()
}

// farewell ends a connection in the background; its slot is free afterwards.
func (p *pool) farewell(c *conn) {
	p.ending++
	go func() {
		p.bye(c)
		p.mu.Lock()
		p.total--
		p.serve()
		p.ended()
		p.mu.Unlock()
	}()
}

// background runs f, which close waits for.
func (p *pool) background(f func()) {
	p.mu.Lock()
	p.ending++
	p.mu.Unlock()
	go func() {
		f()
		p.mu.Lock()
		p.ended()
		p.mu.Unlock()
	}()
}

func (p *pool) ended() {
	if p.ending--; p.ending == 0 {
		p.quiet.Broadcast()
	}
}

// arm starts the idle timer unless it runs.
func (p *pool) arm(d time.Duration) {
	if p.armed {
		return
	}
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.reap)
	} else {
		p.timer.Reset(d)
	}
}

// reap ends the connections that were idle too long; they are the first.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	n := 0
	now := time.Now()
	for n < len(p.idle) && now.Sub(p.idle[n].idle) >= p.idleTimeout {
		p.farewell(p.idle[n])
		n++
	}
	p.idle = append(p.idle[:0], p.idle[n:]...)
	if len(p.idle) > 0 && !p.closed {
		p.arm(p.idleTimeout - now.Sub(p.idle[0].idle))
	}
}

// init sets the bounds.
func (p *pool) init(connections int, idle time.Duration, bye func(*conn)) {
	p.max, p.reserve, p.idleTimeout, p.bye = connections, connections/5, idle, bye
	p.quiet.L = &p.mu
}

// close ends the idle connections and turns away those who wait; busy ones
// end as they are given back. It returns when what it began has ended.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, c := range p.idle {
		p.farewell(c)
	}
	p.idle = nil
	p.serve()
	for p.ending > 0 {
		p.quiet.Wait()
	}
	p.mu.Unlock()
}

// wanted tells that somebody waits for a slot.
func (p *pool) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.Len() > 0
}

func (p *pool) stats() (busy, idle, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, len(p.idle), p.waiting.Len()
}
