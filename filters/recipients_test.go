package filters

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"garita/mail"
)

// lists is a policy check: the recipient's local part is the verdict.
func lists() Check {
	return Check{Name: "lists", Class: Policy, Impl: fake{rcpt: func(r mail.Recipient) (Result, error) {
		f := mail.Finding{Symbol: "lists.rcpt"}
		switch r.Local {
		case "accept", "postmaster":
			f.Verdict = mail.Accept
		case "hold":
			f.Verdict = mail.Quarantine
		case "drop":
			f.Verdict = mail.Discard
		case "final":
			f.Verdict, f.Final = mail.Discard, true
		case "no":
			f.Verdict = mail.Reject
		default:
			return Result{}, nil
		}
		return Found(f), nil
	}}}
}

// Promise 4: an exception of one recipient.
func TestRecipientException(t *testing.T) {
	w := start(t, Config{Checks: []Check{
		lists(),
		{Name: "deny", Class: Policy, Impl: fake{connect: onSession(find("deny.client", mail.Reject, 0))}},
		{Name: "points", Impl: fake{helo: onSession(find("points.helo", mail.Reject, 50)), msg: onMessage(find("points.msg", mail.Reject, 50), nil)}},
	}, Thresholds: map[mail.Direction]Thresholds{mail.In: {Reject: 1}}})
	if d := w.rcpt("bob"); d.Verdict != mail.Reject {
		t.Errorf("bob: %v", d.Verdict)
	}
	if d := w.rcpt("postmaster"); d.Verdict != mail.Continue {
		t.Errorf("postmaster: %v %v", d.Verdict, d.Reply)
	}
	if d := w.rcpt("bob"); d.Verdict != mail.Reject {
		t.Errorf("bob after postmaster: %v", d.Verdict)
	}
	d := w.message()
	if d.Verdict != mail.Continue || d.Score != 0 {
		t.Errorf("message: %v %v %v", d.Verdict, d.Reply, d.Score)
	}
	for _, f := range d.Because {
		if f.Counted != (f.Symbol == "lists.rcpt") {
			t.Errorf("%s counted: %v", f.Symbol, f.Counted)
		}
	}
}

// A recipient's accept does not reach what policy finds in the message.
func TestAcceptLeavesPolicyOnMessage(t *testing.T) {
	w := start(t, Config{Checks: []Check{lists(), {Name: "virus", Class: Policy, Impl: fake{msg: onMessage(find("virus.found", mail.Reject, 0), nil)}}}})
	w.rcpt("accept")
	if d := w.message(); d.Verdict != mail.Reject {
		t.Errorf("%v", d.Verdict)
	}
}

// Promise 7: one transaction, one class of recipients.
func TestOneClass(t *testing.T) {
	for _, c := range []struct {
		first, second string
		ok            bool
		end           mail.Verdict
	}{
		{"bob", "eve", true, mail.Continue},
		{"hold", "hold", true, mail.Quarantine},
		{"drop", "drop", true, mail.Discard},
		{"drop", "bob", false, mail.Discard},
		{"bob", "drop", false, mail.Continue},
		{"hold", "bob", false, mail.Quarantine},
		{"bob", "hold", false, mail.Continue},
		{"accept", "bob", false, mail.Continue},
		{"drop", "final", false, mail.Discard},
	} {
		w := start(t, Config{Checks: []Check{lists()}})
		if d := w.rcpt(c.first); d.Verdict != mail.Continue {
			t.Errorf("%s: %v", c.first, d.Verdict)
		}
		d := w.rcpt(c.second)
		if (d.Verdict == mail.Continue) != c.ok || !c.ok && (d.Reply.Code != 452 || d.Reply.Enhanced != "4.5.3") {
			t.Errorf("%s after %s: %v %v", c.second, c.first, d.Verdict, d.Reply)
		}
		if d := w.message(); d.Verdict != c.end {
			t.Errorf("%s, %s: %v in the end", c.first, c.second, d.Verdict)
		}
	}
}

// A wire that took both all the same loses nobody's mail.
func TestMixedClassesAreDeferred(t *testing.T) {
	w := start(t, Config{Checks: []Check{lists()}})
	w.rcpt("drop")
	w.tx.ForwardPaths = append(w.tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: "bob", Domain: "our.example"}})
	if d := w.message(); d.Verdict != mail.Defer || d.Reply.Code != 451 {
		t.Errorf("%v %v", d.Verdict, d.Reply)
	}
}

