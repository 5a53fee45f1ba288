package smtpproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"garita/mail"
	"garita/maillog"
)

// fakeAccounts knows ana with the password "secret word".
type fakeAccounts struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (f *fakeAccounts) Verify(_ context.Context, client netip.Addr, user, password string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, client.String()+" "+user)
	return strings.EqualFold(user, "ana") && password == "secret word", f.err
}

func (f *fakeAccounts) Canonical(user string) string { return strings.ToLower(user) }

func (f *fakeAccounts) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// fakeConduct refuses an act from the n-th on.
type fakeConduct struct {
	mu    sync.Mutex
	from  int
	noted int
}

func (f *fakeConduct) Note(_ netip.Addr, act Act) Ruling {
	f.mu.Lock()
	defer f.mu.Unlock()
	if act != ActAuthFailure {
		return Ruling{}
	}
	f.noted++
	return Ruling{Refuse: f.noted >= f.from, Why: "guessing"}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// newAuthKit is a submission listener; 127.0.0.1 is a stranger to it.
func newAuthKit(t *testing.T, change func(*Settings, *Listener)) (*kit, *fakeAccounts) {
	t.Helper()
	a := &fakeAccounts{}
	k := newKit(t, "outbound", func(set *Settings, l *Listener) {
		l.TrustedNetworks = nil
		l.Auth, l.TLS, set.Accounts = true, testTLS(t), a
		if change != nil {
			change(set, l)
		}
	})
	return k, a
}

// secure dials and goes under TLS.
func (k *kit) secure() *client {
	k.t.Helper()
	c := k.hello()
	c.do("220", "STARTTLS")
	c = c.startTLS()
	c.do("250", "EHLO client.example")
	return c
}

// logTo makes the server write a log, and gives its name.
func (k *kit) logTo() string {
	k.t.Helper()
	c := maillog.Default()
	c.Output = filepath.Join(k.t.TempDir(), "mail.log")
	l, err := maillog.New(c, maillog.Env{Hostname: "gw"})
	if err != nil {
		k.t.Fatal(err)
	}
	k.srv.mu.Lock() // a session is made under it
	k.srv.log = l
	k.srv.mu.Unlock()
	k.t.Cleanup(func() { l.Close() })
	return c.Output
}

const anaPlain = "AGFuYQBzZWNyZXQgd29yZA==" // NUL ana NUL secret word

func TestAUTHLetsRelay(t *testing.T) {
	for _, way := range []string{"PLAIN with initial response", "PLAIN", "plain", "LOGIN", "LOGIN with initial response"} {
		t.Run(way, func(t *testing.T) {
			k, _ := newAuthKit(t, nil)
			log := k.logTo()
			c := k.secure()
			c.do("530 5.7.0 Authentication required", "MAIL FROM:<ana@our.example>")
			switch way {
			case "PLAIN with initial response":
				c.do("235 2.7.0", "AUTH PLAIN "+anaPlain)
			case "PLAIN", "plain":
				c.do("334 \r\n", "AUTH "+way)
				c.do("235 2.7.0", b64("ana\x00ana\x00secret word"))
			case "LOGIN":
				c.do("334 "+b64("Username:")+"\r\n", "auth LOGIN")
				c.do("334 "+b64("Password:")+"\r\n", b64("Ana"))
				c.do("235 2.7.0", b64("secret word"))
			default:
				c.do("334 "+b64("Password:"), "AUTH LOGIN "+b64("ANA"))
				c.do("235 2.7.0", b64("secret word"))
			}
			c.do("250", "MAIL FROM:<ana@our.example> AUTH=<>") // RFC 4954 section 5
			if open := k.open(); len(open) != 1 || open[0].s.Trusted || open[0].s.Login != "ana" {
				t.Error("a login earns relaying alone, no trust")
			}
			c.do("250", "RCPT TO:<x@elsewhere.example>")
			c.do("354", "DATA")
			c.do("250", "Subject: x\r\n\r\nx\r\n.")
			got := k.hop.messages()
			if len(got) != 1 || !strings.Contains(string(got[0].data), "with ESMTPSA id") || strings.Contains(string(got[0].data), "ana)") {
				t.Errorf("%q", got)
			}
			c.do("221", "QUIT")
			method := strings.ToUpper(strings.Fields(way)[0])
			b := wholeLog(t, log)
			if !strings.Contains(string(b), ", sasl_method="+method+", sasl_username=ana\n") {
				t.Errorf("log:\n%s", b)
			}
		})
	}
}

func TestIdentityOfALogin(t *testing.T) {
	k, _ := newAuthKit(t, nil)
	var id mail.Identity
	k.policy.rcpt = func(tx *mail.Transaction, _ mail.Recipient) mail.Decision {
		k.policy.mu.Lock()
		defer k.policy.mu.Unlock()
		id = tx.Identity
		return mail.Decision{}
	}
	c := k.secure()
	c.do("235", "AUTH PLAIN "+b64("\x00ANA\x00secret word"))
	c.do("250", "MAIL FROM:<a@x.example>")
	c.do("250", "RCPT TO:<x@elsewhere.example>")
	c.do("250", "RSET")
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	if (id != mail.Identity{User: "ana", Source: "auth"}) { // S-109: one spelling
		t.Errorf("%+v", id)
	}
}

// S-39: neither offered nor taken in clear text, by nobody, and not logged.
func TestNoAUTHInClearText(t *testing.T) {
	k, a := newAuthKit(t, nil)
	log := k.logTo()
	c := k.dial()
	c.want("220")
	if r := c.do("250", "EHLO x.example"); strings.Contains(r, "AUTH") {
		t.Errorf("offered: %q", r)
	}
	c.do("538 5.7.11", "AUTH PLAIN "+anaPlain)
	c.do("538 5.7.11", "AUTH LOGIN")
	c.do("530 5.7.0 Must issue a STARTTLS", "MAIL FROM:<a@x.example>")
	c.do("220", "STARTTLS")
	c = c.startTLS()
	c.do("503", "AUTH PLAIN "+anaPlain) // before EHLO
	c.do("250", "HELO x.example")
	c.do("503", "AUTH PLAIN "+anaPlain) // RFC 4954: an extension needs EHLO
	if r := c.do("250", "EHLO x.example"); !strings.Contains(r, "AUTH PLAIN LOGIN\r\n") {
		t.Errorf("not offered: %q", r)
	}
	if n := a.calls(); len(n) != 0 {
		t.Errorf("passwords were looked at: %v", n)
	}
	c.do("235", "AUTH PLAIN "+anaPlain)
	if r := c.do("250", "EHLO x.example"); strings.Contains(r, "AUTH") {
		t.Errorf("offered again: %q", r)
	}
	c.do("250", "MAIL FROM:<a@x.example>") // the login outlives EHLO
	c.do("221", "QUIT")
	secretsStay(t, log)
}

// wholeLog is the log of a session that is over.
func wholeLog(t *testing.T, log string) (b []byte) {
	t.Helper()
	eventually(t, "the end of the log", func() bool {
		b, _ = os.ReadFile(log)
		return strings.Contains(string(b), "disconnect")
	})
	return b
}

// secretsStay wants no credential in a log (attacks L-23).
func secretsStay(t *testing.T, log string) {
	t.Helper()
	b := wholeLog(t, log)
	for _, s := range []string{"secret word", b64("secret word"), anaPlain, anaPlain[:12]} {
		if strings.Contains(string(b), s) {
			t.Errorf("the log has %q:\n%s", s, b)
		}
	}
}

func TestNoAUTHWithoutTheKey(t *testing.T) {
	k, a := newAuthKit(t, func(_ *Settings, l *Listener) { l.Auth = false })
	c := k.secure()
	c.do("502", "AUTH PLAIN "+anaPlain)
	c.do("555", "MAIL FROM:<a@x.example> AUTH=<>")
	c.do("250", "MAIL FROM:<a@x.example>")
	c.do("554 5.7.1", "RCPT TO:<x@elsewhere.example>")
	if len(a.calls()) != 0 {
		t.Error("asked")
	}
}

// S-71: the dialogue has each code of RFC 4954, and goes on behind it.
func TestAUTHDialogue(t *testing.T) {
	k, a := newAuthKit(t, func(set *Settings, _ *Listener) { set.Limits.SoftErrors, set.Limits.HardErrors = 100, 100 })
	c := k.secure()
	for _, x := range []struct{ say, want string }{
		{"AUTH", "501 5.5.4"}, {"AUTH ", "501 5.5.4"}, {"AUTH PLAIN x y", "501 5.5.4"}, {"AUTH PLAIN  x", "501 5.5.4"},
		{"AUTH EXTERNAL", "504 5.5.4"}, {"AUTH NTLM", "504 5.5.4"}, {"AUTH CRAM-MD5", "504 5.5.4"}, {"AUTH GSSAPI abcd", "504 5.5.4"},
		{"AUTH PLAIN !!!!", "501 5.5.2"}, {"AUTH PLAIN AGFuYQ", "501 5.5.2"}, {"AUTH PLAIN ====", "501 5.5.2"}, {"AUTH PLAIN *", "501 5.5.2"},
		{"AUTH PLAIN =", "501 5.5.2"},                                           // an empty response has no NUL
		{"AUTH PLAIN " + b64("ana"), "501 5.5.2"},                               // S-72: NULs are counted
		{"AUTH PLAIN " + b64("\x00ana"), "501 5.5.2"},                           // one
		{"AUTH PLAIN " + b64("\x00ana\x00secret word\x00"), "501 5.5.2"},        // three
		{"AUTH PLAIN " + b64("\x00ana\x00\x00secret word"), "501 5.5.2"},        // in the password
		{"AUTH LOGIN !", "501 5.5.2"}, {"AUTH PLAIN\t" + anaPlain, "504 5.5.4"}, // a tab is no blank
	} {
		c.do(x.want, x.say)
	}
	c.do("334", "AUTH PLAIN")
	c.do("501", "*") // cancelled
	c.do("334", "AUTH LOGIN")
	c.do("501", "*")
	c.do("334", "AUTH LOGIN")
	c.do("334", b64("ana"))
	c.do("501", "*")
	c.do("334", "AUTH PLAIN")
	c.do("501 5.5.2", "AGFu\rYQBzZWNyZXQgd29yZA==") // the decoder would pass over it
	c.do("334", "AUTH PLAIN")
	c.do("501 5.5.2", "EHLO x.example") // a command is no response
	c.do("334", "AUTH LOGIN")
	c.do("501 5.5.2", "RSET x")
	c.do("250", "NOOP")
	if len(a.calls()) != 0 {
		t.Errorf("passwords were looked at: %v", a.calls())
	}
	c.do("535 5.7.8", "AUTH PLAIN "+anaPlain[:len(anaPlain)-8]+b64("\x01")) // wrong
	c.do("235", "AUTH PLAIN "+anaPlain)
	c.do("503", "AUTH PLAIN "+anaPlain) // once
	c.do("250", "RSET")
	c.do("503", "AUTH LOGIN")
}

func TestNoAUTHInATransaction(t *testing.T) {
	k, a := newAuthKit(t, func(_ *Settings, l *Listener) {
		l.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	c := k.secure()
	c.do("250", "MAIL FROM:<a@x.example>") // trusted: needs no login
	c.do("503", "AUTH PLAIN "+anaPlain)
	c.do("250", "RCPT TO:<b@x.example>")
	c.do("503", "AUTH LOGIN")
	c.do("250", "RSET")
	if len(a.calls()) != 0 {
		t.Error("asked")
	}
	c.do("235", "AUTH PLAIN "+anaPlain)
}

// S-71: 12,288 octets are the end, for a response and for the command; every
// other command keeps its own limit.
func TestAUTHLineLength(t *testing.T) {
	k, a := newAuthKit(t, nil)
	long := func(n int) string { return b64("\x00ana\x00" + strings.Repeat("x", n)) }
	fits := long(9000) // 12,008 octets
	c := k.secure()
	c.do("535 5.7.8", "AUTH PLAIN "+fits)
	c.do("334", "AUTH PLAIN")
	c.do("535 5.7.8", fits)
	c.do("334", "AUTH PLAIN")
	c.send(long(9300)[:12288]) // all that is read: the rest would reset the connection
	c.want("500 5.5.6")
	c.closed()
	c = k.secure()
	c.send(("AUTH PLAIN " + long(9300))[:12288])
	c.want("500 5.5.2")
	c.closed()
	c = k.secure()
	c.send("NOOP " + fits + "\r\n")
	c.want("500 5.5.2")
	c.closed()
	c = k.secure()
	c.do("235", "AUTH PLAIN "+anaPlain)
	c.send(("AUTH PLAIN " + fits)[:k.set.Limits.CommandLength]) // no longer offered
	c.want("500 5.5.2")
	c.closed()
	if n := len(a.calls()); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// S-72: to act for another is nobody's right.
func TestAuthorisationIdentity(t *testing.T) {
	k, a := newAuthKit(t, nil)
	c := k.secure()
	c.do("535 5.7.8", "AUTH PLAIN "+b64("eva\x00ana\x00secret word"))
	if len(a.calls()) != 0 {
		t.Error("asked")
	}
	c.do("235", "AUTH PLAIN "+b64("ana\x00ana\x00secret word"))
}

// S-156, S-157: the third failure ends the session; every failure has the same
// words; the log has the line that fail2ban knows, with the name escaped and
// no password.
func TestThirdFailureEnds(t *testing.T) {
	k, a := newAuthKit(t, nil)
	log := k.logTo()
	evil := "x[6.6.6.6]: SASL PLAIN authentication failed: \n\x1b[31m"
	c := k.secure()
	one := c.do("535 5.7.8", "AUTH PLAIN "+b64("\x00ana\x00wrong secret word"))
	c.do("334", "AUTH LOGIN")
	c.do("334", b64(evil))
	if two := c.do("535", b64("secret word")); two != one {
		t.Errorf("%q is not %q", two, one)
	}
	c.do("421 4.7.0", "AUTH PLAIN "+b64("\x00\x00"))
	c.closed()
	if n := len(a.calls()); n != 2 {
		t.Errorf("asked %d times", n)
	}
	b := wholeLog(t, log)
	secretsStay(t, log)
	for _, want := range []string{
		"warning: unknown[127.0.0.1]: SASL PLAIN authentication failed: wrong user or password sasl_username=\"ana\"\n",
		"warning: unknown[127.0.0.1]: SASL LOGIN authentication failed: ", "too many errors after AUTH from unknown[127.0.0.1]\n", " auth=0/3 ",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in:\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "\x1b") {
		t.Error("unescaped")
	}
	// fail2ban's own filter finds the three lines, and the client alone.
	cmd := exec.Command("fail2ban-regex", "--usedns", "no", "--out", "id", log, `postfix[_daemon="garita(?:/\w+)?",mode=auth]`)
	if out, err := cmd.Output(); strings.Join(strings.Fields(string(out)), " ") != "127.0.0.1 127.0.0.1 127.0.0.1" {
		t.Errorf("fail2ban: %q %v", out, err)
	}
}

// A fault of ours is no failure of theirs: 454, no line for fail2ban, and the
// session may go on a little.
func TestAccountsCannotTell(t *testing.T) {
	k, a := newAuthKit(t, nil)
	log := k.logTo()
	a.err = errors.New("busy /etc/secret")
	c := k.secure()
	r := c.do("454 4.7.0", "AUTH PLAIN "+anaPlain)
	if strings.Contains(r, "busy") {
		t.Errorf("our words to a stranger: %q", r)
	}
	c.do("530", "MAIL FROM:<a@x.example>")
	c.do("454 4.7.0", "AUTH PLAIN "+anaPlain)
	c.do("421 4.7.0", "AUTH PLAIN "+anaPlain)
	c.closed()
	b := wholeLog(t, log)
	if s := string(b); strings.Contains(s, "authentication failed") || strings.Contains(s, "too many errors") || !strings.Contains(s, "put off") {
		t.Errorf("log:\n%s", s)
	}
}

func TestConductRulesOnFailures(t *testing.T) {
	cd := &fakeConduct{from: 2}
	k, _ := newAuthKit(t, func(set *Settings, _ *Listener) { set.Conduct = cd })
	c := k.secure()
	c.do("535", "AUTH PLAIN "+b64("\x00ana\x00x"))
	c.do("421 4.7.0", "AUTH PLAIN "+b64("\x00ana\x00x"))
	c.closed()
	c = k.secure()
	c.do("235", "AUTH PLAIN "+anaPlain)
	if cd.noted != 2 {
		t.Errorf("noted %d", cd.noted)
	}
}

// A client that dies in the middle of AUTH leaves nothing (S-71). The kit
// waits for every session at its end.
func TestClientDiesInAUTH(t *testing.T) {
	k, a := newAuthKit(t, nil)
	for _, say := range []string{"AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN\r\n" + b64("ana") + "\r\n", "AUTH LOGIN\r\n" + b64("ana")[:2]} {
		c := k.secure()
		c.send(say)
		c.want("334")
		c.Close()
	}
	eventually(t, "no session", func() bool { return len(k.open()) == 0 })
	if len(a.calls()) != 0 {
		t.Error("asked")
	}
}

// Nobody relays who should not: what a failed login leaves behind is nothing.
func TestFailedLoginEarnsNothing(t *testing.T) {
	k, _ := newAuthKit(t, nil)
	c := k.secure()
	c.do("535", "AUTH PLAIN "+b64("\x00ana\x00x"))
	c.do("530 5.7.0", "MAIL FROM:<a@x.example>")
	c.do("503", "RCPT TO:<x@elsewhere.example>")
	// Nor does a login let anybody be a peer of other roles.
	for role, want := range map[mail.Role]bool{mail.Inbound: false, mail.Outbound: true, mail.ContentFilter: false} {
		r := NewRouter(DefaultListener(role.String()), k.hop)
		tx := &mail.Transaction{Session: &mail.Session{Login: "ana"}}
		to := mail.Recipient{Path: mail.Path{Local: "x", Domain: "elsewhere.example"}}
		if _, denied := r.Route(tx, to); (denied == nil) != want {
			t.Errorf("%s: relaying %v", role, denied)
		}
	}
}

func TestValidateAuth(t *testing.T) {
	good := DefaultListener("outbound")
	good.Listen, good.NextHop, good.Auth = []string{"127.0.0.1:587"}, "x", true
	if errs := good.Validate(); len(errs) != 0 {
		t.Errorf("without trusted networks: %v", errs)
	}
	for key, change := range map[string]func(*ListenerConfig){
		"auth: only an outbound":                  func(c *ListenerConfig) { c.Role = "content-filter" },
		"auth: passwords are taken under TLS":     func(c *ListenerConfig) { c.STARTTLS = false },
		"client_certificates: \"ab\" is not":      func(c *ListenerConfig) { c.ClientCerts = []string{"ab"} },
		"client_certificates: only an outbound":   func(c *ListenerConfig) { c.Role, c.ClientCAFile = "content-filter", "/x" },
		"client_certificates: without TLS no":     func(c *ListenerConfig) { c.STARTTLS, c.ClientCAFile = false, "/x" },
		"trusted_networks: is empty: nobody coul": func(c *ListenerConfig) { c.Auth = false },
	} {
		c := good
		change(&c)
		if err := errors.Join(c.Validate()...); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("want %q: %v", key, err)
		}
	}
}

// S-71: what swaks, a real client, makes of it.
func TestSwaksLogsIn(t *testing.T) {
	swaks, err := exec.LookPath("swaks")
	if err != nil {
		t.Fatalf("swaks is not installed (test/install-deps.sh): %v", err)
	}
	k, _ := newAuthKit(t, nil)
	host, port, _ := strings.Cut(k.addr, ":")
	for _, x := range []struct {
		mechanism, password string
		want                int
	}{{"PLAIN", "secret word", 0}, {"LOGIN", "secret word", 0}, {"PLAIN", "wrong", 28}, {"LOGIN", "wrong", 28}} {
		cmd := exec.Command(swaks, "--server", host, "--port", port, "--tls", "--auth", x.mechanism, "--auth-user", "ana",
			"--auth-password", x.password, "--from", "ana@our.example", "--to", "x@elsewhere.example", "--helo", "pc.our.example")
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != x.want {
			t.Errorf("%s %s: exit code %d, want %d\n%s", x.mechanism, x.password, got, x.want, out)
		}
	}
	if n := len(k.hop.messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}
