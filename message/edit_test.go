package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"
)

// apply is what Render must give, in the simplest way.
func apply(p []byte, edits []Edit) []byte {
	var out []byte
	pos := int64(0)
	for _, e := range edits {
		out = append(append(out, p[pos:e.At]...), e.Insert...)
		pos = e.At + e.Delete
	}
	return append(out, p[pos:]...)
}

func checkRendering(t *testing.T, m *Message, edits []Edit, want []byte) {
	t.Helper()
	r, err := m.Render(edits)
	if err != nil {
		t.Fatalf("%v: %v", edits, err)
	}
	if r.Size() != int64(len(want)) {
		t.Errorf("Size %d, want %d", r.Size(), len(want))
	}
	for range 2 { // as often as one likes
		var out bytes.Buffer
		if n, err := r.WriteTo(&out); err != nil || n != r.Size() || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("WriteTo: %d octets, %v; equal %v", n, err, bytes.Equal(out.Bytes(), want))
		}
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Read: %d octets, %v", len(got), err)
	}
	if n, err := r.WriteTo(io.Discard); n != 0 || err != nil {
		t.Errorf("WriteTo after everything was read: %d, %v", n, err)
	}
}

func TestRenderCases(t *testing.T) {
	const src = "A: 1\r\nB: 2\r\n\r\nbody\r\n"
	for _, c := range []struct {
		edits []Edit
		want  string
	}{
		{nil, src},
		{[]Edit{{0, 0, nil}}, src},
		{[]Edit{{0, 0, []byte("X: y\r\n")}}, "X: y\r\n" + src},
		{[]Edit{{0, 0, []byte("X: y\r\n")}, {0, 0, []byte("Z: z\r\n")}}, "X: y\r\nZ: z\r\n" + src},
		{[]Edit{{6, 6, nil}}, "A: 1\r\n\r\nbody\r\n"},
		{[]Edit{{6, 0, []byte("N: n\r\n")}, {6, 6, nil}}, "A: 1\r\nN: n\r\n\r\nbody\r\n"},
		{[]Edit{{0, 6, []byte("A: one\r\n")}, {6, 6, []byte("B: two\r\n")}}, "A: one\r\nB: two\r\n\r\nbody\r\n"},
		{[]Edit{{0, int64(len(src)), nil}}, ""},
		{[]Edit{{int64(len(src)), 0, []byte("end\r\n")}}, src + "end\r\n"},
		{[]Edit{{3, 1, []byte("no line end")}}, "A: no line end\r\nB: 2\r\n\r\nbody\r\n"},
	} {
		for _, mem := range []int64{1, 1 << 20} {
			checkRendering(t, spoolBytes(t, []byte(src), Limits{Memory: mem}), c.edits, []byte(c.want))
		}
	}
	checkRendering(t, spoolBytes(t, nil, Limits{}), nil, nil)
	checkRendering(t, spoolBytes(t, nil, Limits{}), []Edit{{0, 0, []byte("A: b\r\n")}}, []byte("A: b\r\n"))
}

func TestRenderRefuses(t *testing.T) {
	m := spoolBytes(t, []byte("0123456789"), Limits{})
	for name, edits := range map[string][]Edit{
		"before the start": {{-1, 0, nil}},
		"negative delete":  {{1, -1, nil}},
		"behind the end":   {{11, 0, nil}},
		"delete too much":  {{5, 6, nil}},
		"overflow":         {{5, math.MaxInt64, nil}},
		"not sorted":       {{5, 0, nil}, {4, 0, nil}},
		"overlap":          {{2, 3, nil}, {4, 1, nil}},
		"same place twice": {{2, 3, nil}, {2, 0, nil}},
		"second is wrong":  {{0, 0, []byte("ok\r\n")}, {99, 0, nil}},
		"bare LF":          {{0, 0, []byte("X: y\n")}},
		"bare LF later":    {{0, 0, []byte("X: y\r\n\nZ")}},
		"bare CR":          {{0, 0, []byte("X: \ry\r\n")}},
		"CR CR LF":         {{0, 0, []byte("X: y\r\r\n")}},
		"CR at the end":    {{0, 0, []byte("X: y\r")}},
	} {
		if r, err := m.Render(edits); r != nil || !errors.Is(err, ErrEdits) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// TestRenderRandom: random edits over messages in memory and in files, compared
// with the simple way; read by all ways of reading.
func TestRenderRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	dir := t.TempDir()
	for range 150 {
		n := []int{r.IntN(50), chunkSize + r.IntN(5) - 2, r.IntN(5 * chunkSize)}[r.IntN(3)]
		p := randomBytes(r.Uint64(), n)
		m := spoolBytes(t, p, Limits{Memory: []int64{1, 1 << 20}[r.IntN(2)], Dir: dir})
		var edits []Edit
		for pos := 0; len(edits) < r.IntN(8); {
			at := pos + r.IntN(n-pos+1)
			del := r.IntN(min(n-at, 3*chunkSize) + 1)
			edits = append(edits, Edit{int64(at), int64(del), bytes.Repeat([]byte("x: y\r\n"), r.IntN(3))})
			pos = at + del
		}
		want := apply(p, edits)
		checkRendering(t, m, edits, want)
		rd, _ := m.Render(edits)
		if err := iotest.TestReader(onlyReader{rd}, want); err != nil {
			t.Fatal(err)
		}
		// A bufio.Reader takes a part, then hands over to WriteTo.
		rd, _ = m.Render(edits)
		br := bufio.NewReaderSize(rd, 16+r.IntN(3000))
		head, _ := br.Peek(min(16, len(want)))
		out := bytes.NewBuffer(nil)
		if _, err := io.Copy(out, br); err != nil || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("bufio (%d octets seen): %d of %d octets, %v", len(head), out.Len(), len(want), err)
		}
	}
}

