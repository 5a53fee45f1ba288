// Package dialogues runs one corpus of SMTP dialogues against Garita, go-smtp
// and a private Postfix: where a dialogue is well-formed the three must agree,
// where it is not their differences are kept in differences.md. README.md of
// this folder describes the files.
package dialogues

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// server is one of the three.
type server struct {
	name, addr string
	// patience bounds the wait for one answer. For Garita it only ends a
	// test that fails; of the others silence is an answer to be noted.
	patience time.Duration
}

const silent = "silent"

func servers(t *testing.T) []server {
	t.Helper()
	certs := harness.NewCerts(t, "127.0.0.1", "gw.example")
	behind := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{
		NextHop: behind.Addr,
		// Nobody is trusted: the clients here are strangers.
		Trust: "192.0.2.0/24",
		Settings: []harness.Setting{
			{Table: "tls", Key: "certificate_file", Value: strconv.Quote(certs.CertFile)},
			{Table: "tls", Key: "key_file", Value: strconv.Quote(certs.KeyFile)},
			{Table: "limits", Key: "soft_errors", Value: "100"},
			{Table: "limits", Key: "hard_errors", Value: "100"},
		},
	})
	library := harness.StartSandbox(t, harness.SandboxOptions{TLS: certs.Server, Refuse: func(rcpt string) error {
		if !strings.HasSuffix(strings.ToLower(rcpt), "@our.example") {
			return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relay access denied"}
		}
		return nil
	}})
	postfix := harness.StartPostfix(t, harness.PostfixOptions{
		Domains: []string{"our.example"},
		Main: map[string]string{
			"mynetworks":               "192.0.2.0/24",
			"relay_transport":          "discard",
			"default_transport":        "discard",
			"smtpd_tls_security_level": "may",
			"smtpd_tls_cert_file":      certs.CertFile,
			"smtpd_tls_key_file":       certs.KeyFile,
			"smtpd_error_sleep_time":   "0",
		},
	})
	return []server{
		{"Garita", g.Inbound, 30 * time.Second},
		{"go-smtp", library.Addr, 5 * time.Second},
		{"Postfix", postfix.Addr, 5 * time.Second},
	}
}

// conn is one dialogue's connection.
type conn struct {
	net.Conn
	r        *bufio.Reader
	patience time.Duration
}

// reply reads one answer: its code, "closed" or "silent". A server that ends
// a connection with unread input resets it; both are "closed".
func (c *conn) reply() string {
	c.SetReadDeadline(time.Now().Add(c.patience))
	code := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return silent
			}
			return "closed"
		}
		if len(line) < 5 || code != "" && line[:3] != code {
			return fmt.Sprintf("%q", line)
		}
		code = line[:3]
		if line[3] != '-' {
			return code
		}
	}
}

// play runs a dialogue and gives the answers of each step; the last row holds
// what came after QUIT was said once more.
func play(t *testing.T, s server, d dialogue) [][]string {
	t.Helper()
	raw, err := net.DialTimeout("tcp", s.addr, 30*time.Second)
	if err != nil {
		t.Error(err) // not Fatal: this may run beside the test's goroutine
		return make([][]string, len(d.steps)+1)
	}
	defer raw.Close()
	c := &conn{Conn: raw, r: bufio.NewReader(raw), patience: s.patience}
	var rows [][]string
	ended := false
	for _, st := range d.steps {
		var row []string
		if st.tls && !ended {
			tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
			tc.SetDeadline(time.Now().Add(30 * time.Second))
			if err := tc.Handshake(); err != nil {
				ended = true
			}
			c.Conn, c.r = tc, bufio.NewReader(tc)
		}
		if st.send != "" && !ended {
			c.SetWriteDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(c.Conn, st.send)
		}
		for range st.want {
			if ended {
				row = append(row, "closed")
				continue
			}
			got := c.reply()
			ended = got == "closed"
			row = append(row, got)
		}
		rows = append(rows, row)
	}
	var rest []string
	if !ended {
		// Whatever is still to be said comes out now.
		c.SetWriteDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(c.Conn, "\r\nQUIT\r\n")
		for len(rest) < 50 {
			got := c.reply()
			if got == "closed" || got == silent {
				break
			}
			rest = append(rest, got)
		}
	}
	return append(rows, rest)
}
