package archive

import (
	"context"
	"reflect"
	"testing"
	"time"
)

// small are the limits of fuzzing.
func small() Limits {
	return Limits{Depth: 3, Entries: 50, Bytes: 4 << 20, Member: 1 << 20, Ratio: 50, Time: time.Hour}
}

// check walks twice and holds the walk to its bounds.
func check(t *testing.T, data []byte) {
	var before result
	for i := range 2 {
		b := NewBudget(small(), time.Time{})
		var r result
		d, err := Walk(context.Background(), data, b, func(e *Entry) error {
			if len(e.Names) == 0 || e.Depth < 1 || e.Depth > 3 || len(e.In) != e.Depth-1 || e.Container == "" || int64(len(e.Data)) > 1<<20 {
				t.Fatalf("entry %+v", *e)
			}
			r.entries = append(r.entries, seen{content: string(e.Data)})
			for _, n := range e.Names {
				if len(n) > maxName {
					t.Fatalf("a name of %d octets", len(n))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.entries) > 50 || b.left.Bytes < 0 || b.live != 0 || len(d) > 2*maxDefects {
			t.Fatalf("%d entries, %d octets left, %d held, %d defects", len(r.entries), b.left.Bytes, b.live, len(d))
		}
		for _, d := range d {
			if d.Grade == 0 || Meaning(d.ID) == "" || len(d.Text) > maxText {
				t.Fatalf("defect %+v", d)
			}
		}
		r.defects = d
		if i > 0 && !reflect.DeepEqual(r, before) {
			t.Fatal("two walks differ")
		}
		before = r
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(rar4(rf{name: "a", data: []byte(good)}))
	f.Add(rar5(rf{name: "a", data: []byte(good)}))
	f.Add(cat(lha2("a", good), lha1("b", good), lha0("c", good)))
	f.Add(gz(goZip(f, "a", good)))
	f.Add([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x04hello\x00\x00\x00"))
	f.Add([]byte("!<arch>\na/              0           0     0     644     4         `\nabcd"))
	f.Add([]byte("070701" + "00000001000081A400000000000000000000000100000000000000040000000000000000000000000000000000000002000000" + "00a\x00abcd"))
	f.Add([]byte("\x1f\x9d\x90a\xc2\x8c\x01"))
	f.Add(cat([]byte("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00"), make([]byte, 20)))
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func FuzzZip(f *testing.F) {
	a := goZip(f, "a.txt", good, "b/", "")
	f.Add(a)
	f.Add(cat(a, a))
	f.Add(gen(zm{name: "x", lname: "y", data: []byte(evil), flags: 8, descriptor: []byte(descSign + "xxxxyyyyzzzz")}).end())
	f.Add(cat(gen(zm{name: "x", data: []byte(evil)}).b.Bytes(), wideRec(1, 47, 53, 53), endRec(1, 47, 53)))
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, b)
		check(t, cat([]byte(localSign), b))
	})
}

func FuzzCab(f *testing.F) {
	var h []byte
	h = append(h, "MSCF\x00\x00\x00\x00\x60\x00\x00\x00\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00"...)
	h = append(h, "\x3f\x00\x00\x00\x01\x00\x00\x00"...)
	h = append(h, "\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00ab\x00"...)
	h = append(h, "\x00\x00\x00\x00\x04\x00\x04\x00abcd"...)
	f.Add(h)
	f.Fuzz(func(t *testing.T, b []byte) { check(t, cat([]byte("MSCF\x00\x00\x00\x00"), b[min(8, len(b)):])) })
}

func FuzzISO(f *testing.F) {
	f.Add([]byte("\x01CD001\x01\x00"), []byte("\x22\x00\x12\x00\x00\x00\x00\x00\x00\x12\x00\x08"), []byte("x"))
	f.Fuzz(func(t *testing.T, vol, root, rest []byte) {
		b := make([]byte, 19*sector)
		copy(b[16*sector:], vol)
		copy(b[16*sector+156:], root)
		copy(b[16*sector+1:], "CD001")
		copy(b[17*sector:], "\xffCD001")
		copy(b[18*sector:], rest)
		check(t, b)
	})
}

func FuzzTar(f *testing.F) {
	h := make([]byte, 1536)
	copy(h, "name")
	copy(h[124:], "00000000004")
	copy(h[148:], "0000000")
	copy(h[257:], "ustar\x0000")
	f.Add(h)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append([]byte{}, b...)
		for len(b) < 512 {
			b = append(b, 0)
		}
		// a right checksum leads deeper
		var sum int64
		copy(b[148:156], "        ")
		for _, c := range b[:512] {
			sum += int64(c)
		}
		copy(b[148:], sprintf("%s\x00 ", octal6(sum)))
		check(t, b)
	})
}

func octal6(n int64) string {
	s := ""
	for range 6 {
		s = string(rune('0'+n&7)) + s
		n >>= 3
	}
	return s
}

func BenchmarkZip(b *testing.B) {
	var pairs []string
	for i := range 100 {
		pairs = append(pairs, string(rune('a'+i%26))+string(rune('a'+i/26))+".txt", string(noise(60_000))+string(text(40_000)))
	}
	z := goZip(b, pairs...)
	b.SetBytes(int64(len(z)))
	b.ReportAllocs()
	for b.Loop() {
		walk(b, z)
	}
}

func BenchmarkNoArchive(b *testing.B) {
	d := noise(25 << 20)
	b.SetBytes(int64(len(d)))
	b.ReportAllocs()
	for b.Loop() {
		walk(b, d)
	}
}
