package message

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// What a zero in Limits means.
const (
	DefaultMax    = 25 << 20
	DefaultMemory = 2 << 20
)

// checkEvery is how many octets of a spool file are written between two looks
// at the free space.
const checkEvery = 8 << 20

// Limits bound one message. Sizes in octets.
type Limits struct {
	// Max is the largest message; exactly Max passes. 0 means DefaultMax.
	Max int64
	// Memory is the largest part of a message that is kept in memory. A larger
	// message goes to a file. 0 means DefaultMemory.
	Memory int64
	// Dir is the folder of spool files; "" is the system's temporary folder.
	Dir string
	// FreeDisk is the free space that must stay in the file system of Dir.
	FreeDisk int64
	// Grant is the message's share of the Budget; nil = not counted.
	Grant *Grant
	// Wait bounds each wait for room in the budget; 0 waits until ctx ends.
	Wait time.Duration
	// Index is for Message.Index; zero Limits are the default ones.
	Index IndexOptions
}

// Builder takes in the octets of one message. It is for one goroutine. End it
// with Finish or Discard; Discard after Finish does nothing.
type Builder struct {
	ctx     context.Context
	lim     Limits
	m       *Message
	tail    []byte // free part of the last chunk
	size    int64  // octets received, also those that were not kept
	granted int64
	err     error // sticky
	over    bool  // the chunk is beyond the memory share: it may not stay
	done    bool
	scratch *chunk // after an error: where the drained octets go
	check   int64  // octets written since the last look at the free space

	open func(dir string) (spoolFile, error) // replaced by tests
	free func(dir string) (int64, error)
}

// NewBuilder starts a message. ctx bounds the waiting for room in the budget.
func NewBuilder(ctx context.Context, l Limits) *Builder {
	if l.Max <= 0 {
		l.Max = DefaultMax
	}
	if l.Memory <= 0 {
		l.Memory = DefaultMemory
	}
	if l.Index.Limits == (IndexLimits{}) {
		l.Index.Limits = DefaultIndexLimits()
	}
	b := &Builder{ctx: ctx, lim: l, m: &Message{grant: l.Grant, indexing: l.Index}, open: createSpool, free: FreeDisk}
	l.Grant.hold()
	b.granted = l.Grant.promised()
	return b
}

// Size gives the octets received so far, also those beyond an error.
func (b *Builder) Size() int64 { return b.size }

// Write adds p. The first error stays: later octets are counted, not kept, so
// that the caller can read to the message's end and then refuse it.
func (b *Builder) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		k := copy(b.Buffer(), p)
		p = p[k:]
		if err := b.Advance(k); err != nil {
			b.size += int64(len(p))
			return n, err
		}
		n += k
	}
	return n, b.err
}

// Buffer gives free space, never empty, at most 32 KB, for the next octets;
// Advance then adds them. After an error it gives space that is not kept. The
// slice is valid until the next call of any method.
func (b *Builder) Buffer() []byte {
	if len(b.tail) == 0 {
		b.next()
	}
	return b.tail
}

// Advance adds the first n octets of the last Buffer. Its error stays, as with
// Write.
func (b *Builder) Advance(n int) error {
	if n < 0 || n > len(b.tail) {
		panic("message: Advance beyond Buffer")
	}
	b.size += int64(n)
	if b.err != nil {
		return b.err
	}
	b.tail = b.tail[n:]
	if b.size > b.lim.Max {
		return b.fail(ErrTooBig)
	}
	if b.size > b.granted && b.lim.Grant != nil {
		var err error
		if b.granted, err = b.room(); err != nil {
			return b.fail(err)
		}
	}
	if b.size > b.lim.Memory && b.m.file == nil {
		if err := b.spill(); err != nil {
			return b.fail(err)
		}
	}
	return nil
}

// room asks for what the message has grown to.
func (b *Builder) room() (int64, error) {
	ctx := b.ctx
	if b.lim.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.lim.Wait)
		defer cancel()
	}
	return b.lim.Grant.grow(ctx, b.size, b.lim.Max)
}

// fail keeps the error and lets go of everything stored: while the rest is
// drained, the message takes no room from others.
func (b *Builder) fail(err error) error {
	b.err = err
	b.drop()
	b.lim.Grant.shrink(0)
	return err
}

// drop frees what is stored.
func (b *Builder) drop() {
	m := b.m
	b.tail = nil
	b.freeChunks()
	if m.file != nil {
		_ = m.file.Close()
		m.file = nil
	}
}

// freeChunks gives all chunks back.
func (b *Builder) freeChunks() {
	m := b.m
	b.lim.Grant.giveMemory(int64(len(m.chunks)) * chunkSize)
	putChunks(m.chunks)
	m.chunks, m.first[0] = nil, nil
}

// next makes tail non-empty.
func (b *Builder) next() {
	if b.err == nil {
		if err := b.nextChunk(); err != nil {
			_ = b.fail(err)
		}
	}
	if b.err != nil {
		if b.scratch == nil {
			b.scratch = chunkPool.Get().(*chunk)
		}
		b.tail = b.scratch[:]
	}
}

