package message

import (
	"bytes"
	"context"
	"io"
	"testing"
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

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 100, chunkSize, chunkSize + 1, 3*chunkSize + 7, 300000} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7)
		}
		for _, mem := range []int64{1, chunkSize, 1 << 20} {
			m := spoolBytes(t, p, Limits{Memory: mem})
			if got := rawBytes(t, m); !bytes.Equal(got, p) {
				t.Errorf("size %d memory %d: got %d octets back, not the same", n, mem, len(got))
			}
			if m.InFile() != (int64(n) > mem) {
				t.Errorf("size %d memory %d: InFile %v", n, mem, m.InFile())
			}
			r, err := m.Render([]Edit{{0, 0, []byte("X: y\r\n")}})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := r.WriteTo(&out); err != nil || out.String() != "X: y\r\n"+string(p) {
				t.Errorf("size %d memory %d: rendering differs (%v)", n, mem, err)
			}
		}
	}
}
