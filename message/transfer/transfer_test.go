package transfer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// wrap writes base64 with lines of n characters.
func wrap(data []byte, n int, eol string) []byte {
	e := base64.StdEncoding.EncodeToString(data)
	var b bytes.Buffer
	for len(e) > n {
		b.WriteString(e[:n])
		b.WriteString(eol)
		e = e[n:]
	}
	b.WriteString(e)
	b.WriteString(eol)
	return b.Bytes()
}

func random(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestBase64Sound: sound text of every length, line length and line end has
// one reading, that of the standard library, and no fault.
func TestBase64Sound(t *testing.T) {
	for n := range 400 {
		data := random(n, 1)
		for _, width := range []int{76, 64, 60, 72, 4, 75, 7, 1000} {
			for _, eol := range []string{"\r\n", "\n", " \r\n", "\r\n\r\n", "\r"} {
				text := wrap(data, width, eol)
				r, f := Base64(text, 1<<20)
				if len(r) != 1 || f != nil || !bytes.Equal(r[0].Data, data) || r[0].How != "base64" {
					t.Fatalf("%d octets, width %d, %q: %d readings, %v", n, width, eol, len(r), f)
				}
			}
		}
	}
}

// readings shows readings and faults in one line.
func readings(r []Reading, faults []Fault) string {
	var b strings.Builder
	for i := range r {
		fmt.Fprintf(&b, "%q ", r[i].Data)
	}
	for _, f := range faults {
		fmt.Fprintf(&b, "[%s@%d", f.ID, f.At)
		if f.Ambiguous {
			b.WriteByte('!')
		}
		b.WriteByte(']')
	}
	return b.String()
}

func has(r []Reading, data string) bool {
	for i := range r {
		if string(r[i].Data) == data {
			return true
		}
	}
	return false
}

// TestBase64Damaged: every reading of the classes of E-61 is there.
func TestBase64Damaged(t *testing.T) {
	for _, c := range []struct {
		text  string
		wants []string
		fault string
	}{
		{"", []string{""}, ""},
		{"\r\n \t\r\n", []string{""}, ""},
		{"aGVsbG8=", []string{"hello"}, ""},
		{"aGVsbG8=\r\n\r\n", []string{"hello"}, ""},
		{"aGVs\r\nbG8=", []string{"hello"}, ""},
		{"aGVsbG\r\n8=", []string{"hello"}, ""},
		{"aGVsbG8", []string{"hello", "hel"}, "base64-short@7"},
		{"aGVsbA", []string{"hell", "hel"}, "base64-short@6"},
		{"aGVsbA=", []string{"hell"}, "base64-padding@6"},
		{"aGVsb", []string{"hel"}, "base64-short@5"},
		{"aGVsbG8==", []string{"hello"}, "base64-padding@7"},
		{"aGVs====", []string{"hel"}, "base64-padding@4"},
		// Padding in the middle: go on, stop, as if it was not there.
		{"aGVs=bG8=", []string{"hello", "hel"}, "base64-padding@4!"},
		{"aG=VsbG8=", []string{"hello", "h"}, "base64-padding@2!"},
		{"aGVsbG8=d29ybGQ=", []string{"helloworld", "hello"}, "base64-padding@7!"},
		{"aGVsbA==\r\nd29ybGQ=\r\n", []string{"hellworld", "hell"}, "base64-padding@6!"},
		{"=aGVsbG8=", []string{"hello", ""}, "base64-padding@0!"},
		{"aGVs\r\n=\r\nbG8=", []string{"hello", "hel"}, "base64-padding@6!"},
		{"aGVsbA==bG8=", []string{"helllo", "hell"}, "base64-padding@6!"},
		{"YQ==Yg==Yw==", []string{"abc", "a"}, "base64-padding@2!"},
		{"YWI=YWI=", []string{"abab", "ab"}, "base64-padding@3!"},
		// Junk.
		{"aGVs!bG8=", []string{"hello", "hel"}, "base64-junk@4!"},
		{"a!G!V!s!b!G!8=", []string{"hello", ""}, "base64-junk@1!"},
		{"aGVs\x00bG8=", []string{"hello", "hel"}, "base64-junk@4!"},
		{"aGVsbG8=\r\n-- \r\nfooter", []string{"hello"}, "base64-junk@10!"},
		{"!aGVsbG8=", []string{"hello", ""}, "base64-junk@0!"},
		// The url-safe alphabet.
		{"_-8=", []string{"\xff\xef"}, "base64-url-safe@0!"},
		// Lines that begin a quantum of their own.
		{"aGVsbG8!\r\nd29ybGQ=", []string{"helloworld"}, "base64-junk@7!"},
		{"aGVsbA!\r\nd29ybGQ=", []string{"hellworld"}, "base64-junk@6!"},
	} {
		r, f := Base64([]byte(c.text), 1<<20)
		for _, w := range c.wants {
			if !has(r, w) {
				t.Errorf("%q: no reading %q in %s", c.text, w, readings(r, f))
			}
		}
		if got := readings(nil, f); c.fault == "" && got != "" || !strings.Contains(got, c.fault) {
			t.Errorf("%q: faults %s, want %s", c.text, got, c.fault)
		}
		if c.fault == "" && len(r) != 1 {
			t.Errorf("%q: %s", c.text, readings(r, f))
		}
		if c.fault != "" && !strings.HasSuffix(c.fault, "!") && strings.Contains(readings(nil, f), "!") {
			t.Errorf("%q: ambiguous %s", c.text, readings(r, f))
		}
	}
}

// TestBounds: readings together stay within max, and what is left out is named.
func TestBounds(t *testing.T) {
	data := random(100000, 2)
	text := wrap(data, 76, "\r\n")
	for _, max := range []int{0, 1, 2, 3, 50, 99999, 100000, 100001} {
		for name, decode := range map[string]func([]byte, int) ([]Reading, []Fault){
			"sound":   func(b []byte, m int) ([]Reading, []Fault) { return Base64(b, m) },
			"damaged": func(b []byte, m int) ([]Reading, []Fault) { return Base64(append([]byte("!"), b...), m) },
			"padding": func(b []byte, m int) ([]Reading, []Fault) { return Base64(append([]byte("YQ=="), b...), m) },
			"qp":      func(b []byte, m int) ([]Reading, []Fault) { return QuotedPrintable(b, m) },
			"qp, damaged": func(b []byte, m int) ([]Reading, []Fault) {
				return QuotedPrintable(append([]byte("=4 =!"), b...), m)
			},
		} {
			r, f := decode(text, max)
			total := 0
			for _, x := range r {
				total += len(x.Data)
			}
			if total > max {
				t.Errorf("%s, max %d: %d octets", name, max, total)
			}
			whole := len(r) > 0 && len(r[0].Data) >= len(data)
			if !whole && !strings.Contains(readings(nil, f), TooLarge) {
				t.Errorf("%s, max %d: %d octets and %v", name, max, total, f)
			}
			if name == "sound" && whole && f != nil {
				t.Errorf("max %d: %v", max, f)
			}
			if name == "sound" && len(r) > 0 && !bytes.HasPrefix(data, r[0].Data) {
				t.Errorf("max %d: wrong octets", max)
			}
		}
	}
}

// TestQuotedPrintableSound: what the standard library writes and reads.
func TestQuotedPrintableSound(t *testing.T) {
	for n := range 600 {
		for _, binary := range []bool{true, false} {
			var b bytes.Buffer
			w := quotedprintable.NewWriter(&b)
			w.Binary = binary
			data := random(n, 3)
			if !binary {
				for i := range data {
					data[i] = "aä =\tÜ\r\n.b"[data[i]%12]
				}
				data = bytes.ReplaceAll(data, []byte("\r"), nil)
				data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
			}
			if _, err := w.Write(data); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			r, f := QuotedPrintable(b.Bytes(), 1<<20)
			if len(r) != 1 || f != nil || !bytes.Equal(r[0].Data, data) {
				t.Fatalf("%q from %q: %s", data, b.Bytes(), readings(r, f))
			}
		}
	}
}

// TestQuotedPrintableDamaged: every reading of the classes of E-62.
func TestQuotedPrintableDamaged(t *testing.T) {
	for _, c := range []struct {
		text  string
		wants []string
		fault string
	}{
		{"", []string{""}, ""},
		{"a=\r\nb", []string{"ab"}, ""},
		{"a=\nb", []string{"ab"}, ""},
		{"a=", []string{"a"}, ""},
		{"a=\r\n", []string{"a"}, ""},
		{"=0A=0D", []string{"\n\r"}, ""},
		{"a\r\n=\r\n\r\nb", []string{"a\r\n\r\nb"}, ""},
		{strings.Repeat("x", 2000) + "=41", []string{strings.Repeat("x", 2000) + "A"}, ""},
		{"=e4", []string{"\xe4", "=e4"}, "qp-lower-case@0"},
		{"=eA=Ea", []string{"\xea\xea", "=eA=Ea"}, "qp-lower-case@0"},
		{"a  \r\nb", []string{"a\r\nb", "a  \r\nb"}, "qp-trailing-space@2"},
		{"a \t", []string{"a", "a \t"}, "qp-trailing-space@2"},
		{"a=XXb", []string{"a=XXb", "aXXb", "ab"}, "qp-invalid@1!"},
		{"a=4Xb", []string{"a=4Xb", "a4Xb", "ab", "a\x04Xb"}, "qp-invalid@1!"},
		{"a=X4b", []string{"a=X4b", "aX4b", "ab"}, "qp-invalid@1!"},
		{"a==b", []string{"a==b", "ab"}, "qp-invalid@1!"},
		{"a==41b", []string{"a=Ab", "aAb", "a1b"}, "qp-invalid@1!"},
		{"a=_=20", []string{"a=_ "}, "qp-invalid@1!"},
		{"a=4", []string{"a=4", "a4", "a", "a\x04"}, "qp-invalid@1!"},
		{"a=  \r\nb", []string{"ab", "a=  \r\nb"}, "qp-soft-break@1!"},
		{"a=\t\nb", []string{"ab", "a=\t\nb"}, "qp-soft-break@1!"},
		{"a=\rb", []string{"ab", "a=\rb"}, "qp-invalid@1!"},
		{"a=\r\r\nb", []string{"ab"}, "qp-soft-break@1!"},
	} {
		r, f := QuotedPrintable([]byte(c.text), 1<<20)
		for _, w := range c.wants {
			if !has(r, w) {
				t.Errorf("%q: no reading %q in %s", c.text, w, readings(r, f))
			}
		}
		if got := readings(nil, f); c.fault == "" && got != "" || !strings.Contains(got, c.fault) {
			t.Errorf("%q: faults %s, want %s", c.text, got, c.fault)
		}
		if c.fault == "" && len(r) != 1 {
			t.Errorf("%q: %s", c.text, readings(r, f))
		}
	}
}

// TestDecodeNames: the names of encodings and their misspellings (E-03, E-66).
func TestDecodeNames(t *testing.T) {
	b64 := "aGVsbG8=\r\n"
	for _, c := range []struct {
		names, text, want string
		known, odd        bool
	}{
		{"|7bit|8BIT| binary |7bit;", b64, b64, true, false},
		{"base64|BASE64| Base64\t", b64, "hello", true, false},
		{"base-64|base64;|\"base64\"|base_64|base 64|base64 (really)|(x) base64|x-base64|base64\x00|base64; x=y", b64, "hello", true, true},
		{"quoted-printable|Quoted-Printable", "=68ello", "hello", true, false},
		{"quoted printable|quotedprintable|quoted_printable|quoted-printable;|q-p", "=68ello", "hello", true, true},
		{"x-uuencode|uuencode|x-uue|uue", "begin 644 x\n%:&5L;&\\\n`\nend\n", "hello", true, false},
		{"yenc|x-yencode|x-yenc", "=ybegin line=128 size=5 name=x\r\n\x92\x8f\x96\x96\x99\r\n=yend size=5\r\n", "hello", true, false},
		{"gzip64|x-gzip64", string(wrap(gzipped("hello"), 76, "\r\n")), "hello", true, false},
		{"binhex|x-binhex|mac-binhex40|x-binhex40", binhexed("x.txt", []byte("hello"), nil), "hello", true, false},
		{"rot13|base65|x-none|base64x|64|quoted", b64, b64, false, false},
	} {
		for name := range strings.SplitSeq(c.names, "|") {
			r, f, known := Decode(name, []byte(c.text), 1<<20)
			if len(r) == 0 || string(r[0].Data) != c.want || known != c.known {
				t.Errorf("%q: %s, known %v", name, readings(r, f), known)
			}
			if odd := strings.Contains(readings(nil, f), "encoding-name@0!"); odd != c.odd || odd != has(r[1:], c.text) {
				t.Errorf("%q: %s", name, readings(r, f))
			}
		}
	}
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil || w.Close() != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestDecodeFrameless: an encoding whose frame is missing or broken gives the
// text, too, and is named.
func TestDecodeFrameless(t *testing.T) {
	for _, c := range []struct{ name, text, want, fault string }{
		{"x-uuencode", "%:&5L;&\\\n`\nend\n", "hello", "frame-missing@0!"},
		{"x-uuencode", "Nothing like it.", "Nothing like it.", "uuencode-missing@0!"},
		{"x-yenc", "\x92\x8f\x96\x96\x99", "hello", "frame-missing@0!"},
		{"binhex", "Nothing like it.", "Nothing like it.", "binhex-missing@0!"},
		{"x-gzip64", "aGVsbG8=", "hello", "gzip-damaged@0!"},
	} {
		r, f, known := Decode(c.name, []byte(c.text), 1<<20)
		if !known || !has(r, c.want) || !strings.Contains(readings(nil, f), c.fault) {
			t.Errorf("%s %q: %s", c.name, c.text, readings(r, f))
		}
	}
}

// TestGzipBomb: what is unpacked stays within max.
func TestGzipBomb(t *testing.T) {
	text := wrap(gzipped(strings.Repeat("\x00", 10<<20)), 76, "\r\n")
	r, f := gzip64(text, 1<<16)
	if len(r) != 1 || len(r[0].Data) != 1<<16 || !strings.Contains(readings(nil, f), TooLarge) {
		t.Errorf("%d readings, %v", len(r), f)
	}
}

func BenchmarkBase64(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 16, 1 << 20, 16 << 20} {
		text := wrap(random(size, 4), 76, "\r\n")
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Base64(text, 1<<30)
			}
		})
	}
	text := wrap(random(1<<20, 4), 76, "\r\n")
	b.Run("std", func(b *testing.B) {
		dst := make([]byte, len(text))
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := base64.StdEncoding.Decode(dst, text); err != nil {
				b.Fatal(err)
			}
		}
	})
	text[len(text)/2] = '!'
	b.Run("damaged", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			Base64(text, 1<<30)
		}
	})
}

func BenchmarkQuotedPrintable(b *testing.B) {
	var html, binary bytes.Buffer
	w := quotedprintable.NewWriter(&html)
	for range 10000 {
		fmt.Fprintf(w, "<p class=\"x\">Sehr geehrte Damen und Herren, schöne Grüße aus München.</p>\r\n")
	}
	w.Close()
	w = quotedprintable.NewWriter(&binary)
	w.Write(random(300000, 5))
	w.Close()
	plain := []byte(strings.Repeat("Nothing in this line needs any encoding at all, as is usual in English.\r\n", 14000))
	for name, text := range map[string][]byte{"html": html.Bytes(), "binary": binary.Bytes(), "plain": plain} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				QuotedPrintable(text, 1<<30)
			}
		})
	}
}
