package transfer

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// tnefSignature begins a TNEF stream ([MS-OXTNEF] 2.1.3.1).
const tnefSignature = 0x223E9F78

// tnefDepth bounds messages inside messages inside TNEF.
const tnefDepth = 8

// Attributes ([MS-OXTNEF] 2.1.3.2): the low half is the ID; readers look at it
// alone.
const (
	attSubject        = 0x8004
	attBody           = 0x800C
	attAttachData     = 0x800F
	attAttachTitle    = 0x8010
	attAttachMetafile = 0x8011
	attTransportName  = 0x9001
	attAttachRendData = 0x9002
	attMsgProps       = 0x9003
	attAttachment     = 0x9005
	attOemCodepage    = 0x9007
)

// tnef reads one stream, and those inside it.
type tnef struct {
	files  []File
	faults []Fault
	left   int
	over   bool
}

// TNEF takes a winmail.dat apart ([MS-OXTNEF]): attached files with all their
// names, the message body (a file of kind "tnef-body"), messages inside: their
// files stand behind, and a message that is no TNEF is a file itself. max bounds
// the octets of all readings together; they point into data where nothing had
// to be unpacked.
//
// Data without the signature gives nothing and the fault "tnef-signature".
func TNEF(data []byte, max int) ([]File, []Fault) {
	t := &tnef{left: max}
	t.stream(data, 0, tnefDepth)
	if t.over {
		t.fault(TooLarge, len(data), true)
	}
	return t.files, t.faults
}

func (t *tnef) fault(id string, at int, ambiguous bool) {
	for i := range t.faults {
		if t.faults[i].ID == id {
			return
		}
	}
	t.faults = append(t.faults, Fault{ID: id, At: at, Ambiguous: ambiguous})
}

// tnefObject is the message or the attachment that is being read.
type tnefObject struct {
	file     File
	names    []string
	ansi     [][]byte
	started  bool
	extent   int // where its first attribute begins
	codepage uint32
}

// stream reads the attributes of one stream; base is its offset in the whole.
func (t *tnef) stream(data []byte, base, depth int) {
	if len(data) < 6 || binary.LittleEndian.Uint32(data) != tnefSignature {
		t.fault("tnef-signature", base, false)
		return
	}
	var att tnefObject
	var codepage uint32
	finish := func(end int) {
		if att.started {
			att.codepage = codepage
			t.take(&att, end)
		}
		att = tnefObject{started: true, extent: end}
		att.file.Kind = "tnef"
	}
	for i := 6; i < len(data); {
		if len(data)-i < 9 {
			t.fault("tnef-truncated", base+i, false)
			break
		}
		level, id := data[i], binary.LittleEndian.Uint32(data[i+1:])
		size := binary.LittleEndian.Uint32(data[i+5:])
		if level != 1 && level != 2 {
			t.fault("tnef-damaged", base+i, true)
			break
		}
		start := i + 9
		value, end := data[start:], len(data)
		if uint64(size)+2 > uint64(len(value)) {
			t.fault("tnef-truncated", base+i, false)
			value = value[:min(uint64(len(value)), uint64(size))]
		} else {
			value, end = value[:size], start+int(size)+2
			if sum16(value) != binary.LittleEndian.Uint16(data[start+int(size):]) {
				t.fault("tnef-checksum", base+start, false)
			}
		}
		att16 := id & 0xFFFF
		if att16 == attAttachRendData || level == 2 && !att.started {
			finish(base + i)
		}
		switch att16 {
		case attOemCodepage:
			if len(value) >= 4 {
				codepage = binary.LittleEndian.Uint32(value)
			}
		case attBody:
			t.body("text", trimNUL(value), base+start, len(value))
		case attMsgProps:
			t.props(value, base+start, nil, depth)
		case attAttachTitle, attTransportName:
			att.ansi = append(att.ansi, attributeName(att16, value))
		case attAttachData:
			t.reading(&att.file, "tnef", value)
		case attAttachment:
			t.props(value, base+start, &att, depth)
		}
		i = end
	}
	finish(base + len(data))
}

