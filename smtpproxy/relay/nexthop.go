// Package relay is Garita towards the next hop: pooled SMTP connections to one
// configured server or several of one kind (RFC 5321 as a client, 2920 PIPELINING, 1870 SIZE, 6152
// 8BITMIME, 6531 SMTPUTF8, 3461 DSN, 3207 STARTTLS, 4954 AUTH PLAIN and LOGIN,
// 2033 LMTP, Postfix's XFORWARD and XCLIENT).
//
// It answers for three things. Nothing of a client reaches a command except as
// a value that was parsed and is written anew. A message is handed over only
// when the next hop's complete 2xx to the final dot was read; every break
// before it closes the socket without the dot, never with QUIT, and a lost
// answer after it is an ambiguous outcome and 451. And a fault of the next hop
// or of ours is never a 5xx.
//
// What passes through to the client: 4xx and 5xx to MAIL, RCPT and the end of
// data. 421 becomes 451. 5xx at the greeting, EHLO, STARTTLS, AUTH, XCLIENT
// and XFORWARD is 451, as are 503, 530, 534, 535 and 538 anywhere, which speak about our
// session; a 5xx to DATA passes only when it is 55x, which speaks about the
// message.
//
// It makes no MX look-up, queues nothing, and retries nothing but a pooled
// connection that turned out to be dead before a recipient was accepted on it;
// it goes on to another server only before MAIL.
//
// Limits: connections by Config.MaxConnections; replies by the constants of
// reply.go; the waiting queue by the number of sessions; the cache of unknown
// recipients by maxUnknown; servers by maxHosts.
package relay

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/smtpproxy"
)

// Logger is where alerts about the next hop go.
type Logger interface {
	Warn(component, text string, attrs ...slog.Attr)
	Info(component, text string, attrs ...slog.Attr)
}

// Options are what New needs.
type Options struct {
	Name     string // configured name
	Config   Config
	Hostname string // our name in EHLO
	Log      Logger // nil: nowhere
	// Own is told of every socket that is dialled; nil: nobody is.
	Own *OwnSockets
	// ListenAddrs gives our own listening addresses; a next hop that
	// resolves to one of them is refused. It is called at each connect.
	ListenAddrs func() []netip.AddrPort
	// Dial opens one TCP connection to "address:port", or a unix socket at
	// a path; nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Lookup resolves the host name; nil: net.DefaultResolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// RootCAs are the authorities of verify; nil: ca_file, or the system's.
	RootCAs *x509.CertPool
	// Now is the clock of the servers' health; nil: time.Now.
	Now func() time.Time
}

// NextHop is one configured next hop. It is safe for concurrent use.
type NextHop struct {
	name, hostname string
	hosts          []*host // in the order of the configuration
	lmtp           bool
	cfg            Config
	log            Logger
	own            *OwnSockets
	listenAddrs    func() []netip.AddrPort
	dialTCP        func(ctx context.Context, network, addr string) (net.Conn, error)
	lookup         func(ctx context.Context, host string) ([]netip.Addr, error)
	roots          *x509.CertPool
	now            func() time.Time
	files          [sha256.Size]byte // what filesOf gave at the beginning
	life           context.Context   // ends with Close
	end            context.CancelFunc

	pool    pool
	turns   atomic.Uint64
	capsMu  sync.Mutex // of joinCapabilities
	caps    atomic.Pointer[smtpproxy.Capabilities]
	unknown unknownRecipients

	connects, connectErrors, relayed, refused, ambiguous atomic.Uint64

	down atomic.Pointer[error] // why the last connection failed; nil: it did not

	warnMu sync.Mutex
	warned map[string]warning
}

var _ smtpproxy.NextHop = (*NextHop)(nil)

// New makes a next hop; it opens nothing. The errors of the configuration
// come joined.
func New(o Options) (*NextHop, error) {
	if errs := o.Config.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("next_hop.%s: %w", o.Name, errors.Join(errs...))
	}
	h := &NextHop{
		name: o.Name, hostname: o.Hostname, cfg: o.Config,
		log: o.Log, own: o.Own, listenAddrs: o.ListenAddrs, dialTCP: o.Dial, lookup: o.Lookup,
		roots: o.RootCAs, now: o.Now, warned: make(map[string]warning),
	}
	if !soundHost(h.hostname) && !isAddressLiteral(h.hostname) {
		return nil, fmt.Errorf("next_hop.%s: %q is no host name for EHLO; set hostname to the full name of this machine", o.Name, o.Hostname)
	}
	if h.dialTCP == nil {
		h.dialTCP = (&net.Dialer{}).DialContext
	}
	if h.lookup == nil {
		h.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if h.now == nil {
		h.now = time.Now
	}
	h.files = filesOf(o.Config) // before they are read: what is written meanwhile is news
	if err := h.addHosts(o); err != nil {
		return nil, fmt.Errorf("next_hop.%s: %w", o.Name, err)
	}
	h.life, h.end = context.WithCancel(context.Background())
	h.pool.init(o.Config.MaxConnections, o.Config.IdleTimeout, (*conn).quit)
	h.pool.owned = o.Config.XClient
	h.unknown.init()
	h.caps.Store(&smtpproxy.Capabilities{})
	return h, nil
}

