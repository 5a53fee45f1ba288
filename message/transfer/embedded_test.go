package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"
)

// uuencoded writes a file as uuencode does; with spaces or grave accents for
// zero.
func uuencoded(name string, data []byte, zero byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "begin 644 %s\n", name)
	char := func(v byte) byte {
		if v &= 0x3F; v == 0 {
			return zero
		}
		return v + ' '
	}
	for len(data) > 0 {
		n := min(45, len(data))
		line := append(bytes.Clone(data[:n]), 0, 0)
		b.WriteByte(char(byte(n)))
		for i := 0; i < n; i += 3 {
			x, y, z := line[i], line[i+1], line[i+2]
			b.Write([]byte{char(x >> 2), char(x<<4 | y>>4), char(y<<2 | z>>6), char(z)})
		}
		b.WriteByte('\n')
		data = data[n:]
	}
	b.WriteByte(zero)
	b.WriteString("\nend\n")
	return b.String()
}

func yencoded(name string, data []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=ybegin line=128 size=%d name=%s\r\n", len(data), name)
	for i, c := range data {
		switch c += 42; c {
		case 0, '\r', '\n', '=', '.':
			b.Write([]byte{'=', c + 64})
		default:
			b.WriteByte(c)
		}
		if i%128 == 127 {
			b.WriteString("\r\n")
		}
	}
	fmt.Fprintf(&b, "\r\n=yend size=%d crc32=%08x\r\n", len(data), crc32.ChecksumIEEE(data))
	return b.String()
}

func binhexed(name string, data, resource []byte) string {
	head := append([]byte{byte(len(name))}, name...)
	head = append(head, "\x00TEXTttxt\x00\x00"...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(resource)))
	var all []byte
	for _, p := range [][]byte{head, data, resource} {
		all = append(all, p...)
		all = binary.BigEndian.AppendUint16(all, binhexSum(p))
	}
	var packed []byte
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && n < 255 && all[i+n] == all[i] {
			n++
		}
		switch {
		case all[i] == 0x90:
			packed, n = append(packed, 0x90, 0), 1
		case n > 3:
			packed = append(packed, all[i], 0x90, byte(n))
		default:
			n = 1
			packed = append(packed, all[i])
		}
		i += n
	}
	var b strings.Builder
	b.WriteString("(This file must be converted with BinHex 4.0)\r\n\r\n:")
	col, acc, bits := 1, uint32(0), 0
	put := func() {
		b.WriteByte(binhexAlphabet[acc>>bits&0x3F])
		if col++; col == 64 {
			b.WriteString("\r\n")
			col = 0
		}
	}
	for _, c := range packed {
		acc, bits = acc<<8|uint32(c), bits+8
		for bits >= 6 {
			bits -= 6
			put()
		}
	}
	if bits > 0 {
		acc, bits = acc<<(6-bits), 0
		put()
	}
	b.WriteString(":\r\n")
	return b.String()
}

// TestEmbeddedSound: whatever the octets, what was written comes back, alone
// and without a fault (E-64, E-65, E-66).
func TestEmbeddedSound(t *testing.T) {
	for n := range 300 {
		data := random(n*7%1000+1, uint64(n))
		if n%3 == 0 {
			clear(data[:len(data)/2])
		}
		for kind, text := range map[string]string{
			"uuencode": uuencoded("evil file.exe", data, '`'),
			"yenc":     yencoded("evil file.exe", data),
			"binhex":   binhexed("evil file.exe", data, nil),
			"base64":   "begin-base64 644 evil file.exe\n" + string(wrap(data, 60, "\n")) + "====\n",
		} {
			for _, around := range []string{"%s", "Hello,\r\n\r\n%s\r\nbye\r\n"} {
				text := fmt.Sprintf(around, text)
				files := Embedded([]byte(text), 1<<20)
				if len(files) != 1 || files[0].Kind != kind || len(files[0].Readings) != 1 || files[0].Faults != nil ||
					!bytes.Equal(files[0].Readings[0].Data, data) || files[0].Names[0] != "evil file.exe" {
					t.Fatalf("%s of %d octets: %v\n%s", kind, len(data), files, text)
				}
				if !strings.HasPrefix(text[files[0].Start:], "begin") && kind != "binhex" && kind != "yenc" {
					t.Errorf("%s begins at %q", kind, text[files[0].Start:])
				}
			}
		}
	}
}

