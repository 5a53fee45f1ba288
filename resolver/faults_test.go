package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// quick are settings under which a fault does not take long.
func quick(o *Options) {
	o.Timeout, o.Budget, o.Attempts = 2*time.Second, 10*time.Second, 1
}

// rawServer answers UDP packets with what reply makes of them, and listens on
// TCP with tcp (nil: not at all).
func rawServer(t testing.TB, reply func(q []byte) [][]byte, tcp func(w dns.ResponseWriter, q *dns.Msg)) string {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if tcp != nil {
			l, err := net.Listen("tcp", pc.LocalAddr().String())
			if err != nil {
				_ = pc.Close()
				continue
			}
			s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(tcp)}
			up := make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			go func() { _ = s.ActivateAndServe() }()
			<-up
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		t.Cleanup(func() { _ = pc.Close() })
		go func() {
			buf := make([]byte, 4096)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				for _, p := range reply(slices.Clone(buf[:n])) {
					_, _ = pc.WriteTo(p, from)
				}
			}
		}()
		return pc.LocalAddr().String()
	}
	t.Fatal("no port free")
	return ""
}

// forged is an answer to q with an address, changed by change.
func forged(q []byte, addr string, change func(m *dns.Msg)) []byte {
	var m, r dns.Msg
	if err := m.Unpack(q); err != nil {
		panic(err)
	}
	r.SetReply(&m)
	if m.Question[0].Qtype == dns.TypeA {
		rr, _ := dns.NewRR(m.Question[0].Name + " 300 IN A " + addr)
		r.Answer = append(r.Answer, rr)
	}
	if change != nil {
		change(&r)
	}
	p, err := r.Pack()
	if err != nil {
		panic(err)
	}
	return p
}

