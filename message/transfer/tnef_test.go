package transfer

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// A small writer of TNEF streams.

func attribute(level byte, id uint32, value []byte) []byte {
	out := append([]byte{level}, le32(id)...)
	out = append(out, le32(uint32(len(value)))...)
	out = append(out, value...)
	return binary.LittleEndian.AppendUint16(out, sum16(value))
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func stream(attributes ...[]byte) []byte {
	out := append(le32(tnefSignature), 1, 0)
	out = append(out, attribute(1, 0x00089006, le32(0x10000))...) // attTnefVersion
	out = append(out, attribute(1, 0x00069007, append(le32(1251), le32(0)...))...)
	return append(out, bytes.Join(attributes, nil)...)
}

// prop is one MAPI property; the value is string (UTF-16), []byte (with its
// type), uint32.
func prop(id uint32, kind uint32, value any) []byte {
	out := le32(id<<16 | kind)
	variable := func(b []byte) {
		out = append(out, le32(1)...)
		out = append(out, le32(uint32(len(b)))...)
		out = append(out, b...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	switch v := value.(type) {
	case string:
		variable(utf16LE(v + "\x00"))
	case []byte:
		variable(v)
	case uint32:
		out = append(out, le32(v)...)
	}
	return out
}

func utf16LE(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func props(list ...[]byte) []byte {
	return append(le32(uint32(len(list))), bytes.Join(list, nil)...)
}

// named is a property with a name of its own, which readers must step over.
func named() []byte {
	out := le32(0x8001<<16 | 0x0003)
	out = append(out, make([]byte, 16)...)
	out = append(out, le32(1)...)
	name := utf16LE("Keywords\x00")
	out = append(out, le32(uint32(len(name)))...)
	out = append(out, name...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return append(out, le32(7)...)
}

func attachment(title string, data []byte, list ...[]byte) []byte {
	var out []byte
	out = append(out, attribute(2, 0x00069002, make([]byte, 14))...)
	if title != "" {
		out = append(out, attribute(2, 0x00018010, append([]byte(title), 0))...)
	}
	if data != nil {
		out = append(out, attribute(2, 0x0006800F, data)...)
	}
	if len(list) > 0 {
		out = append(out, attribute(2, 0x00069005, props(list...))...)
	}
	return out
}

func showTNEF(files []File, faults []Fault) string {
	s := showFiles(files)
	for _, f := range faults {
		s += " !" + f.ID
	}
	return s
}

func TestTNEF(t *testing.T) {
	inner := stream(attachment("inner.exe", []byte("inside")))
	object := append([]byte(iidMessage), inner...)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":       {stream(), ``},
		"no TNEF":       {[]byte("no such thing"), ` !tnef-signature`},
		"empty":         {nil, ` !tnef-signature`},
		"title":         {stream(attachment("a.exe", []byte("hello"))), `tnef ["a.exe"] tnef:5`},
		"without start": {stream(attribute(2, 0x00018010, []byte("a.exe\x00")), attribute(2, 0x0006800F, []byte("hi"))), `tnef ["a.exe"] tnef:2`},
		"two":           {stream(attachment("a.exe", []byte("hello")), attachment("b.exe", []byte("hi"))), `tnef ["a.exe"] tnef:5 | tnef ["b.exe"] tnef:2`},
		"code page":     {stream(attachment("\xEE\xF2\xF7\xB8\xF2.exe", []byte("hi"))), `tnef ["отчёт.exe" "îò÷¸ò.exe"] tnef:2`},
		"long names": {stream(attachment("A~1.TXT", []byte("hello"), prop(0x3707, ptUnicode, "évil.exe"), named(), prop(0x3705, 0x0003, uint32(1)),
			prop(0x3703, ptString8, []byte(".exe\x00")), prop(0x3704, ptString8, []byte("A~1.EXE\x00")))),
			`tnef ["évil.exe" ".exe" "A~1.TXT" "A~1.EXE"] tnef:5`},
		"data in a property": {stream(attachment("", nil, prop(0x3707, ptUnicode, "a.exe"), prop(0x3701, ptBinary, []byte("hello")))), `tnef ["a.exe"] tnef:5`},
		"two different data": {stream(attachment("a.exe", []byte("hi"), prop(0x3701, ptBinary, []byte("hello")))), `tnef ["a.exe"] tnef:2 tnef:5`},
		"transport name": {stream(attribute(2, 0x00069002, nil), attribute(2, 0x00069001, append([]byte{4, 0, 0, 0, 6, 0, 0, 0}, "a.exe\x00"...))),
			`tnef ["a.exe"]`},
		"bodies": {stream(attribute(1, 0x0002800C, []byte("text\x00")), attribute(1, 0x00069003, props(prop(prBody, ptUnicode, "téxt"),
			prop(prBodyHTML, ptBinary, []byte("<b>")), prop(0x0E1D, ptUnicode, "Subject"), prop(0x0017, 0x0003, uint32(1))))),
			`tnef-body [] tnef, text:4 | tnef-body [] tnef, text:5 | tnef-body [] tnef, html:3`},
		"message inside": {stream(attachment("a.msg", nil, prop(0x3701, ptObject, object))), `tnef ["inner.exe"] tnef:6 | tnef ["a.msg"]`},
		"object inside":  {stream(attachment("a.ole", nil, prop(0x3701, ptObject, append(make([]byte, 16), "object"...)))), `tnef ["a.ole"] tnef, object:6`},
		"truncated":      {stream(attachment("a.exe", []byte("hello, world")))[:100], `tnef ["a.exe"] tnef:9 !tnef-truncated`},
		"damaged":        {append(stream(attachment("a.exe", []byte("hi"))), "somewhere else"...), `tnef ["a.exe"] tnef:2 !tnef-damaged`},
		"odd property":   {stream(attachment("a.exe", []byte("hi"), le32(0x3705<<16|0x0999), prop(0x3707, ptUnicode, "b.exe"))), `tnef ["a.exe"] tnef:2 !tnef-damaged`},
	} {
		if got := showTNEF(TNEF(c.data, 1<<20)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
	wrong := stream(attachment("a.exe", []byte("hello")))
	wrong[len(wrong)-1]++
	if got := showTNEF(TNEF(wrong, 1<<20)); got != `tnef ["a.exe"] tnef:5 !tnef-checksum` {
		t.Error(got)
	}
}

// TestTNEFDepth: messages inside messages end in a fault, and the octets of
// the innermost that was reached are a file.
func TestTNEFDepth(t *testing.T) {
	data := stream(attachment("deep.exe", []byte("hello")))
	for range 50 {
		data = stream(attachment("x.msg", nil, prop(0x3701, ptObject, append([]byte(iidMessage), data...))))
	}
	if got := showTNEF(TNEF(data, 1<<20)); !strings.Contains(got, "tnef, message:") || !strings.Contains(got, "!too-many-levels") {
		t.Error(got)
	}
}

// TestTNEFBounds: what is over max is cut and named.
func TestTNEFBounds(t *testing.T) {
	data := stream(attachment("a.exe", random(1000, 1)), attachment("b.exe", random(1000, 2)))
	files, faults := TNEF(data, 1500)
	if got := showTNEF(files, faults); got != `tnef ["a.exe"] tnef:1000 | tnef ["b.exe"] tnef:500 !decoded-too-large` {
		t.Error(got)
	}
}

// TestRTF: the two examples of [MS-OXRTFCP] section 4, and what is damaged.
func TestRTF(t *testing.T) {
	var b []byte
	b = append(b, le32(0x2D)...)
	b = append(b, le32(0x2B)...)
	b = append(b, "LZFu\xf1\xc5\xc7\xa7\x03\x00\x0a\x00rcpg125\x42\x32\x0a\xf3\x20hel\x09\x00\x20bw\x05\xb0ld}\x0a\x80\x0f\xa0"...)
	const want = "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
	if out, ok := decompressRTF(b, 1<<20); !ok || string(out) != want {
		t.Errorf("%q, %v", out, ok)
	}
	var c []byte
	c = append(c, le32(0x1A)...)
	c = append(c, le32(0x1C)...)
	c = append(c, "LZFu\xe2\xd4\x4b\x51\x41\x00\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0"...)
	if out, ok := decompressRTF(c, 1<<20); !ok || string(out) != "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}" {
		t.Errorf("%q, %v", out, ok)
	}
	if out, ok := decompressRTF(c, 10); ok || len(out) > 30 {
		t.Errorf("max passed: %d octets, %v", len(out), ok)
	}
	for i := range len(c) - 3 { // the two are the mark of the end
		if _, ok := decompressRTF(c[:i], 1<<20); ok {
			t.Errorf("%d octets are enough", i)
		}
	}
	plain := append(append(le32(16+4), le32(5)...), "MELA\x00\x00\x00\x00hello"...)
	if out, ok := decompressRTF(plain, 1<<20); !ok || string(out) != "hello" {
		t.Errorf("%q, %v", out, ok)
	}
	got := showTNEF(TNEF(stream(attribute(1, 0x00069003, props(prop(prRTFCompressed, ptBinary, b)))), 1<<20))
	if got != `tnef-body [] tnef, rtf:43` {
		t.Error(got)
	}
}

// FuzzTNEF: no panic, within max, and what our writer wrote comes back.
func FuzzTNEF(f *testing.F) {
	f.Add(stream(attachment("a.exe", []byte("hello"), prop(0x3707, ptUnicode, "x"), named(), prop(prRTFCompressed, ptBinary, []byte("x")))), uint16(100))
	f.Add(stream(attachment("a", nil, prop(0x3701, ptObject, append([]byte(iidMessage), stream(attachment("b", []byte("x")))...)))), uint16(100))
	f.Add(stream(attribute(1, 0x00069003, props(prop(prBody, ptUnicode, "t"), prop(prBodyHTML, ptBinary, []byte("<b>"))))), uint16(9))
	f.Fuzz(func(t *testing.T, data []byte, limit uint16) {
		for _, in := range [][]byte{data, append(append(le32(tnefSignature), 1, 0), data...)} {
			files, _ := TNEF(in, int(limit))
			total := 0
			for _, x := range files {
				for _, r := range x.Readings {
					total += len(r.Data)
				}
				if x.Start < 0 || x.End < x.Start || x.End > len(in) {
					t.Errorf("%v in %d octets", x, len(in))
				}
			}
			if total > int(limit) {
				t.Errorf("%d octets, max %d", total, limit)
			}
		}
		if out, _ := decompressRTF(data, int(limit)); len(out) > int(limit)+200 {
			t.Errorf("%d octets of RTF, max %d", len(out), limit)
		}
		if len(data) == 0 {
			return
		}
		files, faults := TNEF(stream(attachment("x.y", data)), 1<<20)
		if len(files) != 1 || faults != nil || !bytes.Equal(files[0].Readings[0].Data, data) {
			t.Errorf("%q: %s", data, showTNEF(files, faults))
		}
	})
}
