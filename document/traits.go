package document

// The IDs of traits.
const (
	Macro          = "macro"
	AutoMacro      = "macro.auto"
	MacroCall      = "macro.call"
	MacroType      = "macro.type"
	XLM            = "macro.xlm"
	RemoteTemplate = "template.remote"
	ExternalLink   = "link.external"
	DDE            = "dde"
	EmbeddedFile   = "embedded"
	OLEObject      = "object"
	ObjectUpdate   = "object.update"
	ActiveX        = "activex"
	EquationEditor = "equation"
	Encrypted      = "encrypted"
	Obfuscated     = "obfuscated"
	PDFJavaScript  = "pdf.javascript"
	PDFLaunch      = "pdf.launch"
	PDFOpenAction  = "pdf.action"
	PDFRemote      = "pdf.remote"
	PDFSubmit      = "pdf.submit"
	PDFXFA         = "pdf.xfa"
	PDFMedia       = "pdf.media"
	HTMLScript     = "html.script"
	HTMLHandler    = "html.handler"
	HTMLSmuggling  = "html.smuggling"
	HTMLForm       = "html.form"
	HTMLFrame      = "html.frame"
	HTMLRefresh    = "html.refresh"
	HTMLBase       = "html.base"
	HTMLApp        = "html.hta"
	SVGScript      = "svg.script"
	SVGForeign     = "svg.foreign"
	ShortcutTarget = "shortcut"
	Damaged        = "damaged"
	Unfinished     = "unfinished"
)

// IDs are all traits, in the order of docs/documents.md.
func IDs() []string {
	return []string{
		Macro, AutoMacro, MacroCall, MacroType, XLM, RemoteTemplate, ExternalLink, DDE,
		EmbeddedFile, OLEObject, ObjectUpdate, ActiveX, EquationEditor, Encrypted, Obfuscated,
		PDFJavaScript, PDFLaunch, PDFOpenAction, PDFRemote, PDFSubmit, PDFXFA, PDFMedia,
		HTMLScript, HTMLHandler, HTMLSmuggling, HTMLForm, HTMLFrame, HTMLRefresh, HTMLBase, HTMLApp,
		SVGScript, SVGForeign, ShortcutTarget, Damaged, Unfinished,
	}
}

// Meaning says in one sentence what a trait is; "" for an ID that is none.
func Meaning(id string) string {
	if m := officeMeaning(id); m != "" {
		return m
	}
	return webMeaning(id)
}

func officeMeaning(id string) string {
	switch id {
	case Macro:
		return "The document has macros: a program inside."
	case AutoMacro:
		return "The document has a macro that runs when it is opened or closed."
	case MacroCall:
		return "A macro starts programs, loads files or reaches into the system."
	case MacroType:
		return "The package declares itself macro-enabled, whatever its name says."
	case XLM:
		return "The workbook has an Excel 4 macro sheet."
	case RemoteTemplate:
		return "The document loads its template from another machine when it is opened."
	case ExternalLink:
		return "The document has an object, picture frame or link that loads from another machine by itself."
	case DDE:
		return "The document has a field or link that asks another program for data (DDE), which can start programs."
	case EmbeddedFile:
		return "There is a file inside the document; it is judged as an attachment of its own."
	case OLEObject:
		return "There is an object of another program inside the document."
	case ObjectUpdate:
		return "The document has an object that is loaded at once, without a click."
	case ActiveX:
		return "The document has an ActiveX control."
	case EquationEditor:
		return "The document has an object of the old equation editor, which has known holes (CVE-2017-11882)."
	case Encrypted:
		return "The document is encrypted: its content was not inspected."
	case Obfuscated:
		return "The document is written so that readers see different things."
	case ShortcutTarget:
		return "A shortcut, with what it starts."
	case Damaged:
		return "The document is damaged: not everything could be inspected."
	case Unfinished:
		return "The document is too large or too deep: not everything was inspected."
	}
	return ""
}

func webMeaning(id string) string {
	switch id {
	case PDFJavaScript:
		return "The PDF has JavaScript."
	case PDFLaunch:
		return "The PDF starts a program or opens a file."
	case PDFOpenAction:
		return "The PDF does something active when it is opened: a script, a program, a form that is sent."
	case PDFRemote:
		return "The PDF leads into a file of another machine."
	case PDFSubmit:
		return "The PDF sends what is typed into it to an address."
	case PDFXFA:
		return "The PDF has a form of the XFA kind, which can hold scripts."
	case PDFMedia:
		return "The PDF has rich media (Flash, video, 3D)."
	case HTMLScript:
		return "The HTML has a script."
	case HTMLHandler:
		return "The HTML has an attribute that runs a script (onload, onclick)."
	case HTMLSmuggling:
		return "The HTML builds a file in the browser or hides a large file in a link."
	case HTMLForm:
		return "The HTML asks for a password."
	case HTMLFrame:
		return "The HTML shows another page or object inside itself."
	case HTMLRefresh:
		return "The HTML leads to another page by itself, or is little more than a script from elsewhere."
	case HTMLBase:
		return "The HTML gives all its links another base address."
	case HTMLApp:
		return "The HTML is an application for Windows (HTA)."
	case SVGScript:
		return "The picture (SVG) has a script."
	case SVGForeign:
		return "The picture (SVG) has HTML inside."
	}
	return ""
}
