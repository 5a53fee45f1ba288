package message

import (
	"bytes"
	"sort"
	"strings"
)

// Bounds of boundaries besides IndexLimits.Boundaries.
const (
	maxDashLines  = 1 << 18 // lines that begin with two dashes, of one source
	maxCandidates = 32      // readings of the boundary of one multipart, before any is seen to occur
	maxLoose      = 256     // lines that only begin with a boundary
	rfcBoundary   = 70      // RFC 2046 section 5.1.1
	longBoundary  = 2048    // Postfix compares no more
	maxGuesses    = 3
)

// cutKind is what a line is for a boundary.
type cutKind uint8

const (
	separator cutKind = iota + 1
	closing
	loose // begins with the boundary, and readers disagree whether it counts
)

// cut is a line between parts.
type cut struct {
	at, next int // where the line begins, and the one behind it
	kind     cutKind
}

// candidate is one reading of a boundary.
type candidate struct {
	text   string
	strong bool // read from the parameter; weak ones must match whole lines
	cuts   []cut
	loose  []cut
	full   bool // there are more
}

// dashLines gives the offsets of the lines that begin with two dashes, found
// once for each source, so that nested multiparts cost no further pass over
// their octets (attacks E-70, E-77). Looking for dashes instead of line ends
// makes base64 cost nearly nothing: it has none.
func (s *Source) dashLines() []uint32 {
	if s.scanned {
		return s.dashes
	}
	s.scanned = true
	d := s.Data
	for i := 0; i < len(d); {
		k := bytes.IndexByte(d[i:], '-')
		if k < 0 {
			break
		}
		i += k
		if i+1 < len(d) && d[i+1] == '-' && (i == 0 || d[i-1] == '\n' || d[i-1] == '\r' || behindCR(d, i)) {
			if len(s.dashes) == maxDashLines {
				s.over = true
				break
			}
			s.dashes = append(s.dashes, uint32(i))
			if i+2 < len(d) && d[i+2] == '-' && behindCR(d, i+1) {
				s.dashes = append(s.dashes, uint32(i+1))
			}
		}
		for i++; i < len(d) && d[i] == '-'; i++ {
		}
	}
	return s.dashes
}

// behindCR says that what stands at i is the third octet of a line that begins
// with a CR: a reader that takes two octets for a line end sees it first.
func behindCR(d []byte, i int) bool {
	return i >= 2 && d[i-2] == '\r' && d[i-1] != '\n' && (i == 2 || d[i-3] == '\n')
}

// dashesIn gives those in [from, to).
func (s *Source) dashesIn(from, to int) []uint32 {
	lines := s.dashLines()
	a := sort.Search(len(lines), func(i int) bool { return int(lines[i]) >= from })
	b := a + sort.Search(len(lines)-a, func(i int) bool { return int(lines[a+i]) >= to })
	return lines[a:b]
}

// matchCut compares one line with a boundary.
func matchCut(data []byte, at, end int, boundary string) (cut, bool) {
	rest := data[at+2 : end]
	if len(rest) < len(boundary) {
		return cut{}, false
	}
	// Some readers do not tell capitals from small letters.
	i := len(boundary)
	exact := string(rest[:i]) == boundary
	if !exact && !equalFold(rest[:i], boundary) {
		return cut{}, false
	}
	c := cut{at: at, kind: separator}
	if i+1 < len(rest) && rest[i] == '-' && rest[i+1] == '-' {
		c.kind = closing
		i += 2
	}
	// RFC 2046 5.1.1: white space may follow, nothing else.
	for i < len(rest) && (rest[i] == ' ' || rest[i] == '\t') {
		i++
	}
	cr := i
	for i < len(rest) && rest[i] == '\r' {
		i++
	}
	switch {
	case i == len(rest):
		c.next = end
	case rest[i] == '\n':
		c.next = at + 2 + i + 1
	case i > cr: // a bare CR ends the line for some
		c.kind, c.next = loose, at+2+cr+1
	default:
		c.kind = loose
		if lf := bytes.IndexByte(rest[i:], '\n'); lf >= 0 {
			c.next = at + 2 + i + lf + 1
		} else {
			c.next = end
		}
	}
	if at > 0 && data[at-1] == '\r' || behindCR(data, at) || !exact {
		c.kind = loose
	}
	return c, true
}

// equalFold compares without regard to the case of ASCII letters.
func equalFold(a []byte, b string) bool {
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// beforeCut is the end of what stands before a cut: the line end belongs to
// the boundary.
func beforeCut(data []byte, at, start int) int {
	if at > start && data[at-1] == '\n' {
		at--
	}
	if at > start && data[at-1] == '\r' {
		at--
	}
	return at
}

// match finds the lines of all candidates in one pass.
func (r *reader) match(n *node, cands []candidate, from, end int) {
	src := n.p.Source
	lines := src.dashesIn(from, end)
	if src.over {
		r.defect(n.p, "too-many-delimiters", from, "")
	}
	if !r.spend(n.p, len(lines)*len(cands)) {
		return
	}
	most := r.l.Parts + 2
	for _, at := range lines {
		for i := range cands {
			k := &cands[i]
			if k.text != "" && int(at)+2 < end && lower(src.Data[at+2]) != lower(k.text[0]) {
				continue
			}
			c, ok := matchCut(src.Data, int(at), end, k.text)
			switch {
			case !ok:
			case c.kind == loose:
				if !k.strong {
					break
				}
				if len(k.loose) < maxLoose {
					k.loose = append(k.loose, c)
				}
			case len(k.cuts) < most:
				k.cuts = append(k.cuts, c)
			default:
				k.full = true
			}
		}
	}
}

// sameCuts says that two candidates cut the same lines.
func sameCuts(a, b []cut) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].at != b[i].at || a[i].next != b[i].next {
			return false
		}
	}
	return true
}

