package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"garita/mail"
	"garita/rules"
	"garita/rules/builtin"
)

// rulesSwitch is what enable and disable have in common.
type rulesSwitch struct {
	socketFlag
	IDs    []string `arg:"" name:"id" help:"Its id; several may be given."`
	DryRun bool     `help:"Show the change and write nothing."`
}

type rulesEnableCommand struct {
	rulesSwitch
	Mode string `enum:"observe,score,enforce,own" default:"own" help:"observe, score, enforce; own is the one that a shipped rule comes with, else enforce."`
}

type rulesDisableCommand struct{ rulesSwitch }

// localRules is the file that holds the changes to shipped rules.
const localRules = "90-local.toml"

func (c *rulesEnableCommand) Run(t *terminal) error { return c.all(t, c.Mode) }

func (c *rulesDisableCommand) Run(t *terminal) error { return c.all(t, mail.Off.String()) }

// all sets one rule after another, up to the first that cannot be.
func (c *rulesSwitch) all(t *terminal, mode string) error {
	for _, id := range c.IDs {
		if err := c.set(t, id, mode); err != nil {
			return err
		}
	}
	return nil
}

// set gives a rule a mode: in its own file, or for a shipped one in an
// [[override]] of the local file. Every other octet of the file stays.
func (c *rulesSwitch) set(t *terminal, id, mode string) error {
	test := testCommand{configFlag: c.configFlag}
	s, err := test.settings(t)
	if err != nil {
		return err
	}
	lists, err := checksOf(s)
	if err != nil {
		return fail(exitConfig, "%s", err)
	}
	r, err := ruleBy(lists.Rules(), id)
	if err != nil {
		return err
	}
	set, shipped := strings.CutPrefix(r.File, "builtin:")
	file := r.File
	if shipped {
		if file, err = localFile(s.Check.Rules.Files); err != nil {
			return err
		}
	}
	if mode == "own" {
		mode = ownMode(set, r.ID)
	}
	old, err := os.ReadFile(file)
	if err != nil && !(shipped && errors.Is(err, fs.ErrNotExist)) {
		return fail(exitFailed, "%s", err)
	}
	text, err := switched(old, r.ID, mode, shipped)
	if err != nil {
		return fail(exitFailed, "%s: %s; change it by hand", file, err)
	}
	note := func() {
		if m, ok := mail.ParseMode(mode); ok && id == c.IDs[len(c.IDs)-1] {
			noteCeiling(t, s, m) // once
		}
	}
	if bytes.Equal(old, text) {
		fmt.Fprintf(t.out, "%s is in mode %s already, in %s\n", r.ID, mode, oneLine(file))
		note()
		return nil
	}
	if c.DryRun {
		fmt.Fprintf(t.out, "%s: %s -> %s, in %s\n%s", r.ID, r.Mode, mode, oneLine(file), printable(changedLines(old, text)))
		return nil
	}
	if err := replaceFile(file, old, text); err != nil {
		return fail(exitFailed, "%s", err)
	}
	// What was meant is what came about: the whole configuration is read again.
	now, _, err := rulesOf(c.Config)
	if err == nil {
		var after *rules.Rule
		if after, err = ruleBy(now, r.ID); err == nil && after.Mode.String() != mode {
			err = fail(exitFailed, "%s is now in mode %s, not %s: another file overrides it", r.ID, after.Mode, mode)
		}
	}
	if err != nil {
		if back := replaceFile(file, text, old); back != nil {
			return fail(exitFailed, "%s; and %s could not be put back: %s", err, file, back)
		}
		return fail(exitFailed, "%s; %s is as it was", err, file)
	}
	fmt.Fprintf(t.out, "%s: %s -> %s, in %s\nIn force after: garita reload\n", r.ID, r.Mode, mode, oneLine(file))
	note()
	return nil
}

// switched is the text with the rule's mode changed.
func switched(text []byte, id, mode string, shipped bool) ([]byte, error) {
	if !shipped {
		return rules.SetMode(text, id, mode)
	}
	m, ok := mail.ParseMode(mode)
	if !ok {
		return nil, fmt.Errorf("%q is no mode", mode)
	}
	return rules.AddOverride(text, rules.Override{Rule: id, Mode: &m})
}

// ownMode is the mode that a rule is shipped with, enforce for what is off or
// not shipped.
func ownMode(set, id string) string {
	if src, ok := builtin.Source(set); ok {
		f, _ := rules.Parse(src, rules.ParseOptions{})
		for _, r := range f.Rules {
			if r.ID == id && r.Mode != mail.Off {
				return r.Mode.String()
			}
		}
	}
	return mail.Enforce.String()
}

// localFile is where changes to shipped rules go: beside the own rules.
func localFile(globs []string) (string, error) {
	for _, g := range globs {
		dir, pattern := filepath.Split(g)
		if ok, err := filepath.Match(pattern, localRules); ok && err == nil && !strings.ContainsAny(dir, "*?[") {
			return filepath.Join(dir, localRules), nil
		}
	}
	return "", fail(exitFailed, "check.rules.files has no folder that takes a file %s: add \"/etc/garita/rules.d/*.toml\"", localRules)
}

// changedLines shows the lines that differ, those that went with a minus. The
// change is one place.
func changedLines(old, text []byte) string {
	a, b := strings.SplitAfter(string(old), "\n"), strings.SplitAfter(string(text), "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", a}, {"+", b}} {
		for _, line := range side.lines {
			if line != "" {
				out.WriteString(side.sign + strings.TrimRight(line, "\r\n") + "\n")
			}
		}
	}
	return out.String()
}

// replaceFile writes a file beside the old one and puts it in its place, with
// its owner and permissions, if nobody has changed it meanwhile. An empty text
// of a file that was made here takes the file away.
func replaceFile(file string, was, text []byte) error {
	now, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(now, was) {
		return fmt.Errorf("%s has changed meanwhile; try again", file)
	}
	if len(text) == 0 && len(was) > 0 {
		return os.Remove(file)
	}
	// A link stays one: what it leads to is replaced.
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".garita-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(text); err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o644), -1, -1
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err == nil {
		mode, uid, gid = fs.FileMode(st.Mode)&fs.ModePerm, int(st.Uid), int(st.Gid)
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if uid >= 0 && (uid != os.Geteuid() || gid != os.Getegid()) {
		if err := tmp.Chown(uid, gid); err != nil {
			return err
		}
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
