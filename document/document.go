// Package document tells what a document can do to who opens it: macros,
// scripts, embedded programs, links that load something, passwords. It looks
// for the means, not for malice: OLE compound files ([MS-CFB], [MS-OVBA]),
// OOXML packages (ECMA-376), ODF, PDF (ISO 32000), RTF, HTML and SVG, MHTML,
// Word 2003 XML, OneNote, Outlook messages and shortcuts.
//
// It opens no link, runs nothing and writes nothing, and decrypts only what opens
// without asking: PDF without a password, Office files under the default one of Excel. It fails by trait: what cannot be read is Damaged, what goes over a bound Unfinished,
// and both stand beside the traits that were seen until then.
//
// # Limits
//
// Limits bounds inflated octets and streams. Beside that: 4 documents inside
// documents, 400 traits, 256 embedded files, 300 octets of text in a trait.
// Every reader is linear in what it reads.
package document

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"garita/filetype"
)

// Trait is one thing that a document has.
type Trait struct {
	// ID is stable: Meaning explains it.
	ID string
	// Where is the stream, member or object, Text what was seen there; both
	// are hostile text.
	Where, Text string
	// Data is an embedded file, nil for other traits; Names are its names.
	Data  []byte
	Names []string
}

// Limits bound the work on one document.
type Limits struct {
	Bytes   int64 // inflated octets of its streams
	Streams int
}

// DefaultLimits are for mail.
func DefaultLimits() Limits { return Limits{Bytes: 64 << 20, Streams: 4000} }

const (
	maxTraits   = 400
	maxEmbedded = 256
	maxText     = 300
	maxDepth    = 4
)

// Inspect gives the traits of a document of that type (filetype.Detect): none
// for what is no document. The octets choose the reader, so that a renamed
// document is seen; the type adds a reader where the octets are silent, so
// whoever knows that a part is shown as HTML says so by it. Inspect is bounded
// by l and ctx.
func Inspect(ctx context.Context, t filetype.Type, data []byte, l Limits) []Trait {
	in := &inspector{ctx: ctx, bytes: l.Bytes, streams: l.Streams, seen: map[string]bool{}}
	in.document(t, "", data)
	return in.traits
}

// inspector gathers the traits of one document and of those inside it.
type inspector struct {
	ctx      context.Context
	bytes    int64 // left
	streams  int   // left
	depth    int
	embedded int
	traits   []Trait
	seen     map[string]bool
	over     bool
	spins    int64
	objects  bool // a relationship leads to an object inside
}

// document runs each reader that might be asked to open the data: a file can be
// a PDF and HTML at once, and a viewer goes by the name that we do not know.
func (in *inspector) document(t filetype.Type, where string, data []byte) {
	if in.depth >= maxDepth {
		in.add(Unfinished, where, "documents inside documents")
		return
	}
	in.depth++
	defer func() { in.depth-- }()
	known := true
	switch {
	case bytes.HasPrefix(data, []byte(oleSignature)):
		in.guard(where, func() { in.ole(where, data) })
	case bytes.HasPrefix(data, []byte(oneNoteSignature)):
		in.guard(where, func() { in.oneNote(where, data) })
	case bytes.HasPrefix(data, []byte("PK\x03\x04")), bytes.HasPrefix(data, []byte("PK00PK\x03\x04")):
		in.guard(where, func() { in.packaged(where, data) })
	case bytes.HasPrefix(data, []byte(linkSignature)):
		in.guard(where, func() { in.shortcut(where, data) })
	case bytes.HasPrefix(data, []byte("ActiveMime")):
		in.guard(where, func() { in.activeMime(where, data) })
	case startsRTF(data):
		in.guard(where, func() { in.rtf(where, data) })
	default:
		known = false
	}
	if bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF-")) || t.Name == "pdf" {
		in.guard(where, func() { in.pdf(where, data) })
		known = known || bytes.HasPrefix(data, []byte("%PDF-"))
	}
	if known && t.Class == filetype.Markup && !startsHTML(data[:min(len(data), 4096)]) {
		// A browser goes by the name, whatever stands in front of the page.
		in.guard(where, func() { in.markup(t, where, toUTF8(data)) })
	}
	if known {
		return
	}
	switch t.Name {
	case "docx", "docm", "xlsx", "xlsm", "xlsb", "pptx", "pptm", "odt", "ods", "odp":
		// A package behind other octets: the directory is at its end.
		in.guard(where, func() { in.packaged(where, data) })
		return
	}
	in.guard(where, func() { in.text(t, where, data) })
}

// guard keeps a fault of a reader to its document: it is a trait, never silence.
func (in *inspector) guard(where string, read func()) {
	defer func() {
		if r := recover(); r != nil {
			in.add(Damaged, where, fmt.Sprintf("reader failed: %v", r))
		}
	}()
	read()
}

// add notes a trait, once for each place and text.
func (in *inspector) add(id, where, text string) {
	where, text = clip(where), clip(text)
	key := id + "\x00" + where + "\x00" + text
	if in.seen[key] {
		return
	}
	if len(in.traits) >= maxTraits {
		// The first of an ID always fits: hostile repetition of one trait must
		// not hide another.
		if in.has(id) {
			return
		}
	}
	in.seen[key] = true
	in.traits = append(in.traits, Trait{ID: id, Where: where, Text: text})
}

// has tells whether some place has that trait.
func (in *inspector) has(id string) bool {
	for i := range in.traits {
		if in.traits[i].ID == id {
			return true
		}
	}
	return false
}

// embed notes a file inside the document: the policy of attachments judges it.
func (in *inspector) embed(where string, names []string, data []byte) {
	if in.embedded++; in.embedded > maxEmbedded {
		in.unfinished(where, "embedded files")
		return
	}
	var clean []string
	for _, n := range names {
		n = strings.ToValidUTF8(strings.Trim(n, "\x00"), "\uFFFD")
		if n != "" && len(n) <= 4096 && len(clean) < 32 {
			clean = appendNew(clean, n)
		}
	}
	in.traits = append(in.traits, Trait{ID: EmbeddedFile, Where: clip(where), Names: clean, Data: data})
}

// unfinished notes that a bound was passed; the work ends.
func (in *inspector) unfinished(where, text string) {
	in.over = true
	if !in.has(Unfinished) {
		in.add(Unfinished, where, text)
	}
}

// open takes one stream from the budget and tells whether it may be read.
func (in *inspector) open(where string) bool {
	if in.stop(where) {
		return false
	}
	if in.streams--; in.streams < 0 {
		in.unfinished(where, "streams")
		return false
	}
	return true
}

// take takes octets from the budget.
func (in *inspector) take(where string, n int64) bool {
	if in.bytes -= n; in.bytes < 0 {
		in.unfinished(where, "octets")
		return false
	}
	return true
}

// stop tells whether the work has to end.
func (in *inspector) stop(where string) bool {
	if !in.over && in.ctx.Err() != nil {
		in.unfinished(where, "time")
	}
	return in.over
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// join names a place inside a place.
func join(where, name string) string {
	if where == "" {
		return name
	}
	return where + "/" + name
}
