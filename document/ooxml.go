package document

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"path"
	"sort"
	"strings"
)

// maxMembers bounds the directory of a package: the largest presentations have
// some thousands, and each costs memory before anything is judged.
const maxMembers = 20000

// member is one file of a package.
type member struct {
	name string // lower case, with slashes
	size int64
	open func() io.Reader
	head []byte // its first octets
}

// packaged inspects an OOXML or ODF package. A zip that is neither has no traits
// here: the walk of archives judges it, and whether the zip has two readings.
// Parts are known by their content and their relationships more than by their
// names, since Office goes by these too.
func (in *inspector) packaged(where string, data []byte) {
	members, damaged := in.members(where, data)
	odf, ooxml := false, false
	for _, m := range members {
		switch {
		case m.name == "mimetype", m.name == "meta-inf/manifest.xml":
			odf = true
		case m.name == "[content_types].xml", strings.HasPrefix(m.name, "_rels/"), strings.HasSuffix(m.name, "vbaproject.bin"):
			ooxml = true
		}
	}
	if !odf && !ooxml {
		return
	}
	if damaged {
		in.add(Damaged, where, "directory of the package")
	}
	if len(members) >= maxMembers {
		in.add(Unfinished, where, "members")
	}
	// What decides most comes first, so that a large part does not use up the
	// budget before it.
	sort.SliceStable(members, func(i, j int) bool { return rank(members[i]) < rank(members[j]) })
	for i := range members {
		m := &members[i]
		if in.stop(where) {
			return
		}
		if strings.HasSuffix(m.name, "/") {
			continue
		}
		if !in.open(where) {
			return
		}
		in.guard(join(where, m.name), func() { in.part(where, m, odf) })
	}
	if in.has(xmlLoad) {
		in.dropLoad(where)
	}
}

// xmlLoad is a callback on loading, which counts only beside macros.
const xmlLoad = "\x00load"

// dropLoad turns callbacks into traits when there are macros.
func (in *inspector) dropLoad(where string) {
	macro := in.has(Macro)
	kept := in.traits[:0]
	for _, t := range in.traits {
		if t.ID == xmlLoad {
			if !macro {
				continue
			}
			t.ID = AutoMacro
		}
		kept = append(kept, t)
	}
	in.traits = kept
}

func rank(m member) int {
	switch {
	case strings.HasSuffix(m.name, ".rels"), m.name == "[content_types].xml", m.name == "meta-inf/manifest.xml":
		return 0
	case strings.HasSuffix(m.name, ".bin"):
		return 1
	case strings.Contains(m.name, "/worksheets/"), strings.HasSuffix(m.name, "sharedstrings.xml"):
		return 4
	case strings.HasSuffix(m.name, ".xml"):
		return 2
	}
	return 3
}

