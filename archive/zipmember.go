package archive

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// Kinds of file in the upper half of the external attributes, as in stat(2).
const (
	modeKind = 0o170000
	modeDir  = 0o040000
	modeLink = 0o120000
	modeFile = 0o100000
)

// reading is one way in which some program unpacks a member.
type reading struct {
	method   uint16
	from, to int64
	size     uint64
	crc      uint32
	sure     bool // sizes and checksum are the directory's
}

// emit hands on a member: all its names, and each content that one of its
// headers leads to.
func (z *zipFile) emit(m *zipMember) error {
	if m.central != nil && m.local != nil {
		z.compare(m)
	}
	e := z.entry(m)
	reads := z.readings(m)
	if m.local == nil {
		z.w.flag("zip-missing-member", first(e.Names))
		return z.w.member(&e)
	}
	if e.Encrypted && (m.central == nil || m.central.flags&m.local.flags&flagEncrypted != 0) || len(reads) == 0 {
		return z.w.member(&e)
	}
	var last []byte
	seen := false
	for _, r := range reads {
		one := e
		if err := z.unpack(&one, r); err != nil {
			return err
		}
		if seen && (one.Data == nil || bytes.Equal(last, one.Data)) {
			continue
		}
		seen, last = true, one.Data
		if one.Link && one.Data != nil {
			one.LinkTo = string(one.Data[:min(len(one.Data), maxName)])
		}
		n := int64(len(one.Data))
		if r.method == stored {
			n = 0 // it lies in the archive's own memory
		}
		if err := z.w.hold(n, func() error { return z.w.member(&one) }); err != nil {
			return err
		}
	}
	return nil
}

// entry is what the headers say without the data.
func (z *zipFile) entry(m *zipMember) Entry {
	e := Entry{Container: "zip", Size: -1}
	for _, h := range []*header{m.central, m.local} {
		if h == nil {
			continue
		}
		if m.central == nil || h.flags&flagMasked == 0 || h == m.central {
			e.Names = append(e.Names, h.names()...)
		}
		if name, valid, ok := h.unicodePath(); ok {
			if name != "" {
				e.Names = append(e.Names, name)
			}
			if !valid || !alike(string(h.name), name) {
				z.w.flag("zip-unicode-path", name)
			}
		}
		if h.flags&flagEncrypted != 0 || h.method == aesMarker {
			e.Encrypted = true
		}
		if h.size < 1<<62 && e.Size < 0 {
			e.Size = int64(h.size)
		}
	}
	name := first(e.Names)
	e.Directory = strings.HasSuffix(name, "/") || strings.HasSuffix(name, "\\")
	if strings.Contains(name, "\\") {
		z.w.flag("zip-backslash", name)
	}
	if m.central != nil {
		switch m.central.attributes >> 16 & modeKind {
		case modeLink:
			e.Link = true
		case 0, modeFile, modeDir:
		default:
			if m.central.attributes>>16&modeKind < modeFile {
				z.w.flag("device", name)
			}
		}
		if m.central.attributes&0x10 != 0 && m.central.attributes>>16&modeKind != modeFile {
			e.Directory = true
		}
	}
	if e.Directory && m.to > m.from && e.Size > 0 {
		z.w.flag("zip-directory-data", name)
	}
	return e
}

// alike tells whether a plain name is the Unicode one as a writer without the
// letters puts it: what is plain in both must agree, and so must the extension.
func alike(plain, unicode string) bool {
	if plain == unicode {
		return true
	}
	if ascii([]byte(plain)) && !strings.ContainsAny(plain, "?_#") {
		return false
	}
	return extension(plain) == extension(unicode)
}

// extension is what follows the last dot, in lower case.
func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return lower(name[i:])
	}
	return ""
}

// compare tells where the two headers of a member differ (ZipDiff A).
func (z *zipFile) compare(m *zipMember) {
	c, l := m.central, m.local
	name := string(c.name)
	if (c.flags^l.flags)&flagEncrypted != 0 {
		z.w.flag("zip-flags-differ", name)
	}
	if l.flags&flagMasked != 0 {
		return
	}
	if !bytes.Equal(c.name, l.name) {
		z.w.flag("zip-names-differ", string(l.name))
	}
	if a, _, ok := c.unicodePath(); ok {
		if b, _, also := l.unicodePath(); also && a != b {
			z.w.flag("zip-names-differ", b)
		}
	}
	if (c.flags^l.flags)&flagUTF8 != 0 && !ascii(c.name) {
		z.w.flag("zip-flags-differ", name)
	}
	if (c.flags^l.flags)&flagDescriptor != 0 {
		z.w.flag("zip-streamed", name)
	}
	if c.method != l.method {
		z.w.flag("zip-method-differs", name)
	}
	if streamed := l.flags&flagDescriptor != 0; streamed && l.crc == 0 && l.packed == 0 && l.size == 0 {
		return
	}
	// a header for a stream of unknown length has no room for sizes in zip64
	unknown := func(v uint64) bool { return l.flags&flagDescriptor != 0 && (v == 0 || v == 0xffffffff) }
	if c.packed != l.packed && !unknown(l.packed) || c.size != l.size && !unknown(l.size) {
		z.w.flag("zip-sizes-differ", name)
	}
	if c.crc != l.crc && !(l.flags&flagDescriptor != 0 && l.crc == 0) {
		z.w.flag("zip-crc-differs", name)
	}
}

