package milterd

import (
	"context"
	"errors"
	"fmt"
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

// ListenerName is what checks and the log are told of mail that came in here.
const ListenerName = "milter"

// ServerConfig is what a Server is made of; it does not change.
type ServerConfig struct {
	Log      *maillog.Logger
	Budget   *message.Budget
	SpoolDir string
}

// Server serves MTAs. It is safe for concurrent use.
type Server struct {
	log      *maillog.Logger
	budget   *message.Budget
	spoolDir string
	set      atomic.Pointer[Settings]
	ids      mail.IDs
	stats    counters
	told     atomic.Int64 // when the last connection turned away was logged
	toldOf   atomic.Int64 // and which of them that was

	ctx      context.Context
	cancel   context.CancelFunc
	draining atomic.Bool
	mu       sync.Mutex
	open     map[*session]struct{}
	busy     sync.WaitGroup
}

// NewServer makes a Server that serves nobody before its first Apply.
func NewServer(c ServerConfig) *Server {
	s := &Server{log: c.Log, budget: c.Budget, spoolDir: c.SpoolDir, open: map[*session]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Apply gives new connections other settings.
func (s *Server) Apply(set *Settings) { s.set.Store(set) }

// acceptPause is the wait after a failed accept, of want of descriptors above
// all.
const acceptPause = 50 * time.Millisecond

// Serve takes connections of l until it is closed; then it gives nil.
func (s *Server) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed) || s.draining.Load():
			if c != nil {
				c.Close()
			}
			return nil
		case err != nil:
			s.log.Warn("milter", "a connection could not be accepted", slog.String("error", err.Error()))
			select {
			case <-time.After(acceptPause):
			case <-s.ctx.Done():
				return nil
			}
			continue
		}
		s.start(c)
	}
}

// start begins a session, or closes a connection that may not be.
func (s *Server) start(c net.Conn) {
	set := s.set.Load()
	why := s.refused(set, c)
	x := &session{srv: s, set: set, w: newWire(c)}
	if why == "" {
		s.mu.Lock()
		switch {
		case s.draining.Load():
			why = "draining"
		case len(s.open) >= set.MaxConnections:
			why = "more connections than milter.max_connections"
		default:
			s.open[x] = struct{}{}
			s.busy.Add(1)
		}
		s.mu.Unlock()
	}
	if why != "" {
		s.tellTurnedAway(c, why)
		c.Close()
		return
	}
	s.stats.connections.Add(1)
	go func() {
		defer s.busy.Done()
		x.run(s.ctx)
		s.mu.Lock()
		delete(s.open, x)
		s.mu.Unlock()
	}()
}

// tellEvery bounds the log of connections that were turned away: a scan of
// ports would fill it.
const tellEvery = 10 * time.Second

func (s *Server) tellTurnedAway(c net.Conn, why string) {
	n := s.stats.turnedAway.Add(1)
	now, last := time.Now().UnixNano(), s.told.Load()
	if now-last < int64(tellEvery) || !s.told.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("milter", "a connection was turned away", slog.String("peer", c.RemoteAddr().String()), slog.String("why", why),
		slog.Int64("not_logged", n-1-s.toldOf.Swap(n)))
}

// refused tells why a peer may not connect. Who reaches a unix socket was let
// in by its permissions.
func (s *Server) refused(set *Settings, c net.Conn) string {
	if set == nil {
		return "not ready"
	}
	t, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	if a, ok := netip.AddrFromSlice(t.IP); ok && contains(set.Clients, a) {
		return ""
	}
	return "not in milter.clients"
}

// Shutdown closes what waits and lets messages on their way come to their
// end, until ctx ends. The sockets are the caller's to close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	for x := range s.open {
		x.wake()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.busy.Wait(); close(done) }()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	n := len(s.open)
	for x := range s.open {
		x.w.conn.Close()
	}
	s.mu.Unlock()
	s.cancel()
	<-done
	return fmt.Errorf("milter: %d connections were cut: %w", n, ctx.Err())
}

// counters count since the start of the process.
type counters struct {
	connections, turnedAway, refusals, broken, panics, noRoom, astray atomic.Int64
	outcomes                                                          [mail.Ambiguous + 1]atomic.Int64
	commands                                                          [len(commandNames)]atomic.Int64
}

// commandNames are the commands as figures name them; unknown ones are other.
var commandNames = [...]string{"options", "macros", "connect", "helo", "mail", "rcpt", "data", "header", "header_end", "body", "end", "abort", "quit", "other"}

// indexOf is the place of a command in commandNames.
func indexOf(cmd byte) int {
	switch cmd {
	case cmdOptions:
		return 0
	case cmdMacro:
		return 1
	case cmdConnect:
		return 2
	case cmdHelo:
		return 3
	case cmdMail:
		return 4
	case cmdRcpt:
		return 5
	case cmdData:
		return 6
	case cmdHeader:
		return 7
	case cmdEOH:
		return 8
	case cmdBody:
		return 9
	case cmdEOB:
		return 10
	case cmdAbort:
		return 11
	case cmdQuit, cmdQuitNew:
		return 12
	}
	return len(commandNames) - 1
}

// Stats is a picture of the counters. Relayed is what the MTA was told to go
// on with.
type Stats struct {
	Connections int              `json:"connections"` // now
	Accepted    int64            `json:"connections_total"`
	TurnedAway  int64            `json:"turned_away"`
	Refusals    int64            `json:"refusals"` // of clients, senders and recipients
	Broken      int64            `json:"broken"`   // connections that broke the protocol
	Panics      int64            `json:"panics"`
	NoRoom      int64            `json:"no_room"`
	Astray      int64            `json:"astray"` // edits that could not be made; the mail was deferred
	Outcomes    map[string]int64 `json:"outcomes"`
	Commands    map[string]int64 `json:"commands"` // by name
}

// Stats gives the present figures.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.open)
	s.mu.Unlock()
	c := &s.stats
	st := Stats{Connections: n, Accepted: c.connections.Load(), TurnedAway: c.turnedAway.Load(), Refusals: c.refusals.Load(),
		Broken: c.broken.Load(), Panics: c.panics.Load(), NoRoom: c.noRoom.Load(), Astray: c.astray.Load(), Outcomes: map[string]int64{}, Commands: map[string]int64{}}
	for i, name := range commandNames {
		st.Commands[name] = c.commands[i].Load()
	}
	for k := range c.outcomes {
		st.Outcomes[mail.OutcomeKind(k).String()] = c.outcomes[k].Load()
	}
	return st
}