// attributeName gives the name in an attribute: the title is a string with a
// NUL behind; the transport's name stands behind four numbers of two octets
// ([MS-OXTNEF] attAttachTransportFilename).
func attributeName(att uint32, value []byte) []byte {
	if att == attTransportName && len(value) > 12 {
		if n := int(binary.LittleEndian.Uint16(value[4:])); n > 0 && n <= len(value)-8 && value[2] == 0 {
			return trimNUL(value[8:])
		}
	}
	return trimNUL(value)
}

func trimNUL(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// sum16 is the check sum of an attribute: its octets added up.
func sum16(b []byte) uint16 {
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	return uint16(sum)
}

// reading adds one reading to a file, within the bound.
func (t *tnef) reading(f *File, how string, data []byte) {
	b := bound{readings: f.Readings, left: t.left}
	b.add(how, data)
	f.Readings, t.left = b.readings, b.left
	t.over = t.over || b.over
}

// take keeps an attachment that has a name or data.
func (t *tnef) take(a *tnefObject, end int) {
	for _, n := range a.ansi {
		a.names = append(a.names, ansiNames(a.codepage, n)...)
	}
	a.file.Names = names(a.names...)
	a.file.Start, a.file.End = a.extent, end
	if len(a.file.Names) == 0 && len(a.file.Readings) == 0 {
		return
	}
	t.file(a.file)
}

func (t *tnef) file(f File) {
	if len(t.files) >= maxFiles {
		t.fault("too-many-files", f.Start, true)
		return
	}
	t.files = append(t.files, f)
}

// body keeps a body of the message, which stands at at with size octets.
func (t *tnef) body(kind string, data []byte, at, size int) {
	if len(data) == 0 {
		return
	}
	f := File{Kind: "tnef-body", Start: at, End: at + size}
	how := "tnef, " + kind
	if kind == "rtf" {
		packed := data
		var ok bool
		data, ok = decompressRTF(packed, max(t.left, 0))
		if !ok {
			t.fault("tnef-rtf", at, false)
		}
		if len(data) == 0 {
			return
		}
	}
	t.reading(&f, how, data)
	t.file(f)
}

// MAPI property types ([MS-OXCDATA] 2.11.1).
const (
	ptUnspecified = 0x0000
	ptNull        = 0x0001
	ptObject      = 0x000D
	ptString8     = 0x001E
	ptUnicode     = 0x001F
	ptBinary      = 0x0102
	ptMulti       = 0x1000
)

// Properties ([MS-OXPROPS]).
const (
	prBody             = 0x1000
	prRTFCompressed    = 0x1009
	prBodyHTML         = 0x1013
	prDisplayName      = 0x3001
	prAttachData       = 0x3701
	prAttachExtension  = 0x3703
	prAttachFilename   = 0x3704
	prAttachLongName   = 0x3707
	prAttachPathname   = 0x3708
	prAttachTransport  = 0x370C
	prAttachLongPath   = 0x370D
	prAttachContentID  = 0x3712
	prAttachContentLoc = 0x3713
)

// cursor reads numbers off the front of data; bad stays set once it ran out.
type cursor struct {
	data []byte
	at   int
	bad  bool
}

func (c *cursor) take(n uint64) []byte {
	if uint64(len(c.data)-c.at) < n {
		c.bad = true
		rest := c.data[c.at:]
		c.at = len(c.data)
		return rest
	}
	b := c.data[c.at : c.at+int(n)]
	c.at += int(n)
	return b
}

func (c *cursor) u32() uint32 {
	b := c.take(4)
	if len(b) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (c *cursor) pad(n uint64) {
	if k := (4 - n%4) % 4; k > 0 && c.at < len(c.data) {
		c.at = min(len(c.data), c.at+int(k))
	}
}

// props reads a list of MAPI properties ([MS-OXTNEF] 2.1.3.4); a is the
// attachment that they belong to, nil for the message.
func (t *tnef) props(data []byte, base int, a *tnefObject, depth int) {
	c := &cursor{data: data}
	for range c.u32() {
		if c.bad || c.at >= len(c.data) {
			t.fault("tnef-truncated", base+c.at, false)
			return
		}
		head := c.u32()
		kind, id := head&0xFFFF, head>>16
		if id >= 0x8000 {
			c.take(16) // the GUID of the name space
			if c.u32() == 0 {
				c.u32()
			} else {
				n := uint64(c.u32())
				c.take(n)
				c.pad(n)
			}
		}
		if !t.values(c, kind, id, base, a, depth) {
			t.fault("tnef-damaged", base+c.at, true)
			return
		}
	}
	if c.bad {
		t.fault("tnef-truncated", base+c.at, false)
	}
}

// values reads the values of one property.
func (t *tnef) values(c *cursor, kind, id uint32, base int, a *tnefObject, depth int) bool {
	single := kind &^ ptMulti
	count := uint32(1)
	variable := single == ptString8 || single == ptUnicode || single == ptBinary || single == ptObject
	if kind&ptMulti != 0 || variable {
		count = c.u32()
	}
	for range count {
		if c.bad {
			return true // the caller names it
		}
		if !variable {
			n, ok := fixedSize(single)
			if !ok {
				return false
			}
			c.take(n)
			c.pad(n)
			if n == 0 {
				break
			}
			continue
		}
		n := uint64(c.u32())
		at := c.at
		v := c.take(n)
		c.pad(n)
		if a == nil {
			t.messageValue(single, id, v, base+at)
		} else {
			t.attachmentValue(single, id, v, base+at, a, depth)
		}
	}
	return true
}

// fixedSize gives the size of a value whose type says it.
func fixedSize(kind uint32) (uint64, bool) {
	switch kind {
	case ptUnspecified, ptNull:
		return 0, true
	case 0x0002, 0x000B: // 16 bits, truth; padded
		return 2, true
	case 0x0003, 0x0004, 0x000A:
		return 4, true
	case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
		return 8, true
	case 0x0048:
		return 16, true
	}
	return 0, false
}

// messageValue looks at a property of the message.
func (t *tnef) messageValue(kind, id uint32, v []byte, at int) {
	switch id {
	case prBody:
		if kind == ptUnicode {
			t.body("text", []byte(utf16Text(v)), at, len(v))
		} else {
			t.body("text", trimNUL(v), at, len(v))
		}
	case prBodyHTML:
		if kind == ptUnicode {
			t.body("html", []byte(utf16Text(v)), at, len(v))
		} else {
			t.body("html", v, at, len(v))
		}
	case prRTFCompressed:
		t.body("rtf", v, at, len(v))
	}
}

// iidMessage is the class of an embedded message.
const iidMessage = "\x07\x03\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46"

// attachmentValue looks at a property of an attachment.
func (t *tnef) attachmentValue(kind, id uint32, v []byte, at int, a *tnefObject, depth int) {
	switch id {
	case prAttachLongName, prAttachFilename, prAttachPathname, prAttachLongPath, prAttachTransport, prDisplayName,
		prAttachContentLoc:
		switch kind {
		case ptUnicode:
			a.names = append(a.names, utf16Text(v))
		case ptString8:
			a.ansi = append(a.ansi, trimNUL(v))
		}
	case prAttachExtension:
		// A name of nothing but the extension, so that it is judged too.
		s := string(trimNUL(v))
		if kind == ptUnicode {
			s = utf16Text(v)
		}
		if s = strings.TrimSpace(s); s != "" && !strings.HasPrefix(s, ".") {
			s = "." + s
		}
		a.names = append(a.names, s)
	case prAttachData:
		if kind != ptObject {
			t.reading(&a.file, "tnef", v)
			return
		}
		t.object(v, at, a, depth)
	}
}

// object looks at an attached object: a message inside, or an OLE object.
func (t *tnef) object(v []byte, at int, a *tnefObject, depth int) {
	if len(v) < 16 {
		t.fault("tnef-truncated", at, false)
		return
	}
	inside := v[16:]
	if string(v[:16]) != iidMessage && (len(inside) < 4 || binary.LittleEndian.Uint32(inside) != tnefSignature) {
		t.reading(&a.file, "tnef, object", inside)
		return
	}
	if depth <= 1 {
		t.fault("too-many-levels", at, true)
		t.reading(&a.file, "tnef, message", inside)
		return
	}
	t.stream(inside, at+16, depth-1)
}

// String helps tests to show a file.
func (f File) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q [%d:%d]", f.Kind, f.Names, f.Start, f.End)
	for _, r := range f.Readings {
		fmt.Fprintf(&b, " %s:%d", r.How, len(r.Data))
	}
	for _, x := range f.Faults {
		fmt.Fprintf(&b, " !%s@%d", x.ID, x.At)
	}
	return b.String()
}
