package rules

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"

	"garita/filetype"
	"garita/message"
	"garita/message/field"
	"garita/rules/markup"
)

const (
	// maxFileText is how much of a text is read that is attached as a file, and
	// that no reader shows beside the letter.
	maxFileText = 4 << 20
	// All readings of all texts of a message together: a part of 25 MB may have
	// 16 charsets (attack R-10).
	readOctets = 64 << 20
	readTimes  = 3
)

// readContent tries the conditions about what the message says: its text, its
// pages, the lines of its body.
func (r *run) readContent() {
	text := r.s.text != nil && r.waits(r.s.text)
	pages := r.s.pages && r.waitsPages()
	if text || pages {
		for _, p := range r.parts() {
			if r.ctx.Err() != nil {
				return
			}
			r.partContent(p, text, pages)
		}
	}
	if r.s.bodyLine != nil && r.waits(r.s.bodyLine) {
		r.body(r.s.bodyLine)
	}
}

// waits tells that some rule waits for a condition of a view.
func (r *run) waits(v *view) bool {
	for _, i := range v.atoms {
		if r.wanted[i] {
			return true
		}
	}
	return false
}

func (r *run) waitsPages() bool {
	if r.s.tags != nil && r.waits(r.s.tags) {
		return true
	}
	for _, list := range r.s.attributes {
		for _, v := range list {
			if r.waits(v) {
				return true
			}
		}
	}
	return false
}

// partContent reads one part in every reading of its octets and charsets.
func (r *run) partContent(p *message.Part, text, pages bool) {
	if p.Children && !textual(p) {
		// Readers that see what is inside do not show its body. Text with a
		// uuencoded file in it, or with lines of a boundary, they do show.
		return
	}
	// Mail programs show text/plain, and what has no type, as it is (RFC 2045
	// section 5.2): tags in it are words. A file is opened by what it is. Its
	// text is read both ways all the same.
	declared, page, words := len(p.Types) == 0, false, !attachment(p)
	for _, t := range p.Types {
		words = words && t == "text/plain"
		declared = declared || strings.HasPrefix(t, "text/") || t == "application/xhtml+xml"
		page = page || t == "text/html" || t == "application/xhtml+xml"
	}
	var last []byte
	for i, b := range p.Bodies() {
		if i >= maxBodies || r.ctx.Err() != nil {
			r.doubtContent()
			return
		}
		if i > 0 && bytes.Equal(b.Data, last) {
			continue
		}
		last = b.Data
		shown, isPage := declared, page
		if declared && bytes.IndexByte(b.Data, '<') < 0 {
			// There is no page in it, whatever it is.
		} else if t := filetype.Detect(b.Data); t.Class == filetype.Markup {
			shown, isPage = true, isPage || t.Name == "html" || t.Name == "svg" || t.Name == "xhtml"
		} else if t.Class == filetype.Text {
			shown = true
		}
		if !shown || !isPage && !text {
			continue
		}
		r.words = words && !page
		data := b.Data
		if (p.Attachment || !declared) && len(data) > maxFileText && attachment(p) {
			data = data[:maxFileText]
		}
		// A page in a part of another type is text with tags to some readers.
		r.charsets(p, data, text, text && (!isPage || !page && declared), isPage && (pages || text))
	}
}

// doubtContent makes what is asked of text and pages unknown: not all was
// looked at.
func (r *run) doubtContent() {
	for _, v := range r.s.content {
		if v.subject != BodyLine {
			r.doubt(v)
		}
	}
}

// charsets reads octets in each of the charsets that are declared, and that
// readers take them for.
func (r *run) charsets(p *message.Part, data []byte, text, plain, page bool) {
	names := p.Charsets
	if len(names) == 0 {
		names = []string{""}
	}
	seven := ascii(data)
	isUTF8 := !seven && valid(data)
	names = guessed(names, data, seven, isUTF8, page)
	if len(names) > maxBodies {
		r.doubtContent()
		names = names[:maxBodies]
	}
	several := len(names) > 1
	var read [maxBodies]uint64
	for i, name := range names {
		if r.octets -= len(data); r.octets < 0 || r.ctx.Err() != nil {
			r.doubtContent()
			return
		}
		r.decoded = r.decoded[:0]
		out := r.decode(name, data, seven, isUTF8)
		if several {
			read[i] = maphash.Bytes(r.s.seed, out)
			if slices.Contains(read[:i], read[i]) {
				continue
			}
		}
		r.reading(p, out, text, plain, page)
		if page && bytes.IndexByte(out, 0) >= 0 {
			// Some readers pass over NULs in tags.
			r.reading(p, bytes.ReplaceAll(out, []byte{0}, nil), text, false, true)
		}
		if plain && i == 0 && deletesBlanks(p) {
			r.reading(p, joined(out), text, true, false)
		}
	}
}

// reading tries the conditions on one text.
func (r *run) reading(p *message.Part, out []byte, text, plain, page bool) {
	pl := &spot{part: p, file: -1}
	r.locate(pl, p, out)
	if plain {
		r.text(r.s.text, out, pl)
	}
	if page {
		r.htmlPage(out, pl, text)
	}
}

