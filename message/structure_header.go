package message

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Bounds of one header besides those of IndexLimits.
const (
	maxMIMEFields = 64       // MIME fields of one part
	maxStarts     = 3        // places where a body may begin
	rescueLines   = 100      // how far behind a junk line fields are looked for
	rescueBytes   = 16 << 10 // the same in octets
	maxHidden     = 16 << 10 // octets of the value of a hidden field: they overlap
)

// mimeField is a field that says how to read its part.
type mimeField struct {
	name string // lower-case
	raw  string // behind the colon, folded
	at   int
	bad  string // what is wrong with it: a defect's ID, or ""
}

// head is a header as the most generous reader sees it.
type head struct {
	fields []PartField
	mime   []mimeField
	body   int   // where the body begins
	early  []int // where else readers begin it
	ended  bool  // there was an empty line
	over   string
	junk   int // offset of the first line that is no field, -1
	soft   int // offset behind the first line that is empty for some, -1
	late   bool
	mbox   bool
	dirty  bool // octets that are neither ASCII nor UTF-8
	first  int  // number of MIME fields before soft or junk
}

// headerScan reads one header.
type headerScan struct {
	head
	data       []byte
	text       string // the header as a string: fields are pieces of it
	start      int
	most, room int // fields of this part; of all parts
	cur        int // offset where the current field begins, -1
	curEnd     int
	colon      int
	damaged    bool // the current field is none: what is folded into it may be one
	curMIME    string
	curBad     string
	last       mimeField // the MIME field before a line that is none
	lastColon  int
	lastEnd    int
	curAt      int
}

// readHeader reads the header that begins at start and ends no later than end.
// top says that an mbox line may stand before it, digest that an empty header is
// what is usual there.
func readHeader(data []byte, start, end, most, room int, top, digest bool) head {
	s := headerScan{data: data, start: start, most: most, room: room, cur: -1}
	s.junk, s.soft = -1, -1
	stop, bodyAt := headerEnd(data, start, end)
	s.body, s.ended = bodyAt, bodyAt > stop
	limit := stop
	if limit-start > MaxHeaderBytes {
		limit = start + MaxHeaderBytes
		s.over = "header-too-large"
	}
	block := data[start:limit]
	if len(block) == 0 {
		if !digest {
			s.leadingBlank(end)
		}
		return s.head
	}
	// A header without an empty line at its end may be a body of megabytes:
	// the text is copied only as far as there are fields.
	if !s.ended {
		limit = start + fieldsEnd(block)
		block = data[start:limit]
	}
	s.text = string(block)
	s.dirty = !utf8.ValidString(s.text)
	s.lines(limit, end, top)
	s.flush()
	s.conclude(end)
	return s.head
}

// headerEnd finds the first line that is empty for every reader: where it
// begins, and where the body does.
func headerEnd(data []byte, start, end int) (stop, body int) {
	for pos := start; pos < end; {
		if data[pos] == '\n' {
			return pos, pos + 1
		}
		if data[pos] == '\r' && pos+1 < end && data[pos+1] == '\n' {
			return pos, pos + 2
		}
		lf := bytes.IndexByte(data[pos:end], '\n')
		if lf < 0 {
			break
		}
		pos += lf + 1
	}
	return end, end
}

// fieldsEnd bounds a header that has no end: behind the first junk line nobody
// looks further than rescueBytes.
func fieldsEnd(block []byte) int {
	for pos := 0; pos < len(block); {
		lf := bytes.IndexByte(block[pos:], '\n')
		next := len(block)
		if lf >= 0 {
			next = pos + lf + 1
		}
		if c := block[pos]; c != ' ' && c != '\t' && fieldColon(block[pos:next]) < 0 {
			return min(len(block), pos+rescueBytes)
		}
		pos = next
	}
	return len(block)
}

// leadingBlank looks behind empty lines at the beginning: some readers skip
// them and see the header there.
func (s *headerScan) leadingBlank(end int) {
	pos := s.body
	for n := 0; pos < end; n++ {
		lf := bytes.IndexByte(s.data[pos:min(end, pos+rescueBytes)], '\n')
		if lf < 0 || len(bytes.TrimSpace(s.data[pos:pos+lf])) > 0 {
			break
		}
		if pos += lf + 1; n == rescueLines {
			return
		}
	}
	if !s.ended || pos >= end {
		return
	}
	// Lines that are no fields may stand in it too.
	block := s.data[pos:min(end, pos+rescueBytes)]
	if stop, _ := headerEnd(block, 0, len(block)); !fieldsWithin(block[:stop]) && !hasMIMEHeader(block) {
		return
	}
	h := readHeader(s.data, pos, end, s.most, s.room, false, false)
	h.early = []int{s.body}
	h.late = true
	s.head = h
}

