package message

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// spoolBytes keeps p with the given limits and releases it at the test's end.
func spoolBytes(t testing.TB, p []byte, l Limits) *Message {
	t.Helper()
	if l.Dir == "" {
		l.Dir = t.TempDir()
	}
	m, err := Spool(context.Background(), bytes.NewReader(p), l)
	if err != nil {
		t.Fatalf("Spool of %d octets: %v", len(p), err)
	}
	t.Cleanup(m.Release)
	return m
}

func rawBytes(t testing.TB, m *Message) []byte {
	t.Helper()
	p, err := io.ReadAll(m.Raw())
	if err != nil {
		t.Fatalf("Raw: %v", err)
	}
	return p
}

// randomBytes are reproducible and without a period that fits a chunk.
func randomBytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

// mustPanic runs f and reports a missing panic or one with another text.
func mustPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), text) {
			t.Errorf("panic %v, want one with %q", r, text)
		}
	}()
	f()
}

func TestRoundTripAtBorders(t *testing.T) {
	dir := t.TempDir()
	for _, mem := range []int64{1, 1000, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 1 << 20} {
		for _, base := range []int{0, 1, 1000, chunkSize, 2 * chunkSize, 3 * chunkSize, 8 * chunkSize} {
			for d := -1; d <= 1; d++ {
				n := base + d
				if n < 0 {
					continue
				}
				p := randomBytes(uint64(n), n)
				m := spoolBytes(t, p, Limits{Memory: mem, Dir: dir})
				if got := rawBytes(t, m); !bytes.Equal(got, p) {
					t.Errorf("size %d memory %d: %d octets came back, not the same", n, mem, len(got))
				}
				if want := int64(n) > mem; m.InFile() != want {
					t.Errorf("size %d memory %d: InFile %v, want %v", n, mem, m.InFile(), want)
				}
				if m.Size() != int64(n) || m.Sum() != sha256.Sum256(p) {
					t.Errorf("size %d memory %d: Size %d or Sum differ", n, mem, m.Size())
				}
			}
		}
	}
}

// TestRandomWrites mixes Write and Buffer/Advance with sizes around every
// border, and reads back in random pieces.
func TestRandomWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	for round := range 150 {
		n := []int{r.IntN(300), chunkSize + r.IntN(9) - 4, r.IntN(10 * chunkSize)}[r.IntN(3)]
		p := randomBytes(uint64(round), n)
		mem := []int64{1, int64(r.IntN(4*chunkSize) + 1), int64(n), int64(n) + 1}[r.IntN(4)]
		b := NewBuilder(context.Background(), Limits{Memory: mem, Max: max(int64(n), 1), Dir: dir})
		for rest := p; len(rest) > 0; {
			k := min(len(rest), 1+r.IntN([]int{3, 2000, 3 * chunkSize}[r.IntN(3)]))
			if r.IntN(2) == 0 {
				k = copy(b.Buffer(), rest[:k])
				if err := b.Advance(k); err != nil {
					t.Fatal(err)
				}
			} else if w, err := b.Write(rest[:k]); err != nil || w != k {
				t.Fatalf("Write: %d, %v", w, err)
			}
			rest = rest[k:]
		}
		m, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if got := rawBytes(t, m); !bytes.Equal(got, p) {
			t.Fatalf("round %d: size %d memory %d: bytes differ", round, n, mem)
		}
		for range 20 {
			off := r.IntN(n + 2)
			buf := make([]byte, r.IntN(2*chunkSize))
			k, err := m.ReadAt(buf, int64(off))
			want := p[min(off, n):min(off+len(buf), n)]
			if !bytes.Equal(buf[:k], want) || (err == io.EOF) != (len(want) < len(buf) || off >= n) {
				t.Fatalf("round %d: ReadAt(%d, %d) = %d, %v", round, len(buf), off, k, err)
			}
		}
		m.Release()
	}
}