// TestUuencode: the forms that readers take (E-64).
func TestUuencode(t *testing.T) {
	hello := "%:&5L;&\\\n"
	for _, c := range []struct{ text, want string }{
		{"begin 644 a.exe\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5`},
		{"begin 644 a.exe\r\n%:&5L;&\\\r\n`\r\nend\r\n", `uuencode ["a.exe"] uuencode:5`},
		{"begin 0644 a.exe\n" + hello + " \nend\n", `uuencode ["a.exe"] uuencode:5`},
		{"begin 644 \"a b.exe\"\n" + hello + "`\nend\n", `uuencode ["\"a b.exe\"" "a b.exe"] uuencode:5`},
		{"begin 644\ta.exe\n" + hello + "end\n", `uuencode ["a.exe"] uuencode:5`},
		{"begin 644 a.exe\n" + hello + "`\n", `uuencode ["a.exe"] uuencode:5 !uuencode-end`},
		{"begin 644 a.exe\n" + hello, `uuencode ["a.exe"] uuencode:5 !uuencode-end`},
		{"begin  a.exe\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5 !uuencode-mode`},
		{"begin 644 a.exe\n\n" + hello + "\n`\nend\n", `uuencode ["a.exe"] uuencode:5`},
		{"begin 644 a.exe\n" + hello + "-- what is this? --\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5 uuencode, junk skipped:10 !uuencode-junk`},
		{"begin 644 a.exe\n" + hello + "`\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5 uuencode, junk skipped:10 !uuencode-zero-line`},
		{"begin 644 a.exe\n" + hello + "`\nend\nbegin 644 b.exe\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5 | uuencode ["b.exe"] uuencode:5`},
		{"begin 644 a.exe\n" + hello + "begin 644 b.exe\n" + hello + "`\nend\n", `uuencode ["a.exe"] uuencode:5 !uuencode-end | uuencode ["b.exe"] uuencode:5`},
		{"begin 644 a.exe\n#   \n`\nend\n", `uuencode ["a.exe"] uuencode:3`},
		{"begin 644 a.exe\n#\n`\nend\n", `uuencode ["a.exe"] uuencode:3`},
		{"begin-base64 644 a.exe\naGVsbG8=\n====\n", `base64 ["a.exe"] base64:5`},
		{"begin-base64-encoded 644 YS5leGU=\naGVsbG8=\n====\n", `base64 ["a.exe" "YS5leGU="] base64:5`},
		{"begin-base64 644 a.exe\naGVsbG8=\n", `base64 ["a.exe"] base64:5 !uuencode-end`},
		{"begin 644 na\xEFve.exe\n" + hello + "`\nend\n", `uuencode ["naïve.exe"] uuencode:5`},
		// Prose.
		{"begin 644 is how such files begin.\nThen follow lines of letters.\n", ""},
		{"begin the day with tea,\nend it with wine.\n", ""},
		{"begin\nend\n", ""},
		{"We begin 644 a.exe\n" + hello + "`\nend\n", ""},
		{"begin 644 \nbegin 644 \n", ""},
	} {
		if got := showFiles(Embedded([]byte(c.text), 1<<20)); got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func showFiles(files []File) string {
	var parts []string
	for _, f := range files {
		s := fmt.Sprintf("%s %q", f.Kind, f.Names)
		for _, r := range f.Readings {
			s += fmt.Sprintf(" %s:%d", r.How, len(r.Data))
		}
		for _, x := range f.Faults {
			s += " !" + x.ID
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " | ")
}

// TestYencBinHex: damaged files are read as far as they go (E-65, E-66).
func TestYencBinHex(t *testing.T) {
	y := yencoded("a.exe", []byte("hello"))
	h := binhexed("a.exe", []byte("hello"), []byte("fork"))
	long := binhexed("a.exe", bytes.Repeat([]byte("x"), 5000), nil)
	for _, c := range []struct{ text, want string }{
		{y, `yenc ["a.exe"] yenc:5`},
		{strings.Replace(y, "\r\n", "\r\n=ypart begin=1 end=5\r\n", 1), `yenc ["a.exe"] yenc:5`},
		{strings.Replace(y, "size=5 crc", "size=6 crc", 1), `yenc ["a.exe"] yenc:5 !yenc-size`},
		{strings.Replace(y, "\x92", "\x93", 1), `yenc ["a.exe"] yenc:5 !yenc-checksum`},
		{y[:strings.Index(y, "=yend")], `yenc ["a.exe"] yenc:5 !yenc-end`},
		{y + y, `yenc ["a.exe"] yenc:5 | yenc ["a.exe"] yenc:5`},
		{"=ybegin of a sentence\r\n", ""},
		{h, `binhex ["a.exe"] binhex:5 binhex, resource fork:4`},
		{long, `binhex ["a.exe"] binhex:5000`},
		{h[:len(h)-8], `binhex ["a.exe"] binhex:5 binhex, resource fork:2 !binhex-end !binhex-damaged`},
		{"(This file must be converted with BinHex 4.0)\r\nas he said.\r\n", ""},
		{"(This file must be converted with BinHex 4.0)", ""},
		{"(This file must be converted with BinHex 4.0)\r\n:!!!!:\r\n", `binhex [] binhex:3 !binhex-damaged`},
	} {
		if got := showFiles(Embedded([]byte(c.text), 1<<20)); got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestEmbeddedBounds: many files and large ones stay within the bounds.
func TestEmbeddedBounds(t *testing.T) {
	one := uuencoded("a", []byte("hello"), '`')
	files := Embedded([]byte(strings.Repeat(one, 2*maxFiles)), 1<<20)
	if len(files) != maxFiles || !strings.Contains(showFiles(files[maxFiles-1:]), "too-many-files") {
		t.Errorf("%d files", len(files))
	}
	for kind, text := range map[string]string{
		"uuencode": uuencoded("a", random(100000, 1), '`'),
		"yenc":     yencoded("a", random(100000, 1)),
		"binhex":   binhexed("a", bytes.Repeat([]byte("x"), 100000), nil),
		"base64":   "begin-base64 644 a\n" + string(wrap(random(100000, 1), 60, "\n")) + "====\n",
	} {
		files := Embedded([]byte(text+text), 150000)
		total := 0
		for _, f := range files {
			for _, r := range f.Readings {
				total += len(r.Data)
			}
		}
		if len(files) != 2 || total > 150000 || !strings.Contains(showFiles(files[1:]), TooLarge) {
			t.Errorf("%s: %d octets, %s", kind, total, showFiles(files))
		}
	}
}

// TestEmbeddedHostile: megabytes of beginnings end in a moment.
func TestEmbeddedHostile(t *testing.T) {
	for _, one := range []string{
		"begin 644 a\n", "begin 644 a\r", "begin  a\n", "begin-base64 644 a\n", "begin-base64 644 a\n!!\n", "begin-base64 644 a\r", "=ybegin name=x\r",
		"=ybegin name=x\n", "=ybegin \r", "=ybegin \n", "converted with BinHex", "converted with BinHex\n", "converted with BinHex\n:", "begin 644 a\n\n", "begin 644 a\n`\n",
		"begin 644 a\n#aaa\n", "begin 644 a\nend\n", "\n\n", "\nbegin",
	} {
		text := bytes.Repeat([]byte(one), 2<<20/len(one))
		start := time.Now()
		files := Embedded(text, 1<<20)
		t.Logf("%-30q %8.2f ms, %d files", one, float64(time.Since(start).Microseconds())/1000, len(files))
		if len(files) > maxFiles {
			t.Errorf("%q: %d files", one, len(files))
		}
	}
}

// FuzzEmbedded: no panic, in order, within the text and within max; what our
// writer wrote comes back.
func FuzzEmbedded(f *testing.F) {
	for _, text := range []string{
		uuencoded("a.exe", []byte("hello, world"), ' '), yencoded("a.exe", []byte("hello")), binhexed("a.exe", []byte("hellllllo"), []byte("x")),
		"begin-base64 644 x\naGVsbG8=\n====\n", "begin  x\n#aaa\nbegin 644 y\n#aaa\n`\n#aaa\nend\n=ybegin name=x\n=ypart\n=ybegin name=y\n",
	} {
		f.Add([]byte(text), uint16(100))
	}
	f.Fuzz(func(t *testing.T, text []byte, limit uint16) {
		total, last := 0, 0
		for _, x := range Embedded(text, int(limit)) {
			if x.Start < last || x.End <= x.Start || x.End > len(text) {
				t.Errorf("%v in %d octets, the one before ends at %d", x, len(text), last)
			}
			last = x.End
			for _, r := range x.Readings {
				total += len(r.Data)
			}
		}
		if total > int(limit) {
			t.Errorf("%d octets, max %d", total, limit)
		}
		for _, name := range []string{"x-uuencode", "x-yenc", "binhex", "x-gzip64", "base-64", string(text)} {
			Decode(name, text, int(limit))
		}
		if len(text) == 0 {
			return
		}
		for kind, written := range map[string]string{
			"uuencode": uuencoded("x y", text, '`'), "yenc": yencoded("x y", text), "binhex": binhexed("x y", text, nil),
		} {
			files := Embedded([]byte(written), 1<<20)
			if len(files) != 1 || len(files[0].Readings) != 1 || files[0].Faults != nil || !bytes.Equal(files[0].Readings[0].Data, text) {
				t.Errorf("%s of %q: %s", kind, text, showFiles(files))
			}
		}
	})
}

func BenchmarkEmbedded(b *testing.B) {
	plain := []byte(strings.Repeat("Nothing in this line begins a file, as is usual in ordinary English text.\r\n", 14000))
	b.Run("none", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			Embedded(plain, 1<<30)
		}
	})
	begins := []byte(strings.Repeat("begin the day\r\n", 70000))
	b.Run("prose", func(b *testing.B) {
		b.SetBytes(int64(len(begins)))
		for b.Loop() {
			Embedded(begins, 1<<30)
		}
	})
	uu := []byte(uuencoded("x", random(1<<20, 1), '`'))
	b.Run("uuencode", func(b *testing.B) {
		b.SetBytes(int64(len(uu)))
		for b.Loop() {
			Embedded(uu, 1<<30)
		}
	})
}
