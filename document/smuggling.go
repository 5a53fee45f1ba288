package document

import (
	"bytes"
	"strings"
)

// longRun is a length of encoded data that no ordinary script holds.
const longRun = 2048

// plainScripts is more than the script is that takes a hidden file apart, and
// less than any library that draws charts out of numbers.
const plainScripts = 32 << 10

// smuggling gathers the signs that a page builds a file in the browser: what
// decodes, what makes a file of it, and a lot of encoded data.
type smuggling struct {
	scripts bool
	builds  string // what makes a file
	decodes string // what decodes
	writes  string // what runs or writes what was decoded
	long    int    // the longest run of encoded data
	inLink  string // a file in a link
	leads   string // what leads to another page
	// numbers is the longest run of numbers with blanks between them, pictures
	// the longest picture inside the page, written the octets of scripts.
	numbers, pictures, written int
	styles                     int // the longest run beside pictures
}

// code looks at a script. Words are looked for in the script as it is and as it is
// without what splits words: quotes, plus signs, white space, escapes.
func (s *smuggling) code(b []byte) {
	s.data(b)
	low := bytes.ToLower(b)
	s.words(low)
	squeezed := squeeze(low)
	s.words(squeezed)
	s.data(squeezed) // pieces that are put together
	s.written += len(b)
	s.linked(squeezed)
}

// linked looks for a file in an address that a script makes; pictures and
// fonts are shown in place.
func (s *smuggling) linked(b []byte) {
	for from := 0; s.builds == ""; {
		i := bytes.Index(b[from:], []byte(";base64,"))
		if i < 0 {
			return
		}
		at := from + i
		from = at + len(";base64,")
		head := b[max(0, at-80):at]
		j := bytes.LastIndex(head, []byte("data:"))
		if j < 0 {
			continue
		}
		switch kind := string(head[j+5:]); {
		case strings.HasPrefix(kind, "image/") && !strings.HasPrefix(kind, "image/svg"), strings.HasPrefix(kind, "font/"),
			strings.HasPrefix(kind, "audio/"), strings.HasPrefix(kind, "video/"), strings.Contains(kind, "font"), strings.Contains(kind, "css"),
			strings.Contains(kind, "json"), strings.HasPrefix(kind, "text/plain"):
		default:
			s.builds = "data: " + kind[:min(len(kind), 40)]
		}
	}
}

// beside measures what is mostly pictures and fonts: styles and attributes.
// They count with a script that decodes, and not with any.
func (s *smuggling) beside(b []byte) {
	if !bytes.Contains(b, []byte("data:")) {
		s.data(b)
		return
	}
	var own smuggling
	own.data(b)
	s.styles = max(s.styles, own.long)
}

// kept measures an address that a script may read: a picture is one, unless it
// stands on a page whose script takes it apart.
func (s *smuggling) kept(val []byte) {
	if len(val) >= longRun && bytes.HasPrefix(bytes.ToLower(val[:16]), []byte("data:")) {
		s.pictures = max(s.pictures, len(val))
	}
}

func (s *smuggling) words(b []byte) {
	find := func(into *string, words ...string) {
		for _, w := range words {
			if *into == "" && bytes.Contains(b, []byte(w)) {
				*into = w
			}
		}
	}
	find(&s.builds, "createobjecturl", "mssaveoropenblob", "mssaveblob", "showsavefilepicker", "newblob(", "new blob(",
		"newfile([", ".download=", "setattribute(download", "data:application/", "webassembly.", "navigator.serviceworker")
	find(&s.leads, "location.href=", "location.replace(", "location.assign(", "location=", "window.open(")
	find(&s.decodes, "atob(", "fromcharcode", "uint8array", "charcodeat(", "unescape(", "textdecoder", "decodeuricomponent(",
		"frombase64", "parseint(")
	find(&s.writes, "document.write", "eval(", "newfunction(", "innerhtml", "srcdoc", "insertadjacenthtml", "location.href=", "location.replace(",
		"wscript.shell", "activexobject")
}

// squeeze leaves out what a script may put inside a word without changing it, and
// resolves \xNN and \uNNNN.
func squeeze(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+3 < len(b) {
			if b[i+1] == 'x' && hexValue(b[i+2]) >= 0 && hexValue(b[i+3]) >= 0 {
				out = append(out, lower(byte(hexValue(b[i+2])<<4|hexValue(b[i+3]))))
				i += 3
				continue
			}
			if b[i+1] == 'u' && i+5 < len(b) && b[i+2] == '0' && b[i+3] == '0' && hexValue(b[i+4]) >= 0 && hexValue(b[i+5]) >= 0 {
				out = append(out, lower(byte(hexValue(b[i+4])<<4|hexValue(b[i+5]))))
				i += 5
				continue
			}
		}
		switch c {
		case '"', '\'', '`', '+', ' ', '\t', '\r', '\n', '[', ']':
			continue
		}
		out = append(out, c)
	}
	return out
}

// data measures the longest run of base64 or hexadecimal digits.
func (s *smuggling) data(b []byte) {
	if len(b) < longRun {
		return
	}
	run, digits, numbers := 0, 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			digits++
			numbers++
		case c == ' ', c == ',', c == '-', c == '|', c == 'x', c == ';', c == '.', c == '_', c == ':', c == '\n', c == '\r', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			numbers++
		default:
			digits, numbers = 0, 0
		}
		if digits > numbers/3 && numbers > s.numbers {
			s.numbers = numbers
		}
		switch {
		case wordByte(c), c == '+', c == '/', c == '=':
			if run++; run > s.long {
				s.long = run
			}
		case c == '\n', c == '\r', c == '%', c == ',', c == '\\':
		default:
			run = 0
		}
	}
}

// link looks at a data: address of something that is not shown in place.
func (s *smuggling) link(href string, download bool) {
	low := strings.ToLower(href[:min(len(href), 300)])
	i := strings.Index(low, "data:")
	if i < 0 || i > 40 || strings.Contains(low[:i], "//") {
		return
	}
	kind := low[i+5:]
	if !download && (strings.HasPrefix(kind, "image/") && !strings.HasPrefix(kind, "image/svg") || strings.HasPrefix(kind, "text/plain")) {
		return
	}
	if s.inLink == "" {
		s.inLink = "data: " + kind[:min(len(kind), 40)]
	}
}

// verdict says why the page smuggles, "" when it does not.
func (s *smuggling) verdict() string {
	switch {
	case s.inLink != "":
		return s.inLink
	case strings.HasPrefix(s.builds, "mssave"):
		return s.builds
	case s.builds != "" && s.builds != ".download=" && s.decodes != "" && s.decodes != "parseint(":
		return s.builds + ", " + s.decodes
	case s.builds != "" && s.long >= longRun:
		return s.builds + ", encoded data"
	case s.decodes != "" && s.decodes != "parseint(" && max(s.long, s.styles) >= longRun:
		return s.decodes + ", encoded data"
	case s.decodes != "" && s.decodes != "parseint(" && s.numbers >= 2*longRun && s.written < plainScripts:
		return s.decodes + ", numbers"
	case s.scripts && s.writes != "" && s.long >= 2*longRun:
		return s.writes + ", encoded data"
	case s.scripts && s.long >= 2*longRun && s.written < plainScripts+s.long:
		// A short script beside a lot of data: what it is for cannot be read
		// out of names that it makes up.
		return "encoded data beside a script"
	case s.scripts && s.pictures > 0 && s.decodes != "":
		return s.decodes + ", a picture's data"
	}
	return ""
}
