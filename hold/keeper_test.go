package hold

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"garita/mail"
)

// TestHold: what was held is there as it came, and as it would have gone out.
func TestHold(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("one", "a@s.example", "b@our.example", "c@our.example")
	if !ValidID(id) || !strings.HasPrefix(id, "4ABCDEF01-") {
		t.Fatalf("id %q", id)
	}
	f, s, err := k.Open(id)
	if err != nil || s.State != Held {
		t.Fatal(err, s)
	}
	defer f.Close()
	if err := f.Verify(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, f.Original()); got != sample("one") {
		t.Errorf("original: %q", got)
	}
	var b strings.Builder
	if n, err := f.Relayed().WriteTo(&b); err != nil || b.String() != relayed("one") || n != f.Relayed().Size() {
		t.Errorf("relayed: %q, %v", b.String(), err)
	}
	tx := f.Transaction()
	if tx.ReversePath != pathOf("a@s.example") || len(tx.ForwardPaths) != 2 || tx.Params.EnvID != "e\x80id" || tx.Helo != "bad\xffhelo\x1b[2J" ||
		tx.Client.String() != "203.0.113.9:4000" || tx.Role != mail.Inbound || tx.ForwardPaths[1].Notify[0] != "NEVER" || tx.Params.Size != f.Relayed().Size() {
		t.Errorf("transaction: %+v %+v", tx, tx.Session)
	}
	// nobody else may read it.
	info, err := os.Stat(filepath.Join(k.dir, f.Time.Format(time.DateOnly), id+endMessage))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if info, err := os.Stat(k.dir); err != nil || info.Mode().Perm()&0o077 != 0 && info.Mode().Perm() != 0o755 {
		t.Error(info.Mode(), err)
	}
	if got := k.Stats(); got.Messages != 1 || got.Octets < 500 {
		t.Errorf("totals %+v", got)
	}
}

// TestFilters picks messages, hostile patterns included.
func TestFilters(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := newKit(t, t.TempDir(), func(o *Options) { o.Now = fixed(&at) })
	one := k.must("one", "a@s.example", "b@our.example")
	at = at.Add(time.Hour)
	two := k.must("=?utf-8?B?w6k=?= two", "Percent%_'@Other.example", "B@Our.example", "c@x.example")
	at = at.Add(time.Hour)
	three := k.must("three", "", "b@our.example")
	for name, row := range map[string]struct {
		f    Filter
		want string
	}{
		"all":            {Filter{}, three + " " + two + " " + one},
		"sender":         {Filter{Sender: "A@S.example"}, one},
		"sender domain":  {Filter{Sender: "@other.example"}, two},
		"odd sender":     {Filter{Sender: "percent%_'@other.example"}, two},
		"pattern":        {Filter{Sender: "%"}, ""},
		"null sender":    {Filter{Sender: "<>"}, three},
		"recipient":      {Filter{Recipient: "b@our.example"}, three + " " + two + " " + one},
		"second":         {Filter{Recipient: "@x.example"}, two},
		"symbol":         {Filter{Reason: "virus.found"}, three + " " + two + " " + one},
		"check":          {Filter{Reason: "virus"}, three + " " + two + " " + one},
		"half a symbol":  {Filter{Reason: "vir"}, ""},
		"since":          {Filter{Since: at.Add(-90 * time.Minute)}, three + " " + two},
		"before":         {Filter{Before: at.Add(-90 * time.Minute)}, one},
		"prefix":         {Filter{IDs: []string{strings.ToLower(two[:12])}}, two},
		"injection":      {Filter{Sender: "x' OR '1'='1"}, ""},
		"page":           {Filter{Limit: 1}, three},
		"next page":      {Filter{Limit: 1, After: three}, two},
		"released":       {Filter{State: Released}, ""},
		"all states":     {Filter{State: "all"}, three + " " + two + " " + one},
		"ids, injection": {Filter{IDs: []string{"%", "_", "' OR 1=1 --"}}, ""},
	} {
		if got := k.ids(row.f); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if e := k.list(Filter{Sender: "@other.example"})[0]; e.Subject != "é two" || e.Recipients != 2 || e.Symbols[0] != "virus.found" {
		t.Errorf("%+v", e)
	}
	if _, err := k.Resolve(ctx, "4ABC"); !errors.Is(err, ErrSeveral) {
		t.Error(err)
	}
	for _, id := range []string{"../../etc/passwd", "%2e%2e%2f", "/etc/passwd", "a\x00b", strings.Repeat("A", 1000), "", "4ABCDEF01-XXXXXXXX"} {
		if _, _, err := k.Open(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Q-22 %.20q: %v", id, err)
		}
		if err := k.Delete(id, "x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Q-22 delete %.20q: %v", id, err)
		}
	}
}

