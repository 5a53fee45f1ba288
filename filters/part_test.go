package filters

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
	"testing"

	"garita/mail"
	"garita/resolver"
)

// parted is a check of one part that would refuse.
type parted struct{ p Part }

func (c parted) CheckMail(context.Context, *mail.Transaction) (Result, error) {
	r := mail.Permanent(550, "7.1", "No")
	return c.p.Found("x", &r), nil
}

// TestParts: a part does what its own mode allows and no more than the check's.
func TestParts(t *testing.T) {
	for _, tc := range []struct {
		check       mail.Mode
		part        string
		mode        mail.Mode
		found, deny bool
		score       float64
	}{
		{mail.Enforce, "enforce", mail.Enforce, true, true, 2},
		{mail.Enforce, "score", mail.Score, true, false, 2},
		{mail.Enforce, "observe", mail.Observe, true, false, 0},
		{mail.Enforce, "off", 0, false, false, 0},
		{mail.Score, "enforce", mail.Score, true, false, 2},
		{mail.Score, "observe", mail.Observe, true, false, 0},
		{mail.Observe, "enforce", mail.Observe, true, false, 0},
		{mail.Off, "enforce", 0, false, false, 0},
	} {
		e, err := New(Config{Checks: []Check{{Name: "c", Mode: tc.check, Impl: parted{Part{"p", "c.p", tc.part, 2}}}}})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{}, ID: "T", Direction: mail.In}
		e.Mail(t.Context(), tx)
		d := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "a", Domain: "b.example"}})
		if (len(d.Because) == 1) != tc.found || (d.Verdict == mail.Reject) != tc.deny || d.Score != tc.score {
			t.Errorf("%+v: %+v", tc, d)
		}
		if tc.found && (d.Because[0].Mode != tc.mode || d.Because[0].Counted != (tc.mode <= mail.Score)) {
			t.Errorf("%+v: %+v", tc, d.Because)
		}
	}
}

func TestPartValidate(t *testing.T) {
	for p, want := range map[Part]int{
		{"a", "x.a", "score", 1}: 0, {"a", "x.a", "loud", 101}: 2, {"a", "x.a", "off", -101}: 1, {"a", "x.a", "", 0}: 1,
	} {
		if errs := p.Validate(); len(errs) != want {
			t.Errorf("%+v: %v", p, errs)
		}
	}
	if errs := (Part{"a", "x.a", "off", math.NaN()}).Validate(); len(errs) != 1 {
		t.Error(errs)
	}
	if r, err := Unsure("x.y", errors.New("z")); err != nil || r.Findings[0].Mode != mail.Observe || r.Findings[0].Verdict != mail.Continue {
		t.Error(r)
	}
}

// waiting is a check that has to wait until told otherwise.
type waiting struct {
	dns   *resolver.Mock
	calls *atomic.Int32
}

func (w waiting) CheckMail(ctx context.Context, tx *mail.Transaction) (Result, error) {
	w.calls.Add(1)
	if _, err := w.dns.A(ctx, "a.example"); !errors.Is(err, resolver.ErrNoName) {
		return Unsure("w.temporary", err)
	}
	return Found(mail.Finding{Symbol: "w.found"}), nil
}

// TestCached: a check that answers from memory runs once, in the session's
// goroutine; one that must wait is asked again, with the time to do so; the
// order of findings is the list's either way.
func TestCached(t *testing.T) {
	for cold, calls := range map[bool]int32{false: 1, true: 2} {
		w := waiting{&resolver.Mock{Cold: cold}, &atomic.Int32{}}
		faults := 0
		e, err := New(Config{
			Checks: []Check{
				{Name: "w", Impl: w, IO: true, Cached: true},
				{Name: "p", Impl: parted{Part{"p", "p.x", "score", 1}}},
			},
			Fault: func(string, mail.Stage, error) { faults++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{}, ID: "T", Direction: mail.In}
		d := e.Mail(t.Context(), tx)
		if len(d.Because) != 2 || d.Because[0].Symbol != "w.found" || d.Because[1].Symbol != "p.x" || w.calls.Load() != calls || faults != 0 {
			t.Errorf("cold %v: %+v, %d calls, %d faults", cold, d.Because, w.calls.Load(), faults)
		}
	}
}

func TestStranger(t *testing.T) {
	at := func(a string) mail.Session {
		return mail.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(a), 1)}
	}
	out, cf, trusted, login := at("192.0.2.1"), at("192.0.2.1"), at("192.0.2.1"), at("192.0.2.1")
	out.Role, cf.Role, trusted.Trusted, login.Login = mail.Outbound, mail.ContentFilter, true, "ana"
	for _, s := range []mail.Session{out, cf, trusted, login, at("127.0.0.1"), at("::1"), at("::ffff:127.0.0.1")} {
		if Stranger(&s) {
			t.Errorf("%+v", s)
		}
	}
	if s := at("192.0.2.1"); !Stranger(&s) {
		t.Error("nobody is a stranger")
	}
}
