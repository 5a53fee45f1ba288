// Package e2e lets real mail pass through the built program between real
// servers: Postfix as next hop, as content_filter client, as relayhost client
// and as smtpd_proxy_filter client, swaks, smtp-source, smtp-sink with its
// faults, openssl, go-smtp, and a fake next hop that records every octet. The
// tests named Table print their tables with -v.
package e2e

import (
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of these tests wait for servers: more of them at once than there
	// are processors, unless -parallel asks for less.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("6")
	}
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// strangers is a network that no client of these tests is in: everybody is an
// outsider then.
const strangers = "192.0.2.0/24"

const message = "From: a@x.example\r\nTo: b@our.example\r\nSubject: end to end\r\nMessage-ID: <1@x.example>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\n" +
	"\r\n.first\r\n..\r\n...\r\n.\r\nlong " + longLine + "\r\ntrailing space \r\nlast\r\n"

// longLine stays below Postfix's smtp_line_length_limit of 998 and is longer
// than RFC 5321 allows only together with the rest of its line.
const longLine = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

// startHop starts a recording next hop that ends with the test.
func startHop(t *testing.T, c fakehop.Config) *fakehop.Server {
	t.Helper()
	h, err := fakehop.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// anyTLS takes any certificate, as senders of mail do.
func anyTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// quoted is a TOML string.
func quoted(s string) string { return strconv.Quote(s) }

// table prints rows in columns, once, so that they can be pasted.
func table(t *testing.T, head []string, rows [][]string) {
	t.Helper()
	width := make([]int, len(head))
	all := append([][]string{head}, rows...)
	for _, r := range all {
		for i, c := range r {
			width[i] = max(width[i], len(c))
		}
	}
	var b strings.Builder
	b.WriteByte('\n')
	for n, r := range all {
		for i, c := range r {
			fmt.Fprintf(&b, "| %-*s ", width[i], c)
		}
		b.WriteString("|\n")
		if n == 0 {
			for i := range r {
				b.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
			b.WriteString("|\n")
		}
	}
	t.Log(b.String())
}
