package smtpproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"garita/mail"
)

// fakeKeeper is a holding place in memory.
type fakeKeeper struct {
	mu       sync.Mutex
	fail     error
	failDrop error
	held     []heldMessage
}

type heldMessage struct {
	id, to, hop, because, text string
	copied                     bool
}

func (k *fakeKeeper) Hold(_ context.Context, tx *mail.Transaction, d mail.Decision, m Body) (string, error) {
	return k.hold(tx, d, m, tx.ID+"-HELD", false)
}

func (k *fakeKeeper) Keep(_ context.Context, tx *mail.Transaction, d mail.Decision, m Body) (string, error) {
	return k.hold(tx, d, m, tx.ID+"-KEPT", true)
}

func (k *fakeKeeper) Drop(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failDrop != nil {
		return k.failDrop
	}
	n := len(k.held)
	k.held = slices.DeleteFunc(k.held, func(h heldMessage) bool { return h.copied && h.id == id })
	if len(k.held) == n {
		return errors.New("no such copy")
	}
	return nil
}

func (k *fakeKeeper) hold(tx *mail.Transaction, d mail.Decision, m Body, id string, copied bool) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return "", k.fail
	}
	var b bytes.Buffer
	if n, err := m.WriteTo(&b); err != nil || n != m.Size() {
		return "", errors.New("size")
	}
	h := heldMessage{id: id, copied: copied, hop: tx.NextHop, text: b.String()}
	for _, r := range tx.ForwardPaths {
		h.to += r.String() + " "
	}
	for _, f := range d.Because {
		h.because += f.Symbol + " "
	}
	k.held = append(k.held, h)
	return id, nil
}

func (k *fakeKeeper) all() []heldMessage {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]heldMessage(nil), k.held...)
}

func because(v mail.Verdict, symbol string) mail.Decision {
	return mail.Decision{Verdict: v, Because: []mail.Finding{{Symbol: symbol}}}
}

// TestQuarantineWithKeeper: a quarantine verdict is a hold everywhere, a reject
// where reject_as says so; the 250 names the id, and nothing is delivered.
func TestQuarantineWithKeeper(t *testing.T) {
	for _, role := range []string{"inbound", "content-filter"} {
		for verdict, want := range map[mail.Verdict]map[string]string{
			mail.Quarantine: {"inbound": "250 2.0.0 Ok: held as ", "content-filter": "250 2.0.0 Ok: held as "},
			mail.Reject:     {"inbound": "554 5.7.1", "content-filter": "250 2.0.0 Ok: held as "},
			mail.Defer:      {"inbound": "451 4.7.1", "content-filter": "451 4.7.1"},
			mail.Discard:    {"inbound": "250 2.0.0 Ok: discarded", "content-filter": "250 2.0.0 Ok: discarded"},
			mail.Continue:   {"inbound": "250 2.0.0 Ok: queued", "content-filter": "250 2.0.0 Ok: queued"},
		} {
			keep := &fakeKeeper{}
			k := newKit(t, role, func(s *Settings, _ *Listener) { s.Keeper = keep })
			k.policy.message = func(*mail.Transaction) mail.Decision { return because(verdict, "x.y") }
			c := k.hello()
			c.envelope()
			c.do("354", "DATA")
			answer := c.do(want[role], "Subject: x\r\n\r\nx\r\n.")
			held := keep.all()
			if !strings.Contains(want[role], "held") {
				if len(held) != 0 {
					t.Errorf("%s %v: held", role, verdict)
				}
				continue
			}
			if len(held) != 1 || held[0].hop != "inbound" || held[0].because != "x.y " || !strings.HasPrefix(held[0].text, "Received: from ") || !strings.Contains(answer, "-HELD\r\n") {
				t.Errorf("%s %v: %q %+v", role, verdict, answer, held)
			}
			if len(k.hop.messages()) != 0 {
				t.Errorf("%s %v: delivered too", role, verdict)
			}
		}
	}
}

// TestHoldFails: what cannot be stored stays with the sender (I1, Q-20).
func TestHoldFails(t *testing.T) {
	keep := &fakeKeeper{fail: errors.New("no space left on device")}
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Keeper = keep })
	k.policy.message = func(*mail.Transaction) mail.Decision { return because(mail.Quarantine, "x.y") }
	c := k.hello()
	c.envelope()
	c.do("354", "DATA")
	if r := c.do("451 4.3.0", "Subject: x\r\n\r\nx\r\n."); strings.Contains(r, "space") {
		t.Errorf("a stranger was told %q", r)
	}
	keep.mu.Lock()
	keep.fail = nil
	keep.mu.Unlock()
	c.envelope()
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: held as", "Subject: x\r\n\r\nx\r\n.")
}

