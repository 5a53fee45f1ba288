package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"garita/config"
)

// manCommand is garita man: the manual pages, written from the command line's
// own model and the documentation of the keys, so that they cannot disagree.
type manCommand struct {
	Page string `arg:"" optional:"" enum:"garita.8,garita-config.toml.5," default:"" help:"garita.8 or garita-config.toml.5."`
	Dir  string `type:"path" help:"Write all pages into this folder."`
}

// Run writes the pages.
func (c *manCommand) Run(k *kong.Context, t *terminal) error {
	pages := map[string]func() (string, error){
		"garita.8":             func() (string, error) { return manProgram(k.Model), nil },
		"garita-config.toml.5": manConfig,
	}
	if c.Dir == "" {
		page := pages[c.Page]
		if page == nil {
			return fail(exitUsage, "name a page, garita.8 or garita-config.toml.5, or a folder with --dir")
		}
		text, err := page()
		if err == nil {
			_, err = io.WriteString(t.out, text)
		}
		return err
	}
	var errs []error
	for name, page := range pages {
		text, err := page()
		if err == nil {
			err = os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// roff escapes text for a manual page: a backslash is a command, a hyphen may
// be shown as another sign, and a dot or quote that begins a line is a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// heading begins a page (man(7)). There is no date: equal programs make equal
// pages.
func heading(b *strings.Builder, name, section, what string) {
	fmt.Fprintf(b, ".TH %s %s \"\" \"garita %s\" \"Garita\"\n.SH NAME\n%s \\- %s\n",
		roff(strings.ToUpper(name)), section, roff(build().Version), roff(name), roff(what))
}

// manProgram is garita(8).
func manProgram(app *kong.Application) string {
	var b strings.Builder
	heading(&b, "garita", "8", "SMTP security gateway")
	b.WriteString(".SH SYNOPSIS\n.B garita\n.I COMMAND\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION\n")
	b.WriteString(roff("Garita stands in front of a mail server, looks at each message while its sender waits, and decides what passes. "+
		"It holds no queue of its own: it answers 250 when the next server has taken the message.") + "\n")
	b.WriteString(".SH COMMANDS\n")
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, child := range n.Children {
			if child.Hidden {
				continue
			}
			if len(child.Children) == 0 {
				manCommandOf(&b, child)
			}
			walk(child)
		}
	}
	walk(app.Node)
	b.WriteString(".SH SIGNALS\n")
	for _, s := range [][2]string{{"HUP", "read the configuration and the certificates again"}, {"USR1", "open the log file again"},
		{"TERM, INT", "stop: no new session, messages on their way come to their end; a second one ends at once"}} {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(s[0]), roff(s[1]))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, e := range []struct {
		code int
		what string
	}{{exitOK, "done"}, {exitFailed, "failed"}, {exitUsage, "wrong use of the command line"}, {exitUnreachable, "no running gateway answers"},
		{exitTemporary, "a temporary fault"}, {exitConfig, "a fault in the configuration"}} {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", e.code, roff(e.what))
	}
	fmt.Fprintf(&b, ".SH FILES\n.TP\n.I %s\nthe configuration, see\n.BR garita\\-config.toml (5)\n", roff(defaultConfig))
	b.WriteString(".TP\n.I /usr/share/doc/garita\nguides\n.SH SEE ALSO\n.BR garita\\-config.toml (5),\n.BR postfix (1)\n")
	return b.String()
}

// manCommandOf writes one command with its arguments and options.
func manCommandOf(b *strings.Builder, n *kong.Node) {
	fmt.Fprintf(b, ".SS %s\n%s\n", roff(strings.ReplaceAll(n.Summary(), "[flags]", "[options]")), roff(n.Help))
	for _, p := range n.Positional {
		if p.Help != "" {
			fmt.Fprintf(b, ".TP\n.I %s\n%s\n", roff(strings.ToUpper(p.Name)), roff(p.Help))
		}
	}
	for _, f := range flagsOf(n) {
		name := "--" + f.Name
		if !f.IsBool() {
			name += "=" + f.FormatPlaceHolder()
		}
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(f.Help))
	}
}

// flagsOf are the options of a command but for --help, in their order.
func flagsOf(n *kong.Node) []*kong.Flag {
	var out []*kong.Flag
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			if f.Name != "help" && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// manConfig is garita-config.toml(5).
func manConfig() (string, error) {
	var b strings.Builder
	heading(&b, "garita-config.toml", "5", "configuration of garita(8)")
	b.WriteString(".SH DESCRIPTION\n")
	for p := range strings.SplitSeq(templateHeader, "\n\n") {
		b.WriteString(roff(p) + "\n.PP\n")
	}
	b.WriteString(roff("The file is TOML. A key a.b of the table [a] is written b = value below the line [a]. NAME is a name of your own.") + "\n.SH KEYS\n")
	s := defaults()
	for _, key := range config.Keys(&s) {
		e, err := config.Explain(&s, options(), nil, key)
		if err != nil {
			return "", err
		}
		lines := strings.Split(strings.TrimSpace(e.String()), "\n")
		fmt.Fprintf(&b, ".TP\n.B %s\n", roff(key))
		for i, l := range lines[1:] {
			l = strings.TrimSpace(l)
			if kind, _, ok := strings.Cut(l, ":"); ok && i > 0 && slices.Contains([]string{"type", "default", "secret", "values", "keys"}, kind) {
				b.WriteString(".br\n")
			}
			b.WriteString(roff(strings.Join(strings.Fields(l), " ")) + "\n")
		}
	}
	b.WriteString(".SH EXAMPLE\n.nf\n")
	text, err := template("", example())
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			b.WriteString(roff(line) + "\n")
		}
	}
	b.WriteString(".fi\n.SH SEE ALSO\n.BR garita (8)\n")
	return b.String(), nil
}
