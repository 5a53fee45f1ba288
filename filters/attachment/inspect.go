package attachment

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"garita/archive"
	"garita/document"
	"garita/filetype"
	"garita/mail"
	"garita/message"
)

const (
	maxBodies = 16 // readings of one part's content
	maxInside = 3  // documents and messages inside each other
	maxPlace  = 80 // characters of a name in a place
	maxNames  = 64 // of one thing
)

// work is the inspection of one message.
type work struct {
	ctx     context.Context
	check   *Check
	actions map[string]string
	budget  *archive.Budget
	report  report
	count   int           // attachments
	spent   time.Duration // on documents
	// top is the part of the message that is judged; nil where it is none.
	top   *message.Part
	marks marks
}

func (k *Check) work(ctx context.Context, d mail.Direction) *work {
	w := &work{ctx: ctx, check: k, actions: k.in, budget: archive.NewBudget(k.cfg.limits(), k.now())}
	if d == mail.Out {
		w.actions = k.out
	}
	return w
}

func (w *work) found(key, place, name, detail string) {
	switch w.actions[key] {
	case actionOff:
		return
	case actionDisarm:
		w.marks.add(w.top, key)
	}
	w.report.add(key, place, name, detail)
}

// index judges all parts of a message. within is the place of the message, if
// it lies in something.
func (w *work) index(x *message.Index, within string) { w.parts(x, within, 0) }

func (w *work) parts(x *message.Index, within string, depth int) {
	for _, p := range x.Parts {
		if w.ctx.Err() != nil {
			return
		}
		if depth == 0 {
			w.top = p
		}
		w.part(p, within, depth)
	}
	if depth == 0 {
		w.top = nil
	}
	if n := w.check.cfg.MaxCount; n > 0 && w.count > n {
		w.found(tooMany, within, "", "more attachments than max_count")
	}
}

// part judges one part in all its readings.
func (w *work) part(p *message.Part, within string, depth int) {
	place := within + "part " + p.Number
	if p.Number == "" {
		place = within + "message"
	}
	if body(p) && harmless(p) {
		if scripted(p) {
			w.shown(p, place)
		}
		if depth == 0 {
			w.active(p, place)
		}
		return
	}
	names, weak := candidates(p)
	if p.Children && composite(p) {
		// What is in it is judged by itself; a name may stand on it all the
		// same, and some clients offer it under that name.
		if len(names) > 0 && !weak {
			w.look(&thing{names: names, declared: p.Types, place: place, blind: true, depth: depth})
		}
		return
	}
	w.count++
	var last []byte
	for i, b := range p.Bodies() {
		if i >= maxBodies {
			w.found(bomb, place, "", "more readings than are looked at")
			break
		}
		if i > 0 && bytes.Equal(b.Data, last) {
			continue
		}
		last = b.Data
		w.whole(&thing{names: names, declared: p.Types, data: b.Data, place: place, weak: weak, depth: depth}, p)
	}
}

func first(names []string) string {
	if len(names) > 0 {
		return names[0]
	}
	return ""
}

// whole judges a thing and all that is in it. p is its part; nil inside.
func (w *work) whole(t *thing, p *message.Part) {
	o, views := w.look(t)
	if len(t.data) == 0 {
		return
	}
	page := filetype.Type{}
	for i := range views {
		if views[i].Type.Class == filetype.Markup {
			page = views[i].Type
		}
	}
	if o.Class == filetype.Markup || page.Name != "" && o.Name != "eml" && o.Class != filetype.Picture {
		// Pictures that the text shows are not opened by themselves.
		shown := p != nil && (body(p) || o.Name == "svg" && !p.Attachment)
		if !t.piece && !shown && o.Name != "mht" {
			w.found(htmlAttachment, t.place, t.shown(), "a page to be opened in a browser")
		}
	}
	w.archives(t, o, opened(o, views))
	w.documents(t, o, views, page)
	w.letters(t, o, views, p)
}

