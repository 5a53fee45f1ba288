package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Strace counts the system calls that a process and its threads make while
// work runs, by strace -c -f. It slows the process down, so that calls meet
// fewer or more events than at full speed; Perf does not.
func Strace(ctx context.Context, pid int, work func() error) (calls int64, table string, err error) {
	dir, err := os.MkdirTemp("", "garita-bench-")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "calls")
	cmd := exec.CommandContext(ctx, "strace", "-c", "-f", "-o", out, "-p", strconv.Itoa(pid))
	var told bytes.Buffer
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	time.Sleep(time.Second) // until it has attached to every thread
	werr := work()
	cmd.Process.Signal(syscall.SIGINT)
	// strace ends with the signal that ended it: that is no fault.
	if err := cmd.Wait(); err != nil && !interrupted(err) {
		return 0, "", fmt.Errorf("strace: %w: %s", err, told.String())
	}
	b, err := os.ReadFile(out)
	if err := errors.Join(werr, err); err != nil {
		return 0, "", err
	}
	calls, err = straceTotal(string(b))
	return calls, string(b), err
}

func interrupted(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (ws.Signaled() && ws.Signal() == syscall.SIGINT || ws.ExitStatus() == 128+int(syscall.SIGINT))
}

var errNoTotal = errors.New("no total in the table of strace")

// straceTotal finds the number of calls in the last line of strace -c:
// "100.00    2.769295          75     36552      2524 total".
func straceTotal(table string) (int64, error) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[len(f)-1] == "total" {
			return strconv.ParseInt(f[3], 10, 64)
		}
	}
	return 0, errNoTotal
}

// Perf counts like Strace, at full speed, by the kernel's own tracepoint. It
// needs Debian's linux-perf and the right to trace.
func Perf(ctx context.Context, pid int, work func() error) (int64, error) {
	cmd := exec.CommandContext(ctx, "perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", strconv.Itoa(pid))
	var told bytes.Buffer
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond)
	werr := work()
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil && !interrupted(err) {
		return 0, fmt.Errorf("perf: %w: %s", err, told.String())
	}
	if werr != nil {
		return 0, werr
	}
	return perfCount(told.String())
}

// perfCount reads "475455,,raw_syscalls:sys_enter,…".
func perfCount(out string) (int64, error) {
	for line := range strings.Lines(out) {
		f := strings.Split(line, ",")
		if len(f) > 2 && f[2] == "raw_syscalls:sys_enter" {
			return strconv.ParseInt(f[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("perf told %q", out)
}
