package alert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// patience bounds what must happen; it is never what a test measures.
const patience = 90 * time.Second

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// box is an SMTP server that takes mail, or does what it is told to.
type box struct {
	mu     sync.Mutex
	from   []string
	to     []string
	data   [][]byte
	login  string
	refuse *smtp.SMTPError // RCPT
}

type boxSession struct{ b *box }

func (b *box) NewSession(*smtp.Conn) (smtp.Session, error) { return &boxSession{b}, nil }

func (s *boxSession) AuthMechanisms() []string { return []string{"PLAIN"} }
func (s *boxSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.b.login = user
		return nil
	}), nil
}
func (s *boxSession) Reset()        {}
func (s *boxSession) Logout() error { return nil }
func (s *boxSession) Mail(from string, _ *smtp.MailOptions) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.from = append(s.b.from, from)
	return nil
}
func (s *boxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.b.refuse != nil && strings.HasPrefix(to, "refused") {
		return s.b.refuse
	}
	s.b.to = append(s.b.to, to)
	return nil
}
func (s *boxSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.data = append(s.b.data, raw)
	return err
}

// serve starts the server; kind is a value of tls. It gives the address and the
// file of the authority.
func (b *box) serve(t *testing.T, kind string) (string, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(b)
	s.AllowInsecureAuth = true
	ca := ""
	if kind != "none" {
		cert, file := pair(t)
		ca = file
		conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		if kind == "implicit" {
			l = tls.NewListener(l, conf)
		} else {
			s.TLSConfig = conf
		}
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), ca
}

// pair makes a certificate for 127.0.0.1 and a file that trusts it.
func pair(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func mailTo(server, kind string, to ...string) MailConfig {
	c := DefaultMail()
	c.Server, c.From, c.To, c.TLS = server, "garita@example.org", to, kind
	return c
}

func sendMail(t *testing.T, c MailConfig) error {
	t.Helper()
	m, err := newMail(c, "en", "mx.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return m.send(soon(t), sampleNotice())
}

// TestMail: over each kind of TLS, with and without a login, with the null
// reverse-path; server, from, to, tls, ca_file, user and password do what they
// say.
func TestMail(t *testing.T) {
	for _, kind := range []string{"none", "starttls", "implicit"} {
		t.Run(kind, func(t *testing.T) {
			b := &box{}
			addr, ca := b.serve(t, kind)
			c := mailTo(addr, kind, "ops@example.org", "boss@example.org")
			if kind != "none" {
				if err := sendMail(t, c); err == nil || len(b.data) > 0 {
					t.Errorf("a certificate that nobody vouches for was taken: %v", err)
				}
			}
			c.CAFile, c.User, c.Password = ca, "garita", "wrong"
			if err := sendMail(t, c); !errors.Is(err, errPermanent) || len(b.data) > 0 || strings.Contains(err.Error(), "wrong") {
				t.Errorf("a wrong password: %v", err)
			}
			c.Password = "right"
			if err := sendMail(t, c); err != nil {
				t.Fatal(err)
			}
			if strings.Join(b.from, " ") != "" || strings.Join(b.to, " ") != "ops@example.org boss@example.org" || b.login != "garita" || len(b.data) != 1 {
				t.Fatalf("%q %q %q", b.from, b.to, b.login)
			}
			m, s, text := readLetter(t, b.data[0])
			if s != "[garita mx.example.org] CRITICAL: next hop mailserver does not answer" || text != body(sampleNotice(), "en") ||
				m.Header.Get("From") != "Garita <garita@example.org>" {
				t.Errorf("%q %s", s, text)
			}
		})
	}
}

// TestMailFaults: what of it is worth another try.
func TestMailFaults(t *testing.T) {
	b := &box{refuse: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no \x1b[2Jsuch user"}}
	addr, _ := b.serve(t, "none")
	if err := sendMail(t, mailTo(addr, "none", "refused@example.org")); !errors.Is(err, errPermanent) {
		t.Errorf("5xx: %v", err)
	}
	if err := sendMail(t, mailTo(addr, "none", "refused@example.org", "ops@example.org")); err != nil || len(b.data) != 1 {
		t.Errorf("one recipient of two: %v", err)
	}
	b.refuse = &smtp.SMTPError{Code: 451, Message: "later"}
	if err := sendMail(t, mailTo(addr, "none", "refused@example.org", "ops@example.org")); err == nil || errors.Is(err, errPermanent) {
		t.Errorf("4xx: %v", err)
	}
	if err := sendMail(t, mailTo(addr, "starttls", "ops@example.org")); err == nil || len(b.data) != 1 {
		t.Errorf("no STARTTLS offered: %v, %d sent", err, len(b.data))
	}
	gone, _ := net.Listen("tcp", "127.0.0.1:0")
	gone.Close()
	if err := sendMail(t, mailTo(gone.Addr().String(), "none", "ops@example.org")); err == nil || errors.Is(err, errPermanent) {
		t.Errorf("down: %v", err)
	}
	for name, say := range map[string]string{"silent": "", "endless": strings.Repeat("220-hello\r\n", 100_000), "broken": "220 x\r\n\x00\xff\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					io.WriteString(c, say)
					io.Copy(io.Discard, c)
					c.Close()
				}()
			}
		}()
		for _, kind := range []string{"none", "starttls", "implicit"} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			m, _ := newMail(mailTo(l.Addr().String(), kind, "ops@example.org"), "en", "mx.example.org")
			if err := m.send(ctx, sampleNotice()); err == nil {
				t.Errorf("%s, %s: no error", name, kind)
			}
			cancel()
		}
	}
}

