// Package fakehop is a scripted SMTP or LMTP server for tests: the next hop that
// behaves, and every way in which one may not. It records every octet it was
// sent, for each connection, and the messages that it accepted with their
// envelopes and un-stuffed data.
//
// A test says what to answer by verb: CONNECT, EHLO, LHLO, HELO, STARTTLS,
// AUTH, AUTH2 and AUTH3 (the lines that AUTH asks for), XCLIENT, XFORWARD, MAIL,
// RCPT, DATA, "." (the end of data), RSET, QUIT, or by verb and address
// ("RCPT:a@b.example", in LMTP ".:a@b.example"), in Script (one Action for each occurrence, then the
// default) and Always. It listens on loopback or a unix socket only. A message counts as
// accepted when its CR LF . CR LF was read and the answer began with 2, so a
// reply that is then lost still leaves the message here, as in life.
package fakehop

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Action is what the server does when its verb comes. The zero Action is the
// default behaviour.
type Action struct {
	// Reply is sent as it is, CR LF included; empty for the default reply,
	// unless Silent.
	Reply string
	// Silent sends nothing.
	Silent bool
	// Delay comes before the reply.
	Delay time.Duration
	// Drip sends the reply octet by octet, in writes of their own.
	Drip bool
	// Hold waits for this channel to be closed before the reply.
	Hold <-chan struct{}
	// Drop closes the connection after the reply, Reset with RST.
	Drop, Reset bool
	// Hang reads and answers nothing more until the server is closed.
	Hang bool
	// Deaf does the same without reading: the peer's window fills.
	Deaf bool
	// EarlyAfter, for DATA: after so many octets of the body Early is sent
	// and the connection closed, with the rest of the body unread.
	EarlyAfter int
	Early      string
	// Garbage, for STARTTLS: sent in clear text in answer to the ClientHello.
	Garbage string
}

// Config is what a server does.
type Config struct {
	// Extensions are EHLO's lines after the first, without code. nil gives
	// PIPELINING, SIZE 26214400, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES
	// and STARTTLS when there is a TLS configuration.
	Extensions []string
	// TLSExtensions are those of EHLO after STARTTLS; nil for Extensions
	// without STARTTLS.
	TLSExtensions []string
	Script        map[string][]Action
	Always        map[string]Action
	// TLS makes the server offer STARTTLS, with Implicit speak TLS from the
	// first octet.
	TLS      *tls.Config
	Implicit bool
	// Addr to listen on; empty for 127.0.0.1:0, "/path" for a unix socket.
	Addr string
	// LMTP makes it RFC 2033.
	LMTP bool
	// Login and Password are what AUTH PLAIN and LOGIN take.
	Login, Password string
	// MaxConns is the number of connections from which on the greeting is 421;
	// 0 for none.
	MaxConns int
}

// Message is one accepted message.
type Message struct {
	From, FromParams string
	To, ToParams     []string
	XForward         []string // the commands' arguments
	XClient          []string // likewise, all of the connection's
	Login            string   // who has logged in
	Data             []byte   // un-stuffed, CR LF line ends as received
	TLS              bool
	Conn             int // number of the connection, from 0
}

// Server is a running fake next hop.
type Server struct {
	cfg Config
	ln  net.Listener

	mu       sync.Mutex
	seen     map[string]int
	conns    []*Conn
	accepted []Message
	open     map[net.Conn]struct{}
	closed   bool
	quit     chan struct{}
	wg       sync.WaitGroup
}

// Conn is the record of one connection.
type Conn struct {
	mu  sync.Mutex
	got []byte
	cmd []string
	// ended: the peer's end of the connection was seen.
	ended bool
}

// Start runs a server.
func Start(cfg Config) (*Server, error) {
	network, addr := "tcp", cfg.Addr
	switch {
	case addr == "":
		addr = "127.0.0.1:0"
	case addr[0] == '/':
		network = "unix"
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, ln: ln, seen: make(map[string]int), open: make(map[net.Conn]struct{}), quit: make(chan struct{})}
	s.wg.Add(1)
	go s.serve()
	return s, nil
}

