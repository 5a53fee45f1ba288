package transfer

import (
	"bytes"
	"hash/crc32"
	"strconv"
	"strings"
)

// readYenc reads a yEnc file (version 1.3) at at: `=ybegin line=128 size=n
// name=x`, perhaps `=ypart begin=a end=b`, the data, `=yend size=n crc32=x`.
func readYenc(text []byte, at, max int) (File, bool) {
	f := File{Kind: "yenc", Start: at, End: len(text)}
	line, i, ok := headAt(text, at)
	if !ok {
		return f, false
	}
	name, ok := yencValue(line, " name=")
	if ok {
		f.Names = names(name, strings.Trim(name, "\"'"))
	}
	if size, isSize := yencValue(line, " size="); !ok && (!isSize || size == "") {
		return f, false
	}
	var trailer []byte
	ended := false
	start, end := i, i
	for end < len(text) {
		line, next := lineAt(text, end)
		if bytes.HasPrefix(line, []byte("=ypart")) && end == start {
			start, end = next, next
			continue
		}
		if bytes.HasPrefix(line, []byte("=yend")) {
			trailer, f.End, ended = line, next, true
			break
		}
		if bytes.HasPrefix(line, []byte("=ybegin ")) {
			f.End = end
			break
		}
		// On to the next line that begins with `=y`: whatever is between is
		// data.
		k := bytes.Index(text[end:], []byte("\n=y"))
		if k < 0 {
			end = len(text)
			break
		}
		end += k + 1
	}
	b := bound{left: max}
	b.add("yenc", yencData(text[start:end], max))
	f.Readings = b.readings
	if !ended {
		f.Faults = append(f.Faults, Fault{ID: "yenc-end", At: f.End})
	} else if !b.over {
		f.Faults = append(f.Faults, yencCheck(trailer, b.readings, f.End)...)
	}
	f.Faults = append(f.Faults, b.faultsAt(true, f.End)...)
	return f, true
}

// yencValue gives the value of a keyword; name= is the last and goes to the end
// of the line, the others to the next space.
func yencValue(line []byte, key string) (string, bool) {
	k := bytes.Index(line, []byte(key))
	if k < 0 {
		return "", false
	}
	v := line[k+len(key):]
	if key == " name=" {
		return strings.TrimSpace(string(v[:min(len(v), maxNameBytes)])), true
	}
	if s := bytes.IndexByte(v, ' '); s >= 0 {
		v = v[:s]
	}
	return string(v[:min(len(v), 64)]), true
}

// yencData decodes the lines of the data; the two dots of a line that once
// went through a news server stay: in mail the transport has taken one away.
func yencData(text []byte, max int) []byte {
	out := make([]byte, 0, min(len(text), max+1))
	for i := 0; i < len(text) && len(out) <= max; i++ {
		switch c := text[i]; c {
		case '\r', '\n':
		case '=':
			if i++; i < len(text) {
				out = append(out, text[i]-64-42)
			}
		default:
			out = append(out, c-42)
		}
	}
	return out
}

// yencCheck compares size and check sum.
func yencCheck(trailer []byte, readings []Reading, at int) []Fault {
	if len(readings) == 0 {
		return nil
	}
	data := readings[0].Data
	if s, ok := yencValue(trailer, " size="); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err != nil || n != int64(len(data)) {
			return []Fault{{ID: "yenc-size", At: at}}
		}
	}
	sum, ok := yencValue(trailer, " pcrc32=")
	if !ok {
		sum, ok = yencValue(trailer, " crc32=")
	}
	if !ok {
		return nil
	}
	if n, err := strconv.ParseUint(sum, 16, 64); err != nil || uint32(n) != crc32.ChecksumIEEE(data) {
		return []Fault{{ID: "yenc-checksum", At: at}}
	}
	return nil
}
