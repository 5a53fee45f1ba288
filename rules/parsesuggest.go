package rules

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"garita/place"
)

// didYouMean suggests the candidate that was most likely meant, or lists all of
// them when they are few.
func didYouMean(word string, candidates []string) string {
	if meant := place.Nearest(word, candidates); meant != "" {
		return "did you mean " + meant + "?"
	}
	if len(candidates) > 0 && len(candidates) <= 40 {
		return "one of: " + strings.Join(candidates, ", ")
	}
	return ""
}

// plain is text without accents and other signs that are not ASCII: what is to
// be written where only ASCII may stand.
func plain(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch {
		case r >= ' ' && r < 0x7f:
			b.WriteRune(r)
		case r == '\u00bf' || r == '\u00a1': // ¿ ¡ open what ? ! close
		case r == '\u00df':
			b.WriteString("ss")
		case r == '\u00f8':
			b.WriteByte('o')
		case r == '\u00e6':
			b.WriteString("ae")
		case r >= '\u2010' && r <= '\u2015':
			b.WriteByte('-')
		case r == '\u2018' || r == '\u2019':
			b.WriteByte('\'')
		case r == '\u00ab' || r == '\u00bb' || r == '\u201c' || r == '\u201d':
			b.WriteByte('"')
		}
	}
	return strings.TrimSpace(b.String())
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
