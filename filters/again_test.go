package filters

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

func letterOf(t *testing.T, text string) *message.Message {
	t.Helper()
	m, err := message.Spool(context.Background(), strings.NewReader(text), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

func cut(at, n int64, insert string) message.Edit {
	return message.Edit{At: at, Delete: n, Insert: []byte(insert)}
}

func asks(edits ...message.Edit) Check {
	return Check{Impl: fake{msg: onMessage(Result{Disarm: edits}, nil)}}
}

// disarmed runs checks over a message and gives the decision.
func disarmed(t *testing.T, cfg Config) (mail.Decision, *mail.Transaction, *Engine) {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tx := &mail.Transaction{Session: &mail.Session{ID: "S"}, ID: "T", Direction: mail.In, Message: letterOf(t, "Subject: x\r\n\r\nbody\r\n")}
	e.Mail(context.Background(), tx)
	return e.Message(context.Background(), tx), tx, e
}

// TestDisarmMerged: the edits of several checks come in order; the same edit of
// two is one; what overlaps is held, by a finding that says so.
func TestDisarmMerged(t *testing.T) {
	a, b := cut(14, 2, "A"), cut(16, 2, "B")
	for title, c := range map[string]struct {
		checks []Check
		want   []message.Edit
		v      mail.Verdict
	}{
		"one":             {[]Check{asks(a)}, []message.Edit{a}, mail.Continue},
		"in order":        {[]Check{asks(b), asks(a)}, []message.Edit{a, b}, mail.Continue},
		"the same twice":  {[]Check{asks(a, b), asks(a)}, []message.Edit{a, b}, mail.Continue},
		"another insert":  {[]Check{asks(a), asks(cut(14, 2, "C"))}, nil, mail.Quarantine},
		"overlap":         {[]Check{asks(a), asks(cut(15, 4, "C"))}, nil, mail.Quarantine},
		"inside":          {[]Check{asks(cut(14, 4, "C")), asks(cut(15, 1, ""))}, nil, mail.Quarantine},
		"insertion there": {[]Check{asks(a), asks(cut(14, 0, "C"))}, nil, mail.Quarantine},
	} {
		for i := range c.checks {
			c.checks[i].Name = string(rune('a' + i))
		}
		d, tx, _ := disarmed(t, Config{Checks: c.checks})
		if d.Verdict != c.v || !slices.EqualFunc(d.Disarm, c.want, func(x, y message.Edit) bool {
			return x.At == y.At && x.Delete == y.Delete && string(x.Insert) == string(y.Insert)
		}) {
			t.Errorf("%s: %v %+v", title, d.Verdict, d.Disarm)
		}
		told := slices.ContainsFunc(d.Because, func(f mail.Finding) bool { return f.Symbol == SymbolConflict }) && len(tx.Findings) > 0
		if told != (c.v == mail.Quarantine) {
			t.Errorf("%s: %+v", title, d.Because)
		}
	}
	// A stronger verdict stands.
	refuse := Check{Name: "r", Impl: fake{msg: onMessage(find("r.x", mail.Reject, 0), nil)}}
	x, y := asks(a), asks(cut(15, 4, "C"))
	x.Name, y.Name = "x", "y"
	if d, _, _ := disarmed(t, Config{Checks: []Check{x, y, refuse}}); d.Verdict != mail.Reject {
		t.Errorf("%v", d.Verdict)
	}
}

// TestDisarmModes: only enforce disarms, of the check and of all.
func TestDisarmModes(t *testing.T) {
	for _, m := range []mail.Mode{mail.Enforce, mail.Score, mail.Observe, mail.Off} {
		one := asks(cut(14, 2, "A"))
		one.Name, one.Mode = "a", m
		if d, _, _ := disarmed(t, Config{Checks: []Check{one}}); (len(d.Disarm) == 1) != (m == mail.Enforce) {
			t.Errorf("check %v: %+v", m, d)
		}
		one.Mode = mail.Enforce
		if d, _, _ := disarmed(t, Config{Checks: []Check{one}, Mode: func() mail.Mode { return m }}); (len(d.Disarm) == 1) != (m == mail.Enforce) {
			t.Errorf("all %v: %+v", m, d)
		}
	}
	// The bypass begins while the checks run.
	now := mail.Enforce
	late := Check{Name: "late", Impl: fake{msg: func(context.Context, *mail.Transaction) (Result, error) {
		now = mail.Observe
		return Result{Disarm: []message.Edit{cut(14, 2, "A")}}, nil
	}}}
	if d, _, _ := disarmed(t, Config{Checks: []Check{late}, Mode: func() mail.Mode { return now }}); len(d.Disarm) != 0 || d.Verdict != mail.Continue {
		t.Errorf("%+v", d)
	}
}

// TestAgain: every check of the message sees the other message, with what
// earlier stages found and nothing of the first look; nothing of the
// transaction changes.
func TestAgain(t *testing.T) {
	var seen []string
	look := fake{
		mailFrom: func(*mail.Transaction) (Result, error) { return find("look.mail", mail.Continue, 2), nil },
		msg: func(_ context.Context, tx *mail.Transaction) (Result, error) {
			raw, err := io.ReadAll(tx.Message.Raw())
			var have []string
			for _, f := range tx.Findings {
				have = append(have, f.Symbol)
			}
			seen = append(seen, strings.Join(have, ","))
			r := Result{Edits: []message.Edit{{Insert: []byte("X: y\r\n")}}, Auth: []mail.AuthResult{{Method: "dkim"}}}
			if len(tx.Auth) > 0 {
				t.Errorf("results of the first look: %v", tx.Auth)
			}
			switch {
			case strings.Contains(string(raw), "evil"):
				r.Findings = []mail.Finding{{Symbol: "look.evil", Verdict: mail.Quarantine}}
			case strings.Contains(string(raw), "again"):
				r.Disarm = []message.Edit{cut(14, 1, "")}
			case !strings.Contains(string(raw), "fine"):
				r.Findings = []mail.Finding{{Symbol: "look.first", Score: 50}}
			}
			return r, err
		},
	}
	for _, io := range []bool{false, true} {
		seen = nil
		d, tx, e := disarmed(t, Config{Checks: []Check{{Name: "look", Impl: look, IO: io}}, Thresholds: DefaultThresholds()})
		if d.Verdict != mail.Reject || d.Score != 52 {
			t.Fatalf("%+v", d)
		}
		findings, auth, edits, first := len(tx.Findings), len(tx.Auth), len(tx.Edits), tx.Message
		ctx := context.Background()
		for text, want := range map[string]mail.Verdict{"evil": mail.Quarantine, "again": mail.Continue, "fine": mail.Continue} {
			again := e.Again(ctx, tx, letterOf(t, "Subject: x\r\n\r\n"+text+"\r\n"))
			if again.Verdict != want || len(again.Edits) != 0 || (len(again.Disarm) == 1) != (text == "again") || again.Score != 2 {
				t.Errorf("%s: %+v", text, again)
			}
		}
		for _, s := range seen[1:] {
			if s != "look.mail" {
				t.Errorf("the second look saw %q", s)
			}
		}
		if len(seen) != 4 || len(tx.Findings) != findings || len(tx.Auth) != auth || len(tx.Edits) != edits || tx.Message != first {
			t.Errorf("%q %+v", seen, tx)
		}
		e.Finish(ctx, tx, mail.Outcome{})
	}
}

// TestAgainFault: a check that fails at the second look is 451, never silent.
func TestAgainFault(t *testing.T) {
	n := 0
	c := Check{Name: "av", OnError: DeferOnError, Class: Policy, Impl: fake{msg: func(context.Context, *mail.Transaction) (Result, error) {
		if n++; n > 1 {
			panic("no")
		}
		return Result{Disarm: []message.Edit{cut(14, 1, "")}}, nil
	}}}
	d, tx, e := disarmed(t, Config{Checks: []Check{c}})
	if len(d.Disarm) != 1 {
		t.Fatal(d)
	}
	if again := e.Again(context.Background(), tx, letterOf(t, "A: b\r\n\r\nx\r\n")); again.Verdict != mail.Defer || again.Reply.Code != 451 {
		t.Errorf("%+v", again)
	}
}
