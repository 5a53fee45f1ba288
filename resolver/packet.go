package resolver

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxRecords = 64        // of one answer that are kept
	maxChain   = 8         // links from a name to its canonical name
	maxTXT     = 16 << 10  // octets of one TXT record; a longer one is left out
	maxTTL     = 1<<31 - 1 // RFC 2181 section 8: more is 0
	udpSize    = 1232      // EDNS0: fits every path unfragmented (RFC 9715)
)

// Why an attempt gave no answer.
var (
	errForeign   = errors.New("not an answer to our question")
	errMalformed = errors.New("malformed answer")
	errTruncated = errors.New("truncated answer")
	errLoop      = errors.New("the chain of CNAME has no end")
)

// rcodeError is an answer that says that the server has none.
type rcodeError int

func (e rcodeError) Error() string { return "server answered " + dns.RcodeToString[int(e)] }

// newID is an id that nobody can foretell.
func newID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return binary.BigEndian.Uint16(b[:])
}

// maxQuestion is the longest: header, name, type and class, OPT.
const maxQuestion = 12 + maxName + 2 + 4 + 11

// question appends the query for k, whose name is canonical: no library is
// needed to cut it at its dots.
func question(b []byte, k key, id uint16, edns bool) []byte {
	extra := byte(0)
	if edns {
		extra = 1
	}
	b = append(b, byte(id>>8), byte(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, extra) // RD
	for rest := k.name; rest != ""; {
		label := rest
		if i := strings.IndexByte(rest, '.'); i >= 0 {
			label, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0, byte(k.typ>>8), byte(k.typ), 0, dns.ClassINET)
	if edns { // RFC 6891 section 6.1.2
		b = append(b, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&255, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// answers tells whether a packet belongs to the query that was sent. Nearly all
// repeat its question octet for octet; the others are looked at closely.
func answers(pkt, query []byte, k key) bool {
	end := 12 + len(k.name) + 2 + 4
	if k.name == "" {
		end--
	}
	const ours = 0x80 // a response
	if len(pkt) >= end && pkt[0] == query[0] && pkt[1] == query[1] && pkt[2]&0xf8 == ours && pkt[4] == 0 && pkt[5] == 1 && bytes.Equal(pkt[12:end], query[12:end]) {
		return true
	}
	return belongs(pkt, binary.BigEndian.Uint16(query), k)
}

// belongs tells whether a packet is an answer to the question, by id, flags,
// and the question that it repeats (RFC 5452 section 9.1): no more is read of
// one that is not. A few servers leave the question out when they refuse;
// that is no answer with records and so can harm nobody.
func belongs(pkt []byte, id uint16, k key) bool {
	const header, response, opcode = 12, 1 << 15, 15 << 11
	if len(pkt) < header || binary.BigEndian.Uint16(pkt) != id {
		return false
	}
	flags := binary.BigEndian.Uint16(pkt[2:])
	if flags&response == 0 || flags&opcode != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(pkt[4:]) {
	case 0:
		rcode := int(flags & 15)
		return rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeRefused || rcode == dns.RcodeServerFailure
	case 1:
	default:
		return false
	}
	name, off, err := dns.UnpackDomainName(pkt, header)
	if err != nil || off+4 > len(pkt) {
		return false
	}
	return strings.EqualFold(name, k.name+".") &&
		binary.BigEndian.Uint16(pkt[off:]) == k.typ && binary.BigEndian.Uint16(pkt[off+2:]) == dns.ClassINET
}

// read makes an answer of a packet that belongs to the question. again is the
// name to go on with, where a chain leaves the packet.
func read(pkt []byte, k key, lim Config) (a *answer, again string, err error) {
	if k.typ == dns.TypeA {
		if a := readA(pkt, k, lim); a != nil {
			return a, "", nil
		}
	}
	return readAny(pkt, k, lim)
}

// readAny is read by the library, for every type and every form.
func readAny(pkt []byte, k key, lim Config) (a *answer, again string, err error) {
	var m dns.Msg
	if err := m.Unpack(pkt); err != nil {
		return nil, "", fmt.Errorf("%w: %w", errMalformed, err)
	}
	if m.Truncated {
		return nil, "", errTruncated
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return nil, "", rcodeError(m.Rcode)
	}
	// The library forgives counts that the packet does not hold; then "no
	// records" might be records that were cut off.
	if len(m.Answer) != int(binary.BigEndian.Uint16(pkt[6:])) || len(m.Ns) != int(binary.BigEndian.Uint16(pkt[8:])) {
		return nil, "", fmt.Errorf("%w: sections are shorter than they say", errMalformed)
	}
	owner, least, err := follow(&m, k)
	if err != nil {
		return nil, "", err
	}
	a = &answer{}
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype != k.typ || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, owner) {
			continue
		}
		if a.add(rr) {
			least = min(least, validTTL(h.Ttl))
		}
	}
	if len(a.addrs)+len(a.texts)+len(a.mx) > 0 {
		a.bound()
		a.ttl = clamp(seconds(least), lim.MinTTL, lim.MaxTTL)
		return a, "", nil
	}
	a.err = ErrNotFound
	if m.Rcode == dns.RcodeNameError {
		a.err = ErrNoName
	}
	a.ttl = lim.MinTTL
	soa := false
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok {
			// RFC 2308 section 5.
			soa = true
			a.ttl = seconds(min(validTTL(s.Hdr.Ttl), validTTL(s.Minttl), least))
		}
	}
	if !soa && m.Rcode == dns.RcodeSuccess && !strings.EqualFold(owner, k.name+".") {
		return nil, strings.ToLower(owner), nil
	}
	// min_ttl may be longer than negative_ttl: then the shorter holds.
	a.ttl = min(max(a.ttl, lim.MinTTL), lim.NegativeTTL)
	return a, "", nil
}

// follow goes along the CNAME records of the packet.
func follow(m *dns.Msg, k key) (owner string, least uint32, err error) {
	owner, least = k.name+".", maxTTL
	for links := 0; ; links++ {
		next := ""
		for _, rr := range m.Answer {
			c, ok := rr.(*dns.CNAME)
			if ok && c.Hdr.Class == dns.ClassINET && strings.EqualFold(c.Hdr.Name, owner) {
				next, least = c.Target, min(least, validTTL(c.Hdr.Ttl))
				break
			}
		}
		if next == "" {
			return owner, least, nil
		}
		if links == maxChain {
			return "", 0, errLoop
		}
		owner = next
	}
}

func validTTL(t uint32) uint32 {
	if t > maxTTL {
		return 0
	}
	return t
}

func seconds(t uint32) time.Duration { return time.Duration(validTTL(t)) * time.Second }

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// add takes a record over, if it is one that callers can use.
func (a *answer) add(rr dns.RR) bool {
	switch r := rr.(type) {
	case *dns.A:
		return a.addr(netip.AddrFromSlice(r.A))
	case *dns.AAAA:
		return a.addr(netip.AddrFromSlice(r.AAAA))
	case *dns.PTR:
		n := strings.TrimSuffix(r.Ptr, ".")
		if !ValidHost(n) {
			return false
		}
		a.texts = append(a.texts, n)
	case *dns.MX:
		host := "."
		if r.Mx != "." {
			if host = strings.TrimSuffix(r.Mx, "."); !ValidHost(host) {
				// It exists, and nobody can be reached by it: a literal
				// address, mostly.
				host = ""
			}
		}
		a.mx = append(a.mx, MX{Preference: r.Preference, Host: host})
	case *dns.TXT:
		n := 0
		for _, s := range r.Txt {
			n += len(s)
		}
		if n > 4*maxTXT { // an octet takes four signs at most
			return false
		}
		s := unescape(strings.Join(r.Txt, ""))
		if len(s) > maxTXT {
			return false
		}
		a.texts = append(a.texts, s)
	default:
		return false
	}
	return true
}

func (a *answer) addr(ip netip.Addr, ok bool) bool {
	if ok {
		// An AAAA of ::ffff:a.b.c.d is the address a.b.c.d for every check.
		a.addrs = append(a.addrs, ip.Unmap())
	}
	return ok
}

// bound keeps the first records, MX by preference.
func (a *answer) bound() {
	slices.SortStableFunc(a.mx, func(x, y MX) int { return cmp.Compare(x.Preference, y.Preference) })
	a.addrs = slices.Clip(a.addrs[:min(len(a.addrs), maxRecords)])
	a.mx = slices.Clip(a.mx[:min(len(a.mx), maxRecords)])
	a.texts = slices.Clip(a.texts[:min(len(a.texts), maxRecords)])
	total := 0
	for i, s := range a.texts {
		if total += len(s); total > 4*maxTXT {
			a.texts = slices.Clip(a.texts[:i])
			break
		}
	}
}

// unescape undoes the escapes in which the library gives character strings.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		if i+2 < len(s) && digit(s[i]) && digit(s[i+1]) && digit(s[i+2]) {
			b = append(b, (s[i]-'0')*100+(s[i+1]-'0')*10+s[i+2]-'0')
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
