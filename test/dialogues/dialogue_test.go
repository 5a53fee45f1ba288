package dialogues

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// step is a run of client lines and what Garita answers to them.
type step struct {
	send string // raw octets
	tls  bool
	want []string // 250, 5xx, closed
}

// dialogue is one file.
type dialogue struct {
	name, title, note string
	steps             []step
}

func load(t *testing.T, folder string) []dialogue {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 10 {
		t.Fatalf("%s has only %d dialogues", folder, len(names))
	}
	var all []dialogue
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parse(string(data))
		if err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		d.name = strings.TrimSuffix(filepath.Base(n), ".txt")
		all = append(all, d)
	}
	return all
}

func parse(text string) (dialogue, error) {
	var d dialogue
	n := 0
	// cur is open while it only has client lines.
	var cur step
	flush := func() {
		if cur.send != "" || cur.tls || len(cur.want) > 0 {
			d.steps = append(d.steps, cur)
		}
		cur = step{}
	}
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		tag, rest, _ := strings.Cut(line, ":")
		rest = strings.TrimPrefix(rest, " ")
		switch {
		case line == "":
		case strings.HasPrefix(line, "# ") && d.title == "":
			d.title = line[2:]
		case strings.HasPrefix(line, "#"):
		case tag == "note":
			d.note = rest
		case tag == "C" || tag == "R":
			raw, err := unescape(rest)
			if err != nil {
				return d, fmt.Errorf("line %d: %w", n, err)
			}
			if tag == "C" {
				raw += "\r\n"
			}
			if tag == "R" || len(cur.want) > 0 || cur.tls {
				// A raw line is a packet of its own.
				flush()
			}
			cur.send += raw
		case tag == "S":
			if rest != "closed" && len(rest) != 3 {
				return d, fmt.Errorf("line %d: %q is no reply", n, rest)
			}
			cur.want = append(cur.want, rest)
		case tag == "TLS":
			flush()
			cur.tls = true
			flush()
		default:
			return d, fmt.Errorf("line %d: %q", n, line)
		}
	}
	flush()
	if d.title == "" || len(d.steps) == 0 {
		return d, fmt.Errorf("no title or no steps")
	}
	return d, nil
}

func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("a backslash at the end")
		}
		switch s[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case '0':
			b.WriteByte(0)
		case '\\':
			b.WriteByte('\\')
		case 'x':
			if i+2 >= len(s) {
				return "", fmt.Errorf("a short \\x")
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", err
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			return "", fmt.Errorf("unknown escape \\%c", s[i])
		}
	}
	return b.String(), nil
}

// matches tells whether an answer is what the file asks for.
func matches(want, got string) bool {
	if strings.HasSuffix(want, "xx") {
		return len(got) == 3 && got[0] == want[0]
	}
	return want == got
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, bad := range []string{"", "# t\n", "# t\nX: y\n", "# t\nC: \\q\nS: 250\n", "# t\nC: \\x1\nS: 250\n", "# t\nC: a\nS: 25\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	d, err := parse("# t\nnote: n\n\nS: 220\nC: a\nC: b\nS: 250\nS: 5xx\nR: c\\r\\n\\x41\\0\nR: d\nS: 221\nTLS:\nC: e\nS: closed\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{want: []string{"220"}},
		{send: "a\r\nb\r\n", want: []string{"250", "5xx"}},
		{send: "c\r\nA\x00"},
		{send: "d", want: []string{"221"}},
		{tls: true},
		{send: "e\r\n", want: []string{"closed"}},
	}
	if !reflect.DeepEqual(d.steps, want) {
		t.Errorf("got  %+v\nwant %+v", d.steps, want)
	}
}
