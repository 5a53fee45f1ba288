package document

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// vbaProject is what the directory of a compound file tells of its macros.
type vbaProject struct {
	storages []int // the VBA storages
	offsets  map[string]uint32
	found    bool
}

// note remembers a _VBA_PROJECT or dir stream.
func (v *vbaProject) note(c *compound, i int) {
	e := &c.entries[i]
	if strings.EqualFold(e.name, "dir") && !strings.EqualFold(c.parentName(i), "vba") {
		return
	}
	v.found = true
	for _, s := range v.storages {
		if s == e.parent {
			return
		}
	}
	if len(v.storages) < 16 {
		v.storages = append(v.storages, e.parent)
	}
}

// vba reads the modules of the macros that were found.
func (in *inspector) vba(where string, c *compound, v *vbaProject) {
	if !v.found {
		return
	}
	for _, storage := range v.storages {
		place := where
		if storage > 0 {
			place = join(where, c.path(storage))
		}
		var code, names []byte
		total := 0
		for i := range c.entries {
			e := &c.entries[i]
			if e.parent != storage || e.kind != cfbStream {
				continue
			}
			if !in.open(place) {
				break
			}
			b := c.read(e)
			if !in.take(place, int64(len(b))) {
				break
			}
			low := strings.ToLower(e.name)
			switch {
			case low == "_vba_project":
				names = b
			case low == "dir", strings.HasPrefix(low, "__srp_"):
			default:
				code = append(code, in.module(place, b)...)
				total += len(b)
			}
		}
		text := ""
		if onlyAttributes(code) {
			// Either an empty project, which Excel makes of itself, or one whose
			// source was taken out and whose compiled form runs ("stomping").
			text = "no source"
		}
		in.add(Macro, place, text)
		// Names in the compiled project count too: a stomped one has no source.
		in.macroWords(place, code, names)
	}
}

// module gives the source in a module stream: a compressed container behind the
// compiled form. Every container begins with the line "Attribute VB_Name",
// whose first literals stand uncompressed, so its place needs no offset that a
// hostile dir stream could falsify.
func (in *inspector) module(where string, b []byte) []byte {
	var out []byte
	rest := b
	for range 4 {
		i := bytes.Index(rest, []byte("\x00Attribut"))
		if i < 0 {
			break
		}
		if i >= 3 {
			src, err := decompressVBA(rest[i-3:], min(in.bytes, 8<<20))
			if len(src) > 0 && !in.take(where, int64(len(src))) {
				return out
			}
			if err != nil && len(src) == 0 {
				in.add(Damaged, where, "macro source")
			}
			out = append(append(out, src...), '\n')
		}
		rest = rest[i+9:]
	}
	if len(out) == 0 && len(b) > 0 && b[0] == 1 {
		src, _ := decompressVBA(b, min(in.bytes, 8<<20))
		if in.take(where, int64(len(src))) {
			out = src
		}
	}
	return out
}

var errVBA = errors.New("document: not a compressed container")

// decompressVBA expands a CompressedContainer ([MS-OVBA] 2.4.1.3): chunks of
// 4096 octets, each a row of flag octets with eight literals or copies. It gives
// what was there before a fault, up to limit octets.
func decompressVBA(b []byte, limit int64) ([]byte, error) {
	if len(b) < 3 || b[0] != 1 {
		return nil, errVBA
	}
	var out []byte
	for pos := 1; pos+2 <= len(b); {
		head := binary.LittleEndian.Uint16(b[pos:])
		if head>>12&7 != 3 {
			return out, errVBA
		}
		end := min(pos+int(head&0xFFF)+3, len(b))
		pos += 2
		if int64(len(out))+4096 > limit {
			return out, nil
		}
		if head&0x8000 == 0 {
			out = append(out, b[pos:min(pos+4096, len(b))]...)
			pos += 4096
			continue
		}
		var ok bool
		if out, ok = expandChunk(out, b[pos:end]); !ok {
			return out, errVBA
		}
		pos = end
	}
	return out, nil
}

