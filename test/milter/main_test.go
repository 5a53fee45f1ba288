// Package milter lets milterd talk to a real Postfix: each verdict at each
// stage, the octets that are delivered, users of Dovecot SASL, a second milter
// beside it, the program killed under load, and what it costs.
package milter

import (
	"context"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
	"garita/milterd"
	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// script is a Policy that does what the envelope and the subject ask for.
type script struct {
	mu    sync.Mutex
	seen  map[string]string // messages by their Subject
	txs   []mail.Transaction
	ends  []mail.Outcome
	hosts []mail.HostName
}

// asked is the decision that a word asks for.
func asked(word string) mail.Decision {
	switch {
	case strings.Contains(word, "reject"):
		return mail.Decision{Verdict: mail.Reject, Reply: mail.Permanent(554, "7.1", "no, 100% sure\nsecond line")}
	case strings.Contains(word, "plainrefusal"):
		return mail.Decision{Verdict: mail.Reject}
	case strings.Contains(word, "defer"):
		return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(450, "7.1", "not now")}
	case strings.Contains(word, "suspend"):
		return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(450, "7.0", "account suspended"), Close: true}
	}
	return mail.Decision{}
}

func (p *script) Connect(_ context.Context, s *mail.Session) mail.Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts = append(p.hosts, s.Host)
	if s.Client.Addr().String() == "127.0.0.66" {
		return asked("reject")
	}
	return mail.Decision{}
}
func (p *script) Helo(_ context.Context, s *mail.Session) mail.Decision { return asked(s.Helo) }
func (p *script) Mail(_ context.Context, tx *mail.Transaction) mail.Decision {
	return asked(tx.ReversePath.Local)
}
func (p *script) Rcpt(_ context.Context, _ *mail.Transaction, r mail.Recipient) mail.Decision {
	return asked(r.Local)
}
func (p *script) Data(_ context.Context, tx *mail.Transaction) mail.Decision {
	if tx.ReversePath.Local == "data" {
		return asked(tx.ReversePath.Domain)
	}
	return mail.Decision{}
}

func (p *script) Message(_ context.Context, tx *mail.Transaction) mail.Decision {
	raw, err := io.ReadAll(tx.Message.Raw())
	if err != nil {
		panic(err)
	}
	h := tx.Message.Header()
	f, _ := h.Get("Subject")
	subject := f.Value()
	p.mu.Lock()
	p.seen[subject] = string(raw)
	p.mu.Unlock()
	d := asked(subject)
	bcc := mail.Recipient{Path: mail.Path{Local: "copy", Domain: "our.test"}}
	put := func(at, n int64, text string) {
		d.Edits = append(d.Edits, message.Edit{At: at, Delete: n, Insert: []byte(text)})
	}
	switch subject {
	case "discard":
		d.Verdict = mail.Discard
	case "quarantine":
		d.Verdict = mail.Quarantine
		d.Because = []mail.Finding{{Symbol: "test.held", Counted: true}}
	case "edits":
		// in front, between, a value, two fields out, and behind all
		fs := h.Fields()
		at := func(name string, n int) message.Field { return h.All(name)[n] }
		put(h.Start(), 0, "X-Front: one\r\n two\r\nX-Front: three\r\n")
		put(at("X-B", 0).Start, 0, "X-Before-B: yes\r\n")
		x := at("X-B", 1)
		put(x.Start, x.End-x.Start, "")
		put(f.Start, f.End-f.Start, "Subject:  [tag] edits\r\n\tfolded\r\n")
		x = at("Received", 0)
		put(x.Start, x.End-x.Start, "")
		put(fs[len(fs)-1].End, 0, "X-Last: end\r\n")
		slices.SortFunc(d.Edits, func(a, b message.Edit) int { return int(a.At - b.At) })
	case "rewrite":
		put2 := func(at, n int64, text string) {
			d.Rewrite = append(d.Rewrite, message.Edit{At: at, Delete: n, Insert: []byte(text)})
		}
		i := int64(strings.Index(string(raw), "secret"))
		put2(i, int64(len("secret")), "******")
	case "redirect":
		d.Envelope = []mail.EnvelopeEdit{{Kind: mail.EditRedirect, To: bcc}}
	case "bcc":
		d.Envelope = []mail.EnvelopeEdit{{Kind: mail.EditBCC, To: bcc}}
	case "route":
		d.Envelope = []mail.EnvelopeEdit{{Kind: mail.EditRoute, Hop: "elsewhere"}}
	}
	return d
}
func (p *script) Again(context.Context, *mail.Transaction, *message.Message) mail.Decision {
	return mail.Decision{}
}
func (p *script) Finish(_ context.Context, tx *mail.Transaction, o mail.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, t := *tx.Session, *tx
	t.Session = &s
	p.txs, p.ends = append(p.txs, t), append(p.ends, o)
}
func (p *script) Closed(*mail.Session) {}

