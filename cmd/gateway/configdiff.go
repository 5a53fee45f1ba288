package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"garita/admin"
	"garita/config"
)

// configDiff is garita config diff: what a reload would change, or how two
// files differ. Secrets are shown as set or not, never themselves.
type configDiff struct {
	socketFlag
	Old    string `arg:"" optional:"" type:"path" help:"A file; without one, the settings that the running gateway uses."`
	New    string `arg:"" optional:"" type:"path" help:"Another file; without one, the configuration file as it is now."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// difference is the answer, of the command and of the verb.
type difference struct {
	Changed []string        `json:"changed"`
	Restart []string        `json:"restart,omitempty"`
	Warn    config.Problems `json:"warnings,omitempty"`
}

// diff is the verb: it reads the configuration as reload would, and applies
// nothing.
func (d *daemon) diff(context.Context, json.RawMessage) (any, error) {
	g := d.now.Load()
	if g == nil {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is " + stateName(d.state.Load())}
	}
	s, doc, problems := load(d.file, d.look)
	if len(problems) > 0 {
		return nil, &admin.Error{Code: admin.CodeConfig, Text: problems.Error(), Data: json.RawMessage(problems.JSON())}
	}
	marks := marksOf(s)
	return difference{Changed: append(changed(g.settings, s), changedFiles(g.marks, marks)...), Restart: needRestart(d.start, s),
		Warn: append(doc.Warnings(), shrunkFiles(g.marks, marks)...)}, nil
}

// Run exits 0 whether there are differences or not, as garita config check
// does: a difference is no fault.
func (c *configDiff) Run(t *terminal) error {
	var out difference
	if c.Old == "" {
		if err := call(&c.socketFlag, "diff", &out); err != nil {
			return err
		}
	} else {
		if c.New == "" {
			c.New = c.Config
		}
		old, _, problems := load(c.Old, nil)
		if len(problems) > 0 {
			return &exitError{exitConfig, problems.Error()}
		}
		now, _, problems := load(c.New, nil)
		if len(problems) > 0 {
			return &exitError{exitConfig, problems.Error()}
		}
		out = difference{Changed: changed(old, now), Restart: needRestart(old, now)}
	}
	if c.Output == "json" {
		return t.json(out)
	}
	io.WriteString(t.err, printable(out.Warn.String()))
	if len(out.Changed) == 0 {
		fmt.Fprintln(t.out, "no key differs")
	}
	for _, line := range out.Changed {
		fmt.Fprintln(t.out, oneLine(line))
	}
	for _, key := range out.Restart {
		fmt.Fprintln(t.out, "needs a restart: "+oneLine(key))
	}
	return nil
}
