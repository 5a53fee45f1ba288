package document

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"garita/filetype"
)

// judge asks what must hold for any octets: no reader fails, every trait has a
// meaning, texts are bounded, and the answer is the same twice.
func judge(t *testing.T, kind filetype.Type, data []byte) {
	l := Limits{Bytes: 4 << 20, Streams: 200}
	before := bytes.Clone(data)
	got := Inspect(context.Background(), kind, data, l)
	if !bytes.Equal(before, data) {
		t.Fatal("the document was changed")
	}
	for _, tr := range got {
		if Meaning(tr.ID) == "" {
			t.Errorf("%q has no meaning", tr.ID)
		}
		if len(tr.Text) > 3*maxText || len(tr.Where) > 3*maxText {
			t.Error("long text")
		}
		if strings.Contains(tr.Text, "reader failed") {
			t.Error(tr.Text)
		}
	}
	if again := Inspect(context.Background(), kind, data, l); len(again) != len(got) {
		t.Errorf("%d traits, then %d", len(got), len(again))
	}
}

func FuzzInspect(f *testing.F) {
	f.Add("html", []byte("<html><svg><script>x</script><iframe srcdoc='&lt;a onclick=x>'>"))
	f.Add("svg", []byte("<svg onload=x><foreignObject/></svg>"))
	f.Add("", makeWord("word/a.xml", "<w:p><w:fldSimple w:instr='DDE x'/></w:p>"))
	f.Add("odt", makeZip("mimetype", "x", "Basic/S/M.xml", "Shell"))
	f.Add("", makeOneNote("a.hta", "x"))
	f.Add("", makeLink("a", "b"))
	f.Add("", []byte("ActiveMime"+strings.Repeat("\x00", 40)+deflated(oleSignature)))
	f.Add("mhtml", []byte("MIME-Version: 1.0\nContent-Type: text/html\n\n--x\n\n<script>"))
	f.Add("xml", []byte("<?xml version='1.0'?><binData>0M8R4KGxGuE=</binData>"))
	f.Add("html", []byte("+ADw-script+AD4-utf-7"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		judge(t, filetype.Type{Name: name, Class: filetype.Markup}, data)
		judge(t, filetype.Type{}, data)
	})
}

func FuzzPDF(f *testing.F) {
	f.Add(string(makePDF("<< /OpenAction 2 0 R >>", "<< /S /JavaScript /JS (x) >>")))
	f.Add("1 0 obj << /EF << /F 1 0 R >> /UF (a) >> stream\nx\nendstream")
	f.Add("1 0 obj << /ObjStm /Filter [/A85 /AHx /Fl /LZW] /DecodeParms << /Predictor 12 /Columns 3 >> >> stream\nx")
	f.Add("/ID [<00>] trailer << /Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O (12345678901234567890123456789012) /U (12345678901234567890123456789012) >> >>")
	f.Add("/Encrypt << /Filter /Standard /V 5 /R 6 /U (123456789012345678901234567890121234567890123456) /UE (12345678901234567890123456789012) >>")
	f.Add("/AA << /O << /S /Launch /F <41> >> >> /Encrypt 1 0 R")
	f.Fuzz(func(t *testing.T, data string) { judge(t, filetype.Type{}, []byte("%PDF-1.7\n"+data)) })
}

func FuzzOLE(f *testing.F) {
	f.Add(makeCompound(word(0, "\x13 DDE x"), vbaStorage("Macros", autoSource)))
	f.Add(makeCompound(node{name: "Workbook", data: []byte(record(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A"))}))
	f.Add(makeCompound(node{name: "\x01Ole10Native", data: sized(makePackage("a.exe", []byte("MZ")))}))
	f.Add(makeCompound(node{name: "PowerPoint Document", data: []byte(pptRecord(0x10, 0x1011, "\x00\x00\x00\x00"+deflated(oleSignature)))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !bytes.HasPrefix(data, []byte(oleSignature)) {
			data = append([]byte(oleSignature), data...)
		}
		judge(t, filetype.Type{}, data)
	})
}

func FuzzRTF(f *testing.F) {
	f.Add(`{\object{\*\objdata ` + makeOLE1("Package", makePackage("a", []byte("MZ"))) + `}}`)
	f.Add(`{\field{\*\fldinst \u68?DE x}}{\*\template http://h}\bin3 abc{\objdata\bin2 ab`)
	f.Fuzz(func(t *testing.T, data string) { judge(t, filetype.Type{}, []byte(`{\rtf1`+data)) })
}

func FuzzVBA(f *testing.F) {
	f.Add(compressVBA(autoSource), 4096)
	f.Add([]byte("\x01\x19\xb0\x00abcdefgh\x82ij\x10\x38"), 100000)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		out, err := decompressVBA(data, int64(limit))
		if limit >= 0 && len(out) > max(limit, 0)+4096 || len(out) > 2048*len(data)+4096 {
			t.Errorf("%d octets of %d, limit %d", len(out), len(data), limit)
		}
		if err == nil && len(data) == 0 {
			t.Error("nothing is no container")
		}
		if len(data) == 0 {
			return
		}
		// What is written as literals comes back.
		s := string(data)
		if back, err := decompressVBA(compressVBA(s), 1<<30); err != nil || string(back) != s {
			t.Errorf("%q came back as %q: %v", s, back, err)
		}
	})
}
