package harness

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// Stored is one message that a sandbox took.
type Stored struct {
	Helo, From string
	To         []string
	Data       []byte // as go-smtp hands it over: dots unstuffed
	TLS        bool
}

// Sandbox is a go-smtp server that keeps every message it answers 250 for.
type Sandbox struct {
	Addr string
	// Refuse, when set, is asked at RCPT.
	Refuse func(rcpt string) error
	mu     sync.Mutex
	stored []Stored
	count  int
}

// SandboxOptions are what a sandbox can differ in.
type SandboxOptions struct {
	Addr   string      // empty: a free port
	TLS    *tls.Config // nil: no STARTTLS
	Max    int64       // SIZE; 0: 64 MB
	Refuse func(rcpt string) error
	// Discard reads the data without keeping it; Forget counts the messages
	// and keeps none of them.
	Discard, Forget bool
	// OnStored sees each message before it is answered; an error refuses it.
	OnStored func(Stored) error
}

// StartSandbox starts a sandbox that ends with the test.
func StartSandbox(t testing.TB, o SandboxOptions) *Sandbox {
	t.Helper()
	addr := o.Addr
	if addr == "" {
		addr = Addr(t)
	}
	b := &Sandbox{Addr: addr, Refuse: o.Refuse}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &sandboxSession{b: b, c: c, o: o}, nil
	}))
	s.Domain = "sandbox.example"
	s.EnableSMTPUTF8 = true
	s.EnableDSN = true
	s.MaxMessageBytes = o.Max
	if o.Max == 0 {
		s.MaxMessageBytes = 64 << 20
	}
	s.MaxLineLength = 0
	s.TLSConfig = o.TLS
	s.ErrorLog = quiet{}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return b
}

// quiet drops what go-smtp has to say about clients that go away.
type quiet struct{}

func (quiet) Printf(string, ...interface{}) {}
func (quiet) Println(...interface{})        {}

// Stored gives what was taken so far.
func (b *Sandbox) Stored() []Stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Stored(nil), b.stored...)
}

// Count is the number of messages taken so far.
func (b *Sandbox) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

type sandboxSession struct {
	b   *Sandbox
	c   *smtp.Conn
	o   SandboxOptions
	now Stored
}

func (s *sandboxSession) Reset() { s.now = Stored{} }

func (s *sandboxSession) Logout() error { return nil }

func (s *sandboxSession) Mail(from string, _ *smtp.MailOptions) error {
	_, secure := s.c.TLSConnectionState()
	s.now = Stored{Helo: s.c.Hostname(), From: from, TLS: secure}
	return nil
}

func (s *sandboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.b.Refuse != nil {
		if err := s.b.Refuse(to); err != nil {
			return err
		}
	}
	s.now.To = append(s.now.To, to)
	return nil
}

func (s *sandboxSession) Data(r io.Reader) error {
	if s.o.Discard {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	} else {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		s.now.Data = data
	}
	if s.o.OnStored != nil {
		if err := s.o.OnStored(s.now); err != nil {
			return err
		}
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.count++
	if !s.o.Forget {
		s.b.stored = append(s.b.stored, s.now)
	}
	return nil
}
