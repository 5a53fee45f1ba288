package torture

import (
	"fmt"
	"strings"
)

// written are E-16 and E-17: boundaries by RFC 2231 and RFC 2047, with the
// lines of each reading.
func written(l load) []one {
	s := &set{}
	for _, c := range []struct{ param, lines string }{
		{"boundary*=''AA%41A", "AAAA"}, {"boundary*=''AA%41A", "AA%41A"}, {"boundary*=us-ascii''AAAA", "AAAA"}, {"boundary*=us-ascii'en'AAAA", "AAAA"}, {"boundary*=us-ascii'en-US'%41AAA", "AAAA"}, {"boundary*=utf-8''AAAA", "AAAA"},
		{"boundary*=utf-16''%00A%00A%00A%00A", "AAAA"}, {"boundary*=x-unknown''AAAA", "AAAA"}, {"boundary*=AAAA", "AAAA"}, {"boundary*=\"us-ascii''AAAA\"", "AAAA"}, {"boundary*=us-ascii''AAAA", "us-ascii''AAAA"}, {"boundary* =us-ascii''AAAA", "AAAA"},
		{"boundary*0=AA; boundary*1=AB", "AAAB"}, {"boundary*1=AB; boundary*0=AA", "AAAB"}, {"boundary*1=AB; boundary*0=AA", "ABAA"}, {"boundary*0=AA;\n boundary*1=AB;\n boundary*2=AC", "AAABAC"}, {"boundary*0=AA; boundary*2=AC", "AAAC"}, {"boundary*0=AA; boundary*2=AC", "AA"},
		{"boundary*0=AA; boundary*0=BB; boundary*1=CC", "AACC"}, {"boundary*0=AA; boundary*0=BB; boundary*1=CC", "BBCC"}, {"boundary*0=AA; boundary*1=BB; boundary*1=CC", "AABB"}, {"boundary*0=AA; boundary*1=BB; boundary*1=CC", "AACC"},
		{"boundary*0*=us-ascii''A%41; boundary*1=BB", "AABB"}, {"boundary*0*=us-ascii''AA; boundary*1*=%42B", "AABB"}, {"boundary*0=\"AA\"; boundary*1*=%42B", "AABB"}, {"boundary*1=AA; boundary*2=BB", "AABB"}, {"boundary*01=AA; boundary*02=BB", "AABB"},
		{"boundary*00=AA; boundary*01=BB", "AABB"}, {"boundary*0=AABB; boundary=CCCC", "AABB"}, {"boundary*0=AABB; boundary=CCCC", "CCCC"}, {"boundary=CCCC; boundary*=''AABB", "AABB"}, {"boundary=CCCC; boundary*=''AABB", "CCCC"}, {"boundary*0=AABB", "AABB"},
		{"boundary*=us-ascii''AABB%20", "AABB"}, {"boundary*=us-ascii''AABB%20", "AABB "}, {"boundary*=us-ascii''%20AABB", " AABB"}, {"boundary*=us-ascii''AA%0D%0ABB", "AA"}, {"boundary*=us-ascii''AA%", "AA%"}, {"boundary*=us-ascii''AA%4", "AA%4"}, {"boundary*=us-ascii''AA%zz", "AA%zz"},
		{"boundary*=us-ascii'AABB", "AABB"}, {"boundary*=us-ascii'''AABB", "AABB"}, {"boundary*='AABB", "AABB"}, {"boundary**=''AABB", "AABB"}, {"boundary*x=AABB", "AABB"}, {"BOUNDARY*0=AA; Boundary*1=BB", "AABB"}, {"boundary*-1=AA; boundary*0=BB", "BB"}, {"boundary*99999999999=AABB", "AABB"},
	} {
		s.add("E-16", c.param+" | "+c.lines, l.multi(mixed+c.param+"\n", c.lines))
	}
	for _, c := range []struct{ param, lines string }{
		{"boundary=\"=?us-ascii?q?AABB?=\"", "AABB"}, {"boundary=\"=?us-ascii?q?AABB?=\"", "=?us-ascii?q?AABB?="}, {"boundary==?us-ascii?q?AABB?=", "AABB"}, {"boundary==?us-ascii?q?AABB?=", "=?us-ascii?q?AABB?="}, {"boundary=\"=?us-ascii?b?QUFCQg==?=\"", "AABB"},
		{"boundary==?us-ascii?b?QUFCQg==?=", "AABB"}, {"boundary=\"AA=?us-ascii?q?BB?=\"", "AABB"}, {"boundary=AA=?us-ascii?Q?BB?=", "AABB"}, {"boundary=AA=?us-ascii?Q?BB?=", "AA=?us-ascii?Q?BB?="}, {"boundary=\"=?us-ascii?q?AA?= =?us-ascii?q?BB?=\"", "AABB"},
		{"boundary=\"=?us-ascii?q?AA?=\n =?us-ascii?q?BB?=\"", "AABB"}, {"boundary=\"=?utf-16?b?AEEAQQBCAEI=?=\"", "AABB"}, {"boundary=\"=?x?q?AABB?=\"", "AABB"}, {"=?us-ascii?q?boundary=3DAABB?=", "AABB"}, {"=?us-ascii?q?boundary?==AABB", "AABB"},
		{"boundary=\"=?us-ascii?q?AA=42B?=\"", "AABB"}, {"boundary=\"=?us-ascii?q?AA_B?=\"", "AA B"}, {"boundary*=\"=?us-ascii?q?AABB?=\"", "AABB"},
	} {
		s.add("E-17", c.param+" | "+c.lines, l.multi(mixed+c.param+"\n", c.lines))
	}
	return s.all
}