// expandChunk appends one chunk. Copies reach back within the chunk alone, so
// none makes more than 4096 octets.
func expandChunk(out, b []byte) ([]byte, bool) {
	start := len(out)
	for len(b) > 0 {
		flags := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(b) > 0; bit++ {
			if flags>>bit&1 == 0 {
				if len(out)-start >= 4096 {
					return out, false
				}
				out = append(out, b[0])
				b = b[1:]
				continue
			}
			if len(b) < 2 {
				return out, false
			}
			token := binary.LittleEndian.Uint16(b)
			b = b[2:]
			done := len(out) - start
			bits := 4
			for 1<<bits < done {
				bits++
			}
			bits = min(bits, 12)
			length := int(token&(0xFFFF>>bits)) + 3
			back := int(token>>(16-bits)) + 1
			if back > done || done+length > 4096 {
				return out, false
			}
			for range length {
				out = append(out, out[len(out)-back])
			}
		}
	}
	return out, true
}

// onlyAttributes tells whether source has no line but attributes and comments.
func onlyAttributes(code []byte) bool {
	for line := range bytes.Lines(code) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '\'' && !hasPrefixFold(line, "attribute ") && !hasPrefixFold(line, "option ") {
			return false
		}
	}
	return true
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// macroWords looks for macros that run by themselves and for what they call.
func (in *inspector) macroWords(where string, code, compiled []byte) {
	var calls []string
	note := func(word string, inCode bool) {
		switch {
		case autoName(word):
			in.add(AutoMacro, where, word)
		case inCode && callName(word) && len(calls) < 20:
			calls = appendNew(calls, word)
		}
	}
	eachWord(code, func(w string) { note(w, true) })
	eachWord(compiled, func(w string) { note(w, false) })
	if len(calls) > 0 {
		in.add(MacroCall, where, strings.Join(calls, ", "))
	}
}

// eachWord gives the identifiers of b, in lower case, those of 5 to 40 letters.
func eachWord(b []byte, visit func(string)) {
	var buf [40]byte
	for i := 0; i < len(b); {
		if !wordByte(b[i]) {
			i++
			continue
		}
		from := i
		for i < len(b) && wordByte(b[i]) {
			i++
		}
		if n := i - from; n >= 5 && n <= len(buf) {
			for j := range n {
				buf[j] = lower(b[from+j])
			}
			visit(string(buf[:n]))
		}
	}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// autoName tells whether Office calls a procedure of that name by itself: on
// opening, closing, or when a control of the first page is drawn.
func autoName(w string) bool {
	switch w {
	case "autoexec", "autoopen", "autoclose", "autoexit", "autonew", "auto_open", "auto_close",
		"auto_activate", "auto_deactivate", "auto_add", "auto_remove",
		"document_open", "document_close", "document_new", "document_beforeclose",
		"documentopen", "documentclose", "documentbeforesave", "document_contentcontrolonenter",
		"workbook_open", "workbook_close", "workbook_activate", "workbook_deactivate",
		"workbook_beforeclose", "workbook_windowactivate", "workbookopen", "workbook_addininstall",
		"app_documentopen", "app_workbookopen", "presentationopen", "app_presentationopen",
		"onslideshowpagechange", "slideshowbegin", "application_startup", "application_newmailex":
		return true
	}
	for _, end := range []string{"_onconnecting", "_painted", "_painting", "_documentcomplete", "_downloadbegin",
		"_downloadcomplete", "_navigatecomplete2", "_mousehover", "_gotfocus", "_layout", "_activate",
		"_statechange", "_beforenavigate2", "_onload"} {
		if strings.HasSuffix(w, end) {
			return true
		}
	}
	return false
}

// callName tells whether a word of a macro reaches out of the document.
func callName(w string) bool {
	switch w {
	case "shell", "createobject", "getobject", "callbyname", "wscript", "shellexecute", "shellexecutea",
		"shellexecutew", "powershell", "urldownloadtofile", "urldownloadtofilea", "urldownloadtofilew",
		"xmlhttp", "serverxmlhttp", "winhttp", "winhttprequest", "adodb", "savetofile", "responsebody",
		"virtualalloc", "virtualallocex", "virtualprotect", "rtlmovememory", "createthread",
		"createremotethread", "writeprocessmemory", "macscript", "applescripttask", "winmgmts",
		"win32_process", "mshta", "regsvr32", "rundll32", "certutil", "bitsadmin", "environ",
		"regwrite", "executeexcel4macro", "enumsystemlocalesa", "callwindowproca", "frombase64string":
		return true
	}
	return false
}
