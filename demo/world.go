package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// world is the DNS server and the mail servers around the gateway.
type world struct {
	dns   *nameServer
	hosts []*sandbox
}

func newWorld() (*world, error) {
	w := &world{}
	names := map[string]netip.Addr{}
	for _, name := range []string{mailHost, smartHost, mtaHost} {
		h, err := newSandbox(name)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.hosts = append(w.hosts, h)
		names[name] = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	// The domains that take part in the demo exist too.
	for _, name := range []string{"sender.example", "client.sender.example", "far.example", "elsewhere.example", "other.example", Domain} {
		names[name] = netip.AddrFrom4([4]byte{192, 0, 2, 25})
	}
	names[namedHost] = netip.MustParseAddr(namedClient)
	var err error
	if w.dns, err = newNameServer(names); err != nil {
		w.close()
		return nil, fmt.Errorf("dns: %w", err)
	}
	return w, nil
}

func (w *world) close() {
	for _, h := range w.hosts {
		h.close()
	}
	if w.dns != nil {
		w.dns.close()
	}
}

func (w *world) site() Site {
	return Site{
		NextHop: w.hosts[0].address(), SmartHost: w.hosts[1].address(), Return: w.hosts[2].address(),
		Lookup: w.dns.lookup, NameServer: w.dns.addr,
	}
}

// collect takes what arrived since the last call.
func (w *world) collect() []Stored {
	var out []Stored
	for _, h := range w.hosts {
		out = append(out, h.collect()...)
	}
	return out
}

// nameServer answers for a few names and plays DNS lists (lists.go), over UDP,
// and says NXDOMAIN to everything else.
type nameServer struct {
	names  map[string]netip.Addr
	server *dns.Server
	addr   string

	mu     sync.Mutex
	counts map[string]int
}

func newNameServer(names map[string]netip.Addr) (*nameServer, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &nameServer{names: names, addr: conn.LocalAddr().String(), counts: map[string]int{}}
	ready := make(chan struct{})
	n.server = &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(ready) }}
	failed := make(chan error, 1)
	go func() { failed <- n.server.ActivateAndServe() }()
	select {
	case <-ready:
		return n, nil
	case err := <-failed:
		conn.Close()
		return nil, err
	}
}

func (n *nameServer) close() { _ = n.server.Shutdown() }

// ServeDNS answers one question.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) == 1 {
		name := strings.ToLower(strings.TrimSuffix(q.Question[0].Name, "."))
		n.mu.Lock()
		n.counts[name]++
		n.mu.Unlock()
		a, ok := n.names[name]
		list, listed := play(name)
		switch {
		case listed:
			if !list.answer(m) {
				return
			}
		case name == reversed(namedClient)+".in-addr.arpa":
			if q.Question[0].Qtype == dns.TypePTR {
				m.Answer = append(m.Answer, &dns.PTR{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 60},
					Ptr: dns.Fqdn(namedHost),
				})
			}
		case !ok:
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   a.AsSlice(),
			})
		}
	}
	_ = w.WriteMsg(m)
}

// asked tells how often a name was asked for.
func (n *nameServer) asked(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts[name]
}

var errNoAddress = errors.New("no such host")

// lookup asks the server for the addresses of a name.
func (n *nameServer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	c := dns.Client{Net: "udp", Timeout: 5 * time.Second}
	var out []netip.Addr
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		q := new(dns.Msg)
		q.SetQuestion(dns.Fqdn(host), kind)
		r, _, err := c.ExchangeContext(ctx, q, n.addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", host, err)
		}
		for _, rr := range r.Answer {
			if a, ok := rr.(*dns.A); ok {
				if addr, ok := netip.AddrFromSlice(a.A); ok {
					out = append(out, addr.Unmap())
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w", host, errNoAddress)
	}
	return out, nil
}
