package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"garita/filters/all"
	"garita/rules/migrate"
	"garita/rules/postfix"
)

// importCommands are garita import: what an administrator has, in our words on
// standard output, and on standard error what became of each line.
type importCommands struct {
	Header    importHeaderCommand    `cmd:"" name:"postfix-header-checks" help:"Rules of a header_checks, mime_header_checks or nested_header_checks table."`
	Body      importBodyCommand      `cmd:"" name:"postfix-body-checks" help:"Rules of a body_checks table."`
	Access    importAccessCommand    `cmd:"" name:"postfix-access" help:"Lists of [check.access] of an access file."`
	Main      importMainCommand      `cmd:"" name:"postfix-main.cf" help:"A configuration of a main.cf and the files that it names."`
	Filenames importFilenamesCommand `cmd:"" name:"mailscanner-filename-rules" help:"Rules of MailScanner's filename.rules.conf."`
}

// importOptions are those of every kind.
type importOptions struct {
	Mode   string `enum:"off,observe,score,enforce" default:"observe" help:"Mode of what is made: off, observe, score or enforce (${default})."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text, or json: both the TOML and the report, on standard output."`
}

type importTableOptions struct {
	importOptions
	Kind string `enum:"pcre,regexp," default:"" help:"What the table is written in: pcre or regexp. Without it, and without pcre: before the file, it is guessed."`
	File string `arg:"" help:"FILE, pcre:FILE or regexp:FILE; - is standard input." placeholder:"FILE"`
}

type importHeaderCommand struct {
	View string `enum:"all,header,mime-header,nested-header" default:"all" help:"What the table was used for: header, mime-header, nested-header, or all of these, as Postfix does when it is told of header_checks alone (${default})."`
	importTableOptions
}

// Run exits 0 when the file could be read, whatever could be made of it.
func (c *importHeaderCommand) Run(t *terminal) error {
	view, all := viewOf(c.View), c.View == "all"
	return c.table(t, view, all)
}

type importBodyCommand struct {
	View string `enum:"body" default:"body" hidden:""`
	importTableOptions
}

func (c *importBodyCommand) Run(t *terminal) error { return c.table(t, postfix.Body, false) }

func (c *importTableOptions) table(t *terminal, view postfix.View, all bool) error {
	kind, file := c.Kind, c.File
	for _, k := range []string{"pcre", "regexp"} {
		if rest, ok := strings.CutPrefix(file, k+":"); ok {
			if kind != "" && kind != k {
				return fail(exitUsage, "--kind %s and %s: are not the same", kind, k)
			}
			kind, file = k, rest
		}
	}
	text, err := readImport(t, file)
	if err != nil {
		return err
	}
	o := migrate.Options{File: file, View: view, Everywhere: all, Mode: c.Mode}
	var notes []migrate.Line
	switch kind {
	case "regexp":
		o.Kind = postfix.Regexp
	case "":
		var why string
		o.Kind, why = migrate.Guess(text)
		notes = []migrate.Line{{File: oneLine(file), Fate: migrate.Note, Why: "taken for a " + o.Kind.String() + ": table, since " + why + "; --kind says it"}}
	}
	r := migrate.Checks(text, o)
	r.Lines = append(notes, r.Lines...)
	return c.show(t, r)
}

type importAccessCommand struct {
	importOptions
	Check string `enum:"client,sender,recipient,helo" default:"client" help:"What the file was used for: client, sender, recipient or helo (${default})."`
	File  string `arg:"" help:"FILE, hash:FILE, texthash:FILE, cidr:FILE: the text, not the .db; - is standard input." placeholder:"FILE"`
}

func (c *importAccessCommand) Run(t *terminal) error {
	file := c.File
	for _, k := range []string{"hash", "texthash", "btree", "lmdb", "cdb", "dbm", "cidr"} {
		file = strings.TrimPrefix(file, k+":")
	}
	for _, k := range []string{"pcre:", "regexp:"} {
		if strings.HasPrefix(file, k) {
			return fail(exitUsage, "%s: a list holds no patterns; write rules, as match = ['sender matches /.../i']", k)
		}
	}
	text, err := readImport(t, file)
	if err != nil {
		return err
	}
	return c.show(t, migrate.Access(text, migrate.Options{File: file, Mode: c.Mode, Check: c.Check}, tryEntry))
}

