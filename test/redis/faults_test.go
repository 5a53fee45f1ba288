package redis

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"garita/store"
	"garita/store/redis"
)

// alone shows that a gateway goes on by itself: it counts, keeps and says why;
// and each call is quick.
func alone(t *testing.T, g *redis.Store, why string) {
	t.Helper()
	ctx := t.Context()
	w := limit("user/a", 10)
	before := usedOf(t, g, w)
	if r, u, err := g.Reserve(ctx, []store.Window{w}); r == nil || err != nil {
		t.Fatalf("alone: %+v %v", u, err)
	}
	// Redis may come back at any moment of this: then it has what was counted.
	if got := usedOf(t, g, w); got < before+1 {
		t.Errorf("%d after %d and one more", got, before)
	}
	if err := g.Keep(ctx, "suspend/a", []byte("alone"), 0); err != nil {
		t.Error(err)
	}
	if v, ok, err := g.Get(ctx, "suspend/a"); !ok || string(v) != "alone" || err != nil {
		t.Errorf("%q %v %v", v, ok, err)
	}
	if err := g.Fault(); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("the fault is %v, not %q", err, why)
	}
}

// whole shows that what was done alone is in Redis: another gateway sees it.
func whole(t *testing.T, c redis.Config, g *redis.Store, used int64) {
	t.Helper()
	await(t, "the return", func() bool { return g.Fault() == nil })
	other := up(t, c)
	await(t, "what was counted alone", func() bool { return usedOf(t, other, limit("user/a", 10)) == used })
	if v, ok, err := other.Get(t.Context(), "suspend/a"); !ok || string(v) != "alone" || err != nil {
		t.Errorf("what was kept alone: %q %v %v", v, ok, err)
	}
	if r, _, err := other.Reserve(t.Context(), []store.Window{limit("user/a", used)}); r != nil || err != nil {
		t.Errorf("the limit is not that of both: %v", err)
	}
	if st := g.Stats(); st.Pending != 0 || st.Dropped != 0 || st.Outages == 0 || st.Fallbacks == 0 {
		t.Errorf("%+v", st)
	}
}

// Attack Q-02: every way that a server can be away. In each the gateway counts
// on by itself, and brings it back.
func TestFaults(t *testing.T) {
	appendonly := []string{"--appendonly", "yes", "--appendfsync", "always"}
	for name, f := range map[string]struct {
		args       []string
		why        string
		begin, end func(s *server)
	}{
		"killed": {appendonly, "", (*server).kill, (*server).again},
		"slow": {nil, "no answer in time", func(s *server) {
			go s.try("DEBUG", "SLEEP", "8") // long enough for alone on any machine
			await(t, "the sleep", func() bool { return !answers(s) })
		}, func(*server) {}},
		"stopped": {nil, "no answer in time", func(s *server) { s.signal(syscall.SIGSTOP) }, func(s *server) { s.signal(syscall.SIGCONT) }},
		"no memory": {[]string{"--maxmemory-policy", "noeviction"}, "OOM", func(s *server) { s.do("CONFIG", "SET", "maxmemory", "1") },
			func(s *server) { s.do("CONFIG", "SET", "maxmemory", "0") }},
		"replica": {nil, "READONLY", func(s *server) {
			s.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
			s.do("REPLICAOF", "127.0.0.1", "1")
		}, func(s *server) { s.do("REPLICAOF", "NO", "ONE") }},
		"stale replica": {nil, "", func(s *server) {
			s.do("CONFIG", "SET", "replica-serve-stale-data", "no")
			s.do("REPLICAOF", "127.0.0.1", "1")
		}, func(s *server) { s.do("REPLICAOF", "NO", "ONE") }},
		"no replicas": {nil, "NOREPLICAS", func(s *server) { s.do("CONFIG", "SET", "min-replicas-to-write", "1") },
			func(s *server) { s.do("CONFIG", "SET", "min-replicas-to-write", "0") }},
		"password": {nil, "", func(s *server) {
			s.do("CONFIG", "SET", "requirepass", "secret")
			_, _ = s.with("secret", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}, func(s *server) { _, _ = s.with("secret", "CONFIG", "SET", "requirepass", "") }},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, f.args...)
			c := config(s)
			c.Timeout = time.Second
			g := up(t, c)
			for range 3 {
				if r, u, err := g.Reserve(t.Context(), []store.Window{limit("user/a", 10)}); r == nil || err != nil {
					t.Fatalf("%+v %v", u, err)
				}
			}
			f.begin(s)
			alone(t, g, f.why)
			// What it counted itself before is known too.
			if got := usedOf(t, g, limit("user/a", 10)); got != 4 {
				t.Errorf("%d are counted", got)
			}
			f.end(s)
			whole(t, config(s), g, 4)
		})
	}
}

