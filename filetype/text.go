package filetype

import "bytes"

// sniff is how much of a text is looked at for what it is.
const sniff = 2048

// controls are the control characters that text does not have: all but the white
// ones, backspace, the end of file of DOS and escape.
const controls uint32 = 0xffffffff &^ (1<<'\n' | 1<<'\r' | 1<<'\t' | 1<<'\f' | 1<<0x1b | 1<<0x1a | 1<<0x08)

// isText tells that there are no octets that text does not have.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && controls>>c&1 != 0 {
			return false
		}
	}
	return true
}

// lower writes the beginning of a text, in ASCII small letters, to room:
// UTF-16 loses every octet but those of ASCII, and so looks as what reads it
// sees it.
func lower(b []byte, room []byte) []byte {
	step, from := 1, 0
	switch {
	case has(b, 0, "\xef\xbb\xbf"):
		from = 3
	case has(b, 0, "\xff\xfe"):
		step, from = 2, 2
	case has(b, 0, "\xfe\xff"):
		step, from = 2, 3
	case len(b) >= 8 && b[1] == 0 && b[3] == 0 && b[5] == 0 && b[7] == 0 && b[0] != 0 && b[2] != 0:
		step = 2
	case len(b) >= 8 && b[0] == 0 && b[2] == 0 && b[4] == 0 && b[6] == 0 && b[1] != 0 && b[3] != 0:
		step, from = 2, 1
	}
	n := 0
	for i := from; i < len(b) && n < len(room); i += step {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		room[n] = c
		n++
	}
	return room[:n]
}

// text knows what people can read: markup, scripts, shortcuts, mail.
func text(head []byte) Type {
	var room [sniff]byte
	low := lower(head, room[:])
	start := bytes.TrimLeft(low, " \t\r\n\f\x00")
	if len(start) == 0 {
		return Type{}
	}
	switch start[0] {
	case '<':
		if t := markup(start); t.Name != "" {
			return t
		}
	case '#':
		if t := shebang(start); t.Name != "" {
			return t
		}
	case '-':
		if t := armour(start); t.Name != "" {
			return t
		}
	case '{':
		if bytes.HasPrefix(start, []byte("{\\rt")) {
			return Type{"rtf", Document} // behind white space that some readers pass over
		}
		if t := settings(start); t.Name != "" {
			return t
		}
	case '[', 'w', 'r', 'i', 'h', 'f', 's':
		if t := settings(start); t.Name != "" {
			return t
		}
	}
	if !isText(low) {
		return Type{}
	}
	if t := letter(start); t.Name != "" {
		return t
	}
	if t := script(start); t.Name != "" {
		return t
	}
	if bytes.Contains(low, []byte("<hta:application")) {
		return Type{"hta", Script}
	}
	if i := bytes.IndexByte(start, '<'); i >= 0 && i < 512 && !prose(start[:i]) {
		if t := tag(start[i:]); t.Name == "html" || t.Name == "svg" {
			return t // behind junk that browsers skip
		}
	}
	return Type{"txt", Text}
}

// markup looks at a text that begins with "<".
func markup(b []byte) Type {
	if bytes.Contains(b, []byte("<hta:application")) {
		return Type{"hta", Script}
	}
	for range 16 {
		switch {
		case bytes.HasPrefix(b, []byte("<!--")):
			i := bytes.Index(b, []byte("-->"))
			if i < 0 {
				return Type{"html", Markup} // browsers take all of it for a comment
			}
			b = b[i+3:]
		case bytes.HasPrefix(b, []byte("<?php")), bytes.HasPrefix(b, []byte("<?=")):
			return Type{"php", Script}
		case bytes.HasPrefix(b, []byte("<?mso-application")):
			return Type{"office-xml", Office}
		case bytes.HasPrefix(b, []byte("<?")):
			i := bytes.Index(b, []byte("?>"))
			if i < 0 {
				return Type{"xml", Text}
			}
			b = b[i+2:]
		case bytes.HasPrefix(b, []byte("<!doctype html")):
			return Type{"html", Markup}
		case bytes.HasPrefix(b, []byte("<!doctype svg")):
			return Type{"svg", Markup}
		case bytes.HasPrefix(b, []byte("<!")):
			i := bytes.IndexByte(b, '>')
			if i < 0 {
				return Type{"xml", Text}
			}
			b = b[i+1:]
		default:
			return tag(b)
		}
		b = bytes.TrimLeft(b, " \t\r\n\f\x00")
	}
	return Type{}
}

