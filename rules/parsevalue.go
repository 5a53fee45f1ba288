package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"garita/message"
	"garita/place"
	"garita/rules/fold"
)

// values reads "a" or "b" or ….
func (sc *scanner) values(c *Condition) bool {
	for {
		t := sc.next()
		if t.kind != tokenText {
			sc.unquoted(c, t)
			return false
		}
		if len(c.Values) == MaxValues {
			sc.fail(t, fmt.Sprintf("the condition has more than %d values", MaxValues), "put them into a file, one a line: in list FILE")
			return false
		}
		if !sc.fitting(c, t) {
			return false
		}
		c.Values = append(c.Values, t.text)
		n := sc.peek()
		if n.kind == tokenText {
			sc.fail(n, "values are joined by the word or", "write or before it")
			return false
		}
		if n.kind != tokenWord || n.text != "or" {
			return true
		}
		sc.next()
	}
}

// fitting looks at a value that can never be there.
func (sc *scanner) fitting(c *Condition, t token) bool {
	switch {
	case t.text == "" && (c.Op != Is || c.Subject.form().kind == aboutOctets):
		sc.fail(t, "every text "+c.Op.String()+" nothing", "write what it should be, or "+c.Subject.String()+` is ""`)
	case t.text != "" && c.Subject.form().kind != aboutOctets && c.Subject.form().kind != aboutOctetsField && fold.Key(t.text) == "":
		// Looked for, it would be in every text.
		sc.fail(t, "white space and signs that are not seen do not count, so nothing is left of "+place.Quote(t.text), "write a word, or use matches or a raw subject")
	case slices.Contains(c.Values, t.text):
		sc.fail(t, "the value "+place.Quote(t.text)+" is there twice", "remove one")
	case c.Subject == AttachmentExtension && strings.HasPrefix(t.text, "."):
		sc.fail(t, "an extension has no dot here", "write "+strconv.Quote(strings.TrimLeft(place.Shorten(t.text), ".")))
	case (c.Subject == SenderDomain || c.Subject == RecipientDomain) && strings.Contains(t.text, "@"):
		sc.fail(t, "a domain has no @", "write "+strconv.Quote(place.Shorten(t.text[strings.LastIndexByte(t.text, '@')+1:])))
	case c.Subject == Tag && c.Op == Is && strings.ContainsAny(t.text, "<>/ "):
		sc.fail(t, "the name of a tag has no brackets", "write "+strconv.Quote(strings.Trim(place.Shorten(t.text), "<>/ ")))
	case c.Subject == Defect && c.Op == Is && !knownDefect(t.text):
		sc.fail(t, place.Quote(t.text)+" is not a defect", defectHint(t.text))
	case c.Subject.form().kind == aboutOctets && strings.ContainsAny(t.text, "\r\n"):
		sc.fail(t, c.Subject.String()+" is one line; it holds no line break", "")
	default:
		sc.unlikely(c, t)
		return true
	}
	return false
}

func defects() []string {
	var ids []string
	for _, d := range message.KnownDefects() {
		ids = append(ids, d.ID)
	}
	return ids
}

func defectHint(id string) string {
	if meant := place.Nearest(id, defects()); meant != "" {
		return "did you mean " + meant + "?"
	}
	return "docs/mime.md lists them"
}

func knownDefect(id string) bool {
	return message.Meaning(id) != ""
}

