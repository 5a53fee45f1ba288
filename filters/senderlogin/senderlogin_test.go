package senderlogin

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/identity"
	"garita/mail"
	"garita/message"
)

func TestCases(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		c.DisplayName = "enforce"
		for _, line := range config {
			switch key, value, _ := strings.Cut(line, " "); key {
			case "owners":
				c.Owners = append(c.Owners, value)
			case "any_sender":
				c.AnySender = append(c.AnySender, value)
			default:
				filtertest.Set(t, &c, line)
			}
		}
		f, err := New(c, nil, filters.Site{})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

func spool(t testing.TB, header string) *message.Message {
	t.Helper()
	m, err := message.Spool(t.Context(), strings.NewReader(header+"\r\n\r\ntext\r\n"), message.Limits{Max: 1 << 20, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

// TestSources: who is known by what decides where and what happens.
func TestSources(t *testing.T) {
	for source, want := range map[string][2]mail.Verdict{
		identity.SourceAuth: {mail.Reject, mail.Reject}, identity.SourceCertificate: {mail.Reject, mail.Reject},
		identity.SourceMilter: {mail.Reject, mail.Reject}, identity.SourcePolicy: {mail.Reject, mail.Reject},
		// Only after DATA, and by hold: a relay would return it to whom the sender names.
		identity.SourceReceived: {mail.Continue, mail.Quarantine}, identity.SourceHeader: {mail.Continue, mail.Quarantine},
		// A claim, and nobody.
		identity.SourceSender: {mail.Continue, mail.Continue}, "": {mail.Continue, mail.Continue},
	} {
		c := Default()
		c.Mode = "enforce"
		check, err := New(c, nil, filters.Site{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{Role: mail.Outbound}, Identity: mail.Identity{User: "ana@our.example", Source: source}}
		tx.ReversePath = mail.Path{Local: "boss", Domain: "our.example"}
		if source == "" {
			tx.Identity = mail.Identity{}
		}
		e.Mail(t.Context(), tx)
		at := e.Rcpt(t.Context(), tx, mail.Recipient{Path: mail.Path{Local: "x", Domain: "other.example"}}).Verdict
		tx.Message = spool(t, "From: boss@our.example")
		if d := e.Message(t.Context(), tx); at != want[0] || d.Verdict != want[1] {
			t.Errorf("%q: %v at MAIL, %v at the message, want %v", source, at, d.Verdict, want)
		} else if d.Verdict == mail.Quarantine && (len(d.Because) != 2 || !strings.Contains(d.Because[0].Detail, "known by "+source)) {
			t.Errorf("%q: %+v", source, d.Because)
		}
	}
}

// TestRelayAction: reject where the operator says so.
func TestRelayAction(t *testing.T) {
	c := Default()
	c.Mode, c.RelayAction = "enforce", "reject"
	check, _ := New(c, nil, filters.Site{})
	e, _ := filters.New(filters.Config{Checks: []filters.Check{check}})
	tx := &mail.Transaction{Session: &mail.Session{Role: mail.Outbound}, Identity: mail.Identity{User: "ana@our.example", Source: identity.SourceReceived}}
	tx.Message = spool(t, "From: boss@our.example")
	if d := e.Message(t.Context(), tx); d.Verdict != mail.Reject || d.Reply.Code != 553 || d.Reply.Enhanced != "5.7.1" {
		t.Errorf("%+v", d)
	}
}

// TestScores: mode score refuses nothing and gives the points.
func TestScores(t *testing.T) {
	c := Default()
	c.Mode, c.DisplayName, c.EnvelopeScore, c.FromScore, c.DisplayNameScore = "score", "enforce", 1, 2, 4
	check, err := New(c, nil, filters.Site{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	tx := &mail.Transaction{Session: &mail.Session{Role: mail.Outbound}, Identity: mail.Identity{User: "ana@our.example", Source: identity.SourceAuth}}
	tx.ReversePath = mail.Path{Local: "boss", Domain: "our.example"}
	e.Mail(t.Context(), tx)
	tx.Message = spool(t, "From: \"boss@our.example\" <a@x.example>")
	if d := e.Message(t.Context(), tx); d.Verdict != mail.Continue || d.Score != 7 {
		t.Errorf("%v, %v points: %+v", d.Verdict, d.Score, d.Because)
	}
}

// TestParseFrom: what people may be shown as the sender, in all its forms.
func TestParseFrom(t *testing.T) {
	for in, want := range map[string]string{
		"a@x.example":                        "a@x.example",
		" a@x.example ":                      "a@x.example",
		"A B <a@x.example>":                  "a@x.example A B",
		`"A, B" <a@x.example>`:               "a@x.example A, B",
		`"A \" <c@y.example>" <a@x.example>`: `a@x.example A " <c@y.example>`,
		"<a@x.example>":                      "a@x.example",
		"a@x.example (Boss (the) \\) man)":   "a@x.example  Boss the ) man",
		"a@x.example, b@y.example":           "a@x.example;b@y.example",
		",a@x.example,,":                     "a@x.example",
		"Us: a@x.example, B <b@y.example>;":  "a@x.example;b@y.example B",
		"b@y.example <a@x.example>":          "b@y.example;a@x.example",
		`"a"@x.example`:                      "a@x.example",
		`"a b"@x.example`:                    `"a b"@x.example`,
		`"boss@our.example"@x.example`:       `"boss@our.example"@x.example`,
		"a @ x.example":                      "a@x.example",
		"a(c)@x.example":                     "a@x.example  c",
		"a@[192.0.2.1]":                      "a@[192.0.2.1]",
		"J. R. Doe <a@x.example>":            "a@x.example J. R. Doe",
		"=?utf-8?q?Ana?= <a@x.example>":      "a@x.example =?utf-8?q?Ana?=",
		"jos\u00e9@x.example":                "jos\u00e9@x.example",
		"M\xfcller <a@x.example>":            "a@x.example M\xfcller",
		"":                                   "?",
		"   ":                                "?",
		"a":                                  "?",
		"a b@x.example":                      "?",
		"a@x.example b":                      "a@x.example?",
		"a@x.example b@y.example":            "a@x.example?",
		"<a@x.example":                       "?",
		"a@x.example>":                       "a@x.example?",
		"<b@y.example> <a@x.example>":        "b@y.example?",
		"<@route.example:a@x.example>":       "?",
		"<>":                                 "?",
		"a@x.example (no end":                "a@x.example  no end?",
		`"no end <a@x.example>`:              "?",
		"undisclosed:;":                      "?",
		"Us: a@x.example":                    "a@x.example?",
		"a@x.example;":                       "a@x.example?",
		"a@@x.example":                       "?",
		"a@b@x.example":                      "a@b?",
		".a@x.example":                       "?",
		"a@x..example":                       "?",
		"a@x.example\x00, b@y.example":       "a@x.example?",
		"a@x.example\r\n\t,b@y.example":      "a@x.example;b@y.example",
		"=?utf-8?q?a=40x=2Eexample?=":        "?",
		"=?utf-8?q?B?= <b@y.example> <a@x.example>": "b@y.example =?utf-8?q?B?=?",
		"a\xff@x.example":  "?",
		"a@[x y]":          "?",
		"x:y:a@x.example;": "?",
		"<a@x.example>a":   "a@x.example?",
		strings.Repeat("(", 100) + strings.Repeat(")", 100) + "a@x.example": "?",
		strings.Repeat("a", maxFrom) + "@x.example":                         "?",
		strings.Repeat("a@x,", maxMailboxes+1):                              "?",
	} {
		list, ok := parseFrom(in)
		got := make([]string, 0, len(list))
		for _, m := range list {
			got = append(got, strings.TrimRight(m.address.String()+" "+m.name, " "))
		}
		text := strings.Join(got, ";")
		if !ok {
			text += "?"
		}
		if strings.HasPrefix(in, "a@x,") {
			text = strings.TrimLeft(text, "a@x;")
		}
		if text != want {
			t.Errorf("%.80q: %.200q, want %q", in, text, want)
		}
	}
}

// TestNames: addresses within names, however they are written.
func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"Ana":                                  "",
		"boss@our.example":                     "boss@our.example",
		"The Boss (boss@our.example), CEO":     "boss@our.example",
		"=?utf-8?q?boss=40our=2Eexample?=":     "boss@our.example",
		"=?utf-8?b?Ym9zc0BvdXIuZXhhbXBsZQ==?=": "boss@our.example",
		"boss＠our.example":                     "boss@our.example",
		"bo\u200bss@our.example":               "boss@our.example",
		"me @ home":                            "",
		"@twitter":                             "",
		"a@b":                                  "",
		"“boss@our.example”":                   "boss@our.example",
		"a@x.example b@y.example":              "a@x.example,b@y.example",
	} {
		var got []string
		for _, a := range addressesIn(in) {
			if s := a.String(); len(got) == 0 || got[len(got)-1] != s {
				got = append(got, s)
			}
		}
		if s := strings.Join(got, ","); s != want {
			t.Errorf("%q: %q, want %q", in, s, want)
		}
	}
	if n := len(addressesIn(strings.Repeat("a@x.example ", 1000))); n > maxInName {
		t.Errorf("%d addresses", n)
	}
}

// TestMaps: Postfix's file, users in one spelling, and every mistake with its
// file and line.
func TestMaps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sender_login")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Default()
	c.Mode, c.Files, c.Own = "enforce", []string{file}, false
	write("# who sends as whom\r\ninfo@our.example\tANA bob@our.example,\n  eva+x@our.example\nInfo@OUR.example carl\n@b\u00fccher.example bob@our.example\n\"odd name\"@our.example bob@our.example\n")
	m, errs, warnings := c.Read()
	if len(errs) != 0 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), file+":4") || !strings.Contains(warnings[0].Error(), "twice") {
		t.Fatal(errs, warnings)
	}
	names := identity.Names{Domain: "our.example"}
	want := owners{"info@our.example": {"ana@our.example", "bob@our.example", "eva@our.example"}, "@xn--bcher-kva.example": {"bob@our.example"},
		"odd name@our.example": {"bob@our.example"}}
	if got := m.owners(names); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	write("info@our.example\nnobody ana\n@ ana\n@a..b ana\ninfo@our.example a\x1bb\nx@our.example " + strings.Repeat("u ", maxUsers+1) + "\ny@our.example a@b@c\n")
	_, errs, _ = c.Read()
	text := fmt.Sprint(errs)
	for n := 1; n <= 7; n++ {
		if !strings.Contains(text, fmt.Sprintf("%s:%d: ", file, n)) {
			t.Errorf("nothing of line %d in %s", n, text)
		}
	}
	if len(errs) != 7 || strings.Contains(text, "\x1b") {
		t.Errorf("%d: %q", len(errs), text)
	}
	if _, err := New(c, nil, filters.Site{}); err == nil {
		t.Error("made with mistakes")
	}
	c.Files = []string{file + ".gone"}
	if errs := c.Validate(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "does not exist") {
		t.Error(errs)
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) != 0 {
		t.Error(errs)
	}
	c := Config{Mode: "x", Action: "x", RelayAction: "x", Envelope: "x", From: "x", DisplayName: "x", EnvelopeScore: 1e9, AnySender: []string{"a b"}, Owners: []string{"", "x", "a@x.example ana\nb@x.example bob"}}
	var keys []string
	for _, err := range c.Validate() {
		key, _, _ := strings.Cut(err.Error(), " ")
		keys = append(keys, strings.TrimSuffix(key, ":"))
	}
	if got := strings.Join(keys, " "); got != "mode action relay_action any_sender[0] envelope envelope_score from display_name owners[0] owners[1] owners[2]" {
		t.Error(got)
	}
}

// FuzzFrom: reading ends, stays within its input, and what the standard
// grammar writes of the result is read again as the same.
func FuzzFrom(f *testing.F) {
	for _, s := range []string{"a@x.example", `"A" <a@x.example>, b@y (c)`, "Us: a@x;", "=?utf-8?q?a=40b.c?= <a@x>", "a@x <b@y>", `"\"@"@[1.2.3.4]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := parseFrom(s)
		if ok && len(list) == 0 {
			t.Fatal("read, and nobody")
		}
		for _, m := range list {
			if m.domain == "" {
				t.Fatalf("%q: an address without domain", s)
			}
			addressesIn(m.name)
			if !ok || m.local == "" || strings.ContainsAny(m.local, "\r\n\x00") {
				continue
			}
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.local) + `"@` + m.domain
			again, ok := parseFrom("x <" + quoted + ">")
			if !ok || len(again) != 1 || again[0].address != m.address {
				t.Fatalf("%q: %+v is not %+v", quoted, again, m.address)
			}
		}
	})
}

