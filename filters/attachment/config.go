package attachment

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"garita/archive"
	"garita/filetype"
	"garita/mail"
)

// Config is the table [check.attachment].
type Config struct {
	Mode string `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no class does more."`
	Actions
	Extensions       []string      `toml:"extensions" doc:"Extensions to refuse besides those of the classes (attachment.blocked), without the dot. The default is the list of old that administrators copy from each other."`
	Types            []string      `toml:"types" doc:"Declared media types to refuse (attachment.blocked): \"application/x-msdownload\", \"video/*\"."`
	Allow            []string      `toml:"allow" doc:"Extensions that are let pass although they are programs, scripts, shortcuts or disk images: \"py\". Octets of another such kind are still seen."`
	MaxCount         int           `toml:"max_count" doc:"Attachments of a message beyond which it is too_many. 0: no bound."`
	MaxSize          int64         `toml:"max_size" unit:"bytes" doc:"Octets of one attachment, decoded, beyond which it is too_large. 0: no bound but that of the message."`
	ExceptRecipients []string      `toml:"except_recipients" doc:"Addresses and domains whose mail is only observed, from all classes or from those behind it: \"ana@our.example macro archive_encrypted\". Counts only when all recipients of a message are in it: else the strongest verdict holds for all."`
	ExceptSenders    []string      `toml:"except_senders" doc:"Addresses and domains of envelope senders whose mail is only observed, from all classes or from those behind it. Anybody can claim to be them: name only what nobody forges to you."`
	AtOnce           int           `toml:"at_once" doc:"Messages with attachments that are inspected at once; others wait. A quarter more is for small ones alone. 0: the number of CPUs, at least 2."`
	Timeout          time.Duration `toml:"timeout" doc:"For waiting and inspecting together; after it the answer is 451."`
	Archives         Archives      `toml:"archives" doc:"Bounds on what is unpacked, for one message, all its archives and documents together. Beyond one of them the class is bomb."`
	Out              Actions       `toml:"out" doc:"The same classes for mail that our users send; an empty action is that of inbound mail." brief:"true"`
}