// within is the place of what lies in a thing.
func (w *work) within(t *thing) string {
	if n := t.shown(); n != "" && !strings.HasSuffix(t.place, short(n)) {
		return t.place + " › " + short(n)
	}
	return t.place
}

// short cuts a name for a place. It stays hostile text.
func short(name string) string {
	name = strings.ToValidUTF8(name, "\ufffd")
	if utf8.RuneCountInString(name) <= maxPlace {
		return name
	}
	return string([]rune(name)[:maxPlace]) + "…"
}

// archives walks what is in a thing, whatever it calls itself.
func (w *work) archives(t *thing, o filetype.Type, pieces bool) {
	root := w.within(t)
	var inner map[string]bool // documents among the members, by their path
	members := 0
	defects, err := w.check.walk(w.ctx, t.data, w.budget, func(e *archive.Entry) error {
		members++
		if w.member(e, root, t.shown(), t.depth, pieces || within(inner, e.In)) {
			if inner == nil {
				inner = map[string]bool{}
			}
			inner[path(e.In, first(e.Names))] = true
		}
		return w.ctx.Err()
	})
	for i := range defects {
		w.defect(t, root, pieces, &defects[i])
	}
	switch {
	case err != nil && w.ctx.Err() == nil:
		w.found(crash, root, t.shown(), "the archive could not be walked")
	case o.Class == filetype.Archive && members == 0 && len(defects) == 0 && !emptyZip(t.data):
		// It begins like an archive, and ours found nothing in it; others may.
		w.found(archiveOpaque, root, t.shown(), "nothing in it can be read: "+o.Name)
	}
}

// emptyZip is an end record alone.
func emptyZip(b []byte) bool { return len(b) == 22 && bytes.HasPrefix(b, []byte("PK\x05\x06")) }

func path(in []string, name string) string { return strings.Join(in, "\x00") + "\x00" + name }

// within tells that a member lies in one of those paths.
func within(inner map[string]bool, in []string) bool {
	for i := range in {
		if inner[path(in[:i], in[i])] {
			return true
		}
	}
	return false
}

// member judges a member of an archive, and tells a document: its own members
// come later.
func (w *work) member(e *archive.Entry, root, rootName string, depth int, pieces bool) bool {
	place := root
	for _, in := range e.In {
		place += " › " + short(in)
	}
	names := e.Names[:min(len(e.Names), maxNames)]
	if outer := rootName; streamed(e.Container) {
		if len(e.In) > 0 {
			outer = e.In[len(e.In)-1]
		}
		if n := unpackedName(outer); n != "" {
			names = append(slices.Clip(names), n)
		}
	}
	if e.Directory {
		return false
	}
	t := &thing{names: names, data: e.Data, place: place + " › " + short(first(names)), piece: pieces, blind: e.Encrypted && e.Data == nil, depth: depth}
	if e.Encrypted {
		// Documents with a password are zips of that kind, too (ODF).
		if pieces {
			w.found(docEncrypted, place, first(names), "encrypted")
		} else {
			w.found(archiveEncrypted, t.place, first(names), "encrypted")
		}
	}
	o, views := w.look(t)
	if t.blind || len(t.data) == 0 || pieces {
		return false
	}
	page := filetype.Type{}
	for i := range views {
		if views[i].Type.Class == filetype.Markup {
			page = views[i].Type
		}
	}
	if o.Class == filetype.Markup && o.Name != "mht" || page.Name != "" && o.Name != "eml" && o.Class != filetype.Picture {
		w.found(htmlAttachment, t.place, first(names), "a page to be opened in a browser")
	}
	w.documents(t, o, views, page)
	// The data is valid during the visit alone, and so is all work on it.
	w.letters(t, o, views, nil)
	return opened(o, views)
}

