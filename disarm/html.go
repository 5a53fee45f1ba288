package disarm

import (
	"bytes"
	"mime/quotedprintable"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"garita/message"
)

// maxRounds bounds how often the result is neutralised again until nothing is
// left: what was taken out may bring together what stood around it.
const maxRounds = 4

// maxHandler is longer than the name of any event ("onsecuritypolicyviolation").
const maxHandler = 40

// prepareHTML makes the edit of an HTML part.
func prepareHTML(c Change) (*change, error) {
	p := c.Part
	switch {
	case len(p.Types) != 1 || p.Types[0] != "text/html" && p.Types[0] != "application/xhtml+xml":
		return nil, refused("part %q is not HTML alone", p.Number)
	case p.Children:
		return nil, refused("part %q has parts inside", p.Number)
	case len(p.Encodings) > 1 || len(p.Charsets) > 1:
		return nil, refused("part %q has several encodings or charsets", p.Number)
	}
	old := p.Bodies()[0].Data
	if !readable(p, old) {
		return nil, refused("part %q has a charset that cannot be read as ASCII", p.Number)
	}
	body := old
	for round := 0; ; round++ {
		out := neutral(body)
		if bytes.Equal(out, body) {
			break
		}
		if body = out; round == maxRounds {
			return nil, refused("part %q does not come to rest", p.Number)
		}
	}
	if bytes.Equal(body, old) {
		return nil, nil
	}
	text, err := encode(p, body)
	if err != nil {
		return nil, err
	}
	return &change{Change: c, body: body, edit: message.Edit{At: int64(p.Body), Delete: int64(p.End - p.Body), Insert: text}}, nil
}

// readable tells that every "<" in the octets is one to every reader: the
// charset is known for that, and nothing inside declares another.
func readable(p *message.Part, data []byte) bool {
	if len(p.Charsets) == 1 {
		cs := strings.ToLower(p.Charsets[0])
		known := slices.Contains([]string{"utf-8", "utf8", "us-ascii", "ascii", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "tis-620"}, cs)
		for _, family := range []string{"iso-8859-", "windows-125", "windows-874", "cp125"} {
			known = known || strings.HasPrefix(cs, family)
		}
		if !known {
			return false
		}
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return false
	}
	low := bytes.ToLower(data)
	for _, s := range []string{"utf-7", "utf-16", "utf-32", "iso-2022", "hz-gb"} {
		if bytes.Contains(low, []byte(s)) {
			return false
		}
	}
	return true
}

// encode writes a body in the part's own transfer encoding.
func encode(p *message.Part, body []byte) ([]byte, error) {
	enc := ""
	if len(p.Encodings) == 1 {
		enc = p.Encodings[0]
	}
	switch enc {
	case "", "7bit", "8bit", "binary":
		if bareEnds(body) {
			return nil, refused("part %q has line ends that are not CR LF", p.Number)
		}
		return body, nil
	case "base64":
		return lines64(body), nil
	case "quoted-printable":
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		// A bare CR or LF would come out as a line end.
		w.Binary = bareEnds(body)
		if _, err := w.Write(body); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	}
	return nil, refused("part %q has an encoding that is not known", p.Number)
}

func bareEnds(b []byte) bool {
	pairs := bytes.Count(b, []byte("\r\n"))
	return bytes.Count(b, []byte("\n")) != pairs || bytes.Count(b, []byte("\r")) != pairs
}

// fate is what becomes of an element.
type fate int

const (
	stays   fate = iota
	tagGoes      // the tag goes, what it encloses stays
	allGoes      // with its content
)

func fateOf(name string) fate {
	switch name {
	case "script", "iframe":
		return allGoes
	case "object", "embed", "applet", "form", "base", "frame", "frameset", "portal":
		return tagGoes
	}
	return stays
}

// Active tells HTML in which there is something to neutralise.
func Active(data []byte) bool { return !bytes.Equal(neutral(data), data) }

// neutral gives HTML without active elements and attributes; every token that
// has none is copied as it is.
func neutral(data []byte) []byte {
	z := html.NewTokenizer(bytes.NewReader(data))
	z.SetMaxBuf(0)
	out := make([]byte, 0, len(data))
	inside, raw := "", "" // element whose content goes; raw text element
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			// The end: there is no other error over octets in memory. What is
			// left is an unfinished tag, which no reader shows.
			return out
		}
		text := slices.Clone(z.Raw()) // TagName and TagAttr work in place
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			name, attrs := z.TagName()
			tag := string(name)
			raw = tag
			f := fateOf(tag)
			switch {
			case f == allGoes:
				inside = tag
			case f == tagGoes, tag == "meta" && refresh(z, attrs):
			default:
				out = append(out, withoutAttributes(text)...)
			}
			continue
		case html.EndTagToken:
			name, _ := z.TagName()
			inside, raw = "", ""
			if fateOf(string(name)) == stays {
				out = append(out, text...)
			}
			continue
		case html.TextToken:
			if inside != "" || rawText(raw) && dangerous(text) {
				inside = ""
				continue
			}
		case html.CommentToken, html.DoctypeToken:
			// Some readers look into comments ("[if mso]"), or end them
			// elsewhere.
			if dangerous(text) {
				continue
			}
		}
		raw = ""
		out = append(out, text...)
	}
}