// lines goes over the lines of the header.
func (s *headerScan) lines(limit, end int, top bool) {
	junkLines := 0
	for pos := s.start; pos < limit; {
		lf := bytes.IndexByte(s.data[pos:limit], '\n')
		next, stop := limit, limit
		if lf >= 0 {
			next, stop = pos+lf+1, pos+lf
		}
		line := s.data[pos:stop]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if s.junk >= 0 {
			if junkLines++; junkLines > rescueLines || pos-s.junk > rescueBytes {
				break
			}
		}
		s.line(line, pos, next, top && pos == s.start)
		pos = next
	}
}

// line takes one line of the header.
func (s *headerScan) line(line []byte, pos, next int, first bool) {
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		s.bareCR(line, pos, i, next)
	}
	blank := len(bytes.Trim(line, " \t\r")) == 0
	switch {
	case blank:
		if s.soft < 0 {
			s.soft, s.first = next, s.mimeCount()
		}
		if s.cur >= 0 {
			s.curEnd = next
		}
		return
	case line[0] == ' ' || line[0] == '\t':
		if s.cur >= 0 {
			empty := len(bytes.TrimSpace(s.data[min(s.colon+1, pos):pos])) == 0
			if s.damaged || empty && s.curMIME == "" {
				s.hidden(line, pos, next)
			}
			s.curEnd = next
			return
		}
		// A folded line with nothing before it.
		if name, _, _ := mimeName(line); name == "" {
			s.noField(pos, next)
			return
		}
	}
	s.flush()
	if first && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))) {
		s.mbox = true
		return
	}
	colon := fieldColon(line)
	name, value, bad := mimeName(line)
	if name == "" {
		name, value, bad = junkName(line)
	}
	if colon < 0 && name == "" {
		s.noField(pos, next)
		return
	}
	s.cur, s.curEnd, s.curAt = pos, next, pos
	s.curMIME, s.curBad = name, bad
	s.colon = pos + colon
	if name != "" {
		s.colon = pos + value - 1
	}
	s.damaged = colon > 0 && (line[colon-1] == ' ' || line[colon-1] == '\t') && name == ""
}

func (s *headerScan) mimeCount() int {
	if s.cur >= 0 && s.curMIME != "" {
		return len(s.mime) + 1
	}
	return len(s.mime)
}

// noField takes a line that is no field: Postfix ends the header there, others
// skip it and go on.
func (s *headerScan) noField(pos, next int) {
	if s.junk < 0 {
		s.junk = pos
		if s.soft < 0 {
			s.first = s.mimeCount()
		}
	}
	if s.last.name != "" && s.lastEnd == pos {
		s.continued(pos, next)
	}
	s.cur, s.curEnd, s.colon, s.damaged, s.curMIME = pos, next, next, true, ""
}

// continued takes a line that is no field for the rest of the MIME field before
// it, as readers do who forget that a folded line begins with white space.
func (s *headerScan) continued(pos, next int) {
	before := strings.Trim(s.piece(max(s.lastColon+1, pos-maxHidden), pos), " \t\r\n")
	line := s.data[pos:min(next, pos+maxHidden)]
	if before != "" && strings.IndexByte(";=,", before[len(before)-1]) < 0 && bytes.IndexByte(line, '=') < 0 {
		return
	}
	value := strings.NewReplacer("\r\n", "\r\n ", "\n", "\n ").Replace(strings.TrimRight(s.piece(s.lastColon+1, min(next, s.lastColon+maxHidden)), "\r\n"))
	s.addMIME(s.last.name, value, s.last.at, "hidden-field")
}

