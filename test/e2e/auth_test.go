package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

const anasPassword = "a horse that reads maps"

// userFile writes a file of users with the hash that garita user-password
// makes.
func userFile(t *testing.T, names ...string) string {
	t.Helper()
	var lines []string
	for _, name := range names {
		lines = append(lines, userLine(t, name))
	}
	file := filepath.Join(harness.Dir(t), "users")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// submission makes a gateway with a submission listener for nobody's network,
// by STARTTLS at Outbound and by TLS from the first octet at the address that
// is given.
func submission(t *testing.T, certs *harness.Certs, smart string, more ...harness.Setting) (*harness.Gateway, string) {
	t.Helper()
	implicit := harness.Addr(t)
	g := harness.NewGateway(t, harness.Options{SmartHost: smart, Trust: strangers, Settings: certSettings(certs)})
	users := userFile(t, "ana", "luis@our.example")
	table := harness.TableOf(t, g.Config, "outbound")
	harness.Configure(t, g.Config, harness.Setting{Table: "users", Key: "file", Value: quoted(users)},
		harness.Setting{Table: table, Key: "auth", Value: "true"})
	harness.Append(t, g.Config, `
[listener.smtps]
role = "outbound"
listen = [`+quoted(implicit)+`]
next_hop = `+quoted(harness.Value(t, g.Config, table, "next_hop"))+`
trusted_networks = ["192.0.2.0/24"]
implicit_tls = true
auth = true
`)
	for _, s := range more {
		if s.Table == "outbound" {
			s.Table = table
		}
		harness.Configure(t, g.Config, s)
	}
	g.Start()
	return g, implicit
}

// TestAuth: users log in with swaks and relay; nobody else does (attacks S-39,
// S-156, S-157).
func TestAuth(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example", "127.0.0.1")
	hop := startHop(t, fakehop.Config{})
	at := harness.Addr(t)
	g, implicit := submission(t, certs, hop.Addr(), harness.Setting{Table: "metrics", Key: "listen", Value: quoted(at)})
	starttls, implied := []string{"--tls"}, []string{"--tls-on-connect"}
	for _, c := range []struct {
		name, addr string
		tls        []string
		flags      []string
		want       string // on the transcript
		good       bool
	}{
		{"PLAIN", g.Outbound, starttls, []string{"--auth", "PLAIN", "--auth-user", "ana", "--auth-password", anasPassword}, "235 2.7.0", true},
		{"LOGIN", g.Outbound, starttls, []string{"--auth", "LOGIN", "--auth-user", "ana", "--auth-password", anasPassword}, "235 2.7.0", true},
		{"PLAIN at once", implicit, implied, []string{"--auth", "PLAIN", "--auth-user", "luis@our.example", "--auth-password", anasPassword}, "235 2.7.0", true},
		{"LOGIN at once", implicit, implied, []string{"--auth", "LOGIN", "--auth-user", "ana", "--auth-password", anasPassword}, "235 2.7.0", true},
		{"wrong password", g.Outbound, starttls, []string{"--auth", "PLAIN", "--auth-user", "ana", "--auth-password", "wrong-horse"}, "535 5.7.8", false},
		{"nobody", implicit, implied, []string{"--auth", "LOGIN", "--auth-user", "eva", "--auth-password", anasPassword}, "535 5.7.8", false},
		{"no login", g.Outbound, starttls, nil, "530 5.7.0 Authentication required", false},
		{"no TLS", g.Outbound, nil, nil, "530 5.7.0 Must issue a STARTTLS", false},
		{"AUTH in clear", g.Outbound, nil, []string{"--auth", "PLAIN", "--auth-user", "ana", "--auth-password", anasPassword}, "not advertise", false},
		{"AUTH at the MX", g.Inbound, starttls, []string{"--auth", "PLAIN", "--auth-user", "ana", "--auth-password", anasPassword}, "not advertise", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(hop.Accepted())
			flags := append(append([]string{"--from", "ana@our.example", "--to", "eva@far.example"}, c.tls...), c.flags...)
			out, code := harness.Swaks(t, c.addr, flags...)
			if (code == 0) != c.good || !strings.Contains(out, c.want) {
				t.Errorf("swaks: exit status %d, want %q:\n%s", code, c.want, out)
			}
			if got := len(hop.Accepted()) - before; (got == 1) != c.good {
				t.Errorf("%d messages went out", got)
			}
		})
	}
	g.WaitLog("sasl_method=PLAIN, sasl_username=ana")
	g.WaitLog("sasl_method=LOGIN, sasl_username=ana")
	g.WaitLog("sasl_username=luis@our.example")
	g.WaitLog("SASL LOGIN authentication failed")
	m := fetchMetrics(t, at)
	for name, want := range map[string]float64{"garita_accounts": 2, "garita_smtp_auth_successes_total": 4, "garita_smtp_auth_busy_total": 0} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	if m["garita_smtp_auth_failures_total"] == 0 {
		t.Error("no failed login is counted")
	}
	for what, secret := range map[string]string{"the password": anasPassword, "its base64": base64.StdEncoding.EncodeToString([]byte(anasPassword)),
		"PLAIN's response": base64.StdEncoding.EncodeToString([]byte("\x00ana\x00" + anasPassword)), "a wrong password": "wrong-horse"} {
		if strings.Contains(g.Log(), secret) {
			t.Errorf("the log has %s (L-23)", what)
		}
	}
	for _, m := range hop.Accepted() {
		if !strings.Contains(string(m.Data), "with ESMTPSA") {
			t.Errorf("the trace field does not say that the client has logged in:\n%.300s", m.Data)
		}
	}
}

