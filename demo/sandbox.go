package demo

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// maxSize is the SIZE that the mail servers announce. It is below the
// gateway's own limit, so that the gateway has to take it over.
const maxSize = 5 << 20

// Stored is one message as a mail server got it.
type Stored struct {
	Host, From string
	To         []string
	Data       []byte // without dot-stuffing
	TLS        bool
	ID         string // that the server gave it in its reply
}

// sandbox is a mail server that keeps everything it answers 250 for, and knows
// which recipients it has.
type sandbox struct {
	name string
	l    net.Listener
	s    *smtp.Server

	mu     sync.Mutex
	stored []Stored // not yet collected
	count  int
}

func newSandbox(name string) (*sandbox, error) {
	cert, err := selfSigned(name)
	if err != nil {
		return nil, err
	}
	b := &sandbox{name: name}
	b.s = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &sandboxSession{b: b, c: c}, nil
	}))
	b.s.Domain = name
	b.s.EnableSMTPUTF8 = true
	b.s.EnableDSN = true
	b.s.MaxMessageBytes = maxSize
	b.s.MaxLineLength = 0
	b.s.ReadTimeout, b.s.WriteTimeout = time.Minute, time.Minute
	b.s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	b.s.ErrorLog = silent{}
	if b.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go func() { _ = b.s.Serve(b.l) }()
	return b, nil
}

// silent drops what go-smtp has to say about clients that go away.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// address is host:port with the host as a name.
func (b *sandbox) address() string {
	_, port, _ := net.SplitHostPort(b.l.Addr().String())
	return net.JoinHostPort(b.name, port)
}

func (b *sandbox) close() {
	_ = b.s.Close()
	_ = b.l.Close()
}

// collect takes what arrived since the last call.
func (b *sandbox) collect() []Stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.stored
	b.stored = nil
	return out
}

type sandboxSession struct {
	b   *sandbox
	c   *smtp.Conn
	now Stored
}

// Reset forgets the envelope.
func (s *sandboxSession) Reset() { s.now = Stored{} }

// Logout has nothing to do.
func (s *sandboxSession) Logout() error { return nil }

// Mail begins an envelope.
func (s *sandboxSession) Mail(from string, _ *smtp.MailOptions) error {
	_, secure := s.c.TLSConnectionState()
	s.now = Stored{Host: s.b.name, From: from, TLS: secure}
	return nil
}

// The recipients of casa.example that are not simply there.
const (
	nobody = "nobody@casa.example"
	busy   = "busy@casa.example"
)

// Rcpt knows everybody of the domain except nobody and busy.
func (s *sandboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch strings.ToLower(to) {
	case nobody:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No mailbox of that name here"}
	case busy:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "Mailbox is being moved, try again later"}
	}
	s.now.To = append(s.now.To, to)
	return nil
}

// Data keeps the message and answers with an id of its own, by which the
// client's reply can be tied to what lies here.
func (s *sandboxSession) Data(r io.Reader) error {
	var data bytes.Buffer
	if _, err := io.Copy(&data, r); err != nil {
		return err
	}
	s.now.Data = data.Bytes()
	s.b.mu.Lock()
	s.b.count++
	s.now.ID = fmt.Sprintf("%s-%04d", strings.ToUpper(s.b.name[:3]), s.b.count)
	s.b.stored = append(s.b.stored, s.now)
	id := s.now.ID
	s.b.mu.Unlock()
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as " + id}
}

// selfSigned makes a certificate that lives as long as the demo.
func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
