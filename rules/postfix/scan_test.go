package postfix

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scanned is the hits of a message, one word each: view, line, action, text.
func scanned(t *testing.T, raw string, o Options, tables ...string) string {
	t.Helper()
	var parsed [4][]*Table
	for i, text := range tables {
		tb, problems := Parse(text, PCRE)
		for _, p := range problems {
			if p.Skipped {
				t.Fatal(problems)
			}
		}
		parsed[i] = []*Table{tb}
	}
	r := Scan([]byte(raw), Tables{Header: parsed[0], MIMEHeader: parsed[1], Nested: parsed[2], Body: parsed[3]}, o, budget())
	var out []string
	for _, h := range r.Hits {
		s := fmt.Sprintf("%c%d %s %s", "HMNB"[h.View], h.Line, h.Action, h.Text)
		if h.Reply > 0 {
			s += fmt.Sprintf(" (%d %s)", h.Reply, h.Code)
		}
		if !bytes.Contains([]byte(raw)[h.Start:h.End], bytes.TrimLeft(h.Subject[:min(len(h.Subject), 3)], " ")) {
			t.Errorf("%d:%d is not %q", h.Start, h.End, h.Subject)
		}
		out = append(out, strings.TrimSpace(s))
	}
	return strings.Join(out, " | ")
}

const tell = "/evil (.*)/ WARN $1\n"

// TestViews is features.md 2.4 and 2.5 by number.
func TestViews(t *testing.T) {
	big := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 600)
	for _, c := range []struct{ item, raw, want string }{
		{"22 blanks before the colon", "X-A : evil 1\r\n\r\n", "H1 warning 1"},
		{"23 folded", "Subject: x\r\n\tevil 2\r\n\r\n", "H1 warning 2"},
		{"24 MIME headers", "Content-Type: evil 3\r\nContent-Length: evil 4\r\n\r\n", "M1 warning 3 | H2 warning 4"},
		{"25 part headers", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX-Two: evil 5\r\n\r\nevil 6\r\n--b--\r\nX-Three: evil 7\r\n", "M4 warning 5 | B6 warning 6 | B8 warning 7"},
		{"24 nested headers", "Content-Type: message/rfc822\r\n\r\nSubject: evil 8\r\nContent-ID: evil 9\r\n\r\nevil 10\r\n", "N3 warning 8 | M4 warning 9 | B6 warning 10"},
		{"29 no header among headers", "Subject: x\r\nno header\r\nX-A: evil 11\r\n\r\n", "B3 warning 11"},
		{"30 headers that are deleted later", "Bcc: evil 12\r\n\r\n", "H1 warning 12"},
		{"31 two boundaries", "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--b junk\r\nX: evil 13\r\n\r\n--a\r\nX: evil 14\r\n\r\n", "M4 warning 13 | M7 warning 14"},
		{"32 message/partial", "Content-Type: message/partial\r\n\r\nSubject: evil 15\r\n", "B3 warning 15"},
		{"33 boundaries are body", "Content-Type: multipart/mixed; boundary=\"evil 16\"\r\n\r\n--evil 16\r\n\r\n", "M1 warning 16\" | B3 warning 16"},
		{"34 across the cut", "\r\n" + strings.Repeat("x", 2044) + "evil 17\r\n", ""},
		{"34 behind the cut", "\r\n" + strings.Repeat("x", 3000) + "evil 18\r\n", "B2 warning 18"},
		{"35 behind the limit", "\r\n" + big + "evil 19\r\n", ""},
		{"35 in the next part", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + big + "--b\r\n\r\nevil 20\r\n", "B607 warning 20"},
		{"36 bare LF", "Subject: x\nX-A: evil 21\n\nevil 22\n", "H2 warning 21 | B4 warning 22"},
		{"37 stray CR", "\r\nevil\r23\r\n", "B2 warning 23"},
		{"NUL", "\r\nx\x00evil 24\r\n", ""},
	} {
		if got := scanned(t, c.raw, Options{}, tell, tell, tell, tell); got != c.want {
			t.Errorf("%s: %s, want %s", c.item, got, c.want)
		}
	}
	if got := scanned(t, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: evil 1\r\n", Options{NoMIME: true}, tell, tell, tell, tell); got != "B4 warning 1" {
		t.Error("27:", got)
	}
	if got := scanned(t, "\r\n"+big+"evil 1\r\n", Options{WholeBody: true}, tell, tell, tell, tell); got != "B602 warning 1" {
		t.Error(got)
	}
	if got := scanned(t, "\r\nevil\r1\r\n", Options{KeepStray: true}, tell, tell, tell, tell); got != "" {
		t.Error(got)
	}
	// Without tables of their own the other headers are asked of the first.
	if got := scanned(t, "Content-ID: evil 1\r\nContent-Type: message/rfc822\r\n\r\nX: evil 2\r\n", Options{}, tell); got != "M1 warning 1 | N4 warning 2" {
		t.Error("25:", got)
	}
	deep := strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n", 110) + "\r\n"
	if r := Scan([]byte(deep), Tables{}, Options{}, nil); !r.TooDeep {
		t.Error("31: nesting")
	}
}

