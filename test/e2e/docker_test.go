package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"garita/test/harness"
)

// The commands of the Dockerfile's build stage run in a copy of what git
// tracks: a build that only works in this tree would not do.
func TestDockerfileBuilds(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(harness.Root(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	stages := strings.Split("\n"+string(data), "\nFROM ")
	if len(stages) != 3 {
		t.Fatalf("%d stages, want a build stage and a final one", len(stages)-1)
	}
	src := filepath.Join(harness.Dir(t), "src")
	export(t, src)
	ran := 0
	for line := range strings.Lines(stages[1]) {
		cmd, ok := strings.CutPrefix(strings.TrimSpace(line), "RUN ")
		if !ok {
			continue
		}
		ran++
		c := exec.Command("/bin/sh", "-c", cmd)
		c.Dir = src
		c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", cmd, err, out)
		}
	}
	if ran < 2 {
		t.Fatalf("only %d RUN lines", ran)
	}
	bin := filepath.Join(src, "garita")
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary is not static: it asks for a dynamic loader")
		}
	}
	if out, code := harness.Command(t, bin, "version"); code != 0 || out == "" {
		t.Errorf("garita version: %d %q", code, out)
	}
	final := stages[2]
	for _, want := range []string{"USER 65532", "EXPOSE 2525 2526", "HEALTHCHECK", `"health"`, "ENTRYPOINT"} {
		if !strings.Contains(final, want) {
			t.Errorf("the final stage lacks %s", want)
		}
	}
}

// export copies the tracked files of the work tree.
func export(t *testing.T, to string) {
	t.Helper()
	c := exec.Command("git", "ls-files", "-z")
	c.Dir = harness.Root()
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(harness.Root(), name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		dst := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dst, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
