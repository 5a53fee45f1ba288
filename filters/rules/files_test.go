package rules

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOddFiles: what is no file of text must neither hang a reload nor be taken
// for no rules. Opening a pipe that nobody writes to would wait for ever.
func TestOddFiles(t *testing.T) {
	const rule = "[[rule]]\nid = \"x\"\nmatch = ['sender in list \"l\"']\n"
	for name, make := range map[string]func(path string) error{
		"pipe":   func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"folder": func(p string) error { return os.Mkdir(p, 0o700) },
		"loop":   func(p string) error { return os.Symlink(p, p) },
		"zero":   func(p string) error { return os.Symlink("/dev/zero", p) },
	} {
		for _, list := range []bool{false, true} {
			c := folder(t, rule)
			path := filepath.Join(filepath.Dir(c.Files[0]), "b.toml")
			if list {
				path = filepath.Join(filepath.Dir(path), "l")
			} else if err := os.WriteFile(filepath.Join(filepath.Dir(path), "l"), []byte("a@b.example\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			s, errs, _ := c.Read(nil)
			if s != nil || len(errs) != 1 || !strings.Contains(errs[0].Error(), filepath.Base(path)) {
				t.Errorf("%s, list %v: %v", name, list, errs)
			}
		}
	}
}
