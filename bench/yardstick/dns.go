package yardstick

import (
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// DNS answers every question as a tidy Internet would: each address has a name
// that leads back to it, each domain a mail server.
type DNS struct{}

// hostZone is where the names of addresses lie: 198-18-0-1.hosts.example.
const hostZone = ".hosts.example."

// listZone ends the zones of DNS lists that are well, and list nobody: their
// entries for tests alone (RFC 5782 section 5).
const listZone = ".bl.example."

// Serve answers by UDP and TCP at the address of l until one of them fails.
func (DNS) Serve(l net.Listener) error {
	udp, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: udp}} {
		s.Handler = dns.HandlerFunc(answer)
		go func() { failed <- s.ActivateAndServe() }()
	}
	return <-failed
}

func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	if len(q.Question) == 1 {
		if rr := record(q.Question[0]); rr != nil {
			m.Answer = append(m.Answer, rr)
		} else {
			// RFC 2308 section 5: without it nobody may keep the answer.
			m.Ns = append(m.Ns, &dns.SOA{
				Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
				Ns:  "ns.example.", Mbox: "hostmaster.example.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 3600,
			})
		}
	}
	w.WriteMsg(m) // who asked will ask again
}

func record(q dns.Question) dns.RR {
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 3600}
	name := strings.ToLower(q.Name)
	if strings.HasSuffix(name, listZone) {
		if q.Qtype == dns.TypeA && (strings.HasPrefix(name, "2.0.0.127.") || strings.HasPrefix(name, "test.")) {
			return &dns.A{Hdr: head, A: netip.AddrFrom4([4]byte{127, 0, 0, 2}).AsSlice()}
		}
		return nil
	}
	switch q.Qtype {
	case dns.TypePTR:
		octets, ok := strings.CutSuffix(name, ".in-addr.arpa.")
		p := strings.Split(octets, ".")
		if !ok || len(p) != 4 {
			return nil
		}
		return &dns.PTR{Hdr: head, Ptr: p[3] + "-" + p[2] + "-" + p[1] + "-" + p[0] + hostZone}
	case dns.TypeA:
		a := netip.AddrFrom4([4]byte{9, 9, 9, 9}) // a routable one
		if octets, ok := strings.CutSuffix(name, hostZone); ok {
			var err error
			if a, err = netip.ParseAddr(strings.ReplaceAll(octets, "-", ".")); err != nil {
				return nil
			}
		}
		return &dns.A{Hdr: head, A: a.AsSlice()}
	case dns.TypeMX:
		return &dns.MX{Hdr: head, Preference: 10, Mx: "mx." + name}
	}
	return nil
}
