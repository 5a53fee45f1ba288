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
	conn   *net.UDPConn
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
	busy   map[*socket]struct{}
	closed bool
}

// take opens a socket until there are as many as wanted, then takes any. The
// kernel gives a new one a port that nobody can foretell.
func (p *sockets) take() (*socket, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	if n := len(p.idle); n >= p.want {
		i := rand.IntN(n)
		s := p.idle[i]
		p.idle[i] = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy[s] = struct{}{}
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.addr))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, opened: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if p.busy == nil {
		p.busy = map[*socket]struct{}{}
	}
	p.busy[s] = struct{}{}
	return s, nil
}

// put gives a socket back. One whose question was not answered goes: its
// answer may come yet.
func (p *sockets) put(s *socket, good bool) {
	s.uses++
	keep := good && s.uses < socketUses && time.Since(s.opened) < socketAge
	p.mu.Lock()
	delete(p.busy, s)
	if keep = keep && !p.closed && len(p.idle) < p.want; keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		_ = s.conn.Close()
	}
}

// close ends also what waits for an answer.
func (p *sockets) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		_ = s.conn.Close()
	}
	for s := range p.busy {
		_ = s.conn.Close()
	}
	p.idle = nil
}

// udp asks by UDP and gives the packet that belongs to the question, in buf.
// errForeign says that too many others came. It ends at the end of ctx by the
// time that ctx has: a context that ends otherwise closes the sockets too.
func (p *sockets) udp(ctx context.Context, k key, edns bool, buf []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := p.take()
	if err != nil {
		return nil, err
	}
	good := false
	defer func() { p.put(s, good) }()
	if t, ok := ctx.Deadline(); ok {
		_ = s.conn.SetReadDeadline(t)
	}
	var room [maxQuestion]byte
	id := newID()
	q := question(room[:0], k, id, edns)
	if _, err := s.conn.Write(q); err != nil {
		return nil, err
	}
	for range maxForeign {
		n, err := s.conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], q, k) {
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
	q := question(nil, k, newID(), edns)
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
	if !answers(pkt, q, k) {
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

// untilDone ends reads and writes with ctx; the result undoes it.
func untilDone(ctx context.Context, conn net.Conn) (undo func() bool) {
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
