// Package fakeclamd is a clamd for tests that does as it is told: it speaks
// PING, VERSION and INSTREAM (clamd(8)) on loopback or a unix socket, and each
// scan is answered by a script. The EICAR test file has an answer of its own,
// so that a self-test does not use up the script.
//
// It scans nothing and checks the frames strictly: a stream that is not framed
// as clamd wants it is answered by an ERROR, and kept in Wrong.
//
// # Limits
//
// A stream has at most 256 MB. It is for tests alone.
package fakeclamd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// maxStream bounds one stream.
const maxStream = 256 << 20

// Step is what happens to one scan.
type Step struct {
	// Reply is written as it is, behind it a NUL unless Bare.
	Reply string
	Bare  bool
	// After ends the reading of the stream: so many octets of data, then Reply
	// and the end. Zero reads all of it.
	After int64
	// Hang waits for Release, or the peer, before Reply.
	Hang bool
	// Slow writes the reply octet by octet, each a packet.
	Slow bool
	// Reset ends a TCP connection by RST.
	Reset bool
}

// Server is a fake clamd. Set what it is to do before it is asked.
type Server struct {
	l    net.Listener
	gate chan struct{}
	// hangs has room for those that nobody waits for.
	hangs chan struct{}

	mu      sync.Mutex
	steps   []Step
	scan    func(data []byte) Step
	pong    string
	version string
	blind   bool
	streams [][]byte
	wrong   []error
	scans   int
	dials   int
	conns   map[net.Conn]bool
	wg      sync.WaitGroup
}

// New listens: network unix with a path, or tcp with "127.0.0.1:0".
func New(network, address string) (*Server, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	s := &Server{l: l, gate: make(chan struct{}), hangs: make(chan struct{}, 100), pong: "PONG", version: "ClamAV 1.4.6/27000/Sun Nov 22 08:00:00 2026", conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	return s, nil
}

// Address is as the key servers wants it.
func (s *Server) Address() string { return s.l.Addr().Network() + ":" + s.l.Addr().String() }

// Close ends everything.
func (s *Server) Close() {
	_ = s.l.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Stop ends the listening; what is connected goes on.
func (s *Server) Stop() { _ = s.l.Close() }

// Hanging gets a value for each scan that begins to hang.
func (s *Server) Hanging() <-chan struct{} { return s.hangs }

// Script gives the next scans; behind the last everything is clean.
func (s *Server) Script(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, steps...)
}

// Judge is asked where the script has ended.
func (s *Server) Judge(f func(data []byte) Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scan = f
}

// Health sets the answers to PING and VERSION ("" closes without one), and
// whether EICAR is missed.
func (s *Server) Health(pong, version string, blind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pong, s.version, s.blind = pong, version, blind
}

// Release lets everything go on that hangs, and will hang.
func (s *Server) Release() { close(s.gate) }

// Streams are the data of all complete scans but the self-tests.
func (s *Server) Streams() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.streams...)
}

// Scans is how many were begun, without self-tests.
func (s *Server) Scans() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans
}

// Dials is how many connections there were.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials
}

// Wrong are the faults of the client.
func (s *Server) Wrong() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.wrong...)
}

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.dials++
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, 64<<10)
	line, err := r.ReadString(0)
	if err != nil {
		return
	}
	s.mu.Lock()
	pong, version := s.pong, s.version
	s.mu.Unlock()
	switch line {
	case "zPING\x00":
		answer(c, pong)
	case "zVERSION\x00":
		answer(c, version)
	case "zINSTREAM\x00":
		s.stream(c, r)
	default:
		s.complain(fmt.Errorf("command %q", line))
		answer(c, "UNKNOWN COMMAND")
	}
}

func answer(c net.Conn, text string) {
	if text != "" {
		_, _ = io.WriteString(c, text+"\x00")
	}
}

func (s *Server) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, err)
}

// next is what to do with a scan whose first octets are these.
func (s *Server) next(first []byte) (Step, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isTest(first) {
		if s.blind {
			return Step{Reply: "stream: OK"}, true
		}
		return Step{Reply: "stream: Eicar-Test-Signature FOUND"}, true
	}
	s.scans++
	if len(s.steps) > 0 {
		step := s.steps[0]
		s.steps = s.steps[1:]
		return step, false
	}
	return Step{Reply: "stream: OK"}, false
}

func isTest(p []byte) bool {
	return strings.HasPrefix(string(p), `X5O!P%@AP[4\PZX54(P^)`+`7CC)7}$`)
}

func (s *Server) stream(c net.Conn, r *bufio.Reader) {
	// The first frame's head and the first data tell whether it is a test.
	var first []byte
	if head, err := r.Peek(4); err == nil {
		first, _ = r.Peek(4 + min(int(binary.BigEndian.Uint32(head)), 28))
		first = first[min(4, len(first)):]
	}
	step, test := s.next(first)
	data, err := readStream(r, step.After)
	if err != nil {
		s.complain(err)
		return
	}
	if step.After == 0 && !test {
		s.mu.Lock()
		s.streams = append(s.streams, data)
		judge := s.scan
		scripted := step != (Step{Reply: "stream: OK"})
		s.mu.Unlock()
		if judge != nil && !scripted {
			step = judge(data)
		}
	}
	if step.Hang {
		gone := make(chan struct{})
		select {
		case s.hangs <- struct{}{}:
		default:
		}
		go func() {
			_, _ = c.Read(make([]byte, 1))
			close(gone)
		}()
		select {
		case <-s.gate:
			_ = c.SetReadDeadline(time.Now())
			<-gone
		case <-gone:
			return
		}
	}
	text := step.Reply
	if !step.Bare && text != "" {
		text += "\x00"
	}
	if step.Slow {
		for i := range len(text) {
			_, _ = io.WriteString(c, text[i:i+1])
		}
	} else if text != "" {
		_, _ = io.WriteString(c, text)
	}
	if t, ok := c.(*net.TCPConn); ok && step.Reset {
		_ = t.SetLinger(0)
	}
}

// readStream reads the frames up to the empty one, or so many octets of data.
func readStream(r *bufio.Reader, after int64) ([]byte, error) {
	var data []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("a stream without end: %w", err)
		}
		n := int(binary.BigEndian.Uint32(head[:]))
		if n == 0 {
			return data, nil
		}
		if len(data)+n > maxStream {
			return nil, errors.New("a stream of more than 256 MB")
		}
		if after > 0 && int64(len(data)+n) >= after {
			n = int(after) - len(data)
		}
		start := len(data)
		data = append(data, make([]byte, n)...)
		if _, err := io.ReadFull(r, data[start:]); err != nil {
			return nil, fmt.Errorf("a frame that ends early: %w", err)
		}
		if after > 0 && int64(len(data)) >= after {
			return data, nil
		}
	}
}
