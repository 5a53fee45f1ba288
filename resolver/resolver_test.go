package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fake is a DNS server on loopback, UDP and TCP on one port.
type fake struct {
	addr    string
	mu      sync.Mutex
	answer  func(w dns.ResponseWriter, q *dns.Msg)
	asked   atomic.Int64
	overTCP atomic.Int64
	ports   map[string]bool
	ids     map[uint16]bool
}

func newFake(t testing.TB, answer func(w dns.ResponseWriter, q *dns.Msg)) *fake {
	t.Helper()
	f := &fake{answer: answer, ports: map[string]bool{}, ids: map[uint16]bool{}}
	var pc net.PacketConn
	var l net.Listener
	for range 20 { // the TCP port of the same number may be taken
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		_ = pc.Close()
	}
	if l == nil {
		t.Fatal("no port free for both")
	}
	f.addr = pc.LocalAddr().String()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		f.asked.Add(1)
		if w.RemoteAddr().Network() == "tcp" {
			f.overTCP.Add(1)
		}
		f.mu.Lock()
		f.ports[w.RemoteAddr().String()] = true
		f.ids[q.Id] = true
		answer := f.answer
		f.mu.Unlock()
		answer(w, q)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return f
}

func (f *fake) set(answer func(w dns.ResponseWriter, q *dns.Msg)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// zone answers from records as text, NXDOMAIN with a SOA for other names.
func zone(t testing.TB, lines ...string) func(w dns.ResponseWriter, q *dns.Msg) {
	t.Helper()
	var rrs []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	soa, _ := dns.NewRR("example. 300 IN SOA ns.example. h.example. 1 2 3 4 120")
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		owner, exists := q.Question[0].Name, false
		for range 20 {
			next := ""
			for _, rr := range rrs {
				h := rr.Header()
				if !strings.EqualFold(h.Name, owner) {
					continue
				}
				exists = true
				c, ok := rr.(*dns.CNAME)
				if ok {
					next = c.Target
				}
				if h.Rrtype == q.Question[0].Qtype || ok {
					m.Answer = append(m.Answer, rr)
				}
			}
			if next == "" {
				break
			}
			owner, exists = next, false
		}
		if q.Question[0].Name == "." {
			exists = true
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if len(m.Answer) == 0 || !exists {
			m.Ns = append(m.Ns, soa)
		}
		if w.RemoteAddr().Network() == "udp" {
			m.Truncate(udpSize)
		}
		_ = w.WriteMsg(m)
	}
}

func rcode(code int) func(w dns.ResponseWriter, q *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, code)
		_ = w.WriteMsg(m)
	}
}

func silent(dns.ResponseWriter, *dns.Msg) {}

// clock is an injected one.
type clock struct{ now atomic.Int64 }

func (c *clock) read() time.Duration   { return time.Duration(c.now.Load()) }
func (c *clock) move(by time.Duration) { c.now.Add(int64(by)) }

func start(t testing.TB, change func(o *Options), addrs ...string) *DNS {
	t.Helper()
	o := Options{Config: Default()}
	o.Servers = addrs
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestLookups(t *testing.T) {
	f := newFake(t, zone(t,
		"mail.example. 300 IN A 192.0.2.1", "mail.example. 300 IN A 192.0.2.2", "mail.example. 300 IN AAAA 2001:db8::1",
		"mail.example. 300 IN MX 20 b.example.", "mail.example. 300 IN MX 10 a.example.",
		`mail.example. 300 IN TXT "v=spf1 " "-all \"x\" \\ \007"`,
		"null.example. 300 IN MX 0 .", "lit.example. 300 IN MX 5 192.0.2.1.",
		"v6.example. 300 IN AAAA 2001:db8::2", "mapped.example. 300 IN AAAA ::ffff:192.0.2.9",
		"1.2.0.192.in-addr.arpa. 300 IN PTR mail.example.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 300 IN PTR mail.example.",
	))
	d := start(t, nil, f.addr)
	ctx := t.Context()
	if a, err := d.A(ctx, "MAIL.Example."); err != nil || len(a) != 2 {
		t.Errorf("A: %v, %v", a, err)
	}
	if a, err := d.Addresses(ctx, "mail.example"); err != nil || len(a) != 3 {
		t.Errorf("Addresses: %v, %v", a, err)
	}
	if a, err := d.Addresses(ctx, "v6.example"); err != nil || len(a) != 1 {
		t.Errorf("Addresses of one with AAAA alone: %v, %v", a, err)
	}
	if a, err := d.Addresses(ctx, "mapped.example"); err != nil || len(a) != 1 || a[0].String() != "192.0.2.9" {
		t.Errorf("mapped: %v, %v", a, err)
	}
	if m, err := d.MX(ctx, "mail.example"); err != nil || !slices.Equal(m, []MX{{10, "a.example"}, {20, "b.example"}}) {
		t.Errorf("MX: %v, %v", m, err)
	}
	if m, err := d.MX(ctx, "null.example"); err != nil || !slices.Equal(m, []MX{{0, "."}}) {
		t.Errorf("null MX: %v, %v", m, err)
	}
	if m, err := d.MX(ctx, "lit.example"); err != nil || !slices.Equal(m, []MX{{5, ""}}) {
		t.Errorf("MX to an address: %v, %v", m, err)
	}
	if s, err := d.TXT(ctx, "mail.example"); err != nil || !slices.Equal(s, []string{"v=spf1 -all \"x\" \\ \x07"}) {
		t.Errorf("TXT: %q, %v", s, err)
	}
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"} { // D-14
		if n, err := d.PTR(ctx, netip.MustParseAddr(a)); err != nil || !slices.Equal(n, []string{"mail.example"}) {
			t.Errorf("PTR %s: %v, %v", a, n, err)
		}
	}
	if _, err := d.A(ctx, "none.example"); !errors.Is(err, ErrNoName) || !errors.Is(err, ErrNotFound) {
		t.Errorf("no name: %v", err)
	}
	if _, err := d.A(ctx, "v6.example"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoName) {
		t.Errorf("no record: %v", err)
	}
	if _, err := d.Addresses(ctx, "null.example"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoName) {
		t.Errorf("no address: %v", err)
	}
	if _, err := d.Addresses(ctx, "none.example"); !errors.Is(err, ErrNoName) {
		t.Errorf("no name at all: %v", err)
	}
}

