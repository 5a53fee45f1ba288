package smtpproxy

import (
	"fmt"
	"strings"
	"testing"

	"garita/mail"
)

func (c *client) message(want, text string) {
	c.t.Helper()
	c.envelope()
	c.do("354", "DATA")
	c.do(want, text+"\r\n.")
}

func TestLoopGuard(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	hops := func(n int, field string) string { return strings.Repeat(field, n) + "Subject: x\r\n\r\nx" }
	c.message("250", hops(50, "Received: from a by b; now\r\n"))
	c.message("554 5.4.6", hops(51, "Received: from a by b; now\r\n"))
	c.message("554 5.4.6", hops(51, "rEceived :\r\n from a by b; now\r\n"))
	c.message("250", hops(ownLoops, "Received: from a\r\n\tby mx.our.example (Garita) with ESMTP; now\r\n"))
	c.message("554 5.4.6", hops(ownLoops+1, "Received: from a\r\n\tby mx.our.example (Garita) with ESMTP; now\r\n"))
	c.message("554 5.6.0", hops(2000, "X: y\r\n"))
}

func TestForgedFieldsAreTakenOut(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.message("250", "X-Garita-Verdict: clean\r\nSubject: x\r\nx-garita-score :\r\n -5\r\n"+
		"Authentication-Results: MX.our.example; dkim=pass\r\nAuthentication-Results: (c\\)(d)) \"mx.our.example\" 1; spf=pass\r\n"+
		"Authentication-Results: \"mx.our.ex\\ample\"; spf=pass\r\nAuthentication-Results:\x0cmx.our.example.; spf=pass\r\nAuthentication-Results: mx.our.example/1; spf=pass\r\n"+
		"Authentication-Results: other.example; spf=pass\r\nX-Garitax: stays\r\n\r\nX-Garita-Body: stays")
	want := "Subject: x\r\nAuthentication-Results: other.example; spf=pass\r\nX-Garitax: stays\r\n\r\nX-Garita-Body: stays\r\n"
	if got := below(t, k.hop.messages()[0].data); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestReceivedIsOneFieldWhateverTheClientSays(t *testing.T) {
	k := newKit(t, "inbound", nil)
	for _, helo := range []string{"a) by evil; (", "x;y", strings.Repeat("h", 255), "[192.0.2.1]", "a\tb", "\xc3\xa9.example", "<script>"} {
		before := len(k.hop.messages())
		c := k.dial()
		c.want("220")
		c.do("250", "EHLO "+helo)
		c.message("250", "Subject: x\r\n\r\nx")
		data := string(k.hop.messages()[before].data)
		head := strings.TrimSuffix(data, below(t, []byte(data)))
		for _, line := range strings.Split(strings.TrimSuffix(head, "\r\n"), "\r\n")[1:] {
			if !strings.HasPrefix(line, "\t") {
				t.Errorf("%q: line %q", helo, line)
			}
		}
		first, _, _ := strings.Cut(head, "\r\n")
		if strings.ContainsAny(first[len("Received: from "):], ";<>\t") || strings.Count(first, "(") != 1 || strings.Count(head, ";") != 1 {
			t.Errorf("%q: %q", helo, head)
		}
		for _, b := range []byte(head) {
			if b > '~' {
				t.Errorf("%q: 8-bit in %q", helo, head)
			}
		}
		c.Close()
	}
	// Two recipients: no "for", a Bcc stays hidden.
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("250", "RCPT TO:<hidden@our.example>")
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\n.")
	got := k.hop.messages()
	if strings.Contains(string(got[len(got)-1].data), "hidden") {
		t.Error("the other recipient shows")
	}
}

func TestMessagesOfOddShapes(t *testing.T) { // S-22
	k := newKit(t, "inbound", nil)
	for in, want := range map[string]string{
		"":               "",
		"\r\nbody\r\n":   "\r\nbody\r\n",
		"body only\r\n":  "\r\nbody only\r\n",
		"Subject: x\r\n": "Subject: x\r\n",
		"Subject: x\r\nno field\r\nX-Garita-Verdict: clean\r\n": "Subject: x\r\n\r\nno field\r\nX-Garita-Verdict: clean\r\n",
		"..leading\r\n":             "\r\n.leading\r\n",
		"Subject: x\r\n\r\n..\r\n":  "Subject: x\r\n\r\n.\r\n",
		"Subject: \xe9\r\n\r\n\xff": "Subject: \xe9\r\n\r\n\xff\r\n",
	} {
		before := len(k.hop.messages())
		c := k.hello()
		c.envelope()
		c.do("354", "DATA")
		if in != "" && !strings.HasSuffix(in, "\r\n") {
			in += "\r\n"
		}
		c.send(in + ".\r\n")
		c.want("250")
		if got := below(t, k.hop.messages()[before].data); got != want {
			t.Errorf("%q: forwarded %q, want %q", in, got, want)
		}
		c.Close()
	}
}

func TestXForward(t *testing.T) {
	k := newKit(t, "content-filter", nil)
	var seen []*mail.Forwarded
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		seen = append(seen, tx.Forwarded)
		if !tx.Trusted || tx.Client.Addr().String() != "127.0.0.1" {
			t.Error("XFORWARD earned trust")
		}
		return mail.Decision{}
	}
	c := k.dial()
	c.want("220")
	if r := c.do("250", "EHLO x.example"); !strings.Contains(r, "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE") {
		t.Fatalf("%q", r)
	}
	c.do("250", "XFORWARD NAME=spike.example ADDR=192.0.2.7 PROTO=ESMTP")
	c.do("250", "XFORWARD HELO=a+2Bb SOURCE=REMOTE IDENT=[UNAVAILABLE]")
	c.do("501", "XFORWARD ADDR=x")
	c.do("501", "XFORWARD FOO=x")
	c.do("501", "XFORWARD NAME=+0D+0A")
	c.message("250", "Subject: x\r\n\r\nx")
	c.do("250", "XFORWARD ADDR=IPV6:2001:db8::1")
	c.message("250", "Subject: x\r\n\r\nx")
	c.message("250", "Subject: x\r\n\r\nx")
	if f := seen[0]; f == nil || f.Name != "spike.example" || f.Addr != "192.0.2.7" || f.Helo != "a+b" || f.Ident != "" {
		t.Errorf("%+v", seen[0])
	}
	if f := seen[1]; f == nil || f.Addr != "2001:db8::1" || f.Name != "" {
		t.Errorf("left over from the message before: %+v", f)
	}
	if seen[2] != nil {
		t.Errorf("left over: %+v", seen[2])
	}
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("503", "XFORWARD ADDR=192.0.2.7")
}

