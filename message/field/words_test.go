package field

import (
	"io"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                      {""},
		"plain":                                 {"plain"},
		"a =? b":                                {"a =? b"},
		"na\xEFve":                              {"naïve"},
		"=?utf-8?Q?a_b=3F?=":                    {"a b?", "=?utf-8?Q?a_b=3F?="},
		"=?UTF-8*en?b?YWJj?=":                   {"abc", "=?UTF-8*en?b?YWJj?="},
		"=?utf-8?Q?a?= =?utf-8?Q?b?=":           {"ab", "=?utf-8?Q?a?= =?utf-8?Q?b?="},
		"=?utf-8?Q?a?=\r\n =?utf-8?B?Yg==?=":    {"ab", "=?utf-8?Q?a?=\r\n =?utf-8?B?Yg==?="},
		"x =?utf-8?Q?a?= y =?utf-8?Q?b?= z":     {"x a y b z", "x =?utf-8?Q?a?= y =?utf-8?Q?b?= z"},
		"=?utf-8?Q?=E2=82?= =?utf-8?Q?=AC?=":    {"€", "\uFFFD\uFFFD\uFFFD", "=?utf-8?Q?=E2=82?= =?utf-8?Q?=AC?="},
		"=?utf-8?B?4oI=?= =?utf-8?Q?=AC?=":      {"€", "\uFFFD\uFFFD\uFFFD", "=?utf-8?B?4oI=?= =?utf-8?Q?=AC?="},
		"=?iso-8859-1?Q?=E4?= =?koi8-r?Q?=C6?=": {"äф", "=?iso-8859-1?Q?=E4?= =?koi8-r?Q?=C6?="},
		"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=":    {"日本", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?="},
		"=?utf-8?B?YWJj":                        {"abc", "=?utf-8?B?YWJj"},
		"=?utf-8?B?YWJj?":                       {"abc", "=?utf-8?B?YWJj?"},
		"=?utf-8?B?YW Jj?=":                     {"abc", "=?utf-8?B?YW Jj?="},
		"=?utf-8?B?YQ?=":                        {"a", "=?utf-8?B?YQ?="},
		"=?utf-8?Q?a b?=":                       {"a b", "=?utf-8?Q?a b?="},
		"=?utf-8?Q?a=zz?=":                      {"a=zz", "=?utf-8?Q?a=zz?="},
		"=?utf-8?X?abc?=":                       {"=?utf-8?X?abc?="},
		"=??Q?abc?=":                            {"=??Q?abc?="},
		"=?x-none?Q?a=E4?=":                     {"aä", "=?x-none?Q?a=E4?="},
		"=?utf-7?Q?+AGE-b?=":                    {"ab", "=?utf-7?Q?+AGE-b?="},
	} {
		if got := Words(in); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestWordsAgree: on sound input the first reading is that of the standard
// library.
func TestWordsAgree(t *testing.T) {
	std := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		e, err := ianaindex.MIME.Encoding(charset)
		if err != nil {
			return nil, err
		}
		return e.NewDecoder().Reader(r), nil
	}}
	for _, text := range samples() {
		for _, enc := range []mime.WordEncoder{mime.QEncoding, mime.BEncoding} {
			in := "Re: " + enc.Encode("utf-8", text) + " (x)"
			want, err := std.DecodeHeader(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := Words(in)[0]; got != want {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		}
	}
	for charset, e := range map[string]interface {
		String(string) (string, error)
	}{
		"iso-8859-5": charmap.ISO8859_5.NewEncoder(), "koi8-r": charmap.KOI8R.NewEncoder(), "windows-1251": charmap.Windows1251.NewEncoder(),
	} {
		s, err := e.String("Отчёт за май")
		if err != nil {
			t.Fatal(err)
		}
		in := mime.BEncoding.Encode(charset, s)
		want, err := std.DecodeHeader(in)
		if got := Words(in)[0]; err != nil || got != want {
			t.Errorf("%q: %q, want %q, %v", in, got, want, err)
		}
	}
}

func samples() []string {
	return []string{"Grüße aus München", "Informe año 2026", "Отчёт за май", "日本語の件名です", "请查收附件", "보고서", "Αναφορά", "تقرير", "รายงาน",
		strings.Repeat("Ein langer Betreff mit Umlauten äöü ", 8)}
}

func TestDecode(t *testing.T) {
	type encoder interface{ Bytes([]byte) ([]byte, error) }
	for _, c := range []struct {
		names string // all of them name it
		e     encoder
		text  string
	}{
		{"iso-8859-1 ISO_8859-1 latin1 8859-1 iso8859-1 ISO-8859-1*de cp1252 windows1252 \"iso-8859-1\" 'latin1' CP28591", charmap.ISO8859_1.NewEncoder(), "Grüße"},
		{"windows-1252 cp-1252 x-cp1252 win-1252", charmap.Windows1252.NewEncoder(), "„Grüße“ €"},
		{"iso-8859-15 iso8859-15 iso885915 ISO_8859-15", charmap.ISO8859_15.NewEncoder(), "Grüße €"},
		{"koi8-r koi8r KOI8_R cskoi8r cp20866", charmap.KOI8R.NewEncoder(), "Отчёт"},
		{"koi8-u koi8-ru", charmap.KOI8U.NewEncoder(), "Звіт"},
		{"windows-1251 cp1251 win1251", charmap.Windows1251.NewEncoder(), "Отчёт"},
		{"ibm866 cp866 866", charmap.CodePage866.NewEncoder(), "Отчет"},
		{"cp850 ibm850 cp-850", charmap.CodePage850.NewEncoder(), "Grüße"},
		{"macintosh x-mac-roman mac", charmap.Macintosh.NewEncoder(), "Grüße"},
		{"shift_jis sjis x-sjis cp932 ms932 windows-31j", japanese.ShiftJIS.NewEncoder(), "日本語 ソ"},
		{"euc-jp eucjp cp51932", japanese.EUCJP.NewEncoder(), "日本語"},
		{"iso-2022-jp csISO2022JP cp50220", japanese.ISO2022JP.NewEncoder(), "日本語"},
		{"euc-kr ks_c_5601-1987 cp949 uhc", korean.EUCKR.NewEncoder(), "보고서"},
		{"gb2312 gbk cp936 x-gbk euc-cn", simplifiedchinese.GBK.NewEncoder(), "报告"},
		{"gb18030 cp54936", simplifiedchinese.GB18030.NewEncoder(), "报告 €"},
		{"hz-gb-2312 hz", simplifiedchinese.HZGB2312.NewEncoder(), "报告"},
		{"big5 cn-big5 cp950 big5-hkscs", traditionalchinese.Big5.NewEncoder(), "報告"},
		{"tis-620 windows-874 cp874 iso-8859-11", charmap.Windows874.NewEncoder(), "รายงาน"},
		{"utf-16 utf16 ucs-2 unicode", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder(), "Grüße 日"},
		{"utf-16 utf16", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder(), "report.exe"},
		{"utf-16 utf-16be", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder(), "report.exe"},
		{"utf-16le cp1200", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder(), "Grüße"},
		{"ibm037 cp037 ebcdic-cp-us", charmap.CodePage037.NewEncoder(), "REPORT.EXE"},
	} {
		data, err := c.e.Bytes([]byte(c.text))
		if err != nil {
			t.Fatal(c.names, err)
		}
		for name := range strings.FieldsSeq(c.names) {
			if got, bad, known := Decode(name, data); got != c.text || bad != 0 || !known {
				t.Errorf("%s: %q, %d bad, known %v; want %q", name, got, bad, known, c.text)
			}
		}
	}
	for _, c := range []struct {
		charset, data, text string
		bad                 int
		known               bool
	}{
		{"utf-8", "a\xFFb", "a\uFFFDb", 1, true},
		{"utf-8", "\uFFFD", "\uFFFD", 0, true},
		{"us-ascii", "Gr\xFC\xDFe", "Grüße", 2, true},
		{"us-ascii", "Grüße", "Grüße", 4, true},
		{"", "abc", "abc", 0, true},
		{"utf-7", "Hi +AOQ-!+ZeVnLA", "Hi ä!日本", 0, true},
		{"unicode-1-1-utf-7", "1 +- 2 +ADw-script+AD4-", "1 + 2 <script>", 0, true},
		{"utf-7", "+", "+", 0, true},
		{"utf-7", "\xE4", "\uFFFD", 1, true},
		{"utf-32", "\x00\x00\xFE\xFF\x00\x00\x00a", "a", 0, true},
		{"utf-32", "\xFF\xFE\x00\x00a\x00\x00\x00", "a", 0, true},
		{"utf-32be", "\x00\x00\x00a", "a", 0, true},
		{"iso-2022-kr", "\x1B$)C\x0E:8\x0F.exe", "보.exe", 0, true},
		{"iso-2022-cn", "\x1B$)A\x0E1(8f\x0F.exe", "报告.exe", 0, true},
		{"ibm500", "\xC1\x4A\x5A\x4F\xBB\x4B", "A[]!|.", 0, true},
		{"iso-2022-jp", "a\x1B$B\x7F\x7F\x1B(B", "", 1, true},
		{"x-none", "abc", "abc", 0, false},
		{"x-none", "\xE4", "\uFFFD", 1, false},
		{"unknown-8bit", "abc", "abc", 0, false},
		{"replacement", "abc", "abc", 0, false},
		{"iso-2022-xx", "abc", "abc", 0, false},
		{strings.Repeat("x", 10000), "abc", "abc", 0, false},
	} {
		got, bad, known := Decode(c.charset, []byte(c.data))
		if c.text != "" && got != c.text || (bad == 0) != (c.bad == 0) || known != c.known {
			t.Errorf("%.20s %q: %q, %d bad, known %v; want %q, %d, %v", c.charset, c.data, got, bad, known, c.text, c.bad, c.known)
		}
	}
}

// TestMeanings: each oddity that the sources name is explained.
func TestMeanings(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`(?:odd\(|variant\(name, )"([a-z0-9-]+)"`)
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range id.FindAllStringSubmatch(string(src), -1) {
			if n++; Meaning(m[1]) == "" {
				t.Errorf("%s: nothing explains %q", f, m[1])
			}
		}
	}
	if n < 25 || Meaning("no-such") != "" {
		t.Errorf("%d oddities", n)
	}
}

