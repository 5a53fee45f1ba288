package tls

import (
	"crypto/ecdsa"
	stdtls "crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a new pair as two files and gives their names.
func writePair(t testing.TB, dir, hostname string, made time.Time) Config {
	t.Helper()
	pair, err := makePair(hostname, made)
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.CertificateFile, c.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	key, rest := pem.Decode(pair)
	put(t, c.KeyFile, pem.EncodeToMemory(key), 0o600)
	put(t, c.CertificateFile, rest, 0o644)
	return c
}

func put(t testing.TB, name string, data []byte, mode os.FileMode) {
	t.Helper()
	os.Remove(name)
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustLoad(t testing.TB, c Config, dir string, now time.Time) *Store {
	t.Helper()
	s, err := load(c, "mx.example.com", dir, at(now))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(c Config, hostname, dir string, now func() time.Time) (*Store, error) {
	return New(Options{Config: c, Hostname: hostname, StateDir: dir, Now: now})
}

// at is a clock that stands still.
func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// echo serves TLS with the configuration until the test ends: it sends one
// octet, then what it receives.
func echo(t *testing.T, c *stdtls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				tc := stdtls.Server(conn, c)
				if _, err := tc.Write([]byte{'!'}); err == nil {
					io.Copy(tc, tc)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// dial makes a session and reads its first octet, after which a TLS 1.3
// client has its ticket.
func dial(addr string, c *stdtls.Config) (*stdtls.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c = c.Clone()
	c.InsecureSkipVerify = true
	if c.ServerName == "" {
		c.ServerName = "mx.example.com"
	}
	tc := stdtls.Client(conn, c)
	tc.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.ReadFull(tc, make([]byte, 1)); err != nil {
		conn.Close()
		return nil, err
	}
	return tc, nil
}

func TestSelfSignedFirstStartAndRestart(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s := mustLoad(t, Default(), dir, now)
	file := filepath.Join(dir, "tls", pairName)
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	leaf := s.fallback()
	if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("key is a %T", leaf.PublicKey)
	}
	if err := leaf.VerifyHostname("mx.example.com"); err != nil {
		t.Error(err)
	}
	if w := s.Warnings(); len(w) != 0 || !s.SelfSigned() {
		t.Errorf("warnings %q", w)
	}
	first := get(t, file)
	mustLoad(t, Default(), dir, now.Add(300*24*time.Hour))
	if string(get(t, file)) != string(first) {
		t.Error("a restart made a new certificate")
	}
	entries, _ := os.ReadDir(filepath.Join(dir, "tls"))
	if len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestSelfSignedIsMadeAnew(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		later time.Duration
		spoil func(t *testing.T, file string)
		host  string
	}{
		"less than 30 days left": {later: validity - renewBefore + time.Hour},
		"expired":                {later: 2 * validity},
		"empty file":             {spoil: func(t *testing.T, f string) { put(t, f, nil, 0o600) }},
		"half of it":             {spoil: func(t *testing.T, f string) { b := get(t, f); put(t, f, b[:len(b)/2], 0o600) }},
		"key was readable":       {spoil: func(t *testing.T, f string) { os.Chmod(f, 0o644) }},
		"another host name":      {host: "other.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old := mustLoad(t, Default(), dir, now)
			if c.spoil != nil {
				c.spoil(t, filepath.Join(dir, "tls", pairName))
			}
			host := c.host
			if host == "" {
				host = "mx.example.com"
			}
			s, err := load(Default(), host, dir, func() time.Time { return now.Add(c.later) })
			if err != nil {
				t.Fatal(err)
			}
			if s.fallback().Equal(old.fallback()) {
				t.Error("still the old one")
			}
			if w := s.Warnings(); len(w) != 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

func TestSelfSignedNames(t *testing.T) {
	for _, host := range []string{"", "192.0.2.1", "2001:db8::1", "gw_1.example.com", strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".example.com"} {
		dir := t.TempDir()
		a, err := load(Default(), host, dir, time.Now)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		b, err := load(Default(), host, dir, time.Now)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		if !a.fallback().Equal(b.fallback()) {
			t.Errorf("%q: made anew on restart", host)
		}
	}
}

// A running self-signed pair is renewed by Reload; when the folder cannot be
// written the old one stays.
func TestSelfSignedReload(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := load(Default(), "h", dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	old := s.Expiry()
	now = now.Add(validity - time.Hour)
	file := filepath.Join(dir, "tls", pairName)
	kept := get(t, file)
	os.RemoveAll(filepath.Join(dir, "tls"))
	put(t, filepath.Join(dir, "tls"), nil, 0o600) // a file where the folder should be
	if err := s.Reload(); err == nil || !s.Expiry().Equal(old) {
		t.Errorf("err %v, expiry %v", err, s.Expiry())
	}
	os.Remove(filepath.Join(dir, "tls"))
	os.Mkdir(filepath.Join(dir, "tls"), 0o700)
	put(t, file, kept, 0o600)
	if err := s.Reload(); err != nil || !s.Expiry().After(old) {
		t.Errorf("err %v, expiry %v", err, s.Expiry())
	}
}

// What is wrong with new files is told, and the old pair goes on.
func TestReloadKeepsTheOldPair(t *testing.T) {
	now := time.Now()
	other := writePair(t, t.TempDir(), "mx.example.com", now)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, c Config)
		want  string
	}{
		"mismatch": {func(t *testing.T, c Config) { put(t, c.KeyFile, get(t, other.KeyFile), 0o600) }, "does not match"},
		"half certificate": {func(t *testing.T, c Config) {
			b := get(t, c.CertificateFile)
			put(t, c.CertificateFile, b[:len(b)/2], 0o644)
		}, "cert.pem"},
		"half key":     {func(t *testing.T, c Config) { b := get(t, c.KeyFile); put(t, c.KeyFile, b[:len(b)/2], 0o600) }, "key.pem"},
		"empty":        {func(t *testing.T, c Config) { put(t, c.CertificateFile, nil, 0o644) }, "empty"},
		"missing key":  {func(t *testing.T, c Config) { os.Remove(c.KeyFile) }, "no such file"},
		"readable key": {func(t *testing.T, c Config) { os.Chmod(c.KeyFile, 0o644) }, "0644"},
		"writable key": {func(t *testing.T, c Config) { os.Chmod(c.KeyFile, 0o602) }, "0602"},
		"a folder":     {func(t *testing.T, c Config) { os.Remove(c.KeyFile); os.Mkdir(c.KeyFile, 0o700) }, "not a regular file"},
		"huge":         {func(t *testing.T, c Config) { put(t, c.CertificateFile, make([]byte, maxFile+1), 0o644) }, "larger than"},
		"not PEM":      {func(t *testing.T, c Config) { put(t, c.CertificateFile, []byte("hello"), 0o644) }, "cert.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := writePair(t, t.TempDir(), "mx.example.com", now)
			s := mustLoad(t, cfg, "", now)
			old := s.fallback()
			c.spoil(t, cfg)
			err := s.Reload()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if s.fallback() != old || s.Fault() == nil {
				t.Error("the pair was replaced")
			}
			if strings.Contains(err.Error(), "PRIVATE") {
				t.Error("the error shows the file")
			}
			// A reload of the whole configuration keeps it as well.
			again, err := New(Options{Config: cfg, Hostname: "mx.example.com", StateDir: t.TempDir(), Old: s})
			if err != nil || again.fallback() != old || again.Fault() == nil || again.SelfSigned() {
				t.Errorf("a store in its place: %v", err)
			}
			if err := Check(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		minimum string
		client  uint16
		ok      bool
	}{
		{"1.2", stdtls.VersionTLS10, false}, {"1.2", stdtls.VersionTLS11, false}, {"1.2", stdtls.VersionTLS12, true},
		{"1.2", stdtls.VersionTLS13, true}, {"1.3", stdtls.VersionTLS12, false}, {"1.3", stdtls.VersionTLS13, true},
	} {
		cfg := Default()
		cfg.MinVersion = c.minimum
		s := mustLoad(t, cfg, t.TempDir(), time.Now())
		conn, err := dial(echo(t, s.ServerConfig("mx")), &stdtls.Config{MinVersion: stdtls.VersionTLS10, MaxVersion: c.client})
		if (err == nil) != c.ok {
			t.Errorf("minimum %s, client %x: %v", c.minimum, c.client, err)
		}
		if err == nil {
			proto, cipher := Describe(conn.ConnectionState())
			if want := map[uint16]string{stdtls.VersionTLS12: "TLSv1.2", stdtls.VersionTLS13: "TLSv1.3"}[c.client]; proto != want || !strings.HasPrefix(cipher, "TLS_") {
				t.Errorf("%s %s", proto, cipher)
			}
			conn.Close()
		}
	}
}

// An unknown or missing server name gets the certificate all the same.
func TestServerNames(t *testing.T) {
	s := mustLoad(t, Default(), t.TempDir(), time.Now())
	addr := echo(t, s.ServerConfig("mx"))
	for _, name := range []string{"unknown.example", "127.0.0.1"} {
		c, err := dial(addr, &stdtls.Config{ServerName: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
	}
}

// An expired certificate is told of and used (S-45).
func TestExpiry(t *testing.T) {
	made := time.Now()
	cfg := writePair(t, t.TempDir(), "mx.example.com", made)
	for _, c := range []struct {
		now  time.Time
		want string
	}{
		{made, ""},
		{made.Add(validity - warnBefore + time.Hour), "in 13 days"},
		{made.Add(validity + time.Hour), "has expired"},
		{made.Add(-48 * time.Hour), "not valid before"},
	} {
		s := mustLoad(t, cfg, "", c.now)
		got := strings.Join(s.Warnings(), "|")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.now, got, c.want)
		}
		conn, err := dial(echo(t, s.ServerConfig("mx")), &stdtls.Config{})
		if err != nil {
			t.Errorf("%v: %v", c.now, err)
			continue
		}
		conn.Close()
	}
	s, err := load(cfg, "elsewhere.example.com", "", time.Now)
	if err != nil || !strings.Contains(strings.Join(s.Warnings(), "|"), "not for the host name") {
		t.Errorf("%v %v", err, s.Warnings())
	}
}

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{CertificateFile: "x", MinVersion: "1.1"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "key_file") || !strings.Contains(err.Error(), "min_version") {
		t.Errorf("not both faults: %v", err)
	}
	if _, err := Load(Config{}, "h", t.TempDir()); err == nil {
		t.Error("an invalid configuration was loaded")
	}
}
