package tls

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFile bounds what is read of a certificate or key file.
	maxFile = 1 << 20
	// warnBefore is how long before the end Warnings begins to speak.
	warnBefore = 14 * 24 * time.Hour
)

// Store holds the certificate in use. It is safe for concurrent use.
type Store struct {
	cfg      Config
	hostname string
	dir      string
	now      func() time.Time
	current  atomic.Pointer[stdtls.Certificate]

	reload  sync.Mutex // one Reload at a time
	mu      sync.Mutex
	configs map[string]*stdtls.Config // by listener
}

// Load reads the certificate files, or the self-signed pair in its folder,
// which is made when there is none. hostname is the name of the self-signed
// certificate; stateDir is where its folder is when the configuration names
// none.
func Load(c Config, hostname, stateDir string) (*Store, error) {
	return load(c, hostname, stateDir, time.Now)
}

func load(c Config, hostname, stateDir string, now func() time.Time) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	s := &Store{cfg: c, hostname: hostname, dir: c.SelfSignedDir, now: now, configs: make(map[string]*stdtls.Config)}
	if s.dir == "" {
		s.dir = filepath.Join(stateDir, "tls")
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files again, or renews a self-signed certificate with less
// than 30 days left. On an error the pair in use stays; sessions that run are
// never touched. Call it on SIGHUP and once a day.
func (s *Store) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	var (
		cert *stdtls.Certificate
		err  error
	)
	if s.cfg.CertificateFile != "" {
		cert, err = readPair(s.cfg.CertificateFile, s.cfg.KeyFile)
	} else {
		cert, err = s.selfSigned()
	}
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	s.current.Store(cert)
	return nil
}

// ServerConfig gives the configuration for a listener, the same one each time
// for the same name. Each listener has ticket keys of its own, so a session
// of one is never resumed on another, whose policy may differ; do not change
// or clone the value, a clone shares the keys. The keys are
// made and renewed by crypto/tls (daily, kept for a week); the state of a
// session travels in its ticket, so no memory grows here.
func (s *Store) ServerConfig(listener string) *stdtls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.configs[listener]; c != nil {
		return c
	}
	minimum := uint16(stdtls.VersionTLS12)
	if s.cfg.MinVersion == "1.3" {
		minimum = stdtls.VersionTLS13
	}
	c := &stdtls.Config{
		MinVersion: minimum,
		// A STARTTLS server gets SNI from few clients; all names get the one
		// certificate, and an unknown name must not end the handshake.
		GetCertificate: func(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
			return s.current.Load(), nil
		},
	}
	s.configs[listener] = c
	return c
}

// Expiry is when the certificate in use ends.
func (s *Store) Expiry() time.Time { return s.current.Load().Leaf.NotAfter }

// SelfSigned tells that no certificate files are configured.
func (s *Store) SelfSigned() bool { return s.cfg.CertificateFile == "" }

// Warnings gives what the operator should know of the certificate in use, one
// sentence each; none is the good case. Mail flows regardless.
func (s *Store) Warnings() []string {
	var w []string
	leaf, now := s.current.Load().Leaf, s.now()
	day := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		w = append(w, "the certificate has expired on "+day)
	case left < warnBefore:
		w = append(w, fmt.Sprintf("the certificate expires on %s, in %d days", day, int(left/(24*time.Hour))))
	}
	if now.Before(leaf.NotBefore) {
		w = append(w, "the certificate is not valid before "+leaf.NotBefore.UTC().Format(time.DateTime)+" UTC: is the clock right?")
	}
	if s.hostname != "" && leaf.VerifyHostname(s.hostname) != nil {
		w = append(w, "the certificate is not for the host name "+s.hostname)
	}
	return w
}

// Describe gives version and cipher in the words of mail logs: "TLSv1.3",
// "TLS_AES_128_GCM_SHA256".
func Describe(cs stdtls.ConnectionState) (proto, cipher string) {
	return strings.Replace(stdtls.VersionName(cs.Version), "TLS ", "TLSv", 1), stdtls.CipherSuiteName(cs.CipherSuite)
}

// readPair reads and checks a certificate with its key.
func readPair(certFile, keyFile string) (*stdtls.Certificate, error) {
	certPEM, _, err := readFile(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, mode, err := readFile(keyFile)
	if err != nil {
		return nil, err
	}
	if mode.Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s: everybody may read or change the private key (mode %04o); chmod 0600 or 0640", keyFile, mode.Perm())
	}
	cert, err := stdtls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
	}
	return &cert, nil
}

// readFile reads a whole regular file, following links as certbot has them.
func readFile(name string) ([]byte, os.FileMode, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !fi.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	case len(b) > maxFile:
		return nil, 0, fmt.Errorf("%s: larger than %d octets", name, maxFile)
	case len(b) == 0:
		return nil, 0, fmt.Errorf("%s: %w", name, errEmpty)
	}
	return b, fi.Mode(), nil
}

var errEmpty = errors.New("the file is empty")
