package document

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"garita/filetype"
)

// hostile are inputs that make a careless reader slow or large. n is the size.
func hostile(n int) map[string][]byte {
	repeat := func(head, s string) []byte { return []byte(head + strings.Repeat(s, n/len(s))) }
	root := makeCompound(node{name: "a", data: []byte("x")})
	m := min(n, 5<<20) // what a compound file without DIFAT sectors holds
	return map[string][]byte{
		"pdf names":       repeat("%PDF-1.7\n1 0 obj <<", "/JS"),
		"pdf strings":     repeat("%PDF-1.7\n1 0 obj <<", "/JS("),
		"pdf open":        repeat("%PDF-1.7\n1 0 obj <<", "/S/Launch"),
		"pdf actions":     repeat("%PDF-1.7\n", "/OpenAction<<"),
		"pdf objects":     repeat("%PDF-1.7\n", "1 0 obj\n"),
		"pdf streams":     repeat("%PDF-1.7\n", "1 0 obj<</ObjStm>>stream\n"),
		"pdf hex streams": repeat("%PDF-1.7\n", "1 0 obj<</ObjStm/Filter/AHx>>stream\n"),
		"pdf flate":       repeat("%PDF-1.7\n", "1 0 obj<</ObjStm/Filter/Fl>>stream\nx\x9c"),
		"pdf files":       repeat("%PDF-1.7\n", "/EF<</F 1 0 R>>"),
		"pdf embedded":    repeat("%PDF-1.7\n", "1 0 obj<</EmbeddedFile>>stream\n"),
		"pdf comments":    repeat("%PDF-1.7\n1 0 obj", "%(/A"),
		"rtf groups":      repeat("{\\rt", "{"),
		"rtf objects":     repeat("{\\rtf1", "{\\objdata 01"),
		"rtf objdata":     repeat("{\\rtf1{\\objdata ", "{\\*\\a 41}"),
		"rtf fields":      repeat("{\\rtf1", "{\\fldinst DDE"),
		"rtf bin":         repeat("{\\rtf1", "\\bin9 \\objdata"),
		"rtf texts":       repeat("{\\rtf1", "{\\fldinst x}{\\template x}"),
		"html tags":       repeat("<html>", "<a"),
		"html depth":      repeat("<html>", "<div>"),
		"html attributes": repeat("<html><a ", "onx=1 "),
		"html noscript":   repeat("<html>", "<noscript>"),
		"html svg":        repeat("<svg>", "<style><svg>"),
		"html comments":   repeat("<html>", "<!--[if"),
		"html quotes":     repeat("<html>", "<a href=\""),
		"html script":     repeat("<html><script>", "\\x61"),
		"html data":       repeat("<html><script>", "AAAA"),
		"html NUL":        repeat("<html>", "<\x00a\x00>"),
		"html srcdoc":     repeat("<html>", "<iframe srcdoc=&lt;"),
		"xml tags":        repeat("<?xml version=\"1.0\"?>", "<Relationship a='"),
		"xml fields":      repeat("<?xml version=\"1.0\"?>", "<fldChar fldCharType='begin'/><instrText>"),
		"xml binData":     repeat("<?xml version=\"1.0\"?>", "<binData>AAAA"),
		"mhtml":           repeat("MIME-Version: 1.0\ntext/html\n", "\n--\n\n<a"),
		"utf-7":           repeat("<meta utf-7>", "+ADw"),
		"onenote":         repeat(oneNoteSignature, oneNoteFile+strings.Repeat("\xff", 20)),
		"onenote names":   repeat(oneNoteSignature, "\x08\x00\x00\x00a\x00.\x00"),
		"zip headers":     repeat("", "PK\x03\x04\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00a"),
		"zip directory":   repeat("PK\x03\x04", "PK\x01\x02"+strings.Repeat("\x00", 42)),
		"ole zero":        append(bytes.Clone(root), make([]byte, n)...),
		"ole fields":      makeCompound(word(0, strings.Repeat("\x13DDE ", m/10))),
		"ole storages":    deepCompound(m),
		"ole records":     makeCompound(node{name: "Workbook", data: make([]byte, m/2)}),
		"ole templates":   makeCompound(node{name: "1Table", data: bytes.Repeat(wide("http"), m/20)}),
		"vba modules":     makeCompound(node{name: "VBA", in: []node{{name: "dir"}, {name: "m", data: bytes.Repeat([]byte("\x01\xff\xbf\x00Attribut"), m/30)}}}),
	}
}

// deepCompound is a compound file whose entries are storages inside storages.
func deepCompound(n int) []byte {
	list := []node{{name: "VBA", in: []node{{name: "_VBA_PROJECT", data: []byte("x")}}}}
	for range min(n/256, 20000) {
		list = []node{{name: "s", in: list}}
	}
	return makeCompound(list...)
}

