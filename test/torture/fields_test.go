package torture

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// load is what is hidden: the attack's payload, or something ordinary in its
// place to see that what is valid is not complained of.
type load struct {
	data []byte // of the attachment
	zip  string // its name
	file string // the name alone that classes about names hide
}

func attack() load   { return load{hidden(), mark + ".zip", mark + ".exe"} }
func ordinary() load { return load{harmlessZip(), "minutes-of-us.zip", "minutes-of-us.pdf"} }

const top = "From: Ana <ana@sender.example>\nTo: b@our.example\nSubject: minutes\nDate: Mon, 2 Sep 2024 10:00:00 +0200\nMessage-ID: <1@sender.example>\nMIME-Version: 1.0\n"

// part is the attachment with all its fields and its content in base64.
func (l load) part() string {
	return "Content-Type: application/zip; name=\"" + l.zip + "\"\nContent-Disposition: attachment; filename=\"" + l.zip + "\"\n" + l.bare()
}

// bare is the attachment without a name.
func (l load) bare() string { return "Content-Transfer-Encoding: base64\n\n" + b64(l.data) }

// between puts the attachment between lines of a boundary.
func (l load) between(b string) string {
	return "--" + b + "\nContent-Type: text/plain\n\nhello\n--" + b + "\n" + l.part() + "--" + b + "--\n"
}

// multi is a message of these fields of the type, with lines of the boundary b.
func (l load) multi(types, b string) string { return top + types + "\n" + l.between(b) }

// leaf is a message of one part with these fields and the content in base64.
func (l load) leaf(fields string) string { return top + fields + "\n" + b64(l.data) }

const mixed = "Content-Type: multipart/mixed; "

// set collects messages of a class.
type set struct{ all []one }

func (s *set) add(id, name, raw string) { s.all = append(s.all, one{id: id, name: name, raw: raw}) }
func (s *set) valid(id, name, raw string) {
	s.all = append(s.all, one{id: id, name: name, raw: raw, valid: true})
}

// spelling is how a boundary is written: as a parameter, for lines of value.
type spelling struct{ name, text string }

func spellings(value string) []spelling {
	var pct strings.Builder
	for _, c := range []byte(value) {
		fmt.Fprintf(&pct, "%%%02X", c)
	}
	half := len(value) / 2
	return []spelling{
		{"plain", "boundary=" + value},
		{"quoted", "boundary=\"" + value + "\""},
		{"rfc2231", "boundary*=us-ascii''" + pct.String()},
		{"pieces", "boundary*0=" + value[:half] + "; boundary*1=" + value[half:]},
		{"rfc2047", "boundary=\"=?us-ascii?q?" + value + "?=\""},
	}
}

// conflicts are E-01 and E-02: fields and parameters that are there twice.
func conflicts(l load) []one {
	s := &set{}
	for _, a := range spellings("goodone") {
		for _, b := range spellings("otherone") {
			for _, lines := range []string{"goodone", "otherone"} {
				s.add("E-01", a.name+", "+b.name+", lines of "+lines, l.multi(mixed+a.text+"; "+b.text+"\n", lines))
			}
			if a.name == b.name {
				s.add("E-01", a.name+" twice, lines of both", top+mixed+a.text+"; "+b.text+"\n\n--goodone\n\nhello\n--goodone--\n--otherone\n"+l.part()+"--otherone--\n")
			}
		}
	}
	for _, a := range []string{"multipart/mixed; boundary=goodone", "multipart/mixed; boundary=otherone", "text/plain", "text/html; charset=utf-8", "application/octet-stream", "message/rfc822", "", "junk", "image/png"} {
		for _, b := range []string{"multipart/mixed; boundary=goodone", "multipart/alternative; boundary=goodone"} {
			s.add("E-02", a+" before "+b, l.multi("Content-Type: "+a+"\nContent-Type: "+b+"\n", "goodone"))
			s.add("E-02", b+" before "+a, l.multi("Content-Type: "+b+"\nContent-Type: "+a+"\n", "goodone"))
		}
		s.add("E-02", "leaf "+a, l.leaf("Content-Type: "+a+"\nContent-Type: application/zip; name="+l.zip+"\nContent-Transfer-Encoding: base64\n"))
	}
	s.add("E-02", "apart", l.multi("Content-Type: text/plain\nX-One: 1\nX-Two: 2\ncontent-type: multipart/mixed; boundary=goodone\n", "goodone"))
	return s.all
}

