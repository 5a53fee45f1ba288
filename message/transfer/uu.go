package transfer

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// readBegin reads a file that begins with `begin 644 name` (POSIX uuencode),
// `begin-base64 644 name` or `begin-base64-encoded 644 bmFtZQ==` at at.
func readBegin(text []byte, at, max int) (File, bool) {
	f := File{Kind: "uuencode", Start: at}
	line, i, ok := headAt(text, at)
	if !ok {
		return f, false
	}
	rest := line[len("begin"):]
	var encoded, b64 bool
	if after, ok := bytes.CutPrefix(rest, []byte("-base64-encoded")); ok {
		rest, b64, encoded = after, true, true
	} else if after, ok := bytes.CutPrefix(rest, []byte("-base64")); ok {
		rest, b64 = after, true
	}
	if len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
		return f, false
	}
	mode, name := modeAndName(rest)
	if !bodyFollows(text, i, b64, mode != "") {
		return f, false
	}
	if mode == "" && name == "" {
		return f, false
	}
	f.Names = names(name, strings.Trim(name, "\"'"))
	if encoded {
		if plain, err := base64.StdEncoding.DecodeString(name); err == nil {
			f.Names = names(string(plain), name)
		}
	}
	if b64 {
		f.Kind = "base64"
		return readBeginBase64(f, text, i, max)
	}
	if mode == "" {
		f.Faults = append(f.Faults, Fault{ID: "uuencode-mode", At: at})
	}
	return readUU(f, text, i, max)
}

// uuJunkLines is how far behind its beginning a file may have its first line.
const uuJunkLines = 8

// bodyFollows tells whether the first line from i on that is not empty can be
// one of an encoded file; else what looked like a beginning was prose. Behind a
// mode, lines of junk may come before it: some readers skip them.
func bodyFollows(text []byte, i int, b64, mode bool) bool {
	junk := false
	for range uuJunkLines {
		line, next, ok := headAt(text, i)
		if !ok || i >= len(text) {
			return false
		}
		if len(bytes.TrimSpace(line)) == 0 {
			i = next
			continue
		}
		if !b64 {
			switch kind := uuKind(line); {
			case kind == uuData && (!junk || (len(line)+1)/4 == (int(uuValue(line[0]))+2)/3):
				return true
			case !junk && (kind == uuEnd || kind == uuZero):
				return true
			case !mode || kind == uuEnd || kind == uuBegin:
				return false
			}
			junk, i = true, next
			continue
		}
		n := 0
		for _, c := range line {
			if digits[c] < 64 {
				n++
			}
		}
		return n >= 2
	}
	return false
}

// modeAndName cuts what follows `begin`: the mode is octal; Outlook once took
// two spaces for it.
func modeAndName(rest []byte) (mode, name string) {
	s := strings.Trim(string(rest[:min(len(rest), maxNameBytes)]), " \t")
	k := 0
	for k < len(s) && s[k]-'0' < 8 {
		k++
	}
	if k >= 3 && k <= 7 && (k == len(s) || s[k] == ' ' || s[k] == '\t') {
		return s[:k], strings.TrimLeft(s[k:], " \t")
	}
	return "", s
}

// readBeginBase64 reads to the line of four equals signs.
func readBeginBase64(f File, text []byte, i, max int) (File, bool) {
	end := i
	f.End = len(text)
	found := false
	for end < len(text) {
		line, next := lineAt(text, end)
		if bytes.HasPrefix(line, []byte("====")) {
			f.End, found = next, true
			break
		}
		end = next
	}
	f.Readings, f.Faults = Base64(text[i:end], max)
	if !found {
		f.Faults = append(f.Faults, Fault{ID: "uuencode-end", At: len(text)})
	}
	return f, len(f.Readings) > 0 && len(f.Readings[0].Data) > 0
}

// uuValue gives the six bits of a character: a space and a grave accent are
// both zero.
func uuValue(c byte) byte { return (c - ' ') & 0x3F }

// uuLine tells what a line of the body is.
type uuLine uint8

const (
	uuData uuLine = iota
	uuBad         // no line of uuencode
	uuZero        // a line of no octets: the last one
	uuEnd
	uuBegin // another file begins
	uuBlank
)