// Hostile input ends, within the bounds, and is never silent where a bound was
// passed.
func TestHostile(t *testing.T) {
	for name, data := range hostile(1 << 20) {
		t.Run(name, func(t *testing.T) {
			got := inspect(data)
			if len(got) > maxTraits+maxEmbedded+len(IDs()) {
				t.Errorf("%d traits", len(got))
			}
			for _, tr := range got {
				if len(tr.Text) > 3*maxText || len(tr.Where) > 3*maxText || Meaning(tr.ID) == "" {
					t.Errorf("%s: %d octets of text", tr.ID, len(tr.Text))
				}
				if tr.ID == Damaged && strings.Contains(tr.Text, "reader failed") {
					t.Error(tr.Text)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	bomb := makeWord("word/big.xml", "<?xml version=\"1.0\"?><a>"+strings.Repeat(" ", 8<<20), "word/vbaProject.bin", string(makeCompound(vbaStorage("", autoSource).in...)))
	got := Inspect(context.Background(), filetype.Type{}, bomb, Limits{Bytes: 1 << 20, Streams: 100})
	if !has(got, Unfinished) || !has(got, Macro) {
		t.Errorf("bytes: %v", ids(got))
	}
	got = Inspect(context.Background(), filetype.Type{}, bomb, Limits{Bytes: 64 << 20, Streams: 2})
	if !has(got, Unfinished) {
		t.Errorf("streams: %v", ids(got))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := Inspect(ctx, filetype.Type{}, bomb, DefaultLimits()); !has(got, Unfinished) {
		t.Errorf("time: %v", ids(got))
	}
	var parts []string
	for i := range 300 {
		parts = append(parts, fmt.Sprintf("word/embeddings/%d.docx", i), "PK\x03\x04x")
	}
	got = inspect(makeWord(parts...))
	if !has(got, Unfinished) || len(got) > maxEmbedded+8 {
		t.Errorf("files: %d", len(got))
	}
	deep := []byte("x")
	for range 8 {
		deep = makeCompound(node{name: "PowerPoint Document", data: []byte(pptRecord(0x10, 0x1011, "\x00\x00\x00\x00"+deflated(string(deep))))})
	}
	if got := inspect(deep); !has(got, Unfinished) {
		t.Errorf("depth: %v", ids(got))
	}
	// A reader that fails is a trait of the document.
	in := &inspector{ctx: context.Background(), seen: map[string]bool{}}
	in.guard("x", func() { panic("made") })
	if !has(in.traits, Damaged) {
		t.Error("panic")
	}
}

// Many different texts of one trait do not keep out the first of another.
func TestTraitsNotCrowdedOut(t *testing.T) {
	var rels []string
	for i := range 2000 {
		rels = append(rels, relation("oleObject", fmt.Sprintf("https://h.example/%d", i), "External"))
	}
	got := inspect(makeWord("word/_rels/document.xml.rels", relations(rels...), "word/vbaProject.bin", string(makeCompound(vbaStorage("", autoSource).in...))))
	if !has(got, AutoMacro) || !has(got, ExternalLink) || len(got) > maxTraits+len(IDs()) {
		t.Errorf("%d traits: %v", len(got), ids(got))
	}
}

func BenchmarkInspect(b *testing.B) {
	body := strings.Repeat("<w:p><w:r><w:t>Some ordinary text of a letter.</w:t></w:r></w:p>", 20000)
	list := []struct {
		name string
		data []byte
	}{
		{"docx", makeWord("word/document2.xml", `<?xml version="1.0"?><w:document>`+body)},
		{"doc", makeCompound(word(0, strings.Repeat("text ", 200000)), vbaStorage("Macros", autoSource))},
		{"pdf", makePDF("<< /Type /Catalog >>", pdfStream("/Filter /FlateDecode", strings.Repeat("\x9c\x01noise of a picture", 50000)))},
		{"rtf", []byte(`{\rtf1 ` + strings.Repeat(`\par Some {\b ordinary} text of a letter. `, 25000) + "}")},
		{"html", []byte(`<html><body>` + strings.Repeat(`<p class="x">Some <b>ordinary</b> text of a letter.</p>`, 20000))},
	}
	for _, l := range list {
		b.Run(l.name, func(b *testing.B) {
			b.SetBytes(int64(len(l.data)))
			b.ReportAllocs()
			for b.Loop() {
				inspect(l.data)
			}
		})
	}
}

// BenchmarkHostile is the worst of each kind at 25 MB.
func BenchmarkHostile(b *testing.B) {
	for name, data := range hostile(25 << 20) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				inspect(data)
			}
		})
	}
}