// TestNamesFromHostileText is D-15: nothing but names is asked.
func TestNamesFromHostileText(t *testing.T) {
	f := newFake(t, zone(t))
	d := start(t, nil, f.addr)
	for _, n := range []string{"", ".", "..", "a..b", ".a", "a b", "a\r\nb", `a\.b`, "%s", "é.example", "[192.0.2.1]",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 150) + "b", "a\x00b"} {
		if _, err := d.A(t.Context(), n); !errors.Is(err, ErrNoName) {
			t.Errorf("%q: %v", n, err)
		}
		if _, err := d.Addresses(t.Context(), n); !errors.Is(err, ErrNoName) {
			t.Errorf("%q: %v", n, err)
		}
	}
	if n := f.asked.Load(); n != 0 {
		t.Errorf("%d were asked", n)
	}
}

// TestCacheAndTTL is D-10: TTL clamped both ways, negative answers by SOA.
func TestCacheAndTTL(t *testing.T) {
	f := newFake(t, zone(t,
		"zero.example. 0 IN A 192.0.2.1", "long.example. 2147483647 IN A 192.0.2.1", "over.example. 4294967295 IN A 192.0.2.1",
		"mid.example. 600 IN A 192.0.2.1"))
	var c clock
	d := start(t, func(o *Options) { o.Clock = c.read }, f.addr)
	for _, tc := range []struct {
		name string
		ttl  time.Duration
	}{
		{"zero.example", time.Minute}, {"long.example", time.Hour}, {"over.example", time.Minute},
		{"mid.example", 10 * time.Minute}, {"none.example", 2 * time.Minute},
	} {
		ask := func(want int64) {
			t.Helper()
			before := f.asked.Load()
			_, _ = d.A(t.Context(), tc.name)
			if n := f.asked.Load() - before; n != want {
				t.Errorf("%s at %v: %d questions, want %d", tc.name, c.read(), n, want)
			}
		}
		ask(1)
		ask(0)
		c.move(tc.ttl - time.Second)
		ask(0)
		c.move(time.Second)
		ask(1)
	}
}

// TestClockJumps is D-22: a clock that goes wrong makes nothing immortal, and
// the one that is used by default does not see the date at all.
func TestClockJumps(t *testing.T) {
	f := newFake(t, zone(t, "a.example. 600 IN A 192.0.2.1"))
	var c clock
	c.move(1000 * time.Hour)
	d := start(t, func(o *Options) { o.Clock = c.read }, f.addr)
	_, _ = d.A(t.Context(), "a.example")
	c.move(-500 * time.Hour)
	_, _ = d.A(t.Context(), "a.example")
	if n := f.asked.Load(); n != 2 {
		t.Errorf("an answer from the future was used: %d questions", n)
	}
	c.move(500 * time.Hour)
	_, _ = d.A(t.Context(), "a.example")
	if n := f.asked.Load(); n != 3 {
		t.Errorf("an old answer was used: %d questions", n)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(160)
	for i := range 10_000 {
		k := key{reverseName(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), 1}
		s := c.shard(k)
		s.put(k, &answer{texts: []string{strings.Repeat("x", i%2000)}, ttl: time.Hour}, 0)
	}
	entries, cost := 0, 0
	for i := range c.parts {
		s := &c.parts[i]
		entries += len(s.entries)
		sum, n := 0, 0
		for e := s.head.next; e != &s.head; e = e.next {
			sum += e.cost
			n++
		}
		if sum != s.cost || n != len(s.entries) {
			t.Fatalf("part %d: %d of %d, %d of %d", i, sum, s.cost, n, len(s.entries))
		}
		cost += sum
	}
	if entries > 160 || entries < 16 || cost > 160*entryMean {
		t.Errorf("%d entries, %d octets", entries, cost)
	}
}

// TestLeastRecentlyUsedGoes: what is asked often stays.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	var s shard
	s = *newShardForTest()
	s.head.prev, s.head.next = &s.head, &s.head
	s.max, s.maxCost = 3, 1<<20
	for _, n := range []string{"a", "b", "c"} {
		s.put(key{n, 1}, &answer{ttl: time.Hour}, 0)
	}
	s.get(key{"a", 1}, 1)
	s.put(key{"d", 1}, &answer{ttl: time.Hour}, 0)
	if s.get(key{"a", 1}, 1) == nil || s.get(key{"b", 1}, 1) != nil {
		t.Error("the wrong one went")
	}
}

