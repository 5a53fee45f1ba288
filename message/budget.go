package message

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// BudgetConfig sizes a Budget.
type BudgetConfig struct {
	// Total bounds the octets of all messages together, in memory and in
	// files. 0 means no bound.
	Total int64
	// Memory bounds those in memory; beyond it messages go to files, which is
	// never an error. 0 means no bound. It can be passed by one chunk (32 KB)
	// for each message that is being received at that moment.
	Memory int64
	// ReserveShare is the part of Total that only priority messages may use
	// (0 to 1): a flood from outside must not stop the own users' mail.
	ReserveShare float64
	// Headroom is kept free by Admit, for growth; it must be as large as the
	// largest message, else growth can end in ErrNoMemory.
	Headroom int64
}

// Validate reports a budget in which an admitted message might not find room.
func (c BudgetConfig) Validate() error {
	switch {
	case c.Total < 0 || c.Memory < 0 || c.Headroom < 0:
		return fmt.Errorf("message: budget: negative size")
	case c.ReserveShare < 0 || c.ReserveShare >= 1:
		return fmt.Errorf("message: budget: reserve share %g is not in [0, 1)", c.ReserveShare)
	case c.Total > 0 && c.Headroom > c.Total/2:
		return fmt.Errorf("message: budget: a total of %d octets is less than twice the largest message (%d)", c.Total, c.Headroom)
	}
	return nil
}

// Usage is a view of a Budget at one moment. Sizes in octets.
type Usage struct {
	Total, Memory            int64 // the bounds, 0 = none
	Used, UsedMemory         int64
	Messages                 int   // admitted and not yet released
	Waiting                  int   // messages that wait for room to grow
	Refused, Spilled, Waited int64 // since start: not admitted; sent to a file by the memory share; times that one waited
}

// Budget is the store of octets that all messages share. It never lets more
// than Total be promised, and every message that it admitted can be received
// to its end:
//
// A message that outgrows its estimate takes more, in steps. When nothing is
// left it waits (its client sees a slow connection). Headroom is never given to
// new messages; the oldest of those that wait, and only it, may draw on it.
// Headroom is as large as the largest message, so that one never waits again:
// it ends and gives everything back, and the next oldest follows.
type Budget struct {
	cfg      BudgetConfig
	ordinary int64 // limit for messages without priority
	limit    int64 // limit for all; Total less Headroom

	memory  atomic.Int64
	spilled atomic.Int64

	mu      sync.Mutex
	used    int64 // promised, without what was drawn from the headroom
	draw    int64 // drawn from the headroom
	drawer  *Grant
	waiting []*waiter // oldest grant first
	seq     uint64
	grants  int
	refused int64
	waits   int64
}

// waiter is a grant that wants to grow: by step if possible, by need at least.
type waiter struct {
	g          *Grant
	need, step int64
	ready      chan struct{}
	err        error
}

// NewBudget makes a Budget. Values outside their range are brought into it;
// call Validate to have them reported.
func NewBudget(c BudgetConfig) *Budget {
	c.Total, c.Memory, c.Headroom = max(c.Total, 0), max(c.Memory, 0), max(c.Headroom, 0)
	c.ReserveShare = min(max(c.ReserveShare, 0), 1)
	c.Headroom = min(c.Headroom, c.Total/2)
	b := &Budget{cfg: c, limit: c.Total - c.Headroom}
	b.ordinary = b.limit - int64(float64(b.limit)*c.ReserveShare)
	return b
}

// Grant is one message's share of a Budget.
type Grant struct {
	b        *Budget
	seq      uint64
	priority bool

	released atomic.Bool
	refs     atomic.Int32 // the caller and, while it lives, the message

	have   int64 // guarded by b.mu; all octets promised, with those drawn
	memory int64 // octets of memory; only its message's builder changes it
}

// Admit promises room for a message whose size is estimated (RFC 1870 SIZE, or
// a guess), before it is asked for. False means: answer 452 and try later. An
// estimate that could never fit counts as the largest that can. The caller
// calls Release when it is done with the message; the room becomes free when
// the message itself is released too.
func (b *Budget) Admit(estimate int64, priority bool) (*Grant, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	estimate = max(estimate, chunkSize)
	if b.cfg.Total > 0 {
		limit := b.limitOf(priority)
		estimate = min(estimate, limit)
		// Room belongs first to the messages that are already on their way.
		if limit <= 0 || b.used+estimate > limit || b.comesLater(priority) {
			b.refused++
			return nil, false
		}
	}
	b.seq++
	b.grants++
	b.used += estimate
	g := &Grant{b: b, seq: b.seq, priority: priority, have: estimate}
	g.refs.Store(1)
	return g, true
}

func (b *Budget) limitOf(priority bool) int64 {
	if priority {
		return b.limit
	}
	return b.ordinary
}

// comesLater reports whether a message waits that must come before a new one.
func (b *Budget) comesLater(priority bool) bool {
	for _, w := range b.waiting {
		if w.g.priority || !priority {
			return true
		}
	}
	return false
}

// Usage gives the state for the status command.
func (b *Budget) Usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Usage{
		Total: b.cfg.Total, Memory: b.cfg.Memory,
		Used: b.used + b.draw, UsedMemory: b.memory.Load(),
		Messages: b.grants, Waiting: len(b.waiting),
		Refused: b.refused, Spilled: b.spilled.Load(), Waited: b.waits,
	}
}

// Release ends the caller's use of the grant. Calling it again does nothing. A
// message that was built with the grant keeps its room until its own end.
func (g *Grant) Release() {
	if g != nil && !g.released.Swap(true) {
		g.drop()
	}
}

// hold adds the message's own use of the grant.
func (g *Grant) hold() {
	if g != nil {
		g.refs.Add(1)
	}
}

