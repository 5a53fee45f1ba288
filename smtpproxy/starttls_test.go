package smtpproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"bufio"
)

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.our.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func newTLSKit(t *testing.T) *kit {
	return newKit(t, "inbound", func(_ *Settings, l *Listener) { l.TLS = testTLS(t) })
}

// startTLS goes under TLS; the raw client is replaced.
func (c *client) startTLS() *client {
	c.t.Helper()
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return &client{t: c.t, Conn: tc, r: bufio.NewReader(tc)}
}

func TestSTARTTLSBeginsAnew(t *testing.T) {
	k := newTLSKit(t)
	c := k.dial()
	c.want("220")
	c.do("503", "STARTTLS")
	if r := c.do("250", "EHLO x.example"); !strings.Contains(r, "STARTTLS") {
		t.Fatalf("not announced: %q", r)
	}
	c.envelope() // S-34: forgotten by the handshake
	c.do("220", "STARTTLS")
	c = c.startTLS()
	c.do("503", "RCPT TO:<b@our.example>")
	c.do("503", "MAIL FROM:<a@s.example>")
	if r := c.do("250", "EHLO x.example"); strings.Contains(r, "STARTTLS") {
		t.Fatalf("announced again: %q", r)
	}
	c.do("503", "STARTTLS") // S-35
	c.envelope()
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\nx\r\n.")
	got := k.hop.messages()
	if len(got) != 1 || !strings.Contains(string(got[0].data), "with ESMTPS id") || !strings.Contains(string(got[0].data), "(using TLSv1.3 with cipher ") {
		t.Fatalf("%q", got)
	}
}

// S-30: what was injected behind STARTTLS has no effect under TLS.
func TestInjectedPlaintextIsDropped(t *testing.T) {
	k := newTLSKit(t)
	c := k.hello()
	c.send("STARTTLS\r\nMAIL FROM:<i@x.example>\r\nRSET\r\n")
	c.want("220")
	c = c.startTLS()
	c.do("250", "EHLO x.example")
	c.do("503", "RCPT TO:<b@our.example>")
}

// S-32: after a failed handshake nothing is executed, nothing is answered.
func TestFailedHandshakeIsTheEnd(t *testing.T) {
	k := newTLSKit(t)
	c := k.hello()
	c.do("220", "STARTTLS")
	c.send("MAIL FROM:<i@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\n\r\n.\r\n")
	r := c.reply()
	for ; r != ""; r = c.reply() {
		if strings.Contains(r, "250") || strings.Contains(r, "354") {
			t.Fatalf("executed: %q", r)
		}
	}
	if k.hop.begun != 0 || k.srv.Stats().TLSFailed != 1 {
		t.Error("a transaction was begun")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	k := newTLSKit(t)
	c := k.hello()
	c.do("220", "STARTTLS")
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if tc.Handshake() == nil {
		t.Fatal("TLS 1.1 was accepted")
	}
}

func TestRequireTLS(t *testing.T) {
	k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.TLS, l.RequireTLS = testTLS(t), true })
	c := k.hello()
	c.do("530 5.7.0", "MAIL FROM:<a@s.example>")
	c.do("220", "STARTTLS")
	c = c.startTLS()
	c.do("250", "EHLO x.example")
	c.do("250", "MAIL FROM:<a@s.example>")
}

// A message that is uploaded slowly under TLS: the deadline that parks the
// next hop must not break the TLS connection.
func TestParkUnderTLS(t *testing.T) {
	t.Parallel()
	k := newTLSKit(t)
	c := k.hello()
	c.do("220", "STARTTLS")
	c = c.startTLS()
	c.do("250", "EHLO x.example")
	c.envelope()
	c.do("354", "DATA")
	c.send("Subject: x\r\n\r\n")
	eventually(t, "parked", func() bool {
		time.Sleep(10 * time.Millisecond)
		k.hop.mu.Lock()
		defer k.hop.mu.Unlock()
		return k.hop.parks == 1
	})
	c.do("250", "late\r\n.")
}

// A client that stalls in its handshake does not hold up a shutdown.
func TestShutdownDuringHandshake(t *testing.T) {
	k := newTLSKit(t)
	c := k.hello()
	c.do("220", "STARTTLS")
	eventually(t, "in the handshake", func() bool {
		open := k.open()
		return len(open) == 1 && open[0].state.Load() == waiting
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := k.srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
