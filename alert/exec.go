package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// execChannel runs a program: no shell, the configured arguments alone, the
// alert as JSON on its standard input and a few words of it in the environment.
type execChannel struct {
	command  []string
	language string
}

// killWait is how long after its end output of a program is waited for: a child
// of its own may hold the pipe.
const killWait = 2 * time.Second

func (e execChannel) send(ctx context.Context, n Notice) error {
	c := exec.CommandContext(ctx, e.command[0], e.command[1:]...)
	c.Dir = "/"
	// Nothing of our own environment: it may hold secrets. All values are
	// printable; none is ever part of a command line.
	c.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
		"GARITA_EVENT=" + n.Event, "GARITA_KEY=" + n.Alert.Key, "GARITA_KIND=" + string(n.Alert.Kind),
		"GARITA_SEVERITY=" + n.Alert.Severity.String(), "GARITA_SUBJECT=" + subject(n, e.language), "GARITA_HOST=" + n.Host, "GARITA_ID=" + n.ID}
	c.Stdin = bytes.NewReader(encodeNotice(n))
	out := &firstOctets{}
	c.Stdout, c.Stderr = out, out
	// A group of its own, so that what it has started ends with it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = killWait
	err := c.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return errors.New("it did not end in time and was killed")
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s %s", exit.ProcessState, out.line())
	}
	return err
}

// firstOctets keeps the beginning of what a program says and drops the rest.
type firstOctets struct{ b []byte }

func (f *firstOctets) Write(p []byte) (int, error) {
	if room := maxAnswer - len(f.b); room > 0 {
		f.b = append(f.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (f *firstOctets) line() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(f.b)), "\n")
	return line
}
