package filetype

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// window is how much of the beginning is looked at for signs that have no
// fixed place; tail the same at the end (a zip's directory, a VHD's footer).
const (
	window = 4096
	tail   = 32 << 10
)

// Detect tells the type by the octets; Unknown and Text for what has no sign.
// Its cost does not grow with the length of data.
func Detect(data []byte) Type {
	if len(data) == 0 {
		return Type{}
	}
	if t := magic(data); t.Name != "" {
		return t
	}
	if t := placed(data); t.Name != "" {
		return t
	}
	head := data[:min(len(data), window)]
	if t := text(head); t.Name != "" {
		return t
	}
	if t := trailing(data); t.Name != "" {
		return t
	}
	return foreign(head)
}

func has(data []byte, at int, sign string) bool {
	return at >= 0 && at <= len(data)-len(sign) && string(data[at:at+len(sign)]) == sign
}

// magic knows what has its sign at the very beginning.
func magic(d []byte) Type {
	switch d[0] {
	case 'M', 'Z':
		return magicM(d)
	case 'P', 'R', 'B', '7', 'I', 'S', 'K', 'L', 'A', 'E', 'C', 'F', 'O', 'G', 'Q', 'W':
		return magicUpper(d)
	case 0x00, 0x01, 0x02, 0x03, 0x04:
		return magicLow(d)
	case '!', '#', '%', '(', '*', '0', '8', '?', '{':
		return magicMark(d)
	case 'a', 'c', 'd', 'f', 'h', 'q', 't', 'v', 'w', 'x':
		return magicLower(d)
	}
	if d[0] < ' ' || d[0] >= 0x7F || d[0] == '`' || d[0] == ']' {
		return magicHigh(d)
	}
	return Type{}
}

func magicM(d []byte) Type {
	switch {
	case has(d, 0, "MZ"):
		return mz(d)
	case has(d, 0, "MSCF"):
		return cab(d)
	case has(d, 0, "MSWIM\x00\x00\x00"):
		return Type{"wim", DiskImage}
	case has(d, 0, "MM\x00*"), has(d, 0, "MM\x00+"):
		return Type{"tiff", Picture}
	case has(d, 0, "MThd\x00\x00"):
		return Type{"midi", Media}
	case has(d, 0, "ZWS") && len(d) > 8 && d[3] < 64:
		return Type{"swf", Executable}
	}
	return Type{}
}

// mz tells programs from text that begins with the same two letters.
func mz(d []byte) Type {
	head := d[:min(len(d), 64)]
	if len(d) >= 64 {
		at := int64(binary.LittleEndian.Uint32(d[60:]))
		if at <= int64(len(d)-4) && has(d, int(at), "PE\x00\x00") {
			return Type{"pe", Executable}
		}
	}
	if bytes.IndexByte(head, 0) < 0 && isText(head) {
		return Type{}
	}
	return Type{"dos", Executable}
}

// cab tells a troubleshooting pack, which runs what is in it, by the names at
// the beginning.
func cab(d []byte) Type {
	if bytes.Contains(d[:min(len(d), window)], []byte(".diagcfg")) || bytes.Contains(d[:min(len(d), window)], []byte(".diagpkg")) {
		return Type{"diagcab", Executable}
	}
	return Type{"cab", Archive}
}

