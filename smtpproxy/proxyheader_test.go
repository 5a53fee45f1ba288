package smtpproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// v2 makes a version 2 header.
func v2(command, family byte, body string) string {
	n := binary.BigEndian.AppendUint16(nil, uint16(len(body)))
	return proxySignature + string([]byte{command, family}) + string(n) + body
}

const (
	v4Ends = "\xc0\x00\x02\x07\xc0\x00\x02\x01\x30\x39\x00\x19" // 192.0.2.7:12345 to 192.0.2.1:25
	v6Ends = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x30\x39\x00\x19"
)

// checksummed adds a CRC32C TLV, right or wrong.
func checksummed(right bool) string {
	h := []byte(v2(0x21, 0x11, v4Ends+"\x03\x00\x04\x00\x00\x00\x00"))
	sum := crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli))
	if !right {
		sum++
	}
	binary.BigEndian.PutUint32(h[len(h)-4:], sum)
	return string(h)
}

// S-192: what is taken, what is not, and what waits for more.
func TestParseProxy(t *testing.T) {
	const a4, a6 = "192.0.2.7:12345", "[2001:db8::7]:12345"
	for _, c := range []struct{ id, in, want string }{
		{"v1 TCP4", "PROXY TCP4 192.0.2.7 192.0.2.1 12345 25\r\n", a4},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 12345 25\r\n", a6},
		{"v1 longest", "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:0db8:0000:0000:0000:0000:0000:0001 12345 25\r\n", a6},
		{"v1 mapped", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 12345 25\r\n", a4},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "local"},
		{"v1 unknown with more", "PROXY UNKNOWN ffff::1 rubbish\r\n", "local"},
		{"v1 unknown at the bound", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "local"},
		{"v1 over the bound", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "bad"},
		{"v1 without CR", "PROXY TCP4 192.0.2.7 192.0.2.1 12345 25\n", "bad"},
		{"v1 bare CR", "PROXY TCP4 192.0.2.7\r192.0.2.1 12345 25\r\n", "bad"},
		{"v1 no end", "PROXY TCP4 192.0.2.7 192.0.2.1 12345 25", "more"},
		{"v1 no end, too long", "PROXY TCP4 " + strings.Repeat("1", 200), "bad"},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 12345 25\r\n", "bad"},
		{"v1 port 0", "PROXY TCP4 192.0.2.7 192.0.2.1 0 25\r\n", "bad"},
		{"v1 port 99999", "PROXY TCP4 192.0.2.7 192.0.2.1 99999 25\r\n", "bad"},
		{"v1 port zeros", "PROXY TCP4 192.0.2.7 192.0.2.1 00025 25\r\n", "bad"},
		{"v1 port sign", "PROXY TCP4 192.0.2.7 192.0.2.1 +25 25\r\n", "bad"},
		{"v1 bad destination port", "PROXY TCP4 192.0.2.7 192.0.2.1 25 0\r\n", "bad"},
		{"v1 zeros", "PROXY TCP4 192.000.002.007 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 wrong family", "PROXY TCP4 2001:db8::7 2001:db8::1 12345 25\r\n", "bad"},
		{"v1 wrong family 6", "PROXY TCP6 192.0.2.7 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 two spaces", "PROXY  TCP4 192.0.2.7 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 trailing word", "PROXY TCP4 192.0.2.7 192.0.2.1 12345 25 x\r\n", "bad"},
		{"v1 UDP", "PROXY UDP4 192.0.2.7 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 lower case", "proxy TCP4 192.0.2.7 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 unspecified", "PROXY TCP4 0.0.0.0 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 multicast", "PROXY TCP4 224.0.0.1 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 word", "PROXYTCP4 192.0.2.7 192.0.2.1 12345 25\r\n", "bad"},
		{"v1 nothing", "PROXY\r\n", "bad"},
		{"v1 beginning", "PRO", "more"},
		{"v2 TCP4", v2(0x21, 0x11, v4Ends), a4},
		{"v2 TCP6", v2(0x21, 0x21, v6Ends), a6},
		{"v2 mapped", v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x07"+strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01\x30\x39\x00\x19"), a4},
		{"v2 TLV", v2(0x21, 0x11, v4Ends+"\x04\x00\x03abc"), a4},
		{"v2 TLV overflow", v2(0x21, 0x11, v4Ends+"\x04\x00\x04abc"), "bad"},
		{"v2 TLV cut", v2(0x21, 0x11, v4Ends+"\x04\x00"), "bad"},
		{"v2 checksum", checksummed(true), a4},
		{"v2 wrong checksum", checksummed(false), "bad"},
		{"v2 LOCAL", v2(0x20, 0x00, ""), "local"},
		{"v2 LOCAL with rubbish", v2(0x20, 0xff, "rubbish"), "local"},
		{"v2 UNSPEC", v2(0x21, 0x00, ""), "bad"},
		{"v2 AF_UNIX", v2(0x21, 0x31, strings.Repeat("x", 216)), "bad"},
		{"v2 UDP", v2(0x21, 0x12, v4Ends), "bad"},
		{"v2 short", v2(0x21, 0x11, v4Ends[:11]), "bad"},
		{"v2 empty", v2(0x21, 0x11, ""), "bad"},
		{"v2 v4 length for v6", v2(0x21, 0x21, v4Ends), "bad"},
		{"v2 port 0", v2(0x21, 0x11, v4Ends[:8]+"\x00\x00\x00\x19"), "bad"},
		{"v2 version 1", v2(0x11, 0x11, v4Ends), "bad"},
		{"v2 command 2", v2(0x22, 0x11, v4Ends), "bad"},
		{"v2 64 KB", v2(0x20, 0x00, strings.Repeat("x", 65535)), "bad"},
		{"v2 at the bound", v2(0x20, 0x00, strings.Repeat("x", maxProxyV2-16)), "local"},
		{"v2 over the bound", v2(0x20, 0x00, strings.Repeat("x", maxProxyV2-15)), "bad"},
		{"v2 truncated", v2(0x21, 0x11, v4Ends)[:20], "more"},
		{"v2 signature cut", proxySignature[:7], "more"},
		{"v2 signature wrong", "\r\n\r\n\x00\r\nQUIX\n!\x11\x00\x00", "bad"},
		{"nothing", "", "more"},
		{"SMTP", "EHLO x\r\n", "bad"},
	} {
		h, n, err := parseProxy([]byte(c.in))
		got := h.src.String()
		switch {
		case errors.Is(err, errProxyMore):
			got = "more"
		case err != nil:
			got = "bad"
		case h.local:
			got = "local"
		}
		if got != c.want || err == nil && n != len(c.in) {
			t.Errorf("%s: %s of %d octets, want %s of %d", c.id, got, n, c.want, len(c.in))
		}
		if err != nil && h != (proxied{}) {
			t.Errorf("%s: an address in spite of %v", c.id, err)
		}
	}
}

