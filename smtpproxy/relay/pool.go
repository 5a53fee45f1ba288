package relay

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

var errClosed = errors.New("next hop is closed")

// pool bounds the connections to one next hop and keeps the idle ones. Every
// connection that is busy, idle, being made or being closed holds a slot. One
// fifth of the slots is never given to inbound mail, so that a flood from
// outside cannot keep our own users' mail back.
type pool struct {
	max         int
	idleTimeout time.Duration
	// owned: connections may belong to a client session (XCLIENT).
	owned bool
	// bye ends idle connections; it runs outside the lock.
	bye func(*conn)

	mu sync.Mutex
	// limit is max, or less for a while after the next hop took no more; one
	// fifth of it is the reserve.
	limit   int
	lowered time.Time
	total   int // slots in use
	inbound int // busy slots of inbound mail
	busy    int
	idle    []*conn   // the last used is the last; LIFO keeps few warm
	waiting list.List // of *waiter, by their coming
	// turns is when each client that waits, or has waited, was last given a
	// connection; empty while nobody waits. Somebody may wait for days: it has
	// maxTurns at most, and then all are equal again.
	turns   map[netip.Prefix]uint64
	turn    uint64
	timer   *time.Timer
	armed   bool
	fires   time.Time // when armed
	closed  bool
	retired bool
	leaving int       // farewells under way
	ending  int       // closings and RSETs under way
	quiet   sync.Cond // signalled when ending falls to nothing
}

// want is what somebody needs a connection for.
type want struct {
	priority bool
	// owner is the client session, where connections belong to one.
	owner string
	// host is whose turn it is; nil: any.
	host *host
	// client is whom inbound mail comes from. Clients take turns: one that
	// keeps many sessions waiting waits for itself.
	client netip.Prefix
}

type waiter struct {
	want
	granted chan grant // of capacity 1: a grant is never blocked
}

// sessionIdle is how long the connection of a client session waits for its
// next message: nobody else can use it meanwhile.
const sessionIdle = 5 * time.Second

// maxTurns bounds the clients whose turns are remembered.
const maxTurns = 10_000

// growEvery is how often a lowered limit is raised by one again.
const growEvery = 10 * time.Second

// grant is a slot: with an idle connection, or nil to make a new one.
type grant struct {
	c   *conn
	err error
}

// acquire takes a slot, waiting at most budget and no longer than ctx.
func (p *pool) acquire(ctx context.Context, who want, budget time.Duration) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if p.limit < p.max {
		p.grow()
	}
	// Whoever waits is not eligible at this moment, or it would have been
	// granted: nobody is overtaken here by one of the same class.
	if p.eligible(&who) {
		c := p.take(&who)
		p.mu.Unlock()
		return c, nil
	}
	w := &waiter{want: who, granted: make(chan grant, 1)}
	e := p.waiting.PushBack(w)
	p.evict()
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

func (p *pool) eligible(w *want) bool {
	if !w.priority && p.inbound >= p.limit-p.limit/5 {
		return false
	}
	return p.total < p.limit || p.find(w) >= 0
}

// find gives the idle connection to use, -1 for none: the one used last, which
// keeps few of them warm. Where it is somebody's turn, one of his comes first,
// then a new one as long as there is room.
func (p *pool) find(w *want) int {
	last := len(p.idle) - 1
	if !p.owned && w.host == nil {
		return last
	}
	other := -1
	for i := last; i >= 0; i-- {
		c := p.idle[i]
		switch {
		case c.owner != w.owner && c.owner != "":
		case c.owner == w.owner && (w.host == nil || c.host == w.host):
			return i
		case other < 0:
			other = i
		}
	}
	if w.host != nil && p.total < p.limit {
		return -1
	}
	return other
}

// take gives a slot under the lock.
func (p *pool) take(w *want) *conn {
	p.busy++
	if !w.priority {
		p.inbound++
	}
	if i := p.find(w); i >= 0 {
		c := p.idle[i]
		copy(p.idle[i:], p.idle[i+1:])
		n := len(p.idle) - 1
		p.idle[n] = nil
		p.idle = p.idle[:n]
		return c
	}
	p.total++
	return nil
}

// evict ends idle connections that are no use to those who wait, because they
// belong to sessions of others: one for each who waits.
func (p *pool) evict() {
	if !p.owned {
		return
	}
	for len(p.idle) > 0 && p.total >= p.limit && p.leaving < p.waiting.Len() {
		c := p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
		p.farewell(c)
	}
}