// readings are the distinct ways to unpack the member.
func (z *zipFile) readings(m *zipMember) []reading {
	if m.local == nil {
		return nil
	}
	n := int64(len(z.data))
	var out []reading
	add := func(r reading) {
		r.to = min(max(r.to, r.from), n)
		same := func(o reading) bool { return o.method == r.method && o.to == r.to }
		if !slices.ContainsFunc(out, same) {
			out = append(out, r)
		}
	}
	if c := m.central; c != nil {
		add(reading{c.method, m.from, m.to, c.size, c.crc, true})
		if l := m.local; l.flags&flagMasked == 0 {
			to := m.to
			if l.packed != c.packed && l.packed != 0 && l.packed <= uint64(n-m.from) {
				to = m.from + int64(l.packed)
			}
			add(reading{l.method, m.from, to, l.size, l.crc, false})
		}
	} else {
		l := m.local
		add(reading{l.method, m.from, m.to, l.size, l.crc, l.flags&flagDescriptor == 0})
	}
	if m.extra > m.to {
		add(reading{m.local.method, m.from, m.extra, 0, 0, false})
	}
	return out
}

// unpack fills in the content of one reading.
func (z *zipFile) unpack(e *Entry, r reading) error {
	w, raw := z.w, z.data[r.from:r.to]
	if r.method == stored {
		if r.sure && (r.size != uint64(len(raw)) || r.size > 0 && len(raw) == 0) {
			if r.to == int64(len(z.data)) && r.size > uint64(len(raw)) {
				w.flag("corrupt", first(e.Names))
			} else {
				w.flag("zip-sizes-differ", first(e.Names))
			}
		}
		if err := w.plain(e, raw); err != nil {
			return err
		}
		z.checksum(e, r)
		return nil
	}
	in := w.paced(raw)
	var dec io.Reader
	err := w.guard(func() (err error) {
		dec, err = zipDecoder(w, r.method, in, raw, r.size)
		return err
	})
	if err != nil || dec == nil {
		switch {
		case !r.sure:
		case err == errDictionary:
			w.flag("dictionary", first(e.Names))
		case err != nil:
			w.flag("corrupt", first(e.Names))
		default:
			w.flag("unsupported", first(e.Names))
		}
		return w.tick()
	}
	c, err := w.read(dec, int64(min(r.size, 1<<40)), int64(len(raw)))
	if c, ok := dec.(io.Closer); ok {
		c.Close()
	}
	if err != nil {
		return err
	}
	if !r.sure && c.end == corrupt {
		if len(c.data) > 0 {
			e.Data, e.Truncated = c.data, true
		}
		return nil
	}
	w.body(e, c)
	if c.end != whole {
		return nil
	}
	if r.sure {
		if uint64(len(c.data)) != r.size || r.method == deflated && in.used() < int64(len(raw)) {
			w.flag("zip-sizes-differ", first(e.Names))
		}
		z.checksum(e, r)
	}
	return nil
}

// checksum compares the data with what the directory says of it: what programs
// refuse, or open all the same, is damaged (Z-19).
func (z *zipFile) checksum(e *Entry, r reading) {
	if !r.sure || e.Truncated || uint64(len(e.Data)) != r.size {
		return
	}
	if crc32.ChecksumIEEE(e.Data) != r.crc {
		z.w.flag("corrupt", first(e.Names))
	}
}

// zipDecoder is the decoder for a method; nil for those that are not read.
func zipDecoder(w *walker, method uint16, in *paced, raw []byte, size uint64) (io.Reader, error) {
	switch method {
	case deflated:
		return flate.NewReader(in), nil
	case bzipped:
		return bzip2.NewReader(in), nil
	case zstdOld, zstdNew:
		return zstdReader(in)
	case xzed:
		return newXZ(w, raw), nil
	case lzmaed:
		// 5.8.8: version, size of the properties, properties, data
		if len(raw) < 9 || le16(raw[2:]) != 5 {
			return nil, io.ErrUnexpectedEOF
		}
		head := append(make([]byte, 0, 13), raw[4:9]...)
		if size == 0xffffffff || size == 0 {
			size = 1<<64 - 1
		}
		head = binary.LittleEndian.AppendUint64(head, size)
		return lzmaReader(w, head, raw[9:])
	}
	return nil, nil
}
