package message

import (
	"bytes"
	"strings"

	"garita/message/field"
	"garita/message/transfer"
)

// maxEmbedded bounds the files taken out of one body; those beyond are rest.
const maxEmbedded = 1000

// leaf decodes a part's content and looks for files in it. decode is false for
// a part that no reader shows as it is; deeper, that more parts may be made.
func (r *reader) leaf(n *node, decode, deeper bool) {
	p := n.p
	if !decode {
		p.bodies = []Body{{How: "7bit", Data: p.Raw()}}
		return
	}
	if !r.spend(p, len(p.Raw())) {
		p.bodies = []Body{{How: "7bit", Data: p.Raw()}}
		return
	}
	r.decode(n)
	if deeper {
		r.within(n)
	} else if r.text(n) && len(transfer.Embedded(p.bodies[0].Data, r.room())) > 0 {
		r.defect(p, "too-deep", p.Start, "")
	}
}

// decode makes the bodies of a part: every declared encoding, from every place
// where the body may begin (attacks E-03, E-61, E-62).
func (r *reader) decode(n *node) {
	p := n.p
	raw := p.Raw()
	if !n.encoded {
		p.bodies = []Body{{How: "7bit", Data: raw}}
		r.earlyRaw(n)
		r.inherited(n)
		return
	}
	p.bodies = make([]Body, 0, len(p.Encodings))
	for i, e := range p.Encodings {
		if identity(e) {
			r.body(p, "7bit", raw)
			continue
		}
		if !r.decodeAs(p, e, raw, p.Body, "", i == 0 && !n.quiet) {
			r.body(p, "7bit", raw)
		}
	}
	for _, s := range n.head.early {
		if s == p.Body || s > p.End {
			continue
		}
		for _, e := range p.Encodings {
			if !identity(e) {
				r.decodeAs(p, e, p.Source.Data[s:p.End], s, ", from elsewhere", false)
			}
		}
	}
	r.earlyRaw(n)
	if len(p.bodies) == 0 {
		p.bodies = []Body{{How: "7bit", Data: raw}}
	}
}

// earlyRaw adds what a reader sees that begins the body elsewhere: the type of
// a file is told by its first octets.
func (r *reader) earlyRaw(n *node) {
	p := n.p
	if n.encoded {
		return
	}
	for _, s := range n.head.early {
		if s != p.Body && s < p.End {
			r.body(p, "7bit, from elsewhere", p.Source.Data[s:p.End])
		}
	}
}

// inherited decodes a part that declares no encoding with that of the multipart
// around it, as some readers do.
func (r *reader) inherited(n *node) {
	if len(n.p.Encodings) > 0 || len(n.p.Raw()) == 0 {
		return
	}
	up := n.parent
	for up != nil && up.kind.multi && len(up.p.Encodings) == 0 {
		up = up.parent
	}
	if up == nil || !up.encoded || !up.kind.multi {
		return
	}
	for _, e := range up.p.Encodings {
		if !identity(e) {
			r.decodeAs(n.p, e, n.p.Raw(), n.p.Body, ", inherited", false)
		}
	}
}

// alias says that two slices begin at the same octet.
func alias(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }

// body adds a reading that is not there yet.
func (r *reader) body(p *Part, how string, data []byte) {
	for i := range p.bodies {
		if len(p.bodies[i].Data) == len(data) && (len(data) == 0 || alias(p.bodies[i].Data, data)) {
			return
		}
	}
	p.bodies = append(p.bodies, Body{How: how, Data: data})
}

// decodeAs adds the readings of one encoding; false if there was no room for
// them.
func (r *reader) decodeAs(p *Part, encoding string, raw []byte, at int, from string, first bool) bool {
	room := r.room()
	if room <= 0 && len(raw) > 0 {
		r.defect(p, "too-much-decoded", p.Start, "")
		return false
	}
	if !r.spend(p, len(raw)) {
		return false
	}
	readings, faults, known := transfer.Decode(encoding, raw, room)
	if !known && first {
		r.defect(p, "unknown-encoding", p.Start, encoding)
	}
	for _, f := range faults {
		if f.ID == transfer.TooLarge {
			r.defect(p, "too-much-decoded", at+f.At, "")
		} else if first {
			r.defectAs(p, f.ID, foreignGrade(f.ID, f.Ambiguous), at+f.At, "")
		}
	}
	for i := range readings {
		d := readings[i].Data
		if !alias(d, raw) {
			r.decoded += int64(len(d))
		}
		r.body(p, readings[i].How+from, d)
	}
	if r.decoded >= r.l.Decoded && room < len(raw) {
		r.defect(p, "too-much-decoded", p.Start, "")
	}
	return true
}

