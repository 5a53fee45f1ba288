package field

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// one parsed field as a line: tokens, readings by name, oddities (`!` for
// ambiguous).
func show(v Value) string {
	var b strings.Builder
	fmt.Fprint(&b, strings.Join(v.Tokens, "|"))
	for _, p := range v.Params {
		fmt.Fprintf(&b, "; %s=%s", p.Name, p.Value)
	}
	for _, o := range v.Oddities {
		fmt.Fprintf(&b, " [%s", o.ID)
		if o.Ambiguous {
			fmt.Fprint(&b, "!")
		}
		fmt.Fprint(&b, "]")
	}
	return b.String()
}

// TestSound: a valid field has one reading for each parameter and no oddity
// (E-92).
func TestSound(t *testing.T) {
	for raw, want := range map[string]string{
		"":                              "",
		" text/html":                    "text/html",
		" Text/HTML; Charset=UTF-8\r\n": "text/html; charset=UTF-8",
		"text/plain;charset=utf-8;":     "text/plain; charset=utf-8",
		"text/plain; charset=us-ascii (Plain text)":                              "text/plain; charset=us-ascii",
		"text/plain (a (nested) one); charset=utf-8":                             "text/plain; charset=utf-8",
		"multipart/mixed;\r\n\tboundary=\"----=_NextPart_000_0001\"\r\n":         "multipart/mixed; boundary=----=_NextPart_000_0001",
		"multipart/mixed; boundary=\"a;b=c\"":                                    "multipart/mixed; boundary=a;b=c",
		"multipart/mixed; boundary=----=_Part_1.2":                               "multipart/mixed; boundary=----=_Part_1.2",
		"attachment; filename=\"my report.pdf\"; size=12":                        "attachment; filename=my report.pdf; size=12",
		"attachment; filename=\"a \\\"b\\\" c.pdf\"":                             "attachment; filename=a \"b\" c.pdf",
		"attachment; filename=\"it's 100% (fine).pdf\"":                          "attachment; filename=it's 100% (fine).pdf",
		"attachment; filename=\"long name\r\n that is folded.pdf\"":              "attachment; filename=long name that is folded.pdf",
		"attachment; filename=\"long name\r\n\tthat is folded.pdf\"":             "attachment; filename=long name that is folded.pdf",
		"attachment; filename = \"x.pdf\"":                                       "attachment; filename=x.pdf",
		"attachment; filename*=''file.zip":                                       "attachment; filename=file.zip",
		"attachment; filename*=utf-8'en-US'payload.exe":                          "attachment; filename=payload.exe",
		"attachment; filename*=ISO-8859-1''%E4.zip":                              "attachment; filename=ä.zip",
		"attachment; filename*=iso-8859-1'de'na%EFve%20plan.zip":                 "attachment; filename=naïve plan.zip",
		"attachment; filename*=UTF-16''%FE%FF%00f%00.%00z%00i%00p":               "attachment; filename=f.zip",
		"attachment; filename*=KOI8-R''%C6%C1%CA%CC.zip":                         "attachment; filename=файл.zip",
		"attachment; filename*=UTF-8''%E6%97%A5%E6%9C%AC.zip":                    "attachment; filename=日本.zip",
		"attachment; filename*0=\"evil.e\";\r\n filename*1=\"xe\"":               "attachment; filename=evil.exe",
		"attachment; filename*0*=UTF-8''%E2%82;\r\n filename*1*=%AC%20.zip":      "attachment; filename=€ .zip",
		"attachment; filename*0*=UTF-8'en'a%20; filename*1=\"b%20.zip\"":         "attachment; filename=a b%20.zip; filename=a b .zip [rfc2231-percent]",
		"attachment; filename=\"fallback.pdf\"; filename*=UTF-8''na%C3%AFve.pdf": "attachment; filename=fallback.pdf; filename=naïve.pdf",
		"attachment; filename=\"日本.pdf\"":                                        "attachment; filename=日本.pdf",
		"inline":                                                                 "inline",
		"message/partial; id=\"x@y\"; number=1; total=3":                         "message/partial; id=x@y; number=1; total=3",
	} {
		if got := show(Parse(raw)); got != want {
			t.Errorf("%q\n got %s\nwant %s", raw, got, want)
		}
	}
}

