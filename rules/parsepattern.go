package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"garita/place"
	"garita/rules/pattern"

	"golang.org/x/text/unicode/norm"
)

// maxPatternTime bounds the compiling of one file's patterns, which a few repeats
// make dear: a reload must not take minutes.
const maxPatternTime = 20 * time.Second

// pattern reads /pattern/flags and compiles it.
func (sc *scanner) pattern(c *Condition) bool {
	p, flags, ok := sc.regexp()
	if !ok {
		return false
	}
	kind := c.Subject.form().kind
	octets := kind == aboutOctets || kind == aboutOctetsField
	o := pattern.Options{Bytes: octets, MatchLimit: sc.p.o.MatchLimit}
	folded := false
	for i, f := range flags.text {
		at := token{tokenWord, "", flags.start + i, flags.start + i + utf8.RuneLen(f)}
		if strings.ContainsRune(flags.text[:i], f) {
			sc.fail(at, fmt.Sprintf("the flag %c is there twice", f), "remove one")
			return false
		}
		switch f {
		case 'i':
			o.Fold = true
		case 's':
			o.DotAll = true
		case 'm':
			o.Multiline = true
		case 'x':
			o.Extended = true
		case 'U':
			o.Ungreedy = true
		case 'a':
			folded, o.Fold = true, true
			if octets {
				sc.fail(at, c.Subject.String()+" is octets: there are no accents to leave out", "use the decoded subject, or leave the flag a out")
				return false
			}
		default:
			hint := "one of: i s m x U a"
			if strings.Contains(flags.text, "/") || len(flags.text) > 6 {
				hint = `a slash inside of a pattern is written \/`
			}
			sc.fail(at, place.Quote(string(f))+" is not a flag", hint)
			return false
		}
	}
	if p.text == "" {
		sc.fail(token{tokenText, "", p.start - 1, p.end + 1}, "the pattern is empty and would match everything", "")
		return false
	}
	c.Regexp, c.Flags = strings.ReplaceAll(p.text, `\/`, `/`), flags.text
	source := c.Regexp
	if folded {
		source = sc.unaccented(source, p)
		if o.Multiline {
			sc.p.warn(sc.place(flags.start, flags.end), "with the flag a the text is one line, so the flag m changes nothing", "leave one of them out")
		}
		if at := accentEscape(sc.s[p.start:p.end]); at >= 0 {
			sc.p.warn(sc.place(p.start+at, p.start+at+2), "with the flag a the text has no accents, and this stands for a letter that is not ASCII", "write the letter itself")
		}
	}
	if !utf8.ValidString(source) {
		sc.fail(p, "the pattern is not UTF-8", "")
		return false
	}
	if sc.p.patterns > maxPatternTime {
		sc.fail(p, fmt.Sprintf("the patterns of this file take more than %v to read", maxPatternTime), "write smaller repeats, or a list of words: in list FILE")
		return false
	}
	start := sc.p.now()
	compiled, err := pattern.Compile(source, o)
	sc.p.patterns += sc.p.now().Sub(start)
	if err != nil {
		sc.badPattern(p, err)
		return false
	}
	c.Pattern = compiled
	sc.fieldInPattern(c, p)
	return true
}

// badPattern reports at the character that the error names.
func (sc *scanner) badPattern(p token, err error) {
	text, hint := err.Error(), ""
	if rest, ok := strings.CutPrefix(text, "at character "); ok {
		if digits, what, ok := strings.Cut(rest, ": "); ok {
			if n, e := strconv.Atoi(digits); e == nil {
				at := p.start
				for end := 0; n > 1 && at < p.end; n-- { // \/ was one character
					if strings.HasPrefix(sc.s[at:p.end], `\/`) {
						at++
					}
					_, end = utf8.DecodeRuneInString(sc.s[at:p.end])
					at += end
				}
				text, p.start = what, min(at, p.end-1)
				p.end = p.start + 1
			}
		}
	}
	if errors.Is(err, pattern.ErrUnsupported) {
		hint = "say it in other words, or as two conditions"
	}
	sc.fail(p, "the pattern cannot be read: "+text, hint)
}

// unaccented takes the accents off the letters of a pattern that runs over text
// without any. What stands for several letters there (ß, ﬁ) could never be met.
func (sc *scanner) unaccented(source string, at token) string {
	if isASCII(source) {
		return source
	}
	var b strings.Builder
	for _, r := range source {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		var letters []rune
		for _, d := range norm.NFKD.String(string(r)) {
			if !unicode.Is(unicode.M, d) {
				letters = append(letters, unicode.ToLower(d))
			}
		}
		switch {
		case len(letters) == 1 && r != '\u00df':
			b.WriteRune(letters[0])
		case len(letters) == 0: // a mark by itself: nothing is left of it
		default:
			sc.p.warn(sc.place(at.start, at.end), fmt.Sprintf("with the flag a the text has no %q: it reads %q there", r, foldedLetters(r, letters)), "write those letters")
			b.WriteRune(r)
		}
	}
	return b.String()
}

func foldedLetters(r rune, letters []rune) string {
	if r == '\u00df' {
		return "ss"
	}
	return string(letters)
}

// accentEscape finds \xHH or \x{…} of more than ASCII; -1 for none.
func accentEscape(source string) int {
	for i := 0; i+1 < len(source); i++ {
		if source[i] != '\\' {
			continue
		}
		if source[i+1] == 'x' {
			digits := source[i+2 : min(i+4, len(source))]
			if strings.HasPrefix(digits, "{") {
				digits, _, _ = strings.Cut(source[i+3:], "}")
			}
			if n, err := strconv.ParseUint(digits, 16, 32); err == nil && n >= 0x80 {
				return i
			}
		}
		i++
	}
	return -1
}
