//go:build linux

package hold

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"garita/mail"
)

const (
	killDir = "GARITA_TEST_HOLD_DIR"
	killAt  = "GARITA_TEST_HOLD_STEP"
)

// TestVictim is the other process of TestKill: it holds, releases and deletes,
// says what is done, and ends by SIGKILL before the step of that number.
func TestVictim(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("runs only as the process that TestKill kills")
	}
	at, err := strconv.Atoi(os.Getenv(killAt))
	if err != nil {
		t.Fatal(err)
	}
	step := 0
	c := Default()
	c.MinFree = 0
	k, err := Open(Options{Dir: dir, Config: c, hook: func(string) error {
		if step++; step == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-k.ready
	kk := &kit{k, t, dir}
	say := func(what, id string) { os.Stdout.WriteString("\n+" + what + " " + id + "\n") }
	send := func(_ context.Context, _ *mail.Transaction, to []mail.Recipient, m Body) Attempt {
		say("sent", to[0].Local) // one write: the next hop has it from here on
		return Attempt{Relayed: true, Took: to[:1], Left: to[1:], Reply: "250 Ok"}
	}
	for n := range 2 {
		id := kk.must(fmt.Sprint("letter ", n), "a@s.example", fmt.Sprintf("b%d@our.example", n), fmt.Sprintf("c%d@our.example", n))
		say("held", id)
		switch n {
		case 0:
			if _, err := k.Release(ctx, id, Order{}, send); err != nil {
				t.Fatal(err)
			}
			say("released", id)
		case 1:
			say("deleting", id)
			if err := k.Delete(id, "me"); err != nil {
				t.Fatal(err)
			}
			say("deleted", id)
		}
	}
	say("steps", strconv.Itoa(step))
}

// victim runs until it is killed before a step, and gives what it said.
func victim(t *testing.T, dir string, step int) (said map[string][]string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.Itoa(step))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said = map[string][]string{}
	var all strings.Builder
	for s := bufio.NewScanner(out); s.Scan(); {
		all.WriteString(s.Text() + "\n")
		if what, id, ok := strings.Cut(strings.TrimPrefix(s.Text(), "+"), " "); ok && strings.HasPrefix(s.Text(), "+") {
			said[what] = append(said[what], id)
		}
	}
	err = cmd.Wait()
	var ex *exec.ExitError
	if errors.As(err, &ex) && ex.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return said, true
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, all.String())
	}
	return said, false
}

// TestKill kills a process by SIGKILL before each step that changes the disk,
// and looks at what is left (Q-21, L-01, I14): every message that was answered
// 250 is there whole or was deleted or delivered; nothing torn is listed; the
// index agrees with the files; nobody gets a message twice by itself.
func TestKill(t *testing.T) {
	for step := 1; ; step++ {
		dir := t.TempDir()
		said, killed := victim(t, dir, step)
		if !killed {
			if step < 25 {
				t.Errorf("the victim had only %d steps", step)
			}
			return
		}
		k := newKit(t, dir, nil)
		listed := map[string]Entry{}
		for _, e := range k.list(Filter{State: "all"}) {
			listed[e.ID] = e
		}
		for _, id := range said["held"] {
			if len(said["deleting"]) == 1 && said["deleting"][0] == id {
				continue // there or gone, as asked
			}
			f, _, err := k.Open(id)
			if err != nil {
				t.Fatalf("step %d: %s was held and is not there: %v", step, id, err)
			}
			if err := f.Verify(); err != nil {
				t.Errorf("step %d: %s: %v", step, id, err)
			}
			f.Close()
			if _, ok := listed[id]; !ok {
				t.Errorf("step %d: %s is not listed", step, id)
			}
		}
		for _, e := range listed {
			if e.State == Damaged || e.State == Missing {
				t.Errorf("step %d: %s is %s", step, e.ID, e.State)
			}
		}
		for _, f := range files(t, dir) {
			if strings.HasSuffix(f, endTemp) {
				t.Errorf("step %d: %s is left", step, f)
			}
		}
		// Release all that is held: a second copy only by --again.
		got := map[string]int{}
		for _, to := range said["sent"] {
			got[to]++
		}
		h := &hop{one: true}
		for _, e := range k.list(Filter{}) {
			_, err := k.Release(ctx, e.ID, Order{}, h.send)
			if err != nil && !(errors.Is(err, ErrUnsure) && len(said["held"]) > 0 && e.ID == said["held"][0]) {
				t.Errorf("step %d: %s: %v", step, e.ID, err)
			}
		}
		for _, line := range h.got {
			to, _, _ := strings.Cut(line, "@")
			got[to]++
		}
		for to, n := range got {
			if n > 1 {
				t.Errorf("step %d: %s got it %d times", step, to, n)
			}
		}
		for _, id := range said["released"] {
			if listed[id].State != Released {
				t.Errorf("step %d: %s was released and is %s", step, id, listed[id].State)
			}
		}
		// The index and one that is made anew are the same.
		before := fmt.Sprint(k.list(Filter{}))
		if _, err := k.Rebuild(); err != nil {
			t.Fatal(err)
		}
		if after := fmt.Sprint(k.list(Filter{})); after != before {
			t.Errorf("step %d: index\n%s\nfiles\n%s", step, before, after)
		}
		if n := len(k.list(Filter{State: "all"})); n != k.Stats().Messages {
			t.Errorf("step %d: %d listed, %d counted", step, n, k.Stats().Messages)
		}
		k.end()
	}
}
