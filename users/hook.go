package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Hook is a program that is run when a user is suspended or resumed: to lock
// the account where it lives. There is no shell: the words are its arguments.
type Hook struct {
	Command []string // {user}, {action}, {reason} and {by} are replaced
	Timeout time.Duration
}

// userMark is the word that becomes the name.
const userMark = "{user}"

// Validate gives every mistake, each naming its key.
func (h Hook) Validate() (errs []error) {
	if len(h.Command) > 0 && !strings.HasPrefix(h.Command[0], "/") {
		errs = append(errs, fmt.Errorf("command[0]: %.100q must be the whole path of a program; there is no shell and no PATH", h.Command[0]))
	}
	if len(h.Command) > 32 {
		errs = append(errs, errors.New("command: has more than 32 words"))
	}
	if h.Timeout < time.Second || h.Timeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("command_timeout = %s: must be from 1s to 5m", h.Timeout))
	}
	return errs
}

// errOption keeps a name from being read as an option.
var errOption = errors.New("users: the name begins with a dash; the command was not run")

// Run runs the command about a change. Its environment is GARITA_ACTION
// (suspend or resume), GARITA_USER, GARITA_REASON, GARITA_BY and PATH; output
// is kept to 4 KB for the error. It ends with its timeout.
func (h Hook) Run(ctx context.Context, c Change) error {
	if len(h.Command) == 0 {
		return nil
	}
	if strings.HasPrefix(c.User, "-") {
		return errOption
	}
	action := "resume"
	if c.Suspended {
		action = "suspend"
	}
	clean := func(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?") }
	words := strings.NewReplacer(userMark, clean(c.User), "{action}", action, "{reason}", clean(c.Reason), "{by}", clean(c.By))
	args := make([]string, len(h.Command))
	for i, w := range h.Command {
		if args[i] = w; i > 0 {
			args[i] = words.Replace(w)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GARITA_ACTION=" + action, "GARITA_USER=" + clean(c.User),
		"GARITA_REASON=" + clean(c.Reason), "GARITA_BY=" + clean(c.By)}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second // a child that keeps its output open
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil && !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("it did not end within %s", h.Timeout)
		}
		return fmt.Errorf("users: %s: %w: %.200q", args[0], err, string(out.b))
	}
	return nil
}

// tail keeps the beginning of what a program says.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	if room := 4096 - len(t.b); room > 0 {
		t.b = append(t.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
