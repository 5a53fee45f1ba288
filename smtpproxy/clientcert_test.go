package smtpproxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

// authority is a test authority.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t, cert, key, filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return a
}

// client makes a certificate that change has altered.
func (a *authority) client(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ana\x1b[31m"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// newCertKit is a listener that asks for certificates.
func newCertKit(t *testing.T, ca string, prints ...string) *kit {
	t.Helper()
	return newKit(t, "outbound", func(_ *Settings, l *Listener) {
		l.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		l.TLS, l.ClientCAFile, l.ClientCerts = testTLS(t), ca, prints
		if err := l.ClientAuth(); err != nil {
			t.Fatal(err)
		}
	})
}

// with goes under TLS with a certificate, and gives the state of the session.
func (k *kit) with(cert *tls.Certificate, cache tls.ClientSessionCache, version uint16) (*client, *tls.Conn) {
	k.t.Helper()
	c := k.hello()
	c.do("220", "STARTTLS")
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: version, ServerName: "mx", ClientSessionCache: cache,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil
		}}
	tc := tls.Client(c.Conn, cfg)
	if err := tc.Handshake(); err != nil {
		k.t.Fatal(err)
	}
	c = &client{t: k.t, Conn: tc, r: bufio.NewReader(tc)}
	c.do("250", "EHLO client.example")
	return c, tc
}

// mayRelay wants the session to be let in, or refused at MAIL.
func (c *client) mayRelay(want bool) {
	c.t.Helper()
	if !want {
		c.do("530 5.7.0 Authentication required", "MAIL FROM:<a@x.example>")
		return
	}
	c.do("250", "MAIL FROM:<a@x.example>")
	c.do("250", "RCPT TO:<x@elsewhere.example>")
	c.do("250", "RSET")
}

func TestClientCertificateByFingerprint(t *testing.T) {
	ca := newAuthority(t, "any")
	good, other := ca.client(nil), ca.client(nil)
	k := newCertKit(t, "", "SHA256 Fingerprint="+strings.ToUpper(fingerprint(good)))
	log := k.logTo()
	var id mail.Identity
	k.policy.rcpt = func(tx *mail.Transaction, _ mail.Recipient) mail.Decision {
		k.policy.mu.Lock()
		defer k.policy.mu.Unlock()
		id = tx.Identity
		return mail.Decision{}
	}
	c, _ := k.with(&good, nil, tls.VersionTLS13)
	c.mayRelay(true)
	k.policy.mu.Lock()
	if want := "cert/" + fingerprint(good)[:32]; id.User != want || id.Source != "certificate" {
		t.Errorf("identity %+v, want %s", id, want)
	}
	k.policy.mu.Unlock()
	if open := k.open(); len(open) != 1 || open[0].s.Trusted || open[0].s.Proto != "ESMTPS" {
		t.Error("a certificate earns relaying alone")
	}
	c.do("221", "QUIT")
	b := string(wholeLog(t, log))
	for _, want := range []string{"client certificate accepted fingerprint=\"" + fingerprint(good), "Trusted TLS connection established from"} {
		if !strings.Contains(b, want) {
			t.Errorf("no %q in:\n%s", want, b)
		}
	}
	if strings.Contains(b, "\x1b") {
		t.Error("the subject is not escaped")
	}
	c, _ = k.with(&other, nil, tls.VersionTLS12)
	c.mayRelay(false)
	c, _ = k.with(nil, nil, tls.VersionTLS13)
	c.mayRelay(false)
}

// Pinned by the operator: whatever its dates, its purpose and its issuer.
func TestPinnedCertificateMayBeOld(t *testing.T) {
	old := newAuthority(t, "any").client(func(c *x509.Certificate) {
		c.NotAfter, c.ExtKeyUsage = time.Now().Add(-time.Minute), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	k := newCertKit(t, "", fingerprint(old))
	c, _ := k.with(&old, nil, tls.VersionTLS13)
	c.mayRelay(true)
}

func TestClientCertificateByAuthority(t *testing.T) {
	ca, evil := newAuthority(t, "ours"), newAuthority(t, "ours") // the same name
	k := newCertKit(t, ca.file)
	log := k.logTo()
	past := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	future := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	}
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for _, x := range []struct {
		name string
		cert tls.Certificate
		want bool
	}{
		{"good", ca.client(nil), true}, {"of another authority with that name", evil.client(nil), false},
		{"expired", ca.client(past), false}, {"not yet", ca.client(future), false}, {"of a server", ca.client(server), false},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				c, _ := k.with(&x.cert, nil, v)
				c.mayRelay(x.want)
				c.do("221", "QUIT")
			}
		})
	}
	b := string(wholeLog(t, log))
	if !strings.Contains(b, "client certificate earns nothing here") || strings.Contains(b, "\x1b") {
		t.Errorf("log:\n%s", b)
	}
}