type onlyReader struct{ io.Reader }

// sliceSpy keeps the slices that it was handed.
type sliceSpy struct{ got [][]byte }

func (s *sliceSpy) Write(p []byte) (int, error) { s.got = append(s.got, p); return len(p), nil }

// TestRenderHandsOverStoredSlices: nothing is copied on the way out.
func TestRenderHandsOverStoredSlices(t *testing.T) {
	m := spoolBytes(t, randomBytes(1, chunkSize+100), Limits{})
	ins := []byte("X: y\r\n")
	r, err := m.Render([]Edit{{0, 0, ins}})
	if err != nil {
		t.Fatal(err)
	}
	var spy sliceSpy
	if _, err := r.WriteTo(&spy); err != nil {
		t.Fatal(err)
	}
	want := [][]byte{ins, m.chunks[0][:], m.chunks[1][:100]}
	if len(spy.got) != len(want) {
		t.Fatalf("%d writes, want %d", len(spy.got), len(want))
	}
	for i := range want {
		if unsafe.SliceData(spy.got[i]) != unsafe.SliceData(want[i]) || len(spy.got[i]) != len(want[i]) {
			t.Errorf("write %d is not the stored slice", i)
		}
	}
}

// limitedWriter takes n octets and then fails, or claims less without an error.
type limitedWriter struct {
	n   int
	err error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	k := min(w.n, len(p))
	w.n -= k
	if k < len(p) {
		return k, w.err
	}
	return k, nil
}

func TestRenderWriterFails(t *testing.T) {
	boom := errors.New("boom")
	p := randomBytes(2, 3*chunkSize)
	for _, mem := range []int64{1, 1 << 20} {
		m := spoolBytes(t, p, Limits{Memory: mem})
		for _, stop := range []int{0, 3, 6, 7, chunkSize, 2*chunkSize + 9} {
			for _, werr := range []error{boom, nil} {
				r, _ := m.Render([]Edit{{0, 0, []byte("X: y\r\n")}})
				n, err := r.WriteTo(&limitedWriter{stop, werr})
				want := werr
				if werr == nil {
					want = io.ErrShortWrite
				}
				if n != int64(stop) || !errors.Is(err, want) {
					t.Errorf("stop at %d: %d, %v", stop, n, err)
				}
			}
		}
		// After a Read, a failed WriteTo leaves the position behind what w took.
		r, _ := m.Render([]Edit{{0, 0, []byte("X: y\r\n")}})
		io.ReadFull(r, make([]byte, 2))
		if n, err := r.WriteTo(&limitedWriter{chunkSize, boom}); n != chunkSize || err != boom {
			t.Fatal(n, err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, p[chunkSize+2-6:]) {
			t.Errorf("rest of %d octets, want %d", len(rest), len(p)-chunkSize+4)
		}
	}
}

// TestSeveralRenderings of one message do not disturb each other.
func TestSeveralRenderings(t *testing.T) {
	m := spoolBytes(t, []byte(strings.Repeat("line\r\n", 20000)), Limits{Memory: 1})
	a, _ := m.Render(nil)
	b, _ := m.Render([]Edit{{0, 6, nil}})
	ra, rb := bufio.NewReader(a), bufio.NewReader(b)
	n := 0
	for {
		la, _ := ra.ReadString('\n')
		lb, _ := rb.ReadString('\n')
		if la == "" && lb == "" {
			break
		}
		n += len(la) - len(lb)
	}
	if n != 6 {
		t.Errorf("difference %d, want 6", n)
	}
}
