package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"garita/config"
)

// configCommands are garita config …
type configCommands struct {
	Check    configCheck    `cmd:"" help:"Read the configuration as run would and show every mistake."`
	Show     configShow     `cmd:"" help:"Show the settings in effect, as TOML."`
	Explain  configExplain  `cmd:"" help:"Say what a key means, its default and where it is set."`
	Diff     configDiff     `cmd:"" help:"Show what a reload would change, or how two files differ."`
	Template configTemplate `cmd:"" help:"Write the complete config.toml, with every default and an example."`
}

type configCheck struct {
	configFlag
	File    string `arg:"" optional:"" type:"path" help:"The same as --config."`
	Offline bool   `help:"Look no names up."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// checked is the answer of config check -o json.
type checked struct {
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
	Warnings config.Problems `json:"warnings"`
}

func (c *configCheck) Run(t *terminal) error {
	look := lookup(systemLookup)
	if c.Offline {
		look = nil
	}
	file := c.Config
	if c.File != "" {
		file = c.File
	}
	s, doc, problems := load(file, look)
	if a, ok := serviceAccount(); ok && os.Geteuid() == 0 && strings.HasPrefix(file, filepath.Dir(defaultConfig)+"/") {
		a.warnOfRoot(doc, s)
	}
	if len(problems) == 0 {
		lintInto(doc, s)
	}
	warnings := doc.Warnings()
	if c.Output == "json" {
		if err := t.json(checked{len(problems) == 0, orNone(problems), orNone(warnings)}); err != nil {
			return err
		}
	} else {
		io.WriteString(t.err, warnings.String()+problems.String())
	}
	if len(problems) > 0 {
		if c.Output == "json" {
			return &exitError{code: exitConfig}
		}
		return &exitError{exitConfig, count(len(problems), "problem")}
	}
	if c.Output != "json" {
		fmt.Fprintf(t.out, "%s: good\n", printable(file))
	}
	return nil
}

// orNone makes an empty list of nil, for JSON.
func orNone(ps config.Problems) config.Problems {
	if ps == nil {
		return config.Problems{}
	}
	return ps
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type configShow struct {
	configFlag
	NonDefault bool `xor:"what" help:"Only what differs from the defaults."`
	Defaults   bool `xor:"what" help:"The defaults, without reading a file."`

	Output string `short:"o" enum:"toml,json" default:"toml" help:"toml or json."`
}

func (c *configShow) Run(t *terminal) error {
	if c.Defaults {
		s := defaults()
		doc, _ := config.Decode("defaults", nil, &s, options())
		return c.write(t, config.Show(doc, &s, false))
	}
	s, doc, problems := load(c.Config, nil)
	if len(problems) > 0 {
		return &exitError{exitConfig, problems.Error()}
	}
	return c.write(t, config.Show(doc, s, c.NonDefault))
}

// write gives the settings as TOML with their comments, or the same values as
// JSON: sizes and durations stay texts, secrets stay hidden.
func (c *configShow) write(t *terminal, text string) error {
	if c.Output != "json" {
		_, err := io.WriteString(t.out, text)
		return err
	}
	values := map[string]any{}
	if err := toml.Unmarshal([]byte(text), &values); err != nil {
		return err
	}
	return t.json(values)
}

type configExplain struct {
	configFlag
	Key string `arg:"" optional:"" help:"A key, as limits.max_connections or listener.inbound.role; without one all keys are listed."`

	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *configExplain) Run(t *terminal) error {
	s := defaults()
	if c.Key == "" {
		if c.Output == "json" {
			return t.json(config.Keys(&s))
		}
		for _, k := range config.Keys(&s) {
			fmt.Fprintln(t.out, k)
		}
		return nil
	}
	// A key can be explained without a configuration; with a good one its
	// value and place are shown too.
	proto := defaults()
	doc, problems := config.Load(c.Config, &s, options())
	if len(problems) > 0 {
		doc = nil
	}
	e, err := config.Explain(&proto, options(), doc, c.Key)
	if err != nil {
		return fail(exitUsage, "%s", err)
	}
	if c.Output == "json" {
		return t.json(e)
	}
	_, err = io.WriteString(t.out, e.String())
	return err
}

type configTemplate struct{}

func (c *configTemplate) Run(t *terminal) error {
	text, err := template(templateHeader, example())
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.out, text)
	return err
}

const templateHeader = `Configuration of Garita. Every key stands here with its meaning. One behind
a # shows its default: taking the # away changes nothing.

Sizes are written "25MB", durations "90s", "5m", "12h". An unknown key is an error.
Tables whose name begins with x- are free for notes of your own.
After a change: garita config check, then garita reload.`

// example is a gateway that a reader can recognise his own in; its names and
// addresses are nobody's (RFC 2606, RFC 5737).
func example() map[string]any {
	return map[string]any{
		"hostname":                           "mx.example.org",
		"listener.inbound.role":              "inbound",
		"listener.inbound.listen":            []string{"0.0.0.0:25"},
		"listener.inbound.next_hop":          "mailserver",
		"listener.inbound.relay_domains":     []string{"example.org"},
		"next_hop.mailserver.url":            "smtp://mail.example.org:25",
		"listener.outbound.role":             "outbound",
		"listener.outbound.listen":           []string{"0.0.0.0:26"},
		"listener.outbound.next_hop":         "smarthost",
		"listener.outbound.trusted_networks": []string{"192.0.2.10/32"},
		"next_hop.smarthost.url":             "smtp://smarthost.example.net:25",
	}
}

// template writes a complete configuration with some keys set.
func template(header string, set map[string]any) (string, error) {
	s := defaults()
	return config.Template(&s, config.TemplateOptions{Header: header, Set: set, EntryDefaults: options().EntryDefaults})
}
