package document

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"garita/filetype"
)

// htmlKind makes text count as HTML, whatever it looks like.
var htmlKind = filetype.Type{Name: "html", Class: filetype.Markup}

// text inspects what is no binary format: HTML, SVG, XML, MHTML.
func (in *inspector) text(t filetype.Type, where string, b []byte) {
	b = toUTF8(b)
	head := bytes.TrimLeft(b[:min(len(b), 4096)], "\x00 \t\r\n\f")
	if tableKind(t) {
		in.table(t, where, b)
	}
	switch {
	case t.Name == "mhtml" || mhtmlHead(head):
		in.mhtml(where, b)
		if t.Class == filetype.Markup && t.Name != "mht" && t.Name != "mhtml" {
			in.markup(t, where, b) // by its name it is a page
		}
	case bytes.HasPrefix(head, []byte("<?xml")), t.Name == "xml":
		in.flatXML(where, b)
		if t.Class == filetype.Markup || webNames(b) || startsHTML(head) {
			in.markup(t, where, b)
		}
	case t.Class == filetype.Markup, t.Name == "hta", startsHTML(head):
		in.markup(t, where, b)
		if bytes.Contains(head, []byte("w:wordDocument")) || bytes.Contains(head, []byte("pkg:package")) {
			in.flatXML(where, b)
		}
	}
}

// webNames tells XML that a browser may show as a page or picture: only the
// namespace makes a script of an element, so an invoice's <script> is none.
// What spells its namespaces with entities has a reason to.
func webNames(b []byte) bool {
	if anyOf(b, "1999/xhtml", "2000/svg", "<!ENTITY", "<?xml-stylesheet", "<svg", "<html") {
		return true
	}
	for {
		i := bytes.Index(b, []byte("xmlns"))
		if i < 0 {
			return false
		}
		b = b[i+5:]
		if bytes.IndexByte(b[:min(len(b), 96)], '&') >= 0 {
			return true
		}
	}
}

// startsHTML is the sniffing of browsers (WHATWG MIME sniffing 7.1), with some
// more elements, since mail clients show what begins with any.
func startsHTML(head []byte) bool {
	for bytes.HasPrefix(head, []byte("<!--")) {
		end := bytes.Index(head, []byte("-->"))
		if end < 0 {
			return true
		}
		head = bytes.TrimLeft(head[end+3:], " \t\r\n")
	}
	if len(head) < 3 || head[0] != '<' {
		return false
	}
	n := 1
	for n < len(head) && n < 24 && (wordByte(head[n]) || head[n] == '!' || head[n] == ':' || head[n] == '-') {
		n++
	}
	switch strings.ToLower(string(head[1:n])) {
	case "!doctype", "html", "head", "script", "iframe", "h1", "h2", "h3", "div", "font", "table", "a", "style", "title",
		"b", "body", "br", "p", "svg", "meta", "form", "img", "object", "embed", "input", "span", "center", "link",
		"base", "button", "details", "video", "audio", "marquee", "frameset", "applet", "math", "hta:application", "svg:svg":
		return true
	}
	return false
}

