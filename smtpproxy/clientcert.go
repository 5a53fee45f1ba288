package smtpproxy

import (
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

	"garita/mail"
)

// maxCAFile bounds what is read of client_ca_file.
const maxCAFile = 1 << 20

// clientCerts are the client certificates that a listener takes for a login.
type clientCerts struct {
	fingerprints map[[sha256.Size]byte]bool
	roots        *x509.CertPool // nil without client_ca_file
	now          func() time.Time
}

// ClientAuth makes the listener ask for client certificates when its keys name
// some. Call it once, when ListenerConfig and TLS are set: TLS is replaced by
// a copy, so that no other listener is concerned. Without it certificates earn
// nothing.
func (l *Listener) ClientAuth() error {
	if len(l.ClientCerts) == 0 && l.ClientCAFile == "" {
		return nil
	}
	if l.TLS == nil {
		return Problem{"client_certificates", "there is no TLS, so no client can show one", "set starttls or implicit_tls"}
	}
	k := &clientCerts{fingerprints: map[[sha256.Size]byte]bool{}, now: time.Now}
	for _, text := range l.ClientCerts {
		f, err := parseFingerprint(text)
		if err != nil {
			return err
		}
		k.fingerprints[f] = true
	}
	cfg := l.TLS.Clone()
	// A certificate is asked for, never demanded: who has none may still log
	// in or be in the trusted networks. What it is worth is decided after
	// every handshake, so a ticket cannot carry an old answer (attacks S-41).
	cfg.ClientAuth = tls.RequestClientCert
	if l.ClientCAFile != "" {
		var err error
		if k.roots, err = readRoots(l.ClientCAFile); err != nil {
			return err
		}
		if len(k.fingerprints) == 0 {
			cfg.ClientCAs = k.roots // the names that help a client choose
		}
	}
	l.certs, l.TLS = k, cfg
	return nil
}

// readRoots reads a PEM file of authorities.
func readRoots(name string) (*x509.CertPool, error) {
	bad := func(text, hint string) error { return Problem{"client_ca_file", text, hint} }
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bad(err.Error(), "")
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return nil, bad(fmt.Sprintf("%s is not a regular file", name), "")
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return nil, bad(fmt.Sprintf("%s can be changed by everybody (mode %04o)", name, fi.Mode().Perm()), "chmod 0644")
	}
	pem, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil || len(pem) > maxCAFile {
		return nil, bad(fmt.Sprintf("%s cannot be read or is larger than %d MB", name, maxCAFile>>20), "")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, bad(fmt.Sprintf("%s has no certificate", name), "a PEM file: -----BEGIN CERTIFICATE-----")
	}
	return roots, nil
}

// parseFingerprint reads a SHA-256 fingerprint: 64 hexadecimal digits, with or
// without colons, or the whole line of openssl x509 -fingerprint -sha256.
func parseFingerprint(text string) (f [sha256.Size]byte, err error) {
	s := strings.TrimSpace(text)
	if label, rest, ok := strings.Cut(s, "="); ok && strings.HasSuffix(strings.ToLower(label), "fingerprint") {
		s = rest
	}
	if strings.Contains(s, ":") {
		for i, two := range strings.Split(s, ":") {
			if len(two) != 2 || i >= sha256.Size {
				s = ""
				break
			}
		}
		s = strings.ReplaceAll(s, ":", "")
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return f, Problem{"client_certificates", fmt.Sprintf("%q is not a SHA-256 fingerprint", text), "as openssl x509 -noout -fingerprint -sha256 -in cert.pem prints it"}
	}
	return [sha256.Size]byte(b), nil
}

// check tells why a chain is not one of ours, nil when it is. The handshake has
// proved that the client has the key. A certificate that is named by its
// fingerprint is taken whatever its dates and issuer: the operator named it.
func (k *clientCerts) check(chain []*x509.Certificate) error {
	if k.fingerprints[sha256.Sum256(chain[0].Raw)] {
		return nil
	}
	if k.roots == nil {
		return errors.New("not one of client_certificates")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: k.roots, Intermediates: between, CurrentTime: k.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// loginByCertificate looks at what the client has shown in the handshake that
// has just ended, a resumed one too.
func (s *session) loginByCertificate(cs *tls.ConnectionState) {
	if s.ln.certs == nil || len(cs.PeerCertificates) == 0 {
		return
	}
	leaf := cs.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	attrs := []slog.Attr{slog.String("fingerprint", hex.EncodeToString(sum[:])), slog.String("subject", leaf.Subject.String())}
	if err := s.ln.certs.check(cs.PeerCertificates); err != nil {
		s.srv.log.ClientWarn(&s.s, "client certificate earns nothing here", append(attrs, slog.String("error", err.Error()))...)
		return
	}
	// 128 bits of the fingerprint; "/" stands in no account's name.
	s.s.Login, s.s.LoginMethod = "cert/"+hex.EncodeToString(sum[:16]), "certificate"
	s.loggedIn()
	attrs = append(attrs, slog.String("login", s.s.Login), slog.String("client", s.s.Client.Addr().String()), slog.String("session", s.s.ID))
	s.srv.log.Info("smtpd", "client certificate accepted", attrs...)
}

// validateAuth looks at the keys of logins.
func (c ListenerConfig) validateAuth(role mail.Role) []error {
	var errs []error
	bad := func(key, text, hint string) { errs = append(errs, Problem{key, text, hint}) }
	tlsOn := c.STARTTLS || c.ImplicitTLS
	certs := len(c.ClientCerts) > 0 || c.ClientCAFile != ""
	if c.Auth && role != mail.Outbound {
		bad("auth", "only an outbound listener takes logins", "use a listener of its own for submission, on port 587 or 465")
	}
	if c.Auth && !tlsOn {
		bad("auth", "passwords are taken under TLS alone, and the listener has none", "set starttls = true or implicit_tls = true")
	}
	if certs && role != mail.Outbound {
		bad("client_certificates", "only an outbound listener asks for client certificates (client_ca_file too)", "use a listener of its own")
	}
	if certs && !tlsOn {
		bad("client_certificates", "without TLS no client can show a certificate (client_ca_file too)", "set starttls = true or implicit_tls = true")
	}
	for _, text := range c.ClientCerts {
		if _, err := parseFingerprint(text); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// letsStrangersIn tells that somebody outside trusted_networks may use the
// listener, having shown who he is.
func (c ListenerConfig) letsStrangersIn() bool {
	return c.Auth || len(c.ClientCerts) > 0 || c.ClientCAFile != ""
}
