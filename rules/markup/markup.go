// Package markup takes HTML to pieces as browsers and mail programs do, tolerant
// and fast: tags with their attributes, and the text that is shown.
//
// It is the tokeniser of the HTML standard (section 13.2.5) with as much of the
// tree builder as decides what is a tag: the elements whose content is raw text,
// and that there are none inside of svg and math. Scripts do not run, so noscript
// is shown. Conditional comments are comments to all but Outlook: what is inside
// is read after the rest of the page, so that it neither hides nor splits what
// the others show.
//
// It judges nothing, follows no link, and knows no style: text that CSS hides is
// text. It never fails; what is broken is read as the standard's tokeniser reads
// it. A tag that the page ends in is none.
//
// # Limits
//
// Linear in the page, conditional comments being read twice; MaxAttributes of a
// tag, MaxValue of an attribute's value: what is beyond is passed over.
package markup

import (
	"bytes"
	"hash/maphash"
	"sync"
)

const (
	// MaxAttributes bounds the attributes of a tag.
	MaxAttributes = 200
	// MaxValue bounds the value of an attribute, as it stands in the page.
	MaxValue = 8 << 10
)

// Attribute of a tag. Name is lower-case; Value has its character references
// decoded. Of two with one name the first counts. Hostile text.
type Attribute struct{ Name, Value []byte }

// Visitor is told what is in a page. What it is given is valid during the call.
// Either function may be nil.
type Visitor struct {
	// Tag is called for each start tag, with its lower-case name.
	Tag func(name []byte, attributes []Attribute, at int)
	// Text is called for runs of shown text, character references decoded;
	// at is the offset of the run in the page. Between two calls there was a
	// tag or a comment; broke says that a tag breaks the line (p, br, div,
	// td …).
	Text func(text []byte, at int, broke bool)
}

// Read takes page (UTF-8) to pieces.
func Read(page []byte, v Visitor) {
	r := readers.Get().(*reader)
	defer func() {
		r.page, r.v, r.at = nil, Visitor{}, 0
		r.broke, r.foreign, r.outlook = false, false, false
		r.attributes, r.ranges, r.buf, r.text = r.attributes[:0], r.ranges[:0], r.buf[:0], r.text[:0]
		if cap(r.buf)+cap(r.text) <= maxKept {
			readers.Put(r)
		}
	}()
	r.page, r.v = page, v
	r.read(len(page))
	r.outlook = true
	for _, part := range r.ranges {
		r.at, r.foreign, r.broke = part.from, false, true
		r.read(part.to)
	}
}

// maxKept is the most that a reader in the pool holds on to.
const maxKept = 1 << 20

// readers saves the buffers of a page for the next one.
var readers = sync.Pool{New: func() any { return new(reader) }}

// reader is the state of one page.
type reader struct {
	page []byte // up to the end of what is read
	at   int
	v    Visitor
	// broke is for the next run of text.
	broke bool
	// foreign says that svg or math is open: there are no raw texts in it.
	foreign bool
	// outlook says that a conditional comment is read.
	outlook    bool
	ranges     []span // of conditional comments
	attributes []Attribute
	names      [512]uint8 // numbers of attributes by their names, from few on
	tabled     bool       // names is of this tag
	buf        []byte     // decoded names and values of one tag
	text       []byte     // a decoded run of text
}

// span is a range of the page.
type span struct{ from, to int }

// read goes on to the octet end.
func (r *reader) read(end int) {
	whole := r.page
	r.page = whole[:end]
	run := r.at // where the run of text began
	for r.at < end {
		n := bytes.IndexByte(r.page[r.at:], '<')
		if n < 0 || r.at+n+1 >= end {
			break
		}
		r.at += n
		from := r.at
		c := r.page[from+1]
		switch {
		case letter(c):
			r.shown(run, from, true)
			r.startTag()
		case c == '/':
			if from+2 >= end {
				r.at = end
				continue
			}
			r.shown(run, from, true)
			r.endTag()
		case c == '!':
			r.shown(run, from, true)
			r.declaration()
		case c == '?':
			r.shown(run, from, true)
			r.bogus(from + 1)
		default:
			r.at++
			continue
		}
		run = r.at
	}
	r.at = end
	r.shown(run, end, true)
	r.page = whole
}

// shown tells a run of text. decode says that there are character references.
func (r *reader) shown(from, to int, decode bool) {
	if from >= to || r.v.Text == nil {
		return
	}
	text := r.page[from:to]
	if decode && bytes.IndexByte(text, '&') >= 0 {
		r.text = decodeText(r.text[:0], text)
		text = r.text
	}
	broke := r.broke
	r.broke = false
	r.v.Text(text, from, broke)
}

// endTag reads from "</" on.
func (r *reader) endTag() {
	at := r.at + 2
	switch c := r.page[at]; {
	case letter(c):
		name, at, ok := r.tagName(at)
		if r.at, ok = r.inside(at, ok, false); !ok {
			return
		}
		e := element(name)
		if e&breaks != 0 {
			r.broke = true
		}
		if e&foreign != 0 {
			r.foreign = false
		}
	case c == '>':
		r.at = at + 1
	default:
		r.bogus(at)
	}
}