func TestRawReader(t *testing.T) {
	p := randomBytes(3, 2*chunkSize+77)
	for _, mem := range []int64{1, 1 << 20} {
		if err := iotest.TestReader(spoolBytes(t, p, Limits{Memory: mem}).Raw(), p); err != nil {
			t.Error(err)
		}
	}
}

func TestReferences(t *testing.T) {
	for _, mem := range []int64{1, 1 << 20} {
		m, err := Spool(context.Background(), strings.NewReader("A: b\r\n\r\nbody"), Limits{Memory: mem, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		late := m.Raw()
		f := m.Header().Fields()[0]
		r, _ := m.Render(nil)
		m.Retain()
		m.Release()
		if got := rawBytes(t, m); string(got) != "A: b\r\n\r\nbody" {
			t.Fatalf("after one of two releases: %q", got)
		}
		m.Release()
		for name, use := range map[string]func(){
			"Raw":     func() { m.Raw() },
			"reader":  func() { _, _ = late.Read(make([]byte, 1)) },
			"ReadAt":  func() { _, _ = m.ReadAt(make([]byte, 1), 0) },
			"Retain":  m.Retain,
			"Sum":     func() { m.Sum() },
			"Value":   func() { _ = f.Value() },
			"WriteTo": func() { _, _ = r.WriteTo(io.Discard) },
			"Read":    func() { _, _ = r.Read(make([]byte, 1)) },
		} {
			t.Run(name, func(t *testing.T) { mustPanic(t, "after its last Release", use) })
		}
		mustPanic(t, "released twice", m.Release)
	}
}

// TestNoForeignBytes uses and releases messages from many goroutines at once:
// each must only ever see its own octets. Run it with -race.
func TestNoForeignBytes(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				p := bytes.Repeat([]byte{byte('a' + g)}, 1+(i*977)%(3*chunkSize))
				m, err := Spool(context.Background(), bytes.NewReader(p), Limits{Memory: int64(1 + i%2*(1<<20)), Dir: dir})
				if err != nil {
					t.Error(err)
					return
				}
				var readers sync.WaitGroup
				for range 3 {
					m.Retain()
					readers.Go(func() {
						defer m.Release()
						m.Header()
						if got, err := io.ReadAll(m.Raw()); err != nil || !bytes.Equal(got, p) {
							t.Errorf("goroutine %d: foreign bytes (%v)", g, err)
						}
					})
				}
				m.Release()
				readers.Wait()
			}
		})
	}
	wg.Wait()
}

// openSpools counts the descriptors of this process that refer to files under
// dir, and says how many of them have no name any more.
func openSpools(t *testing.T, dir string) (open, unlinked int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc/self/fd")
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && strings.HasPrefix(to, dir+"/") {
			open++
			if strings.HasSuffix(to, " (deleted)") {
				unlinked++
			}
		}
	}
	return open, unlinked
}

// TestSpoolFileHasNoName: whatever ends the process, nothing is left behind.
func TestSpoolFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	b := NewBuilder(context.Background(), Limits{Memory: 100, Dir: dir})
	defer b.Discard()
	if _, err := b.Write(make([]byte, 101)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the folder shows %v while a message is received", left)
	}
	if open, unlinked := openSpools(t, dir); open != 1 || unlinked != 1 {
		t.Errorf("%d files open, %d of them unlinked, want 1 and 1", open, unlinked)
	}
	m, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	if open, _ := openSpools(t, dir); open != 0 {
		t.Errorf("%d files open after Release", open)
	}
}

// TestShortFile: a spool file that lost octets is an error, never the end of a
// shorter message.
func TestShortFile(t *testing.T) {
	m := spoolBytes(t, randomBytes(5, 1000), Limits{Memory: 1})
	if err := m.file.(*os.File).Truncate(900); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(m.Raw()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Raw: %v", err)
	}
	r, _ := m.Render(nil)
	if n, err := r.WriteTo(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	if err := m.Header().Err(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Header: %v", err)
	}
	mustPanic(t, "message: sum", func() { m.Sum() })
}
