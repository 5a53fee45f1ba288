package kill

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/test/harness"
)

// certificate makes a self-signed one for gw.example that ends then, as PEM
// of certificate and key. The serial number tells one from another.
func certificate(t *testing.T, serial int64, end time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gw.example"}, DNSNames: []string{"gw.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// TestExpiryWhileRunning (attacks S-44, S-45): a certificate ends while the
// gateway runs. Service goes on, health says so, a restart is no way out and
// no trap, and a new file is taken by a reload and by SIGHUP.
func TestExpiryWhileRunning(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr})
	put := func(serial int64, end time.Time) {
		t.Helper()
		cert, key := certificate(t, serial, end)
		replace(t, w.certs.KeyFile, key)
		replace(t, w.certs.CertFile, cert)
	}
	strict := func() (string, bool) {
		out, code := w.Run("health", "--strict", "--config", w.Config)
		return out, code == 0
	}
	serve := func(when string, serial int64) {
		t.Helper()
		c := harness.Greeted(t, w.Inbound)
		s := c.StartTLS(anyCertificate())
		if got := s.PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("%s: certificate %d is shown, want %d", when, got, serial)
		}
		if r := c.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
			t.Errorf("%s: mail under TLS gets %s", when, r)
		}
		in, err := w.submitAs(t, anyCertificate())
		if err != nil {
			t.Fatalf("%s: submission: %v", when, err)
		}
		defer in.Close()
		if r := login(in, userName, userPassword); r.Code != 235 {
			t.Errorf("%s: login gets %s", when, r)
		}
	}
	// Certificates count in whole seconds.
	end := time.Now().Add(4 * time.Second).Truncate(time.Second)
	put(1, end)
	w.Start()
	old := harness.Greeted(t, w.Inbound)
	old.StartTLS(anyCertificate())
	serve("before its end", 1)
	harness.Eventually(t, "health --strict does not say that the certificate has expired", func() bool {
		out, ok := strict()
		return !ok && strings.Contains(out, "has expired")
	})
	if time.Now().Before(end) {
		t.Error("it was said before it was so")
	}
	if out, code := w.Run("health", "--config", w.Config); code != 0 {
		t.Errorf("plain health: %s", out)
	}
	serve("after its end", 1)
	if r := old.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
		t.Errorf("a session from before gets %s", r)
	}
	w.command(t, "reload")
	serve("after a reload without a new one", 1)
	w.Stop()
	w.Start()
	serve("after a restart without a new one", 1)

	put(2, time.Now().Add(90*24*time.Hour))
	w.command(t, "reload")
	serve("after a reload with a new one", 2)
	if out, ok := strict(); !ok {
		t.Errorf("health --strict with a new one: %s", out)
	}
	put(3, time.Now().Add(91*24*time.Hour))
	was := w.figure(t, reloadsDone)
	w.Signal(syscall.SIGHUP)
	harness.Eventually(t, "SIGHUP is no reload", func() bool { return w.figure(t, reloadsDone) == was+1 })
	serve("after SIGHUP with a new one", 3)

	// One that has ended already is not taken for the one that works.
	put(4, time.Now().Add(-time.Minute))
	if out, code := w.Run("reload", "--config", w.Config); code != 0 || !strings.Contains(out, "expired") {
		t.Errorf("a reload with one that has ended: %d\n%s", code, out)
	}
	serve("after a reload with one that has ended", 3)
	if _, ok := strict(); ok {
		t.Error("health --strict is content with an expired file")
	}
}
