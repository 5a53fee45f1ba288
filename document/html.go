package document

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/html"

	"garita/filetype"
)

// page is what is known of one HTML or SVG document.
type page struct {
	in    *inspector
	where string
	svg   bool // the file is a picture
	first bool // no element yet
	depth int  // HTML inside attributes and raw text

	foreign  int // open svg and math elements
	inScript bool
	prefixed string // the open element, if its name has a prefix of XML
	scripted bool   // the open script element runs
	action   string
	shown    int    // octets of text to be read
	remote   string // a script from elsewhere
	smuggle  smuggling
}

// markup inspects HTML and SVG with the tokeniser of browsers.
func (in *inspector) markup(t filetype.Type, where string, b []byte) {
	p := &page{in: in, where: where, svg: t.Name == "svg", first: true}
	p.read(b)
	if i := bytes.IndexByte(b, 0); i >= 0 {
		// Some clients pass over NUL inside a tag (H-01, H-22).
		p.read(bytes.ReplaceAll(b, []byte{0}, nil))
	}
	// A page with little to read whose short script leads away, or comes from
	// elsewhere, is a door to a page that nobody here has seen.
	if !p.svg && p.shown < 400 && p.smuggle.written < 4096 {
		if why := p.smuggle.leads + p.remote; why != "" {
			in.add(HTMLRefresh, where, why)
		}
	}
	if why := p.smuggle.verdict(); why != "" {
		in.add(HTMLSmuggling, where, why)
	}
}

// read goes through the tokens of b.
func (p *page) read(b []byte) {
	z := html.NewTokenizer(bytes.NewReader(b))
	raw := "" // the element whose raw text comes next
	for n := 0; ; n++ {
		kind := z.Next()
		if kind == html.ErrorToken {
			if z.Err() != io.EOF {
				p.in.add(Damaged, p.where, "HTML")
			}
			return
		}
		if n%4096 == 4095 && p.in.stop(p.where) {
			return
		}
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			raw = p.start(p.local(string(name)), kind == html.SelfClosingTagToken, more, z)
			if bytes.IndexByte(name, ':') >= 0 {
				// To the tokeniser its content is no raw text.
				p.prefixed, raw = raw, ""
				if kind == html.SelfClosingTagToken {
					p.prefixed = ""
				}
			} else {
				p.prefixed = ""
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if n := p.local(string(name)); p.foreign > 0 && (n == "svg" || n == "math") {
				p.foreign--
			}
			raw, p.inScript, p.prefixed = "", false, ""
		case html.TextToken:
			if p.prefixed == "script" {
				p.textToken("script", z.Raw())
			} else {
				p.textToken(raw, z.Raw())
			}
			raw = ""
		case html.CommentToken:
			// Conditional comments are read by Outlook, as what they hold.
			c := z.Raw()
			if bytes.HasPrefix(c, []byte("<!--[if")) {
				if i := bytes.IndexByte(c, '>'); i >= 0 {
					p.inner(c[i+1:])
				}
			}
			switch {
			case p.prefixed == "script", p.inScript:
				p.textToken("script", c) // CDATA of XML
			default:
				p.smuggle.data(c) // a script may read it
			}
		case html.DoctypeToken:
			if d := z.Raw(); p.svg && containsFold(d, "<!entity") && (containsFold(d, "script") || containsFold(d, "onload")) {
				p.script("entity in the document type")
			}
		}
	}
}

// inner reads HTML inside an attribute or a raw text: three deep, so that the
// work stays linear.
func (p *page) inner(b []byte) {
	if p.depth >= 3 || bytes.IndexByte(b, '<') < 0 {
		return
	}
	p.depth++
	saved := p.inScript
	p.read(append([]byte(nil), b...))
	p.inScript = saved
	p.depth--
}

// textToken looks at the text behind a start tag. The tokeniser takes the content
// of noscript, iframe and their like for text, as a browser with scripts does; a
// mail client without scripts shows it, and inside svg nothing is raw.
func (p *page) textToken(raw string, text []byte) {
	switch raw {
	case "script":
		if p.scripted {
			p.smuggle.code(text)
		} else {
			p.smuggle.data(text)
		}
	case "noscript", "iframe", "noembed", "noframes", "xmp", "plaintext":
		p.inner(text)
	case "style", "title", "textarea":
		if p.foreign > 0 || p.svg {
			p.inner(text)
		}
		p.smuggle.beside(text)
	default:
		p.shown += len(bytes.TrimSpace(text))
		p.smuggle.data(text)
	}
}

// script notes a script of this kind of document.
func (p *page) script(text string) {
	if p.svg {
		p.in.add(SVGScript, p.where, text)
	} else {
		p.in.add(HTMLScript, p.where, text)
	}
}

// tagAttrs are the attributes that matter, of one tag.
type tagAttrs struct {
	kind, src, href, equiv, content, action, name string
	download                                      bool
}

// local is the name of an element without the prefix that XML may give it: a
// browser reads XHTML and SVG by their namespaces, whatever their prefix is.
func (p *page) local(name string) string {
	if i := strings.LastIndexByte(name, ':'); i >= 0 && name != "hta:application" {
		return name[i+1:]
	}
	return name
}

