package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"garita/test/harness"
)

// maxExposure is the bound of the issue: 2.0 of 10.
const maxExposure = 20

// The unit's exposure, as systemd rates it, stays below 2.0 (L-32).
func TestExposure(t *testing.T) {
	analyze := harness.Need(t, "systemd-analyze", "systemd")
	unit := filepath.Join(harness.Root(), "packaging/systemd/garita.service")
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+strconv.Itoa(maxExposure), unit).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil || !strings.Contains(lines[len(lines)-1], "Overall exposure level") {
		t.Errorf("%v\n%s", err, out)
	}
	// The test can fail: without its protections the unit is over the bound.
	raw, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	weak := filepath.Join(t.TempDir(), "garita.service")
	if err := os.WriteFile(weak, []byte(strings.ReplaceAll(strings.ReplaceAll(string(raw), "SystemCallFilter=", "#"), "Restrict", "#")), 0o644); err != nil {
		t.Fatal(err)
	}
	if exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+strconv.Itoa(maxExposure), weak).Run() == nil {
		t.Error("a weak unit passes too")
	}
}

// systemd understands every line of the units, sysusers and tmpfiles.
func TestUnitsAreUnderstood(t *testing.T) {
	analyze := harness.Need(t, "systemd-analyze", "systemd")
	root := harness.Root()
	dir := t.TempDir()
	for _, name := range []string{"garita.service", "garita.socket"} {
		text := read(t, root, "packaging/systemd/"+name)
		// What is not installed here: the program, the manual pages.
		text = strings.ReplaceAll(text, "/usr/bin/garita ", "/bin/true ")
		var keep []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "Documentation=") {
				keep = append(keep, line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(keep, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, "garita.service"), filepath.Join(dir, "garita.socket")).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "garita.") {
			t.Errorf("%v: %s", err, line)
		}
	}
	scratchRoot := scratch(t)
	run(t, nil, "systemd-sysusers", "--root="+scratchRoot, filepath.Join(root, "packaging/systemd/sysusers.d/garita.conf"))
	run(t, nil, "systemd-tmpfiles", "--root="+scratchRoot, "--create", filepath.Join(root, "packaging/systemd/tmpfiles.d/garita.conf"))
	if _, err := os.Stat(filepath.Join(scratchRoot, "etc/garita/conf.d")); err != nil {
		t.Error(err)
	}
}

// The unit tells systemd when it is ready and that it lives; the socket opens
// the port of the listeners.
func TestUnitKeys(t *testing.T) {
	service := read(t, harness.Root(), "packaging/systemd/garita.service")
	socket := read(t, harness.Root(), "packaging/systemd/garita.socket")
	for _, want := range []string{"Type=notify", "NotifyAccess=main", "WatchdogSec=60s", "Restart=on-failure", "RestartPreventExitStatus=78"} {
		if !strings.Contains(service, "\n"+want+"\n") {
			t.Errorf("the service has no %s", want)
		}
	}
	for _, want := range []string{"ListenStream=0.0.0.0:25", "BindIPv6Only=ipv6-only"} {
		if !strings.Contains(socket, "\n"+want+"\n") {
			t.Errorf("the socket has no %s", want)
		}
	}
	if strings.Contains(socket, "Accept=yes") {
		t.Error("one process for each connection")
	}
}

