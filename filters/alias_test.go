package filters

import (
	"testing"

	"garita/mail"
)

// The wire sets a decision aside for nobody when a mandatory check has a
// verdict, and must see that also where another check speaks louder.
func TestMandatoryVerdictsAreTold(t *testing.T) {
	for _, c := range []struct {
		mandatory, other mail.Verdict
		want             bool
	}{
		{mail.Continue, mail.Reject, false}, {mail.Continue, mail.Continue, false},
		{mail.Defer, mail.Reject, true}, {mail.Reject, mail.Reject, true}, {mail.Reject, mail.Continue, true},
	} {
		found := func(v mail.Verdict) func(mail.Recipient) (Result, error) {
			return func(mail.Recipient) (Result, error) { return Found(mail.Finding{Symbol: "x", Verdict: v}), nil }
		}
		e, err := New(Config{Checks: []Check{
			{Name: "other", Class: Policy, Impl: fake{rcpt: found(c.other)}},
			{Name: "must", Class: Mandatory, Impl: fake{rcpt: found(c.mandatory)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{}}
		if d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "abuse", Domain: "our.example"}}); d.Mandatory != c.want {
			t.Errorf("mandatory %v, other %v: told %v", c.mandatory, c.other, d.Mandatory)
		}
	}
}

// What was found about an alias is about its targets: they have its class, and
// its findings count at the end of data.
func TestAliasKeepsItsClass(t *testing.T) {
	e, err := New(Config{Checks: []Check{
		{Name: "access", Class: Policy, Impl: fake{rcpt: func(r mail.Recipient) (Result, error) {
			return Found(mail.Finding{Symbol: "access.rcpt", Verdict: mail.Accept}), nil
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tx := &mail.Transaction{Session: &mail.Session{}}
	sales, info := mail.Path{Local: "sales", Domain: "our.example"}, mail.Path{Local: "info", Domain: "our.example"}
	if d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: sales}); d.Verdict != mail.Continue {
		t.Fatal(d.Reply)
	}
	tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: "ana", Domain: "our.example"}, Alias: sales})
	if d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: info}); d.Verdict != mail.Continue {
		t.Errorf("of the same class: %v", d.Reply)
	}
	d := e.Message(t.Context(), tx)
	if len(d.Because) != 1 || d.Because[0].Rcpt.Path != sales {
		t.Errorf("%+v", d.Because)
	}
}