// FuzzParse: no panic, bounded readings, and whatever the value is, a sound
// field around it gives it back alone.
func FuzzParse(f *testing.F) {
	for _, raw := range hostile(200) {
		f.Add(raw)
	}
	f.Add("a; name*=0''\xff; boundary*=0''\xff")
	f.Add("multipart/mixed; boundary((c))=\"A\"; boundary*0*=utf-16''%00a; boundary*1=b")
	f.Add("attachment; filename=\"=?UTF-8?B?ZXZpbC5l?= =?UTF-8?Q?xe?=\"; filename*=utf-8'en-US'payload.exe")
	f.Add("attachment; filename=my \"inv\r\n oice\".exe\x00; name='a;b'")
	f.Fuzz(func(t *testing.T, s string) {
		v := Parse(s)
		total := 0
		seen := map[Param]bool{}
		for _, p := range v.Params {
			total += len(p.Value)
			if p.Name != "boundary" && !utf8.ValidString(p.Value) {
				t.Errorf("%q is no UTF-8", p.Value)
			}
			if p.Name == "" || strings.ContainsAny(p.Name, "*= ;\r\n") {
				t.Errorf("a parameter is called %q", p.Name)
			}
			key := Param{Name: p.Name, Value: p.Value}
			if seen[key] {
				t.Errorf("%v comes twice", p)
			}
			seen[key] = true
		}
		if total > bound(len(s)) || len(v.Params) > maxReadings {
			t.Errorf("%d octets in %d readings from %d", total, len(v.Params), len(s))
		}
		sound(t, s)
	})
}

