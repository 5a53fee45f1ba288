package rules

import (
	"sort"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// didYouMean suggests the candidate that was most likely meant, or lists all of
// them when they are few.
func didYouMean(word string, candidates []string) string {
	if meant := nearest(word, candidates); meant != "" {
		return "did you mean " + meant + "?"
	}
	if len(candidates) > 0 && len(candidates) <= 40 {
		return "one of: " + strings.Join(candidates, ", ")
	}
	return ""
}

// nearest finds the candidate that was most likely meant, or "".
func nearest(word string, candidates []string) string {
	w := strings.ToLower(word)
	if w == "" || len(w) > 100 {
		return ""
	}
	best, bestDistance := "", 3
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	for _, c := range sorted {
		allowed := 2
		if len(c) <= 4 || len(w) <= 3 {
			allowed = 1 // two changes of a short word make any other
		}
		if d := distance(w, c); d <= allowed && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range sorted {
		if len(w) >= 3 && strings.HasPrefix(c, w) || len(c) >= 3 && strings.HasPrefix(w, c) {
			return c
		}
	}
	return ""
}

// distance is Damerau-Levenshtein with adjacent transpositions, over bytes; 3
// stands for more than 2.
func distance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	two, one, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(one[j]+1, now[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], two[j-2]+1)
			}
		}
		two, one, now = one, now, two
	}
	return one[len(b)]
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
