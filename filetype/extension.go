package filetype

// longest is more than any extension that means something.
const longest = 24

// ByExtension tells what a program of Windows, macOS or a mail client takes a
// file of that extension for ("exe", without the dot, any case). It knows all
// of Outlook's level 1 list, of what Gmail refuses, and of attacks E-54.
func ByExtension(ext string) Type {
	if ext == "" || len(ext) > longest {
		return Type{}
	}
	var room [longest]byte
	n := copy(room[:], ext)
	for i := range room[:n] {
		if c := room[i]; c >= 'A' && c <= 'Z' {
			room[i] = c + 'a' - 'A'
		}
	}
	low := room[:n]
	if c := running(low); c != Unknown {
		return Type{keep(ext, low), c}
	}
	if c := resting(low); c != Unknown {
		return Type{keep(ext, low), c}
	}
	switch {
	case volume(low):
		return Type{keep(ext, low), Archive}
	case string(low) == "tmp", string(low) == "bin", string(low) == "dat":
		// On Outlook's list or not, they open in nothing, and mail programs
		// give them to what has no name ("ATT00001.bin").
		return Type{keep(ext, low), Unknown}
	}
	return Type{}
}

// keep gives the name without an allocation when it is in small letters.
func keep(ext string, low []byte) string {
	if ext == string(low) {
		return ext
	}
	return string(low)
}

// volume tells the pieces of an archive in several: 001, r00, z01, a01, c00.
func volume(e []byte) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	if len(e) != 3 || !digit(e[1]) || !digit(e[2]) {
		return false
	}
	return e[0] == '0' && (e[1] != '0' || e[2] != '0') || e[0] >= 'r' && e[0] <= 'z'
}

// running are the extensions that start something.
func running(e []byte) Class {
	switch string(e) {
	case "exe", "com", "pif", "scr", "cpl", "dll", "ocx", "sys", "drv", "vxd", "efi", "mui", "ax", "acm", "tsp", "fon",
		"msi", "msp", "mst", "msix", "msixbundle", "appx", "appxbundle", "appinstaller", "msu", "app", "apk", "aab", "xpi", "crx", "ipa",
		"jar", "class", "dex", "chm", "hlp", "gadget", "application", "diagcab", "diagcfg", "diagpkg",
		"ade", "adp", "mda", "mdb", "mde", "mdn", "mdt", "mdw", "mdz", "mad", "maf", "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw",
		"accda", "accdb", "accdc", "accde", "accdp", "accdr", "accdt", "accdu", "accft",
		"msc", "xll", "wll", "ins", "isp", "inf", "its", "ops", "pcd", "plg", "prf", "prg", "grp",
		"shs", "shb", "ex", "ex_", "lib", "nsh", "so", "dylib", "elf", "run", "deb", "rpm", "pkg", "mpkg", "command", "workflow", "action",
		"asd", "vbx", "386", "swf", "xbap", "xnk", "cnt", "bgi", "hpj", "osd", "asa", "vsmacros",
		"scpt", "scptd", "applescript", "out", "bas", "fxp", "mcf", "msh", "msh1", "msh2", "mshxml", "msh1xml", "msh2xml", "printerexport", "sct", "wsc",
		"vsw", "wsb", "webpnp", "cdxml", "pssc", "mof", "psc1", "psc2", "theme", "themepack", "deskthemepack", "msstyles", "sdb":
		return executableOr(e)
	case "vb", "vbs", "vbe", "vbp", "js", "jse", "mjs", "wsf", "wsh", "ws", "hta", "htc", "bat", "cmd", "btm",
		"ps1", "ps1xml", "ps2", "ps2xml", "psm1", "psdm1", "psd1", "psh",
		"py", "pyc", "pyo", "pyw", "pyz", "pyzw", "pyd", "pl", "plx", "rb", "php", "php3", "phtml", "asp", "aspx", "jsp",
		"sh", "bash", "zsh", "ksh", "csh", "tcl", "reg", "ahk", "au3", "kix", "xsl", "xslt":
		return Script
	case "lnk", "url", "scf", "desktop", "webloc", "inetloc", "fileloc", "website", "library-ms", "search-ms", "searchconnector-ms",
		"settingcontent-ms", "appcontent-ms", "appref-ms", "jnlp", "jnl", "rdp", "mcl", "udl", "mapimail", "zfsendtotarget", "desklink":
		return Shortcut
	case "iso", "img", "ima", "vhd", "vhdx", "vhdt", "vmdk", "vdi", "vbhd", "avhd", "avhdx", "udf", "dmg", "sparseimage", "sparsebundle", "toast", "nrg", "mdf", "mds", "cue", "ccd", "isz", "wim", "swm", "esd", "qcow2", "vfd", "daa", "uif", "hfs":
		return DiskImage
	}
	return Unknown
}

