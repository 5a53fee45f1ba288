package main

import (
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
)

// TestDistance: what fingers do is near, other people are not.
func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"ana", "ana", 0}, {"ana", "anna", 1}, {"bob", "bbo", 1}, {"ana", "an", 1}, {"", "ab", 2}, {"maria", "mario", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want || distance(c.b, c.a) != c.want {
			t.Errorf("%s, %s: %d and %d, want %d", c.a, c.b, got, distance(c.b, c.a), c.want)
		}
	}
	if got := nearest("pupil12@a.example", []string{"pupil13@a.example", "pupl12@a.example"}); got != "pupl12@a.example" {
		t.Errorf("%q", got)
	}
	if got := nearest("pupil12@a.example", []string{"pupil13@a.example"}); got != "" {
		t.Errorf("%q is another pupil", got)
	}
}

// TestMistypedUser: a suspension of nobody looks like one that works, so a name
// that is most likely a mistake is refused with the one that was meant, and
// nothing has been done.
func TestMistypedUser(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := submission(t, initialise(t, hop.Addr()))
	c := dial(t, g.address("outbound"))
	c.say(250, "EHLO mta.example.org")
	for range 3 {
		c.say(250, "MAIL FROM:<ana@example.org>")
		c.say(250, "RCPT TO:<x@anywhere.example>")
		c.say(354, "DATA")
		c.say(250, "Subject: x\r\n\r\ntext\r\n.")
	}
	for _, bad := range []struct{ args, want string }{
		{"user suspend anna@example.org", "did you mean ana@example.org?"},
		{"user suspend ana@exmaple.org", "did you mean ana@example.org?"},
		{"user suspend ana@example.net.org", "did you mean ana@example.org?"},
		{"user suspend example.net", "is a domain of yours, not a user"},
		{"user suspend @example.org", "write one user"},
		{"user suspend postmaster@example.org", "not a person"},
		{"user suspend abuse", "not a person"},
		{"user limit aan@example.org --messages-per-hour 5", "did you mean ana@example.org?"},
		{"user trust anaa@example.org", "did you mean ana@example.org?"},
		{"limits reset an@example.org", "did you mean ana@example.org?"},
		{"user suspend ana --for 7", "30m, 12h or 7d"},
		{"user limit ana --messages-per-hour 5 --for 7", "30m, 12h or 7d"},
	} {
		code, out, text := g.command(strings.Fields(bad.args)...)
		if code != exitUsage || !strings.Contains(text, bad.want) {
			t.Errorf("%s: %d %s%s\nnot %q", bad.args, code, out, text, bad.want)
		}
	}
	if out := g.must("user", "list"); !strings.Contains(out, "nobody is suspended") {
		t.Errorf("somebody was:\n%s", out)
	}
	if out := g.must("user", "coverage"); !strings.Contains(out, "identity.hosts") {
		t.Errorf("nobody is told how to do better:\n%s", out)
	}
	if out := g.must("limits", "list", "ana"); !strings.Contains(out, "ana@example.org (sender)  3 ") {
		t.Errorf("what was sent in his name does not show:\n%s", out)
	}
	if out := g.must("user", "show", "ana"); !strings.Contains(out, "used (known by the sender alone): 3 of 60 messages / 1h") || !strings.Contains(out, "hold list --user ana@example.org") {
		t.Errorf("show:\n%s", out)
	}
	if out := g.must("hold", "delete", "--user", "anna", "--yes"); !strings.Contains(out, "nothing is held that fits") {
		t.Errorf("delete:\n%s", out)
	}
	if out := g.must("user", "suspend", "anna@example.org", "--force", "--for", "7d"); !strings.Contains(out, "anna@example.org is suspended until 2") {
		t.Error(out)
	}
	if out := g.must("user", "limit", "ana", "--messages-per-hour", "800", "--for", "1d"); !strings.Contains(out, "in effect: ") || !strings.Contains(out, "800 messages / 1h") || !strings.Contains(out, "300 messages / 24h") {
		t.Errorf("limit:\n%s", out)
	}
	if out := g.must("user", "show", "zoe"); !strings.Contains(out, "is it right?") {
		t.Error(out)
	}
	if out := g.must("user", "suspend", "ana"); strings.Contains(out, "is it right?") || !strings.Contains(out, "garita hold list --user ana@example.org") {
		t.Error(out)
	}
}

// TestNamesWithoutDomain: where no domain is the default, a name without one is
// nobody's, and a domain is no user.
func TestNamesWithoutDomain(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	g := start(t, initialise(t, hop.Addr()))
	for _, bad := range []struct{ name, want string }{
		{"ana", "write it as ana@example.org"}, {"example.net", "is a domain of yours, not a user"}, {"EXAMPLE.org", "is a domain of yours"},
	} {
		if code, out, text := g.command("user", "suspend", bad.name); code != exitUsage || !strings.Contains(text, bad.want) {
			t.Errorf("%s: %d %s%s", bad.name, code, out, text)
		}
	}
	g.must("user", "suspend", "ana", "--force")
}

// TestInitIdentity: a single server is believed about who has logged in, a
// network is not.
func TestInitIdentity(t *testing.T) {
	t.Parallel()
	a := answers{hostname: "mx.example.org", mode: "observe", trust: []string{"192.0.2.20/32", "192.0.2.0/24", "2001:db8::7/128"}, domains: []string{"example.org"}, places: under(t.TempDir())}
	text, err := a.text()
	if err != nil || !strings.Contains(text, `hosts = ["192.0.2.20/32", "2001:db8::7/128"]`) || !strings.Contains(text, "\ndefault_domain = \"example.org\"") {
		t.Errorf("%v", err)
	}
	a.domains = []string{"example.org", "example.net"}
	if text, _ = a.text(); strings.Contains(text, "\ndefault_domain") {
		t.Error("which domain a name is of is a guess")
	}
}