// toUTF8 turns UTF-16 and UTF-32 into UTF-8, by mark or by the look of the first
// octets, and UTF-7 when it says so (H-20, H-21). Other charsets have ASCII where
// it matters and stay.
func toUTF8(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return b[3:]
	case bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")):
		return narrow32(b[4:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\x00\x00\xfe\xff")):
		return narrow32(b[4:], binary.BigEndian)
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return narrow(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return narrow(b[2:], binary.BigEndian)
	}
	if len(b) >= 4 {
		switch {
		case b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
			return narrow(b, binary.LittleEndian)
		case b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
			return narrow(b, binary.BigEndian)
		}
	}
	if i := bytes.Index(b, []byte("+ADw")); i >= 0 {
		head := bytes.ToLower(b[:min(len(b), 4096)])
		if bytes.Contains(head, []byte("utf-7")) || bytes.HasPrefix(b, []byte("+/v")) || i < 256 {
			return fromUTF7(b)
		}
	}
	return b
}

func narrow(b []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(b)/2+16)
	for len(b) >= 2 {
		r := rune(order.Uint16(b))
		b = b[2:]
		if utf16.IsSurrogate(r) && len(b) >= 2 {
			if both := utf16.DecodeRune(r, rune(order.Uint16(b))); both != utf8.RuneError {
				r, b = both, b[2:]
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func narrow32(b []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(b)/4+16)
	for ; len(b) >= 4; b = b[4:] {
		out = utf8.AppendRune(out, rune(order.Uint32(b)))
	}
	return out
}

// fromUTF7 decodes RFC 2152 leniently: runs between + and whatever is no base64.
func fromUTF7(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '+')
		if i < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		b = b[i+1:]
		n := 0
		for n < len(b) && (wordByte(b[n]) && b[n] != '_' || b[n] == '+' || b[n] == '/') {
			n++
		}
		if n == 0 {
			out = append(out, '+')
		} else {
			raw := make([]byte, base64.RawStdEncoding.DecodedLen(n))
			got, _ := base64.RawStdEncoding.Decode(raw, b[:n])
			out = append(out, narrow(raw[:got], binary.BigEndian)...)
		}
		b = b[n:]
		if len(b) > 0 && b[0] == '-' {
			b = b[1:]
		}
	}
	return out
}

// mhtmlHead tells whether a web page in one file begins (RFC 2557).
func mhtmlHead(head []byte) bool {
	if !hasField(head, "mime-version") && !(len(head) >= 8 && bytes.EqualFold(head[:8], []byte("content-"))) {
		return false // nearly every text: no copy of it in lower case
	}
	low := bytes.ToLower(head)
	return bytes.Contains(low, []byte("multipart/related")) || bytes.Contains(low, []byte("text/html")) || bytes.Contains(low, []byte("application/x-mso"))
}

// hasField tells that the name of a header field stands before some colon.
func hasField(head []byte, name string) bool {
	for {
		i := bytes.IndexByte(head, ':')
		if i < 0 {
			return false
		}
		if i >= len(name) && bytes.EqualFold(head[i-len(name):i], []byte(name)) {
			return true
		}
		head = head[i+1:]
	}
}

// mhtml goes through the parts: whatever lies between lines of two hyphens. Word
// saves macros there as base64 under a harmless type.
func (in *inspector) mhtml(where string, b []byte) {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	for part := range bytes.SplitSeq(b, []byte("\n--")) {
		head, body, found := bytes.Cut(part, []byte("\n\n"))
		if !found || len(body) == 0 {
			continue
		}
		if !in.open(where) || !in.take(where, int64(len(body))) {
			return
		}
		low := bytes.ToLower(head[:min(len(head), 8192)])
		switch {
		case bytes.Contains(low, []byte("base64")), bytes.HasPrefix(body, []byte("QWN0aXZl")), bytes.HasPrefix(body, []byte("0M8R4K")):
			body = decodeBase64(body[:base64Run(body)])
		case bytes.Contains(low, []byte("quoted-printable")):
			var out bytes.Buffer
			// What cannot be decoded stays as it is: both are looked at.
			_, err := io.Copy(&out, quotedprintable.NewReader(bytes.NewReader(body)))
			if err == nil {
				body = out.Bytes()
			} else {
				body = append(out.Bytes(), body...)
			}
		}
		switch {
		case bytes.HasPrefix(body, []byte("ActiveMime")):
			in.activeMime(where, body)
		case bytes.HasPrefix(body, []byte(oleSignature)):
			in.inner(where, body)
		case bytes.Contains(low, []byte("text/html")), startsHTML(body[:min(len(body), 4096)]):
			in.markup(htmlKind, where, toUTF8(body))
		}
	}
}
