package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"garita/admin"
)

// TestRanges: the table of the guidelines, and what is no range.
func TestRanges(t *testing.T) {
	for text, want := range map[string]struct{ ok, alert []float64 }{
		"10":      {[]float64{0, 5, 10}, []float64{-0.1, 10.1}},
		"10:":     {[]float64{10, 1e9}, []float64{9.99, -1}},
		"~:10":    {[]float64{-1e9, 10}, []float64{10.5}},
		"10:20":   {[]float64{10, 15, 20}, []float64{9, 21}},
		"@10:20":  {[]float64{9, 21}, []float64{10, 15, 20}},
		"@10":     {[]float64{-1, 11}, []float64{0, 10}},
		"-5:-1.5": {[]float64{-5, -2}, []float64{-6, -1, 0}},
		"0":       {[]float64{0}, []float64{1, -1, math.NaN()}},
		"~:":      {[]float64{-1, 1}, []float64{math.NaN()}},
	} {
		r, err := parseRange(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, v := range want.ok {
			if r.alert(v) {
				t.Errorf("%q alerts at %v", text, v)
			}
		}
		for _, v := range want.alert {
			if !r.alert(v) {
				t.Errorf("%q does not alert at %v", text, v)
			}
		}
	}
	for _, text := range []string{"", ":", ":10", "@", "@:", "20:10", "10:~", "~", "a", "1:2:3", "10 ", "0x10:", "inf", "nan", "1e3", "--1", "10:20@", strings.Repeat("1", 40)} {
		if r, err := parseRange(text); err == nil {
			t.Errorf("%q is taken as %+v", text, r)
		}
	}
}

// FuzzRange: a range that is taken has an order, and "@" turns it around.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"10", "10:", "~:10", "10:20", "@10:20", "-1.5:2", "@~:3"} {
		f.Add(s, 12.5)
	}
	f.Fuzz(func(t *testing.T, s string, v float64) {
		r, err := parseRange(s)
		if err != nil {
			if !errors.Is(err, errRange) {
				t.Error(err)
			}
			return
		}
		if r.start > r.end || math.IsNaN(r.start) || math.IsNaN(r.end) {
			t.Errorf("%q: %+v", s, r)
		}
		if strings.HasPrefix(s, "@") || math.IsNaN(v) {
			return
		}
		other, err := parseRange("@" + s)
		if err != nil || other.alert(v) == r.alert(v) {
			t.Errorf("%q and its reverse at %v: %v", s, v, err)
		}
	})
}