// TestFaults fails each step of holding: an error, nothing left behind,
// no room kept, and the next message is held.
func TestFaults(t *testing.T) {
	for _, step := range []string{"mkdir", "create", "write", "sync", "rename", "sync-folder"} {
		for _, fault := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
			var broken bool
			k := newKit(t, t.TempDir(), func(o *Options) {
				o.hook = func(s string) error {
					if broken && s == step {
						return fault
					}
					return nil
				}
			})
			k.must("before", "a@s.example", "b@our.example")
			broken = true
			if id, err := k.holdOne("x", "a@s.example", "b@our.example"); !errors.Is(err, fault) {
				t.Errorf("%s %v: %q, %v", step, fault, id, err)
			}
			broken = false
			if n := len(files(t, k.dir)); n != 1 || k.Stats().Messages != 1 {
				t.Errorf("%s: %d files, totals %+v", step, n, k.Stats())
			}
			k.must("after", "a@s.example", "b@our.example")
			if n := len(k.list(Filter{})); n != 2 {
				t.Errorf("%s: %d listed", step, n)
			}
			k.end()
		}
	}
}

// TestQuota: over each bound nothing is held, and room comes back.
func TestQuota(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"messages": func(c *Config) { c.MaxMessages = 2 },
		"size":     func(c *Config) { c.MaxSize = 20 << 10 },
	} {
		k := newKit(t, t.TempDir(), func(o *Options) { change(&o.Config) })
		var last string
		var err error
		for n := 0; err == nil && n < 50; n++ {
			var id string
			if id, err = k.holdOne("x", "a@s.example", "b@our.example"); err == nil {
				last = id
			}
		}
		if !errors.Is(err, ErrFull) || last == "" {
			t.Fatalf("%s: %v", name, err)
		}
		// What is there counts after a restart too.
		k = k.again(func(o *Options) { change(&o.Config) })
		if _, err := k.holdOne("x", "a@s.example", "b@our.example"); !errors.Is(err, ErrFull) {
			t.Errorf("%s after a restart: %v", name, err)
		}
		for _, e := range k.list(Filter{}) {
			if err := k.Delete(e.ID, "me"); err != nil {
				t.Fatal(err)
			}
		}
		if s := k.Stats(); s != (Totals{}) {
			t.Errorf("%s: %+v after all was deleted", name, s)
		}
		k.must("x", "a@s.example", "b@our.example")
	}
	k := newKit(t, t.TempDir(), func(o *Options) { o.Config.MinFree = 1 << 60 })
	if _, err := k.holdOne("x", "a@s.example", "b@our.example"); !errors.Is(err, ErrFull) {
		t.Errorf("free space: %v", err)
	}
}

