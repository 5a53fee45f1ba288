package policyd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/all"
	"garita/policyd"
	"garita/resolver"
	"garita/store"
	"garita/test/harness"
)

// clock is a wall clock that stands until it is set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// asker is a connection to a policy server.
type asker struct {
	nc net.Conn
	r  *bufio.Reader
}

func dial(t testing.TB, addr string) *asker {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &asker{nc, bufio.NewReader(nc)}
}

// ask sends a request and gives the action.
func (a *asker) ask(request string) (string, error) {
	a.nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(a.nc, request); err != nil {
		return "", err
	}
	return a.reply()
}

func (a *asker) reply() (string, error) {
	line, err := a.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	empty, err := a.r.ReadString('\n')
	if err != nil || empty != "\n" {
		return "", fmt.Errorf("after %q came %q, %v", line, empty, err)
	}
	action, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "action=")
	if !ok {
		return "", fmt.Errorf("no action: %q", line)
	}
	return action, nil
}

// postgrey starts a real one and gives its address.
func postgrey(t testing.TB, env []string, more ...string) string {
	t.Helper()
	harness.NeedRoot(t)
	addr := harness.Addr(t)
	// In memory where there is such a place: its database waits for the disk
	// with every answer, which is no measure of it, and slow.
	dir, err := os.MkdirTemp("/dev/shm", "postgrey")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	word := "--white" + "list-" // one word of theirs that is none of ours
	empty := filepath.Join(dir, "none")
	args := append([]string{
		"--inet=" + addr, "--dbdir=" + dir, "--user=root", "--group=root", "--hostname=mx.our.example", "--quiet",
		"--greylist-text=Greylisted, try again in %s seconds", "--x-greylist-header=X-Greylist: delayed %t seconds by garita at %h; %d",
		word + "clients=" + fileOf(t, empty, "clients"), word + "recipients=" + fileOf(t, empty, "recipients"),
	}, more...)
	args = append(append(append([]string{}, env...), harness.Need(t, "postgrey", "postgrey")), args...)
	p := harness.Start(t, "env", args...)
	p.WaitPort(t, addr)
	return addr
}

// The lists of both servers; a test may fill them before it starts one.
func fileOf(t testing.TB, dir, name string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(lists()[name]), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// lists are exceptions in every form.
func lists() map[string]string {
	return map[string]string{
		"clients":    "# comment\ngood.example # and one more\n  /^mx\\d+\\.pool\\.example$/\n203.0.113.9\n198.51.100.128/25\n100.64.7\n2001:db8:feed::/48\n",
		"recipients": "postmaster@\nabuse@list.example\nopen.example\n/^info-.*@our\\.example$/\n",
	}
}

// ours starts our server in this process.
func ours(t testing.TB, now func() time.Time, config func(*all.Config)) string {
	t.Helper()
	c := all.Default()
	dir := t.TempDir()
	c.Greylist.ClientFiles = []string{fileOf(t, dir, "clients")}
	c.Greylist.RecipientFiles = []string{fileOf(t, dir, "recipients")}
	if config != nil {
		config(&c)
	}
	site := filters.Site{Hostname: "mx.our.example", Resolver: &resolver.Mock{}, Store: store.NewMemoryWith(store.Config{Now: now, Entries: 2_000_000, Bytes: 1 << 30})}
	lists, errs, _ := c.Read(now, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	lists.Grey.Now = now
	checks, helpers, err := lists.Checks(c, site, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(helpers.Close)
	pc := policyd.Default()
	if checks, err = c.ForPolicy(checks, pc.Checks); err != nil {
		t.Fatal(err)
	}
	engine, err := filters.New(filters.Config{Checks: checks})
	if err != nil {
		t.Fatal(err)
	}
	pc.DeferIfPermit = true
	s := policyd.New(policyd.Options{Config: pc, Policy: engine, Now: now})
	l, err := pc.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
