package kill

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// TestNamesDie (attacks D): the DNS server is killed while mail flows. Mail
// goes on flowing, without names, and names come back with the server.
func TestNamesDie(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	names := startNames(t)
	w := everything(t, harness.Options{NextHop: hop.Addr}, harness.Setting{Table: "dns", Key: "servers", Value: names.setting()},
		harness.Setting{Table: "dns", Key: "negative_ttl", Value: `"1s"`},
		harness.Setting{Table: "dns", Key: "break_for", Value: `"1s"`},
		harness.Setting{Table: "dns", Key: "min_ttl", Value: `"1s"`})
	w.Start()
	client := int64(0)
	letter := func() (harness.Reply, time.Duration) {
		client++ // one that nobody knows
		begin := time.Now()
		c, err := harness.Connect(t, w.proxy)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Raw(behind(strangerOf(client)))
		if r := c.Reply(); r.Code != 220 {
			return r, time.Since(begin)
		}
		c.Say("EHLO client" + fmt.Sprint(client) + ".example").Reply()
		return c.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n"), time.Since(begin)
	}
	for range 20 {
		if r, _ := letter(); r.Code != 250 {
			t.Fatalf("with DNS: %s", r)
		}
	}
	asked := names.asked.Load()
	if asked == 0 {
		t.Fatal("nobody has asked the DNS")
	}
	names.kill()
	var slowest time.Duration
	for range 60 {
		r, took := letter()
		if r.Code != 250 {
			t.Errorf("without DNS: %s", r)
		}
		slowest = max(slowest, took)
	}
	back := serveNames(t, names.addr)
	harness.Eventually(t, "the DNS server is back, and nobody asks it", func() bool {
		letter()
		return back.asked.Load() > 0
	})
	t.Logf("%d questions before; without DNS the slowest of 60 letters took %s", asked, slowest.Round(time.Millisecond))
}

// A host is a next hop whose machine can be cut off: connections break with
// RST, whatever was on its way, and new ones are refused.
type host struct {
	addr, to string
	mu       sync.Mutex
	l        net.Listener
	conns    map[net.Conn]bool
}

func startHost(t *testing.T, to string) *host {
	t.Helper()
	h := &host{addr: harness.Addr(t), to: to, conns: map[net.Conn]bool{}}
	h.up(t)
	t.Cleanup(h.cut)
	return h
}

func (h *host) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.l = l
	h.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.pass(c)
		}
	}()
}

func (h *host) pass(c net.Conn) {
	far, err := net.Dial("tcp", h.to)
	if err != nil {
		c.Close()
		return
	}
	h.mu.Lock()
	h.conns[c], h.conns[far] = true, true
	h.mu.Unlock()
	done := make(chan struct{})
	go func() { io.Copy(far, c); far.Close(); close(done) }()
	io.Copy(c, far)
	c.Close()
	<-done
	h.mu.Lock()
	delete(h.conns, c)
	delete(h.conns, far)
	h.mu.Unlock()
}

func (h *host) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.l != nil {
		h.l.Close()
	}
	for c := range h.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// TestHostDies (attacks B-40): of two servers of a next hop one is cut off
// under load, then the other, again and again. Letters go by the one that is
// left: none is lost, and none is there twice but those whose answer the cut
// has taken away.
func TestHostDies(t *testing.T) {
	var mu sync.Mutex
	arrived := map[int][][32]byte{}
	keep := harness.SandboxOptions{Forget: true, OnStored: func(s harness.Stored) error {
		id, sum, ok := identify(string(s.Data))
		if !ok {
			return nil // one of the questions below
		}
		mu.Lock()
		defer mu.Unlock()
		arrived[id] = append(arrived[id], sum)
		return nil
	}}
	first, second := harness.StartSandbox(t, keep), harness.StartSandbox(t, keep)
	a, b := startHost(t, first.Addr), startHost(t, second.Addr)
	w := everything(t, harness.Options{NextHop: a.addr, SmartHost: first.Addr})
	harness.Configure(t, w.Config, harness.Setting{Table: "next_hop." + w.hop("inbound"), Key: "fallback_urls", Value: `["smtp://` + b.addr + `"]`})
	w.Start()
	if r := letterTo(t, w.Inbound); r.Code != 250 || first.Count() != 1 {
		t.Fatalf("with both: %s, %d at the first", r, first.Count())
	}
	l := startLoad(t, w.Inbound, "", 6)
	n := max(rounds(25)/5, 3)
	for i := range n {
		dead := a
		if i%2 == 1 {
			dead = b
		}
		time.Sleep(300 * time.Millisecond)
		dead.cut()
		// What is answered while one is dead is a fact about failover: a new
		// letter needs no luck.
		if r := letterTo(t, w.Inbound); r.Code != 250 {
			t.Errorf("round %d, one server dead: %s", i, r)
		}
		time.Sleep(300 * time.Millisecond)
		dead.up(t)
		harness.Eventually(t, "health does not see the server come back", func() bool {
			return !strings.Contains(w.strict(), "next hop")
		})
	}
	l.end()
	if code := w.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	mu.Lock()
	defer mu.Unlock()
	s := l.reconcile(t, arrived)
	t.Logf("%d rounds of one of two servers cut off: %d letters in %d tries, %d copies, %d more than once; first %d, second %d; answers: %v",
		n, s.letters, s.tries, s.copies, s.twice, first.Count(), second.Count(), l.told)
	if second.Count() == 0 {
		t.Error("the fallback was never used")
	}
	for what, n := range l.told {
		if what != "250" && what != "451 after the dot" && !strings.HasPrefix(what, "451 ") {
			t.Errorf("%d tries ended with: %s", n, what)
		}
	}
}

// strict is what health --strict says.
func (w *world) strict() string {
	out, _ := w.Run("health", "--strict", "--config", w.Config)
	return out
}

// TestUsersDie: the users file is deleted, emptied of sense, and made
// everybody's, while users log in. The old users stay until a good file is
// there; then who is not in it is out.
func TestUsersDie(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr})
	w.Start()
	enter := func(user string) int {
		t.Helper()
		c, err := w.submit(t)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return login(c, user, userPassword).Code
	}
	if code := enter(userName); code != 235 {
		t.Fatalf("login: %d", code)
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"deleted", func() error { return os.Remove(w.users) }},
		{"nonsense", func() error { return os.WriteFile(w.users, []byte("ana:secret\n"), 0o600) }},
		{"a folder", func() error { os.Remove(w.users); return os.Mkdir(w.users, 0o700) }},
		{"everybody's", func() error {
			os.Remove(w.users)
			w.writeUsers(t, "luis")
			return os.Chmod(w.users, 0o644)
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if code := enter(userName); code != 235 {
			t.Errorf("%s: login %d", c.name, code)
		}
		if out, code := w.Run("reload", "--config", w.Config); code != 78 || !strings.Contains(out, "users") {
			t.Errorf("%s: reload: exit status %d\n%s", c.name, code, out)
		}
		if code := enter(userName); code != 235 {
			t.Errorf("%s, after the reload: login %d", c.name, code)
		}
		if out := w.strict(); !strings.Contains(out, "last reload failed") {
			t.Errorf("%s: health --strict: %s", c.name, out)
		}
	}
	w.writeUsers(t, "luis")
	w.command(t, "reload")
	if code := enter("luis"); code != 235 {
		t.Errorf("the new user: %d", code)
	}
	if code := enter(userName); code != 535 {
		t.Errorf("the user who is in the file no more: %d", code)
	}
	if strings.Contains(w.Log(), userPassword) {
		t.Error("the log has the password")
	}
}