func magicUpper(d []byte) Type {
	switch {
	case has(d, 0, "PK\x03\x04"), has(d, 0, "PK\x05\x06"), has(d, 0, "PK\x07\x08"), has(d, 0, "PK00PK\x03\x04"):
		return zip(d)
	case has(d, 0, "Rar!\x1a\x07\x01\x00"):
		return Type{"rar5", Archive}
	case has(d, 0, "Rar!\x1a\x07"):
		return Type{"rar4", Archive}
	case has(d, 0, "RE~^"):
		return Type{"rar1", Archive}
	case has(d, 0, "7z\xbc\xaf\x27\x1c"):
		return Type{"7z", Archive}
	case has(d, 0, "BZh") && (has(d, 4, "1AY&SY") || has(d, 4, "\x17\x72\x45\x38\x50\x90")):
		return Type{"bz2", Archive}
	case has(d, 0, "RIFF"), has(d, 0, "RIFX"):
		return riff(d)
	case has(d, 0, "BM") && len(d) > 30 && has(d, 6, "\x00\x00\x00\x00") && d[14] <= 124 && d[15] == 0:
		return Type{"bmp", Picture}
	case has(d, 0, "II*\x00"), has(d, 0, "II+\x00"):
		return Type{"tiff", Picture}
	case has(d, 0, "ITSF\x03\x00\x00\x00"), has(d, 0, "ITSF\x02\x00\x00\x00"):
		return Type{"chm", Executable}
	case has(d, 0, "ID3") && len(d) > 10 && d[3] < 16:
		return Type{"mp3", Media}
	case has(d, 0, "SIT!"), has(d, 0, "StuffIt (c)"):
		return Type{"sit", Archive}
	case has(d, 0, "LZIP\x01"), has(d, 0, "LZIP\x00"):
		return Type{"lz", Archive}
	case has(d, 0, "L\x00\x00\x00\x01\x14\x02\x00"):
		return Type{"lnk", Shortcut}
	case has(d, 0, "KDMV"), has(d, 0, "COWD\x01"):
		return Type{"vmdk", DiskImage}
	case has(d, 0, "ALZ\x01"):
		return Type{"alz", Archive}
	case has(d, 0, "EGGA"):
		return Type{"egg", Archive}
	case has(d, 0, "Cr24\x02\x00"), has(d, 0, "Cr24\x03\x00"):
		return Type{"crx", Executable}
	case (has(d, 0, "FWS") || has(d, 0, "CWS")) && len(d) > 8 && d[3] < 64:
		return Type{"swf", Executable}
	case has(d, 0, "FLV\x01"):
		return Type{"flv", Media}
	case has(d, 0, "OggS\x00"):
		return Type{"ogg", Media}
	case has(d, 0, "OTTO\x00"):
		return Type{"otf", Font}
	case has(d, 0, "GIF87a"), has(d, 0, "GIF89a"):
		return Type{"gif", Picture}
	case has(d, 0, "QFI\xfb"):
		return Type{"qcow", DiskImage}
	case has(d, 0, "AC10") && len(d) > 6 && d[6] == 0:
		return Type{"dwg", Document}
	case has(d, 0, "FORM") && (has(d, 8, "AIFF") || has(d, 8, "AIFC")):
		return Type{"aiff", Media}
	case has(d, 0, "SQLite format 3\x00"):
		return Type{"sqlite", Unknown}
	}
	return Type{}
}

func riff(d []byte) Type {
	switch {
	case has(d, 8, "WEBP"):
		return Type{"webp", Picture}
	case has(d, 8, "WAVE"):
		return Type{"wav", Media}
	case has(d, 8, "AVI "):
		return Type{"avi", Media}
	case has(d, 8, "ACON"):
		return Type{"ani", Unknown}
	case has(d, 8, "CDR"):
		return Type{"cdr", Document}
	}
	return Type{}
}

func magicLow(d []byte) Type {
	switch {
	case has(d, 0, "\x00\x01\x00\x00Standard Jet DB"), has(d, 0, "\x00\x01\x00\x00Standard ACE DB"), has(d, 0, "\x00\x01\x00\x00Jet System DB"):
		return Type{"access", Executable}
	case has(d, 0, "\x00asm\x01\x00\x00\x00"):
		return Type{"wasm", Unknown}
	case has(d, 0, "\x00\x01\x00\x00\x00") && len(d) > 12 && d[5] < 64:
		return Type{"ttf", Font}
	case has(d, 0, "\x00\x00\x01\x00") && len(d) > 6 && d[4] != 0 && d[5] == 0:
		return Type{"ico", Picture}
	case has(d, 0, "\x00\x00\x02\x00") && len(d) > 6 && d[4] != 0 && d[5] == 0:
		return Type{"cur", Picture}
	case has(d, 0, "\x04\x22\x4d\x18"):
		return Type{"lz4", Archive}
	case has(d, 0, "\x01\x00\x00\x00") && has(d, 40, " EMF"):
		return Type{"emf", Picture}
	case has(d, 0, "\x00\x00\x00\x0cJXL "), has(d, 0, "\x00\x00\x00\x0cjP  "):
		return Type{"jp2", Picture}
	case has(d, 0, "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"):
		return Type{"bin", DiskImage} // raw sectors of a CD
	case has(d, 4, "ftyp"):
		return ftyp(d)
	case has(d, 0, "\x00\x00\x01\xba"), has(d, 0, "\x00\x00\x01\xb3"):
		return Type{"mpeg", Media}
	case has(d, 0, "\x00\x05\x16\x07"), has(d, 0, "\x00\x05\x16\x00"):
		return Type{"appledouble", Unknown}
	}
	return Type{}
}

