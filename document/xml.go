package document

import (
	"bytes"
	"encoding/base64"
	"strings"

	"golang.org/x/net/html"
)

// xmlScan goes through the tags of an XML file, names without their prefixes.
// It is lenient: Office repairs much, and a tag that a strict parser stops at
// must not hide the next one. Linear, and nothing is resolved but the five
// entities and numbers.
type xmlScan struct {
	b   []byte
	pos int
}

// xmlTag is a start tag, an end tag, or text.
type xmlTag struct {
	name  string // local name, "" for text
	end   bool
	empty bool // <a/>
	attrs []byte
	text  []byte
}

func (s *xmlScan) next() (xmlTag, bool) {
	for s.pos < len(s.b) {
		i := bytes.IndexByte(s.b[s.pos:], '<')
		if i != 0 {
			if i < 0 {
				i = len(s.b) - s.pos
			}
			text := s.b[s.pos : s.pos+i]
			s.pos += i
			return xmlTag{text: text}, true
		}
		rest := s.b[s.pos:]
		switch {
		case bytes.HasPrefix(rest, []byte("<!--")):
			s.skip(rest, "-->")
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			end := bytes.Index(rest, []byte("]]>"))
			if end < 0 {
				end = len(rest)
			}
			s.pos += min(end+3, len(rest))
			return xmlTag{text: rest[9:max(9, end)]}, true
		case len(rest) > 1 && (rest[1] == '?' || rest[1] == '!'):
			s.skip(rest, ">")
		default:
			return s.tag(rest), true
		}
	}
	return xmlTag{}, false
}

func (s *xmlScan) skip(rest []byte, mark string) {
	end := bytes.Index(rest, []byte(mark))
	if end < 0 {
		s.pos = len(s.b)
		return
	}
	s.pos += end + len(mark)
}

// tag reads from < to the > outside quotes.
func (s *xmlScan) tag(rest []byte) xmlTag {
	end, quote := len(rest), byte(0)
	for i := 1; i < len(rest); i++ {
		c := rest[i]
		if quote != 0 {
			if c == quote {
				quote = 0
			}
			continue
		}
		if c == '"' || c == '\'' {
			quote = c
		}
		if c == '>' {
			end = i
			break
		}
	}
	s.pos += min(end+1, len(rest))
	body := rest[1:end]
	t := xmlTag{}
	if len(body) > 0 && body[0] == '/' {
		t.end, body = true, body[1:]
	}
	if len(body) > 0 && body[len(body)-1] == '/' {
		t.empty, body = true, body[:len(body)-1]
	}
	n := bytes.IndexAny(body, " \t\r\n")
	if n < 0 {
		n = len(body)
	}
	t.name, t.attrs = localName(body[:n]), body[n:]
	if t.name == "" {
		t.name = "?"
	}
	return t
}

func localName(b []byte) string {
	if i := bytes.LastIndexByte(b, ':'); i >= 0 {
		b = b[i+1:]
	}
	return string(b[:min(len(b), 64)])
}

// attr gives the value of an attribute, by its local name in any case.
func (t *xmlTag) attr(name string) string {
	b := t.attrs
	for {
		b = bytes.TrimLeft(b, " \t\r\n/")
		eq := bytes.IndexByte(b, '=')
		if eq < 0 {
			return ""
		}
		key := bytes.TrimSpace(b[:eq])
		b = bytes.TrimLeft(b[eq+1:], " \t\r\n")
		if len(b) == 0 || b[0] != '"' && b[0] != '\'' {
			continue
		}
		end := bytes.IndexByte(b[1:], b[0])
		if end < 0 {
			return ""
		}
		if strings.EqualFold(localName(key), name) {
			return html.UnescapeString(string(b[1 : 1+end]))
		}
		b = b[end+2:]
	}
}

// flatXML inspects an XML document that stands alone: Word 2003 XML, a package
// in one file (pkg:package), flat ODF, or anything that a browser shows.
func (in *inspector) flatXML(where string, b []byte) {
	in.officeXML(where, b)
	s := xmlScan{b: b}
	for n := 0; ; n++ {
		t, ok := s.next()
		if !ok || n%4096 == 4095 && in.stop(where) {
			return
		}
		if t.end || t.name == "" {
			continue
		}
		switch t.name {
		case "binData", "binaryData", "binary-data", "docOleData":
			text, _ := s.next()
			in.binData(join(where, t.name), text.text)
		case "script":
			if t.attr("language") == "" || t.attr("src") != "" || t.attr("href") != "" {
				in.add(HTMLScript, where, "script in XML")
			}
		case "wordDocument":
			if t.attr("macrosPresent") == "yes" {
				in.add(Macro, where, "macrosPresent")
			}
		case "module", "library-embedded":
			if bytes.Contains(b[:min(len(b), 65536)], []byte("opendocument")) {
				in.add(Macro, where, "Basic")
			}
		}
	}
}

// binData inspects base64 inside XML: macros and objects.
func (in *inspector) binData(where string, text []byte) {
	text = text[:base64Run(text)]
	if !in.open(where) || !in.take(where, int64(len(text))) {
		return
	}
	data := decodeBase64(text)
	switch {
	case bytes.HasPrefix(data, []byte("ActiveMime")):
		in.activeMime(where, data)
	case bytes.HasPrefix(data, []byte(oleSignature)):
		in.inner(where, data)
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		in.embed(where, nil, data)
	}
}

// base64Run is the length of the base64 at the beginning, line ends and spaces
// included.
func base64Run(b []byte) int {
	for i, c := range b {
		if !wordByte(c) && c != '+' && c != '/' && c != '=' && c > ' ' || c == '_' {
			return i
		}
	}
	return len(b)
}

// decodeBase64 passes over whatever is no base64 and needs no end.
func decodeBase64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	for _, c := range b {
		if wordByte(c) && c != '_' || c == '+' || c == '/' {
			clean = append(clean, c)
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}
