package migrate

import (
	"regexp"

	"garita/rules/postfix"
)

// Guess says whether a table that names no kind was pcre: or regexp:, and why.
func Guess(text []byte) (postfix.Kind, string) {
	if len(text) > MaxFile {
		return postfix.PCRE, "it is too large to look at"
	}
	wrong := func(kind postfix.Kind) (n int) {
		_, problems := postfix.Parse(string(text), kind)
		for _, p := range problems {
			if p.Skipped && !p.Unsupported {
				n++
			}
		}
		return n
	}
	p, r := wrong(postfix.PCRE), wrong(postfix.Regexp)
	switch {
	case p < r:
		return postfix.PCRE, "fewer of its rules are wrong as pcre"
	case r < p:
		return postfix.Regexp, "fewer of its rules are wrong as regexp"
	}
	if m := regexp.MustCompile(`\(\?[:=!<imsx-]|[+*}]\?|\\[dDQ]|\\x[0-9a-fA-F{]`).Find(text); m != nil {
		return postfix.PCRE, "there is " + show(string(m), 10) + " in it, which only PCRE knows"
	}
	if regexp.MustCompile(`\\<|\\>`).Match(text) {
		return postfix.Regexp, `there is \< or \> in it, which are edges of words in regexp alone`
	}
	return postfix.PCRE, "nothing in it tells; most tables are pcre"
}
