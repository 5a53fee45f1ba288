package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// limit bounds each network operation.
const limit = 60 * time.Second

// session is one connection to the server under test.
type session struct {
	conn net.Conn
	r    *bufio.Reader
	// header goes out before anything else.
	header []byte
}

// refusal is a reply that is not the one that was hoped for.
type refusal struct {
	after string
	code  int
	text  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %d", r.after, r.code) }

// Clients is the number of invented clients: an Internet mail server sees the
// same ones again, and what was looked up of them is cached.
const Clients = 1000

// client is the n-th of them.
func client(n int) string {
	n %= Clients
	return fmt.Sprintf("198.18.%d.%d", n/250, 1+n%250)
}

// open connects and greets; source 0 leaves the address to the kernel, any
// other n is the n-th address of 127.1.0.0/16, or of the invented clients.
func open(addr string, source int, c Config) (*session, error) {
	d := net.Dialer{Timeout: limit}
	if source > 0 {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, byte(source>>8), 1+byte(source%250))}
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := newSession(conn, source, c)
	if err := s.greet(c.StartTLS); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func newSession(conn net.Conn, source int, c Config) *session {
	s := &session{conn: conn, r: bufio.NewReaderSize(conn, 1024)}
	if c.Proxy {
		to := conn.RemoteAddr().(*net.TCPAddr)
		s.header = fmt.Appendf(nil, "PROXY TCP4 %s 127.0.0.1 %d %d\r\n", client(source), 1024+source%60000, to.Port)
	}
	return s
}

var ehlo = []byte("EHLO load.example\r\n")

// begin waits for the greeting.
func (s *session) begin() error {
	s.conn.SetDeadline(time.Now().Add(limit))
	if len(s.header) > 0 {
		if _, err := s.conn.Write(s.header); err != nil {
			return err
		}
	}
	return s.reply("connect")
}

func (s *session) greet(startTLS bool) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.command("EHLO", ehlo); err != nil {
		return err
	}
	if !startTLS {
		return nil
	}
	if err := s.command("STARTTLS", []byte("STARTTLS\r\n")); err != nil {
		return err
	}
	// The certificate is the benchmark's own and signed by nobody. X25519 is
	// the key exchange that all servers have: two Go programs would otherwise
	// agree on a dearer one.
	c := tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.X25519}})
	if err := c.Handshake(); err != nil {
		return err
	}
	s.conn, s.r = c, bufio.NewReaderSize(c, 1024)
	return s.command("EHLO", ehlo)
}

// reply reads one reply to its last line.
func (s *session) reply(after string) error {
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 {
			return fmt.Errorf("%s: short reply %q", after, line)
		}
		if line[3] == '-' {
			continue
		}
		if line[0] != '2' && line[0] != '3' {
			code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
			return &refusal{after, code, string(line)}
		}
		return nil
	}
}

func (s *session) command(name string, line []byte) error {
	s.conn.SetDeadline(time.Now().Add(limit))
	if _, err := s.conn.Write(line); err != nil {
		return err
	}
	return s.reply(name)
}

var (
	mailFrom = []byte("MAIL FROM:<alice@example.org>\r\n")
	data     = []byte("DATA\r\n")
)

// send is one message without pipelining: four round trips, as Postfix and
// most clients do it with one recipient and a next hop that waits.
func (s *session) send(rcptTo, message []byte) error {
	if err := s.command("MAIL", mailFrom); err != nil {
		return err
	}
	if err := s.command("RCPT", rcptTo); err != nil {
		return err
	}
	if err := s.command("DATA", data); err != nil {
		return err
	}
	return s.command("end of data", message)
}

func (s *session) quit() {
	s.conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := s.conn.Write([]byte("QUIT\r\n")); err == nil {
		s.r.ReadSlice('\n')
	}
	s.conn.Close()
}
