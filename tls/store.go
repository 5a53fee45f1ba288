package tls

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Store is made from.
type Options struct {
	Config   Config
	Hostname string           // of the self-signed certificate
	StateDir string           // holds its folder when the configuration names none
	Tickets  *Tickets         // nil: keys of its own, which die with it
	Now      func() time.Time // nil: time.Now
	// Old, when set, is what a reload of the configuration replaces: a worse
	// certificate than it has in use, from the same files, is not taken, and
	// what it has in use stays where files cannot be read as a pair.
	Old *Store
}

// Store holds the certificates in use. It is safe for concurrent use.
type Store struct {
	cfg      Config
	hostname string
	dir      string
	now      func() time.Time
	tickets  *Tickets
	choice   atomic.Pointer[choice]

	reload sync.Mutex // one reading at a time; guards pairs
	pairs  []*pair    // in the order of the configuration; one without a certificate is left out
	own    *pair      // the self-signed one; nil until it is needed
	first  *pair      // the default: one of pairs, or own

	mu      sync.Mutex
	configs map[string]*stdtls.Config // by listener
	held    []Certificate             // what pairs are, for those who ask
	faults  []Fault
}

// A Fault is a pair of files that could not be taken as it is.
type Fault struct {
	Name string // of the [tls.certificate.NAME] table; empty: the default, or the self-signed one
	Err  error
}

// A pair is one source with what was last read of it.
type pair struct {
	source
	cert  *stdtls.Certificate // nil: there is none yet
	spare *stdtls.Certificate // of the store that was replaced: used when there is no other
	seen  [2]mark             // of the files, before they were read
	fault error               // of the last reading
}

// Load is New with its own ticket keys and the system's clock.
func Load(c Config, hostname, stateDir string) (*Store, error) {
	return New(Options{Config: c, Hostname: hostname, StateDir: stateDir})
}

// Check reads all configured files and makes nothing. It tells everything
// that New would find wrong with them.
func Check(c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	var errs []error
	for _, src := range c.sources() {
		if _, err := readPair(src.certFile, src.keyFile); err != nil {
			errs = append(errs, fmt.Errorf("tls: %w", err))
		}
	}
	return errors.Join(errs...)
}

// New reads the certificate files, or the self-signed pair in its folder,
// which is made when there is none. Only a configuration that cannot be is an
// error. Whatever files have is no reason for a gateway not to run: what Old
// had in use stays, a named pair without that is left out, and a default one
// has the self-signed pair in its place, which is kept in memory where the disk
// does not take it. Fault tells of it, and Poll takes the files once they are
// good. Files with expired certificates, or a key that everybody can read, are
// used when there is nothing else: no STARTTLS would mean clear text.
func New(o Options) (*Store, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tickets == nil {
		var err error
		if o.Tickets, err = NewTickets(nil, o.Now); err != nil {
			return nil, err
		}
	}
	s := &Store{cfg: o.Config, hostname: o.Hostname, dir: o.Config.SelfSignedDir, now: o.Now,
		tickets: o.Tickets, configs: make(map[string]*stdtls.Config)}
	if s.dir == "" {
		s.dir = filepath.Join(o.StateDir, "tls")
	}
	for _, src := range o.Config.sources() {
		s.pairs = append(s.pairs, o.Old.inUse(src))
	}
	s.read(true) // what it finds is in faults
	if err := s.chooseDefault(); err != nil {
		return nil, err
	}
	s.publish()
	return s, nil
}

// inUse makes a pair with what was last taken from that source, or from others
// of the same name; s may be nil.
func (s *Store) inUse(src source) *pair {
	out := &pair{source: src}
	if s == nil {
		return out
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	for _, p := range s.pairs {
		switch {
		case p.source == src:
			out.cert = p.cert
		case p.name == src.name:
			out.spare = p.cert
		}
	}
	return out
}

// chooseDefault finds the pair for clients that name no server, and makes the
// self-signed one when nothing else fits.
func (s *Store) chooseDefault() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	if s.cfg.CertificateFile != "" && s.pairs[0].cert != nil {
		s.first = s.pairs[0]
		return nil
	}
	if s.first != nil && s.first != s.own {
		return nil // a pair that has a certificate never loses it
	}
	for _, p := range s.pairs {
		if s.hostname != "" && p.cert != nil && p.cert.Leaf.VerifyHostname(s.hostname) == nil {
			s.first = p
			return nil
		}
	}
	if s.own == nil {
		own := &pair{}
		if _, err := s.readOne(own); own.cert == nil {
			if own.cert, err = s.inMemory(); err != nil {
				return fmt.Errorf("tls: %w", err)
			}
		}
		s.own = own
	}
	s.first = s.own
	return nil
}