// members lists the files of a zip: by its directory, and when that is broken by
// the local headers, as Office does when it repairs.
func (in *inspector) members(where string, data []byte) (list []member, damaged bool) {
	if bytes.Count(data, []byte("PK\x01\x02")) > maxMembers {
		return localMembers(data), true
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(z.File) == 0 {
		return localMembers(data), true
	}
	for _, f := range z.File {
		list = append(list, member{name: cleanName(f.Name), size: int64(min(f.UncompressedSize64, 1<<40)), open: func() io.Reader {
			r, err := f.Open()
			if err != nil {
				return nil
			}
			return r
		}})
	}
	return list, false
}

// localMembers walks the local headers (APPNOTE 4.3.7).
func localMembers(data []byte) []member {
	var list []member
	for rest := data; len(list) < maxMembers; {
		i := bytes.Index(rest, []byte("PK\x03\x04"))
		if i < 0 || len(rest)-i < 30 {
			break
		}
		h := rest[i:]
		n, extra := int(binary.LittleEndian.Uint16(h[26:])), int(binary.LittleEndian.Uint16(h[28:]))
		rest = h[4:]
		if 30+n+extra > len(h) || n == 0 {
			continue
		}
		method, body := binary.LittleEndian.Uint16(h[8:]), h[30+n+extra:]
		size := int64(binary.LittleEndian.Uint32(h[18:]))
		list = append(list, member{name: cleanName(string(h[30 : 30+n])), size: size, open: func() io.Reader {
			if method == 8 {
				return flate.NewReader(bytes.NewReader(body))
			}
			return bytes.NewReader(body[:min(size, int64(len(body)))])
		}})
	}
	return list
}

func cleanName(s string) string {
	return strings.ToLower(strings.TrimLeft(strings.ReplaceAll(s, "\\", "/"), "/"))
}

// part judges one member by its first octets.
func (in *inspector) part(where string, m *member, odf bool) {
	place := join(where, m.name)
	if strings.Contains(m.name, "macrosheets/") {
		in.add(XLM, place, "")
	}
	if strings.Contains(m.name, "activex/") {
		in.add(ActiveX, place, "")
	}
	r := m.open()
	if r == nil {
		in.add(Damaged, place, "member")
		return
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(r, head)
	if n == 0 && m.size > 0 {
		in.add(Damaged, place, "member")
		return
	}
	m.head = head[:n]
	all := func() []byte {
		return append(m.head, in.drain(place, r)...)
	}
	switch {
	case bytes.HasPrefix(m.head, []byte(oleSignature)):
		in.inner(place, all())
	case bytes.HasPrefix(m.head, []byte("PK\x03\x04")):
		in.embed(place, []string{path.Base(m.name)}, all())
	case bytes.HasPrefix(m.head, []byte("ActiveMime")):
		in.activeMime(place, all())
	case startsRTF(m.head):
		in.rtf(place, all())
	case bytes.HasPrefix(m.head, []byte("%PDF")), bytes.HasPrefix(m.head, []byte("MZ")):
		in.embed(place, []string{path.Base(m.name)}, all())
	case odf && odfScript(m.name):
		in.add(Macro, place, "")
		in.macroWords(place, all(), nil)
	case looksXML(m.head):
		if worksheet(m.head) {
			// Cells: the bulk of a workbook, and nothing of interest but the
			// classes of objects behind them.
			if in.objects {
				in.sheetObjects(place, toUTF8(all()))
			}
			return
		}
		b := toUTF8(all())
		in.officeXML(place, b)
		if odf {
			in.odfXML(place, m.name, b)
		}
	case strings.HasSuffix(m.name, ".htm"), strings.HasSuffix(m.name, ".html"), strings.HasSuffix(m.name, ".mht"):
		in.text(htmlKind, place, all())
	}
}

// looksXML tells whether XML begins, in any of its encodings.
func looksXML(b []byte) bool {
	b = bytes.TrimLeft(b, "\xef\xbb\xbf\xff\xfe\x00 \t\r\n")
	return len(b) > 0 && b[0] == '<'
}

// worksheet tells by the first element whether a part holds cells.
func worksheet(head []byte) bool {
	s := xmlScan{b: head}
	for {
		t, ok := s.next()
		if !ok {
			return false
		}
		if t.name != "" {
			return t.name == "worksheet" || t.name == "sst"
		}
	}
}

// odfScript tells the members that hold programs, without the lists of
// libraries that even empty projects have.
func odfScript(name string) bool {
	switch {
	case strings.HasPrefix(name, "basic/"):
		base := path.Base(name)
		return strings.HasSuffix(base, ".xml") && base != "script-lb.xml" && base != "script-lc.xml"
	case strings.HasPrefix(name, "scripts/"):
		return true
	}
	return false
}

// odfXML looks at what only ODF has (OASIS ODF 1.3).
func (in *inspector) odfXML(where, name string, b []byte) {
	if name == "meta-inf/manifest.xml" && bytes.Contains(b, []byte("encryption-data")) {
		in.add(Encrypted, where, "")
	}
	s := xmlScan{b: b}
	for n := 0; ; n++ {
		t, ok := s.next()
		if !ok || n%4096 == 4095 && in.stop(where) {
			return
		}
		if t.end || t.name == "" {
			continue
		}
		switch t.name {
		case "event-listener":
			event := strings.ToLower(t.attr("event-name"))
			if _, e, found := strings.Cut(event, ":"); found {
				event = e
			}
			switch event {
			case "load", "load-finished", "new", "onload", "onnew", "on-load", "view-created", "unload", "prepare-unload":
				in.add(AutoMacro, where, event+" "+t.attr("href"))
			}
		case "dde-connection-decl", "dde-source":
			in.add(DDE, where, t.attr("dde-application")+" "+t.attr("dde-topic"))
		case "section-source", "object", "object-ole", "plugin", "applet", "floating-frame", "cell-range-source", "table-source":
			if h := t.attr("href"); remoteTarget(h) {
				in.add(ExternalLink, where, t.name+" "+h)
			}
		case "template":
			if h := t.attr("href"); name == "meta.xml" && remoteTarget(h) {
				in.add(RemoteTemplate, where, h)
			}
		}
	}
}
