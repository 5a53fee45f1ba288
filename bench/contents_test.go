package main

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/bench/load"
	"garita/filters"
	"garita/filters/attachment"
	"garita/filters/mime"
	"garita/mail"
	"garita/message"
)

// kept is a message in memory, as the wire keeps it.
func kept(b testing.TB, raw []byte, room *message.Room) *message.Message {
	w := message.NewBuilder(context.Background(), message.Limits{Memory: 64 << 20, Index: message.IndexOptions{Limits: message.DefaultIndexLimits(), Room: room}})
	for rest := raw; len(rest) > 0; {
		n := copy(w.Buffer(), rest)
		if err := w.Advance(n); err != nil {
			b.Fatal(err)
		}
		rest = rest[n:]
	}
	m, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func contentsEngine(b testing.TB) *filters.Engine {
	m, err := mime.New(mime.Default())
	if err != nil {
		b.Fatal(err)
	}
	a, err := attachment.New(attachment.Default())
	if err != nil {
		b.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{m, a}, Fault: func(check string, _ mail.Stage, err error) { b.Error(check, err) }})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// BenchmarkContents is what the checks of MIME and attachments add to a
// message, without the wire.
func BenchmarkContents(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"text", load.Text(4, 4<<10)}, {"html", load.Alternative(5, 4<<10)},
		{"small-jpg", load.Attached(6, "jpg", 4<<10)}, {"small-pdf", load.Attached(7, "pdf", 4<<10)},
		{"jpg", load.Attached(8, "jpg", 1<<20)}, {"pdf", load.Attached(8, "pdf", 1<<20)}, {"zip", load.Attached(8, "zip", 1<<20)},
		{"docx", load.Attached(8, "docx", 1<<20)}, {"text.zip", load.Attached(8, "text.zip", 1<<20)},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw := []byte(strings.ReplaceAll(c.text, "\n", "\r\n"))
			room := message.NewRoom(256 << 20)
			e := contentsEngine(b)
			s := &mail.Session{ID: "S"}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			begun := cpuTime()
			for b.Loop() {
				m := kept(b, raw, room)
				tx := &mail.Transaction{Session: s, ID: "T", Direction: mail.In, Message: m}
				if d := e.Message(b.Context(), tx); d.Verdict != mail.Continue || len(d.Because) > 0 {
					b.Fatalf("%+v", d)
				}
				m.Release()
			}
			b.ReportMetric(float64((cpuTime()-begun).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpuTime is what the process has spent: wall time tells little on a machine
// that others use.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestTheMadeMailIsClean: figures of mail that is refused would say nothing.
func TestTheMadeMailIsClean(t *testing.T) {
	e := contentsEngine(t)
	for _, kind := range []string{"jpg", "pdf", "zip", "docx", "text.zip"} {
		for _, size := range []int{4 << 10, 1 << 20} {
			raw := bytes.ReplaceAll([]byte(load.Attached(8, kind, size)), []byte("\n"), []byte("\r\n"))
			m := kept(t, raw, nil)
			tx := &mail.Transaction{Session: &mail.Session{}, Direction: mail.In, Message: m}
			if d := e.Message(t.Context(), tx); d.Verdict != mail.Continue || len(d.Because) > 0 {
				t.Errorf("%s, %d: %+v", kind, size, d)
			}
			m.Release()
			if n := len(raw); n < size/2 || n > size*5/4 {
				t.Errorf("%s: %d octets, not %d", kind, n, size)
			}
		}
	}
}

// TestContentsLeaveNothing: neither goroutines nor memory are left of messages
// whose attachments were inspected, at once and beside.
func TestContentsLeaveNothing(t *testing.T) {
	rounds := 500
	if n, err := strconv.Atoi(os.Getenv("GARITA_MESSAGES")); err == nil {
		rounds = n / 4
	}
	e := contentsEngine(t)
	// Whatever is not given back to a room this small stops the next messages.
	room := message.NewRoom(4 << 20)
	var all [][]byte
	for _, kind := range []string{"jpg", "pdf", "docx", "zip"} {
		size := 4 << 10
		if kind == "zip" {
			size = 100 << 10 // not done at once
		}
		all = append(all, bytes.ReplaceAll([]byte(load.Attached(9, kind, size)), []byte("\n"), []byte("\r\n")))
	}
	round := func() {
		for _, raw := range all {
			m := kept(t, raw, room)
			tx := &mail.Transaction{Session: &mail.Session{}, Direction: mail.In, Message: m}
			if d := e.Message(t.Context(), tx); d.Verdict != mail.Continue {
				t.Fatalf("%+v", d)
			}
			m.DropIndex()
			m.Release()
		}
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	for range 20 {
		round()
	}
	before, routines := heap(), runtime.NumGoroutine()
	for range rounds {
		round()
	}
	after := heap()
	t.Logf("%d messages: heap %d to %d KB, goroutines %d to %d", 4*rounds, before>>10, after>>10, routines, runtime.NumGoroutine())
	if after > before+1<<20 {
		t.Errorf("%d KB are left", (after-before)>>10)
	}
	if n := runtime.NumGoroutine(); n > routines+2 {
		t.Errorf("%d goroutines are left", n-routines)
	}
}