func TestJudge(t *testing.T) {
	given := func(w, c string) (out [2]*checkRange) {
		for i, s := range []string{w, c} {
			if s != "" {
				r, err := parseRange(s)
				if err != nil {
					t.Fatal(err)
				}
				out[i] = &r
			}
		}
		return out
	}
	held := checkAnswer{Text: "417 held", Figures: []checkFigure{
		{Label: "held", Value: 417, Warning: "1000", Critical: "2000", Min: whole(0), Max: whole(5000)},
		{Label: "fill", Value: 12.345, Unit: "%", Warning: "80", Critical: "95"}}}
	for want, tc := range map[string]struct {
		a    checkAnswer
		w, c string
	}{
		"0 HOLD OK - 417 held | held=417;1000;2000;0;5000 fill=12.35%;80;95":           {a: held},
		"1 HOLD WARNING - 417 held | held=417;50;2000;0;5000 fill=12.35%;80;95":        {a: held, w: "50"},
		"2 HOLD CRITICAL - 417 held | held=417;50;200;0;5000 fill=12.35%;80;95":        {a: held, w: "50", c: "200"},
		"2 HOLD CRITICAL - 417 held | held=417;1000;@400:500;0;5000 fill=12.35%;80;95": {a: held, c: "@400:500"},
		"2 HOLD CRITICAL - down":               {a: checkAnswer{State: stateCritical, Text: "down"}},
		"1 HOLD WARNING - a/b \\x1b[2J\\nc":    {a: checkAnswer{State: stateWarning, Text: "a|b \x1b[2J\nc"}},
		"3 HOLD UNKNOWN - x | a_b__=1;;0":      {a: checkAnswer{State: 99, Text: "x", Figures: []checkFigure{{Label: "a b='", Value: 1, Critical: "0"}}}},
		"1 HOLD WARNING - x | late=1;0":        {a: checkAnswer{Text: "x", Figures: []checkFigure{{Label: "late", Value: 1, Warning: "0"}}}},
		"2 HOLD CRITICAL - x | days=2s;14:;3:": {a: checkAnswer{Text: "x", Figures: []checkFigure{{Label: "days", Value: 2, Unit: "s", Warning: "14:", Critical: "3:"}}}},
	} {
		state, line := tc.a.judge("HOLD", given(tc.w, tc.c))
		if got := decimal(float64(state)) + " " + line; got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// plug runs garita check as the command line does.
func plug(args ...string) (int, string, string) {
	var o, e bytes.Buffer
	code := execute(append([]string{"check"}, args...), terminal{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

// TestCheckPlugin: every end of a plugin is one line on the standard output and
// a code from 0 to 3.
func TestCheckPlugin(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	hang := make(chan struct{})
	s, err := admin.Listen(admin.Config{Path: socket, Audit: func(admin.Act) {}, Verbs: map[string]admin.Verb{"check": {Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
		var q checkRequest
		if err := json.Unmarshal(raw, &q); err != nil {
			return nil, err
		}
		switch q.Kind {
		case "hold":
			return checkAnswer{Text: "3 held", Figures: []checkFigure{{Label: "held", Value: 3}}}, nil
		case "av":
			<-hang
		case "cert":
			return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
		}
		return checkAnswer{Off: "not enabled"}, nil
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { close(hang); s.Close() })
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"hold", 0, "HOLD OK - 3 held | held=3\n"},
		{"hold -w 2", 1, "HOLD WARNING - 3 held | held=3;2\n"},
		{"hold -w 1 -c 2", 2, "HOLD CRITICAL - 3 held | held=3;1;2\n"},
		{"hold -w 5: -c ~:2", 2, "HOLD CRITICAL - 3 held | held=3;5:;~:2\n"},
		{"hold -w 2:1", 3, "HOLD UNKNOWN - \"2:1\" is no range: write 10, 10:, ~:10, 10:20 or @10:20\n"},
		{"hold -t 0", 3, "HOLD UNKNOWN - -t must be more than 0 and at most 300\n"},
		{"users", 3, "USERS UNKNOWN - not enabled\n"},
		{"rbl", 3, "RBL UNKNOWN - not enabled\n"},
		{"limits", 3, "LIMITS UNKNOWN - not enabled\n"},
		{"cert", 3, "CERT UNKNOWN - the gateway is starting\n"},
		{"av -t 0.05", 3, "AV UNKNOWN - "},
		{"hold --nonsense", 3, "CHECK UNKNOWN - unknown flag --nonsense"},
		{"nothing", 3, "CHECK UNKNOWN - unexpected argument nothing"},
	} {
		args := strings.Fields(tc.args)
		if !strings.Contains(tc.args, "nothing") {
			args = append(args, "--socket", socket)
		}
		code, out, errs := plug(args...)
		if code != tc.code || !strings.HasPrefix(out, tc.want) || errs != "" || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %d %q %q", tc.args, code, out, errs)
		}
	}
	if code, out, errs := plug("hold", "--socket", socket+"x"); code != 3 || !strings.HasPrefix(out, "HOLD UNKNOWN - ") || errs != "" {
		t.Errorf("no gateway: %d %q %q", code, out, errs)
	}
	if code, out, errs := plug("hold", "--config", "/nonexistent/config.toml"); code != 3 || !strings.HasPrefix(out, "HOLD UNKNOWN - ") || errs != "" {
		t.Errorf("no configuration: %d %q %q", code, out, errs)
	}
}

// TestCheckAnswers asks a gateway that runs, with a next hop that is there and
// without.
func TestCheckAnswers(t *testing.T) {
	d, file, _ := inProcess(t)
	ask := func(kind string) (a checkAnswer) {
		t.Helper()
		v, err := d.checkVerbs()["check"].Run(t.Context(), json.RawMessage(`{"kind":"`+kind+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(v) // as the socket does
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	for kind, want := range map[string]string{
		"queue": "0 QUEUE OK - 0 messages on their way, 0 deliveries wait, 0 sessions | in_flight=0;", "hold": "0 HOLD OK - 0 held, 0 of them",
	} {
		a := ask(kind)
		state, line := a.judge(strings.ToUpper(kind), [2]*checkRange{})
		if got := decimal(float64(state)) + " " + line; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", kind, got)
		}
	}
	if a := ask("cert"); len(a.Figures) != 1 || a.Figures[0].Value < 30 {
		t.Errorf("%+v", a)
	}
	if a := ask("av"); !strings.HasPrefix(a.Off, "not enabled") {
		t.Errorf("%+v", a)
	}
	if a := ask("users"); a.Off != "" || len(a.Figures) != 1 || a.Figures[0].Value != 0 {
		t.Errorf("%+v", a)
	}
	// A reload that failed is a concern, a next hop that is gone a fault.
	why := "broken \x1b"
	d.badReload.Store(&why)
	if a := ask("health"); len(a.Figures) != 2 || a.Figures[0].Value < 1 || !strings.Contains(a.Text, "the last reload failed") {
		t.Errorf("%+v", a)
	}
	if _, err := d.checkVerbs()["check"].Run(t.Context(), json.RawMessage(`{"kind":"nothing"}`)); err == nil {
		t.Error("a kind that is none")
	}
	hopDown(t, d, file)
	if a := ask("queue"); a.State != stateCritical || !strings.Contains(a.Text, "next hop down: ") {
		t.Errorf("%+v", a)
	}
}
