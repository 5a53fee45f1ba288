package attachment

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"garita/mail"
)

// nameForms writes a name in each way that mail programs have for it.
func nameForms(name string) map[string]string {
	enc := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	b64 := base64.StdEncoding.EncodeToString([]byte(name))
	half := len(name) / 2
	raw := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)
	forms := map[string]string{
		"E-40 rfc2231":            "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*=utf-8''" + enc(name),
		"E-40 rfc2231 no charset": "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*=''" + enc(name),
		"E-41 rfc2231 language":   "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*=utf-8'en-US'" + enc(name),
		"E-42 continued":          fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*0*=utf-8''%s;\r\n filename*1*=%s", enc(name[:half]), enc(name[half:])),
		"E-44 rfc2047":            "Content-Type: application/octet-stream;\r\n name=\"=?utf-8?B?" + b64 + "?=\"\r\nContent-Disposition: attachment",
	}
	if !strings.ContainsAny(name, "\x00\x07") {
		forms["quoted"] = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"" + raw + "\""
		forms["type name"] = "Content-Type: application/octet-stream; name=\"" + raw + "\"\r\nContent-Disposition: attachment"
	}
	return forms
}

// Each class by name, in each form, both directions.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       string
		verdict    mail.Verdict
	}{
		{"a.exe", "x", "executable", mail.Reject},
		{"a.ps1", "x", "script", mail.Reject},
		{"a.lnk", "x", "shortcut", mail.Reject},
		{"invoice.pdf.exe", "x", "double_extension executable", mail.Reject},
		{"Factura_\u202efdp.exe", "x", "bidi executable", mail.Reject},
		{"a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", "x", "clsid", mail.Reject},
		{"a.iso", "x", "disk_image", mail.Quarantine},
		{"a.js", "x", "blocked script", mail.Reject},
		{"a\u200b.exe", "x", "executable hidden_name", mail.Reject},
		{"a.exe\x00.pdf", "x", "executable hidden_name", mail.Reject},
		{"a.exe.", "x", "executable hidden_name", mail.Reject},
		{"a" + strings.Repeat(" ", 14) + ".exe", "x", "executable hidden_name", mail.Reject},
		{strings.Repeat("a", 160) + ".txt", "x", "long_name", mail.Continue},
		{"macro.docm", "x", "macro", mail.Continue},
		{"in\u202etxt.pdf", pdf(), "bidi", mail.Continue},
	} {
		want := strings.Fields(c.want)
		for form, fields := range nameForms(c.name) {
			for _, dir := range []mail.Direction{mail.In, mail.Out} {
				d, fs := decided(t, Default(), letter(file{fields: fields, data: c.data}), dir)
				got := symbols(fs)
				// More readings of a name may have more oddities; never fewer.
				for _, w := range want {
					if !slices.Contains(got, w) {
						t.Errorf("%q %s %v: %v, want %v", c.name, form, dir, got, want)
					}
				}
				if d.Verdict != c.verdict {
					t.Errorf("%q %s %v: %v, want %v", c.name, form, dir, d.Verdict, c.verdict)
				}
			}
		}
	}
}

// E-54: every extension, in either case, has its class, unless the octets
// decide.
func TestExtensionsInMail(t *testing.T) {
	for class, list := range map[string]string{
		executable: "exe scr com pif msi msp mst jar chm hlp cpl inf gadget msc xll wll ade adp mdb accde diagcab apk",
		script:     "bat cmd vbs vbe js jse wsf wsh hta ps1 psm1 psd1 reg sct",
		shortcut:   "lnk url scf jnlp library-ms search-ms settingcontent-ms appref-ms theme",
		diskImage:  "iso img vhd vhdx",
		macro:      "docm dotm xlsm xltm pptm ppam sldm xlam",
	} {
		for _, e := range strings.Fields(list) {
			for _, x := range []string{e, strings.ToUpper(e)} {
				if got := symbols(checked(t, Default(), letter(file{name: "a." + x, data: "x"}), mail.In)); !slices.Contains(got, class) {
					t.Errorf("%s: %v, want %s", x, got, class)
				}
			}
		}
	}
	for _, e := range Default().Extensions { // features 1.9
		if got := symbols(checked(t, Default(), letter(file{name: "a." + e, data: "x"}), mail.In)); !slices.Contains(got, blocked) {
			t.Errorf("%s: %v", e, got)
		}
	}
}

