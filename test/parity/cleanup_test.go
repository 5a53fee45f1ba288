package parity

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"garita/rules/pattern"
	"garita/rules/postfix"
	"garita/test/harness"
)

// TestPostmapMessages compares how whole messages are cut into headers and
// body lines with postmap -hmq and -bmq.
func TestPostmapMessages(t *testing.T) {
	dir := config(t)
	const table = "/./ WARN\n"
	tb, _ := postfix.Parse(table, postfix.PCRE)
	for s := uint64(seed); s < seed+uint64(pairs(t, 24000)/80); s++ {
		g := newGenerator(s)
		raw := g.message(func() string { return g.pick("a word", "tab\there", "8bit \xe9", "=", "x: y", "--b1") })
		for _, flags := range []string{"-hmq", "-bmq"} {
			theirs, _, _ := postmap(t, dir, flags, table, postfix.PCRE, []byte(raw))
			tables := postfix.Tables{Header: []*postfix.Table{tb}, Body: []*postfix.Table{}}
			if flags == "-bmq" {
				tables = postfix.Tables{Body: []*postfix.Table{tb}}
			}
			var got strings.Builder
			for _, h := range postfix.Scan([]byte(raw), tables, postfix.Options{WholeBody: true}, nil).Hits {
				fmt.Fprintf(&got, "%s\tWARN\n", h.Subject)
			}
			if got.String() != theirs {
				t.Fatalf("seed %d %s:\n%s\nours:\n%s\nPostfix:\n%s", s, flags, raw, got.String(), theirs)
			}
		}
	}
}

// TestPostmapFolded asks generated tables about the headers of messages, whose
// folded lines are joined by newlines: where ^, $, . and the flags m, s, E and
// A differ.
func TestPostmapFolded(t *testing.T) {
	for _, kind := range []postfix.Kind{postfix.PCRE, postfix.Regexp} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			dir := config(t)
			asked, told, bad := 0, 0, 0
			for s := uint64(seed); asked < pairs(t, 24000)/8; s++ {
				g := newGenerator(s)
				g.prefix = "WARN "
				table := g.table(kind, 1+g.r.IntN(8))
				var raw strings.Builder
				for range 30 {
					fmt.Fprintf(&raw, "%s:%s", g.pick("a", "X", "Subject", "Ab"), strings.ReplaceAll(g.line(), "\r", ""))
					for g.chance(60) {
						fmt.Fprintf(&raw, "\n%s%s", g.pick(" ", "\t"), strings.ReplaceAll(g.line(), "\r", ""))
					}
					raw.WriteByte('\n')
				}
				theirs, _, limited := postmap(t, dir, "-hq", table, kind, []byte(raw.String()))
				tb, problems := postfix.Parse(table, kind)
				if _, unsupported := warnedOf(problems); limited || unsupported {
					continue
				}
				asked += 30
				var got strings.Builder
				for _, h := range postfix.Scan([]byte(raw.String()), postfix.Tables{Header: []*postfix.Table{tb}}, postfix.Options{}, nil).Hits {
					fmt.Fprintf(&got, "%s\tWARN %s\n", h.Subject, h.Text)
				}
				told += strings.Count(theirs, "\tWARN ")
				if got.String() != theirs {
					if why := known(t.Name(), s); why != "" {
						t.Logf("seed %d is a deviation of docs/postfix-tables.md: %s", s, why)
						continue
					}
					t.Errorf("seed %d: %s\nours\n%q\nPostfix\n%q", s, table, got.String(), theirs)
					if bad++; bad > 3 {
						t.FailNow()
					}
				}
			}
			t.Logf("%d headers, %d answered", asked, told)
		})
	}
}

// checks is a table whose every line is told, with each action under a word.
func checks(view string) string {
	text := `/k-reject4/ REJECT 4.7.9 V later
/k-reject5/ REJECT 5.7.99 V custom $$ text
/k-rejbad/ REJECT 2.0.0 V bad
/k-rejplain/ REJECT
/k-rejtext/ reject V only 5.1.1 text
/k-discard/ DISCARD V bye
/k-pass/ PASS V
/k-redirect/ REDIRECT other@dest.test
/k-redbad/ REDIRECT V-nobody
/k-filter/ FILTER store:V
/k-filbad/ FILTER V
/k-hold/ HOLD V
/k-bcc/ BCC copy@dest.test
/k-prepend/ PREPEND X-Pre: V
/k-prebad/ PREPEND nothing V
/k-prenone/ PREPEND
/k-replace (\w*)/ REPLACE X-New: V $1
/k-repbad/ REPLACE nothing V
/k-ignore/ IGNORE V
/k-strip/ STRIP V
/k-info/ Info V
/k-dunno/ DUNNO
/k-ok/ OK V
/k-unknown/ FROBNICATE
/k-empty(z*)/ $1
/./ WARN V
`
	return strings.ReplaceAll(text, "V", view)
}

