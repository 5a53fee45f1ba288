package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

type rulesCommands struct {
	List    rulesListCommand    `cmd:"" help:"Show the rules of the configuration and the shipped ones."`
	Show    rulesShowCommand    `cmd:"" help:"Show one rule: what it looks for, what it does, where it stands."`
	Test    rulesTestCommand    `cmd:"" help:"Try the rules on messages: which hit, where, and how long each took."`
	Enable  rulesEnableCommand  `cmd:"" help:"Turn a rule on, in its file."`
	Disable rulesDisableCommand `cmd:"" help:"Turn a rule off, in its file."`
	Hits    rulesHitsCommand    `cmd:"" help:"Show how often each rule has hit, and when last."`
	Lint    rulesLintCommand    `cmd:"" help:"Find rules that are right and yet not what was meant."`
	Query   rulesQueryCommand   `cmd:"" help:"Ask a table of Postfix for the lines on standard input, as postmap -q - does."`
}

// rulesQueryCommand is garita rules query: what a pcre: or regexp: table of
// Postfix answers here, line by line.
type rulesQueryCommand struct {
	Table string `enum:"header,mime-header,nested-header,body" default:"header" help:"What the table is for: header, mime-header, nested-header, body."`
	File  string `arg:"" help:"pcre:FILE or regexp:FILE." placeholder:"pcre:FILE"`
}

// maxTold bounds the results that are remembered as told.
const maxTold = 1000

// queryBudget is what patterns that backtrack may take for one line.
const queryBudget = time.Second

// Run exits 0 when a line was found and 1 when none was, as postmap does.
func (c *rulesQueryCommand) Run(t *terminal) error {
	table, err := readPostfixTable(c.File, t.err)
	if err != nil {
		return err
	}
	view, told := viewOf(c.Table), map[string]bool{}
	found, err := postfix.Query(table, t.in, t.out, func() *pattern.Budget {
		return pattern.NewBudget(queryBudget, time.Now)
	}, func(result string) {
		// What would do nothing where the table is used is told once.
		v := postfix.Judge(view, result)
		if v.Problem == "" || told[result] || len(told) >= maxTold {
			return
		}
		told[result] = true
		fmt.Fprintf(t.err, "warning: %q in %s: %s\n", result, view, v.Problem)
	})
	switch {
	case errors.Is(err, pattern.ErrOverBudget):
		return fail(exitFailed, "%s: a pattern took too long for a line: nobody knows what it would have said", oneLine(c.File))
	case err != nil:
		return fail(exitFailed, "%s", err)
	case !found:
		return &exitError{code: exitFailed}
	}
	return nil
}

func viewOf(name string) postfix.View {
	for v := postfix.Header; v <= postfix.Body; v++ {
		if v.String() == name {
			return v
		}
	}
	return postfix.Header
}

// readPostfixTable reads KIND:FILE and says on w what is wrong with it.
func readPostfixTable(name string, w io.Writer) (*postfix.Table, error) {
	kind, file, ok := strings.Cut(name, ":")
	k := postfix.PCRE
	switch {
	case ok && kind == "pcre":
	case ok && kind == "regexp":
		k = postfix.Regexp
	default:
		return nil, fail(exitUsage, "%q: write pcre:FILE or regexp:FILE", name)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fail(exitFailed, "%s", oneLine(err.Error()))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, postfix.MaxTable+1))
	if err != nil {
		return nil, fail(exitFailed, "%s", oneLine(err.Error()))
	}
	table, problems := postfix.Parse(string(text), k)
	for _, p := range problems {
		fmt.Fprintf(w, "warning: %s, line %d: %s\n", oneLine(name), p.Line, oneLine(p.Text))
	}
	return table, nil
}
