package yardstick

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// GoSMTP is the pass-through that the go-smtp library makes easy: each
// message is read whole into memory and sent over a pooled client connection.
type GoSMTP struct {
	NextHop string
	TLS     *tls.Config // nil: no STARTTLS

	pool    chan pooledClient
	buffers sync.Pool
}

type pooledClient struct {
	c    *smtp.Client
	used time.Time
}

// Serve accepts until the listener fails.
func (g *GoSMTP) Serve(l net.Listener) error {
	g.pool = make(chan pooledClient, 200)
	g.buffers.New = func() any { return new(bytes.Buffer) }
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &goSession{g: g}, nil
	}))
	s.Domain, s.TLSConfig = "gosmtp.example", g.TLS
	s.MaxMessageBytes, s.ReadTimeout, s.WriteTimeout = 50<<20, 5*time.Minute, 5*time.Minute
	return s.Serve(l)
}

func (g *GoSMTP) client() (*smtp.Client, error) {
	for {
		select {
		case p := <-g.pool:
			if time.Since(p.used) < pooledFor {
				return p.c, nil
			}
			p.c.Close()
		default:
			return smtp.Dial(g.NextHop)
		}
	}
}

type goSession struct {
	g    *GoSMTP
	from string
	to   []string
}

// Reset ends a transaction.
func (s *goSession) Reset() { s.from, s.to = "", nil }

// Logout ends the session.
func (s *goSession) Logout() error { return nil }

// Mail takes the sender.
func (s *goSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

// Rcpt takes a recipient.
func (s *goSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data takes a message and passes it on.
func (s *goSession) Data(r io.Reader) error {
	b := s.g.buffers.Get().(*bytes.Buffer)
	b.Reset()
	defer s.g.buffers.Put(b)
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	c, err := s.g.client()
	if err != nil {
		return err
	}
	if err := c.SendMail(s.from, s.to, b); err != nil {
		c.Close()
		return err
	}
	select {
	case s.g.pool <- pooledClient{c, time.Now()}:
	default:
		c.Quit()
	}
	return nil
}
