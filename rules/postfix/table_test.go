package postfix

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"garita/rules/pattern"
)

func budget() *pattern.Budget { return pattern.NewBudget(time.Minute, time.Now) }

// answers is what a table says to lines: "line:result" or "-".
func answers(t *testing.T, kind Kind, table string, lines ...string) string {
	t.Helper()
	tb, _ := Parse(table, kind)
	var out []string
	for _, line := range lines {
		result, at, ok, err := tb.Lookup([]byte(line), budget())
		switch {
		case err != nil:
			t.Fatal(err)
		case ok:
			out = append(out, fmt.Sprintf("%d:%s", at, result))
		default:
			out = append(out, "-")
		}
	}
	return strings.Join(out, " | ")
}

// TestFeatures is the list of what tables of Postfix do, by its numbers
// (features.md 2.1 to 2.3).
func TestFeatures(t *testing.T) {
	for _, c := range []struct {
		item  string
		kind  Kind
		table string
		lines []string
		want  string
	}{
		{"1 continuation", PCRE, "/a/ REJECT multi\n  line text\n", []string{"a"}, "1:REJECT multi  line text"},
		{"1 comment between", PCRE, "/a/ one\n# no\n\n two\n/b/ three", []string{"a", "b"}, "1:one two | 5:three"},
		{"2 indented first line", PCRE, "  /a/ lost\n/b/ kept\n", []string{"a", "b"}, "- | 2:kept"},
		{"2 NUL", PCRE, "/a/ x\x00y\n", []string{"a"}, "1:x"},
		{"3 no trailing comment", PCRE, "/a/ x # y\n", []string{"a"}, "1:x # y"},
		{"3 x flag", PCRE, "/a #c/x hit\n", []string{"xax"}, "1:hit"},
		{"4 trailing blanks", PCRE, "/a/ x  \t\r\n", []string{"a"}, "1:x"},
		{"5 delimiter", PCRE, "~^x/y~ hit\n", []string{"x/y"}, "1:hit"},
		{"5 escaped delimiter", PCRE, "/^x\\/y/ hit\n", []string{"x/y"}, "1:hit"},
		{"6 two negations", PCRE, "!!/abc/ X\n! ! !/b/ Y\n", []string{"abc", "z", "b"}, "1:X | 2:Y | -"},
		{"7 if", PCRE, "if /a/\n/b/ X\nENDIF\nIf !/a/i\n/b/ Y\nendif\n", []string{"ab", "b", "a", "Ab"}, "2:X | 5:Y | - | 2:X"},
		{"7 nested", Regexp, "if /a/\nif /b/\n/c/ X\nendif\n/d/ Y\nendif\n/./ Z", []string{"abc", "ad", "c", "bd"}, "3:X | 5:Y | 7:Z | 7:Z"},
		{"7 indented rule after if", PCRE, "if /a/\n  /b/ lost\n/c/ X\nendif\n", []string{"ab", "ac"}, "- | 3:X"},
		{"8 endif alone", PCRE, "endif\n/a/ X\n", []string{"a"}, "2:X"},
		{"8 if not closed", PCRE, "/b/ B\nif /a/\n/c/ X\n", []string{"ac", "c", "b"}, "3:X | - | 1:B"},
		{"8 if that is wrong", PCRE, "if /(/\n/a/ X\nendif\n/b/ Y\n", []string{"a", "b"}, "2:X | 4:Y"},
		{"9 two patterns", Regexp, "/a/!/b/ X\n/a/!!/b/ Y", []string{"a", "ab"}, "1:X | 2:Y"},
		{"9 not in pcre", PCRE, "/a/!/b/ X\n/a/ Y\n", []string{"a"}, "2:Y"},
		{"10 wrong rules are skipped", PCRE, "/a/q X\n/a X\n/(/ X\n/a/ $1\n/a/ $x\n/a/ Y\n", []string{"a"}, "6:Y"},
		{"11 no action", PCRE, "/a/\n", []string{"a"}, "1:"},
		{"12 no rule", PCRE, "word /a/ X\nif\n/a/ Y\n", []string{"a"}, "3:Y"},
		{"flags i toggles", PCRE, "/abc/i X\n/abc/ Y\n", []string{"abc", "ABC"}, "1:X | 2:Y"},
		{"flags ii", PCRE, "/abc/ii X\n", []string{"ABC"}, "1:X"},
		{"flags m", PCRE, "/^b$/m X\n", []string{"a\nb"}, "1:X"},
		{"flags s", PCRE, "/a.b/s X\n/a.b/ Y\n", []string{"a\nb", "a-b"}, "2:Y | 1:X"},
		{"flags A", PCRE, "/b/A X\n", []string{"b", "ab"}, "1:X | -"},
		{"flags U", PCRE, "/^(a+)/U $1\n", []string{"aaa"}, "1:a"},
		{"flags X", PCRE, "/a/X X\n", []string{"a"}, "1:X"},
		{"flags m of regexp", Regexp, "/a.b/m X\n/^b$/m Y\n", []string{"a\nb"}, "2:Y"},
		{"flags x of regexp", Regexp, "/^a+$/x X\n", []string{"a+", "aa"}, "1:X | -"},
		{"15 bytes", PCRE, "/^caf.$/ one\n/^caf..$/ two\n", []string{"caf\xe9", "caf\xc3\xa9"}, "1:one | 2:two"},
		{"16 no folding", PCRE, "/\xc3\xa9/ X\n", []string{"\xc3\x89"}, "-"},
		{"18 first wins", PCRE, "/a/ X\n/a/ Y\n", []string{"a", "a"}, "1:X | 1:X"},
		{"19 macros", PCRE, "/(a)(b)?/ $1-$(1)-${1}-$2-$$\n", []string{"a", "ab"}, "1:a-a-a--$ | 1:a-a-a-b-$"},
		{"19 wrong macros", PCRE, "/(a)/ $0\n/(a)/ $2\n/(a)/ $1y\n/(a)/ ${1\n/(a)/ $\n!/(b)/ $1\n/a/ Y", []string{"a"}, "7:Y"},
		{"19 dollars alone", PCRE, "/a/ $$ $$x\n", []string{"a"}, "1:$ $x"},
		{"20 longest", Regexp, "/(a|ab)(c|bcd)?/ [$1][$2]\n", []string{"abcd"}, "1:[a][bcd]"},
		{"20 words", Regexp, "/\\<b\\>/ X\n", []string{"a b c", "abc"}, "1:X | -"},
		{"20 words of pcre", PCRE, "/\\<b/ X\n", []string{"<b", "b"}, "1:X | -"},
		{"20 digits", Regexp, "/\\d/ X\n", []string{"5", "d"}, "- | -"},
	} {
		if got := answers(t, c.kind, c.table, c.lines...); got != c.want {
			t.Errorf("%s: %s, want %s", c.item, got, c.want)
		}
	}
}

