package relay

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// bodyBuffer collects a small message with its dot for one write, and
	// what lies between large slices of a big one.
	bodyBuffer = 64 << 10
	// directSlice is the length from which a slice goes out where it lies
	// instead of being copied.
	directSlice = 16 << 10
	// maxWrite bounds one write and so what one deadline is for.
	maxWrite = 512 << 10
	// maxPieces bounds the slices of one writev (the kernel takes 1,024); a
	// message of nothing but dots goes by way of the buffer.
	maxPieces = 64
)

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, 0, bodyBuffer); return &b }}

var (
	dot      = []byte(".")
	lineDot  = []byte("\n.")
	crlf     = []byte("\r\n")
	endOfAll = []byte(".\r\n")
)

// bodyWriter dot-stuffs a message (RFC 5321 section 4.5.2) on its way to the
// connection. It works on slices, never on octets: only the places where a
// line begins with a dot are looked for. Slices are not kept beyond Write.
//
// The dot is stuffed after any LF, not only after CR LF: message has CR LF
// only, and if ever it had not, the stricter reading is the one that cannot
// be smuggled past a next hop that takes a bare LF for a line's end.
type bodyWriter struct {
	c       *conn
	ctx     context.Context
	timeout time.Duration
	bp      *[]byte
	buf     []byte   // pending, to go out before anything else
	iov     [][]byte // pending large slices of the Write under way, after buf
	queued  int      // octets in iov
	flushed bool     // something of the body went out before its end
	count   int64    // octets taken, un-stuffed
	last    [2]byte  // the last two octets taken
	err     error    // of the connection; nothing is written after it
}

func newBodyWriter(ctx context.Context, c *conn, timeout time.Duration) *bodyWriter {
	bp := bodyBuffers.Get().(*[]byte)
	// A message begins at the beginning of a line.
	return &bodyWriter{c: c, ctx: ctx, timeout: timeout, bp: bp, buf: (*bp)[:0], iov: c.iov[:0], last: [2]byte{'\r', '\n'}}
}

// free gives the buffers back.
func (w *bodyWriter) free() {
	clear(w.iov[:cap(w.iov)])
	w.c.iov = w.iov[:0]
	*w.bp = w.buf[:0]
	bodyBuffers.Put(w.bp)
	w.bp, w.buf, w.iov = nil, nil, nil
}

// Write takes the next part of the message.
func (w *bodyWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	rest := p
	if rest[0] == '.' && w.last[1] == '\n' {
		w.add(dot)
	}
	for {
		i := indexLineDot(rest)
		if i < 0 {
			break
		}
		// Up to and with the line's first dot, and once more that dot.
		w.add(rest[:i+2])
		w.add(dot)
		rest = rest[i+2:]
	}
	w.add(rest)
	if w.queued > 0 {
		w.flush() // the slices are the caller's again after this call
	}
	if w.err != nil {
		return 0, w.err
	}
	w.count += int64(len(p))
	if len(p) == 1 {
		w.last[0], w.last[1] = w.last[1], p[0]
	} else {
		w.last[0], w.last[1] = p[len(p)-2], p[len(p)-1]
	}
	return len(p), nil
}

// indexLineDot finds LF and dot, as bytes.Index does. Mail has a line end in
// every 76 octets and hardly a dot, an attachment none: to look for the dot
// first is several times as fast. A text full of dots is left to bytes.Index,
// so that nobody can make the search slow.
func indexLineDot(b []byte) int {
	found := 0
	for at := 1; at < len(b); at++ {
		i := bytes.IndexByte(b[at:], '.')
		if i < 0 {
			return -1
		}
		if at += i; b[at-1] == '\n' {
			return at - 1
		}
		if found++; found > 16+at/32 {
			if i = bytes.Index(b[at:], lineDot); i >= 0 {
				i += at
			}
			return i
		}
	}
	return -1
}

// add appends to what is pending and flushes when there is enough.
func (w *bodyWriter) add(p []byte) {
	for len(p) > 0 && w.err == nil {
		small := len(p) < directSlice
		switch {
		case w.c.tcp == nil || small && w.queued == 0:
			// Copied. Under TLS always: it copies anyway, and a slice for
			// each dot would be a record for each dot.
			if len(w.buf) == bodyBuffer {
				w.flush()
				continue
			}
			n := min(len(p), bodyBuffer-len(w.buf))
			w.buf = append(w.buf, p[:n]...)
			p = p[n:]
		case w.queued >= maxWrite || small && len(w.iov) >= maxPieces:
			w.flush()
		default:
			n := min(len(p), maxWrite-w.queued)
			w.iov = append(w.iov, p[:n])
			w.queued += n
			p = p[n:]
		}
	}
}

// flush writes what is pending, with a deadline of its own.
func (w *bodyWriter) flush() {
	w.flushed = true
	w.err = w.write()
	w.buf = w.buf[:0]
	w.iov, w.queued = w.iov[:0], 0
}

func (w *bodyWriter) write() error {
	_, err := w.writeCounted()
	return err
}

// writeCounted writes buf and then iov, which is used on plain TCP alone, by
// one writev. n counts what is known to have gone out.
func (w *bodyWriter) writeCounted() (n int64, err error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.c.within(w.ctx, w.timeout); err != nil {
		return 0, err
	}
	if len(w.iov) == 0 {
		k, err := w.c.nc.Write(w.buf)
		return int64(k), err
	}
	w.c.vec = w.c.vec[:0]
	if len(w.buf) > 0 {
		w.c.vec = append(w.c.vec, w.buf)
	}
	w.c.vec = append(w.c.vec, w.iov...)
	all := w.c.vec
	n, err = w.c.vec.WriteTo(w.c.tcp) // consumes vec
	clear(all)
	w.c.vec = all[:0]
	return n, err
}

// finish ends the message: CR LF where its last line had none, then the dot.
// dotSent tells, when it failed, whether an octet of the dot's line may have
// gone out: then the next hop may have taken the message.
func (w *bodyWriter) finish() (dotSent bool, err error) {
	if w.last != [2]byte{'\r', '\n'} {
		w.add(crlf)
	}
	if len(w.buf)+len(endOfAll) > bodyBuffer {
		w.flush()
	}
	if w.err != nil {
		return false, w.err
	}
	w.buf = append(w.buf, endOfAll...)
	want := int64(len(w.buf))
	n, err := w.writeCounted()
	w.buf = w.buf[:0]
	if err != nil {
		w.err = err
		// On TLS n says nothing about the records that went out.
		onTLS := w.c.tcp == nil && !preWrite(err)
		return onTLS || n > want-int64(len(endOfAll)), err
	}
	return true, nil
}

// preWrite tells that the context was over before anything was written.
func preWrite(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