func ftyp(d []byte) Type {
	switch {
	case has(d, 8, "heic"), has(d, 8, "heix"), has(d, 8, "mif1"), has(d, 8, "msf1"), has(d, 8, "hevc"):
		return Type{"heic", Picture}
	case has(d, 8, "avif"), has(d, 8, "avis"):
		return Type{"avif", Picture}
	}
	return Type{"mp4", Media}
}

func magicMark(d []byte) Type {
	switch {
	case has(d, 0, "!<arch>\ndebian"):
		return Type{"deb", Executable}
	case has(d, 0, "!<arch>\n"):
		return Type{"ar", Archive}
	case has(d, 0, "!BDN"):
		return Type{"pst", Message}
	case has(d, 0, "(\xb5\x2f\xfd"):
		return Type{"zst", Archive}
	case has(d, 0, "070701"), has(d, 0, "070702"), has(d, 0, "070707"):
		if len(d) >= 26 && hex(d[6:26]) {
			return Type{"cpio", Archive}
		}
	case has(d, 0, "8BPS\x00\x01"), has(d, 0, "8BPS\x00\x02"):
		return Type{"psd", Picture}
	case has(d, 0, "?_\x03\x00"):
		return Type{"hlp", Executable}
	case has(d, 0, "{\\rt"):
		return Type{"rtf", Document}
	case has(d, 0, "%!PS"):
		return Type{"ps", Document}
	case has(d, 0, "#!AMR"):
		return Type{"amr", Media}
	case has(d, 0, "#@~^") && has(d, 10, "=="):
		return Type{"vbe", Script} // encoded VBScript or JScript
	case has(d, 0, "# Disk DescriptorFile"):
		return Type{"vmdk", DiskImage}
	}
	return Type{}
}

func hex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func magicLower(d []byte) Type {
	switch {
	case has(d, 0, "\x78\x9f\x3e\x22"):
		return Type{"tnef", Message}
	case has(d, 0, "xar!\x00"):
		return Type{"xar", Archive}
	case has(d, 0, "dex\n0"):
		return Type{"dex", Executable}
	case has(d, 0, "vhdxfile"):
		return Type{"vhdx", DiskImage}
	case has(d, 0, "conectix\x00"):
		return Type{"vhd", DiskImage}
	case has(d, 0, "cxsparse\x00"):
		return Type{"vhd", DiskImage}
	case has(d, 0, "wOFF\x00"), has(d, 0, "wOFF\x4f"), has(d, 0, "wOF2"):
		return Type{"woff", Font}
	case has(d, 0, "ttcf\x00"), has(d, 0, "true\x00"):
		return Type{"ttf", Font}
	case has(d, 0, "hsqs"):
		return Type{"squashfs", DiskImage}
	case has(d, 0, "fLaC\x00"):
		return Type{"flac", Media}
	}
	return Type{}
}

