package message

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"garita/message/field"
)

// ReadIndex makes the index of a whole message. It never changes raw and keeps
// it: leave it alone while the index lives.
//
// One pass from the outside in: a part's header is read as the most generous
// reader would, then every reading of its type is followed, and parts that two
// readings share are taken apart once. docs/mime.md tells the readings.
func ReadIndex(raw []byte, l IndexLimits) *Index {
	r := &reader{x: &Index{}, l: l}
	// Ordinary mail stays far below: each octet is looked at a few times.
	r.work = 16*int64(len(raw)) + 16<<20
	r.fields = 20 * l.Fields
	r.entity(nil, &Source{Data: raw}, 0, len(raw), Whole, nil)
	return r.x
}

// maxTypes bounds the lists of declared types, encodings and charsets of a part.
const maxTypes = 16

// reader makes one index.
type reader struct {
	x       *Index
	l       IndexLimits
	seen    map[region]bool
	views   int   // readings beyond the first
	work    int64 // what may still be done
	fields  int   // header fields that may still be kept
	decoded int64 // octets of decoded bodies
}

// region is a place that is taken apart once.
type region struct {
	src        *Source
	start, end int
}

// node is what the reader knows of a part besides what it tells.
type node struct {
	p          *Part
	parent     *node
	head       head
	strong     []string // boundaries as the parameters say
	typeFields []string // the raw Content-Type fields
	declared   bool     // there is a Content-Type field
	blank      bool     // a boundary was declared that is empty
	oddType    bool     // the parser found it odd
	active     []string // boundaries that have lines here
	count      int      // parts found inside
	encoded    bool
	digest     bool // parts without a type are messages (RFC 2046 5.1.5)
	quiet      bool // faults of its encoding are not told
	kind       kinds
}

// kinds are what a part is in its readings.
type kinds struct {
	multi, message, leaf bool
	misspelt, malformed  bool
}

// spend takes from the work that may be done.
func (r *reader) spend(p *Part, n int) bool {
	if r.work -= int64(n); r.work >= 0 {
		return true
	}
	r.work = 0
	r.defect(p, "too-much-work", p.Start, "")
	return false
}

// view starts another reading.
func (r *reader) view(p *Part) bool {
	if r.views >= r.l.Views {
		r.defect(p, "too-many-views", p.Start, "")
		return false
	}
	r.views++
	return true
}

// full says that there is no room for another part.
func (r *reader) full() bool { return len(r.x.Parts) >= r.l.Parts }

// add makes a part and puts it into the index.
func (r *reader) add(parent *node, src *Source, start, end int, o Origin) *node {
	p := &Part{Source: src, Start: start, Body: start, End: end, Origin: o}
	n := &node{p: p, parent: parent}
	if parent != nil {
		parent.count++
		p.Parent, p.Depth = parent.p, parent.p.Depth+1
		number := strconv.Itoa(parent.count)
		if parent.p.Number != "" {
			number = parent.p.Number + "." + number
		}
		p.Number = number
		parent.p.Children = true
	}
	r.x.Parts = append(r.x.Parts, p)
	return n
}

// known says that a place was taken apart already; else it is from now on.
func (r *reader) known(src *Source, start, end int) bool {
	k := region{src, start, end}
	if r.seen[k] {
		return true
	}
	if r.seen == nil {
		r.seen = map[region]bool{}
	}
	r.seen[k] = true
	return false
}

// entity takes a header and a body apart, nil if that was done before or there
// are too many parts. like is the part that tells how to read it, for content
// without a header of its own.
func (r *reader) entity(parent *node, src *Source, start, end int, o Origin, like *node) *node {
	if r.known(src, start, end) {
		return nil
	}
	if parent != nil && r.full() {
		r.defect(parent.p, "too-many-parts", start, "")
		return nil
	}
	n := r.add(parent, src, start, end, o)
	if like != nil {
		n.p.Types, n.p.Names = like.p.Types, like.p.Names
		n.strong, n.typeFields, n.declared, n.blank, n.kind = like.strong, like.typeFields, like.declared, like.blank, like.kind
		r.content(n)
		return n
	}
	top := o == Whole || o == Enclosed
	n.head = readHeader(src.Data, start, end, r.l.Fields, r.fields, top, parent != nil && parent.digest && o == Child)
	n.p.Body, n.p.Fields = n.head.body, n.head.fields
	r.fields -= len(n.p.Fields)
	if !r.spend(n.p, len(n.head.fields)*16+(n.head.body-start)) {
		n.p.bodies = []Body{{How: "7bit", Data: n.p.Raw()}}
		return n
	}
	r.readFields(n)
	r.headDefects(n, top)
	r.content(n)
	return n
}

