package document

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

// workbook walks the records of an Excel stream ([MS-XLS] 2.1.4).
func (in *inspector) workbook(where string, b []byte) {
	sheets, auto := 0, ""
	all, locked, macroSheet := b, false, false
	for n := 0; len(b) >= 4; n++ {
		if n%4096 == 4095 && in.stop(where) {
			return
		}
		id, size := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		rec := b[4:min(4+size, len(b))]
		b = b[4+len(rec):]
		switch id {
		case 0x2F: // FILEPASS
			from := len(all) - len(b)
			if plain := []byte(nil); !locked {
				if plain = in.unlockWorkbook(where, all, rec, from); plain == nil {
					in.add(Encrypted, where, "")
				} else {
					b = plain[from:]
				}
			}
			locked = true
		case 0x809: // BOF, which is never encrypted: version, kind of the sheet
			macroSheet = macroSheet || len(rec) >= 4 && binary.LittleEndian.Uint16(rec[2:]) == 0x40
		case 0x85: // BOUNDSHEET: offset, state, type, name
			if len(rec) >= 6 && rec[5]&0x0F == 1 {
				sheets++
				in.add(XLM, where, [4]string{"", "hidden", "very hidden", "hidden"}[rec[4]&3])
			}
		case 0x18: // LBL: a built-in name 1 is Auto_Open, 2 Auto_Close
			if len(rec) >= 16 && rec[0]&0x20 != 0 {
				if name := rec[15]; name == 1 || name == 2 {
					auto = [3]string{"", "Auto_Open", "Auto_Close"}[name]
				}
			}
		case 0x1AE: // SUPBOOK: program and topic stand around \x03
			if i := bytes.IndexByte(rec, 3); len(rec) > 6 && i > 5 {
				in.add(DDE, where, strings.ReplaceAll(string(rec[5:]), "\x00", ""))
			}
		}
	}
	if sheets == 0 && macroSheet {
		in.add(XLM, where, "behind a password")
	}
	if sheets > 0 && auto != "" {
		in.add(AutoMacro, where, auto)
	}
}

// wordDocument looks at the head of a Word stream ([MS-DOC] 2.5.2) and at its
// fields.
func (in *inspector) wordDocument(where string, b []byte) {
	if len(b) < 12 {
		return
	}
	if magic := binary.LittleEndian.Uint16(b); magic == 0xA5EC || magic == 0xA5DC {
		if binary.LittleEndian.Uint16(b[10:])&0x0100 != 0 {
			in.add(Encrypted, where, "")
			return
		}
	}
	for rest := b; ; {
		i := bytes.IndexByte(rest, 0x13) // begins a field
		if i < 0 {
			return
		}
		rest = rest[i+1:]
		if len(rest) > 0 && rest[0] == 0 {
			in.fieldText(where, unwide(rest[1:min(len(rest), 601)]))
		} else {
			in.fieldText(where, string(rest[:min(len(rest), 300)]))
		}
	}
}

// wordTable looks for the template: its path is one of the strings of the table
// stream. Templates on other machines end in .dot, .dotx or .dotm.
func (in *inspector) wordTable(where string, b []byte) {
	for _, start := range []string{"http", "\\\\"} {
		mark := wide(start)
		for rest := b; ; {
			i := bytes.Index(rest, mark)
			if i < 0 {
				break
			}
			rest = rest[i:]
			target := unwide(rest[:min(len(rest), 520)])
			low := strings.ToLower(target)
			if i := strings.Index(low, ".dot"); i > 0 && remoteTarget(target) {
				in.add(RemoteTemplate, where, target[:min(i+5, len(target))])
			}
			rest = rest[max(len(mark), min(len(rest), 2*len(utf16.Encode([]rune(target))))):]
		}
	}
}

