package torture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// tnef is a winmail.dat with one attachment.
func tnef(name string, data []byte) []byte {
	var b bytes.Buffer
	le(&b, uint32(0x223e9f78), uint16(1))
	attr := func(level byte, id uint32, v []byte) {
		sum := uint16(0)
		for _, c := range v {
			sum += uint16(c)
		}
		le(&b, level, id, uint32(len(v)), v, sum)
	}
	attr(1, 0x00089006, []byte{0, 0, 1, 0})
	attr(2, 0x00069002, binary.LittleEndian.AppendUint16(nil, 1))
	attr(2, 0x00018010, append([]byte(name), 0))
	attr(2, 0x0006800f, data)
	return b.Bytes()
}

// broken64 are E-61: base64 that readers take in different ways.
func broken64(l load) []one {
	s := &set{}
	std := base64.StdEncoding
	add := func(name, body string) {
		s.add("E-61", name, top+"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"+body+"\n")
		s.add("E-61", name+", named", top+mixed+"boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: application/zip; name="+l.zip+"\nContent-Transfer-Encoding: base64\n\n"+body+"\n--OO--\n")
	}
	d, all := l.data, std.EncodeToString(l.data)
	lines := strings.TrimSuffix(b64(d), "\n")
	innocent := std.EncodeToString(harmlessZip())
	chunk := func(n int, sep string) string {
		var b strings.Builder
		for i := 0; i < len(d); i += n {
			b.WriteString(std.EncodeToString(d[i:min(len(d), i+n)]) + sep)
		}
		return b.String()
	}
	for name, body := range map[string]string{
		"one line": all, "no padding": strings.TrimRight(lines, "="), "padding twice": lines + "==", "padding thrice": lines + "====", "junk behind the padding": lines + "=junk", "text behind": lines + "\n\nregards", "innocent zip behind": strings.TrimRight(lines, "=") + "==\n" + innocent,
		"innocent zip before": innocent + "\n" + lines, "innocent text before": std.EncodeToString([]byte("hello")) + lines, "innocent text, line before": std.EncodeToString([]byte("hello")) + "\n" + lines, "= first": "=" + lines, "== first": "==" + lines, "= on a line": "=\n" + lines, "==== first": "====\n" + lines,
		"chunks of one": chunk(1, ""), "chunks of two": chunk(2, ""), "chunks of four": chunk(4, ""), "chunks of four in lines": chunk(4, "\n"), "chunks of one in lines": chunk(1, "\n"), "chunks of 55": chunk(55, "\n"), "chunks of 56": chunk(56, ""), "chunks without padding": strings.ReplaceAll(chunk(55, "\n"), "=", ""),
		"= behind each line": strings.ReplaceAll(lines, "\n", "=\n"), "== behind each line": strings.ReplaceAll(lines, "\n", "==\n"), "= at each line's start": "=" + strings.ReplaceAll(lines, "\n", "\n="), "= in the middle": lines[:100] + "=" + lines[100:], "== in the middle": lines[:100] + "==" + lines[100:], "=== in the middle": lines[:101] + "===" + lines[101:], "= after each quad": quads(all, "="), "== after each quad": quads(all, "=="), "==== after each quad": quads(all, "===="),
		"space after each quad": quads(all, " "), "dots": quads(all, "."), "dashes": quads(all, "-"), "underscores": quads(all, "_"), "stars": quads(all, "*"), "bangs": quads(all, "!!"), "NULs": quads(all, "\x00"), "8 bit": quads(all, "\xe9"), "tabs": quads(all, "\t"), "bare CRs": quads(all, "\r"), "comments": quads(all, "(c)"), "commas": quads(all, ","), "quotes": quads(all, "\""), "lines of four": quads(all, "\n"), "empty lines": quads(all, "\n\n"),
		"junk in each quad": strings.Join(strings.Split(all, ""), "*"), "letters each on a line": strings.Join(strings.Split(all, ""), "\n"), "urlsafe": strings.NewReplacer("+", "-", "/", "_").Replace(lines), "urlsafe, mixed": strings.Replace(lines, "/", "_", 1), "& for +": strings.ReplaceAll(lines, "+", "&"), "indented": " " + strings.ReplaceAll(lines, "\n", "\n "), "quoted": "> " + strings.ReplaceAll(lines, "\n", "\n> "),
		"text line before": "This is a text.\n" + lines, "text line before, empty line": "This is a text.\n\n" + lines, "header before": "X-Foo: bar\n\n" + lines, "begin before": "begin-base64 644 x.zip\n" + lines + "\n====", "PEM": "-----BEGIN X-----\n" + lines + "\n-----END X-----", "percent": quads(all, "%0A"), "HTML break": quads(all, "<br>"), "soft line breaks": strings.ReplaceAll(lines, "\n", "=\n"), "qp of base64": strings.ReplaceAll(lines, "=", "=3D"),
		"one letter too many": lines + "A", "one letter too few": strings.TrimRight(lines, "=")[:len(strings.TrimRight(lines, "="))-1], "one letter first": "A" + lines, "two letters first": "AA" + lines, "long line": strings.Repeat(" ", 3000) + all, "non-canonical end": strings.TrimRight(all, "=") + "/", "twice encoded": b64([]byte(lines)),
		"UTF-8 BOM first": "\xef\xbb\xbf" + lines, "full width": strings.ReplaceAll(lines, "A", "\uff21"),
	} {
		add(name, body)
	}
	return s.all
}

