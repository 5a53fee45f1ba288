package archive

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// evil and good are what the two readings of an ambiguous zip hold.
const evil, good = "MZ this is the evil one", "this is the good one"

func gen(ms ...zm) *zipGen {
	g := &zipGen{}
	for _, m := range ms {
		g.add(m)
	}
	return g
}

// TestZipAmbiguous builds each class of "My ZIP isn't your ZIP" and others of
// attacks 2.Z: both readings are seen, and the difference is named.
func TestZipAmbiguous(t *testing.T) {
	e, o := []byte(evil), []byte(good)
	a, b := gen(zm{name: "good.txt", data: o}).end(), gen(zm{name: "evil.exe", data: e}).end()
	wide := func() []byte {
		g := gen(zm{name: "good.txt", data: o})
		first, n := g.dir.Bytes(), g.b.Len()
		h := gen(zm{name: "evil.exe", data: e, offset: u32(uint32(n))})
		body := cat(g.b.Bytes(), h.b.Bytes())
		at1 := len(body)
		at2 := at1 + len(first)
		body = cat(body, first, h.dir.Bytes())
		return cat(body, wideRec(1, h.dir.Len(), at2, len(body)), endRec(1, len(first), at1))
	}
	for _, c := range []struct {
		name string
		data []byte
		want []string // pairs of name and content
		ids  []string
	}{
		{"Z-01 good+evil", cat(a, b), []string{"good.txt", good, "evil.exe", evil}, []string{"zip-concatenated"}},
		{"Z-01 evil+good", cat(b, a), []string{"good.txt", good, "evil.exe", evil}, []string{"zip-concatenated"}},
		{"Z-01 three sizes", cat(goZip(t, "x.txt", string(text(3000))), b, a), []string{"x.txt", "quick", "evil.exe", evil, "good.txt", good}, []string{"zip-concatenated"}},
		{"Z-02 local name", gen(zm{name: "good.txt", lname: "evil.exe", data: e}).end(), []string{"good.txt", evil, "evil.exe", evil}, []string{"zip-names-differ"}},
		{"Z-02 unicode path", gen(zm{name: "good.txt", data: e, extra: upath("good.txt", "evil.exe")}).end(), []string{"good.txt", evil, "evil.exe", evil}, []string{"zip-unicode-path"}},
		{"Z-02 stale unicode path", gen(zm{name: "good.txt", data: e, extra: upath("other", "good.txt")}).end(), []string{"good.txt", evil}, []string{"zip-unicode-path"}},
		{"Z-02 unicode paths differ", gen(zm{name: "g?.txt", data: e, extra: upath("g?.txt", "g\u00f1.txt"), lextra: upath("g?.txt", "e\u00f1.txt")}).end(), []string{"g\u00f1.txt", "", "e\u00f1.txt", ""}, []string{"zip-names-differ"}},
		{"Z-02 efs", gen(zm{name: "a\u00f1.txt", data: e, flags: flagUTF8, lflags: 1 << 15}).end(), []string{"a\u00f1.txt", evil}, []string{"zip-flags-differ"}},
		{"Z-03 hidden local", gen(zm{name: "good.txt", data: o}, zm{name: "evil.exe", data: e, noCentral: true}).end(), []string{"evil.exe", evil, "good.txt", good}, []string{"zip-hidden-member"}},
		{"Z-03 hidden local first", gen(zm{name: "evil.exe", data: e, noCentral: true}, zm{name: "good.txt", data: o}).end(), []string{"evil.exe", evil, "good.txt", good}, []string{"zip-hidden-member"}},
		{"Z-03 empty directory", gen(zm{name: "evil.exe", data: e, noCentral: true}).end(), []string{"evil.exe", evil}, []string{"zip-hidden-member"}},
		{"Z-03 directory without member", gen(zm{name: "good.txt", data: o}, zm{name: "evil.exe", data: e, noLocal: true}).end(), []string{"evil.exe", "", "good.txt", good}, []string{"zip-missing-member"}},
		{"Z-05 method", gen(zm{name: "x", data: e, packed: deflate(e), method: stored, lmethod: u16(deflated), usize: u32(uint32(len(deflate(e))))}).end(), []string{"x", evil}, []string{"zip-method-differs"}},
		{"Z-05 sizes zero", gen(zm{name: "x", data: nil, packed: e, csize: u32(0)}).end(), []string{"x", evil}, []string{"zip-gap"}},
		{"Z-05 local size", gen(zm{name: "x", data: e, lcsize: u32(2), lusize: u32(2)}).end(), []string{"x", evil}, []string{"zip-sizes-differ"}},
		{"Z-05 size too large", gen(zm{name: "x", data: e, usize: u32(9999)}).end(), []string{"x", evil}, []string{"zip-sizes-differ"}},
		{"Z-05 negative size", gen(zm{name: "x", data: e, csize: u32(0xfffffffe), usize: u32(0xfffffffe)}).end(), []string{"x", evil}, []string{"corrupt"}},
		{"Z-05 deflate goes on", gen(zm{name: "x", data: e, method: deflated, packed: cat(deflate(e), []byte("rest"))}).end(), []string{"x", evil}, []string{"zip-sizes-differ"}},
		{"Z-05 crc differs", gen(zm{name: "x", data: e, lcrc: u32(1)}).end(), []string{"x", evil}, []string{"zip-crc-differs"}},
		{"Z-05 wrong crc", gen(zm{name: "x", data: e, crc: u32(1)}).end(), []string{"x", evil}, []string{"corrupt"}},
		{"Z-05 descriptor lies", gen(zm{name: "x", data: e, flags: 8, lcsize: u32(0), lusize: u32(0), lcrc: u32(0), descriptor: []byte(descSign + "xxxxyyyyzzzz")}).end(), []string{"x", evil}, []string{"zip-descriptor"}},
		{"Z-05 truncated stream", gen(zm{name: "x", data: text(9000), method: deflated, packed: deflate(text(9000))[:40]}).end(), []string{"x", ""}, []string{"corrupt"}},
		{"Z-06 flag in one header", gen(zm{name: "x", data: e, flags: 1, lflags: 1 << 15}).end(), []string{"x", evil}, []string{"zip-flags-differ", "encrypted"}},
		{"Z-07 duplicate", gen(zm{name: "x.txt", data: o}, zm{name: "x.txt", data: e}).end(), []string{"x.txt", good, "x.txt", evil}, []string{"zip-duplicate"}},
		{"Z-07 canonical", gen(zm{name: "x.txt", data: o}, zm{name: "a/../x.txt", data: e}).end(), []string{"x.txt", good, "a/../x.txt", evil}, []string{"zip-duplicate-path"}},
		{"Z-07 slashes", gen(zm{name: "a/x.txt", data: o}, zm{name: "a\\x.txt", data: e}).end(), []string{"a/x.txt", good, "a\\x.txt", evil}, []string{"zip-duplicate-path", "zip-backslash"}},
		{"Z-07 dots", gen(zm{name: "x.exe", data: o}, zm{name: "x.exe. .", data: e}).end(), []string{"x.exe", good, "x.exe. .", evil}, []string{"zip-duplicate-path"}},
		{"Z-07 case", gen(zm{name: "x.txt", data: o}, zm{name: "X.TXT", data: e}).end(), []string{"x.txt", good, "X.TXT", evil}, []string{"zip-duplicate-case"}},
		{"Z-07 folder with data", gen(zm{name: "x/", data: e}).end(), []string{"x/", evil}, []string{"zip-directory-data"}},
		{"Z-07 folder and file", gen(zm{name: "x/", data: nil}, zm{name: "x", data: e}).end(), []string{"x", evil}, []string{"zip-duplicate-path"}},
		{"Z-08 nul", gen(zm{name: "evil.exe\x00.txt", data: e}).end(), []string{"evil.exe", evil, "evil.exe\x00.txt", evil}, []string{"name-nul"}},
		{"comment with an end", func() []byte {
			g := gen(zm{name: "good.txt", data: o})
			g.comment = cat([]byte("note "), gen(zm{name: "evil.exe", data: e}).end())
			return g.end()
		}(), []string{"good.txt", good, "evil.exe", evil}, []string{"zip-concatenated"}},
		{"comment with a bare end", func() []byte {
			g := gen(zm{name: "good.txt", data: o})
			g.comment = endRec(0, 0, 0)
			return g.end()
		}(), []string{"good.txt", good}, []string{"zip-concatenated"}},
		{"zip64 disagrees", wide(), []string{"good.txt", good, "evil.exe", evil}, []string{"zip64-disagrees"}},
		{"count too small", func() []byte {
			b := gen(zm{name: "good.txt", data: o}, zm{name: "evil.exe", data: e}).end()
			binary.LittleEndian.PutUint16(b[len(b)-14:], 1)
			binary.LittleEndian.PutUint16(b[len(b)-12:], 1)
			return b
		}(), []string{"good.txt", good, "evil.exe", evil}, []string{"zip-hidden-directory"}},
		{"count too large", func() []byte {
			b := gen(zm{name: "good.txt", data: o}).end()
			binary.LittleEndian.PutUint16(b[len(b)-12:], 3)
			return b
		}(), []string{"good.txt", good}, []string{"zip-count"}},
		{"prefix", cat([]byte("some text in front\n"), a), []string{"good.txt", good}, []string{"polyglot"}},
		{"70 KB of zeros behind", cat(b, make([]byte, 70<<10)), []string{"evil.exe", evil}, []string{"zip-trailing"}},
		{"text behind", cat(b, text(300)), []string{"evil.exe", evil}, []string{"zip-trailing"}},
		{"a local header behind", cat(a, gen(zm{name: "evil.exe", data: e}).b.Bytes()), []string{"good.txt", good, "evil.exe", evil}, []string{"zip-hidden-member"}},
		{"overlap", func() []byte {
			inner := gen(zm{name: "in.txt", data: o}).b.Bytes()
			g := gen(zm{name: "out.bin", data: inner})
			return g.add(zm{name: "in.txt", data: o, noLocal: true, offset: u32(30 + 7)}).end()
		}(), []string{"out.bin", "", "in.txt", good}, []string{"zip-overlap"}},
		{"gap", func() []byte {
			g := gen(zm{name: "a", data: o})
			g.b.WriteString("something that nobody explains")
			return g.add(zm{name: "b", data: e}).end()
		}(), []string{"a", good, "b", evil}, []string{"zip-gap"}},
		{"no directory", gen(zm{name: "x.exe", data: e}).b.Bytes(), []string{"x.exe", evil}, []string{"zip-no-directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := walk(t, c.data)
			r.mustHave(t, c.want...)
			r.mustFlag(t, c.ids...)
			if strings.Contains(strings.Join(c.ids, " "), "case") {
				return
			}
			for _, g := range r.grades() {
				if g != Odd {
					return
				}
			}
			t.Errorf("nothing is stronger than odd: %v", r.ids())
		})
	}
}

