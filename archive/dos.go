package archive

import (
	"hash/crc32"
	"strings"
	"unicode/utf16"
)

// The archives of the nineties: LHA, ARJ, ACE and ZOO. Names are read of all
// of them, contents where they are stored; that a mail has one at all is what
// matters today.

// isLHA knows the method in the middle of the header.
func isLHA(b []byte) bool {
	if len(b) < 22 || b[2] != '-' || b[6] != '-' || b[20] > 3 {
		return false
	}
	m := string(b[3:5])
	return (m == "lh" || m == "lz" || m == "pm") && (b[5] >= '0' && b[5] <= '9' || b[5] >= 'a' && b[5] <= 'z')
}

// lhaHeader is a header of level 0 to 3.
type lhaHeader struct {
	name       string
	method     string
	wide       string // in UTF-16
	folder     string
	size       int64
	data, next int64
}

func (w *walker) lha(data []byte) (used int64, err error) {
	at, n := int64(0), int64(len(data))
	for at < n && data[at] != 0 {
		if err := w.tick(); err != nil {
			return at, err
		}
		h, ok := lhaAt(data, at)
		if !ok {
			w.flag("corrupt", "")
			return at, nil
		}
		e := &Entry{Container: "lha", Names: []string{h.folder + h.name}, Size: h.size, Directory: h.method == "-lhd-"}
		if h.wide != "" {
			e.Names = append(e.Names, h.folder+h.wide)
		}
		from, to := min(h.data, n), min(h.next, n)
		if h.next > n {
			w.flag("corrupt", h.name)
			e.Truncated = true
		}
		stored := h.method == "-lh0-" || h.method == "-lz4-" || h.method == "-pm0-"
		if err := w.dosMember(e, stored, data[from:to]); err != nil {
			return at, err
		}
		at = h.next
	}
	return min(at+1, n), nil
}

// dosMember hands on a member that is stored, or else is not read.
func (w *walker) dosMember(e *Entry, stored bool, content []byte) error {
	switch {
	case e.Encrypted || e.Directory:
	case stored:
		if err := w.plain(e, content); err != nil {
			return err
		}
	default:
		w.flag("unsupported", first(e.Names))
	}
	return w.member(e)
}

func lhaAt(data []byte, at int64) (h lhaHeader, ok bool) {
	b := data[at:]
	if !isLHA(b) {
		return h, false
	}
	packed := int64(le32(b[7:]))
	h.method, h.size = string(b[2:7]), int64(le32(b[11:]))
	word, ext, head := 2, 0, 0
	switch b[20] {
	case 0, 1:
		head = int(b[0]) + 2
		n := int(b[21])
		if head > len(b) || 22+n > head {
			return h, false
		}
		h.name = string(b[22 : 22+n])
		if b[20] == 1 {
			ext = head - 2
		}
	case 2:
		head, ext = int(le16(b)), 24
	case 3:
		if len(b) < 32 {
			return h, false
		}
		head, ext, word = int(le32(b[24:])), 28, 4
	}
	if head < 22 || head > len(b) {
		return h, false
	}
	h.data = at + int64(head)
	h.next = h.data + packed
	if ext > 0 {
		n := lhaExtensions(&h, b, ext, word)
		if b[20] == 1 {
			h.data += int64(n)
		}
	}
	if h.data > h.next {
		return h, false
	}
	return h, h.next > at
}

// lhaExtensions reads names from the extended headers and returns their length.
func lhaExtensions(h *lhaHeader, b []byte, at, word int) (total int) {
	for range 256 {
		if at+word > len(b) {
			return total
		}
		n := int(le16(b[at:]))
		if word == 4 {
			n = int(le32(b[at:]))
		}
		at += word
		if n <= word || at+n > len(b) {
			return total
		}
		total += n
		x := b[at+1 : at+n-word]
		switch b[at] {
		case 0x01:
			h.name = string(x)
		case 0x02:
			h.folder = strings.ReplaceAll(string(x), "\xff", "/")
		case 0x44:
			u := make([]uint16, len(x)/2)
			for i := range u {
				u[i] = le16(x[2*i:])
			}
			h.wide = string(utf16.Decode(u))
		}
		at += n - word
	}
	return total
}

