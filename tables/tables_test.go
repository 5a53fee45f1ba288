package tables

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// flat writes entries as "line|key|value".
func flat(entries []Entry) (out []string) {
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d|%s|%s", e.Line, e.Key, e.Value))
	}
	return out
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"only comments", "# a\n\n   \n\t# b\n", nil},
		{"one word", "a\n", []string{"1|a|"}},
		{"no line end", "a b", []string{"1|a|b"}},
		{"value is trimmed", "a \t b  c \t\n", []string{"1|a|b  c"}},
		{"goes on", "a b\n  c\n\td\n", []string{"1|a|b  c\td"}},
		{"goes on over a comment and an empty line", "a b\n# c\n\n  d\n   # e\nf g\n", []string{"1|a|b  d", "6|f|g"}},
		{"a value on the next line", "a\n  b\n", []string{"1|a|b"}},
		{"CRLF", "a b\r\n\r\n# c\r\n  d\r\ne\r\n", []string{"1|a|b  d", "5|e|"}},
		{"byte order mark", "\xef\xbb\xbfa b\n", []string{"1|a|b"}},
		{"quoted key", `"a b"@c ok` + "\n", []string{`1|"a b"@c|ok`}},
		{"escaped quote", `"a\" b"@c ok` + "\n", []string{`1|"a\" b"@c|ok`}},
		{"quote in the value", `a say "x` + "\n", []string{`1|a|say "x`}},
		{"a hash later in the line", "a b # c\n", []string{"1|a|b # c"}},
		{"UTF-8", "bücher.example ok\n", []string{"1|bücher.example|ok"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := Parse("f", []byte(c.text), Options{})
			if !slices.Equal(flat(got), c.want) || len(problems) > 0 {
				t.Errorf("%q, %v; want %q", flat(got), problems, c.want)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	text := "  leads\n" + // 1
		"good 1\n" +
		"nul\x00 x\n" + // 3
		"  and goes on\n" +
		"latin \xe9\n" + // 5
		"\"open x\n" + // 6
		"esc \x1b[2J\n" + // 7
		"lone \r x\n" + // 8
		"c1 \u0085\n" + // 9
		strings.Repeat("x", 101) + "\n" + // 10
		"long\n " + strings.Repeat("y", 99) + "\n" + // 12
		"good 2\n" +
		"\ufeffmark\n" // 14
	entries, problems := Parse("/l", []byte(text), Options{MaxLine: 100})
	if got := flat(entries); !slices.Equal(got, []string{"2|good|1", "13|good|2"}) {
		t.Errorf("%q", got)
	}
	want := []string{
		"/l:1: begins with white space", "/l:3: holds a control", "/l:5: is not UTF-8", "/l:6: a double quote is not closed",
		"/l:7: holds a control", "/l:8: holds a control", "/l:9: holds a control", "/l:10: is longer than 100 bytes", "/l:12: is longer than 100 bytes",
		"/l:14: holds a byte order mark",
	}
	if len(problems) != len(want) {
		t.Fatalf("%q", problems)
	}
	for i, p := range problems {
		if !strings.HasPrefix(p.Error(), want[i]) {
			t.Errorf("%q, want %q", p.Error(), want[i])
		}
		if strings.ContainsAny(p.Error(), "\x00\x1b\r\n") {
			t.Errorf("raw octets in %q", p.Error())
		}
	}
}

func TestBounds(t *testing.T) {
	entries, problems := Parse("/l", []byte("a\nb\nc\nd\n"), Options{MaxEntries: 2})
	if len(entries) != 2 || len(problems) != 1 || problems[0].Error() != "/l:3: there are more than 2 entries" {
		t.Errorf("%v %v", entries, problems)
	}
	if entries, problems = Parse("/l", []byte("a\nb\n"), Options{MaxEntries: 2}); len(entries) != 2 || len(problems) > 0 {
		t.Errorf("%v %v", entries, problems)
	}
	if _, problems = Parse("/l", []byte("a b"), Options{MaxBytes: 2}); len(problems) != 1 || problems[0].Error() != "/l: is larger than 2 bytes" {
		t.Errorf("%v", problems)
	}
	_, problems = Parse("/l", bytes.Repeat([]byte("\x01\n"), 12), Options{MaxProblems: 3})
	if len(problems) != 4 || problems[3].Error() != "/l: 9 problems more" {
		t.Errorf("%v", problems)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "a b\n")
	if entries, problems := Read(good, Options{}); len(entries) != 1 || len(problems) > 0 || entries[0] != (Entry{"a", "b", good, 1}) {
		t.Errorf("%v %v", entries, problems)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):               "does not exist",
		filepath.Join(good, "x"):                 "does not exist: a part of its path is a file",
		dir:                                      "is a folder, not a file",
		pipe:                                     "is not a regular file",
		write("big", strings.Repeat("a", 1<<20)): "is larger than 1000 bytes",
		filepath.Join(dir, strings.Repeat("a", 300)): "cannot be read: file name too long",
	} {
		entries, problems := Read(path, Options{MaxBytes: 1000})
		if len(entries) > 0 || len(problems) != 1 || problems[0].Error() != path+": "+want {
			t.Errorf("%s: %v %v", path, entries, problems)
		}
	}
	if err := fileError(&os.PathError{Op: "open", Path: "x", Err: errors.New("a\x1bb")}); strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
	if err := fileError(&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}); err.Error() != "may not be read by this user" {
		t.Errorf("%q", err)
	}
}