// TestZipOrdinaryForms are layouts that ordinary writers make.
func TestZipOrdinaryForms(t *testing.T) {
	o := []byte(good)
	desc := func(sign string) []byte {
		var b bytes.Buffer
		h := gen(zm{name: "x", data: o})
		put(&b, sign, h.dir.Bytes()[16:28])
		return b.Bytes()
	}
	zeros := zm{name: "x", data: o, flags: 8, lcsize: u32(0), lusize: u32(0), lcrc: u32(0)}
	with := func(d []byte) zm { m := zeros; m.descriptor = d; return m }
	ascii := zm{name: "x", data: o, flags: flagUTF8, lflags: 1 << 15}
	align := gen(zm{name: "a", data: o})
	align.b.Write(make([]byte, 12))
	apk := gen(zm{name: "a", data: o})
	apk.b.WriteString("\x30\x00\x00\x00\x00\x00\x00\x00signature\x30\x00\x00\x00\x00\x00\x00\x00APK Sig Block 42")
	for name, b := range map[string][]byte{
		"go":                          goZip(t, "a.txt", good, "dir/", "", "dir/b.txt", good),
		"descriptor with a sign":      gen(with(desc(descSign))).end(),
		"descriptor without a sign":   gen(with(desc(""))).end(),
		"flag for letters in one":     gen(ascii).end(),
		"empty":                       endRec(0, 0, 0),
		"comment":                     func() []byte { g := gen(zm{name: "a", data: o}); g.comment = []byte("hello"); return g.end() }(),
		"single volume mark":          cat([]byte("PK00"), func() []byte { return gen(zm{name: "a", data: o}).end() }()),
		"new line behind":             cat(gen(zm{name: "a", data: o}).end(), []byte("\r\n")),
		"padded to a sector":          cat(gen(zm{name: "a", data: o}).end(), make([]byte, 400)),
		"aligned":                     align.add(zm{name: "b", data: o}).end(),
		"signed package":              apk.end(),
		"folders twice":               gen(zm{name: "d/"}, zm{name: "d/"}, zm{name: "d/a", data: o}).end(),
		"jar extra":                   gen(zm{name: "META-INF/", extra: []byte("\xfe\xca\x00\x00")}, zm{name: "a", data: o}).end(),
		"stored zip in a zip":         gen(zm{name: "in.zip", data: goZip(t, "a", good)}).end(),
		"old name and unicode path":   gen(zm{name: "a?o.txt", data: o, extra: upath("a?o.txt", "a\u00f1o.txt")}).end(),
		"name in the letters of DOS":  gen(zm{name: "a\xa4o.txt", data: o}).end(),
		"sizes in zip64 of a stream":  gen(zm{name: "x", data: o, flags: 8, lcsize: u32(1<<32 - 1), lusize: u32(1<<32 - 1), lcrc: u32(0), descriptor: desc(descSign)}).end(),
		"folder of DOS without slash": gen(zm{name: "d", attr: 0x10}).end(),
	} {
		t.Run(name, func(t *testing.T) { walk(t, b).mustBeOrdinary(t) })
	}
	if r := walk(t, gen(zm{name: "a\xa4o.txt", data: o}).end()); !r.has("a\u00f1o.txt", good) {
		t.Errorf("DOS letters: %q", r.names())
	}
}

