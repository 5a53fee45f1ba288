package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// naive is dot-stuffing octet by octet, with the end of data.
func naive(b []byte) []byte {
	var out []byte
	begin := true
	for _, c := range b {
		if begin && c == '.' {
			out = append(out, '.')
		}
		out = append(out, c)
		begin = c == '\n'
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

// wire is a connection whose far end collects; vectored says whether it takes
// writev as TCP does.
func wire(t testing.TB, vectored bool) (c *conn, received func() []byte) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() {
		nc, err := ln.Accept()
		ln.Close()
		if err != nil {
			got <- nil
			return
		}
		defer nc.Close()
		b, _ := io.ReadAll(nc)
		got <- b
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c = &conn{nc: nc, raw: nc}
	if vectored {
		c.tcp = nc.(*net.TCPConn)
	}
	return c, func() []byte { nc.Close(); return <-got }
}

// stuffed sends the pieces through the writer and gives what arrived.
func stuffed(t testing.TB, vectored bool, pieces ...[]byte) []byte {
	t.Helper()
	c, received := wire(t, vectored)
	w := newBodyWriter(context.Background(), c, time.Minute)
	total := 0
	for _, p := range pieces {
		// The caller's slice is the caller's again after Write.
		own := bytes.Clone(p)
		if n, err := w.Write(own); err != nil || n != len(p) {
			t.Fatalf("Write: %d %v", n, err)
		}
		for i := range own {
			own[i] = '#'
		}
		total += len(p)
	}
	if w.count != int64(total) {
		t.Fatalf("counted %d of %d", w.count, total)
	}
	if _, err := w.finish(); err != nil {
		t.Fatal(err)
	}
	w.free()
	return received()
}

func cut(b []byte, rnd *rand.Rand) (pieces [][]byte) {
	for len(b) > 0 {
		n := 1 + rnd.IntN(len(b))
		if rnd.IntN(2) == 0 {
			n = 1 + rnd.IntN(min(len(b), 3))
		}
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

func TestStuffing(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", ".\r\n", "\r\n.\r\n", "a\r\n.b\r\n", "a\r\n..\r\n", "a", "a\r", "a\r\n", "a\n", "\r\n", ".a.b.\r\n.",
		"x\r\n.\r\n.\r\n..\r\n", "QUIT\r\n.\r\nMAIL FROM:<a@b>\r\n", "bare\n.\r\n", "\n.\n", "\r.\r\n",
	} {
		for _, vectored := range []bool{true, false} {
			if got := stuffed(t, vectored, []byte(in)); !bytes.Equal(got, naive([]byte(in))) {
				t.Errorf("%q: %q", in, got)
			}
			// Cut at every octet.
			for i := range len(in) {
				if got := stuffed(t, vectored, []byte(in[:i]), []byte(in[i:])); !bytes.Equal(got, naive([]byte(in))) {
					t.Errorf("%q cut at %d: %q", in, i, got)
				}
			}
		}
	}
}

// TestStuffingProperty compares random bodies, cut at random, with the naive
// writer, over the sizes where buffers change hands.
func TestStuffingProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{".", "..", "\r\n", "\r\n.", "text", strings.Repeat("long line ", 900), "\r\n.\r\n"}
	for round := range 120 {
		size := []int{10, 100, directSlice, bodyBuffer - 2, bodyBuffer, bodyBuffer + 3, 3 * bodyBuffer, maxWrite + 7, 2*maxWrite + 100}[round%9]
		var b []byte
		long := 0
		for len(b) < size {
			w := words[rnd.IntN(len(words))]
			if round%3 != 0 && len(w) < 10 && rnd.IntN(200) > 0 && long < 3 {
				w = words[5]
				long++
			} else {
				long = 0
			}
			b = append(b, w...)
		}
		b = b[:size]
		pieces := [][]byte{b}
		if round%2 == 1 {
			pieces = cut(b, rnd)
		}
		if got := stuffed(t, round%4 < 2, pieces...); !bytes.Equal(got, naive(b)) {
			t.Fatalf("round %d, %d octets: differs", round, size)
		}
	}
	// The shape that makes the most slices.
	dots := bytes.Repeat([]byte(".\r\n"), 100_000)
	for _, vectored := range []bool{true, false} {
		if got := stuffed(t, vectored, dots[:40_000], dots[40_000:]); !bytes.Equal(got, naive(dots)) {
			t.Error("dots differ")
		}
	}
}

func TestIndexLineDotIsIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, octets := range []string{"\n.", "\n.....", "\nxxxxxxxxxxxxxxxxxxxx.", "."} {
		for range 5000 {
			b := make([]byte, rnd.IntN(300))
			for i := range b {
				b[i] = octets[rnd.IntN(len(octets))]
			}
			if got, want := indexLineDot(b), bytes.Index(b, lineDot); got != want {
				t.Fatalf("%q: %d, want %d", b, got, want)
			}
		}
	}
}

// BenchmarkStuffing is the search alone, for an attachment, a text with a dot
// in every line, and one of nothing but dots.
func BenchmarkStuffing(b *testing.B) {
	for name, line := range map[string]string{
		"base64": strings.Repeat("QUJD", 19) + "\r\n", "text": strings.Repeat("word ", 13) + "end.\r\n", "dots": strings.Repeat(".", 78),
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(strings.Repeat(line, 1<<20/len(line)))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if indexLineDot(text) >= 0 {
					b.Fatal("there is none")
				}
			}
		})
	}
}