// Logs are kept for 190 days, and logrotate reads the file.
func TestRotation(t *testing.T) {
	text := read(t, harness.Root(), "packaging/logrotate/garita")
	if strings.Count(text, "rotate 190\n") != 2 || strings.Count(text, "daily\n") != 2 {
		t.Error("not 190 days")
	}
	logrotate := harness.Need(t, "logrotate", "logrotate")
	harness.NeedRoot(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "mail.log")
	if err := os.WriteFile(log, []byte("a line\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "conf")
	mine := strings.NewReplacer("/var/log/garita", dir, "su garita garita", "su root root").Replace(text)
	if err := os.WriteFile(conf, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, nil, logrotate, "--force", "--state", filepath.Join(dir, "state"), conf)
	if read(t, dir, "mail.log.1") != "a line\n" {
		t.Error("nothing was rotated")
	}
}

// composeFile is what the test looks at.
type composeFile struct {
	Services map[string]struct {
		Image, Build string
		Command      []string
		Volumes      []string
		Ports        []string
		ReadOnly     bool     `yaml:"read_only"`
		CapDrop      []string `yaml:"cap_drop"`
		SecurityOpt  []string `yaml:"security_opt"`
		Networks     []string
		DependsOn    []string `yaml:"depends_on"`
		Profiles     []string
		Tmpfs        []string
		Hostname     string
		Restart      string
		StopGrace    string `yaml:"stop_grace_period"`
	}
	Networks map[string]any
	Volumes  map[string]any
}

// The sample for containers is sound, names nothing that is not there, and its
// configuration passes the check.
func TestCompose(t *testing.T) {
	dir := filepath.Join(harness.Root(), "packaging/compose")
	d := yaml.NewDecoder(strings.NewReader(read(t, dir, "compose.yaml")))
	d.KnownFields(true)
	var c composeFile
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	g := c.Services["garita"]
	if !g.ReadOnly || strings.Join(g.CapDrop, "") != "ALL" || len(g.SecurityOpt) != 1 || len(c.Services) != 3 {
		t.Errorf("%+v", c)
	}
	// clamd has no password: it is asked for, and nobody outside reaches it.
	if av := c.Services["clamav"]; len(av.Profiles) != 1 || len(av.Ports) != 0 {
		t.Errorf("%+v", av)
	}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, "./") {
				if _, err := os.Stat(filepath.Join(dir, from)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("%s: no volume %s", name, from)
			}
		}
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s: no network %s", name, n)
			}
		}
		for _, other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s: no service %s", name, other)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: %s is open to everybody", name, p)
			}
		}
	}
	for _, f := range []string{"Dockerfile", "main.cf"} {
		if read(t, dir, c.Services["postfix"].Build+"/"+f) == "" {
			t.Errorf("%s is empty", f)
		}
	}
	run(t, nil, program(t), "config", "check", "--offline", filepath.Join(dir, "config.toml"))
	// With the antivirus, too: its table stands there as a comment.
	text := read(t, dir, "config.toml")
	before, table, ok := strings.Cut(text, "\n#[check.clamav]")
	if !ok {
		t.Fatal("there is no table of the antivirus")
	}
	with := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(with, []byte(before+"\n[check.clamav]"+strings.ReplaceAll(table, "\n#", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, program(t), "config", "check", "--offline", with)
	postconf := harness.Need(t, "postconf", "postfix")
	if out, err := exec.Command(postconf, "-c", filepath.Join(dir, "postfix"), "-n").CombinedOutput(); err != nil || strings.Contains(string(out), "unused parameter") {
		t.Errorf("main.cf: %v %s", err, out)
	}
}

// Completion scripts are understood by their shells, and bash completes.
func TestCompletions(t *testing.T) {
	bin := program(t)
	dir := t.TempDir()
	for shell, check := range map[string][]string{"bash": {"bash", "-n"}, "zsh": {"zsh", "-n"}, "fish": {"fish", "--no-execute"}} {
		file := filepath.Join(dir, shell)
		if err := os.WriteFile(file, []byte(run(t, nil, bin, "completion", shell)), 0o644); err != nil {
			t.Fatal(err)
		}
		harness.Need(t, check[0], check[0])
		run(t, nil, check[0], append(check[1:], file)...)
	}
	complete := func(words ...string) string {
		script := `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _garita; printf '%s\n' "${COMPREPLY[@]}"`
		return strings.Join(strings.Fields(run(t, nil, "bash", append([]string{"-c", script, "bash", filepath.Join(dir, "bash")}, words...)...)), " ")
	}
	for _, c := range []struct {
		line []string
		want string
	}{
		{[]string{"garita", "rel"}, "reload"},
		{[]string{"garita", "config", "ch"}, "check"},
		{[]string{"garita", "config", "check", "--off"}, "--offline"},
		{[]string{"garita", "status", "--output", ""}, "table json"},
		{[]string{"garita", "status", "--output", "=", "j"}, "json"},
		{[]string{"garita", "completion", "z"}, "zsh"},
		{[]string{"garita", "man"}, ""},
	} {
		if got := complete(c.line...); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
	out, err := exec.Command("fish", "--no-config", "-c", "source "+filepath.Join(dir, "fish")+"; complete -C 'garita config ch'").Output()
	if err != nil || !strings.HasPrefix(string(out), "check\t") {
		t.Errorf("fish: %v %q", err, out)
	}
}
