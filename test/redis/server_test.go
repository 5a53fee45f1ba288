// Package redis tests store/redis against real servers on loopback: one
// redis-server, one with a replica and Sentinels, and a cluster of three nodes.
// Each test ends only processes that it started.
package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"garita/store"
	"garita/store/redis"
)

// server is one process.
type server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// freePort is free now; a server that finds it taken is started on another.
func freePort(t testing.TB) int {
	t.Helper()
	// Half of the range, since a cluster node listens on its port + 10,000 too.
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port < 50000 {
			bus, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+10000))
			if err != nil {
				continue
			}
			bus.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// start starts a server with these words of its configuration.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), args: args}
	for range 5 {
		s.port = freePort(t)
		if s.run() {
			t.Cleanup(s.kill)
			return s
		}
		s.kill()
	}
	out, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	t.Fatalf("redis-server does not start (package redis-server, test/install-deps.sh): %s", out)
	return nil
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// run starts the process and waits until it answers something, be it an error.
func (s *server) run() bool {
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "", "--logfile", filepath.Join(s.dir, "log"),
		"--enable-debug-command", "yes", "--daemonize", "no"}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	// A test that dies takes its servers with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("%v (package redis-server, test/install-deps.sh)", err)
	}
	done := make(chan struct{})
	go func(c *exec.Cmd) { _ = c.Wait(); close(done) }(s.cmd)
	for range 6000 {
		select {
		case <-done:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		c, err := net.Dial("tcp", s.addr())
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, "PING\r\n")
		var b [8]byte
		n, _ := c.Read(b[:])
		c.Close()
		if n > 0 {
			return true
		}
	}
	return false
}

func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		for range 6000 {
			if s.cmd.Process.Signal(syscall.Signal(0)) != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (s *server) again() {
	s.t.Helper()
	if !s.run() {
		s.t.Fatal("redis-server does not come back")
	}
}

// do runs a command of an operator.
func (s *server) do(args ...any) string {
	s.t.Helper()
	v, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

func (s *server) try(args ...any) (string, error) { return s.with("", args...) }

func (s *server) with(password string, args ...any) (string, error) {
	c := goredis.NewClient(&goredis.Options{Addr: s.addr(), Password: password, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	return fmt.Sprint(v), err
}

// cluster starts three masters, each with a third of the slots.
func cluster(t testing.TB) []*server {
	t.Helper()
	var nodes []*server
	for range 3 {
		nodes = append(nodes, start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--appendonly", "yes", "--appendfsync", "always"))
	}
	for i, n := range nodes {
		n.do("CLUSTER", "ADDSLOTSRANGE", i*16384/3, (i+1)*16384/3-1)
		n.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			n.do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
		}
	}
	await(t, "the cluster", func() bool {
		for _, n := range nodes {
			info := n.do("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
	return nodes
}

func config(s *server) redis.Config {
	c := redis.Default()
	c.URL = "redis://" + s.addr()
	// The machine that runs the tests may be slow: what is slow on purpose says
	// so.
	c.Timeout = 2 * time.Second
	return c
}

func clusterConfig(nodes []*server) redis.Config {
	c := config(nodes[0])
	c.Mode = "cluster"
	for _, n := range nodes[1:] {
		c.Nodes = append(c.Nodes, n.addr())
	}
	return c
}

// open opens a gateway's store.
func open(t testing.TB, c redis.Config) *redis.Store {
	t.Helper()
	s, err := redis.Open(redis.Options{Config: c, Local: store.NewMemory(), Entries: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// up is open of a store that asks Redis.
func up(t testing.TB, c redis.Config) *redis.Store {
	t.Helper()
	s := open(t, c)
	await(t, "Redis", func() bool { return s.Fault() == nil })
	return s
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
