package markup

// kind is what an element is to the tokeniser.
type kind uint16

const (
	raw        kind = 1 << iota // there are no tags in it
	shown                       // its raw text is shown
	references                  // with character references
	script                      // ends by rules of its own
	toEnd                       // never ends
	foreign                     // svg and math
	breakout                    // ends foreign content (13.2.6.5)
	breaks                      // begins a line, or a cell
)

// element is what a tag's name says.
func element(name []byte) kind {
	switch string(name) {
	case "script":
		return raw | script
	case "style", "iframe", "noembed", "noframes":
		return raw
	case "title", "textarea":
		return raw | shown | references | breaks
	case "xmp":
		return raw | shown | breaks
	case "plaintext":
		return raw | shown | toEnd | breaks
	case "svg", "math":
		return foreign
	case "b", "big", "code", "em", "embed", "i", "img", "meta", "nobr", "s", "small", "span", "strike", "strong",
		"sub", "sup", "tt", "u", "var", "font":
		return breakout
	case "p", "br", "div", "table", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
		"blockquote", "body", "center", "head", "listing", "menu", "pre", "ruby":
		return breakout | breaks
	case "tr", "td", "th", "tbody", "thead", "tfoot", "caption", "html", "address", "article", "aside", "details",
		"dialog", "dir", "fieldset", "figcaption", "figure", "footer", "form", "frame", "frameset", "header", "hgroup",
		"legend", "main", "nav", "optgroup", "option", "search", "section", "select", "summary":
		return breaks
	}
	return 0
}

// class is what an octet is inside of a tag.
type class uint8

const (
	blank   class = 1 << iota // tab, LF, FF, CR, space
	slash                     // /
	close                     // >
	equals                    // =
	special                   // A-Z and NUL: a name with it is copied
)

var classes = [256]class{
	'\t': blank, '\n': blank, '\f': blank, '\r': blank, ' ': blank, '/': slash, '>': close, '=': equals, 0: special,
	'A': special, 'B': special, 'C': special, 'D': special, 'E': special, 'F': special, 'G': special, 'H': special,
	'I': special, 'J': special, 'K': special, 'L': special, 'M': special, 'N': special, 'O': special, 'P': special,
	'Q': special, 'R': special, 'S': special, 'T': special, 'U': special, 'V': special, 'W': special, 'X': special,
	'Y': special, 'Z': special,
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
