package attachment

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"garita/mail"
)

// weak is a script that no sign of its octets tells: its name alone does.
const weak = `var a="x";a.run(7);`

// strong is a script by its octets.
const strong = "Set s = CreateObject(\"WScript.Shell\")\r\ns.Run \"x\"\r\n"

// disguised packs files behind a first member that makes an electronic book of
// the archive.
func disguised(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "mimetype", Method: zip.Store})
	if err == nil {
		_, err = w.Write([]byte("application/epub+zip"))
	}
	for i := 0; i < len(files) && err == nil; i += 2 {
		if w, err = z.Create(files[i]); err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t testing.TB, data string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func relationships(kind, target string) string {
	return `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/` +
		kind + `" Target="` + target + `" TargetMode="External"/></Relationships>`
}

func docx(t testing.TB, more ...string) string {
	return zipped(t, append([]string{"[Content_Types].xml", "<Types/>", "word/document.xml", "<w:document/>"}, more...)...)
}

// hiddenPackage is a document whose kind shows neither at its beginning nor at
// its end.
func hiddenPackage(t testing.TB) string {
	files := []string{"aaa.bin", noise(8000), "[Content_Types].xml", "<Types/>", "word/document.xml", "<w:document/>",
		"word/_rels/settings.xml.rels", relationships("attachedTemplate", "https://h.example/t.dotm")}
	for i := range 700 {
		files = append(files, fmt.Sprintf("customXml/item%d.xml", i), "<a/>")
	}
	return zipped(t, files...)
}

// noise does not pack.
func noise(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// An attachment that is dressed as something harmless does what it does all
// the same: each of these was let pass once.
func TestEvasion(t *testing.T) {
	bad := letter(file{name: "bad.js", data: weak})
	kind := func(name, types string) string {
		return "Content-Type: " + types + "\r\nContent-Disposition: attachment; filename=\"" + name + "\""
	}
	equation := `{\rtf1{\object\objemb{\*\objdata 01050000020000000b0000004571756174696f6e2e3300000000000000000010000000aabbcc}}}`
	for _, c := range []struct {
		title string
		f     file
		want  string
	}{
		{"script in a zip that says it is a book", file{name: "a.zip", data: disguised(t, "a.js", weak)}, script},
		{"script in a zip that is a document, too", file{name: "a.zip", data: docx(t, "a.js", weak)}, script},
		{"the same inside a zip", file{name: "b.zip", data: zipped(t, "a.zip", docx(t, "a.js", weak))}, script},
		{"document whose kind is far from its ends", file{name: "a.docx", data: hiddenPackage(t)}, remoteTemplate},
		{"object from the web (CVE-2022-30190)", file{name: "a.docx", data: docx(t, "word/_rels/document.xml.rels", relationships("oleObject", "https://h.example/x.html!"))}, remoteTemplate},
		{"frame from the web", file{name: "a.docx", data: docx(t, "word/_rels/webSettings.xml.rels", relationships("frame", "https://h.example/x"))}, remoteTemplate},
		{"address for a program", file{name: "a.docx", data: docx(t, "word/_rels/document.xml.rels", relationships("hyperlink", "ms-msdt:/id x"))}, remoteTemplate},
		{"RTF behind a line", file{name: "a.doc", data: "\n" + equation}, rtfObject},
		{"end of a name of 20,000", file{name: strings.Repeat("a", 20000) + ".js", data: weak}, script},
		{"type without an extension", file{fields: kind("invoice", "application/hta"), data: weak}, executable},
		{"script type without an extension", file{fields: kind("invoice", "text/vbscript"), data: weak}, script},
		{"shortcut type without an extension", file{fields: kind("invoice", "application/x-ms-application"), data: "<x/>"}, shortcut},
		{"gz without a name inside", file{name: "a.js.gz", data: gzipped(t, weak)}, script},
		{"the same inside a zip", file{name: "a.zip", data: zipped(t, "a.js.gz", gzipped(t, weak))}, script},
		{"archive that ours finds nothing in", file{name: "a.zip", data: strings.Repeat("PK\x03\x04\xff\xff", 100)}, archiveOpaque},
		{"second message of a mailbox", file{name: "a.mbox", data: "From a Mon Jan  1 10:00:00 2024\r\nFrom: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <a@sender.example>\r\n\r\nx\r\n\r\nFrom a Mon Jan  1 10:00:00 2024\r\n" + bad}, script},
		{"message of Apple Mail", file{name: "a.emlx", data: fmt.Sprintf("%d\n%s", len(bad), bad)}, script},
		{"message with two fields in a zip", file{name: "a.zip", data: zipped(t, "a.eml", "X: y\r\nContent-Type: application/octet-stream; name=bad.js\r\n\r\n"+weak)}, script},
		{"uuencode under its own name", file{name: "a.uue", data: "begin 644 bad.js\r\n#=F%R\r\n`\r\nend\r\n"}, script},
		{"uuencode in a zip", file{name: "a.zip", data: zipped(t, "a.txt", "hola\r\n\r\nbegin 644 bad.js\r\n#=F%R\r\n`\r\nend\r\n")}, script},
		{"file in a calendar", file{name: "a.ics", data: "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nATTACH;FMTTYPE=x/y;ENCODING=BASE64;VALUE=BINARY;\r\n X-FILENAME=\"bad.js\":" + base64.StdEncoding.EncodeToString([]byte(weak)) + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"}, script},
		{"program in a card", file{name: "a.vcf", data: "BEGIN:VCARD\r\nPHOTO;ENCODING=b:" + base64.StdEncoding.EncodeToString([]byte(pe())) + "\r\nEND:VCARD\r\n"}, executable},
		{"program in a card of version 4", file{name: "a.vcf", data: "BEGIN:VCARD\r\nPHOTO:data:image/jpeg;base64," + base64.StdEncoding.EncodeToString([]byte(pe())) + "\r\nEND:VCARD\r\n"}, executable},
		{"query of Excel", file{name: "a.iqy", data: "WEB\r\n1\r\nhttp://h.example/x\r\n"}, dde},
		{"query of Excel without its head", file{name: "a.iqy", data: "http://h.example/x\r\n"}, dde},
		{"brotli", file{name: "a.js.br", data: "\x0b\x02\x80" + weak + "\x03"}, archiveOpaque},
		{"brotli of plain octets", file{name: "a.br", data: "hola, mundo\r\n"}, archiveOpaque},
		{"lzip that is cut", file{name: "a.lz", data: "LZIP\x01\x0c" + noise(400)}, archiveOpaque},
		{"piece of an archive", file{name: "a.zip.002", data: noise(400)}, archiveOpaque},
		{"piece of plain octets", file{name: "a.zip.002", data: weak}, archiveOpaque},
		{"late piece", file{name: "a.7z.1000", data: noise(400)}, archiveOpaque},
		{"piece of split", file{name: "a.tar.ab", data: noise(400)}, archiveOpaque},
		{"piece without an archive's name", file{name: "a.r01", data: noise(400)}, archiveOpaque},
		{"half a download", file{name: "a.rar.part", data: noise(400)}, archiveOpaque},
		{"script called a PDF", file{name: "a.pdf", data: strong}, script},
		{"script called a picture", file{name: "a.jpg", data: strong}, script},
		{"script called a document", file{name: "a.docx", data: strong}, script},
		{"script called a text", file{name: "a.txt", data: strong}, mismatch},
		{"script called a document of old", file{name: "a.doc", data: strong}, mismatch},
		{"DDE in a list", file{name: "a.csv", data: "nombre;importe\r\nx;=cmd|' /C calc'!A0\r\n"}, dde},
		{"Excel 4 in SYLK", file{name: "a.slk", data: "ID;P\r\nO;E\r\nNN;NAuto_open;ER101C1\r\nC;X1;Y101;EEXEC(\"x\")\r\nE\r\n"}, xlm},
		{"SYLK under another name", file{name: "a.csv", data: "ID;P\r\nO;E\r\nC;X1;Y101;EEXEC(\"x\")\r\nE\r\n"}, xlm},
		{"page in XML by its namespace", file{name: "a.xml", data: `<?xml version="1.0"?><r xmlns:h="http://www.w3.org/1999/xhtml"><h:script>var b=new Blob([atob("x")]);URL.createObjectURL(b)</h:script></r>`}, htmlSmuggling},
		{"page with a prefix", file{name: "a.xht", data: `<x:html xmlns:x="http://www.w3.org/1999/xhtml"><x:script>var b=new Blob([atob("x")]);URL.createObjectURL(b)</x:script></x:html>`}, htmlSmuggling},
		{"picture with a prefix", file{name: "a.svg", data: `<?xml version="1.0"?><s:svg xmlns:s="http://www.w3.org/2000/svg"><s:script>a()</s:script></s:svg>`}, svgScript},
		{"link of a picture with a prefix", file{name: "a.svg", data: `<svg xmlns="http://www.w3.org/2000/svg" xmlns:y="http://www.w3.org/1999/xlink"><a y:href="javascript:a()">x</a></svg>`}, svgScript},
	} {
		if got := symbols(checked(t, Default(), letter(c.f), mail.In)); !slices.Contains(got, c.want) {
			t.Errorf("%s: %v, want %s", c.title, got, c.want)
		}
	}
}

// Names with numbers and short ends are no archives, and texts that tell of
// scripts are what they say.
func TestNoPieces(t *testing.T) {
	for _, f := range []file{
		{name: "log.001", data: "hola\r\n"}, {name: "factura.2024", data: noise(300)}, {name: "datos.aa", data: noise(300)}, {name: "x.part", data: noise(300)},
		{name: "informe.part1", data: noise(300)}, {name: "a.txt.1", data: "hola\r\n"}, {name: "a.pdf.2", data: noise(300)},
	} {
		if got := symbols(checked(t, Default(), letter(f), mail.In)); len(got) > 0 {
			t.Errorf("%s: %v", f.name, got)
		}
	}
}

// Who opens an attachment goes by its name: a page is one behind the sign of
// anything else.
func TestNamedPage(t *testing.T) {
	const script = `<script>var b=new Blob([atob('x')]);URL.createObjectURL(b)</script>`
	for _, sign := range []string{
		"GIF89a=1;/*", "\x89PNG\r\n\x1a\n\x00\x00", "%PDF-1.4\n", "{\\rtf1}", "BEGIN:VCALENDAR\r\n", "[InternetShortcut]\r\n", "-----BEGIN PGP MESSAGE-----\r\n",
		"0\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600),
		"From: x\r\nTo: y\r\nSubject: x\r\nDate: x\r\nMessage-ID: x\r\n\r\n", "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n",
		"ID3\x03", "\x00\x01\x02", strings.Repeat("word ", 2000),
	} {
		for title, f := range map[string]file{
			"part":   {name: "a.html", data: sign + script},
			"member": {name: "a.zip", data: zipped(t, "a.xhtml", sign+script)},
		} {
			if got := symbols(checked(t, Default(), letter(f), mail.In)); !slices.Contains(got, htmlSmuggling) {
				t.Errorf("%s, %.20q: %v", title, sign, got)
			}
		}
	}
	for name, data := range map[string]string{"a.csv": "GIF89a,=cmd|'/c x'!A0\n", "b.csv": "Subject: x\r\nFrom: y\r\nTo: x\r\nDate: y\r\nMessage-Id: z\r\n,=cmd|'/c x'!A0\n"} {
		if got := symbols(checked(t, Default(), letter(file{name: name, data: data}), mail.In)); !slices.Contains(got, dde) {
			t.Errorf("%s: %v", name, got)
		}
	}
	far := strings.Repeat("\n", 1100) + "%PDF-1.4\n1 0 obj\n<</Type/Catalog/OpenAction<</S/Launch/F(cmd.exe)>>>>\nendobj\n"
	if got := symbols(checked(t, Default(), letter(file{name: "a.pdf", data: far}), mail.In)); !slices.Contains(got, pdfLaunch) {
		t.Errorf("PDF: %v", got)
	}
}

// Some clients make an attachment of each text behind the first, and a page
// is then opened in a browser.
func TestPageAsText(t *testing.T) {
	mail2 := func(page string) string {
		return strings.Replace(letter(), "--=_b--", "--=_b\r\nContent-Type: text/html\r\n\r\n"+page+"\r\n--=_b--", 1)
	}
	for page, want := range map[string][]string{
		`<html><ScRipt>var b=new Blob([atob('x')]);URL.createObjectURL(b)</script></html>`:               {htmlSmuggling},
		`<html><script type="application/ld+json">{"@context":"https://schema.org"}</script>Hola</html>`: nil,
		`<html><script>a()</script><form><input type=password></form></html>`:                            nil,
	} {
		if got := symbols(checked(t, Default(), mail2(page), mail.In)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", page, got, want)
		}
	}
}

// What a message inside has too much of is not let pass unseen.
func TestInnerMessageOverItsBounds(t *testing.T) {
	many := "From: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
		strings.Repeat("--x\r\n\r\nh\r\n", 2500) + "--x\r\nContent-Type: application/octet-stream; name=bad.js\r\n\r\n" + weak + "\r\n--x--\r\n"
	got := symbols(checked(t, Default(), letter(file{name: "a.zip", data: zipped(t, "a.eml", many)}), mail.In))
	if !slices.Contains(got, bomb) {
		t.Error(got)
	}
}

// Ordinary mail that looks a little like the above.
func TestNoEvasion(t *testing.T) {
	logo := base64.StdEncoding.EncodeToString([]byte(noise(9000)))
	for _, c := range []struct {
		title string
		f     file
		want  []string
	}{
		{"electronic book with scripts", file{name: "a.epub", data: disguised(t, "OEBPS/a.xhtml", "<html>a</html>", "OEBPS/a.js", weak)}, nil},
		{"document without a name", file{fields: "Content-Type: application/vnd.openxmlformats-officedocument.wordprocessingml.document", data: docx(t)}, nil},
		{"list with bars", file{name: "a.csv", data: "a|b|c!\r\n-5|Hola!|x\r\n=SUMA(A1:A3);=HYPERLINK(\"https://our.example/a|b\")\r\n+34 600|x!\r\n"}, nil},
		{"SYLK of numbers", file{name: "a.slk", data: "ID;PWXL;N;E\r\nB;Y2;X2\r\nC;Y1;X1;K\"EXEC\"\r\nC;Y2;X1;K5;E2+3\r\nE\r\n"}, nil},
		{"gz of a text", file{name: "a.csv.gz", data: gzipped(t, "a;b\r\n")}, nil},
		{"empty zip", file{name: "a.zip", data: zipped(t)}, nil},
		{"calendar with an address", file{name: "a.ics", data: "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nATTACH:https://our.example/a.pdf\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"}, nil},
		{"card with a picture", file{name: "a.vcf", data: "BEGIN:VCARD\r\nPHOTO;TYPE=JPEG;ENCODING=b:" + base64.StdEncoding.EncodeToString([]byte(jpeg())) + "\r\nEND:VCARD\r\n"}, nil},
		{"invoice in XML with a PDF inside", file{name: "a.xml", data: `<?xml version="1.0"?><f:Facturae xmlns:f="http://www.facturae.es/Facturae/2014/v3.2.1/Facturae"><Document type="pdf">` + logo + `</Document><script>no</script></f:Facturae>`}, nil},
		{"linked workbook of the company", file{name: "a.docx", data: docx(t, "word/_rels/document.xml.rels", relationships("oleObject", `file:///C:\\a\\b.xlsx`))}, nil},
		{"page with a picture, a font and a script", file{name: "a.html", data: `<html><style>@font-face{src:url(data:font/woff2;base64,` + logo + `)}</style><img src="data:image/png;base64,` + logo + `"><script>document.title="Factura";print()</script></html>`}, []string{htmlAttachment}},
		{"text that begins", file{name: "a.txt", data: "we\nbegin with this\nend\n"}, nil},
		{"numbers of a program for mathematics", file{name: "a.mat", data: "MATLAB 5.0 MAT-file" + noise(300)}, nil},
		{"signed contract", file{name: "contrato.pdf.p7s", data: "0\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + noise(300)}, nil},
	} {
		if got := symbols(checked(t, Default(), letter(c.f), mail.In)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.title, got, c.want)
		}
	}
}
