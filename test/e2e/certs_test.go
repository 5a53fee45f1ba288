package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// copyFile puts a file in place of another, with a rename as certbot does.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// shown is the serial number of the certificate that a new client is shown.
func shown(t *testing.T, addr, server string) string {
	t.Helper()
	c := harness.Greeted(t, addr)
	defer c.Close()
	conf := anyTLS()
	conf.ServerName = server
	return c.StartTLS(conf).PeerCertificates[0].SerialNumber.String()
}

// TestServerNames: openssl gets the certificate of the name that it asks for,
// and the default for a name that is nobody's.
func TestServerNames(t *testing.T) {
	t.Parallel()
	first, second := harness.NewCerts(t, "gw.example", "*.wild.example"), harness.NewCerts(t, "mail.second.example")
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: append(certSettings(first),
		harness.Setting{Table: "tls.certificate.second", Key: "certificate_file", Value: quoted(second.CertFile)},
		harness.Setting{Table: "tls.certificate.second", Key: "key_file", Value: quoted(second.KeyFile)})})
	for _, c := range []struct {
		server, host string
		ca           *harness.Certs
	}{
		{"gw.example", "gw.example", first},
		{"mail.second.example", "mail.second.example", second},
		{"MAIL.second.EXAMPLE", "mail.second.example", second},
		{"a.wild.example", "a.wild.example", first},
		{"nobody.example", "gw.example", first},
		{"", "gw.example", first},
	} {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			flags := []string{"-CAfile", c.ca.CAFile, "-verify_return_error", "-verify_hostname", c.host, version}
			if c.server == "" {
				flags = append(flags, "-noservername")
			} else {
				flags = append(flags, "-servername", c.server)
			}
			out, _ := harness.OpenSSL(t, g.Inbound, "QUIT\n", flags...)
			if !strings.Contains(out, "verify return:1") || !strings.Contains(out, "221 2.0.0") {
				t.Errorf("%q %s:\n%s", c.server, version, out)
			}
		}
	}
}

