package mime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"garita/filetype"
	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
	"garita/message"
)

func TestMIME(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		check, err := New(filtertest.With(t, Default(), config))
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

func TestValidate(t *testing.T) {
	lines := []string{"mode loud"}
	for _, r := range Default().rules() {
		lines = append(lines, r.key+" loud", r.key+"_score 1000", r.key+"_score NaN", "out."+r.key+" loud")
	}
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c); return err }, lines...)
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolAmbiguous, SymbolAmbiguousRisky, SymbolPartial, SymbolExternalBody, SymbolEncoding, SymbolLimit, SymbolOdd)
}

// index makes an index of two parts with such defects in the second.
func index(p message.Part, ds ...message.Defect) *message.Index {
	root := &message.Part{}
	p.Number, p.Parent = "1", root
	x := &message.Index{Parts: []*message.Part{root, &p}}
	for _, d := range ds {
		d.Part = &p
		x.Defects = append(x.Defects, d)
	}
	return x
}

func TestKinds(t *testing.T) {
	withName := message.Part{Names: []message.Name{{Text: "notes", From: "name"}}}
	attached := message.Part{Attachment: true}
	for _, c := range []struct {
		title string
		index *message.Index
		lines []string
		want  string
	}{
		{"clean", index(message.Part{}), nil, ""},
		{"odd", index(message.Part{}, message.Defect{ID: "a", Grade: message.Odd}), nil, "mime.odd continue observe"},
		{"ambiguous", index(message.Part{}, message.Defect{ID: "a", Grade: message.Ambiguous}), nil, "mime.ambiguous continue enforce"},
		{"two kinds", index(message.Part{}, message.Defect{ID: "a", Grade: message.Ambiguous}, message.Defect{ID: "b", Grade: message.Odd}), nil,
			"mime.odd continue observe, mime.ambiguous continue enforce"},
		{"partial", index(message.Part{}, message.Defect{ID: "message-partial", Grade: message.Opaque}), nil, "mime.partial reject enforce"},
		{"external", index(message.Part{}, message.Defect{ID: "external-body", Grade: message.Opaque}), nil, "mime.external_body quarantine enforce"},
		{"encoding", index(message.Part{}, message.Defect{ID: "unknown-encoding", Grade: message.Opaque}), nil, "mime.encoding continue enforce"},
		{"encoding of a named part", index(withName, message.Defect{ID: "unknown-encoding", Grade: message.Opaque}), nil,
			"mime.encoding quarantine enforce, mime.ambiguous_risky quarantine enforce"},
		{"encoding of an attachment", index(attached, message.Defect{ID: "unknown-encoding", Grade: message.Opaque}), []string{"ambiguous_risky off"},
			"mime.encoding quarantine enforce"},
		{"over a bound", index(message.Part{}, message.Defect{ID: "too-deep", Grade: message.Unfinished}), nil, "mime.limit quarantine enforce"},
		{"a grade from the future", index(message.Part{}, message.Defect{ID: "worse", Grade: message.Unfinished + 1}), nil, "mime.limit quarantine enforce"},
		{"all off", index(message.Part{}, message.Defect{ID: "a", Grade: message.Ambiguous}), []string{"ambiguous off"}, ""},
		{"reject", index(message.Part{}, message.Defect{ID: "a", Grade: message.Ambiguous}), []string{"ambiguous reject"}, "mime.ambiguous reject enforce"},
	} {
		t.Run(c.title, func(t *testing.T) {
			rules := filtertest.With(t, Default(), c.lines).rules()
			res, _ := assess(c.index, &rules)
			var got []string
			for _, f := range res.Findings {
				got = append(got, f.Symbol+" "+f.Verdict.String()+" "+f.Mode.String())
				if f.Verdict == mail.Reject && (f.Reply == nil || !f.Reply.Permanent()) {
					t.Errorf("%s has the reply %v", f.Symbol, f.Reply)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("found %q, want %q", s, c.want)
			}
		})
	}
}

// TestWorst: messages that have defects of several kinds.
func TestWorst(t *testing.T) {
	var deep strings.Builder
	for i := range 60 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for _, c := range []struct{ title, text, want string }{
		{"E-70 too deep", deep.String() + "Content-Type: text/plain\r\n\r\nhello\r\n", SymbolLimit},
		{"external body", "Content-Type: message/external-body; access-type=URL; URL=\"http://a.example/x\"\r\n\r\nContent-Type: text/plain\r\n\r\n", SymbolExternalBody},
	} {
		check, err := New(Default())
		if err != nil {
			t.Fatal(err)
		}
		m, err := message.Spool(t.Context(), strings.NewReader("From: a@sender.example\r\nMIME-Version: 1.0\r\n"+c.text), message.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		res, err := check.Impl.(filters.MessageChecker).CheckMessage(t.Context(), &mail.Transaction{Session: &mail.Session{}, Message: m})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(res.Findings, func(f mail.Finding) bool { return f.Symbol == c.want && f.Verdict == mail.Quarantine }) {
			t.Errorf("%s: %v", c.title, res.Findings)
		}
		// The tag names what was found, in front of all other fields.
		if len(res.Edits) != 1 || !strings.HasPrefix(string(res.Edits[0].Insert), "X-Garita-Mime: ") {
			t.Errorf("%s: %v", c.title, res.Edits)
		}
	}
}

// TestNoIndex: a fault of ours is an error, which the engine makes a 451 of.
func TestNoIndex(t *testing.T) {
	check, err := New(Default())
	if err != nil {
		t.Fatal(err)
	}
	room := message.NewRoom(4096)
	spool := func() *message.Message {
		m, err := message.Spool(t.Context(), strings.NewReader("A: b\r\n\r\n"+strings.Repeat("hello\r\n", 1000)), message.Limits{Index: message.IndexOptions{Limits: message.DefaultIndexLimits(), Room: room}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		return m
	}
	if _, err := spool().Index(t.Context()); err != nil { // takes all the room
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	d := e.Message(ctx, &mail.Transaction{Session: &mail.Session{}, Message: spool()})
	if d.Verdict != mail.Defer || len(d.Because) != 1 || d.Because[0].Symbol != "mime.error" {
		t.Errorf("%v %v", d.Verdict, d.Because)
	}
}

// TestOut: outbound mail has its own actions, and where it has none those of
// inbound mail.
func TestOut(t *testing.T) {
	check, err := New(filtertest.With(t, Default(), []string{"out.ambiguous reject"}))
	if err != nil {
		t.Fatal(err)
	}
	j := check.Impl.(*judge)
	if j.in[ambiguous].action != "score" || j.out[ambiguous].action != "reject" || j.out[risky].action != "hold" {
		t.Errorf("in %v out %v", j.in[ambiguous], j.out[ambiguous])
	}
	if check.Class != filters.Policy || check.OnError != filters.DeferOnError || check.IO {
		t.Errorf("%+v", check)
	}
}

func TestDangerous(t *testing.T) {
	for _, c := range []struct {
		t      filetype.Type
		byName bool
		want   bool
	}{
		{filetype.Type{Name: "pe", Class: filetype.Executable}, false, true},
		{filetype.Type{Name: "js", Class: filetype.Script}, true, true},
		{filetype.Type{Name: "lnk", Class: filetype.Shortcut}, true, true},
		{filetype.Type{Name: "zip", Class: filetype.Archive}, false, true},
		{filetype.Type{Name: "iso", Class: filetype.DiskImage}, false, true},
		{filetype.Type{Name: "docm", Class: filetype.Office}, true, true},
		{filetype.Type{Name: "doc", Class: filetype.Office}, true, true},
		{filetype.Type{Name: "ole", Class: filetype.Office}, false, true},
		{filetype.Type{Name: "docx", Class: filetype.Office}, true, false},
		{filetype.Type{Name: "ooxml", Class: filetype.Office}, false, false},
		{filetype.Type{Name: "ooxml", Class: filetype.Office}, true, true},
		{filetype.Type{Name: "png", Class: filetype.Picture}, false, false},
		{filetype.Type{Name: "html", Class: filetype.Markup}, false, false},
		{filetype.Type{}, true, false},
	} {
		if got := dangerous(c.t, c.byName) != ""; got != c.want {
			t.Errorf("%v by name %v: %v", c.t, c.byName, got)
		}
	}
}

// TestDetail: the text is bounded and harmless, whatever stands in the message.
func TestDetail(t *testing.T) {
	var ds []message.Defect
	for i := range 500 {
		ds = append(ds, message.Defect{ID: "id-" + strings.Repeat("x", i%20), Grade: message.Ambiguous, Text: "\r\nEvil: \x1b[31m\u202e" + strings.Repeat("A", 5000)})
	}
	rules := Default().rules()
	res, tagged := assess(index(message.Part{}, ds...), &rules)
	if len(res.Findings) != 1 {
		t.Fatalf("%v", res.Findings)
	}
	d := res.Findings[0].Detail
	if len(d) > 4096 || strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%d octets: %q", len(d), d)
	}
	if !strings.Contains(d, "id-") || !strings.Contains(d, "in part 1 at 0") || !strings.Contains(d, "and 12 more") {
		t.Errorf("%q", d)
	}
	field := string(tagField(tagged))
	if len(field) > 998 || strings.Count(field, "\r\n") != 1 || !strings.HasPrefix(field, "X-Garita-Mime: id-") || strings.Contains(field, "Evil") {
		t.Errorf("%q", field)
	}
}

func FuzzMIME(f *testing.F) {
	f.Add([]byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=A; boundary=B\r\n\r\n--B\r\nContent-Type: x/y; name=\"a\x1b.exe\"\r\n\r\nMZ\r\n--B--\r\n"))
	f.Add([]byte("Content-Type: message/partial; id=x; number=1; total=2\r\n\r\nx\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: \xff\x00x\r\n\r\nx\r\n"))
	rules := Default().rules()
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := message.ReadIndex(raw, message.DefaultIndexLimits())
		res, tagged := assess(x, &rules)
		if x.Has(message.Ambiguous) && len(res.Findings) == 0 {
			t.Fatalf("defects %v and no finding", x.Defects)
		}
		for _, f := range res.Findings {
			if len(f.Detail) > 8192 || strings.ContainsFunc(f.Detail+f.Where, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("detail %q", f.Detail)
			}
		}
		if s := string(tagField(tagged)); len(s) > 998 || strings.ContainsFunc(strings.TrimSuffix(s, "\r\n"), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("field %q", s)
		}
	})
}

// BenchmarkClean is the price for mail without defects, the index being made.
func BenchmarkClean(b *testing.B) {
	check, err := New(Default())
	if err != nil {
		b.Fatal(err)
	}
	m, err := message.Spool(b.Context(), strings.NewReader("Subject: a\r\n\r\nbody\r\n"), message.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Release()
	tx := &mail.Transaction{Session: &mail.Session{}, Message: m}
	impl := check.Impl.(filters.MessageChecker)
	b.ReportAllocs()
	for b.Loop() {
		if r, err := impl.CheckMessage(b.Context(), tx); err != nil || len(r.Findings) > 0 {
			b.Fatal(r, err)
		}
	}
}