func quads(s, sep string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 4 {
		b.WriteString(s[i:min(len(s), i+4)] + sep)
	}
	return b.String()
}

// brokenQP are E-62: quoted-printable that readers take in different ways.
func brokenQP(l load) []one {
	s := &set{}
	d := l.data
	add := func(name, body string) {
		s.add("E-62", name, top+"Content-Type: application/octet-stream\nContent-Transfer-Encoding: quoted-printable\n\n"+body+"\n")
		s.add("E-62", name+", named", top+mixed+"boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: application/zip; name="+l.zip+"\nContent-Transfer-Encoding: quoted-printable\n\n"+body+"\n--OO--\n")
	}
	for name, body := range map[string]string{
		"plain": qp(d), "lower case": qpWith(d, "=%02x", "=\n"), "one line": qpWith(d, "=%02X", ""), "soft with space": qpWith(d, "=%02X", "= \n"), "soft with tab": qpWith(d, "=%02X", "=\t\n"), "soft with spaces": qpWith(d, "=%02X", "=  \t \n"), "soft with CR": qpWith(d, "=%02X", "=\r"), "soft with CR CRLF": qpWith(d, "=%02X", "=\r\r\n"),
		"soft twice": qpWith(d, "=%02X", "==\n"), "soft and text": qpWith(d, "=%02X", "=x\n"), "soft, empty line": qpWith(d, "=%02X", "=\n=\n"), "spaces before the soft": qpWith(d, "=%02X", "  =\n"), "hard breaks": qpWith(d, "=%02X", "\n"), "all encoded": allQP(d, "=%02X"), "all encoded, lower": allQP(d, "=%02x"), "all, cont between digits": splitQP(d),
		"invalid =HX": strings.Replace(qp(d), "=\n", "=4X=\n", 1), "invalid =X": "=X" + qp(d), "invalid =XX": "=XX" + qp(d), "invalid ==": "==" + qp(d), "invalid =_": "=_" + qp(d), "= at the end": strings.TrimSuffix(qp(d), "\n") + "=", "=H at the end": strings.TrimSuffix(qp(d), "\n") + "=4", "space in the escape": qpWith(d, "= %02X", "=\n"), "zeros": qpWith(d, "=0%02X", "=\n"),
		"x": qpWith(d, "=x%02X", "=\n"), "percent": qpWith(d, "%%%02X", "=\n"), "colon": qpWith(d, ":%02X", "=\n"), "raw 8 bit": rawQP(d), "long lines": qpWith(d, "=%02X", "") + strings.Repeat("x", 2000), "blank before": "\n\n" + qp(d), "text before": "hello\n" + qp(d), "trailing spaces": strings.ReplaceAll(qp(d), "=\n", " =20=\n"), "encoded twice": qp([]byte(qp(d))),
		"of base64": qp([]byte(b64(d))), "mixed case": qpWith(d, "=%02X", "=\n")[:60] + strings.ToLower(qp(d)[60:]), "NUL in the escape": qpWith(d, "=\x00%02X", "=\n"), "full width": strings.ReplaceAll(qp(d), "=0", "=\uff10"), "empty escapes": strings.ReplaceAll(qp(d), "=0", "=\n=0"), "underscores": strings.ReplaceAll(qp(d), "=20", "_"), "H2=aH": strings.Replace(qp(d), "=\n", "=\n=a", 1), "O2=HO": strings.Replace(qp(d), "=\n", "=HO=\n", 1),
		"CR soft, all": strings.ReplaceAll(allQP(d, "=%02X"), "=\n", "=\r"), "= CR LF LF": qpWith(d, "=%02X", "=\n\n"), "with =WW": "=WW\n" + qp(d), "dash": qpWith(d, "=-%02X", "=\n"),
	} {
		add(name, body)
	}
	return s.all
}