// TestEarlyRejectIsHeld: a reject before the message becomes a hold in the
// content-filter role, and nobody else's mail is held with it.
func TestEarlyRejectIsHeld(t *testing.T) {
	keep := &fakeKeeper{}
	k := newKit(t, "content-filter", func(s *Settings, _ *Listener) { s.Keeper = keep })
	k.policy.rcpt = func(_ *mail.Transaction, r mail.Recipient) mail.Decision {
		switch r.Local {
		case "bad":
			return because(mail.Reject, "access.recipient")
		case "later":
			return mail.Decision{Verdict: mail.Defer}
		}
		return mail.Decision{}
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<bad@our.example>")
	c.do("452 4.5.3", "RCPT TO:<good@our.example>")
	c.do("451", "RCPT TO:<later@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: held as", "Subject: x\r\n\r\nx\r\n.")
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("250", "RCPT TO:<good@our.example>")
	c.do("452 4.5.3", "RCPT TO:<bad@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: queued", "Subject: x\r\n\r\nx\r\n.")
	held := keep.all()
	if len(held) != 1 || held[0].to != "bad@our.example " || held[0].because != "access.recipient " {
		t.Errorf("%+v", held)
	}
	if got := k.hop.messages(); len(got) != 1 || len(got[0].to) != 1 || got[0].to[0] != "good@our.example" {
		t.Errorf("%+v", got)
	}
	// A recipient that the next hop refuses is not held, nor are those behind.
	k.hop.rcpt = func(r mail.Recipient) mail.Reply {
		if r.Local == "bad" {
			return mail.Permanent(550, "1.1", "no")
		}
		return mail.OK(250, "1.5", "Ok")
	}
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("550", "RCPT TO:<bad@our.example>")
	c.do("250", "RCPT TO:<good@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: queued", "Subject: x\r\n\r\nx\r\n.")
}

type textBody string

func (b textBody) Size() int64 { return int64(len(b)) }
func (b textBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write([]byte(b))
	return int64(n), err
}

// TestSend is one transaction of our own: taken, refused, left for another, and
// never a success without the next hop's own.
func TestSend(t *testing.T) {
	h := newFakeHop()
	tx := &mail.Transaction{Session: &mail.Session{}}
	to := []mail.Recipient{{Path: mail.Path{Local: "a", Domain: "x"}}, {Path: mail.Path{Local: "b", Domain: "x"}}, {Path: mail.Path{Local: "c", Domain: "x"}}}
	body := textBody("Subject: x\r\n\r\nx\r\n")
	s := Send(context.Background(), h, tx, to, body)
	if s.Outcome.Kind != mail.Relayed || len(s.Took) != 3 || len(h.messages()) != 1 {
		t.Errorf("%+v", s)
	}
	n := 0
	h.rcpt = func(r mail.Recipient) mail.Reply {
		if n++; n > 1 {
			return mail.Temporary(452, "5.3", "one at a time")
		}
		return mail.OK(250, "1.5", "Ok")
	}
	if s = Send(context.Background(), h, tx, to, body); s.Outcome.Kind != mail.Relayed || len(s.Took) != 1 || len(s.Left) != 2 || len(s.Refused) != 0 {
		t.Errorf("LMTP: %+v", s)
	}
	h.rcpt = func(r mail.Recipient) mail.Reply { return mail.Permanent(550, "1.1", "no "+r.Local) }
	if s = Send(context.Background(), h, tx, to, body); s.Outcome.Kind != mail.Refused || len(s.Refused) != 3 || len(s.Took) != 0 || s.Outcome.Replies[0].Code != 550 {
		t.Errorf("refused: %+v", s)
	}
	h.rcpt = nil
	h.final = func() mail.Outcome { return mail.Outcome{Kind: mail.Ambiguous, Replies: []mail.Reply{replyInternal}} }
	if s = Send(context.Background(), h, tx, to, body); s.Outcome.Kind != mail.Ambiguous || len(s.Took) != 3 {
		t.Errorf("lost: %+v", s)
	}
	if h.open() != 0 {
		t.Errorf("%d deliveries were never ended", h.open())
	}
}
