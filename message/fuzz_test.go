package message

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// FuzzHeader compares the scanner, fed in pieces, with a simple reading of the
// whole, and checks what must hold for every header.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"", "A: 1\r\n\r\nbody", "Received : x\r\n\ty\r\nB:\r\n", "From x\r\n>From y\r\nA: 1\r\n\r\n",
		"\r\nA: 1", " A: 1\r\n", "A: 1\r\nno colon\r\nB: 2\r\n", "A\xfc: 1\r\n", "A: 1\n\r\n", "From x",
	} {
		f.Add([]byte(s), uint8(3))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src []byte, piece uint8) {
		compareHeader(t, src, func() int { return int(piece) })
		m, err := Spool(context.Background(), bytes.NewReader(src), Limits{Memory: int64(piece)%2*mb + 1, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		h := m.Header()
		pos := h.Start()
		for _, f := range h.Fields() {
			v := f.Value()
			if f.Start != pos || f.End <= f.Start || len(f.Name) == 0 || int64(len(f.Name)+len(v)) >= f.End-f.Start {
				t.Fatalf("field %q [%d,%d) after %d, value %q", f.Name, f.Start, f.End, pos, v)
			}
			pos = f.End
		}
		if pos != m.HeaderEnd() && !h.TooLarge() || h.Start() > m.HeaderEnd() || m.HeaderEnd() > m.Size() {
			t.Fatalf("fields end at %d, header at %d of %d", pos, m.HeaderEnd(), m.Size())
		}
		// A field that we add is read as a field, alone, and first.
		r, err := m.Render([]Edit{h.Prepend([]byte("X-Ours: yes\r\n"))})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Spool(context.Background(), r, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Release()
		if h.TooLarge() || again.Header().TooLarge() {
			return
		}
		got := again.Header().Fields()
		if len(got) != len(h.Fields())+1 || got[0].Name != "X-Ours" || got[0].Value() != "yes" {
			t.Fatalf("our field in front of %q: %d fields, was %d", src, len(got), len(h.Fields()))
		}
	})
}

// FuzzRender makes edits out of the input, right and wrong ones: they are
// applied exactly or refused as a whole.
func FuzzRender(f *testing.F) {
	f.Add([]byte("A: 1\r\n\r\nbody\r\n"), []byte{0, 0, 1, 6, 2, 0}, false)
	f.Add([]byte("0123456789"), []byte{2, 3, 1, 4, 1, 0}, true)
	f.Add([]byte(""), []byte{0, 0, 2}, true)
	f.Add([]byte("0123456789"), []byte{250, 0, 0, 3, 255, 3}, false)
	inserts := [][]byte{nil, []byte("X: y\r\n"), []byte("A: 1\r\n B\r\n"), []byte("\r\n"), []byte("bad\n"), []byte("bad\r")}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src, plan []byte, file bool) {
		mem := int64(mb)
		if file {
			mem = 1
		}
		m, err := Spool(context.Background(), bytes.NewReader(src), Limits{Memory: mem, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		var edits []Edit
		good, pos := true, int64(0)
		for ; len(plan) >= 3; plan = plan[3:] {
			e := Edit{int64(int8(plan[0])), int64(int8(plan[1])), inserts[int(plan[2])%len(inserts)]}
			good = good && e.At >= pos && e.Delete >= 0 && e.At+e.Delete <= m.Size() && int(plan[2])%len(inserts) < 4
			pos = e.At + e.Delete
			edits = append(edits, e)
		}
		if !good {
			if r, err := m.Render(edits); r != nil || !errors.Is(err, ErrEdits) {
				t.Fatalf("%d octets, %v: %v, %v", m.Size(), edits, r, err)
			}
			return
		}
		checkRendering(t, m, edits, apply(src, edits))
	})
}
