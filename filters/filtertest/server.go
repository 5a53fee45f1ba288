package filtertest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/failover"
	"garita/filters"
	"garita/mail"
	"garita/message"
)

// Plain is a small message.
const Plain = "Subject: hello\r\nFrom: a@sender.example\r\n\r\nHello.\r\n"

// Spool makes a message of text.
func Spool(t testing.TB, text string) *message.Message {
	t.Helper()
	m, err := message.Spool(context.Background(), strings.NewReader(text), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Transaction makes one with this message, from a client with a confirmed
// name.
func Transaction(t testing.TB, text string) *mail.Transaction {
	t.Helper()
	m := Spool(t, text)
	t.Cleanup(m.Release)
	client := netip.MustParseAddrPort("192.0.2.1:4000")
	tx := &mail.Transaction{Session: &mail.Session{Client: client, Peer: client, Helo: "helo.sender.example",
		Host: mail.HostName{Name: "mail.sender.example", Confirmed: true}, Proto: "ESMTPS"}, ID: "ABC123", Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "our.example"}}, {Path: mail.Path{Local: "c", Domain: "our.example"}}}
	return tx
}

// Rendered is the message with these edits.
func Rendered(t testing.TB, m *message.Message, edits []message.Edit) string {
	t.Helper()
	r, err := m.Render(edits)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Scripted is a server on network, tcp or unix, that does what the script says
// with each connection. The address is host:port or the path of the socket.
func Scripted(t testing.TB, network string, script func(c net.Conn)) string {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				script(c)
			})
		}
	})
	return l.Addr().String()
}

// Asking is a check that asks one of several servers about a message (package
// failover), as these tests see it.
type Asking struct {
	Symbol string // of its error
	// New makes the check with these servers and lines of configuration; now
	// and log may be nil. The name is the site's, not the server's.
	New func(t testing.TB, now func() time.Time, log func(string, error), servers []string, lines ...string) filters.Check
	// Serve starts a server, Hear reads one request with Plain, Answer answers
	// one that there is nothing to say about the message.
	Serve  func(t testing.TB, script func(net.Conn)) string
	Hear   func(c net.Conn)
	Answer func(c net.Conn)
}

// asked is what Impl of such a check can do.
type asked interface {
	MessageCheck
	Status() []failover.State
}

func (a Asking) made(t testing.TB, servers []string, lines ...string) asked {
	return a.New(t, nil, nil, servers, lines...).Impl.(asked)
}

func nobody(t testing.TB) []string { return []string{"unix:" + filepath.Join(t.TempDir(), "none")} }

// Run plays what every such check must stand: servers that are gone, rest,
// come back or hang, and clients who leave.
func (a Asking) Run(t *testing.T) {
	t.Run("on_error", a.onError)
	t.Run("fail-over", a.failOver)
	t.Run("all rest", func(t *testing.T) {
		k := a.made(t, nobody(t))
		for range failover.TripAfter {
			_, _ = k.CheckMessage(t.Context(), Transaction(t, Plain))
		}
		if _, err := k.CheckMessage(t.Context(), Transaction(t, Plain)); !errors.Is(err, failover.ErrResting) {
			t.Error(err)
		}
	})
	t.Run("a client that goes away says nothing about the server", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k := a.made(t, []string{a.Serve(t, func(c net.Conn) { a.Hear(c); cancel(); <-t.Context().Done() })}, "timeout 1m")
		if _, err := k.CheckMessage(ctx, Transaction(t, Plain)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if st := k.Status(); st[0].Failed != 0 || !st[0].Up {
			t.Errorf("%+v", st)
		}
	})
	t.Run("a server that hangs takes its share alone", func(t *testing.T) {
		hangs := a.Serve(t, func(c net.Conn) { a.Hear(c); <-t.Context().Done() })
		k := a.made(t, []string{hangs, a.Serve(t, a.Answer)}, "timeout 2s")
		if _, err := k.CheckMessage(t.Context(), Transaction(t, Plain)); err != nil {
			t.Error(err)
		}
	})
}

// onError is what the engine makes of a check that fails.
func (a Asking) onError(t *testing.T) {
	for word, want := range map[string]mail.Verdict{"continue": mail.Continue, "defer": mail.Defer} {
		e, err := filters.New(filters.Config{Checks: []filters.Check{a.New(t, nil, nil, nobody(t), "on_error "+word)}})
		if err != nil {
			t.Fatal(err)
		}
		d := e.Message(t.Context(), Transaction(t, Plain))
		if d.Verdict != want || len(d.Because) != 1 || d.Because[0].Symbol != a.Symbol {
			t.Errorf("%s: %v %v", word, d.Verdict, d.Because)
		}
	}
}

// failOver: the next server answers; the dead one rests after three failures
// and is tried again when its rest is over.
func (a Asking) failOver(t *testing.T) {
	var mu sync.Mutex
	clock, alive := time.Unix(1e9, 0), false
	var told []string
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }
	first := a.Serve(t, func(c net.Conn) {
		mu.Lock()
		up := alive
		mu.Unlock()
		if up {
			a.Answer(c)
		}
	})
	log := func(text string, _ error) { told = append(told, text) }
	k := a.New(t, now, log, []string{first, a.Serve(t, a.Answer)}).Impl.(asked)
	ask := func(wantAsked uint64) {
		t.Helper()
		if _, err := k.CheckMessage(t.Context(), Transaction(t, Plain)); err != nil {
			t.Fatal(err)
		}
		if st := k.Status(); st[0].Asked != wantAsked {
			t.Fatalf("%+v, want %d", st, wantAsked)
		}
	}
	rest := func(up bool) {
		mu.Lock()
		clock, alive = clock.Add(failover.RestFor), up
		mu.Unlock()
	}
	ask(1)
	ask(2)
	ask(3)
	ask(3)
	if st := k.Status(); st[0].Up || !st[1].Up || st[0].Failed != 3 || len(told) != 1 {
		t.Errorf("%+v, told %q", st, told)
	}
	rest(false)
	ask(4) // the probe fails
	ask(4)
	rest(true)
	ask(5)
	ask(6)
	if st := k.Status(); !st[0].Up || st[1].Asked != 6 || len(told) != 2 {
		t.Errorf("%+v, told %q", st, told)
	}
}
