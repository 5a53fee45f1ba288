package archive

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// cpio reads the portable forms (odc, newc, crc) and the old binary one, as
// they are found alone and in packages.
func (w *walker) cpio(data []byte) (used int64, err error) {
	at, n := int64(0), int64(len(data))
	for {
		if err := w.tick(); err != nil {
			return at, err
		}
		h, ok := cpioHeader(data, at)
		if !ok {
			w.flag("corrupt", "")
			return at, nil
		}
		if h.name == "TRAILER!!!" {
			return min(h.next(), n), nil
		}
		e := &Entry{Container: "cpio", Names: []string{h.name}, Size: h.size}
		if h.data > n || h.size > n-h.data {
			w.flag("corrupt", h.name)
			h.data = min(h.data, n)
			h.size, e.Truncated = n-h.data, true
		}
		if err := w.unixMember(e, h.mode, data[h.data:h.data+h.size]); err != nil {
			return at, err
		}
		at = h.next()
		if at >= n {
			w.flag("corrupt", "")
			return n, nil
		}
	}
}

// unixMember hands on a member with the mode that Unix gives it.
func (w *walker) unixMember(e *Entry, mode uint64, content []byte) error {
	switch mode & modeKind {
	case modeDir:
		e.Directory = true
	case modeLink:
		e.Link, e.LinkTo = true, string(content[:min(len(content), maxName)])
	case 0, modeFile:
	default:
		e.Link = true
		w.flag("device", first(e.Names))
	}
	if len(content) > 0 || !e.Directory && !e.Link {
		if err := w.plain(e, content); err != nil {
			return err
		}
	}
	return w.member(e)
}

// cpioEntry is one header.
type cpioEntry struct {
	name       string
	mode       uint64
	data, size int64
	align      int64
}

func (h *cpioEntry) next() int64 { end := h.data + h.size; return end + -end&(h.align-1) }

func cpioHeader(data []byte, at int64) (h cpioEntry, ok bool) {
	if at < 0 || at+26 > int64(len(data)) {
		return h, false
	}
	b := data[at:]
	field := func(from, n, base int) uint64 {
		if from+n > len(b) {
			ok = false
			return 0
		}
		v, err := strconv.ParseUint(string(b[from:from+n]), base, 40)
		ok = ok && err == nil
		return v
	}
	ok = true
	var head, nameLen int64
	switch {
	case string(b[:6]) == "070701" || string(b[:6]) == "070702":
		h.mode, h.size, nameLen = field(14, 8, 16), int64(field(54, 8, 16)), int64(field(94, 8, 16))
		head, h.align = 110, 4
	case string(b[:6]) == "070707":
		h.mode, nameLen, h.size = field(18, 6, 8), int64(field(59, 6, 8)), int64(field(65, 11, 8))
		head, h.align = 76, 1
	case b[0] == 0xc7 && b[1] == 0x71 || b[0] == 0x71 && b[1] == 0xc7:
		var o binary.ByteOrder = binary.LittleEndian
		if b[0] == 0x71 {
			o = binary.BigEndian
		}
		h.mode, nameLen = uint64(o.Uint16(b[6:])), int64(o.Uint16(b[20:]))
		h.size = int64(o.Uint16(b[22:]))<<16 | int64(o.Uint16(b[24:]))
		head, h.align = 26, 2
	default:
		return h, false
	}
	if !ok || nameLen < 1 || nameLen > 1<<16 || head+nameLen > int64(len(b)) {
		return h, false
	}
	h.name = cString(b[head : head+nameLen])
	end := at + head + nameLen
	h.data = end + -end&(h.align-1)
	return h, true
}

// binaryCpio wants more than the two octets of the old sign.
func binaryCpio(b []byte) bool {
	h, ok := cpioHeader(b, 0)
	return ok && h.name != "" && !strings.ContainsFunc(h.name, func(r rune) bool { return r < ' ' }) &&
		(h.mode&modeKind != 0 || h.name == "TRAILER!!!")
}

// ar reads the archives of ar(1), which Debian packages are.
func (w *walker) ar(data []byte) (used int64, err error) {
	at, n := int64(8), int64(len(data))
	var long []byte
	for at+60 <= n {
		b := data[at:]
		size, perr := strconv.ParseInt(strings.TrimSpace(string(b[48:58])), 10, 40)
		if perr != nil || size < 0 || string(b[58:60]) != "`\n" {
			w.flag("corrupt", "")
			return at, nil
		}
		name := strings.TrimRight(string(b[:16]), " ")
		mode, _ := strconv.ParseUint(strings.TrimSpace(string(b[40:48])), 8, 32)
		at += 60
		content := data[at:min(at+size, n)]
		e := &Entry{Container: "ar", Size: size}
		if int64(len(content)) < size {
			w.flag("corrupt", name)
			e.Truncated = true
		}
		at += size + size&1
		switch {
		case name == "//":
			long = content
			continue
		case name == "/" || name == "/SYM64/":
			continue
		case strings.HasPrefix(name, "#1/"): // BSD: the name is in front of the data
			k, _ := strconv.Atoi(name[3:])
			k = max(0, min(k, len(content)))
			name, content = cString(content[:k]), content[k:]
		case strings.HasPrefix(name, "/"):
			k, kerr := strconv.Atoi(name[1:])
			if kerr == nil && k >= 0 && k < len(long) {
				name, _, _ = strings.Cut(string(long[k:]), "\n")
			}
		}
		e.Names = []string{strings.TrimSuffix(name, "/")}
		if err := w.unixMember(e, mode, content); err != nil {
			return at, err
		}
	}
	return min(at, n), nil
}

// rpm steps over lead, signature and header, behind which the payload is a
// compressed cpio.
func (w *walker) rpm(data []byte) error {
	at := int64(96)
	for i := range 2 {
		if at+16 > int64(len(data)) || !bytes.HasPrefix(data[at:], []byte("\x8e\xad\xe8\x01")) {
			w.flag("corrupt", "")
			return nil
		}
		b := data[at:]
		at += 16 + int64(binary.BigEndian.Uint32(b[8:]))*16 + int64(binary.BigEndian.Uint32(b[12:]))
		if i == 0 {
			at += -at & 7
		}
	}
	if at >= int64(len(data)) {
		w.flag("corrupt", "")
		return nil
	}
	e := &Entry{Container: "rpm", Names: []string{""}, Size: int64(len(data)) - at}
	if err := w.plain(e, data[at:]); err != nil {
		return err
	}
	return w.member(e)
}
