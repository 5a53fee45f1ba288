package smtpproxy

import (
	"io"
	"strings"
	"testing"

	"garita/message"
)

// TestEditsInOrder: edits of several makers at one place fit together.
func TestEditsInOrder(t *testing.T) {
	m, err := message.Spool(t.Context(), strings.NewReader("X-Spam-Flag: NO\r\nSubject: a\r\n\r\nb\r\n"), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	r, err := m.Render(inOrder([]message.Edit{
		{Insert: []byte("Received: x\r\n")}, {Delete: 17}, {Insert: []byte("X-Garita-Verdict: tag\r\n")}, {At: 17, Insert: []byte("A: 1\r\n")}, {Delete: 17},
	}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if want := "Received: x\r\nX-Garita-Verdict: tag\r\nA: 1\r\nSubject: a\r\n\r\nb\r\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}
