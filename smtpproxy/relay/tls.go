package relay

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// sessions is how many TLS sessions of a server are kept for resumption.
const sessions = 32

// fingerprint is a SHA-256 of a certificate or of its public key.
type fingerprint [sha256.Size]byte

// parseFingerprint reads 64 hexadecimal digits, as openssl shows them.
func parseFingerprint(s string) (f fingerprint, err error) {
	if len(s) > 7 && strings.EqualFold(s[:7], "sha256:") {
		s = s[7:]
	}
	n, err := hex.Decode(f[:], []byte(first(strings.ReplaceAll(s, ":", ""), 2*len(f)+1)))
	if err == nil && n != len(f) {
		err = hex.ErrLength
	}
	return f, err
}

// first bounds what Decode is given by what its destination takes and one
// digit more, which makes it an error.
func first(s string, n int) string { return s[:min(n, len(s))] }

// errFingerprint says that a certificate is none of those that are listed.
var errFingerprint = errors.New("certificate and public key are not listed in fingerprints")

// clientTLS is the TLS towards one server; the session cache is its own, so a
// ticket never serves another server or policy.
func clientTLS(c Config, name string, roots *x509.CertPool, own *tls.Certificate) *tls.Config {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: name,
		RootCAs:    roots,
		// may and encrypt take any certificate, fingerprint looks itself.
		InsecureSkipVerify: c.TLS != "verify",
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if own != nil {
		t.Certificates = []tls.Certificate{*own}
	}
	if c.TLS == "fingerprint" {
		listed := map[fingerprint]bool{}
		for _, s := range c.Fingerprints {
			if f, err := parseFingerprint(s); err == nil {
				listed[f] = true
			}
		}
		// VerifyConnection is called for a resumed session too.
		t.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errFingerprint
			}
			leaf := s.PeerCertificates[0]
			if listed[sha256.Sum256(leaf.Raw)] || listed[sha256.Sum256(leaf.RawSubjectPublicKeyInfo)] {
				return nil
			}
			return fmt.Errorf("%w: it has %x", errFingerprint, sha256.Sum256(leaf.Raw))
		}
	}
	return t
}

// maxPEM bounds a certificate's or a key's file.
const maxPEM = 1 << 20

// loadPair reads our own certificate; its key is for nobody else's eyes.
func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, _, err := readSmall(certFile)
	if err != nil {
		return nil, fmt.Errorf("client_certificate_file: %w", err)
	}
	key, mode, err := readSmall(keyFile)
	if err != nil {
		return nil, fmt.Errorf("client_key_file: %w", err)
	}
	if mode.Perm()&0o007 != 0 {
		return nil, fmt.Errorf("client_key_file: %s: everybody may read or change the private key (mode %04o); chmod 0600 or 0640", keyFile, mode.Perm())
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("client_certificate_file: %s and %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

func readSmall(name string) ([]byte, os.FileMode, error) {
	// Without waiting: a FIFO in its place would hold the start up for ever.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s: more than %d octets", name, maxPEM)
	}
	return b, info.Mode(), err
}

// filesOf is a sum over what the configured files hold, as it can be read now.
func filesOf(c Config) (sum [sha256.Size]byte) {
	all := sha256.New()
	for _, name := range []string{c.CAFile, c.ClientCertificateFile, c.ClientKeyFile} {
		if name == "" {
			continue
		}
		b, _, err := readSmall(name)
		one := sha256.Sum256(b)
		fmt.Fprintf(all, "%x %t\n", one, err == nil)
		clear(b)
	}
	all.Sum(sum[:0])
	return sum
}

// Current tells that the files of its TLS hold what they held when it was made.
// A reload takes over a next hop only then: a renewed certificate has the name
// of the old one, and an authority that was taken out must not count on.
func (h *NextHop) Current() bool { return filesOf(h.cfg) == h.files }

func loadCAs(file string) (*x509.CertPool, error) {
	pem, _, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", file)
	}
	return pool, nil
}

