package message

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func admit(t *testing.T, b *Budget, n int64, priority, want bool) *Grant {
	t.Helper()
	g, ok := b.Admit(n, priority)
	if ok != want || (g != nil) != want {
		t.Fatalf("Admit(%d, %v) = %v, want %v; %+v", n, priority, ok, want, b.Usage())
	}
	return g
}

const mb = 1 << 20

func TestAdmit(t *testing.T) {
	// 100 MB less 20 MB headroom = 80 MB, of which 64 MB are for everyone.
	b := NewBudget(BudgetConfig{Total: 100 * mb, ReserveShare: 0.2, Headroom: 20 * mb})
	first := admit(t, b, 64*mb, false, true)
	admit(t, b, 0, false, false)
	own := admit(t, b, 16*mb, true, true)
	admit(t, b, 0, true, false)
	if u := b.Usage(); u.Used != 80*mb || u.Messages != 2 || u.Refused != 2 {
		t.Errorf("usage %+v", u)
	}
	first.Release()
	first.Release() // again: nothing
	if u := b.Usage(); u.Used != 16*mb || u.Messages != 1 {
		t.Errorf("usage after release %+v", u)
	}
	own.Release()
	// An estimate that can never fit still gets in when nothing else is there.
	huge := admit(t, b, 1<<60, false, true)
	if u := b.Usage(); u.Used != 64*mb {
		t.Errorf("usage %+v", u)
	}
	huge.Release()
	// SIZE=0 costs a chunk, so that their number is bounded too.
	n := 0
	for {
		if _, ok := b.Admit(0, false); !ok {
			break
		}
		n++
	}
	if n != 64*mb/chunkSize {
		t.Errorf("%d messages without a size, want %d", n, 64*mb/chunkSize)
	}
}

func TestNoBound(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	g := admit(t, b, 1<<50, false, true)
	if have, err := g.grow(context.Background(), 1<<51, 1<<52); err != nil || have < 1<<51 {
		t.Errorf("grow: %d, %v", have, err)
	}
	if !g.takeMemory(1 << 40) {
		t.Error("memory share without a bound refuses")
	}
	g.Release()
	if u := b.Usage(); u.Used != 0 || u.UsedMemory != 0 {
		t.Errorf("%+v", u)
	}
	var none *Grant
	none.Release()
}

