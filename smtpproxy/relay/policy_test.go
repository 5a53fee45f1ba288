package relay

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// TestImplicitTLS: smtps:// under each policy; it never becomes clear text.
func TestImplicitTLS(t *testing.T) {
	now := time.Now().Add(-time.Minute)
	good, roots := certificate(t, now, "127.0.0.1")
	other, _ := certificate(t, now, "127.0.0.1")
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS11
	for name, r := range map[string]struct {
		cfg     fakehop.Config
		good    string // policies under which mail flows
		urlFrom string
	}{
		"trusted":       {fakehop.Config{TLS: good, Implicit: true}, "may encrypt verify fingerprint", ""},
		"untrusted":     {fakehop.Config{TLS: other, Implicit: true}, "may encrypt", ""},
		"TLS 1.1":       {fakehop.Config{TLS: old, Implicit: true}, "", ""},
		"not TLS":       {fakehop.Config{}, "", "smtps"},
		"closes":        {fakehop.Config{Always: map[string]fakehop.Action{"CONNECT": {Silent: true, Drop: true}}}, "", "smtps"},
		"hangs":         {fakehop.Config{Always: map[string]fakehop.Action{"CONNECT": {Silent: true, Hang: true}}}, "", "smtps"},
		"421 inside it": {fakehop.Config{TLS: good, Implicit: true, Always: map[string]fakehop.Action{"CONNECT": {Reply: "421 4.3.2 no\r\n", Drop: true}}}, "", ""},
	} {
		for _, policy := range []string{"may", "encrypt", "verify", "fingerprint"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				t.Parallel()
				s := start(t, r.cfg)
				c := impatient(strings.Replace(s.URL(), "smtp://", "smtps://", 1))
				c.TLS = policy
				if policy == "fingerprint" {
					sum := sha256.Sum256(good.Certificates[0].Certificate[0])
					c.Fingerprints = []string{hex.EncodeToString(sum[:])}
				}
				h, l := hop(t, c, func(o *Options) { o.RootCAs = roots })
				answers, o := send(t, h, transaction(), "a")
				if strings.Contains(" "+r.good+" ", " "+policy+" ") {
					if o.Kind != mail.Relayed || !s.Accepted()[0].TLS || s.Count("STARTTLS") != 0 || o.TLS == "" {
						t.Errorf("%v %+v", answers, o)
					}
					return
				}
				if answers[0].Code != 451 || len(l.lines) == 0 || s.Count("EHLO") != 0 {
					t.Errorf("%v %q", answers, l.lines)
				}
			})
		}
	}
}

// TestSTARTTLSFaults: every way not to answer STARTTLS; mail never goes out in
// clear text where the policy wants TLS (S-36, B-06).
func TestSTARTTLSFaults(t *testing.T) {
	cfg, _ := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	for name, a := range map[string]fakehop.Action{
		"hang": {Silent: true, Hang: true}, "reset": {Silent: true, Reset: true}, "drop": {Silent: true, Drop: true}, "cut": {Reply: "220 g", Drop: true},
		"nonsense": {Reply: "go\r\n"}, "bare LF": {Reply: "220 go\n"}, "mixed": {Reply: "220-a\r\n454 b\r\n"}, "hang for a handshake": {Hang: true}, "421": {Reply: "421 4.3.2 bye\r\n", Drop: true},
	} {
		for _, policy := range []string{"may", "encrypt"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				t.Parallel()
				s := start(t, fakehop.Config{TLS: cfg, Always: map[string]fakehop.Action{"STARTTLS": a}})
				c := impatient(s.URL())
				c.TLS = policy
				h, l := hop(t, c)
				answers, _ := send(t, h, transaction(), "a")
				// may goes on without it after a failed handshake alone.
				if clear := policy == "may" && name == "hang for a handshake"; clear != (answers[0].Code == 250) || answers[0].Code != 250 && answers[0].Code != 451 {
					t.Errorf("%v", answers)
				}
				if policy == "encrypt" && s.Count("MAIL") > 0 || len(l.lines) == 0 {
					t.Errorf("MAIL or no alert: %q", l.lines)
				}
				eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
			})
		}
	}
}

