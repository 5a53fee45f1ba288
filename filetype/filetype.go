// Package filetype tells what a file is: by its octets (Detect), and what its
// name promises (ReadName). Both are needed, since Windows goes by the name,
// viewers by the octets, and mail clients by either.
//
// It looks at magic numbers and at most at a few kilobytes; it does not parse,
// unpack or decode. It never fails: what it does not know is Unknown.
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

// Type is a kind of file.
type Type struct {
	Name  string // "pe", "zip", "docx": short, lower-case, stable
	Class Class
}

// Detect tells the type by the octets; Unknown and Text for what has no sign.
func Detect(data []byte) Type { return Type{} }

// ByExtension tells what a program of Windows, macOS or a mail client takes a
// file of that extension for ("exe", without the dot, any case).
func ByExtension(ext string) Type { return Type{} }

// NameView is a file name as the one who clicks it is served: what Windows makes
// of it, and what is wrong with it.
type NameView struct {
	// Base is the name without folders, invisible characters and trailing dots
	// and spaces, in one width (NFKC) and lower case: what decides what opens.
	Base string
	// Extensions of Base, the deciding one first: "exe", "pdf" for
	// invoice.pdf.exe.
	Extensions []string
	Type       Type // of Extensions[0]
	// Oddities are signs of deceit: "double-extension", "clsid", "bidi",
	// "invisible", "trailing", "nul", "control", "long", "spaces", "path",
	// "stream", "look-alike".
	Oddities []string
}

// ReadName looks at one candidate name.
func ReadName(name string) NameView { return NameView{} }