const testSecret = "0123456789abcdef-secret"

func hook(t *testing.T, url string) error {
	t.Helper()
	return newWebhook(WebhookConfig{URL: url, Secret: testSecret}).send(soon(t), sampleNotice())
}

// TestWebhook: a receiver that follows docs/alerts.md can tell that it is ours.
func TestWebhook(t *testing.T) {
	var got payload
	var seen http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		stamp, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("X-Garita-Signature"), "t="), ",v1=")
		h := hmac.New(sha256.New, []byte(testSecret))
		io.WriteString(h, stamp+".")
		h.Write(raw)
		if hex.EncodeToString(h.Sum(nil)) != sum || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		seen = r.Header
		json.Unmarshal(raw, &got)
	}))
	defer s.Close()
	if err := hook(t, s.URL+"/path?x=1"); err != nil {
		t.Fatal(err)
	}
	want := sampleNotice()
	if got.Version != 1 || got.Alert.Key != want.Alert.Key || got.Alert.Severity != Critical || got.Alert.Subject != want.Alert.Subject || got.Command != "garita status" ||
		got.Event != EventRaised || !got.Raised.Equal(want.Raised) || seen.Get("X-Garita-Delivery") != want.ID || seen.Get("X-Garita-Event") != EventRaised {
		t.Errorf("%+v %v", got, seen)
	}
	if err := newWebhook(WebhookConfig{URL: s.URL, Secret: "another secret 16"}).send(soon(t), want); !errors.Is(err, errPermanent) {
		t.Errorf("another secret: %v", err)
	}
}

// TestWebhookFaults: redirects, statuses, endless answers, silence, and what an
// error may not say.
func TestWebhookFaults(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect-token":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/slow-token":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/huge-token":
			for range 10_000 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/500-token":
			w.WriteHeader(500)
		case "/429-token":
			w.WriteHeader(429)
		default:
			w.WriteHeader(404)
		}
	}))
	defer s.Close()
	defer close(release)
	for path, permanent := range map[string]bool{"/redirect-token": true, "/gone-token": true, "/500-token": false, "/429-token": false} {
		if err := hook(t, s.URL+path); err == nil || errors.Is(err, errPermanent) != permanent || strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := hook(t, s.URL+"/huge-token"); err != nil {
		t.Errorf("a long answer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := newWebhook(WebhookConfig{URL: s.URL + "/slow-token", Secret: testSecret}).send(ctx, sampleNotice()); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("slow: %v", err)
	}
	if followed {
		t.Error("the redirect was followed")
	}
	gone := "http://" + other.Listener.Addr().String() + "/token"
	other.Close()
	if err := hook(t, gone); err == nil || strings.Contains(err.Error(), "token") || errors.Is(err, errPermanent) {
		t.Errorf("down: %v", err)
	}
	// SSRF: http goes nowhere but to this machine, whatever a name means.
	if err := hook(t, "http://192.0.2.1:9/token"); !errors.Is(err, errNotHere) {
		t.Errorf("another machine: %v", err)
	}
	if err := hook(t, "https://"+s.Listener.Addr().String()+"/token"); err == nil {
		t.Error("https to a server without TLS")
	}
}

// script writes a program for exec.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExec: arguments, input and environment, and no shell in between.
func TestExec(t *testing.T) {
	t.Setenv("GARITA_TEST_SECRET", "not for children")
	out := filepath.Join(t.TempDir(), "out")
	p := script(t, `{ printf '%s\n' "$#" "$1" "$2" "$3"; env; cat; } > "$1"`)
	n := sampleNotice()
	n.Alert.Subject = Text{EN: "$(touch /nonexistent/x) `id` 'quoted'\nEVIL=1"}
	n.Alert = n.Alert.clean()
	if err := (execChannel{[]string{p, out, "$(id)", "a b"}, "en"}).send(soon(t), n); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"3\n" + out + "\n$(id)\na b\n", "\nGARITA_KEY=next-hop/mailserver\n", "\nGARITA_SEVERITY=critical\n", "\nGARITA_EVENT=raised\n",
		"\nGARITA_SUBJECT=CRITICAL: $(touch /nonexistent/x) `id` 'quoted'\\nEVIL=1\n", `{"version":1,"id":"01`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "not for children") || strings.Contains(text, "\nEVIL=1") {
		t.Errorf("the environment:\n%s", text)
	}
}