// S-41: a resumed session is judged anew, and a ticket from before the
// certificate was taken off the list, or without one, earns nothing.
func TestResumptionIsJudgedAnew(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca := newAuthority(t, "any")
		cert := ca.client(nil)
		k := newCertKit(t, "", fingerprint(cert))
		cache := tls.NewLRUClientSessionCache(4)
		c, _ := k.with(&cert, cache, v)
		c.mayRelay(true)
		c.do("221", "QUIT")
		c, tc := k.with(&cert, cache, v)
		if !tc.ConnectionState().DidResume {
			t.Error("not resumed: the test shows nothing")
		}
		c.mayRelay(true)
		c.do("221", "QUIT")
		// A reload takes the certificate off the list; the tickets stay good.
		ln := *k.set.Listeners["test"]
		ln.certs = &clientCerts{fingerprints: map[[32]byte]bool{{1}: true}, now: time.Now}
		set := *k.set
		set.Listeners = map[string]*Listener{"test": &ln}
		if err := k.srv.Apply(&set); err != nil {
			t.Fatal(err)
		}
		c, tc = k.with(&cert, cache, v)
		if !tc.ConnectionState().DidResume {
			t.Error("not resumed: the test shows nothing")
		}
		c.mayRelay(false)
		// A ticket of a session without certificate.
		if err := k.srv.Apply(k.set); err != nil {
			t.Fatal(err)
		}
		cache = tls.NewLRUClientSessionCache(4)
		c, _ = k.with(nil, cache, v)
		c.mayRelay(false)
		c.do("221", "QUIT")
		c, _ = k.with(nil, cache, v)
		c.mayRelay(false)
	}
}

// S-41: the ticket of another listener is nothing here.
func TestTicketOfAnotherListener(t *testing.T) {
	cert := newAuthority(t, "any").client(nil)
	one, two := newCertKit(t, "", fingerprint(cert)), newCertKit(t, "", fingerprint(cert))
	cache := tls.NewLRUClientSessionCache(4)
	c, _ := one.with(&cert, cache, tls.VersionTLS13)
	c.do("221", "QUIT")
	c, tc := two.with(nil, cache, tls.VersionTLS13)
	if tc.ConnectionState().DidResume {
		t.Error("resumed")
	}
	c.mayRelay(false)
}

// A certificate and a password: the login is the password's, and a wrong one
// takes nothing away.
func TestCertificateAndPassword(t *testing.T) {
	cert := newAuthority(t, "any").client(nil)
	k, _ := newAuthKit(t, func(_ *Settings, l *Listener) {
		l.ClientCerts = []string{fingerprint(cert)}
		if err := l.ClientAuth(); err != nil {
			t.Fatal(err)
		}
	})
	c, _ := k.with(&cert, nil, tls.VersionTLS13)
	c.do("535", "AUTH PLAIN "+b64("\x00ana\x00x"))
	c.mayRelay(true)
	c.do("235", "AUTH PLAIN "+anaPlain)
	if open := k.open(); len(open) != 1 || open[0].identity() != (mail.Identity{User: "ana", Source: "auth"}) {
		t.Error("identity")
	}
	c, _ = k.with(nil, nil, tls.VersionTLS13)
	c.do("235", "AUTH PLAIN "+anaPlain)
}

// The configuration of TLS that others use is not changed.
func TestClientAuthCopies(t *testing.T) {
	shared := testTLS(t)
	l := &Listener{ListenerConfig: DefaultListener("outbound"), TLS: shared}
	if err := l.ClientAuth(); err != nil || l.TLS != shared || l.certs != nil {
		t.Error("changed without keys")
	}
	l.ClientCAFile = newAuthority(t, "x").file
	if err := l.ClientAuth(); err != nil || l.TLS == shared || shared.ClientAuth != tls.NoClientCert || l.TLS.ClientCAs == nil {
		t.Errorf("%v", err)
	}
}

func TestClientAuthProblems(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chmod(p, mode)
		return p
	}
	good, _ := os.ReadFile(newAuthority(t, "x").file)
	for want, change := range map[string]func(*Listener){
		"client_certificates: there is no TLS":   func(l *Listener) { l.TLS, l.ClientCAFile = nil, "/x" },
		"no such file":                           func(l *Listener) { l.ClientCAFile = dir + "/none" },
		"is not a regular file":                  func(l *Listener) { l.ClientCAFile = dir },
		"has no certificate":                     func(l *Listener) { l.ClientCAFile = file("a", "junk", 0o644) },
		"can be changed by everybody":            func(l *Listener) { l.ClientCAFile = file("b", string(good), 0o666) },
		"larger than 1 MB":                       func(l *Listener) { l.ClientCAFile = file("c", strings.Repeat("x", 2<<20), 0o644) },
		"client_certificates: \"zz\" is not a S": func(l *Listener) { l.ClientCerts = []string{"zz"} },
	} {
		l := &Listener{ListenerConfig: DefaultListener("outbound"), TLS: testTLS(t)}
		change(l)
		if err := l.ClientAuth(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// The three forms that openssl's users have, from the real openssl.
func TestFingerprintOfOpenSSL(t *testing.T) {
	ca := newAuthority(t, "x")
	out, err := exec.Command("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", ca.file).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(ca.cert.Raw)
	line := strings.TrimSpace(string(out))
	_, colons, _ := strings.Cut(line, "=")
	for _, text := range []string{line, colons, strings.ToLower(colons), strings.ReplaceAll(colons, ":", "")} {
		if got, err := parseFingerprint(text); err != nil || got != want {
			t.Errorf("%q: %x %v", text, got, err)
		}
	}
}

// FuzzFingerprint: what is read is written the one way and read again.
func FuzzFingerprint(f *testing.F) {
	f.Add(strings.Repeat("ab", 32))
	f.Add("sha256 Fingerprint=" + strings.Repeat("AB:", 31) + "AB")
	f.Add("::")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFingerprint(text)
		if err != nil {
			var p Problem
			if !errors.As(err, &p) || strings.ContainsAny(p.Error(), "\n\x1b") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := parseFingerprint(hex.EncodeToString(got[:]))
		if err != nil || again != got {
			t.Errorf("%q", text)
		}
	})
}