// startTag reads from "<" and a letter on.
func (r *reader) startTag() {
	from := r.at
	r.attributes, r.buf, r.tabled = r.attributes[:0], r.buf[:0], false
	name, at, ok := r.tagName(from + 1)
	if r.at, ok = r.inside(at, ok, r.v.Tag != nil); !ok {
		return // 13.2.5.8: end of file in a tag; there is none
	}
	e := element(name)
	if e&breaks != 0 {
		r.broke = true
	}
	if r.v.Tag != nil {
		r.v.Tag(name, r.attributes, from)
	}
	switch {
	case e&foreign != 0:
		r.foreign = r.page[r.at-2] != '/'
	case r.foreign:
		// 13.2.6.5: these end the foreign content, whatever is open.
		r.foreign = e&breakout == 0
	}
	if !r.foreign && e&raw != 0 {
		r.rawText(name, e)
	}
}

// tagName reads a name at an octet; ok is whether the page goes on behind it.
func (r *reader) tagName(at int) (name []byte, next int, ok bool) {
	page, from, plain := r.page, at, true
	for ; at < len(page); at++ {
		k := classes[page[at]]
		if k&(blank|slash|close) != 0 {
			break
		}
		if k&special != 0 {
			plain = false
		}
	}
	name = page[from:at]
	if !plain {
		name = r.lower(name)
	}
	return name, at, at < len(page)
}

// lower is a copy of a name in lower case; NUL is U+FFFD.
func (r *reader) lower(name []byte) []byte {
	from := len(r.buf)
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			r.buf = append(r.buf, c+'a'-'A')
		case c == 0:
			r.buf = append(r.buf, "\uFFFD"...)
		default:
			r.buf = append(r.buf, c)
		}
	}
	return r.buf[from:len(r.buf):len(r.buf)]
}

// inside reads the attributes behind a tag's name, and keeps them if keep. It
// returns where the tag ends, behind ">"; ok is false at the end of the page.
func (r *reader) inside(at int, ok, keep bool) (int, bool) {
	page := r.page
	if !ok {
		return len(page), false
	}
	for at < len(page) {
		c := page[at]
		if c == '>' {
			return at + 1, true
		}
		if classes[c]&(blank|slash) != 0 {
			at++
			continue
		}
		// 13.2.5.33: "=" at the start is part of the name.
		from, plain := at, classes[c]&special == 0
		for at++; at < len(page); at++ {
			k := classes[page[at]]
			if k&(blank|slash|close|equals) != 0 {
				break
			}
			if k&special != 0 {
				plain = false
			}
		}
		name := page[from:at]
		for at < len(page) && classes[page[at]]&blank != 0 {
			at++
		}
		var value []byte
		if at < len(page) && page[at] == '=' {
			value, at = r.value(at + 1)
		}
		if at < len(page) && keep && len(r.attributes) < MaxAttributes {
			if !plain {
				name = r.lower(name)
			}
			r.keep(name, value)
		}
	}
	return len(page), false
}

// value reads an attribute's value behind "=", as it stands.
func (r *reader) value(at int) ([]byte, int) {
	page := r.page
	for at < len(page) && classes[page[at]]&blank != 0 {
		at++
	}
	if at >= len(page) {
		return nil, at
	}
	switch c := page[at]; c {
	case '"', '\'':
		n := bytes.IndexByte(page[at+1:], c)
		if n < 0 {
			return nil, len(page)
		}
		return page[at+1 : at+1+n], at + n + 2
	case '>':
		return nil, at
	}
	from := at
	for at < len(page) && classes[page[at]]&(blank|close) == 0 {
		at++
	}
	return page[from:at], at
}

// keep adds an attribute, if there is none of its name.
func (r *reader) keep(name, value []byte) {
	if !r.first(name) {
		return
	}
	value = value[:min(len(value), MaxValue)]
	if bytes.IndexByte(value, '&') >= 0 || bytes.IndexByte(value, 0) >= 0 {
		from := len(r.buf)
		r.buf = decodeValue(r.buf, value)
		value = r.buf[from:len(r.buf):len(r.buf)]
	}
	r.attributes = append(r.attributes, Attribute{Name: name, Value: value})
}

// few attributes are compared one by one, more by a table.
const few = 12

// seed makes it impossible to choose names that meet in the table.
var seed = maphash.MakeSeed()

// first tells whether the tag has no attribute of that name yet, which will be
// the next.
func (r *reader) first(name []byte) bool {
	n := len(r.attributes)
	if n < few {
		for i := range r.attributes {
			if bytes.Equal(r.attributes[i].Name, name) {
				return false
			}
		}
		return true
	}
	if !r.tabled {
		r.tabled = true
		// From here on; MaxAttributes leave it half empty.
		clear(r.names[:])
		for i := range r.attributes {
			r.enter(r.attributes[i].Name, uint8(i+1))
		}
	}
	return r.enter(name, uint8(n+1))
}

// enter puts a name in the table, as the attribute of that number from 1, if it
// is not there.
func (r *reader) enter(name []byte, number uint8) bool {
	at := maphash.Bytes(seed, name) % uint64(len(r.names))
	for ; r.names[at] != 0; at = (at + 1) % uint64(len(r.names)) {
		if i := r.names[at]; int(i) <= len(r.attributes) && bytes.Equal(r.attributes[i-1].Name, name) {
			return false
		}
	}
	r.names[at] = number
	return true
}