// weakBoundaries gives the readings of a boundary that only some readers take:
// cut at a quote or a space, trimmed, unescaped, with its quotes (attacks E-16
// to E-22).
func weakBoundaries(strong []string, fields []string) []string {
	var out []string
	add := func(s string) {
		if s == "" || len(out) >= maxCandidates {
			return
		}
		for _, have := range strong {
			if have == s {
				return
			}
		}
		for _, have := range out {
			if have == s {
				return
			}
		}
		out = append(out, s)
	}
	variants := func(v string) {
		add(v)
		add(strings.TrimSpace(v))
		add(strings.Trim(v, " \t\r\n\"'"))
		add(strings.TrimRight(v, " \t\r\n\"';,"))
		if strings.IndexByte(v, '\\') >= 0 {
			add(unescape(v))
		}
		if i := strings.IndexAny(v, ";\"' \t\r\n,"); i > 0 {
			add(v[:i])
		}
		if strings.ContainsAny(v, "\r\n\t ") {
			add(strings.Map(func(c rune) rune {
				if c == '\r' || c == '\n' {
					return -1
				}
				return c
			}, v))
			add(strings.Join(strings.Fields(v), ""))
			add(strings.Join(strings.Fields(v), " "))
		}
		if strings.ContainsAny(v, "(") {
			add(v[:strings.IndexByte(v, '(')])
		}
		if i := strings.LastIndexByte(v, '\''); i >= 0 {
			add(v[i+1:])
		}
	}
	for _, f := range fields {
		for _, v := range literalBoundaries(f) {
			variants(v)
		}
	}
	for _, v := range strong {
		variants(v)
	}
	return out
}

func unescape(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// literalBoundaries finds what stands behind each word "boundary" of a field,
// for readers that look for it with a plain search.
func literalBoundaries(field string) []string {
	var out []string
	low := strings.ToLower(field[:min(len(field), 256<<10)])
	if len(low) > len(field) { // other letters, longer in lower case
		return nil
	}
	for pos, n := 0, 0; n < 8; n++ {
		i := strings.Index(low[pos:], "boundary")
		if i < 0 {
			break
		}
		pos += i + len("boundary")
		eq := strings.IndexAny(low[pos:min(len(low), pos+64)], "=;")
		if eq < 0 || low[pos+eq] != '=' {
			continue
		}
		v := field[min(pos+eq+1, len(field)):]
		t := strings.TrimLeft(v, " \t\r\n")
		if strings.HasPrefix(t, "\"") {
			if j := strings.IndexByte(t[1:], '"'); j >= 0 {
				out = append(out, t[1:1+j])
			}
			if j := strings.IndexAny(t, "\r\n;"); j >= 0 {
				t = t[:j]
			}
			out = append(out, t, strings.Trim(t, "\""))
			continue
		}
		if j := strings.IndexByte(t, ';'); j >= 0 {
			out = append(out, t[:j])
		} else {
			out = append(out, t)
		}
		if j := strings.IndexAny(t, " \t\r\n"); j > 0 {
			out = append(out, t[:j])
		}
	}
	return out
}

// plainBoundary says that no reader can take the boundary differently.
func plainBoundary(b string) bool {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			continue
		}
		switch c {
		case '-', '_', '=', '.', '+', ':', '/', ',', '?', '<', '>', '@', '#', '$', '*', '!', '^', '~', '&', '{', '}', '|', '[', ']', '`':
		case ' ':
			if i == 0 || i == len(b)-1 {
				return false
			}
		default:
			return false
		}
	}
	return b != ""
}

// guess gives the boundaries that the lines of a body look like.
func (r *reader) guess(n *node, from, end int) []candidate {
	data := n.p.Source.Data
	var out []candidate
	add := func(s string) {
		for _, c := range out {
			if c.text == s {
				return
			}
		}
		if s != "" && len(out) < maxGuesses {
			out = append(out, candidate{text: s})
		}
	}
	for i, at := range n.p.Source.dashesIn(from, end) {
		if i >= 64 || len(out) >= maxGuesses {
			break
		}
		line := data[int(at)+2 : end]
		next := len(line)
		if lf := bytes.IndexAny(line[:min(len(line), longBoundary)], "\r\n"); lf >= 0 {
			line, next = line[:lf], lf
		} else if len(line) > longBoundary {
			continue
		}
		if !headerFollows(data[min(end, int(at)+2+next):end]) {
			continue
		}
		add(string(bytes.TrimRight(line, " \t")))
	}
	return out
}

// headerFollows says that behind a line end a header begins, empty or not.
func headerFollows(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\r"))
	b = bytes.TrimPrefix(b, []byte("\n"))
	if len(b) == 0 {
		return false
	}
	if b[0] == '\r' || b[0] == '\n' {
		return true
	}
	b = b[:min(len(b), 256)]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return fieldColon(b) > 0
}