// Actions are the classes, each with what is done.
type Actions struct {
	Executable        string `toml:"executable" enum:",off,observe,score,disarm,hold,reject" doc:"A program or installer, by name or by octets: exe, msi, jar, apk, cpl, chm and what else starts when it is opened."`
	Script            string `toml:"script" enum:",off,observe,score,disarm,hold,reject" doc:"A script: js, vbs, ps1, bat, hta, py, reg; by octets only where the name is not that of a text."`
	Shortcut          string `toml:"shortcut" enum:",off,observe,score,disarm,hold,reject" doc:"What starts something else: lnk, url, library-ms, search-ms, appref-ms."`
	CLSID             string `toml:"clsid" enum:",off,observe,score,disarm,hold,reject" doc:"A name that ends in the class of a program, \".{...}\", which Windows starts and never shows."`
	DoubleExtension   string `toml:"double_extension" enum:",off,observe,score,disarm,hold,reject" doc:"A name like invoice.pdf.exe."`
	Blocked           string `toml:"blocked" enum:",off,observe,score,disarm,hold,reject" doc:"What extensions and types name."`
	TooLarge          string `toml:"too_large" enum:",off,observe,score,disarm,hold,reject" doc:"Larger than max_size."`
	Crash             string `toml:"crash" enum:",off,observe,score,hold,reject" doc:"A decoder failed on it in an unforeseen way, or the message made the check fail twice."`
	Bomb              string `toml:"bomb" enum:",off,observe,score,disarm,hold,reject" doc:"Over a bound of [check.attachment.archives]: not everything was looked at."`
	DiskImage         string `toml:"disk_image" enum:",off,observe,score,disarm,hold,reject" doc:"iso, img, vhd, vhdx, udf, dmg: what is in them lacks the mark of the web."`
	ArchiveEncrypted  string `toml:"archive_encrypted" enum:",off,observe,score,disarm,hold,reject" doc:"An archive with a password. The names inside are checked all the same where they can be read."`
	ArchiveAmbiguous  string `toml:"archive_ambiguous" enum:",off,observe,score,disarm,hold,reject" doc:"An archive that unpackers read differently."`
	ArchiveOpaque     string `toml:"archive_opaque" enum:",off,observe,score,disarm,hold,reject" doc:"An archive that is corrupt, of several volumes, or of a kind that is not unpacked here."`
	MacroAuto         string `toml:"macro_auto" enum:",off,observe,score,disarm,hold,reject" doc:"Macros that run when the document is opened, or that start programs."`
	XLM               string `toml:"xlm" enum:",off,observe,score,disarm,hold,reject" doc:"Excel 4 macro sheets."`
	RemoteTemplate    string `toml:"remote_template" enum:",off,observe,score,disarm,hold,reject" doc:"A template from another machine."`
	DDE               string `toml:"dde" enum:",off,observe,score,disarm,hold,reject" doc:"DDE fields."`
	Equation          string `toml:"equation" enum:",off,observe,score,disarm,hold,reject" doc:"An object of the old equation editor (Equation 3.0), which has holes that nobody mends (CVE-2017-11882). MathType is another program."`
	RTFObject         string `toml:"rtf_object" enum:",off,observe,score,disarm,hold,reject" doc:"RTF with OLE objects."`
	PDFLaunch         string `toml:"pdf_launch" enum:",off,observe,score,disarm,hold,reject" doc:"A PDF that starts a program or opens a file."`
	HTMLSmuggling     string `toml:"html_smuggling" enum:",off,observe,score,disarm,hold,reject" doc:"HTML or SVG that builds a file in the browser."`
	SVGScript         string `toml:"svg_script" enum:",off,observe,score,disarm,hold,reject" doc:"SVG with a script."`
	Macro             string `toml:"macro" enum:",off,observe,score,disarm,hold,reject" doc:"Any VBA macros, or a name that promises them (docm, xlsm, xlam)."`
	Mismatch          string `toml:"mismatch" enum:",off,observe,score,disarm,hold,reject" doc:"Name, declared type and octets disagree in a dangerous way: an archive, page or document as a picture or PDF. application/octet-stream is no mismatch."`
	HTMLForm          string `toml:"html_form" enum:",off,observe,score,disarm,hold,reject" doc:"An attached page that asks for a password, leads to another by itself, or is next to nothing but a script from elsewhere."`
	Bidi              string `toml:"bidi" enum:",off,observe,score,disarm,hold,reject" doc:"Writing directions in a name (U+202E), with nothing that runs behind them."`
	HiddenName        string `toml:"hidden_name" enum:",off,observe,score,disarm,hold,reject" doc:"A name with a NUL, control or invisible characters, ten spaces in a row, dots or spaces behind the end of a program, a stream or a path."`
	ExternalLink      string `toml:"external_link" enum:",off,observe,score,disarm,hold,reject" doc:"A document that loads pictures or data from elsewhere by itself."`
	DocumentEncrypted string `toml:"document_encrypted" enum:",off,observe,score,disarm,hold,reject" doc:"An Office document or PDF with a password."`
	DocumentDamaged   string `toml:"document_damaged" enum:",off,observe,score,disarm,hold,reject" doc:"A document that could not be read to its end."`
	PDFScript         string `toml:"pdf_script" enum:",off,observe,score,disarm,hold,reject" doc:"A PDF with JavaScript."`
	PDFEmbedded       string `toml:"pdf_embedded" enum:",off,observe,score,disarm,hold,reject" doc:"A PDF with files inside; they are judged as attachments, too."`
	EmbeddedObject    string `toml:"embedded_object" enum:",off,observe,score,disarm,hold,reject" doc:"OLE objects and ActiveX controls in a document; files in them are judged as attachments, too."`
	HTMLAttachment    string `toml:"html_attachment" enum:",off,observe,score,disarm,hold,reject" doc:"An HTML or SVG file as an attachment; never the text of the mail."`
	HTMLActive        string `toml:"html_active" enum:",off,observe,score,disarm,hold,reject" doc:"Scripts, frames, forms, objects and handlers in the text of the mail itself. Mail programs run none of them, and newsletters are full of them: made for disarm, which takes them out."`
	LongName          string `toml:"long_name" enum:",off,observe,score,disarm,hold,reject" doc:"A name of more than 150 characters."`
	TooMany           string `toml:"too_many" enum:",off,observe,score,hold,reject" doc:"More attachments than max_count."`
	Sealed            string `toml:"sealed" enum:",off,observe,score,hold,reject" doc:"S/MIME or PGP encrypted: nothing can be looked at."`
}

