package seeds

import (
	"fmt"
	"strings"
	"testing"
)

// ordinaryNames are names of files that people send, in many languages and
// some of them close to what is refused.
func ordinaryNames() []string {
	return []string{
		"acta.pdf", "Factura 2024-117.pdf", "Factura Nº 3.pdf", "Año nuevo, ñandú y pingüino.docx", "Presupuesto (copia) 2.xlsx", "report.com.pdf", "www.tienda.com.pdf",
		"command.com.txt", "notes.vb.txt", "main.js.map", "app.min.css", "datos.json", "datos.jsonl", "backup.tar.gz", "copia.2024.05.17.zip", "v1.2.3.txt", "Contrato S.L.", "Contrato EE.UU..doc",
		"Certificado ISO 9001.pdf", "norma.iso.pdf", "IMG_20240517.jpg", "IMG_2024.JPEG", "Captura 10:30:22.png", "phone.pdf", "someone.txt", "one.pdf", "Feliz Navidad.jpg", "Navidad.pptx",
		"happy 99 años.pdf", "pretty park.png", "password.txt", "decrypt-password.txt", "readme.txt", "readme", "LEEME", "day.region.csv", "birthday.ics", "invitacion.ics", "contacto.vcf", "smime.p7s", "signature.asc",
		"winmail.dat", "carta.msg", "carta.eml", "Re: pedido.eml", "plano.dwg", "plano.dxf", "foto.heic", "audio.ogg", "nota de voz.m4a", "video.mp4", "partitura.mid", "libro.epub", "hoja.ods", "texto.odt", "dibujo.odg",
		"informe.rtf", "tabla.csv", "extracto.txt", "extracto.xml", "nomina_05.xml", "factura.xsig", "factura_firmada.p7m", "clave.pub", "mapa.kml", "ruta.gpx", "modelo.stl", "matriz.mat", "figura.eps", "tesis.tex", "tesis.bib",
		"informe.{borrador}.pdf", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.pdf", "plan {2024}.odt", "a..b.pdf", "espacios   en   medio.pdf", "screen.png", "scr.pdf", "batman.pdf", "combat.doc", "regalo.gif", "registro.pdf",
		"exe.pdf", "lnk.docx", "pif paf.mp3", "shs.txt", "hola.html.pdf", "Über die Straße.pdf", "Отчёт за май.pdf", "会議の議事録.pdf", "見積書．pdf", "تقرير مالي.pdf", "דוח שנתי.pdf", "דוח\u200f 3.pdf", "می\u200cخواهم.pdf",
		"Ελληνικά.pdf", "Zażółć gęślą jaźń.pdf", "한국어 문서.pdf", "ไทย เอกสาร.pdf", "Emoji 👩\u200d💻 final.pdf", strings.Repeat("Largo ", 20) + ".pdf", "\u202aacta.pdf", "50% de descuento.pdf", "100%25.pdf", "C++ y C#.pdf",
	}
}

