package printable

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":             "",
		"plain ñ 漢":    "plain ñ 漢",
		"\x1b[2J":      `\x1b[2J`,
		"a\r\nb":       `a\r\nb`,
		"\xff\x00":     `\xff\x00`,
		"\u202egpj.x":  `\u202egpj.x`,
		"\u009b2J":     `\u009b2J`,
		"\U000e0041":   `\U000e0041`,
		"tab\tno":      `tab\tno`,
		"\u2028line":   `\u2028line`,
		"replacement�": "replacement�",
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Lines("a\nb\r\n\x07"); got != "a\nb\\r\n\\a" {
		t.Errorf("Lines: %q", got)
	}
}

func TestJSON(t *testing.T) {
	if got := JSON("{\n \"\u202e\U000e0041\x7f\"}"); got != "{\n \"\\u202e\\udb40\\udc41\\u007f\"}" {
		t.Errorf("JSON: %q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[0m\xff\u202e\n\U000e0041")
	f.Fuzz(func(t *testing.T, s string) {
		one, many := Line(s), Lines(s)
		for _, r := range one {
			if r != unicode.ReplacementChar && !unicode.IsPrint(r) {
				t.Errorf("%q leaves %q", s, r)
			}
		}
		if strings.ReplaceAll(many, "\n", `\n`) != one {
			t.Errorf("%q: %q and %q differ by more than line feeds", s, one, many)
		}
		if len(one) > 10*len(s) {
			t.Errorf("%q: %d octets of %d", s, len(one), len(s))
		}
		if Line(one) != one {
			t.Errorf("%q: %q is not safe yet", s, one)
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var was, is string
		safe := JSON(string(raw))
		if json.Unmarshal(raw, &was) != nil || json.Unmarshal([]byte(safe), &is) != nil || was != is {
			t.Errorf("%q: as JSON %s means another text", s, safe)
		}
		if strings.ContainsFunc(safe, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: JSON %q holds what does not print", s, safe)
		}
	})
}
