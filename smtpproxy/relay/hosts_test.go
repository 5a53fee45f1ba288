package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	c.t = c.t.Add(d)
	c.mu.Unlock()
}

// dead is an address on which nobody listens.
func dead(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func relayed(t *testing.T, h *NextHop, s *fakehop.Server) {
	t.Helper()
	before := len(s.Accepted())
	if answers, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
		t.Fatalf("%v %+v", answers, o)
	}
	if len(s.Accepted()) != before+1 {
		t.Fatal("the message went elsewhere")
	}
}

// TestFailover: whatever keeps the first server from greeting sends the
// message to the second, once, and the first is set aside.
func TestFailover(t *testing.T) {
	for name, a := range map[string]fakehop.Action{
		"421 greeting": {Reply: "421 4.3.2 not now\r\n", Drop: true}, "554 greeting": {Reply: "554 5.7.1 no\r\n", Drop: true},
		"nonsense": {Reply: "hello\r\n"}, "drop": {Silent: true, Drop: true}, "reset": {Silent: true, Reset: true}, "hang": {Silent: true, Hang: true},
		"refused": {},
	} {
		for _, verb := range []string{"CONNECT", "EHLO"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				t.Parallel()
				a := a // shared with the other verb otherwise
				if name == "554 greeting" && verb == "EHLO" {
					a.Reply = "450 4.3.2 later\r\n"
				}
				second := start(t, fakehop.Config{})
				url := "smtp://" + dead(t)
				if name != "refused" {
					url = start(t, fakehop.Config{Always: map[string]fakehop.Action{verb: a}}).URL()
				}
				c := impatient(url)
				c.ConnectTimeout = 1500 * time.Millisecond
				c.FallbackURLs = []string{second.URL()}
				clk := newClock()
				h, l := hop(t, c, func(o *Options) { o.Now = clk.now })
				relayed(t, h, second)
				relayed(t, h, second)
				hosts := h.Hosts()
				if hosts[0].Fault == nil || hosts[0].SetAside.Sub(clk.now()) != asideFirst || hosts[0].Connects != 1 || hosts[0].ConnectErrors != 1 || hosts[0].Open != 0 {
					t.Errorf("%+v", hosts[0])
				}
				if hosts[1].Fault != nil || !hosts[1].SetAside.IsZero() || hosts[1].Open != 1 || hosts[1].URL != second.URL() {
					t.Errorf("%+v", hosts[1])
				}
				if h.Fault() != nil || !l.has("a server of the next hop is set aside") {
					t.Errorf("%v %q", h.Fault(), l.lines)
				}
			})
		}
	}
}

// TestNoFailoverAfterMail: once MAIL was accepted, the message does not go to
// another server, whatever happens (B-19).
func TestNoFailoverAfterMail(t *testing.T) {
	for verb, a := range map[string]fakehop.Action{
		"RCPT": {Silent: true, Drop: true}, "DATA": {Silent: true, Drop: true}, ".": {Silent: true, Drop: true},
	} {
		t.Run(verb, func(t *testing.T) {
			first, second := start(t, fakehop.Config{Always: map[string]fakehop.Action{verb: a}}), start(t, fakehop.Config{})
			c := testConfig(first.URL())
			c.FallbackURLs = []string{second.URL()}
			h, _ := hop(t, c)
			if _, o := send(t, h, transaction(), "a"); o.Kind == mail.Relayed || o.Replies[0].Code != 451 {
				t.Errorf("%+v", o)
			}
			if len(second.Conns()) != 0 {
				t.Error("it went to the second")
			}
		})
	}
}