// headDefects says what is wrong with the header of a part.
func (r *reader) headDefects(n *node, top bool) {
	h, p := &n.head, n.p
	if h.over != "" {
		r.defect(p, h.over, p.Start, "")
	}
	if h.dirty {
		r.defect(p, "eight-bit-header", p.Start, "")
	}
	if h.mbox {
		r.defect(p, "mbox-line", p.Start, "")
	}
	behind := false
	for _, m := range h.mime {
		if m.bad != "" {
			r.defect(p, m.bad, m.at, m.raw)
		}
		behind = behind || h.junk >= 0 && m.at > h.junk
	}
	if h.junk >= 0 {
		if behind || n.encoded || n.kind.message {
			r.defect(p, "header-cut", h.junk, "")
		} else {
			r.defect(p, "junk-in-header", h.junk, "")
		}
	}
	if h.late || h.soft >= 0 && len(h.mime) > h.first {
		r.defect(p, "header-end-unclear", max(h.soft, p.Start), "")
	}
	if !top && !h.ended && h.junk < 0 && p.Start < p.End {
		r.defect(p, "part-without-header-end", p.Start, "")
	}
	if !top || len(p.Types) == 0 && len(p.Encodings) == 0 {
		return
	}
	for _, m := range h.mime {
		if m.name == "mime-version" {
			return
		}
	}
	r.defect(p, "no-mime-version", p.Start, "")
}

// readFields reads the MIME fields.
func (r *reader) readFields(n *node) {
	p := n.p
	count := map[string]string{}
	for i := range n.head.mime {
		m := &n.head.mime[i]
		switch m.name {
		case "content-type", "content-disposition", "content-transfer-encoding":
			value := strings.ToLower(strings.Join(strings.Fields(m.raw), " "))
			if first, again := count[m.name]; !again {
				count[m.name] = value
			} else if first == value {
				r.defect(p, "repeated-field", m.at, m.name)
			} else {
				r.defect(p, "conflicting-"+m.name, m.at, m.raw)
			}
		}
		switch m.name {
		case "content-type":
			r.contentType(n, m)
		case "content-disposition":
			v := r.parse(n, m)
			for _, t := range v.Tokens {
				p.Attachment = p.Attachment || t != "" && t != "inline"
			}
			r.paramNames(n, v)
		case "content-transfer-encoding":
			r.encoding(n, m)
		case "content-location", "content-description":
			for _, w := range field.Words(unfoldText(m.raw)) {
				r.name(p, w, m.name)
			}
		case "content-id":
			r.name(p, strings.Trim(unfoldText(m.raw), "<> "), m.name)
		}
	}
	for i := range p.Encodings {
		n.encoded = n.encoded || !identity(p.Encodings[i])
	}
	n.kind = r.kindsOf(n)
}

// parse reads a structured field and tells what is odd about it.
func (r *reader) parse(n *node, m *mimeField) field.Value {
	v := field.Parse(m.raw)
	for _, o := range v.Oddities {
		g := foreignGrade(o.ID, o.Ambiguous)
		n.oddType = n.oddType || g > Odd
		r.defectAs(n.p, o.ID, g, m.at, m.raw)
	}
	return v
}

func (r *reader) contentType(n *node, m *mimeField) {
	p := n.p
	v := r.parse(n, m)
	n.declared = true
	if len(n.typeFields) < maxTypes {
		n.typeFields = append(n.typeFields, m.raw)
	}
	for _, t := range v.Tokens {
		p.Types = addOnce(p.Types, t)
	}
	for _, b := range v.All("charset") {
		p.Charsets = addOnce(p.Charsets, strings.ToLower(b.Value))
	}
	bs := v.All("boundary")
	for _, b := range bs {
		if b.Value == "" {
			n.blank = true
			continue
		}
		if len(n.strong) >= maxCandidates {
			r.defect(p, "too-many-boundaries", m.at, "")
			break
		}
		n.strong = addUnbounded(n.strong, b.Value)
	}
	r.paramNames(n, v)
}

