package filetype

import (
	"bytes"
	"encoding/binary"
)

// zip tells what a zip is by its first members and by the names at its end,
// where the directory is.
func zip(d []byte) Type {
	if t := stored(d); t.Name != "" {
		return t
	}
	var seen members
	head := d[:min(len(d), window)]
	seen.local(head)
	seen.central(d[max(0, len(d)-tail):])
	return seen.judge()
}

// stored knows the formats whose first member is "mimetype", unpacked.
func stored(d []byte) Type {
	if !has(d, 30, "mimetype") {
		return Type{}
	}
	const odf = "application/vnd.oasis.opendocument."
	rest := d[38:min(len(d), 38+128)]
	if i := bytes.Index(rest, []byte(odf)); i >= 0 && i < 32 {
		rest = rest[i+len(odf):]
		switch {
		case bytes.HasPrefix(rest, []byte("text")):
			return Type{"odt", Document}
		case bytes.HasPrefix(rest, []byte("spreadsheet")):
			return Type{"ods", Document}
		case bytes.HasPrefix(rest, []byte("presentation")):
			return Type{"odp", Document}
		}
		return Type{"odf", Document}
	}
	if bytes.Contains(rest, []byte("application/epub+zip")) {
		return Type{"epub", Document}
	}
	return Type{}
}

// members is what the names in a zip tell.
type members struct {
	word, excel, power, visio, ooxml, macro, binary, jar, apk, appx, xpi, ipa, xps bool
}

func (m *members) local(b []byte) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("PK\x03\x04"))
		if i < 0 || at+i+30 > len(b) {
			return
		}
		at += i
		n := int(binary.LittleEndian.Uint16(b[at+26:]))
		m.name(b[at+30 : min(len(b), at+30+n)])
		at += 30
	}
}

func (m *members) central(b []byte) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("PK\x01\x02"))
		if i < 0 || at+i+46 > len(b) {
			return
		}
		at += i
		n := int(binary.LittleEndian.Uint16(b[at+28:]))
		m.name(b[at+46 : min(len(b), at+46+n)])
		at += 46
	}
}

func (m *members) name(n []byte) {
	if len(n) == 0 || len(n) > 128 {
		return
	}
	var room [128]byte
	low := room[:len(n)]
	for i, c := range n {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '\\':
			c = '/'
		}
		low[i] = c
	}
	switch {
	case bytes.HasPrefix(low, []byte("word/")):
		m.word = true
	case bytes.HasPrefix(low, []byte("xl/")):
		m.excel = true
		m.binary = m.binary || string(low) == "xl/workbook.bin"
	case bytes.HasPrefix(low, []byte("ppt/")):
		m.power = true
	case bytes.HasPrefix(low, []byte("visio/")):
		m.visio = true
	case bytes.HasPrefix(low, []byte("payload/")) && bytes.Contains(low, []byte(".app/")):
		m.ipa = true
	case string(low) == "[content_types].xml":
		m.ooxml = true
	case string(low) == "meta-inf/manifest.mf":
		m.jar = true
	case string(low) == "androidmanifest.xml", string(low) == "classes.dex":
		m.apk = true
	case string(low) == "appxmanifest.xml", string(low) == "appxblockmap.xml":
		m.appx = true
	case string(low) == "install.rdf", string(low) == "meta-inf/mozilla.rsa":
		m.xpi = true
	case string(low) == "fixeddocumentsequence.fdseq", string(low) == "fixeddocseq.fdseq":
		m.xps = true
	}
	if bytes.HasSuffix(low, []byte("vbaproject.bin")) {
		m.macro = true
	}
}

func (m *members) judge() Type {
	switch {
	case m.apk:
		return Type{"apk", Executable}
	case m.appx:
		return Type{"appx", Executable}
	case m.xpi:
		return Type{"xpi", Executable}
	case m.ipa:
		return Type{"ipa", Executable}
	case m.jar:
		return Type{"jar", Executable}
	case !m.ooxml && !m.word && !m.excel && !m.power:
		return Type{"zip", Archive}
	case m.word && m.macro:
		return Type{"docm", Office}
	case m.excel && m.binary:
		return Type{"xlsb", Office}
	case m.excel && m.macro:
		return Type{"xlsm", Office}
	case m.power && m.macro:
		return Type{"pptm", Office}
	case m.word && m.ooxml:
		return Type{"docx", Office}
	case m.excel && m.ooxml:
		return Type{"xlsx", Office}
	case m.power && m.ooxml:
		return Type{"pptx", Office}
	case m.visio:
		return Type{"vsdx", Office}
	case m.xps:
		return Type{"xps", Document}
	case m.ooxml:
		return Type{"ooxml", Office}
	}
	// The folder of such a name alone makes no document of it.
	return Type{"zip", Archive}
}

// dirSectors bounds how much of the directory of a compound file is read.
const dirSectors = 16

// ole tells what a compound file is by the names in its directory and the
// class of its root ([MS-CFB] sections 2.2 and 2.6).
func ole(d []byte) Type {
	generic := Type{"ole", Office}
	if len(d) < 512 {
		return generic
	}
	shift := binary.LittleEndian.Uint16(d[30:])
	if shift != 9 && shift != 12 {
		shift = 9
	}
	size := int64(1) << shift
	sector := int64(binary.LittleEndian.Uint32(d[48:]))
	best := Type{}
	for range dirSectors {
		at := (sector + 1) << shift
		if sector >= 0xfffffff0 || at+size > int64(len(d)) {
			break
		}
		for e := at; e+128 <= at+size; e += 128 {
			if t := oleEntry(d[e : e+128]); t.Name != "" && (best.Name == "" || t.Class.danger() > best.Class.danger()) {
				best = t
			}
		}
		// The next one by the FAT, if the header knows that part of it.
		fat := sector / (size / 4)
		if fat >= 109 {
			break
		}
		table := (int64(binary.LittleEndian.Uint32(d[76+4*fat:])) + 1) << shift
		entry := table + sector%(size/4)*4
		if table < 0 || entry+4 > int64(len(d)) {
			break
		}
		sector = int64(binary.LittleEndian.Uint32(d[entry:]))
	}
	if best.Name == "" {
		return generic
	}
	return best
}

// oleEntry tells what one entry of the directory says about the file.
func oleEntry(e []byte) Type {
	n := int(binary.LittleEndian.Uint16(e[64:]))/2 - 1
	if n < 1 || n > 31 {
		return Type{}
	}
	if e[66] == 5 { // the root
		if has(e, 82, "\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46") && e[81] == 0x10 {
			switch e[80] {
			case 0x84:
				return Type{"msi", Executable}
			case 0x86:
				return Type{"msp", Executable}
			case 0x82:
				return Type{"mst", Executable}
			}
		}
		return Type{}
	}
	var room [31]byte
	name := room[:n]
	for i := range name {
		if e[2*i+1] != 0 {
			return Type{}
		}
		name[i] = e[2*i]
	}
	switch string(name) {
	case "WordDocument":
		return Type{"doc", Office}
	case "Workbook", "Book", "WORKBOOK", "BOOK":
		return Type{"xls", Office}
	case "PowerPoint Document", "PP97_DUALSTORAGE":
		return Type{"ppt", Office}
	case "__properties_version1.0", "__nameid_version1.0":
		return Type{"msg", Message}
	case "VisioDocument":
		return Type{"vsd", Office}
	case "Quill":
		return Type{"pub", Office}
	case "EncryptedPackage":
		return Type{"office-encrypted", Office}
	case "HwpSummaryInformation", "\x05HwpSummaryInformation":
		return Type{"hwp", Office}
	}
	return Type{}
}