// executableOr sorts out what of the long list is a script or a shortcut.
func executableOr(e []byte) Class {
	switch string(e) {
	case "sct", "wsc", "msh", "msh1", "msh2", "mshxml", "msh1xml", "msh2xml", "scpt", "scptd", "applescript", "command", "bas", "psc1", "psc2", "cdxml", "pssc", "asa":
		return Script
	case "theme", "themepack", "deskthemepack", "webpnp", "printerexport", "xnk":
		return Shortcut
	}
	return Executable
}

// resting are the extensions that are shown, unpacked or played.
func resting(e []byte) Class {
	switch string(e) {
	case "txt", "text", "log", "csv", "tsv", "md", "ini", "cfg", "conf", "json", "xml", "yml", "yaml", "css", "c", "h", "cpp", "java", "go", "rs", "cs", "sql", "tex", "diff", "patch", "nfo", "srt", "vcf", "vcard", "asc", "dtd", "xsd", "po", "properties", "toml", "bib", "key":
		return Text
	case "htm", "html", "xhtml", "xht", "shtml", "shtm", "dhtml", "mht", "mhtml", "svg", "svgz", "htmls", "xhtm", "hxt", "stm":
		return Markup
	case "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "dib", "tif", "tiff", "webp", "heic", "heif", "avif", "ico", "cur", "psd", "jp2", "jxl", "emf", "wmf", "raw", "cr2", "nef", "dng", "xcf", "pcx", "tga":
		return Picture
	case "mp3", "wav", "asx", "ogg", "oga", "opus", "flac", "m4a", "aac", "wma", "amr", "mid", "midi", "aif", "aiff", "mp4", "m4v", "mov", "avi", "mkv", "webm", "wmv", "mpg", "mpeg", "flv", "3gp", "caf":
		return Media
	case "ttf", "otf", "woff", "woff2", "ttc", "eot":
		return Font
	case "pdf", "rtf", "odt", "ott", "ods", "ots", "odp", "otp", "odg", "odf", "odb", "ps", "eps", "xps", "oxps", "epub", "djvu", "dwg", "dxf", "pages", "numbers", "mobi", "wpd", "wri", "ai", "indd":
		return Document
	case "doc", "dot", "docx", "dotx", "docm", "dotm", "xls", "xlt", "xlm", "xla", "xlw", "xlsx", "xltx", "xlsm", "xltm", "xlam", "xlsb", "ppt", "pot", "pps", "ppa", "pptx", "potx", "ppsx", "pptm", "potm", "ppsm", "ppam", "sldx", "sldm", "one", "onetoc2", "onepkg", "pub", "vsd", "vsdx", "vsdm", "vss", "vst", "vssm", "vstm", "mpp", "mpt", "iqy", "oqy", "rqy", "dqy", "slk", "wbk", "hwp", "wiz", "odc":
		return Office
	case "zip", "zipx", "rar", "7z", "z7", "tar", "gz", "tgz", "bz", "bz2", "tbz", "tbz2", "xz", "txz", "zst", "tzst", "lz", "lz4", "lzma", "tlz", "z", "taz", "lzo", "br", "cab", "ace", "arj", "lha", "lzh", "zoo", "arc", "alz", "egg", "sit", "sitx", "hqx", "cpio", "ar", "xar", "kmz", "war", "ear", "uue", "uu", "xxe", "pak", "pea", "paq", "cbz", "cbr", "rev", "part":
		return Archive
	case "eml", "emlx", "msg", "oft", "mbox", "mbx", "ics", "ical", "ifb", "vcs", "tnef", "pst", "ost", "nws", "rwz":
		return Message
	case "p7m", "pgp", "gpg", "p7z", "p7e", "aes", "enc", "axx":
		return Sealed
	case "p7s", "p7b", "p7c", "cer", "crt", "pem", "der", "sig", "pfx", "p12":
		return Document
	}
	return Unknown
}
