package transfer

import (
	"encoding/binary"
)

// rtfPreload fills the dictionary before the first octet ([MS-OXRTFCP] 2.1.2).
const rtfPreload = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript " +
	"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

const (
	rtfCompressed = 0x75465A4C // "LZFu"
	rtfPlain      = 0x414C454D // "MELA"
	rtfWindow     = 4096
)

// decompressRTF undoes the compression of PR_RTF_COMPRESSED ([MS-OXRTFCP]),
// to at most max octets. ok is false for damaged data; what could be read is
// given.
func decompressRTF(data []byte, max int) (out []byte, ok bool) {
	if len(data) < 16 {
		return nil, false
	}
	size := uint64(binary.LittleEndian.Uint32(data[4:]))
	kind := binary.LittleEndian.Uint32(data[8:])
	in := data[16:]
	switch kind {
	case rtfPlain:
		if uint64(len(in)) > size {
			in = in[:size]
		}
		return in[:min(len(in), max+1)], uint64(len(in)) == size
	case rtfCompressed:
	default:
		return nil, false
	}
	var window [rtfWindow]byte
	w := copy(window[:], rtfPreload)
	out = make([]byte, 0, min(uint64(len(in))*4, size, uint64(max)+1))
	put := func(c byte) {
		out = append(out, c)
		window[w] = c
		w = (w + 1) % rtfWindow
	}
	for i := 0; i < len(in); {
		control := in[i]
		i++
		for bit := range 8 {
			if len(out) > max {
				return out, false
			}
			if control&(1<<bit) == 0 {
				if i >= len(in) {
					return out, uint64(len(out)) == size
				}
				put(in[i])
				i++
				continue
			}
			if i+1 >= len(in) {
				return out, false
			}
			ref := binary.BigEndian.Uint16(in[i:])
			i += 2
			from, n := int(ref>>4), int(ref&0xF)+2
			if from == w {
				return out, uint64(len(out)) == size
			}
			for k := range n {
				put(window[(from+k)%rtfWindow])
			}
		}
	}
	return out, uint64(len(out)) == size
}
