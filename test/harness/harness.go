// Package harness starts the real things for the tests that look at Garita
// from outside: the built program itself, private Postfix instances,
// smtp-sink and smtp-source, swaks, openssl, a go-smtp sandbox and raw
// clients that say exactly the bytes they are told to.
//
// Everything listens on 127.0.0.1 only, keeps its state in a folder of its
// own and ends with the test that started it: processes lead groups of their
// own, and the kernel kills them should the test process die first. Nothing
// is skipped: a component that is missing fails the test with the name of the
// Debian package that has it. Postfix and smtp-sink need root.
//
// Limits: ports are taken between 20000 and 30000, below the range that the
// kernel hands to outgoing connections, and are kept apart between test
// processes by abstract sockets; a foreign program may still take one first.
package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Patience is how long the harness waits for something that must happen. It
// is generous: only a failing test ever waits for it.
const Patience = 90 * time.Second

// Root is the top folder of the repository.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("harness: no caller information")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Dir makes a folder that every user may enter (Postfix's daemons are not
// root) and removes it with the test, unless GARITA_KEEP is set.
func Dir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "garita-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("GARITA_KEEP") == "" {
			os.RemoveAll(d)
		}
	})
	return d
}

// Port reserves a free port on 127.0.0.1 until the test ends. An abstract
// socket of the same number keeps other test processes away from it while
// nothing listens there yet, or any more.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		p := 20000 + rand.IntN(10000)
		lock, err := net.Listen("unix", fmt.Sprintf("@garita-test-port-%d", p))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			lock.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { lock.Close() })
		return p
	}
	t.Fatal("harness: no free port between 20000 and 30000")
	return 0
}

// Addr reserves a port and gives it as an address.
func Addr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Port(t))
}

// Need gives the path of a program, or fails the test with the package that
// has it.
func Need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	if p, err := exec.LookPath(program); err == nil {
		return p
	}
	for _, d := range []string{"/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"} {
		p := filepath.Join(d, program)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatalf("harness: %s is missing: apt-get install %s (test/install-deps.sh does it)", program, debianPackage)
	return ""
}

// NeedRoot fails the test when it does not run as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("harness: this test starts Postfix and needs root")
	}
}

// Eventually waits until ok is true, or fails the test.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(Patience)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("harness: waited %s in vain: %s", Patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// WaitPort waits until something listens.
func WaitPort(t testing.TB, addr string) {
	t.Helper()
	Eventually(t, "nothing listens on "+addr, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// CRLF turns the line ends of a text that was written in a test into CR LF.
func CRLF(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}
