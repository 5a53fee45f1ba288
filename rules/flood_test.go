package rules_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestFlood: mail that was made to be dear is given up, never passed as looked
// at; and what a rule finds before counts (attacks ).
func TestFlood(t *testing.T) {
	var many strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, "[[rule]]\nid = \"r%d\"\nmatch = ['text contains \"https://files.shop.example/download/%d\"']\n", i, i)
	}
	for name, c := range map[string]struct {
		file, head, body string
		hits, givenUp    int
	}{
		"what thousands of rules begin with":    {many.String(), "Content-Type: text/plain", strings.Repeat("https://files.shop.example/ ", 20_000), 0, 3000},
		"the same in a field, few":              {strings.ReplaceAll(many.String(), "text contains", "subject contains"), "Subject: https://files.shop.example/download/7", "x", 1, 0},
		"letters that fold to eleven times":     {one(`text contains "oferta"`), "Content-Type: text/plain; charset=utf-8", strings.Repeat("\uFDFA", 400_000), 0, 1},
		"a phrase, and then such letters":       {one(`text contains "oferta"`), "Content-Type: text/plain; charset=utf-8", "oferta " + strings.Repeat("\uFDFA", 400_000), 1, 0},
		"long text of letters that fold to one": {one(`text contains "oferta"`), "Content-Type: text/plain; charset=utf-8", strings.Repeat("ÓÑ", 400_000) + " OFÉRTA", 1, 0},
		"Hangul over the pieces it is folded in": {one(`text contains "각가"`), "Content-Type: text/plain; charset=utf-8",
			strings.Repeat("\u3131", 100_000) + strings.Repeat("\u1100\u1161\u11A8\u1100\u1161", 40_000), 1, 0},
		"sixteen charsets of a large part": {one(`html tag is "iframe"`), "Content-Type: text/html" + charsets(16), strings.Repeat("é<b>\xff", 1<<20), 0, 1},
		"sixteen charsets of a small part": {one(`html tag is "iframe"`), "Content-Type: text/html" + charsets(16), "é<b>\xff<iframe>", 1, 0},
	} {
		r := match(t, compile(t, c.file), input("From: a@sender.example\nMIME-Version: 1.0\n"+c.head+"\n\n"+c.body+"\n"))
		if len(r.Hits) != c.hits || len(r.GivenUp) != c.givenUp {
			t.Errorf("%s: %d hits, %d given up", name, len(r.Hits), len(r.GivenUp))
		}
	}
}

func charsets(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "; charset=windows-%d", 1250+i)
	}
	return out.String()
}