func magicHigh(d []byte) Type {
	switch {
	case has(d, 0, "\xff\xd8\xff"):
		return Type{"jpeg", Picture}
	case has(d, 0, "\x89PNG\r\n\x1a\n"):
		return Type{"png", Picture}
	case has(d, 0, "\x1f\x8b"):
		return Type{"gz", Archive}
	case has(d, 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
		return ole(d)
	case has(d, 0, "\xfd7zXZ\x00"):
		return Type{"xz", Archive}
	case has(d, 0, "\x7fELF"):
		return Type{"elf", Executable}
	case has(d, 0, "\xca\xfe\xba\xbe") && len(d) >= 8:
		// A Java class has its version there (45 and up), a fat Mach-O the
		// number of its architectures.
		if n := binary.BigEndian.Uint32(d[4:]); n > 0 && n < 40 {
			return Type{"macho", Executable}
		}
		return Type{"class", Executable}
	case has(d, 0, "\xfe\xed\xfa\xce"), has(d, 0, "\xfe\xed\xfa\xcf"), has(d, 0, "\xce\xfa\xed\xfe"), has(d, 0, "\xcf\xfa\xed\xfe"):
		return Type{"macho", Executable}
	case has(d, 0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"),
		has(d, 0, "\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f"):
		return Type{"one", Office}
	case has(d, 0, "\xed\xab\xee\xdb"):
		return Type{"rpm", Executable}
	case has(d, 0, "\x60\xea") && arj(d):
		return Type{"arj", Archive}
	case len(d) > 4 && d[0] >= 0x50 && d[0] <= 0x5f && has(d, 1, "\x2a\x4d\x18"):
		return Type{"zst", Archive} // skippable frame
	case has(d, 0, "]\x00\x00") && len(d) >= 13 && lzma(d):
		return Type{"lzma", Archive}
	case has(d, 0, "\x1f\x9d"), has(d, 0, "\x1f\xa0"), has(d, 0, "\x1f\x1e"):
		return Type{"z", Archive}
	case has(d, 0, "\x89LZO\x00\r\n\x1a\n"):
		return Type{"lzo", Archive}
	case has(d, 0, "\x1a\x45\xdf\xa3"):
		return Type{"mkv", Media}
	case has(d, 0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
		return Type{"asf", Media}
	case has(d, 0, "\xd7\xcd\xc6\x9a\x00\x00"):
		return Type{"wmf", Picture}
	case has(d, 0, "\xc7\x71") || has(d, 0, "\x71\xc7"):
		if len(d) >= 26 && (d[20] == 0 || d[21] == 0) {
			return Type{"cpio", Archive}
		}
	case d[0] == 0xff && len(d) > 3 && d[1]&0xe6 == 0xe2 && d[2]&0xf0 != 0xf0:
		return Type{"mp3", Media}
	case has(d, 0, "\xff\x0a"):
		return Type{"jxl", Picture}
	}
	return Type{}
}

// arj tells by the size of the first header, whose bound the format has.
func arj(d []byte) bool {
	if len(d) < 12 {
		return false
	}
	n := binary.LittleEndian.Uint16(d[2:])
	return n >= 30 && n <= 2600 && d[4] >= 30 && uint16(d[4]) <= n
}

// lzma tells by a size that is unknown or below a terabyte.
func lzma(d []byte) bool {
	size := binary.LittleEndian.Uint64(d[5:])
	return size == 1<<64-1 || size < 1<<40
}

// placed knows what has its sign at a fixed place further on.
func placed(d []byte) Type {
	switch {
	case has(d, 0, "\x30") && len(d) > 20:
		if t := cms(d); t.Name != "" {
			return t
		}
	case len(d) > 7 && d[2] == '-' && d[6] == '-' && (has(d, 3, "lh") || has(d, 3, "lz") || has(d, 3, "pm")) && len(d) > 21:
		return Type{"lha", Archive}
	case has(d, 7, "**ACE**"):
		return Type{"ace", Archive}
	case has(d, 0, "ZOO ") && has(d, 20, "\xdc\xa7\xc4\xfd"):
		return Type{"zoo", Archive}
	}
	if has(d, 4, "ftyp") {
		return ftyp(d)
	}
	if has(d, 257, "ustar") || len(d) >= 512 && oldTar(d[:512]) {
		return Type{"tar", Archive}
	}
	if t := disk(d); t.Name != "" {
		return t
	}
	// Readers look for it in the first kilobyte (ISO 32000-1 annex H, note 13).
	if i := bytes.Index(d[:min(len(d), 1024)], []byte("%PDF-")); i >= 0 && (i == 0 || !prose(d[:i])) {
		return Type{"pdf", Document}
	}
	return Type{}
}

// prose tells text with words in front of a sign: mail that speaks of it.
func prose(b []byte) bool {
	words := 0
	for i := range b {
		if b[i] == ' ' {
			words++
		}
	}
	return words >= 3 && isText(b)
}

// cms knows signed and enveloped data of S/MIME in DER (RFC 5652): a sequence
// that begins with the object identifier pkcs7-2 or pkcs7-3.
func cms(d []byte) Type {
	i := bytes.Index(d[:min(len(d), 24)], []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"))
	if i < 2 || i > 6 || i+11 > len(d) {
		return Type{}
	}
	switch d[i+10] {
	case 2:
		return Type{"p7s", Message} // signed: what is inside can be read
	case 3:
		return Type{"p7m", Sealed}
	}
	return Type{"p7", Sealed}
}

// oldTar checks the sum of a header from before POSIX.
func oldTar(h []byte) bool {
	if h[0] == 0 || h[0] < ' ' {
		return false
	}
	field := bytes.TrimRight(bytes.TrimLeft(h[148:156], " 0"), " \x00")
	if len(field) == 0 || len(field) > 6 {
		return false
	}
	var want, sum int
	for _, c := range field {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int(c-'0')
	}
	for i, c := range h {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	return sum == want
}

// disk knows file systems and partition tables.
func disk(d []byte) Type {
	for at := 32769; at < 32769+8*2048 && at+5 <= len(d); at += 2048 {
		switch string(d[at : at+5]) {
		case "CD001":
			return Type{"iso", DiskImage}
		case "BEA01", "NSR02", "NSR03":
			return Type{"udf", DiskImage}
		}
	}
	switch {
	case has(d, 512, "EFI PART"), has(d, 4096, "EFI PART"):
		return Type{"img", DiskImage}
	case has(d, 1024, "H+\x00\x04"), has(d, 1024, "HX\x00\x05"), has(d, 32, "NXSB"):
		return Type{"img", DiskImage}
	case has(d, 1080, "\x53\xef") && len(d) >= 2048 && d[1082] < 8 && d[1083] == 0 && d[1024+24] < 8:
		return Type{"img", DiskImage}
	case has(d, 64, "\x7f\x10\xda\xbe"):
		return Type{"vdi", DiskImage}
	case !has(d, 510, "\x55\xaa"):
		return Type{}
	case has(d, 3, "NTFS    "), has(d, 3, "EXFAT   "), has(d, 54, "FAT"), has(d, 82, "FAT32"),
		(d[0] == 0xeb && d[2] == 0x90 || d[0] == 0xe9) && (has(d, 11, "\x00\x02") || has(d, 11, "\x00\x10")):
		return Type{"img", DiskImage}
	}
	// A partition table: four entries whose first octet is 00 or 80, one used.
	used := false
	for at := 446; at < 510; at += 16 {
		if d[at] != 0 && d[at] != 0x80 {
			return Type{}
		}
		used = used || d[at+4] != 0 && binary.LittleEndian.Uint32(d[at+12:]) != 0
	}
	if used {
		return Type{"img", DiskImage}
	}
	return Type{}
}

// trailing knows what has its sign at the end.
func trailing(d []byte) Type {
	switch {
	case has(d, len(d)-512, "koly\x00\x00\x00\x04"):
		return Type{"dmg", DiskImage}
	case has(d, len(d)-512, "conectix"), has(d, len(d)-511, "conectix"):
		return Type{"vhd", DiskImage}
	}
	return Type{}
}

// foreign asks the library about the kinds that matter to nobody's safety.
func foreign(head []byte) Type {
	if isText(head) {
		return Type{"txt", Text}
	}
	m := mimetype.Detect(head)
	name := strings.TrimPrefix(m.Extension(), ".")
	if name == "" {
		return Type{}
	}
	kind, _, _ := strings.Cut(m.String(), "/")
	switch kind {
	case "image":
		return Type{name, Picture}
	case "audio", "video":
		return Type{name, Media}
	case "font":
		return Type{name, Font}
	}
	return Type{name, ByExtension(name).Class}
}
