package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"testing"
	"time"
)

// measured walks and logs time and the memory that was taken from the system's
// point of view.
func measured(t *testing.T, data []byte) result {
	t.Helper()
	runtime.GC()
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	at := time.Now()
	r := walk(t, data)
	runtime.ReadMemStats(&b)
	t.Logf("%d octets: %v, %d MB allocated, %d entries, %v", len(data), time.Since(at).Round(time.Millisecond),
		(b.TotalAlloc-a.TotalAlloc)>>20, len(r.entries), r.ids())
	if n := b.TotalAlloc - a.TotalAlloc; n > 1<<30 {
		t.Errorf("%d MB were allocated", n>>20)
	}
	return r
}

func (r result) mustBomb(t testing.TB) {
	t.Helper()
	for _, d := range r.defects {
		if d.Grade == Bomb {
			return
		}
	}
	t.Errorf("no bomb: %v", r.ids())
}

func gz(b []byte) []byte {
	var o bytes.Buffer
	w, _ := gzip.NewWriterLevel(&o, 9)
	w.Write(b)
	w.Close()
	return o.Bytes()
}

// TestZ10 nests archives as 42.zip does, and deeper than the limit.
func TestZ10(t *testing.T) {
	leaf := deflate(make([]byte, 8<<20))
	size := uint32(8 << 20)
	data := gen(zm{name: "0.dll", packed: leaf, method: deflated, usize: &size, crc: u32(crc32.ChecksumIEEE(make([]byte, size)))}).end()
	for range 5 {
		g := &zipGen{}
		for i := range 16 {
			g.add(zm{name: fmt.Sprintf("lib %x.zip", i), data: data, method: deflated})
		}
		data = g.end()
	}
	measured(t, data).mustBomb(t)
	deep := goZip(t, "a", good)
	for range 30 {
		deep = goZip(t, "in.zip", string(deep))
	}
	measured(t, deep).mustFlag(t, "depth")
	deep = []byte(good)
	for range 30 {
		deep = gz(deep)
	}
	measured(t, deep).mustFlag(t, "depth")
}