// FuzzLine: a line of a map is refused, or has a key that an address finds.
func FuzzLine(f *testing.F) {
	f.Add("a@x.example", "ana, bob")
	f.Add("@x.example", "ana")
	f.Add(`"a b"@x.example`, "ANA@X.example")
	f.Fuzz(func(t *testing.T, key, value string) {
		l, bad := parseLine(key, value)
		if bad != "" {
			return
		}
		if len(l.users) == 0 || len(l.users) > maxUsers || !strings.Contains(l.key, "@") {
			t.Fatalf("%q %q: %+v", key, value, l)
		}
		o := (&Maps{lines: []line{l}}).owners(identity.Names{Domain: "x.example"})
		c := &check{owners: o}
		for _, u := range o[l.key] {
			a := address{"somebody", strings.TrimPrefix(l.key, "@")}
			if at := strings.LastIndexByte(l.key, '@'); at > 0 {
				a = address{l.key[:at], l.key[at+1:]}
			}
			if !c.may(u, a) {
				t.Fatalf("%q %q: %s may not use %+v", key, value, u, a)
			}
		}
	})
}

// BenchmarkMay: a map of 100,000 addresses costs nothing for each message.
func BenchmarkMay(b *testing.B) {
	l := &check{owners: owners{}}
	for i := range 100_000 {
		l.owners[fmt.Sprintf("u%d@our.example", i)] = []string{"ana@our.example"}
	}
	for b.Loop() {
		l.may("ana@our.example", address{"u77777", "our.example"})
	}
}
