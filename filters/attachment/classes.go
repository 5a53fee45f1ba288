package attachment

// What is done about a class.
const (
	actionOff     = "off"
	actionObserve = "observe"
	actionScore   = "score"
	// actionDisarm: a note in place of the attachment, the original kept.
	actionDisarm = "disarm"
	actionHold   = "hold"
	actionReject = "reject"
)

// A class is one thing that an attachment may be; its name is its key and the
// second word of its symbol.
const (
	executable       = "executable"
	script           = "script"
	shortcut         = "shortcut"
	diskImage        = "disk_image"
	archiveEncrypted = "archive_encrypted"
	archiveOpaque    = "archive_opaque"
	archiveAmbiguous = "archive_ambiguous"
	bomb             = "bomb"
	macro            = "macro"
	macroAuto        = "macro_auto"
	xlm              = "xlm"
	remoteTemplate   = "remote_template"
	externalLink     = "external_link"
	dde              = "dde"
	equation         = "equation"
	embeddedObject   = "embedded_object"
	docEncrypted     = "document_encrypted"
	docDamaged       = "document_damaged"
	pdfScript        = "pdf_script"
	pdfLaunch        = "pdf_launch"
	pdfEmbedded      = "pdf_embedded"
	rtfObject        = "rtf_object"
	htmlSmuggling    = "html_smuggling"
	htmlForm         = "html_form"
	svgScript        = "svg_script"
	htmlAttachment   = "html_attachment"
	htmlActive       = "html_active"
	mismatch         = "mismatch"
	doubleExtension  = "double_extension"
	classID          = "clsid"
	bidi             = "bidi"
	hiddenName       = "hidden_name"
	longName         = "long_name"
	tooMany          = "too_many"
	tooLarge         = "too_large"
	sealed           = "sealed"
	blocked          = "blocked"
	crash            = "crash"
)

// class is what a class is by default, and how people are told of it.
type class struct {
	key    string
	in     string  // the default action for inbound mail
	points float64 // for score, hold and reject; [override] changes them
	words  string  // in the reply: "Attachment refused: <words>"
}

// classes are all of them, in the order of docs/attachments.md: of several that
// one message has, the first with the strongest action is answered.
func classes() []class {
	return []class{
		{executable, actionReject, 10, "a program or installer"},
		{script, actionReject, 10, "a script"},
		{shortcut, actionReject, 10, "a shortcut that starts something else"},
		{classID, actionReject, 10, "a name that ends in the class of a program"},
		{doubleExtension, actionReject, 10, "a name that pretends to be a document"},
		{blocked, actionReject, 10, "a file type that is not accepted here"},
		{tooLarge, actionReject, 4, "larger than accepted here"},
		{crash, actionHold, 6, "it cannot be inspected"},
		{bomb, actionHold, 6, "too large or too deep when unpacked"},
		{diskImage, actionHold, 8, "a disk image"},
		{archiveEncrypted, actionHold, 4, "an encrypted archive"},
		{archiveAmbiguous, actionHold, 5, "an archive that programs unpack differently"},
		{archiveOpaque, actionHold, 4, "an archive that cannot be inspected"},
		{macroAuto, actionHold, 6, "a document with macros that run by themselves"},
		{xlm, actionHold, 6, "a workbook with Excel 4 macros"},
		{remoteTemplate, actionHold, 6, "a document that loads its template from elsewhere"},
		{dde, actionHold, 6, "a document that calls another program (DDE)"},
		{equation, actionHold, 6, "a document with an object of the old equation editor"},
		{rtfObject, actionHold, 6, "an RTF document with an object inside"},
		{pdfLaunch, actionHold, 6, "a PDF that starts a program"},
		{htmlSmuggling, actionHold, 6, "a page that builds a file in the browser"},
		{svgScript, actionHold, 6, "a picture with a script"},
		{macro, actionScore, 3, "a document with macros"},
		{mismatch, actionScore, 3, "an attachment that is not what it says"},
		{htmlForm, actionScore, 3, "a page that asks for a password"},
		{bidi, actionScore, 3, "a name with hidden writing directions"},
		{hiddenName, actionScore, 2, "a name that hides its end"},
		{externalLink, actionScore, 2, "a document that loads from elsewhere"},
		{docEncrypted, actionScore, 2, "an encrypted document"},
		{docDamaged, actionScore, 1, "a damaged document"},
		{pdfScript, actionScore, 2, "a PDF with a script"},
		{pdfEmbedded, actionScore, 1, "a PDF with files inside"},
		{embeddedObject, actionScore, 1, "a document with an object inside"},
		{htmlAttachment, actionScore, 1, "a page"},
		{htmlActive, actionOff, 2, "active content in the text of the mail"},
		{longName, actionScore, 1, "a very long name"},
		{tooMany, actionScore, 2, "too many attachments"},
		{sealed, actionOff, 0, "encrypted mail"},
	}
}

// strength orders the actions.
func strength(action string) int {
	switch action {
	case actionObserve:
		return 1
	case actionScore:
		return 2
	case actionDisarm:
		return 3
	case actionHold:
		return 4
	case actionReject:
		return 5
	}
	return 0
}
