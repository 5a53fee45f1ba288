package markup

import "bytes"

// What is not shown and no tag: declarations, comments, raw texts.

// bogus passes over a bogus comment (13.2.5.41), up to ">".
func (r *reader) bogus(at int) {
	n := bytes.IndexByte(r.page[at:], '>')
	if n < 0 {
		r.at = len(r.page)
		return
	}
	r.at = at + n + 1
}

// declaration reads from "<!" on: a comment, a document type, CDATA or a bogus
// comment. A document type ends at the first ">", whatever is in it.
func (r *reader) declaration() {
	rest := r.page[r.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		r.comment()
	case r.foreign && bytes.HasPrefix(rest, []byte("<![CDATA[")):
		from, to := r.at+len("<![CDATA["), len(r.page)
		r.at = to
		if n := bytes.Index(r.page[from:], []byte("]]>")); n >= 0 {
			to = from + n
			r.at = to + len("]]>")
		}
		r.shown(from, to, false)
	default:
		r.bogus(r.at + 2)
	}
}

// comment passes over a comment, and keeps the place of a conditional one.
func (r *reader) comment() {
	from := r.at + len("<!--")
	rest := r.page[from:]
	if bytes.HasPrefix(rest, []byte("[if")) {
		if n := bytes.IndexByte(rest, '>'); n > 0 && rest[n-1] == ']' {
			inside := from + n + 1
			if r.outlook {
				// Comments in it do not nest: there is no other end.
				r.at = inside
				return
			}
			r.at = commentEnd(r.page, from)
			to := r.at
			if bytes.HasSuffix(r.page[:to], []byte("-->")) {
				to -= len("-->")
			}
			if inside < to {
				r.ranges = append(r.ranges, span{inside, to})
			}
			return
		}
	}
	r.at = commentEnd(r.page, from)
}

// commentEnd is where a comment ends whose text begins at an octet: behind
// "-->" or "--!>"; ">" and "->" at its start end it, too (13.2.5.43 and on).
func commentEnd(page []byte, at int) int {
	if bytes.HasPrefix(page[at:], []byte(">")) {
		return at + 1
	}
	if bytes.HasPrefix(page[at:], []byte("->")) {
		return at + 2
	}
	for {
		n := bytes.Index(page[at:], []byte("--"))
		if n < 0 {
			return len(page)
		}
		at += n + 2
		for at < len(page) && page[at] == '-' {
			at++
		}
		if bytes.HasPrefix(page[at:], []byte(">")) {
			return at + 1
		}
		if bytes.HasPrefix(page[at:], []byte("!>")) {
			return at + 2
		}
	}
}

// rawText reads the content of an element in which there are no tags, up to its
// end tag, which is left.
func (r *reader) rawText(name []byte, e kind) {
	from, end := r.at, len(r.page)
	switch {
	case e&toEnd != 0:
	case e&script != 0:
		end = scriptEnd(r.page, from)
	default:
		end = rawEnd(r.page, from, name)
	}
	r.at = end
	if e&shown != 0 {
		r.shown(from, end, e&references != 0)
	}
}

// rawEnd is where the end tag of a raw text begins.
func rawEnd(page []byte, at int, name []byte) int {
	for {
		n := bytes.IndexByte(page[at:], '<')
		if n < 0 {
			return len(page)
		}
		at += n
		if endsAt(page, at, name) {
			return at
		}
		at++
	}
}

// endsAt tells whether "</name" and a blank, "/" or ">" stands at an octet.
func endsAt(page []byte, at int, name []byte) bool {
	if at+1 >= len(page) || page[at+1] != '/' {
		return false
	}
	return namedAt(page, at+2, name)
}

func namedAt(page []byte, at int, name []byte) bool {
	end := at + len(name)
	return end < len(page) && classes[page[end]]&(blank|slash|close) != 0 && bytes.EqualFold(page[at:end], name)
}

// scriptEnd is rawEnd for scripts: in "<!--" a "<script" hides a "</script>"
// (13.2.5.15 to 13.2.5.31).
func scriptEnd(page []byte, at int) int {
	name := []byte("script")
	escaped, double := false, false
	for at < len(page) {
		if !escaped {
			n := bytes.IndexByte(page[at:], '<')
			if n < 0 {
				return len(page)
			}
			at += n
			if endsAt(page, at, name) {
				return at
			}
			if at++; bytes.HasPrefix(page[at:], []byte("!--")) {
				at++ // the dashes may be those of the end: <!-->
				escaped, double = true, false
			}
			continue
		}
		n := bytes.IndexAny(page[at:], "<-")
		if n < 0 {
			return len(page)
		}
		at += n
		switch {
		case page[at] == '-':
			if bytes.HasPrefix(page[at:], []byte("-->")) {
				at, escaped = at+2, false
			}
		case endsAt(page, at, name):
			if !double {
				return at
			}
			double = false
		case !double && namedAt(page, at+1, name):
			double = true
		}
		at++
	}
	return len(page)
}
