package document

import (
	"bytes"
	"strconv"
	"strings"
)

// officeXML looks at one part of an OOXML package: relationships, content types,
// fields, links. What it looks for is told by names of elements, so that any part
// may hold anything.
func (in *inspector) officeXML(where string, b []byte) {
	if !anyOf(b, "Relationship", "Override", "instrText", "fldSimple", "ddeLink", "ppaction:", "onLoad", "definedName",
		"oleLink", "altChunk", "Default", "encryption", "OLEObject", "oleObj") {
		return
	}
	s := xmlScan{b: b}
	f := fieldReader{in: in, where: where}
	inText := false
	for n := 0; ; n++ {
		t, ok := s.next()
		if !ok || n%4096 == 4095 && in.stop(where) {
			break
		}
		if t.name == "" {
			if inText {
				f.write(t.text)
			}
			continue
		}
		if t.name == "instrText" || t.name == "delInstrText" {
			inText = !t.end && !t.empty
			continue
		}
		if t.end {
			if t.name == "p" && f.open() > 64 {
				f.flush()
			}
			continue
		}
		in.officeTag(where, &t, &f)
	}
	f.flush()
}

func anyOf(b []byte, words ...string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// officeTag judges one start tag.
func (in *inspector) officeTag(where string, t *xmlTag, f *fieldReader) {
	switch t.name {
	case "Relationship":
		in.relationship(where, t)
	case "Override", "Default":
		in.contentType(where, strings.ToLower(t.attr("ContentType")))
	case "fldSimple":
		in.fieldText(where, t.attr("instr"))
	case "fldChar":
		f.mark(t.attr("fldCharType"))
	case "OLEObject", "oleObj", "oleObject":
		in.objectTag(where, t)
	case "ddeLink":
		in.add(DDE, where, t.attr("ddeService")+" "+t.attr("ddeTopic"))
	case "definedName":
		name := strings.ToLower(t.attr("name"))
		if name := strings.TrimPrefix(name, "_xlnm."); strings.HasPrefix(name, "auto_open") || strings.HasPrefix(name, "auto_close") || strings.HasPrefix(name, "auto_activate") {
			in.add(AutoMacro, where, name)
		}
	case "customUI":
		if v := t.attr("onLoad"); v != "" {
			in.add(xmlLoad, where, "onLoad "+v)
		}
	case "hlinkClick", "hlinkMouseOver", "hlinkHover":
		if a := strings.ToLower(t.attr("action")); strings.HasPrefix(a, "ppaction://program") || strings.HasPrefix(a, "ppaction://ole") && t.name != "hlinkClick" {
			in.add(ExternalLink, where, a)
		}
	}
}

// relationship judges one relationship (ECMA-376 part 2, 9.3): those that load by
// themselves. A hyperlink waits for a click and is no trait, but for schemes that
// start something.
func (in *inspector) relationship(where string, t *xmlTag) {
	kind, target := t.attr("Type"), t.attr("Target")
	kind = strings.ToLower(kind[strings.LastIndexByte(kind, '/')+1:])
	external := strings.EqualFold(t.attr("TargetMode"), "External")
	low := strings.ToLower(strings.TrimSpace(target))
	if kind == "oleobject" || kind == "package" {
		in.objects = true
	}
	switch kind {
	case "vbaproject":
		in.add(Macro, where, target)
		return
	case "xlmacrosheet", "xlintlmacrosheet":
		in.add(XLM, where, target)
		return
	case "activexcontrol", "activexcontrolbinary":
		in.add(ActiveX, where, target)
		return
	}
	if strings.HasPrefix(low, "ms-") && !strings.HasPrefix(low, "ms-settings") && external || strings.HasPrefix(low, "search-ms:") || strings.HasPrefix(low, "mhtml:") || strings.HasPrefix(low, "script:") {
		in.add(ExternalLink, where, kind+" "+target)
		return
	}
	if !remoteTarget(target) {
		return
	}
	switch kind {
	case "attachedtemplate":
		in.add(RemoteTemplate, where, target)
	case "hyperlink":
	case "image", "video", "audio", "media":
		// Pictures on the web come with pasted pages; on a file server they
		// give the user's hash away.
		if !strings.HasPrefix(low, "http") {
			in.add(ExternalLink, where, kind+" "+target)
		}
	case "externallinkpath", "xlexternallinkpath", "externallink", "xlpathmissing", "externallinklong":
		// Excel asks before it updates; links to a company's own files are
		// everyday, so only other addresses than file servers count.
		if strings.HasPrefix(low, "http") || strings.Contains(low, "@") {
			in.add(ExternalLink, where, kind+" "+target)
		}
	case "oleobject", "frame", "subdocument", "afchunk", "package", "mailmergesource", "mailmergeheadersource",
		"recipientdata", "webextension", "control", "customui", "aml", "externaldata", "slidemaster", "hlinkfile":
		if external || kind == "oleobject" {
			in.add(ExternalLink, where, kind+" "+target)
		}
	default:
		if external && kind != "customxml" && kind != "transform" && kind != "sourceurl" {
			in.add(ExternalLink, where, kind+" "+target)
		}
	}
}

// contentType judges one content type of a package.
func (in *inspector) contentType(where, ct string) {
	switch {
	case strings.Contains(ct, "vbaproject"):
		in.add(Macro, where, ct)
	case strings.Contains(ct, "macrosheet"), strings.Contains(ct, "intlmacrosheet"):
		in.add(XLM, where, ct)
	case strings.Contains(ct, "macroenabled"):
		in.add(MacroType, where, ct)
	case strings.Contains(ct, "activex"):
		in.add(ActiveX, where, ct)
	}
}

// fieldReader puts the instructions of Word fields together: they are split over
// runs, and fields stand in fields (w:fldChar begin, separate, end).
type fieldReader struct {
	in    *inspector
	where string
	stack []fieldText
}

type fieldText struct {
	text   []byte
	result bool // behind "separate": the result, no instruction
}

func (f *fieldReader) open() int { return len(f.stack) }

func (f *fieldReader) write(b []byte) {
	if len(f.stack) == 0 {
		// An instruction outside of any field is judged on its own.
		f.in.fieldText(f.where, string(b[:min(len(b), 512)]))
		return
	}
	if top := &f.stack[len(f.stack)-1]; !top.result && len(top.text) < 4096 {
		top.text = append(top.text, b[:min(len(b), 4096)]...)
	}
}

func (f *fieldReader) mark(kind string) {
	switch kind {
	case "begin":
		if len(f.stack) < 256 {
			f.stack = append(f.stack, fieldText{})
		}
	case "separate":
		if n := len(f.stack); n > 0 {
			f.stack[n-1].result = true
		}
	case "end":
		f.pop()
	}
}

// pop judges the innermost field; what QUOTE spells by numbers goes into the
// field around it, as Word does it.
func (f *fieldReader) pop() {
	n := len(f.stack)
	if n == 0 {
		return
	}
	text := string(f.stack[n-1].text)
	f.stack = f.stack[:n-1]
	f.in.fieldText(f.where, text)
	if n < 2 {
		return
	}
	words := strings.Fields(text)
	if len(words) > 1 && strings.EqualFold(words[0], "QUOTE") {
		var spelled []byte
		for _, w := range words[1:] {
			v, err := strconv.Atoi(strings.Trim(w, `"`))
			if err != nil || v < 0 || v > 255 {
				spelled = append(spelled, strings.Trim(w, `"`)...)
				continue
			}
			spelled = append(spelled, byte(v))
		}
		f.write(spelled)
	}
}

func (f *fieldReader) flush() {
	for len(f.stack) > 0 {
		f.pop()
	}
}
