package attachment

import (
	"context"
	"testing"
	"time"

	"garita/archive"
	"garita/document"
	"garita/filetype"
	"garita/filters"
	"garita/mail"
)

// TestCrashAction: what is done about a decoder that fails is the action of
// crash, in each direction; no known file brings one about.
func TestCrashAction(t *testing.T) {
	for action, want := range map[string]mail.Verdict{actionOff: mail.Continue, actionObserve: mail.Continue, actionScore: mail.Continue, actionHold: mail.Quarantine, actionReject: mail.Reject} {
		for _, out := range []bool{false, true} {
			c, dir := Default(), mail.In
			c.Crash = action
			if out {
				c.Crash, c.Out.Crash, dir = actionReject, action, mail.Out
			}
			k := made(t, c)
			k.walk = func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error) {
				return []archive.Defect{{ID: "decoder-panic", Grade: archive.Opaque}}, nil
			}
			m := spool(t, letter(file{name: "a.zip", data: zipped(t, "a.txt", "x")}))
			res, err := k.CheckMessage(t.Context(), transaction(t, m, dir))
			m.Release()
			if err != nil || (len(res.Findings) == 0) != (action == actionOff) {
				t.Errorf("%s out %v: %v %v", action, out, res.Findings, err)
				continue
			}
			for _, f := range res.Findings {
				if f.Symbol != Prefix+crash || f.Verdict != want || (f.Mode == mail.Observe) != (action == actionObserve) {
					t.Errorf("%s out %v: %+v", action, out, f)
				}
			}
		}
	}
}

// TestTimeKeys: archives.time is what the documents of a message may take
// together, and timeout what all of it may.
func TestTimeKeys(t *testing.T) {
	for limit, want := range map[time.Duration]int{2 * time.Second: 2, 20 * time.Second: 3} {
		c := Default()
		c.Archives.Time = limit
		k := made(t, c)
		now, asked := time.Unix(0, 0), 0
		k.now = func() time.Time { return now }
		k.inspect = func(context.Context, filetype.Type, []byte, document.Limits) []document.Trait {
			asked++
			now = now.Add(1500 * time.Millisecond)
			return nil
		}
		f := file{name: "a.pdf", data: pdf()}
		if _, err := run(t, k, letter(f, f, f)); err != nil || asked != want {
			t.Errorf("archives.time %s: %d documents, %v", limit, asked, err)
		}
	}
	c := Default()
	c.Timeout, c.Archives.Time = time.Second, time.Second
	check, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	check.Impl.(*Check).walk = func(ctx context.Context, _ []byte, _ *archive.Budget, _ func(*archive.Entry) error) ([]archive.Defect, error) {
		<-ctx.Done() // as one who waits for his place; by default for a minute
		return nil, ctx.Err()
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	m := spool(t, letter(file{name: "a.zip", data: zipped(t, "a.txt", "x")}))
	defer m.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tx := transaction(t, m, mail.In)
	e.Mail(ctx, tx)
	if d := e.Message(ctx, tx); d.Verdict != mail.Defer || ctx.Err() != nil {
		t.Errorf("timeout: %v %v", d.Verdict, ctx.Err())
	}
}