// TestSetAsideGrows: 5 s, 10 s … 5 min; a message does not pay for the retry,
// which is made in the background; the first server comes back.
func TestSetAsideGrows(t *testing.T) {
	addr := dead(t)
	second := start(t, fakehop.Config{})
	c := testConfig("smtp://" + addr)
	c.FallbackURLs = []string{second.URL()}
	clk := newClock()
	h, l := hop(t, c, func(o *Options) { o.Now = clk.now })
	relayed(t, h, second)
	wait := asideFirst
	for n := uint64(2); n < 12; n++ {
		clk.pass(wait - time.Millisecond)
		relayed(t, h, second)
		if got := h.Hosts()[0].Connects; got != n-1 {
			t.Fatalf("%d attempts before the time was over", got)
		}
		clk.pass(time.Millisecond)
		relayed(t, h, second)
		eventually(t, "a retry in the background", func() bool { return h.Hosts()[0].ConnectErrors == n })
		wait = min(2*wait, asideLast)
		eventually(t, "set aside again", func() bool { return h.Hosts()[0].SetAside.Sub(clk.now()) == wait })
	}
	if wait != asideLast {
		t.Fatal("it did not grow to the end")
	}
	first := start(t, fakehop.Config{Addr: addr})
	clk.pass(wait)
	relayed(t, h, second)
	eventually(t, "the first is back", func() bool { return h.Hosts()[0].Fault == nil })
	// A warm connection to the fallback is used up once and then given up.
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	eventually(t, "the fallback's connection is closed", func() bool { return h.Hosts()[1].Open == 0 })
	relayed(t, h, first)
	if !l.has("set aside") || !strings.Contains(strings.Join(l.news, "\n"), "a server of the next hop answers again") {
		t.Errorf("%q %q", l.lines, l.news)
	}
}

// TestAllDown: with every server set aside each message still tries them, so
// that mail flows at once when one is back (B-01, B-31).
func TestAllDown(t *testing.T) {
	a, b := dead(t), dead(t)
	c := testConfig("smtp://" + a)
	c.FallbackURLs = []string{"smtp://" + b}
	clk := newClock()
	h, _ := hop(t, c, func(o *Options) { o.Now = clk.now })
	for range 3 {
		if answers, _ := send(t, h, transaction(), "x"); answers[0].Code != 451 || h.Fault() == nil {
			t.Fatalf("%v %v", answers, h.Fault())
		}
	}
	if err := h.Probe(t.Context()); err == nil {
		t.Error("a probe of nothing succeeded")
	}
	s := start(t, fakehop.Config{Addr: b})
	relayed(t, h, s)
	if h.Fault() != nil {
		t.Error(h.Fault())
	}
	if err := h.Probe(t.Context()); err != nil {
		t.Error("one server answers:", err)
	}
}

