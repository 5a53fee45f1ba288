package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// never is a batch interval that does not pass within a test: then Sync, PutNow
// and Close alone write.
const never = time.Hour

func openTest(t *testing.T, c Config, every time.Duration) *Memory {
	t.Helper()
	m, err := open(c, migrations(), every)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func dbPath(t testing.TB) string {
	// A name with what URLs and SQL treat on their own.
	dir := filepath.Join(t.TempDir(), "a %41?#&';b")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "hot.db")
}

func TestComesBack(t *testing.T) {
	c := newClock()
	path := dbPath(t)
	m := openTest(t, c.config(path), never)
	ctx := t.Context()
	w := Window{Key: "rate\x00\xff", Span: time.Hour, Max: 100, Cost: 7}
	fine := Window{Key: "fine", Span: time.Hour, Buckets: 60, Cost: 3}
	reserve(t, m, w, fine)
	c.pass(10 * time.Minute)
	reserve(t, m, w)
	r, _ := reserve(t, m, Window{Key: "refunded", Span: time.Hour, Cost: 1})
	m.Sync(ctx)
	r.Refund()
	m.Put(ctx, "v\x00\xff", []byte{0, 255}, time.Hour)
	m.Put(ctx, "empty", nil, 0)
	m.Put(ctx, "gone", nil, 0)
	m.AddNew(ctx, "set", "member", time.Hour)
	m.Keep(ctx, "kept", []byte("k"), 0)
	m.Sync(ctx)
	m.Delete(ctx, "gone")
	m.Put(ctx, "short", nil, time.Second)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	c.pass(20 * time.Minute)

	m = openTest(t, c.config(path), never)
	if got := m.used(t, w.Key, w.Span); got != 14 {
		t.Errorf("counter: %d", got)
	}
	if h, err := m.History(ctx, fine); err != nil || len(h) != 61 || h[30] != 3 {
		t.Errorf("the parts of an hour: %v %v", h, err)
	}
	if got := m.used(t, "refunded", time.Hour); got != 0 {
		t.Errorf("a refund was forgotten: %d", got)
	}
	if v, ok, _ := m.Get(ctx, "v\x00\xff"); !ok || string(v) != "\x00\xff" {
		t.Errorf("value: %q %v", v, ok)
	}
	if v, ok, _ := m.Get(ctx, "empty"); !ok || len(v) != 0 {
		t.Errorf("empty value: %q %v", v, ok)
	}
	for _, key := range []string{"gone", "short"} {
		if _, ok, _ := m.Get(ctx, key); ok {
			t.Errorf("%s came back", key)
		}
	}
	if isNew, _ := m.AddNew(ctx, "set", "member", time.Hour); isNew {
		t.Error("the member was forgotten")
	}
	if st := m.Stats(); st.Kept != 1 {
		t.Errorf("kept is no longer kept: %+v", st)
	}
	// The counter's time went on while we were away.
	c.pass(38 * time.Minute)
	if got := m.used(t, w.Key, w.Span); got != 7 {
		t.Errorf("after 68 minutes %d are left", got)
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// L-03: PutNow waits for the disk. The pragma is what SQLite fsyncs by; a copy
// of the files at the moment of the return has the value.
func TestPutNowIsDurable(t *testing.T) {
	c := newClock()
	path := dbPath(t)
	m := openTest(t, c.config(path), never)
	for i := range 20 {
		key := fmt.Sprint("ban/", i)
		if err := m.PutNow(t.Context(), key, []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			if err := m.DeleteNow(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		other := copyFiles(t, path)
		n := openTest(t, c.config(other), never)
		if _, ok, _ := n.Get(t.Context(), key); ok != (i%2 == 0) {
			t.Fatalf("%s: there is %v", key, ok)
		}
		n.Close()
	}
	m.Close()
	d, err := openDisk(path, migrations())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if n, err := d.number("PRAGMA synchronous"); n != 2 || err != nil {
		t.Errorf("synchronous is %d (%v), not FULL", n, err)
	}
	if s, _ := d.text("PRAGMA journal_mode"); s != "wal" {
		t.Errorf("journal_mode %s", s)
	}
}

func copyFiles(t *testing.T, path string) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "copy.db")
	for _, end := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + end)
		if err != nil && end == "" {
			t.Fatal(err)
		}
		if err == nil {
			if err := os.WriteFile(other+end, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return other
}

// The batch comes by itself.
func TestWriteBehind(t *testing.T) {
	m := openTest(t, Config{Path: dbPath(t)}, time.Millisecond)
	for i := range 3000 {
		m.Put(t.Context(), fmt.Sprint(i), nil, time.Hour)
	}
	deadline := time.Now().Add(60 * time.Second)
	for m.Stats().Pending > 0 || m.Stats().Written < 3000 {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", m.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	// Five hundred rows do not wait for the time of the batch.
	m = openTest(t, Config{Path: dbPath(t)}, never)
	for i := range flushRows {
		m.Put(t.Context(), fmt.Sprint(i), nil, time.Hour)
	}
	for m.Stats().Written < flushRows {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", m.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}

// D-22, L-30, Q-05: what the wall clock says at start is believed within reason.
func TestClockAtStart(t *testing.T) {
	year := 365 * 24 * time.Hour
	for _, tc := range []struct {
		name   string
		jump   time.Duration
		left   time.Duration // of a ban of two hours
		doubts bool
	}{
		{"an hour away", time.Hour, time.Hour, false},
		{"three hours away", 3 * time.Hour, 0, false},
		{"begins in 1970", -56 * year, 2 * time.Hour, true},
		{"ten years back", -10 * year, 2 * time.Hour, true},
		{"a year ahead", year, 2 * time.Hour, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			k := c.config(dbPath(t))
			doubts := false
			k.Log = func(string, error) { doubts = true }
			m := openTest(t, k, never)
			if err := m.PutNow(t.Context(), "ban", nil, 2*time.Hour); err != nil {
				t.Fatal(err)
			}
			m.Close()
			c.jump(tc.jump)
			// Twice: the second start goes on from the first.
			for range 2 {
				m = openTest(t, k, never)
				items, _ := m.List(t.Context(), "ban", "", 1)
				var left time.Duration
				if len(items) > 0 {
					left = items[0].Expires.Sub(c.now())
				}
				if left != tc.left {
					t.Fatalf("%v left, want %v", left, tc.left)
				}
				if doubts != tc.doubts {
					t.Errorf("doubts: %v", doubts)
				}
				m.Close()
			}
			m = openTest(t, k, never)
			c.pass(2 * time.Hour)
			if _, ok, _ := m.Get(t.Context(), "ban"); ok {
				t.Error("immortal")
			}
		})
	}
	// A jump while it ran, then a restart.
	for _, jump := range []time.Duration{-10 * year, year} {
		c := newClock()
		k := c.config(dbPath(t))
		m := openTest(t, k, never)
		m.PutNow(t.Context(), "ban", nil, 2*time.Hour)
		c.jump(jump)
		m.PutNow(t.Context(), "later", nil, 2*time.Hour)
		m.Close()
		c.pass(time.Hour)
		m = openTest(t, k, never)
		for _, key := range []string{"ban", "later"} {
			items, _ := m.List(t.Context(), key, "", 1)
			if len(items) == 0 || items[0].Expires.Sub(c.now()) != time.Hour {
				t.Errorf("%v: %s: %v", jump, key, items)
			}
		}
	}
}

func TestOpenFaults(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	foreign := filepath.Join(dir, "foreign.db")
	db, _ := sql.Open("sqlite", foreign)
	if _, err := db.Exec("CREATE TABLE mine (a)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	link := filepath.Join(dir, "link.db")
	os.Symlink(filepath.Join(dir, "target.db"), link)
	for _, tc := range []struct {
		name, path, says string
		is               error
	}{
		{"no path", "", "path of the database is empty", nil},
		{"no folder", filepath.Join(dir, "no", "hot.db"), "no such file", os.ErrNotExist},
		{"folder", dir, "is a directory", nil},
		{"text", file("text.db", strings.Repeat("this is no database\n", 100)), "damaged", ErrCorrupt},
		{"foreign", foreign, "another program", ErrForeign},
		{"symbolic link", link, "symbolic links", nil},
	} {
		_, err := open(c.config(tc.path), migrations(), never)
		if err == nil || !strings.Contains(err.Error(), tc.says) || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "text.db")); !strings.HasPrefix(string(raw), "this is no database") {
		t.Error("the damaged file was changed")
	}
}

// Q-02, L-12: damage in the middle of a database is found at start; put aside,
// a new one begins.
func TestCorrupt(t *testing.T) {
	c := newClock()
	path := dbPath(t)
	m := openTest(t, c.config(path), never)
	for i := range 2000 {
		m.Keep(t.Context(), fmt.Sprint("key/", i), make([]byte, 100), 0)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	f, _ := os.OpenFile(path, os.O_RDWR, 0)
	info, _ := f.Stat()
	junk := make([]byte, 20_000)
	for i := range junk {
		junk[i] = 0xa5
	}
	f.WriteAt(junk, info.Size()/2)
	f.Close()

	k := c.config(path)
	if _, err := Open(k); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Fatalf("damage: %v", err)
	}
	var said []string
	k.RenameCorrupt = true
	k.Log = func(text string, err error) { said = append(said, fmt.Sprint(text, err)) }
	m, err := Open(k)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(said) != 1 || !strings.Contains(said[0], "state was lost") {
		t.Errorf("said %q", said)
	}
	if aside, _ := filepath.Glob(filepath.Dir(path) + "/*.corrupt-*"); len(aside) == 0 {
		// The folder's name has marks of Glob; look again without it.
		list, _ := os.ReadDir(filepath.Dir(path))
		found := false
		for _, e := range list {
			found = found || strings.Contains(e.Name(), ".corrupt-")
		}
		if !found {
			t.Errorf("nothing was put aside: %v", list)
		}
	}
	if err := m.PutNow(t.Context(), "k", nil, 0); err != nil {
		t.Error(err)
	}
}

func TestInUse(t *testing.T) {
	path := dbPath(t)
	m := openTest(t, Config{Path: path}, never)
	if _, err := Open(Config{Path: path, RenameCorrupt: true}); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second one: %v", err)
	}
	m.Close()
	openTest(t, Config{Path: path}, never)
}

// L-04: an older program refuses a newer database and leaves it as it is; a
// newer one copies the older and takes each step once.
func TestMigration(t *testing.T) {
	c := newClock()
	path := dbPath(t)
	m := openTest(t, c.config(path), never)
	m.PutNow(t.Context(), "k", []byte("v"), 0)
	m.Close()
	newer := append(migrations(), "ALTER TABLE item ADD COLUMN extra", "CREATE TABLE more (a)")

	// A step that fails leaves the form as it was.
	if _, err := open(c.config(path), append(migrations(), "CREATE TABLE half (a); THIS IS NO SQL"), never); err == nil || !strings.Contains(err.Error(), "form 2 to 3") {
		t.Fatalf("a bad step: %v", err)
	}
	d, err := openDisk(path, newer)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := d.number("PRAGMA user_version"); n != 4 {
		t.Errorf("form %d", n)
	}
	if n, err := d.number("SELECT count(*) FROM sqlite_schema WHERE name='half'"); n != 0 || err != nil {
		t.Errorf("half a step was left: %d %v", n, err)
	}
	if n, err := d.number("SELECT count(extra)+count(*) FROM item"); n != 1 || err != nil {
		t.Errorf("%d rows: %v", n, err)
	}
	d.close()
	backup := path + ".form-2"
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("copy: %v", err)
	}
	before, _ := os.ReadFile(path)
	if _, err := Open(c.config(path)); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "form 4") {
		t.Fatalf("older program: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the older program changed the newer database")
	}
	// The copy is what the older program can use.
	old := openTest(t, c.config(backup), never)
	if v, ok, _ := old.Get(t.Context(), "k"); !ok || string(v) != "v" {
		t.Errorf("the copy has %q", v)
	}
}

// inject makes the writer's connection fail by a pragma, as the writer would
// meet the fault. Nothing is pending, so the writer does not use it meanwhile.
func inject(t *testing.T, m *Memory, pragma string) {
	t.Helper()
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.disk.exec(pragma); err != nil {
		t.Fatal(err)
	}
}

// faults while running. Memory goes on, the operator's command hears of
// it, and all is written when the disk is well again.
func TestRunningFaults(t *testing.T) {
	for _, tc := range []struct{ name, begin, end, says string }{
		{"disk full", "PRAGMA max_page_count=1", "PRAGMA max_page_count=1000000", "full"},
		{"read-only", "PRAGMA query_only=1", "PRAGMA query_only=0", "readonly"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			path := dbPath(t)
			k := c.config(path)
			var mu sync.Mutex
			var said []string
			k.Log = func(text string, err error) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, fmt.Sprint(text, ": ", err))
			}
			m := openTest(t, k, never)
			ctx := t.Context()
			m.PutNow(ctx, "delete me", nil, 0)
			inject(t, m, tc.begin)
			big := make([]byte, maxValue)
			for i := range 3 {
				err := m.PutNow(ctx, fmt.Sprint("ban/", i), big, time.Hour)
				if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), path) {
					t.Fatalf("PutNow: %v", err)
				}
			}
			if err := m.DeleteNow(ctx, "delete me"); err == nil {
				t.Error("DeleteNow says it is durable")
			}
			if m.Fault() == nil || m.Stats().Fault == "" || m.Stats().Failed < 4 || m.Stats().Pending == 0 {
				t.Errorf("%v %+v", m.Fault(), m.Stats())
			}
			if _, ok, _ := m.Get(ctx, "ban/2"); !ok {
				t.Error("the ban does not hold in memory")
			}
			reserve(t, m, Window{Key: "w", Span: time.Hour, Max: 5, Cost: 3})
			// The writer has answered and waits: the connection is free.
			if err := m.disk.exec(tc.end); err != nil {
				t.Fatal(err)
			}
			if err := m.PutNow(ctx, "after", nil, 0); err != nil {
				t.Fatal(err)
			}
			if m.Fault() != nil || m.Stats().Pending != 0 {
				t.Errorf("%v %+v", m.Fault(), m.Stats())
			}
			mu.Lock()
			if len(said) != 2 || !strings.Contains(said[0], tc.says) || !strings.Contains(said[1], "again") {
				t.Errorf("said %q", said)
			}
			mu.Unlock()
			m.Close()
			m = openTest(t, c.config(path), never)
			for _, key := range []string{"ban/0", "ban/1", "ban/2", "after"} {
				if _, ok, _ := m.Get(ctx, key); !ok {
					t.Errorf("%s is lost", key)
				}
			}
			if _, ok, _ := m.Get(ctx, "delete me"); ok {
				t.Error("what was deleted is back")
			}
			if m.used(t, "w", time.Hour) != 3 {
				t.Error("the counter is lost")
			}
		})
	}
}

