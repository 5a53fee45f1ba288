package harness

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a name server on loopback, by UDP and TCP, that knows what it was
// told and nothing else.
type DNS struct {
	Addr string
	// Silent makes it drop every question, as a firewall would; Broken makes it
	// answer SERVFAIL.
	Silent, Broken atomic.Bool
	asked          atomic.Int64

	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name
}

// StartDNS starts a name server that ends with the test. Records are in the
// form of a zone file, with full names.
func StartDNS(t testing.TB, records ...string) *DNS {
	t.Helper()
	d := &DNS{Addr: Addr(t), records: map[string][]dns.RR{}}
	d.Add(t, records...)
	packets, err := net.ListenPacket("udp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: d}, {Listener: streams, Handler: d}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return d
}

// Add adds records.
func (d *DNS) Add(t testing.TB, records ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			t.Fatalf("harness: record %q: %v", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
	}
}

// Asked counts the questions so far.
func (d *DNS) Asked() int { return int(d.asked.Load()) }

// ServeDNS answers one question.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	d.asked.Add(1)
	if d.Silent.Load() {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.records[strings.ToLower(q.Question[0].Name)]
	switch {
	case d.Broken.Load():
		m.Rcode = dns.RcodeServerFailure
	case len(all) == 0:
		m.Rcode = dns.RcodeNameError
	}
	for _, rr := range all {
		if m.Rcode == dns.RcodeSuccess && rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	w.WriteMsg(m)
}
