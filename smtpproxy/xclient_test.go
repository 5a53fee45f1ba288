package smtpproxy

import (
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
)

// newXClientKit is an outbound listener whose peer may say XCLIENT, and which
// trusts 192.0.2.0/24.
func newXClientKit(t *testing.T, change func(*Settings, *Listener)) *kit {
	return newKit(t, "outbound", func(s *Settings, l *Listener) {
		l.XClientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		l.TrustedNetworks = append(l.TrustedNetworks, netip.MustParsePrefix("192.0.2.0/24"))
		if change != nil {
			change(s, l)
		}
	})
}

func TestXClientNamesTheClient(t *testing.T) {
	var seen []mail.Session
	k := newXClientKit(t, func(s *Settings, _ *Listener) {
		s.Policy.(*fakePolicy).connect = func(s *mail.Session) mail.Decision {
			seen = append(seen, *s)
			return mail.Decision{}
		}
	})
	c := k.dial()
	c.want("220")
	if r := c.do("250", "EHLO peer.example"); !strings.Contains(r, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\r\n") {
		t.Fatalf("not announced: %q", r)
	}
	c.do("220", "XCLIENT NAME=host.example ADDR=192.0.2.7 PORT=4711 HELO=me+20you LOGIN=ana+40our.example PROTO=ESMTP DESTADDR=IPV6:2001:db8::1 DESTPORT=25 REVERSE_NAME=other.example")
	c.do("503", "MAIL FROM:<a@our.example>") // back at the greeting
	if r := c.do("250", "EHLO peer.example"); strings.Contains(r, "XCLIENT") {
		t.Fatalf("announced again: %q", r)
	}
	s := k.open()[0].s
	if s.Client.String() != "192.0.2.7:4711" || !s.Host.Confirmed || s.Host.Name != "host.example" || s.Login != "ana@our.example" ||
		s.Helo != "me you" || !s.Trusted || !s.Peer.Addr().IsLoopback() {
		t.Errorf("%+v", s)
	}
	if len(seen) != 2 || seen[1].Client.Addr() != s.Client.Addr() {
		t.Errorf("the policy was asked for %v", seen)
	}
	c.do("550 5.7.0", "XCLIENT ADDR=192.0.2.8") // who has named another speaks as that other
	c.do("250", "MAIL FROM:<a@our.example>")
	c.do("250", "RCPT TO:<b@other.example>")
}

// Trust is the named client's, and never stays from the peer (S-84, S-194).
func TestXClientTakesTrustAway(t *testing.T) {
	k := newXClientKit(t, nil)
	for arg, want := range map[string]string{
		"ADDR=198.51.100.7":                     "554 5.7.1",
		"ADDR=IPV6:2001:db8::1":                 "554 5.7.1",
		"ADDR=[UNAVAILABLE]":                    "554 5.7.1",
		"ADDR=192.0.2.9":                        "250",
		"ADDR=IPV6:::ffff:192.0.2.9":            "250",
		"NAME=host.example":                     "250", // the peer itself, which is trusted
		"ADDR=198.51.100.7 LOGIN=[UNAVAILABLE]": "554 5.7.1",
	} {
		c := k.hello()
		c.do("220", "XCLIENT "+arg)
		c.do("250", "EHLO x.example")
		c.do("250", "MAIL FROM:<a@our.example>")
		if r := c.do("", "RCPT TO:<b@other.example>"); !strings.HasPrefix(r, want) {
			t.Errorf("%s: %q, want %s", arg, r, want)
		}
		c.do("221", "QUIT")
	}
}

// A peer with short lines says it in several commands, the address last.
func TestXClientInParts(t *testing.T) {
	k := newXClientKit(t, nil)
	c := k.hello()
	c.do("220", "XCLIENT HELO=client.example PROTO=SMTP LOGIN=ana PORT=4711")
	c.do("250", "EHLO peer.example")
	c.do("220", "XCLIENT NAME=host.example")
	c.do("250", "EHLO peer.example")
	c.do("220", "XCLIENT ADDR=198.51.100.7")
	c.do("250", "EHLO peer.example")
	if s := k.open()[0].s; s.Client.String() != "198.51.100.7:4711" || s.Host.Name != "host.example" || s.Login != "ana" || s.LoginMethod != "XCLIENT" ||
		s.Helo != "client.example" || s.Proto != "SMTP" || s.Trusted {
		t.Errorf("%+v", s)
	}
	c.do("550", "XCLIENT LOGIN=root")
}

func TestXClientRefusals(t *testing.T) {
	k := newXClientKit(t, nil)
	c := k.hello()
	for _, arg := range []string{"", "ADDR", "ADDR=", "ADDR=1.2.3", "ADDR=::1", "ADDR=IPV6:1.2.3.4", "ADDR=IPV6:fe80::1%25eth0", "ADDR=0.0.0.0", "ADDR=224.0.0.1",
		"ADDR=1.2.3.4 ADDR=1.2.3.5", "FOO=1", "PORT=0", "PORT=99999", "PORT=x", "PORT=01", "PROTO=QMTP", "NAME=a+0Db", "NAME=a+20b", "NAME=[192.0.2.1]",
		"HELO=+0D+0AMAIL", "LOGIN=" + strings.Repeat("x", 256), "NAME=host.example ADDR=bad"} {
		c.do("501 5.5.4", "XCLIENT "+arg)
	}
	if s := k.open()[0].s; s.Client != s.Peer || s.Host.Name != "" {
		t.Errorf("half an identity: %+v", s)
	}
	c.do("250", "MAIL FROM:<a@our.example>")
	c.do("503 5.5.1", "XCLIENT ADDR=192.0.2.7")
	c.do("250", "RSET")
	c.send("XCLIENT ADDR=192.0.2.7\r\nEHLO x\r\n") // said by one, run as another
	c.want("554 5.5.0")
	c.closed()

	// Not from a peer that is not named, not even a trusted one.
	other := newKit(t, "outbound", nil)
	c = other.dial()
	c.want("220")
	if r := c.do("250", "EHLO x"); strings.Contains(r, "XCLIENT") {
		t.Errorf("announced to everybody: %q", r)
	}
	c.do("550 5.7.0", "XCLIENT ADDR=192.0.2.7 LOGIN=ana")
	if s := other.open()[0].s; s.Login != "" || s.Client != s.Peer {
		t.Errorf("%+v", s)
	}
}

// What a client meets at its connection it meets through XCLIENT too.
func TestXClientIsJudgedAnew(t *testing.T) {
	k := newXClientKit(t, func(s *Settings, _ *Listener) {
		s.Limits.MaxConnectionsPerClient = 1
		s.Conduct = &countingConduct{refuse: map[string]Act{"198.51.100.9": ActConnection}}
		s.Policy.(*fakePolicy).connect = func(s *mail.Session) mail.Decision {
			if s.Client.Addr() == netip.MustParseAddr("198.51.100.66") {
				return mail.Decision{Verdict: mail.Reject}
			}
			return mail.Decision{}
		}
	})
	for client, want := range map[string]string{"198.51.100.66": "554 5.7.1", "198.51.100.9": "421 4.7.0"} {
		c := k.hello()
		c.do(want, "XCLIENT ADDR="+client)
		c.closed()
	}
	first, second := k.hello(), k.hello() // the peer itself has no such limit
	first.do("220", "XCLIENT ADDR=198.51.100.1")
	second.do("421 4.7.0", "XCLIENT ADDR=198.51.100.1")
	second.closed()
}
