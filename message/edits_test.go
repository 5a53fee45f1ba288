package message

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestEditsOfRendering: the edits that a rendering gives make the same
// rendering again, whatever it was made of.
func TestEditsOfRendering(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := bytes.Repeat([]byte("0123456789abcdef"), 64)
	m := spoolBytes(t, text, Limits{Memory: 1 << 20})
	for range 2000 {
		var edits []Edit
		for at := int64(0); len(edits) < 8; {
			at += rnd.Int64N(200)
			e := Edit{At: at, Insert: bytes.Repeat([]byte("X\r\n"), rnd.IntN(3))}
			if rnd.IntN(2) == 0 {
				e.Delete = rnd.Int64N(50)
			}
			if e.At+e.Delete > int64(len(text)) {
				break
			}
			edits = append(edits, e)
			at += e.Delete
		}
		first, err := m.Render(edits)
		if err != nil {
			t.Fatal(err)
		}
		second, err := m.Render(first.Edits())
		if err != nil {
			t.Fatalf("%v: %v", edits, err)
		}
		var a, b bytes.Buffer
		first.WriteTo(&a)
		second.WriteTo(&b)
		if !bytes.Equal(a.Bytes(), b.Bytes()) || first.Size() != second.Size() {
			t.Fatalf("%v\n%q\n%q", edits, a.Bytes(), b.Bytes())
		}
	}
}