// TestAuthIsBoundToItsSession: what was said before TLS counts for nothing
// after it, three failures end the session, and a login survives RSET but no
// new connection.
func TestAuthIsBoundToItsSession(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example", "127.0.0.1")
	hop := startHop(t, fakehop.Config{})
	g, _ := submission(t, certs, hop.Addr())
	plain := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ana\x00"+anasPassword))
	conf := &tls.Config{RootCAs: certs.Pool, ServerName: "gw.example"}

	c := harness.Greeted(t, g.Outbound)
	c.Say(plain).Want(538)
	c.StartTLS(conf)
	c.Say("MAIL FROM:<ana@our.example>").Want(530)
	c.Say(plain).Want(235)
	c.Say(plain).Want(503)
	c.Say("RSET").Want(250)
	if r := c.Send("ana@our.example", []string{"eva@far.example"}, message); r.Code != 250 {
		t.Errorf("after the login: %s", r)
	}
	other := harness.Greeted(t, g.Outbound)
	other.StartTLS(conf)
	other.Say("MAIL FROM:<ana@our.example>").Want(530)
	// To act for another user is no right that anybody has.
	other.Say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("luis@our.example\x00ana\x00"+anasPassword))).Want(535)
	other.Say("AUTH PLAIN AGFuYQB3cm9uZw==").Want(535)
	other.Say("AUTH PLAIN AGFuYQB3cm9uZw==").Want(421)
	other.WantClosed()
	// A reload with a broken file of users keeps the old one.
	users := harness.Value(t, g.Config, "users", "file")
	if err := os.WriteFile(users, []byte("ana:{PLAIN}secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := g.Run("reload", "--config", g.Config); code != 78 {
		t.Errorf("reload with a broken file of users: exit status %d\n%s", code, out)
	}
	again := harness.Greeted(t, g.Outbound)
	again.StartTLS(conf)
	again.Say(plain).Want(235)
	// And one that leaves ana out takes her right away at the next login.
	if err := os.WriteFile(users, []byte(userLine(t, "eva")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := g.Run("reload", "--config", g.Config); code != 0 {
		t.Errorf("reload: exit status %d\n%s", code, out)
	}
	gone := harness.Greeted(t, g.Outbound)
	gone.StartTLS(conf)
	gone.Say(plain).Want(535)
}

// userLine is one line of a file of users.
func userLine(t *testing.T, name string) string {
	t.Helper()
	out, code := harness.CommandInput(t, []byte(anasPassword+"\n"), harness.Binary(t), "user-password", name)
	if code != 0 {
		t.Fatalf("garita user-password: exit status %d\n%s", code, out)
	}
	return out
}

// TestClientCertificates: a certificate that is named, or of the named
// authority, is a login; another earns nothing, and neither does any on a
// listener that names none.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	certs, partners, foreign := harness.NewCerts(t, "gw.example", "127.0.0.1"), harness.NewCerts(t, "partner.example"), harness.NewCerts(t, "mallory.example")
	named := harness.NewCerts(t, "named.example")
	out, code := harness.Command(t, harness.Need(t, "openssl", "openssl"), "x509", "-noout", "-fingerprint", "-sha256", "-in", named.CertFile)
	if code != 0 {
		t.Fatal(out)
	}
	hop := startHop(t, fakehop.Config{})
	g, implicit := submission(t, certs, hop.Addr(),
		harness.Setting{Table: "outbound", Key: "client_certificates", Value: "[" + quoted(strings.TrimSpace(out)) + "]"},
		harness.Setting{Table: "outbound", Key: "client_ca_file", Value: quoted(partners.CAFile)})
	for _, c := range []struct {
		name  string
		addr  string
		of    *harness.Certs
		flags []string
		good  bool
	}{
		{"by its authority", g.Outbound, partners, []string{"-starttls", "smtp"}, true},
		{"by its fingerprint", g.Outbound, named, []string{"-starttls", "smtp"}, true},
		{"by its fingerprint, TLS 1.2", g.Outbound, named, []string{"-starttls", "smtp", "-tls1_2"}, true},
		{"of another authority", g.Outbound, foreign, []string{"-starttls", "smtp"}, false},
		{"of the server's authority", g.Outbound, certs, []string{"-starttls", "smtp"}, false},
		{"of another authority, with the chain of the right one", g.Outbound, foreign, []string{"-starttls", "smtp", "-cert_chain", partners.CAFile}, false},
		{"none", g.Outbound, nil, []string{"-starttls", "smtp"}, false},
		{"on a listener that names none", implicit, partners, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(hop.Accepted())
			flags := c.flags
			if c.of != nil {
				flags = append(flags, "-cert", c.of.CertFile, "-key", c.of.KeyFile)
			}
			cl, said := harness.OpenSSLClient(t, c.addr, flags...)
			if len(c.flags) == 0 {
				cl.Want(220) // with -starttls openssl has read it
			}
			cl.Say("EHLO partner.example").Want(250)
			r := cl.Send("a@partner.example", []string{"eva@far.example"}, message)
			if c.good && r.Code != 250 || !c.good && r.Code != 530 {
				t.Errorf("%s; openssl says\n%s", r, said())
			}
			if got := len(hop.Accepted()) - before; (got == 1) != c.good {
				t.Errorf("%d messages went out", got)
			}
		})
	}
	g.WaitLog("client certificate accepted")
	g.WaitLog("client certificate earns nothing here")
	g.WaitLog("sasl_username=cert/")
}