// TestIndexLost: the index is lost, damaged, foreign or of another form; lists
// are the same after a start, and messages are held meanwhile.
func TestIndexLost(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"gone":    os.Remove,
		"garbage": func(f string) error { return os.WriteFile(f, []byte(strings.Repeat("garbage ", 4096)), 0o600) },
		"empty":   func(f string) error { return os.WriteFile(f, nil, 0o600) },
		"torn": func(f string) error {
			raw, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			for i := 100; i < len(raw); i++ {
				raw[i] = 0xaa
			}
			return os.WriteFile(f, raw, 0o600)
		},
	} {
		k := newKit(t, t.TempDir(), nil)
		a := k.must("one", "a@s.example", "b@our.example")
		b := k.must("two", "a@s.example", "b@our.example")
		h := &hop{}
		if _, err := k.Release(ctx, b, Order{By: "me"}, h.send); err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprint(k.list(Filter{State: "all"}))
		k.end()
		for _, end := range []string{"-wal", "-shm"} {
			os.Remove(indexPath(k.dir) + end)
		}
		if err := spoil(indexPath(k.dir)); err != nil {
			t.Fatal(err)
		}
		k = newKit(t, k.dir, nil)
		if after := fmt.Sprint(k.list(Filter{State: "all"})); after != before {
			t.Errorf("%s:\n%s\n%s", name, before, after)
		}
		if got := k.ids(Filter{}); got != a {
			t.Errorf("%s: held %q", name, got)
		}
		k.end()
	}
	// Broken while it runs: messages are held, and the next look mends it.
	k := newKit(t, t.TempDir(), nil)
	one := k.must("one", "a@s.example", "b@our.example")
	if _, err := k.ix.db.Exec("DROP TABLE symbol"); err != nil {
		t.Fatal(err)
	}
	two := k.must("two", "a@s.example", "b@our.example")
	if _, _, _, err := k.List(ctx, Filter{}); !errors.Is(err, ErrIndexing) {
		t.Errorf("a list from a broken index: %v", err)
	}
	k.Tick(ctx, "gw.example", nil)
	if got := k.list(Filter{}); len(got) != 2 || got[0].ID != two || got[1].ID != one {
		t.Errorf("%v", got)
	}
	if n, err := k.Rebuild(); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// TestNoIndex: a folder in the index's place; mail is held all the same.
