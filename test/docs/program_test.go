package docs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

var update = flag.Bool("update", false, "write docs/keys.md anew")

// built is garita, built once and without the race detector, with which the
// two hundred short commands of the pages would take minutes.
var built = sync.OnceValues(func() (string, error) {
	dir := place()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "garita"), "./cmd/gateway")
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v\n%s", err, out)
	}
	return dir, nil
})

// place is where it is built; TestMain takes it away.
func place() string { return filepath.Join(os.TempDir(), fmt.Sprintf("garita-docs-%d", os.Getpid())) }

// program gives the folder of garita.
func program(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// garita runs one command line and gives what it said and its exit code.
func garita(t *testing.T, bin string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "garita"), args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// settle puts the places of an installation into a folder of the test, so that
// an example is not judged by what this machine has. The certificate that it
// names is made, and so are the files that its page shows.
func settle(t *testing.T, text string, files ...block) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, ok := strings.CutPrefix(strings.TrimPrefix(f.info, "file "), "/etc/garita/")
		if !ok {
			t.Fatalf("line %d: a file of an example lies in /etc/garita: %q", f.line, f.info)
		}
		name = filepath.Join(dir, "etc", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for old, now := range map[string]string{
		"/etc/garita": "etc", "/var/lib/garita": "lib", "/var/log/garita": "log", "/run/garita": "run",
	} {
		text = strings.ReplaceAll(text, old, filepath.Join(dir, now))
	}
	// init without --dir means the places of an installation too.
	text = strings.ReplaceAll(text, "garita init --hostname", "garita init --dir "+dir+"/etc --log "+dir+"/log/mail.log --hostname")
	text = strings.ReplaceAll(text, "garita config check\n", "garita config check --config "+dir+"/etc/config.toml\n")
	certs := filepath.Join(dir, "etc", "tls")
	if strings.Contains(text, certs) {
		certificate(t, certs)
	}
	return text
}

func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.org"}, DNSNames: []string{"mx.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour * 90)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{
		"fullchain.pem": {Type: "CERTIFICATE", Bytes: der}, "ca.pem": {Type: "CERTIFICATE", Bytes: der}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: k},
		"school.pem": {Type: "CERTIFICATE", Bytes: der}, "school.key": {Type: "PRIVATE KEY", Bytes: k},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// table is one [table] of a configuration, "" being the top.
type table struct{ head, text string }

func tables(text string) []table {
	out := []table{{}}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "[") {
			out = append(out, table{head: strings.TrimSpace(line)})
		}
		out[len(out)-1].text += line
	}
	return out
}

// complete makes a part a whole: the tables of base that it does not have.
func complete(base, part string) string {
	own := tables(part)
	text := own[0].text
	for _, b := range tables(base) {
		if !slices.ContainsFunc(own, func(o table) bool {
			return o.head == b.head && (b.head != "" || o.text != "\n" && strings.TrimSpace(o.text) != "")
		}) {
			text += b.text
		}
	}
	for _, o := range own[1:] {
		text += o.text
	}
	return text
}

const base = `hostname = "mx.example.org"
[listener.inbound]
role = "inbound"
listen = ["0.0.0.0:25"]
next_hop = "mailserver"
relay_domains = ["example.org"]
[next_hop.mailserver]
url = "smtp://192.0.2.20:25"
`

// TestConfigurations loads every example of a configuration.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	bin := program(t)
	n := 0
	for _, p := range documents(t) {
		files := p.files()
		for _, b := range p.blocks {
			kind, found := strings.CutPrefix(b.info, "toml")
			if !found || kind == " rule" { // TestRuleExamples, TestRulePages
				continue
			}
			n++
			text := b.text
			if kind == " part" {
				text = complete(base, text)
			}
			// State, log and socket have a default outside of the test's folder.
			if !strings.Contains(text, "state_dir") {
				text = "state_dir = \"/var/lib/garita\"\n" + text + "\n[admin]\nsocket = \"/run/garita/admin.sock\"\n"
			}
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(settle(t, text, files...)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, code := garita(t, bin, "config", "check", "--offline", "--config", file)
			// A warning has a place, as a mistake has. That nothing leads to a
			// next hop of the base is no fault of the example, and what stands in
			// a clamd.conf of this machine neither.
			warned := false
			for line := range strings.Lines(out) {
				warned = warned || strings.Contains(line, "config.toml:") && !strings.HasSuffix(line, ": good\n") &&
					!strings.Contains(line, "no listener names this next hop") && !strings.Contains(line, ": warning: check.clamav.config_file: ")
			}
			switch {
			case kind == " wrong" && (code != 78 || !strings.Contains(out, "did you mean") || !strings.Contains(out, "2 problems")):
				t.Errorf("%s:%d: exit %d\n%s", p.name, b.line, code, out)
			case kind != " wrong" && code != 0:
				t.Errorf("%s:%d: exit %d\n%s\n%s", p.name, b.line, code, out, text)
			case kind != " wrong" && warned:
				t.Errorf("%s:%d: an example that is warned of\n%s\n%s", p.name, b.line, out, text)
			case kind != "" && kind != " part" && kind != " wrong":
				t.Errorf("%s:%d: nobody knows the fence %q", p.name, b.line, b.info)
			}
		}
	}
	if n < 35 {
		t.Errorf("loaded only %d configurations", n)
	}
}

