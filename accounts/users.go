package accounts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"garita/tables"
)

const (
	maxFile  = 16 << 20
	maxUsers = 100_000
	// maxProblems bounds what is said of one file, maxWarnings what is said of
	// weak hashes.
	maxProblems = 100
	maxWarnings = 10
)

// Users are the users of one file. They never change.
type Users struct {
	byName map[string]int // by nameKey: where in hashes
	hashes []hash
	weak   []string
}

// Len is the number of users.
func (u *Users) Len() int { return len(u.hashes) }

// Load reads the file of the configuration and gives its users, or everything
// that is wrong with it, each with file and line. An empty name of a file is
// no users.
func Load(c Config) (*Users, []error) {
	if c.File == "" {
		return &Users{}, nil
	}
	text, err := readFile(c.File)
	if err != nil {
		return nil, []error{err}
	}
	u, problems := parse(c.File, text, c)
	if len(problems) > 0 {
		return nil, problems
	}
	return u, nil
}

// readFile reads a regular file that is not everybody's.
func readFile(name string) ([]byte, error) {
	problem := func(text, try string) error { return tables.Problem{File: name, Text: text, Try: try} }
	// A FIFO in its place must not block us.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, cannotRead{name, err}
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, cannotRead{name, err}
	case !fi.Mode().IsRegular():
		return nil, problem("not a regular file", "")
	case fi.Mode().Perm()&0o007 != 0:
		return nil, problem(fmt.Sprintf("everybody may read or change the hashes (mode %04o): chmod 0640, with the group that garita runs as", fi.Mode().Perm()), "chmod 0640")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, cannotRead{name, err}
	case len(b) > maxFile:
		return nil, problem(fmt.Sprintf("larger than %d MB", maxFile>>20), "")
	}
	return b, nil
}

// cannotRead is that the file could not be read, in the form of Validate: its
// key first.
type cannotRead struct {
	file string
	err  error
}

func (c cannotRead) Unwrap() error { return c.err }

func (c cannotRead) Error() string {
	why := "cannot be read"
	var number syscall.Errno
	switch {
	case errors.Is(c.err, fs.ErrNotExist):
		why = "does not exist"
	case errors.Is(c.err, fs.ErrPermission):
		why = "may not be read by this user"
	case errors.As(c.err, &number):
		why += ": " + number.Error()
	}
	return fmt.Sprintf("file: %q %s", c.file, why)
}

// parse reads the lines: "name hash note…", or "name:hash:…" as htpasswd and
// Dovecot write it.
func parse(file string, text []byte, c Config) (*Users, []error) {
	u := &Users{byName: map[string]int{}}
	var (
		problems []error
		lines    = map[string]int{}
		n        int
	)
	for raw := range bytes.Lines(text) {
		n++
		bad := func(text string) {
			if len(problems) < maxProblems {
				problems = append(problems, tables.Problem{File: file, Line: n, Text: text})
			}
		}
		line := strings.TrimRight(string(raw), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			bad("begins with a blank; each user has one line")
			continue
		}
		name, h, err := parseLine(line, c)
		if err != nil {
			bad(err.Error())
			continue
		}
		if first, twice := lines[name]; twice {
			bad(fmt.Sprintf("user %q is in line %d already; upper and lower case are the same", name, first))
			continue
		}
		if len(u.hashes) == maxUsers {
			bad(fmt.Sprintf("more than %d users", maxUsers))
			break
		}
		if why := h.weak(); why != "" && len(u.weak) < maxWarnings {
			u.weak = append(u.weak, fmt.Sprintf("%s:%d: %s; garita user-password makes a better one", file, n, why))
		}
		lines[name] = n
		u.byName[name] = len(u.hashes)
		u.hashes = append(u.hashes, h)
	}
	return u, problems
}

// parseLine reads one line into the key of the name and the hash.
func parseLine(line string, c Config) (string, hash, error) {
	i := strings.IndexAny(line, ": \t")
	if i < 0 {
		return "", hash{}, errKind
	}
	name, err := nameKey(line[:i])
	if err != nil {
		return "", hash{}, err
	}
	rest := strings.TrimLeft(line[i+1:], " \t")
	if j := strings.IndexAny(rest, ": \t"); j >= 0 {
		rest = rest[:j] // the note, or Dovecot's other fields
	}
	for _, scheme := range []string{"{ARGON2ID}", "{BLF-CRYPT}", "{CRYPT}"} {
		if s, ok := strings.CutPrefix(rest, scheme); ok {
			rest = s
			break
		}
	}
	h, err := parseHash(rest, c)
	return name, h, err
}
