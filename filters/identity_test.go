package filters

import (
	"context"
	"testing"

	"garita/mail"
)

// namer is an Identifier.
type namer struct{}

func (namer) Mail(tx *mail.Transaction)    { tx.Identity = mail.Identity{User: "at-mail"} }
func (namer) Message(tx *mail.Transaction) { tx.Identity = mail.Identity{User: "at-message"} }

// seer notes who it saw, and answers 421 at MAIL where it is told to.
type seer struct {
	saw []string
	end bool
}

func (s *seer) CheckMail(_ context.Context, tx *mail.Transaction) (Result, error) {
	s.saw = append(s.saw, tx.Identity.User)
	if !s.end {
		return Result{}, nil
	}
	r := mail.Temporary(421, "7.0", "Not now")
	return Found(mail.Finding{Symbol: "seer.end", Verdict: mail.Defer, Reply: &r}), nil
}

func (s *seer) CheckMessage(_ context.Context, tx *mail.Transaction) (Result, error) {
	s.saw = append(s.saw, tx.Identity.User)
	return Result{}, nil
}

// TestIdentityComesFirst: checks see who sends, at MAIL and at the message.
func TestIdentityComesFirst(t *testing.T) {
	s := &seer{}
	e, err := New(Config{Checks: []Check{{Name: "seer", Impl: s}}, Identity: namer{}})
	if err != nil {
		t.Fatal(err)
	}
	tx := &mail.Transaction{Session: &mail.Session{}}
	e.Mail(t.Context(), tx)
	e.Message(t.Context(), tx)
	if len(s.saw) != 2 || s.saw[0] != "at-mail" || s.saw[1] != "at-message" {
		t.Error(s.saw)
	}
}

// TestEndIsSaidAtOnce: a 421 does not wait for RCPT, unless a mode has it
// otherwise.
func TestEndIsSaidAtOnce(t *testing.T) {
	for _, c := range []struct {
		mode mail.Mode
		end  bool
		want int
	}{{mail.Enforce, true, 421}, {mail.Observe, true, 0}, {mail.Enforce, false, 0}} {
		e, err := New(Config{Checks: []Check{{Name: "seer", Impl: &seer{end: c.end}, Mode: c.mode}}})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{}}
		d := e.Mail(t.Context(), tx)
		if d.Reply.Code != c.want || d.Close != (c.want == 421) {
			t.Errorf("%+v: %+v, close %v", c, d.Reply, d.Close)
		}
		if d := e.Rcpt(t.Context(), tx, mail.Recipient{}); d.Reply.Code != c.want || d.Close != (c.want == 421) {
			t.Errorf("%+v at RCPT: %+v, close %v", c, d.Reply, d.Close)
		}
	}
}