// FuzzParseProxy: never a panic, never an address that a client cannot have,
// never more octets than there are; and a header is the same however its
// octets come.
func FuzzParseProxy(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.7 192.0.2.1 12345 25\r\n", "PROXY UNKNOWN\r\n", v2(0x21, 0x11, v4Ends), v2(0x21, 0x21, v6Ends),
		checksummed(true), v2(0x20, 0, "x"), "PROXY TCP6 ::1 ::1 1 1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseProxy(b)
		if n < 0 || n > len(b) || (err != nil) != (n == 0) {
			t.Fatalf("%d of %d octets, %v", n, len(b), err)
		}
		if len(b) >= maxProxyV2 && errors.Is(err, errProxyMore) {
			t.Fatal("waits for ever")
		}
		if err != nil {
			return
		}
		if a := h.src.Addr(); !h.local && (!a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || h.src.Port() == 0) {
			t.Fatalf("client %v", h.src)
		}
		for i := range n {
			if _, _, err := parseProxy(b[:i]); !errors.Is(err, errProxyMore) {
				t.Fatalf("%d of %d octets: %v", i, n, err)
			}
		}
		if again, m, err := parseProxy(b[:n]); again != h || m != n || err != nil {
			t.Fatalf("without what follows: %v %d %v", again, m, err)
		}
	})
}