func TestBudgetConfig(t *testing.T) {
	for _, c := range []BudgetConfig{
		{Total: -1}, {Memory: -1}, {Headroom: -1}, {ReserveShare: -0.1}, {ReserveShare: 1},
		{Total: 49, Headroom: 25},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is called valid", c)
		}
		NewBudget(c).Admit(1, false) // and does not break
	}
	if err := (BudgetConfig{Total: 50, Headroom: 25, ReserveShare: 0.2, Memory: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

// waitFor polls for a state that another goroutine must reach; without it the
// test ends by its own deadline, so that no result depends on speed.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// grower grows a grant in a goroutine and tells when it is through.
func grower(ctx context.Context, g *Grant, need, most int64) <-chan error {
	c := make(chan error, 1)
	go func() {
		_, err := g.grow(ctx, need, most)
		c <- err
	}()
	return c
}

// TestHeadroom: the oldest of those that wait draws on the headroom, one at a
// time, the others follow when it ends.
func TestHeadroom(t *testing.T) {
	ctx := context.Background()
	b := NewBudget(BudgetConfig{Total: 50 * mb, ReserveShare: 0.25, Headroom: 10 * mb})
	var gs [3]*Grant
	for i := range gs {
		gs[i] = admit(t, b, 10*mb, false, true)
	}
	// The youngest is the first to need more: nobody older waits, it draws.
	if _, err := gs[2].grow(ctx, 11*mb, 20*mb); err != nil {
		t.Fatal(err)
	}
	young := grower(ctx, gs[1], 11*mb, 20*mb)
	waitFor(t, "second waits", func() bool { return b.Usage().Waiting == 1 })
	old := grower(ctx, gs[0], 11*mb, 20*mb)
	waitFor(t, "third waits", func() bool { return b.Usage().Waiting == 2 })
	admit(t, b, 1, false, false) // who waits comes before who is new
	admit(t, b, 1, true, true).Release()
	// The one that draws goes on to the largest message without waiting.
	for n := int64(12); n <= 20; n++ {
		if _, err := gs[2].grow(ctx, n*mb, 20*mb); err != nil {
			t.Fatal(err)
		}
	}
	if u := b.Usage(); u.Used != 40*mb || u.Waiting != 2 {
		t.Errorf("full: %+v", u)
	}
	if _, err := gs[2].grow(ctx, 21*mb, 30*mb); !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the headroom: %v", err)
	}
	gs[2].Release() // room for both
	if err := <-old; err != nil {
		t.Error(err)
	}
	if err := <-young; err != nil {
		t.Error(err)
	}
	gs[0].Release()
	gs[1].Release()
	if u := b.Usage(); u.Used != 0 || u.Messages != 0 || u.Waiting != 0 || u.Waited != 2 {
		t.Errorf("at the end: %+v", u)
	}
}

// TestOldestFirst: with the headroom taken, freed room goes to the oldest.
func TestOldestFirst(t *testing.T) {
	ctx := context.Background()
	b := NewBudget(BudgetConfig{Total: 5 * mb, Headroom: 1 * mb})
	old, young := admit(t, b, mb, false, true), admit(t, b, mb, false, true)
	drawer, other := admit(t, b, mb, false, true), admit(t, b, mb, false, true)
	if _, err := drawer.grow(ctx, 2*mb, 2*mb); err != nil {
		t.Fatal(err)
	}
	youngDone := grower(ctx, young, 2*mb, 2*mb)
	waitFor(t, "young waits", func() bool { return b.Usage().Waiting == 1 })
	oldDone := grower(ctx, old, 2*mb, 2*mb)
	waitFor(t, "old waits", func() bool { return b.Usage().Waiting == 2 })
	other.Release()
	if err := <-oldDone; err != nil {
		t.Error(err)
	}
	if u := b.Usage(); u.Waiting != 1 {
		t.Errorf("the younger was served too: %+v", u)
	}
	drawer.Release()
	if err := <-youngDone; err != nil {
		t.Error(err)
	}
}

// TestNoOvertaking: room too small for the oldest is kept for it, and goes to
// the next only when the oldest gives up.
func TestNoOvertaking(t *testing.T) {
	b := NewBudget(BudgetConfig{Total: 10 * mb, ReserveShare: 0.25, Headroom: 2 * mb}) // 6 MB ordinary, 8 MB all
	drawer, old, young := admit(t, b, mb, false, true), admit(t, b, mb, false, true), admit(t, b, mb, false, true)
	filler := admit(t, b, 2*mb, false, true)
	if _, err := drawer.grow(context.Background(), 3*mb, 3*mb); err != nil {
		t.Fatal(err)
	}
	if u := b.Usage(); u.Used != 7*mb {
		t.Fatalf("drawn: %+v", u)
	}
	ctx, cancel := context.WithCancel(context.Background())
	oldDone := grower(ctx, old, 4*mb, 4*mb) // 3 MB more, 1 MB is there
	waitFor(t, "old waits", func() bool { return b.Usage().Waiting == 1 })
	youngDone := grower(context.Background(), young, mb+mb/2, 2*mb)
	waitFor(t, "young waits", func() bool { return b.Usage().Waiting == 2 })
	admit(t, b, mb, false, false) // nor does a new one take it
	own := admit(t, b, mb, true, true)
	own.Release()
	if u := b.Usage(); u.Waiting != 2 {
		t.Errorf("the younger passed: %+v", u)
	}
	cancel()
	if err := <-oldDone; !errors.Is(err, ErrNoMemory) {
		t.Error(err)
	}
	if err := <-youngDone; err != nil {
		t.Error(err)
	}
	for _, g := range []*Grant{drawer, old, young, filler} {
		g.Release()
	}
	if u := b.Usage(); u.Used != 0 || u.Messages != 0 {
		t.Errorf("leak: %+v", u)
	}
}

func TestGrowIsBoundByContext(t *testing.T) {
	b := NewBudget(BudgetConfig{Total: 4 * mb, Headroom: mb})
	a, c, d := admit(t, b, mb, false, true), admit(t, b, mb, false, true), admit(t, b, mb, false, true)
	if _, err := a.grow(context.Background(), 2*mb, 2*mb); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := grower(ctx, c, 2*mb, 2*mb)
	waitFor(t, "first waits", func() bool { return b.Usage().Waiting == 1 })
	second := grower(context.Background(), d, mb+1, 2*mb)
	waitFor(t, "second waits", func() bool { return b.Usage().Waiting == 2 })
	cancel()
	if err := <-first; !errors.Is(err, ErrNoMemory) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if u := b.Usage(); u.Waiting != 1 {
		t.Errorf("it waits on: %+v", u)
	}
	// With room at hand an ended context does not matter.
	c.Release()
	if err := <-second; err != nil {
		t.Error(err)
	}
	a.Release()
	d.Release()
	e := admit(t, b, 1, false, true)
	if _, err := e.grow(ctx, mb, mb); err != nil {
		t.Errorf("room at hand: %v", err)
	}
	e.Release()
	if u := b.Usage(); u.Used != 0 || u.Messages != 0 {
		t.Errorf("leak: %+v", u)
	}
}

// TestReserve: growth of ordinary mail does not take what is kept for priority.
func TestReserve(t *testing.T) {
	b := NewBudget(BudgetConfig{Total: 10 * mb, ReserveShare: 0.5, Headroom: 2 * mb})
	in := admit(t, b, 4*mb, false, true)
	if _, err := in.grow(context.Background(), 6*mb, 6*mb); err != nil { // from the headroom
		t.Fatal(err)
	}
	out := admit(t, b, 4*mb, true, true)
	if u := b.Usage(); u.Used != 10*mb {
		t.Errorf("%+v", u)
	}
	in.Release()
	out.Release()
}

// TestMemoryShare: beyond the share messages go to files, which is no error.
func TestMemoryShare(t *testing.T) {
	b := NewBudget(BudgetConfig{Total: 100 * mb, Memory: 2 * chunkSize})
	dir := t.TempDir()
	var ms []*Message
	for i, inFile := range []bool{false, false, true, true} {
		g := admit(t, b, 100, false, true)
		p := randomBytes(uint64(i), 100)
		m := mustSpool(t, p, Limits{Dir: dir, Grant: g})
		g.Release()
		if m.InFile() != inFile || !bytes.Equal(rawBytes(t, m), p) {
			t.Errorf("message %d: InFile %v, want %v, or bytes differ", i, m.InFile(), inFile)
		}
		ms = append(ms, m)
	}
	if u := b.Usage(); u.UsedMemory != 2*chunkSize || u.Used != 400 || u.Spilled != 2 {
		t.Errorf("%+v", u)
	}
	ms[0].Release()
	g := admit(t, b, 0, false, true)
	p := randomBytes(77, 5*chunkSize) // begins in memory, ends in a file
	m := mustSpool(t, p, Limits{Dir: dir, Grant: g})
	g.Release()
	if !m.InFile() || !bytes.Equal(rawBytes(t, m), p) {
		t.Error("large message under a small share")
	}
	for _, m := range append(ms[1:], m) {
		m.Release()
	}
	if u := b.Usage(); u.UsedMemory != 0 || u.Used != 0 || u.Messages != 0 {
		t.Errorf("leak: %+v", u)
	}
}

func mustSpool(t *testing.T, p []byte, l Limits) *Message {
	t.Helper()
	m, err := Spool(context.Background(), bytes.NewReader(p), l)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRoomUntilTheMessageEnds: a late reader's message still counts.
func TestRoomUntilTheMessageEnds(t *testing.T) {
	b := NewBudget(BudgetConfig{Total: mb})
	g := admit(t, b, 500000, false, true)
	m := mustSpool(t, make([]byte, 1000), Limits{Grant: g})
	if u := b.Usage(); u.Used != 1000 {
		t.Errorf("the estimate is not given back: %+v", u)
	}
	m.Retain()
	g.Release()
	m.Release()
	if u := b.Usage(); u.Used != 1000 || u.UsedMemory != chunkSize || u.Messages != 1 {
		t.Errorf("while it is read: %+v", u)
	}
	m.Release()
	if u := b.Usage(); u.Used != 0 || u.UsedMemory != 0 || u.Messages != 0 {
		t.Errorf("leak: %+v", u)
	}
}

// slowSource gives size octets in random pieces and lets others run between.
type slowSource struct {
	r    *rand.Rand
	left int
	seen func()
}

func (s *slowSource) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.seen()
	if s.r.IntN(4) == 0 {
		runtime.Gosched()
	}
	n := min(len(p), s.left, 1+s.r.IntN(chunkSize))
	s.left -= n
	return n, nil
}

// TestManyUnderOneBudget is 1,000 messages of 25 MB under 512 MB in small: each
// is refused at once or received whole, whatever it said about its size, and
// the budget is never passed.
func TestManyUnderOneBudget(t *testing.T) {
	const senders, rounds, largest = 60, 4, 700 << 10
	b := NewBudget(BudgetConfig{Total: 6 << 20, Memory: 2 << 20, ReserveShare: 0.2, Headroom: largest})
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var refused, whole, over atomic.Int64
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(s), 7))
			for range rounds {
				size := r.IntN(largest) + 1
				if r.IntN(3) == 0 {
					size = largest
				}
				estimate := []int64{0, 1000, int64(size)}[r.IntN(3)] // SIZE lies
				g, ok := b.Admit(estimate, s%5 == 0)
				if !ok {
					refused.Add(1)
					runtime.Gosched()
					continue
				}
				src := &slowSource{r: r, left: size, seen: func() {
					if u := b.Usage(); u.Used > u.Total || u.UsedMemory > u.Memory+int64(u.Messages)*chunkSize {
						over.Add(1)
					}
				}}
				m, err := Spool(ctx, src, Limits{Max: largest, Memory: 300 << 10, Dir: dir, Grant: g})
				g.Release()
				if err != nil {
					t.Errorf("an admitted message of %d octets: %v", size, err)
					continue
				}
				if m.Size() != int64(size) {
					t.Errorf("cut: %d of %d", m.Size(), size)
				}
				whole.Add(1)
				runtime.Gosched()
				m.Release()
			}
		})
	}
	wg.Wait()
	u := b.Usage()
	if over.Load() > 0 {
		t.Errorf("the budget was passed %d times", over.Load())
	}
	if whole.Load() == 0 {
		t.Errorf("all were refused: %+v", u)
	}
	if refused.Load() != u.Refused || whole.Load()+refused.Load() != senders*rounds {
		t.Errorf("whole %d + refused %d != %d", whole.Load(), refused.Load(), senders*rounds)
	}
	if u.Used != 0 || u.UsedMemory != 0 || u.Messages != 0 || u.Waiting != 0 {
		t.Errorf("leak: %+v", u)
	}
	if open, _ := openSpools(t, dir); open != 0 {
		t.Errorf("%d spool files open", open)
	}
	t.Logf("whole %d, refused %d, waited %d, to files %d", whole.Load(), u.Refused, u.Waited, u.Spilled)
}

