package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/message"
	language "garita/rules"
	"garita/rules/builtin"
	"garita/rules/pattern"
)

// Config is the table [check.rules].
type Config struct {
	Mode        string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no rule does more."`
	Files       []string      `toml:"files" doc:"Files of rules (docs/rules.md), with * and ? in their names; those that a name stands for are read in the order of the alphabet. Their rules come before the shipped ones. They are read again at a reload, and one mistake or failing test in any of them leaves the rules in force that there were."`
	Builtin     []string      `toml:"builtin" doc:"The shipped sets of rules that are in force: their names (garita rules list), \"all\", or none. An [[override]] in a file of your own changes single rules of them."`
	MatchTime   time.Duration `toml:"match_time" doc:"What one match of a pattern that goes back and forth in the text may take (back-references and look-around; all other patterns need time in proportion to the text)."`
	MessageTime time.Duration `toml:"message_time" doc:"What all such matches may take for one message; beyond its first 4 MB other patterns count half their time, too."`
	OverBudget  string        `toml:"over_budget" enum:"defer-then-quarantine,defer,quarantine,continue" doc:"What is done about a message for which rules were given up over that time: put it off once and hold it the second time, always put it off, hold it, or let it pass with the rules that were looked at."`
	AtOnce      int           `toml:"at_once" doc:"Slow matches of such patterns at once, over all messages, tables of Postfix among them; others wait, and lose their time. 0: the number of processors less one, so that hostile mail leaves one to the others."`
}

// All is the word for all shipped sets.
const All = "all"

// Default has the shipped sets and the folder of the operator.
func Default() Config {
	return Config{
		Mode: mail.Enforce.String(), Files: []string{"/etc/garita/rules.d/*.toml"}, Builtin: []string{All},
		MatchTime: 50 * time.Millisecond, MessageTime: 5 * time.Second, OverBudget: filters.DeferThenQuarantine,
	}
}

const (
	// maxTold bounds the mistakes and warnings that are told.
	maxTold = 50
	// maxFiles bounds the rule files, maxList a file of a list.
	maxFiles = 1000
	maxList  = 16 << 20
	// testTime is for the tests of all files of the operator.
	testTime = 20 * time.Second
)

// Set are the rules of a Config that were read. It never changes.
type Set struct {
	set *language.Set
	// files are those that were read, lists among them.
	files []string
}

// Compiled is what the language makes of rules.
type Compiled = language.Set

// Compiled are the rules themselves.
func (s *Set) Compiled() *Compiled { return s.set }

// Files are the files that were read, lists among them.
func (s *Set) Files() []string { return s.files }

// A FileError is a mistake or a warning in a rule file.
type FileError struct {
	Key     string
	Problem language.Problem
}

// Error is one line: the key, the place and what is wrong.
func (e *FileError) Error() string {
	p := e.Problem
	p.Excerpt, p.Warning = "", false
	return e.Key + ": " + p.String()
}

// Validate gives every mistake, each naming its key. It reads the files.
func (c Config) Validate() []error {
	_, errs, _ := c.Read(nil)
	return errs
}

// settings gives the mistakes that are in no file.
func (c Config) settings() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := mail.ParseMode(c.Mode); !ok {
		bad("mode = %q: must be off, observe, score or enforce", c.Mode)
	}
	for i, name := range c.Builtin {
		if name != All && !slices.Contains(builtin.Sets(), name) {
			bad("builtin[%d] = %q: there is no such set: %s, or all", i, name, strings.Join(builtin.Sets(), ", "))
		}
	}
	for i, name := range c.Files {
		if !filepath.IsAbs(name) {
			bad("files[%d] = %q: must begin with \"/\"", i, name)
		} else if _, err := filepath.Match(name, ""); err != nil {
			bad("files[%d] = %q: a \"[\" has no end", i, name)
		}
	}
	if c.MatchTime < time.Millisecond || c.MatchTime > time.Minute {
		bad("match_time = %v: must be from 1ms to 1m", c.MatchTime)
	}
	if c.MessageTime < c.MatchTime || c.MessageTime > 10*time.Minute {
		bad("message_time = %v: must be from match_time, %v, to 10m", c.MessageTime, c.MatchTime)
	}
	if _, err := filters.NewDoubt(c.OverBudget); err != nil {
		bad("over_budget = %w", err)
	}
	if c.AtOnce < 0 || c.AtOnce > 1024 {
		bad("at_once = %d: must be from 0 to 1024", c.AtOnce)
	}
	return errs
}

// Gate bounds the slow matches of all messages together.
type Gate = pattern.Gate

