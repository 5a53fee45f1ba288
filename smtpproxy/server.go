package smtpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

// ServerConfig is what a Server needs for its whole life.
type ServerConfig struct {
	Log    *maillog.Logger
	Budget *message.Budget
	// SpoolDir is the folder of spool files.
	SpoolDir string
	// IsOwnSocket tells a connection that our own relay has opened: a next
	// hop that leads back to us. May be nil.
	IsOwnSocket func(client, local netip.AddrPort) bool
}

// Settings are what a reload changes. A session keeps those it began with.
type Settings struct {
	Hostname  string
	Limits    Limits
	Policy    Policy
	Keeper    Keeper   // nil: there is no holding place
	Names     Names    // nil: clients have no names
	Conduct   Conduct  // nil: nothing is counted across sessions
	Accounts  Accounts // nil: nobody can log in
	Listeners map[string]*Listener
	// Index is for message.Index; zero Limits are the default ones.
	Index message.IndexOptions
}

// Listener is one listener with its parts.
type Listener struct {
	Name string
	ListenerConfig
	Router Router
	TLS    *tls.Config // nil: no STARTTLS

	certs      *clientCerts // set by ClientAuth
	role       mail.Role
	body       bodyPolicy
	postmaster mail.Path
	ours       map[string]bool // relay domains, by DomainKey
}

// Server is all listeners together.
type Server struct {
	log         *maillog.Logger
	budget      *message.Budget
	spoolDir    string
	isOwnSocket func(client, local netip.AddrPort) bool
	sleep       func(time.Duration)
	ids         mail.IDs

	settings atomic.Pointer[Settings]
	slots    slots
	stats    counters
	disk     diskWatch
	trim     trimmer
	alarms   alarms
	pressure pressure
	draining atomic.Bool

	made                    time.Time     // for clock
	writeTimeout, shedAfter time.Duration // constants, but for tests

	base context.Context // ends when sessions must stop at once
	stop context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]string
	sessions  map[*session]struct{}
	wg        sync.WaitGroup
}

// NewServer makes a server; Apply must come before Serve.
func NewServer(c ServerConfig) *Server {
	s := &Server{log: c.Log, budget: c.Budget, spoolDir: c.SpoolDir, isOwnSocket: c.IsOwnSocket, sleep: time.Sleep,
		made: time.Now(), writeTimeout: writeTimeout, shedAfter: shedAfter,
		listeners: map[net.Listener]string{}, sessions: map[*session]struct{}{}}
	if s.isOwnSocket == nil {
		s.isOwnSocket = func(_, _ netip.AddrPort) bool { return false }
	}
	s.disk.dir = c.SpoolDir
	s.trim.open = func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sessions)
	}
	s.base, s.stop = context.WithCancel(context.Background())
	return s
}

// Apply sets the settings of all sessions from now on.
func (s *Server) Apply(set *Settings) error {
	for name, l := range set.Listeners {
		if err := l.prepare(name, set.Hostname); err != nil {
			return err
		}
	}
	s.settings.Store(set)
	return nil
}

// prepare works out what the configuration says in words.
func (l *Listener) prepare(name, hostname string) error {
	l.Name = name
	l.role = roleOf(l.Role)
	l.body = bodyPolicy{rejectLF: l.BareLF == "reject", rejectCR: l.BareCR == "reject", rejectNUL: l.NUL == "reject"}
	to := l.postmasterAddress(hostname)
	p, rest, err := mail.ParseForward("<"+to+">", false)
	if err != nil || rest != "" || p.Domain == "" {
		return fmt.Errorf("smtpproxy: listener %q: postmaster %q is not an address", name, to)
	}
	l.postmaster = p
	if l.role == 0 || l.Router == nil {
		return fmt.Errorf("smtpproxy: listener %q has no role or no route", name)
	}
	if l.ImplicitTLS && l.TLS == nil {
		return fmt.Errorf("smtpproxy: listener %q: implicit_tls needs a certificate", name)
	}
	l.ours = make(map[string]bool, len(l.RelayDomains))
	for _, d := range l.RelayDomains {
		l.ours[mail.DomainKey(d)] = true
	}
	return nil
}

// errDraining: the server is shutting down.
var errDraining = errors.New("shutting down")

// Serve accepts connections of one listener until it is closed. It returns
// nil after Shutdown.
func (s *Server) Serve(name string, l net.Listener) error {
	s.mu.Lock()
	s.listeners[l] = name
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		l.Close()
	}()
	var faults acceptFaults
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.draining.Load() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// No descriptors, or a connection that broke before we had it:
			// wait a little, never spin, never exit (attacks S-146).
			wait, say := faults.next(time.Now())
			if say {
				s.log.Warn("smtpd", "cannot accept connections", slog.String("listener", name), slog.String("error", err.Error()))
			}
			s.sleep(wait)
			continue
		}
		faults.reset()
		s.accept(name, conn)
	}
}

