package harness

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Client is an SMTP client that sends exactly the bytes it is given.
type Client struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

// Reply is what a server said: its code and the text of its lines. Code 0
// means that the connection was closed or broke instead.
type Reply struct {
	Code  int
	Lines []string
}

// Text is all lines as one.
func (r Reply) Text() string { return strings.Join(r.Lines, "\n") }

func (r Reply) String() string {
	if r.Code == 0 {
		return "closed " + r.Text()
	}
	return strconv.Itoa(r.Code) + " " + r.Text()
}

// Class is the first digit of the code, or 0 for a closed connection.
func (r Reply) Class() int { return r.Code / 100 }

// Dial connects; it reads no greeting.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	c, err := Connect(t, addr)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Connect is Dial for who expects failures, and closes by himself.
func Connect(t testing.TB, addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	return NewClient(t, conn), nil
}

// NewClient is a client on a connection that the test has made.
func NewClient(t testing.TB, conn net.Conn) *Client {
	return &Client{Conn: conn, r: bufio.NewReader(conn), t: t}
}

// Greeted connects, reads the greeting and says EHLO.
func Greeted(t testing.TB, addr string) *Client {
	t.Helper()
	c := Dial(t, addr)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	return c
}

// Say sends lines, each with CR LF, in one packet.
func (c *Client) Say(lines ...string) *Client {
	c.t.Helper()
	return c.Raw(strings.Join(lines, "\r\n") + "\r\n")
}

// Raw sends bytes as they are. A failed write is no failure of the test: the
// server may have closed, which the next reply shows.
func (c *Client) Raw(s string) *Client {
	c.SetWriteDeadline(time.Now().Add(Patience))
	io.WriteString(c.Conn, s)
	return c
}

// Reply reads one whole reply.
func (c *Client) Reply() Reply { return c.ReplyWithin(2 * Patience) }

// ReplyWithin is Reply for answers that may take long.
func (c *Client) ReplyWithin(limit time.Duration) Reply {
	c.SetReadDeadline(time.Now().Add(limit))
	var r Reply
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return Reply{Lines: []string{"(silence)"}}
			}
			return Reply{Lines: []string{fmt.Sprintf("(%d lines before the end)", len(r.Lines))}}
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 5 {
			return Reply{Lines: []string{fmt.Sprintf("malformed reply %q", line)}}
		}
		line = strings.TrimSuffix(line, "\r\n")
		code, err := strconv.Atoi(line[:3])
		if err != nil || r.Code != 0 && code != r.Code {
			return Reply{Lines: []string{fmt.Sprintf("malformed reply %q", line)}}
		}
		r.Code = code
		rest := ""
		if len(line) > 3 {
			rest = line[4:]
		}
		r.Lines = append(r.Lines, rest)
		if len(line) == 3 || line[3] == ' ' {
			return r
		}
	}
}

// Want reads a reply and fails the test unless it has that code.
func (c *Client) Want(code int) Reply {
	c.t.Helper()
	r := c.Reply()
	if r.Code != code {
		c.t.Fatalf("want %d, got %s", code, r)
	}
	return r
}

// WantClass reads a reply and fails the test unless it is of that class.
func (c *Client) WantClass(class int) Reply {
	c.t.Helper()
	r := c.Reply()
	if r.Class() != class {
		c.t.Fatalf("want %dxx, got %s", class, r)
	}
	return r
}

// WantClosed reads until the connection ends and gives the replies that came
// before.
func (c *Client) WantClosed() []Reply {
	c.t.Helper()
	var all []Reply
	for range 1000 {
		r := c.Reply()
		if r.Code == 0 {
			if r.Text() == "(silence)" {
				c.t.Fatalf("the server did not close; it had said %v", all)
			}
			return all
		}
		all = append(all, r)
	}
	c.t.Fatal("the server did not close after a thousand replies")
	return nil
}

// StartTLS says STARTTLS, shakes hands and says EHLO again.
func (c *Client) StartTLS(conf *tls.Config) tls.ConnectionState {
	c.t.Helper()
	c.Say("STARTTLS").Want(220)
	state := c.Secure(conf)
	c.Say("EHLO client.example").Want(250)
	return state
}

// Secure shakes hands, where the server has been told already.
func (c *Client) Secure(conf *tls.Config) tls.ConnectionState {
	c.t.Helper()
	tc := tls.Client(c.Conn, conf)
	tc.SetDeadline(time.Now().Add(Patience))
	if err := tc.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	c.Conn, c.r = tc, bufio.NewReader(tc)
	return tc.ConnectionState()
}

// Envelope says MAIL and RCPT; all must be accepted.
func (c *Client) Envelope(from string, to ...string) *Client {
	c.t.Helper()
	c.Say("MAIL FROM:<" + from + ">").Want(250)
	for _, r := range to {
		c.Say("RCPT TO:<" + r + ">").Want(250)
	}
	return c
}

// Stuff makes a message fit for DATA: leading dots doubled, CRLF at its end,
// and the final dot.
func Stuff(message string) string {
	if message != "" && !strings.HasSuffix(message, "\r\n") {
		message += "\r\n"
	}
	if strings.HasPrefix(message, ".") {
		message = "." + message
	}
	return strings.ReplaceAll(message, "\r\n.", "\r\n..") + ".\r\n"
}

// Send sends one message and gives the first reply that was not positive, or
// the final one.
func (c *Client) Send(from string, to []string, message string) Reply {
	c.Say("MAIL FROM:<" + from + ">")
	if r := c.Reply(); r.Code != 250 {
		return r
	}
	for _, rcpt := range to {
		c.Say("RCPT TO:<" + rcpt + ">")
		if r := c.Reply(); r.Class() != 2 {
			return r
		}
	}
	c.Say("DATA")
	if r := c.Reply(); r.Code != 354 {
		return r
	}
	c.Raw(Stuff(message))
	return c.Reply()
}
