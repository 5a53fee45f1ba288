package archive

import (
	"strings"
	"unicode"
)

// canonical is the path that a careless unpacker makes of a name.
func canonical(name string) string {
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' })
	out := parts[:0]
	for _, p := range parts {
		switch p {
		case ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			if p = strings.TrimRight(p, ". "); p != "" {
				out = append(out, p)
			}
		}
	}
	return strings.Join(out, "/")
}

func lower(s string) string { return strings.ToLower(s) }

// judgeName flags what a name does beyond naming (Z-07, Z-08, Z-09). No name
// is ever used as a path here; this is for who unpacks it at home.
func (w *walker) judgeName(n string) {
	if strings.ContainsFunc(n, func(r rune) bool { return r != 0 && unicode.IsControl(r) }) {
		w.flag("name-control", n)
	}
	if escapes(n) {
		w.flag("name-escapes", n)
	} else if strings.HasPrefix(n, "/") || strings.HasPrefix(n, "\\") {
		w.flag("name-absolute", n)
	}
}

// escapes tells of names that lead out of the folder: by two dots, to a drive,
// to a host.
func escapes(n string) bool {
	if strings.HasPrefix(n, "\\\\") || strings.HasPrefix(n, "//") {
		return true
	}
	if len(n) >= 2 && n[1] == ':' && (n[0]|0x20 >= 'a' && n[0]|0x20 <= 'z') {
		return true
	}
	if !strings.Contains(n, "..") {
		return false
	}
	depth := 0
	for _, p := range strings.FieldsFunc(n, func(r rune) bool { return r == '/' || r == '\\' }) {
		switch p {
		case ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