// addHosts makes the servers and reads the files of their TLS.
func (h *NextHop) addHosts(o Options) (err error) {
	c := o.Config
	if h.roots == nil && c.CAFile != "" {
		if h.roots, err = loadCAs(c.CAFile); err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
	}
	var own *tls.Certificate
	if c.ClientCertificateFile != "" {
		if own, err = loadPair(c.ClientCertificateFile, c.ClientKeyFile); err != nil {
			return err
		}
	}
	for _, s := range c.URLs() {
		t, err := parseURL("url", s)
		if err != nil {
			return err
		}
		name := c.TLSServerName
		if name == "" {
			name = t.host
		}
		ho := &host{target: t, tls: clientTLS(c, name, h.roots, own)}
		if t.literal.IsValid() {
			ho.known.Store(&[]netip.Addr{t.literal})
			if err := h.refuseOwn(ho, []netip.Addr{t.literal}); err != nil {
				return err
			}
		}
		h.hosts = append(h.hosts, ho)
		h.lmtp = t.lmtp
	}
	return nil
}

func isAddressLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	if len(s) > 5 && s[:5] == "IPv6:" {
		s = s[5:]
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// Name is the configured name.
func (h *NextHop) Name() string { return h.name }

// Capabilities are those of the last connection that got as far as EHLO.
func (h *NextHop) Capabilities() smtpproxy.Capabilities { return *h.caps.Load() }

// Begin makes a delivery for the transaction; nothing is sent yet.
func (h *NextHop) Begin(tx *mail.Transaction) smtpproxy.Delivery {
	d := &delivery{hop: h, tx: tx}
	if s := tx.Session; s != nil {
		d.priority = s.Role == mail.Outbound || s.Role == mail.ContentFilter
		d.client = turnOf(s.Client.Addr())
	}
	return d
}

// turnOf is who takes turns as one: an IPv4 address, and of IPv6 a /48, the
// largest network that a customer is given (RFC 6177): he has 65,536 clients.
func turnOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// Probe makes one connection of its own to every server to learn what it can
// do; where that fails, what was known last stays. It is an error when none
// answers, and none when the next hop takes no more than the connections that
// it has of ours.
func (h *NextHop) Probe(ctx context.Context) error {
	w := want{priority: true}
	c, err := h.pool.acquire(ctx, w, h.cfg.WaitBudget)
	if err != nil {
		return fmt.Errorf("next_hop.%s: %w", h.name, err)
	}
	defer h.pool.put(nil, true)
	if c != nil {
		c.quit()
	}
	if len(h.hosts) == 1 {
		c, f := h.connect(ctx, nil)
		return h.probed(c, f)
	}
	// All at once, so that a dead one does not use up the time of the others.
	results := make(chan error, len(h.hosts))
	for _, ho := range h.hosts {
		go func() {
			c, f := h.connectTo(ctx, ho)
			results <- h.probed(c, f)
		}()
	}
	var errs []error
	for range h.hosts {
		if err := <-results; err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(h.hosts) {
		h.answers()
		return nil
	}
	err = errors.Join(errs...)
	h.down.Store(&err)
	return err
}

func (h *NextHop) probed(c *conn, f *fault) error {
	switch {
	case f == nil:
		c.quit()
	case !f.crowded || h.live() == 0:
		return fmt.Errorf("next_hop.%s: %w", h.name, f.err)
	}
	return nil
}

// Close ends the idle connections with QUIT, waiting for each but quitWait.
// Deliveries under way may finish; new ones are answered 451.
func (h *NextHop) Close() error {
	h.end()
	h.pool.close()
	return nil
}

// Retire is for a next hop that a new configuration has replaced: idle
// connections are ended in the background and none is kept from now on, while
// sessions that still have it deliver as before. It returns at once; nothing
// is left of it when its last delivery has ended.
func (h *NextHop) Retire() { h.pool.retireAll() }

// ForgetUnknown drops what is remembered of unknown recipients: who has made a
// mailbox and reloads must not wait until the refusal of before is forgotten.
func (h *NextHop) ForgetUnknown() { h.unknown.forget() }

// Stats are counters for status and metrics.
type Stats struct {
	Busy, Idle, Waiting                                  int
	Connects, ConnectErrors, Relayed, Refused, Ambiguous uint64
}

// Stats gives the counters since the start.
func (h *NextHop) Stats() Stats {
	var s Stats
	s.Busy, s.Idle, s.Waiting = h.pool.stats()
	s.Connects, s.ConnectErrors = h.connects.Load(), h.connectErrors.Load()
	s.Relayed, s.Refused, s.Ambiguous = h.relayed.Load(), h.refused.Load(), h.ambiguous.Load()
	return s
}

// Fault is why the last connection failed, of a probe or of mail; nil when it
// succeeded or none was made yet.
func (h *NextHop) Fault() error {
	if p := h.down.Load(); p != nil {
		return *p
	}
	return nil
}

// answers notes that a connection came about, and tells when that is news.
func (h *NextHop) answers() {
	if h.down.Load() != nil && h.down.Swap(nil) != nil && h.log != nil {
		h.log.Info("relay", "next hop answers again", slog.String("next_hop", h.name))
	}
}

// take gets a connection for a delivery: an idle one, or a new one. With held
// the caller has a slot already and wants a new connection in it. When the next
// hop takes no more connections than it has of ours, the delivery waits for one
// of these, as it would at our own limit.
func (h *NextHop) take(ctx context.Context, w want, held bool) (*conn, *fault) {
	h.revive()
	end := time.Now().Add(h.cfg.WaitBudget)
	for budget := h.cfg.WaitBudget; ; budget = time.Until(end) {
		if !held {
			c, err := h.pool.acquire(ctx, w, budget)
			if err != nil {
				return nil, busy(fmt.Errorf("%s: %w", h.name, err))
			}
			if c != nil {
				if c.quiet() {
					return c, nil
				}
				c.close() // closed by the next hop meanwhile, or out of step
			}
		}
		held = false
		c, f := h.connect(ctx, w.host)
		if f == nil {
			return c, nil
		}
		crowded := f.crowded && h.pool.lower(h.live())
		h.pool.put(nil, w.priority)
		if !crowded || ctx.Err() != nil || !time.Now().Before(end) {
			return nil, f
		}
	}
}

// recycle takes a connection back after a completed transaction.
func (h *NextHop) recycle(c *conn, priority bool) {
	c.uses++
	switch {
	case c.tainted || c.rd.buffered() > 0:
		// Octets that nobody asked for: out of step.
		c.close()
		h.pool.put(nil, priority)
	case c.uses >= h.cfg.MaxUses || !h.preferred(c.host):
		h.pool.retire(c, priority)
	default:
		h.pool.put(c, priority)
	}
}

// recycleReset takes a connection back in the middle of a transaction: RSET
// first, in the background, since nobody waits for it.
func (h *NextHop) recycleReset(c *conn, priority bool) {
	if c.tainted || c.rd.buffered() > 0 {
		h.discard(c, priority)
		return
	}
	h.pool.background(func() {
		if c.reset(context.Background()) {
			h.recycle(c, priority)
		} else {
			h.discard(c, priority)
		}
	})
}

// discard drops a connection as it stands.
func (h *NextHop) discard(c *conn, priority bool) {
	c.close()
	h.pool.put(nil, priority)
}

// warnEvery bounds the alerts of one kind; transactions log their own faults.
const warnEvery = time.Minute

type warning struct {
	last    time.Time
	skipped int
}

// warn alerts the operator, once in warnEvery for each kind.
func (h *NextHop) warn(kind, text string, err error) {
	if h.log == nil {
		return
	}
	now := time.Now()
	h.warnMu.Lock()
	w := h.warned[kind]
	if !w.last.IsZero() && now.Sub(w.last) < warnEvery {
		w.skipped++
		h.warned[kind] = w
		h.warnMu.Unlock()
		return
	}
	skipped := w.skipped
	h.warned[kind] = warning{last: now}
	h.warnMu.Unlock()
	attrs := []slog.Attr{slog.String("next_hop", h.name), slog.String("detail", clean([]byte(err.Error()), false))}
	if skipped > 0 {
		attrs = append(attrs, slog.String("not_shown", strconv.Itoa(skipped)))
	}
	h.log.Warn("relay", text, attrs...)
}
