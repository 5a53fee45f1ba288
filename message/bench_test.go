package message

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
)

// benchMail is a message of n octets with a usual header.
func benchMail(n int) []byte {
	head := bytes.Repeat([]byte("Received: from a.example by b.example with ESMTP id 1;\r\n\tMon, 1 Jan 2024 00:00:00 +0000\r\n"), 4)
	head = append(head, "From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\nMessage-ID: <1@example.com>\r\n\r\n"...)
	line := []byte("The quick brown fox jumps over the lazy dog, and over the next one too.\r\n")
	for len(head) < n {
		head = append(head, line...)
	}
	return head[:n]
}

// BenchmarkMessage is all that a message costs here: budget, octets in by
// Buffer and Advance (the copy stands for the data reader's), header, loop
// count, one field in front, octets out.
func BenchmarkMessage(b *testing.B) {
	for _, c := range []struct {
		name   string
		size   int
		memory int64
	}{{"4KB", 4 << 10, 2 << 20}, {"1MB", 1 << 20, 2 << 20}, {"1MB-file", 1 << 20, 64 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			p := benchMail(c.size)
			budget := NewBudget(BudgetConfig{Total: 1 << 30, Memory: 256 << 20, ReserveShare: 0.2, Headroom: 25 << 20})
			field := []byte("Received: from x by y with ESMTP id 2; Mon, 1 Jan 2024 00:00:00 +0000\r\n")
			dir := b.TempDir()
			ctx := context.Background()
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				g, ok := budget.Admit(int64(len(p)), false)
				if !ok {
					b.Fatal("not admitted")
				}
				w := NewBuilder(ctx, Limits{Memory: c.memory, Dir: dir, Grant: g})
				for rest := p; len(rest) > 0; {
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
				if m.Header().CountFold("Received") != 4 {
					b.Fatal("header")
				}
				r, err := m.Render([]Edit{m.Header().Prepend(field)})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
				m.Release()
				g.Release()
			}
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	for _, fields := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(fields), func(b *testing.B) {
			p := append(bytes.Repeat([]byte("X-Header: some value of usual length\r\n"), fields), "\r\n"...)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			m := spoolBytes(b, p, Limits{})
			for b.Loop() {
				h := Header{m: m}
				scanHeader(&h)
				if len(h.fields) != fields {
					b.Fatal(len(h.fields))
				}
			}
		})
	}
}
