package kill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// attached is a letter whose attachment is a program by its name.
func attached(id int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: a@x.example\r\nTo: b@our.example\r\nX-Letter: %d\r\nSubject: letter\r\nMIME-Version: 1.0\r\n", id)
	b.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n")
	b.WriteString("Content-Disposition: attachment; filename=invoice.exe\r\n\r\n")
	for b.Len() < 2000+id%7*60_000 {
		fmt.Fprintf(&b, ".line %d of letter %d\r\n", b.Len(), id)
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

// heldList is a garita hold list.
type heldList struct {
	Total    int
	Messages []struct {
		ID, State, Note string
		Unsure          bool
	}
}

func (w *world) heldList(t *testing.T, args ...string) (h heldList) {
	t.Helper()
	out := w.command(t, append([]string{"hold", "list", "-o", "json", "--limit", "0"}, args...)...)
	if err := json.Unmarshal([]byte(out), &h); err != nil {
		t.Fatalf("%v\n%.300s", err, out)
	}
	return h
}

// TestKillHold (attacks I14, L-01, B-40) is kill -9 under a load of clean mail,
// mail that is held before and after its message came, and mail that is
// refused, while an operator releases what is held. Whatever was sent is
// delivered, refused or held, whole and once, but where an answer was lost,
// and a release that was cut short is never repeated by itself.
func TestKillHold(t *testing.T) {
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
	w := everything(t, harness.Options{NextHop: hop.Addr},
		harness.Setting{Table: "limits", Key: "message_memory", Value: `"100KB"`},
		harness.Setting{Table: "check.access", Key: "senders", Value: `["bad.example reject"]`},
		// What is attached is to be held, not refused by its name; and a notice
		// of held mail would be a letter more.
		harness.Setting{Table: "check.rules", Key: "builtin", Value: "[]"},
		harness.Setting{Table: "hold", Key: "notify", Value: "[]"},
		harness.Setting{Table: "listener.inbound", Key: "reject_as", Value: `"hold"`})
	w.Start()
	l := &load{t: t, choose: func(id int) way {
		x := way{addr: w.Inbound, from: "a@x.example", data: body(id)}
		switch id % 6 {
		case 1:
			x.from = "a@bad.example"
		case 2:
			x.data = attached(id)
		case 3:
			x.addr, x.first, x.from = w.proxy, behind(strangerOf(int64(id))), "a@bad.example"
		case 4:
			x.addr, x.first, x.data = w.proxy, behind(strangerOf(int64(id))), attached(id)
		}
		return x
	}}
	l.start(8)
	end, done := make(chan struct{}), make(chan struct{})
	go func() { // the operator, whose commands fail while the gateway is away
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
				w.Run("hold", "release", "--since", "1h", "--yes", "--config", w.Config)
			}
		}
	}()
	n := rounds(6)
	for range n {
		time.Sleep(time.Duration(100+rand.IntN(600)) * time.Millisecond)
		w.Kill()
		w.Start()
	}
	l.end()
	close(end)
	<-done
	w.Kill() // what is in the files counts, not what a clean end writes
	w.Start()
	unsure := 0
	for _, m := range w.heldList(t).Messages {
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
	out, code := w.Run("hold", "release", "--since", "1d", "--yes", "--again", "--config", w.Config)
	if left := w.heldList(t); code != 0 || left.Total != 0 {
		t.Errorf("release of what is left: exit status %d, %d are still held\n%.2000s", code, left.Total, out)
	}
	if files := w.heldList(t, "--state", "damaged"); files.Total != 0 {
		t.Errorf("%d are damaged: %+v", files.Total, files)
	}
	if code := w.Stop(); code != 0 {
		t.Errorf("exit status %d\n%s", code, w.Log())
	}
	mu.Lock()
	defer mu.Unlock()
	s := l.reconcile(t, arrived)
	t.Logf("kill -9 with held mail: %d rounds, %d letters in %d tries (%d held, %d refused), %d copies, %d more than once, %d releases cut short; answers: %v",
		n, s.letters, s.tries, s.held, s.refused, s.copies, s.twice, unsure, l.told)
	if s.held == 0 || s.refused == 0 {
		t.Error("nothing was held, or nothing refused")
	}
	for _, f := range spoolFiles(t, w.Dir) {
		if strings.HasSuffix(f, ".tmp") {
			t.Errorf("left behind: %s", f)
		}
	}
}
