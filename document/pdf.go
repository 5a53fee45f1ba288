package document

import (
	"bytes"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// pdfFile is one PDF as a reader that repairs files sees it: every "n g obj" in
// it is an object, whatever the cross-reference table says, since a table that
// lies is a way to hide one.
type pdfFile struct {
	in      *inspector
	where   string
	data    []byte
	objects []pdfObject
	// actions are the kinds of actions in an object, by number.
	actions map[int]uint16
	// auto are the references that are followed when the file is opened.
	auto      []int
	autoKinds uint16
	names     map[int][]string // names of embedded files, by their streams' number
	encrypted bool
	key       *pdfKey // opens it without a password; nil for none
	looks     int     // around names that were worth a look
}

// pdfObject is the part of the file from "obj" to the next one.
type pdfObject struct {
	num      int
	from, to int
	stream   int // where its data begins, 0 for none
}

// pdfLooks bounds the names whose neighbourhood (up to 4 KB) is read. A form of
// many pages has some thousands.
const pdfLooks = 20000

// pdfObjects bounds the objects; a drawing of 25 MB has some hundred thousand.
const pdfObjects = 500000

// The kinds of actions.
const (
	actJavaScript = 1 << iota
	actLaunch
	actSubmit
	actRemote
	actOther // rendition, import of data
)

func actionKind(name string) uint16 {
	switch name {
	case "JavaScript":
		return actJavaScript
	case "Launch":
		return actLaunch
	case "SubmitForm":
		return actSubmit
	case "GoToR", "GoToE":
		return actRemote
	case "ImportData", "Rendition", "RichMediaExecute", "Movie":
		return actOther
	}
	return 0
}

// pdf inspects one PDF.
func (in *inspector) pdf(where string, data []byte) {
	p := &pdfFile{in: in, where: where, data: data, actions: map[int]uint16{}, names: map[int][]string{}}
	p.findObjects()
	if i := lastIndex(data, "/Encrypt"); i >= 0 {
		// Known before anything else: strings and object streams are noise then.
		s := pdfScan{b: data[i+len("/Encrypt") : min(len(data), i+64)]}
		if p.encrypted = s.value(); p.encrypted {
			p.key = p.unlock(data[i+len("/Encrypt"):])
		}
	}
	last := 0
	for i := range p.objects {
		if i%1024 == 0 && in.stop(where) {
			return
		}
		o := &p.objects[i]
		if i == 0 {
			p.scan(-1, data[:o.from])
		}
		p.object(o)
		last = o.to
	}
	p.scan(-1, data[last:])
	p.objectStreams()
	p.files()
	p.opening()
}

// findObjects lists every "obj" that is a word. Octets of a compressed stream
// make one by chance once in some hundred megabytes, and what follows is then
// no dictionary.
func (p *pdfFile) findObjects() {
	pos := 0
	for {
		i := bytes.Index(p.data[pos:], []byte("obj"))
		if i < 0 {
			break
		}
		at := pos + i
		pos = at + 3
		if at == 0 || pos >= len(p.data) || !pdfBreak(p.data[pos]) || !pdfBreak(p.data[at-1]) && (p.data[at-1] < '0' || p.data[at-1] > '9') {
			continue
		}
		if len(p.objects) >= pdfObjects {
			p.in.add(Unfinished, p.where, "objects")
			break
		}
		p.objects = append(p.objects, pdfObject{num: numberBefore(p.data[:at]), from: pos})
	}
	for i := range p.objects {
		o := &p.objects[i]
		o.to = len(p.data)
		if i+1 < len(p.objects) {
			o.to = p.objects[i+1].from - 3
		}
	}
}

// pdfBreak tells white space and delimiters (ISO 32000-1 7.2.2).
func pdfBreak(c byte) bool {
	switch c {
	case 0, '\t', '\n', '\f', '\r', ' ', '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

// numberBefore reads "12 0 " backwards and gives 12, or -1.
func numberBefore(b []byte) int {
	i := len(b)
	back := func(fits func(byte) bool) int {
		n := 0
		for i > 0 && n < 16 && fits(b[i-1]) {
			i--
			n++
		}
		return n
	}
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	space := func(c byte) bool { return c <= ' ' }
	back(space)
	if back(digit) == 0 || back(space) == 0 {
		return -1
	}
	end := i
	if n := back(digit); n == 0 || n > 9 {
		return -1
	}
	n, _ := strconv.Atoi(string(b[i:end]))
	return n
}

// object scans the dictionary of an object and what stands behind its stream.
func (p *pdfFile) object(o *pdfObject) {
	body := p.data[o.from:o.to]
	end := streamWord(body)
	if end < 0 {
		p.scan(o.num, body)
		return
	}
	p.scan(o.num, body[:end])
	start := end + len("stream")
	if start < len(body) && body[start] == '\r' {
		start++
	}
	if start < len(body) && body[start] == '\n' {
		start++
	}
	o.stream = o.from + start
	if tail := lastIndex(body[start:], "endstream"); tail >= 0 {
		p.scan(-1, body[start+tail:])
	}
}

// streamWord finds the keyword behind the dictionary.
func streamWord(b []byte) int {
	pos := 0
	for {
		i := bytes.Index(b[pos:], []byte("stream"))
		if i < 0 {
			return -1
		}
		at := pos + i
		pos = at + 6
		before := bytes.TrimRight(b[max(0, at-64):at], "\x00\t\n\f\r ")
		if pos < len(b) && (b[pos] == '\r' || b[pos] == '\n' || b[pos] == ' ') && bytes.HasSuffix(before, []byte(">>")) {
			return at
		}
	}
}

// scan goes through the tokens of dictionaries. Strings and comments are passed
// over, so that a text about /JavaScript is none.
func (p *pdfFile) scan(num int, b []byte) {
	s := pdfScan{b: b}
	prev := ""
	for n := 0; ; n++ {
		if n%65536 == 65535 && p.in.stop(p.where) {
			return
		}
		name, ok := s.nextName()
		if !ok {
			return
		}
		p.name(num, prev, name, &s)
		prev = name
		if !s.adjacent() {
			prev = ""
		}
	}
}

// name judges one name of a dictionary; prev is the name straight before it.
func (p *pdfFile) name(num int, prev, name string, s *pdfScan) {
	place := p.where
	switch name {
	case "JavaScript", "JS", "Launch", "OpenAction", "AA", "SubmitForm", "GoToR", "GoToE", "EF":
		if p.looks++; p.looks > pdfLooks {
			p.in.unfinished(place, "actions")
			return
		}
	}
	switch name {
	case "JavaScript", "JS":
		text := ""
		if name == "JS" && !p.encrypted {
			text = s.peekString()
		}
		if !p.in.has(PDFJavaScript) || text != "" {
			p.in.add(PDFJavaScript, place, text)
		}
		if name == "JavaScript" && prev != "S" && !s.adjacent() && s.value() {
			// A tree of names: scripts of the whole document run on opening.
			p.in.add(PDFOpenAction, place, "script of the document")
		}
	case "Launch":
		if prev == "S" {
			p.in.add(PDFLaunch, place, s.nearFile())
		}
	case "OpenAction":
		p.follow(s)
	case "AA":
		p.additional(s)
	case "RichMedia", "RichMediaContent":
		p.in.add(PDFMedia, place, "")
	case "XFA":
		p.in.add(PDFXFA, place, "")
	case "SubmitForm":
		if prev == "S" {
			p.in.add(PDFSubmit, place, s.nearFile())
		}
	case "GoToR", "GoToE":
		if f := s.nearFile(); prev == "S" && remoteTarget(f) {
			p.in.add(PDFRemote, place, f)
		}
	case "Encrypt":
		if s.value() {
			p.encrypted = true
			if p.key == nil {
				p.in.add(Encrypted, place, "")
			}
		}
	case "EF":
		p.fileSpec(s)
	}
	if prev == "S" && num >= 0 {
		if k := actionKind(name); k != 0 {
			p.actions[num] |= k
		}
	}
}

// follow notes what an action key leads to: a reference or a dictionary in place.
// An array is a page to go to, which is harmless.
func (p *pdfFile) follow(s *pdfScan) {
	ref, kinds := s.action()
	p.autoKinds |= kinds
	if ref >= 0 && len(p.auto) < 10000 {
		p.auto = append(p.auto, ref)
	}
}

// additional looks into an AA dictionary for the events that come by themselves
// (ISO 32000-1 12.6.3); those of fields calculate and format, and are common.
func (p *pdfFile) additional(s *pdfScan) {
	inner := pdfScan{b: s.dictionary()}
	for range 64 {
		name, ok := inner.nextName()
		if !ok {
			return
		}
		switch name {
		case "O", "PO", "PV", "PI", "WC", "WS", "DS", "WP", "DP":
			p.follow(&inner)
		}
	}
}

// opening resolves what is followed on opening.
func (p *pdfFile) opening() {
	kinds := p.autoKinds
	for _, ref := range p.auto {
		kinds |= p.actions[ref]
	}
	var list []string
	for i, name := range []string{"JavaScript", "Launch", "SubmitForm", "GoToR", "other"} {
		if kinds>>i&1 != 0 {
			list = append(list, name)
		}
	}
	if len(list) > 0 {
		p.in.add(PDFOpenAction, p.where, strings.Join(list, ", "))
	}
}

// fileSpec notes the streams of an EF dictionary, and the names around it.
func (p *pdfFile) fileSpec(s *pdfScan) {
	names := s.around("UF", "F", "Desc")
	inner := pdfScan{b: s.dictionary()}
	found := false
	for range 8 {
		if _, ok := inner.nextName(); !ok {
			break
		}
		if ref := inner.reference(); ref >= 0 && len(p.names) < 4*maxEmbedded {
			found = true
			for _, n := range names {
				if len(p.names[ref]) < 16 {
					p.names[ref] = appendNew(p.names[ref], n)
				}
			}
			if p.names[ref] == nil {
				p.names[ref] = []string{}
			}
		}
	}
	if !found {
		p.in.embed(p.where, names, nil)
	}
}

// objectStreams scans the objects that are kept in compressed streams
// (ISO 32000-1 7.5.7).
func (p *pdfFile) objectStreams() {
	for i := range p.objects {
		o := &p.objects[i]
		if o.stream == 0 {
			continue
		}
		dict := p.data[o.from:o.stream]
		if !pdfKeys(dict, "ObjStm") && !(pdfKeys(dict, "First") && pdfKeys(dict, "N")) {
			continue
		}
		if !p.in.open(p.where) {
			return
		}
		body, ok := p.decode(o)
		if p.encrypted && p.key == nil {
			continue // noise
		}
		if !ok {
			p.in.add(Damaged, p.where, "object stream")
		}
		p.packedObjects(dict, body)
	}
}

// packedObjects scans the objects of a stream one by one: the head of the stream
// gives number and offset of each.
func (p *pdfFile) packedObjects(dict, body []byte) {
	first := int(pdfNumber(dict, "First"))
	if first <= 0 || first > len(body) {
		p.scan(-1, body)
		return
	}
	type packed struct{ num, at int }
	var list []packed
	fields := bytes.Fields(body[:first])
	for i := 0; i+1 < len(fields); i += 2 {
		num, err1 := strconv.Atoi(string(fields[i]))
		at, err2 := strconv.Atoi(string(fields[i+1]))
		if err1 != nil || err2 != nil || at < 0 || at > len(body)-first {
			continue
		}
		list = append(list, packed{num, first + at})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].at < list[j].at })
	from, num := first, -1
	for _, o := range list {
		p.scan(num, body[from:o.at])
		from, num = o.at, o.num
	}
	p.scan(num, body[from:])
}

// files takes out the embedded files: what an EF names, and every stream that
// says it is one.
func (p *pdfFile) files() {
	seen := map[int]bool{}
	give := func(i int, names []string) {
		o := &p.objects[i]
		if seen[i] || o.stream == 0 || !p.in.open(p.where) {
			return
		}
		seen[i] = true
		var body []byte
		if !p.encrypted || p.key != nil {
			var ok bool
			if body, ok = p.decode(o); !ok {
				p.in.add(Damaged, p.where, "embedded file")
			}
		}
		p.in.embed(join(p.where, "object "+strconv.Itoa(o.num)), names, body)
	}
	for i := range p.objects {
		if i%1024 == 0 && p.in.stop(p.where) {
			return
		}
		o := &p.objects[i]
		if o.stream == 0 {
			continue
		}
		if names, ok := p.names[o.num]; ok {
			give(i, names)
		} else if pdfKeys(p.data[o.from:o.stream], "EmbeddedFile") {
			give(i, nil)
		}
	}
}

// pdfText is the content of a text string: UTF-16 with its mark, or octets.
func pdfText(b []byte) string {
	if len(b) >= 2 && b[0] == 0xFE && b[1] == 0xFF {
		u := make([]uint16, 0, len(b)/2)
		for b = b[2:]; len(b) >= 2; b = b[2:] {
			u = append(u, uint16(b[0])<<8|uint16(b[1]))
		}
		return string(utf16.Decode(u))
	}
	return string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
}
