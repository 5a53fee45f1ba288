package kill

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// names is a DNS server on loopback in which nobody has a name: the gateway's
// look-ups have somebody to ask. It can be killed.
type nameServer struct {
	addr  string
	asked atomic.Int64
	udp   *dns.Server
	tcp   *dns.Server
}

func startNames(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	p, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.asked.Add(1)
		r := new(dns.Msg)
		r.SetRcode(q, dns.RcodeNameError)
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
func (s *nameServer) setting() string { return "[" + strings.TrimSpace(strconv.Quote(s.addr)) + "]" }
