// Package policyd answers Postfix's policy delegation
// (SMTPD_POLICY_README): an MTA asks what to do about a client, a sender and
// a recipient, and the same engine that judges our own listeners answers. It
// stands in for postgrey, and serves any plain Postfix.
//
// It never answers OK: that would let mail past the restrictions that follow.
// What the engine lets go on is DUNNO. A verdict quarantine is DUNNO too: there
// is no message here, and whoever relays it holds it. It sees no message, and
// its address is not for strangers: it listens on loopback, and takes only
// those that Config.Clients names.
//
// It fails by saying nothing: after a fault of ours, or a request that cannot
// be read, the connection is closed without a reply, and the MTA, having tried
// again, defers (451 4.3.5). The log tells why.
//
// # Limits
//
// A request has at most 64 KB, 128 attributes and lines of 8 KB. 4096 messages
// are remembered at once, each for 15 minutes and 1000 recipients, so that a
// question that is asked twice about one message counts once. What becomes of
// a message is not said by this protocol: one whose recipients were let pass
// is taken for relayed (Finish) when the next one comes on its connection, or
// when it is forgotten.
package policyd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/maillog"
)

// Policy is the engine of checks, as this package needs it; see the Policy of
// smtpproxy.
type Policy interface {
	Connect(ctx context.Context, s *mail.Session) mail.Decision
	Helo(ctx context.Context, s *mail.Session) mail.Decision
	Mail(ctx context.Context, tx *mail.Transaction) mail.Decision
	Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision
	Data(ctx context.Context, tx *mail.Transaction) mail.Decision
	Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome)
	Closed(s *mail.Session)
}

// Config is the table [policyd].
type Config struct {
	Enabled        bool           `toml:"enabled" doc:"Answer Postfix's policy delegation (check_policy_service), in the place of postgrey."`
	Listen         []string       `toml:"listen" doc:"Where: address with port, or the path of a unix socket."`
	Clients        []netip.Prefix `toml:"clients" doc:"Who may ask over TCP. Whoever may can ask anything about anybody."`
	SocketMode     string         `toml:"socket_mode" doc:"Permissions of a unix socket. Postfix asks as its user postfix."`
	Checks         []string       `toml:"checks" doc:"Names of the checks that are asked. Only those that need no message can say anything."`
	DeferIfPermit  bool           `toml:"defer_if_permit" doc:"Say DEFER_IF_PERMIT in the place of a reply of 4xx, as postgrey does: restrictions that follow may still refuse for good."`
	MaxConnections int            `toml:"max_connections" doc:"Connections at once. Each smtpd process of Postfix keeps one."`
	IdleTimeout    time.Duration  `toml:"idle_timeout" doc:"A connection without a request for so long is closed. Postfix closes its own after 5m."`
	RequestTimeout time.Duration  `toml:"request_timeout" doc:"A request that has begun must be whole within this time, and its answer be taken."`
}

