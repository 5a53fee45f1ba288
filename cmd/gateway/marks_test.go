package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListsThatShrink: what changes in a file of entries is told, and one that
// has lost most of them is warned of: it is what a failed export looks like.
func TestListsThatShrink(t *testing.T) {
	d, file, _ := inProcess(t)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(filepath.Dir(file), "blocked")
	write := func(n int) {
		t.Helper()
		text := "# a comment\n"
		for i := range n {
			text += fmt.Sprintf("user%d@blocked.example reject\n", i)
		}
		if err := os.WriteFile(list, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write(100)
	text := strings.Replace(string(raw), "[check.access]", "[check.access]\nsender_files = [\""+list+"\"]", 1)
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	reload := func() *reloadReport {
		t.Helper()
		r, err := d.reload(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := reload(); len(r.Changed) != 1 || len(r.Warn) != 0 {
		t.Errorf("a new list: %+v", r)
	}
	if r := reload(); len(r.Changed) != 0 {
		t.Errorf("nothing has changed: %+v", r)
	}
	write(101)
	if r := reload(); len(r.Changed) != 1 || !strings.Contains(r.Changed[0], "100 -> 101 entries") || len(r.Warn) != 0 {
		t.Errorf("one more: %+v", r)
	}
	write(1)
	if out, err := d.diff(context.Background(), nil); err != nil || len(out.(difference).Warn) != 1 {
		t.Errorf("diff: %+v %v", out, err)
	}
	if r := reload(); len(r.Warn) != 1 || !strings.Contains(r.Warn[0].String(), "had 101 entries and has 1 now") {
		t.Errorf("almost empty: %+v", r)
	}
	write(0)
	if r := reload(); len(r.Warn) != 1 {
		t.Errorf("empty: %+v", r)
	}
}

func TestEntriesIn(t *testing.T) {
	if n := entriesIn([]byte("# c\n\na x\n  goes on\nb y\r\n\r\n\tgoes on\nc")); n != 3 {
		t.Errorf("%d entries", n)
	}
}

func TestPublicNetworks(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.0.0/9": true, "203.0.113.0/24": false, "8.0.0.0/19": true, "10.0.0.0/8": false, "100.64.0.0/10": false,
		"127.0.0.0/8": false, "2001:db8::/31": true, "2001:db8::/32": false, "fd00::/8": false,
	} {
		if got := publicly(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestObservedLists: in observe mode the operator's own entries refuse
// nothing, which is said where he looks.
func TestObservedLists(t *testing.T) {
	s := defaults()
	s.Mode = "observe"
	warns := func() bool {
		f := &faults{s: &s}
		f.observed()
		return len(f.list) == 1 && f.list[0].warning
	}
	if warns() {
		t.Error("a warning without entries")
	}
	s.Check.Access.Senders = []string{"juan@example.org reject"}
	if !warns() {
		t.Error("no warning of entries that refuse nothing")
	}
	if s.Mode = "enforce"; warns() {
		t.Error("a warning in enforce")
	}
}
