package store

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"
)

func TestPeekCountsNothing(t *testing.T) {
	m := memoryWith(newClock(), 100_000)
	w := Window{Key: "user/a", Span: time.Hour, Max: 3, Cost: 2, Buckets: 60}
	other := Window{Key: "user/b", Span: time.Hour, Max: 3, Cost: 1}
	reserve(t, m, w)
	for range 2 {
		u, err := m.Peek(t.Context(), []Window{w, other})
		if err != nil || !u[0].Over || u[0].Used != 2 || u[0].Free <= 0 || u[1].Over || u[1].Used != 0 {
			t.Fatalf("%+v %v", u, err)
		}
	}
	if _, err := m.Peek(t.Context(), make([]Window, maxWindows+1)); err == nil {
		t.Error("17 windows were taken")
	}
	if st := m.Stats(); st.Counters != 1 {
		t.Errorf("asking made a counter: %+v", st)
	}
	m.Close()
	if _, err := m.Peek(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestCountersFullestFirst(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	for key, n := range map[string]int64{"out/a": 5, "out/b": 9, "out/c": 1, "in/a": 100} {
		reserve(t, m, Window{Key: key, Span: time.Hour, Cost: n, Buckets: 60})
	}
	reserve(t, m, Window{Key: "out/short", Span: time.Second, Cost: 50})
	r, _ := reserve(t, m, Window{Key: "out/refunded", Span: time.Hour, Cost: 50})
	r.Refund()
	c.pass(time.Minute)
	got, err := m.Counters(t.Context(), "out/", 2)
	want := []Counter{{"out/b", time.Hour, 60, 9}, {"out/a", time.Hour, 60, 5}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
}

// A window of days is a total for each day, refunded with the act.
func TestHistory(t *testing.T) {
	c := newClock()
	m := memoryWith(c, 100_000)
	day := Window{Key: "day/a", Span: 30 * 24 * time.Hour, Buckets: 30, Cost: 2}
	c.pass(12 * time.Hour) // the time of the store began an hour into a day
	reserve(t, m, day)
	c.pass(24 * time.Hour)
	reserve(t, m, day)
	reserve(t, m, day)
	r, _ := reserve(t, m, day)
	c.pass(48 * time.Hour)
	r.Refund()
	h, err := m.History(t.Context(), day)
	if err != nil || len(h) != 31 || h[0] != 0 || h[1] != 0 || h[2] != 4 || h[3] != 2 || h[4] != 0 {
		t.Errorf("%v %v", h, err)
	}
	if h, err := m.History(t.Context(), Window{Key: "nobody", Span: time.Hour}); err != nil || len(h) != 9 {
		t.Errorf("%v %v", h, err)
	}
	if _, err := m.History(t.Context(), Window{Span: time.Hour}); err == nil {
		t.Error("a window without a key")
	}
}

// L-04: a database of form 1, whose windows had no number of parts, goes on
// with all that it counted; the copy stays.
func TestWindowsOfFormOne(t *testing.T) {
	c := newClock()
	path := dbPath(t)
	d, err := openDisk(path, migrations()[:1])
	if err != nil {
		t.Fatal(err)
	}
	hour := winKey{"old", time.Hour, coarse}
	w := newWindow(hour, int64(2*time.Hour)/hour.width())
	w.add(7)
	err = errors.Join(
		d.exec("INSERT INTO window VALUES (?,?,?,?,?)", []byte("old"), int64(time.Hour), w.newest, w.encode(), w.expires()),
		d.exec("INSERT INTO item VALUES (x'', ?, ?, 0, 1)", []byte("k"), []byte("v")),
		d.exec("INSERT INTO clock VALUES (1,?,?)", int64(2*time.Hour), c.now().UnixNano()))
	if err := errors.Join(err, d.close()); err != nil {
		t.Fatal(err)
	}
	m := openTest(t, c.config(path), never)
	if got := m.used(t, "old", time.Hour); got != 7 {
		t.Errorf("%d of 7 came over", got)
	}
	if v, ok, _ := m.Get(t.Context(), "k"); !ok || string(v) != "v" {
		t.Errorf("value: %q", v)
	}
	if _, err := os.Stat(path + ".form-1"); err != nil {
		t.Error(err)
	}
	reserve(t, m, Window{Key: "old", Span: time.Hour, Cost: 1}, Window{Key: "old", Span: time.Hour, Cost: 2, Buckets: 60})
	m.Close()
	m = openTest(t, c.config(path), never)
	u, err := m.Peek(t.Context(), []Window{{Key: "old", Span: time.Hour}, {Key: "old", Span: time.Hour, Buckets: 60}})
	if err != nil || u[0].Used != 8 || u[1].Used != 2 {
		t.Errorf("%+v %v", u, err)
	}
	m.Close()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, OmitHost: true}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name='window1'").Scan(&left); err != nil || left != 0 {
		t.Errorf("the old table is left: %d %v", left, err)
	}
}

// A limit check as a message makes it: a user's hour and day, his domain's
// hour, and the daily total, in 60 buckets and well filled.
func BenchmarkLimitCheck(b *testing.B) {
	c := newClock()
	m := memoryWith(c, 100_000)
	act := []Window{
		{Key: "user/someone@example.org", Span: time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
		{Key: "user/someone@example.org", Span: 24 * time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
		{Key: "domain/example.org", Span: time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
		{Key: "day/someone@example.org", Span: 30 * 24 * time.Hour, Cost: 1, Buckets: 30},
	}
	for b.Loop() {
		c.pass(10 * time.Second)
		r, _, err := m.Reserve(b.Context(), act)
		if err != nil || r == nil {
			b.Fatal(err)
		}
		r.Commit()
	}
}
