package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// socketUses and socketAge are when a socket is changed for another, with
	// another port.
	socketUses = 16
	socketAge  = time.Minute
	// maxForeign is how many packets that are no answer to the question are
	// passed over before TCP is asked (RFC 5452 section 9.2): somebody
	// is guessing.
	maxForeign = 8
	maxPacket  = 65535
)

// socket is a UDP socket that is connected to its server, so that the kernel
// lets nobody else's packets in.
type socket struct {
	conn   net.Conn
	uses   int
	opened time.Time
}

// sockets are those of one server that nobody uses now. A question has its
// socket for itself, so there are no more sockets than questions on their way
// and idle ones.
type sockets struct {
	addr netip.AddrPort
	want int

	mu     sync.Mutex
	idle   []*socket
	closed bool
}

// take opens a socket until there are as many as wanted, then takes any.
func (p *sockets) take(ctx context.Context) (*socket, error) {
	p.mu.Lock()
	if n := len(p.idle); n >= p.want {
		i := rand.IntN(n)
		s := p.idle[i]
		p.idle[i] = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", p.addr.String())
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, opened: time.Now()}, nil
}

// put gives a socket back. One whose question was not answered goes: its
// answer may come yet.
func (p *sockets) put(s *socket, good bool) {
	s.uses++
	keep := good && s.uses < socketUses && time.Since(s.opened) < socketAge
	if keep {
		p.mu.Lock()
		if keep = !p.closed && len(p.idle) < p.want; keep {
			p.idle = append(p.idle, s)
		}
		p.mu.Unlock()
	}
	if !keep {
		_ = s.conn.Close()
	}
}

func (p *sockets) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		_ = s.conn.Close()
	}
	p.idle = nil
}

// udp asks by UDP and gives the packet that belongs to the question, in buf.
// errForeign says that too many others came.
func (p *sockets) udp(ctx context.Context, k key, edns bool, buf []byte) ([]byte, error) {
	s, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	good, undo := false, untilDone(ctx, s.conn)
	defer func() { p.put(s, undo() && good) }()
	id := newID()
	q, err := question(k, id, edns)
	if err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(q); err != nil {
		return nil, err
	}
	for range maxForeign {
		n, err := s.conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if belongs(buf[:n], id, k) {
			good = true
			return buf[:n], nil
		}
	}
	return nil, errForeign
}

// tcp asks by TCP (RFC 7766), on a connection of its own.
func (p *sockets) tcp(ctx context.Context, k key, edns bool) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	id := newID()
	q, err := question(k, id, edns)
	if err != nil {
		return nil, err
	}
	defer untilDone(ctx, conn)()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, cut(err)
	}
	pkt := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, pkt); err != nil {
		return nil, cut(err)
	}
	if !belongs(pkt, id, k) {
		return nil, errForeign
	}
	return pkt, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the connection was closed", errMalformed)
	}
	return err
}

// untilDone ends reads and writes with ctx; the result undoes it, and tells
// whether it came in time: if not, the connection is spoilt.
func untilDone(ctx context.Context, conn net.Conn) (undo func() bool) {
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