type importMainCommand struct {
	importOptions
	File string `arg:"" help:"The main.cf; the text files that it names are read too. - is standard input." placeholder:"FILE"`
}

func (c *importMainCommand) Run(t *terminal) error {
	text, err := readImport(t, c.File)
	if err != nil {
		return err
	}
	return c.show(t, migrate.MainCF(text, migrate.Options{File: c.File, Mode: c.Mode, ReadFile: readNamed}, tryEntry, trySettings))
}

type importFilenamesCommand struct {
	importOptions
	File string `arg:"" help:"The file; - is standard input." placeholder:"FILE"`
}

func (c *importFilenamesCommand) Run(t *terminal) error {
	text, err := readImport(t, c.File)
	if err != nil {
		return err
	}
	return c.show(t, migrate.MailScanner(text, migrate.Options{File: c.File, Mode: c.Mode}))
}

// readImport reads the file that is imported.
func readImport(t *terminal, file string) ([]byte, error) {
	var in io.Reader = t.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fail(exitFailed, "%s", oneLine(err.Error()))
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fail(exitFailed, "%s is a folder", oneLine(file))
		}
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, migrate.MaxFile+1))
	if err != nil {
		return nil, fail(exitFailed, "%s", oneLine(err.Error()))
	}
	if len(text) > migrate.MaxFile {
		return nil, fail(exitFailed, "%s is larger than %d bytes", oneLine(file), migrate.MaxFile)
	}
	return text, nil
}

// readNamed reads a file that a main.cf names: a regular one, bounded.
func readNamed(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("there is no such file")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case info.Size() > migrate.MaxFile:
		return nil, errors.New("too large")
	}
	return os.ReadFile(path)
}

// tryEntry asks the reader of [check.access] about an entry.
func tryEntry(list, line string) error {
	c := all.Default().Access
	entries := []string{line}
	switch list {
	case "clients":
		c.Clients = entries
	case "names":
		c.Names = entries
	case "helo":
		c.Helo = entries
	case "senders":
		c.Senders = entries
	default:
		c.Recipients = entries
	}
	return errors.Join(c.Validate()...)
}

// trySettings asks the reader of the configuration about a whole one.
func trySettings(text string) error {
	dir, err := os.MkdirTemp("", "garita-import-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if _, _, problems := load(file, nil); len(problems) > 0 {
		p := problems[0]
		return errors.New(strings.TrimSpace(p.Text + " " + p.Suggestion))
	}
	return nil
}

// importedLine is a line of the report in JSON.
type importedLine struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Fate   string `json:"fate"`
	What   string `json:"what,omitempty"`
	Why    string `json:"why,omitempty"`
	Sample string `json:"sample,omitempty"`
	Rule   string `json:"rule,omitempty"`
}

func (o *importOptions) show(t *terminal, r migrate.Result) error {
	if o.Output == "json" {
		lines := make([]importedLine, len(r.Lines))
		for i, l := range r.Lines {
			lines[i] = importedLine{l.File, l.Line, l.Fate.String(), l.What, l.Why, l.Sample, l.Rule}
		}
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			TOML    string         `json:"toml"`
			Lines   []importedLine `json:"lines"`
			Summary string         `json:"summary"`
		}{r.TOML, lines, r.Summary()})
	}
	if _, err := io.WriteString(t.out, r.TOML); err != nil {
		return fail(exitFailed, "%s", oneLine(err.Error()))
	}
	for _, l := range saidOnce(r.Lines) {
		fmt.Fprintln(t.err, t.foldError(oneLine(l.String())))
	}
	fmt.Fprintln(t.err, oneLine(r.Summary()))
	return nil
}

// saidOnce leaves out what was said of an earlier line in the same words: a
// table of viruses has the same fault in every line.
func saidOnce(lines []migrate.Line) []migrate.Line {
	const short = 60
	out, first := make([]migrate.Line, len(lines)), map[string]migrate.Line{}
	for i, l := range lines {
		out[i] = l
		if len(l.Why) <= short || l.Line == 0 {
			continue
		}
		if f, ok := first[l.Why]; !ok {
			first[l.Why] = l
		} else if f.File == l.File {
			out[i].Why = fmt.Sprintf("as line %d", f.Line)
		} else {
			out[i].Why = fmt.Sprintf("as %s:%d", f.File, f.Line)
		}
	}
	return out
}