// encodings are E-03: transfer encodings that are there twice or oddly.
func encodings(l load) []one {
	s := &set{}
	write := map[string]string{"base64": b64(l.data), "quoted-printable": qp(l.data), "x-uuencode": uu(l.zip, l.data)}
	all := []string{"base64", "quoted-printable", "x-uuencode", "7bit", "8bit", "binary", "", "junk", "8"}
	for _, a := range all {
		for _, b := range all {
			for how, text := range write {
				if a == b || how != a && how != b {
					continue
				}
				s.add("E-03", a+", "+b+": "+how, top+"Content-Type: application/zip\nContent-Transfer-Encoding: "+a+"\nContent-Transfer-Encoding: "+b+"\n\n"+text)
				if b == "base64" {
					s.add("E-03", a+", "+b+" in one field: "+how, top+"Content-Type: application/zip\nContent-Transfer-Encoding: "+a+", "+b+"\n\n"+text)
					s.add("E-03", a+" "+b+" in one field: "+how, top+"Content-Type: application/zip\nContent-Transfer-Encoding: "+a+" "+b+"\n\n"+text)
				}
			}
		}
	}
	for _, v := range []string{"base64; x", "base64;", "(c)base64", "base64(c)", "base64 (c)", "\"base64\"", "'base64'", "=?us-ascii?q?base64?=", "base-64", "BASE64", "Base64 ", "base64.", "\n base64",
		"x-base64", "base64/x", "base 64", "bas\\e64", "base64\x00", "\tbase64", "base64:", "b64", "base64,", "<base64>", "base64\r"} {
		s.add("E-03", "spelt "+fmt.Sprintf("%q", v), l.leaf("Content-Type: application/zip\nContent-Transfer-Encoding: "+v+"\n"))
	}
	s.add("E-03", "no encoding at all", l.leaf("Content-Type: application/zip\n"))
	s.add("E-03", "only a name", l.leaf("Content-Type: application/octet-stream; name="+l.zip+"\n"))
	return s.all
}

// comments are E-06 and E-07: what hides a parameter.
func comments(l load) []one {
	s := &set{}
	for _, p := range []string{"boundary((c))=\"AAAA\"; boundary=\"BBBB\"", "boun()dary=AAAA", "boundary()=AAAA", "(c)boundary=AAAA", "(boundary=BBBB) boundary=AAAA", "boundary=(c)AAAA", "boundary=AAAA(c)",
		"boundary=AA(c)AA", "boundary=(BBBB)\"AAAA\"", "boundary (c) = AAAA", "(c;boundary=BBBB);boundary=AAAA", "(((c)))boundary=AAAA", "(\\)boundary=BBBB) boundary=AAAA", "(\") boundary=AAAA (\")", "x=\"(\"; boundary=AAAA"} {
		s.add("E-06", p, l.multi(mixed+p+"\n", "AAAA"))
	}
	for _, n := range []string{"file()name=", "filename()=", "(c)filename=", "filename(c)=(c)", "filename=\"notes.txt\"(c); filename=", "(filename=notes.txt) filename=", "filena()me=notes.txt; filename="} {
		s.add("E-06", "disposition "+n, nameMail("Content-Disposition: attachment; "+n+l.file+"\n"))
		s.add("E-06", "type "+n, nameMail("Content-Type: application/octet-stream; "+strings.ReplaceAll(n, "file", "")+l.file+"\n"))
	}
	hide := []string{"x:y=1; ", "\xe9=1; ", "x=\xe9; ", "x y=1; ", "=1; ", "=; ", ";; ", "x; ", "x=\"a; ", "x='a; ", "x=a\"b; ", "x=\"\\\"; ", "x=<a>; ", "x==1; ", "x=1,", "x=1 ", "x=\x00; ", "@=1; ", "x=a b c; ", "\"x\"=1; ", "x=\"1\" y; ", "x=\"1\"2; ", "x=1;\x0b", "(; ", ", ", ":", "?=1; "}
	for _, h := range hide {
		s.add("E-07", fmt.Sprintf("%q", h), l.multi(mixed+h+"boundary=AAAA\n", "AAAA"))
		s.add("E-07", fmt.Sprintf("name %q", h), nameMail("Content-Disposition: attachment; "+h+"filename="+l.file+"\n"))
		s.add("E-07", fmt.Sprintf("name in type %q", h), nameMail("Content-Type: application/octet-stream; "+h+"name=\""+l.file+"\"\n"))
	}
	s.add("E-07", "no semicolon", l.multi("Content-Type: multipart/mixed boundary=AAAA\n", "AAAA"))
	s.add("E-07", "comma", l.multi("Content-Type: multipart/mixed, boundary=AAAA\n", "AAAA"))
	s.add("E-07", "colon", l.multi("Content-Type: multipart/mixed: boundary=AAAA\n", "AAAA"))
	s.add("E-07", "colon in place of equals", l.multi(mixed+"boundary:AAAA\n", "AAAA"))
	for _, n := range []int{40 << 10, 200 << 10} {
		s.add("E-19", fmt.Sprintf("%d opened comments before", n), l.multi(mixed+strings.Repeat("(", n)+"; boundary=AAAA\n", "AAAA"))
		s.add("E-19", fmt.Sprintf("%d opened comments behind", n), l.multi(mixed+"boundary=AAAA; x="+strings.Repeat("(", n)+"\n", "AAAA"))
		s.add("E-19", fmt.Sprintf("%d quotes", n), l.multi(mixed+"boundary=AAAA; "+strings.Repeat("\"", n|1)+"\n", "AAAA"))
		s.add("E-19", fmt.Sprintf("%d backslashes", n), l.multi(mixed+"boundary=AAAA; x=\""+strings.Repeat("\\", n|1)+"\n", "AAAA"))
	}
	return s.all
}