func (p *script) last() (mail.Transaction, mail.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ends) == 0 {
		return mail.Transaction{Session: &mail.Session{}}, mail.Outcome{}
	}
	return p.txs[len(p.txs)-1], p.ends[len(p.ends)-1]
}

// box is a holding place in memory.
type box struct {
	mu   sync.Mutex
	held []string
}

func (b *box) Hold(_ context.Context, _ *mail.Transaction, _ mail.Decision, m milterd.Body) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s strings.Builder
	_, err := m.WriteTo(&s)
	b.held = append(b.held, s.String())
	return "H1", err
}
func (b *box) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m milterd.Body) (string, error) {
	return b.Hold(ctx, tx, d, m)
}
func (b *box) Drop(string) error { return nil }

// ours is the milter in this process.
type ours struct {
	*script
	box  *box
	addr string // as Postfix names it
	log  func() string
}

func start(t testing.TB, change func(*milterd.Settings)) *ours {
	t.Helper()
	dir := harness.Dir(t)
	c := maillog.Default()
	c.Output = filepath.Join(dir, "log")
	log, err := maillog.New(c, maillog.Env{Hostname: "gw.test"})
	if err != nil {
		t.Fatal(err)
	}
	o := &ours{script: &script{seen: map[string]string{}}, box: &box{}}
	set := &milterd.Settings{Config: milterd.Default(), Hostname: "gw.test", Policy: o.script, Keeper: o.box,
		Memory: 1 << 20, MaxRecipients: 100, MaxHops: 50}
	if change != nil {
		change(set)
	}
	s := milterd.NewServer(milterd.ServerConfig{Log: log, SpoolDir: dir,
		Budget: message.NewBudget(message.BudgetConfig{Total: 1 << 30, Memory: 64 << 20, Headroom: 50 << 20})})
	s.Apply(set)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	o.addr = "inet:" + l.Addr().String()
	o.log = func() string {
		log.Flush()
		b, _ := os.ReadFile(c.Output)
		return string(b)
	}
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		log.Close()
	})
	return o
}

// postfix is an instance with those milters.
func postfix(t testing.TB, milters string, more map[string]string, smtpd ...string) *harness.Postfix {
	t.Helper()
	main := map[string]string{"smtpd_milters": milters, "milter_default_action": "tempfail", "soft_bounce": "no",
		"smtpd_error_sleep_time": "0", "smtpd_soft_error_limit": "1000", "smtpd_hard_error_limit": "1000"}
	for k, v := range more {
		main[k] = v
	}
	return harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}, Main: main, Smtpd: smtpd})
}

// said sends a message to one recipient and gives the last answer.
func said(t testing.TB, p *harness.Postfix, helo, from, to, message string) harness.Reply {
	t.Helper()
	c := harness.Dial(t, p.Addr)
	if r := c.Reply(); r.Code != 220 {
		return r
	}
	for _, line := range []string{"EHLO " + helo, "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"} {
		if r := c.Say(line).Reply(); r.Class() != 2 {
			return r
		}
	}
	if r := c.Say("DATA").Reply(); r.Code != 354 {
		return r
	}
	return c.Raw(harness.Stuff(message)).Reply()
}
