package main

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/relay/fakehop"
)

// pairFiles makes a pair for that name and gives its files as the tail of a
// table of [tls].
func pairFiles(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	at := filepath.Join(dir, "state", "tls", "self-signed.pem") // of the running gateway: a sound pair
	raw, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	key, rest := pem.Decode(raw)
	certFile, keyFile = filepath.Join(dir, name+".cert.pem"), filepath.Join(dir, name+".key.pem")
	if err := os.WriteFile(certFile, rest, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// TestBrokenPairs (attacks S-44, L-10): no certificate file keeps a reload from
// being applied or a gateway from its start; all of it is told.
func TestBrokenPairs(t *testing.T) {
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	g := start(t, dir)
	cert, key := pairFiles(t, dir, "default")
	gone := filepath.Join(dir, "gone.pem")
	g.edit(`#certificate_file = ""`, `certificate_file = "`+cert+`"`)
	g.edit(`#key_file = ""`, `key_file = "`+key+`"`)
	if code, out, text := g.command("reload"); code != 0 {
		t.Fatalf("reload with a good pair: %d %s%s", code, out, text)
	}
	if s := g.status(); len(s.TLS) != 1 || s.TLS[0].SelfMade {
		t.Errorf("%+v", s.TLS)
	}

	// At night: the pair is broken, and something must change.
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, good[:len(good)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(g.file("config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw) + "\n[tls.certificate.other]\ncertificate_file = \"" + gone + "\"\nkey_file = \"" + gone + "\"\n"
	if err := os.WriteFile(g.file("config.toml"), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	g.edit(`relay_domains = ["example.org", "example.net"]`, `relay_domains = ["example.org"]`)
	if code, _, text := g.command("config", "check"); code != 0 || !strings.Contains(text, cert) || !strings.Contains(text, gone) {
		t.Errorf("config check: %d %q", code, text)
	}
	code, out, text := g.command("reload")
	if code != 0 || !strings.Contains(out, "relay_domains") || !strings.Contains(text, cert) || !strings.Contains(text, gone) {
		t.Errorf("reload with broken pairs: %d %q %q", code, out, text)
	}
	if s := g.status(); len(s.TLS) != 1 || s.TLS[0].SelfMade || s.LastReload != "" {
		t.Errorf("%+v, %q", s.TLS, s.LastReload)
	}
	strict := func() {
		t.Helper()
		if code, _, text := g.command("health", "--strict"); code != exitFailed || !strings.Contains(text, cert) || !strings.Contains(text, gone) {
			t.Errorf("health --strict: %d %q", code, text)
		}
	}
	strict()
	g.awaitLog("a certificate cannot be used as it is")

	// And a restart, by whatever.
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.exit()
	g = start(t, dir)
	send(t, g.address("inbound"), "b@example.org")
	strict()
	if s := g.status(); len(s.TLS) != 1 || !s.TLS[0].SelfMade {
		t.Errorf("%+v", s.TLS)
	}
	if err := os.WriteFile(cert, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, text := g.command("reload"); code != 0 || strings.Contains(text, cert) || !strings.Contains(text, gone) {
		t.Errorf("reload with the default pair mended: %d %q", code, text)
	}
	if s := g.status(); len(s.TLS) != 1 || s.TLS[0].SelfMade {
		t.Errorf("%+v", s.TLS)
	}
}

// hopWith makes a hop that was probed once.
func hopWith(t *testing.T, c relay.Config) *hop {
	t.Helper()
	n, err := relay.New(relay.Options{Name: "mailserver", Config: c, Hostname: "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	h := &hop{NextHop: n, config: c}
	h.probe(context.Background())
	return h
}

// TestXClientIsAState: a next hop that does not offer XCLIENT where it is
// wanted stands in health and status until it does.
func TestXClientIsAState(t *testing.T) {
	for _, c := range []struct {
		offers  []string
		wanted  bool
		concern bool
		can     string
	}{
		{nil, true, true, "no XCLIENT"},
		{[]string{"XCLIENT NAME ADDR PORT PROTO HELO LOGIN"}, true, false, "XCLIENT"},
		{nil, false, false, "-"},
	} {
		conf := relay.DefaultConfig()
		conf.URL, conf.XClient = startHop(t, fakehop.Config{Extensions: append([]string{"X-OTHER"}, c.offers...)}).URL(), c.wanted
		h := hopWith(t, conf)
		got := h.concerns()
		if want := []string{"next hop mailserver does not offer XCLIENT (smtpd_authorized_xclient_hosts?)"}; c.concern && !slices.Equal(got, want) || !c.concern && len(got) > 0 {
			t.Errorf("%+v: %q", c, got)
		}
		s := h.status()
		if s.can() != c.can || (s.XClient != nil) != c.wanted || s.XClient != nil && *s.XClient == c.concern {
			t.Errorf("%+v: %q, %v", c, s.can(), s.XClient)
		}
	}
}

// TestFirstServerAside: mail that goes to a fallback is told in health; a
// fallback that rests while the first server works is not.
func TestFirstServerAside(t *testing.T) {
	well, away := startHop(t, fakehop.Config{}), startHop(t, fakehop.Config{})
	dead := away.URL()
	away.Close()
	conf := relay.DefaultConfig()
	conf.URL, conf.FallbackURLs = dead, []string{well.URL()}
	h := hopWith(t, conf)
	until := ""
	if s := h.status(); len(s.Hosts) == 2 && s.Hosts[0].Until != nil {
		until = s.Hosts[0].Until.Local().Format(time.DateTime)
	}
	if got := strings.Join(h.concerns(), "|"); until == "" || !strings.Contains(got, "next hop mailserver: server "+h.Hosts()[0].URL+" is set aside until "+until) {
		t.Errorf("%q, want until %q", got, until)
	}
	conf.URL, conf.FallbackURLs = well.URL(), []string{dead}
	if got := hopWith(t, conf).concerns(); len(got) > 0 {
		t.Errorf("a fallback: %q", got)
	}
	conf.Balance = "round-robin"
	if got := hopWith(t, conf).concerns(); len(got) != 1 {
		t.Errorf("one of equals: %q", got)
	}
}

// TestReloadForgetsUnknown: who made a mailbox and reloads need not wait.
func TestReloadForgetsUnknown(t *testing.T) {
	d, _, _ := inProcess(t)
	h := d.now.Load().hops["inbound"]
	no := startHop(t, fakehop.Config{Always: map[string]fakehop.Action{"RCPT": {Reply: "550 5.1.1 unknown\r\n"}}})
	conf := relay.DefaultConfig()
	conf.URL = no.URL()
	n, err := relay.New(relay.Options{Name: "inbound", Config: conf, Hostname: "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	was := h.NextHop
	h.NextHop = n // the same hop to a reload, with another server behind it
	defer was.Close()
	if err := n.Probe(context.Background()); err != nil {
		t.Fatal(err)
	}
	asked := func(want int) {
		t.Helper()
		del := n.Begin(&mail.Transaction{ID: "T", Session: &mail.Session{ID: "S", Role: mail.Inbound, Helo: "client.example", Proto: "ESMTP"}})
		if r, err := del.Rcpt(context.Background(), mail.Recipient{Path: mail.Path{Local: "new", Domain: "example.org"}}); err != nil || r.Code != 550 {
			t.Fatalf("%v, %v", r, err)
		}
		del.Abort()
		if got := no.Count("RCPT"); got != want {
			t.Errorf("asked %d times, want %d", got, want)
		}
	}
	asked(1)
	asked(1)
	if _, err := d.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d.now.Load().hops["inbound"] != h {
		t.Fatal("the next hop was not taken over")
	}
	asked(2)
}
