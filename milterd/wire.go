package milterd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The commands of an MTA (libmilter's mfdef.h).
const (
	cmdAbort   = 'A'
	cmdBody    = 'B'
	cmdConnect = 'C'
	cmdMacro   = 'D'
	cmdEOB     = 'E'
	cmdHelo    = 'H'
	cmdQuitNew = 'K' // end of this session; the connection serves another
	cmdHeader  = 'L'
	cmdMail    = 'M'
	cmdEOH     = 'N'
	cmdOptions = 'O'
	cmdQuit    = 'Q'
	cmdRcpt    = 'R'
	cmdData    = 'T'
	cmdUnknown = 'U'
)

// Our answers.
const (
	actAddRcpt      = '+'
	actDelRcpt      = '-'
	actShutdown     = '4'
	actBody         = 'b'
	actContinue     = 'c'
	actDiscard      = 'd'
	actInsertHeader = 'i'
	actChangeHeader = 'm'
	actQuarantine   = 'q'
	actReply        = 'y'
)

// What a milter may do to a message (SMFIF_*).
const (
	mayAddHeader    uint32 = 1 << 0
	mayBody         uint32 = 1 << 1
	mayAddRcpt      uint32 = 1 << 2
	mayDelRcpt      uint32 = 1 << 3
	mayChangeHeader uint32 = 1 << 4
	mayQuarantine   uint32 = 1 << 5
	maySetMacros    uint32 = 1 << 8
)

// What an MTA need not send or wait for (SMFIP_*).
const (
	noUnknown     uint32 = 1 << 8
	noReplyHeader uint32 = 1 << 7
	noReplyEOH    uint32 = 1 << 18
	noReplyBody   uint32 = 1 << 19
	leadingSpace  uint32 = 1 << 20
)

const (
	ourVersion = 6
	// maxPacket bounds a packet that is kept in memory. Postfix cuts header
	// fields at 60000 octets when it has milters, Sendmail packets at 64 KB.
	maxPacket = 128 << 10
	// maxBodyPacket is the largest that libmilter can agree on.
	maxBodyPacket = 1 << 20
	// maxChunk is what we send of a body at once (MILTER_CHUNK_SIZE).
	maxChunk = 65535
	// packetTime is for a packet that has begun.
	packetTime = time.Minute
	// keepBuffer is how much memory an idle connection keeps for packets.
	keepBuffer = 1 << 10
)

var errProtocol = errors.New("the MTA breaks the milter protocol")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// wire is one connection. Reads are buffered by 4 KB; what is longer, a body
// above all, goes past the buffer.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	buf  []byte
	skip [512]byte // where octets go that nobody wants
}

func newWire(c net.Conn) *wire {
	return &wire{conn: c, in: bufio.NewReaderSize(c, 4<<10), out: bufio.NewWriterSize(c, 512)}
}

// head waits for the next packet, by the deadline that the caller has set, and
// gives its command and the length of what follows, which is not read yet.
func (w *wire) head() (cmd byte, n int, err error) {
	if _, err := w.in.Peek(1); err != nil {
		return 0, 0, err
	}
	if w.in.Buffered() < 5 {
		w.conn.SetReadDeadline(time.Now().Add(packetTime))
	}
	var h [5]byte
	if _, err := io.ReadFull(w.in, h[:]); err != nil {
		return 0, 0, err
	}
	size := binary.BigEndian.Uint32(h[:4])
	bound := uint32(maxPacket)
	if h[4] == cmdBody || h[4] == cmdEOB {
		bound = maxBodyPacket
	}
	if size == 0 || size > bound {
		return 0, 0, broken("a packet %q of %d octets", rune(h[4]), size)
	}
	if w.in.Buffered() < int(size)-1 {
		w.conn.SetReadDeadline(time.Now().Add(packetTime))
	}
	return h[4], int(size) - 1, nil
}

// payload reads what follows the head; the slice is valid until the next call.
// Memory grows with what has come, not with what was announced.
func (w *wire) payload(n int) ([]byte, error) {
	if cap(w.buf) > keepBuffer && n <= keepBuffer {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	for len(w.buf) < n {
		step := min(n-len(w.buf), 16<<10)
		at := len(w.buf)
		if cap(w.buf) < at+step {
			w.buf = append(make([]byte, 0, max(at+step, 2*cap(w.buf))), w.buf...)
		}
		w.buf = w.buf[:at+step]
		if _, err := io.ReadFull(w.in, w.buf[at:]); err != nil {
			return nil, err
		}
	}
	return w.buf, nil
}

// send puts one packet into the buffer.
func (w *wire) send(act byte, parts ...string) {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	var h [5]byte
	binary.BigEndian.PutUint32(h[:], uint32(n))
	h[4] = act
	w.out.Write(h[:])
	for _, p := range parts {
		w.out.WriteString(p)
	}
}

// flush writes what was sent. The deadline is for all of it.
func (w *wire) flush() error {
	w.conn.SetWriteDeadline(time.Now().Add(packetTime))
	return w.out.Flush()
}

// Write sends octets of the body, in packets; it is given large pieces.
func (w *wire) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		k := min(len(p), maxChunk)
		w.conn.SetWriteDeadline(time.Now().Add(packetTime))
		var h [5]byte
		binary.BigEndian.PutUint32(h[:], uint32(k)+1)
		h[4] = actBody
		w.out.Write(h[:])
		if _, err := w.out.Write(p[:k]); err != nil {
			return done, err
		}
		done += k
		p = p[k:]
	}
	return done, nil
}

// cstring takes one text that ends with a NUL off p.
func cstring(p []byte) (text string, rest []byte, ok bool) {
	i := bytes.IndexByte(p, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(p[:i]), p[i+1:], true
}

// number writes 32 bits as the protocol has them.
func number(n uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return string(b[:])
}