func TestNoIndex(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(indexPath(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	k := newKit(t, dir, nil)
	id := k.must("one", "a@s.example", "b@our.example")
	if _, _, _, err := k.List(ctx, Filter{}); !errors.Is(err, ErrIndexing) {
		t.Error(err)
	}
	h := &hop{}
	if _, err := k.Release(ctx, id, Order{}, h.send); err != nil || h.text() != "b@our.example: "+relayed("one") {
		t.Errorf("release without an index: %v", err)
	}
	if err := os.Remove(indexPath(dir)); err != nil {
		t.Fatal(err)
	}
	k.Tick(ctx, "gw.example", nil)
	if got := k.ids(Filter{State: Released}); got != id {
		t.Errorf("%q", got)
	}
}

// TestFilesGone: a file that somebody took away is listed as missing, one that
// was damaged as damaged, a foreign one not at all.
func TestFilesGone(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	gone, bad, torn := k.must("gone", "a@s.example", "b@our.example"), k.must("bad", "a@s.example", "b@our.example"), k.must("torn", "a@s.example", "b@our.example")
	day, err := k.disk.find(gone)
	if err != nil {
		t.Fatal(err)
	}
	k.end()
	name := func(id string) string { return filepath.Join(k.dir, day, id+endMessage) }
	os.Remove(name(gone))
	raw, _ := os.ReadFile(name(bad))
	raw[len(raw)/2] ^= 1
	os.WriteFile(name(bad), raw, 0o600)
	os.WriteFile(name(torn), raw[:len(raw)-10], 0o600)
	os.WriteFile(filepath.Join(k.dir, day, "stranger.msg"), nil, 0o600)
	os.WriteFile(filepath.Join(k.dir, day, "4ABCDEF09-AAAAAAAA"+endTemp), []byte(magic), 0o600)
	os.Symlink("/etc/passwd", filepath.Join(k.dir, day, "4ABCDEF08-AAAAAAAA"+endMessage))
	os.Remove(indexPath(k.dir))
	k = newKit(t, k.dir, nil)
	if got := k.ids(Filter{State: Damaged}); !strings.Contains(got, torn) || !strings.Contains(got, "4ABCDEF08") || strings.Contains(got, bad) {
		t.Errorf("damaged: %s", got)
	}
	h := &hop{}
	if _, err := k.Release(ctx, bad, Order{}, h.send); !errors.Is(err, ErrDamaged) || h.text() != "" {
		t.Errorf("a changed octet was released: %v", err)
	}
	if p, err := k.Show(ctx, bad); err != nil || p.Damaged == "" {
		t.Errorf("%v", err)
	}
	for _, f := range files(t, k.dir) {
		if strings.HasSuffix(f, endTemp) {
			t.Errorf("%s is still there", f)
		}
	}
	// Known to the index, and gone.
	id := k.must("x", "a@s.example", "b@our.example")
	k.end()
	os.Remove(name(id))
	k = newKit(t, k.dir, nil)
	if got := k.ids(Filter{State: Missing}); got != id {
		t.Errorf("missing: %q", got)
	}
}

// TestTwoProcesses: the second one does not get the holding place.
func TestTwoProcesses(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	if _, err := Open(Options{Dir: k.dir, Config: Default()}); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
}

// TestManyAtOnce holds, lists and deletes from many goroutines.
func TestManyAtOnce(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				id, err := k.holdOne("x", "a@s.example", "b@our.example")
				if err != nil {
					t.Error(err)
					return
				}
				k.list(Filter{})
				if err := k.Delete(id, "me"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		if err := k.reconcile(false); err != nil && !errors.Is(err, ErrIndexing) {
			t.Error(err)
		}
	}
	wg.Wait()
	if s := k.Stats(); s != (Totals{}) || len(files(t, k.dir)) != 0 {
		t.Errorf("%+v %v", s, files(t, k.dir))
	}
}

// TestKeep: the original of a changed message is a copy, not a held one to be
// released with others.
func TestKeep(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	m := spool(t, sample("one"))
	defer m.Release()
	id, err := k.Keep(ctx, transaction(m, "a@s.example", "b@our.example"), decision("disarm"), render(t, m))
	if err != nil || !k.list(Filter{})[0].Copy || k.list(Filter{})[0].ID != id {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) != 0 {
		t.Error(errs)
	}
	bad := Config{MaxSize: 1, MaxMessages: -1, MinFree: -1, WarnAfter: time.Second, KeepFor: time.Hour, Notify: []string{"x", "A <a@b.example>", "a@b.example"}}
	if errs := bad.Validate(); len(errs) != 7 {
		t.Errorf("%d: %v", len(errs), errs)
	}
	c, cancel := context.WithCancel(ctx)
	cancel()
	k := newKit(t, t.TempDir(), nil)
	if _, err := k.Hold(c, transaction(nil, "", "b@our.example"), decision("x"), nil); err == nil {
		t.Error("held after the end of the time")
	}
}

// TestFullDisk fills a real file system: what is not stored is an error, what
// is stays, and there is room again after a delete.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root; TestFaults injects the same errors")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("this system does not let root mount a tmpfs (%v); TestFaults injects the same errors", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	k := newKit(t, dir, nil)
	large := sample(strings.Repeat("x", 200)) + strings.Repeat("body\r\n", 40_000)
	var ids []string
	var err error
	for err == nil && len(ids) < 100 {
		m := spool(t, large)
		var id string
		if id, err = k.Hold(ctx, transaction(m, "a@s.example", "b@our.example"), decision("x.y"), render(t, m)); err == nil {
			ids = append(ids, id)
		}
		m.Release()
	}
	if len(ids) == 0 || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFull) {
		t.Fatalf("%d were held, then %v", len(ids), err)
	}
	for _, id := range ids {
		f, _, err := k.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Verify(); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	if n := len(files(t, dir)); n != len(ids) {
		t.Errorf("%d files for %d messages", n, len(ids))
	}
	for _, id := range ids[:2] {
		if err := k.Delete(id, "me"); err != nil {
			t.Fatal(err)
		}
	}
	k.must("small", "a@s.example", "b@our.example")
	k.end()
}