// Default is off, and when it is turned on where postgrey is.
func Default() Config {
	return Config{
		Listen: []string{"127.0.0.1:10023"}, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		SocketMode: "0666", Checks: []string{"suspension", "greylist"}, MaxConnections: 1000, IdleTimeout: 20 * time.Minute, RequestTimeout: 30 * time.Second,
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if c.Enabled && len(c.Listen) == 0 {
		errs = append(errs, errors.New(`listen is missing: write an address such as "127.0.0.1:10023"`))
	}
	seen := map[string]bool{}
	for i, l := range c.Listen {
		if err := checkAddress(l); err != nil {
			errs = append(errs, fmt.Errorf("listen[%d]: %w", i, err))
		} else if seen[l] {
			errs = append(errs, fmt.Errorf("listen[%d]: %s stands there twice", i, l))
		}
		seen[l] = true
	}
	if _, err := c.mode(); err != nil {
		errs = append(errs, fmt.Errorf("socket_mode = %q: must be octal, as \"0660\"", c.SocketMode))
	}
	if c.Enabled && len(c.Checks) == 0 {
		errs = append(errs, errors.New(`checks is missing: write at least "greylist"`))
	}
	if c.MaxConnections < 1 || c.MaxConnections > 100_000 {
		errs = append(errs, fmt.Errorf("max_connections = %d: must be from 1 to 100000", c.MaxConnections))
	}
	for _, d := range []struct {
		key      string
		v        time.Duration
		min, max time.Duration
	}{{"idle_timeout", c.IdleTimeout, time.Second, 24 * time.Hour}, {"request_timeout", c.RequestTimeout, 100 * time.Millisecond, time.Hour}} {
		if d.v < d.min || d.v > d.max {
			errs = append(errs, fmt.Errorf("%s = %s: must be from %s to %s", d.key, d.v, d.min, d.max))
		}
	}
	return errs
}

func (c Config) mode() (os.FileMode, error) {
	n, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err == nil && n > 0o777 {
		err = strconv.ErrRange
	}
	return os.FileMode(n), err
}

// maxSocketPath is what the kernel takes, less its final octet.
const maxSocketPath = 107

func checkAddress(s string) error {
	if isSocket(s) {
		if p := filepath.Clean(s); len(p) > maxSocketPath {
			return fmt.Errorf("%q is longer than the %d bytes that a socket may have", s, maxSocketPath)
		}
		return nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Addr().Zone() != "" {
		return fmt.Errorf(`%.80q is neither an address with port, as "127.0.0.1:10023", nor the path of a socket`, s)
	}
	return nil
}

func isSocket(s string) bool { return strings.HasPrefix(s, "/") }

// Open opens one of Config.Listen. A socket that nobody answers at any more
// is replaced.
func (c Config) Open(address string) (net.Listener, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if !isSocket(address) {
		return net.Listen("tcp", address)
	}
	mode, err := c.mode()
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(address); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and is no socket", address)
		}
		if conn, err := net.DialTimeout("unix", address, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s is in use by another program", address)
		}
		if err := os.Remove(address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Options are what a server is made of. Policy may change later (Use).
type Options struct {
	Config Config
	Policy Policy
	Log    *maillog.Logger  // nil: silence
	Now    func() time.Time // nil: time.Now
}

// Stats are counts since the start.
type Stats struct {
	Connections int    `json:"connections"` // open now
	Requests    uint64 `json:"requests"`
	Deferred    uint64 `json:"deferred"`
	Refused     uint64 `json:"refused"`
	Faults      uint64 `json:"faults"` // closed without an answer
	// Answers are counted by kind, and by how long they took: Durations has a
	// count for each of DurationBounds and one for longer; Took is their sum.
	Answers   map[string]uint64 `json:"answers"`
	Durations []uint64          `json:"-"`
	Took      time.Duration     `json:"-"`
}

// settings are what a reload changes.
type settings struct {
	Config
	policy Policy
}

// Server answers. Make it by New.
type Server struct {
	log  *maillog.Logger
	now  func() time.Time
	set  atomic.Pointer[settings]
	ids  mail.IDs
	seen instances

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	closing   bool
	full      bool // and it was told
	wg        sync.WaitGroup

	requests, deferred, refused, faults atomic.Uint64
	figures                             figures

	turnedAway atomic.Int64 // who may not ask
	told       atomic.Int64 // when that was logged, in nanoseconds
	toldOf     atomic.Int64 // and which of them
}

// New makes a server that serves nothing yet.
func New(o Options) *Server {
	s := &Server{log: o.Log, now: o.Now, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
	if s.now == nil {
		s.now = time.Now
	}
	s.seen.init()
	s.Use(o.Config, o.Policy)
	return s
}

// Use makes requests from now on ask p; what it was asked about before is
// finished with the policy that judged it.
func (s *Server) Use(c Config, p Policy) { s.set.Store(&settings{c, p}) }

// Stats counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	st := Stats{Connections: n, Requests: s.requests.Load(), Deferred: s.deferred.Load(), Refused: s.refused.Load(), Faults: s.faults.Load()}
	s.figures.stats(&st)
	return st
}

// errClosing is the end of Serve after Shutdown.
var errClosing = errors.New("policyd: closed")

// Serve takes connections until l is closed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return errClosing
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(c)
		case errors.Is(err, net.ErrClosed):
			return errClosing
		default:
			// Out of descriptors: it passes, and a loop at full speed does not help.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// take starts a connection, or refuses it.
func (s *Server) take(nc net.Conn) {
	set := s.set.Load()
	peer, tcp := peerOf(nc)
	if tcp && !allowed(set.Clients, peer.Addr()) {
		nc.Close()
		s.turnAway(peer.Addr())
		return
	}
	c := &conn{s: s, nc: nc, peer: peer}
	s.mu.Lock()
	switch {
	case s.closing:
		s.mu.Unlock()
		nc.Close()
		return
	case len(s.conns) >= set.MaxConnections:
		told := s.full
		s.full = true
		s.mu.Unlock()
		nc.Close()
		if !told {
			s.warn("too many connections (policyd.max_connections)", slog.Int("connections", set.MaxConnections))
		}
		return
	}
	s.full = false
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// tellEvery bounds the log of those who may not ask: a scan of ports would fill
// it.
const tellEvery = 10 * time.Second

func (s *Server) turnAway(peer netip.Addr) {
	n := s.turnedAway.Add(1)
	now, last := s.now().UnixNano(), s.told.Load()
	if passed := now - last; last != 0 && passed >= 0 && passed < int64(tellEvery) || !s.told.CompareAndSwap(last, now) {
		return
	}
	s.warn("somebody who may not ask has tried to", slog.String("client", peer.String()), slog.Int64("not_logged", n-1-s.toldOf.Swap(n)))
}

func peerOf(nc net.Conn) (netip.AddrPort, bool) {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), true
}

func allowed(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}

func (s *Server) warn(text string, attrs ...slog.Attr) {
	if s.log != nil {
		s.log.Warn("policyd", text, attrs...)
	}
}

// Shutdown closes listeners and idle connections, and waits for requests that
// are being answered until ctx ends. Postfix asks a closed one anew.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		s.seen.endAll()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	return ctx.Err()
}
