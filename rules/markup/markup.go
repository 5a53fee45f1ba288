// Package markup takes HTML to pieces as browsers and mail programs do, tolerant
// and fast: tags with their attributes, and the text that is shown.
//
// It judges nothing, follows no link, and knows no style: text that CSS hides is
// text. It never fails; what is broken is read as the HTML standard's tokeniser
// (section 13.2.5) reads it.
//
// # Limits
//
// One pass, linear; 64 attributes of a tag, 8 KiB of an attribute's value.
package markup

// Attribute of a tag. Name is lower-case; Value has its character references
// decoded. Hostile text.
type Attribute struct{ Name, Value []byte }

// Visitor is told what is in a page. What it is given is valid during the call.
type Visitor struct {
	// Tag is called for each start tag, with its lower-case name.
	Tag func(name []byte, attributes []Attribute, at int)
	// Text is called for runs of shown text, character references decoded;
	// at is the offset of the run in the page. Between two calls there was a
	// tag; broke says that the tag breaks the line (p, br, div, td …).
	Text func(text []byte, at int, broke bool)
}

// Read takes page (UTF-8) to pieces.
func Read(page []byte, v Visitor) { panic("to be written") }
