package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

func certificate(t *testing.T, from time.Time, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	cert, pool, err := fakehop.Certificate(from, names...)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, pool
}

// TestSTARTTLSMatrix: four policies against next hops of every kind (S-36,
// S-37, B-06). The want is how the message went: "tls", "verified", "clear",
// or "451".
func TestSTARTTLSMatrix(t *testing.T) {
	now := time.Now().Add(-time.Minute)
	good, roots := certificate(t, now, "127.0.0.1")
	other, otherRoots := certificate(t, now, "other.example")
	expired, expiredRoots := certificate(t, now.Add(-48*time.Hour), "127.0.0.1")
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS11
	tls12 := good.Clone()
	tls12.MaxVersion = tls.VersionTLS12
	say := func(reply string) script { return script{"STARTTLS": {{Reply: reply}, {Reply: reply}}} }
	type wants [4]string // none, may, encrypt, verify
	rows := []struct {
		name  string
		hop   fakehop.Config
		roots *x509.CertPool
		want  wants
	}{
		{"trusted", fakehop.Config{TLS: good}, roots, wants{"clear", "verified", "verified", "verified"}},
		{"TLS 1.2", fakehop.Config{TLS: tls12}, roots, wants{"clear", "verified", "verified", "verified"}},
		{"unknown authority", fakehop.Config{TLS: good}, x509.NewCertPool(), wants{"clear", "tls", "tls", "451"}},
		{"wrong name", fakehop.Config{TLS: other}, otherRoots, wants{"clear", "tls", "tls", "451"}},
		{"expired", fakehop.Config{TLS: expired}, expiredRoots, wants{"clear", "tls", "tls", "451"}},
		{"TLS 1.1 only", fakehop.Config{TLS: old}, roots, wants{"clear", "clear", "451", "451"}},
		{"not offered", fakehop.Config{}, roots, wants{"clear", "clear", "451", "451"}},
		{"not ESMTP", fakehop.Config{TLS: good, Always: map[string]fakehop.Action{"EHLO": {Reply: "502 5.5.1 what\r\n"}}}, roots, wants{"clear", "clear", "451", "451"}},
		{"454", fakehop.Config{TLS: good, Script: say("454 4.7.0 not now\r\n")}, roots, wants{"clear", "clear", "451", "451"}},
		{"502", fakehop.Config{TLS: good, Script: say("502 5.5.1 what\r\n")}, roots, wants{"clear", "clear", "451", "451"}},
		{"354", fakehop.Config{TLS: good, Script: say("354 go\r\n")}, roots, wants{"clear", "451", "451", "451"}},
		{"250", fakehop.Config{TLS: good, Script: say("250 go\r\n")}, roots, wants{"clear", "451", "451", "451"}},
		{"421", fakehop.Config{TLS: good, Script: say("421 4.3.2 bye\r\n")}, roots, wants{"clear", "451", "451", "451"}},
		{"injection", fakehop.Config{TLS: good, Script: say("220 go\r\n250-evil\r\n250 AUTH\r\n")}, roots, wants{"clear", "451", "451", "451"}},
		{"garbage for a handshake", fakehop.Config{TLS: good, Script: script{"STARTTLS": {{Garbage: "this is not TLS at all, not at all\r\n"}}}}, roots, wants{"clear", "clear", "451", "451"}},
		{"closes for a handshake", fakehop.Config{TLS: good, Script: script{"STARTTLS": {{Drop: true}}}}, roots, wants{"clear", "clear", "451", "451"}},
	}
	for _, r := range rows {
		for i, policy := range []string{"none", "may", "encrypt", "verify"} {
			t.Run(r.name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				s := start(t, r.hop)
				c := testConfig(s.URL())
				c.TLS = policy
				h, l := hop(t, c, func(o *Options) { o.RootCAs = r.roots })
				answers, o := send(t, h, transaction(), "a")
				want := r.want[i]
				if want == "451" {
					if answers[0].Code != 451 || o.Kind != mail.Refused || o.Replies[0].Code != 451 {
						t.Errorf("%v %+v", answers, o)
					}
					noDot(t, s)
					for _, c := range s.Conns() {
						if strings.Contains(c.Transcript(), "MAIL") {
							t.Errorf("MAIL was sent: %q", c.Transcript())
						}
					}
					if len(l.lines) == 0 {
						t.Error("no alert")
					}
					return
				}
				if o.Kind != mail.Relayed {
					t.Fatalf("%v %+v", answers, o)
				}
				m := s.Accepted()[0]
				if m.TLS != (want != "clear") {
					t.Errorf("over TLS: %v", m.TLS)
				}
				switch {
				case want == "clear" && o.TLS != "",
					want == "verified" && !strings.HasSuffix(o.TLS, " (verified)"),
					want == "tls" && !strings.Contains(o.TLS, " (not verified: "),
					want != "clear" && !strings.HasPrefix(o.TLS, "TLSv1."):
					t.Errorf("TLS %q", o.TLS)
				}
				if m.TLS {
					var verbs []string
					for _, c := range s.Conns()[m.Conn].Commands() {
						verb, _, _ := strings.Cut(c, " ")
						verbs = append(verbs, verb)
					}
					if got := strings.Join(verbs, " "); got != "EHLO STARTTLS EHLO MAIL RCPT DATA" {
						t.Error(got)
					}
				} else if policy == "may" && r.hop.TLS != nil && r.name != "not ESMTP" && len(l.lines) == 0 {
					t.Error("clear text in the place of TLS, and no alert")
				}
			})
		}
	}
}