// TestFingerprint: certificate or public key, in any spelling; nothing else is
// looked at, and a resumed session is looked at too.
func TestFingerprint(t *testing.T) {
	cfg, _ := certificate(t, time.Now().Add(-48*time.Hour), "elsewhere.example") // expired, unknown, another's name
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cert, key := sha256.Sum256(leaf.Raw), sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	colons := strings.ToUpper(hex.EncodeToString(cert[:1]))
	for _, b := range cert[1:] {
		colons += ":" + strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	wrong := strings.Repeat("0", 64)
	for _, tt := range []struct {
		list []string
		want int
	}{
		{[]string{hex.EncodeToString(cert[:])}, 250}, {[]string{"SHA256:" + colons}, 250}, {[]string{wrong, hex.EncodeToString(key[:])}, 250},
		{[]string{wrong}, 451},
	} {
		s := start(t, fakehop.Config{TLS: cfg})
		c := testConfig(s.URL())
		c.TLS, c.Fingerprints, c.MaxUses = "fingerprint", tt.list, 1
		h, l := hop(t, c)
		for range 3 {
			answers, o := send(t, h, transaction(), "a")
			if answers[0].Code != tt.want {
				t.Errorf("%q: %v %q", tt.list, answers, l.lines)
			}
			if tt.want == 250 && !strings.HasSuffix(o.TLS, "(verified)") {
				t.Error(o.TLS)
			}
		}
		if tt.want == 451 && (s.Count("MAIL") > 0 || !l.has(hex.EncodeToString(cert[:]))) {
			t.Errorf("%q", l.lines)
		}
	}
	// Never in clear text (S-36).
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.TLS, c.Fingerprints = "fingerprint", []string{wrong}
	h, _ := hop(t, c)
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || s.Count("MAIL") > 0 {
		t.Error(answers)
	}
	for _, bad := range []string{"", "0", wrong + "0", wrong + "00", wrong[:63], "g" + wrong[1:], "sha256:", ":", strings.Repeat("0", 1<<20)} {
		if _, err := parseFingerprint(bad); err == nil {
			t.Errorf("%.70q was taken", bad)
		}
	}
}

// TestServerName: the certificate is looked at for another name than the URL's.
func TestServerName(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "mx.example")
	s := start(t, fakehop.Config{TLS: cfg})
	for name, want := range map[string]int{"mx.example": 250, "": 451, "other.example": 451} {
		c := testConfig(s.URL())
		c.TLS, c.TLSServerName = "verify", name
		h, _ := hop(t, c, func(o *Options) { o.RootCAs = roots })
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != want {
			t.Errorf("%q: %v", name, answers)
		}
	}
}

// TestTLSLine: Postfix's line for each worth of a certificate.
func TestTLSLine(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	other, otherRoots := certificate(t, time.Now().Add(-time.Minute), "other.example")
	tls12 := cfg.Clone()
	tls12.MaxVersion = tls.VersionTLS12
	tls12.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	for _, tt := range []struct {
		cfg    *tls.Config
		roots  *x509.CertPool
		policy string
		want   []string
	}{
		{cfg, roots, "verify", []string{"Verified TLS connection established to 127.0.0.1[127.0.0.1]:", ", TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits)"}},
		{cfg, roots, "may", []string{"Verified TLS"}},
		{tls12, roots, "encrypt", []string{"Verified TLS", ", TLSv1.2 with cipher TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 (256/256 bits)"}},
		{cfg, x509.NewCertPool(), "encrypt", []string{"Untrusted TLS", "; not verified: x509: certificate signed by unknown authority"}},
		{other, otherRoots, "encrypt", []string{"Trusted TLS", "; not verified: x509: cannot validate certificate for 127.0.0.1"}},
	} {
		s := start(t, fakehop.Config{TLS: tt.cfg})
		c := testConfig(s.URL())
		c.TLS = tt.policy
		h, l := hop(t, c, func(o *Options) { o.RootCAs = tt.roots })
		relayed(t, h, s)
		relayed(t, h, s)
		for _, w := range tt.want {
			if len(l.news) != 1 || !strings.Contains(l.news[0], w) {
				t.Errorf("%q lacks %q", l.news, w)
			}
		}
	}
}

