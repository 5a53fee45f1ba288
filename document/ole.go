package document

import (
	"bytes"
	"encoding/binary"
	"path"
	"strings"
	"unicode/utf16"
)

// ole inspects a compound file: Word, Excel, PowerPoint, Outlook messages,
// projects and objects.
func (in *inspector) ole(where string, data []byte) {
	c := openCompound(data)
	v := vbaProject{offsets: map[string]uint32{}}
	for i := range c.entries {
		if in.stop(where) {
			return
		}
		e := &c.entries[i]
		switch e.kind {
		case cfbStorage, cfbRoot:
			in.oleClass(where, c, i)
		case cfbStream:
			in.oleStream(where, c, i, &v)
		}
	}
	in.vba(where, c, &v)
	in.encryptedPackage(where, c)
	if c.damaged != "" {
		in.add(Damaged, where, c.damaged)
		in.rawMarks(where, data)
	}
}

// rawMarks looks for the names of macro storages in a file whose directory
// cannot be trusted.
func (in *inspector) rawMarks(where string, data []byte) {
	if in.has(Macro) {
		return
	}
	for _, name := range []string{"_VBA_PROJECT", "_VBA_PROJECT_CUR"} {
		if bytes.Contains(data, append(wide(name), 0, 0)) {
			in.add(Macro, where, name)
			return
		}
	}
}

// The classes of objects that are named by CLSID alone, as they are stored.
const (
	clsidEquation2 = "\x01\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	clsidEquation3 = "\x02\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	clsidURL       = "\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b"
	clsidFile      = "\x03\x03\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	clsidScriptlet = "\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc"
	clsidHTMLFile  = "\x20\x69\x33\x25\xf9\x03\xcf\x11\x8f\xd0\x00\xaa\x00\x68\x6f\x13"
	clsidShellWeb  = "\xc3\x2a\xb2\xea\xc1\x30\xcf\x11\xa7\xeb\x00\x00\xc0\x5b\xae\x0b"
)

func (in *inspector) oleClass(where string, c *compound, i int) {
	switch string(c.entries[i].clsid[:]) {
	case clsidEquation2, clsidEquation3:
		in.add(EquationEditor, join(where, c.path(i)), "class")
	case clsidScriptlet, clsidHTMLFile, clsidShellWeb:
		in.add(ActiveX, join(where, c.path(i)), "script or browser object")
	}
}

// oleStream looks at one stream by its name.
func (in *inspector) oleStream(where string, c *compound, i int, v *vbaProject) {
	e := &c.entries[i]
	name := strings.ToLower(e.name)
	place := func() string { return join(where, c.path(i)) }
	read := func() []byte {
		if !in.open(where) {
			return nil
		}
		b := c.read(e)
		in.take(where, int64(len(b)))
		return b
	}
	switch name {
	case "encryptedpackage", "encryptioninfo":
		// ole has tried to open them.
	case "encryptedsummary", "\tdrmcontent":
		in.add(Encrypted, place(), "")
	case "workbook", "book":
		in.workbook(place(), read())
	case "worddocument":
		in.wordDocument(place(), read())
	case "0table", "1table":
		in.wordTable(place(), read())
	case "powerpoint document":
		in.powerPoint(place(), read())
	case "current user":
		if b := read(); len(b) >= 16 && binary.LittleEndian.Uint32(b[12:]) == 0xF3D1C4DF {
			in.add(Encrypted, place(), "")
		}
	case "\x01ole10native":
		in.native(place(), read(), true)
	case "\x01ole":
		in.monikers(place(), read())
	case "\x01compobj":
		if e.parent > 0 {
			in.compObj(join(where, c.path(e.parent)), read())
		}
	case "equation native":
		in.equationStream(where, c, i)
	case "\x03ocxname", "\x03ocxdata":
		in.add(ActiveX, place(), "")
	case "package", "contents", "embeddedodf":
		if b := read(); hasFileSign(b) {
			in.embed(place(), nil, b)
		}
	case "_vba_project", "dir":
		v.note(c, i)
	default:
		if strings.HasPrefix(name, "__substg1.0_") {
			in.outlook(where, c, i, name, read)
		}
	}
}

// hasFileSign tells whether an object's content is a file of its own.
func hasFileSign(b []byte) bool {
	for _, sign := range []string{"PK\x03\x04", "%PDF", oleSignature, "{\\rt", "MZ", "<"} {
		if bytes.HasPrefix(b, []byte(sign)) {
			return true
		}
	}
	return false
}

// compObj names the program of an object ([MS-OLEDS] 2.3.8).
func (in *inspector) compObj(where string, b []byte) {
	if len(b) < 28 {
		return
	}
	var texts []string
	for rest := b[28:]; len(rest) >= 4 && len(texts) < 3; {
		n := binary.LittleEndian.Uint32(rest)
		if n == 0 || n > uint32(len(rest)-4) || n > 400 {
			break
		}
		texts = append(texts, strings.TrimRight(string(rest[4:4+n]), "\x00"))
		rest = rest[4+n:]
	}
	text := strings.Join(texts, " ")
	if equationText(text) || equationCLSID(string(b[12:28])) {
		in.add(EquationEditor, where, text)
		return
	}
	in.add(OLEObject, where, text)
}

