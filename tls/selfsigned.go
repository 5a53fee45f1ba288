package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

const (
	// validity is one year: old enough for nobody to notice a renewal.
	validity = 365 * 24 * time.Hour
	// renewBefore is the rest of validity below which a new pair is made.
	renewBefore = 30 * 24 * time.Hour
	// pairName holds key and certificate in one file, so that they change
	// together in one rename and can never mismatch after a crash.
	pairName = "self-signed.pem"
)

// selfSigned gives the pair of the folder, or a new one in its place when
// there is none, it cannot be read as a pair, it is another host's, or it is
// stale.
func (s *Store) selfSigned() (*stdtls.Certificate, error) {
	file := filepath.Join(s.dir, pairName)
	cert, err := readPair(file, file)
	if err == nil && !stale(cert.Leaf, s.now()) && s.isOurs(cert.Leaf) {
		return cert, nil
	}
	if err != nil && errors.Is(err, os.ErrPermission) {
		return nil, err // another user's file: replacing it would hide the cause
	}
	pair, err := makePair(s.name(), s.now())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeAtomic(file, pair); err != nil {
		return nil, err
	}
	return readPair(file, file)
}

// inMemory makes a self-signed pair that is nowhere on the disk.
func (s *Store) inMemory() (*stdtls.Certificate, error) {
	both, err := makePair(s.name(), s.now())
	if err != nil {
		return nil, err
	}
	cert, err := stdtls.X509KeyPair(both, both)
	if err != nil {
		return nil, err
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &cert, nil
}

// stale tells that a self-signed certificate has less than 30 days left, or
// was made by a clock that ran ahead and has been set right since.
func stale(leaf *x509.Certificate, now time.Time) bool {
	return leaf.NotAfter.Sub(now) <= renewBefore || now.Before(leaf.NotBefore)
}

// isOurs tells that a certificate was made for the host name of now.
func (s *Store) isOurs(leaf *x509.Certificate) bool {
	if len(leaf.IPAddresses) == 1 {
		return leaf.IPAddresses[0].String() == s.name()
	}
	return len(leaf.DNSNames) == 1 && leaf.DNSNames[0] == s.name()
}

func (s *Store) name() string {
	if s.hostname == "" {
		return "localhost"
	}
	return s.hostname
}

// maxCommonName is X.520's bound; longer ones make OpenSSL refuse to parse.
// The full name is in the alternative names, where clients look.
const maxCommonName = 64

// makePair makes an ECDSA P-256 key and its certificate, as PEM. ECDSA signs
// about twenty times as fast as RSA 2048, and every client with TLS 1.2 has it.
func makePair(hostname string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hostname[:min(len(hostname), maxCommonName)]},
		NotBefore:             now.Add(-time.Hour), // a client's clock may be late
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if a, err := netip.ParseAddr(hostname); err == nil {
		t.IPAddresses = append(t.IPAddresses, a.AsSlice())
	} else {
		t.DNSNames = []string{hostname}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate for %q: %w", hostname, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// writeAtomic writes a file of mode 0600 that after a crash is either the old
// one or the new one, whole.
func writeAtomic(name string, data []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
