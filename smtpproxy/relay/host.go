package relay

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"garita/smtpproxy"
)

// How long a server that cannot be used is set aside: the first time, doubled
// each time after, to the last.
const (
	asideFirst = 5 * time.Second
	asideLast  = 5 * time.Minute
)

// host is one server of a next hop, with its health.
type host struct {
	target
	tls   *tls.Config
	known atomic.Pointer[[]netip.Addr]           // addresses at the last look-up
	caps  atomic.Pointer[smtpproxy.Capabilities] // of its last EHLO
	live  atomic.Int32                           // connections that were greeted and are open
	// bare tells that its last EHLO offered no XCLIENT that is of use.
	bare atomic.Bool

	connects, connectErrors atomic.Uint64

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // set aside until then
	why      error     // of the last failure; nil when it answers
	// barred is a refusal of our credentials: no connection is made before
	// until, or a wrong password would be tried for every message and the
	// account locked.
	barred  *fault
	probing bool
}

// HostStatus is one server of a next hop for status and metrics.
type HostStatus struct {
	URL      string
	SetAside time.Time // until when it is not used; zero: it is in use
	Fault    error     // why it could not be used the last time; nil: it could
	Open     int       // connections
	// Connects counts attempts, ConnectErrors those that failed.
	Connects, ConnectErrors uint64
}

// Hosts tells of every server, in the order of the configuration.
func (h *NextHop) Hosts() []HostStatus {
	now := h.now()
	list := make([]HostStatus, len(h.hosts))
	for i, ho := range h.hosts {
		s := &list[i]
		s.URL, s.Open = ho.String(), int(ho.live.Load())
		s.Connects, s.ConnectErrors = ho.connects.Load(), ho.connectErrors.Load()
		ho.mu.Lock()
		s.Fault = ho.why
		if ho.until.After(now) {
			s.SetAside = ho.until
		}
		ho.mu.Unlock()
	}
	return list
}

// XClientMissing tells that XCLIENT is wanted and a server did not offer it the
// last time: it takes our own address for every client's.
func (h *NextHop) XClientMissing() bool {
	if !h.cfg.XClient {
		return false
	}
	for _, ho := range h.hosts {
		if ho.bare.Load() {
			return true
		}
	}
	return false
}

// refusing gives the fault that a new attempt would only repeat.
func (ho *host) refusing(now time.Time) *fault {
	ho.mu.Lock()
	defer ho.mu.Unlock()
	if ho.barred == nil || !now.Before(ho.until) {
		return nil
	}
	f := *ho.barred
	f.told = true
	return &f
}

// failed notes that a connection did not come about. A server that is only
// crowded with connections of ours is well, and has a rest all the same.
func (ho *host) failed(now time.Time, f *fault) {
	ho.mu.Lock()
	defer ho.mu.Unlock()
	ho.barred = nil
	if f.crowded && ho.live.Load() > 0 {
		ho.until = now.Add(asideFirst)
		return
	}
	rest := asideLast
	if ho.failures < 6 {
		rest = asideFirst << ho.failures
	}
	ho.failures++
	ho.until, ho.why = now.Add(rest), f.err
	if f.credentials {
		ho.barred = f
	}
}

// works notes that a connection came about.
func (ho *host) works() {
	ho.mu.Lock()
	ho.failures, ho.until, ho.why, ho.barred = 0, time.Time{}, nil, nil
	ho.mu.Unlock()
}

// aside tells that the server is not to be used while another can be. It stays
// so when its time is over until an attempt in the background has succeeded:
// no message waits for a machine that is still dead.
func (ho *host) aside(now time.Time) bool {
	ho.mu.Lock()
	defer ho.mu.Unlock()
	return ho.failures > 0 || now.Before(ho.until)
}

// order gives the servers to try for one connection: those that are well, from
// first on, then those set aside, the longest first.
func (h *NextHop) order(first *host) (well, aside []*host) {
	if len(h.hosts) == 1 {
		return h.hosts, nil
	}
	now := h.now()
	start := 0
	for i, ho := range h.hosts {
		if ho == first {
			start = i
		}
	}
	for i := range h.hosts {
		ho := h.hosts[(start+i)%len(h.hosts)]
		if ho.aside(now) {
			aside = append(aside, ho)
		} else {
			well = append(well, ho)
		}
	}
	return well, aside
}

// turn is whose turn it is among those that are well; nil without a balance.
func (h *NextHop) turn() *host {
	if len(h.hosts) == 1 || h.cfg.Balance != "round-robin" {
		return nil
	}
	well, _ := h.order(nil)
	if len(well) == 0 {
		return nil
	}
	return well[int(h.turns.Add(1)-1)%len(well)]
}

// preferred tells that a connection to this server is worth keeping: with
// fallbacks, only while no server before it is well.
func (h *NextHop) preferred(ho *host) bool {
	if len(h.hosts) == 1 || h.cfg.Balance == "round-robin" {
		return true
	}
	now := h.now()
	for _, other := range h.hosts {
		if other == ho {
			return true
		}
		if !other.aside(now) {
			return false
		}
	}
	return true
}

// revive tries the servers whose time aside is over, each in the background
// and outside the pool's limit: it holds no connection to them.
func (h *NextHop) revive() {
	if len(h.hosts) == 1 || h.life.Err() != nil {
		return
	}
	now := h.now()
	for _, ho := range h.hosts {
		ho.mu.Lock()
		due := ho.failures > 0 && !now.Before(ho.until) && !ho.probing
		ho.probing = ho.probing || due
		ho.mu.Unlock()
		if !due {
			continue
		}
		h.pool.background(func() {
			c, f := h.connectTo(h.life, ho)
			if f == nil {
				c.quit()
			}
			ho.mu.Lock()
			ho.probing = false
			ho.mu.Unlock()
		})
	}
}

// joinCapabilities keeps what every server has that was ever asked: a message
// that the first of them would take must not be one that its fallback cannot.
func (h *NextHop) joinCapabilities() {
	h.capsMu.Lock()
	defer h.capsMu.Unlock()
	all := smtpproxy.Capabilities{}
	for _, ho := range h.hosts {
		c := ho.caps.Load()
		switch {
		case c == nil:
		case !all.Known:
			all = *c
		default:
			if c.Size > 0 && (all.Size == 0 || c.Size < all.Size) {
				all.Size = c.Size
			}
			all.EightBitMIME = all.EightBitMIME && c.EightBitMIME
			all.SMTPUTF8 = all.SMTPUTF8 && c.SMTPUTF8
			all.DSN = all.DSN && c.DSN
		}
	}
	if *h.caps.Load() != all {
		h.caps.Store(&all)
	}
}

// hostLost tells the operator that one of several servers was set aside.
func (h *NextHop) hostLost(ho *host, f *fault) {
	if len(h.hosts) > 1 && !(f.crowded && ho.live.Load() > 0) {
		h.warn("host "+ho.String(), "a server of the next hop is set aside", f.err)
	}
}

// hostBack tells that it answers again.
func (h *NextHop) hostBack(ho *host) {
	ho.mu.Lock()
	was := ho.why != nil
	ho.mu.Unlock()
	ho.works()
	if was && len(h.hosts) > 1 && h.log != nil {
		h.log.Info("relay", "a server of the next hop answers again", slog.String("next_hop", h.name), slog.String("server", ho.String()))
	}
}