// spelt are E-20 to E-22: empty and missing boundaries, quotes, white space.
func spelt(l load) []one {
	s := &set{}
	for _, p := range []string{"boundary=\"\"", "boundary=", "boundary=;", "boundary", "x=y", "boundary=\" \"", "boundary=\"", "boundary=''", "boundary=wrong", "boundary=\n", "Boundary:foo", "boundry=foo", "boundaries=foo"} {
		for _, lines := range []string{"foo", "", "=_next_part"} {
			s.add("E-20", fmt.Sprintf("%q | %q", p, lines), l.multi(mixed+p+"\n", lines))
		}
	}
	s.add("E-20", "nothing behind the type", l.multi("Content-Type: multipart/mixed\n", "foo"))
	s.add("E-20", "no type at all", l.multi("", "foo"))
	s.add("E-20", "no type, any default", l.multi("X-Nothing: 1\n", "foo"))
	s.add("E-20", "inner without", top+mixed+"boundary=out\n\n--out\nContent-Type: multipart/mixed\n\n"+l.between("foo")+"--out--\n")
	for _, c := range []struct{ param, lines string }{
		{"'AABB'", "AABB"}, {"'AABB'", "'AABB'"}, {"\"AABB", "AABB"}, {"\"AABB", "\"AABB"}, {"AABB\"", "AABB"}, {"AABB\"", "AABB\""}, {"\"AA\\BB\"", "AABB"}, {"\"AA\\BB\"", "AA\\BB"}, {"AA\\BB", "AABB"}, {"AA\\BB", "AA\\BB"}, {"AA\"BB", "AA"}, {"AA\"BB", "AA\"BB"},
		{"\"AA\"BB", "AA"}, {"\"AA\"BB", "AABB"}, {"\"AA\"BB\"", "AA\"BB"}, {"\"AA\" \"BB\"", "AA"}, {"\"AA\"\"BB\"", "AABB"}, {"\"AA;BB\"", "AA"}, {"\"AA;BB\"", "AA;BB"}, {"\"AA;BB\"", "\"AA"}, {"AA;BB", "AA"}, {"AA;BB", "AA;BB"}, {"'AA;BB'", "AA;BB"}, {"'AA;BB'", "'AA"},
		{"\"AA\\\"BB\"", "AA\"BB"}, {"\"AA\\\"BB\"", "AA\\"}, {"\"AABB\\\"", "AABB\\"}, {"\"AABB\\\"", "AABB"}, {"`AABB`", "AABB"}, {"\"'AABB'\"", "AABB"}, {"\"'AABB'\"", "'AABB'"}, {"\"\"AABB\"\"", "AABB"}, {"\\\"AABB\\\"", "AABB"}, {"<AABB>", "AABB"}, {"<AABB>", "<AABB>"}, {"AA,BB", "AA"},
		{"AA,BB", "AA,BB"}, {"AA/BB", "AA/BB"}, {"AA=BB", "AA=BB"}, {"AA=BB", "AA"}, {"AA:BB", "AA:BB"}, {"AA?BB", "AA?BB"}, {"AA(c)BB", "AA"}, {"AA(c)BB", "AA(c)BB"}, {"AA@BB", "AA@BB"}, {"=AABB", "AABB"}, {"=AABB", "=AABB"}, {"\"AABB\";;", "AABB"}, {"AABB%20", "AABB%20"}, {"A\xe9B", "A\xe9B"}, {"\"A\xc3\xa9B\"", "A\xc3\xa9B"},
	} {
		s.add("E-21", c.param+" | "+c.lines, l.multi(mixed+"boundary="+c.param+"\n", c.lines))
	}
	for _, c := range []struct{ param, lines string }{
		{"\" AABB\"", "AABB"}, {"\" AABB\"", " AABB"}, {"\"AABB \"", "AABB"}, {"\"AABB \"", "AABB "}, {"\"AA BB\"", "AA BB"}, {"AA BB", "AA"}, {"AA BB", "AA BB"}, {"AA BB", "AABB"}, {" AABB", "AABB"}, {"\tAABB", "AABB"}, {"\"\tAABB\"", "\tAABB"}, {"\"\tAABB\"", "AABB"}, {"AA\tBB", "AA"},
		{"AA\tBB", "AA\tBB"}, {"AA\x0bBB", "AA"}, {"AA\x0bBB", "AA\x0bBB"}, {"\x0bAABB", "AABB"}, {"AABB\x0b", "AABB"}, {"AA\rBB", "AA"}, {"AA\rBB", "AABB"}, {"\"AA\rBB\"", "AA"}, {"\"AABB\r\"", "AABB"}, {"\"\rAABB\"", "AABB"}, {"AABB\r", "AABB"}, {"\n AABB", "AABB"}, {"\n\tAABB", "AABB"},
		{"\"AA\n BB\"", "AA BB"}, {"\"AA\n BB\"", "AABB"}, {"\"AA\n\tBB\"", "AA\tBB"}, {"\"AA\n\tBB\"", "AA BB"}, {"AA\n BB", "AA"}, {"\"AA  BB\"", "AA BB"}, {"\"AA  BB\"", "AA  BB"}, {"AABB\x00", "AABB"}, {"AA\x00BB", "AA"}, {"\"AABB\x0c\"", "AABB"}, {"AABB\xc2\xa0", "AABB"}, {"\" \tAABB\t \"", "AABB"},
	} {
		s.add("E-22", fmt.Sprintf("%q | %q", c.param, c.lines), l.multi(mixed+"boundary="+c.param+"\n", c.lines))
	}
	s.add("E-22", "space before equals", l.multi(mixed+"boundary =AABB\n", "AABB"))
	s.add("E-22", "fold before equals", l.multi(mixed+"boundary\n =AABB\n", "AABB"))
	s.add("E-22", "fold in the word", l.multi(mixed+"bound\n ary=AABB\n", "AABB"))
	s.add("E-22", "space in the word", l.multi(mixed+"bound ary=AABB\n", "AABB"))
	for _, c := range []struct{ name, from, to string }{
		{"space behind", "--AABB\n", "--AABB \n"}, {"tab behind", "--AABB\n", "--AABB\t\n"}, {"text behind", "--AABB\n", "--AABB x\n"}, {"text at once behind", "--AABB\n", "--AABBx\n"}, {"CR behind", "--AABB\n", "--AABB\r\r\n"}, {"CR for the line end", "--AABB\n", "--AABB\r"},
		{"CR in front", "\n--AABB", "\r--AABB"}, {"LF CR", "\n--AABB\n", "\n\r--AABB\n\r"}, {"space in front", "\n--AABB", "\n --AABB"}, {"three dashes", "\n--AABB", "\n---AABB"}, {"one dash", "\n--AABB", "\n-AABB"}, {"no dashes", "\n--AABB", "\nAABB"}, {"case", "AABB\n", "aabb\n"}, {"space CR", "--AABB\n", "--AABB \r"},
		{"space between", "\n--AABB", "\n-- AABB"}, {"VT behind", "--AABB\n", "--AABB\x0b\n"}, {"NUL behind", "--AABB\n", "--AABB\x00\n"}, {"one dash behind", "--AABB\n", "--AABB-\n"}, {"closing everywhere", "--AABB\n", "--AABB--\n"}, {"closing with text", "--AABB\n", "--AABB--x\n"}, {"quoted", "\n--AABB", "\n--\"AABB\""},
	} {
		body := l.between("AABB")
		s.add("E-22", "lines: "+c.name, top+mixed+"boundary=AABB\n"+strings.ReplaceAll("\n"+body, c.from, c.to))
	}
	return s.all
}