func FuzzSession(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@our.example>\r\nDATA\r\n")
	f.Add("EHLO x\r\nBDAT 5 LAST\r\nabcde\r\n")
	f.Add("HELO x\r\nSTARTTLS\r\nVRFY a\r\nHELP\r\nRSET\r\n")
	f.Add("MAIL FROM:<\"a\\\"b\"@c.example> SIZE=1 BODY=8BITMIME\r\n")
	k := newKit(f, "inbound", func(s *Settings, _ *Listener) {
		s.Limits.MaxConnections = 100000
		s.Limits.MaxConnectionsPerClient = 100000
	})
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 16<<10 {
			t.Skip("longer than a session's worth")
		}
		k.t = t
		// The same octets in every state of the session.
		for _, state := range []string{"", "EHLO c.example\r\n", "EHLO c.example\r\nMAIL FROM:<a@s.example>\r\n",
			"EHLO c.example\r\nMAIL FROM:<a@s.example>\r\nRCPT TO:<b@our.example>\r\n"} {
			c := k.dial()
			c.want("220")
			for _, line := range strings.SplitAfter(state, "\r\n") {
				if line != "" {
					c.send(line)
					c.want("250")
				}
			}
			fmt.Fprint(c, in)
			if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
				tcp.CloseWrite()
			}
			for r := c.reply(); r != ""; r = c.reply() {
				if len(r) < 5 || r[0] < '2' || r[0] > '5' || !strings.HasSuffix(r, "\r\n") {
					t.Fatalf("%q %q: reply %q", state, in, r)
				}
			}
			c.Close()
		}
		for _, m := range k.hop.messages() {
			for _, to := range m.to {
				if !strings.HasSuffix(strings.ToLower(to), "@our.example") {
					t.Fatalf("relayed to %q", to)
				}
			}
		}
		k.hop.mu.Lock()
		k.hop.got = nil
		k.hop.mu.Unlock()
		if k.srv.Stats().Panics != 0 {
			t.Fatalf("%q: panic", in)
		}
	})
}
