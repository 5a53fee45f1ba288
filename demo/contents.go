package demo

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"strings"
)

// contents is mail with something inside: what is dangerous is refused or
// held, however it is wrapped, and its harmless counterpart arrives as it was
// sent.
func contents() []Case {
	program := []byte("MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + strings.Repeat("\x00", 44) + "\x80\x00\x00\x00" + strings.Repeat("\x00", 64) + "PE\x00\x00")
	letterhead := document()
	return []Case{
		held("double-extension", "invoice.pdf.exe, its name in base64", "factura.pdf.exe, nombre en base64", "550 5.7.1",
			attached("Invoice", `application/octet-stream; name="=?UTF-8?B?`+b64("factura.pdf.exe")+`?="`, `attachment`, program)),
		held("name-without-charset", "program, RFC 2231 name, no charset", "programa, nombre RFC 2231 sin charset", "550 5.7.1",
			attached("Photo", `image/jpeg`, `attachment; filename*=''foto%2Eexe`, program)),
		held("program-in-zips", "a program in a zip in a zip", "un programa en un zip en un zip", "554 5.7.1",
			attached("Offer", `application/zip; name=oferta.zip`, `attachment; filename=oferta.zip`,
				zipped("interior.zip", zipped("oferta.exe", program)))),
		held("macro", "workbook with macros that run", "libro con macros que se ejecutan", "250 2.0.0",
			attached("Accounts", `application/vnd.ms-excel.sheet.macroEnabled.12; name=cuentas.xlsm`, `attachment; filename=cuentas.xlsm`, workbook())),
		released(held("two-boundaries", "two boundaries: held, then released",
			"dos «boundary»: retenido y liberado", "250 2.0.0", twoBoundaries())),
		contained("document", "document without macros", "documento sin macros",
			attached("Letter", `application/vnd.openxmlformats-officedocument.wordprocessingml.document; name=carta.docx`, `attachment; filename=carta.docx`, letterhead)),
		contained("accents", "zip with a document and accents", "zip con un documento y acentos",
			attached("Actas", `application/zip`, `attachment; filename*=UTF-8''Reuni%C3%B3n%20N%C2%BA%203.zip`, zipped("Reunión Nº 3.docx", letterhead))),
		contained("quoted-name", "text file called v1.2.final.txt", "texto llamado v1.2.final.txt",
			attached("Notes", `text/plain; name="v1.2.final.txt"`, `attachment; filename="v1.2.final.txt"`, []byte("Nothing to see.\r\n"))),
	}
}

// TestVirus is the EICAR test file, which every antivirus finds and which does
// nothing. In two pieces, so that nobody takes this program for a virus.
func TestVirus() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`)
}

// Virus is the case of the antivirus, for when there is one.
func Virus() Case {
	c := held("virus", "EICAR virus in a zip in a zip", "virus EICAR en un zip en un zip", "554 5.7.1",
		attached("Report", `application/zip; name=informe.zip`, `attachment; filename=informe.zip`, zipped("b.zip", zipped("informe.txt", TestVirus()))))
	c.Want.Log = "Eicar-Test-File"
	return c
}

// held is a message that does not arrive: refused, or held with a 250.
func held(name, en, es, reply string, msg []byte) Case {
	c := refused(name, en, es, reply, func(d *Dialogue) {
		d.Envelope(sender, "", recipient)
		d.Data(msg)
	})
	if strings.HasPrefix(reply, "250") {
		c.Want.Text = "held as"
	}
	c.Want.Body = msg
	return c
}

// released is a held message that somebody then releases: it arrives.
func released(c Case) Case {
	c.Release = true
	c.Want.Host, c.Want.From, c.Want.To, c.Want.Received = mailHost, sender, []string{recipient}, "with ESMTP id"
	return c
}

// contained is a message with an attachment that has to arrive.
func contained(name, en, es string, msg []byte) Case {
	return delivered(name, en, es, msg, func(d *Dialogue) {
		d.Envelope(sender, "", recipient)
		d.Data(msg)
	})
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// lines folds base64 as mail does.
func lines(content []byte) string {
	var b strings.Builder
	for text := base64.StdEncoding.EncodeToString(content); len(text) > 0; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return b.String()
}

func head(subject, contentType string) string {
	return "From: Ana <" + sender + ">\r\nTo: Luis <" + recipient + ">\r\nSubject: " + subject + "\r\n" +
		"Date: Mon, 2 Nov 2026 10:00:00 +0100\r\nMessage-ID: <" + strings.ToLower(subject) + ".att@sender.example>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: " + contentType + "\r\n\r\n"
}

// attached is a letter with one attachment.
func attached(subject, contentType, disposition string, content []byte) []byte {
	return []byte(head(subject, `multipart/mixed; boundary="=_edge"`) +
		"--=_edge\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nSee the attachment.\r\n--=_edge\r\n" +
		"Content-Type: " + contentType + "\r\nContent-Disposition: " + disposition + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		lines(content) + "--=_edge--\r\n")
}

// twoBoundaries names two boundaries: some mail clients see the text alone,
// others the archive.
func twoBoundaries() []byte {
	return []byte(head("Two", `multipart/mixed; boundary="=_one"; boundary="=_two"`) +
		"--=_one\r\nContent-Type: text/plain\r\n\r\nA harmless text.\r\n--=_one--\r\n" +
		"--=_two\r\nContent-Type: application/zip; name=datos.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		lines(zipped("datos.txt", []byte("1;2;3\r\n"))) + "--=_two--\r\n")
}

// zipped is an archive of one file.
func zipped(name string, content []byte) []byte {
	return zipOf(map[string][]byte{name: content}, name)
}

// zipOf is an archive of these files, in this order. Nothing here can fail:
// it writes to memory.
func zipOf(files map[string][]byte, order ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range order {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// office are the namespaces that the parts of a document begin with.
const office = "application/vnd.openxmlformats-officedocument."

// document is a small text document.
func document() []byte {
	return officeFile("word/document.xml", office+"wordprocessingml.document.main+xml",
		`<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Hola</w:t></w:r></w:p></w:body></w:document>`)
}

// workbook is a small table with a sheet of Excel 4 macros.
func workbook() []byte {
	return officeFile("xl/workbook.xml", "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
		`<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheets><sheet name="Macro1" sheetId="1"/></sheets><definedNames><definedName name="_xlnm.Auto_Open">Macro1!$A$1</definedName></definedNames></workbook>`,
		"xl/macrosheets/sheet1.xml", `<xm:macrosheet xmlns:xm="http://schemas.microsoft.com/office/excel/2006/main"><sheetData/></xm:macrosheet>`)
}

// officeFile is an OOXML document: its main part, of that type, and others.
func officeFile(main, kind, text string, more ...string) []byte {
	const types = "[Content_Types].xml"
	const xml = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`
	files := map[string][]byte{
		types: []byte(xml + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override PartName="/` + main + `" ContentType="` + kind + `"/></Types>`),
		main:  []byte(xml + text),
	}
	order := []string{types, main}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = []byte(xml + more[i+1])
		order = append(order, more[i])
	}
	return zipOf(files, order...)
}