// grade is what the next hop's certificate is worth, in Postfix's words, and
// why it is worth no more.
func (h *NextHop) grade(ho *host, s tls.ConnectionState) (word, why string) {
	switch {
	case h.cfg.TLS == "verify" || h.cfg.TLS == "fingerprint":
		return "Verified", "" // or the handshake had failed
	case len(s.PeerCertificates) == 0:
		return "Anonymous", "no certificate"
	}
	o := x509.VerifyOptions{DNSName: ho.tls.ServerName, Roots: h.roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	if err == nil {
		return "Verified", ""
	}
	word, why = "Untrusted", clean([]byte(err.Error()), false) // it may quote names out of the certificate
	o.DNSName = ""
	if _, err := s.PeerCertificates[0].Verify(o); err == nil {
		word = "Trusted" // but it is another's
	}
	return word, why
}

// tlsBegun notes version, cipher and what the certificate is worth: for the
// outcome "TLSv1.3 TLS_AES_128_GCM_SHA256 (verified)", for the log the line
// that Postfix would write.
func (c *conn) tlsBegun(s tls.ConnectionState) {
	h := c.hop
	version := "TLSv1.2"
	if s.Version == tls.VersionTLS13 {
		version = "TLSv1.3"
	}
	cipher := tls.CipherSuiteName(s.CipherSuite)
	word, why := h.grade(c.host, s)
	c.tls = version + " " + cipher + " (verified)"
	if why != "" {
		c.tls = version + " " + cipher + " (not verified: " + why + ")"
	}
	if h.log == nil {
		return
	}
	bits := "256/256"
	if strings.Contains(cipher, "AES_128") {
		bits = "128/128"
	}
	line := word + " TLS connection established to " + c.name + ", " + version + " with cipher " + cipher + " (" + bits + " bits)"
	if why != "" {
		line += "; not verified: " + why
	}
	h.log.Info("relay", line, slog.String("next_hop", h.name))
}

var errHandshake = errors.New("TLS handshake failed")

// startTLS obeys the policy (RFC 3207). encrypt, verify and fingerprint never go
// on in clear text; may does, when STARTTLS is not offered or refused.
func (c *conn) startTLS(ctx context.Context) *fault {
	h := c.hop
	must := h.cfg.TLS != "may"
	if !c.ext.starttls {
		if must {
			return noTLS(fmt.Errorf("%s: STARTTLS is not offered and tls = %q", c.name, h.cfg.TLS))
		}
		return nil
	}
	r, err := c.command(ctx, h.cfg.CommandTimeout, "STARTTLS")
	if err != nil {
		return broken(c.name, "STARTTLS", err)
	}
	if r.code != 220 {
		if must {
			return noTLS(fmt.Errorf("%s: answered STARTTLS with %q and tls = %q", c.name, r.line(), h.cfg.TLS))
		}
		if r.code == 421 || r.class() != 4 && r.class() != 5 {
			return unexpected(c.name, "STARTTLS", r)
		}
		h.warn("starttls", "the next hop refused STARTTLS, mail goes in clear text (tls = \"may\")", fmt.Errorf("%s: %s", c.name, r.line()))
		return c.stepDone("STARTTLS")
	}
	if c.rd.buffered() > 0 {
		// Response injection: what came in clear text after the 220 would be
		// read as if it had come through TLS.
		return noTLS(fmt.Errorf("%s: octets after the reply to STARTTLS, before TLS", c.name))
	}
	if f := c.handshake(ctx, h.cfg.CommandTimeout); f != nil {
		return f
	}
	// RFC 3207 section 4.2: everything learnt before TLS is forgotten.
	return c.hello(ctx, c.hop.hostname)
}

// handshake puts TLS over the socket.
func (c *conn) handshake(ctx context.Context, d time.Duration) *fault {
	if err := c.within(ctx, d); err != nil {
		return broken(c.name, "TLS handshake", err)
	}
	under := &records{Conn: c.raw}
	tc := tls.Client(under, c.host.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		return noTLS(fmt.Errorf("%s: %w: %w", c.name, errHandshake, err))
	}
	c.nc, c.tcp, c.rd.src, c.under = tc, nil, tc, under
	c.tlsBegun(tc.ConnectionState())
	return nil
}
