package maillog

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
)

// syncBuffer is a destination that tests can read while the writer writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func fixedNow() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC) }

// capture runs f with a logger and gives what it wrote.
func capture(t testing.TB, edit func(*Config), f func(l *Logger)) string {
	t.Helper()
	var out syncBuffer
	c := Default()
	c.Queue = 1 << 20
	if edit != nil {
		edit(&c)
	}
	l, err := New(c, Env{Hostname: "gw", PID: 812, Now: fixedNow, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	f(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func asJSON(c *Config) { c.Format = "json" }

func testSession() *mail.Session {
	return &mail.Session{
		ID: "S1", Listener: "mx", Role: mail.Inbound,
		Peer:   netip.MustParseAddrPort("203.0.113.9:4711"),
		Client: netip.MustParseAddrPort("203.0.113.9:4711"),
		Host:   mail.HostName{Name: "mail.example.org", Confirmed: true},
		Helo:   "mail.example.org", Proto: "ESMTP",
		Start: fixedNow().Add(-2 * time.Second),
	}
}

func testTransaction(t testing.TB, text string) *mail.Transaction {
	t.Helper()
	tx := &mail.Transaction{
		Session: testSession(), ID: "4ABCDEF01", Direction: mail.In,
		Envelope: mail.Envelope{
			ReversePath:  mail.Path{Local: "ana", Domain: "example.org"},
			ForwardPaths: []mail.Recipient{{Path: mail.Path{Local: "juan", Domain: "example.com"}}},
		},
	}
	if text != "" {
		m, err := message.Spool(context.Background(), strings.NewReader(text), message.Limits{Max: 1 << 20, Memory: 1 << 20, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		tx.Message = m
	}
	return tx
}

func relayed() mail.Outcome {
	return mail.Outcome{
		Kind:         mail.Relayed,
		Replies:      []mail.Reply{mail.OK(250, "0.0", "Ok: queued as 4XYZ")},
		NextHop:      "zimbra[10.0.0.5]:25",
		NextHopReply: "250 2.0.0 Ok: queued as 4XYZ", QueueID: "4XYZ",
		Steps: mail.Steps{Receive: 120 * time.Millisecond, Check: 1500 * time.Microsecond, Relay: 1250 * time.Millisecond},
	}
}

const plainMessage = "Received: x\r\nMessage-ID: <1@example.org>\r\nSubject: s\r\n\r\nbody\r\n"
