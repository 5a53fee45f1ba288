package packaging

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"garita/test/harness"
)

// run runs a program in the top folder and gives what it printed.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = harness.Root()
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func buildDeb(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	// A program that the tests use anyway spares one build.
	lines := strings.Fields(run(t, []string{"GARITA_BIN=" + program(t), "SOURCE_DATE_EPOCH=1700000000"}, "sh", "packaging/build-deb.sh", dir, version))
	deb := lines[len(lines)-1]
	if filepath.Dir(deb) != dir {
		t.Fatalf("built %s", deb)
	}
	return deb
}

// built is the gateway as a package has it, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "garita-packaging-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "garita")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/gateway")
	cmd.Dir = harness.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return out, fmt.Errorf("%w: %s", err, text)
	}
	return out, nil
})

func program(t *testing.T) string {
	t.Helper()
	out, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// scratch is a root folder with what dpkg wants to find.
func scratch(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "etc", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"var/lib/dpkg/status": "", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func dpkg(t *testing.T, root string, args ...string) string {
	t.Helper()
	return run(t, []string{"DEBIAN_FRONTEND=noninteractive"}, "dpkg", append([]string{"--root=" + root, "--force-script-chrootless",
		"--force-not-root", "--force-depends", "--log=/dev/null"}, args...)...)
}

// The package is built, installed into a root of its own, updated, removed
// and purged: files, modes, owners, conffiles, and the program works.
func TestDebianPackage(t *testing.T) {
	harness.Need(t, "dpkg-deb", "dpkg")
	harness.Need(t, "systemd-sysusers", "systemd")
	harness.NeedRoot(t)
	deb := buildDeb(t, "1.2.3")
	root := scratch(t)
	before := run(t, nil, "sh", "-c", "ss -Hltn 2>/dev/null || true")
	out := dpkg(t, root, "--install", deb)
	if !strings.Contains(out, "not started") {
		t.Errorf("dpkg said: %s", out)
	}
	for name, mode := range map[string]os.FileMode{
		"usr/bin/garita": 0o755, "lib/systemd/system/garita.service": 0o644, "lib/systemd/system/garita.socket": 0o644,
		"usr/lib/sysusers.d/garita.conf": 0o644, "usr/lib/tmpfiles.d/garita.conf": 0o644, "etc/logrotate.d/garita": 0o644,
		"usr/share/doc/garita/examples/nagios/garita-nagios.cfg": 0o644, "usr/share/doc/garita/examples/nagios/garita-nrpe.cfg": 0o644,
		"usr/share/doc/garita/examples/nagios/garita-icinga2.conf": 0o644,
		"etc/fail2ban/filter.d/garita.conf":                        0o644, "usr/share/doc/garita/examples/config.toml": 0o644, "usr/share/man/man8/garita.8.gz": 0o644,
		"usr/share/man/man5/garita-config.toml.5.gz": 0o644, "usr/share/bash-completion/completions/garita": 0o644,
		"usr/share/zsh/vendor-completions/_garita": 0o644, "usr/share/fish/vendor_completions.d/garita.fish": 0o644,
		"etc/garita": os.ModeDir | 0o750, "etc/garita/conf.d": os.ModeDir | 0o750,
		"var/lib/garita": os.ModeDir | 0o750, "var/log/garita": os.ModeDir | 0o750,
	} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	passwd := read(t, root, "etc/passwd")
	if !regexp.MustCompile(`(?m)^garita:[^:]*:\d+:\d+:.*:/usr/sbin/nologin$`).MatchString(passwd) {
		t.Errorf("no user garita without a shell: %s", passwd)
	}
	gid := regexp.MustCompile(`(?m)^garita:x?:(\d+):`).FindStringSubmatch(read(t, root, "etc/group"))
	if got := strings.TrimSpace(run(t, nil, "stat", "-c", "%u:%g", filepath.Join(root, "etc/garita"))); gid == nil || got != "0:"+gid[1] {
		t.Errorf("/etc/garita belongs to %s, the group is %v", got, gid)
	}
	conffiles := strings.Fields(controlFile(t, deb, "conffiles"))
	if got := strings.Join(conffiles, " "); got != "/etc/fail2ban/filter.d/garita.conf /etc/logrotate.d/garita" && got != "/etc/logrotate.d/garita /etc/fail2ban/filter.d/garita.conf" {
		t.Errorf("conffiles: %s", got)
	}
	// Nothing of it listens, and nothing is enabled.
	if after := run(t, nil, "sh", "-c", "ss -Hltn 2>/dev/null | grep ':25 ' || true"); strings.Contains(after, ":25 ") && !strings.Contains(before, ":25 ") {
		t.Errorf("something listens on port 25 now: %s", after)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/systemd/system")); err == nil {
		t.Error("the package enabled a unit")
	}
	installed := filepath.Join(root, "usr/bin/garita")
	if v := run(t, nil, installed, "version"); !strings.HasPrefix(v, "garita ") {
		t.Errorf("version: %s", v)
	}
	if c := run(t, nil, installed, "config", "check", "--offline", filepath.Join(root, "usr/share/doc/garita/examples/config.toml")); !strings.Contains(c, ": good") {
		t.Errorf("config check: %s", c)
	}
	updateAndPurge(t, root)
}

// updateAndPurge: what the operator changed stays over an update, and a purge
// leaves their configuration alone.
func updateAndPurge(t *testing.T, root string) {
	t.Helper()
	own := filepath.Join(root, "etc/garita/config.toml")
	rotate := filepath.Join(root, "etc/logrotate.d/garita")
	for _, f := range []string{own, rotate} {
		if err := os.WriteFile(f, []byte("# mine\n"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	dpkg(t, root, "--install", buildDeb(t, "1.2.4"))
	if read(t, root, "etc/logrotate.d/garita") != "# mine\n" || read(t, root, "etc/garita/config.toml") != "# mine\n" {
		t.Error("an update changed the operator's files")
	}
	dpkg(t, root, "--remove", "garita")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/garita")); err == nil {
		t.Error("the program is still there")
	}
	dpkg(t, root, "--purge", "garita")
	if read(t, root, "etc/garita/config.toml") != "# mine\n" {
		t.Error("a purge took the configuration that init wrote")
	}
	for _, gone := range []string{"etc/logrotate.d/garita", "var/log/garita"} {
		if _, err := os.Stat(filepath.Join(root, gone)); err == nil {
			t.Errorf("%s is still there after a purge", gone)
		}
	}
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// controlFile gives a file of the control part of a package.
func controlFile(t *testing.T, deb, name string) string {
	t.Helper()
	raw, err := exec.Command("dpkg-deb", "--ctrl-tarfile", deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("no %s: %v", name, err)
		}
		if strings.TrimPrefix(h.Name, "./") == name {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

// The scripts neither start nor enable, whatever the state of the package.
func TestScriptsStartNothing(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(harness.Root(), "packaging/deb/*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		text := read(t, "", f)
		for line := range strings.Lines(text) {
			if s := strings.TrimSpace(line); !strings.HasPrefix(s, "#") && !strings.HasPrefix(s, "echo ") &&
				regexp.MustCompile(`\b(enable|invoke start|invoke restart|systemctl start|systemctl restart)\b`).MatchString(s) {
				t.Errorf("%s: %s", f, s)
			}
		}
		run(t, nil, "sh", "-n", f)
	}
}

// Manual pages have no mistakes, name every command and every key.
func TestManualPages(t *testing.T) {
	groff := harness.Need(t, "groff", "groff-base")
	bin := program(t)
	dir := t.TempDir()
	run(t, nil, bin, "man", "--dir", dir)
	for page, wants := range map[string][]string{
		"garita.8":             {"garita", "config check", "--offline", "EXIT STATUS", "78"},
		"garita-config.toml.5": strings.Fields(run(t, nil, bin, "config", "explain")),
	} {
		cmd := exec.Command(groff, "-man", "-ww", "-Tascii", "-rLL=300n", filepath.Join(dir, page))
		var text, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &text, &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v %s", page, err, complaints.String())
		}
		plain := regexp.MustCompile(`.\x08|\x1b\[[0-9;]*m`).ReplaceAllString(text.String(), "")
		for _, w := range wants {
			if !strings.Contains(plain, w) {
				t.Errorf("%s does not say %s", page, w)
			}
		}
		if one := run(t, nil, bin, "man", page); one != read(t, dir, page) {
			t.Errorf("%s: --dir writes another page", page)
		}
	}
	cmd := exec.Command(bin, "man")
	if err := cmd.Run(); err == nil {
		t.Error("man without a page is no mistake")
	}
}

// Equal sources make equal packages, whenever they are built.
func TestPackageIsReproducible(t *testing.T) {
	a, err := os.ReadFile(buildDeb(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(buildDeb(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}
	// 2023-11-14 is the SOURCE_DATE_EPOCH of buildDeb.
	if list := run(t, []string{"TZ=UTC"}, "dpkg-deb", "-c", buildDeb(t, "1.2.3")); strings.Count(list, " 2023-11-14 ") != strings.Count(list, "\n") {
		t.Errorf("times of this build are in the package: %s", list)
	}
}
