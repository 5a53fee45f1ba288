package store

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// triplet is the i-th of many greylist triplets, of the length that real ones
// have.
func triplet(i int) string {
	return fmt.Sprintf("greylist/%d.%d.%d.0/24/sender%06d@example.com/recipient%04d@example.org", 11+i>>16&127, i>>8&255, i&255, i, i%5000)
}

// What a million greylist triplets cost: live heap, memory of the process with
// what the collector leaves, and how long a start with them takes, by the clock
// and by the processor. The goal is 300 MB and 3 s.
func BenchmarkMillionTriplets(b *testing.B) {
	const n = 1_000_000
	c := Config{Path: dbPath(b), Entries: n + n/10, Bytes: 1 << 30}
	m, err := Open(c)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if err := m.Put(b.Context(), triplet(i), []byte("1762000000 1762000300 1"), 35*24*time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	if info, err := os.Stat(c.Path); err == nil {
		b.ReportMetric(float64(info.Size())/1e6, "disk-MB")
	}
	m = nil
	before := heap()
	for b.Loop() {
		start, cpu := time.Now(), spent()
		if m, err = Open(c); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "start-s")
		b.ReportMetric((spent() - cpu).Seconds(), "start-cpu-s")
		used := heap() - before
		b.ReportMetric(float64(used)/1e6, "heap-MB")
		if st := m.Stats(); st.Values < n-n/1000 {
			b.Fatalf("%+v", st)
		}
		m.Close()
		m = nil
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// spent is the CPU time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