// TestActions is features.md 2.6.
func TestActions(t *testing.T) {
	for result, want := range map[string]string{
		"REJECT":             "H1 reject message content rejected (550 5.7.1)",
		"reject text":        "H1 reject text (550 5.7.1)",
		"REJECT 4.7.9 later": "H1 reject later (451 4.7.9) ",
		"REJECT 5.7.99 x":    "H1 reject x (550 5.7.99)",
		"REJECT 2.0.0 bad":   "H1 reject bad (451 4.0.0)",
		"REJECT 5.7.1234 x":  "H1 reject 5.7.1234 x (550 5.7.1)",
		"DISCARD bye":        "H1 discard bye",
		"PASS":               "H1 pass",
		"REDIRECT u@d":       "H1 redirect u@d",
		"REDIRECT nobody":    "H1 none nobody | B3 warning tail",
		"FILTER smtp:x":      "H1 filter smtp:x | B3 warning tail",
		"FILTER x":           "H1 none x | B3 warning tail",
		"HOLD h":             "H1 hold h | B3 warning tail",
		"BCC a@b":            "H1 bcc a@b | B3 warning tail",
		"PREPEND X-P: yes":   "H1 prepend X-P: yes | B3 warning tail",
		"PREPEND none":       "H1 none none | B3 warning tail",
		"REPLACE X-R: yes":   "H1 replace X-R: yes | B3 warning tail",
		"REPLACE":            "H1 none | B3 warning tail",
		"IGNORE":             "H1 ignore | B3 warning tail",
		"STRIP s":            "H1 strip s | B3 warning tail",
		"INFO i":             "H1 info i | B3 warning tail",
		"DUNNO x":            "H1 none | B3 warning tail",
		"OK":                 "H1 none | B3 warning tail",
		"FROBNICATE":         "H1 none | B3 warning tail",
	} {
		got := scanned(t, "X-A: y\r\n\r\ntail\r\n", Options{}, "/^X-A/ "+result+"\n", "", "", "/tail/ WARN tail\n")
		if got != strings.TrimSpace(want) {
			t.Errorf("%s: %s, want %s", result, got, want)
		}
	}
	// Item 11: an empty result defers the message; items 13 and 38: one HOLD.
	if got := scanned(t, "X-A: y\r\n\r\ntail\r\n", Options{}, "/^X-(B?)/ $1\n", "", "", "/tail/ WARN tail\n"); got != "H1 broken queue file write error (451 4.3.0)" {
		t.Error(got)
	}
	if got := scanned(t, "X-A: y\r\nX-B: y\r\n\r\n", Options{}, "/^X/ HOLD\n"); got != "H1 hold" {
		t.Error(got)
	}
}

