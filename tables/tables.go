// Package tables reads list files: one entry a line, in the form of Postfix's
// tables (postmap(1), Postfix 3.2 and later): "key value", "#" begins a
// comment line, a line that begins with white space goes on with the one
// before, white space inside double quotes belongs to the key. Line ends may
// be CRLF, and a byte order mark may stand first.
//
// It knows nothing of what keys and values mean and does not look for keys
// that come twice. Other than postmap it takes a line of one word, since many
// lists have nothing to say of a key, and refuses control characters.
//
// It fails by Problems: a line that cannot be used is one, with file and line,
// and all of them are given at once; so is a file that cannot be read. What
// was read beside problems is there too, but a caller that uses it uses half a
// list.
//
// # Limits
//
// A file of more than 64 MB, a logical line of more than 64 KB and more than
// 1,000,000 entries are refused unless Options say otherwise. Memory is the
// file's size and 56 bytes an entry. 100 problems are told, the rest counted.
package tables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// The bounds where Options name none.
const (
	MaxBytes    = 64 << 20  // of a file
	MaxEntries  = 1_000_000 // of a file
	MaxLine     = 64 << 10  // bytes of a logical line
	MaxProblems = 100       // told one by one
)

const mark = "\ufeff" // the byte order mark

// Options are the bounds of one reading; zero is the constant of that name.
type Options struct {
	MaxBytes, MaxEntries, MaxLine, MaxProblems int
}

func (o Options) withDefaults() Options {
	for _, v := range []struct {
		field *int
		value int
	}{{&o.MaxBytes, MaxBytes}, {&o.MaxEntries, MaxEntries}, {&o.MaxLine, MaxLine}, {&o.MaxProblems, MaxProblems}} {
		if *v.field <= 0 {
			*v.field = v.value
		}
	}
	return o
}

// Entry is one logical line. Its texts share the memory of the whole file: who
// keeps a few of many clones them.
type Entry struct {
	Key, Value string // Value is empty when the line has one word
	File       string
	Line       int // where the logical line begins, from 1
}

// Problem is a line that cannot be used.
type Problem struct {
	File string
	Line int // 0: the file as a whole
	Text string
	Try  string // how to mend it; may be empty
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Read reads a file. The list may be used only when there are no problems.
func Read(file string, o Options) ([]Entry, []Problem) {
	o = o.withDefaults()
	text, err := readFile(file, int64(o.MaxBytes))
	if err != nil {
		return nil, []Problem{{File: file, Text: err.Error()}}
	}
	return Parse(file, text, o)
}

// Parse reads the text of a file; file is its name for entries and problems.
// text must not be changed afterwards by whoever keeps the entries.
func Parse(file string, text []byte, o Options) ([]Entry, []Problem) {
	p := parser{file: file, o: o.withDefaults()}
	if len(text) > p.o.MaxBytes {
		return nil, []Problem{{File: file, Text: tooLarge(int64(p.o.MaxBytes)).Error()}}
	}
	text = bytes.TrimPrefix(text, []byte(mark))
	p.clean = isClean(text)
	// One copy for all keys and values, which are parts of it.
	p.all(string(text))
	if p.unsaid > 0 {
		p.problems = append(p.problems, Problem{File: file, Text: fmt.Sprintf("%d problems more", p.unsaid)})
	}
	return p.entries, p.problems
}

// parser is one reading.
type parser struct {
	file     string
	o        Options
	entries  []Entry
	problems []Problem
	unsaid   int
	clean    bool // no line needs to be looked at for octets that no list has

	logical string // the logical line so far
	begin   int    // its first line, 0: none has begun
	bad     bool   // a problem was told of it
}

func (p *parser) problem(line int, text, try string) {
	if len(p.problems) >= p.o.MaxProblems {
		p.unsaid++
		return
	}
	p.problems = append(p.problems, Problem{File: p.file, Line: line, Text: text, Try: try})
}

// all cuts the text into logical lines, as Postfix's readllines() does: empty
// lines and comments neither end a logical line nor belong to it.
func (p *parser) all(text string) {
	p.entries = make([]Entry, 0, min(strings.Count(text, "\n")+1, p.o.MaxEntries))
	for n := 1; text != ""; n++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		plain := strings.TrimLeft(line, " \t")
		if plain == "" || plain[0] == '#' {
			continue
		}
		if len(plain) == len(line) {
			if !p.end() {
				return
			}
			p.logical, p.begin, p.bad = "", n, false
		} else if p.begin == 0 {
			p.problem(n, "begins with white space, but there is no line before it to go on with", "begin the line with the key")
			continue
		}
		p.add(n, line)
	}
	p.end()
}

