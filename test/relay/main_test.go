// Package relay lets smtpproxy/relay talk to real servers: Postfix as the peer
// of XCLIENT and XFORWARD, as a smart host with SASL, as a server with a limit
// of connections for each client, and Dovecot's LMTP.
package relay

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"garita/mail"
	"garita/smtpproxy/relay"
	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// notes are what the relay tells the operator.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notes) Warn(component, text string, attrs ...slog.Attr) { n.Info(component, text, attrs...) }
func (n *notes) Info(_, text string, attrs ...slog.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text.WriteString(text)
	for _, a := range attrs {
		n.text.WriteString(" " + a.String())
	}
	n.text.WriteString("\n")
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// next makes a next hop towards url.
func next(t *testing.T, url string, change func(*relay.Config)) (*relay.NextHop, *notes) {
	t.Helper()
	c := relay.DefaultConfig()
	c.URL, c.TLS = url, "none"
	if change != nil {
		change(&c)
	}
	n := &notes{}
	h, err := relay.New(relay.Options{Name: "real", Config: c, Hostname: "gw.example", Log: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, n
}

// body is a message that is in memory.
type body string

func (b body) Size() int64 { return int64(len(b)) }
func (b body) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(b))
	return int64(n), err
}

const message = "From: a@x.example\r\nSubject: relay\r\nMessage-ID: <1@x.example>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\n\r\n.first\r\n..\r\nlast\r\n"

// client is a transaction of a client session.
func client(id, addr, helo string) *mail.Transaction {
	return &mail.Transaction{
		Session: &mail.Session{
			ID: id, Role: mail.Inbound, Helo: helo, Proto: "ESMTP", Client: netip.MustParseAddrPort(addr),
			Host: mail.HostName{Name: "mail.client.test", Confirmed: true},
		},
		ID:       "T" + id,
		Envelope: mail.Envelope{ReversePath: mail.Path{Local: "from", Domain: "client.test"}},
	}
}

func to(local, domain string) mail.Recipient {
	return mail.Recipient{Path: mail.Path{Local: local, Domain: domain}}
}

// deliver sends the message to the recipients and gives the answers.
func deliver(t *testing.T, h *relay.NextHop, tx *mail.Transaction, rcpts ...mail.Recipient) ([]mail.Reply, mail.Outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	d := h.Begin(tx)
	var answers []mail.Reply
	for _, r := range rcpts {
		a, _ := d.Rcpt(ctx, r)
		answers = append(answers, a)
	}
	return answers, d.Data(ctx, body(message))
}