// text says that readers look for files inside the text of the part.
func (r *reader) text(n *node) bool {
	if len(n.p.Types) == 0 {
		return true
	}
	for _, t := range n.p.Types {
		if strings.HasPrefix(t, "text/") || strings.HasPrefix(t, "message/") || !strings.Contains(t, "/") {
			return true
		}
	}
	return n.kind.multi || n.kind.misspelt
}

// within looks for files and messages inside the bodies of a leaf.
func (r *reader) within(n *node) {
	p := n.p
	text := r.text(n)
	for _, e := range p.Encodings {
		// The name of a uuencoded part is inside the text.
		if strings.Contains(e, "uu") || strings.Contains(e, "yenc") || strings.Contains(e, "hex") || strings.Contains(e, "hqx") {
			r.embedded(n, p.Raw(), "")
		}
	}
	bodies := p.bodies
	for i := range bodies {
		b := &bodies[i]
		if len(b.Data) < 8 {
			continue
		}
		if text {
			r.embedded(n, b.Data, b.How)
			if i == 0 && p.Body > p.Start {
				r.behindBlank(n)
			}
		}
		switch {
		case isTNEF(n, b.Data):
			r.tnef(n, b.Data)
		case isCMS(n):
			r.cms(n, b.Data)
		case isMessageFile(n) && looksLikeMessage(b.Data):
			if i == 0 && !n.encoded {
				r.entity(n, p.Source, p.Body, p.End, Enclosed, nil)
			} else {
				r.entity(n, &Source{Data: b.Data, Of: p, How: b.How}, 0, len(b.Data), Enclosed, nil)
			}
		}
	}
}

// behindBlank looks for a header behind the empty line that ended one. What is
// of the type of a header is one by right (RFC 6522 section 4).
func (r *reader) behindBlank(n *node) {
	p := n.p
	if n.encoded || len(p.Types) > 0 && p.Types[0] == "text/rfc822-headers" {
		return
	}
	for _, s := range append([]int{p.Body}, n.head.early...) {
		if s >= p.End || !fieldsFirst(p.Source.Data[s:p.End]) || plainAnyway(p.Source.Data[s:p.End]) {
			continue
		}
		start := p.End - len(bytes.TrimLeft(p.Source.Data[s:p.End], "\r\n"))
		r.defect(p, "header-end-unclear", start, "")
		if r.view(p) {
			r.entity(n, p.Source, start, p.End, Rescued, nil)
		}
	}
}

// embedded takes uuencoded, yEnc and BinHex files out of text (attacks E-64 to
// E-66).
func (r *reader) embedded(n *node, text []byte, how string) {
	files := transfer.Embedded(text, r.room())
	for i := range files {
		r.file(n, &files[i], how, i)
	}
}

// tnef takes a winmail.dat apart.
func (r *reader) tnef(n *node, data []byte) {
	files, faults := transfer.TNEF(data, r.room())
	for _, f := range faults {
		if f.ID == transfer.TooLarge {
			r.defect(n.p, "too-much-decoded", n.p.Start, "")
			continue
		}
		r.defectAs(n.p, f.ID, foreignGrade(f.ID, f.Ambiguous), n.p.Body, "")
	}
	for i := range files {
		r.file(n, &files[i], "tnef", i)
	}
}

// file makes a part of a file that was found inside another's body.
func (r *reader) file(n *node, f *transfer.File, how string, i int) {
	if r.full() || i >= maxEmbedded {
		r.defect(n.p, "too-many-parts", n.p.Start, "")
		return
	}
	if len(f.Readings) == 0 {
		f.Readings = []transfer.Reading{{How: f.Kind}}
	}
	if how != "" {
		how += ", "
	}
	src := &Source{Data: f.Readings[0].Data, Of: n.p, How: how + f.Kind}
	k := r.add(n, src, 0, len(src.Data), Embedded)
	for _, name := range f.Names {
		r.name(k.p, name, f.Kind)
	}
	k.p.Attachment = f.Kind != "tnef-body"
	for _, x := range f.Readings {
		r.decoded += int64(len(x.Data))
		k.p.bodies = append(k.p.bodies, Body{How: x.How, Data: x.Data})
	}
	for _, x := range f.Faults {
		if x.ID == transfer.TooLarge {
			r.defect(n.p, "too-much-decoded", n.p.Start, "")
			continue
		}
		r.defectAs(k.p, x.ID, foreignGrade(x.ID, x.Ambiguous), 0, "")
	}
	k.kind.leaf = true
	if k.p.Depth >= r.l.Depth {
		r.defect(k.p, "too-deep", 0, "")
		return
	}
	for i, x := range f.Readings {
		switch {
		case isTNEF(k, x.Data):
			r.tnef(k, x.Data)
		case isMessageFile(k) && looksLikeMessage(x.Data):
			s := src
			if i > 0 {
				s = &Source{Data: x.Data, Of: k.p, How: x.How}
			}
			r.entity(k, s, 0, len(x.Data), Enclosed, nil)
		}
	}
}