// start judges a start tag and gives the element whose raw text follows.
func (p *page) start(name string, closed, more bool, z *html.Tokenizer) string {
	if p.first && name == "svg" {
		p.svg = true
	}
	p.first = p.first && (name == "?xml" || name == "xml")
	a := p.attributes(name, more, z)
	switch name {
	case "script":
		p.scripted = runs(a.kind)
		if p.scripted {
			p.script(a.src + a.href)
			p.smuggle.scripts = true
			if src := strings.TrimSpace(a.src); p.remote == "" && (remoteTarget(src) || strings.HasPrefix(src, "//")) {
				p.remote = src
			}
		}
		p.inScript = !closed
		return "script"
	case "svg", "math":
		if !closed {
			p.foreign++
		}
	case "foreignobject":
		if p.svg {
			p.in.add(SVGForeign, p.where, "")
		}
	case "iframe", "frame", "object", "embed", "applet":
		p.in.add(HTMLFrame, p.where, strings.TrimSpace(name+" "+a.src+a.content))
		p.smuggle.link(a.src, false)
	case "form":
		p.action = a.action
	case "input":
		if strings.EqualFold(strings.TrimSpace(a.kind), "password") {
			p.in.add(HTMLForm, p.where, p.action)
		}
	case "meta":
		if strings.EqualFold(strings.TrimSpace(a.equiv), "refresh") && strings.Contains(strings.ToLower(a.content), "url") {
			p.in.add(HTMLRefresh, p.where, a.content)
			p.smuggle.link(a.content, false)
		}
	case "base":
		if a.href != "" {
			p.in.add(HTMLBase, p.where, a.href)
		}
	case "a", "area":
		p.smuggle.link(a.href, a.download)
	case "hta:application":
		p.in.add(HTMLApp, p.where, "")
	}
	if closed && p.foreign > 0 {
		return ""
	}
	return name
}

// runs tells whether a script of that type is one for the browser; mail has
// blocks of data (application/ld+json) in script elements.
func runs(kind string) bool {
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == "" || kind == "module" {
		return true
	}
	for _, w := range []string{"javascript", "ecmascript", "jscript", "vbscript", "livescript", "vbs"} {
		if strings.Contains(kind, w) {
			return true
		}
	}
	return false
}

// attributes reads the attributes of a tag.
func (p *page) attributes(tag string, more bool, z *html.Tokenizer) tagAttrs {
	var a tagAttrs
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		if len(key) > 2 && key[0] == 'o' && key[1] == 'n' && len(val) > 0 && onlyLetters(key) {
			if p.svg {
				p.in.add(SVGScript, p.where, string(key))
			} else {
				p.in.add(HTMLHandler, p.where, string(key))
			}
			p.smuggle.code(val)
			continue
		}
		if i := bytes.LastIndexByte(key, ':'); i >= 0 && string(key[i+1:]) == "href" {
			key = key[i+1:]
		}
		switch string(key) {
		case "type":
			a.kind = string(val)
		case "src", "data", "code", "archive":
			a.src = address(val)
			p.address(tag, val)
			p.smuggle.kept(val)
		case "href":
			a.href = address(val)
			p.address(tag, val)
		case "action", "formaction", "to", "from", "values", "background", "poster":
			a.action = address(val)
			p.address(tag, val)
		case "http-equiv":
			a.equiv = string(val)
		case "content":
			a.content = address(val)
		case "srcdoc":
			p.inner(val)
		case "language":
			if a.kind == "" {
				a.kind = string(val)
			}
		case "download":
			a.download = true
		default:
			if len(val) >= longRun {
				p.smuggle.beside(val)
			}
		}
	}
	return a
}

func onlyLetters(b []byte) bool {
	for _, c := range b {
		if !letter(c) {
			return false
		}
	}
	return true
}

// address keeps enough of a URL to be judged and shown.
func address(val []byte) string {
	return string(val[:min(len(val), 1<<16)])
}

// address judges a URL: browsers pass over control characters and white space in
// its scheme.
func (p *page) address(tag string, val []byte) {
	var buf [24]byte
	n := 0
	for _, c := range val[:min(len(val), 256)] {
		if c > ' ' && n < len(buf) {
			buf[n] = lower(c)
			n++
		}
	}
	switch s := string(buf[:n]); {
	case strings.HasPrefix(s, "javascript:"), strings.HasPrefix(s, "vbscript:"):
		switch rest := strings.TrimRight(s[strings.IndexByte(s, ':')+1:], ";"); rest {
		case "", "void(0)", "void0", "//", "return", "returnfalse", "false":
		default:
			p.script(s[:strings.IndexByte(s, ':')+1])
			p.smuggle.code(val)
		}
	case strings.HasPrefix(s, "data:text/html"), strings.HasPrefix(s, "data:image/svg"):
		if tag != "img" && tag != "image" {
			p.smuggle.link(string(val), false)
		}
	}
}