// tag looks at the first element.
func tag(b []byte) Type {
	if len(b) < 2 || b[0] != '<' {
		return Type{}
	}
	end := bytes.IndexAny(b[1:], " \t\r\n\f/>\x00")
	if end < 0 {
		end = len(b) - 1
	}
	name := b[1 : 1+end]
	if len(name) > 0 && name[0] != '_' && name[0] < 0x80 && (name[0] < 'a' || name[0] > 'z') {
		return Type{} // no name begins so: a text, or octets that begin by chance
	}
	if i := bytes.IndexByte(name, ':'); i > 0 {
		// Prefixes are the writer's choice; the namespace tells.
		switch local := string(name[i+1:]); {
		case local == "svg":
			return Type{"svg", Markup}
		case local == "html" && bytes.Contains(b, []byte("w3.org/1999/xhtml")):
			return Type{"html", Markup}
		case local == "worddocument", local == "package" && bytes.Contains(b, []byte("schemas.microsoft.com/office")):
			return Type{"office-xml", Office}
		}
	}
	switch string(name) {
	case "html", "head", "body", "script", "iframe", "table", "div", "meta", "title", "style", "a", "form", "img",
		"p", "h1", "center", "font", "frameset", "object", "embed", "base", "link", "span", "br", "b", "template", "input", "math":
		return Type{"html", Markup}
	case "svg":
		return Type{"svg", Markup}
	case "job", "package":
		if bytes.Contains(b, []byte("<script")) {
			return Type{"wsf", Script}
		}
	case "scriptlet", "component":
		if bytes.Contains(b, []byte("<script")) || bytes.Contains(b, []byte("<registration")) {
			return Type{"sct", Script}
		}
	case "xsl:stylesheet", "stylesheet":
		if bytes.Contains(b, []byte("urn:schemas-microsoft-com:xslt")) {
			return Type{"xsl", Script}
		}
	case "librarydescription":
		return Type{"library-ms", Shortcut}
	case "persistedquery":
		return Type{"search-ms", Shortcut}
	case "pcsettings":
		return Type{"settingcontent-ms", Shortcut}
	case "jnlp":
		return Type{"jnlp", Shortcut}
	case "asmv1:assembly", "asmv2:assembly", "assembly":
		if bytes.Contains(b, []byte("<deployment")) || bytes.Contains(b, []byte("clickonce")) {
			return Type{"application", Shortcut}
		}
	case "mmc_consolefile":
		return Type{"msc", Executable}
	case "w:worddocument", "pkg:package":
		return Type{"office-xml", Office}
	case "plist":
		if bytes.Contains(b, []byte("<key>url</key>")) {
			return Type{"webloc", Shortcut}
		}
	}
	return Type{"xml", Text}
}

// shebang names the interpreter of the first line.
func shebang(b []byte) Type {
	line := b
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		line = b[:i]
	}
	if !bytes.HasPrefix(line, []byte("#!")) || bytes.IndexByte(line, '/') < 0 {
		if bytes.HasPrefix(line, []byte("#requires -")) {
			return Type{"ps1", Script}
		}
		return script(b)
	}
	switch {
	case bytes.Contains(line, []byte("python")):
		return Type{"py", Script}
	case bytes.Contains(line, []byte("perl")):
		return Type{"pl", Script}
	case bytes.Contains(line, []byte("pwsh")):
		return Type{"ps1", Script}
	}
	return Type{"sh", Script}
}

// armour knows what is wrapped in lines of dashes.
func armour(b []byte) Type {
	switch {
	case bytes.HasPrefix(b, []byte("-----begin pgp message-----")):
		return Type{"pgp", Sealed}
	case bytes.HasPrefix(b, []byte("-----begin pgp ")):
		return Type{"asc", Text}
	case bytes.HasPrefix(b, []byte("-----begin pkcs7-----")), bytes.HasPrefix(b, []byte("-----begin cms-----")):
		return Type{"p7m", Sealed}
	}
	return Type{}
}

// settings knows the files of Windows and others that are lists of keys.
func settings(b []byte) Type {
	switch {
	case bytes.HasPrefix(b, []byte("[internetshortcut]")), bytes.HasPrefix(b, []byte("[{000214a0-")):
		return Type{"url", Shortcut}
	case bytes.HasPrefix(b, []byte("[shell]")) && bytes.Contains(b, []byte("iconfile=")):
		return Type{"scf", Shortcut}
	case bytes.HasPrefix(b, []byte("[version]")) && bytes.Contains(b, []byte("signature")):
		return Type{"inf", Executable}
	case bytes.HasPrefix(b, []byte("[autorun]")):
		return Type{"inf", Executable}
	case bytes.HasPrefix(b, []byte("[theme]")):
		return Type{"theme", Shortcut}
	case bytes.HasPrefix(b, []byte("[desktop entry]")):
		return Type{"desktop", Shortcut}
	case bytes.HasPrefix(b, []byte("windows registry editor version ")), bytes.HasPrefix(b, []byte("regedit4\r")), bytes.HasPrefix(b, []byte("regedit4\n")):
		return Type{"reg", Script}
	case bytes.HasPrefix(b, []byte("id;p")) && bytes.Contains(b, []byte("\nc;")):
		return Type{"slk", Office}
	case bytes.HasPrefix(b, []byte("web\r\n1\r\n")), bytes.HasPrefix(b, []byte("web\n1\n")):
		return Type{"iqy", Office}
	case bytes.HasPrefix(b, []byte("full address:s:")), bytes.HasPrefix(b, []byte("screen mode id:i:")):
		return Type{"rdp", Shortcut}
	case (bytes.HasPrefix(b, []byte("http://")) || bytes.HasPrefix(b, []byte("https://")) || bytes.HasPrefix(b, []byte("file://"))) &&
		bytes.Contains(b, []byte(".application#")) && bytes.Contains(b, []byte("culture=")):
		return Type{"appref-ms", Shortcut}
	}
	return Type{}
}

