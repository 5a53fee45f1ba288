package migrate

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// expression writes a pattern of Postfix in our dialect: itself where the two
// read it alike, else spelled out.
func expression(e postfix.Expression) (re, flags string) {
	o := e.Options
	same := printable(e.Source)
	if same && o.Dialect != pattern.PCRE {
		p, err := pattern.Compile(e.Source, pattern.Options{Bytes: true, Fold: o.Fold, DotAll: true})
		same = err == nil && pattern.Same(p, e.Pattern)
	}
	// In /x a # hides what would close a group; \Q hides a slash.
	if !same || o.Dialect == pattern.PCRE && (o.Extended || strings.Contains(e.Source, `\Q`)) {
		source, fold := e.Pattern.FoldPCRE()
		if fold {
			flags = "i"
		}
		return slashes(source), shortFlags(source, flags)
	}
	if o.Anchored {
		re = `\A(?:` + slashes(e.Source) + ")"
	} else {
		re = slashes(e.Source)
	}
	if o.Fold {
		flags += "i"
	}
	if o.Dialect != pattern.PCRE || o.DotAll {
		flags += "s"
	}
	if o.Dialect == pattern.PCRE && o.Multiline {
		flags += "m"
	}
	return re, shortFlags(re, flags)
}

// shortFlags leaves out what changes nothing: s without a dot, i without a
// letter.
func shortFlags(re, flags string) string {
	if !strings.Contains(re, ".") {
		flags = strings.ReplaceAll(flags, "s", "")
	}
	if !strings.ContainsFunc(re, unicode.IsLetter) {
		flags = strings.ReplaceAll(flags, "i", "")
	}
	return flags
}

// printable tells whether a source can stand in a file as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// slashes puts a backslash before each slash that has none.
func slashes(re string) string {
	var b strings.Builder
	for i := 0; i < len(re); i++ {
		switch {
		case re[i] == '\\' && i+1 < len(re):
			b.WriteString(re[i : i+2])
			i++
		case re[i] == '/':
			b.WriteString(`\/`)
		default:
			b.WriteByte(re[i])
		}
	}
	return b.String()
}

// maxExpression bounds what a pattern may become.
const maxExpression = 8 << 10

// group writes an expression as part of a larger one, with its own flags.
func group(e postfix.Expression) string {
	re, flags := expression(e)
	off := "-"
	for _, f := range "ims" {
		if !strings.ContainsRune(flags, f) {
			off += string(f)
		}
	}
	if off == "-" {
		off = ""
	}
	return "(?" + flags + off + ":" + re + ")"
}

// clause is what must hold of a line for a rule to give the result: all of all,
// and none of the earlier rules in shields.
type clause struct {
	all     []postfix.Expression
	shields [][]postfix.Expression
}

// pattern writes the clause as one pattern. body says that empty lines, which
// Postfix never looks up, must not match. why is there when it cannot be said.
func (c clause) pattern(body bool) (re, flags, why string) {
	last := -1
	for i, e := range c.all {
		if !e.Negated {
			last = i
		}
	}
	empty := false
	if body {
		empty = true
		for _, e := range c.all {
			ok, err := e.Pattern.Match(nil, nil)
			empty = empty && err == nil && ok != e.Negated
		}
	}
	if len(c.all) == 1 && last == 0 && len(c.shields) == 0 && !empty {
		re, flags = expression(c.all[0])
		return re, flags, ""
	}
	for _, e := range c.all {
		if len(c.all)+len(c.shields) > 1 && pattern.Refers(e.Pattern) {
			return "", "", "a back-reference in a pattern that holds together with others"
		}
	}
	var b strings.Builder
	b.WriteString(`\A`)
	if empty {
		b.WriteString(`(?=[\x01-\xff])`)
	}
	for _, s := range c.shields {
		if why := shield(&b, s); why != "" {
			return "", "", why
		}
	}
	for i, e := range c.all {
		switch {
		case e.Negated:
			b.WriteString("(?!(?s:.*?)" + group(e) + ")")
		case i != last:
			b.WriteString("(?=(?s:.*?)" + group(e) + ")")
		}
	}
	if last >= 0 {
		b.WriteString("(?s:.*?)" + group(c.all[last]))
	}
	if b.Len() > maxExpression {
		return "", "", "together with the rules that come before it the pattern is too long"
	}
	return b.String(), "", ""
}

// shield writes that not all of the expressions hold.
func shield(b *strings.Builder, all []postfix.Expression) string {
	b.WriteString("(?!")
	for i, e := range all {
		if pattern.Refers(e.Pattern) {
			return "a back-reference in a rule before it"
		}
		look := "(?="
		if e.Negated {
			look = "(?!"
		}
		if i == len(all)-1 && !e.Negated {
			b.WriteString("(?s:.*?)" + group(e))
			continue
		}
		b.WriteString(look + "(?s:.*?)" + group(e) + ")")
	}
	b.WriteString(")")
	return ""
}

// apart tells whether no line can be matched by both: their first octets
// differ.
func apart(a, b []postfix.Expression) bool {
	for _, x := range a {
		if x.Negated {
			continue
		}
		lead, ok := pattern.Lead(x.Pattern)
		if !ok {
			continue
		}
		for _, y := range b {
			other, ok := pattern.Lead(y.Pattern)
			if y.Negated || !ok {
				continue
			}
			for i := range min(len(lead), len(other)) {
				if both := lead[i].Both(other[i]); both.Empty() {
					return true
				}
			}
		}
	}
	return false
}

// headerName is the name of the header that lines which match begin with, in
// small letters, "" if it is not one.
func headerName(all []postfix.Expression) string {
	for _, e := range all {
		sets, ok := pattern.Lead(e.Pattern)
		if e.Negated || !ok {
			continue
		}
		name := ""
		for _, s := range sets {
			c, ok := oneLetter(s)
			if !ok {
				break
			}
			if c == ':' {
				return name
			}
			name += string(rune(c))
		}
	}
	return ""
}

// oneLetter is the one letter, in either case, or other octet of a set.
func oneLetter(o pattern.Octets) (byte, bool) {
	found, n := byte(0), 0
	for c := range 256 {
		if !o.Has(byte(c)) {
			continue
		}
		small := byte(c)
		if c >= 'A' && c <= 'Z' {
			small += 32
		}
		if n == 0 || small != found {
			n++
		}
		found = small
	}
	return found, n == 1
}

func isMIME(name string) bool {
	switch name {
	case "content-description", "content-disposition", "content-id", "content-transfer-encoding", "content-type", "mime-version":
		return true
	}
	return false
}
