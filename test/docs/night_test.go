package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/test/harness"
)

// TestNightException plays the exception of the page for the night: it lets
// that sender through from that client alone, an accept of the client does not,
// and in mode observe nobody is refused.
func TestNightException(t *testing.T) {
	t.Parallel()
	bin := program(t)
	var entry string
	for _, b := range read(t, "docs/operations.md").blocks {
		if strings.Contains(b.text, "[check.access.entry.ana]") {
			entry = b.text
		}
	}
	if entry == "" {
		t.Fatal("the page has no such block")
	}
	list, _, _ := strings.Cut(entry, "[check.access.entry")
	for _, tt := range []struct {
		name, access, mode, ip, want string
	}{
		{"client and sender", entry, "enforce", "203.0.113.9", "250 2.1.5"},
		{"another client", entry, "enforce", "203.0.113.10", "554 5.7.1"},
		{"the client alone", list + "clients = [\"203.0.113.9 accept\"]\n", "enforce", "203.0.113.9", "554 5.7.1"},
		{"the sender alone", strings.Replace(list, "= [", "= [\"ana@partner.example accept\", ", 1), "enforce", "203.0.113.9", "554 5.7.1"},
		{"observe", list, "observe", "203.0.113.10", "250 2.1.5"},
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		text := "mode = \"" + tt.mode + "\"\n" + complete(base, tt.access)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		dialogue := "EHLO mail.partner.example\nMAIL FROM:<ana@partner.example>\nRCPT TO:<juan@example.org>\nQUIT\n"
		out, code := harness.CommandInput(t, []byte(dialogue), filepath.Join(bin, "garita"), "session", "--ip", tt.ip, "--config", file)
		if code != 0 || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit status %d, want %s\n%s", tt.name, code, tt.want, out)
		}
	}
}