// TestZ06 reads what real programs encrypt: the names are judged all the same.
func TestZ06(t *testing.T) {
	for name, cmd := range map[string]string{
		"zipcrypto":    "zip -q -P secret a.out hello.txt",
		"mixed":        "zip -q -P secret a.out hello.txt && zip -q a.out sub/long.txt",
		"aes":          "7z a -tzip -mem=AES256 -psecret a.zip hello.txt >/dev/null && mv a.zip a.out",
		"7z":           "7z a -psecret a.7z hello.txt >/dev/null && mv a.7z a.out",
		"arj":          "arj a -m0 -y -gsecret a.arj hello.txt >/dev/null && mv a.arj a.out",
		"zip in a zip": "zip -q -P secret in.zip hello.txt && zip -q a.out in.zip",
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			run(t, dir, "sh", "-ec", cmd)
			r := walk(t, readFile(t, dir, "a.out"))
			r.mustFlag(t, "encrypted")
			ok := false
			for _, e := range r.entries {
				if strings.EqualFold(e.Names[0], "hello.txt") {
					ok = e.Encrypted && e.content == ""
				}
			}
			if !ok || r.flagged("corrupt") {
				t.Errorf("names %q, defects %v", r.names(), r.ids())
			}
		})
	}
	dir := folder(t)
	run(t, dir, "7z", "a", "-psecret", "-mhe=on", "a.7z", "hello.txt")
	walk(t, readFile(t, dir, "a.7z")).mustFlag(t, "encrypted-directory")
	masked := gen(zm{name: "1", data: noise(40), flags: flagMasked | flagStrong | 1}).b.Bytes()
	masked = cat(masked, noise(100), endRec(1, 90, len(masked)))
	walk(t, masked).mustFlag(t, "encrypted-directory")
}

