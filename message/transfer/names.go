package transfer

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// readable gives a name as UTF-8: as it is, else as Windows-1252.
func readable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return decodeName(charmap.Windows1252, s)
}

func decodeName(e encoding.Encoding, s string) string {
	out, err := e.NewDecoder().String(s)
	if err != nil {
		return ""
	}
	return out
}

// ansiNames gives the readings of a name in a code page of Windows: in the one
// that was declared, and in the one of most Western writers.
func ansiNames(codepage uint32, name []byte) []string {
	s := string(name[:min(len(name), maxNameBytes)])
	if utf8.ValidString(s) {
		return []string{s}
	}
	var out []string
	if label := windowsLabel(codepage); label != "" {
		if e, err := htmlindex.Get(label); err == nil {
			out = append(out, decodeName(e, s))
		}
	}
	return append(out, readable(s))
}

func windowsLabel(codepage uint32) string {
	switch codepage {
	case 932:
		return "shift_jis"
	case 936:
		return "gbk"
	case 949:
		return "euc-kr"
	case 950:
		return "big5"
	case 874:
		return "windows-874"
	case 866:
		return "ibm866"
	}
	if codepage >= 1250 && codepage <= 1258 {
		return "windows-125" + string(rune('0'+codepage-1250))
	}
	return ""
}

// utf16Text reads UTF-16LE to its NUL.
func utf16Text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