// lower makes the limit what the next hop was seen to take, n connections that
// it greeted; the caller's slot is not among them. False: there is none in the
// pool, so there is nothing to wait for.
func (p *pool) lower(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n = min(n, p.total-1); n < 1 {
		return false
	}
	p.limit, p.lowered = min(p.limit, n), time.Now()
	return true
}

// grow tries, now and then, whether the next hop takes one more again.
func (p *pool) grow() {
	now := time.Now()
	for p.limit < p.max && now.Sub(p.lowered) >= growEvery {
		p.limit++
		p.lowered = p.lowered.Add(growEvery)
	}
	p.serve()
}

// serve gives what is free to those who wait: first come first served for our
// own users and clients that have had none yet, then the client that was given
// a connection longest ago. So fifty idle sessions of one stranger delay the
// others by one connection and not by fifty.
func (p *pool) serve() {
	for p.waiting.Len() > 0 {
		var next *list.Element
		for e := p.waiting.Front(); e != nil; e = e.Next() {
			w := e.Value.(*waiter)
			if p.closed || p.eligible(&w.want) && (next == nil || p.before(w, next.Value.(*waiter))) {
				next = e
			}
			if next != nil && (p.closed || p.last(next.Value.(*waiter)) == 0) {
				break // nobody comes before that one
			}
		}
		if next == nil {
			break
		}
		w := p.waiting.Remove(next).(*waiter)
		switch {
		case p.closed:
			w.granted <- grant{err: errClosed}
			continue
		case !w.priority:
			if p.turns == nil {
				p.turns = map[netip.Prefix]uint64{}
			}
			if len(p.turns) >= maxTurns {
				clear(p.turns)
			}
			p.turn++
			p.turns[w.client] = p.turn
		}
		w.granted <- grant{c: p.take(&w.want)}
	}
	if p.waiting.Len() == 0 {
		clear(p.turns)
	}
	p.evict()
}

// last is when the client of a waiter had its turn; 0 is never.
func (p *pool) last(w *waiter) uint64 {
	if w.priority {
		return 0
	}
	return p.turns[w.client]
}

func (p *pool) before(w, other *waiter) bool { return p.last(w) < p.last(other) }

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
	} else if p.closed || p.retired {
		p.farewell(c)
	} else {
		c.idle = time.Now()
		p.idle = append(p.idle, c)
		p.arm(p.patience(c))
	}
	p.serve()
	p.mu.Unlock()
}

// retire gives the slot back after a healthy connection has said QUIT. Another
// slot may be free meanwhile that was not for inbound mail: nobody waits for
// that farewell.
func (p *pool) retire(c *conn, priority bool) {
	p.mu.Lock()
	p.busy--
	if !priority {
		p.inbound--
	}
	p.farewell(c)
	p.serve()
	p.mu.Unlock()
}

// farewell ends a connection in the background; its slot is free afterwards.
func (p *pool) farewell(c *conn) {
	p.ending++
	p.leaving++
	go func() {
		p.bye(c)
		p.mu.Lock()
		p.total--
		p.leaving--
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

// arm starts the idle timer unless it runs and is soon enough.
func (p *pool) arm(d time.Duration) {
	at := time.Now().Add(d)
	if p.armed && !at.Before(p.fires) {
		return
	}
	p.armed, p.fires = true, at
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.reap)
	} else {
		p.timer.Reset(d)
	}
}

// patience is how long a connection may be idle.
func (p *pool) patience(c *conn) time.Duration {
	if c.owner != "" {
		return min(sessionIdle, p.idleTimeout)
	}
	return p.idleTimeout
}

// reap ends the connections that were idle too long.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	now := time.Now()
	kept, next := p.idle[:0], time.Duration(0)
	for _, c := range p.idle {
		left := p.patience(c) - now.Sub(c.idle)
		if left <= 0 {
			p.farewell(c)
			continue
		}
		kept = append(kept, c)
		if next == 0 || left < next {
			next = left
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if len(p.idle) > 0 && !p.closed {
		p.arm(next)
	}
}

// init sets the bounds.
func (p *pool) init(connections int, idle time.Duration, bye func(*conn)) {
	p.max, p.limit, p.idleTimeout, p.bye = connections, connections, idle, bye
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

// retireAll ends the idle connections and keeps none from now on; slots are
// given as before.
func (p *pool) retireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	if p.timer != nil {
		p.timer.Stop()
		p.armed = false
	}
	for _, c := range p.idle {
		p.farewell(c)
	}
	p.idle = nil
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
