package harness

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// pipes is a connection whose other end is a program's standard input and
// output.
type pipes struct {
	net.Conn // nil: nobody asks for addresses
	in       *os.File
	out      *os.File
}

func (p pipes) Read(b []byte) (int, error)         { return p.out.Read(b) }
func (p pipes) Write(b []byte) (int, error)        { return p.in.Write(b) }
func (p pipes) SetReadDeadline(t time.Time) error  { return p.out.SetReadDeadline(t) }
func (p pipes) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }

// Close ends the input, which ends the program.
func (p pipes) Close() error {
	p.in.Close()
	return p.out.Close()
}

// OpenSSLClient is a dialogue by way of openssl s_client; said are its own
// words, complete when the dialogue has ended. With -starttls smtp it reads the
// greeting and says EHLO by itself.
func OpenSSLClient(t testing.TB, addr string, flags ...string) (c *Client, said func() string) {
	t.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	words, err := os.CreateTemp(Dir(t), "openssl-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Need(t, "openssl", "openssl"), append([]string{"s_client", "-connect", addr, "-quiet", "-no_ign_eof", "-nocommands"}, flags...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("harness: openssl: %v", err)
	}
	theirIn.Close()
	theirOut.Close()
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	c = NewClient(t, pipes{in: in, out: out})
	t.Cleanup(func() {
		c.Close()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		words.Close()
	})
	return c, func() string {
		data, _ := os.ReadFile(words.Name())
		return string(data)
	}
}
