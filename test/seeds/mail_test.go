package seeds

import (
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"net/url"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"
)

// form is one way to write something.
type form struct{ name, raw string }

const head = "From: Ana <ana@sender.example>\nTo: b@our.example\nDate: Sat, 21 Nov 2026 10:00:00 +0000\nMessage-ID: <1@sender.example>\n"

// crlf ends lines as mail does.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// b64 is base64 in lines.
func b64(s string) string {
	e := base64.StdEncoding.EncodeToString([]byte(s))
	var b strings.Builder
	for len(e) > 76 {
		b.WriteString(e[:76] + "\n")
		e = e[76:]
	}
	return b.String() + e + "\n"
}

// withPart is a letter with an attachment whose header fields are given.
func withPart(fields string) string {
	return crlf(head + "Subject: documentos\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain; charset=utf-8\n\nHola:\n\nte lo mando.\n\n--b1\n" +
		fields + "Content-Transfer-Encoding: base64\n\n" + b64("nada que se ejecute\n") + "--b1--\n")
}

// percent writes a value as RFC 2231 does.
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// escaped puts a backslash before a letter inside of a quoted string, where it
// changes nothing (RFC 5322 3.2.4).
func escaped(s string) string {
	s = strings.ReplaceAll(s, `"`, `\"`)
	return s[:1] + `\` + s[1:]
}

// uuencoded is a file in the text.
func uuencoded(name string) string {
	return "begin 644 " + name + "\n#86)C\n`\nend\n"
}