// plausibleARJ wants the checksum of the main header.
func plausibleARJ(b []byte) bool {
	if len(b) < 38 {
		return false
	}
	n := int(le16(b[2:]))
	return n >= 30 && n <= 2600 && 8+n <= len(b) && crc32.ChecksumIEEE(b[4:4+n]) == le32(b[4+n:])
}

func (w *walker) arj(data []byte) (used int64, err error) {
	at, n := int64(0), int64(len(data))
	for i := 0; ; i++ {
		if err := w.tick(); err != nil {
			return at, err
		}
		if at+4 > n || data[at] != 0x60 || data[at+1] != 0xea {
			w.flag("corrupt", "")
			return min(at, n), nil
		}
		size := int64(le16(data[at+2:]))
		if size == 0 {
			return at + 4, nil
		}
		if size < 30 || at+8+size > n || int64(data[at+4]) > size {
			w.flag("corrupt", "")
			return at, nil
		}
		h := data[at+4 : at+4+size]
		at += 8 + size
		for at+2 <= n { // extended headers
			x := int64(le16(data[at:]))
			at += 2
			if x == 0 {
				break
			}
			at += x + 4
		}
		if i == 0 { // of the archive itself
			continue
		}
		packed := int64(le32(h[12:]))
		e := &Entry{
			Container: "arj", Names: []string{cString(h[h[0]:])}, Size: int64(le32(h[16:])),
			Encrypted: h[4]&1 != 0, Directory: h[6] == 3,
		}
		if h[4]&4 != 0 {
			w.flag("volume", first(e.Names))
		}
		from, to := min(at, n), min(at+packed, n)
		if to-from < packed {
			w.flag("corrupt", first(e.Names))
			e.Truncated = true
		}
		if err := w.dosMember(e, h[5] == 0, data[from:to]); err != nil {
			return at, err
		}
		at += packed
	}
}

func (w *walker) ace(data []byte) error {
	n := int64(len(data))
	for at := int64(0); at+7 <= n; {
		if err := w.tick(); err != nil {
			return err
		}
		b := data[at:]
		size, kind, flags := int64(le16(b[2:])), b[4], le16(b[5:])
		end := at + 4 + size
		if size < 3 || end > n {
			w.flag("corrupt", "")
			return nil
		}
		add := int64(0)
		if flags&1 != 0 && size >= 7 {
			add = int64(le32(b[7:]))
		}
		if kind == 1 && size >= 31 {
			e := &Entry{Container: "ace", Size: int64(le32(b[11:])), Encrypted: flags&0x4000 != 0}
			e.Names = []string{string(b[35:min(35+int64(le16(b[33:])), 4+size)])}
			if flags&0x3000 != 0 {
				w.flag("volume", first(e.Names))
			}
			from := min(end, n)
			to := min(end+add, n)
			e.Directory = le32(b[19:])&0x10 != 0
			if err := w.dosMember(e, b[27] == 0, data[from:to]); err != nil {
				return err
			}
		}
		at = end + add
	}
	return nil
}

func (w *walker) zoo(data []byte) error {
	n := int64(len(data))
	if n < 34 {
		w.flag("corrupt", "")
		return nil
	}
	at, last := int64(le32(data[24:])), int64(0)
	for at > last { // the list only goes forward here, so it ends
		if err := w.tick(); err != nil {
			return err
		}
		if at+51 > n || le32(data[at:]) != 0xfdc4a7dc {
			w.flag("corrupt", "")
			return nil
		}
		b := data[at:]
		next := int64(le32(b[6:]))
		if next == 0 {
			return nil
		}
		e := &Entry{Container: "zoo", Names: []string{cString(b[38:51])}, Size: int64(le32(b[20:]))}
		if b[4] == 2 && len(b) >= 58 {
			if k := int(b[56]); k > 0 && 58+k <= len(b) {
				e.Names = append([]string{cString(b[58 : 58+k])}, e.Names...)
			}
		}
		from := min(int64(le32(b[10:])), n)
		if err := w.dosMember(e, b[5] == 0, data[from:min(from+int64(le32(b[24:])), n)]); err != nil {
			return err
		}
		last, at = at, next
	}
	return nil
}
