package relay

import (
	"syscall"
)

// ahead tells that octets have come that were not read yet.
func (c *conn) ahead() bool { return c.rd.buffered() > 0 || c.under.ahead() > 0 }

// quiet tells that the next hop has said nothing that nobody asked for, and
// has not closed. Before a transaction on a pooled connection, and before the
// final dot, that must hold: an answer that came before its question would be
// taken for the answer to the next one, a 250 among them. One recv that looks
// and does not wait; under TLS it sees records, and any record is too much.
func (c *conn) quiet() bool {
	if c.ahead() {
		return false
	}
	if c.peek == nil {
		sc, ok := c.raw.(syscall.Conn)
		if !ok {
			return true // an injected transport in a test
		}
		rc, err := sc.SyscallConn()
		if err != nil {
			return false
		}
		c.peek = rc
	}
	silent := false
	err := c.peek.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err == nil && silent
}