// What the octets say, whatever the name.
func TestOctets(t *testing.T) {
	iso := make([]byte, 40000)
	copy(iso[32769:], "CD001")
	for _, c := range []struct {
		title, name, data, want string
		verdict                 mail.Verdict
	}{
		{"program as picture", "a.jpg", pe(), executable, mail.Reject},
		{"program without a name", "", pe(), executable, mail.Reject},
		{"disk image as data", "a.dat", string(iso), diskImage, mail.Quarantine},
		{"script as text", "a.txt", "@echo off\r\nstart x\r\n", mismatch, mail.Continue},
		{"script without extension", "run", "#!/bin/sh\necho\n", script, mail.Reject},
		{"shortcut as text", "a.txt", "L\x00\x00\x00\x01\x14\x02\x00", shortcut, mail.Reject},
		{"page as picture", "a.png", "<html><body>a</body></html>", mismatch, mail.Continue},
		{"archive as picture", "a.png", zipped(t, "a.txt", "x"), mismatch, mail.Continue},
		{"Z-15 volume", "a.r00", "\x01\x02\x03\x04junk\x00\x01", archiveOpaque, mail.Quarantine},
		{"page", "a.html", "<html>a</html>", htmlAttachment, mail.Continue},
		{"page in text", "a.htm", "hola", htmlAttachment, mail.Continue},
	} {
		d, fs := decided(t, Default(), letter(file{name: c.name, data: c.data}), mail.In)
		if got := symbols(fs); !slices.Contains(got, c.want) || d.Verdict != c.verdict {
			t.Errorf("%s: %v %v, want %s %v", c.title, got, d.Verdict, c.want, c.verdict)
		}
	}
}

// 2.Z: what is in archives is judged as what stands outside, and told with its
// place.
func TestArchives(t *testing.T) {
	inner := zipped(t, "a.exe", pe())
	for _, c := range []struct {
		title, data, want, where string
		verdict                  mail.Verdict
	}{
		{"program", zipped(t, "a.exe", pe()), executable, "part 2 › a.zip › a.exe", mail.Reject},
		{"two deep", zipped(t, "b.zip", inner), executable, "part 2 › a.zip › b.zip › a.exe", mail.Reject},
		{"by octets", zipped(t, "a.txt", pe()), executable, "part 2 › a.zip › a.txt", mail.Reject},
		{"double extension", zipped(t, "a.pdf.js", "x"), doubleExtension, "part 2 › a.zip › a.pdf.js", mail.Reject},
		{"image", zipped(t, "a.iso", "x"), diskImage, "part 2 › a.zip › a.iso", mail.Quarantine},
		{"two archives in one, Z-01", zipped(t, "a.txt", "x") + inner, archiveAmbiguous, "", mail.Reject},
		{"cut short, Z-19", inner[:len(inner)-40], executable, "", mail.Reject},
		{"mail inside", zipped(t, "a.eml", letter(file{name: "b.exe", data: pe()})), executable, "", mail.Reject},
	} {
		d, fs := decided(t, Default(), letter(file{name: "a.zip", data: c.data}), mail.In)
		if got := symbols(fs); !slices.Contains(got, c.want) || d.Verdict != c.verdict {
			t.Errorf("%s: %v %v, want %s %v", c.title, got, d.Verdict, c.want, c.verdict)
		}
		if c.where != "" && !slices.ContainsFunc(fs, func(f mail.Finding) bool { return f.Symbol == Prefix+c.want && f.Where == c.where }) {
			t.Errorf("%s: no place %q in %v", c.title, c.where, fs)
		}
	}
}