// Somebody's shell holds the database: PutNow says so, then all goes on.
func TestLockedWhileRunning(t *testing.T) {
	path := dbPath(t)
	m := openTest(t, Config{Path: path}, never)
	m.Sync(t.Context())
	other := &disk{path: path}
	if err := other.connect(); err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	// Who does not wait hears that, too.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.PutNow(ctx, "early", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("early: %v", err)
	}
	if err := m.PutNow(t.Context(), "k", nil, 0); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("locked: %v", err)
	}
	// Reading memory does not wait for it.
	if _, ok, _ := m.Get(t.Context(), "k"); !ok {
		t.Error("not in memory")
	}
	if err := other.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}

// What cannot be named row by row any more is written anew, all of it.
func TestManyGone(t *testing.T) {
	c := newClock()
	k := c.config(dbPath(t))
	k.Entries = 50
	m := openTest(t, k, never)
	ctx := t.Context()
	m.PutNow(ctx, "ban", []byte("x"), 0)
	for round := range 20 { // the rows of each round are stored, then evicted
		if round == 5 {
			inject(t, m, "PRAGMA query_only=1")
		}
		for i := range 50 {
			m.Put(ctx, fmt.Sprint(round, "/", i), nil, time.Hour)
			reserve(t, m, Window{Key: fmt.Sprint(round, "/", i), Span: time.Hour, Cost: 1})
		}
		if err := m.Sync(ctx); (err != nil) != (round >= 5) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if !m.wipe.Load() {
		t.Error("nothing overflowed: the test tests nothing")
	}
	m.disk.exec("PRAGMA query_only=0")
	if err := m.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	st := m.Stats()
	for table, want := range map[string]int{"item": st.Values + st.Kept, "window": st.Counters} {
		if n, err := m.disk.number("SELECT count(*) FROM " + table); int(n) != want || err != nil {
			t.Errorf("%s has %d rows (%v), memory %d", table, n, err, want)
		}
	}
	m.Close()
	// Smaller bounds at the next start: the disk follows.
	k.Entries = 10
	m = openTest(t, k, never)
	m.Sync(ctx)
	if st := m.Stats(); st.Values > 10 || st.Kept != 1 {
		t.Errorf("%+v", st)
	}
	if n, _ := m.disk.number("SELECT count(*) FROM item"); n > 11 {
		t.Errorf("%d rows are left", n)
	}
}

// Rows that have expired leave the disk.
func TestPurge(t *testing.T) {
	c := newClock()
	m := openTest(t, c.config(dbPath(t)), never)
	for i := range 100 {
		m.Put(t.Context(), fmt.Sprint(i), nil, time.Minute)
		reserve(t, m, Window{Key: fmt.Sprint(i), Span: time.Minute, Cost: 1})
	}
	m.PutNow(t.Context(), "stays", nil, 0)
	c.pass(2 * time.Minute)
	m.PutNow(t.Context(), "also", nil, 0)
	n, _ := m.disk.number("SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM window)")
	if n != 2 {
		t.Errorf("%d rows are left", n)
	}
}

func TestConcurrentWithDisk(t *testing.T) {
	path := dbPath(t)
	m := openTest(t, Config{Path: path, Entries: 5000}, time.Millisecond)
	var wg sync.WaitGroup
	ctx := context.Background()
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				key := fmt.Sprint(g, "/", i%50)
				r, _, _ := m.Reserve(ctx, []Window{{Key: key, Span: time.Hour, Cost: 1}, {Key: "all", Span: time.Hour, Cost: 1}})
				if i%3 == 0 {
					r.Refund()
				}
				m.Put(ctx, key, []byte(key), time.Hour)
				m.AddNew(ctx, "set", key, time.Hour)
				if i%7 == 0 {
					m.Delete(ctx, key)
				}
				if i%50 == 0 {
					if err := m.PutNow(ctx, "now/"+key, nil, 0); err != nil {
						t.Error(err)
					}
				}
				if i%100 == 0 {
					m.List(ctx, "", "", 10)
					m.Stats()
				}
			}
		})
	}
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openTest(t, Config{Path: path}, never)
	if got := m.used(t, "all", time.Hour); got != 1600 {
		t.Errorf("%d counted", got)
	}
}