// opened tells that the members of a thing are pieces of a document: a page or
// a script in an electronic book is not opened by itself. Who opens it goes by
// its name: what is called a zip is unpacked, and a few members that make a
// document of it excuse nothing.
func opened(o filetype.Type, views []filetype.NameView) bool {
	if o.Class != filetype.Office && o.Class != filetype.Document {
		return false
	}
	document, extension := false, false
	for i := range views {
		switch views[i].Type.Class {
		case filetype.Archive:
			return false
		case filetype.Office, filetype.Document:
			document = true
		}
		extension = extension || len(views[i].Extensions) > 0
	}
	return document || !extension
}

// streamed tells containers of one file, which most programs call by the name
// of the container without its end.
func streamed(container string) bool {
	switch container {
	case "gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "z":
		return true
	}
	return false
}

// unpackedName is what they make of it: "a.js" of "a.js.gz".
func unpackedName(outer string) string {
	v := filetype.ReadName(outer)
	if len(v.Extensions) == 0 || v.Type.Class != filetype.Archive {
		return ""
	}
	base := strings.TrimSuffix(v.Base, "."+v.Extensions[0])
	if base == v.Base || strings.HasPrefix(v.Extensions[0], "t") {
		return "" // tgz and its like hold a tar
	}
	return base
}

// defect turns what is wrong with an archive into a class.
func (w *work) defect(t *thing, root string, pieces bool, d *archive.Defect) {
	place := root
	for _, in := range d.In {
		place += " › " + short(in)
	}
	detail := archive.Meaning(d.ID)
	if detail == "" {
		detail = d.ID
	}
	switch {
	case d.ID == "decoder-panic":
		w.found(crash, place, t.shown(), detail)
	case d.Grade == archive.Ambiguous:
		w.found(archiveAmbiguous, place, t.shown(), detail)
	case d.Grade == archive.Encrypted && pieces:
		w.found(docEncrypted, place, t.shown(), detail)
	case d.Grade == archive.Encrypted:
		w.found(archiveEncrypted, place, t.shown(), detail)
	case d.Grade == archive.Opaque:
		w.found(archiveOpaque, place, t.shown(), detail)
	case d.Grade == archive.Bomb:
		w.found(bomb, place, t.shown(), detail)
	}
}

// documents inspects a thing that is opened by Office, a reader of PDF or a
// browser, by octets or by name.
func (w *work) documents(t *thing, o filetype.Type, views []filetype.NameView, page filetype.Type) {
	as, inspect := o, false
	for i := range views {
		// What goes by its name when it is opened, whatever its octets look like.
		switch v := &views[i]; {
		case table(v):
			w.inspect(t, filetype.Type{Name: v.Extensions[0], Class: filetype.Text})
		case len(v.Extensions) > 0 && v.Extensions[0] == "pdf" && (o.Class == filetype.Unknown || o.Class == filetype.Text):
			w.inspect(t, v.Type)
		}
	}
	if page.Name != "" && o.Class != filetype.Markup {
		w.inspect(t, page)
	}
	switch o.Class {
	case filetype.Document, filetype.Office, filetype.Markup:
		inspect = true
	case filetype.Message:
		inspect = o.Name == "msg"
	case filetype.Archive:
		// A package whose beginning and end do not tell that it is a document.
		inspect = o.Name == "zip"
	case filetype.Text, filetype.Unknown, filetype.Script:
		// XML is a page, a document or data by elements that may stand far on.
		inspect = o.Name == "xml"
		for i := range views {
			switch views[i].Type.Class {
			case filetype.Document, filetype.Office:
				inspect = true
			}
		}
	}
	if inspect {
		w.inspect(t, as)
	}
}

// inspect looks for the traits of a document of that type.
func (w *work) inspect(t *thing, as filetype.Type) {
	if t.depth >= maxInside {
		w.found(bomb, t.place, t.shown(), "documents inside documents")
		return
	}
	// One budget of time for all documents, as for all archives: 200 of them,
	// each within its own bounds, must not end in a 451 that never ends (Z-22).
	left := w.check.cfg.Archives.Time - w.spent
	if left <= 0 {
		w.found(bomb, t.place, t.shown(), "no time is left for documents")
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, left)
	defer cancel()
	start := w.check.now()
	traits := w.check.inspect(ctx, as, t.data, w.check.docs)
	w.spent += w.check.now().Sub(start)
	for i := range traits {
		w.trait(t, as, &traits[i])
	}
}

