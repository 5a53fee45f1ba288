package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/accounts"
	"garita/conduct"
	"garita/config"
	"garita/filters"
	"garita/filters/all"
	"garita/mail"
	"garita/resolver"
	"garita/smtpproxy/routing"
	"garita/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// effect is one key, a value that is not its default, and what comes of it.
type effect struct {
	key, value string
	base       string // more TOML, with and without the key
	scene      string // what is done; its meaning is the test's
	// want is what the scene shows with the key and not without, after a
	// plus; or after a minus what it shows without the key and not with it.
	want string
	// still is what it shows with the key all the same, so that nothing at
	// all is not taken for an effect.
	still string
}

// line is the row's TOML with the key.
func (e effect) line() string { return e.key + " = " + e.value }

// judge compares what a scene showed without the key and with it.
func (e effect) judge(t *testing.T, without, with string) {
	t.Helper()
	if !strings.Contains(with, e.still) {
		t.Errorf("%s: %q is gone:\n%s", e.line(), e.still, with)
	}
	sign, text := e.want[0], e.want[1:]
	if sign == '-' {
		without, with = with, without
	}
	if text == "" || !strings.Contains(with, text) {
		t.Errorf("%s: %q is not shown:\n%s", e.line(), e.want, with)
	}
	if strings.Contains(without, text) {
		t.Errorf("%s: %q is shown without it, or still:\n%s", e.line(), e.want, without)
	}
}

// run observes every row twice.
func run(t *testing.T, rows []effect, observe func(t *testing.T, toml string, e effect) string) {
	t.Helper()
	for _, e := range rows {
		t.Run(e.key, func(t *testing.T) {
			t.Parallel()
			e.judge(t, observe(t, e.base, e), observe(t, e.base+"\n"+e.line(), e))
		})
	}
}

// settings are the tables of config.toml that rows read without the program.
type settings struct {
	DNS     resolver.Config `toml:"dns"`
	Users   accounts.Config `toml:"users"`
	Conduct conduct.Config  `toml:"conduct"`
	Route   routing.Config  `toml:"route"`
	Check   all.Config      `toml:"check"`
	Score   struct {
		Inbound  filters.Thresholds `toml:"inbound"`
		Outbound filters.Thresholds `toml:"outbound"`
	} `toml:"score"`
}

// read reads TOML as the program does.
func read(t *testing.T, toml string) settings {
	t.Helper()
	s := settings{
		DNS: resolver.Default(), Users: accounts.Default(), Conduct: conduct.Default(), Route: routing.Default(), Check: all.Default(),
	}
	s.Score.Inbound, s.Score.Outbound = filters.DefaultThresholds()[mail.In], filters.DefaultThresholds()[mail.Out]
	if _, problems := config.Decode("test.toml", []byte(toml), &s, config.Options{NoDropIns: true}); len(problems) > 0 {
		t.Fatalf("%s\n%s", toml, problems.Error())
	}
	return s
}

// file writes a file into a folder of the test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withFile puts the path of a file with the text between the braces of {…} in
// place of it.
func withFile(t *testing.T, toml string) string {
	t.Helper()
	before, rest, ok := strings.Cut(toml, "{file:")
	if !ok {
		return toml
	}
	text, after, _ := strings.Cut(rest, "}")
	return before + file(t, "entries", strings.ReplaceAll(text, "|", "\n")+"\n") + withFile(t, after)
}