// writePair writes certificate and key as PEM.
func writePair(t *testing.T, c tls.Certificate, mode os.FileMode) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := errors.Join(os.WriteFile(file, pem.EncodeToMemory(b), mode), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestClientCertificate: it is shown when asked for; its key is nobody else's.
func TestClientCertificate(t *testing.T) {
	server, roots := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	own, ownRoots := certificate(t, time.Now().Add(-time.Minute), "gw.example")
	seen := make(chan int, 10)
	server.ClientAuth, server.ClientCAs = tls.RequestClientCert, ownRoots
	server.VerifyConnection = func(s tls.ConnectionState) error { seen <- len(s.PeerCertificates); return nil }
	s := start(t, fakehop.Config{TLS: server})
	c := testConfig(s.URL())
	c.TLS = "verify"
	c.ClientCertificateFile, c.ClientKeyFile = writePair(t, own.Certificates[0], 0o600)
	h, _ := hop(t, c, func(o *Options) { o.RootCAs = roots })
	relayed(t, h, s)
	if n := <-seen; n != 1 {
		t.Errorf("%d certificates were shown", n)
	}
	open := c
	open.ClientCertificateFile, open.ClientKeyFile = writePair(t, own.Certificates[0], 0o644)
	mixed := c
	_, mixed.ClientKeyFile = writePair(t, server.Certificates[0], 0o600)
	none := c
	none.ClientKeyFile = filepath.Join(t.TempDir(), "none")
	folder := c
	folder.ClientKeyFile = t.TempDir()
	for want, c := range map[string]Config{"everybody may read": open, "private key does not match": mixed, "no such file": none, "not a regular file": folder} {
		if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example"}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "client_") {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestCurrent: what its files hold makes a next hop another one: a renewed
// certificate has the name of the old one, a FIFO holds nobody up.
func TestCurrent(t *testing.T) {
	own, _ := certificate(t, time.Now().Add(-time.Minute), "gw.example")
	renewed, _ := certificate(t, time.Now().Add(-time.Minute), "gw.example")
	c := testConfig("smtp://127.0.0.1:10025")
	c.TLS = "verify"
	c.ClientCertificateFile, c.ClientKeyFile = writePair(t, own.Certificates[0], 0o600)
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	authority := func(c tls.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	}
	put := func(file string, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.ReadFile(c.ClientCertificateFile)
	if err != nil {
		t.Fatal(err)
	}
	put(c.CAFile, authority(own.Certificates[0]))
	h, _ := hop(t, c)
	if !h.Current() {
		t.Error("nothing has changed")
	}
	put(c.ClientCertificateFile, authority(renewed.Certificates[0]))
	if h.Current() {
		t.Error("another client certificate")
	}
	put(c.ClientCertificateFile, first)
	if !h.Current() {
		t.Error("the first is back")
	}
	put(c.CAFile, append(authority(own.Certificates[0]), authority(renewed.Certificates[0])...))
	if h.Current() {
		t.Error("another authority")
	}
	if err := errors.Join(os.Remove(c.CAFile), syscall.Mkfifo(c.CAFile, 0o600)); err != nil {
		t.Fatal(err)
	}
	if h.Current() {
		t.Error("a FIFO for the authorities")
	}
	if _, err := New(Options{Name: "n", Config: c, Hostname: "gw.example"}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func TestValidateMore(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		want   string // none: valid
	}{
		{func(c *Config) { c.URL = "lmtp+unix:///run/x" }, ""},
		{func(c *Config) { c.FallbackURLs = []string{"smtps://b.example:465"} }, ""},
		{func(c *Config) { c.FallbackURLs = []string{"lmtp://b.example:24"} }, "SMTP and LMTP"},
		{func(c *Config) { c.FallbackURLs = []string{c.URL} }, "named twice"},
		{func(c *Config) { c.FallbackURLs = []string{""} }, "fallback_urls is missing"},
		{func(c *Config) { c.FallbackURLs = strings.Fields(strings.Repeat("smtp://b.example:25 ", 8)) }, "at most 7"},
		{func(c *Config) { c.Balance = "random" }, "order or round-robin"},
		{func(c *Config) { c.URL, c.TLS = "smtps://a.example:465", "none" }, "TLS from the first octet"},
		{func(c *Config) { c.URL, c.TLS = "lmtp+unix:///run/x", "verify" }, "does not leave this machine"},
		{func(c *Config) { c.TLS = "fingerprint" }, "at least one fingerprint"},
		{func(c *Config) { c.Fingerprints = []string{strings.Repeat("0", 64)} }, "at least one fingerprint"},
		{func(c *Config) { c.TLS, c.Fingerprints = "fingerprint", []string{"12"} }, "no SHA-256"},
		{func(c *Config) { c.TLSServerName = "a b" }, "no host name"},
		{func(c *Config) { c.TLS, c.TLSServerName = "none", "a.example" }, "no use"},
		{func(c *Config) { c.ClientKeyFile = "x" }, "belong together"},
		{func(c *Config) { c.Login = "x" }, "belong together"},
		{func(c *Config) { c.Login, c.Password = "x", "y" }, ""}, // loopback
		{func(c *Config) { c.URL, c.Login, c.Password = "smtp://a.example:25", "x", "y" }, `set tls = "verify"`},
		{func(c *Config) { c.URL, c.Login, c.Password, c.TLS = "smtp://a.example:25", "x", "y", "encrypt" }, ""},
		{func(c *Config) { c.URL, c.Login, c.Password = "smtps://a.example:25", "x", "y" }, ""},
		{func(c *Config) { c.URL, c.Login, c.Password, c.AuthWithoutTLS = "smtp://a.example:25", "x", "y", true }, ""},
		{func(c *Config) { c.Login, c.Password, c.XClient = "x", "y", true }, "xclient = true with login"},
		{func(c *Config) { c.Login, c.Password = "x\x00", "y" }, "without NUL"},
		{func(c *Config) { c.Login, c.Password = "x", strings.Repeat("y", 1001) }, "at most 1000"},
	} {
		c := DefaultConfig()
		c.URL = "smtp://127.0.0.1:10025"
		tt.change(&c)
		err := errors.Join(c.Validate()...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", c, err, tt.want)
		}
	}
	a, b := DefaultConfig(), DefaultConfig()
	if !a.Equal(b) {
		t.Error("equal ones are not")
	}
	if b.FallbackURLs = []string{"x"}; a.Equal(b) {
		t.Error("different ones are equal")
	}
}