// TestReadings: what readers may take for damaged fields, by attack id. Each
// of want must be among the readings, and each oddity, too.
func TestReadings(t *testing.T) {
	type want struct {
		id, raw string
		name    string // of the parameter, "" for the tokens
		values  []string
		odd     string // "" for none that is ambiguous
	}
	for _, w := range []want{
		{"E-01", "multipart/mixed; boundary=A; boundary=B", "boundary", []string{"A", "B"}, "duplicate-parameter!"},
		{"E-01", "multipart/mixed; boundary=A; boundary=\"A\"", "boundary", []string{"A"}, "duplicate-parameter"},
		{"E-06", "multipart/mixed; boundary((c))=\"A\"; boundary=\"B\"", "boundary", []string{"A", "B"}, "comment-in-name!"},
		{"E-06", "multipart/mixed; boun()dary=A", "boundary", []string{"A"}, "comment-in-name!"},
		{"E-06", "attachment; filena()me=x.exe", "filename", []string{"x.exe"}, "comment-in-name!"},
		{"E-06", "text/plain; name()=x.exe", "name", []string{"x.exe"}, "comment-in-name!"},
		{"E-06", "text/plain; (a)name=x.exe", "name", []string{"x.exe"}, "comment-in-name!"},
		{"E-06", "multipart/mixed; boundary=A(c)B", "boundary", []string{"AB", "A(c)B"}, "comment-in-value!"},
		{"E-06", "multipart/mixed; boundary=(c)\"A\"", "boundary", []string{"A"}, "comment-in-value!"},
		{"E-06", "multipart/mixed; boundary=(\"A\")\"B\"", "boundary", []string{"B"}, "comment-in-value!"},
		{"E-06", "attachment; filename=report(1).pdf", "filename", []string{"report.pdf", "report(1).pdf"}, ""},
		{"E-06", "attachment; filename=a.(b)exe", "filename", []string{"a.exe", "a.(b)exe"}, "comment-in-value!"},
		{"E-06", "attachment; filename=a.exe (b).txt", "filename", []string{"a.exe .txt", "a.exe (b).txt", "a.exe"}, "unquoted-space!"},
		{"E-07", "multipart/mixed; x:y=1; boundary=A", "boundary", []string{"A"}, "junk-parameter!"},
		{"E-07", "multipart/mixed; é=1; boundary=A", "boundary", []string{"A"}, "junk-parameter!"},
		{"E-07", "multipart/mixed; =; boundary=A", "boundary", []string{"A"}, "junk-parameter!"},
		{"E-07", "multipart/mixed; \"x\"; boundary=A", "boundary", []string{"A"}, "junk-parameter!"},
		{"E-07", "multipart/mixed; foo; boundary=A", "boundary", []string{"A"}, "junk-parameter!"},
		{"E-07", "multipart/mixed boundary=A", "boundary", []string{"A"}, "missing-semicolon!"},
		{"E-07", "multipart/mixed\r\n boundary=\"A\"", "boundary", []string{"A"}, "missing-semicolon!"},
		{"E-07", "multipart/mixed; charset=x boundary=A", "boundary", []string{"A"}, "missing-semicolon!"},
		{"E-07", "multipart/mixed; charset=\"x\" boundary=A", "boundary", []string{"A"}, "missing-semicolon!"},
		{"E-12", "\"multipart/mixed\"; boundary=A", "", []string{"multipart/mixed"}, "quoted-type!"},
		{"E-12", "multi\\part/mixed; boundary=A", "", []string{"multipart/mixed"}, "backslash-in-type!"},
		{"E-12", "multipart\\mixed; boundary=A", "", []string{"multipart/mixed"}, "backslash-in-type!"},
		{"E-12", "multi(c)part/mixed; boundary=A", "", []string{"multipart/mixed"}, "comment-in-type!"},
		{"E-12", "=?utf-8?Q?multipart/mixed?=; boundary=A", "", []string{"multipart/mixed"}, "encoded-type!"},
		{"E-12", "boundary=A", "boundary", []string{"A"}, "missing-type!"},
		{"E-12", "; boundary=A", "boundary", []string{"A"}, "missing-type!"},
		{"E-12", "text/plain, multipart/mixed; boundary=A", "", []string{"text/plain", "multipart/mixed"}, "several-types!"},
		{"E-12", "multipart / mixed; boundary=A", "", []string{"multipart/mixed"}, "junk-in-type!"},
		{"E-12", "multipart; boundary=A", "", []string{"multipart"}, ""},
		{"E-12", "multipart/; boundary=A", "", []string{"multipart/"}, ""},
		{"E-16", "multipart/mixed; boundary*=''x", "boundary", []string{"x"}, ""},
		{"E-16", "multipart/mixed; boundary*0=a; boundary*1=b", "boundary", []string{"ab"}, ""},
		{"E-16", "multipart/mixed; boundary*1=b; boundary*0=a", "boundary", []string{"ab", "ba", "a", "b"}, "rfc2231-order!"},
		{"E-16", "multipart/mixed; boundary*0=a; boundary*0=b; boundary*1=c", "boundary", []string{"abc", "ac", "bc"}, "rfc2231-sections!"},
		{"E-16", "multipart/mixed; boundary*=utf-8'en'a%62c", "boundary", []string{"abc"}, ""},
		{"E-16", "multipart/mixed; boundary*=UTF-16''%00a%00b", "boundary", []string{"ab"}, ""},
		{"E-16", "multipart/mixed; boundary*=''x; boundary=y", "boundary", []string{"x", "y"}, "fallback-differs!"},
		{"E-17", "multipart/mixed; boundary=\"abc=?us-ascii?Q?def?=\"", "boundary", []string{"abcdef", "abc=?us-ascii?Q?def?="}, "encoded-word!"},
		{"E-17", "multipart/mixed; boundary==?us-ascii?B?YWJj?=", "boundary", []string{"abc", "=?us-ascii?B?YWJj?="}, "encoded-word!"},
		{"E-20", "multipart/mixed; boundary=\"\"", "boundary", []string{""}, "empty-boundary!"},
		{"E-20", "multipart/mixed; boundary=; x=y", "boundary", []string{""}, "empty-boundary!"},
		{"E-21", "multipart/mixed; boundary='a b'", "boundary", []string{"a b", "'a b'", "'a"}, "single-quotes!"},
		{"E-21", "multipart/mixed; boundary='a;b'", "boundary", []string{"a;b", "'a"}, "single-quotes!"},
		{"E-21", "multipart/mixed; boundary=\"abc", "boundary", []string{"abc", "\"abc"}, "unclosed-quote!"},
		{"E-21", "multipart/mixed; boundary=\"abc; x=y", "boundary", []string{"abc; x=y", "abc", "\"abc"}, "unclosed-quote!"},
		{"E-21", "multipart/mixed; x=\"abc; boundary=y", "boundary", []string{"y"}, "unclosed-quote!"},
		{"E-21", "multipart/mixed; boundary=\"a\\bc\"", "boundary", []string{"abc", "a\\bc"}, "escaped-character!"},
		{"E-21", "multipart/mixed; boundary=a\\bc", "boundary", []string{"abc", "a\\bc"}, "escaped-character!"},
		{"E-21", "multipart/mixed; boundary=\"abc\"def", "boundary", []string{"abc", "abcdef", "\"abc\"def"}, "junk-after-quote!"},
		{"E-21", "multipart/mixed; boundary=\"abc\" def", "boundary", []string{"abc", "abcdef"}, "junk-after-quote!"},
		{"E-21", "multipart/mixed; boundary=\"abc\"\"def\"", "boundary", []string{"abc", "abcdef"}, "junk-after-quote!"},
		{"E-21", "multipart/mixed; boundary=foo\"bar\"", "boundary", []string{"foobar", "foo\"bar\"", "foo"}, "quote-inside!"},
		{"E-21", "multipart/mixed; boundary=foo\"a;b\"", "boundary", []string{"fooa;b", "foo\"a", "foo"}, "quote-inside!"},
		{"E-22", "multipart/mixed; boundary=\" abc \"", "boundary", []string{" abc ", "abc", " abc"}, "space-in-boundary!"},
		{"E-22", "multipart/mixed; boundary=a b", "boundary", []string{"a b", "a"}, "unquoted-space!"},
		{"E-22", "multipart/mixed; boundary=\"ab\r\n cd\"", "boundary", []string{"ab cd", "abcd"}, "folded-value!"},
		{"E-22", "multipart/mixed; boundary=\"ab\r\n\tcd\"", "boundary", []string{"ab cd", "abcd", "ab\tcd"}, "folded-value!"},
		{"E-22", "multipart/mixed; boundary=\r\n abc", "boundary", []string{"abc"}, ""},
		{"E-22", "multipart/mixed; boundary\r\n =abc", "boundary", []string{"abc"}, ""},
		{"E-22", "multipart/mixed; boundary=abc\vdef", "boundary", []string{"abcdef", "abc"}, "control-character!"},
		{"E-22", "multipart/mixed; boundary=\"abc\rdef\"", "boundary", []string{"abcdef", "abc"}, "control-character!"},
		{"E-22", "multipart/mixed; boundary=\"a  b\"", "boundary", []string{"a  b"}, ""},
		{"E-42", "attachment; filename*0=a.e; filename*2=xe", "filename", []string{"a.exe", "a.e", "xe"}, "rfc2231-sections!"},
		{"E-42", "attachment; filename*1=a.e; filename*2=xe", "filename", []string{"a.exe"}, "rfc2231-sections!"},
		{"E-42", "attachment; filename*0=a.e; filename*0=xe", "filename", []string{"a.exe", "a.e", "xe"}, "rfc2231-sections!"},
		{"E-42", "attachment; filename*0*=utf-8''a%2ee; filename*1=xe", "filename", []string{"a.exe"}, ""},
		{"E-42", "attachment; filename*0=a.e; filename*1*=x%65", "filename", []string{"a.exe"}, ""},
		{"E-42", "attachment; filename*01=xe; filename*0=a.e", "filename", []string{"a.exe"}, "rfc2231-section!"},
		{"E-44", "attachment; filename=\"=?UTF-8?B?ZXZpbC5l?= =?UTF-8?Q?xe?=\"", "filename", []string{"evil.exe"}, ""},
		{"E-44", "attachment; filename==?UTF-8?B?ZXZpbC5l?= =?UTF-8?Q?xe?=", "filename", []string{"evil.exe"}, ""},
		{"E-44", "attachment; filename=\"=?UTF-8?B?ZXZpbC5leGU\"", "filename", []string{"evil.exe"}, "encoded-word-damaged!"},
		{"E-44", "attachment; filename=\"=?x-none?Q?evil.exe?=\"", "filename", []string{"evil.exe"}, "encoded-word-damaged!"},
		{"E-44", "attachment; filename=\"=?UTF-8?Q?=E6=97?= =?UTF-8?Q?=A5.exe?=\"", "filename", []string{"日.exe"}, ""},
		{"E-44", "attachment; filename=\"=?UTF-16?B?/v8AYQAuAGUAeABl?=\"", "filename", []string{"a.exe"}, ""},
		{"E-44", "attachment; filename=\"a.=?us-ascii?Q?exe?=\"", "filename", []string{"a.exe"}, ""},
		{"E-49", "attachment; filename=my invoice.exe", "filename", []string{"my invoice.exe", "my"}, "unquoted-space"},
		{"E-49", "attachment; filename=my invoice.exe; x=y", "filename", []string{"my invoice.exe", "my"}, "unquoted-space"},
		{"E-49", "attachment; filename=a;b.exe", "filename", []string{"a", "b.exe"}, "junk-parameter"},
		{"E-49", "attachment; filename =x.exe", "filename", []string{"x.exe"}, ""},
		{"E-49", "attachment; filename= x.exe", "filename", []string{"x.exe"}, ""},
		{"E-49", "attachment; filename=\r\n x.exe", "filename", []string{"x.exe"}, ""},
		{"E-49", "attachment; filename=a.exe\r\n b", "filename", []string{"a.exe", "a.exe b"}, "unquoted-space!"},
		{"E-49", "attachment; filename=\"evil.e\r\n xe\"", "filename", []string{"evil.exe", "evil.e xe"}, "folded-value!"},
		{"E-49", "attachment; filename \"x.exe\"", "filename", []string{"x.exe"}, "junk-parameter!"},
		{"E-50", "attachment; filename=\"C:\\x.exe\"", "filename", []string{"C:x.exe", "C:\\x.exe"}, ""},
		{"E-50", "attachment; filename=\"..\\..\\x.exe\"", "filename", []string{"....x.exe", "..\\..\\x.exe"}, ""},
		{"E-50", "attachment; filename=\"a.\\exe\"", "filename", []string{"a.exe", "a.\\exe"}, "escaped-character!"},
		{"E-51", "attachment; filename=\"na\xEFve.exe\"", "filename", []string{"naïve.exe"}, ""},
		{"E-51", "attachment; filename=\"\x83\x5c.exe\"", "filename", []string{"ソ.exe"}, ""},
		{"E-51", "attachment; filename=\"a\xC0\xAEexe\"", "filename", []string{"a.exe"}, "octets!"},
		{"E-51", "attachment; filename=\"\xEF\xBB\xBFa.exe\"", "filename", []string{"a.exe"}, ""},
		{"E-51", "attachment; filename=\"a.exe\x00.txt\"", "filename", []string{"a.exe", "a.exe.txt"}, "control-character!"},
		{"E-40", "attachment; filename*=file.zip", "filename", []string{"file.zip"}, ""},
		{"E-40", "attachment; filename*=utf-8'file.zip", "filename", []string{"file.zip"}, ""},
		{"E-40", "attachment; filename*=\"utf-8''a%20b.zip\"", "filename", []string{"a b.zip"}, ""},
		{"E-40", "attachment; filename*=x-none''file.zip", "filename", []string{"file.zip"}, ""},
		{"E-40", "attachment; filename*=UTF-16''file.zip", "filename", []string{"file.zip"}, "charset-mismatch!"},
		{"E-40", "attachment; filename*=''=?utf-8?Q?a.exe?=", "filename", []string{"a.exe"}, "encoded-word!"},
		{"E-40", "attachment; filename*=utf-8''a%2.exe%", "filename", []string{"a%2.exe%"}, ""},
		{"E-40", "attachment; filename=\"a.txt\"; filename*=utf-8''b.exe", "filename", []string{"a.txt", "b.exe"}, "fallback-differs!"},
		{"E-55", "attachment; filename=\"\"", "filename", []string{""}, ""},
		{"E-55", "attachment; filename=\"..\"", "filename", []string{".."}, ""},
	} {
		v := Parse(w.raw)
		var got []string
		if w.name == "" {
			got = v.Tokens
		} else {
			for _, p := range v.All(w.name) {
				got = append(got, p.Value)
			}
		}
		for _, x := range w.values {
			if !slices.Contains(got, x) {
				t.Errorf("%s %q: %q is not among %q", w.id, w.raw, x, got)
			}
		}
		var odd []string
		ambiguous := false
		for _, o := range v.Oddities {
			id := o.ID
			if o.Ambiguous {
				id += "!"
				ambiguous = true
			}
			odd = append(odd, id)
		}
		if w.odd == "" && ambiguous || w.odd != "" && !slices.Contains(odd, w.odd) {
			t.Errorf("%s %q: oddities %q, want %q (readings %q)", w.id, w.raw, odd, w.odd, got)
		}
	}
}

