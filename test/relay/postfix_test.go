package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay"
	"garita/test/harness"
)

// TestPostfixXClient: Postfix takes our clients for its own, in its log, its
// trace field and its rules; hostile values stay values (S-100).
func TestPostfixXClient(t *testing.T) {
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}, Main: map[string]string{
		"smtpd_authorized_xclient_hosts": "127.0.0.0/8",
		"inet_protocols":                 "all", // with ipv4 alone it answers 501 to an IPv6 client
	}})
	h, n := next(t, "smtp://"+p.Addr, func(c *relay.Config) { c.XClient = true })
	one := client("S1", "192.0.2.7:4321", "helo.client.test")
	for _, tx := range []*mail.Transaction{one, one, client("S2", "[2001:db8::7]:99", "a ADDR=127.0.0.1"), client("S3", "192.0.2.9:1", strings.Repeat("\xc3\xbc", 300))} {
		// 127.0.0.1 is in mynetworks and may relay anywhere; the client may not.
		answers, o := deliver(t, h, tx, to("a", "elsewhere.test"), to("b", "our.test"))
		if answers[0].Code != 554 || answers[1].Code != 250 || o.Kind != mail.Relayed {
			t.Errorf("%s: %v %+v\n%s", tx.ID, answers, o, n)
		}
	}
	delivered := p.WaitDelivered(t, 4)
	log := p.Log()
	if strings.Count(log, ": client=mail.client.test[192.0.2.7]") != 2 || strings.Count(log, ": client=mail.client.test[2001:db8::7]") != 1 || strings.Contains(log, ": client=localhost") || strings.Contains(log, ": client=unknown[127.0.0.1]") {
		t.Errorf("the log:\n%s", log)
	}
	all := ""
	for _, m := range delivered {
		all += m
	}
	for _, want := range []string{"from helo.client.test (mail.client.test [192.0.2.7])", "mail.client.test [IPv6:2001:db8::7])"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if !strings.Contains(log, "helo=<helo.client.test>") || strings.Contains(log, "helo=<a ADDR") {
		t.Errorf("HELO:\n%s", log)
	}
	if n := h.Stats().Connects; n != 3 {
		t.Errorf("%d connections for three sessions:\n%s", n, log)
	}
	// Where we are not authorised, Postfix does not offer it.
	p = harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}})
	h, n = next(t, "smtp://"+p.Addr, func(c *relay.Config) { c.XClient = true })
	if _, o := deliver(t, h, one, to("b", "our.test")); o.Kind != mail.Relayed || !strings.Contains(n.String(), "does not offer XCLIENT") {
		t.Errorf("%+v\n%s", o, n)
	}
}

// TestPostfixXClientRefused: a client that Postfix's own rules refuse at once
// is 451 for now, with the reason in the log, and no message goes out.
func TestPostfixXClientRefused(t *testing.T) {
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}, Main: map[string]string{
		"smtpd_authorized_xclient_hosts": "127.0.0.0/8", "smtpd_delay_reject": "no",
	}, Smtpd: []string{"smtpd_client_restrictions=check_client_access,inline:{192.0.2.66=REJECT},permit"}})
	h, n := next(t, "smtp://"+p.Addr, func(c *relay.Config) { c.XClient = true })
	answers, _ := deliver(t, h, client("S1", "192.0.2.66:1", "x.test"), to("b", "our.test"))
	if answers[0].Code != 451 {
		t.Errorf("%v\n%s\n%s", answers, n, p.Log())
	}
	if _, o := deliver(t, h, client("S2", "192.0.2.67:1", "x.test"), to("b", "our.test")); o.Kind != mail.Relayed {
		t.Errorf("%+v\n%s", o, n)
	}
}

// TestPostfixConnectionLimit: Postfix outside whose mynetworks we are takes
// few connections of one client; 60 messages at once all go through (B-21).
func TestPostfixConnectionLimit(t *testing.T) {
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}, Main: map[string]string{
		"mynetworks": "192.0.2.0/24", "smtpd_client_connection_count_limit": "4", "smtpd_client_event_limit_exceptions": "",
	}})
	h, n := next(t, "smtp://"+p.Addr, func(c *relay.Config) { c.WaitBudget = time.Minute })
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			answers, o := deliver(t, h, client(fmt.Sprint("S", i), "192.0.2.7:1", "x.test"), to("b", "our.test"))
			if o.Kind != mail.Relayed {
				t.Errorf("%v %+v", answers, o)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.Logf("%s\n%s", n, p.Log())
	}
	if !strings.Contains(p.Log(), "Connection concurrency limit exceeded") || !strings.Contains(n.String(), "takes no more connections") {
		t.Errorf("the limit was not met:\n%s", n)
	}
	if h.Fault() != nil {
		t.Error(h.Fault())
	}
}