// native takes the file out of an Ole10Native stream, or out of the Package of
// OLE 1 in RTF, which lacks the size in front.
func (in *inspector) native(where string, b []byte, sized bool) {
	body := b
	if sized {
		if len(b) < 4 {
			return
		}
		body = b[4:]
	}
	names, linked, data, ok := readPackage(body)
	if !ok {
		if len(body) > 0 {
			in.embed(where, nil, body)
		}
		return
	}
	if len(data) == 0 || linked {
		for _, n := range names {
			if remoteTarget(n) {
				in.add(ExternalLink, where, n)
			}
		}
	}
	for i, n := range names {
		names[i] = path.Base(strings.ReplaceAll(n, "\\", "/"))
	}
	in.embed(where, names, data)
}

// readPackage reads the packager's form: label, file name, temporary path, data,
// then the same three names in UTF-16, which are the ones that are used.
func readPackage(b []byte) (names []string, linked bool, data []byte, ok bool) {
	if len(b) < 8 {
		return nil, false, nil, false
	}
	rest := b[2:]
	for range 2 {
		end := bytes.IndexByte(rest, 0)
		if end < 0 || end > 2048 {
			return nil, false, nil, false
		}
		names = append(names, string(rest[:end]))
		rest = rest[end+1:]
	}
	if len(rest) < 4 {
		return nil, false, nil, false
	}
	kind := binary.LittleEndian.Uint16(rest[2:])
	linked = kind == 1
	rest = rest[4:]
	temp, rest, good := counted(rest, 1)
	if !good {
		return names, linked, nil, linked
	}
	names = append(names, strings.TrimRight(string(temp), "\x00"))
	if len(rest) < 4 {
		return names, linked, nil, linked
	}
	n := int(min(int64(binary.LittleEndian.Uint32(rest)), int64(len(rest)-4)))
	data, rest = rest[4:4+n], rest[4+n:]
	for range 3 {
		var w []byte
		if w, rest, good = counted(rest, 2); !good {
			break
		}
		names = append(names, unwide(w))
	}
	return names, linked, data, true
}

// counted takes a counted string of units of that size.
func counted(b []byte, unit int) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b)) * int64(unit)
	if n > int64(len(b)-4) || n > 8192 {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// monikers looks into an \x01Ole stream: where a linked object comes from
// ([MS-OLEDS] 2.3.3; CVE-2017-0199 is a URL here).
func (in *inspector) monikers(where string, b []byte) {
	if i := bytes.Index(b, []byte(clsidURL)); i >= 0 {
		in.add(ExternalLink, where, "URL moniker "+unwide(b[min(i+20, len(b)):]))
	}
	if i := bytes.Index(b, []byte(clsidFile)); i >= 0 && i+22 < len(b) {
		rest := b[i+22:]
		if end := bytes.IndexByte(rest, 0); end > 0 && remoteTarget(string(rest[:end])) {
			in.add(ExternalLink, where, string(rest[:end]))
		}
	}
	if bytes.Contains(b, []byte(clsidScriptlet)) {
		in.add(ExternalLink, where, "scriptlet moniker")
	}
}

// outlook takes the attachments out of a .msg file ([MS-OXMSG] 2.2.2): data in
// property 3701, names in 3707, 3704 and 3001; the HTML body is 1013.
func (in *inspector) outlook(where string, c *compound, i int, name string, read func() []byte) {
	switch strings.TrimPrefix(name, "__substg1.0_") {
	case "37010102":
		data := read()
		var names []string
		for j := range c.entries {
			if len(names) > 8 || len(c.entries) > 20000 {
				break
			}
			if n := &c.entries[j]; n.parent == c.entries[i].parent && n.kind == cfbStream {
				names = append(names, outlookName(c, n)...)
			}
		}
		in.embed(join(where, c.path(i)), names, data)
	case "10130102":
		in.markup(htmlKind, join(where, c.path(i)), read())
	case "1013001f":
		in.markup(htmlKind, join(where, c.path(i)), []byte(unwide(read())))
	}
}

func outlookName(c *compound, e *entry) []string {
	switch strings.TrimPrefix(strings.ToLower(e.name), "__substg1.0_") {
	case "3707001f", "3704001f", "3001001f":
		return []string{unwide(c.read(e))}
	case "3707001e", "3704001e", "3001001e":
		return []string{string(c.read(e))}
	}
	return nil
}

// wide is s in UTF-16, little end first.
func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// unwide reads UTF-16, little end first, up to its end mark.
func unwide(b []byte) string {
	u := make([]uint16, 0, min(len(b)/2, 4096))
	for ; len(b) >= 2; b = b[2:] {
		w := binary.LittleEndian.Uint16(b)
		if w == 0 {
			break
		}
		u = append(u, w)
	}
	return string(utf16.Decode(u))
}

// remoteTarget tells whether a target lies on another machine. Drive letters,
// relative paths and in-document references do not; file: and \\ with a host do.
func remoteTarget(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.ReplaceAll(s, "\\", "/")
	if strings.HasPrefix(s, "//") {
		return !strings.HasPrefix(s, "///") && len(s) > 2
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found || len(scheme) < 2 || strings.ContainsAny(scheme, "/ .#?") {
		return false
	}
	switch scheme {
	case "file":
		// file:///C:/x is here, file://host/x and file://///host/x are there.
		slashes := len(rest) - len(strings.TrimLeft(rest, "/"))
		rest = strings.TrimLeft(rest, "/")
		if strings.HasPrefix(rest, "localhost/") || len(rest) > 1 && rest[1] == ':' {
			return false
		}
		return slashes == 2 || slashes > 3
	case "mailto", "tel", "urn", "about", "data":
		return false
	}
	return true
}