// TestSpoofed: what does not fit the question is passed over, and the true
// answer behind it is found.
func TestSpoofed(t *testing.T) {
	bad := "203.0.113.66"
	for name, change := range map[string]func(m *dns.Msg){
		"wrong id":       func(m *dns.Msg) { m.Id++ },
		"wrong name":     func(m *dns.Msg) { m.Question[0].Name = "other.example." },
		"wrong type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
		"wrong class":    func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"a query":        func(m *dns.Msg) { m.Response = false },
		"another opcode": func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		"no question":    func(m *dns.Msg) { m.Question = nil },
		"two questions": func(m *dns.Msg) {
			m.Question = append(m.Question, dns.Question{Name: "x.example.", Qtype: 1, Qclass: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, quick, rawServer(t, func(q []byte) [][]byte {
				return [][]byte{forged(q, bad, change), {1, 2, 3}, {}, forged(q, "192.0.2.1", nil)}
			}, nil))
			a, err := d.A(t.Context(), "bank.example")
			if err != nil || len(a) != 1 || a[0].String() != "192.0.2.1" {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
}

// TestGuessing: who sends many wrong answers makes us ask by TCP.
func TestGuessing(t *testing.T) {
	d := start(t, quick, rawServer(t, func(q []byte) [][]byte {
		var out [][]byte
		for i := range maxForeign {
			out = append(out, forged(q, "203.0.113.66", func(m *dns.Msg) { m.Id += uint16(i) + 1 }))
		}
		return append(out, forged(q, "203.0.113.66", nil)) // the ninth guess is right, and too late
	}, zone(t, "bank.example. 300 IN A 192.0.2.1")))
	a, err := d.A(t.Context(), "bank.example")
	if err != nil || len(a) != 1 || a[0].String() != "192.0.2.1" {
		t.Errorf("%v, %v", a, err)
	}
	if st := d.Stats(); st.TCP != 1 || st.Failures.Foreign != 1 {
		t.Errorf("%+v", st)
	}
}

// TestWrongSource: a packet from another address or port does not arrive.
func TestWrongSource(t *testing.T) {
	var other net.PacketConn
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = other.WriteTo(forged(buf[:n], "203.0.113.66", nil), from)
			_, _ = pc.WriteTo(forged(buf[:n], "192.0.2.1", nil), from)
		}
	}()
	d := start(t, quick, pc.LocalAddr().String())
	a, err := d.A(t.Context(), "bank.example")
	if err != nil || len(a) != 1 || a[0].String() != "192.0.2.1" {
		t.Errorf("%v, %v", a, err)
	}
}

// TestAnswerForAnotherName: records of other names in an honest-looking answer
// are not taken.
func TestAnswerForAnotherName(t *testing.T) {
	d := start(t, quick, rawServer(t, func(q []byte) [][]byte {
		return [][]byte{forged(q, "192.0.2.1", func(m *dns.Msg) {
			rr, _ := dns.NewRR("other.example. 300 IN A 203.0.113.66")
			m.Answer = append([]dns.RR{rr}, m.Answer...)
		})}
	}, nil))
	a, err := d.A(t.Context(), "bank.example")
	if err != nil || len(a) != 1 || a[0].String() != "192.0.2.1" {
		t.Errorf("%v, %v", a, err)
	}
}

// TestTruncated is D-07: TC leads to TCP, and nothing of the cut answer is
// used, whether TCP works or not.
func TestTruncated(t *testing.T) {
	var many []string
	for i := range 500 { // D-05
		many = append(many, fmt.Sprintf("many.example. 300 IN A 192.0.%d.%d", 2+i/250, i%250+1))
	}
	f := newFake(t, zone(t, many...))
	d := start(t, quick, f.addr)
	a, err := d.A(t.Context(), "many.example")
	if err != nil || len(a) != maxRecords || f.overTCP.Load() != 1 {
		t.Errorf("%d addresses, %d by TCP, %v", len(a), f.overTCP.Load(), err)
	}
	cut := func(q []byte) [][]byte {
		return [][]byte{forged(q, "203.0.113.66", func(m *dns.Msg) { m.Truncated = true })}
	}
	for name, addr := range map[string]string{
		"nobody on TCP":       rawServer(t, cut, nil),
		"TCP is silent":       rawServer(t, cut, silent),
		"TCP closes":          rawServer(t, cut, func(w dns.ResponseWriter, _ *dns.Msg) { _ = w.Close() }),
		"TCP is cut too":      rawServer(t, cut, func(w dns.ResponseWriter, q *dns.Msg) { b, _ := q.Pack(); _, _ = w.Write(cut(b)[0]) }),
		"TCP lies about size": rawServer(t, cut, func(w dns.ResponseWriter, _ *dns.Msg) { _, _ = w.Write([]byte{1}) }),
		"TCP has another id": rawServer(t, cut, func(w dns.ResponseWriter, q *dns.Msg) {
			b, _ := q.Pack()
			_, _ = w.Write(forged(b, "203.0.113.66", func(m *dns.Msg) { m.Id++ }))
		}),
	} {
		d := start(t, quick, addr)
		if a, err := d.A(t.Context(), "bank.example"); !errors.Is(err, ErrTemporary) || len(a) != 0 {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

// TestFailures is D-06 and D-07: each fault of the first server leads to the
// second, and without a second it is temporary, counted, and remembered.
func TestFailures(t *testing.T) {
	down, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := down.LocalAddr().String()
	_ = down.Close()
	raw := func(p func(q []byte) []byte) string {
		return rawServer(t, func(q []byte) [][]byte { return [][]byte{p(q)} }, nil)
	}
	good := newFake(t, zone(t, "a.example. 300 IN A 192.0.2.1"))
	type kind = func(Failures) uint64
	var (
		rc    kind = func(f Failures) uint64 { return f.Rcode }
		mal   kind = func(f Failures) uint64 { return f.Malformed }
		lan   kind = func(f Failures) uint64 { return f.Network }
		quiet kind = func(f Failures) uint64 { return f.Silent }
	)
	for _, tc := range []struct {
		name, addr string
		kind       kind
	}{
		{"silent", newFake(t, silent).addr, quiet},
		{"refused", newFake(t, rcode(dns.RcodeRefused)).addr, rc},
		{"SERVFAIL", newFake(t, rcode(dns.RcodeServerFailure)).addr, rc},
		{"FORMERR", newFake(t, rcode(dns.RcodeFormatError)).addr, rc},
		{"not there", closed, lan},
		{"records cut off", raw(func(q []byte) []byte { p := forged(q, "192.0.2.9", nil); return p[:len(p)-2] }), mal},
		{"counts lie", raw(func(q []byte) []byte {
			p := forged(q, "192.0.2.9", nil)
			binary.BigEndian.PutUint16(p[6:], 9)
			return p
		}), mal},
		{"no records, counts lie", raw(func(q []byte) []byte {
			p := forged(q, "192.0.2.9", func(m *dns.Msg) { m.Answer = nil })
			binary.BigEndian.PutUint16(p[6:], 1)
			return p
		}), mal},
		{"compression loop", raw(func(q []byte) []byte {
			p := forged(q, "192.0.2.9", func(m *dns.Msg) { m.Answer = nil })
			binary.BigEndian.PutUint16(p[6:], 1)
			at := len(p)
			return append(p, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		}), mal},
		{"rdlength beyond the packet", raw(func(q []byte) []byte {
			p := forged(q, "192.0.2.9", nil)
			binary.BigEndian.PutUint16(p[len(p)-6:], 400)
			return p
		}), mal},
		{"CNAME loop", newFake(t, zone(t, "a.example. 300 IN CNAME b.example.", "b.example. 300 IN CNAME a.example.")).addr, mal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := start(t, quick, tc.addr, good.addr)
			if a, err := d.A(t.Context(), "a.example"); err != nil || len(a) != 1 || a[0].String() != "192.0.2.1" {
				t.Errorf("second server: %v, %v", a, err)
			}
			if tc.kind(d.Stats().Failures) != 1 {
				t.Errorf("%+v", d.Stats().Failures)
			}
			var c clock
			d = start(t, func(o *Options) { quick(o); o.Clock = c.read }, tc.addr)
			for range 3 { // the second and third from memory
				if a, err := d.A(t.Context(), "a.example"); !errors.Is(err, ErrTemporary) || errors.Is(err, ErrNotFound) || len(a) != 0 {
					t.Errorf("alone: %v, %v", a, err)
				}
			}
			n := d.Stats().Misses
			c.move(Default().FailureTTL)
			if _, _ = d.A(t.Context(), "a.example"); n != 1 || d.Stats().Misses != 2 {
				t.Errorf("%d and %d asked", n, d.Stats().Misses)
			}
		})
	}
}

// TestChains is D-05: chains inside and outside of one answer, bounded.
func TestChains(t *testing.T) {
	var rrs []string
	for i := range 12 {
		rrs = append(rrs, fmt.Sprintf("c%d.example. %d IN CNAME c%d.example.", i, 600-i*20, i+1))
	}
	rrs = append(rrs, "c12.example. 600 IN A 192.0.2.1",
		"1.2.0.192.in-addr.arpa. 300 IN CNAME 1.0/25.2.0.192.in-addr.arpa.", "1.0/25.2.0.192.in-addr.arpa. 300 IN PTR mail.example.",
		"dangling.example. 300 IN CNAME gone.example.")
	whole := zone(t, rrs...)
	// One link at a time, as a server that does not follow them.
	single := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, s := range rrs {
			rr, _ := dns.NewRR(s)
			h := rr.Header()
			if h.Name == q.Question[0].Name && (h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME) {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	}
	for name, answer := range map[string]func(w dns.ResponseWriter, q *dns.Msg){"whole": whole, "single": single} {
		d := start(t, quick, newFake(t, answer).addr)
		if a, err := d.A(t.Context(), "c6.example"); err != nil || len(a) != 1 {
			t.Errorf("%s: six links: %v, %v", name, a, err)
		}
		if a, err := d.A(t.Context(), "c0.example"); !errors.Is(err, ErrTemporary) {
			t.Errorf("%s: twelve links: %v, %v", name, a, err)
		}
		if n, err := d.lookup(t.Context(), "1.2.0.192.in-addr.arpa", dns.TypePTR); err != nil || !slices.Equal(n.texts, []string{"mail.example"}) {
			t.Errorf("%s: RFC 2317: %v, %v", name, n, err)
		}
		if _, err := d.A(t.Context(), "dangling.example"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: dangling: %v", name, err)
		}
	}
}

// TestHugeTXT is D-09: bounded, raw, and nothing of it is asked for.
func TestHugeTXT(t *testing.T) {
	d := start(t, quick, newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Truncated = w.RemoteAddr().Network() == "udp"
		if !m.Truncated {
			h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: 1, Ttl: 1}
			piece := strings.Repeat("z", 255)
			m.Answer = []dns.RR{
				&dns.TXT{Hdr: h, Txt: slices.Repeat([]string{piece}, 200)},
				&dns.TXT{Hdr: h, Txt: []string{`listed\013\010250 ok \027[31m<b>`}},
			}
		}
		_ = w.WriteMsg(m)
	}).addr)
	s, err := d.TXT(t.Context(), "txt.example")
	if err != nil || !slices.Equal(s, []string{"listed\r\n250 ok \x1b[31m<b>"}) {
		t.Errorf("%q, %v", s, err)
	}
}

// TestNoEDNS: a server that does not know EDNS is asked without.
func TestNoEDNS(t *testing.T) {
	z := zone(t, "a.example. 300 IN A 192.0.2.1", "b.example. 300 IN A 192.0.2.1")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			rcode(dns.RcodeFormatError)(w, q)
			return
		}
		z(w, q)
	})
	d := start(t, quick, f.addr)
	for i, n := range []string{"a.example", "b.example"} {
		if a, err := d.A(t.Context(), n); err != nil || len(a) != 1 || f.asked.Load() != int64(2+i) {
			t.Errorf("%v, %v after %d", a, err, f.asked.Load())
		}
	}
}