// structures are E-24 to E-34.
func structures(l load) []one {
	s := &set{}
	inner := func(b string) string { return mixed + "boundary=" + b + "\n\n" + l.between(b) }
	for _, c := range []struct{ name, outer, in string }{{"equal", "in", "in"}, {"inner longer", "in", "inner"}, {"outer longer", "inner", "in"}, {"inner is outer's end", "in", "in--"}, {"outer is inner's end", "in--", "in"}, {"inner of dashes", "in", "--in"}, {"case", "in", "IN"}, {"inner with space", "in", "\"in x\""}} {
		for _, dummy := range []string{"", "--" + c.outer + "\n\ndummy\n"} {
			s.add("E-24", c.name+", dummy "+fmt.Sprint(dummy != ""), top+mixed+"boundary=\""+c.outer+"\"\n\n"+dummy+"--"+c.outer+"\n"+inner(c.in)+"--"+c.outer+"--\n")
		}
		s.add("E-24", c.name+", dummy behind", top+mixed+"boundary=\""+c.outer+"\"\n\n--"+c.outer+"\n"+inner(c.in)+"--"+c.outer+"\n\ndummy\n--"+c.outer+"--\n")
	}
	half := len(b64(l.data)) / 2 / 77 * 77
	first, second := b64(l.data)[:half], b64(l.data)[half:]
	for name, body := range map[string]string{
		"outer in inner base64":         "--OO\n" + mixed + "boundary=II\n\n--II\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + first + "--OO\n" + second + "--II--\n--OO--\n",
		"outer's end in inner base64":   "--OO\n" + mixed + "boundary=II\n\n--II\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + first + "--OO--\n" + second + "--II--\n--OO--\n",
		"unknown boundary in base64":    "--OO\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + first + "--XX\n" + second + "--OO--\n",
		"a longer boundary in base64":   "--OO\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + first + "--OOPS\n" + second + "--OO--\n",
		"boundary in a header":          "--OO\nContent-Type: application/zip\n--OO\nContent-Transfer-Encoding: base64\n\n" + b64(l.data) + "--OO--\n",
		"end in a header":               "--OO\nContent-Type: application/zip\n--OO--\nContent-Transfer-Encoding: base64\n\n" + b64(l.data) + "--OO--\n",
		"header goes on behind":         "--OO\nContent-Type: text/plain\nX-A: b\n--OO\n" + l.part() + "--OO--\n",
		"inner end is outer":            "--OO\n" + mixed + "boundary=II\n\n--II\n\nhello\n--OO--\n--II\n" + l.part() + "--II--\n",
		"boundary twice":                "--OO\n--OO\n" + l.part() + "--OO--\n",
		"end before the first":          "--OO--\n--OO\n" + l.part() + "--OO--\n",
		"end alone before":              "--OO--\n" + l.part(),
		"two ends, part between":        "--OO\n\nx\n--OO--\n--OO\n" + l.part() + "--OO--\n",
		"preamble":                      l.part() + "--OO\n\nx\n--OO--\n",
		"epilogue":                      "--OO\n\nx\n--OO--\n" + l.part(),
		"preamble, encoded":             b64(l.data) + "--OO\n\nx\n--OO--\n",
		"no header in the part":         "--OO\n\nx\n--OO\n\n" + b64(l.data) + "--OO--\n",
		"header without end, base64":    "--OO\n" + strings.Replace(l.part(), "\n\n", "\n", 1) + "--OO--\n",
		"uuencoded without header":      "--OO\n\n" + uu(l.zip, l.data) + "--OO--\n",
		"uuencoded in the preamble":     uu(l.zip, l.data) + "--OO\n\nx\n--OO--\n",
		"uuencoded in the epilogue":     "--OO\n\nx\n--OO--\n" + uu(l.zip, l.data),
		"uuencoded over the boundaries": strings.Replace(uu(l.zip, l.data), "\nM", "\n--OO\n\nM", 1) + "--OO--\n",
	} {
		s.add("E-24", name, top+mixed+"boundary=OO\n\n"+body)
	}
	s.add("E-24", "no empty line before the first", top+mixed+"boundary=OO\n"+l.between("OO"))
	for name, m := range map[string]string{
		"inner":            top + mixed + "boundary=OO\n\n--OO\n" + strings.Replace(inner("II"), "--II--\n", "", 1) + "--OO--\n",
		"outer":            top + mixed + "boundary=OO\n\n--OO\n" + inner("II"),
		"both":             top + mixed + "boundary=OO\n\n--OO\n" + strings.Replace(inner("II"), "--II--\n", "", 1),
		"no line end":      strings.TrimSuffix(strings.TrimSuffix(l.multi(mixed+"boundary=OO\n", "OO"), "--OO--\n"), "\n"),
		"half an end":      strings.Replace(l.multi(mixed+"boundary=OO\n", "OO"), "--OO--\n", "--OO-\n", 1),
		"cut in base64":    strings.SplitAfter(l.multi(mixed+"boundary=OO\n", "OO"), "--OO--")[0][:len(l.multi(mixed+"boundary=OO\n", "OO"))-30],
		"end without line": strings.TrimSuffix(l.multi(mixed+"boundary=OO\n", "OO"), "\n"),
	} {
		s.add("E-26", name, m)
	}
	for i := 1; i <= 3; i++ {
		third := len(b64(l.data)) / 3
		s.add("E-27", fmt.Sprintf("piece %d", i), top+fmt.Sprintf("Content-Type: message/partial; id=\"x@y\"; number=%d; total=3\n\n", i)+b64(l.data)[third*(i-1):third*i]+"\n")
	}
	s.add("E-27", "inside", top+mixed+"boundary=OO\n\n--OO\nContent-Type: message/partial; id=x; number=2; total=2\n\n"+b64(l.data)+"--OO--\n")
	s.add("E-27", "external body", top+"Content-Type: message/external-body; access-type=URL; URL=\"http://x.example/"+l.zip+"\"\n\nContent-Type: application/zip\n\n")
	s.add("E-27", "external body by FTP", top+mixed+"boundary=OO\n\n--OO\nContent-Type: message/external-body; access-type=anon-ftp; site=x.example; name="+l.zip+"\n\nContent-Type: application/zip\n\n--OO--\n")
	return append(s.all, nested(l)...)
}

