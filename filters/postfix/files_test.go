package postfix

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOddFiles: a pipe in the place of a table must not hang a reload.
func TestOddFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "header")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.HeaderChecks = []string{"pcre:" + path}
	errs := c.Validate()
	if len(errs) == 0 || !strings.Contains(errs[0].Error(), "not a regular file") {
		t.Errorf("%v", errs)
	}
}