// NewGate makes the one of this configuration.
func (c Config) NewGate() *Gate { return pattern.NewGate(c.AtOnce) }

// Paths are the rule files that there are now, in order. A name without * that
// is not there stays in the list: reading it says so.
func (c Config) Paths() []string {
	var out []string
	for _, name := range c.Files {
		found, _ := filepath.Glob(name) // sorted
		if len(found) == 0 && !strings.ContainsAny(name, "*?[") {
			found = []string{name}
		}
		for _, one := range found {
			if !slices.Contains(out, one) {
				out = append(out, one)
			}
		}
	}
	return out
}

// sets are the shipped sets in force, in their order.
func (c Config) sets() []string {
	return slices.DeleteFunc(builtin.Sets(), func(name string) bool {
		return !slices.Contains(c.Builtin, All) && !slices.Contains(c.Builtin, name)
	})
}

// reader reads rule files.
type reader struct {
	o              language.ParseOptions
	files          []string
	own            []*language.File
	errs, warnings []error
	more           int
}

// Read reads the files and the shipped sets, and runs the tests of the files.
// It gives the mistakes, with which there is no set, and the warnings; those in
// files are FileErrors. hops are the names of next hops; nil: not known.
func (c Config) Read(hops []string) (s *Set, errs, warnings []error) {
	r := &reader{errs: c.settings()}
	if len(r.errs) > 0 {
		return nil, r.errs, nil
	}
	r.o = language.ParseOptions{ReadList: r.list, NextHops: hops, MatchLimit: c.MatchTime}
	paths := c.Paths()
	if len(paths) > maxFiles {
		return nil, []error{fmt.Errorf("files: %d rule files, %d at most", len(paths), maxFiles)}, nil
	}
	for _, path := range paths {
		r.file(path)
	}
	files := slices.Clone(r.own)
	for _, name := range c.sets() {
		src, _ := builtin.Source(name)
		f, problems := language.Parse(src, r.o)
		r.tell("builtin", problems)
		files = append(files, f)
	}
	if len(r.errs) > 0 { // what is compiled without them would hide them
		return nil, r.told(r.errs), r.warnings
	}
	set, problems := language.Compile(files)
	r.tell("files", problems)
	if len(r.errs) == 0 {
		r.test()
	}
	if len(r.errs) > 0 {
		return nil, r.told(r.errs), r.warnings
	}
	slices.Sort(r.files)
	return &Set{set: set, files: slices.Compact(r.files)}, nil, r.warnings
}

// told closes a list of mistakes.
func (r *reader) told(errs []error) []error {
	if r.more > 0 {
		errs = append(errs, fmt.Errorf("files: %d mistakes more in the rules", r.more))
	}
	return errs
}

// file reads one rule file.
func (r *reader) file(path string) {
	text, err := readFile(path, language.MaxFile)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("files: %w", err))
		return
	}
	r.files = append(r.files, path)
	f, problems := language.Parse(language.Source{Name: path, Text: text}, r.o)
	r.tell("files", problems)
	r.own = append(r.own, f)
}

// list reads a file that a condition names.
func (r *reader) list(path string) ([]byte, error) {
	text, err := readFile(path, maxList)
	if err == nil {
		r.files = append(r.files, path)
	}
	return text, err
}

// tell keeps problems: mistakes and warnings apart, and not without end.
func (r *reader) tell(key string, problems []language.Problem) {
	for _, p := range problems {
		list := &r.errs
		if p.Warning {
			list = &r.warnings
		}
		if len(*list) >= maxTold {
			if !p.Warning {
				r.more++
			}
			continue
		}
		*list = append(*list, &FileError{Key: key, Problem: p})
	}
}

// test runs the tests of the operator's files. Those of the shipped sets are
// run where they are made.
func (r *reader) test() {
	alone := make([]*language.File, len(r.own))
	for i, f := range r.own {
		alone[i] = &language.File{Name: f.Name, Rules: f.Rules} // an override may be about a shipped rule
	}
	set, problems := language.Compile(alone)
	if slices.ContainsFunc(problems, func(p language.Problem) bool { return !p.Warning }) {
		return // which Compile has told of all files together
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	r.tell("files", language.RunTests(ctx, set, message.DefaultIndexLimits()))
}

// errLarge says that a file is beyond its bound.
var errLarge = errors.New("is too large")

// readFile reads a regular file of at most limit octets.
func readFile(name string, limit int64) ([]byte, error) {
	// O_NONBLOCK: opening a pipe without a writer would wait for ever, and the
	// reload with it.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s %w: %d MB at most", name, errLarge, limit>>20)
	}
	return text, err
}