// TestPostmap: what postmap makes of a table is what we read.
func TestPostmap(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "table")
	text := "# comment\na.example REJECT\n b.example\n  goes on\n\n# between\n\tand on\n" +
		"\"a b\"@c.example OK \n" + `x\ y z` + "\n" + `"q\" r"@d say "x` + "\nbücher.example DUNNO # no comment\n1.2.3\t  450  4.7.1 later \r\n"
	text = strings.TrimPrefix(text, "\n")
	for name, content := range map[string]string{"table": text, "main.cf": "compatibility_level = 3.6\nqueue_directory = " + dir + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	postmap, err := exec.LookPath("postmap")
	if err != nil {
		postmap = "/usr/sbin/postmap" // Debian keeps it off users' PATH
	}
	// -f: keys as written.
	if out, err := exec.Command(postmap, "-c", dir, "-f", "hash:"+path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("postmap: %v %s", err, out)
	}
	out, err := exec.Command(postmap, "-c", dir, "-f", "-s", "hash:"+path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	entries, problems := Read(path, Options{})
	var got []string
	for _, e := range entries {
		got = append(got, e.Key+"\t"+e.Value)
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(problems) > 0 || len(got) != 6 || !slices.Equal(got, want) {
		t.Errorf("problems %v\nwe   %q\nthey %q", problems, got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a b\n  c\n# d\n", "\"a b\"@c d\r\n", "\xef\xbb\xbfx\n", " lead\n", "\"open\n", "a\\", "k \x00\n v"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		entries, problems := Parse("f", []byte(s), Options{MaxLine: 200, MaxEntries: 50})
		lines := strings.Count(s, "\n") + 1
		last := 0
		var again strings.Builder
		for _, e := range entries {
			if e.Key == "" || e.Line <= last || e.Line > lines || len(e.Key)+len(e.Value) > 200 {
				t.Fatalf("%+v after line %d of %d", e, last, lines)
			}
			if strings.IndexFunc(e.Key+e.Value, isControl) >= 0 || e.Value != strings.Trim(e.Value, " \t") {
				t.Fatalf("%+v", e)
			}
			last = e.Line
			again.WriteString(e.Key + " " + e.Value + "\n")
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || strings.ContainsAny(p.Error(), "\x00\x1b\r\n") {
				t.Fatalf("%q of %d lines", p.Error(), lines)
			}
		}
		// An entry written on one line is read as the same entry.
		second, problems := Parse("f", []byte(again.String()), Options{MaxLine: 201, MaxEntries: 50})
		if len(second) != len(entries) || len(problems) > 0 {
			t.Fatalf("%+v\n%+v\n%v", entries, second, problems)
		}
		for i := range second {
			if second[i].Key != entries[i].Key || second[i].Value != entries[i].Value {
				t.Fatalf("%+v, then %+v", entries[i], second[i])
			}
		}
	})
}

func BenchmarkParse100k(b *testing.B) {
	var text bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&text, "user%d@host%d.example REJECT 5.7.1 not you\n", i, i%5000)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if e, p := Parse("f", text.Bytes(), Options{}); len(e) != 100_000 || len(p) > 0 {
			b.Fatal(len(e), p)
		}
	}
}