// accept gives a connection a session, or says why not. It never blocks: the
// one write is smaller than an empty socket buffer.
func (s *Server) accept(name string, conn net.Conn) {
	set := s.settings.Load()
	ln := set.Listeners[name]
	peer := addrPort(conn.RemoteAddr())
	if ln == nil || s.draining.Load() {
		s.turnAway(conn, ln, replyShutdown)
		return
	}
	proxy := len(ln.ProxyFrom) > 0
	if proxy && !contains(ln.ProxyFrom, peer.Addr()) {
		s.stats.noHeader.Add(1)
		s.turnedAway(name, peer.Addr(), "not one of proxy_from")
		conn.Close()
		return
	}
	// A balancer's connections are its clients', who are not known yet: their
	// trust, limits and conduct come when it has named them.
	vouched := proxy || contains(ln.XClientFrom, peer.Addr())
	trusted := !proxy && ln.trusts(peer.Addr())
	at := place{key: slotKey(peer.Addr()), counted: !trusted && !vouched,
		reserve: trusted || vouched && ln.role != mail.Inbound}
	if at.counted && set.Conduct != nil {
		if r := set.Conduct.Note(peer.Addr(), ActConnection); r.Refuse {
			s.stats.overLimit.Add(1)
			s.stats.misconduct.Add(1)
			s.turnedAway(name, peer.Addr(), r.Why)
			s.turnAway(conn, ln, replyTooMany)
			return
		}
	}
	if why := s.slots.take(at, set.Limits); why != "" {
		s.turnedAway(name, peer.Addr(), why)
		s.turnAway(conn, ln, replyTooMany)
		if why == whyFull {
			s.shed(true)
		}
		return
	}
	ss := &session{srv: s, set: set, ln: ln, raw: conn, conn: conn, in: newReader(conn), out: replyWriter{conn: conn},
		place: at, vouched: vouched}
	ss.out.full = ss.flush
	ss.s = mail.Session{ID: s.ids.Next(), Listener: name, Role: ln.role, Peer: peer, Client: peer,
		Proto: "SMTP", Start: time.Now(), Trusted: trusted}
	s.start(ss)
}

// start lets a session run in a goroutine of its own.
func (s *Server) start(ss *session) {
	s.mu.Lock()
	s.sessions[ss] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	s.stats.connections.Add(1)
	s.trim.note()
	if s.weigh(ss.set.Limits); s.pressure.on.Load() {
		s.shed(false)
	}
	go func() {
		defer s.gone(ss)
		ss.run(s.base)
	}()
}

// gone forgets a session that has ended.
func (s *Server) gone(ss *session) {
	defer s.wg.Done()
	s.mu.Lock()
	delete(s.sessions, ss)
	s.mu.Unlock()
	s.slots.give(ss.place)
	s.weigh(ss.set.Limits)
}

// turnAway answers one line and closes; under TLS from the first octet it is
// no use.
func (s *Server) turnAway(conn net.Conn, ln *Listener, r mail.Reply) {
	if ln == nil || !ln.ImplicitTLS {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(conn, r.String()+"\r\n")
	}
	conn.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// CloseListeners stops accepting on every listener with that name.
func (s *Server) CloseListeners(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, n := range s.listeners {
		if n == name {
			l.Close()
		}
	}
}

// lastWords is how long sessions that were cut off may take to end.
const lastWords = 2 * time.Second

// Shutdown stops accepting, sends idle clients away with 421, and lets
// messages on their way come to their end. When ctx ends first, the rest is
// closed: without a dot towards the next hop, so that nothing is cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s.wakeWaiting()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			s.stop()
			s.mu.Lock()
			n := len(s.sessions)
			for ss := range s.sessions {
				ss.raw.Close()
			}
			s.mu.Unlock()
			// Their last words are the log's: a message that the next hop has
			// taken by now must have its record.
			select {
			case <-done:
			case <-time.After(lastWords):
			}
			return fmt.Errorf("smtpproxy: %d sessions were still busy: %w", n, ctx.Err())
		case <-tick.C:
		}
	}
}

// wakeWaiting ends the reads of sessions that wait for a command.
func (s *Server) wakeWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss := range s.sessions {
		if ss.state.Load() == waiting {
			ss.raw.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// acceptFaults spaces out attempts to accept, and what is said of them.
type acceptFaults struct {
	wait time.Duration
	said time.Time
}

func (f *acceptFaults) next(now time.Time) (wait time.Duration, say bool) {
	f.wait = min(max(2*f.wait, 5*time.Millisecond), time.Second)
	if now.Sub(f.said) >= 10*time.Second {
		f.said, say = now, true
	}
	return f.wait, say
}

func (f *acceptFaults) reset() { f.wait = 0 }