// What was found about a recipient that the next hop refused has no effect.
func TestRefusedRecipientHasNoEffect(t *testing.T) {
	w := start(t, Config{Checks: []Check{lists()}})
	w.rcpt("drop")
	w.tx.ForwardPaths = nil // the next hop said no
	if d := w.rcpt("bob"); d.Verdict != mail.Continue {
		t.Errorf("bob: %v", d.Reply)
	}
	if d := w.message(); d.Verdict != mail.Continue || len(d.Because) != 0 {
		t.Errorf("%v %q", d.Verdict, symbols(d.Because))
	}
	// Refused by ourselves: nothing stays.
	w = start(t, Config{Checks: []Check{lists()}})
	w.rcpt("no")
	w.rcpt("bob")
	if d := w.message(); d.Verdict != mail.Continue || len(w.tx.Findings) != 0 {
		t.Errorf("%v %q", d.Verdict, symbols(w.tx.Findings))
	}
}

// The findings about recipients are bounded.
func TestRecipientFindingsAreBounded(t *testing.T) {
	many := Result{Findings: slices.Repeat([]mail.Finding{{Symbol: "x.y"}}, 1000)}
	w := start(t, Config{Checks: []Check{{Name: "x", Impl: fake{rcpt: func(mail.Recipient) (Result, error) { return many, nil }}}}})
	refused := 0
	for range 10 {
		if d := w.rcpt("a"); d.Verdict == mail.Defer && d.Reply.Code == 452 {
			refused++
		}
	}
	if refused != 6 || len(w.tx.Findings) != 4000 {
		t.Errorf("%d refused, %d findings", refused, len(w.tx.Findings))
	}
}

// Promise 5: modes of a check and the global one.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		check, global mail.Mode
		class         Class
		verdict       mail.Verdict // of a reject
		score         float64      // of 3 points
		ran, counted  bool
		edits         int
	}{
		{mail.Enforce, mail.Enforce, Scoring, mail.Reject, 3, true, true, 1},
		{mail.Score, mail.Enforce, Scoring, mail.Continue, 3, true, true, 0},
		{mail.Observe, mail.Enforce, Scoring, mail.Continue, 0, true, false, 0},
		{mail.Off, mail.Enforce, Scoring, mail.Continue, 0, false, false, 0},
		{mail.Enforce, mail.Score, Scoring, mail.Continue, 3, true, true, 0},
		{mail.Enforce, mail.Observe, Scoring, mail.Continue, 0, true, false, 0},
		{mail.Enforce, mail.Observe, Policy, mail.Continue, 0, true, false, 0},
		{mail.Off, mail.Observe, Scoring, mail.Continue, 0, false, false, 0},
		{mail.Off, mail.Observe, Mandatory, mail.Reject, 3, true, true, 1},
	} {
		finished := false
		r := find("x.y", mail.Reject, 3)
		r.Edits = append(r.Edits, tagField(1))
		w := start(t, Config{
			Checks: []Check{{Name: "x", Mode: c.check, Class: c.class, Impl: fake{
				msg:    onMessage(r, nil),
				finish: func(mail.Outcome) error { finished = true; return nil },
			}}},
			Mode: func() mail.Mode { return c.global },
		})
		w.rcpt("a")
		d := w.message()
		if d.Verdict != c.verdict || d.Score != c.score || len(d.Edits) != c.edits {
			t.Errorf("%+v: %v, %v points, %d edits", c, d.Verdict, d.Score, len(d.Edits))
		}
		if (len(d.Because) == 1) != c.ran || c.ran && (d.Because[0].Counted != c.counted || d.Because[0].Verdict != mail.Reject) {
			t.Errorf("%+v: %+v", c, d.Because)
		}
		w.e.Finish(t.Context(), w.tx, mail.Outcome{})
		if finished != c.ran {
			t.Errorf("%+v: finished %v", c, finished)
		}
	}
}

// An accept that is only observed skips nothing; nor does a fault of a check
// that is only observed defer.
func TestObservedEffects(t *testing.T) {
	w := start(t, Config{Checks: []Check{
		{Name: "p", Mode: mail.Observe, Class: Policy, Impl: fake{connect: onSession(find("p.x", mail.Accept, 0))}},
		{Name: "f", Mode: mail.Observe, OnError: DeferOnError, Impl: fake{msg: onMessage(Result{}, errors.New("down"))}},
		{Name: "x", Impl: fake{msg: onMessage(find("x.y", mail.Quarantine, 0), nil)}},
	}})
	w.rcpt("a")
	if d := w.message(); d.Verdict != mail.Quarantine {
		t.Errorf("%v", d.Verdict)
	}
}

// A global mode that falls in the middle of a session (bypass) frees what was
// found before.
func TestModeChangesInSession(t *testing.T) {
	mode := mail.Enforce
	w := start(t, Config{Checks: []Check{{Name: "x", Impl: fake{connect: onSession(find("x.y", mail.Reject, 0))}}}, Mode: func() mail.Mode { return mode }})
	if d := w.rcpt("a"); d.Verdict != mail.Reject {
		t.Errorf("%v", d.Verdict)
	}
	mode = mail.Observe
	if d := w.rcpt("a"); d.Verdict != mail.Continue {
		t.Errorf("%v", d.Verdict)
	}
}

