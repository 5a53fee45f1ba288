package docs

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"garita/filters/clamav/fakeclamd"
	"garita/test/harness"
)

// TestFigures asks a running gateway for its figures: those that a page names
// must be there, and a label that an alert asks for too.
func TestFigures(t *testing.T) {
	t.Parallel()
	dir := harness.Dir(t)
	file := filepath.Join(dir, "config.toml")
	addr := harness.Addr(t)
	in := harness.Addr(t)
	clamd, err := fakeclamd.New("unix", filepath.Join(dir, "clamd.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	defer clamd.Close()
	text := strings.NewReplacer("0.0.0.0:25", in, "192.0.2.20:25", harness.Addr(t)).Replace(base)
	names := harness.StartDNS(t, "2.0.0.127.bl.spamcop.net. 60 IN A 127.0.0.2")
	text = "state_dir = \"" + dir + "/state\"\n" + text + "[admin]\nsocket = \"" + dir + "/admin.sock\"\n[metrics]\nlisten = \"" + addr + "\"\n[check.access]\nsenders = [\"a@x.example reject\"]\n" +
		"[check.clamav]\nmode = \"enforce\"\nservers = [\"" + clamd.Address() + "\"]\nconfig_file = \"\"\n" +
		"[dns]\nservers = [\"" + names.Addr + "\"]\n[check.dnsbl]\nmode = \"score\"\nlists = [\"spamcop\"]\n[rbl]\naddresses = [\"203.0.113.5\"]\nlists = [\"spamcop\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, harness.Binary(t), "run", "--config", file)
	if out, code := harness.Command(t, harness.Binary(t), "health", "--wait", harness.Patience.String(), "--config", file); code != 0 {
		t.Fatal(out)
	}
	// How we stand on lists is known when they were asked.
	if out, code := harness.Command(t, harness.Binary(t), "rbl", "--config", file); code != 0 || !strings.Contains(out, "clean") {
		t.Fatal(code, out)
	}
	get := func(path string) string {
		r, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// Rules are counted by name, so one must have had something to say.
	c := harness.Greeted(t, in)
	c.Say("MAIL FROM:<a@x.example>").Want(250)
	c.Say("RCPT TO:<b@example.org>").Want(554)
	c.Say("QUIT").Want(221)
	c.WantClosed()
	// The date of the signatures is known when clamd was asked.
	have := get("/metrics")
	for end := time.Now().Add(harness.Patience); !strings.Contains(have, "\ngarita_clamav_signatures_timestamp_seconds ") && time.Now().Before(end); have = get("/metrics") {
		time.Sleep(10 * time.Millisecond)
	}
	if got := get("/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	if got := get("/readyz?strict=1"); !strings.Contains(got, `"concerns": [`) {
		t.Errorf("/readyz: %q", got)
	}
	name := regexp.MustCompile(`\bgarita_[a-z_]+\b`)
	label := regexp.MustCompile(`(garita_[a-z_]+)\{([^}]*)\}`)
	n := 0
	for _, p := range documents(t) {
		text := strings.Join(p.prose, "\n")
		for _, b := range p.blocks {
			if b.info == "alerts" {
				text += "\n" + b.text
			}
		}
		if p.name == "docs/keys.md" {
			continue
		}
		for _, m := range name.FindAllString(text, -1) {
			n++
			if !strings.Contains(have, "\n"+m+"{") && !strings.Contains(have, "\n"+m+" ") {
				t.Errorf("%s: there is no figure %s", p.name, m)
			}
		}
		for _, m := range label.FindAllStringSubmatch(text, -1) {
			for _, pair := range strings.Split(m[2], ",") {
				if !regexp.MustCompile(`(?m)^` + m[1] + `\{[^}]*` + regexp.QuoteMeta(pair) + `[,}]`).MatchString(have) {
					t.Errorf("%s: no figure has %s of %s", p.name, pair, m[1])
				}
			}
		}
	}
	if n < 25 {
		t.Errorf("asked for only %d figures", n)
	}
}
