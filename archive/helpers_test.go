package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seen is an entry without its data's lifetime.
type seen struct {
	Entry
	content string
}

// result is what one walk told.
type result struct {
	entries []seen
	defects []Defect
}

func walk(t testing.TB, data []byte) result {
	t.Helper()
	return walkWith(t, data, NewBudget(DefaultLimits(), time.Time{}))
}

func walkWith(t testing.TB, data []byte, b *Budget) result {
	t.Helper()
	var r result
	var err error
	r.defects, err = Walk(context.Background(), data, b, func(e *Entry) error {
		s := seen{Entry: *e}
		s.content = string(e.Data[:min(len(e.Data), 4096)])
		s.Data = nil
		r.entries = append(r.entries, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r result) names() (out []string) {
	for _, e := range r.entries {
		out = append(out, e.Names...)
	}
	return out
}

// has tells that a member of that name was seen, with the content unless "".
func (r result) has(name, content string) bool {
	return slices.ContainsFunc(r.entries, func(e seen) bool {
		return slices.Contains(e.Names, name) && (content == "" || strings.Contains(e.content, content))
	})
}

func (r result) ids() (out []string) {
	for _, d := range r.defects {
		if !slices.Contains(out, d.ID) {
			out = append(out, d.ID)
		}
	}
	return out
}

func (r result) flagged(id string) bool { return slices.Contains(r.ids(), id) }

// worst is the strongest grade.
func (r result) grades() (out []Grade) {
	for _, d := range r.defects {
		if !slices.Contains(out, d.Grade) {
			out = append(out, d.Grade)
		}
	}
	return out
}

func (r result) mustHave(t testing.TB, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !r.has(pairs[i], pairs[i+1]) {
			t.Errorf("no member %q with %q; names %q defects %v", pairs[i], pairs[i+1], r.names(), r.ids())
		}
	}
}

func (r result) mustFlag(t testing.TB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if !r.flagged(id) {
			t.Errorf("no defect %s; have %v, names %q", id, r.ids(), r.names())
		}
	}
}

// mustBeOrdinary wants nothing stronger than Odd.
func (r result) mustBeOrdinary(t testing.TB) {
	t.Helper()
	for _, d := range r.defects {
		if d.Grade != Odd {
			t.Errorf("an ordinary archive has defect %s (%v) in %q: %q", d.ID, d.Grade, d.In, d.Text)
		}
	}
}

// run runs a real program in a folder of the test.
func run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func writeFile(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// text is compressible and of no kind.
func text(n int) []byte {
	return bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog\n"), n/44+1)[:n]
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// folder has files that every writer gets.
func folder(t testing.TB) string {
	dir := t.TempDir()
	writeFile(t, dir, "hello.txt", []byte("hello, world\n"))
	writeFile(t, dir, "sub/long.txt", text(100_000))
	writeFile(t, dir, "sub/noise.bin", noise(70_000))
	writeFile(t, dir, "empty", nil)
	writeFile(t, dir, "año ñandú.txt", []byte("acentos\n"))
	return dir
}

// goZip makes a zip of pairs of name and content with the standard library.
func goZip(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		f, err := w.Create(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(pairs[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sprintf(format string, args ...string) string {
	for _, a := range args {
		format = strings.Replace(format, "%s", a, 1)
	}
	return format
}
