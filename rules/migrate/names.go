package migrate

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// aboutName reads a pattern about the name of an attachment, as guides have
// them: (filename|name)="REST". It gives a condition that looks at the names
// themselves. ok is false for any other pattern.
func aboutName(e postfix.Expression) (condition string, ok bool) {
	before, rest, ok := cutName(e.Source)
	if !ok || !leadsToName(before) {
		return "", false
	}
	rest, closed := cutEnd(cutQuote(rest))
	if rest == "" {
		return "attachment name exists", true
	}
	o := e.Options
	o.Fold, o.Captures = false, false
	p, err := pattern.Compile(rest, o)
	if err != nil {
		return "", false
	}
	tree, err := syntax.Parse(p.PCRE(), syntax.Perl)
	if err == nil && closed {
		if names, ok := alternatives(tree); ok && fit(names) {
			return "attachment name is " + words(names), true
		}
		if ends, ok := endings(tree); ok && fit(ends) {
			return "attachment extension is " + words(ends), true
		}
	}
	re, flags := expression(postfix.Expression{Source: rest, Options: o, Pattern: p})
	flags = strings.ReplaceAll(flags, "i", "") + "i"
	if !e.Options.Fold {
		flags = strings.ReplaceAll(flags, "i", "")
	}
	if closed {
		return "attachment name matches /^(?:" + re + ")$/" + flags, true
	}
	return "attachment name matches /^(?:" + re + ")/" + flags, true
}

// The word before the equals sign, in the ways that it is written.
func cutName(source string) (before, rest string, ok bool) {
	// The longest first: what is left of a shorter one would be part of before.
	for _, key := range []string{`(filename|name)=`, `(name|filename)=`, `(?:filename|name)=`, `(?:name|filename)=`,
		`(file)?name=`, `(?:file)?name=`, `(file|)name=`, `filename=`, `name=`} {
		for _, with := range []string{key, strings.ReplaceAll(key, "=", `\=`), strings.ReplaceAll(key, "=", `\s*=\s*`),
			strings.ReplaceAll(key, "=", ` *= *`), strings.ReplaceAll(key, "=", `\*?=`)} {
			if i := strings.Index(strings.ToLower(source), with); i >= 0 {
				return source[:i], source[i+len(with):], true
			}
		}
	}
	return "", "", false
}

// leadsToName tells whether what stands before is only the way to the name.
func leadsToName(before string) bool {
	ok, _ := regexp.MatchString(`^(?i)(\^|\\s[*+]?|\\b|\[[^\]]*\][*+]?|\.[*+]\??|;| [*+?]?|\(\^\|[^)]*\)|`+
		`(\(\?:|\()?content-(\(\?:|\()?(disposition|type|id|description|\||\)|[*?:])*|:|attachment|\)|\\t[*+]?)*$`, before)
	return ok
}

func cutQuote(rest string) string {
	for {
		was := rest
		for _, q := range []string{`\s*`, `["']?`, `['"]?`, `(?:"|')?`, `\"?`, `"?`, `\"`, `"*`, `"`} {
			if t, ok := strings.CutPrefix(rest, q); ok {
				rest = t
				break
			}
		}
		if rest == was {
			return rest
		}
	}
}

// cutEnd takes away what closes the name, and tells whether something does.
func cutEnd(rest string) (string, bool) {
	closed := false
	for {
		was := rest
		for _, q := range []string{`\"?`, `"?`, `\"`, `"`, `$`, `\b`, `\>`, `\s*`, `(;|$)`, `(?:;|$)`, `["']?`} {
			if t, ok := strings.CutSuffix(rest, q); ok && !strings.HasSuffix(t, `\`) {
				rest, closed = t, true
				break
			}
		}
		if rest == was {
			return rest, closed
		}
	}
}

// fit says that values can stand in a condition and are names.
func fit(values []string) bool {
	return len(values) > 0 && !slices.ContainsFunc(values, func(v string) bool {
		return strings.TrimSpace(v) == "" || len(v) > 100 || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c >= 0x7f })
	})
}

// maxNames is how many names a condition lists before the pattern is kept.
const maxNames = 100

// alternatives gives every text that a tree matches, if they are few.
func alternatives(t *syntax.Regexp) ([]string, bool) {
	switch t.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		return []string{string(t.Rune)}, true
	case syntax.OpCharClass:
		var out []string
		for i := 0; i < len(t.Rune); i += 2 {
			for c := t.Rune[i]; c <= t.Rune[i+1]; c++ {
				if out = append(out, string(c)); len(out) > 16 {
					return nil, false
				}
			}
		}
		return out, len(out) > 0
	case syntax.OpCapture:
		return alternatives(t.Sub[0])
	case syntax.OpQuest:
		one, ok := alternatives(t.Sub[0])
		return append([]string{""}, one...), ok
	case syntax.OpAlternate:
		var out []string
		for _, s := range t.Sub {
			one, ok := alternatives(s)
			if out = append(out, one...); !ok || len(out) > maxNames {
				return nil, false
			}
		}
		return out, true
	case syntax.OpConcat:
		out := []string{""}
		for _, s := range t.Sub {
			one, ok := alternatives(s)
			if !ok || len(out)*len(one) > maxNames {
				return nil, false
			}
			var next []string
			for _, a := range out {
				for _, b := range one {
					next = append(next, a+b)
				}
			}
			out = next
		}
		return out, true
	}
	return nil, false
}

// endings gives the extensions of "anything, a dot, one of these".
func endings(t *syntax.Regexp) ([]string, bool) {
	for t.Op == syntax.OpCapture {
		t = t.Sub[0]
	}
	if t.Op != syntax.OpConcat || len(t.Sub) < 2 {
		return nil, false
	}
	switch first := t.Sub[0]; {
	case first.Op == syntax.OpStar || first.Op == syntax.OpPlus:
		if s := first.Sub[0]; s.Op != syntax.OpAnyChar && s.Op != syntax.OpAnyCharNotNL && !wide(s) {
			return nil, false
		}
	default:
		return nil, false
	}
	all, ok := alternatives(&syntax.Regexp{Op: syntax.OpConcat, Sub: t.Sub[1:]})
	if !ok {
		return nil, false
	}
	for i, s := range all {
		ext, dot := strings.CutPrefix(s, ".")
		if !dot || strings.ContainsAny(ext, ". ") {
			return nil, false
		}
		all[i] = ext
	}
	return all, true
}

// wide tells whether a class is any character but a few.
func wide(s *syntax.Regexp) bool {
	n := 0
	if s.Op == syntax.OpCharClass {
		for i := 0; i < len(s.Rune); i += 2 {
			n += int(s.Rune[i+1]-s.Rune[i]) + 1
		}
	}
	return n > 200
}