// nameMail has a file whose name alone is the payload: its content is text.
func nameMail(fields string) string {
	return top + mixed + "boundary=\"=-nnn\"\n\n--=-nnn\nContent-Type: text/plain\n\nhello\n--=-nnn\n" + fields + "\nsome words in a line\n--=-nnn--\n"
}

// places are E-05: where a name is.
func places(l load) []one {
	s := &set{}
	ct, cd := "Content-Type: application/octet-stream", "Content-Disposition: attachment"
	for _, other := range []string{"", "notes.txt"} {
		typ, dis := ct, cd
		if other != "" {
			typ, dis = ct+"; name="+other, cd+"; filename="+other
		}
		note := ", other " + other
		v := other == ""
		for name, fields := range map[string]string{
			"type":                     ct + "; name=" + l.file + "\n" + dis + "\n",
			"disposition":              typ + "\n" + cd + "; filename=" + l.file + "\n",
			"disposition before type":  cd + "; filename=" + l.file + "\n" + typ + "\n",
			"type behind disposition":  dis + "\n" + ct + "; name=" + l.file + "\n",
			"inline":                   typ + "\nContent-Disposition: inline; filename=" + l.file + "\n",
			"type alone":               ct + "; name=" + l.file + "\n",
			"disposition alone":        cd + "; filename=" + l.file + "\n",
			"filename in type":         ct + "; filename=" + l.file + "\n",
			"name in disposition":      cd + "; name=" + l.file + "\n",
			"second parameter":         cd + "; filename=notes.txt; filename=" + l.file + "\n",
			"first parameter":          cd + "; filename=" + l.file + "; filename=notes.txt\n",
			"second field":             cd + "; filename=notes.txt\n" + cd + "; filename=" + l.file + "\n",
			"disposition without type": "Content-Disposition: filename=" + l.file + "\n",
			"disposition unknown":      "Content-Disposition: thing; filename=" + l.file + "\n",
			"text, inline":             "Content-Type: text/plain; name=" + l.file + "\nContent-Disposition: inline\n",
		} {
			ok := v && (name == "type" || name == "disposition" || name == "disposition before type" || name == "type behind disposition" || name == "inline" || name == "type alone" || name == "disposition alone")
			s.all = append(s.all, one{id: "E-05", name: name + note, raw: nameMail(fields), valid: ok})
		}
	}
	return s.all
}