// What a bound leaves unseen is held (Z-10, Z-12, Z-22).
func TestBomb(t *testing.T) {
	deep := zipped(t, "a.txt", "x")
	for range 12 {
		deep = zipped(t, "a.zip", deep)
	}
	zeros := zipped(t, "a.txt", strings.Repeat("\x00", 8<<20))
	for title, c := range map[string]struct {
		data string
		set  func(*Config)
	}{
		"depth":   {deep, func(*Config) {}},
		"members": {zipped(t, "a", "1", "b", "2", "c", "3"), func(c *Config) { c.Archives.Members = 2 }},
		"ratio":   {zeros, func(*Config) {}},
		"bytes":   {zeros, func(c *Config) { c.Archives.Unpacked = 1 << 20; c.Archives.Ratio = 1 << 20 }},
	} {
		cfg := Default()
		c.set(&cfg)
		d, fs := decided(t, cfg, letter(file{name: "a.zip", data: c.data}), mail.In)
		if !slices.Contains(symbols(fs), bomb) || d.Verdict != mail.Quarantine {
			t.Errorf("%s: %v %v", title, symbols(fs), d.Verdict)
		}
	}
	// One budget for the message, not one for each archive.
	cfg := Default()
	cfg.Archives.Members = 5
	three := zipped(t, "a", "1", "b", "2", "c", "3")
	if fs := checked(t, cfg, letter(file{name: "a.zip", data: three}), mail.In); len(fs) > 0 {
		t.Errorf("one: %v", fs)
	}
	if fs := checked(t, cfg, letter(file{name: "a.zip", data: three}, file{name: "b.zip", data: three}), mail.In); !slices.Contains(symbols(fs), bomb) {
		t.Errorf("two: %v", fs)
	}
}