// sound writes s into fields as a good writer does and wants it back, alone.
func sound(t *testing.T, s string) {
	plainText := utf8.ValidString(s) && !strings.Contains(s, "=?") && strings.IndexAny(s, "\r\n\x00\v\f") < 0 && !strings.HasPrefix(s, "\uFEFF")
	var fields []string
	if plainText {
		q := strings.NewReplacer("\\", "\\\\", "\"", "\\\"").Replace(s)
		fields = append(fields, "attachment; filename=\""+q+"\"; size=1")
	}
	if utf8.ValidString(s) && !strings.Contains(s, "=?") && !strings.HasPrefix(s, "\uFEFF") {
		var b, c strings.Builder
		for i := range len(s) {
			b.WriteString("%" + strings.ToUpper(hex(s[i])))
		}
		all := b.String()
		fields = append(fields, "attachment; filename*=utf-8''"+all, "attachment; size=1;\r\n filename*=UTF-8'de'"+all+"; x=y")
		for i := 0; i*30 < len(all) || i == 0; i++ {
			mark := ""
			if i == 0 {
				mark = "utf-8''"
			}
			c.WriteString(";\r\n filename*" + itoa(i) + "*=" + mark + all[i*30:min(len(all), i*30+30)])
			if i > 300 {
				return
			}
		}
		fields = append(fields, "attachment"+c.String())
	}
	for _, raw := range fields {
		v := Parse(raw)
		got := v.All("filename")
		if len(got) != 1 || got[0].Value != s || len(v.Oddities) > 0 {
			t.Errorf("%q: %q", raw, show(v))
		}
	}
}

