package torture

import (
	"fmt"
	"strings"
)

// related is a letter as Outlook and Exchange build it.
func related(prefix, ext string, attach string) string {
	a, b, c := prefix+"004", prefix+"005", prefix+"006"
	return "Content-Type: multipart/mixed;\n\tboundary=\"" + a + "\"\n" + ext + "\n" +
		"--" + a + "\nContent-Type: multipart/related;\n\tboundary=\"" + b + "\"; type=\"multipart/alternative\"\n\n--" + b + "\nContent-Type: multipart/alternative;\n\tboundary=\"" + c + "\"\n\n--" + c +
		"\nContent-Type: text/plain; charset=\"iso-8859-1\"\nContent-Transfer-Encoding: quoted-printable\n\nBuenos d=EDas:\n\nadjunto lo hablado.\n\n--" + c +
		"\nContent-Type: text/html; charset=\"iso-8859-1\"\nContent-Transfer-Encoding: quoted-printable\n\n<html xmlns:o=3D\"urn:schemas-microsoft-com:office:office\"><head><!--[if gte mso 9]><xml><o:OfficeDocumentSettings/></xml><![endif]--><style>p.MsoNormal {margin:0cm}</style></head><body lang=3DES><p class=3DMsoNormal>Buenos d=EDas:<o:p></o:p></p><img src=3D\"cid:image001.png@01DA.1\"></body></html>\n\n--" + c + "--\n\n--" + b +
		"\nContent-Type: image/gif; name=\"image001.gif\"\nContent-Description: image001.gif\nContent-Disposition: inline; filename=\"image001.gif\"; size=43;\n\tcreation-date=\"Mon, 02 Sep 2024 08:00:00 GMT\"\nContent-ID: <image001.png@01DA.1>\nContent-Transfer-Encoding: base64\n\n" + b64(samples()["foto.gif"]) + "\n--" + b + "--\n\n--" + a + "\n" + attach + "\n--" + a + "--\n"
}

