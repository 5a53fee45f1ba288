package clamav

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// chunkSize is the length of a chunk of INSTREAM. Its data are written from
// where they lie, so it costs no memory.
const chunkSize = 256 << 10

// lastWords is how long a broken upload waits for the reply that explains it.
const lastWords = 2 * time.Second

// address is where a clamd listens.
type address struct{ network, address string }

func (a address) String() string { return a.network + ":" + a.address }

// parseServer reads "unix:/run/clamav/clamd.ctl" or "tcp:127.0.0.1:3310".
func parseServer(s string) (address, error) {
	network, rest, _ := strings.Cut(s, ":")
	switch network {
	case "unix":
		if !filepath.IsAbs(rest) || strings.ContainsRune(rest, 0) {
			return address{}, errors.New("must be unix: and the whole path of a socket")
		}
		// sockaddr_un has 108 octets with the NUL at the end.
		if len(rest) > 107 {
			return address{}, errors.New("the path of a socket has at most 107 octets")
		}
		return address{network, rest}, nil
	case "tcp":
		host, port, err := net.SplitHostPort(rest)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\r\n\x00/") {
			return address{}, errors.New("must be tcp:, a host and a port, as in tcp:127.0.0.1:3310")
		}
		return address{network, rest}, nil
	}
	return address{}, errors.New("must begin with unix: or tcp:")
}

func isLoopback(hostport string) bool {
	host, _, _ := net.SplitHostPort(hostport)
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// times are the waits of a conversation.
type times struct{ connect, write time.Duration }

// content is something to scan: size octets that each call of writeTo gives
// anew.
type content interface {
	Size() int64
	WriteTo(w io.Writer) (int64, error)
}

// octets is content that lies in memory.
type octets []byte

func (o octets) Size() int64 { return int64(len(o)) }

// WriteTo hands them over as they are.
func (o octets) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(o)
	return int64(n), err
}

// errSource marks a failure of ours to read what was to be scanned.
var errSource = errors.New("the message cannot be read")

// dial connects, no longer than connect and ctx. What ends ctx ends every wait
// on the connection, too; done takes that back.
func dial(ctx context.Context, a address, t times) (conn net.Conn, done func(), err error) {
	dctx, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	var d net.Dialer
	conn, err = d.DialContext(dctx, a.network, a.address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, func() { stop(); _ = conn.Close() }, nil
}

// outcome of one try at one endpoint.
type outcome struct {
	reply
	// sent: all of the content went out, so clamd worked on it.
	sent bool
	// refused: there was no connection at all.
	refused bool
}

// scan asks one clamd about content. The error is errSource alone: whatever
// clamd or the network do is an outcome.
func scan(ctx context.Context, a address, t times, c content) (outcome, error) {
	conn, done, err := dial(ctx, a, t)
	if err != nil {
		if ctx.Err() != nil {
			return outcome{reply: reply{kind: busy, text: "no time left"}}, nil
		}
		return outcome{reply: reply{kind: unavailable, text: escape([]byte(err.Error()), maxName)}, refused: true}, nil
	}
	defer done()
	w := &streamWriter{conn: conn, ctx: ctx, wait: t.write, left: c.Size(), prefix: "zINSTREAM\x00"}
	_, err = c.WriteTo(w)
	if err == nil {
		err = w.finish()
	}
	if w.err == nil && err != nil {
		// Not the connection: the spool file. Nothing that clamd may say of
		// the first half counts, and without the end it says nothing.
		return outcome{}, fmt.Errorf("clamav: %w: %w", errSource, err)
	}
	if w.err != nil {
		// clamd says why before it closes, and whoever goes on writing gets
		// EPIPE and never reads it (C-03).
		deadline := time.Now().Add(lastWords)
		if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
			deadline = d
		}
		_ = conn.SetReadDeadline(deadline)
		r, rerr := readReply(conn)
		// An OK to half a message says nothing about the message.
		if rerr == nil && r.kind != clean && r.kind != nonsense {
			return outcome{reply: r}, nil
		}
		return outcome{reply: broken(ctx, w.err)}, nil
	}
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(d)
	}
	r, err := readReply(conn)
	if err != nil {
		r = broken(ctx, err)
	}
	if r.kind == clean && w.early {
		r = reply{text: "an answer before the end of the message"}
	}
	return outcome{reply: r, sent: true}, nil
}

// broken tells a wait that ended from a connection that did.
func broken(ctx context.Context, err error) reply {
	k := closed
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		k = timedOut
	}
	return reply{kind: k, text: escape([]byte(err.Error()), maxName)}
}