// TestHeaderOnlyRefusal: some servers refuse without repeating the question.
func TestHeaderOnlyRefusal(t *testing.T) {
	d := start(t, quick, rawServer(t, func(q []byte) [][]byte {
		return [][]byte{{q[0], q[1], 0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0}}
	}, nil))
	if _, err := d.A(t.Context(), "a.example"); !errors.Is(err, ErrTemporary) || d.Stats().Failures.Rcode != 1 {
		t.Errorf("%v, %+v", err, d.Stats().Failures)
	}
}

// state waits for a server's breaker to come to a state.
func state(t *testing.T, d *DNS, want BreakerState) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	for d.Stats().Servers[0].State != want {
		if time.Now().After(end) {
			t.Fatalf("state %v, want %v", d.Stats().Servers[0].State, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBreaker is D-06 and D-19: a dead server is waited for a few times, not
// for every mail; it comes back by itself.
func TestBreaker(t *testing.T) {
	t.Parallel()
	f := newFake(t, silent)
	var c clock
	d := start(t, func(o *Options) {
		o.Clock, o.Timeout, o.Attempts, o.BreakAfter, o.BreakFor = c.read, 500*time.Millisecond, 1, 3, 10*time.Second
	}, f.addr)
	name := func(i int) string { return fmt.Sprintf("n%d.example", i) }
	for i := range 3 {
		if _, err := d.A(t.Context(), name(i)); !errors.Is(err, ErrTemporary) {
			t.Fatal(err)
		}
	}
	state(t, d, Open)
	asked := f.asked.Load()
	for i := range 100 {
		if _, err := d.A(t.Context(), name(10+i)); !errors.Is(err, ErrTemporary) || !errors.Is(err, errAllOpen) {
			t.Fatal(err)
		}
	}
	if n := f.asked.Load(); n != asked {
		t.Errorf("an open breaker let %d through", n-asked)
	}
	// Its time is over and it is still silent: one probe, open again.
	c.move(10 * time.Second)
	_, _ = d.A(t.Context(), name(200))
	for f.asked.Load() == asked {
		time.Sleep(time.Millisecond)
	}
	state(t, d, Open)
	if n := f.asked.Load(); n != asked+1 {
		t.Errorf("%d probes", n-asked)
	}
	// It is back: the names that failed meanwhile are not remembered as failed.
	f.set(zone(t, name(10)+". 300 IN A 192.0.2.1"))
	c.move(10 * time.Second)
	_, _ = d.A(t.Context(), name(201))
	state(t, d, Closed)
	if a, err := d.A(t.Context(), name(10)); err != nil || len(a) != 1 {
		t.Errorf("%v, %v", a, err)
	}
	if st := d.Stats(); st.Servers[0].Trips != 1 || st.Skipped < 100 {
		t.Errorf("%+v", st)
	}
}

// TestBrokenZoneOpensNothing: a stranger's zone that makes the server wait
// takes the DNS from nobody.
func TestBrokenZoneOpensNothing(t *testing.T) {
	t.Parallel()
	z := zone(t, "good.example. 300 IN A 192.0.2.1")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if !strings.HasSuffix(q.Question[0].Name, "evil.example.") {
			z(w, q)
		}
	})
	d := start(t, func(o *Options) { o.Timeout, o.Attempts, o.BreakAfter = 500*time.Millisecond, 1, 3 }, f.addr)
	for i := range 12 {
		if _, err := d.A(t.Context(), fmt.Sprintf("n%d.evil.example", i)); !errors.Is(err, ErrTemporary) {
			t.Fatal(err)
		}
	}
	state(t, d, Closed)
	if a, err := d.A(t.Context(), "good.example"); err != nil || len(a) != 1 || d.Stats().Servers[0].Trips != 0 {
		t.Errorf("%v, %v, %+v", a, err, d.Stats().Servers)
	}
}

// TestOpenServerIsPassedOver: with one of two dead, no time is lost.
func TestOpenServerIsPassedOver(t *testing.T) {
	t.Parallel()
	dead, good := newFake(t, silent), newFake(t, zone(t))
	d := start(t, func(o *Options) { o.Timeout, o.BreakAfter = 500*time.Millisecond, 2 }, dead.addr, good.addr)
	for i := range 2 {
		_, _ = d.A(t.Context(), fmt.Sprintf("n%d.example", i))
	}
	state(t, d, Open)
	n := dead.asked.Load()
	for i := range 20 {
		if _, err := d.A(t.Context(), fmt.Sprintf("m%d.example", i)); !errors.Is(err, ErrNoName) {
			t.Fatal(err)
		}
	}
	if dead.asked.Load() != n {
		t.Error("the dead one was asked")
	}
}

// TestBrownOut is D-19: a server that answers everything, later than anybody
// waits, is left alone like a silent one, and mail flows without it.
func TestBrownOut(t *testing.T) {
	z := zone(t)
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(300 * time.Millisecond)
		z(w, q)
	})
	var c clock
	d := start(t, func(o *Options) {
		o.Clock, o.Timeout, o.Attempts, o.BreakAfter = c.read, 60*time.Millisecond, 1, 3
	}, f.addr)
	for i := range 3 {
		if _, err := d.A(t.Context(), fmt.Sprintf("n%d.example", i)); !errors.Is(err, ErrTemporary) {
			t.Fatal(err)
		}
	}
	state(t, d, Open)
	asked := d.Stats().UDP
	for i := range 200 {
		if _, err := d.A(t.Context(), fmt.Sprintf("m%d.example", i)); !errors.Is(err, errAllOpen) {
			t.Fatal(err)
		}
	}
	if n := d.Stats().UDP; n != asked {
		t.Errorf("%d questions to a server that is left alone", n-asked)
	}
}