// ordinaryTexts are letters as people and machines write them.
func ordinaryTexts() []string {
	return []string{
		"Hola Ana:\n\nte mando el acta de la reunión. Dime si te parece bien.\n\nUn saludo,\nÍñigo",
		"Te mando este archivo para que lo firmes. Espero que te guste.\n\nGracias",
		"Espero me puedas ayudar con la matrícula del niño.\n\nGracias de antemano",
		"Este es el archivo con las fotos que me pediste ayer en la oficina.",
		"Hi! How are you?\n\nI send you this file. Please tell me what you think.\n\nSee you later. Thanks",
		"This is the file with the information for the meeting.",
		"I am sorry for the delay; REM sleep is a fascinating subject.",
		"Begin 2025 with a smile!\nbegin 10 minutes earlier\nend",
		"begin reading at page 644, then see notes.com pages",
		"Para instalarlo ejecute setup.exe y siga los pasos; luego borre kak.txt.",
		"El programa command.com de MS-DOS; filename=\"x.exe\" en la cabecera; name=\"malo.vbs\".",
		"La orden es: <iframe src=\"https://video.example/1\"> en la plantilla.",
		"diff --git a/app.js b/app.js\n--- a/app.js\n+++ b/app.js\n@@ -1 +1 @@\n-name=\"x.js\"\n+name=\"y.js\"\n",
		"Esto es del registro del servidor:\n\nContent-Disposition: attachment; filename=\"factura.pdf.exe\"\n\nContent-Type: message/partial",
		"Feliz Navidad y próspero año nuevo a todos.\n\nEmanuel",
		"Su pedido 1177 de www.tienda.com ha salido hoy. Sígalo en https://www.tienda.com/pedidos/1177.",
		"Your password expires in 14 days. Change it in the portal, never by mail.",
		"I love you too. Mamá",
		"The message could not be delivered: mailbox full. Partial message follows.\n\nReporting-MTA: dns; mx.sender.example",
		"Aviso del CERT: circulan mensajes con el asunto \"Enanito si, pero con que pedazo!\" y el remitente hahaha@sexyfun.net. Borradlos.",
		"Snow White and the seven dwarfs: school play on Friday at 18:00.",
		"rem this is a comment of a batch file that I found\r\necho off",
		"日本語の本文です。よろしくお願いします。",
		"Здравствуйте, высылаю отчёт за май.",
		"שלום, מצורף הדוח.",
	}
}

// ordinaryPages are letters in HTML.
func ordinaryPages() []string {
	return []string{
		"<p>Hola <b>Ana</b>, te mando el acta.</p>",
		"<html><head><style>p{color:red}</style><meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body><table><tr><td>Oferta</td></tr></table></body></html>",
		"<script type=\"application/ld+json\">{\"@type\":\"FlightReservation\"}</script><p>Su vuelo</p>",
		"<form action=\"https://survey.example/\"><input type=\"radio\" name=\"q\"><input type=\"submit\"></form><p>¿Qué tal?</p>",
		"<p>El código es &lt;iframe src=\"x\"&gt; y &lt;script&gt;.</p>",
		"<!--[if mso]><xml><o:OfficeDocumentSettings></o:OfficeDocumentSettings></xml><![endif]--><p>Boletín</p>",
		"<div class=iframe><img src=\"cid:logo@sender.example\" alt=\"script\"></div>",
		"<p>Mire el vídeo</p><iframe src=\"https://video.example/embed/1\"></iframe>",
		"<img src='https://sender.example/t.gif?u=1' width=1 height=1><a href='https://sender.example/setup.exe'>Descargar</a>",
		"<blockquote><p>Te mando este archivo</p><p>para que lo veas</p></blockquote>",
	}
}

// ordinary are all of them, as programs write them.
func ordinary() (out []form) {
	for _, n := range ordinaryNames() {
		for _, f := range attached(n) {
			out = append(out, form{"file " + n + ", " + f.name, f.raw})
		}
	}
	for i, s := range ordinaryTexts() {
		name := fmt.Sprintf("text %d, ", i)
		utf8 := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
		out = append(out, form{name + "8bit", letter(utf8+"8bit\n", s)}, form{name + "base64", letter(utf8+"base64\n", b64(s))},
			form{name + "quoted-printable", letter(utf8+"quoted-printable\n", soft(s))},
			form{name + "in HTML", letter("Content-Type: text/html; charset=utf-8\n", "<p>"+strings.NewReplacer("&", "&amp;", "<", "&lt;", "\n", "<br>\n").Replace(s)+"</p>")},
			form{name + "quoted", letter(utf8+"8bit\n", "> "+strings.ReplaceAll(s, "\n", "\n> "))},
			form{name + "without MIME", crlf(head + "Subject: hola\n\n" + s + "\n")},
			form{name + "answered", letter(utf8+"8bit\n", "De acuerdo.\n\n-----Mensaje original-----\nDe: Ana\nAsunto: hola\n\n"+s)})
	}
	for i, s := range ordinaryPages() {
		html := "Content-Type: text/html; charset=utf-8\n"
		out = append(out, form{fmt.Sprintf("page %d", i), letter(html, s)}, form{fmt.Sprintf("page %d, quoted-printable", i), letter(html+"Content-Transfer-Encoding: quoted-printable\n", soft(s))})
	}
	return append(out, machines()...)
}