// fieldNames are E-09 and E-10: names of fields, and fields that are hidden.
func fieldNames(l load) []one {
	s := &set{}
	damage := []struct{ name, form string }{
		{"space", "%s : "}, {"spaces", "%s   : "}, {"tab", "%s\t: "}, {"two colons", "%s:: "}, {"colon twice", "%s: : "}, {"NUL before", "\x00%s: "}, {"NUL behind", "%s\x00: "}, {"no colon", "%s "},
		{"CR before", "\r%s: "}, {"fold before the colon", "%s\n : "}, {"fold behind the colon", "%s:\n "}, {"fold with tab", "%s:\n\t"}, {"equals", "%s= "}, {"vertical tab", "%s\x0b: "}, {"BOM", "\xef\xbb\xbf%s: "},
		{"no space", "%s:"}, {"no-break space", "%s\xc2\xa0: "}, {"DEL", "%s\x7f: "}, {"quote", "\"%s\": "}, {"CR alone in front", "X-A: b\r%s: "}, {"empty fold", "%s:\n \n "}, {"8-bit before", "\xa0%s: "}, {"CR before colon", "%s\r: "},
		{"backspace", "%s\x08: "}, {"soft hyphen", "%s\xc2\xad: "}, {"behind space", " %s: "}, {"behind tab", "\t%s: "},
	}
	for _, d := range damage {
		field := func(name string) string { return fmt.Sprintf(d.form, name) }
		s.add("E-09", d.name+": type", l.multi(field("Content-Type")+"multipart/mixed; boundary=AAAA\n", "AAAA"))
		s.add("E-09", d.name+": encoding", l.leaf("Content-Type: application/zip\n"+field("Content-Transfer-Encoding")+"base64\n"))
		s.add("E-09", d.name+": first, encoding", field("Content-Transfer-Encoding")+"base64\n"+l.leaf("Content-Type: application/zip\n"))
		s.add("E-09", d.name+": name", nameMail("Content-Type: application/octet-stream\n"+field("Content-Disposition")+"attachment; filename="+l.file+"\n"))
		s.add("E-09", d.name+": name in type", nameMail("X-A: 1\n"+field("Content-Type")+"application/octet-stream; name="+l.file+"\n"))
	}
	for _, name := range []string{"content-type", "CONTENT-TYPE", "cOntent-tYpe"} {
		s.valid("E-09", name, l.multi(name+": multipart/mixed; boundary=AAAA\n", "AAAA"))
	}
	for _, d := range []struct{ name, form string }{
		{"folded behind junk", "X-Foo :bar\n %s"}, {"folded behind nothing", "X-Foo:\n %s"}, {"folded with tab", "X-Foo: bar\n\t%s"}, {"behind a CR", "X-Foo: bar\r%s"}, {"behind CR and space", "X-Foo: bar\r %s"},
		{"behind a junk line", "junk\n%s"}, {"behind a junk line with space", "junk junk\n%s"}, {"behind a colon alone", ": x\n%s"}, {"behind a line of space", " \n%s"}, {"behind a line of tab", "\t\n%s"}, {"behind a CR line", "\r\r\n%s"},
		{"behind mbox", "From a@b Mon Sep  2 10:00:00 2024\n%s"}, {"behind >From", ">From a@b\n%s"}, {"behind 8 bit", "\xe9\xe9\n%s"}, {"behind NUL", "\x00\n%s"}, {"behind dashes", "--\n%s"}, {"behind a folded junk", "junk\n more\n%s"},
		{"with a key, folded", "X-Foo \t: bar\n  %s"}, {"before a junk line", "%s\njunk"}, {"before a line of space", "%s\n "}, {"VT", "X-Foo: bar\x0b%s"}, {"FF", "X-Foo: bar\x0c%s"}, {"LS", "X-Foo: bar\xe2\x80\xa8%s"}, {"NEL", "X-Foo: bar\xc2\x85%s"},
	} {
		s.add("E-10", d.name+": type", l.multi(fmt.Sprintf(d.form, "Content-Type: multipart/mixed; boundary=AAAA")+"\n", "AAAA"))
		s.add("E-10", d.name+": encoding", l.leaf("Content-Type: application/zip\n"+fmt.Sprintf(d.form, "Content-Transfer-Encoding: base64")+"\n"))
		s.add("E-10", d.name+": in a part", top+mixed+"boundary=AAAA\n\n--AAAA\n\nhello\n--AAAA\nContent-Type: application/zip\n"+fmt.Sprintf(d.form, "Content-Transfer-Encoding: base64")+"\n\n"+b64(l.data)+"--AAAA--\n")
		s.add("E-10", d.name+": name", nameMail("Content-Type: application/octet-stream\n"+fmt.Sprintf(d.form, "Content-Disposition: attachment; filename="+l.file)+"\n"))
	}
	s.add("E-10", "empty line first", "\n"+l.multi(mixed+"boundary=AAAA\n", "AAAA"))
	s.add("E-10", "empty line before a part's header", top+mixed+"boundary=AAAA\n\n--AAAA\n\nhello\n--AAAA\n\n"+l.part()+"--AAAA--\n")
	return s.all
}

