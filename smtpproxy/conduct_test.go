package smtpproxy

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"garita/mail"
)

// countingConduct refuses one act of a client and counts all.
type countingConduct struct {
	mu     sync.Mutex
	refuse map[string]Act // by address
	after  int            // acts of that kind that pass
	seen   map[Act]int
}

func (f *countingConduct) Note(a netip.Addr, act Act) Ruling {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[Act]int{}
	}
	f.seen[act]++
	if f.refuse[a.String()] == act && f.seen[act] > f.after {
		return Ruling{Refuse: true, Why: "rate of " + act.String()}
	}
	return Ruling{}
}

func (f *countingConduct) count(act Act) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[act]
}

func conductKit(t *testing.T, act Act, after int) (*kit, *countingConduct) {
	f := &countingConduct{refuse: map[string]Act{"127.0.0.1": act}, after: after}
	return newKit(t, "inbound", func(s *Settings, l *Listener) { s.Conduct, l.TLS = f, testTLS(t) }), f
}

// S-42, S-145: each act that is too much is answered for now, not for ever.
func TestConductAnswers(t *testing.T) {
	k, _ := conductKit(t, ActConnection, 1)
	k.dial().want("220")
	c := k.dial()
	c.want("421 4.7.0")
	c.closed()

	k, _ = conductKit(t, ActHandshake, 1)
	c = k.hello()
	c.do("220", "STARTTLS")
	c.startTLS()
	c = k.hello()
	c.do("454 4.7.0", "STARTTLS")
	c.envelope() // clear text goes on

	k, _ = conductKit(t, ActMessage, 1)
	c = k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RSET")
	c.do("450 4.7.1", "MAIL FROM:<a@s.example>")
	c.do("503", "RCPT TO:<b@our.example>")

	k, f := conductKit(t, ActRecipient, 1)
	c = k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("450 4.7.1", "RCPT TO:<c@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
	if f.count(ActRecipient) != 2 || k.srv.Stats().OverLimit != 1 {
		t.Errorf("%v, %d", f.seen, k.srv.Stats().OverLimit)
	}
}

// S-106: a harvest ends with the session, whoever says that the user is unknown.
func TestHarvest(t *testing.T) {
	k, _ := conductKit(t, ActUnknownRecipient, 2)
	k.hop.rcpt = func(r mail.Recipient) mail.Reply {
		if r.Local == "full" {
			return mail.Permanent(552, "2.2", "Mailbox full")
		}
		return mail.Permanent(550, "1.1", "User unknown")
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("552", "RCPT TO:<full@our.example>")
	c.do("550 5.1.1", "RCPT TO:<a@our.example>")
	c.do("550 5.1.1", "RCPT TO:<b@our.example>")
	c.send("RCPT TO:<c@our.example>\r\nRCPT TO:<d@our.example>\r\n")
	c.want("550 5.1.1")
	c.want("421 4.7.0")
	c.closed()
}

// Mail without a sender is counted apart: a forger makes honest servers return
// mail to users that we never had.
func TestUnknownRecipientsOfBounces(t *testing.T) {
	k, f := conductKit(t, ActUnknownBounce, 2)
	k.hop.rcpt = func(mail.Recipient) mail.Reply { return mail.Permanent(550, "1.1", "User unknown") }
	c := k.hello()
	c.do("250", "MAIL FROM:<>")
	c.do("550 5.1.1", "RCPT TO:<a@our.example>")
	c.do("550 5.1.1", "RCPT TO:<b@our.example>")
	c.do("550 5.1.1", "RCPT TO:<c@our.example>")
	c.want("421 4.7.0")
	c.closed()
	if n := f.count(ActUnknownRecipient); n != 0 {
		t.Errorf("%d", n)
	}
}

// What abuses the protocol is counted (S-50, S-51, S-62, S-147).
func TestJunkIsCounted(t *testing.T) {
	for name, abuse := range map[string]string{"http": "GET / HTTP/1.1\r\n", "tls": "\x16\x03\x01\x02\x00", "proxy": proxyLine, "ssh": "SSH-2.0-x\r\n",
		"pipelining": "EHLO x\r\nMAIL FROM:<>\r\n", "errors": strings.Repeat("FROB\r\n", 30), "noop": strings.Repeat("NOOP\r\n", 200)} {
		k, f := conductKit(t, ActJunk, 1<<30)
		c := k.dial()
		c.want("220")
		c.send(abuse)
		for c.reply() != "" {
		}
		if f.count(ActJunk) != 1 {
			t.Errorf("%s: counted %d times", name, f.count(ActJunk))
		}
	}
}

// Trusted peers are never asked about (design section 4.10).
func TestConductLeavesTrustedPeersAlone(t *testing.T) {
	for _, role := range []string{"outbound", "content-filter"} {
		f := &countingConduct{}
		k := newKit(t, role, func(s *Settings, l *Listener) { s.Conduct, l.TLS, l.STARTTLS = f, testTLS(t), true })
		k.hop.rcpt = func(mail.Recipient) mail.Reply { return mail.Permanent(550, "1.1", "User unknown") }
		c := k.hello()
		c.do("220", "STARTTLS")
		c = c.startTLS()
		c.do("250", "EHLO x.example")
		c.do("250", "MAIL FROM:<a@s.example>")
		c.do("550", "RCPT TO:<b@our.example>")
		for range 50 {
			c.do("500", "FROB")
		}
		if len(f.seen) != 0 {
			t.Errorf("%s: asked %v", role, f.seen)
		}
	}
}

func TestForeignIsNamed(t *testing.T) {
	for line, want := range map[string]string{"GET / HTTP/1.1": "HTTP request", "\x16\x03\x01": "TLS handshake in clear text", "PROXY TCP4": "PROXY header",
		"proxy UNKNOWN": "PROXY header", "SSH-2.0-OpenSSH_9.2": "SSH", "Host: x": "header field", "INVITE sip:x": "SIP or RTSP request",
		"\x00": "not a command", "": "", "MAIL FROM:<a@b.example>": "", "frob": ""} {
		if got := foreign([]byte(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for a := ActConnection; a <= ActJunk; a++ {
		if a.String() == "unknown" {
			t.Errorf("act %d has no name", a)
		}
	}
}
