package relay

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// start runs a fake next hop for the test.
func start(t testing.TB, cfg fakehop.Config) *fakehop.Server {
	t.Helper()
	s, err := fakehop.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// logged collects alerts.
type logged struct {
	mu    sync.Mutex
	lines []string
	news  []string
}

// Info is kept apart: no fault.
func (l *logged) Info(component, text string, attrs ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.news = append(l.news, text)
}

func (l *logged) Warn(component, text string, attrs ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range attrs {
		text += " " + a.String()
	}
	l.lines = append(l.lines, component+": "+text)
}

func (l *logged) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.lines, "\n"), part)
}

// testConfig is DefaultConfig in clear text with short waits.
func testConfig(url string) Config {
	c := DefaultConfig()
	c.URL, c.TLS = url, "none"
	return c
}

func hop(t testing.TB, c Config, change ...func(*Options)) (*NextHop, *logged) {
	t.Helper()
	l := &logged{}
	o := Options{Name: "test", Config: c, Hostname: "gw.example", Log: l, Own: NewOwnSockets()}
	for _, f := range change {
		f(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, l
}

func transaction(change ...func(*mail.Transaction)) *mail.Transaction {
	tx := &mail.Transaction{
		Session: &mail.Session{
			ID: "S1", Role: mail.Inbound, Helo: "client.example", Proto: "ESMTP",
			Client: netip.MustParseAddrPort("192.0.2.7:4321"),
			Host:   mail.HostName{Name: "mx.client.example", Confirmed: true},
		},
		ID:       "T1",
		Envelope: mail.Envelope{ReversePath: mail.Path{Local: "from", Domain: "client.example"}},
	}
	for _, f := range change {
		f(tx)
	}
	return tx
}

func rcpt(local string) mail.Recipient {
	return mail.Recipient{Path: mail.Path{Local: local, Domain: "our.example"}}
}

// text is a Body of one slice.
type text string

func (b text) Size() int64 { return int64(len(b)) }
func (b text) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write([]byte(b))
	return int64(n), err
}

// fixed is a Body that hands over the slice it has.
type fixed []byte

func (b fixed) Size() int64 { return int64(len(b)) }
func (b fixed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

const sample = "Subject: x\r\n\r\nline\r\n.dot\r\n..two\r\n.\r\nend\r\n"

// send delivers the sample to the recipients and gives each answer and the outcome.
func send(t testing.TB, h *NextHop, tx *mail.Transaction, to ...string) ([]mail.Reply, mail.Outcome) {
	t.Helper()
	ctx := t.Context()
	d := h.Begin(tx)
	var answers []mail.Reply
	for _, l := range to {
		r, _ := d.Rcpt(ctx, rcpt(l))
		answers = append(answers, r)
	}
	return answers, d.Data(ctx, text(sample))
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPlainDelivery(t *testing.T) {
	for name, ext := range map[string][]string{"pipelining": nil, "step by step": {"SIZE", "8BITMIME"}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, fakehop.Config{Extensions: ext})
			h, l := hop(t, testConfig(s.URL()))
			for range 3 {
				answers, o := send(t, h, transaction(), "a", "b")
				for _, r := range answers {
					if r.Code != 250 || r.Enhanced != "2.1.5" || r.Text != "Ok" {
						t.Fatalf("RCPT: %v", r)
					}
				}
				if o.Kind != mail.Relayed || o.Replies[0].Code != 250 || !strings.HasPrefix(o.QueueID, "FAKE") {
					t.Fatalf("outcome %+v", o)
				}
				if want := "127.0.0.1[127.0.0.1]:"; !strings.HasPrefix(o.NextHop, want) || o.TLS != "" {
					t.Fatalf("outcome %+v", o)
				}
			}
			got := s.Accepted()
			if len(got) != 3 || len(s.Conns()) != 1 {
				t.Fatalf("%d messages over %d connections", len(got), len(s.Conns()))
			}
			m := got[2]
			if string(m.Data) != sample || m.From != "from@client.example" || strings.Join(m.To, ",") != "a@our.example,b@our.example" {
				t.Fatalf("received %+v", m)
			}
			if s.Count("RSET") != 0 {
				t.Error("RSET between two good messages")
			}
			if len(l.lines) != 0 {
				t.Error(l.lines)
			}
			if st := h.Stats(); st.Relayed != 3 || st.Connects != 1 || st.Idle != 1 || st.Busy != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	s := start(t, fakehop.Config{})
	h, _ := hop(t, testConfig(s.URL()))
	if h.Capabilities().Known {
		t.Error("known before a probe")
	}
	if err := h.Probe(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := h.Capabilities()
	if !want.Known || want.Size != 26214400 || !want.EightBitMIME || !want.SMTPUTF8 || !want.DSN {
		t.Errorf("%+v", want)
	}
	if got := strings.Join(s.Conns()[0].Commands(), "|"); got != "EHLO gw.example|QUIT" {
		t.Error(got)
	}
	s.Close()
	if err := h.Probe(context.Background()); err == nil {
		t.Error("a probe of nothing succeeded")
	}
	if h.Capabilities() != want {
		t.Error("a failed probe forgot the capabilities")
	}
}