// TestClientLeaves: a client that goes away while we connect is no reason to
// set the server aside.
func TestClientLeaves(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"CONNECT": {{Silent: true, Hang: true}}}})
	other := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.FallbackURLs = []string{other.URL()}
	h, _ := hop(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	d := h.Begin(transaction())
	go func() {
		for len(s.Conns()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if r, _ := d.Rcpt(ctx, rcpt("a")); r.Code != 451 {
		t.Error(r)
	}
	if hosts := h.Hosts(); hosts[0].Fault != nil || len(other.Conns()) != 0 {
		t.Errorf("%+v", hosts)
	}
	relayed(t, h, s)
}

func TestRoundRobin(t *testing.T) {
	servers := []*fakehop.Server{start(t, fakehop.Config{}), start(t, fakehop.Config{}), start(t, fakehop.Config{})}
	c := testConfig(servers[0].URL())
	c.FallbackURLs, c.Balance = []string{servers[1].URL(), servers[2].URL()}, "round-robin"
	h, _ := hop(t, c)
	for range 12 {
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	for i, s := range servers {
		if len(s.Accepted()) != 4 || len(s.Conns()) != 1 {
			t.Errorf("server %d: %d messages over %d connections", i, len(s.Accepted()), len(s.Conns()))
		}
	}
	servers[1].Close()
	for range 12 {
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if a, b := len(servers[0].Accepted()), len(servers[2].Accepted()); a+b != 20 || a < 8 || b < 8 {
		t.Errorf("%d and %d", a, b)
	}
	// With one slot there is no room to be fair, and mail flows all the same.
	c.MaxConnections = 1
	h, _ = hop(t, c)
	for range 6 {
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
}

// TestJoinedCapabilities: what is announced is what every server has.
func TestJoinedCapabilities(t *testing.T) {
	a := start(t, fakehop.Config{Extensions: []string{"SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN"}})
	b := start(t, fakehop.Config{Extensions: []string{"SIZE 500", "8BITMIME"}})
	c := testConfig(a.URL())
	c.FallbackURLs = []string{b.URL(), "smtp://" + dead(t)}
	h, _ := hop(t, c)
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.Capabilities(); !got.Known || got.Size != 500 || !got.EightBitMIME || got.SMTPUTF8 || got.DSN {
		t.Errorf("%+v", got)
	}
	if h.Fault() != nil || h.Hosts()[2].Fault == nil {
		t.Errorf("%v %+v", h.Fault(), h.Hosts())
	}
}

// TestLesserFallback: what only the server that is down can take waits for it.
func TestLesserFallback(t *testing.T) {
	addr := dead(t)
	b := start(t, fakehop.Config{Extensions: []string{"SIZE 500"}})
	c := testConfig("smtp://" + addr)
	c.FallbackURLs = []string{b.URL()}
	h, _ := hop(t, c)
	for _, change := range []func(*mail.Transaction){
		func(tx *mail.Transaction) { tx.Params.SMTPUTF8 = true }, func(tx *mail.Transaction) { tx.Params.Body = mail.Body8BitMIME },
	} {
		d := h.Begin(transaction(change))
		if r, _ := d.Rcpt(t.Context(), rcpt("a")); r.Code != 451 {
			t.Error(r)
		}
		d.Abort()
	}
}

// TestOwnFallback: no server may be a listener of ours; the others serve.
func TestOwnFallback(t *testing.T) {
	s := start(t, fakehop.Config{})
	other := start(t, fakehop.Config{})
	listen := func() []netip.AddrPort { return []netip.AddrPort{s.AddrPort()} }
	c := testConfig(other.URL())
	c.FallbackURLs = []string{s.URL()}
	if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example", ListenAddrs: listen}); err == nil {
		t.Error("a fallback that is ourselves was taken")
	}
	c.URL = "smtp://self.example:" + strings.Split(s.Addr(), ":")[1]
	c.FallbackURLs = []string{other.URL()}
	h, l := hop(t, c, func(o *Options) {
		o.ListenAddrs = listen
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{s.AddrPort().Addr()}, nil }
	})
	relayed(t, h, other)
	if len(s.Conns()) != 0 || !l.has("set aside") {
		t.Error("it connected to itself")
	}
}

func TestLeadsToEveryHost(t *testing.T) {
	c := testConfig("smtp://192.0.2.1:25")
	c.FallbackURLs = []string{"smtp://192.0.2.2:465"}
	h, _ := hop(t, c)
	if p, ok := h.LeadsTo(netip.MustParseAddr("192.0.2.2")); !ok || p != 465 {
		t.Error(p, ok)
	}
	if _, ok := h.LeadsTo(netip.MustParseAddr("192.0.2.3")); ok {
		t.Error("another machine")
	}
	h, _ = hop(t, testConfig("lmtp+unix:///run/x"))
	if _, ok := h.LeadsTo(netip.Addr{}); ok {
		t.Error("a socket is no machine")
	}
}

// TestUnixSocket: SMTP over a unix socket, and no STARTTLS there.
func TestUnixSocket(t *testing.T) {
	cfg, _ := certificate(t, time.Now().Add(-time.Minute), "localhost")
	s := start(t, fakehop.Config{Addr: filepath.Join(t.TempDir(), "s"), TLS: cfg})
	c := testConfig(s.URL())
	c.TLS = "may"
	h, _ := hop(t, c)
	for range 2 {
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt("a"))
		d.Rcpt(t.Context(), rcpt("b"))
		body := strings.Repeat(sample, 5000)
		if o := d.Data(t.Context(), text(body)); o.Kind != mail.Relayed || o.NextHop != "localhost["+s.Addr()+"]" || o.TLS != "" {
			t.Fatalf("%+v", o)
		}
		if m := s.Accepted()[len(s.Accepted())-1]; string(m.Data) != body || len(m.To) != 2 {
			t.Error("the message differs")
		}
	}
	if len(s.Conns()) != 1 || s.Count("STARTTLS") != 0 {
		t.Error("connections are not reused")
	}
	s.CloseConns()
	eventually(t, "a new connection", func() bool {
		_, o := send(t, h, transaction(), "a")
		return o.Kind == mail.Relayed
	})
	s.Close()
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || strings.Contains(answers[0].Text, s.Addr()) {
		t.Error(answers)
	}
}

// TestCrowded: the next hop's own limit is below ours. With connections of
// ours open, messages wait for one of these; nobody is told 451 (B-21).
func TestCrowded(t *testing.T) {
	const limit = 3
	s := start(t, fakehop.Config{MaxConns: limit})
	c := testConfig(s.URL())
	c.MaxConnections, c.WaitBudget = 20, time.Minute
	h, l := hop(t, c)
	relayed(t, h, s)
	var wg sync.WaitGroup
	failed := make(chan string, 100)
	for range 40 {
		wg.Go(func() {
			d := h.Begin(transaction())
			r, err := d.Rcpt(t.Context(), rcpt("a"))
			if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
				failed <- fmt.Sprint(r, err, o.Detail)
			}
		})
	}
	wg.Wait()
	close(failed)
	for f := range failed {
		t.Error(f)
	}
	if n := len(s.Accepted()); n != 41 {
		t.Errorf("%d messages", n)
	}
	if n := len(s.Conns()); n > 41 {
		t.Errorf("%d connections for 41 messages", n)
	}
	if h.Fault() != nil || !l.has("takes no more connections") {
		t.Errorf("%v %q", h.Fault(), l.lines)
	}
	h.pool.mu.Lock()
	if h.pool.limit > limit {
		t.Errorf("the limit is %d", h.pool.limit)
	}
	h.pool.lowered = time.Now().Add(-5 * growEvery)
	h.pool.mu.Unlock()
	relayed(t, h, s)
	h.pool.mu.Lock()
	if h.pool.limit < 5 {
		t.Errorf("the limit stays %d", h.pool.limit)
	}
	h.pool.mu.Unlock()
	if err := h.Probe(t.Context()); err != nil {
		t.Error("a crowded next hop is no dead one:", err)
	}
}

// TestCrowdedSilently: a server that is out of processes does not greet; the
// message goes over the connection that we have.
func TestCrowdedSilently(t *testing.T) {
	hang := fakehop.Action{Silent: true, Hang: true}
	s := start(t, fakehop.Config{Script: script{"CONNECT": {{}, hang, hang, hang, hang}}})
	c := testConfig(s.URL())
	c.ConnectTimeout = 100 * time.Millisecond
	h, l := hop(t, c)
	first := h.Begin(transaction())
	first.Rcpt(t.Context(), rcpt("a"))
	got := make(chan mail.Outcome)
	go func() {
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt("b"))
		got <- d.Data(t.Context(), text(sample))
	}()
	eventually(t, "the second waits", func() bool { return first.Wanted() })
	if o := first.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	if o := <-got; o.Kind != mail.Relayed || len(s.Conns()) != 2 || s.Accepted()[1].Conn != 0 {
		t.Errorf("%+v over %d connections", o, len(s.Conns()))
	}
	if h.Fault() != nil || !l.has("takes no more connections") {
		t.Errorf("%v %q", h.Fault(), l.lines)
	}
}

