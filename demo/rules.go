package demo

import "strings"

// Rules is the rule file of the demo, as an administrator might write it: what
// we ship only counts points for frames, since newsletters have them.
const Rules = `# Frames are refused here.
[[rule]]
id = "no-frames"
description = "Ningún mensaje necesita un iframe"
match = ['html tag is "iframe"']
action = "reject"
reply = "5.7.1 We take no frames"

[[rule.test]]
html = "<IFRAME\nSRC=cid:1 height=0>"

[[rule.test]]
text = "An <iframe> in plain text is no frame"
hit = false
`

// rules is mail that rules refuse, each with the rule's id in the reply, and
// what looks like it and is none of it.
func rules() []Case {
	program := []byte("MZ\x90\x00" + strings.Repeat("\x00", 60))
	return []Case{
		rule("no-frames", "an iframe in HTML", "un iframe en el HTML",
			page("Frame", "<p>Hola</p><IFRAME\r\nSRC=\"cid:1\" height=0></IFRAME>")),
		rule("virus-happy99", "Happy99.exe, a virus of 1999", "Happy99.exe, un virus de 1999",
			attached("Happy", `application/octet-stream; name="Happy99.exe"`, `attachment; filename="Happy99.exe"`, program)),
		rule("double-program", "factura.pdf.exe", "factura.pdf.exe",
			attached("Factura", `application/octet-stream`, `attachment; filename="factura.pdf.exe"`, program)),
		rule("ext-script", "a script, its name in pieces (RFC 2231)", "un guion, nombre a trozos (RFC 2231)",
			attached("Pieces", `text/plain`, "attachment; filename*0*=UTF-8''informe%2E;\r\n filename*1=vbs", []byte("x = 1\r\n"))),
		rule("ext-program", "a program, its name an encoded word", "un programa, nombre codificado",
			attached("Word", `application/octet-stream`, `attachment; filename="=?ISO-8859-1?Q?canci=F3n=2Escr?="`, program)),
		rule("ext-program", "a uuencoded .pif in the text", "un .pif en uuencode en el texto",
			[]byte(head("Uu", "text/plain; charset=us-ascii")+"See below.\r\n\r\nbegin 644 fotos.pif\r\n#0V%T\r\n`\r\nend\r\n")),
		contained("quotes-a-virus", "a letter that quotes a virus", "una carta que cita un virus",
			[]byte(head("Warning", "text/plain; charset=utf-8")+"Beware of letters that say \"I send you this file in order to have your advice\"\r\nor \"Te mando este archivo\".\r\n")),
		contained("prose", "a letter about <iframe> and Happy99.exe", "una carta sobre <iframe> y Happy99.exe",
			[]byte(head("Prose", "text/plain; charset=utf-8")+"The <iframe src=\"x\"> of 2003, and Happy99.exe: how old we are.\r\n")),
	}
}

// rule is a case of a message that a rule refuses.
func rule(id, en, es string, msg []byte) Case {
	c := held(strings.ReplaceAll(strings.ToLower(en), " ", "-"), en, es, "550 5.7.1", msg)
	c.Want.Text = "[" + id + "]"
	return c
}

// page is a letter in HTML.
func page(subject, html string) []byte {
	return []byte(head(subject, "text/html; charset=utf-8") + "<html><body>" + html + "</body></html>\r\n")
}
