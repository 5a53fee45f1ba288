package torture

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// charsets are those that names are written in; ASCII is the same in most.
func charsets() map[string]func(string) string {
	same := func(s string) string { return s }
	wide := func(big, bom bool) func(string) string {
		return func(s string) string {
			var b strings.Builder
			u := utf16.Encode([]rune(s))
			if bom {
				u = append([]uint16{0xfeff}, u...)
			}
			for _, c := range u {
				if big {
					b.Write([]byte{byte(c >> 8), byte(c)})
				} else {
					b.Write([]byte{byte(c), byte(c >> 8)})
				}
			}
			return b.String()
		}
	}
	out := map[string]func(string) string{"utf-16": wide(true, true), "UTF-16BE": wide(true, false), "utf-16le": wide(false, false),
		"utf-7": func(s string) string { return strings.ReplaceAll(s, ".", "+AC4-") },
		"iso-2022-kr": func(s string) string {
			e, _ := korean.EUCKR.NewEncoder().String(s)
			return e
		},
		"hz-gb-2312": func(s string) string {
			e, _ := simplifiedchinese.HZGB2312.NewEncoder().String(s)
			return e
		}}
	for _, c := range []string{"", "utf-8", "UTF8", "us-ascii", "ISO-8859-1", "iso-8859-15", "windows-1252", "cp1252", "KOI8-R", "Shift_JIS", "gb18030", "big5", "euc-jp", "iso-2022-jp", "x-unknown", "unknown-8bit", "utf-8 "} {
		out[c] = same
	}
	return out
}

