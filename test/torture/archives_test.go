package torture

import (
	"archive/tar"
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const evil = mark + ".exe"

// boxed are messages with one archive as an attachment.
type boxed struct{ set }

// put adds an archive under an honest name and as nameless octets.
func (s *boxed) put(id, name string, data []byte, want ...string) {
	s.as(id, name, mark+".zip", data, want...)
}

func (s *boxed) as(id, name, file string, data []byte, want ...string) {
	raw := top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: application/octet-stream; name=\"" + file + "\"\nContent-Disposition: attachment; filename=\"" + file + "\"\nContent-Transfer-Encoding: base64\n\n" + b64(data) + "--OO--\n"
	if len(want) > 0 {
		want = append(want, running...)
	}
	s.all = append(s.all, one{id: id, name: name, raw: raw, want: want, alone: true})
}

func tarOf(entries ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		data := program()
		if strings.HasSuffix(h.Name, ".txt") {
			data = []byte("words\n")
		}
		if h.Typeflag == tar.TypeReg || h.Typeflag == 0 {
			h.Size = int64(len(data))
		} else {
			data = nil
		}
		h.Mode = 0o644
		if w.WriteHeader(&h) == nil {
			w.Write(data)
		}
	}
	w.Close()
	return b.Bytes()
}

// zips are Z-01 to Z-09 in zip.
func zips() []one {
	s := &boxed{}
	p := program()
	good := func() []byte { return zipOf(file{name: "notes.txt", data: []byte("words\n")}) }
	bad := func(name string) []byte { return zipOf(file{name: name, data: p, deflate: true}) }
	big := zipOf(file{name: "report.txt", data: bytes.Repeat([]byte("words and words\n"), 500)})
	for name, z := range map[string][]byte{"good, evil": cat(good(), hidden()), "evil, good": cat(hidden(), good()), "large, evil": cat(big, hidden()), "evil, large": cat(hidden(), big), "three": cat(good(), hidden(), big), "with text between": cat(good(), []byte("text"), hidden()), "many": cat(bytes.Repeat(good(), 40), hidden()), "evil in the comment": zipWith(string(hidden()), file{name: "notes.txt", data: []byte("x")}), "end record in the comment": zipWith(string(zipEnd(0, 0, 0, "")), file{name: evil, data: p}),
		"two directories": func() []byte {
			l1, d1, n1 := zipPieces([]file{{name: evil, data: p}, {name: "a.txt", data: []byte("a")}})
			_, d2, n2 := zipPieces([]file{{name: "a.txt", data: []byte("a")}})
			return cat(l1, d2, zipEnd(n2, len(d2), len(l1), ""), d1, zipEnd(n1, len(d1), len(l1), ""))
		}()} {
		s.put("Z-01", name, z)
	}
	for _, deflate := range []bool{false, true} {
		how := fmt.Sprint(", deflated ", deflate)
		local, dir, n := zipPieces([]file{{name: evil, data: p, deflate: deflate}})
		text := []byte("words\n")
		for name, v := range map[string]struct {
			id string
			z  []byte
		}{
			"local evil":                {"Z-02", zipOf(file{name: "notes.txt", local: evil, data: p, deflate: deflate})},
			"central evil":              {"Z-02", zipOf(file{name: evil, local: "notes.txt", data: p, deflate: deflate})},
			"unicode path evil":         {"Z-02", zipOf(file{name: "notes.txt", data: p, deflate: deflate, extra: upath("notes.txt", evil)})},
			"unicode path of another":   {"Z-02", zipOf(file{name: "notes.txt", data: p, deflate: deflate, extra: upath("other.txt", evil)})},
			"unicode path local alone":  {"Z-02", zipOf(file{name: "notes.txt", data: p, deflate: deflate, lextra: upath("notes.txt", evil)})},
			"unicode path hides":        {"Z-02", zipOf(file{name: evil, data: p, deflate: deflate, extra: upath(evil, "notes.txt")})},
			"utf-8 flag once":           {"Z-02", zipOf(file{name: "\xc3\xb1" + evil, data: p, deflate: deflate, flags: 1 << 11, lflags: -1})},
			"not listed":                {"Z-03", zipOf(file{name: "notes.txt", data: text}, file{name: evil, data: p, deflate: deflate, unlisted: true})},
			"not listed, first":         {"Z-03", zipOf(file{name: evil, data: p, deflate: deflate, unlisted: true}, file{name: "notes.txt", data: text})},
			"empty directory":           {"Z-03", zipOf(file{name: evil, data: p, deflate: deflate, unlisted: true})},
			"listed alone":              {"Z-03", zipOf(file{name: "notes.txt", data: text}, file{name: evil, data: p, deflate: deflate, absent: true})},
			"no directory":              {"Z-03", local},
			"no end":                    {"Z-03", cat(local, dir)},
			"end cut":                   {"Z-03", cat(local, dir, zipEnd(n, len(dir), len(local), "")[:15])},
			"count nought":              {"Z-03", cat(local, dir, zipEnd(0, len(dir), len(local), ""))},
			"count too large":           {"Z-03", cat(local, dir, zipEnd(9, len(dir), len(local), ""))},
			"offset wrong":              {"Z-03", cat(local, dir, zipEnd(n, len(dir), len(local)+7, ""))},
			"size wrong":                {"Z-03", cat(local, dir, zipEnd(n, len(dir)-5, len(local), ""))},
			"behind the end":            {"Z-03", cat(good(), local)},
			"prefix":                    {"Z-03", cat([]byte("text in front\n"), hidden())},
			"zeros behind":              {"Z-03", cat(hidden(), make([]byte, 70<<10))},
			"text behind":               {"Z-03", cat(hidden(), []byte(strings.Repeat("text\n", 200)))},
			"methods differ":            {"Z-05", zipOf(file{name: "notes.txt", data: p, packed: deflated(p), method: -1, lmethod: 8})},
			"method differs the other":  {"Z-05", zipOf(file{name: evil, data: p, deflate: true, lmethod: -1})},
			"method unknown":            {"Z-05", zipOf(file{name: evil, data: p, method: 77})},
			"sizes nought":              {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, size: -1, lsize: -1, csize: -1, lcsize: -1})},
			"local sizes nought":        {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, lsize: -1, lcsize: -1})},
			"central sizes nought":      {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, size: -1, csize: -1})},
			"size too large":            {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, size: 1 << 30})},
			"size negative":             {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, size: 0xfffffffe, csize: 0xfffffffe})},
			"packed size too large":     {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, csize: 1 << 30})},
			"local size too small":      {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, lsize: 2, lcsize: 2})},
			"crc wrong":                 {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, crc: 1, lcrc: 1})},
			"crc differs":               {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, lcrc: 1})},
			"descriptor":                {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, flags: 8, lsize: -1, lcsize: -1, lcrc: 1, tail: []byte("PK\x07\x08xxxxyyyyzzzz")})},
			"descriptor not flagged":    {"Z-05", zipOf(file{name: evil, data: p, deflate: deflate, lsize: -1, lcsize: -1, tail: []byte("PK\x07\x08xxxxyyyyzzzz")})},
			"deflate goes on":           {"Z-05", zipOf(file{name: evil, data: p, deflate: true, packed: cat(deflated(p), []byte("rest"))})},
			"cut stream":                {"Z-05", zipOf(file{name: evil, data: p, deflate: true, packed: deflated(p)[:200]})},
			"encrypted by flag":         {"Z-06", zipOf(file{name: evil, data: noise(300), flags: 1})},
			"flag in the directory":     {"Z-06", zipOf(file{name: evil, data: p, deflate: deflate, flags: 1, lflags: -1})},
			"flag in the local header":  {"Z-06", zipOf(file{name: evil, data: p, deflate: deflate, lflags: 1})},
			"one of two encrypted":      {"Z-06", zipOf(file{name: "notes.txt", data: noise(90), flags: 1}, file{name: evil, data: p, deflate: deflate})},
			"strong encryption flag":    {"Z-06", zipOf(file{name: evil, data: noise(300), flags: 1 | 1<<6})},
			"AES":                       {"Z-06", zipOf(file{name: evil, data: noise(300), flags: 1, method: 99, extra: []byte("\x01\x99\x07\x00\x02\x00AE\x03\x08\x00")})},
			"names masked":              {"Z-06", zipOf(file{name: "1", local: "2", data: noise(300), flags: 1 | 1<<13})},
			"encrypted text":            {"Z-06", zipOf(file{name: "notes.txt", data: noise(300), flags: 1})},
			"same name twice":           {"Z-07", zipOf(file{name: "notes.txt", data: text}, file{name: "notes.txt", data: p, deflate: deflate})},
			"same name, program first":  {"Z-07", zipOf(file{name: "notes.txt", data: p, deflate: deflate}, file{name: "notes.txt", data: text})},
			"case alone":                {"Z-07", zipOf(file{name: "notes.txt", data: text}, file{name: "NOTES.TXT", data: p, deflate: deflate})},
			"path to the same":          {"Z-07", zipOf(file{name: "b.txt", data: text}, file{name: "a/../b.txt", data: p, deflate: deflate})},
			"backslash":                 {"Z-07", zipOf(file{name: "a/b.txt", data: text}, file{name: "a\\b.txt", data: p, deflate: deflate})},
			"a folder with contents":    {"Z-07", zipOf(file{name: evil + "/", data: p, deflate: deflate})},
			"folder by attribute":       {"Z-07", zipOf(file{name: evil, data: p, deflate: deflate, attr: 0x10})},
			"dots behind":               {"Z-07", zipOf(file{name: evil + ". .", data: p, deflate: deflate})},
			"no name":                   {"Z-07", zipOf(file{name: "", data: p, deflate: deflate})},
			"NUL":                       {"Z-08", zipOf(file{name: evil + "\x00.txt", data: text})},
			"NUL the other way":         {"Z-08", zipOf(file{name: "notes.txt\x00" + evil, data: text})},
			"symbolic link":             {"Z-08", zipOf(file{name: evil, data: []byte("/etc/passwd"), attr: 0xa1ff0000})},
			"line end in the directory": {"Z-09", zipOf(file{name: "a\r\nb/" + evil, data: p, deflate: deflate})},
		} {
			var want []string
			switch v.id {
			case "Z-06":
				want = []string{"attachment.archive_encrypted"}
			case "Z-07":
				want = []string{"attachment.archive_ambiguous"}
			}
			s.put(v.id, name+how, v.z, want...)
		}
	}
	for _, n := range []string{"../../" + evil, "/etc/" + evil, "C:\\" + evil, "\\\\host\\share\\" + evil, "C:" + evil, "./" + evil, "a/b/../../../" + evil, "~/" + evil, "..\\..\\" + evil, "%2e%2e/" + evil} {
		s.put("Z-08", n, bad(n))
		s.as("Z-08", "tar "+n, mark+".tar", tarOf(tar.Header{Name: n}))
	}
	for _, n := range []string{"`id`" + evil, "$(id)" + evil, "'; id;'" + evil, "-rf" + evil, "--checkpoint-action=exec=sh " + evil, "|cmd " + evil, "a\nb" + evil, "<script>" + evil, "\x1b[2J" + evil, "%s%n" + evil, "a;b&c " + evil, "\"" + evil} {
		s.put("Z-09", fmt.Sprintf("%q", n), bad(n))
		s.as("Z-09", fmt.Sprintf("tar %q", n), mark+".tar", tarOf(tar.Header{Name: n}))
	}
	return s.all
}

