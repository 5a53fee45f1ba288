package archive

import (
	"errors"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/nwaples/rardecode/v2"
)

// rarBlock is a file header as a walk over the blocks finds it, which needs no
// decoder: the names are told even of what the library does not read.
type rarBlock struct {
	name      string
	size      int64
	encrypted bool
	split     bool
}

// rar reads RAR 1.5 to 7. The contents are the library's; what it refuses
// stays with the names of our own walk.
func (w *walker) rar(data []byte) (used int64, err error) {
	blocks, used, locked := rarBlocks(data)
	if locked {
		w.flag("encrypted-directory", "")
		return int64(len(data)), nil
	}
	split := false
	for _, b := range blocks {
		split = split || b.split
	}
	if split {
		w.flag("volume", "")
	}
	var r *rardecode.Reader
	rerr := w.guard(func() (err error) {
		r, err = rardecode.NewReader(w.paced(data[:used]), rardecode.MaxDictionarySize(maxDictionary))
		return err
	})
	seen := 0
	for rerr == nil {
		var h *rardecode.FileHeader
		rerr = w.guard(func() (err error) { h, err = r.Next(); return err })
		if rerr != nil {
			break
		}
		seen++
		stop, err := w.rarMember(r, h)
		if err != nil {
			return used, err
		}
		if stop {
			break
		}
	}
	switch {
	case rerr == nil || errors.Is(rerr, io.EOF):
	case errors.Is(rerr, errTick):
		return used, w.tick()
	case errors.Is(rerr, rardecode.ErrArchiveEncrypted):
		w.flag("encrypted-directory", "")
	case errors.Is(rerr, rardecode.ErrMultiVolume):
		w.flag("volume", "")
	default:
		w.flagRAR(rerr, "")
	}
	for _, b := range blocks[min(seen, len(blocks)):] {
		e := &Entry{Container: "rar", Names: []string{b.name}, Size: b.size, Encrypted: b.encrypted}
		if err := w.member(e); err != nil {
			return used, err
		}
	}
	return used, nil
}

// rarMember reads one member; stop tells that the rest cannot be read.
func (w *walker) rarMember(r *rardecode.Reader, h *rardecode.FileHeader) (stop bool, err error) {
	e := &Entry{
		Container: "rar", Names: []string{h.Name}, Size: h.UnPackedSize, Encrypted: h.Encrypted,
		Directory: h.IsDir, Link: h.LinkType != 0, LinkTo: h.LinkTarget,
	}
	if h.UnKnownSize {
		e.Size = -1
	}
	if h.Encrypted || h.IsDir || h.LinkType != 0 {
		return false, w.member(e)
	}
	c, err := w.read(r, e.Size, max(h.PackedSize, 1))
	if err != nil {
		return false, err
	}
	if c.end == corrupt {
		w.flagRAR(c.err, h.Name)
		e.Data, e.Truncated = c.data, true
		if len(c.data) == 0 {
			e.Data = nil
		}
	} else {
		w.body(e, c)
	}
	stop = h.Solid && c.end != whole || errors.Is(c.err, errPanic)
	return stop, w.hold(int64(len(c.data)), func() error { return w.member(e) })
}

// flagRAR sorts the errors of the library.
func (w *walker) flagRAR(err error, name string) {
	switch {
	case errors.Is(err, errPanic), errors.Is(err, errTick):
	case errors.Is(err, rardecode.ErrDictionaryTooLarge):
		w.flag("dictionary", name)
	case errors.Is(err, rardecode.ErrMultiVolume), errors.Is(err, rardecode.ErrBadVolumeNumber):
		w.flag("volume", name)
	case errors.Is(err, rardecode.ErrArchivedFileEncrypted):
		w.flag("encrypted", name)
	case errors.Is(err, rardecode.ErrUnknownDecoder), errors.Is(err, rardecode.ErrUnsupportedDecoder),
		errors.Is(err, rardecode.ErrUnknownVersion), errors.Is(err, rardecode.ErrMultipleDecoders):
		w.flag("unsupported", name)
	default:
		w.flag("corrupt", name)
	}
}