// Archives is the table [check.attachment.archives].
type Archives struct {
	Depth    int           `toml:"depth" doc:"Archives inside archives."`
	Members  int           `toml:"members" doc:"Members of all archives."`
	Unpacked int64         `toml:"unpacked" unit:"bytes" doc:"Unpacked octets of all archives."`
	Member   int64         `toml:"member" unit:"bytes" doc:"Unpacked octets of one member that are looked at; it bounds the memory of an inspection."`
	Ratio    int64         `toml:"ratio" doc:"Unpacked octets for each packed one, beyond the first megabyte."`
	Time     time.Duration `toml:"time" doc:"For all archives and documents."`
	Document int64         `toml:"document" unit:"bytes" doc:"Inflated octets of one document."`
}

// Default refuses what runs, and holds what cannot be looked at.
func Default() Config {
	l := archive.DefaultLimits()
	c := Config{
		Mode:       mail.Enforce.String(),
		Extensions: strings.Fields("asd bat chm cmd com dll hlp hta js jse ocx pif scr shb shs vb vbe vbs vbx wsf wsh"),
		Types:      []string{}, Allow: []string{}, ExceptRecipients: []string{}, ExceptSenders: []string{},
		MaxCount: 200, Timeout: time.Minute,
		Archives: Archives{Depth: l.Depth, Members: l.Entries, Unpacked: l.Bytes, Member: l.Member, Ratio: l.Ratio, Time: l.Time, Document: 128 << 20},
	}
	for _, k := range classes() {
		*c.Actions.field(k.key) = k.in
	}
	return c
}

// field is the action of a class.
func (a *Actions) field(key string) *string {
	switch key {
	case executable:
		return &a.Executable
	case script:
		return &a.Script
	case shortcut:
		return &a.Shortcut
	case classID:
		return &a.CLSID
	case doubleExtension:
		return &a.DoubleExtension
	case blocked:
		return &a.Blocked
	case tooLarge:
		return &a.TooLarge
	case crash:
		return &a.Crash
	case bomb:
		return &a.Bomb
	case diskImage:
		return &a.DiskImage
	case archiveEncrypted:
		return &a.ArchiveEncrypted
	case archiveAmbiguous:
		return &a.ArchiveAmbiguous
	case archiveOpaque:
		return &a.ArchiveOpaque
	case macroAuto:
		return &a.MacroAuto
	case xlm:
		return &a.XLM
	case remoteTemplate:
		return &a.RemoteTemplate
	case dde:
		return &a.DDE
	case equation:
		return &a.Equation
	case rtfObject:
		return &a.RTFObject
	case pdfLaunch:
		return &a.PDFLaunch
	case htmlSmuggling:
		return &a.HTMLSmuggling
	case svgScript:
		return &a.SVGScript
	case macro:
		return &a.Macro
	case mismatch:
		return &a.Mismatch
	case htmlForm:
		return &a.HTMLForm
	case bidi:
		return &a.Bidi
	case hiddenName:
		return &a.HiddenName
	case externalLink:
		return &a.ExternalLink
	case docEncrypted:
		return &a.DocumentEncrypted
	case docDamaged:
		return &a.DocumentDamaged
	case pdfScript:
		return &a.PDFScript
	case pdfEmbedded:
		return &a.PDFEmbedded
	case embeddedObject:
		return &a.EmbeddedObject
	case htmlAttachment:
		return &a.HTMLAttachment
	case htmlActive:
		return &a.HTMLActive
	}
	return a.rest(key)
}

// rest is field for classes that are about names and whole messages.
func (a *Actions) rest(key string) *string {
	switch key {
	case longName:
		return &a.LongName
	case tooMany:
		return &a.TooMany
	case sealed:
		return &a.Sealed
	}
	panic("attachment: no class " + key)
}

