package filetype

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxName bounds the work on one name; of a longer one the middle is left
	// out. Every system cuts at 255.
	maxName = 16 << 10
	// longName is what no person types (E-47).
	longName = 150
	// system is the length at which file systems cut (E-47).
	system = 255
	// run of spaces that pushes the end out of sight (E-47).
	run = "          "
	// maxExtensions are kept of a name.
	maxExtensions = 4
)

// NameView is a file name as the one who clicks it is served: what Windows makes
// of it, and what is wrong with it.
type NameView struct {
	// Base is the name without folders, invisible characters and trailing dots
	// and spaces, in one width (NFKC) and lower case: what decides what opens.
	// Where readers differ, it is the reading that opens the worst.
	Base string
	// Extensions of Base, the deciding one first: "exe", "pdf" for
	// invoice.pdf.exe.
	Extensions []string
	Type       Type // of Extensions[0]
	// Oddities are signs of deceit: "double-extension", "clsid", "bidi",
	// "invisible", "trailing", "nul", "control", "long", "spaces", "path",
	// "stream", "look-alike", "percent", "cut".
	Oddities []string
}

// Has tells that the name has the oddity.
func (v *NameView) Has(oddity string) bool {
	for _, o := range v.Oddities {
		if o == oddity {
			return true
		}
	}
	return false
}

func (v *NameView) note(oddity string) {
	if !v.Has(oddity) {
		v.Oddities = append(v.Oddities, oddity)
	}
}

// ReadName looks at one candidate name.
func ReadName(name string) NameView {
	var v NameView
	if len(name) > maxName {
		// Both ends: some clients cut a long name in its middle, to keep what
		// it opens with.
		name = name[:maxName/2] + name[len(name)-maxName/2:]
	}
	shown := name
	if !plain(name) {
		shown = v.fold(name)
	} else {
		shown = strings.ToLower(name)
	}
	if len(shown) > longName && utf8.RuneCountInString(shown) > longName {
		v.note("long")
	}
	if strings.Contains(shown, run) {
		v.note("spaces")
	}
	v.paths(shown)
	v.take(shown)
	v.others(shown, name)
	if n := len(v.Extensions); n > 0 && v.Type.Class.Runs() {
		for _, e := range v.Extensions[1:] {
			if c := ByExtension(e).Class; c != Unknown && !c.Runs() {
				v.note("double-extension")
			}
		}
	}
	return v
}

// plain tells a name of printable ASCII: nearly all are, and nothing of what
// fold looks for is in them.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// fold gives the name in one width and lower case, without what cannot be seen
// (E-45, E-56).
func (v *NameView) fold(s string) string {
	s = norm.NFKC.String(s)
	var b strings.Builder
	b.Grow(len(s))
	var before rune
	for i, r := range s {
		switch {
		case r == 0:
			v.note("nul")
		case r < ' ' || r >= 0x7f && r < 0xa0:
			v.note("control")
			if r == '\t' {
				b.WriteByte(' ')
			}
			continue
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			v.note("bidi")
			continue
		case hidden(r):
			v.note("invisible")
			continue
		case quiet(r):
			// Ordinary in Persian, Hebrew and emoji; a trick between Latin
			// letters.
			next, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
			if latin(before) && latin(next) {
				v.note("invisible")
			}
			continue
		case r == 0x307 && before == 'i':
			continue // what is left of a capital dotted I
		case r == 0x131:
			r = 'i'
		}
		before = unicode.ToLower(r)
		b.WriteRune(before)
	}
	return b.String()
}

// hidden characters are never needed in a name.
func hidden(r rune) bool {
	switch r {
	case 0xad, 0x34f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180e, 0x200b, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0x2800, 0x3164, 0xfeff, 0xffa0, 0xfff9, 0xfffa, 0xfffb:
		return true
	}
	return r >= 0x206a && r <= 0x206f || r >= 0xe0000 && r <= 0xe007f && r != 0xe007f
}

