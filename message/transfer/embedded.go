package transfer

import (
	"bytes"
)

// Bounds of Embedded and TNEF.
const (
	maxFiles     = 500 // files in one text
	maxNameBytes = 4096
)

// Embedded finds the uuencoded, yEnc and BinHex files in text: each begins at
// a line of its own (attacks E-64 to E-66). On text that has none it costs
// three searches. max bounds the octets of all readings of all files together.
//
// Files are given in the order in which they begin. A file that has the frame
// and not one line that can be decoded is prose about such files and is left
// out.
func Embedded(text []byte, max int) []File {
	var files []File
	left := max
	i := 0
	next := nextStart{text: text}
	for len(files) < maxFiles {
		at, kind := next.from(i)
		if at < 0 {
			break
		}
		var f File
		var ok bool
		switch kind {
		case uuMethod:
			f, ok = readBegin(text, at, left)
		case yencMethod:
			f, ok = readYenc(text, at, left)
		case binhexMethod:
			f, ok = readBinHex(text, at, left)
		}
		if !ok {
			i = at + 1
			continue
		}
		for _, r := range f.Readings {
			left -= len(r.Data)
		}
		files = append(files, f)
		i = f.End
		if i <= at {
			i = at + 1
		}
	}
	if len(files) == maxFiles {
		last := &files[maxFiles-1]
		last.Faults = append(last.Faults, Fault{ID: "too-many-files", At: last.End, Ambiguous: true})
	}
	return files
}

// nextStart searches for the three beginnings; a beginning that was found stays
// in memory until it is passed, so that each octet is searched once for each.
type nextStart struct {
	text  []byte
	found [3]int // offset, -1 for none any more
	valid [3]bool
}

func (n *nextStart) from(i int) (at int, m method) {
	at = -1
	for k, m2 := range [3]method{uuMethod, yencMethod, binhexMethod} {
		if !n.valid[k] || n.found[k] >= 0 && n.found[k] < i {
			n.found[k], n.valid[k] = find(n.text, i, m2), true
		}
		if f := n.found[k]; f >= 0 && (at < 0 || f < at) {
			at, m = f, m2
		}
	}
	return at, m
}

// find gives where a file of one kind may begin, from i on; -1 for nowhere.
func find(text []byte, i int, m method) int {
	var mark []byte
	switch m {
	case uuMethod:
		mark = []byte("begin")
	case yencMethod:
		mark = []byte("=ybegin")
	default:
		mark = []byte("converted with BinHex")
	}
	for i < len(text) {
		k := bytes.Index(text[i:], mark)
		if k < 0 {
			return -1
		}
		k += i
		switch {
		case m == binhexMethod:
			return k
		case k > 0 && text[k-1] != '\n' && text[k-1] != '\r':
		case m == yencMethod:
			return k
		case k+5 < len(text) && (text[k+5] == ' ' || text[k+5] == '\t' || text[k+5] == '-'):
			return k
		}
		i = k + len(mark)
	}
	return -1
}

// lineAt gives the line at i without its line end, and where the next begins.
func lineAt(text []byte, i int) (line []byte, next int) {
	k := bytes.IndexByte(text[i:], '\n')
	if k < 0 {
		return bytes.TrimRight(text[i:], "\r"), len(text)
	}
	return bytes.TrimRight(text[i:i+k], "\r"), i + k + 1
}

// maxHead bounds the first line of a file; what is longer is none. With it the
// search stays linear on text that has a beginning at every line and no end.
const maxHead = 8192

// headAt is lineAt for a first line, within maxHead octets.
func headAt(text []byte, i int) (line []byte, next int, ok bool) {
	window := text[i:min(len(text), i+maxHead)]
	k := bytes.IndexByte(window, '\n')
	if k < 0 {
		return bytes.TrimRight(window, "\r"), len(text), i+maxHead > len(text)
	}
	return bytes.TrimRight(window[:k], "\r"), i + k + 1, true
}

// names gives the readings of a file's name: octets that are not UTF-8 are
// Windows-1252.
func names(list ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if len(s) > maxNameBytes {
			s = s[:maxNameBytes]
		}
		s = readable(s)
		if s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
