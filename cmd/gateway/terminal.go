package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	show "garita/printable"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// interactive tells that a person sits at the input.
func (t *terminal) interactive() bool {
	return isTerminal(t.in) && isTerminal(t.err)
}

// colour tells that the output may be coloured: a terminal whose user has not
// said otherwise (no-color.org).
func (t *terminal) colour() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(t.out)
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// columns is the width of the terminal that the output goes to; 0 where it goes
// elsewhere, and nothing is made to fit.
func (t *terminal) columns() int {
	f, ok := t.out.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// fold breaks a line that is wider than the terminal between words. A word that
// is too long stays whole.
func (t *terminal) fold(line string) string { return fold(line, t.columns()) }

// foldError is fold for standard error, which may be a terminal where standard
// output is a file.
func (t *terminal) foldError(line string) string { return (&terminal{out: t.err}).fold(line) }

func fold(line string, columns int) string {
	const indent = "         "
	if columns < 2*len(indent) || utf8.RuneCountInString(line) <= columns {
		return line
	}
	var b strings.Builder
	text := strings.TrimLeft(line, " ")
	width := len(line) - len(text)
	b.WriteString(line[:width])
	first := true
	for word := range strings.SplitSeq(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case first:
		case width+1+n > columns:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += n
		first = false
	}
	return b.String()
}

// paint colours a word: g(reen), y(ellow), r(ed).
func (t *terminal) paint(colour byte, s string) string {
	if !t.colour() {
		return s
	}
	code := map[byte]string{'g': "32", 'y': "33", 'r': "31"}[colour]
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// json prints v as indented JSON, with what a terminal might obey escaped.
func (t *terminal) json(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.out, show.JSON(string(raw))+"\n")
	return err
}

// printable makes text safe for a terminal; line feeds stay.
func printable(s string) string { return show.Lines(s) }

// oneLine is printable for what has to stay on its line.
func oneLine(s string) string { return show.Line(s) }