// machines are letters with structures of their own.
func machines() []form {
	part := func(kind, parts string) string {
		return crlf(head + "Subject: aviso\nMIME-Version: 1.0\nContent-Type: " + kind + "; boundary=\"b1\"\n\n" + parts + "--b1--\n")
	}
	forwarded := func(name string) string {
		return part("multipart/mixed", "--b1\nContent-Type: text/plain\n\nMira\n--b1\nContent-Type: message/rfc822; name=\""+name+"\"\nContent-Disposition: attachment; filename=\""+name+"\"\n\nFrom: c@sender.example\nSubject: "+name+"\n\nHola\n")
	}
	return []form{
		{"a letter named after its subject", forwarded("Pedido de tienda.com")},
		{"a letter with that subject and no name", part("multipart/mixed", "--b1\nContent-Type: message/rfc822\n\nSubject: Registro en www.tienda.com\n\nHola\n")},
		{"a letter named after a domain like a file", forwarded("Novedades de www.xml.com")},
		{"a bookmark of a document", withPart("Content-Disposition: attachment; filename=\"acta.pdf.url\"\n")},
		{"an eml", forwarded("Pedido de tienda.com.eml")},
		{"a report", part("multipart/report; report-type=delivery-status", "--b1\nContent-Type: text/plain\n\nNo se pudo entregar\n--b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.sender.example\n\nFinal-Recipient: rfc822; x@our.example\nAction: failed\nStatus: 5.1.1\n\n--b1\nContent-Type: text/rfc822-headers\n\nSubject: hola.com\n\n")},
		{"signed", part("multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256", "--b1\nContent-Type: text/plain\n\nHola\n--b1\nContent-Type: application/pgp-signature; name=\"signature.asc\"\n\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n")},
		{"a picture in the text", part("multipart/related", "--b1\nContent-Type: text/html\n\n<img src=\"cid:a\">\n--b1\nContent-Type: image/png; name=\"logo.png\"\nContent-ID: <www.tienda.com>\nContent-Location: https://www.tienda.com/logo.js\nContent-Description: www.tienda.com\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n")},
		{"a description that ends in .com", part("multipart/mixed", "--b1\nContent-Type: application/pdf; name=\"acta.pdf\"\nContent-Description: Acta de www.tienda.com\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n")},
		{"a subject that ends in .com", crlf(head + "Subject: Bienvenido a tienda.com\n\nHola\n")},
		{"a subject that ends in .exe", crlf(head + "Subject: No encuentro setup.exe\nContent-Type: text/plain\n\nHola\n")},
		{"a document whose subject ends in .js", crlf(head + "Subject: Curso de Node.js\nMIME-Version: 1.0\nContent-Type: application/pdf; name=\"curso.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n")},
		{"a calendar", part("multipart/alternative", "--b1\nContent-Type: text/plain\n\nReunión\n--b1\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:Reunión\nURL:https://www.tienda.com\nEND:VEVENT\nEND:VCALENDAR\n")},
		{"a page of a shop", letter("Content-Type: text/html; charset=utf-8\n", "<form action=x><input name=q></form>"+strings.Repeat("<table><tr><td><a href=\"https://www.tienda.com/a.js\">x</a></td></tr></table>\n", 200))},
	}
}

// TestOrdinary: no rule refuses an ordinary letter, and its score stays below
// what a recipient sees.
func TestOrdinary(t *testing.T) {
	t.Parallel()
	set := shipped(t)
	letters := ordinary()
	if len(letters) < 300 {
		t.Errorf("only %d letters", len(letters))
	}
	hit := 0
	for _, f := range letters {
		s := ask(t, set, f.raw)
		if len(s.refuse) > 0 || s.score >= tagThreshold {
			t.Errorf("%s: hit by %q, score %v", f.name, s.ids, s.score)
		}
		if len(s.ids) > 0 {
			hit++
			t.Logf("%s: %q, %v points", f.name, s.ids, s.score)
		}
	}
	t.Logf("%d letters, %d with points", len(letters), hit)
}