func (b *Builder) nextChunk() error {
	m, g := b.m, b.lim.Grant
	switch {
	case m.file != nil:
		return b.flush()
	case len(m.chunks) == 0:
		if !g.takeMemory(chunkSize) {
			// Something must hold the octets on their way to the file.
			g.forceMemory(chunkSize)
			b.over = true
		}
		m.first[0] = chunkPool.Get().(*chunk)
		m.chunks = m.first[:]
	case b.over || !g.takeMemory(chunkSize):
		if err := b.spill(); err != nil {
			return err
		}
		return b.flush()
	default:
		m.chunks = append(m.chunks, chunkPool.Get().(*chunk))
	}
	b.tail = m.chunks[len(m.chunks)-1][:]
	return nil
}

var errFinished = errors.New("message: builder used after its end")

// spill moves the message to a file. The last chunk stays as write buffer.
func (b *Builder) spill() error {
	if err := b.checkFree(); err != nil {
		return err
	}
	f, err := b.open(b.lim.Dir)
	if err != nil {
		return spoolError("create spool file", err)
	}
	m := b.m
	m.file = f
	last := len(m.chunks) - 1
	for _, c := range m.chunks[:last] {
		if err := b.write(c[:]); err != nil {
			return err
		}
	}
	keep := m.chunks[last]
	putChunks(m.chunks[:last])
	b.lim.Grant.giveMemory(int64(last) * chunkSize)
	m.first[0] = keep
	m.chunks = m.first[:]
	return nil
}

// flush writes the write buffer to the file and empties it.
func (b *Builder) flush() error {
	c := b.m.chunks[0]
	if err := b.write(c[:chunkSize-len(b.tail)]); err != nil {
		return err
	}
	b.tail = c[:]
	return nil
}

func (b *Builder) write(p []byte) error {
	if b.check >= checkEvery {
		if err := b.checkFree(); err != nil {
			return err
		}
	}
	n, err := b.m.file.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return spoolError("write spool file", err)
	}
	b.check += int64(n)
	return nil
}

// checkFree keeps the reserve of free space: other programs on the machine (the
// next hop's queue) need the disk too.
func (b *Builder) checkFree() error {
	b.check = 0
	if b.lim.FreeDisk <= 0 {
		return nil
	}
	free, err := b.free(b.lim.Dir)
	if err != nil {
		return spoolError("free space", err)
	}
	if free < b.lim.FreeDisk {
		return fmt.Errorf("%w: %d octets free, %d must stay", ErrNoSpace, free, b.lim.FreeDisk)
	}
	return nil
}

// Finish ends the message. After an error it gives that error and no message.
func (b *Builder) Finish() (*Message, error) {
	if b.done {
		return nil, errFinished
	}
	if b.err == nil {
		if err := b.settle(); err != nil {
			_ = b.fail(err)
		}
	}
	if b.err != nil {
		err := b.err
		b.Discard()
		return nil, err
	}
	m := b.m
	m.size = b.size
	m.refs.Store(1)
	b.lim.Grant.shrink(b.size)
	b.done, b.tail, b.m, b.err = true, nil, nil, errFinished
	return m, nil
}

// settle brings the octets to where they stay.
func (b *Builder) settle() error {
	m := b.m
	if b.over && m.file == nil {
		if err := b.spill(); err != nil {
			return err
		}
	}
	if m.file == nil {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.freeChunks()
	return nil
}

// Discard frees everything. It does nothing after a Finish that gave a message,
// or when called again.
func (b *Builder) Discard() {
	if b.done {
		return
	}
	b.done = true
	b.drop()
	if b.scratch != nil {
		chunkPool.Put(b.scratch)
		b.scratch = nil
	}
	b.err, b.tail, b.m = errFinished, nil, nil
	b.lim.Grant.drop()
}

// maxEmptyReads bounds a reader that gives neither octets nor an error.
const maxEmptyReads = 100

// Spool takes in everything that r gives. io.ErrUnexpectedEOF from r becomes
// ErrTruncated: the octets so far are not a message.
func Spool(ctx context.Context, r io.Reader, l Limits) (*Message, error) {
	b := NewBuilder(ctx, l)
	defer b.Discard()
	for empty := 0; empty < maxEmptyReads; {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("message: spool: %w", context.Cause(ctx))
		}
		n, err := r.Read(b.Buffer())
		if aerr := b.Advance(n); aerr != nil {
			return nil, aerr
		}
		switch {
		case err == io.EOF:
			return b.Finish()
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("%w: %w", ErrTruncated, err)
		case err != nil:
			return nil, fmt.Errorf("message: spool: %w", err)
		case n > 0:
			empty = 0
		default:
			empty++
		}
	}
	return nil, fmt.Errorf("message: spool: %w", io.ErrNoProgress)
}
