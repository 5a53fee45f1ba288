package document

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
	"testing"
	"unicode/utf16"

	"garita/filetype"
)

// inspect gives the traits of data whose type nobody knows.
func inspect(data []byte) []Trait {
	return Inspect(context.Background(), filetype.Type{}, data, DefaultLimits())
}

// ids lists the IDs of traits, sorted, each once.
func ids(traits []Trait) []string {
	var out []string
	for _, t := range traits {
		out = appendNew(out, t.ID)
	}
	sort.Strings(out)
	return out
}

func has(traits []Trait, id string) bool {
	for _, t := range traits {
		if t.ID == id {
			return true
		}
	}
	return false
}

// trait gives the first trait of that ID.
func trait(t *testing.T, traits []Trait, id string) Trait {
	t.Helper()
	for _, tr := range traits {
		if tr.ID == id {
			return tr
		}
	}
	t.Fatalf("no trait %s in %v", id, ids(traits))
	return Trait{}
}

// node is a storage or stream of a compound file to be made.
type node struct {
	name  string
	data  []byte
	clsid string
	in    []node // not nil: a storage
}

// makeCompound writes a compound file of version 3: siblings in a list, streams
// under 4096 octets in the mini stream.
func makeCompound(children ...node) []byte {
	type dirent struct {
		node
		child, right, start uint32
		size                int
		kind                byte
	}
	const none = 0xFFFFFFFF
	ents := []dirent{{node: node{name: "Root Entry"}, kind: 5, child: none, right: none}}
	var place func(list []node) uint32
	place = func(list []node) uint32 {
		first := uint32(none)
		for i := len(list) - 1; i >= 0; i-- {
			n := list[i]
			d := dirent{node: n, right: first, child: none, kind: 2}
			if n.in != nil {
				d.kind = 1
			}
			ents = append(ents, d)
			at := uint32(len(ents) - 1)
			if n.in != nil {
				ents[at].child = place(n.in)
			}
			first = at
		}
		return first
	}
	ents[0].child = place(children)
	var mini []byte
	var minifat, fat []uint32
	var sectors []byte
	chain := func(data []byte) uint32 {
		if len(data) == 0 {
			return 0xFFFFFFFE
		}
		start := uint32(len(fat))
		for from := 0; from < len(data); from += 512 {
			s := make([]byte, 512)
			copy(s, data[from:])
			sectors = append(sectors, s...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = 0xFFFFFFFE
		return start
	}
	for i := range ents {
		d := &ents[i]
		d.size = len(d.data)
		if d.kind != 2 {
			continue
		}
		if d.size >= 4096 {
			d.start = chain(d.data)
			continue
		}
		d.start = uint32(len(minifat))
		for from := 0; from < d.size; from += 64 {
			s := make([]byte, 64)
			copy(s, d.data[from:])
			mini = append(mini, s...)
			minifat = append(minifat, uint32(len(minifat)+1))
		}
		if d.size > 0 {
			minifat[len(minifat)-1] = 0xFFFFFFFE
		}
	}
	ents[0].start, ents[0].size = chain(mini), len(mini)
	words := func(list []uint32) []byte {
		var b []byte
		for _, w := range list {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		for len(b)%512 != 0 {
			b = append(b, 0xFF)
		}
		return b
	}
	minifatAt := chain(words(minifat))
	var dir []byte
	for _, d := range ents {
		e := make([]byte, 128)
		name := utf16.Encode([]rune(d.name))
		for i, u := range name {
			binary.LittleEndian.PutUint16(e[2*i:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(name)+2))
		e[66], e[67] = d.kind, 1
		binary.LittleEndian.PutUint32(e[68:], none)
		binary.LittleEndian.PutUint32(e[72:], d.right)
		binary.LittleEndian.PutUint32(e[76:], d.child)
		copy(e[80:], d.clsid)
		binary.LittleEndian.PutUint32(e[116:], d.start)
		binary.LittleEndian.PutUint32(e[120:], uint32(d.size))
		dir = append(dir, e...)
	}
	dirAt := chain(dir)
	fatSectors := 1
	for (len(fat)+fatSectors+127)/128 > fatSectors {
		fatSectors++
	}
	head := make([]byte, 512)
	copy(head, oleSignature)
	binary.LittleEndian.PutUint16(head[24:], 0x3E)
	binary.LittleEndian.PutUint16(head[26:], 3)
	binary.LittleEndian.PutUint16(head[28:], 0xFFFE)
	binary.LittleEndian.PutUint16(head[30:], 9)
	binary.LittleEndian.PutUint16(head[32:], 6)
	binary.LittleEndian.PutUint32(head[44:], uint32(fatSectors))
	binary.LittleEndian.PutUint32(head[48:], dirAt)
	binary.LittleEndian.PutUint32(head[56:], 4096)
	binary.LittleEndian.PutUint32(head[60:], minifatAt)
	binary.LittleEndian.PutUint32(head[64:], uint32((len(minifat)+127)/128))
	binary.LittleEndian.PutUint32(head[68:], 0xFFFFFFFE)
	for i := 76; i < 512; i += 4 {
		binary.LittleEndian.PutUint32(head[i:], none)
	}
	for i := range fatSectors {
		binary.LittleEndian.PutUint32(head[76+4*i:], uint32(len(fat)))
		fat = append(fat, 0xFFFFFFFD)
	}
	return append(append(head, sectors...), words(fat)...)
}

// compressVBA writes a compressed container of literals, with one copy where the
// text repeats its last three octets.
func compressVBA(src string) []byte {
	out := []byte{1}
	for len(src) > 0 {
		part := src[:min(len(src), 3000)]
		src = src[len(part):]
		var chunk []byte
		for len(part) > 0 {
			n := min(8, len(part))
			chunk = append(append(chunk, 0), part[:n]...)
			part = part[n:]
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(0xB000|(len(chunk)+2-3)))
		out = append(out, chunk...)
	}
	return out
}

// vbaStorage is a VBA project with one module of that source.
func vbaStorage(name, source string) node {
	return node{name: name, in: []node{
		{name: "PROJECT", data: []byte("ID=\"{0}\"\r\n")},
		{name: "VBA", in: []node{
			{name: "dir", data: compressVBA("\x01\x00\x04\x00")},
			{name: "_VBA_PROJECT", data: []byte("\xcc\x61\xff\xff\x00")},
			{name: "ThisDocument", data: append([]byte("compiled form\x00\x00"), compressVBA("Attribute VB_Name = \"ThisDocument\"\r\n"+source)...)},
		}}}}
}

const autoSource = "Private Sub Document_Open()\r\nSet o = CreateObject(\"WScript.\" & \"Shell\")\r\nShell \"calc\"\r\nEnd Sub\r\n"

// makeZip writes a package: name, content, name, content.
func makeZip(parts ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(parts); i += 2 {
		w, err := z.Create(parts[i])
		if err != nil {
			panic(err)
		}
		w.Write([]byte(parts[i+1]))
	}
	z.Close()
	return b.Bytes()
}

const (
	contentTypes = `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`
	wordBody     = `<?xml version="1.0"?><w:document xmlns:w="w"><w:body><w:p><w:r><w:t>Dear all, DDEAUTO is a word.</w:t></w:r></w:p></w:body></w:document>`
)

func relations(rels ...string) string {
	return `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + strings.Join(rels, "") + `</Relationships>`
}

func relation(kind, target, mode string) string {
	return fmt.Sprintf(`<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%s" Target="%s" TargetMode="%s"/>`, kind, target, mode)
}

// makeWord writes a docx with more parts.
func makeWord(parts ...string) []byte {
	return makeZip(append([]string{"[Content_Types].xml", contentTypes, "_rels/.rels", relations(relation("officeDocument", "word/document.xml", "Internal")), "word/document.xml", wordBody}, parts...)...)
}

// makePDF writes a PDF of these objects, numbered from 1.
func makePDF(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	for i, o := range objects {
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n0\n%%%%EOF\n", len(objects)+1)
	return b.Bytes()
}

func deflated(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

func pdfStream(dict, data string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

// makePackage is what the packager writes into Ole10Native.
func makePackage(name string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x02\x00" + name + "\x00C:\\Users\\x\\" + name + "\x00\x00\x00\x03\x00")
	temp := "C:\\Temp\\" + name + "\x00"
	binary.Write(&b, binary.LittleEndian, uint32(len(temp)))
	b.WriteString(temp)
	binary.Write(&b, binary.LittleEndian, uint32(len(data)))
	b.Write(data)
	for range 3 {
		binary.Write(&b, binary.LittleEndian, uint32(len(name)))
		b.Write(wide(name))
	}
	return b.Bytes()
}

func sized(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// makeOLE1 is an object of OLE 1 as RTF holds it, in hexadecimal.
func makeOLE1(class string, data []byte) string {
	var b bytes.Buffer
	b.WriteString("\x01\x05\x00\x00\x02\x00\x00\x00")
	b.Write(sized([]byte(class + "\x00")))
	b.Write(make([]byte, 8))
	b.Write(sized(data))
	return fmt.Sprintf("%x", b.Bytes())
}

// record is one of a workbook.
func record(id uint16, data string) string {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	return string(b) + data
}

func makeOneNote(name string, files ...string) []byte {
	b := []byte(oneNoteSignature + strings.Repeat("\x00", 1008))
	if name != "" {
		w := append(wide(name), 0, 0)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(w))), w...)
	}
	for _, f := range files {
		b = append(b, oneNoteFile...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(f)))
		b = append(append(b, make([]byte, 12)...), f...)
	}
	return b
}

// makeLink is a shortcut that starts a program with arguments.
func makeLink(target, arguments string) []byte {
	b := make([]byte, 0x4C)
	copy(b, linkSignature)
	binary.LittleEndian.PutUint32(b[0x14:], 0x80|8|0x20)
	for _, s := range []string{target, arguments} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, wide(s)...)
	}
	return b
}