func allQP(p []byte, form string) string {
	var b strings.Builder
	for i, c := range p {
		if i%20 == 19 {
			b.WriteString("=\n")
		}
		fmt.Fprintf(&b, form, c)
	}
	return b.String() + "\n"
}

// splitQP has soft line breaks between the digits of escapes.
func splitQP(p []byte) string {
	v := allQP(p, "=%02X")
	var b strings.Builder
	for i, c := range v {
		b.WriteRune(c)
		if i%30 == 1 && c != '\n' && c != '=' {
			b.WriteString("=\n")
		}
	}
	return b.String()
}

// rawQP encodes line ends and equals signs alone.
func rawQP(p []byte) string {
	var b strings.Builder
	for _, c := range p {
		if c == '=' || c == '\r' || c == '\n' || c == ' ' || c == '\t' {
			fmt.Fprintf(&b, "=%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + "\n"
}

// otherEncodings are E-64 to E-69.
func otherEncodings(l load) []one {
	s := &set{}
	d := l.data
	u := uu(l.zip, d)
	uuBroken := map[string]string{
		"plain": u, "no end": strings.TrimSuffix(u, "`\nend\n"), "no zero line": strings.Replace(u, "`\nend", "end", 1), "spaces for grave": strings.ReplaceAll(u, "`", " "), "trailing spaces cut": strings.ReplaceAll(strings.ReplaceAll(u, "`", " "), " \n", "\n"), "mode of four": strings.Replace(u, "644", "0644", 1), "mode odd": strings.Replace(u, "644", "abc", 1),
		"no mode": strings.Replace(u, " 644", "", 1), "upper": strings.Replace(u, "begin", "BEGIN", 1), "two spaces": strings.Replace(u, "begin 644 ", "begin  644  ", 1), "tab": strings.Replace(u, "begin 644 ", "begin\t644\t", 1), "indented": " " + u, "innocent first": uu("notes.txt", []byte("hello")) + u, "text before": "hello\n" + u, "text between": "hello\n\nmore\n\n" + u + "\nregards\n",
		"checksum letter": strings.ReplaceAll(u, "\nM", "\nM"), "long lines behind": strings.ReplaceAll(u, "\n", "x\n"), "empty lines": strings.ReplaceAll(u, "\nM", "\n\nM"), "name empty": strings.Replace(u, l.zip, "", 1), "quoted": "> " + strings.ReplaceAll(u, "\n", "\n> "), "no begin": strings.SplitN(u, "\n", 2)[1], "base64 kind": "begin-base64 644 " + l.zip + "\n" + b64(d) + "====\n", "begin in a sentence": "we\nbegin 644 things\n" + u,
		"name with a path": strings.Replace(u, l.zip, "../../"+l.zip, 1), "bare CR": strings.ReplaceAll(u, "\n", "\r"), "x": strings.Replace(u, "\n", "\nX-Foo: bar\n", 1),
	}
	for name, body := range uuBroken {
		s.add("E-64", name, top+"Content-Type: text/plain\n\n"+body)
		s.add("E-64", name+", no type", top+"\n"+body)
		for _, e := range []string{"x-uuencode", "uuencode", "x-uue", "uue"} {
			s.add("E-64", name+", "+e, top+"Content-Type: application/octet-stream\nContent-Transfer-Encoding: "+e+"\n\n"+body)
		}
	}
	s.add("E-64", "in html", top+"Content-Type: text/html\n\n<pre>\n"+u+"</pre>\n")
	s.add("E-64", "in quoted-printable", top+"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n"+qp([]byte(crlf(u))))
	s.add("E-64", "in base64", top+"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf(u))))
	y := yenc(l.zip, d)
	for name, body := range map[string]string{"inline": y, "text before": "hello\n" + y, "no end": strings.Split(y, "=yend")[0], "part": strings.Replace(y, "=ybegin line", "=ybegin part=1 line", 1), "size wrong": strings.Replace(y, "size=", "size=9", 2)} {
		s.add("E-65", name, top+"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"+body)
		for _, e := range []string{"x-yencode", "yenc", "x-yenc"} {
			s.add("E-65", name+", "+e, top+"Content-Type: application/octet-stream; name="+l.zip+"\nContent-Transfer-Encoding: "+e+"\n\n"+body)
		}
	}
	for _, e := range []string{"binhex", "binhex40", "mac-binhex40", "x-binhex", "x-binhex40"} {
		s.add("E-66", e, top+"Content-Type: application/octet-stream\nContent-Transfer-Encoding: "+e+"\n\n"+binhex(l.zip, d))
	}
	s.add("E-66", "inline", top+"\nhello\n\n"+binhex(l.zip, d))
	s.add("E-66", "by type", top+"Content-Type: application/mac-binhex40; name=x.hqx\n\n"+binhex(l.zip, d))
	s.add("E-66", "by type, encoded", top+"Content-Type: application/mac-binhex40; name=x.hqx\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(binhex(l.zip, d))))
	for _, e := range []string{"gzip64", "x-gzip64", "gzip", "x-nobody", "base85", "x-compress"} {
		s.add("E-66", e, top+"Content-Type: application/zip; name="+l.zip+"\nContent-Transfer-Encoding: "+e+"\n\n"+b64(gz("", d)))
	}
	s.add("E-66", "AppleSingle", zipless("application/applefile", appleSingle(d)))
	s.add("E-66", "AppleDouble", top+"Content-Type: multipart/appledouble; boundary=OO\n\n--OO\nContent-Type: application/applefile\nContent-Transfer-Encoding: base64\n\n"+b64(appleSingle([]byte("x")))+"--OO\n"+l.part()+"--OO--\n")
	s.add("E-66", "TNEF", zipless("application/ms-tnef; name=winmail.dat", tnef(l.zip, d)))
	s.add("E-66", "TNEF in TNEF", zipless("application/ms-tnef; name=winmail.dat", tnef("winmail.dat", tnef(l.zip, d))))
	return s.all
}

func appleSingle(data []byte) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.BigEndian, []uint32{0x00051600, 0x00020000})
	b.Write(make([]byte, 16))
	binary.Write(&b, binary.BigEndian, uint16(1))
	binary.Write(&b, binary.BigEndian, []uint32{1, 38, uint32(len(data))})
	b.Write(data)
	return b.Bytes()
}

// split is E-63: what a pattern would look for is cut by line ends, encoded in
// pieces or in two parts.
func split() []one {
	page := "<html><body><iframe src=\"http://x.example/\"></iframe><script>var b=new Blob([atob('" + strings.Repeat("QUJD", 400) + "')]);a.href=URL.createObjectURL(b);a.download='x.exe';a.click()</script></body></html>"
	want := []string{"attachment.html_smuggling"}
	part := func(enc, body string) string {
		return top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: text/html; name=x.html\nContent-Disposition: attachment\nContent-Transfer-Encoding: " + enc + "\n\n" + body + "\n--OO--\n"
	}
	var out []one
	for name, raw := range map[string]string{
		"soft breaks in words": part("quoted-printable", strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(page, "=", "=3D"), "cript", "cr=\nipt"), "Blob", "Bl=\nob")),
		"all escaped":          part("quoted-printable", allQP([]byte(page), "=%02x")),
		"base64 lines of five": part("base64", wrapAt(base64.StdEncoding.EncodeToString([]byte(page)), 5)),
		"base64 in chunks":     part("base64", quads(base64.StdEncoding.EncodeToString([]byte(page)), "\n")),
		"soft breaks and CR":   part("quoted-printable", strings.ReplaceAll(strings.ReplaceAll(page, "=", "=3D"), "cript", "cr=\r\ript")),
		"7bit":                 part("7bit", page),
	} {
		out = append(out, one{id: "E-63", name: name, raw: raw, want: want})
	}
	return out
}

// resources are E-70 to E-77: messages that cost work, with the payload at the
// place that a tired reader does not reach.
func resources(l load) []one {
	s := &set{}
	add := func(id, name, raw string) {
		s.all = append(s.all, one{id: id, name: name, raw: raw, alone: true})
	}
	for _, n := range []int{25, 29, 31, 100, 1000, 3000} {
		var open strings.Builder
		for i := range n {
			fmt.Fprintf(&open, mixed+"boundary=b%d\n\n--b%d\n", i, i)
		}
		add("E-70", fmt.Sprintf("%d multiparts", n), top+open.String()+l.part())
		add("E-70", fmt.Sprintf("%d multiparts of one boundary", n), top+strings.Repeat(mixed+"boundary=b\n\n--b\n", n)+l.part())
		add("E-71", fmt.Sprintf("%d messages", n), top+strings.Repeat("Content-Type: message/rfc822\n\n", n)+l.part())
		add("E-71", fmt.Sprintf("%d messages and multiparts", n), top+strings.Repeat("Content-Type: message/rfc822\n\n"+mixed+"boundary=b\n\n--b\n", n/2)+l.part())
	}
	in := crlf(l.part())
	for range 12 {
		in = crlf("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64([]byte(in)))
	}
	add("E-71", "12 messages in base64", top+in)
	for _, n := range []int{2001, 50000, 200000} {
		add("E-72", fmt.Sprintf("%d parts", n), top+mixed+"boundary=b\n\n"+strings.Repeat("--b\n\n", n)+"--b\n"+l.part()+"--b--\n")
	}
	for _, n := range []int{71, 999, 2048, 100 << 10} {
		b := strings.Repeat("b", n)
		add("E-75", fmt.Sprintf("a boundary of %d", n), l.multi(mixed+"boundary="+b+"\n", b))
	}
	for _, n := range []int{9, 31, 33, 10000} {
		var p strings.Builder
		for i := range n {
			fmt.Fprintf(&p, " boundary=b%d;\n", i)
		}
		add("E-75", fmt.Sprintf("%d boundaries", n), l.multi(mixed+"\n"+p.String()+" boundary=last\n", "last"))
		add("E-75", fmt.Sprintf("%d fields", n), l.multi(strings.ReplaceAll(p.String(), " boundary", mixed+"boundary")+mixed+"boundary=last\n", "last"))
	}
	two := l.part()
	for i := range 20 {
		two = fmt.Sprintf(mixed+"boundary=x%d; boundary=y%d\n\n--x%d\n\nhello\n--y%d\n", i, i, i, i) + two + fmt.Sprintf("\n--y%d--\n--x%d--\n", i, i)
	}
	add("E-76", "20 levels of two readings", top+two)
	add("E-77", "beginnings of boundaries", top+mixed+"boundary=b\n\n"+strings.Repeat("--\n", 300000)+"--b\n"+l.part()+"--b--\n")
	add("E-77", "almost boundaries", top+mixed+"boundary=bbbbbbbbbbbbbbbb\n\n"+strings.Repeat("--bbbbbbbbbbbbbbb\n", 100000)+"--bbbbbbbbbbbbbbbb\n"+l.part()+"--bbbbbbbbbbbbbbbb--\n")
	add("E-77", "120,000 fields", "X-A: b\n"+strings.Repeat("X-A: b\n", 120000)+l.multi(mixed+"boundary=b\n", "b"))
	add("E-77", "a header of 2 MB", "X-A: "+strings.Repeat("b", 2<<20)+"\n"+l.multi(mixed+"boundary=b\n", "b"))
	return s.all
}
