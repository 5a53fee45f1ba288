package keys

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// fill makes the queue of a listener as short as it can be and fills it.
func fill(t *testing.T, l *net.TCPListener) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctl := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	for range 20 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 200*time.Millisecond)
		if slow := net.Error(nil); errors.As(err, &slow) && slow.Timeout() {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue is never full")
}