// isTNEF says that a client hands the part to its TNEF reader: by type, by
// name, or by the signature ([MS-OXTNEF] 2.1.3.1).
func isTNEF(n *node, data []byte) bool {
	if len(data) >= 4 && data[0] == 0x78 && data[1] == 0x9f && data[2] == 0x3e && data[3] == 0x22 {
		return true
	}
	for _, t := range n.p.Types {
		if strings.HasSuffix(t, "ms-tnef") {
			return true
		}
	}
	return n.named("winmail.dat", "win.dat")
}

// isCMS says that a client unwraps the part (RFC 8551 section 3.2).
func isCMS(n *node) bool {
	for _, t := range n.p.Types {
		switch t {
		case "application/pkcs7-mime", "application/x-pkcs7-mime":
			return true
		}
	}
	return n.named(".p7m", ".p7z")
}

// isMessageFile says that a client opens the part as a message: by its name,
// or as what a message of a type that is not taken apart holds.
func isMessageFile(n *node) bool {
	for _, t := range n.p.Types {
		switch t {
		case "message/delivery-status", "message/disposition-notification", "message/feedback-report", "message/http", "message/sip",
			"message/sipfrag", "message/tracking-status", "message/global-delivery-status", "message/global-disposition-notification",
			"message/partial", "message/external-body", "message/imdn+xml":
			return hasMIMEHeader(n.p.Raw())
		}
		if strings.HasPrefix(t, "message/") || strings.HasSuffix(t, "/mht") || strings.HasSuffix(t, "/x-mht") || strings.HasSuffix(t, "mimearchive") {
			return true
		}
	}
	return n.named(".eml", ".mht", ".mhtml", ".nws", ".emlx")
}

// named says that a candidate name ends so, as Windows reads it.
func (n *node) named(ends ...string) bool {
	for i := range n.p.Names {
		t := n.p.Names[i].Text
		if len(t) > 64 {
			t = t[len(t)-64:]
		}
		t = strings.TrimRight(strings.ToLower(t), " .\x00\"'")
		for _, e := range ends {
			if strings.HasSuffix(t, e) {
				return true
			}
		}
	}
	return false
}

// hasMIMEHeader says that a body begins with a block of fields that tells a
// type or an encoding.
func hasMIMEHeader(data []byte) bool {
	data = data[:min(len(data), 16<<10)]
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if len(bytes.TrimRight(line, "\r")) == 0 || line[0] > ' ' && fieldColon(line) < 0 {
			return false
		}
		switch name, _, _ := mimeName(line); name {
		case "content-type", "content-transfer-encoding", "content-disposition":
			return true
		}
	}
	return false
}

// fieldsFirst says that text begins with a MIME field: an empty line stands
// before a header, or in it.
func fieldsFirst(data []byte) bool {
	line := bytes.TrimLeft(data[:min(len(data), 256)], "\r\n")
	if len(line) == 0 || line[0]|0x20 != 'c' {
		return false
	}
	if i := bytes.IndexAny(line, "\r\n"); i >= 0 {
		line = line[:i]
	}
	name, value, _ := mimeName(line)
	return name != "" && plausible(name, line[value:])
}

// plainAnyway says that the field which text begins with makes it what it is
// without: a letter whose first words are "Content-Type: text/plain" says so in
// prose, or shows plain text in every reading.
func plainAnyway(data []byte) bool {
	data = bytes.TrimLeft(data, "\r\n")
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		i = len(data)
	}
	line, rest := data[:i], data[i:]
	_, value, ok := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	const plain = "text/plain"
	if !ok || len(value) < len(plain) || !bytes.EqualFold(value[:len(plain)], []byte(plain)) || bytes.ContainsAny(value, "=;*") || bytes.IndexByte(line[:max(len(line)-1, 0)], '\r') >= 0 {
		return false
	}
	rest = bytes.TrimPrefix(rest, []byte("\n"))
	return len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' && !fieldsWithin(rest)
}

// fieldsWithin says that a MIME field stands in the first lines of something
// that is no part for the standard: who skips lines that are no fields sees a
// header there.
func fieldsWithin(data []byte) bool {
	data = data[:min(len(data), rescueBytes)]
	for n := 0; n < rescueLines && len(data) > 0; n++ {
		i := bytes.IndexAny(data, "\r\n")
		line := data
		if i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		if name, value, _ := mimeName(line); name != "" && plausible(name, line[value:]) {
			return true
		}
	}
	return false
}

