package filters

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"garita/mail"
	"garita/message"
)

func same(a, b []message.Edit) bool {
	return slices.EqualFunc(a, b, func(x, y message.Edit) bool {
		return x.At == y.At && x.Delete == y.Delete && string(x.Insert) == string(y.Insert)
	})
}

// edits is a check that wants to change header and body.
func edits(header, body []message.Edit) Check {
	return Check{Impl: fake{msg: onMessage(Result{Edits: header, Rewrite: body}, nil)}}
}

func named(checks ...Check) []Check {
	for i := range checks {
		checks[i].Name = string(rune('a' + i))
	}
	return checks
}

func told(d mail.Decision, tx *mail.Transaction, symbol string) bool {
	is := func(f mail.Finding) bool { return f.Symbol == symbol }
	return slices.ContainsFunc(d.Because, is) && slices.ContainsFunc(tx.Findings, is)
}

// TestEditsCollide: of two edits that want the same octets the first is made,
// by the order of checks; the message can be rendered, and the log is told.
// The message of these tests is "Subject: x\r\n\r\nbody\r\n".
func TestEditsCollide(t *testing.T) {
	type list = []message.Edit
	tag := cut(0, 12, "Subject: [A] x\r\n")
	for title, c := range map[string]struct {
		checks       []Check
		header, body list
		leftOut      bool
	}{
		"apart":              {[]Check{edits(list{cut(12, 0, "B: b\r\n"), cut(0, 0, "A: a\r\n")}, nil)}, list{cut(0, 0, "A: a\r\n"), cut(12, 0, "B: b\r\n")}, nil, false},
		"two of one field":   {[]Check{edits(list{tag}, nil), edits(list{cut(0, 12, "Subject: [B] x\r\n")}, nil)}, list{tag}, nil, true},
		"two of one check":   {[]Check{edits(list{tag, cut(0, 12, "")}, nil)}, list{tag}, nil, true},
		"the same twice":     {[]Check{edits(list{tag}, nil), edits(list{tag}, nil)}, list{tag}, nil, false},
		"before and instead": {[]Check{edits(list{tag}, nil), edits(list{cut(0, 0, "A: a\r\n")}, nil)}, list{cut(0, 0, "A: a\r\n"), tag}, nil, false},
		"the first is later": {[]Check{edits(list{cut(4, 2, "z")}, nil), edits(list{cut(0, 12, "")}, nil)}, list{cut(4, 2, "z")}, nil, true},
		"inside":             {[]Check{edits(list{tag}, nil), edits(list{cut(3, 0, "z")}, nil)}, list{tag}, nil, true},
		"outside":            {[]Check{edits(list{cut(0, 1000, ""), cut(-1, 0, ""), cut(30, 0, ""), tag}, nil)}, list{tag}, nil, true},
		"a bare LF":          {[]Check{edits(list{cut(0, 0, "A: a\n"), tag}, nil)}, list{tag}, nil, true},
		"insertions keep their order": {[]Check{edits(list{cut(0, 0, "2: \r\n"), cut(0, 0, "1: \r\n")}, nil), edits(list{cut(0, 0, "0: \r\n")}, nil)},
			list{cut(0, 0, "2: \r\n"), cut(0, 0, "1: \r\n"), cut(0, 0, "0: \r\n")}, nil, false},
		"a header edit in the body": {[]Check{edits(list{tag, cut(14, 4, "text")}, nil)}, list{tag}, list{cut(14, 4, "text")}, false},
		"the empty line":            {[]Check{edits(list{cut(12, 2, "")}, nil)}, nil, list{cut(12, 2, "")}, false},
		"a body edit in the header": {[]Check{edits(nil, list{tag})}, list{tag}, nil, false},
		"on both sides":             {[]Check{edits(list{cut(5, 12, "")}, list{cut(14, 4, "text")})}, nil, list{cut(14, 4, "text")}, true},
		"body lines": {[]Check{edits(nil, list{cut(14, 0, "first\r\n"), cut(14, 6, "text\r\n")}), edits(nil, list{cut(14, 6, "")})}, nil,
			list{cut(14, 0, "first\r\n"), cut(14, 6, "text\r\n")}, true},
	} {
		d, tx, _ := disarmed(t, Config{Checks: named(c.checks...)})
		if d.Verdict != mail.Continue || !same(d.Edits, c.header) || !same(d.Rewrite, c.body) || told(d, tx, SymbolLeftOut) != c.leftOut {
			t.Errorf("%s: %v header %v body %v %+v", title, d.Verdict, d.Edits, d.Rewrite, tx.Findings)
		}
		if _, err := tx.Message.Render(slices.Concat(d.Edits, d.Rewrite)); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	// The tag of a score goes in front of what checks change.
	score := Check{Impl: fake{msg: onMessage(find("s.x", mail.Continue, 7), nil)}}
	if d, tx, _ := disarmed(t, Config{Checks: named(edits(list{tag}, nil), score), Thresholds: DefaultThresholds()}); len(d.Edits) != 2 || d.Edits[1].Delete != 12 {
		t.Errorf("%v", d.Edits)
	} else if _, err := tx.Message.Render(d.Edits); err != nil {
		t.Error(err)
	}
}

// TestEditsAlwaysFit is the property: whatever checks ask for can be rendered.
func TestEditsAlwaysFit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 3000 {
		var checks []Check
		for range 1 + r.IntN(3) {
			var lists [2][]message.Edit
			for i := range lists {
				for range r.IntN(6) {
					lists[i] = append(lists[i], cut(int64(r.IntN(24)-1), int64(r.IntN(8)), []string{"", "A: b\r\n", "x", "\n", "\r\nq\r\n"}[r.IntN(5)]))
				}
			}
			checks = append(checks, edits(lists[0], lists[1]))
		}
		d, tx, _ := disarmed(t, Config{Checks: named(checks...)})
		m, err := tx.Message.Render(slices.Concat(d.Edits, d.Rewrite))
		if err != nil {
			t.Fatalf("%v: %v %v", err, d.Edits, d.Rewrite)
		}
		if _, err := io.ReadAll(m); err != nil {
			t.Fatal(err)
		}
		end := tx.Message.HeaderEnd()
		for _, e := range d.Edits {
			if e.At+e.Delete > end {
				t.Fatalf("%+v is no edit of the header", e)
			}
		}
		for _, e := range d.Rewrite {
			if e.At < end {
				t.Fatalf("%+v is no edit of the body", e)
			}
		}
	}
}

