package attachment

import (
	"bytes"
	"slices"
	"strings"

	"garita/filetype"
	"garita/message"
)

// plainParts is how many parts the text of a mail has at most: both kinds of
// text, in multiparts inside each other.
const plainParts = 8

// composite tells a part whose children are what readers see.
func composite(p *message.Part) bool {
	for _, t := range p.Types {
		if !strings.HasPrefix(t, "multipart/") && !strings.HasPrefix(t, "message/") {
			return false
		}
	}
	return len(p.Types) > 0 || p.Parent == nil
}

// body tells a part that is the text of the mail, or of one inside it: that is
// never an attachment.
func body(p *message.Part) bool {
	if p.Attachment {
		return false
	}
	for i := range p.Names {
		n := &p.Names[i]
		if n.Weak() {
			if weak := weakName(n); weak != "" && filetype.ReadName(weak).Type.Class.Runs() {
				return false
			}
			continue
		}
		// Some programs name the page inside multipart/alternative.
		if p.Parent == nil || !slices.Contains(p.Parent.Types, "multipart/alternative") {
			return false
		}
		v := filetype.ReadName(n.Text)
		if v.Type.Class != filetype.Markup && v.Type.Class != filetype.Text || len(v.Oddities) > 0 {
			return false
		}
	}
	for _, t := range p.Types {
		switch t {
		case "text/plain", "text/html", "text/enriched", "text/watch-html", "text/x-amp-html", "text/markdown":
		default:
			return false
		}
	}
	return true
}

// weakName is what of a weak name a reader could make a file name of, "" for
// nothing (E-52). Domains end in ".com" and are no programs; subjects are text
// that people write, and who saves a message by it adds ".eml".
func weakName(n *message.Name) string {
	s := n.Text
	switch n.From {
	case "subject":
		return ""
	case "content-id":
		s, _, _ = strings.Cut(s, "@")
	case "content-location":
		if i := strings.Index(s, "://"); i >= 0 {
			s = s[i+3:]
			slash := strings.IndexByte(s, '/')
			if slash < 0 {
				return ""
			}
			s = s[slash+1:]
			if q := strings.IndexAny(s, "?#"); q >= 0 {
				s = s[:q]
			}
		}
	}
	if len(s) >= 4 && strings.EqualFold(s[len(s)-4:], ".com") {
		return ""
	}
	return s
}

// candidates are the names of a part: those that make it a file, or the weak
// ones if there are no others.
func candidates(p *message.Part) (names []string, weak bool) {
	for i := range p.Names {
		if n := &p.Names[i]; !n.Weak() && len(names) < maxNames {
			names = append(names, n.Text)
		}
	}
	if len(names) > 0 {
		return names, false
	}
	for i := range p.Names {
		if s := weakName(&p.Names[i]); s != "" && len(names) < maxNames {
			names = append(names, s)
		}
	}
	return names, true
}

// harmless tells that a text is one, in every reading.
func harmless(p *message.Part) bool {
	for _, b := range p.Bodies() {
		if !textual(b.Data) {
			return false
		}
	}
	return true
}

// textual tells octets that programs show as text: by Detect nothing else, and
// no file in them further on. Scripts and mail as the text of a mail are read,
// not opened.
func textual(data []byte) bool {
	switch filetype.Detect(data).Class {
	case filetype.Text, filetype.Markup, filetype.Message, filetype.Script, filetype.Shortcut, filetype.Sealed:
		return bytes.IndexByte(data, 0) < 0
	case filetype.Unknown:
		return len(data) == 0 || bytes.IndexByte(data[:min(len(data), 4096)], 0) < 0
	}
	return false
}

// thing is what is judged: an attachment, a member of an archive, a file in a
// document.
type thing struct {
	names    []string
	declared []string // media types
	data     []byte
	place    string
	// inside a document: its own pieces have names that say nothing.
	piece bool
	// weak names come from places that are rarely used for names: what is odd
	// about them is odd text.
	weak bool
	// encrypted or not readable: data says nothing.
	blind bool
	depth int // of documents and messages that it came out of
}

// look judges names and octets of a thing, and tells its type.
func (w *work) look(t *thing) (byOctets filetype.Type, views []filetype.NameView) {
	if !t.blind && len(t.data) > 0 {
		byOctets = filetype.Detect(t.data)
	}
	views = make([]filetype.NameView, 0, len(t.names))
	for _, n := range t.names {
		if n != "" {
			views = append(views, filetype.ReadName(n))
		}
	}
	for i := range views {
		w.name(t, &views[i], byOctets)
	}
	w.octets(t, byOctets, views)
	w.declared(t, byOctets, views)
	if size := w.check.cfg.MaxSize; size > 0 && int64(len(t.data)) > size {
		w.found(tooLarge, t.place, t.shown(), "larger than max_size")
	}
	return byOctets, views
}