// number reads 3 or 10MB.
func (sc *scanner) number(c *Condition, size bool) bool {
	t := sc.next()
	if t.kind != tokenWord {
		hint := "write 3"
		if size {
			hint = "write 10MB"
		}
		if t.kind == tokenText {
			hint = "write it without quotes"
		}
		sc.fail(t, "here belongs a number", hint)
		return false
	}
	digits := strings.TrimRight(t.text, "BKMGTbkmgtiI")
	unit := t.text[len(digits):]
	if n := sc.peek(); unit == "" && n.kind == tokenWord && sizeUnit(n.text) > 0 { // 10 MB
		unit = n.text
		t.end = n.end
		sc.next()
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	times := sizeUnit(unit)
	switch {
	case err != nil || digits[0] == '+' || digits[0] == '-' || times == 0:
		hint := "write a whole number"
		if size {
			hint = "write a whole number and a unit, as 10MB"
		}
		sc.fail(t, place.Quote(t.text)+" is not a number", hint)
		return false
	case !size && unit != "":
		sc.fail(t, c.Subject.String()+" are counted, they have no unit", "write "+digits)
		return false
	case size && unit == "" && n != 0:
		sc.fail(t, "the size has no unit", fmt.Sprintf("write %sMB, %sKB or %sB", digits, digits, digits))
		return false
	case n > math.MaxInt64/times:
		sc.fail(t, place.Quote(t.text)+" is too large a number", "")
		return false
	}
	c.Number = n * times
	if c.Number == 0 && (c.Op == Less || c.Op == AtLeast) {
		sc.fail(t, fmt.Sprintf("%s %s 0 is %s so", c.Subject, c.Op, map[Op]string{Less: "never", AtLeast: "always"}[c.Op]), "write > 0 or = 0")
		return false
	}
	return true
}

// sizeUnit gives the octets of a unit, 0 for none that is known.
func sizeUnit(unit string) int64 {
	switch strings.ToUpper(unit) {
	case "", "B":
		return 1
	case "K", "KB", "KIB":
		return 1 << 10
	case "M", "MB", "MIB":
		return 1 << 20
	case "G", "GB", "GIB":
		return 1 << 30
	case "T", "TB", "TIB":
		return 1 << 40
	}
	return 0
}

// networks reads 192.0.2.0/24 or 2001:db8::/32.
func (sc *scanner) networks(c *Condition) bool {
	for {
		t := sc.next()
		if t.kind != tokenWord && t.kind != tokenText {
			sc.fail(t, "here belongs an address or a network", "write in 192.0.2.0/24, or in list FILE")
			return false
		}
		n, odd, err := parseNet(t.text)
		switch {
		case err != nil && strings.HasSuffix(t.text, ","):
			sc.fail(t, "networks are joined by the word or", "write "+place.Shorten(strings.TrimRight(t.text, ","))+" or …")
			return false
		case err != nil:
			sc.fail(t, err.Error(), "write in 192.0.2.0/24, or in list FILE")
			return false
		case odd != "":
			sc.p.warn(sc.place(t.start, t.end), place.Quote(t.text)+" has bits beside its network", "did you mean "+odd+"?")
		}
		if len(c.Nets) == MaxValues {
			sc.fail(t, fmt.Sprintf("the condition has more than %d networks", MaxValues), "put them into a file, one a line: in list FILE")
			return false
		}
		c.Nets = append(c.Nets, n)
		if n := sc.peek(); n.kind != tokenWord || n.text != "or" {
			return true
		}
		sc.next()
	}
}

// inList reads the name of a file, and the file.
func (sc *scanner) inList(c *Condition) bool {
	t := sc.next()
	if t.kind != tokenWord && t.kind != tokenText || t.text == "" || strings.ContainsRune(t.text, 0) {
		sc.fail(t, "here belongs the name of a file", "write in list names.txt")
		return false
	}
	c.List = t.text
	l := sc.p.readList(t.text)
	if l.err != nil {
		hint := ""
		if errors.Is(l.err, fs.ErrNotExist) && !filepath.IsAbs(t.text) {
			hint = "its path begins in the folder of this file"
		}
		sc.fail(t, l.reason(), hint)
		return false
	}
	if len(l.entries) == 0 {
		sc.p.warn(sc.place(t.start, t.end), "the list is empty, so nothing is in it", "")
	}
	if c.Subject != Client {
		c.Values = l.entries
		return true
	}
	nets, problems := l.networks()
	if len(problems) > 0 {
		sc.failed = true
		for _, bad := range problems {
			bad.Rule = sc.p.id
			sc.p.add(bad)
		}
		return false
	}
	c.Nets = nets
	return true
}