// promised is what the grant has before anybody has grown it.
func (g *Grant) promised() int64 {
	if g == nil {
		return 0
	}
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	return g.have
}

// drop ends one use; the last gives everything back.
func (g *Grant) drop() {
	if g == nil || g.refs.Add(-1) > 0 {
		return
	}
	b := g.b
	b.memory.Add(-g.memory)
	g.memory = 0
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants--
	b.give(g, g.have)
	b.serve()
}

// give takes n octets from g back, first those drawn from the headroom.
// b.mu is held.
func (b *Budget) give(g *Grant, n int64) {
	g.have -= n
	if b.drawer == g {
		d := min(n, b.draw)
		b.draw -= d
		n -= d
		if b.draw == 0 {
			b.drawer = nil
		}
	}
	b.used -= n
}

// shrink gives back what the message does not need: it is complete, or it is
// not kept.
func (g *Grant) shrink(size int64) {
	if g == nil {
		return
	}
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	if g.have > size {
		g.b.give(g, g.have-size)
		g.b.serve()
	}
}

// Steps of growth: not one visit to the lock for each write, and not much more
// promised than used.
const (
	minStep = 64 << 10
	maxStep = 1 << 20
)

// grow makes the promise at least need octets and returns it; most is the
// message's own limit. It waits for room until ctx ends.
func (g *Grant) grow(ctx context.Context, need, most int64) (int64, error) {
	b := g.b
	b.mu.Lock()
	if need <= g.have {
		defer b.mu.Unlock()
		return g.have, nil
	}
	step := max(need-g.have, min(max(g.have, minStep), maxStep))
	step = max(need-g.have, min(step, most-g.have))
	if b.cfg.Total == 0 {
		b.used += step
		g.have += step
		defer b.mu.Unlock()
		return g.have, nil
	}
	w := &waiter{g: g, need: need - g.have, step: step, ready: make(chan struct{})}
	b.enqueue(w)
	b.serve()
	if b.isWaiting(w) {
		b.waits++
	}
	b.mu.Unlock()

	err := w.wait(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.leave(w)
		b.serve() // its place may have kept others back
	}
	return g.have, err
}

func (w *waiter) wait(ctx context.Context) error {
	select {
	case <-w.ready: // room comes before a context that ended too
		return w.err
	default:
	}
	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNoMemory, context.Cause(ctx))
	}
}

// part is what of the wish the room allows: the step, else the need, else 0.
func (w *waiter) part(room int64) int64 {
	switch {
	case w.step <= room:
		return w.step
	case w.need <= room:
		return w.need
	}
	return 0
}

// enqueue puts w behind all older grants.
func (b *Budget) enqueue(w *waiter) {
	i := len(b.waiting)
	for i > 0 && b.waiting[i-1].g.seq > w.g.seq {
		i--
	}
	b.waiting = append(b.waiting, nil)
	copy(b.waiting[i+1:], b.waiting[i:])
	b.waiting[i] = w
}

func (b *Budget) isWaiting(w *waiter) bool {
	for _, x := range b.waiting {
		if x == w {
			return true
		}
	}
	return false
}

func (b *Budget) leave(w *waiter) {
	for i, x := range b.waiting {
		if x == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			return
		}
	}
}

// serve gives room to those that wait, oldest first; a younger one never passes
// an older one of its own class. b.mu is held.
func (b *Budget) serve() {
	blocked, blockedPriority := false, false
	kept := b.waiting[:0]
	for _, w := range b.waiting {
		oldest := !blocked && !blockedPriority
		ordinary := int64(0)
		if oldest || w.g.priority && !blockedPriority {
			ordinary = w.part(b.limitOf(w.g.priority) - b.used)
		}
		n := int64(0)
		switch {
		case b.drawer == w.g:
			// Never waits: a message that needs more than the headroom is
			// larger than the largest message, or the budget is too small.
			if n = w.part(b.cfg.Headroom - b.draw); n == 0 {
				w.err = ErrNoMemory
			}
			b.draw += n
		case ordinary > 0:
			n = ordinary
			b.used += n
		case b.drawer == nil: // the first that comes here is the oldest
			if n = w.part(b.cfg.Headroom); n > 0 {
				b.drawer, b.draw = w.g, n
			}
		}
		if n == 0 && w.err == nil {
			blocked = blocked || !w.g.priority
			blockedPriority = blockedPriority || w.g.priority
			kept = append(kept, w)
			continue
		}
		w.g.have += n
		close(w.ready)
	}
	clear(b.waiting[len(kept):])
	b.waiting = kept
	// Once nobody waits, the drawn octets become ordinary ones when they fit,
	// and the headroom is whole again for the next time.
	if d := b.drawer; d != nil && len(kept) == 0 && b.used+b.draw <= b.limitOf(d.priority) {
		b.used += b.draw
		b.drawer, b.draw = nil, 0
	}
}

// takeMemory asks for n octets of the memory share.
func (g *Grant) takeMemory(n int64) bool {
	if g == nil {
		return true
	}
	most := g.b.cfg.Memory
	for {
		now := g.b.memory.Load()
		if most > 0 && now+n > most {
			g.b.spilled.Add(1)
			return false
		}
		if g.b.memory.CompareAndSwap(now, now+n) {
			g.memory += n
			return true
		}
	}
}

// forceMemory takes n octets whatever the share says.
func (g *Grant) forceMemory(n int64) {
	if g != nil {
		g.b.memory.Add(n)
		g.memory += n
	}
}

// giveMemory gives n octets back.
func (g *Grant) giveMemory(n int64) {
	if g != nil {
		g.b.memory.Add(-n)
		g.memory -= n
	}
}