// TestSecondRound: a lost packet is sent again.
func TestSecondRound(t *testing.T) {
	var lost atomic.Bool
	z := zone(t, "a.example. 300 IN A 192.0.2.1")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if lost.CompareAndSwap(false, true) {
			return
		}
		z(w, q)
	})
	d := start(t, func(o *Options) { o.Timeout = time.Second }, f.addr)
	if a, err := d.A(t.Context(), "a.example"); err != nil || len(a) != 1 || f.asked.Load() != 2 {
		t.Errorf("%v, %v after %d", a, err, f.asked.Load())
	}
}

// TestLateAnswer: the answer to a question that was given up is not the answer
// to the next one, whose socket is another.
func TestLateAnswer(t *testing.T) {
	first := make(chan func(), 1)
	z := zone(t, "b.example. 300 IN A 192.0.2.2")
	f := newFake(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "a.example." {
			m := q.Copy()
			first <- func() {
				p, _ := m.Pack()
				_, _ = w.Write(forged(p, "203.0.113.66", nil))
			}
			return
		}
		(<-first)()
		z(w, q)
	})
	d := start(t, quick, f.addr)
	if _, err := d.A(t.Context(), "a.example"); !errors.Is(err, ErrTemporary) {
		t.Fatal(err)
	}
	if a, err := d.A(t.Context(), "b.example"); err != nil || len(a) != 1 || a[0].String() != "192.0.2.2" {
		t.Errorf("%v, %v", a, err)
	}
}