// table tells a name that a spreadsheet program opens as one.
func table(v *filetype.NameView) bool {
	if len(v.Extensions) == 0 {
		return false
	}
	switch v.Extensions[0] {
	case "csv", "tsv", "tab", "slk", "dif", "iqy", "oqy", "rqy", "dqy":
		return true
	}
	return false
}

// trait turns what a document has into a class.
func (w *work) trait(t *thing, as filetype.Type, r *document.Trait) {
	place := w.within(t)
	if r.Where != "" {
		place += " › " + short(r.Where)
	}
	key := classOfTrait(r.ID, as)
	switch {
	case r.ID == document.EmbeddedFile:
		w.found(key, place, t.shown(), "a file inside: "+short(first(r.Names)))
		if len(r.Data) > 0 || len(r.Names) > 0 {
			w.whole(&thing{names: r.Names[:min(len(r.Names), maxNames)], data: r.Data, place: place, depth: t.depth + 1}, nil)
		}
		return
	case r.ID == document.Damaged && strings.HasPrefix(r.Text, "reader failed"):
		key = crash
	case r.ID == document.ExternalLink && startsRemote(r.Text):
		key = remoteTemplate
	}
	if key == "" {
		return
	}
	detail := document.Meaning(r.ID)
	if r.Text != "" && r.ID != document.Damaged {
		detail += " (" + short(r.Text) + ")"
	}
	w.found(key, place, t.shown(), detail)
}

// startsRemote tells the links that bring a program rather than a picture: an
// object, frame or chunk that is fetched from the web when the document is
// opened, and addresses that are handed to a program (CVE-2017-0199,
// CVE-2021-40444, CVE-2022-30190). They do what a remote template does.
func startsRemote(text string) bool {
	low := strings.ToLower(text)
	if strings.HasPrefix(low, "url moniker ") || strings.HasPrefix(low, "scriptlet moniker") {
		return true
	}
	kind, target, _ := strings.Cut(low, " ")
	for _, s := range []string{"ms-", "search-ms:", "mhtml:", "script:"} {
		if strings.HasPrefix(target, s) {
			return true
		}
	}
	switch kind {
	case "oleobject", "frame", "subdocument", "afchunk", "package", "control":
		return strings.HasPrefix(target, "http")
	}
	return false
}

// classOfTrait gives the class of a trait, "" for what no policy asks for.
func classOfTrait(id string, as filetype.Type) string {
	rtf := as.Name == "rtf"
	switch id {
	case document.Macro, document.MacroType:
		return macro
	case document.AutoMacro, document.MacroCall:
		return macroAuto
	case document.XLM:
		return xlm
	case document.RemoteTemplate:
		return remoteTemplate
	case document.ExternalLink, document.PDFRemote:
		return externalLink
	case document.DDE:
		return dde
	case document.EquationEditor:
		return equation
	case document.OLEObject, document.ObjectUpdate, document.ActiveX:
		if rtf {
			return rtfObject
		}
		return embeddedObject
	case document.EmbeddedFile:
		switch {
		case rtf:
			return rtfObject
		case as.Name == "pdf":
			return pdfEmbedded
		}
		return embeddedObject
	case document.Encrypted:
		return docEncrypted
	case document.Obfuscated:
		if rtf {
			return rtfObject
		}
		return mismatch
	case document.PDFJavaScript:
		return pdfScript
	case document.PDFLaunch:
		return pdfLaunch
	case document.HTMLSmuggling:
		return htmlSmuggling
	case document.HTMLForm, document.HTMLRefresh:
		return htmlForm
	case document.HTMLApp:
		return script
	case document.SVGScript:
		return svgScript
	case document.Damaged:
		return docDamaged
	case document.Unfinished:
		return bomb
	}
	return ""
}
