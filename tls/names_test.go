package tls

import (
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeRSA writes an RSA pair for some names.
func writeRSA(t testing.TB, dir string, names ...string) CertificateConfig {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "rsa"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c := CertificateConfig{filepath.Join(dir, "rsa.pem"), filepath.Join(dir, "rsa.key")}
	put(t, c.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	put(t, c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
	return c
}

func entry(c Config) CertificateConfig { return CertificateConfig{c.CertificateFile, c.KeyFile} }

// namedStore has a default, another name, a wildcard, and an RSA twin of the
// default.
func namedStore(t testing.TB) *Store {
	t.Helper()
	cfg := writePair(t, t.TempDir(), "mx.example.com", time.Now())
	cfg.Certificate = map[string]CertificateConfig{
		"other":  entry(writePair(t, t.TempDir(), "Mail.Other.example", time.Now())),
		"wild":   entry(writePair(t, t.TempDir(), "*.wild.example", time.Now())),
		"exact":  entry(writePair(t, t.TempDir(), "exact.wild.example", time.Now())),
		"rsa":    writeRSA(t, t.TempDir(), "mx.example.com"),
		"shadow": entry(writePair(t, t.TempDir(), "exact.wild.example", time.Now())),
	}
	return mustLoad(t, cfg, "", time.Now())
}

// Which certificate a server name gets, odd and hostile ones too (S-40): there
// is always one, and never an alert.
func TestServerNameTable(t *testing.T) {
	s := namedStore(t)
	for name, want := range map[string]string{
		"":                                    "mx.example.com",
		"mx.example.com":                      "mx.example.com",
		"MX.Example.COM":                      "mx.example.com",
		"mail.other.example":                  "mail.other.example",
		"MAIL.OTHER.EXAMPLE":                  "mail.other.example",
		"a.wild.example":                      "*.wild.example",
		"exact.wild.example":                  "exact.wild.example",
		"a.b.wild.example":                    "mx.example.com", // a star is one label
		"wild.example":                        "mx.example.com",
		".wild.example":                       "mx.example.com",
		"*.wild.example":                      "*.wild.example",
		"*":                                   "mx.example.com",
		".":                                   "mx.example.com",
		"..":                                  "mx.example.com",
		"mx.example.com\x00.evil.example":     "mx.example.com",
		"mail.other.example\x00":              "mx.example.com",
		"\x00":                                "mx.example.com",
		"127.0.0.1":                           "mx.example.com",
		"[::1]":                               "mx.example.com",
		"unknown.example":                     "mx.example.com",
		"mail.other.example\r\nEHLO x":        "mx.example.com",
		"\u212Aail.other.example":             "mx.example.com", // Kelvin sign
		"\xff\xfe":                            "mx.example.com",
		"../../etc/passwd":                    "mx.example.com",
		strings.Repeat("a", 60000):            "mx.example.com",
		strings.Repeat("a.", 200) + "example": "mx.example.com",
	} {
		cert := s.choice.Load().pick(&stdtls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{stdtls.VersionTLS13},
			SignatureSchemes: []stdtls.SignatureScheme{stdtls.ECDSAWithP256AndSHA256}, CipherSuites: []uint16{stdtls.TLS_AES_128_GCM_SHA256}})
		if got := namesOf(cert); len(got) != 1 || got[0] != want {
			t.Errorf("%.60q: certificate of %q, want %q", name, got, want)
		}
	}
	// Two of one name: the order of the configuration decides, always.
	first := s.choice.Load().names["exact.wild.example"][0]
	for range 20 {
		if again := mustLoad(t, s.cfg, "", time.Now()); !again.choice.Load().names["exact.wild.example"][0].Leaf.Equal(first.Leaf) {
			t.Fatal("the order changes")
		}
	}
}

// Over the wire: names choose, and a client without ECDSA gets the RSA twin.
func TestNamesAndKindsOverTheWire(t *testing.T) {
	s := namedStore(t)
	addr := echo(t, s.ServerConfig("mx"))
	for _, c := range []struct {
		name, want string
		suites     []uint16
		rsa        bool
	}{
		{"mx.example.com", "mx.example.com", nil, false},
		{"mail.other.example", "mail.other.example", nil, false},
		{"x.wild.example", "*.wild.example", nil, false},
		{"unknown.example", "mx.example.com", nil, false},
		{"127.0.0.1", "mx.example.com", nil, false},
		{"mx.example.com", "mx.example.com", []uint16{stdtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, true},
		{"unknown.example", "mx.example.com", []uint16{stdtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, true},
	} {
		client := &stdtls.Config{ServerName: c.name, CipherSuites: c.suites}
		if c.suites != nil {
			client.MaxVersion = stdtls.VersionTLS12
		}
		conn, err := dial(addr, client)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		_, isRSA := leaf.PublicKey.(*rsa.PublicKey)
		if !strings.EqualFold(leaf.DNSNames[0], c.want) || isRSA != c.rsa {
			t.Errorf("%s: got %v, RSA %v", c.name, leaf.DNSNames, isRSA)
		}
		conn.Close()
	}
}

// Without a default file the table for the host name is the default, and only
// without one a self-signed certificate is made.
func TestDefaultWithoutAFile(t *testing.T) {
	cfg := Default()
	cfg.Certificate = map[string]CertificateConfig{
		"a": entry(writePair(t, t.TempDir(), "a.example.com", time.Now())),
		"m": entry(writePair(t, t.TempDir(), "mx.example.com", time.Now())),
	}
	s := mustLoad(t, cfg, t.TempDir(), time.Now())
	if s.SelfSigned() || s.fallback().DNSNames[0] != "mx.example.com" || len(s.Certificates()) != 2 {
		t.Errorf("%+v", s.Certificates())
	}
	delete(cfg.Certificate, "m")
	s = mustLoad(t, cfg, t.TempDir(), time.Now())
	if !s.SelfSigned() || len(s.Certificates()) != 2 || shown(t, echo(t, s.ServerConfig("mx")), "a.example.com") != s.pairs[0].cert.Leaf.SerialNumber.String() {
		t.Errorf("%+v", s.Certificates())
	}
}

func TestValidateCertificates(t *testing.T) {
	c := Default()
	c.Certificate = map[string]CertificateConfig{"x": {CertificateFile: "/x.pem"}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "certificate.x.key_file: is missing") {
		t.Error(err)
	}
}
