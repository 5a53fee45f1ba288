package smtpproxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
)

// fakeHop is a next hop in memory that records what it was told.
type fakeHop struct {
	mu     sync.Mutex
	name   string
	caps   Capabilities
	rcpt   func(mail.Recipient) mail.Reply
	final  func() mail.Outcome // nil: relayed
	begun  int
	ended  int // deliveries that came to Data or Abort
	parks  int
	wanted bool // others wait for its connections

	machine netip.Addr // where it is
	port    uint16
	got     []received
}

type received struct {
	from string
	to   []string
	data []byte
}

func newFakeHop() *fakeHop {
	return &fakeHop{name: "inbound", caps: Capabilities{Known: true, EightBitMIME: true, SMTPUTF8: true, DSN: true}}
}

func (h *fakeHop) Name() string               { return h.name }
func (h *fakeHop) Capabilities() Capabilities { return h.caps }

func (h *fakeHop) LeadsTo(a netip.Addr) (uint16, bool) {
	return h.port, h.machine.IsValid() && h.machine == a
}

func (h *fakeHop) Begin(tx *mail.Transaction) Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun++
	return &fakeDelivery{h: h, tx: tx}
}

func (h *fakeHop) messages() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]received(nil), h.got...)
}

func (h *fakeHop) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begun - h.ended
}

type fakeDelivery struct {
	h    *fakeHop
	tx   *mail.Transaction
	to   []string
	done bool
}

func (d *fakeDelivery) Rcpt(_ context.Context, r mail.Recipient) (mail.Reply, error) {
	if d.h.rcpt != nil {
		if rep := d.h.rcpt(r); !rep.Positive() {
			return rep, nil
		}
	}
	d.to = append(d.to, r.String())
	return mail.OK(250, "1.5", "Ok"), nil
}

func (d *fakeDelivery) end() {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.done {
		panic("delivery ended twice")
	}
	d.done = true
	d.h.ended++
}

func (d *fakeDelivery) Data(_ context.Context, b Body) mail.Outcome {
	d.end()
	var buf bytes.Buffer
	n, err := b.WriteTo(&buf)
	if err != nil || n != b.Size() {
		return mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{replyInternal}, Detail: "size"}
	}
	if d.h.final != nil {
		if o := d.h.final(); o.Kind != mail.Relayed {
			return o
		}
	}
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.h.got = append(d.h.got, received{d.tx.ReversePath.String(), d.to, buf.Bytes()})
	return mail.Outcome{Kind: mail.Relayed, QueueID: "ABC", Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: queued as ABC")}}
}

func (d *fakeDelivery) Park() { d.h.mu.Lock(); d.h.parks++; d.h.mu.Unlock() }

func (d *fakeDelivery) Forget(rcpts []mail.Recipient) {
	d.Park()
	for _, r := range rcpts {
		d.to = slices.DeleteFunc(d.to, func(have string) bool { return have == r.String() })
	}
}
func (d *fakeDelivery) Wanted() bool {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.h.wanted
}
func (d *fakeDelivery) Abort() {
	if !d.done {
		d.end()
	}
}

// fakePolicy answers as its fields say and counts Finish.
type fakePolicy struct {
	mu       sync.Mutex
	connect  func(*mail.Session) mail.Decision
	rcpt     func(*mail.Transaction, mail.Recipient) mail.Decision
	message  func(*mail.Transaction) mail.Decision
	again    func(*mail.Transaction, *message.Message) mail.Decision
	finish   func(*mail.Transaction)
	outcomes []mail.Outcome
	closed   int
}