// quiet characters cannot be seen and have a use.
func quiet(r rune) bool {
	return r == 0x200c || r == 0x200d || r == 0x200e || r == 0x200f || r == 0x61c || r >= 0xfe00 && r <= 0xfe0f || r == 0xe007f
}

func latin(r rune) bool { return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// paths reports what leads elsewhere: a bare slash is in ordinary names
// ("Factura 12/2024.pdf"), a way up or from the root is not (E-50).
func (v *NameView) paths(s string) {
	if s == "" {
		return
	}
	if s[0] == '/' || strings.IndexByte(s, '\\') >= 0 || len(s) > 2 && s[1] == ':' && s[2] == '/' ||
		strings.HasPrefix(s, "../") || strings.Contains(s, "/../") || strings.HasPrefix(s, "~/") {
		v.note("path")
	}
}

// take reads one way to see the whole name and keeps it if it is worse than
// what is known.
func (v *NameView) take(s string) bool {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	base := strings.Trim(s, " ")
	dots := strings.TrimRight(base, ". ")
	if dots == "" {
		dots = base // nothing but dots
	}
	trailed := len(dots) < len(strings.TrimLeft(s, " "))
	s = dots
	if t, rest, ok := clsid(s); ok {
		v.note("clsid")
		v.Base, v.Type = s, t
		v.Extensions = append([]string{t.Name}, extensions(rest)...)
		return true
	}
	exts := extensions(s)
	var t Type
	if len(exts) > 0 {
		t = ByExtension(exts[0])
	}
	if trailed && t.Class.Runs() {
		// Windows drops them; "Contrato S.L." ends so too (E-47).
		v.note("trailing")
	}
	if v.Base != "" && t.Class.danger() <= v.Type.Class.danger() {
		return false
	}
	v.Base, v.Type, v.Extensions = s, t, exts
	return true
}

// clsid tells a name that ends in the class of a program, which Windows starts
// and never shows (features 1.9).
func clsid(s string) (t Type, rest string, ok bool) {
	if !strings.HasSuffix(s, "}") {
		return Type{}, "", false
	}
	i := strings.LastIndex(s, ".{")
	if i < 0 || len(s)-i < 25+3 {
		return Type{}, "", false
	}
	for _, c := range []byte(s[i+2 : len(s)-1]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return Type{}, "", false
		}
	}
	return Type{"clsid", Shortcut}, s[:i], true
}

// extensions gives those of a name, the last first.
func extensions(s string) []string {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return nil
	}
	out := make([]string, 0, 2)
	for i >= 0 && len(out) < maxExtensions {
		e := strings.Trim(s[i+1:], " ")
		if len(e) > 4*longest {
			e = ""
		}
		if e != "" || len(out) == 0 {
			out = append(out, e)
		}
		s = s[:i]
		i = strings.LastIndexByte(s, '.')
	}
	return out
}

// others reads the name as those do who stop at a NUL, undo percent signs, cut
// what is too long, or take another dot for a dot.
func (v *NameView) others(s, raw string) {
	if strings.IndexByte(s, 0) >= 0 {
		v.take(s[:strings.IndexByte(s, 0)])
		v.take(s[strings.LastIndexByte(s, 0)+1:])
		s = strings.ReplaceAll(s, "\x00", "")
		v.take(s)
		v.Base = strings.ReplaceAll(v.Base, "\x00", "")
		for i, e := range v.Extensions {
			v.Extensions[i] = strings.ReplaceAll(e, "\x00", "")
		}
	}
	if strings.IndexByte(s, ':') >= 0 {
		v.streams(s)
	}
	if strings.IndexByte(s, '%') >= 0 {
		if u := unescape(s); u != s && v.worse(v.refold(u)) {
			v.note("percent")
		}
	}
	if len(s) > system {
		for _, cut := range cuts(s) {
			if v.worse(cut) {
				v.note("cut")
			}
		}
	}
	// What no file system takes at the end is dropped by those who save the
	// file, and so is what was no character (E-47, E-51).
	if t := strings.TrimRightFunc(s, dropped); len(t) < len(s) && !strings.HasSuffix(t, ".com") && v.worse(t) {
		v.note("trailing")
	}
	if strings.Contains(s, "\ufffd") && v.worse(strings.ReplaceAll(s, "\ufffd", "")) {
		v.note("invisible")
	}
	// The dots of other scripts; NFKC has made dots of their wide forms. The
	// one of Japanese ends sentences, too: it counts where it leads to
	// something that runs.
	wide := strings.IndexFunc(s, otherDot) >= 0
	if wide && v.worse(strings.Map(asDot, s)) {
		v.note("look-alike")
	}
	if v.Type.Class.Runs() && len(v.Extensions) > 0 && !v.Has("look-alike") && !plain(raw) {
		if !strings.Contains(ascii(raw), "."+v.Extensions[0]) && v.Extensions[0] != "clsid" && !v.Has("percent") && !v.hides() {
			v.note("look-alike")
		}
	}
}