func TestExecFaults(t *testing.T) {
	err := execChannel{[]string{script(t, "echo no modem >&2; exit 3")}, "en"}.send(soon(t), sampleNotice())
	if err == nil || err.Error() != "exit status 3 no modem" {
		t.Errorf("%v", err)
	}
	if err := (execChannel{[]string{"/nonexistent/program"}, "en"}).send(soon(t), sampleNotice()); err == nil {
		t.Error("a program that is not there")
	}
	// It says more than anybody reads, and does not read its input.
	if err := (execChannel{[]string{script(t, "head -c 1000000 /dev/zero; exit 1")}, "en"}).send(soon(t), sampleNotice()); err == nil || len(err.Error()) > 3*maxAnswer {
		t.Error("endless output")
	}
	// It hangs, and so does what it has started; both are killed.
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	p := script(t, `sleep 1000 & echo $! > "$1.new"; mv "$1.new" "$1"; wait`)
	go func() { done <- execChannel{[]string{p, file}, "en"}.send(ctx, sampleNotice()) }()
	var pid []byte
	for end := time.Now().Add(patience); len(pid) == 0 && time.Now().Before(end); {
		pid, _ = os.ReadFile(file)
	}
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	for end := time.Now().Add(patience); ; {
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("its child lives on")
		}
	}
}

// TestSyslog: over each kind of socket, one record for one notice.
func TestSyslog(t *testing.T) {
	dir, err := os.MkdirTemp("", "sl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	unixgram, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unixgram.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for address, l := range map[string]net.PacketConn{path: unixgram, "udp://" + udp.LocalAddr().String(): udp} {
		if err := (syslogChannel{SyslogConfig{Address: address}, "both", "mx.example.org"}).send(soon(t), sampleNotice()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		l.SetReadDeadline(time.Now().Add(patience))
		n, _, err := l.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		got := string(b[:n])
		start, end := "<19>Nov 22 ", "]: CRITICAL: next hop mailserver does not answer event=raised key=next-hop/mailserver run: garita status"
		if l == udp {
			start, end = "<19>1 2026-11-22T12:00:00.000Z mx.example.org garita/alert ", " raised - \ufeff"+strings.TrimPrefix(end, "]: ")
		}
		if !strings.HasPrefix(got, start) || !strings.HasSuffix(got, end) {
			t.Errorf("%s: %q", address, got)
		}
	}
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(dir, "stream")} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		got := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				got <- err.Error()
				return
			}
			raw, _ := io.ReadAll(c)
			got <- string(raw)
		}()
		to, want := l.Addr().String(), "\n"
		if network == "tcp" {
			to, want = "tcp://"+to, "run: garita status"
		}
		if err := (syslogChannel{SyslogConfig{Address: to}, "es", "mx.example.org"}).send(soon(t), sampleNotice()); err != nil {
			t.Fatal(err)
		}
		if s := <-got; !strings.HasSuffix(s, want) || !strings.Contains(s, "CRÍTICO: el siguiente") || network == "tcp" && !strings.HasPrefix(s, "1") {
			t.Errorf("%s: %q", network, s)
		}
	}
	if err := (syslogChannel{SyslogConfig{Address: filepath.Join(dir, "nobody")}, "en", ""}).send(soon(t), sampleNotice()); err == nil {
		t.Error("a socket that is not there")
	}
}