// TestPostfixFailover: the first server is killed under load and comes back;
// the client sees 4xx at most for what was under way.
func TestPostfixFailover(t *testing.T) {
	first := harness.StartPostfix(t, harness.PostfixOptions{Name: "first", Domains: []string{"our.test"}})
	second := harness.StartPostfix(t, harness.PostfixOptions{Name: "second", Domains: []string{"our.test"}})
	h, n := next(t, "smtp://"+first.Addr, func(c *relay.Config) { c.FallbackURLs = []string{"smtp://" + second.Addr} })
	tx := client("S1", "192.0.2.7:1", "x.test")
	send := func() mail.Outcome { _, o := deliver(t, h, tx, to("b", "our.test")); return o }
	if o := send(); o.Kind != mail.Relayed || !strings.HasSuffix(o.NextHop, first.Addr[strings.Index(first.Addr, ":"):]) {
		t.Fatalf("%+v", o)
	}
	first.Kill()
	for range 5 {
		if o := send(); o.Kind != mail.Relayed || !strings.HasSuffix(o.NextHop, second.Addr[strings.Index(second.Addr, ":"):]) {
			t.Fatalf("%+v\n%s", o, n)
		}
	}
	second.WaitDelivered(t, 5)
	first.Restart(t)
	// Set aside for five seconds at the most by now.
	harness.Eventually(t, "the first server is not used again", func() bool {
		o := send()
		return o.Kind == mail.Relayed && strings.HasSuffix(o.NextHop, first.Addr[strings.Index(first.Addr, ":"):])
	})
}

// TestPostfixSASL: AUTH PLAIN and LOGIN over verified TLS at a smart host whose
// passwords Dovecot knows; a wrong one is 451 and nobody's 5xx.
func TestPostfixSASL(t *testing.T) {
	for _, mechanism := range []string{"plain", "login"} {
		t.Run(mechanism, func(t *testing.T) { sasl(t, mechanism) })
	}
}

func sasl(t *testing.T, mechanism string) {
	const password = "correct horse=battery+staple"
	d := startDovecot(t, "gateway@our.test:{PLAIN}"+password+"::::::\n", mechanism)
	certs := harness.NewCerts(t, "127.0.0.1")
	p := harness.StartPostfix(t, harness.PostfixOptions{Main: map[string]string{
		"mynetworks": "192.0.2.0/24", "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": d.auth,
		"smtpd_relay_restrictions": "permit_sasl_authenticated, reject", "smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes",
		"smtpd_tls_cert_file": certs.CertFile, "smtpd_tls_key_file": certs.KeyFile, "smtpd_sasl_security_options": "noanonymous",
	}})
	verified := func(password string) func(*relay.Config) {
		return func(c *relay.Config) {
			c.TLS, c.CAFile, c.Login, c.Password = "verify", certs.CAFile, "gateway@our.test", password
		}
	}
	h, n := next(t, "smtp://"+p.Addr, verified(password))
	tx := client("S1", "192.0.2.7:1", "x.test")
	for range 3 {
		if answers, o := deliver(t, h, tx, to("anybody", "elsewhere.test")); o.Kind != mail.Relayed || !strings.HasSuffix(o.TLS, "(verified)") {
			t.Fatalf("%v %+v\n%s\n%s", answers, o, n, p.Log())
		}
	}
	p.WaitLog(t, "sasl_method="+strings.ToUpper(mechanism)+", sasl_username=gateway@our.test")
	if got := strings.Count(n.String(), "Verified TLS connection established to 127.0.0.1[127.0.0.1]:"); got != 1 {
		t.Errorf("%s", n)
	}
	h, n = next(t, "smtp://"+p.Addr, verified("wrong"))
	answers, _ := deliver(t, h, tx, to("anybody", "elsewhere.test"))
	if answers[0].Code != 451 || !strings.Contains(n.String(), "refused our login") {
		t.Errorf("%v\n%s", answers, n)
	}
	// Without a login the smart host does not relay: its 5xx is its own.
	h, _ = next(t, "smtp://"+p.Addr, nil)
	if answers, _ := deliver(t, h, tx, to("anybody", "elsewhere.test")); answers[0].Code != 554 {
		t.Error(answers)
	}
}

// TestPostfixImplicitTLS: smtps with a listed fingerprint and a certificate of
// our own, which Postfix asks for.
func TestPostfixImplicitTLS(t *testing.T) {
	certs, own := harness.NewCerts(t, "127.0.0.1"), harness.NewCerts(t, "gw.example")
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.test"}, Main: map[string]string{
		"smtpd_tls_wrappermode": "yes", "smtpd_tls_security_level": "encrypt", "smtpd_tls_cert_file": certs.CertFile, "smtpd_tls_key_file": certs.KeyFile,
		"smtpd_tls_ask_ccert": "yes", "smtpd_tls_CAfile": own.CAFile, "smtpd_tls_loglevel": "1", "smtpd_tls_received_header": "yes",
	}})
	out, _ := harness.Command(t, harness.Need(t, "openssl", "openssl"), "x509", "-in", certs.CertFile, "-noout", "-fingerprint", "-sha256")
	_, print, ok := strings.Cut(strings.TrimSpace(out), "=")
	if !ok {
		t.Fatal(out)
	}
	h, n := next(t, "smtps://"+p.Addr, func(c *relay.Config) {
		c.TLS, c.Fingerprints = "fingerprint", []string{print}
		c.ClientCertificateFile, c.ClientKeyFile = own.CertFile, own.KeyFile
	})
	if answers, o := deliver(t, h, client("S1", "192.0.2.7:1", "x.test"), to("b", "our.test")); o.Kind != mail.Relayed {
		t.Fatalf("%v %+v\n%s", answers, o, n)
	}
	for _, m := range p.WaitDelivered(t, 1) {
		if !strings.Contains(m, `Client CN "gw.example"`) {
			t.Errorf("our certificate was not seen:\n%s", m)
		}
	}
}
