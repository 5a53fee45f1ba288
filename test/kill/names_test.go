package kill

import (
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"garita/test/harness"

	"github.com/miekg/dns"
)

// A nameServer is a DNS server on loopback in which no client has a name and
// every name an address: the gateway's look-ups have somebody to ask. It can
// be killed.
type nameServer struct {
	addr  string
	asked atomic.Int64
	udp   *dns.Server
	tcp   *dns.Server
}

func startNames(t *testing.T) *nameServer {
	t.Helper()
	return serveNames(t, harness.Addr(t))
}

func serveNames(t *testing.T, addr string) *nameServer {
	t.Helper()
	s := &nameServer{addr: addr}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.asked.Add(1)
		r := new(dns.Msg)
		r.SetReply(q)
		switch one := q.Question[0]; one.Qtype {
		case dns.TypePTR:
			r.Rcode = dns.RcodeNameError
		case dns.TypeA:
			r.Answer = append(r.Answer, &dns.A{Hdr: dns.RR_Header{Name: one.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 1)})
		}
		w.WriteMsg(r)
	})
	s.udp, s.tcp = &dns.Server{PacketConn: p, Handler: h}, &dns.Server{Listener: l, Handler: h}
	go s.udp.ActivateAndServe()
	go s.tcp.ActivateAndServe()
	t.Cleanup(s.kill)
	return s
}

// kill ends it; questions get ICMP's port unreachable.
func (s *nameServer) kill() {
	s.udp.PacketConn.Close()
	s.tcp.Listener.Close()
}

// setting is its address as the value of dns.servers.
func (s *nameServer) setting() string { return "[" + strconv.Quote(s.addr) + "]" }
