package harness

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs beside the test.
type Process struct {
	Name string
	cmd  *exec.Cmd
	out  string // file with what it prints: a pipe would live as long as its last grandchild
	done chan struct{}
	err  error
}

// Start runs a program in a session of its own (Postfix insists on leading
// one, and a session is a process group that can be killed) and ends it with the
// test. The kernel ends it too when the test process dies.
func Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	out, err := os.CreateTemp("", "garita-out-")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	t.Cleanup(func() { os.Remove(out.Name()) })
	p := &Process{Name: name, cmd: exec.Command(name, args...), out: out.Name(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = environment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("harness: %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
		p.Kill()
	})
	return p
}

// WaitPort waits until the program listens, or fails with what it printed.
func (p *Process) WaitPort(t testing.TB, addr string) {
	t.Helper()
	Eventually(t, "", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return true
		}
		if p.Ended() {
			t.Fatalf("harness: %s ended (%v) before it listened on %s; it printed:\n%s", p.Name, p.err, addr, p.Output())
		}
		return false
	})
}

// environment is ours, without the second that a program with the race
// detector sleeps at its end.
func environment() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed so far.
func (p *Process) Output() string {
	data, _ := os.ReadFile(p.out)
	return string(data)
}

// Signal sends a signal to the program alone.
func (p *Process) Signal(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		p.cmd.Process.Signal(s)
	}
}

// Kill ends the whole group at once, as kill -9 does, and waits for it.
func (p *Process) Kill() {
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.cmd.Process.Kill()
	}
	<-p.done
}

// Ended tells whether the program is no longer running.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the program's end and gives its exit status, or fails.
func (p *Process) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("harness: %s still runs after %s; it printed:\n%s", p.Name, limit, p.Output())
		return -1
	}
}

// Command runs a program to its end and gives its output and exit status. A
// program that cannot be started fails the test; a non-zero status does not.
func Command(t testing.TB, name string, args ...string) (string, int) {
	t.Helper()
	return CommandInput(t, nil, name, args...)
}

// CommandInput is Command with something on standard input.
func CommandInput(t testing.TB, input []byte, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Dir = Root()
	cmd.Env = environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("harness: %s: %v", name, err)
	}
	timer := time.AfterFunc(5*time.Minute, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("harness: %s: %v\n%s", name, err, out.String())
		}
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
