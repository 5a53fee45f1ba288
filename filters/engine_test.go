package filters

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
)

// fake is a check of functions.
type fake struct {
	connect, helo func(*mail.Session) (Result, error)
	mailFrom      func(*mail.Transaction) (Result, error)
	rcpt          func(mail.Recipient) (Result, error)
	data, msg     func(context.Context, *mail.Transaction) (Result, error)
	finish        func(mail.Outcome) error
}

func (f fake) CheckConnect(_ context.Context, s *mail.Session) (Result, error) {
	if f.connect == nil {
		return Result{}, nil
	}
	return f.connect(s)
}

func (f fake) CheckHelo(_ context.Context, s *mail.Session) (Result, error) {
	if f.helo == nil {
		return Result{}, nil
	}
	return f.helo(s)
}

func (f fake) CheckMail(_ context.Context, tx *mail.Transaction) (Result, error) {
	if f.mailFrom == nil {
		return Result{}, nil
	}
	return f.mailFrom(tx)
}

func (f fake) CheckRcpt(_ context.Context, _ *mail.Transaction, r mail.Recipient) (Result, error) {
	if f.rcpt == nil {
		return Result{}, nil
	}
	return f.rcpt(r)
}

func (f fake) CheckData(ctx context.Context, tx *mail.Transaction) (Result, error) {
	if f.data == nil {
		return Result{}, nil
	}
	return f.data(ctx, tx)
}

func (f fake) CheckMessage(ctx context.Context, tx *mail.Transaction) (Result, error) {
	if f.msg == nil {
		return Result{}, nil
	}
	return f.msg(ctx, tx)
}

func (f fake) Finish(_ context.Context, _ *mail.Transaction, o mail.Outcome) error {
	if f.finish == nil {
		return nil
	}
	return f.finish(o)
}

func find(symbol string, v mail.Verdict, score float64) Result {
	return Found(mail.Finding{Symbol: symbol, Verdict: v, Score: score})
}

func onMessage(r Result, err error) func(context.Context, *mail.Transaction) (Result, error) {
	return func(context.Context, *mail.Transaction) (Result, error) { return r, err }
}

func onSession(r Result) func(*mail.Session) (Result, error) {
	return func(*mail.Session) (Result, error) { return r, nil }
}

// walk is a dialogue with an engine.
type walk struct {
	t  *testing.T
	e  *Engine
	s  *mail.Session
	tx *mail.Transaction
}

func start(t *testing.T, cfg Config) *walk {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, e: e, s: &mail.Session{ID: "S1", Client: netip.MustParseAddrPort("192.0.2.1:1")}}
	w.quiet("connect", e.Connect(t.Context(), w.s))
	w.quiet("helo", e.Helo(t.Context(), w.s))
	w.tx = &mail.Transaction{Session: w.s, ID: "T1", Direction: mail.In}
	w.quiet("mail", e.Mail(t.Context(), w.tx))
	return w
}

// quiet: nothing is answered before RCPT.
func (w *walk) quiet(stage string, d mail.Decision) {
	w.t.Helper()
	if d.Verdict != mail.Continue || !d.Reply.IsZero() {
		w.t.Errorf("%s answers %v %v", stage, d.Verdict, d.Reply)
	}
}

func (w *walk) rcpt(local string) mail.Decision {
	r := mail.Recipient{Path: mail.Path{Local: local, Domain: "our.example"}}
	d := w.e.Rcpt(w.t.Context(), w.tx, r)
	if d.Verdict == mail.Continue {
		w.tx.ForwardPaths = append(w.tx.ForwardPaths, r)
	}
	return d
}