func newShardForTest() *shard { return &shard{entries: map[key]*entry{}, flights: map[key]*flight{}} }

// TestJoined: equal questions are asked once; one waiter's end is not the
// others'.
func TestJoined(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	z := zone(t, "a.example. 600 IN A 192.0.2.1")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		close(arrived)
		<-release
		z(w, q)
	})
	d := start(t, func(o *Options) { o.Timeout, o.Budget = 20*time.Second, 20*time.Second }, f.addr)
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := d.A(gone, "a.example"); first <- err }()
	<-arrived
	errs := make(chan error, 50)
	for range 50 {
		go func() {
			a, err := d.A(t.Context(), "A.example")
			if err == nil && len(a) != 1 {
				err = errors.New("no address")
			}
			errs <- err
		}()
	}
	leave()
	if err := <-first; !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Errorf("the waiter that left: %v", err)
	}
	for d.Stats().Joined < 50 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestInFlightCap is D-20: sockets are bounded, and so are those who wait.
func TestInFlightCap(t *testing.T) {
	f := newFake(t, silent)
	d := start(t, func(o *Options) {
		o.MaxInFlight, o.Timeout, o.Budget, o.Attempts = 4, 300*time.Millisecond, 300*time.Millisecond, 1
	}, f.addr)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			if _, err := d.A(t.Context(), "x"+string(rune('a'+i%26))+strings.Repeat("y", i%60)+".example"); !errors.Is(err, ErrTemporary) {
				t.Error(err)
			}
			if n := d.Stats().InFlight; n > 4 {
				t.Errorf("%d in flight", n)
			}
		})
	}
	wg.Wait()
	if d.Stats().Failures.Busy == 0 {
		t.Error("none was turned away")
	}
}

// TestPortsAndIDs: many ports, many ids (RFC 5452).
func TestPortsAndIDs(t *testing.T) {
	f := newFake(t, zone(t))
	d := start(t, func(o *Options) { o.Sockets = 32 }, f.addr)
	for i := range 640 {
		_, _ = d.A(t.Context(), reverseName(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ports) < 640/socketUses || len(f.ports) < 40 {
		t.Errorf("%d ports for 640 questions", len(f.ports))
	}
	if len(f.ids) < 600 {
		t.Errorf("%d ids for 640 questions", len(f.ids))
	}
	if n := len(d.servers[0].sockets.idle); n > 32 {
		t.Errorf("%d idle sockets", n)
	}
}

// TestFromCache: under FromCache nothing is asked and nothing is waited for.
func TestFromCache(t *testing.T) {
	f := newFake(t, zone(t, "a.example. 600 IN A 192.0.2.1"))
	d := start(t, nil, f.addr)
	ctx := FromCache(t.Context())
	if _, err := d.Addresses(ctx, "a.example"); !errors.Is(err, ErrNotCached) || !errors.Is(err, ErrTemporary) || f.asked.Load() != 0 {
		t.Errorf("%v, %d asked", err, f.asked.Load())
	}
	_, _ = d.Addresses(t.Context(), "a.example")
	if a, err := d.Addresses(ctx, "a.example"); err != nil || len(a) != 1 || f.asked.Load() != 2 {
		t.Errorf("%v, %v, %d asked", a, err, f.asked.Load())
	}
}

func TestClose(t *testing.T) {
	f := newFake(t, silent)
	d := start(t, func(o *Options) { o.Timeout, o.Budget = 30*time.Second, 30*time.Second }, f.addr)
	done := make(chan error, 1)
	go func() { _, err := d.A(context.Background(), "a.example"); done <- err }()
	for f.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	d.Close()
	if err := <-done; !errors.Is(err, ErrTemporary) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := d.A(t.Context(), "b.example"); !errors.Is(err, ErrTemporary) {
		t.Errorf("after it: %v", err)
	}
}

func BenchmarkCached(b *testing.B) {
	f := newFake(b, zone(b, "mail.example. 600 IN A 192.0.2.1", "mail.example. 600 IN MX 10 mail.example."))
	d := start(b, nil, f.addr)
	if _, err := d.A(b.Context(), "mail.example"); err != nil {
		b.Fatal(err)
	}
	b.Run("A", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = d.A(b.Context(), "mail.example")
		}
	})
	b.Run("none", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = d.A(b.Context(), "none.example")
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = d.A(b.Context(), "mail.example")
			}
		})
	})
}
