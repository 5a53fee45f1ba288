package e2e

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

func certSettings(c *harness.Certs) []harness.Setting {
	return []harness.Setting{
		{Table: "tls", Key: "certificate_file", Value: quoted(c.CertFile)},
		{Table: "tls", Key: "key_file", Value: quoted(c.KeyFile)},
	}
}

func TestOpenSSLClient(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example", "127.0.0.1")
	b := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{NextHop: b.Addr, Trust: strangers, Settings: certSettings(certs)})
	// openssl has said EHLO and STARTTLS before it sends its input.
	out, _ := harness.OpenSSL(t, g.Inbound, "QUIT\n",
		"-CAfile", certs.CAFile, "-verify_return_error", "-verify_hostname", "gw.example", "-servername", "gw.example")
	if !strings.Contains(out, "verify return:1") || !strings.Contains(out, "221 2.0.0") {
		t.Errorf("openssl s_client:\n%s", out)
	}
	for _, old := range []string{"-tls1", "-tls1_1"} {
		out, code := harness.OpenSSL(t, g.Inbound, "QUIT\n", old, "-cipher", "ALL:@SECLEVEL=0")
		if code == 0 && strings.Contains(out, "221 ") {
			t.Errorf("%s was accepted:\n%s", old, out)
		}
	}
	out, code := harness.Swaks(t, g.Inbound, "--tls", "--from", "a@x.example", "--to", "b@our.example")
	if code != 0 {
		t.Fatalf("swaks --tls: %d\n%s", code, out)
	}
	if b.Count() != 1 {
		t.Errorf("%d messages arrived", b.Count())
	}
}

// Postfix as a client that insists on TLS towards us, and on our certificate.
func TestPostfixClientVerifiesUs(t *testing.T) {
	t.Parallel()
	certs := harness.NewCerts(t, "gw.example", "127.0.0.1", "localhost")
	b := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{SmartHost: b.Addr, Settings: certSettings(certs)})
	for _, level := range []string{"encrypt", "verify"} {
		t.Run(level, func(t *testing.T) {
			before := b.Count()
			p := harness.StartPostfix(t, harness.PostfixOptions{Name: "secure", RelayHost: g.Outbound, Main: map[string]string{
				"smtp_tls_security_level":    level,
				"smtp_tls_CAfile":            certs.CAFile,
				"smtp_tls_verify_cert_match": "gw.example",
				"smtp_tls_loglevel":          "1",
			}})
			c := harness.Greeted(t, p.Addr)
			if r := c.Send("user@our.example", []string{"v@victim.example"}, message); r.Code != 250 {
				t.Fatal(r)
			}
			p.WaitLog(t, "status=sent")
			want := "Untrusted TLS connection established"
			if level == "verify" {
				want = "Verified TLS connection established"
			}
			if !strings.Contains(p.Log(), want) && !strings.Contains(p.Log(), "Trusted TLS connection established") {
				t.Errorf("Postfix does not say %q:\n%s", want, p.Log())
			}
			if b.Count() != before+1 {
				t.Errorf("%d messages arrived", b.Count()-before)
			}
		})
	}
}

// The policies towards a Postfix behind us that has STARTTLS.
func TestNextHopPolicies(t *testing.T) {
	t.Parallel()
	good := harness.NewCerts(t, "127.0.0.1")
	other := harness.NewCerts(t, "other.example")
	cases := []struct {
		policy string
		certs  *harness.Certs // of Postfix; nil: no STARTTLS
		ca     string
		code   int
		secure bool
	}{
		{"none", good, "", 250, false},
		{"may", good, "", 250, true},
		{"may", nil, "", 250, false},
		{"encrypt", good, "", 250, true},
		{"encrypt", other, "", 250, true},
		{"encrypt", nil, "", 451, false},
		{"verify", good, good.CAFile, 250, true},
		{"verify", good, other.CAFile, 451, false},
		{"verify", other, other.CAFile, 451, false}, // not valid for 127.0.0.1
		{"verify", nil, good.CAFile, 451, false},
	}
	var rows [][]string
	for _, c := range cases {
		main := map[string]string{}
		offer := "no STARTTLS"
		if c.certs != nil {
			main = map[string]string{"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": c.certs.CertFile, "smtpd_tls_key_file": c.certs.KeyFile, "smtpd_tls_loglevel": "1"}
			offer = "certificate for 127.0.0.1"
			if c.certs == other {
				offer = "certificate for another name"
			}
		}
		p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}, Main: main})
		g := harness.NewGateway(t, harness.Options{NextHop: p.Addr, Trust: strangers})
		hop := harness.Value(t, g.Config, harness.TableOf(t, g.Config, "inbound"), "next_hop")
		harness.Configure(t, g.Config,
			harness.Setting{Table: "next_hop." + hop, Key: "tls", Value: quoted(c.policy)},
			harness.Setting{Table: "next_hop." + hop, Key: "ca_file", Value: quoted(c.ca)})
		g.Start()
		r := harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, message)
		if r.Code != c.code {
			t.Errorf("tls = %q, %s: %s, want %d\n%s", c.policy, offer, r, c.code, g.Log())
		}
		if r.Code == 250 {
			p.WaitDelivered(t, 1)
		}
		secure := strings.Contains(p.Log(), "TLS connection established from")
		if c.code == 250 && secure != c.secure {
			t.Errorf("tls = %q, %s: encrypted %v, want %v", c.policy, offer, secure, c.secure)
		}
		if c.code != 250 && len(p.Delivered(t)) != 0 {
			t.Errorf("tls = %q, %s: delivered all the same", c.policy, offer)
		}
		state := "clear text"
		if secure {
			state = "TLS"
		}
		rows = append(rows, []string{c.policy, offer, r.String()[:3], state})
		g.Stop()
	}
	table(t, []string{"tls =", "next hop has", "client is told", "to the next hop"}, rows)
}

// Injected plain text before TLS, and what follows a failed handshake.
func TestPlaintextAroundSTARTTLS(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), Trust: strangers})
	t.Run("injected before the handshake", func(t *testing.T) {
		c := harness.Greeted(t, g.Inbound)
		c.Raw("STARTTLS\r\nMAIL FROM:<i@x.example>\r\nRCPT TO:<b@our.example>\r\n")
		// Either refused and closed at once, or discarded: then RCPT after
		// the handshake has no transaction to belong to.
		if r := c.Reply(); r.Code == 220 {
			tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
			if err := tc.Handshake(); err == nil {
				io.WriteString(tc, "EHLO client.example\r\n")
				io.WriteString(tc, "RCPT TO:<b@our.example>\r\nQUIT\r\n")
				all, _ := io.ReadAll(tc)
				if strings.Contains(string(all), "250 2.1") {
					t.Errorf("injected words had an effect: %q", all)
				}
			}
		} else if r.Class() != 5 {
			t.Errorf("answered %s", r)
		}
		if n := hop.Count("MAIL"); n != 0 {
			t.Errorf("the next hop saw MAIL %d times", n)
		}
	})
	t.Run("garbage instead of a handshake", func(t *testing.T) {
		c := harness.Greeted(t, g.Inbound)
		c.Say("STARTTLS").Want(220)
		c.Raw("EHLO x\r\nMAIL FROM:<i@x.example>\r\nRCPT TO:<b@our.example>\r\nDATA\r\n")
		for _, r := range c.WantClosed() {
			t.Errorf("answered %s after a failed handshake", r)
		}
		if n := hop.Count("MAIL"); n != 0 {
			t.Errorf("the next hop saw MAIL %d times", n)
		}
	})
}
