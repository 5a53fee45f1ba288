package kill

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"garita/test/harness"
)

// smallDisk mounts a file system of its own, of some size and some inodes, on
// a folder that it makes.
func smallDisk(t *testing.T, dir, options string) {
	t.Helper()
	harness.NeedRoot(t)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill takes the last octet of a file system; what it gives back frees them.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte("x"), 4096)
	for {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	for {
		if _, err := f.Write([]byte("x")); err != nil {
			break
		}
	}
	return func() { os.Remove(name) }
}

// TestFullDiskOfState: when the store cannot write, mail flows, rates and bans
// hold in memory, a command that must be durable says that it is not, and all
// of it is written when there is room again (attacks L-12, Q).
func TestFullDiskOfState(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	w := everything(t, harness.Options{NextHop: hop.Addr}, harness.Setting{Table: "limits", Key: "free_disk", Value: `"0B"`})
	state := filepath.Join(w.Dir, "state")
	smallDisk(t, state, "size=3m")
	w.Start()
	w.command(t, "ban", "add", "203.0.113.1", "--for", "2h")
	free := fill(t, state)
	// Rows come until a page is needed that is not there. None of the bans may
	// be answered as done and not be there after a kill.
	done, failed := []string{"203.0.113.1/32"}, ""
	for i := 2; i < 250 && failed == ""; i++ {
		client := "203.0.113." + strconv.Itoa(i)
		out, code := w.Run("ban", "add", client, "--for", "2h", "--reason", strings.Repeat("x", 200), "--config", w.Config)
		switch {
		case code == 0:
			done = append(done, client+"/32")
		case code == 75 && strings.Contains(out, "could not be written"):
			failed = client
		default:
			t.Fatalf("ban add on a full disk: exit status %d\n%s", code, out)
		}
	}
	if failed == "" {
		t.Fatal("the disk is full, and every ban is answered as durable")
	}
	if r := w.greeting(t, failed); r.Code != 421 {
		t.Errorf("the ban that could not be written does not hold: %s", r)
	}
	if out, code := w.Run("bypass", "--for", "1h", "--config", w.Config); code == 0 {
		t.Errorf("a bypass on a full disk: %s", out)
	}
	for range 3 {
		if r := letterTo(t, w.Inbound); r.Code != 250 {
			t.Errorf("mail on a full disk: %s", r)
		}
	}
	over := false
	for range 500 {
		over = over || w.greeting(t, eagerClient).Code == 421
	}
	if !over {
		t.Error("without a disk nobody's rate is counted")
	}
	if n := w.figure(t, `garita_store_errors_total{store="state"}`); n == 0 {
		t.Error("/metrics tells no fault of the store")
	}
	if out, code := w.Run("reload", "--config", w.Config); code != 0 {
		t.Errorf("reload on a full disk: %d %s", code, out)
	}
	if n := strings.Count(w.Log(), "database or disk is full"); n == 0 || n > 20 {
		t.Errorf("the log says %d times that the disk is full", n)
	}
	free()
	harness.Eventually(t, "a ban is not written after the disk has room", func() bool {
		_, code := w.Run("ban", "add", bannedClient, "--for", "2h", "--config", w.Config)
		return code == 0
	})
	w.Kill()
	w.Start()
	have := w.bans(t)
	for _, p := range append(done, failed+"/32", bannedClient+"/32") {
		if !have[p] {
			t.Errorf("after the disk had room, and kill -9, the ban of %s is gone", p)
		}
	}
	// A stop on a full disk is a stop, and what was there is there.
	free = fill(t, state)
	w.greeting(t, "198.18.0.9")
	w.Stop()
	free()
	w.Start()
	if !w.bans(t)[bannedClient+"/32"] {
		t.Error("a stop on a full disk has lost a ban that was written before")
	}
}

