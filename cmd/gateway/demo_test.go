package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/demo"
)

// showDemo plays the demo in this process and gives what it printed as JSON,
// with its exit code. Whatever happens, its folder must be gone.
func showDemo(t *testing.T, ctx context.Context, cases []demo.Case) (*demo.Report, int) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out, errs bytes.Buffer
	term := terminal{in: strings.NewReader(""), out: &out, err: &errs}
	c := demoCommand{Lang: "en", Output: "json"}
	code := term.report(c.show(ctx, &term, cases))
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if out.Len() == 0 {
		t.Logf("said: %s", errs.String())
		return nil, code
	}
	if errs.Len() > 0 {
		t.Errorf("said without a terminal: %q", errs.String())
	}
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	var r demo.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("no JSON: %v", err)
	}
	return &r, code
}

func TestDemo(t *testing.T) {
	r, code := showDemo(t, context.Background(), nil)
	if code != exitOK || r == nil || !r.OK {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	// What cannot be shown is said plainly, once.
	want, notes := len(demo.Cases())+len(demo.Scenes()), 1
	if findClamd() != "" {
		want, notes = want+1, 0
	}
	if len(r.Results) != want || len(r.Faults) > 0 || len(r.Notes) != notes {
		t.Errorf("%d results, faults %q, notes %q", len(r.Results), r.Faults, r.Notes)
	}
	for _, one := range r.Results {
		if !one.OK {
			t.Errorf("%s: %q", one.Name, one.Why)
		}
	}
	// Every step of the first message is in its lines.
	lines := strings.Join(r.Log, "\n")
	for _, word := range []string{"garita/smtpd[", "garita/cleanup[", "garita/qmgr[", "status=sent", "removed"} {
		if !strings.Contains(lines, word) {
			t.Errorf("%q is not in the log lines:\n%s", word, lines)
		}
	}
}

// A demo that cannot fail shows nothing: with the real gateway, each wrong
// expectation, and only that, must be found.
func TestDemoCanFail(t *testing.T) {
	cases := demo.Cases()
	wrong := map[string]func(*demo.Want){
		"clean":      func(w *demo.Want) { w.Body = append([]byte("X"), w.Body...) },
		"multipart":  func(w *demo.Want) { w.Body = w.Body[:len(w.Body)-1] },
		"relay":      func(w *demo.Want) { w.Reply = "250" },
		"vanishes":   func(w *demo.Want) { w.Host, w.Body = "mail.casa.example", []byte("x") },
		"smuggle-lf": func(w *demo.Want) { w.Reply, w.Host = "550", "" },
		"outbound":   func(w *demo.Want) { w.Host = "mail.casa.example" },
		"starttls":   func(w *demo.Want) { w.Received = "with ESMTP id" },
		"filter":     func(w *demo.Want) { w.Log = "client=unknown[192.0.2.77]" },
	}
	for i := range cases {
		if spoil := wrong[cases[i].Name]; spoil != nil {
			spoil(&cases[i].Want)
		}
	}
	r, code := showDemo(t, context.Background(), cases)
	if code != exitFailed || r == nil || r.OK {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	found := 0
	for _, one := range r.Results {
		if one.OK == (wrong[one.Name] != nil) {
			t.Errorf("%s: ok is %t, %q", one.Name, one.OK, one.Why)
		}
		if !one.OK {
			found++
		}
	}
	if found != len(wrong) {
		t.Errorf("%d of %d wrong expectations were found", found, len(wrong))
	}
}

// The second part can fail too: with checks off, those cases are wrong that
// rest on them, and only those.
func TestDemoSecondCanFail(t *testing.T) {
	tmp := t.TempDir()
	ctx := context.Background()
	off := map[string]any{"check.dnsbl.mode": "off", "check.greylist.mode": "off", "check.greylist.policy_mode": "off", "check.limits.mode": "off"}
	first := filepath.Join(tmp, "1")
	if err := os.Mkdir(first, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := demo.Run(ctx, demo.Config{
		Start:       func(s demo.Site) (*demo.Gateway, error) { return startDemo(ctx, first, s, nil) },
		StartSecond: func(s demo.Site) (*demo.Second, error) { return startDemoSecond(ctx, tmp, s, off) },
		Cases:       demo.Cases()[:1], Patience: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	wrong := []string{"list-dead", "list-hung", "list-alerts", "list-refuses", "greylist-new", "greylist-back", "policy-greylist",
		"limit-over", "limit-absence", "limit-drip", "limit-rest"}
	for _, one := range r.Results {
		if one.OK == slices.Contains(wrong, one.Name) {
			t.Errorf("%s: ok is %t, %q", one.Name, one.OK, one.Why)
		}
	}
	if r.OK || len(r.Results) != 1+len(demo.Scenes()) {
		t.Errorf("ok is %t, %d results", r.OK, len(r.Results))
	}
}

// A message that no case brought fails the whole, though every case is right.
func TestDemoFindsAMessageTooMany(t *testing.T) {
	cases := demo.Cases()[:2]
	clean := cases[1].Send
	cases[1].Send = func(d *demo.Dialogue) { cases[0].Send(d); clean(d) }
	r, code := showDemo(t, context.Background(), cases)
	if code != exitFailed || r == nil || r.OK || !r.Results[0].OK || r.Results[1].OK {
		t.Errorf("exit code %d, %+v", code, r)
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cases := demo.Cases()
	send := cases[1].Send
	cases[1].Send = func(d *demo.Dialogue) { cancel(); send(d) }
	if r, code := showDemo(t, ctx, cases); code != exitFailed || r != nil {
		t.Errorf("exit code %d, %+v", code, r)
	}
}

// The gateway cannot start when its folder cannot be made.
func TestDemoWithoutAFolder(t *testing.T) {
	t.Setenv("TMPDIR", "/nonexistent/garita")
	var out bytes.Buffer
	term := terminal{in: strings.NewReader(""), out: &out, err: &out}
	var e *exitError
	err := (&demoCommand{Lang: "en", Output: "text"}).show(context.Background(), &term, nil)
	if !errors.As(err, &e) || e.code != exitFailed || e.text == "" {
		t.Errorf("%v", err)
	}
}

func TestDemoLanguage(t *testing.T) {
	for _, one := range []struct {
		flag, all, messages, lang string
		spanish                   bool
	}{
		{"auto", "", "", "", false},
		{"auto", "", "", "es_ES.UTF-8", true},
		{"auto", "", "", "es", true},
		{"auto", "", "es_MX", "en_US", true},
		{"auto", "C", "es_MX", "es_MX", false},
		{"auto", "", "", "est_EE", false},
		{"en", "es_ES", "", "es_ES", false},
		{"es", "C", "", "C", true},
	} {
		t.Setenv("LC_ALL", one.all)
		t.Setenv("LC_MESSAGES", one.messages)
		t.Setenv("LANG", one.lang)
		if got := (&demoCommand{Lang: one.flag}).spanish(); got != one.spanish {
			t.Errorf("%+v: spanish is %t", one, got)
		}
	}
}
