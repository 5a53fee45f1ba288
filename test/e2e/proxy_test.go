package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// startHAProxy runs haproxy in TCP mode before a listener; option is
// send-proxy or send-proxy-v2.
func startHAProxy(t *testing.T, to, option string) (addr string) {
	t.Helper()
	addr = harness.Addr(t)
	file := filepath.Join(harness.Dir(t), "haproxy.cfg")
	text := fmt.Sprintf(`defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend mx
  bind %s
  default_backend garita
backend garita
  server one %s %s
`, addr, to, option)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, harness.Need(t, "haproxy", "haproxy"), "-db", "-f", file)
	p.WaitPort(t, addr)
	return addr
}

// greetedFrom connects from a loopback address of its own, so that it can be
// told from the balancer's.
func greetedFrom(t *testing.T, from, to string) *harness.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp4", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := harness.NewClient(t, conn)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	return c
}

// TestHAProxy: behind a real balancer the client is the one that the balancer
// names, in the log, in the trace field and for the access list; and who comes
// without a header, or from elsewhere, is not let in (attacks S-190, S-191).
func TestHAProxy(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	own := harness.Addr(t)
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: []harness.Setting{
		{Table: "check.access", Key: "clients", Value: `["127.0.0.66 reject Not you"]`},
	}})
	table := harness.TableOf(t, g.Config, "inbound")
	harness.Configure(t, g.Config,
		harness.Setting{Table: table, Key: "listen", Value: fmt.Sprintf("[%q, %q]", g.Inbound, own)},
		harness.Setting{Table: table, Key: "proxy_from", Value: `["127.0.0.1/32"]`})
	g.Start()
	for _, option := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(option, func(t *testing.T) {
			addr := startHAProxy(t, g.Inbound, option)
			before := len(hop.Accepted())
			c := greetedFrom(t, "127.0.0.9", addr)
			if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
				t.Fatalf("a message: %s\n%s", r, g.Log())
			}
			got := hop.Accepted()[before:]
			if len(got) != 1 || !strings.Contains(string(got[0].Data), "[127.0.0.9]") || strings.Contains(string(got[0].Data), "[127.0.0.1]") {
				t.Errorf("the trace field does not name the client: %+v", got)
			}
			g.WaitLog("[127.0.0.9]")
			// The access list looks at the client behind the balancer.
			bad := greetedFrom(t, "127.0.0.66", addr)
			bad.Say("MAIL FROM:<a@x.example>").Want(250)
			if r := bad.Say("RCPT TO:<b@our.example>").Reply(); r.Class() != 5 {
				t.Errorf("a client of the block list behind the balancer: %s", r)
			}
			// A header inside the dialogue is another protocol.
			again := greetedFrom(t, "127.0.0.9", addr)
			if r := again.Say("PROXY TCP4 192.0.2.1 192.0.2.2 1 25").Reply(); r.Class() != 5 {
				t.Errorf("a second header: %s", r)
			}
			again.WantClosed()
		})
	}
	// No header: the listener takes nobody for the balancer's word.
	plain := harness.Dial(t, g.Inbound)
	plain.Say("EHLO client.example")
	if r := plain.Reply(); r.Code == 250 || r.Code == 220 {
		t.Errorf("a connection without a header was greeted with %s", r)
	}
	// From elsewhere, with a header.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
	conn, err := d.Dial("tcp4", own)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	liar := harness.NewClient(t, conn)
	liar.Raw("PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\nEHLO x.example\r\n")
	if r := liar.Reply(); r.Code == 250 || r.Code == 220 {
		t.Errorf("a stranger with a header was greeted with %s", r)
	}
}