// add puts a line to the logical line.
func (p *parser) add(n int, line string) {
	if p.bad {
		return
	}
	switch {
	case len(p.logical)+len(line) > p.o.MaxLine:
		p.bad = true
		p.problem(n, fmt.Sprintf("is longer than %d bytes, with the lines that it goes on with", p.o.MaxLine), "")
	case p.clean:
		p.logical += line
	case strings.IndexFunc(line, isControl) >= 0:
		p.bad = true
		p.problem(n, "holds a control character", "")
	case !utf8.ValidString(line):
		p.bad = true
		p.problem(n, "is not UTF-8", "save the file as UTF-8")
	case strings.Contains(line, mark):
		// Nobody sees it, and the key would never be found.
		p.bad = true
		p.problem(n, "holds a byte order mark", "write the line again")
	default:
		p.logical += line
	}
}

// isClean tells that a text is ASCII without control characters, but for those
// of white space and line ends. Most files are, and one look at all of it is
// faster than three at each line.
func isClean(text []byte) bool {
	for i, c := range text {
		switch {
		case c >= ' ' && c < 0x7f, c == '\n', c == '\t':
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
		default:
			return false
		}
	}
	return true
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }

// end takes the logical line that is complete; false: there are too many.
func (p *parser) end() bool {
	if p.begin == 0 || p.bad {
		return true
	}
	if len(p.entries) >= p.o.MaxEntries {
		p.problem(p.begin, fmt.Sprintf("there are more than %d entries", p.o.MaxEntries), "")
		p.begin = 0
		return false
	}
	key, value, bad := Split(p.logical)
	if bad != "" {
		p.problem(p.begin, bad, `a quote or backslash that belongs to the key is written \" or \\`)
		return true
	}
	p.entries = append(p.entries, Entry{Key: key, Value: value, File: p.file, Line: p.begin})
	return true
}

// Split parts a line without white space before it into key and value, or
// tells what is wrong with the key.
func Split(line string) (key, value, bad string) {
	n, bad := keyLength(line)
	return line[:n], strings.Trim(line[n:], " \t"), bad
}

// keyLength finds the first white space outside quotes, or tells what is wrong
// with the key. It keeps its quotes and backslashes, as with postmap.
func keyLength(s string) (n int, bad string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return 0, "the key ends in a backslash"
			}
		case '"':
			quoted = !quoted
		case ' ', '\t':
			if !quoted {
				return i, ""
			}
		}
	}
	if quoted {
		return 0, "a double quote is not closed"
	}
	return len(s), ""
}

// readFile reads a regular file of at most limit bytes. Its errors name no
// path.
func readFile(path string, limit int64) ([]byte, error) {
	// O_NONBLOCK: opening a pipe without a writer would wait for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError(err)
	}
	switch {
	case info.IsDir():
		return nil, errors.New("is a folder, not a file")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > limit:
		return nil, tooLarge(limit)
	}
	// The file may grow meanwhile: the bound is on what is read.
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fileError(err)
	}
	if int64(b.Len()) > limit {
		return nil, tooLarge(limit)
	}
	return b.Bytes(), nil
}

func tooLarge(limit int64) error {
	if limit%(1<<20) == 0 {
		return fmt.Errorf("is larger than %d MB", limit>>20)
	}
	return fmt.Errorf("is larger than %d bytes", limit)
}

func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read by this user")
	case errors.Is(err, syscall.ENOTDIR):
		return errors.New("does not exist: a part of its path is a file")
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	q := strconv.Quote(err.Error())
	return errors.New("cannot be read: " + q[1:len(q)-1])
}