// encoding reads a transfer encoding: some readers take the first word, others
// the whole (attacks E-03).
func (r *reader) encoding(n *node, m *mimeField) {
	e := strings.ToLower(strings.TrimSpace(unfoldText(m.raw)))
	n.p.Encodings = addOnce(n.p.Encodings, e)
	// Several words in one field: whichever is known to a reader counts.
	words := strings.FieldsFunc(e, func(c rune) bool { return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') })
	if len(words) < 2 {
		return
	}
	for _, w := range words {
		switch w {
		case "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue":
			n.p.Encodings = addOnce(n.p.Encodings, w)
			if !strings.HasPrefix(e, w) {
				r.defect(n.p, "conflicting-content-transfer-encoding", m.at, e)
			}
		}
	}
}

// identity says that an encoding changes nothing.
func identity(e string) bool {
	switch e {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// paramNames takes the names out of parameters. A parameter that is only like
// the known ones counts too: there is always a reader for it (attacks E-52).
func (r *reader) paramNames(n *node, v field.Value) {
	for i := range v.Params {
		q := &v.Params[i]
		if !strings.Contains(q.Name, "name") && !strings.Contains(q.Name, "file") {
			continue
		}
		from := q.Name
		if q.How != "" && q.How != "quoted" && q.How != "token" {
			from += ", " + q.How
		}
		r.name(n.p, q.Value, from)
	}
}

// name adds a candidate name, and what readers make of it that end it at a
// control character or drop those.
func (r *reader) name(p *Part, text, from string) {
	if i := strings.IndexAny(text, "\x00\r\n\v\f"); i >= 0 {
		defer r.name(p, text[:i], from)
		defer r.name(p, strings.NewReplacer("\x00", "", "\r", "", "\n", "", "\v", "", "\f", "").Replace(text), from)
	}
	if text == "" {
		return
	}
	weak := Name{From: from}.Weak()
	for i := range p.Names {
		if p.Names[i].Text == text {
			if !weak && p.Names[i].Weak() {
				p.Names[i].From = from
			}
			return
		}
	}
	if len(p.Names) >= r.l.Names {
		r.defect(p, "too-many-names", p.Start, "")
		return
	}
	p.Names = append(p.Names, Name{Text: strings.ToValidUTF8(text, "\uFFFD"), From: from})
}

func addOnce(list []string, s string) []string {
	if len(list) >= maxTypes {
		return list
	}
	return addUnbounded(list, s)
}

func addUnbounded(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// kindsOf says what a part is by its declared types.
func (r *reader) kindsOf(n *node) (k kinds) {
	if len(n.p.Types) == 0 {
		if n.parent != nil && n.parent.digest {
			k.message = true
			return k
		}
		k.leaf, k.malformed = true, n.declared
		return k
	}
	for _, t := range n.p.Types {
		top, sub, slash := strings.Cut(t, "/")
		switch {
		case top == "multipart" && sub != "":
			k.multi = true
			n.digest = n.digest || sub == "digest"
		case strings.Contains(lettersOf(t), "ultipart") || strings.HasPrefix(top, "multi"):
			k.misspelt, k.leaf = true, true
		case top == "message":
			switch sub {
			case "partial":
				r.defect(n.p, "message-partial", n.p.Start, "")
				k.leaf = true
			case "external-body":
				r.defect(n.p, "external-body", n.p.Start, "")
				k.leaf = true
			case "rfc822", "global", "news", "rfc-822", "x-rfc822":
				k.message = true
			default:
				k.leaf = true
			}
		default:
			k.leaf = true
			k.malformed = k.malformed || !slash || top == "" || sub == ""
		}
	}
	return k
}

func lettersOf(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c == '/' {
			return c
		}
		return -1
	}, s)
}

// content follows every reading of a part's content.
func (r *reader) content(n *node) {
	p := n.p
	deep := p.Depth >= r.l.Depth
	if !n.declared && n.kind.leaf && r.unnamedMultipart(n) {
		n.kind.malformed = true
	}
	if n.kind.multi || n.kind.misspelt || n.kind.malformed || len(n.strong) > 0 || n.blank {
		if !deep {
			r.multipart(n)
		} else if n.kind.multi {
			r.defect(p, "too-deep", p.Start, "")
		}
	}
	if n.kind.message {
		if !deep {
			r.message(n)
		} else {
			r.defect(p, "too-deep", p.Start, "")
		}
	}
	if p.bodies == nil {
		composite := (n.kind.multi || n.kind.message) && p.Children && !n.kind.leaf
		r.leaf(n, !composite, !deep)
	}
}

// unnamedMultipart says that a part without any Content-Type has the lines of a
// multipart: at the very beginning of its body, or anywhere if it says that it
// is MIME (attacks E-20). Text that quotes a message does not begin so.
func (r *reader) unnamedMultipart(n *node) bool {
	p := n.p
	for _, m := range n.head.mime {
		if m.name == "mime-version" {
			return len(p.Source.dashesIn(p.Body, p.End)) > 0
		}
	}
	body := bytes.TrimLeft(p.Raw(), "\r\n")
	return len(body) > 2 && body[0] == '-' && body[1] == '-'
}

// room is how many octets may still be decoded.
func (r *reader) room() int {
	return int(min(max(r.l.Decoded-r.decoded, 0), math.MaxInt32))
}
