package smtpproxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/message"
)

func pressureKit(t *testing.T, role string, shedAfter time.Duration) *kit {
	return newTunedKit(t, role, func(s *Settings, _ *Listener) {
		s.Limits.MaxConnections, s.Limits.MaxConnectionsPerClient = 25, 100 // 20 for clients from outside
		s.Limits.CommandTimeout, s.Limits.DataTimeout = 5*time.Minute, 3*time.Minute
	}, func(s *Server) { s.shedAfter, s.made = shedAfter, s.made.Add(-time.Hour) })
}

// Pressure begins above 80 % and ends below 60 %, and is told once each way.
func TestPressureComesAndGoes(t *testing.T) {
	k := pressureKit(t, "inbound", time.Hour)
	var open []*client
	for range 16 {
		c := k.dial()
		c.want("220")
		open = append(open, c)
	}
	if k.srv.pressure.on.Load() {
		t.Fatal("at 80 %")
	}
	c := k.dial()
	c.want("220")
	open = append(open, c)
	ss := k.open()[0]
	if st := k.srv.Stats(); !st.Pressure || st.Pressed != 1 || !ss.stressed() || ss.within(time.Hour, stressData) != stressData || ss.within(time.Second, stressData) != time.Second {
		t.Fatalf("%+v", st)
	}
	leave := func(n int) {
		for _, c := range open[:n] {
			c.do("221", "QUIT")
			c.closed()
		}
		open = open[n:]
		eventually(t, "gone", func() bool { return k.srv.Stats().Sessions == len(open) })
	}
	leave(5) // 12 are 60 %
	if !k.srv.pressure.on.Load() {
		t.Error("over at 60 %")
	}
	leave(1)
	eventually(t, "over", func() bool { return !k.srv.pressure.on.Load() })
	if ss.within(time.Hour, stressData) != time.Hour {
		t.Error("still short of time")
	}
}

// S-140, S-144: with no room left, those that wait longest make some, with a
// word; those at work and those that we trust stay.
func TestIdleSessionsMakeRoom(t *testing.T) {
	k := pressureKit(t, "inbound", time.Millisecond)
	oldest := k.dial()
	oldest.want("220")
	writer := k.hello()
	writer.envelope()
	writer.do("354", "DATA")
	eventually(t, "both at it", func() bool {
		n := 0
		for _, ss := range k.open() {
			if ss.since.Load() > 0 {
				n++
			}
		}
		return n == 1
	})
	var rest []*client
	for range 18 {
		c := k.dial()
		c.want("220")
		rest = append(rest, c)
	}
	eventually(t, "one is served by and by", func() bool {
		c := k.dial()
		defer c.Close()
		return strings.HasPrefix(c.reply(), "220")
	})
	oldest.want("421 4.3.2")
	oldest.closed()
	writer.do("250", "Subject: x\r\n\r\nx\r\n.")
	if st := k.srv.Stats(); st.Shed == 0 || st.Shed > 10 {
		t.Errorf("%d made room", st.Shed)
	}
	_ = rest
}

// A session that waited too long under pressure is ended when the next comes.
func TestLongWaitUnderPressure(t *testing.T) {
	k := pressureKit(t, "inbound", time.Hour)
	c := k.dial()
	c.want("220")
	eventually(t, "waits", func() bool { o := k.open(); return len(o) == 1 && o[0].since.Load() > 0 })
	k.srv.shed(false)
	if k.srv.Stats().Shed != 0 {
		t.Fatal("too early")
	}
	k.srv.pressure.last.Store(0)
	ss := k.open()[0]
	ss.since.Store(ss.since.Load() - int64(stressCommand)) // so long ago
	k.srv.shed(false)
	c.want("421 4.3.2")
	c.closed()
}

// Trusted peers are never shed and keep their time.
func TestPressureAndTrustedPeers(t *testing.T) {
	k := pressureKit(t, "outbound", 0)
	var open []*client
	for range 25 {
		open = append(open, k.hello())
	}
	c := k.dial()
	c.want("421 4.7.0")
	if ss := k.open()[0]; !k.srv.pressure.on.Load() || ss.stressed() || ss.since.Load() != 0 {
		t.Error("a trusted peer has less")
	}
	for _, c := range open {
		c.do("250", "NOOP")
	}
}

// S-147: a client that sends commands and never reads an answer is cut off.
func TestClientThatNeverReads(t *testing.T) {
	k := newTunedKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.JunkCommands, s.Limits.HardErrors = 1<<30, 1<<30 },
		func(s *Server) { s.writeTimeout = 50 * time.Millisecond })
	c := k.dial()
	c.want("220")
	c.Conn.(*net.TCPConn).SetReadBuffer(1024)
	go func() {
		for {
			if _, err := c.Write([]byte(strings.Repeat("HELP\r\n", 1000))); err != nil {
				return
			}
		}
	}()
	eventually(t, "cut off", func() bool { return k.srv.Stats().Sessions == 0 && len(k.open()) == 0 })
}

