package tls

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// No files keep a gateway from its start: a named pair is left out, the
// default one has the self-signed certificate in its place, all of it is told,
// and Poll takes them as soon as they are good (attacks S-44).
func TestStartWithBrokenPairs(t *testing.T) {
	now := time.Now()
	other := writePair(t, t.TempDir(), "mx.example.com", now)
	for name, spoil := range map[string]func(c Config){
		"missing":          func(c Config) { os.Remove(c.CertificateFile); os.Remove(c.KeyFile) },
		"missing key":      func(c Config) { os.Remove(c.KeyFile) },
		"mismatch":         func(c Config) { put(t, c.KeyFile, get(t, other.KeyFile), 0o600) },
		"half":             func(c Config) { put(t, c.CertificateFile, get(t, c.CertificateFile)[:100], 0o644) },
		"empty":            func(c Config) { put(t, c.CertificateFile, nil, 0o644) },
		"folder":           func(c Config) { os.Remove(c.KeyFile); os.Mkdir(c.KeyFile, 0o700) },
		"certificate, key": func(c Config) { put(t, c.CertificateFile, get(t, c.KeyFile), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := t.TempDir(), t.TempDir()
			cfg := writePair(t, a, "mx.example.com", now)
			more := writePair(t, b, "b.example.com", now)
			cfg.Certificate = map[string]CertificateConfig{"b": entry(more)}
			spoil(cfg)
			spoil(more)
			state := t.TempDir()
			s := mustLoad(t, cfg, state, now)
			if f := s.Faults(); !s.SelfSigned() || len(s.Certificates()) != 1 || len(f) != 2 || f[0].Name != "" || f[1].Name != "b" ||
				!strings.Contains(f[0].Err.Error(), "stands in") || !strings.Contains(f[1].Err.Error(), "left out") {
				t.Fatalf("%+v, %+v", s.Certificates(), f)
			}
			if w := strings.Join(s.Warnings(), "|"); !strings.Contains(w, a) || !strings.Contains(w, b) || strings.Contains(w, "PRIVATE") {
				t.Errorf("warnings %q", w)
			}
			addr := echo(t, s.ServerConfig("mx"))
			own := shown(t, addr, "mx.example.com")
			if shown(t, addr, "b.example.com") != own {
				t.Error("the name of the pair that is left out gets another certificate")
			}
			if changed, err := s.Poll(); changed || err != nil {
				t.Errorf("a minute later: %v, %v", changed, err)
			}
			// A reload meanwhile changes nothing.
			again, err := New(Options{Config: cfg, Hostname: "mx.example.com", StateDir: state, Old: s})
			if err != nil || !again.fallback().Equal(s.fallback()) {
				t.Errorf("a reload: %v", err)
			}
			for _, dir := range []string{a, b} {
				os.RemoveAll(filepath.Join(dir, "key.pem"))
			}
			writePair(t, b, "b.example.com", now)
			if changed, err := s.Poll(); !changed || err == nil || shown(t, addr, "b.example.com") == own || shown(t, addr, "mx.example.com") != own {
				t.Errorf("the named pair is good: %v, %v", changed, err)
			}
			writePair(t, a, "mx.example.com", now)
			if changed, err := s.Poll(); !changed || err != nil || s.SelfSigned() || shown(t, addr, "mx.example.com") == own {
				t.Errorf("both are good: %v, %v", changed, err)
			}
			if len(s.Certificates()) != 2 || s.Fault() != nil || len(s.Warnings()) != 0 {
				t.Errorf("%+v, %q", s.Certificates(), s.Warnings())
			}
		})
	}
}

// A good pair of the host name stands in for a broken default before a
// self-signed one does.
func TestNamedPairStandsIn(t *testing.T) {
	now := time.Now()
	cfg := writePair(t, t.TempDir(), "mx.example.com", now)
	cfg.Certificate = map[string]CertificateConfig{"m": entry(writePair(t, t.TempDir(), "mx.example.com", now))}
	os.Remove(cfg.CertificateFile)
	dir := t.TempDir()
	s := mustLoad(t, cfg, dir, now)
	if _, err := os.Stat(filepath.Join(dir, "tls")); s.SelfSigned() || s.first.name != "m" || err == nil {
		t.Errorf("%+v", s.Certificates())
	}
}

// A self-signed certificate that the disk does not take is kept in memory, and
// written when there is room.
func TestSelfSignedInMemory(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "tls"), nil, 0o600) // a file where the folder should be
	s := mustLoad(t, Default(), dir, time.Now())
	if s.Fault() == nil || !strings.Contains(s.Fault().Error(), "memory") || !s.SelfSigned() {
		t.Errorf("%v", s.Fault())
	}
	shown(t, echo(t, s.ServerConfig("mx")), "mx.example.com")
	os.Remove(filepath.Join(dir, "tls"))
	if changed, err := s.Poll(); !changed || err != nil || s.Fault() != nil {
		t.Errorf("%v, %v, %v", changed, err, s.Fault())
	}
	if _, err := os.Stat(filepath.Join(dir, "tls", pairName)); err != nil {
		t.Error(err)
	}
}

// A path that hangs on the folder of the start is a mistake of the
// configuration.
func TestRelativePaths(t *testing.T) {
	c := Default()
	c.CertificateFile, c.KeyFile = "cert.pem", "/key.pem"
	c.Certificate = map[string]CertificateConfig{"x": {"/c.pem", "k.pem"}}
	err := c.Validate()
	if err == nil || !strings.Contains(err.Error(), `certificate_file: "cert.pem"`) || !strings.Contains(err.Error(), `certificate.x.key_file: "k.pem"`) {
		t.Error(err)
	}
}