func upath(of, name string) []byte {
	var b bytes.Buffer
	le(&b, uint16(0x7075), uint16(5+len(name)), byte(1), crc32.ChecksumIEEE([]byte(of)), name)
	return b.Bytes()
}

// nestedArchives are Z-10 to Z-22.
func nestedArchives(t *testing.T) []one {
	s := &boxed{}
	in := hidden()
	for i := 1; i <= 10; i++ {
		in = zipOf(file{name: "inner.zip", data: in, deflate: i%2 == 0})
		s.put("Z-10", fmt.Sprintf("%d deep", i), in, "attachment.bomb")
	}
	wide := zipOf(file{name: "x.txt", data: []byte("words"), deflate: true})
	for range 4 {
		var all []file
		for i := range 12 {
			all = append(all, file{name: fmt.Sprintf("%d.zip", i), data: wide, deflate: true})
		}
		wide = zipOf(all...)
	}
	s.put("Z-10", "12 x 12 x 12 x 12", wide, "attachment.bomb")
	zeros := make([]byte, 24<<20)
	s.put("Z-12", "24 MB of zeros in zip", zipOf(file{name: "zeros.txt", data: zeros, deflate: true}), "attachment.bomb")
	s.as("Z-12", "24 MB of zeros in gz", "zeros.gz", gz("zeros", zeros), "attachment.bomb")
	zw, _ := zstd.NewWriter(nil)
	s.as("Z-12", "24 MB of zeros in zst", "zeros.zst", zw.EncodeAll(zeros, nil), "attachment.bomb")
	s.as("Z-12", "xz with a dictionary of 4 GB", "x.lzma", append([]byte("\x5d\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), noise(100)...), "attachment.bomb", "attachment.archive_opaque")
	s.put("Z-12", "behind the bomb", zipOf(file{name: "zeros.txt", data: zeros, deflate: true}, file{name: evil, data: program()}), "attachment.bomb")
	for name, b := range map[string][]byte{
		"plain": tarOf(tar.Header{Name: evil}), "pax": tarOf(tar.Header{Name: evil, PAXRecords: map[string]string{"comment": strings.Repeat("x", 5000)}, Format: tar.FormatPAX}), "long name": tarOf(tar.Header{Name: strings.Repeat("d/", 200) + evil, Format: tar.FormatGNU}), "long name by pax": tarOf(tar.Header{Name: strings.Repeat("d/", 200) + evil, Format: tar.FormatPAX}),
		"link": tarOf(tar.Header{Name: "x", Linkname: evil, Typeflag: tar.TypeSymlink}, tar.Header{Name: evil}), "no end": bytes.TrimRight(tarOf(tar.Header{Name: evil}), "\x00"), "cut": tarOf(tar.Header{Name: evil})[:700], "twice": cat(tarOf(tar.Header{Name: "a.txt"}), tarOf(tar.Header{Name: evil})), "behind zeros": cat(tarOf(tar.Header{Name: "a.txt"}), make([]byte, 4096), tarOf(tar.Header{Name: evil})),
	} {
		s.as("Z-14", name, mark+".tar", b, "attachment.archive_opaque", "attachment.archive_ambiguous")
		s.as("Z-14", name+", gz", mark+".tgz", gz("", b), "attachment.archive_opaque", "attachment.archive_ambiguous")
	}
	for _, n := range []string{"a.pdf", "a.jpg", "a.docx", "a", "a.txt", "a.zip.001", "a.z01", "a.dat", "a.png", "winmail.dat", "a.bin", "a.mp3"} {
		s.as("Z-15", "zip as "+n, n, hidden())
		s.as("Z-15", "gz as "+n, n, gz(evil, program()))
	}
	s.as("Z-15", "gz of a zip", "a.zip.gz", gz("", hidden()))
	s.as("Z-15", "gz by its inner name", "a.gz", gz(evil, []byte("words\n")))
	s.as("Z-15", "gz by its outer name", mark+".exe.gz", gz("", program()))
	s.as("Z-15", "first volume", "a.zip.001", hidden()[:len(hidden())/2], "attachment.archive_opaque")
	s.as("Z-15", "second volume", "a.zip.002", hidden()[len(hidden())/2:], "attachment.archive_opaque")
	s.as("Z-15", "second volume of a rar", "a.r00", noise(500), "attachment.archive_opaque")
	var x bytes.Buffer
	xw, err := xz.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	xw.Write(tarOf(tar.Header{Name: evil}))
	xw.Close()
	s.as("Z-16", "tar.xz", mark+".tar.xz", x.Bytes())
	s.as("Z-16", "tar.zst", mark+".tar.zst", zw.EncodeAll(tarOf(tar.Header{Name: evil}), nil))
	madeByPrograms(t, s)
	polyglots(s)
	for i, b := range [][]byte{hidden()[:len(hidden())-30], hidden()[:len(hidden())/2], hidden()[:100], append([]byte("XX"), hidden()[2:]...), bytes.Replace(hidden(), []byte("PK\x01\x02"), []byte("XXXX"), 1), bytes.Replace(hidden(), []byte("PK\x03\x04"), []byte("XXXX"), 1)} {
		s.put("Z-19", fmt.Sprintf("damage %d", i), b, "attachment.archive_opaque", "attachment.archive_ambiguous")
	}
	s.as("Z-19", "gz cut", "a.gz", gz(evil, program())[:200], "attachment.archive_opaque")
	s.as("Z-19", "tgz cut", "a.tgz", gz("", tarOf(tar.Header{Name: evil}))[:300], "attachment.archive_opaque")
	below := b64(zipOf(file{name: "zeros.txt", data: zeros[:15<<20], deflate: true}))
	var many strings.Builder
	many.WriteString(top + mixed + "boundary=OO\n\n")
	for i := range 40 {
		fmt.Fprintf(&many, "--OO\nContent-Type: application/zip; name=a%d.zip\nContent-Transfer-Encoding: base64\n\n%s", i, below)
	}
	s.all = append(s.all, one{id: "Z-22", name: "40 archives below the bound", raw: many.String() + "--OO--\n", alone: true, want: []string{"attachment.bomb"}})
	return s.all
}

// polyglots are Z-17.
func polyglots(s *boxed) {
	for name, front := range map[string]string{"program": "MZ" + string(noise(4000)), "gif": "GIF89a" + string(noise(900)), "jpeg": "\xff\xd8\xff\xe0\x00\x10JFIF\x00" + string(noise(900)), "png": "\x89PNG\r\n\x1a\n" + string(noise(900)), "pdf": "%PDF-1.4\n1 0 obj\n<<>>\nendobj\n", "html": "<html><body>hello</body></html>", "text": strings.Repeat("words\n", 300), "mail": "From: a@b\r\nSubject: x\r\n\r\nhello\r\n", "mp3": "ID3\x03\x00" + string(noise(900)), "bmp": "BM" + string(noise(900)), "ole": "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + string(noise(2000)), "rtf": "{\\rtf1 hello}", "gz": string(gz("x", []byte("words"))), "wav": "RIFF\x00\x10\x00\x00WAVE" + string(noise(900)), "ico": "\x00\x00\x01\x00" + string(noise(900)), "tiff": "II*\x00" + string(noise(900)), "json": `{"a": "b"}`, "xml": "<?xml version='1.0'?><a/>"} {
		for _, as := range []string{"a." + name, "a.dat"} {
			s.as("Z-17", "zip behind "+name+" as "+as, as, cat([]byte(front), hidden()), "attachment.archive_ambiguous", "attachment.mismatch")
		}
	}
}

// madeByPrograms are containers of real programs (Z-06, Z-16).
func madeByPrograms(t *testing.T, s *boxed) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, evil), program(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, out string
		want    []string
		args    []string
	}{
		{"Z-16", "a.7z", nil, []string{"7z", "a", "a.7z", evil}}, {"Z-16", "a.iso", []string{"attachment.disk_image"}, []string{"genisoimage", "-quiet", "-J", "-R", "-o", "a.iso", evil}}, {"Z-16", "a.cab", nil, []string{"gcab", "-c", "a.cab", evil}},
		{"Z-16", "a.arj", nil, []string{"arj", "a", "-y", "a.arj", evil}}, {"Z-16", "a.a", nil, []string{"ar", "rc", "a.a", evil}}, {"Z-16", "a.cpio", nil, []string{"sh", "-c", "echo " + evil + " | cpio -o -H newc >a.cpio"}}, {"Z-16", "a.tar.bz2", nil, []string{"7z", "a", "-tbzip2", "a.tar.bz2", evil}}, {"Z-16", "a.wim", []string{"attachment.disk_image", "attachment.archive_opaque"}, []string{"7z", "a", "-twim", "a.wim", evil}},
		{"Z-06", "p.7z", []string{"attachment.archive_encrypted"}, []string{"7z", "a", "-psecret", "p.7z", evil}}, {"Z-06", "h.7z", []string{"attachment.archive_encrypted"}, []string{"7z", "a", "-psecret", "-mhe=on", "h.7z", evil}}, {"Z-06", "p.zip", []string{"attachment.archive_encrypted"}, []string{"zip", "-q", "-P", "secret", "p.zip", evil}}, {"Z-06", "aes.zip", []string{"attachment.archive_encrypted"}, []string{"7z", "a", "-tzip", "-psecret", "-mem=AES256", "aes.zip", evil}}, {"Z-16", "a.lzma.7z", nil, []string{"7z", "a", "-m0=lzma", "a.lzma.7z", evil}}, {"Z-16", "a.ppmd.7z", []string{"attachment.archive_opaque"}, []string{"7z", "a", "-m0=ppmd", "a.ppmd.7z", evil}}, {"Z-16", "b.zip", nil, []string{"7z", "a", "-tzip", "-mm=lzma", "b.zip", evil}}, {"Z-16", "c.zip", nil, []string{"7z", "a", "-tzip", "-mm=bzip2", "c.zip", evil}},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c.args, err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, c.out))
		if err != nil {
			t.Fatal(err)
		}
		s.as(c.id, c.out, c.out, data, c.want...)
		s.as(c.id, c.out+" as a picture", "a.jpg", data, append(c.want, "attachment.mismatch")...)
		s.as(c.id, c.out+" in a zip", mark+".zip", zipOf(file{name: c.out, data: data}), c.want...)
	}
}