func percent(s string, all bool, form string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if all || c >= 127 || c < 33 || c == '.' || c == '%' || c == '+' {
			fmt.Fprintf(&b, form, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// nameFields puts a parameter into the usual places.
func nameFields(filename string) []string {
	return []string{
		nameMail("Content-Type: application/octet-stream\nContent-Disposition: attachment; file" + filename + "\n"),
		nameMail("Content-Disposition: inline;\n file" + filename + "\nContent-Type: application/octet-stream;\n " + filename + "\n"),
	}
}

// extended are E-40 to E-42: RFC 2231.
func extended(l load) []one {
	s := &set{}
	for cs, enc := range charsets() {
		for _, lang := range []string{"", "en", "en-US"} {
			for how, val := range map[string]string{"all": percent(enc(l.file), true, "%%%02X"), "some": percent(enc(l.file), false, "%%%02x"), "double": percent(percent(enc(l.file), true, "%%%02X"), false, "%%%02X")} {
				if how == "double" && (lang != "" || cs != "utf-8") {
					continue
				}
				value := cs + "'" + lang + "'" + val
				id := "E-40"
				if lang != "" {
					id = "E-41"
				}
				for i, raw := range nameFields("name*=" + value) {
					s.all = append(s.all, one{id: id, name: fmt.Sprintf("%s'%s' %s %d", cs, lang, how, i), raw: raw, valid: how == "all" && cs == "utf-8"})
				}
				if lang == "" {
					s.add(id, cs+" quoted "+how, nameFields("name*=\"" + value + "\"")[0])
					half := len(val) / 6 * 3
					if how == "some" {
						half = strings.IndexByte(val, '%')
					}
					s.add("E-42", cs+" in pieces "+how, nameFields("name*0*=" + cs + "''" + val[:half] + "; filename*1*=" + val[half:])[0])
				}
			}
		}
	}
	f := l.file
	n := len(f) - 2
	for name, p := range map[string]string{
		"two": "name*0=\"" + f[:n] + "\";\n filename*1=\"" + f[n:] + "\"", "order": "name*1=\"" + f[n:] + "\";\n filename*0=\"" + f[:n] + "\"", "gap": "name*0=\"" + f[:n] + "\"; filename*2=\"" + f[n:] + "\"",
		"from one": "name*1=\"" + f[:n] + "\"; filename*2=\"" + f[n:] + "\"", "zeros": "name*00=\"" + f[:n] + "\"; filename*01=\"" + f[n:] + "\"", "twice": "name*0=notes; filename*0=\"" + f[:n] + "\"; filename*1=\"" + f[n:] + "\"",
		"last twice": "name*0=\"" + f[:n] + "\"; filename*1=\".txt\"; filename*1=\"" + f[n:] + "\"", "last twice, first": "name*0=\"" + f[:n] + "\"; filename*1=\"" + f[n:] + "\"; filename*1=\".txt\"", "one only": "name*0=" + f, "mixed": "name*0*=utf-8''" + f[:n] + "; filename*1=\"" + f[n:] + "\"",
		"mixed, plain first": "name*0=\"" + f[:n] + "\"; filename*1*=" + percent(f[n:], true, "%%%02X"), "plain too": "name=notes.txt; filename*0=\"" + f[:n] + "\"; filename*1=\"" + f[n:] + "\"", "plain too, last": "name*0=\"" + f[:n] + "\"; filename*1=\"" + f[n:] + "\"; filename=notes.txt",
		"three": "name*0=\"" + f[:n] + "\"; filename*1=\"" + f[n:n+1] + "\"; filename*2=\"" + f[n+1:] + "\"", "each letter": letters(f), "ext and plain": "name*=utf-8''notes.txt; filename=" + f, "plain and ext": "name=notes.txt; filename*=utf-8''" + f, "no quotes at all": "name*=" + f, "one quote": "name*=utf-8'" + f,
		"lone percent": "name*=utf-8''" + f + "%", "bad percent": "name*=utf-8''%zz" + f, "two stars": "name**=utf-8''" + f, "space before star": "name *=utf-8''" + f, "space in star": "name* =utf-8''" + f, "upper": "NAME*=UTF-8''" + f, "case of pieces": "NAME*0=\"" + f[:n] + "\"; FileName*1=\"" + f[n:] + "\"",
		"split escape": "name*0*=utf-8''" + f[:n] + "%" + "; filename*1*=" + fmt.Sprintf("%02X", f[n]) + f[n+1:], "lines cut": "name*0=\"" + f[:n] + "\"\n ; filename*1=\"" + f[n:] + "\"", "quotes in ext": "name*=utf-8''\"" + f + "\"",
	} {
		s.add("E-42", name, nameFields(p)[0])
	}
	s.add("E-42", "over two fields", nameMail("Content-Disposition: attachment; filename*0=\""+f[:n]+"\"\nContent-Disposition: attachment; filename*1=\""+f[n:]+"\"\n"))
	return s.all
}

// letters gives one piece for each letter.
func letters(f string) string {
	var b []string
	for i, c := range f {
		b = append(b, fmt.Sprintf("filename*%d=\"%c\"", i, c))
	}
	return strings.TrimPrefix(strings.Join(b, "; "), "file")
}

// words are E-44: encoded-words in names.
func words(l load) []one {
	s := &set{}
	f := l.file
	for cs, enc := range charsets() {
		if cs == "" || cs == "utf-8 " {
			continue
		}
		e := enc(f)
		b := base64.StdEncoding.EncodeToString([]byte(e))
		q := percent(e, false, "=%02X")
		q = strings.ReplaceAll(q, "?", "=3F")
		cut := len(e) / 4 * 2
		b1, b2 := base64.StdEncoding.EncodeToString([]byte(e[:cut])), base64.StdEncoding.EncodeToString([]byte(e[cut:]))
		for name, v := range map[string]string{
			"B": "\"=?" + cs + "?B?" + b + "?=\"", "Q": "\"=?" + cs + "?Q?" + q + "?=\"", "unquoted b": "=?" + cs + "?b?" + b + "?=", "unquoted q": "=?" + cs + "?q?" + q + "?=", "two": "\"=?" + cs + "?B?" + b1 + "?= =?" + cs + "?B?" + b2 + "?=\"",
			"two at once": "\"=?" + cs + "?B?" + b1 + "?==?" + cs + "?B?" + b2 + "?=\"", "folded": "\"=?" + cs + "?B?" + b1 + "?=\n =?" + cs + "?B?" + b2 + "?=\"", "no end": "\"=?" + cs + "?B?" + b + "\"", "no padding": "\"=?" + cs + "?B?" + strings.TrimRight(b, "=") + "?=\"", "language": "\"=?" + cs + "*en?B?" + b + "?=\"",
			"half an end": "\"=?" + cs + "?B?" + b + "?\"", "unquoted, two": "=?" + cs + "?B?" + b1 + "?=\n =?" + cs + "?B?" + b2 + "?=",
		} {
			s.all = append(s.all, one{id: "E-44", name: cs + " " + name, raw: nameFields("name=" + v)[0], valid: cs == "utf-8" && (name == "B" || name == "Q" || name == "two" || name == "folded")})
			s.add("E-44", cs+" "+name+", both", nameFields("name=" + v)[1])
		}
	}
	e := base64.StdEncoding.EncodeToString
	for name, v := range map[string]string{
		"part": "\"" + f[:5] + "=?utf-8?B?" + e([]byte(f[5:])) + "?=\"", "part with space": "\"" + f[:5] + " =?utf-8?B?" + e([]byte(f[5:])) + "?=\"", "extension alone": "\"" + mark + "=?utf-8?Q?=2Eexe?=\"", "B and Q": "\"=?utf-8?B?" + e([]byte(f[:8])) + "?= =?utf-8?Q?" + f[8:] + "?=\"",
		"in the middle of the extension": "\"=?utf-8?Q?" + f[:len(f)-2] + "?= =?utf-8?Q?" + f[len(f)-2:] + "?=\"", "octets of a letter apart": "\"=?utf-8?Q?=C3?= =?utf-8?Q?=B1" + f + "?=\"", "unknown letter": "\"=?utf-8?X?" + f + "?=\"", "spaces inside": "\"=?utf-8?Q?" + strings.ReplaceAll(f, "-", " ") + "?=\"",
		"underscores": "\"=?utf-8?Q?a_b_" + f + "?=\"", "inside 2231": "\"=?utf-8?Q?" + percent(f, true, "=%02X") + "?=\"", "comment": "(=?utf-8?Q?x?=)\"" + f + "\"", "text behind": "\"=?utf-8?Q?notes?=" + f + "\"", "two charsets": "\"=?iso-8859-1?Q?=F1?= =?utf-8?Q?" + f + "?=\"", "word in a word": "\"=?utf-8?B?" + e([]byte("=?utf-8?Q?"+f+"?=")) + "?=\"",
		"quotes inside": "\"=?utf-8?Q?\"" + f + "\"?=\"", "lower-case escapes": "\"=?utf-8?q?" + percent(f, false, "=%02x") + "?=\"", "missing question mark": "\"=?utf-8?Q?" + f + "=\"", "base64 with spaces": "\"=?utf-8?B?" + strings.Join(strings.SplitAfter(e([]byte(f)), "5"), " ") + "?=\"",
	} {
		s.add("E-44", name, nameFields("name=" + v)[0])
		s.add("E-44", name+", type", nameMail("Content-Type: application/octet-stream; name="+v+"\n"))
	}
	s.add("E-44", "word and RFC 2231", nameFields("name*=utf-8''" + percent("=?utf-8?Q?"+f+"?=", true, "%%%02X"))[0])
	return s.all
}

// tricks are E-45 to E-51 and E-56: what is in the name.
func tricks(l load) []one {
	s := &set{}
	p := mark
	in := map[string][]string{
		"E-45": {p + "\u202efdp.exe", p + "\u202e\u2066fdp.exe", p + "\u200b.exe", p + ".\u200bexe", p + ".e\u200dxe", p + ".e\u00adxe", p + ".exe\u200e", p + ".exe\ufeff", p + "\u2024exe", p + "\uff0eexe", p + "\u3002exe", p + "\ufe52exe", p + ".\uff45\uff58\uff45", p + ".ex\u2060e", p + ".exe\u00a0", p + ".exe\u3000", "\u202e" + p + ".exe", p + ".pdf\u202e.exe", p + ".e\u0335xe", p + ".exe\u2028"},
		"E-47": {p + ".pdf.exe", p + ".pdf" + strings.Repeat(" ", 40) + ".exe", p + ".pdf.lnk", p + ".jpg.scr", p + strings.Repeat("a", 300) + ".exe", p + strings.Repeat("a", 237) + ".exe.txt", p + ".exe.", p + ".exe ", p + ".exe...", p + ".exe . .", p + ".txt .exe", p + ".doc                .js", p + ".exe::$DATA", p + ".exe:x.txt", p + ".{00021401-0000-0000-C000-000000000046}", p + ".txt.{00021401-0000-0000-C000-000000000046}", p + ".exe;1", p + ".exe%20", p + ".exe%00.txt", p + ".exe?", p + ".exe\x00.txt", p + ".exe\t", p + ".exe/", p + ".PDF.EXE"},
		"E-50": {"..\\..\\" + p + ".exe", "../../" + p + ".exe", "/etc/cron.d/" + p + ".sh", "C:\\" + p + ".exe", "C:" + p + ".exe", "\\\\host\\share\\" + p + ".exe", "//host/" + p + ".exe", "%2e%2e%2f" + p + ".exe", p + ".exe/.", "file:///" + p + ".exe", "~/" + p + ".exe", "a/../" + p + ".exe"},
		"E-56": {p + ".EXE", p + ".ExE", p + ".B\u0131n.exe", p + ".p\u0131f", p + ".\uff33\uff23\uff32", p + ".J\u017f", p + ".P\u017f1", p + ".VB\u017f", p + ".ba\uff54", p + ".\u24d4\u24e7\u24d4", p + ".\U0001d41e\U0001d431\U0001d41e", p + ".Jar", p + ".l\u03b7k.exe"},
	}
	for id, all := range in {
		for _, n := range all {
			s.add(id, fmt.Sprintf("%q by RFC 2231", n), nameFields("name*=utf-8''" + percent(n, true, "%%%02X"))[0])
			s.add(id, fmt.Sprintf("%q by RFC 2047", n), nameFields("name=\"=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(n)) + "?=\"")[0])
			s.add(id, fmt.Sprintf("%q as it is", n), nameFields("name=\"" + strings.ReplaceAll(n, "\\", "\\\\") + "\"")[0])
			s.add(id, fmt.Sprintf("%q, backslashes as they are", n), nameFields("name=\"" + n + "\"")[0])
		}
	}
	f := l.file
	for name, form := range map[string]string{
		"unquoted with spaces": "name=my " + f, "space before equals": "name =" + f, "space behind equals": "name= " + f, "both": "name = " + f, "fold behind equals": "name=\n " + f, "fold before equals": "name\n =" + f, "fold inside": "name=\"" + f[:7] + "\n " + f[7:] + "\"", "fold in the extension": "name=\"" + f[:len(f)-2] + "\n " + f[len(f)-2:] + "\"",
		"tab fold": "name=\"" + f[:7] + "\n\t" + f[7:] + "\"", "single quotes": "name='" + f + "'", "unclosed": "name=\"" + f, "closed only": "name=" + f + "\"", "escapes": "name=\"" + strings.Join(strings.Split(f, ""), "\\") + "\"", "quote in the middle": "name=\"" + f[:5] + "\"" + f[5:], "two strings": "name=\"" + f[:5] + "\" \"" + f[5:] + "\"",
		"semicolon inside": "name=\"a;" + f + "\"", "semicolon unquoted": "name=a;" + f, "CR inside": "name=\"" + f[:5] + "\r" + f[5:] + "\"", "CR behind": "name=" + f + "\r", "NUL inside": "name=\"" + f[:5] + "\x00" + f[5:] + "\"", "parentheses": "name=" + f[:5] + "(1)" + f[5:], "brackets": "name=<" + f + ">", "backtick": "name=`" + f + "`", "equals inside": "name=a=" + f,
		"comma": "name=a," + f, "key folded": "na\n me=" + f, "key twice": "name=name=" + f, "colon": "name:" + f, "8-bit key before": "x=\xe9; filename=" + f, "no semicolon before": "x=y filename=" + f, "curly quotes": "name=\u201c" + f + "\u201d",
	} {
		for i, raw := range nameFields(form) {
			s.add("E-49", fmt.Sprint(name, " ", i), raw)
		}
	}
	for name, v := range map[string]string{
		"latin-1": "\xf1" + f, "utf-8": "ñ" + f, "shift-jis with a backslash": "\x83\x5c" + f, "overlong": "\xc0\xae" + f, "overlong dot": mark + "\xc0\xaeexe", "BOM": "\xef\xbb\xbf" + f, "broken utf-8": "\xe2\x82" + f, "broken before the dot": mark + "\xe2\x82.exe", "broken in the extension": mark + ".e\xffxe", "8-bit at the end": f + "\xa0", "C1": "\x85" + f, "big5": "\xa4\x5c" + f,
		"shift-jis at the end": "\x83\x5c\"; x=\"" + f, "koi8": "\xcf\xd4\xde\xa3\xd4" + f, "gb18030": "\x81\x30\x81\x30" + f,
	} {
		for i, raw := range nameFields("name=\"" + v + "\"") {
			s.add("E-51", fmt.Sprint(name, " ", i), raw)
		}
	}
	return append(s.all, sources(l)...)
}

// sources are E-52, E-54 and E-55: other places, extensions, sizes.
func sources(l load) []one {
	s := &set{}
	f := l.file
	zip := func(fields string) string {
		return top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\n" + fields + l.bare() + "--OO--\n"
	}
	for _, h := range []string{"Content-Location: " + f, "Content-Location: http://x.example/" + f, "Content-Location: =?utf-8?Q?" + f + "?=", "Content-ID: <" + f + "@x>", "Content-Description: " + f, "Content-Type: application/octet-stream; file=" + f, "Content-Type: application/octet-stream; x-unix-mode=0644; name*=" + f,
		"Content-Description: =?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(f)) + "?=", "Content-Name: " + f, "Content-Type: application/x-msdownload", "Content-Type: application/octet-stream; x-mac-name=" + f, "Content-Type: application/hta"} {
		s.add("E-52", h, nameMail(h+"\n"))
		s.add("E-52", h+", with the file", zip(h+"\n"))
	}
	text := []byte("some words in a line\r\n")
	s.add("E-52", "uuencode", top+"\nhello\n\n"+uu(f, text))
	s.add("E-52", "uuencode, name with spaces", top+"\nhello\n\n"+uu("my "+f, text))
	s.add("E-52", "uuencode, octal of four", top+"\nhello\n\n"+strings.Replace(uu(f, text), "644", "0644", 1))
	s.add("E-52", "uuencode base64", top+"\nhello\n\nbegin-base64 644 "+f+"\n"+b64(text)+"====\n")
	s.add("E-52", "yEnc", top+"\nhello\n\n"+yenc(f, text))
	s.add("E-52", "BinHex", top+"\nhello\n\n"+binhex(f, text))
	s.add("E-52", "TNEF", zipless("application/ms-tnef; name=winmail.dat", tnef(f, text)))
	s.add("E-52", "TNEF by another type", zipless("application/octet-stream", tnef(f, text)))
	s.add("E-52", "message with a name", top+mixed+"boundary=OO\n\n--OO\nContent-Type: message/rfc822; name="+f+"\n\n"+top+"\nhello\n--OO--\n")
	s.add("E-52", "multipart with a name", top+mixed+"boundary=OO; name="+f+"\n\n"+"--OO\n\nhello\n--OO--\n")
	s.add("E-52", "preamble of a named multipart", top+mixed+"boundary=OO\nContent-Disposition: attachment; filename="+f+"\n\nsome words\n--OO\n\nhello\n--OO--\n")
	runs := "exe scr com pif bat cmd vbs vbe js jse wsf wsh hta msi msp mst jar lnk url chm hlp cpl scf reg ps1 psm1 psd1 inf application appref-ms gadget msc xll wll ade adp mdb accde jnlp library-ms search-ms settingcontent-ms diagcab iso img vhd vhdx"
	if strings.HasSuffix(f, ".exe") {
		for _, ext := range strings.Fields(runs) {
			for _, e := range []string{ext, strings.ToUpper(ext)} {
				m := one{id: "E-54", name: e, raw: nameFields("name=" + mark + "." + e)[0]}
				switch ext {
				case "iso", "img", "vhd", "vhdx", "diagcab":
					m.want = append([]string{"attachment.disk_image", "attachment.archive_opaque", "attachment.mismatch"}, running...)
				}
				s.all = append(s.all, m)
			}
		}
		for _, ext := range strings.Fields("docm dotm xlsm xltm xlam pptm ppam sldm") {
			s.all = append(s.all, one{id: "E-54", name: ext, raw: nameFields("name=" + mark + "." + ext)[0], want: []string{"attachment.macro"}})
		}
		for _, ext := range strings.Fields("svg shtml mht mhtml xht xhtml html htm") {
			raw := strings.Replace(nameFields("name=" + mark + "." + ext)[0], "some words in a line", "<p>hello</p>", 1)
			s.all = append(s.all, one{id: "E-54", name: ext, raw: raw, want: []string{"attachment.html_attachment"}})
		}
		for _, ext := range strings.Fields("cab ace arj z7 7z tar.gz r00 001 z01 rar lzh part1.rar xz zst bz2") {
			s.all = append(s.all, one{id: "E-54", name: ext, raw: top + "Content-Type: application/octet-stream; name=" + mark + "." + ext + "\nContent-Transfer-Encoding: base64\n\n" + b64(noise(900)), want: []string{"attachment.archive_opaque"}})
		}
	}
	for _, n := range []int{200, 255, 256, 1000, 4096, 5000, 70000} {
		s.add("E-55", fmt.Sprintf("%d letters", n), nameFields("name=\"" + mark + strings.Repeat("a", n) + ".exe\"")[0])
		s.add("E-55", fmt.Sprintf("%d letters, RFC 2231", n), nameFields("name*=utf-8''" + mark + strings.Repeat("%C3%B1", n/2) + ".exe")[0])
	}
	for _, n := range []string{"", ".", "..", " ", "/", "\\", "...", "\x00"} {
		s.add("E-55", fmt.Sprintf("%q first", n), nameMail("Content-Type: application/octet-stream; name="+f+"\nContent-Disposition: attachment; filename=\""+n+"\"\n"))
		s.add("E-55", fmt.Sprintf("%q with the file", n), zip("Content-Disposition: attachment; filename=\""+n+"\"\n"))
	}
	s.all = append(s.all, one{id: "E-55", name: "behind 1,900 names", alone: true, raw: top + mixed + "boundary=OO\n\n" + strings.Repeat("--OO\nContent-Type: text/plain; name=a.txt\n\nx\n", 1900) + "--OO\nContent-Disposition: attachment; filename=" + f + "\n\nx\n--OO--\n"})
	s.all = append(s.all, one{id: "E-55", name: "behind 10,000 names", alone: true, raw: top + mixed + "boundary=OO\n\n" + strings.Repeat("--OO\nContent-Type: text/plain; name=a.txt\n\nx\n", 10000) + "--OO\nContent-Disposition: attachment; filename=" + f + "\n\nx\n--OO--\n"})
	s.all = append(s.all, one{id: "E-55", name: "behind 100 names in one field", raw: nameMail("Content-Disposition: attachment; " + strings.Repeat("filename=a.txt; ", 100) + "filename=" + f + "\n")})
	s.all = append(s.all, one{id: "E-55", name: "behind 100 different names in one field", raw: nameMail("Content-Disposition: attachment; " + manyNames(100) + "filename=" + f + "\n")})
	return s.all
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "filename=a%d.txt; ", i)
	}
	return b.String()
}

// zipless is a message with one attachment of that type.
func zipless(typ string, data []byte) string {
	return top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: " + typ + "\nContent-Transfer-Encoding: base64\n\n" + b64(data) + "--OO--\n"
}