// attached is every way in which mail programs name a file.
func attached(name string) (out []form) {
	add := func(what, fields string) { out = append(out, form{what, withPart(fields)}) }
	add("quoted", `Content-Type: application/octet-stream; name="`+name+"\"\nContent-Disposition: attachment; filename=\""+name+"\"\n")
	add("folded", "Content-Type: application/octet-stream;\n\tname=\""+name+"\"\nContent-Disposition: attachment;\n filename=\""+name+"\"\n")
	add("filename alone", "Content-Disposition: attachment; filename=\""+name+"\"\n")
	add("name alone", "Content-Type: application/octet-stream; name=\""+name+"\"\n")
	add("capitals", "CONTENT-DISPOSITION: ATTACHMENT; FILENAME=\""+strings.ToUpper(name)+"\"\n")
	if !strings.ContainsAny(name, " {}()<>,;:\\\"/[]?=!") {
		add("not quoted", "Content-Disposition: attachment; filename="+name+"\n")
	}
	add("escaped letter", "Content-Disposition: attachment; filename=\""+escaped(name)+"\"\n")
	add("RFC 2231", "Content-Disposition: attachment; filename*=UTF-8''"+percent(name)+"\n")
	h := len(name) / 2
	add("RFC 2231 in pieces", "Content-Disposition: attachment;\n filename*0=\""+name[:h]+"\";\n filename*1=\""+name[h:]+"\"\n")
	add("RFC 2231 in encoded pieces", "Content-Disposition: attachment;\n filename*0*=iso-8859-1'es'"+percent(name[:h])+";\n filename*1*="+percent(name[h:])+"\n")
	add("RFC 2231 all encoded", "Content-Disposition: attachment; filename*=UTF-8''"+everyOctet(name)+"\n")
	add("encoded word B", "Content-Disposition: attachment; filename=\"=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(name))+"?=\"\n")
	add("encoded word Q", "Content-Type: application/octet-stream; name=\"=?iso-8859-1?Q?"+strings.ReplaceAll(everyOctet(name), "%", "=")+"?=\"\n")
	add("two encoded words", "Content-Disposition: attachment; filename=\"=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(name[:h]))+"?=\n =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(name[h:]))+"?=\"\n")
	add("harmless filename, other name", "Content-Type: application/octet-stream; name=\""+name+"\"\nContent-Disposition: attachment; filename=\"acta.pdf\"\n")
	text := head + "Subject: documentos\n\nHola:\n\n"
	out = append(out,
		form{"uuencoded", crlf(text + uuencoded(name))},
		form{"uuencoded in base64", crlf(head + "Subject: documentos\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + b64("Hola:\n\n"+uuencoded(name)))})
	inner := strings.ReplaceAll(out[0].raw, "b1", "b2")
	out = append(out,
		form{"in a message", crlf(head + "Subject: Fwd\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b3\"\n\n--b3\nContent-Type: message/rfc822\n\n" + inner + "\n--b3--\n")})
	return out
}

func everyOctet(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// letter is a letter of one text.
func letter(fields, body string) string {
	return crlf(head + "Subject: hola\nMIME-Version: 1.0\n" + fields + "\n" + body + "\n")
}

// soft is quoted-printable with every letter that may be encoded, and a soft
// line break every seven of them: inside of words.
func soft(s string) string {
	var b strings.Builder
	n := 0
	for i := range len(s) {
		if c := s[i]; c == '\n' {
			b.WriteByte(c)
			n = 0
			continue
		} else if c < ' ' || c == '=' || c >= 0x7f {
			fmt.Fprintf(&b, "=%02X", c)
		} else {
			b.WriteByte(c)
		}
		if n++; n%7 == 0 {
			b.WriteString("=\n")
		}
	}
	return b.String()
}

// plain takes the accents away.
func plain(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		if r < 0x300 || r > 0x36f {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// wrapped breaks the lines at every third blank.
func wrapped(s, with string) string {
	var b strings.Builder
	for i, w := range strings.Fields(s) {
		switch {
		case i > 0 && i%3 == 0:
			b.WriteString(with)
		case i > 0:
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}

// written is every way in which a text in a letter is written.
func written(s string) (out []form) {
	utf8 := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
	latin := "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
	l1, err := charmap.ISO8859_1.NewEncoder().String(s)
	if err != nil {
		panic(err) // the sentences are Latin-1
	}
	var qp strings.Builder
	w := quotedprintable.NewWriter(&qp)
	_, _ = w.Write([]byte(l1)) // a Builder takes everything
	_ = w.Close()
	add := func(what, fields, body string) {
		out = append(out, form{what, letter(fields, "Hola:\n\n"+body+"\n\nUn saludo")})
	}
	add("plain", utf8+"8bit\n", s)
	add("without accents", utf8+"7bit\n", plain(s))
	add("capitals", utf8+"8bit\n", strings.ToUpper(s))
	add("decomposed", utf8+"8bit\n", norm.NFD.String(s))
	add("Latin-1", latin+"8bit\n", l1)
	add("Latin-1, quoted-printable", latin+"quoted-printable\n", qp.String())
	add("soft breaks in words", utf8+"quoted-printable\n", soft(s))
	add("wrapped", utf8+"8bit\n", wrapped(s, "\n"))
	add("wrapped, flowed", "Content-Type: text/plain; charset=utf-8; format=flowed\n", wrapped(s, " \n"))
	add("two blanks", utf8+"8bit\n", wrapped(s, " \t "))
	add("hard blanks", utf8+"8bit\n", strings.ReplaceAll(s, " ", "\u00a0"))
	add("soft hyphens", utf8+"8bit\n", strings.ReplaceAll(s, "e", "e\u00ad"))
	add("zero width", utf8+"8bit\n", strings.ReplaceAll(s, "e", "\u200be"))
	for _, c := range []struct {
		label string
		set   encoding.Encoding
	}{
		{"windows-1252", charmap.Windows1252}, {"iso-8859-15", charmap.ISO8859_15}, {"macintosh", charmap.Macintosh}, {"cp850", charmap.CodePage850},
		{"utf-16", unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}, {"utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
	} {
		octets, err := c.set.NewEncoder().String("Hola:\n\n" + s + "\n\nUn saludo\n")
		if err != nil {
			panic(err)
		}
		out = append(out, form{c.label, letter("Content-Type: text/plain; charset="+c.label+"\nContent-Transfer-Encoding: base64\n", b64(octets))})
	}
	out = append(out,
		form{"no charset", letter("Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n", l1)},
		form{"without MIME", crlf(head + "Subject: hola\n\nHola:\n\n" + s + "\n")},
		form{"base64", letter(utf8+"base64\n", b64("Hola:\n\n"+s+"\n\nUn saludo\n"))},
		form{"decomposed in base64", letter(utf8+"base64\n", b64("Hola:\n\n"+norm.NFD.String(s)+"\n"))},
	)
	html := "Content-Type: text/html; charset=utf-8\n"
	half := len(strings.Fields(s)) / 2
	words := strings.Fields(s)
	out = append(out,
		form{"HTML", letter(html, "<html><body><p>"+s+"</p></body></html>")},
		form{"HTML, tags between words", letter(html, "<p>"+strings.Join(words[:half], " <b>")+"</b> <br>\n"+strings.Join(words[half:], " <i></i>")+"</p>")},
		form{"HTML, tags in words", letter(html, "<p>"+strings.ReplaceAll(s, "e", "<span>e</span>")+"</p>")},
		form{"HTML, references", letter(html, "<p>"+strings.NewReplacer("ó", "&oacute;", "e", "&#101;", " ", "&nbsp;").Replace(s)+"</p>")},
		form{"HTML, comments in words", letter(html, "<p>"+strings.ReplaceAll(s, "a", "a<!-- x -->")+"</p>")},
		form{"HTML, quoted-printable", letter("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n", soft("<p>"+s+"</p>"))},
		form{"second part", crlf(head + "Subject: hola\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain\n\nHola\n\n--b1\nContent-Type: text/html; charset=utf-8\n\n<p>" + s + "</p>\n--b1--\n")},
	)
	return out
}

// framed is every way in which a page with a frame is written.
func framed(tag string) (out []form) {
	page := "<html><body><p>Hola</p>\n" + tag + "\n</body></html>\n"
	html := "Content-Type: text/html; charset=utf-8\n"
	return []form{
		{"as the guide has it", letter(html, page)},
		{"small letters", letter(html, strings.ToLower(page))},
		{"two blanks", letter(html, strings.Replace(page, " ", "  ", 1))},
		{"line break", letter(html, strings.Replace(page, tag, strings.Replace(tag, " ", "\n", 1), 1))},
		{"other attribute first", letter(html, strings.Replace(page, tag, strings.Replace(tag, " ", " height=0 width=0 ", 1), 1))},
		{"not quoted", letter(html, strings.ReplaceAll(page, `"`, ""))},
		{"blanks at the equals sign", letter(html, strings.Replace(page, "=", " = ", 1))},
		{"slash for a blank", letter(html, strings.Replace(page, tag, strings.Replace(tag, " ", "/", 1), 1))},
		{"quoted-printable", letter(html+"Content-Transfer-Encoding: quoted-printable\n", soft(page))},
		{"base64", letter(html+"Content-Transfer-Encoding: base64\n", b64(page))},
	}
}

// headed is every way in which a header field is written. A From keeps its
// address in clear.
func headed(name, value string) (out []form) {
	text, address := value, ""
	if i := strings.IndexByte(value, '<'); i > 0 {
		text, address = value[:i-1], " "+value[i:]
	}
	add := func(what, field string) {
		h := head
		if name == "From" {
			h = strings.Replace(head, "From: Ana <ana@sender.example>\n", "", 1)
		}
		out = append(out, form{what, crlf(h + field + "\nMIME-Version: 1.0\nContent-Type: text/plain\n\nHola\n")})
	}
	add("as the guide has it", name+": "+value)
	add("no blank", name+":"+value)
	add("small name", strings.ToLower(name)+": "+value)
	add("encoded word B", name+": =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(text))+"?="+address)
	add("encoded word Q", name+": =?iso-8859-1?Q?"+strings.ReplaceAll(everyOctet(text), "%", "=")+"?="+address)
	i := strings.LastIndexByte(value, ' ')
	add("folded", name+": "+value[:i]+"\n"+value[i:])
	return out
}
