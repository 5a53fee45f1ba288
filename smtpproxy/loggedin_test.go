package smtpproxy

import (
	"context"
	"strings"
	"testing"

	"garita/mail"
)

// endsMail answers 421 at MAIL.
type endsMail struct{ Policy }

func (endsMail) Mail(context.Context, *mail.Transaction) mail.Decision {
	return mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(421, "7.0", "Call 555"), Close: true, Mandatory: true}
}

// TestKick ends the sessions of one user and nobody else's.
func TestKick(t *testing.T) {
	k, _ := newAuthKit(t, nil)
	idle, inAuth, other := k.secure(), k.secure(), k.secure()
	idle.do("235", "AUTH PLAIN "+anaPlain)
	inAuth.do("334", "AUTH PLAIN")
	busy := k.secure()
	busy.do("235", "AUTH PLAIN "+anaPlain)
	busy.do("250", "MAIL FROM:<ana@our.example>")
	busy.do("250", "RCPT TO:<x@elsewhere.example>")
	busy.do("354", "DATA")
	list := k.srv.LoggedIn()
	if len(list) != 2 || list[0].Login != "ana" || list[0].Method != "PLAIN" || list[0].Client != "127.0.0.1" || list[0].Since.IsZero() {
		t.Errorf("%+v", list)
	}
	if n := k.srv.Kick(func(login string) bool { return login == "bob" }); n != 0 {
		t.Errorf("%d sessions of bob", n)
	}
	if n := k.srv.Kick(func(login string) bool { return login == "ana" }); n != 2 {
		t.Errorf("%d sessions of ana", n)
	}
	idle.want("421 4.7.0")
	idle.closed()
	busy.do("250", "Subject: x\r\n\r\nx\r\n.") // its end had to be judged
	busy.want("421 4.7.0")
	busy.closed()
	other.do("250", "NOOP")
	inAuth.do("235", anaPlain) // who logs in later is another session
	inAuth.do("250", "NOOP")
}

// TestReplyThatEnds: a 421 of the checks ends the session of a user, also of
// one in the trusted networks, and no relay's.
func TestReplyThatEnds(t *testing.T) {
	k, _ := newAuthKit(t, func(set *Settings, _ *Listener) { set.Policy = endsMail{set.Policy} })
	c := k.secure()
	c.do("235", "AUTH PLAIN "+anaPlain)
	c.do("421 4.7.0 Call 555", "MAIL FROM:<ana@our.example>")
	c.closed()

	k = newKit(t, "outbound", func(set *Settings, _ *Listener) { set.Policy = endsMail{set.Policy} })
	c = k.hello()
	if got := c.do("421", "MAIL FROM:<ana@our.example>"); !strings.Contains(got, "Call 555") {
		t.Error(got)
	}
	c.do("250", "NOOP")
}
