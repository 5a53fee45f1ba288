package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// kind is a container, by its octets: names and declared types lie (Z-15).
type kind uint8

const (
	none kind = iota
	zipKind
	tarKind
	rarKind
	sevenKind
	cabKind
	isoKind
	cpioKind
	arKind
	rpmKind
	lhaKind
	arjKind
	aceKind
	zooKind
	gzKind
	bz2Kind
	xzKind
	lzmaKind
	zstKind
	lz4Kind
	lzKind
	zKind
	// from here on nothing is read of them
	chmKind
	wimKind
	dmgKind
	xarKind
	vhdKind
	vhdxKind
	vmdkKind
	qcowKind
	imgKind
	udfKind
	msiKind
	sitKind
	alzKind
	eggKind
	isCabKind
	squashKind
	packKind
	rar1Kind
)

// String is the name of the container in entries and defects.
func (k kind) String() string {
	names := [...]string{"", "zip", "tar", "rar", "7z", "cab", "iso", "cpio", "ar", "rpm", "lha", "arj", "ace", "zoo",
		"gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "z", "chm", "wim", "dmg", "xar", "vhd", "vhdx", "vmdk", "qcow",
		"img", "udf", "msi", "sit", "alz", "egg", "installshield", "squashfs", "pack", "rar1"}
	return names[k]
}

// identify tells what container the octets begin as. A zip that begins later
// is found by zipInside.
func identify(data []byte) kind {
	if len(data) < 10 {
		return none
	}
	for _, m := range magics() {
		if len(data) >= m.at+len(m.sign) && string(data[m.at:m.at+len(m.sign)]) == m.sign {
			if m.more == nil || m.more(data) {
				return m.kind
			}
		}
	}
	switch {
	case isTar(data):
		return tarKind
	case isLHA(data):
		return lhaKind
	case isLZMA(data):
		return lzmaKind
	}
	return diskImage(data)
}

// magic is a sign at a place.
type magic struct {
	at   int
	sign string
	kind kind
	more func([]byte) bool // what a short sign needs beside it
}

