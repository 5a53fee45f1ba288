package load

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"math/rand"
	"strings"
)

// prose is text of about size octets in lines, from the words of mail.
func prose(r *rand.Rand, size int) []byte {
	list := strings.Fields(words)
	b := make([]byte, 0, size+80)
	for column := 0; len(b) < size; {
		w := list[r.Intn(len(list))]
		b = append(b, w...)
		if column += len(w) + 1; column > 68 {
			b, column = append(b, '\n'), 0
		} else {
			b = append(b, ' ')
		}
	}
	return append(b, '\n')
}

// noise is what compressed pictures look like.
func noise(r *rand.Rand, size int) []byte {
	b := make([]byte, max(size, 0))
	r.Read(b)
	return b
}

// File makes a file of about size octets: "jpg", "pdf" and "docx" with what
// such files mostly have, pictures and a tenth of compressed text; "zip" with
// one picture; "text.zip" with compressed text alone, which unpacks to three
// times its size.
func File(seed int64, kind string, size int) []byte {
	r := rand.New(rand.NewSource(seed))
	picture := func(n int) []byte {
		return append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x48\x00\x48\x00\x00"), noise(r, n-22)...)
	}
	var b bytes.Buffer
	switch kind {
	case "jpg":
		return picture(size)
	case "pdf":
		b.WriteString("%PDF-1.5\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Count 1 /Kids [3 0 R] >>\nendobj\n" +
			"3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>\nendobj\n")
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write(prose(r, size*3/10))
		w.Close()
		fmt.Fprintf(&b, "4 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream\nendobj\n", z.Len(), z.Bytes())
		for n := 5; b.Len() < size-200; n++ {
			p := picture(min(200<<10, size-b.Len()))
			fmt.Fprintf(&b, "%d 0 obj\n<< /Type /XObject /Subtype /Image /Width 800 /Height 600 /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n", n, len(p), p)
		}
		b.WriteString("trailer\n<< /Root 1 0 R >>\nstartxref\n0\n%%EOF\n")
		return b.Bytes()
	}
	z := zip.NewWriter(&b)
	put := func(name string, data []byte) {
		if w, err := z.Create(name); err == nil {
			w.Write(data)
		}
	}
	switch kind {
	case "docx":
		put("[Content_Types].xml", []byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">`+
			`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="jpeg" ContentType="image/jpeg"/>`+
			`<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`))
		put("_rels/.rels", []byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`+
			`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`))
		text := append([]byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>`),
			prose(r, size*3/10)...)
		put("word/document.xml", append(text, "</w:t></w:r></w:p></w:body></w:document>"...))
		for i := 1; b.Len() < size-4096; i++ {
			put(fmt.Sprintf("word/media/image%d.jpeg", i), picture(min(200<<10, size-b.Len()-512)))
		}
	case "zip":
		put("foto.jpg", picture(size-300))
	case "text.zip":
		put("notes.txt", prose(r, size*3))
	}
	z.Close()
	return b.Bytes()
}

// head is the header of a message, LF line ends, without what tells its type.
func head(r *rand.Rand) string {
	return fmt.Sprintf("Received: from mail.example.org (mail.example.org [192.0.2.%d])\n\tby mx.example.com with ESMTPS id %X\n\tfor <bob@our.example>; Mon, 1 Jun 2026 10:12:12 +0200 (CEST)\n"+
		"Message-ID: <%016x@example.org>\nDate: Mon, 1 Jun 2026 10:00:00 +0200\nFrom: Alice <alice@example.org>\nTo: Bob <bob@our.example>\nSubject: the report\nMIME-Version: 1.0\n",
		1+r.Intn(250), r.Uint32(), r.Uint64())
}

// Text is a text/plain message of about size octets.
func Text(seed int64, size int) string {
	r := rand.New(rand.NewSource(seed))
	h := head(r) + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
	return h + string(prose(r, size-len(h)))
}

// Alternative is a message in text and HTML, as most clients write it.
func Alternative(seed int64, size int) string {
	r := rand.New(rand.NewSource(seed))
	var b strings.Builder
	b.WriteString(head(r) + "Content-Type: multipart/alternative; boundary=\"000000000000a1b2c3\"\n\n--000000000000a1b2c3\n" +
		"Content-Type: text/plain; charset=\"UTF-8\"\nContent-Transfer-Encoding: 8bit\n\n")
	b.Write(prose(r, size*2/5-b.Len()/2))
	b.WriteString("\n--000000000000a1b2c3\nContent-Type: text/html; charset=\"UTF-8\"\nContent-Transfer-Encoding: quoted-printable\n\n<html><body>\n")
	for b.Len() < size-80 {
		b.WriteString("<p style=3D\"margin:0\">el informe de la semana, como cada lunes</p>=\n")
	}
	b.WriteString("</body></html>\n\n--000000000000a1b2c3--\n")
	return b.String()
}

// Attached is a message of about size octets with one file in base64.
func Attached(seed int64, kind string, size int) string {
	r := rand.New(rand.NewSource(seed))
	var b strings.Builder
	b.WriteString(head(r) + "Content-Type: multipart/mixed; boundary=\"000000000000d4e5f6\"\n\n--000000000000d4e5f6\n" +
		"Content-Type: text/plain; charset=\"UTF-8\"\n\n")
	b.Write(prose(r, min(800, size/8)))
	declared := map[string]string{"jpg": "image/jpeg", "pdf": "application/pdf", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"}[kind]
	if declared == "" {
		declared = "application/zip"
	}
	_, end, _ := strings.Cut("."+kind, ".")
	if i := strings.LastIndexByte(kind, '.'); i >= 0 {
		end = kind[i+1:]
	}
	fmt.Fprintf(&b, "\n--000000000000d4e5f6\nContent-Type: %s; name=\"informe.%s\"\nContent-Disposition: attachment; filename=\"informe.%s\"\nContent-Transfer-Encoding: base64\n\n", declared, end, end)
	text := base64.StdEncoding.EncodeToString(File(seed+1, kind, (size-b.Len()-32)*3/4*76/77))
	for len(text) > 0 {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	b.WriteString("--000000000000d4e5f6--\n")
	return b.String()
}