// uuKind looks at a line: the first character is the number of octets, and the
// line has the characters for them, perhaps without spaces at its end, perhaps
// with a check sum or more behind.
func uuKind(line []byte) uuLine {
	t := bytes.TrimRight(line, " \t")
	switch {
	case len(line) == 0:
		return uuBlank
	case len(t) == 0, len(t) == 1 && t[0] == '`':
		return uuZero
	case bytes.EqualFold(t, []byte("end")):
		return uuEnd
	case bytes.HasPrefix(t, []byte("begin ")):
		if mode, _ := modeAndName(t[5:]); mode != "" {
			return uuBegin
		}
	}
	for _, c := range t {
		if c < ' ' || c > '`' {
			return uuBad
		}
	}
	n := int(uuValue(line[0]))
	want := (n + 2) / 3 * 4
	// Short by more than the spaces of one line that a mailer took away: those
	// are seen with files of zeroes, where nothing is left but the length.
	if n == 0 || len(t)-1 > want+4 {
		return uuBad
	}
	return uuData
}

// readUU reads the lines of a uuencoded file from i on.
func readUU(f File, text []byte, i, max int) (File, bool) {
	f.End = len(text)
	var out []byte // bad lines skipped
	stopped := -1  // octets at the first line that is not sound
	data, bad := 0, 0
	ended := false
	over := false
loop:
	for i < len(text) {
		line, next := lineAt(text, i)
		switch uuKind(line) {
		case uuEnd:
			f.End, ended = next, true
			break loop
		case uuBegin:
			f.End = i
			break loop
		case uuZero, uuBlank:
			if len(line) > 0 && stopped < 0 && !endFollows(text, next) {
				stopped = len(out)
				f.Faults = append(f.Faults, Fault{ID: "uuencode-zero-line", At: i})
			}
		case uuBad:
			if data == 0 && bad == uuJunkLines {
				return f, false
			}
			if bad++; stopped < 0 {
				stopped = len(out)
				f.Faults = append(f.Faults, Fault{ID: "uuencode-junk", At: i})
			}
			if bad > 100 && bad > data {
				f.End = i
				break loop // it ended long ago
			}
		case uuData:
			if out == nil {
				// A text may have hundreds of beginnings: what is left of it
				// tells nothing about the size of each file.
				out = make([]byte, 0, min((len(text)-i)/4*3+64, max+64, firstRoom))
			}
			if data++; data == 1 && len(line)+8 < (int(uuValue(line[0]))+2)/3*4 {
				// Who compares the length with the line skips it: the file
				// begins elsewhere.
				f.Faults = append(f.Faults, Fault{ID: "uuencode-junk", At: i, Ambiguous: true})
			}
			out = appendUU(out, line)
			if len(out) > max {
				over = true
				f.End = next
				break loop
			}
		}
		i = next
	}
	if data == 0 && !ended {
		return f, false
	}
	if !ended {
		f.Faults = append(f.Faults, Fault{ID: "uuencode-end", At: f.End})
	}
	b := bound{left: max}
	out = snug(out)
	if stopped >= 0 && stopped < len(out) {
		for k := range f.Faults {
			f.Faults[k].Ambiguous = f.Faults[k].ID != "uuencode-end"
		}
		b.add("uuencode", out[:stopped:stopped])
		b.add("uuencode, junk skipped", out)
	} else {
		b.add("uuencode", out)
	}
	b.over = b.over || over
	f.Readings = b.readings
	f.Faults = append(f.Faults, b.faultsAt(true, f.End)...)
	return f, true
}

// endFollows tells that the next line that is not empty is `end`, or that there
// is none.
func endFollows(text []byte, i int) bool {
	for range 4 {
		if i >= len(text) {
			return true
		}
		line, next := lineAt(text, i)
		switch uuKind(line) {
		case uuEnd, uuBegin:
			return true
		case uuZero, uuBlank:
			i = next
		default:
			return false
		}
	}
	return true
}

// appendUU decodes one line; characters that are missing at its end were
// spaces.
func appendUU(out, line []byte) []byte {
	n := int(uuValue(line[0]))
	line = line[1:]
	at := func(i int) byte {
		if i < len(line) {
			return uuValue(line[i])
		}
		return 0
	}
	for i := 0; n > 0; i, n = i+4, n-3 {
		a, b, c, d := at(i), at(i+1), at(i+2), at(i+3)
		quantum := [3]byte{a<<2 | b>>4, b<<4 | c>>2, c<<6 | d}
		out = append(out, quantum[:min(n, 3)]...)
	}
	return out
}