// readReply reads up to the NUL that ends a reply to a command that began
// with "z". What ends without it is cut off, and never an answer.
func readReply(conn net.Conn) (reply, error) {
	p, err := readLine(conn)
	if err != nil {
		return reply{}, err
	}
	if p == nil {
		return reply{text: "a reply without end, or more than one"}, nil
	}
	return parseReply(p), nil
}

// readLine gives the octets before the NUL; nil where there are more than
// maxReply of them, or anything behind it.
func readLine(conn net.Conn) ([]byte, error) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			if len(buf) > maxReply {
				return nil, nil
			}
			buf = append(make([]byte, 0, 2*maxReply), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		fresh := buf[len(buf) : len(buf)+n]
		buf = buf[:len(buf)+n]
		for i, c := range fresh {
			if c == 0 {
				if i != len(fresh)-1 {
					return nil, nil
				}
				return buf[:len(buf)-1], nil
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// command asks something that has a reply of one line: PING, VERSION.
func command(ctx context.Context, a address, t times, name string) (string, error) {
	conn, done, err := dial(ctx, a, t)
	if err != nil {
		return "", err
	}
	defer done()
	d, ok := ctx.Deadline()
	if !ok {
		d = time.Now().Add(t.write)
	}
	_ = conn.SetDeadline(d)
	if _, err := io.WriteString(conn, "z"+name+"\x00"); err != nil {
		return "", err
	}
	p, err := readLine(conn)
	if err != nil {
		return "", err
	}
	if p == nil {
		return "", errors.New("a reply without end, or more than one")
	}
	return escape(p, maxName), nil
}

// streamWriter frames what is written as chunks of INSTREAM, each a length of
// four octets, big endian, and so many octets. The number of octets is known
// beforehand, so a chunk may be made of several pieces and the data are never
// gathered.
type streamWriter struct {
	conn   net.Conn
	ctx    context.Context
	wait   time.Duration
	prefix string // goes out with the first octets
	left   int64  // octets still to come
	chunk  int64  // octets still to come of this chunk
	heads  [][4]byte
	bufs   net.Buffers
	err    error // of the connection
	early  bool  // there was an answer before the end
}

// Write sends p at once, in as few packets as there are.
func (w *streamWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil // an empty chunk would be the end
	}
	if int64(len(p)) > w.left {
		return 0, errors.New("more octets than promised")
	}
	// Room first: the slices in bufs point into heads.
	if need := 2 + len(p)/chunkSize; cap(w.heads) < need+1 {
		w.heads = make([][4]byte, 0, need+1)
	}
	w.heads, w.bufs = w.heads[:0], w.bufs[:0]
	w.begin()
	n := len(p)
	for len(p) > 0 {
		if w.chunk == 0 {
			w.chunk = min(w.left, chunkSize)
			w.head(uint32(w.chunk))
		}
		piece := p[:min(int64(len(p)), w.chunk)]
		w.bufs = append(w.bufs, piece)
		p = p[len(piece):]
		w.chunk -= int64(len(piece))
		w.left -= int64(len(piece))
	}
	return n, w.flush()
}

// finish ends the stream, and tells when octets lack. What clamd has said by
// now it has not said of all of the message.
func (w *streamWriter) finish() error {
	if w.left > 0 {
		return io.ErrUnexpectedEOF
	}
	w.early = answered(w.conn)
	w.heads, w.bufs = make([][4]byte, 0, 1), w.bufs[:0]
	w.begin()
	w.head(0)
	return w.flush()
}

// answered tells that something can be read, without waiting for it.
func answered(conn net.Conn) (yes bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = err == nil && n > 0
		return true
	})
	return yes
}

func (w *streamWriter) begin() {
	if w.prefix != "" {
		w.bufs = append(w.bufs, []byte(w.prefix))
		w.prefix = ""
	}
}

func (w *streamWriter) head(n uint32) {
	w.heads = append(w.heads, [4]byte{})
	h := &w.heads[len(w.heads)-1]
	binary.BigEndian.PutUint32(h[:], n)
	w.bufs = append(w.bufs, h[:])
}

// flush writes with a deadline for each piece: a clamd that takes an octet a
// minute is one that hangs.
func (w *streamWriter) flush() error {
	deadline := time.Now().Add(w.wait)
	if d, ok := w.ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = w.conn.SetWriteDeadline(deadline)
	out := w.bufs
	if _, err := out.WriteTo(w.conn); err != nil {
		w.err = err
	}
	clear(w.bufs)
	return w.err
}