// dropped are characters that names of files do not end in. "Is it at
// example.com?" is no program, which the caller sees to.
func dropped(r rune) bool {
	return strings.ContainsRune(". \"'`<>|?*/\\=%\u201d\u2019", r) || r == utf8.RuneError || unicode.IsSpace(r)
}

// hides tells that the extension is not to be found in the raw name for
// another reason that is reported already.
func (v *NameView) hides() bool {
	return v.Has("invisible") || v.Has("bidi") || v.Has("nul") || v.Has("control") || v.Has("cut")
}

// worse takes a reading if it runs and the known one does not.
func (v *NameView) worse(s string) bool {
	i := strings.LastIndexByte(s, '.')
	if i < 0 || v.Type.Class.Runs() {
		return false
	}
	if e := extensions(strings.TrimRight(s, ". ")); len(e) == 0 || !ByExtension(e[0]).Class.Runs() {
		return false
	}
	return v.take(s)
}

// refold folds what an unescaping has brought to light.
func (v *NameView) refold(s string) string {
	if plain(s) {
		return strings.ToLower(s)
	}
	return strings.ReplaceAll(v.fold(s), "\x00", "")
}

// streams reads name:stream as NTFS does: "a.exe::$DATA" is a.exe.
func (v *NameView) streams(s string) {
	i := strings.IndexByte(s, ':')
	if i == 1 && len(s) > 2 && (s[2] == '\\' || s[2] == '/') { // a drive
		j := strings.IndexByte(s[2:], ':')
		if j < 0 {
			return
		}
		i = j + 2
	}
	rest := s[i+1:]
	if strings.HasPrefix(rest, ":$") || strings.HasSuffix(rest, ":$data") {
		v.note("stream")
		v.take(s[:i])
		if strings.HasSuffix(rest, ":$data") {
			v.take(strings.TrimRight(strings.TrimSuffix(rest, ":$data"), ":"))
		}
		return
	}
	if e := extensions(s[:i]); len(e) > 0 && ByExtension(e[0]).Class.Runs() && !strings.HasPrefix(rest, " ") {
		v.note("stream")
		v.take(s[:i])
	}
}

// unescape undoes percent signs, and leaves those that are not followed by two
// hexadecimal digits.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			h, l := nibble(s[i+1]), nibble(s[i+2])
			if h >= 0 && l >= 0 {
				b.WriteByte(byte(h<<4 | l))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

func nibble(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// cuts gives the name as systems cut it that count octets or characters.
func cuts(s string) []string {
	out := []string{strings.ToValidUTF8(s[:system], "")}
	n := 0
	for i := range s {
		if n == system {
			return append(out, s[:i])
		}
		n++
	}
	return out
}

func otherDot(r rune) bool {
	switch r {
	case 0x2024, 0xff0e, 0x3002, 0xff61, 0xfe52, 0x6d4, 0x701, 0x702, 0xa60e, 0xa4f8, 0x1d16d:
		return true
	}
	return false
}

func asDot(r rune) rune {
	if otherDot(r) {
		return '.'
	}
	return r
}

// ascii is the name in ASCII small letters, others as they are.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
