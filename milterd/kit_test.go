package milterd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	milter "github.com/emersion/go-milter"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

// judge is a Policy that says what the test wants, and notes what it saw.
type judge struct {
	mu    sync.Mutex
	stage map[mail.Stage]mail.Decision
	look  func(tx *mail.Transaction) mail.Decision
	again mail.Decision

	seen    []string // bodies
	ends    []mail.Outcome
	txs     []mail.Transaction
	closed  int
	connect []mail.Session
}

func (j *judge) at(s mail.Stage) mail.Decision {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stage[s]
}

func (j *judge) set(s mail.Stage, d mail.Decision) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stage[s] = d
}

func (j *judge) Connect(_ context.Context, s *mail.Session) mail.Decision {
	j.mu.Lock()
	j.connect = append(j.connect, *s)
	j.mu.Unlock()
	return j.at(mail.StageConnect)
}
func (j *judge) Helo(context.Context, *mail.Session) mail.Decision     { return j.at(mail.StageHelo) }
func (j *judge) Mail(context.Context, *mail.Transaction) mail.Decision { return j.at(mail.StageMail) }
func (j *judge) Rcpt(context.Context, *mail.Transaction, mail.Recipient) mail.Decision {
	return j.at(mail.StageRcpt)
}
func (j *judge) Data(context.Context, *mail.Transaction) mail.Decision { return j.at(mail.StageData) }
func (j *judge) Message(_ context.Context, tx *mail.Transaction) mail.Decision {
	raw, err := io.ReadAll(tx.Message.Raw())
	if err != nil {
		panic(err)
	}
	j.mu.Lock()
	j.seen = append(j.seen, string(raw))
	look := j.look
	j.mu.Unlock()
	if look != nil {
		return look(tx)
	}
	return j.at(mail.StageMessage)
}
func (j *judge) Again(context.Context, *mail.Transaction, *message.Message) mail.Decision {
	return j.again
}
func (j *judge) Finish(_ context.Context, tx *mail.Transaction, o mail.Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := *tx.Session
	t := *tx
	t.Session = &s
	j.txs, j.ends = append(j.txs, t), append(j.ends, o)
}
func (j *judge) Closed(*mail.Session) { j.mu.Lock(); defer j.mu.Unlock(); j.closed++ }

// last waits for the nth end: the MTA is answered before it is told.
func (j *judge) last(t *testing.T, n int) (mail.Transaction, mail.Outcome) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		j.mu.Lock()
		if len(j.ends) >= n {
			defer j.mu.Unlock()
			return j.txs[n-1], j.ends[n-1]
		}
		j.mu.Unlock()
	}
	t.Fatalf("fewer than %d transactions have ended", n)
	panic("unreachable")
}

// box is a Keeper in memory.
type box struct {
	mu      sync.Mutex
	kept    map[string]string
	hop     string
	err     error
	dropped int
}

func (b *box) Hold(_ context.Context, tx *mail.Transaction, _ mail.Decision, m Body) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return "", b.err
	}
	var s strings.Builder
	if _, err := m.WriteTo(&s); err != nil {
		return "", err
	}
	if b.kept == nil {
		b.kept = map[string]string{}
	}
	b.kept["H1"], b.hop = s.String(), tx.NextHop
	return "H1", nil
}
func (b *box) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (string, error) {
	return b.Hold(ctx, tx, d, m)
}
func (b *box) Drop(string) error { b.dropped++; return nil }

type door struct {
	*Server
	judge *judge
	addr  string
	log   string
	set   *Settings
	t     testing.TB
}

func open(t testing.TB, change func(*Settings)) *door {
	t.Helper()
	dir := t.TempDir()
	c := maillog.Default()
	c.Output = filepath.Join(dir, "log")
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.example"})
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{stage: map[mail.Stage]mail.Decision{}}
	set := &Settings{Config: Default(), Hostname: "gw.example", Policy: j, Memory: 64 << 10, MaxRecipients: 100, MaxHops: 50}
	if change != nil {
		change(set)
	}
	s := NewServer(ServerConfig{Log: log, SpoolDir: dir, Budget: message.NewBudget(message.BudgetConfig{Total: 256 << 20, Memory: 32 << 20, Headroom: 64 << 20})})
	s.Apply(set)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	d := &door{Server: s, judge: j, addr: l.Addr().String(), log: c.Output, set: set, t: t}
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if u := s.budget.Usage(); u.Used != 0 || u.Messages != 0 {
			t.Errorf("of the budget %d octets of %d messages were not given back", u.Used, u.Messages)
		}
		log.Close()
	})
	return d
}

func (d *door) logged() string {
	d.Server.log.Flush()
	b, _ := os.ReadFile(d.log)
	return string(b)
}

const everything = milter.OptAddHeader | milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptChangeHeader | milter.OptQuarantine

// mta is a session of an MTA that can do all; less is taken away from it.
func (d *door) mta(t testing.TB, can milter.OptAction, steps milter.OptProtocol) *milter.ClientSession {
	t.Helper()
	c := milter.NewClientWithOptions("tcp", d.addr, milter.ClientOptions{ActionMask: can, ProtocolMask: steps})
	s, err := c.Session()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t testing.TB) func(a *milter.Action, err error) *milter.Action {
	return func(a *milter.Action, err error) *milter.Action {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// sent is one whole message with the macros that Postfix gives.
func sent(t testing.TB, s *milter.ClientSession, fields [][2]string, body string) ([]milter.ModifyAction, *milter.Action) {
	t.Helper()
	ok := must(t)
	for _, f := range fields {
		ok(s.HeaderField(f[0], f[1]))
	}
	ok(s.HeaderEnd())
	mods, a, err := s.BodyReadFrom(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return mods, a
}

func begin(t testing.TB, s *milter.ClientSession) {
	t.Helper()
	ok := must(t)
	ok(s.Conn("mail.client.test", milter.FamilyInet, 2525, "192.0.2.7"))
	ok(s.Helo("client.test"))
	ok(s.Mail("a@x.example", []string{"SIZE=100", "BODY=8BITMIME"}))
	ok(s.Rcpt("b@our.example", nil))
}

var errInjected = errors.New("injected")
