package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"garita/accounts"
)

// userPasswordCommand makes a line of the users file. The password never comes
// from the command line, which everybody on the machine can read.
type userPasswordCommand struct {
	User   string `arg:"" optional:"" help:"Name that the user logs in with; asked for when it is missing."`
	Bcrypt bool   `help:"Make a bcrypt hash instead of argon2id, for a file that other programs read too."`
}

const (
	// minPassword is the least that is taken (NIST SP 800-63B section 5.1.1).
	minPassword = 8
	// maxInput bounds a line of input.
	maxInput = 4096
)

// Run asks, and prints the line to the standard output alone, so that it can
// be appended to the file.
func (c *userPasswordCommand) Run(t *terminal) error {
	ask := newAsker(t)
	name := c.User
	if name == "" {
		var err error
		if name, err = ask.line("User: "); err != nil {
			return err
		}
	}
	password, err := ask.secret("Password: ")
	if err != nil {
		return err
	}
	if why := weakPassword(name, password); why != "" {
		return fail(exitFailed, "the password %s", why)
	}
	if ask.terminal {
		again, err := ask.secret("The same again: ")
		if err != nil {
			return err
		}
		if again != password {
			return fail(exitFailed, "the passwords differ")
		}
	}
	line, err := accounts.Line(name, password, c.Bcrypt)
	if err != nil {
		return fail(exitFailed, "%s", err)
	}
	if _, err = io.WriteString(t.out, line+"\n"); err != nil {
		return err
	}
	if ask.terminal && isTerminal(t.out) {
		io.WriteString(t.err, "Put this line into the file that [users] file names, then: garita reload\n")
	}
	return nil
}

// weakPassword tells what is wrong with a password, empty for nothing. Length
// is what counts; signs of four kinds are asked of nobody.
func weakPassword(name, password string) string {
	low := strings.ToLower(password)
	local, _, _ := strings.Cut(strings.ToLower(name), "@")
	kinds := map[rune]bool{}
	for _, r := range password {
		kinds[r] = true
	}
	switch {
	case password == "":
		return "is empty"
	case len([]rune(password)) < minPassword:
		return fmt.Sprintf("is too short: %d characters are the least", minPassword)
	case len(kinds) < 4:
		return "has too few different characters"
	case low == strings.ToLower(name) || local != "" && strings.Trim(strings.ReplaceAll(low, local, ""), "0123456789!.-_@") == "":
		return "is the user's name"
	case strings.Contains("0123456789012345678901234567890 abcdefghijklmnopqrstuvwxyz qwertyuiop asdfghjkl", low):
		return "is a row of keys"
	}
	for _, bad := range []string{"password", "passw0rd", "contraseña", "qwerty", "123456", "letmein", "welcome", "iloveyou"} {
		if rest := strings.ReplaceAll(low, bad, ""); rest != low && len([]rune(strings.Trim(rest, "0123456789!.-_"))) < 3 {
			return "is one of the first that are guessed"
		}
	}
	return ""
}

// asker reads lines from a person, or from a pipe.
type asker struct {
	t        *terminal
	in       *bufio.Reader
	terminal bool
}

func newAsker(t *terminal) *asker {
	return &asker{t: t, in: bufio.NewReaderSize(t.in, maxInput), terminal: isTerminal(t.in)}
}

// line reads one line; a prompt goes to the standard error, only to a person.
func (a *asker) line(prompt string) (string, error) {
	if a.terminal {
		io.WriteString(a.t.err, prompt)
	}
	b, err := a.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fail(exitFailed, "the input is longer than %d octets", maxInput)
	case err != nil && !errors.Is(err, io.EOF):
		return "", fail(exitFailed, "cannot read: %s", err)
	case len(b) == 0:
		return "", fail(exitFailed, "the input has ended")
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))), nil
}

// secret is line without echo at a terminal. The terminal gets its echo back
// whatever ends the reading, a signal too.
func (a *asker) secret(prompt string) (string, error) {
	f, ok := a.t.in.(*os.File)
	if !a.terminal || !ok {
		return a.line(prompt)
	}
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fail(exitFailed, "cannot turn the echo off: %s", err)
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-stopped:
			unix.IoctlSetTermios(fd, unix.TCSETS, old)
			io.WriteString(a.t.err, "\n")
			os.Exit(exitFailed)
		case <-done:
		}
	}()
	defer func() {
		signal.Stop(stopped)
		close(done)
		<-ended
		unix.IoctlSetTermios(fd, unix.TCSETS, old)
		io.WriteString(a.t.err, "\n")
	}()
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", fail(exitFailed, "cannot turn the echo off: %s", err)
	}
	return a.line(prompt)
}