// nested are E-29 to E-34.
func nested(l load) []one {
	s := &set{}
	msg := top + l.part()
	for _, m := range []string{"rfc822", "global", "news", "http", "delivery-status", "disposition-notification", "feedback-report", "x-nobody", "rfc2822", "RFC822"} {
		s.add("E-29", m, top+"Content-Type: message/"+m+"\n\n"+msg)
		s.add("E-29", m+" as a part", top+mixed+"boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: message/"+m+"; name=x.eml\n\n"+msg+"--OO--\n")
	}
	s.valid("E-29", "digest", top+"Content-Type: multipart/digest; boundary=OO\n\n--OO\n\n"+msg+"--OO--\n")
	s.add("E-29", "text that is a message", top+"Content-Type: text/plain; name=x.eml\nContent-Disposition: attachment\n\n"+msg)
	s.add("E-29", "file that is a message", top+"Content-Type: application/octet-stream; name=x.eml\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf(msg))))
	s.add("E-29", "file .mht", top+"Content-Type: application/octet-stream; name=x.mht\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf(l.multi("Content-Type: multipart/related; boundary=OO\n", "OO")))))
	s.add("E-29", "a mailbox", top+"Content-Type: application/mbox; name=x.mbox\nContent-Transfer-Encoding: base64\n\n"+b64([]byte(crlf("From a@b Mon Sep  2 10:00:00 2024\n"+top+"\nhello\n\nFrom a@b Mon Sep  2 10:00:00 2024\n"+msg))))
	s.add("E-29", "empty line before the message", top+"Content-Type: message/rfc822\n\n\n"+msg)
	s.add("E-29", "mbox line before the message", top+"Content-Type: message/rfc822\n\nFrom a@b Mon Sep  2 10:00:00 2024\n"+msg)
	s.add("E-29", "message in a message in a message", top+"Content-Type: message/rfc822\n\n"+top+"Content-Type: message/rfc822\n\n"+top+"Content-Type: message/rfc822\n\n"+msg)
	for _, sub := range []string{"mixed", "alternative", "related", "parallel", "appledouble", "signed", "encrypted", "report", "form-data", "x-mixed-replace", "byteranges", "voice-message", "fax-message", "header-set", "related; type=\"text/html\"", "nobody"} {
		s.add("E-30", sub, l.multi("Content-Type: multipart/"+sub+"; boundary=OO\n", "OO"))
		s.add("E-30", sub+", payload first", top+"Content-Type: multipart/"+sub+"; boundary=OO\n\n--OO\n"+l.part()+"--OO\nContent-Type: text/plain\n\nhello\n--OO--\n")
	}
	s.add("E-30", "report, as the message returned", top+"Content-Type: multipart/report; report-type=delivery-status; boundary=OO\n\n--OO\n\nsorry\n--OO\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n--OO\nContent-Type: message/rfc822\n\n"+msg+"--OO--\n")
	for _, typ := range []string{"application/zip", "text/plain", "text/html", "image/png", "application/octet-stream", "application/pdf", "", "x", "text/calendar", "audio/mpeg", "application/pgp-signature", "text/x-nobody"} {
		line := "Content-Type: " + typ + "\n"
		s.add("E-31", "alone, "+typ, top+line+l.bare())
		s.add("E-31", "alone and 8bit, "+typ, top+line+"Content-Transfer-Encoding: quoted-printable\n\n"+qp(l.data))
		s.add("E-31", "a part, "+typ, top+mixed+"boundary=OO\n\n--OO\n\nhello\n--OO\n"+line+l.bare()+"--OO--\n")
		s.add("E-31", "inline, "+typ, top+mixed+"boundary=OO\n\n--OO\n\nhello\n--OO\n"+line+"Content-Disposition: inline\n"+l.bare()+"--OO--\n")
	}
	s.add("E-31", "no type", top+l.bare())
	s.add("E-31", "no type in a part", top+mixed+"boundary=OO\n\n--OO\n"+l.bare()+"--OO--\n")
	for _, n := range []int{9, 10, 11, 99, 100, 101, 999, 1001, 1999, 5000} {
		s.all = append(s.all, one{id: "E-34", name: fmt.Sprintf("behind %d parts", n), alone: true,
			raw: top + mixed + "boundary=OO\n\n" + strings.Repeat("--OO\nContent-Type: text/plain\n\nx\n", n) + "--OO\n" + l.part() + "--OO--\n"})
	}
	return s.all
}
