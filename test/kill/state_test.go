package kill

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"garita/test/harness"
)

func (w *world) stateDB() string { return filepath.Join(w.Dir, "state", "state.db") }

// bans gives the networks that are banned.
func (w *world) bans(t *testing.T) map[string]bool {
	t.Helper()
	var list struct {
		Bans []struct {
			Prefix string `json:"prefix"`
		} `json:"bans"`
	}
	if err := json.Unmarshal([]byte(w.command(t, "ban", "list", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, b := range list.Bans {
		out[b.Prefix] = true
	}
	return out
}

// TestStateDamaged (attacks L-12, L-04): a store that cannot be read is put
// aside, loudly, and mail flows; one that is not ours, or of a newer version,
// is left alone, and the start says so.
func TestStateDamaged(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	w := everything(t, harness.Options{NextHop: hop.Addr})
	w.Start()
	for i := range 200 { // so that there is something to damage
		w.greeting(t, strangerOf(int64(i)))
	}
	w.command(t, "ban", "add", bannedClient, "--for", "2h")
	if code := w.Stop(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	good, err := os.ReadFile(w.stateDB())
	if err != nil {
		t.Fatal(err)
	}
	cut := func(n int) []byte { return append([]byte(nil), good[:n]...) }
	holes := append([]byte(nil), good...)
	for i := 4096; i < len(holes); i++ {
		holes[i] = 0xa5
	}
	sent := 0
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"text", []byte(strings.Repeat("this is no database\n", 500))},
		{"half of its pages", cut(len(good) / 2 &^ 4095)},
		{"cut inside a page", cut(len(good) - 1000)},
		{"cut inside its header", cut(50)},
		{"other octets behind the first page", holes},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(w.stateDB(), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			before := strings.Count(w.Log(), "the state was lost")
			w.Start()
			if n := strings.Count(w.Log(), "the state was lost"); n != before+1 {
				t.Errorf("the log says %d times more that the state was lost\n%s", n-before, w.Log())
			}
			if aside, _ := filepath.Glob(w.stateDB() + ".corrupt-*"); len(aside) == 0 {
				t.Error("the damaged file is gone")
			} else {
				for _, name := range aside {
					os.Remove(name) // the names have seconds alone
				}
			}
			if r := letterTo(t, w.Inbound); r.Code != 250 {
				t.Errorf("mail gets %s", r)
			}
			sent++
			// The new one is a good one.
			w.command(t, "ban", "add", bannedClient, "--for", "2h")
			w.Kill()
			w.Start()
			if !w.bans(t)[bannedClient+"/32"] {
				t.Error("a ban did not outlive kill -9")
			}
			w.Stop()
		})
	}
	if hop.Count() != sent {
		t.Errorf("%d messages arrived, %d were sent", hop.Count(), sent)
	}
	for _, c := range []struct {
		name, word string
		at         int // in the header of the file: sqlite.org/fileformat.html
		octets     []byte
	}{
		{"newer", "newer garita", 60, []byte{0, 0, 0x7f, 0}},   // user_version
		{"foreign", "another program", 68, []byte{1, 2, 3, 4}}, // application_id
	} {
		t.Run(c.name, func(t *testing.T) {
			data := append([]byte(nil), good...)
			copy(data[c.at:], c.octets)
			for _, end := range []string{"-wal", "-shm"} {
				os.Remove(w.stateDB() + end)
			}
			if err := os.WriteFile(w.stateDB(), data, 0o600); err != nil {
				t.Fatal(err)
			}
			w.Launch()
			harness.Eventually(t, "the gateway runs", w.Ended)
			if !strings.Contains(w.Log(), c.word) {
				t.Errorf("it does not say %q:\n%s", c.word, w.Log())
			}
			if now, err := os.ReadFile(w.stateDB()); err != nil || string(now) != string(data) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// TestStateInUse: a second instance with the same state folder ends with a
// word about it, and the first does not notice.
func TestStateInUse(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	first := everything(t, harness.Options{NextHop: hop.Addr})
	second := everything(t, harness.Options{NextHop: hop.Addr}, harness.Setting{
		Key: "state_dir", Value: strconv.Quote(filepath.Join(first.Dir, "state"))})
	first.Start()
	second.Launch()
	harness.Eventually(t, "the second instance runs", second.Ended)
	if !strings.Contains(second.Log(), "another process has the database open") {
		t.Errorf("it says:\n%s", second.Log())
	}
	if r := letterTo(t, first.Inbound); r.Code != 250 {
		t.Errorf("the first one answers %s", r)
	}
	first.command(t, "ban", "add", bannedClient)
	first.Stop()
	second.Launch()
	second.Ready()
	if !second.bans(t)[bannedClient+"/32"] {
		t.Error("the second one, started after the first has ended, lacks its ban")
	}
}

// keptOver is what must be there after every kill: made and answered before.
type keptOver struct {
	w *world
	n int
}

// before makes one ban more.
func (k *keptOver) before(t *testing.T) {
	t.Helper()
	if k.n == 0 {
		k.w.command(t, "bypass", "--for", "2h", "--reason", "rounds")
	}
	k.w.command(t, "ban", "add", fmt.Sprintf("203.0.%d.%d", 100+k.n/250, 1+k.n%250), "--for", "2h")
	k.n++
}

func (k *keptOver) after(t *testing.T) {
	t.Helper()
	have := k.w.bans(t)
	for i := range k.n {
		if p := fmt.Sprintf("203.0.%d.%d/32", 100+i/250, 1+i%250); !have[p] {
			t.Errorf("after kill %d the ban of %s is gone", k.n, p)
		}
	}
	var s struct {
		Bypass struct {
			Active bool   `json:"active"`
			Reason string `json:"reason"`
		} `json:"bypass"`
	}
	if err := json.Unmarshal([]byte(k.w.command(t, "status", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	if !s.Bypass.Active || s.Bypass.Reason != "rounds" {
		t.Errorf("after kill %d the bypass is %+v", k.n, s.Bypass)
	}
	if strings.Contains(k.w.Log(), "the state was lost") {
		t.Errorf("kill %d has damaged the store", k.n)
	}
}