// TestFullDiskAtStart: a first start that cannot write what it must says where
// and why, leaves no half of a key behind, and is a start like any other when
// there is room.
func TestFullDiskAtStart(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24", Settings: []harness.Setting{
		{Table: "limits", Key: "free_disk", Value: `"0B"`}}})
	state := filepath.Join(g.Dir, "state")
	smallDisk(t, state, "size=1m,nr_inodes=100")
	for _, left := range []int{0, 40 << 10, 80 << 10, 120 << 10} {
		// The less room, the earlier it stops: store, then certificate.
		free := fill(t, state)
		if info, err := os.Stat(filepath.Join(state, "filler")); err != nil || os.Truncate(filepath.Join(state, "filler"), info.Size()-int64(left)) != nil {
			t.Fatal(err)
		}
		g.Launch()
		started := false
		harness.Eventually(t, "the gateway neither starts nor ends", func() bool {
			if g.Ended() {
				return true
			}
			_, code := g.Run("health", "--config", g.Config)
			started = code == 0
			return started
		})
		if started {
			t.Logf("with %d KB it starts", left>>10)
			if r := letterTo(t, g.Inbound); r.Code != 250 {
				t.Errorf("with %d KB mail gets %s", left>>10, r)
			}
			g.Kill()
		} else if log := g.Log(); !strings.Contains(log, "full") && !strings.Contains(log, "no space left") {
			t.Errorf("with %d KB it ends and says:\n%s", left>>10, log)
		}
		free()
	}
	g.Start()
	if r := letterTo(t, g.Inbound); r.Code != 250 {
		t.Errorf("after all of that mail gets %s", r)
	}
	c := harness.Greeted(t, g.Inbound)
	if s := c.StartTLS(anyCertificate()); len(s.PeerCertificates) == 0 {
		t.Error("no certificate")
	}
	if strings.Contains(g.Log(), "the state was lost") {
		t.Errorf("a start on a full disk leaves a damaged store:\n%s", g.Log())
	}
}

// TestFullDiskOfSocket: the admin socket needs an inode, and a word when there
// is none.
func TestFullDiskOfSocket(t *testing.T) {
	dir := filepath.Join(harness.Dir(t), "run")
	g := harness.NewGateway(t, harness.Options{Trust: "192.0.2.0/24", Settings: []harness.Setting{
		{Table: "admin", Key: "socket", Value: strconv.Quote(filepath.Join(dir, "admin.sock"))}}})
	smallDisk(t, dir, "size=64k,nr_inodes=4")
	var names []string
	for i := range 10 {
		name := filepath.Join(dir, "file"+strconv.Itoa(i))
		f, err := os.Create(name)
		if err != nil {
			break
		}
		f.Close()
		names = append(names, name)
	}
	g.Launch()
	harness.Eventually(t, "it runs without an admin socket", g.Ended)
	if log := g.Log(); !strings.Contains(log, "admin.sock") || !strings.Contains(log, "no space left") {
		t.Errorf("it says:\n%s", log)
	}
	for _, n := range names {
		os.Remove(n)
	}
	g.Start()
}

// TestFullDiskOfLog (attacks L-20): a log that cannot be written stops no
// mail, is counted, and goes on when there is room.
func TestFullDiskOfLog(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	dir := filepath.Join(harness.Dir(t), "log")
	w := everything(t, harness.Options{NextHop: hop.Addr}, harness.Setting{
		Table: "log", Key: "output", Value: strconv.Quote(filepath.Join(dir, "mail"))})
	smallDisk(t, dir, "size=256k")
	w.Start()
	free := fill(t, dir)
	sent := 0
	for range 200 {
		if r := letterTo(t, w.Inbound); r.Code != 250 {
			t.Fatalf("mail while the log's disk is full: %s", r)
		}
		sent++
	}
	harness.Eventually(t, "/metrics tells of no lost record", func() bool { return w.figure(t, "garita_log_dropped_records_total") > 0 })
	free()
	harness.Eventually(t, "the log does not go on", func() bool {
		letterTo(t, w.Inbound)
		data, _ := os.ReadFile(filepath.Join(dir, "mail"))
		return strings.Contains(string(data), "status=sent") && strings.Contains(string(data), "lost")
	})
	if hop.Count() < sent {
		t.Errorf("%d messages of %d arrived", hop.Count(), sent)
	}
}
