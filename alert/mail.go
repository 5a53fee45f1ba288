package alert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailChannel submits mail to a server of its own.
type mailChannel struct {
	c        MailConfig
	language string
	host     string
	roots    *x509.CertPool
}

func newMail(c MailConfig, language, host string) (channel, error) {
	m := &mailChannel{c: c, language: language, host: host}
	if c.CAFile == "" {
		return m, nil
	}
	var err error
	m.roots, err = pool(c.CAFile)
	return m, err
}

// pool reads authorities from a PEM file.
func pool(file string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(raw) {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return p, nil
}

func (m *mailChannel) send(ctx context.Context, n Notice) error {
	client, end, err := m.dial(ctx)
	if err != nil {
		return reason("", err)
	}
	defer end()
	if m.c.User != "" {
		if err := client.Auth(sasl.NewPlainClient("", m.c.User, m.c.Password)); err != nil {
			return reason("AUTH", err)
		}
	}
	// The null reverse-path: nobody bounces to us (RFC 3834 section 3.1).
	if err := client.Mail("", nil); err != nil {
		return reason("MAIL", err)
	}
	taken, refused := 0, error(nil)
	for _, to := range m.c.To {
		if err := client.Rcpt(to, nil); err != nil {
			if refused = reason("RCPT", err); !errors.Is(refused, errPermanent) {
				return refused
			}
			continue
		}
		taken++
	}
	if taken == 0 {
		return refused
	}
	w, err := client.Data()
	if err != nil {
		return reason("DATA", err)
	}
	// On an error the socket is closed without Close, which would send the
	// final dot behind half a message.
	if _, err := w.Write(letter(n, m.language, m.c.From, m.c.To, m.host)); err != nil {
		return reason("message", err)
	}
	if err := w.Close(); err != nil {
		return reason("end of data", err)
	}
	_ = client.Quit() // it has been taken
	return nil
}

// dial connects; end closes the socket, as does the end of ctx.
func (m *mailChannel) dial(ctx context.Context) (_ *smtp.Client, end func(), err error) {
	host, _, err := net.SplitHostPort(m.c.Server)
	if err != nil {
		return nil, nil, err
	}
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", m.c.Server)
	if err != nil {
		return nil, nil, err
	}
	conn := &patientConn{Conn: tcp, left: maxReplies}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	end = func() { stop(); conn.Close() }
	secure := &tls.Config{ServerName: host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
	var client *smtp.Client
	switch m.c.TLS {
	case "implicit":
		c := tls.Client(conn, secure)
		if err := c.HandshakeContext(ctx); err != nil {
			end()
			return nil, nil, err
		}
		client = smtp.NewClient(c)
	case "starttls":
		// Its own time-out for commands is 5 minutes; ctx closes the socket.
		if client, err = smtp.NewClientStartTLS(conn, secure); err != nil {
			end()
			return nil, nil, err
		}
	default:
		client = smtp.NewClient(conn)
	}
	if until, ok := ctx.Deadline(); ok {
		left := max(time.Until(until), time.Millisecond)
		client.CommandTimeout, client.SubmissionTimeout = left, left
	}
	name := m.host
	if !asciiWord(name) {
		name = "localhost"
	}
	if err := client.Hello(name); err != nil {
		end()
		return nil, nil, err
	}
	return client, end, nil
}

// maxReplies bounds what a server may say in one session; a reply of endless
// lines would fill the memory until the timeout.
const maxReplies = 256 << 10

type patientConn struct {
	net.Conn
	left int
}

var errTalk = errors.New("the server says too much")

func (c *patientConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTalk
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// reason says where it failed. A 5xx is for good; everything else may pass.
func reason(where string, err error) error {
	var s *smtp.SMTPError
	if errors.As(err, &s) {
		if s.Code/100 == 5 {
			return fmt.Errorf("%s: %w: %d %s", where, errPermanent, s.Code, s.Message)
		}
		return fmt.Errorf("%s: %d %s", where, s.Code, s.Message)
	}
	if where == "" {
		return err
	}
	return fmt.Errorf("%s: %w", where, err)
}
