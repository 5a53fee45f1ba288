package policyd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
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

// engine answers by the local part of the recipient or sender, and counts.
type engine struct {
	mu    sync.Mutex
	calls []string
	last  *mail.Transaction
}

func (e *engine) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
}

func (e *engine) said() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.calls, " ")
}

func (e *engine) Connect(_ context.Context, s *mail.Session) mail.Decision {
	e.note("connect")
	if s.Helo == "at-connect" {
		return mail.Decision{Verdict: mail.Defer, Close: true, Reply: mail.Temporary(421, "7.0", "Suspended")}
	}
	return mail.Decision{}
}

func (e *engine) Helo(context.Context, *mail.Session) mail.Decision {
	e.note("helo")
	return mail.Decision{}
}

func (e *engine) Mail(_ context.Context, tx *mail.Transaction) mail.Decision {
	e.note("mail")
	if tx.ReversePath.Local == "suspended" {
		return mail.Decision{Verdict: mail.Defer, Close: true, Reply: mail.Temporary(450, "7.1", "Suspended\r\naction=OK")}
	}
	return mail.Decision{}
}

func (e *engine) Rcpt(_ context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision {
	e.note("rcpt:%s", r.Local)
	e.mu.Lock()
	e.last = tx
	e.mu.Unlock()
	switch r.Local {
	case "panic":
		panic("as asked")
	case "defer":
		return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(450, "2.0", "Greylisted, try again in 7 seconds")}
	case "reject":
		return mail.Decision{Verdict: mail.Reject, Reply: mail.Permanent(554, "7.1", "No")}
	case "close":
		return mail.Decision{Verdict: mail.Reject, Close: true, Reply: mail.Permanent(554, "7.1", "No")}
	case "discard":
		return mail.Decision{Verdict: mail.Discard}
	case "hold":
		return mail.Decision{Verdict: mail.Quarantine}
	case "accept":
		return mail.Decision{Verdict: mail.Accept}
	case "header":
		tx.Edits = append(tx.Edits, message.Edit{Insert: []byte("X-A: one\r\n two\r\n")}, message.Edit{At: 9, Insert: []byte("no\r\n")}, message.Edit{Insert: []byte("X-B: three\r\n")})
	}
	return mail.Decision{}
}

func (e *engine) Data(_ context.Context, tx *mail.Transaction) mail.Decision {
	e.note("data:%d", tx.Params.Size)
	return mail.Decision{}
}

func (e *engine) Finish(_ context.Context, _ *mail.Transaction, o mail.Outcome) {
	e.note("finish:%s", o.Kind)
}
func (e *engine) Closed(*mail.Session) { e.note("closed") }

// door is a server with that engine.
type door struct {
	*engine
	s    *Server
	addr string
}

func open(t *testing.T, set func(*Config)) *door {
	t.Helper()
	c := Default()
	if set != nil {
		set(&c)
	}
	d := &door{engine: &engine{}}
	d.s = New(Options{Config: c, Policy: d.engine})
	l, err := c.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go d.s.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		d.s.Shutdown(ctx)
	})
	d.addr = l.Addr().String()
	return d
}

type line struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func (d *door) dial(t *testing.T) *line {
	t.Helper()
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &line{c, bufio.NewReader(c), t}
}

func (l *line) send(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l, text); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) answer() string {
	l.t.Helper()
	a, err := l.r.ReadString('\n')
	b, err2 := l.r.ReadString('\n')
	if err != nil || err2 != nil || b != "\n" {
		l.t.Fatalf("%q %q %v %v", a, b, err, err2)
	}
	return strings.TrimSuffix(a, "\n")
}

// closed tells that the connection ends without another octet.
func (l *line) closed() {
	l.t.Helper()
	if rest, err := io.ReadAll(l.r); len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		l.t.Errorf("instead of the end came %q, %v", rest, err)
	}
}

func rcpt(instance, to string) string {
	return "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.1\nclient_name=mail.x.example\n" +
		"helo_name=h\nsender=a@x.example\nrecipient=" + to + "\ninstance=" + instance + "\n\n"
}