// TestRewriteWithDisarm: both are made together; where they want the same
// octets the message is held, and a stronger verdict stands.
func TestRewriteWithDisarm(t *testing.T) {
	for title, c := range map[string]struct {
		disarm, rewrite message.Edit
		held            bool
	}{
		"apart":               {cut(14, 2, "A"), cut(16, 2, "B"), false},
		"apart, other order":  {cut(16, 2, "A"), cut(14, 2, "B"), false},
		"before what goes":    {cut(14, 4, ""), cut(14, 0, "B\r\n"), false},
		"before what changes": {cut(14, 4, "A"), cut(14, 0, "B\r\n"), true},
		"the same":            {cut(14, 2, "A"), cut(14, 2, "A"), true},
		"overlap":             {cut(14, 4, "A"), cut(16, 4, "B"), true},
		"inside":              {cut(14, 6, "A"), cut(15, 1, ""), true},
		"inside, other way":   {cut(15, 1, ""), cut(14, 6, "B\r\n"), true},
		"two notes":           {cut(14, 0, "A\r\n"), cut(14, 0, "B\r\n"), true},
	} {
		one := Check{Impl: fake{msg: onMessage(Result{Disarm: []message.Edit{c.disarm}, Rewrite: []message.Edit{c.rewrite}}, nil)}}
		d, tx, _ := disarmed(t, Config{Checks: named(one)})
		if (d.Verdict == mail.Quarantine) != c.held || told(d, tx, SymbolConflict) != c.held {
			t.Errorf("%s: %v %+v", title, d.Verdict, d.Because)
		}
		if !c.held && (len(d.Disarm) != 1 || len(d.Rewrite) != 1) {
			t.Errorf("%s: %+v", title, d)
		}
	}
}

// TestRewriteModes: only enforce rewrites, of the check and of all, and at the
// second look nobody does.
func TestRewriteModes(t *testing.T) {
	for _, m := range []mail.Mode{mail.Enforce, mail.Score, mail.Observe, mail.Off} {
		one := edits(nil, []message.Edit{cut(14, 2, "A")})
		one.Mode = m
		if d, _, _ := disarmed(t, Config{Checks: named(one)}); (len(d.Rewrite) == 1) != (m == mail.Enforce) {
			t.Errorf("check %v: %+v", m, d)
		}
		one.Mode = mail.Enforce
		if d, _, _ := disarmed(t, Config{Checks: named(one), Mode: func() mail.Mode { return m }}); (len(d.Rewrite) == 1) != (m == mail.Enforce) {
			t.Errorf("all %v: %+v", m, d)
		}
	}
	var looks []bool
	table := Check{Impl: fake{msg: func(_ context.Context, tx *mail.Transaction) (Result, error) {
		looks = append(looks, tx.Rewritten)
		return Result{Rewrite: []message.Edit{cut(14, 2, "A"), cut(14, 3, "B")}, Edits: []message.Edit{cut(3, 1, "x"), cut(3, 2, "y")}}, nil
	}}}
	for _, io := range []bool{false, true} {
		looks, table.IO = nil, io
		_, tx, e := disarmed(t, Config{Checks: named(table)})
		n := len(tx.Findings)
		again := e.Again(t.Context(), tx, letterOf(t, "A: b\r\n\r\nx\r\n"))
		if len(again.Rewrite)+len(again.Edits)+len(again.Because) != 0 || tx.Rewritten || len(tx.Findings) != n || !slices.Equal(looks, []bool{false, true}) {
			t.Errorf("%+v %v", again, looks)
		}
	}
}

// TestEnvelopeModes: what a rule asks of the envelope counts in enforce alone.
func TestEnvelopeModes(t *testing.T) {
	for _, m := range []mail.Mode{mail.Enforce, mail.Score, mail.Observe} {
		one := Check{Mode: m, Impl: fake{msg: onMessage(Result{Envelope: []mail.EnvelopeEdit{{Kind: mail.EditRoute, Hop: "x"}}}, nil)}}
		if d, _, _ := disarmed(t, Config{Checks: named(one)}); (len(d.Envelope) == 1) != (m == mail.Enforce) {
			t.Errorf("%v: %+v", m, d)
		}
	}
}

// BenchmarkSettle is a table that takes out every line of a long body, twice.
func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		var all []message.Edit
		for range 2 {
			for i := range n {
				all = append(all, message.Edit{At: int64(i * 80), Delete: 80})
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out, left := settle(all); len(out) != n || left != 0 {
					b.Fatal(len(out), left)
				}
			}
		})
	}
}
