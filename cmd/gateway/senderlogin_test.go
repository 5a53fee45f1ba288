package main

import (
	"os"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
)

// TestSenderLogin: a user sends with his own address, with what a map gives
// him, and with no other: refused in his own session, held on a relay; the map
// is read again on reload.
func TestSenderLogin(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	g := &gateway{t: t, dir: dir}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(g.file("logins"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody yet\n")
	g.edit("\n[check.senderlogin]\n", "\n[check.senderlogin]\nmode = \"enforce\"\nfiles = [\""+g.file("logins")+"\"]\n")
	g = submission(t, dir)
	c := login(t, g.address("submission"), "ana@example.org")
	envelope := func(from string, code int) string {
		t.Helper()
		c.say(250, "MAIL FROM:<"+from+">")
		return c.say(code, "RCPT TO:<x@anywhere.example>")
	}
	if text := envelope("info@example.org", 553); !strings.Contains(text, "5.7.1") || !strings.Contains(text, "not owned by") {
		t.Errorf("%q", text)
	}
	c.say(250, "RSET")
	envelope("ana@example.org", 250)
	c.say(354, "DATA")
	c.say(553, "From: Boss <info@example.org>\r\nSubject: x\r\n\r\ntext\r\n.")
	envelope("Ana+shop@example.org", 250)
	c.say(354, "DATA")
	c.say(250, "From: ana@example.org\r\nSubject: x\r\n\r\ntext\r\n.")

	post := func(from string) bool {
		t.Helper()
		relay := dial(t, g.address("outbound"))
		relay.say(250, "EHLO mta.example.org")
		relay.say(250, "MAIL FROM:<"+from+">")
		relay.say(250, "RCPT TO:<x@anywhere.example>")
		relay.say(354, "DATA")
		return strings.Contains(relay.say(250, receivedFrom("ana")+"From: "+from+"\r\nSubject: x\r\n\r\ntext\r\n."), "held")
	}
	if post("ana@example.org") || !post("info@example.org") {
		t.Error("her own is held, or another's is not")
	}
	if out := g.must("hold", "list", "--reason", "senderlogin"); !strings.Contains(out, "senderlogin.") {
		t.Errorf("%s", out)
	}

	write("info@example.org bob@example.org ana\n")
	g.must("reload")
	c = login(t, g.address("submission"), "ana@example.org")
	envelope("info@example.org", 250)
	if post("info@example.org") {
		t.Error("held though the map gives it to her")
	}
	write("info@example.org ana\nnobody\n")
	if code, _, text := g.command("reload"); code == 0 || !strings.Contains(text, "logins:2") {
		t.Errorf("a map with a mistake: %d %s", code, text)
	}
	c.say(250, "RSET")
	envelope("info@example.org", 250) // the map before stays in use
}