// shown is the name for people.
func (t *thing) shown() string {
	if len(t.names) > 0 {
		return t.names[0]
	}
	return ""
}

// classOf is the class of the policy for what runs.
func classOf(c filetype.Class) string {
	switch c {
	case filetype.Executable:
		return executable
	case filetype.Script:
		return script
	case filetype.Shortcut:
		return shortcut
	case filetype.DiskImage:
		return diskImage
	}
	return ""
}

// name judges one candidate name.
func (w *work) name(t *thing, v *filetype.NameView, octets filetype.Type) {
	oddities := v.Oddities
	if t.weak {
		oddities = nil
	}
	for _, o := range oddities {
		switch o {
		case "clsid":
			w.found(classID, t.place, t.shown(), "the name ends in a class of Windows")
		case "double-extension":
			if !w.check.allow[v.Type.Name] {
				w.found(doubleExtension, t.place, t.shown(), "pretends to be "+v.Extensions[1]+", is "+v.Extensions[0])
			}
		case "bidi":
			w.found(bidi, t.place, t.shown(), "characters that turn the direction of writing")
		case "long":
			w.found(longName, t.place, t.shown(), "more than 150 characters")
		default:
			if !t.piece {
				w.found(hiddenName, t.place, t.shown(), o)
			}
		}
	}
	if len(v.Extensions) == 0 || v.Type.Name == "clsid" {
		return
	}
	ext := v.Extensions[0]
	if w.check.extensions[ext] && !t.piece && !w.address(t, ext, octets) && !w.check.allow[ext] {
		w.found(blocked, t.place, t.shown(), "the extension "+ext)
	}
	if c := classOf(v.Type.Class); c != "" && !w.check.allow[ext] && !w.address(t, ext, octets) {
		if !t.piece || octets.Class == v.Type.Class {
			w.found(c, t.place, t.shown(), "the extension "+ext)
		}
	}
	switch v.Type.Class {
	case filetype.Office:
		switch ext {
		case "docm", "dotm", "xlsm", "xltm", "xlam", "xla", "pptm", "potm", "ppsm", "ppam", "ppa", "sldm", "vsdm", "vssm", "vstm":
			w.found(macro, t.place, t.shown(), "the extension "+ext)
		}
	case filetype.Archive:
		// A name that promises an archive, and octets that are nothing known:
		// a piece of one, or damaged so that ours cannot read it (Z-15, Z-19).
		// Brotli has no sign at all, and may hold its octets as they are.
		unknown := octets.Class == filetype.Unknown || octets.Class == filetype.Text && ext == "br"
		if !t.blind && len(t.data) > 0 && unknown && !t.piece && ext != "part" && ext != "pak" && ext != "rev" {
			w.found(archiveOpaque, t.place, t.shown(), "the extension "+ext+" and unknown octets")
			return
		}
	}
	if !t.blind && len(t.data) > 0 && !t.piece && volume(v) && (octets.Class == filetype.Unknown || octets.Class == filetype.Text) {
		w.found(archiveOpaque, t.place, t.shown(), "a piece of an archive: "+v.Extensions[1]+"."+ext)
	}
}