// actions are what is done about each class in one direction.
func (c *Config) actions(d mail.Direction) map[string]string {
	m := map[string]string{}
	for _, k := range classes() {
		m[k.key] = *c.Actions.field(k.key)
		if own := *c.Out.field(k.key); d == mail.Out && own != "" {
			m[k.key] = own
		}
	}
	return m
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := mail.ParseMode(c.Mode); !ok {
		bad("mode = %q: must be off, observe, score or enforce", c.Mode)
	}
	for _, k := range classes() {
		if a := *c.Actions.field(k.key); strength(a) == 0 && a != actionOff {
			bad("%s = %q: must be off, observe, score, disarm, hold or reject", k.key, a)
		} else if a == actionDisarm && !removable(k.key) {
			bad("%s = %q: there is no part of the message to put a note in place of; hold it", k.key, a)
		}
		if a := *c.Out.field(k.key); strength(a) == 0 && a != actionOff && a != "" {
			bad("out.%s = %q: must be off, observe, score, disarm, hold, reject, or empty for that of inbound mail", k.key, a)
		} else if a == actionDisarm && !removable(k.key) {
			bad("out.%s = %q: there is no part of the message to put a note in place of; hold it", k.key, a)
		}
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"extensions", c.Extensions}, {"allow", c.Allow}} {
		for i, e := range l.list {
			if e == "" || strings.ContainsAny(e, ". */\\") || e != strings.ToLower(e) {
				bad("%s[%d] = %q: write an extension in small letters and without the dot: \"exe\"", l.key, i, e)
			} else if l.key == "allow" && !filetype.ByExtension(e).Class.Runs() {
				bad("allow[%d] = %q: it is of no class that could be allowed; take it out", i, e)
			}
		}
	}
	for i, e := range c.Types {
		if kind, sub, ok := strings.Cut(e, "/"); !ok || kind == "" || sub == "" || strings.Contains(kind, "*") || e != strings.ToLower(e) {
			bad("types[%d] = %q: write a media type in small letters: \"video/*\"", i, e)
		}
	}
	errs = append(errs, parties("except_recipients", c.ExceptRecipients)...)
	errs = append(errs, parties("except_senders", c.ExceptSenders)...)
	return append(errs, c.bounds()...)
}

// bounds gives the mistakes in numbers.
func (c *Config) bounds() (errs []error) {
	for _, b := range []struct {
		key           string
		value, lo, hi int64
	}{
		{"max_count", int64(c.MaxCount), 0, 1 << 20},
		{"max_size", c.MaxSize, 0, 1 << 40},
		{"at_once", int64(c.AtOnce), 0, 1 << 10},
		{"archives.depth", int64(c.Archives.Depth), 1, 30},
		{"archives.members", int64(c.Archives.Members), 1, 1 << 20},
		{"archives.unpacked", c.Archives.Unpacked, 1 << 20, 1 << 40},
		{"archives.member", c.Archives.Member, 1 << 16, 1 << 32},
		{"archives.ratio", c.Archives.Ratio, 10, 1 << 20},
		{"archives.document", c.Archives.Document, 1 << 16, 1 << 34},
	} {
		if b.value < b.lo || b.value > b.hi {
			errs = append(errs, fmt.Errorf("%s = %d: must be from %d to %d", b.key, b.value, b.lo, b.hi))
		}
	}
	for _, b := range []struct {
		key   string
		value time.Duration
	}{{"timeout", c.Timeout}, {"archives.time", c.Archives.Time}} {
		if b.value < time.Second || b.value > 10*time.Minute {
			errs = append(errs, fmt.Errorf("%s = %v: must be from 1s to 10m", b.key, b.value))
		}
	}
	if c.Archives.Time > c.Timeout {
		errs = append(errs, fmt.Errorf("archives.time = %v: must not be longer than timeout, %v", c.Archives.Time, c.Timeout))
	}
	return errs
}

func (c *Config) atOnce() int {
	if c.AtOnce > 0 {
		return c.AtOnce
	}
	return max(2, runtime.GOMAXPROCS(0))
}

func (c *Config) limits() archive.Limits {
	a := c.Archives
	return archive.Limits{Depth: a.Depth, Entries: a.Members, Bytes: a.Unpacked, Member: a.Member, Ratio: a.Ratio, Time: a.Time}
}

// parties gives the mistakes in a list of addresses and domains.
func parties(key string, list []string) (errs []error) {
	known := map[string]bool{}
	for _, c := range classes() {
		known[c.key] = true
	}
	for i, e := range list {
		words := strings.Fields(e)
		if len(words) == 0 {
			words = []string{""}
		}
		domain := words[0]
		for _, class := range words[1:] {
			if !known[class] {
				errs = append(errs, fmt.Errorf("%s[%d] = %q: %q is not a class: \"ana@our.example macro archive_encrypted\"", key, i, e, class))
			}
		}
		if at := strings.LastIndexByte(domain, '@'); at >= 0 {
			domain = domain[at+1:]
			if at == 0 {
				domain = ""
			}
		}
		if !mail.ValidDomain(domain, true) {
			errs = append(errs, fmt.Errorf("%s[%d] = %q: must be an address or a domain: \"ana@our.example\", \"our.example\"", key, i, e))
		}
	}
	return errs
}

// Memory is what inspections may take at once, in octets: of each an archive's
// member and what is decoded of it.
func (c *Config) Memory() int64 { return int64(c.atOnce()) * 2 * c.Archives.Member }