// letter knows mail, calendars and cards.
func letter(b []byte) Type {
	switch {
	case bytes.HasPrefix(b, []byte("begin:vcalendar")):
		return Type{"ics", Message}
	case bytes.HasPrefix(b, []byte("begin:vcard")):
		return Type{"vcf", Text}
	}
	box := false
	if bytes.HasPrefix(b, []byte("from ")) {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return Type{}
		}
		b, box = b[i+1:], true
	}
	fields, known, related, to := 0, 0, false, false
	for fields < 64 && len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			break
		}
		fields++
		if line[0] == ' ' || line[0] == '\t' {
			related = related || bytes.Contains(line, []byte("multipart/related"))
			continue
		}
		i := bytes.IndexByte(line, ':')
		if i < 2 || i > 64 || bytes.IndexByte(line[:i], ' ') >= 0 {
			return Type{}
		}
		switch string(line[:i]) {
		case "received", "message-id", "mime-version", "return-path", "content-type", "delivered-to", "dkim-signature", "content-transfer-encoding":
			known += 2
			related = related || bytes.Contains(line, []byte("multipart/related"))
		case "from", "subject", "date":
			known++
		case "to", "cc":
			known++
			to = true
		case "snapshot-content-location":
			return Type{"mht", Markup}
		}
		if line[0] == 'f' && bytes.HasPrefix(line, []byte("from: <saved by ")) {
			return Type{"mht", Markup}
		}
	}
	switch {
	case known < 4:
		return Type{}
	case box:
		return Type{"mbox", Message}
	case related && !to:
		return Type{"mht", Markup}
	}
	return Type{"eml", Message}
}

// signs is a kind of script and what in it nobody writes elsewhere.
type signs struct {
	name  string
	first []string // at the beginning: enough
	must  []string // one of these,
	with  []string // and one of these, are needed
}

// scripts are deliberately few and long: a letter, a table or an excerpt of a
// program must not be taken for a script that does harm.
var scripts = [...]signs{
	{"bat", []string{"@echo off\r", "@echo off\n", "@echo off&", "@echo off &", "@setlocal", "@powershell ", "@cmd "},
		[]string{"%~dp0", "%temp%\\", "%appdata%\\", "certutil -", "%comspec%"},
		[]string{"\nsetlocal", "cmd /c ", "start /b ", "\ngoto ", "\necho ", "\nset ", "powershell "}},
	{"js", []string{"/*@cc_on"},
		[]string{"new activexobject(", "wscript.createobject(", "wscript.shell", "wscript.sleep", "adodb.stream"},
		[]string{"var ", "function(", "function (", "eval(", "try{", "let ", "const "}},
	{"vbs", []string{"on error resume next\r", "on error resume next\n"},
		[]string{"createobject(\"wscript", "createobject(\"scripting", "createobject(\"shell", "createobject(\"msxml", "createobject(\"adodb", "executeglobal", "getobject(\"winmgmts:"},
		[]string{"dim ", "set ", "end sub", "on error resume next", ".run", "execute"}},
	{"ps1", nil,
		[]string{"invoke-expression", "net.webclient", ".downloadstring(", ".downloadfile(", "-executionpolicy bypass", "frombase64string(", "-windowstyle hidden", "[system.reflection.assembly]::load"},
		[]string{"$", "start-process ", "param(", "iex "}},
}

// script needs a sign at the very beginning, or two of one kind in what is not
// a letter.
func script(b []byte) Type {
	for i := range scripts {
		if begins(b, scripts[i].first) {
			return Type{scripts[i].name, Script}
		}
	}
	if !code(b) {
		return Type{}
	}
	for i := range scripts {
		if s := scripts[i]; contains(b, s.must) && contains(b, s.with) {
			return Type{s.name, Script}
		}
	}
	return Type{}
}

func begins(b []byte, any []string) bool {
	for _, s := range any {
		if bytes.HasPrefix(b, []byte(s)) {
			return true
		}
	}
	return false
}

func contains(b []byte, any []string) bool {
	for _, s := range any {
		if bytes.Contains(b, []byte(s)) {
			return true
		}
	}
	return false
}

// marked are the characters below 128 that programs are full of.
const (
	markedLow  uint64 = 1<<'(' | 1<<')' | 1<<'=' | 1<<'"' | 1<<';' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'+' | 1<<'\'' | 1<<'/'
	markedHigh uint64 = 1<<('{'-64) | 1<<('}'-64) | 1<<('\\'-64) | 1<<('['-64) | 1<<(']'-64) | 1<<('|'-64) | 1<<('@'-64)
)

// code tells a program from a letter about one: in a letter few characters are
// brackets, quotes or equal signs.
func code(b []byte) bool {
	marks := uint64(0)
	for _, c := range b {
		switch c >> 6 {
		case 0:
			marks += markedLow >> c & 1
		case 1:
			marks += markedHigh >> (c - 64) & 1
		}
	}
	return marks*20 >= uint64(len(b))
}