// TestZ12 lets real programs pack zeros, and headers ask for gigabytes.
func TestZ12(t *testing.T) {
	dir := t.TempDir()
	for _, cmd := range []string{
		"gzip -9", "bzip2 -9", "xz -2", "zstd -3 -q", "xz --format=lzma -2", "lz4 -9 -q", "compress",
	} {
		t.Run(cmd, func(t *testing.T) {
			run(t, dir, "sh", "-ec", "head -c 80000000 /dev/zero | "+cmd+" > b || [ $? = 2 ]")
			measured(t, readFile(t, dir, "b")).mustBomb(t)
		})
	}
	t.Run("7z", func(t *testing.T) {
		run(t, dir, "sh", "-ec", "head -c 80000000 /dev/zero | 7z a -mx=1 -si b.7z >/dev/null")
		measured(t, readFile(t, dir, "b.7z")).mustBomb(t)
	})
	t.Run("zip", func(t *testing.T) {
		run(t, dir, "sh", "-ec", "head -c 80000000 /dev/zero | zip -q b.zip -")
		measured(t, readFile(t, dir, "b.zip")).mustBomb(t)
	})
	t.Run("lzma header of 4 GB", func(t *testing.T) {
		measured(t, cat([]byte("\x5d\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), noise(1<<20))).mustFlag(t, "dictionary")
	})
	t.Run("xz header of 4 GB", func(t *testing.T) {
		h := append([]byte{2, 0, 0x21, 1, 40, 0, 0, 0}, 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(h[8:], crc32.ChecksumIEEE(h[:8]))
		measured(t, cat([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), h, noise(1<<20))).mustFlag(t, "dictionary")
	})
	t.Run("zstd window of 2 TB", func(t *testing.T) {
		measured(t, cat([]byte("\x28\xb5\x2f\xfd\x00\xf0"), noise(1000))).mustFlag(t, "dictionary")
	})
	t.Run("rar5 dictionary", func(t *testing.T) {
		r := measured(t, rar5(rf{name: "x.exe", data: noise(5000), size: 1 << 40, comp: 15<<10 | 3<<7}))
		r.mustFlag(t, "dictionary")
		r.mustHave(t, "x.exe", "")
	})
	t.Run("7z dictionary", func(t *testing.T) {
		dir := folder(t)
		run(t, dir, "7z", "a", "-mhc=off", "-m0=lzma2", "a.7z", "hello.txt")
		b := readFile(t, dir, "a.7z")
		at := 32 + binary.LittleEndian.Uint64(b[12:])
		i := bytes.Index(b[at:], []byte("\x21\x21\x01"))
		b[int(at)+i+3] = 40
		binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(b[at:]))
		binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
		r := measured(t, b)
		r.mustFlag(t, "dictionary")
		r.mustHave(t, "hello.txt", "")
	})
	t.Run("overlapping members", func(t *testing.T) { // Fifield
		g := gen(zm{name: "0", data: make([]byte, 20<<20), method: deflated})
		for i := range 3000 {
			m := zm{name: fmt.Sprint(i + 1), noLocal: true, offset: u32(0), method: deflated}
			m.packed, m.usize = deflate(nil), u32(20<<20)
			m.csize = u32(binary.LittleEndian.Uint32(g.b.Bytes()[18:]))
			g.add(m)
		}
		r := measured(t, g.end())
		r.mustBomb(t)
		r.mustFlag(t, "zip-overlap")
	})
}

// TestZ14 are the ways of tar.
func TestZ14(t *testing.T) {
	head := func(name string, kind byte, size string) []byte {
		b := make([]byte, 512)
		copy(b, name)
		copy(b[100:], "0000644\x000000000\x000000000\x00")
		copy(b[124:136], size)
		copy(b[136:], "00000000000\x00        ")
		b[156] = kind
		copy(b[257:], "ustar\x0000")
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
	pad := func(s string) []byte { return append([]byte(s), make([]byte, (512-len(s)%512)%512)...) }
	rec := func(k, v string) string {
		n := len(k) + len(v) + 3
		for len(fmt.Sprint(n))+len(k)+len(v)+3 != n {
			n = len(fmt.Sprint(n)) + len(k) + len(v) + 3
		}
		return fmt.Sprintf("%d %s=%s\n", n, k, v)
	}
	pax := func(s string) []byte { return cat(head("p", 'x', fmt.Sprintf("%011o", len(s))), pad(s)) }
	end := make([]byte, 1024)
	body := pad(evil)
	size := fmt.Sprintf("%011o", len(evil))
	r := walk(t, cat(pax(rec("path", "evil.exe")), head("good.txt", '0', size), body, end))
	r.mustHave(t, "evil.exe", evil, "good.txt", evil)
	r.mustFlag(t, "names-differ")
	r = walk(t, cat(pax(rec("size", fmt.Sprint(len(evil)))), head("x", '0', "00000000002"), body, end))
	r.mustHave(t, "x", evil)
	r.mustFlag(t, "tar-size")
	base256 := "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(evil)))
	walk(t, cat(head("x", '0', base256), body, end)).mustHave(t, "x", evil)
	for _, s := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "-0000000001", "0000000zzzz"} {
		walk(t, cat(head("x", '0', s), head("evil.exe", '0', size), body, end)).mustFlag(t, "tar-size")
	}
	r = walk(t, cat(head("evil.exe", '0', size), body))
	r.mustHave(t, "evil.exe", evil)
	r.mustFlag(t, "tar-end")
	r.mustBeOrdinary(t)
	walk(t, cat(head("a", '0', size), body, end, head("evil.exe", '0', size), body, end)).mustHave(t, "evil.exe", evil)
	bad := head("evil.exe", '0', size)
	bad[0] = 'E'
	r = walk(t, cat(head("a", '0', size), body, bad, body, end))
	r.mustHave(t, "Evil.exe", evil)
	r.mustFlag(t, "tar-checksum")
	walk(t, cat(head("x", '0', "77777777777"), body)).mustFlag(t, "corrupt")
	// floods
	measured(t, cat(head("p", 'x', "10000000000"), bytes.Repeat([]byte("30 path=xxxxxxxxxxxxxxxxxxxxx\n"), 1<<19)))
	sparse := head("s", 'S', "00000000000")
	copy(sparse[257:], "ustar  \x00")
	sparse[482] = 1
	copy(sparse[148:], "        ")
	sum := 0
	for _, c := range sparse {
		sum += int(c)
	}
	copy(sparse[148:], fmt.Sprintf("%06o\x00 ", sum))
	flood := make([]byte, 16<<20)
	for i := 504; i < len(flood); i += 512 {
		flood[i] = 1
	}
	measured(t, cat(sparse, flood)).mustFlag(t, "tar-sparse")
	var links bytes.Buffer
	tw := tar.NewWriter(&links)
	for i := range 6000 {
		tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("l%d", i+1), Linkname: fmt.Sprintf("l%d", i), Typeflag: tar.TypeSymlink})
	}
	tw.WriteHeader(&tar.Header{Name: "dev", Typeflag: tar.TypeBlock})
	tw.Close()
	r = measured(t, links.Bytes())
	r.mustFlag(t, "entries")
	if !r.entries[5].Link || r.entries[5].LinkTo != "l5" {
		t.Errorf("link: %+v", r.entries[5].Entry)
	}
}

// TestZ12LongTar reads a packed tar that is larger than a member may be.
func TestZ12LongTar(t *testing.T) {
	l := DefaultLimits()
	l.Member = 1 << 20
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i := range 40 {
		tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.bin", i), Size: 100_000, Mode: 0o644})
		tw.Write(noise(100_000))
	}
	tw.Close()
	r := walkWith(t, gz(b.Bytes()), NewBudget(l, time.Time{}))
	r.mustHave(t, "0.bin", "", "39.bin", "")
	r.mustBeOrdinary(t)
}

// TestZ19 cuts and damages archives: they are never clean.
func TestZ19(t *testing.T) {
	dir := folder(t)
	for name, cmd := range map[string]string{
		"zip": "zip -q -r a.out .", "7z": "7z a a.7z . >/dev/null && mv a.7z a.out", "gz": "gzip -c sub/noise.bin > a.out",
		"xz": "xz -c sub/noise.bin > a.out", "bz2": "bzip2 -c sub/noise.bin > a.out", "zst": "zstd -q -c sub/noise.bin > a.out",
		"tar": "tar cf a.out sub", "cab": "gcab -c -n a.out sub/noise.bin", "cpio": "find sub | cpio -o -H newc --quiet > a.out",
		"lz4": "lz4 -q -c sub/noise.bin > a.out", "arj": "arj a -m0 -y a.arj sub/noise.bin > /dev/null; mv a.arj a.out",
		"iso": "mkdir i; cp sub/noise.bin i; genisoimage -quiet -no-pad -o a.out i", "rar4": "", "rar5": "",
	} {
		t.Run(name, func(t *testing.T) {
			var b []byte
			switch name {
			case "rar4":
				b = rar4(rf{name: "x", data: noise(9000)})
			case "rar5":
				b = rar5(rf{name: "x", data: noise(9000)})
			default:
				run(t, dir, "sh", "-ec", "rm -f a.out; "+cmd)
				b = readFile(t, dir, "a.out")
			}
			r := walk(t, b[:len(b)*3/5])
			opaque := false
			for _, g := range r.grades() {
				opaque = opaque || g == Opaque
			}
			if !opaque {
				t.Errorf("cut short: %v", r.ids())
			}
		})
	}
}

// TestZ20 ends the work when the time or the context is over, in the middle
// of a stream.
func TestZ20(t *testing.T) {
	data := gz(append(noise(30<<20), make([]byte, 1<<20)...))
	b := NewBudget(DefaultLimits(), time.Time{})
	now := time.Unix(0, 0)
	b.clock = func() time.Time { now = now.Add(100 * time.Millisecond); return now }
	r := walkWith(t, data, b)
	r.mustFlag(t, "time")
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	d, err := Walk(ctx, goZip(t, "a", good, "b", good), NewBudget(DefaultLimits(), time.Time{}), func(*Entry) error {
		n++
		cancel()
		return nil
	})
	if err != nil || n != 1 || len(d) != 1 || d[0].ID != "time" {
		t.Errorf("cancelled: %d entries, %v, %v", n, d, err)
	}
	// the visitor's error comes back as it is
	mine := errors.New("mine")
	if _, err := Walk(context.Background(), goZip(t, "a", good), NewBudget(DefaultLimits(), time.Time{}), func(*Entry) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("visitor: %v", err)
	}
}

// TestZ22 gives one budget to many archives.
func TestZ22(t *testing.T) {
	l := DefaultLimits()
	b := NewBudget(l, time.Time{})
	var many []string
	for i := range 450 {
		many = append(many, fmt.Sprint(i), "x")
	}
	z := goZip(t, many...)
	total := 0
	for range 50 {
		r := walkWith(t, z, b)
		total += len(r.entries)
		if total >= l.Entries {
			r.mustFlag(t, "entries")
		}
	}
	if total != l.Entries {
		t.Errorf("%d entries for one message", total)
	}
	b = NewBudget(l, time.Time{})
	b.left.Bytes = 45 << 20
	big := goZip(t, "x", string(noise(10<<20)))
	for i := range 6 {
		r := walkWith(t, big, b)
		if i >= 4 {
			r.mustFlag(t, "bytes")
		}
	}
}
