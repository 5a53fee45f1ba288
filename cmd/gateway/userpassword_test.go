package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"garita/accounts"
)

// userPassword runs the command with an input.
func userPassword(c userPasswordCommand, in string) (out, said string, err error) {
	var o, e strings.Builder
	err = c.Run(&terminal{in: strings.NewReader(in), out: &o, err: &e})
	return o.String(), e.String(), err
}

// What the command prints lets the user in.
func TestUserPasswordLetsIn(t *testing.T) {
	for _, x := range []struct {
		c  userPasswordCommand
		in string
	}{
		{userPasswordCommand{User: "ana"}, "correct horse\n"}, {userPasswordCommand{User: "ana"}, "correct horse\r\n"},
		{userPasswordCommand{User: "ana", Bcrypt: true}, "correct horse"}, {userPasswordCommand{}, "ana\ncorrect horse\n"},
	} {
		out, said, err := userPassword(x.c, x.in)
		if err != nil || said != "" || strings.Contains(out, "correct") || strings.Count(out, "\n") != 1 {
			t.Fatalf("%q %q %v", out, said, err)
		}
		c := accounts.Default()
		c.File = filepath.Join(t.TempDir(), "users")
		if err := os.WriteFile(c.File, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := accounts.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := a.Verify(t.Context(), netip.MustParseAddr("192.0.2.1"), "ana", "correct horse"); !ok || err != nil || len(a.Warnings()) > 0 {
			t.Errorf("%+v: %v %v %v", x.c, ok, err, a.Warnings())
		}
	}
}

func TestUserPasswordRefuses(t *testing.T) {
	for in, c := range map[string]userPasswordCommand{
		"": {User: "ana"}, "\n": {User: "ana"}, "short\n": {User: "ana"}, "aaaaaaaaaaaa\n": {User: "ana"}, "Password1!\n": {User: "ana"},
		"analucia\n": {User: "analucia@example.org"}, "Analucia2026\n": {User: "analucia"}, "qwertyuiop\n": {User: "ana"}, "12345678\n": {User: "ana"},
		"correct horse 1\n": {User: "a b"}, "correct horse 2\n": {User: "a:b"}, "correct\x00horse\n": {User: "ana"}, "correct\xffhorse\n": {User: "ana"},
		strings.Repeat("long passphrase ", 300) + "\n": {User: "ana"}, strings.Repeat("long passphrase ", 5) + "\n": {User: "ana", Bcrypt: true},
		"ana\n": {}, // and no password
	} {
		out, said, err := userPassword(c, in)
		if err == nil || out != "" {
			t.Errorf("%.30q %+v: accepted", in, c)
			continue
		}
		if p := strings.TrimSpace(in); len(p) > 9 && strings.Contains(err.Error()+said, p) {
			t.Errorf("shows the password: %v", err)
		}
	}
}

// The password is not taken from the command line.
func TestUserPasswordNotFromArguments(t *testing.T) {
	if code := execute([]string{"user-password", "ana", "correct horse"}, terminal{in: strings.NewReader("x\n"), out: io.Discard, err: io.Discard}); code == 0 {
		t.Error("accepted")
	}
}

// pty gives both ends of a terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m, s
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// At a terminal the password is asked twice, without echo, and the echo comes
// back, after a difference too.
func TestUserPasswordAtATerminal(t *testing.T) {
	for _, x := range []struct {
		second string
		want   bool
	}{{"correct horse", true}, {"correct house", false}} {
		master, slave := pty(t)
		var out strings.Builder
		done := make(chan error, 1)
		go func() {
			c := userPasswordCommand{User: "ana"}
			done <- c.Run(&terminal{in: slave, out: &out, err: slave})
		}()
		shown := &strings.Builder{}
		r := bufio.NewReader(master)
		say := func(prompt, answer string) {
			t.Helper()
			for !strings.HasSuffix(shown.String(), prompt) {
				b, err := r.ReadByte()
				if err != nil {
					t.Fatal(err)
				}
				shown.WriteByte(b)
			}
			if echoes(t, slave) {
				t.Error("the terminal echoes")
			}
			io.WriteString(master, answer+"\n")
		}
		say("Password: ", "correct horse")
		say("The same again: ", x.second)
		select {
		case err := <-done:
			if (err == nil) != x.want || (out.Len() > 0) != x.want {
				t.Errorf("%q: %v %q", x.second, err, out.String())
			}
		case <-time.After(patience):
			t.Fatal("does not end")
		}
		if !echoes(t, slave) {
			t.Error("the echo did not come back")
		}
		if strings.Contains(shown.String(), "horse") {
			t.Errorf("shown: %q", shown)
		}
	}
}

// A signal while the password is typed gives the echo back.
func TestUserPasswordInterrupted(t *testing.T) {
	master, slave := pty(t)
	cmd := exec.Command("garita", "user-password", "ana")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, io.Discard, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(master)
	if _, err := r.ReadString(':'); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); echoes(t, slave); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the echo stays on")
		}
	}
	cmd.Process.Signal(unix.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !echoes(t, slave) {
		t.Errorf("exit code %d, echo %v", code, echoes(t, slave))
	}
}