// decode is text in UTF-8. Text that needs no decoding is not copied; of
// charsets of single octets it goes to a buffer that is kept. Octets of a
// charset that nobody knows are read as if none was declared: as UTF-8, else as
// Windows-1252.
func (r *run) decode(charset string, data []byte, seven, isUTF8 bool) []byte {
	if seven && !shifts(charset) {
		return data
	}
	label := field.Label(charset)
	if label != "utf-8" && !field.Known(label) {
		label = ""
	}
	switch {
	case label == "utf-8", label == "", label == "us-ascii":
		if seven || isUTF8 {
			return data
		}
		if label != "utf-8" {
			label = "windows-1252"
		}
	}
	if !shifts(label) && label != "utf-8" {
		t := r.s.octetTable(label)
		from := len(r.decoded)
		r.decoded = t.append(r.decoded, data)
		// A new text where another one was.
		r.table.data = nil
		return r.decoded[from:]
	}
	text, _, _ := field.Decode(label, data)
	return []byte(text)
}

// valid tells UTF-8, eight octets of ASCII at a time also behind the first
// letter that is not (utf8.Valid then goes octet by octet).
func valid(data []byte) bool {
	for i := 0; i < len(data); {
		for i+8 <= len(data) && binary.LittleEndian.Uint64(data[i:])&0x8080808080808080 == 0 {
			i += 8
		}
		for i < len(data) && data[i] < utf8.RuneSelf {
			i++
		}
		for i < len(data) && data[i] >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				return false
			}
			i += n
		}
	}
	return true
}

// octetTable is what each octet beyond ASCII stands for.
type octetTable [128]struct {
	n  uint8
	to [4]byte
}

// octetTable makes the table of a charset of single octets once.
func (s *Set) octetTable(label string) *octetTable {
	if t, ok := s.tables.Load(label); ok {
		return t.(*octetTable)
	}
	t := new(octetTable)
	for i := range t {
		text, _, _ := field.Decode(label, []byte{byte(0x80 + i)})
		t[i].n = uint8(copy(t[i].to[:], text))
	}
	s.tables.Store(label, t)
	return t
}

func (t *octetTable) append(dst, data []byte) []byte {
	dst = slices.Grow(dst, len(data)+len(data)/8)
	for len(data) > 0 {
		n := 0
		for n+8 <= len(data) && binary.LittleEndian.Uint64(data[n:])&0x8080808080808080 == 0 {
			n += 8
		}
		for n < len(data) && data[n] < 0x80 {
			n++
		}
		dst = append(dst, data[:n]...)
		for data = data[n:]; len(data) > 0 && data[0] >= 0x80; data = data[1:] {
			e := &t[data[0]-0x80]
			dst = append(dst, e.to[:e.n]...)
		}
	}
	return dst
}

// shifts tells charsets in which octets below 0x80 are not all ASCII.
func shifts(charset string) bool {
	switch l := field.Label(charset); {
	case l == "" || l == "us-ascii" || l == "utf-8":
		return false
	case strings.HasPrefix(l, "iso-8859-"), strings.HasPrefix(l, "windows-"), strings.HasPrefix(l, "koi8"):
		return false
	}
	return true
}

// locate says where offsets of a text lead: into the message, or only into the
// decoded text.
func (r *run) locate(pl *spot, p *message.Part, text []byte) {
	raw := p.Raw()
	if len(text) > 0 && len(raw) > 0 && &text[0] == &raw[0] {
		pl.src, pl.at, pl.same = p.Source, p.Body, true
		return
	}
	pl.data, pl.same = text, true
}

// pageRun maps a run of shown text to its place in the page.
type pageRun struct{ text, page int }

// htmlPage takes a page to pieces once, for its tags and for its text.
func (r *run) htmlPage(page []byte, pl *spot, text bool) {
	var v markup.Visitor
	if r.s.pages && !r.words {
		v.Tag = func(name []byte, attributes []markup.Attribute, at int) { r.tag(name, attributes, at, page, pl) }
	}
	if text {
		r.page, r.runsAt = r.page[:0], r.runsAt[:0]
		v.Text = func(run []byte, at int, broke bool) {
			if broke {
				r.page = append(r.page, '\n')
			}
			r.runsAt = append(r.runsAt, pageRun{len(r.page), at})
			r.page = append(r.page, run...)
		}
	}
	markup.Read(page, v)
	if text {
		r.text(r.s.text, r.page, &spot{part: pl.part, src: pl.src, data: pl.data, at: pl.at, file: -1})
	}
}

// tag tries the conditions about one tag.
func (r *run) tag(name []byte, attributes []markup.Attribute, at int, page []byte, pl *spot) {
	p := spot{part: pl.part, src: pl.src, data: pl.data, at: pl.at + at, file: -1, there: true}
	if v := r.s.tags; v != nil {
		r.feed(v, name, &p)
	}
	if len(r.s.attributes) == 0 {
		return
	}
	for i := range attributes {
		a := &attributes[i]
		for _, v := range r.s.attributes[string(a.Name)] {
			if v.of == "" || v.of == string(name) {
				r.feed(v, a.Value, &p)
			}
		}
	}
}