// TestHAProxyHealthChecks: the balancer's own connections (LOCAL, UNKNOWN) are
// greeted and trusted with nothing.
func TestHAProxyHealthChecks(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "check.access", Key: "clients", Value: `["127.0.0.66 reject Not you"]`})
	g.Start()
	for _, option := range []string{"send-proxy check check-send-proxy inter 100ms", "send-proxy-v2 check check-send-proxy inter 100ms"} {
		t.Run(option, func(t *testing.T) {
			addr, stats := checkingHAProxy(t, g.Inbound, option)
			harness.Eventually(t, "haproxy calls the gateway down", func() bool {
				return strings.Contains(haproxyState(t, stats), ",L7OK,")
			})
			if r := greetedFrom(t, "127.0.0.9", addr).Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
				t.Errorf("a message while haproxy checks: %s", r)
			}
		})
	}
	for name, header := range map[string]string{
		"v1": "PROXY UNKNOWN\r\n", "v2": "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		c := harness.Dial(t, g.Inbound)
		c.Raw(header)
		c.Want(220)
		c.Say("EHLO check.example").Want(250)
		c.Envelope("a@x.example")
		if r := c.Say("RCPT TO:<b@far.example>").Reply(); r.Class() != 5 {
			t.Errorf("%s: a health check relays: %s", name, r)
		}
	}
	// Headers that no balancer writes end the connection without a word.
	for name, header := range map[string]string{
		"no end":         "PROXY TCP4 " + strings.Repeat("1", 200),
		"leading zeros":  "PROXY TCP4 198.051.100.1 192.0.2.1 1 25\r\n",
		"port":           "PROXY TCP4 198.51.100.1 192.0.2.1 99999 25\r\n",
		"zone":           "PROXY TCP6 fe80::1%eth0 ::1 1 25\r\n",
		"family":         "PROXY TCP4 2001:db8::1 192.0.2.1 1 25\r\n",
		"bare line feed": "PROXY TCP4 198.51.100.1 192.0.2.1 1 25\n",
		"v2, length":     "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04\x01\x02\x03\x04",
		"v2, version":    "\r\n\r\n\x00\r\nQUIT\n\x11\x11\x00\x0c\xc6\x33\x64\x01\xc0\x00\x02\x01\x00\x01\x00\x19",
		"v2, 64 KB":      "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("\x00", 65535),
	} {
		c := harness.Dial(t, g.Inbound)
		c.Raw(header)
		if r := c.Reply(); r.Code != 0 || r.Text() == "(silence)" {
			t.Errorf("%s: %s (S-192)", name, r)
		}
	}
}

// checkingHAProxy is startHAProxy with checks of SMTP and their state on a
// port of its own.
func checkingHAProxy(t *testing.T, to, option string) (addr, stats string) {
	t.Helper()
	addr, stats = harness.Addr(t), harness.Addr(t)
	file := filepath.Join(harness.Dir(t), "haproxy.cfg")
	text := fmt.Sprintf("defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\nfrontend mx\n  mode tcp\n  bind %s\n  default_backend garita\n"+
		"backend garita\n  mode tcp\n  option smtpchk EHLO check.example\n  server one %s %s\nfrontend stats\n  mode http\n  bind %s\n  stats enable\n  stats uri /\n", addr, to, option, stats)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, harness.Need(t, "haproxy", "haproxy"), "-db", "-f", file)
	p.WaitPort(t, addr)
	return addr, stats
}

// haproxyState is what haproxy says of its servers, as CSV.
func haproxyState(t *testing.T, stats string) string {
	t.Helper()
	r, err := http.Get("http://" + stats + "/;csv")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestImplicitTLSBehindBalancer: the header comes in clear, and TLS right
// behind it; what is no handshake gets no word in clear.
func TestImplicitTLSBehindBalancer(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example")
	hop := startHop(t, fakehop.Config{})
	g, implicit := submission(t, certs, hop.Addr(), harness.Setting{Table: "listener.smtps", Key: "proxy_from", Value: `["127.0.0.1/32"]`},
		harness.Setting{Table: "conduct", Key: "connections", Value: "2"})
	for _, option := range []string{"send-proxy", "send-proxy-v2"} {
		addr := startHAProxy(t, implicit, option)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
		conn, err := d.Dial("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := harness.NewClient(t, conn)
		c.Secure(anyTLS())
		c.Want(220)
		c.Say("EHLO client.example").Want(250)
		c.Say("MAIL FROM:<ana@our.example>").Want(530)
		g.WaitLog("[127.0.0.9]")
	}
	// Header and handshake in one packet, and then one connection too many.
	for i := range 3 {
		c := harness.Dial(t, implicit).Introduce("198.51.100.1")
		if i < 2 {
			c.Secure(anyTLS())
			c.Want(220)
			continue
		}
		if r := c.Reply(); r.Code != 0 || r.Text() == "(silence)" {
			t.Errorf("a connection too many is told %s in clear", r)
		}
	}
	c := harness.Dial(t, implicit).Introduce("198.51.100.2")
	c.Say("EHLO client.example", "MAIL FROM:<a@x.example>")
	for r := range replies(c) {
		t.Errorf("SMTP in clear at a TLS port is told %s", r)
	}
}