// TestRunnable runs every block that is marked so, each in a folder of its own.
func TestRunnable(t *testing.T) {
	t.Parallel()
	bin := program(t)
	n := 0
	for _, p := range documents(t) {
		for _, b := range p.blocks {
			if b.info != "sh run" {
				continue
			}
			n++
			script := regexp.MustCompile(`127\.0\.0\.1:25\d\d`).ReplaceAllStringFunc(settle(t, b.text), func(string) string { return harness.Addr(t) })
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", p.name, b.line, err, out)
			}
		}
	}
	if n < 4 {
		t.Errorf("ran only %d blocks", n)
	}
}

// TestCommandsExist asks the program for the help of every command that a page
// names, and looks for the options in it.
func TestCommandsExist(t *testing.T) {
	t.Parallel()
	bin := program(t)
	helps := map[string]string{}
	help := func(command string) string {
		if _, ok := helps[command]; !ok {
			out, code := garita(t, bin, append(strings.Fields(command), "--help")...)
			if code != 0 || !strings.HasPrefix(strings.ReplaceAll(out, "\n", " "), "Usage: garita "+command+" ") {
				out = ""
			}
			helps[command] = out
		}
		return helps[command]
	}
	span := regexp.MustCompile("`(garita [^`]+)`")
	option := regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
	n := 0
	for _, p := range documents(t) {
		var lines []string
		for _, l := range p.prose {
			for _, m := range span.FindAllStringSubmatch(l, -1) {
				lines = append(lines, m[1])
			}
		}
		for _, b := range p.blocks {
			if b.info == "sh" || b.info == "sh run" {
				for l := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
					if strings.HasPrefix(l, "garita ") {
						lines = append(lines, strings.TrimSuffix(l, "\n"))
					}
				}
			}
		}
		for _, l := range lines {
			n++
			words := strings.Fields(l)[1:]
			command := words[0]
			if slices.Contains([]string{"config", "ban", "hold", "greylist", "rules", "import", "rbl", "user", "limits", "alert", "check"}, command) && len(words) > 1 {
				command += " " + words[1]
			}
			text := help(command)
			if text == "" {
				t.Errorf("%s: there is no command %q (%s)", p.name, command, l)
				continue
			}
			for _, m := range option.FindAllStringSubmatch(l, -1) {
				if !regexp.MustCompile(regexp.QuoteMeta(m[1]) + `\b`).MatchString(text) {
					t.Errorf("%s: garita %s has no option %s", p.name, command, m[1])
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("asked for only %d commands", n)
	}
	// And the other way about: the README names every command.
	top, _ := garita(t, bin, "--help")
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z]+)?)  `).FindAllStringSubmatch(top, -1) {
		for _, name := range []string{"README.md", "README.es.md"} {
			if !strings.Contains(strings.Join(read(t, name).prose, "\n"), "| `garita "+m[1]+"` |") {
				t.Errorf("%s does not list garita %s", name, m[1])
			}
		}
	}
}

// TestMakeTargets: what a page says after make is in the Makefile.
func TestMakeTargets(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	use := regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")
	n := 0
	for _, p := range documents(t) {
		text := strings.Join(p.prose, "\n")
		for _, b := range p.blocks {
			if strings.HasPrefix(b.info, "sh") {
				text += "\n" + b.text
			}
		}
		for _, m := range use.FindAllStringSubmatch(text, -1) {
			n++
			if !strings.Contains("\n"+string(data), "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", p.name, m[1])
			}
		}
	}
	if n < 6 {
		t.Errorf("found only %d targets", n)
	}
}

// TestDefaults compares the READMEs' table of limits with the program's own.
func TestDefaults(t *testing.T) {
	t.Parallel()
	bin := program(t)
	rows := []struct{ key, value, en, es string }{
		{"limits.max_connections", "1000", "| sessions in total | 1000,", "| sesiones en total | 1000,"},
		{"limits.max_connections_per_client", "50", "/64) | 50;", "IPv6) | 50;"},
		{"limits.command_length", "2048", "| command line | 2048 octets", "| línea de comando | 2048 octetos"},
		{"limits.max_recipients", "1000", "| recipients of a message | 1000 |", "| destinatarios de un mensaje | 1000 |"},
		{"limits.soft_errors", "10", "| 10, then", "| 10, después"},
		{"limits.hard_errors", "20", "; 20 end it", "; 20 la terminan"},
		{"listener.NAME.max_message_size", `"25MB"`, "| 25 MB, or", "| 25 MB, o"},
		{"limits.messages_total", `"2GB"`, "| 2 GB, of it", "| 2 GB, de ellos"},
		{"limits.messages_memory", `"128MB"`, "128 MB in memory", "128 MB en memoria"},
		{"limits.free_disk", `"256MB"`, "| 256 MB | 452 at MAIL", "| 256 MB | 452 en MAIL"},
		{"limits.command_timeout", `"5m"`, "| a command to arrive | 5 minutes", "| llegada de un comando | 5 minutos"},
		{"limits.data_timeout", `"3m"`, "| silence inside a message | 3 minutes", "| silencio dentro de un mensaje | 3 minutos"},
		{"limits.min_data_rate", `"500B"`, "| 500 octets a second", "| 500 octetos por segundo"},
		{"limits.max_hops", "50", "| Received fields | 50 |", "| campos Received | 50 |"},
		{"next_hop.NAME.max_connections", "20", "| 20, one fifth", "| 20, un quinto"},
		{"next_hop.NAME.wait_budget", `"30s"`, "wait 30 s", "espera 30 s"},
	}
	en, es := strings.Join(read(t, "README.md").prose, "\n"), strings.Join(read(t, "README.es.md").prose, "\n")
	for _, r := range rows {
		out, _ := garita(t, bin, "config", "explain", "--config", filepath.Join(t.TempDir(), "none"), r.key)
		if !strings.Contains(out, "default: "+r.value+"\n") {
			t.Errorf("%s is not %s by default:\n%s", r.key, r.value, out)
		}
		if !strings.Contains(en, r.en) || !strings.Contains(es, r.es) {
			t.Errorf("a README does not say %q or %q", r.en, r.es)
		}
	}
}

// TestKeys: docs/keys.md is what the program explains. -update writes it.
func TestKeys(t *testing.T) {
	t.Parallel()
	bin := program(t)
	none := filepath.Join(t.TempDir(), "none")
	list, code := garita(t, bin, "config", "explain", "--config", none)
	if code != 0 {
		t.Fatal(list)
	}
	var b strings.Builder
	b.WriteString("# Every key\n\nMade from the program by `go test ./test/docs -run TestKeys -update`. NAME stands for the names that you choose. How a file is built: [configuration.md](configuration.md). In the content-filter role `starttls` is off, `xforward` on, `reject_as` hold and `reply_timeout` 9 minutes by default.\n\n")
	for _, key := range strings.Fields(list) {
		text, code := garita(t, bin, "config", "explain", "--config", none, key)
		if code != 0 {
			t.Fatal(text)
		}
		b.WriteString(entry(t, key, text))
	}
	file := filepath.Join(top, "docs", "keys.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/keys.md is not what the program explains; run go test ./test/docs -run TestKeys -update and read the change")
	}
}

// entry makes one entry of keys.md of what config explain says: the words,
// then "type:", "default:" and others.
func entry(t *testing.T, key, text string) string {
	t.Helper()
	var words []string
	facts := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		line = strings.TrimSpace(line)
		name, value, is := strings.Cut(line, ":")
		if is && slices.Contains([]string{"type", "default", "choices", "keys"}, name) {
			facts[name] = strings.TrimSpace(value)
		} else if len(facts) == 0 {
			words = append(words, line)
		}
	}
	if len(words) == 0 || facts["type"] == "" {
		t.Errorf("config explain says nothing of %s:\n%s", key, text)
	}
	doc := strings.NewReplacer("<", "&lt;", "|", `\|`).Replace(strings.Join(words, " "))
	if strings.HasPrefix(facts["type"], "table") {
		if facts["type"] != "table" {
			key += ".NAME"
		}
		return fmt.Sprintf("\n## `%s`\n\n%s\n\n", key, doc)
	}
	out := fmt.Sprintf("- **`%s`** (%s", key, facts["type"])
	if d, ok := facts["default"]; ok && strings.HasPrefix(d, "none") {
		out += "; it must be set"
	} else if ok {
		out += fmt.Sprintf(", default `%s`", d)
	}
	return out + "): " + doc + "\n"
}

// TestPostfixParameters: what the pages tell to write into main.cf and
// master.cf is known to the real Postfix.
func TestPostfixParameters(t *testing.T) {
	postconf := harness.Need(t, "postconf", "postfix")
	name := regexp.MustCompile(`(?m)^(?:\s+-o )?([a-z_]+)\s*=`)
	n := 0
	for _, p := range documents(t) {
		for _, b := range p.blocks {
			if b.info != "main.cf" && b.info != "master.cf" {
				continue
			}
			for _, m := range name.FindAllStringSubmatch(b.text, -1) {
				n++
				if out, err := exec.Command(postconf, "-d", m[1]).CombinedOutput(); err != nil || strings.Contains(string(out), "unknown parameter") {
					t.Errorf("%s:%d: Postfix does not know %s\n%s", p.name, b.line, m[1], out)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("asked for only %d parameters", n)
	}
}
