package load_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"garita/bench/load"
	"garita/bench/yardstick"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func sink(t *testing.T) string {
	t.Helper()
	l := listen(t)
	go new(yardstick.Sink).Serve(l)
	return l.Addr().String()
}

// taken asks a sink by HELP.
func taken(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("HELP\r\nQUIT\r\n")); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buf := make([]byte, 512)
	for {
		n, err := c.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			break
		}
	}
	_, rest, _ := strings.Cut(all.String(), "214 ")
	n, _, _ := strings.Cut(rest, "\r\n")
	return n
}

func TestEveryMessageArrivesOnce(t *testing.T) {
	for name, relay := range map[string]func(hop string) func(net.Listener) error{
		"raw":     func(hop string) func(net.Listener) error { return (&yardstick.Raw{NextHop: hop}).Serve },
		"go-smtp": func(hop string) func(net.Listener) error { return (&yardstick.GoSMTP{NextHop: hop}).Serve },
	} {
		for _, reuse := range []int{0, 1, 3} {
			hop := sink(t)
			l := listen(t)
			go relay(hop)(l)
			r, err := load.Run(context.Background(), load.Config{Addr: l.Addr().String(), Sessions: 4, Messages: 50,
				Message: load.Wire(load.Message(1, 100_000)), To: "bob@our.example", Reuse: reuse, Spread: true})
			if err != nil {
				t.Fatal(err)
			}
			if r.OK != 50 || r.Failed() != "" || r.Latency.N() != 50 {
				t.Errorf("%s, reuse %d: %d sent, errors %q", name, reuse, r.OK, r.Failed())
			}
			if n := taken(t, hop); n != "50" {
				t.Errorf("%s, reuse %d: the sink has %s of 50 messages", name, reuse, n)
			}
			if reuse == 1 && r.Connections != 50 {
				t.Errorf("%s: %d connections for 50 messages", name, r.Connections)
			}
		}
	}
}

func TestRefusalsAreCountedAndCostTheConnection(t *testing.T) {
	hop := listen(t)
	hop.Close()
	l := listen(t)
	go (&yardstick.Raw{NextHop: hop.Addr().String()}).Serve(l) // answers 451: nobody is there
	r, err := load.Run(context.Background(), load.Config{Addr: l.Addr().String(), Sessions: 1, Messages: 5,
		Message: load.Wire(load.Message(1, 2000)), To: "bob@our.example"})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != 0 || r.Errors["end of data: 451"] != 5 || r.Connections != 5 {
		t.Errorf("%d sent on %d connections, errors %v", r.OK, r.Connections, r.Errors)
	}
}

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	r, err := load.Run(context.Background(), load.Config{Addr: sink(t), Sessions: 8, For: 500 * time.Millisecond, Rate: 100,
		Message: load.Wire(load.Message(1, 2000)), To: "bob@our.example", Reuse: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != 50 {
		t.Errorf("%d messages in half a second at 100 a second: %s", r.OK, r.Failed())
	}
}

func TestIdleSessionsStayAlive(t *testing.T) {
	called := false
	alive, err := load.Idle(load.Config{Addr: sink(t)}, 100, func() { called = true })
	if err != nil || alive != 100 || !called {
		t.Errorf("%d of 100 alive, %v, measured %v", alive, err, called)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:25", "example.org:25", "127.0.0.1"} {
		if _, err := load.Run(context.Background(), load.Config{Addr: addr, Messages: 1, Sessions: 1}); err == nil {
			t.Errorf("%s was taken", addr)
		}
		if _, err := load.Idle(load.Config{Addr: addr}, 1, func() {}); err == nil {
			t.Errorf("%s was taken for idle sessions", addr)
		}
	}
}

func TestWire(t *testing.T) {
	if got := string(load.Wire(".a\n..\nb\r\n.")); got != "..a\r\n...\r\nb\r\n..\r\n.\r\n" {
		t.Errorf("%q", got)
	}
	for _, size := range []int{4 << 10, 100 << 10, 1 << 20} {
		m := load.Message(7, size)
		if len(m) != size || m != load.Message(7, size) {
			t.Errorf("a message of %d octets has %d, or differs from the last one made", size, len(m))
		}
	}
}

func TestHistogram(t *testing.T) {
	var h, other load.Histogram
	for i := 1; i <= 500; i++ {
		h.Add(time.Duration(i) * 100 * time.Microsecond)
		other.Add(time.Duration(i+500) * 100 * time.Microsecond)
	}
	h.Merge(&other)
	for q, want := range map[float64]time.Duration{.5: 50 * time.Millisecond, .99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := h.Quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %g is %s, want about %s", q, got, want)
		}
	}
	if n := h.AtLeast(90 * time.Millisecond); n < 100 || n > 120 {
		t.Errorf("%d of 101 durations are 90 ms and longer", n)
	}
	if h.N() != 1000 || h.Max() != 100*time.Millisecond {
		t.Errorf("%d durations, the longest %s", h.N(), h.Max())
	}
	if new(load.Histogram).Quantile(.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// TestProxyHeaderComesFirst: each connection names another client, and waits
// for the greeting behind it.
func TestProxyHeaderComesFirst(t *testing.T) {
	l := listen(t)
	heads := make(chan string, 3)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			line, _ := r.ReadString('\n')
			heads <- line
			io.WriteString(c, "220 here\r\n")
			r.ReadString('\n') // QUIT
			c.Close()
		}
	}()
	addr := l.Addr().String()
	go func() {
		if _, err := load.Greetings(load.Config{Addr: addr, Proxy: true}, 2); err != nil {
			t.Error(err)
		}
		close(heads)
	}()
	_, port, _ := net.SplitHostPort(addr)
	for i, client := range []string{"198.18.0.2 127.0.0.1 1025 ", "198.18.0.3 127.0.0.1 1026 "} {
		if got, want := <-heads, "PROXY TCP4 "+client+port+"\r\n"; got != want {
			t.Errorf("connection %d began with %q, want %q", i, got, want)
		}
	}
}
