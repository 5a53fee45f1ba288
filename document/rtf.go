package document

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// startsRTF tells whether Word would read RTF: it asks for {\rt alone.
func startsRTF(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b[:min(len(b), 256)], []byte("\xef\xbb\xbf")), " \t\r\n\x00")
	return bytes.HasPrefix(b, []byte("{\\rt"))
}

// rtfReader goes once through the octets. Groups are a number, not a stack, so
// that a million of them cost nothing.
type rtfReader struct {
	in    *inspector
	where string
	b     []byte
	pos   int
	depth int

	object  int // depth of the open \objdata, 0 for none
	ignore  int // depth of an ignorable group inside it, 0 for none
	half    int // hexadecimal digit that waits for the second, -1 for none
	data    []byte
	all     []byte // the same with the ignorable groups in it
	allHalf int
	objects int

	texts []rtfText // open destinations whose text counts
}

// rtfText is an open \fldinst or \template.
type rtfText struct {
	depth    int
	template bool
	text     []byte
}

// rtf inspects a document in rich text format (version 1.9.1).
func (in *inspector) rtf(where string, b []byte) {
	r := &rtfReader{in: in, where: where, b: b, half: -1, allHalf: -1}
	if i := bytes.Index(b[:min(len(b), 256)], []byte("{\\rt")); i >= 0 && !bytes.HasPrefix(b[i:], []byte("{\\rtf")) {
		in.add(Obfuscated, where, "head of RTF cut short")
	}
	for n := 0; r.pos < len(b); n++ {
		if n%65536 == 65535 && in.stop(where) {
			return
		}
		r.step()
	}
	for r.object > 0 || len(r.texts) > 0 {
		r.depth = min(r.depth, 1)
		r.closeGroup()
		r.depth = 0
		r.object = 0
	}
}

// step reads one token.
func (r *rtfReader) step() {
	switch c := r.b[r.pos]; c {
	case '{':
		r.depth++
		r.pos++
		if r.object > 0 && r.ignore == 0 && bytes.HasPrefix(bytes.TrimLeft(r.b[r.pos:min(len(r.b), r.pos+64)], " \t\r\n"), []byte("\\*")) {
			r.ignore = r.depth
		}
	case '}':
		r.pos++
		r.closeGroup()
	case '\\':
		r.pos++
		r.control()
	default:
		if r.object == 0 && len(r.texts) == 0 {
			// Plain text: on to what means something.
			i := bytes.IndexAny(r.b[r.pos:], "{}\\")
			if i < 0 {
				i = len(r.b) - r.pos
			}
			r.pos += i
			return
		}
		r.pos++
		r.octet(c)
	}
}

// octet takes one octet of text into what is open.
func (r *rtfReader) octet(c byte) {
	if r.object > 0 {
		if v := hexValue(c); v >= 0 {
			r.nibble(v)
		}
	}
	if n := len(r.texts); n > 0 && c != '\r' && c != '\n' {
		if t := &r.texts[n-1]; len(t.text) < 4096 {
			t.text = append(t.text, c)
		}
	}
}

func (r *rtfReader) nibble(v int) {
	if r.allHalf < 0 {
		r.allHalf = v
	} else {
		r.all = append(r.all, byte(r.allHalf<<4|v))
		r.allHalf = -1
	}
	if r.ignore > 0 {
		return
	}
	if r.half < 0 {
		r.half = v
	} else {
		r.data = append(r.data, byte(r.half<<4|v))
		r.half = -1
	}
}

// closeGroup ends a group and what was open in it.
func (r *rtfReader) closeGroup() {
	if r.object > 0 && r.depth <= r.object {
		r.endObject()
	}
	if r.depth <= r.ignore {
		r.ignore = 0
	}
	for n := len(r.texts); n > 0 && r.depth <= r.texts[n-1].depth; n = len(r.texts) {
		t := r.texts[n-1]
		r.texts = r.texts[:n-1]
		if !t.template {
			r.in.fieldText(r.where, string(t.text))
		} else if s := strings.TrimSpace(string(t.text)); remoteTarget(s) {
			r.in.add(RemoteTemplate, r.where, s)
		}
	}
	if r.depth > 0 {
		r.depth--
	}
}

