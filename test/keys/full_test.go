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
	// One that is late may be this machine's fault; three are the queue's.
	for late, i := 0, 0; i < 40; i++ {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 200*time.Millisecond)
		if slow := net.Error(nil); errors.As(err, &slow) && slow.Timeout() {
			if late++; late == 3 {
				return
			}
			continue
		}
		late = 0
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue is never full")
}
