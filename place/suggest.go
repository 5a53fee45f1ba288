package place

import (
	"slices"
	"strings"
)

// Nearest finds the candidate that was most likely meant, or "". Case does not
// count, nor whether parts are joined by "-" or "_".
func Nearest(word string, candidates []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	w := fold(word)
	if w == "" || len(w) > 100 {
		return ""
	}
	best, bestDistance := "", 3
	sorted := slices.Sorted(slices.Values(candidates))
	for _, c := range sorted {
		f := fold(c)
		allowed := 2
		if len(f) <= 4 || len(w) <= 3 {
			allowed = 1 // two changes of a short word make any other
		}
		if d := distance(w, f); d <= allowed && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range sorted {
		f := fold(c)
		if len(w) >= 3 && strings.HasPrefix(f, w) || len(f) >= 3 && strings.HasPrefix(w, f) {
			return c
		}
	}
	for _, c := range sorted { // size for max_message_size
		if f := fold(c); len(w) >= 4 && strings.HasSuffix(f, "_"+w) {
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
