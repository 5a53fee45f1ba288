package hold

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
)

const received = "Received: from x by gw.example (Garita);\r\n\tMon, 2 Jan 2006 15:04:05 +0000\r\n"

// sample is a message with a field that the rendering takes out.
func sample(subject string) string {
	return "Subject: " + subject + "\r\nX-Garita-Forged: yes\r\nFrom: A <a@s.example>\r\n\r\nHello " + subject + "\r\n.dot\r\n"
}

// relayed is how sample goes out.
func relayed(subject string) string {
	return received + strings.Replace(sample(subject), "X-Garita-Forged: yes\r\n", "", 1)
}

func spool(t testing.TB, text string) *message.Message {
	t.Helper()
	m, err := message.Spool(context.Background(), strings.NewReader(text), message.Limits{Memory: 1 << 20, Dir: os.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func render(t testing.TB, m *message.Message) Body {
	t.Helper()
	edits := []message.Edit{m.Header().Prepend([]byte(received))}
	if f, ok := m.Header().Get("X-Garita-Forged"); ok {
		edits = append(edits, message.Edit{At: f.Start, Delete: f.End - f.Start})
	}
	r, err := m.Render(edits)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func transaction(m *message.Message, from string, to ...string) *mail.Transaction {
	tx := &mail.Transaction{ID: "4ABCDEF01", Direction: mail.In, NextHop: "inside", Message: m, Session: &mail.Session{
		ID: "S1", Listener: "in", Role: mail.Inbound, Helo: "bad\xffhelo\x1b[2J", Proto: "ESMTP",
		Client: netip.MustParseAddrPort("203.0.113.9:4000"), Peer: netip.MustParseAddrPort("203.0.113.9:4000")}}
	tx.ReversePath = pathOf(from)
	tx.Params = mail.Params{SMTPUTF8: false, EnvID: "e\x80id", Ret: "HDRS", Size: 3}
	for _, a := range to {
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: pathOf(a), Notify: []string{"NEVER"}})
	}
	return tx
}

func pathOf(s string) mail.Path {
	if s == "" {
		return mail.Path{}
	}
	local, domain, _ := strings.Cut(s, "@")
	return mail.Path{Local: local, Domain: domain}
}

func decision(symbol string) mail.Decision {
	return mail.Decision{Verdict: mail.Quarantine, Score: 7, Because: []mail.Finding{
		{Symbol: symbol, Detail: "name \xff\x1b]0;x\a", Stage: mail.StageMessage, Verdict: mail.Quarantine}}}
}

type kit struct {
	*Keeper
	t   *testing.T
	dir string
}

func newKit(t *testing.T, dir string, change func(*Options)) *kit {
	t.Helper()
	o := Options{Dir: dir, Config: Default()}
	o.Config.MinFree = 0
	if change != nil {
		change(&o)
	}
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	<-k.ready
	out := &kit{k, t, dir}
	t.Cleanup(func() { out.end() })
	return out
}

func (k *kit) end() {
	if k.Keeper != nil {
		k.Close()
		k.Keeper = nil
	}
}

func (k *kit) again(change func(*Options)) *kit {
	k.t.Helper()
	k.end()
	return newKit(k.t, k.dir, change)
}

func (k *kit) holdOne(subject, from string, to ...string) (string, error) {
	k.t.Helper()
	m := spool(k.t, sample(subject))
	defer m.Release()
	return k.Hold(context.Background(), transaction(m, from, to...), decision("virus.found"), render(k.t, m))
}

func (k *kit) must(subject, from string, to ...string) string {
	k.t.Helper()
	id, err := k.holdOne(subject, from, to...)
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

func (k *kit) list(f Filter) []Entry {
	k.t.Helper()
	page, _, _, err := k.List(context.Background(), f)
	if err != nil {
		k.t.Fatal(err)
	}
	return page
}

func (k *kit) ids(f Filter) string {
	k.t.Helper()
	var out []string
	for _, e := range k.list(f) {
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

// hop is a next hop that remembers.
type hop struct {
	mu   sync.Mutex
	got  []string // "recipient: message"
	fail func(to []mail.Recipient) *Attempt
	one  bool // a recipient a transaction, as LMTP
}

func (h *hop) send(_ context.Context, tx *mail.Transaction, to []mail.Recipient, m Body) Attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		if a := h.fail(to); a != nil {
			return *a
		}
	}
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != m.Size() || tx.Params.Size != n {
		return Attempt{Reply: fmt.Sprint("size ", n, m.Size(), err)}
	}
	a := Attempt{Relayed: true, Took: to, Reply: "250 Ok", NextHop: "inside"}
	if h.one {
		a.Took, a.Left = to[:1], to[1:]
	}
	for _, r := range a.Took {
		h.got = append(h.got, r.String()+": "+b.String())
	}
	return a
}

func (h *hop) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.got, "\n")
}

// files are the names below the folder that are not the index.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	days, _ := filepath.Glob(filepath.Join(dir, "????-??-??", "*"))
	for _, f := range days {
		out = append(out, filepath.Base(f))
	}
	return out
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var ctx = context.Background()

func fixed(at *time.Time) func() time.Time { return func() time.Time { return *at } }