// TestGrowthOfAllAtOnce: all that were admitted outgrow their estimate at the
// same time and hold what they have; without the headroom nobody would end.
func TestGrowthOfAllAtOnce(t *testing.T) {
	const n, largest = 20, mb
	b := NewBudget(BudgetConfig{Total: n*64<<10 + largest, Headroom: largest})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var gs []*Grant
	for range n {
		gs = append(gs, admit(t, b, 64<<10, false, true))
	}
	admit(t, b, 1, false, false)
	// The first that gets past the estimate goes on when all others wait.
	var first sync.Once
	pause := func(left int) {
		if left < largest-(64<<10) {
			first.Do(func() {
				for b.Usage().Waiting < n-1 && ctx.Err() == nil {
					runtime.Gosched()
				}
			})
		}
	}
	var wg sync.WaitGroup
	for i, g := range gs {
		wg.Go(func() {
			src := &slowSource{r: rand.New(rand.NewPCG(uint64(i), 1)), left: largest}
			src.seen = func() { pause(src.left) }
			m, err := Spool(ctx, src, Limits{Max: largest, Dir: t.TempDir(), Grant: g})
			g.Release()
			if err != nil {
				t.Error(err)
				return
			}
			m.Release()
		})
	}
	wg.Wait()
	if u := b.Usage(); u.Used != 0 || u.Messages != 0 || u.Waited < n-1 {
		t.Errorf("%+v", u)
	}
}