func magics() []magic {
	return []magic{
		{0, "PK\x03\x04", zipKind, func(b []byte) bool { return plausibleLocal(b) }},
		{0, "PK\x05\x06", zipKind, nil}, {0, "PK00PK\x03\x04", zipKind, nil}, {0, "PK\x07\x08PK\x03\x04", zipKind, nil},
		{0, "\x1f\x8b\x08", gzKind, nil},
		{0, "BZh", bz2Kind, func(b []byte) bool {
			return b[3] >= '1' && b[3] <= '9' && (string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
		}},
		{0, "\xfd7zXZ\x00", xzKind, nil},
		{0, "\x28\xb5\x2f\xfd", zstKind, nil},
		{1, "\x2a\x4d\x18", zstKind, func(b []byte) bool { return b[0]&0xf0 == 0x50 }},
		{0, "\x04\x22\x4d\x18", lz4Kind, nil}, {0, "\x02\x21\x4c\x18", lz4Kind, nil},
		{0, "LZIP", lzKind, func(b []byte) bool { return b[4] <= 1 }},
		{0, "\x1f\x9d", zKind, func(b []byte) bool { return b[2]&0x60 == 0 && b[2]&0x1f >= 9 && b[2]&0x1f <= 16 }},
		{0, "\x1f\x1e", packKind, nil}, {0, "\x1f\xa0", packKind, nil},
		{0, "Rar!\x1a\x07", rarKind, func(b []byte) bool { return b[6] <= 1 }},
		{0, "RE\x7e\x5e", rar1Kind, nil},
		{0, "7z\xbc\xaf\x27\x1c", sevenKind, nil},
		{0, "MSCF\x00\x00\x00\x00", cabKind, nil},
		{0, "ISc(", isCabKind, nil},
		{32769, "CD001", isoKind, nil}, {37633 + 16, "CD001", imgKind, nil},
		{32769, "BEA01", udfKind, nil},
		{0, "070701", cpioKind, nil}, {0, "070702", cpioKind, nil}, {0, "070707", cpioKind, nil},
		{0, "\xc7\x71", cpioKind, binaryCpio}, {0, "\x71\xc7", cpioKind, binaryCpio},
		{0, "!<arch>\n", arKind, nil}, {0, "!<thin>\n", arKind, nil},
		{0, "\xed\xab\xee\xdb", rpmKind, nil},
		{0, "\x60\xea", arjKind, func(b []byte) bool { return plausibleARJ(b) }},
		{7, "**ACE**", aceKind, nil},
		{20, "\xdc\xa7\xc4\xfd", zooKind, nil},
		{0, "ITSF", chmKind, nil}, {0, "MSWIM\x00\x00\x00", wimKind, nil}, {0, "WLPWM\x00\x00\x00", wimKind, nil},
		{0, "xar!", xarKind, nil}, {0, "conectix", vhdKind, nil}, {0, "vhdxfile", vhdxKind, nil},
		{0, "KDMV", vmdkKind, nil}, {0, "QFI\xfb", qcowKind, nil},
		{0, "SIT!", sitKind, nil}, {0, "StuffIt ", sitKind, nil}, {0, "ALZ\x01", alzKind, nil}, {0, "EGGA", eggKind, nil},
		{0, "hsqs", squashKind, nil}, {0, "sqsh", squashKind, nil},
		{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", msiKind, isMSI},
	}
}

// diskImage knows images by their end or their boot sector.
func diskImage(data []byte) kind {
	n := len(data)
	if n < 1024 {
		return none
	}
	switch {
	case bytes.HasPrefix(data[n-512:], []byte("koly")):
		return dmgKind
	case bytes.HasPrefix(data[n-512:], []byte("conectix")), bytes.HasPrefix(data[n-511:], []byte("conectix")):
		return vhdKind
	}
	if data[510] == 0x55 && data[511] == 0xaa {
		boot := data[0] == 0xeb && data[2] == 0x90 || data[0] == 0xe9
		if boot && (string(data[3:7]) == "NTFS" || string(data[54:57]) == "FAT" || string(data[82:85]) == "FAT" || string(data[3:8]) == "EXFAT") {
			return imgKind
		}
		if n > 1<<20 && mbr(data) {
			return imgKind
		}
	}
	return none
}

// mbr tells a partition table: four entries with sane flags, one in use.
func mbr(data []byte) bool {
	used := false
	for i := 446; i < 510; i += 16 {
		if data[i] != 0 && data[i] != 0x80 {
			return false
		}
		used = used || data[i+4] != 0 && binary.LittleEndian.Uint32(data[i+12:]) != 0
	}
	return used
}

// isMSI looks at the class of the root of an OLE file; other OLE files are
// documents, and not looked into here.
func isMSI(data []byte) bool {
	if len(data) < 512 {
		return false
	}
	shift := binary.LittleEndian.Uint16(data[30:])
	if shift != 9 && shift != 12 {
		return false
	}
	at := (int64(binary.LittleEndian.Uint32(data[48:])) + 1) << shift
	if at < 0 || at+96 > int64(len(data)) {
		return false
	}
	class := data[at+80 : at+96]
	rest := string(class[4:])
	return rest == "\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46" && class[1] == 0x10 && class[2] == 0x0c && class[3] == 0
}

// isLZMA is a guess, as the format has no sign: the properties of all known
// writers, a dictionary of a power of two or one and a half, and a sane size.
func isLZMA(data []byte) bool {
	if len(data) < 18 || data[0] != 0x5d || data[13] != 0 {
		return false
	}
	dict := binary.LittleEndian.Uint32(data[1:])
	size := binary.LittleEndian.Uint64(data[5:])
	round := dict&(dict-1) == 0 || dict == 0xffffffff
	if dict%3 == 0 {
		h := dict / 3
		round = round || h&(h-1) == 0
	}
	return dict >= 1<<12 && round && (size == 1<<64-1 || size < 1<<40)
}

// otherInside tells whether another archive than a zip lies inside.
func otherInside(data []byte) bool {
	k, _ := findOther(data)
	return k != none
}

// findOther finds a rar, 7z or cab anywhere, as behind a program (SFX) or a
// picture. The signs are long, and their headers carry checksums or fields
// that are always zero, so that chance does not find them.
func findOther(data []byte) (kind, int) {
	best, at := none, len(data)
	for _, s := range []struct {
		kind kind
		sign string
		ok   func([]byte) bool
	}{
		{rarKind, "Rar!\x1a\x07", plausibleRAR}, {sevenKind, "7z\xbc\xaf\x27\x1c", plausible7z},
		{cabKind, "MSCF\x00\x00\x00\x00", plausibleCab},
	} {
		for from := 0; from < at; {
			i := bytes.Index(data[from:at], []byte(s.sign))
			if i < 0 {
				break
			}
			if s.ok(data[from+i:]) {
				best, at = s.kind, from+i
				break
			}
			from += i + 1
		}
	}
	return best, at
}

func plausible7z(b []byte) bool {
	return len(b) >= 32 && crc32.ChecksumIEEE(b[12:32]) == binary.LittleEndian.Uint32(b[8:])
}

func plausibleRAR(b []byte) bool {
	switch {
	case len(b) < 20:
		return false
	case b[6] == 0: // RAR 1.5 to 4: the main header is 13 octets of type 0x73
		return b[9] == 0x73 && uint16(crc32.ChecksumIEEE(b[9:20])) == binary.LittleEndian.Uint16(b[7:])
	case b[6] == 1 && b[7] == 0:
		size, n := uvarint(b[12:])
		end := 12 + int64(n) + int64(size)
		return n > 0 && size < 2<<20 && end <= int64(len(b)) &&
			crc32.ChecksumIEEE(b[12:end]) == binary.LittleEndian.Uint32(b[8:])
	}
	return false
}

func plausibleCab(b []byte) bool {
	return len(b) >= 36 && b[25] == 1 && b[24] <= 3 && binary.LittleEndian.Uint32(b[12:]) == 0 &&
		binary.LittleEndian.Uint32(b[16:]) < uint32(len(b))
}

// uvarint is encoding/binary's, without its error codes.
func uvarint(b []byte) (uint64, int) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0
	}
	return v, n
}
