package resolver

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/miekg/dns"
)

// readA is read for the answers that nearly all questions to DNS lists get:
// records A of the very name, or that there are none, with at most a record SOA
// beside it. A question costs half as much as by the library. nil: something
// else is in it, and the library reads it. What both read, they read alike.
func readA(pkt []byte, k key, lim Config) *answer {
	const header = 12
	off := header + len(k.name) + 2 + 4
	if k.name == "" || len(pkt) < off {
		return nil
	}
	flags := binary.BigEndian.Uint16(pkt[2:])
	rcode := int(flags & 15)
	const response, truncated = 1 << 15, 1 << 9
	if flags&response == 0 || flags&truncated != 0 || rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError ||
		binary.BigEndian.Uint16(pkt[4:]) != 1 || !asked(pkt[header:off], k) {
		return nil
	}
	an, ns, ar := int(binary.BigEndian.Uint16(pkt[6:])), int(binary.BigEndian.Uint16(pkt[8:])), int(binary.BigEndian.Uint16(pkt[10:]))
	if an > maxRecords || ns > 1 || ar > 1 {
		return nil
	}
	a, least := &answer{}, uint32(maxTTL)
	for range an {
		r, ok := recordAt(pkt, off)
		// The owner is a pointer to the question, as all servers write it.
		if !ok || r.pointer != header || r.typ != dns.TypeA || len(r.data) != 4 {
			return nil
		}
		a.addrs = append(a.addrs, netip.AddrFrom4([4]byte(r.data)))
		least = min(least, validTTL(r.ttl))
		off = r.end
	}
	soa, minimum := false, uint32(0)
	if ns == 1 {
		r, ok := recordAt(pkt, off)
		if !ok || r.typ != dns.TypeSOA {
			return nil
		}
		at := nameEnd(pkt, r.end-len(r.data))
		if at = nameEnd(pkt, at); at < 0 || at+20 != r.end {
			return nil
		}
		soa, minimum = true, min(validTTL(r.ttl), validTTL(binary.BigEndian.Uint32(pkt[at+16:])))
		off = r.end
	}
	if ar == 1 { // OPT without options
		if len(pkt) != off+11 || pkt[off] != 0 || binary.BigEndian.Uint16(pkt[off+1:]) != dns.TypeOPT || pkt[off+5] != 0 || pkt[off+9] != 0 || pkt[off+10] != 0 {
			return nil // other options, or more of the rcode
		}
		off += 11
	}
	if off != len(pkt) {
		return nil
	}
	if an > 0 {
		a.ttl = clamp(seconds(least), lim.MinTTL, lim.MaxTTL)
		return a
	}
	a.err = ErrNotFound
	if rcode == dns.RcodeNameError {
		a.err = ErrNoName
	}
	a.ttl = lim.MinTTL
	if soa { // RFC 2308 section 5
		a.ttl = seconds(min(minimum, least))
	}
	a.ttl = min(max(a.ttl, lim.MinTTL), lim.NegativeTTL)
	return a
}

// asked tells that the question is k's, octet for octet.
func asked(q []byte, k key) bool {
	at := 0
	for start := 0; start <= len(k.name); {
		end := start
		for end < len(k.name) && k.name[end] != '.' {
			end++
		}
		if int(q[at]) != end-start || string(q[at+1:at+1+end-start]) != k.name[start:end] {
			return false
		}
		at += 1 + end - start
		start = end + 1
	}
	return q[at] == 0 && binary.BigEndian.Uint16(q[at+1:]) == k.typ && binary.BigEndian.Uint16(q[at+3:]) == dns.ClassINET
}

// plainRecord is one record of class IN.
type plainRecord struct {
	pointer int // of the owner's name, when it is nothing else; -1
	typ     uint16
	ttl     uint32
	data    []byte
	end     int
}

func recordAt(pkt []byte, off int) (r plainRecord, ok bool) {
	r.pointer = -1
	at := nameEnd(pkt, off)
	if at < 0 || at+10 > len(pkt) || binary.BigEndian.Uint16(pkt[at+2:]) != dns.ClassINET {
		return r, false
	}
	if at == off+2 && pkt[off] >= 0xc0 {
		r.pointer = int(binary.BigEndian.Uint16(pkt[off:])) & 0x3fff
	}
	r.typ, r.ttl = binary.BigEndian.Uint16(pkt[at:]), binary.BigEndian.Uint32(pkt[at+4:])
	r.end = at + 10 + int(binary.BigEndian.Uint16(pkt[at+8:]))
	if r.end > len(pkt) {
		return r, false
	}
	r.data = pkt[at+10 : r.end]
	return r, true
}

// nameEnd gives where a name in the packet ends, -1 where it is not plain. A
// pointer must point before the name that has it, so there are no loops; a name
// that needs many is not plain.
func nameEnd(pkt []byte, off int) int {
	end, limit := -1, math.MaxInt
	for length, jumps := 0, 0; off >= 0 && off < len(pkt); {
		c := int(pkt[off])
		switch {
		case c == 0:
			if end < 0 {
				end = off + 1
			}
			return end
		case c < 64:
			if length += c + 1; length > 200 || off+1+c > len(pkt) {
				return -1
			}
			off += c + 1
		case c >= 0xc0 && off+1 < len(pkt) && jumps < 8:
			if end < 0 {
				end = off + 2
			}
			to := int(binary.BigEndian.Uint16(pkt[off:])) & 0x3fff
			if to >= min(off, limit) || to < 12 {
				return -1
			}
			off, limit = to, to
			jumps++
		default:
			return -1
		}
	}
	return -1
}
