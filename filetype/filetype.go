// Package filetype tells what a file is: by its octets (Detect), and what its
// name promises (ReadName). Both are needed, since Windows goes by the name,
// viewers by the octets, and mail clients by either.
//
// It looks at magic numbers and at most at a few kilobytes; it does not parse,
// unpack or decode. It never fails: what it does not know is Unknown.
//
// # Limits
//
// A text is a script only by strong signs, since people write about scripts.
// A file of two kinds (a zip behind a picture) has the type of its beginning:
// package archive looks for the rest.
package filetype

// Class is what a file can do to who opens it.
type Class uint8

const (
	Unknown    Class = iota
	Text             // plain text
	Markup           // HTML, XHTML, SVG, MHT: text with links and scripts
	Picture          // raster images
	Media            // sound and video
	Font             //
	Document         // PDF, RTF, ODF without the means of Office
	Office           // OLE and OOXML documents, with or without macros
	Archive          // zip, rar, tar, gz ...: other files inside
	DiskImage        // ISO, IMG, VHD: other files inside, without the mark of the web
	Executable       // runs when it is opened: PE, ELF, MSI, JAR, APK
	Script           // runs when it is opened, as text: js, vbs, ps1, bat, hta
	Shortcut         // starts something else: lnk, url, library-ms, application references
	Message          // mail inside: eml, msg, ics, TNEF
	Sealed           // encrypted as a whole: PGP, S/MIME
)

// String gives the class in lower case.
func (c Class) String() string {
	switch c {
	case Text:
		return "text"
	case Markup:
		return "markup"
	case Picture:
		return "picture"
	case Media:
		return "media"
	case Font:
		return "font"
	case Document:
		return "document"
	case Office:
		return "office"
	case Archive:
		return "archive"
	case DiskImage:
		return "disk image"
	case Executable:
		return "executable"
	case Script:
		return "script"
	case Shortcut:
		return "shortcut"
	case Message:
		return "message"
	case Sealed:
		return "sealed"
	}
	return "unknown"
}

// Runs tells that opening such a file starts a program of the sender's choice,
// or brings one past the warnings of the system.
func (c Class) Runs() bool {
	return c == Executable || c == Script || c == Shortcut || c == DiskImage
}

// danger ranks the classes for the choice between readings of a name.
func (c Class) danger() int {
	switch c {
	case Executable:
		return 6
	case Script, Shortcut:
		return 5
	case DiskImage:
		return 4
	case Archive, Office, Markup:
		return 3
	case Document, Message, Sealed:
		return 2
	case Unknown:
		return 0
	}
	return 1
}

// Type is a kind of file.
type Type struct {
	Name  string // "pe", "zip", "docx": short, lower-case, stable
	Class Class
}