// looksLikeMessage says that octets begin with the header of a message.
func looksLikeMessage(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.TrimLeft(data[:min(len(data), 16<<10)], "\r\n")
	for i := 0; i < 50 && len(data) > 0; i++ {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if i == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))) {
			continue
		}
		if i > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		if name, _, _ := mimeName(line); name != "" {
			return true
		}
		colon := fieldColon(line)
		if colon < 0 {
			return false
		}
		switch strings.ToLower(strings.TrimRight(string(line[:min(colon, 40)]), " \t")) {
		case "from", "to", "subject", "date", "received", "message-id", "return-path", "delivered-to", "x-mozilla-status", "newsgroups":
			return true
		}
	}
	return false
}

// message handles an enclosed message, as it is and decoded (attacks E-14,
// E-29).
func (r *reader) message(n *node) {
	p := n.p
	raw := p.Raw()
	from := p.Body
	if len(raw) == 0 && len(n.head.early) == 0 {
		return
	}
	if !n.encoded {
		r.enclosed(n, p.Source, from, p.End)
		for _, s := range n.head.early {
			if s != from && s < p.End && r.view(p) {
				r.enclosed(n, p.Source, s, p.End)
			}
		}
		return
	}
	if !r.spend(p, len(raw)) {
		return
	}
	r.decode(n)
	plain, found := looksLikeMessage(raw), false
	bodies := p.bodies
	for i := range bodies {
		b := &bodies[i]
		if len(b.Data) == 0 || alias(b.Data, raw) {
			continue
		}
		if !looksLikeMessage(b.Data) && (plain || found) {
			continue
		}
		if found && !r.view(p) {
			break
		}
		found = true
		r.enclosed(n, &Source{Data: b.Data, Of: p, How: b.How}, 0, len(b.Data))
	}
	switch {
	case plain && found && looksLikeMessage(p.bodies[0].Data) && !alias(p.bodies[0].Data, raw):
		r.defect(p, "encoded-message-two-ways", p.Start, "")
	case plain:
		r.defect(p, "encoding-on-composite", p.Start, p.Encodings[0])
	case !isGlobal(p):
		r.defect(p, "encoded-message", p.Start, p.Encodings[0])
	}
	if plain || !found {
		r.enclosed(n, p.Source, from, p.End)
	}
}

// isGlobal: message/global may be encoded (RFC 6532 section 3.7).
func isGlobal(p *Part) bool { return len(p.Types) == 1 && p.Types[0] == "message/global" }

// enclosed indexes a message inside a part, and names the part by its subject,
// as readers do that save it.
func (r *reader) enclosed(n *node, src *Source, start, end int) {
	k := r.entity(n, src, start, end, Enclosed, nil)
	if k == nil {
		return
	}
	for i := range k.p.Fields {
		f := &k.p.Fields[i]
		if strings.EqualFold(f.Name, "subject") {
			for _, w := range field.Words(f.Value) {
				r.name(n.p, w+".eml", "subject")
			}
		}
	}
}

// decodedMultipart looks for the parts of a multipart behind its encoding, which
// RFC 2045 6.4 forbids and some readers take off (attacks E-14). seen: it has
// parts as it is.
func (r *reader) decodedMultipart(n *node, seen bool) bool {
	p := n.p
	if !r.spend(p, len(p.Raw())) {
		return false
	}
	n.quiet = seen // that it does not fit is told below
	r.decode(n)
	raw := p.Raw()
	found := false
	bodies := p.bodies
	for i := range bodies {
		b := &bodies[i]
		if len(b.Data) == 0 || alias(b.Data, raw) {
			continue
		}
		if seen && sameLines(p.Source, p.Body, p.End, b.Data) {
			continue
		}
		src := &Source{Data: b.Data, Of: p, How: b.How}
		if len(src.dashLines()) == 0 || !r.view(p) {
			continue
		}
		before := len(r.x.Parts)
		if k := r.entity(n, src, 0, len(b.Data), Rescued, n); k != nil && len(r.x.Parts) > before+1 {
			r.defect(p, "encoded-multipart", p.Start, b.How)
			found = true
		}
	}
	if seen && !found {
		r.defect(p, "encoding-on-composite", p.Start, p.Encodings[0])
	}
	return found
}

// sameLines says that two texts have the same number of lines with two dashes:
// an encoding that changes nothing there, as quoted-printable on a multipart.
func sameLines(a *Source, from, to int, b []byte) bool {
	return len(a.dashesIn(from, to)) == len((&Source{Data: b}).dashLines())
}
