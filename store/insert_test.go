package store

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestRowsInAnyNumber: rows are written several at a time, and each arrives
// whatever their number is.
func TestRowsInAnyNumber(t *testing.T) {
	for _, n := range []int{1, together - 1, together, together + 1, 3*together + 5} {
		path := dbPath(t)
		m := openTest(t, Config{Path: path}, never)
		for i := range n {
			reserve(t, m, Window{Key: fmt.Sprint("key", i), Span: time.Hour, Cost: int64(i + 1)})
			if err := m.Put(t.Context(), fmt.Sprint("item", i), []byte{byte(i)}, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = openTest(t, Config{Path: path}, never)
		for i := range n {
			if got := m.used(t, fmt.Sprint("key", i), time.Hour); got != int64(i+1) {
				t.Errorf("of %d rows: counter %d says %d", n, i, got)
			}
			if v, ok, err := m.Get(t.Context(), fmt.Sprint("item", i)); err != nil || !ok || len(v) != 1 || v[0] != byte(i) {
				t.Errorf("of %d rows: value %d is %v, %v", n, i, v, err)
			}
		}
	}
}

// BenchmarkWrite is what a counter's row costs on its way to the disk.
func BenchmarkWrite(b *testing.B) {
	m, err := Open(Config{Path: filepath.Join(b.TempDir(), "hot.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	const rows = 1000
	for b.Loop() {
		for i := range rows {
			_, _, _ = m.Reserve(context.Background(), []Window{{Key: fmt.Sprint("rate/message/192.0.2.", i), Span: time.Minute, Cost: 1}})
		}
		if err := m.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