func answers(s *server) bool {
	c := config(s)
	c.Timeout = time.Second
	g, err := redis.Open(redis.Options{Config: c, Local: store.NewMemory()})
	if err != nil {
		return false
	}
	defer g.Close()
	return g.Fault() == nil
}

func (s *server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Attack Q-02: a server that reads its data says LOADING; so does one whose
// script does not end (BUSY).
func TestBusyAndLoading(t *testing.T) {
	s := start(t)
	c := config(s)
	c.Timeout = time.Second
	g := up(t, c)
	s.do("CONFIG", "SET", "busy-reply-threshold", "1")
	go s.try("EVAL", "while true do end", "0")
	await(t, "a busy server", func() bool { _, err := s.try("GET", "x"); return err != nil })
	alone(t, g, "")
	await(t, "the end of the script", func() bool {
		_, err := s.try("SCRIPT", "KILL")
		return err == nil || strings.Contains(err.Error(), "NOTBUSY")
	})
	whole(t, config(s), g, 1)

	// A server that reads its data until the test has seen it do so.
	s2 := start(t)
	g2 := up(t, config(s2))
	s2.do("DEBUG", "POPULATE", "10000", "x", "100")
	s2.do("SAVE")
	s2.kill()
	s2.args = append(s2.args, "--key-load-delay", "9000", "--loading-process-events-interval-bytes", "1024")
	s2.again()
	_, err := s2.try("GET", "x")
	if err == nil || !strings.Contains(err.Error(), "LOADING") {
		t.Fatalf("the server does not load: %v", err)
	}
	alone(t, g2, "")
	s2.do("CONFIG", "SET", "key-load-delay", "0")
	whole(t, config(s2), g2, 1)
}

// What a call that was given up would have counted is not counted when the
// server gets to it late: it is counted here already (attack Q-06).
func TestLateIsNotCounted(t *testing.T) {
	s := start(t)
	c := config(s)
	c.Timeout = time.Second
	g := up(t, c)
	w := limit("user/a", 1000)
	if r, _, err := g.Reserve(t.Context(), []store.Window{w}); r == nil || err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGSTOP)
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 50 {
		wg.Go(func() {
			if r, _, err := g.Reserve(context.Background(), []store.Window{w}); r != nil && err == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	s.signal(syscall.SIGCONT)
	await(t, "the return", func() bool { return g.Fault() == nil })
	if got := usedOf(t, g, w); got != 51 || passed.Load() != 50 {
		t.Errorf("%d are counted of 51; %d passed", got, passed.Load())
	}
}

// Refunds of acts on both sides of an outage.
func TestRefundOverOutage(t *testing.T) {
	s := start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := config(s)
	c.Timeout = time.Second
	g := up(t, c)
	w := limit("user/a", 10)
	one := func() store.Reservation {
		r, u, err := g.Reserve(t.Context(), []store.Window{w})
		if r == nil || err != nil {
			t.Fatalf("%+v %v", u, err)
		}
		return r
	}
	before, kept := one(), one()
	s.kill()
	here, left := one(), one()
	kept.Commit()
	here.Refund()   // counted here and taken back here
	before.Refund() // counted there: taken back on return
	if got := usedOf(t, g, w); got != 2 {
		t.Errorf("alone: %d", got)
	}
	s.again()
	await(t, "the return", func() bool { return g.Fault() == nil })
	if got := usedOf(t, g, w); got != 2 {
		t.Errorf("after the return: %d", got)
	}
	left.Refund() // brought there as a sum: it stays counted
	if got := usedOf(t, g, w); got != 2 {
		t.Errorf("in the end: %d", got)
	}
}

// A cluster that has lost a node: the slots of the others are of no use to an
// act that touches all; the gateway goes on alone and brings it back.
func TestClusterNodeLost(t *testing.T) {
	nodes := cluster(t)
	c := clusterConfig(nodes)
	c.Timeout = time.Second
	g := up(t, c)
	var all []store.Window
	for i := range 16 {
		all = append(all, limit(fmt.Sprint("scope/", i), 100))
	}
	reserve := func() {
		t.Helper()
		if r, u, err := g.Reserve(t.Context(), all); r == nil || err != nil {
			t.Fatalf("%+v %v", u, err)
		}
	}
	reserve()
	nodes[1].kill()
	for range 5 {
		reserve()
	}
	if g.Fault() == nil {
		t.Error("a node is lost and nobody says so")
	}
	await(t, "CLUSTERDOWN", func() bool {
		_, err := nodes[0].try("GET", "x")
		return err != nil && strings.Contains(err.Error(), "CLUSTERDOWN")
	})
	reserve()
	nodes[1].again()
	await(t, "the return", func() bool { return g.Fault() == nil })
	other := up(t, clusterConfig(nodes))
	for i := range all {
		if got := usedOf(t, other, all[i]); got != 7 {
			t.Errorf("scope %d: %d of 7", i, got)
		}
	}
}

// Sentinel makes the replica the master; the gateway finds it, and what was
// counted meanwhile is there.
func TestSentinelFailover(t *testing.T) {
	master := start(t)
	replica := start(t, "--replicaof", fmt.Sprint("127.0.0.1 ", master.port))
	await(t, "the replica", func() bool { return strings.Contains(replica.do("INFO", "replication"), "master_link_status:up") })
	sentinels := []*server{sentinel(t, master), sentinel(t, master), sentinel(t, master)}
	await(t, "the Sentinels", func() bool {
		for _, s := range sentinels {
			v := s.do("SENTINEL", "MASTER", "mail")
			if !strings.Contains(v, "num-other-sentinels 2") || !strings.Contains(v, "num-slaves 1") {
				return false
			}
		}
		return true
	})
	c := config(sentinels[0])
	c.Mode, c.Master, c.Timeout = "sentinel", "mail", time.Second
	c.Nodes = []string{sentinels[1].addr(), sentinels[2].addr()}
	g := up(t, c)
	if r, u, err := g.Reserve(t.Context(), []store.Window{limit("user/a", 10)}); r == nil || err != nil {
		t.Fatalf("%+v %v", u, err)
	}
	if got := master.do("WAIT", "1", "5000"); got != "1" {
		t.Fatalf("not replicated: %s", got)
	}
	await(t, "the replica's copy", func() bool { return strings.Contains(replica.do("KEYS", "*"), "user/a") })
	master.kill()
	alone(t, g, "")
	whole(t, c, g, 2)
	if got := replica.do("ROLE"); !strings.Contains(got, "master") {
		t.Errorf("the replica is still %s", got)
	}
}

func sentinel(t *testing.T, master *server) *server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	s := &server{t: t, dir: dir, port: freePort(t)}
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s/log\nsentinel monitor mail 127.0.0.1 %d 2\nsentinel down-after-milliseconds mail 500\nsentinel failover-timeout mail 3000\n",
		s.port, dir, dir, master.port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command("redis-sentinel", file)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v (package redis-sentinel, test/install-deps.sh)", err)
	}
	go func(c *exec.Cmd) { _ = c.Wait() }(s.cmd)
	t.Cleanup(s.kill)
	await(t, "a Sentinel", func() bool { _, err := s.try("PING"); return err == nil })
	return s
}