func BenchmarkReserveWithDisk(b *testing.B) {
	m, err := Open(Config{Path: filepath.Join(b.TempDir(), "hot.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("rate/connection/192.0.2.", i)
	}
	b.ReportAllocs()
	i := 0
	w := make([]Window, 1)
	for b.Loop() {
		i++
		w[0] = Window{Key: keys[i%len(keys)], Span: time.Minute, Max: 1 << 40, Cost: 1}
		m.Reserve(context.Background(), w)
	}
}

// What left memory before its batch is not written, and what a refund has
// emptied does not stay on the disk with the old number.
func TestGoneBeforeWritten(t *testing.T) {
	c := newClock()
	k := c.config(dbPath(t))
	k.Entries = 1
	m := openTest(t, k, never)
	for _, key := range []string{"a", "b", "c"} { // each evicts the one before
		reserve(t, m, Window{Key: key, Span: time.Hour, Cost: 1})
		m.Put(t.Context(), key, nil, time.Hour)
	}
	rows := func(table string, want int64) {
		t.Helper()
		if err := m.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := m.disk.number("SELECT count(*) FROM " + table); n != want || err != nil {
			t.Errorf("%s: %d rows, want %d (%v)", table, n, want, err)
		}
	}
	rows("window", 1)
	rows("item", 1)
	r, _ := reserve(t, m, Window{Key: "x", Span: time.Hour, Cost: 1})
	rows("window", 1)
	r.Refund()
	m.sweep(&m.shards[0], m.now())
	rows("window", 0)
}
