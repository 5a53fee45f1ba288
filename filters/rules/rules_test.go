package rules

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/message"
	language "garita/rules"
	"garita/rules/pattern"
)

// folder writes rule files and gives a Config of them alone.
func folder(t testing.TB, files ...string) Config {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Default()
	c.Files, c.Builtin = []string{filepath.Join(dir, "*.toml")}, []string{}
	return c
}

func TestText(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		return made(t, folder(t, strings.Join(config, "\n")), Options{})
	})
}

func made(t testing.TB, c Config, o Options) filters.Check {
	t.Helper()
	check, err := New(c, nil, filters.Site{}, o)
	if err != nil {
		t.Fatal(err)
	}
	return check
}

func letter(t testing.TB, raw string) *mail.Transaction {
	t.Helper()
	m, err := message.Spool(t.Context(), strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n")), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	tx := &mail.Transaction{Session: &mail.Session{ID: "S"}, ID: "T", Direction: mail.In, Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "our.example"}}}
	return tx
}

// say gives what one rule with these keys says of a message.
func say(t testing.TB, keys, raw string) filters.Result {
	t.Helper()
	check := made(t, folder(t, "[[rule]]\nid = \"it\"\n"+keys), Options{})
	res, err := check.Impl.(*Check).CheckMessage(t.Context(), letter(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const bill = "match = ['subject contains \"factura\"']\n"

// TestReply: the rule's own or the action's, with the id behind it.
func TestReply(t *testing.T) {
	for _, tc := range []struct{ keys, want string }{
		{`action = "reject"`, "550 5.7.1 Refused by rule [it]"},
		{`action = "defer"`, "451 4.7.1 Put off by rule, try again later [it]"},
		{"action = \"reject\"\nreply = \"No bills\"", "550 5.7.1 No bills [it]"},
		{"action = \"reject\"\nreply = \"554 5.6.0 No bills\"", "554 5.6.0 No bills [it]"},
		{"action = \"defer\"\nreply = \"450 4.2.0 Later\"", "450 4.2.0 Later [it]"},
	} {
		res := say(t, bill+tc.keys, "Subject: factura\n\nx\n")
		if len(res.Findings) != 1 || res.Findings[0].Reply == nil || res.Findings[0].Reply.String() != tc.want {
			t.Errorf("%q: %+v, want %s", tc.keys, res.Findings, tc.want)
		}
	}
}

// TestFinding: mode, score, place and text of a hit; hostile text is quoted.
func TestFinding(t *testing.T) {
	res := say(t, bill+"mode = \"score\"\nscore = 2.5\naction = \"reject\"\n", "X: y\nSubject: una factura \x1b[2J\n\nx\n")
	f := res.Findings[0]
	if f.Symbol != "rules.it" || f.Mode != mail.Score || f.Score != 2.5 || f.Verdict != mail.Reject || !strings.HasSuffix(f.Rule, "a.toml:1") {
		t.Errorf("%+v", f)
	}
	if f.Where != "line 2" || !strings.HasPrefix(f.Detail, "subject: \"") || strings.Contains(f.Detail, "\x1b") {
		t.Errorf("%q %q", f.Where, f.Detail)
	}
	if res := say(t, bill+"action = \"discard final\"\n", "Subject: factura\n\nx\n"); !res.Findings[0].Final || res.Findings[0].Verdict != mail.Discard {
		t.Errorf("%+v", res.Findings)
	}
}

// TestChanges: edits and envelope edits of a rule, in mode enforce alone.
func TestChanges(t *testing.T) {
	const actions = `action = ['prepend "X-Bill: yes"', 'ignore header X-Old', 'tag subject "[BILL] "', 'bcc "c@our.example"', 'redirect "r@our.example"', 'route "scan"']` + "\n"
	const raw = "Subject: factura\nX-Old: 1\n\nx\n"
	tx := letter(t, raw)
	k := made(t, folder(t, "[[rule]]\nid = \"it\"\n"+bill+actions), Options{}).Impl.(*Check)
	res, err := k.CheckMessage(t.Context(), tx)
	if err != nil || len(res.Rewrite) > 0 {
		t.Fatal(err, res.Rewrite)
	}
	r, err := tx.Message.Render(res.Edits)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if want := "X-Bill: yes\r\nSubject: [BILL] factura\r\n\r\nx\r\n"; err != nil || string(out) != want {
		t.Errorf("%q, want %q; %v", out, want, err)
	}
	var got []string
	for _, e := range res.Envelope {
		got = append(got, e.Kind+" "+e.To.String()+e.Hop)
		if e.Rule == "" {
			t.Error("no rule")
		}
	}
	if s := strings.Join(got, ", "); s != "bcc c@our.example, redirect r@our.example, route scan" {
		t.Error(s)
	}
	for _, mode := range []string{"observe", "score"} {
		res := say(t, bill+actions+"mode = \""+mode+"\"\n", raw)
		if len(res.Findings) != 1 || len(res.Edits)+len(res.Envelope)+len(res.Rewrite) > 0 {
			t.Errorf("%s: %+v", mode, res)
		}
	}
}

// TestOverBudget: put off once, then held; never "no match", and
// no word of the message in what is told.
func TestOverBudget(t *testing.T) {
	for _, tc := range []struct {
		what, mode string
		want       []mail.Verdict
	}{
		{"defer-then-quarantine", "enforce", []mail.Verdict{mail.Defer, mail.Quarantine, mail.Quarantine}},
		{"defer", "score", []mail.Verdict{mail.Defer, mail.Defer}},
		{"quarantine", "enforce", []mail.Verdict{mail.Quarantine}},
		{"continue", "enforce", []mail.Verdict{mail.Continue}},
		{"quarantine", "observe", []mail.Verdict{mail.Continue}},
	} {
		c := folder(t, "[[rule]]\nid = \"slow\"\nmode = \""+tc.mode+"\"\nscore = 1\nmatch = ['subject matches /(a+)\\1b/']\n")
		c.OverBudget = tc.what
		k := made(t, c, Options{}).Impl.(*Check)
		k.time = -1
		for n, want := range tc.want {
			res, err := k.CheckMessage(t.Context(), letter(t, "Subject: aaaa secret\n\nx\n"))
			if err != nil || len(res.Findings) != 1 {
				t.Fatalf("%s: %+v %v", tc.what, res, err)
			}
			f := res.Findings[0]
			if f.Symbol != SymbolOverBudget || f.Verdict != want || strings.Contains(f.Detail, "secret") || !strings.Contains(f.Detail, "slow") {
				t.Errorf("%s, time %d: %+v", tc.what, n+1, f)
			}
		}
	}
}

// TestPanicIsHeld (Z-21): the first time a fault, the second held.
func TestPanicIsHeld(t *testing.T) {
	k := made(t, folder(t, "[[rule]]\nid = \"it\"\n"+bill), Options{}).Impl.(*Check)
	k.match = func(context.Context, language.Input, *pattern.Budget, language.MatchOptions) language.Result {
		panic("boom")
	}
	if res, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n")); err == nil || len(res.Findings) > 0 {
		t.Errorf("%+v %v", res, err)
	}
	res, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n"))
	if err != nil || len(res.Findings) != 1 || res.Findings[0].Symbol != "rules.crash" || res.Findings[0].Verdict != mail.Quarantine {
		t.Errorf("%+v %v", res, err)
	}
}

// TestLargeBesideSmall (I10): large messages wait for each other, small ones
// for none of them, and one that waits too long is put off.
func TestLargeBesideSmall(t *testing.T) {
	k := made(t, folder(t, "[[rule]]\nid = \"it\"\n"+bill+"action = \"reject\"\n"), Options{}).Impl.(*Check)
	k.lanes = filters.NewLanes(1)
	large := letter(t, "Subject: factura\n\n"+strings.Repeat("0123456789\n", 30000))
	filtertest.LargeBesideSmall(t, k, k.lanes, large, letter(t, "Subject: factura\n\nx\n"))
}

// TestAtOnce: slow matches pass a gate of that size.
func TestAtOnce(t *testing.T) {
	c := folder(t, "[[rule]]\nid = \"it\"\n"+bill)
	c.AtOnce = 3
	if !reflect.DeepEqual(c.NewGate(), pattern.NewGate(3)) || reflect.DeepEqual(c.NewGate(), pattern.NewGate(4)) {
		t.Error("the gate has another size")
	}
	k := made(t, c, Options{}).Impl.(*Check)
	passed := false
	k.match = func(_ context.Context, _ language.Input, b *pattern.Budget, _ language.MatchOptions) language.Result {
		passed = reflect.ValueOf(b).Elem().FieldByName("gate").Pointer() == reflect.ValueOf(k.gate).Pointer()
		return language.Result{}
	}
	if _, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n")); err != nil || !passed {
		t.Errorf("%v %v", passed, err)
	}
}

// TestTimes: match_time and message_time reach the patterns.
func TestTimes(t *testing.T) {
	c := folder(t, "[[rule]]\nid = \"it\"\n"+bill)
	c.MatchTime, c.MessageTime = 7*time.Millisecond, 70*time.Millisecond
	k := made(t, c, Options{}).Impl.(*Check)
	var left time.Duration
	k.match = func(ctx context.Context, in language.Input, b *pattern.Budget, o language.MatchOptions) language.Result {
		left = b.Left()
		return k.set.Match(ctx, in, b, o)
	}
	if _, err := k.CheckMessage(t.Context(), letter(t, "A: b\n\nx\n")); err != nil || left != c.MessageTime {
		t.Errorf("%v, %v", left, err)
	}
	// A pattern that would take for ever ends by its own limit, long before
	// that of the message.
	c = folder(t, "[[rule]]\nid = \"slow\"\nscore = 1\nmatch = ['subject matches /^(?=(a|aa)+$)b|(a|aa)+\\1$/']\n")
	c.MatchTime, c.MessageTime = time.Millisecond, 10*time.Minute
	k = made(t, c, Options{}).Impl.(*Check)
	res, err := k.CheckMessage(t.Context(), letter(t, "Subject: "+strings.Repeat("a", 900)+"c\n\nx\n"))
	if err != nil || len(res.Findings) != 1 || res.Findings[0].Symbol != SymbolOverBudget {
		t.Errorf("%+v %v", res, err)
	}
}

// TestExpires: by the clock of the check.
func TestExpires(t *testing.T) {
	c := folder(t, "[[rule]]\nid = \"it\"\nexpires = 2027-01-31\n"+bill)
	for now, want := range map[string]int{"2027-01-31T23:00:00Z": 1, "2027-02-01T00:00:01Z": 0} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		k := made(t, c, Options{Now: func() time.Time { return at }}).Impl.(*Check)
		if res, err := k.CheckMessage(t.Context(), letter(t, "Subject: factura\n\nx\n")); err != nil || len(res.Findings) != want {
			t.Errorf("%s: %+v %v", now, res, err)
		}
	}
}

// TestRead: what is wrong in files and keys, each with its key and place.
func TestRead(t *testing.T) {
	const good = "[[rule]]\nid = \"it\"\n" + bill
	list := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(list, []byte("factura\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		files  []string
		change func(*Config)
		want   string
	}{
		{[]string{good}, func(*Config) {}, ""},
		{nil, func(*Config) {}, ""},
		{[]string{good, good}, func(*Config) {}, "b.toml:1"},
		{[]string{"[[rule]]\nid = \"it\"\nmatch = ['subjekt contains \"x\"']\n"}, func(*Config) {}, "a.toml:3:"},
		{[]string{good + "[[rule.test]]\nheader = \"Subject: y\"\n"}, func(*Config) {}, "a.toml:4"},
		{[]string{good + "[[rule.test]]\nheader = \"Subject: factura\"\n"}, func(*Config) {}, ""},
		{[]string{good + "[[override]]\nrule = \"nobody\"\nmode = \"off\"\n"}, func(*Config) {}, "nobody"},
		{[]string{good + "reply = \"5.7.1 Año\"\naction = \"reject\"\n"}, func(*Config) {}, "ASCII"},
		{[]string{"[[rule]]\nid = \"l\"\nmatch = ['subject in list " + list + "']\n"}, func(*Config) {}, ""},
		{[]string{"[[rule]]\nid = \"l\"\nmatch = ['subject in list /nonexistent/x']\n"}, func(*Config) {}, "/nonexistent/x"},
		{nil, func(c *Config) { c.Files = []string{"/nonexistent/a.toml"} }, "files: open /nonexistent/a.toml"},
		{nil, func(c *Config) { c.Files = []string{"rules.toml"} }, "files[0] = \"rules.toml\""},
		{nil, func(c *Config) { c.Files = []string{"/a/[b"} }, "files[0] = \"/a/[b\""},
		{nil, func(c *Config) { c.Builtin = []string{"nothing"} }, "builtin[0] = \"nothing\""},
		{nil, func(c *Config) { c.Builtin = []string{"all"} }, ""},
		{nil, func(c *Config) { c.Mode = "loud" }, "mode = \"loud\""},
		{nil, func(c *Config) { c.MatchTime = 0 }, "match_time = 0s"},
		{nil, func(c *Config) { c.MessageTime = time.Millisecond }, "message_time = 1ms"},
		{nil, func(c *Config) { c.OverBudget = "x" }, "over_budget = \"x\""},
		{nil, func(c *Config) { c.AtOnce = -1 }, "at_once = -1"},
	} {
		c := folder(t, tc.files...)
		tc.change(&c)
		s, errs, _ := c.Read(nil)
		switch {
		case tc.want == "" && (s == nil || len(errs) > 0):
			t.Errorf("%q: %v", tc.files, errs)
		case tc.want != "" && (s != nil || len(errs) == 0 || !strings.Contains(errs[0].Error(), tc.want)):
			t.Errorf("%q: %v, want %q", tc.files, errs, tc.want)
		}
		for _, err := range errs {
			if key, _, ok := strings.Cut(err.Error(), ":"); !ok || strings.ContainsAny(key, "/") && !strings.HasPrefix(key, "files[") || strings.Contains(err.Error(), "\n") {
				t.Errorf("no key, or more than a line: %q", err)
			}
		}
		if s != nil && strings.Contains(strings.Join(tc.files, ""), "in list") && len(s.Files()) != 2 {
			t.Errorf("%q", s.Files())
		}
	}
}

// TestOwnRulesComeFirst: before the shipped ones, files by the alphabet, and
// an override reaches into the sets.
func TestOwnRulesComeFirst(t *testing.T) {
	c := folder(t, "[[rule]]\nid = \"one\"\n"+bill, "[[rule]]\nid = \"two\"\n"+bill)
	c.Builtin = []string{All}
	s, errs, _ := c.Read(nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	all := s.Compiled().Rules()
	if len(all) < 10 || all[0].ID != "one" || all[1].ID != "two" || !strings.HasPrefix(all[2].File, "builtin:") {
		t.Fatalf("%d rules", len(all))
	}
	c = folder(t, "[[override]]\nrule = \""+all[2].ID+"\"\nmode = \"off\"\n")
	c.Builtin = []string{All}
	if s, errs, _ = c.Read(nil); len(errs) > 0 || s.Compiled().Rules()[0].Mode != mail.Off {
		t.Error(errs)
	}
	one := strings.TrimPrefix(all[2].File, "builtin:")
	c.Files, c.Builtin = []string{}, []string{one}
	if s, errs, _ = c.Read(nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, r := range s.Compiled().Rules() {
		if r.File != "builtin:"+one {
			t.Errorf("%s of %s", r.ID, r.File)
		}
	}
}
