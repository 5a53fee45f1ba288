package smtpproxy

import (
	"net"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

// replyFlushAt bounds the replies that wait for a batch to end.
const replyFlushAt = 8 << 10

// replyWriter collects the replies to a batch of pipelined commands and sends
// them with one write (RFC 2920 section 3.2). Its buffer is dropped after
// every flush that made it large, so that idle sessions hold little.
type replyWriter struct {
	conn net.Conn
	buf  []byte
	err  error
	bare bool // HELO client: no enhanced codes were announced
	last int  // code of the last reply
	// since is when the oldest reply that has not gone out was given.
	since time.Time
	// full is called when the batch is as large as it may get.
	full func() error
}

// reply adds one reply. A '\n' in the text makes a multi-line reply; the
// enhanced code stands on each of its lines (RFC 2034 section 3).
func (w *replyWriter) reply(r mail.Reply) {
	text := r.Text
	w.last = r.Code
	if len(w.buf) == 0 {
		w.since = time.Now()
	}
	for {
		line, rest, more := strings.Cut(text, "\n")
		w.buf = strconv.AppendInt(w.buf, int64(r.Code), 10)
		sep := byte(' ')
		if more {
			sep = '-'
		}
		w.buf = append(w.buf, sep)
		if r.Enhanced != "" && !w.bare {
			w.buf = append(w.buf, r.Enhanced...)
			w.buf = append(w.buf, ' ')
		}
		w.buf = appendClean(w.buf, line)
		w.buf = append(w.buf, '\r', '\n')
		if !more {
			break
		}
		text = rest
	}
	if len(w.buf) >= replyFlushAt {
		w.full()
	}
}

// appendClean adds text without control characters: a reply is one line each,
// whoever wrote it (attacks S-60, B-17).
func appendClean(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		dst = append(dst, c)
	}
	return dst
}

// writeTimeout bounds one write of replies to a client that does not read.
const writeTimeout = time.Minute

// waitsSince tells that a reply has waited for d: behind a slow next hop a
// client that pipelined many commands must see that we live.
func (w *replyWriter) waitsSince(d time.Duration) bool {
	return len(w.buf) > 0 && time.Since(w.since) >= d
}

// flush sends what was collected.
func (w *replyWriter) flush() error { return w.flushIn(writeTimeout) }

// flushIn is flush with another bound.
func (w *replyWriter) flushIn(d time.Duration) error {
	if err := w.send(d); err != nil {
		w.err = err
	}
	return w.err
}

// send writes for at most d. What did not go out in that time stays.
func (w *replyWriter) send(d time.Duration) error {
	if len(w.buf) == 0 || w.err != nil {
		w.buf = w.buf[:0]
		return w.err
	}
	w.conn.SetWriteDeadline(time.Now().Add(d))
	n, err := w.conn.Write(w.buf)
	switch {
	case err != nil:
		w.buf = w.buf[n:]
	case cap(w.buf) > 1024:
		w.buf = nil
	default:
		w.buf = w.buf[:0]
	}
	return err
}
