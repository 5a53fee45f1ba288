//go:build linux

package hold

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"garita/mail"
)

func (k *kit) keep(subject string) string {
	k.t.Helper()
	m := spool(k.t, sample(subject))
	defer m.Release()
	d := decision("attachment.executable")
	d.Verdict = mail.Continue
	id, err := k.Keep(ctx, transaction(m, "a@s.example", "b@our.example"), d, render(k.t, m))
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

// TestCopies: a copy is listed as one, counts as held by its size, is released
// by its id as the message came, and Drop removes copies alone.
func TestCopies(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	held, kept := k.must("held", "a@s.example", "b@our.example"), k.keep("kept")
	for range 2 { // from the index, and from one made anew
		if all, none, only := k.ids(Filter{}), k.ids(Filter{Copies: "none"}), k.ids(Filter{Copies: "only"}); all != kept+" "+held || none != held || only != kept {
			t.Errorf("all %q, none %q, only %q", all, none, only)
		}
		if _, err := k.Rebuild(); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Drop(held); err == nil || k.ids(Filter{Copies: "none"}) != held {
		t.Error("a held message was dropped")
	}
	h := &hop{}
	if r, err := k.Release(ctx, kept, Order{}, h.send); err != nil || r.State != Released || h.text() != "b@our.example: "+relayed("kept") {
		t.Errorf("%+v %v %q", r, err, h.text())
	}
	second := k.keep("again")
	if err := k.Drop(second); err != nil {
		t.Error(err)
	}
	if err := k.Drop(second); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, _, err := k.Open(second); !errors.Is(err, ErrNotFound) || k.Stats().Messages != 2 {
		t.Errorf("%v %+v", err, k.Stats())
	}
}

// TestCopiesAreQuiet: nobody is told of copies, over a restart too, and the
// first held message behind them is told at once.
func TestCopiesAreQuiet(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	setup := func(o *Options) {
		o.Now = fixed(&at)
		o.Config.Notify = []string{"admin@our.example"}
	}
	k := newKit(t, t.TempDir(), setup)
	told := 0
	tick := func() {
		k.Tick(ctx, "gw.example", func(_ context.Context, n Notice) error {
			if told++; strings.Contains(string(n.Message), "copied") {
				t.Errorf("told of a copy: %s", n.Message)
			}
			return nil
		})
	}
	k.keep("copied")
	tick()
	k = k.again(setup)
	tick()
	at = at.Add(10 * day) // longer than warn_after
	tick()
	if told != 0 || k.care.news != 0 {
		t.Fatalf("%d notices, %d new", told, k.care.news)
	}
	k.must("held", "a@s.example", "b@our.example")
	tick()
	if told != 1 {
		t.Errorf("%d notices", told)
	}
}

// TestCopiesExpire: a copy goes after keep_for, without expire, as what was
// released does; what is held stays.
func TestCopiesExpire(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, dir, nil)
		held, kept := k.must("held", "a@s.example", "b@our.example"), k.keep("kept")
		tick := func() { k.Tick(ctx, "gw.example", func(context.Context, Notice) error { return nil }) }
		gone := func(id string) bool { _, err := k.disk.find(id); return errors.Is(err, ErrNotFound) }
		time.Sleep(29 * day)
		tick()
		time.Sleep(30 * time.Hour)
		tick()
		if gone(kept) {
			t.Fatal("deleted at the first look")
		}
		time.Sleep(25 * time.Hour)
		tick()
		if !gone(kept) || gone(held) {
			t.Errorf("copy gone %v, held gone %v", gone(kept), gone(held))
		}
		k.end()
	})
}

// TestCopyVictim is the other process of TestKillCopy: it keeps the original,
// "relays" what is left, and drops a second one that was refused.
func TestCopyVictim(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("runs only as the process that TestKillCopy kills")
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
	say("relayed", kk.keep("relayed"))
	second := kk.keep("refused")
	say("refused", second)
	if err := k.Drop(second); err != nil {
		t.Fatal(err)
	}
	say("dropped", second)
}

// TestKillCopy kills it before each step that changes the disk: a message went
// on only with its original on the disk, whole; at worst there is a copy too
// many, and never a torn one.
func TestKillCopy(t *testing.T) {
	for step := 1; ; step++ {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestCopyVictim$", "-test.v")
		cmd.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.Itoa(step))
		out, err := cmd.Output()
		said := map[string]string{}
		for line := range strings.Lines(string(out)) {
			if what, id, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "+")), " "); ok && strings.HasPrefix(line, "+") {
				said[what] = id
			}
		}
		if err == nil {
			if step < 15 {
				t.Errorf("the victim had only %d steps", step)
			}
			return
		}
		var ex *exec.ExitError
		if !errors.As(err, &ex) || ex.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v\n%s", step, err, out)
		}
		k := newKit(t, dir, nil)
		if id := said["relayed"]; id != "" {
			f, _, err := k.Open(id)
			if err != nil || f.Verify() != nil || !f.Copy {
				t.Fatalf("step %d: the original of what went on: %v", step, err)
			}
			f.Close()
		}
		if id := said["dropped"]; id != "" {
			if _, _, err := k.Open(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("step %d: dropped and there: %v", step, err)
			}
		}
		if n := len(k.list(Filter{})); n > 2 || n != k.Stats().Messages || n != len(k.list(Filter{Copies: "only"})) {
			t.Errorf("step %d: %d copies, %+v", step, n, k.Stats())
		}
		for _, f := range files(t, dir) {
			if strings.HasSuffix(f, endTemp) {
				t.Errorf("step %d: %s is left", step, f)
			}
		}
		k.end()
	}
}