// TestCertificateIsRenewed: new files are taken by a reload while 50 sessions
// run, none of which notices; files that are broken, half-written, of another
// key or open to everybody leave the old pair in use, and health says so
// (attacks S-44).
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example")
	d := harness.Dir(t)
	certFile, keyFile := filepath.Join(d, "cert.pem"), filepath.Join(d, "key.pem")
	copyFile(t, certs.CertFile, certFile)
	copyFile(t, certs.KeyFile, keyFile)
	b := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{NextHop: b.Addr, SmartHost: b.Addr, Settings: []harness.Setting{
		{Table: "tls", Key: "certificate_file", Value: quoted(certFile)}, {Table: "tls", Key: "key_file", Value: quoted(keyFile)},
	}})
	if out, code := g.Run("health", "--strict", "--wait", harness.Patience.String(), "--config", g.Config); code != 0 {
		t.Fatalf("garita health --strict: %d\n%s", code, out)
	}
	old := shown(t, g.Inbound, "gw.example")
	var sessions []*harness.Client
	const many = 50
	for i := range many {
		c := harness.Greeted(t, g.Inbound)
		if i%2 == 0 {
			c.StartTLS(anyTLS())
		}
		switch i % 5 {
		case 0:
		case 1:
			c.Say("MAIL FROM:<a@x.example>").Want(250)
		case 2:
			c.Envelope("a@x.example", "b@our.example")
		default:
			c.Envelope("a@x.example", "b@our.example").Say("DATA").Want(354)
			c.Raw("Subject: half\r\n")
		}
		sessions = append(sessions, c)
	}
	newCert, newKey := certs.Issue(t, "gw.example")
	whole, err := os.ReadFile(newCert)
	if err != nil {
		t.Fatal(err)
	}
	broken := []struct {
		what  string
		spoil func()
	}{
		{"half-written", func() { writeFile(t, certFile, string(whole[:len(whole)/2])) }},
		{"empty", func() { writeFile(t, certFile, "") }},
		{"of another key", func() { copyFile(t, newCert, certFile) }},
		{"not there", func() { os.Remove(certFile) }},
		{"with a key that everybody reads", func() {
			copyFile(t, newCert, certFile)
			copyFile(t, newKey, keyFile)
			if err := os.Chmod(keyFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, c := range broken {
		c.spoil()
		if said := reload(t, g, 0); !strings.Contains(said, d) {
			t.Errorf("%s: the reload names no file:\n%s", c.what, said)
		}
		if got := shown(t, g.Inbound, "gw.example"); got != old {
			t.Errorf("%s: another certificate is shown", c.what)
		}
		if out, code := g.Run("health", "--strict", "--config", g.Config); code == 0 || !strings.Contains(out, d) {
			t.Errorf("%s: garita health --strict: %d\n%s", c.what, code, out)
		}
		if out, code := g.Run("health", "--config", g.Config); code != 0 {
			t.Errorf("%s: garita health: %d\n%s", c.what, code, out)
		}
	}
	copyFile(t, newKey, keyFile)
	g.Signal(syscall.SIGHUP)
	harness.Eventually(t, "the new certificate is not shown", func() bool { return shown(t, g.Inbound, "gw.example") != old })
	if out, code := g.Run("health", "--strict", "--config", g.Config); code != 0 {
		t.Errorf("after the good reload, garita health --strict: %d\n%s", code, out)
	}
	for i, c := range sessions {
		switch i % 5 {
		case 0:
			c.Envelope("a@x.example", "b@our.example").Say("DATA").Want(354)
		case 1:
			c.Say("RCPT TO:<b@our.example>").Want(250)
			c.Say("DATA").Want(354)
		case 2:
			c.Say("DATA").Want(354)
		}
		if r := c.Raw(harness.Stuff("X: y\r\n\r\nbody\r\n")).Reply(); r.Code != 250 {
			t.Errorf("session %d: %s", i, r)
		}
	}
	if n := b.Count(); n != many {
		t.Errorf("%d of %d messages arrived", n, many)
	}
}

// TestExpiredCertificate: service goes on, and everybody is told, before and
// after (attacks S-45). Two certificates and two gateways, because how long a
// gateway takes to start is not the test's to know.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		life time.Duration
		says string
	}{{10 * 24 * time.Hour, "expires on"}, {-time.Minute, "has expired on"}} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			certs := harness.NewCerts(t, "gw.example")
			certs.Life = c.life
			certs.CertFile, certs.KeyFile = certs.Issue(t, "gw.example")
			end := time.Now().Add(certs.Life)
			at := harness.Addr(t)
			hop := startHop(t, fakehop.Config{})
			g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr(), Settings: append(certSettings(certs),
				harness.Setting{Table: "metrics", Key: "listen", Value: quoted(at)})})
			g.WaitLog(c.says)
			harness.Eventually(t, "garita health --strict does not say that the certificate "+c.says, func() bool {
				out, code := g.Run("health", "--strict", "--config", g.Config)
				return code == 1 && strings.Contains(out, c.says)
			})
			if m := fetchMetrics(t, at)[`garita_tls_cert_not_after_timestamp_seconds{name="default"}`]; m < float64(end.Unix()-5) || m > float64(end.Unix()+5) {
				t.Errorf("the end of the certificate in /metrics is %g, want about %d", m, end.Unix())
			}
			s := harness.Greeted(t, g.Inbound)
			s.StartTLS(anyTLS())
			if r := s.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
				t.Errorf("mail: %s", r)
			}
		})
	}
}