// Addr is "127.0.0.1:port", or the path of the socket.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// AddrPort is the same, parsed.
func (s *Server) AddrPort() netip.AddrPort { return netip.MustParseAddrPort(s.Addr()) }

// URL is the next hop's url in the configuration.
func (s *Server) URL() string {
	scheme := "smtp"
	switch {
	case s.cfg.LMTP:
		scheme = "lmtp"
	case s.cfg.Implicit:
		scheme = "smtps"
	}
	if s.Addr()[0] == '/' {
		scheme += "+unix"
	}
	return scheme + "://" + s.Addr()
}

// Close ends the listener and every connection and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.ln.Close()
	s.wg.Wait()
}

// CloseConns closes every open connection and goes on listening.
func (s *Server) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// Inject sends octets that nobody asked for on every open clear connection.
func (s *Server) Inject(octets string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if _, err := io.WriteString(c, octets); err != nil {
			return err
		}
	}
	return nil
}

// Accepted are the messages that were taken, in order.
func (s *Server) Accepted() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.accepted...)
}

// Conns are the connections so far, in order.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Conn(nil), s.conns...)
}

// Count tells how often a verb came, over all connections.
func (s *Server) Count(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[verb]
}

// Transcript is every octet that the peer sent; what came through TLS is
// there in clear text.
func (c *Conn) Transcript() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.got)
}

// Commands are the command lines without CR LF.
func (c *Conn) Commands() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.cmd...)
}

// Ended tells whether the peer has closed the connection or it broke.
func (c *Conn) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func (s *Server) serve() {
	defer s.wg.Done()
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			nc.Close()
			return
		}
		rec := &Conn{}
		n := len(s.conns)
		s.conns = append(s.conns, rec)
		s.open[nc] = struct{}{}
		full := s.cfg.MaxConns > 0 && len(s.open) > s.cfg.MaxConns
		s.wg.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			ss := &session{s: s, rec: rec, raw: nc, nc: nc, number: n, full: full}
			ss.run()
			nc.Close()
			rec.mu.Lock()
			rec.ended = true
			rec.mu.Unlock()
			s.mu.Lock()
			delete(s.open, nc)
			s.mu.Unlock()
		}()
	}
}

// next gives the action for a verb, the one with the address first.
func (s *Server) next(verb, address string) Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []string{verb}
	if address != "" {
		keys = []string{verb + ":" + address, verb}
	}
	at := make([]int, len(keys))
	for i, k := range keys {
		at[i] = s.seen[k]
		s.seen[k]++
	}
	for i, k := range keys {
		if list := s.cfg.Script[k]; at[i] < len(list) {
			return list[at[i]]
		}
		if a, ok := s.cfg.Always[k]; ok {
			return a
		}
	}
	return Action{}
}

func (s *Server) accept(m Message) {
	s.mu.Lock()
	s.accepted = append(s.accepted, m)
	s.mu.Unlock()
}

// recorder notes what was read.
type recorder struct {
	src io.Reader
	rec *Conn
}

func (r recorder) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.rec.mu.Lock()
	r.rec.got = append(r.rec.got, p[:n]...)
	r.rec.mu.Unlock()
	return n, err
}

// address takes "<a@b> X=1" apart.
func address(arg string) (addr, params string) {
	_, arg, ok := strings.Cut(arg, "<")
	if !ok {
		return "", ""
	}
	// The path ends at the '>' outside quotes.
	quoted := false
	for i := 0; i < len(arg); i++ {
		switch {
		case arg[i] == '\\' && quoted:
			i++
		case arg[i] == '"':
			quoted = !quoted
		case arg[i] == '>' && !quoted:
			return arg[:i], strings.TrimSpace(arg[i+1:])
		}
	}
	return arg, ""
}
