package document

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"garita/filetype"
)

type example struct {
	name string
	data []byte
	want string // IDs, sorted, with spaces
}

func check(t *testing.T, list []example) {
	t.Helper()
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			got := inspect(e.data)
			if list := strings.Join(ids(got), " "); list != e.want {
				t.Errorf("traits %q, want %q: %+v", list, e.want, got)
			}
		})
	}
}

func word(flags byte, text string) node {
	b := make([]byte, 64)
	b[0], b[1], b[11] = 0xEC, 0xA5, flags
	return node{name: "WordDocument", data: append(b, text...)}
}

func TestOLE(t *testing.T) {
	inner := makeCompound(vbaStorage("Macros", autoSource))
	big := strings.Repeat("x", 9000)
	auto := record(0x18, "\x20\x00\x00\x01"+strings.Repeat("\x00", 11)+"\x01")
	native := sized(makePackage("invoice.exe", []byte("MZ program")))
	check(t, []example{
		{"plain document", makeCompound(word(0, big), node{name: "1Table", data: []byte(big)}, node{name: "\x05SummaryInformation", data: []byte("x")}), ""},
		{"macro that opens itself", makeCompound(word(0, ""), vbaStorage("Macros", autoSource)), "macro macro.auto macro.call"},
		{"macro that waits", makeCompound(word(0, ""), vbaStorage("Macros", "Sub Format()\r\nx = 1\r\nEnd Sub\r\n")), "macro"},
		{"workbook with macros", makeCompound(node{name: "Workbook", data: []byte(record(0x85, "\x00\x00\x00\x00\x00\x00\x01\x00A"))}, vbaStorage("_VBA_PROJECT_CUR", "Sub Workbook_Open()\r\nEnd Sub")), "macro macro.auto"},
		{"workbook", makeCompound(node{name: "Workbook", data: []byte(record(0x85, "\x00\x00\x00\x00\x00\x00\x01\x00A") + auto)}), ""},
		{"hidden Excel 4 sheet", makeCompound(node{name: "Workbook", data: []byte(record(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A") + auto)}), "macro.auto macro.xlm"},
		{"workbook with a password", makeCompound(node{name: "Workbook", data: []byte(record(0x2F, "\x01\x00"))}), "encrypted"},
		{"workbook with DDE", makeCompound(node{name: "Workbook", data: []byte(record(0x1AE, "\x01\x00\x08\x00\x00cmd\x03/c calc"))}), "dde"},
		{"workbook with links to its own sheets", makeCompound(node{name: "Workbook", data: []byte(record(0x1AE, "\x03\x00\x01\x04"))}), ""},
		{"document with a password", makeCompound(word(1, "")), "encrypted"},
		{"OOXML with a password", makeCompound(node{name: "EncryptedPackage", data: []byte(big)}, node{name: "EncryptionInfo", data: []byte("x")}), "encrypted"},
		{"Word field DDE", makeCompound(word(0, "\x13 DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe \"/k calc\" \x14x\x15")), "dde"},
		{"Word field DDE in UTF-16", makeCompound(word(0, string(wide("\x13 DDE cmd \x15")))), "dde"},
		{"Word field of a page", makeCompound(word(0, "\x13 PAGE \\* MERGEFORMAT \x141\x15 about DDE")), ""},
		{"Word template on the web", makeCompound(word(0, ""), node{name: "1Table", data: append([]byte("abc\x00"), append(wide("http://h.example/t.dotm"), 0, 0)...)}), "template.remote"},
		{"Word template here", makeCompound(word(0, ""), node{name: "1Table", data: append(wide("C:\\Office\\Normal.dot"), 0, 0)}), ""},
		{"packaged program", makeCompound(node{name: "ObjectPool", in: []node{{name: "_1", in: []node{{name: "\x01Ole10Native", data: native}}}}}), "embedded"},
		{"equation by stream", makeCompound(node{name: "_1", in: []node{{name: "Equation Native", data: []byte("x")}}}), "equation"},
		{"equation by class", makeCompound(node{name: "_1", clsid: clsidEquation3, in: []node{{name: "x", data: []byte("x")}}}), "equation"},
		{"equation by CompObj", makeCompound(node{name: "_1", in: []node{{name: "\x01CompObj", data: append(append(make([]byte, 12), clsidEquation3...), sized([]byte("MathType\x00"))...)}}}), "equation"},
		{"MathType", makeCompound(node{name: "_1", clsid: clsidMathType, in: []node{{name: "Equation Native", data: []byte("x")},
			{name: "\x01CompObj", data: append(make([]byte, 28), sized([]byte("MathType 7.0 Equation\x00"))...)}}}), "object"},
		{"equation under MathType's name", makeCompound(node{name: "_1", clsid: clsidEquation3, in: []node{{name: "\x01CompObj", data: append(make([]byte, 28), sized([]byte("MathType 7.0 Equation\x00"))...)}}}), "equation object"},
		{"link by URL moniker", makeCompound(node{name: "_1", in: []node{{name: "\x01Ole", data: append([]byte("\x01\x00\x00\x02"+clsidURL+"\x40\x00\x00\x00"), wide("http://h.example/a.hta\x00")...)}}}), "link.external"},
		{"ActiveX control", makeCompound(node{name: "_1", in: []node{{name: "\x03OCXNAME", data: []byte("x")}}}), "activex"},
		{"object of Excel", makeCompound(node{name: "_1", in: []node{{name: "\x01CompObj", data: append(make([]byte, 28), sized([]byte("Microsoft Excel Sheet\x00"))...)}}}), "object"},
		{"presentation with macros", makeCompound(node{name: "PowerPoint Document", data: []byte("\x0f\x00\xe8\x03\x00\x00\x00\x01" + pptRecord(0x10, 0x1011, "\x00\x00\x10\x00"+deflated(string(inner))))}), "macro macro.auto macro.call"},
		{"presentation", makeCompound(node{name: "PowerPoint Document", data: []byte("\x0f\x00\xe8\x03\x00\x00\x00\x01" + pptRecord(0, 0x0FA8, "text"))}), ""},
		{"mail with a file", makeCompound(node{name: "__attach_version1.0_#00000000", in: []node{
			{name: "__substg1.0_37010102", data: []byte("MZ")}, {name: "__substg1.0_3707001F", data: wide("a.exe")}}}), "embedded"},
		{"mail with a script", makeCompound(node{name: "__substg1.0_10130102", data: []byte("<html><script>x()</script>")}), "html.script"},
	})
}

func pptRecord(head, kind uint16, data string) string {
	return string([]byte{byte(head), byte(head >> 8), byte(kind), byte(kind >> 8), byte(len(data)), byte(len(data) >> 8), byte(len(data) >> 16), 0}) + data
}

// Equations in packages: by the class of the storage, by the class that the
// document names, also among the cells of a sheet (CVE-2017-11882).
func TestEquationInPackages(t *testing.T) {
	object := string(makeCompound(node{name: "\x01oLe10nATIVE", data: sized([]byte("shell"))}))
	class := string(makeCompound(node{name: "x", clsid: clsidEquation3, in: []node{{name: "y", data: []byte("z")}}}))
	book := func(id, bin string) []byte {
		return makeZip("[Content_Types].xml", "<Types/>",
			"xl/worksheets/_rels/sheet1.xml.rels", relations(relation("oleObject", "../embeddings/oleObject1.bin", "")),
			"xl/worksheets/sheet1.xml", `<worksheet><sheetData/><oleObjects><x:oleObject shapeId="1" progId="`+id+`" r:id="r1"/></oleObjects></worksheet>`,
			"xl/embeddings/oleObject1.bin", bin)
	}
	for _, e := range []struct {
		name string
		data []byte
		want bool
	}{
		{"book by name", book("Equation.3", object), true},
		{"book by name in another case", book("eQuAtIoN.3", object), true},
		{"book by class", book("Sheet", class), true},
		{"MathType in a book", book("Equation.DSMT4", object), false},
		{"another object in a book", book("Word.Document.12", object), false},
		{"document by name", makeWord("word/document.xml", `<w:document><o:OLEObject Type="Embed" ProgID="Equation.3" r:id="r1"/></w:document>`), true},
		{"document with MathType", makeWord("word/document.xml", `<w:document><o:OLEObject Type="Embed" ProgID="Equation.DSMT4" r:id="r1"/></w:document>`), false},
		{"document by class", makeWord("word/embeddings/oleObject1.bin", class), true},
		{"presentation by name", makeWord("ppt/slides/slide1.xml", `<p:sld><p:oleObj progId="Equation.2"/></p:sld>`), true},
		{"text about equations", makeWord("word/document.xml", `<w:document><w:t>OLEObject ProgID="Equation.3"</w:t></w:document>`), false},
	} {
		if got := inspect(e.data); has(got, EquationEditor) != e.want {
			t.Errorf("%s: %v", e.name, ids(got))
		}
	}
}

// A stomped macro has no source: its names stand in the compiled project.
func TestMacroWithoutSource(t *testing.T) {
	data := makeCompound(node{name: "Macros", in: []node{{name: "VBA", in: []node{
		{name: "dir", data: []byte{1}}, {name: "_VBA_PROJECT", data: []byte("\xcc\x61..AutoOpen..Shell")}, {name: "M", data: []byte("\x01\x16compiled")}}}}})
	got := inspect(data)
	if list := strings.Join(ids(got), " "); list != "macro macro.auto" {
		t.Fatal(list)
	}
	if m := trait(t, got, Macro); m.Text != "no source" || m.Where != "Macros/VBA" {
		t.Errorf("%+v", m)
	}
}

// Half a file, a broken directory and cycles still show the macros.
func TestDamagedCompound(t *testing.T) {
	data := makeCompound(word(0, strings.Repeat("x", 20000)), vbaStorage("Macros", autoSource))
	broken := slices.Clone(data)
	copy(broken[48:52], "\xf0\xff\xff\x00") // the directory lies outside
	got := inspect(broken)
	if !has(got, Damaged) || !has(got, Macro) {
		t.Errorf("directory outside: %v", ids(got))
	}
	cycle := slices.Clone(data)
	for i := len(cycle) - 512; i < len(cycle); i += 4 {
		copy(cycle[i:], "\x00\x00\x00\x00")
	}
	if got := inspect(cycle); len(got) > maxTraits {
		t.Error("cycle")
	}
	for n := range len(data) / 64 {
		inspect(data[:n*64])
	}
}

func TestOOXML(t *testing.T) {
	vba := string(makeCompound(vbaStorage("", autoSource).in...))
	field := func(runs ...string) string {
		s := `<w:document xmlns:w="w"><w:p>`
		for _, r := range runs {
			switch r {
			case "begin", "separate", "end":
				s += `<w:r><w:fldChar w:fldCharType="` + r + `"/></w:r>`
			default:
				s += `<w:r><w:instrText xml:space="preserve">` + r + `</w:instrText></w:r>`
			}
		}
		return s + "</w:p></w:document>"
	}
	settings := func(r string) []byte { return makeWord("word/_rels/settings.xml.rels", relations(r)) }
	check(t, []example{
		{"plain", makeWord("word/media/image1.png", "\x89PNG\r\n\x1a\n", "word/_rels/document.xml.rels", relations(relation("hyperlink", "https://example.org/", "External"), relation("image", "https://example.org/a.png", "External"))), ""},
		{"macros", makeWord("word/vbaProject.bin", vba), "macro macro.auto macro.call"},
		{"macros under another name", makeWord("word/data.xyz", vba), "macro macro.auto macro.call"},
		{"macro content type", makeZip("[Content_Types].xml", strings.Replace(contentTypes, "openxmlformats-officedocument.wordprocessingml.document.main", "ms-word.document.macroEnabled.main", 1), "_rels/.rels", relations()), "macro.type"},
		{"template on the web", settings(relation("attachedTemplate", "https://h.example/t.dotm", "External")), "template.remote"},
		{"template on a server", settings(relation("attachedTemplate", `\\h.example\s\t.dotm`, "External")), "template.remote"},
		{"template by file address", settings(relation("attachedTemplate", "file://h.example/s/t.dotm", "External")), "template.remote"},
		{"template here", settings(relation("attachedTemplate", "file:///C:\\Users\\a\\Normal.dotm", "External")), ""},
		{"object on the web", settings(relation("oleObject", "https://h.example/x.html!", "External")), "link.external"},
		{"ms-msdt", settings(relation("oleObject", "mhtml:https://h.example/x.html", "External")), "link.external"},
		{"frame on the web", settings(relation("frame", "https://h.example/x", "External")), "link.external"},
		{"picture on a server", settings(relation("image", `\\h.example\a.png`, "External")), "link.external"},
		{"object in the package", settings(relation("oleObject", "embeddings/oleObject1.bin", "Internal")), ""},
		{"Excel 4 sheet", makeZip("[Content_Types].xml", contentTypes, "xl/macrosheets/sheet1.xml", "<xm:macrosheet/>"), "macro.xlm"},
		{"Excel 4 sheet by relationship", makeZip("[Content_Types].xml", contentTypes, "xl/_rels/workbook.xml.rels", relations(relation("xlMacrosheet", "x.bin", "Internal"))), "macro.xlm"},
		{"Excel cells", makeZip("[Content_Types].xml", contentTypes, "xl/worksheets/sheet1.xml", `<?xml version="1.0"?><worksheet><c>Relationship ddeLink</c></worksheet>`), ""},
		{"Excel DDE", makeZip("[Content_Types].xml", contentTypes, "xl/externalLinks/externalLink1.xml", `<externalLink><ddeLink ddeService="cmd" ddeTopic="/c calc"/></externalLink>`), "dde"},
		{"link to a workbook of the company", settings(relation("externalLinkPath", `file:///\\server\share\b.xlsx`, "External")), ""},
		{"DDE in a field", makeWord("word/a.xml", field("begin", " DDEAUTO cmd ", "separate", "end")), "dde"},
		{"DDE over runs", makeWord("word/a.xml", field("begin", " DD", "EAU", "TO cmd ", "separate", "end")), "dde"},
		{"DDE spelled by QUOTE", makeWord("word/a.xml", field("begin", "begin", " QUOTE 68 68 69 ", "end", " cmd", "end")), "dde"},
		{"DDE in a simple field", makeWord("word/a.xml", `<w:p><w:fldSimple w:instr="DDE cmd x"/></w:p>`), "dde"},
		{"DDE in UTF-16", makeWord("word/a.xml", "\xff\xfe"+string(wide(field("begin", "DDE cmd", "end")))), "dde"},
		{"fields of a letter", makeWord("word/a.xml", field("begin", " HYPERLINK \"https://example.org\" ", "separate", "end", "begin", " PAGE ", "end")), ""},
		{"ActiveX", makeWord("word/activeX/activeX1.xml", `<ax:ocx ax:classid="{0}"/>`), "activex"},
		{"embedded workbook", makeWord("word/embeddings/Sheet1.xlsx", string(makeWord())), "embedded"},
		{"packaged program", makeWord("word/embeddings/oleObject1.bin", string(makeCompound(node{name: "\x01Ole10Native", data: sized(makePackage("a.exe", []byte("MZ")))}))), "embedded"},
		{"ribbon with macros", makeWord("customUI/customUI.xml", `<customUI onLoad="Start"/>`, "word/vbaProject.bin", string(makeCompound(vbaStorage("", "Sub Start()\r\nEnd Sub").in...))), "macro macro.auto"},
		{"ribbon without macros", makeWord("customUI/customUI.xml", `<customUI onLoad="Start"/>`), ""},
		{"slide that starts a program", makeZip("[Content_Types].xml", contentTypes, "ppt/slides/slide1.xml", `<a:hlinkMouseOver action="ppaction://program"/>`), "link.external"},
		{"RTF inside", makeWord("word/afchunk.rtf", `{\rtf1{\object\objupdate{\*\objdata 00}}}`), "object object.update"},
		{"a zip that is no document", makeZip("a.txt", "x", "b/vba.bin", vba), ""},
		{"ODF", makeZip("mimetype", "application/vnd.oasis.opendocument.text", "content.xml", `<?xml version="1.0"?><office:document-content><text:a xlink:href="https://example.org/"/></office:document-content>`, "Basic/Standard/script-lb.xml", "<library/>"), ""},
		{"ODF with Basic", makeZip("mimetype", "application/vnd.oasis.opendocument.text", "Basic/Standard/M.xml", "<script:module>Sub Main\nShell(\"x\")\n"), "macro macro.call"},
		{"ODF that starts", makeZip("mimetype", "x", "content.xml", `<a><script:event-listener script:event-name="dom:load" xlink:href="vnd.sun.star.script:S.M.Main"/></a>`), "macro.auto"},
		{"ODF with a password", makeZip("mimetype", "x", "META-INF/manifest.xml", `<manifest:manifest><manifest:encryption-data/></manifest:manifest>`), "encrypted"},
		{"ODF with a section of the web", makeZip("mimetype", "x", "content.xml", `<a><text:section-source xlink:href="https://h.example/a.odt"/></a>`), "link.external"},
	})
}

// Office repairs a package whose directory is broken: so does the reader.
func TestBrokenPackage(t *testing.T) {
	data := makeWord("word/vbaProject.bin", string(makeCompound(vbaStorage("", autoSource).in...)))
	got := inspect(data[:len(data)-40])
	if !has(got, Macro) || !has(got, Damaged) {
		t.Error(ids(got))
	}
}

func TestPDF(t *testing.T) {
	page := "<< /Type /Page /Parent 2 0 R >>"
	catalog := func(more string) string { return "<< /Type /Catalog /Pages 2 0 R " + more + " >>" }
	objStm := func(objects ...string) string {
		head, body := "", ""
		for i, o := range objects {
			head += fmt.Sprintf("%d %d ", 20+i, len(body))
			body += o + " "
		}
		return pdfStream(fmt.Sprintf("/Type /ObjStm /N %d /First %d /Filter /FlateDecode", len(objects), len(head)), deflated(head+body))
	}
	spec := "<< /Type /Filespec /F (a.exe) /UF (\xfe\xff\x00a\x00.\x00e\x00x\x00e) /EF << /F 4 0 R >> >>"
	check(t, []example{
		{"plain", makePDF(catalog(""), page, pdfStream("", "BT (/JavaScript /Launch) Tj ET"), "<< /Title (About /JS and /OpenAction \\) /Launch) >>"), ""},
		{"goes to a page", makePDF(catalog("/OpenAction [3 0 R /Fit]"), page), ""},
		{"goes to a page by action", makePDF(catalog("/OpenAction 3 0 R"), page, "<< /S /GoTo /D [2 0 R /Fit] >>"), ""},
		{"script on opening", makePDF(catalog("/OpenAction 3 0 R"), page, "<< /S /JavaScript /JS (app.alert\\(1\\)) >>"), "pdf.action pdf.javascript"},
		{"script in place", makePDF(catalog("/OpenAction << /S /JavaScript /JS 9 0 R >>"), page), "pdf.action pdf.javascript"},
		{"script in escaped names", makePDF(catalog("/Open#41ction << /#53 /J#61vaScript /J#53 (x) >>"), page), "pdf.action pdf.javascript"},
		{"script of a field", makePDF(catalog(""), "<< /FT /Tx /AA << /K 3 0 R >> >>", "<< /S /JavaScript /JS (AFNumber_Keystroke\\(2\\)) >>"), "pdf.javascript"},
		{"script of a page", makePDF(catalog(""), "<< /Type /Page /AA << /O 3 0 R >> >>", "<< /S /JavaScript /JS (x) >>"), "pdf.action pdf.javascript"},
		{"script of the document", makePDF(catalog("/Names << /JavaScript 3 0 R >>"), page, "<< /Names [(a) 4 0 R] >>", "<< /S /JavaScript /JS (x) >>"), "pdf.action pdf.javascript"},
		{"script in an object stream", makePDF(catalog("/OpenAction 20 0 R"), page, objStm("<< /S /JavaScript /JS (x) >>", "<< >>")), "pdf.action pdf.javascript"},
		{"plain object stream", makePDF(catalog("/OpenAction 20 0 R"), page, objStm("<< /S /GoTo >>", "(/JS)")), ""},
		{"broken object stream", makePDF(catalog(""), pdfStream("/Type /ObjStm /N 1 /First 5 /Filter /FlateDecode", "junk")), "damaged"},
		{"starts a program", makePDF(catalog("/OpenAction << /S /Launch /Win << /F (cmd.exe) >> >>"), page), "pdf.action pdf.launch"},
		{"file inside", makePDF(catalog("/Names << /EmbeddedFiles << /Names [(a) 3 0 R] >> >>"), page, spec, pdfStream("/Type /EmbeddedFile /Filter /FlateDecode", deflated("MZ program"))), "embedded"},
		{"empty tree of files", makePDF(catalog("/Names << /EmbeddedFiles << /Names [] >> >>"), page), ""},
		{"another machine", makePDF(catalog(""), "<< /S /GoToR /F (\\\\\\\\h.example\\\\s\\\\a.pdf) >>"), "pdf.remote"},
		{"another file here", makePDF(catalog(""), "<< /S /GoToR /F (part2.pdf) >>"), ""},
		{"sends a form", makePDF(catalog(""), "<< /S /SubmitForm /F (https://h.example/) >>"), "pdf.submit"},
		{"XFA", makePDF(catalog("/AcroForm << /XFA 3 0 R >>")), "pdf.xfa"},
		{"rich media", makePDF(catalog(""), "<< /Subtype /RichMedia >>"), "pdf.media"},
		{"web link", makePDF(catalog(""), "<< /S /URI /URI (https://example.org/) >>"), ""},
		{"password", append(makePDF(catalog("")), "trailer << /Encrypt 9 0 R >>"...), "encrypted"},
		{"behind other octets", append([]byte(strings.Repeat("x", 900)), makePDF("<< /S /JavaScript >>")...), "pdf.javascript"},
		{"unclosed string hides nothing", makePDF("<< /Title (open /Author /x >>\nendobj 2 0 obj << /S /Launch >>"), "pdf.launch"},
	})
	got := inspect(makePDF("<< /Type /Catalog >>", "<< >>", spec, pdfStream("/Filter [/AHx /FlateDecode]", fmt.Sprintf("%x>", deflated("MZ program")))))
	if e := trait(t, got, EmbeddedFile); string(e.Data) != "MZ program" || !slices.Equal(e.Names, []string{"a.exe"}) {
		t.Errorf("%+v", e)
	}
}

func TestRTF(t *testing.T) {
	exe := makeOLE1("Package", makePackage("run.exe", []byte("MZ program")))
	doc := func(s string) []byte { return []byte(`{\rtf1\ansi{\fonttbl{\f0 Arial;}}` + s + `\par}`) }
	object := func(s string) []byte { return doc(`{\object\objemb{\*\objclass x}{\*\objdata ` + s + `}}`) }
	spaced := strings.Join(strings.Split(exe, ""), "\r\n ")
	check(t, []example{
		{"plain", doc(`Hello \b DDEAUTO\b0 {\*\themedata 504b0304} {\field{\*\fldinst HYPERLINK "https://example.org"}{\fldrslt x}}`), ""},
		{"packaged program", object(exe), "embedded object"},
		{"with white space", object(spaced), "embedded object"},
		{"with groups between", object(exe[:20] + `{\*\junk 4142}` + exe[20:]), "embedded object"},
		{"with control words between", object(exe[:20] + `\par\lang1033 ` + exe[20:]), "embedded object"},
		{"as binary data", doc(`{\object{\*\objdata\bin8 ` + "\x01\x05\x00\x00\x02\x00\x00\x00" + exe[16:] + `}}`), "embedded object"},
		{"head cut short", []byte(`{\rt1{\object{\*\objdata ` + exe + `}}}`), "embedded obfuscated object"},
		{"no end", []byte(`{\rtf1{\object{\*\objdata ` + exe), "embedded object"},
		{"equation", object(makeOLE1("EqUaTiOn.3", []byte("shell"))), "equation object"},
		{"macros in an object", object(makeOLE1("Word.Document.8", makeCompound(vbaStorage("Macros", autoSource)))), "macro macro.auto macro.call object"},
		{"update", doc(`{\object\objautlink\objupdate{\*\objdata 00}}`), "object object.update"},
		{"template on the web", doc(`{\*\template https://h.example/a.dotm}`), "template.remote"},
		{"template in \\u", doc(`{\*\template \u104?ttp://h.example/a.dotm}`), "template.remote"},
		{"template here", doc(`{\*\template C:\\Normal.dot}`), ""},
		{"DDE", doc(`{\field{\*\fldinst {\b DDE}AUTO cmd "/k calc"}{\fldrslt x}}`), "dde"},
		{"DDE by hexadecimal", doc(`{\field{\*\fldinst \'44\'44E cmd}}`), "dde"},
		{"control", doc(`{\object\objocx{\*\objdata }}`), "activex"},
	})
	if e := trait(t, inspect(object(exe)), EmbeddedFile); string(e.Data) != "MZ program" || !slices.Contains(e.Names, "run.exe") {
		t.Errorf("%+v", e)
	}
}

func TestHTML(t *testing.T) {
	long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("PK program", 400)))
	utf7 := "<html><meta charset=utf-7>+ADw-script+AD4-x()+ADw-/script+AD4-"
	check(t, []example{
		{"newsletter", []byte(`<!DOCTYPE html><html><head><style>p{}</style><script type="application/ld+json">{"@type":"Order"}</script></head><body><!--[if mso]><table><tr><td><![endif]--><a href="https://example.org/?u=1">x</a><img src="data:image/png;base64,` + long + `"><form action="https://example.org/"><input type="text"></form><!-- <script>x</script> --></body></html>`), ""},
		{"script", []byte(`<html><script>alert(1)</script>`), "html.script"},
		{"script with space and NUL", []byte("<html><p><scr\x00ipt\n>x</script>"), "html.script"},
		{"script in noscript", []byte(`<html><noscript><iframe src="https://h.example/"></iframe></noscript>`), "html.frame"},
		{"script for Outlook", []byte(`<html><!--[if gte mso 9]><script>x</script><![endif]-->`), "html.script"},
		{"script in srcdoc", []byte(`<html><iframe srcdoc="&lt;script&gt;x&lt;/script&gt;">`), "html.frame html.script"},
		{"no tag", []byte(`<html>< script> &lt;script&gt;`), ""},
		{"handler", []byte(`<html><img src=x onerror="x()">`), "html.handler"},
		{"javascript address", []byte("<html><a href=\" java\tscript:x()\">"), "html.script"},
		{"address that does nothing", []byte(`<html><a href="javascript:void(0);">`), ""},
		{"frame", []byte(`<html><IFRAME/src=https://h.example/>`), "html.frame"},
		{"password", []byte(`<html><form action="https://h.example/l"><input name=u><input type=PassWord></form>`), "html.form"},
		{"script that leads away", []byte(`<html><script>window["loc"+"ation"]="https://h.example/"</script>`), "html.refresh html.script"},
		{"script from elsewhere alone", []byte(`<html><script src="https://h.example/a.js"></script>`), "html.refresh html.script"},
		{"page that uses a library", []byte(`<html><p>` + strings.Repeat("informe de ventas ", 40) + `</p><script src="https://h.example/chart.js"></script>`), "html.script"},
		{"refresh", []byte(`<html><meta http-equiv=Refresh content="0;url=https://h.example/">`), "html.refresh"},
		{"charset", []byte(`<html><meta http-equiv="Content-Type" content="text/html; charset=utf-8">`), ""},
		{"base", []byte(`<html><base href="https://h.example/">`), "html.base"},
		{"HTA", []byte(`<html><HTA:APPLICATION id=x><script language=VBScript>x</script>`), "html.hta html.script"},
		{"smuggling by Blob", []byte(`<html><script>var b=new Blob([Uint8Array.from(atob("` + long + `"),c=>c.charCodeAt(0))]);a.href=URL.createObjectURL(b);a.download="x.zip"</script>`), "html.script html.smuggling"},
		{"smuggling in pieces", []byte(`<html><script>var f=window["at"+"ob"];URL["create"+"Object"+"URL"](new window["Bl"+"ob"]([window["at"+"ob"](x)]))</script>`), "html.script html.smuggling"},
		{"smuggling by a link", []byte(`<html><a download="x.zip" href="data:application/zip;base64,` + long + `">x</a>`), "html.smuggling"},
		{"smuggling beside the script", []byte(`<html><script>document.write(atob(document.getElementById("d").value))</script><textarea id=d>` + long + `</textarea>`), "html.script html.smuggling"},
		{"smuggling in Explorer", []byte(`<html><script>navigator.msSaveOrOpenBlob(b,"a")</script>`), "html.script html.smuggling"},
		{"script of a page", []byte(`<html><script>document.getElementById("x").style.display="none";formatObject(1)</script>`), "html.script"},
		{"UTF-16", append([]byte("\xff\xfe"), wide("<html><script>x</script>")...), "html.script"},
		{"UTF-16 without mark", wide("<html><script>x</script>"), "html.script"},
		{"UTF-7", []byte(utf7), "html.script"},
		{"SVG", []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><style>a{}</style><path d="M0 0"/></svg>`), ""},
		{"SVG with script", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script><![CDATA[x()]]></script></svg>`), "svg.script"},
		{"SVG with handler", []byte(`<?xml version="1.0"?><!-- c --><svg onload="x()"/>`), "svg.script"},
		{"SVG with script in style", []byte(`<svg><style><img src=x onerror=x()></style></svg>`), "svg.script"},
		{"SVG with HTML", []byte(`<svg><foreignObject><p>x</p></foreignObject></svg>`), "svg.foreign"},
		{"plain text", []byte("Write <script> at the top, then x < y.\n"), ""},
		{"empty", nil, ""},
	})
	// Who knows that a part is shown as HTML says so.
	if got := Inspect(context.Background(), htmlKind, []byte("hello <script>x</script>"), DefaultLimits()); !has(got, HTMLScript) {
		t.Error(ids(got))
	}
}

func TestOtherFormats(t *testing.T) {
	ole := makeCompound(vbaStorage("", autoSource).in...)
	mso := append([]byte("ActiveMime\x00\x00\x01\xf0"+strings.Repeat("\x00", 36)), deflated(string(ole))...)
	b64 := base64.StdEncoding.EncodeToString(mso)
	const macros = "macro macro.auto macro.call"
	check(t, []example{
		{"ActiveMime", mso, macros},
		{"Word 2003 XML", []byte(`<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument xmlns:w="w"><w:docSuppData><w:binData w:name="editdata.mso">` + b64 + `</w:binData></w:docSuppData></w:wordDocument>`), macros},
		{"Word 2003 XML without macros", []byte(`<?xml version="1.0"?><w:wordDocument w:macrosPresent="no"><w:binData w:name="a.png">iVBORw0KGgo=</w:binData></w:wordDocument>`), ""},
		{"package in one file", []byte(`<?xml version="1.0"?><pkg:package><pkg:part><pkg:binaryData>` + base64.StdEncoding.EncodeToString(ole) + `</pkg:binaryData></pkg:part></pkg:package>`), macros},
		{"remote template in one file", []byte(`<?xml version="1.0"?><pkg:package><Relationships>` + relation("attachedTemplate", "https://h.example/a.dotm", "External") + `</Relationships></pkg:package>`), "template.remote"},
		{"XML", []byte(`<?xml version="1.0"?><Invoice><Total>1</Total></Invoice>`), ""},
		{"MHTML", []byte("MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=20x</p>\r\n--x--\r\n"), ""},
		{"MHTML with macros", []byte("MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=\"x\"\r\n\r\n--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64 + "\r\n--x--\r\n"), macros},
		{"MHTML with script", []byte("MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<scr=\r\nipt>x</script>\r\n--x--\r\n"), "html.script"},
		{"notes", makeOneNote("", "\x89PNG\r\n\x1a\nxx"), ""},
		{"notes with a program", makeOneNote("open me.hta", "<script>x", "\x89PNG\r\n\x1a\nxx"), "embedded"},
		{"shortcut", makeLink("..\\cmd.exe", "/c calc"), "shortcut"},
	})
	if e := trait(t, inspect(makeOneNote("open me.hta", "<script>x")), EmbeddedFile); string(e.Data) != "<script>x" || !slices.Equal(e.Names, []string{"open me.hta"}) {
		t.Errorf("%+v", e)
	}
	if e := trait(t, inspect(makeLink("..\\cmd.exe", "/c calc")), ShortcutTarget); e.Text != "..\\cmd.exe /c calc" {
		t.Errorf("%+v", e)
	}
}

// The table of the guide has every trait with the meaning that the code gives.
func TestMeanings(t *testing.T) {
	text, err := os.ReadFile("../docs/documents.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		id := strings.Trim(strings.TrimSpace(cells[1]), "`")
		listed = append(listed, id)
		if got := strings.TrimSpace(cells[2]); got != Meaning(id) {
			t.Errorf("%s: %q, the code says %q", id, got, Meaning(id))
		}
	}
	if !slices.Equal(listed, IDs()) {
		t.Errorf("docs/documents.md lists %v, the code %v", listed, IDs())
	}
	if Meaning("x") != "" {
		t.Error("meaning of nothing")
	}
}

func TestTypeForcesReader(t *testing.T) {
	data := append([]byte("MZ stub "), makeWord("word/vbaProject.bin", string(makeCompound(vbaStorage("", autoSource).in...)))...)
	if got := Inspect(context.Background(), filetype.Type{Name: "docx"}, data, DefaultLimits()); !has(got, Macro) {
		t.Error(ids(got))
	}
}