func (p *fakePolicy) Connect(_ context.Context, s *mail.Session) mail.Decision {
	if p.connect != nil {
		return p.connect(s)
	}
	return mail.Decision{}
}
func (p *fakePolicy) Helo(context.Context, *mail.Session) mail.Decision     { return mail.Decision{} }
func (p *fakePolicy) Mail(context.Context, *mail.Transaction) mail.Decision { return mail.Decision{} }
func (p *fakePolicy) Rcpt(_ context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision {
	if p.rcpt != nil {
		return p.rcpt(tx, r)
	}
	return mail.Decision{}
}
func (p *fakePolicy) Data(context.Context, *mail.Transaction) mail.Decision { return mail.Decision{} }
func (p *fakePolicy) Message(_ context.Context, tx *mail.Transaction) mail.Decision {
	if p.message != nil {
		return p.message(tx)
	}
	return mail.Decision{}
}
func (p *fakePolicy) Again(_ context.Context, tx *mail.Transaction, m *message.Message) mail.Decision {
	if p.again != nil {
		return p.again(tx, m)
	}
	return mail.Decision{}
}
func (p *fakePolicy) Finish(_ context.Context, tx *mail.Transaction, o mail.Outcome) {
	if p.finish != nil {
		p.finish(tx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes = append(p.outcomes, o)
}
func (p *fakePolicy) Closed(*mail.Session) { p.mu.Lock(); p.closed++; p.mu.Unlock() }

// kit is a server on a loopback port with a fake next hop.
type kit struct {
	t      testing.TB
	srv    *Server
	hop    *fakeHop
	policy *fakePolicy
	addr   string
	set    *Settings
	budget *message.Budget
}

// newKit starts a server; change may alter the settings before.
func newKit(t testing.TB, role string, change func(*Settings, *Listener)) *kit {
	t.Helper()
	return newTunedKit(t, role, change, func(*Server) {})
}

// newTunedKit lets tune alter what is constant but for tests.
func newTunedKit(t testing.TB, role string, change func(*Settings, *Listener), tune func(*Server)) *kit {
	t.Helper()
	k := &kit{t: t, hop: newFakeHop(), policy: &fakePolicy{}}
	lc := DefaultListener(role)
	lc.Listen, lc.NextHop = []string{"127.0.0.1:0"}, "inbound"
	if role == "inbound" {
		lc.RelayDomains = []string{"our.example"}
	} else {
		lc.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	ln := &Listener{ListenerConfig: lc}
	k.set = &Settings{Hostname: "mx.our.example", Limits: DefaultLimits(), Policy: k.policy,
		Listeners: map[string]*Listener{"test": ln}}
	if change != nil {
		change(k.set, ln)
	}
	if ln.Router == nil {
		ln.Router = NewRouter(ln.ListenerConfig, k.hop)
	}
	k.budget = message.NewBudget(message.BudgetConfig{Total: k.set.Limits.MessagesTotal,
		Memory: k.set.Limits.MessagesMemory, Headroom: ln.MaxMessageSize, ReserveShare: 0.2})
	k.srv = NewServer(ServerConfig{Budget: k.budget, SpoolDir: t.TempDir()})
	k.srv.sleep = func(time.Duration) {}
	tune(k.srv)
	if err := k.srv.Apply(k.set); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- k.srv.Serve("test", l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := k.srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := k.hop.open(); n != 0 {
			t.Errorf("%d deliveries were never ended", n)
		}
		if u := k.budget.Usage(); u.Used != 0 {
			t.Errorf("budget still holds %d octets", u.Used)
		}
	})
	return k
}

// client is a raw SMTP client that sees exact bytes.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (k *kit) dial() *client {
	k.t.Helper()
	conn, err := net.Dial("tcp", k.addr)
	if err != nil {
		k.t.Fatal(err)
	}
	c := &client{t: k.t, Conn: conn, r: bufio.NewReader(conn)}
	k.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// hello dials and greets.
func (k *kit) hello() *client {
	k.t.Helper()
	c := k.dial()
	c.want("220")
	c.do("250", "EHLO client.example")
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("send %q: %v", s, err)
	}
}

// reply reads one whole reply; "" at the end of the connection.
func (c *client) reply() string {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String()
		}
		if len(line) < 4 || line[3] != '-' {
			return b.String()
		}
	}
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply %q, want %s", got, prefix)
	}
	return got
}

// do sends a command and wants a reply.
func (c *client) do(prefix, command string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("%q: reply %q, want %s", command, got, prefix)
	}
	return got
}

// envelope opens a transaction to one good recipient.
func (c *client) envelope() {
	c.t.Helper()
	c.do("250", "MAIL FROM:<a@sender.example>")
	c.do("250", "RCPT TO:<b@our.example>")
}

// closed wants the end of the connection.
func (c *client) closed() {
	c.t.Helper()
	if got := c.reply(); got != "" {
		c.t.Fatalf("after the close: %q", got)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// below cuts our Received field off.
func below(t testing.TB, data []byte) string {
	t.Helper()
	s := string(data)
	if !strings.HasPrefix(s, "Received: from ") {
		t.Fatalf("no Received in front: %.80q", s)
	}
	for i := 0; ; {
		j := strings.Index(s[i:], "\r\n")
		if j < 0 {
			t.Fatal("Received has no end")
		}
		i += j + 2
		if i >= len(s) || (s[i] != ' ' && s[i] != '\t') {
			return s[i:]
		}
	}
}

func (k *kit) open() []*session {
	k.srv.mu.Lock()
	defer k.srv.mu.Unlock()
	var out []*session
	for s := range k.srv.sessions {
		out = append(out, s)
	}
	return out
}

// withHeader sends a header in front of its first write.
type withHeader struct {
	net.Conn
	header string
}

func (w *withHeader) Write(p []byte) (int, error) {
	h := w.header
	w.header = ""
	if h == "" {
		return w.Conn.Write(p)
	}
	_, err := w.Conn.Write(append([]byte(h), p...))
	return len(p), err
}
