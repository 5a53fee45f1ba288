package hold

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestDayFolderDurable (attacks I1, Q-20): the folder of a day that could not
// be brought to the disk is there, and its name may be gone after a power cut.
// Nobody gets a 250 on it before it is.
func TestDayFolderDurable(t *testing.T) {
	var fail bool
	var steps []string
	k := newKit(t, t.TempDir(), func(o *Options) {
		o.hook = func(s string) error {
			steps = append(steps, s)
			if fail && s == "sync-folder" {
				return syscall.EIO
			}
			return nil
		}
	})
	fail = true
	if _, err := k.holdOne("one", "a@s.example", "b@our.example"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if days, _ := k.disk.days(); len(days) != 1 {
		t.Fatalf("%v: the folder is there and was not synced", days)
	}
	if _, err := k.holdOne("two", "a@s.example", "b@our.example"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("its folder was never synced: %v", err)
	}
	syncs := func() int { return strings.Count(strings.Join(steps, " ")+" ", "sync-folder ") }
	fail, steps = false, nil
	k.must("three", "a@s.example", "b@our.example")
	if n := syncs(); n != 2 {
		t.Errorf("%d folders were synced: %v", n, steps)
	}
	steps = nil
	k.must("four", "a@s.example", "b@our.example")
	if n := syncs(); n != 1 {
		t.Errorf("then %d: %v", n, steps)
	}
	// A process that was killed may have made it.
	k = k.again(func(o *Options) { o.hook = func(s string) error { steps = append(steps, s); return nil } })
	steps = nil
	k.must("five", "a@s.example", "b@our.example")
	if n := syncs(); n != 2 {
		t.Errorf("in a new process %d: %v", n, steps)
	}
}

// TestIndexLocked: another program has locked the index, and fifty sessions
// hold at once. None waits for more than one try of the index, all are held,
// and listed when it is free.
func TestIndexLocked(t *testing.T) {
	var tries atomic.Int32
	k := newKit(t, t.TempDir(), func(o *Options) {
		o.hook = func(s string) error {
			if s == "index" {
				tries.Add(1)
			}
			return nil
		}
	})
	k.must("before", "a@s.example", "b@our.example")
	db, err := sql.Open("sqlite", indexPath(k.dir))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	tries.Store(0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := k.holdOne("x", "a@s.example", "b@our.example"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := tries.Load(); n != 1 {
		t.Errorf("%d sessions waited for a locked index", n)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	k.Tick(ctx, "gw.example", nil)
	if n := len(k.list(Filter{})); n != 51 {
		t.Errorf("%d are listed", n)
	}
}

// TestReadOnly is a file system that is remounted read-only, as after an error
// of the disk: nothing is taken, what is held stays, and a release that cannot
// note what it does sends nothing.
func TestReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root; TestFaults injects the same errors")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("this system does not let root mount a tmpfs (%v); TestFaults injects the same errors", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	k := newKit(t, filepath.Join(dir, "hold"), nil)
	id := k.must("one", "a@s.example", "b@our.example")
	k.ix.close() // its file is open for writing, which keeps the mount busy
	k.disk.lock.Close()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := k.holdOne("two", "a@s.example", "b@our.example"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("held on a read-only disk: %v", err)
	}
	h := &hop{}
	if r, err := k.Release(ctx, id, Order{By: "me"}, h.send); err == nil || h.text() != "" {
		t.Errorf("released: %+v %v %q", r, err, h.text())
	}
	if err := k.Delete(id, "me"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("deleted: %v", err)
	}
	if k.Stats().Messages != 1 {
		t.Errorf("%+v", k.Stats())
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if r, err := k.Release(ctx, id, Order{By: "me"}, h.send); err != nil || r.State != Released || h.text() != "b@our.example: "+relayed("one") {
		t.Errorf("after it: %+v %v", r, err)
	}
}
