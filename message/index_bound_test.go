package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// bombs are messages that cost a naive reader time or memory (attacks E-70 to
// E-77), each with the defect that tells of it.
func bombs() []struct {
	name, defect string
	make         func() []byte
} {
	type bomb = struct {
		name, defect string
		make         func() []byte
	}
	top := "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="
	nest := func(levels int, same bool) []byte {
		var b bytes.Buffer
		b.WriteString("MIME-Version: 1.0\r\n")
		for i := range levels {
			if same {
				i = 0
			}
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		b.WriteString("Content-Type: text/plain\r\n\r\nx\r\n")
		return b.Bytes()
	}
	return []bomb{
		{"parts", "too-many-parts", func() []byte { return []byte(top + "b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 200_000) + "--b--\r\n") }},
		{"parts 5M", "too-many-delimiters", func() []byte { return []byte(top + "b\r\n\r\n" + strings.Repeat("--b\r\n", 5_000_000)) }},
		{"nesting", "too-deep", func() []byte { return nest(3000, false) }},
		{"nesting 100,000", "too-deep", func() []byte { return nest(100_000, false) }},
		{"nesting, one boundary", "nested-same-boundary", func() []byte { return nest(3000, true) }},
		{"messages", "too-deep", func() []byte {
			return []byte("MIME-Version: 1.0\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10_000))
		}},
		{"fields", "too-many-fields", func() []byte { return []byte(strings.Repeat("X-A: b\r\n", 120_000) + "\r\nx") }},
		{"types", "too-many-fields", func() []byte {
			return []byte(strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n", 120_000) + "\r\nx")
		}},
		{"fields of parts", "too-many-parts", func() []byte {
			return []byte(top + "b\r\n\r\n" + strings.Repeat("--b\r\n"+strings.Repeat("X: y\r\n", 30)+"\r\n", 5000))
		}},
		{"dashes", "too-many-delimiters", func() []byte { return append([]byte(top+"b\r\n"), bytes.Repeat([]byte("\r\n--"), 25<<18)...) }},
		{"dashes, nested", "too-deep", func() []byte { return append(nest(100, false), bytes.Repeat([]byte("\r\n--"), 1<<19)...) }},
		{"one run of dashes", "boundary-not-found", func() []byte { return append([]byte(top+"b\r\n\r\n"), bytes.Repeat([]byte("-"), 25<<20)...) }},
		{"long boundary", "boundary-too-long", func() []byte {
			b := strings.Repeat("b", 100_000)
			return []byte(top + b + "\r\n\r\n--" + b + "\r\n\r\nx\r\n--" + b + "--\r\n")
		}},
		{"long boundary, nearly", "", func() []byte {
			b := strings.Repeat("b", 100_000)
			return []byte(top + b + "\r\n\r\n" + strings.Repeat("--"+b[1:]+"\r\n", 200))
		}},
		{"boundaries", "too-many-", func() []byte {
			var b strings.Builder
			for i := range 10_000 {
				fmt.Fprintf(&b, "; boundary=x%d", i)
			}
			b.WriteString("\r\n\r\n")
			for i := range 10_000 {
				fmt.Fprintf(&b, "--x%d\r\n\r\n", i)
			}
			return []byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed" + b.String())
		}},
		{"comment", "", func() []byte {
			return []byte("MIME-Version: 1.0\r\nContent-Type: text/plain; " + strings.Repeat("(", 40_000) + "\r\n\r\nx")
		}},
		{"views", "too-many-views", func() []byte {
			var b strings.Builder
			b.WriteString("MIME-Version: 1.0\r\n")
			for i := range 20 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=a%d; boundary=b%d\r\n\r\n--a%d\r\n\r\n--b%d\r\n", i, i, i, i)
				for range 4 {
					fmt.Fprintf(&b, "x\r\n--a%d\r\n\r\ny\r\n--b%d\r\n\r\n", i, i)
				}
				fmt.Fprintf(&b, "--a%d\r\n", i)
			}
			return []byte(b.String())
		}},
		{"no header end", "too-many-fields", func() []byte { return bytes.Repeat([]byte("X: y\r\n"), 4<<20) }},
		{"one line", "", func() []byte { return bytes.Repeat([]byte("x"), 25<<20) }},
		{"bare CRs", "", func() []byte { return bytes.Repeat([]byte("\r"), 8<<20) }},
		{"encoded parts", "too-many-parts", func() []byte {
			return []byte(top + "b\r\n\r\n" + strings.Repeat("--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n", 50_000))
		}},
	}
}

// TestIndexBombs: each ends with its defect, within 32 MB besides the message
// itself, and with its parts bounded.
func TestIndexBombs(t *testing.T) {
	for _, c := range bombs() {
		t.Run(c.name, func(t *testing.T) {
			raw := c.make()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			x := ReadIndex(raw, DefaultIndexLimits())
			runtime.ReadMemStats(&after)
			checkIndex(t, raw, DefaultIndexLimits(), x)
			if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
				t.Errorf("%d MB allocated", got>>20)
			}
			if c.defect != "" && !strings.Contains(x.defects(), c.defect) {
				t.Errorf("no %s: %.300s", c.defect, x.defects())
			}
			if c.defect != "" && !x.Has(Ambiguous) {
				t.Errorf("clean: %.300s", x.defects())
			}
		})
	}
}

// TestIndexDecoded: the octets of all bodies together stay within the bound,
// and passing it is told.
func TestIndexDecoded(t *testing.T) {
	l := DefaultIndexLimits()
	l.Decoded = 100_000
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 60_000))
	one := "--b\nContent-Transfer-Encoding: base64\n\n" + text + "\n"
	raw := crlf(mimeTop + "Content-Type: multipart/mixed; boundary=b\n\n" + one + one + one + "--b--\n")
	x := ReadIndex(raw, l)
	checkIndex(t, raw, l, x)
	total := 0
	for _, p := range x.Parts {
		for _, b := range p.Bodies() {
			if b.How != "7bit" {
				total += len(b.Data)
			}
		}
	}
	if total > 100_000 || !x.Has(Unfinished) {
		t.Errorf("%d octets, %s", total, x.defects())
	}
}

// BenchmarkIndexBombs is for the bound of 100 ms.
func BenchmarkIndexBombs(b *testing.B) {
	for _, c := range bombs() {
		b.Run(strings.ReplaceAll(c.name, " ", "-"), func(b *testing.B) {
			raw := c.make()
			b.ReportAllocs()
			for b.Loop() {
				ReadIndex(raw, DefaultIndexLimits())
			}
		})
	}
}

// mail1MB is a text with attachments of a megabyte together, as clients write.
func mail1MB() []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.com\r\nTo: b@example.com\r\nSubject: report\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_mixed\"\r\n\r\n")
	b.WriteString("--=_mixed\r\nContent-Type: multipart/alternative; boundary=\"=_alt\"\r\n\r\n--=_alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for b.Len() < 20<<10 {
		b.WriteString("The quick brown fox jumps over the lazy dog -- and over the next one too.\r\n")
	}
	b.WriteString("--=_alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	for b.Len() < 60<<10 {
		b.WriteString("<p style=3D\"margin: 0\">The quick brown fox jumps over the lazy dog</p>=\r\n")
	}
	b.WriteString("\r\n--=_alt--\r\n")
	data := make([]byte, 240<<10)
	for i := range data {
		data[i] = byte(i * i >> 5)
	}
	text := base64.StdEncoding.EncodeToString(data)
	for i := range 3 {
		fmt.Fprintf(&b, "--=_mixed\r\nContent-Type: application/pdf; name=\"report %d.pdf\"\r\nContent-Disposition: attachment; filename=\"report %d.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", i, i)
		for t := text; len(t) > 0; {
			n := min(76, len(t))
			b.WriteString(t[:n])
			b.WriteString("\r\n")
			t = t[n:]
		}
	}
	b.WriteString("--=_mixed--\r\n")
	return b.Bytes()
}

// BenchmarkIndex1MB: index and decoding of all bodies (performance.md section
// 8); structure is the same without the decoding.
func BenchmarkIndex1MB(b *testing.B) {
	raw := mail1MB()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if x := ReadIndex(raw, DefaultIndexLimits()); len(x.Parts) != 7 || len(x.Defects) != 0 {
			b.Fatal(x.describe(), x.defects())
		}
	}
}

func BenchmarkIndexSmall(b *testing.B) {
	raw := crlf("Received: from a by b\nFrom: a@example.com\nTo: b@example.com\nSubject: x\nMessage-ID: <a@b>\nDate: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + strings.Repeat("The quick brown fox jumps over the lazy dog.\n", 80))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		ReadIndex(raw, DefaultIndexLimits())
	}
}
