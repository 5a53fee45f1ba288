package migrate

import (
	"bytes"
	"fmt"
	"strings"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// What Postfix cuts, in octets.
const (
	longestLine   = 2048
	longestHeader = 102400
)

// dead tells why a rule can never give its result where it stands, with a line
// that its pattern matches, and on which it was tried.
func (t *tableImport) dead(r postfix.Rule) (sample, why string) {
	for _, e := range r.All {
		if e.Negated {
			continue
		}
		if why := t.never(e); why != "" {
			text, ok := pattern.Sample(e.Pattern)
			if !ok {
				return "", why
			}
			if t.fires(r.Line, carrier(text)) {
				return "", "" // it does, after all
			}
			return string(text), why
		}
	}
	return "", ""
}

func (t *tableImport) never(e postfix.Expression) string {
	p := e.Pattern
	is := func(set string) func(rune) bool { return func(c rune) bool { return strings.ContainsRune(set, c) } }
	switch {
	case pattern.Needs(p, is("\x00")):
		return "the text ends at the first NUL"
	case pattern.Needs(p, is("\r")):
		return "a carriage return is the end of a line or becomes a blank before this is asked"
	}
	if t.options.View == postfix.Body {
		return neverInBody(p)
	}
	return t.neverInHeader(p)
}

func neverInBody(p *pattern.Pattern) string {
	switch {
	case pattern.Needs(p, func(c rune) bool { return c == '\n' }):
		return "it needs two lines, and body_checks sees one line at a time"
	case pattern.Length(p) > longestLine:
		return fmt.Sprintf("it needs a longer text than the %d octets that Postfix looks at", longestLine)
	case onlyEmpty(p):
		return "empty lines are never looked up"
	}
	if name := headerName([]postfix.Expression{{Pattern: p}}); isMIME(name) {
		return "headers of parts go to mime_header_checks, never to body_checks (since Postfix 2.0)"
	}
	return ""
}

func (t *tableImport) neverInHeader(p *pattern.Pattern) string {
	if pattern.Length(p) > longestHeader {
		return fmt.Sprintf("it needs a longer text than the %d octets that Postfix looks at", longestHeader)
	}
	if onlyEmpty(p) {
		return "a header is never empty"
	}
	name := headerName([]postfix.Expression{{Pattern: p}})
	if isMIME(name) && !t.options.Everywhere && t.options.View != postfix.MIMEHeader {
		return name + " is looked up in mime_header_checks alone, wherever it stands"
	}
	sets, ok := pattern.Lead(p)
	if !ok {
		return ""
	}
	for i, s := range sets {
		named, colon := false, s.Has(':')
		for c := byte('!'); c < 0x7f; c++ {
			named = named || c != ':' && s.Has(c)
		}
		switch {
		case colon && i > 0:
			return ""
		case !named && i == 0:
			return "a folded header is one text, its lines joined by a newline: its first octet is the first of its name, never a blank"
		case !named:
			return "what begins so is no header: a name has no blank and ends with a colon"
		}
	}
	return ""
}

// onlyEmpty tells whether nothing but the empty text matches.
func onlyEmpty(p *pattern.Pattern) bool {
	if pattern.Length(p) != 0 {
		return false
	}
	whole := p.PCRE()
	src := whole
	for _, s := range []string{`\A`, `\z`, `\Z`, `(?:)`, "(", ")"} {
		src = strings.ReplaceAll(src, s, "")
	}
	return src == "" && strings.HasPrefix(strings.TrimLeft(whole, "("), `\A`) && strings.ContainsAny(whole, "zZ")
}

// deadName tries a rule about names on a message with such an attachment.
func (t *tableImport) deadName(r postfix.Rule) (sample, why string) {
	text, ok := pattern.Sample(r.All[0].Pattern)
	if !ok {
		return "", ""
	}
	line := bytes.TrimSpace(text)
	if bytes.ContainsAny(line, "\r\n\x00") || !bytes.Contains(bytes.ToLower(line), []byte("name")) {
		return "", ""
	}
	if t.fires(r.Line, attached(line)) {
		return "", ""
	}
	sample = "Content-Disposition: attachment;\n " + string(line)
	if t.options.View == postfix.Body {
		return sample, "headers of parts go to mime_header_checks, never to body_checks, so that it hits no attachment"
	}
	return sample, "it hits no attachment: a folded header is one text that begins with its name"
}

// attached is a message with an attachment whose header has the line.
func attached(line []byte) []byte {
	return []byte("Subject: sample\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n\r\ntext\r\n--=_b\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n " + string(line) + "\r\n\r\nAAAA\r\n--=_b--\r\n")
}

// carrier is a message with a text as a header of a part, of an attached message and
// of its own. A blank before it makes it go on from a header.
func carrier(text []byte) []byte {
	line := string(text)
	if line == "" || line[0] == ' ' || line[0] == '\t' {
		line = "X-Sample: x\r\n" + line
	}
	return []byte(line + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n" + line +
		"\r\n\r\ntext\r\n\r\n--=_b\r\nContent-Type: message/rfc822\r\n\r\n" + line + "\r\n\r\ntext\r\n--=_b--\r\n")
}

// fires tells whether a rule of the table gives a result for a message, where
// the table is used.
func (t *tableImport) fires(line int, raw []byte) bool {
	list := []*postfix.Table{t.table}
	none := []*postfix.Table{}
	tables := postfix.Tables{MIMEHeader: none, Nested: none}
	switch {
	case t.options.View == postfix.Body:
		tables.Body = list
	case t.options.View == postfix.MIMEHeader:
		tables.MIMEHeader = list
	case t.options.View == postfix.NestedHeader:
		tables.Nested = list
	case t.options.Everywhere:
		tables = postfix.Tables{Header: list}
	default:
		tables.Header = list
	}
	for _, h := range postfix.Scan(raw, tables, postfix.Options{}, nil).Hits {
		if h.Rule == line {
			return true
		}
	}
	return false
}