// Ordinary mail has no findings at all.
func TestClean(t *testing.T) {
	docx := zipped(t, "[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`, "_rels/.rels", `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"/>`, "word/document.xml", `<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"/>`)
	files := []file{
		{name: "Acta Nº 3.pdf", data: pdf()}, {name: "informe.final.v2.docx", data: docx}, {name: "foto.JPG", data: jpeg()},
		{name: "datos.csv", data: "nombre;edad\r\nAna;30\r\n"}, {name: "notas.txt", data: "Hola.\r\n"}, {name: "copia.tar.gz", data: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "fotos.zip", data: zipped(t, "a.jpg", jpeg(), "léeme.txt", "hola", "carpeta/b.pdf", pdf())},
		{name: "invitación.ics", data: "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"}, {name: "contacto.vcf", data: "BEGIN:VCARD\r\nEND:VCARD\r\n"},
		{name: "código.go", data: "package main\n\nfunc main() {}\n"}, {name: "Contrato S.L.", data: pdf()}, {name: "report.xml", data: "<?xml version=\"1.0\"?><feedback/>"},
		{name: "firma.asc", data: "-----BEGIN PGP SIGNATURE-----\r\n\r\nabc\r\n"}, {name: "smime.p7s", data: "\x30\x82\x10\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01"},
		{fields: "Content-Type: image/png; name=\"logo.png\"\r\nContent-ID: <logo>\r\nContent-Disposition: inline; filename=\"logo.png\"", data: "\x89PNG\r\n\x1a\n" + strings.Repeat("\x00", 64)},
		{fields: "Content-Type: message/rfc822; name=\"pedido en ejemplo.com\"", data: "From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nhola\r\n"},
		{name: "texto.rtf", data: "{\\rtf1\\ansi Hola.}"}, {name: "hoja.xls", data: "<table><tr><td>1</td></tr></table>"[:0] + "nombre\tedad\r\n"}, {name: "musica.mp3", data: "ID3\x03\x00\x00\x00\x00\x00\x00\x00\x00"},
		{fields: "Content-Type: image/svg+xml; name=logo.svg\r\nContent-ID: <l>\r\nContent-Disposition: inline; filename=logo.svg", data: "<svg xmlns=\"http://www.w3.org/2000/svg\"><path d=\"M0 0\"/></svg>"},
		{name: "vacío.txt", data: ""}, {name: "ATT00001.bin", data: "\x00\x07\x09\xfe\x01"},
	}
	for _, f := range files {
		if fs := checked(t, Default(), letter(f), mail.In); len(fs) > 0 {
			t.Errorf("%q: %+v", f.name+f.fields, fs)
		}
	}
	if fs := checked(t, Default(), letter(files...), mail.In); len(fs) > 0 {
		t.Errorf("all: %+v", fs)
	}
	for _, raw := range []string{
		"From: a@b.example\r\nSubject: x\r\n\r\nhola\r\n",
		"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<html><script>a</script><form><input type=password></form></html>\r\n",
		"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n@echo off\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>hola</p>\r\n--b--\r\n",
	} {
		if fs := checked(t, Default(), raw, mail.In); len(fs) > 0 {
			t.Errorf("%q: %v", raw, fs)
		}
	}
}

// Actions of both directions, and the reply.
func TestActions(t *testing.T) {
	for _, c := range []struct {
		in, out string
		dir     mail.Direction
		verdict mail.Verdict
		mode    mail.Mode
		n       int
	}{
		{actionReject, "", mail.In, mail.Reject, mail.Enforce, 1},
		{actionHold, "", mail.In, mail.Quarantine, mail.Enforce, 1},
		{actionScore, "", mail.In, mail.Continue, mail.Score, 1},
		{actionObserve, "", mail.In, mail.Continue, mail.Observe, 1},
		{actionOff, "", mail.In, mail.Continue, 0, 0},
		{actionReject, "", mail.Out, mail.Reject, mail.Enforce, 1},
		{actionReject, actionHold, mail.Out, mail.Quarantine, mail.Enforce, 1},
		{actionOff, actionReject, mail.Out, mail.Reject, mail.Enforce, 1},
		{actionReject, actionOff, mail.Out, mail.Continue, 0, 0},
		{actionReject, actionOff, mail.In, mail.Reject, mail.Enforce, 1},
	} {
		cfg := Default()
		cfg.Executable, cfg.Out.Executable = c.in, c.out
		cfg.Bidi = actionOff
		d, fs := decided(t, cfg, letter(file{name: "x.exe", data: pe()}), c.dir)
		if d.Verdict != c.verdict || len(fs) != c.n {
			t.Errorf("%+v: %v %v", c, d.Verdict, fs)
		}
		if c.n > 0 && (fs[0].Mode != c.mode || fs[0].Score != 10) {
			t.Errorf("%+v: %+v", c, fs[0])
		}
	}
	d, _ := decided(t, Default(), letter(file{fields: "Content-Type: a/b\r\nContent-Disposition: attachment; filename*=utf-8''a%E2%80%AE%0D%0A250%20ok%1b.exe", data: pe()}), mail.In)
	if got := d.Reply.String(); d.Reply.Code != 554 || !strings.HasPrefix(got, "554 5.7.1 Attachment refused: a program or installer, \"a") || strings.ContainsAny(got, "\r\n\x1b\u202e") {
		t.Errorf("reply %q", got)
	}
	// The sender knows the name of what he attached, not what is in it.
	inner := zipped(t, "run.exe", pe())
	d, _ = decided(t, Default(), letter(file{name: "fotos.zip", data: zipped(t, "inner.zip", inner)}), mail.In)
	if got := d.Reply.String(); got != `554 5.7.1 Attachment refused: a program or installer, "run.exe" in "fotos.zip"` {
		t.Errorf("reply %q", got)
	}
	d, _ = decided(t, Default(), letter(file{name: "evil\u202e.zip", data: inner}), mail.In)
	if got := d.Reply.String(); !strings.HasSuffix(got, `"run.exe" in "evil\u202e.zip"`) {
		t.Errorf("reply %q", got)
	}
}

// Issue point 8: an exception counts when all recipients have it, else the
// strongest verdict holds for all.
func TestExceptions(t *testing.T) {
	raw := letter(file{name: "x.exe", data: pe()})
	cfg := Default()
	cfg.ExceptRecipients = []string{"dev@our.example", "lab.example"}
	for _, c := range []struct {
		rcpts   string
		verdict mail.Verdict
	}{
		{"dev@our.example", mail.Continue}, {"Dev@OUR.example", mail.Continue}, {"any@lab.example", mail.Continue},
		{"dev@our.example any@lab.example", mail.Continue}, {"dev@our.example ana@our.example", mail.Reject},
		{"ana@our.example", mail.Reject}, {"x@sub.lab.example", mail.Reject},
	} {
		d, fs := decided(t, cfg, raw, mail.In, strings.Fields(c.rcpts)...)
		if d.Verdict != c.verdict || len(fs) != 1 {
			t.Errorf("%s: %v %v", c.rcpts, d.Verdict, fs)
		}
	}
	cfg.ExceptSenders = []string{"sender.example"}
	if d, fs := decided(t, cfg, raw, mail.In, "ana@our.example"); d.Verdict != mail.Continue || len(fs) != 1 || fs[0].Mode != mail.Observe {
		t.Errorf("sender: %v %v", d.Verdict, fs)
	}
}

// An exception from some classes lets nothing else through.
func TestExceptionsByClass(t *testing.T) {
	cfg := Default()
	cfg.ExceptRecipients = []string{"dev@our.example script blocked", "dev@our.example disk_image", "lab.example executable", "boss@lab.example script blocked"}
	for _, c := range []struct {
		rcpts, name string
		data        string
		verdict     mail.Verdict
	}{
		{"dev@our.example", "a.js", "x", mail.Continue}, {"dev@our.example", "a.exe", pe(), mail.Reject}, {"dev@our.example", "a.iso", "x", mail.Continue},
		{"any@lab.example", "a.exe", pe(), mail.Continue}, {"any@lab.example", "a.js", "x", mail.Reject},
		{"boss@lab.example", "a.exe", pe(), mail.Continue}, {"boss@lab.example", "a.js", "x", mail.Continue}, {"boss@lab.example", "a.lnk", "x", mail.Reject},
		{"dev@our.example boss@lab.example", "a.js", "x", mail.Continue}, {"dev@our.example any@lab.example", "a.js", "x", mail.Reject},
	} {
		if d, fs := decided(t, cfg, letter(file{name: c.name, data: c.data}), mail.In, strings.Fields(c.rcpts)...); d.Verdict != c.verdict || len(fs) == 0 {
			t.Errorf("%s, %s: %v %v", c.rcpts, c.name, d.Verdict, fs)
		}
	}
	two := letter(file{name: "a.js", data: "x"}, file{name: "b.exe", data: pe()})
	if d, _ := decided(t, cfg, two, mail.In, "dev@our.example"); d.Verdict != mail.Reject {
		t.Errorf("with a program: %v", d.Verdict)
	}
	cfg.Script, cfg.Executable = actionDisarm, actionDisarm
	d, _ := decided(t, cfg, two, mail.In, "dev@our.example")
	if now := left(t, two, d.Disarm); d.Verdict != mail.Continue || len(d.Disarm) != 1 || !strings.Contains(now, "a.js") {
		t.Errorf("disarmed: %v, %d edits", d.Verdict, len(d.Disarm))
	}
	for _, bad := range []string{"dev@our.example macros", "dev@our.example,script", " "} {
		cfg.ExceptRecipients = []string{bad}
		if len(cfg.Validate()) == 0 {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestOwnLists(t *testing.T) {
	cfg := Default()
	cfg.Extensions = []string{"xyz"}
	cfg.Types = []string{"video/*", "application/x-foo"}
	cfg.Allow = []string{"py"}
	for _, c := range []struct {
		f    file
		want string
	}{
		{file{name: "a.XYZ", data: "x"}, blocked},
		{file{fields: "Content-Type: video/mp4", data: "x"}, blocked},
		{file{fields: "Content-Type: application/x-foo", data: "x"}, blocked},
		{file{name: "a.py", data: "#!/usr/bin/env python3\nprint(1)\n"}, ""},
		{file{name: "a.txt.py", data: "print(1)\n"}, ""},
		{file{name: "a.py", data: pe()}, executable},
		{file{name: "a.js", data: "x"}, script},
	} {
		if got := strings.Join(symbols(checked(t, cfg, letter(c.f), mail.In)), " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	cfg.MaxCount, cfg.MaxSize = 2, 3
	three := file{name: "a.txt", data: "x"}
	if got := symbols(checked(t, cfg, letter(three, three, three), mail.In)); !slices.Equal(got, []string{tooMany}) {
		t.Errorf("count: %v", got)
	}
	if d, fs := decided(t, cfg, letter(file{name: "a.txt", data: "xxxx"}), mail.In); !slices.Equal(symbols(fs), []string{tooLarge}) || d.Verdict != mail.Reject {
		t.Errorf("size: %v", fs)
	}
}
