package e2e

import (
	"io"
	"net"
	"testing"
	"time"

	"garita/test/harness"
)

// leave ends a connection in the middle, in one of the ways that clients do,
// and waits until the gateway has closed its side where it can be seen.
func leave(t *testing.T, c *harness.Client, how string) {
	t.Helper()
	tcp := c.Conn.(*net.TCPConn)
	switch how {
	case "RST":
		tcp.SetLinger(0)
		tcp.Close()
	case "half-close":
		tcp.CloseWrite()
		tcp.SetReadDeadline(time.Now().Add(harness.Patience))
		if _, err := io.Copy(io.Discard, tcp); err != nil {
			t.Errorf("the gateway did not close after the client's end: %v", err)
		}
		tcp.Close()
	default:
		tcp.Close()
	}
}
