package kill

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// TestKillDrip (attacks I14, L-01, Q-10) is kill -9 while what a limit holds
// drips out and more comes: every message is delivered or held, whole and once,
// but for those in whose release a kill has fallen, which wait for a person;
// and what counts is there after each start.
func TestKillDrip(t *testing.T) {
	var mu sync.Mutex
	arrived := map[int][][32]byte{}
	hop := harness.StartSandbox(t, harness.SandboxOptions{OnStored: func(s harness.Stored) error {
		id, sum, ok := identify(string(s.Data))
		if !ok {
			t.Errorf("a message without an id arrived: %.200q", s.Data)
		}
		mu.Lock()
		defer mu.Unlock()
		arrived[id] = append(arrived[id], sum)
		return nil
	}, Forget: true})
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr, Trust: "127.0.0.0/8"},
		harness.Setting{Table: "check.rules", Key: "builtin", Value: "[]"},
		harness.Setting{Table: "hold", Key: "notify", Value: "[]"},
		harness.Setting{Table: "check.limits", Key: "mode", Value: `"enforce"`},
		// One a user, so that all but the first are held, and a group without a
		// limit, which makes room for what drips.
		harness.Setting{Table: "check.limits", Key: "user", Value: `["1 messages / 1h"]`},
		harness.Setting{Table: "check.limits", Key: "domain", Value: "[]"},
		harness.Setting{Table: "check.limits", Key: "suspend_at", Value: "0.0"},
		harness.Setting{Table: "check.limits", Key: "notify_users", Value: "false"},
		harness.Setting{Table: "check.limits", Key: "drip_rate", Value: "6000"})
	w.Start()
	user := func(id int) string { return fmt.Sprintf("u%d@our.example", id%5) }
	l := &load{t: t, choose: func(id int) way { return way{addr: w.Outbound, from: user(id), data: body(id)} }}
	l.start(2)
	n := rounds(3)
	for i := range n {
		time.Sleep(time.Duration(200+rand.IntN(400)) * time.Millisecond)
		if i == n/2 {
			for u := range 5 {
				w.command(t, "user", "limit", user(u), "--messages-per-hour", "1000000")
			}
		}
		w.Kill()
		w.Start()
	}
	l.end()
	// All of it has room now and drips by itself, kill or not, but the unsure.
	drip := func() (left, unsure int) {
		for _, m := range w.heldList(t).Messages {
			switch {
			case m.Unsure:
				unsure++
			case m.Note == "": // what the next hop did not take waits a while
				left++
			}
		}
		return left, unsure
	}
	first, _ := drip()
	for i := 0; first > 0 && i < 1; i++ {
		before := first
		harness.Eventually(t, "something drips out", func() bool { first, _ = drip(); return first < before })
		w.Kill()
		w.Start()
		first, _ = drip()
	}
	for first > 0 { // however slow the machine is, it goes on
		before := first
		harness.Eventually(t, "the rest drips out", func() bool { first, _ = drip(); return first < before })
	}
	unsure, rest := 0, w.heldList(t).Messages
	for _, m := range rest {
		if !m.Unsure {
			continue
		}
		unsure++
		file := filepath.Join(t.TempDir(), "x")
		w.command(t, "hold", "export", m.ID, file)
		raw, err := os.ReadFile(file)
		id, _, ok := identify(string(raw))
		if err != nil || !ok {
			t.Fatalf("%s has no letter", m.ID)
		}
		l.letters[id].cut++
	}
	if len(rest) > 0 {
		if out, code := w.Run("hold", "release", "--parked", "--yes", "--again", "--config", w.Config); code != 0 {
			t.Errorf("release of the rest: %d\n%.1000s", code, out)
		}
	}
	if code := w.Stop(); code != 0 {
		t.Errorf("exit status %d\n%s", code, w.Log())
	}
	mu.Lock()
	defer mu.Unlock()
	s := l.reconcile(t, arrived)
	t.Logf("kill -9 while mail drips: %d rounds, %d letters in %d tries (%d held), %d copies, %d more than once, %d releases cut short; answers: %v",
		n, s.letters, s.tries, s.held, s.copies, s.twice, unsure, l.told)
	if s.held == 0 {
		t.Error("nothing was held")
	}
}