// newProxyKit is a listener behind a balancer on 127.0.0.1.
func newProxyKit(t *testing.T, role string, change func(*Settings, *Listener)) *kit {
	return newKit(t, role, func(s *Settings, l *Listener) {
		l.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		if role != "inbound" {
			l.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		if change != nil {
			change(s, l)
		}
	})
}

const proxyLine = "PROXY TCP4 192.0.2.7 192.0.2.1 12345 25\r\n"

func TestProxyNamesTheClient(t *testing.T) {
	for name, header := range map[string]string{"v1": proxyLine, "v2": v2(0x21, 0x11, v4Ends), "v2 with 3 KB of TLV": v2(0x21, 0x11, v4Ends+"\x04\x0b\xb8"+strings.Repeat("x", 3000))} {
		k := newProxyKit(t, "inbound", nil)
		c := k.dial()
		for i := range len(header) { // however it comes
			if i < 40 || i+1 == len(header) {
				c.send(header[i : i+1])
			} else if i == 40 {
				c.send(header[40 : len(header)-1])
			}
		}
		c.want("220")
		ss := k.open()[0]
		if got := ss.s.Client.String(); got != "192.0.2.7:12345" || !ss.s.Peer.Addr().IsLoopback() || ss.s.Trusted {
			t.Errorf("%s: client %s, peer %s", name, got, ss.s.Peer)
		}
		c.do("250", "EHLO x.example")
		c.envelope()
		c.do("354", "DATA")
		c.do("250", "Subject: x\r\n\r\nx\r\n.")
		if got := string(k.hop.messages()[0].data); !strings.Contains(got, "[192.0.2.7]") {
			t.Errorf("%s: %q", name, got)
		}
		// S-191: once, as the first octets, never again.
		c.do("521", strings.TrimSuffix(proxyLine, "\r\n"))
		c.closed()
	}
}

// S-190: without the header, and with one where it is not asked for.
func TestProxyIsNeverGuessed(t *testing.T) {
	k := newProxyKit(t, "inbound", nil)
	for _, first := range []string{"EHLO x\r\n", "PROXY TCP4 1.2.3.4\r\n", "\x16\x03\x01", v2(0x21, 0x31, strings.Repeat("x", 216))} {
		c := k.dial()
		c.send(first)
		c.closed()
	}
	plain := newKit(t, "outbound", nil)
	for _, first := range []string{proxyLine, v2(0x21, 0x11, v4Ends)} {
		c := plain.dial()
		c.want("220")
		c.send(first + "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
		for r := c.reply(); r != ""; r = c.reply() {
			if strings.HasPrefix(r, "2") {
				t.Errorf("executed behind a PROXY header: %q", r)
			}
		}
	}
	stranger := newProxyKit(t, "inbound", func(_ *Settings, l *Listener) {
		l.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.99/32")}
	})
	stranger.dial().closed()
	if plain.hop.begun+stranger.hop.begun+k.hop.begun != 0 {
		t.Error("a next hop was asked")
	}
}

// S-194: the balancer is nobody that is trusted; each client is who it is.
func TestTrustBehindABalancer(t *testing.T) {
	k := newProxyKit(t, "outbound", func(_ *Settings, l *Listener) {
		l.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	for header, trusted := range map[string]bool{
		proxyLine: true,
		"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 12345 25\r\n": true,
		"PROXY TCP4 198.51.100.7 192.0.2.1 12345 25\r\n":            false,
		"PROXY TCP4 127.0.0.1 127.0.0.1 12345 25\r\n":               false, // the balancer's own
		"PROXY UNKNOWN\r\n": false,
		v2(0x20, 0, ""):     false,
		v2(0x21, 0x11, "\x7f\x00\x00\x01\x7f\x00\x00\x01\x30\x39\x00\x19"): false,
	} {
		c := k.dial()
		c.send(header)
		c.want("220")
		c.do("250", "EHLO x.example")
		c.do("250", "MAIL FROM:<a@our.example>")
		want := "554 5.7.1"
		if trusted {
			want = "250"
		}
		c.do(want, "RCPT TO:<b@other.example>")
		c.do("221", "QUIT")
	}
	l := &Listener{role: 2, ListenerConfig: ListenerConfig{TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	here := netip.MustParseAddr("127.0.0.1")
	if l.trustsSaid(here, netip.MustParseAddr("192.0.2.1")) || !l.trustsSaid(here, here) {
		t.Error("another machine's loopback is ours")
	}
}

// Each client behind the balancer has its own limit, and all together have one.
func TestLimitsBehindABalancer(t *testing.T) {
	k := newProxyKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.MaxConnectionsPerClient = 2 })
	for range 2 {
		c := k.dial()
		c.send(proxyLine)
		c.want("220")
	}
	c := k.dial()
	c.send(proxyLine)
	c.want("421 4.7.0")
	c.closed()
	c = k.dial()
	c.send("PROXY TCP4 192.0.2.8 192.0.2.1 12345 25\r\n")
	c.want("220")
	eventually(t, "slots by client", func() bool {
		k.srv.slots.mu.Lock()
		defer k.srv.slots.mu.Unlock()
		m := k.srv.slots.byClient
		return k.srv.slots.total == 3 && m[slotKey(netip.MustParseAddr("192.0.2.7"))] == 2 && len(m) == 2
	})
}

// The move of a slot keeps the count, whatever comes of it.
func TestMoveOfASlot(t *testing.T) {
	var s slots
	l := Limits{MaxConnections: 10, MaxConnectionsPerClient: 1}
	at := func(a string) place { return place{key: slotKey(netip.MustParseAddr(a)), counted: true} }
	lb := place{key: slotKey(netip.MustParseAddr("192.0.2.99"))}
	for range 2 {
		if why := s.take(lb, l); why != "" {
			t.Fatal(why)
		}
	}
	if why := s.move(lb, at("192.0.2.1"), l); why != "" {
		t.Fatal(why)
	}
	if why := s.move(lb, at("192.0.2.1"), l); why != whyClient {
		t.Fatalf("%q", why)
	}
	s.give(lb)
	s.give(at("192.0.2.1"))
	if s.total != 0 || len(s.byClient) != 0 {
		t.Errorf("%d, %v", s.total, s.byClient)
	}
}

// One site of IPv6 has as many clients as it wants, and not all sessions and
// all room for messages.
func TestOneSiteOfManyClients(t *testing.T) {
	var s slots
	l := Limits{MaxConnections: 100, MaxConnectionsPerClient: 5}
	at := func(i int) place {
		return place{key: slotKey(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i))), counted: true}
	}
	var have []place
	for i := range 40 {
		why := s.take(at(i/4), l)
		if want := map[bool]string{true: "", false: whySite}[i < 20]; why != want {
			t.Fatalf("%d: %q", i, why)
		}
		if why == "" {
			have = append(have, at(i/4))
		}
	}
	other := place{key: slotKey(netip.MustParseAddr("2001:db8:2::1")), counted: true}
	if why := s.take(other, l); why != "" {
		t.Errorf("another site: %q", why)
	}
	for _, p := range append(have, other) {
		s.give(p)
	}
	if s.total != 0 || len(s.byClient) != 0 || len(s.bySite) != 0 {
		t.Errorf("%d, %v, %v", s.total, s.byClient, s.bySite)
	}
	n := 0
	for i := range 40 {
		if s.reserve(at(i).key, 10, 400) {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d messages of one site have room", n)
	}
	for i := range n {
		s.unreserve(at(i).key, 10)
	}
	if len(s.room) != 0 {
		t.Errorf("%v", s.room)
	}
}

// A balancer that says nothing holds neither the accept loop nor a shutdown.
func TestSilentBalancer(t *testing.T) {
	k := newProxyKit(t, "inbound", nil)
	for range 20 {
		k.dial()
	}
	c := k.dial()
	c.send(proxyLine)
	c.want("220")
}
