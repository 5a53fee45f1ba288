package harness

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Setting is one key of config.toml that a test wants different. Value is
// TOML: strings bring their quotes.
type Setting struct{ Table, Key, Value string }

// Configure rewrites keys of a configuration file line by line, as an
// administrator with an editor would, and adds tables that are missing.
func Configure(t testing.TB, path string, settings ...Setting) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for _, s := range settings {
		lines = set(lines, s)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Append adds text to a configuration file.
func Append(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// set puts one key into its table: in place of the line that has it, active
// or commented out, else right below the table's head, else in a new table.
func set(lines []string, s Setting) []string {
	want := fmt.Sprintf("%s = %s", s.Key, s.Value)
	table, head, commented := "", -1, -1
	if s.Table == "" {
		head = 0
	}
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if name, ok := tableHead(line); ok {
			table = name
			if table == s.Table {
				head = i + 1
			}
			continue
		}
		if table != s.Table {
			continue
		}
		if key, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == s.Key {
			lines[i] = want
			return lines
		}
		if key, _, ok := strings.Cut(strings.TrimLeft(line, "# "), "="); ok && strings.TrimSpace(key) == s.Key {
			commented = i
		}
	}
	switch {
	case commented >= 0:
		lines[commented] = want
	case head >= 0:
		lines = append(lines[:head], append([]string{want}, lines[head:]...)...)
	default:
		lines = append(lines, "["+s.Table+"]", want, "")
	}
	return lines
}

func tableHead(line string) (string, bool) {
	if !strings.HasPrefix(line, "[") || strings.HasPrefix(line, "[[") {
		return "", false
	}
	end := strings.IndexByte(line, ']')
	if end < 0 {
		return "", false
	}
	return strings.TrimSpace(line[1:end]), true
}

// Value reads a key of a table as TOML text without its quotes, or "".
func Value(t testing.TB, path, table, key string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if name, ok := tableHead(line); ok {
			now = name
			continue
		}
		if k, v, ok := strings.Cut(line, "="); ok && now == table && strings.TrimSpace(k) == key {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

// TableOf finds the [listener.NAME] table with a role, or the empty string.
func TableOf(t testing.TB, path, role string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := tableHead(strings.TrimSpace(line)); ok && strings.HasPrefix(name, "listener.") {
			if Value(t, path, name, "role") == role {
				return name
			}
		}
	}
	return ""
}
