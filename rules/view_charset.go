package rules

import (
	"bytes"
	"strings"

	"garita/message"
	"garita/message/field"
)

// guessed adds to the charsets of a text those in which readers show it all
// the same.
//
// A mark of UTF-16 at its beginning beats what is declared (WHATWG Encoding,
// "decode"). Pages without a charset say theirs themselves. Text that is UTF-8
// and declared to be another, and the other way round, is so often wrong that
// webmail guesses; text of ASCII is never UTF-16.
func guessed(names []string, data []byte, seven, isUTF8, page bool) []string {
	out := names
	add := func(name string) {
		for _, have := range out {
			if field.Label(have) == name {
				return
			}
		}
		out = append(out[:len(out):len(out)], name)
	}
	if page && len(names) == 1 && names[0] == "" {
		if name := metaCharset(data); name != "" {
			add(name)
		}
	}
	if len(data) >= 2 && (data[0] == 0xFF && data[1] == 0xFE || data[0] == 0xFE && data[1] == 0xFF) {
		add("utf-16")
	}
	if seven {
		for _, name := range names {
			if l := field.Label(name); strings.HasPrefix(l, "utf-16") || strings.HasPrefix(l, "utf-32") {
				add("utf-8")
				break
			}
		}
		return out
	}
	first := field.Label(names[0])
	switch {
	case first == "" || first == "us-ascii":
		return out // decode guesses
	case !isUTF8:
		if first == "utf-8" {
			add("windows-1252")
		}
	case first != "utf-8":
		add("utf-8")
	}
	return out
}

// metaOctets is where a page says its charset (HTML 13.2.3.2 has 1024; mail
// programs put their styles before it).
const metaOctets = 4 << 10

// metaCharset is the charset that a page says for itself: charset=NAME in a
// tag, quoted or not.
func metaCharset(page []byte) string {
	head := page[:min(len(page), metaOctets)]
	for {
		n := bytes.IndexByte(head, '<')
		if n < 0 {
			return ""
		}
		head = head[n+1:]
		if len(head) < 4 || !bytes.EqualFold(head[:4], []byte("meta")) {
			continue
		}
		tag := head
		if n = bytes.IndexByte(tag, '>'); n >= 0 {
			tag = tag[:n]
		}
		at := bytes.Index(bytes.ToLower(tag), []byte("charset"))
		if at < 0 {
			continue
		}
		value := bytes.TrimLeft(tag[at+len("charset"):], " \t\r\n\f")
		if len(value) == 0 || value[0] != '=' {
			continue
		}
		value = bytes.TrimLeft(value[1:], " \t\r\n\f\"'")
		if n = bytes.IndexAny(value, " \t\r\n\f\"';/"); n >= 0 {
			value = value[:n]
		}
		if label := field.Label(string(value)); label != "" && field.Known(label) {
			return label
		}
	}
}

// deletesBlanks tells text of which readers join the lines without the blank
// between them (RFC 3676 section 4.5, DelSp).
func deletesBlanks(p *message.Part) bool {
	for i := range p.Fields {
		f := &p.Fields[i]
		if strings.EqualFold(f.Name, "content-type") && containsFold(f.Value, "delsp") {
			return true
		}
	}
	return false
}

func containsFold(s, lower string) bool {
	return len(s) >= len(lower) && strings.Contains(strings.ToLower(s), lower)
}

// joined is text without the breaks of flowed lines: the blank before one, the
// break, and the blank that stuffs the next line.
func joined(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for {
		n := bytes.IndexByte(text, '\n')
		if n < 0 {
			return append(out, text...)
		}
		line := text[:n]
		text = text[n+1:]
		bare := bytes.TrimSuffix(line, []byte{'\r'})
		if len(bare) == 0 || bare[len(bare)-1] != ' ' || string(bare) == "-- " {
			out = append(append(out, line...), '\n')
			continue
		}
		out = append(out, bare[:len(bare)-1]...)
		text = bytes.TrimPrefix(text, []byte{' '})
	}
}