func hex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// FuzzWords: no panic, at most three readings, all UTF-8; what the standard
// library writes comes back.
func FuzzWords(f *testing.F) {
	for _, s := range samples() {
		f.Add(s)
		f.Add(mime.BEncoding.Encode("utf-8", s) + "\r\n =?koi8-r?q?" + s)
	}
	f.Add("=?utf-8?B?=?utf-8?Q?a?==?=?=")
	f.Fuzz(func(t *testing.T, s string) {
		got := Words(s)
		if len(got) == 0 || len(got) > 3 {
			t.Fatalf("%d readings of %q", len(got), s)
		}
		for _, r := range got {
			if !utf8.ValidString(r) || len(r) > 8*len(s)+64 {
				t.Errorf("%q has a reading of %d octets: %.80q", s, len(r), r)
			}
		}
		if !utf8.ValidString(s) || strings.Contains(s, "=?") {
			return
		}
		for _, enc := range []mime.WordEncoder{mime.QEncoding, mime.BEncoding} {
			if in := enc.Encode("utf-8", s); Words(in)[0] != s {
				t.Errorf("%q became %q", in, Words(in)[0])
			}
		}
	})
}

// FuzzDecodeCharset: no panic, always UTF-8, bounded; the honest answers hold.
func FuzzDecodeCharset(f *testing.F) {
	for _, c := range []string{"utf-8", "utf-7", "utf-16", "utf-32", "iso-2022-jp", "iso-2022-kr", "iso-2022-cn", "hz", "gb18030", "big5", "ibm500", "euc-jp", "x-none", "cp125", "iso-8859-99"} {
		f.Add(c, []byte("a\x1B$B\x46\x7C\x0E\xFF\xFE+AOQ-~{\x80"))
	}
	f.Fuzz(func(t *testing.T, charset string, data []byte) {
		text, bad, known := Decode(charset, data)
		if !utf8.ValidString(text) || len(text) > 6*len(data)+16 || bad < 0 || bad > len(data)+1 {
			t.Errorf("%q: %d octets from %d, %d bad", charset, len(text), len(data), bad)
		}
		if known != Known(charset) {
			t.Errorf("%q: known %v", charset, known)
		}
		if !known && utf8.Valid(data) && text != string(data) {
			t.Errorf("%q: %q became %q", charset, data, text)
		}
		if l := Label(charset); Label(l) != l && len(l) < maxLabel {
			t.Errorf("%q is %q is %q", charset, l, Label(l))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, raw := range map[string]string{
		"type":   " text/plain; charset=\"utf-8\"\r\n",
		"file":   " attachment;\r\n\tfilename=\"annual report 2026.pdf\"; size=123456\r\n",
		"word":   " attachment; filename=\"=?UTF-8?B?R3LDvMOfZSBhdXMgTcO8bmNoZW4ucGRm?=\"",
		"pieces": " attachment; filename*0*=utf-8''Gr%C3%BC%C3%9Fe%20aus;\r\n filename*1*=%20M%C3%BCnchen.pdf",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse(raw)
			}
		})
	}
}
