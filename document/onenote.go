package document

import (
	"bytes"
	"encoding/binary"
	"path"
	"strings"
)

const (
	oneNoteSignature = "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"
	// FileDataStoreObject ([MS-ONESTORE] 2.6.13).
	oneNoteFile   = "\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
	linkSignature = "L\x00\x00\x00\x01\x14\x02\x00"
)

// oneNote takes the files out of a section. The names stand elsewhere in the
// file, as counted UTF-16 strings: which belongs to which would need the whole
// store to be read, so every file that is no picture gets them all.
func (in *inspector) oneNote(where string, b []byte) {
	var names []string
	for rest := b; ; {
		i := bytes.Index(rest, []byte(oneNoteFile))
		if i < 0 || len(rest)-i < 36 {
			return
		}
		if in.stop(where) {
			return
		}
		rest = rest[i:]
		n := int64(min(binary.LittleEndian.Uint64(rest[16:]), uint64(len(rest)-36)))
		data := rest[36 : 36+n]
		if n > 0 && !picture(data) {
			if names == nil {
				names = countedNames(b)
			}
			in.embed(join(where, "file"), names, data)
		}
		// A length that lies must not hide the next file.
		rest = rest[16:]
	}
}

func picture(b []byte) bool {
	for _, sign := range []string{"\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a"} {
		if bytes.HasPrefix(b, []byte(sign)) {
			return true
		}
	}
	return len(b) > 44 && bytes.HasPrefix(b, []byte("\x01\x00\x00\x00")) && bytes.Equal(b[40:44], []byte(" EMF"))
}

// countedNames finds UTF-16 strings with their length in octets in front that
// look like file names: a dot, then one to eight letters or digits.
func countedNames(b []byte) []string {
	names := []string{}
	for i := 0; i+10 < len(b) && len(names) < 32; i++ {
		if b[i+2]|b[i+3] != 0 || b[i]&1 != 0 || b[i+1] > 2 {
			continue
		}
		n := int(binary.LittleEndian.Uint16(b[i:]))
		if n < 6 || i+4+n > len(b) {
			continue
		}
		if s := unwide(b[i+4 : i+4+n]); fileName(s) && len(s)*2+4 >= n/2 {
			names = appendNew(names, path.Base(strings.ReplaceAll(s, "\\", "/")))
			i += 3 + n
		}
	}
	return names
}

func fileName(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	if dot < 1 || len(s)-dot < 2 || len(s)-dot > 9 {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || i > dot && !wordByte(s[i]) {
			return false
		}
	}
	return true
}

// shortcut reads the target and the arguments of a .lnk ([MS-SHLLINK]).
func (in *inspector) shortcut(where string, b []byte) {
	in.add(ShortcutTarget, where, strings.Join(shortcutStrings(b), " "))
}

func shortcutStrings(b []byte) []string {
	if len(b) < 0x4C {
		return nil
	}
	flags := binary.LittleEndian.Uint32(b[0x14:])
	rest := b[0x4C:]
	if flags&1 != 0 { // list of item IDs
		if len(rest) < 2 {
			return nil
		}
		rest = rest[min(len(rest), 2+int(binary.LittleEndian.Uint16(rest))):]
	}
	if flags&2 != 0 { // LinkInfo
		if len(rest) < 4 {
			return nil
		}
		rest = rest[min(int64(len(rest)), int64(binary.LittleEndian.Uint32(rest))):]
	}
	var out []string
	for bit := uint32(4); bit <= 0x40; bit <<= 1 { // name, path, folder, arguments, icon
		if flags&bit == 0 {
			continue
		}
		if len(rest) < 2 {
			break
		}
		n := int(binary.LittleEndian.Uint16(rest))
		if flags&0x80 != 0 {
			n *= 2
		}
		n = min(n, len(rest)-2)
		s := rest[2 : 2+n]
		rest = rest[2+n:]
		if bit == 8 || bit == 0x20 {
			if flags&0x80 != 0 {
				out = append(out, unwide(s))
			} else {
				out = append(out, string(s))
			}
		}
	}
	return out
}