// TestZ08Z09 judges names that lead elsewhere or look like commands, and
// watches that none of them is ever made.
func TestZ08Z09(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	names := []string{"../../evil", "/etc/evil", "C:\\evil", "\\\\host\\share\\evil", "a/../../evil", "`touch x`.txt",
		"$(touch y)", "'; touch z;'", "-rf", "--checkpoint-action=exec=sh", "|touch w", "new\nline", "~/evil"}
	var pairs []string
	for _, n := range names {
		pairs = append(pairs, n, good)
	}
	r := walk(t, goZip(t, pairs...))
	for _, n := range names {
		r.mustHave(t, n, good)
	}
	r.mustFlag(t, "name-escapes", "name-absolute", "name-control", "zip-backslash")
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("files appeared: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "..", "evil")); err == nil {
		t.Error("a name led out")
	}
}

// TestZ17 appends archives to other files.
func TestZ17(t *testing.T) {
	z := gen(zm{name: "evil.exe", data: []byte(evil)}).end()
	dir := folder(t)
	run(t, dir, "sh", "-ec", "7z a a.7z hello.txt >/dev/null; gcab -c a.cab hello.txt; tar cf a.tar hello.txt; gzip -k hello.txt")
	seven, cab, tar, gz := readFile(t, dir, "a.7z"), readFile(t, dir, "a.cab"), readFile(t, dir, "a.tar"), readFile(t, dir, "hello.txt.gz")
	ole := cat([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 2000))
	for _, c := range []struct {
		name string
		data []byte
		want string
		id   string
	}{
		{"program and zip", cat([]byte("MZ"), noise(5000), z), "evil.exe", "self-extracting"},
		{"picture and zip", cat([]byte("GIF89a"), noise(5000), z), "evil.exe", "polyglot"},
		{"pdf and zip", cat([]byte("%PDF-1.7\n"), noise(5000), z), "evil.exe", "polyglot"},
		{"pdf around a zip", cat([]byte("%PDF-1.7\n"), z, noise(90_000)), "evil.exe", "embedded"},
		{"html and zip", cat([]byte("<html><body>"), z, []byte("</html>")), "evil.exe", "polyglot"},
		{"text and zip", cat([]byte("From: a\r\nTo: b\r\n\r\n"), z), "evil.exe", "polyglot"},
		{"zip and html", cat(z, []byte("<html><script>")), "evil.exe", "zip-trailing"},
		{"document and zip", cat(ole, z), "evil.exe", "embedded"},
		{"tar and zip", cat(tar, z), "evil.exe", "polyglot"},
		{"7z and zip", cat(seven, z), "evil.exe", "polyglot"},
		{"cab and zip", cat(cab, z), "evil.exe", "polyglot"},
		{"gz and zip", cat(gz, z), "evil.exe", "polyglot"},
		{"program and 7z", cat([]byte("MZ"), noise(5000), seven), "hello.txt", "self-extracting"},
		{"program and cab", cat([]byte("MZ"), noise(5000), cab), "hello.txt", "self-extracting"},
		{"picture and rar", cat([]byte("\xff\xd8\xff"), noise(500), rar4(rf{name: "hello.txt", data: []byte(good)})), "hello.txt", "embedded"},
		{"7z and 7z", cat(seven, seven), "hello.txt", "trailing-archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := walk(t, c.data)
			r.mustHave(t, c.want, "")
			r.mustFlag(t, c.id)
		})
	}
	// a tar or an image that holds a zip is no polyglot
	writeFile(t, dir, "in.zip", z)
	run(t, dir, "sh", "-ec", "rm -f *.tar; tar cf b.tar in.zip; mkdir i; cp in.zip i; genisoimage -quiet -o b.iso i; ar rc b.a in.zip; ls in.zip | cpio -o -H newc --quiet > b.cpio; 7z a -mx=0 b.7z in.zip >/dev/null")
	for _, f := range []string{"b.tar", "b.iso", "b.a", "b.cpio", "b.7z"} {
		r := walk(t, readFile(t, dir, f))
		r.mustBeOrdinary(t)
		r.mustHave(t, "evil.exe", evil)
	}
}
