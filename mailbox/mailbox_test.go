package mailbox

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type seen struct {
	name, raw string
	err       error
}

func walk(t *testing.T, w *Walker, names ...string) []seen {
	t.Helper()
	for _, n := range names {
		if err := w.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	var out []seen
	if err := w.Walk(t.Context(), func(l *Letter) error {
		out = append(out, seen{filepath.Base(l.String()), string(l.Raw), l.Err})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "one.eml", "Subject: a\n\nbody\n")
	crlf := write(t, dir, "two.eml", "Subject: b\r\n\r\nbare\nhere\r\n")
	got := walk(t, &Walker{Max: 1 << 20}, one, crlf)
	want := []seen{{"one.eml", "Subject: a\r\n\r\nbody\r\n", nil}, {"two.eml", "Subject: b\r\n\r\nbare\nhere\r\n", nil}}
	compare(t, got, want)
}

func compare(t *testing.T, got, want []seen) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d messages %v, want %d", len(got), got, len(want))
	}
	for i := range want {
		if got[i].name != want[i].name || got[i].raw != want[i].raw || !errors.Is(got[i].err, want[i].err) {
			t.Errorf("%d: got %q %q %v, want %q %q %v", i, got[i].name, got[i].raw, got[i].err, want[i].name, want[i].raw, want[i].err)
		}
	}
}

func TestMbox(t *testing.T) {
	text := "From a@x Mon Jan  1 00:00:00 2026\nSubject: 1\n\nFrom here on\n>From there\n\nFrom b@x Mon Jan  1 00:00:00 2026\nSubject: 2\n\n\nlast line without end"
	got := walk(t, &Walker{Max: 1 << 20}, write(t, t.TempDir(), "mbox", text))
	// "From here on" is prose that nobody escaped.
	want := []seen{
		{"mbox:1", "Subject: 1\r\n\r\nFrom here on\r\n>From there\r\n", nil},
		{"mbox:2", "Subject: 2\r\n\r\n\r\nlast line without end", nil},
	}
	compare(t, got, want)
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cur/b", "Subject: b\n\n")
	write(t, dir, "cur/a", "Subject: a\n\n")
	write(t, dir, "new/empty", "")
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got := walk(t, &Walker{Max: 1 << 20}, dir)
	compare(t, got, []seen{{"a", "Subject: a\r\n\r\n", nil}, {"b", "Subject: b\r\n\r\n", nil}, {"empty", "", ErrEmpty}})
}

func TestTooLargeGoesOn(t *testing.T) {
	text := "From a@x Mon 10:00\nSubject: 1\n\n" + strings.Repeat("x", 100_000) + "\n\nFrom a@x Mon 10:00\nSubject: 2\n\nok\n"
	got := walk(t, &Walker{Max: 50_000}, write(t, t.TempDir(), "mbox", text))
	compare(t, got, []seen{{"mbox:1", "", ErrTooLarge}, {"mbox:2", "Subject: 2\r\n\r\nok\r\n", nil}})
}

func TestStandardInputAndEnd(t *testing.T) {
	got := walk(t, &Walker{Max: 100, In: strings.NewReader("Subject: a\n\nx\n")}, "-")
	compare(t, got, []seen{{"-", "Subject: a\r\n\r\nx\r\n", nil}})
	if err := new(Walker).Add(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a file that is not there was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &Walker{Max: 100, In: strings.NewReader("Subject: a\n\n")}
	if err := w.Add("-"); err != nil {
		t.Fatal(err)
	}
	if err := w.Walk(ctx, func(*Letter) error { t.Error("visited"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// FuzzMbox: nothing is lost but separators and the empty lines before them.
func FuzzMbox(f *testing.F) {
	f.Add([]byte("From x 10:00\na\n\nFrom y 11:11\nb\n"))
	f.Add([]byte("From x\n\nFrom \n\n\nFrom "))
	f.Add([]byte("a\r\nb\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &Walker{Max: 1 << 20, In: bytes.NewReader(text)}
		if err := w.Add("-"); err != nil {
			t.Fatal(err)
		}
		total, n := 0, 0
		if err := w.Walk(t.Context(), func(l *Letter) error {
			total += len(bytes.ReplaceAll(l.Raw, []byte("\r"), nil))
			n++
			if int64(total) > 2*int64(len(text)) || n > len(text)+1 {
				t.Fatal("more than there is")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("From ")) && total != len(bytes.ReplaceAll(text, []byte("\r"), nil)) {
			t.Fatalf("%d octets of %d", total, len(text))
		}
	})
}