// Promise 6: Finish reaches every check, faults and all, and Closed forgets.
func TestFinish(t *testing.T) {
	var mu sync.Mutex
	var told, faults []string
	tell := func(name string) fake {
		return fake{finish: func(o mail.Outcome) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, name+" "+o.Kind.String())
			switch name {
			case "b":
				panic("b")
			case "d":
				return errors.New("d")
			}
			return nil
		}}
	}
	w := start(t, Config{
		Checks: []Check{{Name: "a", Impl: tell("a")}, {Name: "b", Impl: tell("b")}, {Name: "c", IO: true, Impl: tell("c")}, {Name: "d", IO: true, Impl: tell("d")}},
		Fault: func(check string, st mail.Stage, err error) {
			mu.Lock()
			defer mu.Unlock()
			if st == 0 && err != nil {
				faults = append(faults, check)
			}
		},
	})
	w.e.Finish(t.Context(), w.tx, mail.Outcome{Kind: mail.Relayed})
	slices.Sort(told)
	slices.Sort(faults)
	if !slices.Equal(told, []string{"a relayed", "b relayed", "c relayed", "d relayed"}) || !slices.Equal(faults, []string{"b", "d"}) {
		t.Errorf("told %q, faults %q", told, faults)
	}
	w.e.Closed(w.s)
	if w.s.Scratch != nil {
		t.Error("the session is remembered")
	}
}

// What a check does to its copy of the transaction reaches nobody, and it may
// read it while the wire goes on (the race detector looks at this one).
func TestParallelSeesACopy(t *testing.T) {
	var got atomic.Int32
	stop := make(chan struct{})
	w := start(t, Config{Checks: []Check{{Name: "x", IO: true, Timeout: 1, Impl: fake{msg: func(_ context.Context, tx *mail.Transaction) (Result, error) {
		for {
			select {
			case <-stop:
				got.Store(1)
				return Result{}, nil
			default:
				_ = len(tx.ForwardPaths) + len(tx.Helo) + len(tx.Findings)
				tx.Direction = mail.Out
			}
		}
	}}}}})
	w.rcpt("a")
	d := w.message()
	w.tx.ForwardPaths = append(w.tx.ForwardPaths, mail.Recipient{})
	w.tx.Findings = append(w.tx.Findings, mail.Finding{})
	w.s.Helo = "changed"
	close(stop)
	for got.Load() == 0 {
	}
	if w.tx.Direction != mail.In || d.Runs[0].Err == nil {
		t.Errorf("direction %v, %v", w.tx.Direction, d.Runs[0].Err)
	}
}

func TestNewRefuses(t *testing.T) {
	accept := mail.Accept
	for want, cfg := range map[string]Config{
		"used twice":       {Checks: []Check{{Name: "a", Impl: fake{}}, {Name: "a", Impl: fake{}}}},
		"empty":            {Checks: []Check{{Impl: fake{}}}},
		"not before it":    {Checks: []Check{{Name: "a", Impl: fake{}, Needs: []string{"b"}}, {Name: "b", Impl: fake{}}}},
		"no method":        {Checks: []Check{{Name: "a", Impl: struct{}{}}}},
		"for access lists": {Overrides: map[string]Override{"a.b": {Verdict: &accept}}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The usual message meets a few checks that find nothing.
func TestHotPathAllocations(t *testing.T) {
	e, err := New(Config{Checks: []Check{lists(), {Name: "b", Impl: fake{}}}, Thresholds: DefaultThresholds()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	s := &mail.Session{}
	r := mail.Recipient{Path: mail.Path{Local: "a", Domain: "b"}}
	to := []mail.Recipient{r}
	n := testing.AllocsPerRun(100, func() {
		tx := &mail.Transaction{Session: s, Direction: mail.In}
		e.Mail(ctx, tx)
		e.Rcpt(ctx, tx, r)
		tx.ForwardPaths = to
		e.Data(ctx, tx)
		e.Message(ctx, tx)
		e.Finish(ctx, tx, mail.Outcome{})
	})
	if n > 5 {
		t.Errorf("%v allocations a message", n)
	}
	t.Logf("%v allocations a message", n)
}

func BenchmarkMessage(b *testing.B) {
	e, err := New(Config{Checks: []Check{lists(), {Name: "b", Impl: fake{}}}, Thresholds: DefaultThresholds()})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	s := &mail.Session{}
	r := mail.Recipient{Path: mail.Path{Local: "a", Domain: "b"}}
	to := []mail.Recipient{r}
	b.ReportAllocs()
	for b.Loop() {
		tx := &mail.Transaction{Session: s, Direction: mail.In}
		e.Mail(ctx, tx)
		e.Rcpt(ctx, tx, r)
		tx.ForwardPaths = to
		e.Data(ctx, tx)
		e.Message(ctx, tx)
		e.Finish(ctx, tx, mail.Outcome{})
	}
}
