package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxConnections = 32
	// maxStrangers is for those who only get a 403: they must not keep the
	// health check out.
	maxStrangers = 4
	maxScrapes   = 4
	maxHeader    = 8 << 10
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = 2 * time.Minute // longer than usual between two scrapes
	maxReasons   = 50
	maxReason    = 300 // octets, before escaping
)

// Readiness is why the gateway is not ready, if it is not.
type Readiness struct {
	Problems []string // mail cannot come in
	Concerns []string // something should be looked at
}

// ServerOptions are what a Server is made from.
type ServerOptions struct {
	Metrics *Metrics
	Allow   []netip.Prefix
	// Ready must answer at once.
	Ready func() Readiness
}

// Server answers /metrics, /healthz and /readyz by HTTP/1.1.
type Server struct {
	http  *http.Server
	allow []netip.Prefix
	ready func() Readiness
}

// NewServer makes a server; Serve begins.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Metrics == nil || o.Ready == nil {
		return nil, errors.New("metrics: no metrics or no readiness to show")
	}
	s := &Server{allow: o.Allow, ready: o.Ready}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(o.Metrics.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
		Timeout: writeTimeout - time.Second, EnableOpenMetrics: true, DisableCompression: true,
	}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/readyz", s.readyz)
	s.http = &http.Server{
		Handler: s.guard(mux), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// What strangers send to this port is no news for the mail log.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s, nil
}

// Serve answers until Shutdown, and gives nil then. The listener is closed.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(&limited{Listener: l, may: s.may,
		slots: make(chan struct{}, maxConnections), strangers: make(chan struct{}, maxStrangers), done: make(chan struct{})})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown ends the server; scrapes under way come to their end until ctx
// does.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}

// guard lets only those in who may ask, and only questions.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.may(r.RemoteAddr):
			h.Set("Connection", "close")
			http.Error(w, "forbidden", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			h.Set("Connection", "close") // a body is not read
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		case r.ContentLength != 0:
			h.Set("Connection", "close")
			http.Error(w, "no body is expected", http.StatusBadRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) may(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	from := a.Addr().Unmap().WithZone("")
	if from.IsLoopback() {
		return true
	}
	for _, p := range s.allow {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
	Concerns []string `json:"concerns"`
}

// readyz answers 503 with the reasons while mail cannot come in; with
// ?strict=1 concerns count too.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	now := s.ready()
	a := readiness{Problems: safe(now.Problems), Concerns: safe(now.Concerns)}
	a.Ready = len(a.Problems) == 0 && (r.URL.Query().Get("strict") != "1" || len(a.Concerns) == 0)
	raw, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		http.Error(w, "no answer could be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !a.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(append(raw, '\n'))
}

// safe bounds reasons and escapes what is not printable ASCII: they may quote
// what another server said.
func safe(list []string) []string {
	out := make([]string, 0, min(len(list), maxReasons))
	for _, s := range list[:min(len(list), maxReasons)] {
		q := strconv.QuoteToASCII(s[:min(len(s), maxReason)])
		out = append(out, strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`))
	}
	return out
}

// limited bounds the connections at a time: more wait in the kernel's queue,
// and those of strangers are closed.
type limited struct {
	net.Listener
	may              func(remote string) bool
	slots, strangers chan struct{}
	once             sync.Once
	done             chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.may(c.RemoteAddr().String()) {
			select {
			case l.strangers <- struct{}{}:
				return &slot{Conn: c, slots: l.strangers}, nil
			default:
				c.Close()
				continue
			}
		}
		select {
		case l.slots <- struct{}{}:
			return &slot{Conn: c, slots: l.slots}, nil
		case <-l.done:
			c.Close()
			return nil, net.ErrClosed
		}
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// slot gives its place back when it is closed.
type slot struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (s *slot) Close() error {
	err := s.Conn.Close()
	s.once.Do(func() { <-s.slots })
	return err
}