// BenchmarkGreetingBesideIdleSessions is how long a new client waits for its
// greeting beside 10,000 sessions that wait, and what each of those holds.
func BenchmarkGreetingBesideIdleSessions(b *testing.B) {
	const idle = 10000
	hop, lc := newFakeHop(), DefaultListener("inbound")
	lc.RelayDomains = []string{"our.example"}
	set := &Settings{Hostname: "mx.our.example", Limits: DefaultLimits(), Policy: &fakePolicy{},
		Listeners: map[string]*Listener{"test": {ListenerConfig: lc, Router: NewRouter(lc, hop)}}}
	set.Limits.MaxConnections, set.Limits.MaxConnectionsPerClient = 2*idle, 2*idle
	srv := NewServer(ServerConfig{Budget: message.NewBudget(message.BudgetConfig{Total: 1 << 30, Memory: 1 << 30})})
	if err := srv.Apply(set); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 512)
	greeting := func(from netip.AddrPort) net.Conn {
		near, far := net.Pipe()
		srv.accept("test", pipeFrom{far, net.TCPAddrFromAddrPort(from)})
		near.SetDeadline(time.Now().Add(60 * time.Second))
		if _, err := near.Read(buf); err != nil {
			b.Fatal(err)
		}
		return near
	}
	conns := make([]net.Conn, 0, idle)
	for i := range idle {
		conns = append(conns, greeting(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4711)))
	}
	b.ResetTimer()
	for range b.N {
		greeting(netip.MustParseAddrPort("192.0.2.7:4711")).Close()
	}
	b.StopTimer()
	for _, c := range conns {
		c.Close()
	}
	srv.wg.Wait()
}

// pipeFrom is a connection in memory with an address.
type pipeFrom struct {
	net.Conn
	addr net.Addr
}

func (p pipeFrom) RemoteAddr() net.Addr { return p.addr }
func (p pipeFrom) LocalAddr() net.Addr  { return p.addr }

func TestValidatePeers(t *testing.T) {
	p := netip.MustParsePrefix
	for name, c := range map[string]struct {
		role   string
		change func(*ListenerConfig)
		want   string // "" is none
	}{
		"nothing":              {"inbound", func(*ListenerConfig) {}, ""},
		"balancer":             {"inbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("10.0.0.9/32")} }, ""},
		"balancer beside":      {"outbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("10.1.0.9/32")} }, ""},
		"everybody by PROXY":   {"inbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("0.0.0.0/0")} }, "proxy_from: 0.0.0.0/0 is everybody"},
		"everybody by PROXY 6": {"inbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("::/0")} }, "proxy_from: ::/0 is everybody"},
		"everybody by XCLIENT": {"outbound", func(c *ListenerConfig) { c.XClientFrom = []netip.Prefix{p("0.0.0.0/0")} }, "xclient_from: 0.0.0.0/0 is everybody"},
		"everybody trusted":    {"outbound", func(c *ListenerConfig) { c.TrustedNetworks = []netip.Prefix{p("0.0.0.0/0")} }, "trusted_networks: 0.0.0.0/0 is everybody"},
		"mapped everybody": {"outbound", func(c *ListenerConfig) {
			c.TrustedNetworks = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 96)}
		}, "is everybody"},
		"mapped": {"outbound", func(c *ListenerConfig) {
			c.TrustedNetworks = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)}
		}, "write 10.0.0.0/8"},
		"trusted balancer": {"outbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("10.0.0.9/32")} }, "proxy_from: 10.0.0.9/32 is in trusted_networks (10.0.0.0/16)"},
		"mapped balancer": {"outbound", func(c *ListenerConfig) {
			c.ProxyFrom = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.9"), 128)}
		}, "is in trusted_networks"},
		"wide balancer":         {"outbound", func(c *ListenerConfig) { c.ProxyFrom = []netip.Prefix{p("10.0.0.0/8")} }, "is in trusted_networks"},
		"filter with XCLIENT":   {"content-filter", func(c *ListenerConfig) { c.XClientFrom = []netip.Prefix{p("10.1.0.9/32")} }, "xclient_from: has no meaning"},
		"filter with delay":     {"content-filter", func(c *ListenerConfig) { c.GreetDelay = time.Second }, "greet_delay: has no meaning"},
		"long delay":            {"inbound", func(c *ListenerConfig) { c.GreetDelay = time.Minute }, "greet_delay: must lie between"},
		"negative delay":        {"inbound", func(c *ListenerConfig) { c.GreetDelay = -1 }, "greet_delay: must lie between"},
		"delay":                 {"inbound", func(c *ListenerConfig) { c.GreetDelay = 6 * time.Second }, ""},
		"outbound for nobody":   {"outbound", func(c *ListenerConfig) { c.TrustedNetworks = nil }, "trusted_networks: is empty"},
		"outbound for accounts": {"outbound", func(c *ListenerConfig) { c.TrustedNetworks, c.Auth = nil, true }, ""},
	} {
		lc := DefaultListener(c.role)
		lc.Listen, lc.NextHop = []string{"127.0.0.1:25"}, "x"
		if c.role == "inbound" {
			lc.RelayDomains = []string{"our.example"}
		} else {
			lc.TrustedNetworks = []netip.Prefix{p("10.0.0.0/16")}
		}
		c.change(&lc)
		var all strings.Builder
		for _, err := range lc.Validate() {
			all.WriteString(err.Error() + "\n")
		}
		if (c.want == "") != (all.Len() == 0) || !strings.Contains(all.String(), c.want) {
			t.Errorf("%s: %q, want %q", name, all.String(), c.want)
		}
	}
}