// rawText tells elements whose content is text to the tokenizer and may be
// markup to others (inside SVG, or without scripting).
func rawText(tag string) bool {
	switch tag {
	case "style", "title", "textarea", "noembed", "noframes", "noscript", "xmp", "plaintext", "listing":
		return true
	}
	return false
}

// dangerous tells text that would be active if it were markup.
func dangerous(text []byte) bool {
	low := bytes.ToLower(text)
	for _, s := range []string{"<script", "<iframe", "<object", "<embed", "<applet", "<form", "<base", "<meta", "<frame", "javascript:", "vbscript:"} {
		if bytes.Contains(low, []byte(s)) {
			return true
		}
	}
	if bytes.IndexByte(low, '<') < 0 {
		return false
	}
	for rest := low; ; {
		i := bytes.Index(rest, []byte("on"))
		if i < 0 {
			return false
		}
		end := i + 2
		for end < len(rest) && end < i+maxHandler && rest[end] >= 'a' && rest[end] <= 'z' {
			end++
		}
		if after := bytes.TrimLeft(rest[end:min(len(rest), end+16)], " \t\r\n\f"); end > i+2 && len(after) > 0 && after[0] == '=' && i > 0 && strings.IndexByte(" \t\r\n\f/\"'", rest[i-1]) >= 0 {
			return true
		}
		rest = rest[i+2:]
	}
}

// refresh tells a meta element that leads elsewhere.
func refresh(z *html.Tokenizer, more bool) bool {
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		if string(key) == "http-equiv" && strings.EqualFold(strings.TrimSpace(string(value)), "refresh") {
			return true
		}
	}
	return false
}

// withoutAttributes cuts active attributes out of a start tag, by the states of
// the HTML standard (13.2.5.32 to 39).
func withoutAttributes(tag []byte) []byte {
	var out []byte
	pos, i := 0, 1
	for i < len(tag) && !space(tag[i]) && tag[i] != '/' && tag[i] != '>' {
		i++
	}
	for i < len(tag) {
		for i < len(tag) && (space(tag[i]) || tag[i] == '/' || tag[i] == '>') {
			i++
		}
		start := i
		for i < len(tag) && !space(tag[i]) && tag[i] != '/' && tag[i] != '>' && (tag[i] != '=' || i == start) {
			i++
		}
		name := strings.ToLower(string(tag[start:i]))
		end, value := attributeValue(tag, i)
		i = end
		if name != "" && active(name, value) {
			out = append(append(out, tag[pos:start]...), ' ')
			pos = i
		}
	}
	if pos == 0 {
		return tag
	}
	return append(out, tag[pos:]...)
}

// attributeValue reads what stands behind a name: the end of the attribute and
// its value.
func attributeValue(tag []byte, i int) (end int, value string) {
	j := i
	for j < len(tag) && space(tag[j]) {
		j++
	}
	if j >= len(tag) || tag[j] != '=' {
		return i, ""
	}
	for j++; j < len(tag) && space(tag[j]); j++ {
	}
	if j < len(tag) && (tag[j] == '"' || tag[j] == '\'') {
		quote := bytes.IndexByte(tag[j+1:], tag[j])
		if quote < 0 {
			return len(tag), string(tag[j+1:])
		}
		return j + quote + 2, string(tag[j+1 : j+1+quote])
	}
	start := j
	for j < len(tag) && !space(tag[j]) && tag[j] != '>' {
		j++
	}
	return j, string(tag[start:j])
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' }

// active tells an attribute that runs something or says where a form goes.
func active(name, value string) bool {
	if len(name) > 2 && strings.HasPrefix(name, "on") {
		return true
	}
	switch name {
	case "srcdoc", "formaction", "action", "ping":
		return true
	}
	// Browsers skip control characters and white space in a scheme.
	flat := strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == 0xad || r >= 0x200b && r <= 0x200f {
			return -1
		}
		return r
	}, html.UnescapeString(value))
	flat = strings.ToLower(flat)
	for _, scheme := range []string{"javascript:", "vbscript:", "livescript:", "mocha:", "data:text/html", "data:application/xhtml", "data:image/svg", "data:text/xml"} {
		if strings.HasPrefix(flat, scheme) {
			return true
		}
	}
	// Lists of values (SVG animation), and what a style can run.
	if strings.Contains(flat, "javascript:") || strings.Contains(flat, "vbscript:") {
		return true
	}
	return name == "style" && (strings.Contains(flat, "expression(") || strings.Contains(flat, "behavior:") || strings.Contains(flat, "-moz-binding"))
}
