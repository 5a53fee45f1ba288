package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Signatures of APPNOTE 6.3.10, section 4.3.
const (
	localSign   = "PK\x03\x04"
	centralSign = "PK\x01\x02"
	endSign     = "PK\x05\x06"
	end64Sign   = "PK\x06\x06"
	locatorSign = "PK\x06\x07"
	descSign    = "PK\x07\x08"
)

// Flags of general purpose, 4.4.4.
const (
	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagStrong     = 1 << 6
	flagUTF8       = 1 << 11
	flagMasked     = 1 << 13
)

// Methods, 4.4.5.
const (
	stored    = 0
	deflated  = 8
	bzipped   = 12
	lzmaed    = 14
	zstdOld   = 20
	zstdNew   = 93
	xzed      = 95
	aesMarker = 99
)

// header is what the local and the central header say alike.
type header struct {
	flags, method uint16
	crc           uint32
	packed, size  uint64
	name, extra   []byte
	zip64         bool
	attributes    uint32 // central
	local         int64  // central: where the local header should be
	from, to      int64  // of the header itself
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// localAt reads the local header at an offset.
func localAt(data []byte, at int64) (h header, ok bool) {
	if at < 0 || at > int64(len(data))-30 || string(data[at:at+4]) != localSign {
		return h, false
	}
	b := data[at:]
	n, e := int64(le16(b[26:])), int64(le16(b[28:]))
	if 30+n > int64(len(b)) {
		return h, false
	}
	e = min(e, int64(len(b))-30-n)
	h = header{
		flags: le16(b[6:]), method: le16(b[8:]), crc: le32(b[14:]), packed: uint64(le32(b[18:])),
		size: uint64(le32(b[22:])), name: b[30 : 30+n], extra: b[30+n : 30+n+e], from: at, to: at + 30 + n + e,
	}
	h.wide(false)
	return h, true
}

// plausibleLocal tells a local header from four chance octets.
func plausibleLocal(b []byte) bool {
	if len(b) < 30 || string(b[:4]) != localSign {
		return false
	}
	n := int(le16(b[26:]))
	if b[4] > 100 || n > 4096 || 30+n > len(b) {
		return false
	}
	switch m := le16(b[8:]); {
	case m <= 20, m >= 93 && m <= 99:
	default:
		return false
	}
	return true
}

// centralAt reads the directory record at an offset.
func centralAt(data []byte, at int64) (h header, ok bool) {
	if at < 0 || at > int64(len(data))-46 || string(data[at:at+4]) != centralSign {
		return h, false
	}
	b := data[at:]
	n, e, c := int64(le16(b[28:])), int64(le16(b[30:])), int64(le16(b[32:]))
	if 46+n > int64(len(b)) {
		return h, false
	}
	e = min(e, int64(len(b))-46-n)
	h = header{
		flags: le16(b[8:]), method: le16(b[10:]), crc: le32(b[16:]), packed: uint64(le32(b[20:])),
		size: uint64(le32(b[24:])), name: b[46 : 46+n], extra: b[46+n : 46+n+e], attributes: le32(b[38:]),
		local: int64(le32(b[42:])), from: at, to: min(at+46+n+e+c, int64(len(data))),
	}
	h.wide(true)
	return h, true
}

// wide reads the zip64 extra field (4.5.3), whose values stand in for those
// that do not fit.
func (h *header) wide(central bool) {
	x, ok := extra(h.extra, 0x0001)
	h.zip64 = ok
	take := func(v uint64) uint64 {
		if v == 0xffffffff && len(x) >= 8 {
			v = le64(x)
			x = x[8:]
		}
		return v
	}
	h.size = take(h.size)
	h.packed = take(h.packed)
	if central {
		h.local = int64(min(take(uint64(h.local)), 1<<62))
	}
}

// extra finds one extra field.
func extra(b []byte, id uint16) ([]byte, bool) {
	for len(b) >= 4 {
		n := int(le16(b[2:]))
		if 4+n > len(b) {
			return nil, false
		}
		if le16(b) == id {
			return b[4 : 4+n], true
		}
		b = b[4+n:]
	}
	return nil, false
}

// unicodePath is the name of extra field 0x7075 and whether its checksum says
// that it belongs to the plain name (4.6.9).
func (h *header) unicodePath() (name string, valid, ok bool) {
	x, ok := extra(h.extra, 0x7075)
	if !ok || len(x) < 5 {
		return "", false, false
	}
	return string(x[5:]), x[0] == 1 && le32(x[1:]) == crc32.ChecksumIEEE(h.name), true
}

// names are the readings of a plain name: in UTF-8 when the flag says so or it
// is such, and in the character set of DOS, which unpackers take otherwise.
func (h *header) names() []string {
	raw := h.name
	if ascii(raw) {
		return []string{string(raw)}
	}
	oem, err := charmap.CodePage437.NewDecoder().Bytes(raw)
	if err != nil {
		oem = raw
	}
	if utf8.Valid(raw) {
		if h.flags&flagUTF8 != 0 {
			return []string{string(raw)}
		}
		return []string{string(raw), string(oem)}
	}
	return []string{string(oem)}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// endRecord is one end of central directory and what it points to.
type endRecord struct {
	from, to int64 // of the record with its comment
	count    uint64
	size     uint64 // of the directory
	offset   uint64
	disk     bool // other disks are named
	cut      bool // the comment goes beyond the data
	wide     *endRecord
}

// endAt reads the end record at an offset, with its zip64 forms.
func endAt(data []byte, at int64) (e endRecord, ok bool) {
	if at < 0 || at > int64(len(data))-22 {
		return e, false
	}
	b := data[at:]
	e = endRecord{
		from: at, to: at + 22 + int64(le16(b[20:])), count: uint64(le16(b[10:])),
		size: uint64(le32(b[12:])), offset: uint64(le32(b[16:])),
		disk: le16(b[4:]) != le16(b[6:]) || le16(b[4:]) != 0 && le16(b[4:]) != 0xffff,
	}
	if e.to > int64(len(data)) {
		e.to, e.cut = int64(len(data)), true
	}
	if at >= 20 && string(data[at-20:at-16]) == locatorSign {
		where := le64(data[at-12:])
		e.wide = wideEnd(data, where, at-20)
	}
	return e, true
}

// wideEnd finds the zip64 record where the locator says, or in front of it, as
// it stands in an archive that has octets in front.
func wideEnd(data []byte, where uint64, locator int64) *endRecord {
	at := int64(-1)
	if where <= uint64(max(locator-56, 0)) && string(data[where:where+4]) == end64Sign {
		at = int64(where)
	} else if i := bytes.LastIndex(data[max(0, locator-4096):locator], []byte(end64Sign)); i >= 0 {
		at = max(0, locator-4096) + int64(i)
	}
	if at < 0 || at+56 > int64(len(data)) {
		return nil
	}
	b := data[at:]
	return &endRecord{from: at, to: locator + 20, count: le64(b[32:]), size: le64(b[40:]), offset: le64(b[48:])}
}

// zipInside tells whether a zip lies anywhere in the octets.
func zipInside(data []byte) bool {
	return nextLocal(data, 0) >= 0 || bytes.Contains(data, []byte(centralSign)) && nextEnd(data, 0) >= 0
}

// zipAtEnd tells whether a program that looks for the end record, as all do
// for a file called zip, finds one.
func zipAtEnd(data []byte) bool {
	tail := int64(max(0, len(data)-22-0xffff))
	return nextEnd(data, tail) >= 0
}

// nextLocal finds the next plausible local header.
func nextLocal(data []byte, from int64) int64 {
	for from < int64(len(data)) {
		i := bytes.Index(data[from:], []byte(localSign))
		if i < 0 {
			return -1
		}
		if plausibleLocal(data[from+int64(i):]) {
			return from + int64(i)
		}
		from += int64(i) + 1
	}
	return -1
}

// nextEnd finds the next end record.
func nextEnd(data []byte, from int64) int64 {
	for from < int64(len(data)) {
		i := bytes.Index(data[from:], []byte(endSign))
		if i < 0 {
			return -1
		}
		at := from + int64(i)
		if e, ok := endAt(data, at); ok && (e.count <= uint64(len(data)) || e.wide != nil) {
			return at
		}
		from = at + 1
	}
	return -1
}
