package demo

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// The zones that the name server plays. The first three stand behind names
// that check.dnsbl gives; the others are those of shipped lists, which only
// garita rbl asks here.
const (
	goodZone  = "bl.lists.example"
	deadZone  = "dead.lists.example" // lists everything, as ORDB did in 2008
	hungZone  = "hung.lists.example" // is silent, as DSBL was
	listKey   = "k3y7q9"             // of a customer: stands before the first
	ownList   = "psbl.surriel.com"
	ownClean  = "bl.mailspike.net"
	ownParked = "bl.spamcop.net" // as in January 2021, when its domain had lapsed

	listReason = "sent to a spam trap on Monday"
)

// The clients that come to the door (RFC 5737: nobody's).
const (
	listedClient  = "203.0.113.66"
	newClient     = "203.0.113.80"
	namedClient   = "198.51.100.20" // with a name that the DNS confirms
	namedHost     = "mail.other.example"
	ownAddress    = "203.0.113.9"
	testEntry     = "127.0.0.2" // RFC 5782 section 5
	parkedAddress = "192.0.2.87"
)

// reversed is an address as lists and the reverse zone have it.
func reversed(a string) string {
	b := netip.MustParseAddr(a).As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String()
}

// played is what the name server says of a zone of its lists.
type played struct {
	silent bool
	addr   string // the answer; empty: NXDOMAIN
	text   string // of TXT
}

// play answers for the lists; not ok: the name is in none of them.
func play(name string) (p played, ok bool) {
	under := func(zone string) bool { return strings.HasSuffix(name, "."+zone) }
	entry := func(zone string, addrs ...string) bool {
		for _, a := range append(addrs, testEntry) {
			if name == reversed(a)+"."+zone {
				return true
			}
		}
		return false
	}
	listed := func(yes bool) (played, bool) {
		if !yes {
			return played{}, true
		}
		return played{addr: testEntry, text: listReason}, true
	}
	switch {
	case under(goodZone):
		return listed(entry(listKey+"."+goodZone, listedClient))
	case under(deadZone):
		return listed(true)
	case under(hungZone):
		return played{silent: true}, true
	case under(ownList):
		return listed(entry(ownList, ownAddress))
	case under(ownClean):
		return listed(false)
	case under(ownParked):
		return played{addr: parkedAddress}, true
	}
	return played{}, false
}

// answer puts it into a message; false: there is none.
func (p played) answer(m *dns.Msg) bool {
	q := m.Question[0]
	hdr := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 60}
	switch {
	case p.silent:
		return false
	case p.addr == "":
		m.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: netip.MustParseAddr(p.addr).AsSlice()})
	case q.Qtype == dns.TypeTXT && p.text != "":
		m.Answer = append(m.Answer, &dns.TXT{Hdr: hdr, Txt: []string{p.text}})
	}
	return true
}