// TestLoggedInIsTrusted: who has logged in is one of us for the checks too,
// wherever he sits and whatever his machine says at EHLO.
func TestLoggedInIsTrusted(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example")
	hop := startHop(t, fakehop.Config{})
	zone := harness.StartDNS(t, "far.example. 300 IN A 192.0.2.80")
	g, _ := submission(t, certs, hop.Addr(), harness.Setting{Table: "dns", Key: "servers", Value: "[" + quoted(zone.Addr) + "]"},
		harness.Setting{Table: "check.client", Key: "no_ptr", Value: `"enforce"`},
		harness.Setting{Table: "check.helo", Key: "fqdn", Value: `"enforce"`},
		harness.Setting{Table: "outbound", Key: "proxy_from", Value: `["127.0.0.1/32"]`})
	response := base64.StdEncoding.EncodeToString([]byte("\x00ana\x00" + anasPassword))
	for _, helo := range []string{"laptop", "gw.example", "[192.168.1.7]", "our.example"} {
		c := harness.From(t, "198.51.100.7", g.Outbound)
		c.Want(220)
		c.Say("EHLO " + helo).Want(250)
		c.Say("STARTTLS").Want(220)
		c.Secure(anyTLS())
		c.Say("EHLO " + helo).Want(250)
		c.Say("AUTH PLAIN " + response).Want(235)
		if r := c.Send("ana@our.example", []string{"eva@far.example"}, message); r.Code != 250 {
			t.Errorf("EHLO %s: %s", helo, r)
		}
		c.Close()
	}
}