func TestActions(t *testing.T) {
	for _, permit := range []bool{false, true} {
		d := open(t, func(c *Config) { c.DeferIfPermit = permit })
		l := d.dial(t)
		soft := "action=450 4.2.0 Greylisted, try again in 7 seconds"
		if permit {
			soft = "action=DEFER_IF_PERMIT 4.2.0 Greylisted, try again in 7 seconds"
		}
		for n, c := range []struct{ to, want string }{
			{"ok", "action=DUNNO"}, {"accept", "action=DUNNO"}, {"hold", "action=DUNNO"}, {"defer", soft}, {"reject", "action=554 5.7.1 No"},
			{"close", "action=521 5.7.1 No"}, {"discard", "action=DISCARD by policy"}, {"header", "action=PREPEND X-A: one two"},
		} {
			l.send(rcpt(fmt.Sprint("i", n), c.to+"@our.example"))
			if got := l.answer(); got != c.want {
				t.Errorf("%s: %q, want %q", c.to, got, c.want)
			}
		}
		// The second field goes with the next recipient; nothing more with the third.
		for _, want := range []string{"action=PREPEND X-B: three", "action=DUNNO"} {
			l.send(rcpt("i7", want+"@our.example"))
			if got := l.answer(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		// Of a suspended user: reply and end, and our text cannot forge an action.
		l.send(strings.Replace(rcpt("s", "x@our.example"), "sender=a@", "sender=suspended@", 1))
		if got := l.answer(); got != "action=421 4.7.1 Suspended  action=OK" {
			t.Errorf("%q", got)
		}
		if st := d.s.Stats(); st.Requests != 11 || st.Deferred != 2 || st.Refused != 2 || st.Connections != 1 {
			t.Errorf("%+v", st)
		}
	}
}

// TestStates: every state asks the stages up to it, each once for a message.
func TestStates(t *testing.T) {
	d := open(t, nil)
	l := d.dial(t)
	ask := func(instance, state, more string) string {
		l.send("request=smtpd_access_policy\nprotocol_state=" + state + "\nclient_address=192.0.2.1\nclient_name=unknown\nreverse_client_name=r.example\nclient_port=99\nhelo_name=h\nsender=\ninstance=" + instance + "\n" + more + "\n")
		return l.answer()
	}
	ask("a", "CONNECT", "")
	ask("a", "EHLO", "")
	ask("a", "HELO", "")
	ask("a", "MAIL", "")
	ask("a", "RCPT", "recipient=u@our.example\n")
	ask("a", "RCPT", "recipient=u@our.example\n")
	ask("a", "RCPT", "recipient=v@our.example\n")
	ask("a", "DATA", "recipient_count=2\n")
	ask("a", "END-OF-MESSAGE", "recipient_count=2\nsize=77\n")
	ask("a", "END-OF-MESSAGE", "recipient_count=2\nsize=77\n")
	for _, s := range []string{"VRFY", "ETRN", "NEW-STATE"} {
		if got := ask("a", s, "recipient=u@our.example\n"); got != "action=DUNNO" {
			t.Errorf("%s: %s", s, got)
		}
	}
	const first = "connect helo mail rcpt:u rcpt:v data:0 data:77"
	if got := d.said(); got != first {
		t.Errorf("%s", got)
	}
	tx := d.last
	if tx.Role != mail.PolicyServer || tx.Client != netip.MustParseAddrPort("192.0.2.1:99") || tx.Host.Confirmed || tx.Host.Name != "r.example" || tx.HostOrUnknown() != "unknown" ||
		tx.Helo != "h" || len(tx.ForwardPaths) != 2 || tx.Identity.User != "" || tx.Direction != mail.In || !tx.ReversePath.IsNull() {
		t.Errorf("%+v %+v", tx.Session, tx)
	}
	// The next message ends the first one. Where it is asked at DATA alone, of
	// one recipient, he is asked about there.
	ask("b", "DATA", "recipient=w@our.example\nsasl_username=ana\nsasl_method=PLAIN\n")
	if got := d.said(); got != first+" finish:relayed closed connect helo mail rcpt:w data:0" {
		t.Errorf("%s", got)
	}
	if tx = d.last; tx.Identity != (mail.Identity{User: "ana", Source: "policy"}) || tx.Direction != mail.Out || tx.Login != "ana" || tx.LoginMethod != "PLAIN" {
		t.Errorf("%+v %+v", tx.Session, tx)
	}
	// Without an instance (Exim) each is its own; without a state too.
	n := len(d.said())
	l.send("request=smtpd_access_policy\nclient_address=::1\nsender=a@b\nrecipient=x@our.example\n\n")
	l.answer()
	if got := d.said()[n:]; got != " finish:relayed closed connect helo mail rcpt:x finish:relayed closed" {
		t.Errorf("%s", got)
	}
	// What has no recipient, client or sender asks nothing.
	n = len(d.said())
	for _, q := range []string{"sender=a@b\nclient_address=::1\n", "sender=a@b\nrecipient=u@v\n", "client_address=::1\nrecipient=u@v\n"} {
		l.send("request=smtpd_access_policy\nprotocol_state=RCPT\n" + q + "\n")
		if got := l.answer(); got != "action=DUNNO" {
			t.Errorf("%q: %s", q, got)
		}
	}
	l.send("request=smtpd_access_policy\nprotocol_state=CONNECT\nclient_address=unknown\nhelo_name=at-connect\n\n")
	if got := l.answer(); got != "action=421 4.7.0 Suspended" {
		t.Error(got)
	}
}

// TestOneWrite: several requests in one write, and one in many.
func TestOneWrite(t *testing.T) {
	d := open(t, nil)
	l := d.dial(t)
	var all strings.Builder
	for n := range 500 {
		all.WriteString(rcpt(fmt.Sprint(n), map[bool]string{true: "defer", false: "ok"}[n%3 == 0]+"@our.example"))
	}
	go io.WriteString(l, all.String())
	for n := range 500 {
		if got := l.answer(); (got != "action=DUNNO") != (n%3 == 0) {
			t.Fatalf("%d: %s", n, got)
		}
	}
	one := strings.ReplaceAll(rcpt("crlf", "defer@our.example"), "\n", "\r\n")
	for i := range len(one) {
		l.send(one[i : i+1])
	}
	if got := l.answer(); !strings.HasPrefix(got, "action=450") {
		t.Error(got)
	}
}

// TestFaults: no reply, and the end; what came before is answered.
func TestFaults(t *testing.T) {
	for name, text := range map[string]string{
		"a panic":               rcpt("p", "panic@our.example"),
		"no name":               "request=smtpd_access_policy\n=x\n\n",
		"no value":              "request=smtpd_access_policy\nhello\n\n",
		"another protocol":      "request=smtp\n\n",
		"no request":            "sender=a@b\n\n",
		"nothing":               "\n",
		"a long line":           "request=smtpd_access_policy\nsender=" + strings.Repeat("x", maxLine) + "\n\n",
		"a line without an end": strings.Repeat("x", maxLine+2),
		"many attributes":       "request=smtpd_access_policy\n" + strings.Repeat("a=b\n", maxAttributes) + "\n",
		"a long request":        "request=smtpd_access_policy\n" + strings.Repeat("a="+strings.Repeat("b", 5000)+"\n", 20),
		"a request cut off":     "",
	} {
		d := open(t, nil)
		l := d.dial(t)
		l.send(rcpt("before", "ok@our.example") + text)
		if name == "a request cut off" {
			l.send("request=smtpd_access")
			l.Conn.(*net.TCPConn).CloseWrite()
		}
		if got := l.answer(); got != "action=DUNNO" {
			t.Errorf("%s: %s", name, got)
		}
		l.closed()
		if st := d.s.Stats(); st.Faults != 1 {
			t.Errorf("%s: %+v", name, st)
		}
		// The next connection is served.
		l = d.dial(t)
		l.send(rcpt("after", "ok@our.example"))
		if got := l.answer(); got != "action=DUNNO" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	d := open(t, func(c *Config) { c.IdleTimeout, c.RequestTimeout = 2*time.Second, time.Second })
	slow := d.dial(t)
	slow.send("request=")
	slow.closed()
	if st := d.s.Stats(); st.Faults != 1 {
		t.Errorf("%+v", st)
	}
	idle := d.dial(t)
	idle.send(rcpt("i", "ok@our.example"))
	idle.answer()
	idle.closed()
	if st := d.s.Stats(); st.Faults != 1 {
		t.Errorf("%+v", st)
	}
}

func TestConnections(t *testing.T) {
	d := open(t, func(c *Config) { c.MaxConnections = 2 })
	a, b := d.dial(t), d.dial(t)
	for _, l := range []*line{a, b} {
		l.send(rcpt("x", "ok@our.example"))
		l.answer()
	}
	d.dial(t).closed()
	stranger := open(t, func(c *Config) { c.Clients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	stranger.dial(t).closed()
}

// TestInstancesAreBounded: the oldest is finished for a new one, and one that
// is too old too.
func TestInstancesAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	e := &engine{}
	var n instances
	n.init()
	c := &conn{s: New(Options{Config: Default(), Policy: e})}
	for k := range maxInstances + 10 {
		i := n.get(fmt.Sprint(k), now)
		i.begin(e, &Request{}, c, time.Now())
		i.reached = atMail
	}
	if len(n.byID) != maxInstances || n.ring() != maxInstances || strings.Count(e.said(), "finish") != 10 {
		t.Errorf("%d %d %d", len(n.byID), n.ring(), strings.Count(e.said(), "finish"))
	}
	n.get("late", now.Add(instanceAge+time.Second))
	if len(n.byID) != 1 {
		t.Errorf("%d left", len(n.byID))
	}
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "pd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "s")
	c := Default()
	c.SocketMode = "0640"
	s := New(Options{Config: c, Policy: &engine{}})
	l, err := c.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	conn, err := net.Dial("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	one := &line{conn, bufio.NewReader(conn), t}
	one.send(rcpt("u", "ok@our.example"))
	if got := one.answer(); got != "action=DUNNO" {
		t.Error(got)
	}
	if _, err := c.Open(file); err == nil {
		t.Error("one socket for two")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := c.Open(file) // left behind by a kill
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(file); err == nil {
		t.Error("a file was taken for a socket")
	}
}

// TestShutdown: idle connections end at once, and those on their way get their
// answer.
func TestShutdown(t *testing.T) {
	d := open(t, nil)
	l := d.dial(t)
	l.send(rcpt("i", "ok@our.example"))
	l.answer()
	if err := d.s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.closed()
	if got := d.said(); !strings.HasSuffix(got, "finish:relayed closed") {
		t.Error(got)
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for want, set := range map[string]func(*Config){
		"listen[0]":       func(c *Config) { c.Listen = []string{"localhost:1"} },
		"listen[1]":       func(c *Config) { c.Listen = append(c.Listen, c.Listen[0]) },
		"listen is":       func(c *Config) { c.Enabled, c.Listen = true, nil },
		"checks is":       func(c *Config) { c.Enabled, c.Checks = true, nil },
		"socket_mode":     func(c *Config) { c.SocketMode = "rw" },
		"max_connections": func(c *Config) { c.MaxConnections = 0 },
		"idle_timeout":    func(c *Config) { c.IdleTimeout = 0 },
		"request_timeout": func(c *Config) { c.RequestTimeout = 0 },
	} {
		c := Default()
		set(&c)
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%s: %v", want, errs)
		}
	}
	c := Default()
	c.Listen = []string{"/" + strings.Repeat("x", 200)}
	if len(c.Validate()) != 1 {
		t.Error("a path that no socket can have")
	}
}

func TestParse(t *testing.T) {
	r, err := parse("request=smtpd_access_policy\nsender=\nrecipient=a=b@c\nsize=12\nsize=-1\nrecipient_count=3\nccert_subject=Ana+20Garc+2B\nccert_issuer=+0Ax\nserver_port=99999\n" +
		"encryption_keysize=256\nclient_port=1\nccert_fingerprint=AB\nccert_pubkey_fingerprint=CD\nqueue_id=Q\nstress=yes\ntls_sni=s\n")
	if err != nil || !r.hasSender || r.Recipient != "a=b@c" || r.Size != 0 || r.RecipientCount != 3 || r.CertSubject != "Ana Garc+" || r.CertIssuer != "+0Ax" ||
		r.ServerPort != 0 || r.EncryptionKeySize != 256 || r.ClientPort != 1 || r.CertFingerprint != "AB" || r.CertKeyFingerprint != "CD" || r.QueueID != "Q" || r.Stress != "yes" || r.TLSSNI != "s" {
		t.Errorf("%+v %v", r, err)
	}
	for in, want := range map[string]mail.Path{
		"": {}, "a@b": {Local: "a", Domain: "b"}, "a@b@c": {Local: "a@b", Domain: "c"}, "a": {Local: "a"}, "a@": {Local: "a@"}, "@b": {Domain: "b"},
	} {
		if got := path(in); got != want {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// FuzzParse: any request is read or refused, and all texts are bounded by it.
func FuzzParse(f *testing.F) {
	f.Add(rcpt("i", "a@b"))
	f.Add("request=smtpd_access_policy\nsize=9999999999999999999\nclient_address=::ffff:1.2.3.4\nclient_port=70000\nccert_subject=+\n")
	f.Add("=\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(text)
		if err != nil {
			return
		}
		s := new(mail.Session)
		r.session(s, netip.AddrPort{})
		if r.Size < 0 || r.RecipientCount < 0 || len(r.Sender) > maxLine || s.Role != mail.PolicyServer || s.Client.Addr().Is4In6() {
			t.Fatalf("%+v", r)
		}
		for _, in := range []string{r.Sender, r.Recipient} {
			p := path(in)
			if back := p.Local + "@" + p.Domain; back != in && p.Local != in {
				t.Fatalf("%q becomes %q", in, back)
			}
		}
	})
}

// FuzzStream: whatever comes in whatever pieces, each whole request gets one
// answer, in the same words as when it comes at once.
func FuzzStream(f *testing.F) {
	f.Add([]byte(rcpt("a", "ok@x")+rcpt("b", "defer@x")), uint8(3))
	f.Add([]byte("\n\nx"), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		if len(text) > 1<<14 {
			return
		}
		if whole, parts := talk(text, len(text)), talk(text, int(step)+1); whole != parts {
			t.Fatalf("at once %q, in pieces %q", whole, parts)
		}
	})
}

// talk gives what a connection says to a text that comes in pieces.
func talk(text []byte, step int) string {
	c := Default()
	s := New(Options{Config: c, Policy: &engine{}})
	p := &pipe{in: text, step: max(step, 1)}
	(&conn{s: s, nc: p}).serve()
	return p.out.String()
}

// pipe is a connection that hands out its octets in steps.
type pipe struct {
	in   []byte
	step int
	out  strings.Builder
}

func (p *pipe) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in[:min(p.step, len(p.in))])
	p.in = p.in[n:]
	return n, nil
}
func (p *pipe) Write(b []byte) (int, error)    { return p.out.Write(b) }
func (*pipe) Close() error                     { return nil }
func (*pipe) LocalAddr() net.Addr              { return nil }
func (*pipe) RemoteAddr() net.Addr             { return nil }
func (*pipe) SetDeadline(time.Time) error      { return nil }
func (*pipe) SetReadDeadline(time.Time) error  { return nil }
func (*pipe) SetWriteDeadline(time.Time) error { return nil }

// ring counts the messages in the list of all.
func (n *instances) ring() (count int) {
	for i := n.ends.after; i != &n.ends; i = i.after {
		if count++; i.after.before != i {
			return -1
		}
	}
	return count
}