func (g *generator) action() string {
	if g.chance(55) {
		return g.pick("a word", "tab\there", "8bit \xe9\xff", "control \x01\x7f", "x: y")
	}
	if g.chance(12) {
		return "k-" + g.pick("reject4", "reject5", "rejbad", "rejplain", "rejtext", "discard", "pass", "redirect", "empty")
	}
	return "k-" + g.pick("redbad", "filter", "filbad", "hold", "bcc", "prepend", "prebad", "prenone", "replace abc", "repbad", "ignore", "strip", "info", "dunno", "ok", "unknown")
}

// long adds what only cleanup shows: long lines, large bodies, many headers.
func (g *generator) long(raw string) string {
	switch g.r.IntN(12) {
	case 0:
		n := 2040 + g.r.IntN(20)
		raw += strings.Repeat("x", n) + "k-info tail\n" + "." + strings.Repeat("y", n) + "k-info tail\n"
	case 1:
		raw += strings.Repeat("z", 2048-g.r.IntN(3)) + "\nafter\n"
	case 2:
		raw += strings.Repeat(strings.Repeat("w", 99)+"\n", 505+g.r.IntN(10)) + "k-info behind\n"
	case 3:
		raw = "X-Long: " + strings.Repeat("h", 2030+g.r.IntN(30)) + " k-info\n" + raw
	case 4:
		raw = "X-Huge: start\n" + strings.Repeat(" "+strings.Repeat("h", 999)+"\n", 103) + raw
	case 5:
		raw += ".dot\n..two\n.\x01\n"
	case 6:
		raw += "nul\x00k-info unseen\n"
	case 7:
		raw += "stray\rcr\n\rlead\ntrail\r\n"
	}
	return raw
}

// TestCleanup gives messages to a private Postfix with tables for all four
// views and compares what cleanup(8) logged of its checks, in order, and what
// the client was told.
func TestCleanup(t *testing.T) {
	tables := harness.Dir(t)
	main := map[string]string{"smtputf8_enable": "no"}
	var parsed []*postfix.Table
	for _, view := range []string{"header", "mime_header", "nested_header", "body"} {
		text := checks(strings.ToUpper(view[:1]))
		file := filepath.Join(tables, view)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		main[view+"_checks"] = "pcre:" + file
		tb, problems := postfix.Parse(text, postfix.PCRE)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		parsed = append(parsed, tb)
	}
	mx := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"dest.test"}, Main: main})
	views := postfix.Tables{Header: parsed[:1], MIMEHeader: parsed[1:2], Nested: parsed[2:3], Body: parsed[3:]}
	want := map[string][]string{}
	replies := map[string]string{}
	n := pairs(t, 24000) / 40
	bodies := map[string]string{}
	client := harness.Greeted(t, mx.Addr)
	for i := range n {
		if i%50 == 49 {
			client.Say("QUIT").Want(221)
			client = harness.Greeted(t, mx.Addr)
		}
		g := newGenerator(seed + uint64(i))
		raw := strings.ReplaceAll(g.long(g.message(g.action)), "\n", "\r\n")
		sender := fmt.Sprintf("m%d@src.test", i)
		bodies[sender] = raw
		reply := client.Send(sender, []string{"r@dest.test"}, raw)
		result := postfix.Scan([]byte(raw), views, postfix.Options{}, pattern.NewBudget(1<<40, fixedClock))
		said, lines := expected(result)
		want[sender] = lines
		if got := reply.String(); !strings.HasPrefix(got, said) {
			replies[sender] = fmt.Sprintf("ours %q, Postfix %q", said, got)
		}
	}
	// One that is surely the last in the log.
	client.Send("last@src.test", []string{"r@dest.test"}, "Subject: x\r\n\r\n")
	mx.WaitLog(t, "from=<last@src.test> to=<r@dest.test>")
	got := logged(mx.Log())
	told, bad := 0, 0
	for i := range n {
		sender := fmt.Sprintf("m%d@src.test", i)
		told += len(want[sender])
		if !slices.Equal(got[sender], want[sender]) || replies[sender] != "" {
			t.Errorf("seed %d: %s\n%.3000q\n%s", seed+i, replies[sender], bodies[sender], firstDiff(want[sender], got[sender]))
			if bad++; bad > 4 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d messages, %d lines of the log", n, told)
}

// expected is what Postfix logs and answers for a result.
func expected(r postfix.Result) (reply string, lines []string) {
	reply = "250 "
	for _, h := range r.Hits {
		text := h.Text
		switch h.Action {
		case postfix.Reject:
			text = h.Code + " " + h.Text
			reply = fmt.Sprintf("%d %s", h.Reply, text)
		case postfix.Broken:
			reply = fmt.Sprintf("%d %s", h.Reply, h.Code)
			continue
		case postfix.None, postfix.Ignore:
			continue
		}
		context := "header"
		if h.View == postfix.Body {
			context = "body"
		}
		s := h.Action.String() + ": " + context + " " + printable(h.Subject[:min(len(h.Subject), 200)])
		if text != "" {
			s += " | " + printable([]byte(text))
		}
		lines = append(lines, s)
	}
	return reply, lines
}

func printable(text []byte) string {
	return string(bytes.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, latin1(text)))
}