// TestTLSForgetsClearText: what EHLO said before TLS does not count after it.
func TestTLSForgetsClearText(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	s := start(t, fakehop.Config{TLS: cfg, Extensions: []string{"STARTTLS", "SIZE 5", "DSN", "PIPELINING"}, TLSExtensions: []string{"8BITMIME"}})
	c := testConfig(s.URL())
	c.TLS = "verify"
	h, _ := hop(t, c, func(o *Options) { o.RootCAs = roots })
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.Capabilities(); got.DSN || got.Size != 0 || !got.EightBitMIME {
		t.Errorf("%+v", got)
	}
}

// TestTLSName: SNI and the name that is verified are the configured host, and
// the second connection resumes the session.
func TestTLSName(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "hop.example")
	names := make(chan string, 10)
	cfg.GetConfigForClient = func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- i.ServerName
		return nil, nil
	}
	s := start(t, fakehop.Config{TLS: cfg})
	c := testConfig("smtp://hop.example:" + strings.Split(s.Addr(), ":")[1])
	c.TLS, c.MaxUses = "verify", 1
	h, _ := hop(t, c, func(o *Options) {
		o.RootCAs = roots
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	for range 2 {
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed || !strings.HasPrefix(o.NextHop, "hop.example[127.0.0.1]:") {
			t.Fatalf("%+v", o)
		}
		if n := <-names; n != "hop.example" {
			t.Errorf("SNI %q", n)
		}
	}
}

// TestTLSBody: the message is whole through TLS, large and small.
func TestTLSBody(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	s := start(t, fakehop.Config{TLS: cfg})
	c := testConfig(s.URL())
	c.TLS = "verify"
	h, _ := hop(t, c, func(o *Options) { o.RootCAs = roots })
	for i, b := range []string{sample, strings.Repeat(sample, 20_000), "no end"} {
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt("a"))
		if o := d.Data(t.Context(), text(b)); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		if !strings.HasSuffix(b, "\r\n") {
			b += "\r\n"
		}
		if string(s.Accepted()[i].Data) != b {
			t.Errorf("message %d differs", i)
		}
	}
}

// TestTLSLostAfterDot: a broken TLS connection at the end is ambiguous too.
func TestTLSLostAfterDot(t *testing.T) {
	cfg, roots := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	s := start(t, fakehop.Config{TLS: cfg, Script: script{".": {{Silent: true, Drop: true}}}})
	c := testConfig(s.URL())
	c.TLS = "verify"
	h, _ := hop(t, c, func(o *Options) { o.RootCAs = roots })
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Ambiguous || o.Replies[0].Code != 451 {
		t.Errorf("%+v", o)
	}
}