// Each thing that Postfix warns of is told, with its line.
func TestProblems(t *testing.T) {
	for table, want := range map[string]string{
		"\n/a/q X":          "2:true",
		"/a X":              "1:true",
		"!":                 "1:true",
		"/(/ X":             "1:true",
		"/a/":               "1:false",
		"/a/ $1":            "1:true",
		"/a/ ${":            "1:true",
		"!/(a)/ $1":         "1:true",
		"hello":             "1:true",
		"if /a/":            "1:false",
		"if /a/\nif /(b/":   "2:true 1:false",
		"endif":             "1:true",
		"if /a/ x\nendif x": "1:false 2:false",
		" /a/ X":            "1:true",
		"/a/X X":            "1:false",
		"/a/ X":             "",
	} {
		_, problems := Parse(table, PCRE)
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%d:%v", p.Line, p.Skipped))
			if p.Unsupported {
				t.Errorf("%q: %+v", table, p)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", table, got, want)
		}
	}
	if _, problems := Parse("/(?R)/ X\n", PCRE); len(problems) != 1 || !problems[0].Unsupported {
		t.Error(problems)
	}
	if _, problems := Parse(strings.Repeat("#", MaxTable+1), PCRE); len(problems) != 1 || !problems[0].Unsupported {
		t.Error(problems)
	}
}

// A look-up that is given up is an error, negated or not (item 17 is a
// deviation), and what matches before it is an answer.
func TestLookupGivenUp(t *testing.T) {
	tb, _ := Parse("/first/ X\n!/(a)\\1/ Y\n", PCRE)
	spent := pattern.NewBudget(0, time.Now)
	if _, line, ok, err := tb.Lookup([]byte("other aa"), spent); ok || line != 2 || !errors.Is(err, pattern.ErrOverBudget) {
		t.Error(line, ok, err)
	}
	if result, _, ok, err := tb.Lookup([]byte("first"), spent); !ok || err != nil || result != "X" {
		t.Error(result, ok, err)
	}
}

func TestQuery(t *testing.T) {
	tb, _ := Parse("/^$/ empty\n/^a/ X\n", PCRE)
	var out strings.Builder
	found, err := Query(tb, strings.NewReader("a\n\nb\na\x00c\nab"), &out, budget, nil)
	if want := "a\tX\n\tempty\na\tX\nab\tX\n"; !found || err != nil || out.String() != want {
		t.Errorf("%v %v %q", found, err, out.String())
	}
	if found, err := Query(tb, strings.NewReader("b\n"), &out, budget, nil); found || err != nil {
		t.Error(found, err)
	}
}
