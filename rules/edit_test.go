package rules

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"garita/mail"
)

func TestSetMode(t *testing.T) {
	tests := []struct{ name, id, mode, in, want string }{
		{"replaced", "a", "off", "# x\n[[rule]]\nid = \"a\" # y\nmode = \"enforce\"  # z\nmatch=[]\n", "# x\n[[rule]]\nid = \"a\" # y\nmode = \"off\"  # z\nmatch=[]\n"},
		{"inserted", "a", "observe", "[[rule]]\nid = \"a\" # y\nmatch=[]\n", "[[rule]]\nid = \"a\" # y\nmode = \"observe\"\nmatch=[]\n"},
		{"crlf", "a", "off", "[[rule]]\r\nid = \"a\"\r\nscore = 1\r\n", "[[rule]]\r\nid = \"a\"\r\nmode = \"off\"\r\nscore = 1\r\n"},
		{"mixed line ends", "a", "off", "[[rule]]\r\nid = \"a\"\nscore = 1\r\n", "[[rule]]\r\nid = \"a\"\nmode = \"off\"\nscore = 1\r\n"},
		{"no last line end", "a", "off", "[[rule]]\nid = \"a\"", "[[rule]]\nid = \"a\"\nmode = \"off\""},
		{"no last line end, comment", "a", "off", "[[rule]]\r\nid = \"a\" # c", "[[rule]]\r\nid = \"a\" # c\r\nmode = \"off\""},
		{"indented, odd spacing", "a", "off", "[[ rule ]]\n\t  id=\"a\"\n", "[[ rule ]]\n\t  id=\"a\"\n\t  mode=\"off\"\n"},
		{"columns", "a", "off", "[[rule]]\nid     = \"a\"\nmatch  = []\n", "[[rule]]\nid     = \"a\"\nmode   = \"off\"\nmatch  = []\n"},
		{"single quotes", "a", "off", "[[rule]]\nmode  ='score'#x\nid='a'\n", "[[rule]]\nmode  ='off'#x\nid='a'\n"},
		{"long quotes", "a", "off", "[[rule]]\nid=\"\"\"\na\"\"\"\nmode='''\nscore'''\n", "[[rule]]\nid=\"\"\"\na\"\"\"\nmode='off'\n"},
		{"as it is", "a", "off", "[[rule]]\nid='a'\nmode=\"\"\"off\"\"\"\n", "[[rule]]\nid='a'\nmode=\"\"\"off\"\"\"\n"},
		{"the second of three", "b", "off", "[[rule]]\nid='a'\n[[rule]]\nid='b'\n[[rule.test]]\ntext='x'\n[[rule]]\nid='c'\n", "[[rule]]\nid='a'\n[[rule]]\nid='b'\nmode=\"off\"\n[[rule.test]]\ntext='x'\n[[rule]]\nid='c'\n"},
		{"an id in a text", "a", "off", "[[rule]]\ndescription='''\nid = \"a\"\nmode = \"off\"\n'''\nid = \"a\"\n", "[[rule]]\ndescription='''\nid = \"a\"\nmode = \"off\"\n'''\nid = \"a\"\nmode = \"off\"\n"},
		{"quoted keys", "a", "off", "[[rule]]\n\"id\" = \"a\"\n\"mode\" = \"score\"\n", "[[rule]]\n\"id\" = \"a\"\n\"mode\" = \"off\"\n"},
		{"byte order mark", "a", "off", "\ufeff[[rule]]\nid = \"a\"\n", "\ufeff[[rule]]\nid = \"a\"\nmode = \"off\"\n"},
		{"mode of a test table stays", "a", "off", "[[override]]\nrule='x'\nmode='score'\n[[rule]]\nid = \"a\"\n", "[[override]]\nrule='x'\nmode='score'\n[[rule]]\nid = \"a\"\nmode = \"off\"\n"},
	}
	for _, c := range tests {
		got, err := SetMode([]byte(c.in), c.id, c.mode)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%q, want\n%q", c.name, err, got, c.want)
		}
	}
}

func TestSetModeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"[[rule]]\nid = \"b\"\n": "no such rule",
		"":                       "no such rule",
		"[[rule]]\nid = \"a\"\n[[rule]]\nid = \"a\"\n":         "twice, in lines 1 and 3",
		"[[rule]]\nid = \"a\nmode = 1":                         "line 2",
		"[rule]\nid = \"a\"\n":                                 "double brackets",
		"[[rule]]\nid = \"a\"\nid = \"a\"\n":                   "twice",
		"[[rule]]\nid = \"a\"\nexpires = 2027-02-31\n":         "by hand",
		"[[rule]]\nid = \"a\"\ntest = 1\n[[rule.test]]\nx=1\n": "tests already",
	} {
		if got, err := SetMode([]byte(in), "a", "off"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
	if _, err := SetMode([]byte("[[rule]]\nid='a'\n"), "a", "on"); err == nil {
		t.Error("a mode that there is not")
	}
	if _, err := SetMode(nil, "a", "off"); !errors.Is(err, ErrNoRule) {
		t.Error(err)
	}
}

func TestAddOverride(t *testing.T) {
	observe, five, half := mail.Observe, 5.0, -0.5
	tests := []struct {
		name, in string
		o        Override
		want     string
	}{
		{"empty file", "", Override{Rule: "iframe", Mode: &observe}, "[[override]]\nrule = \"iframe\"\nmode = \"observe\"\n"},
		{"appended", "# c\n", Override{Tag: "virus", Score: &five}, "# c\n\n[[override]]\ntag = \"virus\"\nscore = 5.0\n"},
		{"no line end, crlf", "# c\r\n# d", Override{Set: "names", Mode: &observe, Score: &half}, "# c\r\n# d\r\n\r\n[[override]]\r\nset = \"names\"\r\nmode = \"observe\"\r\nscore = -0.5\r\n"},
		{"changed", "[[override]]\nrule='x'\nmode='off' # why\n", Override{Rule: "x", Mode: &observe}, "[[override]]\nrule='x'\nmode='observe' # why\n"},
		{"one there, one not", "[[override]]\nscore = 1 # n\nrule = \"x\" # r\n# end", Override{Rule: "x", Mode: &observe, Score: &five}, "[[override]]\nscore = 5.0 # n\nrule = \"x\" # r\nmode = \"observe\"\n# end"},
		{"both new", "[[override]]\nrule = \"x\"", Override{Rule: "x", Mode: &observe, Score: &five}, "[[override]]\nrule = \"x\"\nmode = \"observe\"\nscore = 5.0"},
		{"the last of two", "[[override]]\nrule='x'\nmode='off'\n[[override]]\nrule='x'\nmode='off'\n", Override{Rule: "x", Mode: &observe}, "[[override]]\nrule='x'\nmode='off'\n[[override]]\nrule='x'\nmode='observe'\n"},
		{"a tag of that name", "[[override]]\ntag='x'\nmode='off'\n", Override{Rule: "x", Mode: &observe}, "[[override]]\ntag='x'\nmode='off'\n\n[[override]]\nrule = \"x\"\nmode = \"observe\"\n"},
		{"as it is", "[[override]]\ntag='x'\nscore=5\n", Override{Tag: "x", Score: &five}, "[[override]]\ntag='x'\nscore=5\n"},
		{"byte order mark alone", "\ufeff", Override{Tag: "x", Score: &five}, "\ufeff[[override]]\ntag = \"x\"\nscore = 5.0\n"},
	}
	for _, c := range tests {
		got, err := AddOverride([]byte(c.in), c.o)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%q, want\n%q", c.name, err, got, c.want)
			continue
		}
		f, problems := Parse(Source{Name: "x.toml", Text: got}, ParseOptions{})
		if len(problems) > 0 || len(f.Overrides) == 0 {
			t.Errorf("%s: %v", c.name, problems)
		}
	}
	huge := 1e9
	for _, o := range []Override{{}, {Rule: "x"}, {Rule: "x", Tag: "y", Mode: &observe}, {Rule: "X", Mode: &observe}, {Rule: "x", Score: &huge}} {
		if got, err := AddOverride(nil, o); err == nil {
			t.Errorf("%+v: %q", o, got)
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte("# c\n[[rule]]\nid = \"a\" # x\nmatch = ['size > 1MB']\n[[rule.test]]\ntext = \"\"\"\nx\"\"\"\n"), uint8(1))
	f.Add([]byte("[[rule]]\r\n\tid='a'\r\n\tmode =  'off'\r\n[[override]]\r\nrule='a'\r\nscore=1"), uint8(2))
	f.Add([]byte("\ufeff[[override]]\nrule=\"a\"#"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		mode := mail.Mode(n % 4)
		if out, err := SetMode(in, "a", mode.String()); err == nil {
			sameButFor(t, in, out)
			before, _, _ := parse(Source{Name: "x", Text: in}, ParseOptions{})
			after, _, _ := parse(Source{Name: "x", Text: out}, ParseOptions{})
			if len(before.Rules) != len(after.Rules) || len(before.Overrides) != len(after.Overrides) {
				t.Fatalf("other rules: %q", out)
			}
			for i, r := range after.Rules {
				b := before.Rules[i]
				if r.ID == "a" && r.Mode != mode || r.ID != "a" && r.Mode != b.Mode || r.ID != b.ID ||
					len(r.Match) != len(b.Match) || len(r.Tests) != len(b.Tests) || r.Description != b.Description {
					t.Fatalf("rule %d differs: %q", i, out)
				}
			}
		}
		score := float64(n) / 8
		if out, err := AddOverride(in, Override{Rule: "a", Mode: &mode, Score: &score}); err == nil {
			sameButFor(t, in, out)
			again, err := AddOverride(out, Override{Rule: "a", Mode: &mode, Score: &score})
			if err != nil || !bytes.Equal(again, out) {
				t.Fatalf("twice is not once: %v\n%q\n%q", err, out, again)
			}
		}
	})
}

// sameButFor wants every octet of in in its place in out, but for the values that
// were there before: then what stands around them.
func sameButFor(t *testing.T, in, out []byte) {
	t.Helper()
	r := readTOML(newDocument("x", in))
	var kept [][]byte
	at := 0
	for _, table := range r.tables {
		for _, e := range table.entries {
			if e.name == "mode" || e.name == "score" {
				kept = append(kept, in[at:e.val.at.start])
				at = e.val.at.end
			}
		}
	}
	// Each piece is there, whole or with lines put in between, in its order.
	rest := out
	for _, piece := range append(kept, in[at:]) {
		for _, line := range bytes.SplitAfter(piece, []byte("\n")) {
			i := bytes.Index(rest, line)
			if i < 0 {
				t.Fatalf("%q is lost: %q -> %q", line, in, out)
			}
			rest = rest[i+len(line):]
		}
	}
}