func latin1(text []byte) []byte {
	out := bytes.Clone(text)
	for i, c := range out {
		if c >= 0x80 {
			out[i] = '?'
		}
	}
	return out
}

var cleanupLine = regexp.MustCompile(`cleanup\[\d+\]: [0-9A-F]+: (\w+: (?:header|body) .*) from unknown\[127\.0\.0\.1\]; from=<([^>]*)> to=<[^>]*> proto=\w+ helo=<[^>]*>(?:: (.*))?$`)

// logged is what cleanup logged of its checks, by sender, without Postfix's
// own Received header.
func logged(log string) map[string][]string {
	out := map[string][]string{}
	for _, line := range strings.Split(log, "\n") {
		m := cleanupLine.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[1], "warning: header Received: from ") {
			continue
		}
		s := m[1]
		if m[3] != "" {
			s += " | " + m[3]
		}
		out[m[2]] = append(out[m[2]], s)
	}
	return out
}

func firstDiff(ours, theirs []string) string {
	for i := range max(len(ours), len(theirs)) {
		a, b := "(none)", "(none)"
		if i < len(ours) {
			a = ours[i]
		}
		if i < len(theirs) {
			b = theirs[i]
		}
		if a != b {
			return fmt.Sprintf("line %d:\nours    %q\nPostfix %q", i, a, b)
		}
	}
	return "the log is the same"
}

// TestEffects compares what PREPEND, REPLACE, IGNORE and STRIP leave of a
// message: one Postfix delivers the message with its checks, and the message
// as we edit it without checks.
func TestEffects(t *testing.T) {
	dir := harness.Dir(t)
	file := filepath.Join(dir, "checks")
	const text = "/k-prepend/ PREPEND X-Pre: 1\n/k-replace (\\w*)/ REPLACE X-New: $1\n/k-repbad/ REPLACE nothing\n/k-ignore/ IGNORE\n/k-strip/ STRIP x\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tb, problems := postfix.Parse(text, postfix.PCRE)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	plain := harness.Addr(t)
	mx := harness.StartPostfix(t, harness.PostfixOptions{
		Domains: []string{"dest.test"},
		Main:    map[string]string{"smtputf8_enable": "no", "header_checks": "pcre:" + file, "body_checks": "pcre:" + file},
		Services: []string{
			plain + " inet n - n - - smtpd -o cleanup_service_name=plain",
			"plain unix n - n - 0 cleanup -o header_checks= -o body_checks=",
		},
	})
	harness.WaitPort(t, plain)
	type pair struct{ checked, edited string }
	sent := map[uint64]pair{}
	n := uint64(min(pairs(t, 24000)/200, 500))
	checked, edited := harness.Greeted(t, mx.Addr), harness.Greeted(t, plain)
	tables := postfix.Tables{Header: []*postfix.Table{tb}, Body: []*postfix.Table{tb}}
	changes := 0
	for i := range n {
		if i%50 == 49 {
			checked.Say("QUIT").Want(221)
			edited.Say("QUIT").Want(221)
			checked, edited = harness.Greeted(t, mx.Addr), harness.Greeted(t, plain)
		}
		g := newGenerator(seed + i)
		word := func() string {
			return g.pick("a word", "x", "k-prepend", "k-replace abc", "k-repbad", "k-ignore", "k-strip")
		}
		raw := strings.ReplaceAll(g.long(g.message(word)), "\n", "\r\n")
		result := postfix.Scan([]byte(raw), tables, postfix.Options{}, nil)
		changes += len(result.Hits)
		sent[i] = pair{
			queued(t, checked.Send("a@src.test", []string{"r@dest.test"}, raw)),
			queued(t, edited.Send("a@src.test", []string{"r@dest.test"}, string(postfix.Edit([]byte(raw), result)))),
		}
	}
	all := mx.WaitDelivered(t, int(2*n))
	bad := 0
	for i := range n {
		a, _ := harness.WithoutTrace(all[sent[i].checked])
		b, _ := harness.WithoutTrace(all[sent[i].edited])
		if a != b || a == "" {
			t.Errorf("seed %d: Postfix %.2000q\nours %.2000q", seed+i, a, b)
			if bad++; bad > 3 {
				t.FailNow()
			}
		}
	}
	t.Logf("%d messages, %d hits", n, changes)
}

var queuedAs = regexp.MustCompile(`queued as (\w+)`)

func queued(t *testing.T, r harness.Reply) string {
	t.Helper()
	m := queuedAs.FindStringSubmatch(r.Text())
	if m == nil {
		t.Fatal(r)
	}
	return m[1]
}
