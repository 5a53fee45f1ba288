package archive

import (
	"bytes"
	"encoding/binary"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRAR reads archives of our own making, of both forms.
func TestRAR(t *testing.T) {
	for name, b := range map[string][]byte{
		"rar4": rar4(rf{name: "hello.txt", data: []byte(good)}, rf{name: "evil.exe", data: []byte(evil)}),
		"rar5": rar5(rf{name: "hello.txt", data: []byte(good)}, rf{name: "evil.exe", data: []byte(evil)}),
	} {
		r := walk(t, b)
		r.mustHave(t, "hello.txt", good, "evil.exe", evil)
		if len(r.defects) != 0 {
			t.Errorf("%s: %v", name, r.ids())
		}
	}
	r := walk(t, rar4(rf{name: "evil.exe", data: []byte(evil), flags: 4}))
	r.mustHave(t, "evil.exe", "")
	r.mustFlag(t, "encrypted")
	walk(t, rar4(rf{name: "evil.exe", data: []byte(evil), flags: 2})).mustFlag(t, "volume")
	locked := cat([]byte("Rar!\x1a\x07\x00"), block4(0x73, 0x80, make([]byte, 6), noise(100)))
	walk(t, locked).mustFlag(t, "encrypted-directory")
	walk(t, cat([]byte("Rar!\x1a\x07\x01\x00"), block5(cat([]byte{4, 0, 0, 0, 15}, noise(16))), noise(100))).mustFlag(t, "encrypted-directory")
}

// lha0 is a stored member of level 0, lha2 of level 2.
func lha0(name, content string) []byte {
	var b bytes.Buffer
	put(&b, "-lh0-", uint32(len(content)), uint32(len(content)), uint32(0), byte(0x20), byte(0), byte(len(name)), name, uint16(0))
	return cat([]byte{byte(b.Len()), 0}, b.Bytes(), []byte(content))
}

func lha2(name, content string) []byte {
	var b bytes.Buffer
	put(&b, "-lh0-", uint32(len(content)), uint32(len(content)), uint32(0), byte(0x20), byte(2), uint16(0), byte('U'),
		uint16(len(name)+3), byte(1), name, uint16(0))
	return cat(binary.LittleEndian.AppendUint16(nil, uint16(b.Len()+2)), b.Bytes(), []byte(content))
}

func lha1(name, content string) []byte {
	var b bytes.Buffer
	put(&b, "-lh0-", uint32(len(content)+3+len("folder")+1), uint32(len(content)), uint32(0), byte(0x20), byte(1), byte(len(name)), name,
		uint16(0), byte('U'), uint16(3+len("folder")+1))
	head := cat([]byte{byte(b.Len()), 0}, b.Bytes())
	var x bytes.Buffer
	put(&x, byte(2), "folder\xff", uint16(0))
	return cat(head, x.Bytes(), []byte(content))
}

// TestOld reads the archives of the nineties.
func TestOld(t *testing.T) {
	for _, b := range [][]byte{lha0("evil.exe", evil), lha2("evil.exe", evil)} {
		r := walk(t, cat(b, lha0("two", good), []byte{0}))
		r.mustHave(t, "evil.exe", evil, "two", good)
		r.mustBeOrdinary(t)
	}
	walk(t, cat(lha1("evil.exe", evil), []byte{0})).mustHave(t, "folder/evil.exe", evil)
	packed := bytes.Replace(lha0("evil.exe", evil), []byte("-lh0-"), []byte("-lh5-"), 1)
	r := walk(t, packed)
	r.mustHave(t, "evil.exe", "")
	r.mustFlag(t, "unsupported")
	// ACE: a main header and one stored file
	var m, f bytes.Buffer
	put(&m, byte(0), uint16(0), "**ACE**", make([]byte, 20))
	put(&f, byte(1), uint16(1), uint32(len(evil)), uint32(len(evil)), uint32(0), uint32(0x20), uint32(0), uint32(0), uint16(0), uint16(8), "evil.exe")
	block := func(b []byte) []byte {
		return cat([]byte{0, 0}, binary.LittleEndian.AppendUint16(nil, uint16(len(b))), b)
	}
	walk(t, cat(block(m.Bytes()), block(f.Bytes()), []byte(evil))).mustHave(t, "evil.exe", evil)
	// ZOO
	var z bytes.Buffer
	put(&z, "ZOO 2.10 Archive.\x1a\x00\x00", uint32(0xfdc4a7dc), uint32(34), uint32(0), uint16(0))
	entry := func(next, at int, name string) []byte {
		var e bytes.Buffer
		put(&e, uint32(0xfdc4a7dc), byte(1), byte(0), uint32(next), uint32(at), uint32(0), uint16(0), uint32(len(evil)), uint32(len(evil)),
			uint16(0), uint16(0), uint32(0), uint16(0), name, make([]byte, 13-len(name)))
		return e.Bytes()
	}
	one := entry(34+51+len(evil), 34+51, "evil.exe")
	walk(t, cat(z.Bytes(), one, []byte(evil), entry(0, 0, ""))).mustHave(t, "evil.exe", evil)
}

// TestZ16 knows containers whose names are not read: they are opaque.
func TestZ16(t *testing.T) {
	zeros := make([]byte, 40_000)
	at := func(i int, s string) []byte { b := bytes.Clone(zeros); copy(b[i:], s); return b }
	msi := cat(at(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")[:2048])
	msi[30], msi[48] = 9, 1
	copy(msi[1024+80:], "\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")
	fat := at(0, "\xeb\x3c\x90MSDOS5.0")
	copy(fat[54:], "FAT12   ")
	copy(fat[510:], "\x55\xaa")
	for name, b := range map[string][]byte{
		"chm": at(0, "ITSF"), "wim": at(0, "MSWIM\x00\x00\x00"), "dmg": at(40_000-512, "koly"), "xar": at(0, "xar!"),
		"vhd": at(40_000-512, "conectix"), "vhdx": at(0, "vhdxfile"), "udf": at(32769, "BEA01"), "msi": msi, "img": fat,
		"alz": at(0, "ALZ\x01"), "egg": at(0, "EGGA"), "sit": at(0, "SIT!"), "installshield": at(0, "ISc("),
		"vmdk": at(0, "KDMV"), "squashfs": at(0, "hsqs"), "rar1": at(0, "RE\x7e\x5e"),
	} {
		r := walk(t, b)
		r.mustFlag(t, "unsupported")
		if len(r.defects) != 1 || r.defects[0].Text != name {
			t.Errorf("%s: %+v", name, r.defects)
		}
	}
	dir := t.TempDir()
	writeFile(t, dir, "i/hello.txt", []byte(good))
	run(t, dir, "genisoimage", "-quiet", "-udf", "-J", "-o", "a.iso", "i")
	r := walk(t, readFile(t, dir, "a.iso"))
	r.mustFlag(t, "iso-udf")
	r.mustHave(t, "hello.txt", good)
}

// TestZ15 splits archives and renames streams.
func TestZ15(t *testing.T) {
	dir := folder(t)
	run(t, dir, "sh", "-ec", "7z a -v20k a.7z . >/dev/null; 7z a -v20k -tzip b.zip . >/dev/null; zip -q -s 64k -r c.zip sub; cp hello.txt evil.exe; gzip evil.exe; mv evil.exe.gz picture.jpg")
	walk(t, readFile(t, dir, "a.7z.001")).mustFlag(t, "volume")
	walk(t, readFile(t, dir, "b.zip.001")).mustFlag(t, "zip-no-directory")
	walk(t, readFile(t, dir, "c.z01")).mustFlag(t, "volume")
	walk(t, readFile(t, dir, "c.zip")).mustFlag(t, "volume")
	walk(t, readFile(t, dir, "picture.jpg")).mustHave(t, "evil.exe", "hello, world")
	two := cat(gz([]byte(good)), gz([]byte(evil)))
	r := walk(t, two)
	if len(r.entries) != 1 || r.entries[0].content != good+evil {
		t.Errorf("two members: %+v", r.entries)
	}
}

// TestISOViews joins the names of all views.
func TestISOViews(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "i/A long name with ñ.exe", []byte(evil))
	writeFile(t, dir, "i/deep/er/x.txt", []byte(good))
	run(t, dir, "sh", "-ec", "ln -s /etc/passwd i/link; genisoimage -quiet -J -R -hide-joliet x.txt -o a.iso i")
	r := walk(t, readFile(t, dir, "a.iso"))
	r.mustHave(t, "A long name with ñ.exe", evil, "A_LONG_N.EXE", evil, "deep/er/x.txt", good)
	if !slices.ContainsFunc(r.entries, func(e seen) bool { return e.Names[0] == "link" && e.Link && e.LinkTo == "/etc/passwd" }) {
		t.Error("the link was not seen")
	}
	r.mustFlag(t, "iso-names")
}

// TestRPM builds lead, signature, header and a payload as rpm does.
func TestRPM(t *testing.T) {
	dir := folder(t)
	run(t, dir, "sh", "-ec", "echo hello.txt | cpio -o -H newc --quiet | gzip > p")
	head := make([]byte, 96)
	copy(head, "\xed\xab\xee\xdb\x03")
	sec := []byte("\x8e\xad\xe8\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03abc")
	pad := make([]byte, 5)
	walk(t, cat(head, sec, pad, sec, readFile(t, dir, "p"))).mustHave(t, "hello.txt", "hello, world")
}

// TestNoArchive wants nothing of what is none, however large.
func TestNoArchive(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("PK"), []byte("hello"), text(1 << 20), noise(1 << 20), make([]byte, 1<<20), []byte("%PDF-1.4\nPK\x05\x06")} {
		if r := walk(t, b); len(r.entries)+len(r.defects) != 0 {
			t.Errorf("%.10q: %v %q", b, r.ids(), r.names())
		}
	}
}

// TestHarmless holds the package to its promise: it opens no file and starts
// no program.
func TestHarmless(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		p, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			switch i.Path.Value {
			case `"os"`, `"os/exec"`, `"syscall"`, `"io/ioutil"`, `"net"`:
				t.Errorf("%s imports %s", f, i.Path.Value)
			}
		}
	}
}

// TestDefectTable compares the table with the code that tells defects, and
// with the page about them.
func TestDefectTable(t *testing.T) {
	page, err := os.ReadFile("../docs/archives.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "_test.go") && f != "defects.go" {
			code.Write(b)
		}
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile(`flag\("([a-z0-9-]+)"`).FindAllStringSubmatch(code.String(), -1) {
		told[m[1]] = true
		if Meaning(m[1]) == "" {
			t.Errorf("defect %s is not in the table", m[1])
		}
	}
	for _, r := range table() {
		if !told[r.id] {
			t.Errorf("defect %s is never told", r.id)
		}
		if line := "| `" + r.id + "` | " + r.grade.String() + " | " + r.meaning + " |"; !strings.Contains(string(page), line) {
			t.Errorf("docs/archives.md lacks the line\n%s", line)
		}
	}
	if n := strings.Count(string(page), "\n| `"); n != len(table()) {
		t.Errorf("docs/archives.md has %d defects, the code %d", n, len(table()))
	}
}
