package smtpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

// fakeNames answers from a table.
type fakeNames map[string]mail.HostName

func (f fakeNames) HostName(_ context.Context, a netip.Addr) mail.HostName { return f[a.String()] }

// hangingNames never finds an answer of its own.
type hangingNames struct{}

func (hangingNames) HostName(ctx context.Context, _ netip.Addr) mail.HostName {
	<-ctx.Done()
	return mail.HostName{}
}

// S-195: the name comes before the first decision, and only a confirmed one is
// a name.
func TestNamesOfClients(t *testing.T) {
	names := fakeNames{"192.0.2.7": {Name: "good.example", Confirmed: true}, "192.0.2.8": {Name: "mail.our.example"}, "127.0.0.1": {Name: "never.example", Confirmed: true}}
	var seen []mail.HostName
	for _, role := range []string{"inbound", "outbound"} {
		k := newProxyKit(t, role, func(s *Settings, _ *Listener) { s.Names = names })
		k.policy.connect = func(s *mail.Session) mail.Decision {
			seen = append(seen, s.Host)
			return mail.Decision{}
		}
		for _, header := range []string{proxyLine, "PROXY TCP4 192.0.2.8 192.0.2.1 12345 25\r\n", "PROXY UNKNOWN\r\n"} {
			c := k.dial()
			c.send(header)
			c.want("220")
			c.do("250", "EHLO x.example")
		}
		if len(seen) != 3 || !seen[0].Confirmed || seen[1].Confirmed || seen[2].Name != "" {
			t.Errorf("%s: %v", role, seen)
		}
		seen = nil
	}
	for _, role := range []string{"content-filter", "inbound"} { // loopback, and an MTA's own business
		k := newKit(t, role, func(s *Settings, _ *Listener) { s.Names = hangingNames{} })
		k.dial().want("220")
	}
}

// A look-up that hangs does not hold a shutdown.
func TestHangingNamesAndShutdown(t *testing.T) {
	k := newProxyKit(t, "inbound", func(s *Settings, _ *Listener) { s.Names = hangingNames{} })
	c := k.dial()
	c.send(proxyLine)
	eventually(t, "a session", func() bool { return len(k.open()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	k.srv.Shutdown(ctx)
	c.closed()
}

// S-50: who speaks first is refused; who waits is greeted; who has a name or
// is trusted does not wait.
func TestEarlyTalkers(t *testing.T) {
	f := &countingConduct{}
	slow := func(s *Settings, l *Listener) { s.Conduct, l.GreetDelay = f, 30*time.Second }
	k := newKit(t, "inbound", slow)
	c := k.dial()
	c.send("EHLO spam.example\r\nMAIL FROM:<a@b.example>\r\n")
	c.want("554 5.5.0")
	c.closed()
	if f.count(ActJunk) != 1 || k.hop.begun != 0 {
		t.Errorf("junk counted %d times", f.count(ActJunk))
	}
	gone := k.dial() // one that goes away meanwhile
	eventually(t, "waiting", func() bool { o := k.open(); return len(o) == 1 && o[0].state.Load() == waiting })
	gone.Close()
	eventually(t, "over", func() bool { return len(k.open()) == 0 })

	// With the header in the same packet, as early as can be.
	named := newProxyKit(t, "inbound", func(s *Settings, l *Listener) {
		slow(s, l)
		s.Names = fakeNames{"192.0.2.8": {Name: "good.example", Confirmed: true}}
	})
	c = named.dial()
	c.send(proxyLine + "EHLO spam.example\r\n")
	c.want("554 5.5.0")
	for _, header := range []string{"PROXY TCP4 192.0.2.8 192.0.2.1 12345 25\r\n", "PROXY UNKNOWN\r\n"} {
		c = named.dial()
		c.send(header)
		c.want("220")
	}
	trusted := newKit(t, "outbound", slow)
	c = trusted.dial()
	c.send("EHLO ours.example\r\n")
	c.want("220")
	c.want("250")

	patient := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.GreetDelay = 20 * time.Millisecond })
	c = patient.dial()
	c.want("220")
	c.do("250", "EHLO x.example")
	c.envelope()

	// A shutdown does not wait for the delay.
	k.dial()
	eventually(t, "waiting", func() bool { o := k.open(); return len(o) == 1 && o[0].state.Load() == waiting })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := k.srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// dialTLS is a client that speaks TLS from the first octet, behind what is
// sent in clear before it.
func (k *kit) dialTLS(before string) *client {
	k.t.Helper()
	c := k.dial()
	if before != "" {
		// In one packet with the ClientHello.
		c.Conn = &withHeader{Conn: c.Conn, header: before}
	}
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err := tc.Handshake(); err != nil {
		k.t.Fatal(err)
	}
	return &client{t: k.t, Conn: tc, r: bufio.NewReader(tc)}
}

func TestImplicitTLS(t *testing.T) {
	implicit := func(_ *Settings, l *Listener) { l.ImplicitTLS, l.RequireTLS, l.TLS = true, true, testTLS(t) }
	for name, k := range map[string]*kit{"": newKit(t, "inbound", implicit), proxyLine: newProxyKit(t, "inbound", implicit)} {
		c := k.dialTLS(name)
		c.want("220")
		if r := c.do("250", "EHLO x.example"); strings.Contains(r, "STARTTLS") {
			t.Errorf("STARTTLS under TLS: %q", r)
		}
		c.do("503", "STARTTLS")
		c.envelope()
		c.do("354", "DATA")
		c.do("250", "Subject: x\r\n\r\nx\r\n.")
		got := string(k.hop.messages()[0].data)
		if !strings.Contains(got, "with ESMTPS id") || name != "" && !strings.Contains(got, "[192.0.2.7]") {
			t.Errorf("%q", got)
		}
	}
	// Clear text is never answered in clear text, and nothing of it is run.
	k := newKit(t, "inbound", implicit)
	c := k.dial()
	c.send("EHLO x.example\r\nMAIL FROM:<a@b.example>\r\n")
	if r := c.reply(); strings.HasPrefix(r, "2") || strings.HasPrefix(r, "5") || strings.HasPrefix(r, "4") {
		t.Errorf("answered %q", r)
	}
	if k.srv.Stats().TLSFailed != 1 {
		t.Error("not counted")
	}
	// Too many handshakes: closed before any.
	f := &countingConduct{refuse: map[string]Act{"127.0.0.1": ActHandshake}}
	busy := newKit(t, "inbound", func(s *Settings, l *Listener) { implicit(s, l); s.Conduct = f })
	busy.dial().closed()
	full := newKit(t, "inbound", func(s *Settings, l *Listener) {
		implicit(s, l)
		s.Conduct = &countingConduct{refuse: map[string]Act{"127.0.0.1": ActConnection}}
	})
	full.dial().closed()

	l := &Listener{ListenerConfig: DefaultListener("inbound"), Router: NewRouter(DefaultListener("inbound"), newFakeHop())}
	l.ImplicitTLS = true
	if err := l.prepare("x", "mx.our.example"); err == nil {
		t.Error("implicit_tls without a certificate")
	}
}

// S-62: a TLS handshake in clear is met at once, not when its line ends.
func TestTLSOnAClearPort(t *testing.T) {
	f := &countingConduct{}
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Conduct = f })
	for _, first := range []string{"\x16", "\x16\x03\x01\x00\xf0", "\x80\x2e\x01"} {
		c := k.dial()
		c.want("220")
		c.send(first)
		c.want("521")
		c.closed()
	}
	if f.count(ActJunk) != 3 {
		t.Errorf("counted %d times", f.count(ActJunk))
	}
}