// hostile are fields that cost a careless reader quadratic time or memory.
func hostile(n int) map[string]string {
	return map[string]string{
		"E-19 unclosed comments": "a/b; x=" + strings.Repeat("(", n),
		"E-19 in the type":       strings.Repeat("(", n),
		"E-19 half closed":       "a/b; " + strings.Repeat("(;", n/3) + strings.Repeat(")", n/3),
		"comments and tokens":    "a/b; " + strings.Repeat("(a)x", n/4),
		"parameters":             "a/b" + strings.Repeat("; x=1", n/5),
		"different parameters":   "a/b" + many(n/12, "; p%d=%d"),
		"junk parameters":        "a/b" + strings.Repeat("; é", n/4),
		"semicolons":             "a/b" + strings.Repeat(";", n),
		"quotes":                 "a/b; x=" + strings.Repeat("\"", n),
		"unclosed quotes":        "a/b" + strings.Repeat("; x=a\"", n/7),
		"single quotes":          "a/b" + strings.Repeat("; x='a", n/7),
		"backslashes":            "a/b; x=\"" + strings.Repeat("\\", n),
		"words":                  "a/b; name=\"" + strings.Repeat("=?utf-8?Q?a?= ", n/14) + "\"",
		"open words":             "a/b; name=\"" + strings.Repeat("=?utf-8?Q?a", n/11) + "\"",
		"word starts":            "a/b; name=\"" + strings.Repeat("=?", n/2) + "\"",
		"sections":               "a/b" + many(n/14, "; name*%d=%d"),
		"sections of many":       "a/b" + many(n/14, "; n%d*0=%d"),
		"same section":           "a/b" + strings.Repeat("; name*0=x", n/10),
		"long sections":          "a/b" + strings.Repeat("; name*0="+strings.Repeat("x", n/50), 49),
		"folds":                  "a/b; name=\"" + strings.Repeat("\r\n a", n/4) + "\"",
		"spaces":                 "a/b; name=" + strings.Repeat("a ", n/2),
		"equals":                 "a/b; name=" + strings.Repeat("a=b ", n/4),
		"octets":                 "a/b; name=\"" + strings.Repeat("\x83", n) + "\"",
		"spaces in the name":     "a/b; " + strings.Repeat("a ", n/2) + "=x",
		"white space":            strings.Repeat(" ", n) + "a/b;" + strings.Repeat(" \r\n", n/3),
		"commas":                 strings.Repeat("a/b,", n/4),
		"percent":                "a/b; name*=utf-8''" + strings.Repeat("%", n),
	}
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i, i)
	}
	return b.String()
}

// TestHostile: the readings of one field stay bounded, and a megabyte of
// anything is read in a moment (E-19, E-55, E-75).
func TestHostile(t *testing.T) {
	const n = 1 << 20
	for name, raw := range hostile(n) {
		start := time.Now()
		v := Parse(raw)
		took := time.Since(start)
		total := 0
		for _, p := range v.Params {
			total += len(p.Name) + len(p.Value)
			if p.Name != "boundary" && !utf8.ValidString(p.Value) {
				t.Errorf("%s: %.40q is no UTF-8", name, p.Value)
			}
		}
		if total > bound(n) || len(v.Params) > maxReadings || len(v.Tokens) > 16 {
			t.Errorf("%s: %d readings, %d tokens, %d octets", name, len(v.Params), len(v.Tokens), total)
		}
		t.Logf("%-24s %8.2f ms %6d readings %8d octets", name, float64(took.Microseconds())/1000, len(v.Params), total)
	}
}

// bound is how much all readings of a field of n octets may have.
func bound(n int) int { return 24*n + 4096 }