func FuzzStuffing(f *testing.F) {
	f.Add([]byte(".a\r\n.\r\n..b"), uint64(1))
	f.Add([]byte("\r\n.\r\n"), uint64(7))
	f.Add([]byte(strings.Repeat(".\r\n", 70)), uint64(9))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var out bytes.Buffer
		c := &conn{nc: &memory{Buffer: &out}, raw: &memory{}}
		w := newBodyWriter(context.Background(), c, time.Minute)
		for _, p := range cut(in, rnd) {
			if _, err := w.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.finish(); err != nil {
			t.Fatal(err)
		}
		w.free()
		want := naive(in)
		if !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("%q: %q, want %q", in, out.Bytes(), want)
		}
		// The end of data stands once, at the end.
		if end := []byte("\r\n.\r\n"); bytes.Count(append([]byte("\r\n"), want...), end) != 1 {
			t.Fatalf("%q: the end of data stands in the body", want)
		}
	})
}

// memory is a net.Conn into a buffer.
type memory struct {
	*bytes.Buffer
	net.Conn
}

func (m *memory) Write(p []byte) (int, error)   { return m.Buffer.Write(p) }
func (m *memory) Read(p []byte) (int, error)    { return m.Buffer.Read(p) }
func (m *memory) SetDeadline(t time.Time) error { return nil }
func (m *memory) Close() error                  { return nil }

// counting counts writes.
type counting struct {
	net.Conn
	writes int
}

func (c *counting) Write(p []byte) (int, error) { c.writes++; return c.Conn.Write(p) }

// TestSmallMessageIsOneWrite: body and dot of a small message, whatever the
// pieces it comes in.
func TestSmallMessageIsOneWrite(t *testing.T) {
	c, received := wire(t, false)
	n := &counting{Conn: c.nc}
	c.nc = n
	w := newBodyWriter(context.Background(), c, time.Minute)
	for _, p := range []string{"Received: x\r\n", "Subject: y\r\n\r\n", strings.Repeat("0123456789\r\n", 400)} {
		w.Write([]byte(p))
	}
	if n.writes != 0 {
		t.Errorf("%d writes before the end", n.writes)
	}
	if _, err := w.finish(); err != nil || n.writes != 1 {
		t.Errorf("%d writes, %v", n.writes, err)
	}
	received()
}

// TestFinishTellsWhetherTheDotWent: an error before the dot is a clean no.
func TestFinishTellsWhetherTheDotWent(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, vectored := range []bool{true, false} {
		c, received := wire(t, vectored)
		w := newBodyWriter(ctx, c, time.Minute)
		w.Write([]byte("a\r\n"))
		if vectored {
			c.raw.Close()
		} else {
			cancel()
		}
		dotSent, err := w.finish()
		if dotSent || err == nil {
			t.Errorf("vectored %v: dotSent %v, %v", vectored, dotSent, err)
		}
		if got := received(); len(got) > 0 {
			t.Errorf("received %q", got)
		}
	}
	c, received := wire(t, false) // as TLS: what went out is not known
	c.nc = failing{c.nc}
	w := newBodyWriter(context.Background(), c, time.Minute)
	w.Write([]byte("a\r\n"))
	if dotSent, err := w.finish(); !dotSent || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("TLS: dotSent %v, %v", dotSent, err)
	}
	received()
}

type failing struct{ net.Conn }

func (failing) Write(p []byte) (int, error) { return 0, os.ErrDeadlineExceeded }
