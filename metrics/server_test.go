package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func serve(t *testing.T, ready func() Readiness, set ...func(*http.Server)) string {
	t.Helper()
	s, err := NewServer(ServerOptions{Metrics: New(Options{Sources: full()}), Ready: ready})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set {
		f(s.http)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func good() Readiness { return Readiness{} }

func TestPathsAndMethods(t *testing.T) {
	addr := serve(t, good)
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/metrics", "", 200}, {"HEAD", "/metrics", "", 200}, {"GET", "/healthz", "", 200}, {"GET", "/readyz", "", 200},
		{"HEAD", "/readyz", "", 200}, {"GET", "/", "", 404}, {"GET", "/metrics/x", "", 404}, {"GET", "/debug/pprof/", "", 404},
		{"POST", "/metrics", "x", 405}, {"PUT", "/healthz", "", 405}, {"DELETE", "/readyz", "", 405}, {"OPTIONS", "/metrics", "", 405},
		{"TRACE", "/metrics", "", 405}, {"GET", "/metrics", "a body", 400},
	} {
		r, err := http.NewRequest(c.method, "http://"+addr+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, resp.StatusCode, c.code)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no nosniff", c.method, c.path)
		}
	}
}

// readyz is 503 with its reasons while mail cannot come in; what other servers
// said cannot leave the JSON or reach a terminal.
func TestReadyz(t *testing.T) {
	var now Readiness
	addr := serve(t, func() Readiness { return now })
	ask := func(query string) (int, readiness, string) {
		resp, err := http.Get("http://" + addr + "/readyz" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		var a readiness
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		return resp.StatusCode, a, string(raw)
	}
	if code, a, _ := ask(""); code != 200 || !a.Ready || a.Problems == nil || a.Concerns == nil {
		t.Errorf("%d %+v", code, a)
	}
	now.Concerns = []string{"next hop a: 554 \x1b]0;x\x07 \u202e \"quoted\" " + strings.Repeat("ñ", 5000)}
	code, a, raw := ask("")
	if code != 200 || !a.Ready || len(a.Concerns) != 1 || strings.ContainsAny(raw, "\x1b\x07\u202e") || len(raw) > 4*maxReason+200 {
		t.Errorf("%d %s", code, raw)
	}
	if code, a, _ := ask("?strict=1"); code != 503 || a.Ready {
		t.Errorf("strict: %d %+v", code, a)
	}
	now = Readiness{Problems: []string{"the gateway is draining"}}
	if code, a, _ := ask(""); code != 503 || a.Ready || a.Problems[0] != "the gateway is draining" {
		t.Errorf("%d %+v", code, a)
	}
	for range 1000 {
		now.Problems = append(now.Problems, "more")
	}
	if _, a, _ := ask(""); len(a.Problems) != maxReasons {
		t.Errorf("%d reasons", len(a.Problems))
	}
}

// Who is not of this machine needs a network of the list.
func TestWhoMayAsk(t *testing.T) {
	s, err := NewServer(ServerOptions{Metrics: New(Options{}), Ready: good,
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	for from, code := range map[string]int{
		"127.0.0.1:5": 200, "[::1]:5": 200, "[::ffff:127.0.0.1]:5": 200, "192.0.2.9:5": 200, "[::ffff:192.0.2.9]:5": 200, "[2001:db8::1]:5": 200,
		"198.51.100.1:5": 403, "[::ffff:198.51.100.1]:5": 403, "[2001:db9::1]:5": 403, "": 403, "@": 403,
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = from
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("%q: %d, want %d", from, w.Code, code)
		}
	}
}

// Connections that say nothing take no more than their slots, and give them
// back; large headers are refused.
func TestBounds(t *testing.T) {
	addr := serve(t, good, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout = 100*time.Millisecond, 100*time.Millisecond
	})
	var silent []net.Conn
	for range maxConnections * 2 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	client := &http.Client{Timeout: 60 * time.Second}
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			resp, err := client.Get("http://" + addr + "/healthz")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}()
	}
	wg.Wait()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	go fmt.Fprintf(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("a", maxHeader*4))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a large header: %d", resp.StatusCode)
	}
}

// Strangers who connect and say nothing do not keep the health check out.
func TestStrangersHaveFewPlaces(t *testing.T) {
	inner := &scripted{conns: make(chan net.Conn, 100)}
	l := &limited{Listener: inner, may: func(a string) bool { return a == "192.0.2.1:1" },
		slots: make(chan struct{}, maxConnections), strangers: make(chan struct{}, maxStrangers), done: make(chan struct{})}
	for range 50 {
		inner.conns <- &named{addr: "198.51.100.1:1"}
	}
	inner.conns <- &named{addr: "192.0.2.1:1"}
	var open []net.Conn
	for {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if open = append(open, c); c.RemoteAddr().String() == "192.0.2.1:1" {
			break
		}
	}
	if len(open) != maxStrangers+1 {
		t.Errorf("%d are open", len(open))
	}
	for _, c := range open {
		c.Close()
	}
	if len(l.slots)+len(l.strangers) != 0 {
		t.Error("places were not given back")
	}
}

type scripted struct {
	net.Listener
	conns chan net.Conn
}

func (s *scripted) Accept() (net.Conn, error) { return <-s.conns, nil }

type named struct {
	net.Conn
	addr string
}

func (n *named) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(n.addr))
}
func (n *named) Close() error { return nil }

func TestConfig(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Default(), ""},
		{Config{Listen: "127.0.0.1:9425"}, ""},
		{Config{Listen: "[::1]:9425"}, ""},
		{Config{Listen: "0.0.0.0:9425"}, "has no password"},
		{Config{Listen: "192.0.2.1:9425"}, "has no password"},
		{Config{Listen: "0.0.0.0:9425", Allow: []netip.Prefix{p("192.0.2.0/24")}}, ""},
		{Config{Listen: "0.0.0.0:9425", Allow: []netip.Prefix{p("0.0.0.0/0")}}, "is everybody"},
		{Config{Listen: "0.0.0.0:9425", Allow: []netip.Prefix{p("::ffff:0.0.0.0/96")}}, "is everybody"},
		{Config{Listen: "9425"}, "is no address"},
		{Config{Listen: "localhost:9425"}, "is no address"},
		{Config{Listen: "[fe80::1%eth0]:9425"}, "is no address"},
	} {
		errs := c.c.Validate()
		if c.want == "" && len(errs) > 0 || c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.c, errs, c.want)
		}
	}
	if _, err := NewServer(ServerOptions{}); err == nil {
		t.Error("a server of nothing")
	}
}
