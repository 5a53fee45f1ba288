// Package document tells what a document can do to who opens it: macros,
// scripts, embedded programs, links that load something, passwords. It looks
// for the means, not for malice: OLE compound files ([MS-CFB], [MS-OVBA]),
// OOXML packages (ECMA-376), PDF (ISO 32000), RTF, HTML and SVG, OneNote.
//
// It opens no link, runs nothing and writes nothing. It fails by trait: what
// cannot be read or goes over a bound is the trait Damaged or Unfinished.
package document

import (
	"context"

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

// The IDs of traits.
const (
	Macro          = "macro"           // VBA project
	AutoMacro      = "macro.auto"      // VBA that runs on opening (AutoOpen, Document_Open, Workbook_Open)
	XLM            = "macro.xlm"       // Excel 4 macro sheet
	RemoteTemplate = "template.remote" // attachedTemplate with an http, https, file or UNC target
	ExternalLink   = "link.external"   // other relationship or OLE link that loads by itself
	DDE            = "dde"             // DDE or DDEAUTO field
	EmbeddedFile   = "embedded"        // Ole10Native package, PDF attachment, OneNote file, RTF objdata
	ActiveX        = "activex"
	EquationEditor = "equation" // Equation.3, CVE-2017-11882
	Encrypted      = "encrypted"
	PDFJavaScript  = "pdf.javascript"
	PDFLaunch      = "pdf.launch"
	PDFOpenAction  = "pdf.action"
	HTMLScript     = "html.script"
	HTMLSmuggling  = "html.smuggling" // builds a file in the browser
	HTMLForm       = "html.form"      // asks for a password
	SVGScript      = "svg.script"
	Damaged        = "damaged"
	Unfinished     = "unfinished"
)

// Limits bound the work on one document.
type Limits struct {
	Bytes   int64 // inflated octets of its streams
	Streams int
}

// DefaultLimits are for mail.
func DefaultLimits() Limits { return Limits{Bytes: 64 << 20, Streams: 4000} }

// Inspect gives the traits of a document of that type (filetype.Detect): none
// for what is no document. It is bounded by l and ctx.
func Inspect(ctx context.Context, t filetype.Type, data []byte, l Limits) []Trait { return nil }
