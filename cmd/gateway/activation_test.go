package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inheritAs is the variable that makes TestInheritedSockets the process that
// systemd starts.
const inheritAs = "GARITA_TEST_INHERIT"

// startWith runs this test again as systemd would: sockets from descriptor 3
// on, LISTEN_PID of the process itself, which only a shell between can know.
func startWith(t *testing.T, names string, files ...*os.File) (out *bytes.Buffer, wait func() error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$; export LISTEN_PID; exec "$0" -test.run '^TestInheritedSockets$'`, self)
	cmd.Env = append(os.Environ(), inheritAs+"=1", fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	out = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return out, cmd.Wait
}

func socketFile(t *testing.T, l net.Listener) *os.File {
	t.Helper()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A connection that came while no process was there is served by the next one;
// a socket that nobody names is closed, one that is not of TCP is told.
func TestInheritedSockets(t *testing.T) {
	if os.Getenv(inheritAs) != "" {
		asService()
		return
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	files := []*os.File{socketFile(t, l), socketFile(t, other), socketFile(t, unix)}
	t.Setenv("GARITA_TEST_ADDRESS", l.Addr().String())
	addr, unclaimed := l.Addr().String(), other.Addr().String()
	l.Close() // the sockets live in the files alone
	other.Close()
	for round := range 2 { // a start, and a restart
		c, err := net.Dial("tcp", addr) // before there is a process
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out, wait := startWith(t, "smtp:other:\x1b[2Jname", files...)
		c.SetDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(c)
		if err != nil || string(got) != "served\n" {
			t.Errorf("round %d: %v %q", round, err, got)
		}
		if err := wait(); err != nil {
			t.Errorf("round %d: %v\n%s", round, err, out)
		}
		for _, want := range []string{"rest " + unclaimed, "not of TCP", "again 0", "environment \"\""} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("round %d: no %q in:\n%s", round, want, out)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Error("the name of a socket reached the terminal")
		}
	}
}

// asService is what the gateway does with its sockets.
func asService() {
	in, err := inheritSockets()
	fmt.Printf("error %v\n", err)
	a := netip.MustParseAddrPort(os.Getenv("GARITA_TEST_ADDRESS"))
	l := in.take(a)
	if l == nil || in.take(a) != nil {
		fmt.Println("not given once")
		os.Exit(1)
	}
	for _, a := range in.rest() {
		fmt.Printf("rest %s\n", a)
	}
	again, _ := inheritSockets()
	fmt.Printf("again %d\nenvironment %q\n", len(again.open), os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID"))
	c, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	io.WriteString(c, "served\n")
	c.Close()
}

// Without systemd there is nothing, and a nil value serves too.
func TestNoInheritedSockets(t *testing.T) {
	for _, env := range [][2]string{{"", ""}, {"1", "1"}, {"x", "9"}, {fmt.Sprint(os.Getpid()), "x"}} {
		t.Setenv("LISTEN_PID", env[0])
		t.Setenv("LISTEN_FDS", env[1])
		in, err := inheritSockets()
		if err != nil || len(in.open) != 0 {
			t.Errorf("%q: %v %v", env, in.open, err)
		}
	}
	var none *inherited
	if none.take(netip.MustParseAddrPort("127.0.0.1:25")) != nil || none.rest() != nil {
		t.Error("a nil value gives sockets")
	}
}

// The same with systemd's own tool: the process is started by the first
// connection.
func TestSystemdSocketActivate(t *testing.T) {
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Fatalf("%v (package systemd)", err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "--listen="+addr, "--fdname=smtp", "-E", inheritAs+"=1", "-E", "GARITA_TEST_ADDRESS="+addr, self, "-test.run", "^TestInheritedSockets$")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var c net.Conn
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err = net.Dial("tcp", addr); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if werr := cmd.Wait(); err != nil || werr != nil || string(got) != "served\n" {
		t.Errorf("%v, %v, %q\n%s", err, werr, got, &out)
	}
}
