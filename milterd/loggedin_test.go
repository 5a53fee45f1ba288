package milterd

import (
	"testing"

	milter "github.com/emersion/go-milter"

	"garita/mail"
)

// session of a user of the MTA who has said MAIL.
func loggedIn(t *testing.T, d *door, user, client string) *milter.ClientSession {
	t.Helper()
	s := d.mta(t, everything, allSteps)
	must(t)(s.Conn("mail.client.test", milter.FamilyInet, 2525, client))
	must(t)(s.Helo("client.test"))
	if user != "" {
		if err := s.Macros(milter.CodeMail, "{auth_authen}", user, "{auth_type}", "PLAIN"); err != nil {
			t.Fatal(err)
		}
	}
	must(t)(s.Mail("a@our.example", nil))
	return s
}

func is(user string) func(string) bool { return func(login string) bool { return login == user } }

// TestKick: sessions are seen from outside; one that is ended hears 421 at its
// next command, whichever it is, and nobody else does.
func TestKick(t *testing.T) {
	for name, next := range map[string]func(*milter.ClientSession) *milter.Action{
		"mail": func(s *milter.ClientSession) *milter.Action {
			if err := s.Abort(); err != nil {
				t.Fatal(err)
			}
			if err := s.Macros(milter.CodeMail, "{auth_authen}", "ana@our.example"); err != nil {
				t.Fatal(err)
			}
			return must(t)(s.Mail("a@our.example", nil))
		},
		"rcpt": func(s *milter.ClientSession) *milter.Action { return must(t)(s.Rcpt("b@x.example", nil)) },
		"message": func(s *milter.ClientSession) *milter.Action {
			_, a := sent(t, s, [][2]string{{"From", " a@our.example"}}, "text\r\n")
			return a
		},
	} {
		d := open(t, nil)
		ana, bob, nobody := loggedIn(t, d, "ana@our.example", "192.0.2.7"), loggedIn(t, d, "bob@our.example", "192.0.2.8"), loggedIn(t, d, "", "192.0.2.9")
		list := d.LoggedIn()
		if len(list) != 2 || list[0].Login != "ana@our.example" || list[0].Client != "192.0.2.7" || list[0].Method != "PLAIN" || list[0].Listener != ListenerName || list[0].ID == "" {
			t.Fatalf("%s: %+v", name, list)
		}
		if name == "message" {
			must(t)(ana.Rcpt("b@x.example", nil))
		}
		if n := d.Kick(is("ana@our.example")); n != 1 {
			t.Errorf("%s: %d sessions", name, n)
		}
		if n := d.Kick(is("eva@our.example")); n != 0 {
			t.Errorf("%s: %d sessions of nobody", name, n)
		}
		if a := next(ana); a.Code != milter.ActReplyCode || a.SMTPCode != 421 {
			t.Errorf("%s: %+v", name, a)
		}
		for _, s := range []*milter.ClientSession{bob, nobody} {
			if a := must(t)(s.Rcpt("b@x.example", nil)); a.Code != milter.ActContinue {
				t.Errorf("%s: somebody else hears %+v", name, a)
			}
		}
		if got := d.Stats(); got.Commands["mail"] < 3 || got.Commands["connect"] != 3 || got.Commands["other"] != 0 {
			t.Errorf("%s: %v", name, got.Commands)
		}
	}
}

// TestKickEnds: what was ended is the session, not the user, nor who comes
// after him on the MTA's connection.
func TestKickEnds(t *testing.T) {
	d := open(t, nil)
	s := loggedIn(t, d, "ana@our.example", "192.0.2.7")
	d.Kick(is("ana@our.example"))
	must(t)(s.Conn("other.test", milter.FamilyInet, 2525, "192.0.2.70")) // the MTA reuses it
	if len(d.LoggedIn()) != 0 {
		t.Errorf("still there: %+v", d.LoggedIn())
	}
	must(t)(s.Helo("client.test"))
	if err := s.Macros(milter.CodeMail, "{auth_authen}", "ana@our.example"); err != nil {
		t.Fatal(err)
	}
	if a := must(t)(s.Mail("a@our.example", nil)); a.Code != milter.ActContinue {
		t.Errorf("her new session: %+v", a)
	}
	if list := d.LoggedIn(); len(list) != 1 || list[0].Client != "192.0.2.70" {
		t.Errorf("%+v", list)
	}
	// The checks' own word comes first.
	d.Kick(is("ana@our.example"))
	d.judge.set(mail.StageRcpt, mail.Decision{Verdict: mail.Reject, Reply: mail.Permanent(550, "7.1", "no")})
	if a := must(t)(s.Rcpt("b@x.example", nil)); a.SMTPCode != 550 {
		t.Errorf("%+v", a)
	}
}