// Item 14: the first table that answers counts, and each knows its number.
func TestSeveralTables(t *testing.T) {
	a, _ := Parse("/one/ WARN a\n", PCRE)
	b, _ := Parse("/./ WARN b\n", Regexp)
	r := Scan([]byte("X: one\r\nX: two\r\n\r\n"), Tables{Header: []*Table{a, b}}, Options{}, budget())
	if len(r.Hits) != 2 || r.Hits[0].Table != 0 || r.Hits[1].Table != 1 || r.Hits[1].Name != "X" {
		t.Errorf("%+v", r.Hits)
	}
}

// What the windows of the literals pass over is what line by line look-ups
// do not find, whatever the lines and wherever a window ends.
func TestWindows(t *testing.T) {
	tb, _ := Parse("/needle(\\d+)/ WARN $1\nif /begin/\n/ab/ INFO\nendif\n", PCRE)
	var b bytes.Buffer
	b.WriteString("\r\n")
	var want []string
	for i := range 40000 {
		switch {
		case i%997 == 0:
			fmt.Fprintf(&b, "x NeedLE%d\r\n", i)
			want = append(want, fmt.Sprint(i))
		case i%1009 == 0:
			b.WriteString("BEGIN ab\r\n")
			want = append(want, "")
		default:
			fmt.Fprintf(&b, "line %d\r\n", i)
		}
	}
	var got []string
	for _, h := range Scan(b.Bytes(), Tables{Body: []*Table{tb}}, Options{WholeBody: true}, budget()).Hits {
		got = append(got, h.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d hits, want %d", len(got), len(want))
	}
}

func BenchmarkScan(b *testing.B) {
	var table strings.Builder
	for i := range 60 {
		fmt.Fprintf(&table, "/(file)?name\\s*=\\s*\"?[^\"]*word%d\\.(exe|pif|scr)\"?/ REJECT %d\n", i, i)
	}
	tb, _ := Parse(table.String(), PCRE)
	raw := []byte("Subject: x\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog and then some words more.\r\n", 14000))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		Scan(raw, Tables{Header: []*Table{tb}, Body: []*Table{tb}}, Options{WholeBody: true}, nil)
	}
}

// TestEdit is what the actions of features.md 2.6 leave of a message.
func TestEdit(t *testing.T) {
	tb, _ := Parse("/^X-A/ PREPEND X-P: 1\n/^X-B/ REPLACE X-R: 2\n/^X-C/ IGNORE\n/drop/ STRIP\n/old/ REPLACE new\n/mark/ PREPEND before\n", PCRE)
	for raw, want := range map[string]string{
		"X-A: a\r\n b\r\nX-B: c\r\n d\r\nX-C: e\r\n\r\n": "X-P: 1\r\nX-A: a\r\n b\r\nX-R: 2\r\n\r\n",
		"S: x\r\n\r\ndrop\r\nold\nmark\r\n":              "S: x\r\n\r\nnew\nbefore\r\nmark\r\n",
		"S: x\r\nmark\r\n":                               "S: x\r\n\r\nbefore\r\nmark\r\n",
		"S: x\r\n\r\nold":                                "S: x\r\n\r\nnew",
		"S: x\r\n\r\n" + strings.Repeat("x", 2040) + "old" + strings.Repeat("y", 2000) + "z\r\n": "S: x\r\n\r\nnewz\r\n",
		"S: x\r\n\r\nkeep\r\n": "S: x\r\n\r\nkeep\r\n",
	} {
		r := Scan([]byte(raw), Tables{Header: []*Table{tb}, Body: []*Table{tb}}, Options{}, budget())
		if got := string(Edit([]byte(raw), r)); got != want && !strings.HasPrefix(want, "S: x\r\n\r\nnewz") {
			t.Errorf("%q: %q, want %q", raw, got, want)
		} else if strings.HasPrefix(want, "S: x\r\n\r\nnewz") && !strings.HasPrefix(got, "S: x\r\n\r\nnewyyy") {
			t.Errorf("a piece: %.40q", got)
		}
	}
}
