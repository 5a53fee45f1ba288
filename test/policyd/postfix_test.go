package policyd

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// serving is a gateway with a policy server, and a Postfix that asks it about
// each recipient after it has refused to relay.
func serving(t *testing.T, delay string, sasl bool) (*harness.Gateway, *harness.Postfix) {
	t.Helper()
	addr := harness.Addr(t)
	g := harness.StartGateway(t, harness.Options{Settings: []harness.Setting{
		{Table: "policyd", Key: "enabled", Value: "true"}, {Table: "policyd", Key: "listen", Value: fmt.Sprintf("[%q]", addr)},
		{Table: "check.greylist", Key: "policy_delay", Value: fmt.Sprintf("%q", delay)},
	}})
	main := map[string]string{
		"mynetworks": "192.0.2.0/24", "smtpd_authorized_xclient_hosts": "127.0.0.1", "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
		"smtpd_recipient_restrictions": "reject_unauth_destination, check_policy_service inet:" + addr + ", check_policy_service inet:" + addr,
		"smtpd_delay_reject":           "yes", "smtpd_error_sleep_time": "0", "smtpd_hard_error_limit": "10000", "smtpd_soft_error_limit": "10000",
		"smtpd_client_connection_count_limit": "0",
	}
	if sasl {
		main["smtpd_sasl_auth_enable"], main["smtpd_sasl_type"], main["smtpd_sasl_path"] = "yes", "dovecot", dovecot(t)
	}
	return g, harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}, Main: main})
}

// dovecot logs in ana, and gives its socket.
func dovecot(t *testing.T) string {
	t.Helper()
	dir := harness.Dir(t)
	socket := filepath.Join(dir, "auth-client")
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s
}
service auth {
  unix_listener %[2]s {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`, dir, socket)
	for name, text := range map[string]string{"dovecot.conf": conf, "users": "ana@our.example:{PLAIN}secret::::::\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	harness.Start(t, harness.Need(t, "dovecot", "dovecot-core"), "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	harness.Eventually(t, "dovecot does not listen", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

// as begins a session of a client with that address.
func as(t testing.TB, p *harness.Postfix, client string) *harness.Client {
	t.Helper()
	c := harness.Greeted(t, p.Addr)
	c.Say("XCLIENT NAME=[UNAVAILABLE] ADDR=" + client).Want(220)
	c.Say("EHLO mail.x.example").Want(250)
	return c
}

// TestPostfix: a real Postfix asks about each recipient; who comes back is in,
// with one field in the header; relaying stays refused; who logs in does not
// wait.
func TestPostfix(t *testing.T) {
	g, p := serving(t, "2s", true)
	c := as(t, p, "198.51.100.7")
	c.Say("MAIL FROM:<a@x.example>").Want(250)
	c.Say("RCPT TO:<stranger@elsewhere.example>").Want(554)
	for _, to := range []string{"ana", "eva"} {
		if r := c.Say("RCPT TO:<" + to + "@our.example>").Reply(); r.Code != 450 || !strings.HasPrefix(r.Text(), "4.2.0 <"+to+"@our.example>: Recipient address rejected: Greylisted, try again in ") {
			t.Errorf("%s: %s", to, r)
		}
	}
	// Each asked twice, by two lines: counted once, and not asked about what
	// Postfix had refused itself.
	if st, _ := g.Run("status", "-o", "json", "--config", g.Config); !strings.Contains(st, `"deferred": 2`) {
		t.Errorf("%s", st)
	}
	c.Say("QUIT").Want(221)
	harness.Eventually(t, "it is never let in", func() bool {
		c = as(t, p, "198.51.100.200") // a neighbour
		c.Say("MAIL FROM:<a@x.example>").Want(250)
		if c.Say("RCPT TO:<ana@our.example>").Reply().Code != 250 || c.Say("RCPT TO:<eva@our.example>").Reply().Code != 250 {
			c.Close()
			return false
		}
		return true
	})
	c.Say("DATA").Want(354)
	c.Say("Subject: back again", "", "text", ".").Want(250)
	c.Say("QUIT").Want(221)
	for _, m := range p.WaitDelivered(t, 1) {
		if strings.Count(m, "X-Greylist: delayed ") != 1 {
			t.Errorf("%s", m)
		}
	}
	c = as(t, p, "203.0.113.5")
	c.Say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ana@our.example\x00secret"))).Want(235)
	c.Say("MAIL FROM:<ana@our.example>").Want(250)
	c.Say("RCPT TO:<eva@our.example>").Want(250)
	if out, code := g.Run("greylist", "list", "--client", "203.0.113.5", "--config", g.Config); code != 0 || !strings.Contains(out, "knows nobody") {
		t.Errorf("who has logged in is in the table: %s", out)
	}
}

// TestKillUnderLoad: the gateway is killed and restarted while Postfix takes
// mail. Who may pass is let in, or told that there is a problem here; who must
// wait never gets in.
func TestKillUnderLoad(t *testing.T) {
	g, p := serving(t, "1h", false)
	if out, code := g.Run("greylist", "pass", "198.51.100.1", "--config", g.Config); code != 0 {
		t.Fatal(out)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for n := range 4 {
		passes := n%2 == 0
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; !stop.Load(); i++ {
				client := fmt.Sprintf("203.0.%d.%d", i%200, n)
				if passes {
					client = fmt.Sprintf("198.51.100.%d", n)
				}
				c, err := harness.Connect(t, p.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				for _, say := range []string{"", "EHLO x", "XCLIENT NAME=[UNAVAILABLE] ADDR=" + client, "EHLO mail.x.example", fmt.Sprintf("MAIL FROM:<a%dx%d@x.example>", n, i)} {
					if say != "" {
						c.Say(say)
					}
					c.Reply()
				}
				for range 3 {
					r := c.Say("RCPT TO:<b@our.example>").Reply()
					kind := "wrong: " + r.String()
					switch {
					case r.Code == 250 && passes:
						kind = "in"
					case r.Code == 450 && strings.Contains(r.Text(), "Greylisted") && !passes:
						kind = "waits"
					case r.Code == 451 && strings.HasPrefix(r.Text(), "4.3.5 "):
						kind = "problem"
					}
					mu.Lock()
					seen[kind]++
					mu.Unlock()
				}
				c.Close()
			}
		}()
	}
	count := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		return seen["in"] + seen["waits"]
	}
	for range 4 {
		at := count()
		harness.Eventually(t, "nothing is answered", func() bool { return count() > at+30 })
		g.Kill()
		g.Start()
	}
	at := count()
	harness.Eventually(t, "nothing is answered after the kills", func() bool { return count() > at+30 })
	stop.Store(true)
	wg.Wait()
	t.Logf("answers: %v", seen)
	for kind := range seen {
		if strings.HasPrefix(kind, "wrong") {
			t.Error(kind)
		}
	}
	if seen["in"] == 0 || seen["waits"] == 0 {
		t.Errorf("%v", seen)
	}
}