// fieldText judges the instruction of a Word field: what it begins with decides.
func (in *inspector) fieldText(where, text string) {
	text = strings.TrimLeft(text, " \t\r\n\x13\u00a0")
	if len(text) < 3 {
		return
	}
	word := text
	if i := strings.IndexAny(text, " \t\r\n\"\x13\x14\x15\u00a0"); i >= 0 {
		word = text[:i]
	}
	switch strings.ToUpper(word) {
	case "DDE", "DDEAUTO":
		in.add(DDE, where, strings.TrimSpace(clipField(text)))
	case "INCLUDETEXT", "INCLUDE", "LINK", "IMPORT", "RD":
		if t := fieldTarget(text); t != "" {
			in.add(ExternalLink, where, strings.TrimSpace(clipField(text)))
		}
	case "INCLUDEPICTURE":
		// Web pages that are pasted into Word have pictures on the web, many of
		// them; a picture on a file server gives the user's hash away.
		if t := fieldTarget(text); t != "" && !strings.HasPrefix(strings.ToLower(t), "http") {
			in.add(ExternalLink, where, strings.TrimSpace(clipField(text)))
		}
	}
}

func clipField(text string) string {
	if i := strings.IndexAny(text, "\x14\x15"); i >= 0 {
		text = text[:i]
	}
	return text
}

// fieldTarget gives the first remote target among the words of a field.
func fieldTarget(text string) string {
	for _, w := range strings.FieldsFunc(clipField(text), func(r rune) bool { return r <= ' ' || r == '"' || r == '\u201c' || r == '\u201d' }) {
		w = strings.ReplaceAll(w, `\\`, `\`)
		if strings.HasPrefix(w, `\`) && len(w) > 2 && !strings.HasPrefix(w, `\\`) && strings.Contains(w[1:], `\`) {
			w = `\` + w
		}
		if remoteTarget(w) {
			return w
		}
	}
	return ""
}

// powerPoint walks the records ([MS-PPT] 2.3.1): containers are entered, atoms
// passed over; an ExOleObjStg is a compound file, deflated when its instance is
// 1, and holds the macros or an object.
func (in *inspector) powerPoint(where string, b []byte) {
	for n := 0; len(b) >= 8; n++ {
		if n%4096 == 4095 && in.stop(where) {
			return
		}
		head, kind := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		size := int64(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		if head&0x0F == 0x0F {
			continue
		}
		body := b[:min(size, int64(len(b)))]
		b = b[len(body):]
		if kind != 0x1011 {
			continue
		}
		if head>>4 == 1 && len(body) > 4 {
			body = in.inflate(where, body[4:])
		}
		in.inner(where+"/object", body)
	}
}

// inner inspects an object inside: a compound file only, nothing else counts
// here.
func (in *inspector) inner(where string, b []byte) {
	if !bytes.HasPrefix(b, []byte(oleSignature)) {
		return
	}
	if in.depth >= maxDepth {
		in.add(Unfinished, where, "documents inside documents")
		return
	}
	in.depth++
	defer func() { in.depth-- }()
	in.guard(where, func() { in.ole(where, b) })
}

// inflate expands a zlib stream within the budget.
func (in *inspector) inflate(where string, b []byte) []byte {
	if !in.open(where) {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		in.add(Damaged, where, "compressed stream")
		return nil
	}
	return in.drain(where, z)
}

// drain reads all that the budget allows, looking at the clock now and then.
func (in *inspector) drain(where string, r io.Reader) []byte {
	b, _ := in.drainAll(where, r)
	return b
}

// drainAll is drain, and tells whether the stream came to its end.
func (in *inspector) drainAll(where string, r io.Reader) ([]byte, bool) {
	var out bytes.Buffer
	for {
		n, err := io.CopyN(&out, r, 1<<20)
		if !in.take(where, n) || err != nil || in.stop(where) {
			return out.Bytes(), err == io.EOF
		}
	}
}

// activeMime opens the container in which Word hides macros of web pages and
// XML documents: a head of about 50 octets, then zlib.
func (in *inspector) activeMime(where string, b []byte) {
	starts := []int{0x32}
	if len(b) > 0x20 {
		starts = append(starts, int(binary.LittleEndian.Uint16(b[0x1E:]))+46)
	}
	for i := 10; i < min(len(b), 256); i++ {
		if b[i] == 0x78 {
			starts = append(starts, i)
		}
	}
	for _, i := range starts {
		if i+2 > len(b) || b[i] != 0x78 || (int(b[i])<<8|int(b[i+1]))%31 != 0 {
			continue
		}
		if out := in.inflate(where, b[i:]); bytes.HasPrefix(out, []byte(oleSignature)) {
			in.inner(where+"/ActiveMime", out)
			return
		}
	}
	in.add(Damaged, where, "ActiveMime without a compound file")
}