// TestCrowdedByOthers: with no connection of ours there is nothing to wait for.
func TestCrowdedByOthers(t *testing.T) {
	s := start(t, fakehop.Config{Always: map[string]fakehop.Action{"CONNECT": {Reply: "421 4.7.0 too many connections\r\n", Drop: true}}})
	c := testConfig(s.URL())
	c.WaitBudget = time.Hour / 20
	h, _ := hop(t, c)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if r, _ := h.Begin(transaction()).Rcpt(t.Context(), rcpt("a")); r.Code != 451 {
				t.Error(r)
			}
		})
	}
	wg.Wait()
	if h.Fault() == nil {
		t.Error("no fault")
	}
}

// TestRetire: a next hop that was replaced delivers what is under way, keeps
// nothing and ends by itself.
func TestRetire(t *testing.T) {
	s := start(t, fakehop.Config{})
	h, _ := hop(t, testConfig(s.URL()))
	busy := h.Begin(transaction())
	busy.Rcpt(t.Context(), rcpt("a"))
	parked := h.Begin(transaction())
	parked.Rcpt(t.Context(), rcpt("b"))
	parked.Park()
	eventually(t, "parked", func() bool { return h.Stats().Idle == 1 })
	h.Retire()
	eventually(t, "idle ones have quit", func() bool { return s.Count("QUIT") == 1 })
	if o := busy.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	if o := parked.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	if _, o := send(t, h, transaction(), "late"); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	eventually(t, "nothing is left", func() bool {
		st := h.Stats()
		return st.Busy == 0 && st.Idle == 0 && s.Count("QUIT") == len(s.Conns()) && h.Hosts()[0].Open == 0
	})
}
