package tls

import (
	"bytes"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxFile bounds what is read of a certificate or key file.
const maxFile = 1 << 20

// nonBlocking keeps a FIFO in the place of a file from hanging the start.
const nonBlocking = syscall.O_NONBLOCK

var errEmpty = errors.New("the file is empty: it is being written, or its disk was full")

// errExposed is of a pair that is good, but that its key is no secret.
var errExposed = errors.New("everybody may read or change the private key")

// readPair reads and checks a certificate with its key. With errExposed it
// gives the pair, too.
func readPair(certFile, keyFile string) (*stdtls.Certificate, error) {
	certPEM, _, err := readFile(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, mode, err := readFile(keyFile)
	if err != nil {
		return nil, err
	}
	cert, err := stdtls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, explain(certFile, keyFile, certPEM, keyPEM, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
	}
	// crypto/tls would find out in the first handshake.
	if k, ok := cert.Leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 1024 {
		return nil, fmt.Errorf("%s: an RSA key of %d bits; clients refuse less than 1024, use 2048 or ECDSA", certFile, k.N.BitLen())
	}
	if mode.Perm()&0o007 != 0 {
		return &cert, fmt.Errorf("%s: %w (mode %04o); chmod 0600 or 0640", keyFile, errExposed, mode.Perm())
	}
	return &cert, nil
}

// explain says what to do about a pair that is none. Texts of the library do
// not quote the files, so no secret comes out.
func explain(certFile, keyFile string, certPEM, keyPEM []byte, err error) error {
	text := err.Error()
	switch {
	case bytes.Contains(keyPEM, []byte("ENCRYPTED")):
		return fmt.Errorf("%s: the private key has a password; write it without one: openssl pkey -in KEY -out FILE", keyFile)
	case strings.Contains(text, "private key does not match public key"):
		return fmt.Errorf("%s, %s: %w; both are of one renewal, and the server's certificate stands first in its file?", certFile, keyFile, err)
	case strings.Contains(text, "but did find"):
		return fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
	case !bytes.Contains(certPEM, []byte("-----END CERTIFICATE-----")):
		return fmt.Errorf("%s: no whole certificate in PEM form: %w", certFile, err)
	case !bytes.Contains(keyPEM, []byte("PRIVATE KEY-----\n")) && !bytes.Contains(keyPEM, []byte("PRIVATE KEY-----\r\n")):
		return fmt.Errorf("%s: no whole private key in PEM form: %w", keyFile, err)
	}
	return fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
}

// readFile reads a whole regular file, following links as certbot has them.
func readFile(name string) ([]byte, os.FileMode, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, 0, fmt.Errorf("%w; the gateway's user must be able to read it: chgrp garita, chmod 0640", err)
	}
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

// A mark is what tells that a file has changed without reading it. The inode
// catches a rename with an old time stamp, as cp -p and rsync make it.
type mark struct {
	modified, size int64
	inode          uint64
	mode           os.FileMode
}

func markOf(name string) mark {
	fi, err := os.Stat(name)
	if err != nil {
		return mark{} // not there: unlike every file that is
	}
	m := mark{modified: fi.ModTime().UnixNano(), size: fi.Size(), mode: fi.Mode()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		m.inode = st.Ino
	}
	return m
}

// worse tells why a new certificate, sound as it is, would serve clients worse
// than the one in use; nil when it would not.
func worse(old, fresh *x509.Certificate, now time.Time) error {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case old == nil || bytes.Equal(old.Raw, fresh.Raw):
		return nil
	case now.After(fresh.NotAfter) && old.NotAfter.After(fresh.NotAfter):
		return fmt.Errorf("the new certificate has expired already, on %s, before the one in use (%s); renew it again", day(fresh.NotAfter), day(old.NotAfter))
	case now.Before(fresh.NotBefore) && now.Before(old.NotAfter) && now.After(old.NotBefore):
		return fmt.Errorf("the new certificate is not valid before %s UTC; it is taken then", fresh.NotBefore.UTC().Format(time.DateTime))
	}
	return nil
}