// TestResumption: a ticket is taken by the listener that gave it, over reloads
// and restarts, and by no other listener (attacks S-41).
func TestResumption(t *testing.T) {
	t.Parallel()
	certs, partners := harness.NewCerts(t, "gw.example"), harness.NewCerts(t, "partner.example")
	hop := startHop(t, fakehop.Config{})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr(), Trust: strangers, Settings: certSettings(certs)})
	harness.Configure(t, g.Config, harness.Setting{Table: harness.TableOf(t, g.Config, "outbound"), Key: "client_ca_file", Value: quoted(partners.CAFile)})
	g.Start()
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(harness.Dir(t), "session")
		talk := func(addr string, flags ...string) string {
			args := append([]string{"s_client", "-starttls", "smtp", "-name", "client.example", "-connect", addr, "-ign_eof", "-crlf", "-servername", "gw.example", version}, flags...)
			out, _ := harness.CommandInput(t, []byte("QUIT\n"), harness.Need(t, "openssl", "openssl"), args...)
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, "New, ") || strings.HasPrefix(line, "Reused, ") {
					return line[:3]
				}
			}
			t.Errorf("openssl says nothing of the session:\n%s", out)
			return ""
		}
		want := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s, %s: the session is %q, want %q", version, what, got, want)
			}
		}
		want("first", talk(g.Inbound, "-sess_out", session), "New")
		want("again", talk(g.Inbound, "-sess_in", session), "Reu")
		want("at another listener", talk(g.Outbound, "-sess_in", session), "New")
		reload(t, g, 0)
		want("after a reload", talk(g.Inbound, "-sess_in", session), "Reu")
		g.Kill()
		g.Start()
		want("after kill -9 and a start", talk(g.Inbound, "-sess_in", session), "Reu")
		want("at another listener after a start", talk(g.Outbound, "-sess_in", session), "New")
	}
	// A session with a certificate is one with a certificate when it resumes,
	// until the authority is another one.
	pair, err := tls.LoadX509KeyPair(partners.CertFile, partners.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{RootCAs: certs.Pool, ServerName: "gw.example", Certificates: []tls.Certificate{pair}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	send := func() (bool, harness.Reply) {
		c := harness.Greeted(t, g.Outbound)
		defer c.Close()
		state := c.StartTLS(conf)
		return state.DidResume, c.Send("a@partner.example", []string{"b@far.example"}, message)
	}
	for i := range 2 {
		if resumed, r := send(); r.Code != 250 || resumed != (i == 1) {
			t.Errorf("connection %d with a certificate: resumed %v, %s", i, resumed, r)
		}
	}
	copyFile(t, certs.CAFile, partners.CAFile)
	reload(t, g, 0)
	if resumed, r := send(); r.Code != 530 {
		t.Errorf("after a change of the authority: resumed %v, %s", resumed, r)
	}
	if n := len(hop.Accepted()); n != 2 {
		t.Errorf("%d messages went out", n)
	}
}

// TestHandshakesOfStrangers: what is no handshake, or an endless one, costs
// its session and nobody else's (attacks S-40).
func TestHandshakesOfStrangers(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example")
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers, Settings: certSettings(certs)})
	for i, junk := range []string{"\x00\x00\x00\x00\x00\x00", "EHLO again\r\nMAIL FROM:<a@x.example>\r\n", "\x16\x03\x01\xff\xff" + strings.Repeat("a", 70000), "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", ""} {
		c := harness.Greeted(t, g.Inbound)
		c.Say("STARTTLS").Want(220)
		c.Raw(junk)
		if i >= 3 {
			c.Close() // it would be waited for
			continue
		}
		for r := range replies(c) {
			if r.Class() == 2 || r.Class() == 3 {
				t.Errorf("junk %d was answered %s", i, r)
			}
		}
	}
	c := harness.Greeted(t, g.Inbound)
	c.StartTLS(anyTLS())
	if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Errorf("another client: %s", r)
	}
	if n := hop.Count("RCPT"); n != 1 {
		t.Errorf("the next hop was asked %d times", n)
	}
}

// replies gives what a server says until it closes; octets that are no reply,
// as TLS alerts are, end it too.
func replies(c *harness.Client) func(func(harness.Reply) bool) {
	return func(yield func(harness.Reply) bool) {
		for range 100 {
			r := c.Reply()
			if r.Code == 0 || !yield(r) {
				if r.Text() == "(silence)" {
					yield(harness.Reply{Code: 299, Lines: []string{fmt.Sprint("silence")}})
				}
				return
			}
		}
	}
}