// hidden looks for a MIME field in a folded line of something that is no field
// for some readers (attacks E-10).
func (s *headerScan) hidden(line []byte, pos, next int) {
	name, value, _ := mimeName(line)
	if len(s.mime) >= maxMIMEFields {
		s.over = "too-many-fields"
		return
	}
	if t := bytes.TrimLeft(line, " \t"); len(t) > 0 && t[0] == ':' && pos-s.cur < 64 {
		// The name alone on its line, the colon on the next (attacks E-09).
		if name, _, _ = mimeName([]byte(string(bytes.TrimSpace(s.data[s.cur:pos])) + ":")); name != "" {
			s.addMIME(name, s.piece(pos+len(line)-len(t)+1, s.foldEnd(next)), s.cur, "damaged-field-name")
		}
		return
	}
	if name == "" || !plausible(name, line[value:]) {
		return
	}
	s.addMIME(name, s.piece(pos+value, min(s.foldEnd(next), pos+value+maxHidden)), pos, "hidden-field")
}

// bareCR looks behind the bare CRs of a line: for some readers they end it.
func (s *headerScan) bareCR(line []byte, pos, i, next int) {
	for i >= 0 && i+1 <= len(line) {
		if len(s.mime) >= maxMIMEFields && s.soft >= 0 {
			s.over = "too-many-fields"
			return
		}
		rest := line[i+1:]
		if len(rest) == 0 || rest[0] == '\r' {
			if s.soft < 0 {
				s.soft, s.first = next, s.mimeCount()
			}
		} else if name, value, _ := mimeName(rest); name != "" && (i > 0 || rest[0] > ' ') {
			if i > 0 && plausible(name, rest[value:]) {
				s.addMIME(name, s.piece(pos+i+1+value, min(s.foldEnd(next), pos+i+1+value+maxHidden)), pos+i+1, "hidden-field")
			}
		}
		j := bytes.IndexByte(rest, '\r')
		if j < 0 {
			return
		}
		i += 1 + j
	}
}

// foldEnd is the end of the folded lines that follow, or maxHidden.
func (s *headerScan) foldEnd(pos int) int {
	limit := min(s.start+len(s.text), pos+maxHidden)
	for pos < limit && (s.data[pos] == ' ' || s.data[pos] == '\t') {
		lf := bytes.IndexByte(s.data[pos:limit], '\n')
		if lf < 0 {
			return limit
		}
		pos += lf + 1
	}
	return pos
}

// piece gives octets of the header as a string, without a copy.
func (s *headerScan) piece(from, to int) string {
	to = min(max(to, from), s.start+len(s.text))
	return s.text[min(from, to)-s.start : to-s.start]
}

// flush ends the current field.
func (s *headerScan) flush() {
	s.last.name = ""
	if s.cur < 0 {
		return
	}
	from, to := s.cur, s.curEnd
	s.cur = -1
	if s.colon >= to && s.curMIME == "" {
		return // a junk line
	}
	value := s.piece(s.colon+1, to)
	s.last.name = s.curMIME
	if s.curMIME != "" {
		s.addMIME(s.curMIME, value, from, s.curBad)
		s.last.at, s.lastColon, s.lastEnd = from, s.colon, to
	}
	if len(s.fields) >= s.most || len(s.fields) >= s.room {
		s.over = "too-many-fields"
		return
	}
	name := strings.Trim(s.piece(from, min(s.colon, to)), " \t\r\n\x00")
	s.fields = append(s.fields, PartField{Name: name, Value: unfoldText(value), At: from})
}

func (s *headerScan) addMIME(name, raw string, at int, bad string) {
	if len(s.mime) >= maxMIMEFields {
		s.over = "too-many-fields"
		return
	}
	s.mime = append(s.mime, mimeField{name: name, raw: raw, at: at, bad: bad})
}

func unfoldText(v string) string {
	v = strings.Trim(v, " \t\r\n")
	if strings.IndexByte(v, '\n') < 0 {
		return v
	}
	return unfold([]byte(v))
}

// conclude decides where the body begins when readers disagree.
func (s *headerScan) conclude(end int) {
	if s.junk >= 0 {
		// What is behind the junk counts only when it matters: a body without
		// an empty line before it is no header.
		rescued := false
		for _, m := range s.mime {
			rescued = rescued || m.at > s.junk
		}
		switch {
		case rescued && s.ended:
			s.early = append(s.early, s.junk)
		case rescued:
			s.early = append(s.early, s.junk)
			s.body = min(end, s.start+len(s.text))
		default:
			if s.ended {
				s.early = append(s.early, s.body)
			}
			s.body = s.junk
		}
		kept := s.fields[:0]
		for _, f := range s.fields {
			if rescued || f.At < s.junk {
				kept = append(kept, f)
			}
		}
		s.fields = kept
	}
	if s.soft >= 0 && (s.junk < 0 || s.soft <= s.junk) && s.soft < end {
		s.early = append(s.early, s.soft)
	}
	if !s.ended && s.junk < 0 {
		s.body = end
		if len(s.text) >= MaxHeaderBytes {
			s.body = s.start + len(s.text)
		}
		// RFC 2046 5.1.1: a part without a body needs no empty line, if the
		// line end of its last field is its own and not the delimiter's.
		s.ended = strings.HasSuffix(s.text, "\n")
	}
	if len(s.early) > maxStarts {
		s.early = s.early[:maxStarts]
	}
}

