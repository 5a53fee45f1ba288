package kill

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// TestKillGateway (attacks L-01) is kill -9 under load, round after round,
// with everything on: what was answered 250 is there, and so are the bans and
// the bypass that a command has answered for.
func TestKillGateway(t *testing.T) {
	var mu sync.Mutex
	arrived := map[int][][32]byte{}
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: false, OnStored: func(s harness.Stored) error {
		id, sum, ok := identify(string(s.Data))
		if !ok {
			t.Errorf("a message without an id arrived: %.200q", s.Data)
		}
		mu.Lock()
		defer mu.Unlock()
		arrived[id] = append(arrived[id], sum)
		return nil
	}, Forget: true})
	w := everything(t, harness.Options{NextHop: hop.Addr}, harness.Setting{
		Table: "limits", Key: "message_memory", Value: `"100KB"`}) // so that some lie in spool files
	g := w.Gateway
	g.Start()
	l := startLoad(t, g.Inbound, w.proxy, 8)
	kept := &keptOver{w: w}
	n := rounds(25)
	var slowest time.Duration
	for range n {
		time.Sleep(time.Duration(50+rand.IntN(500)) * time.Millisecond)
		kept.before(t)
		g.Kill()
		begin := time.Now()
		g.Start()
		slowest = max(slowest, time.Since(begin))
		kept.after(t)
	}
	l.end()
	// What is still on its way between gateway and next hop comes to an end.
	if code := g.Stop(); code != 0 {
		t.Errorf("SIGTERM after the rounds: exit status %d\n%s", code, g.Log())
	}
	mu.Lock()
	defer mu.Unlock()
	s := l.reconcile(t, arrived)
	t.Logf("kill -9 of the gateway: %d rounds, %d letters in %d tries, %d copies delivered, %d letters more than once (each with a lost answer), slowest start %s; answers: %v",
		n, s.letters, s.tries, s.copies, s.twice, slowest.Round(time.Millisecond), l.told)
	if left := spoolFiles(t, g.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// Other tests share the machine in CI; make soak has it alone.
	if os.Getenv("GARITA_KILL_ROUNDS") != "" && slowest > 3*time.Second {
		t.Errorf("the slowest start took %s", slowest)
	}
}

// spoolFiles lists the files below the state folder that are neither
// certificate nor key nor the store: what remains of messages.
func spoolFiles(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	filepath.WalkDir(filepath.Join(dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".pem") || strings.Contains(path, "/tls/") || strings.Contains(path, "/state.db") || strings.Contains(path, "/hold/hold.db") {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Size() > 0 {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// TestKillPostfix kills the Postfix behind the gateway instead: what it had
// answered 250 for is in its queue and is delivered after its restart.
func TestKillPostfix(t *testing.T) {
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	g := harness.StartGateway(t, harness.Options{NextHop: p.Addr, Trust: "192.0.2.0/24"})
	l := startLoad(t, g.Inbound, "", 4)
	n := rounds(25) / 5
	for range n {
		time.Sleep(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		p.Kill()
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		p.Restart(t)
	}
	l.end()
	p.WaitEmpty(t)
	arrived := map[int][][32]byte{}
	for _, data := range p.Delivered(t) {
		id, sum, ok := identify(strings.ReplaceAll(data, "\n", "\r\n"))
		if !ok {
			t.Errorf("a message without an id arrived: %.200q", data)
		}
		arrived[id] = append(arrived[id], sum)
	}
	s := l.reconcile(t, arrived)
	t.Logf("kill -9 of Postfix behind the gateway: %d rounds, %d letters in %d tries, %d copies delivered, %d letters more than once (each with a lost answer); answers: %v",
		n, s.letters, s.tries, s.copies, s.twice, l.told)
	if g.Ended() {
		t.Errorf("the gateway ended:\n%s", g.Log())
	}
}

// TestTerminateUnderLoad is SIGTERM: sessions inside a message come to their
// end, the exit status is 0, and no letter is lost or doubled.
func TestTerminateUnderLoad(t *testing.T) {
	var mu sync.Mutex
	arrived := map[int][][32]byte{}
	hop := harness.StartSandbox(t, harness.SandboxOptions{OnStored: func(s harness.Stored) error {
		id, sum, _ := identify(string(s.Data))
		mu.Lock()
		defer mu.Unlock()
		arrived[id] = append(arrived[id], sum)
		return nil
	}, Forget: true})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24"})
	l := startLoad(t, g.Inbound, "", 8)
	for range 5 {
		time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond)
		if code := g.Stop(); code != 0 {
			t.Errorf("exit status %d\n%s", code, g.Log())
		}
		g.Start()
	}
	l.end()
	mu.Lock()
	defer mu.Unlock()
	s := l.reconcile(t, arrived)
	if s.twice > 0 || l.told["answer lost"] > 0 {
		t.Errorf("%d letters came twice, %d answers were lost: a drained session is not cut", s.twice, l.told["answer lost"])
	}
	t.Logf("SIGTERM under load: 5 rounds, %d letters in %d tries, %d copies; answers: %v", s.letters, s.tries, s.copies, l.told)
	if _, err := os.Stat(g.Config); err != nil {
		t.Error(err)
	}
}