// TestNotify: the library with a service on loopback, and what its errors may
// not say.
func TestNotify(t *testing.T) {
	got := make(chan string, 1)
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(raw)
		w.WriteHeader(status)
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	c := NotifyConfig{URL: "ntfy://:tokensecret@" + s.Listener.Addr().String() + "/topic?scheme=http", SeverityConfig: fromWarning()}
	var bad []string
	c.validate(func(f string, _ ...any) { bad = append(bad, f) })
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if err := newNotify(c, "es").send(soon(t), sampleNotice()); err != nil {
		t.Fatal(err)
	}
	if text := <-got; !strings.HasPrefix(text, "/topic CRÍTICO: el siguiente servidor mailserver no responde\n") {
		t.Errorf("%q", text)
	}
	status = http.StatusUnauthorized
	if err := newNotify(c, "es").send(soon(t), sampleNotice()); err == nil || strings.Contains(err.Error(), "tokensecret") {
		t.Errorf("%v", err)
	}
	<-got
	s.Close()
	if err := newNotify(c, "es").send(soon(t), sampleNotice()); err == nil || strings.Contains(err.Error(), "tokensecret") || strings.Contains(err.Error(), "topic") {
		t.Errorf("down: %v", err)
	}
	for _, raw := range []string{"", "smtp://u:p@h/?to=a@b", "logger://", "nothing://x", "http://x", "ntfy://", "ntfy://\x00"} {
		if name, ok := serviceOf(raw); ok {
			t.Errorf("%q is taken as %s", raw, name)
		}
	}
}

// TestNotifyHangs: a library that does not come back holds up nothing but
// itself, and there is one such call at most.
func TestNotifyHangs(t *testing.T) {
	c := newNotify(NotifyConfig{URL: "ntfy://h/t"}, "en")
	release, calls := make(chan struct{}), make(chan int, 10)
	c.deliver = func(string, string, string) error {
		calls <- 1
		<-release
		return errors.New("Post \"https://h/token\": 500")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	for range 3 {
		if err := c.send(ctx, sampleNotice()); err == nil {
			t.Error("no error")
		}
	}
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
	close(release)
	if err := c.send(soon(t), sampleNotice()); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("%v", err)
	}
	c.deliver = func(string, string, string) error { panic("token") }
	if err := c.send(soon(t), sampleNotice()); !errors.Is(err, errPanicked) {
		t.Errorf("%v", err)
	}
}

// TestNotifyStrays: calls that hang are bounded over channels and reloads, and
// a reload does not let a second one of the same channel begin.
func TestNotifyStrays(t *testing.T) {
	strays, release := make(chan struct{}, 2), make(chan struct{})
	var running, most atomic.Int32
	hangs := func(string, string, string) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		<-release
		return nil
	}
	made := func(was channel) *notifyChannel {
		c := newNotify(NotifyConfig{URL: "ntfy://h/t"}, "en")
		c.deliver = hangs
		c.follow(was, strays)
		return c
	}
	a, b, c := made(nil), made(nil), made(nil)
	again := made(a)
	for _, one := range []*notifyChannel{a, b, c, again, again} {
		gone, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if err := one.send(gone, sampleNotice()); !errors.Is(err, errHung) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if len(strays) != 2 || most.Load() > 2 || len(c.busy) != 0 {
		t.Errorf("%d calls run, %d at once, %d wait", len(strays), most.Load(), len(c.busy))
	}
	close(release)
	for _, one := range []*notifyChannel{c, again, b} {
		if err := one.send(soon(t), sampleNotice()); err != nil {
			t.Errorf("behind those that hung: %v", err)
		}
	}
}

// TestHungIsCounted: the worker goes on behind an attempt that has no end, and
// the figures tell of it; a reload keeps the place of the call that runs.
func TestHungIsCounted(t *testing.T) {
	c := Default()
	c.Timeout = time.Second
	c.Notify = map[string]NotifyConfig{"chat": {URL: "ntfy://h/t"}}
	k := newKit(t, c, nil)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w := k.workers["notify.chat"]
	was := w.channel.(*notifyChannel)
	was.deliver = func(string, string, string) error { <-release; return nil }
	gone, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := w.once(gone, sampleNotice()); !errors.Is(err, errHung) || k.count("notify.chat", resultHung) != 1 {
		t.Errorf("%v, counted %d", err, k.count("notify.chat", resultHung))
	}
	c.Language = "en"
	if err := k.Update(c); err != nil {
		t.Fatal(err)
	}
	if now := k.workers["notify.chat"].channel.(*notifyChannel); now == was || now.busy != was.busy || len(now.strays) != 1 {
		t.Error("the reload has forgotten the call that hangs")
	}
}