// aroundName tells octets that some reader takes off the ends of a field's
// name: white space, controls, quotes, marks and spaces beyond ASCII (E-09).
func aroundName(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' }

// fieldColon gives the offset of the colon of a header field, -1 if the line is
// none: visible ASCII, then optional white space, then a colon.
func fieldColon(line []byte) int {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return -1
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return -1
		}
	}
	if len(name) == 0 || len(name) > MaxFieldName {
		return -1
	}
	return colon
}

// mimeName tells whether a line begins with the name of a MIME field, however
// damaged (attacks E-09): the name, the offset of the value, and what is wrong.
func mimeName(line []byte) (name string, value int, bad string) {
	i := 0
	for i < len(line) && aroundName(line[i]) {
		i++
	}
	if i > 0 {
		bad = "damaged-field-name"
	}
	if i == len(line) || line[i]|0x20 != 'c' && line[i]|0x20 != 'm' {
		return "", 0, ""
	}
	var buf [32]byte
	n, skipped := 0, false
	for ; i < len(line) && n < len(buf); i++ {
		c := line[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		case c >= 'a' && c <= 'z' || c == '-':
		case c == 0 || c == '\r' || c == '\v' || c == '\f':
			skipped = true
			continue
		default:
			goto end
		}
		buf[n] = c
		n++
	}
end:
	switch name = string(buf[:n]); name {
	case "content-type", "content-transfer-encoding", "content-disposition", "mime-version",
		"content-id", "content-location", "content-description":
	default:
		return "", 0, ""
	}
	if skipped {
		bad = "damaged-field-name"
	}
	gap := i
	for i < len(line) && aroundName(line[i]) {
		i++
	}
	if i > gap {
		bad = "damaged-field-name"
	}
	if i == len(line) || line[i] != ':' {
		if i == gap && (i == len(line) || line[i] != '=') || len(name) < 12 || !plausible(name, line[i:]) {
			return "", 0, ""
		}
		if line[i] == '=' {
			i++
		}
		return name, max(i, 1), "field-without-colon"
	}
	i++
	if i < len(line) && line[i] == ':' {
		bad = "damaged-field-name"
		for i < len(line) && line[i] == ':' {
			i++
		}
	}
	return name, i, bad
}

// junkName is mimeName for a line with characters that are in no field's name:
// some readers take them off it (attacks E-09).
func junkName(line []byte) (name string, value int, bad string) {
	colon := bytes.IndexByte(line[:min(len(line), 64)], ':')
	var buf [64]byte
	n := 0
	for i := range max(colon, 0) {
		switch c := line[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '>':
			buf[n] = c
			n++
		}
	}
	if n == colon || n < len("content-type") || buf[0]|0x20 != 'c' {
		return "", 0, ""
	}
	buf[n] = ':'
	if name, _, _ = mimeName(buf[:n+1]); name == "" || !plausible(name, line[colon+1:]) {
		return "", 0, ""
	}
	return name, colon + 1, "damaged-field-name"
}

// plausible says that a value is one of that field and no prose: the list of
// fields in a DKIM signature names Content-Type too.
func plausible(name string, value []byte) bool {
	v := strings.ToLower(string(bytes.TrimLeft(value[:min(len(value), 80)], " \t:=\"'\r\x00")))
	var words []string
	switch name {
	case "content-type":
		words = []string{"multipart", "message/", "text/", "application/", "image/", "audio/", "video/", "x-"}
	case "content-transfer-encoding":
		words = []string{"base64", "quoted-printable", "7bit", "8bit", "binary", "x-", "uuencode", "binhex"}
	case "content-disposition":
		words = []string{"attachment", "inline"}
		if strings.Contains(v, "filename") {
			return true
		}
	default:
		return false
	}
	for _, w := range words {
		if strings.HasPrefix(v, w) {
			return true
		}
	}
	return false
}