// volume tells the name of a piece of an archive: "a.zip.002", "a.7z.1000",
// "a.tar.ab", "a.rar.part". Its octets say nothing: what was packed without
// compression is still a text. "a.001" and "log.100" alone are anybody's.
func volume(v *filetype.NameView) bool {
	if len(v.Extensions) < 2 || filetype.ByExtension(v.Extensions[1]).Class != filetype.Archive {
		return false
	}
	e := v.Extensions[0]
	switch {
	case e == "part", strings.HasPrefix(e, "part") && digits(e[4:]):
		return true
	case len(e) >= 2 && len(e) <= 4 && digits(e):
		return true
	}
	return len(e) == 2 && e[0] == 'a' && e[1] >= 'a' && e[1] <= 'z'
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// address tells a name that promises something else by chance: a message that is named after its subject, and the subject
// ends in a domain: mail programs add ".eml" to it.
func (w *work) address(t *thing, ext string, octets filetype.Type) bool {
	if ext == "mat" && bytes.HasPrefix(t.data, []byte("MATLAB ")) {
		return true // numbers; a shortcut of Access has the same extension
	}
	return ext == "com" && (octets.Name == "eml" || len(t.declared) > 0 && t.declared[0] == "message/rfc822")
}

// octets judges what the content is.
func (w *work) octets(t *thing, o filetype.Type, views []filetype.NameView) {
	c := classOf(o.Class)
	if c != "" && w.check.allow[o.Name] {
		c = ""
	}
	shownAsText, neverText := false, len(views) > 0
	for i := range views {
		neverText = neverText && binary(&views[i])
		switch views[i].Type.Class {
		case filetype.Text, filetype.Picture, filetype.Media, filetype.Document, filetype.Office, filetype.Markup, filetype.Message, filetype.Font:
			shownAsText = true
		}
		if views[i].Type.Class.Runs() {
			if w.check.allow[views[i].Type.Name] && views[i].Type.Class == o.Class {
				c = "" // py and the like: the same thing under another word
			}
			shownAsText = false
			break
		}
	}
	switch {
	case c == script && shownAsText && neverText && !t.piece:
		// No picture, PDF or package is a text: it waits for somebody who
		// starts it under this name (a shortcut, a line that people paste).
		w.found(c, t.place, t.shown(), "called "+short(t.shown())+", by its octets: "+o.Name)
	case c == script && shownAsText, c == shortcut && shownAsText && o.Name != "lnk":
		// A text that is opened by what shows texts runs nothing.
		if !t.piece {
			w.found(mismatch, t.place, t.shown(), "a text of the kind "+o.Name)
		}
	case c == script && len(views) == 0 && len(t.declared) > 0 && t.declared[0] == "text/plain":
		// Shown as text, too.
	case c != "" && (!t.piece || c == executable):
		w.found(c, t.place, t.shown(), "by its octets: "+o.Name)
	case o.Class == filetype.Sealed:
		w.found(sealed, t.place, t.shown(), o.Name)
	}
	for i := range views {
		if v := &views[i]; !t.piece && pretends(v, o) {
			w.found(mismatch, t.place, t.shown(), "named "+v.Extensions[0]+", is "+o.Name)
			return
		}
	}
}

// binary tells a name of what is never written as text, in any program.
func binary(v *filetype.NameView) bool {
	switch v.Type.Class {
	case filetype.Picture, filetype.Media, filetype.Font:
		return true
	}
	if len(v.Extensions) == 0 {
		return false
	}
	switch v.Extensions[0] {
	case "pdf", "docx", "dotx", "xlsx", "xltx", "xlsb", "pptx", "potx", "ppsx", "odt", "ods", "odp", "epub", "one":
		return true
	}
	return false
}

// pretends tells a name of something passive on something that is not.
func pretends(v *filetype.NameView, o filetype.Type) bool {
	passive := v.Type.Class == filetype.Picture || v.Type.Class == filetype.Media || v.Type.Class == filetype.Font ||
		len(v.Extensions) > 0 && v.Extensions[0] == "pdf"
	switch o.Class {
	case filetype.Archive, filetype.Office, filetype.Markup:
		return passive
	case filetype.Document:
		return passive && o.Name != "pdf" && o.Name != "ps" && v.Type.Class != filetype.Document
	}
	return false
}

// declared judges the media type.
func (w *work) declared(t *thing, o filetype.Type, views []filetype.NameView) {
	// A name without an end is given that of the type by some clients.
	extension := false
	for i := range views {
		extension = extension || len(views[i].Extensions) > 0
	}
	for _, d := range t.declared {
		kind, _, _ := strings.Cut(d, "/")
		for _, b := range w.check.cfg.Types {
			if b == d || strings.HasSuffix(b, "/*") && b[:len(b)-2] == kind {
				w.found(blocked, t.place, t.shown(), "the type "+d)
			}
		}
		switch d {
		case "application/x-msdownload", "application/x-msdos-program", "application/x-dosexec", "application/vnd.microsoft.portable-executable",
			"application/hta", "application/x-ms-shortcut", "application/java-archive", "application/vnd.android.package-archive", "application/x-msi":
			if !extension && (o.Class == filetype.Unknown || o.Class == filetype.Text) {
				w.found(executable, t.place, t.shown(), "the type "+d)
			}
		case "text/vbscript", "text/vbs", "application/x-vbs", "application/x-vbscript", "application/x-javascript", "application/javascript", "text/javascript",
			"application/x-bat", "application/x-powershell", "text/scriptlet":
			if !extension && (o.Class == filetype.Unknown || o.Class == filetype.Text) {
				w.found(script, t.place, t.shown(), "the type "+d)
			}
		case "application/x-ms-application", "application/x-java-jnlp-file", "application/internet-shortcut", "application/x-mswinurl":
			if !extension && (o.Class == filetype.Unknown || o.Class == filetype.Text) {
				w.found(shortcut, t.place, t.shown(), "the type "+d)
			}
		}
		passive := kind == "image" && d != "image/svg+xml" || kind == "audio" || kind == "video" || d == "application/pdf"
		if passive && (o.Class == filetype.Archive || o.Class == filetype.Office || o.Class == filetype.Markup) {
			w.found(mismatch, t.place, t.shown(), "declared "+d+", is "+o.Name)
		}
	}
}
