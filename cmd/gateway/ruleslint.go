package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"garita/config"
	"garita/rules"
	"garita/rules/lint"
	"garita/rules/postfix"
)

type rulesLintCommand struct {
	configFlag
	Files  []string `arg:"" optional:"" help:"Rule files, or tables of Postfix (pcre:FILE, regexp:FILE); without one, all that the configuration names."`
	Table  string   `enum:"header,mime-header,nested-header,body" default:"header" help:"What a table of Postfix is for: header, mime-header, nested-header, body."`
	Output string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// lintFinding is one finding of the answer.
type lintFinding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Rule    string `json:"rule,omitempty"`
	ID      string `json:"id"`
	Text    string `json:"text"`
	Witness string `json:"witness,omitempty"`
}

// Run exits 0 when nothing was found and 1 when something was.
func (c *rulesLintCommand) Run(t *terminal) error {
	found, err := c.find()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		if err := t.json(found); err != nil {
			return err
		}
	} else {
		for _, f := range found {
			fmt.Fprintln(t.out, t.fold(f.line()))
		}
		if len(found) == 0 {
			fmt.Fprintln(t.out, "nothing to remark")
		}
	}
	if len(found) > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (f lintFinding) line() string {
	line := fmt.Sprintf("%s:%d: ", oneLine(f.File), f.Line)
	if f.Rule != "" {
		line += f.Rule + ": "
	}
	line += oneLine(f.Text) + " [" + f.ID + "]"
	if f.Witness != "" {
		line += ", as with " + oneLine(f.Witness)
	}
	return line
}

func (c *rulesLintCommand) find() ([]lintFinding, error) {
	if len(c.Files) == 0 {
		s, err := (&testCommand{configFlag: c.configFlag}).settings(&terminal{err: io.Discard})
		if err != nil {
			return nil, err
		}
		lists, err := checksOf(s)
		if err != nil {
			return nil, fail(exitConfig, "%s", err)
		}
		return lintOf(lists.Rules(), s.postfixTables())
	}
	var names []string
	var tables []postfixTable
	for _, name := range c.Files {
		kind, file, ok := strings.Cut(name, ":")
		if ok && (kind == "pcre" || kind == "regexp") {
			tables = append(tables, postfixTable{name: name, kind: kind, file: file, view: viewOf(c.Table)})
			continue
		}
		if !strings.HasSuffix(name, ".toml") && looksLikeTable(name) {
			return nil, fail(exitUsage, "%s is no file of rules but a table of Postfix: write pcre:%[1]s or regexp:%[1]s, and --table body for a body_checks", oneLine(name))
		}
		names = append(names, name)
	}
	files, err := ruleFiles(names)
	if err != nil {
		return nil, err
	}
	set, err := compiled(files)
	if err != nil {
		return nil, err
	}
	return lintOf(set, tables)
}

// looksLikeTable tells a file whose first line that says something begins with
// a pattern, as no TOML does.
func looksLikeTable(name string) bool {
	text, err := readAtMost(name, rules.MaxFile)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line[0] == '/' || line[0] == '!' || strings.HasPrefix(line, "if ")
		}
	}
	return false
}

// postfixTable is a table of Postfix in a configuration.
type postfixTable struct {
	name, kind, file string
	view             postfix.View
}

// postfixTables are the tables of the configuration, each for every view that
// it serves.
func (s *Settings) postfixTables() (out []postfixTable) {
	c := s.Check.Postfix
	for _, one := range []struct {
		view postfix.View
		list []string
	}{{postfix.Header, c.HeaderChecks}, {postfix.MIMEHeader, c.MIMEHeaderChecks}, {postfix.NestedHeader, c.NestedHeaderChecks}, {postfix.Body, c.BodyChecks}} {
		list := one.list
		if len(list) == 1 && list[0] == "$header_checks" {
			list = c.HeaderChecks
		}
		for _, name := range list {
			kind, file, _ := strings.Cut(name, ":")
			out = append(out, postfixTable{name, kind, file, one.view})
		}
	}
	return out
}

// lintOf looks at rules and tables.
func lintOf(set *rules.Set, tables []postfixTable) ([]lintFinding, error) {
	found := lint.RulesAt(set, time.Now())
	for _, one := range tables {
		text, err := readAtMost(one.file, postfix.MaxTable)
		if err != nil {
			return nil, fail(exitFailed, "%s", err)
		}
		kind := postfix.PCRE
		if one.kind == "regexp" {
			kind = postfix.Regexp
		}
		found = append(found, lint.Table(one.file, string(text), kind, one.view)...)
	}
	out := []lintFinding{}
	for _, f := range found {
		out = append(out, lintFinding{f.File, f.Line, f.Rule, f.ID, f.Text, f.Witness})
	}
	slices.SortStableFunc(out, func(a, b lintFinding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(out), nil
}

// lintInto adds what the linter says of a configuration's own rules and tables
// to the warnings of config check. The shipped sets are looked at by their
// tests; what one of them hides is told at the hidden rule.
func lintInto(doc *config.Document, s *Settings) {
	lists, err := checksOf(s)
	if err != nil {
		return // told already
	}
	found, err := lintOf(lists.Rules(), s.postfixTables())
	if err != nil {
		doc.Warn("check.postfix", err.Error(), "")
		return
	}
	for _, f := range found {
		if strings.HasPrefix(f.File, "builtin:") {
			continue
		}
		text := f.Text
		if f.Rule != "" {
			text = f.Rule + ": " + text
		}
		if f.Witness != "" {
			text += ", as with " + f.Witness
		}
		doc.AddOther(config.Problem{File: f.File, Line: f.Line, Text: text, Suggestion: "docs/lint.md, " + f.ID}, true)
	}
}