// control reads a control word or symbol behind its backslash.
func (r *rtfReader) control() {
	if r.pos >= len(r.b) {
		return
	}
	c := r.b[r.pos]
	if !letter(c) {
		r.pos++
		switch {
		case c == '\'' && r.pos+2 <= len(r.b):
			v := hexValue(r.b[r.pos])<<4 | hexValue(r.b[r.pos+1])
			r.pos += 2
			// In \objdata Word does not take this for data.
			if r.object == 0 && v >= 0 {
				r.octet(byte(v))
			}
		case (c == '\\' || c == '{' || c == '}') && r.object == 0:
			r.octet(c)
		}
		return
	}
	from := r.pos
	for r.pos < len(r.b) && letter(r.b[r.pos]) {
		r.pos++
	}
	word := r.b[from:r.pos]
	start := r.pos
	if r.pos < len(r.b) && r.b[r.pos] == '-' {
		r.pos++
	}
	for r.pos < len(r.b) && r.b[r.pos] >= '0' && r.b[r.pos] <= '9' {
		r.pos++
	}
	param := r.b[start:min(r.pos, start+12)]
	if r.pos < len(r.b) && r.b[r.pos] == ' ' {
		r.pos++
	}
	if len(word) <= 16 {
		r.word(string(word), param)
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// word acts on a control word.
func (r *rtfReader) word(word string, param []byte) {
	switch word {
	case "objdata":
		if r.object == 0 {
			r.object = max(r.depth, 1)
			r.data, r.all, r.half, r.allHalf, r.ignore = nil, nil, -1, -1, 0
		}
	case "bin":
		n, err := strconv.Atoi(string(param))
		if err != nil || n <= 0 {
			return
		}
		n = min(n, len(r.b)-r.pos)
		if r.object > 0 {
			r.data = append(r.data, r.b[r.pos:r.pos+n]...)
			r.all = append(r.all, r.b[r.pos:r.pos+n]...)
		}
		if r.object == 0 && bytes.Contains(r.b[r.pos:r.pos+min(n, 4096)], []byte("\\objdata")) {
			// Data that holds an object is a place where readers differ: look
			// at it as text too.
			r.in.add(Obfuscated, r.where, "object inside binary data")
			return
		}
		r.pos += n
	case "objupdate":
		r.in.add(ObjectUpdate, r.where, "")
	case "objocx":
		r.in.add(ActiveX, r.where, "objocx")
	case "fldinst", "template":
		if len(r.texts) < 32 {
			r.texts = append(r.texts, rtfText{depth: max(r.depth, 1), template: word == "template"})
		}
	case "u":
		if n, err := strconv.Atoi(string(param)); err == nil && len(r.texts) > 0 {
			if n < 0 {
				n += 65536
			}
			if n < 128 {
				r.octet(byte(n))
				if r.pos < len(r.b) && r.b[r.pos] == '?' {
					r.pos++
				}
			}
		}
	}
}

// endObject judges the octets of an \objdata.
func (r *rtfReader) endObject() {
	r.object = 0
	if r.objects++; r.objects > r.in.streams {
		r.in.unfinished(r.where, "objects")
		return
	}
	place := r.where + "/object " + strconv.Itoa(r.objects)
	r.where, place = place, r.where
	defer func() { r.where = place }()
	if !r.in.take(place, int64(len(r.all))) {
		return
	}
	if r.oldObject(r.data) {
		return
	}
	if len(r.all) != len(r.data) && r.oldObject(r.all) {
		r.in.add(Obfuscated, place, "object in ignored groups")
		return
	}
	for _, b := range [][]byte{r.data, r.all} {
		if i := bytes.Index(b, []byte(oleSignature)); i >= 0 {
			r.in.inner(r.where, b[i:])
			r.in.add(OLEObject, r.where, "")
			return
		}
	}
	if containsFold(r.data[:min(len(r.data), 512)], "equation") || containsFold(r.all[:min(len(r.all), 512)], "equation") {
		r.in.add(EquationEditor, r.where, "")
	}
	if len(r.all) > 0 {
		r.in.add(OLEObject, r.where, "")
	}
}

// oldObject reads an object of OLE 1 ([MS-OLEDS] 2.2): version, kind, class,
// topic, item, data.
func (r *rtfReader) oldObject(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	kind := binary.LittleEndian.Uint32(b[4:])
	class, rest, ok := counted(b[8:], 1)
	if !ok || len(class) == 0 || len(class) > 256 {
		return false
	}
	name := strings.TrimRight(string(class), "\x00")
	low := strings.ToLower(name)
	for _, c := range []byte(low) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	topic, rest, ok := counted(rest, 1)
	if !ok {
		return false
	}
	_, rest, ok = counted(rest, 1)
	in := r.in
	if kind == 1 || strings.HasPrefix(low, "ole2link") {
		if t := strings.TrimRight(string(topic), "\x00"); remoteTarget(t) {
			in.add(ExternalLink, r.where, t)
		}
	}
	in.add(OLEObject, r.where, name)
	if equationClass(low) {
		in.add(EquationEditor, r.where, name)
	}
	if !ok || len(rest) < 4 {
		return true
	}
	data := rest[4:][:min(int64(binary.LittleEndian.Uint32(rest)), int64(len(rest)-4))]
	switch i := bytes.Index(data[:min(len(data), 1024)], []byte(oleSignature)); {
	case strings.HasPrefix(low, "package"):
		in.native(r.where, data, false)
	case i >= 0:
		in.inner(r.where, data[i:])
	case strings.HasPrefix(low, "equation"), len(data) == 0:
	case hasFileSign(data):
		in.embed(r.where, nil, data)
	}
	return true
}

func containsFold(b []byte, word string) bool {
	return bytes.Contains(bytes.ToLower(b), []byte(word))
}