// wanted are the pairs that should have a certificate, the self-signed one
// first while it is the default.
func (s *Store) wanted() []*pair {
	if s.own == nil || s.own != s.first {
		return s.pairs
	}
	return append([]*pair{s.own}, s.pairs...)
}

// Reload reads all files again, or renews a self-signed certificate with less
// than 30 days left. A pair that cannot be used stays as it was, and the error
// tells of each; the others are taken. Sessions that run are never touched.
// Call it on SIGHUP.
func (s *Store) Reload() error {
	_, err := s.read(true)
	err = together(err, s.chooseDefault())
	s.publish()
	return err
}

// Poll reads the pairs whose files have changed (time, size, inode or mode)
// and those that were bad, renews the self-signed certificate when it is time,
// and saves ticket keys that have changed. changed tells that another
// certificate is in use; the error tells a fault once, Fault as long as it
// lasts. Call it once a minute.
func (s *Store) Poll() (changed bool, err error) {
	before := errorText(s.Fault())
	changed, err = s.read(false)
	err = together(err, s.chooseDefault(), s.tickets.save())
	s.publish()
	if err != nil && errorText(s.Fault()) == before {
		return changed, nil
	}
	return changed, err
}

// together makes one error of several, in one line: it goes into a log record
// and into health.
func together(errs ...error) error {
	var all faults
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

type faults []error

// Error gives all of them.
func (f faults) Error() string {
	out := make([]string, len(f))
	for i, err := range f {
		out[i] = err.Error()
	}
	return strings.Join(out, "; ")
}

// Unwrap gives each of them.
func (f faults) Unwrap() []error { return f }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Fault tells what the files have that could not be taken, until it is mended;
// nil is the good case. Mail flows all the same.
func (s *Store) Fault() error {
	var errs []error
	for _, f := range s.Faults() {
		errs = append(errs, f.Err)
	}
	return together(append(errs, s.tickets.Fault())...)
}

// Faults is Fault for each pair by itself, without the ticket keys.
func (s *Store) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// read reads all pairs, or those that need it.
func (s *Store) read(all bool) (changed bool, err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	var errs []error
	for _, p := range s.wanted() {
		if !all && !s.due(p) {
			continue
		}
		other, err := s.readOne(p)
		changed = changed || other
		if err != nil {
			errs = append(errs, err)
		}
	}
	return changed, together(errs...)
}

func (s *Store) due(p *pair) bool {
	switch {
	case p.fault != nil:
		return true
	case p.selfMade():
		return stale(p.cert.Leaf, s.now())
	}
	return p.seen != [2]mark{markOf(p.certFile), markOf(p.keyFile)}
}

// readOne reads one pair and takes it when it is good.
func (s *Store) readOne(p *pair) (changed bool, err error) {
	var cert *stdtls.Certificate
	// The marks come first: what is written while we read is seen next time.
	if p.selfMade() {
		cert, err = s.selfSigned()
	} else {
		p.seen = [2]mark{markOf(p.certFile), markOf(p.keyFile)}
		cert, err = readPair(p.certFile, p.keyFile)
	}
	if err == nil && p.cert != nil {
		if why := worse(p.cert.Leaf, cert.Leaf, s.now()); why != nil {
			err = fmt.Errorf("%s: %w", p.certFile, why)
		}
	}
	if err == nil {
		changed = p.cert == nil || !p.cert.Leaf.Equal(cert.Leaf)
		p.cert, p.fault = cert, nil
		return changed, nil
	}
	if p.cert == nil {
		p.cert = p.spare
	}
	err = fmt.Errorf("tls: %w", err)
	switch {
	case errors.Is(err, errExposed) && (p.cert == nil || p.cert.Leaf.Equal(cert.Leaf)):
		if changed = p.cert == nil; changed {
			p.cert = cert
		}
		err = fmt.Errorf("%w (the %s certificate is used all the same)", err, p.label())
	case p.cert != nil:
		err = fmt.Errorf("%w (the %s certificate in use stays until then)", err, p.label())
	case p.selfMade():
		err = fmt.Errorf("%w (the self-signed certificate is kept in memory until then)", err)
	case p.name == "":
		err = fmt.Errorf("%w (another certificate stands in for the default one until then)", err)
	default:
		err = fmt.Errorf("%w (the %s certificate is left out until then)", err, p.label())
	}
	p.fault = err
	return changed, err
}

// publish makes what was read the one of new handshakes.
func (s *Store) publish() {
	s.reload.Lock()
	defer s.reload.Unlock()
	var certs []*stdtls.Certificate
	var held []Certificate
	var bad []Fault
	for _, p := range s.wanted() {
		if p.fault != nil {
			bad = append(bad, Fault{p.name, p.fault})
		}
		if p.cert == nil {
			continue
		}
		certs = append(certs, p.cert)
		held = append(held, Certificate{Name: p.label(), Names: namesOf(p.cert), File: p.certFile,
			NotBefore: p.cert.Leaf.NotBefore, NotAfter: p.cert.Leaf.NotAfter, SelfMade: p.selfMade()})
	}
	s.choice.Store(newChoice(certs, s.first.cert))
	s.mu.Lock()
	s.held, s.faults = held, bad
	s.mu.Unlock()
}

// fallback is the certificate of clients that name no server.
func (s *Store) fallback() *x509.Certificate {
	s.reload.Lock()
	defer s.reload.Unlock()
	return s.first.cert.Leaf
}

// Policy is what a listener asks of TLS beyond the [tls] table.
type Policy struct {
	// RequestClientCertificate asks clients for a certificate and takes any,
	// or none: what it is worth is decided by the session, at resumption too.
	RequestClientCertificate bool
	// Binding names everything that trust in the session hangs on
	// (fingerprints, authorities, …). Tickets of another binding are not
	// accepted, so that after a reload nobody comes in by an old one.
	Binding string
}

// ServerConfig gives the configuration for a listener, the same one each time
// for the same name. Do not change the value; a clone keeps its ticket keys, so
// what it decides otherwise must be named in a Policy.
func (s *Store) ServerConfig(listener string) *stdtls.Config {
	return s.ServerConfigFor(listener, Policy{})
}

// ServerConfigFor is ServerConfig for a listener with a policy of its own. The
// policy of the first call for a name counts.
func (s *Store) ServerConfigFor(listener string, p Policy) *stdtls.Config {
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
		MinVersion:   minimum,
		CipherSuites: suites(),
		// A STARTTLS server gets SNI from few clients, and an unknown name
		// must not end the handshake.
		GetCertificate: func(hello *stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
			return s.choice.Load().pick(hello), nil
		},
	}
	if p.RequestClientCertificate {
		c.ClientAuth = stdtls.RequestClientCert
	}
	s.tickets.bind(c, fmt.Sprintf("%q %d %v %q", listener, minimum, p.RequestClientCertificate, p.Binding))
	s.configs[listener] = c
	return c
}

// suites are those of TLS 1.2 with forward secrecy, as Go orders and rates
// them. They are named so that GODEBUG cannot bring others back. The CBC ones
// stay for old senders, who without them would send in clear text.
func suites() []uint16 {
	var out []uint16
	for _, c := range stdtls.CipherSuites() {
		if slices.Contains(c.SupportedVersions, stdtls.VersionTLS12) && strings.HasPrefix(c.Name, "TLS_ECDHE_") {
			out = append(out, c.ID)
		}
	}
	return out
}

// Describe gives version and cipher in the words of mail logs: "TLSv1.3",
// "TLS_AES_128_GCM_SHA256".
func Describe(cs stdtls.ConnectionState) (proto, cipher string) {
	return strings.Replace(stdtls.VersionName(cs.Version), "TLS ", "TLSv", 1), stdtls.CipherSuiteName(cs.CipherSuite)
}