// rarBlocks walks the blocks of either form and tells where the archive ends,
// and whether its headers are encrypted.
func rarBlocks(data []byte) (blocks []rarBlock, used int64, locked bool) {
	if len(data) >= 8 && data[6] == 1 {
		return rar5Blocks(data)
	}
	at := int64(7)
	n := int64(len(data))
	for at+7 <= n {
		b := data[at:]
		kind, flags, size := b[2], le16(b[3:]), int64(le16(b[5:]))
		if size < 7 || at+size > n || kind < 0x72 || kind > 0x7b {
			return blocks, n, locked
		}
		if kind == 0x73 && flags&0x80 != 0 {
			return blocks, n, true
		}
		add := int64(0)
		if flags&0x8000 != 0 || kind == 0x74 || kind == 0x7a {
			if size < 11 {
				return blocks, n, locked
			}
			add = int64(le32(b[7:]))
		}
		if kind == 0x74 && size >= 32 {
			if flags&0x100 != 0 && size >= 40 {
				add |= int64(le32(b[32:])&0x7fffffff) << 32
			}
			blocks = append(blocks, rar4File(b[:size], flags))
		}
		at += size
		if kind == 0x7b {
			return blocks, min(at, n), false
		}
		if at += add; at > n || at < 0 {
			return blocks, n, false
		}
	}
	return blocks, n, false
}

// rar4File reads the header of a file.
func rar4File(b []byte, flags uint16) rarBlock {
	f := rarBlock{size: int64(le32(b[11:])), encrypted: flags&4 != 0, split: flags&3 != 0}
	from, n := 32, int(le16(b[26:]))
	if flags&0x100 != 0 {
		from = 40
	}
	if from > len(b) {
		return f
	}
	name := b[from:min(from+n, len(b))]
	f.name = cString(name)
	if i := len(f.name); flags&0x200 != 0 && i < len(name) {
		f.name = rarUnicode(f.name, name[i+1:])
	}
	return f
}

// rarUnicode undoes the packing of names in RAR 2.9 and later.
func rarUnicode(plain string, b []byte) string {
	if len(b) < 1 {
		return plain
	}
	high := uint16(b[0]) << 8
	b = b[1:]
	var out []uint16
	var flags byte
	for have := 0; len(b) > 0 && len(out) < maxName; {
		if have == 0 {
			flags, have, b = b[0], 8, b[1:]
			continue
		}
		have -= 2
		switch k := flags >> have & 3; {
		case k == 0:
			out, b = append(out, uint16(b[0])), b[1:]
		case k == 1:
			out, b = append(out, uint16(b[0])|high), b[1:]
		case k == 2 && len(b) >= 2:
			out, b = append(out, le16(b)), b[2:]
		case k == 3:
			n := int(b[0]&0x7f) + 2
			fix, add := byte(0), uint16(0)
			if b[0]&0x80 != 0 && len(b) >= 2 {
				fix, add = b[1], high
				b = b[1:]
			}
			b = b[1:]
			for ; n > 0 && len(out) < len(plain); n-- {
				out = append(out, uint16(plain[len(out)]+fix)|add)
			}
		default:
			b = nil
		}
	}
	return string(utf16.Decode(out))
}

// rar5Blocks walks the blocks of RAR 5.
func rar5Blocks(data []byte) (blocks []rarBlock, used int64, locked bool) {
	at, n := int64(8), int64(len(data))
	for at+7 <= n {
		b := data[at:]
		size, i := uvarint(b[4:])
		if i == 0 || size > 2<<20 || 4+uint64(i)+size > uint64(len(b)) {
			return blocks, n, false
		}
		h := b[4+i : 4+uint64(i)+size]
		f := fields{h}
		kind, flags := f.next(), f.next()
		if flags&1 != 0 {
			f.next()
		}
		var add uint64
		if flags&2 != 0 {
			add = f.next()
		}
		at += int64(4+i) + int64(size)
		switch kind {
		case 4:
			return blocks, n, true
		case 5:
			return blocks, at, false
		case 2:
			blocks = append(blocks, rar5File(&f, flags))
		}
		if add > uint64(n-at) {
			return blocks, n, false
		}
		at += int64(add)
	}
	return blocks, n, false
}

// fields are numbers in a row.
type fields struct{ b []byte }

func (f *fields) next() uint64 {
	v, n := uvarint(f.b)
	f.b = f.b[n:]
	return v
}

func rar5File(f *fields, flags uint64) rarBlock {
	b := rarBlock{split: flags&0x18 != 0}
	ff := f.next()
	b.size = int64(min(f.next(), 1<<62))
	f.next() // attributes
	skip := 0
	if ff&2 != 0 {
		skip += 4
	}
	if ff&4 != 0 {
		skip += 4
	}
	f.b = f.b[min(skip, len(f.b)):]
	f.next() // compression
	f.next() // system
	n := f.next()
	b.name = strings.ToValidUTF8(string(f.b[:min(n, uint64(len(f.b)))]), "\uFFFD")
	f.b = f.b[min(n, uint64(len(f.b))):]
	for len(f.b) > 0 { // extra records: 1 is encryption
		size := f.next()
		if size == 0 || size > uint64(len(f.b)) {
			break
		}
		kind, _ := uvarint(f.b)
		b.encrypted = b.encrypted || kind == 1
		f.b = f.b[size:]
	}
	return b
}
