package smtpproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The PROXY protocol, versions 1 and 2 (proxy-protocol.txt of haproxy), as the
// receiver. It is read on a listener with proxy_from alone, from the peers
// that it names, and there each connection must begin with it: guessing is
// what the specification forbids (attacks S-190 to S-192).
//
// Own code and not a library: the header is taken out of the session's one
// buffer, so that nothing behind it can be read twice or be lost; it may come
// in parts; and what others take leniently ends the connection here.
const (
	maxProxyV1 = 107 // with CR LF; section 2.1
	// maxProxyV2 bounds what section 2.2 lets grow to 64 KB: addresses take 216
	// octets at most, and the TLVs of a TLS session a few hundred.
	maxProxyV2   = 4096
	proxyTimeout = 5 * time.Second // for the whole header
)

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

var (
	errProxy     = errors.New("not a PROXY header that we take")
	errProxyMore = errors.New("the PROXY header is not complete")
)

// proxied is what a header says.
type proxied struct {
	// local: the balancer speaks for itself (a health check), or does not
	// know its client. The connection's own addresses hold.
	local    bool
	src, dst netip.AddrPort
}

// parseProxy reads the header that b begins with and tells how long it is.
// errProxyMore asks for more octets; that never happens for b of maxProxyV2.
func parseProxy(b []byte) (h proxied, n int, err error) {
	const v1 = "PROXY "
	switch {
	case len(b) == 0:
		return h, 0, errProxyMore
	case b[0] == v1[0]:
		if k := min(len(b), len(v1)); string(b[:k]) != v1[:k] {
			return h, 0, errProxy
		}
		return parseProxyV1(b)
	case b[0] == proxySignature[0]:
		if k := min(len(b), len(proxySignature)); string(b[:k]) != proxySignature[:k] {
			return h, 0, errProxy
		}
		return parseProxyV2(b)
	}
	return h, 0, errProxy
}

// parseProxyV1 reads the line of version 1.
func parseProxyV1(b []byte) (h proxied, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxProxyV1)], '\n')
	if end < 0 {
		if len(b) >= maxProxyV1 {
			return h, 0, errProxy
		}
		return h, 0, errProxyMore
	}
	line := b[:end]
	if len(line) == 0 || line[len(line)-1] != '\r' || bytes.IndexByte(line, '\r') != len(line)-1 {
		return h, 0, errProxy
	}
	words := strings.Split(string(line[:len(line)-1]), " ")
	if words[1] == "UNKNOWN" {
		// Whatever follows is to be ignored (section 2.1).
		return proxied{local: true}, end + 1, nil
	}
	if len(words) != 6 || (words[1] != "TCP4" && words[1] != "TCP6") {
		return h, 0, errProxy
	}
	var ok bool
	if h.src, ok = proxyEnd(words[2], words[4], words[1] == "TCP4"); !ok {
		return proxied{}, 0, errProxy
	}
	if h.dst, ok = proxyEnd(words[3], words[5], words[1] == "TCP4"); !ok {
		return proxied{}, 0, errProxy
	}
	return h, end + 1, nil
}

// proxyEnd reads one end of a connection in text. netip takes no leading
// zeros in an IPv4 address; a zone means nothing on another machine.
func proxyEnd(addr, port string, v4 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	if len(port) == 0 || port[0] < '1' || port[0] > '9' {
		return netip.AddrPort{}, false // port 0, leading zeros, signs
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return clientEnd(a, uint16(p))
}

// clientEnd makes an end of a connection of what a header says, if it can be
// one. An IPv4-mapped address is the IPv4 address (attacks S-194).
func clientEnd(a netip.Addr, port uint16) (netip.AddrPort, bool) {
	a = a.Unmap()
	if port == 0 || a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, port), true
}

// parseProxyV2 reads the binary header of version 2.
func parseProxyV2(b []byte) (h proxied, n int, err error) {
	const head = len(proxySignature) + 4
	if len(b) < head {
		return h, 0, errProxyMore
	}
	command, family := b[12], b[13]
	body := int(binary.BigEndian.Uint16(b[14:16]))
	if command != 0x20 && command != 0x21 || head+body > maxProxyV2 {
		return h, 0, errProxy
	}
	n = head + body
	if len(b) < n {
		return h, 0, errProxyMore
	}
	rest := b[head:n]
	if command == 0x20 {
		// LOCAL: the rest is to be skipped, whatever it is (section 2.2).
		return proxied{local: true}, n, nil
	}
	// Only TCP carries mail. An unknown family or a Unix socket names no
	// client, and a client without an address has no place in any limit.
	size := 0
	switch family {
	case 0x11:
		size = 4
	case 0x21:
		size = 16
	default:
		return h, 0, errProxy
	}
	if len(rest) < 2*size+4 {
		return h, 0, errProxy
	}
	src, _ := netip.AddrFromSlice(rest[:size])
	dst, _ := netip.AddrFromSlice(rest[size : 2*size])
	ports := rest[2*size:]
	var ok, ok2 bool
	h.src, ok = clientEnd(src, binary.BigEndian.Uint16(ports))
	h.dst, ok2 = clientEnd(dst, binary.BigEndian.Uint16(ports[2:]))
	if !ok || !ok2 || !proxyTLVs(b[:n], head+2*size+4) {
		return proxied{}, 0, errProxy
	}
	return h, n, nil
}

// proxyTLVs walks what stands behind the addresses: each must end within the
// header, and a checksum must be right (section 2.2.3). What they say is not
// used: no right comes from it.
func proxyTLVs(header []byte, at int) bool {
	const crc32c = 0x03
	for at < len(header) {
		if at+3 > len(header) {
			return false
		}
		end := at + 3 + int(binary.BigEndian.Uint16(header[at+1:at+3]))
		if end > len(header) {
			return false
		}
		if header[at] == crc32c {
			if end != at+7 {
				return false
			}
			sum := bytes.Clone(header)
			clear(sum[at+3 : end])
			if crc32.Checksum(sum, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(header[at+3:end]) {
				return false
			}
		}
		at = end
	}
	return true
}

// readProxy reads the header from the connection. What came behind it stays
// in the reader.
func (s *session) readProxy() (proxied, error) {
	s.state.Store(waiting) // Shutdown need not wait for it
	defer s.state.Store(busy)
	s.conn.SetReadDeadline(time.Now().Add(proxyTimeout))
	for {
		if s.srv.draining.Load() {
			return proxied{}, errDraining
		}
		h, n, err := parseProxy(s.in.buf[s.in.r:s.in.w])
		switch {
		case err == nil:
			s.in.r += n
			return h, nil
		case !errors.Is(err, errProxyMore):
			return proxied{}, err
		}
		if s.in.buffered() == len(s.in.buf) {
			s.in.grow(maxProxyV2)
		}
		if err := s.in.fill(); err != nil {
			return proxied{}, err
		}
	}
}
