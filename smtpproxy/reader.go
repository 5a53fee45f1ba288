package smtpproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Why a command line could not be read. After errLineTooLong and errBareLF
// the stream cannot be trusted to be in step: the session must end.
var (
	errLineTooLong = errors.New("command line too long")
	errBareLF      = errors.New("command line ended by a bare line feed")
	errReadFailed  = errors.New("read after a failed read")
	errAlien       = errors.New("not a command line")
	errShed        = errors.New("shed under pressure")
)

const (
	idleBuffer = 512      // while waiting for a command
	dataBuffer = 64 << 10 // while a message arrives
)

// dataBuffers are lent to sessions for the time that a message arrives, so
// that an idle session holds half a kilobyte and not sixty-four.
var dataBuffers = sync.Pool{New: func() any { b := make([]byte, dataBuffer); return &b }}

// reader is the buffered input of a session. A failed read is final: every
// later one fails too, so that what a stalled client sends after its time-out
// is never taken for commands (attacks M-03, S-24).
type reader struct {
	conn   net.Conn
	buf    []byte
	r, w   int
	small  []byte // the buffer to go back to while pooled is lent
	pooled *[]byte
	dead   bool
	alien  byte // with errAlien: what the line began with
}

func newReader(conn net.Conn) reader {
	return reader{conn: conn, buf: make([]byte, idleBuffer)}
}

// buffered is the number of octets that have arrived and were not consumed.
func (rd *reader) buffered() int { return rd.w - rd.r }

// discard drops what has arrived and tells how much it was.
func (rd *reader) discard() int {
	n := rd.buffered()
	rd.r, rd.w = 0, 0
	return n
}

// fill reads once from the connection; there must be room or it makes some by
// moving the unread octets to the front.
func (rd *reader) fill() error {
	if rd.dead {
		return errReadFailed
	}
	if rd.r > 0 {
		rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
		rd.r = 0
	}
	n, err := rd.conn.Read(rd.buf[rd.w:])
	rd.w += n
	if n > 0 {
		return nil // an error that came along is met again by the next read
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// kill makes every later read fail.
func (rd *reader) kill() { rd.dead = true; rd.discard() }

// grow makes room for max octets.
func (rd *reader) grow(max int) {
	nb := make([]byte, max)
	rd.w = copy(nb, rd.buf[rd.r:rd.w])
	rd.r = 0
	rd.buf = nb
}

// readLine returns the next command line without its CR LF; the slice is
// valid until the next call. max bounds the line with its CR LF.
func (rd *reader) readLine(max int) ([]byte, error) {
	scanned := 0
	for {
		data := rd.buf[rd.r:rd.w]
		if len(data) > 0 && alien(data[0]) {
			rd.alien = data[0]
			rd.kill()
			return nil, errAlien
		}
		if i := bytes.IndexByte(data[scanned:], '\n'); i >= 0 {
			i += scanned
			if i+1 > max {
				rd.kill()
				return nil, errLineTooLong
			}
			rd.r += i + 1
			if i == 0 || data[i-1] != '\r' {
				rd.kill()
				return nil, errBareLF
			}
			return data[:i-1], nil
		}
		scanned = len(data)
		if scanned >= max {
			rd.kill()
			return nil, errLineTooLong
		}
		if scanned == 0 && len(rd.buf) > idleBuffer {
			rd.shrink()
		}
		if scanned == len(rd.buf) {
			rd.grow(max)
		}
		if err := rd.fill(); err != nil {
			return nil, err
		}
	}
}

// shrink goes back to the idle buffer; only when nothing is buffered.
func (rd *reader) shrink() {
	rd.release()
	if len(rd.buf) != idleBuffer {
		rd.buf = make([]byte, idleBuffer)
	}
	rd.r, rd.w = 0, 0
}

// enlarge borrows a large buffer for the time of a message.
func (rd *reader) enlarge() {
	if rd.pooled != nil {
		return
	}
	rd.pooled = dataBuffers.Get().(*[]byte)
	rd.small = rd.buf
	rd.w = copy(*rd.pooled, rd.buf[rd.r:rd.w])
	rd.r = 0
	rd.buf = *rd.pooled
}

// restore gives the large buffer back if what is unread fits a small one.
func (rd *reader) restore(max int) {
	if rd.pooled == nil || rd.buffered() > max {
		return
	}
	nb := rd.small
	if rd.buffered() > len(nb) {
		nb = make([]byte, max)
	}
	w := copy(nb, rd.buf[rd.r:rd.w])
	rd.release()
	rd.buf, rd.r, rd.w = nb, 0, w
}

// release returns a borrowed buffer; the reader must get another one or end.
func (rd *reader) release() {
	if rd.pooled != nil {
		dataBuffers.Put(rd.pooled)
		rd.pooled = nil
		rd.buf, rd.small = rd.small, nil
	}
}

// isTimeout tells a deadline from other faults.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &ne) && ne.Timeout())
}

// pace is the deadline rule of a message: no silence longer than quiet, and
// after the first minute no average below rate octets a second (slowloris,
// attacks S-141), while an honest slow line passes (S-142).
type pace struct {
	start time.Time
	quiet time.Duration
	rate  int64
}

// paceGrace is how long a message may take whatever its rate.
const paceGrace = time.Minute

// deadline is the moment by which the next octet must have come when got have.
func (p pace) deadline(now time.Time, got int64) time.Time {
	d := now.Add(p.quiet)
	if p.rate > 0 {
		floor := p.start.Add(paceGrace + time.Duration(float64(got)/float64(p.rate)*float64(time.Second)))
		if floor.Before(d) {
			return floor
		}
	}
	return d
}
