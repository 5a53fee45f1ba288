package archive

import (
	"bytes"
	"errors"
	"io"
	"time"
)

const (
	// chunk is how much is unpacked between two looks at the clock.
	chunk = 64 << 10
	// freeRatio is what may be unpacked before the ratio counts: a short file
	// of blanks is no bomb.
	freeRatio = 1 << 20
	// freeGrowth is the same for an archive with all that lies inside it: a
	// short one of many layers is the bomb that grows by each (Z-10).
	freeGrowth = 16 << 20
	// maxDictionary bounds what a header may make a decoder allocate: xz -9
	// needs 64 MB, more is made for files that no mail carries.
	maxDictionary = 64 << 20
	// liveFactor times Limits.Member is the most that members and dictionaries
	// of all depths hold at one moment.
	liveFactor = 3
)

// Budget is the work that is left for one message. It is for one goroutine.
type Budget struct {
	Limits Limits
	left   Limits
	live   int64            // octets held by members and dictionaries
	clock  func() time.Time // of tests
}

// NewBudget begins a message. Its time runs only while Walk works, not between
// two walks and not in the visitor, which has bounds of its own.
func NewBudget(l Limits, _ time.Time) *Budget {
	return &Budget{Limits: l, left: l, clock: time.Now}
}

// errOver ends a walk whose defect is already told.
var errOver = errors.New("archive: over the budget")

// errTick is what a decoder gets for its input when the time is over.
var errTick = errors.New("archive: out of time")

// tick tells whether work may go on, and flags once why not.
func (w *walker) tick() error {
	switch {
	case w.over:
	case w.ctx.Err() != nil:
		w.flag("time", "cancelled")
		w.over = true
	case w.b.clock().Sub(w.begun) > w.b.left.Time:
		w.flag("time", "")
		w.over = true
	}
	if w.over {
		return errOver
	}
	return nil
}

// charge takes unpacked octets from the budget.
func (w *walker) charge(n int64) error {
	if n > w.b.left.Bytes {
		w.b.left.Bytes = 0
		w.flag("bytes", "")
		w.over = true
		return errOver
	}
	w.b.left.Bytes -= n
	if w.growth -= n; w.growth < 0 {
		w.flag("ratio", "of the whole")
		w.over = true
		return errOver
	}
	return nil
}

// end is how the reading of a member ended.
type end uint8

const (
	whole   end = iota
	cut         // at a bound, told as a defect
	corrupt     // the decoder gave up
)

// content is what was read of a member.
type content struct {
	data []byte
	end  end
	err  error // of the decoder
	rest io.Reader
}

// read unpacks one member into memory. packed is what it takes in the archive,
// for the ratio; the size that a header claims only saves copies. It returns
// an error only when the walk is over.
func (w *walker) read(r io.Reader, claimed, packed int64) (c content, err error) {
	member := min(w.b.Limits.Member, w.room())
	start := min(max(claimed, 512), member, max(chunk, 4*packed))
	buf := make([]byte, 0, start+1)
	for {
		if err := w.tick(); err != nil {
			return c, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		room := buf[len(buf):min(cap(buf), len(buf)+chunk)]
		n, rerr := w.safeRead(r, room)
		buf = buf[:len(buf)+n]
		c.data = buf
		if err := w.charge(int64(n)); err != nil {
			return c, err
		}
		switch {
		case rerr == io.EOF:
			return c, nil
		case errors.Is(rerr, errTick):
			return c, w.tick()
		case rerr != nil:
			c.end, c.err = corrupt, rerr
			return c, nil
		case w.steep(int64(len(buf)), packed):
			w.flag("ratio", "")
			c.end = cut
			return c, nil
		case int64(len(buf)) >= member:
			c.end, c.rest = cut, r
			return c, nil
		}
	}
}

// room is what may still be held in memory.
func (w *walker) room() int64 {
	return max(liveFactor*w.b.Limits.Member-w.b.live, 4<<10)
}

// steep tells that a member grows more than ordinary data can.
func (w *walker) steep(unpacked, packed int64) bool {
	return unpacked > freeRatio && (unpacked-freeRatio)/max(packed, 1) > w.b.Limits.Ratio
}

// safeRead reads, and makes an error of a panic in the decoder.
func (w *walker) safeRead(r io.Reader, p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.flag("decoder-panic", "")
			n, err = 0, errPanic
		}
	}()
	empty := 0
	for {
		n, err = r.Read(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if empty++; empty > 100 {
			return 0, io.ErrNoProgress
		}
	}
}

var errPanic = errors.New("archive: the decoder panicked")

// guard runs a step of someone else's decoder, and makes an error of a panic.
func (w *walker) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			w.flag("decoder-panic", "")
			err = errPanic
		}
	}()
	return f()
}

// paced is the packed input of a decoder, which looks at the clock even when
// nothing comes out (Z-20). As an io.ByteReader it is never read ahead of, so
// that what follows the packed data can be told.
type paced struct {
	w *walker
	r *bytes.Reader
	n int
}

func (w *walker) paced(data []byte) *paced { return &paced{w: w, r: bytes.NewReader(data)} }

func (p *paced) look(n int) error {
	if p.n -= n; p.n < 0 {
		p.n = chunk
		if p.w.tick() != nil {
			return errTick
		}
	}
	return nil
}

func (p *paced) Read(b []byte) (int, error) {
	if err := p.look(len(b) + 1); err != nil {
		return 0, err
	}
	return p.r.Read(b[:min(len(b), chunk)])
}

func (p *paced) ReadByte() (byte, error) {
	if err := p.look(1); err != nil {
		return 0, err
	}
	return p.r.ReadByte()
}

// used is how much the decoder took.
func (p *paced) used() int64 { return p.r.Size() - int64(p.r.Len()) }

// hold counts memory that is kept while f runs.
func (w *walker) hold(n int64, f func() error) error {
	w.b.live += n
	defer func() { w.b.live -= n }()
	return f()
}

// done is the time that a walk took, taken from the budget.
func (w *walker) done() {
	w.b.left.Time -= w.b.clock().Sub(w.begun)
}