func (w *walk) message() mail.Decision {
	w.t.Helper()
	if d := w.e.Data(w.t.Context(), w.tx); d.Verdict != mail.Continue {
		return d
	}
	m, err := message.Spool(w.t.Context(), strings.NewReader("Subject: x\r\n\r\nbody\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.Release)
	w.tx.Message = m
	return w.e.Message(w.t.Context(), w.tx)
}

func symbols(fs []mail.Finding) (out []string) {
	for _, f := range fs {
		out = append(out, f.Symbol)
	}
	return out
}

// Promise 1: inline in list order, I/O side by side, merged in list order.
func TestOrder(t *testing.T) {
	var mu sync.Mutex
	var began []string
	begin := func(name string) {
		mu.Lock()
		began = append(began, name)
		mu.Unlock()
	}
	bIn, cIn := make(chan struct{}), make(chan struct{})
	checks := []Check{
		{Name: "slow", IO: true, Impl: fake{msg: func(ctx context.Context, tx *mail.Transaction) (Result, error) {
			close(bIn)
			<-cIn // only if both run at once does either come back
			return Result{Findings: []mail.Finding{{Symbol: "slow.x"}}, Auth: []mail.AuthResult{{Method: "slow"}}}, nil
		}}},
		{Name: "inline", Impl: fake{msg: func(context.Context, *mail.Transaction) (Result, error) {
			begin("inline")
			return find("inline.x", 0, 0), nil
		}}},
		{Name: "fast", IO: true, Impl: fake{msg: func(ctx context.Context, tx *mail.Transaction) (Result, error) {
			begin("fast")
			close(cIn)
			<-bIn
			if got := symbols(tx.Findings); !slices.Equal(got, []string{"inline.x"}) {
				t.Errorf("fast sees %q", got)
			}
			return find("fast.x", 0, 0), nil
		}}},
		{Name: "judge", Needs: []string{"slow", "inline"}, Impl: fake{msg: func(_ context.Context, tx *mail.Transaction) (Result, error) {
			if got := symbols(tx.Findings); !slices.Equal(got, []string{"slow.x", "inline.x"}) || len(tx.Auth) != 1 {
				t.Errorf("judge sees %q, %v", got, tx.Auth)
			}
			return find("judge.x", 0, 0), nil
		}}},
	}
	w := start(t, Config{Checks: checks})
	w.rcpt("a")
	d := w.message()
	want := []string{"slow.x", "inline.x", "fast.x", "judge.x"}
	if got := symbols(d.Because); !slices.Equal(got, want) {
		t.Errorf("merged as %q", got)
	}
	if began[0] != "inline" {
		t.Errorf("began as %q", began)
	}
	for i, r := range d.Runs {
		if r.Check+".x" != want[i] || r.Stage != mail.StageMessage || r.Err != nil {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	if len(d.Runs) != 4 {
		t.Errorf("%d runs", len(d.Runs))
	}
}

// Promise 2: every fault is a finding with the effect of OnError.
func TestFaults(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	faults := map[string]struct {
		io bool
		f  func(context.Context, *mail.Transaction) (Result, error)
	}{
		"error":     {false, onMessage(Result{}, errors.New("dial tcp 10.0.0.1: secret"))},
		"panic":     {false, func(context.Context, *mail.Transaction) (Result, error) { panic("secret") }},
		"I/O error": {true, onMessage(Result{}, errors.New("secret"))},
		"I/O panic": {true, func(context.Context, *mail.Transaction) (Result, error) { panic("secret") }},
		"timeout": {true, func(ctx context.Context, _ *mail.Transaction) (Result, error) {
			<-ctx.Done()
			return Result{}, ctx.Err()
		}},
		"deaf":         {true, func(context.Context, *mail.Transaction) (Result, error) { <-hang; return Result{}, nil }},
		"NaN":          {false, onMessage(find("x.nan", 0, math.NaN()), nil)},
		"infinity":     {false, onMessage(find("x.inf", 0, math.Inf(-1)), nil)},
		"stray accept": {false, onMessage(find("x.accept", mail.Accept, 0), nil)},
	}
	for name, c := range faults {
		for _, on := range []OnError{ContinueOnError, DeferOnError} {
			t.Run(fmt.Sprint(name, on), func(t *testing.T) {
				var heard []string
				w := start(t, Config{
					Checks: []Check{
						{Name: "x", Impl: fake{msg: c.f}, IO: c.io, Timeout: 100 * time.Millisecond, OnError: on},
						{Name: "y", Impl: fake{msg: onMessage(find("y.points", 0, 20), nil)}},
					},
					Thresholds: map[mail.Direction]Thresholds{mail.In: {Quarantine: 20}},
					Fault:      func(check string, st mail.Stage, err error) { heard = append(heard, check+" "+st.String()) },
				})
				w.rcpt("a")
				d := w.message()
				if on == DeferOnError && (d.Verdict != mail.Defer || d.Reply.String() != "451 4.3.0 Temporary failure, try again later [T1]") {
					t.Errorf("%v %v", d.Verdict, d.Reply)
				}
				if on == ContinueOnError && d.Verdict != mail.Quarantine {
					t.Errorf("%v: the others no longer count", d.Verdict)
				}
				if !slices.Contains(symbols(d.Because), "x.error") || !slices.Contains(symbols(d.Because), "y.points") {
					t.Errorf("findings %q", symbols(d.Because))
				}
				if !slices.Equal(heard, []string{"x message"}) || d.Runs[0].Err == nil {
					t.Errorf("heard %q, run %v", heard, d.Runs[0].Err)
				}
				if strings.Contains(d.Reply.String(), "secret") {
					t.Errorf("%v shows the fault", d.Reply)
				}
			})
		}
	}
}

// A check that comes back with findings and an error keeps both.
func TestErrorWithFindings(t *testing.T) {
	w := start(t, Config{Checks: []Check{{Name: "x", Impl: fake{msg: onMessage(find("x.y", mail.Reject, 0), errors.New("half"))}}}})
	w.rcpt("a")
	if d := w.message(); d.Verdict != mail.Reject || !slices.Equal(symbols(d.Because), []string{"x.y", "x.error"}) {
		t.Errorf("%v %q", d.Verdict, symbols(d.Because))
	}
}

// Runs that hang are bounded, each keeps its message, and they are given back.
func TestLateRuns(t *testing.T) {
	hang := make(chan struct{})
	var running sync.WaitGroup
	e, err := New(Config{Checks: []Check{{Name: "x", IO: true, Timeout: time.Nanosecond, OnError: DeferOnError, Impl: fake{
		msg: func(_ context.Context, tx *mail.Transaction) (Result, error) {
			defer running.Done()
			<-hang
			if b := make([]byte, 1); tx.Message != nil {
				if _, err := tx.Message.Raw().Read(b); err != nil || b[0] != 'S' {
					t.Errorf("late read %q, %v", b, err)
				}
			}
			return Result{}, nil
		}}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.Spool(t.Context(), strings.NewReader("Subject: x\r\n\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := &mail.Session{}
	running.Add(maxLate)
	for i := range maxLate + 3 {
		tx := &mail.Transaction{Session: s, ID: "T"}
		tx.Message = m
		d := e.Message(t.Context(), tx)
		if d.Verdict != mail.Defer {
			t.Fatalf("run %d: %v", i, d.Verdict)
		}
		if late := errors.Is(d.Runs[0].Err, errLate); late != (i >= maxLate) {
			t.Fatalf("run %d: %v", i, d.Runs[0].Err)
		}
	}
	m.Release()
	close(hang)
	running.Wait()
	for e.checks["x"].late.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// Promise 3: the order of decisions.
func TestDecide(t *testing.T) {
	type fs = []mail.Finding
	v := func(s string, v mail.Verdict) mail.Finding { return mail.Finding{Symbol: s, Verdict: v} }
	p := func(s string, score float64) mail.Finding { return mail.Finding{Symbol: s, Score: score} }
	to := func(v mail.Verdict) Override { return Override{Verdict: &v} }
	points := func(f float64) Override { return Override{Score: &f} }
	final := mail.Finding{Symbol: "d", Verdict: mail.Discard, Final: true}
	limits := Thresholds{Tag: 5, Quarantine: 10, Reject: 15}
	for name, c := range map[string]struct {
		scoring, policy, mandatory fs
		over                       map[string]Override
		want                       mail.Verdict
	}{
		"nothing":                        {},
		"reject beats defer":             {scoring: fs{v("a", mail.Defer), v("b", mail.Reject)}, want: mail.Reject},
		"defer beats quarantine":         {scoring: fs{v("a", mail.Quarantine), v("b", mail.Defer)}, want: mail.Defer},
		"quarantine beats discard":       {scoring: fs{v("a", mail.Discard), v("b", mail.Quarantine)}, want: mail.Quarantine},
		"final discard beats quarantine": {scoring: fs{v("a", mail.Quarantine), final}, want: mail.Discard},
		"defer beats final discard":      {scoring: fs{v("a", mail.Defer), final}, want: mail.Defer},
		"discard alone":                  {scoring: fs{v("a", mail.Discard)}, want: mail.Discard},
		"explicit before score":          {scoring: fs{p("a", 100), v("b", mail.Quarantine)}, want: mail.Quarantine},
		"score below":                    {scoring: fs{p("a", 4.9)}, want: mail.Continue},
		"score holds":                    {scoring: fs{p("a", 4), p("b", 6)}, want: mail.Quarantine},
		"score rejects":                  {scoring: fs{p("a", 9), p("b", 6)}, want: mail.Reject},
		"negative points help":           {scoring: fs{p("a", 15), p("b", -1)}, want: mail.Quarantine},
		"override to nothing":            {scoring: fs{v("a", mail.Reject)}, over: map[string]Override{"a": to(mail.Continue)}, want: mail.Continue},
		"override spares one symbol":     {scoring: fs{v("a", mail.Reject), v("b", mail.Defer)}, over: map[string]Override{"a": to(mail.Continue)}, want: mail.Defer},
		"override decides first":         {scoring: fs{v("a", mail.Continue), v("b", mail.Reject)}, over: map[string]Override{"a": to(mail.Quarantine)}, want: mail.Quarantine},
		"override to reject":             {scoring: fs{p("a", 1)}, over: map[string]Override{"a": to(mail.Reject)}, want: mail.Reject},
		"override of points":             {scoring: fs{p("a", 1)}, over: map[string]Override{"a": points(15)}, want: mail.Reject},
		"override of points to none":     {scoring: fs{p("a", 15)}, over: map[string]Override{"a": points(0)}, want: mail.Continue},
		"override of another symbol":     {scoring: fs{v("a", mail.Reject)}, over: map[string]Override{"b": to(mail.Continue)}, want: mail.Reject},
		"accept skips scoring":           {policy: fs{v("p", mail.Accept)}, scoring: fs{v("a", mail.Reject), p("b", 99)}, want: mail.Continue},
		"accept does not skip policy":    {policy: fs{v("p", mail.Accept), v("q", mail.Reject)}, want: mail.Reject},
		"accept does not skip mandatory": {policy: fs{v("p", mail.Accept)}, mandatory: fs{v("m", mail.Reject)}, want: mail.Reject},
		"no override of mandatory":       {mandatory: fs{v("m", mail.Reject)}, over: map[string]Override{"m": to(mail.Continue)}, want: mail.Reject},
		"override below mandatory":       {scoring: fs{p("a", 0)}, mandatory: fs{v("m", mail.Defer)}, over: map[string]Override{"a": to(mail.Discard)}, want: mail.Defer},
		"mandatory is the least":         {scoring: fs{v("a", mail.Reject)}, mandatory: fs{v("m", mail.Quarantine)}, want: mail.Reject},
		"an accept taken away":           {policy: fs{v("p", mail.Accept)}, scoring: fs{v("a", mail.Reject)}, over: map[string]Override{"p": to(mail.Continue)}, want: mail.Reject},
	} {
		t.Run(name, func(t *testing.T) {
			// Policy speaks at MAIL, the rest on the message: an Accept is in
			// force before the checks that it skips.
			w := start(t, Config{
				Checks: []Check{
					{Name: "policy", Class: Policy, Impl: fake{mailFrom: func(*mail.Transaction) (Result, error) { return Result{Findings: c.policy}, nil }}},
					{Name: "scoring", Impl: fake{msg: onMessage(Result{Findings: c.scoring}, nil)}},
					{Name: "mandatory", Class: Mandatory, Impl: fake{msg: onMessage(Result{Findings: c.mandatory}, nil)}},
				},
				Overrides:  c.over,
				Thresholds: map[mail.Direction]Thresholds{mail.In: limits},
			})
			d := w.rcpt("a")
			if d.Verdict == mail.Continue {
				d = w.message()
			}
			if d.Verdict != c.want {
				t.Errorf("%v %v, want %v", d.Verdict, d.Reply, c.want)
			}
			if (d.Verdict == mail.Reject) != d.Reply.Permanent() || (d.Verdict == mail.Defer) != d.Reply.Temporary() {
				t.Errorf("%v is answered %v", d.Verdict, d.Reply)
			}
		})
	}
}

// The score is summed over stages, by direction.
func TestScoreOverStages(t *testing.T) {
	cfg := Config{
		Checks: []Check{
			{Name: "a", Impl: fake{connect: onSession(find("a.x", 0, 3)), helo: onSession(find("a.y", 0, 3))}},
			{Name: "b", Impl: fake{rcpt: func(mail.Recipient) (Result, error) { return find("b.x", 0, 3), nil }, msg: onMessage(find("b.y", 0, 3), nil)}},
		},
		Thresholds: map[mail.Direction]Thresholds{mail.In: {Tag: 6, Reject: 12}, mail.Out: {Tag: 12}},
	}
	w := start(t, cfg)
	w.rcpt("a")
	w.rcpt("b") // b.x twice counts once
	if d := w.message(); d.Verdict != mail.Reject || d.Score != 12 || d.Reply.String() != "554 5.7.1 Refused by policy [score T1]" {
		t.Errorf("%v %v %v", d.Verdict, d.Score, d.Reply)
	}
	w = start(t, cfg)
	w.tx.Direction = mail.Out
	w.rcpt("a")
	d := w.message()
	if d.Verdict != mail.Continue || len(d.Edits) != 1 || string(d.Edits[0].Insert) != "X-Garita-Verdict: tag; score=12.0\r\n" {
		t.Errorf("%v %v", d.Verdict, d.Edits)
	}
	// A second message and a second HELO begin anew.
	w.tx = &mail.Transaction{Session: w.s, ID: "T2", Direction: mail.In}
	w.e.Helo(t.Context(), w.s)
	w.e.Mail(t.Context(), w.tx)
	if d := w.rcpt("a"); d.Score != 9 {
		t.Errorf("score %v of %q", d.Score, symbols(d.Because))
	}
}

// Promise 4: early decisions are answered at RCPT, all of them.
func TestAnsweredAtRcpt(t *testing.T) {
	reply := mail.Permanent(554, "7.1", "Not from here")
	own := Found(mail.Finding{Symbol: "x.y", Verdict: mail.Reject, Reply: &reply})
	for name, f := range map[string]fake{
		"connect": {connect: onSession(own)},
		"helo":    {helo: onSession(own)},
		"mail":    {mailFrom: func(*mail.Transaction) (Result, error) { return own, nil }},
	} {
		w := start(t, Config{Checks: []Check{{Name: "x", Impl: f}}})
		for range 2 {
			if d := w.rcpt("a"); d.Verdict != mail.Reject || d.Reply != reply || !slices.Equal(symbols(d.Because), []string{"x.y"}) {
				t.Errorf("%s: %v %v %q", name, d.Verdict, d.Reply, symbols(d.Because))
			}
		}
		e, err := New(Config{Checks: []Check{{Name: "x", Impl: f}}, AtOnce: true})
		if err != nil {
			t.Fatal(err)
		}
		s := &mail.Session{ID: "S"}
		tx := &mail.Transaction{Session: s, ID: "T"}
		got := map[string]mail.Decision{"connect": e.Connect(t.Context(), s), "helo": e.Helo(t.Context(), s), "mail": e.Mail(t.Context(), tx)}
		if got[name].Verdict != mail.Reject {
			t.Errorf("%s at once: %v", name, got[name].Verdict)
		}
	}
}

// The general replies, and replies of checks that must not go out.
func TestReplies(t *testing.T) {
	bad := mail.Reply{Code: 554, Enhanced: "5.7.1", Text: "a\r\n250 ok"}
	wrong := mail.Temporary(451, "7.1", "later")
	for _, c := range []struct {
		v    mail.Verdict
		r    *mail.Reply
		want string
	}{
		{mail.Reject, nil, "554 5.7.1 Refused by policy [x.y T1]"},
		{mail.Reject, &bad, "554 5.7.1 Refused by policy [x.y T1]"},
		{mail.Reject, &wrong, "554 5.7.1 Refused by policy [x.y T1]"},
		{mail.Defer, nil, "451 4.7.1 Try again later [x.y T1]"},
		{mail.Defer, &wrong, "451 4.7.1 later"},
		{mail.Defer, &bad, "451 4.7.1 Try again later [x.y T1]"},
	} {
		w := start(t, Config{Checks: []Check{{Name: "x", Impl: fake{rcpt: func(mail.Recipient) (Result, error) {
			return Found(mail.Finding{Symbol: "x.y", Verdict: c.v, Reply: c.r}), nil
		}}}}})
		if d := w.rcpt("a"); d.Verdict != c.v || d.Reply.String() != c.want {
			t.Errorf("%v %v: %v", c.v, c.r, d.Reply)
		}
	}
}
