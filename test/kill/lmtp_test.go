package kill

import (
	"io"
	"net"
	"testing"

	"garita/test/harness"

	"github.com/emersion/go-smtp"
)

// mailbox is the recipient whose mail goes by LMTP.
const mailbox = "box@our.example"

// startLMTP starts an LMTP server that takes everything and keeps nothing.
func startLMTP(t *testing.T) string {
	t.Helper()
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return lmtpSession{}, nil }))
	s.LMTP, s.Domain, s.MaxMessageBytes = true, "lmtp.example", 64<<20
	l, err := net.Listen("tcp", harness.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

type lmtpSession struct{}

func (lmtpSession) Reset()                               {}
func (lmtpSession) Logout() error                        { return nil }
func (lmtpSession) Mail(string, *smtp.MailOptions) error { return nil }
func (lmtpSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (lmtpSession) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

// lmtpAborts are the kinds whose mail goes on by LMTP.
func lmtpAborts() []abort {
	const to = "MAIL FROM:<a@x.example>\r\nRCPT TO:<" + mailbox + ">\r\n"
	data := func(c *abortClient) {
		c.read(1)
		c.say(ehlo, 1)
		c.say(to+"DATA\r\n", 3)
	}
	return []abort{
		{name: "LMTP: reset after RCPT", play: func(c *abortClient) { c.read(1); c.say(ehlo, 1); c.say(to, 2); c.reset() }},
		{name: "LMTP: reset inside the message", play: func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nhalf a li", 0); c.reset() }},
		{name: "LMTP: dot and gone", play: func(c *abortClient) { data(c); c.say("Subject: x\r\n\r\nx\r\n.\r\n", 0) }},
		{name: "LMTP: a message and QUIT", play: func(c *abortClient) {
			data(c)
			c.say("Subject: x\r\n\r\nx\r\n.\r\n", 1)
			c.say("QUIT\r\n", 1)
		}},
	}
}
