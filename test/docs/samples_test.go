package docs

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

// noon is when every sample happens.
func noon() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

func client(role mail.Role, listener, addr string) *mail.Session {
	a := netip.MustParseAddrPort(addr)
	return &mail.Session{ID: "S1", Listener: listener, Role: role, Peer: a, Client: a,
		Helo: "mail.sender.example", Proto: "ESMTP", Start: noon().Add(-time.Second)}
}

func path(local, domain string) mail.Path { return mail.Path{Local: local, Domain: domain} }

func transaction(t *testing.T, s *mail.Session, id, text string) *mail.Transaction {
	t.Helper()
	tx := &mail.Transaction{Session: s, ID: id, Direction: mail.In, Envelope: mail.Envelope{
		ReversePath:  path("ana", "sender.example"),
		ForwardPaths: []mail.Recipient{{Path: path("juan", "example.org")}},
	}}
	if text != "" {
		m, err := message.Spool(t.Context(), strings.NewReader(text), message.Limits{Max: 1 << 20, Memory: 1 << 20, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		tx.Message = m
	}
	return tx
}

const sample = "Message-ID: <1@sender.example>\r\nSubject: hello\r\n\r\nhello\r\n"

const nextHop = "mail.example.org[192.0.2.20]:25"

// write lets maillog write the samples: what stands in a log block must be
// one of these lines.
func write(t *testing.T, format string) string {
	t.Helper()
	var out bytes.Buffer
	c := maillog.Default()
	c.Format = format
	l, err := maillog.New(c, maillog.Env{Hostname: "mx", PID: 812, Now: noon, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	relayed(t, l)
	refused(t, l)
	broken(t, l)
	warnings(l)
	people(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func relayed(t *testing.T, l *maillog.Logger) {
	s := client(mail.Inbound, "inbound", "203.0.113.9:4711")
	l.Connect(s)
	s.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	s.Proto = "ESMTPS"
	l.TLS(s)
	tx := transaction(t, s, "HODWU8NETH", sample)
	tx.Findings = []mail.Finding{{Symbol: "helo.not_fqdn", Score: 1.5, Counted: true}}
	l.Transaction(tx, mail.Outcome{Kind: mail.Relayed, NextHop: nextHop, NextHopReply: "250 2.0.0 Ok: queued as 4ABCDEF01", QueueID: "4ABCDEF01",
		Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: queued as 4ABCDEF01")},
		Steps:   mail.Steps{Receive: 120 * time.Millisecond, Check: 40 * time.Microsecond, Relay: 30 * time.Millisecond}})
	one := maillog.Count{OK: 1, Total: 1}
	l.Disconnect(s, maillog.Counts{Ehlo: maillog.Count{OK: 2, Total: 2}, StartTLS: one, Mail: one, Rcpt: one, Data: one, Quit: one})
}

func refused(t *testing.T, l *maillog.Logger) {
	s := client(mail.Inbound, "inbound", "203.0.113.9:4711")
	none := transaction(t, s, "HODWU9AAAA", "")
	none.ForwardPaths = nil
	l.Reject(s, none, "RCPT", "juan@elsewhere.example", mail.Permanent(554, "7.1", "Relay access denied"))
	l.Reject(s, none, "RCPT", "nobody@example.org", mail.Permanent(550, "1.1", "<nobody@example.org>: Recipient address rejected: User unknown"))
	l.Reject(s, none, "RCPT", "juan@example.org", mail.Temporary(451, "4.1", "The next mail server cannot be reached, please try again later"))
	l.Transaction(transaction(t, s, "HODWUAJ2C3", ""), mail.Outcome{Kind: mail.Refused,
		Replies: []mail.Reply{mail.Permanent(552, "3.4", "Error: message too big")}})
	tx := transaction(t, s, "HODWUC5D7E", sample)
	l.Transaction(tx, mail.Outcome{Kind: mail.Refused, NextHop: nextHop, NextHopReply: "550 5.7.1 no",
		Replies: []mail.Reply{mail.Permanent(550, "7.1", "no")}, Steps: mail.Steps{Receive: 50 * time.Millisecond, Relay: 20 * time.Millisecond}})
}

func broken(t *testing.T, l *maillog.Logger) {
	s := client(mail.Inbound, "inbound", "203.0.113.9:4711")
	l.Lost(s, "DATA", 4096)
	l.Transaction(transaction(t, s, "HODWUD6F8G", ""), mail.Outcome{Kind: mail.Aborted, Detail: "lost connection after DATA (4096 bytes)"})
	l.Timeout(s, "RCPT", 0)
	l.TooManyErrors(s, "RCPT")
	l.Pipelining(s, "CONNECT")
	l.Transaction(transaction(t, s, "HODWUE9H1J", sample), mail.Outcome{Kind: mail.Ambiguous, NextHop: nextHop,
		NextHopReply: nextHop + ": lost connection at end of data -- message may be sent more than once",
		Replies:      []mail.Reply{mail.Temporary(451, "4.2", "The connection to the next mail server failed, please try again later")},
		Steps:        mail.Steps{Receive: 50 * time.Millisecond, Relay: 90 * time.Second}})
}

func warnings(l *maillog.Logger) {
	s := client(mail.Inbound, "inbound", "203.0.113.9:4711")
	l.Info("master", "started", slog.String("version", "devel"), slog.String("mode", "observe"), slog.String("pid", "812"))
	l.ClientWarn(s, "message refused: not allowed in a message", slog.String("what", "bare carriage return"), slog.String("id", "HODWUFK2L3"),
		slog.Int("bare_lf", 0), slog.Int("bare_cr", 2), slog.Int("nul", 0))
	l.Warn("relay", "no usable connection to the next hop", slog.String("next_hop", "mailserver"),
		slog.String("detail", "192.0.2.20:25: dial tcp 192.0.2.20:25: connect: connection refused"))
	l.Admin("root", "reload", "done")
}

// people is who logs in, who only tries, and what an alias stands for.
func people(t *testing.T, l *maillog.Logger) {
	s := client(mail.Outbound, "submission", "203.0.113.77:4711")
	s.Host = mail.HostName{Name: "dsl-77.isp.example", Confirmed: true}
	l.ClientWarn(s, "SASL PLAIN authentication failed: wrong user or password", slog.String("sasl_username", "juan@example.org"))
	l.Warn("conduct", "client banned", slog.String("client", "203.0.113.78/32"), slog.String("reason", "wrong passwords"),
		slog.Duration("for", 10*time.Minute), slog.Int("times", 1))
	l.Info("relay", "Verified TLS connection established to smtp.provider.example[192.0.2.30]:465, TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits)",
		slog.String("next_hop", "smarthost"))
	s.Login, s.LoginMethod, s.Proto = "juan@example.org", "PLAIN", "ESMTPSA"
	tx := transaction(t, s, "HODWUG3M5N", sample)
	tx.Direction, tx.Identity = mail.Out, mail.Identity{User: s.Login, Source: "auth"}
	tx.ForwardPaths[0].Alias = path("info", "example.org")
	l.Transaction(tx, mail.Outcome{Kind: mail.Relayed, NextHop: nextHop, NextHopReply: "250 2.0.0 Ok: queued as 4ABCDEF02", QueueID: "4ABCDEF02",
		Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: queued as 4ABCDEF02")}})
}