// types are E-12: what a reader may take for a multipart.
func types(l load) []one {
	s := &set{}
	for _, v := range []string{"\"multipart/mixed\"", "(c)multipart/mixed", "multipart(c)/mixed", "multipart/(c)mixed", "multi\\part/mixed", "ultipart/mixed", "multiparts/mixed", "x-multipart/mixed", "multipart", "multipart/", "",
		"=?us-ascii?q?multipart/mixed?=", "=?us-ascii?b?bXVsdGlwYXJ0L21peGVk?=", "MULTIPART/MIXED", "multipart /mixed", "multipart/ mixed", "multipart / mixed", "multipart//mixed", "/mixed", "multipart/mixed/x", "multipart-mixed", "multipart.mixed",
		"multipart/mixed x", "multipart\x00/mixed", "multi part/mixed", "multipart\\mixed", "mul\ttipart/mixed", "message/rfc822", "text/plain", "application/octet-stream", "image/png", "'multipart/mixed'", "<multipart/mixed>", "multipart/mixed,text/plain",
		"text/plain,multipart/mixed", "text/plain; multipart/mixed", "multipart/\n mixed", "multipart/x-nobody", "Multipart/Alternative", "*/*", "multipart/*"} {
		s.add("E-12", fmt.Sprintf("%q", v), l.multi("Content-Type: "+v+"; boundary=AAAA\n", "AAAA"))
		if len(v) > 4 {
			s.add("E-12", fmt.Sprintf("%q in a part", v), top+mixed+"boundary=outside\n\n--outside\n\nhello\n--outside\nContent-Type: "+v+"; boundary=AAAA\n\n"+l.between("AAAA")+"--outside--\n")
		}
	}
	s.add("E-12", "parameters alone", l.multi("Content-Type: boundary=AAAA\n", "AAAA"))
	s.valid("E-12", "as it should be", l.multi(mixed+"boundary=AAAA\n", "AAAA"))
	for _, v := range []string{"", "MIME-Version: 2.0\n", "MIME-Version: 1.0\nMIME-Version: 1.0\n", "MIME-Version: 1.0\nMIME-Version: 2.0\n", "Mime-Version: 1.0 (x)\n", "MIME-Version:\n", "MIME-Version: x\n", "MIME Version: 1.0\n"} {
		m := strings.Replace(l.multi(mixed+"boundary=AAAA\n", "AAAA"), "MIME-Version: 1.0\n", v, 1)
		s.add("E-15", fmt.Sprintf("%q", v), m)
		s.add("E-15", fmt.Sprintf("%q, leaf", v), strings.Replace(top, "MIME-Version: 1.0\n", v, 1)+l.part())
	}
	s.add("E-15", "in a part alone", strings.Replace(l.multi(mixed+"boundary=AAAA\n", "AAAA"), "MIME-Version: 1.0\n", "", 1)+"MIME-Version: 1.0\n")
	return s.all
}

// encodedComposites are E-14.
func encodedComposites(l load) []one {
	s := &set{}
	in := crlf(l.between("AAAA"))
	msg := crlf(top + l.part())
	for how, enc := range map[string]func(string) string{
		"base64":           func(v string) string { return b64([]byte(v)) },
		"base64 unwrapped": func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) + "\n" },
		"quoted-printable": func(v string) string { return qp([]byte(v)) },
		"x-uuencode":       func(v string) string { return uu("x", []byte(v)) },
	} {
		cte := "Content-Transfer-Encoding: " + strings.Fields(how)[0] + "\n\n"
		s.add("E-14", "multipart, "+how, top+mixed+"boundary=AAAA\n"+cte+enc(in))
		s.add("E-14", "multipart inside, "+how, top+mixed+"boundary=OOO\n\n--OOO\n\nhello\n--OOO\n"+mixed+"boundary=AAAA\n"+cte+enc(in)+"--OOO--\n")
		for _, m := range []string{"rfc822", "global", "news", "delivery-status"} {
			s.add("E-14", m+", "+how, top+"Content-Type: message/"+m+"\n"+cte+enc(msg))
			s.add("E-14", m+" inside, "+how, top+mixed+"boundary=OOO\n\n--OOO\n\nhello\n--OOO\nContent-Type: message/"+m+"\n"+cte+enc(msg)+"--OOO--\n")
		}
		s.add("E-14", "digest, "+how, top+"Content-Type: multipart/digest; boundary=OOO\n\n--OOO\n"+cte+enc(msg)+"--OOO--\n")
		s.add("E-14", "declared alone, "+how, top+mixed+"boundary=AAAA\n"+cte+l.between("AAAA"))
	}
	return s.all
}