// imitations have the structure of well-known writers.
func imitations() []letter {
	pdf := b64(samples()["acta.pdf"])
	file := func(fields string) string { return fields + "Content-Transfer-Encoding: base64\n\n" + pdf }
	var out []letter
	put := func(tag, raw string) { out = append(out, letter{tag, top + raw}) }
	for name, f := range map[string]string{
		"plain":              "Content-Type: application/pdf; name=\"Acta.pdf\"\nContent-Description: Acta.pdf\nContent-Disposition: attachment; filename=\"Acta.pdf\"; size=120;\n\tcreation-date=\"Mon, 02 Sep 2024 08:00:00 GMT\";\n\tmodification-date=\"Mon, 02 Sep 2024 08:00:00 GMT\"\n",
		"both forms":         "Content-Type: application/pdf;\n\tname=\"=?iso-8859-1?Q?Acta_a=F1o.pdf?=\"\nContent-Disposition: attachment;\n\tfilename=\"=?iso-8859-1?Q?Acta_a=F1o.pdf?=\"; filename*=iso-8859-1''Acta%20a%F1o.pdf\n",
		"pieces":             "Content-Type: application/pdf;\n name*0*=utf-8''Un%20nombre%20muy%20largo%20que%20hay%20que%20partir%20en;\n name*1*=%20varios%20trozos%20a%C3%B1o.pdf\nContent-Disposition: attachment;\n filename*0*=utf-8''Un%20nombre%20muy%20largo%20que%20hay%20que%20partir%20en;\n filename*1*=%20varios%20trozos%20a%C3%B1o.pdf\n",
		"words folded":       "Content-Type: application/pdf;\n name=\"=?UTF-8?B?VW4gbm9tYnJlIG11eSBsYXJnbyBxdWUgaGF5IHF1ZSBwYXJ0aXIgYcOxbyA=?=\n =?UTF-8?B?eSBvdHJvIG3DoXMucGRm?=\"\nContent-Disposition: attachment;\n filename=\"=?UTF-8?B?VW4gbm9tYnJlIG11eSBsYXJnbyBxdWUgaGF5IHF1ZSBwYXJ0aXIgYcOxbyA=?=\n =?UTF-8?B?eSBvdHJvIG3DoXMucGRm?=\"\n",
		"UTF-8 as it is":     "Content-Type: application/pdf; name=\"Acta año.pdf\"\nContent-Disposition: attachment; filename=\"Acta año.pdf\"\n",
		"not quoted":         "Content-Type: application/pdf; name=Acta de hoy.pdf\nContent-Disposition: attachment; filename=Acta de hoy.pdf\n",
		"attachment ID":      "Content-Type: application/pdf; name=\"Acta.pdf\"\nContent-Disposition: attachment; filename=\"Acta.pdf\"\nContent-ID: <f_m0abc1230>\nX-Attachment-Id: f_m0abc1230\n",
		"mac":                "Content-Disposition: inline;\n\tfilename=\"Acta de hoy.pdf\"\nContent-Type: application/pdf;\n\tx-unix-mode=0644;\n\tname=\"Acta de hoy.pdf\"\n",
		"octet-stream":       "Content-Type: application/octet-stream; name=\"Factura_12-2024.pdf\"\nContent-Disposition: attachment; filename=\"Factura_12-2024.pdf\"\n",
		"name with a slash":  "Content-Type: application/pdf; name=\"Factura 12/2024.pdf\"\nContent-Disposition: attachment; filename=\"Factura 12/2024.pdf\"\n",
		"old SAP":            "Content-Type: application/pdf;name=\"0090001234.PDF\"\nContent-Disposition: attachment;filename=\"0090001234.PDF\"\nContent-Description: =?utf-8?Q?Factura=200090001234?=\n",
		"trailing semicolon": "Content-Type: application/pdf; name=\"a.pdf\";\nContent-Disposition: attachment; filename=\"a.pdf\";\n",
	} {
		for _, b := range []string{"_004_DB7PR04MB1234", "----=_Part_123_456.789", "----=_NextPart_000_0001_01DA", "Apple-Mail=_1A2B-", "000000000000abcdef05f", "------------0aBcDeFgHiJkLmNoPqRs", "=_0123456789abcdef", "b1_abcdef", "--=_NmP-abcdef-Part_1", "_av-aBc_dEf:gh"} {
			put("as "+b+", "+name, related(b, "Thread-Topic: Acta\nX-MS-Has-Attach: yes\n", file(f)))
		}
	}
	alt := func(b, html string) string {
		return "Content-Type: multipart/alternative; boundary=\"" + b + "\"\n\n--" + b + "\nContent-Type: text/plain; charset=\"UTF-8\"\nContent-Transfer-Encoding: quoted-printable\n\nHola\n\n--" + b + "\nContent-Type: text/html; charset=\"UTF-8\"\nContent-Transfer-Encoding: quoted-printable\n\n" + html + "\n--" + b + "--\n"
	}
	row := "<tr><td style=3D\"padding:0\"><a href=3D\"https://x.example/c?u=3D1&id=3D2\"><img src=3D\"https://x.example/i.png\" width=3D1 height=3D1 alt=3D\"\"></a><p style=3D\"color:#333;font-size:0\">oferta</p></td></tr>\n"
	put("newsletter", "List-Unsubscribe: <https://x.example/u>\nPrecedence: bulk\n"+alt("_----------=_MCPart_1", "<!DOCTYPE html><html><head><meta charset=3D\"utf-8\"><style>@media only screen {td {width:100% !important}}</style><!--[if mso]><style>td {font-family:Arial}</style><![endif]--></head><body><table>"+strings.Repeat(row, 800)+"</table></body></html>"))
	put("newsletter without end tags", alt("b", "<html><body><p>uno<p>dos<center><font color=3Dred>x</font>"))
	put("html alone", "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<html><body><form action=\"https://x.example\"><input name=q></form><h1>Año</h1></body></html>\n")
	ics := "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:1@x\nSUMMARY:Reunión\nEND:VEVENT\nEND:VCALENDAR\n"
	put("invitation", "Content-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nReunión\n--x\nContent-Type: text/calendar; charset=utf-8; method=REQUEST; name=\"meeting.ics\"\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf(ics)))+"--x--\n")
	put("invitation as a file", "Content-Type: multipart/mixed; boundary=y\n\n--y\n"+alt("x", "<p>Reuni=C3=B3n</p>")+"--y\nContent-Type: application/ics; name=\"invite.ics\"\nContent-Disposition: attachment; filename=\"invite.ics\"\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf(ics)))+"--y--\n")
	put("DSN of Postfix", "Auto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"4XyZ.1725264000/mx.sender.example\"\nContent-Transfer-Encoding: 8bit\n\nThis is a MIME-encapsulated message.\n\n--4XyZ.1725264000/mx.sender.example\nContent-Description: Notification\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nI'm sorry to have to inform you\n\n--4XyZ.1725264000/mx.sender.example\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.sender.example\n\nFinal-Recipient: rfc822; x@y.example\nAction: failed\nStatus: 5.1.1\n\n--4XyZ.1725264000/mx.sender.example\nContent-Description: Undelivered Message\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n"+top+related("_003_", "", file("Content-Type: application/pdf; name=a.pdf\n"))+"\n--4XyZ.1725264000/mx.sender.example--\n")
	put("DSN with headers alone", "Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\n\nsorry\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: failed\n\n--r\nContent-Type: text/rfc822-headers\n\nFrom: a@b\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=zzz\n\n--r--\n")
	put("MDN", "Content-Type: multipart/report; report-type=disposition-notification; boundary=r\n\n--r\nContent-Type: text/plain; charset=utf-8\n\nLeído\n--r\nContent-Type: message/disposition-notification\n\nReporting-UA: x; y\nFinal-Recipient: rfc822;b@our.example\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--r--\n")
	put("digest of mailman", "Content-Type: multipart/mixed; boundary=\"===============1==\"\n\n--===============1==\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Description: lista Digest, Vol 1\nContent-Disposition: inline\n\nSend submissions to\n--===============1==\nContent-Type: multipart/digest; boundary=\"===============2==\"\n\n--===============2==\nContent-Type: message/rfc822\nMIME-Version: 1.0\n\n"+top+"Content-Type: text/plain\n\nuno\n--===============2==\n\n"+top+"\ndos\n--===============2==--\n--===============1==\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Disposition: inline\nContent-Description: Digest Footer\n\n____\nlista mailing list\n--===============1==--\n")
	put("footer of a list", "Content-Type: multipart/mixed; boundary=\"===============1==\"\n\n--===============1==\n"+alt("x", "<p>hola</p>")+"\n--===============1==\nContent-Type: text/plain; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nContent-Disposition: inline\n\n____\nlista\n--===============1==--\n")
	put("S/MIME signed", "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"----ABC\"\n\nThis is an S/MIME signed message\n\n------ABC\nContent-Type: text/plain\n\nhola\n------ABC\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"smime.p7s\"\n\n"+b64(append([]byte("\x30\x82\x02\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), noise(500)...))+"\n------ABC--\n")
	put("PGP signed", "Content-Type: multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\"; boundary=sig\n\n--sig\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: inline\nContent-Transfer-Encoding: quoted-printable\n\na=C3=B1o\n--sig\nContent-Type: application/pgp-signature; name=\"signature.asc\"\n\n-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCgAd\n=abcd\n-----END PGP SIGNATURE-----\n\n--sig--\n")
	put("PGP encrypted", "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=enc\n\n--enc\nContent-Type: application/pgp-encrypted\nContent-Description: PGP/MIME version identification\n\nVersion: 1\n\n--enc\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\nContent-Description: OpenPGP encrypted message\nContent-Disposition: inline; filename=\"encrypted.asc\"\n\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n=abcd\n-----END PGP MESSAGE-----\n\n--enc--\n")
	put("PGP in the text", "Content-Type: text/plain\n\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nhello\n- -- \nme\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n")
	put("AppleDouble", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: multipart/appledouble; boundary=a\nContent-Disposition: attachment\n\n--a\nContent-Type: application/applefile; name=\"Acta.pdf\"\nContent-Disposition: attachment; filename=\"Acta.pdf\"\nContent-Transfer-Encoding: base64\n\n"+b64([]byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x01\x00\x00\x00\x02\x00\x00\x00\x26\x00\x00\x00\x04abcd"))+"--a\nContent-Type: application/pdf; name=\"Acta.pdf\"\nContent-Disposition: inline; filename=\"Acta.pdf\"\nContent-Transfer-Encoding: base64\n\n"+pdf+"--a--\n--m--\n")
	put("TNEF of Outlook", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: application/ms-tnef; name=\"winmail.dat\"\nContent-Disposition: attachment; filename=\"winmail.dat\"\nContent-Transfer-Encoding: base64\n\n"+b64(tnef("acta.pdf", samples()["acta.pdf"]))+"--m--\n")
	for i, text := range []string{
		"El virus parte el límite así:\n\n> Content-Type: multipart/mixed; boundary=\"x\"\n>\n> --x\n> Content-Type: application/zip\n> --x--\n\nCuidado.\n", "--\nAna\n", "-- \nAna\n", "---\nuna nota\n---\n", "----- Mensaje original -----\nDe: Ana\nEnviado: lunes\nAsunto: x\n\nhola\n", "--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@\n-int a;\n+int b;\n-- \n2.39.2\n",
		"> begin 644 x.txt\n> #0V%T\n> `\n> end\n\nasí es uuencode.\n", "We begin 644 new projects.\nbegin with care\nend\n", "begin at once\n\nend\n", strings.Repeat("una línea muy larga ", 60) + "\n", "From here on\n>From the start\n.. dots\n", "The name invoice.pdf.exe is a bad sign, and <script>alert(1)</script> too.\n", "=ybegin is how yEnc begins.\n", "UEsDBBQAAAAIAAAA is how a zip begins in base64\n",
		"--MIME-Boundary\nis a line\n--MIME-Boundary--\n", "GET / HTTP/1.1\nHost: x\nContent-Type: text/html\n\n<html>\n", "From: x@y\nTo: z@w\nSubject: quoted header\n\nthe rest\n", "#!/bin/sh\necho hola\n", "Content-Type: text/plain is a field.\n", "$ rm -rf build\n$ make\n", "<?php echo 1 ?>\n", "100% =20 =3D seguro\n", "\n\n\n", "", "x",
	} {
		put(fmt.Sprint("text ", i), "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"+text)
		put(fmt.Sprint("text without type ", i), "\n"+text)
		put(fmt.Sprint("text in a part ", i), "Content-Type: multipart/mixed; boundary=\"=_m\"\n\n--=_m\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"+qpWith([]byte(text), "=%02X", "=\n")+"--=_m--\n")
		out = append(out, letter{fmt.Sprint("without MIME ", i), "From: a@sender.example\nTo: b@our.example\nSubject: x\n\n" + text})
	}
	put("page as an attachment", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: text/html; name=informe.html\nContent-Disposition: attachment; filename=informe.html\n\n<html><body><p>Informe</p></body></html>\n--m--\n")
	put("no closing boundary", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: text/plain\n\nadiós\n")
	put("text of an old list behind the end", "Content-Type: multipart/alternative; boundary=m\n\n--m\n\nhola\n--m--\n\n____________\nlista mailing list\nhttp://x.example/\n")
	put("preamble", "Content-Type: multipart/mixed; boundary=m\n\nThis is a multi-part message in MIME format.\n\n--m\n\nhola\n--m--\n")
	put("eml attached", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: message/rfc822; name=\"www.x.example.com.eml\"\nContent-Disposition: attachment; filename=\"www.x.example.com.eml\"\n\n"+top+"\nhola\n--m--\n")
	put("voice mail", "Content-Type: multipart/voice-message; boundary=m\n\n--m\n\nhola\n--m\nContent-Type: audio/wav; name=msg0001.wav\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=msg0001.WAV\n\n"+b64(append([]byte("RIFF\x24\x03\x00\x00WAVEfmt \x10\x00\x00\x00"), make([]byte, 800)...))+"--m--\n")
	return out
}
