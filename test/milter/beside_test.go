package milter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/mail"
	"garita/test/harness"
)

// sasl is a Dovecot that knows one user, and the path that Postfix asks at.
func sasl(t *testing.T) string {
	t.Helper()
	harness.NeedRoot(t)
	program := harness.Need(t, "dovecot", "dovecot-core")
	dir := harness.Dir(t)
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols =
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/tmp
}
service auth {
  unix_listener %[1]s/auth-client {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`, dir)
	for name, text := range map[string]string{"dovecot.conf": conf, "users": "user@our.test:{PLAIN}secret::::::\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	harness.Start(t, program, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	socket := filepath.Join(dir, "auth-client")
	harness.Eventually(t, "dovecot makes no socket", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

// TestLogin: who has logged in at Postfix is who sends, his mail is outbound,
// and he is told 421 in his own session when he is suspended; who has not is
// a stranger, whatever he says.
func TestLogin(t *testing.T) {
	o := start(t, nil)
	p := postfix(t, o.addr, map[string]string{"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": sasl(t)})
	auth := []string{"--auth", "PLAIN", "--auth-user", "user@our.test", "--auth-password", "secret"}
	swaks := func(from string, more ...string) (string, int) {
		t.Helper()
		return harness.Swaks(t, p.Addr, append([]string{"--from", from, "--to", "b@our.test", "--header", "Subject: fine"}, more...)...)
	}
	if out, code := swaks("user@our.test", auth...); code != 0 {
		t.Fatalf("%s\n%s", out, p.Log())
	}
	harness.Eventually(t, "no transaction has ended", func() bool { _, e := o.last(); return e.Kind == mail.Relayed })
	tx, _ := o.last()
	if tx.Identity != (mail.Identity{User: "user@our.test", Source: "milter"}) || tx.Direction != mail.Out || tx.Login != "user@our.test" ||
		tx.LoginMethod != "PLAIN" || tx.Proto != "ESMTPA" || tx.Params.Size == 0 && tx.ReversePath.String() != "user@our.test" {
		t.Errorf("%+v %+v", tx, tx.Session)
	}
	if out, _ := swaks("suspend@our.test", auth...); !strings.Contains(out, "421 4.7.0 account suspended") {
		t.Errorf("suspended: %s", out)
	}
	if out, code := swaks("user@our.test"); code != 0 {
		t.Fatal(out)
	}
	harness.Eventually(t, "it is not inbound", func() bool { tx, e := o.last(); return e.Kind == mail.Relayed && tx.Direction == mail.In })
	if tx, _ := o.last(); tx.Identity.User != "" || tx.Login != "" {
		t.Errorf("a stranger is %+v", tx.Identity)
	}
}

// dkim is opendkim, signing for our.test.
func dkim(t *testing.T) string {
	t.Helper()
	program := harness.Need(t, "opendkim", "opendkim")
	dir := harness.Dir(t)
	key := filepath.Join(dir, "key")
	if out, code := harness.Command(t, harness.Need(t, "openssl", "openssl"), "genrsa", "-out", key, "2048"); code != 0 {
		t.Fatal(out)
	}
	conf := filepath.Join(dir, "conf")
	addr := harness.Addr(t)
	host, port, _ := strings.Cut(addr, ":")
	text := fmt.Sprintf("Domain our.test\nSelector sel\nKeyFile %s\nSocket inet:%s@%s\nMode s\nSyslog no\nRequireSafeKeys no\nBackground no\nPidFile %s/pid\n", key, port, host, dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, program, "-f", "-x", conf).WaitPort(t, addr)
	return "inet:" + addr
}

// TestBesideOpenDKIM: another milter before us and behind us; both have their
// say, and our edits hit the fields that they are meant for.
func TestBesideOpenDKIM(t *testing.T) {
	o := start(t, nil)
	other := dkim(t)
	for name, milters := range map[string]string{"behind": o.addr + ", " + other, "before": other + ", " + o.addr} {
		p := postfix(t, milters, nil)
		m := "Received: from old by older; now\r\nFrom: u@our.test\r\nX-B: 1\r\nX-B: 2\r\nX-B: 3\r\nSubject: edits\r\nMessage-ID: <e@x>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\n\r\ntext\r\n"
		r := said(t, p, "h.test", "u@our.test", "b@our.test", m)
		if r.Code != 250 {
			t.Fatalf("%s: %v\n%s", name, r, p.Log())
		}
		got := p.WaitDelivered(t, 1)[harness.QueueID(r.Text())]
		for _, want := range []string{"DKIM-Signature: v=1", "X-Front: one\n two\nX-Front: three\n", "X-Before-B: yes\nX-B: 1\nX-B: 3\nSubject:  [tag] edits\n\tfolded\n", "X-Last: end\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, got)
			}
		}
		if strings.Contains(got, "from old") || strings.Contains(got, "X-B: 2") {
			t.Errorf("%s: a field was not removed:\n%s", name, got)
		}
		o.mu.Lock()
		sees := strings.Contains(o.seen["edits"], "DKIM-Signature")
		o.mu.Unlock()
		if sees != (name == "before") {
			t.Errorf("%s: we see the signature: %v", name, sees)
		}
		if r := said(t, p, "h.test", "u@our.test", "b@our.test", letter("reject", "x\r\n")); r.Code != 554 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// gateway is the program itself as a milter.
func gateway(t *testing.T, more ...harness.Setting) (*harness.Gateway, string) {
	t.Helper()
	addr := harness.Addr(t)
	return harness.StartGateway(t, harness.Options{Domains: []string{"our.test"}, Settings: append([]harness.Setting{
		{Table: "milter", Key: "enabled", Value: "true"}, {Table: "milter", Key: "listen", Value: `["` + addr + `"]`}}, more...)}), "inet:" + addr
}

// TestKill: the program is killed and started again while mail comes in. Not
// one message that was answered 250 is lost or doubled, and none passes
// unseen; the others are told to come back.
func TestKill(t *testing.T) {
	g, addr := gateway(t)
	p := postfix(t, addr, map[string]string{"milter_connect_timeout": "5s"})
	const clients, each = 6, 25
	var accepted, deferred atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for i := range clients {
		wg.Go(func() {
			for k := range each {
				m := letter(fmt.Sprintf("load-%d-%d", i, k), strings.Repeat("some text\r\n", 50))
				for {
					c, err := harness.Connect(t, p.Addr)
					if err != nil {
						t.Error(err)
						return
					}
					r := c.Reply()
					if r.Code == 220 {
						r = c.Say("EHLO h.test").Reply()
					}
					if r.Class() == 2 {
						r = c.Send("a@x.test", []string{"b@our.test"}, m)
					}
					c.Close()
					if r.Code == 250 {
						accepted.Add(1)
						mu.Lock()
						ids[harness.QueueID(r.Text())] = true
						mu.Unlock()
						break
					}
					if r.Class() != 4 {
						t.Errorf("%v", r)
						return
					}
					deferred.Add(1)
					time.Sleep(20 * time.Millisecond) // a client that comes back
				}
			}
		})
	}
	for n := range int64(3) {
		harness.Eventually(t, "mail does not move", func() bool { return accepted.Load() >= (n+1)*clients*each/5 })
		g.Kill()
		was := deferred.Load()
		harness.Eventually(t, "nobody is told to come back", func() bool {
			// All may be through before the kill.
			return deferred.Load() > was || accepted.Load() == clients*each
		})
		g.Start()
	}
	wg.Wait()
	p.WaitEmpty(t)
	stored := p.WaitDelivered(t, clients*each)
	if len(stored) != clients*each {
		t.Errorf("%d messages are delivered, not %d", len(stored), clients*each)
	}
	for id := range ids {
		if stored[id] == "" {
			t.Errorf("%s was answered 250 and is not delivered", id)
		}
	}
	if out, code := g.Run("status", "--config", g.Config); code != 0 || !strings.Contains(out, "milter     127.0.0.1:") {
		t.Errorf("status: %d\n%s", code, out)
	}
	t.Logf("%d times told to come back", deferred.Load())
}

// TestReload: sockets come and go with a reload, an open connection goes on,
// and the unix socket of a killed process is taken over.
func TestReload(t *testing.T) {
	g, addr := gateway(t)
	p := postfix(t, addr, nil)
	c := harness.Greeted(t, p.Addr)
	c.Envelope("a@x.test", "b@our.test")
	socket := filepath.Join(g.Dir, "milter.sock")
	if err := os.Chmod(g.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Configure(t, g.Config, harness.Setting{Table: "milter", Key: "listen", Value: `["unix:` + socket + `"]`}, harness.Setting{Table: "milter", Key: "socket_mode", Value: `"0666"`})
	if out, code := g.Run("reload", "--config", g.Config); code != 0 {
		t.Fatal(out)
	}
	c.Say("DATA").Want(354)
	if r := c.Raw(harness.Stuff(letter("open", "x\r\n"))).Reply(); r.Code != 250 {
		t.Errorf("the connection that was open: %v", r)
	}
	q := postfix(t, "unix:"+socket, nil)
	send := func(name string) {
		t.Helper()
		if r := said(t, q, "h.test", "a@x.test", "b@our.test", letter(name, "x\r\n")); r.Code != 250 {
			t.Errorf("%s: %v\n%s", name, r, q.Log())
		}
	}
	send("by the socket")
	g.Kill()
	g.Start()
	send("after a kill")
	if r := said(t, p, "h.test", "a@x.test", "b@our.test", letter("closed", "x\r\n")); r.Class() != 4 {
		t.Errorf("by the port that is closed: %v", r)
	}
}

// BenchmarkPostfix: a message of 4 KB through Postfix, without a milter and
// with ours.
func BenchmarkPostfix(b *testing.B) {
	for _, name := range []string{"alone", "milter"} {
		b.Run(name, func(b *testing.B) {
			milters := ""
			if name == "milter" {
				milters = start(b, nil).addr
			}
			p := postfix(b, milters, map[string]string{"relay_transport": "discard", "default_transport": "discard"})
			m := letter("bench", strings.Repeat(strings.Repeat("x", 70)+"\r\n", 56))
			c := harness.Greeted(b, p.Addr)
			b.ResetTimer()
			for range b.N {
				if r := c.Send("a@x.test", []string{"b@our.test"}, m); r.Code != 250 {
					b.Fatal(r)
				}
			}
		})
	}
}
