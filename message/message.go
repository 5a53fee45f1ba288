// Package message keeps the received bytes of a message, exactly, and renders
// them again with byte-range edits.
//
// A Builder takes the bytes in (into pooled 32 KB chunks, then into a temporary
// file), Finish turns it into a Message that never changes, Header finds the
// header fields (RFC 5322 section 2.2) by offsets over the untouched bytes, and
// Render gives the message with its edits for the way out. A Budget bounds the
// bytes of all messages together, so that no number of clients can use up the
// memory or the disk.
//
// It does not decode, repair or re-serialise anything, and it knows nothing of
// MIME: an index of parts can be added as offsets over the same bytes.
//
// It fails by error: ErrTooBig, ErrNoSpace, ErrNoMemory, ErrTruncated, and the
// operating system's own errors with context. Using a Message after its last
// Release, or releasing it twice, is a fault of the program and panics: the
// bytes may belong to somebody else's message by then.
//
// # Limits
//
// A message holds at most Limits.Memory octets of memory (rounded up to a
// chunk); while it is received into a file, one chunk. A header is scanned up
// to MaxHeaderBytes, MaxHeaderFields and MaxFieldName; one that is larger says
// so (Header.TooLarge) and must be refused, never judged by its first part.
package message

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// What can be wrong with taking a message in. They are for errors.Is; what the
// client is told is the caller's decision.
var (
	// ErrTooBig: more octets than Limits.Max. (552 5.3.4)
	ErrTooBig = errors.New("message: larger than the limit")
	// ErrNoSpace: the disk, the reserve of free space, the quota or the file
	// descriptors are used up. (452 4.3.1)
	ErrNoSpace = errors.New("message: no space for the spool file")
	// ErrNoMemory: the budget of all messages had no room until the context
	// ended. (452 4.3.1)
	ErrNoMemory = errors.New("message: no room in the budget of all messages")
	// ErrTruncated: the source ended before the message's true end. Nothing of
	// it may be delivered.
	ErrTruncated = errors.New("message: ended before its end")
	// ErrEdits: edits that overlap, are not sorted, lie outside the message or
	// would bring in a line end other than CR LF.
	ErrEdits = errors.New("message: edits do not fit")
	// ErrHeaderTooLarge: see Header.TooLarge.
	ErrHeaderTooLarge = errors.New("message: header too large")
)

// chunkSize is the unit of memory. Most mail fits into one chunk, which is then
// one visit to the pool; a larger unit would cost idle memory for small mail.
const chunkSize = 32 << 10

// fileBufferSize is the buffer for reading a spool file.
const fileBufferSize = 64 << 10

type chunk [chunkSize]byte

// The pools hold only unused buffers; nothing of a message can be reached
// through them.
var (
	chunkPool = sync.Pool{New: func() any { return new(chunk) }}
	filePool  = sync.Pool{New: func() any { return new([fileBufferSize]byte) }}
)

// Message is a received message: its exact octets, which never change. It is
// safe for use by several goroutines. It begins with one reference; each
// Retain adds one, and the last Release frees memory, file and budget.
type Message struct {
	refs   atomic.Int64
	size   int64
	first  [1]*chunk // room for the usual single chunk without an allocation
	chunks []*chunk  // all full but the last; empty when file is set
	file   spoolFile
	grant  *Grant

	headerOnce sync.Once
	header     Header

	indexing IndexOptions
	indexMu  sync.Mutex
	index    *Index
	room     stay // of the index
}

// Size gives the number of octets.
func (m *Message) Size() int64 { return m.size }

// InFile says whether the octets are in a temporary file (for the log and for
// tests).
func (m *Message) InFile() bool { return m.file != nil }

// Raw gives a new reader of the original octets. It must not be used after the
// last Release.
func (m *Message) Raw() *io.SectionReader {
	m.Retain() // panics when it is too late
	defer m.Release()
	return io.NewSectionReader(m, 0, m.size)
}

// ReadAt reads the original octets (io.ReaderAt).
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	m.Retain()
	defer m.Release()
	return m.readAt(p, off)
}

func (m *Message) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("message: negative offset")
	}
	if off >= m.size {
		return 0, io.EOF
	}
	want := p
	if int64(len(want)) > m.size-off {
		want = want[:m.size-off]
	}
	n, err := 0, error(nil)
	if m.file != nil {
		n, err = m.file.ReadAt(want, off)
		if n == len(want) {
			err = nil
		} else if err == nil || errors.Is(err, io.EOF) {
			// The file is shorter than what was written: never take it
			// for the end of the message.
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return n, fmt.Errorf("message: spool file: %w", err)
		}
	} else {
		for n < len(want) {
			n += copy(want[n:], m.piece(off+int64(n), m.size))
		}
	}
	if len(want) < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece gives the stored octets from off up to the end of their chunk or to
// end, whichever comes first. For messages in memory only.
func (m *Message) piece(off, end int64) []byte {
	c := m.chunks[off/chunkSize]
	from := off % chunkSize
	return c[from:min(chunkSize, from+end-off)]
}

// Retain adds a reference, for a user that may outlive the others. It panics
// after the last Release.
func (m *Message) Retain() {
	for {
		n := m.refs.Load()
		if n <= 0 {
			panic("message: used after its last Release")
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return
		}
	}
}

// Release gives a reference back; the last one frees everything. It panics
// when there was none left.
func (m *Message) Release() {
	switch n := m.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("message: released twice")
	}
	m.free()
}

func (m *Message) free() {
	putChunks(m.chunks)
	m.chunks, m.first[0] = nil, nil
	if m.file != nil {
		// The file has no name any more: closing it frees its space. An
		// error can tell nothing that matters now.
		_ = m.file.Close()
	}
	m.grant.drop()
	m.DropIndex()
}

func putChunks(cs []*chunk) {
	for i, c := range cs {
		cs[i] = nil
		chunkPool.Put(c)
	}
}

// Sum is the SHA-256 of the original octets, read anew at each call: the proof
// that what leaves is what was judged. It panics when the spool file cannot be
// read; it is meant for tests and self-checks.
func (m *Message) Sum() [sha256.Size]byte {
	h := sha256.New()
	n, err := m.writeRange(h, 0, m.size)
	if err != nil || n != m.size {
		panic(fmt.Sprintf("message: sum of %d of %d octets: %v", n, m.size, err))
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// writeRange hands w the stored octets [off, end), without copying them when
// they are in memory.
func (m *Message) writeRange(w io.Writer, off, end int64) (int64, error) {
	if off >= end {
		return 0, nil
	}
	m.Retain()
	defer m.Release()
	var buf *[fileBufferSize]byte
	if m.file != nil {
		buf = filePool.Get().(*[fileBufferSize]byte)
		defer filePool.Put(buf)
	}
	done := int64(0)
	for off < end {
		var p []byte
		if buf == nil {
			p = m.piece(off, end)
		} else {
			p = buf[:min(fileBufferSize, end-off)]
			if _, err := m.readAt(p, off); err != nil {
				return done, err
			}
		}
		n, err := w.Write(p)
		done += int64(n)
		if err == nil && n != len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, err
		}
		off += int64(n)
	}
	return done, nil
}
