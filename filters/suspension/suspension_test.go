package suspension

import (
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/users"
)

// some are suspended.
type some map[string]bool

func (s some) Suspended(user string) (users.Suspension, bool) {
	return users.Suspension{User: user, By: "root", Reason: "hijacked", Since: time.Unix(0, 0)}, s[user]
}

// login makes the identity of a session as the wire does.
type login struct{}

func (login) Mail(tx *mail.Transaction) {
	if tx.Identity.User == "" && tx.Login != "" {
		tx.Identity = mail.Identity{User: tx.Login, Source: "auth"}
	}
}
func (login) Message(*mail.Transaction) {}

func TestCases(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		for _, line := range config {
			filtertest.Set(t, &c, line)
		}
		f, err := New(c, some{"ana@our.example": true})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

// engine runs the check alone; mode is the global one.
func engine(t *testing.T, r Registry, mode mail.Mode) *filters.Engine {
	t.Helper()
	c, err := New(Default(), r)
	if err != nil {
		t.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{c}, Identity: login{}, Mode: func() mail.Mode { return mode }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOwnSession: 421 and the end at the next command, whichever door said who
// it is, and in every mode.
func TestOwnSession(t *testing.T) {
	for _, source := range []string{"auth", "certificate", "milter", "policy"} {
		e := engine(t, some{"ana": true}, mail.Observe)
		tx := &mail.Transaction{Session: &mail.Session{}, Identity: mail.Identity{User: "ana", Source: source}}
		if d := e.Mail(t.Context(), tx); d.Reply.Code != 421 || !d.Close || !d.Mandatory {
			t.Errorf("%s: %+v", source, d)
		}
	}
}

// TestWithinATransaction: a suspension that comes after MAIL ends the session
// at RCPT, at DATA or at the message, and is told once.
func TestWithinATransaction(t *testing.T) {
	for stage := range 3 {
		r := some{}
		e := engine(t, r, mail.Enforce)
		tx := &mail.Transaction{Session: &mail.Session{}, Identity: mail.Identity{User: "ana", Source: "auth"}}
		if d := e.Mail(t.Context(), tx); d.Verdict != mail.Continue {
			t.Fatal(d)
		}
		var d mail.Decision
		for i := range 3 {
			if r["ana"] = i >= stage; i == 0 {
				d = e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "b", Domain: "x"}})
			} else if i == 1 {
				d = e.Data(t.Context(), tx)
			} else {
				d = e.Message(t.Context(), tx)
			}
			if (i == stage) != (d.Reply.Code == 421 && d.Close) && i <= stage {
				t.Errorf("stage %d at %d: %+v", stage, i, d)
			}
		}
		n := 0
		for _, f := range d.Because {
			if f.Symbol == SymbolSession {
				n++
			}
		}
		if n != 1 {
			t.Errorf("stage %d: told %d times", stage, n)
		}
	}
}

// TestTrustedRelay: whom only the header names is held, message by message;
// nothing closes the connection.
func TestTrustedRelay(t *testing.T) {
	for _, source := range []string{"received", "x-authenticated-user", "sender"} {
		e := engine(t, some{"ana": true}, mail.Observe)
		for _, user := range []string{"bob", "ana", "", "carl"} {
			tx := &mail.Transaction{Session: &mail.Session{Trusted: true}, Identity: mail.Identity{User: user, Source: source}}
			if d := e.Mail(t.Context(), tx); d.Verdict != mail.Continue {
				t.Fatal(d)
			}
			d := e.Message(t.Context(), tx)
			if held := d.Verdict == mail.Quarantine; held != (user == "ana") || d.Close {
				t.Errorf("%s %q: %+v", source, user, d)
			}
		}
	}
}

func TestNobody(t *testing.T) {
	e := engine(t, nil, mail.Enforce)
	tx := &mail.Transaction{Session: &mail.Session{}, Identity: mail.Identity{User: "ana", Source: "auth"}}
	if e.Mail(t.Context(), tx); e.Message(t.Context(), tx).Verdict != mail.Continue {
		t.Error("somebody is suspended without a registry")
	}
}

func TestValidate(t *testing.T) {
	c := Config{Text: "é", Command: []string{"sh"}}
	var keys []string
	for _, err := range c.Validate() {
		keys = append(keys, strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r == ':' })[0])
	}
	if got := strings.Join(keys, " "); got != "text command[0] command_timeout" {
		t.Error(got)
	}
	if _, err := New(c, nil); err == nil {
		t.Error("made of mistakes")
	}
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}
